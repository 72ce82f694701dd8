/* qcow2: writing compressed clusters, giving every cluster its place beforehand, and showing the
 * disk as a snapshot keeps it.
 *
 * Compressed clusters lie byte behind byte; each host cluster that one touches is counted once for
 * it. zlib streams have a window of 4 KiB (the format's), zstd ones are one frame.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "storage/qcow2_internal.h"

enum { WINDOW_BITS = -12, MEMORY_LEVEL = 9 };

uint32_t qcow2_pack_bytes(const Block *b)
{
    const Qcow2 *q = b->data;
    return (uint32_t)q->cluster_size;
}

/* The packed length in q->packed; 0: it saves nothing. */
static size_t deflate_cluster(const Qcow2 *q, const uint8_t *data)
{
    size_t room = (size_t)q->cluster_size - 1;
    if (q->zstd) {
        size_t size = ZSTD_compress(q->packed, room, data, (size_t)q->cluster_size, 0);
        return ZSTD_isError(size) ? 0 : size;
    }
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)data,
                       .avail_in = (uInt)q->cluster_size,
                       .next_out = q->packed,
                       .avail_out = (uInt)room};
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        return 0;
    }
    int rc = deflate(&stream, Z_FINISH);
    size_t size = room - stream.avail_out;
    deflateEnd(&stream);
    return rc == Z_STREAM_END ? size : 0;
}

/* One more compressed cluster ends or begins in this host cluster. EOVERFLOW: no more can be
 * counted. */
static int share_cluster(Block *b, uint64_t cluster)
{
    uint64_t count;
    int error = qcow2_count(b, cluster, &count);
    return error ? error : qcow2_set_count(b, cluster, count + 1);
}

/* Room behind the last compressed cluster where that is possible, else in a new host cluster. */
static int allocate_bytes(Block *b, size_t length, uint64_t *place)
{
    Qcow2 *q = b->data;
    uint64_t in = q->pack_at & (q->cluster_size - 1), room = in ? q->cluster_size - in : 0;
    uint64_t last = q->pack_at >> q->cluster_bits, fresh = 0;
    int error = 0;
    if (room < length) {
        error = qcow2_allocate(b, 1, &fresh);
        if (error) {
            return error;
        }
    }
    bool joins = room && (room >= length || fresh >> q->cluster_bits == last + 1);
    if (joins) {
        error = share_cluster(b, last);
        joins = !error;
        if (error == EOVERFLOW) {
            error = fresh ? 0 : qcow2_allocate(b, 1, &fresh);
        }
    }
    if (error) {
        if (fresh) {
            qcow2_unallocate(b, fresh, 1);
        }
        return error;
    }
    *place = joins ? q->pack_at : fresh;
    q->pack_at = *place + length;
    return 0;
}

/* Takes back what allocate_bytes has given. */
static void give_back(Block *b, uint64_t place, size_t length)
{
    Qcow2 *q = b->data;
    q->pack_at = 0;
    for (uint64_t i = place >> q->cluster_bits; i <= (place + length - 1) >> q->cluster_bits; i++) {
        uint64_t count;
        if (qcow2_count(b, i, &count) == 0 && count) {
            (void)qcow2_set_count(b, i, count - 1); /* else: lost room */
        }
    }
}

/* The entry of a compressed cluster: sectors beyond its first, and where it begins. */
static uint64_t packed_entry(const Qcow2 *q, uint64_t place, size_t length)
{
    unsigned bits = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (place + length - 1) / BLOCK_SECTOR - place / BLOCK_SECTOR;
    return QCOW2_COMPRESSED | sectors << bits | place;
}

static int put_packed(Block *b, uint64_t offset, size_t length)
{
    Qcow2 *q = b->data;
    Qcow2Table *table;
    uint64_t place;
    int error = allocate_bytes(b, length, &place);
    if (error) {
        return error;
    }
    if (place + length >= UINT64_C(1) << (62 - (q->cluster_bits - 8))) {
        error = EFBIG;
    }
    error = error ? error : disk_file_write(&b->file, place, q->packed, length);
    error = error ? error : qcow2_own_l2(b, offset, &table);
    error = error ? error : qcow2_release_entry(b, qcow2_l2_entry(q, table, offset));
    if (error) {
        give_back(b, place, length);
        return error;
    }
    qcow2_set_entry(q, table, offset, packed_entry(q, place, length));
    return 0;
}

int qcow2_write_packed(Block *b, uint64_t offset, const void *data, size_t length)
{
    Qcow2 *q = b->data;
    const uint8_t *whole = data;
    if (length < q->cluster_size) { /* the disk ends in this cluster */
        memcpy(q->cluster, data, length);
        memset(q->cluster + length, 0, (size_t)q->cluster_size - length);
        whole = q->cluster;
    }
    q->unpacked_entry = 0;
    size_t packed = deflate_cluster(q, whole);
    return packed ? put_packed(b, offset, packed) : qcow2_write_any(b, offset, data, length);
}

int qcow2_preallocate(Block *b)
{
    Qcow2 *q = b->data;
    uint64_t end = 0;
    int error = b->base ? ENOTSUP : 0;
    for (uint64_t at = 0; at < b->size && !error; at += q->cluster_size) {
        Qcow2Table *table;
        uint64_t place;
        error = qcow2_own_l2(b, at, &table);
        if (error || qcow2_l2_entry(q, table, at)) {
            continue;
        }
        error = qcow2_allocate(b, 1, &place);
        if (!error) {
            qcow2_set_entry(q, table, at, place | QCOW2_COPIED);
            end = place + q->cluster_size > end ? place + q->cluster_size : end;
        }
    }
    uint64_t size = 0;
    error = error ? error : disk_file_size(&b->file, &size);
    error = error || size >= end ? error : disk_file_resize(&b->file, end);
    error = error ? error : qcow2_write_back(b);
    return error ? error : disk_file_sync(&b->file);
}

int qcow2_snapshot_view(Block *b, unsigned index)
{
    Qcow2 *q = b->data;
    uint64_t *l1 = NULL;
    if (!b->read_only || index >= q->snapshots) {
        return EINVAL;
    }
    const Qcow2SnapshotEntry *s = &q->snapshot[index];
    uint64_t span = q->cluster_size << q->l2_bits;
    if (s->info.disk_size == 0 || s->info.disk_size % BLOCK_SECTOR ||
        s->info.disk_size / span + (s->info.disk_size % span != 0) > s->l1_size) {
        return EIO;
    }
    int error = qcow2_read_l1(b, s->l1_offset, s->l1_size, &l1);
    for (uint32_t i = 0; i < s->l1_size && !error; i++) {
        error = l1[i] & QCOW2_OFFSET & (q->cluster_size - 1) ? EIO : 0;
    }
    if (error) {
        free(l1);
        return error;
    }
    free(q->l1);
    q->l1 = l1;
    q->l1_size = s->l1_size;
    q->l1_offset = s->l1_offset;
    b->size = s->info.disk_size;
    q->unpacked_entry = 0;
    return 0;
}
