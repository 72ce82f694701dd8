/* Shared by the writer and the reader of snapshot files. */
#ifndef STORAGE_SNAPSHOT_INTERNAL_H
#define STORAGE_SNAPSHOT_INTERNAL_H

#include "storage/snapshot.h"

enum {
    SNAPSHOT_VERSION = 1,
    TOC_ENTRY = 40, /* bytes */
    FRAME_ENTRY = 12,
    FRAME_BYTES = SNAPSHOT_FRAME_PAGES * SNAPSHOT_PAGE,
};

static const char snapshot_magic[8] = {'V', 'I', 'T', 'S', 'N', 'A', 'P', '1'};

static inline void snapshot_put32(uint8_t *p, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        p[i] = (uint8_t)(value >> (8 * i));
    }
}

static inline void snapshot_put64(uint8_t *p, uint64_t value)
{
    snapshot_put32(p, (uint32_t)value);
    snapshot_put32(p + 4, (uint32_t)(value >> 32));
}

static inline uint32_t snapshot_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t snapshot_le64(const uint8_t *p)
{
    return snapshot_le32(p) | (uint64_t)snapshot_le32(p + 4) << 32;
}

#endif
