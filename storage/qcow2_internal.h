/* Shared by the files of the qcow2 format.
 */
#ifndef STORAGE_QCOW2_INTERNAL_H
#define STORAGE_QCOW2_INTERNAL_H

#include "machine/core/bytes.h"
#include "storage/block_format.h"
#include "storage/qcow2.h"

#define QCOW2_COPIED                                                                               \
    (UINT64_C(1) << 63) /* L1, L2: the cluster's reference count is exactly one                    \
                         */
#define QCOW2_COMPRESSED (UINT64_C(1) << 62) /* L2 */
#define QCOW2_ZERO UINT64_C(1)               /* L2, version 3: reads as zeros */
#define QCOW2_OFFSET UINT64_C(0x00fffffffffffe00)

enum {
    QCOW2_DIRTY = 1,   /* incompatible features: counts may be wrong */
    QCOW2_CORRUPT = 2, /* do not write */
    QCOW2_EXTERNAL_DATA = 4,
    QCOW2_COMPRESSION = 8,
    QCOW2_EXTENDED_L2 = 16,
    QCOW2_BITMAPS = 1, /* autoclear features: the bitmaps fit the data */
    QCOW2_HEADER_V2 = 72,
    QCOW2_HEADER_V3 = 104,
    QCOW2_MAX_L1_BYTES = 32 << 20, /* QEMU's limits, too */
    QCOW2_MAX_TABLE_BYTES = 8 << 20,
    QCOW2_MAX_SNAPSHOTS = 65536,
    QCOW2_MAX_SNAPSHOT_BYTES = 16 << 20,
};

/* A cluster of metadata in memory, as it stands in the file. */
typedef struct Qcow2Table {
    uint64_t offset; /* 0: free */
    uint8_t *data;
    bool dirty;
    uint64_t used; /* grows with each use */
} Qcow2Table;

typedef struct Qcow2Cache {
    Qcow2Table *table;
    unsigned count;
} Qcow2Cache;

typedef struct Qcow2SnapshotEntry {
    Qcow2Snapshot info;
    uint64_t l1_offset;
    uint32_t l1_size;
} Qcow2SnapshotEntry;

/* Host clusters that hold metadata: guest data never goes there, whatever a damaged table says. */
typedef struct ClusterSet {
    uint64_t *slot; /* cluster number + 1; 0: empty */
    size_t slots, used;
} ClusterSet;

typedef struct Qcow2 {
    unsigned version, cluster_bits, l2_bits, refcount_order;
    uint64_t cluster_size, incompatible, compatible, autoclear;
    bool zstd;
    uint64_t *l1; /* in the host's byte order */
    uint64_t l1_offset;
    uint32_t l1_size;
    uint32_t l1_dirty_from, l1_dirty_to; /* entries; equal: none */
    uint64_t *counts;                    /* refcount table, in the host's byte order */
    uint64_t counts_offset;
    uint32_t counts_size; /* entries */
    bool counts_dirty;
    bool counts_moved;   /* the header does not name the present table yet */
    bool moving;         /* the moved table is being counted */
    uint64_t old_counts; /* then: the old one, */
    uint32_t old_counts_clusters;
    Qcow2Cache l2, blocks;
    uint64_t clock;       /* for Qcow2Table.used */
    uint64_t free_hint;   /* no free cluster below this number */
    unsigned lost_blocks; /* opened for repair: blocks of counts that cannot be where they are said
                             to be */
    uint64_t *freed;      /* clusters whose last use the tables on the disk may still show */
    size_t freed_count, freed_room;
    bool punching; /* what is released now will be given back to the host */
    bool lowering; /* the counts of these are being lowered */
    ClusterSet metadata;
    uint8_t *cluster;        /* scratch: one cluster */
    uint8_t *unpacked;       /* the last compressed cluster that was read */
    uint64_t unpacked_entry; /* its L2 entry; 0: none */
    uint8_t *packed;
    uint64_t pack_at; /* behind the last compressed cluster that was written; 0: none */
    Qcow2SnapshotEntry *snapshot;
    unsigned snapshots;
    uint64_t snapshots_offset, snapshots_size; /* bytes */
} Qcow2;

/* qcow2_meta.c: caches, reference counts, allocation, ordered write-back */
int qcow2_table_load(Block *b, Qcow2Cache *cache, uint64_t offset, bool fresh, Qcow2Table **out);
void qcow2_table_drop(Qcow2Cache *cache, uint64_t offset);
int qcow2_count(Block *b, uint64_t cluster, uint64_t *count);
int qcow2_set_count(Block *b, uint64_t cluster, uint64_t count);
/* Number `index` of a block of counts that are 1 << order bits wide. */
void qcow2_put_count(unsigned order, uint8_t *block, uint64_t index, uint64_t count);
/* One or more neighbouring clusters with a count of one; the offset of the first. */
int qcow2_allocate(Block *b, uint64_t clusters, uint64_t *offset);
/* Takes one reference from a cluster, once no table on the disk shows it any more. */
int qcow2_release(Block *b, uint64_t offset);
/* Takes the allocation back: nothing has referred to it yet. */
void qcow2_unallocate(Block *b, uint64_t offset, uint64_t clusters);
/* Everything dirty, in an order that leaves the image consistent wherever it is cut off. */
int qcow2_write_back(Block *b);
int qcow2_write_header(Block *b);
void qcow2_l1_changed(Qcow2 *q, uint32_t index);
bool qcow2_set_has(const ClusterSet *set, uint64_t cluster);
int qcow2_set_add(ClusterSet *set, uint64_t cluster);
void qcow2_set_remove(ClusterSet *set, uint64_t cluster);
/* Highest cluster number of the file plus one. */
int qcow2_file_clusters(Block *b, uint64_t *clusters);
/* How many L2 tables a walk through an L1 may meet: those of a sound one are all different. */
int qcow2_most_tables(Block *b, uint64_t *tables);

/* qcow2.c */
/* The L2 table for a disk offset, made or copied where need be, so that it may be changed. */
int qcow2_own_l2(Block *b, uint64_t offset, Qcow2Table **table);
uint64_t qcow2_l2_entry(const Qcow2 *q, const Qcow2Table *table, uint64_t offset);
void qcow2_set_entry(Qcow2 *q, Qcow2Table *table, uint64_t offset, uint64_t entry);
/* Gives up what an entry refers to. */
int qcow2_release_entry(Block *b, uint64_t entry);
int qcow2_grow_l1(Block *b, uint64_t entries);
/* Offset and host clusters of a compressed cluster's L2 entry. */
void qcow2_packed_place(const Qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *length);
int qcow2_read_any(Block *b, uint64_t offset, uint8_t *data, uint64_t length);
int qcow2_write_any(Block *b, uint64_t offset, const uint8_t *data, uint64_t length);

/* qcow2_header.c */
typedef struct Qcow2Renewal {
    unsigned version, refcount_order; /* 2 or 3; 0..6 */
    bool lazy_refcounts;
    uint64_t counts_offset; /* bytes */
    uint32_t counts_clusters;
} Qcow2Renewal;
/* One header in the place of another by one write of one sector; `rehearse`: nothing is written.
 * ENAMETOOLONG: it has no room for that. The Block has to be closed then. */
int qcow2_renew_header(Block *b, const Qcow2Renewal *to, bool rehearse);
/* Where the directory of bitmaps is that other programs keep beside the data; *count 0: none. */
int qcow2_find_bitmaps(Block *b, uint64_t *offset, uint64_t *bytes, uint32_t *count);

/* qcow2_pack.c */
uint32_t qcow2_pack_bytes(const Block *b);
int qcow2_write_packed(Block *b, uint64_t offset, const void *data, size_t length);

/* qcow2_snapshot.c */
bool qcow2_load_snapshots(Block *b, uint64_t offset, uint32_t count, Err *err);
/* Writes their list anew, in the form that version 3 demands. */
int qcow2_renew_snapshots(Block *b);
/* Everything is on the disk, and no count waits to be lowered. */
int qcow2_settle(Block *b);

/* An L1 table of a snapshot, in the host's byte order; the caller frees it. */
int qcow2_read_l1(Block *b, uint64_t offset, uint32_t size, uint64_t **l1);

#endif
