/* Selecting and finding text on the guest's text screen. */
#include "ui/clip.h"

#include <stdlib.h>
#include <string.h>

#include "ui/codepage.h"

bool clip_look(Machine *m, ClipScreen *screen)
{
    enum { ROOM = CLIP_MAX_ROWS * (CLIP_MAX_COLUMNS + 1) + 1 };
    unsigned columns = 0, rows = 0;
    char *text = malloc(ROOM);
    bool is_text = text && machine_text_size(m, &columns, &rows) && machine_text(m, text, ROOM);
    if (is_text) {
        screen->columns = columns < CLIP_MAX_COLUMNS ? columns : CLIP_MAX_COLUMNS;
        screen->rows = rows < CLIP_MAX_ROWS ? rows : CLIP_MAX_ROWS;
        memset(screen->cell, ' ', sizeof(screen->cell));
        const char *line = text;
        for (unsigned row = 0; row < screen->rows && line; row++) {
            const char *end = strchr(line, '\n');
            size_t n = end ? (size_t)(end - line) : strlen(line);
            memcpy(screen->cell[row], line, n < screen->columns ? n : screen->columns);
            line = end ? end + 1 : NULL;
        }
    }
    free(text);
    return is_text;
}

bool clip_row(const ClipScreen *screen, const ClipRange *r, unsigned row, unsigned *first,
              unsigned *last)
{
    bool swap = r->row > r->end_row || (r->row == r->end_row && r->column > r->end_column);
    unsigned top = swap ? r->end_row : r->row, bottom = swap ? r->row : r->end_row;
    unsigned from = swap ? r->end_column : r->column, to = swap ? r->column : r->end_column;
    if (row < top || row > bottom || row >= screen->rows) {
        return false;
    }
    if (r->block) {
        *first = from < to ? from : to;
        *last = from < to ? to : from;
    } else {
        *first = row == top ? from : 0;
        *last = row == bottom ? to : screen->columns - 1;
    }
    if (*last >= screen->columns) {
        *last = screen->columns - 1;
    }
    return *first <= *last;
}

bool clip_same(const ClipScreen *a, const ClipScreen *b, const ClipRange *range)
{
    unsigned first, last;
    if (a->columns != b->columns || a->rows != b->rows) {
        return false;
    }
    for (unsigned row = 0; row < a->rows; row++) {
        if (clip_row(a, range, row, &first, &last) &&
            memcmp(a->cell[row] + first, b->cell[row] + first, last - first + 1) != 0) {
            return false;
        }
    }
    return true;
}

char *clip_text(const ClipScreen *screen, const ClipRange *range)
{
    char *text = malloc((size_t)screen->rows * (screen->columns * 3 + 1) + 1), *to = text;
    unsigned first, last;
    bool begun = false;
    if (!text) {
        return NULL;
    }
    for (unsigned row = 0; row < screen->rows; row++) {
        if (!clip_row(screen, range, row, &first, &last)) {
            continue;
        }
        if (begun) {
            *to++ = '\n';
        }
        begun = true;
        size_t n = last - first + 1;
        const uint8_t *cells = screen->cell[row] + first;
        while (n && (cells[n - 1] == ' ' || cells[n - 1] == 0xff)) {
            n--;
        }
        codepage_utf8((const char *)cells, n, to);
        to += strlen(to);
    }
    *to = '\0';
    return text;
}

static uint32_t folded(uint32_t point)
{
    bool upper = (point >= 'A' && point <= 'Z') ||
                 (point >= 0xc0 && point <= 0xde && point != 0xd7) ||
                 (point >= 0x391 && point <= 0x3a9);
    return upper ? point + 0x20 : point;
}

unsigned clip_find(const ClipScreen *screen, const char *utf8, ClipRange *found, unsigned room)
{
    uint32_t wanted[CLIP_MAX_COLUMNS];
    unsigned n = 0, count = 0;
    while (*utf8) {
        if (n == screen->columns) {
            return 0;
        }
        wanted[n++] = folded(codepage_next(&utf8));
    }
    for (unsigned row = 0; n && row < screen->rows; row++) {
        for (unsigned column = 0; column + n <= screen->columns; column++) {
            unsigned i = 0;
            while (i < n && folded(codepage_point(screen->cell[row][column + i])) == wanted[i]) {
                i++;
            }
            if (i == n && count++ < room) {
                found[count - 1] = (ClipRange){row, column, row, column + n - 1, false};
            }
        }
    }
    return count;
}
