/* Images that lie: sizes beyond all bounds, tables past the end, clusters that overlap, bombs,
 * loops. Each is refused with its name and a remedy, or read without harm; a refused file is
 * untouched, and nothing takes long or much memory. What make fuzz has found is here, too.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "machine/core/bytes.h"
#include "storage/block_create.h"
#include "storage/qcow2.h"
#include "tests/disk/images.h"

#define SIZE (4u << 20)

static char path[128];

static void must(bool good, const Err *err)
{
    if (!good) {
        fail_msg("%s", err->text);
    }
}

static void poke(uint64_t at, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static void poke_be64(uint64_t at, uint64_t value)
{
    uint8_t bytes[8];
    bytes_put_be64(bytes, value);
    poke(at, bytes, 8);
}

static void poke_be32(uint64_t at, uint32_t value)
{
    uint8_t bytes[4];
    bytes_put_be32(bytes, value);
    poke(at, bytes, 4);
}

static void poke_le32(uint64_t at, uint32_t value)
{
    uint8_t bytes[4];
    bytes_put_le32(bytes, value);
    poke(at, bytes, 4);
}

static void poke_le64(uint64_t at, uint64_t value)
{
    poke_le32(at, (uint32_t)value);
    poke_le32(at + 4, (uint32_t)(value >> 32));
}

static uint64_t peek_be64(uint64_t at)
{
    uint8_t bytes[8];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, (long)at, SEEK_SET);
    assert_int_equal(fread(bytes, 1, 8, file), 8);
    fclose(file);
    return bytes_be64(bytes);
}

static uint32_t file_sum(void)
{
    static uint8_t piece[65536];
    uLong sum = crc32(0, NULL, 0);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (size_t got; (got = fread(piece, 1, sizeof(piece), file)) != 0;) {
        sum = crc32(sum, piece, (uInt)got);
    }
    fclose(file);
    return (uint32_t)sum;
}

/* Refused for writing; the text names the file and says this. */
static void refused(const char *part)
{
    Err err = {""};
    uint32_t before = file_sum();
    Block *b = block_open(path, NULL, &err);
    assert_null(b);
    if (!strstr(err.text, path) || !strstr(err.text, part)) {
        fail_msg("'%s' does not speak of '%s'", err.text, part);
    }
    assert_int_equal(file_sum(), before);
    unlink(path);
}

static Block *open_for(bool write)
{
    Err err = {""};
    Block *b = block_open(path, &(BlockOptions){.read_only = !write}, &err);
    must(b != NULL, &err);
    return b;
}

static void write_all(Block *b)
{
    uint8_t *data = malloc(SIZE);
    memset(data, 0x5a, SIZE);
    assert_int_equal(block_write(b, 0, data, SIZE), 0);
    assert_int_equal(block_flush(b), 0);
    free(data);
}

/* ---- qcow2 ---- */

static void make_qcow2(const Qcow2Options *options, bool filled)
{
    Err err = {""};
    image_path(path, sizeof(path));
    must(qcow2_create(path, SIZE, options, &err), &err);
    if (filled) {
        Block *b = open_for(true);
        write_all(b);
        block_close(b);
    }
}

static void qcow2_sizes_beyond_all_bounds(void **state)
{
    static const uint64_t sizes[] = {0,          511,      UINT64_C(1) << 62, UINT64_C(1) << 63,
                                     UINT64_MAX, INT64_MAX};
    (void)state;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        make_qcow2(NULL, false);
        poke_be64(24, sizes[i]);
        refused("damaged");
    }
}

static void qcow2_tables_past_the_end(void **state)
{
    (void)state;
    make_qcow2(NULL, false);
    poke_be64(40, UINT64_C(1) << 40); /* L1 */
    refused("L1 table lies outside");
    make_qcow2(NULL, false);
    poke_be32(36, UINT32_MAX);
    refused("L1 table lies outside");
    make_qcow2(NULL, false);
    poke_be64(48, UINT64_MAX & ~UINT64_C(65535)); /* counts */
    refused("refcount table lies outside");
    make_qcow2(NULL, false);
    poke_be32(56, UINT32_MAX);
    refused("refcount table lies outside");
    make_qcow2(NULL, false);
    poke_be32(60, UINT32_MAX); /* snapshots */
    poke_be64(64, 65536);
    refused("snapshot");
    make_qcow2(NULL, false);
    poke_be32(20, 30); /* clusters of a gigabyte */
    refused("cluster size");
}

static void qcow2_entries_past_the_end_are_errors(void **state)
{
    uint8_t data[512] = {1};
    (void)state;
    make_qcow2(NULL, true);
    uint64_t l1 = peek_be64(40), l2 = peek_be64(l1) & ~(UINT64_C(1) << 63);
    poke_be64(l2, UINT64_C(1) << 63 | UINT64_C(1) << 50);
    poke_be64(l2 + 8, UINT64_C(1) << 62 | UINT64_C(1) << 53);
    Block *b = open_for(true);
    assert_int_not_equal(block_read(b, 0, data, 512), 0);
    assert_int_not_equal(block_read(b, 65536, data, 512), 0);
    Qcow2Check check;
    assert_int_equal(qcow2_check(b, false, &check), 0);
    assert_true(check.corruptions >= 2);
    block_close(b);
    unlink(path);
}

static void qcow2_overlapping_clusters_are_found(void **state)
{
    uint8_t data[512] = {1};
    (void)state;
    make_qcow2(NULL, true);
    uint64_t l1 = peek_be64(40), l2 = peek_be64(l1) & ~(UINT64_C(1) << 63);
    poke_be64(l2, peek_be64(l2 + 8));           /* two parts of the disk in one cluster */
    poke_be64(l2 + 16, UINT64_C(1) << 63);      /* one in the header's: offset 0 is none */
    poke_be64(l2 + 24, UINT64_C(1) << 63 | l2); /* one in the table itself */
    poke_be64(l2 + 32, UINT64_C(1) << 63 | l1);
    Block *b = open_for(true);
    assert_int_equal(block_write(b, 3 * 65536, data, 512), EIO); /* no table is written over */
    assert_int_equal(block_write(b, 4 * 65536, data, 512), EIO);
    Qcow2Check check;
    assert_int_equal(qcow2_check(b, false, &check), 0);
    assert_true(check.corruptions >= 3);
    block_close(b);
    unlink(path);
}

/* A compressed cluster that would unpack to a hundred megabytes gives one cluster, or an error. */
static void qcow2_bombs_do_not_go_off(void **state)
{
    static uint8_t packed[65536 * 2], zeros[1 << 20], got[65536];
    (void)state;
    z_stream stream = {.next_out = packed + 512, .avail_out = sizeof(packed) - 512};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY), Z_OK);
    for (unsigned i = 0; i < 100; i++) {
        stream.next_in = zeros;
        stream.avail_in = sizeof(zeros);
        assert_int_equal(deflate(&stream, Z_NO_FLUSH), Z_OK);
    }
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    assert_true(stream.total_out > 65536);
    make_qcow2(NULL, true);
    uint64_t l1 = peek_be64(40), l2 = peek_be64(l1) & ~(UINT64_C(1) << 63), at = 12 * 65536;
    poke(at, packed + 512, 65536 * 2 - 512);
    poke_be64(l2, UINT64_C(1) << 62 | UINT64_C(255) << 54 | at);
    Block *b = open_for(true);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    for (unsigned i = 0; i < 20; i++) {
        int error = block_read(b, 0, got, sizeof(got));
        assert_true(error == 0 || error == EIO);
    }
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 16384); /* KiB */
    block_close(b);
    unlink(path);
}

/* A file of 100 MB whose only table of counts ends at 4 MB, with data far behind it: the table has
 * to move to where it counts itself, which it did not reach. */
static void qcow2_counts_far_away_are_made(void **state)
{
    Qcow2Check check;
    (void)state;
    make_qcow2(&(Qcow2Options){.cluster_bits = 9, .refcount_bits = 64}, false);
    uint64_t l1 = peek_be64(40);
    assert_int_equal(truncate(path, 100 << 20), 0);
    poke_be64(l1, UINT64_C(1) << 63 | 50 << 20);
    Block *b = open_for(true);
    assert_int_equal(qcow2_check(b, true, &check), 0);
    assert_int_equal(qcow2_check(b, false, &check), 0);
    assert_int_equal(check.corruptions, 0);
    block_close(b);
    unlink(path);
}

/* ---- VDI ---- */

static void make_vdi(bool filled)
{
    Err err = {""};
    image_path(path, sizeof(path));
    must(vdi_create(path, SIZE, NULL, &err), &err);
    if (filled) {
        Block *b = open_for(true);
        write_all(b);
        block_close(b);
    }
}

static void vdi_that_lies(void **state)
{
    (void)state;
    make_vdi(false);
    poke_le64(0x170, UINT64_C(1) << 63);
    refused("damaged");
    make_vdi(false);
    poke_le64(0x170, 0);
    refused("damaged");
    make_vdi(false);
    poke_le32(0x180, UINT32_MAX); /* blocks */
    refused("damaged");
    make_vdi(false);
    poke_le32(0x154, UINT32_MAX); /* map */
    refused("damaged");
    make_vdi(false);
    poke_le32(0x178, 3 << 20); /* block size */
    refused("damaged");
    make_vdi(true);
    poke_le32(512, 77); /* a block behind all */
    refused("outside the file");
    make_vdi(true);
    poke_le32(512, 1);          /* the second block twice */
    Block *b = open_for(false); /* what is left can still be read */
    block_close(b);
    refused("vitrine image convert");
}

/* ---- VHD ---- */

static void sum_vhd(uint64_t at, size_t size, size_t sum_at)
{
    uint8_t bytes[1024];
    uint32_t sum = 0;
    FILE *file = fopen(path, "rb");
    fseek(file, (long)at, SEEK_SET);
    assert_int_equal(fread(bytes, 1, size, file), size);
    fclose(file);
    memset(bytes + sum_at, 0, 4);
    for (size_t i = 0; i < size; i++) {
        sum += bytes[i];
    }
    poke_be32(at + sum_at, ~sum);
}

static void make_vhd(bool filled)
{
    Err err = {""};
    image_path(path, sizeof(path));
    must(vhd_create(path, SIZE, NULL, &err), &err);
    if (filled) {
        Block *b = open_for(true);
        write_all(b);
        block_close(b);
    }
}

static void mend_vhd(void)
{
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    sum_vhd(512, 1024, 36);
    sum_vhd((uint64_t)s.st_size - 512, 512, 64);
}

/* No more than 8 sectors a block have a map of a sector, too, and it is not in the data's place. */
static void vhd_of_small_blocks(void **state)
{
    (void)state;
    struct stat s;
    uint8_t data[8192], back[8192];
    make_vhd(false);
    stat(path, &s);
    poke_be64((uint64_t)s.st_size - 512 + 48, sizeof(data));
    poke_be32(512 + 28, sizeof(data) / 2048); /* blocks */
    poke_be32(512 + 32, 2048);                /* block size */
    mend_vhd();
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7 + i / 512);
    }
    Block *b = open_for(true);
    assert_int_equal(block_size(b), sizeof(data));
    assert_int_equal(block_write(b, 0, data, sizeof(data)), 0);
    block_close(b);
    b = open_for(false);
    assert_int_equal(block_read(b, 0, back, sizeof(back)), 0);
    assert_memory_equal(back, data, sizeof(data));
    block_close(b);
}

static void vhd_that_lies(void **state)
{
    (void)state;
    struct stat s;
    make_vhd(false);
    stat(path, &s);
    poke_be64((uint64_t)s.st_size - 512 + 48, UINT64_C(1) << 63);
    mend_vhd();
    refused("disk size");
    make_vhd(false);
    poke_be64(512 + 16, UINT64_C(1) << 50); /* table */
    mend_vhd();
    refused("block table lies outside");
    make_vhd(false);
    poke_be32(512 + 28, UINT32_MAX); /* blocks */
    mend_vhd();
    refused("block table lies outside");
    make_vhd(false);
    poke_be32(512 + 32, 0); /* block size */
    mend_vhd();
    refused("block size");
    make_vhd(true);
    poke_be32(1536, (uint32_t)(peek_be64(1536) & 0xffffffff)); /* both blocks in one place */
    Block *b = open_for(false);
    block_close(b);
    refused("vitrine image convert");
    make_vhd(true);
    poke_be32(1536, 2); /* a block over the table itself */
    refused("vitrine image convert");
}

/* ---- VMDK ---- */

static void make_vmdk(bool filled)
{
    Err err = {""};
    image_path(path, sizeof(path));
    must(vmdk_create(path, SIZE, NULL, &err), &err);
    if (filled) {
        Block *b = open_for(true);
        write_all(b);
        block_close(b);
    }
}

static void vmdk_that_lies(void **state)
{
    uint8_t data[512] = {1};
    (void)state;
    make_vmdk(false);
    poke_le64(12, UINT64_C(1) << 63); /* capacity */
    refused("out of range");
    make_vmdk(false);
    poke_le64(12, UINT64_C(1) << 33);
    refused("more than 2 TiB");
    make_vmdk(false);
    poke_le64(20, 3); /* grain */
    refused("out of range");
    make_vmdk(false);
    poke_le64(56, UINT64_C(1) << 40); /* directory */
    refused("directory lies outside");
    make_vmdk(false);
    poke_le32(44, 0); /* entries of a table */
    refused("out of range");
    make_vmdk(true);
    poke_le32(26 * 512 + 512, 0xfffffff0); /* the first grain, in the second table */
    Block *b = open_for(true);
    assert_int_not_equal(block_read(b, 0, data, 512), 0);
    assert_int_not_equal(block_write(b, 0, data, 512), 0);
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    assert_true(s.st_size < 8 << 20);
    block_close(b);
    unlink(path);
    static const char text[] =
        "# Disk DescriptorFile\nversion=1\nRW 18446744073709551615 FLAT \"x\" 0\n";
    image_path(path, sizeof(path));
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    refused("no extent");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qcow2_sizes_beyond_all_bounds),
        cmocka_unit_test(qcow2_tables_past_the_end),
        cmocka_unit_test(qcow2_entries_past_the_end_are_errors),
        cmocka_unit_test(qcow2_overlapping_clusters_are_found),
        cmocka_unit_test(qcow2_bombs_do_not_go_off),
        cmocka_unit_test(qcow2_counts_far_away_are_made),
        cmocka_unit_test(vdi_that_lies),
        cmocka_unit_test(vhd_of_small_blocks),
        cmocka_unit_test(vhd_that_lies),
        cmocka_unit_test(vmdk_that_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
