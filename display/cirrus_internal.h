/* What the files of the Cirrus share. */
#ifndef DISPLAY_CIRRUS_INTERNAL_H
#define DISPLAY_CIRRUS_INTERNAL_H

#include "display/cirrus.h"
#include "display/ddc.h"
#include "display/vga_internal.h"

/* Extension registers by the names of the manual. */
enum {
    SR_UNLOCK = 0x06,
    SR_EXTENDED_MODE = 0x07,
    SR_DDC = 0x08,
    SR_VCLK_NUMERATOR = 0x0b, /* to 0Eh */
    SR_DRAM = 0x0f,
    SR_CURSOR_X = 0x10, /* the index's bits 7-5 are the position's lowest */
    SR_CURSOR_Y = 0x11,
    SR_CURSOR_MODE = 0x12,
    SR_CURSOR_PATTERN = 0x13,
    SR_CONFIGURATION = 0x17,
    SR_VCLK_DENOMINATOR = 0x1b, /* to 1Eh */

    SR7_PACKED = 0x01,
    SR7_CLOCKING = 0x0e,
    CURSOR_ON = 0x01,
    CURSOR_COLORS = 0x02, /* palette ports reach the cursor's colours */
    CURSOR_64 = 0x04,
    CONFIGURATION_MMIO = 0x04,
    CONFIGURATION_MMIO_LINEAR = 0x40,
    CONFIGURATION_PCI = 0x20,

    CR_EXTENDED_DISPLAY = 0x1b,
    CR_EXTENDED_OVERLAY = 0x1d,
    CR_PART_STATUS = 0x25,
    CR_ATTRIBUTE_INDEX = 0x26,
    CR_ID = 0x27,

    GR_OFFSET_0 = 0x09,
    GR_OFFSET_1 = 0x0a,
    GR_EXTENSIONS = 0x0b,
    GR_POWER = 0x0e, /* bits 2-1: sync signals off */
    GR_CLOCK_DOUBLE = 0x18,
    EXTENSIONS_DUAL = 0x01,
    EXTENSIONS_BY_8 = 0x02,
    EXTENSIONS_WRITE_MODES = 0x04,
    EXTENSIONS_LATCH_8 = 0x08,
    EXTENSIONS_16_BIT = 0x10,
    EXTENSIONS_16_KIB = 0x20,

    GR_BLT_WIDTH = 0x20,
    GR_BLT_HEIGHT = 0x22,
    GR_BLT_TARGET_PITCH = 0x24,
    GR_BLT_SOURCE_PITCH = 0x26,
    GR_BLT_TARGET = 0x28,
    GR_BLT_SOURCE = 0x2c,
    GR_BLT_MASK = 0x2f,
    GR_BLT_MODE = 0x30,
    GR_BLT_START = 0x31,
    GR_BLT_ROP = 0x32,
    GR_BLT_EXTENSIONS = 0x33,
    GR_BLT_KEY = 0x34,

    BLT_BACKWARD = 0x01,
    BLT_TO_SYSTEM = 0x02,
    BLT_FROM_SYSTEM = 0x04,
    BLT_TRANSPARENT = 0x08,
    BLT_PATTERN = 0x40,
    BLT_EXPAND = 0x80,
    BLT_STATUS_BUSY = 0x01,
    BLT_STATUS_START = 0x02,
    BLT_STATUS_RESET = 0x04,
    BLT_STATUS_AUTOSTART = 0x80,
    BLT_DWORD_ROWS = 0x01,
    BLT_INVERT = 0x02,
    BLT_SOLID = 0x04,

    BLT_MAX_WIDTH = 8192,
    BLT_MAX_HEIGHT = 2048,
    CURSOR_AREA = 0x4000, /* patterns: the last 16 KiB of memory */
    CURSOR_COLOR_COUNT = 16,
    APERTURE = 0x2000000,
    APERTURE_BLT = 0x1000000, /* the upper half takes blitter data only */
    MMIO_BYTES = 256,         /* blitter registers in memory */
};

/* A blit under way, or what it needs to be one. */
typedef struct Blt {
    bool active;          /* waits for data from the processor */
    uint16_t width, rows; /* bytes 1..8192; rows still to come, 1..2048 */
    uint16_t target_pitch, source_pitch;
    uint32_t target, source; /* of the next row */
    uint8_t mode, rop, extensions, mask;
    uint16_t filled, needed; /* bytes of data from the processor for one row (or the pattern) */
} Blt;

typedef struct Cirrus {
    Vga vga;
    struct {
        uint8_t sr_index; /* all eight bits */
        uint8_t hidden;   /* hidden DAC register */
        uint8_t hidden_reads;
        uint16_t cursor_x, cursor_y;
        uint8_t cursor_color[CURSOR_COLOR_COUNT][3];
        uint8_t latch[8];
        Blt blt;
        uint8_t data[BLT_MAX_WIDTH]; /* from the processor */
        Ddc ddc;
    } g;
    IoRange *linear[2]; /* the frame buffer as plain memory: all but its last page, and that page */
    bool linear_on;
    unsigned linear_wait; /* accesses until it opens again */
} Cirrus;

static inline Cirrus *cirrus_of(const Vga *v)
{
    return (Cirrus *)(uintptr_t)v; /* its first member */
}

static inline bool cirrus_packed(const Vga *v)
{
    return (v->g.sr[SR_EXTENDED_MODE] & SR7_PACKED) != 0;
}

/* cirrus_regs.c */
bool cirrus_read(Vga *v, uint16_t port, uint8_t *value);
bool cirrus_write(Vga *v, uint16_t port, uint8_t value);
uint8_t *cirrus_dac(Vga *v, uint8_t index);
uint32_t cirrus_clock_hz(Vga *v);
void cirrus_scan(Vga *v, Scan *scan);
void cirrus_write_gr(Cirrus *c, uint8_t index, uint8_t value);
uint8_t cirrus_read_gr(const Cirrus *c, uint8_t index);

/* cirrus_mem.c */
extern const IoOps cirrus_aperture_ops, cirrus_mmio_ops;
bool cirrus_window_read(Vga *v, uint32_t offset, uint64_t *value, unsigned bytes);
bool cirrus_window_write(Vga *v, uint32_t offset, uint64_t value, unsigned bytes);
bool cirrus_direct(Vga *v, uint32_t at[2]);
/* Closes the plain part of the frame buffer, or lets it open again after some accesses, when a
 * register or the blitter changed. */
void cirrus_linear_changed(Cirrus *c);
/* Its BAR moved. */
void cirrus_linear_moved(Cirrus *c);

/* cirrus_blt.c */
/* GR31 was written, or the target address was complete and starts by itself. */
void cirrus_blt_start(Cirrus *c);
void cirrus_blt_stop(Cirrus *c);
/* Can a loaded state's blit go on? Sets how much data it needs. */
bool cirrus_blt_possible(Blt *blt);
/* Data of one access from the processor. */
void cirrus_blt_feed(Cirrus *c, uint64_t value, unsigned bytes);
uint32_t cirrus_foreground(const Vga *v);
uint32_t cirrus_background(const Vga *v);

/* cirrus_cursor.c */
uint32_t cirrus_cursor_mark(const Vga *v, unsigned y);
void cirrus_cursor_draw(const Vga *v, unsigned y, uint32_t *pixels);

#endif
