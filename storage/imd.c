/* IMD floppy images (ImageDisk 1.18, its manual's appendix "IMD file format"): read, and made from
 * other images.
 *
 * A text that ends with 1Ah, then tracks: recording mode, cylinder, head, sectors, size code, maps
 * of numbers, and a record for each sector. Read only, as the place of a track depends on what
 * those before it hold.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "machine/core/bytes.h"
#include "storage/block_create_internal.h"
#include "storage/fdc.h"
#include "storage/floppy_internal.h"

enum {
    TEXT_END = 0x1a,
    MODES = 6,            /* 0-2 FM at 500, 300, 250 kbit/s, 3-5 MFM */
    HAS_CYLINDERS = 0x80, /* in the head byte: a map of cylinder numbers follows */
    HAS_HEADS = 0x40,
    SIZES_FOLLOW = 0xff, /* as size code: each sector has its own size */
    MAX_RECORD = 8,
};

static int imd_probe(const BlockProbe *p)
{
    return p->head_size >= 4 && memcmp(p->head, "IMD ", 4) == 0 ? 100 : 0;
}

typedef struct Cursor {
    const uint8_t *at, *end;
} Cursor;

/* The next bytes, or NULL when there are not so many. */
static const uint8_t *take(Cursor *c, size_t bytes)
{
    const uint8_t *p = c->at;
    if ((size_t)(c->end - c->at) < bytes) {
        return NULL;
    }
    c->at += bytes;
    return p;
}

static bool bad(const Block *b, Err *err, const char *what)
{
    return err_set(err, "'%s' is a damaged IMD image: %s", b->path, what);
}

static bool size_code(unsigned bytes, uint8_t *code)
{
    for (*code = 0; *code <= FLOPPY_MAX_CODE; (*code)++) {
        if (bytes == 128u << *code) {
            return true;
        }
    }
    return false;
}

/* Numbers and sizes of a track's sectors. */
static bool read_maps(Cursor *c, FloppyTrack *t, unsigned cylinder, unsigned head, uint8_t code)
{
    unsigned count = t->count;
    const uint8_t *numbers = take(c, count);
    const uint8_t *cylinders = head & HAS_CYLINDERS ? take(c, count) : NULL;
    const uint8_t *heads = head & HAS_HEADS ? take(c, count) : NULL;
    const uint8_t *sizes = code == SIZES_FOLLOW ? take(c, 2 * (size_t)count) : NULL;
    if (!numbers || (head & HAS_CYLINDERS && !cylinders) || (head & HAS_HEADS && !heads) ||
        (code == SIZES_FOLLOW ? !sizes : code > FLOPPY_MAX_CODE)) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        uint8_t n = code;
        if (sizes && !size_code(bytes_le16(sizes + 2 * i), &n)) {
            return false;
        }
        t->sector[i] = (FloppySector){.c = cylinders ? cylinders[i] : (uint8_t)cylinder,
                                      .h = heads ? heads[i] : head & 1,
                                      .r = numbers[i],
                                      .n = n};
    }
    return true;
}

/* A sector's record: its kind, then its bytes or the one that they all are. */
static bool read_record(Cursor *c, FloppySector *s, uint8_t *data)
{
    const uint8_t *kind = take(c, 1);
    if (!kind || *kind > MAX_RECORD) {
        return false;
    }
    if (*kind == 0) {
        s->flags = FLOPPY_NO_DATA;
        return true;
    }
    unsigned form = *kind - 1u, bytes = floppy_sector_bytes(s);
    const uint8_t *from = take(c, form & 1 ? 1 : bytes);
    s->flags = (form & 2 ? FLOPPY_DELETED : 0) | (form & 4 ? FLOPPY_BAD_DATA : 0);
    if (from && data && form & 1) {
        memset(data + s->offset, *from, bytes);
    } else if (from && data) {
        memcpy(data + s->offset, from, bytes);
    }
    return from != NULL;
}

/* All tracks; the first time their tables alone, then, with places given, their data. */
static bool read_tracks(Block *b, FloppyDisk *d, Cursor c, Err *err)
{
    while (c.at < c.end) {
        const uint8_t *head = take(&c, 5);
        if (!head || head[0] >= MODES || (head[2] & ~(HAS_CYLINDERS | HAS_HEADS)) > 1) {
            return bad(b, err, "a track's head is out of range");
        }
        unsigned cylinder = head[1], side = head[2] & 1;
        if (!d->data && !floppy_add_track(d, cylinder, side, head[3])) {
            return bad(b, err, "it has more tracks than a floppy, or one of them twice");
        }
        FloppyTrack *t = &d->track[cylinder][side], scratch = *t;
        FloppySector other[FLOPPY_SECTORS]; /* the second time, what is known already */
        scratch.sector = d->data ? other : t->sector;
        if (!read_maps(&c, &scratch, cylinder, head[2], head[4])) {
            return bad(b, err, "a track's table is cut off or out of range");
        }
        t->fm = head[0] < 3;
        t->rate = head[0] % 3;
        for (unsigned i = 0; i < t->count; i++) {
            if (!read_record(&c, d->data ? &t->sector[i] : &scratch.sector[i], d->data)) {
                return bad(b, err, "a sector is cut off");
            }
        }
    }
    return true;
}

static bool imd_open(Block *b, const BlockOptions *options, Err *err)
{
    uint8_t *bytes;
    size_t size;
    (void)options;
    if (!floppy_load(b, &bytes, &size, err)) {
        return false;
    }
    FloppyDisk *d = calloc(1, sizeof(*d));
    const uint8_t *text_end = memchr(bytes, TEXT_END, size);
    bool good = d != NULL || err_set(err, "'%s': out of memory", b->path);
    if (good && (size < 4 || memcmp(bytes, "IMD ", 4) != 0 || !text_end)) {
        good = bad(b, err, "it has no head");
    }
    Cursor c = {text_end ? text_end + 1 : bytes, bytes + size};
    good = good && read_tracks(b, d, c, err);
    good = good && (floppy_lay_out(d) || bad(b, err, "it holds no sectors, or too many"));
    good = good && read_tracks(b, d, c, err) && floppy_ready(b, d);
    free(bytes);
    if (!good) {
        floppy_free(d);
    }
    return good;
}

const BlockFormat block_imd = {
    .name = "imd",
    .probe = imd_probe,
    .open = imd_open,
    .close = floppy_close,
    .read = floppy_read,
    .write = floppy_write,
    .flush = floppy_flush,
    .map = floppy_map,
    .parallel = true,
};

/* ---- making ---- */

typedef struct Writer {
    NewImageFile file;
    uint64_t at;
    Block *from;
    uint8_t data[16384 + 2 * BLOCK_SECTOR];
} Writer;

static void emit(Writer *w, const void *bytes, size_t length)
{
    new_image_put(&w->file, w->at, bytes, length);
    w->at += length;
}

static void emit_sector(Writer *w, const FloppySector *s)
{
    uint32_t bytes = floppy_sector_bytes(s), before = s->offset % BLOCK_SECTOR;
    uint32_t whole = (before + bytes + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
    uint8_t kind = 0;
    if (s->flags & FLOPPY_NO_DATA) {
        emit(w, &kind, 1);
        return;
    }
    int error = block_read(w->from, s->offset - before, w->data, whole);
    w->file.error = w->file.error ? w->file.error : error;
    const uint8_t *data = w->data + before;
    bool alike = memcmp(data, data + 1, bytes - 1) == 0;
    kind = (uint8_t)(1 + alike + (s->flags & FLOPPY_DELETED ? 2 : 0) +
                     (s->flags & FLOPPY_BAD_DATA ? 4 : 0));
    emit(w, &kind, 1);
    emit(w, data, alike ? 1 : bytes);
}

static void emit_track(Writer *w, unsigned cylinder, unsigned head, const FloppyTrack *all)
{
    FloppySector found[FLOPPY_SECTORS];
    FloppyTrack track = {.fm = all->fm, .rate = all->rate, .sector = found};
    const FloppyTrack *t = &track;
    for (unsigned i = 0; i < all->count; i++) {
        if (!(all->sector[i].flags & FLOPPY_NO_ID)) { /* the format has no word for it */
            found[track.count++] = all->sector[i];
        }
    }
    uint8_t maps[3][FLOPPY_SECTORS], sizes[2 * FLOPPY_SECTORS];
    bool cylinders = false, heads = false, mixed = false;
    for (unsigned i = 0; i < t->count; i++) {
        const FloppySector *s = &t->sector[i];
        maps[0][i] = s->r;
        maps[1][i] = s->c;
        maps[2][i] = s->h;
        bytes_put_le16(sizes + 2 * i, (uint16_t)floppy_sector_bytes(s));
        cylinders |= s->c != cylinder;
        heads |= s->h != head;
        mixed |= s->n != t->sector[0].n;
    }
    uint8_t first[5] = {(uint8_t)(t->rate + (t->fm ? 0 : 3)), (uint8_t)cylinder,
                        (uint8_t)(head | (cylinders ? HAS_CYLINDERS : 0) | (heads ? HAS_HEADS : 0)),
                        (uint8_t)t->count,
                        mixed      ? SIZES_FOLLOW
                        : t->count ? t->sector[0].n
                                   : 2};
    emit(w, first, sizeof(first));
    emit(w, maps[0], t->count);
    emit(w, maps[1], cylinders ? t->count : 0);
    emit(w, maps[2], heads ? t->count : 0);
    emit(w, sizes, mixed ? 2 * t->count : 0);
    for (unsigned i = 0; i < t->count; i++) {
        emit_sector(w, &t->sector[i]);
    }
}

/* A raw image's track. */
static void emit_plain(Writer *w, const FdcFormat *f, unsigned cylinder, unsigned head)
{
    FloppySector sector[FLOPPY_SECTORS];
    uint32_t side = (uint32_t)f->sectors << f->size_code >> 2; /* in 512 bytes */
    FloppyTrack t = {.rate = side <= 10 ? 2 : 0, .count = f->sectors, .sector = sector};
    for (unsigned i = 0; i < f->sectors; i++) {
        uint32_t number = (cylinder * f->heads + head) * f->sectors + i;
        sector[i] = (FloppySector){.c = (uint8_t)cylinder,
                                   .h = (uint8_t)head,
                                   .r = (uint8_t)(i + 1),
                                   .n = f->size_code,
                                   .offset = number * (128u << f->size_code)};
    }
    emit_track(w, cylinder, head, &t);
}

static void emit_all(Writer *w, const FloppyDisk *d, const FdcFormat *f)
{
    unsigned cylinders = d ? d->cylinders : f->tracks, heads = d ? d->heads : f->heads;
    for (unsigned c = 0; c < cylinders; c++) {
        for (unsigned h = 0; h < heads; h++) {
            if (!d) {
                emit_plain(w, f, c, h);
            } else if (d->track[c][h].count) {
                emit_track(w, c, h, &d->track[c][h]);
            }
        }
    }
}

bool imd_write(const char *path, Block *from, Err *err)
{
    FdcFormat format;
    const FloppyDisk *d = block_floppy(from);
    char text[64];
    if (!d && !fdc_guess_format(block_size(from), &format)) {
        return err_set(err, "'%s': no floppy disk has %llu bytes, so it cannot be an IMD image",
                       block_path(from), (unsigned long long)block_size(from));
    }
    Writer *w = calloc(1, sizeof(*w));
    if (!w) {
        return err_set(err, "'%s': out of memory", path);
    }
    bool good = new_image_begin(&w->file, path, block_size(from), INT64_MAX, err);
    if (good) {
        time_t now = time(NULL);
        struct tm tm = {0};
        localtime_r(&now, &tm);
        size_t length = strftime(text, sizeof(text) - 1, "IMD 1.18: %d/%m/%Y %H:%M:%S\r\n", &tm);
        text[length++] = TEXT_END;
        w->from = from;
        emit(w, text, length);
        emit_all(w, d, &format);
        good = new_image_end(&w->file, err);
    }
    free(w);
    return good;
}
