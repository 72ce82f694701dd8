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

uint32_t snapshot_reader_stored(const SnapshotReader *r, uint64_t page)
{
    return r->index[page];
}

size_t snapshot_reader_frames(const SnapshotReader *r)
{
    return r->frame_count;
}

bool snapshot_reader_unpack(SnapshotReader *r, size_t frame, SnapshotUnpacker *u, Err *err)
{
    const uint8_t *entry = r->frames + frame * FRAME_ENTRY;
    uint32_t length = snapshot_le32(entry + 8);
    if (!read_at(r, snapshot_le64(entry), u->packed, length, err)) {
        return false;
    }
    u->size = ZSTD_decompressDCtx(u->zstd, u->data, FRAME_BYTES, u->packed, length);
    return !ZSTD_isError(u->size) || damaged(r, ZSTD_getErrorName(u->size), err);
}

bool snapshot_reader_missing(const SnapshotReader *r, Err *err)
{
    return damaged(r, "a page is missing", err);
}

const char *snapshot_reader_name(const SnapshotReader *r)
{
    return r->what;
}

uint64_t snapshot_reader_pages(const SnapshotReader *r)
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
