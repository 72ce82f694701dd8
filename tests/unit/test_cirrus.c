/* Cirrus GD5446: packed modes, banks, extended write modes, blits of every kind against a plain
 * model, hardware cursor, hidden DAC, DDC, state in mid-blit, random programs.
 *
 * Rows of the guests' trap list: fonts that XFree86 draws by expansion of the processor's data;
 * bounds of the blitter.
 */
#include "tests/unit/vga_rig.h"

#include <stdlib.h>
#include <string.h>

#include "display/cirrus.h"

enum { CARD = CHIP_PCI(2, 0), LFB = 0xd0000000, MMIO = 0xd8000000, VRAM = 4 << 20 };

static Rig cirrus_rig(void)
{
    Rig r = {.b = chip_board(), .screen = screen_new()};
    Err err = {""};
    PciBus *pci = pci_new(r.b, "pci");
    r.vga =
        cirrus_new(r.b, &(VgaConfig){.screen = r.screen, .pci = pci, .pci_device = 2}, "vga", &err);
    if (!r.vga) {
        fail_msg("%s", err.text);
    }
    board_reset(r.b, RESET_POWER);
    return r;
}

static void place(Rig *r)
{
    chip_set_config(r->b, CARD, 0x10, LFB, 4);
    chip_set_config(r->b, CARD, 0x14, MMIO, 4);
    chip_set_config(r->b, CARD, 0x04, 3, 2);
}

static void hidden_dac(Rig *r, uint8_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        chip_in(r->b, 0x3c6);
    }
    chip_out(r->b, 0x3c6, value);
}

/* 640 x 480 from mode 12h's timing, packed. */
static void packed(Rig *r, unsigned bits)
{
    static const uint8_t sr7[5] = {0x01, 0x07, 0x05, 0x09};
    rig_mode(r, &mode_12);
    chip_out(r->b, 0x3c2, 0xe3);
    rig_sr(r, 6, 0x12);
    rig_sr(r, 7, sr7[(bits + 7) / 8 - 1]);
    hidden_dac(r, bits == 15 ? 0xc0 : (bits == 16 ? 0xc1 : (bits == 8 ? 0x00 : 0xc5)));
    unsigned pitch = 640 * ((bits + 7) / 8) / 8;
    rig_cr(r, 0x13, (uint8_t)pitch);
    rig_cr(r, 0x1b, (uint8_t)(0x22 | (pitch >> 4 & 0x10)));
    rig_gr(r, 6, 0x05);
}

static Rig packed_rig(unsigned bits)
{
    Rig r = cirrus_rig();
    place(&r);
    packed(&r, bits);
    return r;
}

static uint8_t *vram(Rig *r)
{
    return ram_at(&r->b->ram, r->b->ram.blocks->at);
}

static void write_gr16(Rig *r, uint8_t index, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        rig_gr(r, (uint8_t)(index + i), (uint8_t)(value >> (8 * i)));
    }
}

/* --- Identity and modes ----------------------------------------------------------------------- */

static void identity(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    assert_int_equal(chip_config(r.b, CARD, 0, 4), 0x00b81013);
    chip_out(r.b, 0x3d4, 0x27);
    assert_int_equal(chip_in(r.b, 0x3d5), 0xb8);
    rig_sr(&r, 6, 0x00);
    assert_int_equal(chip_in(r.b, 0x3c5), 0x0f);
    rig_sr(&r, 6, 0x12);
    assert_int_equal(chip_in(r.b, 0x3c5), 0x12);
    chip_out(r.b, 0x3c4, 0x0f);
    assert_int_equal(chip_in(r.b, 0x3c5) & 0x98, 0x98); /* 4 MiB */
    hidden_dac(&r, 0xe1);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(chip_in(r.b, 0x3c6), 0xff);
    }
    assert_int_equal(chip_in(r.b, 0x3c6), 0xe1);
    assert_int_equal(chip_in(r.b, 0x3c6), 0xff);
    rig_free(&r);
}

static void packed_modes_of_every_depth(void **state)
{
    (void)state;
    static const struct {
        unsigned bits;
        uint32_t value, rgb;
    } cases[] = {{8, 0x2a, 0},
                 {15, 0x7c1f, 0xff00ff},
                 {16, 0x07e0, 0x00ff00},
                 {24, 0x123456, 0x123456},
                 {32, 0xab123456, 0x123456}};
    for (unsigned i = 0; i < 5; i++) {
        unsigned bytes = (cases[i].bits + 7) / 8;
        Rig r = packed_rig(cases[i].bits);
        uint32_t at = LFB + (640 * 100 + 7) * bytes;
        for (unsigned k = 0; k < bytes; k++) {
            rig_poke(&r, at + k, (uint8_t)(cases[i].value >> (8 * k)));
        }
        rig_frame(&r);
        assert_int_equal(r.picture.width, 640);
        assert_int_equal(r.picture.height, 480);
        assert_int_equal(rig_pixel(&r, 7, 100),
                         cases[i].bits == 8 ? rig_color(0x2a) : cases[i].rgb);
        assert_int_equal(rig_pixel(&r, 8, 100), 0);
        rig_free(&r);
    }
}

static void start_address_has_twenty_bits(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    rig_poke(&r, LFB + 4 * 0xe4321, 0x11);
    rig_cr(&r, 0x0c, 0x43);
    rig_cr(&r, 0x0d, 0x21);
    rig_cr(&r, 0x1b, 0x2c | 0x02); /* bits 18-17 and not 16 */
    rig_cr(&r, 0x1d, 0x80);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), rig_color(0x11));
    rig_free(&r);
}

static void clock_doubling_shows_twice_the_pixels(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    rig_sr(&r, 7, 0x17);
    rig_gr(&r, 0x18, 0x20);
    rig_poke(&r, LFB + 639, 0x33);
    rig_frame(&r);
    assert_int_equal(r.picture.width, 1280);
    assert_int_equal(rig_pixel(&r, 639, 0), rig_color(0x33));
    rig_free(&r);
}

/* SeaVGABIOS sets the bit in packed modes and leaves it. */
static void screen_off_counts_with_power_saving(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    rig_poke(&r, LFB, 0x2a);
    rig_sr(&r, 1, 0x21);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), rig_color(0x2a));
    rig_gr(&r, 0x0e, 0x06);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), 0);
    rig_gr(&r, 0x0e, 0x00);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), rig_color(0x2a));
    rig_free(&r);
}

static void clocks_set_the_refresh_rate(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    rig_sr(&r, 0x0e, 0x7e);
    rig_sr(&r, 0x1e, 0x33);
    for (unsigned fast = 0; fast < 2; fast++) {
        chip_out(r.b, 0x3c2, fast ? 0xef : 0xe3); /* VCLK3: 36.082 MHz, else 25.180 MHz */
        unsigned rises = 0;
        bool was = true;
        for (unsigned i = 0; i < 100000; i++) {
            clock_step(&r.b->clock, 10000);
            bool now = chip_in(r.b, 0x3da) & 8;
            rises += now && !was;
            was = now;
        }
        assert_in_range(rises, fast ? 85 : 59, fast ? 86 : 60);
    }
    rig_sr(&r, 0x0e, 0x00); /* a stopped clock does no harm */
    clock_step(&r.b->clock, CLOCK_NS_PER_S);
    rig_free(&r);
}

static void standard_modes_work_as_on_a_vga(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    rig_sr(&r, 7, 0x00);
    rig_mode(&r, &mode_13);
    for (unsigned i = 0; i < 64000; i++) {
        rig_poke(&r, 0xa0000 + i, (uint8_t)(i / 320));
    }
    assert_true(bus_page(r.b->memory, 0xa0000).ram);
    rig_frame(&r);
    assert_int_equal(r.picture.width, 320);
    assert_int_equal(rig_pixel(&r, 0, 399), rig_color(199));
    rig_free(&r);
}

/* --- Memory ----------------------------------------------------------------------------------- */

static void banks_and_apertures(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    for (unsigned i = 0; i < 64; i++) {
        rig_poke(&r, 0xa0000, 0);
    }
    assert_true(bus_page(r.b->memory, 0xa0000).ram);
    rig_gr(&r, 0x09, 0x10); /* 4 KiB steps */
    rig_poke(&r, 0xa0005, 0x71);
    rig_poke(&r, 0xafff5, 0x72);
    assert_int_equal(vram(&r)[0x10005], 0x71);
    assert_int_equal(vram(&r)[0x1fff5], 0x72);
    rig_gr(&r, 0x0b, 0x21); /* two banks, 16 KiB steps */
    rig_gr(&r, 0x09, 0x40);
    rig_gr(&r, 0x0a, 0xfe);
    rig_poke(&r, 0xa0006, 0x73);
    rig_poke(&r, 0xa8006, 0x74);
    assert_int_equal(vram(&r)[0x100006], 0x73);
    assert_int_equal(vram(&r)[0x3f8006], 0x74);
    rig_gr(&r, 0x0a, 0xff); /* the last 16 KiB, then around to 0 */
    rig_poke(&r, 0xac000, 0x75);
    assert_int_equal(vram(&r)[0], 0x75);
    assert_true(bus_page(r.b->memory, LFB).ram);
    assert_int_equal(rig_peek(&r, LFB + 0x100006), 0x73);
    bus_write(r.b->memory, LFB + 0x400010, 0x1234, 2); /* bytes swapped in words */
    assert_int_equal(bus_read(r.b->memory, LFB + 0x10, 2), 0x3412);
    bus_write(r.b->memory, LFB + 0x800010, 0x12345678, 4);
    assert_int_equal(bus_read(r.b->memory, LFB + 0x10, 4), 0x78563412);
    rig_free(&r);
}

static void extended_write_modes_draw_eight_pixels(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    memset(vram(&r), 0x99, 64);
    rig_gr(&r, 0x0b, 0x06); /* by 8, extended write modes */
    rig_gr(&r, 0x00, 0x41);
    rig_gr(&r, 0x01, 0xa2);
    rig_gr(&r, 0x05, 0x44);
    rig_poke(&r, 0xa0001, 0xa5);
    static const uint8_t mode_4[8] = {0xa2, 0x99, 0xa2, 0x99, 0x99, 0xa2, 0x99, 0xa2};
    assert_memory_equal(vram(&r) + 8, mode_4, 8);
    rig_gr(&r, 0x05, 0x45);
    rig_poke(&r, LFB + 1, 0xa5);
    static const uint8_t mode_5[8] = {0xa2, 0x41, 0xa2, 0x41, 0x41, 0xa2, 0x41, 0xa2};
    assert_memory_equal(vram(&r) + 8, mode_5, 8);
    rig_gr(&r, 0x0b, 0x14 | 0x02); /* words */
    rig_gr(&r, 0x10, 0x42);
    rig_gr(&r, 0x11, 0xa3);
    rig_poke(&r, 0xa0001, 0x81);
    static const uint8_t words[16] = {0xa2, 0xa3, 0x41, 0x42, 0x41, 0x42, 0x41, 0x42,
                                      0x41, 0x42, 0x41, 0x42, 0x41, 0x42, 0xa2, 0xa3};
    assert_memory_equal(vram(&r) + 16, words, 16);
    rig_gr(&r, 0x0b, 0x0e); /* eight latches */
    rig_gr(&r, 0x05, 0x41);
    rig_peek(&r, 0xa0001);
    rig_poke(&r, 0xa0007, 0);
    assert_memory_equal(vram(&r) + 56, vram(&r) + 8, 8);
    rig_free(&r);
}

/* --- Blitter ---------------------------------------------------------------------------------- */

typedef struct Job {
    unsigned width, height, target_pitch, source_pitch; /* bytes, rows */
    uint32_t target, source;
    uint8_t mode, rop, extensions, mask;
    uint32_t fore, back;
    uint16_t key;
} Job;

static void load_job(Rig *r, const Job *job)
{
    write_gr16(r, 0x20, job->width - 1, 2);
    write_gr16(r, 0x22, job->height - 1, 2);
    write_gr16(r, 0x24, job->target_pitch, 2);
    write_gr16(r, 0x26, job->source_pitch, 2);
    write_gr16(r, 0x28, job->target, 3);
    write_gr16(r, 0x2c, job->source, 3);
    rig_gr(r, 0x2f, job->mask);
    rig_gr(r, 0x30, job->mode);
    rig_gr(r, 0x32, job->rop);
    rig_gr(r, 0x33, job->extensions);
    write_gr16(r, 0x34, job->key, 2);
    for (unsigned i = 0; i < 4; i++) {
        rig_gr(r, (uint8_t)(i ? 0x0e + 2 * i : 0), (uint8_t)(job->back >> (8 * i)));
        rig_gr(r, (uint8_t)(i ? 0x0f + 2 * i : 1), (uint8_t)(job->fore >> (8 * i)));
    }
}

static void start(Rig *r, const Job *job)
{
    load_job(r, job);
    rig_gr(r, 0x31, 0x02);
}

static uint8_t rop(uint8_t code, uint8_t s, uint8_t d)
{
    static const uint8_t codes[16] = {0x00, 0x05, 0x09, 0x0d, 0x50, 0x06, 0x59, 0x6d,
                                      0x90, 0x95, 0x0b, 0xad, 0xd0, 0xd6, 0xda, 0x0e};
    /* truth tables in X11's order: bits for (s d) = 00 01 10 11, lowest last */
    static const uint8_t table[16] = {0x0, 0x8, 0x4, 0xc, 0x2, 0xa, 0x6, 0xe,
                                      0x1, 0x9, 0x5, 0xd, 0x3, 0xb, 0x7, 0xf};
    uint8_t out = 0;
    for (unsigned i = 0; i < 16; i++) {
        for (unsigned bit = 0; codes[i] == code && bit < 8; bit++) {
            unsigned row = (s >> bit & 1) << 1 | (d >> bit & 1);
            out |= (uint8_t)((table[i] >> row & 1) << bit);
        }
    }
    return out;
}

static uint32_t seed = 1;

static uint32_t next(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

static uint8_t *scramble(Rig *r)
{
    uint8_t *copy = malloc(VRAM);
    for (unsigned i = 0; i < 0x20000; i++) {
        vram(r)[i] = (uint8_t)next();
    }
    memcpy(copy, vram(r), VRAM);
    return copy;
}

static void expect(Rig *r, uint8_t *model)
{
    assert_memory_equal(vram(r), model, VRAM);
    free(model);
}

static const uint8_t all_rops[16] = {0x00, 0x05, 0x06, 0x09, 0x0b, 0x0d, 0x0e, 0x50,
                                     0x59, 0x6d, 0x90, 0x95, 0xad, 0xd0, 0xd6, 0xda};

static void copies_with_every_raster_operation(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    for (unsigned i = 0; i < 16; i++) {
        uint8_t *model = scramble(&r);
        Job job = {.width = 77,
                   .height = 9,
                   .target_pitch = 640,
                   .source_pitch = 333,
                   .target = 0x5003,
                   .source = 0x1111,
                   .rop = all_rops[i]};
        start(&r, &job);
        for (unsigned y = 0; y < 9; y++) {
            for (unsigned x = 0; x < 77; x++) {
                uint8_t *d = &model[0x5003 + y * 640 + x];
                *d = rop(all_rops[i], model[0x1111 + y * 333 + x], *d);
            }
        }
        expect(&r, model);
        assert_false(chip_in(r.b, 0x3cf) & 1);
    }
    rig_free(&r);
}

static void backward_copies_move_overlapping_areas(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    uint8_t *model = scramble(&r), *before = malloc(VRAM);
    memcpy(before, model, VRAM);
    Job job = {.width = 200,
               .height = 50,
               .target_pitch = 640,
               .source_pitch = 640,
               .target = 640 * 52 + 210,
               .source = 640 * 49 + 199,
               .mode = 0x01,
               .rop = 0x0d};
    start(&r, &job);
    for (unsigned y = 0; y < 50; y++) {
        memcpy(model + (y + 3) * 640 + 11, before + y * 640, 200);
    }
    free(before);
    expect(&r, model);
    rig_free(&r);
}

static void key_colour_is_not_written(void **state)
{
    (void)state;
    for (unsigned bytes = 1; bytes <= 2; bytes++) {
        Rig r = packed_rig(bytes * 8);
        uint8_t *model = scramble(&r);
        for (unsigned i = 0; i < 64; i += 2 * bytes) {
            memset(vram(&r) + 0x1000 + i, 0x5a, bytes);
            memset(model + 0x1000 + i, 0x5a, bytes);
        }
        Job job = {.width = 64,
                   .height = 1,
                   .target = 0x3000,
                   .source = 0x1000,
                   .rop = 0x0d,
                   .mode = (uint8_t)(0x08 | (bytes - 1) << 4),
                   .key = 0x5a5a};
        start(&r, &job);
        for (unsigned i = 0; i < 64; i++) {
            if (memcmp(&model[0x1000 + i / bytes * bytes], "ZZ", bytes) != 0) { /* 5Ah */
                model[0x3000 + i] = model[0x1000 + i];
            }
        }
        expect(&r, model);
        rig_free(&r);
    }
}

/* The model of a monochrome source. */
static void expand_model(uint8_t *model, const Job *job, unsigned y, const uint8_t *bits,
                         unsigned period)
{
    unsigned step = (job->mode >> 4 & 3) + 1;
    unsigned left = step == 3 ? job->mask & 31 : (job->mask & 7) * step;
    for (unsigned i = 0; i < job->width; i++) {
        unsigned bit = i / step % period;
        bool set = bits[bit / 8] & 0x80 >> bit % 8;
        bool clear = job->mode & 8 && set == ((job->extensions & 2) != 0);
        uint8_t *d = &model[job->target + y * job->target_pitch + i];
        if (i >= left && !clear) {
            *d = rop(job->rop, (uint8_t)((set ? job->fore : job->back) >> (8 * (i % step))), *d);
        }
    }
}

static void colour_expansion_from_video_memory(void **state)
{
    (void)state;
    for (unsigned step = 1; step <= 4; step++) {
        Rig r = packed_rig(8);
        for (unsigned variant = 0; variant < 8; variant++) {
            uint8_t *model = scramble(&r);
            Job job = {.width = 37 * step,
                       .height = 7,
                       .target_pitch = 1024,
                       .target = 0x8001,
                       .source = 0x200,
                       .mode = (uint8_t)(0x80 | (step - 1) << 4),
                       .rop = variant & 1 ? 0x59 : 0x0d,
                       .fore = 0x11223344,
                       .back = 0xaabbccdd};
            job.mode |= variant & 2 ? 0x08 : 0;
            job.extensions = variant & 4 ? 0x02 : 0;
            job.extensions = variant & 2 ? job.extensions : 0;
            job.mask = (uint8_t)(variant & 1 ? (step == 3 ? 9 : 3) : 0);
            start(&r, &job);
            for (unsigned y = 0; y < 7; y++) {
                expand_model(model, &job, y, model + 0x200 + y * 5, 4096);
            }
            expect(&r, model);
        }
        rig_free(&r);
    }
}

static void patterns_repeat_every_eight_pixels(void **state)
{
    (void)state;
    for (unsigned step = 1; step <= 4; step++) {
        Rig r = packed_rig(8);
        for (unsigned mono = 0; mono < 2; mono++) {
            uint8_t *model = scramble(&r);
            Job job = {.width = 45 * step,
                       .height = 20,
                       .target_pitch = 1000,
                       .target = 0x9000,
                       .source = 0x4000 + 3,
                       .mode = (uint8_t)(0x40 | (step - 1) << 4),
                       .rop = 0x59,
                       .fore = 0x01020304,
                       .back = 0xf0e0d0c0};
            job.mode |= mono ? 0x80 : 0;
            start(&r, &job);
            for (unsigned y = 0; y < 20; y++) {
                unsigned row = (y + 3) % 8, stride = step == 3 ? 32 : 8 * step;
                if (mono) {
                    expand_model(model, &job, y, model + 0x4000 + row, 8);
                }
                for (unsigned i = 0; !mono && i < job.width; i++) {
                    uint8_t *d = &model[0x9000 + y * 1000 + i];
                    *d ^= model[0x4000 + row * stride + i % (8 * step)];
                }
            }
            expect(&r, model);
        }
        rig_free(&r);
    }
}

static void solid_fills_use_the_foreground(void **state)
{
    (void)state;
    Rig r = packed_rig(24);
    uint8_t *model = scramble(&r);
    Job job = {.width = 30,
               .height = 3,
               .target_pitch = 640 * 3,
               .target = 0x6000,
               .mode = 0xe0,
               .rop = 0x0d,
               .extensions = 0x04,
               .fore = 0x332211};
    start(&r, &job);
    for (unsigned y = 0; y < 3; y++) {
        for (unsigned i = 0; i < 30; i++) {
            model[0x6000 + y * 1920 + i] = (uint8_t)(0x11 * (i % 3 + 1));
        }
    }
    expect(&r, model);
    rig_free(&r);
}

static void data_from_the_processor_goes_to_the_blitter(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    for (unsigned where = 0; where < 3; where++) {
        static const uint32_t port[3] = {0xa0000, LFB, LFB + 0x1000000};
        uint8_t *model = scramble(&r);
        Job job = {.width = 13,
                   .height = 3,
                   .target_pitch = 640,
                   .target = 0x7000,
                   .mode = 0x04,
                   .rop = 0x0d};
        start(&r, &job);
        assert_true(chip_in(r.b, 0x3cf) & 1);
        for (unsigned i = 0; i < 12; i++) { /* rows are padded to doublewords */
            assert_true(chip_in(r.b, 0x3cf) & 1);
            bus_write(r.b->memory, port[where] + 4 * (i & 1), 0x03020100 + 0x04040404 * i, 4);
        }
        assert_false(chip_in(r.b, 0x3cf) & 1);
        for (unsigned y = 0; y < 3; y++) {
            for (unsigned x = 0; x < 13; x++) {
                model[0x7000 + y * 640 + x] = (uint8_t)(y * 16 + x);
            }
        }
        expect(&r, model);
        bus_write(r.b->memory, LFB + 8, 0x5a, 1); /* memory again */
        assert_int_equal(vram(&r)[8], 0x5a);
    }
    rig_free(&r);
}

/* Rows of bits follow one another without gaps, or each on a doubleword of its own; the rest of
 * the last doubleword is dropped and does not reach memory. */
static void expansion_of_data_from_the_processor(void **state)
{
    (void)state;
    Rig r = packed_rig(16);
    for (unsigned words = 0; words < 2; words++) {
        uint8_t *model = scramble(&r);
        Job job = {.width = 21 * 2,
                   .height = 3,
                   .target_pitch = 1280,
                   .target = 0x7000,
                   .mode = 0x94,
                   .rop = 0x0d,
                   .extensions = (uint8_t)words,
                   .fore = 0x1234,
                   .back = 0x5678};
        uint8_t data[12];
        for (unsigned i = 0; i < 12; i++) {
            data[i] = (uint8_t)next();
        }
        start(&r, &job);
        for (unsigned i = 0; i < 3; i++) {
            uint32_t word = data[4 * i] | data[4 * i + 1] << 8 | data[4 * i + 2] << 16 |
                            (uint32_t)data[4 * i + 3] << 24;
            bus_write(r.b->memory, LFB + 0x100, word, 4);
        }
        rig_gr(&r, 0x31, 0x00);
        assert_false(chip_in(r.b, 0x3cf) & 1);
        for (unsigned y = 0; y < 3; y++) {
            expand_model(model, &job, y, data + y * (words ? 4 : 3), 4096);
        }
        expect(&r, model);
    }
    rig_free(&r);
}

static void registers_in_memory_and_autostart(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    uint8_t *model = scramble(&r);
    bus_write(r.b->memory, MMIO + 0x100 + 0x40, 0x80, 4); /* autostart */
    bus_write(r.b->memory, MMIO + 0x108, 4 << 16 | 9, 4);
    bus_write(r.b->memory, MMIO + 0x10c, 700 << 16 | 640, 4);
    bus_write(r.b->memory, MMIO + 0x114, 0x100, 4);
    bus_write(r.b->memory, MMIO + 0x118, 0x0d0000, 4);
    bus_write(r.b->memory, MMIO + 0x110, 0x4000, 4); /* the third byte starts it */
    for (unsigned y = 0; y < 5; y++) {
        memcpy(model + 0x4000 + y * 640, model + 0x100 + y * 700, 10);
    }
    expect(&r, model);
    assert_int_equal(bus_read(r.b->memory, MMIO + 0x108, 4), 4 << 16 | 9);
    bus_write(r.b->memory, MMIO + 2, 0x63, 1); /* port 3C2h */
    assert_int_equal(chip_in(r.b, 0x3cc), 0x63);
    rig_sr(&r, 0x17, 0x04); /* at B8000h */
    rig_poke(&r, 0xb8009, 0x12);
    assert_int_equal(bus_read(r.b->memory, MMIO + 0x109, 1), 0x12);
    rig_sr(&r, 0x17, 0x44); /* at the end of the frame buffer */
    rig_poke(&r, LFB + VRAM - 256 + 8, 0x34);
    assert_int_equal(bus_read(r.b->memory, MMIO + 0x108, 1), 0x34);
    rig_free(&r);
}

static void blits_wrap_at_the_end_of_memory(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    memset(vram(&r), 1, VRAM);
    Job job = {.width = 8192,
               .height = 2048,
               .target_pitch = 0x1fff,
               .target = VRAM - 100,
               .mode = 0xc0,
               .rop = 0x0d,
               .extensions = 0x04,
               .fore = 0x77};
    start(&r, &job);
    for (unsigned i = 0; i < VRAM; i++) {
        if (vram(&r)[i] != 0x77) {
            fail_msg("byte %u", i);
        }
    }
    rig_free(&r);
}

/* --- Cursor ----------------------------------------------------------------------------------- */

static void cursor_draws_over_the_picture(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    memset(vram(&r), 5, 640 * 480);
    uint8_t *pattern = vram(&r) + VRAM - 0x4000 + 0x3c * 256;
    pattern[0] = 0x50; /* plane 0: .x.x */
    pattern[8] = 0x30; /* plane 1: ..xx */
    rig_sr(&r, 0x12, 0x02);
    rig_dac(&r, 0, 63, 0, 0);
    rig_dac(&r, 15, 0, 63, 0);
    rig_sr(&r, 0x12, 0x05);
    rig_sr(&r, 0x13, 0x3f);
    rig_sr(&r, 0x10 | 3 << 5, 10); /* x: 83 */
    rig_sr(&r, 0x11 | 1 << 5, 20); /* y: 161 */
    rig_frame(&r);
    uint32_t back = rig_color(5);
    assert_int_equal(rig_pixel(&r, 83, 161), back);
    assert_int_equal(rig_pixel(&r, 84, 161), back ^ 0xffffff);
    assert_int_equal(rig_pixel(&r, 85, 161), 0xff0000);
    assert_int_equal(rig_pixel(&r, 86, 161), 0x00ff00);
    assert_int_equal(rig_pixel(&r, 87, 161), back);
    rig_sr(&r, 0x10 | 0 << 5, 79); /* x: 632, cut at the right */
    rig_sr(&r, 0x11 | 7 << 5, 59); /* y: 479 */
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 84, 161), back);
    assert_int_equal(rig_pixel(&r, 634, 479), 0xff0000);
    assert_int_equal(r.picture.changed_first, 161);
    rig_sr(&r, 0x12, 0x01); /* 32 x 32: planes of 128 bytes, pattern 3Fh */
    uint8_t *small = vram(&r) + VRAM - 256;
    small[4] = 0xff;
    small[128 + 4] = 0x0f;
    rig_sr(&r, 0x10, 0);
    rig_sr(&r, 0x11, 0);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 0, 0), back);
    assert_int_equal(rig_pixel(&r, 0, 1), back ^ 0xffffff);
    assert_int_equal(rig_pixel(&r, 7, 1), 0x00ff00);
    rig_sr(&r, 0x12, 0x00);
    rig_frame(&r);
    assert_int_equal(rig_pixel(&r, 7, 1), back);
    rig_free(&r);
}

/* --- DDC -------------------------------------------------------------------------------------- */

static void wires(Rig *r, bool clock, bool data)
{
    rig_sr(r, 0x08, (uint8_t)(0xfc | (clock ? 1 : 0) | (data ? 2 : 0)));
}

static bool data_wire(Rig *r)
{
    chip_out(r->b, 0x3c4, 0x08);
    return chip_in(r->b, 0x3c5) & 0x80;
}

static bool bit(Rig *r, bool data)
{
    wires(r, false, data);
    wires(r, true, data);
    bool seen = data_wire(r);
    wires(r, false, data);
    return seen;
}

/* True when the slave acknowledged. */
static bool send(Rig *r, uint8_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        bit(r, value >> (7 - i) & 1);
    }
    return !bit(r, true);
}

static uint8_t receive(Rig *r, bool more)
{
    uint8_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value = (uint8_t)(value << 1 | bit(r, true));
    }
    bit(r, !more);
    return value;
}

static void begin(Rig *r)
{
    wires(r, true, true);
    wires(r, true, false);
    wires(r, false, false);
}

static void end(Rig *r)
{
    wires(r, false, false);
    wires(r, true, false);
    wires(r, true, true);
}

static void edid_is_read_over_ddc(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    begin(&r);
    assert_false(send(&r, 0x60)); /* nobody there */
    end(&r);
    begin(&r);
    assert_true(send(&r, 0xa0));
    assert_true(send(&r, 0x00));
    begin(&r);
    assert_true(send(&r, 0xa1));
    uint8_t edid[128], sum = 0;
    for (unsigned i = 0; i < 128; i++) {
        edid[i] = receive(&r, i < 127);
        sum = (uint8_t)(sum + edid[i]);
    }
    end(&r);
    assert_memory_equal(edid, "\0\xff\xff\xff\xff\xff\xff\0", 8);
    assert_int_equal(sum, 0);
    assert_int_equal(edid[54 + 2] | (edid[54 + 4] & 0xf0) << 4, 1024);
    assert_true(data_wire(&r)); /* released */
    begin(&r);
    assert_true(send(&r, 0xa0));
    assert_true(send(&r, 0x12));
    end(&r);
    begin(&r);
    assert_true(send(&r, 0xa1));
    assert_int_equal(receive(&r, false), 1); /* version */
    end(&r);
    rig_free(&r);
}

/* --- State and bounds ------------------------------------------------------------------------- */

static void state_moves_in_mid_blit(void **state)
{
    (void)state;
    Rig a = packed_rig(8), b = cirrus_rig();
    Job job = {
        .width = 16, .height = 3, .target_pitch = 640, .target = 0x7000, .mode = 0x04, .rop = 0x0d};
    start(&a, &job);
    for (uint32_t i = 0; i < 6; i++) {
        bus_write(a.b->memory, LFB, 0x01010101 * (i + 1), 4);
    }
    bus_write(a.b->memory, LFB, 0x77, 1);
    memcpy(b.b->ram.host, a.b->ram.host, a.b->ram.used);
    chip_state_round_trip(a.b, b.b);
    for (unsigned k = 0; k < 2; k++) {
        Rig *r = k ? &b : &a;
        for (uint32_t i = 0; i < 6; i++) {
            bus_write(r->b->memory, LFB, 0x11111111 * (i + 1), 4);
        }
        bus_write(r->b->memory, LFB + 0x20000, 0x99, 1);
        assert_int_equal(vram(r)[0x20000], 0x99);
        rig_frame(r);
    }
    assert_memory_equal(vram(&a), vram(&b), VRAM);
    assert_int_equal(vram(&a)[0x7000 + 640 + 8], 0x77);
    assert_memory_equal(a.picture.pixels, b.picture.pixels, 640 * 480 * 4);
    rig_free(&a);
    rig_free(&b);
}

static void random_programs_stay_within_bounds(void **state)
{
    (void)state;
    Rig r = packed_rig(8);
    RamBlock *guard = ram_add(&r.b->ram, "guard", 1 << 20, NULL);
    memset(ram_at(&r.b->ram, guard->at), 0xa5, guard->size);
    const char *rounds = getenv("VGA_FUZZ_ROUNDS");
    unsigned count = rounds ? (unsigned)atoi(rounds) : 20000;
    seed = 777;
    for (unsigned i = 0; i < count; i++) {
        uint8_t value = (uint8_t)next();
        switch (next() % 12) {
        case 0:
            rig_sr(&r, (uint8_t)next(), value);
            break;
        case 1:
            rig_gr(&r, (uint8_t)(next() % 64), value);
            break;
        case 2:
            rig_cr(&r, (uint8_t)(next() % 64), value);
            break;
        case 3:
            rig_gr(&r, (uint8_t)(0x20 + next() % 0x16), value);
            break;
        case 4:
            rig_gr(&r, 0x23, value & 1); /* else most time goes into large blits */
            rig_gr(&r, 0x31, value);
            break;
        case 5:
            hidden_dac(&r, value);
            break;
        case 6:
            clock_step(&r.b->clock, next() % 3000000);
            break;
        case 7:
            packed(&r, value & 1 ? 8 : 16);
            break;
        case 8:
            bus_write(r.b->memory, MMIO + next() % 0x200, next(), 1u << next() % 3);
            bus_read(r.b->memory, MMIO + next() % 0x200, 1u << next() % 3);
            break;
        case 9:
            bus_write(r.b->memory, 0xa0000 + next() % 0x20000, next(), 1u << next() % 4);
            bus_read(r.b->memory, 0xa0000 + next() % 0x20000, 1u << next() % 4);
            break;
        default:
            bus_write(r.b->memory, LFB + next() % 0x2000000, next(), 1u << next() % 4);
            bus_read(r.b->memory, LFB + next() % 0x2000000, 1u << next() % 4);
            break;
        }
    }
    for (uint32_t i = 0; i < guard->size; i++) {
        assert_int_equal(ram_at(&r.b->ram, guard->at)[i], 0xa5);
    }
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity),
        cmocka_unit_test(packed_modes_of_every_depth),
        cmocka_unit_test(start_address_has_twenty_bits),
        cmocka_unit_test(clock_doubling_shows_twice_the_pixels),
        cmocka_unit_test(screen_off_counts_with_power_saving),
        cmocka_unit_test(clocks_set_the_refresh_rate),
        cmocka_unit_test(standard_modes_work_as_on_a_vga),
        cmocka_unit_test(banks_and_apertures),
        cmocka_unit_test(extended_write_modes_draw_eight_pixels),
        cmocka_unit_test(copies_with_every_raster_operation),
        cmocka_unit_test(backward_copies_move_overlapping_areas),
        cmocka_unit_test(key_colour_is_not_written),
        cmocka_unit_test(colour_expansion_from_video_memory),
        cmocka_unit_test(patterns_repeat_every_eight_pixels),
        cmocka_unit_test(solid_fills_use_the_foreground),
        cmocka_unit_test(data_from_the_processor_goes_to_the_blitter),
        cmocka_unit_test(expansion_of_data_from_the_processor),
        cmocka_unit_test(registers_in_memory_and_autostart),
        cmocka_unit_test(blits_wrap_at_the_end_of_memory),
        cmocka_unit_test(cursor_draws_over_the_picture),
        cmocka_unit_test(edid_is_read_over_ddc),
        cmocka_unit_test(state_moves_in_mid_blit),
        cmocka_unit_test(random_programs_stay_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
