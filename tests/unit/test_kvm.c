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
    kvm_rig_add(f, KVM_EXIT_HLT); /* real mode: ends, without a result */
    kvm_rig_add(f, KVM_EXIT_SHUTDOWN);
    kvm_rig_add(f, KVM_EXIT_INTERNAL_ERROR);
    kvm_rig_add(f, KVM_EXIT_FAIL_ENTRY);
    kvm_probe(&f->sys, &probe);
    assert_true(probe.usable);
    assert_non_null(strstr(probe.mode[KVM_REAL].wrong, "wrong sum"));
    assert_non_null(strstr(probe.mode[KVM_PROTECTED].wrong, "shut down"));
    assert_non_null(strstr(probe.mode[KVM_PAGED].wrong, "emulate"));
    assert_non_null(strstr(probe.mode[KVM_V86].wrong, "refused"));
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
    f->regs.rdx = out[3];
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
    assert_int_equal(kvm_foreign_features(f->a.self), 0);
    f->in_value = 1;
    kvm_rig_add(f, KVM_EXIT_HLT)->before = answers_cpuid;
    assert_int_equal(kvm_foreign_features(f->a.self), 0x40000000); /* RDRAND */
    kvm_rig_add(f, KVM_EXIT_SHUTDOWN);
    assert_int_equal(kvm_foreign_features(f->a.self), 0); /* it does not run at all: others tell */
    kvm_rig_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_says_what_is_missing),
        cmocka_unit_test(management_mode_is_run_by_the_interpreter),
        cmocka_unit_test(failed_emulation_is_carried_by_the_interpreter),
        cmocka_unit_test(storm_of_exits_gives_up_only_where_another_can_go_on),
        cmocka_unit_test(counted_time_is_refused),
        cmocka_unit_test(reset_between_runs_starts_afresh),
        cmocka_unit_test(init_pin_resets_the_processor_alone),
        cmocka_unit_test(probe_tells_what_fails),
        cmocka_unit_test(probe_ends_though_a_guest_does_not),
        cmocka_unit_test(features_the_model_has_not_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
