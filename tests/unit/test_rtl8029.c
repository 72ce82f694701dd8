/* RTL8029AS: identity, page 3, the data port of 32 bits, ring and interrupt through PCI, state in
 * the middle of a transfer. The DP8390 in it is tested by test_dp8390.c. */
#include <stdlib.h>
#include <string.h>

#include "chipset/cards/rtl8029.h"
#include "tests/unit/dp8390_rig.h"

enum { CARD = CHIP_PCI(5, 0), BASE = 0xc000, DATA = BASE + 0x10, RESET = BASE + 0x1f };

static void set_up(Fixture *f)
{
    f->base = BASE;
    f->b = chip_board();
    f->wire = calloc(1, sizeof(*f->wire));
    PciBus *bus = pci_new(f->b, "pci");
    Rtl8029Config c = {.bus = bus, .device = 5, .port = wire_port(f->wire)};
    memcpy(c.mac, mac, 6);
    rtl8029_new(f->b, &c, "net0");
    pci_connect(bus, 0, chip_probe(f->b, &f->irq)); /* where INTA# of device 5 leads */
    board_reset(f->b, RESET_POWER);
    chip_set_config(f->b, CARD, 0x10, BASE, 4);
    chip_set_config(f->b, CARD, 0x04, 1, 4);
}

static void identity_and_page_3(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f);
    assert_int_equal(chip_config(f.b, CARD, 0, 4), 0x802910ec);
    assert_int_equal(chip_config(f.b, CARD, 8, 4) >> 8, 0x020000);
    assert_int_equal(chip_config(f.b, CARD, 0x3c, 4) >> 8 & 0xff, 1); /* INTA# */
    assert_int_equal(in(&f, 0xa), 0x50);                    /* "8029ID0" */
    assert_int_equal(in(&f, 0xb), 0x70);
    out(&f, 0, 0xe1);
    out(&f, 5, 0xff); /* not without CONFIG_WRITE */
    assert_int_equal(in(&f, 5), 0);
    out(&f, 1, 0xc0);
    out(&f, 5, 0xff);
    out(&f, 6, 0xff);
    assert_int_equal(in(&f, 5), 0xe0);
    assert_int_equal(in(&f, 6), 0x46);
    assert_int_equal(in(&f, 1), 0xc0);
    assert_int_equal(in(&f, 0xe), 0x29); /* "8029ASID0" */
    assert_int_equal(in(&f, 0xf), 0x80);
    assert_int_equal(in(&f, 0x8), 0xff);
    chip_in(f.b, RESET);
    assert_int_equal(in(&f, 0), 0x21);
    tear_down(&f);
}

static void data_port_of_32_bits(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f);
    start(&f, 0x04);
    remote(&f, 0, 32, 0x0a); /* a PROM byte shows in both halves of a word */
    assert_int_equal(bus_read(f.b->ports, DATA, 4), 0x54545252);
    remote(&f, 0x4000, 64, 0x12);
    for (uint32_t i = 0; i < 16; i++) {
        bus_write(f.b->ports, DATA, 0x03020100 + i * 0x04040404, 4);
    }
    assert_int_equal(in(&f, 7) & 0x40, 0x40);
    out(&f, 5, 60);
    out(&f, 6, 0);
    out(&f, 0, 0x26);
    assert_int_equal(f.wire->frames, 1);
    assert_int_equal(f.wire->size, 60);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(f.wire->sent[i], i);
    }
    assert_true(f.irq.level);
    out(&f, 7, 0xff);
    assert_false(f.irq.level);
    tear_down(&f);
}

static void closed_while_decoding_is_off(void **state)
{
    (void)state;
    Fixture f;
    set_up(&f);
    start(&f, 0x04);
    chip_set_config(f.b, CARD, 0x04, 0, 4);
    assert_int_equal(in(&f, 0), 0xff);
    assert_true(wire_arrives(f.wire, mac, 60, 1)); /* the wire has no part in that */
    chip_set_config(f.b, CARD, 0x04, 1, 4);
    assert_int_equal(in(&f, 7) & 1, 1);
    tear_down(&f);
}

static void state_in_the_middle_of_a_transfer(void **state)
{
    (void)state;
    Fixture f, other;
    set_up(&f);
    set_up(&other);
    start(&f, 0x04);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(wire_arrives(f.wire, mac, 600, (uint8_t)i));
    }
    out(&f, 0, 0xe2);
    out(&f, 1, 0xc0);
    out(&f, 6, 0x40);
    out(&f, 0, 0x22);
    remote(&f, (PSTART + 1) << 8, 604, 0x0a);
    for (unsigned i = 0; i < 40; i++) {
        bus_read(f.b->ports, DATA, 4);
    }
    chip_state_round_trip(f.b, other.b);
    assert_true(other.irq.level);
    for (unsigned i = 40; i < 151; i++) {
        assert_int_equal(bus_read(f.b->ports, DATA, 4), bus_read(other.b->ports, DATA, 4));
    }
    assert_int_equal(in(&other, 7), in(&f, 7));
    out(&other, 0, 0xe2);
    assert_int_equal(in(&other, 6), 0x40);
    tear_down(&f);
    tear_down(&other);
}

/* A frame through the data port in runs of each width, beside single accesses. */
static void runs_are_single_accesses(void **state)
{
    (void)state;
    Fixture one, runs;
    uint8_t a[2048], b[2048];
    set_up(&one);
    set_up(&runs);
    start(&one, 0x04);
    start(&runs, 0x04);
    for (unsigned bytes = 1; bytes <= 4; bytes *= 2) {
        uint32_t count = 1500 / bytes, in_runs = 0;
        for (unsigned write = 0; write < 2; write++) {
            memset(a, 0x30 + (int)bytes, sizeof(a));
            memset(b, 0x30 + (int)bytes, sizeof(b));
            remote(&one, (PSTOP << 8) - 700, 1500, write ? 0x12 : 0x0a);
            remote(&runs, (PSTOP << 8) - 700, 1500, write ? 0x12 : 0x0a);
            if (write) {
                chip_out_singly(one.b, DATA, bytes, a, count);
                in_runs = chip_out_string(runs.b, DATA, bytes, b, count);
            } else {
                chip_in_singly(one.b, DATA, bytes, a, count);
                in_runs = chip_in_string(runs.b, DATA, bytes, b, count);
            }
            /* all but the one that goes round the ring and the last */
            assert_int_equal(in_runs, bytes == 1 ? 0 : count - 2);
            assert_memory_equal(a, b, sizeof(a));
            assert_int_equal(in(&runs, 7) & 0x40, 0x40);
            assert_int_equal(one.irq.rises, runs.irq.rises);
            chip_state_same(one.b, runs.b);
            out(&one, 7, 0xff);
            out(&runs, 7, 0xff);
        }
    }
    tear_down(&one);
    tear_down(&runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_and_page_3),
        cmocka_unit_test(data_port_of_32_bits),
        cmocka_unit_test(closed_while_decoding_is_off),
        cmocka_unit_test(state_in_the_middle_of_a_transfer),
        cmocka_unit_test(runs_are_single_accesses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
