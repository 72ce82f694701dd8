/* Raw images: the disk's bytes and nothing else, in a file (sparse or not) or a block device.
 *
 * A file that is no whole number of sectors is refused rather than rounded: it is cut off, or no
 * image.
 */
#include <errno.h>
#include <string.h>

#include "storage/block_format.h"

static int raw_probe(const BlockProbe *probe)
{
    (void)probe;
    return 1;
}

static bool raw_open(Block *b, const BlockOptions *options, Err *err)
{
    (void)options;
    int error = disk_file_size(&b->file, &b->size);
    if (error) {
        return err_set(err, "'%s': its size cannot be found: %s", b->path, strerror(error));
    }
    if (b->size % BLOCK_SECTOR) {
        return err_set(err,
                       "'%s' has %llu bytes, no whole number of 512-byte sectors: it is cut off or "
                       "no disk image; if it is one, fill it up: truncate -s %%512 '%s'",
                       b->path, (unsigned long long)b->size, b->path);
    }
    return true;
}

static int raw_read(Block *b, uint64_t offset, void *data, size_t length)
{
    return disk_file_read(&b->file, offset, data, length);
}

static int raw_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    return disk_file_write(&b->file, offset, data, length);
}

static int raw_flush(Block *b)
{
    return disk_file_sync(&b->file);
}

static int raw_discard(Block *b, uint64_t offset, uint64_t length)
{
    return disk_file_punch(&b->file, offset, length);
}

/* A stretch may begin and end anywhere in a host block; what we report is whole sectors, and data
 * when in doubt. */
static int raw_map(Block *b, uint64_t offset, BlockExtent *extent)
{
    int error = disk_file_extent(&b->file, offset, &extent->data, &extent->length);
    if (error) {
        return error;
    }
    extent->file = b->path;
    extent->place = offset;
    uint64_t part = extent->length % BLOCK_SECTOR;
    if (part && extent->length > part && !extent->data) {
        extent->length -= part;
    } else if (part) {
        extent->length += BLOCK_SECTOR - part;
        extent->data = true;
    }
    return 0;
}

static int raw_resize(Block *b, uint64_t size)
{
    int error = b->file.device ? ENOTSUP : disk_file_resize(&b->file, size);
    if (!error) {
        b->size = size;
        error = disk_file_sync(&b->file);
    }
    return error;
}

const BlockFormat block_raw = {
    .name = "raw",
    .probe = raw_probe,
    .open = raw_open,
    .read = raw_read,
    .write = raw_write,
    .flush = raw_flush,
    .discard = raw_discard,
    .map = raw_map,
    .resize = raw_resize,
    .parallel = true,
};
