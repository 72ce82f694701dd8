/* New VMDK images: sparse, flat, split, streamOptimized ("Virtual Disk Format 5.0" of VMware).
 *
 * A sparse file: header, descriptor, redundant grain directory and tables, directory and tables,
 * grains from the next whole grain on. A stream has its tables behind the grains.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/block_create_internal.h"
#include "storage/image_path.h"
#include "storage/vmdk_internal.h"

enum {
    DESCRIPTOR_AT = 1, /* sectors */
    DESCRIPTOR_SECTORS = 20,
    TABLE_ENTRIES = 512,
    TABLE_SECTORS = TABLE_ENTRIES * 4 / 512,
    FLAG_NEWLINE = 1,
    MAX_LINES = 32768,
};

#define SPLIT_BYTES (UINT64_C(2047) << 20)
#define MOST_SPARSE (UINT64_C(1) << 41)
#define MOST_SPLIT (SPLIT_BYTES * VMDK_MAX_EXTENTS)

static const char *const kind_names[] = {"monolithicSparse", "monolithicFlat",
                                         "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
                                         "streamOptimized"};

bool vmdk_kind_of(const char *name, VmdkKind *kind)
{
    for (unsigned i = 0; i < sizeof(kind_names) / sizeof(kind_names[0]); i++) {
        if (strcasecmp(name, kind_names[i]) == 0) {
            *kind = (VmdkKind)i;
            return true;
        }
    }
    return false;
}

static bool is_flat(VmdkKind kind)
{
    return kind == VMDK_MONOLITHIC_FLAT || kind == VMDK_SPLIT_FLAT;
}

static bool is_split(VmdkKind kind)
{
    return kind == VMDK_SPLIT_SPARSE || kind == VMDK_SPLIT_FLAT;
}

/* "disk.vmdk" and "s001": "disk-s001.vmdk". */
static bool name_beside(const char *path, const char *ending, char *name, size_t room)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    dot = dot && dot > (slash ? slash + 1 : path) ? dot : path + strlen(path);
    int length = snprintf(name, room, "%.*s-%s%s", (int)(dot - path), path, ending, dot);
    return length > 0 && (size_t)length < room;
}

static const char *file_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void put_header(uint8_t *h, const VmdkOptions *o, uint64_t sectors, bool descriptor)
{
    bool stream = o->kind == VMDK_STREAM;
    memcpy(h, "KDMV", 4);
    bytes_put_le32(h + 4, stream ? 3 : o->zero_grains ? 2 : 1);
    bytes_put_le32(h + 8,
                   FLAG_NEWLINE | (o->zero_grains ? VMDK_FLAG_ZERO_GRAINS : 0) |
                       (stream ? VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS : VMDK_FLAG_REDUNDANT));
    bytes_put_le64(h + 12, sectors);
    bytes_put_le64(h + 20, o->grain_bytes / BLOCK_SECTOR);
    bytes_put_le64(h + 28, descriptor ? DESCRIPTOR_AT : 0);
    bytes_put_le64(h + 36, descriptor ? DESCRIPTOR_SECTORS : 0);
    bytes_put_le32(h + 44, TABLE_ENTRIES);
    memcpy(h + 73, "\n \r\n", 4); /* shows transfers that change line ends */
    bytes_put_le16(h + 77, stream ? 1 : 0);
}

static uint64_t round_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) / to * to;
}

/* One file with a header; sectors: of the disk. text: the descriptor inside it, or NULL. */
static bool make_sparse(const char *path, const VmdkOptions *o, uint64_t sectors, const char *text,
                        Err *err)
{
    NewImageFile n;
    if (!new_image_begin(&n, path, sectors * BLOCK_SECTOR, MOST_SPARSE, err)) {
        return false;
    }
    uint64_t grain = o->grain_bytes / BLOCK_SECTOR;
    uint64_t tables = (sectors + grain * TABLE_ENTRIES - 1) / (grain * TABLE_ENTRIES);
    uint64_t directory = (tables * 4 + 511) / 512, copy = directory + tables * TABLE_SECTORS;
    uint64_t second = DESCRIPTOR_AT + DESCRIPTOR_SECTORS, first = second + copy;
    uint64_t start = round_up(first + copy, grain);
    uint8_t *head = calloc(1, (size_t)start * BLOCK_SECTOR);
    if (head) {
        put_header(head, o, sectors, text != NULL);
        bytes_put_le64(head + 48, second);
        bytes_put_le64(head + 56, first);
        bytes_put_le64(head + 64, start);
        for (uint64_t i = 0; i < tables; i++) {
            bytes_put_le32(head + second * BLOCK_SECTOR + 4 * i,
                           (uint32_t)(second + directory + i * TABLE_SECTORS));
            bytes_put_le32(head + first * BLOCK_SECTOR + 4 * i,
                           (uint32_t)(first + directory + i * TABLE_SECTORS));
        }
        if (text) {
            memcpy(head + DESCRIPTOR_AT * BLOCK_SECTOR, text, strlen(text));
        }
        new_image_put(&n, 0, head, (size_t)start * BLOCK_SECTOR);
    } else {
        n.error = ENOMEM;
    }
    free(head);
    return new_image_end(&n, err);
}

/* An empty stream; vmdk_stream.c writes grains over what is behind the descriptor. */
static bool make_stream(const char *path, const VmdkOptions *o, uint64_t sectors, const char *text,
                        Err *err)
{
    NewImageFile n;
    if (!new_image_begin(&n, path, sectors * BLOCK_SECTOR, MOST_SPARSE, err)) {
        return false;
    }
    uint64_t grain = o->grain_bytes / BLOCK_SECTOR;
    uint64_t tables = (sectors + grain * TABLE_ENTRIES - 1) / (grain * TABLE_ENTRIES);
    uint64_t start = round_up(DESCRIPTOR_AT + DESCRIPTOR_SECTORS, grain);
    uint64_t directory = (tables * 4 + 511) / 512;
    size_t bytes = (size_t)(start + 1 + directory + 3) * BLOCK_SECTOR;
    uint8_t *head = calloc(1, bytes);
    if (head) {
        put_header(head, o, sectors, true);
        bytes_put_le64(head + 56, VMDK_GD_AT_END);
        bytes_put_le64(head + 64, start);
        memcpy(head + DESCRIPTOR_AT * BLOCK_SECTOR, text, strlen(text));
        uint8_t *at = head + start * BLOCK_SECTOR;
        vmdk_marker(at, directory, VMDK_MARKER_DIRECTORY);
        at += (1 + directory) * BLOCK_SECTOR;
        vmdk_marker(at, 1, VMDK_MARKER_FOOTER);
        memcpy(at + BLOCK_SECTOR, head, VMDK_HEADER);
        bytes_put_le64(at + BLOCK_SECTOR + 56, start + 1);
        new_image_put(&n, 0, head, bytes);
    } else {
        n.error = ENOMEM;
    }
    free(head);
    return new_image_end(&n, err);
}

static bool make_flat(const char *path, uint64_t bytes, Err *err)
{
    NewImageFile n;
    if (!new_image_begin(&n, path, bytes, INT64_MAX, err)) {
        return false;
    }
    new_image_size(&n, bytes);
    return new_image_end(&n, err);
}

/* The parent's content number: that it is still the same shows that nobody has written to it. */
static bool parent_number(const char *path, const char *backing, char *number, size_t room,
                          Err *err)
{
    char place[PATH_MAX], text[VMDK_MAX_DESCRIPTOR / 16] = {0};
    DiskFile file;
    uint64_t size = 0;
    if (!image_path_beside(path, backing, true, place, sizeof(place), err) ||
        !disk_file_open(&file, place, &(DiskFileOptions){0}, err)) {
        return false;
    }
    int error = disk_file_size(&file, &size);
    bool sparse = false;
    if (!error && size >= VMDK_HEADER) {
        error = disk_file_read(&file, 0, text, VMDK_HEADER);
        sparse = memcmp(text, "KDMV", 4) == 0;
    }
    uint64_t at = sparse ? bytes_le64((const uint8_t *)text + 28) * BLOCK_SECTOR : 0;
    uint64_t left = at < size ? size - at : 0;
    left = left < sizeof(text) - 1 ? left : sizeof(text) - 1;
    memset(text, 0, sizeof(text));
    error = error ? error : disk_file_read(&file, at, text, (size_t)left);
    disk_file_close(&file);
    const char *line = error ? NULL : strstr(text, "\nCID=");
    if (!line || strncmp(text, "# Disk DescriptorFile", 21) != 0) {
        return err_set(err,
                       "'%s' is no VMDK image, so no VMDK can lie above it; take qcow2 for "
                       "that",
                       place);
    }
    snprintf(number, room, "%08x", (unsigned)strtoul(line + 5, NULL, 16));
    return true;
}

typedef struct Text {
    char *bytes;
    size_t length;
} Text;

static void add(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(Text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(t->bytes + t->length, MAX_LINES - t->length, format, args);
    va_end(args);
    t->length += length > 0 ? (size_t)length : 0;
    t->length = t->length < MAX_LINES ? t->length : MAX_LINES - 1;
}

static bool begin_text(Text *t, const char *path, const VmdkOptions *o, Err *err)
{
    char parent[16] = "ffffffff";
    uint8_t random[16];
    new_image_uuid(random);
    uint32_t content = bytes_le32(random);
    content -= content == UINT32_MAX; /* a child would take that for no parent */
    if (o->backing && !parent_number(path, o->backing, parent, sizeof(parent), err)) {
        return false;
    }
    add(t, "# Disk DescriptorFile\nversion=%u\nCID=%08x\nparentCID=%s\ncreateType=\"%s\"\n",
        o->kind == VMDK_STREAM ? 3 : 1, content, parent, kind_names[o->kind]);
    if (o->backing) {
        add(t, "parentFileNameHint=\"%s\"\n", o->backing);
    }
    add(t, "\n# Extent description\n");
    return true;
}

static void end_text(Text *t, uint64_t size, const VmdkOptions *o)
{
    bool ide = !o->adapter || strcmp(o->adapter, "ide") == 0;
    unsigned heads = ide ? 16 : 255;
    uint64_t cylinders = size / BLOCK_SECTOR / 63 / heads;
    add(t,
        "\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"%u\"\n"
        "ddb.geometry.cylinders = \"%llu\"\nddb.geometry.heads = \"%u\"\n"
        "ddb.geometry.sectors = \"63\"\nddb.adapterType = \"%s\"\n",
        o->hardware ? o->hardware : 4, (unsigned long long)cylinders, heads,
        o->adapter ? o->adapter : "ide");
}

static uint64_t piece_bytes(VmdkKind kind, uint64_t size)
{
    return is_split(kind) ? SPLIT_BYTES : size;
}

/* The file of piece `i`, from 1. */
static bool piece_name(const char *path, VmdkKind kind, unsigned i, char *name, size_t room)
{
    char ending[16];
    snprintf(ending, sizeof(ending), kind == VMDK_MONOLITHIC_FLAT ? "flat" : "%c%03u",
             is_flat(kind) ? 'f' : 's', i);
    return name_beside(path, ending, name, room);
}

static void remove_pieces(const char *path, VmdkKind kind, unsigned count)
{
    char name[PATH_MAX];
    for (unsigned i = 1; i <= count; i++) {
        if (piece_name(path, kind, i, name, sizeof(name))) {
            unlink(name);
        }
    }
}

static unsigned piece_count(VmdkKind kind, uint64_t size)
{
    uint64_t piece = piece_bytes(kind, size);
    return kind == VMDK_MONOLITHIC_SPARSE || kind == VMDK_STREAM
               ? 0
               : (unsigned)((size + piece - 1) / piece);
}

/* The files beside the descriptor, and their lines in it. */
static bool make_extents(Text *t, const char *path, uint64_t size, const VmdkOptions *o, Err *err)
{
    uint64_t piece = piece_bytes(o->kind, size);
    for (unsigned i = 1; i <= piece_count(o->kind, size); i++) {
        char name[PATH_MAX];
        uint64_t rest = size - (i - 1) * piece, part = rest < piece ? rest : piece;
        bool good = piece_name(path, o->kind, i, name, sizeof(name)) ||
                    err_set(err, "'%s': the name is too long", path);
        good = good && (is_flat(o->kind) ? make_flat(name, part, err)
                                         : make_sparse(name, o, part / BLOCK_SECTOR, NULL, err));
        if (!good) {
            remove_pieces(path, o->kind, i - 1);
            return false;
        }
        add(t, "RW %llu %s \"%s\"%s\n", (unsigned long long)(part / BLOCK_SECTOR),
            is_flat(o->kind) ? "FLAT" : "SPARSE", file_part(name), is_flat(o->kind) ? " 0" : "");
    }
    return true;
}

static bool make_descriptor(const char *path, const Text *t, Err *err)
{
    NewImageFile n;
    if (!new_image_begin(&n, path, BLOCK_SECTOR, BLOCK_SECTOR, err)) {
        return false;
    }
    new_image_put(&n, 0, t->bytes, t->length);
    return new_image_end(&n, err);
}

static bool make(Text *t, const char *path, uint64_t size, const VmdkOptions *o, Err *err)
{
    if (!begin_text(t, path, o, err)) {
        return false;
    }
    if (o->kind == VMDK_MONOLITHIC_SPARSE || o->kind == VMDK_STREAM) {
        uint64_t sectors = size / BLOCK_SECTOR;
        add(t, "RW %llu SPARSE \"%s\"\n", (unsigned long long)sectors,
            file_part(o->name ? o->name : path));
        end_text(t, size, o);
        return o->kind == VMDK_STREAM ? make_stream(path, o, sectors, t->bytes, err)
                                      : make_sparse(path, o, sectors, t->bytes, err);
    }
    if (!make_extents(t, path, size, o, err)) {
        return false;
    }
    end_text(t, size, o);
    if (!make_descriptor(path, t, err)) {
        remove_pieces(path, o->kind, piece_count(o->kind, size));
        return false;
    }
    return true;
}

static bool good_options(const char *path, uint64_t size, const VmdkOptions *o, Err *err)
{
    static const char *const adapters[] = {"ide", "buslogic", "lsilogic", "legacyESX"};
    bool known = !o->adapter;
    for (unsigned i = 0; i < sizeof(adapters) / sizeof(adapters[0]) && !known; i++) {
        known = strcmp(o->adapter, adapters[i]) == 0;
    }
    if (!known) {
        return err_set(err, "'%s': adapter_type=%s: take ide, buslogic, lsilogic or legacyESX",
                       path, o->adapter);
    }
    if (o->grain_bytes < 4096 || o->grain_bytes > 1 << 20 ||
        o->grain_bytes & (o->grain_bytes - 1)) {
        return err_set(err, "'%s': a VMDK's grains have a power of two from 4096 to 1M bytes",
                       path);
    }
    if (o->backing && (o->kind == VMDK_STREAM || is_flat(o->kind))) {
        return err_set(err, "'%s': a %s VMDK has no backing file; take subformat=monolithicSparse",
                       path, kind_names[o->kind]);
    }
    if (o->backing && (strlen(o->backing) > 1000 || strpbrk(o->backing, "\"\n\r"))) {
        return err_set(err, "'%s': the backing file's name is too long or has quotes in it", path);
    }
    uint64_t most = is_split(o->kind) ? MOST_SPLIT : MOST_SPARSE;
    return size <= most || err_set(err, "'%s': a VMDK has at most %llu bytes; take qcow2", path,
                                   (unsigned long long)most);
}

bool vmdk_create(const char *path, uint64_t size, const VmdkOptions *options, Err *err)
{
    VmdkOptions o = options ? *options : (VmdkOptions){0};
    o.grain_bytes = o.grain_bytes ? o.grain_bytes : 65536;
    if (!good_options(path, size, &o, err)) {
        return false;
    }
    Text text = {.bytes = calloc(1, MAX_LINES)};
    if (!text.bytes) {
        return err_set(err, "'%s': out of memory", path);
    }
    bool good = make(&text, path, size, &o, err);
    free(text.bytes);
    return good;
}

void vmdk_remove(const char *path, uint64_t size, VmdkKind kind)
{
    unlink(path);
    remove_pieces(path, kind, piece_count(kind, size));
}
