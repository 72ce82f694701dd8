/* FM synthesizer against the published behaviour of its registers: ROM values, pitch, envelopes,
 * scaling, vibrato and tremolo, wave forms, connections, rhythm, timers, ports. */
#include "chipset/cards/opl3.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/chip.h"
#include "tests/unit/listen.h"

#define MS INT64_C(1000000)
#define DECIBEL_STEP 0.1875

typedef struct Fixture {
    Board *b;
    Opl3 *opl;
    Ear ear;
} Fixture;

static void fixture(Fixture *f, bool opl2)
{
    f->b = chip_board();
    f->opl = opl3_new(
        f->b,
        &(Opl3Config){
            .audio = ear_port(&f->ear), .base = 0x388, .blaster_base = 0x220, .opl2 = opl2},
        "opl3");
    board_reset(f->b, RESET_POWER);
}

static void done(Fixture *f)
{
    board_free(f->b);
    assert_false(f->ear.open);
    ear_free(&f->ear);
}

static void put(Fixture *f, unsigned reg, uint8_t value)
{
    uint16_t port = reg & 0x100 ? 0x38a : 0x388;
    chip_out(f->b, port, (uint8_t)reg);
    chip_out(f->b, port + 1, value);
}

static void run_samples(Fixture *f, unsigned samples)
{
    int64_t now = clock_now(&f->b->clock);
    int64_t then = clock_ticks_to_ns(clock_ticks(now, OPL3_HZ) + samples, OPL3_HZ);
    clock_step(&f->b->clock, then - now);
    (void)chip_in(f->b, 0x389);
    opl3_volume(f->opl, OPL3_UNITY, OPL3_UNITY); /* brings out what is made */
}

/* Channel 0 with a silent modulator: carrier alone, at once loud, held. */
static void plain_voice(Fixture *f)
{
    put(f, 0x40, 0x3f);
    put(f, 0x20, 0x20);
    put(f, 0xe0, 0x01); /* a silent sine is -1 for half its time, this one is not */
    put(f, 0x23, 0x21);
    put(f, 0x43, 0x00);
    put(f, 0x63, 0xf0);
    put(f, 0x83, 0x0f);
    put(f, 0xc0, 0x01 | 0x30);
}

static void note(Fixture *f, unsigned number, unsigned block)
{
    put(f, 0xa0, (uint8_t)number);
    put(f, 0xb0, (uint8_t)(0x20 | block << 2 | number >> 8));
}

static double decibels(double a, double b)
{
    return 20 * log10(a / b);
}

/* One step of the sine table a sample: the output is the two ROMs. */
static void a_sine_is_the_roms_contents(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, false);
    plain_voice(&f);
    note(&f, 512, 1);
    run_samples(&f, 2300);
    int16_t *p = f.ear.pairs;
    size_t at = 0;
    while (at < 1100 && !(p[at * 2] == 12 && p[at * 2 + 2] == 37)) {
        at++;
    }
    assert_true(at < 1100);
    p += at * 2;
    /* log-sine 859h 6C3h 607h 58Bh 52Eh 4E4h through the exponent ROM (7FAh, 7F5h, 7EFh ...) */
    static const int16_t first[] = {12, 37, 62, 87, 112, 137};
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(p[i * 2], first[i]);
    }
    assert_int_equal(p[255 * 2], 4084);
    assert_int_equal(p[256 * 2], 4084);
    for (unsigned i = 0; i < 512; i++) {
        assert_int_equal(p[i * 2], p[(511 - i) * 2]);  /* mirrored quarters */
        assert_int_equal(p[(512 + i) * 2], ~p[i * 2]); /* ones' complement */
        assert_true(fabs(p[i * 2] - 4084 * sin((i + 0.5) * M_PI / 512)) < 14);
        assert_int_equal(p[i * 2], p[i * 2 + 1]);
    }
    done(&f);
}

static void pitch_follows_number_block_and_multiple(void **state)
{
    (void)state;
    static const uint8_t factor[16] = {1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 20, 24, 24, 30, 30};
    for (unsigned multiple = 0; multiple < 16; multiple++) {
        Fixture f;
        fixture(&f, false);
        plain_voice(&f);
        put(&f, 0x23, (uint8_t)(0x20 | multiple));
        note(&f, 0x244, 3);
        run_samples(&f, 30000);
        double hz = 0x244 * (1 << 3) / 1048576.0 * OPL3_HZ * factor[multiple] / 2;
        assert_true(ear_tone(&f.ear, 0, hz, 2000, 24000) > 4000);
        assert_int_equal(f.ear.breaks, 0);
        done(&f);
    }
}

static void total_level_and_key_scaling_attenuate(void **state)
{
    (void)state;
    double loud = 0;
    static const struct {
        uint8_t level;
        unsigned number, block;
        double decibels;
    } cases[] = {
        {0x00, 0x244, 4, 0},
        {0x01, 0x244, 4, 0.75},
        {0x20, 0x244, 4, 24},
        {0x3f, 0x244, 4, 47.25},
    };
    for (unsigned i = 0; i < 4; i++) {
        Fixture f;
        fixture(&f, false);
        plain_voice(&f);
        put(&f, 0x43, cases[i].level);
        note(&f, cases[i].number, cases[i].block);
        run_samples(&f, 20000);
        double level = ear_rms(&f.ear, 0, 2000, 16000);
        loud = i ? loud : level;
        assert_true(fabs(decibels(loud, level) - cases[i].decibels) < 0.2);
        done(&f);
    }
    /* key scaling in dB: 3, 1.5, 6 an octave below the top one, 0 for the lowest notes */
    static const double scaling[4] = {0, 3, 1.5, 6};
    for (unsigned kind = 0; kind < 4; kind++) {
        double level[2];
        for (unsigned high = 0; high < 2; high++) {
            Fixture f;
            fixture(&f, false);
            plain_voice(&f);
            put(&f, 0x43, (uint8_t)(kind << 6));
            note(&f, 0x3ff, 4 + high);
            run_samples(&f, 20000);
            level[high] = ear_rms(&f.ear, 0, 2000, 16000);
            done(&f);
        }
        assert_true(fabs(decibels(level[0], level[1]) - scaling[kind]) < 0.25);
    }
}

/* Attenuation of the tone's peak around a sample, in envelope steps. */
static double attenuation_at(const Fixture *f, size_t at)
{
    return decibels(4084 * M_SQRT1_2, ear_rms(&f->ear, 0, at - 100, 200)) / DECIBEL_STEP;
}

static void decay_takes_its_published_time(void **state)
{
    (void)state;
    /* the rate in quarters; a step of the envelope takes so many samples */
    static const struct {
        uint8_t rate, block, scale;
        double samples;
    } cases[] = {
        {7, 0, 0, 64}, {8, 0, 0, 32}, {9, 0, 0, 16},
        {10, 0, 0, 8}, {11, 0, 0, 4}, {8, 4, 0, 32 / 1.5}, /* block 4: two quarters more */
        {8, 4, 1, 8},                                      /* KSR: eight quarters more */
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Fixture f;
        fixture(&f, false);
        plain_voice(&f);
        put(&f, 0x63, (uint8_t)(0xf0 | cases[i].rate));
        put(&f, 0x83, 0xff);
        /* high enough to measure by 200 samples; F-number bit 9 clear */
        put(&f, 0x23, (uint8_t)(0x20 | cases[i].scale << 4 | (cases[i].block ? 4 : 15)));
        note(&f, 0x1ff, cases[i].block);
        run_samples(&f, 20000);
        double steps = 160;
        size_t a = 400, b = a + (size_t)(steps * cases[i].samples);
        if (b < 19000) {
            double fell = attenuation_at(&f, b) - attenuation_at(&f, a);
            assert_true(fabs(fell - steps) < steps * 0.06 + 4);
        }
        done(&f);
    }
}

static void attack_rises_and_sustain_holds_and_release_ends(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, false);
    plain_voice(&f);
    put(&f, 0x63, 0x7b); /* slow attack */
    put(&f, 0x83, 0x48); /* sustain at 12 dB */
    note(&f, 0x244, 4);
    run_samples(&f, 40000);
    double early = ear_rms(&f.ear, 0, 200, 400), later = ear_rms(&f.ear, 0, 1500, 400);
    assert_true(early < later);
    double held = ear_rms(&f.ear, 0, 30000, 8000);
    assert_true(fabs(decibels(4084 * M_SQRT1_2, held) - 12) < 0.3);
    put(&f, 0xb0, 0x12); /* key off */
    size_t off = f.ear.frames;
    run_samples(&f, 60000);
    assert_true(ear_rms(&f.ear, 0, off + 4000, 1000) < held / 4);
    /* then nothing is made any more */
    size_t frames = f.ear.frames;
    assert_true(frames < off + 40000);
    assert_int_equal(clock_next_due(&f.b->clock), CLOCK_NEVER);
    /* percussive: EGT 0 goes on into release while the key is held */
    put(&f, 0x23, 0x01);
    put(&f, 0x63, 0xff);
    note(&f, 0x244, 4);
    ear_clear(&f.ear);
    run_samples(&f, 40000);
    assert_true(ear_rms(&f.ear, 0, f.ear.frames - 2000, 1000) < 20);
    done(&f);
}

static void vibrato_and_tremolo_have_their_depths(void **state)
{
    (void)state;
    for (unsigned deep = 0; deep < 2; deep++) {
        Fixture f;
        fixture(&f, false);
        plain_voice(&f);
        put(&f, 0x23, 0xa1); /* tremolo */
        put(&f, 0xbd, deep ? 0x80 : 0);
        note(&f, 0x244, 5);
        run_samples(&f, OPL3_HZ);
        double low = 1e9, high = 0;
        for (size_t at = 1000; at + 400 < f.ear.frames; at += 200) {
            double level = ear_rms(&f.ear, 0, at, 200);
            low = level < low ? level : low;
            high = level > high ? level : high;
        }
        /* 26 or 6 steps of 0.1875 dB: 4.8 and 1 dB in the manual */
        assert_true(fabs(decibels(high, low) - (deep ? 26 : 6) * DECIBEL_STEP) < 0.3);
        done(&f);

        fixture(&f, false);
        plain_voice(&f);
        put(&f, 0x23, 0x61); /* vibrato */
        put(&f, 0xbd, deep ? 0x40 : 0);
        note(&f, 0x200, 6);
        run_samples(&f, OPL3_HZ);
        /* the widest step, two of eight parts of 1024 samples each, turns F-number's three top
         * bits: 14 or 7 cents */
        unsigned least = 99999, most = 0;
        for (size_t at = 2048; at + 1024 < 40000; at += 1024) {
            unsigned crossings = 0;
            for (size_t i = at; i < at + 1024; i++) {
                crossings += (f.ear.pairs[i * 2] < 0) != (f.ear.pairs[i * 2 + 2] < 0);
            }
            least = crossings < least ? crossings : least;
            most = crossings > most ? crossings : most;
        }
        double centre = 2 * 1024.0 * 0x200 * 64 / 1048576;
        assert_true(most - least <= centre * 0.02 + 2);
        double up =
            ear_tone(&f.ear, 0, (0x200 + (deep ? 4 : 2)) * 64 / 1048576.0 * OPL3_HZ, 0, OPL3_HZ);
        assert_true(up > 200);
        done(&f);
    }
}

static void wave_forms_have_their_shapes(void **state)
{
    (void)state;
    for (unsigned wave = 0; wave < 8; wave++) {
        Fixture f;
        fixture(&f, false);
        put(&f, 0x105, 1);
        plain_voice(&f);
        put(&f, 0xe3, (uint8_t)wave);
        note(&f, 512, 1);
        run_samples(&f, 1024 * 3);
        int low = 0, high = 0;
        unsigned zeros = 0, negatives = 0;
        for (size_t i = 1024; i < 2048; i++) {
            int v = f.ear.pairs[i * 2];
            low = v < low ? v : low;
            high = v > high ? v : high;
            zeros += v == 0;
            negatives += v < 0;
        }
        static const bool negative[8] = {1, 0, 0, 0, 1, 0, 1, 1};
        static const unsigned silent[8] = {0, 512, 0, 512, 512, 512, 0, 0};
        static const unsigned below[8] = {512, 0, 0, 0, 256, 0, 512, 512};
        assert_int_equal(high, 4084);
        assert_int_equal(low < -4000, negative[wave]);
        assert_in_range(zeros, silent[wave], silent[wave] + (wave == 7 ? 512 : 8));
        assert_in_range(negatives, below[wave], below[wave]);
        done(&f);
    }
}

static void an_opl2_selects_waves_only_when_enabled(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, true);
    assert_int_equal(chip_in(f.b, 0x388), 0x06);
    plain_voice(&f);
    put(&f, 0xe3, 1);
    note(&f, 512, 1);
    run_samples(&f, 2000);
    assert_true(ear_longest_quiet(&f.ear, 1, 100, 1900) < 3);
    put(&f, 0x01, 0x20);
    run_samples(&f, 2000);
    assert_true(ear_longest_quiet(&f.ear, 1, 2200, 1700) > 400);
    done(&f);
}

static void modulation_makes_side_bands(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, false);
    plain_voice(&f);
    put(&f, 0xc0, 0x30); /* operator 1 into 2 */
    put(&f, 0xe0, 0x00);
    put(&f, 0x20, 0x22);
    put(&f, 0x40, 0x18);
    put(&f, 0x60, 0xf0);
    put(&f, 0x80, 0x0f);
    note(&f, 0x244, 4);
    run_samples(&f, 30000);
    double hz = 0x244 * 16 / 1048576.0 * OPL3_HZ;
    assert_true(ear_tone(&f.ear, 0, hz * 3, 2000, 24000) > 300); /* carrier + modulator */
    put(&f, 0xc0, 0x31);                                         /* both beside each other */
    size_t from = f.ear.frames + 1000;
    run_samples(&f, 30000);
    assert_true(ear_tone(&f.ear, 0, hz * 3, from, 24000) < 5);
    assert_true(ear_tone(&f.ear, 0, hz * 2, from, 24000) > 400);
    put(&f, 0xc0, 0x3f); /* feedback bends the first into a saw tooth */
    put(&f, 0x43, 0x3f);
    from = f.ear.frames + 1000;
    run_samples(&f, 30000);
    assert_true(ear_tone(&f.ear, 0, hz * 4, from, 24000) > 50);
    done(&f);
}

/* The four connections: which operators are heard themselves. */
static void four_operators_connect_as_published(void **state)
{
    (void)state;
    static const uint8_t regs[4] = {0x00, 0x03, 0x08, 0x0b};
    static const bool heard[4][4] = {{0, 0, 0, 1}, {0, 1, 0, 1}, {1, 0, 0, 1}, {1, 0, 1, 1}};
    for (unsigned way = 0; way < 4; way++) {
        for (unsigned alone = 0; alone < 4; alone++) {
            Fixture f;
            fixture(&f, false);
            put(&f, 0x105, 1);
            put(&f, 0x104, 1);
            for (unsigned i = 0; i < 4; i++) {
                put(&f, 0x20u + regs[i], 0x21);
                put(&f, 0x40u + regs[i], i == alone ? 0 : 0x3f);
                put(&f, 0x60u + regs[i], i == alone ? 0xf0 : 0);
                put(&f, 0x80u + regs[i], 0x0f);
            }
            put(&f, 0xc0, (uint8_t)(0x30 | way >> 1));
            put(&f, 0xc3, (uint8_t)(0x30 | (way & 1)));
            put(&f, 0xa3, 0xff); /* the second half's own note is not heard */
            put(&f, 0xb3, 0x33);
            note(&f, 0x244, 4);
            run_samples(&f, 12000);
            double hz = 0x244 * 16 / 1048576.0 * OPL3_HZ;
            assert_int_equal(ear_tone(&f.ear, 0, hz, 1000, 10000) > 3000, heard[way][alone]);
            done(&f);
        }
    }
}

static void new_mode_has_sides(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, false);
    put(&f, 0x104, 1); /* without NEW it goes to the first bank */
    put(&f, 0x105, 1);
    plain_voice(&f);
    put(&f, 0xc0, 0x11);
    note(&f, 0x244, 4);
    run_samples(&f, 8000);
    assert_true(ear_rms(&f.ear, 0, 2000, 5000) > 2000);
    assert_true(ear_rms(&f.ear, 1, 2000, 5000) < 1);
    put(&f, 0x105, 0);
    size_t from = f.ear.frames + 100;
    run_samples(&f, 8000);
    assert_true(ear_rms(&f.ear, 1, from, 5000) > 2000);
    done(&f);
}

static void drums_sound(void **state)
{
    (void)state;
    double level[5];
    for (unsigned drum = 0; drum < 5; drum++) {
        Fixture f;
        fixture(&f, false);
        for (unsigned offset = 0x10; offset < 0x16; offset++) {
            put(&f, 0x20 + offset, 0x21);
            put(&f, 0x40 + offset, 0);
            put(&f, 0x60 + offset, 0xf0);
            put(&f, 0x80 + offset, 0x0f);
        }
        for (unsigned channel = 6; channel < 9; channel++) {
            put(&f, 0xa0 + channel, 0x44);
            put(&f, 0xb0 + channel, 0x0a);
            put(&f, 0xc0 + channel, 0x30);
        }
        put(&f, 0xbd, 0x20);
        run_samples(&f, 1000);
        assert_true(ear_rms(&f.ear, 0, 0, f.ear.frames) < 2);
        put(&f, 0xbd, (uint8_t)(0x20 | 1u << drum));
        ear_clear(&f.ear);
        run_samples(&f, 20000);
        level[drum] = ear_rms(&f.ear, 0, 1000, 16000);
        assert_true(level[drum] > 2500); /* twice as loud as a voice at least in part */
        double hz = 0x244 * 4 / 1048576.0 * OPL3_HZ;
        double tone = ear_tone(&f.ear, 0, hz, 1000, 16000);
        if (drum == 2) { /* the tom is the one pure tone */
            assert_true(tone > 8000);
        }
        if (drum == 0 || drum == 3) { /* noise: no line stands out */
            assert_true(ear_tone(&f.ear, 0, 5000, 1000, 16000) < level[drum] / 4);
        }
        put(&f, 0xbd, 0x00);
        done(&f);
    }
}

static void programs_find_it_by_its_timers(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 2; way++) {
        Fixture f;
        fixture(&f, false);
        put(&f, 0x04, 0x60);
        put(&f, 0x04, 0x80);
        assert_int_equal(chip_in(f.b, 0x388), 0x00);
        put(&f, 0x02, 0xff);
        put(&f, 0x04, 0x21);
        if (way == 0) {
            clock_step(&f.b->clock, 79000);
            assert_int_equal(chip_in(f.b, 0x388), 0x00);
            clock_step(&f.b->clock, 2000);
        } else { /* waiting by reads alone, on however fast a processor */
            for (unsigned i = 0; i < 150; i++) {
                chip_in(f.b, 0x388);
            }
        }
        assert_int_equal(chip_in(f.b, 0x388), 0xc0);
        assert_int_equal(chip_in(f.b, 0x220), 0xc0);
        put(&f, 0x04, 0x60);
        put(&f, 0x04, 0x80);
        assert_int_equal(chip_in(f.b, 0x388), 0x00);
        /* timer 2, four times as slow */
        put(&f, 0x03, 0xfe);
        put(&f, 0x04, 0x42);
        clock_step(&f.b->clock, 640000);
        assert_int_equal(chip_in(f.b, 0x388), 0x00);
        clock_step(&f.b->clock, 5000);
        assert_int_equal(chip_in(f.b, 0x388), 0xa0);
        done(&f);
    }
}

static void it_answers_where_its_card_has_it(void **state)
{
    (void)state;
    for (unsigned opl2 = 0; opl2 < 2; opl2++) {
        Fixture f;
        fixture(&f, opl2);
        uint8_t rest = opl2 ? 0x06 : 0x00;
        assert_int_equal(chip_in(f.b, 0x388), rest);
        assert_int_equal(chip_in(f.b, 0x228), rest);
        assert_int_equal(chip_in(f.b, 0x220), opl2 ? 0xff : 0x00);
        chip_out(f.b, 0x228, 0x02);
        chip_out(f.b, 0x229, 0xff);
        chip_out(f.b, 0x228, 0x04);
        chip_out(f.b, 0x229, 0x21);
        clock_step(&f.b->clock, 81000);
        assert_int_equal(chip_in(f.b, 0x388), rest | 0xc0);
        done(&f);
    }
}

static void state_goes_on_in_the_middle_of_a_note(void **state)
{
    (void)state;
    Fixture f, other;
    fixture(&f, false);
    fixture(&other, false);
    put(&f, 0x105, 1);
    put(&f, 0x104, 1);
    plain_voice(&f);
    put(&f, 0x23, 0xe1);
    put(&f, 0x63, 0x62);
    note(&f, 0x244, 4);
    put(&f, 0xbd, 0xf8);
    run_samples(&f, 12345);
    put(&f, 0x02, 0x80);
    put(&f, 0x04, 0x01);
    chip_state_round_trip(f.b, other.b);
    ear_clear(&f.ear);
    ear_clear(&other.ear);
    run_samples(&f, 10000);
    run_samples(&other, 10000);
    assert_int_equal(f.ear.frames, other.ear.frames);
    assert_true(f.ear.frames > 9000);
    assert_memory_equal(f.ear.pairs, other.ear.pairs, f.ear.frames * 4);
    assert_int_equal(chip_in(f.b, 0x388), chip_in(other.b, 0x388));
    done(&other);
    done(&f);
}

static void random_registers_break_nothing(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed < 5; seed++) {
        Fixture f;
        fixture(&f, seed == 3);
        srand(seed);
        for (unsigned i = 0; i < 6000; i++) {
            chip_out(f.b, (uint16_t)((rand() & 1 ? 0x388 : 0x220) + rand() % 4), (uint8_t)rand());
            if (rand() % 8 == 0) {
                chip_in(f.b, (uint16_t)(0x220 + rand() % 4));
                clock_step(&f.b->clock, rand() % 500000);
            }
        }
        assert_true(f.ear.frames > 0);
        done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sine_is_the_roms_contents),
        cmocka_unit_test(pitch_follows_number_block_and_multiple),
        cmocka_unit_test(total_level_and_key_scaling_attenuate),
        cmocka_unit_test(decay_takes_its_published_time),
        cmocka_unit_test(attack_rises_and_sustain_holds_and_release_ends),
        cmocka_unit_test(vibrato_and_tremolo_have_their_depths),
        cmocka_unit_test(wave_forms_have_their_shapes),
        cmocka_unit_test(an_opl2_selects_waves_only_when_enabled),
        cmocka_unit_test(modulation_makes_side_bands),
        cmocka_unit_test(four_operators_connect_as_published),
        cmocka_unit_test(new_mode_has_sides),
        cmocka_unit_test(drums_sound),
        cmocka_unit_test(programs_find_it_by_its_timers),
        cmocka_unit_test(it_answers_where_its_card_has_it),
        cmocka_unit_test(state_goes_on_in_the_middle_of_a_note),
        cmocka_unit_test(random_registers_break_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
