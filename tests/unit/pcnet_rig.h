/* A PCnet as its driver sees it: registers, rings in memory, start. */
#ifndef TESTS_UNIT_PCNET_RIG_H
#define TESTS_UNIT_PCNET_RIG_H

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "chipset/cards/pcnet.h"
#include "machine/core/bytes.h"
#include "tests/unit/chip.h"
#include "tests/unit/wire.h"

enum {
    RAM_SIZE = 0x100000,
    CARD = CHIP_PCI(5, 0),
    BASE = 0xc000,
    MMIO = 0xe0000000,
    INIT_BLOCK = 0x1000,
    RX_RING = 0x2000,
    TX_RING = 0x4000,
    RX_BUFFERS = 0x10000,
    TX_BUFFERS = 0x80000,
    BUFFER = 0x800, /* from one to the next */
};
/* Upper halves of a descriptor's second word. */
enum {
    OWN = 0x8000,
    ERROR = 0x4000,
    ADD_FCS = 0x2000,
    LTINT = 0x1000,
    CRC = 0x0800,
    BUFF = 0x0400,
    STP = 0x0200,
    ENP = 0x0100,
    PAM = 0x40,
    LAFM = 0x20,
    BAM = 0x10,
};
/* CSR0 */
enum {
    INIT = 1,
    STRT = 2,
    STOP = 4,
    TDMD = 8,
    TXON = 0x10,
    RXON = 0x20,
    IENA = 0x40,
    INTR = 0x80,
    IDON = 0x100,
    TINT = 0x200,
    RINT = 0x400,
    MERR = 0x800,
    MISS = 0x1000,
    BABL = 0x4000,
    ERR = 0x8000,
};

static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t group[6] = {0x01, 0x00, 0x5e, 0x00, 0x00, 0x01};

typedef struct Fixture {
    Board *b;
    uint8_t *ram;
    Wire *wire;
    Probe irq;
    unsigned style;
    bool wide; /* ports of 32 bits */
} Fixture;

static inline void set_up(Fixture *f, unsigned style, int64_t patience)
{
    memset(f, 0, sizeof(*f));
    f->b = chip_board();
    f->wire = calloc(1, sizeof(*f->wire));
    f->style = style;
    f->ram = chip_ram(f->b, RAM_SIZE);
    PciBus *bus = pci_new(f->b, "pci");
    PcnetConfig c = {.bus = bus, .device = 5, .port = wire_port(f->wire), .patience = patience};
    memcpy(c.mac, mac, 6);
    pcnet_new(f->b, &c, "net0");
    pci_connect(bus, 0, chip_probe(f->b, &f->irq)); /* where INTA# of device 5 leads */
    board_reset(f->b, RESET_POWER);
    chip_set_config(f->b, CARD, 0x10, BASE, 4);
    chip_set_config(f->b, CARD, 0x14, MMIO, 4);
    chip_set_config(f->b, CARD, 0x04, 7, 4);
}

static inline void tear_down(Fixture *f)
{
    board_free(f->b);
    free(f->wire);
}

static inline uint32_t port_read(Fixture *f, unsigned n)
{
    unsigned bytes = f->wide ? 4 : 2;
    return (uint32_t)bus_read(f->b->ports, BASE + 0x10 + n * bytes, bytes);
}

static inline void port_write(Fixture *f, unsigned n, uint32_t value)
{
    unsigned bytes = f->wide ? 4 : 2;
    bus_write(f->b->ports, BASE + 0x10 + n * bytes, value, bytes);
}

static inline uint16_t csr(Fixture *f, unsigned n)
{
    port_write(f, 1, n);
    return (uint16_t)port_read(f, 0);
}

static inline void set_csr(Fixture *f, unsigned n, uint16_t value)
{
    port_write(f, 1, n);
    port_write(f, 0, value);
}

static inline uint16_t bcr(Fixture *f, unsigned n)
{
    port_write(f, 1, n);
    return (uint16_t)port_read(f, 3);
}

static inline void set_bcr(Fixture *f, unsigned n, uint16_t value)
{
    port_write(f, 1, n);
    port_write(f, 3, value);
}

/* --- rings in memory --- */

static inline uint8_t *descriptor(Fixture *f, unsigned ring, unsigned n)
{
    return f->ram + ring + n * (f->style ? 16 : 8);
}

static inline void give(Fixture *f, unsigned ring, unsigned n, uint32_t buffer, unsigned size,
                        uint16_t status)
{
    uint8_t *d = descriptor(f, ring, n);
    if (f->style == 0) {
        bytes_put_le32(d, buffer);
        bytes_put_le16(d + 4, (uint16_t)(0xf000 | ((0x1000 - size) & 0xfff)));
        bytes_put_le16(d + 6, 0xaaaa);
        d[3] = (uint8_t)(status >> 8);
        return;
    }
    bool swapped = f->style == 3;
    bytes_put_le32(d + (swapped ? 8 : 0), buffer);
    bytes_put_le16(d + 4, (uint16_t)(0xf000 | ((0x1000 - size) & 0xfff)));
    bytes_put_le16(d + 6, status);
    bytes_put_le32(d + (swapped ? 0 : 8), 0xaaaaaaaa);
}

static inline uint16_t status_of(Fixture *f, unsigned ring, unsigned n)
{
    uint8_t *d = descriptor(f, ring, n);
    return f->style == 0 ? (uint16_t)(d[3] << 8) : bytes_le16(d + 6);
}

static inline uint32_t third_of(Fixture *f, unsigned ring, unsigned n)
{
    uint8_t *d = descriptor(f, ring, n);
    return f->style == 0 ? bytes_le16(d + 6) : bytes_le32(d + (f->style == 3 ? 0 : 8));
}

static inline uint8_t *receive_buffer(Fixture *f, unsigned n)
{
    return f->ram + RX_BUFFERS + n * BUFFER;
}

static inline void give_receive(Fixture *f, unsigned count, unsigned size)
{
    for (unsigned i = 0; i < count; i++) {
        give(f, RX_RING, i, RX_BUFFERS + i * BUFFER, size, OWN);
    }
}

/* As a driver starts the chip: rings of 1 << log descriptors. */
static inline void initialize(Fixture *f, uint16_t mode, unsigned log, uint16_t command)
{
    uint8_t *at = f->ram + INIT_BLOCK;
    memset(at, 0, 28);
    set_bcr(f, 20, (uint16_t)f->style);
    bytes_put_le16(at, mode);
    uint8_t *address = at + (f->style ? 4 : 2), *filter = at + (f->style ? 12 : 8);
    memcpy(address, mac, 6);
    filter[6] = 0x40; /* the bit of `group`, 54 */
    bytes_put_le32(filter + 8, RX_RING);
    bytes_put_le32(filter + 12, TX_RING);
    if (f->style) {
        at[2] = at[3] = (uint8_t)(log << 4);
    } else {
        filter[11] = filter[15] = (uint8_t)(log << 5);
    }
    set_csr(f, 1, INIT_BLOCK);
    set_csr(f, 2, 0);
    set_csr(f, 0, command);
}

static inline void started(Fixture *f, unsigned style, int64_t patience, uint16_t mode)
{
    set_up(f, style, patience);
    f->style = style;
    give_receive(f, 4, 0x600);
    initialize(f, mode, 2, INIT | STRT | IENA);
    assert_int_equal(csr(f, 0), IDON | INIT | STRT | IENA | INTR | TXON | RXON);
    assert_true(f->irq.level);
    set_csr(f, 0, IDON | IENA);
    assert_false(f->irq.level);
}

static inline void acknowledge(Fixture *f)
{
    set_csr(f, 0, (uint16_t)((csr(f, 0) & 0x7f00) | IENA));
}

static inline bool arrives(Fixture *f, const uint8_t *to, size_t size, uint8_t fill)
{
    return wire_arrives(f->wire, to, size, fill);
}

static inline uint8_t *put_message(Fixture *f, unsigned n, size_t size)
{
    uint8_t *at = f->ram + TX_BUFFERS + n * BUFFER;
    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)(i * 3 + n);
    }
    return at;
}

#endif
