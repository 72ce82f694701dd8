/* KVM engine against a fake kernel: opening, the probe, what the interpreter carries, storms of
 * exits, resets. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/kvm/kvm_internal.h"
#include "cpu-accel/x86/control.h"
#include "tests/unit/kvm_rig.h"

static void opening_says_what_is_missing(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        static const char *const parts[3] = {"/dev/kvm", "API 11", "no virtual machine"};
        Fixture *f = kvm_rig_closed();
        Err err = {""};
        f->open_error = i == 0 ? EACCES : 0;
        f->api = i == 1 ? 11 : 12;
        f->vm_error = i == 2 ? EBUSY : 0;
        assert_false(kvm_open_on(&f->a, &f->sys, false, &err));
        assert_non_null(strstr(err.text, parts[i]));
        assert_non_null(strstr(err.text, "-accel translator"));
        kvm_rig_free(f);
    }
}

static void management_mode_is_run_by_the_interpreter(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    uint8_t *ram = ram_at(&f->b->ram, f->ram->at);
    f->a.ops->pull(&f->a);
    f->cpu->smbase = 0x30000;
    f->cpu->reg[EDX] = 0x304;
    f->cpu->reg[EAX] = 0x77;
    memcpy(ram + 0x38000, "\xee\x0f\xaa", 3); /* out dx, al; rsm */
    f->a.ops->push(&f->a);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    unsigned entered = f->entered;
    f->regs.rip = 0x4567;
    cpu_smi(f->cpu, 0, true);
    for (unsigned i = 0; i < 10 && f->entered == entered; i++) {
        (void)kvm_rig_go(f);
    }
    assert_string_equal(f->note[0], "w1 4 77");
    assert_true(f->entered > entered);
    assert_int_equal(f->regs.rip, 0x4567);
    assert_false(f->cpu->smm);
    kvm_rig_free(f);
}

static void want_attention(Fixture *f)
{
    atomic_store(&f->cpu->attention, true);
}

static void failed_emulation_is_carried_by_the_interpreter(void **state)
{
    (void)state;
    for (unsigned replaceable = 0; replaceable < 2; replaceable++) {
        Fixture *f = kvm_rig();
        uint8_t *ram = ram_at(&f->b->ram, f->ram->at);
        f->a.replaceable = replaceable;
        f->a.ops->pull(&f->a);
        seg_load_real(f->cpu, CS, 0);
        f->cpu->eip = 0x7000;
        memcpy(ram + 0x7000, "\x40\xf4", 2); /* inc ax; hlt */
        f->a.ops->push(&f->a);
        kvm_rig_add(f, KVM_EXIT_INTERNAL_ERROR)->exit.internal.suberror =
            KVM_INTERNAL_ERROR_EMULATION;
        RunExit exit = kvm_rig_go(f);
        if (replaceable) {
            assert_int_equal(exit, RUN_FAILED);
            assert_non_null(strstr(f->a.failure, "emulate"));
        } else {
            assert_int_equal(exit, RUN_HALTED);
            f->a.ops->pull(&f->a);
            assert_int_equal(f->cpu->reg[EAX], 1);
            assert_int_equal(f->cpu->eip, 0x7002);
            clock_step(&f->b->clock, 10000000); /* its time is over: the kernel again */
            cpu_nmi(f->cpu, 0, true);
            memcpy(ram + 8, "\x00\x60\x00\x00", 4);
            (void)kvm_rig_go(f);
            assert_true(f->entered > 1);
        }
        kvm_rig_free(f);
    }
}

/* The guest stands before these bytes in real mode, segments at 0, a stack below them. */
static void stand_before(Fixture *f, const char *code, size_t size)
{
    f->a.ops->pull(&f->a);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        seg_load_real(f->cpu, (SegIndex)i, 0);
    }
    f->cpu->eip = f->cpu->reg[ESP] = 0x7000;
    memcpy(ram_at(&f->b->ram, f->ram->at) + 0x7000, code, size);
    f->a.ops->push(&f->a);
}

static void shutdown_that_comes_again_is_the_guests(void **state)
{
    (void)state;
    for (unsigned replaceable = 0; replaceable < 2; replaceable++) {
        Fixture *f = kvm_rig();
        f->a.replaceable = replaceable;
        f->cpu->idtr.limit = 0;
        stand_before(f, "\xcc", 1); /* int3, as programs reset a PC */
        kvm_rig_add(f, KVM_EXIT_SHUTDOWN);
        assert_int_equal(kvm_rig_go(f), RUN_HALTED);
        assert_string_equal(f->a.failure, "");
        assert_int_equal(f->shutdown.rises, 1);
        assert_int_equal(f->entered, 1);
        board_reset(f->b, RESET_HARD); /* as the PC answers */
        f->a.ops->push(&f->a);
        assert_int_equal(kvm_rig_go(f), RUN_DUE);
        assert_int_equal(f->regs.rip, 0xfff0);
        assert_int_equal(f->entered, 2); /* under KVM again */
        kvm_rig_free(f);
    }
}

static void shutdown_that_is_the_kernels_fault_fails_further_on(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    stand_before(f, "\x40\x40\x40\x40\x40", 5); /* inc ax */
    kvm_rig_add(f, KVM_EXIT_SHUTDOWN);
    assert_int_equal(kvm_rig_go(f), RUN_FAILED);
    assert_non_null(strstr(f->a.failure, "shut down (40 40 40 40 40 "));
    assert_non_null(strstr(f->a.failure, "at 0000:00007000"));
    assert_int_equal(f->shutdown.rises, 0);
    f->a.ops->pull(&f->a);
    assert_in_range(f->cpu->reg[EAX], 1, 8); /* whoever goes on starts where the trial came to */
    assert_int_equal(f->cpu->eip, 0x7000 + f->cpu->reg[EAX]);
    kvm_rig_free(f);
}

static void shutdown_waits_until_the_machine_has_been_looked_after(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    f->cpu->idtr.limit = 0;
    stand_before(f, "\xcc", 1);
    kvm_rig_add(f, KVM_EXIT_SHUTDOWN)->before = want_attention;
    assert_int_equal(kvm_rig_go(f), RUN_DUE); /* nothing was tried yet */
    assert_int_equal(f->shutdown.rises, 0);
    assert_int_equal(kvm_rig_go(f), RUN_HALTED);
    assert_int_equal(f->shutdown.rises, 1);
    assert_string_equal(f->a.failure, "");
    kvm_rig_free(f);
}

static void reset_by_kernel(Fixture *f)
{
    f->regs = (struct kvm_regs){.rip = 0xfff0, .rflags = 2};
    f->sregs2.cr0 = 0x60000010;
    f->sregs2.cs.base = 0xffff0000;
    f->sregs2.cs.selector = 0xf000;
}

static void shutdown_whose_state_the_kernel_dropped_is_the_guests(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    stand_before(f, "\x40", 1);
    kvm_rig_add(f, KVM_EXIT_SHUTDOWN)->before = reset_by_kernel;
    assert_int_equal(kvm_rig_go(f), RUN_HALTED);
    assert_int_equal(f->shutdown.rises, 1);
    kvm_rig_free(f);
}

static void random_numbers_that_cpuid_has_shown_are_never_there(void **state)
{
    (void)state;
    for (unsigned shown = 0; shown < 2; shown++) {
        Fixture *f = kvm_rig();
        uint8_t *ram = ram_at(&f->b->ram, f->ram->at);
        ((Kvm *)f->a.self)->foreign.ecx = shown ? 0x76d81203 : 0x36d81203;
        memcpy(ram + 4 * 6, "\x00\x60\x00\x00", 4); /* #UD */
        memcpy(ram + 0x6000, "\xf4", 1);
        assert_int_equal(kvm_rig_go(f), RUN_DUE);
        /* rdrand ax; rdrand ecx; lock rdrand ax */
        stand_before(f, "\x0f\xc7\xf0\x66\x0f\xc7\xf1\xf0\x0f\xc7\xf0", 11);
        f->cpu->reg[EAX] = f->cpu->reg[ECX] = 0x12345678;
        cpu_set_eflags(f->cpu, cpu_eflags(f->cpu) | FL_CF | FL_OF | FL_ZF);
        f->a.ops->push(&f->a);
        kvm_rig_add(f, KVM_EXIT_INTERNAL_ERROR)->exit.internal.suberror =
            KVM_INTERNAL_ERROR_EMULATION;
        assert_int_equal(kvm_rig_go(f), RUN_HALTED);
        f->a.ops->pull(&f->a);
        assert_int_equal(f->cpu->eip, 0x6001);
        assert_int_equal(ram[0x6ffa] | ram[0x6ffb] << 8, shown ? 0x7007 : 0x7000);
        assert_int_equal(f->cpu->reg[EAX], shown ? 0x12340000 : 0x12345678);
        assert_int_equal(f->cpu->reg[ECX], shown ? 0 : 0x12345678);
        assert_int_equal((ram[0x6ffe] & FL_CF) == 0, shown);
        kvm_rig_free(f);
    }
}

static void storm_of_exits_gives_up_only_where_another_can_go_on(void **state)
{
    (void)state;
    for (unsigned replaceable = 0; replaceable < 2; replaceable++) {
        Fixture *f = kvm_rig();
        f->a.replaceable = replaceable;
        f->step_clock = 8000; /* 125000 accesses a second */
        RunExit exit = RUN_DUE;
        for (unsigned i = 0; i < 100000 && exit == RUN_DUE; i++) {
            f->steps = f->at = 0;
            kvm_rig_add_io(f, true, 1, 1);
            exit = kvm_rig_go(f);
        }
        assert_int_equal(exit, replaceable ? RUN_FAILED : RUN_DUE);
        assert_int_equal(strstr(f->a.failure, "storm") != NULL, replaceable);
        kvm_rig_free(f);
    }
}

static void fill_ring(Fixture *f)
{
    struct kvm_coalesced_mmio_ring *ring = (struct kvm_coalesced_mmio_ring *)(f->run + 2 * 4096);
    ring->first = 0;
    ring->last = 100;
    for (unsigned i = 0; i < 100; i++) {
        ring->coalesced_mmio[i] = (struct kvm_coalesced_mmio){0xa0000 + i, 1, {0}, {0}};
    }
}

/* Planar VGA: few exits, and yet the guest does nothing but leave. */
static void writes_that_the_kernel_collects_are_a_storm_too(void **state)
{
    (void)state;
    for (unsigned busy = 0; busy < 2; busy++) {
        Fixture *f = kvm_rig();
        f->a.replaceable = true;
        f->step_clock = 2000; /* ns for each write */
        RunExit exit = RUN_DUE;
        for (unsigned i = 0; i < 3000 && exit == RUN_DUE; i++) {
            f->steps = f->at = 0;
            kvm_rig_add_mmio(f, true, 0xa0000, 1)->before = fill_ring;
            exit = kvm_rig_go(f);
            if (!busy) {
                clock_step(&f->b->clock, 2000000); /* the guest computes for most of the time */
            }
        }
        assert_int_equal(exit, busy ? RUN_FAILED : RUN_DUE);
        assert_int_equal(f->a.may_return, busy);
        kvm_rig_free(f);
    }
}

static void unmasked_x87_errors_need_another_engine_where_they_are_irq_13(void **state)
{
    (void)state;
    static const struct {
        uint16_t control;
        bool ne, wanted;
    } cases[] = {{0x40, false, false},
                 {0x37f, false, false},
                 {0x332, false, true},
                 {0x1372, false, true},
                 {0x332, true, false}};
    for (unsigned i = 0; i < 20; i++) {
        unsigned n = i % 5;
        bool replaceable = i < 10;
        Fixture *f = kvm_rig_closed();
        f->old = i / 5 % 2;
        kvm_rig_attach(f);
        f->a.replaceable = replaceable;
        f->cpu->fpu.control = cases[n].control;
        f->cpu->cr0 |= cases[n].ne ? CR0_NE : 0;
        f->a.ops->push(&f->a);
        assert_int_equal(kvm_rig_go(f), cases[n].wanted && replaceable ? RUN_FAILED : RUN_DUE);
        assert_int_equal(f->a.may_return, cases[n].wanted && replaceable);
        assert_int_equal(strstr(f->a.failure, "IRQ 13") != NULL, cases[n].wanted && replaceable);
        kvm_rig_free(f);
    }
}

static void single_steps_are_the_kernels(void **state)
{
    (void)state;
    for (unsigned at_finish = 0; at_finish < 2; at_finish++) {
        Fixture *f = kvm_rig();
        uint64_t before = f->cpu->executed;
        f->debug_at_finish = at_finish; /* an access that is complete stops, or it does not */
        f->a.budget = 5;
        kvm_rig_add(f, KVM_EXIT_DEBUG);
        kvm_rig_add_io(f, true, 1, 1);
        kvm_rig_add(f, KVM_EXIT_DEBUG);
        kvm_rig_add(f, KVM_EXIT_IRQ_WINDOW_OPEN);
        kvm_rig_add(f, KVM_EXIT_DEBUG);
        kvm_rig_add(f, KVM_EXIT_HLT);
        kvm_rig_add(f, KVM_EXIT_DEBUG);
        assert_int_equal(kvm_rig_go(f), RUN_DUE);
        assert_int_equal(f->debug_control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
        assert_int_equal(f->cpu->executed - before, 5);
        assert_int_equal(f->entered, 6);
        assert_int_equal(f->finished, 1);
        f->a.budget = 0;
        cpu_nmi(f->cpu, 0, true);
        assert_int_equal(kvm_rig_go(f), RUN_DUE);
        assert_int_equal(f->debug_control, 0);
        assert_int_equal(f->entered, 8); /* that stray one is no step */
        assert_int_equal(f->cpu->executed - before, 5);
        f->no_debug = true;
        f->a.budget = 1;
        assert_int_equal(kvm_rig_go(f), RUN_FAILED);
        assert_non_null(strstr(f->a.failure, "single steps"));
        kvm_rig_free(f);
    }
}

static void counted_time_is_refused(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    clock_use_count(&f->b->clock, &f->cpu->executed, 0);
    assert_int_equal(kvm_rig_go(f), RUN_FAILED);
    assert_non_null(strstr(f->a.failure, "-icount"));
    kvm_rig_free(f);
}

static void reset_between_runs_starts_afresh(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    kvm_rig_add(f, KVM_EXIT_HLT);
    assert_int_equal(kvm_rig_go(f), RUN_HALTED);
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->activity, CPU_HALTED);
    board_reset(f->b, RESET_HARD);
    f->a.ops->push(&f->a);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->regs.rip, 0xfff0);
    assert_int_equal(f->sregs2.cs.base, 0xffff0000);
    kvm_rig_free(f);
}

static void init_pin_resets_the_processor_alone(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    f->regs.rip = 0x1111;
    cpu_init_pin(f->cpu, 0, true);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->regs.rip, 0xfff0);
    kvm_rig_free(f);
}

static void probe_tells_what_fails(void **state)
{
    (void)state;
    Fixture *f = kvm_rig_closed();
    KvmProbe probe;
    f->open_error = ENOENT;
    kvm_probe(&f->sys, &probe);
    assert_false(probe.usable);
    assert_non_null(strstr(probe.reason, "/dev/kvm"));
    f->open_error = 0;
    kvm_rig_add(f, KVM_EXIT_INTERNAL_ERROR);
    kvm_rig_add(f, KVM_EXIT_FAIL_ENTRY);
    kvm_rig_add(f, KVM_EXIT_SHUTDOWN);
    kvm_rig_add(f, KVM_EXIT_HLT); /* real mode: ends, without a result */
    kvm_probe(&f->sys, &probe);
    assert_true(probe.usable);
    assert_non_null(strstr(probe.mode[KVM_REAL].wrong, "wrong sum"));
    assert_non_null(strstr(probe.mode[KVM_PROTECTED].wrong, "shut down"));
    assert_non_null(strstr(probe.mode[KVM_PAGED].wrong, "emulate"));
    assert_non_null(strstr(probe.mode[KVM_V86].wrong, "refused"));
    f->at = 0;
    kvm_probe_quickly(&f->sys, 0, &probe); /* one will do */
    assert_int_equal(f->at, 1);
    assert_true(probe.usable && probe.mode[KVM_PAGED].tried);
    assert_non_null(strstr(probe.mode[KVM_PAGED].wrong, "emulate"));
    assert_false(probe.mode[KVM_REAL].tried || probe.mode[KVM_PROTECTED].tried ||
                 probe.mode[KVM_V86].tried);
    Err err = {""};
    f->at = 0;
    assert_false(kvm_open_on(&f->a, &f->sys, true, &err));
    assert_non_null(strstr(err.text, "real mode"));
    assert_non_null(strstr(err.text, "-accel translator"));
    kvm_rig_free(f);
}

static void probe_ends_though_a_guest_does_not(void **state)
{
    (void)state;
    Fixture *f = kvm_rig_closed();
    KvmProbe probe;
    kvm_probe(&f->sys, &probe); /* every KVM_RUN is interrupted */
    for (unsigned i = 0; i < KVM_MODES; i++) {
        assert_false(probe.mode[i].right);
        assert_non_null(strstr(probe.mode[i].wrong, "in time"));
    }
    kvm_rig_free(f);
}

static void answers_cpuid(Fixture *f)
{
    uint32_t out[4] = {0};
    cpuid(f->cpu, 1, out);
    f->regs.rdx = out[3] | (f->in_value ? 0x10000000u : 0);
    f->regs.rcx = out[2] | (f->in_value ? 0x40000000u : 0);
}

/* As of a host that passes its own CPUID through. */
static void features_the_model_has_not_are_noticed(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    uint32_t ours[4] = {0};
    cpuid(f->cpu, 1, ours);
    kvm_rig_add(f, KVM_EXIT_HLT)->before = answers_cpuid;
    KvmFeatures foreign = kvm_foreign_features(f->a.self);
    assert_true(foreign.ecx == 0 && foreign.edx == 0);
    f->in_value = 1;
    kvm_rig_add(f, KVM_EXIT_HLT)->before = answers_cpuid;
    foreign = kvm_foreign_features(f->a.self);
    assert_true(foreign.ecx == CPUID_ECX_RDRAND && foreign.edx == 0x10000000);
    kvm_rig_add(f, KVM_EXIT_SHUTDOWN);
    foreign = kvm_foreign_features(f->a.self); /* it does not run at all: others tell */
    assert_true(foreign.ecx == 0 && foreign.edx == 0);
    kvm_rig_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_says_what_is_missing),
        cmocka_unit_test(management_mode_is_run_by_the_interpreter),
        cmocka_unit_test(failed_emulation_is_carried_by_the_interpreter),
        cmocka_unit_test(shutdown_that_comes_again_is_the_guests),
        cmocka_unit_test(shutdown_that_is_the_kernels_fault_fails_further_on),
        cmocka_unit_test(shutdown_waits_until_the_machine_has_been_looked_after),
        cmocka_unit_test(shutdown_whose_state_the_kernel_dropped_is_the_guests),
        cmocka_unit_test(random_numbers_that_cpuid_has_shown_are_never_there),
        cmocka_unit_test(storm_of_exits_gives_up_only_where_another_can_go_on),
        cmocka_unit_test(writes_that_the_kernel_collects_are_a_storm_too),
        cmocka_unit_test(unmasked_x87_errors_need_another_engine_where_they_are_irq_13),
        cmocka_unit_test(single_steps_are_the_kernels),
        cmocka_unit_test(counted_time_is_refused),
        cmocka_unit_test(reset_between_runs_starts_afresh),
        cmocka_unit_test(init_pin_resets_the_processor_alone),
        cmocka_unit_test(probe_tells_what_fails),
        cmocka_unit_test(probe_ends_though_a_guest_does_not),
        cmocka_unit_test(features_the_model_has_not_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
