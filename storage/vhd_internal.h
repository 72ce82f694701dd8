/* Shared by the files of the VHD format.
 */
#ifndef STORAGE_VHD_INTERNAL_H
#define STORAGE_VHD_INTERNAL_H

#include "machine/core/bytes.h"
#include "storage/block_format.h"

enum {
    VHD_FOOTER = 512,
    VHD_HEADER = 1024, /* of dynamic and differencing images */
    VHD_TYPE_FIXED = 2,
    VHD_TYPE_DYNAMIC = 3,
    VHD_TYPE_DIFFERENCING = 4,
    VHD_MAX_BLOCKS = 1 << 24,
    VHD_MAX_BLOCK_BYTES = 256 << 20,
    VHD_MAX_DEPTH = 32,
};

#define VHD_UNUSED UINT32_MAX

typedef struct Vhd {
    unsigned type;
    uint8_t footer[VHD_FOOTER];
    uint64_t footer_at; /* where it stands now: behind the last block */
    uint64_t table_at;
    uint32_t *table; /* first sector of each block */
    uint32_t blocks, block_bytes, bitmap_bytes;
    uint8_t *bitmap; /* of the block in `bitmap_of`; VHD_UNUSED: none */
    uint32_t bitmap_of;
    char parent[1024]; /* its name as it stands in the image; empty: none */
} Vhd;

/* Ones' complement of the sum of all bytes but the checksum's own four. */
uint32_t vhd_checksum(const uint8_t *p, size_t size, size_t at);

#endif
