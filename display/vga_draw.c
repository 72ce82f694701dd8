/* VGA drawing: one line of memory to pixels, for text, planes, 256 colours and packed pixels.
 *
 * IBM PS/2 Video Subsystem reference, "Attribute Controller". Every index is masked to the memory
 * there is, whatever the registers say. Not modelled: the attribute palette's part in 256-colour
 * modes, which all software leaves one to one.
 */
#include <string.h>

#include "display/vga_internal.h"

static uint32_t crtc_address(const Vga *v, uint32_t counter)
{
    const uint8_t *cr = v->g.cr;
    if (!v->scan.crtc) {
        return counter;
    }
    uint32_t address = counter;
    counter &= 0xffff;
    if (cr[CR_UNDERLINE] & 0x40) { /* doublewords */
        address = counter << 2 | counter >> 14;
    } else if (!(cr[CR_MODE_CONTROL] & 0x40)) { /* words; bit 15, or 13 with 64 KiB, wraps around */
        unsigned wrap = cr[CR_MODE_CONTROL] & 0x20 ? 15 : 13;
        address = counter << 1 | (counter >> wrap & 1);
    }
    address &= 0xffff;
    /* CGA and Hercules: lines in two or four banks */
    if (!(cr[CR_MODE_CONTROL] & 0x01)) {
        address = (address & ~0x2000u) | (v->g.row_scan & 1u) << 13;
    }
    if (!(cr[CR_MODE_CONTROL] & 0x02)) {
        address = (address & ~0x4000u) | (v->g.row_scan & 2u) << 13;
    }
    return address;
}

static unsigned count_shift(const Vga *v)
{
    if (!v->scan.crtc) {
        return 0;
    }
    return v->g.cr[CR_UNDERLINE] & 0x20 ? 2 : v->g.cr[CR_MODE_CONTROL] >> 3 & 1;
}

uint32_t vga_crtc_place(const Vga *v, uint32_t row, unsigned column)
{
    uint32_t address = crtc_address(v, row + (column >> count_shift(v)));
    return vga_place(address) & v->scan.mask;
}

/* Character clocks' worth of planes, one more than are shown, for panning. */
static unsigned fetch(const Vga *v, uint32_t *cells)
{
    unsigned count = v->scan.columns < VGA_MAX_COLUMNS ? v->scan.columns + 1 : VGA_MAX_COLUMNS + 1;
    bool plain = v->scan.crtc && v->g.cr[CR_UNDERLINE] & 0x40 &&
                 (v->g.cr[CR_MODE_CONTROL] & 3) == 3 && count_shift(v) == 0 &&
                 v->g.row + count <= VGA_PLANE_SIZE;
    if (plain) { /* rotating a doubleword address gives the counter again */
        memcpy(cells, v->planes + v->g.row, count * sizeof(*cells));
    } else {
        for (unsigned i = 0; i < count; i++) {
            cells[i] = v->planes[vga_crtc_place(v, v->g.row, i)];
        }
    }
    return count;
}

/* Pixels that panning cuts at the left. */
static unsigned panning(const Vga *v)
{
    if (!v->scan.crtc) {
        return v->scan.pan;
    }
    unsigned pan = v->g.ar[AR_PANNING] & 0xf;
    if (v->g.split && v->g.ar[AR_MODE] & AR_MODE_PAN_TOP_ONLY) {
        pan = 0; /* also with nine dots, where that is one pixel */
    }
    switch (v->scan.dots) {
    case 9: /* 8 is none, 0 is one */
        return pan >= 8 ? 0 : pan + 1;
    case 4:
        return pan >> 1 & 3;
    default:
        return pan & 7;
    }
}

bool vga_blink_off(const Vga *v)
{
    return v->g.ar[AR_MODE] & AR_MODE_BLINK && v->g.frames & 0x10;
}

int vga_cursor_column(const Vga *v)
{
    const uint8_t *cr = v->g.cr;
    unsigned first = cr[CR_CURSOR_START] & 0x1f, last = cr[CR_CURSOR_END] & 0x1f;
    if (cr[CR_CURSOR_START] & 0x20 || v->g.row_scan < first || v->g.row_scan > last ||
        v->g.frames & 8) {
        return -1;
    }
    uint32_t cursor = (uint32_t)cr[CR_CURSOR_HIGH] << 8 | cr[CR_CURSOR_LOW];
    uint32_t column = (cursor - v->g.row) & v->scan.mask;
    column += cr[CR_CURSOR_END] >> 5 & 3; /* skew */
    return column < v->scan.columns ? (int)column : -1;
}

static void draw_cell(const Vga *v, uint32_t cell, bool cursor, uint32_t *out)
{
    uint8_t code = (uint8_t)cell, attribute = (uint8_t)(cell >> 8);
    uint8_t enable = v->g.ar[AR_PLANE_ENABLE] & 0xf;
    uint32_t fore = v->rgb16[attribute & 0xf & enable];
    bool blink = (v->g.ar[AR_MODE] & AR_MODE_BLINK) != 0;
    uint32_t back = v->rgb16[attribute >> 4 & (blink ? 7 : 15) & enable];
    unsigned dots = v->font[attribute >> 3 & 1][code * 32 + v->g.row_scan];
    /* the ninth dot repeats the eighth for the line drawing characters */
    bool ninth = (code & 0xe0) == 0xc0 && v->g.ar[AR_MODE] & AR_MODE_LINE_GRAPHICS && dots & 1;
    if (blink && attribute & 0x80 && v->g.frames & 0x10) {
        dots = 0;
        ninth = false;
    }
    if (cursor || (v->g.row_scan == (v->g.cr[CR_UNDERLINE] & 0x1f) && (attribute & 0x07) == 0x01)) {
        dots = 0xff;
        ninth = true;
    }
    for (unsigned i = 0; i < 8; i++) {
        out[i] = dots & 0x80u >> i ? fore : back;
    }
    if (v->scan.dots == 9) {
        out[8] = ninth ? fore : back;
    }
}

void vga_draw_text(Vga *v)
{
    uint32_t cells[VGA_MAX_COLUMNS + 1];
    unsigned count = fetch(v, cells);
    int cursor = vga_cursor_column(v);
    uint32_t *out = v->line + LINE_MARGIN - panning(v);
    for (unsigned i = 0; i < count; i++, out += v->scan.dots) {
        draw_cell(v, cells[i], (int)i == cursor, out);
    }
}

/* Eight bits to eight bytes of 0 or 1, the highest first. */
static uint64_t spread_bits(uint8_t bits)
{
    uint64_t chosen = (bits * UINT64_C(0x0101010101010101)) & UINT64_C(0x0102040810204080);
    return (chosen + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7 & UINT64_C(0x0101010101010101);
}

/* The eight nibbles that the shift registers make of a character clock, one a byte, first lowest.
 */
static uint64_t nibbles(const Vga *v, uint32_t cell)
{
    uint8_t mode = v->scan.crtc ? v->g.gr[GR_MODE] : 0;
    if (mode & GR_MODE_256) {
        uint64_t out = 0;
        for (unsigned i = 0; i < 8; i++) { /* plane after plane, high nibble first */
            out |= (uint64_t)(cell >> (8 * (i / 2) + (i & 1 ? 0 : 4)) & 0xf) << (8 * i);
        }
        return out;
    }
    if (mode & GR_MODE_INTERLEAVE) {
        uint64_t out = 0;
        for (unsigned i = 0; i < 8; i++) { /* two bits from plane 0 or 1, two from 2 or 3 */
            unsigned shift = 8 * (i / 4) + 6 - 2 * (i & 3);
            out |= (uint64_t)((cell >> shift & 3) | (cell >> (shift + 16) & 3) << 2) << (8 * i);
        }
        return out;
    }
    return spread_bits((uint8_t)cell) | spread_bits((uint8_t)(cell >> 8)) << 1 |
           spread_bits((uint8_t)(cell >> 16)) << 2 | spread_bits((uint8_t)(cell >> 24)) << 3;
}

void vga_draw_planes(Vga *v)
{
    uint32_t cells[VGA_MAX_COLUMNS + 1];
    uint32_t color[16];
    unsigned count = fetch(v, cells);
    for (unsigned i = 0; i < 16; i++) {
        unsigned index = vga_blink_off(v) ? i & 7 : i;
        color[i] = v->rgb16[index & v->g.ar[AR_PLANE_ENABLE]];
    }
    uint32_t *out = v->line + LINE_MARGIN - panning(v);
    for (unsigned i = 0; i < count; i++, out += v->scan.dots) {
        uint64_t dots = nibbles(v, cells[i]);
        for (unsigned k = 0; k < 8; k++) {
            out[k] = color[dots >> (8 * k) & 0xf];
        }
        if (v->scan.dots == 9) {
            out[8] = color[0]; /* the shift registers are empty by then */
        }
    }
}

void vga_draw_bytes(Vga *v)
{
    uint32_t cells[VGA_MAX_COLUMNS + 1];
    unsigned count = fetch(v, cells);
    uint32_t *out = v->line + LINE_MARGIN - panning(v);
    bool bytes = (v->g.gr[GR_MODE] & GR_MODE_256) != 0;
    for (unsigned i = 0; i < count; i++, out += 4) {
        uint32_t cell = cells[i];
        if (!bytes) { /* pairs of nibbles from another shift mode */
            uint64_t dots = nibbles(v, cell);
            cell = 0;
            for (unsigned k = 0; k < 4; k++) {
                cell |= (uint32_t)((dots >> (16 * k) & 0xf) << 4 | (dots >> (16 * k + 8) & 0xf))
                        << (8 * k);
            }
        }
        out[0] = v->rgb[cell & 0xff];
        out[1] = v->rgb[cell >> 8 & 0xff];
        out[2] = v->rgb[cell >> 16 & 0xff];
        out[3] = v->rgb[cell >> 24];
    }
}

/* Five or six bits become eight by repeating the highest below. */
static void convert(const Vga *v, const uint8_t *in, uint32_t *out)
{
    unsigned width = v->scan.width;
    switch (v->scan.bits) {
    case 8:
        for (unsigned x = 0; x < width; x++) {
            out[x] = v->rgb[in[x]];
        }
        break;
    case 15:
        for (unsigned x = 0; x < width; x++) {
            uint32_t pixel = in[2 * x] | (uint32_t)in[2 * x + 1] << 8;
            uint32_t high = (pixel & 0x7c00) << 9 | (pixel & 0x03e0) << 6 | (pixel & 0x001f) << 3;
            out[x] = high | (high >> 5 & 0x070707);
        }
        break;
    case 16:
        for (unsigned x = 0; x < width; x++) {
            uint32_t pixel = in[2 * x] | (uint32_t)in[2 * x + 1] << 8;
            uint32_t high = (pixel & 0xf800) << 8 | (pixel & 0x07e0) << 5 | (pixel & 0x001f) << 3;
            out[x] = high | (high >> 5 & 0x070007) | (high >> 6 & 0x000300);
        }
        break;
    case 24:
        for (unsigned x = 0; x < width; x++) {
            out[x] = in[3 * x] | (uint32_t)in[3 * x + 1] << 8 | (uint32_t)in[3 * x + 2] << 16;
        }
        break;
    default:
        for (unsigned x = 0; x < width; x++) {
            out[x] = in[4 * x] | (uint32_t)in[4 * x + 1] << 8 | (uint32_t)in[4 * x + 2] << 16;
        }
        break;
    }
}

void vga_draw_linear(Vga *v)
{
    uint8_t bounce[SCREEN_MAX_WIDTH * 4];
    uint32_t at = v->g.row & v->scan.mask;
    uint32_t bytes = v->scan.width * ((v->scan.bits + 7) / 8);
    const uint8_t *in = v->bytes + at;
    if (bytes > v->scan.mask + 1 - at) { /* runs over the end of memory */
        for (uint32_t i = 0; i < bytes; i++) {
            bounce[i] = v->bytes[(at + i) & v->scan.mask];
        }
        in = bounce;
    }
    convert(v, in, v->line + LINE_MARGIN);
}
