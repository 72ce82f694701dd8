/* Cirrus blitter: copies, patterns, colour expansion and all raster operations, a row at a time.
 *
 * CL-GD5446 Technical Reference Manual, "BitBLT Engine". A blit within video memory is done at once
 * when it is started; one from system memory takes its data as the processor writes it anywhere
 * into the frame buffer. Every address is cut to the memory there is. Not modelled: blits to system
 * memory (the 5446 has none), the time that a blit takes.
 */
#include <string.h>

#include "display/cirrus_internal.h"
#include "machine/core/log.h"

LOG_TAG("cirrus");

static uint32_t color(const Vga *v, unsigned first, unsigned second)
{
    const uint8_t *gr = v->g.gr;
    return gr[first] | (uint32_t)gr[second] << 8 | (uint32_t)gr[second + 2] << 16 |
           (uint32_t)gr[second + 4] << 24;
}

uint32_t cirrus_background(const Vga *v)
{
    return color(v, 0x00, 0x10);
}

uint32_t cirrus_foreground(const Vga *v)
{
    return color(v, 0x01, 0x11);
}

static unsigned pixel_bytes(const Blt *blt)
{
    return (blt->mode >> 4 & 3) + 1;
}

static unsigned pixels(const Blt *blt)
{
    return (blt->width + pixel_bytes(blt) - 1) / pixel_bytes(blt);
}

#define ROP_ROW(code, expression)                                                                  \
    case code:                                                                                     \
        for (unsigned i = 0; i < count; i++) {                                                     \
            uint8_t s = source[i], d = target[i];                                                  \
            (void)s;                                                                               \
            (void)d;                                                                               \
            out[i] = (uint8_t)(expression);                                                        \
        }                                                                                          \
        break

/* The sixteen operations by their codes in GR32; any other code leaves the target alone. */
static void combine(uint8_t rop, uint8_t *out, const uint8_t *target, const uint8_t *source,
                    unsigned count)
{
    switch (rop) {
        ROP_ROW(0x00, 0);
        ROP_ROW(0x05, s & d);
        ROP_ROW(0x09, s & ~d);
        ROP_ROW(0x0b, ~d);
        ROP_ROW(0x0d, s);
        ROP_ROW(0x0e, 0xff);
        ROP_ROW(0x50, ~s & d);
        ROP_ROW(0x59, s ^ d);
        ROP_ROW(0x6d, s | d);
        ROP_ROW(0x90, ~(s | d));
        ROP_ROW(0x95, ~(s ^ d));
        ROP_ROW(0xad, s | ~d);
        ROP_ROW(0xd0, ~s);
        ROP_ROW(0xd6, ~s | d);
        ROP_ROW(0xda, ~(s & d));
    default: /* 06h */
        memmove(out, target, count);
        break;
    }
}

/* Up to where video memory ends; the rest begins again at 0. */
static unsigned until_wrap(const Vga *v, uint32_t at, unsigned count)
{
    uint32_t left = v->size - at;
    return left < count ? left : count;
}

static void load_row(const Vga *v, uint32_t at, uint8_t *out, unsigned count)
{
    at &= v->size - 1;
    unsigned first = until_wrap(v, at, count);
    memcpy(out, v->bytes + at, first);
    memcpy(out + first, v->bytes, count - first);
}

static void store_row(Vga *v, uint32_t at, const uint8_t *row, unsigned count)
{
    at &= v->size - 1;
    unsigned first = until_wrap(v, at, count);
    memcpy(v->bytes + at, row, first);
    vga_wrote(v, at, first);
    if (first < count) {
        memcpy(v->bytes, row + first, count - first);
        vga_wrote(v, 0, count - first);
    }
}

/* Puts back the pixels of the result that equal the key colour (8 and 16 bits). */
static void apply_key(const Vga *v, const Blt *blt, uint8_t *out, const uint8_t *target)
{
    const uint8_t *key = &v->g.gr[GR_BLT_KEY];
    unsigned step = pixel_bytes(blt);
    if (step > 2) {
        return;
    }
    for (unsigned i = 0; i + step <= blt->width; i += step) {
        if (out[i] == key[0] && (step == 1 || out[i + 1] == key[1])) {
            memcpy(out + i, target + i, step);
        }
    }
}

/* One row: `source` against memory at `at`. keep: bytes that are written, or NULL for all. */
static void blit_row(Cirrus *c, const Blt *blt, uint32_t at, const uint8_t *source,
                     const uint8_t *keep)
{
    uint8_t target[BLT_MAX_WIDTH], out[BLT_MAX_WIDTH];
    load_row(&c->vga, at, target, blt->width);
    combine(blt->rop, out, target, source, blt->width);
    if (keep) {
        for (unsigned i = 0; i < blt->width; i++) {
            out[i] = keep[i] ? out[i] : target[i];
        }
    } else if (blt->mode & BLT_TRANSPARENT) {
        apply_key(&c->vga, blt, out, target);
    }
    store_row(&c->vga, at, out, blt->width);
}

/* Bytes at the left of each row that patterns and expansion do not write. */
static unsigned skipped(const Blt *blt)
{
    return pixel_bytes(blt) == 3 ? blt->mask & 0x1f : (blt->mask & 7) * pixel_bytes(blt);
}

/* Colours for a row of bits, highest first; the bits repeat after `period` (a power of two). */
static void expand_row(const Vga *v, const Blt *blt, const uint8_t *bits, unsigned period,
                       uint8_t *source, uint8_t *keep)
{
    bool transparent = (blt->mode & BLT_TRANSPARENT) != 0;
    bool inverted = transparent && blt->extensions & BLT_INVERT;
    uint32_t fore = cirrus_foreground(v), back = cirrus_background(v);
    unsigned step = pixel_bytes(blt), left = skipped(blt);
    for (unsigned x = 0; x < pixels(blt); x++) {
        unsigned bit = x & (period - 1);
        bool set = bits[bit / 8] >> (7 - bit % 8) & 1;
        uint32_t value = set ? fore : back;
        for (unsigned k = 0; k < step && x * step + k < blt->width; k++) {
            source[x * step + k] = (uint8_t)(value >> (8 * k));
            keep[x * step + k] = (!transparent || set != inverted) && x * step + k >= left;
        }
    }
}

/* Bytes of a row of bits. */
static unsigned bit_bytes(const Blt *blt)
{
    unsigned bytes = (pixels(blt) + 7) / 8;
    return blt->mode & BLT_FROM_SYSTEM && blt->extensions & BLT_DWORD_ROWS ? (bytes + 3) & ~3u
                                                                           : bytes;
}

static unsigned pattern_row_bytes(const Blt *blt)
{
    return blt->mode & BLT_EXPAND ? 1 : (pixel_bytes(blt) == 3 ? 32 : 8 * pixel_bytes(blt));
}

/* 8 x 8 patterns, from `pattern` (8 rows); they repeat, and begin at row `y`. */
static void blit_pattern(Cirrus *c, Blt *blt, const uint8_t *pattern, unsigned y)
{
    uint8_t source[BLT_MAX_WIDTH], keep[BLT_MAX_WIDTH];
    unsigned stride = pattern_row_bytes(blt), across = 8 * pixel_bytes(blt), left = skipped(blt);
    for (unsigned row = 0; row < blt->rows; row++) {
        const uint8_t *bits = pattern + ((y + row) & 7) * stride;
        if (blt->mode & BLT_EXPAND) {
            expand_row(&c->vga, blt, bits, 8, source, keep);
        } else {
            for (unsigned i = 0; i < blt->width; i++) {
                source[i] = bits[i % across];
                keep[i] = i >= left;
            }
        }
        bool all = !(blt->mode & BLT_EXPAND) && left == 0;
        blit_row(c, blt, blt->target + row * blt->target_pitch, source, all ? NULL : keep);
    }
}

static void blit_solid(Cirrus *c, const Blt *blt)
{
    uint8_t source[BLT_MAX_WIDTH];
    uint32_t fore = cirrus_foreground(&c->vga);
    unsigned step = pixel_bytes(blt);
    for (unsigned i = 0; i < blt->width; i++) {
        source[i] = (uint8_t)(fore >> (8 * (i % step)));
    }
    for (unsigned row = 0; row < blt->rows; row++) {
        blit_row(c, blt, blt->target + row * blt->target_pitch, source, NULL);
    }
}

/* Rows of pixels within video memory, in either direction. */
static void blit_copy(Cirrus *c, const Blt *blt)
{
    uint8_t source[BLT_MAX_WIDTH];
    bool backward = (blt->mode & BLT_BACKWARD) != 0;
    uint32_t back = backward ? blt->width - 1u : 0; /* addresses are of a row's last byte then */
    for (unsigned row = 0; row < blt->rows; row++) {
        uint32_t from = row * blt->source_pitch, to = row * blt->target_pitch;
        load_row(&c->vga, backward ? blt->source - from - back : blt->source + from, source,
                 blt->width);
        blit_row(c, blt, backward ? blt->target - to - back : blt->target + to, source, NULL);
    }
}

static void blit_expanded(Cirrus *c, const Blt *blt)
{
    uint8_t source[BLT_MAX_WIDTH], keep[BLT_MAX_WIDTH], bits[BLT_MAX_WIDTH / 8];
    for (unsigned row = 0; row < blt->rows; row++) {
        load_row(&c->vga, blt->source + row * bit_bytes(blt), bits, bit_bytes(blt));
        expand_row(&c->vga, blt, bits, BLT_MAX_WIDTH, source, keep);
        blit_row(c, blt, blt->target + row * blt->target_pitch, source, keep);
    }
}

static void blit_in_memory(Cirrus *c, Blt *blt)
{
    const uint8_t both = BLT_PATTERN | BLT_EXPAND;
    if ((blt->mode & both) == both && blt->extensions & BLT_SOLID) {
        blit_solid(c, blt);
    } else if (blt->mode & BLT_PATTERN) {
        uint8_t pattern[8 * 32];
        load_row(&c->vga, blt->source & ~7u, pattern, 8 * pattern_row_bytes(blt));
        blit_pattern(c, blt, pattern, blt->source & 7);
    } else if (blt->mode & BLT_EXPAND) {
        blit_expanded(c, blt);
    } else {
        blit_copy(c, blt);
    }
}

/* Bytes that the processor writes for a row, or for the whole pattern. */
static uint16_t data_needed(const Blt *blt)
{
    if (blt->mode & BLT_PATTERN) {
        return (uint16_t)(8 * pattern_row_bytes(blt));
    }
    return (uint16_t)(blt->mode & BLT_EXPAND ? bit_bytes(blt) : (blt->width + 3u) & ~3u);
}

bool cirrus_blt_possible(Blt *blt)
{
    if (blt->width == 0 || blt->width > BLT_MAX_WIDTH || blt->rows == 0 ||
        blt->rows > BLT_MAX_HEIGHT) {
        return false;
    }
    blt->needed = data_needed(blt);
    return blt->filled < blt->needed;
}

static uint32_t word_at(const uint8_t *gr, unsigned index)
{
    return gr[index] | (uint32_t)gr[index + 1] << 8;
}

static uint32_t address_at(const uint8_t *gr, unsigned index)
{
    return word_at(gr, index) | (uint32_t)(gr[index + 2] & 0x3f) << 16;
}

void cirrus_blt_start(Cirrus *c)
{
    const uint8_t *gr = c->vga.g.gr;
    Blt *blt = &c->g.blt;
    *blt = (Blt){.width = (uint16_t)((word_at(gr, GR_BLT_WIDTH) & 0x1fff) + 1),
                 .rows = (uint16_t)((word_at(gr, GR_BLT_HEIGHT) & 0x07ff) + 1),
                 .target_pitch = word_at(gr, GR_BLT_TARGET_PITCH) & 0x1fff,
                 .source_pitch = word_at(gr, GR_BLT_SOURCE_PITCH) & 0x1fff,
                 .target = address_at(gr, GR_BLT_TARGET),
                 .source = address_at(gr, GR_BLT_SOURCE),
                 .mode = gr[GR_BLT_MODE],
                 .rop = gr[GR_BLT_ROP],
                 .extensions = gr[GR_BLT_EXTENSIONS],
                 .mask = gr[GR_BLT_MASK]};
    log_trace("blit mode 0x%x rop 0x%x, %u bytes x %u, 0x%x -> 0x%x", blt->mode, blt->rop,
              blt->width, blt->rows, blt->source, blt->target);
    if (blt->mode & BLT_TO_SYSTEM) {
        log_guest("a blit to system memory, mode 0x%x", blt->mode);
    } else if (blt->mode & BLT_FROM_SYSTEM) {
        blt->needed = data_needed(blt);
        blt->active = true;
        cirrus_linear_changed(c);
        vga_memory_changed(&c->vga);
    } else {
        blit_in_memory(c, blt);
    }
}

void cirrus_blt_stop(Cirrus *c)
{
    if (c->g.blt.active) {
        c->g.blt.active = false;
        cirrus_linear_changed(c);
        vga_memory_changed(&c->vga);
    }
}

/* A row of data is complete. */
static void data_complete(Cirrus *c)
{
    uint8_t source[BLT_MAX_WIDTH], keep[BLT_MAX_WIDTH];
    Blt *blt = &c->g.blt;
    blt->filled = 0;
    if (blt->mode & BLT_PATTERN) {
        blit_pattern(c, blt, c->g.data, blt->source & 7);
        blt->rows = 1;
    } else if (blt->mode & BLT_EXPAND) {
        expand_row(&c->vga, blt, c->g.data, BLT_MAX_WIDTH, source, keep);
        blit_row(c, blt, blt->target, source, keep);
    } else {
        blit_row(c, blt, blt->target, c->g.data, NULL);
    }
    blt->target += blt->target_pitch;
    if (--blt->rows == 0) {
        cirrus_blt_stop(c);
    }
}

void cirrus_blt_feed(Cirrus *c, uint64_t value, unsigned bytes)
{
    Blt *blt = &c->g.blt;
    /* what an access holds beyond the blit's last byte is padding */
    for (unsigned i = 0; i < bytes && blt->active; i++) {
        c->g.data[blt->filled++] = (uint8_t)(value >> (8 * i));
        if (blt->filled == blt->needed) {
            data_complete(c);
        }
    }
}
