/* Writing a snapshot file: pages are packed 64 at a time by several threads, tables and header
 * last.
 *
 * The caller's thread finds zeros and repetitions and fills frames; whichever worker is free packs
 * a frame and writes it. A frame's number is that of its filling, its place that of its end.
 */
#include "storage/snapshot.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <zlib.h>
#include <zstd.h>

#include "storage/snapshot_internal.h"

enum {
    LEVEL = -3, /* 740 MB/s on a core here, half the size; level 1: 515 MB/s, 14 % less */
    MAX_WORKERS = 4,
    BUFFERS = MAX_WORKERS + 2,
    PAGE_WORDS = SNAPSHOT_PAGE / 8,
};

/* A frame on its way to the file. */
typedef struct Buffer {
    uint8_t *data;
    size_t frame, pages;
    enum { BUFFER_FREE, BUFFER_FULL, BUFFER_BUSY } state; /* under lock */
} Buffer;

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
    uint32_t *index;    /* stored number + 1 of each page; 0: zeros; SNAPSHOT_LENT */
    uint32_t stored;
    uint8_t *frame;  /* being filled: a buffer's */
    ZSTD_CCtx *zstd; /* the caller's own */
    uint8_t *packed;
    Buffer buffer[BUFFERS];
    unsigned filling;
    /* under lock while workers run: at, too */
    uint8_t *frames; /* the table */
    size_t frame_count, frame_room;
    int error;
    bool stop;
    bool lends; /* there is a base */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t worker[MAX_WORKERS];
    unsigned workers;
    Known *known;
    size_t known_slots, known_count;
    struct {
        unsigned __int128 fold[2];
        uint64_t page[PAGE_WORDS + 2];
    } key; /* of the fingerprints */
    Section section[SNAPSHOT_MAX_SECTIONS];
    unsigned sections;
};

static void *work(void *self);
static bool fill_random(void *data, size_t size);

static ZSTD_CCtx *packer(void)
{
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    if (zstd) {
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, LEVEL);
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    }
    return zstd;
}

/* With none the caller packs for itself. */
static void start_workers(SnapshotWriter *w, unsigned wanted)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (w->workers < wanted && w->workers < MAX_WORKERS &&
           pthread_create(&w->worker[w->workers], NULL, work, w) == 0) {
        w->workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

SnapshotWriter *snapshot_writer_new(const SnapshotIo *io, uint64_t pages, unsigned threads)
{
    SnapshotWriter *w = pages <= SNAPSHOT_MAX_PAGES ? calloc(1, sizeof(*w)) : NULL;
    if (!w) {
        return NULL;
    }
    w->io = *io;
    w->pages = pages;
    w->at = SNAPSHOT_HEADER;
    w->known_slots = 4096;
    w->index = calloc(pages ? pages : 1, sizeof(*w->index));
    w->known = calloc(w->known_slots, sizeof(*w->known));
    w->zstd = packer();
    w->packed = malloc(ZSTD_compressBound(FRAME_BYTES));
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    bool buffers = true;
    for (unsigned i = 0; i < BUFFERS; i++) {
        w->buffer[i].data = malloc(FRAME_BYTES);
        buffers &= w->buffer[i].data != NULL;
    }
    w->frame = w->buffer[0].data;
    bool random = fill_random(&w->key, sizeof(w->key));
    if (!random || !w->index || !buffers || !w->known || !w->zstd || !w->packed) {
        snapshot_writer_free(w);
        return NULL;
    }
    start_workers(w, threads > 1 ? threads - 1 : 0);
    return w;
}

void snapshot_writer_free(SnapshotWriter *w)
{
    if (!w) {
        return;
    }
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->workers; i++) {
        pthread_join(w->worker[i], NULL);
    }
    for (unsigned i = 0; i < BUFFERS; i++) {
        free(w->buffer[i].data);
    }
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    ZSTD_freeCCtx(w->zstd);
    free(w->packed);
    free(w->index);
    free(w->frames);
    free(w->known);
    free(w);
}

/* Two NH sums (Black, Halevi, Krawczyk, Krovetz, Rogaway: UMAC, 1999) under one key that the second
 * takes two words further on (Toeplitz), each folded to 64 bits by a multiplication (Dietzfelbinger
 * and others, 1997). The key is of this run and never shown: whatever two pages a guest makes, the
 * chance that they look alike and are not is below 2^-124. */
static void fingerprint(const SnapshotWriter *w, const uint8_t *data, uint64_t print[2])
{
    unsigned __int128 sum[2] = {0, 0};
    const uint64_t *key = w->key.page;
    for (unsigned i = 0; i < PAGE_WORDS; i += 2) {
        uint64_t word[2];
        memcpy(word, data + 8 * i, 16);
        sum[0] += (unsigned __int128)(word[0] + key[i]) * (word[1] + key[i + 1]);
        sum[1] += (unsigned __int128)(word[0] + key[i + 2]) * (word[1] + key[i + 3]);
    }
    print[0] = (uint64_t)(sum[0] * (w->key.fold[0] | 1) >> 64);
    print[1] = (uint64_t)(sum[1] * (w->key.fold[1] | 1) >> 64);
}

static bool fill_random(void *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t got = getrandom((uint8_t *)data + at, size - at, GRND_NONBLOCK);
        if (got < 0 && errno != EINTR) {
            return false;
        }
        at += got > 0 ? (size_t)got : 0;
    }
    return true;
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

static int put(SnapshotWriter *w, const void *data, size_t size, uint64_t *where)
{
    pthread_mutex_lock(&w->lock);
    uint64_t at = w->at;
    w->at += size;
    pthread_mutex_unlock(&w->lock);
    *where = at;
    return w->io.write(w->io.self, at, data, size);
}

/* Packs a frame and writes it where there is room. */
static int write_frame(SnapshotWriter *w, const Buffer *b, ZSTD_CCtx *zstd, uint8_t *packed,
                       size_t room)
{
    size_t size = ZSTD_compress2(zstd, packed, room, b->data, b->pages * SNAPSHOT_PAGE);
    if (ZSTD_isError(size)) {
        return ENOMEM;
    }
    pthread_mutex_lock(&w->lock);
    uint64_t at = w->at;
    uint8_t *entry = w->frames + b->frame * FRAME_ENTRY;
    snapshot_put64(entry, at);
    snapshot_put32(entry + 8, (uint32_t)size);
    w->at += size;
    pthread_mutex_unlock(&w->lock);
    return w->io.write(w->io.self, at, packed, size);
}

static void note(SnapshotWriter *w, Buffer *b, int error)
{
    pthread_mutex_lock(&w->lock);
    b->state = BUFFER_FREE;
    w->error = w->error ? w->error : error;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static Buffer *full_one(SnapshotWriter *w)
{
    Buffer *first = NULL;
    for (unsigned i = 0; i < BUFFERS; i++) {
        Buffer *b = &w->buffer[i];
        if (b->state == BUFFER_FULL && (!first || b->frame < first->frame)) {
            first = b;
        }
    }
    return first;
}

/* Packs full frames; waits for more until the writer is freed. */
static void *work(void *self)
{
    SnapshotWriter *w = self;
    size_t room = ZSTD_compressBound(FRAME_BYTES);
    uint8_t *packed = malloc(room);
    ZSTD_CCtx *zstd = packer();
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        Buffer *b = full_one(w);
        if (!b) {
            pthread_cond_wait(&w->changed, &w->lock);
            continue;
        }
        b->state = BUFFER_BUSY;
        bool broken = w->error != 0;
        pthread_mutex_unlock(&w->lock);
        int error = broken ? 0 : packed && zstd ? write_frame(w, b, zstd, packed, room) : ENOMEM;
        note(w, b, error);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    ZSTD_freeCCtx(zstd);
    free(packed);
    return NULL;
}

/* The caller's own turn: without workers, or while they are all busy. */
static void pack_here(SnapshotWriter *w, Buffer *b)
{
    note(w, b, write_frame(w, b, w->zstd, w->packed, ZSTD_compressBound(FRAME_BYTES)));
}

/* Hands the first `pages` pages of the frame to a worker and goes on with a free buffer. */
static int end_frame(SnapshotWriter *w, size_t pages)
{
    Buffer *b = &w->buffer[w->filling];
    pthread_mutex_lock(&w->lock);
    if (w->frame_count == w->frame_room) {
        size_t room = w->frame_room ? w->frame_room * 2 : 256;
        uint8_t *more = realloc(w->frames, room * FRAME_ENTRY);
        if (!more) {
            pthread_mutex_unlock(&w->lock);
            return ENOMEM;
        }
        w->frames = more;
        w->frame_room = room;
    }
    *b = (Buffer){b->data, w->frame_count++, pages, BUFFER_FULL};
    pthread_cond_broadcast(&w->changed);
    Buffer *next = NULL;
    while (!next) {
        for (unsigned i = 0; i < BUFFERS && !next; i++) {
            next = w->buffer[i].state == BUFFER_FREE ? &w->buffer[i] : NULL;
        }
        Buffer *mine = next ? NULL : full_one(w);
        if (mine || (!w->workers && next)) {
            mine = mine ? mine : b;
            mine->state = BUFFER_BUSY;
            pthread_mutex_unlock(&w->lock);
            pack_here(w, mine);
            pthread_mutex_lock(&w->lock);
        } else if (!next) {
            pthread_cond_wait(&w->changed, &w->lock);
        }
    }
    w->filling = (unsigned)(next - w->buffer);
    w->frame = next->data;
    int error = w->error;
    pthread_mutex_unlock(&w->lock);
    return error;
}

/* Until all frames are in the file. */
static int wait_frames(SnapshotWriter *w)
{
    pthread_mutex_lock(&w->lock);
    for (;;) {
        bool busy = false;
        for (unsigned i = 0; i < BUFFERS; i++) {
            busy |= w->buffer[i].state != BUFFER_FREE;
        }
        if (!busy) {
            break;
        }
        pthread_cond_wait(&w->changed, &w->lock);
    }
    int error = w->error;
    pthread_mutex_unlock(&w->lock);
    return error;
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

int snapshot_writer_lend(SnapshotWriter *w, uint64_t page)
{
    if (page >= w->pages) {
        return EINVAL;
    }
    w->index[page] = SNAPSHOT_LENT;
    w->lends = true;
    return 0;
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
        Section *s = &w->section[w->sections++];
        *s = (Section){.kind = kind,
                       .packed = length,
                       .size = size,
                       .crc = (uint32_t)crc32_z(0, packed, length)};
        error = put(w, packed, length, &s->offset);
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
    error = error ? error : wait_frames(w);
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
    uint64_t toc_at;
    error = put(w, toc, length, &toc_at);
    memcpy(header, snapshot_magic, sizeof(snapshot_magic));
    snapshot_put32(header + 8, w->lends ? SNAPSHOT_VERSION : SNAPSHOT_ALONE);
    snapshot_put64(header + 16, w->at);
    snapshot_put64(header + 24, toc_at);
    snapshot_put32(header + 32, w->sections);
    snapshot_put32(header + 36, (uint32_t)crc32_z(0, toc, length));
    snapshot_put64(header + 40, w->pages);
    snapshot_put32(header + 12, (uint32_t)crc32_z(0, header + 16, SNAPSHOT_HEADER - 16));
    *size = w->at;
    return error ? error : w->io.write(w->io.self, 0, header, sizeof(header));
}
