/* A PDF file that grows by pages (ISO 32000-1): text in the standard fonts, content compressed. */
#ifndef MACHINE_HOST_PDF_H
#define MACHINE_HOST_PDF_H

#include <stddef.h>

#include "machine/core/err.h"

typedef struct PdfFile PdfFile;

/* Fonts that a page's content may name: /F1 Courier, /F2 bold, /F3 oblique, /F4 both, with the
 * characters of code page 437; /F5 Symbol. */
PdfFile *pdf_open(const char *path, Err *err);
/* Adds a page of this size (points) with this content, and makes the file whole again. False when
 * it cannot be written. */
bool pdf_page(PdfFile *pdf, double width, double height, const char *content, size_t size);
unsigned pdf_pages(const PdfFile *pdf);
void pdf_close(PdfFile *pdf);

#endif
