/* Recognises a floppy, hard disk, CD or kernel by its first 36 KiB and its size.
 *
 * Facts: ISO 9660 (ECMA-119) 8.1 volume descriptors at sector 16; Linux boot protocol, header
 * magic at 0x202; Multiboot 0.6.96, 3.1.1; the signatures of the disk image formats.
 */
#include "ui/image_kind.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { HEAD_BYTES = 36 * 1024, MULTIBOOT_SPAN = 8192 };

typedef struct Signature {
    ImageKind kind;
    unsigned at, length;
    const char *bytes;
} Signature;

/* clang-format off */
static const Signature signatures[] = {
    {IMAGE_CDROM, 0x8001, 5, "CD001"},                  /* ISO 9660 */
    {IMAGE_CDROM, 0x9311, 5, "CD001"},                  /* the same in sectors of 2352 bytes, mode 1 */
    {IMAGE_CDROM, 0x9319, 5, "CD001"},                  /* mode 2 */
    {IMAGE_CDROM, 0, 12, "\0\377\377\377\377\377\377\377\377\377\377\0"}, /* raw CD sectors */
    {IMAGE_DISK, 0, 4, "QFI\373"},                      /* qcow2 */
    {IMAGE_DISK, 0, 4, "KDMV"},                         /* VMDK sparse */
    {IMAGE_DISK, 0, 21, "# Disk DescriptorFile"},       /* VMDK descriptor */
    {IMAGE_DISK, 0x40, 4, "\177\20\332\276"},           /* VDI */
    {IMAGE_DISK, 0, 8, "conectix"},                     /* VHD */
    {IMAGE_DISK, 0, 8, "vhdxfile"},                     /* VHDX */
    {IMAGE_DISK, 0, 16, "WithoutFreeSpace"},            /* Parallels */
    {IMAGE_DISK, 0, 16, "WithouFreSpacExt"},
    {IMAGE_DISK, 0, 4, "QED"},                          /* with its NUL */
    {IMAGE_FLOPPY, 0, 4, "IMD "},                       /* ImageDisk */
    {IMAGE_FLOPPY, 0, 3, "TD"},                         /* Teledisk, with its NUL */
    {IMAGE_FLOPPY, 0, 3, "td"},
};
static const uint16_t floppy_kib[] = {160, 180, 320, 360, 400, 640, 720, 800, 820, 1200, 1440, 1520, 1600, 1680, 1720,
                                      1722, 1743, 1760, 1840, 1920, 2880, 3120, 3200, 3520, 3840};
/* clang-format on */

static bool is_floppy_size(uint64_t size)
{
    for (unsigned i = 0; i < sizeof(floppy_kib) / sizeof(floppy_kib[0]); i++) {
        if (size == floppy_kib[i] * UINT64_C(1024)) {
            return true;
        }
    }
    return false;
}

static bool has_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);
    return n > m && strcasecmp(path + n - m, suffix) == 0;
}

/* A Multiboot header stands on a 4-byte boundary in the first 8 KiB and sums up to zero. */
static bool is_multiboot(const uint8_t *head, size_t size)
{
    size_t span = size < MULTIBOOT_SPAN ? size : MULTIBOOT_SPAN;
    for (size_t at = 0; at + 12 <= span; at += 4) {
        uint32_t word[3];
        memcpy(word, head + at, sizeof(word));
        if (word[0] == 0x1badb002u && word[0] + word[1] + word[2] == 0) {
            return true;
        }
    }
    return false;
}

static bool classify(const char *path, const uint8_t *head, size_t n, uint64_t size,
                     ImageKind *kind)
{
    bool boot_sector = n >= 512 && head[510] == 0x55 && head[511] == 0xaa;
    for (unsigned i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
        const Signature *s = &signatures[i];
        if (n >= s->at + s->length && memcmp(head + s->at, s->bytes, s->length) == 0) {
            *kind = s->kind;
            return true;
        }
    }
    if (is_floppy_size(size)) {
        *kind = IMAGE_FLOPPY;
    } else if (boot_sector && n >= 0x206 && memcmp(head + 0x202, "HdrS", 4) == 0) {
        *kind = IMAGE_KERNEL;
    } else if (boot_sector) {
        *kind = size <= 2880 * 1024 ? IMAGE_FLOPPY : IMAGE_DISK;
    } else if (is_multiboot(head, n)) {
        *kind = IMAGE_KERNEL;
    } else if (has_suffix(path, ".cue")) {
        *kind = IMAGE_CDROM;
    } else {
        return false;
    }
    return true;
}

/* What was packed for its journey: the command that unpacks it. NULL: it is not packed. */
static const char *unpacker(const uint8_t *head, size_t n)
{
    static const struct {
        unsigned length;
        const char *bytes, *command;
    } packers[] = {
        {2, "\037\213", "gunzip -k"}, {6, "\3757zXZ", "unxz -k"},
        {3, "BZh", "bunzip2 -k"},     {4, "\050\265\057\375", "unzstd"},
        {4, "PK\003\004", "unzip"},   {6, "7z\274\257\047\034", "7z x"},
        {4, "Rar!", "unrar x"},
    };
    for (unsigned i = 0; i < sizeof(packers) / sizeof(packers[0]); i++) {
        if (n >= packers[i].length && memcmp(head, packers[i].bytes, packers[i].length) == 0) {
            return packers[i].command;
        }
    }
    return NULL;
}

bool image_kind(const char *path, ImageKind *kind, Err *err)
{
    struct stat st;
    if (strncmp(path, "fat:", 4) == 0) { /* a folder shown as a disk */
        *kind = strncmp(path, "fat:floppy:", 11) == 0 ? IMAGE_FLOPPY : IMAGE_DISK;
        return true;
    }
    if (stat(path, &st) != 0) {
        return err_set(err, "image '%s' cannot be opened: %s; check the name", path,
                       strerror(errno));
    }
    if (S_ISDIR(st.st_mode)) {
        return err_set(
            err, "image '%s' is a folder; name an image file, or fat:%s for a disk of its files",
            path, path);
    }
    if (S_ISREG(st.st_mode) && st.st_size == 0) {
        return err_set(err, "image '%s' is empty; name an image that boots", path);
    }
    FILE *file = fopen(path, "rb");
    if (!file) {
        return err_set(err, "image '%s' cannot be read: %s", path, strerror(errno));
    }
    uint8_t *head = malloc(HEAD_BYTES);
    size_t n = head ? fread(head, 1, HEAD_BYTES, file) : 0;
    bool readable = head && !ferror(file);
    fclose(file);
    bool known = readable && classify(path, head, n, (uint64_t)st.st_size, kind);
    const char *unpack = readable ? unpacker(head, n) : NULL;
    free(head);
    if (!readable) {
        return err_set(err, "image '%s' cannot be read", path);
    }
    if (!known && unpack) {
        return err_set(err, "image '%s' is packed; unpack it first: %s '%s'", path, unpack, path);
    }
    return known ||
           err_set(err,
                   "image '%s' is no floppy, boot disk, CD or kernel that I know; say what it is "
                   "with -fda, -hda, -cdrom or -kernel",
                   path);
}
