/* A board with the pair of 8259s set up as the PC's BIOS does: vectors 08h and 70h, edge triggered.
 */
#ifndef TESTS_UNIT_PIC_RIG_H
#define TESTS_UNIT_PIC_RIG_H

#include "chipset/pic.h"
#include "tests/unit/chip.h"

typedef struct Fixture {
    Board *b;
    Pic *pic;
    Line irq[16];
    Probe intr;
} Fixture;

/* Initializes one chip; ICW3 and ICW4 where ICW1 asks for them. */
static inline void program(Board *b, uint16_t port, uint8_t icw1, uint8_t base, uint8_t icw4)
{
    chip_out(b, port, icw1);
    chip_out(b, port + 1, base);
    if (!(icw1 & 2)) {
        chip_out(b, port + 1, port == 0x20 ? 4 : 2);
    }
    if (icw1 & 1) {
        chip_out(b, port + 1, icw4);
    }
}

static inline void fixture(Fixture *f)
{
    f->b = chip_board();
    f->pic = pic_new(f->b, &(PicConfig){.intr = chip_probe(f->b, &f->intr)}, "pic");
    for (unsigned i = 0; i < 16; i++) {
        if (i != 2) {
            f->irq[i] = pic_input(f->pic, i);
        }
    }
    board_reset(f->b, RESET_POWER);
    program(f->b, 0x20, 0x11, 0x08, 0x01);
    program(f->b, 0xa0, 0x11, 0x70, 0x01);
}

static inline uint8_t isr(Board *b, uint16_t port)
{
    chip_out(b, port, 0x0b);
    return chip_in(b, port);
}

static inline uint8_t irr(Board *b, uint16_t port)
{
    chip_out(b, port, 0x0a);
    return chip_in(b, port);
}

#endif
