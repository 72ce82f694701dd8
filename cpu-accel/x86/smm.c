/* System management mode: SMI, the state save area, RSM.
 *
 * SDM vol. 3, chapter 31. The documented fields lie where the P6 has them (revision 0, SMBASE
 * relocation, I/O instruction restart); the parts that the manual reserves hold descriptor caches
 * and other hidden state in a layout of our own, so that a handler may move the whole area away and
 * back. A restart that is asked for where no I/O instruction was interrupted, which the manual leaves
 * open, does nothing.
 */
#include "cpu-accel/x86/cpuid.h"
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/system.h"
#include "machine/core/log.h"

LOG_TAG("smm");

/* Offsets from SMBASE + 8000h. */
enum {
    SMM_ENTRY = 0x8000,
    SAVE_BASE = 0x8000,
    SAVE_CR0 = 0x7ffc,
    SAVE_CR3 = 0x7ff8,
    SAVE_EFLAGS = 0x7ff4,
    SAVE_EIP = 0x7ff0,
    SAVE_EDI = 0x7fec, /* then down: ESI EBP ESP EBX EDX ECX EAX */
    SAVE_DR6 = 0x7fcc,
    SAVE_DR7 = 0x7fc8,
    SAVE_TR = 0x7fc4,
    SAVE_LDTR = 0x7fc0,
    SAVE_GS = 0x7fbc, /* then down: FS DS SS CS ES */
    SAVE_AUTO_HALT = 0x7f02,
    SAVE_IO_RESTART = 0x7f00,
    SAVE_REVISION = 0x7efc,
    SAVE_SMBASE = 0x7ef8,
    /* reserved by the manual, ours: */
    SAVE_CACHES = 0x7f10, /* ES..GS, LDTR, TR: access, base, limit */
    SAVE_GDTR = 0x7f70,   /* base, limit */
    SAVE_IDTR = 0x7f78,
    SAVE_CR4 = 0x7f80,
    SAVE_HIDDEN = 0x7f84, /* HIDDEN_* */
    SAVE_PENDING_DR6 = 0x7f88,
    SAVE_IO_EIP = 0x7f8c, /* of the I/O instruction, before it */
    SAVE_IO_ECX = 0x7f90,
    SAVE_IO_ESI = 0x7f94,
    SAVE_IO_EDI = 0x7f98,
    SAVE_PDPTE = 0x7e00,
    SMM_REVISION = 0x00030000,
    AUTO_HALT = 1,
    IO_RESTART = 0xff, /* what the handler writes to the slot */
    HIDDEN_CPL = 3,
    HIDDEN_NMI_BLOCKED = 4,
    HIDDEN_SHUTDOWN = 8,
    HIDDEN_IO = 16, /* the SAVE_IO_* are valid */
};

static uint64_t save_at(const Cpu *cpu, unsigned field)
{
    uint64_t at = (uint64_t)cpu->smbase + SAVE_BASE + field;
    return at & (cpu->a20 ? 0xffffffffu : 0xffefffffu);
}

static void save(const Cpu *cpu, unsigned field, uint32_t value)
{
    bus_write(cpu->board->memory, save_at(cpu, field), value, 4);
}

static uint32_t load(const Cpu *cpu, unsigned field)
{
    return (uint32_t)bus_read(cpu->board->memory, save_at(cpu, field), 4);
}

static void save_segments(const Cpu *cpu)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        save(cpu, SAVE_GS - 4 * (GS - i), cpu->seg[i].selector);
    }
    save(cpu, SAVE_LDTR, cpu->seg[LDTR].selector);
    save(cpu, SAVE_TR, cpu->seg[TR].selector);
    for (unsigned i = 0; i < 8; i++) {
        save(cpu, SAVE_CACHES + 12 * i, cpu->seg[i].access);
        save(cpu, SAVE_CACHES + 12 * i + 4, cpu->seg[i].base);
        save(cpu, SAVE_CACHES + 12 * i + 8, cpu->seg[i].limit);
    }
}

static void save_state(const Cpu *cpu)
{
    save(cpu, SAVE_CR0, cpu->cr0);
    save(cpu, SAVE_CR3, cpu->cr3);
    save(cpu, SAVE_EFLAGS, cpu_eflags(cpu));
    save(cpu, SAVE_EIP, cpu->eip);
    for (unsigned i = 0; i < 8; i++) {
        save(cpu, SAVE_EDI - 4 * (EDI - i), cpu->reg[i]);
    }
    save(cpu, SAVE_DR6, cpu->dr6);
    save(cpu, SAVE_DR7, cpu->dr7);
    save_segments(cpu);
    save(cpu, SAVE_GDTR, cpu->gdtr.base);
    save(cpu, SAVE_GDTR + 4, cpu->gdtr.limit);
    save(cpu, SAVE_IDTR, cpu->idtr.base);
    save(cpu, SAVE_IDTR + 4, cpu->idtr.limit);
    save(cpu, SAVE_CR4, cpu->cr4);
    save(cpu, SAVE_HIDDEN,
         cpu->cpl | (cpu->nmi_blocked ? HIDDEN_NMI_BLOCKED : 0) |
             (cpu->activity == CPU_SHUTDOWN ? HIDDEN_SHUTDOWN : 0) |
             (cpu->io_restart.valid ? HIDDEN_IO : 0));
    save(cpu, SAVE_IO_EIP, cpu->io_restart.eip);
    save(cpu, SAVE_IO_ECX, cpu->io_restart.ecx);
    save(cpu, SAVE_IO_ESI, cpu->io_restart.esi);
    save(cpu, SAVE_IO_EDI, cpu->io_restart.edi);
    save(cpu, SAVE_PENDING_DR6, cpu->pending_dr6);
    for (unsigned i = 0; i < 4; i++) {
        save(cpu, SAVE_PDPTE + 8 * i, (uint32_t)cpu->pdpte[i]);
        save(cpu, SAVE_PDPTE + 8 * i + 4, (uint32_t)(cpu->pdpte[i] >> 32));
    }
    bool halted = cpu->activity == CPU_HALTED;
    bus_write(cpu->board->memory, save_at(cpu, SAVE_AUTO_HALT), halted ? AUTO_HALT : 0, 2);
    bus_write(cpu->board->memory, save_at(cpu, SAVE_IO_RESTART), 0, 2);
    save(cpu, SAVE_REVISION, SMM_REVISION);
    save(cpu, SAVE_SMBASE, cpu->smbase);
}

void smm_enter(Cpu *cpu)
{
    log_trace("enter from %04x:%08x", cpu->seg[CS].selector, cpu->eip);
    line_set(&cpu->pins->smiact, true);
    save_state(cpu);
    cpu->io_restart = (IoRestart){0};
    cpu->smm = true;
    cpu->activity = CPU_RUNNING;
    cpu->shadow = 0;
    cpu->step_trap = false;
    cpu->pending_dr6 = 0;
    cpu->nmi_blocked = true;
    cpu->cr0 &= ~(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
    cpu->cr4 = 0;
    cpu->dr7 = 0x400;
    cpu_set_eflags(cpu, FL_ONE);
    cpu->eip = SMM_ENTRY;
    cpu->cpl = 0;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = (SegReg){
            .access = SEG_PRESENT | SEG_S | SEG_WRITABLE | SEG_ACCESSED | SEG_GRANULARITY,
            .limit = 0xffffffffu,
        };
    }
    cpu->seg[CS].selector = (uint16_t)(cpu->smbase >> 4);
    cpu->seg[CS].base = cpu->smbase;
    mem_flush(cpu, true);
}

static void load_segments(Cpu *cpu)
{
    for (unsigned i = 0; i < 8; i++) {
        cpu->seg[i].access = load(cpu, SAVE_CACHES + 12 * i) & 0x1f0ff;
        cpu->seg[i].base = load(cpu, SAVE_CACHES + 12 * i + 4);
        cpu->seg[i].limit = load(cpu, SAVE_CACHES + 12 * i + 8);
    }
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i].selector = (uint16_t)load(cpu, SAVE_GS - 4 * (GS - i));
    }
    cpu->seg[LDTR].selector = (uint16_t)load(cpu, SAVE_LDTR);
    cpu->seg[TR].selector = (uint16_t)load(cpu, SAVE_TR);
}

static void load_tables(Cpu *cpu)
{
    cpu->gdtr = (TableReg){load(cpu, SAVE_GDTR), (uint16_t)load(cpu, SAVE_GDTR + 4)};
    cpu->idtr = (TableReg){load(cpu, SAVE_IDTR), (uint16_t)load(cpu, SAVE_IDTR + 4)};
    for (unsigned i = 0; i < 4; i++) {
        cpu->pdpte[i] = load(cpu, SAVE_PDPTE + 8 * i) | (uint64_t)load(cpu, SAVE_PDPTE + 8 * i + 4)
                                                            << 32;
    }
}

/* Register values that no processor can have: RSM shuts down then (SDM vol. 3, 31.3.3). */
static bool impossible(const Cpu *cpu)
{
    uint32_t cr0 = load(cpu, SAVE_CR0), cr4 = load(cpu, SAVE_CR4);
    return (cr0 & CR0_PG && !(cr0 & CR0_PE)) || (cr0 & CR0_NW && !(cr0 & CR0_CD)) ||
           cr4 & ~cpu_cr4_mask(cpu->model);
}

/* Back before the I/O instruction, as if it had not been run: it runs once more. */
static void restart_io(Cpu *cpu)
{
    cpu->eip = load(cpu, SAVE_IO_EIP);
    cpu->reg[ECX] = load(cpu, SAVE_IO_ECX);
    cpu->reg[ESI] = load(cpu, SAVE_IO_ESI);
    cpu->reg[EDI] = load(cpu, SAVE_IO_EDI);
    cpu->pending_dr6 = 0; /* it will trap again */
    cpu->activity = CPU_RUNNING;
}

Outcome smm_leave(Cpu *cpu)
{
    if (!cpu->smm) {
        return cpu_fault(cpu, VEC_UD);
    }
    if (impossible(cpu)) {
        int_shutdown(cpu);
        return X_STOP;
    }
    cpu->cr0 = load(cpu, SAVE_CR0) | CR0_ET;
    cpu->cr3 = load(cpu, SAVE_CR3);
    cpu->cr4 = load(cpu, SAVE_CR4);
    cpu_set_eflags(cpu, load(cpu, SAVE_EFLAGS));
    cpu->eip = load(cpu, SAVE_EIP);
    for (unsigned i = 0; i < 8; i++) {
        cpu->reg[i] = load(cpu, SAVE_EDI - 4 * (EDI - i));
    }
    cpu->dr6 = load(cpu, SAVE_DR6);
    cpu->dr7 = load(cpu, SAVE_DR7) | 0x400;
    load_segments(cpu);
    load_tables(cpu);
    uint32_t hidden = load(cpu, SAVE_HIDDEN);
    if (cpu_real_mode(cpu)) {
        flags_load(cpu, 0, FL_VM);
    }
    cpu->cpl = cpu_real_mode(cpu) ? 0 : cpu_v86(cpu) ? 3 : hidden & HIDDEN_CPL;
    cpu->nmi_blocked = hidden & HIDDEN_NMI_BLOCKED;
    cpu->pending_dr6 = load(cpu, SAVE_PENDING_DR6) & (0xfu | DR6_BS | DR6_BT);
    cpu->activity = load(cpu, SAVE_AUTO_HALT) & AUTO_HALT ? CPU_HALTED
                    : hidden & HIDDEN_SHUTDOWN            ? CPU_SHUTDOWN
                                                          : CPU_RUNNING;
    if (hidden & HIDDEN_IO && (load(cpu, SAVE_IO_RESTART) & 0xff) == IO_RESTART) {
        restart_io(cpu);
    }
    cpu->smbase = load(cpu, SAVE_SMBASE);
    cpu->smm = false;
    cpu->shadow = 0;
    cpu->step_trap = false;
    line_set(&cpu->pins->smiact, false);
    mem_flush(cpu, true);
    log_trace("leave to %04x:%08x", cpu->seg[CS].selector, cpu->eip);
    return X_STOP;
}
