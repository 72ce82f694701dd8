/* Floppy images that know their tracks: sectors with IDs of their own, marks, errors, any size.
 *
 * Such an image (IMD, TD0) is read whole when it is opened; as a Block it is the data of its
 * sectors, cylinder by cylinder, side by side, by rising sector number, filled up with zeros to
 * whole units of 512 bytes. The controller asks for the IDs here.
 */
#ifndef STORAGE_FLOPPY_IMAGE_H
#define STORAGE_FLOPPY_IMAGE_H

#include "storage/block.h"

enum {
    FLOPPY_CYLINDERS = 86,
    FLOPPY_HEADS = 2,
    FLOPPY_SECTORS = 255, /* of a track */
    FLOPPY_MAX_CODE = 7,  /* N: a sector has 128 << N bytes */
    FLOPPY_MAX_BYTES = 16 << 20,
    /* what is special about a sector */
    FLOPPY_DELETED = 1,  /* it bears a deleted data mark */
    FLOPPY_BAD_DATA = 2, /* its data do not fit their checksum */
    FLOPPY_NO_DATA = 4,  /* nothing follows its ID */
    FLOPPY_NO_ID = 8,    /* its ID was not found: the controller never does, either */
};

typedef struct FloppySector {
    uint8_t c, h, r, n; /* as in its ID */
    uint8_t flags;
    uint32_t offset; /* of its data in the image, bytes */
} FloppySector;

typedef struct FloppyTrack {
    bool fm;
    uint8_t rate; /* as the controller's register has it: 0 500, 1 300, 2 250 kbit/s */
    unsigned count;
    FloppySector *sector; /* in the order in which they pass under the head */
} FloppyTrack;

typedef struct FloppyDisk {
    unsigned cylinders, heads;
    FloppyTrack track[FLOPPY_CYLINDERS][FLOPPY_HEADS];
    uint8_t *data;
    size_t size; /* bytes of data, whole 512s */
} FloppyDisk;

/* NULL: the image knows its size only. Lent; also of the image under an overlay. */
const FloppyDisk *block_floppy(const Block *b);

/* For the formats. False: out of range, there already, or no memory. */
bool floppy_add_track(FloppyDisk *d, unsigned cylinder, unsigned head, unsigned count);
/* Gives each sector its offset and makes room for the data. false: nothing in it, or too much. */
bool floppy_lay_out(FloppyDisk *d);
void floppy_free(FloppyDisk *d);
static inline uint32_t floppy_sector_bytes(const FloppySector *s)
{
    return 128u << s->n;
}

/* A new IMD image of what is in a floppy image of any format. The file must not exist. */
bool imd_write(const char *path, Block *from, Err *err);

#endif
