/* Saving a snapshot while the guest runs.
 *
 * Ram's mark of cleanness (RAM_CLEAN_SNAPSHOT) is set on all pages, and every engine and device
 * takes it off what it writes. So memory is copied in rounds: all of it first, then what was
 * written meanwhile. When little is left, the last copy is made between two instructions, with the
 * devices' state and with the disks held still: that is the snapshot's instant. A guest that writes
 * faster than we pack gets slices of time in turn with plain copying, which is faster than any
 * guest writes; no slice is longer than a few milliseconds.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "machine/host/host_time.h"
#include "machine/snapshot_internal.h"

enum {
    LAST_PAGES = 2048, /* copied at once between two instructions: 8 MiB, 1 to 3 ms */
    MAX_ROUNDS = 6,    /* of packing; then plain copying takes over */
    MAX_SLICES = 400,
    SLICE_NS = 4000000, /* the guest's, between slices of copying */
    LAST_PARTS = 64,    /* of disks, left for the moment when they are held */
};

typedef struct Save {
    const SnapshotHost *host;
    SnapshotMeta meta;
    SnapshotPlace *place;
    SnapshotSource base;                  /* what this one builds on; no reader: nothing */
    BlockTrack *next[MACHINE_MAX_DRIVES]; /* what is written from the instant on */
    bool keeps;                           /* the next one may build on this */
    char path[PATH_MAX];
    SnapshotWriter *writer;
    SnapshotFigures figures;
    /* of the machine's thread, then ours, in turn */
    bool begun, copying, finished, held;
    unsigned step;
    uint32_t *list; /* pages of Ram to pack */
    uint32_t listed;
    uint32_t pages;    /* of Ram in use */
    uint8_t *copies;   /* copied pages, */
    uint32_t *copy_of; /* the page of each, */
    uint32_t *slot;    /* and for each page its place among them + 1 */
    uint32_t copied, room;
    StateIo *devices;
    Err *err;
} Save;

static bool failed(Save *s, int error)
{
    return !error ||
           err_set(s->err, "snapshot '%s' cannot be written: %s", s->meta.name, strerror(error));
}

/* ---- on the machine's thread ---- */

/* The first page from `page` on that was written since it was marked; the end: none. */
static uint32_t next_written(const Save *s, uint32_t page)
{
    const uint8_t *flags = s->host->board->ram.flags;
    const uint64_t marks = RAM_CLEAN_SNAPSHOT * UINT64_C(0x0101010101010101);
    while (page < s->pages) {
        uint64_t eight;
        if (page % 8 == 0 && page + 8 <= s->pages) {
            memcpy(&eight, flags + page, 8);
            if ((eight & marks) == marks) {
                page += 8;
                continue;
            }
        }
        if (!(flags[page] & RAM_CLEAN_SNAPSHOT)) {
            break;
        }
        page++;
    }
    return page;
}

/* Copies written pages, at most `limit`; `mark`: counts them as unwritten from now. */
static void copy_written(Save *s, uint32_t limit, bool mark)
{
    Ram *ram = &s->host->board->ram;
    for (uint32_t page = next_written(s, 0); page < s->pages && limit;) {
        uint32_t first = page;
        for (; page < s->pages && limit && !(ram->flags[page] & RAM_CLEAN_SNAPSHOT); limit--) {
            if (!s->slot[page]) {
                s->copy_of[s->copied] = page;
                s->slot[page] = ++s->copied;
            }
            memcpy(s->copies + (size_t)(s->slot[page] - 1) * SNAPSHOT_PAGE,
                   ram_at(ram, page << RAM_PAGE_SHIFT), SNAPSHOT_PAGE);
            page++;
        }
        if (mark) {
            ram_flag_set(ram, first, page - first, RAM_CLEAN_SNAPSHOT);
        }
        page = next_written(s, page);
    }
}

/* Lists all written pages for packing, and counts them as unwritten from now. */
static void list_written(Save *s)
{
    Ram *ram = &s->host->board->ram;
    s->listed = 0;
    for (uint32_t page = next_written(s, 0); page < s->pages;) {
        uint32_t run = 0;
        while (page + run < s->pages && !(ram->flags[page + run] & RAM_CLEAN_SNAPSHOT)) {
            s->list[s->listed++] = page + run++;
        }
        ram_flag_set(ram, page, run, RAM_CLEAN_SNAPSHOT);
        page = next_written(s, page + run);
    }
}

static uint32_t count_written(const Save *s)
{
    uint32_t count = 0;
    for (uint32_t page = next_written(s, 0); page < s->pages; page = next_written(s, page + 1)) {
        count++;
    }
    return count;
}

/* Everything is marked and watched from here on. */
static bool begin(Save *s)
{
    BlockQueue *disks = pc_disks(s->host->pc);
    if (!snapshot_describe(s->host, &s->meta, s->err)) {
        return false;
    }
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        SnapshotDisk *d = &s->meta.disk[i];
        if (d->kind == DISK_PAGES && !(d->track = block_track_begin(disks, d->image))) {
            return err_set(s->err, "out of memory");
        }
    }
    if (s->base.reader && !snapshot_alike(&s->base.meta, &s->meta)) { /* a medium was changed */
        snapshot_source_close(&s->base);
    }
    ram_flag_set(&s->host->board->ram, 0, s->pages, RAM_CLEAN_SNAPSHOT);
    return true;
}

/* The snapshot's instant. */
static void finish(Save *s)
{
    Board *b = s->host->board;
    block_queue_hold(pc_disks(s->host->pc));
    s->held = true;
    s->host->accel->ops->pull(s->host->accel);
    s->devices = state_saver_new();
    bool running = b->clock.running;
    clock_run(&b->clock, false); /* one moment for all devices */
    if (s->devices) {
        board_state(b, s->devices);
    }
    s->meta.guest_ns = (uint64_t)clock_now(&b->clock);
    clock_run(&b->clock, running);
    copy_written(s, s->pages, false);
    s->keeps = s->keeps && snapshot_line_begin(s->host, &s->meta, s->next);
    s->finished = true;
}

static void do_step(void *argument)
{
    Save *s = argument;
    int64_t start = host_time_ns();
    if (!s->begun) {
        s->begun = begin(s);
    } else {
        uint32_t left = count_written(s);
        if (left <= LAST_PAGES || s->step >= MAX_ROUNDS + MAX_SLICES) {
            finish(s);
        } else if (s->copying) {
            copy_written(s, LAST_PAGES, true);
        } else {
            list_written(s);
        }
    }
    int64_t taken = host_time_ns() - start;
    s->figures.pause_ns = taken > s->figures.pause_ns ? taken : s->figures.pause_ns;
    s->step++;
}

/* Once more at the end, whatever happened. */
static void do_end(void *argument)
{
    Save *s = argument;
    if (s->begun) {
        ram_flag_clear(&s->host->board->ram, 0, s->pages, RAM_CLEAN_SNAPSHOT);
    }
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        block_track_end(pc_disks(s->host->pc), s->meta.disk[i].track);
        s->meta.disk[i].track = NULL;
    }
}

/* ---- beside the running guest ---- */

static uint64_t page_number(const Save *s, uint32_t page)
{
    unsigned i = 0;
    while (i + 1 < s->meta.blocks && page >= s->meta.block[i + 1].at >> RAM_PAGE_SHIFT) {
        i++;
    }
    return s->meta.block[i].first + page - (s->meta.block[i].at >> RAM_PAGE_SHIFT);
}

static bool pack(Save *s, uint32_t page, const uint8_t *data)
{
    return failed(s, snapshot_writer_page(s->writer, page_number(s, page), data));
}

/* All memory that has ever been touched. Reading the rest would make the host fill it. */
static bool pack_all(Save *s)
{
    const Ram *ram = &s->host->board->ram;
    off_t end = (off_t)s->pages << RAM_PAGE_SHIFT, at = 0;
    while (at < end) {
        off_t data = lseek(ram->fd, at, SEEK_DATA);
        off_t hole = data < 0 ? -1 : lseek(ram->fd, data, SEEK_HOLE);
        if (data < 0 && errno == ENXIO) {
            break;
        }
        if (hole < 0) {
            data = at; /* the host cannot tell */
            hole = end;
        }
        hole = hole < end ? hole : end;
        for (off_t p = data & ~(off_t)(RAM_PAGE - 1); p < hole; p += RAM_PAGE) {
            if (!pack(s, (uint32_t)(p >> RAM_PAGE_SHIFT), ram->host + p)) {
                return false;
            }
        }
        at = hole;
    }
    return true;
}

static bool pack_part(Save *s, const SnapshotDisk *d, uint64_t offset, uint8_t *buffer)
{
    uint64_t rest = d->size - offset;
    size_t length = rest < BLOCK_TRACK_BYTES ? (size_t)rest : BLOCK_TRACK_BYTES;
    memset(buffer, 0, BLOCK_TRACK_BYTES);
    int error = block_read(d->image, offset, buffer, length);
    if (error) {
        return err_set(s->err, "'%s' cannot be read: %s", d->file, strerror(error));
    }
    for (size_t at = 0; at < length; at += SNAPSHOT_PAGE) {
        error =
            snapshot_writer_page(s->writer, d->first + (offset + at) / SNAPSHOT_PAGE, buffer + at);
        if (error) {
            return failed(s, error);
        }
    }
    return true;
}

static bool pack_whole_disk(Save *s, const SnapshotDisk *d, uint8_t *buffer)
{
    for (uint64_t at = 0; at < d->size;) {
        BlockExtent extent;
        int error = block_map(d->image, at, &extent);
        if (error) {
            return err_set(s->err, "'%s' cannot be read: %s", d->file, strerror(error));
        }
        uint64_t part = at / BLOCK_TRACK_BYTES * BLOCK_TRACK_BYTES;
        if (!extent.data && at == part && extent.length >= BLOCK_TRACK_BYTES) {
            at += extent.length / BLOCK_TRACK_BYTES * BLOCK_TRACK_BYTES;
            continue;
        }
        if (!extent.data && extent.length >= d->size - at && at == part) {
            break;
        }
        if (!pack_part(s, d, part, buffer)) {
            return false;
        }
        at = part + BLOCK_TRACK_BYTES;
    }
    return true;
}

/* What the disk has in common with the base is lent by that. */
static bool pack_changes(Save *s, const SnapshotDisk *d, const BlockTrack *since, uint8_t *buffer)
{
    int error = 0;
    uint64_t pages = (d->size + SNAPSHOT_PAGE - 1) / SNAPSHOT_PAGE;
    for (uint64_t page = 0; page < pages && !error; page++) {
        error = snapshot_writer_lend(s->writer, d->first + page);
    }
    for (uint64_t part = 0; !error && block_track_find(pc_disks(s->host->pc), since, &part);
         part++) {
        if (!pack_part(s, d, part * BLOCK_TRACK_BYTES, buffer)) {
            return false;
        }
    }
    return failed(s, error);
}

static bool pack_disk(Save *s, unsigned bay, uint8_t *buffer)
{
    const SnapshotDisk *d = &s->meta.disk[bay];
    const BlockTrack *since = s->base.reader ? s->host->line->since[bay] : NULL;
    return block_track_is_of(pc_disks(s->host->pc), since, d->image)
               ? pack_changes(s, d, since, buffer)
               : pack_whole_disk(s, d, buffer);
}

static bool pack_written_parts(Save *s, uint8_t *buffer)
{
    BlockQueue *disks = pc_disks(s->host->pc);
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        const SnapshotDisk *d = &s->meta.disk[i];
        for (uint64_t part = 0; d->track && block_track_next(disks, d->track, &part); part++) {
            if (!pack_part(s, d, part * BLOCK_TRACK_BYTES, buffer)) {
                return false;
            }
        }
    }
    return true;
}

static uint64_t parts_left(const Save *s)
{
    uint64_t left = 0;
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        const SnapshotDisk *d = &s->meta.disk[i];
        left += d->track ? block_track_count(pc_disks(s->host->pc), d->track) : 0;
    }
    return left;
}

/* Room for one more slice of copies, touched here so that the machine's thread need not. */
static bool make_room(Save *s)
{
    uint32_t wanted = s->copied + LAST_PAGES;
    wanted = wanted < s->pages ? wanted : s->pages;
    if (s->step > MAX_ROUNDS + MAX_SLICES - 2) {
        wanted = s->pages; /* it has to end with all that is left */
    }
    if (wanted > s->room) {
        memset(s->copies + (size_t)s->room * SNAPSHOT_PAGE, 1,
               (size_t)(wanted - s->room) * SNAPSHOT_PAGE);
        s->room = wanted;
    }
    return true;
}

static void step(Save *s)
{
    make_room(s);
    s->host->call(s->host->self, do_step, s);
}

/* Until the instant has come. */
static bool copy_live(Save *s, uint8_t *buffer)
{
    if (!pack_all(s)) {
        return false;
    }
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        if (s->meta.disk[i].track && !pack_disk(s, i, buffer)) {
            return false;
        }
    }
    for (;;) {
        for (unsigned i = 0; i < MAX_ROUNDS && parts_left(s) > LAST_PARTS; i++) {
            if (!pack_written_parts(s, buffer)) {
                return false;
            }
        }
        s->copying = s->step > MAX_ROUNDS;
        step(s);
        if (s->finished) {
            return true;
        }
        if (s->copying) {
            nanosleep(&(struct timespec){.tv_nsec = SLICE_NS}, NULL);
            continue;
        }
        s->figures.rounds++;
        for (uint32_t i = 0; i < s->listed; i++) {
            uint32_t page = s->list[i];
            if (!pack(s, page, ram_at(&s->host->board->ram, page << RAM_PAGE_SHIFT))) {
                return false;
            }
        }
    }
}

static bool write_state(Save *s, SnapshotSection kind, StateIo *io)
{
    size_t size;
    const uint8_t *bytes = io ? state_finish(io, &size) : NULL;
    if (!bytes) {
        return err_set(s->err, "snapshot '%s': %s", s->meta.name,
                       io ? state_error(io) : "out of memory");
    }
    return failed(s, snapshot_writer_section(s->writer, kind, bytes, size));
}

static bool write_meta(Save *s)
{
    StateIo *io = state_saver_new();
    if (io) {
        snapshot_meta_state(&s->meta, io);
    }
    bool ok = write_state(s, SNAPSHOT_META, io);
    state_free(io);
    return ok;
}

/* What is left at the instant, and the tables. The disks are held. */
static bool write_rest(Save *s, uint8_t *buffer)
{
    block_queue_wait_running(pc_disks(s->host->pc));
    if (!pack_written_parts(s, buffer)) {
        return false;
    }
    if (s->meta.home < 0) { /* they need not wait for us any longer */
        block_queue_release(pc_disks(s->host->pc));
        s->held = false;
    }
    for (uint32_t i = 0; i < s->copied; i++) {
        if (!pack(s, s->copy_of[i], s->copies + (size_t)i * SNAPSHOT_PAGE)) {
            return false;
        }
    }
    size_t size = 0;
    uint8_t *thumb = snapshot_picture(pc_screen(s->host->pc), &size);
    bool ok = !thumb || failed(s, snapshot_writer_section(s->writer, SNAPSHOT_THUMB, thumb, size));
    free(thumb);
    return ok && write_meta(s) && write_state(s, SNAPSHOT_DEVICES, s->devices) &&
           failed(s, snapshot_writer_finish(s->writer, &s->figures.bytes));
}

static void name_image_snapshot(const Save *s, unsigned disk, Qcow2Snapshot *info)
{
    *info = (Qcow2Snapshot){.date_s = (uint32_t)s->meta.time_s, .vm_clock_ns = s->meta.guest_ns};
    snprintf(info->name, sizeof(info->name), "%s", s->meta.name);
    info->vm_state_size = (int)disk == s->meta.home ? s->figures.bytes : 0;
}

/* Internal snapshots of all qcow2 disks, or of none; then the older ones of this name go. */
static bool keep_images(Save *s)
{
    int error = 0;
    unsigned done = 0;
    bool replaces[MACHINE_MAX_DRIVES] = {false};
    for (; done < MACHINE_MAX_DRIVES && !error; done++) {
        const SnapshotDisk *d = &s->meta.disk[done];
        if (d->kind == DISK_IMAGE) {
            Qcow2Snapshot info;
            name_image_snapshot(s, done, &info);
            replaces[done] = snapshot_image_find(d->image, info.name) >= 0;
            error = snapshot_image_create(d->image, &info);
        }
    }
    for (unsigned i = 0; i + 1 < done && error; i++) {
        if (s->meta.disk[i].kind == DISK_IMAGE) {
            snapshot_image_undo(s->meta.disk[i].image, s->meta.name);
        }
    }
    for (unsigned i = 0; i < done && !error; i++) {
        if (replaces[i]) {
            error = snapshot_image_delete(s->meta.disk[i].image, s->meta.name);
        }
    }
    return failed(s, error);
}

/* The snapshot that the machine goes on from, if this one can build on it: it is still there, is
 * not to be replaced by this one, nor builds on what is, and not too many lie below it. */
static void find_base(Save *s)
{
    const SnapshotLine *line = s->host->line;
    Err ignored = {""};
    char path[PATH_MAX + 256];
    if (!line || !line->base[0]) {
        return;
    }
    const char *slash = strrchr(s->path, '/');
    snprintf(path, sizeof(path), "%.*s%s", slash ? (int)(slash + 1 - s->path) : 0, s->path,
             line->base);
    bool good = snapshot_source_open_file(&s->base, path, line->base, &ignored) &&
                memcmp(s->base.meta.id, line->id, sizeof(line->id)) == 0 &&
                snapshot_source_bases(&s->base, &ignored);
    unsigned depth = 0;
    for (const SnapshotSource *b = &s->base; good && b; b = b->base) {
        good = ++depth < MAX_CHAIN && strcmp(b->path, s->path) != 0;
    }
    if (!good) {
        snapshot_source_close(&s->base);
        return;
    }
}

static bool prepare(Save *s, const char *name, bool is_path)
{
    const Ram *ram = &s->host->board->ram;
    s->pages = (uint32_t)(ram->used >> RAM_PAGE_SHIFT);
    s->list = malloc((size_t)s->pages * sizeof(*s->list));
    s->copy_of = malloc((size_t)s->pages * sizeof(*s->copy_of));
    s->slot = calloc(s->pages, sizeof(*s->slot));
    s->copies = mmap(NULL, (size_t)s->pages * SNAPSHOT_PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!s->list || !s->copy_of || !s->slot || s->copies == MAP_FAILED) {
        return err_set(s->err, "out of memory");
    }
    SnapshotMeta now;
    if (!snapshot_ask(s->host, &now, s->err)) {
        return false;
    }
    snapshot_file_path(&now, name, s->path, sizeof(s->path));
    bool inside = now.home >= 0 && !is_path;
    s->keeps = !inside && !is_path && s->host->line;
    if (s->keeps) {
        find_base(s);
    }
    s->place = inside ? snapshot_place_image(now.disk[now.home].image, s->err)
                      : snapshot_place_create(s->path, true, s->host->faults, s->err);
    s->writer =
        s->place ? snapshot_writer_new(snapshot_place_io(s->place), now.pages, snapshot_threads())
                 : NULL;
    return s->writer || (s->place && err_set(s->err, "out of memory"));
}

/* What the file's path names without its folder and suffix. */
static void set_name(Save *s, const char *name, const char *note, bool is_path)
{
    const char *base = is_path && strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
    snprintf(s->meta.name, sizeof(s->meta.name), "%.63s", base);
    char *dot = is_path ? strrchr(s->meta.name, '.') : NULL;
    if (dot && dot != s->meta.name) {
        *dot = '\0';
    }
    snprintf(s->meta.note, sizeof(s->meta.note), "%.255s", note ? note : "");
    snprintf(s->meta.parent, sizeof(s->meta.parent), "%.63s",
             s->host->parent ? s->host->parent : "");
    s->meta.time_s = (uint64_t)time(NULL);
    if (getrandom(s->meta.id, sizeof(s->meta.id), GRND_NONBLOCK) != (ssize_t)sizeof(s->meta.id)) {
        memset(s->meta.id, 0, sizeof(s->meta.id)); /* nothing will build on it */
    }
    if (s->base.reader) {
        const char *file = strrchr(s->base.path, '/');
        snprintf(s->meta.base, sizeof(s->meta.base), "%.255s", file ? file + 1 : s->base.path);
        memcpy(s->meta.base_id, s->base.meta.id, sizeof(s->meta.base_id));
    }
}

static bool run(Save *s, const char *name, const char *note, bool is_path)
{
    uint8_t *buffer = malloc(BLOCK_TRACK_BYTES);
    step(s);
    set_name(s, name, note, is_path);
    bool ok = s->begun && (buffer || err_set(s->err, "out of memory"));
    if (ok && is_path && s->meta.home >= 0) {
        ok = err_set(s->err, "'%s' keeps its snapshots inside: give a name, not a file",
                     s->meta.disk[s->meta.home].file);
    }
    ok = ok && copy_live(s, buffer) && write_rest(s, buffer) && keep_images(s);
    if (s->held) {
        block_queue_release(pc_disks(s->host->pc));
    }
    s->host->call(s->host->self, do_end, s);
    free(buffer);
    /* one of that name goes: nothing may build on it any more */
    if (!ok || (s->meta.home < 0 && !snapshot_free_of(s->host, s->path, s->err)) ||
        !snapshot_place_commit(s->place, s->err)) {
        return false;
    }
    if (s->keeps) {
        SnapshotSource saved = {.meta = s->meta, .path = s->path};
        snapshot_line_set(s->host, &saved, s->next);
    }
    return true;
}

bool snapshot_save(const SnapshotHost *host, const char *name, const char *note,
                   SnapshotFigures *figures, Err *err)
{
    bool is_path;
    int64_t start = host_time_ns();
    Save s = {.host = host, .err = err, .meta.name = ""};
    if (!snapshot_name_check(name, &is_path, err)) {
        return false;
    }
    bool ok = prepare(&s, name, is_path) && run(&s, name, note, is_path);
    snapshot_line_end(host, s.next);
    snapshot_source_close(&s.base);
    state_free(s.devices);
    snapshot_writer_free(s.writer);
    snapshot_place_close(s.place);
    if (s.copies && s.copies != MAP_FAILED) {
        munmap(s.copies, (size_t)s.pages * SNAPSHOT_PAGE);
    }
    free(s.list);
    free(s.copy_of);
    free(s.slot);
    s.figures.total_ns = host_time_ns() - start;
    if (figures) {
        *figures = s.figures;
    }
    return ok;
}
