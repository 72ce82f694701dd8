/* VDI images (VirtualBox): dynamic and fixed. Differencing images, which name their parent by
 * number only, are refused.
 *
 * Header, block map, blocks. All numbers are little-endian. A block's data are written before the
 * map shows it. Source: the header's layout as published in VirtualBox's forum ("All about VDIs")
 * and by its own files.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/bytes.h"
#include "storage/block_create_internal.h"
#include "storage/block_format.h"

enum {
    HEADER = 512,
    AT_SIGNATURE = 0x40,
    AT_VERSION = 0x44,
    AT_HEADER_SIZE = 0x48,
    AT_TYPE = 0x4c,
    AT_MAP = 0x154,
    AT_DATA = 0x158,
    AT_OLD_GEOMETRY = 0x15c,
    AT_SECTOR_SIZE = 0x168,
    AT_DISK_SIZE = 0x170,
    AT_BLOCK_SIZE = 0x178,
    AT_BLOCK_EXTRA = 0x17c,
    AT_BLOCKS = 0x180,
    AT_ALLOCATED = 0x184,
    AT_UUID = 0x188,
    AT_SNAPSHOT_UUID = 0x198,
    AT_GEOMETRY = 0x1c8,
    HEADER_SIZE = 400, /* as the field has it: what follows its own place */
    ALIGNMENT = 4096,
    TYPE_DYNAMIC = 1,
    TYPE_FIXED = 2,
    MAX_BLOCKS = 1 << 24,
    MAX_BLOCK_BYTES = 64 << 20,
};

#define SIGNATURE 0xbeda107fu
#define LEAST_SPECIAL 0xfffffffeu /* this and the next: no data, reads as zeros */

typedef struct Vdi {
    uint64_t map_at, data_at;
    uint32_t block_bytes, blocks, allocated;
    uint32_t *map;
    bool fixed;
} Vdi;

static int vdi_probe(const BlockProbe *p)
{
    return p->head_size >= HEADER && bytes_le32(p->head + AT_SIGNATURE) == SIGNATURE ? 100 : 0;
}

static bool bad(const Block *b, Err *err, const char *what)
{
    return err_set(err, "'%s' is a damaged VDI image: %s", b->path, what);
}

static bool shared(const Block *b, Err *err)
{
    return err_set(
        err,
        "'%s' is a damaged VDI image: two parts of the disk lie in one place, and writing "
        "would make it worse; copy what is left: vitrine image convert -O qcow2 '%s' "
        "disk.qcow2",
        b->path, b->path);
}

/* Blocks that belong to two parts of the disk. What lies outside the file was refused. */
static int vdi_check(Block *b, BlockCheck *check)
{
    const Vdi *v = b->data;
    uint8_t *seen = calloc(1, v->blocks / 8 + 1);
    check->total = v->blocks;
    for (uint32_t i = 0; i < v->blocks && seen; i++) {
        uint32_t entry = v->map[i];
        if (entry < LEAST_SPECIAL) {
            check->allocated++;
            check->corruptions += seen[entry / 8] >> entry % 8 & 1;
            seen[entry / 8] |= (uint8_t)(1u << entry % 8);
        }
    }
    free(seen);
    return seen ? 0 : ENOMEM;
}

static bool map_is_sound(Block *b, Err *err)
{
    BlockCheck check = {0};
    if (vdi_check(b, &check) != 0) {
        return err_set(err, "'%s': out of memory", b->path);
    }
    return check.corruptions == 0 || shared(b, err);
}

static void vdi_about(const Block *b, BlockAbout *about)
{
    const Vdi *v = b->data;
    *about = (BlockAbout){.kind = v->fixed ? "fixed" : "dynamic", .cluster = v->block_bytes};
}

static bool read_map(Block *b, uint64_t file_size, Err *err)
{
    Vdi *v = b->data;
    if (v->map_at > file_size || 4ull * v->blocks > file_size - v->map_at) {
        return bad(b, err, "its block map lies outside the file");
    }
    v->map = malloc(4ull * v->blocks);
    int error = v->map ? disk_file_read(&b->file, v->map_at, v->map, 4ull * v->blocks) : ENOMEM;
    if (error) {
        return err_set(err, "'%s': its block map cannot be read: %s", b->path, strerror(error));
    }
    for (uint32_t i = 0; i < v->blocks; i++) {
        uint32_t entry = v->map[i] = bytes_le32((const uint8_t *)&v->map[i]);
        if (entry < LEAST_SPECIAL) {
            if (entry >= v->blocks) {
                return bad(b, err, "a block lies outside the file");
            }
            /* the header's own count is not trusted: a crash may have kept it from being written */
            v->allocated = entry >= v->allocated ? entry + 1 : v->allocated;
        }
    }
    if (v->data_at + (uint64_t)v->allocated * v->block_bytes > file_size) {
        return bad(b, err, "it is cut off");
    }
    return b->read_only || b->for_repair || map_is_sound(b, err);
}

static bool read_header(Block *b, Err *err)
{
    Vdi *v = b->data;
    uint8_t h[HEADER];
    uint64_t file_size = 0;
    int error = disk_file_size(&b->file, &file_size);
    error = error ? error : file_size < HEADER ? EIO : disk_file_read(&b->file, 0, h, HEADER);
    if (error) {
        return err_set(err, "'%s' cannot be read: %s", b->path, strerror(error));
    }
    uint32_t type = bytes_le32(h + AT_TYPE), extra = bytes_le32(h + AT_BLOCK_EXTRA);
    b->size = bytes_le32(h + AT_DISK_SIZE) | (uint64_t)bytes_le32(h + AT_DISK_SIZE + 4) << 32;
    /* QEMU rounds odd sizes up, as the blocks do */
    b->size = (b->size + BLOCK_SECTOR - 1) & ~(uint64_t)(BLOCK_SECTOR - 1);
    v->map_at = bytes_le32(h + AT_MAP);
    v->data_at = bytes_le32(h + AT_DATA);
    v->block_bytes = bytes_le32(h + AT_BLOCK_SIZE);
    v->blocks = bytes_le32(h + AT_BLOCKS);
    if (bytes_le32(h + AT_SIGNATURE) != SIGNATURE || bytes_le32(h + AT_VERSION) != 0x00010001) {
        return err_set(err, "'%s' is no VDI image of version 1.1; convert it with qemu-img",
                       b->path);
    }
    if (type != TYPE_DYNAMIC && type != TYPE_FIXED) {
        return err_set(err,
                       "'%s' is a VDI of type %u (a snapshot?), which is not supported; convert "
                       "the whole disk: VBoxManage clonemedium",
                       b->path, type);
    }
    v->fixed = type == TYPE_FIXED;
    if (v->block_bytes < BLOCK_SECTOR || v->block_bytes > MAX_BLOCK_BYTES ||
        v->block_bytes & (v->block_bytes - 1) || extra != 0 ||
        bytes_le32(h + AT_SECTOR_SIZE) != BLOCK_SECTOR) {
        return bad(b, err, "its block or sector size is out of range");
    }
    if (v->blocks == 0 || v->blocks > MAX_BLOCKS || b->size == 0 ||
        b->size > (uint64_t)v->blocks * v->block_bytes || v->data_at % BLOCK_SECTOR ||
        v->data_at < v->map_at + 4ull * v->blocks || v->map_at < HEADER - 56) {
        return bad(b, err, "its disk size does not fit its blocks");
    }
    return read_map(b, file_size, err);
}

static void vdi_close(Block *b)
{
    Vdi *v = b->data;
    if (v) {
        free(v->map);
        free(v);
        b->data = NULL;
    }
}

static bool vdi_open(Block *b, const BlockOptions *options, Err *err)
{
    (void)options;
    b->data = calloc(1, sizeof(Vdi));
    if (!b->data) {
        return err_set(err, "'%s': out of memory", b->path);
    }
    if (!read_header(b, err)) {
        vdi_close(b);
        return false;
    }
    return true;
}

static uint64_t place(const Vdi *v, uint32_t entry)
{
    return v->data_at + (uint64_t)entry * v->block_bytes;
}

static size_t part_of(const Vdi *v, uint64_t offset, uint64_t length)
{
    uint64_t rest = v->block_bytes - offset % v->block_bytes;
    return (size_t)(rest < length ? rest : length);
}

static int vdi_read(Block *b, uint64_t offset, void *data, size_t length)
{
    const Vdi *v = b->data;
    uint8_t *at = data;
    while (length) {
        uint32_t entry = v->map[offset / v->block_bytes];
        size_t part = part_of(v, offset, length);
        int error = 0;
        if (entry >= LEAST_SPECIAL) {
            memset(at, 0, part);
        } else {
            error = disk_file_read(&b->file, place(v, entry) + offset % v->block_bytes, at, part);
        }
        if (error) {
            return error;
        }
        at += part;
        offset += part;
        length -= part;
    }
    return 0;
}

/* A block for a part of the disk that had none. Order: the block, the count, the map. Should the
 * map reach the disk first, the block reads as zeros, as that part of the disk did before. */
static int add_block(Block *b, uint32_t index, uint32_t in, const uint8_t *data, size_t length)
{
    Vdi *v = b->data;
    uint8_t word[4];
    uint8_t *whole = calloc(1, v->block_bytes);
    if (!whole || v->allocated >= v->blocks) {
        free(whole);
        return whole ? ENOSPC : ENOMEM;
    }
    memcpy(whole + in, data, length);
    int error = disk_file_write(&b->file, place(v, v->allocated), whole, v->block_bytes);
    free(whole);
    bytes_put_le32(word, v->allocated + 1);
    error = error ? error : disk_file_write(&b->file, AT_ALLOCATED, word, 4);
    bytes_put_le32(word, v->allocated);
    error = error ? error : disk_file_write(&b->file, v->map_at + 4ull * index, word, 4);
    if (!error) {
        v->map[index] = v->allocated++;
    }
    return error;
}

static int vdi_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    const Vdi *v = b->data;
    const uint8_t *at = data;
    while (length) {
        uint32_t index = (uint32_t)(offset / v->block_bytes), entry = v->map[index];
        uint32_t in = (uint32_t)(offset % v->block_bytes);
        size_t part = part_of(v, offset, length);
        int error = entry >= LEAST_SPECIAL
                        ? add_block(b, index, in, at, part)
                        : disk_file_write(&b->file, place(v, entry) + in, at, part);
        if (error) {
            return error;
        }
        at += part;
        offset += part;
        length -= part;
    }
    return 0;
}

static int vdi_flush(Block *b)
{
    return disk_file_sync(&b->file);
}

static int vdi_discard(Block *b, uint64_t offset, uint64_t length)
{
    const Vdi *v = b->data;
    while (length) {
        uint32_t entry = v->map[offset / v->block_bytes];
        size_t part = part_of(v, offset, length);
        int error =
            entry >= LEAST_SPECIAL
                ? 0
                : disk_file_punch(&b->file, place(v, entry) + offset % v->block_bytes, part);
        if (error) {
            return error;
        }
        offset += part;
        length -= part;
    }
    return 0;
}

static int vdi_map(Block *b, uint64_t offset, BlockExtent *extent)
{
    const Vdi *v = b->data;
    uint32_t entry = v->map[offset / v->block_bytes];
    extent->length = part_of(v, offset, b->size - offset);
    if (entry < LEAST_SPECIAL) {
        extent->data = true;
        extent->file = b->path;
        extent->place = place(v, entry) + offset % v->block_bytes;
    }
    return 0;
}

const BlockFormat block_vdi = {
    .name = "vdi",
    .probe = vdi_probe,
    .open = vdi_open,
    .close = vdi_close,
    .read = vdi_read,
    .write = vdi_write,
    .flush = vdi_flush,
    .discard = vdi_discard,
    .map = vdi_map,
    .about = vdi_about,
    .check = vdi_check,
};

/* ---- making ---- */

static void put_geometry(uint8_t *p, uint64_t size)
{
    unsigned cylinders, heads, sectors;
    block_geometry(size, &cylinders, &heads, &sectors);
    bytes_put_le32(p, cylinders);
    bytes_put_le32(p + 4, heads);
    bytes_put_le32(p + 8, sectors);
}

static void put_header(uint8_t *h, uint64_t size, const Vdi *v, bool fixed)
{
    memcpy(h, "<<< Vitrine Virtual Disk Image >>>\n", 35);
    bytes_put_le32(h + AT_SIGNATURE, SIGNATURE);
    bytes_put_le32(h + AT_VERSION, 0x00010001);
    bytes_put_le32(h + AT_HEADER_SIZE, HEADER_SIZE);
    bytes_put_le32(h + AT_TYPE, fixed ? TYPE_FIXED : TYPE_DYNAMIC);
    bytes_put_le32(h + AT_MAP, (uint32_t)v->map_at);
    bytes_put_le32(h + AT_DATA, (uint32_t)v->data_at);
    put_geometry(h + AT_OLD_GEOMETRY, size);
    bytes_put_le32(h + AT_SECTOR_SIZE, BLOCK_SECTOR);
    bytes_put_le64(h + AT_DISK_SIZE, size);
    bytes_put_le32(h + AT_BLOCK_SIZE, v->block_bytes);
    bytes_put_le32(h + AT_BLOCKS, v->blocks);
    bytes_put_le32(h + AT_ALLOCATED, fixed ? v->blocks : 0);
    new_image_uuid(h + AT_UUID);
    new_image_uuid(h + AT_SNAPSHOT_UUID);
    put_geometry(h + AT_GEOMETRY, size);
    bytes_put_le32(h + AT_GEOMETRY + 12, BLOCK_SECTOR);
}

bool vdi_create(const char *path, uint64_t size, const VdiOptions *options, Err *err)
{
    uint32_t bytes = options && options->block_bytes ? options->block_bytes : 1 << 20;
    bool fixed = options && options->fixed;
    if (bytes < ALIGNMENT || bytes > MAX_BLOCK_BYTES || bytes & (bytes - 1)) {
        return err_set(err, "'%s': a VDI's blocks have a power of two from 4096 to 64M bytes",
                       path);
    }
    NewImageFile n;
    if (!new_image_begin(&n, path, size, (uint64_t)MAX_BLOCKS * bytes, err)) {
        return false;
    }
    Vdi v = {
        .map_at = HEADER, .block_bytes = bytes, .blocks = (uint32_t)((size + bytes - 1) / bytes)};
    v.data_at = (v.map_at + 4ull * v.blocks + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    uint8_t *head = calloc(1, (size_t)v.data_at);
    if (head) {
        put_header(head, size, &v, fixed);
        for (uint32_t i = 0; i < v.blocks; i++) {
            bytes_put_le32(head + v.map_at + 4ull * i, fixed ? i : UINT32_MAX);
        }
        new_image_put(&n, 0, head, (size_t)v.data_at);
    } else {
        n.error = ENOMEM;
    }
    free(head);
    if (fixed) {
        new_image_size(&n, v.data_at + (uint64_t)v.blocks * bytes);
    }
    return new_image_end(&n, err);
}
