/* CD tracks, times, and mode 1 sectors with their error codes (ECMA-130, clauses 14 and annex A).
 */
#include "storage/cd.h"

#include <errno.h>
#include <string.h>

#include "storage/block_format.h"

void cd_toc(const Block *medium, CdToc *toc)
{
    if (medium->format->toc) {
        medium->format->toc(medium, toc);
        return;
    }
    toc->tracks = 1;
    toc->track[0] = (CdTrack){.control = 4, .mode = 1, .start = 0};
    toc->lead_out = (uint32_t)((block_size(medium) + CD_SECTOR - 1) / CD_SECTOR);
}

int cd_read_raw(Block *medium, uint32_t lba, uint8_t *data, uint32_t count)
{
    if (medium->format->read_raw) {
        return medium->format->read_raw(medium, lba, data, count);
    }
    uint64_t size = block_size(medium);
    int error = 0;
    for (uint32_t i = 0; i < count && !error; i++) {
        uint8_t *raw = data + (size_t)i * CD_RAW_SECTOR;
        uint64_t offset = (uint64_t)(lba + i) * CD_SECTOR;
        uint64_t rest = offset < size ? size - offset : 0; /* the last one may be short */
        memset(raw, 0, CD_RAW_SECTOR);
        error =
            rest ? block_read(medium, offset, raw + 16, rest < CD_SECTOR ? (size_t)rest : CD_SECTOR)
                 : EINVAL;
        cd_make_raw(raw, lba + i);
    }
    return error;
}

unsigned cd_track_at(const CdToc *toc, uint32_t lba)
{
    unsigned n = 1;
    while (n < toc->tracks && toc->track[n].start <= lba) {
        n++;
    }
    return n;
}

void cd_msf(uint32_t lba, uint8_t *msf)
{
    uint32_t frames = lba + CD_LEAD_IN;
    msf[0] = (uint8_t)(frames / (75 * 60));
    msf[1] = (uint8_t)(frames / 75 % 60);
    msf[2] = (uint8_t)(frames % 75);
}

uint32_t cd_lba(const uint8_t *msf)
{
    uint32_t frames = (msf[0] * 60u + msf[1]) * 75u + msf[2];
    return frames < CD_LEAD_IN ? 0 : frames - CD_LEAD_IN;
}

static uint8_t bcd(uint8_t value)
{
    return (uint8_t)(value / 10 << 4 | value % 10);
}

/* CRC of polynomial (x^16 + x^15 + x^2 + 1)(x^16 + x^2 + x + 1), low bits first. */
static uint32_t edc_of(const uint8_t *data, size_t length)
{
    uint32_t edc = 0;
    for (size_t i = 0; i < length; i++) {
        edc ^= data[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            edc = edc >> 1 ^ (edc & 1 ? 0xd8018001u : 0);
        }
    }
    return edc;
}

static uint8_t twice(uint8_t value)
{
    return (uint8_t)(value << 1 ^ (value & 0x80 ? 0x1d : 0));
}

/* Division by (1 + x) in the field with x^8 = x^4 + x^3 + x^2 + 1. */
static uint8_t divide_by_3(uint8_t value)
{
    /* the inverse of 3 is f4h; multiply by it bit by bit */
    uint8_t product = 0;
    for (uint8_t factor = 0xf4; factor; factor >>= 1) {
        if (factor & 1) {
            product ^= value;
        }
        value = twice(value);
    }
    return product;
}

/* One of the two product codes over the bytes from the header on: `words` code words of `length`
 * symbols each, and their two parity symbols. */
static void add_parity(uint8_t *block, unsigned words, unsigned length, unsigned word_step,
                       unsigned symbol_step, uint8_t *parity)
{
    unsigned size = words * length;
    for (unsigned word = 0; word < words; word++) {
        unsigned at = (word >> 1) * word_step + (word & 1);
        uint8_t a = 0, b = 0;
        for (unsigned i = 0; i < length; i++) {
            uint8_t symbol = block[at];
            at += symbol_step;
            at -= at >= size ? size : 0;
            a = twice(a ^ symbol);
            b ^= symbol;
        }
        a = divide_by_3(twice(a) ^ b);
        parity[word] = a;
        parity[word + words] = a ^ b;
    }
}

void cd_make_head(uint8_t *raw, uint32_t lba, uint8_t mode)
{
    uint8_t msf[3];
    memset(raw, 0xff, 12);
    raw[0] = raw[11] = 0;
    cd_msf(lba, msf);
    for (unsigned i = 0; i < 3; i++) {
        raw[12 + i] = bcd(msf[i]);
    }
    raw[15] = mode;
}

void cd_make_raw(uint8_t *raw, uint32_t lba)
{
    cd_make_head(raw, lba, 1);
    uint32_t edc = edc_of(raw, 16 + CD_SECTOR);
    for (unsigned i = 0; i < 4; i++) {
        raw[2064 + i] = (uint8_t)(edc >> (8 * i));
    }
    memset(raw + 2068, 0, 8);
    add_parity(raw + 12, 86, 24, 2, 86, raw + 2076);
    add_parity(raw + 12, 52, 43, 86, 88, raw + 2248);
}
