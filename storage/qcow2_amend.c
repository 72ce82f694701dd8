/* qcow2: other options for an image that is there: the version, the width of counts, lazy counts.
 *
 * Whatever takes several writes is done first, in a way that means the same under the old header
 * (clusters of zeros become plain ones, counts of another width are written behind the end of the
 * file); then one sector, the header, makes it so. Format: "Qcow2 image file format" of the QEMU
 * project's documentation. The clusters' size and how they are compressed cannot be changed in
 * place: `vitrine image convert` does that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2_internal.h"

static bool failed(const Block *b, int error, Err *err)
{
    return err_set(err, "'%s' cannot be changed: %s%s", b->path, strerror(error),
                   error == ENOSPC ? "; make room and try again" : "");
}

/* ---- what may be changed ---- */

/* exact: no counts are higher than they ought to be, either. */
static bool sound(Block *b, bool exact, Err *err)
{
    const Qcow2 *q = b->data;
    Qcow2Check check;
    if (q->incompatible & (QCOW2_DIRTY | QCOW2_CORRUPT)) {
        return err_set(err, "'%s' %s; repair it first: vitrine image check -r all '%s'", b->path,
                       q->incompatible & QCOW2_DIRTY ? "was not closed properly"
                                                     : "is marked as damaged",
                       b->path);
    }
    int error = qcow2_check(b, false, &check);
    if (error) {
        return err_set(err, "'%s' cannot be checked: %s", b->path, strerror(error));
    }
    return (check.corruptions == 0 && (!exact || check.leaks == 0)) ||
           err_set(err, "'%s' %s; repair it first: vitrine image check -r all '%s'", b->path,
                   check.corruptions ? "is damaged" : "has lost room", b->path);
}

/* Version 2 has no place for some of what the image is. */
static bool fits_version_2(const Block *b, Err *err)
{
    const Qcow2 *q = b->data;
    if (q->incompatible & QCOW2_COMPRESSION) {
        return err_set(err,
                       "'%s': compat=0.10 has no zstd clusters; make another image: vitrine image "
                       "convert -O qcow2 -o compat=0.10 '%s' NEW",
                       b->path, b->path);
    }
    for (unsigned i = 0; i < q->snapshots; i++) {
        const Qcow2Snapshot *s = &q->snapshot[i].info;
        if (s->disk_size != b->size || s->vm_state_size > UINT32_MAX) {
            return err_set(err,
                           "'%s': compat=0.10 cannot have snapshot '%s', which has %s; delete it: "
                           "vitrine image snapshot -d",
                           b->path, s->name,
                           s->disk_size != b->size ? "a disk of another size"
                                                   : "a machine state of 4 GiB or more");
        }
    }
    return true;
}

static bool plan(const Block *b, const Qcow2Amendment *what, Qcow2Renewal *to, Err *err)
{
    const Qcow2 *q = b->data;
    bool lazy = what->set_lazy_refcounts ? what->lazy_refcounts : (q->compatible & 1) != 0;
    *to = (Qcow2Renewal){.version = what->version ? what->version : q->version,
                         .refcount_order = q->refcount_order,
                         .lazy_refcounts = lazy};
    if (what->refcount_bits) {
        to->refcount_order = (unsigned)__builtin_ctz(what->refcount_bits);
    }
    if (to->version == 3) {
        return true;
    }
    if (what->set_lazy_refcounts && lazy) {
        return err_set(err, "'%s': lazy_refcounts=on needs compat=1.1; give both", b->path);
    }
    if (to->refcount_order != 4) {
        return err_set(err, "'%s': compat=0.10 needs refcount_bits=16; give both", b->path);
    }
    to->lazy_refcounts = false;
    return fits_version_2(b, err);
}

/* ---- tables ---- */

typedef int (*TableVisit)(Block *b, uint64_t table, bool running, bool backed);

static int visit_l1(Block *b, const uint64_t *l1, uint32_t size, bool running, bool backed,
                    TableVisit visit)
{
    int error = 0;
    for (uint32_t i = 0; i < size && !error; i++) {
        uint64_t table = l1[i] & QCOW2_OFFSET;
        error = table ? visit(b, table, running, backed) : 0;
    }
    return error;
}

/* All L2 tables, of the disk and of the snapshots; those that are shared several times. */
static int visit_tables(Block *b, bool backed, TableVisit visit)
{
    const Qcow2 *q = b->data;
    int error = visit_l1(b, q->l1, q->l1_size, true, backed, visit);
    for (unsigned i = 0; i < q->snapshots && !error; i++) {
        uint64_t *l1 = NULL;
        error = qcow2_read_l1(b, q->snapshot[i].l1_offset, q->snapshot[i].l1_size, &l1);
        error = error ? error : visit_l1(b, l1, q->snapshot[i].l1_size, false, backed, visit);
        free(l1);
    }
    return error;
}

static bool says_zeros(uint64_t entry)
{
    return !(entry & QCOW2_COMPRESSED) && entry & QCOW2_ZERO;
}

/* A plain cluster of zeros that as many tables as `uses` refer to. */
static int make_zeros(Block *b, uint64_t uses, uint64_t *place)
{
    Qcow2 *q = b->data;
    int error = qcow2_allocate(b, 1, place);
    if (error) {
        return error;
    }
    memset(q->cluster, 0, (size_t)q->cluster_size);
    error = disk_file_write(&b->file, *place, q->cluster, (size_t)q->cluster_size);
    error = error || uses == 1 ? error : qcow2_set_count(b, *place >> q->cluster_bits, uses);
    if (error) {
        qcow2_unallocate(b, *place, 1);
    }
    return error;
}

/* Entries that say "zeros" give way to clusters of zeros, or to none where nothing lies below. The
 * table is changed where it is: it reads the same for all who share it. A cluster has as many users
 * as the table that names it. */
static int expand_table(Block *b, uint64_t at, bool running, bool backed)
{
    Qcow2 *q = b->data;
    uint64_t uses = 0;
    int error = qcow2_count(b, at >> q->cluster_bits, &uses);
    if (!error && uses > q->snapshots + 1) { /* no writer shares tables within a disk */
        return EIO;
    }
    for (uint64_t i = 0; i < q->cluster_size / 8 && !error; i++) {
        Qcow2Table *table;
        uint64_t fresh = 0;
        error = qcow2_table_load(b, &q->l2, at, false, &table);
        uint64_t entry = error ? 0 : bytes_be64(table->data + 8 * i), old = entry & QCOW2_OFFSET;
        if (!says_zeros(entry)) {
            continue;
        }
        error = backed ? make_zeros(b, uses, &fresh) : 0;
        error = error ? error : qcow2_table_load(b, &q->l2, at, false, &table);
        if (error) {
            break;
        }
        fresh |= fresh && running && uses == 1 ? QCOW2_COPIED : 0;
        bytes_put_be64(table->data + 8 * i, fresh);
        table->dirty = true;
        for (uint64_t n = 0; n < uses && old && !error; n++) {
            error = qcow2_release(b, old);
        }
    }
    return error;
}

/* Version 2 keeps that bit clear; version 3 would lose data by it. */
static int refuse_zeros(Block *b, uint64_t at, bool running, bool backed)
{
    Qcow2 *q = b->data;
    Qcow2Table *table;
    (void)running;
    (void)backed;
    int error = qcow2_table_load(b, &q->l2, at, false, &table);
    for (uint64_t i = 0; i < q->cluster_size / 8 && !error; i++) {
        error = says_zeros(bytes_be64(table->data + 8 * i)) ? EIO : 0;
    }
    return error;
}

/* ---- counts of another width ---- */

typedef struct NewCounts {
    uint64_t first, table, blocks; /* cluster where they begin; how many clusters each takes */
    uint64_t per_block;
    ClusterSet given_up; /* clusters of the old counts */
} NewCounts;

static int lay_out_counts(Block *b, unsigned order, NewCounts *n)
{
    const Qcow2 *q = b->data;
    int error = qcow2_file_clusters(b, &n->first);
    uint64_t wanted = 0, table = 1;
    n->per_block = q->cluster_size * 8 >> order;
    while (wanted != n->blocks || table != n->table) {
        n->blocks = wanted;
        n->table = table;
        wanted = (n->first + table + wanted + n->per_block - 1) / n->per_block;
        table = (wanted * 8 + q->cluster_size - 1) >> q->cluster_bits;
    }
    uint64_t old = q->counts_offset >> q->cluster_bits;
    for (uint64_t i = 0; i < q->counts_size / (q->cluster_size / 8) && !error; i++) {
        error = qcow2_set_add(&n->given_up, old + i);
    }
    for (uint32_t i = 0; i < q->counts_size && !error; i++) {
        error = q->counts[i] ? qcow2_set_add(&n->given_up, q->counts[i] >> q->cluster_bits) : 0;
    }
    return !error && n->table * q->cluster_size > QCOW2_MAX_TABLE_BYTES ? EFBIG : error;
}

/* One block of counts, from the cluster `from` on. */
static int fill_block(Block *b, const NewCounts *n, unsigned order, uint64_t from, uint8_t *block)
{
    uint64_t end = n->first + n->table + n->blocks;
    int error = 0;
    for (uint64_t i = from; i < from + n->per_block && i < end && !error; i++) {
        uint64_t count = 1;
        if (i < n->first) {
            error = qcow2_count(b, i, &count);
            count = qcow2_set_has(&n->given_up, i) ? 0 : count;
        }
        if (!error && order < 6 && count >> (1u << order)) {
            error = EOVERFLOW;
        }
        qcow2_put_count(order, block, i - from, error ? 0 : count);
    }
    return error;
}

static int write_counts(Block *b, const NewCounts *n, unsigned order, uint8_t *cluster)
{
    const Qcow2 *q = b->data;
    int error = 0;
    for (uint64_t i = 0; i < n->blocks && !error; i++) {
        memset(cluster, 0, (size_t)q->cluster_size);
        error = fill_block(b, n, order, i * n->per_block, cluster);
        error = error ? error
                      : disk_file_write(&b->file, (n->first + n->table + i) << q->cluster_bits,
                                        cluster, (size_t)q->cluster_size);
    }
    uint64_t per_cluster = q->cluster_size / 8;
    for (uint64_t i = 0; i < n->table && !error; i++) {
        memset(cluster, 0, (size_t)q->cluster_size);
        for (uint64_t j = 0; j < per_cluster && i * per_cluster + j < n->blocks; j++) {
            bytes_put_be64(cluster + 8 * j, (n->first + n->table + i * per_cluster + j)
                                                << q->cluster_bits);
        }
        error = disk_file_write(&b->file, (n->first + i) << q->cluster_bits, cluster,
                                (size_t)q->cluster_size);
    }
    return error ? error : disk_file_sync(&b->file);
}

/* Behind the end of the file, where the present header leads nobody. */
static int make_counts(Block *b, Qcow2Renewal *to)
{
    const Qcow2 *q = b->data;
    NewCounts n = {0};
    uint64_t size = 0;
    uint8_t *cluster = malloc((size_t)q->cluster_size);
    int error = cluster ? disk_file_size(&b->file, &size) : ENOMEM;
    error = error ? error : lay_out_counts(b, to->refcount_order, &n);
    if (!error) {
        error = write_counts(b, &n, to->refcount_order, cluster);
        if (error) { /* where that fails, the file is longer than it need be */
            (void)disk_file_resize(&b->file, size);
        }
    }
    to->counts_offset = n.first << q->cluster_bits;
    to->counts_clusters = (uint32_t)n.table;
    free(n.given_up.slot);
    free(cluster);
    return error;
}

/* ---- all of it ---- */

static int prepare(Block *b, Qcow2Renewal *to)
{
    const Qcow2 *q = b->data;
    Qcow2Info info;
    int error = qcow2_describe(b, &info);
    if (!error && to->version < q->version) {
        error = visit_tables(b, info.backing[0] != '\0', expand_table);
    } else if (!error && to->version > q->version) {
        error = visit_tables(b, false, refuse_zeros);
        error = error ? error : qcow2_renew_snapshots(b);
    }
    error = error ? error : qcow2_settle(b);
    to->counts_offset = q->counts_offset; /* the old ones may have moved on the way */
    to->counts_clusters = (uint32_t)(q->counts_size / (q->cluster_size / 8));
    return error || to->refcount_order == q->refcount_order ? error : make_counts(b, to);
}

bool qcow2_amend(Block *b, const Qcow2Amendment *what, Err *err)
{
    Qcow2Renewal to;
    const Qcow2 *q = b->data;
    if (!plan(b, what, &to, err) || !sound(b, to.version < q->version, err)) {
        return false;
    }
    int error = qcow2_renew_header(b, &to, true);
    if (error == ENAMETOOLONG) {
        return err_set(err,
                       "'%s' has no room for another header; make another image: vitrine image "
                       "convert -O qcow2",
                       b->path);
    }
    error = error ? error : prepare(b, &to);
    if (error == EOVERFLOW) {
        return err_set(err,
                       "'%s': clusters are shared by more snapshots than counts of %u bits can "
                       "say; delete some, or take a larger refcount_bits",
                       b->path, what->refcount_bits);
    }
    error = error ? error : qcow2_renew_header(b, &to, false);
    return !error || failed(b, error, err);
}
