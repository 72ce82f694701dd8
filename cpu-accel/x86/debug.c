/* Debug registers and single step: instruction breakpoints, I/O breakpoints, traps.
 *
 * SDM vol. 3, chapter 17. Data breakpoints are noticed by mmu_watch. Not modelled: last branch
 * records and branch trace (DEBUGCTL reads back).
 */
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/system.h"

enum {
    KIND_EXECUTE = 0,
    KIND_IO = 2,
    DR6_WRITABLE = 0xe00f,
    DR7_KEPT = (int)0xffff2fff, /* bits 11, 12, 14 and 15 are 0, bit 10 is 1 */
};

#define DR6_ONES 0xffff0ff0u

static bool enabled(const Cpu *cpu, unsigned i, unsigned kind)
{
    return cpu->dr7 >> (2 * i) & 3 && (cpu->dr7 >> (16 + 4 * i) & 3) == kind;
}

static uint32_t code_hits(const Cpu *cpu)
{
    uint32_t linear = cpu->seg[CS].base + cpu->eip, hits = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (enabled(cpu, i, KIND_EXECUTE) && cpu->dr[i] == linear) {
            hits |= 1u << i;
        }
    }
    return hits;
}

Outcome debug_begin(Cpu *cpu)
{
    bool resuming = cpu->eflags & FL_RF;
    bool shadowed = cpu->shadow & SHADOW_MOV_SS;
    cpu->step_trap = false;
    if (!resuming && !shadowed && cpu->dr7 & 0xff) {
        uint32_t hits = code_hits(cpu);
        if (hits) {
            cpu_fault(cpu, VEC_DB);
            cpu->fault.dr6 = hits;
            return X_FAULT;
        }
    }
    cpu->eflags &= ~(uint32_t)FL_RF;
    cpu->step_trap = cpu->eflags & FL_TF;
    return X_NEXT;
}

void debug_end(Cpu *cpu, Outcome outcome)
{
    if (outcome == X_FAULT) {
        return;
    }
    /* MOV SS with TF set does not trap; the instruction after it does. */
    if (cpu->step_trap && !(cpu->shadow & SHADOW_MOV_SS)) {
        cpu->pending_dr6 |= DR6_BS;
    }
    cpu->step_trap = false;
    if (outcome == X_REPEAT) {
        cpu->eflags |= FL_RF;
    }
}

void debug_watch_io(Cpu *cpu, uint16_t port, unsigned bytes)
{
    static const uint8_t length[4] = {1, 2, 8, 4};
    if (!(cpu->dr7 & 0xff) || !(cpu->cr4 & CR4_DE)) {
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        uint32_t size = length[cpu->dr7 >> (18 + 4 * i) & 3];
        uint32_t start = cpu->dr[i] & ~(size - 1);
        if (enabled(cpu, i, KIND_IO) && (port - start < size || start - port < bytes)) {
            cpu->pending_dr6 |= 1u << i;
        }
    }
}

/* DR4 and DR5 are DR6 and DR7, or #UD under CR4.DE. */
static bool debug_register(Cpu *cpu, unsigned *n)
{
    if ((*n == 4 || *n == 5)) {
        if (cpu->cr4 & CR4_DE) {
            cpu_fault(cpu, VEC_UD);
            return false;
        }
        *n += 2;
    }
    if (cpu->dr7 & DR7_GD) {
        cpu_fault(cpu, VEC_DB);
        cpu->fault.dr6 = DR6_BD;
        return false;
    }
    return true;
}

Outcome dr_read(Cpu *cpu, unsigned n, uint32_t *value)
{
    if (!debug_register(cpu, &n)) {
        return X_FAULT;
    }
    *value = n < 4 ? cpu->dr[n] : n == 6 ? cpu->dr6 : cpu->dr7;
    return X_NEXT;
}

Outcome dr_write(Cpu *cpu, unsigned n, uint32_t value)
{
    if (!debug_register(cpu, &n)) {
        return X_FAULT;
    }
    if (n < 4) {
        cpu->dr[n] = value;
    } else if (n == 6) {
        cpu->dr6 = (value & DR6_WRITABLE) | DR6_ONES;
    } else {
        cpu->dr7 = (value & (uint32_t)DR7_KEPT) | 0x400;
    }
    mem_flush(cpu, true); /* pages with data breakpoints have no fast path */
    return X_NEXT;
}
