/* DP8390 network interface controller, with PROM and 16 KiB of memory as an NE2000 wires them.
 *
 * Data sheet: National Semiconductor DP8390D/NS32490D. Not modelled: time on the wire (a frame is
 * sent at once, so there are no collisions), bad CRCs and odd nibbles on the wire (NetPort carries
 * good frames only; SEP is kept), and that a 16-bit loopback sends every other byte only.
 *
 * A frame that finds the receive ring full waits at the back end until the guest has made room, as
 * if its sender had been busy; only when no room comes for `patience` it is lost with the overflow
 * that the data sheet describes. Used by ne2000.c and rtl8029.c.
 */
#include <string.h>
#include <zlib.h>

#include "chipset/cards/dp8390_internal.h"
#include "machine/core/log.h"

LOG_TAG("dp8390");

enum {
    CR_STP = 0x01,
    CR_STA = 0x02,
    CR_TXP = 0x04,
    CR_RD = 0x38,
    CR_RD_READ = 0x08,
    CR_RD_WRITE = 0x10,
    CR_RD_SEND = 0x18,
    CR_RD_ABORT = 0x20,
    CR_PAGE_SHIFT = 6,

    ISR_PRX = 0x01,
    ISR_PTX = 0x02,
    ISR_OVW = 0x10,
    ISR_CNT = 0x20,
    ISR_RDC = 0x40,
    ISR_RST = 0x80,

    DCR_WTS = 0x01,
    DCR_LAS = 0x04,

    TCR_CRC = 0x01, /* the software appends the CRC */
    TCR_LB = 0x06,
    TCR_LB_NIC = 0x02,
    TCR_LB_ENDEC = 0x04,
    TCR_MASK = 0x1f,

    TSR_PTX = 0x01,
    TSR_ND = 0x02, /* not deferred */
    TSR_CRS = 0x10,
    TSR_CDH = 0x40,

    RCR_AR = 0x02,
    RCR_AB = 0x04,
    RCR_AM = 0x08,
    RCR_PRO = 0x10,
    RCR_MON = 0x20,
    RCR_MASK = 0x3f,

    RSR_PRX = 0x01,
    RSR_CRC = 0x02,
    RSR_MPA = 0x10,
    RSR_PHY = 0x20, /* the address was a group's */
    RSR_DIS = 0x40, /* monitor mode */
};
enum { TALLY_ALIGNMENT, TALLY_CRC, TALLY_MISSED };
enum {
    PAGE = 256,
    HEADER = 4,
    FCS = 4,
    SHORTEST = 60, /* without FCS */
    TALLY_CNT = 128,
    TALLY_STOP = 192,
    AGAIN_NS = 100000,
};

static void update_irq(Dp8390 *d)
{
    line_set(&d->irq, (d->g.isr & d->g.imr & ~ISR_RST) != 0);
}

static void raise(Dp8390 *d, uint8_t bits)
{
    d->g.isr |= bits;
    update_irq(d);
}

static void count(Dp8390 *d, unsigned tally)
{
    if (d->g.tally[tally] < TALLY_STOP) {
        d->g.tally[tally]++;
    }
    if (d->g.tally[tally] >= TALLY_CNT) {
        raise(d, ISR_CNT);
    }
}

static bool running(const Dp8390 *d)
{
    return (d->g.cr & (CR_STP | CR_STA)) == CR_STA;
}

/* --- memory behind the chip --- */

static uint8_t memory_read(const Dp8390 *d, uint16_t address)
{
    if (address < DP8390_RAM_BASE) {
        return d->prom[address % DP8390_PROM];
    }
    uint32_t at = (uint32_t)address - DP8390_RAM_BASE;
    return at < DP8390_RAM_SIZE ? d->g.ram[at] : 0xff;
}

static void memory_write(Dp8390 *d, uint16_t address, uint8_t value)
{
    uint32_t at = (uint32_t)address - DP8390_RAM_BASE;
    if (address >= DP8390_RAM_BASE && at < DP8390_RAM_SIZE) {
        d->g.ram[at] = value;
    }
}

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
        memory_write(d, address, data[i]);
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
    raise(d, ISR_PRX);
}

static bool ring_holds_frames(const Dp8390 *d)
{
    return d->g.curr != d->g.bnry && d->g.curr != page_after(d, boundary(d));
}

/* QUIRK: Linux's 8390 driver takes ten frames an interrupt at most, then acknowledges it; what is
 * left waits for the next frame to come. On a real wire the ring is empty long before, but here
 * frames can arrive as fast as the guest takes them. So PRX rises once more while the driver makes
 * progress and frames are left. */
static void acknowledged(Dp8390 *d)
{
    if (ring_holds_frames(d)) {
        timer_arm(&d->again, clock_now(d->clock) + AGAIN_NS);
    }
}

static void raise_again(void *self, int64_t due)
{
    Dp8390 *d = self;
    (void)due;
    if (running(d) && ring_holds_frames(d) &&
        (d->g.again_bnry != d->g.bnry || d->g.again_curr != d->g.curr)) {
        d->g.again_bnry = d->g.bnry;
        d->g.again_curr = d->g.curr;
        raise(d, ISR_PRX);
    }
}

static void overflow(Dp8390 *d)
{
    log_trace("ring overflow: curr 0x%02x bnry 0x%02x", d->g.curr, d->g.bnry);
    d->g.rsr = RSR_MPA;
    count(d, TALLY_MISSED);
    raise(d, ISR_OVW | ISR_RST);
}

static bool receive(void *self, const uint8_t *frame, size_t size)
{
    Dp8390 *d = self;
    d->waiting = false;
    if (!running(d) || d->g.tcr & TCR_LB || size < 14 || size > NET_MAX_FRAME ||
        (size < SHORTEST && !(d->g.rcr & RCR_AR)) || !address_matches(d, frame)) {
        return true;
    }
    if (d->g.rcr & RCR_MON) {
        d->g.rsr = (uint8_t)(RSR_DIS | RSR_MPA | (frame[0] & 1 ? RSR_PHY : 0));
        count(d, TALLY_MISSED);
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
static void may_receive(Dp8390 *d)
{
    if (d->waiting && d->port.ops) {
        d->waiting = false;
        d->port.ops->ready(d->port.backend);
    }
}

static void waited_in_vain(void *self, int64_t due)
{
    Dp8390 *d = self;
    (void)due;
    d->g.impatient = true;
    may_receive(d);
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
        good = size >= FCS && fcs(frame, size) == 0x2144df1c;
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
            count(d, TALLY_CRC);
        }
    }
}

/* To the wire. A frame whose own FCS is wrong is one that nobody would take. */
static void send(Dp8390 *d, const uint8_t *frame, size_t size)
{
    if (d->g.tcr & TCR_CRC) {
        if (size < FCS || fcs(frame, size) != 0x2144df1c) {
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

static void transmit(Dp8390 *d)
{
    uint8_t frame[NET_MAX_FRAME + FCS + 1];
    size_t size = d->g.tbcr < sizeof(frame) ? d->g.tbcr : sizeof(frame);
    uint16_t address = (uint16_t)(d->g.tpsr << 8);
    for (size_t i = 0; i < size; i++) {
        frame[i] = memory_read(d, address++);
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
    raise(d, ISR_PTX);
}

/* --- remote DMA --- */

static void remote_done(Dp8390 *d)
{
    if (d->g.sending) {
        d->g.sending = false;
        d->g.bnry = d->g.send_next;
        may_receive(d);
    }
    raise(d, ISR_RDC);
}

static void remote_step(Dp8390 *d, unsigned bytes)
{
    d->g.rsar = (uint16_t)(d->g.rsar + bytes);
    if (d->g.rsar == d->g.pstop << 8) {
        d->g.rsar = (uint16_t)(d->g.pstart << 8);
    }
    if (d->g.rbcr <= bytes) {
        bool was_open = d->g.rbcr != 0;
        d->g.rbcr = 0;
        if (was_open) {
            remote_done(d);
        }
    } else {
        d->g.rbcr = (uint16_t)(d->g.rbcr - bytes);
    }
}

/* Send Packet: the frame at BNRY, with address and length from its header. */
static void remote_send(Dp8390 *d)
{
    d->g.rsar = (uint16_t)(d->g.bnry << 8);
    d->g.send_next = memory_read(d, (uint16_t)(d->g.rsar + 1));
    d->g.rbcr = (uint16_t)(memory_read(d, (uint16_t)(d->g.rsar + 2)) |
                           memory_read(d, (uint16_t)(d->g.rsar + 3)) << 8);
    d->g.sending = true;
}

/* Bytes that a transfer of the data port moves on. On a 16-bit bus the chip moves whole words; of a
 * byte access the other half is lost. */
static unsigned transfer_width(const Dp8390 *d, unsigned bytes)
{
    if (bytes == 4) {
        return 4;
    }
    return d->g.dcr & DCR_WTS ? 2 : 1;
}

uint32_t dp8390_data_read(Dp8390 *d, unsigned bytes)
{
    uint32_t value = 0;
    unsigned width = transfer_width(d, bytes);
    for (unsigned i = 0; i < width; i++) {
        value |= (uint32_t)memory_read(d, (uint16_t)(d->g.rsar + i)) << 8 * i;
    }
    remote_step(d, width);
    return value;
}

void dp8390_data_write(Dp8390 *d, uint32_t value, unsigned bytes)
{
    unsigned width = transfer_width(d, bytes);
    if (d->g.rbcr == 0) {
        return; /* no remote DMA is open: the bytes go nowhere */
    }
    for (unsigned i = 0; i < width; i++) {
        memory_write(d, (uint16_t)(d->g.rsar + i), (uint8_t)(value >> 8 * i));
    }
    remote_step(d, width);
}

/* Of `count` transfers, those that only move data in the card's memory: none of them is the last of
 * the remote DMA, nor comes to the end of the ring. */
static uint32_t plain_transfers(const Dp8390 *d, unsigned bytes, uint32_t count)
{
    uint32_t at = d->g.rsar, ring_end = (uint32_t)d->g.pstop << 8;
    if (transfer_width(d, bytes) != bytes || d->g.rbcr == 0 || at < DP8390_RAM_BASE ||
        at >= DP8390_RAM_BASE + DP8390_RAM_SIZE) {
        return 0;
    }
    uint32_t room = DP8390_RAM_BASE + DP8390_RAM_SIZE - at, left = d->g.rbcr - 1u;
    if (at < ring_end && room > ring_end - at - 1) {
        room = ring_end - at - 1;
    }
    uint32_t most = (left < room ? left : room) / bytes;
    return most < count ? most : count;
}

static void pass(Dp8390 *d, uint32_t bytes)
{
    d->g.rsar = (uint16_t)(d->g.rsar + bytes);
    d->g.rbcr = (uint16_t)(d->g.rbcr - bytes);
}

static uint32_t data_read_run(Dp8390 *d, unsigned bytes, void *data, uint32_t count)
{
    uint32_t n = plain_transfers(d, bytes, count);
    if (n) {
        memcpy(data, d->g.ram + (d->g.rsar - DP8390_RAM_BASE), (size_t)n * bytes);
        pass(d, n * bytes);
    }
    return n;
}

static uint32_t data_write_run(Dp8390 *d, unsigned bytes, const void *data, uint32_t count)
{
    uint32_t n = plain_transfers(d, bytes, count);
    if (n) {
        memcpy(d->g.ram + (d->g.rsar - DP8390_RAM_BASE), data, (size_t)n * bytes);
        pass(d, n * bytes);
    }
    return n;
}

/* --- registers --- */

static void write_command(Dp8390 *d, uint8_t value)
{
    bool was_transmitting = d->g.cr & CR_TXP;
    if (!(value & (CR_STP | CR_STA))) {
        /* Writing neither leaves the chip as it is (data sheet, "Command Register"). */
        value |= d->g.cr & (CR_STP | CR_STA);
    }
    d->g.cr = value;
    if (value & CR_STP) {
        d->g.isr |= ISR_RST;
        d->g.cr &= (uint8_t)~CR_TXP;
    } else if (value & CR_STA) {
        d->g.isr &= (uint8_t)~ISR_RST;
    }
    unsigned remote = value & CR_RD;
    if (remote & CR_RD_ABORT) {
        d->g.sending = false;
    } else if (remote == CR_RD_SEND) {
        remote_send(d);
    }
    if ((remote == CR_RD_READ || remote == CR_RD_WRITE || remote == CR_RD_SEND) && d->g.rbcr == 0) {
        remote_done(d);
    }
    if (d->g.cr & CR_TXP && running(d) && !was_transmitting) {
        transmit(d);
    }
    update_irq(d);
    may_receive(d);
}

static uint8_t read_tally(Dp8390 *d, unsigned tally)
{
    uint8_t value = d->g.tally[tally];
    d->g.tally[tally] = 0;
    return value;
}

static uint8_t read_fifo(Dp8390 *d)
{
    uint8_t value = d->g.fifo[d->g.fifo_at];
    d->g.fifo_at = (d->g.fifo_at + 1) % DP8390_FIFO;
    return value;
}

static uint8_t read_page0(Dp8390 *d, unsigned reg)
{
    switch (reg) {
    case 0x1:
        return (uint8_t)d->g.clda;
    case 0x2:
        return (uint8_t)(d->g.clda >> 8);
    case 0x3:
        return d->g.bnry;
    case 0x4:
        return d->g.tsr;
    case 0x5:
        return d->g.ncr;
    case 0x6:
        return read_fifo(d);
    case 0x7:
        return d->g.isr;
    case 0x8:
        return (uint8_t)d->g.rsar;
    case 0x9:
        return (uint8_t)(d->g.rsar >> 8);
    case 0xc:
        return d->g.rsr;
    case 0xd:
    case 0xe:
    case 0xf:
        return read_tally(d, reg - 0xd);
    default:
        return 0xff;
    }
}

static uint8_t read_page2(const Dp8390 *d, unsigned reg)
{
    switch (reg) {
    case 0x1:
        return d->g.pstart;
    case 0x2:
        return d->g.pstop;
    case 0x3:
        return d->g.remote_next;
    case 0x4:
        return d->g.tpsr;
    case 0x5:
        return d->g.local_next;
    case 0x6:
        return (uint8_t)(d->g.address_counter >> 8);
    case 0x7:
        return (uint8_t)d->g.address_counter;
    case 0xc:
        return d->g.rcr;
    case 0xd:
        return d->g.tcr;
    case 0xe:
        return d->g.dcr;
    case 0xf:
        return d->g.imr;
    default:
        return 0xff;
    }
}

uint8_t dp8390_read(Dp8390 *d, unsigned reg)
{
    if (reg == 0) {
        return d->g.cr;
    }
    switch (d->g.cr >> CR_PAGE_SHIFT) {
    case 0:
        return read_page0(d, reg);
    case 1:
        return reg <= 6 ? d->g.par[reg - 1] : reg == 7 ? d->g.curr : d->g.mar[reg - 8];
    case 2:
        return read_page2(d, reg);
    default:
        return 0xff; /* test registers */
    }
}

static void set_low(uint16_t *to, uint8_t value)
{
    *to = (uint16_t)((*to & 0xff00) | value);
}

static void set_high(uint16_t *to, uint8_t value)
{
    *to = (uint16_t)((*to & 0x00ff) | value << 8);
}

static void write_page0(Dp8390 *d, unsigned reg, uint8_t value)
{
    switch (reg) {
    case 0x1:
        d->g.pstart = value;
        break;
    case 0x2:
        d->g.pstop = value;
        break;
    case 0x3:
        d->g.bnry = value;
        if (running(d)) {
            d->g.isr &= (uint8_t)~ISR_RST; /* set by an overflow; the ring has been emptied a bit */
        }
        break;
    case 0x4:
        d->g.tpsr = value;
        break;
    case 0x5:
        set_low(&d->g.tbcr, value);
        break;
    case 0x6:
        set_high(&d->g.tbcr, value);
        break;
    case 0x7:
        d->g.isr &= (uint8_t)(~value | ISR_RST);
        if (value & ISR_PRX) {
            acknowledged(d);
        }
        break;
    case 0x8:
        set_low(&d->g.rsar, value);
        break;
    case 0x9:
        set_high(&d->g.rsar, value);
        break;
    case 0xa:
        set_low(&d->g.rbcr, value);
        break;
    case 0xb:
        set_high(&d->g.rbcr, value);
        break;
    case 0xc:
        d->g.rcr = value & RCR_MASK;
        break;
    case 0xd:
        d->g.tcr = value & TCR_MASK;
        break;
    case 0xe:
        d->g.dcr = value & 0x7f;
        break;
    default:
        d->g.imr = value & 0x7f;
    }
}

static void write_page1(Dp8390 *d, unsigned reg, uint8_t value)
{
    if (reg <= 6) {
        d->g.par[reg - 1] = value;
    } else if (reg == 7) {
        d->g.curr = value;
    } else {
        d->g.mar[reg - 8] = value;
    }
}

static void write_page2(Dp8390 *d, unsigned reg, uint8_t value)
{
    switch (reg) {
    case 0x1:
        set_low(&d->g.clda, value);
        break;
    case 0x2:
        set_high(&d->g.clda, value);
        break;
    case 0x3:
        d->g.remote_next = value;
        break;
    case 0x5:
        d->g.local_next = value;
        break;
    case 0x6:
        set_high(&d->g.address_counter, value);
        break;
    case 0x7:
        set_low(&d->g.address_counter, value);
        break;
    default:
        log_guest("page 2 register 0x%x cannot be written", reg);
    }
}

void dp8390_write(Dp8390 *d, unsigned reg, uint8_t value)
{
    unsigned page = d->g.cr >> CR_PAGE_SHIFT;
    if (reg == 0) {
        write_command(d, value);
        return;
    }
    if (page == 0) {
        write_page0(d, reg, value);
    } else if (page == 1) {
        write_page1(d, reg, value);
    } else if (page == 2) {
        write_page2(d, reg, value);
    }
    update_irq(d);
    may_receive(d);
}

/* --- an NE2000's ports --- */

uint32_t ne2000_read(Dp8390 *d, unsigned offset, unsigned bytes)
{
    if (offset >= 0x18) {
        dp8390_reset(d);
        return 0xff;
    }
    if (offset >= 0x10) {
        return dp8390_data_read(d, bytes);
    }
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint32_t)dp8390_read(d, offset + i) << 8 * i;
    }
    return value;
}

void ne2000_write(Dp8390 *d, unsigned offset, uint32_t value, unsigned bytes)
{
    if (offset >= 0x18) {
        return; /* the end of the reset pulse */
    }
    if (offset >= 0x10) {
        dp8390_data_write(d, value, bytes);
        return;
    }
    for (unsigned i = 0; i < bytes; i++) {
        dp8390_write(d, offset + i, (uint8_t)(value >> 8 * i));
    }
}

static bool is_data_port(unsigned offset)
{
    return offset >= 0x10 && offset < 0x18;
}

uint32_t ne2000_read_run(Dp8390 *d, unsigned offset, unsigned bytes, void *data, uint32_t count)
{
    return is_data_port(offset) ? data_read_run(d, bytes, data, count) : 0;
}

uint32_t ne2000_write_run(Dp8390 *d, unsigned offset, unsigned bytes, const void *data,
                          uint32_t count)
{
    return is_data_port(offset) ? data_write_run(d, bytes, data, count) : 0;
}

/* --- life --- */

void dp8390_reset(Dp8390 *d)
{
    /* Data sheet, "Reset": all else keeps its value. */
    d->g.cr = CR_STP | CR_RD_ABORT;
    d->g.isr = ISR_RST;
    d->g.imr = 0;
    d->g.dcr &= (uint8_t)~DCR_LAS;
    d->g.tcr &= (uint8_t)~TCR_LB;
    d->g.sending = d->g.impatient = false;
    timer_disarm(&d->waited);
    timer_disarm(&d->again);
    update_irq(d);
    may_receive(d);
}

void dp8390_state(Dp8390 *d, StateIo *io)
{
    struct {
        const char *name;
        uint8_t *value;
    } bytes[] = {
        {"cr", &d->g.cr},
        {"isr", &d->g.isr},
        {"imr", &d->g.imr},
        {"dcr", &d->g.dcr},
        {"tcr", &d->g.tcr},
        {"rcr", &d->g.rcr},
        {"tsr", &d->g.tsr},
        {"rsr", &d->g.rsr},
        {"ncr", &d->g.ncr},
        {"pstart", &d->g.pstart},
        {"pstop", &d->g.pstop},
        {"bnry", &d->g.bnry},
        {"curr", &d->g.curr},
        {"tpsr", &d->g.tpsr},
        {"remote_next", &d->g.remote_next},
        {"fifo_at", &d->g.fifo_at},
        {"local_next", &d->g.local_next},
        {"send_next", &d->g.send_next},
    };
    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        state_u8(io, bytes[i].name, bytes[i].value);
    }
    state_u16(io, "tbcr", &d->g.tbcr);
    state_u16(io, "rsar", &d->g.rsar);
    state_u16(io, "rbcr", &d->g.rbcr);
    state_u16(io, "clda", &d->g.clda);
    state_u16(io, "address_counter", &d->g.address_counter);
    state_bytes(io, "par", d->g.par, sizeof(d->g.par));
    state_bytes(io, "mar", d->g.mar, sizeof(d->g.mar));
    state_bytes(io, "tally", d->g.tally, sizeof(d->g.tally));
    state_bytes(io, "fifo", d->g.fifo, sizeof(d->g.fifo));
    state_bool(io, "sending", &d->g.sending);
    state_bool(io, "impatient", &d->g.impatient);
    state_u8(io, "again_bnry", &d->g.again_bnry);
    state_u8(io, "again_curr", &d->g.again_curr);
    state_timer(io, "waited", &d->waited);
    state_timer(io, "again", &d->again);
    state_bytes(io, "ram", d->g.ram, sizeof(d->g.ram));
    state_check(io, d->g.fifo_at < DP8390_FIFO, "FIFO pointer is out of range");
}

void dp8390_restored(Dp8390 *d)
{
    update_irq(d);
    /* What waits at this machine's back end is not what waited when the state was saved. */
    d->waiting = true;
    may_receive(d);
}

void dp8390_init(Dp8390 *d, Clock *clock, const Dp8390Config *config)
{
    d->clock = clock;
    d->port = config->port;
    d->irq = config->irq;
    d->patience = config->patience;
    for (unsigned i = 0; i < 6; i++) {
        d->prom[2 * i] = d->prom[2 * i + 1] = config->mac[i];
    }
    memset(d->prom + 28, 'W', 4); /* a 16-bit card */
    timer_init(&d->again, clock, "dp8390.again", raise_again, d);
    timer_init(&d->waited, clock, "dp8390.waited", waited_in_vain, d);
    if (d->port.ops) {
        d->port.ops->attach(d->port.backend, &(NetSink){receive, d});
    }
}

void dp8390_fini(Dp8390 *d)
{
    timer_disarm(&d->waited);
    timer_disarm(&d->again);
}
