/* Segmentation: loads with all their checks, limits, real and unreal mode, far transfers through
 * code segments and call gates, returns to outer levels. */
#include "tests/cpu/sys_rig.h"

static void open_protected(Sys *s, bool user)
{
    sys_open(s, CPU_PENTIUM3);
    sys_protected(s);
    if (user) {
        sys_user(s);
    }
}

static void data_loads_are_checked(void **state)
{
    (void)state;
    enum { SEL = SYS_FREE };
    /* RPL, access, user? -> vector (0: loads) */
    static const struct {
        unsigned rpl, access;
        bool user;
        unsigned vector;
    } cases[] = {
        {0, D_DATA, false, 0},
        {3, D_DATA, false, VEC_GP}, /* RPL above DPL */
        {0, D_DATA, true, VEC_GP},  /* CPL above DPL */
        {3, D_DATA | D_DPL3, true, 0},
        {0, 0x99, false, VEC_GP}, /* execute-only code */
        {0, D_CODE, false, 0},    /* readable code */
        {3, 0x9f, true, 0},       /* conforming, readable: any level */
        {0, 0x82, false, VEC_GP}, /* LDT */
        {0, 0x13, false, VEC_NP}, /* not present */
        {3, 0x1f, true, VEC_NP},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Sys s;
        open_protected(&s, cases[i].user);
        sys_desc(&s, SEL, 0, 0xffff, cases[i].access);
        SegReg before = s.cpu->seg[ES];
        Outcome outcome = seg_load(s.cpu, ES, (uint16_t)(SEL | cases[i].rpl));
        if (cases[i].vector) {
            assert_faults(&s, outcome, cases[i].vector, SEL);
            assert_int_equal(s.cpu->seg[ES].selector, before.selector);
            assert_int_equal(s.cpu->seg[ES].access, before.access);
        } else {
            assert_int_equal(outcome, X_NEXT);
            assert_int_equal(s.cpu->seg[ES].selector, SEL | cases[i].rpl);
        }
        sys_close(&s);
    }
}

static void stack_loads_are_checked(void **state)
{
    (void)state;
    enum { SEL = SYS_FREE };
    static const struct {
        unsigned rpl, access, vector;
    } cases[] = {
        {0, D_DATA, 0},
        {1, D_DATA, VEC_GP},        /* RPL is not CPL */
        {0, D_DATA | 0x20, VEC_GP}, /* DPL is not CPL */
        {0, 0x91, VEC_GP},          /* read-only */
        {0, D_CODE, VEC_GP},
        {0, 0x13, VEC_SS}, /* not present */
        {0, 0x97, 0},      /* expand-down */
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Sys s;
        open_protected(&s, false);
        sys_desc(&s, SEL, 0, 0xffff, cases[i].access);
        Outcome outcome = seg_load(s.cpu, SS, (uint16_t)(SEL | cases[i].rpl));
        if (cases[i].vector) {
            assert_faults(&s, outcome, cases[i].vector, SEL);
        } else {
            assert_int_equal(outcome, X_NEXT);
        }
        sys_close(&s);
    }
}

static void null_selectors(void **state)
{
    (void)state;
    Sys s;
    uint8_t value;
    open_protected(&s, false);
    assert_faults(&s, seg_load(s.cpu, SS, 0), VEC_GP, 0);
    assert_int_equal(seg_load(s.cpu, ES, 3), X_NEXT);
    assert_int_equal(s.cpu->seg[ES].selector, 3);
    assert_refused(&s, mem_read8(s.cpu, ES, 0, &value), VEC_GP, 0);
    assert_refused(&s, mem_write8(s.cpu, ES, 0, 0), VEC_GP, 0);
    assert_faults(&s, far_jump(s.cpu, 0, 0, 4, 0), VEC_GP, 0);
    sys_close(&s);
}

static void table_limits_and_ldt(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(4);
    open_protected(&s, false);
    s.cpu->gdtr.limit = SYS_FREE + 6; /* the last byte of the descriptor is missing */
    sys_desc(&s, SYS_FREE, 0, 0xffff, D_DATA);
    assert_faults(&s, seg_load(s.cpu, ES, SYS_FREE), VEC_GP, SYS_FREE);
    s.cpu->gdtr.limit++;
    assert_int_equal(seg_load(s.cpu, ES, SYS_FREE), X_NEXT);
    s.cpu->reg[EAX] = 0;
    assert_int_equal(ex_lldt(s.cpu, &in), X_NEXT);
    assert_faults(&s, seg_load(s.cpu, ES, 0x0c), VEC_GP, 0x0c);
    sys_desc(&s, SYS_FREE, SYS_LDT, 0x0f, 0x82);
    sys_desc(&s, 0x0c, SYS_DATA, 0xfff, D_DATA);
    s.cpu->reg[EAX] = SYS_FREE;
    assert_int_equal(ex_lldt(s.cpu, &in), X_NEXT);
    assert_int_equal(seg_load(s.cpu, ES, 0x0c), X_NEXT);
    assert_int_equal(s.cpu->seg[ES].base, SYS_DATA);
    assert_faults(&s, seg_load(s.cpu, ES, 0x14), VEC_GP, 0x14);
    sys_close(&s);
}

static void accessed_bit_is_set_in_the_table(void **state)
{
    (void)state;
    Sys s;
    open_protected(&s, false);
    sys_desc(&s, SYS_FREE, 0, 0xffff, 0x92);
    assert_int_equal(seg_load(s.cpu, ES, SYS_FREE), X_NEXT);
    assert_int_equal(s.ram[SYS_GDT + SYS_FREE + 5], 0x93);
    assert_int_equal(s.cpu->seg[ES].access & SEG_ACCESSED, SEG_ACCESSED);
    sys_close(&s);
}

static void limits_of_all_kinds(void **state)
{
    (void)state;
    Sys s;
    uint32_t value;
    uint8_t byte;
    open_protected(&s, false);
    sys_desc(&s, SYS_FREE, SYS_DATA, 0x102, D_DATA);
    sys_desc(&s, SYS_FREE + 8, SYS_DATA, 0xfff, 0x97);                /* expand-down, 64 KiB */
    sys_desc(&s, SYS_FREE + 16, SYS_DATA, 0, 0x97 | D_BIG | D_PAGES); /* expand-down, 4 GiB */
    sys_desc(&s, SYS_FREE + 24, 0, 0x10, 0x99);                       /* execute-only */
    assert_int_equal(seg_load(s.cpu, ES, SYS_FREE), X_NEXT);
    assert_true(mem_read32(s.cpu, ES, 0xff, &value));
    assert_refused(&s, mem_read32(s.cpu, ES, 0x100, &value), VEC_GP, 0);
    assert_refused(&s, mem_read32(s.cpu, ES, 0xfffffffe, &value), VEC_GP, 0);
    assert_int_equal(seg_load(s.cpu, ES, SYS_FREE + 8), X_NEXT);
    assert_refused(&s, mem_read8(s.cpu, ES, 0xfff, &byte), VEC_GP, 0);
    assert_true(mem_read8(s.cpu, ES, 0x1000, &byte));
    assert_true(mem_write32(s.cpu, ES, 0xfffc, 1));
    assert_refused(&s, mem_write32(s.cpu, ES, 0xfffd, 1), VEC_GP, 0);
    assert_int_equal(seg_load(s.cpu, ES, SYS_FREE + 16), X_NEXT);
    assert_refused(&s, mem_read8(s.cpu, ES, 0xfff, &byte), VEC_GP, 0);
    assert_true(mem_read8(s.cpu, ES, 0x12345, &byte));
    assert_int_equal(seg_load(s.cpu, SS, SYS_FREE + 16), X_NEXT);
    assert_refused(&s, mem_read8(s.cpu, SS, 0xfff, &byte), VEC_SS, 0);
    assert_refused(&s, mem_write8(s.cpu, CS, 0, 0), VEC_GP, 0);
    s.cpu->seg[DS].access &= ~(uint32_t)SEG_WRITABLE;
    assert_true(mem_read8(s.cpu, DS, 0, &byte));
    assert_refused(&s, mem_write8(s.cpu, DS, 0, 0), VEC_GP, 0);
    sys_close(&s);
}

static void real_mode_wraps_at_nothing_and_unreal_mode_stays(void **state)
{
    (void)state;
    Sys s;
    uint16_t value = 0;
    uint8_t byte = 0;
    sys_open(&s, CPU_486);
    seg_load_real(s.cpu, DS, 0x1000);
    assert_refused(&s, mem_read16(s.cpu, DS, 0xffff, &value), VEC_GP, 0);
    assert_refused(&s, mem_write16(s.cpu, SS, 0xffff, 0), VEC_SS, 0);
    sys_protected(&s);
    assert_int_equal(seg_load(s.cpu, FS, SYS_DATA0_16), X_NEXT);
    cr_write(s.cpu, 0, s.cpu->cr0 & ~CR0_PE);
    assert_int_equal(far_jump(s.cpu, SYS_CODE >> 4, 0, 2, 0), X_STOP);
    assert_int_equal(s.cpu->seg[CS].base, SYS_CODE);
    assert_int_equal(seg_load(s.cpu, DS, 0), X_NEXT);
    s.ram[0x200000] = 0x77;
    assert_true(mem_read8(s.cpu, DS, 0x200000, &byte));
    assert_int_equal(byte, 0x77);
    assert_int_equal(seg_load(s.cpu, FS, 0), X_NEXT);
    assert_refused(&s, mem_read8(s.cpu, FS, 0x10000, &byte), VEC_GP, 0);
    assert_true(mem_write8(s.cpu, CS, 0, 1)); /* code may be written to in real mode */
    sys_close(&s);
}

static void direct_far_transfers(void **state)
{
    (void)state;
    Sys s;
    open_protected(&s, false);
    sys_desc(&s, SYS_FREE, SYS_CODE, 0xff, 0x9a | D_BIG);
    sys_desc(&s, SYS_FREE + 8, SYS_CODE, 0xff, 0x9e | D_BIG); /* conforming */
    assert_int_equal(far_call(s.cpu, SYS_FREE, 0x10, 4, 0x1234), X_STOP);
    assert_int_equal(s.cpu->eip, 0x10);
    assert_int_equal(s.cpu->seg[CS].base, SYS_CODE);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK0 - 8);
    assert_int_equal(sys_stack(&s, 0), 0x1234);
    assert_int_equal(sys_stack(&s, 1), SYS_CODE0);
    assert_faults(&s, far_jump(s.cpu, SYS_FREE, 0x100, 4, 0), VEC_GP, 0); /* beyond the limit */
    assert_int_equal(far_return(s.cpu, 4, 4), X_STOP);
    assert_int_equal(s.cpu->eip, 0x1234);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK0 + 4);
    s.cpu->reg[ESP] = SYS_STACK0;
    sys_user(&s);
    assert_faults(&s, far_jump(s.cpu, SYS_FREE, 0, 4, 0), VEC_GP, SYS_FREE); /* DPL 0 from 3 */
    assert_int_equal(far_jump(s.cpu, SYS_FREE + 8, 0x20, 4, 0), X_STOP);
    assert_int_equal(s.cpu->seg[CS].selector, (SYS_FREE + 8) | 3);
    assert_int_equal(s.cpu->cpl, 3);
    assert_faults(&s, far_jump(s.cpu, SYS_DATA3, 0, 4, 0), VEC_GP, SYS_DATA3 & ~3);
    sys_desc(&s, SYS_FREE + 16, 0, 0xff, 0x7a);
    assert_faults(&s, far_jump(s.cpu, (SYS_FREE + 16) | 3, 0, 4, 0), VEC_NP, SYS_FREE + 16);
    sys_close(&s);
}

static void faulting_call_leaves_the_stack_pointer(void **state)
{
    (void)state;
    Sys s;
    open_protected(&s, false);
    sys_desc(&s, SYS_FREE, SYS_DATA, 0x1f, D_DATA); /* 16-bit stack of 32 bytes */
    assert_int_equal(seg_load(s.cpu, SS, SYS_FREE), X_NEXT);
    s.cpu->reg[ESP] = 0xabcd0004;
    assert_faults(&s, far_call(s.cpu, SYS_CODE0, 0x10, 4, 0x1234), VEC_SS, 0);
    assert_int_equal(s.cpu->reg[ESP], 0xabcd0004);
    assert_int_equal(s.cpu->seg[CS].selector, SYS_CODE0);
    s.cpu->reg[ESP] = 0xabcd0010;
    assert_int_equal(far_call(s.cpu, SYS_CODE0, 0x10, 4, 0x1234), X_STOP);
    assert_int_equal(s.cpu->reg[ESP], 0xabcd0008); /* only SP counts */
    sys_close(&s);
}

static void call_gate_copies_parameters_to_the_inner_stack(void **state)
{
    (void)state;
    enum { GATE = SYS_FREE };
    Sys s;
    open_protected(&s, true);
    sys_call_gate(&s, GATE, DESC_CALL32, SYS_CODE0, 0x4321, 3, 2);
    s.cpu->reg[ESP] = SYS_STACK3 - 8;
    sys_set_dword(&s, SYS_STACK3 - 8, 0x11111111);
    sys_set_dword(&s, SYS_STACK3 - 4, 0x22222222);
    assert_int_equal(far_call(s.cpu, GATE | 3, 0xdead, 4, 0x5678), X_STOP);
    assert_int_equal(s.cpu->cpl, 0);
    assert_int_equal(s.cpu->eip, 0x4321);
    assert_int_equal(s.cpu->seg[CS].selector, SYS_CODE0);
    assert_int_equal(s.cpu->seg[SS].selector, SYS_DATA0);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK0 - 24);
    const uint32_t frame[] = {0x5678, SYS_CODE3, 0x11111111, 0x22222222, SYS_STACK3 - 8, SYS_DATA3};
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(sys_stack(&s, i), frame[i]);
    }
    /* and back, releasing the parameters on both stacks */
    assert_int_equal(seg_load(s.cpu, ES, SYS_DATA0), X_NEXT);
    assert_int_equal(far_return(s.cpu, 4, 8), X_STOP);
    assert_int_equal(s.cpu->cpl, 3);
    assert_int_equal(s.cpu->eip, 0x5678);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK3);
    assert_int_equal(s.cpu->seg[ES].access & SEG_UNUSABLE, SEG_UNUSABLE); /* level 0 data is gone */
    assert_int_equal(s.cpu->seg[DS].access & SEG_UNUSABLE, 0);
    sys_close(&s);
}

static void call_gate_of_16_bits(void **state)
{
    (void)state;
    enum { GATE = SYS_FREE };
    Sys s;
    open_protected(&s, true);
    sys_call_gate(&s, GATE, DESC_CALL16, SYS_CODE0, 0x4321, 3, 1);
    s.cpu->reg[ESP] = SYS_STACK3 - 2;
    sys_set_word(&s, SYS_STACK3 - 2, 0x7777);
    assert_int_equal(far_call(s.cpu, GATE | 3, 0, 4, 0x5678), X_STOP);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK0 - 10);
    const uint16_t frame[] = {0x5678, SYS_CODE3, 0x7777, SYS_STACK3 - 2, SYS_DATA3};
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(sys_word(&s, SYS_STACK0 - 10 + 2 * i), frame[i]);
    }
    sys_close(&s);
}

static void call_gate_faults(void **state)
{
    (void)state;
    enum { GATE = SYS_FREE };
    Sys s;
    open_protected(&s, true);
    sys_call_gate(&s, GATE, DESC_CALL32, SYS_CODE0, 0x4321, 0, 0);
    assert_faults(&s, far_call(s.cpu, GATE | 3, 0, 4, 0), VEC_GP, GATE); /* gate's DPL */
    sys_call_gate(&s, GATE, DESC_CALL32, SYS_CODE0, 0x4321, 3, 0);
    assert_faults(&s, far_jump(s.cpu, GATE | 3, 0, 4, 0), VEC_GP, SYS_CODE0); /* JMP stays */
    s.ram[SYS_GDT + GATE + 5] &= 0x7f;
    assert_faults(&s, far_call(s.cpu, GATE | 3, 0, 4, 0), VEC_NP, GATE);
    s.ram[SYS_GDT + GATE + 5] |= 0x80;
    sys_set_word(&s, SYS_TSS + 8, SYS_DATA3); /* stack of the wrong level */
    assert_faults(&s, far_call(s.cpu, GATE | 3, 0, 4, 0), VEC_TS, SYS_DATA3 & ~3);
    sys_set_word(&s, SYS_TSS + 8, 0);
    assert_faults(&s, far_call(s.cpu, GATE | 3, 0, 4, 0), VEC_TS, 0);
    sys_desc(&s, SYS_FREE + 8, 0, 0xffff, 0x13);
    sys_set_word(&s, SYS_TSS + 8, SYS_FREE + 8);
    assert_faults(&s, far_call(s.cpu, GATE | 3, 0, 4, 0), VEC_SS, SYS_FREE + 8);
    sys_desc(&s, SYS_FREE + 8, 0, 0xff, D_DATA); /* too small for the frame */
    assert_faults(&s, far_call(s.cpu, GATE | 3, 0, 4, 0), VEC_SS, SYS_FREE + 8);
    s.cpu->seg[TR].limit = 8;
    assert_faults(&s, far_call(s.cpu, GATE | 3, 0, 4, 0), VEC_TS, SYS_TR);
    assert_int_equal(s.cpu->cpl, 3);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK3);
    sys_close(&s);
}

static void returns_are_checked(void **state)
{
    (void)state;
    Sys s;
    open_protected(&s, true);
    s.cpu->reg[ESP] = SYS_STACK3 - 16;
    sys_set_dword(&s, SYS_STACK3 - 16, 0x100);
    sys_set_dword(&s, SYS_STACK3 - 12, SYS_CODE0); /* inwards */
    assert_faults(&s, far_return(s.cpu, 4, 0), VEC_GP, SYS_CODE0);
    sys_set_dword(&s, SYS_STACK3 - 12, 0);
    assert_faults(&s, far_return(s.cpu, 4, 0), VEC_GP, 0);
    sys_set_dword(&s, SYS_STACK3 - 12, SYS_DATA3);
    assert_faults(&s, far_return(s.cpu, 4, 0), VEC_GP, SYS_DATA3 & ~3);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK3 - 16);
    sys_close(&s);
}

static void outer_16_bit_stack_takes_only_sp(void **state)
{
    (void)state;
    Sys s;
    open_protected(&s, false);
    sys_desc(&s, SYS_FREE, SYS_DATA, 0xffff, D_DATA | D_DPL3);
    s.cpu->reg[ESP] = SYS_STACK0 - 16;
    sys_set_dword(&s, SYS_STACK0 - 16, 0x100);
    sys_set_dword(&s, SYS_STACK0 - 12, SYS_CODE3);
    sys_set_dword(&s, SYS_STACK0 - 8, 0xdddd1000);
    sys_set_dword(&s, SYS_STACK0 - 4, SYS_FREE | 3);
    assert_int_equal(far_return(s.cpu, 4, 0), X_STOP);
    assert_int_equal(s.cpu->reg[ESP], ((SYS_STACK0 - 16) & 0xffff0000u) | 0x1000);
    sys_close(&s);
}

static void access_rights_are_reported(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(4);
    in.reg = ECX;
    open_protected(&s, true);
    sys_desc(&s, SYS_FREE, 0, 0x12345, D_DATA | D_DPL3 | D_PAGES | D_BIG);
    s.cpu->reg[EAX] = SYS_FREE | 3;
    assert_int_equal(ex_lar(s.cpu, &in), X_NEXT);
    assert_true(s.cpu->arith & ARITH_ZF);
    assert_int_equal(s.cpu->reg[ECX], 0xc1f300);
    assert_int_equal(ex_lsl(s.cpu, &in), X_NEXT);
    assert_int_equal(s.cpu->reg[ECX], 0x12345fff);
    assert_int_equal(ex_verw(s.cpu, &in), X_NEXT);
    assert_true(s.cpu->arith & ARITH_ZF);
    s.cpu->reg[EAX] = SYS_DATA0;
    s.cpu->reg[ECX] = 99;
    assert_int_equal(ex_lar(s.cpu, &in), X_NEXT);
    assert_false(s.cpu->arith & ARITH_ZF);
    assert_int_equal(s.cpu->reg[ECX], 99);
    assert_int_equal(ex_verr(s.cpu, &in), X_NEXT);
    assert_false(s.cpu->arith & ARITH_ZF);
    s.cpu->reg[EAX] = SYS_CODE3;
    assert_int_equal(ex_verr(s.cpu, &in), X_NEXT);
    assert_true(s.cpu->arith & ARITH_ZF);
    assert_int_equal(ex_verw(s.cpu, &in), X_NEXT);
    assert_false(s.cpu->arith & ARITH_ZF);
    s.cpu->reg[EAX] = 0x3f8; /* the last one in the table: empty */
    assert_int_equal(ex_lsl(s.cpu, &in), X_NEXT);
    assert_false(s.cpu->arith & ARITH_ZF);
    s.cpu->reg[EAX] = 0x400; /* beyond the table: no fault */
    assert_int_equal(ex_lsl(s.cpu, &in), X_NEXT);
    assert_false(s.cpu->arith & ARITH_ZF);
    in.reg = EDX;
    s.cpu->reg[EAX] = 0x20;
    s.cpu->reg[EDX] = 3;
    assert_int_equal(ex_arpl(s.cpu, &in), X_NEXT);
    assert_int_equal(s.cpu->reg[EAX], 0x23);
    assert_true(s.cpu->arith & ARITH_ZF);
    assert_int_equal(ex_arpl(s.cpu, &in), X_NEXT);
    assert_false(s.cpu->arith & ARITH_ZF);
    sys_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_loads_are_checked),
        cmocka_unit_test(stack_loads_are_checked),
        cmocka_unit_test(null_selectors),
        cmocka_unit_test(table_limits_and_ldt),
        cmocka_unit_test(accessed_bit_is_set_in_the_table),
        cmocka_unit_test(limits_of_all_kinds),
        cmocka_unit_test(real_mode_wraps_at_nothing_and_unreal_mode_stays),
        cmocka_unit_test(direct_far_transfers),
        cmocka_unit_test(faulting_call_leaves_the_stack_pointer),
        cmocka_unit_test(call_gate_copies_parameters_to_the_inner_stack),
        cmocka_unit_test(call_gate_of_16_bits),
        cmocka_unit_test(call_gate_faults),
        cmocka_unit_test(returns_are_checked),
        cmocka_unit_test(outer_16_bit_stack_takes_only_sp),
        cmocka_unit_test(access_rights_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
