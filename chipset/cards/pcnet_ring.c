/* Am79C970A (PCnet-PCI II): descriptor rings, receiver and transmitter.
 *
 * Data sheet: AMD 19436, "Buffer Management" and "User Accessible Registers". pcnet.c says what is
 * not modelled.
 */
#include <string.h>
#include <zlib.h>

#include "chipset/cards/pcnet_internal.h"
#include "machine/core/bytes.h"
#include "machine/core/log.h"

LOG_TAG("pcnet");

enum {
    FCS = 4,
    SHORTEST = 60, /* without FCS */
    HEADER = 14,
    BUFFERS_A_FRAME = 512,       /* descriptors that one frame may use */
    DESCRIPTORS_A_DEMAND = 2048, /* looked at before the machine goes on */
    ILACC = 1,                   /* software styles */
    SWAPPED = 3,
};
#define GOOD_FCS 0x2144df1cu /* the CRC of a frame with its own FCS */
/* Descriptor status, upper half of its second word in any style. */
enum {
    D_OWN = 0x8000,
    D_ERR = 0x4000,
    D_STP = 0x0200,
    D_ENP = 0x0100,
    RD_CRC = 0x0800,
    RD_BUFF = 0x0400,
    RD_PAM = 0x0040, /* which address matched; with the 32-bit styles */
    RD_LAFM = 0x0020,
    RD_BAM = 0x0010,
    MATCHED_BY_NONE = 0x0001, /* promiscuous; no bit of the descriptor */
    TD_FCS = 0x2000,          /* ADD_FCS, and with ILACC's style NO_FCS */
    TD_LTINT = 0x1000,
};
/* Upper half of a transmit descriptor's third word. */
enum { TD_BUFF = 0x8000, TD_UFLO = 0x4000 };

typedef struct Descriptor {
    uint32_t at, buffer;
    uint16_t status;
    unsigned length; /* 1..4096 */
} Descriptor;

/* --- memory --- */

bool pcnet_style32(const Pcnet *p)
{
    return p->g.bcr[20] & BCR20_SSIZE32;
}

static unsigned style(const Pcnet *p)
{
    return p->g.bcr[20] & 0xff;
}

unsigned pcnet_descriptor_size(const Pcnet *p)
{
    return pcnet_style32(p) ? 16 : 8;
}

uint32_t pcnet_bus_address(const Pcnet *p, uint32_t address)
{
    return pcnet_style32(p) ? address
                            : (address & 0xffffff) | (uint32_t)(p->g.csr[2] & 0xff00) << 16;
}

bool pcnet_dma(Pcnet *p, uint32_t address, void *data, size_t size, bool to_guest)
{
    p->mastering = true;
    bool done = pci_dma(p->function, address, data, size, to_guest);
    p->mastering = false;
    if (!done) {
        p->g.csr[0] |= CSR0_MERR;
    }
    return done;
}

static bool read_descriptor(Pcnet *p, uint32_t base, unsigned index, Descriptor *d)
{
    uint8_t raw[16];
    unsigned size = pcnet_descriptor_size(p);
    d->at = pcnet_bus_address(p, base + index * size);
    if (!pcnet_dma(p, d->at, raw, size, false)) {
        return false;
    }
    if (pcnet_style32(p)) {
        d->buffer = bytes_le32(raw + (style(p) == SWAPPED ? 8 : 0));
        d->status = bytes_le16(raw + 6);
    } else {
        d->buffer = pcnet_bus_address(p, bytes_le32(raw) & 0xffffff);
        d->status = (uint16_t)(raw[3] << 8);
    }
    d->length = 0x1000 - (bytes_le16(raw + 4) & 0xfffu);
    return true;
}

/* Where the third word is: the message's length, or a transmitter's errors. */
static uint32_t third_word(const Pcnet *p, const Descriptor *d)
{
    return d->at + (!pcnet_style32(p) ? 6 : style(p) == SWAPPED ? 0 : 8);
}

/* Ownership goes back with the status, last of all. */
static void return_descriptor(Pcnet *p, const Descriptor *d, uint16_t status)
{
    uint8_t raw[2];
    bytes_put_le16(raw, status);
    if (pcnet_style32(p)) {
        pcnet_dma(p, d->at + 6, raw, 2, true);
    } else {
        pcnet_dma(p, d->at + 3, raw + 1, 1, true);
    }
}

static void write_message_length(Pcnet *p, const Descriptor *d, size_t size)
{
    uint8_t raw[4];
    bytes_put_le32(raw, (uint32_t)size); /* no runts and collisions to count */
    pcnet_dma(p, third_word(p, d), raw, pcnet_style32(p) ? 4 : 2, true);
}

static void write_transmit_errors(Pcnet *p, const Descriptor *d, uint16_t errors)
{
    uint8_t raw[2];
    bytes_put_le16(raw, errors);
    pcnet_dma(p, third_word(p, d) + (pcnet_style32(p) ? 2 : 0), raw, 2, true);
}

static bool owned(const Descriptor *d)
{
    return d->status & D_OWN;
}

static uint16_t after(unsigned index, unsigned count)
{
    return (uint16_t)(index + 1 >= count ? 0 : index + 1);
}

/* --- receiver --- */

static bool hash_matches(const Pcnet *p, const uint8_t *address)
{
    uint32_t crc = ~(uint32_t)crc32(0, address, 6);
    unsigned bit = crc >> 26; /* the LANCE takes the register's top bits as zlib holds it */
    return p->g.csr[8 + bit / 16] >> bit % 16 & 1;
}

/* Which filter takes the frame: a RD_ bit or MATCHED_BY_NONE; 0: no filter does. */
static uint16_t match(const Pcnet *p, const uint8_t *frame)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint16_t mode = p->g.csr[15];
    uint8_t own[6];
    for (unsigned i = 0; i < 3; i++) {
        bytes_put_le16(own + 2 * i, p->g.csr[12 + i]);
    }
    if (memcmp(frame, broadcast, 6) == 0 && !(mode & CSR15_DRCVBC)) {
        return RD_BAM;
    }
    if (memcmp(frame, own, 6) == 0 && !(mode & CSR15_DRCVPA)) {
        return RD_PAM;
    }
    if (frame[0] & 1 && hash_matches(p, frame)) {
        return RD_LAFM;
    }
    return mode & CSR15_PROM ? MATCHED_BY_NONE : 0;
}

/* Bytes of the frame and its FCS that reach memory: automatic stripping drops both pad and FCS of a
 * frame whose length field (IEEE 802.3) says that it has a pad. */
static size_t kept(const Pcnet *p, const uint8_t *frame, size_t size)
{
    unsigned length = size >= HEADER ? (unsigned)(frame[12] << 8 | frame[13]) : SHORTEST;
    bool strip = p->g.csr[4] & CSR4_ASTRP_RCV && length < SHORTEST - HEADER;
    return strip && HEADER + length <= size ? HEADER + length : size + FCS;
}

/* Writes the frame into descriptors from the current one. False: the first is not ours. */
static bool store(Pcnet *p, const uint8_t *frame, size_t size, uint16_t ends_with)
{
    uint8_t data[NET_MAX_FRAME + FCS];
    memcpy(data, frame, size);
    bytes_put_le32(data + size, (uint32_t)crc32(0, frame, (uInt)size));
    size_t total = kept(p, frame, size), done = 0;
    uint16_t status = D_STP;
    Descriptor d, next;
    if (!read_descriptor(p, p->g.receive_base, p->g.receive_at, &d) || !owned(&d)) {
        return false;
    }
    for (unsigned used = 1;; used++) {
        size_t part = total - done < d.length ? total - done : d.length;
        pcnet_dma(p, d.buffer, data + done, part, true);
        done += part;
        p->g.receive_at = after(p->g.receive_at, p->g.receive_count);
        if (done == total) {
            write_message_length(p, &d, total);
            return_descriptor(p, &d, status | D_ENP | ends_with);
            return true;
        }
        if (used == BUFFERS_A_FRAME ||
            !read_descriptor(p, p->g.receive_base, p->g.receive_at, &next) || !owned(&next)) {
            return_descriptor(p, &d, status | D_ERR | RD_BUFF);
            return true;
        }
        return_descriptor(p, &d, status);
        d = next;
        status = 0;
    }
}

static void missed(Pcnet *p)
{
    if (++p->g.csr[112] == 0) {
        p->g.csr[4] |= CSR4_MFCO;
    }
    p->g.csr[0] |= CSR0_MISS;
    pcnet_update_irq(p);
}

static uint16_t match_bits(const Pcnet *p, uint16_t matched)
{
    return pcnet_style32(p) ? matched & (RD_PAM | RD_LAFM | RD_BAM) : 0;
}

bool pcnet_receive(void *self, const uint8_t *frame, size_t size)
{
    Pcnet *p = self;
    p->waiting = false;
    uint16_t matched = 0;
    if (!(p->g.csr[0] & CSR0_RXON) || p->g.csr[15] & (CSR15_LOOP | CSR15_DRX) ||
        p->g.csr[5] & CSR5_SPND || size < HEADER || size > NET_MAX_FRAME ||
        (size < SHORTEST && !(p->g.csr[124] & CSR124_RPA)) || !(matched = match(p, frame))) {
        return true;
    }
    if (store(p, frame, size, match_bits(p, matched))) {
        p->g.impatient = false;
        timer_disarm(&p->waited);
        p->g.csr[0] |= CSR0_RINT;
        pcnet_update_irq(p);
        return true;
    }
    if (p->g.impatient || p->config.patience == 0) {
        missed(p);
        return true;
    }
    pcnet_update_irq(p); /* the descriptor may have met no memory */
    /* Memory is the guest's to change without a word: it is looked at again with the poll timer. */
    p->waiting = true;
    if (!p->waited.armed) {
        timer_arm(&p->waited, clock_now(&p->dev.board->clock) + p->config.patience);
    }
    return false;
}

void pcnet_may_receive(Pcnet *p)
{
    if (p->waiting && p->config.port.ops) {
        p->waiting = false;
        p->config.port.ops->ready(p->config.port.backend);
    }
}

void pcnet_waited_in_vain(void *self, int64_t due)
{
    Pcnet *p = self;
    (void)due;
    p->g.impatient = true;
    pcnet_may_receive(p);
}

/* --- transmitter --- */

typedef struct Message {
    uint8_t data[NET_MAX_FRAME + FCS + 1]; /* what is longer is cut */
    size_t size;
    uint16_t first, last; /* statuses of the first and the last descriptor */
} Message;

static void loop_back(Pcnet *p, const uint8_t *frame, size_t size, bool bad_fcs)
{
    uint16_t matched = match(p, frame);
    if (!matched || !(p->g.csr[0] & CSR0_RXON)) {
        return;
    }
    if (store(p, frame, size, match_bits(p, matched) | (bad_fcs ? D_ERR | RD_CRC : 0))) {
        p->g.csr[0] |= CSR0_RINT;
    } else {
        missed(p);
    }
}

/* Whether the chip appends the FCS; if not, the message has it already. */
static bool appends_fcs(const Pcnet *p, const Message *m)
{
    bool wanted = !(p->g.csr[15] & CSR15_DXMTFCS);
    return style(p) == ILACC ? wanted && !(m->last & TD_FCS) : wanted || m->first & TD_FCS;
}

static void send(Pcnet *p, Message *m)
{
    bool padded = p->g.csr[4] & CSR4_APAD_XMT && m->size < SHORTEST;
    bool bad_fcs = false;
    if (padded) {
        memset(m->data + m->size, 0, SHORTEST - m->size);
        m->size = SHORTEST;
    } else if (!appends_fcs(p, m)) {
        bad_fcs = m->size < FCS || crc32(0, m->data, (uInt)m->size) != GOOD_FCS;
        m->size -= m->size < FCS ? m->size : FCS;
    }
    p->g.csr[4] |= CSR4_TXSTRT;
    if (m->size < HEADER || m->size > NET_MAX_FRAME) {
        p->g.csr[0] |= m->size > NET_MAX_FRAME ? CSR0_BABL : 0;
        return; /* a babble ends in no frame that anybody takes */
    }
    bool loop = p->g.csr[15] & CSR15_LOOP;
    if (loop) {
        loop_back(p, m->data, m->size, bad_fcs);
    }
    if (bad_fcs) {
        log_guest("a frame with a wrong FCS is dropped");
    } else if ((!loop || !(p->g.csr[15] & CSR15_INTL)) && p->config.port.ops) {
        p->config.port.ops->send(p->config.port.backend, m->data, m->size);
    }
}

static void take_part(Pcnet *p, Message *m, const Descriptor *d)
{
    size_t room = sizeof(m->data) - m->size;
    size_t part = d->length < room ? d->length : room;
    if (part) {
        pcnet_dma(p, d->buffer, m->data + m->size, part, false);
        m->size += part;
    }
}

/* The rest of a frame is not there: the wire has seen an underflow. */
static void underflow(Pcnet *p, const Descriptor *d)
{
    write_transmit_errors(p, d, TD_BUFF | TD_UFLO);
    return_descriptor(p, d, (uint16_t)((d->status & ~D_OWN) | D_ERR));
    if (!(p->g.csr[3] & CSR3_DXSUFLO)) {
        p->g.csr[0] &= (uint16_t)~CSR0_TXON;
    }
    p->g.csr[0] |= CSR0_TINT;
}

/* Collects a frame that begins in *d and gives its descriptors back. False: its end is missing.
 * *used counts the descriptors. */
static bool collect(Pcnet *p, Descriptor *d, Message *m, unsigned *used)
{
    Descriptor next;
    m->size = 0;
    m->first = d->status;
    for (unsigned buffers = 1;; buffers++) {
        ++*used;
        take_part(p, m, d);
        p->g.transmit_at = after(p->g.transmit_at, p->g.transmit_count);
        if (d->status & D_ENP) {
            m->last = d->status;
            return true;
        }
        if (buffers == BUFFERS_A_FRAME ||
            !read_descriptor(p, p->g.transmit_base, p->g.transmit_at, &next) || !owned(&next)) {
            underflow(p, d);
            return false;
        }
        return_descriptor(p, d, (uint16_t)(d->status & ~(D_OWN | D_ERR)));
        *d = next;
    }
}

static bool wants_interrupt(const Pcnet *p, const Message *m)
{
    if (p->g.csr[5] & CSR5_TOKINTD) {
        return false;
    }
    return !(p->g.csr[5] & CSR5_LTINTEN) || m->last & TD_LTINT;
}

/* One frame. False: there is none. */
static bool send_one(Pcnet *p, unsigned *used)
{
    Message m;
    Descriptor d;
    if (!read_descriptor(p, p->g.transmit_base, p->g.transmit_at, &d) || !owned(&d)) {
        return false;
    }
    if (!(d.status & D_STP)) { /* the middle of something: passed over until a frame begins */
        ++*used;
        p->g.transmit_at = after(p->g.transmit_at, p->g.transmit_count);
        return_descriptor(p, &d, (uint16_t)(d.status & ~(D_OWN | D_ERR)));
        return true;
    }
    if (collect(p, &d, &m, used)) {
        send(p, &m);
        return_descriptor(p, &d, (uint16_t)(d.status & ~(D_OWN | D_ERR)));
        p->g.csr[0] |= wants_interrupt(p, &m) ? CSR0_TINT : 0;
    }
    return true;
}

void pcnet_send_all(Pcnet *p)
{
    unsigned used = 0;
    while (p->g.csr[0] & CSR0_TXON && !(p->g.csr[5] & CSR5_SPND) && used < DESCRIPTORS_A_DEMAND &&
           send_one(p, &used)) {
    }
    p->g.csr[0] &= (uint16_t)~CSR0_TDMD;
    pcnet_update_irq(p);
}
