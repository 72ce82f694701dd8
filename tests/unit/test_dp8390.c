/* DP8390 in an NE2000: PROM, remote DMA, ring rules, filters, loopback, tallies, overflow, hostile
 * traffic, state. */
#include <stdlib.h>
#include <string.h>

#include "chipset/cards/ne2000.h"
#include "tests/unit/dp8390_rig.h"

enum { BASE = 0x300, DATA = BASE + 0x10, RESET = BASE + 0x1f };

static void set_up(Fixture *f, int64_t patience)
{
    f->base = BASE;
    f->b = chip_board();
    f->wire = calloc(1, sizeof(*f->wire));
    Ne2000Config c = {.base = BASE, .port = wire_port(f->wire), .patience = patience};
    memcpy(c.mac, mac, 6);
    c.irq = chip_probe(f->b, &f->irq);
    ne2000_new(f->b, &c, "net0");
    board_reset(f->b, RESET_POWER);
}

static void memory_put(Fixture *f, uint16_t address, const uint8_t *data, uint16_t size)
{
    remote(f, address, size, 0x12);
    chip_out_singly(f->b, DATA, 2, data, size / 2);
}

static void memory_take(Fixture *f, uint16_t address, uint8_t *data, uint16_t size)
{
    remote(f, address, size, 0x0a);
    chip_in_singly(f->b, DATA, 2, data, size / 2);
}

static uint8_t curr(Fixture *f)
{
    out(f, 0x0, 0x62);
    uint8_t page = in(f, 0x7);
    out(f, 0x0, 0x22);
    return page;
}

static bool arrives(Fixture *f, const uint8_t *to, size_t size, uint8_t fill)
{
    return wire_arrives(f->wire, to, size, fill);
}

static void prom_and_reset(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 0);
    assert_int_equal(in(&f, 0), 0x21);
    assert_int_equal(in(&f, 7), 0x80);
    out(&f, 0xe, 0x48); /* byte transfers see every PROM byte twice */
    remote(&f, 0, 32, 0x0a);
    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(chip_in(f.b, DATA), mac[i / 2]);
    }
    out(&f, 0xe, 0x49); /* word transfers: a byte access takes a whole word */
    remote(&f, 0, 32, 0x0a);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(chip_in(f.b, DATA), mac[i]);
    }
    uint8_t tail[4];
    memory_take(&f, 28, tail, 4);
    assert_memory_equal(tail, "WWWW", 4);
    out(&f, 0x0, 0x22);
    assert_int_equal(in(&f, 7) & 0x80, 0);
    out(&f, 0x0, 0x60); /* neither STP nor STA: stays started */
    assert_int_equal(in(&f, 0), 0x62);
    chip_in(f.b, RESET);
    assert_int_equal(in(&f, 0), 0x21);
    assert_int_equal(in(&f, 7), 0x80);
    tear_down(&f);
}

static void remote_dma_counts_and_interrupts(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 0);
    start(&f, 0x04);
    uint8_t data[64], back[64];
    for (unsigned i = 0; i < 64; i++) {
        data[i] = (uint8_t)(i * 7);
    }
    memory_put(&f, 0x4000, data, 64);
    assert_int_equal(in(&f, 7) & 0x40, 0x40);
    assert_true(f.irq.level);
    out(&f, 7, 0x40);
    assert_false(f.irq.level);
    bus_write(f.b->ports, DATA, 0xdead, 2); /* the count is used up: goes nowhere */
    memory_take(&f, 0x4000, back, 64);
    assert_memory_equal(back, data, 64);
    assert_int_equal(in(&f, 8) | in(&f, 9) << 8, 0x4040);
    /* the ring's end leads to its start */
    memory_put(&f, (PSTOP << 8) - 4, data, 8);
    memory_take(&f, PSTART << 8, back, 4);
    assert_memory_equal(back, data + 4, 4);
    tear_down(&f);
}

/* What the command register does not ask for moves nothing, nor the address. */
static void remote_dma_keeps_its_direction(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 0);
    start(&f, 0x04);
    uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8}, back[8];
    memory_put(&f, 0x4000, data, 8);
    assert_int_equal(bus_read(f.b->ports, DATA, 2), 0xffff); /* the count is used up */
    assert_int_equal(in(&f, 8) | in(&f, 9) << 8, 0x4008);
    remote(&f, 0x4000, 8, 0x0a);
    bus_write(f.b->ports, DATA, 0xdead, 2); /* it reads */
    assert_int_equal(bus_read(f.b->ports, DATA, 2), 0x0201);
    out(&f, 0, 0x22); /* broken off */
    assert_int_equal(bus_read(f.b->ports, DATA, 2), 0xffff);
    out(&f, 7, 0x40);
    assert_int_equal(in(&f, 8) | in(&f, 9) << 8, 0x4002);
    remote(&f, 0x4004, 4, 0x12);
    assert_int_equal(bus_read(f.b->ports, DATA, 2), 0xffff); /* it writes */
    bus_write(f.b->ports, DATA, 0x0a09, 2);
    assert_int_equal(in(&f, 7) & 0x40, 0);
    bus_write(f.b->ports, DATA, 0x0c0b, 2);
    assert_int_equal(in(&f, 7) & 0x40, 0x40);
    memory_take(&f, 0x4000, back, 8);
    assert_memory_equal(back, "\x01\x02\x03\x04\x09\x0a\x0b\x0c", 8);
    tear_down(&f);
}

static void sends_what_memory_holds(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 0);
    start(&f, 0x04);
    uint8_t frame[100];
    for (unsigned i = 0; i < 100; i++) {
        frame[i] = (uint8_t)(i ^ 0x55);
    }
    memory_put(&f, 0x4000, frame, 100);
    out(&f, 7, 0xff);
    out(&f, 5, 100);
    out(&f, 6, 0);
    out(&f, 0, 0x26);
    assert_int_equal(f.wire->frames, 1);
    assert_int_equal(f.wire->size, 100);
    assert_memory_equal(f.wire->sent, frame, 100);
    assert_int_equal(in(&f, 7), 0x02);
    assert_int_equal(in(&f, 4) & 1, 1);
    assert_int_equal(in(&f, 0), 0x22);
    out(&f, 6, 0xff); /* far too long: no frame, no harm */
    out(&f, 0, 0x26);
    assert_int_equal(f.wire->frames, 1);
    tear_down(&f);
}

static void ring_fills_wraps_and_overflows(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 0);
    start(&f, 0x04);
    uint8_t page = PSTART + 1;
    unsigned stored = 0;
    while (page + 6 < PSTOP) { /* six pages each */
        assert_true(arrives(&f, mac, 1500, (uint8_t)stored));
        uint8_t header[20];
        memory_take(&f, (uint16_t)(page << 8), header, 20);
        page += 6;
        assert_int_equal(header[0], 0x01);
        assert_int_equal(header[1], page);
        assert_int_equal(header[2] | header[3] << 8, 1504);
        assert_memory_equal(header + 4, mac, 6);
        assert_int_equal(header[10], stored++);
        assert_int_equal(curr(&f), page);
    }
    out(&f, 7, 0xff);
    assert_true(arrives(&f, mac, 1500, 0)); /* would end at BNRY */
    assert_int_equal(in(&f, 7) & 0x11, 0x10);
    assert_int_equal(in(&f, 0xc), 0x10);
    assert_int_equal(in(&f, 0xf), 1);
    assert_int_equal(in(&f, 0xf), 0); /* reading clears */
    assert_int_equal(curr(&f), page);
    out(&f, 3, PSTART + 12);
    assert_true(arrives(&f, mac, 1500, 0xee));
    assert_int_equal(curr(&f), PSTART + page + 6 - PSTOP);
    uint8_t header[4];
    memory_take(&f, (uint16_t)(page << 8), header, 4);
    assert_int_equal(header[1], PSTART + page + 6 - PSTOP);
    tear_down(&f);
}

static void a_frame_waits_for_room(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 1000000);
    start(&f, 0x04);
    unsigned stored = 0;
    while (arrives(&f, mac, 1500, 1)) {
        assert_true(++stored < 20);
    }
    assert_int_equal(in(&f, 7) & 0x10, 0);
    out(&f, 3, PSTART + 6);
    assert_int_equal(f.wire->readies, 1);
    assert_true(arrives(&f, mac, 1500, 1));
    assert_false(arrives(&f, mac, 1500, 1));
    clock_step(&f.b->clock, 1000000); /* no room in time: an overflow after all */
    assert_int_equal(f.wire->readies, 2);
    assert_true(arrives(&f, mac, 1500, 1));
    assert_int_equal(in(&f, 7) & 0x10, 0x10);
    tear_down(&f);
}

/* BNRY before PSTART, as Linux writes it, still guards the ring. */
static void boundary_before_the_ring(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 0);
    start(&f, 0x04);
    out(&f, 3, PSTART - 1);
    unsigned stored = 0;
    for (; stored < 50 && !(in(&f, 7) & 0x10); stored++) {
        arrives(&f, mac, 1500, 1);
    }
    assert_int_equal(stored, 10); /* nine fit into 58 pages */
    tear_down(&f);
}

static void frames_left_raise_it_again(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 0);
    start(&f, 0x04);
    arrives(&f, mac, 100, 1);
    arrives(&f, mac, 100, 1);
    out(&f, 3, PSTART + 1); /* takes one, acknowledges both */
    out(&f, 7, 0x01);
    assert_false(f.irq.level);
    clock_step(&f.b->clock, 1000000);
    assert_true(f.irq.level);
    out(&f, 7, 0x01); /* no progress: not for ever */
    clock_step(&f.b->clock, 1000000);
    assert_false(f.irq.level);
    out(&f, 3, PSTART + 2);
    out(&f, 7, 0x01);
    clock_step(&f.b->clock, 1000000);
    assert_false(f.irq.level); /* the ring is empty */
    tear_down(&f);
}

static void filters(void **state)
{
    (void)state;
    Fixture f;
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t other[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x57};
    static const uint8_t group[6] = {0x01, 0x00, 0x5e, 0x00, 0x00, 0x01};
    const struct {
        uint8_t rcr;
        const uint8_t *to;
        size_t size;
        bool hash, taken;
    } cases[] = {
        {0x00, mac, 60, false, true},    {0x00, other, 60, false, false},
        {0x10, other, 60, false, true},  {0x00, all, 60, false, false},
        {0x04, all, 60, false, true},    {0x08, group, 60, false, false},
        {0x08, group, 60, true, true},   {0x00, group, 60, true, false},
        {0x10, group, 60, false, false}, {0x00, mac, 59, false, false},
        {0x02, mac, 59, false, true},    {0x20, mac, 60, false, false},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set_up(&f, 0);
        start(&f, cases[i].rcr);
        if (cases[i].hash) { /* 01-00-5E-00-00-01 hashes to bit 31 */
            out(&f, 0, 0x62);
            out(&f, 8 + 31 / 8, 1 << 31 % 8);
            out(&f, 0, 0x22);
        }
        arrives(&f, cases[i].to, cases[i].size, 0);
        assert_int_equal(curr(&f), PSTART + 1 + cases[i].taken);
        assert_int_equal(in(&f, 0xf), cases[i].rcr == 0x20); /* monitor mode counts */
        tear_down(&f);
    }
}

static void nothing_while_stopped_or_in_loopback(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 0);
    start(&f, 0x04);
    out(&f, 0, 0x21);
    arrives(&f, mac, 60, 0);
    out(&f, 0, 0x22);
    assert_int_equal(curr(&f), PSTART + 1);
    out(&f, 0xd, 0x02);
    arrives(&f, mac, 60, 0);
    assert_int_equal(curr(&f), PSTART + 1);
    tear_down(&f);
}

/* The data sheet's table of loopback results. */
static void loopback(void **state)
{
    (void)state;
    static const struct {
        uint8_t tcr, tsr;
        unsigned sent;
    } modes[] = {{0x02, 0x53, 0}, {0x04, 0x43, 0}, {0x06, 0x03, 1}};
    for (unsigned i = 0; i < 3; i++) {
        Fixture f;
        set_up(&f, 0);
        start(&f, 0x1f);
        out(&f, 0xd, modes[i].tcr);
        uint8_t frame[60];
        for (unsigned n = 0; n < 60; n++) {
            frame[n] = (uint8_t)(n < 6 ? mac[n] : n);
        }
        memory_put(&f, 0x4000, frame, 60);
        out(&f, 7, 0xff);
        out(&f, 5, 60);
        out(&f, 6, 0);
        out(&f, 0, 0x26);
        assert_int_equal(in(&f, 4), modes[i].tsr);
        assert_int_equal(in(&f, 0xc), 0x02);
        assert_int_equal(in(&f, 7), 0x02);
        assert_int_equal(f.wire->frames, modes[i].sent);
        assert_int_equal(in(&f, 6), 64); /* length, twice its upper half, the last byte */
        assert_int_equal(in(&f, 6), 0);
        assert_int_equal(in(&f, 6), 0);
        assert_int_equal(in(&f, 6), 59);
        tear_down(&f);
    }
}

static void tallies_stop_and_interrupt(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 0);
    start(&f, 0x20);
    for (unsigned i = 0; i < 127; i++) {
        arrives(&f, mac, 60, 0);
    }
    assert_int_equal(in(&f, 7) & 0x20, 0);
    arrives(&f, mac, 60, 0);
    assert_int_equal(in(&f, 7) & 0x20, 0x20);
    for (unsigned i = 0; i < 100; i++) {
        arrives(&f, mac, 60, 0);
    }
    assert_int_equal(in(&f, 0xf), 192);
    tear_down(&f);
}

static void send_packet_command(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f, 0);
    start(&f, 0x04);
    out(&f, 3, PSTART + 1);
    out(&f, 0, 0x62);
    out(&f, 7, PSTART + 1);
    out(&f, 0, 0x22);
    arrives(&f, mac, 100, 0xab);
    out(&f, 7, 0xff);
    out(&f, 0, 0x1a);
    uint8_t data[104];
    for (unsigned i = 0; i < 104; i += 2) {
        uint16_t word = (uint16_t)bus_read(f.b->ports, DATA, 2);
        memcpy(data + i, &word, 2);
    }
    assert_int_equal(data[1], PSTART + 2);
    assert_memory_equal(data + 4, mac, 6);
    assert_int_equal(data[50], 0xab);
    assert_int_equal(in(&f, 7) & 0x40, 0x40);
    assert_int_equal(in(&f, 3), PSTART + 2);
    tear_down(&f);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void hostile_traffic(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        uint32_t r = seed;
        Fixture f;
        set_up(&f, seed & 1 ? 100000 : 0);
        for (unsigned i = 0; i < 5000; i++) {
            uint16_t port = (uint16_t)(BASE + next_random(&r) % 32);
            unsigned bytes = 1u << next_random(&r) % 3;
            switch (next_random(&r) % 8) {
            case 0:
                bus_read(f.b->ports, port, bytes);
                break;
            case 1:
                arrives(&f, mac, 14 + next_random(&r) % (NET_MAX_FRAME - 13),
                        (uint8_t)next_random(&r));
                break;
            case 2:
                clock_step(&f.b->clock, next_random(&r) % 50000);
                break;
            default:
                bus_write(f.b->ports, port, next_random(&r), bytes);
            }
        }
        Fixture other;
        set_up(&other, seed & 1 ? 100000 : 0);
        chip_state_round_trip(f.b, other.b);
        tear_down(&other);
        tear_down(&f);
    }
}

static void state_in_the_middle_of_a_burst(void **state)
{
    (void)state;
    Fixture f, other;
    set_up(&f, 1000000);
    set_up(&other, 1000000);
    start(&f, 0x04);
    while (arrives(&f, mac, 1000, 0x77)) {
    }
    remote(&f, (PSTART + 1) << 8, 1004, 0x0a);
    for (unsigned i = 0; i < 100; i++) {
        bus_read(f.b->ports, DATA, 2);
    }
    chip_state_round_trip(f.b, other.b);
    assert_true(other.irq.level);
    assert_true(other.wire->readies > 0); /* its own back end may try again */
    for (unsigned i = 100; i < 502; i++) {
        assert_int_equal(bus_read(f.b->ports, DATA, 2), bus_read(other.b->ports, DATA, 2));
    }
    assert_int_equal(in(&other, 7), in(&f, 7));
    clock_step(&f.b->clock, 2000000);
    clock_step(&other.b->clock, 2000000);
    assert_true(arrives(&f, mac, 1000, 1) && arrives(&other, mac, 1000, 1));
    assert_int_equal(in(&f, 7) & 0x10, 0x10);
    assert_int_equal(in(&other, 7) & 0x10, 0x10);
    tear_down(&f);
    tear_down(&other);
}

/* Two cards see the same, one with each access of the data port by itself, one in runs. */
typedef struct Twins {
    Fixture one, runs;
    uint32_t r, in_runs, accesses;
} Twins;

static void twins_out(Twins *t, unsigned reg, uint8_t value)
{
    out(&t->one, reg, value);
    out(&t->runs, reg, value);
}

static void twins_string(Twins *t, unsigned offset, unsigned bytes, uint32_t count, bool write)
{
    static uint8_t a[4 * 1024], b[4 * 1024];
    for (unsigned i = 0; i < sizeof(a); i++) {
        a[i] = b[i] = (uint8_t)next_random(&t->r);
    }
    uint16_t port = (uint16_t)(BASE + offset);
    if (write) {
        chip_out_singly(t->one.b, port, bytes, a, count);
        t->in_runs += chip_out_string(t->runs.b, port, bytes, b, count);
    } else {
        chip_in_singly(t->one.b, port, bytes, a, count);
        t->in_runs += chip_in_string(t->runs.b, port, bytes, b, count);
    }
    t->accesses += count;
    assert_memory_equal(a, b, count * bytes);
    assert_int_equal(t->one.irq.rises, t->runs.irq.rises);
    assert_int_equal(t->one.irq.falls, t->runs.irq.falls);
}

/* A remote DMA of any size from anywhere, and fewer or more accesses than it has room for. */
static void twins_remote(Twins *t)
{
    bool write = next_random(&t->r) & 1;
    unsigned bytes = 1u << next_random(&t->r) % 2;
    uint32_t size = next_random(&t->r) % 1600, at = next_random(&t->r) % 0x9000;
    remote(&t->one, (uint16_t)at, (uint16_t)size, write ? 0x12 : 0x0a);
    remote(&t->runs, (uint16_t)at, (uint16_t)size, write ? 0x12 : 0x0a);
    twins_string(t, 0x10 + next_random(&t->r) % 4 * 2, bytes, next_random(&t->r) % 900, write);
}

static void runs_are_single_accesses(void **state)
{
    (void)state;
    Twins t = {.r = 99};
    set_up(&t.one, 0);
    set_up(&t.runs, 0);
    start(&t.one, 0x04);
    start(&t.runs, 0x04);
    for (unsigned i = 0; i < 3000; i++) {
        switch (next_random(&t.r) % 8) {
        case 0:
            twins_out(&t, 0xe, next_random(&t.r) & 1 ? 0x49 : 0x48); /* words or bytes */
            break;
        case 1:
            twins_out(&t, 0x2, (uint8_t)(PSTART + next_random(&t.r) % (PSTOP - PSTART)));
            break;
        case 2:
            twins_out(&t, 0x0, next_random(&t.r) & 1 ? 0x1a : 0x22); /* Send Packet, none */
            twins_string(&t, 0x10, 2, next_random(&t.r) % 900, false);
            break;
        case 3:
            assert_int_equal(arrives(&t.one, mac, 300, (uint8_t)i),
                             arrives(&t.runs, mac, 300, (uint8_t)i));
            break;
        case 4:
            twins_out(&t, 0x7, 0xff);
            break;
        default:
            twins_remote(&t);
        }
        chip_state_same(t.one.b, t.runs.b);
    }
    assert_true(t.in_runs > t.accesses / 20);
    tear_down(&t.one);
    tear_down(&t.runs);
}

/* The last transfer, which interrupts, and the one that goes round the ring are made singly. */
static void runs_stop_before_anything_happens(void **state)
{
    (void)state;
    Fixture f;
    uint8_t data[1024];
    set_up(&f, 0);
    start(&f, 0x04);
    assert_int_equal(bus_read_run(f.b->ports, DATA, 2, data, 9), 0); /* no remote DMA */
    remote(&f, 0x4000, 100, 0x0a);
    assert_int_equal(bus_read_run(f.b->ports, DATA, 1, data, 9), 0); /* not the card's width */
    assert_int_equal(bus_read_run(f.b->ports, DATA, 4, data, 9), 0); /* nor the slot's */
    assert_int_equal(bus_read_run(f.b->ports, RESET, 2, data, 9), 0);
    assert_int_equal(bus_read_run(f.b->ports, BASE, 2, data, 9), 0);
    assert_int_equal(bus_read_run(f.b->ports, DATA, 2, data, 5), 5);
    assert_int_equal(bus_read_run(f.b->ports, DATA, 2, data, 512), 44);
    assert_int_equal(bus_read_run(f.b->ports, DATA, 2, data, 512), 0);
    assert_false(f.irq.level);
    bus_read(f.b->ports, DATA, 2);
    assert_true(f.irq.level); /* as IMR was set by start */
    remote(&f, (PSTOP << 8) - 10, 100, 0x0a);
    assert_int_equal(bus_read_run(f.b->ports, DATA, 2, data, 512), 4);
    assert_int_equal(in(&f, 0x8) | in(&f, 0x9) << 8, (PSTOP << 8) - 2);
    bus_read(f.b->ports, DATA, 2);
    assert_int_equal(in(&f, 0x8) | in(&f, 0x9) << 8, PSTART << 8);
    remote(&f, 0, 32, 0x0a); /* the PROM */
    assert_int_equal(bus_read_run(f.b->ports, DATA, 2, data, 16), 0);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prom_and_reset),
        cmocka_unit_test(remote_dma_counts_and_interrupts),
        cmocka_unit_test(remote_dma_keeps_its_direction),
        cmocka_unit_test(sends_what_memory_holds),
        cmocka_unit_test(ring_fills_wraps_and_overflows),
        cmocka_unit_test(a_frame_waits_for_room),
        cmocka_unit_test(boundary_before_the_ring),
        cmocka_unit_test(frames_left_raise_it_again),
        cmocka_unit_test(filters),
        cmocka_unit_test(nothing_while_stopped_or_in_loopback),
        cmocka_unit_test(loopback),
        cmocka_unit_test(tallies_stop_and_interrupt),
        cmocka_unit_test(send_packet_command),
        cmocka_unit_test(hostile_traffic),
        cmocka_unit_test(state_in_the_middle_of_a_burst),
        cmocka_unit_test(runs_are_single_accesses),
        cmocka_unit_test(runs_stop_before_anything_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
