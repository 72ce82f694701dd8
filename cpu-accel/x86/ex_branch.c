/* Handlers: Jcc, JMP, CALL, RET, LOOP, JCXZ within the code segment.
 *
 * SDM volume 2. A 16-bit operand size cuts the target to 16 bits. A target beyond the limit of CS
 * is #GP(0) at the branch itself, with nothing changed.
 */
#include "cpu-accel/x86/ex.h"

static inline uint32_t target_16(const Cpu *cpu, const Insn *in)
{
    return (cpu->eip + in->length + in->imm) & 0xffff;
}

static inline uint32_t target_32(const Cpu *cpu, const Insn *in)
{
    return cpu->eip + in->length + in->imm;
}

#define JUMP_IF(NAME, TEST, BITS)                                                                  \
    HANDLER(ex_j##NAME##_##BITS)                                                                   \
    {                                                                                              \
        return (TEST) ? ex_branch(cpu, target_##BITS(cpu, in)) : X_NEXT;                           \
    }
#define JUMPS_IF(NAME, TEST)                                                                       \
    JUMP_IF(NAME, TEST, 16)                                                                        \
    JUMP_IF(NAME, TEST, 32)
EX_CONDITIONS(JUMPS_IF)

/* CX or ECX, by the address size. */
static inline uint32_t counter(const Cpu *cpu, const Insn *in)
{
    return cpu->reg[ECX] & in->address_mask;
}

static Outcome loop(Cpu *cpu, const Insn *in, bool also, uint32_t target)
{
    uint32_t count = (counter(cpu, in) - 1) & in->address_mask;

    if (count != 0 && also && ex_branch(cpu, target) == X_FAULT) {
        return X_FAULT;
    }
    cpu->reg[ECX] = (cpu->reg[ECX] & ~in->address_mask) | count;
    return count != 0 && also ? X_BRANCH : X_NEXT;
}

#define BRANCHES(BITS, T)                                                                          \
    HANDLER(ex_loop_##BITS)                                                                        \
    {                                                                                              \
        return loop(cpu, in, true, target_##BITS(cpu, in));                                        \
    }                                                                                              \
    HANDLER(ex_loope_##BITS)                                                                       \
    {                                                                                              \
        return loop(cpu, in, cond_z(cpu->arith), target_##BITS(cpu, in));                          \
    }                                                                                              \
    HANDLER(ex_loopne_##BITS)                                                                      \
    {                                                                                              \
        return loop(cpu, in, !cond_z(cpu->arith), target_##BITS(cpu, in));                         \
    }                                                                                              \
    HANDLER(ex_jcxz_##BITS)                                                                        \
    {                                                                                              \
        return counter(cpu, in) ? X_NEXT : ex_branch(cpu, target_##BITS(cpu, in));                 \
    }                                                                                              \
    HANDLER(ex_jmp_jv_##BITS)                                                                      \
    {                                                                                              \
        return ex_branch(cpu, target_##BITS(cpu, in));                                             \
    }                                                                                              \
    HANDLER(ex_jmp_ev_##BITS##r)                                                                   \
    {                                                                                              \
        return ex_branch(cpu, REG##BITS(in->rm));                                                  \
    }                                                                                              \
    HANDLER(ex_jmp_ev_##BITS##m)                                                                   \
    {                                                                                              \
        T target;                                                                                  \
        return ex_load##BITS(cpu, in, &target) ? ex_branch(cpu, target) : X_FAULT;                 \
    }                                                                                              \
    static Outcome call_##BITS(Cpu *cpu, const Insn *in, uint32_t target)                          \
    {                                                                                              \
        if (target > cpu->seg[CS].limit) {                                                         \
            return cpu_fault_code(cpu, VEC_GP, 0);                                                 \
        }                                                                                          \
        if (!ex_push##BITS(cpu, (T)(cpu->eip + in->length))) {                                     \
            return X_FAULT;                                                                        \
        }                                                                                          \
        cpu->eip = target;                                                                         \
        return X_BRANCH;                                                                           \
    }                                                                                              \
    HANDLER(ex_call_jv_##BITS)                                                                     \
    {                                                                                              \
        return call_##BITS(cpu, in, target_##BITS(cpu, in));                                       \
    }                                                                                              \
    HANDLER(ex_call_ev_##BITS##r)                                                                  \
    {                                                                                              \
        return call_##BITS(cpu, in, REG##BITS(in->rm));                                            \
    }                                                                                              \
    HANDLER(ex_call_ev_##BITS##m)                                                                  \
    {                                                                                              \
        T target;                                                                                  \
        return ex_load##BITS(cpu, in, &target) ? call_##BITS(cpu, in, target) : X_FAULT;           \
    }                                                                                              \
    HANDLER(ex_ret_##BITS)                                                                         \
    {                                                                                              \
        T target;                                                                                  \
        if (!mem_read##BITS(cpu, SS, cpu->reg[ESP] & ex_stack_mask(cpu), &target) ||               \
            ex_branch(cpu, target) == X_FAULT) {                                                   \
            return X_FAULT;                                                                        \
        }                                                                                          \
        ex_stack_set(cpu, cpu->reg[ESP] + BITS / 8 + in->imm);                                     \
        return X_BRANCH;                                                                           \
    }
BRANCHES(16, uint16_t)
BRANCHES(32, uint32_t)
