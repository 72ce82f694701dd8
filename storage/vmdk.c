/* VMDK images (VMware, "Virtual Disk Format 1.1" and 5.0): sparse, flat, split, streamOptimized,
 * with parents.
 *
 * A disk is a row of extents: sparse files (grain directory, grain tables, grains), flat files,
 * zeros. A descriptor text names them, or stands inside the one sparse file. Grains are written
 * before a table shows them. streamOptimized files are read only. Not supported: the old COWD and
 * SESparse files of ESX, raw devices.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "machine/core/bytes.h"
#include "storage/block_create_internal.h"
#include "storage/image_path.h"
#include "storage/vmdk_internal.h"

static int vmdk_probe(const BlockProbe *p)
{
    if (p->head_size >= VMDK_HEADER && memcmp(p->head, "KDMV", 4) == 0) {
        return 100;
    }
    return p->head_size > 21 && memcmp(p->head, "# Disk DescriptorFile", 21) == 0 ? 100 : 0;
}

static bool bad(const char *path, Err *err, const char *what)
{
    return err_set(err, "'%s' is a damaged VMDK image: %s", path, what);
}

static int read_table(const VmdkExtent *e, uint64_t sector, uint32_t *table, uint32_t entries)
{
    int error = disk_file_read(&e->file, sector * BLOCK_SECTOR, table, 4ull * entries);
    for (uint32_t i = 0; i < entries && !error; i++) {
        table[i] = bytes_le32((const uint8_t *)&table[i]);
    }
    return error;
}

static bool read_directories(VmdkExtent *e, const char *path, uint64_t gd, uint64_t rgd, Err *err)
{
    uint64_t room = e->end / BLOCK_SECTOR;
    e->directory = malloc(4ull * e->directory_size);
    e->table = malloc(4ull * e->table_size);
    if (!e->directory || !e->table) {
        return err_set(err, "'%s': out of memory", path);
    }
    if (gd > room || 4ull * e->directory_size > (room - gd) * BLOCK_SECTOR + BLOCK_SECTOR) {
        return bad(path, err, "its grain directory lies outside the file");
    }
    e->directory_at = gd * BLOCK_SECTOR;
    int error = read_table(e, gd, e->directory, e->directory_size);
    if (!error && e->flags & VMDK_FLAG_REDUNDANT && rgd && rgd < room) {
        e->second = malloc(4ull * e->directory_size);
        error = e->second ? read_table(e, rgd, e->second, e->directory_size) : ENOMEM;
    }
    return !error || err_set(err, "'%s' cannot be read: %s", path, strerror(error));
}

/* A sparse extent: e->file is open. want: bytes that the descriptor gives it, 0: as many as it has.
 */
static bool open_sparse(VmdkExtent *e, const char *path, uint64_t want, Err *err)
{
    uint8_t h[VMDK_HEADER];
    int error = disk_file_size(&e->file, &e->end);
    error = error                  ? error
            : e->end < VMDK_HEADER ? EIO
                                   : disk_file_read(&e->file, 0, h, VMDK_HEADER);
    if (!error && bytes_le64(h + 56) == VMDK_GD_AT_END && e->end >= 3 * VMDK_HEADER) {
        error = disk_file_read(&e->file, e->end - 2 * VMDK_HEADER, h, VMDK_HEADER); /* the footer */
    }
    if (error) {
        return err_set(err, "'%s' cannot be read: %s", path, strerror(error));
    }
    uint64_t capacity = bytes_le64(h + 12), grain = bytes_le64(h + 20);
    uint32_t version = bytes_le32(h + 4);
    e->kind = VMDK_EXTENT_SPARSE;
    e->flags = bytes_le32(h + 8);
    e->table_size = bytes_le32(h + 44);
    e->table_of = UINT32_MAX;
    if (memcmp(h, "KDMV", 4) != 0 || version < 1 || version > 3) {
        return err_set(
            err, "'%s' is no VMDK sparse file of version 1 to 3; convert it with qemu-img", path);
    }
    if (capacity > UINT64_C(1) << 32 && capacity <= UINT64_C(1) << 44) {
        return err_set(err,
                       "'%s' is a VMDK of more than 2 TiB, which is not supported; convert it "
                       "with qemu-img",
                       path);
    }
    if (grain < 1 || grain > VMDK_MAX_GRAIN / BLOCK_SECTOR || grain & (grain - 1) ||
        e->table_size < 1 || e->table_size > VMDK_MAX_TABLE || capacity == 0 ||
        capacity > UINT64_C(1) << 32) {
        return bad(path, err, "its sizes are out of range");
    }
    e->grain = (uint32_t)grain * BLOCK_SECTOR;
    e->size = capacity * BLOCK_SECTOR;
    uint64_t tables = (capacity + grain * e->table_size - 1) / (grain * e->table_size);
    if (tables > VMDK_MAX_DIRECTORY || (want && want > e->size)) {
        return bad(path, err, "its sizes are out of range");
    }
    e->size = want ? want : e->size;
    e->directory_size = (uint32_t)tables;
    e->end = (e->end + BLOCK_SECTOR - 1) & ~(uint64_t)(BLOCK_SECTOR - 1);
    return read_directories(e, path, bytes_le64(h + 56), bytes_le64(h + 48), err);
}

/* One line of the descriptor: "RW 8192 SPARSE "disk-s001.vmdk"". */
static bool add_extent(Block *b, const char *line, const BlockOptions *options, Err *err)
{
    Vmdk *v = b->data;
    char access[16], type[32], name[1024], path[PATH_MAX];
    unsigned long long sectors = 0, offset = 0;
    name[0] = '\0';
    int fields =
        sscanf(line, "%15s %llu %31s \"%1023[^\"]\" %llu", access, &sectors, type, name, &offset);
    if (fields < 3 || sectors == 0 || sectors > UINT64_C(1) << 32 || offset > UINT64_C(1) << 40) {
        return bad(b->path, err, "its descriptor has a line that is no extent");
    }
    if (v->extents == VMDK_MAX_EXTENTS) {
        return bad(b->path, err, "it has too many extents");
    }
    VmdkExtent *e = &v->extent[v->extents++];
    *e = (VmdkExtent){.kind = VMDK_EXTENT_ZERO, .size = sectors * BLOCK_SECTOR, .file.fd = -1};
    e->start = b->size;
    b->size += e->size;
    if (strcmp(type, "ZERO") == 0) {
        return true;
    }
    if (strcmp(type, "FLAT") != 0 && strcmp(type, "SPARSE") != 0 && strcmp(type, "VMFS") != 0) {
        return err_set(err, "'%s': extents of type %s are not supported; convert it with qemu-img",
                       b->path, type);
    }
    if (!image_path_beside(b->path, name, options->any_backing, path, sizeof(path), err)) {
        return false;
    }
    DiskFileOptions how = {
        .write = !b->read_only, .lock = !options->no_lock, .faults = options->faults};
    if (!disk_file_open(&e->file, path, &how, err)) {
        e->file.fd = -1;
        return false;
    }
    e->path = strdup(path);
    if (!e->path) {
        disk_file_close(&e->file);
        return err_set(err, "'%s': out of memory", b->path);
    }
    if (strcmp(type, "SPARSE") == 0) {
        return open_sparse(e, path, e->size, err);
    }
    e->kind = VMDK_EXTENT_FLAT;
    e->file_offset = offset * BLOCK_SECTOR;
    uint64_t size = 0;
    int error = disk_file_size(&e->file, &size);
    return (!error && e->file_offset <= size && e->size <= size - e->file_offset) ||
           bad(path, err, "it is shorter than its descriptor says");
}

bool vmdk_value(const char *line, const char *key, char *value, size_t room)
{
    size_t length = strlen(key);
    line += strspn(line, " \t\r\v\f");
    if (strncasecmp(line, key, length) != 0) {
        return false;
    }
    line += length;
    line += strspn(line, " \t");
    if (*line++ != '=') {
        return false;
    }
    line += strspn(line, " \t\"");
    size_t n = strcspn(line, "\"\r\n");
    n = n < room ? n : room - 1;
    memcpy(value, line, n);
    value[n] = '\0';
    return true;
}

/* A child's sectors fit the parent as it was, which its CID tells. */
static bool same_parent(const Block *b, const char *wanted, const BlockOptions *options, Err *err)
{
    const Vmdk *parent = b->base->format == &block_vmdk ? b->base->data : NULL;
    return !parent || !parent->content_at || options->for_repair ||
           strtoul(wanted, NULL, 16) == parent->content ||
           err_set(err,
                   "'%s' lies above '%s', which has been written to since: what they hold together "
                   "is lost, unless the parent is put back as it was",
                   b->path, b->base->path);
}

static bool open_parent(Block *b, const char *name, const char *id, const BlockOptions *options,
                        Err *err)
{
    char path[PATH_MAX];
    if (!image_path_beside(b->path, name, options->any_backing, path, sizeof(path), err)) {
        return false;
    }
    if (options->depth >= VMDK_MAX_DEPTH) {
        return err_set(err, "'%s': its parents go round in a circle, or are more than %d", b->path,
                       VMDK_MAX_DEPTH);
    }
    BlockOptions how = *options;
    how.read_only = true;
    how.snapshot = false;
    how.format = NULL;
    how.depth++;
    b->base = block_open(path, &how, err);
    return b->base && same_parent(b, id, options, err);
}

/* The descriptor's text, line by line. extents: those it names are opened. */
static bool read_descriptor(Block *b, char *text, bool extents, const BlockOptions *options,
                            Err *err)
{
    char parent[1024] = "", parent_id[16] = "";
    Vmdk *v = b->data;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        line += strspn(line, " \t");
        bool access = strncmp(line, "RW ", 3) == 0 || strncmp(line, "RDONLY ", 7) == 0 ||
                      strncmp(line, "NOACCESS ", 9) == 0;
        if (access && extents && !add_extent(b, line, options, err)) {
            return false;
        }
        vmdk_value(line, "parentFileNameHint", parent, sizeof(parent));
        vmdk_value(line, "parentCID", parent_id, sizeof(parent_id));
        vmdk_value(line, "createType", v->kind, sizeof(v->kind));
    }
    bool has_parent = parent[0] && strcasecmp(parent_id, "ffffffff") != 0;
    snprintf(v->parent, sizeof(v->parent), "%s", has_parent ? parent : "");
    return !has_parent || options->no_backing || open_parent(b, parent, parent_id, options, err);
}

static void find_content(Vmdk *v, const char *text, uint64_t offset)
{
    const char *line = strncmp(text, "CID=", 4) == 0 ? text : strstr(text, "\nCID=");
    const char *digits = line ? strchr(line, '=') + 1 : "";
    size_t count = strspn(digits, "0123456789abcdefABCDEF");
    if (count >= 1 && count <= 8) { /* some programs leave leading zeros out */
        v->content_at = offset + (uint64_t)(digits - text);
        v->content_digits = (unsigned)count;
        v->content = (uint32_t)strtoul(digits, NULL, 16);
    }
}

/* Before the first write, and on the disk before it: no child may take the image for what it was.
 */
static int change_content(Block *b)
{
    Vmdk *v = b->data;
    uint8_t random[16];
    char digits[16];
    if (!v->content_at || v->content_changed) {
        return 0;
    }
    new_image_uuid(random);
    uint32_t most = UINT32_MAX >> (32 - 4 * v->content_digits), content = bytes_le32(random) & most;
    while (content == v->content || content == UINT32_MAX) { /* that would say "no parent" */
        content = (content + 1) & most;
    }
    snprintf(digits, sizeof(digits), "%0*x", (int)v->content_digits, content);
    int error = disk_file_write(&b->file, v->content_at, digits, v->content_digits);
    error = error ? error : disk_file_sync(&b->file);
    v->content_changed = !error;
    return error;
}

/* Text of `size` bytes at an offset of the image's own file; the caller frees it. */
static char *load_text(Block *b, uint64_t offset, uint64_t size, Err *err)
{
    char *text = size <= VMDK_MAX_DESCRIPTOR ? malloc((size_t)size + 1) : NULL;
    int error = text ? disk_file_read(&b->file, offset, text, (size_t)size) : EFBIG;
    if (error) {
        err_set(err, "'%s': its descriptor cannot be read: %s", b->path, strerror(error));
        free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

static bool open_all(Block *b, const BlockOptions *options, Err *err)
{
    Vmdk *v = b->data;
    uint8_t h[VMDK_HEADER] = {0};
    uint64_t size = 0, at = 0;
    int error = disk_file_size(&b->file, &size);
    size_t head = size < VMDK_HEADER ? (size_t)size : VMDK_HEADER;
    error = error ? error : disk_file_read(&b->file, 0, h, head);
    if (error) {
        return err_set(err, "'%s' cannot be read: %s", b->path, strerror(error));
    }
    bool sparse = memcmp(h, "KDMV", 4) == 0, text_there = !sparse;
    if (sparse) {
        VmdkExtent *e = &v->extent[v->extents++];
        e->file = b->file;
        if (!open_sparse(e, b->path, 0, err)) {
            return false;
        }
        b->size = e->size;
        if (e->flags & VMDK_FLAG_COMPRESSED && !b->read_only && !options->packed) {
            return err_set(
                err,
                "'%s' is a streamOptimized VMDK, which can only be read; use "
                "snapshot=on, or convert it: vitrine image convert -O qcow2 '%s' disk.qcow2",
                b->path, b->path);
        }
        if (e->flags & VMDK_FLAG_COMPRESSED && !b->read_only && !vmdk_stream_begin(b, h, err)) {
            return false;
        }
        at = bytes_le64(h + 28) * BLOCK_SECTOR;
        text_there = at && at < size && bytes_le64(h + 36) <= VMDK_MAX_DESCRIPTOR / BLOCK_SECTOR;
        uint64_t room = text_there ? size - at : 0, length = bytes_le64(h + 36) * BLOCK_SECTOR;
        size = length < room ? length : room;
    }
    if (text_there) {
        char *text = load_text(b, at, size, err);
        if (text) {
            find_content(v, text, at);
        }
        bool good = text && read_descriptor(b, text, !sparse, options, err);
        free(text);
        if (!good) {
            return false;
        }
    }
    uint32_t largest = BLOCK_SECTOR;
    for (unsigned i = 0; i < v->extents; i++) {
        largest = v->extent[i].grain > largest ? v->extent[i].grain : largest;
    }
    v->grain = malloc(largest);
    v->packed = malloc(2 * (size_t)largest + BLOCK_SECTOR);
    if (!v->grain || !v->packed || v->extents == 0) {
        return err_set(err, "'%s': %s", b->path, v->extents ? "out of memory" : "no extents");
    }
    return true;
}

static void vmdk_close(Block *b)
{
    Vmdk *v = b->data;
    for (unsigned i = 0; v && i < v->extents; i++) {
        VmdkExtent *e = &v->extent[i];
        free(e->directory);
        free(e->second);
        free(e->table);
        if (e->path) {
            disk_file_close(&e->file);
            free(e->path);
        }
    }
    if (v) {
        free(v->grain);
        free(v->packed);
        free(v);
        b->data = NULL;
    }
}

static bool vmdk_open(Block *b, const BlockOptions *options, Err *err)
{
    b->data = calloc(1, sizeof(Vmdk));
    if (!b->data) {
        return err_set(err, "'%s': out of memory", b->path);
    }
    if (!open_all(b, options, err)) {
        block_close(b->base);
        b->base = NULL;
        vmdk_close(b);
        return false;
    }
    return true;
}

static VmdkExtent *find_extent(Vmdk *v, uint64_t offset)
{
    unsigned i = 0;
    while (i + 1 < v->extents && offset >= v->extent[i].start + v->extent[i].size) {
        i++;
    }
    return &v->extent[i];
}

/* The entry of the grain at `in` bytes of a sparse extent: its sector, 0 none, 1 zeros. */
static int find_grain(VmdkExtent *e, uint64_t in, uint32_t *sector)
{
    uint64_t number = in / e->grain;
    uint32_t index = (uint32_t)(number / e->table_size);
    *sector = 0;
    if (index >= e->directory_size || e->directory[index] == 0) {
        return 0;
    }
    if (e->table_of != index) {
        e->table_of = UINT32_MAX;
        int error = read_table(e, e->directory[index], e->table, e->table_size);
        if (error) {
            return error;
        }
        e->table_of = index;
    }
    *sector = e->table[number % e->table_size];
    return 0;
}

/* A compressed grain: marker (sector number, length), zlib data. */
static int unpack(Vmdk *v, VmdkExtent *e, uint32_t sector)
{
    uint8_t marker[12];
    if (v->unpacked == sector && v->unpacked_in == e) {
        return 0;
    }
    v->unpacked = 0;
    uint64_t at = (uint64_t)sector * BLOCK_SECTOR;
    int error = disk_file_read(&e->file, at, marker, sizeof(marker));
    uint32_t length = bytes_le32(marker + 8);
    if (error || length > 2 * e->grain) {
        return error ? error : EIO;
    }
    error = disk_file_read(&e->file, at + sizeof(marker), v->packed, length);
    uLongf size = e->grain;
    if (!error && uncompress(v->grain, &size, v->packed, length) != Z_OK) {
        error = EIO;
    }
    if (!error) {
        memset(v->grain + size, 0, e->grain - size); /* the last one may be short */
        v->unpacked = sector;
        v->unpacked_in = e;
    }
    return error;
}

static int read_parent(Block *b, uint64_t offset, uint8_t *data, uint64_t length)
{
    uint64_t size = b->base ? block_size(b->base) : 0;
    uint64_t part = offset >= size ? 0 : length < size - offset ? length : size - offset;
    memset(data + part, 0, (size_t)(length - part));
    return part ? block_read(b->base, offset, data, (size_t)part) : 0;
}

/* Part of one grain. */
static int read_grain(Block *b, VmdkExtent *e, uint64_t offset, uint8_t *data, size_t length)
{
    Vmdk *v = b->data;
    uint64_t in = offset - e->start;
    uint32_t sector;
    int error = find_grain(e, in, &sector);
    if (error) {
        return error;
    }
    if (sector == 0) {
        return read_parent(b, offset, data, length);
    }
    if (sector == 1 && e->flags & VMDK_FLAG_ZERO_GRAINS) {
        memset(data, 0, length);
        return 0;
    }
    if (e->flags & VMDK_FLAG_COMPRESSED) {
        error = unpack(v, e, sector);
        if (!error) {
            memcpy(data, v->grain + in % e->grain, length);
        }
        return error;
    }
    return disk_file_read(&e->file, (uint64_t)sector * BLOCK_SECTOR + in % e->grain, data, length);
}

/* A part of a transfer that lies in one extent and, where it is sparse, in one grain. */
static size_t part_of(const VmdkExtent *e, uint64_t offset, uint64_t length)
{
    uint64_t in = offset - e->start, rest = e->size - in;
    if (e->kind == VMDK_EXTENT_SPARSE && e->grain - in % e->grain < rest) {
        rest = e->grain - in % e->grain;
    }
    return (size_t)(rest < length ? rest : length);
}

static int vmdk_read(Block *b, uint64_t offset, void *data, size_t length)
{
    const Vmdk *v = b->data;
    if (v->stream) {
        return ENOTSUP; /* its tables are not complete */
    }
    uint8_t *at = data;
    while (length) {
        VmdkExtent *e = find_extent(b->data, offset);
        size_t part = part_of(e, offset, length);
        int error = 0;
        if (e->kind == VMDK_EXTENT_SPARSE) {
            error = read_grain(b, e, offset, at, part);
        } else if (e->kind == VMDK_EXTENT_FLAT) {
            error = disk_file_read(&e->file, e->file_offset + offset - e->start, at, part);
        } else {
            error = read_parent(b, offset, at, part);
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

/* Where the directory has no grain table yet (no program writes such files, but the format allows
 * them). */
static int add_table(VmdkExtent *e, uint32_t index)
{
    uint32_t bytes = (e->table_size * 4 + BLOCK_SECTOR - 1) & ~(BLOCK_SECTOR - 1);
    uint8_t word[4];
    uint8_t *zeros = calloc(1, bytes);
    int error = zeros ? disk_file_write(&e->file, e->end, zeros, bytes) : ENOMEM;
    free(zeros);
    error = error ? error : disk_file_sync(&e->file);
    bytes_put_le32(word, (uint32_t)(e->end / BLOCK_SECTOR));
    error = error ? error
                  : disk_file_write(&e->file, e->directory_at + 4ull * index, word, sizeof(word));
    if (!error) {
        e->directory[index] = (uint32_t)(e->end / BLOCK_SECTOR);
        e->end += bytes;
    }
    return error;
}

/* Both tables show the grain, which has been written. */
static int enter_grain(const Block *b, VmdkExtent *e, uint64_t number, uint32_t sector)
{
    uint32_t index = (uint32_t)(number / e->table_size), in = (uint32_t)(number % e->table_size);
    uint8_t word[4];
    bytes_put_le32(word, sector);
    /* Only a grain that hides a parent's data would lose something by appearing too early. */
    int error = b->base ? disk_file_sync(&e->file) : 0;
    if (!error && e->second && e->second[index]) {
        error = disk_file_write(&e->file, (uint64_t)e->second[index] * BLOCK_SECTOR + 4ull * in,
                                word, sizeof(word));
    }
    error =
        error ? error
              : disk_file_write(&e->file, (uint64_t)e->directory[index] * BLOCK_SECTOR + 4ull * in,
                                word, sizeof(word));
    if (!error && e->table_of == index) {
        e->table[in] = sector;
    }
    return error;
}

static int write_grain(Block *b, VmdkExtent *e, uint64_t offset, const uint8_t *data, size_t length)
{
    Vmdk *v = b->data;
    uint64_t in = offset - e->start, first = in - in % e->grain;
    uint32_t sector;
    int error = find_grain(e, in, &sector);
    if (error) {
        return error;
    }
    bool zeros = sector == 1 && e->flags & VMDK_FLAG_ZERO_GRAINS;
    if (sector && !zeros && (uint64_t)sector * BLOCK_SECTOR + e->grain > e->end) {
        return EIO; /* a damaged table: nothing is written where it leads */
    }
    if (sector && !zeros) {
        return disk_file_write(&e->file, (uint64_t)sector * BLOCK_SECTOR + in % e->grain, data,
                               length);
    }
    uint32_t index = (uint32_t)(in / e->grain / e->table_size);
    if (index >= e->directory_size) {
        return EINVAL;
    }
    error = e->directory[index] ? 0 : add_table(e, index);
    memset(v->grain, 0, e->grain);
    if (!error && !zeros && length < e->grain) {
        error = read_parent(b, e->start + first, v->grain, e->grain);
    }
    memcpy(v->grain + in % e->grain, data, length);
    uint64_t place = e->end;
    if ((place + e->grain) / BLOCK_SECTOR > UINT32_MAX) {
        return EFBIG;
    }
    error = error ? error : disk_file_write(&e->file, place, v->grain, e->grain);
    error = error ? error : enter_grain(b, e, in / e->grain, (uint32_t)(place / BLOCK_SECTOR));
    if (!error) {
        e->end = place + e->grain;
    }
    return error;
}

static int vmdk_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    const uint8_t *at = data;
    const Vmdk *v = b->data;
    if (v->stream) {
        return ENOTSUP;
    }
    int error = change_content(b);
    while (length && !error) {
        VmdkExtent *e = find_extent(b->data, offset);
        size_t part = part_of(e, offset, length);
        error = EROFS;
        if (e->kind == VMDK_EXTENT_SPARSE) {
            error = write_grain(b, e, offset, at, part);
        } else if (e->kind == VMDK_EXTENT_FLAT) {
            error = disk_file_write(&e->file, e->file_offset + offset - e->start, at, part);
        }
        at += part;
        offset += part;
        length -= part;
    }
    return error;
}

/* A whole grain that is known to be zeros, where the image has a word for that. */
static int drop_grain(VmdkExtent *e, uint64_t number)
{
    uint32_t index = (uint32_t)(number / e->table_size), in = (uint32_t)(number % e->table_size);
    uint8_t word[4];
    bytes_put_le32(word, 1);
    int error = 0;
    if (e->second && e->second[index]) {
        error = disk_file_write(&e->file, (uint64_t)e->second[index] * BLOCK_SECTOR + 4ull * in,
                                word, sizeof(word));
    }
    error =
        error ? error
              : disk_file_write(&e->file, (uint64_t)e->directory[index] * BLOCK_SECTOR + 4ull * in,
                                word, sizeof(word));
    if (!error && e->table_of == index) {
        e->table[in] = 1;
    }
    return error;
}

/* What an image holds itself reads as zeros, and the host gets the room back; what it has from its
 * parent stays. */
static int discard_grain(VmdkExtent *e, uint64_t offset, size_t length)
{
    uint64_t in = offset - e->start;
    uint32_t sector;
    int error = find_grain(e, in, &sector);
    bool zeros = sector == 1 && e->flags & VMDK_FLAG_ZERO_GRAINS;
    uint64_t at = (uint64_t)sector * BLOCK_SECTOR + in % e->grain;
    if (error || sector == 0 || zeros || at + length > e->end) {
        return error;
    }
    error = disk_file_punch(&e->file, at, length);
    if (!error && length == e->grain && e->flags & VMDK_FLAG_ZERO_GRAINS) {
        error = drop_grain(e, in / e->grain);
    }
    return error;
}

static int vmdk_discard(Block *b, uint64_t offset, uint64_t length)
{
    const Vmdk *v = b->data;
    int error = v->stream ? ENOTSUP : change_content(b);
    while (length && !error) {
        VmdkExtent *e = find_extent(b->data, offset);
        size_t part = part_of(e, offset, length);
        if (e->kind == VMDK_EXTENT_SPARSE) {
            error = discard_grain(e, offset, part);
        } else if (e->kind == VMDK_EXTENT_FLAT) {
            error = disk_file_punch(&e->file, e->file_offset + offset - e->start, part);
        }
        offset += part;
        length -= part;
    }
    return error;
}

static uint32_t vmdk_pack_bytes(const Block *b)
{
    const Vmdk *v = b->data;
    return v->stream ? v->extent[0].grain : 0;
}

static int vmdk_flush(Block *b)
{
    const Vmdk *v = b->data;
    int error = v->stream ? vmdk_stream_finish(b) : 0;
    for (unsigned i = 0; i < v->extents && !error; i++) {
        error = v->extent[i].kind == VMDK_EXTENT_ZERO ? 0 : disk_file_sync(&v->extent[i].file);
    }
    return error;
}

static const char *file_of(const Block *b, const VmdkExtent *e)
{
    return e->path ? e->path : b->path;
}

static int map_flat(const Block *b, const VmdkExtent *e, uint64_t offset, BlockExtent *extent)
{
    uint64_t rest = e->size - (offset - e->start);
    int error = disk_file_extent(&e->file, e->file_offset + offset - e->start, &extent->data,
                                 &extent->length);
    uint64_t part = extent->length % BLOCK_SECTOR;
    if (part) { /* data when in doubt */
        extent->data = extent->data || extent->length < BLOCK_SECTOR;
        extent->length = extent->length < BLOCK_SECTOR || extent->data
                             ? extent->length + BLOCK_SECTOR - part
                             : extent->length - part;
    }
    extent->length = extent->length < rest ? extent->length : rest;
    extent->file = file_of(b, e);
    extent->place = e->file_offset + offset - e->start;
    return !error && extent->length == 0 ? EIO : error;
}

/* What a grain table's entry says: 0 nothing, 1 zeros, 2 data. */
static unsigned kind_of(const VmdkExtent *e, uint32_t sector)
{
    return sector == 0 ? 0 : sector == 1 && e->flags & VMDK_FLAG_ZERO_GRAINS ? 1 : 2;
}

/* Bytes from `in` on whose grains are like the first, and behind it in the file, in the table that
 * find_grain has just used. */
static uint64_t alike(const VmdkExtent *e, uint64_t in, uint32_t first)
{
    uint64_t number = in / e->grain, index = number / e->table_size;
    uint64_t end = (index + 1) * e->table_size;
    if (index >= e->directory_size || e->directory[index] == 0) {
        number = end - 1;
    }
    uint32_t step = kind_of(e, first) == 2 ? e->grain / BLOCK_SECTOR : 0, next = first + step;
    bool packed = e->flags & VMDK_FLAG_COMPRESSED;
    while (number + 1 < end) {
        uint32_t sector = e->table[(number + 1) % e->table_size];
        if (kind_of(e, sector) != kind_of(e, first) || (step && !packed && sector != next)) {
            break;
        }
        next += step;
        number++;
    }
    uint64_t length = (number + 1) * e->grain - in;
    return length < e->size - in ? length : e->size - in;
}

static int vmdk_map(Block *b, uint64_t offset, BlockExtent *extent)
{
    VmdkExtent *e = find_extent(b->data, offset);
    const Vmdk *v = b->data;
    if (v->stream) {
        return ENOTSUP;
    }
    if (e->kind == VMDK_EXTENT_FLAT) {
        return map_flat(b, e, offset, extent);
    }
    uint32_t sector = 2;
    int error = e->kind == VMDK_EXTENT_SPARSE ? find_grain(e, offset - e->start, &sector) : 0;
    bool zeros = sector == 1 && e->flags & VMDK_FLAG_ZERO_GRAINS;
    bool none = e->kind == VMDK_EXTENT_ZERO || sector == 0;
    if (error) {
        return error;
    }
    uint64_t in = offset - e->start;
    extent->length =
        e->kind == VMDK_EXTENT_SPARSE ? alike(e, in, sector) : part_of(e, offset, b->size - offset);
    extent->data = !zeros && !none;
    extent->packed = extent->data && e->flags & VMDK_FLAG_COMPRESSED;
    if (extent->data && !extent->packed) {
        extent->file = file_of(b, e);
        extent->place = (uint64_t)sector * BLOCK_SECTOR + in % e->grain;
    }
    return none ? block_map_below(b, offset, extent) : 0;
}

static void vmdk_about(const Block *b, BlockAbout *about)
{
    const Vmdk *v = b->data;
    *about =
        (BlockAbout){.kind = v->kind[0] ? v->kind : NULL,
                     .backing = v->parent[0] ? v->parent : NULL,
                     .cluster = v->extent[0].kind == VMDK_EXTENT_SPARSE ? v->extent[0].grain : 0};
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The sectors of all grains in the file; *more: they, or the tables that name them, are more than
 * the file has room for. */
static int gather_grains(VmdkExtent *e, uint32_t *place, uint64_t room, uint64_t *used, bool *more)
{
    uint64_t grains = (e->size + e->grain - 1) / e->grain, tables = 0;
    uint32_t least = e->flags & VMDK_FLAG_ZERO_GRAINS ? 2 : 1;
    for (uint64_t i = 0; i < grains; i += e->table_size) {
        uint64_t end = i + e->table_size < grains ? i + e->table_size : grains;
        if (e->directory[i / e->table_size] == 0) {
            continue;
        }
        *more = ++tables > e->end / BLOCK_SECTOR / ((e->table_size + 127) / 128) + 1;
        for (uint64_t j = i; j < end && !*more; j++) {
            uint32_t sector = 0;
            int error = find_grain(e, j * e->grain, &sector);
            *more = sector >= least && *used == room;
            if (error || *more) {
                return error;
            }
            place[*used] = sector;
            *used += sector >= least;
        }
        if (*more) {
            break;
        }
    }
    return 0;
}

/* Grains of one file that are outside it, or used twice. */
static int check_extent(VmdkExtent *e, BlockCheck *check)
{
    bool packed = e->flags & VMDK_FLAG_COMPRESSED, more = false;
    uint64_t grains = (e->size + e->grain - 1) / e->grain, used = 0, last = 0;
    uint64_t room = e->end / (packed ? BLOCK_SECTOR : e->grain) + 1;
    room = room < grains ? room : grains;
    uint32_t *place = malloc((size_t)(room + 1) * 4);
    int error = place ? gather_grains(e, place, room, &used, &more) : ENOMEM;
    if (!error) {
        qsort(place, (size_t)used, sizeof(*place), by_number);
    }
    for (uint64_t i = 0; i < used && !error; i++) {
        uint64_t end = (uint64_t)place[i] * BLOCK_SECTOR + (packed ? BLOCK_SECTOR : e->grain);
        check->corruptions += end > e->end || place[i] < last;
        last = packed ? place[i] + 1ull : place[i] + e->grain / BLOCK_SECTOR;
    }
    check->corruptions += more;
    check->allocated += used;
    check->total += grains;
    free(place);
    return error;
}

static int vmdk_check(Block *b, BlockCheck *check)
{
    Vmdk *v = b->data;
    int error = ENOTSUP;
    for (unsigned i = 0; i < v->extents; i++) {
        if (v->extent[i].kind == VMDK_EXTENT_SPARSE) {
            error = error && error != ENOTSUP ? error : check_extent(&v->extent[i], check);
        }
    }
    return error;
}

const BlockFormat block_vmdk = {
    .name = "vmdk",
    .probe = vmdk_probe,
    .open = vmdk_open,
    .close = vmdk_close,
    .read = vmdk_read,
    .write = vmdk_write,
    .flush = vmdk_flush,
    .discard = vmdk_discard,
    .pack_bytes = vmdk_pack_bytes,
    .write_packed = vmdk_stream_write,
    .map = vmdk_map,
    .about = vmdk_about,
    .check = vmdk_check,
};
