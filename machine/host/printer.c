/* A dot-matrix printer: Epson's ESC/P.
 *
 * Sources: Epson, ESC/P Reference Manual (1997), and the manuals of the FX-80 (9 pins) and LQ-850
 * (24 pins). The head moves in units of 1/2160 inch, which every pitch, density and line spacing
 * divides. Printing begins at the upper edge of the paper and a quarter of an inch from its left,
 * on 8 inches. Not modelled: characters that the program draws itself (they are skipped), colours,
 * other code pages than 437, justification, and ESC/P 2's raster graphics.
 */
#include "machine/host/printer.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"
#include "machine/host/printer_internal.h"

LOG_TAG("printer");

enum {
    INCH = PRINTER_INCH,
    LINE_WIDTH = 8 * INCH,
    MOST_ARGUMENTS = 8,
    MOST_DATA = 3 * 4096, /* of graphics: more columns than the widest line has dots */
    LONGEST_PAGE = 22 * INCH,
    BS = 0x08,
    HT = 0x09,
    LF = 0x0a,
    VT = 0x0b,
    FF = 0x0c,
    CR = 0x0d,
    SO = 0x0e,
    SI = 0x0f,
    DC1 = 0x11,
    DC2 = 0x12,
    DC3 = 0x13,
    DC4 = 0x14,
    CAN = 0x18,
    ESC = 0x1b,
    DEL = 0x7f,
};

typedef enum Phase {
    PHASE_TEXT,
    PHASE_COMMAND,   /* ESC came */
    PHASE_ARGUMENTS, /* so many bytes belong to it */
    PHASE_TABS,      /* tab stops up to a 0 */
    PHASE_DATA,      /* bytes of graphics */
    PHASE_SKIP,      /* bytes of no use */
    PHASE_CHARACTER, /* the three bytes before a character of the program's own */
    PHASE_VERBATIM,  /* ESC ( ^: characters, no commands */
} Phase;

struct Printer {
    PrinterConfig config;
    PdfFile *pdf;
    PrinterInk ink;
    bool used; /* something was printed on this page, or the paper moved */
    bool failed, deselected;

    int32_t x, y; /* of the head, units */
    int32_t page, spacing, left, right, skip;
    bool elite, micron; /* 12 and 15 characters an inch instead of 10 */
    bool condensed, wide_line;
    PrinterStyle style;
    uint8_t country;
    uint8_t density[4]; /* modes of ESC K, L, Y, Z */
    int32_t unit;       /* of ESC (, 0: the command's own */
    int32_t tab[PRINTER_TABS], vertical_tab[PRINTER_TABS];
    unsigned tabs, vertical_tabs;

    unsigned phase; /* Phase */
    uint8_t command, argument[MOST_ARGUMENTS];
    unsigned have, want;
    uint32_t left_bytes; /* of data */
    uint8_t mode;        /* of graphics */
    uint8_t data[MOST_DATA];
    unsigned size, characters; /* of data; still to come after ESC & */
};

/* --- paper --- */

static bool nine(const Printer *p)
{
    return p->config.pins == 9;
}

static void eject(Printer *p)
{
    ink_flush(&p->ink);
    if (!p->failed && !pdf_page(p->pdf, p->config.paper_in * 72, p->ink.page_pt,
                                p->ink.text ? p->ink.text : "", p->ink.size)) {
        p->failed = true;
        log_warn("page %u cannot be written to '%s'", pdf_pages(p->pdf) + 1, p->config.path);
    }
    p->ink.size = 0;
    p->ink.page_pt = p->page * 72.0 / INCH;
    p->used = false;
}

static void feed(Printer *p, int32_t units)
{
    p->y += units;
    p->used |= units != 0;
    if (p->y < 0) {
        p->y = 0;
    }
    if (p->y >= p->page - p->skip) {
        int32_t beyond = p->y < p->page ? 0 : (p->y - p->page) % p->page;
        eject(p);
        p->y = beyond;
        p->used = beyond != 0;
    }
}

static void form_feed(Printer *p)
{
    eject(p);
    p->x = p->left;
    p->y = 0;
    p->wide_line = false;
}

static void carriage_return(Printer *p)
{
    p->x = p->left;
}

static void line_feed(Printer *p)
{
    carriage_return(p);
    p->wide_line = false;
    feed(p, p->spacing);
}

/* --- characters --- */

static void choose_pitch(Printer *p)
{
    unsigned units = p->micron ? INCH / 15 : p->elite ? INCH / 12 : INCH / 10;
    if (p->condensed && !p->micron) {
        units = p->elite ? INCH / 20 : 126; /* 17.14 characters an inch */
    }
    p->style.width = (uint16_t)units;
}

static void print(Printer *p, uint8_t byte)
{
    PrinterStyle style = p->style;
    style.wide |= p->wide_line;
    int32_t advance = ink_advance(&style);
    if (p->x + advance > p->right && p->x > p->left) {
        line_feed(p);
    }
    byte = ink_national(p->country, byte);
    if (byte != ' ' || style.underline || p->ink.count) {
        ink_character(&p->ink, p->x, p->y, byte, &style);
    }
    p->used = true;
    p->x += advance;
}

/* --- resetting --- */

static void usual_tabs(Printer *p)
{
    p->tabs = 0;
    p->vertical_tabs = 0;
    for (int32_t at = 8; at < 80 && p->tabs < PRINTER_TABS; at += 8) {
        p->tab[p->tabs++] = at * (INCH / 10);
    }
}

static void initialize(Printer *p)
{
    static const uint8_t densities[4] = {0, 1, 2, 3};
    ink_flush(&p->ink);
    p->page = (int32_t)(p->config.page_in * INCH);
    p->spacing = INCH / 6;
    p->left = 0;
    p->right = LINE_WIDTH;
    p->skip = 0;
    p->elite = p->micron = p->condensed = p->wide_line = false;
    p->style = (PrinterStyle){0};
    p->country = 0;
    p->unit = 0;
    memcpy(p->density, densities, sizeof(densities));
    choose_pitch(p);
    usual_tabs(p);
    p->x = p->left;
}

/* --- commands --- */

static void tab(Printer *p)
{
    for (unsigned i = 0; i < p->tabs; i++) {
        if (p->left + p->tab[i] > p->x && p->left + p->tab[i] < p->right) {
            p->x = p->left + p->tab[i];
            return;
        }
    }
}

static void vertical_tab(Printer *p)
{
    carriage_return(p);
    for (unsigned i = 0; i < p->vertical_tabs; i++) {
        if (p->vertical_tab[i] > p->y) {
            feed(p, p->vertical_tab[i] - p->y);
            return;
        }
    }
    if (p->vertical_tabs) {
        form_feed(p);
    } else {
        line_feed(p);
    }
}

static void control(Printer *p, uint8_t byte)
{
    switch (byte) {
    case BS:
        p->x -= ink_advance(&p->style);
        p->x = p->x < p->left ? p->left : p->x;
        break;
    case HT:
        tab(p);
        break;
    case LF:
        line_feed(p);
        break;
    case VT:
        vertical_tab(p);
        break;
    case FF:
        form_feed(p);
        break;
    case CR:
        carriage_return(p);
        break;
    case SO:
        p->wide_line = true;
        break;
    case SI:
        p->condensed = true;
        choose_pitch(p);
        break;
    case DC2:
        p->condensed = false;
        choose_pitch(p);
        break;
    case DC4:
        p->wide_line = false;
        break;
    default: /* CAN and DEL: what they take back is on paper already */
        break;
    }
}

static int32_t word(const uint8_t *at)
{
    return at[0] | at[1] << 8;
}

static void set_pitch(Printer *p, int32_t width)
{
    if (width > 0 && width <= 1080) {
        p->style.width = (uint16_t)(width * (INCH / 360));
    }
}

/* ESC ! n: everything at once. */
static void master_select(Printer *p, uint8_t n)
{
    p->elite = n & 1;
    p->micron = false;
    p->condensed = n & 4;
    p->style.bold = n & 0x18;
    p->style.wide = n & 0x20;
    p->style.italic = n & 0x40;
    p->style.underline = n & 0x80;
    choose_pitch(p);
}

/* A switch's argument: 1 or '1' is on. */
static bool on(uint8_t n)
{
    return n & 1;
}

static bool style_command(Printer *p, uint8_t command, uint8_t n)
{
    switch (command) {
    case '!':
        master_select(p, n);
        return true;
    case 'M':
    case 'P':
    case 'g':
        p->elite = command == 'M';
        p->micron = command == 'g';
        choose_pitch(p);
        return true;
    case 'E':
    case 'G':
    case 'F':
    case 'H':
        p->style.bold = command == 'E' || command == 'G';
        return true;
    case '4':
    case '5':
        p->style.italic = command == '4';
        return true;
    case '-':
        p->style.underline = on(n);
        return true;
    case 'S':
        p->style.script = on(n) ? -1 : 1;
        return true;
    case 'T':
        p->style.script = 0;
        return true;
    case 'W':
        p->style.wide = on(n);
        p->wide_line = false;
        return true;
    case 'w':
        p->style.tall = on(n);
        return true;
    case ' ':
        p->style.space = (uint16_t)((n & 0x7f) * (nine(p) ? INCH / 120 : INCH / 180));
        return true;
    case SO:
        p->wide_line = true;
        return true;
    case SI:
        control(p, SI);
        return true;
    case 'c': /* any pitch, in 360ths of an inch */
    case 'X':
        set_pitch(p, command == 'c' ? word(p->argument) : p->argument[0] >= 5 ? p->argument[0] : 0);
        return true;
    case 'R':
        p->country = n < INK_COUNTRIES ? n : 0;
        return true;
    default:
        return false;
    }
}

static bool spacing_command(Printer *p, uint8_t command, uint8_t n)
{
    switch (command) {
    case '0':
        p->spacing = INCH / 8;
        return true;
    case '1':
        p->spacing = 7 * INCH / 72;
        return true;
    case '2':
        p->spacing = INCH / 6;
        return true;
    case '3':
        p->spacing = n * (nine(p) ? INCH / 216 : INCH / 180);
        return true;
    case 'A':
        p->spacing = n * (nine(p) ? INCH / 72 : INCH / 60);
        return true;
    case '+':
        p->spacing = n * (INCH / 360);
        return true;
    case 'J':
        feed(p, n * (nine(p) ? INCH / 216 : INCH / 180));
        return true;
    case 'j':
        feed(p, -n * (nine(p) ? INCH / 216 : INCH / 180));
        return true;
    default:
        return false;
    }
}

static void set_page(Printer *p, int32_t units)
{
    if (units >= INCH / 2 && units <= LONGEST_PAGE) {
        p->page = units;
        p->skip = 0;
        if (!p->used) { /* the paper in the printer is of this length already */
            p->ink.page_pt = units * 72.0 / INCH;
        }
    }
}

static void go_to(Printer *p, int32_t x)
{
    if (x >= p->left && x <= p->right) {
        p->x = x;
    }
}

static bool place_command(Printer *p, uint8_t command, const uint8_t *a)
{
    int32_t width = p->style.width;
    switch (command) {
    case 'C':
        if (a[0]) {
            set_page(p, a[0] * p->spacing);
        } else if (p->have < 2) {
            p->want = 2; /* inches follow */
            p->phase = PHASE_ARGUMENTS;
        } else {
            set_page(p, a[1] * INCH);
        }
        return true;
    case 'N':
        p->skip = a[0] * p->spacing < p->page ? a[0] * p->spacing : 0;
        return true;
    case 'O':
        p->skip = 0;
        return true;
    case 'l':
        p->left = a[0] * width < p->right - INCH / 10 ? a[0] * width : p->left;
        p->x = p->left;
        return true;
    case 'Q':
        p->right = a[0] * width > p->left && a[0] * width <= LINE_WIDTH ? a[0] * width : p->right;
        return true;
    case '$':
        go_to(p, p->left + word(a) * (INCH / 60));
        return true;
    case '\\':
        go_to(p, p->x + (int16_t)word(a) * (nine(p) ? INCH / 120 : INCH / 180));
        return true;
    default:
        return false;
    }
}

/* --- graphics --- */

typedef struct Density {
    uint8_t mode, per_inch_60; /* columns an inch in units of 1/2160: INCH / columns */
    uint8_t bytes;             /* a column */
} Density;

static const Density densities[] = {{0, 36, 1},  {1, 18, 1},  {2, 18, 1}, {3, 9, 1},   {4, 27, 1},
                                    {5, 30, 1},  {6, 24, 1},  {7, 15, 1}, {32, 36, 3}, {33, 18, 3},
                                    {38, 24, 3}, {39, 12, 3}, {40, 6, 3}};

static const Density *density_of(uint8_t mode)
{
    for (size_t i = 0; i < sizeof(densities) / sizeof(densities[0]); i++) {
        if (densities[i].mode == mode) {
            return &densities[i];
        }
    }
    return &densities[0];
}

/* ESC ^: nine pins, the lowest of which is the first bit of each second byte. */
static unsigned column_bytes(const Printer *p)
{
    return p->command == '^' ? 2 : density_of(p->mode)->bytes;
}

static void begin_graphics(Printer *p, uint8_t mode, int32_t columns)
{
    p->mode = mode;
    p->left_bytes = (uint32_t)columns * column_bytes(p);
    p->size = 0;
    p->phase = p->left_bytes ? PHASE_DATA : PHASE_TEXT;
}

static void end_graphics(Printer *p)
{
    const Density *d = density_of(p->mode);
    unsigned bytes = column_bytes(p), columns = p->size / bytes;
    int32_t wide = d->per_inch_60, row = bytes == 3 ? INCH / 180 : nine(p) ? INCH / 72 : INCH / 60;
    unsigned room = p->x < p->right ? (unsigned)((p->right - p->x) / wide) : 0;
    ink_graphics(&p->ink, p->x, p->y, p->data, columns < room ? columns : room,
                 p->command == '^' ? 9 : bytes * 8, wide, row);
    p->x += (int32_t)columns * wide;
    p->x = p->x > p->right ? p->right : p->x;
    p->used = true;
    p->phase = PHASE_TEXT;
}

static bool graphics_command(Printer *p, uint8_t command, const uint8_t *a)
{
    static const char letters[] = "KLYZ";
    const char *letter = strchr(letters, command);
    if (letter && command) {
        begin_graphics(p, p->density[letter - letters], word(a));
        return true;
    }
    switch (command) {
    case '*':
    case '^':
        begin_graphics(p, a[0], word(a + 1));
        return true;
    case '?':
        letter = a[0] ? strchr(letters, a[0]) : NULL;
        if (letter) {
            p->density[letter - letters] = a[1];
        }
        return true;
    default:
        return false;
    }
}

/* --- ESC ( --- */

static void extended(Printer *p)
{
    const uint8_t *a = p->argument;
    int32_t unit = p->unit ? p->unit : INCH / 360, value = word(a + 3);
    switch (a[0]) {
    case 'U': /* 3600ths of an inch */
        p->unit = a[3] ? a[3] * INCH / 3600 : 0;
        p->unit = p->unit ? p->unit : 1;
        break;
    case 'C':
        set_page(p, value * unit);
        break;
    case 'V':
        if (value * unit > p->y) {
            feed(p, value * unit - p->y);
        }
        break;
    case 'v':
        feed(p, (int16_t)value * unit);
        break;
    case '-':
        p->style.underline = a[5] != 0;
        break;
    default:
        log_unimp("ESC ( %c", a[0]);
        break;
    }
}

/* Its own length follows its letter. */
static void extended_arguments(Printer *p)
{
    uint32_t length = (uint32_t)word(p->argument + 1);
    if (p->argument[0] == '^') {
        p->left_bytes = length;
        p->phase = length ? PHASE_VERBATIM : PHASE_TEXT;
    } else if (length > 4) {
        p->left_bytes = length;
        p->phase = PHASE_SKIP;
    } else if (length) {
        p->want = 3 + length;
        p->phase = PHASE_ARGUMENTS;
    }
}

/* --- the stream of bytes --- */

static int arguments_of(uint8_t command)
{
    static const char one[] = "!-3AJjNlQSWw+ xkRtpaUrsi%IC/b";
    static const char two[] = "KLYZ$\\?cef";
    if (command == '*' || command == '^' || command == '(' || command == '&' || command == ':' ||
        command == 'X') {
        return 3;
    }
    if (command == 0) {
        return 0;
    }
    return strchr(two, command) ? 2 : strchr(one, command) ? 1 : 0;
}

static void skip(Printer *p, uint32_t bytes)
{
    p->left_bytes = bytes;
    p->phase = bytes ? PHASE_SKIP : PHASE_TEXT;
}

/* Own characters of 24 pins: the second of the three bytes before each tells its columns. */
static void next_character(Printer *p)
{
    if (p->characters && p->phase == PHASE_TEXT) {
        p->characters--;
        p->have = 0;
        p->phase = PHASE_CHARACTER;
    }
}

static void character_byte(Printer *p, uint8_t byte)
{
    p->argument[p->have++] = byte;
    if (p->have == 3) {
        skip(p, p->argument[1] * (p->style.script ? 2u : 3u));
        next_character(p);
    }
}

static void run_command(Printer *p)
{
    const uint8_t *a = p->argument;
    p->phase = PHASE_TEXT;
    if (p->command == '@') {
        initialize(p);
    } else if (p->command == '&') { /* own characters: 12 bytes each with 9 pins */
        p->characters = a[2] >= a[1] ? a[2] - a[1] + 1u : 0;
        if (nine(p)) {
            skip(p, 12 * p->characters);
            p->characters = 0;
        }
        next_character(p);
    } else if (p->command == 'b') {
        p->phase = PHASE_TABS;
        p->vertical_tabs = a[0] ? p->vertical_tabs : 0;
    } else if (p->command == '(') {
        if (p->have == 3) {
            extended_arguments(p);
        } else {
            extended(p);
        }
    } else if (!style_command(p, p->command, a[0]) && !spacing_command(p, p->command, a[0]) &&
               !place_command(p, p->command, a) && !graphics_command(p, p->command, a)) {
        log_trace("ESC 0x%02x has no effect", p->command);
    }
}

static void command_byte(Printer *p, uint8_t byte)
{
    p->command = byte;
    p->have = 0;
    p->want = (unsigned)arguments_of(byte);
    memset(p->argument, 0, sizeof(p->argument));
    if (byte == 'D' || byte == 'B') {
        p->phase = PHASE_TABS;
        *(byte == 'D' ? &p->tabs : &p->vertical_tabs) = 0;
    } else if (p->want) {
        p->phase = PHASE_ARGUMENTS;
    } else {
        run_command(p);
    }
}

/* Tab stops rise; the first that does not ends the list, as the 0 does. Of the channels of vertical
 * ones (ESC b) there is the usual one alone. */
static void tab_byte(Printer *p, uint8_t byte)
{
    bool across = p->command == 'D';
    unsigned *count = across ? &p->tabs : &p->vertical_tabs;
    int32_t *stops = across ? p->tab : p->vertical_tab;
    int32_t at = byte * (across ? p->style.width : p->spacing);
    if (byte == 0 || (*count && at <= stops[*count - 1] && p->command != 'b')) {
        p->phase = PHASE_TEXT;
    } else if (*count < PRINTER_TABS && (p->command != 'b' || p->argument[0] == 0)) {
        stops[(*count)++] = at;
    }
}

static void data_byte(Printer *p, uint8_t byte)
{
    if (p->phase == PHASE_DATA && p->size < MOST_DATA) {
        p->data[p->size++] = byte;
    } else if (p->phase == PHASE_VERBATIM) {
        print(p, byte);
    }
    if (--p->left_bytes == 0) {
        if (p->phase == PHASE_DATA) {
            end_graphics(p);
        }
        p->phase = PHASE_TEXT;
        next_character(p);
    }
}

static void text_byte(Printer *p, uint8_t byte)
{
    if (byte == DC1 || byte == DC3) {
        p->deselected = byte == DC3;
    } else if (byte == ESC) {
        p->phase = PHASE_COMMAND;
    } else if (!p->deselected && (byte < 0x20 || byte == DEL) && byte != 0x15) {
        control(p, byte);
    } else if (!p->deselected) {
        print(p, byte);
    }
}

static void take(Printer *p, uint8_t byte)
{
    switch (p->phase) {
    case PHASE_TEXT:
        text_byte(p, byte);
        break;
    case PHASE_COMMAND:
        command_byte(p, byte);
        break;
    case PHASE_ARGUMENTS:
        p->argument[p->have++] = byte;
        if (p->have == p->want) {
            run_command(p);
        }
        break;
    case PHASE_TABS:
        tab_byte(p, byte);
        break;
    case PHASE_CHARACTER:
        character_byte(p, byte);
        break;
    default:
        data_byte(p, byte);
        break;
    }
}

void printer_write(Printer *p, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        take(p, data[i]);
    }
}

Printer *printer_new(const PrinterConfig *config, Err *err)
{
    Printer *p = calloc(1, sizeof(*p));
    if (!p) {
        err_set(err, "out of memory");
        return NULL;
    }
    p->config = *config;
    p->config.path = strdup(config->path);
    p->pdf = pdf_open(config->path, err);
    if (!p->pdf) {
        free((char *)p->config.path);
        free(p);
        return NULL;
    }
    initialize(p);
    p->ink.page_pt = config->page_in * 72;
    p->ink.left_pt = (config->paper_in - 8) * 36;
    return p;
}

void printer_free(Printer *p)
{
    if (!p) {
        return;
    }
    if (p->used) {
        eject(p);
    }
    pdf_close(p->pdf);
    free((char *)p->config.path);
    free(p->ink.text);
    free(p);
}

bool printer_parse(const char *text, PrinterConfig *config, char *path, size_t room, Err *err)
{
    size_t length = strcspn(text, ",");
    *config = (PrinterConfig){.path = path, .pins = 24, .page_in = 11, .paper_in = 8.5};
    if (length == 0 || length >= room) {
        return err_set(err, "a file must be named: pdf:PATH");
    }
    memcpy(path, text, length);
    path[length] = '\0';
    for (const char *at = text + length; *at == ',';) {
        const char *word_at = at + 1;
        length = strcspn(word_at, ",");
        at = word_at + length;
        if (length == 6 && strncmp(word_at, "pins=9", 6) == 0) {
            config->pins = 9;
        } else if (length == 7 && strncmp(word_at, "pins=24", 7) == 0) {
            config->pins = 24;
        } else if (length == 8 && strncmp(word_at, "paper=a4", 8) == 0) {
            config->page_in = 842 / 72.0;
            config->paper_in = 595 / 72.0;
        } else if (!(length == 12 && strncmp(word_at, "paper=letter", 12) == 0)) {
            return err_set(err, "'%.*s' is unknown; a printer has pins=9|24 and paper=letter|a4",
                           (int)length, word_at);
        }
    }
    return true;
}
