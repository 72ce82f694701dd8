/* Cirrus memory: the A0000h window with its banks, the linear frame buffer, registers in memory.
 *
 * CL-GD5446 Technical Reference Manual, "Memory Interface" and "Memory-mapped I/O". The frame
 * buffer is 32 MiB of addresses: 4 MiB as they are, then with bytes swapped in words and in
 * doublewords, and in the upper half a place for the blitter's data. While no extended write mode
 * and no blit from system memory is on, the first 4 MiB and the window are plain memory to the bus.
 * Not modelled: the video window's aperture (12-16 MiB), which reads as ones.
 */
#include "display/cirrus_internal.h"

enum {
    MMIO_WINDOW = 0x18000, /* of the A0000h window: B8000h */
    MMIO_BLT = 0x100,      /* of BAR1; the VGA's ports are below it */
    MMIO_PORTS_END = 0x20,
    SWAP_APERTURE = 0x400000,
    LINEAR_PATIENCE = 32, /* accesses before memory is plain again, for drivers that blit in turn */
};

/* --- Blitter registers in memory ------------------------------------------------------------- */

/* Which graphics controller register each byte is; 0xff: none (0 and 1 are at 00h and 04h). */
static uint8_t register_at(uint32_t offset)
{
    static const uint8_t map[0x22] = {0x00, 0x10, 0x12, 0x14, 0x01, 0x11, 0x13, 0x15, 0x20,
                                      0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29,
                                      0x2a, 0xff, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0xff, 0x32,
                                      0x33, 0x34, 0x35, 0xff, 0xff, 0x38, 0x39};
    if (offset < sizeof(map)) {
        return map[offset];
    }
    return offset == 0x40 ? GR_BLT_START : 0xff;
}

static uint8_t blt_register_read(const Cirrus *c, uint32_t offset)
{
    uint8_t index = register_at(offset);
    return index == 0xff ? 0 : cirrus_read_gr(c, index);
}

static void blt_register_write(Cirrus *c, uint32_t offset, uint8_t value)
{
    uint8_t index = register_at(offset);
    if (index != 0xff) {
        cirrus_write_gr(c, index, value);
    }
}

static uint64_t mmio_read(void *self, uint32_t offset, unsigned bytes)
{
    Cirrus *c = self;
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        uint32_t at = offset + i;
        uint8_t byte = 0xff;
        if (at < MMIO_PORTS_END) {
            byte = vga_port_read(&c->vga, (uint16_t)(0x3c0 + at));
        } else if (at >= MMIO_BLT && at < MMIO_BLT + MMIO_BYTES) {
            byte = blt_register_read(c, at - MMIO_BLT);
        }
        value |= (uint64_t)byte << (8 * i);
    }
    return value;
}

static void mmio_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Cirrus *c = self;
    for (unsigned i = 0; i < bytes; i++) {
        uint32_t at = offset + i;
        uint8_t byte = (uint8_t)(value >> (8 * i));
        if (at < MMIO_PORTS_END) {
            vga_port_write(&c->vga, (uint16_t)(0x3c0 + at), byte);
        } else if (at >= MMIO_BLT && at < MMIO_BLT + MMIO_BYTES) {
            blt_register_write(c, at - MMIO_BLT, byte);
        }
    }
}

const IoOps cirrus_mmio_ops = {mmio_read, mmio_write, 1, 4};

/* --- Packed memory --------------------------------------------------------------------------- */

static bool wide_pixels(const Vga *v)
{
    const uint8_t both = EXTENSIONS_WRITE_MODES | EXTENSIONS_16_BIT;
    return (v->g.gr[GR_EXTENSIONS] & both) == both;
}

/* Extended addressing: a processor byte stands for eight pixels. */
static unsigned address_shift(const Vga *v)
{
    return wide_pixels(v) ? 4 : (v->g.gr[GR_EXTENSIONS] & EXTENSIONS_BY_8 ? 3 : 0);
}

/* Write modes 4 and 5, with the enable bit; else 0. */
static unsigned write_mode(const Vga *v)
{
    unsigned mode = v->g.gr[GR_MODE] & 7;
    return v->g.gr[GR_EXTENSIONS] & EXTENSIONS_WRITE_MODES && (mode == 4 || mode == 5) ? mode : 0;
}

static bool eight_latches(const Vga *v)
{
    const uint8_t both = EXTENSIONS_BY_8 | EXTENSIONS_LATCH_8;
    return (v->g.gr[GR_EXTENSIONS] & both) == both;
}

static bool raw(const Vga *v)
{
    return write_mode(v) == 0 && address_shift(v) == 0;
}

static void store(Vga *v, uint32_t at, uint8_t value)
{
    at &= v->size - 1;
    v->bytes[at] = value;
    vga_wrote(v, at, 1);
}

/* Eight pixels by the bits of a byte: ones the foreground, zeros the background in mode 5. */
static void write_pixels(Vga *v, uint32_t at, uint8_t bits, unsigned mode)
{
    unsigned step = wide_pixels(v) ? 2 : 1;
    uint32_t fore = cirrus_foreground(v), back = cirrus_background(v);
    for (unsigned x = 0; x < 8; x++) {
        bool set = bits >> (7 - x) & 1;
        for (unsigned k = 0; k < step && (set || mode == 5); k++) {
            store(v, at + x * step + k, (uint8_t)((set ? fore : back) >> (8 * k)));
        }
    }
}

static void packed_write(Vga *v, uint32_t at, uint8_t value)
{
    Cirrus *c = cirrus_of(v);
    at <<= address_shift(v);
    if (write_mode(v)) {
        write_pixels(v, at, value, write_mode(v));
    } else if (eight_latches(v) && (v->g.gr[GR_MODE] & 7) == 1) {
        for (unsigned i = 0; i < 8; i++) {
            store(v, at + i, c->g.latch[i]);
        }
    } else {
        store(v, at, value);
    }
}

static uint8_t packed_read(Vga *v, uint32_t at)
{
    Cirrus *c = cirrus_of(v);
    at = at << address_shift(v) & (v->size - 1);
    if (eight_latches(v)) {
        for (unsigned i = 0; i < 8; i++) {
            c->g.latch[i] = v->bytes[(at + i) & (v->size - 1)];
        }
    }
    return v->bytes[at];
}

/* --- The window at A0000h -------------------------------------------------------------------- */

/* Where a half of the window lies. */
static uint32_t bank(const Vga *v, unsigned half)
{
    uint8_t extensions = v->g.gr[GR_EXTENSIONS];
    unsigned shift = extensions & EXTENSIONS_16_KIB ? 14 : 12;
    if (extensions & EXTENSIONS_DUAL) {
        return (uint32_t)v->g.gr[half ? GR_OFFSET_1 : GR_OFFSET_0] << shift;
    }
    return ((uint32_t)v->g.gr[GR_OFFSET_0] << shift) + half * VGA_HALF_BANK;
}

static bool mmio_in_window(const Vga *v, uint32_t offset)
{
    const uint8_t both = CONFIGURATION_MMIO | CONFIGURATION_MMIO_LINEAR;
    return (v->g.sr[SR_CONFIGURATION] & both) == CONFIGURATION_MMIO && offset >= MMIO_WINDOW &&
           offset < MMIO_WINDOW + MMIO_BYTES;
}

static bool in_packed_window(const Vga *v, uint32_t offset)
{
    return cirrus_packed(v) && v->g.misc & MISC_RAM_ENABLE && offset < VGA_BANK &&
           (v->g.gr[GR_MISC] >> 2 & 3) < 2;
}

static uint32_t in_bank(const Vga *v, uint32_t offset)
{
    return bank(v, offset / VGA_HALF_BANK) + offset % VGA_HALF_BANK;
}

bool cirrus_window_read(Vga *v, uint32_t offset, uint64_t *value, unsigned bytes)
{
    bool registers = mmio_in_window(v, offset);
    if (!registers && !in_packed_window(v, offset)) {
        return false;
    }
    *value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        uint8_t byte = registers ? blt_register_read(cirrus_of(v), offset + i - MMIO_WINDOW)
                                 : packed_read(v, in_bank(v, offset + i));
        *value |= (uint64_t)byte << (8 * i);
    }
    return true;
}

bool cirrus_window_write(Vga *v, uint32_t offset, uint64_t value, unsigned bytes)
{
    Cirrus *c = cirrus_of(v);
    bool registers = mmio_in_window(v, offset);
    if (!registers && !in_packed_window(v, offset)) {
        return false;
    }
    if (!registers && c->g.blt.active) {
        cirrus_blt_feed(c, value, bytes);
        return true;
    }
    for (unsigned i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        if (registers) {
            blt_register_write(c, offset + i - MMIO_WINDOW, byte);
        } else {
            packed_write(v, in_bank(v, offset + i), byte);
        }
    }
    return true;
}

bool cirrus_direct(Vga *v, uint32_t at[2])
{
    if (!cirrus_packed(v)) {
        return vga_plain(v, at);
    }
    at[0] = bank(v, 0);
    at[1] = bank(v, 1);
    return in_packed_window(v, 0) && raw(v) && !cirrus_of(v)->g.blt.active &&
           at[0] <= v->size - VGA_HALF_BANK && at[1] <= v->size - VGA_HALF_BANK;
}

/* --- The linear frame buffer ----------------------------------------------------------------- */

static bool mmio_in_linear(const Vga *v)
{
    const uint8_t both = CONFIGURATION_MMIO | CONFIGURATION_MMIO_LINEAR;
    return (v->g.sr[SR_CONFIGURATION] & both) == both;
}

/* The byte of video memory behind an address of the frame buffer. */
static uint32_t swapped(uint32_t offset)
{
    switch (offset / SWAP_APERTURE) {
    case 1:
        return offset ^ 1;
    case 2:
        return offset ^ 3;
    default:
        return offset;
    }
}

static bool linear_mmio(const Vga *v, uint32_t offset, uint32_t *at)
{
    *at = offset - (v->size - MMIO_BYTES);
    return mmio_in_linear(v) && offset < v->size && *at < MMIO_BYTES;
}

static void show_linear(Cirrus *c, bool on)
{
    Vga *v = &c->vga;
    uint64_t base = pci_bar_base(v->pci, 0);
    if (base == UINT64_MAX) {
        base = 0;
        on = false;
    }
    bus_move(c->linear[0], base, on);
    bus_move(c->linear[1], base + v->size - RAM_PAGE, on && !mmio_in_linear(v));
    c->linear_on = on;
}

void cirrus_linear_moved(Cirrus *c)
{
    show_linear(c, raw(&c->vga) && !c->g.blt.active);
}

void cirrus_linear_changed(Cirrus *c)
{
    bool possible = raw(&c->vga) && !c->g.blt.active;
    if (c->linear_on) {
        show_linear(c, possible);
    } else if (possible) {
        c->linear_wait = LINEAR_PATIENCE;
    }
}

/* After an access that did not go to plain memory. */
static void count_access(Cirrus *c)
{
    if (!c->linear_on && raw(&c->vga) && !c->g.blt.active && c->linear_wait > 0 &&
        --c->linear_wait == 0) {
        show_linear(c, true);
    }
}

static uint64_t aperture_read(void *self, uint32_t offset, unsigned bytes)
{
    Cirrus *c = self;
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        uint32_t at;
        uint8_t byte = 0xff;
        if (linear_mmio(&c->vga, offset + i, &at)) {
            byte = blt_register_read(c, at);
        } else if (offset < 3 * SWAP_APERTURE) {
            byte = packed_read(&c->vga, swapped(offset + i) & (SWAP_APERTURE - 1));
        }
        value |= (uint64_t)byte << (8 * i);
    }
    count_access(c);
    return value;
}

static void aperture_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Cirrus *c = self;
    uint32_t at;
    if (c->g.blt.active && !linear_mmio(&c->vga, offset, &at)) {
        cirrus_blt_feed(c, value, bytes);
        return;
    }
    for (unsigned i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        if (linear_mmio(&c->vga, offset + i, &at)) {
            blt_register_write(c, at, byte);
        } else if (offset < 3 * SWAP_APERTURE) {
            packed_write(&c->vga, swapped(offset + i) & (SWAP_APERTURE - 1), byte);
        }
    }
    count_access(c);
}

const IoOps cirrus_aperture_ops = {aperture_read, aperture_write, 1, 8};
