/* What the files of protected mode share: descriptors, stacks of a transfer, the TSS. For seg.c,
 * far.c, interrupt.c, task.c and ex_system*.c; all others use control.h. */
#ifndef CPU_ACCEL_X86_SYSTEM_H
#define CPU_ACCEL_X86_SYSTEM_H

#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/cpu.h"

/* System descriptor types, with S = 0 (SDM vol. 3, table 3-2). */
enum {
    DESC_TSS16 = 0x1,
    DESC_LDT = 0x2,
    DESC_TSS16_BUSY = 0x3,
    DESC_CALL16 = 0x4,
    DESC_TASK_GATE = 0x5,
    DESC_INT16 = 0x6,
    DESC_TRAP16 = 0x7,
    DESC_TSS32 = 0x9,
    DESC_TSS32_BUSY = 0xb,
    DESC_CALL32 = 0xc,
    DESC_INT32 = 0xe,
    DESC_TRAP32 = 0xf,
    DESC_TSS_BUSY_BIT = 0x2,
    DESC_IS_32 = 0x8, /* of gates and TSSs */
};

/* Error code bits (SDM vol. 3, 6.13). */
enum { ERROR_EXT = 1, ERROR_IDT = 2 };

enum { SELECTOR_TI = 4, SELECTOR_RPL = 3 };

typedef struct Desc {
    uint32_t low, high;
    uint32_t at; /* linear address */
} Desc;

static inline unsigned desc_type(const Desc *d)
{
    return d->high >> 8 & 0x1f; /* S is bit 4 */
}

static inline unsigned desc_dpl(const Desc *d)
{
    return d->high >> 13 & 3;
}

static inline bool desc_present(const Desc *d)
{
    return d->high & 0x8000;
}

static inline bool desc_code(const Desc *d)
{
    return (d->high & 0x1800) == 0x1800;
}

static inline bool desc_conforming(const Desc *d)
{
    return d->high & 0x400;
}

static inline bool desc_writable_data(const Desc *d)
{
    return (d->high & 0x1a00) == 0x1200;
}

/* Data, or code that can be read. */
static inline bool desc_readable(const Desc *d)
{
    return (d->high & 0x1800) == 0x1000 || (d->high & 0x1a00) == 0x1a00;
}

static inline bool desc_tss(const Desc *d)
{
    return (desc_type(d) & ~(DESC_IS_32 | DESC_TSS_BUSY_BIT)) == DESC_TSS16;
}

static inline uint32_t selector_error(uint16_t selector, uint32_t ext)
{
    return (selector & ~(uint32_t)SELECTOR_RPL) | ext;
}

static inline bool selector_null(uint16_t selector)
{
    return !(selector & ~SELECTOR_RPL);
}

/* Reads a descriptor from GDT or LDT; outside the table it faults with `vector` and the selector as
 * error code. The selector is not null. */
bool desc_fetch(Cpu *cpu, uint16_t selector, Vector vector, uint32_t ext, Desc *d);
/* Sets the accessed bit of a code or data descriptor in its table. */
bool desc_mark_accessed(Cpu *cpu, Desc *d);
void desc_unpack(const Desc *d, uint16_t selector, SegReg *s);
/* Is [offset, offset + size) inside the segment? */
bool seg_within(const SegReg *s, uint32_t offset, unsigned size);
/* Sets SS, and the others, to what virtual-8086 mode has. */
void seg_set_v86(SegReg *s, uint16_t selector);
/* A return to an outer level: takes away data segments it may not have (SDM vol. 3, 5.8.6). */
void seg_drop_inner(Cpu *cpu);
/* The stack segment of an inner level or a return: all checks, faulting with `vector` (#TS or
 * #GP; not present: #SS). The accessed bit is set. */
bool seg_stack_check(Cpu *cpu, uint16_t selector, unsigned dpl, Vector vector, uint32_t ext,
                     SegReg *s);
/* The stack for level dpl from the TSS. */
bool tss_stack(Cpu *cpu, unsigned dpl, uint32_t ext, uint16_t *ss, uint32_t *esp);

/* A stack being pushed to or popped from; nothing of the Cpu changes before stack_commit. */
typedef struct Stack {
    SegReg ss;
    uint32_t esp;
    bool user;           /* privilege of its accesses */
    uint32_t error_code; /* of #SS */
} Stack;

Stack stack_current(const Cpu *cpu);
bool stack_push(Cpu *cpu, Stack *stack, uint32_t value, unsigned size);
bool stack_pop(Cpu *cpu, Stack *stack, uint32_t *value, unsigned size);
/* Is there room for so many bytes of pushes? Faults like stack_push. */
bool stack_room(Cpu *cpu, const Stack *stack, unsigned bytes);
void stack_add(Stack *stack, uint32_t bytes);
/* SS stays; SP or ESP by its size. */
void stack_commit(Cpu *cpu, const Stack *stack);
/* SS and stack pointer. */
void stack_switch(Cpu *cpu, const Stack *stack);

/* The flags that POPF and IRET may change at this privilege, of those that `opsize` reaches. */
void flags_load(Cpu *cpu, uint32_t value, uint32_t mask);

#endif
