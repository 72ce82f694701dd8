/* Writing streamOptimized VMDK images: compressed grains in order, each table behind its grains,
 * then the directory, a footer and the end mark ("Virtual Disk Format 5.0", "Stream-Optimized").
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "storage/vmdk_internal.h"

void vmdk_marker(uint8_t *sector, uint64_t sectors, uint32_t type)
{
    memset(sector, 0, BLOCK_SECTOR);
    bytes_put_le64(sector, sectors);
    bytes_put_le32(sector + 12, type);
}

bool vmdk_stream_begin(Block *b, const uint8_t *header, Err *err)
{
    Vmdk *v = b->data;
    VmdkExtent *e = &v->extent[0];
    uint64_t start = bytes_le64(header + 64);
    for (uint32_t i = 0; i < e->directory_size; i++) {
        if (e->directory[i]) {
            return err_set(err,
                           "'%s' is a streamOptimized VMDK, which is written once and in order; "
                           "convert it to another kind to write to it",
                           b->path);
        }
    }
    if (start == 0 || start > e->end / BLOCK_SECTOR) {
        return err_set(err, "'%s' is a damaged VMDK image: its grains lie outside the file",
                       b->path);
    }
    v->stream = true;
    v->table_number = 0;
    memset(e->table, 0, 4ull * e->table_size);
    e->end = start * BLOCK_SECTOR;
    return true;
}

static uint64_t whole_sectors(uint64_t bytes)
{
    return (bytes + BLOCK_SECTOR - 1) & ~(uint64_t)(BLOCK_SECTOR - 1);
}

/* A marker and what it announces, at *end. */
static int put_marked(const VmdkExtent *e, uint64_t *end, uint32_t type, const uint32_t *words,
                      uint32_t count)
{
    uint64_t bytes = whole_sectors(4ull * count);
    uint8_t *data = calloc(1, (size_t)bytes + BLOCK_SECTOR);
    if (!data) {
        return ENOMEM;
    }
    vmdk_marker(data, bytes / BLOCK_SECTOR, type);
    for (uint32_t i = 0; i < count; i++) {
        bytes_put_le32(data + BLOCK_SECTOR + 4ull * i, words[i]);
    }
    int error = disk_file_write(&e->file, *end, data, (size_t)bytes + BLOCK_SECTOR);
    free(data);
    *end += error ? 0 : bytes + BLOCK_SECTOR;
    return error;
}

/* The table of the grains at hand, if there are any; *place: its sector. */
static int put_table(const Vmdk *v, uint64_t *end, uint32_t *place)
{
    const VmdkExtent *e = &v->extent[0];
    uint32_t used = 0;
    *place = 0;
    for (uint32_t i = 0; i < e->table_size; i++) {
        used |= e->table[i];
    }
    if (!used) {
        return 0;
    }
    uint64_t at = *end + BLOCK_SECTOR;
    if (at / BLOCK_SECTOR > UINT32_MAX) {
        return EFBIG;
    }
    *place = (uint32_t)(at / BLOCK_SECTOR);
    return put_marked(e, end, VMDK_MARKER_TABLE, e->table, e->table_size);
}

static int next_table(Vmdk *v, uint64_t number)
{
    VmdkExtent *e = &v->extent[0];
    uint32_t place = 0;
    int error = put_table(v, &e->end, &place);
    if (!error) {
        e->directory[v->table_number] = place;
        memset(e->table, 0, 4ull * e->table_size);
        v->table_number = number;
    }
    return error;
}

int vmdk_stream_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    Vmdk *v = b->data;
    VmdkExtent *e = &v->extent[0];
    uint64_t number = offset / e->grain, table = number / e->table_size;
    if (!v->stream) {
        return ENOTSUP;
    }
    if (offset % e->grain || length > e->grain || length == 0 || table < v->table_number ||
        e->table[number % e->table_size]) {
        return EINVAL; /* not in order */
    }
    int error = table != v->table_number ? next_table(v, table) : 0;
    uLongf size = 2ul * e->grain + BLOCK_SECTOR - 12;
    if (error || e->end / BLOCK_SECTOR > UINT32_MAX) {
        return error ? error : EFBIG;
    }
    memset(v->packed, 0, 2ul * e->grain + BLOCK_SECTOR);
    if (length < e->grain) { /* the disk's last one */
        memcpy(v->grain, data, length);
        memset(v->grain + length, 0, e->grain - length);
        data = v->grain;
    }
    if (compress2(v->packed + 12, &size, data, e->grain, Z_DEFAULT_COMPRESSION) != Z_OK) {
        return EIO;
    }
    bytes_put_le64(v->packed, offset / BLOCK_SECTOR);
    bytes_put_le32(v->packed + 8, (uint32_t)size);
    uint64_t room = whole_sectors(size + 12);
    error = disk_file_write(&e->file, e->end, v->packed, (size_t)room);
    if (!error) {
        e->table[number % e->table_size] = (uint32_t)(e->end / BLOCK_SECTOR);
        e->end += room;
    }
    return error;
}

int vmdk_stream_finish(Block *b)
{
    Vmdk *v = b->data;
    VmdkExtent *e = &v->extent[0];
    uint8_t foot[3 * BLOCK_SECTOR] = {0};
    uint64_t end = e->end; /* more grains may follow, over all this */
    uint32_t *directory = malloc(4ull * e->directory_size), place;
    if (!directory) {
        return ENOMEM;
    }
    memcpy(directory, e->directory, 4ull * e->directory_size);
    int error = put_table(v, &end, &place);
    directory[v->table_number] = place;
    uint64_t at = end / BLOCK_SECTOR + 1;
    error =
        error ? error : put_marked(e, &end, VMDK_MARKER_DIRECTORY, directory, e->directory_size);
    free(directory);
    vmdk_marker(foot, 1, VMDK_MARKER_FOOTER);
    error = error ? error : disk_file_read(&e->file, 0, foot + BLOCK_SECTOR, VMDK_HEADER);
    bytes_put_le64(foot + BLOCK_SECTOR + 56, at);
    error = error ? error : disk_file_write(&e->file, end, foot, sizeof(foot));
    error = error ? error : disk_file_resize(&e->file, end + sizeof(foot));
    return error ? error : disk_file_sync(&e->file);
}
