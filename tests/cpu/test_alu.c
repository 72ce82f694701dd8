/* The arithmetic primitives: the host's instructions against plain C, flags included.
 *
 * On hosts other than x86-64 both are the same and the test is only a self-check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cpu-accel/x86/alu.h"
#include "cpu-accel/x86/alu_portable.h"

enum {
    ALL = ARITH_OF | ARITH_CF | ARITH_PF | ARITH_AF | ARITH_ZF | ARITH_SF,
    NO_AF = ALL & ~ARITH_AF,
    NO_OF = ALL & ~ARITH_OF,
};

static uint64_t random_state = 88172645463325252u;

static uint32_t random32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

/* Edge values as often as others. */
static uint32_t operand(void)
{
    static const uint32_t edges[] = {0,      1,          2,          0x7f,       0x80,
                                     0xff,   0x7fff,     0x8000,     0xffff,     0x7fffffff,
                                     0x8001, 0x80000000, 0xffffffff, 0xfffffffe, 0x10};
    uint32_t r = random32();
    return r & 1 ? edges[(r >> 1) % (sizeof edges / sizeof edges[0])] : random32();
}

static uint16_t flags(void)
{
    return (uint16_t)(random32() & ALL);
}

#define SAME(CALL_HOST, CALL_C, MASK, WHAT, A, B)                                                  \
    do {                                                                                           \
        uint16_t before = flags(), f = before, g = before;                                         \
        uint64_t host = CALL_HOST, c = CALL_C;                                                     \
        if (host != c || (f & (MASK)) != (g & (MASK))) {                                           \
            fail_msg("%s %#x, %#x, flags %#x: host %#llx %#x, C %#llx %#x", WHAT, (unsigned)(A),   \
                     (unsigned)(B), before, (unsigned long long)host, f, (unsigned long long)c,    \
                     g);                                                                           \
        }                                                                                          \
    } while (0)

#define BINARY(NAME, BITS, T, MASK)                                                                \
    static void test_##NAME##BITS(void **state)                                                    \
    {                                                                                              \
        (void)state;                                                                               \
        for (unsigned i = 0; i < 20000; i++) {                                                     \
            T a = (T)operand(), b = (T)operand();                                                  \
            SAME(alu_##NAME##BITS(a, b, &f), portable_##NAME##BITS(a, b, &g), MASK, #NAME #BITS,   \
                 a, b);                                                                            \
        }                                                                                          \
    }

#define UNARY(NAME, BITS, T)                                                                       \
    static void test_##NAME##BITS(void **state)                                                    \
    {                                                                                              \
        (void)state;                                                                               \
        for (unsigned i = 0; i < 20000; i++) {                                                     \
            T a = (T)operand();                                                                    \
            SAME(alu_##NAME##BITS(a, &f), portable_##NAME##BITS(a, &g), ALL, #NAME #BITS, a, 0);   \
        }                                                                                          \
    }

/* OF is defined for a count of 1 only, AF of shifts never, and 8 and 16-bit SHL and SHR by more
 * than their width leave CF undefined. */
#define SHIFT(NAME, BITS, T, AF_MASK, WIDTH_LIMIT)                                                 \
    static void test_##NAME##BITS(void **state)                                                    \
    {                                                                                              \
        (void)state;                                                                               \
        for (unsigned i = 0; i < 20000; i++) {                                                     \
            T a = (T)operand();                                                                    \
            uint8_t n = (uint8_t)operand();                                                        \
            unsigned mask = AF_MASK;                                                               \
            mask &= (n & 31) > 1 ? NO_OF : ALL;                                                    \
            mask &= (n & 31) > (WIDTH_LIMIT) ? ~(unsigned)ARITH_CF : ALL;                          \
            SAME(alu_##NAME##BITS(a, n, &f), portable_##NAME##BITS(a, n, &g), mask, #NAME #BITS,   \
                 a, n);                                                                            \
        }                                                                                          \
    }

#define WIDTH(BITS, T)                                                                             \
    BINARY(add, BITS, T, ALL)                                                                      \
    BINARY(adc, BITS, T, ALL)                                                                      \
    BINARY(sub, BITS, T, ALL)                                                                      \
    BINARY(sbb, BITS, T, ALL)                                                                      \
    BINARY(and, BITS, T, NO_AF)                                                                    \
    BINARY(or, BITS, T, NO_AF)                                                                     \
    BINARY(xor, BITS, T, NO_AF)                                                                    \
    BINARY(mul, BITS, T, ARITH_CF | ARITH_OF)                                                      \
    BINARY(imul, BITS, T, ARITH_CF | ARITH_OF)                                                     \
    UNARY(neg, BITS, T)                                                                            \
    UNARY(inc, BITS, T)                                                                            \
    UNARY(dec, BITS, T)                                                                            \
    SHIFT(rol, BITS, T, ALL, 31)                                                                   \
    SHIFT(ror, BITS, T, ALL, 31)                                                                   \
    SHIFT(rcl, BITS, T, ALL, 31)                                                                   \
    SHIFT(rcr, BITS, T, ALL, 31)                                                                   \
    SHIFT(shl, BITS, T, (n & 31) ? NO_AF : ALL, BITS)                                              \
    SHIFT(shr, BITS, T, (n & 31) ? NO_AF : ALL, BITS)                                              \
    SHIFT(sar, BITS, T, (n & 31) ? NO_AF : ALL, 31)
WIDTH(8, uint8_t)
WIDTH(16, uint16_t)
WIDTH(32, uint32_t)

#define WIDE(BITS, T)                                                                              \
    static void test_double##BITS(void **state)                                                    \
    {                                                                                              \
        (void)state;                                                                               \
        for (unsigned i = 0; i < 20000; i++) {                                                     \
            T a = (T)operand(), b = (T)operand();                                                  \
            uint8_t n = (uint8_t)(operand() % (BITS + 1));                                         \
            unsigned mask = n & 31 ? NO_AF : ALL;                                                  \
            mask &= (n & 31) > 1 ? NO_OF : ALL;                                                    \
            SAME(alu_shld##BITS(a, b, n, &f), portable_shld##BITS(a, b, n, &g), mask, "shld", a,   \
                 n);                                                                               \
            SAME(alu_shrd##BITS(a, b, n, &f), portable_shrd##BITS(a, b, n, &g), mask, "shrd", a,   \
                 n);                                                                               \
        }                                                                                          \
    }                                                                                              \
    static void test_scan##BITS(void **state)                                                      \
    {                                                                                              \
        (void)state;                                                                               \
        for (unsigned i = 0; i < 20000; i++) {                                                     \
            T a = (T)operand(), b = (T)operand();                                                  \
            SAME(alu_bsf##BITS(a, b, &f), portable_bsf##BITS(a, b, &g), ARITH_ZF, "bsf", a, b);    \
            SAME(alu_bsr##BITS(a, b, &f), portable_bsr##BITS(a, b, &g), ARITH_ZF, "bsr", a, b);    \
        }                                                                                          \
    }                                                                                              \
    static void test_product##BITS(void **state)                                                   \
    {                                                                                              \
        (void)state;                                                                               \
        for (unsigned i = 0; i < 20000; i++) {                                                     \
            T a = (T)operand(), b = (T)operand();                                                  \
            SAME(alu_product##BITS(a, b, &f), portable_product##BITS(a, b, &g),                    \
                 ARITH_CF | ARITH_OF, "imul", a, b);                                               \
        }                                                                                          \
    }
WIDE(16, uint16_t)
WIDE(32, uint32_t)

#define DIVIDE(BITS, T, W, S, SW)                                                                  \
    static void test_divide##BITS(void **state)                                                    \
    {                                                                                              \
        (void)state;                                                                               \
        for (unsigned i = 0; i < 20000; i++) {                                                     \
            T b = (T)operand(), r = 0, s = 0;                                                      \
            W a = (W)((W)(T)operand() << (BITS - 1) | (T)operand());                               \
            if (b != 0 && a / b <= (T)-1) {                                                        \
                SAME(alu_div##BITS(a, b, &r, &f), portable_div##BITS(a, b, &s, &g), 0, "div", a,   \
                     b);                                                                           \
                assert_int_equal(r, s);                                                            \
            }                                                                                      \
            a = (W)(SW)(S)operand();                                                               \
            if (b != 0 && b != (T)-1) {                                                            \
                SAME(alu_idiv##BITS(a, b, &r, &f), portable_idiv##BITS(a, b, &s, &g), 0, "idiv",   \
                     a, b);                                                                        \
                assert_int_equal(r, s);                                                            \
            }                                                                                      \
        }                                                                                          \
    }
DIVIDE(8, uint8_t, uint16_t, int8_t, int16_t)
DIVIDE(16, uint16_t, uint32_t, int16_t, int32_t)
DIVIDE(32, uint32_t, uint64_t, int32_t, int64_t)

#define TESTS(BITS)                                                                                \
    cmocka_unit_test(test_add##BITS), cmocka_unit_test(test_adc##BITS),                            \
        cmocka_unit_test(test_sub##BITS), cmocka_unit_test(test_sbb##BITS),                        \
        cmocka_unit_test(test_and##BITS), cmocka_unit_test(test_or##BITS),                         \
        cmocka_unit_test(test_xor##BITS), cmocka_unit_test(test_mul##BITS),                        \
        cmocka_unit_test(test_imul##BITS), cmocka_unit_test(test_neg##BITS),                       \
        cmocka_unit_test(test_inc##BITS), cmocka_unit_test(test_dec##BITS),                        \
        cmocka_unit_test(test_rol##BITS), cmocka_unit_test(test_ror##BITS),                        \
        cmocka_unit_test(test_rcl##BITS), cmocka_unit_test(test_rcr##BITS),                        \
        cmocka_unit_test(test_shl##BITS), cmocka_unit_test(test_shr##BITS),                        \
        cmocka_unit_test(test_sar##BITS), cmocka_unit_test(test_divide##BITS)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTS(8),
        TESTS(16),
        TESTS(32),
        cmocka_unit_test(test_double16),
        cmocka_unit_test(test_double32),
        cmocka_unit_test(test_scan16),
        cmocka_unit_test(test_scan32),
        cmocka_unit_test(test_product16),
        cmocka_unit_test(test_product32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
