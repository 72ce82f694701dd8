/* Am79C970A (PCnet-PCI II) Ethernet controller: registers, initialization, ports.
 *
 * Data sheet: AMD 19436. Software styles 0 (LANCE, 16-bit) and 1, 2, 3 (32-bit). A frame is sent as
 * soon as its descriptors say so. Not modelled: the EEPROM's pins, the PHY behind the chip's AUI
 * and 10BASE-T ports (the link is always up), time on the wire and so collisions, magic packets,
 * look-ahead packet processing, byte swapping. Frames without a descriptor wait at the back end for
 * `patience`, then count as missed. Rings are in pcnet_ring.c. Wired by pc_cards.
 */
#include <stdlib.h>
#include <string.h>

#include "chipset/cards/pcnet_internal.h"
#include "machine/core/bytes.h"
#include "machine/core/log.h"

LOG_TAG("pcnet");

enum {
    PORTS = 32,
    RDP = 16,
    POLL_NS = 1600000, /* how often a ring without a demand is looked at */
    MOST_LOG = 9,      /* a ring of the initialization block has 512 descriptors at most */
};

static bool interrupt_wanted(const Pcnet *p)
{
    const uint16_t *csr = p->g.csr;
    uint16_t unmasked4 = (uint16_t)(csr[4] & (CSR4_TXSTRT | CSR4_MFCO) & ~(csr[4] << 1));
    return csr[0] & CSR0_CLEARABLE & ~csr[3] & CSR3_MASKS || csr[4] & CSR4_UINT || unmasked4;
}

void pcnet_update_irq(Pcnet *p)
{
    uint16_t *csr = p->g.csr;
    csr[0] &= (uint16_t) ~(CSR0_INTR | CSR0_ERR);
    if (csr[0] & (CSR0_BABL | CSR0_CERR | CSR0_MISS | CSR0_MERR)) {
        csr[0] |= CSR0_ERR;
    }
    if (interrupt_wanted(p)) {
        csr[0] |= CSR0_INTR;
    }
    pci_interrupt(p->function, csr[0] & CSR0_INTR && csr[0] & CSR0_IENA);
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
    if (!(p->g.csr[4] & CSR4_DPOLL)) {
        pcnet_send_all(p);
    }
    pcnet_may_receive(p);
    arm_poll(p);
}

/* --- start and stop --- */

static uint16_t ring_length(unsigned log)
{
    return (uint16_t)(1u << (log > MOST_LOG ? MOST_LOG : log));
}

static void take_rings(Pcnet *p, uint32_t receive, unsigned receive_log, uint32_t transmit,
                       unsigned transmit_log)
{
    uint16_t *csr = p->g.csr;
    p->g.receive_base = receive;
    p->g.transmit_base = transmit;
    p->g.receive_count = ring_length(receive_log);
    p->g.transmit_count = ring_length(transmit_log);
    p->g.receive_at = p->g.transmit_at = 0;
    csr[6] = (uint16_t)(transmit_log << 12 | receive_log << 8);
    csr[76] = (uint16_t)-p->g.receive_count;
    csr[78] = (uint16_t)-p->g.transmit_count;
    csr[24] = (uint16_t)receive;
    csr[25] = (uint16_t)(receive >> 16);
    csr[30] = (uint16_t)transmit;
    csr[31] = (uint16_t)(transmit >> 16);
}

static void initialize(Pcnet *p)
{
    uint8_t raw[28];
    uint32_t at = (uint32_t)p->g.csr[1] | (uint32_t)p->g.csr[2] << 16;
    bool wide = pcnet_style32(p);
    uint16_t *csr = p->g.csr;
    csr[0] = (uint16_t)((csr[0] | CSR0_INIT) & ~CSR0_STOP);
    if (!pcnet_dma(p, pcnet_bus_address(p, at), raw, wide ? 28 : 24, false)) {
        return;
    }
    const uint8_t *address = raw + (wide ? 4 : 2), *filter = raw + (wide ? 12 : 8);
    csr[15] = bytes_le16(raw);
    for (unsigned i = 0; i < 3; i++) {
        csr[12 + i] = bytes_le16(address + 2 * i);
    }
    for (unsigned i = 0; i < 4; i++) {
        csr[8 + i] = bytes_le16(filter + 2 * i);
    }
    uint32_t receive = bytes_le32(filter + 8), transmit = bytes_le32(filter + 12);
    if (wide) {
        take_rings(p, receive, raw[2] >> 4, transmit, raw[3] >> 4);
    } else {
        take_rings(p, receive & 0xffffff, receive >> 29, transmit & 0xffffff, transmit >> 29);
    }
    csr[0] |= CSR0_IDON;
}

static void stop(Pcnet *p)
{
    p->g.csr[0] = CSR0_STOP;
    p->g.csr[4] &= (uint16_t)~CSR4_CLEARABLE;
    p->g.csr[5] &= (uint16_t)~CSR5_SPND;
    p->g.impatient = false;
    timer_disarm(&p->waited);
    arm_poll(p);
    pcnet_update_irq(p);
    pcnet_may_receive(p);
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
        pcnet_send_all(p);
    }
    pcnet_update_irq(p);
    pcnet_may_receive(p);
}

/* A CSR that decides where the rings are and what is received. */
static void write_setting(Pcnet *p, unsigned n, uint16_t value)
{
    uint16_t *csr = p->g.csr;
    csr[n] = value;
    p->g.receive_base = (uint32_t)csr[24] | (uint32_t)csr[25] << 16;
    p->g.transmit_base = (uint32_t)csr[30] | (uint32_t)csr[31] << 16;
    p->g.receive_count = csr[76] ? (uint16_t)-csr[76] : 1;
    p->g.transmit_count = csr[78] ? (uint16_t)-csr[78] : 1;
    p->g.receive_at = p->g.receive_at < p->g.receive_count ? p->g.receive_at : 0;
    p->g.transmit_at = p->g.transmit_at < p->g.transmit_count ? p->g.transmit_at : 0;
}

/* The ring counters count up to 0 from the rings' lengths, which are two's complements too. */
static void write_counter(uint16_t *at, uint16_t count, uint16_t value)
{
    uint16_t left = (uint16_t)-value;
    *at = left && left <= count ? (uint16_t)(count - left) : 0;
}

/* The style says which width structures have, and whose bits CSRs: the LANCE's kin's or ILACC's. */
static void write_style(Pcnet *p, uint16_t value)
{
    uint8_t style = value & 0xff;
    p->g.bcr[20] =
        (uint16_t)(style | (style ? BCR20_SSIZE32 : 0) | (style != 1 ? BCR20_CSRPCNET : 0));
}

static bool is_setting(unsigned n)
{
    return n == 1 || n == 2 || (n >= 8 && n <= 15) || n == 24 || n == 25 || n == 30 || n == 31 ||
           n == 76 || n == 78;
}

/* Registers that can be written while the chip neither sends nor receives. */
static void write_stopped_csr(Pcnet *p, unsigned n, uint16_t value)
{
    if (!(p->g.csr[0] & CSR0_STOP) && !(p->g.csr[5] & CSR5_SPND)) {
        log_guest("CSR%u is written while the chip runs", n);
    } else if (n == 16 || n == 17) {
        write_setting(p, n - 15, value);
    } else if (is_setting(n)) {
        write_setting(p, n, value);
    } else if (n == 58) {
        write_style(p, value);
    } else if (n == 72) {
        write_counter(&p->g.receive_at, p->g.receive_count, value);
    } else if (n == 74) {
        write_counter(&p->g.transmit_at, p->g.transmit_count, value);
    } else if (n == 46 || n == 47 || n == 80 || n == 82 || n == 112 || n == 114 || n == 124) {
        p->g.csr[n] = value;
    }
}

static void write_csr(Pcnet *p, unsigned n, uint16_t value)
{
    uint16_t *csr = p->g.csr;
    switch (n) {
    case 0:
        write_csr0(p, value);
        return;
    case 3:
        csr[3] = value;
        break;
    case 4:
        csr[4] = (uint16_t)((csr[4] & CSR4_CLEARABLE & ~value) |
                            (value & ~(CSR4_CLEARABLE | CSR4_UINTCMD)) |
                            (value & CSR4_UINTCMD ? CSR4_UINT : 0));
        break;
    case 5:
        csr[5] = (uint16_t)((csr[5] & CSR5_CLEARABLE & ~value) | (value & ~CSR5_CLEARABLE));
        break;
    default:
        write_stopped_csr(p, n, value);
    }
    pcnet_update_irq(p);
    pcnet_may_receive(p);
}

/* Half of the address of a descriptor. */
static uint16_t half_of_address(const Pcnet *p, uint32_t base, unsigned index, unsigned count,
                                bool high)
{
    uint32_t at = pcnet_bus_address(p, base + index % count * pcnet_descriptor_size(p));
    return (uint16_t)(high ? at >> 16 : at);
}

static uint16_t read_csr(const Pcnet *p, unsigned n)
{
    switch (n) {
    case 16:
    case 17:
        return p->g.csr[n - 15];
    case 26:
    case 27: /* the receive descriptor after the current one */
        return half_of_address(p, p->g.receive_base, p->g.receive_at + 1u, p->g.receive_count,
                               n == 27);
    case 28:
    case 29:
        return half_of_address(p, p->g.receive_base, p->g.receive_at, p->g.receive_count, n == 29);
    case 32:
    case 33:
        return half_of_address(p, p->g.transmit_base, p->g.transmit_at + 1u, p->g.transmit_count,
                               n == 33);
    case 34:
    case 35:
        return half_of_address(p, p->g.transmit_base, p->g.transmit_at, p->g.transmit_count,
                               n == 35);
    case 58:
        return p->g.bcr[20];
    case 72:
        return (uint16_t)(p->g.receive_at - p->g.receive_count);
    case 74:
        return (uint16_t)(p->g.transmit_at - p->g.transmit_count);
    default:
        return p->g.csr[n];
    }
}

static void write_bcr(Pcnet *p, unsigned n, uint16_t value)
{
    if (n == 20) {
        write_csr(p, 58, value);
    } else if (n == 2 || n == 4 || n == 5 || n == 6 || n == 7 || n == 9 || n == 19 || n == 22) {
        p->g.bcr[n] = value;
    } else if (n == 18) {
        p->g.bcr[n] = (uint16_t)((value & ~BCR18_DWIO) | (p->g.bcr[n] & BCR18_DWIO));
    }
}

static uint16_t read_bcr(const Pcnet *p, unsigned n)
{
    /* The LEDs: link is up. */
    return n == 4 ? p->g.bcr[4] | 0x8000 : p->g.bcr[n];
}

/* S_RESET: the bus configuration registers keep their values. */
static void soft_reset(Pcnet *p)
{
    p->g.rap = 0;
    p->g.csr[3] = 0;
    p->g.csr[4] = 0x0115;
    p->g.csr[5] = 0;
    p->g.csr[15] = 0;
    p->g.csr[80] = 0x1410;
    p->g.csr[88] = 0x1003; /* Am79C970A: part 2621h */
    p->g.csr[89] = 0x0262;
    p->g.csr[112] = p->g.csr[114] = p->g.csr[124] = 0;
    stop(p);
}

/* --- ports --- */

static uint64_t read_port(void *self, uint32_t offset, unsigned bytes)
{
    Pcnet *p = self;
    bool wide = p->g.bcr[18] & BCR18_DWIO;
    if (p->mastering) {
        return UINT64_MAX; /* a descriptor or buffer lies in the chip's own registers */
    }
    if (offset < PCNET_APROM) {
        uint64_t value = 0;
        for (unsigned i = 0; i < bytes; i++) {
            value |= (uint64_t)p->g.aprom[offset + i] << 8 * i;
        }
        return value;
    }
    if (bytes != (wide ? 4u : 2u)) {
        return UINT64_MAX;
    }
    switch ((offset - RDP) / bytes) {
    case 0:
        return read_csr(p, p->g.rap % PCNET_CSRS);
    case 1:
        return p->g.rap;
    case 2:
        soft_reset(p);
        return 0;
    default:
        return read_bcr(p, p->g.rap % PCNET_BCRS);
    }
}

static void write_port(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Pcnet *p = self;
    if (p->mastering) {
        return;
    }
    if (offset < PCNET_APROM) {
        if (p->g.bcr[2] & 0x0100) { /* APROMWE */
            for (unsigned i = 0; i < bytes; i++) {
                p->g.aprom[offset + i] = (uint8_t)(value >> 8 * i);
            }
        }
        return;
    }
    if (bytes == 4 && offset == RDP) {
        p->g.bcr[18] |= BCR18_DWIO; /* the first 32-bit write to RDP makes all ports so */
    }
    bool wide = p->g.bcr[18] & BCR18_DWIO;
    if (bytes != (wide ? 4u : 2u)) {
        return;
    }
    switch ((offset - RDP) / bytes) {
    case 0:
        write_csr(p, p->g.rap % PCNET_CSRS, (uint16_t)value);
        break;
    case 1:
        p->g.rap = value & 0x7f;
        break;
    case 2:
        break; /* only a read resets */
    default:
        write_bcr(p, p->g.rap % PCNET_BCRS, (uint16_t)value);
    }
}

static const IoOps port_ops = {read_port, write_port, 1, 4};

/* --- life --- */

static void reset(Device *d, ResetKind kind)
{
    static const uint16_t bcr[PCNET_BCRS] = {
        [0] = 5,    [1] = 5,    [2] = 2,       [4] = 0xc0,   [5] = 0x84,
        [6] = 0x88, [7] = 0x90, [18] = 0x9001, [20] = 0x200, [22] = 0xff06};
    Pcnet *p = (Pcnet *)d;
    (void)kind;
    memset(&p->g, 0, sizeof(p->g));
    memcpy(p->g.bcr, bcr, sizeof(bcr));
    p->g.receive_count = p->g.transmit_count = 1;
    memcpy(p->g.aprom, p->config.mac, 6);
    p->g.aprom[9] = 0x11; /* PCI */
    p->g.aprom[14] = p->g.aprom[15] = 'W';
    unsigned sum = 0;
    for (unsigned i = 0; i < PCNET_APROM; i++) {
        sum += p->g.aprom[i];
    }
    p->g.aprom[12] = (uint8_t)sum;
    p->g.aprom[13] = (uint8_t)(sum >> 8);
    soft_reset(p);
}

static void state(Device *d, StateIo *io)
{
    Pcnet *p = (Pcnet *)d;
    for (unsigned i = 0; i < PCNET_CSRS; i++) {
        state_u16(io, "csr", &p->g.csr[i]);
    }
    for (unsigned i = 0; i < PCNET_BCRS; i++) {
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
    state_check(io, p->g.receive_at < p->g.receive_count && p->g.transmit_at < p->g.transmit_count,
                "a ring's index is out of range");
}

static void restored(Device *d)
{
    Pcnet *p = (Pcnet *)d;
    pcnet_update_irq(p);
    p->waiting = true; /* what waits at this machine's back end is another frame */
    pcnet_may_receive(p);
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
    pci_bar_memory(p->function, 1, PORTS, false, &port_ops, "pcnet registers");
    if (config->rom) {
        pci_rom(p->function, config->rom, "pcnet rom");
    }
    timer_init(&p->poll, &b->clock, "pcnet.poll", polled, p);
    timer_init(&p->waited, &b->clock, "pcnet.waited", pcnet_waited_in_vain, p);
    device_add(b, &p->dev, &type, id);
    if (config->port.ops) {
        config->port.ops->attach(config->port.backend, &(NetSink){pcnet_receive, p});
    }
    return p;
}
