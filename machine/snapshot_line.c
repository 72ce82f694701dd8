/* Snapshots that build on one another: what the machine's disks differ from, and how a snapshot
 * goes whose pages others borrow.
 *
 * A file borrows pages of disks from the one that the machine went on from, which must lie beside
 * it and is known by its id; that one may borrow in turn. What was written since is marked by the
 * block queue (BlockTrack), so the other pages need not even be read. Images themselves are never
 * relied on: whoever writes to one behind the machine's back loses that at the next load, and no
 * snapshot. Before a file is deleted or replaced, those that build on it are written anew with what
 * they had borrowed from it, each under a temporary name until it is on the disk: a process that is
 * killed in between leaves all of them whole.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/snapshot_internal.h"

#define SUFFIX ".vsnap"

SnapshotLine *snapshot_line_new(void)
{
    return calloc(1, sizeof(SnapshotLine));
}

void snapshot_line_free(SnapshotLine *line, BlockQueue *queue)
{
    for (unsigned i = 0; line && i < MACHINE_MAX_DRIVES; i++) {
        block_track_end(queue, line->since[i]);
    }
    free(line);
}

void snapshot_line_end(const SnapshotHost *host, BlockTrack *since[MACHINE_MAX_DRIVES])
{
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        block_track_end(pc_disks(host->pc), since[i]);
        since[i] = NULL;
    }
}

bool snapshot_line_begin(const SnapshotHost *host, const SnapshotMeta *meta,
                         BlockTrack *since[MACHINE_MAX_DRIVES])
{
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        const SnapshotDisk *d = &meta->disk[i];
        since[i] = NULL;
        if (d->kind == DISK_PAGES &&
            !(since[i] = block_track_begin(pc_disks(host->pc), d->image))) {
            snapshot_line_end(host, since);
            return false;
        }
    }
    return true;
}

void snapshot_line_drop(const SnapshotHost *host)
{
    if (host->line) {
        snapshot_line_end(host, host->line->since);
        host->line->base[0] = '\0';
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void snapshot_line_set(const SnapshotHost *host, const SnapshotSource *s,
                       BlockTrack *since[MACHINE_MAX_DRIVES])
{
    static const uint8_t none[16];
    SnapshotLine *line = host->line;
    snapshot_line_drop(host);
    if (!line || !s->path || memcmp(s->meta.id, none, sizeof(none)) == 0 ||
        strlen(base_name(s->path)) >= sizeof(line->base)) {
        snapshot_line_end(host, since);
        return;
    }
    snprintf(line->base, sizeof(line->base), "%s", base_name(s->path));
    memcpy(line->id, s->meta.id, sizeof(line->id));
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        line->since[i] = since[i];
        since[i] = NULL;
    }
}

/* ---- what one builds on ---- */

bool snapshot_alike(const SnapshotMeta *a, const SnapshotMeta *b)
{
    bool alike = a->blocks == b->blocks;
    for (unsigned i = 0; i < a->blocks && alike; i++) {
        alike = a->block[i].size == b->block[i].size;
    }
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES && alike; i++) {
        const SnapshotDisk *x = &a->disk[i], *y = &b->disk[i];
        alike = (x->kind == DISK_PAGES) == (y->kind == DISK_PAGES) &&
                (x->kind != DISK_PAGES || (x->size == y->size && strcmp(x->file, y->file) == 0));
    }
    return alike;
}

/* A file beside another one. False: a name that leads elsewhere. */
static bool beside(const char *path, const char *name, char *out, size_t room)
{
    size_t length = strlen(name), suffix = strlen(SUFFIX);
    int size = snprintf(out, room, "%.*s%s", (int)(base_name(path) - path), path, name);
    return !strchr(name, '/') && length > suffix && size > 0 && (size_t)size < room &&
           strcmp(name + length - suffix, SUFFIX) == 0;
}

bool snapshot_source_bases(SnapshotSource *s, Err *err)
{
    SnapshotSource *top = s;
    for (unsigned depth = 0; s->meta.base[0]; depth++, s = s->base) {
        char path[PATH_MAX];
        if (depth == MAX_CHAIN || !s->path || !beside(s->path, s->meta.base, path, sizeof(path))) {
            return err_set(err, "snapshot '%s' is damaged: what it builds on cannot be",
                           top->meta.name);
        }
        s->base = calloc(1, sizeof(*s->base));
        if (!s->base) {
            return err_set(err, "out of memory");
        }
        Err why = {""};
        if (!snapshot_source_open_file(s->base, path, s->meta.base, &why)) {
            return err_set(err, "snapshot '%s' builds on '%.200s', which cannot be used: %.600s",
                           top->meta.name, path, why.text);
        }
        if (memcmp(s->base->meta.id, s->meta.base_id, sizeof(s->meta.base_id)) != 0 ||
            !snapshot_alike(&s->base->meta, &s->meta)) {
            return err_set(err,
                           "snapshot '%s' builds on '%.200s', which is another one now: put the "
                           "file back that was there",
                           top->meta.name, path);
        }
    }
    return true;
}

static bool map_down(SnapshotSource *s, uint64_t pages, Err *err)
{
    return (!s->base || map_down(s->base, pages, err)) &&
           snapshot_reader_map_on(s->reader, pages, s->base ? s->base->reader : NULL, err);
}

bool snapshot_source_map(SnapshotSource *s, uint64_t pages, Err *err)
{
    return snapshot_source_bases(s, err) && map_down(s, pages, err);
}

/* ---- a file that goes ---- */

typedef struct Rewrite {
    const SnapshotReader *child, *gone;
    SnapshotWriter *writer;
    pthread_mutex_t lock;
} Rewrite;

/* The child keeps borrowing what the one that goes had borrowed itself. */
static bool stays_lent(const Rewrite *r, uint64_t page)
{
    return snapshot_reader_is_lent(r->child, page) && snapshot_reader_is_lent(r->gone, page);
}

static int rewrite_page(void *self, uint64_t page, const uint8_t *data)
{
    Rewrite *r = self;
    if (stays_lent(r, page)) {
        return 0;
    }
    pthread_mutex_lock(&r->lock);
    int error = snapshot_writer_page(r->writer, page, data);
    pthread_mutex_unlock(&r->lock);
    return error;
}

static int copy_section(SnapshotSource *from, SnapshotWriter *to, SnapshotSection kind,
                        size_t limit)
{
    size_t size;
    Err none = {""}; /* there need not be a thumbnail */
    uint8_t *bytes = snapshot_reader_section(from->reader, kind, limit, &size, &none);
    int error = bytes ? snapshot_writer_section(to, kind, bytes, size) : 0;
    free(bytes);
    return error;
}

static int write_meta(const SnapshotMeta *meta, SnapshotWriter *to)
{
    size_t size;
    SnapshotMeta copy = *meta;
    StateIo *io = state_saver_new();
    if (!io) {
        return ENOMEM;
    }
    snapshot_meta_state(&copy, io);
    const uint8_t *bytes = state_finish(io, &size);
    int error = bytes ? snapshot_writer_section(to, SNAPSHOT_META, bytes, size) : ENOMEM;
    state_free(io);
    return error;
}

static int rewrite_all(SnapshotSource *child, Rewrite *r, uint64_t pages, Err *err)
{
    SnapshotMeta meta = child->meta;
    const SnapshotMeta *gone = &child->base->meta;
    memcpy(meta.base, gone->base, sizeof(meta.base));
    memcpy(meta.base_id, gone->base_id, sizeof(meta.base_id));
    SnapshotSink sink = {rewrite_page, NULL, r};
    int error = 0;
    for (uint64_t page = 0; page < pages && !error; page++) {
        error = stays_lent(r, page) ? snapshot_writer_lend(r->writer, page) : 0;
    }
    if (error || !snapshot_reader_each(child->reader, 0, pages, snapshot_threads(), &sink, err)) {
        return error ? error : EIO;
    }
    uint64_t size;
    error = copy_section(child, r->writer, SNAPSHOT_THUMB, THUMB_LIMIT);
    error = error ? error : write_meta(&meta, r->writer);
    error = error ? error : copy_section(child, r->writer, SNAPSHOT_DEVICES, DEVICES_LIMIT);
    return error ? error : snapshot_writer_finish(r->writer, &size);
}

/* Written anew without its base. */
static bool rewrite(const SnapshotHost *host, SnapshotSource *child, Err *err)
{
    uint64_t pages = snapshot_reader_count(child->reader);
    if (!snapshot_source_map(child, pages, err)) {
        return false;
    }
    SnapshotPlace *place = snapshot_place_create(child->path, true, host->faults, err);
    Rewrite r = {.child = child->reader, .gone = child->base->reader};
    r.writer =
        place ? snapshot_writer_new(snapshot_place_io(place), pages, snapshot_threads()) : NULL;
    bool ok = r.writer || (place && err_set(err, "out of memory"));
    if (ok) {
        pthread_mutex_init(&r.lock, NULL);
        int error = rewrite_all(child, &r, pages, err);
        ok = !error || (!err->text[0] && err_set(err, "snapshot '%s' cannot be written anew: %s",
                                                 child->meta.name, strerror(error)));
        ok = !error && ok && snapshot_place_commit(place, err);
        pthread_mutex_destroy(&r.lock);
    }
    snapshot_writer_free(r.writer);
    snapshot_place_close(place);
    return ok;
}

static bool builds_on(const SnapshotSource *child, const SnapshotSource *gone)
{
    return strcmp(child->meta.base, base_name(gone->path)) == 0 &&
           memcmp(child->meta.base_id, gone->meta.id, sizeof(gone->meta.id)) == 0;
}

bool snapshot_free_of(const SnapshotHost *host, const char *path, Err *err)
{
    char folder[PATH_MAX], other[PATH_MAX];
    SnapshotSource gone, child;
    Err ignored = {""};
    bool ok = true;
    if (!snapshot_source_open_file(&gone, path, path, &ignored)) {
        return true; /* there is none, or it lends nothing that could be read */
    }
    snprintf(folder, sizeof(folder), "%.*s.", (int)(base_name(path) - path), path);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; ok && dir && (entry = readdir(dir)) != NULL;) {
        if (beside(path, entry->d_name, other, sizeof(other)) &&
            snapshot_source_open_file(&child, other, other, &ignored)) {
            ok = !builds_on(&child, &gone) || rewrite(host, &child, err);
            snapshot_source_close(&child);
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (host->line && memcmp(host->line->id, gone.meta.id, sizeof(gone.meta.id)) == 0) {
        snapshot_line_drop(host);
    }
    snapshot_source_close(&gone);
    return ok;
}
