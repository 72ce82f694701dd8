/* kvmclock: its leaves and MSRs, the time in guest memory, addresses that are none, state. */
#include "cpu-accel/x86/pvclock.h"

#include <stdlib.h>
#include <string.h>

#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/cpuid.h"
#include "tests/unit/kvm_rig.h"

enum { TIME_AT = 0x5008, WALL_AT = 0x5104 };
#define SOME_DAY INT64_C(946684799250000) /* 1999-12-31 23:59:59.25 */

static Fixture *machine(void)
{
    Fixture *f = kvm_rig_closed();
    f->cpu->pvclock = true;
    f->cpu->pvclock_start_us = SOME_DAY;
    return f;
}

static uint64_t field(Fixture *f, uint32_t at, unsigned bytes)
{
    uint64_t value = 0;
    memcpy(&value, ram_at(&f->b->ram, f->ram->at) + at, bytes);
    return value;
}

/* What a guest computes from the structure and its TSC. */
static uint64_t guest_time(Fixture *f)
{
    uint64_t ticks = tsc_read(f->cpu) - field(f, TIME_AT + 8, 8);
    int8_t shift = (int8_t)field(f, TIME_AT + 28, 1);
    ticks = shift < 0 ? ticks >> -shift : ticks << shift;
    return field(f, TIME_AT + 16, 8) +
           (uint64_t)((unsigned __int128)ticks * field(f, TIME_AT + 24, 4) >> 32);
}

static void assert_right(Fixture *f, int64_t tolerance)
{
    int64_t error = (int64_t)guest_time(f) - clock_now(&f->b->clock);
    assert_in_range(error + tolerance, 0, 2 * tolerance);
}

static void machine_without_it_has_none(void **state)
{
    (void)state;
    Fixture *f = kvm_rig_closed();
    uint32_t out[4], last[4];
    uint64_t value;
    cpuid(f->cpu, 1, out);
    assert_int_equal(out[2], 0);
    cpuid(f->cpu, 2, last);
    cpuid(f->cpu, PVCLOCK_LEAF, out);
    assert_memory_equal(out, last, sizeof(out));
    assert_int_equal(msr_write(f->cpu, MSR_PVCLOCK_TIME, TIME_AT | 1), X_FAULT);
    assert_int_equal(msr_write(f->cpu, MSR_PVCLOCK_WALL, WALL_AT), X_FAULT);
    assert_int_equal(msr_read(f->cpu, MSR_PVCLOCK_TIME, &value), X_FAULT);
    assert_int_equal(f->cpu->fault.vector, VEC_GP);
    kvm_rig_free(f);
}

static void leaves_say_what_is_there(void **state)
{
    (void)state;
    Fixture *f = machine();
    uint32_t out[4];
    cpuid(f->cpu, 1, out);
    assert_int_equal(out[2], 0x80000000u);
    cpuid(f->cpu, PVCLOCK_LEAF, out);
    assert_int_equal(out[0], PVCLOCK_LEAF_FEATURES);
    assert_memory_equal(out + 1, "KVMKVMKVM\0\0\0", 12);
    cpuid(f->cpu, PVCLOCK_LEAF_FEATURES, out);
    assert_int_equal(out[0], 8);
    assert_int_equal(out[3], 0);
    cpuid(f->cpu, 0, out);
    assert_int_equal(out[0], 2); /* NT 4 goes on as before */
    kvm_rig_free(f);
}

static void time_is_the_machines_at_every_rate(void **state)
{
    (void)state;
    static const uint32_t rates[] = {1000000,    133000000,  600000000,  999999999,
                                     1000000000, 1000000001, 2596124000, UINT32_MAX};
    for (unsigned i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        Fixture *f = machine();
        int64_t tick = CLOCK_NS_PER_S / rates[i] + 2;
        f->cpu->tsc_hz = rates[i];
        clock_step(&f->b->clock, 123456789);
        assert_int_equal(msr_write(f->cpu, MSR_PVCLOCK_TIME, TIME_AT | 1), X_NEXT);
        assert_right(f, tick);
        clock_step(&f->b->clock, 1);
        assert_right(f, tick);
        clock_step(&f->b->clock, 3600 * CLOCK_NS_PER_S);
        assert_right(f, 20000); /* a multiplier of 32 bits loses 2^-31 an hour and more */
        assert_true(field(f, TIME_AT + 24, 4) >= 0x80000000u);
        assert_int_equal(field(f, TIME_AT, 4) % 2, 0);
        assert_int_equal(field(f, TIME_AT + 29, 1), 0); /* no promises */
        kvm_rig_free(f);
    }
}

static void guest_that_writes_its_tsc_is_told_anew(void **state)
{
    (void)state;
    Fixture *f = machine();
    clock_step(&f->b->clock, 5000000);
    msr_write(f->cpu, MSR_PVCLOCK_TIME, TIME_AT | 1);
    uint64_t version = field(f, TIME_AT, 4);
    assert_int_equal(msr_write(f->cpu, 0x10, 42), X_NEXT);
    assert_int_not_equal(field(f, TIME_AT, 4), version);
    assert_int_equal(field(f, TIME_AT + 8, 8), 42);
    assert_right(f, 4);
    version = field(f, TIME_AT, 4);
    msr_write(f->cpu, MSR_PVCLOCK_TIME, TIME_AT); /* off again */
    msr_write(f->cpu, 0x10, 4711);
    pvclock_update(f->cpu);
    assert_int_equal(field(f, TIME_AT, 4), version);
    kvm_rig_free(f);
}

static void wall_clock_is_when_the_machine_began(void **state)
{
    (void)state;
    Fixture *f = machine();
    uint64_t value;
    clock_step(&f->b->clock, 77 * CLOCK_NS_PER_S);
    assert_int_equal(msr_write(f->cpu, MSR_PVCLOCK_WALL, WALL_AT), X_NEXT);
    assert_int_equal(field(f, WALL_AT + 4, 4), 946684799);
    assert_int_equal(field(f, WALL_AT + 8, 4), 250000000);
    assert_int_equal(field(f, WALL_AT, 4), 2);
    assert_int_equal(msr_read(f->cpu, MSR_PVCLOCK_WALL, &value), X_NEXT);
    assert_int_equal(value, WALL_AT);
    kvm_rig_free(f);
}

/* Only RAM is written, and only when all of the structure is in it. */
static void addresses_without_memory_are_left_alone(void **state)
{
    (void)state;
    static const uint64_t nowhere[] = {
        0xf0100,    0xa0000,        0x9fff0,           RAM_SIZE, RAM_SIZE - 16,
        0xfffffff0, UINT64_MAX - 3, UINT64_C(1) << 40, 0xeffe8,  UINT64_C(1) << 63};
    Fixture *f = machine();
    uint8_t *ram = ram_at(&f->b->ram, f->ram->at);
    uint8_t *rom = ram_at(&f->b->ram, f->rom->at);
    memset(ram, 0x5a, RAM_SIZE);
    memset(rom, 0xa5, 0x10000);
    for (unsigned i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
        (void)msr_write(f->cpu, MSR_PVCLOCK_TIME, nowhere[i] | 1);
        (void)msr_write(f->cpu, 0x10, i);
        if (i != 2 && i != 4 && i != 8) { /* there is room for the short one */
            (void)msr_write(f->cpu, MSR_PVCLOCK_WALL, nowhere[i]);
        }
    }
    for (unsigned i = 0; i < RAM_SIZE; i++) {
        assert_int_equal(ram[i], 0x5a);
    }
    for (unsigned i = 0; i < 0x10000; i++) {
        assert_int_equal(rom[i], 0xa5);
    }
    assert_int_equal(f->notes, 0); /* no device was asked */
    kvm_rig_free(f);
}

static void it_goes_with_the_state_and_ends_with_a_reset(void **state)
{
    (void)state;
    Fixture *f = machine(), *other = machine();
    uint64_t value;
    clock_step(&f->b->clock, 987654321);
    msr_write(f->cpu, MSR_PVCLOCK_TIME, TIME_AT | 1);
    msr_write(f->cpu, MSR_PVCLOCK_WALL, WALL_AT);
    f->cpu->tsc_hz = 2596124000;
    chip_state_round_trip(f->b, other->b);
    assert_int_equal(other->cpu->tsc_hz, 2596124000);
    msr_read(other->cpu, MSR_PVCLOCK_TIME, &value);
    assert_int_equal(value, TIME_AT | 1);
    pvclock_update(other->cpu);
    assert_right(other, 4);
    board_reset(other->b, RESET_HARD);
    msr_read(other->cpu, MSR_PVCLOCK_TIME, &value);
    assert_int_equal(value, 0);
    kvm_rig_free(other);
    kvm_rig_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machine_without_it_has_none),
        cmocka_unit_test(leaves_say_what_is_there),
        cmocka_unit_test(time_is_the_machines_at_every_rate),
        cmocka_unit_test(guest_that_writes_its_tsc_is_told_anew),
        cmocka_unit_test(wall_clock_is_when_the_machine_began),
        cmocka_unit_test(addresses_without_memory_are_left_alone),
        cmocka_unit_test(it_goes_with_the_state_and_ends_with_a_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
