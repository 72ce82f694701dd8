/* ES1370: identity, both outputs from guest memory, rates, interrupts and their acknowledging,
 * loop and stop, codec volumes, state, random traffic. */
#include "chipset/cards/es1370.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/chip.h"
#include "tests/unit/listen.h"

#define MS INT64_C(1000000)
#define RAM_SIZE 0x100000u
#define BASE 0xc000u
#define CARD CHIP_PCI(5, 0)

typedef struct Fixture {
    Board *b;
    uint8_t *ram;
    Ear ear;
    Probe intr;
} Fixture;

static uint32_t in32(Fixture *f, unsigned reg)
{
    return (uint32_t)bus_read(f->b->ports, BASE + reg, 4);
}

static void out32(Fixture *f, unsigned reg, uint32_t value)
{
    bus_write(f->b->ports, BASE + reg, value, 4);
}

static void codec(Fixture *f, unsigned index, unsigned value)
{
    bus_write(f->b->ports, BASE + 0x10, index << 8 | value, 2);
}

static void fixture(Fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->b = chip_board();
    f->ram = chip_ram(f->b, RAM_SIZE);
    PciBus *bus = pci_new(f->b, "pci");
    es1370_new(f->b, &(Es1370Config){.bus = bus, .device = 5, .audio = ear_port(&f->ear)},
               "es1370");
    Line intr = chip_probe(f->b, &f->intr);
    for (unsigned i = 0; i < 4; i++) {
        pci_connect(bus, i, intr);
    }
    board_reset(f->b, RESET_POWER);
    chip_set_config(f->b, CARD, 0x10, BASE, 4);
    chip_set_config(f->b, CARD, 0x04, 5, 4);
    for (unsigned i = 0; i < 2; i++) { /* all as loud as it comes */
        codec(f, i, 0);
        codec(f, 2 + i, 6);
        codec(f, 4 + i, 6);
    }
}

static void done(Fixture *f)
{
    board_free(f->b);
    ear_free(&f->ear);
}

static void frame(Fixture *f, unsigned page, unsigned place, uint32_t address, uint32_t bytes)
{
    out32(f, 0x0c, page);
    out32(f, 0x30 + place * 8, address);
    out32(f, 0x34 + place * 8, bytes / 4 - 1);
}

static void it_is_an_audio_pci(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_int_equal(chip_config(f.b, CARD, 0, 4), 0x50001274);
    assert_int_equal(chip_config(f.b, CARD, 8, 4) >> 8, 0x040100);
    assert_int_equal(in32(&f, 4) & 0x80000000u, 0);
    out32(&f, 0x0c, 0x0d);
    assert_int_equal(in32(&f, 0x0c), 0x0d);
    done(&f);
}

static void both_outputs_play_and_interrupt(void **state)
{
    (void)state;
    for (unsigned dac = 0; dac < 2; dac++) {
        Fixture f;
        fixture(&f);
        ear_put_sine(f.ram + 0x10000, 4410, 44.1);
        frame(&f, 0x0c, dac, 0x10000, 4410 * 4);
        out32(&f, 0x24 + dac * 4, 2205 - 1);
        out32(&f, 0x20, 3u << dac * 2 | 0x100u << dac);
        /* 44100 Hz: the fastest of DAC1, divider 30 of DAC2 */
        out32(&f, 0x00, 30u << 16 | 3u << 12 | (dac ? 0x20 : 0x40));
        unsigned interrupts = 0;
        for (unsigned i = 0; i < 1000; i++) {
            clock_step(&f.b->clock, 1 * MS);
            if (f.intr.level) {
                interrupts++;
                assert_int_equal(in32(&f, 4) & 0x80000007u, 0x80000000u | (dac ? 2 : 4));
                out32(&f, 0x20, 3u << dac * 2);
                assert_false(f.intr.level);
                out32(&f, 0x20, 3u << dac * 2 | 0x100u << dac);
            }
        }
        assert_in_range(interrupts, 19, 20);
        assert_in_range(f.ear.frames, 44000, 44100);
        assert_int_equal(f.ear.hz, 44100);
        assert_int_equal(f.ear.breaks, 0);
        assert_true(fabs(ear_tone(&f.ear, 0, 1000, 0, 44000) - 20000) < 100);
        clock_step(&f.b->clock, 5 * MS);
        out32(&f, 0x0c, 0x0c);
        uint32_t at = in32(&f, 0x34 + dac * 8) >> 16;
        assert_in_range(at, 150, 250); /* 45 to 220 frames into it */
        done(&f);
    }
}

static void a_channel_that_does_not_loop_stops(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    ear_put_sine(f.ram + 0x10000, 1000, 50);
    frame(&f, 0x0c, 1, 0x10000, 4000);
    out32(&f, 0x28, 999);
    out32(&f, 0x20, 0x0c | 0x200 | 0x4000);
    out32(&f, 0x00, 126u << 16 | 0x20); /* 11025 Hz */
    clock_step(&f.b->clock, 500 * MS);
    assert_true(f.intr.level);
    assert_int_equal(f.ear.frames, 1000);
    assert_int_equal(clock_next_due(&f.b->clock), CLOCK_NEVER);
    done(&f);
}

static void pause_holds(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    ear_put_sine(f.ram + 0x10000, 1000, 50);
    frame(&f, 0x0c, 1, 0x10000, 4000);
    out32(&f, 0x28, 0xffff);
    out32(&f, 0x20, 0x0c);
    out32(&f, 0x00, 62u << 16 | 0x20); /* 22050 Hz */
    clock_step(&f.b->clock, 100 * MS);
    out32(&f, 0x20, 0x0c | 0x1000);
    size_t frames = f.ear.frames;
    assert_in_range(frames, 2180, 2206);
    clock_step(&f.b->clock, 100 * MS);
    assert_int_equal(f.ear.frames, frames);
    out32(&f, 0x20, 0x0c);
    clock_step(&f.b->clock, 100 * MS);
    assert_true(f.ear.frames > frames + 2180);
    done(&f);
}

static void the_codec_attenuates_and_mutes(void **state)
{
    (void)state;
    static const struct {
        uint8_t master, voice;
        double level;
    } cases[] = {{0, 6, 20000}, {3, 6, 20000 / 1.9953}, {0, 16, 2000}, {0x80, 6, 0}, {0, 0x86, 0}};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Fixture f;
        fixture(&f);
        codec(&f, 0, cases[i].master);
        codec(&f, 2, cases[i].voice);
        ear_put_sine(f.ram + 0x10000, 4410, 44.1);
        frame(&f, 0x0c, 1, 0x10000, 4410 * 4);
        out32(&f, 0x28, 0xffff);
        out32(&f, 0x20, 0x0c);
        out32(&f, 0x00, 30u << 16 | 0x20);
        clock_step(&f.b->clock, 300 * MS);
        assert_true(fabs(ear_tone(&f.ear, 0, 1000, 0, 13000) - cases[i].level) < 50);
        assert_true(ear_tone(&f.ear, 1, 1000, 0, 13000) > 19000);
        done(&f);
    }
}

static void recording_hears_silence(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    memset(f.ram + 0x10000, 0x11, 0x1000);
    frame(&f, 0x0d, 0, 0x10000, 400);
    out32(&f, 0x2c, 99);
    out32(&f, 0x20, 0x30 | 0x400);
    out32(&f, 0x00, 30u << 16 | 0x10);
    clock_step(&f.b->clock, 10 * MS);
    assert_true(f.intr.level);
    assert_int_equal(in32(&f, 4) & 1, 1);
    assert_int_equal(f.ram[0x10000], 0);
    assert_int_equal(f.ram[0x10000 + 399], 0);
    assert_int_equal(f.ram[0x10000 + 400], 0x11);
    done(&f);
}

static void state_goes_on_in_the_middle_of_a_transfer(void **state)
{
    (void)state;
    Fixture f, other;
    fixture(&f);
    fixture(&other);
    ear_put_sine(f.ram + 0x10000, 4410, 33);
    memcpy(other.ram + 0x10000, f.ram + 0x10000, 4410 * 4);
    frame(&f, 0x0c, 1, 0x10000, 4410 * 4);
    out32(&f, 0x28, 700);
    out32(&f, 0x20, 0x0c | 0x200);
    out32(&f, 0x00, 60u << 16 | 0x20);
    clock_step(&f.b->clock, 12345678);
    chip_state_round_trip(f.b, other.b);
    ear_clear(&f.ear);
    ear_clear(&other.ear);
    clock_step(&f.b->clock, 100 * MS);
    clock_step(&other.b->clock, 100 * MS);
    assert_true(f.ear.frames > 2000);
    assert_int_equal(f.ear.frames, other.ear.frames);
    assert_memory_equal(f.ear.pairs, other.ear.pairs, f.ear.frames * 4);
    assert_int_equal(in32(&f, 4), in32(&other, 4));
    done(&other);
    done(&f);
}

static void random_traffic_breaks_nothing(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 6; seed++) {
        Fixture f, other;
        fixture(&f);
        fixture(&other);
        srand(seed);
        for (unsigned i = 0; i < 20000; i++) {
            unsigned bytes = 1u << rand() % 3, reg = (unsigned)rand() % 64 & ~(bytes - 1);
            uint32_t value = (uint32_t)rand() << 8 ^ (uint32_t)rand();
            if (rand() & 1) {
                bus_write(f.b->ports, BASE + reg, value, bytes);
            } else {
                bus_read(f.b->ports, BASE + reg, bytes);
            }
            if (rand() % 8 == 0) {
                clock_step(&f.b->clock, rand() % 1000000);
            }
            if (i % 2000 == 1000) {
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
        cmocka_unit_test(it_is_an_audio_pci),
        cmocka_unit_test(both_outputs_play_and_interrupt),
        cmocka_unit_test(a_channel_that_does_not_loop_stops),
        cmocka_unit_test(pause_holds),
        cmocka_unit_test(the_codec_attenuates_and_mutes),
        cmocka_unit_test(recording_hears_silence),
        cmocka_unit_test(state_goes_on_in_the_middle_of_a_transfer),
        cmocka_unit_test(random_traffic_breaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
