/* Writing a snapshot file: pages are packed 64 at a time as they come, tables and header last. */
#include "storage/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <zlib.h>
#include <zstd.h>

#include "storage/snapshot_internal.h"

enum { LEVEL = 1 };

/* A stored page that may be met again: its 128-bit fingerprint and number. */
typedef struct Known {
    uint64_t print[2];
    uint32_t stored; /* number + 1; 0: empty */
} Known;

typedef struct Section {
    SnapshotSection kind;
    uint64_t offset, packed, size;
    uint32_t crc;
} Section;

struct SnapshotWriter {
    SnapshotIo io;
    uint64_t pages, at; /* at: where the next bytes go */
    uint32_t *index;    /* stored number + 1 of each page; 0: zeros */
    uint32_t stored;
    uint8_t *frame; /* being filled */
    uint8_t *packed;
    size_t packed_room;
    ZSTD_CCtx *zstd;
    uint8_t *frames; /* the table */
    size_t frame_count, frame_room;
    Known *known;
    size_t known_slots, known_count;
    uint64_t key[2];
    Section section[SNAPSHOT_MAX_SECTIONS];
    unsigned sections;
};

SnapshotWriter *snapshot_writer_new(const SnapshotIo *io, uint64_t pages)
{
    SnapshotWriter *w = pages <= SNAPSHOT_MAX_PAGES ? calloc(1, sizeof(*w)) : NULL;
    if (!w) {
        return NULL;
    }
    w->io = *io;
    w->pages = pages;
    w->at = SNAPSHOT_HEADER;
    w->packed_room = ZSTD_compressBound(FRAME_BYTES);
    w->known_slots = 4096;
    w->index = calloc(pages ? pages : 1, sizeof(*w->index));
    w->frame = malloc(FRAME_BYTES);
    w->packed = malloc(w->packed_room);
    w->known = calloc(w->known_slots, sizeof(*w->known));
    w->zstd = ZSTD_createCCtx();
    bool random = getrandom(w->key, sizeof(w->key), GRND_NONBLOCK) == (ssize_t)sizeof(w->key);
    if (!random || !w->index || !w->frame || !w->packed || !w->known || !w->zstd) {
        snapshot_writer_free(w);
        return NULL;
    }
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    return w;
}

void snapshot_writer_free(SnapshotWriter *w)
{
    if (w) {
        ZSTD_freeCCtx(w->zstd);
        free(w->index);
        free(w->frame);
        free(w->packed);
        free(w->frames);
        free(w->known);
        free(w);
    }
}

static uint64_t rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/* SipHash-2-4 with 128 bits (Aumasson and Bernstein), under a key of this run: a guest cannot make
 * two pages that look alike here and are not. */
static void fingerprint(const SnapshotWriter *w, const uint8_t *data, uint64_t print[2])
{
    uint64_t v[4] = {
        w->key[0] ^ UINT64_C(0x736f6d6570736575), w->key[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
        w->key[0] ^ UINT64_C(0x6c7967656e657261), w->key[1] ^ UINT64_C(0x7465646279746573)};
    for (unsigned i = 0; i < SNAPSHOT_PAGE; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xee;
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned i = 0; i < 4; i++) {
            sip_round(v);
        }
        print[half] = v[0] ^ v[1] ^ v[2] ^ v[3];
        v[1] ^= 0xdd;
    }
}

static Known *find_slot(Known *known, size_t slots, const uint64_t print[2])
{
    size_t at = print[0] & (slots - 1);
    while (known[at].stored && (known[at].print[0] != print[0] || known[at].print[1] != print[1])) {
        at = (at + 1) & (slots - 1);
    }
    return &known[at];
}

static int grow_known(SnapshotWriter *w)
{
    size_t slots = w->known_slots * 2;
    Known *more = calloc(slots, sizeof(*more));
    if (!more) {
        return ENOMEM;
    }
    for (size_t i = 0; i < w->known_slots; i++) {
        if (w->known[i].stored) {
            *find_slot(more, slots, w->known[i].print) = w->known[i];
        }
    }
    free(w->known);
    w->known = more;
    w->known_slots = slots;
    return 0;
}

static int put(SnapshotWriter *w, const void *data, size_t size)
{
    int error = w->io.write(w->io.self, w->at, data, size);
    w->at += error ? 0 : size;
    return error;
}

/* Packs and writes the first `pages` pages of the frame. */
static int end_frame(SnapshotWriter *w, size_t pages)
{
    if (w->frame_count == w->frame_room) {
        size_t room = w->frame_room ? w->frame_room * 2 : 256;
        uint8_t *more = realloc(w->frames, room * FRAME_ENTRY);
        if (!more) {
            return ENOMEM;
        }
        w->frames = more;
        w->frame_room = room;
    }
    size_t packed =
        ZSTD_compress2(w->zstd, w->packed, w->packed_room, w->frame, pages * SNAPSHOT_PAGE);
    if (ZSTD_isError(packed)) {
        return ENOMEM;
    }
    uint8_t *entry = w->frames + w->frame_count * FRAME_ENTRY;
    snapshot_put64(entry, w->at);
    snapshot_put32(entry + 8, (uint32_t)packed);
    w->frame_count++;
    return put(w, w->packed, packed);
}

static bool is_zero(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, 8);
    return word == 0 && memcmp(data, data + 8, SNAPSHOT_PAGE - 8) == 0;
}

int snapshot_writer_page(SnapshotWriter *w, uint64_t page, const uint8_t *data)
{
    if (page >= w->pages) {
        return EINVAL;
    }
    if (is_zero(data)) {
        w->index[page] = 0;
        return 0;
    }
    /* A live page may change while it is being read: print and keep one and the same copy. */
    uint8_t *copy = w->frame + (w->stored % SNAPSHOT_FRAME_PAGES) * (size_t)SNAPSHOT_PAGE;
    uint64_t print[2];
    memcpy(copy, data, SNAPSHOT_PAGE);
    fingerprint(w, copy, print);
    Known *known = find_slot(w->known, w->known_slots, print);
    if (known->stored) {
        w->index[page] = known->stored;
        return 0;
    }
    if (w->stored >= INT32_MAX) {
        return EFBIG;
    }
    w->stored++;
    *known = (Known){{print[0], print[1]}, w->stored};
    w->index[page] = w->stored;
    int error = ++w->known_count * 2 > w->known_slots ? grow_known(w) : 0;
    if (!error && w->stored % SNAPSHOT_FRAME_PAGES == 0) {
        error = end_frame(w, SNAPSHOT_FRAME_PAGES);
    }
    return error;
}

int snapshot_writer_section(SnapshotWriter *w, SnapshotSection kind, const void *data, size_t size)
{
    size_t room = ZSTD_compressBound(size);
    uint8_t *packed = w->sections < SNAPSHOT_MAX_SECTIONS ? malloc(room) : NULL;
    if (!packed) {
        return ENOMEM;
    }
    size_t length = ZSTD_compress2(w->zstd, packed, room, data, size);
    int error = ZSTD_isError(length) ? ENOMEM : 0;
    if (!error) {
        w->section[w->sections++] = (Section){.kind = kind,
                                              .offset = w->at,
                                              .packed = length,
                                              .size = size,
                                              .crc = (uint32_t)crc32_z(0, packed, length)};
        error = put(w, packed, length);
    }
    free(packed);
    return error;
}

static int write_tables(SnapshotWriter *w)
{
    size_t bytes = (size_t)w->pages * 4;
    uint8_t *index = malloc(bytes ? bytes : 1);
    if (!index) {
        return ENOMEM;
    }
    for (uint64_t i = 0; i < w->pages; i++) {
        snapshot_put32(index + 4 * i, w->index[i]);
    }
    int error = snapshot_writer_section(w, SNAPSHOT_PAGES, index, bytes);
    free(index);
    return error ? error
                 : snapshot_writer_section(w, SNAPSHOT_FRAMES, w->frames ? w->frames : w->frame,
                                           w->frame_count * FRAME_ENTRY);
}

int snapshot_writer_finish(SnapshotWriter *w, uint64_t *size)
{
    size_t rest = w->stored % SNAPSHOT_FRAME_PAGES;
    int error = rest ? end_frame(w, rest) : 0;
    error = error ? error : write_tables(w);
    if (error) {
        return error;
    }
    uint8_t toc[SNAPSHOT_MAX_SECTIONS * TOC_ENTRY] = {0}, header[SNAPSHOT_HEADER] = {0};
    for (unsigned i = 0; i < w->sections; i++) {
        const Section *s = &w->section[i];
        uint8_t *p = toc + i * TOC_ENTRY;
        snapshot_put32(p, s->kind);
        snapshot_put64(p + 8, s->offset);
        snapshot_put64(p + 16, s->packed);
        snapshot_put64(p + 24, s->size);
        snapshot_put32(p + 32, s->crc);
    }
    uint32_t length = w->sections * TOC_ENTRY;
    uint64_t toc_at = w->at;
    error = put(w, toc, length);
    memcpy(header, snapshot_magic, sizeof(snapshot_magic));
    snapshot_put32(header + 8, SNAPSHOT_VERSION);
    snapshot_put64(header + 16, w->at);
    snapshot_put64(header + 24, toc_at);
    snapshot_put32(header + 32, w->sections);
    snapshot_put32(header + 36, (uint32_t)crc32_z(0, toc, length));
    snapshot_put64(header + 40, w->pages);
    snapshot_put32(header + 12, (uint32_t)crc32_z(0, header + 16, SNAPSHOT_HEADER - 16));
    *size = w->at;
    return error ? error : w->io.write(w->io.self, 0, header, sizeof(header));
}
