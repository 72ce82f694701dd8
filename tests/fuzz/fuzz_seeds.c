/* Start images for the fuzzing of image formats, made by our own code; their checksums; changes of
 * their fields. */
#include "tests/fuzz/fuzz_seeds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/core/bytes.h"
#include "storage/block_create.h"
#include "storage/floppy_image.h"
#include "storage/qcow2.h"

enum { SEED_BYTES = 200 * 512 };

static bool told(const Err *err)
{
    fprintf(stderr, "%s\n", err->text);
    return false;
}

/* Something in its clusters, at both ends and in between. */
static bool fill(const char *path, const char *format, bool snapshot)
{
    uint8_t data[1536];
    Err err = {""};
    Block *b = block_open(path, &(BlockOptions){.format = format}, &err);
    if (!b) {
        return told(&err);
    }
    memset(data, 0x77, sizeof(data));
    uint64_t last = block_size(b) - 512;
    bool good = block_write(b, 1024, data, sizeof(data)) == 0 &&
                block_write(b, last / 1024 * 512, data, 512) == 0 &&
                block_write(b, last, data, 512) == 0 &&
                block_discard(b, last / 1024 * 512, 512) == 0;
    Qcow2Snapshot info = {.name = "one"};
    if (good && snapshot) {
        good = qcow2_snapshot_create(b, &info) == 0 && block_write(b, 4096, data, 512) == 0;
    }
    good = block_flush(b) == 0 && good;
    block_close(b);
    return good;
}

static bool seed_text(const char *folder, const char *name, const void *text, size_t size)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(text, 1, size, file) == size;
    return file && fclose(file) == 0 && good;
}

/* An image with a bitmap, as other programs keep them for their backups: a directory of one entry,
 * its table, its only cluster. */
static bool seed_bitmap(const char *folder)
{
    enum { CLUSTER = 1024, HEADER = 104 };
    static uint8_t image[1 << 16];
    char path[512];
    Err err = {""};
    snprintf(path, sizeof(path), "%s/qcow2-bitmap", folder);
    unlink(path);
    if (!qcow2_create(path, SEED_BYTES, &(Qcow2Options){.cluster_bits = 10}, &err) ||
        !fill(path, "qcow2", false)) {
        return told(&err);
    }
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(image, 1, sizeof(image) - 4 * CLUSTER, file) : 0;
    if (!file || fclose(file) != 0 || size < CLUSTER) {
        return false;
    }
    size = (size + CLUSTER - 1) / CLUSTER * CLUSTER;
    uint8_t *extension = image + HEADER, *entry = image + size, *table = entry + CLUSTER;
    image[95] = 1; /* they fit the data */
    memset(extension, 0, 40);
    bytes_put_be32(extension, 0x23852875);
    bytes_put_be32(extension + 4, 24);
    bytes_put_be32(extension + 8, 1);
    bytes_put_be64(extension + 16, 32); /* the directory: bytes, place */
    bytes_put_be64(extension + 24, size);
    bytes_put_be64(entry, size + CLUSTER);
    bytes_put_be32(entry + 8, 1); /* words of the table */
    entry[16] = 1;
    entry[17] = 16; /* 64 KiB a bit */
    entry[19] = 4;
    memcpy(entry + 24, "mine", 4);
    bytes_put_be64(table, size + 2ull * CLUSTER);
    memset(table + CLUSTER, 0x55, CLUSTER);
    return seed_text(folder, "qcow2-bitmap", image, size + 3ul * CLUSTER);
}

static bool seed_qcow2(const char *folder)
{
    static const Qcow2Options kinds[] = {
        {.cluster_bits = 9},
        {.cluster_bits = 9, .version = 2},
        {.cluster_bits = 10, .refcount_bits = 1},
        {.cluster_bits = 9, .refcount_bits = 64, .zstd = true},
        {.cluster_bits = 9, .backing = "base.raw", .backing_format = "raw", .lazy_refcounts = true},
    };
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char path[512];
        Err err = {""};
        snprintf(path, sizeof(path), "%s/qcow2-%u", folder, i);
        unlink(path);
        if (kinds[i].backing) { /* the file that it names is there while the harness runs only */
            if (!qcow2_create(path, SEED_BYTES, &kinds[i], &err)) {
                return told(&err);
            }
        } else if (!qcow2_create(path, SEED_BYTES, &kinds[i], &err) ||
                   !fill(path, "qcow2", i != 2)) {
            return told(&err);
        }
    }
    return seed_bitmap(folder);
}

static bool seed_cue(const char *folder)
{
    static const char *const sheets[] = {
        "FILE \"base.raw\" BINARY\n  TRACK 01 MODE1/2352\n    INDEX 01 00:00:00\n",
        "CATALOG 1\nFILE base.raw BINARY\nTRACK 01 MODE2/2336\nINDEX 01 00:00:00\nTRACK 02 AUDIO\n"
        "PREGAP 00:02:00\nINDEX 00 00:00:04\nINDEX 01 00:00:08\nPOSTGAP 00:00:10\n",
        "FILE \"base.raw\" MOTOROLA\nTRACK 01 MODE1/2048\nINDEX 1 00:00:00\nFILE \"base.wav\" "
        "WAVE\n"
        "TRACK 02 AUDIO\nFLAGS DCP\nINDEX 01 00:00:00\nINDEX 02 00:00:02\n",
        "FILE C:\\A B\\BASE.WAV WAVE\nTRACK 01 AUDIO\nFLAGS PRE 4CH\nINDEX 01 00:00:00\n"
        "TRACK 02 AUDIO\nINDEX 00 00:00:09\nFILE \"base.raw\" BINARY\nINDEX 01 00:00:02\n",
    };
    for (unsigned i = 0; i < sizeof(sheets) / sizeof(sheets[0]); i++) {
        char name[16];
        snprintf(name, sizeof(name), "cue-%u", i);
        if (!seed_text(folder, name, sheets[i], strlen(sheets[i]))) {
            return false;
        }
    }
    return true;
}

static void name_seed(char *path, size_t room, const char *folder, const char *name, unsigned i)
{
    snprintf(path, room, "%s/%s-%u", folder, name, i);
    unlink(path);
}

static bool seed_vdi(const char *folder)
{
    static const VdiOptions kinds[] = {{.block_bytes = 4096}, {.block_bytes = 8192, .fixed = true}};
    for (unsigned i = 0; i < 2; i++) {
        char path[512];
        Err err = {""};
        name_seed(path, sizeof(path), folder, "vdi", i);
        if (!vdi_create(path, SEED_BYTES / 4, &kinds[i], &err) || !fill(path, "vdi", false)) {
            return told(&err);
        }
    }
    return true;
}

static bool seed_vhd(const char *folder)
{
    static const VhdOptions kinds[] = {{.block_bytes = 4096},
                                       {.fixed = true},
                                       {.block_bytes = 4096, .backing = "base.vhd"},
                                       {.block_bytes = 8192, .by_geometry = true}};
    char base[512], path[512];
    Err err = {""};
    snprintf(base, sizeof(base), "%s/base.vhd", folder);
    unlink(base);
    bool good = vhd_create(base, SEED_BYTES / 4, &kinds[0], &err);
    for (unsigned i = 0; i < 4 && good; i++) {
        name_seed(path, sizeof(path), folder, "vhd", i);
        good = vhd_create(path, SEED_BYTES / 4, &kinds[i], &err) && fill(path, "vhd", false);
    }
    unlink(base);
    return good || told(&err);
}

static bool seed_vmdk(const char *folder)
{
    static const VmdkOptions kinds[] = {{.grain_bytes = 4096},
                                        {.grain_bytes = 4096, .zero_grains = true},
                                        {.grain_bytes = 4096, .kind = VMDK_STREAM}};
    static const char flat[] =
        "# Disk DescriptorFile\nversion=1\nCID=01234567\nparentCID=ffffffff\n"
        "createType=\"monolithicFlat\"\n\nRW 100 FLAT \"base.raw\" 0\nRW 8 ZERO\n"
        "RDONLY 20 FLAT \"base.raw\" 100\nddb.adapterType = \"ide\"\n";
    static uint8_t data[4096];
    for (unsigned i = 0; i < 3; i++) {
        char path[512];
        Err err = {""};
        name_seed(path, sizeof(path), folder, "vmdk", i);
        if (!vmdk_create(path, SEED_BYTES / 4, &kinds[i], &err)) {
            return told(&err);
        }
        if (i < 2) {
            if (!fill(path, "vmdk", false)) {
                return false;
            }
            continue;
        }
        Block *b = block_open(path, &(BlockOptions){.packed = true}, &err);
        bool good = b && block_write_packed(b, 4096, data, 4096) == 0;
        block_close(b);
        if (!good) {
            return told(&err);
        }
    }
    return seed_text(folder, "vmdk-flat", flat, strlen(flat));
}

static bool seed_imd(const char *folder)
{
    char raw[512], path[512];
    Err err = {""};
    static uint8_t disk[163840];
    for (size_t i = 0; i < sizeof(disk); i += 40960) {
        disk[i] = 1;
    }
    snprintf(raw, sizeof(raw), "%s/disk.raw", folder);
    name_seed(path, sizeof(path), folder, "imd", 0);
    bool good = seed_text(folder, "disk.raw", disk, sizeof(disk));
    Block *b = good ? block_open(raw, &(BlockOptions){.read_only = true}, &err) : NULL;
    good = b && imd_write(path, b, &err);
    block_close(b);
    unlink(raw);
    static const char odd[] =
        "IMD 1.18: x\032\003\0\300\002\377\001\101\0\011\0\001\0\002\200\0\002\063\004\042"
        "\0\001\0\001\0\001\002\017";
    return (good && seed_text(folder, "imd-odd", odd, sizeof(odd) - 1)) || told(&err);
}

/* Two tracks with every kind of sector; once more as if packed, which unpacks to noise. */
static bool seed_td0(const char *folder)
{
    static const uint8_t head[] = {'T', 'D', 0, 0,  21, 0, 4, 0x80, 0, 2,   0,   0,  0,
                                   0,   3,   0, 88, 1,  2, 3, 4,    5, 'a', 'b', 'c'};
    uint8_t image[2048];
    size_t size = sizeof(head);
    memcpy(image, head, size);
    for (uint8_t side = 0; side < 2; side++) {
        static const uint8_t sectors[] = {
            0, 0, 1, 0, 0,    0, 5, 0, 1, 64, 0,  0xe5, 0xf6,                 /* pairs */
            0, 0, 2, 0, 0x10, 0,                                              /* skipped */
            0, 0, 3, 0, 0x24, 0,                                              /* no data, deleted */
            0, 0, 4, 0, 0,    0, 9, 0, 2, 1,  60, 'x',  'y',  0, 4, 'a', 'b', /* runs */
            0, 0, 5, 7, 0x52, 0};
        const uint8_t track[] = {5, 0, side, 0};
        memcpy(image + size, track, sizeof(track));
        memcpy(image + size + 4, sectors, sizeof(sectors));
        size += 4 + sizeof(sectors);
    }
    image[size++] = 0xff;
    memset(image + size, 0, 3);
    size += 3;
    bool good = seed_text(folder, "td0-0", image, size);
    memcpy(image, "td", 2);
    for (size_t i = 12; i < sizeof(image); i++) {
        image[i] = (uint8_t)(i * i >> 3);
    }
    return good && seed_text(folder, "td0-1", image, sizeof(image));
}

static bool seed_raw(const char *folder)
{
    static uint8_t sectors[4096];
    return seed_text(folder, "raw-0", sectors, sizeof(sectors)) &&
           seed_text(folder, "raw-1", "QED", 4) && seed_text(folder, "raw-2", "vhdxfile", 8);
}

bool fuzz_write_seeds(const char *format, const char *folder)
{
    static const struct {
        const char *format;
        bool (*write)(const char *folder);
    } makers[] = {{"qcow2", seed_qcow2}, {"vdi", seed_vdi}, {"vhd", seed_vhd}, {"vmdk", seed_vmdk},
                  {"cue", seed_cue},     {"imd", seed_imd}, {"td0", seed_td0}, {"raw", seed_raw}};
    for (unsigned i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        if (strcmp(makers[i].format, format) == 0) {
            return makers[i].write(folder);
        }
    }
    fprintf(stderr, "no start images for '%s'\n", format);
    return false;
}

/* ---- checksums ---- */

static void sum_vhd(uint8_t *p, size_t size, size_t at)
{
    uint32_t sum = 0;
    bytes_put_be32(p + at, 0);
    for (size_t i = 0; i < size; i++) {
        sum += p[i];
    }
    bytes_put_be32(p + at, ~sum);
}

static uint16_t td0_sum(const uint8_t *p, size_t size)
{
    unsigned crc = 0;
    for (size_t i = 0; i < 8 * size; i++) {
        crc ^= i % 8 ? 0 : (unsigned)p[i / 8] << 8;
        crc = (crc << 1 ^ (crc & 0x8000 ? 0xa097 : 0)) & 0xffff;
    }
    return (uint16_t)crc;
}

/* The head's sum, and those of the tracks as far as they can be followed. */
static void mend_td0(uint8_t *p, size_t size)
{
    if (size < 26) {
        return;
    }
    bytes_put_le16(p + 10, td0_sum(p, 10));
    size_t at = p[7] & 0x80 ? 12 + 10 + (size_t)bytes_le16(p + 14) : 12;
    while (p[0] == 'T' && at + 4 <= size && p[at] != 0xff) {
        unsigned count = p[at];
        p[at + 3] = (uint8_t)td0_sum(p + at, 3);
        at += 4;
        for (unsigned i = 0; i < count && at + 8 <= size; i++) {
            at += p[at + 4] & 0x30 ? 6 : 8 + (size_t)bytes_le16(p + at + 6);
        }
    }
}

void fuzz_mend(const char *format, uint8_t *data, size_t size)
{
    if (strcmp(format, "td0") == 0) {
        mend_td0(data, size);
    }
    if (strcmp(format, "vhd") != 0 || size < 512) {
        return;
    }
    sum_vhd(data + size - 512, 512, 64);
    if (memcmp(data, "conectix", 8) == 0) {
        sum_vhd(data, 512, 64);
    }
    uint64_t at = bytes_be64(data + size - 512 + 16);
    if (at <= size && size - at >= 1024) {
        sum_vhd(data + at, 1024, 36);
    }
}

/* ---- changes ---- */

static uint32_t noise(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Mostly the front, where headers and tables are; or what is not zero. */
static size_t somewhere(const uint8_t *data, size_t size, uint32_t *seed)
{
    size_t at = noise(seed) % (noise(seed) % 2 ? (size < 1024 ? size : 1024) : size);
    for (unsigned i = 0; i < 64 && noise(seed) % 4 && data[at] == 0; i++) {
        at = (at + 1 + noise(seed) % 61) % size;
    }
    return at;
}

static void put(uint8_t *p, unsigned bytes, uint64_t value, bool big)
{
    for (unsigned i = 0; i < bytes; i++) {
        p[big ? bytes - 1 - i : i] = (uint8_t)(value >> (8 * i));
    }
}

static void change_field(uint8_t *data, size_t size, uint32_t *seed)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     3,
                                     7,
                                     8,
                                     9,
                                     16,
                                     31,
                                     32,
                                     63,
                                     64,
                                     127,
                                     128,
                                     255,
                                     256,
                                     511,
                                     512,
                                     513,
                                     1023,
                                     1024,
                                     4095,
                                     4096,
                                     65535,
                                     65536,
                                     1 << 20,
                                     (1 << 21) + 1,
                                     INT32_MAX,
                                     UINT64_C(1) << 31,
                                     UINT32_MAX,
                                     UINT64_C(1) << 32,
                                     UINT64_C(1) << 40,
                                     UINT64_C(1) << 55,
                                     UINT64_C(1) << 62,
                                     INT64_MAX,
                                     UINT64_C(1) << 63,
                                     UINT64_MAX,
                                     UINT64_MAX - 511};
    unsigned bytes = 1u << noise(seed) % 4;
    if (bytes > size) {
        bytes = 1;
    }
    size_t at = somewhere(data, size, seed) & ~(size_t)(noise(seed) % 8 ? bytes - 1 : 0);
    at = at > size - bytes ? size - bytes : at;
    uint64_t value = edges[noise(seed) % (sizeof(edges) / sizeof(edges[0]))];
    bool big = noise(seed) % 2;
    switch (noise(seed) % 5) {
    case 0: /* a number that is something elsewhere */
        memmove(data + at, data + (somewhere(data, size - bytes + 1, seed)), bytes);
        return;
    case 1: /* near the end of the file, in bytes or sectors */
        value = (noise(seed) % 2 ? size : size / 512) + noise(seed) % 3 - 1;
        break;
    case 2: /* a little more or less */
        value = 0;
        for (unsigned i = 0; i < bytes; i++) {
            value |= (uint64_t)data[at + (big ? bytes - 1 - i : i)] << (8 * i);
        }
        value +=
            noise(seed) % 5 - 2 + (noise(seed) % 2 ? (noise(seed) % 3 - 1) * UINT64_C(512) : 0);
        break;
    default:
        break;
    }
    put(data + at, bytes, value, big);
}

size_t fuzz_change(uint8_t *data, size_t size, size_t most, uint32_t seed)
{
    seed ^= 0x9e3779b9;
    if (size == 0) {
        return 0;
    }
    for (unsigned left = 1 + noise(&seed) % 4; left; left--) {
        size_t at = somewhere(data, size, &seed), to = somewhere(data, size, &seed), n;
        switch (noise(&seed) % 12) {
        case 0:
            data[at] ^= (uint8_t)(1u << noise(&seed) % 8);
            break;
        case 1: /* a piece, over another place */
            n = 1 + noise(&seed) % 64;
            n = n < size - at ? n : size - at;
            n = n < size - to ? n : size - to;
            memmove(data + to, data + at, n);
            break;
        case 2:
            if (noise(&seed) % 4 == 0) {
                size = 1 + noise(&seed) % size;
            }
            break;
        case 3:
            n = noise(&seed) % 2048;
            if (n <= most - size && noise(&seed) % 2) {
                memset(data + size, noise(&seed) % 2 ? 0 : 0xff, n);
                size += n;
            }
            break;
        default:
            change_field(data, size, &seed);
        }
    }
    return size;
}
