/* Sound Blaster: every way of output with its pitch and interrupts, acknowledging, pauses, ADPCM,
 * direct output, tiny buffers, channels and stereo changed under way, state. */
#include <stdlib.h>

#include "tests/unit/sb16_rig.h"

static void single_8_bit_output(void **state)
{
    (void)state;
    for (unsigned model = 0; model < 4; model++) {
        Fixture f;
        fixture(&f, (SbModel)model);
        sine8(f.ram + 0x10000, 8000, 10);
        program(f.b, 1, SINGLE, 0x10000, 8000);
        DSP(&f, "\xd1\x40\x83"); /* 8000 Hz */
        DSP(&f, "\x14\x3f\x1f");
        clock_step(&f.b->clock, 999 * MS);
        assert_int_equal(f.irq[1].rises, 0);
        clock_step(&f.b->clock, 2 * MS);
        assert_int_equal(f.irq[1].rises, 1);
        assert_in_range(f.irq[1].last_change, 999 * MS, 1001 * MS);
        assert_true(f.irq[1].level);
        chip_in(f.b, 0x22e);
        assert_false(f.irq[1].level);
        clock_step(&f.b->clock, 1000 * MS);
        assert_int_equal(f.irq[1].rises, 1);
        assert_int_equal(f.ear.frames, 8000);
        assert_int_equal(f.ear.hz, 8000);
        assert_int_equal(f.ear.breaks, 0);
        /* the Pro's mixer stands at its default, three quarters of the way */
        assert_true(ear_tone(&f.ear, 0, 800, 0, 8000) > (model == SB_PRO ? 5000 : 24000));
        done(&f);
    }
}

static void a_muted_speaker_is_silent_before_the_16(void **state)
{
    (void)state;
    for (unsigned model = 0; model < 4; model++) {
        Fixture f;
        fixture(&f, (SbModel)model);
        sine8(f.ram + 0x10000, 8000, 10);
        program(f.b, 1, SINGLE, 0x10000, 8000);
        DSP(&f, "\xd3\x40\x83\x14\x3f\x1f");
        clock_step(&f.b->clock, 1100 * MS);
        assert_int_equal(ear_rms(&f.ear, 0, 0, 8000) > 1000, model == SB_16);
        done(&f);
    }
}

static void auto_init_runs_until_told(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    sine8(f.ram + 0x10000, 2205, 21);
    program(f.b, 1, AUTO, 0x10000, 2205);
    DSP(&f, "\x41\x56\x22");     /* 22050 Hz */
    DSP(&f, "\x48\xe9\x08\x1c"); /* blocks of 2282 */
    unsigned blocks = 0;
    for (unsigned i = 0; i < 2000; i++) {
        clock_step(&f.b->clock, 1 * MS);
        if (f.irq[1].level) {
            blocks++;
            chip_in(f.b, 0x22e);
        }
    }
    assert_int_equal(blocks, 19); /* 2 s of 103.5 ms */
    assert_in_range(f.ear.frames, 44000, 44100);
    assert_int_equal(f.ear.breaks, 0);
    assert_true(ear_tone(&f.ear, 0, 1050, 1000, 40000) > 24000);
    assert_true(ear_longest_quiet(&f.ear, 3000, 10, 44000) < 4);
    DSP(&f, "\xda"); /* at the end of this block */
    clock_step(&f.b->clock, 300 * MS);
    assert_true(f.irq[1].level);
    size_t frames = f.ear.frames;
    assert_int_equal(frames, 20 * 2282);
    chip_in(f.b, 0x22e);
    clock_step(&f.b->clock, 300 * MS);
    assert_int_equal(f.ear.frames, frames);
    assert_int_equal(clock_next_due(&f.b->clock), CLOCK_NEVER);
    done(&f);
}

static void an_interrupt_not_acknowledged_at_its_port_halts_auto_init(void **state)
{
    (void)state;
    for (unsigned wide = 0; wide < 2; wide++) {
        Fixture f;
        fixture(&f, SB_16);
        program(f.b, wide ? 5 : 1, AUTO, 0x10000, 4096);
        DSP(&f, "\x41\x56\x22");
        if (wide) {
            DSP(&f, "\xb4\x10\xff\x01");
        } else {
            DSP(&f, "\xc4\x00\xff\x01");
        }
        for (unsigned i = 0; i < 100; i++) {
            clock_step(&f.b->clock, 10 * MS);
            chip_in(f.b, wide ? 0x22e : 0x22f); /* the wrong one */
        }
        assert_int_equal(f.ear.frames, 2 * 512);
        assert_true(f.irq[1].level);
        for (unsigned i = 0; i < 100; i++) {
            clock_step(&f.b->clock, 10 * MS);
            chip_in(f.b, wide ? 0x22f : 0x22e);
        }
        assert_true(f.ear.frames > 21000);
        done(&f);
    }
}

static void sixteen_bits_stereo(void **state)
{
    (void)state;
    for (unsigned narrow = 0; narrow < 2; narrow++) { /* over the 8-bit channel as well */
        Fixture f;
        fixture(&f, SB_16);
        if (narrow) {
            chip_out(f.b, 0x224, 0x81);
            chip_out(f.b, 0x225, 0x02);
        }
        int16_t *at = (int16_t *)(void *)(f.ram + 0x20000);
        for (unsigned i = 0; i < 4410; i++) {
            at[i * 2] = (int16_t)lrint(20000 * sin(2 * M_PI * i / 44.1));
            at[i * 2 + 1] = (int16_t)lrint(10000 * sin(2 * M_PI * i / 22.05));
        }
        program(f.b, narrow ? 1 : 5, AUTO, 0x20000, narrow ? 4410 * 4 : 4410 * 2);
        DSP(&f, "\x41\xac\x44\xb6\x30\x73\x22"); /* blocks of 8820 samples */
        for (unsigned i = 0; i < 1000; i++) {
            clock_step(&f.b->clock, 1 * MS);
            chip_in(f.b, 0x22f);
        }
        assert_in_range(f.ear.frames, 44000, 44100);
        assert_in_range(f.irq[1].rises, 9, 10);
        assert_int_equal(f.ear.breaks, 0);
        assert_true(fabs(ear_tone(&f.ear, 0, 1000, 0, 44000) - 20000) < 100);
        assert_true(fabs(ear_tone(&f.ear, 1, 2000, 0, 44000) - 10000) < 100);
        assert_true(ear_tone(&f.ear, 1, 1000, 0, 44000) < 20);
        chip_out(f.b, 0x224, 0x82);
        clock_step(&f.b->clock, 200 * MS);
        assert_int_equal(chip_in(f.b, 0x225) & 7, 2);
        done(&f);
    }
}

static void pause_and_continue(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    sine8(f.ram + 0x10000, 16000, 10);
    program(f.b, 1, SINGLE, 0x10000, 16000);
    DSP(&f, "\x40\x83\x14\x7f\x3e");
    clock_step(&f.b->clock, 500 * MS);
    DSP(&f, "\xd0");
    size_t frames = f.ear.frames;
    assert_in_range(frames, 3980, 4000);
    clock_step(&f.b->clock, 5000 * MS);
    assert_int_equal(f.ear.frames, frames);
    assert_int_equal(f.irq[1].rises, 0);
    DSP(&f, "\xd4");
    clock_step(&f.b->clock, 1490 * MS);
    assert_int_equal(f.irq[1].rises, 0);
    clock_step(&f.b->clock, 20 * MS);
    assert_int_equal(f.irq[1].rises, 1);
    assert_int_equal(f.ear.frames, 16000);
    done(&f);
}

static void high_speed_on_the_pro_hears_only_a_reset(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_PRO);
    sine8(f.ram + 0x10000, 44000, 20);
    program(f.b, 1, AUTO, 0x10000, 44000);
    DSP(&f, "\xd1\x40\xe9"); /* 43478 Hz */
    DSP(&f, "\x48\xff\x0f\x90");
    assert_int_equal(chip_in(f.b, 0x22c) & 0x80, 0x80);
    chip_out(f.b, 0x22c, 0xd0); /* not heard */
    for (unsigned i = 0; i < 500; i++) {
        clock_step(&f.b->clock, 1 * MS);
        chip_in(f.b, 0x22e);
    }
    assert_in_range(f.ear.frames, 21700, 21740);
    assert_int_equal(f.irq[1].rises, 5);
    chip_out(f.b, 0x226, 1);
    chip_out(f.b, 0x226, 0);
    size_t frames = f.ear.frames;
    clock_step(&f.b->clock, 500 * MS);
    assert_int_equal(f.ear.frames, frames);
    DSP(&f, "\xd8"); /* the speaker is still on: the reset only left the mode */
    assert_int_equal(dsp_read(&f), 0xff);
    done(&f);
}

static void the_pro_plays_stereo_by_its_mixer(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_PRO);
    for (unsigned i = 0; i < 22000; i++) {
        f.ram[0x10000 + i * 2] = (uint8_t)lrint(128 + 100 * sin(2 * M_PI * i / 22));
        f.ram[0x10000 + i * 2 + 1] = 128;
    }
    program(f.b, 1, SINGLE, 0x10000, 44000);
    chip_out(f.b, 0x224, 0x0e);
    chip_out(f.b, 0x225, 0x22);
    DSP(&f, "\xd1\x40\xe9\x48\xdf\xab\x91");
    clock_step(&f.b->clock, 1100 * MS);
    assert_int_equal(f.ear.hz, 21739);
    assert_int_equal(f.ear.frames, 22000);
    assert_true(ear_tone(&f.ear, 0, 21739 / 22.0, 0, 22000) > 3000);
    assert_true(ear_rms(&f.ear, 1, 0, 22000) < 1);
    done(&f);
}

/* Encodes a slow sine with the decoder's own published rule and expects it back. */
static void adpcm_comes_out_as_it_went_in(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        unsigned bits, samples, last_step, up;
    } codings[] = {{"\x75", 4, 2, 3, 5}, {"\x77", 3, 3, 4, 3}, {"\x17", 2, 4, 5, 1}};
    for (unsigned c = 0; c < 3; c++) {
        Fixture f;
        fixture(&f, SB_16);
        uint8_t *to = f.ram + 0x10000;
        unsigned step = 0, count = 0;
        int value = 128;
        int16_t expected[6000];
        *to++ = 128;
        for (unsigned i = 0; i < codings[c].samples; i++) {
            expected[count++] = 128;
        }
        for (unsigned b = 0; b < 1200; b++) {
            unsigned byte = 0;
            for (unsigned i = 0; i < codings[c].samples; i++) {
                int wanted = (int)lrint(128 + 60 * sin(2 * M_PI * count / 400));
                unsigned bits = codings[c].bits - (codings[c].bits == 3 && i == 2);
                unsigned best = 0, limit = 1u << (codings[c].bits - 1);
                int reached = 0, error = 9999;
                for (unsigned code = 0; code < 2 * limit; code++) {
                    unsigned m = code % limit;
                    if (bits == 2 && codings[c].bits == 3 && code & 1) {
                        continue; /* the third sample of a byte has two bits only */
                    }
                    int change = codings[c].bits == 3 && step == 4 ? (int)(10 * m + 5)
                                                                   : (int)((2 * m + 1) << step) / 2;
                    int v = value + (code >= limit ? -change : change);
                    v = v < 0 ? 0 : v > 255 ? 255 : v;
                    if (abs(v - wanted) < error) {
                        error = abs(v - wanted);
                        best = code;
                        reached = v;
                    }
                }
                value = reached;
                unsigned m = best % limit;
                step = m >= codings[c].up ? (step < codings[c].last_step ? step + 1 : step)
                       : m == 0           ? (step ? step - 1 : 0)
                                          : step;
                byte = byte << bits | (bits == codings[c].bits ? best : best >> 1);
                expected[count++] = (int16_t)value;
            }
            *to++ = (uint8_t)byte;
        }
        program(f.b, 1, SINGLE, 0x10000, 1201);
        DSP(&f, "\x40\x83");
        dsp(&f, (uint8_t)codings[c].command[0]);
        DSP(&f, "\xb0\x04");
        clock_step(&f.b->clock, 1000 * MS);
        assert_int_equal(f.ear.frames, count);
        assert_int_equal(f.irq[1].rises, 1);
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(f.ear.pairs[i * 2], (expected[i] - 128) * 256);
        }
        assert_true(ear_tone(&f.ear, 0, 20, 0, 2400) > 10000);
        done(&f);
    }
}

static void direct_output_is_heard_at_the_rate_of_its_writes(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    for (unsigned i = 0; i < 11000; i++) {
        uint8_t value = (uint8_t)lrint(128 + 100 * sin(2 * M_PI * i / 22));
        chip_out(f.b, 0x22c, 0x10);
        chip_out(f.b, 0x22c, value);
        clock_step(&f.b->clock, 90909);
    }
    assert_int_equal(f.ear.breaks, 0);
    assert_true(ear_tone(&f.ear, 0, 500, 4800, 40000) > 23000);
    size_t end = f.ear.frames;
    clock_step(&f.b->clock, 1000 * MS);
    assert_true(f.ear.frames < end + 6000); /* then it fades and ends */
    assert_int_equal(clock_next_due(&f.b->clock), CLOCK_NEVER);
    done(&f);
}

/* "Goldplay": a buffer of one sample, changed by the timer's interrupt. */
static void a_buffer_of_one_sample_is_read_at_the_playback_rate(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_2);
    f.ram[0x10000] = 128;
    program(f.b, 1, AUTO, 0x10000, 1);
    DSP(&f, "\xd1\x40\xa5\x48\xff\xff\x90"); /* 10989 Hz */
    for (unsigned i = 0; i < 11000; i++) {
        f.ram[0x10000] = (uint8_t)lrint(128 + 100 * sin(2 * M_PI * i / 22));
        clock_step(&f.b->clock, 91000);
    }
    assert_in_range(f.ear.frames, 10950, 11010);
    assert_true(ear_tone(&f.ear, 0, 499.5, 1000, 9000) > 22000);
    done(&f);
}

static void a_probe_makes_no_pop(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    program(f.b, 1, SINGLE, 0x10000, 2); /* zeros: full deflection in 8 bits unsigned */
    DSP(&f, "\xd1\x40\x83\x14\x01\x00");
    clock_step(&f.b->clock, 10 * MS);
    assert_true(f.irq[1].level);
    assert_true(ear_rms(&f.ear, 0, 0, f.ear.frames) < 1);
    done(&f);
}

static void silence_takes_its_time(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    DSP(&f, "\x40\x83\x80\x1f\x03"); /* 800 samples at 8 kHz */
    clock_step(&f.b->clock, 99 * MS);
    assert_false(f.irq[1].level);
    clock_step(&f.b->clock, 2 * MS);
    assert_true(f.irq[1].level);
    done(&f);
}

static void a_masked_channel_makes_the_dsp_wait(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    sine8(f.ram + 0x10000, 800, 10);
    DSP(&f, "\x40\x83\x14\x1f\x03");
    clock_step(&f.b->clock, 1000 * MS);
    assert_int_equal(f.ear.frames, 0);
    assert_int_equal(chip_in(f.b, 0x08) & 0x20, 0x20); /* DREQ waits */
    program(f.b, 1, SINGLE, 0x10000, 800);
    clock_step(&f.b->clock, 105 * MS);
    assert_int_equal(f.ear.frames, 800);
    assert_true(f.irq[1].level);
    done(&f);
}

static void recording_hears_silence(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    memset(f.ram + 0x10000, 0x11, 200);
    program(f.b, 1, 0x44, 0x10000, 100);
    DSP(&f, "\x40\x83\x24\x63\x00");
    clock_step(&f.b->clock, 50 * MS);
    assert_true(f.irq[1].level);
    assert_int_equal(f.ram[0x10000], 0x80);
    assert_int_equal(f.ram[0x10000 + 99], 0x80);
    assert_int_equal(f.ram[0x10000 + 100], 0x11);
    DSP(&f, "\x20");
    assert_int_equal(dsp_read(&f), 0x80);
    done(&f);
}

static void a_channel_chosen_under_way_has_the_request(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    sine8(f.ram + 0x10000, 800, 10);
    DSP(&f, "\x40\x83\x14\x1f\x03");
    assert_int_equal(chip_in(f.b, 0x08) & 0xf0, 0x20);
    mixer(&f, 0x81, 0x08);
    assert_int_equal(chip_in(f.b, 0x08) & 0xf0, 0x80);
    program(f.b, 3, SINGLE, 0x10000, 800);
    clock_step(&f.b->clock, 105 * MS);
    assert_int_equal(f.ear.frames, 800);
    assert_int_equal(chip_in(f.b, 0x08) & 0xf0, 0x00);
    done(&f);
}

static void the_pro_changes_to_stereo_under_way(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_PRO);
    for (unsigned i = 0; i < 30000; i++) {
        f.ram[0x10000 + i] = i & 1 ? 128 : 228;
    }
    program(f.b, 1, AUTO, 0x10000, 30000);
    DSP(&f, "\xd1\x40\xd3\x48\xff\x0f\x1c"); /* 22222 Hz */
    clock_step(&f.b->clock, 100 * MS);
    assert_int_equal(f.ear.hz, 22222);
    assert_in_range(f.ear.frames, 2190, 2223);
    mixer(&f, 0x0e, 0x02);
    size_t frames = f.ear.frames;
    clock_step(&f.b->clock, 100 * MS);
    assert_int_equal(f.ear.hz, 11111);
    assert_in_range(f.ear.frames - frames, 1095, 1112);
    assert_true(ear_rms(&f.ear, 0, frames, 1000) > 1000);
    assert_true(ear_rms(&f.ear, 1, frames, 1000) < 1);
    done(&f);
}

static void state_goes_on_in_the_middle_of_a_transfer(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 4; kind++) {
        Fixture f, other;
        fixture(&f, SB_16);
        fixture(&other, SB_16);
        for (unsigned i = 0; i < 0x10000; i++) {
            f.ram[0x10000 + i] = other.ram[0x10000 + i] = (uint8_t)(i * 7 + i / 100);
        }
        program(f.b, kind == 1 ? 5 : 1, AUTO, 0x10000, 5000);
        DSP(&f, "\x41\x56\x22");
        if (kind == 0) {
            DSP(&f, "\xc6\x20\xff\x0f");
        } else if (kind == 1) {
            DSP(&f, "\xb6\x30\xff\x0f");
        } else if (kind == 2) {
            DSP(&f, "\x48\xff\x07\x7d");
        } else {
            DSP(&f, "\x10\xc0");
        }
        clock_step(&f.b->clock, 12345678);
        chip_out(f.b, 0x22c, 0x41); /* half a command */
        chip_out(f.b, 0x22c, 0x56);
        chip_state_round_trip(f.b, other.b);
        ear_clear(&f.ear);
        ear_clear(&other.ear);
        for (unsigned i = 0; i < 300; i++) {
            clock_step(&f.b->clock, 1234567);
            clock_step(&other.b->clock, 1234567);
            if (i == 100) {
                chip_out(f.b, 0x22c, 0x22);
                chip_out(other.b, 0x22c, 0x22);
            }
            assert_int_equal(chip_in(f.b, 0x22e), chip_in(other.b, 0x22e));
            assert_int_equal(chip_in(f.b, 0x22f), chip_in(other.b, 0x22f));
        }
        assert_true(f.ear.frames > 2000);
        assert_int_equal(f.ear.frames, other.ear.frames);
        assert_memory_equal(f.ear.pairs, other.ear.pairs, f.ear.frames * 4);
        done(&other);
        done(&f);
    }
}

static void random_traffic_breaks_nothing(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 8; seed++) {
        Fixture f, other;
        fixture(&f, (SbModel)(seed % 4));
        fixture(&other, (SbModel)(seed % 4));
        srand(seed);
        for (unsigned i = 0; i < 20000; i++) {
            static const uint8_t commands[] = {0x14, 0x1c, 0x90, 0xb6, 0xc6, 0x75,
                                               0x77, 0x17, 0x7d, 0x10, 0x40, 0x41,
                                               0xd0, 0xd4, 0xda, 0x45, 0x80, 0xe2};
            uint16_t port = (uint16_t)(0x220 + rand() % 16);
            uint8_t value = (uint8_t)rand();
            if (rand() % 4 == 0) {
                port = 0x22c;
                value = commands[(unsigned)rand() % sizeof(commands)];
            }
            if (rand() & 1) {
                chip_out(f.b, port, value);
            } else {
                chip_in(f.b, port);
            }
            if (rand() % 50 == 0) {
                program(f.b, rand() & 1 ? 1 : 5, rand() & 1 ? SINGLE : AUTO, 0x10000,
                        1 + (unsigned)rand() % 5000);
            }
            if (rand() % 8 == 0) {
                clock_step(&f.b->clock, rand() % 2000000);
            }
            if (i % 1000 == 500) {
                chip_state_round_trip(f.b, other.b);
            }
        }
        done(&other);
        done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_8_bit_output),
        cmocka_unit_test(a_muted_speaker_is_silent_before_the_16),
        cmocka_unit_test(auto_init_runs_until_told),
        cmocka_unit_test(an_interrupt_not_acknowledged_at_its_port_halts_auto_init),
        cmocka_unit_test(sixteen_bits_stereo),
        cmocka_unit_test(pause_and_continue),
        cmocka_unit_test(high_speed_on_the_pro_hears_only_a_reset),
        cmocka_unit_test(the_pro_plays_stereo_by_its_mixer),
        cmocka_unit_test(adpcm_comes_out_as_it_went_in),
        cmocka_unit_test(direct_output_is_heard_at_the_rate_of_its_writes),
        cmocka_unit_test(a_buffer_of_one_sample_is_read_at_the_playback_rate),
        cmocka_unit_test(a_probe_makes_no_pop),
        cmocka_unit_test(silence_takes_its_time),
        cmocka_unit_test(a_masked_channel_makes_the_dsp_wait),
        cmocka_unit_test(recording_hears_silence),
        cmocka_unit_test(a_channel_chosen_under_way_has_the_request),
        cmocka_unit_test(the_pro_changes_to_stereo_under_way),
        cmocka_unit_test(state_goes_on_in_the_middle_of_a_transfer),
        cmocka_unit_test(random_traffic_breaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
