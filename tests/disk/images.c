/* The image formats under test: how to make one, and how to have qemu-img judge it. */
#include "tests/disk/images.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/qcow2.h"

void image_path(char *path, size_t room)
{
    static unsigned next;
    /* in memory where that can be: the tests sync a lot, and look at the bytes, not at the disk */
    const char *folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, room, "%s/vitrine-%ld-%u.img", folder, (long)getpid(), next++);
}

void image_command(const char *format, ...)
{
    char command[1024], output[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    strncat(command, " 2>&1", sizeof(command) - strlen(command) - 1);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t size = fread(output, 1, sizeof(output) - 1, pipe);
    output[size] = '\0';
    if (pclose(pipe) != 0) {
        fail_msg("%s: %s", command, output);
    }
}

bool image_have_qemu(void)
{
    return system("command -v qemu-img >/dev/null 2>&1") == 0;
}

void image_check_with_qemu(const char *path, const char *format, const uint8_t *model,
                           uint64_t size)
{
    char raw[128];
    if (!image_have_qemu()) {
        return;
    }
    image_path(raw, sizeof(raw));
    FILE *file = fopen(raw, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(model, 1, (size_t)size, file), size);
    fclose(file);
    const char *name = strcmp(format, "vhd") == 0 ? "vpc" : format;
    if (strcmp(format, "raw") != 0 && strcmp(format, "vhd") != 0) {
        image_command("qemu-img check -q -f %s %s", name, path);
    }
    image_command("qemu-img compare -q -f %s -F raw %s %s", name, path, raw);
    unlink(raw);
}

static void create_raw(const char *path, uint64_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (off_t)size), 0);
    fclose(file);
}

static void make_qcow2(const char *path, uint64_t size, const Qcow2Options *options)
{
    Err err = {""};
    if (!qcow2_create(path, size, options, &err)) {
        fail_msg("%s", err.text);
    }
}

static void create_qcow2(const char *path, uint64_t size)
{
    make_qcow2(path, size, NULL);
}

/* The oldest kind, and clusters so small that every table has to grow. */
static void create_qcow2_v2_small(const char *path, uint64_t size)
{
    make_qcow2(path, size, &(Qcow2Options){.version = 2, .cluster_bits = 9});
}

static void create_qcow2_one_bit(const char *path, uint64_t size)
{
    make_qcow2(path, size,
               &(Qcow2Options){.cluster_bits = 12, .refcount_bits = 1, .lazy_refcounts = true});
}

static void create_qcow2_wide(const char *path, uint64_t size)
{
    make_qcow2(path, size, &(Qcow2Options){.cluster_bits = 10, .refcount_bits = 64, .zstd = true});
}

/* Over an empty qcow2 of QEMU's that is half as large. */
static void create_qcow2_backed(const char *path, uint64_t size)
{
    char base[160];
    snprintf(base, sizeof(base), "%s.base", path);
    if (image_have_qemu()) {
        image_command("qemu-img create -q -f qcow2 %s %llu", base, (unsigned long long)size / 2);
    } else {
        make_qcow2(base, size / 2, NULL);
    }
    const char *name = strrchr(base, '/') + 1;
    make_qcow2(path, size, &(Qcow2Options){.backing = name, .backing_format = "qcow2"});
}

/* Formats that only qemu-img makes. */
static void create_vhd(const char *path, uint64_t size)
{
    image_command("qemu-img create -q -f vpc -o force_size=on %s %llu", path,
                  (unsigned long long)size);
}

static void create_vhd_fixed(const char *path, uint64_t size)
{
    image_command("qemu-img create -q -f vpc -o force_size=on,subformat=fixed %s %llu", path,
                  (unsigned long long)size);
}

static void create_vdi(const char *path, uint64_t size)
{
    image_command("qemu-img create -q -f vdi %s %llu", path, (unsigned long long)size);
}

static void create_vmdk(const char *path, uint64_t size)
{
    image_command("qemu-img create -q -f vmdk %s %llu", path, (unsigned long long)size);
}

static void create_vmdk_flat(const char *path, uint64_t size)
{
    image_command("qemu-img create -q -f vmdk -o subformat=monolithicFlat %s %llu", path,
                  (unsigned long long)size);
}

/* Over an empty one. */
static void create_vmdk_backed(const char *path, uint64_t size)
{
    image_command("qemu-img create -q -f vmdk %s.base %llu && cd \"$(dirname %s)\" && qemu-img "
                  "create -q -f vmdk -b \"$(basename %s)\".base -F vmdk %s %llu",
                  path, (unsigned long long)size, path, path, path, (unsigned long long)size);
}

const ImageKind image_kinds[] = {
    {"raw", "raw", false, true, true, create_raw, false},
    {"overlay", "raw", true, true, false, create_raw, false},
    {"qcow2", "qcow2", false, false, true, create_qcow2, false},
    {"qcow2 version 2, 512-byte clusters", "qcow2", false, false, true, create_qcow2_v2_small,
     false},
    {"qcow2 with counts of one bit", "qcow2", false, false, true, create_qcow2_one_bit, false},
    {"qcow2 with counts of 64 bits", "qcow2", false, false, true, create_qcow2_wide, false},
    {"qcow2 over another", "qcow2", false, false, true, create_qcow2_backed, false},
    {"overlay over qcow2", "qcow2", true, true, false, create_qcow2, false},
    {"VHD", "vhd", false, false, true, create_vhd, true},
    {"fixed VHD", "vhd", false, false, true, create_vhd_fixed, true},
    {"VDI", "vdi", false, true, true, create_vdi, true},
    {"VMDK", "vmdk", false, false, true, create_vmdk, true},
    {"flat VMDK", "vmdk", false, false, true, create_vmdk_flat, true},
    {"VMDK over another", "vmdk", false, false, true, create_vmdk_backed, true},
    {0},
};
