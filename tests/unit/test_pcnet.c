/* PCnet-PCI II: identity, ports of both widths, initialization, rings of every software style,
 * filters, loopback, missed frames, interrupts, suspending, hostile rings, state. */
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

static void set_up(Fixture *f, unsigned style, int64_t patience)
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

static void tear_down(Fixture *f)
{
    board_free(f->b);
    free(f->wire);
}

static uint32_t port_read(Fixture *f, unsigned n)
{
    unsigned bytes = f->wide ? 4 : 2;
    return (uint32_t)bus_read(f->b->ports, BASE + 0x10 + n * bytes, bytes);
}

static void port_write(Fixture *f, unsigned n, uint32_t value)
{
    unsigned bytes = f->wide ? 4 : 2;
    bus_write(f->b->ports, BASE + 0x10 + n * bytes, value, bytes);
}

static uint16_t csr(Fixture *f, unsigned n)
{
    port_write(f, 1, n);
    return (uint16_t)port_read(f, 0);
}

static void set_csr(Fixture *f, unsigned n, uint16_t value)
{
    port_write(f, 1, n);
    port_write(f, 0, value);
}

static uint16_t bcr(Fixture *f, unsigned n)
{
    port_write(f, 1, n);
    return (uint16_t)port_read(f, 3);
}

static void set_bcr(Fixture *f, unsigned n, uint16_t value)
{
    port_write(f, 1, n);
    port_write(f, 3, value);
}

/* --- rings in memory --- */

static uint8_t *descriptor(Fixture *f, unsigned ring, unsigned n)
{
    return f->ram + ring + n * (f->style ? 16 : 8);
}

static void give(Fixture *f, unsigned ring, unsigned n, uint32_t buffer, unsigned size,
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

static uint16_t status_of(Fixture *f, unsigned ring, unsigned n)
{
    uint8_t *d = descriptor(f, ring, n);
    return f->style == 0 ? (uint16_t)(d[3] << 8) : bytes_le16(d + 6);
}

static uint32_t third_of(Fixture *f, unsigned ring, unsigned n)
{
    uint8_t *d = descriptor(f, ring, n);
    return f->style == 0 ? bytes_le16(d + 6) : bytes_le32(d + (f->style == 3 ? 0 : 8));
}

static uint8_t *receive_buffer(Fixture *f, unsigned n)
{
    return f->ram + RX_BUFFERS + n * BUFFER;
}

static void give_receive(Fixture *f, unsigned count, unsigned size)
{
    for (unsigned i = 0; i < count; i++) {
        give(f, RX_RING, i, RX_BUFFERS + i * BUFFER, size, OWN);
    }
}

/* As a driver starts the chip: rings of 1 << log descriptors. */
static void initialize(Fixture *f, uint16_t mode, unsigned log, uint16_t command)
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

static void started(Fixture *f, unsigned style, int64_t patience, uint16_t mode)
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

static void acknowledge(Fixture *f)
{
    set_csr(f, 0, (uint16_t)((csr(f, 0) & 0x7f00) | IENA));
}

static bool arrives(Fixture *f, const uint8_t *to, size_t size, uint8_t fill)
{
    return wire_arrives(f->wire, to, size, fill);
}

/* --- registers --- */

static void prom_and_identity(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 0, 0);
    unsigned sum = 0;
    uint8_t prom[16];
    for (unsigned i = 0; i < 16; i++) {
        prom[i] = chip_in(f.b, (uint16_t)(BASE + i));
        sum += i == 12 || i == 13 ? 0 : prom[i];
    }
    assert_memory_equal(prom, mac, 6);
    assert_memory_equal(prom + 14, "WW", 2);
    assert_int_equal(prom[12] | prom[13] << 8, sum);
    assert_int_equal(bus_read(f.b->ports, BASE, 4), 0x12005452);
    chip_out(f.b, BASE, 0x11); /* not without APROMWE */
    assert_int_equal(chip_in(f.b, BASE), 0x52);
    set_bcr(&f, 2, 0x102);
    chip_out(f.b, BASE, 0x11);
    assert_int_equal(chip_in(f.b, BASE), 0x11);
    assert_int_equal(csr(&f, 88) | (uint32_t)csr(&f, 89) << 16, 0x02621003);
    assert_int_equal(csr(&f, 0), STOP);
    assert_int_equal(chip_config(f.b, CARD, 0, 4), 0x20001022);
    tear_down(&f);
}

static void ports_of_both_widths(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 0, 0);
    assert_int_equal(bcr(&f, 18) & 0x80, 0);
    assert_int_equal(bus_read(f.b->ports, BASE + 0x10, 4), 0xffffffff);
    set_csr(&f, 8, 0x1234);
    csr(&f, 88);
    bus_write(f.b->ports, BASE + 0x10, 0, 4); /* the first wide write to RDP */
    f.wide = true;
    assert_int_equal(bcr(&f, 18) & 0x80, 0x80);
    assert_int_equal(csr(&f, 8), 0x1234);
    set_csr(&f, 8, 0x4321);
    assert_int_equal(bus_read(f.b->ports, BASE + 0x10, 2), 0xffff);
    bus_write(f.b->ports, BASE + 0x10, 0x1111, 2); /* no port is so narrow now */
    assert_int_equal(csr(&f, 8), 0x4321);
    set_bcr(&f, 2, 0x0102);
    port_read(&f, 2); /* S_RESET */
    assert_int_equal(bcr(&f, 18) & 0x80, 0x80);
    assert_int_equal(bcr(&f, 2), 0x0102);
    assert_int_equal(csr(&f, 4), 0x0115);
    board_reset(f.b, RESET_HARD); /* H_RESET */
    chip_set_config(f.b, CARD, 0x10, BASE, 4);
    chip_set_config(f.b, CARD, 0x14, MMIO, 4);
    chip_set_config(f.b, CARD, 0x04, 7, 4);
    f.wide = false;
    assert_int_equal(bcr(&f, 18), 0x9001);
    assert_int_equal(bcr(&f, 2), 2);
    bus_write(f.b->memory, MMIO + 0x12, 88, 2); /* the same registers in memory */
    assert_int_equal(bus_read(f.b->memory, MMIO + 0x10, 2), 0x1003);
    tear_down(&f);
}

static void initialization_block(void **state)
{
    (void)state;
    for (unsigned style = 0; style <= 3; style++) {
        Fixture f;
        set_up(&f, style, 0);
        initialize(&f, 0x4000, 3, INIT);
        assert_int_equal(csr(&f, 0), IDON | INIT | INTR);
        assert_false(f.irq.level); /* IENA is off */
        assert_int_equal(csr(&f, 15), 0x4000);
        assert_int_equal(csr(&f, 12), 0x5452);
        assert_int_equal(csr(&f, 14), 0x5634);
        assert_int_equal(csr(&f, 11), 0x0040);
        assert_int_equal(csr(&f, 24) | csr(&f, 25) << 16, RX_RING);
        assert_int_equal(csr(&f, 30) | csr(&f, 31) << 16, TX_RING);
        assert_int_equal(csr(&f, 76), 0xfff8);
        assert_int_equal(csr(&f, 78), 0xfff8);
        assert_int_equal(csr(&f, 72), 0xfff8);
        assert_int_equal(csr(&f, 16), INIT_BLOCK);
        static const uint16_t styles[4] = {0x200, 0x101, 0x302, 0x303};
        assert_int_equal(bcr(&f, 20), styles[style]);
        assert_int_equal(csr(&f, 6), 0x3300);
        set_csr(&f, 0, STRT);
        assert_int_equal(csr(&f, 0) & (TXON | RXON), TXON | RXON);
        set_csr(&f, 24, 0x5555); /* not while it runs */
        assert_int_equal(csr(&f, 24), RX_RING);
        set_csr(&f, 0, STOP);
        assert_int_equal(csr(&f, 0), STOP);
        set_csr(&f, 76, 0xfffb);
        set_csr(&f, 72, 0xfffe);
        assert_int_equal(csr(&f, 72), 0xfffe);
        assert_int_equal(csr(&f, 28), RX_RING + 3 * (style ? 16 : 8)); /* the fourth of five */
        assert_int_equal(csr(&f, 26), RX_RING + 4 * (style ? 16 : 8));
        tear_down(&f);
    }
}

static void no_memory_is_a_memory_error(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 2, 0);
    set_bcr(&f, 20, 2);
    set_csr(&f, 1, 0);
    set_csr(&f, 2, 0x4000); /* nothing lives there */
    set_csr(&f, 0, INIT | IENA);
    assert_int_equal(csr(&f, 0), INIT | IENA | INTR | MERR | ERR);
    assert_true(f.irq.level);
    set_csr(&f, 3, MERR); /* masked */
    assert_false(f.irq.level);
    set_csr(&f, 0, MERR);
    assert_int_equal(csr(&f, 0) & (MERR | ERR | INTR), 0);
    tear_down(&f);
}

/* --- transmitter --- */

static uint8_t *put_message(Fixture *f, unsigned n, size_t size)
{
    uint8_t *at = f->ram + TX_BUFFERS + n * BUFFER;
    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)(i * 3 + n);
    }
    return at;
}

static void sends_in_every_style(void **state)
{
    (void)state;
    for (unsigned style = 0; style <= 3; style++) {
        Fixture f;
        started(&f, style, 0, 0);
        uint8_t *message = put_message(&f, 0, 100);
        give(&f, TX_RING, 0, TX_BUFFERS, 100, OWN | STP | ENP | ERROR);
        set_csr(&f, 0, TDMD | IENA);
        assert_int_equal(f.wire->frames, 1);
        assert_int_equal(f.wire->size, 100);
        assert_memory_equal(f.wire->sent, message, 100);
        assert_int_equal(status_of(&f, TX_RING, 0), STP | ENP);
        assert_int_equal(csr(&f, 0) & (TINT | TDMD), TINT);
        assert_true(f.irq.level);
        acknowledge(&f);
        assert_false(f.irq.level);
        /* Data is chained over three buffers; the ring of four wraps. */
        for (unsigned i = 1; i < 4; i++) {
            give(&f, TX_RING, i, TX_BUFFERS + (i - 1) * 200, 200,
                 (uint16_t)(OWN | (i == 1 ? STP : 0)));
        }
        give(&f, TX_RING, 0, TX_BUFFERS + 600, 100, OWN | ENP);
        message = put_message(&f, 0, 700);
        clock_step(&f.b->clock, 2000000); /* found by polling */
        assert_int_equal(f.wire->frames, 2);
        assert_int_equal(f.wire->size, 700);
        assert_memory_equal(f.wire->sent, message, 700);
        assert_int_equal(status_of(&f, TX_RING, 3), 0);
        assert_int_equal(csr(&f, 74), 0xfffd); /* the second of four */
        tear_down(&f);
    }
}

static void padding_and_fcs(void **state)
{
    (void)state;
    Fixture f;
    started(&f, 2, 0, 0x0008); /* DXMTFCS: the guest appends it */
    uint8_t *message = put_message(&f, 0, 100);
    bytes_put_le32(message + 96, (uint32_t)crc32(0, message, 96));
    give(&f, TX_RING, 0, TX_BUFFERS, 100, OWN | STP | ENP);
    set_csr(&f, 0, TDMD);
    assert_int_equal(f.wire->size, 96);
    message[96] ^= 1;
    give(&f, TX_RING, 1, TX_BUFFERS, 100, OWN | STP | ENP);
    set_csr(&f, 0, TDMD);
    assert_int_equal(f.wire->frames, 1); /* nobody takes a wrong one */
    assert_int_equal(status_of(&f, TX_RING, 1), STP | ENP);
    give(&f, TX_RING, 2, TX_BUFFERS, 100, OWN | STP | ENP | ADD_FCS);
    set_csr(&f, 0, TDMD);
    assert_int_equal(f.wire->size, 100);
    set_csr(&f, 4, 0x0915); /* APAD_XMT */
    give(&f, TX_RING, 3, TX_BUFFERS, 20, OWN | STP | ENP);
    set_csr(&f, 0, TDMD);
    assert_int_equal(f.wire->size, 60);
    assert_int_equal(f.wire->sent[20], 0);
    assert_int_equal(f.wire->frames, 3);
    tear_down(&f);
    started(&f, 1, 0, 0); /* ILACC: NO_FCS, in the last descriptor */
    message = put_message(&f, 0, 100);
    bytes_put_le32(message + 96, (uint32_t)crc32(0, message, 96));
    give(&f, TX_RING, 0, TX_BUFFERS, 100, OWN | STP | ENP | ADD_FCS);
    set_csr(&f, 0, TDMD);
    assert_int_equal(f.wire->size, 96);
    tear_down(&f);
}

static void transmit_errors(void **state)
{
    (void)state;
    Fixture f;
    started(&f, 2, 0, 0);
    put_message(&f, 0, 0x800);
    give(&f, TX_RING, 0, TX_BUFFERS, 100, OWN | ENP); /* no frame begins here */
    give(&f, TX_RING, 1, TX_BUFFERS, 1000, OWN | STP);
    give(&f, TX_RING, 2, TX_BUFFERS, 1000, OWN | ENP);
    set_csr(&f, 0, TDMD);
    assert_int_equal(status_of(&f, TX_RING, 0), ENP);
    assert_int_equal(f.wire->frames, 0);
    assert_int_equal(csr(&f, 0) & (BABL | TINT | TXON | ERR), BABL | TINT | TXON | ERR);
    give(&f, TX_RING, 3, TX_BUFFERS, 100, OWN | STP); /* its end never comes */
    set_csr(&f, 0, TDMD | BABL | TINT);
    assert_int_equal(status_of(&f, TX_RING, 3), ERROR | STP);
    assert_int_equal(third_of(&f, TX_RING, 3) >> 16, 0xc000); /* BUFF, UFLO */
    assert_int_equal(csr(&f, 0) & (TINT | TXON), TINT);
    give(&f, TX_RING, 0, TX_BUFFERS, 100, OWN | STP | ENP);
    set_csr(&f, 0, TDMD);
    assert_int_equal(f.wire->frames, 0); /* the transmitter is off */
    tear_down(&f);
    started(&f, 0, 0, 0);
    set_csr(&f, 3, 0x40); /* DXSUFLO: it stays on */
    give(&f, TX_RING, 0, TX_BUFFERS, 100, OWN | STP);
    set_csr(&f, 0, TDMD);
    assert_int_equal(third_of(&f, TX_RING, 0), 0xc000);
    give(&f, TX_RING, 1, TX_BUFFERS, 100, OWN | STP | ENP);
    set_csr(&f, 0, TDMD);
    assert_int_equal(f.wire->frames, 1);
    tear_down(&f);
}

static void transmit_interrupts(void **state)
{
    (void)state;
    Fixture f;
    started(&f, 2, 0, 0);
    put_message(&f, 0, 100);
    set_csr(&f, 5, 0x4000); /* LTINTEN */
    give(&f, TX_RING, 0, TX_BUFFERS, 100, OWN | STP | ENP);
    give(&f, TX_RING, 1, TX_BUFFERS, 100, OWN | STP | ENP);
    set_csr(&f, 0, TDMD | IENA);
    assert_int_equal(f.wire->frames, 2);
    assert_false(f.irq.level);
    give(&f, TX_RING, 2, TX_BUFFERS, 100, OWN | STP | ENP | LTINT);
    set_csr(&f, 0, TDMD | IENA);
    assert_true(f.irq.level);
    acknowledge(&f);
    set_csr(&f, 5, 0x8000); /* TOKINTD */
    give(&f, TX_RING, 3, TX_BUFFERS, 100, OWN | STP | ENP);
    set_csr(&f, 0, TDMD | IENA);
    assert_false(f.irq.level);
    set_csr(&f, 4, 0x0111); /* TXSTRT is no longer masked: it was set by every frame */
    assert_true(f.irq.level);
    set_csr(&f, 4, 0x0119);
    assert_false(f.irq.level);
    set_csr(&f, 4, 0x0195); /* UINTCMD */
    assert_true(f.irq.level);
    assert_int_equal(csr(&f, 4), 0x0155);
    set_csr(&f, 4, 0x0155);
    assert_false(f.irq.level);
    tear_down(&f);
}

/* --- receiver --- */

static void receives_in_every_style(void **state)
{
    (void)state;
    for (unsigned style = 0; style <= 3; style++) {
        Fixture f;
        started(&f, style, 0, 0);
        assert_true(arrives(&f, mac, 200, 0x5a));
        assert_int_equal(status_of(&f, RX_RING, 0), STP | ENP | (style ? PAM : 0));
        assert_int_equal(third_of(&f, RX_RING, 0), 204);
        uint8_t *got = receive_buffer(&f, 0);
        assert_memory_equal(got, mac, 6);
        assert_int_equal(got[199], 0x5a);
        assert_int_equal(crc32(0, got, 204), 0x2144df1c);
        assert_true(f.irq.level);
        acknowledge(&f);
        assert_false(f.irq.level);
        /* Over three buffers, around the end of the ring. */
        give_receive(&f, 1, 0x600);
        for (unsigned i = 1; i < 4; i++) {
            give(&f, RX_RING, i, RX_BUFFERS + i * BUFFER, 100, OWN);
        }
        assert_true(arrives(&f, mac, 246, 0x77));
        assert_int_equal(status_of(&f, RX_RING, 1), STP);
        assert_int_equal(status_of(&f, RX_RING, 2), 0);
        assert_int_equal(status_of(&f, RX_RING, 3), ENP | (style ? PAM : 0));
        assert_int_equal(third_of(&f, RX_RING, 3), 250);
        assert_int_equal(receive_buffer(&f, 3)[45], 0x77);
        assert_int_equal(csr(&f, 72), 0xfffc);
        assert_true(arrives(&f, mac, 60, 0x11));
        assert_int_equal(status_of(&f, RX_RING, 0), STP | ENP | (style ? PAM : 0));
        tear_down(&f);
    }
}

static void frame_longer_than_the_ring(void **state)
{
    (void)state;
    Fixture f;
    started(&f, 2, 0, 0);
    give_receive(&f, 2, 100);
    give(&f, RX_RING, 2, RX_BUFFERS, 100, 0);
    assert_true(arrives(&f, mac, 500, 1));
    assert_int_equal(status_of(&f, RX_RING, 0), STP);
    assert_int_equal(status_of(&f, RX_RING, 1), ERROR | BUFF);
    tear_down(&f);
}

static void filters(void **state)
{
    (void)state;
    static const uint8_t other[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x57};
    static const uint8_t other_group[6] = {0x01, 0x00, 0x5e, 0x00, 0x00, 0x02};
    const struct {
        uint16_t mode;
        const uint8_t *to;
        size_t size;
        uint16_t matched; /* 0: refused */
    } cases[] = {
        {0x0000, mac, 60, PAM},
        {0x0000, other, 60, 0},
        {0x8000, other, 60, ENP},
        {0x2000, mac, 60, 0},
        {0x0000, all, 60, BAM},
        {0x4000, all, 60, 0},
        {0x0000, group, 60, LAFM},
        {0x8000, mac, 60, PAM},
        {0x0000, other_group, 60, 0},
        {0xc000, all, 60, ENP},
        {0x0000, mac, 59, 0},
        {0x0000, mac, NET_MAX_FRAME, PAM},
        {0x0000, mac, NET_MAX_FRAME + 1, 0},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Fixture f;
        started(&f, 2, 0, cases[i].mode);
        assert_true(arrives(&f, cases[i].to, cases[i].size, 0xee));
        uint16_t want = cases[i].matched ? (cases[i].matched & 0xff) | STP | ENP : OWN;
        assert_int_equal(status_of(&f, RX_RING, 0), want);
        assert_int_equal(csr(&f, 0) & (RINT | MISS), cases[i].matched ? RINT : 0);
        tear_down(&f);
    }
    Fixture f;
    set_up(&f, 2, 0);
    give_receive(&f, 4, 0x600);
    set_csr(&f, 124, 0x0008); /* RPA */
    initialize(&f, 0, 2, INIT | STRT);
    assert_true(arrives(&f, mac, 20, 0xee));
    assert_int_equal(third_of(&f, RX_RING, 0), 24);
    /* The hash takes a broadcast where the broadcast's own way in is shut. */
    set_csr(&f, 0, STOP);
    for (unsigned i = 8; i < 12; i++) {
        set_csr(&f, i, 0xffff);
    }
    set_csr(&f, 15, 0x4000);
    give_receive(&f, 4, 0x600);
    set_csr(&f, 0, STRT);
    assert_true(arrives(&f, all, 60, 0));
    assert_int_equal(status_of(&f, RX_RING, 0), STP | ENP | LAFM);
    tear_down(&f);
}

/* Pairs of the data sheet's table of addresses and filter bits. */
static void multicast_hash(void **state)
{
    (void)state;
    static const uint8_t first[] = {0x85, 0xa5, 0xe5, 0xc5, 0x45, 0x65, 0x25, 0x05};
    Fixture f;
    started(&f, 2, 0, 0);
    for (unsigned i = 0; i < sizeof(first); i++) {
        uint8_t to[6] = {first[i]};
        set_csr(&f, 0, STOP);
        give_receive(&f, 4, 0x600);
        set_csr(&f, 8, (uint16_t)(1u << i));
        set_csr(&f, 0, STRT);
        assert_true(arrives(&f, to, 60, 0));
        assert_int_equal(status_of(&f, RX_RING, 0), STP | ENP | LAFM);
        set_csr(&f, 0, STOP);
        give_receive(&f, 4, 0x600);
        set_csr(&f, 8, (uint16_t) ~(1u << i));
        set_csr(&f, 0, STRT);
        assert_true(arrives(&f, to, 60, 0));
        assert_int_equal(status_of(&f, RX_RING, 0), OWN);
    }
    tear_down(&f);
}

static void pads_are_stripped(void **state)
{
    (void)state;
    Fixture f;
    started(&f, 2, 0, 0);
    set_csr(&f, 4, 0x0515); /* ASTRP_RCV */
    assert_true(arrives(&f, mac, 60, 0x00));
    assert_int_equal(third_of(&f, RX_RING, 0), 14);
    assert_true(arrives(&f, mac, 60, 0x08)); /* 0808h: a type, no length */
    assert_int_equal(third_of(&f, RX_RING, 1), 64);
    tear_down(&f);
}

static void missed_frames(void **state)
{
    (void)state;
    Fixture f;
    started(&f, 2, 0, 0);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(arrives(&f, mac, 60, 0));
    }
    acknowledge(&f);
    assert_true(arrives(&f, mac, 60, 0));
    assert_int_equal(csr(&f, 112), 1);
    assert_int_equal(csr(&f, 0) & (MISS | RINT | ERR | INTR), MISS | ERR | INTR);
    acknowledge(&f);
    set_csr(&f, 4, 0x0015); /* the counter's overflow interrupts */
    for (unsigned i = 1; i < 0xffff; i++) {
        arrives(&f, mac, 60, 0);
    }
    acknowledge(&f);
    assert_false(f.irq.level);
    assert_int_equal(csr(&f, 112), 0xffff);
    arrives(&f, mac, 60, 0);
    acknowledge(&f);
    assert_int_equal(csr(&f, 112), 0);
    assert_int_equal(csr(&f, 4) & 0x200, 0x200);
    assert_true(f.irq.level);
    set_csr(&f, 4, 0x0215);
    assert_false(f.irq.level);
    tear_down(&f);
}

static void a_frame_waits_for_a_descriptor(void **state)
{
    (void)state;
    Fixture f;
    started(&f, 2, 10000000, 0);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(arrives(&f, mac, 60, 0));
    }
    assert_false(arrives(&f, mac, 60, 0));
    acknowledge(&f);
    assert_int_equal(f.wire->readies, 1); /* a driver that acknowledges may have made room */
    assert_false(arrives(&f, mac, 60, 0));
    give_receive(&f, 1, 0x600);
    clock_step(&f.b->clock, 2000000);
    assert_true(f.wire->readies > 1); /* the poll timer looks too */
    assert_true(arrives(&f, mac, 60, 0));
    assert_int_equal(csr(&f, 112), 0);
    assert_false(arrives(&f, mac, 60, 0));
    clock_step(&f.b->clock, 10000000);
    assert_true(arrives(&f, mac, 60, 0)); /* no room in time: missed */
    assert_int_equal(csr(&f, 112), 1);
    tear_down(&f);
}

static void a_ring_without_memory_interrupts(void **state)
{
    (void)state;
    Fixture f;
    started(&f, 2, 10000000, 0);
    set_csr(&f, 0, STOP);
    set_csr(&f, 25, 0x4000); /* nothing lives there */
    set_csr(&f, 0, STRT | IENA);
    assert_false(f.irq.level);
    assert_false(arrives(&f, mac, 60, 0));
    assert_true(f.irq.level);
    assert_int_equal(csr(&f, 0) & (MERR | ERR | INTR), MERR | ERR | INTR);
    tear_down(&f);
}

static void stopped_and_suspended(void **state)
{
    (void)state;
    Fixture f;
    started(&f, 2, 0, 0);
    set_csr(&f, 5, 1); /* SPND */
    assert_int_equal(csr(&f, 5) & 1, 1);
    assert_true(arrives(&f, mac, 60, 0));
    put_message(&f, 0, 100);
    give(&f, TX_RING, 0, TX_BUFFERS, 100, OWN | STP | ENP);
    set_csr(&f, 0, TDMD);
    assert_int_equal(f.wire->frames, 0);
    assert_int_equal(status_of(&f, RX_RING, 0), OWN);
    set_csr(&f, 15, 0x8000); /* what running chips refuse */
    assert_int_equal(csr(&f, 15), 0x8000);
    set_csr(&f, 5, 0);
    set_csr(&f, 0, TDMD);
    assert_int_equal(f.wire->frames, 1);
    assert_true(arrives(&f, all, 60, 0));
    assert_int_equal(status_of(&f, RX_RING, 0) & OWN, 0);
    set_csr(&f, 0, STOP);
    assert_true(arrives(&f, mac, 60, 0));
    assert_int_equal(status_of(&f, RX_RING, 1), OWN);
    give_receive(&f, 4, 0x600);
    set_csr(&f, 0, STRT); /* rings begin at their bases again */
    assert_true(arrives(&f, mac, 60, 0));
    assert_int_equal(status_of(&f, RX_RING, 0) & OWN, 0);
    tear_down(&f);
}

static void receiver_or_transmitter_off(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 2, 0);
    give_receive(&f, 4, 0x600);
    initialize(&f, 0x0001, 2, INIT | STRT);
    assert_int_equal(csr(&f, 0) & (TXON | RXON), TXON);
    assert_true(arrives(&f, mac, 60, 0));
    assert_int_equal(status_of(&f, RX_RING, 0), OWN);
    tear_down(&f);
    set_up(&f, 2, 0);
    initialize(&f, 0x0002, 2, INIT | STRT);
    assert_int_equal(csr(&f, 0) & (TXON | RXON), RXON);
    put_message(&f, 0, 100);
    give(&f, TX_RING, 0, TX_BUFFERS, 100, OWN | STP | ENP);
    set_csr(&f, 0, TDMD);
    assert_int_equal(f.wire->frames, 0);
    tear_down(&f);
}

static void loopback(void **state)
{
    (void)state;
    for (unsigned internal = 0; internal < 2; internal++) {
        Fixture f;
        started(&f, 2, 0, (uint16_t)(0x0004 | (internal ? 0x0040 : 0)));
        assert_true(arrives(&f, mac, 60, 0)); /* the wire is not listened to */
        assert_int_equal(status_of(&f, RX_RING, 0), OWN);
        uint8_t *message = put_message(&f, 0, 100);
        memcpy(message, mac, 6);
        give(&f, TX_RING, 0, TX_BUFFERS, 100, OWN | STP | ENP);
        set_csr(&f, 0, TDMD);
        assert_int_equal(f.wire->frames, !internal);
        assert_int_equal(status_of(&f, RX_RING, 0), STP | ENP | PAM);
        assert_int_equal(third_of(&f, RX_RING, 0), 104);
        assert_memory_equal(receive_buffer(&f, 0), message, 100);
        assert_int_equal(csr(&f, 0) & (RINT | TINT), RINT | TINT);
        message[0] = 2; /* another's */
        give(&f, TX_RING, 1, TX_BUFFERS, 100, OWN | STP | ENP);
        set_csr(&f, 0, TDMD);
        assert_int_equal(status_of(&f, RX_RING, 1), OWN);
        tear_down(&f);
        /* The guest's own FCS is checked on its way back. */
        started(&f, 2, 0, (uint16_t)(0x000c | (internal ? 0x0040 : 0)));
        message = put_message(&f, 0, 100);
        memcpy(message, mac, 6);
        give(&f, TX_RING, 0, TX_BUFFERS, 100, OWN | STP | ENP);
        set_csr(&f, 0, TDMD);
        assert_int_equal(status_of(&f, RX_RING, 0), ERROR | CRC | STP | ENP | PAM);
        tear_down(&f);
    }
}

/* --- hostile guests --- */

static void rings_in_its_own_registers(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 2, 0);
    initialize(&f, 0, 2, INIT);
    set_csr(&f, 0, STOP);
    set_csr(&f, 24, MMIO & 0xffff);
    set_csr(&f, 25, (uint32_t)MMIO >> 16);
    set_csr(&f, 30, MMIO & 0xffff);
    set_csr(&f, 31, (uint32_t)MMIO >> 16);
    set_csr(&f, 0, STRT | TDMD);
    arrives(&f, mac, 60, 0);
    give(&f, TX_RING, 0, MMIO + 0x10, 0x1000, OWN | STP | ENP);
    set_csr(&f, 0, STOP);
    set_csr(&f, 30, TX_RING);
    set_csr(&f, 31, 0);
    set_csr(&f, 0, STRT);
    set_csr(&f, 0, TDMD);
    assert_int_equal(csr(&f, 0) & MERR, MERR);
    tear_down(&f);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void scribble(Fixture *f, uint32_t *r)
{
    unsigned ring = next_random(r) & 1 ? RX_RING : TX_RING;
    unsigned at = ring + next_random(r) % 0x400;
    f->ram[at] = (uint8_t)next_random(r);
    give(f, ring, next_random(r) % 8, next_random(r) & 0xfffff, next_random(r) & 0xfff,
         (uint16_t)(next_random(r) | OWN));
}

static void hostile_traffic(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 24; seed++) {
        uint32_t r = seed;
        Fixture f, other;
        started(&f, seed % 4, seed & 1 ? 100000 : 0, (uint16_t)(seed & 4 ? 0x8044 : 0x8000));
        for (unsigned i = 0; i < 4000; i++) {
            switch (next_random(&r) % 8) {
            case 0:
                bus_read(f.b->ports, BASE + next_random(&r) % 32, 1u << next_random(&r) % 3);
                break;
            case 1:
                arrives(&f, mac, 14 + next_random(&r) % (NET_MAX_FRAME - 13),
                        (uint8_t)next_random(&r));
                break;
            case 2:
                clock_step(&f.b->clock, next_random(&r) % 2000000);
                break;
            case 3:
                set_csr(&f, next_random(&r) % 128, (uint16_t)next_random(&r));
                break;
            case 4:
                set_csr(&f, 0, (uint16_t)(next_random(&r) & ~STOP));
                break;
            case 5:
                bus_write(f.b->ports, BASE + next_random(&r) % 32, next_random(&r),
                          1u << next_random(&r) % 3);
                break;
            default:
                scribble(&f, &r);
            }
        }
        set_up(&other, f.style, seed & 1 ? 100000 : 0);
        chip_state_round_trip(f.b, other.b);
        tear_down(&other);
        tear_down(&f);
    }
}

static void same_from_here(Fixture *a, Fixture *b)
{
    assert_int_equal(a->irq.level, b->irq.level);
    assert_int_equal(csr(a, 0), csr(b, 0));
    assert_int_equal(csr(a, 72), csr(b, 72));
    assert_int_equal(csr(a, 74), csr(b, 74));
    assert_int_equal(csr(a, 112), csr(b, 112));
    assert_memory_equal(a->ram, b->ram, RAM_SIZE);
}

/* A burst breaks off: one frame waits at the back end, one has half of its buffers in the ring, the
 * transmit ring holds the first half of a frame. */
static void state_in_the_middle_of_a_burst(void **state)
{
    (void)state;
    Fixture f[2];
    started(&f[0], 2, 10000000, 0);
    set_up(&f[1], 2, 10000000);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(arrives(&f[0], mac, 100, (uint8_t)i));
    }
    put_message(&f[0], 0, 600);
    give(&f[0], TX_RING, 0, TX_BUFFERS, 300, OWN | STP | ENP);
    set_csr(&f[0], 0, TDMD | IENA);
    give(&f[0], RX_RING, 3, RX_BUFFERS + 3 * BUFFER, 300, 0);
    assert_false(arrives(&f[0], mac, 500, 9));
    chip_state_round_trip(f[0].b, f[1].b);
    memcpy(f[1].ram, f[0].ram, RAM_SIZE);
    f[1].wire->frames = f[0].wire->frames;
    assert_true(f[1].irq.level);
    assert_true(f[1].wire->readies > 0); /* its own back end may try again */
    for (unsigned i = 0; i < 2; i++) {
        acknowledge(&f[i]);
        give(&f[i], RX_RING, 3, RX_BUFFERS + 3 * BUFFER, 300, OWN);
        give(&f[i], RX_RING, 0, RX_BUFFERS, 0x600, OWN);
        give(&f[i], TX_RING, 1, TX_BUFFERS, 300, OWN | STP);
        give(&f[i], TX_RING, 2, TX_BUFFERS + 300, 300, OWN | ENP);
        assert_true(arrives(&f[i], mac, 500, 9));
        clock_step(&f[i].b->clock, 3000000);
        assert_int_equal(f[i].wire->frames, 2);
        assert_int_equal(f[i].wire->size, 600);
        assert_int_equal(third_of(&f[i], RX_RING, 0), 504);
    }
    same_from_here(&f[0], &f[1]);
    tear_down(&f[0]);
    tear_down(&f[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prom_and_identity),
        cmocka_unit_test(ports_of_both_widths),
        cmocka_unit_test(initialization_block),
        cmocka_unit_test(no_memory_is_a_memory_error),
        cmocka_unit_test(sends_in_every_style),
        cmocka_unit_test(padding_and_fcs),
        cmocka_unit_test(transmit_errors),
        cmocka_unit_test(transmit_interrupts),
        cmocka_unit_test(receives_in_every_style),
        cmocka_unit_test(frame_longer_than_the_ring),
        cmocka_unit_test(filters),
        cmocka_unit_test(multicast_hash),
        cmocka_unit_test(pads_are_stripped),
        cmocka_unit_test(missed_frames),
        cmocka_unit_test(a_frame_waits_for_a_descriptor),
        cmocka_unit_test(a_ring_without_memory_interrupts),
        cmocka_unit_test(stopped_and_suspended),
        cmocka_unit_test(receiver_or_transmitter_off),
        cmocka_unit_test(loopback),
        cmocka_unit_test(rings_in_its_own_registers),
        cmocka_unit_test(hostile_traffic),
        cmocka_unit_test(state_in_the_middle_of_a_burst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
