/* Handlers: rotates, shifts, double shifts.
 *
 * SDM volume 2. Counts are masked to five bits; a masked count of zero changes no flag, but memory
 * is still written.
 */
#include "cpu-accel/x86/ex.h"

#define SHIFT(NAME, FORM, A, BITS, T, COUNT)                                                       \
    HANDLER(ex_##NAME##_##FORM##r)                                                                 \
    {                                                                                              \
        REG##BITS(in->rm) = alu_##A##BITS(REG##BITS(in->rm), (uint8_t)(COUNT), &cpu->arith);       \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_##FORM##m)                                                                 \
    {                                                                                              \
        MemRmw rmw;                                                                                \
        T value;                                                                                   \
        if (!ex_modify##BITS(cpu, in, &rmw, &value)) {                                             \
            return X_FAULT;                                                                        \
        }                                                                                          \
        mem_store##BITS(cpu, &rmw, alu_##A##BITS(value, (uint8_t)(COUNT), &cpu->arith));           \
        return X_NEXT;                                                                             \
    }

#define SHIFTS(NAME)                                                                               \
    SHIFT(NAME##_eb_ib, , NAME, 8, uint8_t, in->imm)                                               \
    SHIFT(NAME##_ev_ib, 16, NAME, 16, uint16_t, in->imm)                                           \
    SHIFT(NAME##_ev_ib, 32, NAME, 32, uint32_t, in->imm)                                           \
    SHIFT(NAME##_eb_cl, , NAME, 8, uint8_t, cpu->reg[ECX])                                         \
    SHIFT(NAME##_ev_cl, 16, NAME, 16, uint16_t, cpu->reg[ECX])                                     \
    SHIFT(NAME##_ev_cl, 32, NAME, 32, uint32_t, cpu->reg[ECX])

SHIFTS(rol)
SHIFTS(ror)
SHIFTS(rcl)
SHIFTS(rcr)
SHIFTS(shl)
SHIFTS(shr)
SHIFTS(sar)

#define DOUBLE(NAME, FORM, A, BITS, T, COUNT)                                                      \
    HANDLER(ex_##NAME##_##FORM##r)                                                                 \
    {                                                                                              \
        REG##BITS(in->rm) =                                                                        \
            alu_##A##BITS(REG##BITS(in->rm), REG##BITS(in->reg), (uint8_t)(COUNT), &cpu->arith);   \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_##FORM##m)                                                                 \
    {                                                                                              \
        MemRmw rmw;                                                                                \
        T value;                                                                                   \
        if (!ex_modify##BITS(cpu, in, &rmw, &value)) {                                             \
            return X_FAULT;                                                                        \
        }                                                                                          \
        mem_store##BITS(cpu, &rmw,                                                                 \
                        alu_##A##BITS(value, REG##BITS(in->reg), (uint8_t)(COUNT), &cpu->arith));  \
        return X_NEXT;                                                                             \
    }

#define DOUBLES(NAME)                                                                              \
    DOUBLE(NAME##_ev_gv_ib, 16, NAME, 16, uint16_t, in->imm)                                       \
    DOUBLE(NAME##_ev_gv_ib, 32, NAME, 32, uint32_t, in->imm)                                       \
    DOUBLE(NAME##_ev_gv_cl, 16, NAME, 16, uint16_t, cpu->reg[ECX])                                 \
    DOUBLE(NAME##_ev_gv_cl, 32, NAME, 32, uint32_t, cpu->reg[ECX])

DOUBLES(shld)
DOUBLES(shrd)
