/* UltraSound: memory, transfers, voices with their pitch, loops, ramps, places and interrupts,
 * timers, MIDI, latches, state, random traffic. */
#include "chipset/cards/gus.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chipset/dma.h"
#include "tests/unit/chip.h"
#include "tests/unit/listen.h"

#define MS INT64_C(1000000)
#define RAM_SIZE 0x100000u
#define BASE 0x240

enum { PAGE = BASE + 0x102, INDEX = BASE + 0x103, DATA = BASE + 0x104, POKE = BASE + 0x107 };

typedef struct Fixture {
    Board *b;
    uint8_t *ram, *dram;
    Ear ear;
    Probe irq5, irq7, irq11;
    uint8_t midi[16];
    unsigned midi_size;
    CharSink midi_in;
} Fixture;

static void midi_write(void *backend, const uint8_t *data, size_t size)
{
    Fixture *f = backend;
    for (size_t i = 0; i < size && f->midi_size < sizeof(f->midi); i++) {
        f->midi[f->midi_size++] = data[i];
    }
}

static void midi_attach(void *backend, const CharSink *sink)
{
    ((Fixture *)backend)->midi_in = *sink;
}

static void midi_ready(void *backend)
{
    (void)backend;
}

static const CharOps midi_ops = {.write = midi_write, .attach = midi_attach, .ready = midi_ready};

static void reg8(Fixture *f, unsigned index, unsigned value)
{
    chip_out(f->b, INDEX, (uint8_t)index);
    chip_out(f->b, DATA + 1, (uint8_t)value);
}

static void reg16(Fixture *f, unsigned index, unsigned value)
{
    chip_out(f->b, INDEX, (uint8_t)index);
    bus_write(f->b->ports, DATA, value, 2);
}

static uint8_t get8(Fixture *f, unsigned index)
{
    chip_out(f->b, INDEX, (uint8_t)index);
    return chip_in(f->b, DATA + 1);
}

static uint16_t get16(Fixture *f, unsigned index)
{
    chip_out(f->b, INDEX, (uint8_t)index);
    return (uint16_t)bus_read(f->b->ports, DATA, 2);
}

static void fixture_of(Fixture *f, uint32_t kib)
{
    Err err = {""};
    memset(f, 0, sizeof(*f));
    f->b = chip_board();
    f->ram = chip_ram(f->b, RAM_SIZE);
    Dma *dma = dma_new(f->b, "dma");
    GusConfig c = {.base = BASE,
                   .irq_choice = 7,
                   .dma_choice = 1,
                   .memory_kib = kib,
                   .audio = ear_port(&f->ear),
                   .midi = {&midi_ops, f}};
    c.irq[5] = chip_probe(f->b, &f->irq5);
    c.irq[7] = chip_probe(f->b, &f->irq7);
    c.irq[11] = chip_probe(f->b, &f->irq11);
    for (unsigned i = 1; i < 8; i++) {
        if (gus_has_dma(i)) {
            c.dma[i] = dma_line(dma, i);
        }
    }
    assert_non_null(gus_new(f->b, &c, "gus", &err));
    f->dram = f->ram + RAM_SIZE; /* its block follows */
    board_reset(f->b, RESET_POWER);
    chip_out(f->b, 0xd6, 0xc0); /* the cascade */
    chip_out(f->b, 0xd4, 0x00);
}

static void fixture(Fixture *f)
{
    fixture_of(f, 1024);
    reg8(f, 0x4c, 0x01);
    reg8(f, 0x4c, 0x07);
    chip_out(f->b, BASE, 0x09); /* line in off, latches on */
}

static void done(Fixture *f)
{
    board_free(f->b);
    ear_free(&f->ear);
}

static void poke(Fixture *f, uint32_t at, uint8_t value)
{
    reg16(f, 0x43, at & 0xffff);
    reg8(f, 0x44, at >> 16);
    chip_out(f->b, POKE, value);
}

static uint8_t peek(Fixture *f, uint32_t at)
{
    reg16(f, 0x43, at & 0xffff);
    reg8(f, 0x44, at >> 16);
    return chip_in(f->b, POKE);
}

static void at(Fixture *f, unsigned high, uint32_t place)
{
    reg16(f, high, place >> 7);
    reg16(f, high + 1, place << 9);
}

/* A voice over [from, to] with `step` 512ths of a sample a frame, loud, in the middle. */
static void voice(Fixture *f, unsigned n, uint32_t from, uint32_t to, unsigned step)
{
    chip_out(f->b, PAGE, (uint8_t)n);
    reg8(f, 0x00, 3);
    reg8(f, 0x0d, 3);
    at(f, 0x02, from);
    at(f, 0x04, to);
    at(f, 0x0a, from);
    reg16(f, 0x01, step << 1);
    reg16(f, 0x09, 0xfff0);
    reg8(f, 0x0c, 7);
}

static void sine8(Fixture *f, uint32_t from, unsigned count, double period)
{
    for (unsigned i = 0; i < count; i++) {
        f->dram[from + i] = (uint8_t)(int8_t)lrint(120 * sin(2 * M_PI * i / period));
    }
}

static void programs_find_it_and_its_memory(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {256, 512, 768, 1024};
    for (unsigned i = 0; i < 4; i++) {
        Fixture f;
        fixture_of(&f, sizes[i]);
        reg8(&f, 0x4c, 1);
        poke(&f, 0, 0xaa);
        poke(&f, 0x100, 0x55);
        assert_int_equal(peek(&f, 0), 0xaa);
        assert_int_equal(peek(&f, 0x100), 0x55);
        for (uint32_t bank = 0; bank < 4; bank++) {
            poke(&f, bank << 18, (uint8_t)(0x11 * (bank + 1)));
        }
        for (uint32_t bank = 0; bank < 4; bank++) {
            bool there = bank < sizes[i] / 256;
            assert_int_equal(peek(&f, bank << 18), there ? 0x11 * (bank + 1) : 0);
        }
        assert_int_equal(chip_in(f.b, 0x746), 0xff); /* no mixer chip: before revision 3.7 */
        done(&f);
    }
}

static void registers_of_voices_read_back(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    static const struct {
        uint8_t reg;
        bool wide;
        uint16_t mask;
    } regs[] = {{1, true, 0xffff}, {2, true, 0x1fff},   {3, true, 0xffe0},   {4, true, 0x1fff},
                {5, true, 0xffe0}, {6, false, 0xff},    {7, false, 0xff},    {8, false, 0xff},
                {9, true, 0xfff0}, {0xa, true, 0x1fff}, {0xb, true, 0xffff}, {0xc, false, 0x0f}};
    for (unsigned n = 0; n < 32; n += 31) {
        chip_out(f.b, PAGE, (uint8_t)n);
        for (unsigned i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
            unsigned value = 0xa5f7 + n;
            if (regs[i].wide) {
                reg16(&f, regs[i].reg, value);
                assert_int_equal(get16(&f, 0x80 | regs[i].reg), value & regs[i].mask);
            } else {
                reg8(&f, regs[i].reg, value & 0xff);
                assert_int_equal(get8(&f, 0x80 | regs[i].reg), value & 0xff & regs[i].mask);
            }
        }
    }
    /* bytes: the upper half leaves the lower as it was, and the other way round */
    reg16(&f, 1, 0x1234);
    chip_out(f.b, DATA + 1, 0x56);
    assert_int_equal(get16(&f, 0x81), 0x5634);
    chip_out(f.b, INDEX, 1);
    chip_out(f.b, DATA, 0x78);
    assert_int_equal(get16(&f, 0x81), 0x5678);
    reg8(&f, 0x0e, 31);
    assert_int_equal(get8(&f, 0x8e), 0xdf);
    reg8(&f, 0x4c, 0); /* reset: all stand still */
    assert_int_equal(get8(&f, 0x80) & 3, 3);
    assert_int_equal(get8(&f, 0x8d) & 3, 3);
    done(&f);
}

/* The frame rate falls with the number of voices; the pitch follows. */
static void a_looped_voice_has_its_pitch(void **state)
{
    (void)state;
    static const struct {
        unsigned voices, hz;
    } rates[] = {{14, 44100}, {20, 30870}, {24, 25725}, {32, 19294}};
    for (unsigned i = 0; i < 4; i++) {
        Fixture f;
        fixture(&f);
        sine8(&f, 0x1000, 65, 64);
        reg8(&f, 0x0e, rates[i].voices - 1);
        voice(&f, 3, 0x1000, 0x1040, 512);
        reg8(&f, 0x00, 0x08);
        clock_step(&f.b->clock, 1000 * MS);
        assert_int_equal(f.ear.hz, rates[i].hz);
        assert_int_equal(f.ear.breaks, 0);
        assert_in_range(f.ear.frames, rates[i].hz - rates[i].hz / 500, rates[i].hz);
        double tone = rates[i].hz / 64.0;
        double level = ear_tone(&f.ear, 0, tone, 4000, 8192);
        double wanted = 120 * 256 * 0.7303; /* left of place 7: the root of 8/15 */
        assert_true(fabs(level - wanted) < wanted / 50);
        assert_true(ear_tone(&f.ear, 0, tone * 1.5, 4000, 8192) < wanted / 200);
        double right = ear_tone(&f.ear, 1, tone, 4000, 8192);
        assert_true(fabs(right / level - sqrt(7 / 8.0)) < 0.01);
        done(&f);
    }
}

/* Half a sample a frame is an octave lower, and lies on the line between two samples. */
static void positions_between_samples_are_interpolated(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    sine8(&f, 0, 33, 32);
    voice(&f, 0, 0, 32, 256);
    reg8(&f, 0x00, 0x08);
    clock_step(&f.b->clock, 500 * MS);
    double level = ear_tone(&f.ear, 0, 44100 / 64.0, 4000, 8192);
    assert_true(level > 21000);
    /* held samples would have an image of a 31st beside the wave's own sample rate, lines a 961st
     */
    assert_true(ear_tone(&f.ear, 0, 44100 / 64.0 * 31, 4000, 8192) < level / 400);
    done(&f);
}

static void sixteen_bits_are_words_within_a_quarter(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    for (unsigned i = 0; i < 45; i++) { /* word 20010h: bytes 20020h of the first quarter */
        int v = (int)lrint(30000 * sin(2 * M_PI * i / 44.0));
        f.dram[0x20 + i * 2] = (uint8_t)v;
        f.dram[0x21 + i * 2] = (uint8_t)(v >> 8);
    }
    voice(&f, 0, 0x20010, 0x20010 + 44, 512);
    reg8(&f, 0x00, 0x0c);
    clock_step(&f.b->clock, 500 * MS);
    assert_true(fabs(ear_tone(&f.ear, 0, 44100 / 44.0, 4000, 8820) - 30000 * 0.7303) < 300);
    done(&f);
}

static void voices_loop_both_ways_and_stop(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    for (unsigned i = 0; i <= 100; i++) {
        f.dram[i] = (uint8_t)(int8_t)(i - 50);
    }
    voice(&f, 0, 0, 100, 512); /* up and down: a triangle of 200 frames */
    reg8(&f, 0x00, 0x18);
    clock_step(&f.b->clock, 500 * MS);
    assert_true(ear_tone(&f.ear, 0, 44100 / 200.0, 4000, 8820) > 50 * 256 * 0.73 * 0.8);
    assert_true(ear_tone(&f.ear, 0, 44100 / 100.0, 4000, 8820) < 100); /* no even harmonics */
    assert_int_equal(get8(&f, 0x80) & 3, 0);

    voice(&f, 0, 0, 441, 512); /* 10 ms */
    reg8(&f, 0x00, 0x00);
    clock_step(&f.b->clock, 9 * MS);
    assert_int_equal(get8(&f, 0x80) & 1, 0);
    uint32_t place = (uint32_t)get16(&f, 0x8a) << 7 | get16(&f, 0x8b) >> 9;
    assert_in_range(place, 395, 398);
    clock_step(&f.b->clock, 2 * MS);
    assert_int_equal(get8(&f, 0x80) & 1, 1);

    voice(&f, 0, 0, 441, 512); /* downwards from the end */
    at(&f, 0x0a, 441);
    reg8(&f, 0x00, 0x40);
    clock_step(&f.b->clock, 5 * MS);
    place = (uint32_t)get16(&f, 0x8a) << 7 | get16(&f, 0x8b) >> 9;
    assert_in_range(place, 219, 222);
    clock_step(&f.b->clock, 6 * MS);
    assert_int_equal(get8(&f, 0x80) & 1, 1);
    done(&f);
}

static void quiet_cards_cost_nothing(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_int_equal(clock_next_due(&f.b->clock), CLOCK_NEVER);
    sine8(&f, 0, 101, 20);
    voice(&f, 0, 0, 100, 512);
    reg8(&f, 0x00, 0x00);
    assert_true(clock_next_due(&f.b->clock) != CLOCK_NEVER);
    clock_step(&f.b->clock, 1200 * MS);
    assert_int_equal(clock_next_due(&f.b->clock), CLOCK_NEVER);
    done(&f);
}

static void volume_is_logarithmic_and_ramps(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    sine8(&f, 0, 65, 64);
    voice(&f, 0, 0, 64, 512);
    reg16(&f, 0x09, 0xdff0); /* two octaves down: 12 dB */
    reg8(&f, 0x00, 0x08);
    clock_step(&f.b->clock, 300 * MS);
    double quiet = ear_tone(&f.ear, 0, 44100 / 64.0, 4000, 6400);
    assert_true(fabs(quiet - 120 * 256 * 0.7303 / 4) < 100);

    reg8(&f, 0x07, 0x40);
    reg8(&f, 0x08, 0xe0);
    reg16(&f, 0x09, 0x4000);
    reg8(&f, 0x06, 0x01); /* 1 of 4096 a frame: E00h - 400h takes 2560 */
    reg8(&f, 0x0d, 0x20);
    clock_step(&f.b->clock, 2000 * INT64_C(1000000000) / 44100);
    assert_in_range(get16(&f, 0x89) >> 4, 0x400 + 1997, 0x400 + 2001);
    assert_int_equal(get8(&f, 0x8d) & 0x81, 0);
    assert_false(f.irq7.level);
    clock_step(&f.b->clock, 562 * INT64_C(1000000000) / 44100);
    assert_int_equal(get16(&f, 0x89), 0xe000);
    assert_int_equal(get8(&f, 0x8d) & 0x81, 0x81);
    assert_true(f.irq7.level);
    assert_int_equal(chip_in(f.b, BASE + 6), 0x40);
    assert_int_equal(get8(&f, 0x8f), 0xa0); /* voice 0: its ramp, not its wave */
    assert_false(f.irq7.level);
    assert_int_equal(get8(&f, 0x8f), 0xe0);

    reg8(&f, 0x06, 0x40 | 8); /* an eighth as fast, down, and round */
    reg8(&f, 0x0d, 0x48);
    clock_step(&f.b->clock, 1000 * INT64_C(1000000000) / 44100);
    assert_in_range(get16(&f, 0x89) >> 4, 0xe00 - 1002, 0xe00 - 998);
    clock_step(&f.b->clock, 2000 * INT64_C(1000000000) / 44100);
    assert_in_range(get16(&f, 0x89) >> 4, 0xe00 - 445, 0xe00 - 435); /* 3000 - 2560 */
    done(&f);
}

static void the_middle_is_between_the_sides(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    sine8(&f, 0, 65, 64);
    voice(&f, 0, 0, 64, 512);
    reg8(&f, 0x00, 0x08);
    for (unsigned place = 0; place < 16; place += 15) {
        ear_clear(&f.ear);
        reg8(&f, 0x0c, place);
        clock_step(&f.b->clock, 200 * MS);
        assert_true(ear_rms(&f.ear, place ? 1 : 0, 2000, 6000) > 20000);
        assert_true(ear_rms(&f.ear, place ? 0 : 1, 4000, 4000) < 300);
    }
    done(&f);
}

/* Interrupts come at their own frame, name their voice, and wait in the chip until it is read. */
static void waves_interrupt_at_their_end(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    voice(&f, 5, 0, 441, 512);
    reg8(&f, 0x00, 0x28);
    voice(&f, 9, 0, 882, 512);
    reg8(&f, 0x00, 0x20);
    clock_step(&f.b->clock, 9900000);
    assert_false(f.irq7.level);
    clock_step(&f.b->clock, 200000);
    assert_true(f.irq7.level);
    assert_in_range(f.irq7.last_change, 10000000, 10050000);
    assert_int_equal(chip_in(f.b, BASE + 6), 0x20);
    assert_int_equal(get8(&f, 0x8f), 0x65);
    assert_false(f.irq7.level);
    clock_step(&f.b->clock, 10200000);
    assert_true(f.irq7.level);
    assert_int_equal(get8(&f, 0x8f), 0x65);
    assert_int_equal(get8(&f, 0x8f), 0x69);
    assert_int_equal(get8(&f, 0x8f), 0xe0);
    assert_false(f.irq7.level);

    reg8(&f, 0x4c, 0x03); /* the chip's master enable */
    clock_step(&f.b->clock, 12 * MS);
    assert_false(f.irq7.level);
    reg8(&f, 0x4c, 0x07);
    assert_true(f.irq7.level);
    done(&f);
}

static void a_rollover_tells_and_goes_on(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    voice(&f, 0, 0, 100, 512);
    reg8(&f, 0x0d, 0x07);
    reg8(&f, 0x00, 0x20);
    clock_step(&f.b->clock, 10 * MS);
    assert_int_equal(get8(&f, 0x80) & 0x81, 0x80);
    uint32_t place = (uint32_t)get16(&f, 0x8a) << 7 | get16(&f, 0x8b) >> 9;
    assert_in_range(place, 439, 442);
    done(&f);
}

static void latches_choose_the_request(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, BASE, 0x49);
    chip_out(f.b, BASE + 0xb, 0x02 | 5 << 3); /* GF1: 5, MIDI: 11 */
    chip_out(f.b, BASE, 0x09);
    voice(&f, 0, 0, 10, 512);
    reg8(&f, 0x00, 0x20);
    clock_step(&f.b->clock, 2 * MS);
    assert_true(f.irq5.level);
    assert_false(f.irq7.level);
    chip_out(f.b, BASE + 0x100, 0x20); /* the transmitter is empty */
    assert_true(f.irq11.level);
    chip_out(f.b, BASE, 0x01); /* latches off: no request leaves the card */
    assert_false(f.irq5.level || f.irq11.level);
    chip_out(f.b, BASE, 0x49);
    chip_out(f.b, BASE + 0xb, 0x44); /* both: 7 */
    chip_out(f.b, BASE, 0x09);
    assert_true(f.irq7.level);
    assert_false(f.irq5.level || f.irq11.level);
    done(&f);
}

static void timers_count_up_to_their_interrupts(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 2; which++) {
        Fixture f;
        fixture(&f);
        reg8(&f, 0x46 + which, 256 - 50);
        reg8(&f, 0x45, 4u << which);
        chip_out(f.b, BASE + 8, 4);
        chip_out(f.b, BASE + 9, (uint8_t)(1u << which));
        int64_t period = which ? 16 * MS : 4 * MS;
        clock_step(&f.b->clock, period - 10000);
        assert_false(f.irq7.level);
        assert_int_equal(chip_in(f.b, BASE + 8) & 0xe0, 0);
        clock_step(&f.b->clock, 20000);
        assert_true(f.irq7.level);
        assert_int_equal(chip_in(f.b, BASE + 6), 4u << which);
        assert_int_equal(chip_in(f.b, BASE + 8) & 0xe0, which ? 0xa0 : 0xc0);
        chip_out(f.b, BASE + 9, 0x80);
        assert_int_equal(chip_in(f.b, BASE + 8) & 0xe0, 0);
        reg8(&f, 0x45, 0);
        assert_false(f.irq7.level);
        reg8(&f, 0x45, 4u << which);
        clock_step(&f.b->clock, 10 * period);
        assert_true(f.irq7.level); /* it runs on */
        chip_out(f.b, BASE + 9, 0);
        reg8(&f, 0x45, 0);
        reg8(&f, 0x45, 4u << which);
        clock_step(&f.b->clock, 2 * period);
        assert_false(f.irq7.level);
        done(&f);
    }
}

static void program_dma(Fixture *f, unsigned channel, uint32_t from, unsigned size, unsigned mode)
{
    static const uint8_t pages[8] = {0x87, 0x83, 0x81, 0x82, 0, 0x8b, 0x89, 0x8a};
    bool wide = channel > 4;
    unsigned n = channel & 3, units = (wide ? size / 2 : size) - 1, place = wide ? from / 2 : from;
    uint16_t base = wide ? 0xc0 : 0;
    unsigned scale = wide ? 2 : 1;
    chip_out(f->b, (uint16_t)(base + 0xa * scale), (uint8_t)(4 | n));
    chip_out(f->b, (uint16_t)(base + 0xc * scale), 0);
    chip_out(f->b, (uint16_t)(base + 2 * n * scale), (uint8_t)place);
    chip_out(f->b, (uint16_t)(base + 2 * n * scale), (uint8_t)(place >> 8));
    chip_out(f->b, (uint16_t)(base + (2 * n + 1) * scale), (uint8_t)units);
    chip_out(f->b, (uint16_t)(base + (2 * n + 1) * scale), (uint8_t)(units >> 8));
    chip_out(f->b, pages[channel], (uint8_t)(from >> 16));
    chip_out(f->b, (uint16_t)(base + 0xb * scale), (uint8_t)(mode | n));
    chip_out(f->b, (uint16_t)(base + 0xa * scale), (uint8_t)n);
}

static void memory_goes_up_and_down_by_dma(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    for (unsigned i = 0; i < 1000; i++) {
        f.ram[0x20000 + i] = (uint8_t)(i * 7);
    }
    program_dma(&f, 1, 0x20000, 1000, 0x48);
    reg16(&f, 0x42, 0x4000 >> 4);
    reg8(&f, 0x41, 0x21);
    clock_step(&f.b->clock, 1400000); /* 1000 bytes at 650000 a second take 1.54 ms */
    assert_false(f.irq7.level);
    clock_step(&f.b->clock, 300000);
    assert_true(f.irq7.level);
    assert_int_equal(chip_in(f.b, BASE + 6), 0x80);
    assert_int_equal(get8(&f, 0x41) & 0x41, 0x40);
    assert_false(f.irq7.level);
    assert_memory_equal(f.dram + 0x4000, f.ram + 0x20000, 1000);
    assert_int_equal(f.dram[0x4000 + 1000], 0);

    program_dma(&f, 1, 0x30000, 1000, 0x44);
    reg8(&f, 0x41, 0x23);
    clock_step(&f.b->clock, 2 * MS);
    assert_int_equal(get8(&f, 0x41) & 0x40, 0x40);
    assert_memory_equal(f.ram + 0x30000, f.ram + 0x20000, 1000);

    program_dma(&f, 1, 0x20000, 1000, 0x48);
    reg8(&f, 0x41, 0x81); /* offset binary, no interrupt */
    clock_step(&f.b->clock, 2 * MS);
    assert_int_equal(f.dram[0x4000], 0x80);
    assert_int_equal(f.dram[0x4001], 0x87);
    assert_false(f.irq7.level);
    program_dma(&f, 1, 0x20000, 1000, 0x48);
    reg8(&f, 0x41, 0xc1); /* of words only the upper bytes */
    clock_step(&f.b->clock, 2 * MS);
    assert_int_equal(f.dram[0x4000], 0x00);
    assert_int_equal(f.dram[0x4001], 0x87);

    chip_out(f.b, BASE, 0x09); /* channel 5 counts words, and addresses are those of words */
    chip_out(f.b, BASE + 0xb, 0x43);
    program_dma(&f, 5, 0x20000, 1000, 0x48);
    reg16(&f, 0x42, 0x4000 >> 4);
    reg8(&f, 0x41, 0x25);
    clock_step(&f.b->clock, 2 * MS);
    assert_true(f.irq7.level);
    assert_memory_equal(f.dram + 0x8000, f.ram + 0x20000, 1000);
    done(&f);
}

/* A program may start the card before the controller. */
static void dma_waits_for_its_channel(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    memset(f.ram + 0x20000, 0x5a, 256);
    reg16(&f, 0x42, 0);
    reg8(&f, 0x41, 0x21);
    clock_step(&f.b->clock, 5 * MS);
    assert_false(f.irq7.level);
    program_dma(&f, 1, 0x20000, 256, 0x48);
    clock_step(&f.b->clock, 2 * MS);
    assert_true(f.irq7.level);
    assert_int_equal(f.dram[255], 0x5a);
    done(&f);
}

static void sampling_hears_silence(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    program_dma(&f, 1, 0x20000, 441, 0x44);
    reg8(&f, 0x48, 12); /* 9878400 / 16 / 14 = 44100 */
    reg8(&f, 0x49, 0x21);
    clock_step(&f.b->clock, 9 * MS);
    assert_false(f.irq7.level);
    clock_step(&f.b->clock, 3 * MS);
    assert_true(f.irq7.level);
    assert_int_equal(get8(&f, 0x49) & 0x40, 0x40);
    assert_false(f.irq7.level);
    assert_int_equal(f.ram[0x20000], 0x80);
    assert_int_equal(f.ram[0x20000 + 440], 0x80);
    done(&f);
}

static void the_ends_of_transfer_and_sampling_are_told_apart(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, BASE, 0x09); /* sampling on channel 3 */
    chip_out(f.b, BASE + 0xb, 0x11);
    program_dma(&f, 3, 0x20000, 441, 0x44);
    reg8(&f, 0x48, 12);
    reg8(&f, 0x49, 0x21);
    clock_step(&f.b->clock, 12 * MS);
    assert_int_equal(chip_in(f.b, BASE + 6), 0x80);
    assert_int_equal(get8(&f, 0x41) & 0x40, 0x00); /* it was not a transfer */
    assert_true(f.irq7.level);
    program_dma(&f, 1, 0x30000, 100, 0x48);
    reg8(&f, 0x41, 0x21);
    clock_step(&f.b->clock, 1 * MS);
    assert_int_equal(get8(&f, 0x49) & 0x40, 0x40);
    assert_int_equal(chip_in(f.b, BASE + 6), 0x80);
    assert_true(f.irq7.level);
    assert_int_equal(get8(&f, 0x41) & 0x40, 0x40);
    assert_int_equal(chip_in(f.b, BASE + 6), 0x00);
    assert_false(f.irq7.level);
    done(&f);
}

static void midi_is_an_acia(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, BASE + 0x100, 3);
    assert_int_equal(chip_in(f.b, BASE + 0x100) & 2, 0);
    chip_out(f.b, BASE + 0x100, 0x80);
    assert_int_equal(chip_in(f.b, BASE + 0x100) & 3, 2);
    chip_out(f.b, BASE + 0x101, 0x90);
    assert_int_equal(chip_in(f.b, BASE + 0x100) & 2, 0);
    clock_step(&f.b->clock, 310000);
    assert_int_equal(chip_in(f.b, BASE + 0x100) & 2, 0);
    clock_step(&f.b->clock, 20000); /* ten bits at 31250 */
    assert_int_equal(chip_in(f.b, BASE + 0x100) & 2, 2);
    assert_int_equal(f.midi_size, 1);
    assert_int_equal(f.midi[0], 0x90);

    assert_int_equal(f.midi_in.room(f.midi_in.self), 1);
    f.midi_in.receive(f.midi_in.self, (const uint8_t[]){0x42}, 1);
    assert_int_equal(f.midi_in.room(f.midi_in.self), 0);
    assert_true(f.irq7.level);
    assert_int_equal(chip_in(f.b, BASE + 6), 2);
    assert_int_equal(chip_in(f.b, BASE + 0x100) & 0x81, 0x81);
    assert_int_equal(chip_in(f.b, BASE + 0x101), 0x42);
    assert_false(f.irq7.level);

    chip_out(f.b, BASE, 0x29); /* loopback */
    chip_out(f.b, BASE + 0x101, 0x77);
    assert_int_equal(chip_in(f.b, BASE + 0x101), 0x77);
    assert_int_equal(f.midi_size, 1);
    done(&f);
}

/* Saved in the middle of a note with a ramp, of a transfer and of a timer's count: both go on
 * alike. */
static void state_goes_on_alike(void **state)
{
    (void)state;
    Fixture f, g;
    fixture(&f);
    fixture_of(&g, 1024);
    sine8(&f, 0, 65, 64);
    voice(&f, 2, 0, 64, 700);
    reg8(&f, 0x07, 0x40);
    reg8(&f, 0x08, 0xff);
    reg8(&f, 0x06, 0x41);
    reg8(&f, 0x0d, 0x38);
    reg8(&f, 0x00, 0x28);
    reg8(&f, 0x46, 200);
    reg8(&f, 0x45, 4);
    chip_out(f.b, BASE + 8, 4);
    chip_out(f.b, BASE + 9, 1);
    program_dma(&f, 1, 0x20000, 5000, 0x48);
    reg16(&f, 0x42, 0x1000);
    reg8(&f, 0x41, 0x21);
    clock_step(&f.b->clock, 3 * MS);
    memcpy(g.dram, f.dram, 1 << 20);
    memcpy(g.ram, f.ram, RAM_SIZE);
    chip_state_round_trip(f.b, g.b);
    Ear *ears[2] = {&f.ear, &g.ear};
    clock_step(&f.b->clock, 1 * MS); /* what was played before leaves */
    clock_step(&g.b->clock, 1 * MS);
    ear_clear(ears[0]);
    ear_clear(ears[1]);
    for (unsigned i = 0; i < 50; i++) {
        clock_step(&f.b->clock, 777777);
        clock_step(&g.b->clock, 777777);
        assert_int_equal(f.irq7.level, g.irq7.level);
        assert_int_equal(get8(&f, 0x8f), get8(&g, 0x8f));
        assert_int_equal(get8(&f, 0x41), get8(&g, 0x41));
    }
    assert_int_equal(ears[0]->frames, ears[1]->frames);
    assert_true(ears[0]->frames > 1500);
    assert_memory_equal(ears[0]->pairs, ears[1]->pairs, ears[0]->frames * 4);
    assert_memory_equal(f.dram, g.dram, 1 << 20);
    done(&f);
    done(&g);
}

static void random_traffic_is_survived(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    srand(8);
    for (unsigned i = 0; i < 60000; i++) {
        unsigned port = (rand() & 1 ? BASE : BASE + 0x100) + ((unsigned)rand() & 15);
        if (rand() & 1) {
            bus_write(f.b->ports, port, (uint32_t)rand() ^ (uint32_t)rand() << 16,
                      rand() & 1 ? 2 : 1);
        } else {
            bus_read(f.b->ports, port, rand() & 1 ? 2 : 1);
        }
        if (rand() % 16 == 0) {
            clock_step(&f.b->clock, rand() % 300000);
        }
    }
    done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_find_it_and_its_memory),
        cmocka_unit_test(registers_of_voices_read_back),
        cmocka_unit_test(a_looped_voice_has_its_pitch),
        cmocka_unit_test(positions_between_samples_are_interpolated),
        cmocka_unit_test(sixteen_bits_are_words_within_a_quarter),
        cmocka_unit_test(voices_loop_both_ways_and_stop),
        cmocka_unit_test(quiet_cards_cost_nothing),
        cmocka_unit_test(volume_is_logarithmic_and_ramps),
        cmocka_unit_test(the_middle_is_between_the_sides),
        cmocka_unit_test(waves_interrupt_at_their_end),
        cmocka_unit_test(a_rollover_tells_and_goes_on),
        cmocka_unit_test(latches_choose_the_request),
        cmocka_unit_test(timers_count_up_to_their_interrupts),
        cmocka_unit_test(memory_goes_up_and_down_by_dma),
        cmocka_unit_test(dma_waits_for_its_channel),
        cmocka_unit_test(sampling_hears_silence),
        cmocka_unit_test(the_ends_of_transfer_and_sampling_are_told_apart),
        cmocka_unit_test(midi_is_an_acia),
        cmocka_unit_test(state_goes_on_alike),
        cmocka_unit_test(random_traffic_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
