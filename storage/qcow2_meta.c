/* qcow2: metadata in memory, reference counts, cluster allocation, and the order of writing back.
 *
 * Three rules keep an image consistent wherever writing stops. A cluster's count is on the disk
 * before a table shows the cluster. A table is on the disk before the L1 shows it. No table on the
 * disk shows a cluster any more before its count is lowered; until then it is kept in `freed` and
 * not given out again. What a crash can leave is a count that is too high: lost room, no lost data.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"
#include "storage/qcow2_internal.h"

LOG_TAG("qcow2");

#define FREED_PUNCH (UINT64_C(1) << 63) /* in `freed`: the host gets the cluster back */

bool qcow2_set_has(const ClusterSet *set, uint64_t cluster)
{
    if (set->slots == 0) {
        return false;
    }
    size_t at = (size_t)(cluster * 0x9e3779b97f4a7c15u) & (set->slots - 1);
    while (set->slot[at] && set->slot[at] != cluster + 1) {
        at = (at + 1) & (set->slots - 1);
    }
    return set->slot[at] != 0;
}

static void set_insert(ClusterSet *set, uint64_t cluster)
{
    size_t at = (size_t)(cluster * 0x9e3779b97f4a7c15u) & (set->slots - 1);
    while (set->slot[at] && set->slot[at] != cluster + 1) {
        at = (at + 1) & (set->slots - 1);
    }
    set->used += set->slot[at] == 0;
    set->slot[at] = cluster + 1;
}

int qcow2_set_add(ClusterSet *set, uint64_t cluster)
{
    if ((set->used + 1) * 2 > set->slots) {
        ClusterSet larger = {.slots = set->slots ? set->slots * 2 : 256};
        larger.slot = calloc(larger.slots, sizeof(*larger.slot));
        if (!larger.slot) {
            return ENOMEM;
        }
        for (size_t i = 0; i < set->slots; i++) {
            if (set->slot[i]) {
                set_insert(&larger, set->slot[i] - 1);
            }
        }
        free(set->slot);
        *set = larger;
    }
    set_insert(set, cluster);
    return 0;
}

void qcow2_set_remove(ClusterSet *set, uint64_t cluster)
{
    if (!qcow2_set_has(set, cluster)) {
        return;
    }
    size_t at = (size_t)(cluster * 0x9e3779b97f4a7c15u) & (set->slots - 1);
    while (set->slot[at] != cluster + 1) {
        at = (at + 1) & (set->slots - 1);
    }
    set->slot[at] = 0;
    set->used--;
    /* those behind it in the chain move up */
    for (at = (at + 1) & (set->slots - 1); set->slot[at]; at = (at + 1) & (set->slots - 1)) {
        uint64_t moved = set->slot[at] - 1;
        set->slot[at] = 0;
        set->used--;
        set_insert(set, moved);
    }
}

int qcow2_file_clusters(Block *b, uint64_t *clusters)
{
    const Qcow2 *q = b->data;
    uint64_t size;
    int error = disk_file_size(&b->file, &size);
    *clusters = error ? 0 : (size + q->cluster_size - 1) >> q->cluster_bits;
    return error;
}

int qcow2_most_tables(Block *b, uint64_t *tables)
{
    int error = qcow2_file_clusters(b, tables);
    *tables += 16; /* a few that are named twice are for check to find */
    return error;
}

/* A place for another table: a free one, or the clean one that was used longest ago. */
static int find_place(Block *b, Qcow2Cache *cache, Qcow2Table **out)
{
    for (unsigned try = 0; try < 2; try++) {
        Qcow2Table *best = NULL;
        for (unsigned i = 0; i < cache->count; i++) {
            Qcow2Table *t = &cache->table[i];
            if (!t->dirty && (!best || t->used < best->used)) {
                best = t;
            }
        }
        if (best) {
            *out = best;
            return 0;
        }
        int error = qcow2_write_back(b);
        if (error) {
            return error;
        }
    }
    return ENOMEM;
}

int qcow2_table_load(Block *b, Qcow2Cache *cache, uint64_t offset, bool fresh, Qcow2Table **out)
{
    Qcow2 *q = b->data;
    for (unsigned i = 0; i < cache->count; i++) {
        if (cache->table[i].offset == offset) {
            *out = &cache->table[i];
            (*out)->used = ++q->clock;
            if (fresh) { /* the cluster was a table before, and has been freed since */
                memset((*out)->data, 0, (size_t)q->cluster_size);
                (*out)->dirty = true;
            }
            return 0;
        }
    }
    Qcow2Table *t;
    int error = find_place(b, cache, &t);
    if (error) {
        return error;
    }
    t->offset = 0;
    t->used = 0;
    if (!t->data && !(t->data = malloc((size_t)q->cluster_size))) {
        return ENOMEM;
    }
    if (fresh) {
        memset(t->data, 0, (size_t)q->cluster_size);
        t->dirty = true;
    } else {
        error = disk_file_read(&b->file, offset, t->data, (size_t)q->cluster_size);
        if (error) {
            return error;
        }
    }
    t->offset = offset;
    t->used = ++q->clock;
    *out = t;
    return 0;
}

void qcow2_table_drop(Qcow2Cache *cache, uint64_t offset)
{
    for (unsigned i = 0; i < cache->count; i++) {
        if (cache->table[i].offset == offset) {
            cache->table[i].offset = 0;
            cache->table[i].dirty = false;
            cache->table[i].used = 0;
        }
    }
}

/* Counts in a block: 1 << (cluster_bits + 3 - order). */
static unsigned block_bits(const Qcow2 *q)
{
    return q->cluster_bits + 3 - q->refcount_order;
}

static uint64_t take_count(const Qcow2 *q, const uint8_t *block, uint64_t index)
{
    if (q->refcount_order < 3) { /* several in a byte, the first in the low bits */
        unsigned per_byte = 8u >> q->refcount_order, bits = 1u << q->refcount_order;
        return block[index / per_byte] >> (index % per_byte * bits) & ((1u << bits) - 1);
    }
    unsigned bytes = 1u << (q->refcount_order - 3);
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | block[index * bytes + i];
    }
    return value;
}

void qcow2_put_count(unsigned order, uint8_t *block, uint64_t index, uint64_t count)
{
    if (order < 3) {
        unsigned per_byte = 8u >> order, bits = 1u << order;
        unsigned shift = (unsigned)(index % per_byte) * bits;
        uint8_t *byte = &block[index / per_byte];
        *byte = (uint8_t)((*byte & ~(((1u << bits) - 1) << shift)) | (unsigned)count << shift);
        return;
    }
    unsigned bytes = 1u << (order - 3);
    for (unsigned i = 0; i < bytes; i++) {
        block[index * bytes + i] = (uint8_t)(count >> (8 * (bytes - 1 - i)));
    }
}

int qcow2_count(Block *b, uint64_t cluster, uint64_t *count)
{
    Qcow2 *q = b->data;
    uint64_t index = cluster >> block_bits(q);
    *count = 0;
    if (index >= q->counts_size || q->counts[index] == 0) {
        return 0;
    }
    Qcow2Table *t;
    int error = qcow2_table_load(b, &q->blocks, q->counts[index], false, &t);
    if (!error) {
        *count = take_count(q, t->data, cluster & ((UINT64_C(1) << block_bits(q)) - 1));
    }
    return error;
}

/* The first of `clusters` neighbours that nothing uses. */
static int find_free(Block *b, uint64_t clusters, uint64_t *first)
{
    Qcow2 *q = b->data;
    uint64_t at = q->free_hint ? q->free_hint : 1, run = 0;
    uint64_t limit = (QCOW2_OFFSET >> q->cluster_bits) - 1;
    while (run < clusters) {
        uint64_t count;
        int error = qcow2_count(b, at + run, &count);
        if (error) {
            return error;
        }
        if (at + run >= limit) {
            return EFBIG;
        }
        if (count || qcow2_set_has(&q->metadata, at + run)) {
            at += run + 1;
            run = 0;
        } else {
            run++;
        }
    }
    *first = at;
    return 0;
}

/* The clusters of a refcount table that has moved; done again before it is written, should it fail.
 */
static int count_the_table(Block *b)
{
    Qcow2 *q = b->data;
    uint64_t first = q->counts_offset >> q->cluster_bits;
    uint64_t clusters = q->counts_size / (q->cluster_size / 8);
    int error = 0;
    for (uint64_t i = 0; i < clusters && !error; i++) {
        uint64_t count;
        error = qcow2_count(b, first + i, &count);
        if (!error && count == 0) {
            error = qcow2_set_count(b, first + i, 1);
        }
    }
    return error;
}

/* A larger refcount table behind everything else. The header names it after the next write-back. */
static int grow_counts(Block *b, uint64_t index)
{
    Qcow2 *q = b->data;
    if (q->counts_moved) { /* one move at a time: the old place is still in the header */
        int error = q->moving ? EFBIG : qcow2_write_back(b);
        if (error) {
            return error;
        }
    }
    uint64_t per_cluster = q->cluster_size / 8;
    uint64_t entries = (index + 1 > q->counts_size * 2ull ? index + 1 : q->counts_size * 2ull);
    uint64_t clusters, first, least;
    int error;
    do { /* it must reach as far as its own clusters and the blocks that will count them */
        clusters = (entries + per_cluster - 1) / per_cluster;
        entries = clusters * per_cluster;
        if (entries * 8 > QCOW2_MAX_TABLE_BYTES) {
            return EFBIG;
        }
        error = find_free(b, clusters, &first);
        least = ((first + 2 * clusters) >> block_bits(q)) + 1;
        if (!error && least > entries) {
            entries = least;
            clusters = 0;
        }
    } while (!error && clusters == 0);
    uint64_t *larger = error ? NULL : calloc((size_t)entries, sizeof(*larger));
    if (!larger) {
        return error ? error : ENOMEM;
    }
    memcpy(larger, q->counts, q->counts_size * sizeof(*larger));
    for (uint64_t i = 0; i < clusters && !error; i++) {
        error = qcow2_set_add(&q->metadata, first + i);
    }
    if (error) {
        free(larger);
        return error;
    }
    free(q->counts);
    q->counts = larger;
    q->old_counts = q->counts_offset;
    q->old_counts_clusters = (uint32_t)(q->counts_size / per_cluster);
    q->counts_offset = first << q->cluster_bits;
    q->counts_size = (uint32_t)entries;
    q->counts_moved = q->counts_dirty = true;
    return count_the_table(b);
}

/* A block of counts where there is none yet. */
static int add_block(Block *b, uint64_t index)
{
    Qcow2 *q = b->data;
    if (index >= q->counts_size) {
        int error = grow_counts(b, index);
        if (error) {
            return error;
        }
        if (q->counts[index]) {
            return 0; /* made on the way */
        }
    }
    uint64_t cluster;
    Qcow2Table *t;
    int error = find_free(b, 1, &cluster);
    error = error ? error : qcow2_set_add(&q->metadata, cluster);
    if (error) {
        return error;
    }
    error = qcow2_table_load(b, &q->blocks, cluster << q->cluster_bits, true, &t);
    if (error) {
        qcow2_set_remove(&q->metadata, cluster);
        return error;
    }
    q->counts[index] = cluster << q->cluster_bits;
    q->counts_dirty = true;
    error = qcow2_set_count(b, cluster, 1); /* often in this very block */
    if (error) {
        q->counts[index] = 0;
        qcow2_table_drop(&q->blocks, cluster << q->cluster_bits);
        qcow2_set_remove(&q->metadata, cluster);
    }
    return error;
}

int qcow2_set_count(Block *b, uint64_t cluster, uint64_t count)
{
    Qcow2 *q = b->data;
    uint64_t index = cluster >> block_bits(q);
    if (q->refcount_order < 6 && count >> (1u << q->refcount_order)) {
        return EOVERFLOW;
    }
    while (index >= q->counts_size || q->counts[index] == 0) {
        if (count == 0) {
            return 0;
        }
        int error = add_block(b, index);
        if (error) {
            return error;
        }
    }
    Qcow2Table *t;
    int error = qcow2_table_load(b, &q->blocks, q->counts[index], false, &t);
    if (!error) {
        qcow2_put_count(q->refcount_order, t->data, cluster & ((UINT64_C(1) << block_bits(q)) - 1),
                        count);
        t->dirty = true;
        if (count == 0 && cluster < q->free_hint) {
            q->free_hint = cluster;
        }
        if (count == 0 && cluster == q->pack_at >> q->cluster_bits) {
            q->pack_at = 0; /* whoever gets the cluster next gets all of it */
        }
    }
    return error;
}

void qcow2_unallocate(Block *b, uint64_t offset, uint64_t clusters)
{
    const Qcow2 *q = b->data;
    for (uint64_t i = 0; i < clusters; i++) {
        /* a failure leaves the cluster counted: lost room, nothing worse */
        (void)qcow2_set_count(b, (offset >> q->cluster_bits) + i, 0);
    }
}

int qcow2_allocate(Block *b, uint64_t clusters, uint64_t *offset)
{
    Qcow2 *q = b->data;
    uint64_t first, made = 0;
    /* Blocks of counts that are made on the way take clusters themselves: look again until the run
     * is still free when its own blocks exist. */
    int error = find_free(b, clusters, &first);
    while (!error) {
        uint64_t again;
        for (uint64_t i = 0; i < clusters && !error; i++) {
            uint64_t index = (first + i) >> block_bits(q);
            if (index >= q->counts_size || q->counts[index] == 0) {
                error = add_block(b, index);
            }
        }
        error = error ? error : find_free(b, clusters, &again);
        if (error || again == first) {
            break;
        }
        first = again;
    }
    for (; made < clusters && !error; made++) {
        error = qcow2_set_count(b, first + made, 1);
    }
    if (error) {
        qcow2_unallocate(b, first << q->cluster_bits, made ? made - 1 : 0);
        return error;
    }
    if (clusters == 1) {
        q->free_hint = first + 1;
    }
    *offset = first << q->cluster_bits;
    return 0;
}

int qcow2_release(Block *b, uint64_t offset)
{
    Qcow2 *q = b->data;
    if (q->freed_count == q->freed_room) {
        size_t room = q->freed_room ? q->freed_room * 2 : 64;
        uint64_t *more = realloc(q->freed, room * sizeof(*more));
        if (!more) {
            return ENOMEM;
        }
        q->freed = more;
        q->freed_room = room;
    }
    q->freed[q->freed_count++] = offset >> q->cluster_bits | (q->punching ? FREED_PUNCH : 0);
    return 0;
}

void qcow2_l1_changed(Qcow2 *q, uint32_t index)
{
    if (q->l1_dirty_from == q->l1_dirty_to) {
        q->l1_dirty_from = index;
        q->l1_dirty_to = index + 1;
    }
    q->l1_dirty_from = index < q->l1_dirty_from ? index : q->l1_dirty_from;
    q->l1_dirty_to = index >= q->l1_dirty_to ? index + 1 : q->l1_dirty_to;
}

static bool any_dirty(const Qcow2Cache *cache)
{
    for (unsigned i = 0; i < cache->count; i++) {
        if (cache->table[i].dirty) {
            return true;
        }
    }
    return false;
}

static int write_cache(Block *b, Qcow2Cache *cache)
{
    const Qcow2 *q = b->data;
    for (unsigned i = 0; i < cache->count; i++) {
        Qcow2Table *t = &cache->table[i];
        if (t->dirty) {
            int error = disk_file_write(&b->file, t->offset, t->data, (size_t)q->cluster_size);
            if (error) {
                return error;
            }
            t->dirty = false;
        }
    }
    return 0;
}

static int write_words(Block *b, uint64_t offset, const uint64_t *words, size_t count)
{
    uint8_t *bytes = malloc(count * 8);
    if (!bytes) {
        return ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        bytes_put_be64(bytes + 8 * i, words[i]);
    }
    int error = disk_file_write(&b->file, offset, bytes, count * 8);
    free(bytes);
    return error;
}

/* Counts: blocks before the table that names them, the table before the header. */
static int write_counts(Block *b)
{
    Qcow2 *q = b->data;
    q->moving = true; /* no further move from in here */
    int error = q->counts_moved ? count_the_table(b) : 0;
    q->moving = false;
    error = error ? error : write_cache(b, &q->blocks);
    if (error || !q->counts_dirty) {
        return error;
    }
    error = disk_file_sync(&b->file);
    error = error ? error : write_words(b, q->counts_offset, q->counts, q->counts_size);
    if (!error && q->counts_moved) {
        error = disk_file_sync(&b->file);
        error = error ? error : qcow2_write_header(b);
        if (!error) {
            q->counts_moved = false;
            for (uint32_t i = 0; i < q->old_counts_clusters; i++) {
                uint64_t cluster = (q->old_counts >> q->cluster_bits) + i;
                qcow2_set_remove(&q->metadata, cluster);
                error = error ? error : qcow2_release(b, cluster << q->cluster_bits);
            }
        }
    }
    if (!error) {
        q->counts_dirty = false;
    }
    return error;
}

static int write_l1(Block *b)
{
    Qcow2 *q = b->data;
    uint32_t from = q->l1_dirty_from, count = q->l1_dirty_to - from;
    int error = count ? write_words(b, q->l1_offset + 8ull * from, q->l1 + from, count) : 0;
    if (!error) {
        q->l1_dirty_from = q->l1_dirty_to = 0;
    }
    return error;
}

/* Nothing on the disk shows these clusters any more. */
static int lower_counts(Block *b)
{
    Qcow2 *q = b->data;
    int error = 0;
    q->lowering = true; /* loading a block may write back others, but not come here again */
    while (q->freed_count && !error) {
        uint64_t freed = q->freed[q->freed_count - 1], cluster = freed & ~FREED_PUNCH, count;
        error = qcow2_count(b, cluster, &count);
        error = error ? error : qcow2_set_count(b, cluster, count ? count - 1 : 0);
        q->freed_count -= error ? 0 : 1;
        if (!error && count <= 1) { /* what it held as a table is no more */
            qcow2_table_drop(&q->l2, cluster << q->cluster_bits);
        }
        if (!error && count <= 1 && freed & FREED_PUNCH) {
            /* where the host cannot, the room is free in the image all the same */
            (void)disk_file_give_back(&b->file, cluster << q->cluster_bits, q->cluster_size);
        }
    }
    q->lowering = false;
    return error;
}

int qcow2_write_back(Block *b)
{
    Qcow2 *q = b->data;
    int error = write_counts(b);
    if (!error && (any_dirty(&q->l2) || q->l1_dirty_from != q->l1_dirty_to)) {
        error = disk_file_sync(&b->file);
        error = error ? error : write_cache(b, &q->l2);
        if (!error && q->l1_dirty_from != q->l1_dirty_to) {
            error = disk_file_sync(&b->file);
            error = error ? error : write_l1(b);
        }
    }
    if (!error && q->freed_count && !q->lowering) {
        error = disk_file_sync(&b->file);
        if (!error) {
            size_t freed = q->freed_count;
            error = lower_counts(b);
            log_trace("'%s': %zu clusters are free again", b->path, freed);
        }
    }
    return error;
}
