/* Loading a snapshot into the machine it was saved from, or one built alike.
 *
 * All that can be checked is checked before anything changes. Then the devices: when they refuse,
 * the state they had is put back. Then video memory, so that the picture shows at once, and the
 * disks. The rest of memory comes while the guest runs on (snapshot_lazy.c) or, where that is not
 * wanted, before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/host/host_time.h"
#include "machine/snapshot_internal.h"

enum {
    SMALL_BLOCK = 1 << 20, /* ROMs: kept, so that a broken machine can be reset */
};

typedef struct Load {
    const SnapshotHost *host;
    SnapshotSource source;
    SnapshotMeta now;
    uint8_t *devices;
    size_t devices_size;
    uint8_t *kept[MAX_BLOCKS];
    SnapshotLazy *lazy;
    SnapshotOutcome outcome;
    SnapshotFigures figures;
    int64_t start;
    BlockTrack *since[MACHINE_MAX_DRIVES];
    bool keeps; /* a tag: the next snapshot may build on it */
    Err *err;
} Load;

/* ---- checks before anything changes ---- */

static bool match_memory(const Load *l)
{
    const SnapshotMeta *then = &l->source.meta, *now = &l->now;
    if (then->ram_mib != now->ram_mib) {
        return err_set(l->err, "snapshot '%s' is of a machine with %u MiB of memory: use -m %u",
                       then->name, then->ram_mib, then->ram_mib);
    }
    if (strcmp(then->cpu, now->cpu) != 0) {
        return err_set(l->err, "snapshot '%s' is of a machine with another processor: use -cpu %s",
                       then->name, then->cpu);
    }
    bool alike = then->blocks == now->blocks;
    for (unsigned i = 0; i < now->blocks && alike; i++) {
        alike = strcmp(then->block[i].name, now->block[i].name) == 0 &&
                then->block[i].size == now->block[i].size;
        if (!alike) {
            return err_set(
                l->err, "snapshot '%s' is of a machine with other cards: its '%s' is not as here",
                then->name, then->block[i].name);
        }
    }
    return alike ||
           err_set(l->err, "snapshot '%s' is of a machine with other cards or ROMs", then->name);
}

/* Disks that a snapshot would overwrite must be the very same; one that is only read must have the
 * same name and size. */
static bool match_disks(Load *l)
{
    const SnapshotMeta *then = &l->source.meta;
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        const SnapshotDisk *was = &then->disk[i], *is = &l->now.disk[i];
        if (was->kind == DISK_ABSENT && is->kind == DISK_ABSENT) {
            continue;
        }
        const char *bay = was->id[0] ? was->id : is->id;
        if (was->kind == DISK_ABSENT) {
            return err_set(l->err, "snapshot '%s' has nothing in '%s': take '%s' out first",
                           then->name, bay, is->file);
        }
        if (strcmp(was->file, is->file) != 0 || was->size != is->size) {
            return err_set(l->err, "snapshot '%s' needs '%s' of %llu bytes in '%s'", then->name,
                           was->file, (unsigned long long)was->size, bay);
        }
        if (was->kind != is->kind) {
            return err_set(l->err,
                           "snapshot '%s': '%s' was opened in another way (read-only, format or "
                           "-snapshot) when it was saved",
                           then->name, was->file);
        }
        if (was->kind == DISK_IMAGE && snapshot_image_find(is->image, then->name) < 0) {
            return err_set(l->err, "snapshot '%s' is missing in '%s'", then->name, was->file);
        }
    }
    return true;
}

/* ---- on the machine's thread ---- */

static bool load_devices(const SnapshotHost *host, const uint8_t *bytes, size_t size, Err *err)
{
    StateIo *io = state_loader_new(bytes, size, err);
    if (!io) {
        return false;
    }
    board_state(host->board, io);
    const char *extra = state_next_tag(io);
    bool ok = state_ok(io) && !extra;
    if (!ok) {
        err_set(err, "%s%s", extra ? "this machine has no device " : state_error(io),
                extra ? extra : "");
    }
    state_free(io);
    return ok;
}

/* Devices as saved, or as they were. */
static bool try_devices(Load *l)
{
    const SnapshotHost *host = l->host;
    Err why = {""}, ignored = {""};
    size_t size;
    host->accel->ops->pull(host->accel);
    StateIo *before = state_saver_new();
    if (before) {
        board_state(host->board, before);
    }
    const uint8_t *bytes = before ? state_finish(before, &size) : NULL;
    bool ok = bytes && load_devices(host, l->devices, l->devices_size, &why);
    if (!ok) {
        err_set(l->err, "snapshot '%s': %s", l->source.meta.name,
                bytes ? why.text : "out of memory");
        if (bytes && load_devices(host, bytes, size, &ignored)) {
            board_restored(host->board);
        } else if (bytes) {
            l->outcome = SNAPSHOT_BROKEN;
        }
        host->accel->ops->push(host->accel);
    }
    state_free(before);
    return ok;
}

/* Copies of small blocks, read through the file so that the host need not fill them. */
static bool keep_roms(Load *l)
{
    for (unsigned i = 0; i < l->now.blocks; i++) {
        uint32_t size = l->now.block[i].size;
        if (size <= SMALL_BLOCK) {
            l->kept[i] = malloc(size);
            if (!l->kept[i] ||
                pread(l->host->board->ram.fd, l->kept[i], size, l->now.block[i].at) != size) {
                return err_set(l->err, "out of memory");
            }
        }
    }
    return true;
}

static void put_roms_back(Load *l)
{
    for (unsigned i = 0; i < l->now.blocks; i++) {
        if (l->kept[i]) {
            memcpy(ram_at(&l->host->board->ram, l->now.block[i].at), l->kept[i],
                   l->now.block[i].size);
        }
    }
}

static bool load_block(Load *l, unsigned index)
{
    Ram *ram = &l->host->board->ram;
    uint32_t at = l->now.block[index].at, size = l->now.block[index].size;
    SnapshotMemory memory = {ram, l->now.block[index].first, at};
    SnapshotSink sink = snapshot_memory_sink(&memory);
    bool ok = snapshot_reader_each(l->source.reader, memory.first, size / SNAPSHOT_PAGE,
                                   snapshot_threads(), &sink, l->err);
    ram_written(ram, at, size);
    return ok;
}

static int find_block(const Load *l, const char *name)
{
    for (unsigned i = 0; i < l->now.blocks; i++) {
        if (strcmp(l->now.block[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* The block that is worth being brought later; -1: none. */
static int largest_block(const Load *l)
{
    int largest = -1, video = find_block(l, "vram");
    for (int i = 0; i < (int)l->now.blocks; i++) {
        if (i != video && l->now.block[i].size > SMALL_BLOCK &&
            (largest < 0 || l->now.block[i].size > l->now.block[largest].size)) {
            largest = i;
        }
    }
    return largest;
}

/* What an earlier snapshot still had to bring is not wanted any more. */
static void drop_lazy(Load *l)
{
    Err ignored = {""};
    if (l->host->lazy) {
        snapshot_lazy_end(*l->host->lazy, false, &ignored);
        *l->host->lazy = NULL;
    }
}

static bool load_memory(Load *l)
{
    int video = find_block(l, "vram"), later = l->lazy ? largest_block(l) : -1;
    drop_lazy(l);
    if (video >= 0 && !load_block(l, (unsigned)video)) {
        return false;
    }
    Device *vga = device_find(l->host->board, "vga");
    if (vga && vga->type->restored) {
        vga->type->restored(vga); /* draws the picture */
        l->figures.frame_ns = host_time_ns() - l->start;
    }
    for (int i = 0; i < (int)l->now.blocks; i++) {
        if (i != video && i != later && !load_block(l, (unsigned)i)) {
            return false;
        }
    }
    return true;
}

/* Last of all: the guest may go on. */
static void load_rest_later(Load *l)
{
    Ram *ram = &l->host->board->ram;
    int block = largest_block(l);
    if (l->lazy) {
        ram_written(ram, l->now.block[block].at, l->now.block[block].size);
        unsigned threads = snapshot_threads();
        snapshot_lazy_start(l->lazy, &l->source, threads > 1 ? threads - 1 : 1);
        *l->host->lazy = l->lazy;
        l->lazy = NULL;
    }
}

typedef struct DiskLoad {
    Block *image;
    uint64_t first;
} DiskLoad;

static size_t page_length(const Block *image, uint64_t offset)
{
    uint64_t rest = block_size(image) - offset;
    return rest < SNAPSHOT_PAGE ? (size_t)rest : SNAPSHOT_PAGE;
}

/* Writes what differs alone: an image that is as it was stays untouched. */
static int place_disk(void *self, uint64_t page, const uint8_t *data)
{
    const DiskLoad *d = self;
    uint8_t old[SNAPSHOT_PAGE];
    uint64_t offset = (page - d->first) * SNAPSHOT_PAGE;
    size_t length = page_length(d->image, offset);
    int error = block_read(d->image, offset, old, length);
    if (error || memcmp(old, data, length) == 0) {
        return error;
    }
    return block_write(d->image, offset, data, length);
}

static int clear_zeros(const Load *l, const DiskLoad *d)
{
    static const uint8_t zeros[SNAPSHOT_PAGE];
    uint64_t size = block_size(d->image);
    for (uint64_t at = 0; at < size;) {
        BlockExtent extent = {.length = SNAPSHOT_PAGE, .data = true};
        int error = block_map(d->image, at, &extent);
        if (error) {
            return error;
        }
        if (!extent.data && extent.length >= SNAPSHOT_PAGE) {
            at += extent.length / SNAPSHOT_PAGE * SNAPSHOT_PAGE;
            continue;
        }
        uint64_t end = at + (extent.length > SNAPSHOT_PAGE ? extent.length : SNAPSHOT_PAGE);
        for (; at < end && at < size; at += SNAPSHOT_PAGE) {
            if (snapshot_reader_is_zero(l->source.reader, d->first + at / SNAPSHOT_PAGE)) {
                error = place_disk((void *)d, d->first + at / SNAPSHOT_PAGE, zeros);
                if (error) {
                    return error;
                }
            }
        }
    }
    return 0;
}

static bool load_disks(Load *l)
{
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        const SnapshotDisk *d = &l->now.disk[i];
        int error = 0;
        if (d->kind == DISK_IMAGE) {
            error = snapshot_image_apply(d->image, l->source.meta.name);
        } else if (d->kind == DISK_PAGES) {
            DiskLoad disk = {d->image, d->first};
            SnapshotSink sink = {place_disk, NULL, &disk};
            error = clear_zeros(l, &disk);
            if (!error && !snapshot_reader_each(l->source.reader, d->first,
                                                (d->size + SNAPSHOT_PAGE - 1) / SNAPSHOT_PAGE,
                                                snapshot_threads(), &sink, l->err)) {
                return false;
            }
            error = error ? error : block_flush(d->image);
        }
        if (error) {
            return err_set(l->err, "snapshot '%s': '%s' cannot be set back: %s",
                           l->source.meta.name, d->file, strerror(error));
        }
    }
    return true;
}

static bool make_lazy(Load *l)
{
    int block = l->host->lazy ? largest_block(l) : -1;
    l->lazy = block >= 0 ? snapshot_lazy_new(l->host, &l->source, &l->now, (unsigned)block, l->err)
                         : NULL;
    return block < 0 || l->lazy;
}

static void do_load(void *argument)
{
    Load *l = argument;
    const SnapshotHost *host = l->host;
    int64_t start = host_time_ns();
    block_queue_quiesce(pc_disks(host->pc));
    /* media may have changed since we asked */
    if (!snapshot_describe(host, &l->now, l->err) || !match_memory(l) || !match_disks(l) ||
        !keep_roms(l) || !make_lazy(l) || !try_devices(l)) {
        return;
    }
    l->outcome = SNAPSHOT_BROKEN;
    snapshot_line_drop(host); /* disks are written past the queue */
    if (!load_memory(l) || !load_disks(l)) {
        put_roms_back(l);
        return;
    }
    if (l->keeps && snapshot_line_begin(host, &l->now, l->since)) {
        snapshot_line_set(host, &l->source, l->since);
    }
    load_rest_later(l);
    board_restored(host->board);
    host->accel->ops->map_changed(host->accel); /* what it learnt of memory is of no use any more */
    host->accel->ops->push(host->accel);
    l->outcome = SNAPSHOT_LOADED;
    l->figures.pause_ns = host_time_ns() - start;
}

SnapshotOutcome snapshot_load(const SnapshotHost *host, const char *name, SnapshotFigures *figures,
                              Err *err)
{
    Load l = {.host = host, .outcome = SNAPSHOT_REFUSED, .start = host_time_ns(), .err = err};
    bool is_path = true;
    snapshot_name_check(name, &is_path, &(Err){""});
    l.keeps = !is_path;
    bool ok = snapshot_ask(host, &l.now, err) &&
              snapshot_source_open(&l.source, &l.now, name, err) && match_memory(&l) &&
              match_disks(&l);
    l.devices = ok ? snapshot_reader_section(l.source.reader, SNAPSHOT_DEVICES, DEVICES_LIMIT,
                                             &l.devices_size, err)
                   : NULL;
    if (l.devices && snapshot_source_map(&l.source, l.now.pages, err)) {
        host->call(host->self, do_load, &l);
    }
    for (unsigned i = 0; i < MAX_BLOCKS; i++) {
        free(l.kept[i]);
    }
    free(l.devices);
    snapshot_lazy_end(l.lazy, false, &(Err){""});
    snapshot_source_close(&l.source);
    l.figures.total_ns = host_time_ns() - l.start;
    if (figures) {
        *figures = l.figures;
    }
    return l.outcome;
}
