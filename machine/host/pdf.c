/* PDF files (ISO 32000-1), written page by page.
 *
 * Pages and their contents follow each other; behind the last one stand the page tree, the cross
 * reference and the trailer, which the next page overwrites. So the file can be read at any time.
 */
#include "machine/host/pdf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { FONTS = 5 };

enum {
    CATALOG = 1,
    PAGES,
    RESOURCES,
    ENCODING,
    FONT,
    FIRST_FREE = FONT + FONTS,
    OBJECTS_A_PAGE = 2,
    MOST_PAGES = 20000,
};

struct PdfFile {
    FILE *file;
    long tail; /* where the page tree goes */
    long fixed[FIRST_FREE];
    long *page; /* offsets of a page and its content in turn */
    unsigned pages, room;
};

/* The characters of code page 437 above 7Fh that Courier has, by Adobe's names. */
static const char *const encoding =
    "<</Type/Encoding/BaseEncoding/WinAnsiEncoding/Differences[21/section 39/quotesingle 96/grave "
    "128/Ccedilla/udieresis/eacute/acircumflex/adieresis/agrave/aring/ccedilla/ecircumflex"
    "/edieresis/egrave/idieresis/icircumflex/igrave/Adieresis/Aring/Eacute/ae/AE/ocircumflex"
    "/odieresis/ograve/ucircumflex/ugrave/ydieresis/Odieresis/Udieresis/cent/sterling/yen/P/florin"
    "/aacute/iacute/oacute/uacute/ntilde/Ntilde/ordfeminine/ordmasculine/questiondown/hyphen"
    "/logicalnot/onehalf/onequarter/exclamdown/guillemotleft/guillemotright "
    "225/germandbls 230/mu 241/plusminus 246/divide 248/degree/bullet/periodcentered "
    "252/n/twosuperior 255/space]>>";

static bool whole(const PdfFile *pdf)
{
    return fflush(pdf->file) == 0 && !ferror(pdf->file);
}

static void begin_object(PdfFile *pdf, long *offset, unsigned number)
{
    *offset = ftell(pdf->file);
    fprintf(pdf->file, "%u 0 obj\n", number);
}

static void write_fixed(PdfFile *pdf)
{
    static const char *const fonts[FONTS] = {"Courier", "Courier-Bold", "Courier-Oblique",
                                             "Courier-BoldOblique", "Symbol"};
    fprintf(pdf->file, "%%PDF-1.4\n%%\xe2\xe3\xcf\xd3\n");
    begin_object(pdf, &pdf->fixed[CATALOG], CATALOG);
    fprintf(pdf->file, "<</Type/Catalog/Pages %d 0 R>>\nendobj\n", PAGES);
    begin_object(pdf, &pdf->fixed[ENCODING], ENCODING);
    fprintf(pdf->file, "%s\nendobj\n", encoding);
    begin_object(pdf, &pdf->fixed[RESOURCES], RESOURCES);
    fprintf(pdf->file, "<</ProcSet[/PDF/Text/ImageB]/Font<<");
    for (unsigned i = 0; i < FONTS; i++) {
        fprintf(pdf->file, "/F%u %u 0 R", i + 1, FONT + i);
    }
    fprintf(pdf->file, ">>>>\nendobj\n");
    for (unsigned i = 0; i < FONTS; i++) {
        begin_object(pdf, &pdf->fixed[FONT + i], FONT + i);
        fprintf(pdf->file, "<</Type/Font/Subtype/Type1/BaseFont/%s", fonts[i]);
        if (i < FONTS - 1) { /* Symbol has its own */
            fprintf(pdf->file, "/Encoding %d 0 R", ENCODING);
        }
        fprintf(pdf->file, ">>\nendobj\n");
    }
    pdf->tail = ftell(pdf->file);
}

static void write_tail(PdfFile *pdf)
{
    unsigned objects = FIRST_FREE + pdf->pages * OBJECTS_A_PAGE;
    fseek(pdf->file, pdf->tail, SEEK_SET);
    begin_object(pdf, &pdf->fixed[PAGES], PAGES);
    fprintf(pdf->file, "<</Type/Pages/Count %u/Kids[", pdf->pages);
    for (unsigned i = 0; i < pdf->pages; i++) {
        fprintf(pdf->file, "%u 0 R ", FIRST_FREE + i * OBJECTS_A_PAGE);
    }
    fprintf(pdf->file, "]>>\nendobj\n");
    long reference = ftell(pdf->file);
    fprintf(pdf->file, "xref\n0 %u\n0000000000 65535 f \n", objects);
    for (unsigned i = 1; i < objects; i++) {
        fprintf(pdf->file, "%010ld 00000 n \n",
                i < FIRST_FREE ? pdf->fixed[i] : pdf->page[i - FIRST_FREE]);
    }
    fprintf(pdf->file, "trailer\n<</Size %u/Root %d 0 R>>\nstartxref\n%ld\n%%%%EOF\n", objects,
            CATALOG, reference);
}

PdfFile *pdf_open(const char *path, Err *err)
{
    PdfFile *pdf = calloc(1, sizeof(*pdf));
    pdf->file = pdf ? fopen(path, "w+be") : NULL;
    if (!pdf || !pdf->file) {
        err_set(err, "file '%s' cannot be written: %s", path, strerror(errno));
        free(pdf);
        return NULL;
    }
    write_fixed(pdf);
    write_tail(pdf);
    whole(pdf);
    return pdf;
}

static bool make_room(PdfFile *pdf)
{
    if (pdf->pages < pdf->room) {
        return true;
    }
    unsigned room = pdf->room ? pdf->room * 2 : 16;
    long *page = realloc(pdf->page, (size_t)room * OBJECTS_A_PAGE * sizeof(*page));
    if (!page) {
        return false;
    }
    pdf->page = page;
    pdf->room = room;
    return true;
}

bool pdf_page(PdfFile *pdf, double width, double height, const char *content, size_t size)
{
    uLongf packed_size = compressBound(size);
    Bytef *packed = malloc(packed_size);
    if (!packed || pdf->pages == MOST_PAGES || !make_room(pdf) ||
        compress2(packed, &packed_size, (const Bytef *)content, size, 6) != Z_OK) {
        free(packed);
        return false;
    }
    unsigned number = FIRST_FREE + pdf->pages * OBJECTS_A_PAGE;
    fseek(pdf->file, pdf->tail, SEEK_SET);
    begin_object(pdf, &pdf->page[pdf->pages * OBJECTS_A_PAGE], number);
    fprintf(pdf->file,
            "<</Type/Page/Parent %d 0 R/MediaBox[0 0 %.2f %.2f]/Resources %d 0 R/Contents %u 0 "
            "R>>\nendobj\n",
            PAGES, width, height, RESOURCES, number + 1);
    begin_object(pdf, &pdf->page[pdf->pages * OBJECTS_A_PAGE + 1], number + 1);
    fprintf(pdf->file, "<</Length %lu/Filter/FlateDecode>>\nstream\n", (unsigned long)packed_size);
    fwrite(packed, 1, packed_size, pdf->file);
    fprintf(pdf->file, "\nendstream\nendobj\n");
    free(packed);
    pdf->tail = ftell(pdf->file);
    pdf->pages++;
    write_tail(pdf);
    return whole(pdf);
}

unsigned pdf_pages(const PdfFile *pdf)
{
    return pdf->pages;
}

void pdf_close(PdfFile *pdf)
{
    if (pdf) {
        fclose(pdf->file);
        free(pdf->page);
        free(pdf);
    }
}
