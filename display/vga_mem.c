/* VGA memory window A0000h-BFFFFh: write and read modes, latches, odd/even, chain 4, banks.
 *
 * IBM PS/2 Video Subsystem reference, "Graphics Controller" and "Sequencer". While chain 4 is on
 * and nothing stands between the processor and memory, the first 64 KiB are given to the bus as
 * plain memory; the latches then keep what the last read through this file left in them.
 */
#include <string.h>

#include "display/vga_internal.h"

/* How many accesses must go by after a change of mode before memory is mapped directly, so that a
 * guest which changes modes all the time does not make the bus rebuild its map each time. */
#define DIRECT_PATIENCE 32

/* The window decoded (GR6 bits 3-2): first offset from A0000h and length. */
static bool in_window(const Vga *v, uint32_t *offset)
{
    static const uint32_t first[4] = {0, 0, 0x10000, 0x18000};
    static const uint32_t length[4] = {0x20000, 0x10000, 0x8000, 0x8000};
    unsigned map = v->g.gr[GR_MISC] >> 2 & 3;
    if (!(v->g.misc & MISC_RAM_ENABLE) || *offset - first[map] >= length[map]) {
        return false;
    }
    *offset -= first[map];
    return true;
}

/* The address in the planes; *planes are those that odd/even or chain 4 leave selected. Returns the
 * index in v->planes. */
static uint32_t address_of(const Vga *v, uint32_t offset, bool odd_even, unsigned *planes)
{
    if (vbe_on(v)) {
        offset += (uint32_t)v->g.vbe[VBE_BANK] * VGA_BANK;
    }
    if (v->g.sr[SR_MEMORY_MODE] & MEMORY_CHAIN4) {
        *planes = 1u << (offset & 3);
        return offset >> 2 & vga_plane_mask(v);
    }
    *planes = odd_even ? (offset & 1 ? 0xa : 0x5) : 0xf;
    if (v->g.gr[GR_MISC] & GR_MISC_CHAIN_ODD_EVEN) {
        /* address bit 0 chose the plane; the page bit, or bit 16 of a 128 KiB window, replaces it
         */
        bool whole = (v->g.gr[GR_MISC] >> 2 & 3) == 0;
        unsigned page = whole ? offset >> 16 & 1 : !(v->g.misc & MISC_PAGE);
        offset = (offset & ~1u) | page;
    }
    if (!(v->g.sr[SR_MEMORY_MODE] & MEMORY_EXTENDED)) {
        offset &= VGA_PLANE_SIZE / 4 - 1;
    }
    return vga_place(offset & vga_plane_mask(v)) & vga_plane_mask(v);
}

static uint8_t rotated(const Vga *v, uint8_t value)
{
    unsigned count = v->g.gr[GR_ROTATE] & 7;
    return (uint8_t)(value >> count | value << (8 - count));
}

/* What the write mode makes of a processor byte; *bits: bits that come from it and not the latch.
 */
static uint32_t write_data(const Vga *v, uint8_t value, uint32_t *bits)
{
    *bits = v->bit_mask;
    switch (v->g.gr[GR_MODE] & 3) {
    case 0: {
        uint32_t data = rotated(v, value) * 0x01010101u;
        return (data & ~v->enable_set_reset) | (v->set_reset & v->enable_set_reset);
    }
    case 2:
        return vga_spread(value & 0xf);
    default:
        *bits = (rotated(v, value) * 0x01010101u) & v->bit_mask;
        return v->set_reset;
    }
}

static uint32_t combined(const Vga *v, uint8_t value)
{
    uint32_t bits;
    if ((v->g.gr[GR_MODE] & 3) == 1) {
        return v->g.latch;
    }
    uint32_t data = write_data(v, value, &bits);
    switch (v->g.gr[GR_ROTATE] >> 3 & 3) {
    case 1:
        data &= v->g.latch;
        break;
    case 2:
        data |= v->g.latch;
        break;
    case 3:
        data ^= v->g.latch;
        break;
    default:
        break;
    }
    return (data & bits) | (v->g.latch & ~bits);
}

void vga_wrote(Vga *v, uint32_t at, uint32_t length)
{
    uint32_t ram_at_ = v->vram->at + at;
    uint32_t last = (uint32_t)(((uint64_t)ram_at_ + length - 1) >> RAM_PAGE_SHIFT);
    for (uint32_t page = ram_at_ >> RAM_PAGE_SHIFT; page <= last; page++) {
        if (ram_watched(&v->dev.board->ram, page)) {
            ram_written(&v->dev.board->ram, ram_at_, length);
            return;
        }
    }
}

static void write_byte(Vga *v, uint32_t offset, uint8_t value)
{
    unsigned planes;
    if (!in_window(v, &offset)) {
        return;
    }
    bool odd_even = !(v->g.sr[SR_MEMORY_MODE] & MEMORY_SEQUENTIAL);
    uint32_t index = address_of(v, offset, odd_even, &planes);
    uint32_t mask = v->map_mask & vga_spread(planes);
    uint32_t *cell = &v->planes[index];
    *cell = (*cell & ~mask) | (combined(v, value) & mask);
    if (ram_watched(&v->dev.board->ram, (v->vram->at + index * 4) >> RAM_PAGE_SHIFT)) {
        ram_written(&v->dev.board->ram, v->vram->at + index * 4, 4);
    }
}

static uint8_t read_byte(Vga *v, uint32_t offset)
{
    unsigned planes;
    if (!in_window(v, &offset)) {
        return 0xff;
    }
    bool odd_even = (v->g.gr[GR_MODE] & GR_MODE_ODD_EVEN) != 0;
    uint32_t index = address_of(v, offset, odd_even, &planes);
    v->g.latch = v->planes[index];
    if (v->g.gr[GR_MODE] & GR_MODE_READ_1) {
        uint32_t differ = (v->g.latch ^ v->compare) & v->care;
        differ |= differ >> 16;
        return (uint8_t) ~(differ | differ >> 8);
    }
    unsigned plane = v->g.gr[GR_READ_MAP] & 3;
    if (v->g.sr[SR_MEMORY_MODE] & MEMORY_CHAIN4) {
        plane = offset & 3;
    } else if (odd_even) {
        plane = (plane & 2) | (offset & 1);
    }
    return (uint8_t)(v->g.latch >> (8 * plane));
}

static void set_direct_views(Vga *v)
{
    for (unsigned i = 0; i < 2; i++) {
        uint32_t at = v->vram->at + v->direct_at[i];
        RamView view = {.readable = true, .writable = true, .read_at = at, .write_at = at};
        bus_set_view(v->direct[i], &view);
    }
}

static void show_direct(Vga *v, bool on)
{
    for (unsigned i = 0; i < 2; i++) {
        bus_move(v->direct[i], VGA_WINDOW + i * VGA_HALF_BANK, on);
    }
    v->g.direct = on;
}

static void map_directly(Vga *v)
{
    if (v->g.direct_wait > 0 && --v->g.direct_wait == 0) {
        set_direct_views(v);
        show_direct(v, true);
    }
}

static uint64_t window_read(void *self, uint32_t offset, unsigned bytes)
{
    Vga *v = self;
    uint64_t value = 0;
    if (!v->chip || !v->chip->window_read || !v->chip->window_read(v, offset, &value, bytes)) {
        for (unsigned i = 0; i < bytes; i++) {
            value |= (uint64_t)read_byte(v, offset + i) << (8 * i);
        }
    }
    map_directly(v);
    return value;
}

static void window_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Vga *v = self;
    if (!v->chip || !v->chip->window_write || !v->chip->window_write(v, offset, value, bytes)) {
        for (unsigned i = 0; i < bytes; i++) {
            write_byte(v, offset + i, (uint8_t)(value >> (8 * i)));
        }
    }
    map_directly(v);
}

const IoOps vga_window_ops = {window_read, window_write, 1, 8};

bool vga_plain(const Vga *v, uint32_t at[2])
{
    at[0] = vbe_on(v) ? (uint32_t)v->g.vbe[VBE_BANK] * VGA_BANK & (v->size - 1) : 0;
    at[1] = at[0] + VGA_HALF_BANK;
    return v->g.misc & MISC_RAM_ENABLE && v->g.sr[SR_MEMORY_MODE] & MEMORY_CHAIN4 &&
           v->map_mask == 0xffffffff && v->bit_mask == 0xffffffff && v->enable_set_reset == 0 &&
           (v->g.gr[GR_ROTATE] & 0x1f) == 0 && (v->g.gr[GR_MODE] & 0x0b) == 0 &&
           (v->g.gr[GR_MISC] >> 2 & 3) < 2;
}

void vga_memory_changed(Vga *v)
{
    v->map_mask = vga_spread(v->g.sr[SR_MAP_MASK] & 0xf);
    v->set_reset = vga_spread(v->g.gr[GR_SET_RESET] & 0xf);
    v->enable_set_reset = vga_spread(v->g.gr[GR_ENABLE_SET_RESET] & 0xf);
    v->bit_mask = v->g.gr[GR_BIT_MASK] * 0x01010101u;
    v->compare = vga_spread(v->g.gr[GR_COLOR_COMPARE] & 0xf);
    v->care = vga_spread(v->g.gr[GR_COLOR_DONT_CARE] & 0xf);
    uint32_t at[2] = {0, 0};
    bool possible = v->chip && v->chip->direct ? v->chip->direct(v, at) : vga_plain(v, at);
    bool moved = memcmp(at, v->direct_at, sizeof(at)) != 0;
    memcpy(v->direct_at, at, sizeof(at));
    if (possible && v->g.direct && moved) {
        set_direct_views(v);
    } else if (!possible && v->g.direct) {
        show_direct(v, false);
    }
    if (possible != v->direct_possible) {
        v->g.direct_wait = possible ? DIRECT_PATIENCE : 0;
    }
    v->direct_possible = possible;
}

void vga_memory_restored(Vga *v)
{
    uint8_t wait = v->g.direct_wait;
    bool direct = v->g.direct;
    v->g.direct = true; /* whatever the bus has now is taken away */
    v->direct_possible = false;
    vga_memory_changed(v);
    set_direct_views(v);
    show_direct(v, direct && v->direct_possible);
    if (v->g.direct) {
        v->g.direct_wait = 0;
    } else if (wait > 0 && wait <= DIRECT_PATIENCE && v->direct_possible) {
        v->g.direct_wait = wait;
    }
}
