/* Shared by the files that make images.
 */
#ifndef STORAGE_BLOCK_CREATE_INTERNAL_H
#define STORAGE_BLOCK_CREATE_INTERNAL_H

#include "machine/host/disk_file.h"
#include "storage/block_create.h"

typedef struct NewImageFile {
    const char *path;
    DiskFile file;
    int error; /* of the first call that failed; those after it do nothing */
} NewImageFile;

/* most: bytes that the format can describe. */
bool new_image_begin(NewImageFile *n, const char *path, uint64_t size, uint64_t most, Err *err);
void new_image_put(NewImageFile *n, uint64_t offset, const void *data, size_t length);
void new_image_size(NewImageFile *n, uint64_t size);
/* Syncs and closes; the file is removed when something has failed. */
bool new_image_end(NewImageFile *n, Err *err);
/* A random UUID. */
void new_image_uuid(uint8_t uuid[16]);

#endif
