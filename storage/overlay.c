/* snapshot=on: writes go to a nameless temporary file that lies over the image, sector by sector.
 *
 * Each sector keeps its place in the temporary file, which is sparse; a bitmap says which sectors
 * have been written. The bitmap is made of chunks that appear with the first write to them, so that
 * a huge empty disk costs little. block_commit makes the image what the overlay shows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "machine/core/log.h"
#include "storage/block_format.h"
#include "storage/floppy_image.h"

LOG_TAG("block");

#define CHUNK_SECTORS 32768u /* 16 MiB of disk: 4 KiB of bitmap */

enum { COMMIT_PIECE = 1 << 20 /* bytes copied at a time */ };

typedef struct Overlay {
    uint8_t **chunk; /* NULL: nothing in it is written */
    uint64_t chunks;
    const char *format; /* the image's, and how it was opened */
    bool any_backing;
    bool no_lock;
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

static void forget(Overlay *o)
{
    for (uint64_t i = 0; i < o->chunks; i++) {
        free(o->chunk[i]);
        o->chunk[i] = NULL;
    }
}

static void overlay_close(Block *b)
{
    Overlay *o = b->data;
    forget(o);
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

/* ---- keeping what it holds ---- */

static Block *open_again(const Block *b, bool write, bool lock, Err *err)
{
    const Overlay *o = b->data;
    BlockOptions how = {.format = o->format,
                        .read_only = !write,
                        .no_lock = !lock || o->no_lock,
                        .any_backing = o->any_backing,
                        .faults = b->file.faults};
    return block_open(b->path, &how, err);
}

/* Are both the same file of the host? Its name may belong to another one by now. */
static bool same_file(const Block *x, const Block *y)
{
    struct stat a, b;
    return x && y && x->size == y->size && fstat(x->file.fd, &a) == 0 &&
           fstat(y->file.fd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int copy_down(Block *b, Block *to)
{
    Overlay *o = b->data;
    uint8_t *data = malloc(COMMIT_PIECE);
    int error = data ? 0 : ENOMEM;
    for (uint64_t at = 0, part; at < b->size && !error; at += part) {
        bool here;
        part = b->size - at < COMMIT_PIECE ? b->size - at : COMMIT_PIECE;
        part = alike(o, at / BLOCK_SECTOR, part / BLOCK_SECTOR, &here) * BLOCK_SECTOR;
        if (here) {
            error = disk_file_read(&b->file, at, data, (size_t)part);
            error = error ? error : block_write(to, at, data, (size_t)part);
        }
    }
    free(data);
    return error ? error : block_flush(to);
}

/* The image's reader, once its writer is done; `writer` stays when there is none to be had. */
static Block *reader_after(Block *b, Block *writer)
{
    Err err = {""};
    Block *plain = open_again(b, false, false, &err);
    if (!plain || !same_file(plain, writer)) {
        log_warn("'%s' stays open for writing: %s", b->path,
                 err.text[0] ? err.text : "another file has its name");
        block_close(plain);
        return writer;
    }
    block_close(writer);
    err.text[0] = '\0';
    Block *locked = open_again(b, false, true, &err);
    if (!locked || !same_file(locked, plain)) {
        log_warn("'%s' is not locked: take care that nothing else writes it", b->path);
        block_close(locked);
        return plain;
    }
    block_close(plain);
    return locked;
}

static void take_base(Block *b, Block *base)
{
    if (base != b->base) {
        block_close(b->base);
        b->base = base;
    }
}

bool block_commit(Block *b, Err *err)
{
    if (b->format != &block_overlay || b->base->file.fd < 0 || block_floppy(b)) {
        return err_set(err, "'%s' is no image under a throw-away overlay that could be written",
                       b->path);
    }
    Err why = {""};
    /* a reader without locks, so that nothing is lost should there be no writer */
    Block *spare = open_again(b, false, false, err);
    if (!spare || !same_file(spare, b->base)) {
        block_close(spare);
        return err_set(err, "'%s' is another file now; give the image its name back", b->path);
    }
    take_base(b, spare); /* the locks of the old one would keep our own writer out */
    Block *writer = open_again(b, true, true, err);
    if (!writer || writer->read_only || !same_file(writer, spare)) {
        block_close(writer);
        Block *locked = open_again(b, false, true, &why);
        if (same_file(locked, spare)) {
            take_base(b, locked);
        } else {
            block_close(locked);
        }
        return err_set(err, "'%s' cannot be written: it is read-only, or another file now",
                       b->path);
    }
    int error = copy_down(b, writer);
    take_base(b, writer); /* what it has written, the spare need not know */
    b->base = reader_after(b, writer);
    if (error) {
        return err_set(err, "'%s' cannot be written: %s%s", b->path, strerror(error),
                       error == ENOSPC ? "; make room and try again" : "");
    }
    forget(b->data);
    /* where the host takes the room back only later, it is lost for so long */
    (void)disk_file_give_back(&b->file, 0, b->size);
    return true;
}

Block *block_overlay_new(Block *base, const BlockOptions *options, Err *err)
{
    DiskFile file = {.fd = -1};
    Block *b = NULL;
    Overlay *o = calloc(1, sizeof(*o));
    if (o) {
        o->chunks = (base->size / BLOCK_SECTOR + CHUNK_SECTORS - 1) / CHUNK_SECTORS;
        o->chunk = calloc(o->chunks ? o->chunks : 1, sizeof(*o->chunk));
        o->format = base->format->name;
        o->any_backing = options->any_backing;
        o->no_lock = options->no_lock;
    }
    if (!o || !o->chunk) {
        err_set(err, "'%s': out of memory", base->path);
        goto fail;
    }
    if (!disk_file_open_temporary(&file, options->faults, err)) {
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
