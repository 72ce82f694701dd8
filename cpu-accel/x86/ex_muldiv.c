/* Handlers: MUL, IMUL, DIV, IDIV, and the BCD adjustments.
 *
 * SDM volume 2. A quotient that does not fit is #DE, found before the division is done.
 */
#include "cpu-accel/x86/ex.h"

/* Fetches E into `value`, register or memory. */
#define OPERAND_r(BITS, T) T value = REG##BITS(in->rm);
#define OPERAND_m(BITS, T)                                                                         \
    T value;                                                                                       \
    if (!ex_load##BITS(cpu, in, &value)) {                                                         \
        return X_FAULT;                                                                            \
    }

static Outcome multiply16(Cpu *cpu, uint32_t product)
{
    REG16(EAX) = (uint16_t)product;
    REG16(EDX) = (uint16_t)(product >> 16);
    return X_NEXT;
}

static Outcome multiply32(Cpu *cpu, uint64_t product)
{
    cpu->reg[EAX] = (uint32_t)product;
    cpu->reg[EDX] = (uint32_t)(product >> 32);
    return X_NEXT;
}

#define MULTIPLY(NAME, FORM)                                                                       \
    HANDLER(ex_##NAME##_eb_##FORM)                                                                 \
    {                                                                                              \
        OPERAND_##FORM(8, uint8_t) REG16(EAX) = alu_##NAME##8(REG8(EAX), value, &cpu->arith);      \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_ev_16##FORM)                                                               \
    {                                                                                              \
        OPERAND_##FORM(16, uint16_t) return multiply16(                                            \
            cpu, alu_##NAME##16(REG16(EAX), value, &cpu->arith));                                  \
    }                                                                                              \
    HANDLER(ex_##NAME##_ev_32##FORM)                                                               \
    {                                                                                              \
        OPERAND_##FORM(32, uint32_t) return multiply32(                                            \
            cpu, alu_##NAME##32(cpu->reg[EAX], value, &cpu->arith));                               \
    }
MULTIPLY(mul, r)
MULTIPLY(mul, m)
MULTIPLY(imul, r)
MULTIPLY(imul, m)

#define PRODUCT(BITS, T, FORM)                                                                     \
    HANDLER(ex_imul_gv_ev_##BITS##FORM)                                                            \
    {                                                                                              \
        OPERAND_##FORM(BITS, T) REG##BITS(in->reg) =                                               \
            alu_product##BITS(REG##BITS(in->reg), value, &cpu->arith);                             \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_imul_gv_ev_iv_##BITS##FORM)                                                         \
    {                                                                                              \
        OPERAND_##FORM(BITS, T) REG##BITS(in->reg) =                                               \
            alu_product##BITS(value, (T)in->imm, &cpu->arith);                                     \
        return X_NEXT;                                                                             \
    }
PRODUCT(16, uint16_t, r)
PRODUCT(16, uint16_t, m)
PRODUCT(32, uint32_t, r)
PRODUCT(32, uint32_t, m)

/* True when a / b does not fit in a signed number of `bits`. */
static bool signed_overflow(int64_t a, int64_t b, unsigned bits)
{
    if (b == 0 || (b == -1 && a == INT64_MIN)) {
        return true;
    }
    int64_t quotient = a / b;
    int64_t bound = INT64_C(1) << (bits - 1);
    return quotient < -bound || quotient >= bound;
}

#define DIVIDE(FORM)                                                                               \
    HANDLER(ex_div_eb_##FORM)                                                                      \
    {                                                                                              \
        OPERAND_##FORM(8, uint8_t) if (REG8(4) >= value)                                           \
        {                                                                                          \
            return cpu_fault(cpu, VEC_DE);                                                         \
        }                                                                                          \
        uint8_t remainder, quotient = alu_div8(REG16(EAX), value, &remainder, &cpu->arith);        \
        REG16(EAX) = (uint16_t)(remainder << 8 | quotient);                                        \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_div_ev_16##FORM)                                                                    \
    {                                                                                              \
        OPERAND_##FORM(16, uint16_t) if (REG16(EDX) >= value)                                      \
        {                                                                                          \
            return cpu_fault(cpu, VEC_DE);                                                         \
        }                                                                                          \
        uint32_t dividend = (uint32_t)REG16(EDX) << 16 | REG16(EAX);                               \
        REG16(EAX) = alu_div16(dividend, value, &REG16(EDX), &cpu->arith);                         \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_div_ev_32##FORM)                                                                    \
    {                                                                                              \
        OPERAND_##FORM(32, uint32_t) if (cpu->reg[EDX] >= value)                                   \
        {                                                                                          \
            return cpu_fault(cpu, VEC_DE);                                                         \
        }                                                                                          \
        uint64_t dividend = (uint64_t)cpu->reg[EDX] << 32 | cpu->reg[EAX];                         \
        cpu->reg[EAX] = alu_div32(dividend, value, &cpu->reg[EDX], &cpu->arith);                   \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_idiv_eb_##FORM)                                                                     \
    {                                                                                              \
        OPERAND_##FORM(8, uint8_t) if (signed_overflow((int16_t)REG16(EAX), (int8_t)value, 8))     \
        {                                                                                          \
            return cpu_fault(cpu, VEC_DE);                                                         \
        }                                                                                          \
        uint8_t remainder, quotient = alu_idiv8(REG16(EAX), value, &remainder, &cpu->arith);       \
        REG16(EAX) = (uint16_t)(remainder << 8 | quotient);                                        \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_idiv_ev_16##FORM)                                                                   \
    {                                                                                              \
        OPERAND_##FORM(16, uint16_t) uint32_t dividend = (uint32_t)REG16(EDX) << 16 | REG16(EAX);  \
        if (signed_overflow((int32_t)dividend, (int16_t)value, 16)) {                              \
            return cpu_fault(cpu, VEC_DE);                                                         \
        }                                                                                          \
        REG16(EAX) = alu_idiv16(dividend, value, &REG16(EDX), &cpu->arith);                        \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_idiv_ev_32##FORM)                                                                   \
    {                                                                                              \
        OPERAND_##FORM(32, uint32_t) uint64_t dividend =                                           \
            (uint64_t)cpu->reg[EDX] << 32 | cpu->reg[EAX];                                         \
        if (signed_overflow((int64_t)dividend, (int32_t)value, 32)) {                              \
            return cpu_fault(cpu, VEC_DE);                                                         \
        }                                                                                          \
        cpu->reg[EAX] = alu_idiv32(dividend, value, &cpu->reg[EDX], &cpu->arith);                  \
        return X_NEXT;                                                                             \
    }
DIVIDE(r)
DIVIDE(m)

/* BCD: no x86-64 instruction does these. Flags that the manual calls undefined are, as on silicon,
 * those of the addition or subtraction that adjusts. */
static void set_carries(Cpu *cpu, bool carry, bool adjust)
{
    ex_flag(cpu, ARITH_CF, carry);
    ex_flag(cpu, ARITH_AF, adjust);
}

HANDLER(ex_daa)
{
    (void)in;
    uint8_t al = REG8(EAX);
    bool low = (al & 0xf) > 9 || cpu->arith & ARITH_AF;
    bool high = al > 0x99 || cpu->arith & ARITH_CF;
    REG8(EAX) = alu_add8(al, (uint8_t)((low ? 6 : 0) + (high ? 0x60 : 0)), &cpu->arith);
    set_carries(cpu, high, low);
    return X_NEXT;
}

HANDLER(ex_das)
{
    (void)in;
    uint8_t al = REG8(EAX);
    bool low = (al & 0xf) > 9 || cpu->arith & ARITH_AF;
    bool high = al > 0x99 || cpu->arith & ARITH_CF;
    REG8(EAX) = alu_sub8(al, (uint8_t)((low ? 6 : 0) + (high ? 0x60 : 0)), &cpu->arith);
    /* the low digit's borrow counts too */
    set_carries(cpu, high || (low && al < 6), low);
    return X_NEXT;
}

HANDLER(ex_aaa)
{
    (void)in;
    bool adjust = REG8(EAX) % 16 > 9 || cpu->arith & ARITH_AF;
    REG16(EAX) = alu_add16(REG16(EAX), adjust ? 0x106 : 0, &cpu->arith) & 0xff0f;
    set_carries(cpu, adjust, adjust);
    return X_NEXT;
}

HANDLER(ex_aas)
{
    (void)in;
    bool adjust = REG8(EAX) % 16 > 9 || cpu->arith & ARITH_AF;
    REG16(EAX) = alu_sub16(REG16(EAX), adjust ? 0x106 : 0, &cpu->arith) & 0xff0f;
    set_carries(cpu, adjust, adjust);
    return X_NEXT;
}

HANDLER(ex_aam)
{
    uint8_t base = (uint8_t)in->imm, al = REG8(EAX);
    if (base == 0) {
        return cpu_fault(cpu, VEC_DE);
    }
    REG16(EAX) = (uint16_t)((al / base) << 8 | al % base);
    (void)alu_add8(al % base, 0, &cpu->arith);
    return X_NEXT;
}

HANDLER(ex_aad)
{
    uint16_t ax = REG16(EAX);
    REG16(EAX) = alu_add8((uint8_t)ax, (uint8_t)((ax >> 8) * in->imm), &cpu->arith);
    return X_NEXT;
}
