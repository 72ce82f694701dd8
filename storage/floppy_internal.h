/* Shared by the formats of floppy images that know their tracks.
 */
#ifndef STORAGE_FLOPPY_INTERNAL_H
#define STORAGE_FLOPPY_INTERNAL_H

#include "storage/block_format.h"
#include "storage/floppy_image.h"

enum { FLOPPY_MAX_FILE = 32 << 20 };

/* The whole file; the caller frees it. False with err set and nothing to free. */
bool floppy_load(Block *b, uint8_t **bytes, size_t *size, Err *err);
/* The Block is this disk, which it owns from now on. */
bool floppy_ready(Block *b, FloppyDisk *d);
int floppy_read(Block *b, uint64_t offset, void *data, size_t length);
int floppy_write(Block *b, uint64_t offset, const void *data, size_t length);
int floppy_flush(Block *b);
int floppy_map(Block *b, uint64_t offset, BlockExtent *extent);
void floppy_close(Block *b);

/* td0_unpack.c: TeleDisk's advanced compression. Returns what it has made, at most `room` bytes. */
size_t td0_unpack(const uint8_t *packed, size_t size, uint8_t *out, size_t room);

#endif
