/* The guest's text screen as cells: ranges of it as UTF-8, and search. */
#ifndef UI_CLIP_H
#define UI_CLIP_H

#include "machine/machine.h"

enum { CLIP_MAX_COLUMNS = 256, CLIP_MAX_ROWS = 128 };

typedef struct ClipScreen {
    unsigned columns, rows;                        /* 1..CLIP_MAX_* */
    uint8_t cell[CLIP_MAX_ROWS][CLIP_MAX_COLUMNS]; /* code page 437; blanks where nothing is */
} ClipScreen;

/* From one cell to another, both included, in any order. block: a rectangle; else whole lines lie
 * between the first and the last one, as in a text. */
typedef struct ClipRange {
    unsigned row, column, end_row, end_column;
    bool block;
} ClipRange;

/* What is on the text screen now. False in a graphics mode. */
bool clip_look(Machine *m, ClipScreen *screen);
/* The columns of a row that lie in the range; false: none. */
bool clip_row(const ClipScreen *screen, const ClipRange *range, unsigned row, unsigned *first,
              unsigned *last);
bool clip_same(const ClipScreen *a, const ClipScreen *b, const ClipRange *range);
/* UTF-8 for the caller to free, without trailing blanks; line ends between rows. */
char *clip_text(const ClipScreen *screen, const ClipRange *range);
/* Finds text within rows, no matter its case, in reading order. Returns how often it is there,
 * found has the first `room` of them. */
unsigned clip_find(const ClipScreen *screen, const char *utf8, ClipRange *found, unsigned room);

#endif
