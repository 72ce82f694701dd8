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

/* Data sheet, Mode 0: with the count loaded while GATE is low, OUT rises N clocks after GATE. */
static void mode_0_counts_from_the_moment_gate_rises(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    control(&f, 0, false);
    count(&f, 4);
    ticks(&f, 100);
    assert_int_equal(latched(&f), 4);
    assert_false(null_count(&f)); /* loaded all the same */
    pit_gate(f.pit, 2, true);
    expect_wave(&f, "000011");
    board_free(f.b);
    f = fixture(false);
    control(&f, 0, false);
    count(&f, 4);
    pit_gate(f.pit, 2, true); /* before the clock that loads */
    expect_wave(&f, "0000011");
    board_free(f.b);
}

static void a_pause_costs_as_many_clocks_as_gate_is_low(void **state)
{
    static const unsigned modes[] = {0, 4};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        Fixture f = fixture(true);
        control(&f, modes[i], false);
        count(&f, 1000);
        for (unsigned n = 0; n < 10; n++) {
            ticks(&f, 11);
            pit_gate(f.pit, 2, false);
            ticks(&f, 7);
            pit_gate(f.pit, 2, true);
        }
        ticks(&f, 1); /* the first one loaded the count */
        assert_int_equal(latched(&f), 1000 - 110);
        board_free(f.b);
    }
}

/* Behind its end the count goes on from FFFFh, and GATE has no effect on OUT. */
static void gate_after_the_end(void **state)
{
    static const unsigned modes[] = {0, 4};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        Fixture f = fixture(true);
        control(&f, modes[i], false);
        count(&f, 10);
        ticks(&f, 1 + 10 + 5);
        assert_int_equal(latched(&f), 0xfffb);
        pit_gate(f.pit, 2, false);
        expect_wave(&f, "1111");
        assert_int_equal(latched(&f), 0xfffb);
        pit_gate(f.pit, 2, true);
        expect_wave(&f, "1111");
        assert_int_equal(latched(&f), 0xfff7);
        board_free(f.b);
    }
}

static void low_gate_freezes_the_count_of_modes_2_and_3(void **state)
{
    static const unsigned modes[] = {2, 3}, frozen[] = {93, 86};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        Fixture f = fixture(true);
        control(&f, modes[i], false);
        count(&f, 100);
        ticks(&f, 1 + 7);
        pit_gate(f.pit, 2, false);
        ticks(&f, 1000);
        assert_int_equal(latched(&f), frozen[i]);
        count(&f, 50); /* is taken when GATE starts it anew */
        assert_true(null_count(&f));
        assert_int_equal(latched(&f), frozen[i]);
        pit_gate(f.pit, 2, true);
        ticks(&f, 1);
        assert_false(null_count(&f));
        assert_int_equal(latched(&f), 50);
        board_free(f.b);
    }
}

static void out_after_the_control_word(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 6; mode++) {
        Fixture f = fixture(true);
        control(&f, mode, false);
        ticks(&f, 100);
        assert_int_equal(pit_output(f.pit, 2), mode != 0);
        assert_true(null_count(&f)); /* nothing was written yet */
        chip_out(f.b, 0x42, 7);
        assert_true(null_count(&f)); /* nor is half a count one */
        ticks(&f, 100);
        assert_int_equal(pit_output(f.pit, 2), mode != 0);
        chip_out(f.b, 0x42, 0);
        assert_true(null_count(&f)); /* until the next clock, or trigger */
        ticks(&f, 1);
        assert_int_equal(null_count(&f), mode == 1 || mode == 5);
        board_free(f.b);
    }
}

static void the_smallest_counts(void **state)
{
    static const struct {
        unsigned mode, count;
        const char *wave;
    } all[] = {
        {0, 1, "0011"},   {1, 1, "1011"},    {2, 2, "11010101"}, {3, 2, "1101010"},
        {3, 3, "111011"}, {4, 1, "1101111"}, {5, 1, "1101111"},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        bool trigger = all[i].mode == 1 || all[i].mode == 5;
        Fixture f = fixture(!trigger);
        control(&f, all[i].mode, false);
        count(&f, all[i].count);
        if (trigger) {
            ticks(&f, 5);
            pit_gate(f.pit, 2, true);
        }
        expect_wave(&f, all[i].wave);
        board_free(f.b);
    }
}

static void decimal_counts_in_every_mode(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 6; mode++) {
        bool trigger = mode == 1 || mode == 5;
        Fixture f = fixture(!trigger);
        control(&f, mode, true);
        count(&f, 0x1000);
        if (trigger) {
            pit_gate(f.pit, 2, true);
        }
        ticks(&f, 1 + 1);
        assert_int_equal(latched(&f), mode == 3 ? 0x998 : 0x999);
        ticks(&f, 398);
        assert_int_equal(latched(&f), mode == 3 ? 0x202 : 0x601);
        board_free(f.b);
    }
}

static void status_tells_what_was_programmed(void **state)
{
    (void)state;
    for (unsigned word = 0x90; word < 0xc0; word++) {
        Fixture f = fixture(true);
        unsigned mode = word >> 1 & 7;
        chip_out(f.b, 0x43, (uint8_t)word);
        chip_out(f.b, 0x43, 0xe8);
        chip_out(f.b, 0x43, (uint8_t)(word ^ 1)); /* which clears the latch */
        chip_out(f.b, 0x43, (uint8_t)word);
        chip_out(f.b, 0x43, 0xe8);
        unsigned status = chip_in(f.b, 0x42);
        assert_int_equal(status & 0x31, word & 0x31);
        assert_int_equal(status >> 1 & 7, mode > 5 ? mode - 4 : mode);
        board_free(f.b);
    }
}

static void latches_of_status_and_count_are_read_in_turn(void **state)
{
    (void)state;
    Fixture f = fixture(true);
    control(&f, 2, false);
    count(&f, 1000);
    ticks(&f, 1 + 10);
    chip_out(f.b, 0x43, 0xc8); /* both */
    ticks(&f, 100);
    chip_out(f.b, 0x43, 0xc8); /* ignored: neither is read yet */
    assert_int_equal(chip_in(f.b, 0x42), 0xb4);
    assert_int_equal(chip_in(f.b, 0x42), 990 & 0xff);
    chip_out(f.b, 0x43, 0xe8); /* a status between the two bytes of a count */
    assert_int_equal(chip_in(f.b, 0x42), 0xb4);
    assert_int_equal(chip_in(f.b, 0x42), 990 >> 8);
    assert_int_equal(latched(&f), 890);
    chip_out(f.b, 0x43, 0xf8); /* neither: nothing is latched */
    assert_int_equal(chip_in(f.b, 0x42), 890 & 0xff);
    board_free(f.b);
}

static void the_first_byte_stops_mode_0_alone(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 5; mode++) {
        if (mode == 1) {
            continue;
        }
        Fixture f = fixture(true);
        control(&f, mode, false);
        count(&f, 1000);
        ticks(&f, 1 + 10);
        chip_out(f.b, 0x42, 0x10);
        ticks(&f, 20);
        assert_int_equal(latched(&f), mode == 0 ? 990 : mode == 3 ? 940 : 970);
        board_free(f.b);
    }
    Fixture f = fixture(true);
    control(&f, 0, true);
    count(&f, 0x1000);
    ticks(&f, 1 + 10);
    chip_out(f.b, 0x42, 0x10);
    assert_int_equal(latched(&f), 0x990); /* in decimal too */
    board_free(f.b);
}

/* A pause, and a trigger that waits for its clock, go on in another machine. */
static void a_pause_is_saved(void **state)
{
    static const unsigned modes[] = {0, 2, 4};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        Fixture f = fixture(true), g = fixture(false);
        control(&f, modes[i], false);
        count(&f, 100);
        ticks(&f, 1 + 30);
        pit_gate(f.pit, 2, false);
        ticks(&f, 500);
        chip_state_round_trip(f.b, g.b);
        assert_int_equal(latched(&g), 70);
        pit_gate(g.pit, 2, true);
        ticks(&g, 10);
        assert_int_equal(latched(&g), modes[i] == 2 ? 91 : 60);
        board_free(f.b);
        board_free(g.b);
    }
    Fixture f = fixture(false), g = fixture(true);
    control(&f, 1, false);
    count(&f, 3);
    pit_gate(f.pit, 2, true);
    chip_state_round_trip(f.b, g.b);
    expect_wave(&g, "100011");
    board_free(f.b);
    board_free(g.b);
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
        cmocka_unit_test(mode_0_counts_from_the_moment_gate_rises),
        cmocka_unit_test(a_pause_costs_as_many_clocks_as_gate_is_low),
        cmocka_unit_test(gate_after_the_end),
        cmocka_unit_test(low_gate_freezes_the_count_of_modes_2_and_3),
        cmocka_unit_test(out_after_the_control_word),
        cmocka_unit_test(the_smallest_counts),
        cmocka_unit_test(decimal_counts_in_every_mode),
        cmocka_unit_test(status_tells_what_was_programmed),
        cmocka_unit_test(latches_of_status_and_count_are_read_in_turn),
        cmocka_unit_test(the_first_byte_stops_mode_0_alone),
        cmocka_unit_test(a_pause_is_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
