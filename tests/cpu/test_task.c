/* Hardware task switches of all kinds, 16 and 32 bits; faults in and around them; the I/O
 * permission map. */
#include "tests/cpu/sys_rig.h"

enum { NEW = SYS_FREE, NEW16 = SYS_FREE + 8, GATE = SYS_FREE + 16, BUSY = 2, OLD_EIP = 0x1234 };

/* A 32-bit task at level 0 with its own stack. */
static void make_task(Sys *s, uint16_t selector, uint32_t at)
{
    sys_tss(s, selector, at, DESC_TSS32, 0x67);
    sys_set_dword(s, at + 0x1c, SYS_DIRECTORY);
    sys_set_dword(s, at + 0x20, 0x22222);
    sys_set_dword(s, at + 0x24, FL_ONE | FL_CF);
    for (unsigned i = 0; i < 8; i++) {
        sys_set_dword(s, at + 0x28 + 4 * i, 0x100 + i);
    }
    sys_set_dword(s, at + 0x38, 0x7000); /* ESP */
    for (unsigned i = 0; i < 6; i++) {
        sys_set_word(s, at + 0x48 + 4 * i, i == CS ? SYS_CODE0 : SYS_DATA0);
    }
}

static void make_task16(Sys *s, uint16_t selector, uint32_t at)
{
    memset(s->ram + at, 0, 0x2c);
    sys_desc(s, selector, at, 0x2b, SEG_PRESENT | DESC_TSS16);
    sys_set_word(s, at + 0x0e, 0x2222);
    sys_set_word(s, at + 0x10, FL_ONE | FL_ZF);
    for (unsigned i = 0; i < 8; i++) {
        sys_set_word(s, at + 0x12 + 2 * i, (uint16_t)(0x100 + i));
    }
    sys_set_word(s, at + 0x1a, 0x7000);
    for (unsigned i = 0; i < 4; i++) {
        sys_set_word(s, at + 0x22 + 2 * i, i == CS ? SYS_CODE0 : SYS_DATA0);
    }
}

static void open_tasks(Sys *s)
{
    sys_open(s, CPU_PENTIUM3);
    sys_protected(s);
    make_task(s, NEW, SYS_TSS2);
    make_task16(s, NEW16, SYS_TSS2 + 0x200);
    s->cpu->reg[EBX] = 0xbbbb;
    cpu_set_eflags(s->cpu, FL_ONE | FL_SF);
}

static bool busy(Sys *s, uint16_t selector)
{
    return s->ram[SYS_GDT + selector + 5] & BUSY;
}

static void jump_saves_loads_and_frees(void **state)
{
    (void)state;
    Sys s;
    open_tasks(&s);
    assert_true(busy(&s, SYS_TR));
    assert_int_equal(far_jump(s.cpu, NEW, 0, 4, OLD_EIP), X_STOP);
    assert_int_equal(sys_dword(&s, SYS_TSS + 0x20), OLD_EIP);
    assert_int_equal(sys_dword(&s, SYS_TSS + 0x24), FL_ONE | FL_SF);
    assert_int_equal(sys_dword(&s, SYS_TSS + 0x34), 0xbbbb);
    assert_int_equal(sys_dword(&s, SYS_TSS + 0x38), SYS_STACK0);
    assert_int_equal(sys_word(&s, SYS_TSS + 0x4c), SYS_CODE0);
    assert_false(busy(&s, SYS_TR));
    assert_true(busy(&s, NEW));
    assert_int_equal(s.cpu->eip, 0x22222);
    assert_int_equal(s.cpu->reg[EBX], 0x103);
    assert_int_equal(s.cpu->reg[ESP], 0x7000);
    assert_int_equal(cpu_eflags(s.cpu), FL_ONE | FL_CF);
    assert_int_equal(s.cpu->seg[TR].selector, NEW);
    assert_int_equal(s.cpu->cr0 & CR0_TS, CR0_TS);
    assert_int_equal(s.cpu->cr3, 0); /* paging is off: CR3 stays */
    assert_int_equal(sys_word(&s, SYS_TSS2), 0);
    assert_faults(&s, far_jump(s.cpu, NEW, 0, 4, 0), VEC_GP, NEW); /* busy */
    sys_close(&s);
}

static void call_nests_and_iret_returns(void **state)
{
    (void)state;
    Sys s;
    open_tasks(&s);
    assert_int_equal(far_call(s.cpu, NEW, 0, 4, OLD_EIP), X_STOP);
    assert_true(busy(&s, SYS_TR) && busy(&s, NEW));
    assert_int_equal(sys_word(&s, SYS_TSS2), SYS_TR);
    assert_int_equal(cpu_eflags(s.cpu), FL_ONE | FL_CF | FL_NT);
    s.cpu->reg[ECX] = 0xcccc;
    assert_int_equal(far_iret(s.cpu, 4, 0x33333), X_STOP);
    assert_int_equal(s.cpu->eip, OLD_EIP);
    assert_int_equal(s.cpu->reg[EBX], 0xbbbb);
    assert_int_equal(s.cpu->seg[TR].selector, SYS_TR);
    assert_true(busy(&s, SYS_TR));
    assert_false(busy(&s, NEW));
    assert_int_equal(sys_dword(&s, SYS_TSS2 + 0x20), 0x33333);
    assert_int_equal(sys_dword(&s, SYS_TSS2 + 0x24) & FL_NT, 0);
    assert_int_equal(sys_dword(&s, SYS_TSS2 + 0x2c), 0xcccc);
    /* IRET to a task that is not busy */
    s.cpu->eflags |= FL_NT;
    sys_set_word(&s, SYS_TSS, NEW);
    assert_faults(&s, far_iret(s.cpu, 4, 0), VEC_TS, NEW);
    sys_close(&s);
}

static void task_gate_in_the_idt_with_error_code(void **state)
{
    (void)state;
    Sys s;
    open_tasks(&s);
    sys_idt_gate(&s, VEC_DF, DESC_TASK_GATE, NEW, 0, 0);
    s.cpu->eip = 0x4444;
    assert_int_equal(int_deliver(s.cpu, VEC_DF, INT_FAULT, true, 0xabc, s.cpu->eip), X_STOP);
    assert_int_equal(s.cpu->reg[ESP], 0x7000 - 4);
    assert_int_equal(sys_stack(&s, 0), 0xabc);
    assert_int_equal(sys_word(&s, SYS_TSS2), SYS_TR);
    assert_int_equal(s.cpu->eflags & FL_NT, FL_NT);
    assert_int_equal(sys_dword(&s, SYS_TSS + 0x20), 0x4444);
    sys_idt_gate(&s, 0x40, DESC_TASK_GATE, NEW, 0, 0);
    assert_faults(&s, int_deliver(s.cpu, 0x40, INT_HARDWARE, false, 0, 0), VEC_GP, NEW + 1);
    sys_close(&s);
}

static void task_gate_called(void **state)
{
    (void)state;
    Sys s;
    open_tasks(&s);
    sys_call_gate(&s, GATE, DESC_TASK_GATE, NEW, 0, 0, 0);
    assert_int_equal(far_call(s.cpu, GATE, 0, 4, OLD_EIP), X_STOP);
    assert_int_equal(s.cpu->seg[TR].selector, NEW);
    sys_close(&s);
}

static void tasks_of_16_bits(void **state)
{
    (void)state;
    Sys s;
    open_tasks(&s);
    assert_int_equal(far_call(s.cpu, NEW16, 0, 4, OLD_EIP), X_STOP);
    assert_int_equal(s.cpu->eip, 0x2222);
    assert_int_equal(s.cpu->reg[EBX] & 0xffff, 0x103);
    assert_int_equal(cpu_eflags(s.cpu), FL_ONE | FL_ZF | FL_NT);
    assert_int_equal(s.cpu->seg[FS].access & SEG_UNUSABLE, SEG_UNUSABLE);
    s.cpu->reg[EDI] = 0xdddd7777;
    assert_int_equal(far_iret(s.cpu, 2, 0x3333), X_STOP);
    assert_int_equal(s.cpu->eip, OLD_EIP);
    assert_int_equal(sys_word(&s, SYS_TSS2 + 0x200 + 0x0e), 0x3333);
    assert_int_equal(sys_word(&s, SYS_TSS2 + 0x200 + 0x20), 0x7777);
    assert_int_equal(sys_word(&s, SYS_TSS2 + 0x200 + 0x22), SYS_DATA0);
    sys_close(&s);
}

static void refused_before_anything_changes(void **state)
{
    (void)state;
    Sys s;
    open_tasks(&s);
    Cpu before = *s.cpu;
    sys_desc(&s, NEW, SYS_TSS2, 0x66, SEG_PRESENT | DESC_TSS32);
    assert_faults(&s, far_jump(s.cpu, NEW, 0, 4, 0), VEC_TS, NEW);
    sys_desc(&s, NEW, SYS_TSS2, 0x67, DESC_TSS32);
    assert_faults(&s, far_jump(s.cpu, NEW, 0, 4, 0), VEC_NP, NEW);
    assert_memory_equal(before.reg, s.cpu->reg, sizeof(before.reg));
    assert_int_equal(s.cpu->seg[TR].selector, before.seg[TR].selector);
    assert_int_equal(s.cpu->seg[CS].selector, before.seg[CS].selector);
    /* a page of the new TSS is missing */
    sys_paging(&s);
    make_task(&s, NEW, 0x300fc0);
    sys_set_pte(&s, 0x301000, 0);
    assert_refused(&s, far_jump(s.cpu, NEW, 0, 4, 0) != X_FAULT, VEC_PF, 0);
    assert_int_equal(s.cpu->fault.cr2, 0x301000);
    assert_true(busy(&s, SYS_TR));
    assert_false(busy(&s, NEW));
    assert_int_equal(sys_dword(&s, SYS_TSS + 0x20), 0);
    sys_close(&s);
}

static void faults_of_the_new_task(void **state)
{
    (void)state;
    /* offset in the TSS, selector -> vector; all come with the new task's EIP */
    static const struct {
        unsigned at, selector, vector;
    } cases[] = {
        {0x60, 0x54, VEC_TS},            /* LDT in the LDT */
        {0x4c, SYS_DATA0, VEC_TS},       /* CS is data */
        {0x50, SYS_CODE0, VEC_TS},       /* SS is code */
        {0x50, SYS_DATA3, VEC_TS},       /* SS of another level */
        {0x54, SYS_FREE + 0x40, VEC_NP}, /* DS not present */
        {0x50, SYS_FREE + 0x40, VEC_SS}, /* SS not present */
        {0x5c, 0x3f8, VEC_TS},           /* GS: an empty descriptor */
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Sys s;
        open_tasks(&s);
        sys_desc(&s, SYS_FREE + 0x40, 0, 0xffff, 0x13);
        sys_set_word(&s, SYS_TSS2 + cases[i].at, (uint16_t)cases[i].selector);
        assert_faults(&s, far_jump(s.cpu, NEW, 0, 4, OLD_EIP), cases[i].vector,
                      cases[i].selector & ~3u);
        assert_int_equal(s.cpu->eip, 0x22222);
        assert_int_equal(s.cpu->seg[TR].selector, NEW);
        assert_true(busy(&s, NEW));
        sys_close(&s);
    }
}

static void a_v86_task_and_the_trap_bit(void **state)
{
    (void)state;
    Sys s;
    open_tasks(&s);
    sys_set_dword(&s, SYS_TSS2 + 0x24, FL_ONE | FL_VM | FL_IOPL);
    sys_set_word(&s, SYS_TSS2 + 0x64, 1);
    for (unsigned i = 0; i < 6; i++) {
        sys_set_word(&s, SYS_TSS2 + 0x48 + 4 * i, (uint16_t)(0x1000 + i));
    }
    s.cpu->dr7 = 0x403;
    assert_int_equal(far_jump(s.cpu, NEW, 0, 4, 0), X_STOP);
    assert_true(cpu_v86(s.cpu));
    assert_int_equal(s.cpu->cpl, 3);
    assert_int_equal(s.cpu->seg[GS].base, 0x10050);
    assert_int_equal(s.cpu->pending_dr6, DR6_BT);
    assert_int_equal(s.cpu->dr7, 0x402); /* the local enable is gone */
    sys_close(&s);
}

static void a_switch_loads_cr3(void **state)
{
    (void)state;
    enum { OTHER = 0x14000 };
    Sys s;
    open_tasks(&s);
    sys_paging(&s);
    memcpy(s.ram + OTHER, s.ram + SYS_DIRECTORY, 4096);
    sys_set_dword(&s, SYS_TSS2 + 0x1c, OTHER);
    assert_int_equal(far_jump(s.cpu, NEW, 0, 4, 0), X_STOP);
    assert_int_equal(s.cpu->cr3, OTHER);
    sys_close(&s);
}

static void io_permission_map(void **state)
{
    (void)state;
    Sys s;
    sys_open(&s, CPU_PENTIUM3);
    assert_int_equal(io_check(s.cpu, 0x3f8, 1), X_NEXT);
    sys_protected(&s);
    assert_int_equal(io_check(s.cpu, 0x3f8, 1), X_NEXT);
    sys_user(&s);
    assert_faults(&s, io_check(s.cpu, 0x3f8, 1), VEC_GP, 0); /* no map within the limit */
    s.cpu->seg[TR].limit = 0x68 + 0x80;
    memset(s.ram + SYS_TSS + 0x68, 0xff, 0x81);
    s.ram[SYS_TSS + 0x68 + 0x3f8 / 8] = 0xfc; /* 3F8h, 3F9h */
    assert_int_equal(io_check(s.cpu, 0x3f8, 1), X_NEXT);
    assert_int_equal(io_check(s.cpu, 0x3f8, 2), X_NEXT);
    assert_faults(&s, io_check(s.cpu, 0x3f8, 4), VEC_GP, 0);
    assert_faults(&s, io_check(s.cpu, 0x3f9, 2), VEC_GP, 0);
    s.ram[SYS_TSS + 0x68 + 0x3f8 / 8] = 0x7f;
    s.ram[SYS_TSS + 0x68 + 0x400 / 8] = 0xfe;
    assert_int_equal(io_check(s.cpu, 0x3ff, 2), X_NEXT);     /* across a byte of the map */
    assert_faults(&s, io_check(s.cpu, 0x408, 1), VEC_GP, 0); /* its second byte is outside */
    cpu_set_eflags(s.cpu, FL_ONE | FL_IOPL);
    assert_int_equal(io_check(s.cpu, 0x408, 1), X_NEXT);
    sys_close(&s);
    sys_open(&s, CPU_PENTIUM3);
    sys_protected(&s);
    sys_v86(&s, 3);
    assert_faults(&s, io_check(s.cpu, 0x60, 1), VEC_GP, 0); /* the map counts whatever IOPL */
    sys_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jump_saves_loads_and_frees),
        cmocka_unit_test(call_nests_and_iret_returns),
        cmocka_unit_test(task_gate_in_the_idt_with_error_code),
        cmocka_unit_test(task_gate_called),
        cmocka_unit_test(tasks_of_16_bits),
        cmocka_unit_test(refused_before_anything_changes),
        cmocka_unit_test(faults_of_the_new_task),
        cmocka_unit_test(a_v86_task_and_the_trap_bit),
        cmocka_unit_test(a_switch_loads_cr3),
        cmocka_unit_test(io_permission_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
