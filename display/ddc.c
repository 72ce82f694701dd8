/* DDC2B: the monitor's EDID, read over I2C from address A0h.
 *
 * VESA E-EDID standard release A and DDC standard version 3; I2C bus specification. A card that has
 * no such wires copies the block. Not modelled: writes to the EDID, segments, clock stretching.
 * Part of the display cards.
 */
#include "display/ddc.h"

#include <string.h>

enum {
    SLAVE = 0xa0, /* the lowest bit says: read */

    PHASE_IDLE = 0,
    PHASE_SELECT,  /* slave address */
    PHASE_ADDRESS, /* word address */
    PHASE_IGNORE,  /* more bytes written: acknowledged, dropped */
    PHASE_READ,
    PHASE_COUNT,
};

/* 1024 x 768 at 60 Hz, 65 MHz (VESA DMT 10h), in the layout of a detailed timing. */
static const uint8_t preferred[18] = {0x64, 0x19, 0x00, 0x40, 0x41, 0x00, 0x26, 0x30, 0x18,
                                      0x88, 0x36, 0x00, 0x68, 0x0e, 0x11, 0x00, 0x00, 0x18};
/* Monitor range: 50-160 Hz, 30-130 kHz, 380 MHz. */
static const uint8_t range[18] = {0,  0, 0,  0xfd, 0,  50, 160, 30, 130,
                                  38, 0, 10, 32,   32, 32, 32,  32, 32};
static const uint8_t name[18] = {0,   0,   0,   0xfc, 0,   'V', 'i', 't', 'r',
                                 'i', 'n', 'e', 0x0a, ' ', ' ', ' ', ' ', ' '};

void ddc_edid(uint8_t edid[DDC_EDID_SIZE])
{
    static const uint8_t head[] = {
        0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, /* header */
        0x5a, 0x92, 0x01, 0x00, 0x01, 0x00, 0x00, 0x00, /* maker VTR, product, serial */
        0x01, 0x0a, 0x01, 0x03,                         /* week 1 of 2000; EDID 1.3 */
        0x08, 0x24, 0x1b, 0x78, 0x0a, /* analog, 36 x 27 cm, gamma 2.2, colour, first timing best */
        0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54, /* sRGB */
        0xaf, 0xcf, 0x00, /* 720x400@70, VGA, SVGA, XGA, SXGA */
        /* 1280x1024, 1280x960, 1152x864, 1600x1200, 1920x1440, 2048x1536 at 60 Hz, 1920x1200 */
        0x81, 0x80, 0x81, 0x40, 0x71, 0x40, 0xa9, 0x40, 0xd1, 0x40, 0xe1, 0x40, 0xd1, 0x00, 0x01,
        0x01};
    _Static_assert(sizeof(head) == 54, "the detailed timings come at 36h");
    memset(edid, 0, DDC_EDID_SIZE);
    memcpy(edid, head, sizeof(head));
    memcpy(edid + 54, preferred, sizeof(preferred));
    memcpy(edid + 72, range, sizeof(range));
    memcpy(edid + 90, name, sizeof(name));
    edid[108 + 3] = 0x10; /* dummy descriptor */
    uint8_t sum = 0;
    for (unsigned i = 0; i < DDC_EDID_SIZE - 1; i++) {
        sum = (uint8_t)(sum + edid[i]);
    }
    edid[DDC_EDID_SIZE - 1] = (uint8_t)-sum;
}

void ddc_init(Ddc *d)
{
    *d = (Ddc){.clock = true, .data = true, .out = true};
}

static uint8_t byte_at(uint8_t address)
{
    uint8_t edid[DDC_EDID_SIZE];
    ddc_edid(edid);
    return edid[address % DDC_EDID_SIZE];
}

/* A whole byte came from the card: what it means, and whether we acknowledge. */
static bool take(Ddc *d)
{
    switch (d->phase) {
    case PHASE_SELECT:
        if ((d->shift & 0xfe) != SLAVE) {
            d->phase = PHASE_IDLE;
            return false;
        }
        d->phase = d->shift & 1 ? PHASE_READ : PHASE_ADDRESS;
        return true;
    case PHASE_ADDRESS:
        d->address = d->shift;
        d->phase = PHASE_IGNORE;
        return true;
    default:
        return true;
    }
}

/* The clock rose: the data wire is valid. */
static void clock_rose(Ddc *d)
{
    if (d->phase == PHASE_IDLE) {
        return;
    }
    if (d->bits < 8) {
        d->shift = (uint8_t)(d->shift << 1 | ddc_data(d));
    } else if (d->phase == PHASE_READ && d->data && d->out) {
        d->phase = PHASE_IDLE; /* not acknowledged: the card has enough */
    }
    d->bits++;
}

/* The clock fell: we may change the data wire. */
static void clock_fell(Ddc *d)
{
    d->out = true;
    if (d->phase == PHASE_IDLE) {
        return;
    }
    if (d->bits == 8) { /* the byte is complete: acknowledge, unless we sent it */
        bool sent = d->phase == PHASE_READ;
        d->out = sent || !take(d);
        return;
    }
    if (d->bits > 8) {
        d->bits = 0;
    }
    if (d->phase == PHASE_READ) {
        if (d->bits == 0) {
            d->shift = byte_at(d->address++);
        }
        /* what we send comes back into `shift` bit by bit, so the next bit is always on top */
        d->out = (d->shift & 0x80) != 0;
    }
}

void ddc_drive(Ddc *d, bool clock, bool data)
{
    bool clock_was = d->clock, data_was = d->data;
    d->data = data;
    if (clock_was && clock && data != data_was) { /* start or stop */
        d->phase = data ? PHASE_IDLE : PHASE_SELECT;
        d->bits = data ? 0 : 9; /* the next falling edge begins a byte */
        d->out = true;
    }
    d->clock = clock;
    if (clock && !clock_was) {
        clock_rose(d);
    } else if (!clock && clock_was) {
        clock_fell(d);
    }
}

bool ddc_data(const Ddc *d)
{
    return d->data && d->out;
}

void ddc_state(Ddc *d, StateIo *io)
{
    state_bool(io, "ddc_clock", &d->clock);
    state_bool(io, "ddc_data", &d->data);
    state_bool(io, "ddc_out", &d->out);
    state_u8(io, "ddc_phase", &d->phase);
    state_u8(io, "ddc_bits", &d->bits);
    state_u8(io, "ddc_shift", &d->shift);
    state_u8(io, "ddc_address", &d->address);
    state_check(io, d->phase < PHASE_COUNT && d->bits <= 9, "DDC is in no such phase");
}
