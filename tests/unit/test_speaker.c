/* PC speaker with the real timer and port 61h: tones, pulse width far above the audible, bit
 * banging, rest, state. */
#include "chipset/cards/speaker.h"

#include <math.h>
#include <stdlib.h>

#include "chipset/pit.h"
#include "chipset/sysctl.h"
#include "tests/unit/chip.h"
#include "tests/unit/listen.h"

#define MS INT64_C(1000000)

typedef struct Fixture {
    Board *b;
    Pit *pit;
    Ear ear;
} Fixture;

static void gate2(void *sink, unsigned pin, bool level)
{
    pit_gate(sink, pin, level);
}

static bool out2(void *pit)
{
    return pit_output(pit, 2);
}

static bool wave2(void *pit, uint64_t tick, uint64_t *change)
{
    return pit_wave(pit, 2, tick, change);
}

static void fixture(Fixture *f)
{
    f->b = chip_board();
    f->pit = pit_new(f->b, &(PitConfig){.base = 0x40}, "pit");
    Speaker *s = speaker_new(
        f->b,
        &(SpeakerConfig){
            .audio = ear_port(&f->ear), .wave = wave2, .timer = f->pit, .timer_hz = PIT_HZ},
        "speaker");
    pit_watch(f->pit, 2, speaker_before_change, s);
    sysctl_new(
        f->b,
        &(SysctlConfig){
            .gate2 = {gate2, f->pit, 2}, .speaker = speaker_gate(s), .out2 = out2, .pit = f->pit},
        "sysctl");
    board_reset(f->b, RESET_POWER);
}

static void done(Fixture *f)
{
    board_free(f->b);
    assert_false(f->ear.open);
    ear_free(&f->ear);
}

static void tone(Board *b, unsigned count)
{
    chip_out(b, 0x43, 0xb6);
    chip_out(b, 0x42, (uint8_t)count);
    chip_out(b, 0x42, (uint8_t)(count >> 8));
    chip_out(b, 0x61, 3);
}

static void a_beep_has_its_pitch(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    tone(f.b, 1193); /* 1000.15 Hz */
    clock_step(&f.b->clock, 1000 * MS);
    assert_int_equal(f.ear.hz, 96000);
    assert_in_range(f.ear.frames, 95000, 96000);
    assert_int_equal(f.ear.breaks, 0);
    /* a square wave of 12000 peak to peak: the fundamental is 4/pi of half of that */
    double level = ear_tone(&f.ear, 0, 1000.15, 48000, 40000);
    assert_true(fabs(level - 6000 * 4 / M_PI) < 100);
    assert_true(ear_tone(&f.ear, 0, 2000.3, 48000, 40000) < 20); /* odd harmonics only */
    assert_true(fabs(ear_tone(&f.ear, 1, 3000.45, 48000, 40000) - level / 3) < 60);
    done(&f);
}

static void a_new_count_changes_the_pitch_without_a_break(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    tone(f.b, 1193);
    clock_step(&f.b->clock, 500 * MS);
    size_t at = f.ear.frames;
    chip_out(f.b, 0x42, 0x55);
    chip_out(f.b, 0x42, 0x02); /* 597: 1998.6 Hz */
    clock_step(&f.b->clock, 500 * MS);
    assert_int_equal(f.ear.breaks, 0);
    assert_true(ear_tone(&f.ear, 0, 1998.6, at + 4800, 38400) > 7000);
    assert_true(ear_tone(&f.ear, 0, 1000.15, at + 4800, 38400) < 50);
    done(&f);
}

/* As RealSound does it: one-shots of variable length, 16 kHz apart, draw a 500 Hz sine. */
static void pulse_width_is_heard_as_level(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x61, 3);
    chip_out(f.b, 0x43, 0x90); /* counter 2, low byte only, mode 0 */
    int64_t begin = clock_now(&f.b->clock);
    for (unsigned i = 0; i < 16000; i++) {
        unsigned width = (unsigned)lrint(37 + 30 * sin(2 * M_PI * 500 * i / 16000));
        chip_out(f.b, 0x42, (uint8_t)width);
        int64_t next = begin + (int64_t)(i + 1) * 62500;
        clock_step(&f.b->clock, next - clock_now(&f.b->clock));
    }
    assert_int_equal(f.ear.breaks, 0);
    /* OUT is low for width + 1 of 74.6 ticks */
    double level = ear_tone(&f.ear, 0, 500, 24000, 48000);
    assert_true(fabs(level - 12000 * 30 / 74.574) < 100);
    /* pulses that grow on one side only draw a little of the octave themselves */
    assert_true(ear_tone(&f.ear, 0, 1000, 24000, 48000) < level / 15);
    assert_true(ear_tone(&f.ear, 0, 750, 24000, 48000) < level / 50);
    done(&f);
}

static void bit_1_alone_moves_the_cone(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f); /* the timer rests with OUT high */
    for (unsigned i = 0; i < 2000; i++) {
        chip_out(f.b, 0x61, i & 1 ? 0 : 2);
        clock_step(&f.b->clock, 400000); /* 1250 Hz */
    }
    assert_true(ear_tone(&f.ear, 0, 1250, 19200, 48000) > 7000);
    done(&f);
}

static void what_nobody_hears_costs_nothing(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    clock_step(&f.b->clock, 100 * MS);
    assert_int_equal(f.ear.frames, 0);
    tone(f.b, 1193);
    clock_step(&f.b->clock, 100 * MS);
    chip_out(f.b, 0x61, 0);
    clock_step(&f.b->clock, 5000 * MS);
    size_t heard = f.ear.frames;
    assert_true(heard < 96000 * 3);
    assert_int_equal(clock_next_due(&f.b->clock), CLOCK_NEVER);
    clock_step(&f.b->clock, 5000 * MS);
    assert_int_equal(f.ear.frames, heard);
    /* a tone that no ear reaches ends the watch as well, and does not fold back */
    tone(f.b, 12);
    clock_step(&f.b->clock, 500 * MS);
    for (unsigned hz = 100; hz < 20000; hz += 100) {
        assert_true(ear_tone(&f.ear, 0, hz, f.ear.frames - 24000, 24000) < 12);
    }
    tone(f.b, 2);
    clock_step(&f.b->clock, 5000 * MS);
    assert_int_equal(clock_next_due(&f.b->clock), CLOCK_NEVER);
    ear_clear(&f.ear);
    tone(f.b, 1193);
    clock_step(&f.b->clock, 500 * MS);
    assert_true(ear_tone(&f.ear, 0, 1000.15, 9600, 24000) > 7000);
    done(&f);
}

static void state_goes_on_in_the_middle_of_a_tone(void **state)
{
    (void)state;
    Fixture f, other;
    fixture(&f);
    fixture(&other);
    tone(f.b, 1000);
    clock_step(&f.b->clock, 123456789);
    chip_out(f.b, 0x42, 0x34); /* half a count */
    chip_state_round_trip(f.b, other.b);
    ear_clear(&f.ear);
    ear_clear(&other.ear);
    for (unsigned i = 0; i < 200; i++) {
        clock_step(&f.b->clock, 777777);
        clock_step(&other.b->clock, 777777);
        if (i == 20) {
            chip_out(f.b, 0x42, 2);
            chip_out(other.b, 0x42, 2);
        }
    }
    assert_true(f.ear.frames > 10000);
    assert_int_equal(f.ear.frames, other.ear.frames);
    assert_memory_equal(f.ear.pairs, other.ear.pairs, f.ear.frames * 4);
    done(&other);
    done(&f);
}

static void random_traffic_breaks_nothing(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    srand(4711);
    for (unsigned i = 0; i < 20000; i++) {
        static const uint16_t ports[] = {0x42, 0x43, 0x61, 0x40};
        uint16_t port = ports[rand() & 3];
        if (rand() & 1) {
            chip_out(f.b, port, (uint8_t)rand());
        } else {
            chip_in(f.b, port);
        }
        clock_step(&f.b->clock, rand() % 50000);
    }
    assert_true(f.ear.frames > 1000);
    assert_int_equal(f.ear.hz, 96000);
    done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_beep_has_its_pitch),
        cmocka_unit_test(a_new_count_changes_the_pitch_without_a_break),
        cmocka_unit_test(pulse_width_is_heard_as_level),
        cmocka_unit_test(bit_1_alone_moves_the_cone),
        cmocka_unit_test(what_nobody_hears_costs_nothing),
        cmocka_unit_test(state_goes_on_in_the_middle_of_a_tone),
        cmocka_unit_test(random_traffic_breaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
