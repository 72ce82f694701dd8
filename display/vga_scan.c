/* VGA scan-out: what the registers say about how memory becomes a picture; the text screen.
 *
 * IBM PS/2 Video Subsystem reference. Not modelled: the border (overscan), shift load every second
 * or fourth clock, display enable skew.
 */
#include <string.h>

#include "display/vga_internal.h"

static void scan_vbe(Vga *v, Scan *s)
{
    const uint16_t *vbe = v->g.vbe;
    s->square = true;
    s->width = vbe[VBE_XRES];
    s->pitch = vbe_pitch(v);
    s->line_compare = UINT32_MAX;
    if (vbe[VBE_BPP] == 4) {
        s->kind = SCAN_PLANES;
        s->dots = 8;
        s->columns = s->width / 8;
        s->mask = v->size / 4 - 1;
        s->start = (uint32_t)vbe[VBE_Y_OFFSET] * s->pitch + vbe[VBE_X_OFFSET] / 8u;
        s->pan = vbe[VBE_X_OFFSET] & 7;
    } else {
        s->kind = SCAN_LINEAR;
        s->bits = vbe[VBE_BPP];
        s->mask = v->size - 1;
        uint32_t left = vbe[VBE_X_OFFSET] * ((s->bits + 7) / 8);
        s->start = (uint32_t)vbe[VBE_Y_OFFSET] * s->pitch + left;
    }
    s->start &= s->mask;
}

static void scan_crtc(Vga *v, Scan *s)
{
    const uint8_t *cr = v->g.cr;
    bool nine = !(v->g.sr[SR_CLOCKING] & CLOCKING_8_DOTS);
    s->crtc = true;
    s->text = !(v->g.gr[GR_MISC] & GR_MISC_GRAPHICS);
    s->columns = cr[CR_HORIZONTAL_DISPLAY_END] + 1u;
    s->mask = VGA_PLANE_SIZE - 1;
    s->start =
        ((uint32_t)cr[CR_START_HIGH] << 8 | cr[CR_START_LOW]) + (cr[CR_PRESET_ROW_SCAN] >> 5 & 3);
    s->pitch = cr[CR_OFFSET] * 2u;
    s->line_compare =
        cr[CR_LINE_COMPARE] | (cr[CR_OVERFLOW] & 0x10u) << 4 | (cr[CR_MAX_SCAN_LINE] & 0x40u) << 3;
    s->halved = cr[CR_MODE_CONTROL] >> 2 & 1;
    if (s->text) {
        s->kind = SCAN_TEXT;
        s->dots = nine ? 9 : 8;
    } else if (v->g.ar[AR_MODE] & AR_MODE_8_BIT) {
        s->kind = SCAN_BYTES;
        s->dots = 4;
    } else {
        s->kind = SCAN_PLANES;
        s->dots = nine ? 9 : 8;
    }
    s->start &= s->mask;
    s->width = s->columns * s->dots;
}

void vga_scan_changed(Vga *v)
{
    Scan *s = &v->scan;
    *s = (Scan){.off = (v->g.sr[SR_CLOCKING] & CLOCKING_SCREEN_OFF) != 0};
    if (vbe_shown(v)) {
        scan_vbe(v, s);
    } else {
        scan_crtc(v, s);
        if (v->chip && v->chip->scan) {
            v->chip->scan(v, s);
        }
    }
    if (s->width > SCREEN_MAX_WIDTH) {
        s->width = SCREEN_MAX_WIDTH;
    }
    if (s->off || !(v->g.ar_index & AR_INDEX_SCREEN_ON)) {
        s->kind = SCAN_BLANK;
    }
}

VgaTextSize vga_text_size(const Vga *v)
{
    VgaTextSize size = {0};
    if (v->scan.text && v->scan.columns && !v->timing.stopped) {
        uint8_t max = v->g.cr[CR_MAX_SCAN_LINE];
        unsigned lines = ((max & 0x1fu) + 1) << (max >> 7);
        size.columns = v->scan.columns;
        size.rows = v->timing.display_lines / lines;
        uint32_t cursor = (uint32_t)v->g.cr[CR_CURSOR_HIGH] << 8 | v->g.cr[CR_CURSOR_LOW];
        uint32_t gone = (cursor - v->scan.start) & v->scan.mask;
        uint32_t pitch = v->scan.pitch ? v->scan.pitch : 1;
        size.cursor_row = gone / pitch;
        size.cursor_column = gone % pitch;
        size.cursor_on = !(v->g.cr[CR_CURSOR_START] & 0x20) && size.cursor_row < size.rows &&
                         size.cursor_column < size.columns;
    }
    return size;
}

/* A cell's byte in a line of text: no NUL, and nothing that would end the line (0Ah looks like
 * 08h). */
static char as_text(uint8_t byte)
{
    return byte == 0 ? ' ' : byte == '\n' ? '\b' : (char)byte;
}

bool vga_text(Vga *v, char *text, size_t room)
{
    VgaTextSize size = vga_text_size(v);
    size_t used = 0, end = 0; /* end: after the last byte that is no blank */
    if (room == 0) {
        return false;
    }
    for (unsigned row = 0; row < size.rows; row++) {
        uint32_t at = (v->scan.start + row * v->scan.pitch) & v->scan.mask;
        used = end;
        for (unsigned column = 0; column < size.columns && used + 2 < room; column++) {
            uint8_t byte = (uint8_t)v->planes[vga_crtc_place(v, at, column)];
            text[used++] = as_text(byte);
            end = byte && byte != ' ' ? used : end;
        }
        if (end + 1 < room) {
            text[end++] = '\n';
        }
    }
    text[end] = 0;
    return size.rows > 0;
}
