/* A Sound Blaster with the real DMA controller, ears and a MIDI cable, as its driver sees it. */
#ifndef TESTS_UNIT_SB16_RIG_H
#define TESTS_UNIT_SB16_RIG_H

#include "chipset/cards/sb16.h"

#include <math.h>
#include <string.h>

#include "chipset/dma.h"
#include "tests/unit/chip.h"
#include "tests/unit/listen.h"

#define MS INT64_C(1000000)
#define RAM_SIZE 0x100000u

typedef struct Fixture {
    Board *b;
    Sb16 *sb;
    uint8_t *ram;
    Ear ear;
    Probe irq[SB_IRQS];
    uint32_t fm[2], cd[2];
    uint8_t midi[64];
    size_t midi_size;
    CharSink keyboard;
    unsigned readies;
} Fixture;

static inline void fm_volume(void *fm, uint32_t left, uint32_t right)
{
    uint32_t *to = fm;
    to[0] = left;
    to[1] = right;
}

static inline void midi_write(void *backend, const uint8_t *data, size_t size)
{
    Fixture *f = backend;
    for (size_t i = 0; i < size && f->midi_size < sizeof(f->midi); i++) {
        f->midi[f->midi_size++] = data[i];
    }
}

static inline void midi_attach(void *backend, const CharSink *sink)
{
    ((Fixture *)backend)->keyboard = *sink;
}

static inline void midi_ready(void *backend)
{
    ((Fixture *)backend)->readies++;
}

static const CharOps midi_ops = {.write = midi_write, .attach = midi_attach, .ready = midi_ready};

static inline void fixture(Fixture *f, SbModel model)
{
    memset(f, 0, sizeof(*f));
    f->b = chip_board();
    f->ram = chip_ram(f->b, RAM_SIZE);
    Dma *dma = dma_new(f->b, "dma");
    Sb16Config config = {.model = model,
                         .audio = ear_port(&f->ear),
                         .base = 0x220,
                         .irq_choice = 1,
                         .dma8 = 1,
                         .dma16 = 5,
                         .fm_volume = fm_volume,
                         .fm = f->fm,
                         .cd_volume = fm_volume,
                         .cd = f->cd,
                         .midi = {&midi_ops, f}};
    for (unsigned i = 0; i < 8; i++) {
        if (i != 2 && i != 4) {
            config.dma[i] = dma_line(dma, i);
        }
    }
    for (unsigned i = 0; i < SB_IRQS; i++) {
        config.irq[i] = chip_probe(f->b, &f->irq[i]);
    }
    f->sb = sb16_new(f->b, &config, "sb16");
    board_reset(f->b, RESET_POWER);
    chip_out(f->b, 0xd6, 0xc0);
    chip_out(f->b, 0xd4, 0x00);
    /* all volumes up */
    for (uint8_t i = 0x30; i < 0x36 && model == SB_16; i++) {
        chip_out(f->b, 0x224, i);
        chip_out(f->b, 0x225, 0xf8);
    }
}

static inline void done(Fixture *f)
{
    board_free(f->b);
    assert_false(f->ear.open);
    ear_free(&f->ear);
}

static inline void dsp(Fixture *f, uint8_t value)
{
    for (unsigned i = 0; chip_in(f->b, 0x22c) & 0x80; i++) {
        assert_true(i < 10);
    }
    chip_out(f->b, 0x22c, value);
}

static inline void dsp_bytes(Fixture *f, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        dsp(f, (uint8_t)bytes[i]);
    }
}

/* A command with its bytes, as a string of hex escapes. */
#define DSP(f, text) dsp_bytes((f), (text), sizeof(text) - 1)

static inline int dsp_read(Fixture *f)
{
    return chip_in(f->b, 0x22e) & 0x80 ? chip_in(f->b, 0x22a) : -1;
}

static inline void program(Board *b, unsigned n, uint8_t mode, uint32_t address, unsigned count)
{
    static const uint16_t page[8] = {0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a};
    unsigned step = n < 4 ? 1 : 2;
    unsigned base = n < 4 ? 0 : 0xc0;
    unsigned offset = n < 4 ? address : address >> 1;
    chip_out(b, (uint16_t)(base + 10 * step), (uint8_t)(4 | (n & 3)));
    chip_out(b, (uint16_t)(base + 12 * step), 0);
    chip_out(b, (uint16_t)(base + (n & 3) * 2 * step), (uint8_t)offset);
    chip_out(b, (uint16_t)(base + (n & 3) * 2 * step), (uint8_t)(offset >> 8));
    chip_out(b, (uint16_t)(base + ((n & 3) * 2 + 1) * step), (uint8_t)(count - 1));
    chip_out(b, (uint16_t)(base + ((n & 3) * 2 + 1) * step), (uint8_t)((count - 1) >> 8));
    chip_out(b, page[n], (uint8_t)(address >> 16));
    chip_out(b, (uint16_t)(base + 11 * step), (uint8_t)(mode | (n & 3)));
    chip_out(b, (uint16_t)(base + 10 * step), (uint8_t)(n & 3));
}

enum { SINGLE = 0x48, AUTO = 0x58 };

/* A sine of `period` samples, whole in 8 bits unsigned. */
static inline void sine8(uint8_t *at, size_t size, double period)
{
    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)lrint(128 + 100 * sin(2 * M_PI * (double)i / period));
    }
}

static inline void mixer(Fixture *f, uint8_t index, uint8_t value)
{
    chip_out(f->b, 0x224, index);
    chip_out(f->b, 0x225, value);
}

static inline uint8_t mixer_value(Fixture *f, uint8_t index)
{
    chip_out(f->b, 0x224, index);
    return chip_in(f->b, 0x225);
}

#endif
