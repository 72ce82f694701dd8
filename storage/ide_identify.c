/* The pages in which drives describe themselves: IDENTIFY DEVICE, IDENTIFY PACKET DEVICE, SMART.
 *
 * ATA/ATAPI-6, 8.15 and 8.16; SFF-8020i for the bits that DOS drivers look at. Words are stored low
 * byte first, texts with the bytes of each word exchanged.
 */
#include <string.h>

#include "storage/ide_internal.h"

enum { MAX_MULTIPLE = 16 };

static void put(uint8_t *page, unsigned word, unsigned value)
{
    page[2 * word] = (uint8_t)value;
    page[2 * word + 1] = (uint8_t)(value >> 8);
}

static void put_text(uint8_t *page, unsigned word, unsigned words, const char *text)
{
    size_t length = strlen(text);
    for (unsigned i = 0; i < 2 * words; i++) {
        page[2 * word + (i ^ 1)] = (uint8_t)(i < length ? text[i] : ' ');
    }
}

/* Modes a drive can do in the low byte, the one that is set in the high byte. */
static unsigned modes(const IdeUnit *u, unsigned all, uint8_t base, unsigned count)
{
    unsigned mode = u->g.transfer_mode;
    return all | (mode >= base && mode < base + count ? 0x100u << (mode - base) : 0);
}

static void identify_common(const IdeUnit *u, uint8_t *page)
{
    char serial[] = "VT00000001";
    serial[9] = (char)('1' + u->drive);
    put_text(page, 10, 10, serial);
    put_text(page, 23, 4, "1.0");
    put(page, 53, 0x0007);                  /* words 54-58, 64-70 and 88 are valid */
    put(page, 63, modes(u, 0x07, 0x20, 3)); /* multiword DMA 0..2 */
    put(page, 64, 0x0003);                  /* PIO 3 and 4 */
    put(page, 65, 120);                     /* ns a cycle: multiword DMA least, recommended */
    put(page, 66, 120);
    put(page, 67, 120); /* PIO without and with IORDY */
    put(page, 68, 120);
    put(page, 88, modes(u, 0x3f, 0x40, 6));              /* Ultra DMA 0..5 */
    put(page, 93, 0x600b | (u->drive % 2 ? 0x0100 : 0)); /* 80 wires; reset was passed by jumper */
}

void ide_identify_disk(const IdeUnit *u, uint8_t *page)
{
    const IdeGeometry *g = &u->geometry;
    uint64_t total = block_size(u->medium) / BLOCK_SECTOR;
    uint32_t lba28 = total > 0x0fffffff ? 0x0fffffff : (uint32_t)total;
    uint32_t chs = (uint32_t)u->g.cylinders * u->g.heads * u->g.sectors;
    memset(page, 0, BLOCK_SECTOR);
    identify_common(u, page);
    put(page, 0, 0x0040); /* fixed drive */
    put(page, 1, g->cylinders);
    put(page, 3, g->heads);
    put(page, 4, 512 * g->sectors); /* unformatted bytes a track, a sector: for old drivers */
    put(page, 5, 512);
    put(page, 6, g->sectors);
    put(page, 20, 3); /* dual-ported buffer with look-ahead */
    put(page, 21, 512);
    put(page, 22, 4);
    put_text(page, 27, 20, "VITRINE HARDDISK");
    put(page, 47, 0x8000 | MAX_MULTIPLE);
    put(page, 48, 1);      /* 32-bit transfers */
    put(page, 49, 0x0f00); /* IORDY, LBA, DMA */
    put(page, 50, 0x4000);
    put(page, 51, 0x0200);
    put(page, 52, 0x0200);
    put(page, 54, u->g.cylinders);
    put(page, 55, u->g.heads);
    put(page, 56, u->g.sectors);
    put(page, 57, chs & 0xffff);
    put(page, 58, chs >> 16);
    put(page, 59, u->g.multiple ? 0x0100u | u->g.multiple : 0);
    put(page, 60, lba28 & 0xffff);
    put(page, 61, lba28 >> 16);
    put(page, 80, 0x007e); /* ATA-1 to ATA/ATAPI-6 */
    put(page, 81, 0x0016);
    put(page, 82, 0x7069); /* NOP, buffers, look-ahead, cache, power, SMART */
    put(page, 83, 0x7400); /* FLUSH CACHE, FLUSH CACHE EXT, 48-bit */
    put(page, 84, 0x4000);
    put(page, 85,
        0x7008u | (u->g.smart ? 1 : 0) | (u->g.write_cache ? 0x20 : 0) |
            (u->g.look_ahead ? 0x40 : 0));
    put(page, 86, 0x3400);
    put(page, 87, 0x4000);
    for (unsigned i = 0; i < 4; i++) {
        put(page, 100 + i, (unsigned)(total >> (16 * i)) & 0xffff);
    }
    uint8_t sum = 0xa5;
    page[510] = 0xa5;
    for (unsigned i = 0; i < 510; i++) {
        sum = (uint8_t)(sum + page[i]);
    }
    page[511] = (uint8_t)-sum; /* word 255: signature and checksum */
}

void ide_identify_packet(const IdeUnit *u, uint8_t *page)
{
    memset(page, 0, BLOCK_SECTOR);
    identify_common(u, page);
    /* ATAPI CD-ROM, removable, DRQ within 50 us of PACKET without an interrupt, 12-byte packets */
    put(page, 0, 0x85c0);
    put_text(page, 27, 20, "VITRINE CD-ROM");
    put(page, 48, 1);
    put(page, 49, 0x0f00);
    put(page, 71, 30); /* ns from PACKET, and from SERVICE */
    put(page, 72, 30);
    put(page, 80, 0x007e);
    put(page, 82, 0x4210); /* PACKET set, DEVICE RESET, NOP */
    put(page, 83, 0x4000);
    put(page, 84, 0x4000);
    put(page, 85, 0x4210);
    put(page, 87, 0x4000);
}

/* SMART data (8.55.5): four attributes that a healthy disk shows, and their thresholds. */
void ide_smart_page(const IdeUnit *u, uint8_t feature, uint8_t *page)
{
    static const uint8_t attribute[][3] = {
        /* id, value, threshold */
        {1, 100, 6},
        {5, 100, 36},
        {9, 100, 0},
        {194, 100, 0},
    };
    (void)u;
    memset(page, 0, BLOCK_SECTOR);
    page[0] = feature == 0xd5 ? 0 : 1; /* structure revision; logs: none is kept */
    if (feature != 0xd5) {
        for (unsigned i = 0; i < sizeof(attribute) / sizeof(attribute[0]); i++) {
            uint8_t *entry = page + 2 + 12 * i;
            entry[0] = attribute[i][0];
            if (feature == 0xd0) {
                entry[1] = 3; /* flags: pre-failure, online */
                entry[3] = entry[4] = attribute[i][1];
            } else {
                entry[1] = attribute[i][2];
            }
        }
        if (feature == 0xd0) {
            page[362] = 0x02; /* offline data collection was completed */
            page[368] = 0x03;
        }
    }
    uint8_t sum = 0;
    for (unsigned i = 0; i < 511; i++) {
        sum = (uint8_t)(sum + page[i]);
    }
    page[511] = (uint8_t)-sum;
}
