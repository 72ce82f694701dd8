/* VHD images (Microsoft, "Virtual Hard Disk Image Format Specification", 1.0): fixed, dynamic,
 * differencing.
 *
 * A dynamic image is a table of blocks (BAT), each a bitmap of its sectors and their data. A
 * block's place is in the table only once its bitmap is on the disk, and the footer is written
 * behind it first, so that a file that is cut off anywhere opens. A sector whose bit is clear comes
 * from the parent, or is zero.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"
#include "storage/image_path.h"
#include "storage/vhd_internal.h"

LOG_TAG("vhd");

static bool checksum_good(const uint8_t *p, size_t size, size_t at)
{
    return bytes_be32(p + at) == vhd_checksum(p, size, at);
}

static int vhd_probe(const BlockProbe *p)
{
    if (p->head_size >= VHD_FOOTER && memcmp(p->head, "conectix", 8) == 0) {
        return 100;
    }
    return p->size >= 2 * VHD_FOOTER && memcmp(p->tail, "conectix", 8) == 0 &&
                   checksum_good(p->tail, VHD_FOOTER, 64)
               ? 90
               : 0;
}

static bool bad(const Block *b, Err *err, const char *what)
{
    return err_set(err, "'%s' is a damaged VHD image: %s", b->path, what);
}

/* The footer at the end, or its copy at the beginning. */
static bool read_footer(Block *b, uint64_t file_size, Err *err)
{
    Vhd *v = b->data;
    if (file_size < VHD_FOOTER) {
        return bad(b, err, "it is too short");
    }
    /* A footer of 511 bytes was written by very old programs; none of them is in use. */
    v->footer_at = file_size - VHD_FOOTER;
    int error = disk_file_read(&b->file, v->footer_at, v->footer, VHD_FOOTER);
    bool good =
        !error && memcmp(v->footer, "conectix", 8) == 0 && checksum_good(v->footer, VHD_FOOTER, 64);
    if (!error && !good) {
        error = disk_file_read(&b->file, 0, v->footer, VHD_FOOTER);
        good = !error && memcmp(v->footer, "conectix", 8) == 0 &&
               checksum_good(v->footer, VHD_FOOTER, 64) &&
               bytes_be32(v->footer + 60) != VHD_TYPE_FIXED;
        v->footer_at = (file_size + 511) & ~UINT64_C(511); /* it was cut off: make it anew there */
    }
    if (error) {
        return err_set(err, "'%s' cannot be read: %s", b->path, strerror(error));
    }
    return good || bad(b, err, "its footer is missing or wrong");
}

/* Virtual PC made the geometry the size; everybody else means the size field. */
static uint64_t disk_size(const uint8_t *footer)
{
    uint64_t size = bytes_be64(footer + 48);
    uint64_t cylinders = (uint32_t)footer[56] << 8 | footer[57];
    uint64_t chs = cylinders * footer[58] * footer[59] * BLOCK_SECTOR;
    bool by_geometry = memcmp(footer + 28, "vpc ", 4) == 0 || memcmp(footer + 28, "vs  ", 4) == 0 ||
                       memcmp(footer + 28, "qemu", 4) == 0;
    return by_geometry && chs && cylinders != 65535 && chs <= size ? chs : size;
}

/* The parent's path from the header's Unicode name: ASCII part of UTF-16, or a locator of type
 * W2ru. */
static bool parent_path(Block *b, const uint8_t *header, uint64_t file_size, char *name,
                        size_t room)
{
    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *locator = header + 576 + 24 * i;
        uint32_t length = bytes_be32(locator + 8);
        uint64_t at = bytes_be64(locator + 16);
        uint8_t text[2048];
        bool known = memcmp(locator, "W2ru", 4) == 0 || memcmp(locator, "W2ku", 4) == 0;
        if (!known || length == 0 || length > sizeof(text) || at > file_size ||
            length > file_size - at || disk_file_read(&b->file, at, text, length) != 0) {
            continue;
        }
        size_t n = 0;
        for (size_t j = 0; j + 1 < length && n + 1 < room; j += 2) {
            if (text[j + 1] || text[j] == 0) {
                break;
            }
            name[n++] = text[j] == '\\' ? '/' : (char)text[j];
        }
        name[n] = '\0';
        if (n) {
            return true;
        }
    }
    size_t n = 0;
    for (size_t j = 0; j < 512 && n + 1 < room; j += 2) {
        const uint8_t *unit = header + 64 + j; /* big-endian */
        if (unit[0] || unit[1] == 0) {
            break;
        }
        name[n++] = unit[1] == '\\' ? '/' : (char)unit[1];
    }
    name[n] = '\0';
    return n > 0;
}

static void vhd_about(const Block *b, BlockAbout *about)
{
    const Vhd *v = b->data;
    bool fixed = v->type == VHD_TYPE_FIXED;
    *about = (BlockAbout){.kind = fixed                         ? "fixed"
                                  : v->type == VHD_TYPE_DYNAMIC ? "dynamic"
                                                                : "differencing",
                          .backing = v->parent[0] ? v->parent : NULL,
                          .cluster = fixed ? 0 : v->block_bytes};
}

static bool open_parent(Block *b, const uint8_t *header, uint64_t file_size,
                        const BlockOptions *options, Err *err)
{
    char name[PATH_MAX], path[PATH_MAX];
    if (!parent_path(b, header, file_size, name, sizeof(name))) {
        return bad(b, err, "it does not name its parent");
    }
    Vhd *v = b->data;
    snprintf(v->parent, sizeof(v->parent), "%.1023s", name);
    if (options->no_backing) {
        return true;
    }
    /* names with a drive letter are of another machine: the file beside the image is meant */
    const char *base = name[0] && name[1] == ':' ? strrchr(name, '/') : NULL;
    if (!image_path_beside(b->path, base ? base + 1 : name, options->any_backing, path,
                           sizeof(path), err)) {
        return false;
    }
    if (options->depth >= VHD_MAX_DEPTH) {
        return err_set(err, "'%s': its parents go round in a circle, or are more than %d", b->path,
                       VHD_MAX_DEPTH);
    }
    BlockOptions how = *options;
    how.read_only = true;
    how.snapshot = false;
    how.format = NULL;
    how.depth++;
    b->base = block_open(path, &how, err);
    if (b->base && b->base->format == &block_vhd) {
        const Vhd *parent = b->base->data;
        if (memcmp(parent->footer + 68, header + 40, 16) != 0) {
            log_warn("'%s': '%s' is not the parent that it was made above", b->path, path);
        }
    }
    return b->base != NULL;
}

static int by_sector(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Blocks that lie over another, the headers or the table. */
static int vhd_check(Block *b, BlockCheck *check)
{
    const Vhd *v = b->data;
    if (v->type == VHD_TYPE_FIXED) {
        return ENOTSUP;
    }
    uint64_t step = (v->bitmap_bytes + v->block_bytes) / BLOCK_SECTOR, last = 0;
    uint64_t table = v->table_at / BLOCK_SECTOR;
    uint64_t table_end = (v->table_at + 4ull * v->blocks + BLOCK_SECTOR - 1) / BLOCK_SECTOR;
    uint32_t *sorted = malloc(4ull * v->blocks);
    if (!sorted) {
        return ENOMEM;
    }
    memcpy(sorted, v->table, 4ull * v->blocks);
    qsort(sorted, v->blocks, sizeof(*sorted), by_sector);
    check->total = v->blocks;
    for (uint32_t i = 0; i < v->blocks && sorted[i] != VHD_UNUSED; i++) {
        uint64_t from = sorted[i];
        bool good = from >= last && from > 0 && (from >= table_end || from + step <= table);
        check->corruptions += !good;
        check->allocated++;
        last = from + step;
    }
    free(sorted);
    return 0;
}

static bool blocks_are_apart(Block *b, Err *err)
{
    BlockCheck check = {0};
    if (vhd_check(b, &check) != 0) {
        return err_set(err, "'%s': out of memory", b->path);
    }
    return check.corruptions == 0 ||
           err_set(
               err,
               "'%s' is a damaged VHD image: blocks lie over each other, and writing would make "
               "it worse; copy what is left: vitrine image convert -O qcow2 '%s' disk.qcow2",
               b->path, b->path);
}

static bool read_table(Block *b, uint64_t file_size, const BlockOptions *options, Err *err)
{
    Vhd *v = b->data;
    uint8_t header[VHD_HEADER];
    uint64_t at = bytes_be64(v->footer + 16);
    if (at > file_size || file_size - at < VHD_HEADER ||
        disk_file_read(&b->file, at, header, VHD_HEADER) != 0 ||
        memcmp(header, "cxsparse", 8) != 0 || !checksum_good(header, VHD_HEADER, 36)) {
        return bad(b, err, "its header is missing or wrong");
    }
    v->table_at = bytes_be64(header + 16);
    v->blocks = bytes_be32(header + 28);
    v->block_bytes = bytes_be32(header + 32);
    if (v->block_bytes < BLOCK_SECTOR || v->block_bytes > VHD_MAX_BLOCK_BYTES ||
        v->block_bytes & (v->block_bytes - 1)) {
        return bad(b, err, "its block size is out of range");
    }
    if (v->blocks == 0 || v->blocks > VHD_MAX_BLOCKS || v->table_at > file_size ||
        4ull * v->blocks > file_size - v->table_at ||
        (b->size + v->block_bytes - 1) / v->block_bytes > v->blocks) {
        return bad(b, err, "its block table lies outside the file or is too small");
    }
    /* a bit a sector, in whole sectors */
    v->bitmap_bytes = (v->block_bytes / BLOCK_SECTOR + 4095) / 4096 * BLOCK_SECTOR;
    v->bitmap_of = VHD_UNUSED;
    v->bitmap = malloc(v->bitmap_bytes);
    v->table = malloc(4ull * v->blocks);
    if (!v->bitmap || !v->table) {
        return err_set(err, "'%s': out of memory", b->path);
    }
    int error = disk_file_read(&b->file, v->table_at, v->table, 4ull * v->blocks);
    for (uint32_t i = 0; i < v->blocks && !error; i++) {
        v->table[i] = bytes_be32((const uint8_t *)&v->table[i]);
        uint64_t from = (uint64_t)v->table[i] * BLOCK_SECTOR;
        uint64_t end = from + v->bitmap_bytes + v->block_bytes;
        if (v->table[i] != VHD_UNUSED && end > v->footer_at) {
            /* the footer was lost, or a program wrote none: it goes behind all blocks */
            v->footer_at = end;
        }
    }
    if (error) {
        return err_set(err, "'%s' cannot be read: %s", b->path, strerror(error));
    }
    if (!b->read_only && !b->for_repair && !blocks_are_apart(b, err)) {
        return false;
    }
    return v->type != VHD_TYPE_DIFFERENCING || open_parent(b, header, file_size, options, err);
}

static void vhd_free(Block *b)
{
    Vhd *v = b->data;
    if (v) {
        free(v->table);
        free(v->bitmap);
        free(v);
        b->data = NULL;
    }
}

static bool vhd_open(Block *b, const BlockOptions *options, Err *err)
{
    uint64_t file_size = 0;
    int error = disk_file_size(&b->file, &file_size);
    Vhd *v = b->data = calloc(1, sizeof(*v));
    if (error || !v) {
        return err_set(err, "'%s': %s", b->path, strerror(error ? error : ENOMEM));
    }
    bool good = read_footer(b, file_size, err);
    if (good) {
        v->type = bytes_be32(v->footer + 60);
        b->size = disk_size(v->footer);
        if (b->size == 0 || b->size % BLOCK_SECTOR || b->size > UINT64_C(1) << 41) {
            good = bad(b, err, "its disk size is out of range");
        } else if (v->type == VHD_TYPE_FIXED) {
            good = b->size <= v->footer_at || bad(b, err, "it is cut off");
        } else if (v->type == VHD_TYPE_DYNAMIC || v->type == VHD_TYPE_DIFFERENCING) {
            good = read_table(b, file_size, options, err);
        } else {
            good = bad(b, err, "its type is unknown");
        }
    }
    if (!good) {
        block_close(b->base);
        b->base = NULL;
        vhd_free(b);
    }
    return good;
}

static bool bit(const uint8_t *bitmap, uint32_t sector)
{
    return bitmap[sector / 8] >> (7 - sector % 8) & 1;
}

static int load_bitmap(Block *b, uint32_t block)
{
    Vhd *v = b->data;
    if (v->bitmap_of == block) {
        return 0;
    }
    v->bitmap_of = VHD_UNUSED;
    int error = disk_file_read(&b->file, (uint64_t)v->table[block] * BLOCK_SECTOR, v->bitmap,
                               v->bitmap_bytes);
    if (!error) {
        v->bitmap_of = block;
    }
    return error;
}

static uint64_t data_at(const Vhd *v, uint32_t block)
{
    return (uint64_t)v->table[block] * BLOCK_SECTOR + v->bitmap_bytes;
}

/* How much from `offset` on is alike: in this file (*here) or not. At most `limit`, within a block.
 */
static int stretch(Block *b, uint64_t offset, uint64_t limit, bool *here, uint64_t *length)
{
    Vhd *v = b->data;
    uint32_t block = (uint32_t)(offset / v->block_bytes);
    uint32_t in = (uint32_t)(offset % v->block_bytes);
    *length = v->block_bytes - in < limit ? v->block_bytes - in : limit;
    *here = false;
    if (v->table[block] == VHD_UNUSED) {
        return 0;
    }
    int error = load_bitmap(b, block);
    if (error) {
        return error;
    }
    uint32_t sector = in / BLOCK_SECTOR, count = 1;
    *here = bit(v->bitmap, sector);
    while (count < *length / BLOCK_SECTOR && bit(v->bitmap, sector + count) == *here) {
        count++;
    }
    *length = (uint64_t)count * BLOCK_SECTOR;
    return 0;
}

static int read_parent(Block *b, uint64_t offset, uint8_t *data, uint64_t length)
{
    uint64_t size = b->base ? block_size(b->base) : 0;
    uint64_t part = offset >= size ? 0 : length < size - offset ? length : size - offset;
    memset(data + part, 0, (size_t)(length - part));
    return part ? block_read(b->base, offset, data, (size_t)part) : 0;
}

static int vhd_read(Block *b, uint64_t offset, void *data, size_t length)
{
    const Vhd *v = b->data;
    uint8_t *at = data;
    if (v->type == VHD_TYPE_FIXED) {
        return disk_file_read(&b->file, offset, data, length);
    }
    while (length) {
        bool here;
        uint64_t part;
        int error = stretch(b, offset, length, &here, &part);
        if (error) {
            return error;
        }
        uint32_t block = (uint32_t)(offset / v->block_bytes);
        error = here ? disk_file_read(&b->file, data_at(v, block) + offset % v->block_bytes, at,
                                      (size_t)part)
                     : read_parent(b, offset, at, part);
        if (error) {
            return error;
        }
        at += part;
        offset += part;
        length -= (size_t)part;
    }
    return 0;
}

/* A new block where the footer stands. Order: the footer behind it, its bitmap and data, the table.
 */
static int add_block(Block *b, uint32_t block)
{
    Vhd *v = b->data;
    uint64_t place = (v->footer_at + 511) & ~UINT64_C(511);
    uint64_t end = place + v->bitmap_bytes + v->block_bytes;
    uint8_t entry[4];
    if (end / BLOCK_SECTOR >= VHD_UNUSED) {
        return EFBIG;
    }
    uint8_t *empty = calloc(1, v->bitmap_bytes);
    if (!empty) {
        return ENOMEM;
    }
    int error = disk_file_write(&b->file, end, v->footer, VHD_FOOTER);
    error = error ? error : disk_file_punch(&b->file, place, end - place);
    error = error ? error : disk_file_write(&b->file, place, empty, v->bitmap_bytes);
    free(empty);
    /* Behind the file's old end all is zero, as the new bitmap is; only where that would hide a
     * parent's data must it be on the disk before the table. */
    error = error ? error : b->base ? disk_file_sync(&b->file) : 0;
    bytes_put_be32(entry, (uint32_t)(place / BLOCK_SECTOR));
    error = error ? error : disk_file_write(&b->file, v->table_at + 4ull * block, entry, 4);
    if (!error) {
        v->table[block] = (uint32_t)(place / BLOCK_SECTOR);
        v->footer_at = end;
    }
    return error;
}

/* Sets the bits of sectors, in the file too. */
static int set_bits(Block *b, uint32_t block, uint32_t sector, uint32_t count)
{
    Vhd *v = b->data;
    bool changed = false;
    for (uint32_t i = sector; i < sector + count; i++) {
        changed |= !bit(v->bitmap, i);
        v->bitmap[i / 8] |= (uint8_t)(0x80 >> i % 8);
    }
    uint32_t from = sector / 8 & ~511u, to = ((sector + count - 1) / 8 | 511u) + 1;
    int error = changed ? disk_file_write(&b->file, (uint64_t)v->table[block] * BLOCK_SECTOR + from,
                                          v->bitmap + from, to - from)
                        : 0;
    if (error) {
        v->bitmap_of = VHD_UNUSED; /* what is in memory is not what is on the disk */
    }
    return error;
}

static int vhd_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    Vhd *v = b->data;
    const uint8_t *at = data;
    if (v->type == VHD_TYPE_FIXED) {
        return disk_file_write(&b->file, offset, data, length);
    }
    while (length) {
        uint32_t block = (uint32_t)(offset / v->block_bytes);
        uint32_t in = (uint32_t)(offset % v->block_bytes);
        size_t part = v->block_bytes - in < length ? v->block_bytes - in : length;
        int error = v->table[block] == VHD_UNUSED ? add_block(b, block) : 0;
        error = error ? error : load_bitmap(b, block);
        error = error ? error : disk_file_write(&b->file, data_at(v, block) + in, at, part);
        error =
            error ? error : set_bits(b, block, in / BLOCK_SECTOR, (uint32_t)(part / BLOCK_SECTOR));
        if (error) {
            return error;
        }
        at += part;
        offset += part;
        length -= part;
    }
    return 0;
}

static int vhd_flush(Block *b)
{
    return disk_file_sync(&b->file);
}

/* What this file holds reads as zeros, and the host gets the room back; what comes from the parent
 * stays. */
static int vhd_discard(Block *b, uint64_t offset, uint64_t length)
{
    const Vhd *v = b->data;
    if (v->type == VHD_TYPE_FIXED) {
        return disk_file_punch(&b->file, offset, length);
    }
    while (length) {
        bool here;
        uint64_t part;
        int error = stretch(b, offset, length, &here, &part);
        if (!error && here) {
            uint32_t block = (uint32_t)(offset / v->block_bytes);
            error = disk_file_punch(&b->file, data_at(v, block) + offset % v->block_bytes, part);
        }
        if (error) {
            return error;
        }
        offset += part;
        length -= part;
    }
    return 0;
}

static int vhd_map(Block *b, uint64_t offset, BlockExtent *extent)
{
    const Vhd *v = b->data;
    if (v->type == VHD_TYPE_FIXED) {
        return block_raw.map(b, offset, extent);
    }
    bool here;
    int error = stretch(b, offset, b->size - offset, &here, &extent->length);
    if (error || (!here && v->type == VHD_TYPE_DYNAMIC)) {
        return error;
    }
    if (!here) {
        return block_map_below(b, offset, extent);
    }
    extent->data = true;
    extent->file = b->path;
    extent->place = data_at(v, (uint32_t)(offset / v->block_bytes)) + offset % v->block_bytes;
    return 0;
}

const BlockFormat block_vhd = {
    .name = "vhd",
    .probe = vhd_probe,
    .open = vhd_open,
    .close = vhd_free,
    .read = vhd_read,
    .write = vhd_write,
    .flush = vhd_flush,
    .discard = vhd_discard,
    .map = vhd_map,
    .about = vhd_about,
    .check = vhd_check,
};
