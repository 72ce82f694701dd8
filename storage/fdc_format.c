/* Floppy disk controller: what layouts floppy images have, by their size or as they know it. */
#include "storage/fdc.h"
#include "storage/floppy_image.h"

bool fdc_guess_format(uint64_t bytes, FdcFormat *format)
{
    /* The sizes that were sold, then what formatting programs made of them. */
    static const FdcFormat known[] = {
        {40, 1, 8, 2},  {40, 1, 9, 2},  {40, 2, 8, 2},  {40, 2, 9, 2},  {80, 2, 9, 2},
        {80, 2, 15, 2}, {80, 2, 18, 2}, {80, 2, 36, 2}, {80, 2, 21, 2}, {77, 2, 8, 3},
    };
    static const uint8_t tracks[] = {80, 82, 83, 81, 84, 85, 40, 41, 42, 43};
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const FdcFormat *k = &known[i];
        if (bytes == (uint64_t)k->tracks * k->heads * k->sectors * (128u << k->size_code)) {
            *format = *k;
            return true;
        }
    }
    for (unsigned i = 0; i < sizeof(tracks); i++) {
        uint64_t side = (uint64_t)tracks[i] * 2 * BLOCK_SECTOR;
        uint64_t least = tracks[i] >= 80 ? 8 : 8, most = tracks[i] >= 80 ? 44 : 10;
        if (bytes % side == 0 && bytes / side >= least && bytes / side <= most) {
            *format = (FdcFormat){tracks[i], 2, (uint8_t)(bytes / side), 2};
            return true;
        }
    }
    return false;
}

bool fdc_medium_format(const Block *medium, FdcFormat *format)
{
    const FloppyDisk *disk = block_floppy(medium);
    if (!disk) {
        return fdc_guess_format(block_size(medium), format);
    }
    *format = (FdcFormat){(uint8_t)disk->cylinders, (uint8_t)disk->heads, 1, 2};
    for (unsigned c = disk->cylinders; c-- > 0;) { /* the first track that has sectors */
        for (unsigned h = disk->heads; h-- > 0;) {
            const FloppyTrack *t = &disk->track[c][h];
            if (t->count) {
                format->sectors = (uint8_t)t->count;
                format->size_code = t->sector[0].n;
            }
        }
    }
    return true;
}
