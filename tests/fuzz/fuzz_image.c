/* Fuzzing of the image formats: bytes of input are an image file, which is opened, read, written,
 * checked and given snapshots.
 *
 * Built once per format, FUZZ_FORMAT is its name. With clang's -fsanitize=fuzzer it is a libFuzzer
 * target; with -DFUZZ_STANDALONE it changes its start images itself: fuzz_image [seconds [seed]],
 * or runs the files named. FUZZ_SEEDS=DIR: writes start images there and ends. Checksums of the
 * formats that have them are made right after each change, so that it comes past them. What must
 * hold: no crash, no hang, bounded memory, a text for each refusal, and a file that was opened for
 * reading is as it was.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/core/bytes.h"
#include "storage/block_amend.h"
#include "storage/block_create.h"
#include "storage/cd.h"
#include "storage/qcow2.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_mutator.h"
#include "tests/fuzz/fuzz_seeds.h"
#ifdef FUZZ_STANDALONE
#include "tests/fuzz/fuzz_standalone.h"
#endif

#ifndef FUZZ_FORMAT
#define FUZZ_FORMAT "raw"
#endif

enum { INPUT_MAX = 1 << 18, PIECE = 1 << 15, STEPS = 24 };

static char folder[128], image[160];

static void put_file(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static void leave(void)
{
    static const char *const names[] = {"disk.img", "disk.cue", "base.raw", "base.wav", "base.vhd"};
    char path[192];
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

/* A folder with the files that images of the corpus name. */
static void begin(void)
{
    static uint8_t base[65536];
    char path[192];
    snprintf(folder, sizeof(folder), "%s/vitrine-fuzz-%ld",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (long)getpid());
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        perror(folder);
        exit(1);
    }
    atexit(leave);
    memset(base, 0x5a, sizeof(base));
    snprintf(path, sizeof(path), "%s/base.raw", folder);
    put_file(path, base, sizeof(base));
    memcpy(base,
           "RIFF\0\0\1\0WAVEfmt \20\0\0\0\1\0\2\0\x44\xac\0\0\x10\xb1\2\0\4\0\20\0data\0\xe0\0\0",
           44);
    snprintf(path, sizeof(path), "%s/base.wav", folder);
    put_file(path, base, sizeof(base));
    snprintf(path, sizeof(path), "%s/base.vhd", folder);
    unlink(path);
    if (!vhd_create(path, 51200, &(VhdOptions){.block_bytes = 4096}, NULL)) {
        exit(1);
    }
    snprintf(image, sizeof(image), "%s/disk.%s", folder,
             strcmp(FUZZ_FORMAT, "cue") == 0 ? "cue" : "img");
    fuzz_silence();
}

static uint32_t noise(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void read_about(Block *b, uint32_t *seed)
{
    static uint8_t data[PIECE];
    uint64_t sectors = block_size(b) / BLOCK_SECTOR;
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t near = noise(seed) % 512, far = (uint64_t)noise(seed) << 24 | noise(seed);
        uint64_t at = (i % 4 == 3 ? far : near) % sectors;
        at = i % 8 == 6 ? sectors - 1 - near % sectors : at;
        uint64_t count = 1 + noise(seed) % (PIECE / BLOCK_SECTOR);
        count = count < sectors - at ? count : sectors - at;
        block_read(b, at * BLOCK_SECTOR, data, (size_t)count * BLOCK_SECTOR);
        BlockExtent extent = {0};
        if (block_map(b, at * BLOCK_SECTOR, &extent) == 0 &&
            (extent.length == 0 || extent.length > block_size(b) - at * BLOCK_SECTOR)) {
            abort(); /* who walks the image by these lengths would never end */
        }
    }
    if (strcmp(block_format_name(b), "cue") == 0) {
        static uint8_t raw[8 * CD_RAW_SECTOR];
        CdToc toc;
        cd_toc(b, &toc);
        for (unsigned i = 0; i < toc.tracks; i++) {
            cd_read_raw(b, toc.track[i].start, raw, 1 + noise(seed) % 8);
        }
    }
}

/* What `vitrine image` asks of an image without writing to it. */
static void ask_about(Block *b, uint32_t seed)
{
    static uint8_t state[4096];
    BlockAbout about = {0};
    BlockCheck found;
    block_about(b, &about);
    if ((about.kind && strlen(about.kind) > 4096) || (about.backing && !about.backing[0])) {
        abort();
    }
    if (!qcow2_is(b)) {
        block_check(b, &found);
        return;
    }
    Qcow2Check check;
    Qcow2Snapshot info;
    Qcow2Info told;
    qcow2_describe(b, &told);
    qcow2_check(b, false, &check);
    qcow2_vm_state_read(b, seed >> 4 & 4095, state, sizeof(state));
    unsigned count = qcow2_snapshot_count(b);
    if (count) {
        qcow2_snapshot_info(b, seed % count, &info);
        if (qcow2_snapshot_find(b, info.id) < 0) {
            abort();
        }
        if (qcow2_snapshot_view(b, seed % count) == 0) {
            read_about(b, &seed);
        }
    }
}

/* Other options for the image; who refuses says why. */
static void amend_about(uint32_t seed)
{
    static const unsigned versions[] = {0, 2, 3, 3}, widths[] = {0, 1, 16, 64};
    Err err = {""};
    bool done = true;
    Block *b = block_open(
        image, &(BlockOptions){.format = FUZZ_FORMAT, .no_backing = true, .for_repair = true},
        &err);
    if (b && qcow2_is(b)) {
        done = qcow2_amend(b,
                           &(Qcow2Amendment){.version = versions[seed & 3],
                                             .refcount_bits = widths[seed >> 2 & 3],
                                             .set_lazy_refcounts = seed & 16,
                                             .lazy_refcounts = seed & 32},
                           &err);
    } else if (b && strcmp(FUZZ_FORMAT, "vmdk") == 0) {
        done = vmdk_amend(b,
                          &(VmdkAmendment){.adapter = seed & 1 ? "lsilogic" : NULL,
                                           .hardware = seed & 2 ? 7 : 0,
                                           .set_zero_grains = seed & 4,
                                           .zero_grains = seed & 8},
                          &err);
    }
    if (!done && !err.text[0]) {
        abort();
    }
    block_close(b);
}

static void write_about(Block *b, uint32_t *seed)
{
    static uint8_t data[PIECE];
    uint64_t sectors = block_size(b) / BLOCK_SECTOR;
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t at = (i % 4 == 3 ? (uint64_t)noise(seed) << 24 | noise(seed) : noise(seed) % 512);
        at %= sectors;
        uint64_t count = 1 + noise(seed) % 24;
        count = count < sectors - at ? count : sectors - at;
        memset(data, (int)i, PIECE);
        switch (noise(seed) % 8) {
        case 0:
            block_discard(b, at * BLOCK_SECTOR, count * BLOCK_SECTOR);
            break;
        case 1:
            block_flush(b);
            break;
        case 2:
            if (block_pack_bytes(b) && block_pack_bytes(b) <= PIECE) {
                uint64_t unit = at * BLOCK_SECTOR / block_pack_bytes(b) * block_pack_bytes(b);
                uint64_t rest = block_size(b) - unit, room = block_pack_bytes(b);
                block_write_packed(b, unit, data, (size_t)(rest < room ? rest : room));
            }
            break;
        default:
            block_write(b, at * BLOCK_SECTOR, data, (size_t)count * BLOCK_SECTOR);
        }
    }
}

static void snapshots_about(Block *b, uint32_t seed)
{
    Qcow2Check check;
    Qcow2Snapshot info = {.name = "fuzz"};
    Qcow2Info told;
    uint8_t data[700] = {1};
    qcow2_describe(b, &told);
    qcow2_check(b, seed & 1, &check);
    qcow2_vm_state_write(b, seed >> 4 & 4095, data, sizeof(data));
    qcow2_snapshot_create(b, &info);
    if (qcow2_snapshot_count(b)) {
        qcow2_snapshot_apply(b, seed % qcow2_snapshot_count(b));
        qcow2_snapshot_delete(b, 0);
    }
    block_resize(b, (block_size(b) + (seed >> 3 & 0xffff) * BLOCK_SECTOR) & INT64_MAX);
    qcow2_set_backing(b, seed & 2 ? "base.raw" : NULL, "raw");
    qcow2_check(b, true, &check);
}

static uint32_t sum_of(const uint8_t *data, size_t size)
{
    uint32_t sum = 2166136261u;
    for (size_t i = 0; i < size; i++) {
        sum = (sum ^ data[i]) * 16777619u;
    }
    return sum;
}

static void must_be(const uint8_t *data, size_t size)
{
    static uint8_t now[INPUT_MAX + 1];
    FILE *file = fopen(image, "rb");
    size_t got = file ? fread(now, 1, sizeof(now), file) : 0;
    if (file) {
        fclose(file);
    }
    if (got != size || memcmp(now, data, size) != 0) {
        abort(); /* the image was only to be read */
    }
}

static Block *open_as(BlockOptions how)
{
    Err err = {""};
    Block *b = block_open(image, &how, &err);
    if (!b && !err.text[0]) {
        abort(); /* refused without a word */
    }
    if (b && (block_size(b) == 0 || block_size(b) % BLOCK_SECTOR)) {
        abort();
    }
    return b;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    static uint8_t data[INPUT_MAX];
    if (!folder[0]) {
        begin();
    }
    if (size == 0 || size > INPUT_MAX) {
        return 0;
    }
    memcpy(data, input, size);
    fuzz_mend(FUZZ_FORMAT, data, size);
    uint32_t seed = sum_of(data, size);
    put_file(image, data, size);
    bool guess = seed % 16 == 0;
    Block *b = open_as((BlockOptions){
        .format = guess ? NULL : FUZZ_FORMAT, .read_only = true, .for_repair = seed >> 4 & 1});
    if (b) {
        read_about(b, &seed);
        ask_about(b, seed);
        block_close(b);
    }
    must_be(data, size);
    if (seed % 8 == 3) {
        amend_about(seed >> 6);
        put_file(image, data, size);
    }
    b = open_as((BlockOptions){.format = FUZZ_FORMAT, .snapshot = seed % 32 == 0});
    if (b) {
        write_about(b, &seed);
        read_about(b, &seed);
        if (qcow2_is(b)) {
            snapshots_about(b, seed);
            read_about(b, &seed);
        }
        block_close(b);
    } else {
        must_be(data, size);
    }
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *seeds = getenv("FUZZ_SEEDS");
    (void)argc, (void)argv;
    if (seeds) {
        exit(fuzz_write_seeds(FUZZ_FORMAT, seeds) ? 0 : 1);
    }
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
