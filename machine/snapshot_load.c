/* Loading a snapshot into the machine it was saved from, or one built alike.
 *
 * All that can be checked is checked before anything changes. Then the devices: when they refuse,
 * the state they had is put back. Then video memory, so that the picture shows at once, the rest of
 * memory, unpacked by several threads, and the disks.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/host/host_time.h"
#include "machine/snapshot_internal.h"

enum {
    MAX_THREADS = 8,
    HOLE_PAGES = 8,        /* shorter runs of zeros are written */
    SMALL_BLOCK = 1 << 20, /* ROMs: kept, so that a broken machine can be reset */
};

typedef struct Load {
    const SnapshotHost *host;
    SnapshotSource source;
    SnapshotMeta now;
    uint8_t *devices;
    size_t devices_size;
    uint8_t *kept[MAX_BLOCKS];
    SnapshotOutcome outcome;
    SnapshotFigures figures;
    int64_t start;
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

typedef struct Memory {
    Ram *ram;
    uint64_t first;
    uint32_t at;
} Memory;

static int place_memory(void *self, uint64_t page, const uint8_t *data)
{
    const Memory *m = self;
    memcpy(ram_at(m->ram, m->at) + (page - m->first) * SNAPSHOT_PAGE, data, SNAPSHOT_PAGE);
    return 0;
}

static unsigned thread_count(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : (unsigned)count;
}

static void clear_run(Ram *ram, uint32_t at, uint32_t size)
{
    if (size < HOLE_PAGES * SNAPSHOT_PAGE ||
        fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size) < 0) {
        memset(ram_at(ram, at), 0, size);
    }
}

/* Runs of zeros become holes; all other pages are overwritten, in memory that the host has given
 * already where it can be. */
static void clear_memory_zeros(const Load *l, uint32_t at, uint64_t first, uint32_t pages)
{
    uint32_t run = 0;
    for (uint32_t i = 0; i <= pages; i++) {
        if (i < pages && snapshot_reader_is_zero(l->source.reader, first + i)) {
            run++;
        } else if (run) {
            clear_run(&l->host->board->ram, at + (i - run) * SNAPSHOT_PAGE, run * SNAPSHOT_PAGE);
            run = 0;
        }
    }
}

static bool load_block(Load *l, unsigned index)
{
    Ram *ram = &l->host->board->ram;
    uint32_t at = l->now.block[index].at, size = l->now.block[index].size;
    clear_memory_zeros(l, at, l->now.block[index].first, size / SNAPSHOT_PAGE);
    Memory memory = {ram, l->now.block[index].first, at};
    bool ok = snapshot_reader_each(l->source.reader, memory.first, size / SNAPSHOT_PAGE,
                                   thread_count(), place_memory, &memory, l->err);
    ram_written(ram, at, size);
    return ok;
}

static bool load_memory(Load *l)
{
    int video = -1;
    for (unsigned i = 0; i < l->now.blocks; i++) {
        video = strcmp(l->now.block[i].name, "vram") == 0 ? (int)i : video;
    }
    if (video >= 0 && !load_block(l, (unsigned)video)) {
        return false;
    }
    Device *vga = device_find(l->host->board, "vga");
    if (vga && vga->type->restored) {
        vga->type->restored(vga); /* draws the picture */
        l->figures.frame_ns = host_time_ns() - l->start;
    }
    for (unsigned i = 0; i < l->now.blocks; i++) {
        if ((int)i != video && !load_block(l, i)) {
            return false;
        }
    }
    return true;
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
        BlockExtent extent = {SNAPSHOT_PAGE, true};
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
            error = clear_zeros(l, &disk);
            if (!error && !snapshot_reader_each(l->source.reader, d->first,
                                                (d->size + SNAPSHOT_PAGE - 1) / SNAPSHOT_PAGE,
                                                thread_count(), place_disk, &disk, l->err)) {
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

static void do_load(void *argument)
{
    Load *l = argument;
    const SnapshotHost *host = l->host;
    int64_t start = host_time_ns();
    block_queue_quiesce(pc_disks(host->pc));
    /* media may have changed since we asked */
    if (!snapshot_describe(host, &l->now, l->err) || !match_memory(l) || !match_disks(l) ||
        !keep_roms(l) || !try_devices(l)) {
        return;
    }
    l->outcome = SNAPSHOT_BROKEN;
    if (!load_memory(l) || !load_disks(l)) {
        put_roms_back(l);
        return;
    }
    board_restored(host->board);
    host->accel->ops->push(host->accel);
    l->outcome = SNAPSHOT_LOADED;
    l->figures.pause_ns = host_time_ns() - start;
}

SnapshotOutcome snapshot_load(const SnapshotHost *host, const char *name, SnapshotFigures *figures,
                              Err *err)
{
    Load l = {.host = host, .outcome = SNAPSHOT_REFUSED, .start = host_time_ns(), .err = err};
    bool ok = snapshot_ask(host, &l.now, err) &&
              snapshot_source_open(&l.source, &l.now, name, err) && match_memory(&l) &&
              match_disks(&l);
    l.devices = ok ? snapshot_reader_section(l.source.reader, SNAPSHOT_DEVICES, DEVICES_LIMIT,
                                             &l.devices_size, err)
                   : NULL;
    if (l.devices && snapshot_reader_map(l.source.reader, l.now.pages, err)) {
        host->call(host->self, do_load, &l);
    }
    for (unsigned i = 0; i < MAX_BLOCKS; i++) {
        free(l.kept[i]);
    }
    free(l.devices);
    snapshot_source_close(&l.source);
    l.figures.total_ns = host_time_ns() - l.start;
    if (figures) {
        *figures = l.figures;
    }
    return l.outcome;
}
