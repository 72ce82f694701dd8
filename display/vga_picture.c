/* VGA picture: walks down the lines as the CRTC does and draws those that may have changed.
 *
 * A line is drawn anew when a register that the picture depends on changed since (style), when it
 * comes from another address, when cursor or blinking touch it, or when a page of memory under it
 * was written (Ram's clean flags, stamped with the batch in which we saw them gone). Text rows are
 * compared cell by cell before that. What was drawn is then compared with what is on the screen, so
 * only lines that differ are handed over.
 */
#include <limits.h>
#include <string.h>

#include "display/vga_internal.h"

#define CLEAN_8 (RAM_CLEAN_DISPLAY * UINT64_C(0x0101010101010101))

void vga_forget_picture(Vga *v)
{
    memset(v->key, 0, sizeof(v->key));
    v->whole.style = 0;
}

/* To be told of a write costs the engine a fault. A page that looks have found written HOT times in
 * a row counts as written without being asked about, but for one look in HOT_LOOKS: until then its
 * lines are drawn though nothing may have changed, and found the same by screen_put. */
enum { HOT = 4, HOT_LOOKS = 32 };

/* Whether this page, written since the last look, is to be watched from now on. */
static bool watch(Vga *v, uint32_t page)
{
    if (v->heat[page] < HOT) {
        v->heat[page]++;
        return true;
    }
    return v->batch % HOT_LOOKS == 0;
}

/* Stamps the pages [first, first + count) that were written since the last look, and asks to be
 * told of the next write. */
static void look_at(Vga *v, uint32_t first, uint32_t count)
{
    Ram *ram = &v->dev.board->ram;
    uint32_t base = v->vram->at >> RAM_PAGE_SHIFT, end = first + count;
    uint64_t eight;
    for (uint32_t page = first; page < end;) {
        if (page + 8 <= end) { /* most are clean: skip them eight at a time */
            memcpy(&eight, &ram->flags[base + page], 8);
            if ((eight & CLEAN_8) == CLEAN_8) {
                memset(&v->heat[page], 0, 8);
                page += 8;
                continue;
            }
        }
        uint32_t run = 0; /* pages to watch, in one call */
        while (page + run < end) {
            if (ram->flags[base + page + run] & RAM_CLEAN_DISPLAY) {
                v->heat[page + run] = 0;
                break;
            }
            v->stamp[page + run] = v->dirty_batch = v->batch;
            if (!watch(v, page + run)) {
                break;
            }
            run++;
        }
        if (run) {
            ram_flag_set(ram, base + page, run, RAM_CLEAN_DISPLAY);
        }
        page += run + 1; /* and the one that ended the run */
    }
}

/* The fonts in use, gathered from plane 2; a change shows on every line. */
static void look_at_fonts(Vga *v)
{
    if (v->font_style == v->style && v->font_batch >= v->dirty_batch) {
        return;
    }
    uint8_t select = v->g.sr[SR_CHARACTER_MAP];
    unsigned map[2] = {(select & 3u) | (select >> 2 & 4u), (select >> 2 & 3u) | (select >> 3 & 4u)};
    bool changed = false;
    for (unsigned bank = 0; bank < 2; bank++) {
        uint32_t base = (map[bank] & 3) << 14 | (map[bank] & 4) << 11;
        for (uint32_t i = 0; i < sizeof(v->font[0]); i++) {
            uint8_t dots = (uint8_t)(v->planes[vga_place(base + i)] >> 16);
            changed |= v->font[bank][i] != dots;
            v->font[bank][i] = dots;
        }
    }
    v->style += changed;
    v->font_style = v->style;
    v->font_batch = v->batch;
}

/* The pages of vram that the lines from here on may come from: how many, from *first on. */
static uint32_t pages_shown(const Vga *v, uint32_t *first)
{
    uint32_t pages = v->size / RAM_PAGE;
    *first = 0;
    if (v->scan.kind == SCAN_BLANK) {
        return 0;
    }
    if (v->scan.kind != SCAN_LINEAR) {
        return v->scan.crtc ? VGA_PAGES : pages;
    }
    uint64_t bytes = (uint64_t)v->scan.pitch * v->timing.display_lines + v->scan.width * 4;
    uint64_t end = (v->g.row + bytes) / RAM_PAGE + 1;
    if (v->scan.line_compare != UINT32_MAX || end > pages) {
        return pages;
    }
    *first = v->g.row >> RAM_PAGE_SHIFT;
    return (uint32_t)end - *first;
}

static void look(Vga *v)
{
    uint32_t first, count = pages_shown(v, &first);
    v->batch++;
    look_at(v, first, count);
    if (v->scan.kind == SCAN_TEXT) {
        look_at_fonts(v);
    }
}

static uint64_t stamp_of(const Vga *v, uint32_t at, uint32_t bytes)
{
    uint32_t pages = v->size / RAM_PAGE - 1; /* a mask */
    uint64_t newest = 0;
    for (uint32_t page = at >> RAM_PAGE_SHIFT; page <= (at + bytes - 1) >> RAM_PAGE_SHIFT; page++) {
        uint64_t stamp = v->stamp[page & pages];
        newest = stamp > newest ? stamp : newest;
    }
    return newest;
}

/* The batch in which memory under this line was last found written, or a later one. */
static uint64_t line_stamp(const Vga *v)
{
    const Scan *s = &v->scan;
    if (s->kind == SCAN_LINEAR) {
        return stamp_of(v, v->g.row & s->mask, s->width * ((s->bits + 7) / 8));
    }
    bool simple =
        s->crtc && (v->g.cr[CR_MODE_CONTROL] & 3) == 3 && v->g.row + s->columns < VGA_PLANE_SIZE;
    if (simple && v->g.cr[CR_UNDERLINE] & 0x40) {
        return stamp_of(v, v->g.row * 4, (s->columns + 1) * 4);
    }
    if (simple && v->g.cr[CR_MODE_CONTROL] & 0x40) {
        uint64_t newest = 0; /* bytes lie in four streams */
        for (unsigned i = 0; i < 4; i++) {
            uint32_t at = (v->g.row >> 2) * 4 + i * VGA_PLANE_SIZE;
            uint64_t stamp = stamp_of(v, at, (s->columns / 4 + 2) * 4);
            newest = stamp > newest ? stamp : newest;
        }
        return newest;
    }
    return v->dirty_batch;
}

/* Compares the cells of this text row with those last seen. */
static TextRow *look_at_row(Vga *v)
{
    TextRow *row = &v->text[v->g.row_index % VGA_MAX_ROWS];
    bool changed = row->at != v->g.row || row->style != v->style;
    if (row->checked >= v->dirty_batch && !changed) {
        return row;
    }
    unsigned columns = v->scan.columns < VGA_MAX_COLUMNS ? v->scan.columns + 1 : VGA_MAX_COLUMNS;
    row->at = v->g.row;
    row->style = v->style;
    row->blinks = false;
    for (unsigned i = 0; i < columns; i++) {
        uint16_t cell = (uint16_t)v->planes[vga_crtc_place(v, v->g.row, i)];
        changed |= row->cell[i] != cell;
        row->cell[i] = cell;
        row->blinks |= cell >> 15;
    }
    row->checked = v->batch;
    if (changed || (v->g.cr[CR_MODE_CONTROL] & 3) != 3) {
        row->changed = v->batch;
    }
    return row;
}

static uint32_t text_marks(const Vga *v, const TextRow *row)
{
    uint32_t marks = (uint32_t)(vga_cursor_column(v) + 1) << 8;
    return marks | (uint32_t)(row->blinks && vga_blink_off(v)) << 20;
}

static uint32_t overlay_mark(const Vga *v, unsigned y)
{
    return v->chip && v->chip->overlay_mark ? v->chip->overlay_mark(v, y) : 0;
}

static void draw_line(Vga *v, bool blank)
{
    ScanKind kind = blank ? SCAN_BLANK : v->scan.kind;
    unsigned y = v->g.next_line;
    LineKey key = {.style = v->style, .batch = v->batch, .at = v->g.row};
    uint64_t changed = 0;
    if (y >= SCREEN_MAX_HEIGHT) {
        return;
    }
    key.marks = v->g.row_scan | (uint32_t)v->g.split << 5 | (uint32_t)kind << 28;
    if (kind == SCAN_TEXT) {
        const TextRow *row = look_at_row(v);
        key.marks |= text_marks(v, row);
        changed = row->changed;
    } else if (kind != SCAN_BLANK) {
        key.marks |= (uint32_t)(kind == SCAN_PLANES && vga_blink_off(v)) << 20;
        changed = line_stamp(v);
    }
    key.style += (uint64_t)overlay_mark(v, y) << 32;
    LineKey *old = &v->key[y];
    if (old->style == key.style && old->at == key.at && old->marks == key.marks &&
        old->batch >= changed) {
        old->batch = v->batch;
        return;
    }
    *old = key;
    switch (kind) {
    case SCAN_BLANK:
        memset(v->line, 0, sizeof(v->line));
        break;
    case SCAN_TEXT:
        vga_draw_text(v);
        break;
    case SCAN_PLANES:
        vga_draw_planes(v);
        break;
    case SCAN_BYTES:
        vga_draw_bytes(v);
        break;
    case SCAN_LINEAR:
        vga_draw_linear(v);
        break;
    }
    if (kind != SCAN_BLANK && v->chip && v->chip->overlay) {
        v->chip->overlay(v, y, v->line + LINE_MARGIN);
    }
    screen_put(v->config.screen, y, v->line + LINE_MARGIN);
}

/* Moves the CRTC's counters on to the next line. */
static void advance(Vga *v)
{
    const Scan *s = &v->scan;
    uint32_t line = v->g.next_line++;
    uint32_t counter = line >> s->halved;
    bool counted = !s->halved || line & 1; /* the vertical counter moves on now */
    if (!s->crtc) {
        v->g.row = (v->g.row + s->pitch) & s->mask;
        return;
    }
    if (counted) {
        v->g.blanked = vga_blanked_after(v, counter, counter + 1, v->g.blanked);
    }
    uint8_t max = v->g.cr[CR_MAX_SCAN_LINE];
    if (counted && counter == s->line_compare) {
        v->g.row = 0;
        v->g.row_scan = 0;
        v->g.row_index++;
        v->g.second = false;
        v->g.split = true;
    } else if (max & 0x80 && !v->g.second) {
        v->g.second = true;
    } else {
        v->g.second = false;
        if (v->g.row_scan == (max & 0x1f)) {
            v->g.row_scan = 0;
            v->g.row = (v->g.row + s->pitch) & s->mask;
            v->g.row_index++;
        } else {
            v->g.row_scan = (v->g.row_scan + 1) & 0x1f;
        }
    }
}

/* The size and shape of the picture. A standard line shows 640 dots of 25.175 MHz, a standard frame
 * 350, 400 or 480 lines as the sync polarities say; those fill the tube. */
static bool begin(Vga *v)
{
    const Timing *t = &v->timing;
    unsigned height = t->display_lines < SCREEN_MAX_HEIGHT ? t->display_lines : SCREEN_MAX_HEIGHT;
    unsigned width = t->stopped ? 640 : v->scan.width;
    if (v->scan.square) {
        return screen_begin(v->config.screen, width, height, width, height);
    }
    static const unsigned standard[4] = {480, 400, 350, 480};
    /* per mille of the tube */
    uint64_t across = t->display_dots * UINT64_C(25175000) * 1000 / ((uint64_t)t->hz * 640);
    uint64_t down = t->display_lines * UINT64_C(1000) / standard[v->g.misc >> 6 & 3];
    if (t->stopped || (across > 970 && down > 970) || across == 0 || down == 0) {
        return screen_begin(v->config.screen, width, height, 4, 3);
    }
    across = across > 970 ? 1000 : across;
    down = down > 970 ? 1000 : down;
    return screen_begin(v->config.screen, width, height, 4 * (unsigned)across, 3 * (unsigned)down);
}

bool vga_blinks(const Vga *v)
{
    return v->scan.kind == SCAN_TEXT || v->scan.kind == SCAN_PLANES;
}

/* All that a picture drawn in one piece depends on, besides memory. */
static LineKey whole_key(const Vga *v)
{
    LineKey key = {.style = v->style, .batch = v->batch, .at = v->g.row};
    key.style += (uint64_t)overlay_mark(v, UINT_MAX) << 32;
    key.marks = v->g.row_scan | (uint32_t)v->g.blanked << 5;
    if (vga_blinks(v)) {
        uint32_t cursor = (uint32_t)v->g.cr[CR_CURSOR_HIGH] << 8 | v->g.cr[CR_CURSOR_LOW];
        key.marks |= (uint32_t)(v->g.frames >> 3 & 3) << 6 | cursor << 8;
    }
    return key;
}

static bool same_picture(const LineKey *a, const LineKey *b)
{
    return a->style == b->style && a->at == b->at && a->marks == b->marks;
}

static bool memory_touched(const Vga *v)
{
    uint32_t first, count = pages_shown(v, &first);
    const uint8_t *flags = v->dev.board->ram.flags + (v->vram->at >> RAM_PAGE_SHIFT) + first;
    uint8_t all = RAM_CLEAN_DISPLAY;
    for (uint32_t i = 0; i < count; i++) {
        all &= flags[i];
    }
    return !all;
}

bool vga_stands_still(const Vga *v)
{
    LineKey key = whole_key(v);
    uint8_t row_scan = v->scan.crtc ? v->g.cr[CR_PRESET_ROW_SCAN] & 0x1f : 0;
    bool moves = v->scan.start != v->g.row || row_scan != v->g.row_scan; /* from the next one on */
    return v->g.next_line == 0 && !moves && v->whole.style && same_picture(&key, &v->whole) &&
           !screen_waits(v->config.screen) && !memory_touched(v);
}

static Walk walk_of(const Vga *v)
{
    return (Walk){v->g.next_line, v->g.row,   v->g.row_index, v->g.row_scan,
                  v->g.second,    v->g.split, v->g.blanked};
}

static void walk_to(Vga *v, const Walk *w)
{
    v->g.next_line = w->next_line;
    v->g.row = w->row;
    v->g.row_index = w->row_index;
    v->g.row_scan = w->row_scan;
    v->g.second = w->second;
    v->g.split = w->split;
    v->g.blanked = w->blanked;
}

void vga_draw_lines(Vga *v, unsigned end)
{
    if (v->g.next_line >= end) {
        return;
    }
    if (begin(v)) {
        vga_forget_picture(v);
        v->spoiled = v->g.next_line > 0;
    }
    look(v);
    bool whole = v->g.next_line == 0 && end == v->timing.display_lines;
    LineKey key = whole_key(v);
    if (whole && same_picture(&key, &v->whole) && v->dirty_batch <= v->whole.batch) {
        walk_to(v, &v->whole_end);
        return;
    }
    while (v->g.next_line < end) {
        draw_line(v, v->g.blanked || v->timing.stopped);
        advance(v);
    }
    v->whole = key;
    v->whole_end = walk_of(v);
    if (!whole) {
        v->whole.style = 0;
    }
}

/* The picture as the registers now are, at once: after a state was loaded. */
void vga_redraw_all(Vga *v)
{
    Walk before = walk_of(v);
    vga_forget_picture(v);
    vga_frame_begin(v);
    vga_draw_lines(v, v->timing.display_lines);
    v->spoiled = false;
    screen_publish(v->config.screen);
    walk_to(v, &before);
    v->whole.style = 0;
}
