/* New VHD images: fixed, dynamic, differencing (Microsoft, "Virtual Hard Disk Image Format
 * Specification", 1.0).
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/block_create_internal.h"
#include "storage/image_path.h"
#include "storage/vhd_internal.h"

enum {
    AT_SIZES = 40, /* in the footer: original and current size, geometry, type, checksum, UUID */
    AT_GEOMETRY = 56,
    AT_TYPE = 60,
    AT_CHECKSUM = 64,
    AT_UUID = 68,
    TABLE_AT = VHD_FOOTER + VHD_HEADER,
    LOCATOR_ROOM = 2048, /* bytes of each of the two places for the parent's path */
    MAX_PARENT = LOCATOR_ROOM / 2 - 2,
    NAME_UNITS = 255, /* of the parent's name in the header */
};

#define VHD_MOST (UINT64_C(2040) << 30)
#define SECONDS_TO_2000 946684800 /* the format's times count from then */

uint32_t vhd_checksum(const uint8_t *p, size_t size, size_t at)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum += i >= at && i < at + 4 ? 0 : p[i];
    }
    return ~sum;
}

/* The smallest size that is exactly what its own geometry says. */
static uint64_t size_by_geometry(uint64_t size)
{
    unsigned c, h, s;
    for (uint64_t try = size;; try += BLOCK_SECTOR) {
        block_geometry(try, &c, &h, &s);
        uint64_t bytes = (uint64_t)c * h * s * BLOCK_SECTOR;
        if (bytes >= size || c >= 65535) {
            return bytes >= size ? bytes : size;
        }
    }
}

static void put_footer(uint8_t *f, uint64_t size, unsigned type, bool by_geometry)
{
    unsigned c, h, s;
    block_geometry(size, &c, &h, &s);
    memcpy(f, "conectix", 8);
    bytes_put_be32(f + 8, 2);
    bytes_put_be32(f + 12, 0x00010000);
    bytes_put_be64(f + 16, type == VHD_TYPE_FIXED ? UINT64_MAX : VHD_FOOTER);
    bytes_put_be32(f + 24, (uint32_t)(time(NULL) - SECONDS_TO_2000));
    /* Readers tell by this name whether the size or the geometry is what counts. */
    memcpy(f + 28, by_geometry ? "vpc " : "win ", 4);
    bytes_put_be32(f + 32, by_geometry ? 0x00050003 : 0x00060001);
    memcpy(f + 36, "Wi2k", 4);
    bytes_put_be64(f + AT_SIZES, size);
    bytes_put_be64(f + AT_SIZES + 8, size);
    bytes_put_be16(f + AT_GEOMETRY, (uint16_t)c);
    f[AT_GEOMETRY + 2] = (uint8_t)h;
    f[AT_GEOMETRY + 3] = (uint8_t)s;
    bytes_put_be32(f + AT_TYPE, type);
    new_image_uuid(f + AT_UUID);
    bytes_put_be32(f + AT_CHECKSUM, vhd_checksum(f, VHD_FOOTER, AT_CHECKSUM));
}

/* The path as Windows writes it, in UTF-16 of either byte order; ASCII, as our reader wants it. The
 * number of bytes. */
static uint32_t put_name(uint8_t *p, const char *prefix, const char *path, bool big, size_t units)
{
    size_t n = 0;
    for (unsigned part = 0; part < 2; part++) {
        for (const char *c = part ? path : prefix; *c && n < units; c++, n++) {
            p[2 * n + big] = (uint8_t)(*c == '/' ? '\\' : *c);
        }
    }
    return (uint32_t)(2 * n);
}

static bool plain_name(const char *name)
{
    for (const char *c = name; *c; c++) {
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f || *c == '\\') {
            return false;
        }
    }
    return name[0] && strlen(name) < MAX_PARENT - 2;
}

/* The parent's UUID and time from its footer. */
static bool put_parent(const char *path, const char *backing, uint8_t *header, Err *err)
{
    char place[PATH_MAX];
    uint8_t footer[VHD_FOOTER];
    DiskFile file;
    uint64_t size = 0;
    if (!image_path_beside(path, backing, true, place, sizeof(place), err) ||
        !disk_file_open(&file, place, &(DiskFileOptions){0}, err)) {
        return false;
    }
    int error = disk_file_size(&file, &size);
    error = error ? error : size < VHD_FOOTER ? EIO : 0;
    error = error ? error : disk_file_read(&file, size - VHD_FOOTER, footer, VHD_FOOTER);
    disk_file_close(&file);
    if (error || memcmp(footer, "conectix", 8) != 0) {
        return err_set(err,
                       "'%s' is no VHD image, so no differencing VHD can lie above it; take "
                       "qcow2 for that",
                       place);
    }
    memcpy(header + 40, footer + AT_UUID, 16);
    memcpy(header + 56, footer + 24, 4);
    const char *slash = strrchr(backing, '/');
    put_name(header + 64, "", slash ? slash + 1 : backing, true, NAME_UNITS);
    return true;
}

static void put_locator(uint8_t *header, unsigned index, const char *code, uint64_t at,
                        uint32_t length)
{
    uint8_t *l = header + 576 + 24 * (size_t)index;
    memcpy(l, code, 4);
    bytes_put_be32(l + 4, LOCATOR_ROOM);
    bytes_put_be32(l + 8, length);
    bytes_put_be64(l + 16, at);
}

static bool put_tables(NewImageFile *n, const uint8_t *footer, const VhdOptions *o, uint64_t size,
                       Err *err)
{
    uint8_t header[VHD_HEADER] = {0}, locator[LOCATOR_ROOM] = {0};
    uint32_t bytes = o->block_bytes, blocks = (uint32_t)((size + bytes - 1) / bytes);
    size_t room = (4ull * blocks + 511) & ~(size_t)511;
    uint64_t end = TABLE_AT + room;
    memcpy(header, "cxsparse", 8);
    bytes_put_be64(header + 8, UINT64_MAX);
    bytes_put_be64(header + 16, TABLE_AT);
    bytes_put_be32(header + 24, 0x00010000);
    bytes_put_be32(header + 28, blocks);
    bytes_put_be32(header + 32, bytes);
    if (o->backing) {
        if (!put_parent(n->path, o->backing, header, err)) {
            return false;
        }
        bool whole = o->backing[0] == '/';
        uint32_t length = put_name(locator, whole ? "" : "./", o->backing, false, MAX_PARENT);
        put_locator(header, 0, whole ? "W2ku" : "W2ru", end, length);
        new_image_put(n, end, locator, sizeof(locator));
        end += sizeof(locator);
    }
    bytes_put_be32(header + 36, vhd_checksum(header, VHD_HEADER, 36));
    uint8_t *table = malloc(room);
    if (table) {
        memset(table, 0xff, room);
        new_image_put(n, TABLE_AT, table, room);
    } else {
        n->error = ENOMEM;
    }
    free(table);
    new_image_put(n, 0, footer, VHD_FOOTER);
    new_image_put(n, VHD_FOOTER, header, VHD_HEADER);
    new_image_put(n, end, footer, VHD_FOOTER);
    return true;
}

bool vhd_create(const char *path, uint64_t size, const VhdOptions *options, Err *err)
{
    VhdOptions o = options ? *options : (VhdOptions){0};
    uint8_t footer[VHD_FOOTER] = {0};
    NewImageFile n;
    o.block_bytes = o.block_bytes ? o.block_bytes : 2 << 20;
    if (o.block_bytes < 4096 || o.block_bytes > VHD_MAX_BLOCK_BYTES ||
        o.block_bytes & (o.block_bytes - 1) || size / o.block_bytes >= VHD_MAX_BLOCKS) {
        return err_set(err,
                       "'%s': a VHD's blocks have a power of two from 4096 to 256M bytes, and "
                       "are at most %u",
                       path, VHD_MAX_BLOCKS);
    }
    if (o.backing && (o.fixed || !plain_name(o.backing))) {
        return err_set(err,
                       o.fixed ? "'%s': a fixed VHD has no parent; leave subformat=fixed out"
                               : "'%s': a VHD's parent needs a name of ASCII letters, shorter "
                                 "than 1000",
                       path);
    }
    size = o.by_geometry ? size_by_geometry(size) : size;
    if (!new_image_begin(&n, path, size, VHD_MOST, err)) {
        return false;
    }
    put_footer(footer, size,
               o.fixed     ? VHD_TYPE_FIXED
               : o.backing ? VHD_TYPE_DIFFERENCING
                           : VHD_TYPE_DYNAMIC,
               o.by_geometry);
    if (o.fixed) {
        new_image_put(&n, size, footer, VHD_FOOTER);
    } else if (!put_tables(&n, footer, &o, size, err)) {
        n.error = n.error ? n.error : EINVAL;
    }
    return new_image_end(&n, err); /* an earlier text stands */
}
