/* Fuzzing of folders shown as FAT disks: bytes of input are names, kinds and sizes of what lies in
 * a folder, which is then read as a guest would.
 *
 * Built, run and seeded as tests/fuzz/fuzz_image.c says. An entry of the input is a byte for its
 * kind, one for the length of its name, the name, and one for its size. What must hold: no crash,
 * no hang; every chain of clusters has the length that its entry says and ends; short names are
 * unique.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/core/bytes.h"
#include "storage/block.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_seeds.h"
#ifdef FUZZ_STANDALONE
#include "tests/fuzz/fuzz_standalone.h"
#endif

enum { INPUT_MAX = 4096, ENTRIES = 60, MAX_CLUSTER = 32768, DEPTH = 8 };

static char top[128];

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *where)
{
    (void)s, (void)type, (void)where;
    return remove(path);
}

static void clear(void)
{
    if (top[0]) {
        nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
}

/* False: there is nothing to come. */
static bool make_entry(const uint8_t **p, const uint8_t *end, char *folder, size_t room)
{
    char name[256], path[512];
    if (end - *p < 4) {
        return false;
    }
    unsigned kind = (*p)[0] % 8, length = (*p)[1];
    *p += 2;
    length = length < (unsigned)(end - *p) ? length : (unsigned)(end - *p) - 1;
    memcpy(name, *p, length);
    name[length] = '\0';
    *p += length;
    uint32_t size = *(*p)++ * 37u;
    for (char *c = name; *c; c++) {
        *c = *c == '/' ? '|' : *c;
    }
    if (!name[0] || snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path)) {
        return true;
    }
    if (kind < 5) {
        int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600);
        if (fd >= 0) {
            (void)!ftruncate(fd, size);
            close(fd);
        }
    } else if (kind == 5) {
        if (mkdir(path, 0700) == 0 && size % 2 && strlen(path) < room) {
            strcpy(folder, path);
        }
    } else if (kind == 6) {
        (void)!symlink(size % 2 ? "../../../etc/passwd" : ".", path);
    } else {
        (void)mkfifo(path, 0600);
    }
    return true;
}

typedef struct Volume {
    Block *b;
    uint64_t start;                                      /* bytes */
    uint32_t cluster, reserved, table, root_slots, data; /* sectors */
    unsigned bits;
    uint32_t clusters;
} Volume;

static void read_at(const Volume *v, uint64_t sector, uint8_t *out, unsigned sectors)
{
    if (block_read(v->b, v->start + sector * 512, out, 512ul * sectors) != 0) {
        abort();
    }
}

static uint32_t next_cluster(const Volume *v, uint32_t cluster)
{
    uint8_t s[1024];
    uint64_t bit = (uint64_t)cluster * v->bits, sector = bit / 8 / 512;
    read_at(v, v->reserved + sector, s, 2); /* an entry of 12 bits may reach over */
    const uint8_t *p = s + bit / 8 % 512;
    uint32_t value = v->bits == 32 ? bytes_le32(p) & 0x0fffffff : bytes_le16(p);
    return v->bits == 12 ? (cluster & 1 ? value >> 4 : value & 0xfff) : value;
}

/* The clusters of a chain; aborts when it does not end. */
static uint32_t chain_length(const Volume *v, uint32_t first)
{
    uint32_t count = 0, end = v->bits == 12 ? 0xff8 : v->bits == 16 ? 0xfff8 : 0x0ffffff8;
    for (uint32_t c = first; c < end; c = next_cluster(v, c), count++) {
        if (c < 2 || c - 2 >= v->clusters || count > v->clusters) {
            abort();
        }
    }
    return count;
}

static void check_folder(const Volume *v, uint32_t first, unsigned depth);

static void check_slot(const Volume *v, const uint8_t *e, unsigned depth)
{
    uint32_t first = (uint32_t)bytes_le16(e + 20) << 16 | bytes_le16(e + 26);
    uint32_t size = bytes_le32(e + 28), bytes = v->cluster * 512;
    bool folder = e[11] & 0x10;
    for (unsigned i = 0; i < 11; i++) {
        if (e[i] < 0x20 && !(i == 0 && e[i] == 5)) {
            abort(); /* no name has that */
        }
    }
    if (e[0] == '.') {
        return;
    }
    if (!folder && (first ? chain_length(v, first) : 0) != (size + bytes - 1) / bytes) {
        abort();
    }
    if (folder && depth < DEPTH) {
        check_folder(v, first, depth + 1);
    }
}

/* Slots of one cluster or of the fixed root; false at the end. */
static bool check_slots(const Volume *v, const uint8_t *p, unsigned slots, unsigned depth)
{
    for (unsigned i = 0; i < slots && p[32 * i]; i++) {
        const uint8_t *e = p + 32ul * i;
        for (unsigned j = 0; j < i && !(e[11] & 8); j++) { /* the label may be a file's name, too */
            if (!(p[32 * j + 11] & 8) && memcmp(p + 32ul * j, e, 11) == 0) {
                abort(); /* twice the same name */
            }
        }
        if (e[11] != 0x0f && !(e[11] & 8)) {
            check_slot(v, e, depth);
        }
        if (i + 1 == slots) {
            return true;
        }
    }
    return false;
}

static void check_folder(const Volume *v, uint32_t first, unsigned depth)
{
    uint8_t *p = malloc(MAX_CLUSTER);
    uint32_t end = v->bits == 12 ? 0xff8 : v->bits == 16 ? 0xfff8 : 0x0ffffff8;
    chain_length(v, first);
    for (uint32_t c = first; c < end; c = next_cluster(v, c)) {
        read_at(v, v->data + (uint64_t)(c - 2) * v->cluster, p, v->cluster);
        if (!check_slots(v, p, v->cluster * 16, depth)) {
            break;
        }
    }
    free(p);
}

static void check_volume(Block *b, unsigned bits, bool floppy)
{
    uint8_t s[512];
    Volume v = {.b = b, .bits = bits};
    if (!floppy) {
        read_at(&v, 0, s, 1);
        v.start = 512ull * bytes_le32(s + 446 + 8);
    }
    read_at(&v, 0, s, 1);
    uint32_t sectors = bytes_le16(s + 19) ? bytes_le16(s + 19) : bytes_le32(s + 32);
    v.cluster = s[13];
    v.reserved = bytes_le16(s + 14);
    v.root_slots = bytes_le16(s + 17);
    v.table = bytes_le16(s + 22) ? bytes_le16(s + 22) : bytes_le32(s + 36);
    v.data = v.reserved + 2 * v.table + v.root_slots / 16;
    v.clusters = (sectors - v.data) / v.cluster;
    if (v.start + 512ull * sectors > block_size(b) || v.cluster * 512 > MAX_CLUSTER) {
        abort();
    }
    if (bits == 32) {
        check_folder(&v, bytes_le32(s + 44), 0);
        return;
    }
    uint8_t *root = malloc(32ul * v.root_slots);
    read_at(&v, v.reserved + 2 * v.table, root, v.root_slots / 16);
    check_slots(&v, root, v.root_slots, 0);
    free(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        const char *words;
        unsigned bits;
        bool floppy;
    } kinds[] = {{"fat:", 16, false}, {"fat:floppy:", 12, true}, {"fat:32:", 32, false}};
    const uint8_t *p = data + 1, *end = data + size;
    char folder[512], name[256];
    if (size < 2 || size > INPUT_MAX) {
        return 0;
    }
    fuzz_silence();
    snprintf(top, sizeof(top), "%s/vitrine-fuzz-fat-%ld",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (long)getpid());
    clear();
    if (mkdir(top, 0700) != 0) {
        perror(top);
        exit(1);
    }
    snprintf(folder, sizeof(folder), "%s", top);
    for (unsigned i = 0; i < ENTRIES && make_entry(&p, end, folder, 300); i++) {
    }
    unsigned kind = data[0] % 3;
    Err err = {""};
    snprintf(name, sizeof(name), "%s%s", kinds[kind].words, top);
    Block *b = block_open(name, &(BlockOptions){.read_only = data[0] & 4}, &err);
    if (!b && !err.text[0]) {
        abort();
    }
    if (b) {
        check_volume(b, kinds[kind].bits, kinds[kind].floppy);
        block_close(b);
    }
    clear();
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char seed[] =
        "\0\0\005a.txt\020\1\032A long name, mixed Case.doc\077\005\003sub\1\0\003"
        "con\001\006\004link\1\007\004pipe\0\2\006\377\200same\4\2\006SAME~1\4";
    const char *seeds = getenv("FUZZ_SEEDS");
    (void)argc, (void)argv;
    if (seeds) {
        char path[512];
        snprintf(path, sizeof(path), "%s/fat-0", seeds);
        FILE *file = fopen(path, "wb");
        bool good = file && fwrite(seed, 1, sizeof(seed), file) == sizeof(seed);
        exit(file && fclose(file) == 0 && good ? 0 : 1);
    }
    atexit(clear);
    return 0;
}

#ifdef FUZZ_STANDALONE
int main(int argc, char **argv)
{
    static uint8_t data[INPUT_MAX];
    LLVMFuzzerInitialize(&argc, &argv);
    return standalone_main(argc, argv, data, sizeof(data), LLVMFuzzerTestOneInput);
}
#endif
