/* VGA with Bochs VBE extensions: the card, its PCI function, reset and state.
 *
 * IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"; Bochs VBE DISPI interface;
 * PCI 1234:1111: BAR0 the frame buffer, BAR2 registers in memory (the monitor's EDID, VGA ports
 * from 400h, DISPI from 500h), ROM the VGA BIOS. Video memory is part of the board's Ram. Not
 * modelled: the effect of the PCI command register on the VGA's own ports and window. Wired by
 * pc_build.
 */
#include "display/vga.h"

#include <stdlib.h>
#include <string.h>

#include "display/ddc.h"
#include "display/vga_internal.h"

enum {
    MMIO_SIZE = 4096,
    MMIO_EDID_END = 0x80,
    MMIO_PORTS = 0x400, /* ports 3C0h-3DFh */
    MMIO_PORTS_END = 0x420,
    MMIO_VBE = 0x500,
    MMIO_VBE_END = MMIO_VBE + 2 * VBE_REGISTERS,
    MMIO_EXTENDED = 0x600, /* size of this block, then byte order */
    MMIO_BYTE_ORDER = 0x604,
    LITTLE_ENDIAN_MARK = 0x1e1e1e1e,
};

static uint8_t mmio_read_byte(Vga *v, uint32_t offset)
{
    if (offset < MMIO_EDID_END) {
        uint8_t edid[DDC_EDID_SIZE];
        ddc_edid(edid);
        return edid[offset];
    }
    if (offset >= MMIO_PORTS && offset < MMIO_PORTS_END) {
        return vga_port_read(v, (uint16_t)(0x3c0 + offset - MMIO_PORTS));
    }
    if (offset >= MMIO_VBE && offset < MMIO_VBE_END) {
        return (uint8_t)(vbe_read(v, (offset - MMIO_VBE) / 2) >> (8 * (offset & 1)));
    }
    if (offset >= MMIO_EXTENDED && offset < MMIO_EXTENDED + 8) {
        uint32_t value = offset < MMIO_BYTE_ORDER ? 8 : LITTLE_ENDIAN_MARK;
        return (uint8_t)(value >> (8 * (offset & 3)));
    }
    return 0;
}

static uint64_t mmio_read(void *self, uint32_t offset, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)mmio_read_byte(self, offset + i) << (8 * i);
    }
    return value;
}

static void mmio_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Vga *v = self;
    if (offset >= MMIO_VBE && offset < MMIO_VBE_END) {
        unsigned index = (offset - MMIO_VBE) / 2;
        uint16_t word = (uint16_t)value;
        if (bytes == 1) {
            uint16_t old = v->g.vbe[index];
            word = offset & 1 ? (uint16_t)((old & 0xff) | value << 8)
                              : (uint16_t)((old & 0xff00) | (value & 0xff));
        }
        vbe_write(v, index, word);
        return;
    }
    for (unsigned i = 0; i < bytes; i++) {
        if (offset + i >= MMIO_PORTS && offset + i < MMIO_PORTS_END) {
            vga_port_write(v, (uint16_t)(0x3c0 + offset + i - MMIO_PORTS),
                           (uint8_t)(value >> (8 * i)));
        }
    }
}

static const IoOps mmio_ops = {mmio_read, mmio_write, 1, 2};

void vga_reset(Vga *v, ResetKind kind)
{
    uint64_t frames = kind == RESET_POWER ? 0 : v->g.frames;
    bool direct = v->g.direct;
    memset(&v->g, 0, sizeof(v->g));
    v->g.direct = direct; /* until the registers' effects are looked at, below */
    v->g.frames = frames;
    v->g.enable = 1;
    v->g.dac_mask = 0xff;
    v->g.shown = clock_now(&v->dev.board->clock);
    v->style++;
    v->timing = (Timing){0};
    vbe_reset(v);
    line_set(&v->config.irq, false);
    vga_palette_changed(v);
    vga_after_change(v);
    vga_frame_begin(v);
}

static void reset(Device *d, ResetKind kind)
{
    vga_reset((Vga *)d, kind);
}

static void state_registers(Vga *v, StateIo *io)
{
    state_u8(io, "misc", &v->g.misc);
    state_u8(io, "feature", &v->g.feature);
    state_u8(io, "enable", &v->g.enable);
    state_u8(io, "sr_index", &v->g.sr_index);
    state_u8(io, "cr_index", &v->g.cr_index);
    state_u8(io, "gr_index", &v->g.gr_index);
    state_u8(io, "ar_index", &v->g.ar_index);
    state_check(io,
                v->g.sr_index < SR_COUNT && v->g.cr_index < CR_COUNT && v->g.gr_index < GR_COUNT,
                "register index is out of range");
    state_bool(io, "ar_data", &v->g.ar_data);
    state_bytes(io, "sr", v->g.sr, sizeof(v->g.sr));
    state_bytes(io, "cr", v->g.cr, sizeof(v->g.cr));
    state_bytes(io, "gr", v->g.gr, sizeof(v->g.gr));
    state_bytes(io, "ar", v->g.ar, sizeof(v->g.ar));
    state_bytes(io, "dac", v->g.dac, sizeof(v->g.dac));
    state_u8(io, "dac_mask", &v->g.dac_mask);
    state_u8(io, "dac_index", &v->g.dac_index);
    state_u8(io, "dac_part", &v->g.dac_part);
    state_check(io, v->g.dac_part < 3, "palette component is out of range");
    state_bool(io, "dac_reading", &v->g.dac_reading);
    state_bool(io, "dac_8_bit", &v->g.dac_8_bit);
    state_bytes(io, "dac_latch", v->g.dac_latch, sizeof(v->g.dac_latch));
    state_u32(io, "latch", &v->g.latch);
    if (state_since(io, 2)) {
        state_bool(io, "direct", &v->g.direct);
        state_u8(io, "direct_wait", &v->g.direct_wait);
    } else {
        v->g.direct = false;
        v->g.direct_wait = 0;
    }
    state_bool(io, "irq_pending", &v->g.irq_pending);
    for (unsigned i = 0; i < VBE_REGISTERS; i++) {
        state_u16(io, "vbe", &v->g.vbe[i]);
    }
    state_u16(io, "vbe_index", &v->g.vbe_index);
    state_u8(io, "vbe_low", &v->g.vbe_low);
    state_bool(io, "vbe_lingers", &v->g.vbe_lingers);
}

static void state_beam(Vga *v, StateIo *io)
{
    state_i64(io, "epoch", &v->g.epoch);
    state_u64(io, "frame", &v->g.frame);
    state_u64(io, "frames", &v->g.frames);
    state_i64(io, "shown", &v->g.shown);
    state_u32(io, "next_line", &v->g.next_line);
    state_u32(io, "row", &v->g.row);
    state_u32(io, "row_index", &v->g.row_index);
    state_u8(io, "row_scan", &v->g.row_scan);
    state_bool(io, "second", &v->g.second);
    state_bool(io, "split", &v->g.split);
    state_bool(io, "blanked", &v->g.blanked);
    state_timer(io, "timer", &v->timer);
    state_check(io, v->g.row_scan < 32 && v->g.row < v->size, "scan position is out of range");
    const int64_t far = INT64_C(1) << 60;
    state_check(io, v->g.epoch > -far && v->g.epoch < far && v->g.shown > -far && v->g.shown < far,
                "time of the picture is out of range");
}

void vga_state(Vga *v, StateIo *io)
{
    state_registers(v, io);
    state_beam(v, io);
    state_check(io, !vbe_shown(v) || vbe_possible(v), "VBE mode is impossible");
    state_check(io, v->g.vbe[VBE_BANK] < v->size / VGA_BANK, "VBE bank is out of range");
}

static void state(Device *d, StateIo *io)
{
    vga_state((Vga *)d, io);
}

void vga_restored(Vga *v)
{
    v->style++;
    vga_palette_changed(v);
    vga_memory_restored(v);
    vga_scan_changed(v);
    vga_timing_restored(v);
    vga_redraw_all(v);
    line_set(&v->config.irq, vga_irq_level(v));
}

static void restored(Device *d)
{
    vga_restored((Vga *)d);
}

void vga_fini(Vga *v)
{
    timer_disarm(&v->timer);
    free(v->stamp);
    free(v->heat);
    free(v->text);
}

static void destroy(Device *d)
{
    vga_fini((Vga *)d);
    free(d);
}

static const DeviceType vga_type = {
    .name = "vga",
    .version = 2,
    .reset = reset,
    .state = state,
    .restored = restored,
    .destroy = destroy,
};

static void claim_window(Vga *v)
{
    Bus *memory = v->dev.board->memory;
    RamView view = {
        .readable = true, .writable = true, .read_at = v->vram->at, .write_at = v->vram->at};
    v->window = bus_claim(memory, VGA_WINDOW, VGA_WINDOW_SIZE, &vga_window_ops, v, "vga window");
    for (unsigned i = 0; i < 2; i++) {
        v->direct[i] = bus_claim_ram(memory, VGA_WINDOW, VGA_HALF_BANK, &view, "vga memory");
        bus_move(v->direct[i], VGA_WINDOW, false);
    }
    if (!v->config.pci && v->config.lfb_base) {
        bus_claim_ram(memory, v->config.lfb_base, v->size, &view, "vga frame buffer");
    }
}

bool vga_init(Vga *v, Board *b, const VgaConfig *config, const VgaChip *chip, Err *err)
{
    v->config = *config;
    v->chip = chip;
    v->dev.board = b;
    v->size = (config->vram_mib ? config->vram_mib : 16) << 20;
    v->vram = ram_add(&b->ram, "vram", v->size, err);
    v->stamp = calloc(v->size / RAM_PAGE, sizeof(*v->stamp));
    v->heat = calloc(v->size / RAM_PAGE, sizeof(*v->heat));
    v->text = calloc(VGA_MAX_ROWS, sizeof(*v->text));
    if (!v->vram || !v->stamp || !v->heat || !v->text) {
        free(v->stamp);
        free(v->heat);
        free(v->text);
        return err_set(err, "no memory for the video card");
    }
    v->bytes = ram_at(&b->ram, v->vram->at);
    v->planes = (uint32_t *)(void *)v->bytes;
    timer_init(&v->timer, &b->clock, "vga.frame", vga_timer_fired, v);
    v->timer.late = vga_timer_late;
    claim_window(v);
    vga_claim_ports(v);
    return true;
}

static void add_to_pci(Vga *v)
{
    static const PciIds ids = {.vendor = 0x1234,
                               .device = 0x1111,
                               .class_code = 0x030000,
                               .revision = 2,
                               .subsystem_vendor = 0x1af4,
                               .subsystem = 0x1100};
    v->pci = pci_add(v->config.pci, v->config.pci_device, 0, &ids, v);
    pci_bar_ram(v->pci, 0, v->vram, "vga frame buffer");
    pci_bar_memory(v->pci, 2, MMIO_SIZE, false, &mmio_ops, "vga registers");
    if (v->config.rom) {
        pci_rom(v->pci, v->config.rom, "vga bios");
    }
}

Vga *vga_new(Board *b, const VgaConfig *config, const char *id, Err *err)
{
    Vga *v = calloc(1, sizeof(*v));
    if (!v || !vga_init(v, b, config, NULL, err)) {
        free(v);
        return NULL;
    }
    vbe_claim_ports(v);
    if (config->pci) {
        add_to_pci(v);
    }
    device_add(b, &v->dev, &vga_type, id);
    return v;
}
