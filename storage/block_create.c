/* What makers of image files share: a new file that is removed when it fails, its unique name, and
 * a disk's geometry. */
#include "storage/block_create_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

bool new_image_begin(NewImageFile *n, const char *path, uint64_t size, uint64_t most, Err *err)
{
    *n = (NewImageFile){.path = path, .file.fd = -1};
    if (size == 0 || size % BLOCK_SECTOR || size > most) {
        return err_set(err,
                       "'%s': an image of this kind cannot have %llu bytes; take whole sectors, "
                       "at most %llu bytes",
                       path, (unsigned long long)size, (unsigned long long)most);
    }
    return disk_file_create(&n->file, path, &(DiskFileOptions){.write = true}, err);
}

void new_image_put(NewImageFile *n, uint64_t offset, const void *data, size_t length)
{
    n->error = n->error ? n->error : disk_file_write(&n->file, offset, data, length);
}

void new_image_size(NewImageFile *n, uint64_t size)
{
    n->error = n->error ? n->error : disk_file_resize(&n->file, size);
}

bool new_image_end(NewImageFile *n, Err *err)
{
    int error = n->error ? n->error : disk_file_sync(&n->file);
    disk_file_close(&n->file);
    if (error) {
        unlink(n->path);
    }
    return !error || err_set(err, "'%s' cannot be written: %s%s", n->path, strerror(error),
                             error == ENOSPC ? "; make room and try again" : "");
}

void new_image_uuid(uint8_t uuid[16])
{
    memset(uuid, 0, 16);
    /* at start-up of a host too early for random numbers it stays a name that is not unique */
    (void)!getrandom(uuid, 16, GRND_NONBLOCK);
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* RFC 4122, version 4 */
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

void block_geometry(uint64_t size, unsigned *cylinders, unsigned *heads, unsigned *sectors)
{
    uint64_t total = size / BLOCK_SECTOR, tracks;
    total = total > 65535ull * 16 * 255 ? 65535ull * 16 * 255 : total;
    if (total >= 65535ull * 16 * 63) {
        *sectors = 255;
        *heads = 16;
        tracks = total / *sectors;
    } else {
        *sectors = 17;
        tracks = total / *sectors;
        *heads = (unsigned)((tracks + 1023) / 1024);
        *heads = *heads < 4 ? 4 : *heads;
        if (tracks >= *heads * 1024ull || *heads > 16) {
            *sectors = 31;
            *heads = 16;
            tracks = total / *sectors;
        }
        if (tracks >= *heads * 1024ull) {
            *sectors = 63;
            *heads = 16;
            tracks = total / *sectors;
        }
    }
    *cylinders = (unsigned)(tracks / *heads);
}
