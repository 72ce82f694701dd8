/* x87, MMX and SSE in running code: fault addresses, IRQ13's way, what the last instruction was.
 */
#include <string.h>

#include "cpu-accel/x86/fpu.h"
#include "tests/cpu/guest.h"

enum { IRQ13 = 0x75 };

static void ferr_raises_irq13(void *sink, unsigned pin, bool level)
{
    Guest *g = sink;
    (void)pin;
    g->vector = IRQ13;
    cpu_intr(g->cpu, 0, level);
}

static Guest *guest_with_irq13(void)
{
    Guest *g = guest_new(CPU_PENTIUM3, &accel_interpreter);
    ((CpuPins *)(uintptr_t)g->cpu->pins)->ferr = (Line){ferr_raises_irq13, g, 0};
    guest_flat(g);
    return g;
}

/* fninit; fldcw [GUEST_DATA]; fldz; fld1; fdiv st0, st1; nop; fwait; then round and round */
#define DIVIDE "\xdb\xe3\xd9\x2d\x00\x00\x02\x00\xd9\xee\xd9\xe8\xd8\xf1\x90\x9b\x90\xeb\xfe"
enum { AFTER_DIVIDE = 14, AT_FWAIT = 15 };

static uint32_t pushed_eip(const Guest *g)
{
    return guest_read32(g, g->cpu->reg[ESP]);
}

static void divide_with(Guest *g, uint16_t control, uint32_t cr0_ne, uint32_t eflags_if)
{
    CODE(g, DIVIDE);
    guest_write32(g, GUEST_DATA, control);
    g->cpu->cr0 = (g->cpu->cr0 & ~(uint32_t)CR0_NE) | cr0_ne;
    g->cpu->eflags = (g->cpu->eflags & ~(uint32_t)FL_IF) | eflags_if;
}

static void test_mf_at_the_next_waiting_instruction(void **state)
{
    (void)state;
    Guest *g = guest_with_irq13();
    divide_with(g, 0x37b, CR0_NE, 0);
    guest_run(g, 20);
    assert_int_equal(guest_vector(g), VEC_MF);
    assert_int_equal(pushed_eip(g), GUEST_CODE + AT_FWAIT);
    assert_int_equal(g->cpu->fpu.ip, GUEST_CODE + 12);
    assert_int_equal(g->cpu->fpu.opcode, 0x0f1);
    guest_free(g);
}

static void test_irq13_comes_at_once(void **state)
{
    (void)state;
    Guest *g = guest_with_irq13();
    divide_with(g, 0x37b, 0, FL_IF);
    guest_run(g, 20);
    assert_int_equal(guest_vector(g), IRQ13);
    assert_int_equal(pushed_eip(g), GUEST_CODE + AFTER_DIVIDE);
    guest_free(g);
}

static void test_waits_for_the_interrupt(void **state)
{
    (void)state;
    Guest *g = guest_with_irq13();
    divide_with(g, 0x37b, 0, 0); /* interrupts off: it freezes at FWAIT */
    guest_run(g, 200);
    assert_int_equal(g->cpu->eip, GUEST_CODE + AT_FWAIT);
    assert_int_equal(guest_vector(g), -1);
    g->cpu->eflags |= FL_IF;
    guest_run(g, 5);
    assert_int_equal(guest_vector(g), IRQ13);
    assert_int_equal(pushed_eip(g), GUEST_CODE + AT_FWAIT);
    guest_free(g);
}

static void test_masked_goes_on(void **state)
{
    (void)state;
    Guest *g = guest_with_irq13();
    divide_with(g, 0x37f, CR0_NE, 0);
    guest_run(g, 50);
    assert_int_equal(guest_vector(g), -1);
    assert_int_equal(g->cpu->eip, GUEST_CODE + AT_FWAIT + 2);
    assert_int_equal(g->cpu->fpu.status & FSW_FLAGS, FSW_ZE);
    guest_free(g);
}

static void test_pointers_include_prefixes(void **state)
{
    (void)state;
    Guest *g = guest_with_irq13();
    /* fninit; mov ebx, GUEST_DATA; es fld qword [ebx+8] */
    CODE(g, "\xdb\xe3\xbb\x00\x00\x02\x00\x26\xdd\x43\x08\xeb\xfe");
    guest_run(g, 3);
    const Fpu *f = &g->cpu->fpu;
    assert_int_equal(f->ip, GUEST_CODE + 7);
    assert_int_equal(f->opcode, 0x543);
    assert_int_equal(f->data, GUEST_DATA + 8);
    assert_int_equal(f->data_selector, g->cpu->seg[ES].selector);
    assert_int_equal(f->ip_selector, g->cpu->seg[CS].selector);
    guest_free(g);
}

static void test_newton_finds_the_root(void **state)
{
    (void)state;
    Guest *g = guest_with_irq13();
    /* fninit; fld1; mov ecx, 8;
     * again: fld qword [2.0]; fdiv st0, st1; faddp; fmul qword [0.5]; loop again; fstp qword */
    static const double two = 2, half = 0.5;
    guest_put(g, GUEST_DATA, &two, 8);
    guest_put(g, GUEST_DATA + 8, &half, 8);
    CODE(g, "\xdb\xe3\xd9\xe8\xb9\x08\x00\x00\x00"
            "\xdd\x05\x00\x00\x02\x00\xd8\xf1\xde\xc1\xdc\x0d\x08\x00\x02\x00\xe2\xee"
            "\xdd\x1d\x10\x00\x02\x00\xeb\xfe");
    guest_run(g, 100);
    double root;
    memcpy(&root, g->ram + GUEST_DATA + 16, 8);
    assert_true(root == 0x1.6a09e667f3bcdp+0);
    assert_int_equal(g->cpu->fpu.valid, 0);
    guest_free(g);
}

static void test_xm_is_a_fault(void **state)
{
    (void)state;
    Guest *g = guest_with_irq13();
    g->cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
    g->cpu->fpu.mxcsr = 0x1f00; /* invalid unmasked */
    /* xorps xmm0, xmm0; divps xmm0, xmm0 */
    CODE(g, "\x0f\x57\xc0\x0f\x5e\xc0\xeb\xfe");
    guest_run(g, 10);
    assert_int_equal(guest_vector(g), VEC_XM);
    assert_int_equal(pushed_eip(g), GUEST_CODE + 3);
    guest_free(g);
}

static void test_earlier_models_lack_rows(void **state)
{
    (void)state;
    static const struct {
        const char *code;
        CpuModel first;
    } cases[] = {
        {"\x0f\x77\xeb\xfe", CPU_PENTIUM_MMX},      /* emms */
        {"\xda\xc1\xeb\xfe", CPU_PENTIUM2},         /* fcmovb */
        {"\xdb\xf1\xeb\xfe", CPU_PENTIUM2},         /* fcomi */
        {"\x0f\x57\xc0\xeb\xfe", CPU_PENTIUM3},     /* xorps */
        {"\x66\x0f\xef\xc0\xeb\xfe", CPU_PENTIUM4}, /* pxor xmm */
        {"\x0f\xd4\xc0\xeb\xfe", CPU_PENTIUM4},     /* paddq mm */
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (CpuModel model = CPU_386; model < CPU_MODEL_COUNT; model++) {
            Guest *g = guest_new(model, &accel_interpreter);
            guest_flat(g);
            if (model >= CPU_PENTIUM3) {
                g->cpu->cr4 |= CR4_OSFXSR;
            }
            guest_code(g, cases[i].code, strlen(cases[i].code));
            guest_run(g, 5);
            assert_int_equal(guest_vector(g), model >= cases[i].first ? -1 : VEC_UD);
            guest_free(g);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mf_at_the_next_waiting_instruction),
        cmocka_unit_test(test_irq13_comes_at_once),
        cmocka_unit_test(test_waits_for_the_interrupt),
        cmocka_unit_test(test_masked_goes_on),
        cmocka_unit_test(test_pointers_include_prefixes),
        cmocka_unit_test(test_newton_finds_the_root),
        cmocka_unit_test(test_xm_is_a_fault),
        cmocka_unit_test(test_earlier_models_lack_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
