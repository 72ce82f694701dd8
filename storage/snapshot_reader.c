/* Reading a snapshot file: nothing in it is believed before it is checked. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "storage/snapshot_internal.h"

enum { MAX_THREADS = 8, MAX_PACKED_FRAME = FRAME_BYTES + 65536 };

typedef struct Section {
    uint32_t kind, crc;
    uint64_t offset, packed, size;
} Section;

struct SnapshotReader {
    SnapshotIo io;
    uint64_t size, pages;
    char *what;
    Section section[SNAPSHOT_MAX_SECTIONS];
    unsigned sections;
    uint32_t *index; /* stored number + 1 of each page; 0: zeros */
    uint8_t *frames; /* the table as it stands in the file */
    size_t frame_count;
};

static bool damaged(const SnapshotReader *r, const char *why, Err *err)
{
    return err_set(err, "snapshot '%s' is damaged or cut off: %s", r->what, why);
}

static bool read_at(SnapshotReader *r, uint64_t offset, void *data, size_t length, Err *err)
{
    int error = r->io.read(r->io.self, offset, data, length);
    return !error || err_set(err, "snapshot '%s' cannot be read: %s", r->what, strerror(error));
}

static bool inside(const SnapshotReader *r, uint64_t offset, uint64_t length)
{
    return offset >= SNAPSHOT_HEADER && offset <= r->size && length <= r->size - offset;
}

static bool read_toc(SnapshotReader *r, const uint8_t *header, Err *err)
{
    uint8_t toc[SNAPSHOT_MAX_SECTIONS * TOC_ENTRY];
    uint64_t at = snapshot_le64(header + 24);
    uint32_t count = snapshot_le32(header + 32), length = count * TOC_ENTRY;
    if (count > SNAPSHOT_MAX_SECTIONS || !inside(r, at, length)) {
        return damaged(r, "its table of contents is out of place", err);
    }
    if (!read_at(r, at, toc, length, err)) {
        return false;
    }
    if ((uint32_t)crc32_z(0, toc, length) != snapshot_le32(header + 36)) {
        return damaged(r, "the checksum of its table of contents is wrong", err);
    }
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *p = toc + i * TOC_ENTRY;
        Section *s = &r->section[r->sections++];
        *s = (Section){.kind = snapshot_le32(p),
                       .offset = snapshot_le64(p + 8),
                       .packed = snapshot_le64(p + 16),
                       .size = snapshot_le64(p + 24),
                       .crc = snapshot_le32(p + 32)};
        if (!inside(r, s->offset, s->packed)) {
            return damaged(r, "a section lies outside of it", err);
        }
    }
    return true;
}

static bool read_header(SnapshotReader *r, Err *err)
{
    uint8_t header[SNAPSHOT_HEADER];
    if (r->size < sizeof(header)) {
        return err_set(err, "'%s' is no snapshot of this program", r->what);
    }
    if (!read_at(r, 0, header, sizeof(header), err)) {
        return false;
    }
    if (memcmp(header, snapshot_magic, sizeof(snapshot_magic)) != 0) {
        return err_set(err, "'%s' is no snapshot of this program", r->what);
    }
    uint32_t version = snapshot_le32(header + 8);
    if (version == 0 || version > SNAPSHOT_VERSION) {
        return err_set(err, "snapshot '%s' has version %u; use a newer vitrine", r->what, version);
    }
    if ((uint32_t)crc32_z(0, header + 16, sizeof(header) - 16) != snapshot_le32(header + 12)) {
        return damaged(r, "the header's checksum is wrong", err);
    }
    uint64_t total = snapshot_le64(header + 16);
    r->pages = snapshot_le64(header + 40);
    if (total > r->size || r->pages > SNAPSHOT_MAX_PAGES) {
        return damaged(r, "it should be longer", err);
    }
    r->size = total;
    return read_toc(r, header, err);
}

SnapshotReader *snapshot_reader_open(const SnapshotIo *io, uint64_t size, const char *what,
                                     Err *err)
{
    SnapshotReader *r = calloc(1, sizeof(*r));
    if (r) {
        *r = (SnapshotReader){.io = *io, .size = size, .what = strdup(what)};
    }
    if (!r || !r->what) {
        err_set(err, "out of memory");
        free(r);
        return NULL;
    }
    if (!read_header(r, err)) {
        snapshot_reader_close(r);
        return NULL;
    }
    return r;
}

void snapshot_reader_close(SnapshotReader *r)
{
    if (r) {
        free(r->what);
        free(r->index);
        free(r->frames);
        free(r);
    }
}

uint8_t *snapshot_reader_section(SnapshotReader *r, SnapshotSection kind, size_t limit,
                                 size_t *size, Err *err)
{
    const Section *s = NULL;
    for (unsigned i = 0; i < r->sections && !s; i++) {
        s = r->section[i].kind == kind ? &r->section[i] : NULL;
    }
    if (!s || s->size > limit || s->packed > ZSTD_compressBound(limit)) {
        damaged(r, s ? "a section is too large" : "a section is missing", err);
        return NULL;
    }
    uint8_t *packed = malloc(s->packed ? s->packed : 1), *data = malloc(s->size ? s->size : 1);
    bool ok = packed && data ? read_at(r, s->offset, packed, s->packed, err)
                             : err_set(err, "snapshot '%s': out of memory", r->what);
    if (ok && (uint32_t)crc32_z(0, packed, s->packed) != s->crc) {
        ok = damaged(r, "a section's checksum is wrong", err);
    }
    if (ok && ZSTD_decompress(data, s->size, packed, s->packed) != s->size) {
        ok = damaged(r, "a section cannot be unpacked", err);
    }
    free(packed);
    if (!ok) {
        free(data);
        return NULL;
    }
    *size = s->size;
    return data;
}

bool snapshot_reader_map(SnapshotReader *r, uint64_t pages, Err *err)
{
    size_t index_size, frames_size;
    if (r->pages != pages || pages > SNAPSHOT_MAX_PAGES) {
        return err_set(err, "snapshot '%s' holds %llu pages, this machine %llu", r->what,
                       (unsigned long long)r->pages, (unsigned long long)pages);
    }
    /* each page may have been written anew many times while it was being saved */
    size_t frames_limit = (size_t)pages * FRAME_ENTRY + FRAME_ENTRY;
    uint8_t *index =
        snapshot_reader_section(r, SNAPSHOT_PAGES, (size_t)pages * 4, &index_size, err);
    r->frames =
        index ? snapshot_reader_section(r, SNAPSHOT_FRAMES, frames_limit, &frames_size, err) : NULL;
    r->index = r->frames ? malloc(pages ? (size_t)pages * 4 : 1) : NULL;
    bool ok = r->index != NULL;
    if (ok && (index_size != pages * 4 || frames_size % FRAME_ENTRY)) {
        ok = damaged(r, "its page table has a wrong size", err);
    }
    r->frame_count = ok ? frames_size / FRAME_ENTRY : 0;
    for (size_t i = 0; i < r->frame_count && ok; i++) {
        const uint8_t *entry = r->frames + i * FRAME_ENTRY;
        uint32_t packed = snapshot_le32(entry + 8);
        if (packed > MAX_PACKED_FRAME || !inside(r, snapshot_le64(entry), packed)) {
            ok = damaged(r, "packed pages lie outside of it", err);
        }
    }
    for (uint64_t i = 0; i < pages && ok; i++) {
        r->index[i] = snapshot_le32(index + 4 * i);
        if (r->index[i] > (uint64_t)r->frame_count * SNAPSHOT_FRAME_PAGES) {
            ok = damaged(r, "a page is missing", err);
        }
    }
    free(index);
    return ok;
}

bool snapshot_reader_is_zero(const SnapshotReader *r, uint64_t page)
{
    return page < r->pages && r->index[page] == 0;
}

/* One walk over frames by several threads. */
typedef struct Walk {
    SnapshotReader *r;
    uint64_t first;
    uint32_t *start; /* where a frame's pages begin in `page`; one more than there are frames */
    uint32_t *page;  /* pages, less `first`, in order of frames */
    atomic_size_t next;
    atomic_bool stop;
    pthread_mutex_t lock;
    Err err; /* the first one */
    int (*place)(void *self, uint64_t page, const uint8_t *data);
    void *self;
} Walk;

static void walk_failed(Walk *w, const Err *err)
{
    pthread_mutex_lock(&w->lock);
    if (!w->err.text[0]) {
        w->err = *err;
    }
    pthread_mutex_unlock(&w->lock);
    atomic_store(&w->stop, true);
}

static bool place_frame(Walk *w, size_t frame, ZSTD_DCtx *zstd, uint8_t *packed, uint8_t *data,
                        Err *err)
{
    SnapshotReader *r = w->r;
    const uint8_t *entry = r->frames + frame * FRAME_ENTRY;
    uint32_t length = snapshot_le32(entry + 8);
    if (!read_at(r, snapshot_le64(entry), packed, length, err)) {
        return false;
    }
    size_t size = ZSTD_decompressDCtx(zstd, data, FRAME_BYTES, packed, length);
    if (ZSTD_isError(size)) {
        return damaged(r, ZSTD_getErrorName(size), err);
    }
    for (uint32_t i = w->start[frame]; i < w->start[frame + 1]; i++) {
        uint64_t page = w->first + w->page[i];
        size_t at = (r->index[page] - 1) % SNAPSHOT_FRAME_PAGES * (size_t)SNAPSHOT_PAGE;
        if (at + SNAPSHOT_PAGE > size) {
            return damaged(r, "a page is missing", err);
        }
        int error = w->place(w->self, page, data + at);
        if (error) {
            return err_set(err, "snapshot '%s': %s", r->what, strerror(error));
        }
    }
    return true;
}

static void *walker(void *self)
{
    Walk *w = self;
    Err err = {""};
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    uint8_t *packed = malloc(MAX_PACKED_FRAME), *data = malloc(FRAME_BYTES);
    if (!zstd || !packed || !data) {
        err_set(&err, "snapshot '%s': out of memory", w->r->what);
        walk_failed(w, &err);
    }
    while (!atomic_load(&w->stop)) {
        size_t frame = atomic_fetch_add(&w->next, 1);
        if (frame >= w->r->frame_count) {
            break;
        }
        if (w->start[frame] < w->start[frame + 1] &&
            !place_frame(w, frame, zstd, packed, data, &err)) {
            walk_failed(w, &err);
        }
    }
    ZSTD_freeDCtx(zstd);
    free(packed);
    free(data);
    return NULL;
}

/* Sorts the pages by the frame they lie in. */
static bool sort_pages(Walk *w, uint64_t count)
{
    const SnapshotReader *r = w->r;
    w->start = calloc(r->frame_count + 2, sizeof(*w->start));
    w->page = malloc(count ? (size_t)count * sizeof(*w->page) : 1);
    if (!w->start || !w->page) {
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint32_t stored = r->index[w->first + i];
        if (stored) {
            w->start[(stored - 1) / SNAPSHOT_FRAME_PAGES + 2]++;
        }
    }
    for (size_t i = 2; i < r->frame_count + 2; i++) {
        w->start[i] += w->start[i - 1];
    }
    for (uint64_t i = 0; i < count; i++) {
        uint32_t stored = r->index[w->first + i];
        if (stored) {
            w->page[w->start[(stored - 1) / SNAPSHOT_FRAME_PAGES + 1]++] = (uint32_t)i;
        }
    }
    return true;
}

bool snapshot_reader_each(SnapshotReader *r, uint64_t first, uint64_t count, unsigned threads,
                          int (*place)(void *self, uint64_t page, const uint8_t *data), void *self,
                          Err *err)
{
    if (first > r->pages || count > r->pages - first) {
        return err_set(err, "snapshot '%s' has fewer pages", r->what);
    }
    Walk w = {.r = r, .first = first, .place = place, .self = self};
    pthread_t thread[MAX_THREADS];
    unsigned started = 0;
    pthread_mutex_init(&w.lock, NULL);
    if (sort_pages(&w, count)) {
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        while (started + 1 < threads && started < MAX_THREADS &&
               pthread_create(&thread[started], NULL, walker, &w) == 0) {
            started++;
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        walker(&w);
        for (unsigned i = 0; i < started; i++) {
            pthread_join(thread[i], NULL);
        }
    } else {
        err_set(&w.err, "snapshot '%s': out of memory", r->what);
    }
    pthread_mutex_destroy(&w.lock);
    free(w.start);
    free(w.page);
    if (w.err.text[0]) {
        *err = w.err;
    }
    return w.err.text[0] == '\0';
}
