/* PCnet-PCI II, its receiver: rings of every software style, filters, missed frames, stop and
 * suspend, loopback. */
#include "tests/unit/pcnet_rig.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
