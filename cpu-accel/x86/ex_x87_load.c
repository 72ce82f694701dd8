/* x87: loads, stores, moves between registers, constants.
 *
 * SDM vol. 1, 8.3.3 and 8.3.4. What cannot round or fault is done in C; the rest on the host's unit
 * (see ex_x87.h).
 */
#include <string.h>

#include "cpu-accel/x86/ex_x87.h"

static void push_value(Cpu *cpu, uint16_t sign_exponent, uint64_t mantissa)
{
    Float80 *to = x87_push(&cpu->fpu);
    to->sign_exponent = sign_exponent;
    to->mantissa = mantissa;
    cpu->fpu.status &= (uint16_t)~FSW_C1;
}

enum { BIAS = 0x3fff };

/* FLD m32, m64: a normal number or zero is moved bit by bit; others may raise DE or IE. */
#define LOAD_REAL(name, Type, read, exponent_bits, fraction_bits, code)                            \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        X87Operand operand;                                                                        \
        Type value;                                                                                \
        if (!x87_fast(cpu, X87_PUSH)) {                                                            \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        uint32_t address = ex_address(cpu, in);                                                    \
        if (!read(cpu, (SegIndex)in->seg, address, &value)) {                                      \
            return X_FAULT;                                                                        \
        }                                                                                          \
        unsigned all = (1u << (exponent_bits)) - 1;                                                \
        unsigned exponent = (unsigned)(value >> (fraction_bits)) & all;                            \
        unsigned sign = (unsigned)(value >> ((exponent_bits) + (fraction_bits))) << 15;            \
        if (exponent != 0 && exponent != all) {                                                    \
            push_value(cpu, (uint16_t)(sign | (exponent + BIAS - (all >> 1))),                     \
                       (uint64_t)1 << 63 | (uint64_t)value << (63 - (fraction_bits)));             \
        } else if ((Type)(value << 1) == 0) {                                                      \
            push_value(cpu, (uint16_t)sign, 0);                                                    \
        } else {                                                                                   \
            Float80 result = {0};                                                                  \
            uint16_t status;                                                                       \
            x87_host_load(f);                                                                      \
            __asm__ volatile(code " %2\n\tfnstsw %0\n\tfstpt %1"                                   \
                             : "=&a"(status), "=m"(result)                                         \
                             : "m"(value));                                                        \
            if (x87_unmasked(f, status)) {                                                         \
                memcpy(operand.bytes, &value, sizeof value);                                       \
                return x87_exact(cpu, in, address, &operand);                                      \
            }                                                                                      \
            push_value(cpu, result.sign_exponent, result.mantissa);                                \
            x87_take_status(f, status, FSW_C1);                                                    \
        }                                                                                          \
        x87_note_memory(cpu, in, address);                                                         \
        return X_NEXT;                                                                             \
    }

LOAD_REAL(fld_md, uint32_t, mem_read32, 8, 23, "flds")
LOAD_REAL(fld_mq, uint64_t, mem_read64, 11, 52, "fldl")

Outcome ex_fld_mt(Cpu *cpu, const Insn *in)
{
    uint8_t bytes[10];
    Float80 value;
    if (!x87_fast(cpu, X87_PUSH)) {
        return x87_slow(cpu, in);
    }
    uint32_t address = ex_address(cpu, in);
    if (!mem_read_bytes(cpu, (SegIndex)in->seg, address, bytes, sizeof bytes)) {
        return X_FAULT;
    }
    memcpy(&value.mantissa, bytes, 8);
    memcpy(&value.sign_exponent, bytes + 8, 2);
    push_value(cpu, value.sign_exponent, value.mantissa);
    x87_note_memory(cpu, in, address);
    return X_NEXT;
}

static void push_integer(Cpu *cpu, int64_t value)
{
    uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    if (size == 0) {
        push_value(cpu, 0, 0);
        return;
    }
    unsigned shift = (unsigned)__builtin_clzll(size);
    push_value(cpu, (uint16_t)((value < 0 ? 0x8000 : 0) | (BIAS + 63 - shift)), size << shift);
}

#define LOAD_INTEGER(name, Type, Signed, read)                                                     \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Type value;                                                                                \
        if (!x87_fast(cpu, X87_PUSH)) {                                                            \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        uint32_t address = ex_address(cpu, in);                                                    \
        if (!read(cpu, (SegIndex)in->seg, address, &value)) {                                      \
            return X_FAULT;                                                                        \
        }                                                                                          \
        push_integer(cpu, (Signed)value);                                                          \
        x87_note_memory(cpu, in, address);                                                         \
        return X_NEXT;                                                                             \
    }

LOAD_INTEGER(fild_mw, uint16_t, int16_t, mem_read16)
LOAD_INTEGER(fild_md, uint32_t, int32_t, mem_read32)
LOAD_INTEGER(fild_mq, uint64_t, int64_t, mem_read64)

/* The popping host form serves both; FST's result and flags are the same. */
#define STORE(name, Type, write, code, pops)                                                       \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        Type value;                                                                                \
        uint16_t status;                                                                           \
        if (!x87_fast(cpu, X87_ST0)) {                                                             \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        uint32_t address = ex_address(cpu, in);                                                    \
        x87_host_load(f);                                                                          \
        __asm__ volatile("fldt %2\n\t" code " %1\n\tfnstsw %0"                                     \
                         : "=&a"(status), "=m"(value)                                              \
                         : "m"(*x87_st(f, 0)));                                                    \
        if (x87_unmasked(f, status)) {                                                             \
            return x87_exact(cpu, in, address, NULL);                                              \
        }                                                                                          \
        if (!write(cpu, (SegIndex)in->seg, address, value)) {                                      \
            fpu_host_release(); /* it has flags that the guest does not get */                     \
            return X_FAULT;                                                                        \
        }                                                                                          \
        x87_take_status(f, status, FSW_C1);                                                        \
        if (pops) {                                                                                \
            x87_pop(f);                                                                            \
        }                                                                                          \
        x87_note_memory(cpu, in, address);                                                         \
        return X_NEXT;                                                                             \
    }

STORE(fst_md, uint32_t, mem_write32, "fstps", false)
STORE(fstp_md, uint32_t, mem_write32, "fstps", true)
STORE(fst_mq, uint64_t, mem_write64, "fstpl", false)
STORE(fstp_mq, uint64_t, mem_write64, "fstpl", true)
STORE(fist_mw, uint16_t, mem_write16, "fistps", false)
STORE(fistp_mw, uint16_t, mem_write16, "fistps", true)
STORE(fist_md, uint32_t, mem_write32, "fistpl", false)
STORE(fistp_md, uint32_t, mem_write32, "fistpl", true)
STORE(fistp_mq, uint64_t, mem_write64, "fistpll", true)

Outcome ex_fstp_mt(Cpu *cpu, const Insn *in)
{
    Fpu *f = &cpu->fpu;
    uint8_t bytes[10];
    if (!x87_fast(cpu, X87_ST0)) {
        return x87_slow(cpu, in);
    }
    uint32_t address = ex_address(cpu, in);
    memcpy(bytes, &x87_st(f, 0)->mantissa, 8);
    memcpy(bytes + 8, &x87_st(f, 0)->sign_exponent, 2);
    if (!mem_write_bytes(cpu, (SegIndex)in->seg, address, bytes, sizeof bytes)) {
        return X_FAULT;
    }
    f->status &= (uint16_t)~FSW_C1;
    x87_pop(f);
    x87_note_memory(cpu, in, address);
    return X_NEXT;
}

Outcome ex_fld_sti(Cpu *cpu, const Insn *in)
{
    /* ST(7) is where the push goes. */
    if (in->rm == 7 || !x87_fast(cpu, 1u << in->rm | X87_PUSH)) {
        return x87_slow(cpu, in);
    }
    Float80 value = *x87_st(&cpu->fpu, in->rm);
    push_value(cpu, value.sign_exponent, value.mantissa);
    x87_note(cpu, in);
    return X_NEXT;
}

Outcome ex_fst_sti(Cpu *cpu, const Insn *in)
{
    Fpu *f = &cpu->fpu;
    if (!x87_fast(cpu, X87_ST0)) {
        return x87_slow(cpu, in);
    }
    *x87_st(f, in->rm) = *x87_st(f, 0);
    f->valid |= (uint8_t)(1u << ((x87_top(f) + in->rm) & 7));
    f->status &= (uint16_t)~FSW_C1;
    x87_note(cpu, in);
    return X_NEXT;
}

Outcome ex_fstp_sti(Cpu *cpu, const Insn *in)
{
    if (!x87_fast(cpu, X87_ST0)) {
        return x87_slow(cpu, in);
    }
    ex_fst_sti(cpu, in);
    x87_pop(&cpu->fpu);
    return X_NEXT;
}

Outcome ex_fxch(Cpu *cpu, const Insn *in)
{
    Fpu *f = &cpu->fpu;
    if (!x87_fast(cpu, X87_ST0 | 1u << in->rm)) {
        return x87_slow(cpu, in);
    }
    Float80 old = *x87_st(f, 0);
    *x87_st(f, 0) = *x87_st(f, in->rm);
    *x87_st(f, in->rm) = old;
    f->status &= (uint16_t)~FSW_C1;
    x87_note(cpu, in);
    return X_NEXT;
}

/* FCMOVcc checks the stack whether it moves or not; without a fault C1 stays. */
#define MOVE_IF(name, flags, when)                                                                 \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        if (!x87_fast(cpu, X87_ST0 | 1u << in->rm)) {                                              \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        if (((cpu->arith & (flags)) != 0) == (when)) {                                             \
            *x87_st(f, 0) = *x87_st(f, in->rm);                                                    \
        }                                                                                          \
        x87_note(cpu, in);                                                                         \
        return X_NEXT;                                                                             \
    }

MOVE_IF(fcmovb, ARITH_CF, true)
MOVE_IF(fcmove, ARITH_ZF, true)
MOVE_IF(fcmovbe, ARITH_CF | ARITH_ZF, true)
MOVE_IF(fcmovu, ARITH_PF, true)
MOVE_IF(fcmovnb, ARITH_CF, false)
MOVE_IF(fcmovne, ARITH_ZF, false)
MOVE_IF(fcmovnbe, ARITH_CF | ARITH_ZF, false)
MOVE_IF(fcmovnu, ARITH_PF, false)

/* Constants follow the rounding control, but raise nothing. */
#define CONSTANT(name)                                                                             \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        Float80 value = {0};                                                                       \
        if (!x87_fast(cpu, X87_PUSH)) {                                                            \
            return x87_slow(cpu, in);                                                              \
        }                                                                                          \
        x87_host_load(&cpu->fpu);                                                                  \
        __asm__ volatile(#name "\n\tfstpt %0" : "=m"(value));                                      \
        push_value(cpu, value.sign_exponent, value.mantissa);                                      \
        x87_note(cpu, in);                                                                         \
        return X_NEXT;                                                                             \
    }

CONSTANT(fldl2t)
CONSTANT(fldl2e)
CONSTANT(fldpi)
CONSTANT(fldlg2)
CONSTANT(fldln2)

Outcome ex_fld1(Cpu *cpu, const Insn *in)
{
    if (!x87_fast(cpu, X87_PUSH)) {
        return x87_slow(cpu, in);
    }
    push_value(cpu, BIAS, (uint64_t)1 << 63);
    x87_note(cpu, in);
    return X_NEXT;
}

Outcome ex_fldz(Cpu *cpu, const Insn *in)
{
    if (!x87_fast(cpu, X87_PUSH)) {
        return x87_slow(cpu, in);
    }
    push_value(cpu, 0, 0);
    x87_note(cpu, in);
    return X_NEXT;
}

/* The stack's pointer and tags; no register's contents. */
Outcome ex_ffree(Cpu *cpu, const Insn *in)
{
    Fpu *f = &cpu->fpu;
    if (!x87_fast(cpu, 0)) {
        return x87_slow(cpu, in);
    }
    f->valid &= (uint8_t) ~(1u << ((x87_top(f) + in->rm) & 7));
    f->status &= (uint16_t)~FSW_C1;
    x87_note(cpu, in);
    return X_NEXT;
}

static Outcome move_top(Cpu *cpu, const Insn *in, unsigned by)
{
    Fpu *f = &cpu->fpu;
    if (!x87_fast(cpu, 0)) {
        return x87_slow(cpu, in);
    }
    x87_set_top(f, x87_top(f) + by);
    f->status &= (uint16_t)~FSW_C1;
    x87_note(cpu, in);
    return X_NEXT;
}

Outcome ex_fincstp(Cpu *cpu, const Insn *in)
{
    return move_top(cpu, in, 1);
}

Outcome ex_fdecstp(Cpu *cpu, const Insn *in)
{
    return move_top(cpu, in, 7);
}

Outcome ex_fnop(Cpu *cpu, const Insn *in)
{
    Outcome entered = x87_enter(cpu);
    if (entered == X_NEXT) {
        x87_note(cpu, in);
    }
    return entered;
}
