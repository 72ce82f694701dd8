/* Am79C970A (PCnet-PCI II) Ethernet controller: registers, descriptor rings, bus master.
 *
 * Data sheet: AMD 19436. Software styles 0 (LANCE, 16-bit) and 1, 2, 3 (32-bit). A frame is sent as
 * soon as its descriptors say so. Not modelled: the EEPROM's pins, the PHY behind the chip's AUI
 * and 10BASE-T ports (the link is always up), time on the wire and so collisions, magic packets.
 * Frames without a descriptor wait at the back end for `patience`, then count as missed. Wired by
 * pc_cards.
 */
#include "chipset/cards/pcnet.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "machine/core/log.h"

LOG_TAG("pcnet");

enum {
    PORTS = 32,
    APROM = 16,
    CSRS = 128,
    BCRS = 32,
    FCS = 4,
    SHORTEST = 60,
    BUFFERS_A_FRAME = 64,  /* descriptors that one frame may use */
    FRAMES_A_DEMAND = 512, /* sent before the machine goes on */
    POLL_NS = 1600000,     /* how often a ring without a demand is looked at */
};
enum {
    CSR0_INIT = 0x0001,
    CSR0_STRT = 0x0002,
    CSR0_STOP = 0x0004,
    CSR0_TDMD = 0x0008,
    CSR0_TXON = 0x0010,
    CSR0_RXON = 0x0020,
    CSR0_IENA = 0x0040,
    CSR0_INTR = 0x0080,
    CSR0_IDON = 0x0100,
    CSR0_TINT = 0x0200,
    CSR0_RINT = 0x0400,
    CSR0_MERR = 0x0800,
    CSR0_MISS = 0x1000,
    CSR0_CERR = 0x2000,
    CSR0_BABL = 0x4000,
    CSR0_ERR = 0x8000,
    CSR0_CLEARABLE = 0x7f00,
    CSR3_MASKS = 0x5f00,
    CSR4_CLEARABLE = 0x026a, /* MFCO, UINT, RCVCCO, TXSTRT, JAB */
    CSR5_SPND = 0x0001,
    CSR15_DRX = 0x0001,
    CSR15_DTX = 0x0002,
    CSR15_LOOP = 0x0004,
    CSR15_DXMTFCS = 0x0008,
    CSR15_INTL = 0x0040,
    CSR15_DRCVPA = 0x2000,
    CSR15_DRCVBC = 0x4000,
    CSR15_PROM = 0x8000,
    BCR18_DWIO = 0x0080,
    BCR20_SSIZE32 = 0x0100,
};
/* Descriptor status, upper half of its second word in any style. */
enum {
    D_OWN = 0x8000,
    D_ERR = 0x4000,
    D_BUFF = 0x0400, /* receive */
    D_STP = 0x0200,
    D_ENP = 0x0100,
    RD_PAM = 0x0040, /* which address matched; with the 32-bit styles */
    RD_LAFM = 0x0020,
    RD_BAM = 0x0010,
    TD_ADD_FCS = 0x2000,
};

typedef struct Descriptor {
    uint32_t at, buffer;
    uint16_t status;
    unsigned length;
} Descriptor;

struct Pcnet {
    Device dev;
    PciFunction *function;
    PcnetConfig config;
    struct {
        uint16_t csr[CSRS], bcr[BCRS], rap;
        uint8_t aprom[APROM];
        uint32_t receive_base, transmit_base;
        uint16_t receive_at, transmit_at;       /* index in the ring */
        uint16_t receive_count, transmit_count; /* descriptors, 1..65535 */
        bool impatient;
    } g;
    Timer poll, waited;
    bool waiting;
};

static void update_irq(Pcnet *p)
{
    uint16_t *csr = p->g.csr;
    uint16_t events = csr[0] & CSR0_CLEARABLE;
    csr[0] &= (uint16_t) ~(CSR0_INTR | CSR0_ERR);
    if (events & (CSR0_BABL | CSR0_CERR | CSR0_MISS | CSR0_MERR)) {
        csr[0] |= CSR0_ERR;
    }
    bool wanted = events & ~csr[3] & CSR3_MASKS;
    if (wanted) {
        csr[0] |= CSR0_INTR;
    }
    pci_interrupt(p->function, wanted && csr[0] & CSR0_IENA);
}

static void raise(Pcnet *p, uint16_t bits)
{
    p->g.csr[0] |= bits;
    update_irq(p);
}

/* --- memory --- */

static bool style32(const Pcnet *p)
{
    return p->g.bcr[20] & BCR20_SSIZE32;
}

static uint32_t bus_address(const Pcnet *p, uint32_t address)
{
    return style32(p) ? address : (address & 0xffffff) | (uint32_t)(p->g.csr[2] & 0xff00) << 16;
}

static bool dma(Pcnet *p, uint32_t address, void *data, size_t size, bool to_guest)
{
    if (!pci_dma(p->function, address, data, size, to_guest)) {
        p->g.csr[0] |= CSR0_MERR;
        return false;
    }
    return true;
}

static uint32_t le(const uint8_t *from, unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint32_t)from[i] << 8 * i;
    }
    return value;
}

static void put_le(uint8_t *to, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        to[i] = (uint8_t)(value >> 8 * i);
    }
}

static bool read_descriptor(Pcnet *p, uint32_t base, unsigned index, Descriptor *d)
{
    uint8_t raw[16];
    unsigned size = style32(p) ? 16 : 8;
    d->at = bus_address(p, base + index * size);
    if (!dma(p, d->at, raw, size, false)) {
        return false;
    }
    if (!style32(p)) {
        d->buffer = bus_address(p, le(raw, 3));
        d->status = (uint16_t)(raw[3] << 8);
        d->length = le(raw + 4, 2);
    } else {
        d->buffer = le(raw + ((p->g.bcr[20] & 0xff) == 3 ? 8 : 0), 4);
        d->status = (uint16_t)le(raw + 6, 2);
        d->length = le(raw + 4, 2);
    }
    d->length = (0x1000 - (d->length & 0xfff)) & 0xfff;
    d->length = d->length ? d->length : 0x1000;
    return true;
}

/* Status and, for a receiver's last descriptor, the message's length; ownership goes last. */
static void return_descriptor(Pcnet *p, const Descriptor *d, uint16_t status, int message)
{
    uint8_t raw[4];
    if (message >= 0) {
        bool swapped = style32(p) && (p->g.bcr[20] & 0xff) == 3;
        put_le(raw, (uint32_t)message, 4);
        if (style32(p)) {
            dma(p, d->at + (swapped ? 0 : 8), raw, swapped ? 2 : 4, true);
        } else {
            dma(p, d->at + 6, raw, 2, true);
        }
    }
    put_le(raw, status, 2);
    if (style32(p)) {
        dma(p, d->at + 6, raw, 2, true);
    } else {
        dma(p, d->at + 3, raw + 1, 1, true);
    }
}

/* --- receiver --- */

static bool hash_matches(const Pcnet *p, const uint8_t *address)
{
    uint32_t crc = ~(uint32_t)crc32(0, address, 6);
    unsigned bit = crc >> 26; /* the LANCE takes the register's top bits as zlib holds it */
    return p->g.csr[8 + bit / 16] >> bit % 16 & 1;
}

/* Which filter takes the frame: a RD_ bit, 1 for promiscuous, 0 for none. */
static uint16_t match(const Pcnet *p, const uint8_t *frame)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint16_t mode = p->g.csr[15];
    uint8_t own[6];
    for (unsigned i = 0; i < 6; i++) {
        own[i] = (uint8_t)(p->g.csr[12 + i / 2] >> 8 * (i % 2));
    }
    if (memcmp(frame, broadcast, 6) == 0 && !(mode & CSR15_DRCVBC)) {
        return RD_BAM;
    }
    if (memcmp(frame, own, 6) == 0 && !(mode & CSR15_DRCVPA)) {
        return RD_PAM;
    }
    if (frame[0] & 1 && memcmp(frame, broadcast, 6) != 0 && hash_matches(p, frame)) {
        return RD_LAFM;
    }
    return mode & CSR15_PROM ? 1 : 0;
}

static bool owned(const Descriptor *d)
{
    return d->status & D_OWN;
}

static unsigned after(unsigned index, unsigned count)
{
    return index + 1 >= count ? 0 : index + 1;
}

/* Writes the frame into descriptors from the current one. False: the first is not ours. */
static bool store(Pcnet *p, const uint8_t *frame, size_t size, uint16_t matched)
{
    uint8_t data[NET_MAX_FRAME + FCS];
    memcpy(data, frame, size);
    put_le(data + size, (uint32_t)crc32(0, frame, (uInt)size), 4);
    size_t total = size + FCS, done = 0;
    uint16_t first = D_STP;
    Descriptor d;
    for (unsigned i = 0; i < BUFFERS_A_FRAME && done < total; i++) {
        if (!read_descriptor(p, p->g.receive_base, p->g.receive_at, &d) || !owned(&d)) {
            return i != 0;
        }
        size_t part = total - done < d.length ? total - done : d.length;
        dma(p, d.buffer, data + done, part, true);
        done += part;
        uint16_t status = first;
        unsigned next = after(p->g.receive_at, p->g.receive_count);
        Descriptor following;
        bool last = done == total;
        if (last) {
            status |= D_ENP | (style32(p) ? matched & (RD_PAM | RD_LAFM | RD_BAM) : 0);
        } else if (i + 1 == BUFFERS_A_FRAME ||
                   !read_descriptor(p, p->g.receive_base, next, &following) || !owned(&following)) {
            status |= D_ERR | D_BUFF;
            done = total;
        }
        return_descriptor(p, &d, status, last ? (int)total : -1);
        p->g.receive_at = (uint16_t)next;
        first = 0;
    }
    return true;
}

static void missed(Pcnet *p)
{
    p->g.csr[112]++;
    raise(p, CSR0_MISS);
}

static bool receive(void *self, const uint8_t *frame, size_t size)
{
    Pcnet *p = self;
    p->waiting = false;
    uint16_t matched = 0;
    if (!(p->g.csr[0] & CSR0_RXON) || p->g.csr[15] & (CSR15_LOOP | CSR15_DRX) ||
        p->g.csr[5] & CSR5_SPND || size < SHORTEST || size > NET_MAX_FRAME ||
        !(matched = match(p, frame))) {
        return true;
    }
    if (store(p, frame, size, matched)) {
        p->g.impatient = false;
        timer_disarm(&p->waited);
        raise(p, CSR0_RINT);
        return true;
    }
    if (p->g.impatient || p->config.patience == 0) {
        missed(p);
        return true;
    }
    /* Memory is the guest's to change without a word: it is looked at again with the poll timer. */
    p->waiting = true;
    if (!p->waited.armed) {
        timer_arm(&p->waited, clock_now(&p->dev.board->clock) + p->config.patience);
    }
    return false;
}

static void may_receive(Pcnet *p)
{
    if (p->waiting && p->config.port.ops) {
        p->waiting = false;
        p->config.port.ops->ready(p->config.port.backend);
    }
}

static void waited_in_vain(void *self, int64_t due)
{
    Pcnet *p = self;
    (void)due;
    p->g.impatient = true;
    may_receive(p);
}

/* --- transmitter --- */

static void loop_back(Pcnet *p, const uint8_t *frame, size_t size)
{
    uint16_t matched = size >= 14 && size <= NET_MAX_FRAME ? match(p, frame) : 0;
    if (matched && p->g.csr[0] & CSR0_RXON) {
        if (store(p, frame, size, matched)) {
            p->g.csr[0] |= CSR0_RINT;
        } else {
            missed(p);
        }
    }
}

static void send(Pcnet *p, const uint8_t *frame, size_t size)
{
    if (p->g.csr[15] & CSR15_LOOP) {
        loop_back(p, frame, size);
    } else if (size >= 14 && size <= NET_MAX_FRAME && p->config.port.ops) {
        p->config.port.ops->send(p->config.port.backend, frame, size);
    }
}

/* One frame. False: there is none, or not all of it. */
static bool send_one(Pcnet *p)
{
    uint8_t frame[NET_MAX_FRAME + FCS];
    Descriptor d;
    size_t size = 0;
    unsigned at = p->g.transmit_at;
    bool too_long = false, add_fcs = false;
    for (unsigned i = 0; i < BUFFERS_A_FRAME; i++) {
        if (!read_descriptor(p, p->g.transmit_base, at, &d) || !owned(&d)) {
            if (i == 0) {
                return false;
            }
            break; /* a frame whose end is missing: given up */
        }
        if (i == 0) {
            add_fcs = d.status & TD_ADD_FCS;
        }
        size_t part = d.length < sizeof(frame) - size ? d.length : sizeof(frame) - size;
        too_long |= part < d.length;
        dma(p, d.buffer, frame + size, part, false);
        size += part;
        at = after(at, p->g.transmit_count);
        bool last = d.status & D_ENP;
        return_descriptor(p, &d, (uint16_t)(d.status & ~(D_OWN | D_ERR)), -1);
        if (last) {
            break;
        }
    }
    p->g.transmit_at = (uint16_t)at;
    if (p->g.csr[15] & CSR15_DXMTFCS && !add_fcs && size >= FCS) {
        size -= FCS; /* the guest has appended it */
    }
    if (too_long) {
        p->g.csr[0] |= CSR0_BABL;
    } else {
        send(p, frame, size);
    }
    p->g.csr[0] |= CSR0_TINT;
    return true;
}

static void send_all(Pcnet *p)
{
    if (p->g.csr[0] & CSR0_TXON && !(p->g.csr[5] & CSR5_SPND) && !(p->g.csr[15] & CSR15_DTX)) {
        for (unsigned i = 0; i < FRAMES_A_DEMAND && send_one(p); i++) {
        }
    }
    p->g.csr[0] &= (uint16_t)~CSR0_TDMD;
    update_irq(p);
}

static void arm_poll(Pcnet *p)
{
    if (p->g.csr[0] & (CSR0_TXON | CSR0_RXON)) {
        timer_arm(&p->poll, clock_now(&p->dev.board->clock) + POLL_NS);
    } else {
        timer_disarm(&p->poll);
    }
}

static void polled(void *self, int64_t due)
{
    Pcnet *p = self;
    (void)due;
    if (!(p->g.csr[4] & 0x1000)) { /* DPOLL */
        send_all(p);
    }
    may_receive(p);
    arm_poll(p);
}

/* --- start and stop --- */

static void initialize(Pcnet *p)
{
    uint8_t raw[28] = {0};
    uint32_t at = (uint32_t)p->g.csr[1] | (uint32_t)p->g.csr[2] << 16;
    bool wide = style32(p);
    uint16_t *csr = p->g.csr;
    dma(p, bus_address(p, at), raw, wide ? 28 : 24, false);
    const uint8_t *rest = raw + (wide ? 4 : 2);
    csr[15] = (uint16_t)le(raw, 2);
    for (unsigned i = 0; i < 3; i++) {
        csr[12 + i] = (uint16_t)le(rest + 2 * i, 2);
    }
    const uint8_t *filter = rest + 6 + (wide ? 2 : 0);
    for (unsigned i = 0; i < 4; i++) {
        csr[8 + i] = (uint16_t)le(filter + 2 * i, 2);
    }
    const uint8_t *rings = filter + 8;
    unsigned receive_log, transmit_log;
    if (wide) {
        receive_log = raw[2] >> 4;
        transmit_log = raw[3] >> 4;
        p->g.receive_base = le(rings, 4);
        p->g.transmit_base = le(rings + 4, 4);
    } else {
        receive_log = rings[3] >> 5;
        transmit_log = rings[7] >> 5;
        p->g.receive_base = le(rings, 3);
        p->g.transmit_base = le(rings + 4, 3);
    }
    p->g.receive_count = (uint16_t)(1u << (receive_log > 9 ? 9 : receive_log));
    p->g.transmit_count = (uint16_t)(1u << (transmit_log > 9 ? 9 : transmit_log));
    csr[76] = (uint16_t)-p->g.receive_count;
    csr[78] = (uint16_t)-p->g.transmit_count;
    csr[24] = (uint16_t)p->g.receive_base;
    csr[25] = (uint16_t)(p->g.receive_base >> 16);
    csr[30] = (uint16_t)p->g.transmit_base;
    csr[31] = (uint16_t)(p->g.transmit_base >> 16);
    p->g.receive_at = p->g.transmit_at = 0;
    csr[0] = (uint16_t)((csr[0] | CSR0_IDON | CSR0_INIT) & ~CSR0_STOP);
}

static void stop(Pcnet *p)
{
    p->g.csr[0] = CSR0_STOP;
    p->g.csr[4] &= (uint16_t)~CSR4_CLEARABLE;
    p->g.csr[5] &= (uint16_t)~CSR5_SPND;
    p->g.impatient = false;
    timer_disarm(&p->waited);
    arm_poll(p);
    update_irq(p);
    may_receive(p);
}

static void start(Pcnet *p)
{
    p->g.csr[0] &= (uint16_t)~CSR0_STOP;
    p->g.csr[0] |= CSR0_STRT | (p->g.csr[15] & CSR15_DRX ? 0 : CSR0_RXON) |
                   (p->g.csr[15] & CSR15_DTX ? 0 : CSR0_TXON);
    p->g.receive_at = p->g.transmit_at = 0;
    arm_poll(p);
}

static void write_csr0(Pcnet *p, uint16_t value)
{
    uint16_t *csr = p->g.csr;
    csr[0] &= (uint16_t) ~(value & CSR0_CLEARABLE);
    csr[0] = (uint16_t)((csr[0] & ~CSR0_IENA) | (value & CSR0_IENA));
    if (value & CSR0_STOP) {
        stop(p);
        return;
    }
    if (value & CSR0_INIT && !(csr[0] & CSR0_INIT)) {
        initialize(p);
    }
    if (value & CSR0_STRT && !(csr[0] & CSR0_STRT)) {
        start(p);
    }
    if (value & CSR0_TDMD) {
        send_all(p);
    }
    update_irq(p);
    may_receive(p);
}

static void write_csr(Pcnet *p, unsigned n, uint16_t value)
{
    uint16_t *csr = p->g.csr;
    bool stopped = csr[0] & CSR0_STOP || csr[5] & CSR5_SPND;
    if (n == 0) {
        write_csr0(p, value);
    } else if (n == 4) {
        csr[4] = (uint16_t)((csr[4] & CSR4_CLEARABLE & ~value) | (value & ~CSR4_CLEARABLE));
    } else if (n == 5) {
        csr[5] = (uint16_t)((csr[5] & 0x0a90 & ~value) | (value & ~0x0a90));
    } else if (n == 58) {
        p->g.bcr[20] = value & 0xff;
        p->g.bcr[20] |= value & 0xff ? BCR20_SSIZE32 : 0;
    } else if (n == 1 || n == 2 || n == 3 || (n >= 8 && n <= 15) || n == 24 || n == 25 || n == 30 ||
               n == 31 || n == 76 || n == 78) {
        if (!stopped && n != 3) {
            log_guest("CSR%u is written while the chip runs", n);
            return;
        }
        csr[n] = value;
        p->g.receive_base = (uint32_t)csr[24] | (uint32_t)csr[25] << 16;
        p->g.transmit_base = (uint32_t)csr[30] | (uint32_t)csr[31] << 16;
        p->g.receive_count = (uint16_t)-csr[76] ? (uint16_t)-csr[76] : 1;
        p->g.transmit_count = (uint16_t)-csr[78] ? (uint16_t)-csr[78] : 1;
    } else if (n == 46 || n == 47 || n == 80 || n == 82 || n == 112 || n == 114 || n == 124) {
        csr[n] = value;
    }
    update_irq(p);
}

static uint16_t read_csr(Pcnet *p, unsigned n)
{
    switch (n) {
    case 58:
        return p->g.bcr[20];
    case 72:
        return (uint16_t)(p->g.receive_count - p->g.receive_at);
    case 74:
        return (uint16_t)(p->g.transmit_count - p->g.transmit_at);
    default:
        return p->g.csr[n];
    }
}

static void write_bcr(Pcnet *p, unsigned n, uint16_t value)
{
    if (n == 20) {
        write_csr(p, 58, value);
    } else if (n == 2 || n == 4 || n == 5 || n == 6 || n == 7 || n == 9 || n == 18 || n == 19 ||
               n == 22) {
        p->g.bcr[n] =
            n == 18 ? (uint16_t)((value & ~BCR18_DWIO) | (p->g.bcr[18] & BCR18_DWIO)) : value;
    }
}

static uint16_t read_bcr(const Pcnet *p, unsigned n)
{
    /* The LEDs: link is up. */
    return n == 4 ? p->g.bcr[4] | 0x8000 : p->g.bcr[n];
}

static void soft_reset(Pcnet *p)
{
    static const uint16_t bcr[BCRS] = {
        [0] = 5,    [1] = 5,    [2] = 2,       [4] = 0xc0,   [5] = 0x84,
        [6] = 0x88, [7] = 0x90, [18] = 0x9001, [20] = 0x200, [22] = 0xff06};
    bool wide_ports = p->g.bcr[18] & BCR18_DWIO;
    memcpy(p->g.bcr, bcr, sizeof(bcr));
    p->g.bcr[18] |= wide_ports ? BCR18_DWIO : 0;
    p->g.rap = 0;
    p->g.csr[3] = 0;
    p->g.csr[4] = 0x0115;
    p->g.csr[5] = 0;
    p->g.csr[15] = 0;
    p->g.csr[80] = 0x1410;
    p->g.csr[88] = 0x1003; /* Am79C970A: part 2621h */
    p->g.csr[89] = 0x0262;
    p->g.csr[112] = p->g.csr[114] = 0;
    p->g.receive_count = p->g.transmit_count = 1;
    stop(p);
}

/* --- ports --- */

static uint64_t read_port(void *self, uint32_t offset, unsigned bytes)
{
    Pcnet *p = self;
    bool wide = p->g.bcr[18] & BCR18_DWIO;
    if (offset < APROM) {
        uint64_t value = 0;
        for (unsigned i = 0; i < bytes; i++) {
            value |= (uint64_t)p->g.aprom[offset + i] << 8 * i;
        }
        return value;
    }
    if (bytes != (wide ? 4u : 2u)) {
        return UINT64_MAX;
    }
    switch ((offset - APROM) / bytes) {
    case 0:
        return read_csr(p, p->g.rap % CSRS);
    case 1:
        return p->g.rap;
    case 2:
        soft_reset(p);
        return 0;
    default:
        return read_bcr(p, p->g.rap % BCRS);
    }
}

static void write_port(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Pcnet *p = self;
    if (offset < APROM) {
        if (p->g.bcr[2] & 0x0100) { /* APROMWE */
            for (unsigned i = 0; i < bytes; i++) {
                p->g.aprom[offset + i] = (uint8_t)(value >> 8 * i);
            }
        }
        return;
    }
    if (bytes == 4 && offset == APROM) {
        p->g.bcr[18] |= BCR18_DWIO; /* the first 32-bit write to RDP makes all ports so */
    }
    bool wide = p->g.bcr[18] & BCR18_DWIO;
    if (bytes != (wide ? 4u : 2u)) {
        return;
    }
    switch ((offset - APROM) / bytes) {
    case 0:
        write_csr(p, p->g.rap % CSRS, (uint16_t)value);
        break;
    case 1:
        p->g.rap = value & 0x7f;
        break;
    case 2:
        break; /* only a read resets */
    default:
        write_bcr(p, p->g.rap % BCRS, (uint16_t)value);
    }
}

static const IoOps port_ops = {read_port, write_port, 1, 4};

/* --- life --- */

static void reset(Device *d, ResetKind kind)
{
    Pcnet *p = (Pcnet *)d;
    (void)kind;
    memset(&p->g, 0, sizeof(p->g));
    memcpy(p->g.aprom, p->config.mac, 6);
    p->g.aprom[9] = 0x11; /* PCI */
    p->g.aprom[14] = p->g.aprom[15] = 'W';
    unsigned sum = 0;
    for (unsigned i = 0; i < APROM; i++) {
        sum += p->g.aprom[i];
    }
    p->g.aprom[12] = (uint8_t)sum;
    p->g.aprom[13] = (uint8_t)(sum >> 8);
    soft_reset(p);
}

static void state(Device *d, StateIo *io)
{
    Pcnet *p = (Pcnet *)d;
    for (unsigned i = 0; i < CSRS; i++) {
        state_u16(io, "csr", &p->g.csr[i]);
    }
    for (unsigned i = 0; i < BCRS; i++) {
        state_u16(io, "bcr", &p->g.bcr[i]);
    }
    state_u16(io, "rap", &p->g.rap);
    state_bytes(io, "aprom", p->g.aprom, sizeof(p->g.aprom));
    state_u32(io, "receive_base", &p->g.receive_base);
    state_u32(io, "transmit_base", &p->g.transmit_base);
    state_u16(io, "receive_at", &p->g.receive_at);
    state_u16(io, "transmit_at", &p->g.transmit_at);
    state_u16(io, "receive_count", &p->g.receive_count);
    state_u16(io, "transmit_count", &p->g.transmit_count);
    state_bool(io, "impatient", &p->g.impatient);
    state_timer(io, "poll", &p->poll);
    state_timer(io, "waited", &p->waited);
    state_check(io, p->g.receive_count && p->g.transmit_count, "a ring has no descriptors");
}

static void restored(Device *d)
{
    Pcnet *p = (Pcnet *)d;
    update_irq(p);
    p->waiting = true; /* what waits at this machine's back end is another frame */
    may_receive(p);
}

static void destroy(Device *d)
{
    Pcnet *p = (Pcnet *)d;
    timer_disarm(&p->poll);
    timer_disarm(&p->waited);
    free(p);
}

static const DeviceType type = {
    .name = "pcnet",
    .version = 1,
    .reset = reset,
    .state = state,
    .restored = restored,
    .destroy = destroy,
};

Pcnet *pcnet_new(Board *b, const PcnetConfig *config, const char *id)
{
    Pcnet *p = calloc(1, sizeof(*p));
    if (!p) {
        return NULL;
    }
    static const PciIds ids = {.vendor = 0x1022,
                               .device = 0x2000,
                               .class_code = 0x020000,
                               .revision = 0x16,
                               .interrupt_pin = 1};
    p->config = *config;
    p->function = pci_add(config->bus, config->device, 0, &ids, p);
    pci_bar_io(p->function, 0, PORTS, &port_ops, "pcnet");
    if (config->rom) {
        pci_rom(p->function, config->rom, "pcnet rom");
    }
    timer_init(&p->poll, &b->clock, "pcnet.poll", polled, p);
    timer_init(&p->waited, &b->clock, "pcnet.waited", waited_in_vain, p);
    device_add(b, &p->dev, &type, id);
    if (config->port.ops) {
        config->port.ops->attach(config->port.backend, &(NetSink){receive, p});
    }
    return p;
}
