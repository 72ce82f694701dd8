/* Where a snapshot's bytes lie: a file of its own, or the machine state area of a qcow2 image. */
#include "storage/snapshot_place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/qcow2_internal.h"

/* Written bytes after which the host is asked to begin with its disk, so that the sync at the end
 * finds little left. */
#define SEND_BYTES (UINT64_C(32) << 20)

struct SnapshotPlace {
    SnapshotIo io;
    _Atomic uint64_t unsent; /* bytes; several threads write */
    uint64_t size;
    bool fresh, replace;
    /* a file */
    DiskFile file;
    char *path, *temporary;
    /* an image */
    Block *image;
    uint64_t *l1; /* the internal snapshot's; NULL: the running image's */
    uint32_t l1_size;
};

static void send_some(SnapshotPlace *p, DiskFile *file, size_t length)
{
    if (atomic_fetch_add(&p->unsent, length) + length >= SEND_BYTES) {
        atomic_store(&p->unsent, 0);
        disk_file_send(file);
    }
}

static int file_read_at(void *self, uint64_t offset, void *data, size_t length)
{
    return disk_file_read(&((SnapshotPlace *)self)->file, offset, data, length);
}

static int file_write_at(void *self, uint64_t offset, const void *data, size_t length)
{
    SnapshotPlace *p = self;
    int error = disk_file_write(&p->file, offset, data, length);
    send_some(p, &p->file, length);
    return error;
}

/* The image serves its disk at the same time. */
static int image_read_at(void *self, uint64_t offset, void *data, size_t length)
{
    SnapshotPlace *p = self;
    Qcow2 *q = p->image->data;
    pthread_mutex_lock(&p->image->lock);
    uint64_t *running = q->l1;
    uint32_t running_size = q->l1_size;
    if (p->l1) {
        q->l1 = p->l1;
        q->l1_size = p->l1_size;
    }
    int error = qcow2_vm_state_read(p->image, offset, data, length);
    q->l1 = running;
    q->l1_size = running_size;
    pthread_mutex_unlock(&p->image->lock);
    return error;
}

static int image_write_at(void *self, uint64_t offset, const void *data, size_t length)
{
    SnapshotPlace *p = self;
    pthread_mutex_lock(&p->image->lock);
    int error = qcow2_vm_state_write(p->image, offset, data, length);
    pthread_mutex_unlock(&p->image->lock);
    send_some(p, &p->image->file, length);
    return error;
}

static SnapshotPlace *place_new(const char *path, Err *err)
{
    SnapshotPlace *p = calloc(1, sizeof(*p));
    if (!p || !(p->path = strdup(path))) {
        err_set(err, "out of memory");
        free(p);
        return NULL;
    }
    p->file.fd = -1;
    return p;
}

SnapshotPlace *snapshot_place_create(const char *path, bool replace, const DiskFaults *faults,
                                     Err *err)
{
    char temporary[PATH_MAX];
    if (!replace && access(path, F_OK) == 0) {
        err_set(err, "'%s' is there already; give the snapshot another name or delete it first",
                path);
        return NULL;
    }
    SnapshotPlace *p = place_new(path, err);
    if (!p) {
        return NULL;
    }
    snprintf(temporary, sizeof(temporary), "%s.%ld.tmp", path, (long)getpid());
    p->io = (SnapshotIo){file_read_at, file_write_at, p};
    p->fresh = true;
    p->replace = replace;
    DiskFileOptions options = {.write = true, .faults = faults};
    unlink(temporary); /* of a process of this number that was killed */
    if (!disk_file_create(&p->file, temporary, &options, err)) {
        unlink(temporary);
        snapshot_place_close(p);
        return NULL;
    }
    p->temporary = strdup(temporary);
    if (!p->temporary) {
        unlink(temporary);
        err_set(err, "out of memory");
        snapshot_place_close(p);
        return NULL;
    }
    return p;
}

SnapshotPlace *snapshot_place_open(const char *path, Err *err)
{
    SnapshotPlace *p = place_new(path, err);
    if (!p) {
        return NULL;
    }
    p->io = (SnapshotIo){file_read_at, NULL, p};
    DiskFileOptions options = {.write = false};
    int error =
        disk_file_open(&p->file, path, &options, err) ? disk_file_size(&p->file, &p->size) : 0;
    if (error) {
        err_set(err, "'%s': its size cannot be found: %s", path, strerror(error));
    }
    if (error || p->file.fd < 0) {
        snapshot_place_close(p);
        return NULL;
    }
    return p;
}

SnapshotPlace *snapshot_place_image(Block *image, Err *err)
{
    SnapshotPlace *p = place_new(block_path(image), err);
    if (p) {
        p->io = (SnapshotIo){image_read_at, image_write_at, p};
        p->image = image;
        p->fresh = true;
    }
    return p;
}

SnapshotPlace *snapshot_place_image_open(Block *image, unsigned index, Err *err)
{
    Qcow2 *q = image->data;
    SnapshotPlace *p = place_new(block_path(image), err);
    if (!p) {
        return NULL;
    }
    p->io = (SnapshotIo){image_read_at, NULL, p};
    p->image = image;
    pthread_mutex_lock(&image->lock);
    int error = EINVAL;
    if (index < q->snapshots) {
        const Qcow2SnapshotEntry *s = &q->snapshot[index];
        p->size = s->info.vm_state_size;
        p->l1_size = s->l1_size;
        error = qcow2_read_l1(image, s->l1_offset, s->l1_size, &p->l1);
    }
    pthread_mutex_unlock(&image->lock);
    if (error) {
        err_set(err, "'%s': its snapshot cannot be read: %s", p->path, strerror(error));
        snapshot_place_close(p);
        return NULL;
    }
    return p;
}

const SnapshotIo *snapshot_place_io(const SnapshotPlace *p)
{
    return &p->io;
}

uint64_t snapshot_place_size(const SnapshotPlace *p)
{
    return p->size;
}

/* The folder, too, must be on the disk, or the new name may be lost. */
static int sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path + 1) : 1,
             slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 || fsync(fd) < 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return error == EINVAL ? 0 : error; /* a file system that cannot sync folders */
}

bool snapshot_place_commit(SnapshotPlace *p, Err *err)
{
    if (p->image) {
        p->fresh = false;
        return true;
    }
    int error = disk_file_sync(&p->file);
    if (!error && !p->replace && access(p->path, F_OK) == 0) {
        error = EEXIST;
    }
    if (!error && rename(p->temporary, p->path) < 0) {
        error = errno;
    }
    if (error) {
        return err_set(err, "snapshot '%s' cannot be written: %s", p->path, strerror(error));
    }
    p->fresh = false;
    error = sync_folder(p->path);
    return !error || err_set(err, "snapshot '%s': its folder cannot be written: %s", p->path,
                             strerror(error));
}

void snapshot_place_close(SnapshotPlace *p)
{
    if (!p) {
        return;
    }
    if (p->image && p->fresh) {
        pthread_mutex_lock(&p->image->lock);
        qcow2_vm_state_drop(p->image); /* a failure leaves room that the next snapshot uses */
        pthread_mutex_unlock(&p->image->lock);
    }
    disk_file_close(&p->file);
    if (p->fresh && p->temporary) {
        unlink(p->temporary);
    }
    free(p->l1);
    free(p->temporary);
    free(p->path);
    free(p);
}

/* ---- internal snapshots ---- */

bool snapshot_image_is(const Block *image)
{
    return image->format == &block_qcow2 && !image->read_only;
}

/* By name alone: an id would make "1" ambiguous. */
static int find_named(const Block *image, const char *name)
{
    Qcow2Snapshot info;
    for (unsigned i = 0; i < qcow2_snapshot_count(image); i++) {
        qcow2_snapshot_info(image, i, &info);
        if (strcmp(info.name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

int snapshot_image_find(Block *image, const char *name)
{
    pthread_mutex_lock(&image->lock);
    int index = find_named(image, name);
    pthread_mutex_unlock(&image->lock);
    return index;
}

unsigned snapshot_image_count(Block *image)
{
    pthread_mutex_lock(&image->lock);
    unsigned count = qcow2_snapshot_count(image);
    pthread_mutex_unlock(&image->lock);
    return count;
}

bool snapshot_image_info(Block *image, unsigned index, Qcow2Snapshot *info)
{
    pthread_mutex_lock(&image->lock);
    bool there = index < qcow2_snapshot_count(image);
    if (there) {
        qcow2_snapshot_info(image, index, info);
    }
    pthread_mutex_unlock(&image->lock);
    return there;
}

int snapshot_image_create(Block *image, const Qcow2Snapshot *info)
{
    pthread_mutex_lock(&image->lock);
    int error = qcow2_snapshot_create(image, info);
    pthread_mutex_unlock(&image->lock);
    return error;
}

static int with_named(Block *image, const char *name, int (*act)(Block *image, unsigned index))
{
    pthread_mutex_lock(&image->lock);
    int index = find_named(image, name);
    int error = index < 0 ? ENOENT : act(image, (unsigned)index);
    pthread_mutex_unlock(&image->lock);
    return error;
}

int snapshot_image_delete(Block *image, const char *name)
{
    return with_named(image, name, qcow2_snapshot_delete);
}

int snapshot_image_undo(Block *image, const char *name)
{
    Qcow2Snapshot info;
    int error = ENOENT;
    pthread_mutex_lock(&image->lock);
    for (unsigned i = qcow2_snapshot_count(image); i-- > 0 && error == ENOENT;) {
        qcow2_snapshot_info(image, i, &info);
        error = strcmp(info.name, name) == 0 ? qcow2_snapshot_delete(image, i) : ENOENT;
    }
    pthread_mutex_unlock(&image->lock);
    return error;
}

int snapshot_image_apply(Block *image, const char *name)
{
    return with_named(image, name, qcow2_snapshot_apply);
}
