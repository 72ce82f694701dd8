/* A folder of the host as a disk with a FAT file system: FAT12 on a floppy, FAT16 or FAT32 with a
 * partition table (Microsoft, "FAT32 File System Specification" 1.03).
 *
 * Nothing of the disk is stored: each sector is made when it is read, tables from the list of
 * files, data from the files. Files keep the size that they had when the disk was made: what is cut
 * off later reads as zeros. Nothing is ever written to the folder; block_open lays a throw-away
 * overlay above. A file lies in one piece, so its chain needs no table in memory.
 */
#include "storage/fat_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/core/bytes.h"
#include "machine/core/log.h"
#include "storage/fat_internal.h"

LOG_TAG("fat");

enum {
    SECTOR = BLOCK_SECTOR,
    PARTITION_AT = 63,
    TRACK = 63, /* sectors of a hard disk's */
    FAT32_RESERVED = 32,
    FAT32_INFO = 1,
    FAT32_COPY = 6,
    MIN_ROOT = 512,
    SLOTS = SECTOR / FAT_SLOT,
    ATTRIBUTE_VOLUME = 0x08,
    ATTRIBUTE_FOLDER = 0x10,
    ATTRIBUTE_FILE = 0x20, /* "archive" */
    ATTRIBUTE_LONG = 0x0f,
    LAST_LONG = 0x40,
    NO_NODE = -1,
};

#define FREE_BYTES (UINT64_C(64) << 20) /* room for what the guest writes */
#define MOST_FAT16_CLUSTERS 65524u
#define LEAST_FAT16_CLUSTERS 4085u
#define LEAST_FAT32_CLUSTERS 65525u
#define MOST_BYTES (UINT64_C(120) << 30) /* what every BIOS and DOS of FAT32's time can address */

typedef struct FatFolder {
    FatTree tree;
    unsigned bits; /* 12, 16, 32 */
    bool floppy;
    uint32_t start;                                 /* of the file system, sectors */
    uint32_t sectors;                               /* of it */
    uint32_t cluster;                               /* sectors */
    uint32_t clusters, reserved, table, root_slots; /* table: sectors of one of the two */
    uint32_t root_at, data_at;                      /* sectors from `start` */
    uint32_t used;                                  /* clusters */
    uint32_t *place; /* the nodes that have clusters, in their order */
    uint32_t place_count;
    unsigned heads, track;
    uint32_t serial;
    int fd; /* of the file that was read last; -1: none */
    uint32_t fd_of;
} FatFolder;

bool fat_folder_named(const char *path)
{
    return strncmp(path, "fat:", 4) == 0;
}

/* ---- laying it out ---- */

static uint64_t node_bytes(const FatNode *n)
{
    return n->folder ? (uint64_t)n->slots * FAT_SLOT : n->size;
}

/* Clusters of `bytes` that all files and folders take; FAT32 keeps the root there, too. */
static uint64_t clusters_needed(const FatTree *t, uint64_t bytes, bool with_root)
{
    uint64_t all = 0;
    for (uint32_t i = with_root ? 0 : 1; i < t->nodes; i++) {
        all += (node_bytes(&t->node[i]) + bytes - 1) / bytes;
    }
    return all;
}

static bool place_nodes(FatFolder *v, Err *err)
{
    uint32_t next = 2;
    v->place = malloc(v->tree.nodes * sizeof(*v->place));
    if (!v->place) {
        return err_set(err, "'%s': out of memory", v->tree.path);
    }
    uint64_t bytes = (uint64_t)v->cluster * SECTOR;
    for (uint32_t i = v->bits == 32 ? 0 : 1; i < v->tree.nodes; i++) {
        FatNode *n = &v->tree.node[i];
        n->clusters = (uint32_t)((node_bytes(n) + bytes - 1) / bytes);
        n->first = n->clusters ? next : 0;
        next += n->clusters;
        if (n->clusters) {
            v->place[v->place_count++] = i;
        }
    }
    v->used = next - 2;
    return true;
}

/* Tables and data areas, from the file system's size and that of its clusters. */
static void lay_out(FatFolder *v)
{
    v->reserved = v->bits == 32 ? FAT32_RESERVED : 1;
    uint32_t root = v->root_slots / SLOTS;
    /* one table too large by a sector at most does no harm */
    uint64_t most = (v->sectors - v->reserved - root) / v->cluster + 2;
    v->table = (uint32_t)((most * v->bits + 8 * SECTOR - 1) / (8 * SECTOR));
    v->root_at = v->reserved + 2 * v->table;
    v->data_at = v->root_at + root;
    v->clusters = (v->sectors - v->data_at) / v->cluster;
}

static bool lay_out_floppy(FatFolder *v, Err *err)
{
    static const struct {
        uint32_t sectors, cluster, slots, track;
    } kinds[] = {{2880, 1, 224, 18}, {5760, 2, 240, 36}};
    for (unsigned i = 0; i < 2; i++) {
        v->bits = 12;
        v->sectors = kinds[i].sectors;
        v->cluster = kinds[i].cluster;
        v->root_slots = kinds[i].slots;
        v->heads = 2;
        v->track = kinds[i].track;
        lay_out(v);
        if (v->tree.node[0].slots <= v->root_slots &&
            clusters_needed(&v->tree, v->cluster * SECTOR, false) <= v->clusters) {
            return true;
        }
    }
    return err_set(err,
                   "folder '%s' holds more than a floppy of 2.88 MB; leave floppy: out, or "
                   "take files away",
                   v->tree.path);
}

/* Heads as the BIOS will count them for a disk of this size. */
static unsigned heads_for(uint64_t sectors)
{
    static const unsigned heads[] = {16, 32, 64, 128};
    for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        if (sectors <= (uint64_t)TRACK * heads[i] * 1024) {
            return heads[i];
        }
    }
    return 255;
}

/* A disk with clusters of this many sectors; false: the content does not fit. */
static bool try_disk(FatFolder *v, unsigned bits, uint32_t cluster)
{
    uint64_t bytes = (uint64_t)cluster * SECTOR, room = (FREE_BYTES + bytes - 1) / bytes;
    uint64_t needed = clusters_needed(&v->tree, bytes, bits == 32);
    uint64_t least = bits == 32 ? LEAST_FAT32_CLUSTERS : LEAST_FAT16_CLUSTERS;
    uint64_t most = bits == 32 ? MOST_BYTES / bytes : MOST_FAT16_CLUSTERS;
    if (needed + needed / 64 + 16 > most) {
        return false;
    }
    uint64_t clusters = needed + room < least + 64 ? least + 64 : needed + room;
    uint32_t slots = v->tree.node[0].slots + MIN_ROOT / 2;
    slots = slots < MIN_ROOT ? MIN_ROOT : (slots + SLOTS - 1) / SLOTS * SLOTS;
    clusters = clusters < most ? clusters : most;
    v->bits = bits;
    v->cluster = cluster;
    v->root_slots = bits == 32 ? 0 : slots;
    uint64_t sectors = clusters * cluster + 2 * (clusters * bits / 8 / SECTOR + 1) + slots / SLOTS +
                       FAT32_RESERVED;
    v->heads = heads_for(sectors + PARTITION_AT);
    v->track = TRACK;
    uint64_t whole = (sectors + PARTITION_AT) / ((uint64_t)v->heads * TRACK) + 1;
    v->heads = heads_for(whole * v->heads * TRACK);
    whole = (sectors + PARTITION_AT) / ((uint64_t)v->heads * TRACK) + 1; /* cylinders */
    v->start = PARTITION_AT;
    v->sectors = (uint32_t)(whole * v->heads * TRACK - PARTITION_AT);
    lay_out(v);
    if (bits == 16 &&
        v->clusters > MOST_FAT16_CLUSTERS) { /* the last cylinder's rest stays unused */
        v->sectors -= (v->clusters - MOST_FAT16_CLUSTERS) * cluster;
        lay_out(v);
    }
    return v->clusters >= needed && v->clusters >= least;
}

static bool lay_out_disk(FatFolder *v, unsigned bits, Err *err)
{
    for (uint32_t cluster = 4; bits != 32 && cluster <= 64; cluster *= 2) {
        if (try_disk(v, 16, cluster)) {
            return true;
        }
    }
    for (uint32_t cluster = 8; bits != 16 && cluster <= 64; cluster *= 2) {
        if (try_disk(v, 32, cluster) && v->clusters < 2u << 20) {
            return true;
        }
    }
    return err_set(err, "folder '%s' holds more than a FAT%u disk can; name a smaller one%s",
                   v->tree.path, bits == 16 ? 16 : 32, bits == 16 ? ", or leave 16: out" : "");
}

/* ---- boot sectors ---- */

static void put_code(uint8_t *sector, size_t at)
{
    static const uint8_t code[] = {
        0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0,    0x7c,             /* DS:SI: the text */
        0xac, 0x84, 0xc0, 0x74, 0x09,                         /* until a zero */
        0xb4, 0x0e, 0xbb, 0x07, 0x00, 0xcd, 0x10, 0xeb, 0xf2, /* INT 10h, teletype */
        0x31, 0xc0, 0xcd, 0x16, 0xcd, 0x19, 0xeb, 0xfe,       /* a key, then the next drive */
    };
    static const char text[] = "This disk is a folder of the host and does not boot.\r\n"
                               "Press a key to try another one.\r\n";
    memcpy(sector + at, code, sizeof(code));
    bytes_put_le16(sector + at + 5, (uint16_t)(0x7c00 + at + sizeof(code)));
    memcpy(sector + at + sizeof(code), text, sizeof(text));
    sector[510] = 0x55;
    sector[511] = 0xaa;
}

static void put_chs(const FatFolder *v, uint8_t *p, uint64_t sector)
{
    uint64_t cylinder = sector / v->track / v->heads;
    bool far = cylinder > 1023;
    unsigned head = far ? v->heads - 1 : (unsigned)(sector / v->track % v->heads);
    unsigned in = far ? v->track : (unsigned)(sector % v->track) + 1;
    cylinder = far ? 1023 : cylinder;
    p[0] = (uint8_t)head;
    p[1] = (uint8_t)(in | (cylinder >> 8) << 6);
    p[2] = (uint8_t)cylinder;
}

static void partition_table(const FatFolder *v, uint8_t *out)
{
    uint8_t *p = out + 446;
    bool far = v->start + (uint64_t)v->sectors > UINT64_C(1024) * v->heads * v->track;
    put_code(out, 0);
    bytes_put_le32(out + 440, v->serial);
    p[0] = 0x80;
    put_chs(v, p + 1, v->start);
    p[4] = v->bits == 32 ? (far ? 0x0c : 0x0b) : far ? 0x0e : v->sectors < 65536 ? 0x04 : 0x06;
    put_chs(v, p + 5, v->start + (uint64_t)v->sectors - 1);
    bytes_put_le32(p + 8, v->start);
    bytes_put_le32(p + 12, v->sectors);
}

static void boot_sector(const FatFolder *v, uint8_t *out)
{
    bool wide = v->bits == 32;
    size_t tail = wide ? 64 : 36; /* drive, serial number, label, kind */
    size_t code = tail + 26;
    out[0] = 0xeb;
    out[1] = (uint8_t)(code - 2);
    out[2] = 0x90;
    memcpy(out + 3, "MSWIN4.1", 8);
    bytes_put_le16(out + 11, SECTOR);
    out[13] = (uint8_t)v->cluster;
    bytes_put_le16(out + 14, (uint16_t)v->reserved);
    out[16] = 2;
    bytes_put_le16(out + 17, (uint16_t)v->root_slots);
    bytes_put_le16(out + 19, v->sectors < 65536 && !wide ? (uint16_t)v->sectors : 0);
    out[21] = v->floppy ? 0xf0 : 0xf8;
    bytes_put_le16(out + 22, wide ? 0 : (uint16_t)v->table);
    bytes_put_le16(out + 24, (uint16_t)v->track);
    bytes_put_le16(out + 26, (uint16_t)v->heads);
    bytes_put_le32(out + 28, v->start);
    bytes_put_le32(out + 32, v->sectors < 65536 && !wide ? 0 : v->sectors);
    if (wide) {
        bytes_put_le32(out + 36, v->table);
        bytes_put_le32(out + 44, v->tree.node[0].first);
        bytes_put_le16(out + 48, FAT32_INFO);
        bytes_put_le16(out + 50, FAT32_COPY);
    }
    out[tail] = v->floppy ? 0 : 0x80;
    out[tail + 2] = 0x29;
    bytes_put_le32(out + tail + 3, v->serial);
    memcpy(out + tail + 7, "VITRINE    ", 11);
    memcpy(out + tail + 18, wide ? "FAT32   " : v->bits == 16 ? "FAT16   " : "FAT12   ", 8);
    put_code(out, code);
}

static void info_sector(const FatFolder *v, uint8_t *out)
{
    bytes_put_le32(out, 0x41615252);
    bytes_put_le32(out + 484, 0x61417272);
    bytes_put_le32(out + 488, v->clusters - v->used);
    bytes_put_le32(out + 492, v->used + 2);
    bytes_put_le32(out + 508, 0xaa550000);
}

static void reserved_sector(const FatFolder *v, uint32_t sector, uint8_t *out)
{
    bool copy = v->bits == 32 && sector >= FAT32_COPY && sector < FAT32_COPY + 3;
    sector -= copy ? FAT32_COPY : 0;
    if (sector == 0) {
        boot_sector(v, out);
    } else if (v->bits == 32 && sector == FAT32_INFO) {
        info_sector(v, out);
    } else if (v->bits == 32 && sector == 2) {
        out[510] = 0x55;
        out[511] = 0xaa;
    }
}

/* ---- tables ---- */

/* The file or folder that a cluster belongs to; NO_NODE: none. */
static int64_t node_of(const FatFolder *v, uint32_t cluster)
{
    uint32_t low = 0, high = v->place_count;
    if (cluster < 2 || cluster - 2 >= v->used) {
        return NO_NODE;
    }
    while (low + 1 < high) { /* the last that begins at or before the cluster */
        uint32_t middle = low + (high - low) / 2;
        if (v->tree.node[v->place[middle]].first <= cluster) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return v->place[low];
}

static uint32_t table_entry(const FatFolder *v, uint32_t cluster)
{
    uint32_t end = v->bits == 12 ? 0xfff : v->bits == 16 ? 0xffff : 0x0fffffff;
    if (cluster < 2) {
        return cluster ? end : (end & ~0xffu) | (v->floppy ? 0xf0 : 0xf8);
    }
    int64_t node = node_of(v, cluster);
    if (node == NO_NODE) {
        return 0;
    }
    const FatNode *n = &v->tree.node[node];
    return cluster - n->first + 1 < n->clusters ? cluster + 1 : end;
}

static void table_sector(const FatFolder *v, uint32_t sector, uint8_t *out)
{
    uint32_t per_sector = 8 * SECTOR / v->bits;
    for (uint32_t i = 0; i < per_sector && v->bits != 12; i++) {
        uint32_t entry = table_entry(v, sector * per_sector + i);
        if (v->bits == 16) {
            bytes_put_le16(out + 2ul * i, (uint16_t)entry);
        } else {
            bytes_put_le32(out + 4ul * i, entry);
        }
    }
    for (uint32_t i = 0; i < SECTOR && v->bits == 12; i++) { /* two entries in three bytes */
        uint32_t at = sector * SECTOR + i, pair = at / 3 * 2;
        uint32_t entry = table_entry(v, pair + (at % 3 == 2));
        uint32_t next = at % 3 == 1 ? table_entry(v, pair + 1) : 0;
        out[i] = at % 3 == 0   ? (uint8_t)entry
                 : at % 3 == 1 ? (uint8_t)(entry >> 8 | next << 4)
                               : (uint8_t)(entry >> 4);
    }
}

/* ---- folders ---- */

static void put_entry(const FatNode *n, uint32_t first, uint8_t *out)
{
    memcpy(out, n->alias, 11);
    out[11] = n->folder ? ATTRIBUTE_FOLDER : ATTRIBUTE_FILE;
    bytes_put_le16(out + 14, n->time);
    bytes_put_le16(out + 16, n->date);
    bytes_put_le16(out + 18, n->date);
    bytes_put_le16(out + 20, (uint16_t)(first >> 16));
    bytes_put_le16(out + 22, n->time);
    bytes_put_le16(out + 24, n->date);
    bytes_put_le16(out + 26, (uint16_t)first);
    bytes_put_le32(out + 28, n->folder ? 0 : n->size);
}

/* Part `part` (from 1, as they are counted towards the short entry) of a long name. */
static void put_long(const FatNode *n, unsigned part, uint8_t *out)
{
    static const uint8_t places[FAT_UNITS_A_SLOT] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
    unsigned parts = (n->long_units + FAT_UNITS_A_SLOT - 1u) / FAT_UNITS_A_SLOT;
    uint8_t sum = 0;
    for (unsigned i = 0; i < 11; i++) {
        sum = (uint8_t)((sum >> 1 | sum << 7) + n->alias[i]);
    }
    out[0] = (uint8_t)(part | (part == parts ? LAST_LONG : 0));
    out[11] = ATTRIBUTE_LONG;
    out[13] = sum;
    for (unsigned i = 0; i < FAT_UNITS_A_SLOT; i++) {
        unsigned at = (part - 1) * FAT_UNITS_A_SLOT + i;
        uint16_t unit = at < n->long_units ? n->long_name[at] : at == n->long_units ? 0 : 0xffff;
        bytes_put_le16(out + places[i], unit);
    }
}

/* Entry `slot` of a folder. */
static void put_slot(const FatFolder *v, const FatNode *f, uint32_t slot, uint8_t *out)
{
    const FatNode *node = v->tree.node;
    bool root = f == node;
    uint32_t own = root ? 1 : 2;
    if (slot >= f->slots) {
        return;
    }
    if (slot < own) {
        FatNode dot = *f;
        memcpy(dot.alias, root ? "VITRINE    " : slot ? "..         " : ".          ", 11);
        uint32_t up = f->parent ? node[f->parent].first : 0; /* the root is called 0 */
        put_entry(&dot, root ? 0 : slot ? up : f->first, out);
        out[11] = root ? ATTRIBUTE_VOLUME : ATTRIBUTE_FOLDER;
        return;
    }
    uint32_t low = f->child, high = f->child + f->children;
    while (low + 1 < high) {
        uint32_t middle = low + (high - low) / 2;
        if (node[middle].slot <= slot) {
            low = middle;
        } else {
            high = middle;
        }
    }
    const FatNode *n = &node[low];
    uint32_t parts = (n->long_units + FAT_UNITS_A_SLOT - 1u) / FAT_UNITS_A_SLOT;
    if (slot - n->slot < parts) {
        put_long(n, parts - (slot - n->slot), out);
    } else {
        put_entry(n, n->first, out);
    }
}

static void folder_sector(const FatFolder *v, const FatNode *f, uint64_t sector, uint8_t *out)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        put_slot(v, f, (uint32_t)(sector * SLOTS + i), out + (size_t)i * FAT_SLOT);
    }
}

/* ---- files ---- */

static void note_change(const FatFolder *v, FatNode *n, const char *what)
{
    if (!n->warned) {
        n->warned = true;
        log_warn("'%s': '%s' %s while the guest has it on its disk", v->tree.path, n->name, what);
    }
}

static int open_file(FatFolder *v, uint32_t node)
{
    FatNode *n = &v->tree.node[node];
    struct stat s;
    if (v->fd >= 0 && v->fd_of == node) {
        return v->fd;
    }
    if (v->fd >= 0) {
        close(v->fd);
    }
    v->fd = fat_tree_open(&v->tree, node);
    v->fd_of = node;
    if (v->fd < 0) {
        note_change(v, n, "has gone, or can no longer be read,");
    } else if (fstat(v->fd, &s) == 0 &&
               (s.st_size != n->size ||
                (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec != n->modified)) {
        note_change(v, n, "has changed");
    }
    return v->fd;
}

/* Bytes of a file; what it no longer has is zeros. */
static int read_file(FatFolder *v, uint32_t node, uint64_t at, uint8_t *out, size_t length)
{
    const FatNode *n = &v->tree.node[node];
    size_t there = at >= n->size ? 0 : n->size - at < length ? (size_t)(n->size - at) : length;
    int fd = there ? open_file(v, node) : -1;
    size_t done = 0;
    while (fd >= 0 && done < there) {
        ssize_t got = pread(fd, out + done, there - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return errno;
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    memset(out + done, 0, length - done);
    return 0;
}

/* One sector of the data area, or as much of a file as there is in one piece. */
static int read_data(FatFolder *v, uint64_t sector, uint8_t *out, size_t *length)
{
    uint32_t cluster = (uint32_t)(sector / v->cluster) + 2;
    int64_t node = node_of(v, cluster);
    if (node == NO_NODE) {
        *length = SECTOR;
        memset(out, 0, SECTOR);
        return 0;
    }
    const FatNode *n = &v->tree.node[node];
    uint64_t in = sector - (uint64_t)(n->first - 2) * v->cluster;
    if (n->folder) {
        *length = SECTOR;
        memset(out, 0, SECTOR);
        folder_sector(v, n, in, out);
        return 0;
    }
    uint64_t rest = ((uint64_t)n->clusters * v->cluster - in) * SECTOR;
    *length = rest < *length ? (size_t)rest : *length;
    return read_file(v, (uint32_t)node, in * SECTOR, out, *length);
}

/* ---- the Block ---- */

/* From `lba` on, at most *length bytes; *length becomes what has been read. */
static int read_some(FatFolder *v, uint64_t lba, uint8_t *out, size_t *length)
{
    if (lba >= v->start && lba - v->start >= v->data_at && lba - v->start < v->sectors) {
        return read_data(v, lba - v->start - v->data_at, out, length);
    }
    *length = SECTOR;
    memset(out, 0, SECTOR);
    if (lba < v->start || lba - v->start >= v->sectors) {
        if (lba == 0) {
            partition_table(v, out);
        }
        return 0;
    }
    uint32_t sector = (uint32_t)(lba - v->start);
    if (sector < v->reserved) {
        reserved_sector(v, sector, out);
    } else if (sector < v->root_at) {
        table_sector(v, (sector - v->reserved) % v->table, out);
    } else {
        folder_sector(v, &v->tree.node[0], sector - v->root_at, out);
    }
    return 0;
}

static int fat_read(Block *b, uint64_t offset, void *data, size_t length)
{
    uint8_t *out = data;
    while (length) {
        size_t part = length;
        int error = read_some(b->data, offset / SECTOR, out, &part);
        if (error) {
            return error;
        }
        out += part;
        offset += part;
        length -= part;
    }
    return 0;
}

static int fat_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    (void)b, (void)offset, (void)data, (void)length;
    return EROFS;
}

static int fat_flush(Block *b)
{
    (void)b;
    return 0;
}

/* Behind the last cluster in use there is nothing. */
static int fat_map(Block *b, uint64_t offset, BlockExtent *extent)
{
    const FatFolder *v = b->data;
    uint64_t end = (v->start + v->data_at + (uint64_t)v->used * v->cluster) * SECTOR;
    extent->data = offset < end;
    extent->length = (extent->data ? end : b->size) - offset;
    return 0;
}

static void fat_close(Block *b)
{
    FatFolder *v = b->data;
    if (v->fd >= 0) {
        close(v->fd);
    }
    fat_tree_free(&v->tree);
    free(v->place);
    free(v);
    b->data = NULL;
}

static const BlockFormat block_fat = {
    .name = "fat",
    .close = fat_close,
    .read = fat_read,
    .write = fat_write,
    .flush = fat_flush,
    .map = fat_map,
};

/* The words between "fat:" and the folder. */
static const char *take_words(const char *path, bool *floppy, unsigned *bits, Err *err)
{
    static const struct {
        const char *word;
        unsigned bits;
    } words[] = {{"rw:", 0}, {"floppy:", 1}, {"12:", 12}, {"16:", 16}, {"32:", 32}};
    const char *rest = path + 4;
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t length = strlen(words[i].word);
        if (strncmp(rest, words[i].word, length) == 0) {
            rest += length;
            *floppy |= words[i].bits == 1;
            *bits = words[i].bits > 1 ? words[i].bits : *bits;
            i = UINT32_MAX; /* from the first one again: any order */
        }
    }
    bool fits = *bits == 0 || (*bits == 12) == *floppy;
    if (!rest[0] || !fits) {
        err_set(err,
                fits ? "'%s': name a folder behind fat:"
                     : "'%s': FAT12 is for floppies (fat:floppy:FOLDER), FAT16 and FAT32 for "
                       "disks",
                path);
        return NULL;
    }
    return rest;
}

Block *fat_folder_open(const char *path, Err *err)
{
    bool floppy = false;
    unsigned bits = 0;
    const char *folder = take_words(path, &floppy, &bits, err);
    FatFolder *v = folder ? calloc(1, sizeof(*v)) : NULL;
    if (!v) {
        return NULL;
    }
    v->fd = -1;
    v->floppy = floppy;
    v->serial = 2166136261u;
    for (const char *c = folder; *c; c++) {
        v->serial = (v->serial ^ (uint8_t)*c) * 16777619u;
    }
    Block *b = NULL;
    if (fat_tree_read(&v->tree, folder, err) &&
        (floppy ? lay_out_floppy(v, err) : lay_out_disk(v, bits, err)) && place_nodes(v, err)) {
        uint64_t cylinder = floppy ? 1 : (uint64_t)v->heads * v->track;
        uint64_t sectors = (v->start + (uint64_t)v->sectors + cylinder - 1) / cylinder * cylinder;
        b = block_wrap(&block_fat, path, sectors * SECTOR, true, v, NULL);
    }
    if (!b) {
        err_set(err, "'%s': out of memory", path);
        fat_tree_free(&v->tree);
        free(v->place);
        free(v);
    }
    return b;
}
