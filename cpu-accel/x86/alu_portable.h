/* Integer arithmetic with flags, in plain C: for hosts that are no x86-64, and as the second
 * opinion in the tests of alu.h.
 *
 * SDM volume 2 is the source. Where the manual calls a flag undefined, this file leaves it or
 * clears it, as the comments say; alu.h takes what the host's silicon does.
 */
#ifndef CPU_ACCEL_X86_ALU_PORTABLE_H
#define CPU_ACCEL_X86_ALU_PORTABLE_H

#include "cpu-accel/x86/cpu.h"

static inline uint16_t portable_szp(uint32_t result, unsigned bits)
{
    uint32_t sign = result >> (bits - 1) & 1;
    uint32_t zero = (result & (uint32_t)((UINT64_C(1) << bits) - 1)) == 0;
    uint32_t even = !__builtin_parity(result & 0xff);
    return (uint16_t)(sign << 15 | zero << 14 | even << 10);
}

static inline uint16_t portable_with(uint16_t arith, uint16_t bit, bool value)
{
    return (uint16_t)((arith & ~bit) | (value ? bit : 0));
}

static inline uint16_t portable_sum_flags(uint32_t a, uint32_t b, uint64_t sum, unsigned bits)
{
    uint32_t r = (uint32_t)sum;
    uint16_t arith = portable_szp(r, bits);
    arith |= (sum >> bits & 1) ? ARITH_CF : 0;
    arith |= ((a ^ b ^ r) & 0x10) ? ARITH_AF : 0;
    arith |= (((a ^ r) & (b ^ r)) >> (bits - 1) & 1) ? ARITH_OF : 0;
    return arith;
}

static inline uint16_t portable_difference_flags(uint32_t a, uint32_t b, uint64_t difference,
                                                 unsigned bits)
{
    uint32_t r = (uint32_t)difference;
    uint16_t arith = portable_szp(r, bits);
    arith |= (difference >> bits & 1) ? ARITH_CF : 0;
    arith |= ((a ^ b ^ r) & 0x10) ? ARITH_AF : 0;
    arith |= (((a ^ b) & (a ^ r)) >> (bits - 1) & 1) ? ARITH_OF : 0;
    return arith;
}

/* Logic: AF, undefined, is cleared. */
#define PORTABLE_ALU(BITS, T)                                                                      \
    static inline T portable_adc##BITS(T a, T b, uint16_t *arith)                                  \
    {                                                                                              \
        uint64_t sum = (uint64_t)a + b + (*arith >> 8 & 1);                                        \
        *arith = portable_sum_flags(a, b, sum, BITS);                                              \
        return (T)sum;                                                                             \
    }                                                                                              \
    static inline T portable_add##BITS(T a, T b, uint16_t *arith)                                  \
    {                                                                                              \
        *arith = 0;                                                                                \
        return portable_adc##BITS(a, b, arith);                                                    \
    }                                                                                              \
    static inline T portable_sbb##BITS(T a, T b, uint16_t *arith)                                  \
    {                                                                                              \
        uint64_t difference = (uint64_t)a - b - (*arith >> 8 & 1);                                 \
        *arith = portable_difference_flags(a, b, difference, BITS);                                \
        return (T)difference;                                                                      \
    }                                                                                              \
    static inline T portable_sub##BITS(T a, T b, uint16_t *arith)                                  \
    {                                                                                              \
        *arith = 0;                                                                                \
        return portable_sbb##BITS(a, b, arith);                                                    \
    }                                                                                              \
    static inline T portable_and##BITS(T a, T b, uint16_t *arith)                                  \
    {                                                                                              \
        *arith = portable_szp(a & b, BITS);                                                        \
        return a & b;                                                                              \
    }                                                                                              \
    static inline T portable_or##BITS(T a, T b, uint16_t *arith)                                   \
    {                                                                                              \
        *arith = portable_szp(a | b, BITS);                                                        \
        return a | b;                                                                              \
    }                                                                                              \
    static inline T portable_xor##BITS(T a, T b, uint16_t *arith)                                  \
    {                                                                                              \
        *arith = portable_szp(a ^ b, BITS);                                                        \
        return a ^ b;                                                                              \
    }                                                                                              \
    static inline T portable_neg##BITS(T a, uint16_t *arith)                                       \
    {                                                                                              \
        return portable_sub##BITS(0, a, arith);                                                    \
    }                                                                                              \
    static inline T portable_inc##BITS(T a, uint16_t *arith)                                       \
    {                                                                                              \
        uint16_t carry = *arith & ARITH_CF;                                                        \
        T r = portable_add##BITS(a, 1, arith);                                                     \
        *arith = (uint16_t)((*arith & ~ARITH_CF) | carry);                                         \
        return r;                                                                                  \
    }                                                                                              \
    static inline T portable_dec##BITS(T a, uint16_t *arith)                                       \
    {                                                                                              \
        uint16_t carry = *arith & ARITH_CF;                                                        \
        T r = portable_sub##BITS(a, 1, arith);                                                     \
        *arith = (uint16_t)((*arith & ~ARITH_CF) | carry);                                         \
        return r;                                                                                  \
    }                                                                                              \
    /* Rotates: OF, undefined for counts other than 1, is computed as for 1. */                    \
    static inline T portable_rol##BITS(T a, uint8_t count, uint16_t *arith)                        \
    {                                                                                              \
        unsigned n = count & 31u;                                                                  \
        if (!n) {                                                                                  \
            return a;                                                                              \
        }                                                                                          \
        n &= BITS - 1;                                                                             \
        T r = n ? (T)(a << n | a >> (BITS - n)) : a;                                               \
        *arith = portable_with(*arith, ARITH_CF, r & 1);                                           \
        *arith = portable_with(*arith, ARITH_OF, (r >> (BITS - 1) ^ r) & 1);                       \
        return r;                                                                                  \
    }                                                                                              \
    static inline T portable_ror##BITS(T a, uint8_t count, uint16_t *arith)                        \
    {                                                                                              \
        unsigned n = count & 31u;                                                                  \
        if (!n) {                                                                                  \
            return a;                                                                              \
        }                                                                                          \
        n &= BITS - 1;                                                                             \
        T r = n ? (T)(a >> n | a << (BITS - n)) : a;                                               \
        *arith = portable_with(*arith, ARITH_CF, r >> (BITS - 1) & 1);                             \
        *arith = portable_with(*arith, ARITH_OF, (r >> (BITS - 1) ^ r >> (BITS - 2)) & 1);         \
        return r;                                                                                  \
    }                                                                                              \
    static inline T portable_rcl##BITS(T a, uint8_t count, uint16_t *arith)                        \
    {                                                                                              \
        unsigned n = (count & 31u) % (BITS + 1);                                                   \
        if (!(count & 31u)) {                                                                      \
            return a;                                                                              \
        }                                                                                          \
        bool carry = *arith & ARITH_CF;                                                            \
        for (unsigned i = 0; i < n; i++) {                                                         \
            bool out = a >> (BITS - 1) & 1;                                                        \
            a = (T)(a << 1 | carry);                                                               \
            carry = out;                                                                           \
        }                                                                                          \
        *arith = portable_with(*arith, ARITH_CF, carry);                                           \
        *arith = portable_with(*arith, ARITH_OF, (a >> (BITS - 1) ^ carry) & 1);                   \
        return a;                                                                                  \
    }                                                                                              \
    static inline T portable_rcr##BITS(T a, uint8_t count, uint16_t *arith)                        \
    {                                                                                              \
        unsigned n = (count & 31u) % (BITS + 1);                                                   \
        if (!(count & 31u)) {                                                                      \
            return a;                                                                              \
        }                                                                                          \
        bool carry = *arith & ARITH_CF;                                                            \
        for (unsigned i = 0; i < n; i++) {                                                         \
            bool out = a & 1;                                                                      \
            a = (T)(a >> 1 | (T)carry << (BITS - 1));                                              \
            carry = out;                                                                           \
        }                                                                                          \
        *arith = portable_with(*arith, ARITH_CF, carry);                                           \
        *arith = portable_with(*arith, ARITH_OF, (a >> (BITS - 1) ^ a >> (BITS - 2)) & 1);         \
        return a;                                                                                  \
    }                                                                                              \
    /* Shifts: AF is cleared; OF for counts other than 1 as for the last step. */                  \
    static inline T portable_shl##BITS(T a, uint8_t count, uint16_t *arith)                        \
    {                                                                                              \
        unsigned n = count & 31u;                                                                  \
        if (!n) {                                                                                  \
            return a;                                                                              \
        }                                                                                          \
        uint64_t wide = (uint64_t)a << n;                                                          \
        T r = (T)wide;                                                                             \
        bool carry = wide >> BITS & 1;                                                             \
        *arith = portable_with(portable_szp(r, BITS), ARITH_CF, carry);                            \
        *arith = portable_with(*arith, ARITH_OF, (r >> (BITS - 1) ^ carry) & 1);                   \
        return r;                                                                                  \
    }                                                                                              \
    static inline T portable_shr##BITS(T a, uint8_t count, uint16_t *arith)                        \
    {                                                                                              \
        unsigned n = count & 31u;                                                                  \
        if (!n) {                                                                                  \
            return a;                                                                              \
        }                                                                                          \
        uint64_t before = (uint64_t)a >> (n - 1);                                                  \
        T r = (T)(before >> 1);                                                                    \
        *arith = portable_with(portable_szp(r, BITS), ARITH_CF, before & 1);                       \
        *arith = portable_with(*arith, ARITH_OF, before >> (BITS - 1) & 1);                        \
        return r;                                                                                  \
    }                                                                                              \
    static inline T portable_sar##BITS(T a, uint8_t count, uint16_t *arith)                        \
    {                                                                                              \
        unsigned n = count & 31u;                                                                  \
        if (!n) {                                                                                  \
            return a;                                                                              \
        }                                                                                          \
        int64_t before = (int64_t)(int##BITS##_t)a >> (n - 1);                                     \
        T r = (T)(before >> 1);                                                                    \
        *arith = portable_with(portable_szp(r, BITS), ARITH_CF, before & 1);                       \
        return r;                                                                                  \
    }

PORTABLE_ALU(8, uint8_t)
PORTABLE_ALU(16, uint16_t)
PORTABLE_ALU(32, uint32_t)

/* Double shifts. 16-bit ones by more than 16 are undefined; here the bits of a:b:a go on, as on
 * silicon. */
#define PORTABLE_DOUBLE(BITS, T)                                                                   \
    static inline T portable_shld##BITS(T a, T b, uint8_t count, uint16_t *arith)                  \
    {                                                                                              \
        unsigned n = count & 31u;                                                                  \
        if (!n) {                                                                                  \
            return a;                                                                              \
        }                                                                                          \
        bool carry = false;                                                                        \
        T high = a, low = b, top = a;                                                              \
        for (unsigned i = 0; i < n; i++) {                                                         \
            carry = high >> (BITS - 1) & 1;                                                        \
            high = (T)(high << 1 | low >> (BITS - 1));                                             \
            low = (T)(low << 1 | top >> (BITS - 1));                                               \
            top = (T)(top << 1);                                                                   \
        }                                                                                          \
        *arith = portable_with(portable_szp(high, BITS), ARITH_CF, carry);                         \
        *arith = portable_with(*arith, ARITH_OF, (high >> (BITS - 1) ^ carry) & 1);                \
        return high;                                                                               \
    }                                                                                              \
    static inline T portable_shrd##BITS(T a, T b, uint8_t count, uint16_t *arith)                  \
    {                                                                                              \
        unsigned n = count & 31u;                                                                  \
        if (!n) {                                                                                  \
            return a;                                                                              \
        }                                                                                          \
        bool carry = false;                                                                        \
        T low = a, high = b, top = a;                                                              \
        for (unsigned i = 0; i < n; i++) {                                                         \
            carry = low & 1;                                                                       \
            low = (T)(low >> 1 | (T)(high << (BITS - 1)));                                         \
            high = (T)(high >> 1 | (T)(top << (BITS - 1)));                                        \
            top = (T)(top >> 1);                                                                   \
        }                                                                                          \
        *arith = portable_with(portable_szp(low, BITS), ARITH_CF, carry);                          \
        *arith = portable_with(*arith, ARITH_OF, (low >> (BITS - 1) ^ low >> (BITS - 2)) & 1);     \
        return low;                                                                                \
    }
PORTABLE_DOUBLE(16, uint16_t)
PORTABLE_DOUBLE(32, uint32_t)

/* Products: SF, ZF, AF and PF, undefined, stay. */
#define PORTABLE_MUL(BITS, T, WIDE, SIGNED, SIGNED_WIDE)                                           \
    static inline WIDE portable_mul##BITS(T a, T b, uint16_t *arith)                               \
    {                                                                                              \
        WIDE r = (WIDE)((WIDE)a * b);                                                              \
        bool over = r >> BITS;                                                                     \
        *arith = portable_with(portable_with(*arith, ARITH_CF, over), ARITH_OF, over);             \
        return r;                                                                                  \
    }                                                                                              \
    static inline WIDE portable_imul##BITS(T a, T b, uint16_t *arith)                              \
    {                                                                                              \
        SIGNED_WIDE r = (SIGNED_WIDE)((SIGNED_WIDE)(SIGNED)a * (SIGNED)b);                         \
        bool over = r != (SIGNED)r;                                                                \
        *arith = portable_with(portable_with(*arith, ARITH_CF, over), ARITH_OF, over);             \
        return (WIDE)r;                                                                            \
    }
PORTABLE_MUL(8, uint8_t, uint16_t, int8_t, int16_t)
PORTABLE_MUL(16, uint16_t, uint32_t, int16_t, int32_t)
PORTABLE_MUL(32, uint32_t, uint64_t, int32_t, int64_t)

static inline uint16_t portable_product16(uint16_t a, uint16_t b, uint16_t *arith)
{
    return (uint16_t)portable_imul16(a, b, arith);
}

static inline uint32_t portable_product32(uint32_t a, uint32_t b, uint16_t *arith)
{
    return (uint32_t)portable_imul32(a, b, arith);
}

/* Quotients that are known to fit; flags, all undefined, stay. */
#define PORTABLE_DIV(BITS, T, WIDE, SIGNED, SIGNED_WIDE)                                           \
    static inline T portable_div##BITS(WIDE a, T b, T *remainder, uint16_t *arith)                 \
    {                                                                                              \
        (void)arith;                                                                               \
        *remainder = (T)(a % b);                                                                   \
        return (T)(a / b);                                                                         \
    }                                                                                              \
    static inline T portable_idiv##BITS(WIDE a, T b, T *remainder, uint16_t *arith)                \
    {                                                                                              \
        (void)arith;                                                                               \
        *remainder = (T)((SIGNED_WIDE)a % (SIGNED)b);                                              \
        return (T)((SIGNED_WIDE)a / (SIGNED)b);                                                    \
    }
PORTABLE_DIV(8, uint8_t, uint16_t, int8_t, int16_t)
PORTABLE_DIV(16, uint16_t, uint32_t, int16_t, int32_t)
PORTABLE_DIV(32, uint32_t, uint64_t, int32_t, int64_t)

/* Bit scans: the result is `old` when a is 0. All flags but ZF, undefined, stay. */
#define PORTABLE_SCAN(BITS, T)                                                                     \
    static inline T portable_bsf##BITS(T old, T a, uint16_t *arith)                                \
    {                                                                                              \
        *arith = portable_with(*arith, ARITH_ZF, !a);                                              \
        return a ? (T)__builtin_ctz(a) : old;                                                      \
    }                                                                                              \
    static inline T portable_bsr##BITS(T old, T a, uint16_t *arith)                                \
    {                                                                                              \
        *arith = portable_with(*arith, ARITH_ZF, !a);                                              \
        return a ? (T)(31 - __builtin_clz(a)) : old;                                               \
    }
PORTABLE_SCAN(16, uint16_t)
PORTABLE_SCAN(32, uint32_t)

#endif
