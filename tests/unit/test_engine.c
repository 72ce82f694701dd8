/* Moving a machine away from KVM when it fails or is slow, and back: a KVM engine on a fake kernel,
 * and the engine that runs everything. */
#include <errno.h>
#include <string.h>

#include "cpu-accel/x86/control.h"
#include "machine/engine.h"
#include "tests/unit/kvm_rig.h"

enum { BUSY = 20000, QUIET = 100 }; /* accesses of devices a second */

/* The engine under test opens on the kernel of this fixture. */
static Fixture *opened_on;

static bool open_fake(Accel *a, Err *err)
{
    return kvm_open_on(a, &opened_on->sys, false, err);
}

static Fixture *machine(AccelOps *kvm)
{
    Fixture *f = opened_on = kvm_rig();
    *kvm = accel_kvm;
    kvm->open = open_fake;
    f->a.ops = kvm;
    f->a.replaceable = true;
    return f;
}

/* Device accesses without end, until the engine gives up. */
static void storm(Fixture *f)
{
    RunExit exit = RUN_DUE;
    f->step_clock = 8000;
    for (unsigned i = 0; i < 100000 && exit == RUN_DUE; i++) {
        f->steps = f->at = 0;
        kvm_rig_add_io(f, true, 1, 1);
        exit = kvm_rig_go(f);
    }
    f->step_clock = 0;
    f->steps = f->at = 0;
    assert_int_equal(exit, RUN_FAILED);
    assert_non_null(strstr(f->a.failure, "storm"));
}

/* Lets seconds of guest time pass with so many accesses each; true when the way back opens. */
static bool pass(Fixture *f, EngineBack *back, unsigned seconds, unsigned accesses)
{
    for (unsigned s = 0; s < 10 * seconds; s++) {
        for (unsigned i = 0; i < accesses / 10; i++) {
            (void)bus_read(f->b->ports, 0x80, 1); /* nobody there: no access of a device */
            f->notes = 0;
            (void)bus_read(f->b->ports, 0x300, 1);
        }
        clock_step(&f->b->clock, CLOCK_NS_PER_S / 10);
        if (engine_back_due(back, f->b)) {
            return true;
        }
    }
    return false;
}

static void storm_is_left_and_come_back_from(void **state)
{
    (void)state;
    AccelOps kvm;
    Fixture *f = machine(&kvm);
    EngineBack back = {.to = NULL};
    assert_false(pass(f, &back, 20, 0)); /* nowhere to go back to */
    storm(f);
    f->regs.rip = 0x4321;
    assert_true(engine_replace(&f->a, &back));
    assert_string_equal(f->a.ops->name, "translator");
    assert_int_equal(f->cpu->eip, 0x4321);
    assert_false(pass(f, &back, 30, BUSY));
    assert_false(pass(f, &back, 3, QUIET));
    assert_false(pass(f, &back, 2, BUSY)); /* it was not over */
    assert_false(pass(f, &back, 4, QUIET));
    assert_true(pass(f, &back, 3, QUIET));
    f->cpu->eip = 0x5678;
    engine_back(&f->a, &back);
    assert_ptr_equal(f->a.ops, &kvm);
    assert_true(f->a.replaceable);
    assert_false(pass(f, &back, 20, QUIET)); /* it is there */
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->regs.rip, 0x5678);
    kvm_rig_free(f);
}

/* Seconds of calm until the way back opens. */
static unsigned wait_of(Fixture *f, EngineBack *back)
{
    unsigned seconds = 1;
    while (seconds < 2000 && !pass(f, back, 1, 0)) {
        seconds++;
    }
    return seconds;
}

static void storms_one_after_another_are_left_for_longer_and_longer(void **state)
{
    (void)state;
    static const unsigned waits[] = {5, 10, 20, 40, 80, 160, 320, 640, 640};
    AccelOps kvm;
    Fixture *f = machine(&kvm);
    EngineBack back = {.to = NULL};
    for (unsigned i = 0; i < 9; i++) {
        storm(f);
        assert_true(engine_replace(&f->a, &back));
        assert_in_range(wait_of(f, &back), waits[i], waits[i] + 1);
        engine_back(&f->a, &back);
        assert_ptr_equal(f->a.ops, &kvm);
    }
    clock_step(&f->b->clock, 100 * CLOCK_NS_PER_S); /* a long stay: that guest has changed */
    storm(f);
    assert_true(engine_replace(&f->a, &back));
    assert_in_range(wait_of(f, &back), 5, 6);
    kvm_rig_free(f);
}

static void failures_are_left_for_good(void **state)
{
    (void)state;
    AccelOps kvm;
    Fixture *f = machine(&kvm);
    EngineBack back = {.to = NULL};
    storm(f);
    assert_true(engine_replace(&f->a, &back));
    assert_true(wait_of(f, &back) < 10);
    engine_back(&f->a, &back);
    kvm_rig_add(f, KVM_EXIT_FAIL_ENTRY);
    assert_int_equal(kvm_rig_go(f), RUN_FAILED);
    assert_true(engine_replace(&f->a, &back));
    assert_string_equal(f->a.ops->name, "translator");
    assert_null(back.to);
    assert_false(pass(f, &back, 2000, 0));
    kvm_rig_free(f);
}

static void kernel_that_is_gone_is_not_asked_again(void **state)
{
    (void)state;
    AccelOps kvm;
    Fixture *f = machine(&kvm);
    EngineBack back = {.to = NULL};
    storm(f);
    assert_true(engine_replace(&f->a, &back));
    assert_true(wait_of(f, &back) < 10);
    f->open_error = EACCES;
    f->cpu->eip = 0x9876;
    engine_back(&f->a, &back);
    assert_string_equal(f->a.ops->name, "translator");
    assert_int_equal(f->cpu->eip, 0x9876);
    assert_false(pass(f, &back, 2000, 0));
    kvm_rig_free(f);
}

static void engine_that_was_named_is_not_replaced(void **state)
{
    (void)state;
    AccelOps kvm;
    Fixture *f = machine(&kvm);
    EngineBack back = {.to = NULL};
    f->a.replaceable = false;
    kvm_rig_add(f, KVM_EXIT_FAIL_ENTRY);
    assert_int_equal(kvm_rig_go(f), RUN_FAILED);
    assert_false(engine_replace(&f->a, &back));
    assert_ptr_equal(f->a.ops, &kvm);
    kvm_rig_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(storm_is_left_and_come_back_from),
        cmocka_unit_test(storms_one_after_another_are_left_for_longer_and_longer),
        cmocka_unit_test(failures_are_left_for_good),
        cmocka_unit_test(kernel_that_is_gone_is_not_asked_again),
        cmocka_unit_test(engine_that_was_named_is_not_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
