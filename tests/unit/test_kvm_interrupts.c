/* KVM engine against a fake kernel: HLT, interrupt windows, interrupts and NMI on their way. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/kvm/kvm_internal.h"
#include "cpu-accel/x86/control.h"
#include "tests/unit/kvm_rig.h"

static void halt_sleeps_until_an_interrupt_is_allowed(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    kvm_rig_add(f, KVM_EXIT_HLT);
    assert_int_equal(kvm_rig_go(f), RUN_HALTED);
    assert_int_equal(kvm_rig_go(f), RUN_HALTED);
    cpu_intr(f->cpu, 0, true); /* but IF is off */
    assert_int_equal(kvm_rig_go(f), RUN_HALTED);
    cpu_nmi(f->cpu, 0, true);
    Step *s = kvm_rig_add(f, KVM_EXIT_HLT);
    s->exit.if_flag = s->exit.ready_for_interrupt_injection = 1;
    assert_int_equal(kvm_rig_go(f),
                     RUN_DUE); /* the interrupt that waits goes in, and the script ends */
    assert_int_equal(f->nmis, 1);
    assert_int_equal(f->interrupts, 1);
    assert_int_equal(f->last_vector, 0x20);
    assert_int_equal(f->acknowledged, 1);
    kvm_rig_free(f);
}

static void interrupt_that_ends_halt_comes_at_once_also_behind_sti(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    Step *s = kvm_rig_add(f, KVM_EXIT_HLT);
    s->exit.if_flag = 1; /* sti; hlt; cli: a kernel that keeps the shadow is never ready */
    assert_int_equal(kvm_rig_go(f), RUN_HALTED);
    f->events.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
    cpu_intr(f->cpu, 0, true);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->interrupts, 1);
    assert_int_equal(f->events.interrupt.shadow, 0);
    kvm_rig_free(f);
}

static void interrupt_the_kernel_overlooks_is_carried_in(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    uint8_t *ram = ram_at(&f->b->ram, f->ram->at);
    f->a.ops->pull(&f->a);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        seg_load_real(f->cpu, (SegIndex)i, 0);
    }
    f->cpu->eip = 0x7000;
    f->cpu->reg[ESP] = 0x1000;
    memcpy(ram + 0x7000, "\xfb\x90\xfa\xeb\xfb", 5); /* sti; nop; cli; jmp sti */
    memcpy(ram + 4 * 0x20, "\x00\x60\x00\x00", 4);
    f->a.ops->push(&f->a);
    cpu_intr(f->cpu, 0, true);
    f->step_clock = 600000; /* each exit finds interrupts off */
    for (unsigned i = 0; i < 6; i++) {
        kvm_rig_add_io(f, true, 1, 1);
    }
    (void)kvm_rig_go(f);
    (void)kvm_rig_go(f);
    assert_int_equal(f->interrupts, 0);
    assert_int_equal(f->acknowledged, 1);
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->eip, 0x6000); /* in its handler */
    kvm_rig_free(f);
}

static void interrupt_window_is_asked_for(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    cpu_intr(f->cpu, 0, true);
    Step *s = kvm_rig_add(f, KVM_EXIT_IRQ_WINDOW_OPEN);
    s->exit.if_flag = s->exit.ready_for_interrupt_injection = 1;
    kvm_rig_add_io(f, true, 1, 1);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->interrupts, 1);
    assert_int_equal(kvm_rig_run_of(f)->request_interrupt_window, 0);
    cpu_intr(f->cpu, 0, true);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->interrupts, 1);
    assert_int_equal(kvm_rig_run_of(f)->request_interrupt_window, 1);
    kvm_rig_free(f);
}

static void first_entry_takes_an_interrupt_that_cpu_allows(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    f->cpu->eflags |= FL_IF;
    f->a.ops->push(&f->a);
    cpu_intr(f->cpu, 0, true);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->interrupts, 1);
    f->a.ops->pull(&f->a);
    f->cpu->eflags |= FL_IF;
    f->cpu->shadow = SHADOW_STI;
    f->a.ops->push(&f->a);
    cpu_intr(f->cpu, 0, true);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->interrupts, 1); /* not behind STI */
    kvm_rig_free(f);
}

static void want_attention(Fixture *f)
{
    atomic_store(&f->cpu->attention, true);
}

static void pull_right_behind_an_exit_runs_with_immediate_exit(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    kvm_rig_add_io(f, false, 1, 1)->before = want_attention;
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->entered, 1);
    assert_int_equal(f->finished, 0);
    f->a.ops->pull(&f->a);
    assert_int_equal(f->finished, 1);
    f->a.ops->pull(&f->a); /* nothing left to do */
    assert_int_equal(f->finished, 1);
    kvm_rig_free(f);
}

static void interrupt_under_way_is_delivered_at_pull(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    uint8_t *ram = ram_at(&f->b->ram, f->ram->at);
    memcpy(ram + 4 * 0x21, "\x34\x12\x00\x50", 4);
    f->a.ops->pull(&f->a);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        seg_load_real(f->cpu, (SegIndex)i, 0);
    }
    f->cpu->eip = 0x700;
    f->cpu->reg[ESP] = 0x1000;
    f->cpu->eflags |= FL_IF;
    f->a.ops->push(&f->a);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    f->events.interrupt.injected = 1;
    f->events.interrupt.nr = 0x21;
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->eip, 0x1234);
    assert_int_equal(f->cpu->seg[CS].selector, 0x5000);
    assert_int_equal(ram[0xffa] | ram[0xffb] << 8, 0x700);
    kvm_rig_free(f);
}

static void nmi_under_way_stays_pending(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    f->events.nmi.injected = 1;
    f->events.nmi.masked = 1;
    f->a.ops->pull(&f->a);
    assert_true(f->cpu->nmi_pending);
    assert_false(f->cpu->nmi_blocked);
    kvm_rig_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halt_sleeps_until_an_interrupt_is_allowed),
        cmocka_unit_test(interrupt_that_ends_halt_comes_at_once_also_behind_sti),
        cmocka_unit_test(interrupt_the_kernel_overlooks_is_carried_in),
        cmocka_unit_test(interrupt_window_is_asked_for),
        cmocka_unit_test(first_entry_takes_an_interrupt_that_cpu_allows),
        cmocka_unit_test(pull_right_behind_an_exit_runs_with_immediate_exit),
        cmocka_unit_test(interrupt_under_way_is_delivered_at_pull),
        cmocka_unit_test(nmi_under_way_stays_pending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
