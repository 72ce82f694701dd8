/* Fuzzing of the display cards: bytes of input are port and memory accesses, whole set-ups of
 * modes and blits, looks at the picture, and time.
 *
 * FUZZ_DEVICE: "vga" (standard card and Cirrus, registers and planes), "blitter" (Cirrus blits of
 * every kind) or "vbe" (the standard card's extension and its frame buffer). Video memory is the
 * only readable part of the board's memory besides a page of RAM, so that any access outside of it
 * ends the run. What must hold besides: no hang, pictures of sane sizes, a board loaded from the
 * state at any moment does the same from there on, and the lines that were drawn as they changed
 * make the picture that drawing it all anew makes. FUZZ_LAST=FILE keeps the input that runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "chipset/pci.h"
#include "display/cirrus.h"
#include "display/vga_internal.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_rig.h"
#include "tests/unit/vga_rig.h"

#ifndef FUZZ_DEVICE
#define FUZZ_DEVICE "vga"
#endif

enum {
    DEVICE = 2,
    GUARD = 1 << 20, /* bytes before video memory; behind it all is guard */
    LFB = 0x10000000,
    MMIO = 0x20000000,
    APERTURE = 0x2000000, /* the Cirrus's; the standard card's is as large as its memory */
    ISA_LFB = 0x3ff00000, /* no power of two above it */
    INPUT_MAX = 1 << 14,
    FRAME_NS = 17000000, /* a frame of most modes */
};

typedef enum Target { VGA, BLITTER, VBE } Target;

typedef struct Card {
    Rig rig;
    const RamBlock *ram, *vram;
    bool cirrus, isa;
    uint32_t interrupts; /* rises */
    uint32_t vram_size, lfb, lfb_size;
} Card;

static uint64_t take_wide(Input *in, unsigned bytes)
{
    uint64_t low = take_value(in, bytes < 4 ? bytes : 4);
    return bytes == 8 ? low | (uint64_t)take_value(in, 4) << 32 : low;
}

static Target target(void)
{
    return strcmp(FUZZ_DEVICE, "blitter") == 0 ? BLITTER
           : strcmp(FUZZ_DEVICE, "vbe") == 0   ? VBE
                                               : VGA;
}

/* --- The board ------------------------------------------------------------------------------- */

static void interrupted(void *sink, unsigned pin, bool level)
{
    (void)pin;
    ((Card *)sink)->interrupts += level;
}

static void place(Card *c)
{
    if (!c->isa) {
        fuzz_config(c->rig.b, DEVICE, 0x10, LFB);
        fuzz_config(c->rig.b, DEVICE, c->cirrus ? 0x14 : 0x18, MMIO);
        fuzz_config(c->rig.b, DEVICE, 0x04, 3);
    }
}

/* All memory but the given blocks ends the run when it is touched. */
static void guard(Card *c)
{
    Ram *ram = &c->rig.b->ram;
    uint32_t end = c->vram->at + c->vram->size;
    if (mprotect(ram->host, RAM_LIMIT, PROT_NONE) < 0 ||
        mprotect(ram->host + c->ram->at, c->ram->size, PROT_READ | PROT_WRITE) < 0 ||
        mprotect(ram->host + c->vram->at, end - c->vram->at, PROT_READ | PROT_WRITE) < 0) {
        perror("mprotect");
        exit(1);
    }
}

/* style: bit 0 the card, bits 2-1 the size of memory, bit 3 ISA. */
static void build(Card *c, uint8_t style)
{
    static const uint8_t mib[4] = {1, 1, 2, 4};
    Err err = {""};
    memset(c, 0, sizeof(*c));
    Board *b = fuzz_board(RAM_PAGE, &c->ram);
    c->cirrus = target() == BLITTER || (target() == VGA && style & 1);
    c->isa = !c->cirrus && style & 8;
    c->rig = (Rig){.b = b, .screen = screen_new()};
    fuzz_block(b, "guard", GUARD);
    VgaConfig config = {.screen = c->rig.screen,
                        .vram_mib = mib[style >> 1 & 3],
                        .lfb_base = ISA_LFB,
                        .irq = {interrupted, c, 0}};
    if (!c->isa) {
        config.pci = pci_new(b, "pci");
        config.pci_device = DEVICE;
    }
    c->rig.vga = c->cirrus ? cirrus_new(b, &config, "vga", &err) : vga_new(b, &config, "vga", &err);
    if (!c->rig.vga || !c->rig.screen) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    c->vram = c->rig.vga->vram;
    c->vram_size = c->vram->size;
    c->lfb = c->isa ? ISA_LFB : LFB;
    c->lfb_size = c->cirrus ? APERTURE : c->vram_size;
    guard(c);
    board_reset(b, RESET_POWER);
    place(c);
}

static void destroy(Card *c)
{
    rig_free(&c->rig);
}

/* --- Steps ----------------------------------------------------------------------------------- */

/* Mostly near an edge of what there is, or where the picture is. */
static uint32_t take_place(Input *in, uint32_t size)
{
    uint8_t how = take(in);
    uint32_t value = take_value(in, 3);
    switch (how & 7) {
    case 0:
        return value & 0xff;
    case 1:
        return (size - 1 - (value & 0x1f)) % size;
    case 2: /* about a bank's or a page's end */
        return ((value & ~0xfffu) + (value & 0xf) - 8) % size;
    case 3:
        return (size / 2 - 8 + (value & 0xf)) % size;
    default:
        return ((uint32_t)(how >> 3) << 20 ^ value) % size;
    }
}

static unsigned take_bytes(uint8_t how)
{
    return 1u << (how & 3);
}

static uint32_t memory_access(Card *c, Input *in, uint64_t base, uint32_t size)
{
    uint8_t how = take(in);
    unsigned bytes = take_bytes(how), count = how & 0x40 ? take(in) : 1;
    uint64_t at = base + take_place(in, size);
    uint64_t value = how & 4 ? take_wide(in, bytes) : 0;
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++, at += bytes) { /* as REP STOS or LODS */
        if (how & 4) {
            bus_write(c->rig.b->memory, at, value, bytes);
            value = value * 0x9e3779b97f4a7c15u + i;
        } else {
            sum = sum * 31 + bus_read(c->rig.b->memory, at, bytes);
        }
    }
    return (uint32_t)(sum ^ sum >> 32);
}

static uint32_t master_access(Card *c, Input *in)
{
    uint8_t data[256] = {0}, how = take(in);
    uint32_t at = take_place(in, c->lfb_size), sum = 0;
    memset(data, how, sizeof(data));
    bus_dma(c->rig.b->memory, (how & 2 ? 0xa0000u : c->lfb) + at, data, how, how & 1);
    for (unsigned i = 0; i < sizeof(data); i++) {
        sum = sum * 31 + data[i];
    }
    return sum;
}

static uint32_t port_access(Card *c, Input *in)
{
    uint8_t where = take(in);
    uint16_t port = (uint16_t)(where & 0x80 ? 0x1ce + where % 4 : 0x3b0 + where % 0x30);
    unsigned bytes = where & 0x40 ? 2 : 1;
    uint8_t how = take(in);
    if (how & 1) {
        return (uint32_t)bus_read(c->rig.b->ports, port, bytes);
    }
    bus_write(c->rig.b->ports, port, take_value(in, bytes), bytes);
    return 0;
}

static void register_write(Card *c, Input *in)
{
    uint8_t index = take(in), value = take(in);
    Rig *r = &c->rig;
    switch (index >> 6) {
    case 0:
        rig_sr(r, index & 0x1f, value);
        break;
    case 1: /* a blit's height is kept low: else all time goes into large ones */
        index &= 0x3f;
        rig_gr(r, index, index == 0x23 && value < 0xf0 ? 0 : value);
        break;
    case 2:
        rig_cr(r, index & 0x3f, value);
        break;
    default:
        rig_ar(r, index & 0x1f, value);
        break;
    }
}

static void standard_mode(Card *c, Input *in)
{
    static const VgaMode *const modes[8] = {&mode_03, &mode_04, &mode_06, &mode_12,
                                            &mode_13, &mode_x,  &mode_03, &mode_12};
    uint8_t which = take(in);
    rig_mode(&c->rig, modes[which & 7]);
    rig_sr(&c->rig, 7, 0);
    if (which & 8) { /* monochrome ports */
        bus_write(c->rig.b->ports, 0x3c2, modes[which & 7]->misc & 0xfe, 1);
    }
}

static void palette(Card *c, Input *in)
{
    uint8_t first = take(in), count = take(in) & 31;
    bus_write(c->rig.b->ports, first & 1 ? 0x3c7 : 0x3c8, first, 1);
    for (unsigned i = 0; i < count; i++) {
        if (first & 2) {
            bus_read(c->rig.b->ports, 0x3c9, 1);
        } else {
            bus_write(c->rig.b->ports, 0x3c9, take(in), 1);
        }
    }
}

/* The Cirrus's register behind four reads of the palette mask. */
static void hidden_dac(Card *c, uint8_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        bus_read(c->rig.b->ports, 0x3c6, 1);
    }
    bus_write(c->rig.b->ports, 0x3c6, value, 1);
}

/* A packed mode of the Cirrus as drivers set it. */
static void packed_mode(Card *c, Input *in)
{
    static const uint8_t sr7[4] = {0xf1, 0xf7, 0xf5, 0xf9}, dac[4] = {0x00, 0xc1, 0xc5, 0xc5};
    uint8_t which = take(in);
    unsigned pitch = 80u * ((which & 3) + 1);
    rig_mode(&c->rig, which & 4 ? &mode_13 : &mode_12);
    rig_sr(&c->rig, 7, sr7[which & 3]);
    hidden_dac(c, which & 8 ? 0xc0 : dac[which & 3]);
    rig_cr(&c->rig, 0x13, (uint8_t)pitch);
    rig_cr(&c->rig, 0x1b, (uint8_t)(0x22 | (pitch >> 4 & 0x10)));
    rig_gr(&c->rig, 6, 0x05);
    rig_sr(&c->rig, 0x12, which >> 4 & 5);
    rig_sr(&c->rig, 0x17, which & 0x20 ? 0x44 : which & 0x80 ? 0x04 : 0);
}

static void gr_word(Card *c, uint8_t index, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        rig_gr(&c->rig, (uint8_t)(index + i), (uint8_t)(value >> 8 * i));
    }
}

/* A size or pitch: mostly small, at times the greatest there is. */
static uint32_t take_extent(Input *in, uint32_t greatest)
{
    uint32_t value = take_value(in, 2);
    switch (value >> 13) {
    case 0:
        return greatest - (value & 7);
    case 1:
        return 0;
    case 2:
        return value & greatest;
    default:
        return value & 0xff;
    }
}

/* Every register of a blit, and the data that it asks for. */
static void blit(Card *c, Input *in)
{
    static const uint8_t rops[16] = {0x00, 0x05, 0x06, 0x09, 0x0b, 0x0d, 0x0e, 0x50,
                                     0x59, 0x6d, 0x90, 0x95, 0xad, 0xd0, 0xd6, 0xda};
    uint8_t how = take(in), mode = take(in), rop = take(in);
    uint32_t height = take_extent(in, 0x7ff);
    gr_word(c, 0x20, take_extent(in, 0x1fff), 2);
    gr_word(c, 0x22, how & 0x10 ? height : height & 0x1f, 2);
    gr_word(c, 0x24, take_extent(in, 0x1fff), 2);
    gr_word(c, 0x26, take_extent(in, 0x1fff), 2);
    gr_word(c, 0x2c, take_place(in, how & 1 ? 0x400000 : c->vram_size), 3);
    rig_gr(&c->rig, 0x2f, how & 2 ? take(in) : 0);
    rig_gr(&c->rig, 0x30, how & 4 ? mode : mode & ~0x02);
    rig_gr(&c->rig, 0x32, rop & 0x80 ? rop : rops[rop & 15]);
    rig_gr(&c->rig, 0x33, how & 8 ? take(in) : 0);
    rig_gr(&c->rig, 0x34, rop);
    rig_gr(&c->rig, 0x35, mode);
    rig_gr(&c->rig, 0x00, mode);
    rig_gr(&c->rig, 0x01, rop);
    rig_gr(&c->rig, 0x10, how);
    rig_gr(&c->rig, 0x11, (uint8_t)height);
    gr_word(c, 0x28, take_place(in, how & 1 ? 0x400000 : c->vram_size), 3);
    rig_gr(&c->rig, 0x31, how & 0x20 ? 0x80 : 0x02);
    if (how & 0x20) { /* starts by itself with the last byte of the target's address */
        rig_gr(&c->rig, 0x2a, rop & 0x3f);
    }
    if (mode & 4) {
        unsigned count = take(in) << (how >> 6);
        uint64_t at = how & 0x40 ? 0xa0000u : c->lfb + take_place(in, c->lfb_size);
        for (uint32_t i = 0; i < count; i++) {
            bus_write(c->rig.b->memory, at, 0x0123456789abcdefu * (i + 1), take_bytes(rop));
        }
    }
}

static void vbe_mode(Card *c, Input *in)
{
    static const uint16_t depths[8] = {8, 8, 16, 15, 24, 32, 4, 8};
    uint8_t which = take(in);
    Rig *r = &c->rig;
    bool plain = (which & 0xc0) != 0;
    rig_vbe(r, VBE_ENABLE, 0);
    rig_vbe(r, VBE_XRES, plain ? (uint16_t)(8 * (take(in) + 1)) : (uint16_t)take_value(in, 2));
    rig_vbe(r, VBE_YRES, plain ? (uint16_t)(2 * take(in) + 1) : (uint16_t)take_value(in, 2));
    rig_vbe(r, VBE_BPP, which & 0x20 ? take(in) : depths[which & 7]);
    rig_vbe(r, VBE_ENABLE, (uint16_t)(VBE_ENABLED | VBE_LFB | (which & 8 ? VBE_NO_CLEAR : 0)));
    bus_write(r->b->ports, 0x3c0, 0x20, 1);
    if (which & 0x10) {
        rig_vbe(r, VBE_VIRT_WIDTH, (uint16_t)take_value(in, 2));
        rig_vbe(r, VBE_X_OFFSET, (uint16_t)take_value(in, 2));
        rig_vbe(r, VBE_Y_OFFSET, (uint16_t)take_value(in, 2));
    }
}

static uint32_t vbe_register(Card *c, Input *in)
{
    uint8_t which = take(in);
    if (which & 0x40) {
        return rig_vbe_read(&c->rig, which & 15);
    }
    rig_vbe(&c->rig, which & 15, (uint16_t)take_value(in, which & 0x20 ? 1 : 2));
    return 0;
}

static uint32_t look_at_picture(Card *c)
{
    Picture *p = &c->rig.picture;
    if (screen_read(c->rig.screen, p) &&
        (p->width == 0 || p->width > SCREEN_MAX_WIDTH || p->height == 0 ||
         p->height > SCREEN_MAX_HEIGHT || p->aspect_width == 0 || p->aspect_height == 0)) {
        fprintf(stderr, "a picture of %u x %u, %u:%u\n", p->width, p->height, p->aspect_width,
                p->aspect_height);
        abort();
    }
    char text[4096];
    VgaTextSize size = vga_text_size(c->rig.vga);
    bool any = vga_text(c->rig.vga, text, sizeof(text));
    return any ? size.cursor_row * 256 + (uint32_t)strlen(text) : 0;
}

/* Lets two frames go by in which nothing changes. False: the picture is too slow for that. */
static bool settle(Card *c)
{
    uint64_t frames = c->rig.vga->g.frames;
    for (unsigned i = 0; i < 20 && c->rig.vga->g.frames < frames + 3; i++) {
        clock_step(&c->rig.b->clock, CLOCK_NS_PER_S / 20);
    }
    look_at_picture(c);
    return c->rig.vga->g.frames >= frames + 3 && c->rig.picture.pixels;
}

static void expect_same_picture(const Picture *a, const Picture *b, const char *what)
{
    if (a->width != b->width || a->height != b->height || a->aspect_width != b->aspect_width ||
        a->aspect_height != b->aspect_height) {
        fprintf(stderr, "%s: %u x %u and %u x %u\n", what, a->width, a->height, b->width,
                b->height);
        abort();
    }
    for (uint32_t y = 0; y < a->height; y++) {
        const size_t at = (size_t)y * a->width;
        if (memcmp(a->pixels + at, b->pixels + at, a->width * sizeof(*a->pixels)) != 0) {
            fprintf(stderr, "%s in line %u\n", what, y);
            abort();
        }
    }
}

/* The lines drawn as they changed make the picture that drawing all anew makes. */
static void expect_whole_picture(Card *c)
{
    if ((c->rig.vga->g.frames & 7) == 0) {
        return; /* cursor and blinking have just changed */
    }
    Picture *p = &c->rig.picture, before = *p;
    size_t bytes = (size_t)p->width * p->height * sizeof(*p->pixels);
    before.pixels = malloc(bytes);
    if (!before.pixels) {
        exit(1);
    }
    memcpy(before.pixels, p->pixels, bytes);
    vga_redraw_all(c->rig.vga);
    look_at_picture(c);
    expect_same_picture(&before, p, "a line was not drawn anew");
    picture_free(&before);
}

static void rarely(Card *c, Input *in)
{
    uint8_t what = take(in);
    if (what == 0) {
        board_reset(c->rig.b, take(in) & 1 ? RESET_POWER : RESET_HARD);
        place(c);
    } else if (what < 0x10 && !c->isa) {
        fuzz_config(c->rig.b, DEVICE, (uint8_t)(0x04 + what % 16 * 4), take_value(in, 4));
        bus_write(c->rig.b->memory, LFB, what, 1);
        place(c);
    } else if (what < 0x20) {
        clock_step(&c->rig.b->clock, (int64_t)what << 26);
    } else if (c->cirrus) {
        packed_mode(c, in);
    } else {
        standard_mode(c, in);
    }
}

/* What the target is about, three steps of eight. */
static uint32_t special_step(Card *c, Input *in, uint8_t op)
{
    switch (target()) {
    case BLITTER:
        blit(c, in);
        return 0;
    case VBE:
        if (op & 8) {
            return vbe_register(c, in);
        }
        vbe_mode(c, in);
        return 0;
    default:
        if (op & 8) {
            register_write(c, in);
        } else {
            standard_mode(c, in);
        }
        return 0;
    }
}

static uint32_t one_step(Card *c, Input *in)
{
    uint8_t op = take(in);
    switch (op & 15) {
    case 0:
    case 1:
        return port_access(c, in);
    case 2:
    case 3:
        register_write(c, in);
        return 0;
    case 4:
    case 5:
        return memory_access(c, in, 0xa0000, 0x20000);
    case 6:
        return memory_access(c, in, c->lfb, c->lfb_size);
    case 7:
        return memory_access(c, in, c->isa ? 0 : MMIO, 0x1000);
    case 8:
        clock_step(&c->rig.b->clock, op & 0x10 ? FRAME_NS : (int64_t)take(in) << (op >> 4));
        return 0;
    case 9:
        if (op & 0x30) {
            return look_at_picture(c);
        }
        if (settle(c)) {
            expect_whole_picture(c);
        }
        return 0;
    case 10:
        palette(c, in);
        return 0;
    case 11:
        if (op & 0x80) {
            return master_access(c, in);
        }
        hidden_dac(c, take(in));
        return 0;
    case 12:
        rarely(c, in);
        return 0;
    default:
        return special_step(c, in, op);
    }
}

/* --- What must hold -------------------------------------------------------------------------- */

static void copy_board(Card *from, Card *to)
{
    memcpy(to->rig.vga->bytes, from->rig.vga->bytes, from->vram_size);
    memcpy(ram_at(&to->rig.b->ram, 0), ram_at(&from->rig.b->ram, 0), RAM_PAGE);
    fuzz_copy_board(from->rig.b, to->rig.b, true);
    to->interrupts = from->interrupts;
}

static void compare_states(Card *one, Card *two)
{
    const uint8_t *a, *b;
    size_t size_a, size_b;
    StateIo *first = fuzz_saved(one->rig.b, &a, &size_a);
    StateIo *second = fuzz_saved(two->rig.b, &b, &size_b);
    if (size_a != size_b || memcmp(a, b, size_a) != 0) {
        fprintf(stderr, "a loaded board comes to another state\n");
        abort();
    }
    state_free(second);
    state_free(first);
}

static void compare(Card *one, Card *two, bool all)
{
    if (all) {
        compare_states(one, two);
    }
    fuzz_must_be(one->interrupts == two->interrupts, "its interrupts");
    fuzz_must_be(!all || memcmp(one->rig.vga->bytes, two->rig.vga->bytes, one->vram_size) == 0,
                 "video memory");
}

/* The picture at rest is the one that a loaded board has. */
static void compare_pictures(Card *one, Card *two)
{
    bool settled = settle(one);
    if (settle(two) != settled) {
        fprintf(stderr, "a loaded board has other frames\n");
        abort();
    }
    if (!settled) {
        return;
    }
    expect_same_picture(&one->rig.picture, &two->rig.picture, "a loaded board's picture differs");
    expect_whole_picture(two);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_silence();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4 || size > INPUT_MAX) {
        return 0;
    }
    Card one, two;
    Input in = {data + 2, data + size};
    const uint8_t *middle = data + 2 + data[1] * (size - 2) / 256;
    build(&one, data[0]);
    while (in.at < middle) {
        one_step(&one, &in);
    }
    build(&two, data[0]);
    copy_board(&one, &two);
    Input in_two = in;
    for (unsigned i = 0; in.at < in.end; i++) {
        uint32_t a = one_step(&one, &in), b = one_step(&two, &in_two);
        if (a != b) {
            fprintf(stderr, "a loaded board answers otherwise\n");
            abort();
        }
        compare(&one, &two, i % 64 == 63);
    }
    compare(&one, &two, true);
    compare_pictures(&one, &two);
    destroy(&one);
    destroy(&two);
    return 0;
}

#include "tests/fuzz/fuzz_noise.h"
