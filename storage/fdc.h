/* Floppy disk controller 82077AA and its two drives, in PC/AT mode (Intel 82077AA data sheet,
 * 290166).
 *
 * Ports 3F0h..3F5h and 3F7h (3F6h is the IDE interface's), IRQ6, DMA channel 2.
 */
#ifndef STORAGE_FDC_H
#define STORAGE_FDC_H

#include "machine/core/dma.h"
#include "machine/core/line.h"
#include "storage/block_queue.h"

#define FDC_DRIVES 2u

typedef struct Fdc Fdc;

/* The values are those of CMOS byte 10h (drive A in the high nibble). */
typedef enum FdcDriveType {
    FDC_NONE,
    FDC_360K,  /* 5.25", 40 tracks */
    FDC_1200K, /* 5.25", 80 tracks */
    FDC_720K,  /* 3.5" */
    FDC_1440K,
    FDC_2880K,
    FDC_AUTO /* by the first medium; 1.44 MB when there is none */
} FdcDriveType;

/* How a disk is laid out. */
typedef struct FdcFormat {
    uint8_t tracks, heads, sectors; /* sectors a track, numbered from 1 */
    uint8_t size_code;              /* N: a sector has 128 << N bytes */
} FdcFormat;

typedef struct FdcConfig {
    uint16_t base; /* 3F0h */
    Line irq;
    DmaLine dma;
    BlockQueue *queue;
    FdcDriveType drive[FDC_DRIVES];
    Block *medium[FDC_DRIVES]; /* owned by the Fdc from then on; NULL: none */
    unsigned hurry;            /* mechanics run so many times faster than real; 0: 16 */
} FdcConfig;

/* Media whose size is no floppy's are taken out with a warning: check with fdc_guess_format first.
 */
Fdc *fdc_new(Board *b, const FdcConfig *config, const char *id);
/* What kind of drive it is, AUTO resolved: for the CMOS. */
FdcDriveType fdc_drive_type(const Fdc *fdc, unsigned drive);
/* Can the image be a floppy? Its layout: as it knows itself, or by its size. */
bool fdc_medium_format(const Block *medium, FdcFormat *format);
/* The layout of a disk of this many bytes; false when no floppy has that size. */
bool fdc_guess_format(uint64_t bytes, FdcFormat *format);

/* Front end, on the machine's thread. NULL takes the disk out. Takes over `medium`; false (and
 * medium is closed) when its size is no floppy's or there is no such drive. */
bool fdc_change_medium(Fdc *fdc, unsigned drive, Block *medium);
Block *fdc_medium(const Fdc *fdc, unsigned drive); /* lent */
/* The drive's motor runs: a front end's activity light. */
bool fdc_motor(const Fdc *fdc, unsigned drive);

#endif
