/* qcow2 images, versions 2 and 3: making, checking and repairing them, and their internal
 * snapshots.
 *
 * Reading and writing goes through block.h as for every format. These calls take a Block whose
 * block_format_name is "qcow2" and that is no overlay; the machine must be quiet meanwhile. They
 * return 0 or an errno value, or report through Err. Format: "Qcow2 image file format" of the QEMU
 * project's documentation.
 */
#ifndef STORAGE_QCOW2_H
#define STORAGE_QCOW2_H

#include "storage/block.h"

typedef struct Qcow2Options {
    unsigned version;       /* 2 or 3; 0: 3 */
    unsigned cluster_bits;  /* 9..21; 0: 16 */
    unsigned refcount_bits; /* 1, 2, 4 ... 64; 0: 16 */
    bool lazy_refcounts;
    bool zstd;           /* clusters that others compress; needs version 3 */
    const char *backing; /* path as it will stand in the image, relative to its folder; or NULL */
    const char *backing_format; /* "raw", "qcow2" ...; NULL: none is noted */
} Qcow2Options;

/* A new file, which must not exist. options may be NULL. */
bool qcow2_create(const char *path, uint64_t size, const Qcow2Options *options, Err *err);

bool qcow2_is(const Block *b);

typedef struct Qcow2Info {
    Qcow2Options options; /* backing and backing_format point into this struct */
    bool dirty, corrupt;
    char backing[1024], backing_format[32]; /* as they stand in the image; empty: none */
} Qcow2Info;
int qcow2_describe(Block *b, Qcow2Info *info);
/* Writes another backing file's name into the image, or none for NULL. Only the name: what the
 * clusters hold is not touched, and the Block has to be closed then. ENAMETOOLONG. */
int qcow2_set_backing(Block *b, const char *backing, const char *format);

/* What is to become of an image's options. */
typedef struct Qcow2Amendment {
    unsigned version;       /* 2 or 3; 0: as it is */
    unsigned refcount_bits; /* 1, 2, 4 ... 64; 0: as it is */
    bool set_lazy_refcounts, lazy_refcounts;
} Qcow2Amendment;
/* Changes them in the image; what the guest sees and the snapshots stay. Opened for_repair and
 * no_backing, and closed then. An image that is damaged or was not closed properly is refused, and
 * so is what does not go together, before anything is written. Cut off at any point it leaves an
 * image with the old options or with the new ones. Version 2 knows no clusters of zeros: those take
 * room where there is a backing file. */
bool qcow2_amend(Block *b, const Qcow2Amendment *what, Err *err);

typedef struct Qcow2Check {
    uint64_t
        corruptions; /* references to clusters that are counted too low, or lie outside the file */
    uint64_t leaks;  /* clusters counted too high: lost room */
    uint64_t fixed;
    uint64_t allocated; /* clusters of guest data */
} Qcow2Check;
/* Compares reference counts with references; repair writes what is right. */
int qcow2_check(Block *b, bool repair, Qcow2Check *result);

typedef struct Qcow2Snapshot {
    char id[32];
    char name[256];
    uint32_t date_s, date_ns; /* host time of making */
    uint64_t vm_clock_ns;     /* guest time */
    uint64_t vm_state_size;   /* bytes; 0: disk only */
    uint64_t disk_size;
} Qcow2Snapshot;

unsigned qcow2_snapshot_count(const Block *b);
/* index below the count. */
void qcow2_snapshot_info(const Block *b, unsigned index, Qcow2Snapshot *info);
/* By name or id; -1: none. */
int qcow2_snapshot_find(const Block *b, const char *name);
/* Keeps the disk as it is now, with the machine state that qcow2_vm_state_write has put there. The
 * id in `info` is chosen when empty. */
int qcow2_snapshot_create(Block *b, const Qcow2Snapshot *info);
int qcow2_snapshot_delete(Block *b, unsigned index);
/* The disk becomes as it was. */
int qcow2_snapshot_apply(Block *b, unsigned index);

/* A read-only image shows its disk as the snapshot keeps it from now on. */
int qcow2_snapshot_view(Block *b, unsigned index);
/* Gives every cluster of a new image without a backing file its place. */
int qcow2_preallocate(Block *b);

/* The machine state area behind the disk: bytes from its start, any offset and length. */
int qcow2_vm_state_write(Block *b, uint64_t offset, const void *data, size_t length);
int qcow2_vm_state_read(Block *b, uint64_t offset, void *data, size_t length);
/* Gives back what was written there and no snapshot keeps. */
int qcow2_vm_state_drop(Block *b);
/* A new disk size, a multiple of 512; growing reads as zeros. Refused (EBUSY) while there are
 * snapshots. */
int qcow2_resize(Block *b, uint64_t size);

#endif
