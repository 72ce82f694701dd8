/* The printer's inside: the head and the paper, shared by commands and ink. */
#ifndef MACHINE_HOST_PRINTER_INTERNAL_H
#define MACHINE_HOST_PRINTER_INTERNAL_H

#include "machine/host/pdf.h"
#include "machine/host/printer.h"

enum {
    PRINTER_INCH = 2160, /* units: every pitch and density divides it */
    PRINTER_TABS = 32,
    PRINTER_RUN = 256,  /* characters drawn at once */
    INK_COUNTRIES = 13, /* of ESC R */
};

typedef struct PrinterStyle {
    bool bold, italic, underline;
    bool wide, tall; /* double width, double height */
    int8_t script;   /* 1 above the line, -1 below */
    uint16_t width;  /* of a character, in units, before doubling */
    uint16_t space;  /* between characters, in units */
} PrinterStyle;

/* Content of the page that is begun. */
typedef struct PrinterInk {
    char *text;
    size_t size, room;
    double page_pt, left_pt; /* height of the paper, and where the printable line begins */
    /* characters that wait to be drawn together */
    PrinterStyle style;
    int32_t x, y; /* of the first, in units */
    int32_t advance;
    uint8_t run[PRINTER_RUN];
    unsigned count;
} PrinterInk;

/* printer_ink.c: everything is placed by its upper left corner in units, y downwards. */
void ink_character(PrinterInk *ink, int32_t x, int32_t y, uint8_t byte, const PrinterStyle *style);
/* What a character takes, doubling and space between characters counted. */
int32_t ink_advance(const PrinterStyle *style);
/* `columns` columns of `rows` dots from the top, each of rows/8 bytes, highest bit on top. */
void ink_graphics(PrinterInk *ink, int32_t x, int32_t y, const uint8_t *data, unsigned columns,
                  unsigned rows, int32_t column_units, int32_t row_units);
void ink_flush(PrinterInk *ink);
/* The character of code page 437 that a country, below INK_COUNTRIES, has in its place. */
uint8_t ink_national(unsigned country, uint8_t byte);

#endif
