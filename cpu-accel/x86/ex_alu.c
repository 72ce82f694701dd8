/* Handlers: ADD to CMP, TEST, NOT, NEG, INC, DEC.
 *
 * SDM volume 2. Each handler comes in a register and a memory form (_r, _m), word ones for both
 * operand sizes (_16r ...), as x86_ops.def names them. The macros below write one operand pattern
 * each: A is the name of a primitive of alu.h.
 */
#include "cpu-accel/x86/ex.h"

/* E op= source */
#define TO_RM(NAME, FORM, A, BITS, T, SOURCE)                                                      \
    HANDLER(ex_##NAME##_##FORM##r)                                                                 \
    {                                                                                              \
        REG##BITS(in->rm) = alu_##A##BITS(REG##BITS(in->rm), (T)(SOURCE), &cpu->arith);            \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_##FORM##m)                                                                 \
    {                                                                                              \
        MemRmw rmw;                                                                                \
        T value;                                                                                   \
        if (!ex_modify##BITS(cpu, in, &rmw, &value)) {                                             \
            return X_FAULT;                                                                        \
        }                                                                                          \
        mem_store##BITS(cpu, &rmw, alu_##A##BITS(value, (T)(SOURCE), &cpu->arith));                \
        return X_NEXT;                                                                             \
    }

/* G op= E */
#define TO_REG(NAME, FORM, A, BITS, T)                                                             \
    HANDLER(ex_##NAME##_##FORM##r)                                                                 \
    {                                                                                              \
        REG##BITS(in->reg) = alu_##A##BITS(REG##BITS(in->reg), REG##BITS(in->rm), &cpu->arith);    \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_##FORM##m)                                                                 \
    {                                                                                              \
        T value;                                                                                   \
        if (!ex_load##BITS(cpu, in, &value)) {                                                     \
            return X_FAULT;                                                                        \
        }                                                                                          \
        REG##BITS(in->reg) = alu_##A##BITS(REG##BITS(in->reg), value, &cpu->arith);                \
        return X_NEXT;                                                                             \
    }

/* E op source, for the flags alone */
#define LOOK_RM(NAME, FORM, A, BITS, T, SOURCE)                                                    \
    HANDLER(ex_##NAME##_##FORM##r)                                                                 \
    {                                                                                              \
        (void)alu_##A##BITS(REG##BITS(in->rm), (T)(SOURCE), &cpu->arith);                          \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_##FORM##m)                                                                 \
    {                                                                                              \
        T value;                                                                                   \
        if (!ex_load##BITS(cpu, in, &value)) {                                                     \
            return X_FAULT;                                                                        \
        }                                                                                          \
        (void)alu_##A##BITS(value, (T)(SOURCE), &cpu->arith);                                      \
        return X_NEXT;                                                                             \
    }

/* G op E, for the flags alone */
#define LOOK_REG(NAME, FORM, A, BITS, T)                                                           \
    HANDLER(ex_##NAME##_##FORM##r)                                                                 \
    {                                                                                              \
        (void)alu_##A##BITS(REG##BITS(in->reg), REG##BITS(in->rm), &cpu->arith);                   \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_##FORM##m)                                                                 \
    {                                                                                              \
        T value;                                                                                   \
        if (!ex_load##BITS(cpu, in, &value)) {                                                     \
            return X_FAULT;                                                                        \
        }                                                                                          \
        (void)alu_##A##BITS(REG##BITS(in->reg), value, &cpu->arith);                               \
        return X_NEXT;                                                                             \
    }

#define ARITHMETIC(NAME)                                                                           \
    TO_RM(NAME##_eb_gb, , NAME, 8, uint8_t, REG8(in->reg))                                         \
    TO_RM(NAME##_ev_gv, 16, NAME, 16, uint16_t, REG16(in->reg))                                    \
    TO_RM(NAME##_ev_gv, 32, NAME, 32, uint32_t, REG32(in->reg))                                    \
    TO_RM(NAME##_eb_ib, , NAME, 8, uint8_t, in->imm)                                               \
    TO_RM(NAME##_ev_iv, 16, NAME, 16, uint16_t, in->imm)                                           \
    TO_RM(NAME##_ev_iv, 32, NAME, 32, uint32_t, in->imm)                                           \
    TO_REG(NAME##_gb_eb, , NAME, 8, uint8_t)                                                       \
    TO_REG(NAME##_gv_ev, 16, NAME, 16, uint16_t)                                                   \
    TO_REG(NAME##_gv_ev, 32, NAME, 32, uint32_t)

ARITHMETIC(add)
ARITHMETIC(or)
ARITHMETIC(adc)
ARITHMETIC(sbb)
ARITHMETIC(and)
ARITHMETIC(sub)
ARITHMETIC(xor)

#define COMPARISON(NAME, A)                                                                        \
    LOOK_RM(NAME##_eb_gb, , A, 8, uint8_t, REG8(in->reg))                                          \
    LOOK_RM(NAME##_ev_gv, 16, A, 16, uint16_t, REG16(in->reg))                                     \
    LOOK_RM(NAME##_ev_gv, 32, A, 32, uint32_t, REG32(in->reg))                                     \
    LOOK_RM(NAME##_eb_ib, , A, 8, uint8_t, in->imm)                                                \
    LOOK_RM(NAME##_ev_iv, 16, A, 16, uint16_t, in->imm)                                            \
    LOOK_RM(NAME##_ev_iv, 32, A, 32, uint32_t, in->imm)

COMPARISON(test, and)
COMPARISON(cmp, sub)
LOOK_REG(cmp_gb_eb, , sub, 8, uint8_t)
LOOK_REG(cmp_gv_ev, 16, sub, 16, uint16_t)
LOOK_REG(cmp_gv_ev, 32, sub, 32, uint32_t)

/* E = op E; RESULT computes it from `value`. */
#define UNARY(NAME, FORM, BITS, T, RESULT)                                                         \
    HANDLER(ex_##NAME##_##FORM##r)                                                                 \
    {                                                                                              \
        T value = REG##BITS(in->rm);                                                               \
        REG##BITS(in->rm) = (T)(RESULT);                                                           \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_##FORM##m)                                                                 \
    {                                                                                              \
        MemRmw rmw;                                                                                \
        T value;                                                                                   \
        if (!ex_modify##BITS(cpu, in, &rmw, &value)) {                                             \
            return X_FAULT;                                                                        \
        }                                                                                          \
        mem_store##BITS(cpu, &rmw, (T)(RESULT));                                                   \
        return X_NEXT;                                                                             \
    }

#define UNARY_WIDTHS(NAME)                                                                         \
    UNARY(NAME##_eb, , 8, uint8_t, alu_##NAME##8(value, &cpu->arith))                              \
    UNARY(NAME##_ev, 16, 16, uint16_t, alu_##NAME##16(value, &cpu->arith))                         \
    UNARY(NAME##_ev, 32, 32, uint32_t, alu_##NAME##32(value, &cpu->arith))

UNARY_WIDTHS(neg)
UNARY_WIDTHS(inc)
UNARY_WIDTHS(dec)
UNARY(not_eb, , 8, uint8_t, ~value)
UNARY(not_ev, 16, 16, uint16_t, ~value)
UNARY(not_ev, 32, 32, uint32_t, ~value)
