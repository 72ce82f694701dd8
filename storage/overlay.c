/* snapshot=on: writes go to a nameless temporary file that lies over the image, sector by sector.
 *
 * Each sector keeps its place in the temporary file, which is sparse; a bitmap says which sectors
 * have been written. The bitmap is made of chunks that appear with the first write to them, so that
 * a huge empty disk costs little.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block_format.h"

#define CHUNK_SECTORS 32768u /* 16 MiB of disk: 4 KiB of bitmap */

typedef struct Overlay {
    uint8_t **chunk; /* NULL: nothing in it is written */
    uint64_t chunks;
} Overlay;

static bool written(const Overlay *o, uint64_t sector)
{
    const uint8_t *chunk = o->chunk[sector / CHUNK_SECTORS];
    uint64_t bit = sector % CHUNK_SECTORS;
    return chunk && (chunk[bit / 8] >> (bit % 8) & 1);
}

/* How many of the sectors from `sector` on, at most `limit` (> 0), are alike. */
static uint64_t alike(const Overlay *o, uint64_t sector, uint64_t limit, bool *is_written)
{
    uint64_t count = 1;
    *is_written = written(o, sector);
    while (count < limit) {
        uint64_t next = sector + count;
        if (!*is_written && !o->chunk[next / CHUNK_SECTORS]) {
            count += CHUNK_SECTORS - next % CHUNK_SECTORS;
        } else if (written(o, next) == *is_written) {
            count++;
        } else {
            break;
        }
    }
    return count < limit ? count : limit;
}

static int make_chunks(Overlay *o, uint64_t sector, uint64_t count)
{
    for (uint64_t i = sector / CHUNK_SECTORS; i <= (sector + count - 1) / CHUNK_SECTORS; i++) {
        if (!o->chunk[i] && !(o->chunk[i] = calloc(1, CHUNK_SECTORS / 8))) {
            return ENOMEM;
        }
    }
    return 0;
}

static void mark(Overlay *o, uint64_t sector, uint64_t count)
{
    for (uint64_t i = sector; i < sector + count; i++) {
        uint64_t bit = i % CHUNK_SECTORS;
        o->chunk[i / CHUNK_SECTORS][bit / 8] |= (uint8_t)(1u << bit % 8);
    }
}

static int overlay_read(Block *b, uint64_t offset, void *data, size_t length)
{
    Overlay *o = b->data;
    uint8_t *at = data;
    while (length) {
        bool here;
        size_t part =
            (size_t)(alike(o, offset / BLOCK_SECTOR, length / BLOCK_SECTOR, &here) * BLOCK_SECTOR);
        int error = here ? disk_file_read(&b->file, offset, at, part)
                         : block_read(b->base, offset, at, part);
        if (error) {
            return error;
        }
        at += part;
        offset += part;
        length -= part;
    }
    return 0;
}

static int overlay_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    Overlay *o = b->data;
    uint64_t sector = offset / BLOCK_SECTOR, count = length / BLOCK_SECTOR;
    int error = make_chunks(o, sector, count);
    error = error ? error : disk_file_write(&b->file, offset, data, length);
    if (!error) {
        mark(o, sector, count);
    }
    return error;
}

static int overlay_flush(Block *b)
{
    (void)b; /* nothing outlives the process */
    return 0;
}

static int overlay_discard(Block *b, uint64_t offset, uint64_t length)
{
    Overlay *o = b->data;
    uint64_t sector = offset / BLOCK_SECTOR, count = length / BLOCK_SECTOR;
    int error = make_chunks(o, sector, count);
    error = error ? error : disk_file_punch(&b->file, offset, length);
    if (!error) {
        mark(o, sector, count);
    }
    return error;
}

static int overlay_map(Block *b, uint64_t offset, BlockExtent *extent)
{
    Overlay *o = b->data;
    bool here;
    uint64_t length =
        alike(o, offset / BLOCK_SECTOR, (b->size - offset) / BLOCK_SECTOR, &here) * BLOCK_SECTOR;
    *extent = (BlockExtent){length, true};
    int error = here ? disk_file_extent(&b->file, offset, &extent->data, &extent->length)
                     : block_map(b->base, offset, extent);
    if (error) {
        return error;
    }
    uint64_t part = extent->length % BLOCK_SECTOR;
    if (part) {
        extent->length += BLOCK_SECTOR - part;
        extent->data = true;
    }
    extent->length = extent->length < length ? extent->length : length;
    return 0;
}

static void overlay_close(Block *b)
{
    Overlay *o = b->data;
    for (uint64_t i = 0; i < o->chunks; i++) {
        free(o->chunk[i]);
    }
    free(o->chunk);
    free(o);
}

const BlockFormat block_overlay = {
    .name = "overlay",
    .close = overlay_close,
    .read = overlay_read,
    .write = overlay_write,
    .flush = overlay_flush,
    .discard = overlay_discard,
    .map = overlay_map,
};

Block *block_overlay_new(Block *base, const DiskFaults *faults, Err *err)
{
    DiskFile file = {.fd = -1};
    Block *b = NULL;
    Overlay *o = calloc(1, sizeof(*o));
    if (o) {
        o->chunks = (base->size / BLOCK_SECTOR + CHUNK_SECTORS - 1) / CHUNK_SECTORS;
        o->chunk = calloc(o->chunks ? o->chunks : 1, sizeof(*o->chunk));
    }
    if (!o || !o->chunk) {
        err_set(err, "'%s': out of memory", base->path);
        goto fail;
    }
    if (!disk_file_open_temporary(&file, faults, err)) {
        goto fail;
    }
    int error = disk_file_resize(&file, base->size);
    if (error) {
        err_set(err, "'%s': its temporary overlay cannot be made: %s", base->path, strerror(error));
        goto fail;
    }
    b = block_wrap(&block_overlay, base->path, base->size, false, o, base);
    if (!b) {
        err_set(err, "'%s': out of memory", base->path);
        goto fail;
    }
    b->file = file;
    return b;
fail:
    disk_file_close(&file);
    if (o) {
        free(o->chunk);
    }
    free(o);
    block_close(base);
    return NULL;
}
