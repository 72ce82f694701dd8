/* qcow2 beside qemu-img: images made by either, compressed clusters, snapshots, machine state,
 * repair, resizing, and files that lie.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine/core/bytes.h"
#include "storage/qcow2.h"
#include "tests/disk/images.h"

#define SIZE (4u << 20)

static void fill(uint8_t *data, size_t length, uint32_t seed)
{
    for (size_t i = 0; i < length; i++) {
        seed = seed * 1664525 + 1013904223;
        data[i] = (uint8_t)(seed >> 24);
    }
}

static Block *open_image(const char *path, const BlockOptions *options)
{
    Err err = {""};
    Block *b = block_open(path, options, &err);
    if (!b) {
        fail_msg("%s", err.text);
    }
    return b;
}

static Block *fresh(char *path, size_t room, const Qcow2Options *options)
{
    Err err = {""};
    image_path(path, room);
    if (!qcow2_create(path, SIZE, options, &err)) {
        fail_msg("%s", err.text);
    }
    return open_image(path, NULL);
}

static void check_clean(Block *b)
{
    Qcow2Check check;
    assert_int_equal(qcow2_check(b, false, &check), 0);
    assert_int_equal(check.corruptions, 0);
    assert_int_equal(check.leaks, 0);
}

static void write_pattern(Block *b, uint64_t offset, size_t length, uint32_t seed)
{
    uint8_t *data = malloc(length);
    fill(data, length, seed);
    assert_int_equal(block_write(b, offset, data, length), 0);
    free(data);
}

static void check_pattern(Block *b, uint64_t offset, size_t length, uint32_t seed)
{
    uint8_t *data = malloc(length), *got = malloc(length);
    fill(data, length, seed);
    assert_int_equal(block_read(b, offset, got, length), 0);
    assert_memory_equal(data, got, length);
    free(data);
    free(got);
}

static void compressed_images_of_qemu_are_read(void **state)
{
    char raw[128], path[128];
    uint8_t *data = malloc(SIZE), *got = malloc(SIZE);
    (void)state;
    if (!image_have_qemu()) {
        skip();
    }
    image_path(raw, sizeof(raw));
    for (unsigned i = 0; i < SIZE; i++) { /* compressible, but not all alike */
        data[i] = (uint8_t)(i / 7 + i / 4096);
    }
    FILE *file = fopen(raw, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, SIZE, file), SIZE);
    assert_int_equal(fclose(file), 0);
    static const char *const kinds[] = {"compat=1.1", "compat=0.10,cluster_size=4k",
                                        "compression_type=zstd",
                                        "compression_type=zstd,cluster_size=2M"};
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        image_path(path, sizeof(path));
        image_command("qemu-img convert -c -O qcow2 -o %s %s %s", kinds[i], raw, path);
        Block *b = open_image(path, NULL);
        assert_int_equal(block_read(b, 0, got, SIZE), 0);
        assert_memory_equal(data, got, SIZE);
        write_pattern(b, 512, 3000 / 512 * 512, i); /* a compressed cluster is rewritten */
        check_pattern(b, 512, 3000 / 512 * 512, i);
        memcpy(got, data, SIZE);
        fill(got + 512, 3000 / 512 * 512, i);
        assert_int_equal(block_flush(b), 0);
        check_clean(b);
        block_close(b);
        image_check_with_qemu(path, "qcow2", got, SIZE);
        unlink(path);
    }
    unlink(raw);
    free(data);
    free(got);
}

static void snapshots_keep_and_bring_back(void **state)
{
    char path[128];
    (void)state;
    Block *b = fresh(path, sizeof(path), &(Qcow2Options){.cluster_bits = 12});
    write_pattern(b, 0, 100 * 512, 1);
    write_pattern(b, SIZE - 8192, 8192, 2);
    Qcow2Snapshot info = {.name = "first", .date_s = 1000, .vm_clock_ns = 77};
    uint8_t machine[10001], back[10001];
    fill(machine, sizeof(machine), 9);
    assert_int_equal(qcow2_vm_state_write(b, 0, machine, 5000), 0);
    assert_int_equal(qcow2_vm_state_write(b, 5000, machine + 5000, 5001), 0);
    info.vm_state_size = sizeof(machine);
    assert_int_equal(qcow2_snapshot_create(b, &info), 0);
    check_clean(b);
    write_pattern(b, 512, 50 * 512, 3);
    assert_int_equal(block_discard(b, SIZE - 8192, 8192), 0);
    strcpy(info.name, "second");
    info.vm_state_size = 0;
    assert_int_equal(qcow2_snapshot_create(b, &info), 0);
    write_pattern(b, 0, 4096, 4);
    check_clean(b);
    block_close(b);
    if (image_have_qemu()) {
        image_command("qemu-img check -q %s", path);
        image_command("test \"$(qemu-img snapshot -l %s | grep -c '.*00:00')\" = 2", path);
    }
    b = open_image(path, NULL);
    assert_int_equal(qcow2_snapshot_count(b), 2);
    assert_int_equal(qcow2_snapshot_find(b, "first"), 0);
    assert_int_equal(qcow2_snapshot_find(b, "2"), 1);
    assert_int_equal(qcow2_snapshot_find(b, "third"), -1);
    assert_int_equal(qcow2_snapshot_apply(b, 0), 0);
    check_clean(b);
    check_pattern(b, 0, 100 * 512, 1);
    check_pattern(b, SIZE - 8192, 8192, 2);
    assert_int_equal(qcow2_vm_state_read(b, 0, back, sizeof(back)), 0);
    assert_memory_equal(machine, back, sizeof(back));
    write_pattern(b, 0, 4096, 5);
    assert_int_equal(qcow2_snapshot_delete(b, 0), 0);
    check_clean(b);
    check_pattern(b, 0, 4096, 5);
    assert_int_equal(qcow2_snapshot_apply(b, 0), 0);
    check_pattern(b, 512, 50 * 512, 3);
    check_clean(b);
    assert_int_equal(qcow2_snapshot_delete(b, 0), 0);
    assert_int_equal(qcow2_snapshot_delete(b, 0), EINVAL);
    check_clean(b);
    assert_int_equal(block_flush(b), 0);
    block_close(b);
    if (image_have_qemu()) {
        image_command("qemu-img check -q %s", path);
    }
    unlink(path);
}

/* A cluster that was a table of the disk before a snapshot came back is a table again, for another
 * part of the disk: nothing of what it held may show. */
static void freed_tables_come_back_empty(void **state)
{
    char path[128];
    uint8_t zeros[4096] = {0}, got[4096];
    (void)state;
    Block *b = fresh(path, sizeof(path), &(Qcow2Options){.cluster_bits = 9});
    Qcow2Snapshot info = {.name = "empty"};
    assert_int_equal(qcow2_snapshot_create(b, &info), 0);
    for (unsigned i = 0; i < 32; i++) {
        write_pattern(b, i * 32768u, 32768, i); /* 32 tables */
    }
    assert_int_equal(qcow2_snapshot_apply(b, 0), 0);
    for (unsigned i = 0; i < 32; i++) {
        write_pattern(b, (2u << 20) + i * 32768u, 512, i);
        assert_int_equal(block_read(b, (2u << 20) + i * 32768u + 512, got, sizeof(got)), 0);
        assert_memory_equal(got, zeros, sizeof(got));
    }
    check_clean(b);
    block_close(b);
    unlink(path);
}

/* Counts of one or two bits cannot share clusters for long: refused, and nothing is lost by it. */
static void narrow_counts_bound_the_snapshots(void **state)
{
    char path[128];
    (void)state;
    for (unsigned bits = 1; bits <= 2; bits++) {
        Block *b =
            fresh(path, sizeof(path), &(Qcow2Options){.cluster_bits = 10, .refcount_bits = bits});
        write_pattern(b, 0, 300 * 512, 1);
        Qcow2Snapshot info = {.name = "x"};
        int error = 0;
        unsigned made = 0;
        while (!error && made < 10) {
            error = qcow2_snapshot_create(b, &info);
            made += !error;
        }
        assert_int_equal(error, EOVERFLOW);
        assert_int_equal(made, bits == 1 ? 0 : 2);
        check_clean(b);
        write_pattern(b, 1024, 100 * 512, 2);
        check_clean(b);
        check_pattern(b, 1024, 100 * 512, 2);
        block_close(b);
        if (image_have_qemu()) {
            image_command("qemu-img check -q %s", path);
        }
        unlink(path);
    }
}

static void snapshots_of_qemu_are_known(void **state)
{
    char path[128];
    (void)state;
    if (!image_have_qemu()) {
        skip();
    }
    Block *b = fresh(path, sizeof(path), NULL);
    write_pattern(b, 0, 65536, 1);
    block_close(b);
    image_command("qemu-img snapshot -c older %s", path);
    image_command("qemu-io -f qcow2 -c 'write -P 0x55 0 128k' %s >/dev/null", path);
    b = open_image(path, NULL);
    assert_int_equal(qcow2_snapshot_count(b), 1);
    write_pattern(b, 131072, 512, 8);
    assert_int_equal(qcow2_snapshot_apply(b, 0), 0);
    check_pattern(b, 0, 65536, 1);
    check_clean(b);
    block_close(b);
    image_command("qemu-img snapshot -d older %s && qemu-img check -q %s", path, path);
    unlink(path);
}

static void dirty_images_are_repaired_on_opening(void **state)
{
    char path[128];
    Qcow2Check check;
    (void)state;
    Block *b = fresh(path, sizeof(path), &(Qcow2Options){.lazy_refcounts = true});
    write_pattern(b, 0, 200000 / 512 * 512, 6);
    block_close(b);
    /* all counts gone, as after a crash with lazy counts: the block is the third cluster */
    static const uint8_t zeros[64] = {0}, dirty = 1;
    image_poke(path, 2 * 65536, zeros, sizeof(zeros));
    b = open_image(path, &(BlockOptions){.read_only = true});
    assert_int_equal(qcow2_check(b, false, &check), 0);
    assert_true(check.corruptions > 5);
    block_close(b);
    image_poke(path, 79, &dirty, 1);
    b = open_image(path, NULL);
    check_clean(b);
    check_pattern(b, 0, 200000 / 512 * 512, 6);
    write_pattern(b, 1 << 20, 65536, 7);
    check_pattern(b, 0, 200000 / 512 * 512, 6);
    check_clean(b);
    block_close(b);
    if (image_have_qemu()) {
        image_command("qemu-img check -q %s", path);
    }
    unlink(path);
}

/* A table of an image that was not closed ends behind the file's end: refused, and not a byte is
 * changed, nor the mark of bitmaps that fit. */
static void what_cannot_be_repaired_is_left_alone(void **state)
{
    static const uint8_t set = 1;
    static uint8_t before[8192], after[8192];
    (void)state;
    for (int counts = 0; counts < 2; counts++) {
        char path[128];
        Err err = {""};
        Block *b = fresh(path, sizeof(path), &(Qcow2Options){.cluster_bits = 9});
        write_pattern(b, 0, 512, 6);
        block_close(b);
        image_poke(path, 79, &set, 1); /* dirty */
        image_poke(path, 95, &set, 1); /* with bitmaps */
        FILE *file = fopen(path, "rb");
        size_t size = fread(before, 1, sizeof(before), file);
        fclose(file);
        uint64_t l2 = bytes_be64(before + bytes_be64(before + 40)) & INT64_MAX;
        uint8_t end[8] = {[6] = (uint8_t)(size >> 8), [7] = (uint8_t)size};
        if (counts) { /* the first block of counts is said to lie in the last, short cluster */
            assert_int_equal(size % 512, 0);
            image_poke(path, (long)bytes_be64(before + 48), end, sizeof(end));
        }
        size = counts ? size + 100 : l2 + 100;
        assert_int_equal(truncate(path, (off_t)size), 0);
        file = fopen(path, "rb");
        assert_int_equal(fread(before, 1, sizeof(before), file), size);
        fclose(file);
        assert_null(block_open(path, &(BlockOptions){.format = "qcow2"}, &err));
        assert_non_null(strstr(err.text, "cannot be made ready"));
        file = fopen(path, "rb");
        assert_int_equal(fread(after, 1, sizeof(after), file), size);
        fclose(file);
        assert_memory_equal(before, after, size);
        unlink(path);
    }
}

static void resizing_keeps_and_clears(void **state)
{
    char path[128];
    uint8_t zeros[1024] = {0}, got[1024];
    (void)state;
    Block *b = fresh(path, sizeof(path), &(Qcow2Options){.cluster_bits = 9});
    write_pattern(b, 0, SIZE, 1);
    assert_int_equal(qcow2_resize(b, 100 * 512), 0);
    assert_int_equal(block_size(b), 100 * 512);
    check_clean(b);
    assert_int_equal(qcow2_resize(b, 64u << 20), 0);
    assert_int_equal(block_read(b, 100 * 512, got, 1024), 0);
    assert_memory_equal(got, zeros, 1024);
    write_pattern(b, (64u << 20) - 512, 512, 3);
    check_clean(b);
    block_close(b);
    b = open_image(path, NULL);
    assert_int_equal(block_size(b), 64u << 20);
    check_pattern(b, (64u << 20) - 512, 512, 3);
    block_close(b);
    unlink(path);
}

/* Fails the call numbered `fail_at`, counting from 1; 0: none. */
typedef struct Faults {
    unsigned calls, fail_at;
} Faults;

static int check_fault(void *self, const char *call)
{
    Faults *faults = self;
    (void)call;
    return ++faults->calls == faults->fail_at ? EIO : 0;
}

enum { SHORT = 700 * 512, LONG = 3 << 20 };

/* The disk is as it was, or longer and zeros there. */
static void look_grown(const char *path, const uint8_t *disk, bool grown)
{
    Qcow2Check check;
    Block *b = open_image(path, NULL);
    uint64_t size = block_size(b);
    uint8_t *got = malloc((size_t)size);
    assert_true(size == LONG || (!grown && size == SHORT));
    assert_int_equal(block_read(b, 0, got, (size_t)size), 0);
    assert_memory_equal(got, disk, (size_t)size);
    assert_int_equal(qcow2_check(b, false, &check), 0);
    assert_int_equal(check.corruptions, 0);
    block_close(b);
    free(got);
}

/* Over one that is longer, and has other data where the disk is longer then. */
static void growing_fails_whole(void **state)
{
    char path[128], base[160];
    uint8_t *disk = calloc(1, LONG);
    (void)state;
    for (unsigned version = 2; version <= 3; version++) {
        unsigned calls = UINT32_MAX;
        for (unsigned fail_at = 0; fail_at <= calls; fail_at++) {
            Err err = {""};
            Faults faults = {0, 0};
            DiskFaults hook = {check_fault, &faults};
            image_path(path, sizeof(path));
            snprintf(base, sizeof(base), "%s.base", path);
            assert_true(qcow2_create(base, LONG - 65536, NULL, &err));
            Block *b = open_image(base, NULL);
            write_pattern(b, 0, LONG - 65536, 5);
            block_close(b);
            Qcow2Options options = {.version = version,
                                    .cluster_bits = 14,
                                    .backing = strrchr(base, '/') + 1,
                                    .backing_format = "qcow2"};
            assert_true(qcow2_create(path, SHORT, &options, &err));
            b = open_image(path, &(BlockOptions){.faults = &hook});
            write_pattern(b, SHORT - 4096, 4096, 6);
            memset(disk, 0, LONG);
            fill(disk, SHORT, 5);
            fill(disk + SHORT - 4096, 4096, 6);
            assert_int_equal(block_flush(b), 0);
            faults = (Faults){0, fail_at};
            int error = qcow2_resize(b, LONG);
            calls = fail_at ? calls : faults.calls;
            assert_true(!error || fail_at);
            faults.fail_at = 0;
            block_close(b);
            look_grown(path, disk, !error);
            b = open_image(path, NULL);
            assert_int_equal(qcow2_resize(b, LONG), 0);
            block_close(b);
            look_grown(path, disk, true);
            unlink(path);
            unlink(base);
        }
        assert_true(calls > 5);
    }
    free(disk);
}

static void check_refused(const char *path, const BlockOptions *options, const char *part)
{
    Err err = {""};
    assert_null(block_open(path, options, &err));
    if (!strstr(err.text, path) || !strstr(err.text, part)) {
        fail_msg("'%s' does not speak of %s and '%s'", err.text, path, part);
    }
}

static void backing_files_stay_in_their_folder(void **state)
{
    char path[128], loop[128];
    Err err = {""};
    (void)state;
    image_path(path, sizeof(path));
    assert_true(qcow2_create(
        path, SIZE, &(Qcow2Options){.backing = "/etc/hostname", .backing_format = "raw"}, &err));
    check_refused(path, NULL, "outside the image's folder");
    unlink(path);
    assert_true(qcow2_create(path, SIZE, &(Qcow2Options){.backing = "nbd:localhost"}, &err));
    check_refused(path, NULL, "is no file");
    unlink(path);
    image_path(loop, sizeof(loop)); /* two images that stand on each other */
    assert_true(qcow2_create(path, SIZE, &(Qcow2Options){.backing = strrchr(loop, '/') + 1}, &err));
    assert_true(qcow2_create(loop, SIZE, &(Qcow2Options){.backing = strrchr(path, '/') + 1}, &err));
    assert_null(block_open(path, &(BlockOptions){.read_only = true}, &err));
    assert_non_null(strstr(err.text, "circle"));
    err.text[0] = '\0';
    assert_null(block_open(path, NULL, &err)); /* written and read at once: the lock tells */
    unlink(path);
    unlink(loop);
}

/* Every byte of header and tables wrong in turn: refused with a text, or opened and used without
 * harm. */
static void lying_headers_do_no_harm(void **state)
{
    char path[128];
    uint8_t *image = malloc(1 << 20), got[4096] = {0};
    uint32_t seed = 3;
    unsigned refused = 0;
    (void)state;
    Block *b = fresh(path, sizeof(path), &(Qcow2Options){.cluster_bits = 9});
    write_pattern(b, 0, 65536, 1);
    Qcow2Snapshot info = {.name = "one"};
    assert_int_equal(qcow2_snapshot_create(b, &info), 0);
    write_pattern(b, 1024, 8192, 2);
    block_close(b);
    FILE *file = fopen(path, "rb");
    size_t size = fread(image, 1, 1 << 20, file);
    fclose(file);
    unlink(path);
    for (unsigned i = 0; i < (getenv("VITRINE_LONG") ? 20000u : 1200u); i++) {
        seed = seed * 1664525 + 1013904223;
        size_t at = i < 112 ? i : (seed >> 8) % size;
        static const uint8_t bad[] = {0xff, 0x00, 0x80, 0x01};
        uint8_t kept[8];
        size_t length = 1 + (seed >> 28) % 8;
        length = length < size - at ? length : size - at;
        memcpy(kept, image + at, length);
        memset(image + at, bad[seed >> 26 & 3], length);
        file = fopen(path, "wb");
        fwrite(image, 1, size - (i % 10 == 9 ? size / 3 : 0), file);
        fclose(file);
        Err err = {""};
        b = block_open(path, &(BlockOptions){.format = "qcow2"}, &err);
        if (b) {
            Qcow2Check check;
            uint64_t end = block_size(b) < 65536 ? block_size(b) : 65536;
            for (uint64_t offset = 0; offset + sizeof(got) <= end; offset += sizeof(got)) {
                block_read(b, offset, got, sizeof(got));
                block_write(b, offset, got, 512);
            }
            qcow2_check(b, i & 1, &check);
            if (qcow2_snapshot_count(b)) {
                qcow2_snapshot_apply(b, 0);
                qcow2_snapshot_delete(b, 0);
            }
            block_close(b);
        } else {
            refused++;
            assert_non_null(strstr(err.text, path));
        }
        unlink(path);
        memcpy(image + at, kept, length);
    }
    assert_true(refused > 30);
    free(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compressed_images_of_qemu_are_read),
        cmocka_unit_test(snapshots_keep_and_bring_back),
        cmocka_unit_test(freed_tables_come_back_empty),
        cmocka_unit_test(narrow_counts_bound_the_snapshots),
        cmocka_unit_test(snapshots_of_qemu_are_known),
        cmocka_unit_test(dirty_images_are_repaired_on_opening),
        cmocka_unit_test(what_cannot_be_repaired_is_left_alone),
        cmocka_unit_test(resizing_keeps_and_clears),
        cmocka_unit_test(growing_fails_whole),
        cmocka_unit_test(backing_files_stay_in_their_folder),
        cmocka_unit_test(lying_headers_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
