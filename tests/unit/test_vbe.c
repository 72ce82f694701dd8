/* Bochs VBE: modes and depths, banks, linear frame buffer, virtual screens, bad values, PCI.
 *
 * Rows of the guests' trap list: out-of-range banks are cut; 256-colour modes with an odd pitch; 24
 * and 32 bits; 8 and 16 bit desktops; bounds of the VBE registers; the picture survives a DOS box
 * that switches VBE off behind the display driver's back. Written reasons for the rest: window B,
 * the 128 KiB window, 4F00h's and 4F09h's buffers, mode list lengths and the protected-mode
 * interface belong to the VGA BIOS, which is SeaVGABIOS from Debian and not ours; text of DOS boxes
 * drawn on the main screen under SeaVGABIOS is in that BIOS too. VBEMP's and the Trio64 driver's
 * limits are those drivers' own; no Trio64 is modelled.
 */
#include "tests/unit/vga_rig.h"

#include <stdlib.h>
#include <string.h>

#include "display/vga_internal.h"

enum { LFB = 0xe0000000 };

static void mode(Rig *r, unsigned width, unsigned height, unsigned bits, unsigned flags)
{
    rig_mode(r, &mode_13);
    rig_vbe(r, VBE_ENABLE, 0);
    rig_vbe(r, VBE_XRES, (uint16_t)width);
    rig_vbe(r, VBE_YRES, (uint16_t)height);
    rig_vbe(r, VBE_BPP, (uint16_t)bits);
    rig_vbe(r, VBE_ENABLE, (uint16_t)(0x01 | flags));
}

static void identity_and_capabilities(void **state)
{
    (void)state;
    Rig r = rig_new();
    assert_int_equal(rig_vbe_read(&r, 0), 0xb0c5);
    rig_vbe(&r, 0, 0xb0c2);
    assert_int_equal(rig_vbe_read(&r, 0), 0xb0c2);
    rig_vbe(&r, 0, 0x1234);
    assert_int_equal(rig_vbe_read(&r, 0), 0xb0c2);
    assert_int_equal(rig_vbe_read(&r, VBE_MEMORY_64K), 256);
    rig_vbe(&r, VBE_ENABLE, 2);
    assert_int_equal(rig_vbe_read(&r, VBE_XRES), 2048);
    assert_int_equal(rig_vbe_read(&r, VBE_YRES), 1536);
    assert_int_equal(rig_vbe_read(&r, VBE_BPP), 32);
    rig_vbe(&r, VBE_ENABLE, 0);
    assert_int_equal(rig_vbe_read(&r, VBE_XRES), 0);
    assert_int_equal(rig_vbe_read(&r, 99), 0);
    rig_free(&r);
}

/* A pixel value of this depth, and how it looks. */
static uint32_t sample(unsigned i, unsigned bits, uint32_t *rgb)
{
    uint32_t value = i * 2654435761u;
    unsigned red, green, blue;
    switch (bits) {
    case 8:
        value >>= 24;
        *rgb = rig_color(value);
        return value;
    case 15:
    case 16:
        value >>= 16;
        red = bits == 15 ? value >> 10 & 31 : value >> 11;
        green = bits == 15 ? value >> 5 & 31 : value >> 5 & 63;
        blue = value & 31;
        green = bits == 15 ? green << 3 | green >> 2 : green << 2 | green >> 4;
        *rgb = (red << 3 | red >> 2) << 16 | green << 8 | (blue << 3 | blue >> 2);
        return value;
    default:
        *rgb = value & 0xffffff;
        return value;
    }
}

static void check_mode(unsigned width, unsigned height, unsigned bits, unsigned virtual_width,
                       unsigned x0, unsigned y0)
{
    Rig r = rig_new();
    unsigned bytes = (bits + 7) / 8;
    mode(&r, width, height, bits, 0x40);
    rig_vbe(&r, VBE_VIRT_WIDTH, (uint16_t)virtual_width);
    rig_vbe(&r, VBE_X_OFFSET, (uint16_t)x0);
    rig_vbe(&r, VBE_Y_OFFSET, (uint16_t)y0);
    assert_int_equal(rig_vbe_read(&r, VBE_VIRT_WIDTH), virtual_width);
    for (unsigned i = 0; i < 500; i++) {
        unsigned x = i * 7919 % width, y = i * 104729 % height;
        uint32_t rgb, value = sample(y * width + x, bits, &rgb);
        uint64_t at = LFB + (uint64_t)((y + y0) * virtual_width + x + x0) * bytes;
        for (unsigned k = 0; k < bytes; k++) {
            rig_poke(&r, (uint32_t)(at + k), (uint8_t)(value >> (8 * k)));
        }
    }
    rig_frame(&r);
    assert_int_equal(r.picture.width, width);
    assert_int_equal(r.picture.height, height);
    assert_int_equal(r.picture.aspect_width * height, r.picture.aspect_height * width);
    for (unsigned i = 0; i < 500; i++) {
        unsigned x = i * 7919 % width, y = i * 104729 % height;
        uint32_t rgb;
        sample(y * width + x, bits, &rgb);
        assert_int_equal(rig_pixel(&r, x, y), rgb);
    }
    rig_free(&r);
}

static void every_depth_and_size(void **state)
{
    (void)state;
    static const unsigned depths[] = {8, 15, 16, 24, 32};
    for (unsigned i = 0; i < 5; i++) {
        check_mode(640, 480, depths[i], 640, 0, 0);
        check_mode(800, 600, depths[i], 1000, 37, 11);
    }
    check_mode(320, 200, 8, 320, 0, 0);
    check_mode(1024, 768, 16, 1024, 0, 768);
    check_mode(1366, 768, 8, 1371, 3, 1); /* odd pitch */
    check_mode(1920, 1200, 32, 1920, 0, 0);
    check_mode(2048, 1536, 32, 2048, 0, 0);
}

static void refresh_is_60_hz(void **state)
{
    (void)state;
    Rig r = rig_new();
    mode(&r, 1024, 768, 8, 0x40);
    unsigned rises = 0;
    bool was = true;
    for (unsigned i = 0; i < 100000; i++) {
        clock_step(&r.b->clock, 10000);
        bool now = chip_in(r.b, 0x3da) & 8;
        rises += now && !was;
        was = now;
    }
    assert_in_range(rises, 59, 61);
    rig_free(&r);
}

static void banks_reach_all_memory(void **state)
{
    (void)state;
    Rig r = rig_new();
    mode(&r, 640, 480, 8, 0);
    for (uint16_t bank = 0; bank < 256; bank++) {
        rig_vbe(&r, VBE_BANK, bank);
        rig_poke(&r, 0xa1234, (uint8_t)(bank + 1));
        rig_poke(&r, 0xaffff, (uint8_t)~bank);
    }
    for (uint16_t bank = 0; bank < 256; bank++) {
        rig_vbe(&r, VBE_BANK, bank);
        assert_int_equal(rig_peek(&r, 0xa1234), (uint8_t)(bank + 1));
        assert_int_equal(rig_peek(&r, LFB + bank * 65536u + 0x1234), (uint8_t)(bank + 1));
        assert_int_equal(rig_peek(&r, LFB + bank * 65536u + 0xffff), (uint8_t)~bank);
    }
    assert_true(bus_page(r.b->memory, 0xa0000).ram); /* the window is plain memory by now */
    rig_vbe(&r, VBE_BANK, 0x0103);                   /* cut */
    assert_int_equal(rig_vbe_read(&r, VBE_BANK), 3);
    assert_int_equal(rig_peek(&r, 0xa1234), 4);
    rig_free(&r);
}

static void four_bits_use_the_planes(void **state)
{
    (void)state;
    Rig r = rig_new();
    mode(&r, 800, 600, 4, 0);
    for (unsigned p = 0; p < 4; p++) {
        rig_sr(&r, 2, (uint8_t)(1u << p));
        for (unsigned i = 0; i < 60000; i++) {
            rig_poke(&r, 0xa0000 + i, (uint8_t)(i * (2 * p + 3)));
        }
    }
    rig_vbe(&r, VBE_X_OFFSET, 13);
    rig_frame(&r);
    for (unsigned y = 0; y < 600; y += 7) {
        for (unsigned x = 0; x < 780; x++) {
            unsigned at = x + 13, i = y * 100 + at / 8, color = 0;
            for (unsigned p = 0; p < 4; p++) {
                color |= (i * (2 * p + 3) >> (7 - at % 8) & 1) << p;
            }
            assert_int_equal(rig_pixel(&r, x, y), rig_color(mode_13.ar[color]));
        }
    }
    rig_free(&r);
}

static void palette_of_eight_bits(void **state)
{
    (void)state;
    Rig r = rig_new();
    mode(&r, 640, 480, 8, 0x60);
    rig_dac(&r, 0, 0x81, 0x42, 0xff);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), 0x8142ff);
    rig_vbe(&r, VBE_ENABLE, 0x41);
    rig_dac(&r, 0, 0x81, 0x42, 0xff);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), 0x0408ff); /* six bits: 01h 02h 3Fh */
    rig_free(&r);
}

static void enabling_clears_unless_asked_not_to(void **state)
{
    (void)state;
    Rig r = rig_new();
    mode(&r, 640, 480, 8, 0x40);
    rig_poke(&r, LFB + 5, 7);
    rig_poke(&r, LFB + 0xfffff0, 7);
    mode(&r, 640, 480, 8, 0xc0);
    assert_int_equal(rig_peek(&r, LFB + 5), 7);
    mode(&r, 640, 480, 8, 0x40);
    assert_int_equal(rig_peek(&r, LFB + 5), 0);
    assert_int_equal(rig_peek(&r, LFB + 0xfffff0), 0);
    rig_free(&r);
}

static void bad_values_are_brought_into_range(void **state)
{
    (void)state;
    static const uint16_t values[] = {0, 1, 7, 63, 2047, 2049, 0x7fff, 0xffff};
    for (unsigned i = 0; i < 8; i++) {
        for (unsigned k = 0; k < 8; k++) {
            Rig r = rig_new();
            mode(&r, values[i], values[k], i & 1 ? 32 : 17, 0x40);
            rig_vbe(&r, VBE_VIRT_WIDTH, values[k]);
            rig_vbe(&r, VBE_X_OFFSET, values[i]);
            rig_vbe(&r, VBE_Y_OFFSET, 0xffff);
            assert_in_range(rig_vbe_read(&r, VBE_XRES), 8, 2048);
            assert_in_range(rig_vbe_read(&r, VBE_YRES), 1, 1536);
            assert_true(rig_vbe_read(&r, VBE_VIRT_WIDTH) >= rig_vbe_read(&r, VBE_XRES));
            rig_frame(&r);
            assert_int_equal(r.picture.width, rig_vbe_read(&r, VBE_XRES));
            rig_free(&r);
        }
    }
}

static void a_picture_that_runs_over_the_end_wraps(void **state)
{
    (void)state;
    Rig r = rig_new();
    mode(&r, 1024, 768, 32, 0x40);
    rig_vbe(&r, VBE_Y_OFFSET, 4095); /* 16 MiB are 4096 lines */
    rig_vbe(&r, VBE_X_OFFSET, 1023);
    bus_write(r.b->memory, LFB + 0xfffffc, 0x00112233, 4);
    bus_write(r.b->memory, LFB, 0x00445566, 4);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), 0x112233);
    assert_int_equal(rig_pixel(&r, 1, 0), 0x445566);
    rig_free(&r);
}

static void a_dos_box_that_switches_vbe_off_does_not_take_the_desktop(void **state)
{
    (void)state;
    Rig r = rig_new();
    mode(&r, 640, 480, 8, 0x40);
    rig_poke(&r, LFB, 0x2a);
    rig_vbe(&r, VBE_ENABLE, 0); /* all that reaches the card of the BIOS's mode set */
    rig_dac(&r, 1, 1, 1, 1);
    rig_poke(&r, LFB + 1, 0x2b);
    rig_frame(&r);
    assert_int_equal(r.picture.width, 640);
    assert_int_equal(rig_pixel(&r, 0, 0), rig_color(0x2a));
    assert_int_equal(rig_pixel(&r, 1, 0), rig_color(0x2b));
    assert_int_equal(rig_vbe_read(&r, VBE_ENABLE), 0);
    rig_mode(&r, &mode_03); /* a mode set that does reach it */
    rig_frame(&r);
    assert_int_equal(r.picture.width, 720);
    rig_free(&r);
}

/* While the picture of before lingers its registers are still held to what the card can show. */
static void a_lingering_picture_stays_possible(void **state)
{
    (void)state;
    Rig r = rig_new();
    mode(&r, 640, 480, 32, 0x40);
    rig_vbe(&r, VBE_ENABLE, 0);
    rig_vbe(&r, VBE_VIRT_WIDTH, 0xffff);
    assert_true(vbe_possible(r.vga));
    rig_vbe(&r, VBE_VIRT_WIDTH, 3);
    assert_true(vbe_possible(r.vga));
    rig_frame(&r);
    assert_int_equal(r.picture.width, 640);
    rig_free(&r);
}

static void only_changed_lines_are_shown(void **state)
{
    (void)state;
    Rig r = rig_new();
    mode(&r, 1024, 768, 16, 0x40);
    rig_frame(&r);
    clock_step(&r.b->clock, CLOCK_NS_PER_S);
    assert_false(screen_read(r.screen, &r.picture));
    rig_poke(&r, LFB + 300 * 2048 + 10, 0x55);
    clock_step(&r.b->clock, 40000000);
    assert_true(screen_read(r.screen, &r.picture));
    assert_int_equal(r.picture.changed_first, 300);
    assert_int_equal(r.picture.changed_last, 300);
    rig_free(&r);
}

static void count_watches(void *self, uint32_t first_page, uint32_t pages)
{
    (void)first_page;
    *(unsigned *)self += pages;
}

static void moving_pictures_are_shown_without_being_watched(void **state)
{
    (void)state;
    Rig r = rig_new();
    unsigned watches = 0;
    mode(&r, 640, 480, 8, 0x40);
    rig_frame(&r);
    r.b->ram.listener = (RamListener){.flags_set = count_watches, .self = &watches};
    for (unsigned i = 1; i <= 200; i++) { /* one page, in each frame */
        rig_poke(&r, LFB + 100 * 640, (uint8_t)i);
        clock_step(&r.b->clock, 17000000);
        assert_true(screen_read(r.screen, &r.picture));
        assert_int_equal(rig_pixel(&r, 0, 100), rig_color(i));
        assert_int_equal(r.picture.changed_first, 100);
    }
    assert_in_range(watches, 1, 40);
    clock_step(&r.b->clock, CLOCK_NS_PER_S); /* it rests: watched again */
    watches = 0;
    rig_poke(&r, LFB + 100 * 640 + 1, 1);
    clock_step(&r.b->clock, CLOCK_NS_PER_S);
    assert_true(screen_read(r.screen, &r.picture));
    assert_int_equal(watches, 1);
    rig_free(&r);
}

static void registers_in_memory_and_rom_on_pci(void **state)
{
    (void)state;
    Rig r = {.b = chip_board(), .screen = screen_new()};
    Err err = {""};
    const unsigned card = CHIP_PCI(2, 0);
    PciBus *pci = pci_new(r.b, "pci");
    RamBlock *rom = ram_add(&r.b->ram, "vgabios", 39936, &err);
    ram_at(&r.b->ram, rom->at)[0] = 0x55;
    r.vga = vga_new(r.b, &(VgaConfig){.screen = r.screen, .pci = pci, .pci_device = 2, .rom = rom},
                    "vga", &err);
    board_reset(r.b, RESET_POWER);
    for (unsigned i = 0; i < 3; i++) {
        static const uint32_t at[3] = {0x10, 0x18, 0x30},
                              base[3] = {0xd0000000, 0xd8000000, 0xd9000001};
        chip_set_config(r.b, card, at[i], base[i], 4);
    }
    assert_int_equal(chip_config(r.b, card, 0, 4), 0x11111234);
    chip_set_config(r.b, card, 0x04, 3, 2);
    assert_int_equal(bus_read(r.b->memory, 0xd9000000, 1), 0x55);
    assert_int_equal(bus_read(r.b->memory, 0xd8000000, 8), 0x00ffffffffffff00); /* EDID */
    bus_write(r.b->memory, 0xd8000400 + 0x02, 0x63, 1);                         /* 3C2h */
    assert_int_equal(chip_in(r.b, 0x3cc), 0x63);
    bus_write(r.b->memory, 0xd8000414, 0x1a0f, 2); /* 3D4h */
    assert_int_equal(bus_read(r.b->memory, 0xd8000415, 1), 0x1a);
    bus_write(r.b->memory, 0xd8000500 + 2 * VBE_XRES, 1280, 2);
    assert_int_equal(rig_vbe_read(&r, VBE_XRES), 1280);
    bus_write(r.b->memory, 0xd8000501 + 2 * VBE_XRES, 0x04, 1);
    assert_int_equal(bus_read(r.b->memory, 0xd8000500 + 2 * VBE_XRES, 2), 0x400);
    assert_int_equal(bus_read(r.b->memory, 0xd8000500, 4), 0x0400b0c5);
    mode(&r, 640, 480, 32, 0x40);
    bus_write(r.b->memory, 0xd0000000, 0x123456, 4);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), 0x123456);
    rig_free(&r);
}

/* Random ports, memory and time: nothing may be touched outside video memory (run it under ASan),
 * and nothing may hang. */
static void random_programs_stay_within_bounds(void **state)
{
    (void)state;
    Rig r = rig_new();
    RamBlock *guard = ram_add(&r.b->ram, "guard", 1 << 20, NULL);
    memset(ram_at(&r.b->ram, guard->at), 0xa5, guard->size);
    uint32_t seed = 12345;
    const char *rounds = getenv("VGA_FUZZ_ROUNDS");
    unsigned count = rounds ? (unsigned)atoi(rounds) : 60000;
    for (unsigned i = 0; i < count; i++) {
        uint32_t random[4];
        for (unsigned k = 0; k < 4; k++) {
            seed = seed * 1664525 + 1013904223;
            random[k] = seed >> 8;
        }
        uint8_t value = (uint8_t)random[1];
        switch (random[0] % 16) {
        case 0:
            bus_write(r.b->ports, 0x3b0 + random[2] % 48, random[1], 1u << (random[3] % 3));
            break;
        case 1:
            bus_read(r.b->ports, 0x3b0 + random[2] % 48, 1u << (random[3] % 3));
            break;
        case 2:
            rig_cr(&r, random[2] % 25, value);
            break;
        case 3:
            rig_sr(&r, random[2] % 5, value);
            break;
        case 4:
            rig_gr(&r, random[2] % 9, value);
            break;
        case 5:
            rig_ar(&r, random[2] % 21, value);
            break;
        case 6:
            rig_vbe(&r, random[2] % 12, random[3] & 1 ? value * 8 : (uint16_t)(random[1] >> 3));
            break;
        case 7:
            rig_vbe(&r, random[3] & 1 ? VBE_BPP : VBE_ENABLE, random[3] & 1 ? value & 56 : value);
            break;
        case 8:
            clock_step(&r.b->clock, random[1] % 3000000);
            break;
        case 9:
            rig_poke(&r, LFB + random[2], value);
            break;
        case 10:
            rig_mode(&r, value & 1 ? &mode_03 : &mode_13);
            break;
        default:
            bus_write(r.b->memory, 0xa0000 + random[2] % 0x20000, random[1], 1u << (random[3] % 4));
            bus_read(r.b->memory, 0xa0000 + random[1] % 0x20000, 1u << (random[3] % 4));
            break;
        }
    }
    for (uint32_t i = 0; i < guard->size; i++) {
        assert_int_equal(ram_at(&r.b->ram, guard->at)[i], 0xa5);
    }
    screen_read(r.screen, &r.picture);
    rig_free(&r);
}

/* A state file may hold anything: it is refused, or it runs without harm. */
static void hostile_states_are_refused_or_harmless(void **state)
{
    (void)state;
    uint32_t seed = 99;
    unsigned refused = 0;
    Rig a = rig_new(), b = rig_new();
    for (unsigned round = 0; round < 150; round++) {
        Vga *v = a.vga;
        mode(&a, 640, 480, round & 1 ? 8 : 4, 0x40);
        for (unsigned i = 0; i < 12; i++) {
            seed = seed * 1664525 + 1013904223;
            uint32_t value = seed >> 8, wide = value * 2654435761u;
            switch (value % 14) {
            case 0:
                v->g.cr[wide % CR_COUNT] = (uint8_t)value;
                break;
            case 1:
                v->g.sr[wide % 5] = (uint8_t)value;
                break;
            case 2:
                v->g.gr[wide % 9] = (uint8_t)value;
                break;
            case 3:
                v->g.vbe[wide % VBE_REGISTERS] = (uint16_t)(value >> 4);
                break;
            case 4:
                v->g.row = wide;
                break;
            case 5:
                v->g.next_line = wide;
                break;
            case 6:
                v->g.row_scan = (uint8_t)wide;
                break;
            case 7:
                v->g.frame = (uint64_t)wide << 20;
                break;
            case 8:
                v->g.epoch = (int64_t)((uint64_t)wide << (value & 31));
                break;
            case 9:
                v->g.row_index = wide;
                break;
            case 10:
                v->g.dac_part = (uint8_t)(wide & 3);
                break;
            case 11:
                v->g.sr_index = (uint8_t)wide;
                break;
            case 12:
                v->g.vbe[VBE_BPP] = (uint16_t)wide;
                break;
            default:
                v->g.shown = -(int64_t)((uint64_t)wide << (value & 31));
                break;
            }
        }
        StateIo *saver = state_saver_new();
        size_t size;
        Err err = {""};
        board_state(a.b, saver);
        const uint8_t *bytes = state_finish(saver, &size);
        StateIo *loader = state_loader_new(bytes, size, &err);
        board_state(b.b, loader);
        if (state_ok(loader)) {
            board_restored(b.b);
            clock_step(&b.b->clock, 20000000);
            chip_in(b.b, 0x3da);
            rig_poke(&b, 0xa1234, 1);
        } else {
            refused++;
        }
        state_free(loader);
        state_free(saver);
        board_reset(a.b, RESET_POWER);
        board_reset(b.b, RESET_POWER);
    }
    assert_in_range(refused, 20, 149);
    rig_free(&a);
    rig_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_and_capabilities),
        cmocka_unit_test(every_depth_and_size),
        cmocka_unit_test(refresh_is_60_hz),
        cmocka_unit_test(banks_reach_all_memory),
        cmocka_unit_test(four_bits_use_the_planes),
        cmocka_unit_test(palette_of_eight_bits),
        cmocka_unit_test(enabling_clears_unless_asked_not_to),
        cmocka_unit_test(bad_values_are_brought_into_range),
        cmocka_unit_test(a_picture_that_runs_over_the_end_wraps),
        cmocka_unit_test(a_dos_box_that_switches_vbe_off_does_not_take_the_desktop),
        cmocka_unit_test(a_lingering_picture_stays_possible),
        cmocka_unit_test(only_changed_lines_are_shown),
        cmocka_unit_test(moving_pictures_are_shown_without_being_watched),
        cmocka_unit_test(registers_in_memory_and_rom_on_pci),
        cmocka_unit_test(hostile_states_are_refused_or_harmless),
        cmocka_unit_test(random_programs_stay_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
