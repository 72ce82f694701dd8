/* Disk image files of the host: whole reads and writes at an offset, holes, locks, temporary files.
 *
 * Calls that move data return 0 or an errno value, and may come from several threads at once.
 * Opening reports through Err, naming the file and the remedy.
 */
#ifndef MACHINE_HOST_DISK_FILE_H
#define MACHINE_HOST_DISK_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/core/err.h"

/* Fault injection for tests: asked before each call to the host; an errno value makes it fail. */
typedef struct DiskFaults {
    int (*check)(void *self, const char *call);
    void *self;
} DiskFaults;

typedef struct DiskFileOptions {
    bool write;
    bool or_read_only; /* a file that cannot be opened for writing is opened for reading */
    bool lock;         /* take the locks that keep other programs from writing (and, for a writer,
                        * from reading) it meanwhile */
    const DiskFaults *faults; /* NULL: none; must outlive the file */
} DiskFileOptions;

typedef struct DiskFile {
    int fd; /* -1: closed */
    bool writable;
    bool device; /* a block device of the host: its size is fixed */
    const DiskFaults *faults;
} DiskFile;

/* Regular files and block devices only. */
bool disk_file_open(DiskFile *f, const char *path, const DiskFileOptions *options, Err *err);
/* A new file that must not exist yet. */
bool disk_file_create(DiskFile *f, const char *path, const DiskFileOptions *options, Err *err);
/* A nameless file in $TMPDIR or /var/tmp that vanishes when it is closed. */
bool disk_file_open_temporary(DiskFile *f, const DiskFaults *faults, Err *err);
void disk_file_close(DiskFile *f);

int disk_file_size(const DiskFile *f, uint64_t *size);
/* Reads all of it; EIO when the file ends before. */
int disk_file_read(const DiskFile *f, uint64_t offset, void *data, size_t length);
int disk_file_write(const DiskFile *f, uint64_t offset, const void *data, size_t length);
/* What was written begins to go to the disk; nothing is promised. */
void disk_file_send(const DiskFile *f);
/* Data and whatever is needed to find it again are on the disk. */
int disk_file_sync(const DiskFile *f);
int disk_file_resize(const DiskFile *f, uint64_t size);
/* The range reads as zeros afterwards; its blocks are given back where the host can. */
int disk_file_punch(const DiskFile *f, uint64_t offset, uint64_t length);
/* The blocks of the range are given back to the host; what is read there then is zeros or as
 * before. ENOTSUP where the host cannot. */
int disk_file_give_back(const DiskFile *f, uint64_t offset, uint64_t length);
/* The host keeps room for the whole range; contents stay. ENOTSUP where it cannot. */
int disk_file_reserve(const DiskFile *f, uint64_t offset, uint64_t length);
/* Is there data at `offset`, and how many bytes on does that hold? Where the host cannot tell, all
 * is data. */
int disk_file_extent(const DiskFile *f, uint64_t offset, bool *data, uint64_t *length);

#endif
