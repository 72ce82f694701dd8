/* 82441FX host bridge of the 440FX: memory map, shadow memory, SMRAM.
 *
 * Data sheet: Intel 440FX PCIset, 290549. Not modelled: DRAM timing and refresh (the registers are
 * storage), ECC and parity, D_CLS (data accesses of SMM see SMRAM with it, too), arbitration. DRB
 * shows the configured memory and cannot move it. Wired by pc_build: SMIACT# comes from the
 * processor.
 */
#include "chipset/i440fx.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("i440fx");

/* Registers (data sheet, 3.2). */
enum {
    DBC = 0x53,
    DRAMC = 0x57,
    PAM0 = 0x59,
    DRB = 0x60,
    FDHC = 0x68,
    MTT = 0x70,
    CLT = 0x71,
    SMRAM = 0x72,
    ERRCMD = 0x90,
    ERRSTS = 0x91,
    TRC = 0x93,
    PAM_READ = 1,
    PAM_WRITE = 2,
    FDHC_SHIFT = 6,
    FDHC_512K = 1,
    FDHC_15M = 2,
    SMRAM_BASE_SEG = 0x02,
    SMRAM_ENABLE = 0x08,
    SMRAM_LOCK = 0x10,
    SMRAM_CLOSED = 0x20,
    SMRAM_OPEN = 0x40,
    TRC_HARD = 0x02,
    TRC_RESET = 0x04,
    PAM_SEGMENTS = 13,
    RAM_LEVEL = 1,
    PAM_LEVEL = 2,
    SMRAM_LEVEL = 3,
};
#define KIB 1024u
#define MIB (1024u * KIB)
#define ROM_WINDOW 0xe0000u
#define TOP (UINT64_C(1) << 32)

typedef struct Segment {
    uint32_t base, size;
    uint8_t offset, shift; /* where its PAM bits are */
    IoRange *range;
} Segment;

struct I440fx {
    Device dev;
    I440fxConfig config;
    PciFunction *function;
    Segment segment[PAM_SEGMENTS];
    IoRange *hole_512k, *hole_15m; /* memory that FDHC takes away; NULL: not that much memory */
    IoRange *smram;
    struct {
        bool smiact;
    } g;
};

/* Memory addresses are offsets in the RAM block. */
static IoRange *map_ram(I440fx *fx, Board *b, uint64_t base, uint64_t end, const char *what)
{
    if (end > fx->config.ram->size) {
        end = fx->config.ram->size;
    }
    if (base >= end) {
        return NULL;
    }
    uint32_t at = fx->config.ram->at + (uint32_t)base;
    IoRange *r = bus_claim_ram(b->memory, base, end - base, &(RamView){true, true, at, at}, what);
    bus_set_level(r, RAM_LEVEL);
    return r;
}

/* What reads the segment's addresses when they are not sent to memory: a ROM's offset in Ram. */
static bool rom_behind(const I440fx *fx, uint32_t base, uint32_t *at)
{
    const RamBlock *bios = fx->config.bios, *rom = fx->config.expansion_rom;
    uint32_t from_top = MIB - base;
    if (base >= ROM_WINDOW) {
        *at = bios->at + bios->size - from_top;
        return from_top <= bios->size;
    }
    *at = rom ? rom->at + (base - 0xc0000) : 0;
    return rom && base - 0xc0000 < rom->size;
}

static void apply_pam(I440fx *fx)
{
    const uint8_t *config = pci_config(fx->function);
    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        Segment *s = &fx->segment[i];
        unsigned bits = config[s->offset] >> s->shift;
        uint32_t ram = fx->config.ram->at + s->base, rom;
        bool has_rom = rom_behind(fx, s->base, &rom);
        RamView view = {.readable = bits & PAM_READ || has_rom,
                        .writable = bits & PAM_WRITE,
                        .read_at = bits & PAM_READ ? ram : rom,
                        .write_at = ram};
        if (!view.readable) {
            view.read_at = ram;
        }
        if (!view.writable) {
            view.write_at = view.read_at;
        }
        bus_set_view(s->range, &view);
        bus_move(s->range, s->base, view.readable || view.writable);
    }
}

static void apply_smram(I440fx *fx)
{
    uint8_t reg = pci_config(fx->function)[SMRAM];
    bool visible = reg & SMRAM_ENABLE && (fx->g.smiact || reg & SMRAM_OPEN);
    bus_move(fx->smram, 0xa0000, visible);
}

static void apply_holes(I440fx *fx)
{
    unsigned hole = pci_config(fx->function)[FDHC] >> FDHC_SHIFT;
    bus_move(fx->hole_512k, 512 * KIB, hole != FDHC_512K);
    if (fx->hole_15m) {
        bus_move(fx->hole_15m, 15 * MIB, hole != FDHC_15M);
    }
}

void i440fx_smiact(void *i440fx, unsigned pin, bool level)
{
    I440fx *fx = i440fx;
    (void)pin;
    if (fx->g.smiact != level) {
        fx->g.smiact = level;
        apply_smram(fx);
    }
}

/* D_LCK closes SMRAM until the next reset (data sheet, 3.2.22). */
static void write_smram(I440fx *fx)
{
    uint8_t *reg = &pci_config(fx->function)[SMRAM];
    if (*reg & SMRAM_LOCK) {
        *reg &= (uint8_t)~SMRAM_OPEN;
        pci_writable(fx->function)[SMRAM] = SMRAM_ENABLE | SMRAM_CLOSED;
    }
    apply_smram(fx);
}

static void write_reset_control(I440fx *fx)
{
    uint8_t *reg = &pci_config(fx->function)[TRC];
    if (*reg & TRC_RESET) {
        bool hard = *reg & TRC_HARD;
        *reg &= (uint8_t)~TRC_RESET;
        log_trace("%s reset by turbo reset control", hard ? "hard" : "soft");
        line_pulse(hard ? &fx->config.reset : &fx->config.init);
    }
}

static void i440fx_written(void *self, unsigned offset, unsigned bytes)
{
    I440fx *fx = self;
    unsigned end = offset + bytes;
    if (offset < PAM0 + 7 && end > PAM0) {
        apply_pam(fx);
    }
    if (offset <= FDHC && end > FDHC) {
        apply_holes(fx);
    }
    if (offset <= SMRAM && end > SMRAM) {
        write_smram(fx);
    }
    if (offset <= TRC && end > TRC) {
        write_reset_control(fx);
    }
}

static void i440fx_apply(I440fx *fx)
{
    bool locked = pci_config(fx->function)[SMRAM] & SMRAM_LOCK;
    pci_writable(fx->function)[SMRAM] =
        SMRAM_ENABLE | SMRAM_CLOSED | (locked ? 0 : SMRAM_LOCK | SMRAM_OPEN);
    apply_pam(fx);
    apply_holes(fx);
    apply_smram(fx);
}

static void i440fx_reset(Device *d, ResetKind kind)
{
    I440fx *fx = (I440fx *)d;
    (void)kind;
    fx->g.smiact = false;
    i440fx_apply(fx);
}

static void i440fx_state(Device *d, StateIo *io)
{
    I440fx *fx = (I440fx *)d;
    state_bool(io, "smiact", &fx->g.smiact);
}

static void i440fx_restored(Device *d)
{
    i440fx_apply((I440fx *)d);
}

static const DeviceType i440fx_type = {
    .name = "i440fx",
    .version = 1,
    .reset = i440fx_reset,
    .state = i440fx_state,
    .restored = i440fx_restored,
};

/* Row boundaries in units of 8 MiB, as firmware would find them for this much memory. */
static void set_rows(uint8_t *drb, uint32_t ram_size)
{
    uint32_t units = (ram_size + 8 * MIB - 1) / (8 * MIB), row = 1;
    while (row * 8 < units) {
        row *= 2;
    }
    for (unsigned i = 0; i < 8; i++) {
        uint32_t top = (i + 1) * row < units ? (i + 1) * row : units;
        drb[i] = (uint8_t)(top < 255 ? top : 255);
    }
}

static void add_function(I440fx *fx)
{
    static const PciIds ids = {.vendor = 0x8086,
                               .device = 0x1237,
                               .class_code = 0x060000,
                               .revision = 2,
                               .subsystem_vendor = 0x1af4, /* by these two SeaBIOS knows a board
                                                            * that offers fw_cfg */
                               .subsystem = 0x1100};
    PciFunction *f = fx->function = pci_add(fx->config.bus, 0, 0, &ids, fx);
    uint8_t *config = pci_config(f), *writable = pci_writable(f);
    config[PCI_COMMAND] = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER; /* both cannot be changed */
    writable[PCI_COMMAND] = PCI_COMMAND_PARITY;
    config[PCI_STATUS] |= PCI_STATUS_FAST_BACK;
    writable[PCI_CACHE_LINE] = writable[PCI_INTERRUPT_LINE] = 0;
    config[DBC] = 0x80;
    config[DRAMC] = 0x01;
    config[MTT] = 0x20;
    config[CLT] = 0x10;
    config[SMRAM] = SMRAM_BASE_SEG;
    set_rows(config + DRB, fx->config.ram->size);
    memset(writable + 0x50, 0xff, PAM0 - 0x50);
    writable[PAM0] = 0xf0;
    memset(writable + PAM0 + 1, 0xff, 6);
    memset(writable + DRB, 0xff, 8);
    writable[FDHC] = 0xc0;
    writable[MTT] = 0xfc;
    writable[CLT] = 0xf8;
    writable[ERRCMD] = 0xff;
    pci_write_1_clears(f)[ERRSTS] = 0xff;
    writable[TRC] = TRC_HARD | TRC_RESET;
    pci_on_write(f, i440fx_written);
}

static void add_segments(I440fx *fx, Board *b)
{
    static const char *const names[PAM_SEGMENTS] = {
        "pam f0000", "pam c0000", "pam c4000", "pam c8000", "pam cc000", "pam d0000", "pam d4000",
        "pam d8000", "pam dc000", "pam e0000", "pam e4000", "pam e8000", "pam ec000"};
    for (unsigned i = 0; i < PAM_SEGMENTS; i++) {
        Segment *s = &fx->segment[i];
        *s = (Segment){.base = i ? 0xc0000 + (i - 1) * 16 * KIB : 0xf0000,
                       .size = i ? 16 * KIB : 64 * KIB,
                       .offset = (uint8_t)(PAM0 + (i + 1) / 2),
                       .shift = i == 0 || i % 2 == 0 ? 4 : 0};
        RamView view = {.read_at = fx->config.ram->at, .write_at = fx->config.ram->at};
        s->range = bus_claim_ram(b->memory, s->base, s->size, &view, names[i]);
        bus_set_level(s->range, PAM_LEVEL);
    }
}

I440fx *i440fx_new(Board *b, const I440fxConfig *config, const char *id)
{
    I440fx *fx = calloc(1, sizeof(*fx));
    assert(fx && config->ram->size >= MIB && config->ram->size <= I440FX_MAX_RAM);
    assert(config->bios->size <= 16 * MIB);
    fx->config = *config;
    add_function(fx);
    map_ram(fx, b, 0, 512 * KIB, "ram");
    fx->hole_512k = map_ram(fx, b, 512 * KIB, 640 * KIB, "ram 512k");
    map_ram(fx, b, MIB, 15 * (uint64_t)MIB, "ram 1m");
    fx->hole_15m = map_ram(fx, b, 15 * MIB, 16 * (uint64_t)MIB, "ram 15m");
    map_ram(fx, b, 16 * MIB, I440FX_MAX_RAM, "ram 16m");
    add_segments(fx, b);
    uint32_t smram = config->ram->at + 0xa0000;
    fx->smram =
        bus_claim_ram(b->memory, 0xa0000, 0x20000, &(RamView){true, true, smram, smram}, "smram");
    bus_move(fx->smram, 0xa0000, false);
    bus_set_level(fx->smram, SMRAM_LEVEL);
    IoRange *bios = bus_claim_ram(b->memory, TOP - config->bios->size, config->bios->size,
                                  &(RamView){true, false, config->bios->at, 0}, "bios");
    bus_set_level(bios, RAM_LEVEL);
    device_add(b, &fx->dev, &i440fx_type, id);
    return fx;
}
