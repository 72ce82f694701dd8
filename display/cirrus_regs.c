/* Cirrus registers: extensions of sequencer, CRTC and graphics controller, hidden DAC, DDC.
 *
 * CL-GD5446 Technical Reference Manual. What the extensions do not name goes on to the VGA. Not
 * modelled: the video window (CR3xh), interlace, the lock of SR6 (it only reads back), the memory
 * and bus timing registers, which only read back.
 */
#include "display/cirrus_internal.h"

enum {
    CRYSTAL_HZ = 14318180,
    SR_INDEX_MASK = 0x1f,
    HIDDEN_READS = 4, /* of 3C6h, before the next access reaches the hidden register */
    CHIP_ID = 0xb8,   /* CR27: GD5446 */
    UNLOCKED = 0x12,
    LOCKED = 0x0f,
    DDC_CLOCK_OUT = 0x01,
    DDC_DATA_OUT = 0x02,
    DDC_CLOCK_IN = 0x04,
    DDC_DATA_IN = 0x80,
};

/* --- Sequencer ------------------------------------------------------------------------------- */

static uint8_t read_sr(const Cirrus *c)
{
    const Vga *v = &c->vga;
    uint8_t index = c->g.sr_index & SR_INDEX_MASK;
    switch (index) {
    case SR_DDC:
        return (uint8_t)((v->g.sr[index] & ~(DDC_CLOCK_IN | DDC_DATA_IN)) |
                         (c->g.ddc.clock ? DDC_CLOCK_IN : 0) |
                         (ddc_data(&c->g.ddc) ? DDC_DATA_IN : 0));
    case SR_CURSOR_X:
        return (uint8_t)(c->g.cursor_x >> 3);
    case SR_CURSOR_Y:
        return (uint8_t)(c->g.cursor_y >> 3);
    default:
        return v->g.sr[index];
    }
}

static void write_sr(Cirrus *c, uint8_t value)
{
    Vga *v = &c->vga;
    uint8_t index = c->g.sr_index & SR_INDEX_MASK;
    switch (index) {
    case SR_UNLOCK:
        v->g.sr[index] = (value & 0x17) == UNLOCKED ? UNLOCKED : LOCKED;
        break;
    case SR_DDC:
        v->g.sr[index] = value;
        ddc_drive(&c->g.ddc, value & DDC_CLOCK_OUT, value & DDC_DATA_OUT);
        break;
    case SR_CURSOR_X:
        vga_sync(v);
        c->g.cursor_x = (uint16_t)(value << 3 | c->g.sr_index >> 5);
        break;
    case SR_CURSOR_Y:
        vga_sync(v);
        c->g.cursor_y = (uint16_t)(value << 3 | c->g.sr_index >> 5);
        break;
    case SR_CURSOR_MODE:
    case SR_CURSOR_PATTERN:
        vga_sync(v);
        v->g.sr[index] = value;
        break;
    case SR_CONFIGURATION:
        v->g.sr[index] = (value & ~0x38) | CONFIGURATION_PCI;
        cirrus_linear_changed(c);
        break;
    default:
        vga_set(v, &v->g.sr[index], value);
        cirrus_linear_changed(c);
        break;
    }
}

uint32_t cirrus_clock_hz(Vga *v)
{
    unsigned clock = v->g.misc >> 2 & 3;
    uint32_t numerator = v->g.sr[SR_VCLK_NUMERATOR + clock] & 0x7f;
    uint32_t denominator = v->g.sr[SR_VCLK_DENOMINATOR + clock] & 0x3f;
    if (numerator == 0 || denominator < 2) {
        return 0; /* the oscillator stands still */
    }
    uint64_t hz = (uint64_t)CRYSTAL_HZ * numerator / (denominator >> 1);
    return (uint32_t)(hz >> (denominator & 1));
}

/* --- CRTC ------------------------------------------------------------------------------------ */

static uint8_t read_cr(const Vga *v)
{
    switch (v->g.cr_index) {
    case CR_PART_STATUS:
        return 0;
    case CR_ATTRIBUTE_INDEX:
        return v->g.ar_index;
    case CR_ID:
        return CHIP_ID;
    default:
        return v->g.cr[v->g.cr_index];
    }
}

/* Pixels as the extensions have them: SR7 has the clocking, the hidden DAC the layout of 16 bits.
 */
void cirrus_scan(Vga *v, Scan *s)
{
    static const uint8_t bits[8] = {8, 16, 24, 16, 32, 32, 32, 32};
    const uint8_t *cr = v->g.cr;
    if (!cirrus_packed(v)) {
        return;
    }
    uint32_t start = (uint32_t)cr[CR_START_HIGH] << 8 | cr[CR_START_LOW];
    start |= (cr[CR_EXTENDED_DISPLAY] & 0x01u) << 16 | (cr[CR_EXTENDED_DISPLAY] & 0x0cu) << 15 |
             (cr[CR_EXTENDED_OVERLAY] & 0x80u) << 12;
    bool doubled = (v->g.gr[GR_CLOCK_DOUBLE] & 0x20) != 0; /* two pixels a CRTC clock */
    /* QUIRK: SeaVGABIOS leaves the sequencer's screen-off bit set in all packed modes; it counts
     * here only together with power saving, as X drivers set them. */
    s->off = s->off && v->g.gr[GR_POWER] & 0x06;
    s->kind = SCAN_LINEAR;
    s->text = false;
    s->square = true;
    s->bits = bits[(v->g.sr[SR_EXTENDED_MODE] & SR7_CLOCKING) >> 1];
    if (doubled) {
        s->bits = s->bits == 32 ? 16 : 8;
    }
    if (s->bits == 16 && (cirrus_of(v)->g.hidden & 0x0f) != 1) {
        s->bits = 15;
    }
    s->width = s->columns * (doubled ? 16 : 8);
    s->mask = v->size - 1;
    s->start = start << 2 & s->mask;
    s->pitch = (cr[CR_OFFSET] | (cr[CR_EXTENDED_DISPLAY] & 0x10u) << 4) << 3;
}

/* --- Graphics controller --------------------------------------------------------------------- */

uint8_t cirrus_read_gr(const Cirrus *c, uint8_t index)
{
    uint8_t value = c->vga.g.gr[index & (GR_COUNT - 1)];
    return index == GR_BLT_START && c->g.blt.active ? value | BLT_STATUS_BUSY | 0x08 : value;
}

static void write_blt_start(Cirrus *c, uint8_t value)
{
    uint8_t *status = &c->vga.g.gr[GR_BLT_START];
    *status = value & BLT_STATUS_AUTOSTART;
    if (value & BLT_STATUS_RESET) {
        cirrus_blt_stop(c);
    } else if (value & BLT_STATUS_START && !c->g.blt.active) {
        cirrus_blt_start(c);
    }
}

void cirrus_write_gr(Cirrus *c, uint8_t index, uint8_t value)
{
    Vga *v = &c->vga;
    switch (index) {
    case GR_MODE:
        if ((v->g.gr[index] ^ value) & (GR_MODE_INTERLEAVE | GR_MODE_256)) {
            vga_set(v, &v->g.gr[index], value & 0x7f);
        }
        v->g.gr[index] = value & 0x7f;
        vga_memory_changed(v);
        cirrus_linear_changed(c);
        break;
    case GR_OFFSET_0:
    case GR_OFFSET_1:
        v->g.gr[index] = value;
        vga_memory_changed(v);
        break;
    case GR_EXTENSIONS:
        v->g.gr[index] = value;
        vga_memory_changed(v);
        cirrus_linear_changed(c);
        break;
    case GR_POWER:
    case GR_CLOCK_DOUBLE:
        vga_set(v, &v->g.gr[index], value);
        break;
    case GR_BLT_START:
        write_blt_start(c, value);
        break;
    case GR_BLT_TARGET + 2:
        v->g.gr[index] = value;
        if (v->g.gr[GR_BLT_START] & BLT_STATUS_AUTOSTART && !c->g.blt.active) {
            cirrus_blt_start(c);
        }
        break;
    default:
        v->g.gr[index & (GR_COUNT - 1)] = value;
        if (index <= GR_ENABLE_SET_RESET) {
            vga_memory_changed(v);
        }
        break;
    }
}

/* --- Palette --------------------------------------------------------------------------------- */

uint8_t *cirrus_dac(Vga *v, uint8_t index)
{
    return v->g.sr[SR_CURSOR_MODE] & CURSOR_COLORS
               ? cirrus_of(v)->g.cursor_color[index % CURSOR_COLOR_COUNT]
               : NULL;
}

static bool read_mask(Cirrus *c, uint8_t *value)
{
    if (c->g.hidden_reads < HIDDEN_READS) {
        c->g.hidden_reads++;
        return false;
    }
    c->g.hidden_reads = 0;
    *value = c->g.hidden;
    return true;
}

static bool write_mask(Cirrus *c, uint8_t value)
{
    bool hidden = c->g.hidden_reads == HIDDEN_READS;
    c->g.hidden_reads = 0;
    if (hidden) {
        vga_set(&c->vga, &c->g.hidden, value);
    }
    return hidden;
}

/* --- Ports ----------------------------------------------------------------------------------- */

bool cirrus_read(Vga *v, uint16_t port, uint8_t *value)
{
    Cirrus *c = cirrus_of(v);
    if (port == 0x3c6) {
        return read_mask(c, value);
    }
    c->g.hidden_reads = 0;
    switch (port) {
    case 0x3c4:
        *value = c->g.sr_index;
        return true;
    case 0x3c5:
        if ((c->g.sr_index & SR_INDEX_MASK) <= SR_MEMORY_MODE) {
            return false;
        }
        *value = read_sr(c);
        return true;
    case 0x3cf:
        *value = cirrus_read_gr(c, v->g.gr_index);
        return true;
    case 0x3b5:
    case 0x3d5:
        if (v->g.cr_index <= CR_LINE_COMPARE || v->g.cr_index == CR_LATCHES ||
            v->g.cr_index == CR_ATTRIBUTE) {
            return false;
        }
        *value = read_cr(v);
        return true;
    default:
        return false;
    }
}

bool cirrus_write(Vga *v, uint16_t port, uint8_t value)
{
    Cirrus *c = cirrus_of(v);
    if (port == 0x3c6) {
        return write_mask(c, value);
    }
    c->g.hidden_reads = 0;
    switch (port) {
    case 0x3c4:
        c->g.sr_index = value;
        v->g.sr_index = value & SR_INDEX_MASK;
        return true;
    case 0x3c5:
        if ((c->g.sr_index & SR_INDEX_MASK) <= SR_MEMORY_MODE) {
            return false;
        }
        write_sr(c, value);
        return true;
    case 0x3cf:
        if (v->g.gr_index > GR_ENABLE_SET_RESET && v->g.gr_index != GR_MODE &&
            v->g.gr_index <= GR_BIT_MASK) {
            return false;
        }
        cirrus_write_gr(c, v->g.gr_index, value);
        return true;
    case 0x3b5:
    case 0x3d5:
        if (v->g.cr_index <= CR_LINE_COMPARE) {
            return false;
        }
        vga_set(v, &v->g.cr[v->g.cr_index], value);
        return true;
    default:
        return false;
    }
}
