/* SSE, SSE2 and MMX: moves, shuffles, masks; the entry checks of SSE.
 *
 * SDM vol. 1, 10.4.1, 10.4.4, 11.4.1 and 11.4.4. Nothing here looks at what the bits mean, so no
 * exception of numbers is raised. Non-temporal stores are plain stores.
 */
#include "cpu-accel/x86/ex_sse.h"

Outcome sse_refuse(Cpu *cpu)
{
    bool undefined = cpu->cr0 & CR0_EM || !(cpu->cr4 & CR4_OSFXSR);
    return cpu_fault(cpu, undefined ? VEC_UD : VEC_NM);
}

Outcome sse_mmx_enter(Cpu *cpu)
{
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    return x87_enter_pending(cpu);
}

/* 16 bytes, aligned or not, both ways. */
static Outcome load16(Cpu *cpu, const Insn *in, bool aligned)
{
    Xmm value = cpu->fpu.xmm[in->rm];
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    if (in->memory) {
        uint32_t address = ex_address(cpu, in);
        if ((aligned && !sse_aligned(cpu, in, address)) ||
            !mem_read_bytes(cpu, (SegIndex)in->seg, address, &value, sizeof value)) {
            return X_FAULT;
        }
    }
    cpu->fpu.xmm[in->reg] = value;
    return X_NEXT;
}

static Outcome store16(Cpu *cpu, const Insn *in, bool aligned)
{
    const Xmm *value = &cpu->fpu.xmm[in->reg];
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    if (!in->memory) {
        cpu->fpu.xmm[in->rm] = *value;
        return X_NEXT;
    }
    uint32_t address = ex_address(cpu, in);
    if ((aligned && !sse_aligned(cpu, in, address)) ||
        !mem_write_bytes(cpu, (SegIndex)in->seg, address, value, sizeof *value)) {
        return X_FAULT;
    }
    return X_NEXT;
}

Outcome ex_movaps_vps_wps(Cpu *cpu, const Insn *in)
{
    return load16(cpu, in, true);
}

Outcome ex_movups_vps_wps(Cpu *cpu, const Insn *in)
{
    return load16(cpu, in, false);
}

Outcome ex_movaps_wps_vps(Cpu *cpu, const Insn *in)
{
    return store16(cpu, in, true);
}

Outcome ex_movups_wps_vps(Cpu *cpu, const Insn *in)
{
    return store16(cpu, in, false);
}

/* Scalars: a load from memory clears what is above, a move between registers keeps it. */
Outcome ex_movss_vss_wss(Cpu *cpu, const Insn *in)
{
    Xmm *to = &cpu->fpu.xmm[in->reg];
    uint32_t value = (uint32_t)cpu->fpu.xmm[in->rm].q[0];
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    if (!in->memory) {
        to->q[0] = (to->q[0] & ~(uint64_t)UINT32_MAX) | value;
        return X_NEXT;
    }
    if (!mem_read32(cpu, (SegIndex)in->seg, ex_address(cpu, in), &value)) {
        return X_FAULT;
    }
    *to = (Xmm){{value, 0}};
    return X_NEXT;
}

Outcome ex_movss_wss_vss(Cpu *cpu, const Insn *in)
{
    uint32_t value = (uint32_t)cpu->fpu.xmm[in->reg].q[0];
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    if (in->memory) {
        return mem_write32(cpu, (SegIndex)in->seg, ex_address(cpu, in), value) ? X_NEXT : X_FAULT;
    }
    Xmm *to = &cpu->fpu.xmm[in->rm];
    to->q[0] = (to->q[0] & ~(uint64_t)UINT32_MAX) | value;
    return X_NEXT;
}

Outcome ex_movsd_vsd_wsd(Cpu *cpu, const Insn *in)
{
    Xmm *to = &cpu->fpu.xmm[in->reg];
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    if (!in->memory) {
        to->q[0] = cpu->fpu.xmm[in->rm].q[0];
        return X_NEXT;
    }
    uint64_t value;
    if (!mem_read64(cpu, (SegIndex)in->seg, ex_address(cpu, in), &value)) {
        return X_FAULT;
    }
    *to = (Xmm){{value, 0}};
    return X_NEXT;
}

static Outcome store_half(Cpu *cpu, const Insn *in, unsigned half)
{
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    return mem_write64(cpu, (SegIndex)in->seg, ex_address(cpu, in), cpu->fpu.xmm[in->reg].q[half])
               ? X_NEXT
               : X_FAULT;
}

Outcome ex_movsd_wsd_vsd(Cpu *cpu, const Insn *in)
{
    if (in->memory) {
        return store_half(cpu, in, 0);
    }
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    cpu->fpu.xmm[in->rm].q[0] = cpu->fpu.xmm[in->reg].q[0];
    return X_NEXT;
}

static Outcome load_half(Cpu *cpu, const Insn *in, unsigned half)
{
    uint64_t value;
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    if (!mem_read64(cpu, (SegIndex)in->seg, ex_address(cpu, in), &value)) {
        return X_FAULT;
    }
    cpu->fpu.xmm[in->reg].q[half] = value;
    return X_NEXT;
}

Outcome ex_movlps_vq_mq(Cpu *cpu, const Insn *in)
{
    return load_half(cpu, in, 0);
}

Outcome ex_movhps_vq_mq(Cpu *cpu, const Insn *in)
{
    return load_half(cpu, in, 1);
}

Outcome ex_movlps_mq_vq(Cpu *cpu, const Insn *in)
{
    return store_half(cpu, in, 0);
}

Outcome ex_movhps_mq_vq(Cpu *cpu, const Insn *in)
{
    return store_half(cpu, in, 1);
}

Outcome ex_movhlps(Cpu *cpu, const Insn *in)
{
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    cpu->fpu.xmm[in->reg].q[0] = cpu->fpu.xmm[in->rm].q[1];
    return X_NEXT;
}

Outcome ex_movlhps(Cpu *cpu, const Insn *in)
{
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    cpu->fpu.xmm[in->reg].q[1] = cpu->fpu.xmm[in->rm].q[0];
    return X_NEXT;
}

/* MOVD and MOVQ. */
Outcome ex_movd_vdq_ed(Cpu *cpu, const Insn *in)
{
    uint32_t value;
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    if (!sse_source_register(cpu, in, &value)) {
        return X_FAULT;
    }
    cpu->fpu.xmm[in->reg] = (Xmm){{value, 0}};
    return X_NEXT;
}

static Outcome write_register(Cpu *cpu, const Insn *in, uint32_t value)
{
    if (in->memory) {
        return mem_write32(cpu, (SegIndex)in->seg, ex_address(cpu, in), value) ? X_NEXT : X_FAULT;
    }
    cpu->reg[in->rm] = value;
    return X_NEXT;
}

Outcome ex_movd_ed_vdq(Cpu *cpu, const Insn *in)
{
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    return write_register(cpu, in, (uint32_t)cpu->fpu.xmm[in->reg].q[0]);
}

Outcome ex_movq_vdq_wq(Cpu *cpu, const Insn *in)
{
    __m128i value;
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    if (!xmm_source64(cpu, in, &value)) {
        return X_FAULT;
    }
    xmm_store(&cpu->fpu.xmm[in->reg], value);
    return X_NEXT;
}

Outcome ex_movq_wq_vdq(Cpu *cpu, const Insn *in)
{
    if (in->memory) {
        return store_half(cpu, in, 0);
    }
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    cpu->fpu.xmm[in->rm] = (Xmm){{cpu->fpu.xmm[in->reg].q[0], 0}};
    return X_NEXT;
}

Outcome ex_movd_pq_ed(Cpu *cpu, const Insn *in)
{
    uint32_t value;
    Outcome entered = mmx_enter(cpu);
    if (entered != X_NEXT) {
        return entered;
    }
    if (!sse_source_register(cpu, in, &value)) {
        return X_FAULT;
    }
    mmx_touch(&cpu->fpu);
    mmx_write(&cpu->fpu, in->reg, value);
    return X_NEXT;
}

Outcome ex_movd_ed_pq(Cpu *cpu, const Insn *in)
{
    Outcome done = mmx_enter(cpu);
    if (done == X_NEXT) {
        done = write_register(cpu, in, (uint32_t)mmx_read(&cpu->fpu, in->reg));
    }
    if (done == X_NEXT) {
        mmx_touch(&cpu->fpu);
    }
    return done;
}

Outcome ex_movq_pq_qq(Cpu *cpu, const Insn *in)
{
    uint64_t value;
    Outcome entered = mmx_enter(cpu);
    if (entered != X_NEXT) {
        return entered;
    }
    if (!mmx_source(cpu, in, &value)) {
        return X_FAULT;
    }
    mmx_touch(&cpu->fpu);
    mmx_write(&cpu->fpu, in->reg, value);
    return X_NEXT;
}

Outcome ex_movq_qq_pq(Cpu *cpu, const Insn *in)
{
    Fpu *f = &cpu->fpu;
    uint64_t value = mmx_read(f, in->reg);
    Outcome entered = mmx_enter(cpu);
    if (entered != X_NEXT) {
        return entered;
    }
    if (in->memory && !mem_write64(cpu, (SegIndex)in->seg, ex_address(cpu, in), value)) {
        return X_FAULT;
    }
    mmx_touch(f);
    if (!in->memory) {
        mmx_write(f, in->rm, value);
    }
    return X_NEXT;
}

Outcome ex_movq2dq(Cpu *cpu, const Insn *in)
{
    Outcome entered = sse_mmx_enter(cpu);
    if (entered == X_NEXT) {
        cpu->fpu.xmm[in->reg] = (Xmm){{mmx_read(&cpu->fpu, in->rm), 0}};
        mmx_touch(&cpu->fpu);
    }
    return entered;
}

Outcome ex_movdq2q(Cpu *cpu, const Insn *in)
{
    Outcome entered = sse_mmx_enter(cpu);
    if (entered == X_NEXT) {
        mmx_touch(&cpu->fpu);
        mmx_write(&cpu->fpu, in->reg, cpu->fpu.xmm[in->rm].q[0]);
    }
    return entered;
}

/* Sign bits into a general register. */
#define MOVE_MASK(name, extract)                                                                   \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        if (!sse_ready(cpu)) {                                                                     \
            return sse_refuse(cpu);                                                                \
        }                                                                                          \
        __m128i value = xmm_load(&cpu->fpu.xmm[in->rm]);                                           \
        cpu->reg[in->reg] = (uint32_t)extract;                                                     \
        return X_NEXT;                                                                             \
    }

MOVE_MASK(movmskps, _mm_movemask_ps(_mm_castsi128_ps(value)))
MOVE_MASK(movmskpd, _mm_movemask_pd(_mm_castsi128_pd(value)))
MOVE_MASK(pmovmskb_gd_udq, _mm_movemask_epi8(value))

Outcome ex_pmovmskb_gd_nq(Cpu *cpu, const Insn *in)
{
    Outcome entered = mmx_enter(cpu);
    if (entered == X_NEXT) {
        cpu->reg[in->reg] = (uint32_t)_mm_movemask_epi8(xmm_of(mmx_read(&cpu->fpu, in->rm)));
        mmx_touch(&cpu->fpu);
    }
    return entered;
}

/* Words and doublewords picked by an immediate. */
static uint64_t pick_words(uint64_t from, uint32_t order)
{
    uint64_t result = 0;
    for (unsigned i = 0; i < 4; i++) {
        result |= (from >> (16 * (order >> (2 * i) & 3)) & 0xffff) << (16 * i);
    }
    return result;
}

static uint32_t doubleword(const Xmm *x, unsigned i)
{
    return (uint32_t)(x->q[i >> 1 & 1] >> (32 * (i & 1)));
}

Outcome ex_pshufw(Cpu *cpu, const Insn *in)
{
    uint64_t value;
    Outcome entered = mmx_enter(cpu);
    if (entered != X_NEXT) {
        return entered;
    }
    if (!mmx_source(cpu, in, &value)) {
        return X_FAULT;
    }
    mmx_touch(&cpu->fpu);
    mmx_write(&cpu->fpu, in->reg, pick_words(value, in->imm));
    return X_NEXT;
}

/* A shuffle of `from` (by rm) and the register `to` that may be either's source. */
#define SHUFFLE(name, low, high)                                                                   \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        __m128i source;                                                                            \
        Xmm from, to = cpu->fpu.xmm[in->reg];                                                      \
        uint32_t order = in->imm;                                                                  \
        if (!sse_ready(cpu)) {                                                                     \
            return sse_refuse(cpu);                                                                \
        }                                                                                          \
        if (!xmm_source(cpu, in, &source)) {                                                       \
            return X_FAULT;                                                                        \
        }                                                                                          \
        xmm_store(&from, source);                                                                  \
        (void)to;                                                                                  \
        cpu->fpu.xmm[in->reg] = (Xmm){{low, high}};                                                \
        return X_NEXT;                                                                             \
    }

#define PAIR(x, first, y, second)                                                                  \
    (doubleword(x, order >> (first)) | (uint64_t)doubleword(y, order >> (second)) << 32)

SHUFFLE(pshufd, PAIR(&from, 0, &from, 2), PAIR(&from, 4, &from, 6))
SHUFFLE(pshuflw, pick_words(from.q[0], order), from.q[1])
SHUFFLE(pshufhw, from.q[0], pick_words(from.q[1], order))
SHUFFLE(shufps, PAIR(&to, 0, &to, 2), PAIR(&from, 4, &from, 6))
SHUFFLE(shufpd, to.q[order & 1], from.q[order >> 1 & 1])

/* Single words. */
static bool word_source(Cpu *cpu, const Insn *in, uint16_t *value)
{
    if (in->memory) {
        return mem_read16(cpu, (SegIndex)in->seg, ex_address(cpu, in), value);
    }
    *value = (uint16_t)cpu->reg[in->rm];
    return true;
}

static uint64_t insert_word(uint64_t into, unsigned at, uint16_t value)
{
    return (into & ~(UINT64_C(0xffff) << (16 * at))) | (uint64_t)value << (16 * at);
}

Outcome ex_pinsrw_pq_ew_ib(Cpu *cpu, const Insn *in)
{
    uint16_t value;
    Outcome entered = mmx_enter(cpu);
    if (entered != X_NEXT) {
        return entered;
    }
    if (!word_source(cpu, in, &value)) {
        return X_FAULT;
    }
    mmx_touch(&cpu->fpu);
    mmx_write(&cpu->fpu, in->reg, insert_word(mmx_read(&cpu->fpu, in->reg), in->imm & 3, value));
    return X_NEXT;
}

Outcome ex_pinsrw_vdq_ew_ib(Cpu *cpu, const Insn *in)
{
    uint16_t value;
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    if (!word_source(cpu, in, &value)) {
        return X_FAULT;
    }
    uint64_t *half = &cpu->fpu.xmm[in->reg].q[in->imm >> 2 & 1];
    *half = insert_word(*half, in->imm & 3, value);
    return X_NEXT;
}

Outcome ex_pextrw_gd_nq_ib(Cpu *cpu, const Insn *in)
{
    Outcome entered = mmx_enter(cpu);
    if (entered == X_NEXT) {
        cpu->reg[in->reg] = mmx_read(&cpu->fpu, in->rm) >> (16 * (in->imm & 3)) & 0xffff;
        mmx_touch(&cpu->fpu);
    }
    return entered;
}

Outcome ex_pextrw_gd_udq_ib(Cpu *cpu, const Insn *in)
{
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    uint64_t half = cpu->fpu.xmm[in->rm].q[in->imm >> 2 & 1];
    cpu->reg[in->reg] = half >> (16 * (in->imm & 3)) & 0xffff;
    return X_NEXT;
}

/* MASKMOVQ, MASKMOVDQU: the bytes whose mask has bit 7 set go to (E)DI. All are checked before one
 * is written. */
static bool masked_store(Cpu *cpu, const Insn *in, const uint8_t *bytes, const uint8_t *mask,
                         unsigned count)
{
    MemRmw at[16];
    uint8_t old;
    for (unsigned i = 0; i < count; i++) {
        uint32_t offset = cpu->reg[EDI] + i;
        if (in->adsize == 2) {
            offset &= 0xffff;
        }
        /* The manual leaves it open; silicon checks all bytes, whatever the mask. */
        if (i % 8 == 0 && !mem_check_write(cpu, (SegIndex)in->seg, offset, 8)) {
            return false;
        }
        if (mask[i] & 0x80 && !mem_rmw8(cpu, (SegIndex)in->seg, offset, &at[i], &old)) {
            return false;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (mask[i] & 0x80) {
            mem_store8(cpu, &at[i], bytes[i]);
        }
    }
    return true;
}

Outcome ex_maskmovq(Cpu *cpu, const Insn *in)
{
    Fpu *f = &cpu->fpu;
    uint64_t value = mmx_read(f, in->reg), mask = mmx_read(f, in->rm);
    Outcome entered = mmx_enter(cpu);
    if (entered != X_NEXT) {
        return entered;
    }
    if (!masked_store(cpu, in, (const uint8_t *)&value, (const uint8_t *)&mask, 8)) {
        return X_FAULT;
    }
    mmx_touch(f);
    return X_NEXT;
}

Outcome ex_maskmovdqu(Cpu *cpu, const Insn *in)
{
    Fpu *f = &cpu->fpu;
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    return masked_store(cpu, in, (const uint8_t *)&f->xmm[in->reg],
                        (const uint8_t *)&f->xmm[in->rm], 16)
               ? X_NEXT
               : X_FAULT;
}
