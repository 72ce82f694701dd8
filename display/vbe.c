/* Bochs VBE extensions: ports 1CEh (index) and 1CFh (data), and what they make of the VGA.
 *
 * Bochs VBE DISPI interface, ID B0C5h. Packed modes are scanned from linear memory at 60 Hz,
 * whatever the CRTC says; with 4 bits a pixel the planes are shown. Registers may be written while
 * the extension is on and then count at once. Not modelled: the interface's private bus for DDC.
 */
#include <string.h>

#include "display/vga_internal.h"
#include "machine/core/log.h"

LOG_TAG("vbe");

bool vbe_on(const Vga *v)
{
    return (v->g.vbe[VBE_ENABLE] & VBE_ENABLED) != 0;
}

/* QUIRK: after the extension was switched off its picture stays until a standard mode is set. In a
 * windowed DOS box the virtual display driver of Windows 9x keeps the BIOS's mode set from the
 * VGA's own ports but not from these, and the desktop must survive that. */
bool vbe_shown(const Vga *v)
{
    return vbe_on(v) || v->g.vbe_lingers;
}

/* Bytes of `pixels` in memory; with 4 bits in one plane, four pixels a byte for purposes of room.
 */
static uint32_t bytes_of(const Vga *v, uint32_t pixels)
{
    switch (v->g.vbe[VBE_BPP]) {
    case 4:
        return pixels / 8;
    case 15:
    case 16:
        return pixels * 2;
    case 24:
        return pixels * 3;
    case 32:
        return pixels * 4;
    default:
        return pixels;
    }
}

uint32_t vbe_pitch(const Vga *v)
{
    return bytes_of(v, v->g.vbe[VBE_VIRT_WIDTH]);
}

static uint32_t room(const Vga *v)
{
    return v->g.vbe[VBE_BPP] == 4 ? v->size / 4 : v->size;
}

static bool depth_possible(uint16_t bits)
{
    return bits == 4 || bits == 8 || bits == 15 || bits == 16 || bits == 24 || bits == 32;
}

bool vbe_possible(const Vga *v)
{
    const uint16_t *vbe = v->g.vbe;
    return depth_possible(vbe[VBE_BPP]) && vbe[VBE_XRES] >= 8 &&
           vbe[VBE_XRES] <= SCREEN_MAX_WIDTH && vbe[VBE_YRES] >= 1 &&
           vbe[VBE_YRES] <= SCREEN_MAX_HEIGHT && vbe[VBE_VIRT_WIDTH] >= vbe[VBE_XRES] &&
           (uint64_t)vbe_pitch(v) * vbe[VBE_YRES] <= room(v);
}

/* Brings the registers to what the card can show. */
static void fix(Vga *v)
{
    uint16_t *vbe = v->g.vbe;
    if (!depth_possible(vbe[VBE_BPP])) {
        log_guest("%u bits a pixel are not supported; 8 it is", vbe[VBE_BPP]);
        vbe[VBE_BPP] = 8;
    }
    unsigned step = vbe[VBE_BPP] == 4 ? 8 : 1;
    vbe[VBE_XRES] = vbe[VBE_XRES] < 8 ? 8 : vbe[VBE_XRES];
    vbe[VBE_XRES] = vbe[VBE_XRES] > SCREEN_MAX_WIDTH ? SCREEN_MAX_WIDTH : vbe[VBE_XRES];
    vbe[VBE_YRES] = vbe[VBE_YRES] < 1 ? 1 : vbe[VBE_YRES];
    vbe[VBE_YRES] = vbe[VBE_YRES] > SCREEN_MAX_HEIGHT ? SCREEN_MAX_HEIGHT : vbe[VBE_YRES];
    vbe[VBE_XRES] = (uint16_t)(vbe[VBE_XRES] / step * step);
    vbe[VBE_VIRT_WIDTH] = (uint16_t)(vbe[VBE_VIRT_WIDTH] / step * step);
    if (vbe[VBE_VIRT_WIDTH] < vbe[VBE_XRES]) {
        vbe[VBE_VIRT_WIDTH] = vbe[VBE_XRES];
    }
    if ((uint64_t)vbe_pitch(v) * vbe[VBE_YRES] > room(v)) {
        log_guest("a virtual width of %u does not fit into memory", vbe[VBE_VIRT_WIDTH]);
        vbe[VBE_VIRT_WIDTH] = vbe[VBE_XRES];
    }
    while ((uint64_t)vbe_pitch(v) * vbe[VBE_YRES] > room(v)) {
        vbe[VBE_YRES] /= 2; /* a card of little memory */
    }
    uint32_t height = room(v) / vbe_pitch(v);
    vbe[VBE_VIRT_HEIGHT] = (uint16_t)(height > 0xffff ? 0xffff : height);
    vbe[VBE_BANK] &= (uint16_t)(v->size / VGA_BANK - 1);
}

/* Sets the VGA's registers as the mode needs them, for guests that program this interface alone. */
static void set_vga(Vga *v)
{
    v->g.gr[GR_MISC] = (uint8_t)((v->g.gr[GR_MISC] & ~0x0f) | 0x05);
    v->g.sr[SR_MAP_MASK] = 0x0f;
    v->g.cr[CR_MODE_CONTROL] |= 0x03;
    if (v->g.vbe[VBE_BPP] == 4) {
        v->g.sr[SR_MEMORY_MODE] =
            (uint8_t)((v->g.sr[SR_MEMORY_MODE] & ~MEMORY_CHAIN4) | MEMORY_SEQUENTIAL);
        v->g.gr[GR_MODE] &= (uint8_t) ~(GR_MODE_256 | GR_MODE_INTERLEAVE);
    } else {
        v->g.sr[SR_MEMORY_MODE] |= MEMORY_CHAIN4 | MEMORY_EXTENDED | MEMORY_SEQUENTIAL;
        v->g.gr[GR_MODE] = (uint8_t)((v->g.gr[GR_MODE] & 0x10) | GR_MODE_256);
    }
}

static void clear(Vga *v)
{
    memset(v->bytes, 0, v->size);
    vga_wrote(v, 0, v->size);
}

static void write_enable(Vga *v, uint16_t value)
{
    uint16_t *vbe = v->g.vbe;
    bool was_on = vbe_on(v);
    vbe[VBE_ENABLE] =
        value & (VBE_ENABLED | VBE_CAPABILITIES | VBE_8_BIT_DAC | VBE_LFB | VBE_NO_CLEAR);
    if (vbe_on(v)) {
        v->g.dac_8_bit = (value & VBE_8_BIT_DAC) != 0;
        vga_palette_changed(v);
    }
    if (vbe_on(v) && !was_on) {
        vbe[VBE_VIRT_WIDTH] = 0;
        vbe[VBE_BANK] = vbe[VBE_X_OFFSET] = vbe[VBE_Y_OFFSET] = 0;
        fix(v);
        set_vga(v);
        if (!(value & VBE_NO_CLEAR)) {
            clear(v);
        }
        log_trace("%ux%u, %u bits", vbe[VBE_XRES], vbe[VBE_YRES], vbe[VBE_BPP]);
    } else if (!vbe_on(v) && was_on) {
        vbe[VBE_BANK] = 0;
        v->g.vbe_lingers = true;
        log_trace("off");
    }
    if (vbe_on(v)) {
        v->g.vbe_lingers = false;
    }
}

void vbe_leave(Vga *v)
{
    if (v->g.vbe_lingers) {
        vga_before_change(v);
        v->g.vbe_lingers = false;
        v->g.dac_8_bit = false;
        vga_palette_changed(v);
        vga_after_change(v);
    }
}

void vbe_write(Vga *v, unsigned index, uint16_t value)
{
    uint16_t *vbe = v->g.vbe;
    if (index >= VBE_REGISTERS) {
        return;
    }
    vga_before_change(v);
    switch (index) {
    case VBE_ID:
        if (value >= VBE_ID_0 && value <= VBE_ID_5) {
            vbe[VBE_ID] = value;
        }
        break;
    case VBE_ENABLE:
        write_enable(v, value);
        break;
    case VBE_XRES:
    case VBE_YRES:
    case VBE_BPP:
        vbe_leave(v);
        vbe[index] = value;
        if (vbe_on(v)) {
            fix(v);
        }
        break;
    case VBE_BANK:
        vbe[VBE_BANK] = (uint16_t)(value & (v->size / VGA_BANK - 1));
        break;
    case VBE_VIRT_HEIGHT:
    case VBE_MEMORY_64K:
        break; /* they follow from the others */
    default:
        vbe[index] = value;
        if (vbe_shown(v)) { /* its picture may be the one of before */
            fix(v);
        }
        break;
    }
    vga_after_change(v);
}

uint16_t vbe_read(Vga *v, unsigned index)
{
    if (index >= VBE_REGISTERS) {
        return 0;
    }
    if (index == VBE_MEMORY_64K) {
        return (uint16_t)(v->size / VGA_BANK);
    }
    if (v->g.vbe[VBE_ENABLE] & VBE_CAPABILITIES) {
        switch (index) {
        case VBE_XRES:
            return SCREEN_MAX_WIDTH;
        case VBE_YRES:
            return SCREEN_MAX_HEIGHT;
        case VBE_BPP:
            return 32;
        default:
            break;
        }
    }
    return v->g.vbe[index];
}

/* Offset 0 is the index port; the data port is at the odd address 1, so that a word written there
 * comes as its two bytes. 1D0h as a word is the data port too, for machines without odd words. */
static uint64_t port_read(void *self, uint32_t offset, unsigned bytes)
{
    Vga *v = self;
    if (offset == 0) {
        return v->g.vbe_index;
    }
    uint16_t value = vbe_read(v, v->g.vbe_index);
    return bytes == 1 && offset == 2 ? value >> 8 : value;
}

static void port_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Vga *v = self;
    if (offset == 0) {
        v->g.vbe_index = (uint16_t)value;
    } else if (offset == 1) {
        v->g.vbe_low = (uint8_t)value;
    } else if (offset == 2) {
        uint64_t word = bytes == 2 ? value : (value & 0xff) << 8 | v->g.vbe_low;
        vbe_write(v, v->g.vbe_index, (uint16_t)word);
    }
}

void vbe_claim_ports(Vga *v)
{
    static const IoOps ops = {port_read, port_write, 1, 2};
    bus_claim(v->dev.board->ports, 0x1ce, 4, &ops, v, "vbe");
}

void vbe_reset(Vga *v)
{
    memset(v->g.vbe, 0, sizeof(v->g.vbe));
    v->g.vbe[VBE_ID] = VBE_ID_5;
    v->g.vbe_index = 0;
    v->g.vbe_low = 0;
}
