/* A dot-matrix printer that prints into a PDF file: Epson's ESC/P, of 9 and of 24 pins (Epson,
 * ESC/P Reference Manual, 1997; FX-80 and LQ-850 manuals).
 */
#ifndef MACHINE_HOST_PRINTER_H
#define MACHINE_HOST_PRINTER_H

#include <stddef.h>
#include <stdint.h>

#include "machine/core/err.h"

typedef struct Printer Printer;

typedef struct PrinterConfig {
    const char *path;
    unsigned pins;   /* 9 or 24 */
    double page_in;  /* inches of a page's length until the guest sets it: 11, A4 11.69 */
    double paper_in; /* its width: 8.5, A4 8.27 */
} PrinterConfig;

Printer *printer_new(const PrinterConfig *config, Err *err);
void printer_write(Printer *p, const uint8_t *data, size_t size);
/* Ejects the page that is begun, and closes the file. */
void printer_free(Printer *p);

/* "PATH[,pins=9|24][,paper=letter|a4]"; path has room for `room` bytes. */
bool printer_parse(const char *text, PrinterConfig *config, char *path, size_t room, Err *err);

#endif
