/* PCnet-PCI II: identity, ports of both widths, initialization, the transmitter in every software
 * style, interrupts, hostile rings, state. */
#include "tests/unit/pcnet_rig.h"

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
        cmocka_unit_test(rings_in_its_own_registers),
        cmocka_unit_test(hostile_traffic),
        cmocka_unit_test(state_in_the_middle_of_a_burst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
