/* The image formats under test: how to make one, and how to have qemu-img judge it. */
#include "tests/disk/images.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/block_create.h"
#include "storage/qcow2.h"

/* In memory where that can be: the tests sync a lot, and look at the bytes, not at the disk. Nobody
 * else has a name in it, whatever was left behind by whom. */
static char own_folder[64];
static pid_t own_pid;

static void leave_folder(void)
{
    char command[128];
    if (own_pid == getpid()) { /* not in a child */
        snprintf(command, sizeof(command), "rm -rf '%s'", own_folder);
        (void)!system(command);
    }
}

void image_path(char *path, size_t room)
{
    static unsigned next;
    if (!own_folder[0]) {
        const char *folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(own_folder, sizeof(own_folder), "%s/vitrine-test-XXXXXX", folder);
        assert_non_null(mkdtemp(own_folder));
        own_pid = getpid();
        atexit(leave_folder);
    }
    snprintf(path, room, "%s/%u.img", own_folder, next++);
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

void image_poke(const char *path, long at, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    fwrite(bytes, 1, size, file);
    fclose(file);
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

static void check(bool good, const Err *err)
{
    if (!good) {
        fail_msg("%s", err->text);
    }
}

static void make_vhd(const char *path, uint64_t size, const VhdOptions *options)
{
    Err err = {""};
    check(vhd_create(path, size, options, &err), &err);
}

static void create_vhd(const char *path, uint64_t size)
{
    make_vhd(path, size, NULL);
}

static void create_vhd_small(const char *path, uint64_t size)
{
    make_vhd(path, size, &(VhdOptions){.block_bytes = 4096});
}

static void create_vhd_fixed(const char *path, uint64_t size)
{
    make_vhd(path, size, &(VhdOptions){.fixed = true});
}

/* Over an empty one. */
static void create_vhd_backed(const char *path, uint64_t size)
{
    char base[160];
    snprintf(base, sizeof(base), "%s.base", path);
    make_vhd(base, size, NULL);
    make_vhd(path, size, &(VhdOptions){.block_bytes = 65536, .backing = strrchr(base, '/') + 1});
}

static void create_vdi(const char *path, uint64_t size)
{
    Err err = {""};
    check(vdi_create(path, size, NULL, &err), &err);
}

static void create_vdi_small(const char *path, uint64_t size)
{
    Err err = {""};
    check(vdi_create(path, size, &(VdiOptions){.block_bytes = 4096}, &err), &err);
}

static void create_vdi_fixed(const char *path, uint64_t size)
{
    Err err = {""};
    check(vdi_create(path, size, &(VdiOptions){.fixed = true}, &err), &err);
}

static void make_vmdk(const char *path, uint64_t size, const VmdkOptions *options)
{
    Err err = {""};
    check(vmdk_create(path, size, options, &err), &err);
}

static void create_vmdk(const char *path, uint64_t size)
{
    make_vmdk(path, size, NULL);
}

static void create_vmdk_small(const char *path, uint64_t size)
{
    make_vmdk(path, size, &(VmdkOptions){.grain_bytes = 4096, .zero_grains = true});
}

static void create_vmdk_flat(const char *path, uint64_t size)
{
    make_vmdk(path, size, &(VmdkOptions){.kind = VMDK_MONOLITHIC_FLAT});
}

static void create_vmdk_split(const char *path, uint64_t size)
{
    make_vmdk(path, size, &(VmdkOptions){.kind = VMDK_SPLIT_SPARSE});
}

/* Over an empty one. */
static void create_vmdk_backed(const char *path, uint64_t size)
{
    char base[160];
    snprintf(base, sizeof(base), "%s.base", path);
    make_vmdk(base, size, NULL);
    make_vmdk(path, size, &(VmdkOptions){.backing = strrchr(base, '/') + 1});
}

/* As qemu-img makes them. */
static void create_vhd_qemu(const char *path, uint64_t size)
{
    image_command("qemu-img create -q -f vpc -o force_size=on %s %llu", path,
                  (unsigned long long)size);
}

static void create_vdi_qemu(const char *path, uint64_t size)
{
    image_command("qemu-img create -q -f vdi %s %llu", path, (unsigned long long)size);
}

static void create_vmdk_qemu(const char *path, uint64_t size)
{
    image_command("qemu-img create -q -f vmdk %s %llu", path, (unsigned long long)size);
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
    {"VHD", "vhd", false, true, true, create_vhd, false},
    {"VHD with small blocks", "vhd", false, true, true, create_vhd_small, false},
    {"fixed VHD", "vhd", false, true, true, create_vhd_fixed, false},
    {"VHD over another", "vhd", false, false, false, create_vhd_backed, false},
    {"VHD of QEMU", "vhd", false, true, true, create_vhd_qemu, true},
    {"VDI", "vdi", false, true, true, create_vdi, false},
    {"VDI with small blocks", "vdi", false, true, false, create_vdi_small, false},
    {"fixed VDI", "vdi", false, true, true, create_vdi_fixed, false},
    {"VDI of QEMU", "vdi", false, true, true, create_vdi_qemu, true},
    {"VMDK", "vmdk", false, true, true, create_vmdk, false},
    {"VMDK with small grains", "vmdk", false, true, true, create_vmdk_small, false},
    {"flat VMDK", "vmdk", false, true, true, create_vmdk_flat, false},
    {"VMDK in pieces", "vmdk", false, true, true, create_vmdk_split, false},
    {"VMDK over another", "vmdk", false, false, true, create_vmdk_backed, false},
    {"VMDK of QEMU", "vmdk", false, true, true, create_vmdk_qemu, true},
    {0},
};
