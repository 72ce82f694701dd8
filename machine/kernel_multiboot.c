/* Kernels given by -kernel: Multiboot 1 images.
 *
 * Specification 0.6.96: header (3.1), information structure (3.3). The image's segments become one
 * piece; behind it, on a page of its own, stand the information structure, the module list, the
 * strings and the modules.
 */
#include "machine/kernel_multiboot.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/bytes.h"
#include "machine/host/file.h"

enum {
    HEADER_MAGIC = 0x1badb002,
    HEADER_SEARCH = 8192,
    HEADER_ADDRESSES = 1 << 16, /* the header's address fields are valid */
    INFO_CMDLINE = 1 << 2,
    INFO_MODULES = 1 << 3,
    INFO_LOADER_NAME = 1 << 9,
    INFO_SIZE = 120,
    INFO_OFFSET_CMDLINE = 16,
    INFO_OFFSET_MODS_COUNT = 20,
    INFO_OFFSET_MODS_ADDR = 24,
    INFO_OFFSET_LOADER_NAME = 64,
    MODULE_ENTRY = 16,
    MAX_MODULES = 32,
    IMAGE_LIMIT = 1024 << 20,
    MODULE_LIMIT = 1024 << 20,
    ELF_PT_LOAD = 1,
    ELF_MACHINE_386 = 3,
};

long multiboot_find(const uint8_t *data, size_t size)
{
    size_t end = size < HEADER_SEARCH ? size : HEADER_SEARCH;
    for (size_t at = 0; at + 12 <= end; at += 4) {
        uint32_t magic = bytes_le32(data + at), flags = bytes_le32(data + at + 4),
                 sum = bytes_le32(data + at + 8);
        if (magic == HEADER_MAGIC && magic + flags + sum == 0) {
            return (long)at;
        }
    }
    return -1;
}

typedef struct Span {
    uint32_t address, memory_size, file_offset, file_size;
} Span;

/* Puts the spans into one piece of memory from the lowest address on. */
static bool gather(Kernel *k, const char *path, const uint8_t *data, size_t size, const Span *spans,
                   unsigned count, uint32_t ram_mib, Err *err)
{
    uint64_t low = UINT64_MAX, high = 0;
    for (unsigned i = 0; i < count; i++) {
        if (spans[i].file_offset > size || spans[i].file_size > size - spans[i].file_offset ||
            spans[i].file_size > spans[i].memory_size) {
            return err_set(err, "-kernel %s: a segment lies outside the file", path);
        }
        if (spans[i].memory_size) {
            uint64_t end = (uint64_t)spans[i].address + spans[i].memory_size;
            low = spans[i].address < low ? spans[i].address : low;
            high = end > high ? end : high;
        }
    }
    if (high <= low || high - low > IMAGE_LIMIT || high > (uint64_t)ram_mib << 20) {
        return err_set(err, "-kernel %s: its segments are empty or do not fit into -m %u", path,
                       ram_mib);
    }
    k->image.size = (size_t)(high - low);
    k->image.address = (uint32_t)low;
    k->image.data = calloc(1, k->image.size);
    if (!k->image.data) {
        return err_set(err, "out of memory");
    }
    for (unsigned i = 0; i < count; i++) {
        if (spans[i].file_size) {
            memcpy(k->image.data + (spans[i].address - low), data + spans[i].file_offset,
                   spans[i].file_size);
        }
    }
    return true;
}

static bool load_by_header(Kernel *k, const char *path, const uint8_t *data, size_t size, size_t at,
                           uint32_t ram_mib, Err *err)
{
    if (at + 32 > size) {
        return err_set(err, "-kernel %s: the Multiboot header is cut off", path);
    }
    uint32_t header = bytes_le32(data + at + 12), load = bytes_le32(data + at + 16),
             load_end = bytes_le32(data + at + 20), bss_end = bytes_le32(data + at + 24);
    k->entry = bytes_le32(data + at + 28);
    if (header < load || header - load > at) {
        return err_set(err, "-kernel %s: the Multiboot header's addresses contradict each other",
                       path);
    }
    Span span = {.address = load, .file_offset = (uint32_t)(at - (header - load))};
    span.file_size = load_end ? load_end - load : (uint32_t)(size - span.file_offset);
    span.memory_size =
        bss_end > load && bss_end - load > span.file_size ? bss_end - load : span.file_size;
    return gather(k, path, data, size, &span, 1, ram_mib, err);
}

static bool load_elf(Kernel *k, const char *path, const uint8_t *data, size_t size,
                     uint32_t ram_mib, Err *err)
{
    enum { MAX_SPANS = 64 };
    Span spans[MAX_SPANS];
    unsigned used = 0;
    if (size < 52 || memcmp(data, "\177ELF\1\1", 6) != 0 ||
        bytes_le16(data + 18) != ELF_MACHINE_386) {
        return err_set(err,
                       "-kernel %s: a Multiboot image must be 32-bit x86 ELF or give its addresses",
                       path);
    }
    uint32_t table = bytes_le32(data + 28), entry_size = bytes_le16(data + 42),
             count = bytes_le16(data + 44);
    k->entry = bytes_le32(data + 24);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t at = table + (uint64_t)i * entry_size;
        if (entry_size < 32 || at + 32 > size) {
            return err_set(err, "-kernel %s: the ELF program headers are cut off", path);
        }
        const uint8_t *p = data + at;
        if (bytes_le32(p) != ELF_PT_LOAD) {
            continue;
        }
        if (used == MAX_SPANS) {
            return err_set(err, "-kernel %s: more than %d segments", path, MAX_SPANS);
        }
        spans[used++] = (Span){.address = bytes_le32(p + 12),
                               .file_offset = bytes_le32(p + 4),
                               .file_size = bytes_le32(p + 16),
                               .memory_size = bytes_le32(p + 20)};
    }
    return gather(k, path, data, size, spans, used, ram_mib, err);
}

/* A growing piece of memory at a fixed guest address. */
static bool grow(KernelPart *part, size_t size, Err *err)
{
    uint8_t *data = realloc(part->data, size);
    if (!data) {
        return err_set(err, "out of memory");
    }
    memset(data + part->size, 0, size - part->size);
    part->data = data;
    part->size = size;
    return true;
}

static bool append_string(KernelPart *part, const char *text, size_t length, uint32_t *address,
                          Err *err)
{
    size_t at = part->size;
    if (!grow(part, at + length + 1, err)) {
        return false;
    }
    memcpy(part->data + at, text, length);
    *address = part->address + (uint32_t)at;
    return true;
}

static bool append_module(KernelPart *part, const char *item, size_t length, unsigned index,
                          Err *err)
{
    char path[4096];
    size_t name = 0;
    while (name < length && item[name] != ' ') {
        name++;
    }
    if (name >= sizeof(path)) {
        return err_set(err, "-initrd: a module's name is too long");
    }
    memcpy(path, item, name);
    path[name] = '\0';
    size_t size;
    uint8_t *data = file_read(path, MODULE_LIMIT, &size, "-initrd", err);
    uint32_t string;
    if (!data || !append_string(part, item, length, &string, err)) {
        free(data);
        return false;
    }
    size_t at = (part->size + 4095) & ~(size_t)4095;
    bool ok = grow(part, at + size, err);
    if (ok) {
        memcpy(part->data + at, data, size);
        uint8_t *entry = part->data + INFO_SIZE + index * MODULE_ENTRY;
        bytes_put_le32(entry, part->address + (uint32_t)at);
        bytes_put_le32(entry + 4, part->address + (uint32_t)(at + size));
        bytes_put_le32(entry + 8, string);
    }
    free(data);
    return ok;
}

static bool build_info(Kernel *k, const char *path, const char *modules, const char *append,
                       uint32_t ram_mib, Err *err)
{
    KernelPart *part = &k->initrd;
    part->address = (uint32_t)((k->image.address + k->image.size + 4095) & ~(size_t)4095);
    if (!grow(part, INFO_SIZE + MAX_MODULES * MODULE_ENTRY, err)) {
        return false;
    }
    uint32_t cmdline, loader;
    size_t path_length = strlen(path);
    if (!append_string(part, path, path_length, &cmdline, err)) {
        return false;
    }
    if (append[0]) { /* the specification leaves the first word to the loader: the image's name, as
                        others do */
        part->size--;
        uint32_t rest;
        if (!append_string(part, " ", 1, &rest, err)) {
            return false;
        }
        part->size--;
        if (!append_string(part, append, strlen(append), &rest, err)) {
            return false;
        }
    }
    if (!append_string(part, "vitrine", 7, &loader, err)) {
        return false;
    }
    unsigned count = 0;
    for (const char *p = modules; p && *p; count++) {
        size_t length = strcspn(p, ",");
        if (count == MAX_MODULES) {
            return err_set(err, "-initrd: more than %d modules", MAX_MODULES);
        }
        if (!append_module(part, p, length, count, err)) {
            return false;
        }
        p += length;
        p += *p == ',';
    }
    if ((uint64_t)part->address + part->size > (uint64_t)ram_mib << 20) {
        return err_set(err, "-initrd: kernel and modules do not fit into -m %u; give more memory",
                       ram_mib);
    }
    bytes_put_le32(part->data, INFO_CMDLINE | INFO_MODULES | INFO_LOADER_NAME);
    bytes_put_le32(part->data + INFO_OFFSET_CMDLINE, cmdline);
    bytes_put_le32(part->data + INFO_OFFSET_MODS_COUNT, count);
    bytes_put_le32(part->data + INFO_OFFSET_MODS_ADDR, part->address + INFO_SIZE);
    bytes_put_le32(part->data + INFO_OFFSET_LOADER_NAME, loader);
    return true;
}

bool multiboot_load(Kernel *k, const char *path, const uint8_t *data, size_t size,
                    const char *modules, const char *append, uint32_t ram_mib, Err *err)
{
    long at = multiboot_find(data, size);
    k->multiboot = true;
    bool loaded = bytes_le32(data + at + 4) & HEADER_ADDRESSES
                      ? load_by_header(k, path, data, size, (size_t)at, ram_mib, err)
                      : load_elf(k, path, data, size, ram_mib, err);
    return loaded && build_info(k, path, modules, append, ram_mib, err);
}
