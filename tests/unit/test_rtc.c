/* MC146818: formats, update cycle, SET, alarm, periodic rates, register C, CMOS layout, state. */
#include "chipset/rtc.h"

#include "tests/unit/chip.h"

#define MS INT64_C(1000000)
#define S INT64_C(1000000000)
#define BASE 981173106 /* Saturday 2001-02-03 04:05:06 */

typedef struct Fixture {
    Board *b;
    Rtc *rtc;
    Probe irq, mask;
} Fixture;

static void fixture_at(Fixture *f, int64_t base)
{
    f->b = chip_board();
    f->rtc = rtc_new(f->b,
                     &(RtcConfig){.base = base,
                                  .irq = chip_probe(f->b, &f->irq),
                                  .nmi_mask = chip_probe(f->b, &f->mask)},
                     "rtc");
    board_reset(f->b, RESET_POWER);
}

static void fixture(Fixture *f)
{
    fixture_at(f, BASE);
}

static uint8_t get(Board *b, uint8_t index)
{
    chip_out(b, 0x70, index);
    return chip_in(b, 0x71);
}

static void set(Board *b, uint8_t index, uint8_t value)
{
    chip_out(b, 0x70, index);
    chip_out(b, 0x71, value);
}

static void assert_time(Board *b, const uint8_t expected[7])
{
    static const uint8_t index[7] = {9, 8, 7, 6, 4, 2, 0};
    for (unsigned i = 0; i < 7; i++) {
        assert_int_equal(get(b, index[i]), expected[i]);
    }
}

static void starts_at_the_base_and_counts(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_time(f.b, (uint8_t[]){0x01, 0x02, 0x03, 7, 0x04, 0x05, 0x06});
    assert_int_equal(get(f.b, 0x32), 0x20);
    clock_step(&f.b->clock, S - 1);
    assert_int_equal(get(f.b, 0), 0x06);
    clock_step(&f.b->clock, 1);
    assert_int_equal(get(f.b, 0), 0x07);
    clock_step(&f.b->clock, 86400 * S);
    assert_time(f.b, (uint8_t[]){0x01, 0x02, 0x04, 1, 0x04, 0x05, 0x07});
    board_free(f.b);
}

static void century_and_leap_days(void **state)
{
    (void)state;
    Fixture f;
    fixture_at(&f, 946684799); /* 1999-12-31 23:59:59, Friday */
    assert_time(f.b, (uint8_t[]){0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x59});
    clock_step(&f.b->clock, S);
    assert_time(f.b, (uint8_t[]){0x00, 0x01, 0x01, 7, 0, 0, 0});
    assert_int_equal(get(f.b, 0x32), 0x20);
    clock_step(&f.b->clock, 59 * 86400 * S);
    assert_time(f.b, (uint8_t[]){0x00, 0x02, 0x29, 3, 0, 0, 0});
    board_free(f.b);
}

static void dates_before_1970_and_far_off(void **state)
{
    (void)state;
    Fixture f;
    fixture_at(&f, -1); /* Wednesday */
    assert_time(f.b, (uint8_t[]){0x69, 0x12, 0x31, 4, 0x23, 0x59, 0x59});
    assert_int_equal(get(f.b, 0x32), 0x19);
    rtc_set_time(f.rtc, INT64_MAX);
    assert_int_equal(get(f.b, 9), 0x99);
    rtc_set_time(f.rtc, INT64_MIN);
    assert_int_equal(get(f.b, 9), 0x00);
    board_free(f.b);
}

static void binary_and_12_hours(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    set(f.b, 0x0b, 0x84); /* SET, binary, 12 h */
    set(f.b, 4, 0x8b);    /* 11 pm */
    set(f.b, 2, 59);
    set(f.b, 0, 59);
    set(f.b, 0x0b, 0x04);
    clock_step(&f.b->clock, S);
    assert_time(f.b, (uint8_t[]){1, 2, 4, 1, 12, 0, 0}); /* 12 am */
    clock_step(&f.b->clock, 12 * 3600 * S);
    assert_int_equal(get(f.b, 4), 0x8c);
    board_free(f.b);
}

static void set_holds_the_time_and_clears_uie(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    set(f.b, 0x0b, 0x12);
    set(f.b, 0x0b, 0x92);
    assert_int_equal(get(f.b, 0x0b), 0x82);
    get(f.b, 0x0c);
    clock_step(&f.b->clock, 5 * S);
    assert_int_equal(get(f.b, 0), 0x06);
    assert_int_equal(get(f.b, 0x0c) & 0x10, 0);
    assert_int_equal(get(f.b, 0x0a) & 0x80, 0);
    set(f.b, 0x0b, 0x02);
    clock_step(&f.b->clock, S);
    assert_int_equal(get(f.b, 0), 0x07);
    board_free(f.b);
}

static void uip_rises_244_us_before_the_update_cycle(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    clock_step(&f.b->clock, S - 2228001);
    assert_int_equal(get(f.b, 0x0a), 0x26);
    clock_step(&f.b->clock, 1);
    assert_int_equal(get(f.b, 0x0a), 0xa6);
    clock_step(&f.b->clock, 2228000);
    assert_int_equal(get(f.b, 0x0a), 0x26);
    assert_int_equal(get(f.b, 0), 0x07);
    board_free(f.b);
}

static void divider_reset_holds_and_restarts_after_half_a_second(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    clock_step(&f.b->clock, 700 * MS);
    set(f.b, 0x0a, 0x70);
    clock_step(&f.b->clock, 3 * S);
    assert_int_equal(get(f.b, 0), 0x06);
    set(f.b, 0x0a, 0x26);
    clock_step(&f.b->clock, S / 2 - 1);
    assert_int_equal(get(f.b, 0), 0x06);
    clock_step(&f.b->clock, 1);
    assert_int_equal(get(f.b, 0), 0x07);
    board_free(f.b);
}

static void register_c_latches_without_enables_and_read_clears(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    clock_step(&f.b->clock, S);
    assert_int_equal(get(f.b, 0x0c), 0x50); /* PF and UF, but no IRQF */
    assert_int_equal(get(f.b, 0x0c), 0);
    assert_int_equal(f.irq.rises, 0);
    clock_step(&f.b->clock, MS);
    set(f.b, 0x0b, 0x42); /* enabling a latched flag asks at once */
    assert_true(f.irq.level);
    assert_int_equal(get(f.b, 0x0c), 0xc0);
    assert_false(f.irq.level);
    board_free(f.b);
}

static void periodic_rates(void **state)
{
    (void)state;
    static const unsigned hz[16] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
                                    256, 128, 64,  32,   16,   8,    4,    2};
    for (unsigned rate = 0; rate < 16; rate++) {
        Fixture f;
        fixture(&f);
        get(f.b, 0x0c);
        set(f.b, 0x0a, (uint8_t)(0x20 | rate));
        set(f.b, 0x0b, 0x42);
        f.irq.rises = 0;
        for (unsigned i = 0; i < 20000; i++) {
            clock_step(&f.b->clock, S / 20000);
            if (f.irq.level) {
                assert_int_equal(get(f.b, 0x0c) & 0xc0, 0xc0);
            }
        }
        assert_int_equal(f.irq.rises, hz[rate]);
        board_free(f.b);
    }
}

static void unread_periodic_interrupt_stays_up_and_costs_no_timer(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    set(f.b, 0x0b, 0x42);
    clock_step(&f.b->clock, S);
    assert_true(f.irq.level);
    assert_int_equal(f.irq.rises, 1);
    assert_true(clock_next_due(&f.b->clock) == CLOCK_NEVER);
    board_free(f.b);
}

static void update_ended_interrupt(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    set(f.b, 0x0b, 0x12);
    clock_step(&f.b->clock, S - 1);
    assert_false(f.irq.level);
    clock_step(&f.b->clock, 1);
    assert_true(f.irq.level);
    assert_int_equal(get(f.b, 0x0c) & 0x90, 0x90);
    board_free(f.b);
}

static void alarm_with_and_without_wildcards(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    set(f.b, 1, 0x10);
    set(f.b, 3, 0x05);
    set(f.b, 5, 0x04);
    set(f.b, 0x0b, 0x22);
    clock_step(&f.b->clock, 4 * S - 1);
    assert_false(f.irq.level);
    clock_step(&f.b->clock, 1);
    assert_true(f.irq.level);
    assert_int_equal(get(f.b, 0x0c) & 0xa0, 0xa0);
    clock_step(&f.b->clock, 86400 * S - 1);
    assert_false(f.irq.level);
    clock_step(&f.b->clock, 1);
    assert_true(f.irq.level);
    get(f.b, 0x0c);
    set(f.b, 5, 0xff); /* every hour */
    set(f.b, 3, 0xc0); /* every minute */
    clock_step(&f.b->clock, 60 * S);
    assert_true(f.irq.level);
    get(f.b, 0x0c);
    set(f.b, 1, 0x61); /* never */
    clock_step(&f.b->clock, 90000 * S);
    assert_false(f.irq.level);
    board_free(f.b);
}

static void alarm_flag_is_seen_without_its_interrupt(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    set(f.b, 1, 0x08);
    set(f.b, 3, 0x05);
    set(f.b, 5, 0x04);
    clock_step(&f.b->clock, 3600 * S);
    assert_int_equal(get(f.b, 0x0c) & 0x20, 0x20);
    board_free(f.b);
}

static void nonsense_in_the_registers_is_survived(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    set(f.b, 0x0b, 0x82);
    for (uint8_t i = 0; i < 10; i++) {
        set(f.b, i, 0xff);
    }
    set(f.b, 0x32, 0xff);
    set(f.b, 0x0b, 0x32);
    clock_step(&f.b->clock, 400 * 86400 * S);
    assert_true(get(f.b, 8) >= 1 && get(f.b, 8) <= 0x12);
    board_free(f.b);
}

static void banks_and_nmi_mask(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    set(f.b, 0xc0, 0x5a);
    assert_true(f.mask.level);
    assert_int_equal(get(f.b, 0x40), 0x5a);
    assert_false(f.mask.level);
    chip_out(f.b, 0x72, 0x40);
    chip_out(f.b, 0x73, 0xa5);
    assert_int_equal(chip_in(f.b, 0x73), 0xa5);
    assert_int_equal(get(f.b, 0x40), 0x5a);
    assert_int_equal(rtc_cmos(f.rtc, 0xc0), 0xa5);
    set(f.b, 0x0d, 0);
    assert_int_equal(get(f.b, 0x0d), 0x80);
    assert_int_equal(chip_in(f.b, 0x70), 0xff);
    /* with NMI masked the registers read the same */
    assert_int_equal(get(f.b, 0x80), 0x06);
    clock_step(&f.b->clock, S);
    assert_int_equal(get(f.b, 0x80), 0x07);
    board_free(f.b);
}

static void memory_survives_resets(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    set(f.b, 0x0f, 0x0a);
    set(f.b, 0x0b, 0x72);
    clock_step(&f.b->clock, 2 * S);
    assert_true(f.irq.level);
    board_reset(f.b, RESET_HARD);
    assert_false(f.irq.level);
    assert_int_equal(get(f.b, 0x0b), 0x02);
    assert_int_equal(get(f.b, 0x0f), 0x0a);
    assert_int_equal(get(f.b, 0), 0x08);
    board_free(f.b);
}

static void setup_is_laid_out_as_the_firmware_reads_it(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    rtc_setup(f.rtc, &(RtcSetup){.ram_below_4g = UINT64_C(128) << 20,
                                 .ram_above_4g = UINT64_C(1) << 30,
                                 .floppy = {RTC_FLOPPY_1440K, RTC_FLOPPY_1200K},
                                 .disk = {{true, 1000, 16, 63, 1}},
                                 .boot = {RTC_BOOT_CD, RTC_BOOT_DISK, RTC_BOOT_FLOPPY},
                                 .mouse = true,
                                 .cpus = 1});
    assert_int_equal(get(f.b, 0x15) | get(f.b, 0x16) << 8, 640);
    assert_int_equal(get(f.b, 0x17) | get(f.b, 0x18) << 8, 0xffff);
    assert_int_equal(get(f.b, 0x34) | get(f.b, 0x35) << 8, 112 * 16);
    assert_int_equal(get(f.b, 0x5b) | get(f.b, 0x5c) << 8, 16384);
    assert_int_equal(get(f.b, 0x10), 0x42);
    assert_int_equal(get(f.b, 0x12), 0xf0);
    assert_int_equal(get(f.b, 0x19), 47);
    assert_int_equal(get(f.b, 0x1b) | get(f.b, 0x1c) << 8, 1000);
    assert_int_equal(get(f.b, 0x23), 63);
    assert_int_equal(get(f.b, 0x14), 0x47);
    assert_int_equal(get(f.b, 0x39), 0x01);
    assert_int_equal(get(f.b, 0x3d), 0x23);
    assert_int_equal(get(f.b, 0x38), 0x11);
    unsigned sum = 0;
    for (uint8_t i = 0x10; i < 0x2e; i++) {
        sum += get(f.b, i);
    }
    assert_int_equal(get(f.b, 0x2e) << 8 | get(f.b, 0x2f), sum & 0xffff);
    board_free(f.b);
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f, g;
    fixture(&f);
    fixture_at(&g, 0);
    set(f.b, 0x0b, 0x52);
    clock_step(&f.b->clock, 3 * S + 500 * MS);
    chip_state_round_trip(f.b, g.b);
    assert_true(g.irq.level);
    get(g.b, 0x0c);
    get(f.b, 0x0c);
    clock_step(&f.b->clock, 700 * MS);
    clock_step(&g.b->clock, 700 * MS);
    assert_true(f.irq.last_change == g.irq.last_change);
    assert_time(g.b, (uint8_t[]){0x01, 0x02, 0x03, 7, 0x04, 0x05, 0x10});
    board_free(f.b);
    board_free(g.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_at_the_base_and_counts),
        cmocka_unit_test(century_and_leap_days),
        cmocka_unit_test(dates_before_1970_and_far_off),
        cmocka_unit_test(binary_and_12_hours),
        cmocka_unit_test(set_holds_the_time_and_clears_uie),
        cmocka_unit_test(uip_rises_244_us_before_the_update_cycle),
        cmocka_unit_test(divider_reset_holds_and_restarts_after_half_a_second),
        cmocka_unit_test(register_c_latches_without_enables_and_read_clears),
        cmocka_unit_test(periodic_rates),
        cmocka_unit_test(unread_periodic_interrupt_stays_up_and_costs_no_timer),
        cmocka_unit_test(update_ended_interrupt),
        cmocka_unit_test(alarm_with_and_without_wildcards),
        cmocka_unit_test(alarm_flag_is_seen_without_its_interrupt),
        cmocka_unit_test(nonsense_in_the_registers_is_survived),
        cmocka_unit_test(banks_and_nmi_mask),
        cmocka_unit_test(memory_survives_resets),
        cmocka_unit_test(setup_is_laid_out_as_the_firmware_reads_it),
        cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
