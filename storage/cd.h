/* What is on a CD: tracks, addresses, and whole sectors of 2352 bytes made from their 2048 bytes of
 * data.
 *
 * Sources: ECMA-130 (sector layout, EDC and ECC), MMC-3 (table of contents). An LBA of 0 is the
 * time 00:02:00.
 */
#ifndef STORAGE_CD_H
#define STORAGE_CD_H

#include "storage/block.h"

#define CD_MAX_TRACKS 99u
#define CD_SECTOR 2048u     /* user data */
#define CD_RAW_SECTOR 2352u /* all of it */
#define CD_LEAD_IN 150u     /* sectors between time 00:00:00 and LBA 0 */

typedef struct CdTrack {
    uint8_t control; /* Q control field: 1 pre-emphasis, 2 may be copied, 4 data, 8 four channels */
    uint8_t mode;    /* 0 audio, 1, 2 */
    uint32_t start;  /* LBA of INDEX 01 */
} CdTrack;

typedef struct CdToc {
    unsigned tracks; /* 1..99, numbered from 1 */
    CdTrack track[CD_MAX_TRACKS];
    uint32_t lead_out; /* LBA */
} CdToc;

/* The disc in an image; an image that is no CD format is one data track. */
void cd_toc(const Block *medium, CdToc *toc);
/* Whole sectors, 2352 bytes each; 0 or errno. */
int cd_read_raw(Block *medium, uint32_t lba, uint8_t *data, uint32_t count);
/* The number of the track that holds this sector, from 1. */
unsigned cd_track_at(const CdToc *toc, uint32_t lba);
/* Minutes, seconds and frames of an LBA, as three bytes. */
void cd_msf(uint32_t lba, uint8_t *msf);
uint32_t cd_lba(const uint8_t *msf); /* 0 for times before LBA 0 */
/* Mode 1: sync, header, the data already at raw + 16, EDC and ECC around them. */
void cd_make_raw(uint8_t *raw, uint32_t lba);
/* Sync and header alone. */
void cd_make_head(uint8_t *raw, uint32_t lba, uint8_t mode);

#endif
