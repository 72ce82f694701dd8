/* Memory that a loaded snapshot brings while the guest runs on: what it touches at once, the rest
 * by threads in the background.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/snapshot_internal.h"

enum { HOLE_PAGES = 8 /* shorter runs of zeros are written */ };

struct SnapshotLazy {
    SnapshotSource source;
    SnapshotMemory memory;
    uint64_t pages;
    SnapshotFill *fill;
    void (*settled)(void *self);
    void *self;
};

static int place_memory(void *self, uint64_t page, const uint8_t *data)
{
    const SnapshotMemory *m = self;
    memcpy(ram_at(m->ram, m->at) + (page - m->first) * SNAPSHOT_PAGE, data, SNAPSHOT_PAGE);
    return 0;
}

/* Runs of zeros become holes, so that the host need not keep them. */
static int clear_memory(void *self, uint64_t page, uint64_t count)
{
    const SnapshotMemory *m = self;
    uint32_t at = m->at + (uint32_t)(page - m->first) * SNAPSHOT_PAGE;
    uint32_t size = (uint32_t)count * SNAPSHOT_PAGE;
    off_t data = lseek(m->ram->fd, at, SEEK_DATA);
    if (data >= (off_t)at + size) {
        return 0; /* never touched */
    }
    if (count < HOLE_PAGES ||
        fallocate(m->ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size) < 0) {
        memset(ram_at(m->ram, at), 0, size);
    }
    return 0;
}

SnapshotSink snapshot_memory_sink(SnapshotMemory *memory)
{
    return (SnapshotSink){place_memory, clear_memory, memory};
}

static void ended(void *self)
{
    SnapshotLazy *l = self;
    l->settled(l->self);
}

/* Machine's thread. */
static void bring(void *self, uint32_t first_page, uint32_t pages)
{
    SnapshotLazy *l = self;
    uint32_t start = l->memory.at >> RAM_PAGE_SHIFT, end = start + (uint32_t)l->pages;
    uint32_t last = first_page + pages < end ? first_page + pages : end;
    if (snapshot_fill_done(l->fill)) {
        l->memory.ram->source = (RamSource){0};
        return;
    }
    if (first_page <= start && last == end) {
        snapshot_fill_finish(l->fill);
    }
    for (uint32_t page = first_page > start ? first_page : start; page < last; page++) {
        if (!snapshot_fill_need(l->fill, l->memory.first + (page - start))) {
            l->settled(l->self);
            return;
        }
    }
}

SnapshotLazy *snapshot_lazy_new(const SnapshotHost *host, const SnapshotSource *source,
                                const SnapshotMeta *now, unsigned block, Err *err)
{
    SnapshotLazy *l = calloc(1, sizeof(*l));
    if (!l) {
        err_set(err, "out of memory");
        return NULL;
    }
    l->memory = (SnapshotMemory){&host->board->ram, now->block[block].first, now->block[block].at};
    l->pages = now->block[block].size / SNAPSHOT_PAGE;
    l->settled = host->settled;
    l->self = host->self;
    SnapshotSink sink = snapshot_memory_sink(&l->memory);
    l->fill = snapshot_fill_new(source->reader, l->memory.first, l->pages, &sink, err);
    if (!l->fill) {
        free(l);
        return NULL;
    }
    return l;
}

void snapshot_lazy_start(SnapshotLazy *l, SnapshotSource *source, unsigned threads)
{
    l->source = *source;
    *source = (SnapshotSource){0};
    l->memory.ram->source = (RamSource){bring, l};
    if (!snapshot_fill_start(l->fill, threads, ended, l)) {
        bring(l, 0, UINT32_MAX / 2); /* no thread can be had: all of it now */
    }
}

bool snapshot_lazy_done(const SnapshotLazy *l)
{
    return snapshot_fill_done(l->fill);
}

bool snapshot_lazy_failed(SnapshotLazy *l, Err *err)
{
    return snapshot_fill_failed(l->fill, err);
}

bool snapshot_lazy_end(SnapshotLazy *l, bool wait, Err *err)
{
    if (!l) {
        return true;
    }
    if (wait && !snapshot_fill_done(l->fill)) {
        snapshot_fill_finish(l->fill);
    }
    bool failed = snapshot_fill_failed(l->fill, err);
    if (l->memory.ram->source.self == l) {
        l->memory.ram->source = (RamSource){0};
    }
    snapshot_fill_free(l->fill);
    snapshot_source_close(&l->source);
    free(l);
    return !failed;
}
