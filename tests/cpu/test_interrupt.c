/* Interrupts and exceptions: IVT and IDT, frames, error codes, virtual-8086 mode with VME, double
 * and triple faults, priorities, shadows, NMI blocking, debug traps, flags instructions. */
#include "tests/cpu/sys_rig.h"

enum { HANDLER_AT = 0x21000, EXT = 1, IDT = 2 };

static void open_protected(Sys *s, bool user)
{
    sys_open(s, CPU_PENTIUM3);
    sys_protected(s);
    if (user) {
        sys_user(s);
    }
}

static void real_mode_pushes_three_words(void **state)
{
    (void)state;
    Sys s;
    sys_open(&s, CPU_PENTIUM3);
    sys_set_word(&s, 0x21 * 4, 0x1234);
    sys_set_word(&s, 0x21 * 4 + 2, 0x3000);
    cpu_set_eflags(s.cpu, FL_ONE | FL_IF | FL_TF | FL_CF);
    s.cpu->eip = 0x50;
    assert_int_equal(int_software(s.cpu, 0x21, 0x52), X_STOP);
    assert_int_equal(s.cpu->eip, 0x1234);
    assert_int_equal(s.cpu->seg[CS].base, 0x30000);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK0 - 6);
    assert_int_equal(sys_word(&s, SYS_STACK0 - 6), 0x52);
    assert_int_equal(sys_word(&s, SYS_STACK0 - 4), SYS_CODE >> 4);
    assert_int_equal(sys_word(&s, SYS_STACK0 - 2), FL_ONE | FL_IF | FL_TF | FL_CF);
    assert_int_equal(cpu_eflags(s.cpu), FL_ONE | FL_CF);
    assert_int_equal(far_iret(s.cpu, 2, 0), X_STOP);
    assert_int_equal(s.cpu->eip, 0x52);
    assert_int_equal(cpu_eflags(s.cpu), FL_ONE | FL_IF | FL_TF | FL_CF);
    sys_close(&s);
}

static void real_mode_checks_the_ivt_limit(void **state)
{
    (void)state;
    Sys s;
    sys_open(&s, CPU_PENTIUM3);
    s.cpu->idtr.limit = 0x21 * 4 + 2;
    assert_int_equal(int_software(s.cpu, 0x21, 0), X_FAULT);
    assert_int_equal(s.cpu->fault.vector, VEC_GP);
    /* #GP has its vector inside the limit */
    sys_set_word(&s, VEC_GP * 4, 0x777);
    int_deliver_fault(s.cpu);
    assert_int_equal(s.cpu->eip, 0x777);
    /* an IDT of nothing: #GP, double fault, shutdown */
    s.cpu->idtr.limit = 0;
    assert_int_equal(int_software(s.cpu, 0x21, 0), X_FAULT);
    int_deliver_fault(s.cpu);
    assert_int_equal(s.cpu->activity, CPU_SHUTDOWN);
    assert_int_equal(s.shutdowns, 1);
    sys_close(&s);
}

static void gates_inside_a_level(void **state)
{
    (void)state;
    Sys s;
    open_protected(&s, false);
    sys_idt_gate(&s, 0x40, DESC_INT32, SYS_CODE0, HANDLER_AT, 0);
    sys_idt_gate(&s, 0x41, DESC_TRAP16, SYS_CODE0, 0x4321, 0);
    cpu_set_eflags(s.cpu, FL_ONE | FL_IF | FL_NT | FL_TF);
    assert_int_equal(int_software(s.cpu, 0x40, 0x99), X_STOP);
    assert_int_equal(s.cpu->eip, HANDLER_AT);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK0 - 12);
    assert_int_equal(sys_stack(&s, 0), 0x99);
    assert_int_equal(sys_stack(&s, 1), SYS_CODE0);
    assert_int_equal(sys_stack(&s, 2), FL_ONE | FL_IF | FL_NT | FL_TF);
    assert_int_equal(cpu_eflags(s.cpu), FL_ONE);
    s.cpu->eflags |= FL_IF;
    assert_int_equal(int_software(s.cpu, 0x41, 0x9a), X_STOP);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK0 - 18);
    assert_int_equal(s.cpu->eip, 0x4321);
    assert_int_equal(cpu_eflags(s.cpu), FL_ONE | FL_IF); /* trap gates leave IF */
    sys_close(&s);
}

static void fault_from_level_3_switches_stacks(void **state)
{
    (void)state;
    Sys s;
    open_protected(&s, true);
    sys_idt_gate(&s, VEC_PF, DESC_INT32, SYS_CODE0, HANDLER_AT, 0);
    s.cpu->eip = 0x555;
    s.cpu->fault = (Fault){VEC_PF, true, 6, 0x12345678, 0};
    int_deliver_fault(s.cpu);
    assert_int_equal(s.cpu->cpl, 0);
    assert_int_equal(s.cpu->cr2, 0x12345678);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK0 - 24);
    const uint32_t frame[] = {6, 0x555, SYS_CODE3, FL_ONE | FL_RF, SYS_STACK3, SYS_DATA3};
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(sys_stack(&s, i), frame[i]);
    }
    assert_int_equal(s.cpu->seg[SS].selector, SYS_DATA0);
    assert_int_equal(s.cpu->seg[DS].selector, SYS_DATA3); /* data segments stay */
    s.cpu->reg[ESP] += 4;
    assert_int_equal(far_iret(s.cpu, 4, 0), X_STOP);
    assert_int_equal(s.cpu->cpl, 3);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK3);
    assert_int_equal(s.cpu->eflags & FL_RF, FL_RF);
    sys_close(&s);
}

static void gate_faults_and_their_error_codes(void **state)
{
    (void)state;
    Sys s;
    open_protected(&s, true);
    sys_idt_gate(&s, 0x40, DESC_INT32, SYS_CODE0, HANDLER_AT, 0);
    assert_faults(&s, int_software(s.cpu, 0x40, 0), VEC_GP, 0x40 * 8 + IDT); /* DPL */
    assert_int_equal(int_deliver(s.cpu, 0x40, INT_HARDWARE, false, 0, 0), X_STOP);
    sys_user(&s);
    sys_idt_gate(&s, 0x40, DESC_INT32, SYS_CODE0, HANDLER_AT, 3);
    s.ram[SYS_IDT + 0x40 * 8 + 5] &= 0x7f;
    assert_faults(&s, int_software(s.cpu, 0x40, 0), VEC_NP, 0x40 * 8 + IDT);
    assert_faults(&s, int_deliver(s.cpu, 0x40, INT_HARDWARE, false, 0, 0), VEC_NP,
                  0x40 * 8 + IDT + EXT);
    sys_idt_gate(&s, 0x40, DESC_CALL32, SYS_CODE0, HANDLER_AT, 3);
    assert_faults(&s, int_software(s.cpu, 0x40, 0), VEC_GP, 0x40 * 8 + IDT);
    sys_idt_gate(&s, 0x40, DESC_INT32, 0, HANDLER_AT, 3);
    assert_faults(&s, int_software(s.cpu, 0x40, 0), VEC_GP, 0);
    sys_idt_gate(&s, 0x40, DESC_INT32, SYS_DATA0, HANDLER_AT, 3);
    assert_faults(&s, int_deliver(s.cpu, 0x40, INT_FAULT, false, 0, 0), VEC_GP, SYS_DATA0 + EXT);
    sys_idt_gate(&s, 0x40, DESC_INT32, SYS_CODE0, HANDLER_AT, 3);
    sys_set_word(&s, SYS_TSS + 8, SYS_DATA3);
    assert_faults(&s, int_software(s.cpu, 0x40, 0), VEC_TS, SYS_DATA3 & ~3);
    s.cpu->idtr.limit = 0x40 * 8 + 6;
    assert_faults(&s, int_software(s.cpu, 0x40, 0), VEC_GP, 0x40 * 8 + IDT);
    assert_int_equal(s.cpu->cpl, 3);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK3);
    sys_close(&s);
}

static void double_fault_table(void **state)
{
    (void)state;
    /* first, second (delivery of the first is made to cause it) -> what is delivered */
    static const struct {
        Vector first;
        bool second_is_page_fault;
        Vector delivered;
    } cases[] = {
        {VEC_UD, false, VEC_NP}, {VEC_UD, true, VEC_PF},  {VEC_GP, false, VEC_DF},
        {VEC_GP, true, VEC_PF},  {VEC_PF, false, VEC_DF}, {VEC_DE, false, VEC_DF},
        {VEC_BP, false, VEC_NP},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Sys s;
        open_protected(&s, false);
        sys_paging(&s);
        for (unsigned v = 0; v < 32; v++) {
            sys_idt_gate(&s, (uint8_t)v, DESC_INT32, SYS_CODE0, HANDLER_AT + 16 * v, 0);
        }
        if (cases[i].second_is_page_fault) {
            /* the handler's segment descriptor is on a page that is not present */
            sys_idt_gate(&s, (uint8_t)cases[i].first, DESC_INT32, 0x100c, 0, 0);
            s.cpu->seg[LDTR] = (SegReg){0x50, 0x82, 0x3f0000, 0xffff};
            sys_set_pte(&s, 0x3f1000, 0);
        } else {
            s.ram[SYS_IDT + cases[i].first * 8 + 5] &= 0x7f;
        }
        cpu_fault_code(s.cpu, cases[i].first, 0);
        int_deliver_fault(s.cpu);
        assert_int_equal(s.cpu->eip, HANDLER_AT + 16 * cases[i].delivered);
        if (cases[i].delivered == VEC_DF) {
            assert_int_equal(sys_stack(&s, 0), 0);
        }
        assert_int_equal(s.shutdowns, 0);
        sys_close(&s);
    }
}

static void triple_fault_shuts_down(void **state)
{
    (void)state;
    Sys s;
    open_protected(&s, false);
    s.cpu->eip = 0x123;
    cpu_fault_code(s.cpu, VEC_GP, 0); /* no gate is present at all */
    int_deliver_fault(s.cpu);
    assert_int_equal(s.cpu->activity, CPU_SHUTDOWN);
    assert_int_equal(s.shutdowns, 1);
    assert_int_equal(s.cpu->eip, 0x123);
    cpu_intr(s.cpu, 0, true);
    s.cpu->eflags |= FL_IF;
    assert_false(int_poll(s.cpu));
    cpu_init_pin(s.cpu, 0, true);
    assert_true(int_poll(s.cpu));
    assert_int_equal(s.cpu->activity, CPU_RUNNING);
    assert_int_equal(s.cpu->eip, 0xfff0);
    sys_close(&s);
}

static void v86_interrupt_frame_and_back(void **state)
{
    (void)state;
    Sys s;
    open_protected(&s, false);
    sys_idt_gate(&s, 0x40, DESC_INT32, SYS_CODE0, HANDLER_AT, 3);
    sys_v86(&s, 3);
    assert_int_equal(s.cpu->seg[SS].base, 0x3000);
    assert_int_equal(s.cpu->cpl, 3);
    assert_int_equal(int_software(s.cpu, 0x40, 0x102), X_STOP);
    assert_false(cpu_v86(s.cpu));
    assert_int_equal(s.cpu->cpl, 0);
    assert_int_equal(s.cpu->reg[ESP], SYS_STACK0 - 36);
    const uint32_t frame[] = {
        0x102, SYS_CODE >> 4, FL_ONE | FL_VM | FL_IOPL, 0x1000, 0x300, 0x301, 0x302, 0x303, 0x304};
    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(sys_stack(&s, i), frame[i]);
    }
    assert_int_equal(s.cpu->seg[DS].access & SEG_UNUSABLE, SEG_UNUSABLE);
    assert_int_equal(s.cpu->seg[GS].selector, 0);
    assert_int_equal(far_iret(s.cpu, 4, 0), X_STOP);
    assert_true(cpu_v86(s.cpu));
    assert_int_equal(s.cpu->eip, 0x102);
    assert_int_equal(s.cpu->reg[ESP], 0x1000);
    assert_int_equal(s.cpu->seg[GS].base, 0x3040);
    /* a handler in a segment that is not level 0 */
    sys_idt_gate(&s, 0x40, DESC_INT32, SYS_CODE3, HANDLER_AT, 3);
    assert_faults(&s, int_software(s.cpu, 0x40, 0), VEC_GP, SYS_CODE3 & ~3);
    sys_close(&s);
}

static void v86_iopl_traps(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(2);
    open_protected(&s, false);
    sys_v86(&s, 0);
    assert_faults(&s, int_software(s.cpu, 0x21, 0), VEC_GP, 0);
    assert_faults(&s, ex_cli(s.cpu, &in), VEC_GP, 0);
    assert_faults(&s, ex_sti(s.cpu, &in), VEC_GP, 0);
    assert_faults(&s, ex_pushf(s.cpu, &in), VEC_GP, 0);
    assert_faults(&s, ex_popf(s.cpu, &in), VEC_GP, 0);
    assert_faults(&s, far_iret(s.cpu, 2, 0), VEC_GP, 0);
    assert_faults(&s, ex_hlt(s.cpu, &in), VEC_GP, 0);
    sys_idt_gate(&s, VEC_BP, DESC_INT32, SYS_CODE0, HANDLER_AT, 3);
    assert_int_equal(ex_int3(s.cpu, &in), X_STOP); /* INT3 does not look at IOPL */
    assert_int_equal(s.cpu->eip, HANDLER_AT);
    sys_close(&s);
}

/* A TSS with redirection map and I/O map; VME on; virtual-8086 mode. */
static void open_vme(Sys *s, unsigned iopl)
{
    open_protected(s, false);
    memset(s->ram + SYS_TSS + 0x68, 0, 0x2100);
    sys_set_word(s, SYS_TSS + 0x66, 0x88); /* redirection map at 68h */
    s->cpu->seg[TR].limit = 0x2088;
    assert_int_equal(cr_write(s->cpu, 4, CR4_VME), X_STOP);
    sys_v86(s, iopl);
}

static void vme_redirects_to_the_programs_ivt(void **state)
{
    (void)state;
    Sys s;
    open_vme(&s, 0);
    sys_set_word(&s, 0x21 * 4, 0x1234);
    sys_set_word(&s, 0x21 * 4 + 2, 0x500);
    s.cpu->eflags |= FL_VIF | FL_IF;
    assert_int_equal(int_software(s.cpu, 0x21, 0x102), X_STOP);
    assert_true(cpu_v86(s.cpu));
    assert_int_equal(s.cpu->eip, 0x1234);
    assert_int_equal(s.cpu->seg[CS].base, 0x5000);
    assert_int_equal(s.cpu->reg[ESP], 0xffa);
    assert_int_equal(sys_word(&s, 0x3ffa), 0x102);
    assert_int_equal(sys_word(&s, 0x3ffe), FL_ONE | FL_IF | FL_IOPL); /* VIF, and IOPL reads 3 */
    assert_int_equal(s.cpu->eflags & (FL_VIF | FL_IF), FL_IF);
    assert_int_equal(far_iret(s.cpu, 2, 0), X_STOP);
    assert_int_equal(s.cpu->eflags & (FL_VIF | FL_IF | FL_IOPL), FL_VIF | FL_IF);
    assert_int_equal(s.cpu->eip, 0x102);
    s.ram[SYS_TSS + 0x68 + 0x21 / 8] = 1 << (0x21 & 7); /* not redirected */
    assert_faults(&s, int_software(s.cpu, 0x21, 0), VEC_GP, 0);
    sys_close(&s);
}

static void vme_virtualises_if(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(2), wide = sys_insn(4);
    open_vme(&s, 0);
    assert_int_equal(ex_sti(s.cpu, &in), X_STOP);
    assert_int_equal(s.cpu->eflags & (FL_VIF | FL_IF), FL_VIF);
    assert_int_equal(ex_pushf(s.cpu, &in), X_NEXT);
    assert_int_equal(sys_word(&s, 0x3ffe), FL_ONE | FL_IF | FL_IOPL);
    assert_int_equal(ex_cli(s.cpu, &in), X_NEXT);
    assert_int_equal(s.cpu->eflags & FL_VIF, 0);
    assert_int_equal(ex_popf(s.cpu, &in), X_STOP);
    assert_int_equal(s.cpu->eflags & (FL_VIF | FL_IOPL), FL_VIF);
    assert_faults(&s, ex_pushf(s.cpu, &wide), VEC_GP, 0);
    s.cpu->eflags |= FL_VIP;
    assert_faults(&s, ex_sti(s.cpu, &in), VEC_GP, 0);
    s.cpu->reg[ESP] = 0xffe;
    assert_faults(&s, ex_popf(s.cpu, &in), VEC_GP, 0); /* would set VIF with VIP pending */
    assert_int_equal(s.cpu->reg[ESP], 0xffe);
    sys_close(&s);
}

static void pvi_is_for_level_3(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(4);
    open_protected(&s, false);
    assert_int_equal(cr_write(s.cpu, 4, CR4_PVI), X_STOP);
    sys_user(&s);
    s.cpu->eflags |= FL_IF;
    assert_int_equal(ex_sti(s.cpu, &in), X_STOP);
    assert_int_equal(s.cpu->eflags & FL_VIF, FL_VIF);
    assert_int_equal(ex_cli(s.cpu, &in), X_NEXT);
    assert_int_equal(s.cpu->eflags & (FL_VIF | FL_IF), FL_IF);
    s.cpu->cr4 = 0;
    assert_faults(&s, ex_cli(s.cpu, &in), VEC_GP, 0);
    sys_close(&s);
}

static void popf_respects_levels(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(4);
    open_protected(&s, true);
    s.cpu->reg[ESP] = SYS_STACK3 - 4;
    sys_set_dword(&s, SYS_STACK3 - 4, 0xffffffff);
    assert_int_equal(ex_popf(s.cpu, &in), X_STOP);
    uint32_t flags = cpu_eflags(s.cpu);
    assert_int_equal(flags & (FL_IF | FL_IOPL | FL_VM | FL_RF | FL_VIF | FL_VIP), 0);
    assert_int_equal(flags & (FL_AC | FL_ID | FL_NT | FL_TF | FL_DF | FL_ARITH),
                     FL_AC | FL_ID | FL_NT | FL_TF | FL_DF | FL_ARITH);
    sys_close(&s);
    sys_open(&s, CPU_386);
    s.cpu->reg[ESP] = 0x7ffc;
    sys_set_dword(&s, 0x7ffc, 0xffffffff);
    assert_int_equal(ex_popf(s.cpu, &in), X_STOP);
    assert_int_equal(cpu_eflags(s.cpu) & (FL_AC | FL_ID), 0); /* how programs know a 386 */
    assert_int_equal(cpu_eflags(s.cpu) & (FL_IF | FL_IOPL), FL_IF | FL_IOPL);
    sys_close(&s);
}

static void priorities_between_instructions(void **state)
{
    (void)state;
    Sys s;
    open_protected(&s, false);
    for (unsigned v = 0; v < 0x30; v++) {
        sys_idt_gate(&s, (uint8_t)v, DESC_INT32, SYS_CODE0, HANDLER_AT + 16 * v, 0);
    }
    s.cpu->eflags |= FL_IF;
    cpu_intr(s.cpu, 0, true);
    cpu_nmi(s.cpu, 0, true);
    s.cpu->pending_dr6 = DR6_BS;
    assert_true(int_poll(s.cpu));
    assert_int_equal(s.cpu->eip, HANDLER_AT + 16 * VEC_DB);
    assert_int_equal(s.cpu->dr6 & DR6_BS, DR6_BS);
    assert_true(int_poll(s.cpu));
    assert_int_equal(s.cpu->eip, HANDLER_AT + 16 * VEC_NMI);
    assert_false(int_poll(s.cpu)); /* IF is off now */
    assert_int_equal(s.acknowledges, 0);
    s.cpu->eflags |= FL_IF;
    cpu_nmi(s.cpu, 0, true); /* the pin is still high: no edge */
    assert_false(s.cpu->nmi_pending);
    cpu_nmi(s.cpu, 0, false);
    cpu_nmi(s.cpu, 0, true);
    assert_true(int_poll(s.cpu));
    assert_int_equal(s.cpu->eip, HANDLER_AT + 16 * 0x20); /* NMI waits for IRET */
    assert_int_equal(s.acknowledges, 1);
    cpu_intr(s.cpu, 0, false);
    assert_int_equal(far_iret(s.cpu, 4, 0), X_STOP);
    assert_true(int_poll(s.cpu));
    assert_int_equal(s.cpu->eip, HANDLER_AT + 16 * VEC_NMI);
    sys_close(&s);
}

static void shadows_hold_interrupts_back(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(4);
    open_protected(&s, false);
    sys_idt_gate(&s, 0x20, DESC_INT32, SYS_CODE0, HANDLER_AT, 0);
    sys_idt_gate(&s, VEC_NMI, DESC_INT32, SYS_CODE0, HANDLER_AT, 0);
    cpu_intr(s.cpu, 0, true);
    assert_int_equal(ex_sti(s.cpu, &in), X_STOP);
    assert_false(int_poll(s.cpu));
    s.cpu->shadow = 0; /* as the run loop does before the next instruction */
    s.cpu->eflags &= ~(uint32_t)FL_IF;
    s.cpu->eflags |= FL_IF;
    assert_int_equal(ex_sti(s.cpu, &in), X_STOP); /* IF was on: no shadow */
    assert_int_equal(s.cpu->shadow, 0);
    in.reg = SS;
    s.cpu->reg[EAX] = SYS_DATA0;
    assert_int_equal(ex_mov_sw_ew(s.cpu, &in), X_STOP);
    cpu_nmi(s.cpu, 0, true);
    s.cpu->pending_dr6 = 1;
    assert_false(int_poll(s.cpu));
    s.cpu->shadow = 0;
    assert_true(int_poll(s.cpu));
    in.reg = CS;
    assert_int_equal(ex_mov_sw_ew(s.cpu, &in), X_FAULT);
    assert_int_equal(s.cpu->fault.vector, VEC_UD);
    sys_close(&s);
}

static void halt_wakes_for_interrupts(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(4);
    open_protected(&s, false);
    sys_idt_gate(&s, 0x20, DESC_INT32, SYS_CODE0, HANDLER_AT, 0);
    s.cpu->eip = 0x100;
    assert_int_equal(ex_hlt(s.cpu, &in), X_STOP);
    assert_int_equal(s.cpu->activity, CPU_HALTED);
    cpu_intr(s.cpu, 0, true);
    assert_false(int_waiting(s.cpu));
    s.cpu->eflags |= FL_IF;
    assert_true(int_waiting(s.cpu));
    assert_true(int_poll(s.cpu));
    assert_int_equal(s.cpu->activity, CPU_RUNNING);
    assert_int_equal(sys_stack(&s, 0), 0x102); /* behind HLT */
    sys_close(&s);
}

static void single_step_and_instruction_breakpoints(void **state)
{
    (void)state;
    Sys s;
    open_protected(&s, false);
    sys_idt_gate(&s, VEC_DB, DESC_INT32, SYS_CODE0, HANDLER_AT, 0);
    sys_idt_gate(&s, 0x40, DESC_INT32, SYS_CODE0, HANDLER_AT, 0);
    assert_false(debug_stepping(s.cpu));
    s.cpu->eflags |= FL_TF;
    assert_true(debug_stepping(s.cpu));
    assert_int_equal(debug_begin(s.cpu), X_NEXT);
    debug_end(s.cpu, X_NEXT);
    assert_int_equal(s.cpu->pending_dr6, DR6_BS);
    s.cpu->pending_dr6 = 0;
    /* INT n does not trap behind itself */
    assert_int_equal(debug_begin(s.cpu), X_NEXT);
    debug_end(s.cpu, int_software(s.cpu, 0x40, 2));
    assert_int_equal(s.cpu->pending_dr6, 0);
    /* MOV SS holds the trap back */
    s.cpu->eflags |= FL_TF;
    assert_int_equal(debug_begin(s.cpu), X_NEXT);
    s.cpu->shadow = SHADOW_MOV_SS;
    debug_end(s.cpu, X_STOP);
    assert_int_equal(s.cpu->pending_dr6, 0);
    s.cpu->shadow = 0;
    s.cpu->eflags &= ~(uint32_t)FL_TF;
    /* an instruction breakpoint is a fault, and RF passes it once */
    s.cpu->eip = 0x20500;
    assert_int_equal(dr_write(s.cpu, 2, 0x20500), X_NEXT);
    assert_int_equal(dr_write(s.cpu, 7, 1 << 4), X_NEXT);
    assert_int_equal(debug_begin(s.cpu), X_FAULT);
    assert_int_equal(s.cpu->fault.vector, VEC_DB);
    int_deliver_fault(s.cpu);
    assert_int_equal(s.cpu->dr6 & 15, 4);
    assert_int_equal(sys_stack(&s, 0), 0x20500);
    assert_int_equal(sys_stack(&s, 2) & FL_RF, 0);
    s.cpu->eip = 0x20500;
    s.cpu->eflags |= FL_RF;
    assert_int_equal(debug_begin(s.cpu), X_NEXT);
    assert_int_equal(s.cpu->eflags & FL_RF, 0);
    debug_end(s.cpu, X_REPEAT); /* paused: must not hit again on going on */
    assert_int_equal(debug_begin(s.cpu), X_NEXT);
    sys_close(&s);
}

static void debug_registers(void **state)
{
    (void)state;
    Sys s;
    uint32_t value = 0;
    open_protected(&s, false);
    assert_int_equal(dr_read(s.cpu, 6, &value), X_NEXT);
    assert_int_equal(value, 0xffff0ff0);
    assert_int_equal(dr_write(s.cpu, 6, 0), X_NEXT);
    assert_int_equal(dr_read(s.cpu, 4, &value), X_NEXT); /* an alias */
    assert_int_equal(value, 0xffff0ff0);
    assert_int_equal(cr_write(s.cpu, 4, CR4_DE), X_STOP);
    assert_int_equal(dr_read(s.cpu, 4, &value), X_FAULT);
    assert_int_equal(s.cpu->fault.vector, VEC_UD);
    assert_int_equal(dr_write(s.cpu, 7, DR7_GD), X_NEXT);
    assert_int_equal(dr_write(s.cpu, 0, 1), X_FAULT);
    assert_int_equal(s.cpu->fault.vector, VEC_DB);
    assert_int_equal(s.cpu->fault.dr6, DR6_BD);
    sys_idt_gate(&s, VEC_DB, DESC_INT32, SYS_CODE0, HANDLER_AT, 0);
    int_deliver_fault(s.cpu);
    assert_int_equal(s.cpu->dr7, 0x400); /* the handler may use them */
    assert_int_equal(s.cpu->dr6 & DR6_BD, DR6_BD);
    sys_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_mode_pushes_three_words),
        cmocka_unit_test(real_mode_checks_the_ivt_limit),
        cmocka_unit_test(gates_inside_a_level),
        cmocka_unit_test(fault_from_level_3_switches_stacks),
        cmocka_unit_test(gate_faults_and_their_error_codes),
        cmocka_unit_test(double_fault_table),
        cmocka_unit_test(triple_fault_shuts_down),
        cmocka_unit_test(v86_interrupt_frame_and_back),
        cmocka_unit_test(v86_iopl_traps),
        cmocka_unit_test(vme_redirects_to_the_programs_ivt),
        cmocka_unit_test(vme_virtualises_if),
        cmocka_unit_test(pvi_is_for_level_3),
        cmocka_unit_test(popf_respects_levels),
        cmocka_unit_test(priorities_between_instructions),
        cmocka_unit_test(shadows_hold_interrupts_back),
        cmocka_unit_test(halt_wakes_for_interrupts),
        cmocka_unit_test(single_step_and_instruction_breakpoints),
        cmocka_unit_test(debug_registers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
