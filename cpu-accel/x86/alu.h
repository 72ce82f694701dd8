/* Integer arithmetic with flags, as the handlers use it.
 *
 * On an x86-64 host each primitive is the host's own instruction, with flags going from and to
 * Cpu.arith (lahf and seto, addb and sahf), so flags that the manual calls undefined follow silicon
 * too. Other hosts take alu_portable.h.
 */
#ifndef CPU_ACCEL_X86_ALU_H
#define CPU_ACCEL_X86_ALU_H

#include "cpu-accel/x86/cpu.h"

#ifdef __x86_64__

/* Cpu.arith to the host's flags and back, by way of AX. */
#define ALU_LOAD "addb $0x7f, %%al\n\tsahf\n\t"
#define ALU_SAVE "\n\tlahf\n\tseto %%al"

#define ALU_BINARY(NAME, BITS, T, CONSTRAINT, SUFFIX)                                              \
    static inline T alu_##NAME##BITS(T a, T b, uint16_t *arith)                                    \
    {                                                                                              \
        uint16_t ax;                                                                               \
        __asm__(#NAME SUFFIX " %[b], %[a]" ALU_SAVE                                                \
                : [a] "+" CONSTRAINT(a), "=&a"(ax)                                                 \
                : [b] CONSTRAINT(b)                                                                \
                : "cc");                                                                           \
        *arith = ax;                                                                               \
        return a;                                                                                  \
    }

/* The carry comes in. */
#define ALU_CARRY(NAME, BITS, T, CONSTRAINT, SUFFIX)                                               \
    static inline T alu_##NAME##BITS(T a, T b, uint16_t *arith)                                    \
    {                                                                                              \
        uint16_t ax = *arith;                                                                      \
        __asm__("btw $8, %%ax\n\t" #NAME SUFFIX " %[b], %[a]" ALU_SAVE                             \
                : [a] "+" CONSTRAINT(a), "+&a"(ax)                                                 \
                : [b] CONSTRAINT(b)                                                                \
                : "cc");                                                                           \
        *arith = ax;                                                                               \
        return a;                                                                                  \
    }

#define ALU_UNARY(NAME, BITS, T, CONSTRAINT, SUFFIX)                                               \
    static inline T alu_##NAME##BITS(T a, uint16_t *arith)                                         \
    {                                                                                              \
        uint16_t ax = *arith;                                                                      \
        __asm__("btw $8, %%ax\n\t" #NAME SUFFIX " %[a]" ALU_SAVE                                   \
                : [a] "+" CONSTRAINT(a), "+&a"(ax)                                                 \
                :                                                                                  \
                : "cc");                                                                           \
        *arith = ax;                                                                               \
        return a;                                                                                  \
    }

#define ALU_SHIFT(NAME, BITS, T, CONSTRAINT, SUFFIX)                                               \
    static inline T alu_##NAME##BITS(T a, uint8_t count, uint16_t *arith)                          \
    {                                                                                              \
        uint16_t ax = *arith;                                                                      \
        __asm__(ALU_LOAD #NAME SUFFIX " %%cl, %[a]" ALU_SAVE                                       \
                : [a] "+" CONSTRAINT(a), "+&a"(ax)                                                 \
                : "c"(count)                                                                       \
                : "cc");                                                                           \
        *arith = ax;                                                                               \
        return a;                                                                                  \
    }

#define ALU_WIDTH(BITS, T, CONSTRAINT, SUFFIX)                                                     \
    ALU_BINARY(add, BITS, T, CONSTRAINT, SUFFIX)                                                   \
    ALU_BINARY(sub, BITS, T, CONSTRAINT, SUFFIX)                                                   \
    ALU_BINARY(and, BITS, T, CONSTRAINT, SUFFIX)                                                   \
    ALU_BINARY(or, BITS, T, CONSTRAINT, SUFFIX)                                                    \
    ALU_BINARY(xor, BITS, T, CONSTRAINT, SUFFIX)                                                   \
    ALU_CARRY(adc, BITS, T, CONSTRAINT, SUFFIX)                                                    \
    ALU_CARRY(sbb, BITS, T, CONSTRAINT, SUFFIX)                                                    \
    ALU_UNARY(neg, BITS, T, CONSTRAINT, SUFFIX)                                                    \
    ALU_UNARY(inc, BITS, T, CONSTRAINT, SUFFIX)                                                    \
    ALU_UNARY(dec, BITS, T, CONSTRAINT, SUFFIX)                                                    \
    ALU_SHIFT(rol, BITS, T, CONSTRAINT, SUFFIX)                                                    \
    ALU_SHIFT(ror, BITS, T, CONSTRAINT, SUFFIX)                                                    \
    ALU_SHIFT(rcl, BITS, T, CONSTRAINT, SUFFIX)                                                    \
    ALU_SHIFT(rcr, BITS, T, CONSTRAINT, SUFFIX)                                                    \
    ALU_SHIFT(shl, BITS, T, CONSTRAINT, SUFFIX)                                                    \
    ALU_SHIFT(shr, BITS, T, CONSTRAINT, SUFFIX)                                                    \
    ALU_SHIFT(sar, BITS, T, CONSTRAINT, SUFFIX)

ALU_WIDTH(8, uint8_t, "q", "b")
ALU_WIDTH(16, uint16_t, "r", "w")
ALU_WIDTH(32, uint32_t, "r", "l")

#define ALU_DOUBLE(NAME, BITS, T, SUFFIX)                                                          \
    static inline T alu_##NAME##BITS(T a, T b, uint8_t count, uint16_t *arith)                     \
    {                                                                                              \
        uint16_t ax = *arith;                                                                      \
        __asm__(ALU_LOAD #NAME SUFFIX " %%cl, %[b], %[a]" ALU_SAVE                                 \
                : [a] "+r"(a), "+&a"(ax)                                                           \
                : [b] "r"(b), "c"(count)                                                           \
                : "cc");                                                                           \
        *arith = ax;                                                                               \
        return a;                                                                                  \
    }
ALU_DOUBLE(shld, 16, uint16_t, "w")
ALU_DOUBLE(shld, 32, uint32_t, "l")
ALU_DOUBLE(shrd, 16, uint16_t, "w")
ALU_DOUBLE(shrd, 32, uint32_t, "l")

/* AX is taken by the operands: flags come and go in another register, exchanged with it. */
#define ALU_MUL8(NAME)                                                                             \
    static inline uint16_t alu_##NAME##8(uint8_t a, uint8_t b, uint16_t * arith)                   \
    {                                                                                              \
        uint16_t product = a, f = *arith;                                                          \
        __asm__("xchgl %%eax, %k[f]\n\t" ALU_LOAD "xchgl %%eax, %k[f]\n\t" #NAME                   \
                "b %[b]\n\txchgl %%eax, %k[f]" ALU_SAVE "\n\txchgl %%eax, %k[f]"                   \
                : "+&a"(product), [f] "+&r"(f)                                                     \
                : [b] "q"(b)                                                                       \
                : "cc");                                                                           \
        *arith = f;                                                                                \
        return product;                                                                            \
    }
ALU_MUL8(mul)
ALU_MUL8(imul)

#define ALU_MUL(NAME, BITS, T, WIDE, SUFFIX)                                                       \
    static inline WIDE alu_##NAME##BITS(T a, T b, uint16_t *arith)                                 \
    {                                                                                              \
        uint16_t f = *arith;                                                                       \
        T low = a, high;                                                                           \
        __asm__("xchgl %%eax, %k[f]\n\t" ALU_LOAD "xchgl %%eax, %k[f]\n\t" #NAME SUFFIX            \
                " %[b]\n\txchgl %%eax, %k[f]" ALU_SAVE "\n\txchgl %%eax, %k[f]"                    \
                : "+&a"(low), "=&d"(high), [f] "+&r"(f)                                            \
                : [b] "r"(b)                                                                       \
                : "cc");                                                                           \
        *arith = f;                                                                                \
        return (WIDE)high << BITS | low;                                                           \
    }
ALU_MUL(mul, 16, uint16_t, uint32_t, "w")
ALU_MUL(mul, 32, uint32_t, uint64_t, "l")
ALU_MUL(imul, 16, uint16_t, uint32_t, "w")
ALU_MUL(imul, 32, uint32_t, uint64_t, "l")

#define ALU_PRODUCT(BITS, T, SUFFIX)                                                               \
    static inline T alu_product##BITS(T a, T b, uint16_t *arith)                                   \
    {                                                                                              \
        uint16_t ax = *arith;                                                                      \
        __asm__(ALU_LOAD "imul" SUFFIX " %[b], %[a]" ALU_SAVE                                      \
                : [a] "+r"(a), "+&a"(ax)                                                           \
                : [b] "r"(b)                                                                       \
                : "cc");                                                                           \
        *arith = ax;                                                                               \
        return a;                                                                                  \
    }
ALU_PRODUCT(16, uint16_t, "w")
ALU_PRODUCT(32, uint32_t, "l")

/* The quotient must fit. */
#define ALU_DIV8(NAME)                                                                             \
    static inline uint8_t alu_##NAME##8(uint16_t a, uint8_t b, uint8_t * remainder,                \
                                        uint16_t * arith)                                          \
    {                                                                                              \
        uint16_t f = *arith;                                                                       \
        __asm__("xchgl %%eax, %k[f]\n\t" ALU_LOAD "xchgl %%eax, %k[f]\n\t" #NAME                   \
                "b %[b]\n\txchgl %%eax, %k[f]" ALU_SAVE "\n\txchgl %%eax, %k[f]"                   \
                : "+&a"(a), [f] "+&r"(f)                                                           \
                : [b] "q"(b)                                                                       \
                : "cc");                                                                           \
        *arith = f;                                                                                \
        *remainder = (uint8_t)(a >> 8);                                                            \
        return (uint8_t)a;                                                                         \
    }
ALU_DIV8(div)
ALU_DIV8(idiv)

#define ALU_DIV(NAME, BITS, T, WIDE, SUFFIX)                                                       \
    static inline T alu_##NAME##BITS(WIDE a, T b, T *remainder, uint16_t *arith)                   \
    {                                                                                              \
        uint16_t f = *arith;                                                                       \
        T low = (T)a, high = (T)(a >> BITS);                                                       \
        __asm__("xchgl %%eax, %k[f]\n\t" ALU_LOAD "xchgl %%eax, %k[f]\n\t" #NAME SUFFIX            \
                " %[b]\n\txchgl %%eax, %k[f]" ALU_SAVE "\n\txchgl %%eax, %k[f]"                    \
                : "+&a"(low), "+&d"(high), [f] "+&r"(f)                                            \
                : [b] "r"(b)                                                                       \
                : "cc");                                                                           \
        *arith = f;                                                                                \
        *remainder = high;                                                                         \
        return low;                                                                                \
    }
ALU_DIV(div, 16, uint16_t, uint32_t, "w")
ALU_DIV(div, 32, uint32_t, uint64_t, "l")
ALU_DIV(idiv, 16, uint16_t, uint32_t, "w")
ALU_DIV(idiv, 32, uint32_t, uint64_t, "l")

/* The result is `old` when a is 0. */
#define ALU_SCAN(NAME, BITS, T, SUFFIX)                                                            \
    static inline T alu_##NAME##BITS(T old, T a, uint16_t *arith)                                  \
    {                                                                                              \
        uint16_t ax = *arith;                                                                      \
        __asm__(ALU_LOAD #NAME SUFFIX " %[a], %[old]" ALU_SAVE                                     \
                : [old] "+r"(old), "+&a"(ax)                                                       \
                : [a] "r"(a)                                                                       \
                : "cc");                                                                           \
        *arith = ax;                                                                               \
        return old;                                                                                \
    }
ALU_SCAN(bsf, 16, uint16_t, "w")
ALU_SCAN(bsf, 32, uint32_t, "l")
ALU_SCAN(bsr, 16, uint16_t, "w")
ALU_SCAN(bsr, 32, uint32_t, "l")

#else

#include "cpu-accel/x86/alu_portable.h"

#define alu_add8 portable_add8
#define alu_add16 portable_add16
#define alu_add32 portable_add32
#define alu_sub8 portable_sub8
#define alu_sub16 portable_sub16
#define alu_sub32 portable_sub32
#define alu_and8 portable_and8
#define alu_and16 portable_and16
#define alu_and32 portable_and32
#define alu_or8 portable_or8
#define alu_or16 portable_or16
#define alu_or32 portable_or32
#define alu_xor8 portable_xor8
#define alu_xor16 portable_xor16
#define alu_xor32 portable_xor32
#define alu_adc8 portable_adc8
#define alu_adc16 portable_adc16
#define alu_adc32 portable_adc32
#define alu_sbb8 portable_sbb8
#define alu_sbb16 portable_sbb16
#define alu_sbb32 portable_sbb32
#define alu_neg8 portable_neg8
#define alu_neg16 portable_neg16
#define alu_neg32 portable_neg32
#define alu_inc8 portable_inc8
#define alu_inc16 portable_inc16
#define alu_inc32 portable_inc32
#define alu_dec8 portable_dec8
#define alu_dec16 portable_dec16
#define alu_dec32 portable_dec32
#define alu_rol8 portable_rol8
#define alu_rol16 portable_rol16
#define alu_rol32 portable_rol32
#define alu_ror8 portable_ror8
#define alu_ror16 portable_ror16
#define alu_ror32 portable_ror32
#define alu_rcl8 portable_rcl8
#define alu_rcl16 portable_rcl16
#define alu_rcl32 portable_rcl32
#define alu_rcr8 portable_rcr8
#define alu_rcr16 portable_rcr16
#define alu_rcr32 portable_rcr32
#define alu_shl8 portable_shl8
#define alu_shl16 portable_shl16
#define alu_shl32 portable_shl32
#define alu_shr8 portable_shr8
#define alu_shr16 portable_shr16
#define alu_shr32 portable_shr32
#define alu_sar8 portable_sar8
#define alu_sar16 portable_sar16
#define alu_sar32 portable_sar32
#define alu_mul8 portable_mul8
#define alu_mul16 portable_mul16
#define alu_mul32 portable_mul32
#define alu_imul8 portable_imul8
#define alu_imul16 portable_imul16
#define alu_imul32 portable_imul32
#define alu_div8 portable_div8
#define alu_div16 portable_div16
#define alu_div32 portable_div32
#define alu_idiv8 portable_idiv8
#define alu_idiv16 portable_idiv16
#define alu_idiv32 portable_idiv32
#define alu_shld16 portable_shld16
#define alu_shld32 portable_shld32
#define alu_shrd16 portable_shrd16
#define alu_shrd32 portable_shrd32
#define alu_product16 portable_product16
#define alu_product32 portable_product32
#define alu_bsf16 portable_bsf16
#define alu_bsf32 portable_bsf32
#define alu_bsr16 portable_bsr16
#define alu_bsr32 portable_bsr32

#endif

#endif
