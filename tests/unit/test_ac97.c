/* AC'97: identity, lists of buffers, rates, interrupts, the end of the list and going on, volumes,
 * pause, state, random traffic. */
#include "chipset/cards/ac97.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/chip.h"
#include "tests/unit/listen.h"

#define MS INT64_C(1000000)
#define RAM_SIZE 0x100000u
#define CODEC 0xc000u
#define BASE 0xd000u
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

static void codec(Fixture *f, unsigned reg, unsigned value)
{
    bus_write(f->b->ports, CODEC + reg, value, 2);
}

static unsigned codec_value(Fixture *f, unsigned reg)
{
    return (unsigned)bus_read(f->b->ports, CODEC + reg, 2);
}

static void out8(Fixture *f, unsigned reg, uint8_t value)
{
    bus_write(f->b->ports, BASE + reg, value, 1);
}

static uint8_t in8(Fixture *f, unsigned reg)
{
    return (uint8_t)bus_read(f->b->ports, BASE + reg, 1);
}

static void fixture(Fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->b = chip_board();
    f->ram = chip_ram(f->b, RAM_SIZE);
    PciBus *bus = pci_new(f->b, "pci");
    ac97_new(f->b, &(Ac97Config){.bus = bus, .device = 5, .audio = ear_port(&f->ear)}, "ac97");
    Line intr = chip_probe(f->b, &f->intr);
    for (unsigned i = 0; i < 4; i++) {
        pci_connect(bus, i, intr);
    }
    board_reset(f->b, RESET_POWER);
    chip_set_config(f->b, CARD, 0x10, CODEC, 4);
    chip_set_config(f->b, CARD, 0x14, BASE, 4);
    chip_set_config(f->b, CARD, 0x04, 5, 4);
    out32(f, 0x2c, 2);
    codec(f, 0x02, 0x0000); /* as loud as it comes */
    codec(f, 0x18, 0x0808);
}

static void done(Fixture *f)
{
    board_free(f->b);
    ear_free(&f->ear);
}

/* An entry of the list at 8000h. */
static void entry(Fixture *f, unsigned n, uint32_t address, unsigned frames, bool interrupt)
{
    uint32_t words[2] = {address, frames * 2 | (interrupt ? 0x80000000u : 0)};
    memcpy(f->ram + 0x8000 + n * 8, words, 8);
}

static void it_is_an_ich_with_a_codec(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_int_equal(chip_config(f.b, CARD, 0, 4), 0x24158086);
    assert_int_equal(in32(&f, 0x30) & 0x100, 0x100);
    assert_int_equal(codec_value(&f, 0x7c), 0x8384);
    assert_int_equal(codec_value(&f, 0x7e), 0x7600);
    assert_int_equal(in8(&f, 0x34), 0);
    assert_int_equal(in8(&f, 0x34), 1);
    codec_value(&f, 0x02);
    assert_int_equal(in8(&f, 0x34), 0);
    codec(&f, 0x2c, 22050); /* no variable rate yet */
    assert_int_equal(codec_value(&f, 0x2c), 48000);
    codec(&f, 0x2a, 1);
    codec(&f, 0x2c, 22050);
    assert_int_equal(codec_value(&f, 0x2c), 22050);
    codec(&f, 0x00, 0);
    assert_int_equal(codec_value(&f, 0x02), 0x8000);
    assert_int_equal(codec_value(&f, 0x2c), 48000);
    done(&f);
}

static void a_list_of_buffers_plays(void **state)
{
    (void)state;
    static const unsigned rates[] = {48000, 44100, 11025};
    for (unsigned r = 0; r < 3; r++) {
        Fixture f;
        fixture(&f);
        codec(&f, 0x2a, 1);
        codec(&f, 0x2c, rates[r]);
        ear_put_sine(f.ram + 0x10000, 4800, 48);
        for (unsigned i = 0; i < 32; i++) {
            entry(&f, i, 0x10000 + i % 4 * 4800, 1200, true);
        }
        out32(&f, 0x10, 0x8000);
        out8(&f, 0x15, 31);
        out8(&f, 0x1b, 0x1d);
        unsigned interrupts = 0;
        for (unsigned i = 0; i < 500; i++) {
            clock_step(&f.b->clock, 1 * MS);
            if (f.intr.level) {
                interrupts++;
                assert_int_equal(in32(&f, 0x30) & 0x40, 0x40);
                out8(&f, 0x15, (uint8_t)(in8(&f, 0x14) - 1)); /* the list has no end */
                bus_write(f.b->ports, BASE + 0x16, 0x1c, 2);
                assert_false(f.intr.level);
            }
        }
        assert_int_equal(f.ear.hz, rates[r]);
        assert_in_range(f.ear.frames, rates[r] / 2 - 60, rates[r] / 2);
        assert_in_range(interrupts, rates[r] / 2400 - 1, rates[r] / 2400);
        assert_int_equal(f.ear.breaks, 0);
        assert_true(fabs(ear_tone(&f.ear, 0, rates[r] / 48.0, 0, f.ear.frames) - 20000) < 200);
        done(&f);
    }
}

static void the_end_of_the_list_halts_until_it_grows(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    ear_put_sine(f.ram + 0x10000, 4800, 48);
    for (unsigned i = 0; i < 4; i++) {
        entry(&f, i, 0x10000 + i * 4800, 1200, false);
    }
    out32(&f, 0x10, 0x8000);
    out8(&f, 0x15, 1);
    out8(&f, 0x1b, 0x05);
    clock_step(&f.b->clock, 200 * MS);
    assert_int_equal(f.ear.frames, 2400);
    assert_int_equal(in8(&f, 0x16) & 0x0f, 0x07);
    assert_true(f.intr.level);
    assert_int_equal(clock_next_due(&f.b->clock), CLOCK_NEVER);
    bus_write(f.b->ports, BASE + 0x16, 0x1c, 2);
    assert_false(f.intr.level);
    out8(&f, 0x15, 2);
    assert_int_equal(in8(&f, 0x14), 2);
    clock_step(&f.b->clock, 200 * MS);
    assert_int_equal(f.ear.frames, 3600);
    out8(&f, 0x1b, 0x02); /* reset of the channel */
    assert_int_equal(in8(&f, 0x14), 0);
    assert_int_equal(in8(&f, 0x16), 0x01);
    assert_false(f.intr.level);
    done(&f);
}

static void pause_holds_and_the_codec_attenuates(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    ear_put_sine(f.ram + 0x10000, 30000, 48);
    entry(&f, 0, 0x10000, 30000, false);
    out32(&f, 0x10, 0x8000);
    out8(&f, 0x1b, 0x01);
    clock_step(&f.b->clock, 100 * MS);
    out8(&f, 0x1b, 0x00);
    size_t frames = f.ear.frames;
    unsigned left = (unsigned)bus_read(f.b->ports, BASE + 0x18, 2);
    assert_int_equal(left, 60000 - frames * 2);
    clock_step(&f.b->clock, 100 * MS);
    assert_int_equal(f.ear.frames, frames);
    codec(&f, 0x02, 0x0400); /* left 6 dB down */
    codec(&f, 0x18, 0x0808);
    out8(&f, 0x1b, 0x01);
    clock_step(&f.b->clock, 100 * MS);
    assert_true(fabs(ear_tone(&f.ear, 0, 1000, frames, 4600) - 20000 / 1.9953) < 150);
    assert_true(fabs(ear_tone(&f.ear, 1, 1000, frames, 4600) - 20000) < 250);
    codec(&f, 0x18, 0x8808);
    frames = f.ear.frames;
    clock_step(&f.b->clock, 50 * MS);
    assert_true(ear_rms(&f.ear, 0, frames, 2000) < 1);
    done(&f);
}

/* Linux's driver finds out with the sixth bit how many a volume has. */
static void volumes_have_five_bits(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    static const struct {
        uint8_t reg;
        uint16_t set, is;
    } rows[] = {{0x02, 0xa020, 0x9f1f}, {0x02, 0x1020, 0x101f}, {0x04, 0x2a01, 0x1f01},
                {0x06, 0x8025, 0x801f}, {0x18, 0xa020, 0x8000}, {0x18, 0x9010, 0x9010},
                {0x0e, 0x8058, 0x8058}, {0x1a, 0xffff, 0x0707}, {0x1c, 0xffff, 0x8f0f},
                {0x2a, 0xffff, 0x0009}, {0x22, 0xffff, 0x0000}, {0x28, 0xffff, 0x0009}};
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        codec(&f, rows[i].reg, rows[i].set);
        assert_int_equal(codec_value(&f, rows[i].reg), rows[i].is);
    }
    codec(&f, 0x2a, 1); /* the microphone's rate has a switch of its own */
    codec(&f, 0x34, 8000);
    assert_int_equal(codec_value(&f, 0x34), 48000);
    codec(&f, 0x2a, 8);
    codec(&f, 0x34, 8000);
    assert_int_equal(codec_value(&f, 0x34), 8000);
    done(&f);
}

static void a_rate_changed_under_way_makes_no_hurry(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        Fixture f;
        fixture(&f);
        codec(&f, 0x2a, 1);
        codec(&f, 0x2c, 8000);
        entry(&f, 0, 0x10000, 30000, false);
        out32(&f, 0x10, 0x8000);
        out8(&f, 0x1b, 0x01);
        clock_step(&f.b->clock, 500 * MS);
        assert_in_range(f.ear.frames, 3990, 4000);
        if (way == 0) {
            codec(&f, 0x2c, 48000);
        } else if (way == 1) {
            codec(&f, 0x2a, 0);
        } else {
            codec(&f, 0x00, 0);
        }
        clock_step(&f.b->clock, 100 * MS);
        assert_in_range(f.ear.frames, 3990 + 4750, 4000 + 4800);
        done(&f);
    }
}

static void state_goes_on_in_the_middle_of_a_buffer(void **state)
{
    (void)state;
    Fixture f, other;
    fixture(&f);
    fixture(&other);
    ear_put_sine(f.ram + 0x10000, 30000, 33);
    for (unsigned i = 0; i < 32; i++) {
        entry(&f, i, 0x10000 + i * 1024, 700, i & 1);
    }
    memcpy(other.ram, f.ram, RAM_SIZE);
    out32(&f, 0x10, 0x8000);
    out8(&f, 0x15, 30);
    out8(&f, 0x1b, 0x1d);
    clock_step(&f.b->clock, 23456789);
    chip_state_round_trip(f.b, other.b);
    ear_clear(&f.ear);
    ear_clear(&other.ear);
    clock_step(&f.b->clock, 100 * MS);
    clock_step(&other.b->clock, 100 * MS);
    assert_true(f.ear.frames > 4000);
    assert_int_equal(f.ear.frames, other.ear.frames);
    assert_memory_equal(f.ear.pairs, other.ear.pairs, f.ear.frames * 4);
    assert_int_equal(in32(&f, 0x14), in32(&other, 0x14));
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
        for (unsigned i = 0; i < 0x1000; i++) {
            f.ram[0x8000 + i] = (uint8_t)(rand() % 16 ? 0 : rand());
        }
        for (unsigned i = 0; i < 20000; i++) {
            unsigned bytes = 1u << rand() % 3, reg = (unsigned)rand() % 64 & ~(bytes - 1);
            uint32_t value = (uint32_t)rand() << 8 ^ (uint32_t)rand();
            if (rand() % 4 == 0) {
                codec(&f, (unsigned)rand() % 256 & ~1u, value & 0xffff);
            } else if (rand() % 16 == 0) {
                out32(&f, (unsigned)rand() % 3 * 16, 0x8000);
                out8(&f, (unsigned)rand() % 3 * 16 + 0xb, 0x1d);
            } else if (rand() & 1) {
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
        cmocka_unit_test(it_is_an_ich_with_a_codec),
        cmocka_unit_test(a_list_of_buffers_plays),
        cmocka_unit_test(the_end_of_the_list_halts_until_it_grows),
        cmocka_unit_test(pause_holds_and_the_codec_attenuates),
        cmocka_unit_test(volumes_have_five_bits),
        cmocka_unit_test(a_rate_changed_under_way_makes_no_hurry),
        cmocka_unit_test(state_goes_on_in_the_middle_of_a_buffer),
        cmocka_unit_test(random_traffic_breaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
