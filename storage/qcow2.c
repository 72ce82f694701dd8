/* qcow2 images: opening and its checks, reading, writing, discarding (QEMU's "Qcow2 image file
 * format").
 *
 * Every size and offset in the file is checked before use; tables are read a cluster at a time.
 * Clusters that are compressed are rewritten plain; qcow2_pack.c makes such. Not supported:
 * encryption, external data files, extended L2 entries, bitmaps (dropped on the first write, as the
 * format provides). Metadata: qcow2_meta.c.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "machine/core/log.h"
#include "storage/image_path.h"
#include "storage/qcow2_internal.h"

LOG_TAG("qcow2");

enum {
    CACHE_BYTES = 8 << 20, /* for L2 tables, and as much for blocks of counts */
    CACHE_LEAST = 8,
    CACHE_MOST = 1024,
    MAX_BACKING_NAME = 1023,
    MAX_DEPTH = 32, /* of backing files */
    EXTENSION_END = 0,
    EXTENSION_BACKING_FORMAT = (int)0xe2792aca,
};

bool qcow2_is(const Block *b)
{
    return b->format == &block_qcow2;
}

static int qcow2_probe(const BlockProbe *p)
{
    bool magic = p->head_size >= QCOW2_HEADER_V2 && memcmp(p->head, "QFI\xfb", 4) == 0;
    uint32_t version = magic ? bytes_be32(p->head + 4) : 0;
    return version == 2 || version == 3 ? 100 : 0;
}

static uint64_t l2_span(const Qcow2 *q)
{
    return q->cluster_size << q->l2_bits; /* bytes of disk that an L2 table describes */
}

void qcow2_packed_place(const Qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *length)
{
    unsigned bits = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (entry & (QCOW2_COMPRESSED - 1)) >> bits;
    *offset = entry & ((UINT64_C(1) << bits) - 1);
    *length = (sectors + 1) * BLOCK_SECTOR - *offset % BLOCK_SECTOR;
}

/* ---- opening ---- */

static bool bad(const Block *b, Err *err, const char *what)
{
    return err_set(err, "'%s' is a damaged qcow2 image: %s; try: vitrine image check -r all '%s'",
                   b->path, what, b->path);
}

/* A table of `bytes` at `offset`: on a cluster and inside the file. */
static bool inside(const Qcow2 *q, uint64_t offset, uint64_t bytes, uint64_t file_size)
{
    return offset % q->cluster_size == 0 && offset <= file_size && bytes <= file_size - offset;
}

static bool read_header(Block *b, const uint8_t *h, Err *err)
{
    Qcow2 *q = b->data;
    q->version = bytes_be32(h + 4);
    q->cluster_bits = bytes_be32(h + 20);
    b->size = bytes_be64(h + 24) & ~UINT64_C(511);
    q->refcount_order = 4;
    if (q->version != 2 && q->version != 3) {
        return err_set(err, "'%s': qcow2 version %u is unknown; convert it with qemu-img", b->path,
                       q->version);
    }
    if (q->version == 3) {
        q->incompatible = bytes_be64(h + 72);
        q->compatible = bytes_be64(h + 80);
        q->autoclear = bytes_be64(h + 88);
        q->refcount_order = bytes_be32(h + 96);
        uint32_t length = bytes_be32(h + 100);
        if (length < QCOW2_HEADER_V3 || length % 8 || length > 4096 - 8) {
            return bad(b, err, "its header length is wrong");
        }
        q->zstd = length > QCOW2_HEADER_V3 && q->incompatible & QCOW2_COMPRESSION && h[104] == 1;
        if (length > QCOW2_HEADER_V3 && h[104] > 1) {
            return err_set(err, "'%s': its compression (type %u) is unknown", b->path, h[104]);
        }
    }
    if (bytes_be32(h + 32) != 0) {
        return err_set(err, "'%s' is encrypted, which is not supported; convert it with qemu-img",
                       b->path);
    }
    if (q->cluster_bits < 9 || q->cluster_bits > 21 || q->refcount_order > 6) {
        return bad(b, err, "its cluster size or count width is out of range");
    }
    if (b->size == 0 || b->size > INT64_MAX - (UINT64_C(1) << 40)) {
        return bad(b, err, "its disk size is out of range");
    }
    uint64_t unknown =
        q->incompatible & ~(uint64_t)(QCOW2_DIRTY | QCOW2_CORRUPT | QCOW2_COMPRESSION);
    if (unknown) {
        return err_set(err,
                       "'%s' uses qcow2 features that are not supported (0x%llx); convert it with "
                       "qemu-img",
                       b->path, (unsigned long long)unknown);
    }
    if (q->incompatible & QCOW2_CORRUPT && !b->read_only && !b->for_repair) {
        return err_set(err, "'%s' is marked as damaged; repair it: vitrine image check -r all '%s'",
                       b->path, b->path);
    }
    q->cluster_size = UINT64_C(1) << q->cluster_bits;
    q->l2_bits = q->cluster_bits - 3;
    return true;
}

static int read_words(Block *b, uint64_t offset, size_t count, uint64_t **out)
{
    uint8_t *bytes = malloc(count ? count * 8 : 8);
    uint64_t *words = malloc(count ? count * 8 : 8);
    int error = !bytes || !words ? ENOMEM : 0;
    error = error || !count ? error : disk_file_read(&b->file, offset, bytes, count * 8);
    for (size_t i = 0; i < count && !error; i++) {
        words[i] = bytes_be64(bytes + 8 * i);
    }
    free(bytes);
    if (error) {
        free(words);
        words = NULL;
    }
    *out = words;
    return error;
}

int qcow2_read_l1(Block *b, uint64_t offset, uint32_t size, uint64_t **l1)
{
    return read_words(b, offset, size, l1);
}

/* All host clusters that hold metadata of the running image. */
static int note_metadata(Block *b)
{
    Qcow2 *q = b->data;
    uint64_t per_cluster = q->cluster_size / 8;
    int error = qcow2_set_add(&q->metadata, 0);
    uint64_t l1_clusters = (q->l1_size + per_cluster - 1) / per_cluster;
    for (uint64_t i = 0; i < l1_clusters && !error; i++) {
        error = qcow2_set_add(&q->metadata, (q->l1_offset >> q->cluster_bits) + i);
    }
    for (uint64_t i = 0; i < q->counts_size / per_cluster && !error; i++) {
        error = qcow2_set_add(&q->metadata, (q->counts_offset >> q->cluster_bits) + i);
    }
    for (uint32_t i = 0; i < q->l1_size && !error; i++) {
        uint64_t offset = q->l1[i] & QCOW2_OFFSET;
        error = offset ? qcow2_set_add(&q->metadata, offset >> q->cluster_bits) : 0;
    }
    for (uint32_t i = 0; i < q->counts_size && !error; i++) {
        error = q->counts[i] ? qcow2_set_add(&q->metadata, q->counts[i] >> q->cluster_bits) : 0;
    }
    return error;
}

static bool read_tables(Block *b, const uint8_t *h, uint64_t file_size, Err *err)
{
    Qcow2 *q = b->data;
    uint64_t clusters = bytes_be32(h + 56), span = l2_span(q);
    q->l1_size = bytes_be32(h + 36);
    q->l1_offset = bytes_be64(h + 40);
    q->counts_offset = bytes_be64(h + 48);
    uint64_t needed = b->size / span + (b->size % span != 0);
    if (q->l1_size > QCOW2_MAX_L1_BYTES / 8 || needed > q->l1_size ||
        !inside(q, q->l1_offset, 8ull * q->l1_size, file_size)) {
        return bad(b, err, "its L1 table lies outside the file or is too small");
    }
    if (clusters == 0 || clusters > QCOW2_MAX_TABLE_BYTES / q->cluster_size ||
        !inside(q, q->counts_offset, clusters * q->cluster_size, file_size)) {
        return bad(b, err, "its refcount table lies outside the file");
    }
    q->counts_size = (uint32_t)(clusters * (q->cluster_size / 8));
    int error = read_words(b, q->l1_offset, q->l1_size, &q->l1);
    error = error ? error : read_words(b, q->counts_offset, q->counts_size, &q->counts);
    if (error) {
        return err_set(err, "'%s': its tables cannot be read: %s", b->path, strerror(error));
    }
    for (uint32_t i = 0; i < q->l1_size; i++) {
        if (q->l1[i] & QCOW2_OFFSET & (q->cluster_size - 1) && !b->read_only && !b->for_repair) {
            return bad(b, err, "an L2 table is not on a cluster");
        }
    }
    for (uint32_t i = 0; i < q->counts_size; i++) {
        bool astray = (q->counts[i] & (q->cluster_size - 1)) != 0;
        if (b->for_repair && (astray || q->counts[i] >= file_size)) {
            q->counts[i] = 0; /* its counts are made anew */
            q->lost_blocks++;
        } else if (astray) {
            return bad(b, err, "a refcount block is not on a cluster");
        }
    }
    error = note_metadata(b);
    return !error || err_set(err, "'%s': %s", b->path, strerror(error));
}

static bool make_caches(Block *b, Err *err)
{
    Qcow2 *q = b->data;
    unsigned count = (unsigned)(CACHE_BYTES / q->cluster_size);
    count = count < CACHE_LEAST ? CACHE_LEAST : count > CACHE_MOST ? CACHE_MOST : count;
    q->l2.count = q->blocks.count = count;
    q->l2.table = calloc(count, sizeof(Qcow2Table));
    q->blocks.table = calloc(count, sizeof(Qcow2Table));
    q->cluster = malloc((size_t)q->cluster_size);
    q->unpacked = malloc((size_t)q->cluster_size);
    q->packed = malloc((size_t)q->cluster_size * 2 + BLOCK_SECTOR);
    return (q->l2.table && q->blocks.table && q->cluster && q->unpacked && q->packed) ||
           err_set(err, "'%s': out of memory", b->path);
}

/* The extension that names the backing file's format, if any. */
static void backing_format(const uint8_t *h, size_t size, size_t at, char *format, size_t room)
{
    format[0] = '\0';
    while (at + 8 <= size) {
        uint32_t type = bytes_be32(h + at), length = bytes_be32(h + at + 4);
        if (type == EXTENSION_END || length > size - at - 8) {
            return;
        }
        if (type == (uint32_t)EXTENSION_BACKING_FORMAT && length < room) {
            memcpy(format, h + at + 8, length);
            format[length] = '\0';
        }
        at += 8 + (length + 7u) / 8 * 8;
    }
}

static bool open_backing(Block *b, const uint8_t *h, size_t size, const BlockOptions *options,
                         Err *err)
{
    uint64_t at = bytes_be64(h + 8);
    uint32_t length = bytes_be32(h + 16);
    char name[MAX_BACKING_NAME + 1], path[PATH_MAX], format[32];
    if (at == 0 || options->no_backing) {
        return true;
    }
    if (length == 0 || length > MAX_BACKING_NAME || at > size || length > size - at) {
        return bad(b, err, "its backing file's name lies outside the header");
    }
    memcpy(name, h + at, length);
    name[length] = '\0';
    unsigned version = bytes_be32(h + 4);
    backing_format(h, (size_t)at, version == 3 ? bytes_be32(h + 100) : QCOW2_HEADER_V2, format,
                   sizeof(format));
    if (!image_path_beside(b->path, name, options->any_backing, path, sizeof(path), err)) {
        return false;
    }
    if (options->depth >= MAX_DEPTH) {
        return err_set(err, "'%s': its backing files go round in a circle, or are more than %d",
                       b->path, MAX_DEPTH);
    }
    BlockOptions how = *options;
    how.read_only = true;
    how.snapshot = false;
    how.depth++;
    how.format = format[0] ? format : NULL;
    b->base = block_open(path, &how, err);
    return b->base != NULL;
}

static void qcow2_free(Block *b)
{
    Qcow2 *q = b->data;
    if (!q) {
        return;
    }
    for (unsigned i = 0; i < q->l2.count && q->l2.table; i++) {
        free(q->l2.table[i].data);
    }
    for (unsigned i = 0; i < q->blocks.count && q->blocks.table; i++) {
        free(q->blocks.table[i].data);
    }
    free(q->l2.table);
    free(q->blocks.table);
    free(q->l1);
    free(q->counts);
    free(q->freed);
    free(q->metadata.slot);
    free(q->cluster);
    free(q->unpacked);
    free(q->packed);
    free(q->snapshot);
    free(q);
    b->data = NULL;
}

/* An image that was not closed by its last writer is mended before it is written again. */
static bool make_ready(Block *b, Err *err)
{
    Qcow2 *q = b->data;
    int error = 0;
    if (b->read_only || b->for_repair) {
        return true;
    }
    if (q->incompatible & QCOW2_DIRTY) {
        Qcow2Check check;
        log_warn("'%s' was not closed properly; it is being repaired", b->path);
        error = qcow2_check(b, false, &check); /* what cannot be read whole is left alone */
        error = error ? error : qcow2_check(b, true, &check);
        q->incompatible &= ~(uint64_t)QCOW2_DIRTY;
        error = error ? error : qcow2_write_header(b);
    } else if (q->autoclear) {
        error = qcow2_write_header(b);
        error = error ? error : disk_file_sync(&b->file); /* before their clusters are free */
    }
    q->autoclear = 0;
    return !error ||
           err_set(err, "'%s' cannot be made ready for writing: %s", b->path, strerror(error));
}

static bool qcow2_open(Block *b, const BlockOptions *options, Err *err)
{
    uint8_t h[4096] = {0};
    uint64_t file_size = 0;
    int error = disk_file_size(&b->file, &file_size);
    size_t size = file_size < sizeof(h) ? (size_t)file_size : sizeof(h);
    error = error ? error : disk_file_read(&b->file, 0, h, size);
    if (error) {
        return err_set(err, "'%s' cannot be read: %s", b->path, strerror(error));
    }
    if (size < QCOW2_HEADER_V2 || memcmp(h, "QFI\xfb", 4) != 0) {
        return err_set(err, "'%s' is no qcow2 image; leave format= out to have it recognised",
                       b->path);
    }
    b->data = calloc(1, sizeof(Qcow2));
    if (!b->data) {
        return err_set(err, "'%s': out of memory", b->path);
    }
    Qcow2 *q = b->data;
    if (!read_header(b, h, err) || !read_tables(b, h, file_size, err) || !make_caches(b, err) ||
        !qcow2_load_snapshots(b, bytes_be64(h + 64), bytes_be32(h + 60), err) ||
        !open_backing(b, h, size < q->cluster_size ? size : (size_t)q->cluster_size, options,
                      err) ||
        !make_ready(b, err)) {
        block_close(b->base);
        b->base = NULL;
        qcow2_free(b);
        return false;
    }
    return true;
}

/* ---- reading ---- */

/* The L2 table for a disk offset; *table NULL where there is none. */
static int find_l2(Block *b, uint64_t offset, Qcow2Table **table)
{
    Qcow2 *q = b->data;
    uint64_t index = offset / l2_span(q);
    uint64_t at = index < q->l1_size ? q->l1[index] & QCOW2_OFFSET : 0;
    *table = NULL;
    if (at & (q->cluster_size - 1)) {
        return EIO;
    }
    return at ? qcow2_table_load(b, &q->l2, at, false, table) : 0;
}

static uint64_t l2_index(const Qcow2 *q, uint64_t offset)
{
    return offset >> q->cluster_bits & ((UINT64_C(1) << q->l2_bits) - 1);
}

uint64_t qcow2_l2_entry(const Qcow2 *q, const Qcow2Table *table, uint64_t offset)
{
    return table ? bytes_be64(table->data + 8 * l2_index(q, offset)) : 0;
}

typedef enum ClusterKind { CLUSTER_NONE, CLUSTER_ZERO, CLUSTER_DATA, CLUSTER_PACKED } ClusterKind;

static ClusterKind kind_of(const Qcow2 *q, uint64_t entry)
{
    if (entry & QCOW2_COMPRESSED) {
        return CLUSTER_PACKED;
    }
    if (q->version >= 3 && entry & QCOW2_ZERO) {
        return CLUSTER_ZERO;
    }
    return entry & QCOW2_OFFSET ? CLUSTER_DATA : CLUSTER_NONE;
}

static int inflate_cluster(const Qcow2 *q, const uint8_t *packed, size_t length, uint8_t *out)
{
    if (q->zstd) {
        ZSTD_DStream *stream = ZSTD_createDStream();
        ZSTD_outBuffer to = {out, (size_t)q->cluster_size, 0};
        ZSTD_inBuffer from = {packed, length, 0};
        size_t rc = stream ? 1 : 0;
        /* the frame may be followed by what fills its last sector */
        while (stream && to.pos < to.size && from.pos < from.size && rc != 0) {
            rc = ZSTD_decompressStream(stream, &to, &from);
            if (ZSTD_isError(rc)) {
                break;
            }
        }
        ZSTD_freeDStream(stream);
        return to.pos == to.size ? 0 : EIO;
    }
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)packed,
                       .avail_in = (uInt)length,
                       .next_out = out,
                       .avail_out = (uInt)q->cluster_size};
    if (inflateInit2(&stream, -15) != Z_OK) {
        return ENOMEM;
    }
    int rc = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    return (rc == Z_STREAM_END || rc == Z_BUF_ERROR) && stream.avail_out == 0 ? 0 : EIO;
}

/* Brings a compressed cluster into q->unpacked. */
static int unpack(Block *b, uint64_t entry)
{
    Qcow2 *q = b->data;
    uint64_t offset, length, size;
    if (q->unpacked_entry == entry) {
        return 0;
    }
    q->unpacked_entry = 0;
    qcow2_packed_place(q, entry, &offset, &length);
    int error = disk_file_size(&b->file, &size);
    if (error || offset >= size || length > q->cluster_size * 2 + BLOCK_SECTOR) {
        return error ? error : EIO;
    }
    length =
        length < size - offset ? length : size - offset; /* the last one may end with the file */
    error = disk_file_read(&b->file, offset, q->packed, (size_t)length);
    error = error ? error : inflate_cluster(q, q->packed, (size_t)length, q->unpacked);
    if (!error) {
        q->unpacked_entry = entry;
    }
    return error;
}

static int read_base(Block *b, uint64_t offset, uint8_t *data, uint64_t length)
{
    uint64_t size = b->base ? block_size(b->base) : 0;
    uint64_t part = offset >= size ? 0 : length < size - offset ? length : size - offset;
    memset(data + part, 0, (size_t)(length - part));
    return part ? block_read(b->base, offset, data, (size_t)part) : 0;
}

/* Part of one cluster, from the entry that describes it. */
static int read_part(Block *b, uint64_t entry, uint64_t offset, uint8_t *data, uint64_t length)
{
    Qcow2 *q = b->data;
    uint64_t in = offset & (q->cluster_size - 1);
    switch (kind_of(q, entry)) {
    case CLUSTER_DATA:
        if (entry & QCOW2_OFFSET & (q->cluster_size - 1)) {
            return EIO;
        }
        return disk_file_read(&b->file, (entry & QCOW2_OFFSET) + in, data, (size_t)length);
    case CLUSTER_PACKED: {
        int error = unpack(b, entry);
        if (!error) {
            memcpy(data, q->unpacked + in, (size_t)length);
        }
        return error;
    }
    case CLUSTER_ZERO:
        memset(data, 0, (size_t)length);
        return 0;
    default:
        if (offset >= b->size) { /* machine state that was never written */
            memset(data, 0, (size_t)length);
            return 0;
        }
        return read_base(b, offset, data, length);
    }
}

/* How many bytes from `offset` on, at most `limit`, are described alike: neighbours on the disk and
 * in the file, or all absent, or all zero. */
static uint64_t extent(const Qcow2 *q, const Qcow2Table *table, uint64_t offset, uint64_t limit,
                       uint64_t first)
{
    uint64_t length = q->cluster_size - (offset & (q->cluster_size - 1));
    ClusterKind kind = kind_of(q, first);
    uint64_t end = (offset / l2_span(q) + 1) * l2_span(q);
    while (length < limit && offset + length < end && kind != CLUSTER_PACKED) {
        uint64_t entry = qcow2_l2_entry(q, table, offset + length);
        uint64_t expected = (first & QCOW2_OFFSET) + length + (offset & (q->cluster_size - 1));
        if (kind_of(q, entry) != kind ||
            (kind == CLUSTER_DATA && (entry & QCOW2_OFFSET) != expected)) {
            break;
        }
        length += q->cluster_size;
    }
    return length < limit ? length : limit;
}

int qcow2_read_any(Block *b, uint64_t offset, uint8_t *data, uint64_t length)
{
    Qcow2 *q = b->data;
    while (length) {
        Qcow2Table *table;
        int error = find_l2(b, offset, &table);
        if (error) {
            return error;
        }
        uint64_t entry = qcow2_l2_entry(q, table, offset);
        uint64_t part = extent(q, table, offset, length, entry);
        error = read_part(b, entry, offset, data, part);
        if (error) {
            return error;
        }
        data += part;
        offset += part;
        length -= part;
    }
    return 0;
}

static int qcow2_read(Block *b, uint64_t offset, void *data, size_t length)
{
    return qcow2_read_any(b, offset, data, length);
}

static int qcow2_map(Block *b, uint64_t offset, BlockExtent *out)
{
    Qcow2 *q = b->data;
    Qcow2Table *table;
    int error = find_l2(b, offset, &table);
    if (error) {
        return error;
    }
    uint64_t entry = qcow2_l2_entry(q, table, offset);
    ClusterKind kind = kind_of(q, entry);
    out->length = extent(q, table, offset, b->size - offset, entry);
    out->data = kind == CLUSTER_DATA || kind == CLUSTER_PACKED;
    out->packed = kind == CLUSTER_PACKED;
    if (kind == CLUSTER_DATA) {
        out->file = b->path;
        out->place = (entry & QCOW2_OFFSET) + (offset & (q->cluster_size - 1));
    }
    return kind == CLUSTER_NONE ? block_map_below(b, offset, out) : 0;
}

/* ---- writing ---- */

/* The L2 table for a disk offset, made or copied where need be, so that it may be changed. */
int qcow2_own_l2(Block *b, uint64_t offset, Qcow2Table **table)
{
    Qcow2 *q = b->data;
    uint64_t index = offset / l2_span(q), place;
    if (index >= q->l1_size) {
        return EINVAL;
    }
    uint64_t old = q->l1[index] & QCOW2_OFFSET;
    if (old && q->l1[index] & QCOW2_COPIED) {
        return qcow2_table_load(b, &q->l2, old, false, table);
    }
    int error = qcow2_allocate(b, 1, &place);
    if (error) {
        return error;
    }
    error = qcow2_set_add(&q->metadata, place >> q->cluster_bits);
    error = error ? error : qcow2_table_load(b, &q->l2, place, true, table);
    if (!error && old) { /* shared with a snapshot: its entries bear no COPIED flag */
        Qcow2Table *from;
        (*table)->used = UINT64_MAX; /* stays while the other is loaded; it is dirty anyway */
        error = qcow2_table_load(b, &q->l2, old, false, &from);
        if (!error) {
            memcpy((*table)->data, from->data, (size_t)q->cluster_size);
        }
        (*table)->used = ++q->clock;
    }
    if (!error && old) {
        error = qcow2_release(b, old);
    }
    if (error) {
        qcow2_table_drop(&q->l2, place);
        qcow2_set_remove(&q->metadata, place >> q->cluster_bits);
        qcow2_unallocate(b, place, 1);
        return error;
    }
    q->l1[index] = place | QCOW2_COPIED;
    qcow2_l1_changed(q, (uint32_t)index);
    return 0;
}

/* Gives up what an entry refers to. */
int qcow2_release_entry(Block *b, uint64_t entry)
{
    Qcow2 *q = b->data;
    if (entry & QCOW2_COMPRESSED) {
        uint64_t offset, length;
        qcow2_packed_place(q, entry, &offset, &length);
        uint64_t first = offset >> q->cluster_bits, last = (offset + length - 1) >> q->cluster_bits;
        int error = 0;
        for (uint64_t i = first; i <= last && !error; i++) {
            error = qcow2_release(b, i << q->cluster_bits);
        }
        if (q->unpacked_entry == entry) {
            q->unpacked_entry = 0;
        }
        return error;
    }
    return entry & QCOW2_OFFSET ? qcow2_release(b, entry & QCOW2_OFFSET) : 0;
}

void qcow2_set_entry(Qcow2 *q, Qcow2Table *table, uint64_t offset, uint64_t entry)
{
    bytes_put_be64(table->data + 8 * l2_index(q, offset), entry);
    table->dirty = true;
}

/* Writes where the guest's cluster lies already. */
static int overwrite(Block *b, uint64_t entry, uint64_t in, const uint8_t *data, uint64_t length)
{
    const Qcow2 *q = b->data;
    uint64_t host = entry & QCOW2_OFFSET;
    if (host & (q->cluster_size - 1) || qcow2_set_has(&q->metadata, host >> q->cluster_bits)) {
        log_error("'%s' is damaged: guest data in a metadata cluster; nothing is written there",
                  b->path);
        return EIO;
    }
    return disk_file_write(&b->file, host + in, data, (size_t)length);
}

/* A new place for a cluster, with its old contents around what is written. */
static int move_cluster(Block *b, Qcow2Table *table, uint64_t offset, const uint8_t *data,
                        uint64_t length)
{
    Qcow2 *q = b->data;
    uint64_t in = offset & (q->cluster_size - 1), start = offset - in, place;
    uint64_t entry = qcow2_l2_entry(q, table, offset);
    const uint8_t *whole = data;
    int error = 0;
    if (length < q->cluster_size) {
        error = read_part(b, entry, start, q->cluster, q->cluster_size);
        if (error) {
            return error;
        }
        memcpy(q->cluster + in, data, (size_t)length);
        whole = q->cluster;
    }
    error = qcow2_allocate(b, 1, &place);
    if (error) {
        return error;
    }
    error = disk_file_write(&b->file, place, whole, (size_t)q->cluster_size);
    error = error ? error : qcow2_release_entry(b, entry);
    if (error) {
        qcow2_unallocate(b, place, 1);
        return error;
    }
    qcow2_set_entry(q, table, offset, place | QCOW2_COPIED);
    return 0;
}

int qcow2_write_any(Block *b, uint64_t offset, const uint8_t *data, uint64_t length)
{
    Qcow2 *q = b->data;
    while (length) {
        Qcow2Table *table;
        int error = qcow2_own_l2(b, offset, &table);
        if (error) {
            return error;
        }
        uint64_t entry = qcow2_l2_entry(q, table, offset), in = offset & (q->cluster_size - 1);
        uint64_t part = q->cluster_size - in < length ? q->cluster_size - in : length;
        if (kind_of(q, entry) == CLUSTER_DATA && entry & QCOW2_COPIED) {
            uint64_t run = extent(q, table, offset, length, entry);
            uint64_t own = part; /* as far as the clusters are ours alone */
            while (own < run && qcow2_l2_entry(q, table, offset + own) & QCOW2_COPIED &&
                   !qcow2_set_has(&q->metadata,
                                  (qcow2_l2_entry(q, table, offset + own) & QCOW2_OFFSET) >>
                                      q->cluster_bits)) {
                own += q->cluster_size < run - own ? q->cluster_size : run - own;
            }
            part = own;
            error = overwrite(b, entry, in, data, part);
        } else {
            error = move_cluster(b, table, offset, data, part);
        }
        if (error) {
            return error;
        }
        data += part;
        offset += part;
        length -= part;
    }
    return 0;
}

static int qcow2_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    return qcow2_write_any(b, offset, data, length);
}

static int qcow2_flush(Block *b)
{
    int error = qcow2_write_back(b);
    return error ? error : disk_file_sync(&b->file);
}

/* Whole clusters become zero clusters, or unallocated ones where there is no backing file; the rest
 * of the range stays as it is. */
static int qcow2_discard(Block *b, uint64_t offset, uint64_t length)
{
    Qcow2 *q = b->data;
    uint64_t end = offset + length, at = (offset + q->cluster_size - 1) & ~(q->cluster_size - 1);
    /* the disk may end inside its last cluster */
    end = end == b->size ? end : end & ~(q->cluster_size - 1);
    if (q->version < 3 && b->base) {
        return 0;
    }
    for (; at < end; at += q->cluster_size) {
        Qcow2Table *table;
        int error = find_l2(b, at, &table);
        if (error) {
            return error;
        }
        uint64_t entry = qcow2_l2_entry(q, table, at), empty = b->base ? QCOW2_ZERO : 0;
        if (entry == empty) {
            continue;
        }
        error = qcow2_own_l2(b, at, &table);
        q->punching = true; /* the host gets the room back, too */
        error = error ? error : qcow2_release_entry(b, entry);
        q->punching = false;
        if (error) {
            return error;
        }
        qcow2_set_entry(q, table, at, empty);
    }
    return 0;
}

static void qcow2_close(Block *b)
{
    /* The flush before this lowered the last counts in memory; they are no matter of safety. */
    if (!b->read_only && qcow2_write_back(b) != 0) {
        log_warn("'%s': some of its room may be lost", b->path);
    }
    qcow2_free(b);
}

int qcow2_grow_l1(Block *b, uint64_t entries)
{
    Qcow2 *q = b->data;
    uint64_t per_cluster = q->cluster_size / 8, place;
    if (entries <= q->l1_size) {
        return 0;
    }
    entries = (entries + per_cluster - 1) / per_cluster * per_cluster;
    if (entries > QCOW2_MAX_L1_BYTES / 8) {
        return EFBIG;
    }
    uint64_t clusters = entries / per_cluster;
    uint64_t old_clusters = (q->l1_size + per_cluster - 1) / per_cluster;
    int error = qcow2_write_back(b);
    uint64_t *larger = error ? NULL : calloc((size_t)entries, sizeof(*larger));
    if (!larger) {
        return error ? error : ENOMEM;
    }
    memcpy(larger, q->l1, q->l1_size * sizeof(*larger));
    uint64_t *old = q->l1, old_offset = q->l1_offset;
    uint32_t old_size = q->l1_size;
    error = qcow2_allocate(b, clusters, &place);
    if (error) {
        free(larger);
        return error;
    }
    q->l1 = larger;
    q->l1_offset = place;
    q->l1_size = (uint32_t)entries;
    q->l1_dirty_from = 0;
    q->l1_dirty_to = (uint32_t)entries;
    error = qcow2_write_back(b);
    error = error ? error : disk_file_sync(&b->file);
    error = error ? error : qcow2_write_header(b);
    if (error) {
        q->l1 = old;
        q->l1_offset = old_offset;
        q->l1_size = old_size;
        q->l1_dirty_from = q->l1_dirty_to = 0;
        free(larger);
        qcow2_unallocate(b, place, clusters);
        return error;
    }
    free(old);
    for (uint64_t i = 0; i < clusters; i++) {
        qcow2_set_add(&q->metadata, (place >> q->cluster_bits) + i);
    }
    for (uint64_t i = 0; i < old_clusters && !error; i++) {
        qcow2_set_remove(&q->metadata, (old_offset >> q->cluster_bits) + i);
        error = qcow2_release(b, old_offset + (i << q->cluster_bits));
    }
    return error;
}

const BlockFormat block_qcow2 = {
    .name = "qcow2",
    .resize = qcow2_resize,
    .probe = qcow2_probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .read = qcow2_read,
    .write = qcow2_write,
    .flush = qcow2_flush,
    .discard = qcow2_discard,
    .pack_bytes = qcow2_pack_bytes,
    .write_packed = qcow2_write_packed,
    .map = qcow2_map,
};
