/* What the interpreter's handlers have in common: registers, addresses, memory, conditions. */
#ifndef CPU_ACCEL_X86_EX_H
#define CPU_ACCEL_X86_EX_H

#include "cpu-accel/x86/alu.h"
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/ops.h"

/* Registers by number and width, as lvalues. */
#define REG8(n) (*cpu_reg8(cpu, n))
#define REG16(n) (*(uint16_t *)&cpu->reg[n])
#define REG32(n) (cpu->reg[n])

/* A function of the shape of a handler. */
#define HANDLER(name) Outcome name(Cpu *cpu, const Insn *in)

/* The offset of the memory operand, cut to the address size. */
static inline uint32_t ex_address(const Cpu *cpu, const Insn *in)
{
    return (in->disp + cpu->reg[in->base] + (cpu->reg[in->index] << in->scale)) & in->address_mask;
}

/* The memory operand. */
#define EX_MEMORY(BITS, T)                                                                         \
    static inline bool ex_load##BITS(Cpu *cpu, const Insn *in, T *value)                           \
    {                                                                                              \
        return mem_read##BITS(cpu, (SegIndex)in->seg, ex_address(cpu, in), value);                 \
    }                                                                                              \
    static inline bool ex_save##BITS(Cpu *cpu, const Insn *in, T value)                            \
    {                                                                                              \
        return mem_write##BITS(cpu, (SegIndex)in->seg, ex_address(cpu, in), value);                \
    }                                                                                              \
    static inline bool ex_modify##BITS(Cpu *cpu, const Insn *in, MemRmw *rmw, T *value)            \
    {                                                                                              \
        return mem_rmw##BITS(cpu, (SegIndex)in->seg, ex_address(cpu, in), rmw, value);             \
    }
EX_MEMORY(8, uint8_t)
EX_MEMORY(16, uint16_t)
EX_MEMORY(32, uint32_t)

/* One flag of Cpu.arith. */
static inline void ex_flag(Cpu *cpu, uint16_t bit, bool value)
{
    cpu->arith = (uint16_t)((cpu->arith & ~bit) | (value ? bit : 0));
}

/* Conditions (SDM vol. 1, appendix B), by the names of Jcc. */
static inline bool cond_o(uint16_t arith)
{
    return arith & ARITH_OF;
}

static inline bool cond_b(uint16_t arith)
{
    return arith & ARITH_CF;
}

static inline bool cond_z(uint16_t arith)
{
    return arith & ARITH_ZF;
}

static inline bool cond_be(uint16_t arith)
{
    return arith & (ARITH_CF | ARITH_ZF);
}

static inline bool cond_s(uint16_t arith)
{
    return arith & ARITH_SF;
}

static inline bool cond_p(uint16_t arith)
{
    return arith & ARITH_PF;
}

static inline bool cond_l(uint16_t arith)
{
    return (arith >> 15 ^ arith) & 1;
}

static inline bool cond_le(uint16_t arith)
{
    return cond_z(arith) || cond_l(arith);
}

/* X(name, test) for each condition. */
#define EX_CONDITIONS(X)                                                                           \
    X(o, cond_o(cpu->arith))                                                                       \
    X(no, !cond_o(cpu->arith))                                                                     \
    X(b, cond_b(cpu->arith))                                                                       \
    X(nb, !cond_b(cpu->arith))                                                                     \
    X(z, cond_z(cpu->arith))                                                                       \
    X(nz, !cond_z(cpu->arith))                                                                     \
    X(be, cond_be(cpu->arith))                                                                     \
    X(nbe, !cond_be(cpu->arith))                                                                   \
    X(s, cond_s(cpu->arith))                                                                       \
    X(ns, !cond_s(cpu->arith))                                                                     \
    X(p, cond_p(cpu->arith))                                                                       \
    X(np, !cond_p(cpu->arith))                                                                     \
    X(l, cond_l(cpu->arith))                                                                       \
    X(nl, !cond_l(cpu->arith))                                                                     \
    X(le, cond_le(cpu->arith))                                                                     \
    X(nle, !cond_le(cpu->arith))

/* A near transfer: #GP(0), with nothing changed, beyond the limit of CS. */
static inline Outcome ex_branch(Cpu *cpu, uint32_t target)
{
    if (target > cpu->seg[CS].limit) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    cpu->eip = target;
    return X_BRANCH;
}

/* The stack pointer is SP or ESP by the stack segment's B bit. */
static inline uint32_t ex_stack_mask(const Cpu *cpu)
{
    return cpu_stack32(cpu) ? UINT32_MAX : UINT16_MAX;
}

static inline void ex_stack_set(Cpu *cpu, uint32_t esp)
{
    uint32_t mask = ex_stack_mask(cpu);
    cpu->reg[ESP] = (cpu->reg[ESP] & ~mask) | (esp & mask);
}

/* Pushing and popping; on false nothing has changed. */
#define EX_STACK(BITS, T)                                                                          \
    static inline bool ex_push##BITS(Cpu *cpu, T value)                                            \
    {                                                                                              \
        uint32_t esp = cpu->reg[ESP] - BITS / 8;                                                   \
        if (!mem_write##BITS(cpu, SS, esp & ex_stack_mask(cpu), value)) {                          \
            return false;                                                                          \
        }                                                                                          \
        ex_stack_set(cpu, esp);                                                                    \
        return true;                                                                               \
    }                                                                                              \
    static inline bool ex_pop##BITS(Cpu *cpu, T *value)                                            \
    {                                                                                              \
        if (!mem_read##BITS(cpu, SS, cpu->reg[ESP] & ex_stack_mask(cpu), value)) {                 \
            return false;                                                                          \
        }                                                                                          \
        ex_stack_set(cpu, cpu->reg[ESP] + BITS / 8);                                               \
        return true;                                                                               \
    }
EX_STACK(16, uint16_t)
EX_STACK(32, uint32_t)

#endif
