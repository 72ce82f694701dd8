/* MMX, and the same packed integers in XMM registers (SSE2).
 *
 * SDM vol. 1, chapters 9 and 11.4.2. Moves between the two kinds of registers are in
 * ex_sse_move.c.
 */
#include "cpu-accel/x86/ex_sse.h"

Outcome mmx_enter(Cpu *cpu)
{
    if (cpu->cr0 & CR0_EM) {
        return cpu_fault(cpu, VEC_UD);
    }
    if (cpu->cr0 & CR0_TS) {
        return cpu_fault(cpu, VEC_NM);
    }
    return x87_enter_pending(cpu);
}

/* Reads both operands of an MMX instruction: *a by reg, *b by rm. */
static inline Outcome mmx_operands(Cpu *cpu, const Insn *in, __m128i *a, __m128i *b)
{
    uint64_t source;
    if (!mmx_ready(cpu)) {
        Outcome entered = mmx_enter(cpu);
        if (entered != X_NEXT) {
            return entered;
        }
    }
    if (!mmx_source(cpu, in, &source)) {
        return X_FAULT;
    }
    *a = xmm_of(mmx_read(&cpu->fpu, in->reg));
    *b = xmm_of(source);
    return X_NEXT;
}

static inline void mmx_result(Cpu *cpu, const Insn *in, uint64_t value)
{
    mmx_touch(&cpu->fpu);
    mmx_write(&cpu->fpu, in->reg, value);
}

/* What the XMM instruction leaves in its low half is the MMX instruction's result. */
#define PACKED_MMX(name)                                                                           \
    Outcome ex_##name##_pq_qq(Cpu *cpu, const Insn *in)                                            \
    {                                                                                              \
        __m128i a, b;                                                                              \
        Outcome entered = mmx_operands(cpu, in, &a, &b);                                           \
        if (entered != X_NEXT) {                                                                   \
            return entered;                                                                        \
        }                                                                                          \
        __asm__(#name " %1, %0" : "+x"(a) : "x"(b));                                               \
        mmx_result(cpu, in, xmm_low(a));                                                           \
        return X_NEXT;                                                                             \
    }

#define PACKED_XMM(name)                                                                           \
    Outcome ex_##name##_vdq_wdq(Cpu *cpu, const Insn *in)                                          \
    {                                                                                              \
        __m128i b;                                                                                 \
        if (!sse_ready(cpu)) {                                                                     \
            return sse_refuse(cpu);                                                                \
        }                                                                                          \
        if (!xmm_source(cpu, in, &b)) {                                                            \
            return X_FAULT;                                                                        \
        }                                                                                          \
        __m128i a = xmm_load(&cpu->fpu.xmm[in->reg]);                                              \
        __asm__(#name " %1, %0" : "+x"(a) : "x"(b));                                               \
        xmm_store(&cpu->fpu.xmm[in->reg], a);                                                      \
        return X_NEXT;                                                                             \
    }

#define PACKED(name)                                                                               \
    PACKED_MMX(name)                                                                               \
    PACKED_XMM(name)

PACKED(paddb)
PACKED(paddw)
PACKED(paddd)
PACKED(paddq)
PACKED(paddsb)
PACKED(paddsw)
PACKED(paddusb)
PACKED(paddusw)
PACKED(psubb)
PACKED(psubw)
PACKED(psubd)
PACKED(psubq)
PACKED(psubsb)
PACKED(psubsw)
PACKED(psubusb)
PACKED(psubusw)
PACKED(pmullw)
PACKED(pmulhw)
PACKED(pmulhuw)
PACKED(pmuludq)
PACKED(pmaddwd)
PACKED(psadbw)
PACKED(pavgb)
PACKED(pavgw)
PACKED(pminub)
PACKED(pminsw)
PACKED(pmaxub)
PACKED(pmaxsw)
PACKED(pcmpeqb)
PACKED(pcmpeqw)
PACKED(pcmpeqd)
PACKED(pcmpgtb)
PACKED(pcmpgtw)
PACKED(pcmpgtd)
PACKED(pand)
PACKED(pandn)
PACKED(por)
PACKED(pxor)
PACKED(psllw)
PACKED(pslld)
PACKED(psllq)
PACKED(psrlw)
PACKED(psrld)
PACKED(psrlq)
PACKED(psraw)
PACKED(psrad)
PACKED_XMM(packsswb)
PACKED_XMM(packssdw)
PACKED_XMM(packuswb)
PACKED_XMM(punpcklbw)
PACKED_XMM(punpcklwd)
PACKED_XMM(punpckldq)
PACKED_XMM(punpcklqdq)
PACKED_XMM(punpckhbw)
PACKED_XMM(punpckhwd)
PACKED_XMM(punpckhdq)
PACKED_XMM(punpckhqdq)

/* Packing: both operands in one register, packed with itself. */
#define PACK_MMX(name)                                                                             \
    Outcome ex_##name##_pq_qq(Cpu *cpu, const Insn *in)                                            \
    {                                                                                              \
        __m128i a, b;                                                                              \
        Outcome entered = mmx_operands(cpu, in, &a, &b);                                           \
        if (entered != X_NEXT) {                                                                   \
            return entered;                                                                        \
        }                                                                                          \
        a = _mm_unpacklo_epi64(a, b);                                                              \
        __asm__(#name " %0, %0" : "+x"(a));                                                        \
        mmx_result(cpu, in, xmm_low(a));                                                           \
        return X_NEXT;                                                                             \
    }

PACK_MMX(packsswb)
PACK_MMX(packssdw)
PACK_MMX(packuswb)

/* Interleaving the low halves of XMM registers gives what the MMX form makes of the low halves of
 * its operands, and above it what it makes of the high halves. The low form reads 4 bytes. */
#define UNPACK_LOW_MMX(name)                                                                       \
    Outcome ex_##name##_pq_qd(Cpu *cpu, const Insn *in)                                            \
    {                                                                                              \
        uint32_t source;                                                                           \
        if (!mmx_ready(cpu)) {                                                                     \
            Outcome entered = mmx_enter(cpu);                                                      \
            if (entered != X_NEXT) {                                                               \
                return entered;                                                                    \
            }                                                                                      \
        }                                                                                          \
        if (!in->memory) {                                                                         \
            source = (uint32_t)mmx_read(&cpu->fpu, in->rm);                                        \
        } else if (!mem_read32(cpu, (SegIndex)in->seg, ex_address(cpu, in), &source)) {            \
            return X_FAULT;                                                                        \
        }                                                                                          \
        __m128i a = xmm_of(mmx_read(&cpu->fpu, in->reg)), b = xmm_of(source);                      \
        __asm__(#name " %1, %0" : "+x"(a) : "x"(b));                                               \
        mmx_result(cpu, in, xmm_low(a));                                                           \
        return X_NEXT;                                                                             \
    }

UNPACK_LOW_MMX(punpcklbw)
UNPACK_LOW_MMX(punpcklwd)
UNPACK_LOW_MMX(punpckldq)

#define UNPACK_HIGH_MMX(name, low)                                                                 \
    Outcome ex_##name##_pq_qq(Cpu *cpu, const Insn *in)                                            \
    {                                                                                              \
        __m128i a, b;                                                                              \
        Outcome entered = mmx_operands(cpu, in, &a, &b);                                           \
        if (entered != X_NEXT) {                                                                   \
            return entered;                                                                        \
        }                                                                                          \
        __asm__(low " %1, %0" : "+x"(a) : "x"(b));                                                 \
        mmx_result(cpu, in, xmm_low(_mm_unpackhi_epi64(a, a)));                                    \
        return X_NEXT;                                                                             \
    }

UNPACK_HIGH_MMX(punpckhbw, "punpcklbw")
UNPACK_HIGH_MMX(punpckhwd, "punpcklwd")
UNPACK_HIGH_MMX(punpckhdq, "punpckldq")

/* Shifts by an immediate: the count as a register's low quadword means the same. */
#define SHIFT_IMMEDIATE(name)                                                                      \
    Outcome ex_##name##_nq_ib(Cpu *cpu, const Insn *in)                                            \
    {                                                                                              \
        Fpu *f = &cpu->fpu;                                                                        \
        if (!mmx_ready(cpu)) {                                                                     \
            Outcome entered = mmx_enter(cpu);                                                      \
            if (entered != X_NEXT) {                                                               \
                return entered;                                                                    \
            }                                                                                      \
        }                                                                                          \
        __m128i a = xmm_of(mmx_read(f, in->rm)), b = xmm_of(in->imm & 0xff);                       \
        __asm__(#name " %1, %0" : "+x"(a) : "x"(b));                                               \
        mmx_touch(f);                                                                              \
        mmx_write(f, in->rm, xmm_low(a));                                                          \
        return X_NEXT;                                                                             \
    }                                                                                              \
    Outcome ex_##name##_udq_ib(Cpu *cpu, const Insn *in)                                           \
    {                                                                                              \
        if (!sse_ready(cpu)) {                                                                     \
            return sse_refuse(cpu);                                                                \
        }                                                                                          \
        __m128i a = xmm_load(&cpu->fpu.xmm[in->rm]), b = xmm_of(in->imm & 0xff);                   \
        __asm__(#name " %1, %0" : "+x"(a) : "x"(b));                                               \
        xmm_store(&cpu->fpu.xmm[in->rm], a);                                                       \
        return X_NEXT;                                                                             \
    }

SHIFT_IMMEDIATE(psllw)
SHIFT_IMMEDIATE(pslld)
SHIFT_IMMEDIATE(psllq)
SHIFT_IMMEDIATE(psrlw)
SHIFT_IMMEDIATE(psrld)
SHIFT_IMMEDIATE(psrlq)
SHIFT_IMMEDIATE(psraw)
SHIFT_IMMEDIATE(psrad)

/* By bytes, over the whole register. */
static Outcome shift_bytes(Cpu *cpu, const Insn *in, bool left)
{
    unsigned __int128 value = 0;
    unsigned count = in->imm & 0xff;
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    memcpy(&value, &cpu->fpu.xmm[in->rm], sizeof value);
    if (count > 15) {
        value = 0;
    } else {
        value = left ? value << (8 * count) : value >> (8 * count);
    }
    memcpy(&cpu->fpu.xmm[in->rm], &value, sizeof value);
    return X_NEXT;
}

Outcome ex_pslldq_udq_ib(Cpu *cpu, const Insn *in)
{
    return shift_bytes(cpu, in, true);
}

Outcome ex_psrldq_udq_ib(Cpu *cpu, const Insn *in)
{
    return shift_bytes(cpu, in, false);
}

Outcome ex_emms(Cpu *cpu, const Insn *in)
{
    (void)in;
    Outcome entered = mmx_enter(cpu);
    if (entered == X_NEXT) {
        cpu->fpu.status &= (uint16_t)~FSW_TOP;
        cpu->fpu.valid = 0;
    }
    return entered;
}
