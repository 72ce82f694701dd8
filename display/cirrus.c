/* Cirrus Logic GD5446: the card, its PCI function, reset and state.
 *
 * CL-GD5446 Technical Reference Manual. A VGA (vga*.c) with extension registers (cirrus_regs.c),
 * packed-pixel memory (cirrus_mem.c), a blitter (cirrus_blt.c), a cursor (cirrus_cursor.c) and DDC
 * (ddc.c). PCI 1013:00B8: BAR0 the frame buffer, BAR1 registers in memory, ROM the VGA BIOS. Not
 * modelled: the video window and its port, interlaced modes. Wired by pc_build.
 */
#include "display/cirrus.h"

#include <stdlib.h>
#include <string.h>

#include "display/cirrus_internal.h"

enum { MMIO_SIZE = 4096, DRAM_2_MIB = 0x18, DRAM_1_MIB = 0x10, DRAM_TWO_BANKS = 0x80 };

static const VgaChip cirrus_chip = {
    .read = cirrus_read,
    .write = cirrus_write,
    .scan = cirrus_scan,
    .clock_hz = cirrus_clock_hz,
    .window_read = cirrus_window_read,
    .window_write = cirrus_window_write,
    .direct = cirrus_direct,
    .dac = cirrus_dac,
    .overlay_mark = cirrus_cursor_mark,
    .overlay = cirrus_cursor_draw,
};

static void reset(Device *d, ResetKind kind)
{
    Cirrus *c = (Cirrus *)d;
    Vga *v = &c->vga;
    memset(&c->g, 0, sizeof(c->g));
    ddc_init(&c->g.ddc);
    vga_reset(v, kind);
    /* power-on values: VCLK 25.180, 28.325, 41.165 and 36.082 MHz; the size of memory */
    static const uint8_t numerator[4] = {0x66, 0x5b, 0x45, 0x7e};
    static const uint8_t denominator[4] = {0x3b, 0x2f, 0x30, 0x33};
    memcpy(&v->g.sr[SR_VCLK_NUMERATOR], numerator, 4);
    memcpy(&v->g.sr[SR_VCLK_DENOMINATOR], denominator, 4);
    v->g.sr[SR_UNLOCK] = 0x0f;
    v->g.sr[SR_CONFIGURATION] = CONFIGURATION_PCI;
    v->g.sr[SR_DRAM] = v->size == 1 << 20
                           ? DRAM_1_MIB
                           : (v->size == 2 << 20 ? DRAM_2_MIB : DRAM_2_MIB | DRAM_TWO_BANKS);
    vga_after_change(v);
    cirrus_linear_moved(c);
}

static void state_blt(Cirrus *c, StateIo *io)
{
    Blt *blt = &c->g.blt;
    state_bool(io, "blt_active", &blt->active);
    state_u16(io, "blt_width", &blt->width);
    state_u16(io, "blt_rows", &blt->rows);
    state_u16(io, "blt_target_pitch", &blt->target_pitch);
    state_u16(io, "blt_source_pitch", &blt->source_pitch);
    state_u32(io, "blt_target", &blt->target);
    state_u32(io, "blt_source", &blt->source);
    state_u8(io, "blt_mode", &blt->mode);
    state_u8(io, "blt_rop", &blt->rop);
    state_u8(io, "blt_extensions", &blt->extensions);
    state_u8(io, "blt_mask", &blt->mask);
    state_u16(io, "blt_filled", &blt->filled);
    state_bytes(io, "blt_data", c->g.data, sizeof(c->g.data));
    state_check(io, !blt->active || cirrus_blt_possible(blt), "the blit is impossible");
}

static void state(Device *d, StateIo *io)
{
    Cirrus *c = (Cirrus *)d;
    vga_state(&c->vga, io);
    state_u8(io, "sr_index_8", &c->g.sr_index);
    state_u8(io, "hidden", &c->g.hidden);
    state_u8(io, "hidden_reads", &c->g.hidden_reads);
    state_u16(io, "cursor_x", &c->g.cursor_x);
    state_u16(io, "cursor_y", &c->g.cursor_y);
    state_bytes(io, "cursor_color", c->g.cursor_color, sizeof(c->g.cursor_color));
    state_bytes(io, "latch_8", c->g.latch, sizeof(c->g.latch));
    state_blt(c, io);
    ddc_state(&c->g.ddc, io);
}

static void restored(Device *d)
{
    Cirrus *c = (Cirrus *)d;
    vga_restored(&c->vga);
    cirrus_linear_moved(c);
}

static void destroy(Device *d)
{
    vga_fini((Vga *)d);
    free(d);
}

static const DeviceType cirrus_type = {
    .name = "cirrus",
    .version = 2,
    .reset = reset,
    .state = state,
    .restored = restored,
    .destroy = destroy,
};

static void config_written(void *self, unsigned offset, unsigned bytes)
{
    (void)offset;
    (void)bytes;
    cirrus_linear_moved(self);
}

static void add_to_pci(Cirrus *c)
{
    static const PciIds ids = {.vendor = 0x1013,
                               .device = 0x00b8,
                               .class_code = 0x030000,
                               .subsystem_vendor = 0x1af4,
                               .subsystem = 0x1100};
    Vga *v = &c->vga;
    Bus *memory = v->dev.board->memory;
    v->pci = pci_add(v->config.pci, v->config.pci_device, 0, &ids, c);
    pci_bar_memory(v->pci, 0, APERTURE, true, &cirrus_aperture_ops, "cirrus frame buffer");
    pci_bar_memory(v->pci, 1, MMIO_SIZE, false, &cirrus_mmio_ops, "cirrus registers");
    if (v->config.rom) {
        pci_rom(v->pci, v->config.rom, "vga bios");
    }
    pci_on_write(v->pci, config_written);
    /* claimed after the BAR and so on top of it */
    uint32_t last = v->size - RAM_PAGE;
    for (unsigned i = 0; i < 2; i++) {
        uint32_t at = v->vram->at + (i ? last : 0);
        RamView view = {.readable = true, .writable = true, .read_at = at, .write_at = at};
        c->linear[i] = bus_claim_ram(memory, 0, i ? RAM_PAGE : last, &view, "cirrus memory");
        bus_move(c->linear[i], 0, false);
    }
}

Vga *cirrus_new(Board *b, const VgaConfig *config, const char *id, Err *err)
{
    VgaConfig own = *config;
    own.vram_mib = config->vram_mib == 1 || config->vram_mib == 2 ? config->vram_mib : 4;
    Cirrus *c = calloc(1, sizeof(*c));
    if (!c || !vga_init(&c->vga, b, &own, &cirrus_chip, err)) {
        free(c);
        err_set(err, "no memory for the video card");
        return NULL;
    }
    add_to_pci(c);
    device_add(b, &c->vga.dev, &cirrus_type, id);
    return &c->vga;
}
