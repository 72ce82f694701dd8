/* Disk images: opening by content, checks that every format needs, the throw-away overlay on top.
 *
 * Formats are tables in files of their own. Requests are checked here once, so that a format sees
 * only whole sectors inside the image.
 */
#include "storage/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"
#include "storage/block_format.h"
#include "storage/fat_folder.h"

LOG_TAG("block");

#define PROBE_BYTES 4096

static const BlockFormat *const formats[] = {&block_raw,  &block_qcow2, &block_vhd, &block_vdi,
                                             &block_vmdk, &block_cue,   &block_imd, &block_td0};

/* Known formats that are not in the table above: opening them as raw would destroy them. */
static const struct {
    const char *name, *magic;
    size_t at, length;
} foreign[] = {
    {"qed", "QED", 0, 4},
    {"vmdk", "COWD", 0, 4},
    {"qcow", "QFI\xfb\0\0\0\1", 0, 8},
    {"parallels", "WithoutFreeSpace", 0, 16},
    {"parallels", "WithouFreSpacExt", 0, 16},
    {"bochs", "Bochs Virtual HD Image", 0, 22},
    {"vhdx", "vhdxfile", 0, 8},
};

/* Names of the formats, one behind the other. */
static void put_formats(char *text, size_t room)
{
    size_t used = 0;
    for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]) && used < room; i++) {
        used += (size_t)snprintf(text + used, room - used, "%s%s", i ? ", " : "", formats[i]->name);
    }
}

static const BlockFormat *find_format(const char *name)
{
    name = strcmp(name, "vpc") == 0 ? "vhd" : name; /* QEMU's name for it */
    for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcmp(formats[i]->name, name) == 0) {
            return formats[i];
        }
    }
    return NULL;
}

static const char *foreign_format(const BlockProbe *p)
{
    for (unsigned i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        if (foreign[i].at + foreign[i].length <= p->head_size &&
            memcmp(p->head + foreign[i].at, foreign[i].magic, foreign[i].length) == 0) {
            return foreign[i].name;
        }
    }
    return NULL;
}

static const BlockFormat *recognise(const DiskFile *file, const char *path, uint64_t size, Err *err)
{
    uint8_t head[PROBE_BYTES], tail[BLOCK_SECTOR] = {0};
    BlockProbe probe = {head, size < sizeof(head) ? (size_t)size : sizeof(head), tail, size, path};
    int error = disk_file_read(file, 0, head, probe.head_size);
    if (!error && size >= sizeof(tail)) {
        error = disk_file_read(file, size - sizeof(tail), tail, sizeof(tail));
    }
    if (error) {
        err_set(err, "'%s' cannot be read: %s", path, strerror(error));
        return NULL;
    }
    const BlockFormat *best = NULL;
    int best_score = 0;
    for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        int score = formats[i]->probe(&probe);
        if (score > best_score) {
            best = formats[i];
            best_score = score;
        }
    }
    const char *other = best_score <= 1 ? foreign_format(&probe) : NULL;
    if (other) {
        err_set(err,
                "'%s' is a %s image, which this version cannot open; convert it: qemu-img convert "
                "-O raw '%s' disk.img (or name format=raw to use its bytes as they are)",
                path, other, path);
        return NULL;
    }
    return best;
}

Block *block_wrap(const BlockFormat *format, const char *path, uint64_t size, bool read_only,
                  void *data, Block *base)
{
    Block *b = calloc(1, sizeof(*b));
    if (!b) {
        return NULL;
    }
    b->format = format;
    b->path = strdup(path);
    b->file.fd = -1;
    b->size = size;
    b->read_only = read_only;
    b->data = data;
    b->base = base;
    pthread_mutex_init(&b->lock, NULL);
    if (!b->path) {
        pthread_mutex_destroy(&b->lock);
        free(b);
        return NULL;
    }
    return b;
}

static void discard_block(Block *b)
{
    disk_file_close(&b->file);
    pthread_mutex_destroy(&b->lock);
    free(b->path);
    free(b);
}

static bool open_format(Block *b, const BlockOptions *options, Err *err)
{
    uint64_t size = 0;
    int error = disk_file_size(&b->file, &size);
    if (error) {
        return err_set(err, "'%s': its size cannot be found: %s", b->path, strerror(error));
    }
    if (size == 0) {
        return err_set(err, "'%s' is empty; make an image, for example: truncate -s 500M disk.img",
                       b->path);
    }
    if (options->format) {
        b->format = find_format(options->format);
        if (!b->format) {
            char known[128];
            put_formats(known, sizeof(known));
            return err_set(err, "'%s': unknown image format '%s'; take %s, or leave format= out",
                           b->path, options->format, known);
        }
    } else {
        b->format = recognise(&b->file, b->path, size, err);
        if (!b->format) {
            return false;
        }
    }
    b->read_only = !b->file.writable;
    b->for_repair = options->for_repair;
    return b->format->open(b, options, err);
}

/* A folder shown as a disk: what is written is kept apart, and forgotten. */
static Block *open_folder(const char *path, const BlockOptions *options, Err *err)
{
    Block *b = fat_folder_open(path, err);
    if (b) {
        log_info("'%s': a folder as a disk of %llu bytes%s", path, (unsigned long long)b->size,
                 options->read_only ? ", read-only" : ", writes are thrown away");
    }
    return b && !options->read_only ? block_overlay_new(b, options, err) : b;
}

Block *block_open(const char *path, const BlockOptions *options, Err *err)
{
    static const BlockOptions defaults = {0};
    options = options ? options : &defaults;
    if (options->depth == 0 && fat_folder_named(path)) {
        return open_folder(path, options, err);
    }
    DiskFileOptions how = {
        .write = !options->read_only && !options->snapshot,
        .or_read_only = options->or_read_only,
        .lock = !options->no_lock,
        .faults = options->faults,
    };
    Block *b = block_wrap(NULL, path, 0, true, NULL, NULL);
    if (!b) {
        err_set(err, "'%s': out of memory", path);
        return NULL;
    }
    if (!disk_file_open(&b->file, path, &how, err) || !open_format(b, options, err)) {
        discard_block(b);
        return NULL;
    }
    if (how.write && b->read_only) {
        log_warn("'%s' is write-protected and opened read-only", path);
    }
    log_info("'%s': %s, %llu bytes%s", path, b->format->name, (unsigned long long)b->size,
             options->snapshot ? ", writes are thrown away"
             : b->read_only    ? ", read-only"
                               : "");
    return options->snapshot && !options->read_only ? block_overlay_new(b, options, err) : b;
}

void block_close(Block *b)
{
    if (!b) {
        return;
    }
    int error = b->read_only ? 0 : block_flush(b);
    if (error) {
        log_error("'%s': the last writes may be lost: %s", b->path, strerror(error));
    }
    if (b->format->close) {
        b->format->close(b);
    }
    block_close(b->base);
    discard_block(b);
}

uint64_t block_size(const Block *b)
{
    return b->size;
}

bool block_read_only(const Block *b)
{
    return b->read_only;
}

bool block_is_snapshot(const Block *b)
{
    return b->format == &block_overlay;
}

const char *block_path(const Block *b)
{
    return b->path;
}

const char *block_format_name(const Block *b)
{
    return b->format == &block_overlay ? block_format_name(b->base) : b->format->name;
}

static int check_range(const Block *b, uint64_t offset, uint64_t length)
{
    bool good = offset % BLOCK_SECTOR == 0 && length % BLOCK_SECTOR == 0 && offset <= b->size &&
                length <= b->size - offset;
    return good ? 0 : EINVAL;
}

static void enter(Block *b)
{
    if (!b->format->parallel) {
        pthread_mutex_lock(&b->lock);
    }
}

static void leave(Block *b)
{
    if (!b->format->parallel) {
        pthread_mutex_unlock(&b->lock);
    }
}

int block_read(Block *b, uint64_t offset, void *data, size_t length)
{
    int error = check_range(b, offset, length);
    if (error || length == 0) {
        return error;
    }
    enter(b);
    error = b->format->read(b, offset, data, length);
    leave(b);
    return error;
}

int block_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    int error = b->read_only ? EROFS : check_range(b, offset, length);
    if (error || length == 0) {
        return error;
    }
    enter(b);
    error = b->format->write(b, offset, data, length);
    leave(b);
    return error;
}

uint32_t block_pack_bytes(const Block *b)
{
    return b->format->pack_bytes && !b->read_only ? b->format->pack_bytes(b) : 0;
}

int block_write_packed(Block *b, uint64_t offset, const void *data, size_t length)
{
    uint32_t unit = block_pack_bytes(b);
    int error = b->read_only ? EROFS : unit ? check_range(b, offset, length) : ENOTSUP;
    if (error || length == 0) {
        return error;
    }
    if (offset % unit || length > unit || (length < unit && offset + length != b->size)) {
        return EINVAL;
    }
    enter(b);
    error = b->format->write_packed(b, offset, data, length);
    leave(b);
    return error;
}

int block_flush(Block *b)
{
    if (b->read_only) {
        return 0;
    }
    enter(b);
    int error = b->format->flush(b);
    leave(b);
    return error;
}

int block_discard(Block *b, uint64_t offset, uint64_t length)
{
    int error = b->read_only ? EROFS : check_range(b, offset, length);
    if (error || length == 0 || !b->format->discard) {
        return error;
    }
    enter(b);
    error = b->format->discard(b, offset, length);
    leave(b);
    return error;
}

int block_map_below(Block *b, uint64_t offset, BlockExtent *extent)
{
    uint64_t length = extent->length;
    if (!b->base || offset >= block_size(b->base)) {
        extent->absent = true;
        return 0;
    }
    int error = block_map(b->base, offset, extent);
    extent->length = extent->length < length ? extent->length : length;
    extent->depth++;
    return error;
}

int block_map(Block *b, uint64_t offset, BlockExtent *extent)
{
    if (offset >= b->size || offset % BLOCK_SECTOR) {
        return EINVAL;
    }
    *extent = (BlockExtent){0};
    enter(b);
    int error = b->format->map(b, offset, extent);
    leave(b);
    if (!error && extent->length > b->size - offset) {
        extent->length = b->size - offset;
    }
    return error;
}

int block_resize(Block *b, uint64_t size)
{
    if (b->read_only || size == 0 || size % BLOCK_SECTOR || size > INT64_MAX) {
        return b->read_only ? EROFS : EINVAL;
    }
    if (!b->format->resize) {
        return ENOTSUP;
    }
    enter(b);
    int error = b->format->resize(b, size);
    leave(b);
    return error;
}

void block_about(const Block *b, BlockAbout *about)
{
    *about = (BlockAbout){0};
    if (b->format->about) {
        b->format->about(b, about);
    }
}

int block_check(Block *b, BlockCheck *check)
{
    *check = (BlockCheck){0};
    if (!b->format->check) {
        return ENOTSUP;
    }
    enter(b);
    int error = b->format->check(b, check);
    leave(b);
    return error;
}

Block *block_backing(const Block *b)
{
    return b->base;
}
