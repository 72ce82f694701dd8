/* Handlers: BT, BTS, BTR, BTC, BSF, BSR.
 *
 * SDM volume 2. With a register as the bit number and memory as the bit string, the number is
 * signed and reaches beyond the operand; elsewhere it is taken modulo the operand size.
 */
#include "cpu-accel/x86/ex.h"

/* What each does to the bit. */
#define BIT_bts(value, mask) ((value) | (mask))
#define BIT_btr(value, mask) ((value) & ~(mask))
#define BIT_btc(value, mask) ((value) ^ (mask))

/* The operand-size unit that holds bit `number` of the string at the memory operand. */
static uint32_t bit_address(const Cpu *cpu, const Insn *in, int32_t number, unsigned bits)
{
    int32_t unit = number >> (bits == 32 ? 5 : 4);
    return (ex_address(cpu, in) + (uint32_t)unit * (bits / 8)) & in->address_mask;
}

#define BIT_TEST(BITS, T)                                                                          \
    HANDLER(ex_bt_ev_gv_##BITS##r)                                                                 \
    {                                                                                              \
        ex_flag(cpu, ARITH_CF, REG##BITS(in->rm) >> (REG32(in->reg) % BITS) & 1);                  \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_bt_ev_ib_##BITS##r)                                                                 \
    {                                                                                              \
        ex_flag(cpu, ARITH_CF, REG##BITS(in->rm) >> (in->imm % BITS) & 1);                         \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_bt_ev_gv_##BITS##m)                                                                 \
    {                                                                                              \
        int32_t number = (int##BITS##_t)REG##BITS(in->reg);                                        \
        T value;                                                                                   \
        if (!mem_read##BITS(cpu, (SegIndex)in->seg, bit_address(cpu, in, number, BITS), &value)) { \
            return X_FAULT;                                                                        \
        }                                                                                          \
        ex_flag(cpu, ARITH_CF, value >> ((uint32_t)number % BITS) & 1);                            \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_bt_ev_ib_##BITS##m)                                                                 \
    {                                                                                              \
        T value;                                                                                   \
        if (!ex_load##BITS(cpu, in, &value)) {                                                     \
            return X_FAULT;                                                                        \
        }                                                                                          \
        ex_flag(cpu, ARITH_CF, value >> (in->imm % BITS) & 1);                                     \
        return X_NEXT;                                                                             \
    }
BIT_TEST(16, uint16_t)
BIT_TEST(32, uint32_t)

#define BIT_CHANGE(NAME, BITS, T)                                                                  \
    static T NAME##BITS(Cpu *cpu, T value, uint32_t number)                                        \
    {                                                                                              \
        T mask = (T)((T)1 << (number % BITS));                                                     \
        ex_flag(cpu, ARITH_CF, value &mask);                                                       \
        return (T)BIT_##NAME(value, mask);                                                         \
    }                                                                                              \
    HANDLER(ex_##NAME##_ev_gv_##BITS##r)                                                           \
    {                                                                                              \
        REG##BITS(in->rm) = NAME##BITS(cpu, REG##BITS(in->rm), REG32(in->reg));                    \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_ev_ib_##BITS##r)                                                           \
    {                                                                                              \
        REG##BITS(in->rm) = NAME##BITS(cpu, REG##BITS(in->rm), in->imm);                           \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_ev_gv_##BITS##m)                                                           \
    {                                                                                              \
        int32_t number = (int##BITS##_t)REG##BITS(in->reg);                                        \
        uint32_t at = bit_address(cpu, in, number, BITS);                                          \
        MemRmw rmw;                                                                                \
        T value;                                                                                   \
        if (!mem_rmw##BITS(cpu, (SegIndex)in->seg, at, &rmw, &value)) {                            \
            return X_FAULT;                                                                        \
        }                                                                                          \
        mem_store##BITS(cpu, &rmw, NAME##BITS(cpu, value, (uint32_t)number));                      \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_ev_ib_##BITS##m)                                                           \
    {                                                                                              \
        MemRmw rmw;                                                                                \
        T value;                                                                                   \
        if (!ex_modify##BITS(cpu, in, &rmw, &value)) {                                             \
            return X_FAULT;                                                                        \
        }                                                                                          \
        mem_store##BITS(cpu, &rmw, NAME##BITS(cpu, value, in->imm));                               \
        return X_NEXT;                                                                             \
    }
BIT_CHANGE(bts, 16, uint16_t)
BIT_CHANGE(bts, 32, uint32_t)
BIT_CHANGE(btr, 16, uint16_t)
BIT_CHANGE(btr, 32, uint32_t)
BIT_CHANGE(btc, 16, uint16_t)
BIT_CHANGE(btc, 32, uint32_t)

#define SCAN(NAME, BITS, T)                                                                        \
    HANDLER(ex_##NAME##_gv_ev_##BITS##r)                                                           \
    {                                                                                              \
        REG##BITS(in->reg) = alu_##NAME##BITS(REG##BITS(in->reg), REG##BITS(in->rm), &cpu->arith); \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_gv_ev_##BITS##m)                                                           \
    {                                                                                              \
        T value;                                                                                   \
        if (!ex_load##BITS(cpu, in, &value)) {                                                     \
            return X_FAULT;                                                                        \
        }                                                                                          \
        REG##BITS(in->reg) = alu_##NAME##BITS(REG##BITS(in->reg), value, &cpu->arith);             \
        return X_NEXT;                                                                             \
    }
SCAN(bsf, 16, uint16_t)
SCAN(bsf, 32, uint32_t)
SCAN(bsr, 16, uint16_t)
SCAN(bsr, 32, uint32_t)
