/* VGA pictures: modes, fonts, cursor, panning, split screen, changes in mid-frame; each against
 * pixels worked out by hand. The video rows of the guests' trap list that a picture shows are here:
 * split at address 0, panning below the split, what is latched at the retrace, address scale by
 * mode, blanking that wraps, double scan, palette, panning and panning mode changed per line. Line
 * compare is compared on each line with what the register holds then. Status 1's undefined bits
 * read as zero, but for the two video outputs.
 */
#include "tests/unit/vga_rig.h"

#include <string.h>

enum { FONT_LINES = 32 };

/* Writes glyph bytes to plane 2 as a BIOS does, then sets text access again. */
static void load_glyph(Rig *r, unsigned block, uint8_t code, const uint8_t *lines, unsigned count)
{
    static const uint32_t base[8] = {0x0000, 0x4000, 0x8000, 0xc000,
                                     0x2000, 0x6000, 0xa000, 0xe000};
    rig_sr(r, 2, 0x04);
    rig_sr(r, 4, 0x07);
    rig_gr(r, 5, 0x00);
    rig_gr(r, 6, 0x05);
    for (unsigned i = 0; i < count; i++) {
        rig_poke(r, 0xa0000 + base[block] + code * 32u + i, lines[i]);
    }
    rig_sr(r, 2, 0x03);
    rig_sr(r, 4, 0x02);
    rig_gr(r, 5, 0x10);
    rig_gr(r, 6, 0x0e);
}

static void put_cell(Rig *r, unsigned cell, uint8_t code, uint8_t attribute)
{
    bus_write(r->b->memory, 0xb8000 + cell * 2, code | (uint64_t)attribute << 8, 2);
}

/* Mode 03h's attribute palette maps colour 6 to 14h and 8..15 to 38h..3Fh. */
static uint32_t text_color(unsigned i)
{
    return rig_color(mode_03.ar[i]);
}

/* Line `y` of the 9 x 16 cell at (column, row), first dot in bit 8: set where the pixel is fore. */
static unsigned cell_line(const Rig *r, unsigned column, unsigned row, unsigned y, uint32_t fore)
{
    unsigned bits = 0;
    for (unsigned x = 0; x < 9; x++) {
        bits = bits << 1 | (rig_pixel(r, column * 9 + x, row * 16 + y) == fore);
    }
    return bits;
}

static Rig text_rig(void)
{
    Rig r = rig_new();
    rig_mode(&r, &mode_03);
    rig_cr(&r, 0x0a, 0x20); /* no cursor */
    for (unsigned i = 0; i < 2000; i++) {
        put_cell(&r, i, ' ', 0x07);
    }
    return r;
}

static void text_has_nine_dots(void **state)
{
    (void)state;
    Rig r = text_rig();
    const uint8_t glyph[2] = {0x81, 0x3d};
    load_glyph(&r, 0, 'A', glyph, 2);
    load_glyph(&r, 0, 0xc4, glyph, 2);
    put_cell(&r, 0, 'A', 0x1e);
    put_cell(&r, 81, 0xc4, 0x4f);
    rig_frame(&r);
    assert_int_equal(r.picture.width, 720);
    assert_int_equal(r.picture.height, 400);
    assert_int_equal(r.picture.aspect_width, 4);
    assert_int_equal(r.picture.aspect_height, 3);
    assert_int_equal(cell_line(&r, 0, 0, 0, text_color(14)), 0x102);
    assert_int_equal(cell_line(&r, 0, 0, 1, text_color(14)), 0x07a);
    assert_int_equal(cell_line(&r, 0, 0, 0, text_color(1)), 0x0fd);
    assert_int_equal(cell_line(&r, 1, 1, 0, text_color(15)), 0x103); /* the ninth repeats */
    assert_int_equal(cell_line(&r, 1, 1, 1, text_color(15)), 0x07b);
    assert_int_equal(cell_line(&r, 1, 1, 2, text_color(4)), 0x1ff);
    rig_ar(&r, 0x10, 0x08); /* line graphics off */
    rig_frame(&r);
    assert_int_equal(cell_line(&r, 1, 1, 0, text_color(15)), 0x102);
    rig_sr(&r, 1, 0x01); /* eight dots */
    rig_frame(&r);
    assert_int_equal(r.picture.width, 640);
    rig_sr(&r, 1, 0x08); /* 40 columns come with half the dot clock */
    rig_cr(&r, 0x11, 0x0e);
    rig_cr(&r, 0x01, 0x27);
    rig_cr(&r, 0x00, 0x2d);
    rig_frame(&r);
    assert_int_equal(r.picture.width, 360);
    rig_free(&r);
}

static void attribute_bit_3_chooses_the_font(void **state)
{
    (void)state;
    Rig r = text_rig();
    const uint8_t first = 0xf0, second = 0x0f;
    load_glyph(&r, 5, 'A', &first, 1);
    load_glyph(&r, 3, 'A', &second, 1);
    put_cell(&r, 0, 'A', 0x07);
    put_cell(&r, 1, 'A', 0x0f);
    rig_sr(&r, 3, 0x1d); /* map B (bit 3 clear): 5; map A: 3 */
    rig_frame(&r);
    assert_int_equal(cell_line(&r, 0, 0, 0, text_color(7)), 0x1e0);
    assert_int_equal(cell_line(&r, 1, 0, 0, text_color(15)), 0x01e);
    load_glyph(&r, 3, 'A', &first, 1); /* a new glyph shows without a new cell */
    rig_frame(&r);
    assert_int_equal(cell_line(&r, 1, 0, 0, text_color(15)), 0x1e0);
    rig_free(&r);
}

static void underline_and_mono_attributes(void **state)
{
    (void)state;
    Rig r = text_rig();
    put_cell(&r, 0, ' ', 0x01);
    put_cell(&r, 1, ' ', 0x02);
    rig_cr(&r, 0x14, 0x0c);
    rig_frame(&r);
    assert_int_equal(cell_line(&r, 0, 0, 12, text_color(1)), 0x1ff);
    assert_int_equal(cell_line(&r, 0, 0, 11, text_color(1)), 0);
    assert_int_equal(cell_line(&r, 1, 0, 12, text_color(2)), 0);
    rig_free(&r);
}

/* Counts the frames in which the cell's dots are shown. */
static unsigned frames_lit(Rig *r, unsigned frames, unsigned column, unsigned y, uint32_t fore)
{
    unsigned lit = 0;
    for (unsigned i = 0; i < frames; i++) {
        clock_step(&r->b->clock, 14268500); /* a frame of 70.086 Hz */
        screen_read(r->screen, &r->picture);
        lit += cell_line(r, column, 0, y, fore) == 0x1ff;
    }
    return lit;
}

static void cursor_shapes_and_blinking(void **state)
{
    (void)state;
    Rig r = text_rig();
    put_cell(&r, 2, ' ', 0x03);
    rig_cr(&r, 0x0a, 0x0d);
    rig_cr(&r, 0x0b, 0x0e);
    rig_cr(&r, 0x0f, 2);
    rig_frame(&r);
    assert_int_equal(frames_lit(&r, 32, 2, 13, text_color(3)), 16); /* 8 on, 8 off */
    assert_int_equal(frames_lit(&r, 32, 2, 12, text_color(3)), 0);
    assert_int_equal(frames_lit(&r, 32, 2, 14, text_color(3)), 16);
    assert_int_equal(frames_lit(&r, 32, 2, 15, text_color(3)), 0);
    rig_cr(&r, 0x0b, 0x2e); /* skewed by one */
    assert_int_equal(frames_lit(&r, 32, 3, 13, text_color(7)), 16);
    assert_int_equal(frames_lit(&r, 32, 2, 13, text_color(3)), 0);
    rig_cr(&r, 0x0b, 0x05); /* an end before the start: none, unlike on the EGA */
    assert_int_equal(frames_lit(&r, 32, 2, 13, text_color(3)), 0);
    rig_cr(&r, 0x0b, 0x0e);
    rig_cr(&r, 0x0a, 0x2d); /* off */
    assert_int_equal(frames_lit(&r, 32, 2, 13, text_color(3)), 0);
    rig_free(&r);
}

static void characters_blink_or_have_bright_backgrounds(void **state)
{
    (void)state;
    Rig r = text_rig();
    const uint8_t solid = 0xff;
    load_glyph(&r, 0, 0xdb, &solid, 1);
    put_cell(&r, 0, 0xdb, 0xc2);
    rig_frame(&r);
    assert_int_equal(frames_lit(&r, 64, 0, 0, text_color(2)), 32); /* 16 on, 16 off */
    assert_int_equal(cell_line(&r, 0, 0, 1, text_color(4)), 0x1ff);
    rig_ar(&r, 0x10, 0x04);
    rig_frame(&r);
    assert_int_equal(frames_lit(&r, 64, 0, 0, text_color(2)), 64);
    assert_int_equal(cell_line(&r, 0, 0, 1, text_color(12)), 0x1ff);
    rig_free(&r);
}

static void preset_row_scan_and_start_scroll_text_smoothly(void **state)
{
    (void)state;
    Rig r = text_rig();
    uint8_t glyph[16];
    for (unsigned i = 0; i < 16; i++) {
        glyph[i] = (uint8_t)(0x10 + i);
    }
    load_glyph(&r, 0, 'R', glyph, 16);
    for (unsigned i = 0; i < 4; i++) {
        put_cell(&r, 80 * i, 'R', (uint8_t)(i + 1));
    }
    rig_cr(&r, 0x0d, 80);
    rig_cr(&r, 0x08, 5);
    rig_frame(&r);
    for (unsigned y = 0; y < 27; y++) { /* row 1 from its sixth line, then row 2 */
        unsigned line = (y + 5) % 16;
        assert_int_equal(rig_pixel(&r, 7, y), text_color(glyph[line] & 1 ? (y < 11 ? 2 : 3) : 0));
    }
    rig_cr(&r, 0x08, 0x20); /* byte panning: starts one character further */
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 3, 0), text_color(0));
    rig_free(&r);
}

/* --- Graphics -------------------------------------------------------------------------------- */

static void mode_13_doubles_lines(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_13);
    for (unsigned i = 0; i < 64000; i++) {
        rig_poke(&r, 0xa0000 + i, (uint8_t)(i % 320 + i / 320));
    }
    for (unsigned doubling = 0; doubling < 2; doubling++) {
        rig_cr(&r, 9, doubling ? 0xc0 : 0x41); /* by bit 7, or by two-line rows */
        rig_frame(&r);
        assert_int_equal(r.picture.width, 320);
        assert_int_equal(r.picture.height, 400);
        assert_int_equal(r.picture.aspect_width, 4);
        for (unsigned y = 0; y < 400; y++) {
            for (unsigned x = 0; x < 320; x++) {
                assert_int_equal(rig_pixel(&r, x, y), rig_color((x + y / 2) & 0xff));
            }
        }
    }
    rig_free(&r);
}

static void mode_12_shows_sixteen_colours(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_12);
    for (unsigned p = 0; p < 4; p++) {
        rig_sr(&r, 2, (uint8_t)(1 << p));
        for (unsigned i = 0; i < 80 * 480; i++) {
            rig_poke(&r, 0xa0000 + i, (uint8_t)(i * (2 * p + 3)));
        }
    }
    rig_frame(&r);
    assert_int_equal(r.picture.width, 640);
    assert_int_equal(r.picture.height, 480);
    for (unsigned y = 0; y < 480; y++) {
        for (unsigned x = 0; x < 640; x++) {
            unsigned i = y * 80 + x / 8, color = 0;
            for (unsigned p = 0; p < 4; p++) {
                color |= ((i * (2 * p + 3)) >> (7 - x % 8) & 1) << p;
            }
            assert_int_equal(rig_pixel(&r, x, y), rig_color(mode_12.ar[color]));
        }
    }
    rig_ar(&r, 0x12, 0x05); /* two planes only */
    rig_frame(&r);
    for (unsigned x = 0; x < 640; x++) {
        unsigned i = 80 * 77 + x / 8;
        unsigned color = (i * 3 >> (7 - x % 8) & 1) | (i * 7 >> (7 - x % 8) & 1) << 2;
        assert_int_equal(rig_pixel(&r, x, 77), rig_color(mode_12.ar[color]));
    }
    rig_free(&r);
}

static void color_select_replaces_palette_bits(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_12);
    rig_sr(&r, 2, 0x05);
    rig_poke(&r, 0xa0000, 0x80); /* colour 5 */
    rig_ar(&r, 0x05, 0x2b);
    rig_ar(&r, 0x14, 0x09);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), rig_color(0xab)); /* bits 7-6 always */
    rig_ar(&r, 0x10, 0x81);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), rig_color(0x9b)); /* bits 5-4 too */
    rig_free(&r);
}

static void mode_x_page_flips_by_start_address(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_x);
    for (unsigned p = 0; p < 4; p++) {
        rig_sr(&r, 2, (uint8_t)(1 << p));
        for (unsigned i = 0; i < 80 * 240 * 2; i++) {
            rig_poke(&r, 0xa0000 + i, (uint8_t)(i * 4 + p + i / 80));
        }
    }
    for (unsigned page = 0; page < 2; page++) {
        rig_cr(&r, 0x0c, (uint8_t)(page * (19200 >> 8)));
        rig_cr(&r, 0x0d, 0);
        rig_frame(&r);
        assert_int_equal(r.picture.width, 320);
        assert_int_equal(r.picture.height, 480);
        for (unsigned y = 0; y < 480; y++) {
            for (unsigned x = 0; x < 320; x++) {
                unsigned i = page * 19200 + y / 2 * 80 + x / 4;
                assert_int_equal(rig_pixel(&r, x, y), rig_color((i * 4 + x % 4 + i / 80) & 0xff));
            }
        }
    }
    rig_free(&r);
}

static void cga_modes_interleave_lines_and_bits(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_04);
    for (unsigned i = 0; i < 0x4000; i++) {
        rig_poke(&r, 0xb8000 + i, (uint8_t)(i * 5 + (i >> 8)));
    }
    rig_frame(&r);
    assert_int_equal(r.picture.width, 320);
    assert_int_equal(r.picture.height, 400);
    for (unsigned y = 0; y < 400; y++) {
        for (unsigned x = 0; x < 320; x++) {
            unsigned line = y / 2, i = (line & 1) * 0x2000 + line / 2 * 80 + x / 4;
            unsigned color = (uint8_t)(i * 5 + (i >> 8)) >> (6 - 2 * (x % 4)) & 3;
            assert_int_equal(rig_pixel(&r, x, y), rig_color(mode_04.ar[color]));
        }
    }
    rig_mode(&r, &mode_06);
    for (unsigned i = 0; i < 0x4000; i++) {
        rig_poke(&r, 0xb8000 + i, (uint8_t)(i * 5 + (i >> 8)));
    }
    rig_frame(&r);
    assert_int_equal(r.picture.width, 640);
    for (unsigned y = 0; y < 400; y++) {
        for (unsigned x = 0; x < 640; x++) {
            unsigned line = y / 2, i = (line & 1) * 0x2000 + line / 2 * 80 + x / 8;
            unsigned color = (uint8_t)(i * 5 + (i >> 8)) >> (7 - x % 8) & 1;
            assert_int_equal(rig_pixel(&r, x, y), rig_color(mode_06.ar[color]));
        }
    }
    rig_free(&r);
}

/* Bytes scroll by one character clock's worth of memory: 4, 8 or 16 pixels of 256 colours. */
static void start_address_scale_follows_the_address_mode(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_13);
    for (unsigned i = 0; i < 0x10000; i++) {
        rig_poke(&r, 0xa0000 + i, (uint8_t)(i / 4));
    }
    rig_cr(&r, 0x0d, 5); /* doublewords: 20 pixels */
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), rig_color(5));
    assert_int_equal(rig_pixel(&r, 4, 0), rig_color(6));
    rig_cr(&r, 0x14, 0x00); /* words: addresses 10, 12, ..; those written are multiples of 4 */
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 4, 0), rig_color(3));
    assert_int_equal(rig_pixel(&r, 12, 0), rig_color(4));
    rig_cr(&r, 0x17, 0xe3); /* bytes: 5, 6, 7, 8 */
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 12, 0), rig_color(2));
    rig_free(&r);
}

static void halved_vertical_counter_doubles_all_lines(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_13);
    for (unsigned y = 0; y < 200; y++) {
        rig_poke(&r, 0xa0000 + y * 320, (uint8_t)y);
    }
    rig_cr(&r, 0x11, 0);
    rig_cr(&r, 0x06, 0xdf);
    rig_cr(&r, 0x07, 0x10);
    rig_cr(&r, 0x10, 0xce);
    rig_cr(&r, 0x12, 0xc7);
    rig_cr(&r, 0x15, 0xcb);
    rig_cr(&r, 0x16, 0xd8);
    rig_cr(&r, 0x17, 0xa7);
    rig_frame(&r);
    assert_int_equal(r.picture.height, 400);
    for (unsigned y = 0; y < 400; y++) {
        assert_int_equal(rig_pixel(&r, 0, y), rig_color(y / 2));
    }
    rig_free(&r);
}

static void screen_off_is_black(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_13);
    rig_poke(&r, 0xa0000, 9);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), rig_color(9));
    rig_sr(&r, 1, 0x21);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), 0);
    rig_sr(&r, 1, 0x01);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), rig_color(9));
    chip_in(r.b, 0x3da);
    chip_out(r.b, 0x3c0, 0x00);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), 0);
    rig_free(&r);
}

/* --- Panning, split screen, latching ---------------------------------------------------------- */

static void fill_13(Rig *r)
{
    rig_mode(r, &mode_13);
    for (unsigned i = 0; i < 0x10000; i++) {
        rig_poke(r, 0xa0000 + i, (uint8_t)(i % 320 + 3 * (i / 320)));
    }
}

static uint32_t fill_color(unsigned i)
{
    return rig_color((i % 320 + 3 * (i / 320)) & 0xff);
}

static void split_screen_starts_at_address_zero(void **state)
{
    (void)state;
    Rig r = rig_new();
    fill_13(&r);
    rig_cr(&r, 0x0d, 80 * 2 + 1); /* two lines and four pixels down */
    rig_cr(&r, 0x18, 99);         /* line 100 is the first below the split */
    rig_cr(&r, 0x07, 0x0f);
    rig_cr(&r, 0x09, 0x01);
    rig_ar(&r, 0x13, 0x04); /* and two pixels more */
    for (unsigned kept = 0; kept < 2; kept++) {
        rig_ar(&r, 0x10, kept ? 0x41 : 0x61);
        rig_frame(&r);
        for (unsigned y = 0; y < 400; y++) {
            unsigned i = y < 100 ? (y / 2 + 2) * 320 + 6 : (y - 100) / 2 * 320 + (kept ? 2 : 0);
            for (unsigned x = 0; x < 312; x++) {
                assert_int_equal(rig_pixel(&r, x, y), fill_color(i + x));
            }
        }
    }
    rig_free(&r);
}

/* With an odd number of lines above, the first row below still has its two. */
static void split_restarts_the_row(void **state)
{
    (void)state;
    Rig r = rig_new();
    fill_13(&r);
    rig_cr(&r, 0x18, 100);
    rig_cr(&r, 0x07, 0x0f);
    rig_cr(&r, 0x09, 0x01);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 100), fill_color(50 * 320));
    for (unsigned y = 101; y < 111; y++) {
        assert_int_equal(rig_pixel(&r, 0, y), fill_color((y - 101) / 2 * 320));
    }
    rig_free(&r);
}

/* Demos move the split while the beam is on its way down, and switch its panning rule. */
static void line_compare_and_its_rule_count_at_once(void **state)
{
    (void)state;
    Rig r = rig_new();
    fill_13(&r);
    rig_cr(&r, 0x07, 0x0f);
    rig_cr(&r, 0x09, 0x01);
    rig_cr(&r, 0x18, 99);
    rig_ar(&r, 0x13, 0x04);
    rig_to_line(&r, 0);
    for (unsigned line = 0; line < 150; line++) {
        clock_step(&r.b->clock, 31778);
    }
    rig_cr(&r, 0x18, 199); /* a second split */
    for (unsigned line = 0; line < 100; line++) {
        clock_step(&r.b->clock, 31778);
    }
    rig_ar(&r, 0x10, 0x61); /* from line 250: not panned, as this is below a split */
    while (!(chip_in(r.b, 0x3da) & 8)) {
        clock_step(&r.b->clock, 1000);
    }
    screen_read(r.screen, &r.picture);
    assert_int_equal(rig_pixel(&r, 0, 98), fill_color(49 * 320 + 2));
    assert_int_equal(rig_pixel(&r, 0, 100), fill_color(2));
    assert_int_equal(rig_pixel(&r, 0, 140), fill_color(20 * 320 + 2));
    assert_int_equal(rig_pixel(&r, 0, 199), fill_color(49 * 320 + 2));
    assert_int_equal(rig_pixel(&r, 0, 200), fill_color(2));
    assert_int_equal(rig_pixel(&r, 0, 240), fill_color(20 * 320 + 2));
    assert_int_equal(rig_pixel(&r, 0, 260), fill_color(30 * 320));
    rig_free(&r);
}

static void panning_moves_by_pixels(void **state)
{
    (void)state;
    Rig r = text_rig();
    const uint8_t glyph = 0x01; /* the eighth dot */
    load_glyph(&r, 0, 'B', &glyph, 1);
    put_cell(&r, 0, 'B', 0x07);
    for (unsigned pan = 0; pan < 9; pan++) {
        rig_ar(&r, 0x13, (uint8_t)pan);
        rig_frame(&r);
        unsigned cut = pan == 8 ? 0 : pan + 1; /* nine dots: 8 is the place of rest */
        for (unsigned x = 0; x < 9; x++) {
            assert_int_equal(rig_pixel(&r, x, 0) == text_color(7), x + cut == 7);
        }
    }
    rig_mode(&r, &mode_12);
    rig_sr(&r, 2, 0x0f);
    rig_poke(&r, 0xa0001, 0x80);
    for (uint8_t pan = 0; pan < 8; pan++) {
        rig_ar(&r, 0x13, pan);
        rig_frame(&r);
        assert_int_equal(rig_pixel(&r, 8 - pan, 0), rig_color(0x3f));
    }
    rig_free(&r);
}

/* Scrolling games write both at the end of the picture: the address counts from the next retrace,
 * the panning at once. */
static void start_is_latched_and_panning_is_not(void **state)
{
    (void)state;
    Rig r = rig_new();
    fill_13(&r);
    rig_frame(&r);
    rig_to_line(&r, 200);
    rig_cr(&r, 0x0d, 1);
    rig_ar(&r, 0x13, 0x02);
    clock_step(&r.b->clock, 10000000); /* past the retrace of this frame */
    screen_read(r.screen, &r.picture);
    assert_int_equal(rig_pixel(&r, 0, 198), fill_color(99 * 320));
    assert_int_equal(rig_pixel(&r, 0, 202), fill_color(101 * 320 + 1));
    clock_step(&r.b->clock, 15000000);
    screen_read(r.screen, &r.picture);
    assert_int_equal(rig_pixel(&r, 0, 198), fill_color(99 * 320 + 5));
    assert_int_equal(rig_pixel(&r, 0, 202), fill_color(101 * 320 + 5));
    rig_free(&r);
}

/* A start address written after the retrace began waits for the next one. */
static void start_written_in_the_retrace_comes_a_frame_later(void **state)
{
    (void)state;
    Rig r = rig_new();
    fill_13(&r);
    rig_frame(&r); /* in the retrace now */
    rig_cr(&r, 0x0d, 80);
    clock_step(&r.b->clock, 14270000);
    screen_read(r.screen, &r.picture);
    assert_int_equal(rig_pixel(&r, 0, 0), fill_color(0));
    clock_step(&r.b->clock, 14270000);
    screen_read(r.screen, &r.picture);
    assert_int_equal(rig_pixel(&r, 0, 0), fill_color(320));
    rig_free(&r);
}

static void copper_bars_change_the_palette_each_line(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_13); /* all colour 0 */
    for (unsigned frame = 0; frame < 2; frame++) {
        rig_to_line(&r, 0);
        for (unsigned line = 0; line < 100; line++) {
            while (!(chip_in(r.b, 0x3da) & 1)) {
                clock_step(&r.b->clock, 200);
            }
            rig_dac(&r, 0, (uint8_t)(line & 63), (uint8_t)(frame * 20), 0);
            while (chip_in(r.b, 0x3da) & 1) {
                clock_step(&r.b->clock, 200);
            }
        }
        clock_step(&r.b->clock, 12000000);
        screen_read(r.screen, &r.picture);
        for (unsigned y = 1; y <= 100; y++) {
            unsigned red = (y - 1) & 63, green = frame * 20;
            uint32_t color = (red << 2 | red >> 4) << 16 | (green << 2 | green >> 4) << 8;
            assert_int_equal(rig_pixel(&r, 0, y), color);
            assert_int_equal(rig_pixel(&r, 319, y), color);
        }
        assert_int_equal(rig_pixel(&r, 0, 399), rig_pixel(&r, 0, 100));
    }
    rig_free(&r);
}

static void panning_changes_per_line(void **state)
{
    (void)state;
    Rig r = rig_new();
    fill_13(&r);
    rig_to_line(&r, 0);
    for (unsigned line = 0; line < 60; line++) {
        while (!(chip_in(r.b, 0x3da) & 1)) {
            clock_step(&r.b->clock, 200);
        }
        rig_ar(&r, 0x13, (uint8_t)(line % 4 * 2));
        while (chip_in(r.b, 0x3da) & 1) {
            clock_step(&r.b->clock, 200);
        }
    }
    clock_step(&r.b->clock, 12000000);
    screen_read(r.screen, &r.picture);
    for (unsigned y = 1; y <= 60; y++) {
        assert_int_equal(rig_pixel(&r, 0, y), fill_color(y / 2 * 320 + (y - 1) % 4));
    }
    rig_free(&r);
}

/* --- Blanking -------------------------------------------------------------------------------- */

static void vertical_blanking_cuts_and_wraps(void **state)
{
    (void)state;
    Rig r = rig_new();
    fill_13(&r);
    rig_cr(&r, 0x15, 0x8f); /* the last line: drivers do so, and mean to lose none */
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 5, 399), fill_color(199 * 320 + 5));
    rig_cr(&r, 0x15, 0x5e); /* blanking starts after line 350, in the picture */
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 5, 350), fill_color(175 * 320 + 5));
    assert_int_equal(rig_pixel(&r, 5, 351), 0);
    assert_int_equal(rig_pixel(&r, 5, 399), 0);
    /* Started after 448, the last line, and ends when the low seven bits are 20. */
    rig_cr(&r, 0x15, 0xc0);
    rig_cr(&r, 0x16, 20);
    for (unsigned i = 0; i < 4; i++) { /* also when nothing else changes */
        rig_frame(&r);
    }
    assert_int_equal(rig_pixel(&r, 5, 0), 0);
    assert_int_equal(rig_pixel(&r, 5, 19), 0);
    assert_int_equal(rig_pixel(&r, 5, 20), fill_color(10 * 320 + 5));
    assert_int_equal(rig_pixel(&r, 5, 399), fill_color(199 * 320 + 5));
    rig_cr(&r, 0x15, 0x8f);
    rig_cr(&r, 0x16, 0); /* with the first line: X servers do so, and mean to lose none */
    rig_frame(&r);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 5, 0), fill_color(5));
    rig_free(&r);
}

/* --- Work saved ------------------------------------------------------------------------------ */

static void unchanged_pictures_are_not_shown_again(void **state)
{
    (void)state;
    Rig r = text_rig();
    rig_frame(&r);
    rig_frame(&r);
    uint64_t serial = r.picture.serial;
    clock_step(&r.b->clock, CLOCK_NS_PER_S);
    assert_false(screen_read(r.screen, &r.picture));
    const uint8_t dots = 0xff;
    load_glyph(&r, 0, 'Q', &dots, 1);
    put_cell(&r, 80 * 7 + 3, 'Q', 0x07);
    clock_step(&r.b->clock, CLOCK_NS_PER_S);
    assert_true(screen_read(r.screen, &r.picture));
    assert_int_equal(r.picture.serial, serial + 1);
    assert_int_equal(r.picture.changed_first, 7 * 16);
    assert_int_equal(r.picture.changed_last, 7 * 16);
    put_cell(&r, 80 * 7 + 3, 'Q', 0x07); /* the same again */
    clock_step(&r.b->clock, CLOCK_NS_PER_S);
    assert_false(screen_read(r.screen, &r.picture));
    rig_free(&r);
}

static void pictures_are_shown_at_most_80_times_a_second(void **state)
{
    (void)state;
    Rig r = rig_new();
    fill_13(&r);
    rig_cr(&r, 0x11, 0);
    rig_cr(&r, 0x06, 0x20); /* some 800 frames a second */
    rig_cr(&r, 0x07, 0x10);
    rig_cr(&r, 0x12, 0x10);
    rig_cr(&r, 0x10, 0x12);
    rig_frame(&r);
    uint64_t serial = r.picture.serial;
    for (unsigned i = 0; i < 1000; i++) {
        rig_poke(&r, 0xa0000, (uint8_t)i);
        clock_step(&r.b->clock, 1000000);
    }
    screen_read(r.screen, &r.picture);
    assert_in_range(r.picture.serial - serial, 60, 81);
    rig_free(&r);
}

static void half_a_mode_change_is_not_shown(void **state)
{
    (void)state;
    Rig r = rig_new();
    fill_13(&r);
    rig_frame(&r);
    rig_to_line(&r, 100);
    rig_mode(&r, &mode_03);
    for (unsigned i = 0; i < 40; i++) {
        clock_step(&r.b->clock, 1000000);
        screen_read(r.screen, &r.picture);
        if (r.picture.width == 720) { /* whole from the first: no line of it is left black */
            break;
        }
        assert_int_equal(r.picture.width, 320);
        assert_int_equal(rig_pixel(&r, 0, 0), fill_color(0));
    }
    assert_int_equal(r.picture.width, 720);
    rig_free(&r);
}

static StateIo *state_of(Board *b, const uint8_t **bytes, size_t *size)
{
    StateIo *io = state_saver_new();
    board_state(b, io);
    assert_true(state_ok(io));
    *bytes = state_finish(io, size);
    return io;
}

/* Whether a picture is shown must not tell a loaded machine from the saved one. */
static void state_moves_in_half_a_mode_change(void **state)
{
    (void)state;
    Rig a = rig_new(), b = rig_new();
    const uint8_t *bytes_a, *bytes_b;
    size_t size_a, size_b;
    fill_13(&a);
    rig_frame(&a);
    rig_to_line(&a, 100);
    rig_mode(&a, &mode_03);
    rig_to_line(&a, 0);
    rig_to_line(&a, 100);
    rig_mode(&a, &mode_13);
    memcpy(b.b->ram.host, a.b->ram.host, a.b->ram.used);
    chip_state_round_trip(a.b, b.b);
    for (unsigned i = 0; i < 60; i++) {
        clock_step(&a.b->clock, 1000000);
        clock_step(&b.b->clock, 1000000);
        StateIo *first = state_of(a.b, &bytes_a, &size_a);
        StateIo *second = state_of(b.b, &bytes_b, &size_b);
        assert_int_equal(size_a, size_b);
        assert_memory_equal(bytes_a, bytes_b, size_a);
        state_free(first);
        state_free(second);
    }
    rig_free(&a);
    rig_free(&b);
}

/* Lets the processor sleep as long as no picture is missed, and shows what there is then. */
static void sleep_over(Rig *r)
{
    clock_skip_to(&r->b->clock, clock_next_wake(&r->b->clock, 0));
    clock_fire_due(&r->b->clock);
    screen_read(r->screen, &r->picture);
}

static bool wakes_on_time(const Rig *r)
{
    return clock_next_wake(&r->b->clock, 0) == clock_next_due(&r->b->clock);
}

static void a_picture_that_stands_still_wakes_nobody_until_it_blinks(void **state)
{
    (void)state;
    enum { FRAMES = 8 };
    Rig r = text_rig();
    rig_cr(&r, 0x0a, 0x0e); /* the cursor's lines */
    rig_cr(&r, 0x0e, 0);
    rig_cr(&r, 0x0f, 0);
    assert_true(wakes_on_time(&r)); /* registers were written */
    rig_frame(&r);
    sleep_over(&r);
    bool on = cell_line(&r, 0, 0, 14, text_color(7)) == 0x1ff;
    int64_t before = clock_now(&r.b->clock);
    for (unsigned i = 0; i < 6; i++) {
        sleep_over(&r);
        assert_true((cell_line(&r, 0, 0, 14, text_color(7)) == 0x1ff) == !on);
        on = !on;
    }
    int64_t frame = (clock_now(&r.b->clock) - before) / (6 * FRAMES);
    assert_in_range(frame, 14200000, 14300000); /* 70 Hz */
    put_cell(&r, 3, 'x', 0x07);
    assert_true(wakes_on_time(&r)); /* memory was */
    rig_frame(&r);
    assert_false(wakes_on_time(&r));
    rig_cr(&r, 0x0d, 80);
    assert_true(wakes_on_time(&r));
    rig_free(&r);
}

/* A picture that is the last one again is not walked; a board that was loaded walks it. */
static void a_skipped_picture_ends_where_a_drawn_one_does(void **state)
{
    (void)state;
    Rig a = text_rig(), b = text_rig();
    rig_frame(&a);
    rig_to_line(&a, 5);
    chip_state_round_trip(a.b, b.b);
    memcpy(ram_at(&b.b->ram, 0), ram_at(&a.b->ram, 0), a.b->ram.used);
    Rig *both[] = {&a, &b};
    for (unsigned i = 0; i < 2; i++) {
        clock_step(&both[i]->b->clock, 400 * 31778);
        rig_dac(both[i], 3, 1, 2, 3); /* draws what the beam has passed */
    }
    chip_state_same(a.b, b.b);
    rig_free(&a);
    rig_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_has_nine_dots),
        cmocka_unit_test(attribute_bit_3_chooses_the_font),
        cmocka_unit_test(underline_and_mono_attributes),
        cmocka_unit_test(cursor_shapes_and_blinking),
        cmocka_unit_test(characters_blink_or_have_bright_backgrounds),
        cmocka_unit_test(preset_row_scan_and_start_scroll_text_smoothly),
        cmocka_unit_test(mode_13_doubles_lines),
        cmocka_unit_test(mode_12_shows_sixteen_colours),
        cmocka_unit_test(color_select_replaces_palette_bits),
        cmocka_unit_test(mode_x_page_flips_by_start_address),
        cmocka_unit_test(cga_modes_interleave_lines_and_bits),
        cmocka_unit_test(start_address_scale_follows_the_address_mode),
        cmocka_unit_test(halved_vertical_counter_doubles_all_lines),
        cmocka_unit_test(screen_off_is_black),
        cmocka_unit_test(split_screen_starts_at_address_zero),
        cmocka_unit_test(split_restarts_the_row),
        cmocka_unit_test(line_compare_and_its_rule_count_at_once),
        cmocka_unit_test(panning_moves_by_pixels),
        cmocka_unit_test(start_is_latched_and_panning_is_not),
        cmocka_unit_test(start_written_in_the_retrace_comes_a_frame_later),
        cmocka_unit_test(copper_bars_change_the_palette_each_line),
        cmocka_unit_test(panning_changes_per_line),
        cmocka_unit_test(vertical_blanking_cuts_and_wraps),
        cmocka_unit_test(unchanged_pictures_are_not_shown_again),
        cmocka_unit_test(pictures_are_shown_at_most_80_times_a_second),
        cmocka_unit_test(half_a_mode_change_is_not_shown),
        cmocka_unit_test(state_moves_in_half_a_mode_change),
        cmocka_unit_test(a_picture_that_stands_still_wakes_nobody_until_it_blinks),
        cmocka_unit_test(a_skipped_picture_ends_where_a_drawn_one_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
