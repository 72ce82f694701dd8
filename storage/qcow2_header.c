/* qcow2: what the header says for people to read, another backing file's name in it, another
 * header.
 *
 * Format: "Qcow2 image file format" of the QEMU project's documentation, "Header extensions".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2_internal.h"

#define EXTENSION_BACKING_FORMAT 0xe2792acau
#define EXTENSION_BITMAPS 0x23852875u
#define EXTENSION_FEATURE_NAMES 0x6803f857u /* of version 3's feature bits, for messages */

enum { MAX_BACKING = 1023, EXTENSION_HEAD = 8, BITMAPS_LENGTH = 24 };

/* The header's end, where its extensions begin; 0: damaged. */
static size_t extensions_at(const Qcow2 *q, const uint8_t *h)
{
    size_t at = q->version == 3 ? bytes_be32(h + 100) : QCOW2_HEADER_V2;
    return at >= QCOW2_HEADER_V2 && at % 8 == 0 && at <= q->cluster_size - 8 ? at : 0;
}

/* Goes from one extension to the next; false at the end. */
static bool next_extension(const uint8_t *h, size_t end, size_t *at, uint32_t *type,
                           uint32_t *length)
{
    if (*at + EXTENSION_HEAD > end) {
        return false;
    }
    *type = bytes_be32(h + *at);
    *length = bytes_be32(h + *at + 4);
    return *type != 0 && *length <= end - *at - EXTENSION_HEAD;
}

static size_t extension_room(uint32_t length)
{
    return EXTENSION_HEAD + ((size_t)length + 7) / 8 * 8;
}

/* The first cluster; the caller frees it. */
static int read_first(Block *b, uint8_t **first)
{
    const Qcow2 *q = b->data;
    uint64_t size = 0;
    int error = disk_file_size(&b->file, &size);
    *first = calloc(1, (size_t)q->cluster_size);
    if (!error && !*first) {
        error = ENOMEM;
    }
    size = size < q->cluster_size ? size : q->cluster_size;
    return error ? error : disk_file_read(&b->file, 0, *first, (size_t)size);
}

int qcow2_describe(Block *b, Qcow2Info *info)
{
    const Qcow2 *q = b->data;
    uint8_t *h = NULL;
    *info = (Qcow2Info){
        .options = {.version = q->version,
                    .cluster_bits = q->cluster_bits,
                    .refcount_bits = 1u << q->refcount_order,
                    .lazy_refcounts = (q->compatible & 1) != 0,
                    .zstd = q->zstd},
        .dirty = (q->incompatible & QCOW2_DIRTY) != 0,
        .corrupt = (q->incompatible & QCOW2_CORRUPT) != 0,
    };
    int error = read_first(b, &h);
    size_t at = error ? 0 : extensions_at(q, h);
    uint64_t name = error ? 0 : bytes_be64(h + 8);
    uint32_t length = error ? 0 : bytes_be32(h + 16);
    if (name && length && length <= MAX_BACKING && name <= q->cluster_size - length) {
        memcpy(info->backing, h + name, length);
        info->options.backing = info->backing;
        size_t end = (size_t)name;
        uint32_t type, room;
        while (at && next_extension(h, end, &at, &type, &room)) {
            if (type == EXTENSION_BACKING_FORMAT && room < sizeof(info->backing_format)) {
                memcpy(info->backing_format, h + at + EXTENSION_HEAD, room);
                info->options.backing_format = info->backing_format;
            }
            at += extension_room(room);
        }
    }
    free(h);
    return error;
}

int qcow2_find_bitmaps(Block *b, uint64_t *offset, uint64_t *bytes, uint32_t *count)
{
    const Qcow2 *q = b->data;
    uint8_t *h = NULL;
    uint32_t type, length;
    *offset = *bytes = *count = 0;
    int error = read_first(b, &h);
    size_t at = error ? 0 : extensions_at(q, h);
    uint64_t name = error ? 0 : bytes_be64(h + 8);
    size_t end = name && name < q->cluster_size ? (size_t)name : (size_t)q->cluster_size;
    while (at && next_extension(h, end, &at, &type, &length)) {
        if (type == EXTENSION_BITMAPS && length >= BITMAPS_LENGTH) {
            *count = bytes_be32(h + at + EXTENSION_HEAD);
            *bytes = bytes_be64(h + at + EXTENSION_HEAD + 8);
            *offset = bytes_be64(h + at + EXTENSION_HEAD + 16);
        }
        at += extension_room(length);
    }
    free(h);
    return error;
}

/* All extensions but the backing format, from `from` to `to`; where they end there, or 0. */
static size_t keep_extensions(const uint8_t *from, uint8_t *to, size_t at, size_t end)
{
    size_t out = at;
    uint32_t type, length;
    while (next_extension(from, end, &at, &type, &length)) {
        size_t room = extension_room(length);
        if (room > end - at) {
            return 0;
        }
        if (type != EXTENSION_BACKING_FORMAT) {
            memcpy(to + out, from + at, room);
            out += room;
        }
        at += room;
    }
    return out;
}

static int put_backing(const Qcow2 *q, uint8_t *h, size_t at, const char *backing,
                       const char *format)
{
    size_t name = backing ? strlen(backing) : 0, word = backing && format ? strlen(format) : 0;
    size_t need = (word ? extension_room((uint32_t)word) : 0) + EXTENSION_HEAD + name;
    if (name > MAX_BACKING || word > 31 || need > q->cluster_size - at) {
        return ENAMETOOLONG;
    }
    if (word) {
        bytes_put_be32(h + at, EXTENSION_BACKING_FORMAT);
        bytes_put_be32(h + at + 4, (uint32_t)word);
        memcpy(h + at + EXTENSION_HEAD, format, word);
        at += extension_room((uint32_t)word);
    }
    at += EXTENSION_HEAD; /* the end of the extensions: zeros */
    if (name) {
        memcpy(h + at, backing, name);
    }
    bytes_put_be64(h + 8, name ? at : 0);
    bytes_put_be32(h + 16, (uint32_t)name);
    return 0;
}

int qcow2_set_backing(Block *b, const char *backing, const char *format)
{
    const Qcow2 *q = b->data;
    uint8_t *old = NULL, *h = NULL;
    int error = b->read_only ? EROFS : block_flush(b);
    error = error ? error : read_first(b, &old);
    size_t at = error ? 0 : extensions_at(q, old);
    if (!error && (at == 0 || !(h = calloc(1, (size_t)q->cluster_size)))) {
        error = at ? ENOMEM : EIO;
    }
    if (!error) {
        uint64_t name = bytes_be64(old + 8);
        size_t end = name > at && name < q->cluster_size ? (size_t)name : (size_t)q->cluster_size;
        memcpy(h, old, at);
        at = keep_extensions(old, h, at, end);
        error = at ? put_backing(q, h, at, backing, format) : EIO;
    }
    error = error ? error : disk_file_write(&b->file, 0, h, (size_t)q->cluster_size);
    error = error ? error : disk_file_sync(&b->file);
    free(old);
    free(h);
    return error;
}

/* The header's fields, at the places of the version that it is to have; version 3 has more. */
static void put_fields(const Qcow2 *q, uint8_t *h, const Qcow2Renewal *to)
{
    bytes_put_be32(h + 4, to->version);
    bytes_put_be64(h + 48, to->counts_offset);
    bytes_put_be32(h + 56, to->counts_clusters);
    if (to->version == 3) {
        bytes_put_be64(h + 72, q->incompatible);
        bytes_put_be64(h + 80, (q->compatible & ~UINT64_C(1)) | to->lazy_refcounts);
        bytes_put_be64(h + 88, 0); /* what others keep beside the data no longer fits them */
        bytes_put_be32(h + 96, to->refcount_order);
        if (q->version != 3) {
            bytes_put_be32(h + 100, QCOW2_HEADER_V3);
        }
    }
}

/* All that another version's header keeps of the extensions of this one; where they end, with the
 * end mark, or 0: no room. */
static size_t move_extensions(const Qcow2 *q, const uint8_t *old, size_t end, uint8_t *h,
                              const Qcow2Renewal *to)
{
    size_t at = extensions_at(q, old), room = BLOCK_SECTOR;
    size_t out = to->version == 3 ? QCOW2_HEADER_V3 : QCOW2_HEADER_V2;
    uint32_t type, length;
    while (next_extension(old, end, &at, &type, &length)) {
        size_t bytes = extension_room(length);
        if (bytes > end - at) {
            return 0;
        }
        if (type != EXTENSION_FEATURE_NAMES || to->version == 3) {
            if (bytes > room - out) {
                return 0;
            }
            memcpy(h + out, old + at, bytes);
            out += bytes;
        }
        at += bytes;
    }
    return EXTENSION_HEAD <= room - out ? out + EXTENSION_HEAD : 0;
}

/* The backing file's name behind a header that ends at `at`: in the header's own sector, or where
 * neither the old header nor the new one has anything. *outside: it must be there before. */
static int place_name(const Qcow2 *q, const uint8_t *old, uint8_t *h, size_t at, uint64_t *outside)
{
    uint64_t from = bytes_be64(old + 8), length = bytes_be32(old + 16), place = at;
    *outside = 0;
    if (!from || !length) {
        return 0;
    }
    if (length > MAX_BACKING || from > q->cluster_size - length || from < extensions_at(q, old)) {
        return EIO;
    }
    if (length <= BLOCK_SECTOR - at) {
        memcpy(h + at, old + from, (size_t)length);
    } else if (from >= BLOCK_SECTOR) {
        place = from;
    } else {
        place = (from + length + 7) / 8 * 8;
        place = place < BLOCK_SECTOR ? BLOCK_SECTOR : place;
        *outside = place;
    }
    bytes_put_be64(h + 8, place);
    return place <= q->cluster_size - length ? 0 : ENAMETOOLONG;
}

int qcow2_renew_header(Block *b, const Qcow2Renewal *to, bool rehearse)
{
    const Qcow2 *q = b->data;
    uint8_t *old = NULL, h[BLOCK_SECTOR] = {0};
    uint64_t outside = 0;
    size_t size = to->version == 3 ? QCOW2_HEADER_V3 : QCOW2_HEADER_V2;
    int error = read_first(b, &old);
    size_t at = error ? 0 : extensions_at(q, old);
    error = error || at ? error : EIO;
    if (!error) {
        memcpy(h, old, q->version == to->version ? size : QCOW2_HEADER_V2);
        put_fields(q, h, to);
    }
    if (!error && to->version != q->version) {
        uint64_t name = bytes_be64(old + 8);
        size_t end = name > at && name < q->cluster_size ? (size_t)name : (size_t)q->cluster_size;
        size = move_extensions(q, old, end, h, to);
        error = size ? place_name(q, old, h, size, &outside) : ENAMETOOLONG;
        size = BLOCK_SECTOR;
    }
    if (!error && !rehearse && outside) {
        error = disk_file_write(&b->file, outside, old + bytes_be64(old + 8), bytes_be32(old + 16));
    }
    error = error || rehearse ? error : disk_file_sync(&b->file);
    error = error || rehearse ? error : disk_file_write(&b->file, 0, h, size);
    error = error || rehearse ? error : disk_file_sync(&b->file);
    free(old);
    return error;
}
