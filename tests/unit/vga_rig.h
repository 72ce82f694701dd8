/* A board with a VGA and a screen for tests: standard modes by register tables, frames, pixels. */
#ifndef TESTS_UNIT_VGA_RIG_H
#define TESTS_UNIT_VGA_RIG_H

#include "tests/unit/chip.h"

#include "display/vga.h"

/* A standard mode: registers as the IBM BIOS sets them. */
typedef struct VgaMode {
    uint8_t misc;
    uint8_t sr[5], cr[25], gr[9], ar[21];
} VgaMode;

extern const VgaMode mode_03, mode_04, mode_06, mode_12, mode_13, mode_x;

typedef struct Rig {
    Board *b;
    Screen *screen;
    Vga *vga;
    Picture picture;
} Rig;

Rig rig_new(void);
void rig_free(Rig *r);

void rig_sr(Rig *r, uint8_t index, uint8_t value);
void rig_cr(Rig *r, uint8_t index, uint8_t value);
void rig_gr(Rig *r, uint8_t index, uint8_t value);
void rig_ar(Rig *r, uint8_t index, uint8_t value);
void rig_dac(Rig *r, uint8_t index, uint8_t red, uint8_t green, uint8_t blue);
void rig_vbe(Rig *r, uint16_t index, uint16_t value);
uint16_t rig_vbe_read(Rig *r, uint16_t index);
/* Sets all registers; palette entry i is (i, 2i, 3i) in 6 bits. */
void rig_mode(Rig *r, const VgaMode *mode);
/* What palette entry i then looks like. */
uint32_t rig_color(unsigned i);

void rig_poke(Rig *r, uint32_t address, uint8_t value);
uint8_t rig_peek(Rig *r, uint32_t address);

/* Steps the clock to the beginning of the given line of the next frame. */
void rig_to_line(Rig *r, unsigned line);
/* Steps over a vertical retrace, so that a whole frame since now is drawn, and reads the picture.
 */
void rig_frame(Rig *r);
uint32_t rig_pixel(const Rig *r, unsigned x, unsigned y);

#endif
