/* The processor as a device: creation, reset values of each model, state walk, pins, flags.
 *
 * SDM vol. 3, table 9-1 (values after power-up, reset and INIT). Wired by pc_build, which connects
 * the lines of CpuPins and drives cpu_intr and its neighbours.
 */
#include "cpu-accel/x86/cpu.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/cpuid.h"
#include "cpu-accel/x86/fpu.h"
#include "cpu-accel/x86/mem.h"
#define APIC_DEFAULT_BASE 0xfee00000u
#define PAT_RESET 0x0007040600070406ull

enum {
    SMBASE_RESET = 0x30000,
    DR6_RESET = (int)0xffff0ff0,
    DR7_RESET = 0x400,
    MXCSR_RESET = 0x1f80,
    TSC_LEAST_HZ = 1000000,
};

/* Cpu is what all others see; the device around it is known here alone. */
typedef struct CpuDevice {
    Device dev;
    Cpu cpu;
    Tlb tlb;
    CpuPins pins;
} CpuDevice;

Outcome cpu_fault(Cpu *cpu, Vector vector)
{
    cpu->fault = (Fault){.vector = (uint8_t)vector};
    return X_FAULT;
}

Outcome cpu_fault_code(Cpu *cpu, Vector vector, uint32_t error_code)
{
    cpu->fault =
        (Fault){.vector = (uint8_t)vector, .has_error_code = true, .error_code = error_code};
    return X_FAULT;
}

uint32_t cpu_eflags(const Cpu *cpu)
{
    uint32_t a = cpu->arith;
    return (cpu->eflags & ~(uint32_t)FL_ARITH) | FL_ONE |
           (a >> 8 & (FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF)) | (a & ARITH_OF ? FL_OF : 0);
}

void cpu_set_eflags(Cpu *cpu, uint32_t eflags)
{
    cpu->arith = (uint16_t)((eflags & (FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF)) << 8 |
                            (eflags & FL_OF ? ARITH_OF : 0));
    cpu->eflags = (eflags & cpu_eflags_mask(cpu->model) & ~(uint32_t)FL_ARITH) | FL_ONE;
}

static void reset_segments(Cpu *cpu)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = (SegReg){0, SEG_PRESENT | SEG_S | SEG_WRITABLE | SEG_ACCESSED, 0, 0xffff};
    }
    cpu->seg[CS].selector = 0xf000;
    cpu->seg[CS].base = 0xffff0000u;
    cpu->seg[LDTR] = (SegReg){0, SEG_PRESENT | 0x2, 0, 0xffff};
    cpu->seg[TR] = (SegReg){0, SEG_PRESENT | 0xb, 0, 0xffff};
    cpu->gdtr = cpu->idtr = (TableReg){0, 0xffff};
}

/* What INIT and reset have in common. */
void cpu_init_reset(Cpu *cpu)
{
    uint32_t cache_bits = cpu->cr0 & (CR0_CD | CR0_NW);
    bool was_smm = cpu->smm;
    memset(cpu->reg, 0, sizeof(cpu->reg));
    cpu->reg[EDX] = cpu_signature(cpu->model);
    cpu->eip = 0xfff0;
    cpu_set_eflags(cpu, FL_ONE);
    cpu->shadow = 0;
    cpu->cpl = 0;
    reset_segments(cpu);
    cpu->cr0 = cache_bits | CR0_ET;
    cpu->cr2 = cpu->cr3 = cpu->cr4 = 0;
    memset(cpu->pdpte, 0, sizeof(cpu->pdpte));
    memset(cpu->dr, 0, sizeof(cpu->dr));
    cpu->dr6 = (uint32_t)DR6_RESET;
    cpu->dr7 = DR7_RESET;
    cpu->activity = CPU_RUNNING;
    cpu->smm = false;
    cpu->nmi_blocked = false;
    cpu->init_pending = false;
    cpu->pending_dr6 = 0;
    cpu->io_restart = (IoRestart){0};
    cpu->step_trap = false;
    if (was_smm) {
        line_set(&cpu->pins->smiact, false);
    }
    mem_flush(cpu, true);
}

static void reset_fpu(Fpu *fpu)
{
    memset(fpu, 0, sizeof(*fpu));
    fpu->control = 0x40;
    fpu->valid = 0xff; /* tag word 5555h: all registers hold +0.0 */
    fpu->mxcsr = MXCSR_RESET;
    fpu_host_release();
}

static void announce_apic_base(const Cpu *cpu)
{
    if (cpu->pins->apic_base_changed) {
        cpu->pins->apic_base_changed(cpu->pins->self, cpu->apic_base);
    }
}

static void cpu_reset(Device *d, ResetKind kind)
{
    Cpu *cpu = &((CpuDevice *)d)->cpu;
    (void)kind; /* RESET# and power-up leave the same values behind, SDM table 9-1 */
    cpu_init_reset(cpu);
    cpu->cr0 = CR0_ET | (cpu->model >= CPU_486 ? CR0_CD | CR0_NW : 0);
    reset_fpu(&cpu->fpu);
    cpu->nmi_pending = cpu->smi_pending = false;
    cpu->smbase = SMBASE_RESET;
    cpu->apic_base = APIC_DEFAULT_BASE | APIC_BASE_BSP | APIC_BASE_ENABLE;
    cpu->sysenter_cs = cpu->sysenter_esp = cpu->sysenter_eip = 0;
    cpu->pat = PAT_RESET;
    cpu->misc_enable = cpu->model == CPU_PENTIUM4 ? 1 : 0; /* fast strings */
    cpu->debugctl = cpu->microcode = cpu->mcg_status = 0;
    memset(&cpu->mtrr, 0, sizeof(cpu->mtrr));
    cpu->ignne = cpu->rdrand_shown = false;
    cpu->pvclock_wall = cpu->pvclock_time = 0;
    cpu->tsc_offset = -(int64_t)clock_ticks(clock_now(&d->board->clock), cpu->tsc_hz);
    line_set(&cpu->pins->ferr, false);
    announce_apic_base(cpu);
}

static void state_segment(StateIo *io, SegReg *s)
{
    state_u16(io, "selector", &s->selector);
    state_u32(io, "access", &s->access);
    state_u32(io, "base", &s->base);
    state_u32(io, "limit", &s->limit);
    state_check(io, !(s->access & ~0x1f0ffu), "access rights have bits that do not exist");
}

static void state_table(StateIo *io, TableReg *t)
{
    state_u32(io, "base", &t->base);
    state_u16(io, "limit", &t->limit);
}

static void state_fpu(StateIo *io, Fpu *fpu)
{
    state_u16(io, "fcw", &fpu->control);
    state_u16(io, "fsw", &fpu->status);
    state_u8(io, "valid", &fpu->valid);
    state_u16(io, "fop", &fpu->opcode);
    state_u16(io, "fcs", &fpu->ip_selector);
    state_u16(io, "fds", &fpu->data_selector);
    state_u32(io, "fip", &fpu->ip);
    state_u32(io, "fdp", &fpu->data);
    for (unsigned i = 0; i < 8; i++) {
        state_u64(io, "mantissa", &fpu->st[i].mantissa);
        state_u16(io, "sign_exponent", &fpu->st[i].sign_exponent);
    }
    state_u32(io, "mxcsr", &fpu->mxcsr);
    state_check(io, !(fpu->mxcsr & 0xffff0000u), "has reserved bits");
    for (unsigned i = 0; i < 8; i++) {
        state_u64(io, "xmm_low", &fpu->xmm[i].q[0]);
        state_u64(io, "xmm_high", &fpu->xmm[i].q[1]);
    }
    state_check(io, fpu->opcode < 0x800, "FOP has more than 11 bits");
}

static void state_control(StateIo *io, Cpu *cpu)
{
    state_u32(io, "cr0", &cpu->cr0);
    state_u32(io, "cr2", &cpu->cr2);
    state_u32(io, "cr3", &cpu->cr3);
    state_u32(io, "cr4", &cpu->cr4);
    for (unsigned i = 0; i < 4; i++) {
        state_u32(io, "dr", &cpu->dr[i]);
    }
    state_u32(io, "dr6", &cpu->dr6);
    state_u32(io, "dr7", &cpu->dr7);
    for (unsigned i = 0; i < 4; i++) {
        state_u64(io, "pdpte", &cpu->pdpte[i]);
    }
    state_check(io, !(cpu->cr0 & CR0_PG) || cpu->cr0 & CR0_PE, "paging without protection");
    state_check(io, !(cpu->cr4 & ~cpu_cr4_mask(cpu->model)), "CR4 has bits this model lacks");
}

static void state_events(StateIo *io, Cpu *cpu)
{
    unsigned activity = cpu->activity;
    state_enum(io, "activity", &activity, CPU_SHUTDOWN + 1);
    cpu->activity = (CpuActivity)activity;
    state_bool(io, "smm", &cpu->smm);
    state_bool(io, "nmi_blocked", &cpu->nmi_blocked);
    state_bool(io, "nmi_pending", &cpu->nmi_pending);
    state_bool(io, "smi_pending", &cpu->smi_pending);
    state_bool(io, "init_pending", &cpu->init_pending);
    state_bool(io, "nmi_pin", &cpu->nmi_pin);
    state_bool(io, "smi_pin", &cpu->smi_pin);
    state_bool(io, "init_pin", &cpu->init_pin);
    state_u32(io, "pending_dr6", &cpu->pending_dr6);
    state_u32(io, "smbase", &cpu->smbase);
    state_bool(io, "ignne", &cpu->ignne);
    if (state_since(io, 2)) {
        state_bool(io, "rdrand_shown", &cpu->rdrand_shown);
        state_u32(io, "tsc_hz", &cpu->tsc_hz);
        state_check(io, cpu->tsc_hz >= TSC_LEAST_HZ, "a TSC that slow would be none");
    } else {
        cpu->rdrand_shown = false;
        cpu->tsc_hz = cpu_default_hz(cpu->model);
    }
    if (state_since(io, 3)) {
        bool pvclock = cpu->pvclock;
        state_bool(io, "pvclock", &pvclock);
        state_check(io, pvclock == cpu->pvclock, "only one of the two machines has kvmclock");
        state_u64(io, "pvclock_wall", &cpu->pvclock_wall);
        state_u64(io, "pvclock_time", &cpu->pvclock_time);
    } else {
        cpu->pvclock_wall = cpu->pvclock_time = 0;
    }
    state_check(io, !(cpu->pending_dr6 & ~(0xfu | DR6_BS | DR6_BT)), "no such debug trap");
    if (state_since(io, 2)) {
        state_bool(io, "io_restart", &cpu->io_restart.valid);
        state_u32(io, "io_restart_eip", &cpu->io_restart.eip);
        state_u32(io, "io_restart_ecx", &cpu->io_restart.ecx);
        state_u32(io, "io_restart_esi", &cpu->io_restart.esi);
        state_u32(io, "io_restart_edi", &cpu->io_restart.edi);
    } else {
        cpu->io_restart = (IoRestart){0};
    }
}

static void state_msrs(StateIo *io, Cpu *cpu)
{
    state_u64(io, "apic_base", &cpu->apic_base);
    state_u64(io, "sysenter_cs", &cpu->sysenter_cs);
    state_u64(io, "sysenter_esp", &cpu->sysenter_esp);
    state_u64(io, "sysenter_eip", &cpu->sysenter_eip);
    state_u64(io, "pat", &cpu->pat);
    state_u64(io, "misc_enable", &cpu->misc_enable);
    state_u64(io, "debugctl", &cpu->debugctl);
    state_u64(io, "microcode", &cpu->microcode);
    state_u64(io, "mcg_status", &cpu->mcg_status);
    state_i64(io, "tsc_offset", &cpu->tsc_offset);
    state_u64(io, "mtrr_def_type", &cpu->mtrr.def_type);
    for (unsigned i = 0; i < 11; i++) {
        state_u64(io, "mtrr_fixed", &cpu->mtrr.fixed[i]);
    }
    for (unsigned i = 0; i < 8; i++) {
        state_u64(io, "mtrr_base", &cpu->mtrr.base[i]);
        state_u64(io, "mtrr_mask", &cpu->mtrr.mask[i]);
    }
    state_check(io, !(cpu->apic_base & ~0xffffff900ull), "APIC base has reserved bits");
}

static void cpu_state(Device *d, StateIo *io)
{
    Cpu *cpu = &((CpuDevice *)d)->cpu;
    unsigned model = cpu->model;
    state_enum(io, "model", &model, CPU_MODEL_COUNT);
    state_check(io, model == cpu->model, "the state is of another processor model");
    for (unsigned i = 0; i < 8; i++) {
        state_u32(io, "reg", &cpu->reg[i]);
    }
    state_u32(io, "eip", &cpu->eip);
    uint32_t eflags = cpu_eflags(cpu);
    state_u32(io, "eflags", &eflags);
    if (state_check(io, !(eflags & ~cpu_eflags_mask(cpu->model)), "EFLAGS has reserved bits")) {
        cpu_set_eflags(cpu, eflags);
    }
    state_u8(io, "shadow", &cpu->shadow);
    state_check(io, !(cpu->shadow & ~(SHADOW_STI | SHADOW_MOV_SS)), "no such shadow");
    state_u8(io, "cpl", &cpu->cpl);
    for (unsigned i = 0; i < 8; i++) {
        state_segment(io, &cpu->seg[i]);
    }
    state_table(io, &cpu->gdtr);
    state_table(io, &cpu->idtr);
    state_control(io, cpu);
    state_fpu(io, &cpu->fpu);
    state_events(io, cpu);
    state_msrs(io, cpu);
    bool real = !(cpu->cr0 & CR0_PE);
    state_check(io, cpu->cpl <= 3 && (!real || cpu->cpl == 0), "CPL is impossible");
    state_check(io, !(cpu->eflags & FL_VM) || (cpu->cpl == 3 && !real), "VM is impossible");
}

static void cpu_restored(Device *d)
{
    Cpu *cpu = &((CpuDevice *)d)->cpu;
    mem_flush(cpu, true);
    line_set(&cpu->pins->smiact, cpu->smm);
    line_set(&cpu->pins->ferr, !(cpu->cr0 & CR0_NE) && cpu->fpu.status & FSW_ES);
    announce_apic_base(cpu);
}

static const DeviceType cpu_type = {
    .name = "cpu",
    .version = 3,
    .reset = cpu_reset,
    .state = cpu_state,
    .restored = cpu_restored,
};

Cpu *cpu_new(Board *b, CpuModel model, const CpuPins *pins)
{
    CpuDevice *device = calloc(1, sizeof(*device));
    if (!device) {
        return NULL;
    }
    Cpu *cpu = &device->cpu;
    device->pins = *pins;
    cpu->model = model;
    cpu->tsc_hz = cpu_default_hz(model);
    cpu->a20 = true;
    cpu->board = b;
    cpu->ram = &b->ram;
    cpu->pins = &device->pins;
    cpu->tlb = &device->tlb;
    for (unsigned set = 0; set < 2; set++) {
        for (unsigned i = 0; i < TLB_ENTRIES; i++) {
            device->tlb.page[set][i].tag = TLB_NONE;
            device->tlb.hot[set][i] = (TlbEntry){TLB_NONE, TLB_NONE, 0};
        }
    }
    device_add(b, &device->dev, &cpu_type, "cpu");
    cpu_reset(&device->dev, RESET_POWER);
    return cpu;
}

void cpu_intr(void *self, unsigned pin, bool level)
{
    Cpu *cpu = self;
    (void)pin;
    cpu->intr = level;
    if (level) {
        atomic_store_explicit(&cpu->attention, true, memory_order_release);
    }
}

void cpu_connect(Cpu *cpu, const CpuPins *pins)
{
    CpuDevice *device =
        (CpuDevice *)((char *)cpu - offsetof(CpuDevice, cpu)); // NOLINT: its container
    device->pins = *pins;
}

/* Edge-triggered pins: latches a rising edge. */
static void edge(Cpu *cpu, bool *pin, bool *pending, bool level)
{
    if (level && !*pin) {
        *pending = true;
        atomic_store_explicit(&cpu->attention, true, memory_order_release);
    }
    *pin = level;
}

void cpu_nmi(void *self, unsigned pin, bool level)
{
    Cpu *cpu = self;
    (void)pin;
    edge(cpu, &cpu->nmi_pin, &cpu->nmi_pending, level);
}

void cpu_smi(void *self, unsigned pin, bool level)
{
    Cpu *cpu = self;
    (void)pin;
    edge(cpu, &cpu->smi_pin, &cpu->smi_pending, level);
}

void cpu_init_pin(void *self, unsigned pin, bool level)
{
    Cpu *cpu = self;
    (void)pin;
    edge(cpu, &cpu->init_pin, &cpu->init_pending, level);
}

void cpu_a20m(void *self, unsigned pin, bool open)
{
    Cpu *cpu = self;
    (void)pin;
    if (cpu->a20 != open) {
        cpu->a20 = open;
        mem_flush(cpu, true);
    }
}

void cpu_ignne(void *self, unsigned pin, bool level)
{
    Cpu *cpu = self;
    (void)pin;
    /* Only while FERR# is asserted: the BIOS writes port F0h at times when nothing is pending. */
    if (level && cpu->fpu.status & FSW_ES && !(cpu->cr0 & CR0_NE)) {
        cpu->ignne = true;
    }
}
