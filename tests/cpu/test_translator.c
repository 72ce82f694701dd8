/* The translator against the interpreter: the same small programs, run to HLT, must leave the same
 * registers, memory and FPU behind. */
#include <string.h>

#include "cpu-accel/x86/fpu.h"
#include "tests/cpu/guest.h"

enum { RUN_NS = 100000000 };

typedef void Prepare(Guest *g);

static void run_to_halt(Guest *g)
{
    for (unsigned i = 0; i < 20; i++) {
        atomic_store(&g->cpu->attention, false);
        if (g->accel.ops->run(&g->accel, clock_now(&g->board->clock) + RUN_NS) == RUN_HALTED) {
            return;
        }
    }
    fail_msg("%s: no HLT, at %08x", g->accel.ops->name, g->cpu->eip);
}

static void same_fpu(const Fpu *a, const Fpu *b)
{
    assert_int_equal(a->control, b->control);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->valid, b->valid);
    assert_int_equal(a->opcode, b->opcode);
    assert_int_equal(a->ip, b->ip);
    assert_int_equal(a->ip_selector, b->ip_selector);
    assert_int_equal(a->data, b->data);
    assert_int_equal(a->data_selector, b->data_selector);
    assert_int_equal(a->mxcsr, b->mxcsr);
    for (unsigned i = 0; i < 8; i++) {
        if (a->valid >> i & 1) {
            assert_int_equal(a->st[i].mantissa, b->st[i].mantissa);
            assert_int_equal(a->st[i].sign_exponent, b->st[i].sign_exponent);
        }
        assert_memory_equal(&a->xmm[i], &b->xmm[i], sizeof(a->xmm[i]));
    }
}

static void same_state(const Guest *a, const Guest *b)
{
    for (unsigned i = 0; i < 8; i++) {
        if (a->cpu->reg[i] != b->cpu->reg[i]) {
            fail_msg("register %u: %08x and %08x", i, a->cpu->reg[i], b->cpu->reg[i]);
        }
    }
    assert_int_equal(a->cpu->eip, b->cpu->eip);
    assert_int_equal(cpu_eflags(a->cpu), cpu_eflags(b->cpu));
    assert_int_equal(a->cpu->cr2, b->cpu->cr2);
    assert_int_equal(a->cpu->cpl, b->cpu->cpl);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        assert_int_equal(a->cpu->seg[i].selector, b->cpu->seg[i].selector);
        assert_int_equal(a->cpu->seg[i].base, b->cpu->seg[i].base);
    }
    same_fpu(&a->cpu->fpu, &b->cpu->fpu);
    for (uint32_t i = 0; i < GUEST_RAM; i++) {
        if (a->ram[i] != b->ram[i]) {
            fail_msg("memory at %08x: %02x and %02x", i, a->ram[i], b->ram[i]);
        }
    }
}

/* All vectors end in HLT, so that a fault leaves its frame to be compared. */
static void halting_handlers(Guest *g)
{
    for (unsigned i = 0; i < 256; i++) {
        guest_put(g, GUEST_HANDLERS + 2 * i, "\xf4\xf4", 2);
    }
}

static void both(const void *code, size_t size, Prepare *prepare)
{
    const AccelOps *const ops[2] = {&accel_interpreter, &accel_translator};
    Guest *g[2];
    for (unsigned i = 0; i < 2; i++) {
        g[i] = guest_new(CPU_PENTIUM4, ops[i]);
        guest_flat(g[i]);
        halting_handlers(g[i]);
        g[i]->cpu->cr4 |= CR4_OSFXSR;
        g[i]->cpu->cr0 |= CR0_NE;
        for (uint32_t at = 0; at < 0x1000; at += 4) {
            guest_write32(g[i], GUEST_DATA + at, at * 0x9e3779b1u);
        }
        guest_code(g[i], code, size);
        if (prepare) {
            prepare(g[i]);
        }
        run_to_halt(g[i]);
    }
    same_state(g[0], g[1]);
    guest_free(g[0]);
    guest_free(g[1]);
}

#define BOTH(bytes) both(bytes, sizeof(bytes) - 1, NULL)
#define BOTH_WITH(bytes, prepare) both(bytes, sizeof(bytes) - 1, prepare)

static void test_x87_leaves_the_same_state(void **state)
{
    (void)state;
    BOTH("\xdb\xe3\xd9\xe8\xd9\xeb\xd8\xc1\xf4"); /* fninit fld1 fldpi fadd st1 hlt */
    BOTH("\xdb\xe3\xb9\x10\x00\x00\x00"           /* mov ecx, 16 */
         "\xdf\x2c\xcd\x00\x00\x02\x00"           /* fild qword [ecx*8 + data] */
         "\xd9\xeb\xde\xf9"                       /* fldpi; fdivp */
         "\xdd\x1c\xcd\x00\x08\x02\x00"           /* fstp qword [ecx*8 + data + 800h] */
         "\xe2\xec\xf4");                         /* loop; hlt */
    /* fnstcw [mem]; or word [mem], 0c00h; fldcw [mem]; fld1; fldpi; fistp [mem + 4]; fnstenv */
    BOTH("\xdb\xe3\xd9\x3d\x00\x01\x02\x00\x66\x81\x0d\x00\x01\x02\x00\x00\x0c"
         "\xd9\x2d\x00\x01\x02\x00\xd9\xe8\xd9\xeb\xdb\x1d\x04\x01\x02\x00"
         "\xd9\x35\x00\x02\x02\x00\xf4");
    BOTH("\xdb\xe3\xd9\xee\xd9\xe8\xd8\xf1\xdf\xe0\x9b\xf4"); /* 1 / 0, fnstsw ax, fwait */
    BOTH("\xdb\xe3\xd9\xe8\xdd\xd8\xdd\xd8\xdf\xe0\xf4");     /* pop of an empty stack */
}

static void test_unmasked_exceptions_are_the_handlers(void **state)
{
    (void)state;
    /* fninit; mov word [data], 37bh; fldcw [data]; fldz; fld1; fdiv st0, st1; fwait */
    BOTH("\xdb\xe3\x66\xc7\x05\x00\x00\x02\x00\x7b\x03\xd9\x2d\x00\x00\x02\x00"
         "\xd9\xee\xd9\xe8\xd8\xf1\x90\x9b\xf4");
}

static void test_mmx_and_sse(void **state)
{
    (void)state;
    BOTH("\x0f\x6f\x05\x00\x00\x02\x00\x0f\xfc\x05\x08\x00\x02\x00" /* movq mm0; paddb mm0 */
         "\x0f\x7f\x05\x00\x01\x02\x00\x0f\x77\xf4");               /* movq [mem], mm0; emms */
    BOTH("\x0f\x28\x05\x00\x00\x02\x00\x0f\x58\x05\x10\x00\x02\x00" /* movaps xmm0; addps xmm0 */
         "\x0f\x11\x05\x04\x01\x02\x00\xf3\x0f\x2d\xc8"             /* movups; cvtss2si ecx */
         "\x0f\xae\x1d\x20\x01\x02\x00\xf4");                       /* stmxcsr */
    BOTH("\x0f\x28\x05\x04\x00\x02\x00\xf4");                       /* movaps, not aligned: #GP */
}

static void test_fpu_across_calls_of_handlers(void **state)
{
    (void)state;
    /* fninit; fldpi; cpuid; fld1; pushf; fmulp; movups xmm1, [data]; rdtsc-free pusha; addps */
    BOTH("\xdb\xe3\xd9\xeb\x31\xc0\x0f\xa2\xd9\xe8\x9c\xde\xc9\x0f\x10\x0d\x00\x00\x02\x00"
         "\x60\x0f\x58\xc9\xd9\xe5\x61\xf4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_x87_leaves_the_same_state),
        cmocka_unit_test(test_unmasked_exceptions_are_the_handlers),
        cmocka_unit_test(test_mmx_and_sse),
        cmocka_unit_test(test_fpu_across_calls_of_handlers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
