/* What the files of the VGA share, and what a chip built around it (Cirrus) plugs in. */
#ifndef DISPLAY_VGA_INTERNAL_H
#define DISPLAY_VGA_INTERNAL_H

#include "display/vga.h"

/* Registers by the names of the IBM reference; the index is their number. */
enum {
    SR_RESET = 0,
    SR_CLOCKING = 1,
    SR_MAP_MASK = 2,
    SR_CHARACTER_MAP = 3,
    SR_MEMORY_MODE = 4,

    CR_HORIZONTAL_TOTAL = 0x00,
    CR_HORIZONTAL_DISPLAY_END = 0x01,
    CR_VERTICAL_TOTAL = 0x06,
    CR_OVERFLOW = 0x07,
    CR_PRESET_ROW_SCAN = 0x08,
    CR_MAX_SCAN_LINE = 0x09,
    CR_CURSOR_START = 0x0a,
    CR_CURSOR_END = 0x0b,
    CR_START_HIGH = 0x0c,
    CR_START_LOW = 0x0d,
    CR_CURSOR_HIGH = 0x0e,
    CR_CURSOR_LOW = 0x0f,
    CR_RETRACE_START = 0x10,
    CR_RETRACE_END = 0x11,
    CR_VERTICAL_DISPLAY_END = 0x12,
    CR_OFFSET = 0x13,
    CR_UNDERLINE = 0x14,
    CR_BLANK_START = 0x15,
    CR_BLANK_END = 0x16,
    CR_MODE_CONTROL = 0x17,
    CR_LINE_COMPARE = 0x18,
    CR_LATCHES = 0x22,   /* read only, undocumented by IBM: the latch of the plane read */
    CR_ATTRIBUTE = 0x24, /* read only, likewise: bit 7 is the attribute flip-flop */

    GR_SET_RESET = 0,
    GR_ENABLE_SET_RESET = 1,
    GR_COLOR_COMPARE = 2,
    GR_ROTATE = 3,
    GR_READ_MAP = 4,
    GR_MODE = 5,
    GR_MISC = 6,
    GR_COLOR_DONT_CARE = 7,
    GR_BIT_MASK = 8,

    AR_MODE = 0x10,
    AR_OVERSCAN = 0x11,
    AR_PLANE_ENABLE = 0x12,
    AR_PANNING = 0x13,
    AR_COLOR_SELECT = 0x14,
};

enum {
    SR_COUNT = 0x20,
    CR_COUNT = 0x40,
    GR_COUNT = 0x40,
    AR_COUNT = 0x15,

    MISC_COLOR = 0x01, /* ports at 3Dxh instead of 3Bxh */
    MISC_RAM_ENABLE = 0x02,
    MISC_CLOCK = 0x0c,
    MISC_PAGE = 0x20,

    CLOCKING_8_DOTS = 0x01,
    CLOCKING_HALF = 0x08,
    CLOCKING_SCREEN_OFF = 0x20,

    MEMORY_EXTENDED = 0x02,
    MEMORY_SEQUENTIAL = 0x04, /* not odd/even */
    MEMORY_CHAIN4 = 0x08,

    GR_MODE_READ_1 = 0x08,
    GR_MODE_ODD_EVEN = 0x10,
    GR_MODE_INTERLEAVE = 0x20, /* CGA's two bits a pixel */
    GR_MODE_256 = 0x40,
    GR_MISC_GRAPHICS = 0x01,
    GR_MISC_CHAIN_ODD_EVEN = 0x02,

    AR_MODE_LINE_GRAPHICS = 0x04,
    AR_MODE_BLINK = 0x08,
    AR_MODE_PAN_TOP_ONLY = 0x20, /* no panning below the split */
    AR_MODE_8_BIT = 0x40,
    AR_MODE_COLOR_SELECT = 0x80, /* palette bits 5-4 from the color select register */
    AR_INDEX_SCREEN_ON = 0x20,   /* "palette address source" */

    VGA_WINDOW = 0xa0000,
    VGA_WINDOW_SIZE = 0x20000,
    VGA_BANK = 0x10000,
    VGA_HALF_BANK = 0x8000,
    VGA_PLANE_SIZE = 0x10000, /* addresses of the IBM VGA's memory, four planes each */
    VGA_PAGES = 4 * VGA_PLANE_SIZE / RAM_PAGE,
    VGA_MAX_COLUMNS = 256,
    VGA_MAX_ROWS = 512,
    LINE_MARGIN = 16, /* pixels before a line, for what panning cuts */
};

/* Bochs VBE DISPI registers. */
enum {
    VBE_ID,
    VBE_XRES,
    VBE_YRES,
    VBE_BPP,
    VBE_ENABLE,
    VBE_BANK,
    VBE_VIRT_WIDTH,
    VBE_VIRT_HEIGHT,
    VBE_X_OFFSET,
    VBE_Y_OFFSET,
    VBE_MEMORY_64K,
    VBE_REGISTERS,

    VBE_ID_0 = 0xb0c0,
    VBE_ID_5 = 0xb0c5,
    VBE_ENABLED = 0x01,
    VBE_CAPABILITIES = 0x02,
    VBE_8_BIT_DAC = 0x20,
    VBE_LFB = 0x40,
    VBE_NO_CLEAR = 0x80,
};

typedef enum ScanKind {
    SCAN_BLANK,  /* nothing is shown */
    SCAN_TEXT,   /* characters and attributes, fonts in plane 2 */
    SCAN_PLANES, /* four bits a dot from the planes, by shift register or CGA interleave */
    SCAN_BYTES,  /* 256 colours by way of the CRTC's addressing */
    SCAN_LINEAR, /* packed pixels from a byte address */
} ScanKind;

/* How memory becomes a picture, derived from the registers whenever one changes. */
typedef struct Scan {
    ScanKind kind;
    bool off;         /* blanked by the sequencer */
    bool text;        /* characters, be they blanked or not */
    bool square;      /* pixels' own shape; else the picture fills a 4:3 tube */
    bool crtc;        /* panning, row scan and blanking by the CRTC apply */
    unsigned width;   /* of the picture, pixels; its height is Timing's */
    unsigned columns; /* character clocks of a line */
    unsigned dots;    /* pixels of a character clock: 4, 8, 9 */
    unsigned bits;    /* SCAN_LINEAR: 8, 15, 16, 24, 32 */
    uint32_t start;   /* where the next picture begins: CRTC address, or byte address when linear */
    uint32_t pitch;   /* from row to row, in the same unit */
    uint32_t mask;    /* of addresses in that unit */
    uint32_t line_compare; /* line after which the split begins; UINT32_MAX: never */
    unsigned halved;       /* shift: the vertical counter counts every second line */
    unsigned pan;          /* VBE, 4 bits: pixels cut at the left */
} Scan;

/* Beam timing in dots of the pixel clock. */
typedef struct Timing {
    uint32_t hz;
    uint32_t line_dots, display_dots;
    uint32_t lines, display_lines;
    uint32_t retrace_first, retrace_end; /* lines; end is exclusive */
    uint32_t show_line;                  /* at whose begin the picture is complete */
    bool stopped;                        /* no signal that a monitor could follow */
} Timing;

typedef struct Beam {
    uint64_t frame; /* since the epoch */
    uint32_t line, dot;
} Beam;

/* What a line in the picture was made from, to know when it needs no work. */
typedef struct LineKey {
    uint64_t style;
    uint64_t batch; /* of memory it is known to be as new as */
    uint32_t at;
    uint32_t marks; /* row scan, panning, cursor, blink */
} LineKey;

/* Where the walk down the lines of a picture stands; by the names of Vga.g. */
typedef struct Walk {
    uint32_t next_line, row, row_index;
    uint8_t row_scan;
    bool second, split, blanked;
} Walk;

typedef struct TextRow {
    uint64_t checked, changed; /* batches */
    uint64_t style;
    uint32_t at;
    bool blinks;
    uint16_t cell[VGA_MAX_COLUMNS]; /* character, attribute << 8 */
} TextRow;

/* A chip built around the VGA. Each member may be NULL. */
typedef struct VgaChip {
    /* Registers of its own. True: handled. */
    bool (*read)(Vga *v, uint16_t port, uint8_t *value);
    bool (*write)(Vga *v, uint16_t port, uint8_t value);
    /* Changes what the standard registers say of picture, clock and timing. */
    void (*scan)(Vga *v, Scan *scan);
    uint32_t (*clock_hz)(Vga *v);
    void (*timing)(Vga *v, Timing *timing);
    /* An access to the A0000h window. True: handled. */
    bool (*window_read)(Vga *v, uint32_t offset, uint64_t *value, unsigned bytes);
    bool (*window_write)(Vga *v, uint32_t offset, uint64_t value, unsigned bytes);
    /* Where the two halves of the first 64 KiB of the window lie in memory, while plain reads and
     * writes of them are exact. */
    bool (*direct)(Vga *v, uint32_t at[2]);
    /* The palette entry that the palette ports reach; NULL: the usual. */
    uint8_t *(*dac)(Vga *v, uint8_t index);
    /* Draws over a finished line, and says with what (0: nothing there); UINT_MAX: over all lines.
     */
    uint32_t (*overlay_mark)(const Vga *v, unsigned y);
    void (*overlay)(const Vga *v, unsigned y, uint32_t *pixels);
} VgaChip;

struct Vga {
    Device dev;
    VgaConfig config;
    const VgaChip *chip;
    PciFunction *pci;
    RamBlock *vram;
    uint8_t *bytes;   /* vram on the host */
    uint32_t *planes; /* the same; an element holds a byte of each plane, plane 0 lowest */
    uint32_t size;    /* bytes, a power of two */
    struct {
        uint8_t misc, feature, enable;
        uint8_t sr_index, cr_index, gr_index, ar_index;
        bool ar_data; /* flip-flop: the next write to 3C0h is data */
        uint8_t sr[SR_COUNT], cr[CR_COUNT], gr[GR_COUNT], ar[AR_COUNT];
        uint8_t dac[256][3];
        uint8_t dac_mask, dac_index, dac_part; /* part: 0..2 */
        bool dac_reading, dac_8_bit;
        uint8_t dac_latch[3];
        uint32_t latch;
        bool direct; /* plain memory is given to the bus: reads of it leave the latch alone */
        uint8_t direct_wait; /* accesses until it is; 0: it cannot be, or is */
        bool irq_pending;
        uint16_t vbe[VBE_REGISTERS];
        uint16_t vbe_index;
        uint8_t vbe_low;    /* first byte of a split write to the data port */
        bool vbe_lingers;   /* switched off, but no standard mode set since */
        int64_t epoch;      /* guest ns at which line 0 of frame 0 began */
        uint64_t frame;     /* being drawn, since the epoch */
        uint64_t frames;    /* since power-on: blinking counts them */
        int64_t shown;      /* guest ns at which a picture was last handed over */
        uint32_t next_line; /* of that frame; lines above are drawn */
        uint32_t row;       /* walk: address at which the row of dots or characters begins */
        uint32_t row_index; /* rows since the top */
        uint8_t row_scan;   /* 0..31 */
        bool second;        /* second line of a doubled pair */
        bool split;         /* line compare was met */
        bool blanked;       /* vertical blanking is on */
    } g;
    Timer timer;                 /* fires when the picture is complete */
    IoRange *window, *direct[2]; /* direct: 32 KiB each */
    bool direct_possible;
    uint32_t direct_at[2];
    /* Derived from registers. */
    Scan scan;
    Timing timing;
    uint32_t rgb[256];
    uint32_t rgb16[16]; /* by attribute palette */
    uint32_t map_mask, set_reset, enable_set_reset, bit_mask, compare, care; /* a byte a plane */
    /* The picture. */
    uint64_t style;       /* rises with every change that may be seen */
    uint64_t batch;       /* rises with every look at memory */
    bool spoiled;         /* the picture changed its size below the first line: do not show it */
    LineKey whole;        /* of the last picture drawn in one piece; style 0: it was not */
    Walk whole_end;       /* below that picture */
    uint64_t dirty_batch; /* in which memory of the picture was last found changed */
    uint64_t *stamp;      /* per page of vram: batch in which it was last found written */
    uint8_t *heat;        /* per page: looks in a row that found it written, up to HOT */
    LineKey key[SCREEN_MAX_HEIGHT];
    TextRow *text; /* VGA_MAX_ROWS */
    uint8_t font[2][256 * 32];
    uint64_t font_style, font_batch;          /* for which `font` is right */
    uint32_t line[(VGA_MAX_COLUMNS + 3) * 9]; /* being drawn, from LINE_MARGIN on */
};

/* vga.c */
bool vga_init(Vga *v, Board *b, const VgaConfig *config, const VgaChip *chip, Err *err);
void vga_reset(Vga *v, ResetKind kind);
void vga_state(Vga *v, StateIo *io);
void vga_restored(Vga *v);
void vga_fini(Vga *v);

/* vga_mem.c */
/* Memory was written by the chip itself. */
void vga_wrote(Vga *v, uint32_t at, uint32_t length);
extern const IoOps vga_window_ops;
/* Are the first 64 KiB of the window plain bytes of memory by the standard registers? */
bool vga_plain(const Vga *v, uint32_t at[2]);
void vga_memory_changed(Vga *v);
/* After a state was loaded: what the bus sees is as it was. */
void vga_memory_restored(Vga *v);

/* vga_regs.c */
/* Writes a register, with the brackets, if it changes. */
void vga_set(Vga *v, uint8_t *reg, uint8_t value);
uint8_t vga_port_read(Vga *v, uint16_t port);
void vga_port_write(Vga *v, uint16_t port, uint8_t value);
void vga_claim_ports(Vga *v);
void vga_palette_changed(Vga *v);
/* Brackets around a change of registers that the picture depends on. */
void vga_before_change(Vga *v);
void vga_after_change(Vga *v);

/* vga_beam.c */
Beam vga_beam(const Vga *v);
void vga_timing_changed(Vga *v);
/* Recomputes it without moving the beam. */
void vga_timing_restored(Vga *v);
void vga_sync(Vga *v);
Beam vga_sync_frames(Vga *v);
void vga_arm(Vga *v);
void vga_frame_begin(Vga *v);
/* Is vertical blanking on between this line and the next, as the counter has them? */
bool vga_blanked_after(const Vga *v, uint32_t line, uint32_t next, bool blanked);
bool vga_irq_level(const Vga *v);
void vga_timer_fired(void *self, int64_t due);
/* How many ns the next picture may be late while the processor sleeps (Timer.late). */
int64_t vga_timer_late(void *self);

/* vga_scan.c */
void vga_scan_changed(Vga *v);

/* vga_draw.c: one line of pixels, to v->line + LINE_MARGIN */
void vga_draw_text(Vga *v);
void vga_draw_planes(Vga *v);
void vga_draw_bytes(Vga *v);
void vga_draw_linear(Vga *v);
/* Where the CRTC finds character clock `column` of the row at `row`: an index in v->planes. */
uint32_t vga_crtc_place(const Vga *v, uint32_t row, unsigned column);
/* Column of the cursor on this line, or -1. */
int vga_cursor_column(const Vga *v);
bool vga_blink_off(const Vga *v);

/* vga_picture.c: which lines need to be drawn */
void vga_draw_lines(Vga *v, unsigned end);
void vga_redraw_all(Vga *v);
void vga_forget_picture(Vga *v);
/* May anything in the picture blink? */
bool vga_blinks(const Vga *v);
/* Would the next picture, drawn as things stand now, be the last one again? */
bool vga_stands_still(const Vga *v);

/* vbe.c */
void vbe_claim_ports(Vga *v);
void vbe_reset(Vga *v);
uint16_t vbe_read(Vga *v, unsigned index);
void vbe_write(Vga *v, unsigned index, uint16_t value);
bool vbe_on(const Vga *v);
/* Can the registers' mode be shown? (A loaded state may hold anything.) */
bool vbe_possible(const Vga *v);
/* Is its picture shown? */
bool vbe_shown(const Vga *v);
/* A standard mode is being set: its picture goes, if it is off. */
void vbe_leave(Vga *v);
/* Bytes from line to line (of one plane, with 4 bits a pixel). */
uint32_t vbe_pitch(const Vga *v);

/* A plane address (IBM's, 64 KiB a bank) to its place in `planes`. The CRTC's doubleword mode and
 * chain 4 both use every fourth address; rotating the 16 bits by two lays those side by side, so
 * that chained pixels are plain bytes in vram and yet every other mode finds memory as on the
 * chip. */
static inline uint32_t vga_place(uint32_t address)
{
    return (address & ~0xffffu) | (address >> 2 & 0x3fff) | (address & 3) << 14;
}

static inline uint32_t vga_plane_mask(const Vga *v)
{
    return vbe_on(v) ? v->size / 4 - 1 : VGA_PLANE_SIZE - 1;
}

/* A nibble, one bit a plane, to a byte a plane. */
static inline uint32_t vga_spread(unsigned nibble)
{
    return ((nibble & 1) | (nibble & 2) << 7 | (nibble & 4) << 14 | (nibble & 8) << 21) * 0xffu;
}

#endif
