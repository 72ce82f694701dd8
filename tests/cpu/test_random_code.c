/* Random bytes as code in random states: whatever the guest does, the engine stays whole.
 *
 * Meant for the sanitizer builds above all; SEED and CASES in the environment repeat or extend a
 * run. What must hold: no crash, no hang, no more instructions than asked for, the constants of Cpu
 * untouched.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/x86/insn.h"
#include "cpu-accel/x86/mem.h"
#include "tests/cpu/guest.h"

static uint64_t state_random;

static uint32_t random32(void)
{
    state_random ^= state_random << 13;
    state_random ^= state_random >> 7;
    state_random ^= state_random << 17;
    return (uint32_t)(state_random >> 20);
}

static uint32_t address(void)
{
    static const uint32_t edges[] = {0,          0xffff,     0xfffe,     0x10000,  GUEST_CODE,
                                     GUEST_DATA, 0xffffffff, 0xfffffffc, 0x3ffffe, 0x100fff};
    uint32_t r = random32();
    return r % 3 == 0 ? edges[r / 3 % 10] : r % 3 == 1 ? random32() % GUEST_RAM : random32();
}

static void random_segments(Cpu *cpu)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (random32() % 4 == 0) {
            cpu->seg[i].limit = address();
        }
        if (random32() % 4 == 0) {
            cpu->seg[i].base = address();
        }
        if (random32() % 8 == 0 && i != CS) {
            cpu->seg[i].access = 0x81 | (random32() & 0x1e) | (random32() & 0xd000);
        }
    }
}

/* Page tables of random entries at 1 MiB, the code's page mapped. */
static void random_paging(Guest *g)
{
    for (unsigned i = 0; i < 1024; i++) {
        guest_write32(g, 0x100000 + 4 * i,
                      (random32() % GUEST_RAM & ~0xfffu) | (random32() & 0x1e7));
        guest_write32(g, 0x101000 + 4 * i,
                      (random32() % GUEST_RAM & ~0xfffu) | (random32() & 0x1e7));
    }
    for (unsigned i = 0; i < 64; i++) {
        guest_write32(g, 0x101000 + 4 * i, i << 12 | 7);
    }
    guest_write32(g, 0x100000, 0x101007);
    g->cpu->cr3 = 0x100000;
    g->cpu->cr4 = random32() & CR4_PSE;
    g->cpu->cr0 |= CR0_PG | (random32() & CR0_WP);
    mem_flush(g->cpu, true);
}

static void random_state(Guest *g)
{
    Cpu *cpu = g->cpu;
    bool flat = random32() & 1;

    if (flat) {
        guest_flat(g);
    } else {
        guest_real(g);
    }
    cpu->cr4 = cpu->cr3 = cpu->dr7 = 0;
    if (flat && random32() % 3 == 0) {
        random_paging(g);
    }
    for (unsigned i = 0; i < 8; i++) {
        cpu->reg[i] = address();
    }
    if (random32() & 1) {
        cpu->reg[ESP] = GUEST_STACK;
    }
    uint32_t keep = flat && random32() % 4 == 0 ? FL_VM : 0;
    cpu_set_eflags(cpu, random32() & (FL_ARITH | FL_DF | FL_IF | FL_IOPL | FL_NT | FL_AC | keep));
    if (random32() % 8 == 0) {
        cpu->eflags |= FL_TF;
    }
    if (cpu->eflags & FL_VM) {
        cpu->cpl = 3;
    } else if (flat && random32() % 4 == 0) {
        cpu->cpl = 3;
    }
    random_segments(cpu);
    cpu->eip = GUEST_CODE - cpu->seg[CS].base;
    mem_flush(cpu, true);
}

static void random_code(Guest *g)
{
    static const uint8_t likely[] = {0x0f, 0x66, 0x67, 0xf3, 0x8b, 0x89, 0xff, 0xa4,
                                     0xab, 0x8e, 0xcf, 0xcd, 0xd9, 0xdf, 0xc8, 0x60};
    uint8_t code[256];

    for (unsigned i = 0; i < sizeof(code); i++) {
        uint32_t r = random32();
        code[i] = r & 3 ? (uint8_t)(r >> 8) : likely[r >> 8 & 15];
    }
    guest_put(g, GUEST_CODE, code, sizeof(code));
    guest_put(g, GUEST_CODE + 0x1000 - 128, code, sizeof(code));
}

static void test_random_code(void **state)
{
    (void)state;
    const char *seed = getenv("SEED"), *cases = getenv("CASES");
    unsigned count = cases ? (unsigned)strtoul(cases, NULL, 0) : 4000;

    state_random = 0x9e3779b97f4a7c15u ^ (seed ? strtoull(seed, NULL, 0) : 1);
    for (unsigned model = 0; model < CPU_MODEL_COUNT; model++) {
        Guest *g = guest_new((CpuModel)model, &accel_interpreter);
        for (unsigned i = 0; i < count / CPU_MODEL_COUNT; i++) {
            random_state(g);
            random_code(g);
            uint64_t before = g->cpu->executed;
            guest_run(g, 100);
            assert_true(g->cpu->executed - before <= 100);
            assert_int_equal(g->cpu->reg[NO_REG], 0);
            assert_true(g->cpu->cpl <= 3);
            assert_int_equal(g->cpu->eflags & FL_ARITH, 0);
        }
        guest_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_code)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
