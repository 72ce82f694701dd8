/* New image files of the formats VDI, VHD, VMDK and IMD (raw is a file of its size; qcow2.h has its
 * own).
 *
 * A size is in bytes, whole sectors. The file must not exist yet; when a call fails, what it has
 * begun is removed, and err names the file and the remedy. Options may be NULL; zeros mean the
 * format's own choice.
 */
#ifndef STORAGE_BLOCK_CREATE_H
#define STORAGE_BLOCK_CREATE_H

#include "storage/block.h"

typedef struct VdiOptions {
    bool fixed;           /* all blocks have their place from the start */
    uint32_t block_bytes; /* a power of two from 4096 to 64 MiB; 0: 1 MiB, all that others read */
} VdiOptions;
bool vdi_create(const char *path, uint64_t size, const VdiOptions *options, Err *err);

typedef struct VhdOptions {
    bool fixed;
    bool by_geometry;     /* the size is rounded up to what cylinders, heads and sectors can say, as
                           * Virtual PC needs it */
    uint32_t block_bytes; /* a power of two from 4096 to 256 MiB; 0: 2 MiB */
    const char *backing;  /* differencing: the parent, a VHD, as it will stand in the image */
} VhdOptions;
bool vhd_create(const char *path, uint64_t size, const VhdOptions *options, Err *err);

typedef enum VmdkKind {
    VMDK_MONOLITHIC_SPARSE,
    VMDK_MONOLITHIC_FLAT,
    VMDK_SPLIT_SPARSE, /* in pieces below 2 GiB */
    VMDK_SPLIT_FLAT,
    VMDK_STREAM, /* compressed; written once, in order, with block_write_packed */
} VmdkKind;

typedef struct VmdkOptions {
    VmdkKind kind;
    bool zero_grains;     /* grains that are known to be zeros take no room */
    unsigned hardware;    /* virtual hardware version; 0: 4 */
    const char *adapter;  /* "ide" (NULL), "buslogic", "lsilogic", "legacyESX" */
    uint32_t grain_bytes; /* a power of two from 4096 to 1 MiB; 0: 65536 */
    const char *backing;  /* a VMDK, as it will stand in the image; VMDK_*_SPARSE only */
    const char *name;     /* what a file of its own will be called in the end; NULL: as now */
} VmdkOptions;
/* Kinds of several files put those beside the first, under its name with an ending. */
bool vmdk_create(const char *path, uint64_t size, const VmdkOptions *options, Err *err);
/* "monolithicSparse" ...; false: none of them. */
bool vmdk_kind_of(const char *name, VmdkKind *kind);
/* Removes the files that such an image consists of. */
void vmdk_remove(const char *path, uint64_t size, VmdkKind kind);

/* Cylinders, heads and sectors for a disk, by the rule in the VHD specification's appendix. */
void block_geometry(uint64_t size, unsigned *cylinders, unsigned *heads, unsigned *sectors);

#endif
