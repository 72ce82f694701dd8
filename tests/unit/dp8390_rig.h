/* A card with a DP8390 as its driver sees it: registers, remote DMA, start. The test's set_up
 * builds the card and sets `base`. */
#ifndef TESTS_UNIT_DP8390_RIG_H
#define TESTS_UNIT_DP8390_RIG_H

#include <stdlib.h>

#include "tests/unit/chip.h"
#include "tests/unit/wire.h"

enum { PSTART = 0x46, PSTOP = 0x80 };

static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

typedef struct Fixture {
    Board *b;
    Wire *wire;
    Probe irq;
    uint16_t base;
} Fixture;

static inline void tear_down(Fixture *f)
{
    board_free(f->b);
    free(f->wire);
}

static inline uint8_t in(Fixture *f, unsigned reg)
{
    return chip_in(f->b, (uint16_t)(f->base + reg));
}

static inline void out(Fixture *f, unsigned reg, uint8_t value)
{
    chip_out(f->b, (uint16_t)(f->base + reg), value);
}

static inline void remote(Fixture *f, uint16_t address, uint16_t count, uint8_t command)
{
    out(f, 0x8, (uint8_t)address);
    out(f, 0x9, (uint8_t)(address >> 8));
    out(f, 0xa, (uint8_t)count);
    out(f, 0xb, (uint8_t)(count >> 8));
    out(f, 0x0, command);
}

/* As a driver starts the card: ring from PSTART to PSTOP, BNRY a page behind CURR. */
static inline void start(Fixture *f, uint8_t rcr)
{
    out(f, 0x0, 0x21);
    out(f, 0xe, 0x49);
    out(f, 0xc, rcr);
    out(f, 0xd, 0);
    out(f, 0x1, PSTART);
    out(f, 0x2, PSTOP);
    out(f, 0x3, PSTART);
    out(f, 0x4, 0x40);
    out(f, 0x7, 0xff);
    out(f, 0xf, 0x7f);
    out(f, 0x0, 0x61);
    for (unsigned i = 0; i < 6; i++) {
        out(f, 1 + i, mac[i]);
        out(f, 8 + i, 0);
    }
    out(f, 0x7, PSTART + 1);
    out(f, 0x0, 0x22);
}

#endif
