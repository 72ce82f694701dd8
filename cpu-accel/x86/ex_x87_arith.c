/* x87: arithmetic, comparisons, and the functions of the top of the stack.
 *
 * SDM vol. 1, 8.3.5 to 8.3.7. The work is done by the host's instruction of the same name, so
 * results, NaNs and flags are the silicon's; see ex_x87.h for when the fast paths here apply.
 */
#include <string.h>

#include "cpu-accel/x86/ex_x87.h"

/* The host computes with `a` in ST(1) and `b` in ST(0), and pops; the status is read before the
 * store, which clears C1. */
#define HOST_POPPING(code, a, b, result, status)                                                   \
    __asm__ volatile("fldt %2\n\tfldt %3\n\t" code "\n\tfnstsw %0\n\tfstpt %1"                     \
                     : "=&a"(status), "=m"(*(result))                                              \
                     : "m"(*(a)), "m"(*(b)))

/* By opcode bytes: assemblers disagree about the names of the reversed forms. Each leaves ST(1) op
 * ST(0), or for the reversed ones ST(0) op ST(1). */
#define HOST_FADD ".byte 0xde, 0xc1"
#define HOST_FMUL ".byte 0xde, 0xc9"
#define HOST_FSUB ".byte 0xde, 0xe9"
#define HOST_FSUBR ".byte 0xde, 0xe1"
#define HOST_FDIV ".byte 0xde, 0xf9"
#define HOST_FDIVR ".byte 0xde, 0xf1"

/* ST(i) op= ST(0), with or without a pop, and ST(0) op= ST(i). */
#define ARITHMETIC_REGISTERS(name, direct)                                                         \
    static bool name##_registers(Cpu *cpu, const Insn *in, Float80 *a, const Float80 *b)           \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        Float80 result = {0};                                                                      \
        uint16_t status;                                                                           \
        x87_host_load(f);                                                                          \
        HOST_POPPING(direct, a, b, &result, status);                                               \
        if (x87_unmasked(f, status)) {                                                             \
            return false;                                                                          \
        }                                                                                          \
        *a = result;                                                                               \
        x87_take_status(f, status, FSW_C1);                                                        \
        x87_note(cpu, in);                                                                         \
        return true;                                                                               \
    }                                                                                              \
    Outcome ex_##name##_st_sti(Cpu *cpu, const Insn *in)                                           \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        if (x87_fast(cpu, X87_ST0 | 1u << in->rm) &&                                               \
            name##_registers(cpu, in, x87_st(f, 0), x87_st(f, in->rm))) {                          \
            return X_NEXT;                                                                         \
        }                                                                                          \
        return x87_slow(cpu, in);                                                                  \
    }                                                                                              \
    Outcome ex_##name##_sti_st(Cpu *cpu, const Insn *in)                                           \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        if (x87_fast(cpu, X87_ST0 | 1u << in->rm) &&                                               \
            name##_registers(cpu, in, x87_st(f, in->rm), x87_st(f, 0))) {                          \
            return X_NEXT;                                                                         \
        }                                                                                          \
        return x87_slow(cpu, in);                                                                  \
    }                                                                                              \
    Outcome ex_##name##p_sti_st(Cpu *cpu, const Insn *in)                                          \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        if (x87_fast(cpu, X87_ST0 | 1u << in->rm) &&                                               \
            name##_registers(cpu, in, x87_st(f, in->rm), x87_st(f, 0))) {                          \
            x87_pop(f);                                                                            \
            return X_NEXT;                                                                         \
        }                                                                                          \
        return x87_slow(cpu, in);                                                                  \
    }

ARITHMETIC_REGISTERS(fadd, HOST_FADD)
ARITHMETIC_REGISTERS(fmul, HOST_FMUL)
ARITHMETIC_REGISTERS(fsub, HOST_FSUB)
ARITHMETIC_REGISTERS(fsubr, HOST_FSUBR)
ARITHMETIC_REGISTERS(fdiv, HOST_FDIV)
ARITHMETIC_REGISTERS(fdivr, HOST_FDIVR)

/* ST(0) op= memory. The host's own form with a memory operand: loading first would treat an SNaN
 * otherwise. */
#define ARITHMETIC_MEMORY(name, Type, read, code)                                                  \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        X87Operand operand;                                                                        \
        Type value;                                                                                \
        Float80 result = {0};                                                                      \
        uint16_t status;                                                                           \
        if (!x87_fast(cpu, X87_ST0)) {                                                             \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        uint32_t address = ex_address(cpu, in);                                                    \
        if (!read(cpu, (SegIndex)in->seg, address, &value)) {                                      \
            return X_FAULT;                                                                        \
        }                                                                                          \
        x87_host_load(f);                                                                          \
        __asm__ volatile("fldt %2\n\t" code " %3\n\tfnstsw %0\n\tfstpt %1"                         \
                         : "=&a"(status), "=m"(result)                                             \
                         : "m"(*x87_st(f, 0)), "m"(value));                                        \
        if (x87_unmasked(f, status)) {                                                             \
            memcpy(operand.bytes, &value, sizeof value);                                           \
            return x87_exact(cpu, in, address, &operand);                                          \
        }                                                                                          \
        *x87_st(f, 0) = result;                                                                    \
        x87_take_status(f, status, FSW_C1);                                                        \
        x87_note_memory(cpu, in, address);                                                         \
        return X_NEXT;                                                                             \
    }

#define COMPARE_MEMORY(name, Type, read, code, pops)                                               \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        X87Operand operand;                                                                        \
        Type value;                                                                                \
        uint16_t status;                                                                           \
        if (!x87_fast(cpu, X87_ST0)) {                                                             \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        uint32_t address = ex_address(cpu, in);                                                    \
        if (!read(cpu, (SegIndex)in->seg, address, &value)) {                                      \
            return X_FAULT;                                                                        \
        }                                                                                          \
        x87_host_load(f);                                                                          \
        __asm__ volatile("fldt %1\n\t" code " %2\n\tfnstsw %0"                                     \
                         : "=&a"(status)                                                           \
                         : "m"(*x87_st(f, 0)), "m"(value));                                        \
        if (x87_unmasked(f, status)) {                                                             \
            memcpy(operand.bytes, &value, sizeof value);                                           \
            return x87_exact(cpu, in, address, &operand);                                          \
        }                                                                                          \
        x87_take_status(f, status, FSW_CONDITION);                                                 \
        if (pops) {                                                                                \
            x87_pop(f);                                                                            \
        }                                                                                          \
        x87_note_memory(cpu, in, address);                                                         \
        return X_NEXT;                                                                             \
    }

/* AT&T suffixes: s and l are single and double, for integers s is 16 bits and l 32. */
#define MEMORY_FORMS(operand, Type, read, prefix, suffix)                                          \
    ARITHMETIC_MEMORY(prefix##add_##operand, Type, read, #prefix "add" suffix)                     \
    ARITHMETIC_MEMORY(prefix##mul_##operand, Type, read, #prefix "mul" suffix)                     \
    ARITHMETIC_MEMORY(prefix##sub_##operand, Type, read, #prefix "sub" suffix)                     \
    ARITHMETIC_MEMORY(prefix##subr_##operand, Type, read, #prefix "subr" suffix)                   \
    ARITHMETIC_MEMORY(prefix##div_##operand, Type, read, #prefix "div" suffix)                     \
    ARITHMETIC_MEMORY(prefix##divr_##operand, Type, read, #prefix "divr" suffix)                   \
    COMPARE_MEMORY(prefix##com_##operand, Type, read, #prefix "comp" suffix, false)                \
    COMPARE_MEMORY(prefix##comp_##operand, Type, read, #prefix "comp" suffix, true)

MEMORY_FORMS(md, uint32_t, mem_read32, f, "s")
MEMORY_FORMS(mq, uint64_t, mem_read64, f, "l")
MEMORY_FORMS(md, uint32_t, mem_read32, fi, "l")
MEMORY_FORMS(mw, uint16_t, mem_read16, fi, "s")

/* Compares a with b on the host; the code pops both. */
#define COMPARE_REGISTERS(name, code, other, pops)                                                 \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        uint16_t status;                                                                           \
        if (!x87_fast(cpu, X87_ST0 | 1u << (other))) {                                             \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        x87_host_load(f);                                                                          \
        __asm__ volatile("fldt %1\n\tfldt %2\n\t" code "\n\tfnstsw %0"                             \
                         : "=&a"(status)                                                           \
                         : "m"(*x87_st(f, other)), "m"(*x87_st(f, 0)));                            \
        if (x87_unmasked(f, status)) {                                                             \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        x87_take_status(f, status, FSW_CONDITION);                                                 \
        if ((pops) > 0) {                                                                          \
            x87_pop(f);                                                                            \
        }                                                                                          \
        if ((pops) > 1) {                                                                          \
            x87_pop(f);                                                                            \
        }                                                                                          \
        x87_note(cpu, in);                                                                         \
        return X_NEXT;                                                                             \
    }

COMPARE_REGISTERS(fcom_sti, "fcompp", in->rm, 0)
COMPARE_REGISTERS(fcomp_sti, "fcompp", in->rm, 1)
COMPARE_REGISTERS(fcompp, "fcompp", 1, 2)
COMPARE_REGISTERS(fucom_sti, "fucompp", in->rm, 0)
COMPARE_REGISTERS(fucomp_sti, "fucompp", in->rm, 1)
COMPARE_REGISTERS(fucompp, "fucompp", 1, 2)

/* The same with the result in EFLAGS; C1 changes with a stack fault only. */
#define COMPARE_FLAGS(name, code, pops)                                                            \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        uint16_t status, arith;                                                                    \
        if (!x87_fast(cpu, X87_ST0 | 1u << in->rm)) {                                              \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        x87_host_load(f);                                                                          \
        __asm__ volatile("fldt %2\n\tfldt %3\n\t" code " %%st(1), %%st\n\t"                        \
                         "lahf\n\tseto %%al\n\tmovw %%ax, %1\n\tfnstsw %%ax\n\tfstp %%st(0)"       \
                         : "=&a"(status), "=&r"(arith)                                             \
                         : "m"(*x87_st(f, in->rm)), "m"(*x87_st(f, 0))                             \
                         : "cc");                                                                  \
        if (x87_unmasked(f, status)) {                                                             \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        cpu->arith = arith;                                                                        \
        x87_take_status(f, status, 0);                                                             \
        if (pops) {                                                                                \
            x87_pop(f);                                                                            \
        }                                                                                          \
        x87_note(cpu, in);                                                                         \
        return X_NEXT;                                                                             \
    }

COMPARE_FLAGS(fcomi, "fcomip", false)
COMPARE_FLAGS(fcomip, "fcomip", true)
COMPARE_FLAGS(fucomi, "fucomip", false)
COMPARE_FLAGS(fucomip, "fucomip", true)

#define TEST_TOP(name, code)                                                                       \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        uint16_t status;                                                                           \
        if (!x87_fast(cpu, X87_ST0)) {                                                             \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        x87_host_load(f);                                                                          \
        __asm__ volatile("fldt %1\n\t" code "\n\tfnstsw %0\n\tfstp %%st(0)"                        \
                         : "=&a"(status)                                                           \
                         : "m"(*x87_st(f, 0)));                                                    \
        if (x87_unmasked(f, status)) {                                                             \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        x87_take_status(f, status, FSW_CONDITION);                                                 \
        x87_note(cpu, in);                                                                         \
        return X_NEXT;                                                                             \
    }

TEST_TOP(ftst, "ftst")
TEST_TOP(fxam, "fxam")

/* With a NaN, and after an invalid operation, these leave C2 (and C3, C0) as they were, which the
 * host's unit does not know on a fast path. */
static inline bool stale(uint16_t host_status, unsigned codes)
{
    return codes & FSW_C2 && host_status & FSW_IE;
}

static inline bool finite_for(Fpu *f, unsigned i, unsigned codes)
{
    return !(codes & FSW_C2) || (x87_st(f, i)->sign_exponent & 0x7fff) != 0x7fff;
}

/* ST(0) = f(ST(0)). `codes` are the condition bits that the instruction defines. */
#define FUNCTION_OF_TOP(name, codes)                                                               \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        Float80 result = {0};                                                                      \
        uint16_t status;                                                                           \
        if (!x87_fast(cpu, X87_ST0) || !finite_for(f, 0, codes)) {                                 \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        x87_host_load(f);                                                                          \
        __asm__ volatile("fldt %2\n\t" #name "\n\tfnstsw %0\n\tfstpt %1"                           \
                         : "=&a"(status), "=m"(result)                                             \
                         : "m"(*x87_st(f, 0)));                                                    \
        if (x87_unmasked(f, status) || stale(status, codes)) {                                     \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        *x87_st(f, 0) = result;                                                                    \
        x87_take_status(f, status, codes);                                                         \
        x87_note(cpu, in);                                                                         \
        return X_NEXT;                                                                             \
    }

FUNCTION_OF_TOP(fsqrt, FSW_C1)
FUNCTION_OF_TOP(frndint, FSW_C1)
FUNCTION_OF_TOP(f2xm1, FSW_C1)
FUNCTION_OF_TOP(fsin, FSW_C1 | FSW_C2)
FUNCTION_OF_TOP(fcos, FSW_C1 | FSW_C2)

/* ST(0) = f(ST(0), ST(1)), no pop. */
#define FUNCTION_OF_TWO(name, codes)                                                               \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        Float80 result = {0};                                                                      \
        uint16_t status;                                                                           \
        if (!x87_fast(cpu, X87_ST0 | X87_ST1) || !finite_for(f, 0, codes) ||                       \
            !finite_for(f, 1, codes)) {                                                            \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        x87_host_load(f);                                                                          \
        __asm__ volatile("fldt %2\n\tfldt %3\n\t" #name "\n\tfnstsw %0\n\tfstpt %1\n\t"            \
                         "fstp %%st(0)"                                                            \
                         : "=&a"(status), "=m"(result)                                             \
                         : "m"(*x87_st(f, 1)), "m"(*x87_st(f, 0)));                                \
        if (x87_unmasked(f, status) || stale(status, codes)) {                                     \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        *x87_st(f, 0) = result;                                                                    \
        x87_take_status(f, status, codes);                                                         \
        x87_note(cpu, in);                                                                         \
        return X_NEXT;                                                                             \
    }

FUNCTION_OF_TWO(fprem, FSW_CONDITION)
FUNCTION_OF_TWO(fprem1, FSW_CONDITION)
FUNCTION_OF_TWO(fscale, FSW_C1)

/* ST(1) = f(ST(1), ST(0)), pop. */
#define FUNCTION_POPPING(name)                                                                     \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        Float80 result = {0};                                                                      \
        uint16_t status;                                                                           \
        if (!x87_fast(cpu, X87_ST0 | X87_ST1)) {                                                   \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        x87_host_load(f);                                                                          \
        HOST_POPPING(#name, x87_st(f, 1), x87_st(f, 0), &result, status);                          \
        if (x87_unmasked(f, status)) {                                                             \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        *x87_st(f, 1) = result;                                                                    \
        x87_take_status(f, status, FSW_C1);                                                        \
        x87_pop(f);                                                                                \
        x87_note(cpu, in);                                                                         \
        return X_NEXT;                                                                             \
    }

FUNCTION_POPPING(fyl2x)
FUNCTION_POPPING(fyl2xp1)
FUNCTION_POPPING(fpatan)

/* Sign changes raise nothing, whatever the operand is. */
static Outcome change_sign(Cpu *cpu, const Insn *in, uint16_t keep, uint16_t toggle)
{
    Fpu *f = &cpu->fpu;
    if (!x87_fast(cpu, X87_ST0)) {
        return x87_slow(cpu, in);
    }
    Float80 *top = x87_st(f, 0);
    top->sign_exponent = (uint16_t)((top->sign_exponent & keep) ^ toggle);
    f->status &= (uint16_t)~FSW_C1;
    x87_note(cpu, in);
    return X_NEXT;
}

Outcome ex_fchs(Cpu *cpu, const Insn *in)
{
    return change_sign(cpu, in, 0xffff, 0x8000);
}

Outcome ex_fabs(Cpu *cpu, const Insn *in)
{
    return change_sign(cpu, in, 0x7fff, 0);
}
