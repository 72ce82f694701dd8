/* Where a snapshot's bytes lie: a file of its own, or the machine state area of a qcow2 image.
 *
 * A new one is thrown away when it is closed without having been committed.
 */
#ifndef STORAGE_SNAPSHOT_PLACE_H
#define STORAGE_SNAPSHOT_PLACE_H

#include "storage/block.h"
#include "storage/qcow2.h"
#include "storage/snapshot.h"

typedef struct SnapshotPlace SnapshotPlace;

/* A file under a temporary name beside `path`, whose name it takes on commit. `replace`: an old one
 * may be there. faults: tests. */
SnapshotPlace *snapshot_place_create(const char *path, bool replace, const DiskFaults *faults,
                                     Err *err);
SnapshotPlace *snapshot_place_open(const char *path, Err *err);
/* The state area of an open, writable qcow2 image (qcow2_is), for the next internal snapshot. */
SnapshotPlace *snapshot_place_image(Block *image, Err *err);
/* The state that internal snapshot `index` of the image keeps. */
SnapshotPlace *snapshot_place_image_open(Block *image, unsigned index, Err *err);

const SnapshotIo *snapshot_place_io(const SnapshotPlace *p);
uint64_t snapshot_place_size(const SnapshotPlace *p); /* of one that was opened, bytes */
/* File: on the disk, and under its name. Image: the caller has made the internal snapshot. */
bool snapshot_place_commit(SnapshotPlace *p, Err *err);
void snapshot_place_close(SnapshotPlace *p);

/* Internal snapshots of an image that serves its disk meanwhile; qcow2.h says what they do. Hold
 * the block queue (and wait for what runs) around those that change the disk. */
bool snapshot_image_is(const Block *image); /* a writable qcow2 image, not under an overlay */
int snapshot_image_find(Block *image, const char *name); /* -1: none */
unsigned snapshot_image_count(Block *image);
bool snapshot_image_info(Block *image, unsigned index, Qcow2Snapshot *info);
int snapshot_image_create(Block *image, const Qcow2Snapshot *info);
int snapshot_image_delete(Block *image, const char *name); /* the oldest of that name */
int snapshot_image_undo(Block *image, const char *name);   /* the newest */
int snapshot_image_apply(Block *image, const char *name);

#endif
