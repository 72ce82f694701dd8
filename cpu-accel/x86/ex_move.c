/* Handlers: MOV, MOVZX, MOVSX, XCHG, LEA, conversions, SETcc, CMOVcc, CMPXCHG, XADD, flag bits.
 *
 * SDM volume 2. A read that an instruction makes whatever its condition (CMOVcc) can fault; a write
 * that fails leaves all as it was.
 */
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/ex.h"

HANDLER(ex_invalid)
{
    (void)in;
    return foreign_instruction(cpu) ? X_STOP : cpu_fault(cpu, VEC_UD);
}

HANDLER(ex_nop)
{
    (void)cpu;
    (void)in;
    return X_NEXT;
}

HANDLER(ex_pause)
{
    (void)cpu;
    (void)in;
    return X_NEXT;
}

/* Faults as a byte load would; there is no cache to flush. */
HANDLER(ex_clflush)
{
    uint8_t value;
    return ex_load8(cpu, in, &value) ? X_NEXT : X_FAULT;
}

#define MOVES(FORM, BITS, T)                                                                       \
    HANDLER(ex_mov_##FORM##r)                                                                      \
    {                                                                                              \
        REG##BITS(in->rm) = REG##BITS(in->reg);                                                    \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_mov_##FORM##m)                                                                      \
    {                                                                                              \
        return ex_save##BITS(cpu, in, REG##BITS(in->reg)) ? X_NEXT : X_FAULT;                      \
    }
MOVES(eb_gb_, 8, uint8_t)
MOVES(ev_gv_16, 16, uint16_t)
MOVES(ev_gv_32, 32, uint32_t)

#define LOADS(FORM, BITS, T)                                                                       \
    HANDLER(ex_mov_##FORM##r)                                                                      \
    {                                                                                              \
        REG##BITS(in->reg) = REG##BITS(in->rm);                                                    \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_mov_##FORM##m)                                                                      \
    {                                                                                              \
        return ex_load##BITS(cpu, in, &REG##BITS(in->reg)) ? X_NEXT : X_FAULT;                     \
    }
LOADS(gb_eb_, 8, uint8_t)
LOADS(gv_ev_16, 16, uint16_t)
LOADS(gv_ev_32, 32, uint32_t)

#define CONSTANTS(FORM, BITS, T)                                                                   \
    HANDLER(ex_mov_##FORM##r)                                                                      \
    {                                                                                              \
        REG##BITS(in->rm) = (T)in->imm;                                                            \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_mov_##FORM##m)                                                                      \
    {                                                                                              \
        return ex_save##BITS(cpu, in, (T)in->imm) ? X_NEXT : X_FAULT;                              \
    }
CONSTANTS(eb_ib_, 8, uint8_t)
CONSTANTS(ev_iv_16, 16, uint16_t)
CONSTANTS(ev_iv_32, 32, uint32_t)

/* From a segment register: memory takes 16 bits whatever the operand size, a 32-bit register is
 * zero-extended. */
static Outcome selector_to_memory(Cpu *cpu, const Insn *in)
{
    if (in->reg >= SEG_COUNT) {
        return cpu_fault(cpu, VEC_UD);
    }
    return ex_save16(cpu, in, cpu->seg[in->reg].selector) ? X_NEXT : X_FAULT;
}

HANDLER(ex_mov_ev_sw_16r)
{
    if (in->reg >= SEG_COUNT) {
        return cpu_fault(cpu, VEC_UD);
    }
    REG16(in->rm) = cpu->seg[in->reg].selector;
    return X_NEXT;
}

HANDLER(ex_mov_ev_sw_32r)
{
    if (in->reg >= SEG_COUNT) {
        return cpu_fault(cpu, VEC_UD);
    }
    cpu->reg[in->rm] = cpu->seg[in->reg].selector;
    return X_NEXT;
}

HANDLER(ex_mov_ev_sw_16m)
{
    return selector_to_memory(cpu, in);
}

HANDLER(ex_mov_ev_sw_32m)
{
    return selector_to_memory(cpu, in);
}

HANDLER(ex_movnti)
{
    return ex_save32(cpu, in, cpu->reg[in->reg]) ? X_NEXT : X_FAULT;
}

HANDLER(ex_lea_16)
{
    REG16(in->reg) = (uint16_t)ex_address(cpu, in);
    return X_NEXT;
}

HANDLER(ex_lea_32)
{
    cpu->reg[in->reg] = ex_address(cpu, in);
    return X_NEXT;
}

#define EXCHANGE(FORM, BITS, T)                                                                    \
    HANDLER(ex_xchg_##FORM##r)                                                                     \
    {                                                                                              \
        T value = REG##BITS(in->rm);                                                               \
        REG##BITS(in->rm) = REG##BITS(in->reg);                                                    \
        REG##BITS(in->reg) = value;                                                                \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_xchg_##FORM##m)                                                                     \
    {                                                                                              \
        MemRmw rmw;                                                                                \
        T value;                                                                                   \
        if (!ex_modify##BITS(cpu, in, &rmw, &value)) {                                             \
            return X_FAULT;                                                                        \
        }                                                                                          \
        mem_store##BITS(cpu, &rmw, REG##BITS(in->reg));                                            \
        REG##BITS(in->reg) = value;                                                                \
        return X_NEXT;                                                                             \
    }
EXCHANGE(eb_gb_, 8, uint8_t)
EXCHANGE(ev_gv_16, 16, uint16_t)
EXCHANGE(ev_gv_32, 32, uint32_t)

HANDLER(ex_xchg_zv_eax_16)
{
    uint16_t value = REG16(EAX);
    REG16(EAX) = REG16(in->reg);
    REG16(in->reg) = value;
    return X_NEXT;
}

HANDLER(ex_xchg_zv_eax_32)
{
    uint32_t value = cpu->reg[EAX];
    cpu->reg[EAX] = cpu->reg[in->reg];
    cpu->reg[in->reg] = value;
    return X_NEXT;
}

#define EXTEND(NAME, FROM, TO, BITS, T, TO_T)                                                      \
    HANDLER(ex_##NAME##_##TO##r)                                                                   \
    {                                                                                              \
        REG##TO(in->reg) = (TO_T)(T)REG##BITS(in->rm);                                             \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_##NAME##_##TO##m)                                                                   \
    {                                                                                              \
        FROM value;                                                                                \
        if (!ex_load##BITS(cpu, in, &value)) {                                                     \
            return X_FAULT;                                                                        \
        }                                                                                          \
        REG##TO(in->reg) = (TO_T)(T)value;                                                         \
        return X_NEXT;                                                                             \
    }
EXTEND(movzx_gv_eb, uint8_t, 16, 8, uint8_t, uint16_t)
EXTEND(movzx_gv_eb, uint8_t, 32, 8, uint8_t, uint32_t)
EXTEND(movzx_gv_ew, uint16_t, 16, 16, uint16_t, uint16_t)
EXTEND(movzx_gv_ew, uint16_t, 32, 16, uint16_t, uint32_t)
EXTEND(movsx_gv_eb, uint8_t, 16, 8, int8_t, uint16_t)
EXTEND(movsx_gv_eb, uint8_t, 32, 8, int8_t, uint32_t)
EXTEND(movsx_gv_ew, uint16_t, 16, 16, int16_t, uint16_t)
EXTEND(movsx_gv_ew, uint16_t, 32, 16, int16_t, uint32_t)

HANDLER(ex_cbw_16)
{
    (void)in;
    REG16(EAX) = (uint16_t)(int8_t)REG8(EAX);
    return X_NEXT;
}

HANDLER(ex_cbw_32)
{
    (void)in;
    cpu->reg[EAX] = (uint32_t)(int16_t)REG16(EAX);
    return X_NEXT;
}

HANDLER(ex_cwd_16)
{
    (void)in;
    REG16(EDX) = REG16(EAX) & 0x8000 ? 0xffff : 0;
    return X_NEXT;
}

HANDLER(ex_cwd_32)
{
    (void)in;
    cpu->reg[EDX] = cpu->reg[EAX] & 0x80000000 ? UINT32_MAX : 0;
    return X_NEXT;
}

/* A 16-bit register becomes 0: undefined in the manual, so on silicon. */
HANDLER(ex_bswap_16)
{
    REG16(in->reg) = 0;
    return X_NEXT;
}

HANDLER(ex_bswap_32)
{
    cpu->reg[in->reg] = __builtin_bswap32(cpu->reg[in->reg]);
    return X_NEXT;
}

HANDLER(ex_xlat)
{
    uint32_t offset = (cpu->reg[EBX] + REG8(EAX)) & in->address_mask;
    return mem_read8(cpu, (SegIndex)in->seg, offset, &REG8(EAX)) ? X_NEXT : X_FAULT;
}

/* AH is the packed flags' high byte, but for the bits that read as 1 and 0. */
HANDLER(ex_lahf)
{
    (void)in;
    REG8(4) = (uint8_t)((cpu->arith >> 8 & 0xd5) | FL_ONE);
    return X_NEXT;
}

HANDLER(ex_sahf)
{
    (void)in;
    cpu->arith = (uint16_t)((cpu->arith & ARITH_OF) | (REG8(4) & 0xd5) << 8);
    return X_NEXT;
}

HANDLER(ex_salc)
{
    (void)in;
    REG8(EAX) = cpu->arith & ARITH_CF ? 0xff : 0;
    return X_NEXT;
}

HANDLER(ex_cmc)
{
    (void)in;
    cpu->arith ^= ARITH_CF;
    return X_NEXT;
}

HANDLER(ex_clc)
{
    (void)in;
    cpu->arith &= (uint16_t)~ARITH_CF;
    return X_NEXT;
}

HANDLER(ex_stc)
{
    (void)in;
    cpu->arith |= ARITH_CF;
    return X_NEXT;
}

HANDLER(ex_cld)
{
    (void)in;
    cpu->eflags &= ~(uint32_t)FL_DF;
    return X_NEXT;
}

HANDLER(ex_std)
{
    (void)in;
    cpu->eflags |= FL_DF;
    return X_NEXT;
}

#define SET(NAME, TEST)                                                                            \
    HANDLER(ex_set##NAME##_r)                                                                      \
    {                                                                                              \
        REG8(in->rm) = (TEST) ? 1 : 0;                                                             \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_set##NAME##_m)                                                                      \
    {                                                                                              \
        return ex_save8(cpu, in, (TEST) ? 1 : 0) ? X_NEXT : X_FAULT;                               \
    }
EX_CONDITIONS(SET)

#define CONDITIONAL_MOVE(NAME, TEST, BITS, T)                                                      \
    HANDLER(ex_cmov##NAME##_##BITS##r)                                                             \
    {                                                                                              \
        REG##BITS(in->reg) = (TEST) ? REG##BITS(in->rm) : REG##BITS(in->reg);                      \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_cmov##NAME##_##BITS##m)                                                             \
    {                                                                                              \
        T value;                                                                                   \
        if (!ex_load##BITS(cpu, in, &value)) {                                                     \
            return X_FAULT;                                                                        \
        }                                                                                          \
        REG##BITS(in->reg) = (TEST) ? value : REG##BITS(in->reg);                                  \
        return X_NEXT;                                                                             \
    }
#define CONDITIONAL_MOVES(NAME, TEST)                                                              \
    CONDITIONAL_MOVE(NAME, TEST, 16, uint16_t)                                                     \
    CONDITIONAL_MOVE(NAME, TEST, 32, uint32_t)
EX_CONDITIONS(CONDITIONAL_MOVES)

/* Memory is written in any case, with its old value when the comparison fails. */
#define COMPARE_EXCHANGE(FORM, BITS, T)                                                            \
    HANDLER(ex_cmpxchg_##FORM##r)                                                                  \
    {                                                                                              \
        T value = REG##BITS(in->rm);                                                               \
        (void)alu_sub##BITS(REG##BITS(EAX), value, &cpu->arith);                                   \
        if (cond_z(cpu->arith)) {                                                                  \
            REG##BITS(in->rm) = REG##BITS(in->reg);                                                \
        } else {                                                                                   \
            REG##BITS(EAX) = value;                                                                \
        }                                                                                          \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_cmpxchg_##FORM##m)                                                                  \
    {                                                                                              \
        MemRmw rmw;                                                                                \
        T value;                                                                                   \
        if (!ex_modify##BITS(cpu, in, &rmw, &value)) {                                             \
            return X_FAULT;                                                                        \
        }                                                                                          \
        (void)alu_sub##BITS(REG##BITS(EAX), value, &cpu->arith);                                   \
        bool equal = cond_z(cpu->arith);                                                           \
        mem_store##BITS(cpu, &rmw, equal ? REG##BITS(in->reg) : value);                            \
        REG##BITS(EAX) = value;                                                                    \
        return X_NEXT;                                                                             \
    }
COMPARE_EXCHANGE(eb_gb_, 8, uint8_t)
COMPARE_EXCHANGE(ev_gv_16, 16, uint16_t)
COMPARE_EXCHANGE(ev_gv_32, 32, uint32_t)

/* The destination is written last, so that it wins when both are the same register. */
#define EXCHANGE_ADD(FORM, BITS, T)                                                                \
    HANDLER(ex_xadd_##FORM##r)                                                                     \
    {                                                                                              \
        T value = REG##BITS(in->rm);                                                               \
        T sum = alu_add##BITS(value, REG##BITS(in->reg), &cpu->arith);                             \
        REG##BITS(in->reg) = value;                                                                \
        REG##BITS(in->rm) = sum;                                                                   \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_xadd_##FORM##m)                                                                     \
    {                                                                                              \
        MemRmw rmw;                                                                                \
        T value;                                                                                   \
        if (!ex_modify##BITS(cpu, in, &rmw, &value)) {                                             \
            return X_FAULT;                                                                        \
        }                                                                                          \
        mem_store##BITS(cpu, &rmw, alu_add##BITS(value, REG##BITS(in->reg), &cpu->arith));         \
        REG##BITS(in->reg) = value;                                                                \
        return X_NEXT;                                                                             \
    }
EXCHANGE_ADD(eb_gb_, 8, uint8_t)
EXCHANGE_ADD(ev_gv_16, 16, uint16_t)
EXCHANGE_ADD(ev_gv_32, 32, uint32_t)

HANDLER(ex_cmpxchg8b)
{
    uint32_t offset = ex_address(cpu, in);
    uint64_t value, expected = (uint64_t)cpu->reg[EDX] << 32 | cpu->reg[EAX];
    MemRmw rmw;

    /* Write permission first: a failing comparison writes the old value back. */
    if (!mem_rmw64(cpu, (SegIndex)in->seg, offset, &rmw, &value)) {
        return X_FAULT;
    }
    bool equal = value == expected;
    mem_store64(cpu, &rmw, equal ? (uint64_t)cpu->reg[ECX] << 32 | cpu->reg[EBX] : value);
    ex_flag(cpu, ARITH_ZF, equal);
    cpu->reg[EAX] = (uint32_t)value;
    cpu->reg[EDX] = (uint32_t)(value >> 32);
    return X_NEXT;
}
