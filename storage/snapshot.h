/* The snapshot file: named sections, and numbered pages of 4096 bytes of which zeros and
 * repetitions take no room. docs/STATE.md describes the format.
 *
 * The same bytes lie in a file of their own or in a qcow2 image's machine state area; a SnapshotIo
 * says which. What the pages mean is up to the caller (machine/snapshot.c: memory, then disks).
 * Calls return 0 or an errno value, or report through Err. A reader trusts nothing: sizes are
 * bounded by what its caller expects, all bytes are checked before they are used.
 */
#ifndef STORAGE_SNAPSHOT_H
#define STORAGE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/core/err.h"

enum {
    SNAPSHOT_PAGE = 4096,
    SNAPSHOT_FRAME_PAGES = 64, /* packed together */
    SNAPSHOT_HEADER = 64,      /* bytes; written last */
    SNAPSHOT_MAX_SECTIONS = 16,
};
#define SNAPSHOT_MAX_PAGES (UINT64_C(1) << 25) /* 128 GiB */

typedef enum SnapshotSection {
    SNAPSHOT_META = 1,    /* a state stream: name, time, what must match */
    SNAPSHOT_THUMB = 2,   /* PNG */
    SNAPSHOT_DEVICES = 3, /* a state stream */
    SNAPSHOT_FRAMES = 4,  /* where packed pages lie */
    SNAPSHOT_PAGES = 5,   /* which stored page each page is */
} SnapshotSection;

/* Where the bytes lie. A reader needs no write. */
typedef struct SnapshotIo {
    int (*read)(void *self, uint64_t offset, void *data, size_t length);
    int (*write)(void *self, uint64_t offset, const void *data, size_t length);
    void *self;
} SnapshotIo;

typedef struct SnapshotWriter SnapshotWriter;

/* For pages 0 to pages - 1, all zeros until written. Packs on up to `threads` threads, the caller's
 * included; io->write is called from each of them. NULL: no memory, or too many pages. */
SnapshotWriter *snapshot_writer_new(const SnapshotIo *io, uint64_t pages, unsigned threads);
void snapshot_writer_free(SnapshotWriter *w);
/* The page's content; a later call for the same page replaces it, this one or the next. */
int snapshot_writer_page(SnapshotWriter *w, uint64_t page, const uint8_t *data);
/* The page is the base's of that number: the snapshot holds no content for it and needs its base.
 */
int snapshot_writer_lend(SnapshotWriter *w, uint64_t page);
int snapshot_writer_section(SnapshotWriter *w, SnapshotSection kind, const void *data, size_t size);
/* Completes the file; *size is its length. */
int snapshot_writer_finish(SnapshotWriter *w, uint64_t *size);

typedef struct SnapshotReader SnapshotReader;

/* size: the bytes there are. `what` names the snapshot in messages and is copied. */
SnapshotReader *snapshot_reader_open(const SnapshotIo *io, uint64_t size, const char *what,
                                     Err *err);
void snapshot_reader_close(SnapshotReader *r);
uint64_t snapshot_reader_count(const SnapshotReader *r); /* of pages, as its header says */
/* A section of at most `limit` bytes; the caller frees it. NULL with err set when it is missing,
 * larger or damaged. */
uint8_t *snapshot_reader_section(SnapshotReader *r, SnapshotSection kind, size_t limit,
                                 size_t *size, Err *err);
/* Reads the tables. False unless there are exactly this many pages. */
bool snapshot_reader_map(SnapshotReader *r, uint64_t pages, Err *err);
/* The same, with the snapshot that lends it pages: one that has been mapped, and outlives it. */
bool snapshot_reader_map_on(SnapshotReader *r, uint64_t pages, const SnapshotReader *base,
                            Err *err);
/* Does the page come from the base? */
bool snapshot_reader_is_lent(const SnapshotReader *r, uint64_t page);
/* After snapshot_reader_map. */
bool snapshot_reader_is_zero(const SnapshotReader *r, uint64_t page);

/* Where pages go. Calls come from several threads at once, each page once. They return 0 or an
 * errno value, which ends the filling. */
typedef struct SnapshotSink {
    int (*place)(void *self, uint64_t page, const uint8_t *data);
    int (*clear)(void *self, uint64_t page, uint64_t count); /* of zeros; NULL: they are left out */
    void *self;
} SnapshotSink;

/* Brings a stretch of pages, those that somebody needs first. */
typedef struct SnapshotFill SnapshotFill;

/* After snapshot_reader_map; the reader must outlive it. NULL and err set: no memory, or there are
 * not so many pages. */
SnapshotFill *snapshot_fill_new(SnapshotReader *r, uint64_t first, uint64_t count,
                                const SnapshotSink *sink, Err *err);
/* Brings this page, and those packed with it, unless it is there. One thread at a time. */
bool snapshot_fill_need(SnapshotFill *f, uint64_t page);
/* Goes on with all others on up to `threads` threads beside the caller. ended(self) comes from one
 * of them when no more will come, whether all are there or not; not when it is stopped. */
bool snapshot_fill_start(SnapshotFill *f, unsigned threads, void (*ended)(void *self), void *self);
/* Takes part until no more will come. */
void snapshot_fill_finish(SnapshotFill *f);
/* From any thread. True: all pages have been placed. */
bool snapshot_fill_done(const SnapshotFill *f);
/* The first thing that went wrong. False: nothing so far. */
bool snapshot_fill_failed(SnapshotFill *f, Err *err);
/* Stops what goes on. NULL is allowed. */
void snapshot_fill_free(SnapshotFill *f);

/* All of it, with up to `threads` threads. */
bool snapshot_reader_each(SnapshotReader *r, uint64_t first, uint64_t count, unsigned threads,
                          const SnapshotSink *sink, Err *err);

#endif
