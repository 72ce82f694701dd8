/* The image formats under test: how to make one, and how to have qemu-img judge it. */
#ifndef TESTS_DISK_IMAGES_H
#define TESTS_DISK_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_KINDS_MAX 48

typedef struct ImageKind {
    const char *name;   /* of the test */
    const char *format; /* for block_open */
    bool snapshot;
    bool discards_to_zero;
    bool checked; /* qemu-img check and compare agree afterwards */
    void (*create)(const char *path, uint64_t size);
    bool needs_qemu; /* to be made */
} ImageKind;

extern const ImageKind image_kinds[]; /* ends with a NULL name */

/* A name for a new file in a folder of this process. */
void image_path(char *path, size_t room);
/* Runs a command of the shell; fails the test with its output unless it succeeds. */
void image_command(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Writes these bytes of the file itself. */
void image_poke(const char *path, long at, const void *bytes, size_t size);
bool image_have_qemu(void);
/* qemu-img check finds nothing, and qemu-img compare finds these bytes. */
void image_check_with_qemu(const char *path, const char *format, const uint8_t *model,
                           uint64_t size);

#endif
