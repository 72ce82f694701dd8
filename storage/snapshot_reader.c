/* Reading a snapshot file: nothing in it is believed before it is checked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "storage/snapshot_internal.h"

enum { MAX_PACKED_FRAME = FRAME_BYTES + 65536 };

typedef struct Section {
    uint32_t kind, crc;
    uint64_t offset, packed, size;
} Section;

typedef struct Frame {
    const SnapshotReader *owner; /* whose file it lies in: this one's, or one below */
    uint64_t offset;
    uint32_t packed; /* bytes */
} Frame;

struct SnapshotReader {
    SnapshotIo io;
    uint64_t size, pages;
    char *what;
    Section section[SNAPSHOT_MAX_SECTIONS];
    unsigned sections;
    uint32_t *index; /* stored number + 1 of each page; 0: zeros */
    uint8_t *lent;   /* a bit a page: it comes from the base */
    Frame *frame;    /* its own, then all that the base has */
    size_t frames, own_frames;
    uint32_t version;
};

static bool damaged(const SnapshotReader *r, const char *why, Err *err)
{
    return err_set(err, "snapshot '%s' is damaged or cut off: %s", r->what, why);
}

static bool read_at(const SnapshotReader *r, uint64_t offset, void *data, size_t length, Err *err)
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

static bool foreign(const SnapshotReader *r, Err *err)
{
    return err_set(err,
                   "'%s' is no snapshot that this program made; the disk of one in a disk image "
                   "comes back with: vitrine image snapshot -a",
                   r->what);
}

static bool read_header(SnapshotReader *r, Err *err)
{
    uint8_t header[SNAPSHOT_HEADER];
    if (r->size < sizeof(header)) {
        return foreign(r, err);
    }
    if (!read_at(r, 0, header, sizeof(header), err)) {
        return false;
    }
    if (memcmp(header, snapshot_magic, sizeof(snapshot_magic)) != 0) {
        return foreign(r, err);
    }
    uint32_t version = r->version = snapshot_le32(header + 8);
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
        free(r->frame);
        free(r->lent);
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

static bool take_frames(SnapshotReader *r, const uint8_t *table, const SnapshotReader *base,
                        Err *err)
{
    size_t lent = base ? base->frames : 0;
    if ((uint64_t)(r->own_frames + lent) * SNAPSHOT_FRAME_PAGES >= SNAPSHOT_LENT) {
        return damaged(r, "it builds on too much", err);
    }
    r->frame = malloc((r->own_frames + lent + 1) * sizeof(*r->frame));
    if (!r->frame) {
        return err_set(err, "snapshot '%s': out of memory", r->what);
    }
    for (size_t i = 0; i < r->own_frames; i++) {
        const uint8_t *entry = table + i * FRAME_ENTRY;
        Frame *f = &r->frame[i];
        *f = (Frame){r, snapshot_le64(entry), snapshot_le32(entry + 8)};
        if (f->packed > MAX_PACKED_FRAME || !inside(r, f->offset, f->packed)) {
            return damaged(r, "packed pages lie outside of it", err);
        }
    }
    if (lent) {
        memcpy(r->frame + r->own_frames, base->frame, lent * sizeof(*r->frame));
    }
    r->frames = r->own_frames + lent;
    return true;
}

static bool take_pages(SnapshotReader *r, const uint8_t *table, const SnapshotReader *base,
                       Err *err)
{
    r->index = malloc(r->pages ? (size_t)r->pages * sizeof(*r->index) : 1);
    r->lent = calloc(1, (size_t)r->pages / 8 + 1);
    if (!r->index || !r->lent) {
        return err_set(err, "snapshot '%s': out of memory", r->what);
    }
    for (uint64_t i = 0; i < r->pages; i++) {
        uint32_t stored = snapshot_le32(table + 4 * i);
        if (stored == SNAPSHOT_LENT && r->version > SNAPSHOT_ALONE) {
            if (!base) {
                return damaged(r, "what it builds on is missing", err);
            }
            r->lent[i / 8] |= (uint8_t)(1 << i % 8);
            stored = base->index[i];
            stored += stored ? (uint32_t)r->own_frames * SNAPSHOT_FRAME_PAGES : 0;
        } else if (stored > (uint64_t)r->own_frames * SNAPSHOT_FRAME_PAGES) {
            return damaged(r, "a page is missing", err);
        }
        r->index[i] = stored;
    }
    return true;
}

bool snapshot_reader_map_on(SnapshotReader *r, uint64_t pages, const SnapshotReader *base, Err *err)
{
    size_t index_size, frames_size;
    if (r->pages != pages || pages > SNAPSHOT_MAX_PAGES || (base && base->pages != pages)) {
        return err_set(err, "snapshot '%s' holds %llu pages, this machine %llu", r->what,
                       (unsigned long long)r->pages, (unsigned long long)pages);
    }
    /* each page may have been written anew many times while it was being saved */
    size_t frames_limit = (size_t)pages * FRAME_ENTRY + FRAME_ENTRY;
    uint8_t *index =
        snapshot_reader_section(r, SNAPSHOT_PAGES, (size_t)pages * 4, &index_size, err);
    uint8_t *frames =
        index ? snapshot_reader_section(r, SNAPSHOT_FRAMES, frames_limit, &frames_size, err) : NULL;
    bool ok = frames != NULL;
    if (ok && (index_size != pages * 4 || frames_size % FRAME_ENTRY)) {
        ok = damaged(r, "its page table has a wrong size", err);
    }
    r->own_frames = ok ? frames_size / FRAME_ENTRY : 0;
    ok = ok && take_frames(r, frames, base, err) && take_pages(r, index, base, err);
    free(frames);
    free(index);
    return ok;
}

bool snapshot_reader_map(SnapshotReader *r, uint64_t pages, Err *err)
{
    return snapshot_reader_map_on(r, pages, NULL, err);
}

bool snapshot_reader_is_lent(const SnapshotReader *r, uint64_t page)
{
    return page < r->pages && r->lent[page / 8] >> page % 8 & 1;
}

bool snapshot_reader_is_zero(const SnapshotReader *r, uint64_t page)
{
    return page < r->pages && r->index[page] == 0;
}

uint32_t snapshot_reader_stored(const SnapshotReader *r, uint64_t page)
{
    return r->index[page];
}

size_t snapshot_reader_frames(const SnapshotReader *r)
{
    return r->frames;
}

bool snapshot_reader_unpack(SnapshotReader *r, size_t frame, SnapshotUnpacker *u, Err *err)
{
    const Frame *f = &r->frame[frame];
    if (!read_at(f->owner, f->offset, u->packed, f->packed, err)) {
        return false;
    }
    u->size = ZSTD_decompressDCtx(u->zstd, u->data, FRAME_BYTES, u->packed, f->packed);
    return !ZSTD_isError(u->size) || damaged(f->owner, ZSTD_getErrorName(u->size), err);
}

bool snapshot_reader_missing(const SnapshotReader *r, Err *err)
{
    return damaged(r, "a page is missing", err);
}

const char *snapshot_reader_name(const SnapshotReader *r)
{
    return r->what;
}

uint64_t snapshot_reader_count(const SnapshotReader *r)
{
    return r->pages;
}

bool snapshot_unpacker_open(SnapshotUnpacker *u)
{
    *u = (SnapshotUnpacker){
        .zstd = ZSTD_createDCtx(), .packed = malloc(MAX_PACKED_FRAME), .data = malloc(FRAME_BYTES)};
    return u->zstd && u->packed && u->data;
}

void snapshot_unpacker_close(SnapshotUnpacker *u)
{
    ZSTD_freeDCtx(u->zstd);
    free(u->packed);
    free(u->data);
}
