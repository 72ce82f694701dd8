/* qcow2: internal snapshots, the machine state behind the disk, and resizing.
 *
 * A snapshot is a copy of the L1 table; what it reaches is counted once more, and the running image
 * copies before it writes. Each step writes counts before tables, so that being cut off loses room
 * at most.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2_internal.h"

enum { ENTRY_HEAD = 40, ENTRY_EXTRA = 24 };

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, size_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void take_text(char *to, size_t room, const uint8_t *from, size_t length)
{
    size_t part = length < room ? length : room - 1;
    memcpy(to, from, part);
    to[part] = '\0';
}

/* One entry of the table; its length, or 0 when it does not fit. */
static size_t parse_entry(const Block *b, const uint8_t *p, size_t size, Qcow2SnapshotEntry *s)
{
    if (size < ENTRY_HEAD) {
        return 0;
    }
    uint32_t id = be16(p + 12), name = be16(p + 14), extra = bytes_be32(p + 36);
    uint64_t length = ENTRY_HEAD + (uint64_t)extra + id + name;
    if (extra > 1024 || length > size) {
        return 0;
    }
    *s = (Qcow2SnapshotEntry){.l1_offset = bytes_be64(p), .l1_size = bytes_be32(p + 8)};
    s->info.date_s = bytes_be32(p + 16);
    s->info.date_ns = bytes_be32(p + 20);
    s->info.vm_clock_ns = bytes_be64(p + 24);
    s->info.vm_state_size = extra >= 8 ? bytes_be64(p + ENTRY_HEAD) : bytes_be32(p + 32);
    s->info.disk_size = extra >= 16 ? bytes_be64(p + ENTRY_HEAD + 8) : b->size;
    take_text(s->info.id, sizeof(s->info.id), p + ENTRY_HEAD + extra, id);
    take_text(s->info.name, sizeof(s->info.name), p + ENTRY_HEAD + extra + id, name);
    length = (length + 7) & ~UINT64_C(7);
    return length < size ? (size_t)length : size;
}

bool qcow2_load_snapshots(Block *b, uint64_t offset, uint32_t count, Err *err)
{
    Qcow2 *q = b->data;
    uint64_t file_size = 0;
    int error = disk_file_size(&b->file, &file_size);
    if (error || count == 0) {
        return !error || err_set(err, "'%s': %s", b->path, strerror(error));
    }
    if (count > QCOW2_MAX_SNAPSHOTS || offset % q->cluster_size || offset >= file_size) {
        return err_set(err, "'%s' is a damaged qcow2 image: its snapshot table is out of place",
                       b->path);
    }
    uint64_t room = file_size - offset;
    size_t size = room < QCOW2_MAX_SNAPSHOT_BYTES ? (size_t)room : QCOW2_MAX_SNAPSHOT_BYTES;
    uint64_t most = (uint64_t)count * 2048; /* no need to read the whole file for one entry */
    size = most < size ? (size_t)most : size;
    uint8_t *table = malloc(size);
    q->snapshot = calloc(count, sizeof(*q->snapshot));
    error = !table || !q->snapshot ? ENOMEM : disk_file_read(&b->file, offset, table, size);
    size_t at = 0;
    uint64_t left = file_size; /* no two tables of the first level are in one place */
    for (; q->snapshots < count && !error; q->snapshots++) {
        Qcow2SnapshotEntry *s = &q->snapshot[q->snapshots];
        size_t length = parse_entry(b, table + at, size - at, s);
        bool bad = length == 0 || s->l1_size > QCOW2_MAX_L1_BYTES / 8 ||
                   s->l1_offset % q->cluster_size || s->l1_offset > file_size ||
                   8ull * s->l1_size > file_size - s->l1_offset || 8ull * s->l1_size > left;
        error = bad ? EINVAL : 0;
        left -= bad ? 0 : 8ull * s->l1_size;
        at += length;
    }
    free(table);
    q->snapshots_offset = offset;
    q->snapshots_size = at;
    return !error || err_set(err, "'%s': its snapshot table cannot be read: %s", b->path,
                             error == EINVAL ? "it is damaged" : strerror(error));
}

unsigned qcow2_snapshot_count(const Block *b)
{
    const Qcow2 *q = b->data;
    return q->snapshots;
}

void qcow2_snapshot_info(const Block *b, unsigned index, Qcow2Snapshot *info)
{
    const Qcow2 *q = b->data;
    *info = q->snapshot[index].info;
}

int qcow2_snapshot_find(const Block *b, const char *name)
{
    const Qcow2 *q = b->data;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < q->snapshots; i++) {
            const Qcow2Snapshot *s = &q->snapshot[i].info;
            if (strcmp(pass ? s->id : s->name, name) == 0) {
                return (int)i;
            }
        }
    }
    return -1;
}

/* The list as bytes; the caller frees them. */
static uint8_t *pack_table(const Qcow2SnapshotEntry *list, unsigned count, size_t *size)
{
    uint8_t *table = calloc(count ? count : 1, ENTRY_HEAD + ENTRY_EXTRA + sizeof(list->info) + 8);
    size_t at = 0;
    for (unsigned i = 0; i < count && table; i++) {
        const Qcow2Snapshot *s = &list[i].info;
        uint8_t *p = table + at;
        size_t id = strlen(s->id), name = strlen(s->name);
        bytes_put_be64(p, list[i].l1_offset);
        bytes_put_be32(p + 8, list[i].l1_size);
        put16(p + 12, id);
        put16(p + 14, name);
        bytes_put_be32(p + 16, s->date_s);
        bytes_put_be32(p + 20, s->date_ns);
        bytes_put_be64(p + 24, s->vm_clock_ns);
        bytes_put_be32(p + 32, s->vm_state_size > UINT32_MAX ? 0 : (uint32_t)s->vm_state_size);
        bytes_put_be32(p + 36, ENTRY_EXTRA);
        bytes_put_be64(p + ENTRY_HEAD, s->vm_state_size);
        bytes_put_be64(p + ENTRY_HEAD + 8, s->disk_size);
        bytes_put_be64(p + ENTRY_HEAD + 16, UINT64_MAX); /* no instruction count */
        memcpy(p + ENTRY_HEAD + ENTRY_EXTRA, s->id, id);
        memcpy(p + ENTRY_HEAD + ENTRY_EXTRA + id, s->name, name);
        at += (ENTRY_HEAD + ENTRY_EXTRA + id + name + 7) & ~(size_t)7;
    }
    *size = at;
    return table;
}

static uint64_t clusters_of(const Qcow2 *q, uint64_t bytes)
{
    return (bytes + q->cluster_size - 1) >> q->cluster_bits;
}

/* Puts another list in the place of the present one; takes `list` over on success. */
static int set_list(Block *b, Qcow2SnapshotEntry *list, unsigned count)
{
    Qcow2 *q = b->data;
    size_t size;
    uint8_t *table = pack_table(list, count, &size);
    uint64_t place = 0;
    int error = !table                            ? ENOMEM
                : size > QCOW2_MAX_SNAPSHOT_BYTES ? EFBIG
                : size                            ? qcow2_allocate(b, clusters_of(q, size), &place)
                                                  : 0;
    if (error) {
        free(table);
        return error;
    }
    uint64_t old_offset = q->snapshots_offset, old_size = q->snapshots_size;
    Qcow2SnapshotEntry *old = q->snapshot;
    unsigned old_count = q->snapshots;
    bool named = false;
    error = size ? disk_file_write(&b->file, place, table, size) : 0;
    error = error ? error : qcow2_write_back(b);
    error = error ? error : disk_file_sync(&b->file);
    free(table);
    if (!error) {
        q->snapshot = list;
        q->snapshots = count;
        q->snapshots_offset = place;
        q->snapshots_size = size;
        named = true;
        error = qcow2_write_header(b);
        error = error ? error : disk_file_sync(&b->file);
    }
    if (error) {
        q->snapshot = old;
        q->snapshots = old_count;
        q->snapshots_offset = old_offset;
        q->snapshots_size = old_size;
        /* a header that may name the new place has to be gone before that is free again */
        if (!named || (qcow2_write_header(b) == 0 && disk_file_sync(&b->file) == 0)) {
            qcow2_unallocate(b, place, clusters_of(q, size));
        }
        return error;
    }
    for (uint64_t i = 0; i < clusters_of(q, old_size) && old_count && !error; i++) {
        error = qcow2_release(b, old_offset + (i << q->cluster_bits));
    }
    free(old);
    return error;
}

int qcow2_renew_snapshots(Block *b)
{
    const Qcow2 *q = b->data;
    size_t bytes = q->snapshots * sizeof(*q->snapshot);
    Qcow2SnapshotEntry *list = bytes ? malloc(bytes) : NULL;
    if (!list) {
        return bytes ? ENOMEM : 0;
    }
    memcpy(list, q->snapshot, bytes);
    int error = set_list(b, list, q->snapshots);
    if (q->snapshot != list) {
        free(list);
    }
    return error ? error : qcow2_settle(b);
}

/* One more reference to a cluster. */
static int add_reference(Block *b, uint64_t offset)
{
    const Qcow2 *q = b->data;
    uint64_t count;
    int error = qcow2_count(b, offset >> q->cluster_bits, &count);
    return error ? error : qcow2_set_count(b, offset >> q->cluster_bits, count + 1);
}

static int change_cluster(Block *b, uint64_t offset, bool more)
{
    return more ? add_reference(b, offset) : qcow2_release(b, offset);
}

/* Counts all that an L1 table reaches once more, or once less. */
static int change_references(Block *b, const uint64_t *l1, uint32_t size, bool more)
{
    Qcow2 *q = b->data;
    uint64_t tables = 0, most;
    int error = qcow2_most_tables(b, &most);
    for (uint32_t i = 0; i < size && !error; i++) {
        uint64_t l2 = l1[i] & QCOW2_OFFSET;
        if (l2 == 0) {
            continue;
        }
        bool damaged = l2 & (q->cluster_size - 1) || ++tables > most;
        error = damaged ? EUCLEAN : 0;
        for (uint64_t j = 0; j < q->cluster_size / 8 && !error; j++) {
            Qcow2Table *table;
            error = qcow2_table_load(b, &q->l2, l2, false, &table);
            uint64_t entry = error ? 0 : bytes_be64(table->data + 8 * j);
            if (entry & QCOW2_COMPRESSED) {
                uint64_t offset, length;
                qcow2_packed_place(q, entry, &offset, &length);
                uint64_t last = (offset + length - 1) >> q->cluster_bits;
                for (uint64_t c = offset >> q->cluster_bits; c <= last && !error; c++) {
                    error = change_cluster(b, c << q->cluster_bits, more);
                }
            } else if (entry & QCOW2_OFFSET) {
                error = change_cluster(b, entry & QCOW2_OFFSET, more);
            }
        }
        error = error ? error : change_cluster(b, l2, more);
    }
    return error;
}

/* Sets the COPIED flags of the running image as the counts say. */
static int renew_flags(Block *b)
{
    Qcow2 *q = b->data;
    int error = 0;
    for (uint32_t i = 0; i < q->l1_size && !error; i++) {
        uint64_t l2 = q->l1[i] & QCOW2_OFFSET, count;
        if (l2 == 0) {
            continue;
        }
        for (uint64_t j = 0; j < q->cluster_size / 8 && !error; j++) {
            Qcow2Table *table;
            error = qcow2_table_load(b, &q->l2, l2, false, &table);
            uint64_t entry = error ? 0 : bytes_be64(table->data + 8 * j), right = entry;
            if (!error && !(entry & QCOW2_COMPRESSED) && entry & QCOW2_OFFSET) {
                error = qcow2_count(b, (entry & QCOW2_OFFSET) >> q->cluster_bits, &count);
                right = (entry & ~QCOW2_COPIED) | (count == 1 ? QCOW2_COPIED : 0);
            }
            if (!error && right != entry) {
                bytes_put_be64(table->data + 8 * j, right);
                table->dirty = true;
            }
        }
        error = error ? error : qcow2_count(b, l2 >> q->cluster_bits, &count);
        uint64_t right = l2 | (count == 1 ? QCOW2_COPIED : 0);
        if (!error && right != q->l1[i]) {
            q->l1[i] = right;
            qcow2_l1_changed(q, i);
        }
    }
    return error;
}

int qcow2_settle(Block *b)
{
    int error = qcow2_write_back(b);
    error = error ? error : qcow2_write_back(b);
    return error ? error : disk_file_sync(&b->file);
}

static uint64_t vm_state_base(const Block *b)
{
    const Qcow2 *q = b->data;
    uint64_t span = q->cluster_size << q->l2_bits;
    return (b->size + span - 1) / span * span;
}

/* The running image has no machine state of its own. */
int qcow2_vm_state_drop(Block *b)
{
    Qcow2 *q = b->data;
    uint64_t first = vm_state_base(b) / (q->cluster_size << q->l2_bits), tables = 0, most;
    int error = qcow2_most_tables(b, &most);
    for (uint64_t i = first; i < q->l1_size && !error; i++) {
        if (q->l1[i]) {
            error = ++tables > most ? EUCLEAN : 0;
            error = error ? error : change_references(b, &q->l1[i], 1, false);
            qcow2_set_remove(&q->metadata, (q->l1[i] & QCOW2_OFFSET) >> q->cluster_bits);
            q->l1[i] = 0;
            qcow2_l1_changed(q, (uint32_t)i);
        }
    }
    return error ? error : qcow2_settle(b);
}

static void choose_id(const Qcow2 *q, char *id, size_t room)
{
    unsigned long highest = 0;
    for (unsigned i = 0; i < q->snapshots; i++) {
        unsigned long n = strtoul(q->snapshot[i].info.id, NULL, 10);
        highest = n > highest ? n : highest;
    }
    snprintf(id, room, "%lu", highest + 1);
}

/* A copy of the running L1 in clusters of its own. */
static int copy_l1(Block *b, uint64_t *place)
{
    Qcow2 *q = b->data;
    size_t bytes = (size_t)q->l1_size * 8;
    uint8_t *copy = malloc(bytes ? bytes : 1);
    int error = copy ? qcow2_allocate(b, clusters_of(q, bytes ? bytes : 1), place) : ENOMEM;
    for (uint32_t i = 0; i < q->l1_size && !error; i++) {
        bytes_put_be64(copy + 8ull * i, q->l1[i] & ~QCOW2_COPIED);
    }
    if (!error) {
        error = disk_file_write(&b->file, *place, copy, bytes);
        if (error) {
            qcow2_unallocate(b, *place, clusters_of(q, bytes ? bytes : 1));
        }
    }
    free(copy);
    return error;
}

static int make(Block *b, const Qcow2Snapshot *info)
{
    Qcow2 *q = b->data;
    Qcow2SnapshotEntry *list = calloc(q->snapshots + 1u, sizeof(*list));
    uint64_t place = 0;
    int error = !list ? ENOMEM : q->snapshots >= QCOW2_MAX_SNAPSHOTS ? EFBIG : qcow2_settle(b);
    error = error ? error : copy_l1(b, &place);
    if (error) {
        free(list);
        return error;
    }
    if (q->snapshots) {
        memcpy(list, q->snapshot, q->snapshots * sizeof(*list));
    }
    Qcow2SnapshotEntry *s = &list[q->snapshots];
    *s = (Qcow2SnapshotEntry){.info = *info, .l1_offset = place, .l1_size = q->l1_size};
    s->info.disk_size = b->size;
    if (s->info.id[0] == '\0') {
        choose_id(q, s->info.id, sizeof(s->info.id));
    }
    error = change_references(b, q->l1, q->l1_size, true);
    error = error ? error : renew_flags(b);
    error = error ? error : qcow2_settle(b);
    error = error ? error : set_list(b, list, q->snapshots + 1);
    if (error) {
        Qcow2Check check;
        free(list);
        (void)qcow2_check(b, true, &check); /* takes back what has been counted in vain */
        return error;
    }
    return qcow2_vm_state_drop(b);
}

static int release_l1(Block *b, uint64_t offset, uint32_t size)
{
    const Qcow2 *q = b->data;
    uint64_t clusters = clusters_of(q, size ? 8ull * size : 1);
    int error = 0;
    for (uint64_t i = 0; i < clusters && !error; i++) {
        error = qcow2_release(b, offset + (i << q->cluster_bits));
    }
    return error;
}

static int discard(Block *b, unsigned index)
{
    Qcow2 *q = b->data;
    uint64_t *l1 = NULL;
    Qcow2SnapshotEntry gone = q->snapshot[index];
    Qcow2SnapshotEntry *list = calloc(q->snapshots, sizeof(*list));
    int error = list ? qcow2_settle(b) : ENOMEM;
    error = error ? error : qcow2_read_l1(b, gone.l1_offset, gone.l1_size, &l1);
    for (unsigned i = 0, to = 0; i < q->snapshots && !error; i++) {
        if (i != index) {
            list[to++] = q->snapshot[i];
        }
    }
    error = error ? error : set_list(b, list, q->snapshots - 1);
    if (error) {
        free(list);
        free(l1);
        return error;
    }
    error = change_references(b, l1, gone.l1_size, false);
    error = error ? error : release_l1(b, gone.l1_offset, gone.l1_size);
    error = error ? error : qcow2_settle(b);
    error = error ? error : renew_flags(b);
    free(l1);
    return error ? error : qcow2_settle(b);
}

static int go_back(Block *b, unsigned index)
{
    Qcow2 *q = b->data;
    uint64_t *l1 = NULL, *before = NULL;
    const Qcow2SnapshotEntry s = q->snapshot[index];
    int error = qcow2_settle(b);
    error = error ? error : qcow2_grow_l1(b, s.l1_size);
    error = error ? error : qcow2_read_l1(b, s.l1_offset, s.l1_size, &l1);
    before = error ? NULL : malloc(q->l1_size * 8ull + 8);
    error = error ? error : before ? change_references(b, l1, s.l1_size, true) : ENOMEM;
    error = error ? error : qcow2_settle(b);
    if (error) {
        free(before);
        free(l1);
        return error;
    }
    memcpy(before, q->l1, q->l1_size * 8ull);
    for (uint32_t i = 0; i < q->l1_size; i++) {
        qcow2_set_remove(&q->metadata, (q->l1[i] & QCOW2_OFFSET) >> q->cluster_bits);
    }
    for (uint32_t i = 0; i < q->l1_size; i++) {
        q->l1[i] = i < s.l1_size ? l1[i] & QCOW2_OFFSET : 0;
        if (q->l1[i] && !error) {
            error = qcow2_set_add(&q->metadata, q->l1[i] >> q->cluster_bits);
        }
        qcow2_l1_changed(q, i);
    }
    error = error ? error : qcow2_set_add(&q->metadata, 0);
    error = error ? error : qcow2_settle(b);
    error = error ? error : change_references(b, before, q->l1_size, false);
    error = error ? error : qcow2_settle(b);
    error = error ? error : renew_flags(b);
    error = error ? error : qcow2_settle(b);
    q->unpacked_entry = 0;
    free(before);
    free(l1);
    return error;
}

/* Counts and flags change in many places at once: until all is done the header says that whoever
 * opens the image next must repair it first. Version 2 has no such mark; what is left there is lost
 * room and missing flags. */
static int mark(Block *b, bool unsettled)
{
    Qcow2 *q = b->data;
    if (q->version < 3) {
        return 0;
    }
    q->incompatible = (q->incompatible & ~(uint64_t)QCOW2_DIRTY) | (unsettled ? QCOW2_DIRTY : 0);
    int error = qcow2_write_header(b);
    return error ? error : disk_file_sync(&b->file);
}

int qcow2_snapshot_create(Block *b, const Qcow2Snapshot *info)
{
    int error = mark(b, true);
    error = error ? error : make(b, info);
    int unmarked = mark(b, error != 0 && error != EOVERFLOW);
    return error ? error : unmarked;
}

int qcow2_snapshot_delete(Block *b, unsigned index)
{
    const Qcow2 *q = b->data;
    if (index >= q->snapshots) {
        return EINVAL;
    }
    int error = mark(b, true);
    error = error ? error : discard(b, index);
    int unmarked = mark(b, error != 0);
    return error ? error : unmarked;
}

int qcow2_snapshot_apply(Block *b, unsigned index)
{
    const Qcow2 *q = b->data;
    if (index >= q->snapshots || q->snapshot[index].info.disk_size != b->size) {
        return EINVAL; /* none, or made when the disk had another size */
    }
    int error = mark(b, true);
    error = error ? error : go_back(b, index);
    int unmarked = mark(b, error != 0);
    return error ? error : unmarked;
}

int qcow2_vm_state_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    Qcow2 *q = b->data;
    uint64_t base = vm_state_base(b), span = q->cluster_size << q->l2_bits;
    if (offset > INT64_MAX - base - length) {
        return EFBIG;
    }
    int error = qcow2_grow_l1(b, (base + offset + length + span - 1) / span);
    return error ? error : qcow2_write_any(b, base + offset, data, length);
}

int qcow2_vm_state_read(Block *b, uint64_t offset, void *data, size_t length)
{
    uint64_t base = vm_state_base(b);
    return offset > INT64_MAX - base - length ? EINVAL
                                              : qcow2_read_any(b, base + offset, data, length);
}

/* A whole cluster behind the disk's end reads as zeros once the disk is longer, whatever the image
 * below has there (below), or this one has left from when it was longer. */
static int clear_cluster(Block *b, uint64_t at, bool below, const uint8_t *zeros)
{
    Qcow2 *q = b->data;
    uint64_t entry = 0, empty = below ? QCOW2_ZERO : 0;
    Qcow2Table *table;
    uint64_t l2 = q->l1[at / (q->cluster_size << q->l2_bits)] & QCOW2_OFFSET;
    int error = l2 ? qcow2_table_load(b, &q->l2, l2, false, &table) : 0;
    entry = l2 && !error ? qcow2_l2_entry(q, table, at) : 0;
    if (error || entry == empty) {
        return error;
    }
    if (below && q->version < 3) { /* which has no word for zeros */
        return qcow2_write_any(b, at, zeros, q->cluster_size);
    }
    error = qcow2_own_l2(b, at, &table);
    error = error ? error : qcow2_release_entry(b, entry);
    if (!error) {
        qcow2_set_entry(q, table, at, empty);
    }
    return error;
}

/* What a longer disk has more reads as zeros. */
static int clear_growth(Block *b, uint64_t size)
{
    Qcow2 *q = b->data;
    uint64_t below = b->base ? block_size(b->base) : 0, at = b->size;
    uint64_t span = q->cluster_size << q->l2_bits, in = at & (q->cluster_size - 1);
    uint8_t *zeros = calloc(1, (size_t)q->cluster_size);
    int error = zeros ? 0 : ENOMEM;
    if (in && !error) { /* the cluster that the disk ended in */
        Qcow2Table *table = NULL;
        uint64_t rest = q->cluster_size - in, l2 = q->l1[at / span] & QCOW2_OFFSET;
        error = l2 ? qcow2_table_load(b, &q->l2, l2, false, &table) : 0;
        if (!error && (at < below || qcow2_l2_entry(q, table, at))) {
            error = qcow2_write_any(b, at, zeros, rest);
        }
        at += rest;
    }
    while (at < size && !error) {
        if (at >= below && (q->l1[at / span] & QCOW2_OFFSET) == 0) {
            at = (at / span + 1) * span; /* nothing is here */
        } else {
            error = clear_cluster(b, at, at < below, zeros);
            at += q->cluster_size;
        }
    }
    free(zeros);
    return error;
}

int qcow2_resize(Block *b, uint64_t size)
{
    Qcow2 *q = b->data;
    uint64_t span = q->cluster_size << q->l2_bits;
    if (size % BLOCK_SECTOR || size == 0 || size > INT64_MAX - span) {
        return EINVAL;
    }
    if (q->snapshots) {
        return EBUSY;
    }
    int error = qcow2_vm_state_drop(b);
    if (!error && size < b->size && !(q->version < 3 && b->base)) {
        /* what is cut off must not come back when it grows again */
        uint64_t from = (size + q->cluster_size - 1) & ~(q->cluster_size - 1);
        error = from < b->size ? block_qcow2.discard(b, from, b->size - from) : 0;
        uint64_t rest = from < b->size ? from - size : b->size - size;
        uint8_t *zeros = rest ? calloc(1, (size_t)rest) : NULL;
        if (!error && rest) {
            error = zeros ? qcow2_write_any(b, size, zeros, rest) : ENOMEM;
        }
        free(zeros);
    }
    error = error ? error : qcow2_grow_l1(b, (size + span - 1) / span);
    error = error || size <= b->size ? error : clear_growth(b, size);
    error = error ? error : qcow2_settle(b);
    if (!error) {
        uint64_t before = b->size;
        b->size = size;
        error = qcow2_write_header(b);
        b->size = error ? before : size;
    }
    return error ? error : disk_file_sync(&b->file);
}
