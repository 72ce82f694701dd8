/* Kernels given by -kernel: Linux boot protocol. */
#include "machine/kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/bytes.h"
#include "machine/host/file.h"
#include "machine/kernel_multiboot.h"

/* Offsets in the setup header (boot.rst, "The Real-Mode Kernel Header"). */
enum {
    HDR_SETUP_SECTS = 0x1f1,
    HDR_VID_MODE = 0x1fa,
    HDR_BOOT_FLAG = 0x1fe,
    HDR_MAGIC = 0x202,
    HDR_VERSION = 0x206,
    HDR_LOADER = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_HEAP_END = 0x224,
    HDR_CMD_LINE_PTR = 0x228,
    HDR_INITRD_MAX = 0x22c,
    HDR_SETUP_DATA = 0x250, /* u64: the first of a list */
    SETUP_DATA_HEADER = 16, /* u64 next, u32 type, u32 length */
    SETUP_RNG_SEED = 9,
    OLD_CMDLINE_MAGIC = 0x20,  /* kernels before 2.02 look for 0xa33f here ... */
    OLD_CMDLINE_OFFSET = 0x22, /* ... and for the command line's offset here */
    LOADED_HIGH = 0x01,
    CAN_USE_HEAP = 0x80,
    LOADER_UNDEFINED = 0xff,
};

enum { KERNEL_LIMIT = 256 << 20, CMDLINE_LIMIT = 4096 };
#define INITRD_LIMIT ((size_t)2048 << 20)
#define TOP_RESERVE (1u << 20) /* of RAM, for the firmware's tables */

static bool is_linux(const uint8_t *data, size_t size)
{
    return size > 0x400 && data[HDR_BOOT_FLAG] == 0x55 && data[HDR_BOOT_FLAG + 1] == 0xaa;
}

static bool has_header(const uint8_t *data)
{
    return bytes_le32(data + HDR_MAGIC) == 0x53726448; /* "HdrS" */
}

bool kernel_recognise(const uint8_t *data, size_t size)
{
    return (is_linux(data, size) && has_header(data)) || multiboot_find(data, size) >= 0;
}

/* `vga=` is the boot loader's to obey: the value goes to the header (boot.rst, "Special Command
 * Line Options"). */
static void apply_video_mode(uint8_t *setup, const char *cmdline)
{
    for (const char *p = cmdline; (p = strstr(p, "vga=")) != NULL; p += 4) {
        if (p != cmdline && p[-1] != ' ') {
            continue;
        }
        unsigned mode;
        if (strncmp(p + 4, "normal", 6) == 0) {
            mode = 0xffff;
        } else if (strncmp(p + 4, "ext", 3) == 0) {
            mode = 0xfffe;
        } else if (strncmp(p + 4, "ask", 3) == 0) {
            mode = 0xfffd;
        } else {
            mode = (unsigned)strtoul(p + 4, NULL, 0);
        }
        setup[HDR_VID_MODE] = (uint8_t)mode;
        setup[HDR_VID_MODE + 1] = (uint8_t)(mode >> 8);
    }
}

static bool part_take(KernelPart *part, const uint8_t *data, size_t size, uint32_t address,
                      Err *err)
{
    part->data = malloc(size + 1);
    if (!part->data) {
        return err_set(err, "out of memory");
    }
    memcpy(part->data, data, size);
    part->size = size;
    part->address = address;
    return true;
}

static bool place_initrd(Kernel *k, const char *path, uint8_t *setup, unsigned version,
                         uint64_t image_end, uint32_t ram_mib, Err *err)
{
    k->initrd.data = file_read(path, INITRD_LIMIT, &k->initrd.size, "-initrd", err);
    if (!k->initrd.data) {
        return false;
    }
    if (version < 0x200) {
        return err_set(err, "-initrd %s: this kernel is too old to take one; leave -initrd away",
                       path);
    }
    uint64_t top = version >= 0x203 ? (uint64_t)bytes_le32(setup + HDR_INITRD_MAX) + 1 : 0x38000000;
    uint64_t ram_top = ((uint64_t)ram_mib << 20) - TOP_RESERVE;
    if (top > ram_top) {
        top = ram_top;
    }
    if (k->initrd.size + image_end > top) {
        return err_set(err, "-initrd %s: kernel and initrd do not fit into -m %u; give more memory",
                       path, ram_mib);
    }
    k->initrd.address = (uint32_t)(top - k->initrd.size) & ~0xfffu;
    bytes_put_le32(setup + HDR_RAMDISK_IMAGE, k->initrd.address);
    bytes_put_le32(setup + HDR_RAMDISK_SIZE, (uint32_t)k->initrd.size);
    return true;
}

/* A seed for the kernel's random numbers stands behind the command line ("Setup data", type
 * SETUP_RNG_SEED): without one, the first program that asks for random numbers waits for a second
 * until the kernel has gathered enough. */
static bool add_seed(Kernel *k, uint8_t *setup, Err *err)
{
    size_t at = (k->cmdline.size + 15) & ~(size_t)15, size = at + SETUP_DATA_HEADER + KERNEL_SEED;
    uint8_t *data = realloc(k->cmdline.data, size);
    if (!data) {
        return err_set(err, "out of memory");
    }
    memset(data + k->cmdline.size, 0, size - k->cmdline.size);
    bytes_put_le32(data + at + 8, SETUP_RNG_SEED);
    bytes_put_le32(data + at + 12, KERNEL_SEED);
    bytes_put_le32(setup + HDR_SETUP_DATA, k->cmdline.address + (uint32_t)at);
    bytes_put_le32(setup + HDR_SETUP_DATA + 4, 0);
    k->cmdline.data = data;
    k->cmdline.size = size;
    k->seed_at = at + SETUP_DATA_HEADER;
    return true;
}

static bool load_linux(Kernel *k, const char *path, const uint8_t *data, size_t size,
                       const char *initrd, const char *append, uint32_t ram_mib, Err *err)
{
    unsigned sectors = data[HDR_SETUP_SECTS] ? data[HDR_SETUP_SECTS] : 4;
    size_t setup_size = (sectors + 1) * 512;
    unsigned version =
        has_header(data) ? data[HDR_VERSION] | (unsigned)data[HDR_VERSION + 1] << 8 : 0;
    size_t cmdline_size = strlen(append) + 1;
    if (setup_size >= size) {
        return err_set(err, "-kernel %s: the file is shorter than its own header says", path);
    }
    if (cmdline_size > CMDLINE_LIMIT) {
        return err_set(err, "-append: the command line is longer than %d bytes", CMDLINE_LIMIT - 1);
    }
    bool high = version >= 0x200 && data[HDR_LOADFLAGS] & LOADED_HIGH;
    bool modern = high && version >= 0x202;
    uint32_t setup_address = modern ? 0x10000 : 0x90000;
    uint32_t cmdline_address = modern ? 0x20000 : (uint32_t)(0x9a000 - cmdline_size) & ~15u;
    uint32_t image_address = high ? 0x100000 : 0x10000;
    size_t image_size = size - setup_size;
    if (!high && image_size > 0x80000) {
        return err_set(err, "-kernel %s: too large for a kernel that loads below 1 MiB", path);
    }
    if ((uint64_t)image_address + image_size > ((uint64_t)ram_mib << 20)) {
        return err_set(err, "-kernel %s: it does not fit into -m %u; give more memory", path,
                       ram_mib);
    }
    if (!part_take(&k->setup, data, setup_size, setup_address, err) ||
        !part_take(&k->image, data + setup_size, image_size, image_address, err) ||
        !part_take(&k->cmdline, (const uint8_t *)append, cmdline_size, cmdline_address, err)) {
        return false;
    }
    uint8_t *setup = k->setup.data;
    if (version >= 0x202) {
        bytes_put_le32(setup + HDR_CMD_LINE_PTR, cmdline_address);
    } else {
        uint32_t offset = cmdline_address - setup_address;
        setup[OLD_CMDLINE_MAGIC] = 0x3f;
        setup[OLD_CMDLINE_MAGIC + 1] = 0xa3;
        setup[OLD_CMDLINE_OFFSET] = (uint8_t)offset;
        setup[OLD_CMDLINE_OFFSET + 1] = (uint8_t)(offset >> 8);
    }
    if (version >= 0x200) {
        setup[HDR_LOADER] = LOADER_UNDEFINED;
    }
    if (version >= 0x201) {
        uint32_t heap_end = cmdline_address - setup_address - 0x200;
        setup[HDR_LOADFLAGS] |= CAN_USE_HEAP;
        setup[HDR_HEAP_END] = (uint8_t)heap_end;
        setup[HDR_HEAP_END + 1] = (uint8_t)(heap_end >> 8);
    }
    apply_video_mode(setup, append);
    if (version >= 0x209 && modern && !add_seed(k, setup, err)) {
        return false;
    }
    return !initrd || place_initrd(k, initrd, setup, version, (uint64_t)image_address + image_size,
                                   ram_mib, err);
}

bool kernel_load(Kernel *k, const char *path, const char *initrd, const char *append,
                 uint32_t ram_mib, Err *err)
{
    size_t size;
    memset(k, 0, sizeof(*k));
    uint8_t *data = file_read(path, KERNEL_LIMIT, &size, "-kernel", err);
    if (!data) {
        return false;
    }
    bool ok;
    if (multiboot_find(data, size) >= 0) {
        ok = multiboot_load(k, path, data, size, initrd, append ? append : "", ram_mib, err);
    } else if (is_linux(data, size)) {
        ok = load_linux(k, path, data, size, initrd, append ? append : "", ram_mib, err);
    } else {
        ok = err_set(
            err,
            "-kernel %s: this is neither a Linux kernel (bzImage, zImage) nor a Multiboot image",
            path);
    }
    free(data);
    if (!ok) {
        kernel_free(k);
    }
    return ok;
}

void kernel_free(Kernel *k)
{
    free(k->setup.data);
    free(k->image.data);
    free(k->cmdline.data);
    free(k->initrd.data);
    memset(k, 0, sizeof(*k));
}
