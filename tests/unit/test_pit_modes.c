/* 8254: what the data sheet says of each mode's gate, of counts written while counting, and of
 * reads; test_pit.c has the rest. Ticks of 838 ns on a stepped clock. */
#include "chipset/pit.h"

#include "tests/unit/chip.h"

typedef struct Fixture {
    Board *b;
    Pit *pit;
} Fixture;

/* Counter 2 is the one with a gate. */
static Fixture fixture(bool gate)
{
    Fixture f = {.b = chip_board()};
    f.pit = pit_new(f.b, &(PitConfig){.base = 0x40}, "pit");
    board_reset(f.b, RESET_POWER);
    pit_gate(f.pit, 2, gate);
    return f;
}

static void ticks(const Fixture *f, uint64_t n)
{
    int64_t now = clock_now(&f->b->clock);
    clock_step(&f->b->clock, clock_ticks_to_ns(clock_ticks(now, PIT_HZ) + n, PIT_HZ) - now);
}

static void control(const Fixture *f, unsigned mode, bool bcd)
{
    chip_out(f->b, 0x43, (uint8_t)(0xb0 | mode << 1 | bcd));
}

static void count(const Fixture *f, unsigned value)
{
    chip_out(f->b, 0x42, (uint8_t)value);
    chip_out(f->b, 0x42, (uint8_t)(value >> 8));
}

static unsigned latched(const Fixture *f)
{
    chip_out(f->b, 0x43, 0x80);
    unsigned low = chip_in(f->b, 0x42);
    return low | (unsigned)chip_in(f->b, 0x42) << 8;
}

/* OUT for the next ticks, one character each. */
static void expect_wave(const Fixture *f, const char *wave)
{
    for (unsigned i = 0; wave[i]; i++) {
        if (pit_output(f->pit, 2) != (wave[i] == '1')) {
            fail_msg("tick %u of %s", i, wave);
        }
        ticks(f, 1);
    }
}

static bool null_count(const Fixture *f)
{
    chip_out(f->b, 0x43, 0xe8); /* status of counter 2 */
    return chip_in(f->b, 0x42) & 0x40;
}

static void mode_1_takes_a_new_count_at_the_next_trigger(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    control(&f, 1, false);
    count(&f, 5);
    assert_true(null_count(&f));
    pit_gate(f.pit, 2, true);
    ticks(&f, 1);
    assert_false(null_count(&f));
    count(&f, 3);
    expect_wave(&f, "0000011"); /* still five */
    pit_gate(f.pit, 2, false);
    expect_wave(&f, "11"); /* the level is nothing, the edge all */
    pit_gate(f.pit, 2, true);
    ticks(&f, 1);
    expect_wave(&f, "00011");
    board_free(f.b);
}

static void mode_3_gate_raises_out_and_starts_anew(void **state)
{
    (void)state;
    Fixture f = fixture(true);
    control(&f, 3, false);
    count(&f, 6);
    ticks(&f, 1);
    expect_wave(&f, "1110");
    pit_gate(f.pit, 2, false);
    expect_wave(&f, "11111111"); /* at once, and for as long as it is low */
    pit_gate(f.pit, 2, true);
    ticks(&f, 1);
    expect_wave(&f, "111000111000");
    board_free(f.b);
}

static void mode_3_takes_a_new_count_at_the_half_of_the_wave(void **state)
{
    (void)state;
    Fixture f = fixture(true);
    control(&f, 3, false);
    count(&f, 8);
    ticks(&f, 1);
    expect_wave(&f, "11");
    count(&f, 4);
    expect_wave(&f, "1100110011");
    board_free(f.b);
}

static void mode_4_waits_while_gate_is_low(void **state)
{
    (void)state;
    Fixture f = fixture(true);
    control(&f, 4, false);
    count(&f, 10);
    ticks(&f, 5);
    pit_gate(f.pit, 2, false);
    assert_int_equal(latched(&f), 6);
    ticks(&f, 100);
    assert_int_equal(latched(&f), 6);
    assert_true(pit_output(f.pit, 2));
    pit_gate(f.pit, 2, true);
    unsigned low = 0;
    for (unsigned i = 0; i < 20; i++) {
        ticks(&f, 1);
        low += !pit_output(f.pit, 2);
    }
    assert_int_equal(low, 1); /* one strobe, then nothing more */
    board_free(f.b);
}

static void mode_4_is_started_again_by_a_new_count(void **state)
{
    (void)state;
    Fixture f = fixture(true);
    control(&f, 4, false);
    count(&f, 4);
    ticks(&f, 3);
    count(&f, 4);
    expect_wave(&f, "11111011");
    board_free(f.b);
}

static void mode_5_strobes_after_each_trigger(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    control(&f, 5, false);
    count(&f, 4);
    ticks(&f, 50);
    assert_true(pit_output(f.pit, 2)); /* nothing without a trigger */
    pit_gate(f.pit, 2, true);
    expect_wave(&f, "11111011");
    pit_gate(f.pit, 2, false);
    pit_gate(f.pit, 2, true);
    ticks(&f, 3);
    pit_gate(f.pit, 2, false);
    pit_gate(f.pit, 2, true); /* again, before it is done: starts over */
    expect_wave(&f, "11111011");
    board_free(f.b);
}

static void one_byte_counts_and_reads(void **state)
{
    (void)state;
    Fixture f = fixture(true);
    chip_out(f.b, 0x43, 0x94); /* counter 2, low byte, mode 2 */
    chip_out(f.b, 0x42, 100);
    ticks(&f, 11);
    assert_int_equal(chip_in(f.b, 0x42), 90);
    assert_int_equal(chip_in(f.b, 0x42), 90); /* no high byte comes in between */
    chip_out(f.b, 0x43, 0xa4);                /* high byte */
    chip_out(f.b, 0x42, 2);
    ticks(&f, 1);
    assert_int_equal(chip_in(f.b, 0x42), 2);
    ticks(&f, 1);
    assert_int_equal(chip_in(f.b, 0x42), 1);
    board_free(f.b);
}

static void a_latch_holds_until_it_is_read(void **state)
{
    (void)state;
    Fixture f = fixture(true);
    control(&f, 2, false);
    count(&f, 1000);
    ticks(&f, 11);
    chip_out(f.b, 0x43, 0x80);
    ticks(&f, 100);
    chip_out(f.b, 0x43, 0x80); /* ignored: the first is not read yet */
    assert_int_equal(chip_in(f.b, 0x42), 990 & 0xff);
    ticks(&f, 100);
    assert_int_equal(chip_in(f.b, 0x42), 990 >> 8);
    assert_int_equal(latched(&f), 790);
    board_free(f.b);
}

static void decimal_zero_is_ten_thousand(void **state)
{
    (void)state;
    Fixture f = fixture(true);
    control(&f, 2, true);
    count(&f, 0);
    ticks(&f, 1 + 9999);
    assert_int_equal(latched(&f), 1);
    assert_false(pit_output(f.pit, 2));
    ticks(&f, 1);
    assert_int_equal(latched(&f), 0); /* 10000 again */
    assert_true(pit_output(f.pit, 2));
    board_free(f.b);
}

static void modes_6_and_7_are_2_and_3(void **state)
{
    (void)state;
    Fixture f = fixture(true);
    control(&f, 6, false);
    count(&f, 3);
    ticks(&f, 1);
    expect_wave(&f, "110110");
    control(&f, 7, false);
    count(&f, 4);
    ticks(&f, 1);
    expect_wave(&f, "11001100");
    board_free(f.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mode_1_takes_a_new_count_at_the_next_trigger),
        cmocka_unit_test(mode_3_gate_raises_out_and_starts_anew),
        cmocka_unit_test(mode_3_takes_a_new_count_at_the_half_of_the_wave),
        cmocka_unit_test(mode_4_waits_while_gate_is_low),
        cmocka_unit_test(mode_4_is_started_again_by_a_new_count),
        cmocka_unit_test(mode_5_strobes_after_each_trigger),
        cmocka_unit_test(one_byte_counts_and_reads),
        cmocka_unit_test(a_latch_holds_until_it_is_read),
        cmocka_unit_test(decimal_zero_is_ten_thousand),
        cmocka_unit_test(modes_6_and_7_are_2_and_3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
