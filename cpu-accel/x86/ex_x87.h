/* What the x87 handlers share: the way to the host's unit, the stack, and the exact path.
 *
 * A handler tries a fast path under x87_fast: no exception is pending, no stack fault can occur,
 * and underflow is masked. It runs the instruction on the host with the guest's precision and
 * rounding and all exceptions masked. When that raised a flag which the guest has not masked,
 * nothing has been stored yet and x87_exact runs the instruction again, with the guest's masks.
 *
 * The host's unit is left with the guest's rounding and precision and with flags that the guest has
 * too; x87_host_load looks before each use. Its stack is always empty and its exceptions are
 * masked. An engine calls fpu_host_release when it begins to run a guest on this thread, and C code
 * of this program must not compute in long double.
 */
#ifndef CPU_ACCEL_X86_EX_X87_H
#define CPU_ACCEL_X86_EX_X87_H

#include "cpu-accel/x86/ex.h"
#include "cpu-accel/x86/fpu.h"

/* Registers an instruction needs, for x87_fast: bit i for ST(i), and room for a push. */
enum { X87_ST0 = 1 << 0, X87_ST1 = 1 << 1, X87_PUSH = 1 << 8 };

/* The memory operand of an exact run: 10 bytes at most. */
typedef struct X87Operand {
    uint8_t bytes[16];
} X87Operand;

static inline unsigned x87_top(const Fpu *f)
{
    return f->status >> FSW_TOP_SHIFT & 7;
}

static inline Float80 *x87_st(Fpu *f, unsigned i)
{
    return &f->st[(x87_top(f) + i) & 7];
}

static inline void x87_set_top(Fpu *f, unsigned top)
{
    f->status = (uint16_t)((f->status & ~FSW_TOP) | (top & 7) << FSW_TOP_SHIFT);
}

static inline void x87_pop(Fpu *f)
{
    unsigned top = x87_top(f);
    f->valid &= (uint8_t) ~(1u << top);
    x87_set_top(f, top + 1);
}

/* A place for a new ST(0); the caller has checked that it is free. */
static inline Float80 *x87_push(Fpu *f)
{
    unsigned top = (x87_top(f) - 1) & 7;
    f->valid |= (uint8_t)(1u << top);
    x87_set_top(f, top);
    return &f->st[top];
}

/* Clears the host's flags if it must, and loads the control word. */
void x87_host_step(const Fpu *f, uint16_t wanted);

/* True when the handler may use its fast path; else x87_slow does the whole instruction. */
static inline bool x87_fast(const Cpu *cpu, unsigned need)
{
    const Fpu *f = &cpu->fpu;
    unsigned valid = (f->valid * 0x101u) >> x87_top(f);
    /* Bit 7 of the rotated tags is what a push would overwrite: it must be free. */
    unsigned want = need & 0xff, care = want | (need & X87_PUSH ? 0x80u : 0);
    return !(cpu->cr0 & (CR0_EM | CR0_TS)) && !(f->status & FSW_ES) && (f->control & FSW_UE) &&
           (valid & care) == want;
}

/* Brings the guest's precision and rounding into the host, and sees to it that the host has no flag
 * that the guest has not. Reading the host's status is dear and reading its control word is not:
 * the infinity control, without effect since the 387, marks a host that is known to be in step.
 * fpu_host_release takes the mark away. */
static inline void x87_host_load(const Fpu *f)
{
    uint16_t control;
    uint16_t wanted = (f->control & (FCW_PRECISION | FCW_ROUNDING)) | FCW_ONE | FCW_MASKS;
    wanted |= FCW_INFINITY;
    __asm__ volatile("fnstcw %0" : "=m"(control));
    if (__builtin_expect(control != wanted, 0)) {
        x87_host_step(f, wanted);
    }
}

/* The host's status shows a flag that the guest has not masked. */
static inline bool x87_unmasked(const Fpu *f, uint16_t host_status)
{
    return host_status & FSW_FLAGS & ~f->control;
}

/* Takes flags and the condition bits of `codes` from the host. */
static inline void x87_take_status(Fpu *f, uint16_t host_status, unsigned codes)
{
    f->status = (uint16_t)((f->status & ~codes) | (host_status & (FSW_FLAGS | codes)));
}

/* FIP and FOP, as after every instruction that is no control instruction (SDM vol. 1, 8.1.8). */
static inline void x87_note(Cpu *cpu, const Insn *in)
{
    Fpu *f = &cpu->fpu;
    f->ip = cpu->eip;
    f->ip_selector = cpu->seg[CS].selector;
    f->opcode = (uint16_t)((in->opcode & 7) << 8 | in->modrm);
}

/* With FDP too. */
static inline void x87_note_memory(Cpu *cpu, const Insn *in, uint32_t address)
{
    x87_note(cpu, in);
    cpu->fpu.data = address;
    cpu->fpu.data_selector = cpu->seg[in->seg].selector;
}

/* Sets the whole status: ES and B follow from flags and masks, FERR# from ES. */
void x87_set_status(Cpu *cpu, uint16_t status);
void x87_set_control(Cpu *cpu, uint16_t control);

/* What a waiting instruction does before anything else: #NM, #MF, or waits for the interrupt that
 * FERR# causes. X_NEXT: go on. */
Outcome x87_enter(Cpu *cpu);
/* The part of it after the checks of CR0: a pending exception. */
Outcome x87_enter_pending(Cpu *cpu);

/* The whole instruction in its exact form, from the checks on entry. */
Outcome x87_slow(Cpu *cpu, const Insn *in);
/* The same after entry; a memory operand that is read has been read from `address`. */
Outcome x87_exact(Cpu *cpu, const Insn *in, uint32_t address, const X87Operand *operand);

#endif
