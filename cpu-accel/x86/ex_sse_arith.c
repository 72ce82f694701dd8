/* SSE and SSE2: arithmetic, comparisons and conversions of reals.
 *
 * SDM vol. 1, 10.4.1, 10.4.3, 11.4.1 and 11.5; MXCSR's work is described in ex_sse.h. RCP and RSQRT
 * give the host's approximation, which differs between makers.
 */
#include "cpu-accel/x86/ex_sse.h"

enum { PRE_COMPUTATION = FSW_IE | FSW_DE | FSW_ZE };

bool sse_unmasked(Cpu *cpu, uint32_t raised, bool denormal_result)
{
    uint32_t *mxcsr = &cpu->fpu.mxcsr;
    uint32_t enabled = ~(*mxcsr >> MXCSR_MASKS_SHIFT) & MXCSR_FLAGS;
    if (raised & enabled & PRE_COMPUTATION) {
        raised &= PRE_COMPUTATION;
    } else if (denormal_result) {
        raised |= enabled & FSW_UE;
    }
    *mxcsr |= raised;
    if (raised & enabled) {
        cpu_fault(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD);
        return false;
    }
    return true;
}

/* Whether an element is denormal: exponent zero, fraction not. */
static inline bool denormal_ps(__m128i v)
{
    const __m128i zero = _mm_setzero_si128();
    __m128i exponent = _mm_and_si128(v, _mm_set1_epi32(0x7f800000));
    __m128i zeros = _mm_cmpeq_epi32(_mm_and_si128(v, _mm_set1_epi32(0x7fffffff)), zero);
    return _mm_movemask_epi8(_mm_andnot_si128(zeros, _mm_cmpeq_epi32(exponent, zero)));
}

static inline bool denormal_bits64(uint64_t v)
{
    return !(v & UINT64_C(0x7ff0000000000000)) && v << 1;
}

static inline bool denormal_pd(__m128i v)
{
    return denormal_bits64(xmm_low(v)) || denormal_bits64(xmm_low(_mm_unpackhi_epi64(v, v)));
}

static inline bool denormal_ss(__m128i v)
{
    uint32_t bits = (uint32_t)_mm_cvtsi128_si32(v);
    return !(bits & 0x7f800000) && bits << 1;
}

static inline bool denormal_sd(__m128i v)
{
    return denormal_bits64(xmm_low(v));
}

/* What the host computes in an element, for sse_recheck_precision. */
typedef enum SseKind { KIND_ADD, KIND_SUB, KIND_MUL, KIND_DIV, KIND_NARROW } SseKind;

typedef struct SseShape {
    SseKind kind;
    bool wide;         /* the result is double, else single */
    unsigned elements; /* of the operation */
} SseShape;

enum { SINGLE_BIAS = 127, DOUBLE_BIAS = 1023, EXTENDED_BIAS = 16383 };

/* The host's x87 unit with the precision of the result but a far wider exponent: what an unmasked
 * overflow or underflow sees. Returns its status, and the rounded result. */
static uint16_t compute_wide(const SseShape *shape, uint32_t mxcsr, uint64_t a, uint64_t b,
                             Float80 *result)
{
    uint16_t control = FCW_ONE | FCW_MASKS | (shape->wide ? 2 << 8 : 0), status;
    uint32_t a32 = (uint32_t)a, b32 = (uint32_t)b;
    Float80 x = {0}, y = {0};
    control |= (uint16_t)((mxcsr & MXCSR_ROUNDING) >> 3);
    if (shape->kind == KIND_NARROW) {
        static const uint64_t one = UINT64_C(0x3ff0000000000000);
        __asm__ volatile("fldl %1\n\tfstpt %0" : "=m"(x) : "m"(b));
        __asm__ volatile("fldl %1\n\tfstpt %0" : "=m"(y) : "m"(one));
    } else if (shape->wide) {
        __asm__ volatile("fldl %1\n\tfstpt %0" : "=m"(x) : "m"(a));
        __asm__ volatile("fldl %1\n\tfstpt %0" : "=m"(y) : "m"(b));
    } else {
        __asm__ volatile("flds %1\n\tfstpt %0" : "=m"(x) : "m"(a32));
        __asm__ volatile("flds %1\n\tfstpt %0" : "=m"(y) : "m"(b32));
    }
#define COMPUTE(bytes)                                                                             \
    __asm__ volatile("fldcw %4\n\tfnclex\n\tfldt %2\n\tfldt %3\n\t.byte 0xde, " bytes              \
                     "\n\tfnstsw %0\n\tfstpt %1"                                                   \
                     : "=&a"(status), "=m"(*result)                                                \
                     : "m"(x), "m"(y), "m"(control))
    switch (shape->kind) {
    case KIND_ADD:
        COMPUTE("0xc1");
        break;
    case KIND_SUB:
        COMPUTE("0xe9");
        break;
    case KIND_DIV:
        COMPUTE("0xf9");
        break;
    default:
        COMPUTE("0xc9");
        break;
    }
#undef COMPUTE
    return status;
}

static bool element_inexact(const SseShape *shape, uint32_t mxcsr, uint64_t a, uint64_t b)
{
    Float80 r = {0};
    uint16_t status = compute_wide(shape, mxcsr, a, b, &r);
    int bias = shape->wide ? DOUBLE_BIAS : SINGLE_BIAS;
    int exponent = (r.sign_exponent & 0x7fff) - EXTENDED_BIAS;
    uint32_t enabled = ~(mxcsr >> MXCSR_MASKS_SHIFT) & MXCSR_FLAGS;
    bool inexact = status & FSW_PE;
    if (status & FSW_IE || exponent == 0x7fff - EXTENDED_BIAS || r.mantissa == 0) {
        return inexact;
    }
    if (exponent > bias) {
        return inexact || !(enabled & FSW_OE);
    }
    if (exponent <= -bias && !(enabled & FSW_UE)) {
        /* Masked: rounded again to a denormal, or flushed to zero. */
        unsigned lost = (unsigned)(1 - bias - exponent) + (shape->wide ? 11 : 40);
        return inexact || mxcsr & MXCSR_FTZ || lost > 63 || r.mantissa << (64 - lost);
    }
    return inexact;
}

static uint64_t element(const Xmm *x, bool wide, unsigned i, uint32_t mxcsr)
{
    uint64_t v = wide ? x->q[i] : (uint32_t)(x->q[i >> 1] >> (32 * (i & 1)));
    unsigned sign = wide ? 63 : 31;
    bool denormal = !(v & (wide ? UINT64_C(0x7ff) << 52 : UINT64_C(0xff) << 23));
    return mxcsr & MXCSR_DAZ && denormal ? v & UINT64_C(1) << sign : v;
}

/* An unmasked overflow or underflow stops before the result is made to fit, so PE tells only
 * whether the rounding with an unbounded exponent was inexact. The host, which had all masked, may
 * have set it for the fitting; called after a fault, when PE was clear before. */
static void recheck_precision(Cpu *cpu, const SseShape *shape, __m128i a, __m128i b)
{
    uint32_t *mxcsr = &cpu->fpu.mxcsr;
    bool sources_wide = shape->wide || shape->kind == KIND_NARROW;
    Xmm x, y;
    xmm_store(&x, a);
    xmm_store(&y, b);
    bool inexact = false;
    for (unsigned i = 0; i < shape->elements; i++) {
        inexact |= element_inexact(shape, *mxcsr, element(&x, sources_wide, i, *mxcsr),
                                   element(&y, sources_wide, i, *mxcsr));
    }
    if (!inexact) {
        *mxcsr &= ~(uint32_t)FSW_PE;
    }
}

/* reg = reg op source. `source` reads the operand. */
#define SSE_OPERATION(name, code, source)                                                          \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        __m128i b;                                                                                 \
        if (!sse_ready(cpu)) {                                                                     \
            return sse_refuse(cpu);                                                                \
        }                                                                                          \
        if (!source(cpu, in, &b)) {                                                                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        __m128i a = xmm_load(&cpu->fpu.xmm[in->reg]);                                              \
        sse_begin(&cpu->fpu);                                                                      \
        __asm__ volatile(code " %1, %0" : "+x"(a) : "x"(b));                                       \
        if (!sse_end(cpu, false)) {                                                                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        xmm_store(&cpu->fpu.xmm[in->reg], a);                                                      \
        return X_NEXT;                                                                             \
    }

/* The same for what can overflow or underflow; `denormal` tests a result. */
#define SSE_ROUNDING(name, code, source, denormal, kind, wide, elements)                           \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        static const SseShape shape = {kind, wide, elements};                                      \
        __m128i b;                                                                                 \
        if (!sse_ready(cpu)) {                                                                     \
            return sse_refuse(cpu);                                                                \
        }                                                                                          \
        if (!source(cpu, in, &b)) {                                                                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        __m128i old = xmm_load(&cpu->fpu.xmm[in->reg]), a = old;                                   \
        uint32_t precision = cpu->fpu.mxcsr & FSW_PE;                                              \
        sse_begin(&cpu->fpu);                                                                      \
        __asm__ volatile(code " %1, %0" : "+x"(a) : "x"(b));                                       \
        if (!sse_end(cpu, denormal(a))) {                                                          \
            if (!precision && cpu->fpu.mxcsr & FSW_PE) {                                           \
                recheck_precision(cpu, &shape, old, b);                                            \
            }                                                                                      \
            return X_FAULT;                                                                        \
        }                                                                                          \
        xmm_store(&cpu->fpu.xmm[in->reg], a);                                                      \
        return X_NEXT;                                                                             \
    }

#define ROUNDING_FOUR(name, kind)                                                                  \
    SSE_ROUNDING(name##ps_vps_wps, #name "ps", xmm_source, denormal_ps, kind, false, 4)            \
    SSE_ROUNDING(name##pd_vpd_wpd, #name "pd", xmm_source, denormal_pd, kind, true, 2)             \
    SSE_ROUNDING(name##ss_vss_wss, #name "ss", xmm_source32, denormal_ss, kind, false, 1)          \
    SSE_ROUNDING(name##sd_vsd_wsd, #name "sd", xmm_source64, denormal_sd, kind, true, 1)

ROUNDING_FOUR(add, KIND_ADD)
ROUNDING_FOUR(sub, KIND_SUB)
ROUNDING_FOUR(mul, KIND_MUL)
ROUNDING_FOUR(div, KIND_DIV)
SSE_ROUNDING(cvtpd2ps_vps_wpd, "cvtpd2ps", xmm_source, denormal_ps, KIND_NARROW, false, 2)
SSE_ROUNDING(cvtsd2ss_vss_wsd, "cvtsd2ss", xmm_source64, denormal_ss, KIND_NARROW, false, 1)

#define OPERATION_FOUR(name)                                                                       \
    SSE_OPERATION(name##ps_vps_wps, #name "ps", xmm_source)                                        \
    SSE_OPERATION(name##pd_vpd_wpd, #name "pd", xmm_source)                                        \
    SSE_OPERATION(name##ss_vss_wss, #name "ss", xmm_source32)                                      \
    SSE_OPERATION(name##sd_vsd_wsd, #name "sd", xmm_source64)

OPERATION_FOUR(sqrt)
OPERATION_FOUR(min)
OPERATION_FOUR(max)

/* Approximations raise nothing and do not heed MXCSR. */
SSE_OPERATION(rcpps_vps_wps, "rcpps", xmm_source)
SSE_OPERATION(rcpss_vss_wss, "rcpss", xmm_source32)
SSE_OPERATION(rsqrtps_vps_wps, "rsqrtps", xmm_source)
SSE_OPERATION(rsqrtss_vss_wss, "rsqrtss", xmm_source32)

/* Conversions that stay in XMM registers, without those that narrow. */
SSE_OPERATION(cvtps2pd_vpd_wq, "cvtps2pd", xmm_source64)
SSE_OPERATION(cvtss2sd_vsd_wss, "cvtss2sd", xmm_source32)
SSE_OPERATION(cvtdq2ps_vps_wdq, "cvtdq2ps", xmm_source)
SSE_OPERATION(cvtdq2pd_vpd_wq, "cvtdq2pd", xmm_source64)
SSE_OPERATION(cvtps2dq_vdq_wps, "cvtps2dq", xmm_source)
SSE_OPERATION(cvttps2dq_vdq_wps, "cvttps2dq", xmm_source)
SSE_OPERATION(cvtpd2dq_vdq_wpd, "cvtpd2dq", xmm_source)
SSE_OPERATION(cvttpd2dq_vdq_wpd, "cvttpd2dq", xmm_source)

/* Comparisons by a predicate: of the immediate the low three bits count. */
#define COMPARE_CASE(code, predicate)                                                              \
    case predicate:                                                                                \
        __asm__ volatile(code " $" #predicate ", %1, %0" : "+x"(a) : "x"(b));                      \
        break;

#define SSE_COMPARE(name, code, source)                                                            \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        __m128i b;                                                                                 \
        if (!sse_ready(cpu)) {                                                                     \
            return sse_refuse(cpu);                                                                \
        }                                                                                          \
        if (!source(cpu, in, &b)) {                                                                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        __m128i a = xmm_load(&cpu->fpu.xmm[in->reg]);                                              \
        sse_begin(&cpu->fpu);                                                                      \
        switch (in->imm & 7) {                                                                     \
            COMPARE_CASE(code, 0)                                                                  \
            COMPARE_CASE(code, 1)                                                                  \
            COMPARE_CASE(code, 2)                                                                  \
            COMPARE_CASE(code, 3)                                                                  \
            COMPARE_CASE(code, 4)                                                                  \
            COMPARE_CASE(code, 5)                                                                  \
            COMPARE_CASE(code, 6)                                                                  \
            COMPARE_CASE(code, 7)                                                                  \
        }                                                                                          \
        if (!sse_end(cpu, false)) {                                                                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        xmm_store(&cpu->fpu.xmm[in->reg], a);                                                      \
        return X_NEXT;                                                                             \
    }

SSE_COMPARE(cmpps, "cmpps", xmm_source)
SSE_COMPARE(cmppd, "cmppd", xmm_source)
SSE_COMPARE(cmpss, "cmpss", xmm_source32)
SSE_COMPARE(cmpsd, "cmpsd", xmm_source64)

/* Into EFLAGS. */
#define SSE_COMPARE_FLAGS(name, source)                                                            \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        __m128i b;                                                                                 \
        uint16_t arith;                                                                            \
        if (!sse_ready(cpu)) {                                                                     \
            return sse_refuse(cpu);                                                                \
        }                                                                                          \
        if (!source(cpu, in, &b)) {                                                                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        __m128i a = xmm_load(&cpu->fpu.xmm[in->reg]);                                              \
        sse_begin(&cpu->fpu);                                                                      \
        __asm__ volatile(#name " %2, %1\n\tlahf\n\tseto %%al"                                      \
                         : "=&a"(arith)                                                            \
                         : "x"(a), "x"(b)                                                          \
                         : "cc");                                                                  \
        if (!sse_end(cpu, false)) {                                                                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        cpu->arith = arith;                                                                        \
        return X_NEXT;                                                                             \
    }

SSE_COMPARE_FLAGS(comiss, xmm_source32)
SSE_COMPARE_FLAGS(comisd, xmm_source64)
SSE_COMPARE_FLAGS(ucomiss, xmm_source32)
SSE_COMPARE_FLAGS(ucomisd, xmm_source64)

/* Between scalars and general registers. */
#define FROM_INTEGER(name)                                                                         \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        uint32_t value;                                                                            \
        if (!sse_ready(cpu)) {                                                                     \
            return sse_refuse(cpu);                                                                \
        }                                                                                          \
        if (!sse_source_register(cpu, in, &value)) {                                               \
            return X_FAULT;                                                                        \
        }                                                                                          \
        __m128i a = xmm_load(&cpu->fpu.xmm[in->reg]);                                              \
        sse_begin(&cpu->fpu);                                                                      \
        __asm__ volatile(#name "l %1, %0" : "+x"(a) : "r"(value));                                 \
        if (!sse_end(cpu, false)) {                                                                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        xmm_store(&cpu->fpu.xmm[in->reg], a);                                                      \
        return X_NEXT;                                                                             \
    }

FROM_INTEGER(cvtsi2ss)
FROM_INTEGER(cvtsi2sd)

#define TO_INTEGER(name, source)                                                                   \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        __m128i b;                                                                                 \
        uint32_t value;                                                                            \
        if (!sse_ready(cpu)) {                                                                     \
            return sse_refuse(cpu);                                                                \
        }                                                                                          \
        if (!source(cpu, in, &b)) {                                                                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        sse_begin(&cpu->fpu);                                                                      \
        __asm__ volatile(#name " %1, %0" : "=r"(value) : "x"(b));                                  \
        if (!sse_end(cpu, false)) {                                                                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        cpu->reg[in->reg] = value;                                                                 \
        return X_NEXT;                                                                             \
    }

TO_INTEGER(cvtss2si, xmm_source32)
TO_INTEGER(cvttss2si, xmm_source32)
TO_INTEGER(cvtsd2si, xmm_source64)
TO_INTEGER(cvttsd2si, xmm_source64)

/* From MMX registers: two integers become reals. With a memory operand the silicon leaves the x87
 * stack alone and does not wait for its exceptions (of CVTPI2PS the manual does not say so). */
static Outcome integer_pair(Cpu *cpu, const Insn *in, __m128i *value)
{
    uint64_t source;
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    if (!in->memory) {
        Outcome entered = x87_enter_pending(cpu);
        if (entered != X_NEXT) {
            return entered;
        }
        mmx_touch(&cpu->fpu);
    }
    if (!mmx_source(cpu, in, &source)) {
        return X_FAULT;
    }
    *value = xmm_of(source);
    return X_NEXT;
}

Outcome ex_cvtpi2ps(Cpu *cpu, const Insn *in)
{
    __m128i value;
    Outcome entered = integer_pair(cpu, in, &value);
    if (entered != X_NEXT) {
        return entered;
    }
    sse_begin(&cpu->fpu);
    __asm__ volatile("cvtdq2ps %0, %0" : "+x"(value));
    if (!sse_end(cpu, false)) {
        return X_FAULT;
    }
    cpu->fpu.xmm[in->reg].q[0] = xmm_low(value);
    return X_NEXT;
}

Outcome ex_cvtpi2pd(Cpu *cpu, const Insn *in)
{
    __m128i value;
    Outcome entered = integer_pair(cpu, in, &value);
    if (entered == X_NEXT) {
        __asm__("cvtdq2pd %0, %0" : "+x"(value));
        xmm_store(&cpu->fpu.xmm[in->reg], value);
    }
    return entered;
}

/* To MMX registers. For the forms that read 8 bytes the zeros above raise nothing. The x87 stack is
 * taken over even when an exception stops the rest, as silicon does. */
#define TO_MMX(name, code, source)                                                                 \
    Outcome ex_##name(Cpu *cpu, const Insn *in)                                                    \
    {                                                                                              \
        __m128i b;                                                                                 \
        Outcome entered = sse_mmx_enter(cpu);                                                      \
        if (entered != X_NEXT) {                                                                   \
            return entered;                                                                        \
        }                                                                                          \
        if (!source(cpu, in, &b)) {                                                                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        mmx_touch(&cpu->fpu);                                                                      \
        sse_begin(&cpu->fpu);                                                                      \
        __asm__ volatile(code " %0, %0" : "+x"(b));                                                \
        if (!sse_end(cpu, false)) {                                                                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        mmx_write(&cpu->fpu, in->reg, xmm_low(b));                                                 \
        return X_NEXT;                                                                             \
    }

TO_MMX(cvtps2pi, "cvtps2dq", xmm_source64)
TO_MMX(cvttps2pi, "cvttps2dq", xmm_source64)
TO_MMX(cvtpd2pi, "cvtpd2dq", xmm_source)
TO_MMX(cvttpd2pi, "cvttpd2dq", xmm_source)
