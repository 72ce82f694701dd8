/* VGA registers: ports 3B4h-3DAh, the palette, and which of them change picture or timing.
 *
 * IBM PS/2 Video Subsystem reference. Every write that can be seen first has the lines drawn that
 * the beam has passed (vga_before_change). Not modelled: light pen, port 3C3h's effect (the bit
 * reads back), the feature connector.
 */
#include <string.h>

#include "display/vga_internal.h"
#include "machine/core/log.h"

LOG_TAG("vga");

enum {
    STATUS_0_IRQ = 0x80,
    STATUS_0_SENSE = 0x10,
    STATUS_1_BLANK = 0x01,
    STATUS_1_RETRACE = 0x08,
    RETRACE_END_IRQ_CLEAR = 0x10, /* active low */
    RETRACE_END_IRQ_OFF = 0x20,
    RETRACE_END_PROTECT = 0x80,
};

void vga_before_change(Vga *v)
{
    vga_sync(v);
    v->style++;
}

void vga_after_change(Vga *v)
{
    vga_memory_changed(v);
    vga_scan_changed(v);
    vga_timing_changed(v);
}

static uint32_t color_of(const Vga *v, const uint8_t dac[3])
{
    uint32_t rgb = 0;
    for (unsigned i = 0; i < 3; i++) {
        uint8_t level = dac[i];
        if (!v->g.dac_8_bit) {
            level = (uint8_t)((level & 0x3f) << 2 | (level >> 4 & 3));
        }
        rgb = rgb << 8 | level;
    }
    return rgb;
}

/* The sixteen colours by way of the attribute controller's palette. */
static void attribute_palette(Vga *v)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned index = v->g.ar[i] & 0x3f;
        if (v->g.ar[AR_MODE] & AR_MODE_COLOR_SELECT) {
            index = (index & 0x0f) | (v->g.ar[AR_COLOR_SELECT] & 3) << 4;
        }
        index |= (v->g.ar[AR_COLOR_SELECT] & 0x0c) << 4;
        v->rgb16[i] = v->rgb[index];
    }
}

void vga_palette_changed(Vga *v)
{
    for (unsigned i = 0; i < 256; i++) {
        v->rgb[i] = color_of(v, v->g.dac[i & v->g.dac_mask]);
    }
    attribute_palette(v);
}

static uint8_t *dac_entry(Vga *v, uint8_t index)
{
    uint8_t *entry = v->chip && v->chip->dac ? v->chip->dac(v, index) : NULL;
    return entry ? entry : v->g.dac[index];
}

/* --- Palette (DAC) ------------------------------------------------------------------------- */

static void dac_write(Vga *v, uint8_t value)
{
    v->g.dac_latch[v->g.dac_part++] = v->g.dac_8_bit ? value : value & 0x3f;
    if (v->g.dac_part < 3) {
        return;
    }
    v->g.dac_part = 0;
    uint8_t index = v->g.dac_index++;
    uint8_t *entry = dac_entry(v, index);
    if (memcmp(entry, v->g.dac_latch, 3) != 0) {
        vga_before_change(v);
        memcpy(entry, v->g.dac_latch, 3);
        if (entry == v->g.dac[index] && v->g.dac_mask == 0xff) {
            v->rgb[index] = color_of(v, entry);
            attribute_palette(v);
        } else {
            vga_palette_changed(v);
        }
    }
}

static uint8_t dac_read(Vga *v)
{
    uint8_t value = v->g.dac_latch[v->g.dac_part++];
    if (v->g.dac_part == 3) {
        v->g.dac_part = 0;
        memcpy(v->g.dac_latch, dac_entry(v, v->g.dac_index++), 3);
    }
    return value;
}

static void dac_begin_reading(Vga *v, uint8_t index)
{
    v->g.dac_reading = true;
    v->g.dac_part = 0;
    memcpy(v->g.dac_latch, dac_entry(v, index), 3);
    v->g.dac_index = (uint8_t)(index + 1);
}

/* --- Sequencer, graphics controller, attribute controller, CRTC ------------------------------ */

void vga_set(Vga *v, uint8_t *reg, uint8_t value)
{
    if (*reg != value) {
        vga_before_change(v);
        *reg = value;
        vga_after_change(v);
    }
}

/* Memory access alone depends on it: the picture does not. */
static void set_access(Vga *v, uint8_t *reg, uint8_t value)
{
    if (*reg != value) {
        *reg = value;
        vga_memory_changed(v);
    }
}

static void sr_write(Vga *v, uint8_t value)
{
    static const uint8_t mask[] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
    uint8_t index = v->g.sr_index;
    if (index == SR_MAP_MASK) {
        set_access(v, &v->g.sr[index], value & mask[index]);
    } else if (index < sizeof(mask)) {
        vga_set(v, &v->g.sr[index], value & mask[index]);
    }
}

static void gr_write(Vga *v, uint8_t value)
{
    static const uint8_t mask[] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
    uint8_t index = v->g.gr_index;
    if (index == GR_MODE || index == GR_MISC) {
        uint8_t seen = index == GR_MODE ? GR_MODE_INTERLEAVE | GR_MODE_256 : GR_MISC_GRAPHICS;
        if ((v->g.gr[index] ^ value) & seen) {
            vga_set(v, &v->g.gr[index], value & mask[index]);
        } else {
            set_access(v, &v->g.gr[index], value & mask[index]);
        }
    } else if (index < sizeof(mask)) {
        set_access(v, &v->g.gr[index], value & mask[index]);
    }
}

static void ar_write(Vga *v, uint8_t value)
{
    static const uint8_t mask[AR_COUNT] = {0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
                                           0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
                                           0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f};
    unsigned index = v->g.ar_index & 0x1f;
    if (index == AR_MODE) {
        vbe_leave(v);
    }
    if (index < AR_COUNT) {
        vga_set(v, &v->g.ar[index], value & mask[index]);
        attribute_palette(v);
    }
}

static void cr_write_retrace_end(Vga *v, uint8_t value)
{
    vga_set(v, &v->g.cr[CR_RETRACE_END], value);
    if (!(value & RETRACE_END_IRQ_CLEAR)) {
        v->g.irq_pending = false;
    }
    line_set(&v->config.irq, vga_irq_level(v));
}

static void cr_write(Vga *v, uint8_t value)
{
    uint8_t index = v->g.cr_index;
    if (v->g.cr[CR_RETRACE_END] & RETRACE_END_PROTECT && index <= CR_OVERFLOW) {
        if (index == CR_OVERFLOW) { /* the line compare bit is not protected */
            vga_set(v, &v->g.cr[index], (v->g.cr[index] & ~0x10) | (value & 0x10));
        }
        return;
    }
    if (index == CR_RETRACE_END) {
        cr_write_retrace_end(v, value);
    } else if (index == CR_START_HIGH || index == CR_START_LOW) {
        /* latched at the retrace: what has passed keeps its address anyway */
        if (v->g.cr[index] != value) {
            vga_sync(v);
            v->g.cr[index] = value;
            vga_scan_changed(v);
        }
    } else if (index == CR_CURSOR_HIGH || index == CR_CURSOR_LOW) {
        if (v->g.cr[index] != value) {
            vga_sync(v);
            v->g.cr[index] = value;
        }
    } else if (index <= CR_LINE_COMPARE) {
        vga_set(v, &v->g.cr[index], value);
    }
}

static uint8_t cr_read(Vga *v)
{
    switch (v->g.cr_index) {
    case CR_LATCHES:
        return (uint8_t)(v->g.latch >> (8 * (v->g.gr[GR_READ_MAP] & 3)));
    case CR_ATTRIBUTE:
        return v->g.ar_data ? 0x80 : 0;
    case 0x26:
        return v->g.ar_index;
    default:
        return v->g.cr_index <= CR_LINE_COMPARE ? v->g.cr[v->g.cr_index] : 0;
    }
}

/* --- General registers ----------------------------------------------------------------------- */

/* The comparator on the palette's outputs, by which BIOSes tell colour monitors: it trips when a
 * level is above about a third of full scale. */
static uint8_t status_0(Vga *v)
{
    vga_sync_frames(v);
    uint32_t rgb = v->rgb[0];
    bool bright = (rgb >> 16 & 0xff) > 0x58 || (rgb >> 8 & 0xff) > 0x58 || (rgb & 0xff) > 0x58;
    return (uint8_t)((v->g.irq_pending ? STATUS_0_IRQ : 0) | (bright ? STATUS_0_SENSE : 0));
}

static uint8_t status_1(Vga *v)
{
    Beam beam = vga_sync_frames(v);
    const Timing *t = &v->timing;
    uint8_t value = 0;
    if (beam.line >= t->display_lines || beam.dot >= t->display_dots) {
        value |= STATUS_1_BLANK;
    }
    if (beam.line >= t->retrace_first && beam.line < t->retrace_end) {
        value |= STATUS_1_RETRACE;
    }
    /* bits 5-4: two of the video outputs, chosen by the plane enable register; the border's here */
    static const uint8_t low[4] = {0, 4, 1, 6}, high[4] = {2, 5, 3, 7};
    unsigned select = v->g.ar[AR_PLANE_ENABLE] >> 4 & 3;
    value |= (uint8_t)((v->g.ar[AR_OVERSCAN] >> low[select] & 1) << 4 |
                       (v->g.ar[AR_OVERSCAN] >> high[select] & 1) << 5);
    return value;
}

/* Ports 3Bxh are for monochrome, 3Dxh for colour: the others are silent. */
static bool decoded(const Vga *v, uint16_t port)
{
    if (port >= 0x3c0 && port < 0x3d0) {
        return true;
    }
    return (port >= 0x3d0) == ((v->g.misc & MISC_COLOR) != 0);
}

uint8_t vga_port_read(Vga *v, uint16_t port)
{
    uint8_t value;
    if (!decoded(v, port)) {
        return 0xff;
    }
    if (v->chip && v->chip->read && v->chip->read(v, port, &value)) {
        return value;
    }
    switch (port) {
    case 0x3c0:
        return v->g.ar_index;
    case 0x3c1:
        return (v->g.ar_index & 0x1f) < AR_COUNT ? v->g.ar[v->g.ar_index & 0x1f] : 0;
    case 0x3c2:
        return status_0(v);
    case 0x3c3:
        return v->g.enable;
    case 0x3c4:
        return v->g.sr_index;
    case 0x3c5:
        return v->g.sr_index <= SR_MEMORY_MODE ? v->g.sr[v->g.sr_index] : 0;
    case 0x3c6:
        return v->g.dac_mask;
    case 0x3c7:
        return v->g.dac_reading ? 3 : 0;
    case 0x3c8:
        return v->g.dac_index;
    case 0x3c9:
        return dac_read(v);
    case 0x3ca:
        return v->g.feature;
    case 0x3cc:
        return v->g.misc;
    case 0x3ce:
        return v->g.gr_index;
    case 0x3cf:
        return v->g.gr_index <= GR_BIT_MASK ? v->g.gr[v->g.gr_index] : 0;
    case 0x3b4:
    case 0x3d4:
        return v->g.cr_index;
    case 0x3b5:
    case 0x3d5:
        return cr_read(v);
    case 0x3ba:
    case 0x3da:
        v->g.ar_data = false;
        return status_1(v);
    default:
        return 0xff;
    }
}

static void attribute_write(Vga *v, uint8_t value)
{
    if (v->g.ar_data) {
        ar_write(v, value);
    } else {
        uint8_t index = value & 0x3f;
        if ((index ^ v->g.ar_index) & AR_INDEX_SCREEN_ON) {
            vga_set(v, &v->g.ar_index, index);
        }
        v->g.ar_index = index;
    }
    v->g.ar_data = !v->g.ar_data;
}

void vga_port_write(Vga *v, uint16_t port, uint8_t value)
{
    if (!decoded(v, port) || (v->chip && v->chip->write && v->chip->write(v, port, value))) {
        return;
    }
    switch (port) {
    case 0x3c0:
    case 0x3c1: /* decoded as one by the IBM card */
        attribute_write(v, value);
        break;
    case 0x3c2:
        vbe_leave(v);
        vga_set(v, &v->g.misc, value & 0xef);
        break;
    case 0x3c3:
        v->g.enable = value & 1;
        break;
    case 0x3c4:
        v->g.sr_index = value & (SR_COUNT - 1);
        break;
    case 0x3c5:
        sr_write(v, value);
        break;
    case 0x3c6:
        if (v->g.dac_mask != value) {
            vga_before_change(v);
            v->g.dac_mask = value;
            vga_palette_changed(v);
        }
        break;
    case 0x3c7:
        dac_begin_reading(v, value);
        break;
    case 0x3c8:
        v->g.dac_reading = false;
        v->g.dac_part = 0;
        v->g.dac_index = value;
        break;
    case 0x3c9:
        dac_write(v, value);
        break;
    case 0x3ce:
        v->g.gr_index = value & (GR_COUNT - 1);
        break;
    case 0x3cf:
        gr_write(v, value);
        break;
    case 0x3b4:
    case 0x3d4:
        v->g.cr_index = value & (CR_COUNT - 1);
        break;
    case 0x3b5:
    case 0x3d5:
        cr_write(v, value);
        break;
    case 0x3ba:
    case 0x3da:
        v->g.feature = value & 3;
        break;
    default:
        log_guest("port 0x%x cannot be written", port);
        break;
    }
}

/* Each claim has its own first port, which the handlers get as `self`'s offset base. */
#define PORT_OPS(base)                                                                             \
    static uint64_t read_##base(void *self, uint32_t offset, unsigned bytes)                       \
    {                                                                                              \
        (void)bytes;                                                                               \
        return vga_port_read(self, (uint16_t)(0x##base + offset));                                 \
    }                                                                                              \
    static void write_##base(void *self, uint32_t offset, uint64_t value, unsigned bytes)          \
    {                                                                                              \
        (void)bytes;                                                                               \
        vga_port_write(self, (uint16_t)(0x##base + offset), (uint8_t)value);                       \
    }                                                                                              \
    static const IoOps ops_##base = {read_##base, write_##base, 1, 1}

PORT_OPS(3b4);
PORT_OPS(3ba);
PORT_OPS(3c0);
PORT_OPS(3d4);
PORT_OPS(3da);

void vga_claim_ports(Vga *v)
{
    Bus *ports = v->dev.board->ports;
    bus_claim(ports, 0x3b4, 2, &ops_3b4, v, "vga crtc, monochrome");
    bus_claim(ports, 0x3ba, 1, &ops_3ba, v, "vga status, monochrome");
    bus_claim(ports, 0x3c0, 16, &ops_3c0, v, "vga");
    bus_claim(ports, 0x3d4, 2, &ops_3d4, v, "vga crtc");
    bus_claim(ports, 0x3da, 1, &ops_3da, v, "vga status");
}
