/* DP8390: receive ring, transmitter, loopback.
 *
 * Data sheet: National Semiconductor DP8390D/NS32490D, "Buffer Ring", "Transmission", "Loopback
 * Diagnostics". A frame that finds the receive ring full waits at the back end until the guest has
 * made room, as if its sender had been busy; only when no room comes for `patience` it is lost with
 * the overflow that the data sheet describes. dp8390.c says what is not modelled.
 */
#include <string.h>
#include <zlib.h>

#include "chipset/cards/dp8390_internal.h"
#include "machine/core/log.h"

LOG_TAG("dp8390");

enum {
    PAGE = 256,
    HEADER = 4,
    FCS = 4,
    SHORTEST = 60, /* without FCS */
    AGAIN_NS = 100000,
};
#define GOOD_FCS 0x2144df1cu /* the CRC of a frame with its own FCS */

/* --- receiver --- */

static uint32_t fcs(const uint8_t *data, size_t size)
{
    return (uint32_t)crc32(0, data, (uInt)size);
}

/* The six most significant bits of the address's CRC, as shifted in bit by bit (data sheet,
 * "Multicast Address Registers"). zlib's CRC is the same register mirrored. */
static unsigned multicast_hash(const uint8_t *address)
{
    uint32_t mirrored = ~fcs(address, 6);
    unsigned hash = 0;
    for (unsigned i = 0; i < 6; i++) {
        hash = hash << 1 | (mirrored >> i & 1);
    }
    return hash;
}

static bool address_matches(const Dp8390 *d, const uint8_t *frame)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    if (memcmp(frame, broadcast, 6) == 0) {
        return d->g.rcr & RCR_AB;
    }
    if (frame[0] & 1) {
        unsigned hash = multicast_hash(frame);
        return d->g.rcr & RCR_AM && d->g.mar[hash / 8] >> hash % 8 & 1;
    }
    return d->g.rcr & RCR_PRO || memcmp(frame, d->g.par, 6) == 0;
}

static uint8_t page_after(const Dp8390 *d, uint8_t page)
{
    page++;
    return page == d->g.pstop ? d->g.pstart : page;
}

/* QUIRK: Linux's 8390 driver, which keeps BNRY a page behind, writes the page before PSTART when it
 * means the last of the ring. Nothing would ever compare equal to that. */
static uint8_t boundary(const Dp8390 *d)
{
    return d->g.bnry + 1 == d->g.pstart ? (uint8_t)(d->g.pstop - 1) : d->g.bnry;
}

/* Whether a frame fits between CURR and BNRY. The chip compares at each link to a new page, the one
 * behind the frame included, but not at CURR itself. */
static bool ring_has_room(const Dp8390 *d, size_t size)
{
    uint8_t page = d->g.curr;
    for (size_t done = 0; done < HEADER + size + FCS; done += PAGE) {
        page = page_after(d, page);
        if (page == boundary(d)) {
            return false;
        }
    }
    return true;
}

static uint16_t ring_put(Dp8390 *d, uint16_t address, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        dp8390_memory_write(d, address, data[i]);
        address++;
        if (address % PAGE == 0 && address >> 8 == d->g.pstop) {
            address = (uint16_t)(d->g.pstart << 8);
        }
    }
    return address;
}

static void store(Dp8390 *d, const uint8_t *frame, size_t size)
{
    uint8_t next = d->g.curr;
    for (size_t done = 0; done < HEADER + size + FCS; done += PAGE) {
        next = page_after(d, next);
    }
    uint32_t check = fcs(frame, size);
    uint8_t tail[FCS] = {(uint8_t)check, (uint8_t)(check >> 8), (uint8_t)(check >> 16),
                         (uint8_t)(check >> 24)};
    d->g.rsr = (uint8_t)(RSR_PRX | (frame[0] & 1 ? RSR_PHY : 0));
    uint8_t header[HEADER] = {d->g.rsr, next, (uint8_t)(size + FCS), (uint8_t)((size + FCS) >> 8)};
    uint16_t address = ring_put(d, (uint16_t)(d->g.curr << 8), header, HEADER);
    address = ring_put(d, address, frame, size);
    d->g.clda = ring_put(d, address, tail, FCS);
    d->g.curr = next;
    d->g.impatient = false;
    timer_disarm(&d->waited);
    log_trace("stored %zu bytes, curr 0x%02x, bnry 0x%02x", size, next, d->g.bnry);
    dp8390_raise(d, ISR_PRX);
}

static bool ring_holds_frames(const Dp8390 *d)
{
    return d->g.curr != d->g.bnry && d->g.curr != page_after(d, boundary(d));
}

/* QUIRK: Linux's 8390 driver takes ten frames an interrupt at most, then acknowledges it; what is
 * left waits for the next frame to come. On a real wire the ring is empty long before, but here
 * frames can arrive as fast as the guest takes them. So PRX rises once more while the driver makes
 * progress and frames are left. */
void dp8390_acknowledged(Dp8390 *d)
{
    if (ring_holds_frames(d)) {
        timer_arm(&d->again, clock_now(d->clock) + AGAIN_NS);
    }
}

void dp8390_raise_again(void *self, int64_t due)
{
    Dp8390 *d = self;
    (void)due;
    if (dp8390_running(d) && ring_holds_frames(d) &&
        (d->g.again_bnry != d->g.bnry || d->g.again_curr != d->g.curr)) {
        d->g.again_bnry = d->g.bnry;
        d->g.again_curr = d->g.curr;
        dp8390_raise(d, ISR_PRX);
    }
}

static void overflow(Dp8390 *d)
{
    log_trace("ring overflow: curr 0x%02x bnry 0x%02x", d->g.curr, d->g.bnry);
    d->g.rsr = RSR_MPA;
    dp8390_count(d, TALLY_MISSED);
    dp8390_raise(d, ISR_OVW | ISR_RST);
}

bool dp8390_receive(void *self, const uint8_t *frame, size_t size)
{
    Dp8390 *d = self;
    d->waiting = false;
    if (!dp8390_running(d) || d->g.tcr & TCR_LB || size < 14 || size > NET_MAX_FRAME ||
        (size < SHORTEST && !(d->g.rcr & RCR_AR)) || !address_matches(d, frame)) {
        return true;
    }
    if (d->g.rcr & RCR_MON) {
        d->g.rsr = (uint8_t)(RSR_DIS | RSR_MPA | (frame[0] & 1 ? RSR_PHY : 0));
        dp8390_count(d, TALLY_MISSED);
    } else if (ring_has_room(d, size)) {
        store(d, frame, size);
    } else if (d->g.impatient || d->patience == 0) {
        overflow(d);
    } else {
        d->waiting = true;
        if (!d->waited.armed) {
            timer_arm(&d->waited, clock_now(d->clock) + d->patience);
        }
        return false;
    }
    return true;
}

/* Something has changed that may let a waiting frame in. */
void dp8390_may_receive(Dp8390 *d)
{
    if (d->waiting && d->port.ops) {
        d->waiting = false;
        d->port.ops->ready(d->port.backend);
    }
}

void dp8390_waited_in_vain(void *self, int64_t due)
{
    Dp8390 *d = self;
    (void)due;
    d->g.impatient = true;
    dp8390_may_receive(d);
}

/* --- transmitter --- */

/* The receiver's end of a loopback: no memory is written; the FIFO goes round and keeps the last
 * bytes, then the length (data sheet, "Loopback Diagnostics"). */
static void loop_back(Dp8390 *d, const uint8_t *frame, size_t size)
{
    uint8_t tail[FCS + 3];
    bool good = false;
    size_t extra = 0;
    if (d->g.tcr & TCR_CRC) {
        /* The one CRC logic is free to check what the software appended. */
        good = size >= FCS && fcs(frame, size) == GOOD_FCS;
    } else {
        uint32_t check = fcs(frame, size);
        for (; extra < FCS; extra++) {
            tail[extra] = (uint8_t)(check >> 8 * extra);
        }
    }
    size_t total = size + extra;
    tail[extra++] = (uint8_t)total;
    tail[extra++] = (uint8_t)(total >> 8);
    tail[extra++] = (uint8_t)(total >> 8);
    size_t from = size > DP8390_FIFO ? size - DP8390_FIFO : 0;
    for (size_t i = from; i < size + extra; i++) {
        d->g.fifo[i % DP8390_FIFO] = i < size ? frame[i] : tail[i - size];
    }
    d->g.fifo_at = 0;
    if (size >= 6 && address_matches(d, frame)) {
        d->g.rsr = (uint8_t)((good ? RSR_PRX : RSR_CRC) | (frame[0] & 1 ? RSR_PHY : 0));
        if (!good) {
            dp8390_count(d, TALLY_CRC);
        }
    }
}

/* To the wire. A frame whose own FCS is wrong is one that nobody would take. */
static void send(Dp8390 *d, const uint8_t *frame, size_t size)
{
    if (d->g.tcr & TCR_CRC) {
        if (size < FCS || fcs(frame, size) != GOOD_FCS) {
            log_guest("a frame with a wrong FCS is dropped");
            return;
        }
        size -= FCS;
    }
    if (size < 14 || size > NET_MAX_FRAME) {
        log_guest("a frame of %zu bytes is dropped", size);
    } else if (d->port.ops) {
        d->port.ops->send(d->port.backend, frame, size);
    }
}

void dp8390_transmit(Dp8390 *d)
{
    uint8_t frame[NET_MAX_FRAME + FCS + 1];
    size_t size = d->g.tbcr < sizeof(frame) ? d->g.tbcr : sizeof(frame);
    uint16_t address = (uint16_t)(d->g.tpsr << 8);
    for (size_t i = 0; i < size; i++) {
        frame[i] = dp8390_memory_read(d, address++);
    }
    d->g.clda = address;
    d->g.tsr = TSR_PTX | TSR_ND;
    unsigned mode = d->g.tcr & TCR_LB;
    if (mode) {
        loop_back(d, frame, size);
        /* Carrier and heartbeat do not reach a chip that talks to itself. */
        d->g.tsr |= (uint8_t)(mode == TCR_LB_NIC     ? TSR_CDH | TSR_CRS
                              : mode == TCR_LB_ENDEC ? TSR_CDH
                                                     : 0);
    }
    if (mode == 0 || mode == TCR_LB) {
        send(d, frame, size);
    }
    d->g.ncr = 0;
    d->g.cr &= (uint8_t)~CR_TXP;
    dp8390_raise(d, ISR_PTX);
}
