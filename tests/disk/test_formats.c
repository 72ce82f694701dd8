/* VHD, VDI and VMDK: images of qemu-img in every subformat are read and recognised by content;
 * damaged ones do no harm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/block.h"
#include "storage/block_create.h"
#include "tests/disk/images.h"

#define SIZE (3u << 20)

static uint8_t content[SIZE];

/* A raw file with data in some places; the caller unlinks it. */
static void make_source(char *path, size_t room)
{
    uint32_t seed = 5;
    for (unsigned i = 0; i < SIZE; i++) {
        seed = seed * 1664525 + 1013904223;
        content[i] = i / 100000 % 3 == 1 ? 0 : (uint8_t)(seed >> 28);
    }
    image_path(path, room);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, SIZE, file), SIZE);
    fclose(file);
}

static const struct {
    const char *qemu, *options, *name;
} kinds[] = {
    {"vpc", "force_size=on", "vhd"},
    {"vpc", "force_size=on,subformat=fixed", "vhd"},
    {"vdi", "static=off", "vdi"},
    {"vdi", "static=on", "vdi"},
    {"vmdk", "subformat=monolithicSparse", "vmdk"},
    {"vmdk", "subformat=monolithicFlat", "vmdk"},
    {"vmdk", "subformat=twoGbMaxExtentSparse", "vmdk"},
    {"vmdk", "subformat=twoGbMaxExtentFlat", "vmdk"},
    {"vmdk", "subformat=streamOptimized", "vmdk"},
    {"vmdk", "zeroed_grain=on", "vmdk"},
};

static void convert(const char *source, char *folder, char *path, size_t room, unsigned kind)
{
    image_path(folder, 128);
    snprintf(path, room, "%s/disk.img", folder);
    image_command("mkdir %s && qemu-img convert -f raw -O %s -o %s %s %s", folder, kinds[kind].qemu,
                  kinds[kind].options, source, path);
}

static void images_of_qemu_are_read(void **state)
{
    char source[128], folder[128], path[160];
    uint8_t *got = malloc(SIZE);
    (void)state;
    if (!image_have_qemu()) {
        skip();
    }
    make_source(source, sizeof(source));
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        Err err = {""};
        convert(source, folder, path, sizeof(path), i);
        Block *b = block_open(path, &(BlockOptions){.read_only = true}, &err);
        if (!b) {
            fail_msg("%s: %s", kinds[i].options, err.text);
        }
        assert_string_equal(block_format_name(b), kinds[i].name);
        assert_int_equal(block_size(b), SIZE);
        assert_int_equal(block_read(b, 0, got, SIZE), 0);
        assert_memory_equal(got, content, SIZE);
        assert_int_equal(block_read(b, SIZE - 512, got, 512), 0);
        assert_memory_equal(got, content + SIZE - 512, 512);
        BlockExtent extent;
        for (uint64_t at = 0; at < SIZE; at += extent.length) {
            assert_int_equal(block_map(b, at, &extent), 0);
            assert_true(extent.length > 0);
        }
        block_close(b);
        image_command("rm -r %s", folder);
    }
    unlink(source);
    free(got);
}

static void stream_images_are_not_written(void **state)
{
    char source[128], folder[128], path[160];
    Err err = {""};
    uint8_t data[512] = {7}, got[512];
    (void)state;
    if (!image_have_qemu()) {
        skip();
    }
    make_source(source, sizeof(source));
    convert(source, folder, path, sizeof(path), 8);
    assert_null(block_open(path, NULL, &err));
    assert_non_null(strstr(err.text, "snapshot=on"));
    Block *b = block_open(path, &(BlockOptions){.snapshot = true}, &err);
    assert_non_null(b);
    assert_int_equal(block_write(b, 512, data, 512), 0);
    assert_int_equal(block_read(b, 512, got, 512), 0);
    assert_memory_equal(data, got, 512);
    block_close(b);
    image_command("rm -r %s %s", folder, source);
}

/* Bytes of header and tables wrong in turn: refused with a text, or opened and used without harm.
 */
static void damaged_images_do_no_harm(void **state)
{
    char source[128], folder[128], path[160];
    uint8_t *image = malloc(2 * SIZE), got[4096] = {0};
    uint32_t seed = 17;
    unsigned refused = 0;
    (void)state;
    if (!image_have_qemu()) {
        skip();
    }
    make_source(source, sizeof(source));
    for (unsigned kind = 0; kind < 5; kind++) {
        convert(source, folder, path, sizeof(path), kind);
        FILE *file = fopen(path, "rb");
        size_t size = fread(image, 1, 2 * SIZE, file);
        fclose(file);
        for (unsigned i = 0; i < (getenv("VITRINE_LONG") ? 3000u : 120u); i++) {
            static const uint8_t bad[] = {0xff, 0x00, 0x80, 0x01};
            uint8_t kept[8];
            seed = seed * 1664525 + 1013904223;
            size_t from = i % 3 == 2 && size > 2048 ? size - 2048 : 0;
            size_t at = from + (seed >> 8) % 2048, length = 1 + (seed >> 28) % 8;
            length = length < size - at ? length : size - at;
            memcpy(kept, image + at, length);
            memset(image + at, bad[seed >> 26 & 3], length);
            file = fopen(path, "r+b");
            fwrite(image, 1, size, file);
            fflush(file);
            if (i % 10 == 9) {
                assert_int_equal(ftruncate(fileno(file), (off_t)(size / 3)), 0);
            }
            fclose(file);
            Err err = {""};
            Block *b = block_open(path, &(BlockOptions){.format = kinds[kind].name}, &err);
            if (b) {
                uint64_t end = block_size(b);
                for (uint64_t offset = 0; offset + sizeof(got) <= end && offset < SIZE;
                     offset += 65536) {
                    block_read(b, offset, got, sizeof(got));
                    block_write(b, offset, got, 512);
                }
                block_close(b);
            } else {
                refused++;
                assert_non_null(strstr(err.text, path));
            }
            memcpy(image + at, kept, length);
        }
        image_command("rm -r %s", folder);
    }
    assert_true(refused > 20);
    unlink(source);
    free(image);
}

typedef struct Calls {
    const char *name[16];
    unsigned count;
} Calls;

static int note_call(void *self, const char *call)
{
    Calls *c = self;
    if (c->count < 16) {
        c->name[c->count++] = call;
    }
    return 0;
}

/* A power cut after the first write of data must not leave a content ID that children trust: it is
 * on the disk before. */
static void content_ids_change_before_the_data(void **state)
{
    static const VmdkKind these[] = {VMDK_MONOLITHIC_SPARSE, VMDK_MONOLITHIC_FLAT};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        char path[128];
        uint8_t data[512] = {1};
        Err err = {""};
        Calls calls = {.count = 0};
        DiskFaults hook = {note_call, &calls};
        image_path(path, sizeof(path));
        assert_true(vmdk_create(path, SIZE, &(VmdkOptions){.kind = these[i]}, &err));
        Block *b = block_open(path, &(BlockOptions){.faults = &hook}, &err);
        assert_non_null(b);
        calls.count = 0;
        assert_int_equal(block_write(b, 0, data, sizeof(data)), 0);
        assert_true(calls.count > 2);
        assert_string_equal(calls.name[0], "write");
        assert_string_equal(calls.name[1], "sync");
        calls.count = 0;
        assert_int_equal(block_write(b, 0, data, sizeof(data)), 0);
        assert_int_equal(calls.count, 1); /* once is enough */
        block_close(b);
        vmdk_remove(path, SIZE, these[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_of_qemu_are_read),
        cmocka_unit_test(stream_images_are_not_written),
        cmocka_unit_test(damaged_images_do_no_harm),
        cmocka_unit_test(content_ids_change_before_the_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
