/* Shared by the writer and the reader of snapshot files. */
#ifndef STORAGE_SNAPSHOT_INTERNAL_H
#define STORAGE_SNAPSHOT_INTERNAL_H

#include "storage/snapshot.h"

enum {
    SNAPSHOT_VERSION = 2,
    SNAPSHOT_ALONE = 1, /* the version of one without a base */
    TOC_ENTRY = 40,     /* bytes */
    FRAME_ENTRY = 12,
    FRAME_BYTES = SNAPSHOT_FRAME_PAGES * SNAPSHOT_PAGE,
};

#define SNAPSHOT_LENT UINT32_MAX /* in the page table: as in the base */

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

/* What one thread needs to unpack frames. */
typedef struct SnapshotUnpacker {
    struct ZSTD_DCtx_s *zstd;
    uint8_t *packed, *data;
    size_t size; /* bytes in data */
} SnapshotUnpacker;

bool snapshot_unpacker_open(SnapshotUnpacker *u); /* close it even when that failed */
void snapshot_unpacker_close(SnapshotUnpacker *u);

/* Of a reader after snapshot_reader_map; from any thread. */
uint32_t snapshot_reader_stored(const SnapshotReader *r, uint64_t page); /* number + 1; 0: zeros */
size_t snapshot_reader_frames(const SnapshotReader *r);
const char *snapshot_reader_name(const SnapshotReader *r);
/* Reads and checks one frame. */
bool snapshot_reader_unpack(SnapshotReader *r, size_t frame, SnapshotUnpacker *u, Err *err);
bool snapshot_reader_missing(const SnapshotReader *r, Err *err); /* false, and says so */

#endif
