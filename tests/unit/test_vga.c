/* VGA: registers, memory window with every write and read mode, beam timing, text, state. */
#include "tests/unit/vga_rig.h"

#include <stdlib.h>
#include <string.h>

/* --- Beam ------------------------------------------------------------------------------------ */

static void to_retrace(Rig *r)
{
    while (!(chip_in(r->b, 0x3da) & 8)) {
        clock_step(&r->b->clock, 10);
    }
}

static void refresh_rates_are_exact(void **state)
{
    (void)state;
    static const struct {
        const VgaMode *mode;
        uint64_t hz, dots;
    } cases[] = {{&mode_03, 28322000, 900 * 449},
                 {&mode_13, 25175000, 800 * 449},
                 {&mode_12, 25175000, 800 * 525}};
    for (unsigned i = 0; i < 3; i++) {
        Rig r = rig_new();
        rig_mode(&r, cases[i].mode);
        rig_to_line(&r, 0);
        to_retrace(&r);
        int64_t start = clock_now(&r.b->clock);
        for (unsigned frame = 0; frame < 10; frame++) {
            clock_step(&r.b->clock, 1000000);
            to_retrace(&r);
        }
        int64_t gone = clock_now(&r.b->clock) - start;
        int64_t expected = (int64_t)(10 * cases[i].dots * 1000000000 / cases[i].hz);
        assert_true(llabs(gone - expected) <= 20);
        rig_free(&r);
    }
}

/* Mode 12h: 480 of 525 lines and 640 of 800 dots are shown; the retrace is lines 490 and 491. */
static void status_shows_display_and_retrace(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_12);
    rig_to_line(&r, 0);
    unsigned shown = 0, retrace = 0, both = 0, samples = 525 * 80;
    int64_t start = clock_now(&r.b->clock);
    for (unsigned i = 0; i < samples; i++) { /* ten dots apart */
        clock_step(&r.b->clock,
                   start + (int64_t)i * 10000000000 / 25175000 - clock_now(&r.b->clock));
        uint8_t status = chip_in(r.b, 0x3da);
        shown += !(status & 1);
        retrace += (status & 8) != 0;
        both += (status & 9) == 8;
    }
    assert_in_range(shown, 480 * 64 - 500, 480 * 64 + 500);
    assert_in_range(retrace, 2 * 80 - 2, 2 * 80 + 2);
    assert_int_equal(both, 0);
    rig_free(&r);
}

static void retrace_interrupt_only_when_connected_and_enabled(void **state)
{
    (void)state;
    Board *b = chip_board();
    Screen *screen = screen_new();
    Probe probe;
    Err err = {""};
    Rig r = {.b = b, .screen = screen};
    r.vga = vga_new(b, &(VgaConfig){.screen = screen, .irq = chip_probe(b, &probe)}, "vga", &err);
    board_reset(b, RESET_POWER);
    rig_mode(&r, &mode_12); /* register 11h is 8Ch: enabled, held clear */
    rig_frame(&r);
    assert_int_equal(probe.rises, 0);
    assert_false(chip_in(b, 0x3c2) & 0x80);
    rig_cr(&r, 0x11, 0x9c);
    clock_step(&b->clock, 17 * 1000000);
    assert_int_equal(probe.rises, 1);
    assert_true(chip_in(b, 0x3c2) & 0x80);
    rig_cr(&r, 0x11, 0x8c);
    assert_false(probe.level);
    assert_false(chip_in(b, 0x3c2) & 0x80);
    rig_cr(&r, 0x11, 0xbc); /* disabled: pending shows, the line stays low */
    clock_step(&b->clock, 17 * 1000000);
    assert_int_equal(probe.rises, 1);
    assert_true(chip_in(b, 0x3c2) & 0x80);
    rig_free(&r);
}

static void impossible_timings_do_no_harm(void **state)
{
    (void)state;
    Rig r = rig_new();
    for (uint8_t i = 0; i < 25; i++) {
        rig_cr(&r, i, 0);
    }
    rig_cr(&r, 0x17, 0x80);
    clock_step(&r.b->clock, 100000000);
    rig_mode(&r, &mode_03);
    rig_cr(&r, 0x11, 0);
    rig_cr(&r, 0x06, 0);
    rig_cr(&r, 0x07, 0);
    clock_step(&r.b->clock, 100000000);
    rig_mode(&r, &mode_13);
    rig_frame(&r);
    assert_int_equal(r.picture.width, 320);
    rig_free(&r);
}

/* --- Registers ------------------------------------------------------------------------------- */

static void ports_follow_the_colour_bit(void **state)
{
    (void)state;
    Rig r = rig_new();
    chip_out(r.b, 0x3c2, 0x67);
    rig_cr(&r, 0x0f, 0x5a);
    assert_int_equal(chip_in(r.b, 0x3d5), 0x5a);
    assert_int_equal(chip_in(r.b, 0x3b5), 0xff);
    assert_int_equal(chip_in(r.b, 0x3ba), 0xff);
    chip_out(r.b, 0x3c2, 0x66);
    assert_int_equal(chip_in(r.b, 0x3cc), 0x66);
    assert_int_equal(chip_in(r.b, 0x3d5), 0xff);
    assert_int_equal(chip_in(r.b, 0x3da), 0xff);
    assert_int_equal(chip_in(r.b, 0x3b5), 0x5a);
    rig_free(&r);
}

static void crtc_protection_spares_one_bit(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_13);
    rig_cr(&r, 0x11, 0x8e);
    rig_cr(&r, 0x00, 0x11);
    assert_int_equal(chip_in(r.b, 0x3d5), 0x5f);
    rig_cr(&r, 0x07, 0x00); /* was 1Fh: only bit 4 of line compare follows */
    assert_int_equal(chip_in(r.b, 0x3d5), 0x0f);
    rig_cr(&r, 0x09, 0x40);
    assert_int_equal(chip_in(r.b, 0x3d5), 0x40);
    rig_free(&r);
}

static void attribute_flip_flop_is_reset_by_status(void **state)
{
    (void)state;
    Rig r = rig_new();
    chip_out(r.b, 0x3c2, 0x67);
    chip_in(r.b, 0x3da);
    chip_out(r.b, 0x3c0, 0x13);
    chip_out(r.b, 0x3d4, 0x24);
    assert_int_equal(chip_in(r.b, 0x3d5), 0x80);
    chip_in(r.b, 0x3da);
    assert_int_equal(chip_in(r.b, 0x3d5), 0);
    chip_out(r.b, 0x3c0, 0x13);
    chip_out(r.b, 0x3c0, 0x05);
    assert_int_equal(chip_in(r.b, 0x3c0), 0x13);
    assert_int_equal(chip_in(r.b, 0x3c1), 0x05);
    rig_free(&r);
}

static void unused_register_bits_read_as_zero(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_sr(&r, 2, 0xff);
    assert_int_equal(chip_in(r.b, 0x3c5), 0x0f);
    rig_gr(&r, 5, 0xff);
    assert_int_equal(chip_in(r.b, 0x3cf), 0x7b);
    rig_sr(&r, 0x06, 0x12); /* Cirrus's key: not here */
    assert_int_equal(chip_in(r.b, 0x3c5), 0x00);
    rig_free(&r);
}

static void palette_index_counts_and_third_byte_counts(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_13);
    rig_dac(&r, 0, 1, 2, 3);
    rig_dac(&r, 1, 4, 5, 6);
    chip_out(r.b, 0x3c8, 0);
    chip_out(r.b, 0x3c9, 0x3f);
    chip_out(r.b, 0x3c9, 0xff); /* entry 0 is not complete: unchanged */
    chip_out(r.b, 0x3c7, 0);
    assert_int_equal(chip_in(r.b, 0x3c7), 3);
    for (uint8_t i = 1; i <= 6; i++) {
        assert_int_equal(chip_in(r.b, 0x3c9), i);
    }
    chip_out(r.b, 0x3c8, 0);
    assert_int_equal(chip_in(r.b, 0x3c7), 0);
    rig_free(&r);
}

static void palette_mask_is_applied(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_13);
    rig_poke(&r, 0xa0000, 0x35);
    chip_out(r.b, 0x3c6, 0x0f);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), rig_color(5));
    rig_free(&r);
}

/* --- Memory ---------------------------------------------------------------------------------- */

static void planar(Rig *r)
{
    rig_mode(r, &mode_12);
}

static uint8_t plane(Rig *r, unsigned index, uint32_t address)
{
    rig_gr(r, 4, (uint8_t)index);
    return rig_peek(r, 0xa0000 + address);
}

static void fill_planes(Rig *r, uint32_t address, const uint8_t value[4])
{
    for (unsigned i = 0; i < 4; i++) {
        rig_sr(r, 2, (uint8_t)(1u << i));
        rig_poke(r, 0xa0000 + address, value[i]);
    }
    rig_sr(r, 2, 0x0f);
}

static void expect_planes(Rig *r, uint32_t address, const uint8_t value[4])
{
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(plane(r, i, address), value[i]);
    }
}

static void map_mask_and_latches(void **state)
{
    (void)state;
    Rig r = rig_new();
    planar(&r);
    const uint8_t value[4] = {0x12, 0x34, 0x56, 0x78};
    fill_planes(&r, 0x1234, value);
    expect_planes(&r, 0x1234, value);
    chip_out(r.b, 0x3d4, 0x22); /* the latch of the plane selected */
    for (unsigned i = 0; i < 4; i++) {
        plane(&r, i, 0x1234);
        assert_int_equal(chip_in(r.b, 0x3d5), value[i]);
    }
    rig_gr(&r, 5, 1); /* write mode 1: latches as they are, whatever the data and other registers */
    rig_gr(&r, 8, 0x00);
    rig_gr(&r, 3, 0x18);
    rig_sr(&r, 2, 0x0b);
    rig_peek(&r, 0xa1234);
    rig_poke(&r, 0xa2000, 0xff);
    const uint8_t copied[4] = {0x12, 0x34, 0x00, 0x78};
    expect_planes(&r, 0x2000, copied);
    rig_free(&r);
}

static void write_mode_0_rotates_combines_and_masks(void **state)
{
    (void)state;
    Rig r = rig_new();
    planar(&r);
    const uint8_t old[4] = {0xf0, 0x0f, 0xaa, 0x55};
    /* data 81h rotated right by 1 is C0h; plane 0 is set and plane 1 reset by set/reset */
    static const uint8_t result[4][4] = {{0xff, 0x00, 0xc0, 0xc0},
                                         {0xf0, 0x00, 0x80, 0x40},
                                         {0xff, 0x0f, 0xea, 0xd5},
                                         {0x0f, 0x0f, 0x6a, 0x95}};
    for (unsigned function = 0; function < 4; function++) {
        fill_planes(&r, 7, old);
        rig_gr(&r, 0, 0x01);
        rig_gr(&r, 1, 0x03);
        rig_gr(&r, 3, (uint8_t)(function << 3 | 1));
        rig_gr(&r, 8, 0x3c);
        rig_peek(&r, 0xa0007);
        rig_poke(&r, 0xa0007, 0x81);
        uint8_t expected[4];
        for (unsigned i = 0; i < 4; i++) {
            expected[i] = (uint8_t)((result[function][i] & 0x3c) | (old[i] & ~0x3c));
        }
        rig_gr(&r, 1, 0);
        rig_gr(&r, 3, 0);
        rig_gr(&r, 8, 0xff);
        expect_planes(&r, 7, expected);
    }
    rig_free(&r);
}

static void write_mode_2_spreads_a_colour(void **state)
{
    (void)state;
    Rig r = rig_new();
    planar(&r);
    const uint8_t old[4] = {0xf0, 0x0f, 0xaa, 0x55};
    fill_planes(&r, 9, old);
    rig_gr(&r, 5, 2);
    rig_gr(&r, 8, 0x18);
    rig_peek(&r, 0xa0009);
    rig_poke(&r, 0xa0009, 0xf6); /* colour 6; the high half does not count */
    const uint8_t expected[4] = {0xe0, 0x1f, 0xba, 0x45};
    expect_planes(&r, 9, expected);
    rig_gr(&r, 3, 0x18); /* exclusive or works here too */
    rig_gr(&r, 8, 0xff);
    rig_peek(&r, 0xa0009);
    rig_poke(&r, 0xa0009, 0x01);
    const uint8_t turned[4] = {0x1f, 0x1f, 0xba, 0x45};
    expect_planes(&r, 9, turned);
    rig_free(&r);
}

static void write_mode_3_masks_by_rotated_data(void **state)
{
    (void)state;
    Rig r = rig_new();
    planar(&r);
    const uint8_t old[4] = {0x00, 0xff, 0x00, 0xff};
    fill_planes(&r, 3, old);
    rig_gr(&r, 5, 3);
    rig_gr(&r, 0, 0x05); /* planes 0 and 2 set, enable set/reset has no say */
    rig_gr(&r, 1, 0x00);
    rig_gr(&r, 3, 0x04);
    rig_gr(&r, 8, 0xf0);
    rig_peek(&r, 0xa0003);
    rig_poke(&r, 0xa0003, 0x5a); /* rotated by 4: A5h, masked: A0h */
    const uint8_t expected[4] = {0xa0, 0x5f, 0xa0, 0x5f};
    expect_planes(&r, 3, expected);
    rig_free(&r);
}

static void read_mode_1_compares_colours(void **state)
{
    (void)state;
    Rig r = rig_new();
    planar(&r);
    const uint8_t value[4] = {0xcc, 0xaa, 0xf0, 0x00};
    fill_planes(&r, 0, value);
    rig_gr(&r, 5, 0x08);
    rig_gr(&r, 2, 0x05);
    rig_gr(&r, 7, 0x0f);
    assert_int_equal(rig_peek(&r, 0xa0000), 0x40); /* planes 0 and 2 set, 1 and 3 clear */
    rig_gr(&r, 7, 0x05);
    assert_int_equal(rig_peek(&r, 0xa0000), 0xc0);
    rig_gr(&r, 7, 0x00);
    assert_int_equal(rig_peek(&r, 0xa0000), 0xff);
    rig_free(&r);
}

static void wide_accesses_are_bytes_in_order(void **state)
{
    (void)state;
    Rig r = rig_new();
    planar(&r);
    rig_sr(&r, 2, 0x01);
    bus_write(r.b->memory, 0xa0101, 0x8877665544332211, 8);
    assert_int_equal(bus_read(r.b->memory, 0xa0103, 4), 0x66554433);
    for (uint8_t i = 0; i < 8; i++) {
        assert_int_equal(plane(&r, 0, 0x101 + i), 0x11 * (i + 1));
    }
    rig_free(&r);
}

/* Chain 4: address bits 0 and 1 choose the plane, and are 0 in the plane's address. */
static void chain_4_and_planes_share_memory_as_on_the_chip(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_13);
    for (unsigned i = 0; i < 64000; i++) {
        rig_poke(&r, 0xa0000 + i, (uint8_t)(i * 7 + i / 256));
    }
    rig_sr(&r, 4, 0x06);
    for (unsigned i = 0; i < 64000; i += 997) {
        assert_int_equal(plane(&r, i & 3, i & ~3u), (uint8_t)(i * 7 + i / 256));
    }
    const uint8_t value[4] = {1, 2, 3, 4};
    fill_planes(&r, 0x100, value);
    fill_planes(&r, 0x101, value);
    rig_sr(&r, 4, 0x0e);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(rig_peek(&r, 0xa0100 + i), value[i]);
        assert_int_equal(rig_peek(&r, 0xa0104 + i), (uint8_t)((0x104 + i) * 7 + 1));
    }
    rig_free(&r);
}

static void plain_chain_4_memory_is_given_to_the_bus(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_13);
    assert_false(bus_page(r.b->memory, 0xa0000).ram);
    for (unsigned i = 0; i < 100; i++) {
        rig_poke(&r, 0xa0000 + i, (uint8_t)i);
    }
    assert_true(bus_page(r.b->memory, 0xa0000).ram);
    assert_true(bus_page(r.b->memory, 0xaf000).ram);
    assert_false(bus_page(r.b->memory, 0xb0000).ram);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(rig_peek(&r, 0xa0000 + i), i);
    }
    static const uint8_t spoilers[][2] = {{2, 0x07}}; /* a map mask */
    rig_sr(&r, spoilers[0][0], spoilers[0][1]);
    assert_false(bus_page(r.b->memory, 0xa0000).ram);
    rig_poke(&r, 0xa0003, 0xee); /* plane 3 is masked */
    assert_int_equal(rig_peek(&r, 0xa0003), 3);
    rig_sr(&r, 2, 0x0f);
    static const uint8_t graphics[][2] = {{8, 0xfe}, {5, 0x41}, {5, 0x48}, {3, 1},
                                          {3, 8},    {1, 1},    {6, 0x0d}};
    for (unsigned k = 0; k < 7; k++) {
        for (unsigned i = 0; i < 100; i++) {
            rig_peek(&r, 0xa0000);
        }
        assert_true(bus_page(r.b->memory, 0xa0000).ram);
        rig_gr(&r, graphics[k][0], graphics[k][1]);
        assert_false(bus_page(r.b->memory, 0xa0000).ram);
        rig_gr(&r, graphics[k][0], mode_13.gr[graphics[k][0]]);
    }
    rig_free(&r);
}

/* The latch keeps what the last read through the card put there, so it must not depend on being
 * loaded from a state whether a read goes through the card. */
static void plain_memory_stays_plain_in_a_loaded_machine(void **state)
{
    (void)state;
    for (unsigned accesses = 5; accesses < 100; accesses += 60) {
        Rig a = rig_new(), b = rig_new();
        rig_mode(&a, &mode_13);
        rig_poke(&a, 0xa1234, 0x77);
        for (unsigned i = 0; i < accesses; i++) {
            rig_peek(&a, 0xa0000);
        }
        memcpy(b.b->ram.host, a.b->ram.host, a.b->ram.used);
        chip_state_round_trip(a.b, b.b);
        assert_int_equal(bus_page(a.b->memory, 0xa0000).ram, accesses > 32);
        assert_int_equal(bus_page(b.b->memory, 0xa0000).ram, accesses > 32);
        for (unsigned k = 0; k < 2; k++) {
            Rig *r = k ? &b : &a;
            for (unsigned i = 0; i < 30; i++) {
                rig_peek(r, 0xa1234 + i % 2 * 4);
            }
            rig_peek(r, 0xa1234);
            rig_gr(r, 5, 0x41); /* write mode 1: the latch */
            rig_poke(r, 0xa4000, 0);
            rig_gr(r, 5, 0x40);
        }
        assert_int_equal(rig_peek(&a, 0xa4000), rig_peek(&b, 0xa4000));
        rig_free(&a);
        rig_free(&b);
    }
}

static void odd_even_puts_characters_and_attributes_in_planes(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_03);
    bus_write(r.b->memory, 0xb8000, 0x1f411e42, 4);
    assert_int_equal(bus_read(r.b->memory, 0xb8000, 4), 0x1f411e42);
    rig_sr(&r, 4, 0x06);
    rig_gr(&r, 5, 0x00);
    rig_gr(&r, 6, 0x04);
    assert_int_equal(plane(&r, 0, 0), 0x42);
    assert_int_equal(plane(&r, 1, 0), 0x1e);
    assert_int_equal(plane(&r, 0, 1), 0x00); /* odd addresses are not used */
    assert_int_equal(plane(&r, 0, 2), 0x41);
    assert_int_equal(plane(&r, 1, 2), 0x1f);
    rig_free(&r);
}

static void page_bit_and_bit_16_choose_the_other_half(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_03);
    rig_poke(&r, 0xb8000, 'a');
    chip_out(r.b, 0x3c2, 0x47); /* page bit off */
    rig_poke(&r, 0xb8000, 'b');
    chip_out(r.b, 0x3c2, 0x67);
    assert_int_equal(rig_peek(&r, 0xb8000), 'a');
    rig_gr(&r, 6, 0x02); /* 128 KiB at A0000h */
    assert_int_equal(rig_peek(&r, 0xa0000), 'a');
    assert_int_equal(rig_peek(&r, 0xb0000), 'b');
    rig_free(&r);
}

static void window_is_where_the_map_register_says(void **state)
{
    (void)state;
    Rig r = rig_new();
    planar(&r);
    static const struct {
        uint8_t map;
        uint32_t first, end;
    } cases[] = {{0x01, 0xa0000, 0xc0000},
                 {0x05, 0xa0000, 0xb0000},
                 {0x09, 0xb0000, 0xb8000},
                 {0x0d, 0xb8000, 0xc0000}};
    for (unsigned i = 0; i < 4; i++) {
        rig_gr(&r, 6, cases[i].map);
        for (uint32_t at = 0xa0000; at < 0xc0000; at += 0x4000) {
            rig_poke(&r, at, 0x77);
            bool inside = at >= cases[i].first && at < cases[i].end;
            assert_int_equal(rig_peek(&r, at), inside ? 0x77 : 0xff);
        }
    }
    chip_out(r.b, 0x3c2, 0xe1); /* memory off */
    rig_poke(&r, 0xb8000, 0x11);
    assert_int_equal(rig_peek(&r, 0xb8000), 0xff);
    chip_out(r.b, 0x3c2, 0xe3);
    assert_int_equal(rig_peek(&r, 0xb8000), 0x77);
    rig_free(&r);
}

/* --- Text for people ------------------------------------------------------------------------- */

static void put_text(Rig *r, unsigned row, unsigned column, const char *text)
{
    for (unsigned i = 0; text[i]; i++) {
        bus_write(r->b->memory, 0xb8000 + (row * 80 + column + i) * 2, 0x0700u | (uint8_t)text[i],
                  2);
    }
}

static void text_screen_as_bytes(void **state)
{
    (void)state;
    Rig r = rig_new();
    char text[8192];
    rig_mode(&r, &mode_03);
    put_text(&r, 0, 0, "C:\\>dir  ");
    put_text(&r, 2, 3, "x");
    put_text(&r, 4, 0, "\n!"); /* a glyph, not the end of a line */
    assert_true(vga_text(r.vga, text, sizeof(text)));
    assert_memory_equal(text, "C:\\>dir\n\n   x\n\n\b!\n", 18);
    unsigned lines = 0;
    for (const char *p = text; *p; p++) {
        lines += *p == '\n';
    }
    assert_int_equal(lines, 25);
    VgaTextSize size = vga_text_size(r.vga);
    assert_int_equal(size.columns, 80);
    assert_int_equal(size.rows, 25);
    rig_cr(&r, 0x0f, 165);
    assert_int_equal(vga_text_size(r.vga).cursor_row, 2);
    assert_int_equal(vga_text_size(r.vga).cursor_column, 5);
    rig_cr(&r, 0x0d, 80); /* scrolled by one row */
    assert_true(vga_text(r.vga, text, sizeof(text)));
    assert_memory_equal(text, "\n   x\n", 6);
    for (size_t room = 1; room < 20; room++) { /* never more than there is room for */
        memset(text, 'Z', sizeof(text));
        assert_true(vga_text(r.vga, text, room));
        assert_true(strlen(text) < room);
        assert_int_equal(text[room], 'Z');
    }
    rig_mode(&r, &mode_13);
    assert_false(vga_text(r.vga, text, sizeof(text)));
    assert_int_equal(text[0], 0);
    rig_free(&r);
}

/* --- State ----------------------------------------------------------------------------------- */

static void state_moves_in_mid_frame(void **state)
{
    (void)state;
    Rig a = rig_new(), b = rig_new();
    rig_mode(&a, &mode_13);
    for (unsigned i = 0; i < 64000; i++) {
        rig_poke(&a, 0xa0000 + i, (uint8_t)(i / 320));
    }
    rig_to_line(&a, 100);
    rig_dac(&a, 150, 63, 0, 0);
    rig_to_line(&a, 150);
    chip_out(a.b, 0x3c8, 3);
    chip_out(a.b, 0x3c9, 9);
    memcpy(b.b->ram.host, a.b->ram.host, a.b->ram.used);
    chip_state_round_trip(a.b, b.b);
    screen_read(b.screen, &b.picture); /* a whole picture at once */
    assert_int_equal(rig_pixel(&b, 0, 300), 0xff0000);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 2; k++) {
            Rig *r = k ? &b : &a;
            clock_step(&r->b->clock, 3000000);
            chip_out(r->b, 0x3c9, 9);
            rig_cr(r, 0x0d, (uint8_t)(80 * i));
            clock_step(&r->b->clock, 20000000);
            screen_read(r->screen, &r->picture);
            assert_int_equal(chip_in(r->b, 0x3da), chip_in(a.b, 0x3da));
        }
        assert_int_equal(a.picture.height, b.picture.height);
        assert_memory_equal(a.picture.pixels, b.picture.pixels,
                            (size_t)4 * a.picture.width * a.picture.height);
    }
    rig_free(&a);
    rig_free(&b);
}

static void two_cards_do_not_share_anything(void **state)
{
    (void)state;
    Rig a = rig_new(), b = rig_new();
    rig_mode(&a, &mode_13);
    rig_mode(&b, &mode_03);
    rig_frame(&a);
    rig_frame(&b);
    assert_int_equal(a.picture.width, 320);
    assert_int_equal(b.picture.width, 720);
    rig_free(&a);
    rig_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refresh_rates_are_exact),
        cmocka_unit_test(status_shows_display_and_retrace),
        cmocka_unit_test(retrace_interrupt_only_when_connected_and_enabled),
        cmocka_unit_test(impossible_timings_do_no_harm),
        cmocka_unit_test(ports_follow_the_colour_bit),
        cmocka_unit_test(crtc_protection_spares_one_bit),
        cmocka_unit_test(attribute_flip_flop_is_reset_by_status),
        cmocka_unit_test(unused_register_bits_read_as_zero),
        cmocka_unit_test(palette_index_counts_and_third_byte_counts),
        cmocka_unit_test(palette_mask_is_applied),
        cmocka_unit_test(map_mask_and_latches),
        cmocka_unit_test(write_mode_0_rotates_combines_and_masks),
        cmocka_unit_test(write_mode_2_spreads_a_colour),
        cmocka_unit_test(write_mode_3_masks_by_rotated_data),
        cmocka_unit_test(read_mode_1_compares_colours),
        cmocka_unit_test(wide_accesses_are_bytes_in_order),
        cmocka_unit_test(chain_4_and_planes_share_memory_as_on_the_chip),
        cmocka_unit_test(plain_chain_4_memory_is_given_to_the_bus),
        cmocka_unit_test(plain_memory_stays_plain_in_a_loaded_machine),
        cmocka_unit_test(odd_even_puts_characters_and_attributes_in_planes),
        cmocka_unit_test(page_bit_and_bit_16_choose_the_other_half),
        cmocka_unit_test(window_is_where_the_map_register_says),
        cmocka_unit_test(text_screen_as_bytes),
        cmocka_unit_test(state_moves_in_mid_frame),
        cmocka_unit_test(two_cards_do_not_share_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
