/* Disk images: opening by content, and synchronous reads, writes, flushes and discards.
 *
 * A Block is one opened image of any format, or a throw-away overlay above one. Calls that move
 * data return 0 or an errno value; offsets and lengths are whole sectors of 512 bytes inside the
 * image. They may come from several threads at once (a format that cannot do that is locked here).
 * A machine's devices never call these: they hand jobs to block_queue.h.
 */
#ifndef STORAGE_BLOCK_H
#define STORAGE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/core/err.h"
#include "machine/host/disk_file.h"

#define BLOCK_SECTOR 512u

typedef struct Block Block;

typedef struct BlockOptions {
    const char *format;       /* "raw", "qcow2" ...; NULL: recognised by content */
    bool read_only;           /* never written, and writes fail */
    bool or_read_only;        /* a write-protected file is opened read-only (floppies) */
    bool snapshot;            /* writes go to a temporary file that vanishes with the Block */
    bool no_lock;             /* for views of an image that is open elsewhere */
    bool any_backing;         /* backing files outside the image's folder are allowed */
    bool no_backing;          /* qcow2: the image alone; what lies under it is not opened */
    bool packed;              /* the new image is filled with block_write_packed alone */
    bool for_repair;          /* damage that check can mend is no reason to refuse */
    unsigned depth;           /* how many images lie above this one as its backing file */
    const DiskFaults *faults; /* tests */
} BlockOptions;

/* Opens an image, or a folder as a FAT disk: "fat:FOLDER", "fat:floppy:FOLDER" (QEMU's name for it;
 * what is written there is thrown away). NULL, with the file and the remedy named, when it is
 * missing, unreadable, empty, no whole number of sectors, locked by another program, a folder, or
 * damaged. options may be NULL. */
Block *block_open(const char *path, const BlockOptions *options, Err *err);
/* Flushes and closes. */
void block_close(Block *b);

uint64_t block_size(const Block *b); /* bytes, a multiple of 512 */
bool block_read_only(const Block *b);
bool block_is_snapshot(const Block *b);        /* writes are thrown away at the end */
const char *block_path(const Block *b);        /* the image's, not the overlay's */
const char *block_format_name(const Block *b); /* the image's */

int block_read(Block *b, uint64_t offset, void *data, size_t length);
int block_write(Block *b, uint64_t offset, const void *data, size_t length);
/* What block_write_packed takes at a time, in bytes; 0: the format does not compress. */
uint32_t block_pack_bytes(const Block *b);
/* One such unit (the disk's last may be shorter), compressed where that saves room. ENOTSUP. */
int block_write_packed(Block *b, uint64_t offset, const void *data, size_t length);
/* All that was written before is on the host's disk. */
int block_flush(Block *b);
/* The range reads as zeros (raw, overlay) or as before (a format without discard). */
int block_discard(Block *b, uint64_t offset, uint64_t length);

/* A new size in bytes, whole sectors; what is new reads as zeros. ENOTSUP where the format cannot.
 */
int block_resize(Block *b, uint64_t size);
/* Writes what a throw-away overlay holds into its image, which is opened anew for that, and empties
 * it. Nobody may use the Block meanwhile. False with the reason when the image cannot be written,
 * or is in use elsewhere; the overlay keeps all it holds then. */
bool block_commit(Block *b, Err *err);
/* The image under this one, or NULL. */
Block *block_backing(const Block *b);

/* What an image says of itself, for people. Texts are the Block's own. */
typedef struct BlockAbout {
    const char *kind;    /* "dynamic", "monolithicSparse" ...; NULL: there is one kind only */
    const char *backing; /* the name of the file under it, as it stands in the image; NULL: none */
    uint32_t cluster;    /* bytes that are given out at a time; 0: none are */
} BlockAbout;
void block_about(const Block *b, BlockAbout *about);

typedef struct BlockCheck {
    uint64_t corruptions; /* places outside the file, or used twice */
    uint64_t allocated;   /* clusters with data */
    uint64_t total;
} BlockCheck;
/* Examines the tables of an image (qcow2 has qcow2_check). ENOTSUP: the format has none. */
int block_check(Block *b, BlockCheck *check);

/* What a stretch of the disk is made of. */
typedef struct BlockExtent {
    uint64_t length;  /* bytes from the offset asked for */
    bool data;        /* false: reads as zeros and takes no room */
    bool absent;      /* neither the image nor one under it says anything of this stretch */
    bool packed;      /* compressed */
    unsigned depth;   /* images under this one until the one that says so; 0: this one */
    const char *file; /* where it lies as it is read; NULL: nowhere. The Block's own */
    uint64_t place;   /* the byte of that file */
} BlockExtent;
int block_map(Block *b, uint64_t offset, BlockExtent *extent);

#endif
