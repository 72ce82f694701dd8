/* qcow2: making new images, writing the header, checking and repairing reference counts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"
#include "storage/qcow2_internal.h"

LOG_TAG("qcow2");

#define MAX_CHECKED_CLUSTERS (UINT64_C(1) << 27) /* half a GiB of counters */
#define MAX_BITMAP_DIRECTORY (UINT64_C(64) << 20)

enum { BITMAP_HEAD = 24, BITMAP_PART = 512 /* words of a table read at once */ };

int qcow2_write_header(Block *b)
{
    const Qcow2 *q = b->data;
    uint8_t h[QCOW2_HEADER_V3];
    size_t size = q->version == 3 ? QCOW2_HEADER_V3 : QCOW2_HEADER_V2;
    int error = disk_file_read(&b->file, 0, h, size);
    if (error) {
        return error;
    }
    bytes_put_be64(h + 24, b->size);
    bytes_put_be32(h + 36, q->l1_size);
    bytes_put_be64(h + 40, q->l1_offset);
    bytes_put_be64(h + 48, q->counts_offset);
    bytes_put_be32(h + 56, (uint32_t)(q->counts_size / (q->cluster_size / 8)));
    bytes_put_be32(h + 60, q->snapshots);
    bytes_put_be64(h + 64, q->snapshots ? q->snapshots_offset : 0);
    if (q->version == 3) {
        bytes_put_be64(h + 72, q->incompatible);
        bytes_put_be64(h + 80, q->compatible);
        /* what others keep beside the data no longer fits them, unless only counts are mended */
        bytes_put_be64(h + 88, b->for_repair ? q->autoclear & QCOW2_BITMAPS : 0);
    }
    return disk_file_write(&b->file, 0, h, size);
}

/* ---- checking ---- */

typedef struct Census {
    uint32_t *count; /* references to each cluster of the file */
    uint64_t clusters;
    bool bad_bitmaps; /* their directory leads nowhere */
    Qcow2Check *result;
} Census;

static void refer(Census *c, uint64_t cluster)
{
    if (cluster >= c->clusters) {
        c->result->corruptions++; /* outside the file */
    } else if (c->count[cluster] < UINT32_MAX) {
        c->count[cluster]++;
    }
}

static void refer_bytes(const Qcow2 *q, Census *c, uint64_t offset, uint64_t bytes)
{
    if (bytes) {
        for (uint64_t i = offset >> q->cluster_bits; i <= (offset + bytes - 1) >> q->cluster_bits;
             i++) {
            refer(c, i);
        }
    }
}

static int refer_l1(Block *b, Census *c, const uint64_t *l1, uint32_t size, bool running)
{
    Qcow2 *q = b->data;
    uint64_t tables = 0, most;
    int failed = qcow2_most_tables(b, &most);
    for (uint32_t i = 0; i < size && !failed; i++) {
        uint64_t l2 = l1[i] & QCOW2_OFFSET;
        if (l2 == 0) {
            continue;
        }
        if (++tables > most) {
            return EUCLEAN; /* nobody has so many: a lie that would keep us busy for hours */
        }
        refer(c, l2 >> q->cluster_bits);
        if (l2 & (q->cluster_size - 1) || l2 >> q->cluster_bits >= c->clusters) {
            c->result->corruptions++;
            continue;
        }
        Qcow2Table *table;
        int error = qcow2_table_load(b, &q->l2, l2, false, &table);
        if (error) {
            return error;
        }
        for (uint64_t j = 0; j < q->cluster_size / 8; j++) {
            uint64_t entry = bytes_be64(table->data + 8 * j), offset, length;
            if (entry & QCOW2_COMPRESSED) {
                qcow2_packed_place(q, entry, &offset, &length);
                refer_bytes(q, c, offset, length);
            } else if (entry & QCOW2_OFFSET) {
                refer(c, (entry & QCOW2_OFFSET) >> q->cluster_bits);
                c->result->corruptions += (entry & QCOW2_OFFSET & (q->cluster_size - 1)) != 0;
            } else {
                continue;
            }
            c->result->allocated += running;
        }
    }
    return failed;
}

/* The clusters of one bitmap, from the table that names them. */
static int refer_bitmap(Block *b, Census *c, uint64_t table, uint64_t entries)
{
    const Qcow2 *q = b->data;
    uint8_t words[BITMAP_PART * 8];
    int error = 0;
    for (uint64_t i = 0; i < entries && !error; i += BITMAP_PART) {
        uint64_t part = entries - i < BITMAP_PART ? entries - i : BITMAP_PART;
        error = disk_file_read(&b->file, table + 8 * i, words, (size_t)part * 8);
        for (uint64_t j = 0; j < part && !error; j++) {
            uint64_t cluster = bytes_be64(words + 8 * j) & QCOW2_OFFSET;
            if (cluster) {
                refer(c, cluster >> q->cluster_bits);
            }
        }
    }
    refer_bytes(q, c, table, entries * 8);
    return error;
}

/* All bitmaps of a directory in memory. Together their tables are no larger than the file. */
static int refer_directory(Block *b, Census *c, const uint8_t *directory, uint64_t bytes,
                           uint32_t count, uint64_t file_size)
{
    const Qcow2 *q = b->data;
    uint64_t at = 0, room = file_size;
    int error = 0;
    for (uint32_t i = 0; i < count && !error; i++) {
        if (at > bytes || bytes - at < BITMAP_HEAD) {
            c->bad_bitmaps = true;
            return 0;
        }
        const uint8_t *entry = directory + at;
        uint64_t table = bytes_be64(entry), size = bytes_be32(entry + 8) * UINT64_C(8);
        uint64_t name = (uint64_t)entry[18] << 8 | entry[19];
        if (table % q->cluster_size || table > file_size || size > file_size - table ||
            size > room) {
            c->bad_bitmaps = true;
            return 0;
        }
        room -= size;
        error = refer_bitmap(b, c, table, size / 8);
        at += (BITMAP_HEAD + name + bytes_be32(entry + 20) + 7) & ~UINT64_C(7);
    }
    return error;
}

/* Bitmaps that fit the data, as other programs keep them for their backups. Who opens the disk for
 * writing gives them up. */
static int refer_bitmaps(Block *b, Census *c)
{
    const Qcow2 *q = b->data;
    uint64_t offset = 0, bytes = 0, file_size = 0;
    uint32_t count = 0;
    if (!(q->autoclear & QCOW2_BITMAPS) || (!b->read_only && !b->for_repair)) {
        return 0;
    }
    int error = qcow2_find_bitmaps(b, &offset, &bytes, &count);
    error = error ? error : disk_file_size(&b->file, &file_size);
    if (error || count == 0) {
        return error;
    }
    if (offset % q->cluster_size || bytes > MAX_BITMAP_DIRECTORY || offset > file_size ||
        bytes > file_size - offset) {
        c->bad_bitmaps = true;
        return 0;
    }
    uint8_t *directory = malloc(bytes ? (size_t)bytes : 1);
    error = directory ? disk_file_read(&b->file, offset, directory, (size_t)bytes) : ENOMEM;
    error = error ? error : refer_directory(b, c, directory, bytes, count, file_size);
    refer_bytes(q, c, offset, bytes);
    free(directory);
    return error;
}

static int take_census(Block *b, Census *c)
{
    Qcow2 *q = b->data;
    int error = qcow2_file_clusters(b, &c->clusters);
    if (error || c->clusters > MAX_CHECKED_CLUSTERS) {
        return error ? error : EFBIG;
    }
    c->count = calloc(c->clusters ? (size_t)c->clusters : 1, sizeof(*c->count));
    if (!c->count) {
        return ENOMEM;
    }
    refer(c, 0);
    refer_bytes(q, c, q->l1_offset, 8ull * q->l1_size);
    refer_bytes(q, c, q->counts_offset, 8ull * q->counts_size);
    refer_bytes(q, c, q->snapshots_offset, q->snapshots ? q->snapshots_size : 0);
    for (uint32_t i = 0; i < q->counts_size; i++) {
        if (q->counts[i]) {
            refer(c, q->counts[i] >> q->cluster_bits);
        }
    }
    error = refer_l1(b, c, q->l1, q->l1_size, true);
    for (unsigned i = 0; i < q->snapshots && !error; i++) {
        const Qcow2SnapshotEntry *s = &q->snapshot[i];
        uint64_t *l1 = NULL;
        refer_bytes(q, c, s->l1_offset, s->l1_size ? 8ull * s->l1_size : 1);
        error = qcow2_read_l1(b, s->l1_offset, s->l1_size, &l1);
        error = error ? error : refer_l1(b, c, l1, s->l1_size, false);
        free(l1);
    }
    error = error ? error : refer_bitmaps(b, c);
    c->result->corruptions += c->bad_bitmaps;
    return error;
}

/* Compares counts with the census: first those that are too low, so that nothing in use is given
 * out, then those that are too high. */
static int compare_counts(Block *b, const Census *c, bool repair, bool too_low)
{
    Qcow2 *q = b->data;
    uint64_t per_block = UINT64_C(1) << (q->cluster_bits + 3 - q->refcount_order);
    uint64_t end =
        c->clusters > q->counts_size * per_block ? c->clusters : q->counts_size * per_block;
    for (uint64_t i = 0; i < end; i++) {
        uint64_t index = i / per_block, count = 0;
        bool block = index < q->counts_size && q->counts[index];
        if (!block && (!too_low || i >= c->clusters)) {
            i = (index + 1) * per_block - 1; /* all counts are zero */
            continue;
        }
        uint64_t right = i < c->clusters ? c->count[i] : qcow2_set_has(&q->metadata, i);
        int error = block ? qcow2_count(b, i, &count) : 0;
        if (error) {
            return error;
        }
        if (too_low ? count < right : count > right) {
            *(too_low ? &c->result->corruptions : &c->result->leaks) += 1;
            if (repair) {
                error = qcow2_set_count(b, i, right);
                if (error) {
                    return error;
                }
                c->result->fixed++;
            }
        }
    }
    return 0;
}

/* Is the flag of this reference right? A flag on a cluster that others use too would let a write
 * change theirs. One that is missing costs a copy, nothing else: a writer that was cut off may
 * leave that. */
static uint64_t check_flag(const Qcow2 *q, const Census *c, uint64_t entry)
{
    uint64_t cluster = (entry & QCOW2_OFFSET) >> q->cluster_bits;
    uint32_t uses = cluster < c->clusters ? c->count[cluster] : 0;
    if (entry & QCOW2_COPIED && uses > 1) {
        c->result->corruptions++;
    }
    return (entry & ~QCOW2_COPIED) | (uses == 1 ? QCOW2_COPIED : 0);
}

static int note_range(const Qcow2 *q, ClusterSet *set, uint64_t offset, uint64_t bytes, bool *twice)
{
    int error = 0;
    for (uint64_t at = 0; at < bytes && !error; at += q->cluster_size) {
        uint64_t cluster = (offset + at) >> q->cluster_bits;
        *twice |= qcow2_set_has(set, cluster);
        error = qcow2_set_add(set, cluster);
    }
    return error;
}

/* All tables but those of the second level, and blocks of counts that are given up. *twice: two of
 * them lie in one place. */
static int note_tables(const Block *b, const Census *c, ClusterSet *set, bool *twice)
{
    const Qcow2 *q = b->data;
    int error = note_range(q, set, 0, 1, twice); /* the header */
    error = error ? error : note_range(q, set, q->l1_offset, 8ull * q->l1_size, twice);
    error = error ? error : note_range(q, set, q->counts_offset, 8ull * q->counts_size, twice);
    if (!error && q->snapshots) {
        error = note_range(q, set, q->snapshots_offset, q->snapshots_size, twice);
    }
    for (unsigned i = 0; i < q->snapshots && !error; i++) {
        error = note_range(q, set, q->snapshot[i].l1_offset, 8ull * q->snapshot[i].l1_size, twice);
    }
    for (uint32_t i = 0; i < q->counts_size && !error; i++) {
        uint64_t cluster = q->counts[i] >> q->cluster_bits;
        bool kept = cluster && (cluster >= c->clusters || c->count[cluster] == 1);
        error = kept ? note_range(q, set, q->counts[i], 1, twice) : 0;
    }
    return error;
}

static bool leads_into(const Qcow2 *q, const ClusterSet *set, const uint64_t *l1, uint32_t size)
{
    bool found = false;
    for (uint32_t i = 0; i < size && !found; i++) {
        uint64_t l2 = l1[i] & QCOW2_OFFSET;
        found = l2 && qcow2_set_has(set, l2 >> q->cluster_bits);
    }
    return found;
}

/* Do tables of different kinds lie in one place? What repair writes to one would change another,
 * and with it what there is to repair. */
static int tables_overlap(Block *b, const Census *c, bool *overlap)
{
    const Qcow2 *q = b->data;
    ClusterSet set = {0};
    *overlap = false;
    int error = note_tables(b, c, &set, overlap);
    *overlap = *overlap || (!error && leads_into(q, &set, q->l1, q->l1_size));
    for (unsigned i = 0; i < q->snapshots && !error && !*overlap; i++) {
        const Qcow2SnapshotEntry *s = &q->snapshot[i];
        uint64_t *l1 = NULL;
        error = qcow2_read_l1(b, s->l1_offset, s->l1_size, &l1);
        *overlap = !error && leads_into(q, &set, l1, s->l1_size);
        free(l1);
    }
    free(set.slot);
    return error;
}

/* COPIED flags of the running image against the census. */
static int compare_flags(Block *b, const Census *c, bool repair)
{
    Qcow2 *q = b->data;
    int error = 0;
    for (uint32_t i = 0; i < q->l1_size && !error; i++) {
        uint64_t l2 = q->l1[i] & QCOW2_OFFSET;
        if (l2 == 0 || l2 & (q->cluster_size - 1) || l2 >> q->cluster_bits >= c->clusters) {
            continue;
        }
        uint64_t before = c->result->corruptions, right = check_flag(q, c, q->l1[i]);
        if (repair && right != q->l1[i]) {
            q->l1[i] = right;
            qcow2_l1_changed(q, i);
        }
        for (uint64_t j = 0; j < q->cluster_size / 8 && !error; j++) {
            Qcow2Table *table;
            error = qcow2_table_load(b, &q->l2, l2, false, &table);
            uint64_t entry = error ? 0 : bytes_be64(table->data + 8 * j);
            if (entry & QCOW2_COMPRESSED || !(entry & QCOW2_OFFSET)) {
                continue;
            }
            right = check_flag(q, c, entry);
            if (repair && right != entry) {
                bytes_put_be64(table->data + 8 * j, right);
                table->dirty = true;
            }
        }
        c->result->fixed += repair ? c->result->corruptions - before : 0;
    }
    return error;
}

/* Blocks of counts that lie where something else does, too: what they say cannot be right for both.
 * Repair gives them up. Returns how many there are. */
static uint64_t find_shared_blocks(Qcow2 *q, const Census *c, bool repair)
{
    uint64_t found = 0;
    for (uint32_t i = 0; i < q->counts_size; i++) {
        uint64_t cluster = q->counts[i] >> q->cluster_bits;
        if (q->counts[i] && cluster < c->clusters && c->count[cluster] > 1) {
            found++;
            if (repair) {
                qcow2_table_drop(&q->blocks, q->counts[i]);
                q->counts[i] = 0;
            }
        }
    }
    return found;
}

/* Is there a cluster with more users than its count can tell? */
static bool too_many_users(const Qcow2 *q, const Census *c)
{
    uint64_t most = q->refcount_order < 5 ? (1u << (1u << q->refcount_order)) - 1 : UINT32_MAX;
    uint64_t i = 0;
    while (i < c->clusters && c->count[i] <= most) {
        i++;
    }
    return i < c->clusters;
}

/* The census, of what repair leaves when it has given up what cannot be mended: bitmaps and blocks
 * of counts that are not where they are said to be. */
static int take_usable_census(Block *b, Census *c, bool repair)
{
    Qcow2 *q = b->data;
    bool overlap = false;
    int error = take_census(b, c);
    error = error ? error : tables_overlap(b, c, &overlap);
    error = !error && repair && (overlap || too_many_users(q, c)) ? EUCLEAN : error;
    c->result->corruptions += overlap;
    uint64_t lost = error ? 0 : q->lost_blocks + find_shared_blocks(q, c, repair);
    bool bitmaps = c->bad_bitmaps;
    c->result->corruptions += lost;
    if (error || !repair) {
        return error;
    }
    if (bitmaps || (q->autoclear && !b->for_repair)) { /* before their clusters go to others */
        q->autoclear = 0;
        error = qcow2_write_header(b);
        error = error ? error : disk_file_sync(&b->file);
    }
    if (error || (!lost && !bitmaps)) {
        return error;
    }
    q->counts_dirty |= lost != 0;
    q->lost_blocks = 0;
    free(c->count);
    *c = (Census){.result = c->result};
    *c->result = (Qcow2Check){0};
    error = error ? error : take_census(b, c);
    c->result->corruptions += lost + bitmaps;
    c->result->fixed += lost + bitmaps;
    return error;
}

int qcow2_check(Block *b, bool repair, Qcow2Check *result)
{
    Qcow2 *q = b->data;
    Census census = {.result = result};
    *result = (Qcow2Check){0};
    if (repair && b->read_only) {
        return EROFS;
    }
    int error = b->read_only ? 0 : qcow2_write_back(b);
    error = error ? error : take_usable_census(b, &census, repair);
    if (repair) {
        q->free_hint = census.clusters; /* until counts are right, new blocks go behind the end */
    }
    error = error ? error : compare_counts(b, &census, repair, true);
    error = error ? error : compare_counts(b, &census, repair, false);
    error = error ? error : compare_flags(b, &census, repair);
    if (repair) {
        q->free_hint = 0;
        error = error ? error : qcow2_write_back(b);
        if (!error && q->incompatible & (QCOW2_DIRTY | QCOW2_CORRUPT) &&
            result->corruptions + result->leaks == result->fixed) {
            q->incompatible &= ~(uint64_t)(QCOW2_DIRTY | QCOW2_CORRUPT);
            error = qcow2_write_header(b);
        }
        error = error ? error : disk_file_sync(&b->file);
    }
    free(census.count);
    if (result->corruptions || result->leaks) {
        log_info("'%s': %llu errors, %llu lost clusters, %llu mended", b->path,
                 (unsigned long long)result->corruptions, (unsigned long long)result->leaks,
                 (unsigned long long)result->fixed);
    }
    return error;
}

/* ---- making ---- */

typedef struct Layout {
    uint64_t cluster, l1_entries, l1_clusters, table_clusters, blocks, total;
    unsigned order;
} Layout;

/* Header, refcount table, blocks, L1: how many clusters each takes, so that the blocks count them
 * all. */
static bool lay_out(Layout *l, uint64_t size, unsigned cluster_bits)
{
    uint64_t span = l->cluster * (l->cluster / 8), per_block = l->cluster * 8 >> l->order;
    (void)cluster_bits;
    l->l1_entries = size / span + (size % span != 0);
    l->l1_entries = l->l1_entries ? l->l1_entries : 1;
    l->l1_clusters = (l->l1_entries * 8 + l->cluster - 1) / l->cluster;
    l->table_clusters = l->blocks = 1;
    for (;;) {
        l->total = 1 + l->table_clusters + l->blocks + l->l1_clusters;
        uint64_t blocks = (l->total + per_block - 1) / per_block;
        uint64_t table = (blocks * 8 + l->cluster - 1) / l->cluster;
        if (blocks <= l->blocks && table <= l->table_clusters) {
            return l->l1_entries * 8 <= QCOW2_MAX_L1_BYTES;
        }
        l->blocks = blocks;
        l->table_clusters = table;
    }
}

static bool put_header(uint8_t *h, const Layout *l, uint64_t size, const Qcow2Options *o,
                       unsigned cluster_bits, unsigned version)
{
    size_t at = version == 3 ? (o->zstd ? 112 : QCOW2_HEADER_V3) : QCOW2_HEADER_V2;
    memcpy(h, "QFI\xfb", 4);
    bytes_put_be32(h + 4, version);
    bytes_put_be32(h + 20, cluster_bits);
    bytes_put_be64(h + 24, size);
    bytes_put_be32(h + 36, (uint32_t)l->l1_entries);
    bytes_put_be64(h + 40, (1 + l->table_clusters + l->blocks) * l->cluster);
    bytes_put_be64(h + 48, l->cluster);
    bytes_put_be32(h + 56, (uint32_t)l->table_clusters);
    if (version == 3) {
        bytes_put_be64(h + 72, o->zstd ? QCOW2_COMPRESSION : 0);
        bytes_put_be64(h + 80, o->lazy_refcounts ? 1 : 0);
        bytes_put_be32(h + 96, l->order);
        bytes_put_be32(h + 100, (uint32_t)at);
        h[104] = o->zstd;
    }
    if (o->backing) {
        size_t name = strlen(o->backing),
               format = o->backing_format ? strlen(o->backing_format) : 0;
        if (name > 1023 || at + 16 + format + 8 + name > l->cluster) {
            return false;
        }
        if (format) {
            bytes_put_be32(h + at, 0xe2792aca);
            bytes_put_be32(h + at + 4, (uint32_t)format);
            memcpy(h + at + 8, o->backing_format, format);
            at += 8 + (format + 7) / 8 * 8;
        }
        at += 8; /* the end of the extensions: zeros */
        memcpy(h + at, o->backing, name);
        bytes_put_be64(h + 8, at);
        bytes_put_be32(h + 16, (uint32_t)name);
    }
    return true;
}

static void put_counts(uint8_t *blocks, const Layout *l)
{
    for (uint64_t i = 0; i < l->total; i++) {
        if (l->order < 3) {
            unsigned per_byte = 8u >> l->order;
            blocks[i / per_byte] |= (uint8_t)(1u << (i % per_byte << l->order));
        } else {
            uint64_t bytes = UINT64_C(1) << (l->order - 3);
            blocks[i * bytes + bytes - 1] = 1;
        }
    }
}

bool qcow2_create(const char *path, uint64_t size, const Qcow2Options *options, Err *err)
{
    static const Qcow2Options defaults = {0};
    const Qcow2Options *o = options ? options : &defaults;
    unsigned bits = o->cluster_bits ? o->cluster_bits : 16, version = o->version ? o->version : 3;
    unsigned width = o->refcount_bits ? o->refcount_bits : 16;
    Layout l = {.cluster = UINT64_C(1) << (bits < 30 ? bits : 30)};
    while (1u << l.order < width && l.order < 7) {
        l.order++;
    }
    if (bits < 9 || bits > 21 || version < 2 || version > 3 || l.order > 6 ||
        1u << l.order != width || (version == 2 && (width != 16 || o->zstd || o->lazy_refcounts))) {
        return err_set(err, "'%s': these qcow2 options do not go together", path);
    }
    if (size == 0 || size % BLOCK_SECTOR || size > INT64_MAX - (UINT64_C(1) << 40) ||
        !lay_out(&l, size, bits)) {
        return err_set(err,
                       "'%s': a qcow2 image cannot have %llu bytes with clusters of %llu; take "
                       "whole sectors, or larger clusters",
                       path, (unsigned long long)size, (unsigned long long)l.cluster);
    }
    size_t bytes = (size_t)(l.total * l.cluster);
    uint8_t *image = calloc(1, bytes);
    DiskFile file = {.fd = -1};
    bool good = image != NULL || err_set(err, "'%s': out of memory", path);
    if (good && !put_header(image, &l, size, o, bits, version)) {
        good = err_set(err, "'%s': the backing file's name is too long", path);
    }
    good = good && disk_file_create(&file, path, &(DiskFileOptions){.write = true}, err);
    if (good) {
        for (uint64_t i = 0; i < l.blocks; i++) {
            bytes_put_be64(image + l.cluster + 8 * i, (1 + l.table_clusters + i) * l.cluster);
        }
        put_counts(image + (1 + l.table_clusters) * l.cluster, &l);
        int error = disk_file_write(&file, 0, image, bytes);
        error = error ? error : disk_file_sync(&file);
        good = !error || err_set(err, "'%s' cannot be written: %s", path, strerror(error));
    }
    disk_file_close(&file);
    free(image);
    return good;
}
