/* The list of a processor's fields that engine check compares and prints. */
#include "cpu-accel/check/fields.h"

#include <stddef.h>
#include <string.h>

#define FIELD(text, member, shown)                                                                 \
    {                                                                                              \
        text, offsetof(Cpu, member), sizeof(((Cpu *)0)->member), shown                             \
    }
#define SEGMENT(text, n)                                                                           \
    FIELD(text, seg[n].selector, true), FIELD(text " base", seg[n].base, true),                    \
        FIELD(text " limit", seg[n].limit, true), FIELD(text " access", seg[n].access, true)
#define X87(n)                                                                                     \
    FIELD("R" #n " mantissa", fpu.st[n].mantissa, false),                                          \
        FIELD("R" #n " exponent", fpu.st[n].sign_exponent, false)
#define XMM(n)                                                                                     \
    FIELD("XMM" #n " low", fpu.xmm[n].q[0], false), FIELD("XMM" #n " high", fpu.xmm[n].q[1], false)
#define MTRR(n)                                                                                    \
    FIELD("MTRR base " #n, mtrr.base[n], false), FIELD("MTRR mask " #n, mtrr.mask[n], false)

/* clang-format off */
const Field check_fields[] = {
    FIELD("EAX", reg[EAX], true), FIELD("ECX", reg[ECX], true), FIELD("EDX", reg[EDX], true),
    FIELD("EBX", reg[EBX], true), FIELD("ESP", reg[ESP], true), FIELD("EBP", reg[EBP], true),
    FIELD("ESI", reg[ESI], true), FIELD("EDI", reg[EDI], true), FIELD("EIP", eip, true),
    FIELD("EFLAGS", eflags, true), FIELD("shadow", shadow, false), FIELD("CPL", cpl, true),
    SEGMENT("ES", ES), SEGMENT("CS", CS), SEGMENT("SS", SS), SEGMENT("DS", DS), SEGMENT("FS", FS),
    SEGMENT("GS", GS), SEGMENT("LDTR", LDTR), SEGMENT("TR", TR),
    FIELD("GDTR base", gdtr.base, false), FIELD("GDTR limit", gdtr.limit, false),
    FIELD("IDTR base", idtr.base, false), FIELD("IDTR limit", idtr.limit, false),
    FIELD("CR0", cr0, true), FIELD("CR2", cr2, true), FIELD("CR3", cr3, true), FIELD("CR4", cr4, true),
    FIELD("DR0", dr[0], false), FIELD("DR1", dr[1], false), FIELD("DR2", dr[2], false),
    FIELD("DR3", dr[3], false), FIELD("DR6", dr6, false), FIELD("DR7", dr7, false),
    FIELD("PDPTE0", pdpte[0], false), FIELD("PDPTE1", pdpte[1], false),
    FIELD("PDPTE2", pdpte[2], false), FIELD("PDPTE3", pdpte[3], false),
    FIELD("FCW", fpu.control, false), FIELD("FSW", fpu.status, false),
    FIELD("FTW (abridged)", fpu.valid, false), FIELD("FOP", fpu.opcode, false),
    FIELD("FIP", fpu.ip, false), FIELD("FCS", fpu.ip_selector, false),
    FIELD("FDP", fpu.data, false), FIELD("FDS", fpu.data_selector, false),
    X87(0), X87(1), X87(2), X87(3), X87(4), X87(5), X87(6), X87(7),
    FIELD("MXCSR", fpu.mxcsr, false),
    XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
    FIELD("activity", activity, false), FIELD("SMM", smm, false),
    FIELD("NMI blocked", nmi_blocked, false), FIELD("NMI pending", nmi_pending, false),
    FIELD("SMI pending", smi_pending, false), FIELD("INIT pending", init_pending, false),
    FIELD("pending DR6", pending_dr6, false), FIELD("SMBASE", smbase, false),
    FIELD("I/O restart", io_restart.valid, false), FIELD("its EIP", io_restart.eip, false),
    FIELD("its ECX", io_restart.ecx, false), FIELD("its ESI", io_restart.esi, false),
    FIELD("its EDI", io_restart.edi, false), FIELD("APIC_BASE", apic_base, false), FIELD("SYSENTER_CS", sysenter_cs, false),
    FIELD("SYSENTER_ESP", sysenter_esp, false), FIELD("SYSENTER_EIP", sysenter_eip, false),
    FIELD("PAT", pat, false), FIELD("MISC_ENABLE", misc_enable, false),
    FIELD("DEBUGCTL", debugctl, false), FIELD("microcode", microcode, false),
    FIELD("TSC offset", tsc_offset, false), FIELD("MTRR type", mtrr.def_type, false),
    FIELD("MTRR fixed 0", mtrr.fixed[0], false), FIELD("MTRR fixed 1", mtrr.fixed[1], false),
    FIELD("MTRR fixed 2", mtrr.fixed[2], false), FIELD("MTRR fixed 3", mtrr.fixed[3], false),
    FIELD("MTRR fixed 4", mtrr.fixed[4], false), FIELD("MTRR fixed 5", mtrr.fixed[5], false),
    FIELD("MTRR fixed 6", mtrr.fixed[6], false), FIELD("MTRR fixed 7", mtrr.fixed[7], false),
    FIELD("MTRR fixed 8", mtrr.fixed[8], false), FIELD("MTRR fixed 9", mtrr.fixed[9], false),
    FIELD("MTRR fixed 10", mtrr.fixed[10], false),
    MTRR(0), MTRR(1), MTRR(2), MTRR(3), MTRR(4), MTRR(5), MTRR(6), MTRR(7),
    FIELD("IGNNE#", ignne, false), FIELD("MCG_STATUS", mcg_status, false),
    FIELD("NMI pin", nmi_pin, false), FIELD("SMI pin", smi_pin, false),
    FIELD("INIT pin", init_pin, false), FIELD("INTR pin", intr, false), FIELD("A20", a20, false),
    FIELD("kvmclock wall", pvclock_wall, false), FIELD("kvmclock time", pvclock_time, false),
    FIELD("RDRAND shown", rdrand_shown, false),
};
/* clang-format on */

const unsigned check_field_count = sizeof(check_fields) / sizeof(check_fields[0]);

uint64_t check_field(const Cpu *cpu, const Field *field)
{
    uint64_t value = 0;
    if (field->offset == offsetof(Cpu, eflags)) {
        return cpu_eflags(cpu);
    }
    memcpy(&value, (const uint8_t *)cpu + field->offset, field->size);
    return value;
}
