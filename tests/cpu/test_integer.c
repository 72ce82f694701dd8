/* Integer handlers where random register cases do not reach: BCD's undefined flags (as AMD and
 * Intel silicon leave them), faults, the stack, bit strings, compare and exchange. */
#include <string.h>

#include "tests/cpu/guest.h"

static Guest *flat(void)
{
    Guest *g = guest_new(CPU_PENTIUM3, &accel_interpreter);
    guest_flat(g);
    return g;
}

static void test_bcd(void **state)
{
    (void)state;
    static const struct {
        const char *code;
        uint32_t eax, flags, after, flags_after;
    } cases[] = {
        {"\xd5\x2c", 0x7d9d, 0x093, 0x0019, 0x011}, /* aad 0x2c */
        {"\xd5\x0a", 0x4b47, 0x856, 0x0035, 0x015}, /* aad */
        {"\x37", 0x5d74, 0x0d7, 0x5e0a, 0x011},     /* aaa */
        {"\x37", 0xf02c, 0x087, 0xf102, 0x091},     {"\x37", 0x8000, 0x017, 0x8106, 0x095},
        {"\x3f", 0x2030, 0x887, 0x2000, 0x004},                                         /* aas */
        {"\x27", 0x7f, 0x882, 0x85, 0x890},                                             /* daa */
        {"\x27", 0x5a, 0x057, 0xc0, 0x895},         {"\x2f", 0x89, 0x083, 0x29, 0x801}, /* das */
        {"\x2f", 0xc7, 0x802, 0x67, 0x801},
    };
    Guest *g = flat();
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        guest_code(g, cases[i].code, 2);
        g->cpu->eip = GUEST_CODE;
        g->cpu->reg[EAX] = cases[i].eax;
        cpu_set_eflags(g->cpu, cases[i].flags);
        guest_run(g, 1);
        assert_int_equal(g->cpu->reg[EAX], cases[i].after);
        assert_int_equal(cpu_eflags(g->cpu) & FL_ARITH, cases[i].flags_after & FL_ARITH);
    }
    guest_free(g);
}

/* Each of these faults with its registers as they were. */
static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *code;
        unsigned vector;
        uint32_t eax, edx, ecx;
    } cases[] = {
        {"\xf7\xf1", VEC_DE, 1, 5, 5},                   /* div ecx: quotient 2^32 and more */
        {"\xf7\xf1", VEC_DE, 1, 0, 0},                   /* div by zero */
        {"\xf7\xf9", VEC_DE, 0, 0x80000000, 0xffffffff}, /* idiv: INT64_MIN / -1 */
        {"\xf7\xf9", VEC_DE, 0x80000000, 0xffffffff, 0xffffffff},
        {"\xf6\xf1", VEC_DE, 0x0500, 0, 5},    /* div cl */
        {"\xf6\xf9", VEC_DE, 0x4000, 0, 0x7f}, /* idiv cl */
        {"\xd4\x00", VEC_DE, 7, 0, 0},         /* aam 0 */
        {"\x0f\x0b", VEC_UD, 0, 0, 0},
    };
    Guest *g = flat();
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        guest_flat(g);
        guest_code(g, cases[i].code, 2);
        g->cpu->reg[EAX] = cases[i].eax;
        g->cpu->reg[EDX] = cases[i].edx;
        g->cpu->reg[ECX] = cases[i].ecx;
        guest_run(g, 2);
        assert_int_equal(guest_vector(g), cases[i].vector);
        assert_int_equal(guest_read32(g, GUEST_STACK - 12), GUEST_CODE);
        assert_int_equal(g->cpu->reg[EAX], cases[i].eax);
        assert_int_equal(g->cpu->reg[EDX], cases[i].edx);
    }
    guest_free(g);
}

static void test_bound(void **state)
{
    (void)state;
    Guest *g = flat();
    for (int32_t index = -3; index < 4; index++) {
        guest_flat(g);
        CODE(g, "\x62\x05\x00\x00\x02\x00\xeb\xfe"); /* bound eax, [0x20000] */
        guest_write32(g, GUEST_DATA, (uint32_t)-2);
        guest_write32(g, GUEST_DATA + 4, 2);
        g->cpu->reg[EAX] = (uint32_t)index;
        guest_run(g, 2);
        assert_int_equal(guest_vector(g), index < -2 || index > 2 ? VEC_BR : -1);
    }
    guest_free(g);
}

static void test_stack(void **state)
{
    (void)state;
    Guest *g = flat();
    /* push esp; pop eax; push 0x11; push 0x22; pop dword [esp + 4]; pop ebx; jmp $ */
    CODE(g, "\x54\x58\x6a\x11\x6a\x22\x8f\x44\x24\x04\x5b\xeb\xfe");
    guest_run(g, 7);
    assert_int_equal(g->cpu->reg[EAX], GUEST_STACK);
    assert_int_equal(g->cpu->reg[EBX], 0x11);
    assert_int_equal(guest_read32(g, GUEST_STACK), 0x22);
    /* pusha; popa leaves ESP to itself */
    CODE(g, "\x60\x61\xeb\xfe");
    g->cpu->eip = GUEST_CODE;
    g->cpu->reg[ESP] = GUEST_STACK;
    for (unsigned i = 0; i < 8; i++) {
        if (i != ESP) {
            g->cpu->reg[i] = 0x1000 + i;
        }
    }
    guest_run(g, 1);
    assert_int_equal(g->cpu->reg[ESP], GUEST_STACK - 32);
    assert_int_equal(guest_read32(g, GUEST_STACK - 20), GUEST_STACK);
    guest_run(g, 1);
    assert_int_equal(g->cpu->reg[ESP], GUEST_STACK);
    assert_int_equal(g->cpu->reg[EDI], 0x1000 + EDI);
    guest_free(g);
}

static void test_enter_and_leave(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\xc8\x10\x00\x03\xc9\xeb\xfe"); /* enter 16, 3; leave */
    g->cpu->reg[EBP] = GUEST_DATA;
    guest_write32(g, GUEST_DATA - 4, 0xaaaa);
    guest_write32(g, GUEST_DATA - 8, 0xbbbb);
    guest_run(g, 1);
    assert_int_equal(g->cpu->reg[EBP], GUEST_STACK - 4);
    assert_int_equal(g->cpu->reg[ESP], GUEST_STACK - 4 - 12 - 16);
    assert_int_equal(guest_read32(g, GUEST_STACK - 4), GUEST_DATA);
    assert_int_equal(guest_read32(g, GUEST_STACK - 8), 0xaaaa);
    assert_int_equal(guest_read32(g, GUEST_STACK - 12), 0xbbbb);
    assert_int_equal(guest_read32(g, GUEST_STACK - 16), GUEST_STACK - 4);
    guest_run(g, 1);
    assert_int_equal(g->cpu->reg[EBP], GUEST_DATA);
    assert_int_equal(g->cpu->reg[ESP], GUEST_STACK);
    guest_free(g);
}

/* A 16-bit stack wraps within 64 KiB and keeps the upper half of ESP. */
static void test_small_stack(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\x6a\x77\x58\xeb\xfe"); /* push 0x77; pop eax */
    g->cpu->seg[SS] = (SegReg){0x20, 0x0093, GUEST_DATA, 0xffff};
    g->cpu->reg[ESP] = 0x12340000;
    guest_run(g, 1);
    assert_int_equal(g->cpu->reg[ESP], 0x1234fffc);
    assert_int_equal(guest_read32(g, GUEST_DATA + 0xfffc), 0x77);
    guest_run(g, 1);
    assert_int_equal(g->cpu->reg[ESP], 0x12340000);
    guest_free(g);
}

static void test_bit_strings(void **state)
{
    (void)state;
    static const int32_t numbers[] = {0, 31, 32, 100, -1, -32, -33, -1000, 5000};
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        Guest *g = flat();
        CODE(g, "\x0f\xab\x05\x00\x00\x02\x00\xeb\xfe"); /* bts [0x20000], eax */
        g->cpu->reg[EAX] = (uint32_t)numbers[i];
        guest_run(g, 1);
        int32_t byte = numbers[i] >> 3;
        assert_int_equal(g->ram[GUEST_DATA + byte], 1 << (numbers[i] & 7));
        assert_false(g->cpu->arith & ARITH_CF);
        g->cpu->eip = GUEST_CODE;
        guest_run(g, 1);
        assert_true(g->cpu->arith & ARITH_CF);
        guest_free(g);
    }
}

static void test_compare_exchange(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\x0f\xc7\x0d\x00\x00\x02\x00\xeb\xfe"); /* cmpxchg8b [0x20000] */
    guest_write32(g, GUEST_DATA, 1);
    guest_write32(g, GUEST_DATA + 4, 2);
    g->cpu->reg[EBX] = 3;
    g->cpu->reg[ECX] = 4;
    guest_run(g, 1);
    assert_int_equal(g->cpu->reg[EAX], 1);
    assert_int_equal(g->cpu->reg[EDX], 2);
    assert_false(g->cpu->arith & ARITH_ZF);
    g->cpu->eip = GUEST_CODE;
    guest_run(g, 1);
    assert_true(g->cpu->arith & ARITH_ZF);
    assert_int_equal(guest_read32(g, GUEST_DATA), 3);
    assert_int_equal(guest_read32(g, GUEST_DATA + 4), 4);
    guest_free(g);
}

/* LOOP counts CX with 16-bit addresses; a target beyond the limit leaves the count alone. */
static void test_loop(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\x40\x67\xe2\xfc\xeb\xfe"); /* inc eax; loop (cx) */
    g->cpu->reg[ECX] = 0x00010003;
    guest_run(g, 7);
    assert_int_equal(g->cpu->reg[EAX], 3);
    assert_int_equal(g->cpu->reg[ECX], 0x00010000);
    guest_flat(g);
    CODE(g, "\xe2\x7e");
    g->cpu->seg[CS].limit = GUEST_CODE + 0x10;
    g->cpu->reg[ECX] = 5;
    g->cpu->eip = GUEST_CODE;
    guest_run(g, 1);
    assert_int_equal(guest_read32(g, GUEST_STACK - 16), 0);
    assert_int_equal(guest_read32(g, GUEST_STACK - 12), GUEST_CODE);
    assert_int_equal(g->cpu->reg[ECX], 5);
    guest_free(g);
}

/* A write that faults after its operand was read and computed changes nothing, flags included. */
static void test_read_only_operand(void **state)
{
    (void)state;
    static const char codes[][8] = {
        "\x01\x05\x00\x00\x02\x00",     /* add [0x20000], eax */
        "\xff\x05\x00\x00\x02\x00",     /* inc dword [0x20000] */
        "\xd1\x25\x00\x00\x02\x00",     /* shl dword [0x20000], 1 */
        "\x87\x05\x00\x00\x02\x00",     /* xchg [0x20000], eax */
        "\x0f\xc1\x05\x00\x00\x02\x00", /* xadd */
        "\x0f\xb1\x0d\x00\x00\x02\x00", /* cmpxchg */
        "\x0f\xc7\x0d\x00\x00\x02\x00", /* cmpxchg8b */
        "\x8f\x05\x00\x00\x02\x00",     /* pop dword [0x20000] */
    };
    for (unsigned i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        Guest *g = flat();
        guest_code(g, codes[i], 8);
        guest_write32(g, GUEST_DATA, 0xffffffff);
        g->cpu->seg[DS].access = 0xc091; /* not writable */
        g->cpu->reg[EAX] = 0x80000000;
        guest_run(g, 1);
        assert_int_equal(guest_vector(g), VEC_GP);
        assert_int_equal(g->cpu->reg[EAX], 0x80000000);
        assert_int_equal(g->cpu->reg[ESP], GUEST_STACK - 16);
        assert_int_equal(guest_read32(g, GUEST_STACK - 4), FL_RF | FL_ONE);
        assert_int_equal(guest_read32(g, GUEST_DATA), 0xffffffff);
        guest_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bcd),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_enter_and_leave),
        cmocka_unit_test(test_small_stack),
        cmocka_unit_test(test_bit_strings),
        cmocka_unit_test(test_compare_exchange),
        cmocka_unit_test(test_loop),
        cmocka_unit_test(test_read_only_operand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
