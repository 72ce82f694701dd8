/* The printer's ink: characters and dots as the content of a PDF page.
 *
 * Letters are Courier's, scaled to the pitch; Greek and mathematics of code page 437 are Symbol's;
 * its line drawing is drawn. Characters that follow each other in one style become one string, so
 * that the text of the page can be searched.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/host/printer_internal.h"

#define POINT (PRINTER_INCH / 72.0) /* units */
#define COURIER_WIDTH 0.6           /* of its size */
#define SIZE 12.0                   /* points of a letter's height, 1/6 inch */
#define BASELINE 8.0                /* points from the top of a character */
#define LINE 0.6                    /* points: the pen that draws lines */

enum { MOST_CONTENT = 16 << 20, LINES_FIRST = 0xb3, LINES_LAST = 0xda };

static bool make_room(PrinterInk *ink, size_t more)
{
    if (ink->size + more <= ink->room) {
        return true;
    }
    size_t room = (ink->size + more) * 2;
    char *text = room <= MOST_CONTENT ? realloc(ink->text, room) : NULL;
    if (!text) {
        return false; /* the rest of this page stays white */
    }
    ink->text = text;
    ink->room = room;
    return true;
}

static void put(PrinterInk *ink, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(PrinterInk *ink, const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (size > 0 && (size_t)size < sizeof(line) && make_room(ink, (size_t)size)) {
        memcpy(ink->text + ink->size, line, (size_t)size);
        ink->size += (size_t)size;
    }
}

static double place_x(const PrinterInk *ink, int32_t x)
{
    return ink->left_pt + x / POINT;
}

static double place_y(const PrinterInk *ink, double points_down)
{
    return ink->page_pt - points_down;
}

int32_t ink_advance(const PrinterStyle *style)
{
    return (style->width + style->space) * (style->wide ? 2 : 1);
}

/* --- strings --- */

static void put_byte(PrinterInk *ink, uint8_t byte)
{
    if (byte == '(' || byte == ')' || byte == '\\') {
        put(ink, "\\%c", byte);
    } else if (byte < 0x20 || byte > 0x7e) {
        put(ink, "\\%03o", byte);
    } else {
        put(ink, "%c", byte);
    }
}

/* Opens the text object for a run at the ink's place. */
static void begin_text(PrinterInk *ink, unsigned font, double glyph_width)
{
    const PrinterStyle *s = &ink->style;
    double size = SIZE * (s->tall ? 2 : 1) * (s->script ? 2 / 3.0 : 1);
    double width = s->width / POINT * (s->wide ? 2 : 1);
    double down = ink->y / POINT + BASELINE + (s->script > 0 ? -3 : s->script < 0 ? 2 : 0);
    put(ink, "BT /F%u %.2f Tf %.3f Tz %.3f Tc 1 0 0 1 %.3f %.3f Tm (", font, size,
        width / (glyph_width * size) * 100,
        /* space between characters is scaled with them */
        s->space ? s->space / POINT * (s->wide ? 2 : 1) / (width / (glyph_width * size)) : 0,
        place_x(ink, ink->x), place_y(ink, down));
}

static void underline(PrinterInk *ink, int32_t x, int32_t y, int32_t width)
{
    double down = y / POINT + BASELINE + 2;
    put(ink, "%.2f w %.3f %.3f m %.3f %.3f l S\n", LINE, place_x(ink, x), place_y(ink, down),
        place_x(ink, x + width), place_y(ink, down));
}

void ink_flush(PrinterInk *ink)
{
    const PrinterStyle *s = &ink->style;
    if (!ink->count) {
        return;
    }
    begin_text(ink, 1u + s->bold + 2u * s->italic, COURIER_WIDTH);
    for (unsigned i = 0; i < ink->count; i++) {
        put_byte(ink, ink->run[i]);
    }
    put(ink, ") Tj ET\n");
    if (s->underline) {
        underline(ink, ink->x, ink->y, ink->advance * (int32_t)ink->count);
    }
    ink->count = 0;
}

/* --- characters of other countries --- */

/* What ESC R exchanges: # $ @ [ \ ] ^ ` { | } ~ in code page 437. */
static const uint8_t exchanged[12] = {'#', '$', '@', '[', '\\', ']', '^', '`', '{', '|', '}', '~'};
static const uint8_t countries[INK_COUNTRIES][12] = {
    {'#', '$', '@', '[', '\\', ']', '^', '`', '{', '|', '}', '~'},
    {'#', '$', 0x85, 0xf8, 0x87, 0x15, '^', '`', 0x82, 0x97, 0x8a, '"'},
    {'#', '$', 0x15, 0x8e, 0x99, 0x9a, '^', '`', 0x84, 0x94, 0x81, 0xe1},
    {0x9c, '$', '@', '[', '\\', ']', '^', '`', '{', '|', '}', '~'},
    {'#', '$', '@', 0x92, 'O', 0x8f, '^', '`', 0x91, 'o', 0x86, '~'},
    {'#', '$', 0x90, 0x8e, 0x99, 0x8f, 0x9a, 0x82, 0x84, 0x94, 0x86, 0x81},
    {'#', '$', '@', 0xf8, '\\', 0x82, '^', 0x97, 0x85, 0x95, 0x8a, 0x8d},
    {0x9e, '$', '@', 0xad, 0xa5, 0xa8, '^', '`', '"', 0xa4, '}', '~'},
    {'#', '$', '@', '[', 0x9d, ']', '^', '`', '{', '|', '}', '~'},
    {'#', '$', 0x90, 0x92, 'O', 0x8f, 0x9a, 0x82, 0x91, 'o', 0x86, 0x81},
    {'#', '$', 0x90, 0x92, 'O', 0x8f, 0x9a, 0x82, 0x91, 'o', 0x86, 0x81},
    {'#', '$', 0xa0, 0xad, 0xa5, 0xa8, 0x82, '`', 0xa1, 0xa4, 0xa2, 0xa3},
    {'#', '$', 0xa0, 0xad, 0xa5, 0xa8, 0x82, 0x81, 0xa1, 0xa4, 0xa2, 0xa3},
};

uint8_t ink_national(unsigned country, uint8_t byte)
{
    const uint8_t *at = country ? memchr(exchanged, byte, sizeof(exchanged)) : NULL;
    return at ? countries[country][at - exchanged] : byte;
}

/* --- characters that Courier lacks --- */

typedef struct SymbolGlyph {
    uint8_t byte, symbol;
    uint16_t width; /* thousandths of its size */
} SymbolGlyph;

static const SymbolGlyph symbols[] = {
    {0xe0, 0x61, 631}, {0xe2, 0x47, 603}, {0xe3, 0x70, 549}, {0xe4, 0x53, 592}, {0xe5, 0x73, 603},
    {0xe7, 0x74, 439}, {0xe8, 0x46, 763}, {0xe9, 0x51, 741}, {0xea, 0x57, 768}, {0xeb, 0x64, 494},
    {0xec, 0xa5, 713}, {0xed, 0x66, 521}, {0xee, 0x65, 439}, {0xef, 0xc7, 768}, {0xf0, 0xba, 549},
    {0xf2, 0xb3, 549}, {0xf3, 0xa3, 549}, {0xf4, 0xf3, 686}, {0xf5, 0xf5, 686}, {0xf7, 0xbb, 549},
    {0xfb, 0xd6, 549},
};

/* Arms of the line drawing characters B3h..DAh: two bits each, from the lowest up, right, down,
 * left; 1 a single line, 2 a double one. */
#define ARMS(up, right, down, left) ((up) | (right) << 2 | (down) << 4 | (left) << 6)
static const uint8_t arms[LINES_LAST - LINES_FIRST + 1] = {
    ARMS(1, 0, 1, 0), ARMS(1, 0, 1, 1), ARMS(1, 0, 1, 2), ARMS(2, 0, 2, 1), ARMS(0, 0, 2, 1),
    ARMS(0, 0, 1, 2), ARMS(2, 0, 2, 2), ARMS(2, 0, 2, 0), ARMS(0, 0, 2, 2), ARMS(2, 0, 0, 2),
    ARMS(2, 0, 0, 1), ARMS(1, 0, 0, 2), ARMS(0, 0, 1, 1), ARMS(1, 1, 0, 0), ARMS(1, 1, 0, 1),
    ARMS(0, 1, 1, 1), ARMS(1, 1, 1, 0), ARMS(0, 1, 0, 1), ARMS(1, 1, 1, 1), ARMS(1, 2, 1, 0),
    ARMS(2, 1, 2, 0), ARMS(2, 2, 0, 0), ARMS(0, 2, 2, 0), ARMS(2, 2, 0, 2), ARMS(0, 2, 2, 2),
    ARMS(2, 2, 2, 0), ARMS(0, 2, 0, 2), ARMS(2, 2, 2, 2), ARMS(1, 2, 0, 2), ARMS(2, 1, 0, 1),
    ARMS(0, 2, 1, 2), ARMS(0, 1, 2, 1), ARMS(2, 1, 0, 0), ARMS(1, 2, 0, 0), ARMS(0, 2, 1, 0),
    ARMS(0, 1, 2, 0), ARMS(2, 1, 2, 1), ARMS(1, 2, 1, 2), ARMS(1, 0, 0, 1), ARMS(0, 1, 1, 0),
};

typedef struct Cell {
    double left, top, width, height; /* points, y upwards from the paper's edge */
} Cell;

static void stroke(PrinterInk *ink, double x0, double y0, double x1, double y1)
{
    put(ink, "%.3f %.3f m %.3f %.3f l S\n", x0, y0, x1, y1);
}

/* One arm from the middle outwards; a double line is two beside it. */
static void arm(PrinterInk *ink, const Cell *c, unsigned direction, unsigned lines)
{
    double x = c->left + c->width / 2, y = c->top - c->height / 2;
    double to_x = direction == 1 ? c->left + c->width : direction == 3 ? c->left : x;
    double to_y = direction == 0 ? c->top : direction == 2 ? c->top - c->height : y;
    for (unsigned i = 0; i < lines; i++) {
        double beside = lines == 1 ? 0 : i ? 0.9 : -0.9;
        double dx = direction & 1 ? 0 : beside, dy = direction & 1 ? beside : 0;
        /* arms overlap in the middle, so that corners close */
        double back_x = direction == 1 ? -0.9 : direction == 3 ? 0.9 : 0;
        double back_y = direction == 0 ? -0.9 : direction == 2 ? 0.9 : 0;
        stroke(ink, x + dx + back_x, y + dy + back_y, to_x + dx, to_y + dy);
    }
}

static void block(PrinterInk *ink, const Cell *c, double grey, double left, double bottom,
                  double width, double height)
{
    put(ink, "%.2f g %.3f %.3f %.3f %.3f re f 0 g\n", grey, c->left + left * c->width,
        c->top - c->height + bottom * c->height, width * c->width, height * c->height);
}

static bool drawn(PrinterInk *ink, const Cell *c, uint8_t byte)
{
    if (byte >= LINES_FIRST && byte <= LINES_LAST) {
        put(ink, "%.2f w\n", LINE);
        for (unsigned i = 0; i < 4; i++) {
            arm(ink, c, i, arms[byte - LINES_FIRST] >> (2 * i) & 3);
        }
        return true;
    }
    switch (byte) {
    case 0xb0:
    case 0xb1:
    case 0xb2:
        block(ink, c, 0.75 - 0.25 * (byte - 0xb0), 0, 0, 1, 1);
        return true;
    case 0xdb:
        block(ink, c, 0, 0, 0, 1, 1);
        return true;
    case 0xdc:
        block(ink, c, 0, 0, 0, 1, 0.5);
        return true;
    case 0xdd:
        block(ink, c, 0, 0, 0, 0.5, 1);
        return true;
    case 0xde:
        block(ink, c, 0, 0.5, 0, 0.5, 1);
        return true;
    case 0xdf:
        block(ink, c, 0, 0, 0.5, 1, 0.5);
        return true;
    case 0xfe:
        block(ink, c, 0, 0.15, 0.3, 0.7, 0.4);
        return true;
    default:
        return false;
    }
}

static bool is_special(uint8_t byte)
{
    if ((byte >= 0xb0 && byte <= 0xdf) || byte == 0xfe) {
        return true;
    }
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        if (symbols[i].byte == byte) {
            return true;
        }
    }
    return byte == 0xa9;
}

static void special(PrinterInk *ink, int32_t x, int32_t y, uint8_t byte, const PrinterStyle *style)
{
    double width = style->width / POINT * (style->wide ? 2 : 1);
    Cell cell = {place_x(ink, x), place_y(ink, y / POINT), width, SIZE * (style->tall ? 2 : 1)};
    ink_flush(ink);
    ink->style = *style;
    ink->x = x;
    ink->y = y;
    if (!drawn(ink, &cell, byte)) {
        for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
            if (symbols[i].byte == byte) {
                begin_text(ink, 5, symbols[i].width / 1000.0);
                put_byte(ink, symbols[i].symbol);
                put(ink, ") Tj ET\n");
            }
        }
        if (byte == 0xa9) { /* a turned "not" */
            put(ink, "%.2f w\n", LINE);
            double middle = cell.top - cell.height / 2;
            stroke(ink, cell.left + width * 0.8, middle, cell.left + width * 0.2, middle);
            stroke(ink, cell.left + width * 0.2, middle, cell.left + width * 0.2, middle - 2.5);
        }
    }
    if (style->underline) {
        underline(ink, x, y, ink_advance(style));
    }
}

void ink_character(PrinterInk *ink, int32_t x, int32_t y, uint8_t byte, const PrinterStyle *style)
{
    if (is_special(byte)) {
        special(ink, x, y, byte, style);
        return;
    }
    bool follows = ink->count && ink->count < PRINTER_RUN && ink->y == y &&
                   memcmp(&ink->style, style, sizeof(*style)) == 0 &&
                   ink->x + ink->advance * (int32_t)ink->count == x;
    if (!follows) {
        ink_flush(ink);
        ink->style = *style;
        ink->x = x;
        ink->y = y;
        ink->advance = ink_advance(style);
    }
    ink->run[ink->count++] = byte;
}

/* --- dots --- */

void ink_graphics(PrinterInk *ink, int32_t x, int32_t y, const uint8_t *data, unsigned columns,
                  unsigned rows, int32_t column_units, int32_t row_units)
{
    static const char digits[] = "0123456789abcdef";
    unsigned deep = (rows + 7) / 8, line = (columns + 7) / 8;
    double width = columns * column_units / POINT, height = rows * row_units / POINT;
    ink_flush(ink);
    if (!columns || !make_room(ink, (size_t)line * rows * 2 + 512)) {
        return;
    }
    put(ink, "q %.3f 0 0 %.3f %.3f %.3f cm\nBI /W %u /H %u /IM true /BPC 1 /D [1 0] /F /AHx ID\n",
        width, height, place_x(ink, x), place_y(ink, y / POINT + height), columns, rows);
    for (unsigned row = 0; row < rows; row++) {
        for (unsigned at = 0; at < line * 8; at += 4) {
            unsigned nibble = 0;
            for (unsigned i = 0; i < 4; i++) {
                unsigned column = at + i;
                bool dot = column < columns && data[column * deep + row / 8] >> (7 - row % 8) & 1;
                nibble = nibble << 1 | dot;
            }
            ink->text[ink->size++] = digits[nibble];
        }
    }
    put(ink, ">\nEI Q\n");
}
