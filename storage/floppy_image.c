/* Floppy images that know their tracks: the table of sectors and the bytes behind it, which the
 * formats IMD and TD0 fill when they are opened. Read only. */
#include "storage/floppy_image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/floppy_internal.h"

bool floppy_add_track(FloppyDisk *d, unsigned cylinder, unsigned head, unsigned count)
{
    if (cylinder >= FLOPPY_CYLINDERS || head >= FLOPPY_HEADS || count > FLOPPY_SECTORS ||
        d->track[cylinder][head].sector) {
        return false;
    }
    FloppyTrack *t = &d->track[cylinder][head];
    *t = (FloppyTrack){.sector = calloc(count ? count : 1, sizeof(*t->sector)), .count = count};
    if (!t->sector) {
        t->count = 0;
        return false;
    }
    d->cylinders = cylinder + 1 > d->cylinders ? cylinder + 1 : d->cylinders;
    d->heads = head + 1 > d->heads ? head + 1 : d->heads;
    return true;
}

/* By rising number; those of equal number as they come. The bytes of all. */
static uint64_t place_track(FloppyTrack *t, uint64_t at)
{
    uint64_t start = at;
    for (unsigned r = 0; r < 256; r++) {
        for (unsigned i = 0; i < t->count; i++) {
            if (t->sector[i].r == r) {
                t->sector[i].offset = (uint32_t)at;
                at += floppy_sector_bytes(&t->sector[i]);
            }
        }
    }
    return at - start;
}

bool floppy_lay_out(FloppyDisk *d)
{
    uint64_t at = 0, last[FLOPPY_HEADS] = {0};
    bool any = false;
    for (unsigned c = 0; c < d->cylinders; c++) {
        for (unsigned h = 0; h < d->heads; h++) {
            /* a track without sectors takes the room of the one before, so that those behind it
             * stay where they belong */
            any |= d->track[c][h].count != 0;
            last[h] = d->track[c][h].count ? place_track(&d->track[c][h], at) : last[h];
            at += last[h];
            if (at > FLOPPY_MAX_BYTES) {
                return false;
            }
        }
    }
    d->size = (size_t)((at + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR);
    d->data = any ? calloc(1, d->size) : NULL;
    return d->data != NULL;
}

void floppy_free(FloppyDisk *d)
{
    for (unsigned c = 0; d && c < FLOPPY_CYLINDERS; c++) {
        for (unsigned h = 0; h < FLOPPY_HEADS; h++) {
            free(d->track[c][h].sector);
        }
    }
    if (d) {
        free(d->data);
        free(d);
    }
}

/* ---- the Block ---- */

const FloppyDisk *block_floppy(const Block *b)
{
    while (b->format == &block_overlay) {
        b = b->base;
    }
    return b->format == &block_imd || b->format == &block_td0 ? b->data : NULL;
}

bool floppy_load(Block *b, uint8_t **bytes, size_t *size, Err *err)
{
    uint64_t length = 0;
    int error = disk_file_size(&b->file, &length);
    if (!error && length > FLOPPY_MAX_FILE) {
        return err_set(err, "'%s': no floppy image has %llu bytes", b->path,
                       (unsigned long long)length);
    }
    *size = (size_t)length;
    *bytes = malloc(*size ? *size : 1);
    error = error ? error : *bytes ? disk_file_read(&b->file, 0, *bytes, *size) : ENOMEM;
    if (error) {
        free(*bytes);
        return err_set(err, "'%s' cannot be read: %s", b->path, strerror(error));
    }
    return true;
}

bool floppy_ready(Block *b, FloppyDisk *d)
{
    b->data = d;
    b->size = d->size;
    b->read_only = true;
    return true;
}

int floppy_read(Block *b, uint64_t offset, void *data, size_t length)
{
    const FloppyDisk *d = b->data;
    memcpy(data, d->data + offset, length);
    return 0;
}

int floppy_write(Block *b, uint64_t offset, const void *data, size_t length)
{
    (void)b, (void)offset, (void)data, (void)length;
    return EROFS;
}

int floppy_flush(Block *b)
{
    (void)b;
    return 0;
}

int floppy_map(Block *b, uint64_t offset, BlockExtent *extent)
{
    extent->length = b->size - offset;
    extent->data = true;
    return 0;
}

void floppy_close(Block *b)
{
    floppy_free(b->data);
    b->data = NULL;
}
