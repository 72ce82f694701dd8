/* What a file given without an option is, by its content and size. */
#ifndef UI_IMAGE_KIND_H
#define UI_IMAGE_KIND_H

#include <stdbool.h>

#include "machine/core/err.h"

typedef enum ImageKind { IMAGE_FLOPPY, IMAGE_DISK, IMAGE_CDROM, IMAGE_KERNEL } ImageKind;

/* False with err set when the file cannot be read, is empty, or is nothing that boots. */
bool image_kind(const char *path, ImageKind *kind, Err *err);

#endif
