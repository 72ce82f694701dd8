/* 8254: every mode, read-back, gate, reload while counting, state. Ticks of 838 ns on a stepped
 * clock. */
#include "chipset/pit.h"

#include "tests/unit/chip.h"

typedef struct Fixture {
    Board *b;
    Pit *pit;
} Fixture;

static Fixture fixture(void)
{
    Fixture f = {.b = chip_board()};
    f.pit = pit_new(f.b, &(PitConfig){.base = 0x40}, "pit");
    board_reset(f.b, RESET_POWER);
    return f;
}

/* Steps to the first moment at which `ticks` more ticks have passed. */
static void step_ticks(Board *b, uint64_t ticks)
{
    int64_t now = clock_now(&b->clock);
    clock_step(&b->clock, clock_ticks_to_ns(clock_ticks(now, PIT_HZ) + ticks, PIT_HZ) - now);
}

static unsigned read_word(Board *b, unsigned counter)
{
    chip_out(b, 0x43, (uint8_t)(counter << 6)); /* latch */
    unsigned low = chip_in(b, (uint16_t)(0x40 + counter));
    return low | (unsigned)chip_in(b, (uint16_t)(0x40 + counter)) << 8;
}

static void write_word(Board *b, unsigned counter, unsigned value)
{
    chip_out(b, (uint16_t)(0x40 + counter), (uint8_t)value);
    chip_out(b, (uint16_t)(0x40 + counter), (uint8_t)(value >> 8));
}

static void rate_generator_pulses_once_a_period(void **state)
{
    (void)state;
    Fixture f = fixture();
    chip_out(f.b, 0x43, 0x34); /* counter 0, word, mode 2 */
    write_word(f.b, 0, 100);
    step_ticks(f.b, 99);
    assert_true(pit_output(f.pit, 0));
    step_ticks(f.b, 1);
    assert_false(pit_output(f.pit, 0));
    step_ticks(f.b, 1);
    assert_true(pit_output(f.pit, 0));
    assert_int_equal(read_word(f.b, 0), 100);
    board_free(f.b);
}

/* A request line's fall alone wakes no sleeping processor. */
static void sleep_lasts_from_rise_to_rise(void **state)
{
    (void)state;
    static const struct {
        uint8_t control;
        unsigned count;
    } modes[] = {{0x34, 100}, {0x36, 100}, {0x36, 101}, {0x34, 2}};
    for (unsigned i = 0; i < 4; i++) {
        Board *b = chip_board();
        Probe out;
        Pit *pit = pit_new(b, &(PitConfig){.base = 0x40, .out = {chip_probe(b, &out)}}, "pit");
        board_reset(b, RESET_POWER);
        chip_out(b, 0x43, modes[i].control);
        write_word(b, 0, modes[i].count);
        unsigned before = out.rises;
        for (unsigned k = 1; k < 20; k++) {
            int64_t wake = clock_next_wake(&b->clock, 0);
            assert_int_equal(clock_ticks(wake, PIT_HZ), 1 + k * modes[i].count);
            clock_skip_to(&b->clock, wake);
            clock_fire_due(&b->clock);
            assert_true(pit_output(pit, 0));
            assert_int_equal(out.rises, before + k);
        }
        board_free(b);
    }
}

static void reload_zero_means_65536(void **state)
{
    (void)state;
    Fixture f = fixture();
    chip_out(f.b, 0x43, 0x30); /* mode 0 */
    write_word(f.b, 0, 0);
    step_ticks(f.b, 65536);
    assert_false(pit_output(f.pit, 0));
    step_ticks(f.b, 1);
    assert_true(pit_output(f.pit, 0));
    board_free(f.b);
}

static void square_wave_has_the_longer_half_high_when_odd(void **state)
{
    (void)state;
    Fixture f = fixture();
    chip_out(f.b, 0x43, 0x36);
    write_word(f.b, 0, 5);
    step_ticks(f.b, 1);
    static const bool expected[10] = {1, 1, 1, 0, 0, 1, 1, 1, 0, 0};
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(pit_output(f.pit, 0), expected[i]);
        step_ticks(f.b, 1);
    }
    board_free(f.b);
}

static void mode_0_first_byte_stops_and_lowers_out(void **state)
{
    (void)state;
    Fixture f = fixture();
    chip_out(f.b, 0x43, 0x30);
    write_word(f.b, 0, 10);
    step_ticks(f.b, 20);
    assert_true(pit_output(f.pit, 0));
    chip_out(f.b, 0x40, 50);
    assert_false(pit_output(f.pit, 0));
    unsigned stopped = read_word(f.b, 0);
    step_ticks(f.b, 7);
    assert_int_equal(read_word(f.b, 0), stopped);
    chip_out(f.b, 0x40, 0);
    step_ticks(f.b, 50);
    assert_false(pit_output(f.pit, 0));
    step_ticks(f.b, 1);
    assert_true(pit_output(f.pit, 0));
    board_free(f.b);
}

static void mode_0_most_significant_byte_alone_lowers_out(void **state)
{
    (void)state;
    Fixture f = fixture();
    chip_out(f.b, 0x43, 0x20); /* counter 0, MSB only, mode 0 */
    assert_false(pit_output(f.pit, 0));
    chip_out(f.b, 0x40, 1);
    step_ticks(f.b, 257);
    assert_true(pit_output(f.pit, 0));
    chip_out(f.b, 0x40, 1);
    assert_false(pit_output(f.pit, 0));
    board_free(f.b);
}

static void one_shot_needs_and_repeats_on_triggers(void **state)
{
    (void)state;
    Fixture f = fixture();
    pit_gate(f.pit, 2, false);
    chip_out(f.b, 0x43, 0xb2); /* counter 2, mode 1 */
    write_word(f.b, 2, 10);
    step_ticks(f.b, 100);
    assert_true(pit_output(f.pit, 2));
    pit_gate(f.pit, 2, true);
    step_ticks(f.b, 1);
    assert_false(pit_output(f.pit, 2));
    step_ticks(f.b, 5);
    pit_gate(f.pit, 2, false);
    pit_gate(f.pit, 2, true); /* retrigger: ten more */
    step_ticks(f.b, 10);
    assert_false(pit_output(f.pit, 2));
    step_ticks(f.b, 1);
    assert_true(pit_output(f.pit, 2));
    board_free(f.b);
}

static void gate_freezes_mode_0_and_restarts_mode_2(void **state)
{
    (void)state;
    Fixture f = fixture();
    pit_gate(f.pit, 2, true);
    chip_out(f.b, 0x43, 0xb0);
    write_word(f.b, 2, 100);
    step_ticks(f.b, 41);
    pit_gate(f.pit, 2, false);
    assert_int_equal(read_word(f.b, 2), 60);
    step_ticks(f.b, 1000);
    assert_int_equal(read_word(f.b, 2), 60);
    pit_gate(f.pit, 2, true);
    step_ticks(f.b, 10); /* no clock is lost */
    assert_int_equal(read_word(f.b, 2), 50);

    chip_out(f.b, 0x43, 0xb4);
    write_word(f.b, 2, 100);
    step_ticks(f.b, 41);
    pit_gate(f.pit, 2, false);
    assert_true(pit_output(f.pit, 2));
    pit_gate(f.pit, 2, true);
    step_ticks(f.b, 1);
    assert_int_equal(read_word(f.b, 2), 100);
    board_free(f.b);
}

static void strobe_is_low_for_one_tick(void **state)
{
    (void)state;
    Fixture f = fixture();
    chip_out(f.b, 0x43, 0x38); /* counter 0, mode 4 */
    write_word(f.b, 0, 10);
    step_ticks(f.b, 10);
    assert_true(pit_output(f.pit, 0));
    step_ticks(f.b, 1);
    assert_false(pit_output(f.pit, 0));
    step_ticks(f.b, 1);
    assert_true(pit_output(f.pit, 0));
    board_free(f.b);
}

static void new_count_in_mode_2_waits_for_the_period(void **state)
{
    (void)state;
    Fixture f = fixture();
    chip_out(f.b, 0x43, 0x34);
    write_word(f.b, 0, 100);
    step_ticks(f.b, 31);
    write_word(f.b, 0, 10);
    step_ticks(f.b, 9);
    assert_int_equal(read_word(f.b, 0), 61);
    step_ticks(f.b, 62);
    assert_int_equal(read_word(f.b, 0), 9);
    board_free(f.b);
}

static void read_back_latches_count_and_status_of_several(void **state)
{
    (void)state;
    Fixture f = fixture();
    chip_out(f.b, 0x43, 0x34);
    write_word(f.b, 0, 1000);
    chip_out(f.b, 0x43,
             0xc2 |
                 0x20); /* status only, counter 0: the count is not loaded before the next tick */
    assert_int_equal(chip_in(f.b, 0x40), 0x80 | 0x40 | 0x34);
    step_ticks(f.b, 11);
    chip_out(f.b, 0x43, 0xc2); /* both: status is read first */
    step_ticks(f.b, 100);
    assert_int_equal(chip_in(f.b, 0x40), 0x80 | 0x34);
    unsigned low = chip_in(f.b, 0x40);
    assert_int_equal(low | (unsigned)chip_in(f.b, 0x40) << 8, 990);
    assert_int_equal(read_word(f.b, 0), 890);
    board_free(f.b);
}

static void bcd_counts_in_decimal(void **state)
{
    (void)state;
    Fixture f = fixture();
    chip_out(f.b, 0x43, 0x31); /* mode 0, BCD */
    write_word(f.b, 0, 0x1000);
    step_ticks(f.b, 2);
    assert_int_equal(read_word(f.b, 0), 0x0999);
    board_free(f.b);
}

static void interrupt_rate_is_exact_over_a_minute(void **state)
{
    (void)state;
    Probe irq;
    Board *b = chip_board();
    PitConfig config = {.base = 0x40, .out = {chip_probe(b, &irq)}};
    pit_new(b, &config, "pit");
    board_reset(b, RESET_POWER);
    chip_out(b, 0x43, 0x34);
    write_word(b, 0, 11932);
    clock_step(&b->clock, 60 * CLOCK_NS_PER_S);
    assert_in_range(irq.falls, 5999, 6000); /* 100 Hz to 17 ppm */
    board_free(b);
}

static void state_goes_on_in_another_machine(void **state)
{
    (void)state;
    Fixture f = fixture();
    Probe irq;
    Board *other = chip_board();
    PitConfig config = {.base = 0x40, .out = {chip_probe(other, &irq)}};
    pit_new(other, &config, "pit");
    board_reset(other, RESET_POWER);
    chip_out(f.b, 0x43, 0x36);
    write_word(f.b, 0, 1193);
    step_ticks(f.b, 12345);
    write_word(f.b, 0, 500);
    chip_out(f.b, 0x40, 0x34); /* half a word */
    chip_state_round_trip(f.b, other);
    for (unsigned i = 0; i < 100; i++) {
        clock_step(&f.b->clock, 100000);
        clock_step(&other->clock, 100000);
        assert_int_equal(read_word(f.b, 0), read_word(other, 0));
    }
    board_free(other);
    board_free(f.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rate_generator_pulses_once_a_period),
        cmocka_unit_test(sleep_lasts_from_rise_to_rise),
        cmocka_unit_test(reload_zero_means_65536),
        cmocka_unit_test(square_wave_has_the_longer_half_high_when_odd),
        cmocka_unit_test(mode_0_first_byte_stops_and_lowers_out),
        cmocka_unit_test(mode_0_most_significant_byte_alone_lowers_out),
        cmocka_unit_test(one_shot_needs_and_repeats_on_triggers),
        cmocka_unit_test(gate_freezes_mode_0_and_restarts_mode_2),
        cmocka_unit_test(strobe_is_low_for_one_tick),
        cmocka_unit_test(new_count_in_mode_2_waits_for_the_period),
        cmocka_unit_test(read_back_latches_count_and_status_of_several),
        cmocka_unit_test(bcd_counts_in_decimal),
        cmocka_unit_test(interrupt_rate_is_exact_over_a_minute),
        cmocka_unit_test(state_goes_on_in_another_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
