/* KVM engine against a fake kernel: every exit, partial and repeated accesses, collected writes,
 * EINTR, EAGAIN, kicks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/kvm/kvm_internal.h"
#include "cpu-accel/x86/control.h"
#include "tests/unit/kvm_rig.h"

static void ports_in_and_out_also_in_strings(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    Step *s = kvm_rig_add_io(f, true, 2, 3);
    memcpy(s->data, "\x11\x22\x33\x44\x55\x66", 6);
    kvm_rig_add_io(f, false, 4, 2);
    f->in_value = 1;
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_string_equal(f->note[0], "w2 4 2211");
    assert_string_equal(f->note[1], "w2 4 4433");
    assert_string_equal(f->note[2], "w2 4 6655");
    assert_string_equal(f->note[3], "r4 4 0");
    assert_memory_equal(f->run + 4096, "\1\2\3\4\5\6\7\10", 8);
    kvm_rig_free(f);
}

/* A device that takes two elements in a run and every third by itself. */
static uint32_t run_of_two(void *self, const char *what, uint32_t offset, unsigned bytes,
                           uint32_t count)
{
    Fixture *f = self;
    bool third = f->notes > 0 && f->note[f->notes - 1][0] == what[0];
    uint32_t n = third ? 0 : (count < 2 ? count : 2);
    if (n) {
        kvm_rig_note(f, what, offset, n, bytes);
    }
    return n;
}

static uint32_t two_read(void *self, uint32_t offset, unsigned bytes, void *data, uint32_t count)
{
    uint32_t n = run_of_two(self, "R", offset, bytes, count);
    memset(data, 0xaa, (size_t)n * bytes);
    return n;
}

static uint32_t two_write(void *self, uint32_t offset, unsigned bytes, const void *data,
                          uint32_t count)
{
    uint32_t n = run_of_two(self, "W", offset, bytes, count);
    if (n) {
        assert_int_equal(((const uint8_t *)data)[0], ((const uint8_t *)data)[bytes] - 1);
    }
    return n;
}

static uint64_t third_read(void *self, uint32_t offset, unsigned bytes)
{
    kvm_rig_note(self, "r", offset, 0, bytes);
    return 0xbbbb;
}

static void third_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    kvm_rig_note(self, "w", offset, value, bytes);
}

static void strings_go_in_runs_where_the_device_takes_them(void **state)
{
    (void)state;
    static const IoOps ops = {third_read, third_write, 1, 4};
    static const IoRuns runs = {two_read, two_write};
    Fixture *f = kvm_rig();
    bus_set_runs(bus_claim(f->b->ports, 0x304, 4, &ops, f, "in twos"), &runs);
    Step *s = kvm_rig_add_io(f, true, 2, 5);
    memcpy(s->data, "\1\0\2\0\3\0\4\0\5\0", 10);
    kvm_rig_add_io(f, false, 2, 4);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    static const char *const notes[] = {"W2 0 2", "w2 0 3", "W2 0 2", "R2 0 2", "r2 0 0", "r2 0 0"};
    assert_int_equal(f->notes, sizeof(notes) / sizeof(notes[0]));
    for (unsigned i = 0; i < f->notes; i++) {
        assert_string_equal(f->note[i], notes[i]);
    }
    assert_memory_equal(f->run + 4096, "\xaa\xaa\xaa\xaa\xbb\xbb\xbb\xbb", 8);
    kvm_rig_free(f);
}

static void impossible_port_accesses_end_the_engine(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        Fixture *f = kvm_rig();
        Step *s =
            kvm_rig_add_io(f, true, i == 0 ? 3 : 4, i == 1 ? 0x40000000 : (i == 2 ? 4096 : 1));
        s->exit.io.data_offset = i == 3 ? UINT64_MAX - 2 : 4096;
        assert_int_equal(kvm_rig_go(f), RUN_FAILED);
        assert_non_null(strstr(f->a.failure, "port access"));
        assert_int_equal(f->notes, 0);
        kvm_rig_free(f);
    }
}

static void memory_accesses_of_any_length(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    Step *s = kvm_rig_add_mmio(f, true, 0xa0000, 7);
    memcpy(s->exit.mmio.data, "\1\2\3\4\5\6\7", 7);
    kvm_rig_add_mmio(f, false, 0xa0008, 8);
    f->in_value = 0x10;
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_string_equal(f->note[0], "w4 0 4030201");
    assert_string_equal(f->note[1], "w2 4 605");
    assert_string_equal(f->note[2], "w1 6 7");
    assert_string_equal(f->note[3], "r8 8 0");
    assert_memory_equal(kvm_rig_run_of(f)->mmio.data, "\x10\x11\x12\x13\x14\x15\x16\x17", 8);
    kvm_rig_free(f);
    f = kvm_rig();
    kvm_rig_add_mmio(f, true, 0xa0000, 9);
    assert_int_equal(kvm_rig_go(f), RUN_FAILED);
    kvm_rig_free(f);
}

static void collect(Fixture *f)
{
    struct kvm_coalesced_mmio_ring *ring = (struct kvm_coalesced_mmio_ring *)(f->run + 2 * 4096);
    unsigned room = (4096 - sizeof(*ring)) / sizeof(ring->coalesced_mmio[0]);
    ring->first = room - 1; /* wraps */
    ring->last = 1;
    ring->coalesced_mmio[room - 1] = (struct kvm_coalesced_mmio){0xa0010, 2, {0}, {0xaa, 0xbb}};
    ring->coalesced_mmio[0] = (struct kvm_coalesced_mmio){0xa0020, 1, {0}, {0xcc}};
}

static void collect_nonsense(Fixture *f)
{
    struct kvm_coalesced_mmio_ring *ring = (struct kvm_coalesced_mmio_ring *)(f->run + 2 * 4096);
    ring->first = 100000;
    ring->last = 3;
}

static void collected_writes_come_before_the_exit(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    assert_true(f->zone);
    kvm_rig_add_mmio(f, false, 0xa0000, 1)->before = collect;
    kvm_rig_add_io(f, true, 1, 1)->before = collect_nonsense;
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_string_equal(f->note[0], "w2 10 bbaa");
    assert_string_equal(f->note[1], "w1 20 cc");
    assert_string_equal(f->note[2], "r1 0 0");
    assert_string_equal(f->note[3], "w1 4 0");
    assert_int_equal(f->notes, 4);
    kvm_rig_free(f);
}

static void eintr_returns_and_eagain_tries_again(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    kvm_rig_add_error(f, EAGAIN);
    kvm_rig_add_error(f, EAGAIN);
    kvm_rig_add_error(f, EINTR);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->entered, 3);
    kvm_rig_add_error(f, EFAULT);
    assert_int_equal(kvm_rig_go(f), RUN_FAILED);
    assert_non_null(strstr(f->a.failure, "Bad address"));
    kvm_rig_free(f);
}

static void harmless_exits_go_on(void **state)
{
    (void)state;
    static const uint32_t reasons[] = {KVM_EXIT_INTR,      KVM_EXIT_NMI,
                                       KVM_EXIT_DEBUG,     KVM_EXIT_SET_TPR,
                                       KVM_EXIT_HYPERCALL, KVM_EXIT_IRQ_WINDOW_OPEN};
    Fixture *f = kvm_rig();
    for (unsigned i = 0; i < 6; i++) {
        kvm_rig_add(f, reasons[i]);
    }
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->entered, 7);
    kvm_rig_free(f);
}

static void fatal_exits_say_why(void **state)
{
    (void)state;
    static const struct {
        uint32_t reason;
        const char *text;
    } cases[] = {{KVM_EXIT_FAIL_ENTRY, "refused to enter"},
                 {KVM_EXIT_UNKNOWN, "unknown reason"},
                 {KVM_EXIT_EXCEPTION, "exception"},
                 {KVM_EXIT_INTERNAL_ERROR, "internal error"},
                 {9999, "does not know"}};
    for (unsigned i = 0; i < 5; i++) {
        Fixture *f = kvm_rig();
        Step *s = kvm_rig_add(f, cases[i].reason);
        s->exit.internal.suberror = 3;
        assert_int_equal(kvm_rig_go(f), RUN_FAILED);
        assert_non_null(strstr(f->a.failure, cases[i].text));
        kvm_rig_free(f);
    }
}

static void attention_and_kicks_are_not_lost(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    kvm_rig_add_io(f, true, 1, 1);
    f->a.ops->kick(&f->a);
    assert_int_equal(f->a.ops->run(&f->a, CLOCK_NEVER), RUN_DUE);
    assert_int_equal(f->entered, 0);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    f->a.ops->kick(&f->a);
    assert_int_equal(kvm_rig_run_of(f)->immediate_exit, 1);
    assert_true(atomic_load(&f->cpu->attention));
    assert_int_equal(f->a.ops->run(&f->a, clock_now(&f->b->clock)), RUN_DUE);
    kvm_rig_free(f);
}

static void msrs_of_ours_are_answered(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    Step *s = kvm_rig_add(f, KVM_EXIT_X86_RDMSR);
    s->exit.msr.index = 0x8b;
    f->cpu->microcode = 0x123456789a;
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(kvm_rig_run_of(f)->msr.error, 0);
    s = kvm_rig_add(f, KVM_EXIT_X86_WRMSR);
    s->exit.msr.index = 0x12345678;
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(kvm_rig_run_of(f)->msr.error, 1);
    kvm_rig_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_in_and_out_also_in_strings),
        cmocka_unit_test(strings_go_in_runs_where_the_device_takes_them),
        cmocka_unit_test(impossible_port_accesses_end_the_engine),
        cmocka_unit_test(memory_accesses_of_any_length),
        cmocka_unit_test(collected_writes_come_before_the_exit),
        cmocka_unit_test(eintr_returns_and_eagain_tries_again),
        cmocka_unit_test(harmless_exits_go_on),
        cmocka_unit_test(fatal_exits_say_why),
        cmocka_unit_test(attention_and_kicks_are_not_lost),
        cmocka_unit_test(msrs_of_ours_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
