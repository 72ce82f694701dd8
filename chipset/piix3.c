/* 82371SB (PIIX3), function 0: PCI to ISA bridge.
 *
 * Data sheet: Intel 82371FB/82371SB (PIIX/PIIX3), 290550. Function 1 (IDE) is in storage/. Not
 * modelled: ISA timing, decoding options of the BIOS and of X-bus chips, MBIRQ and MBDMA, the
 * bridge's own SMI timers (all of these registers are storage); USB (function 2) is absent. Wired
 * by pc_build.
 */
#include "chipset/piix3.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("piix3");

/* Registers (data sheet, 2.2). */
enum {
    IORT = 0x4c,
    XBCS = 0x4e,
    PIRQRC = 0x60,
    TOM = 0x69,
    MSTAT = 0x6a,
    MBIRQ0 = 0x70,
    MBDMA0 = 0x76,
    APICBASE = 0x80,
    DLC = 0x82,
    SMICNTL = 0xa0,
    SMIEN = 0xa2,
    SEE = 0xa4,
    FTMR = 0xa8,
    SMIREQ = 0xaa,
    CTLTMR = 0xac,
    CTHTMR = 0xae,
    PIRQ_OFF = 0x80,
    PIRQS = 4,
    RC_HARD = 0x02, /* CF9h */
    RC_RESET = 0x04,
};
/* IRQs a PCI interrupt can be routed to: 3..7, 9..12, 14, 15. */
#define ROUTABLE 0xdef8u

struct Piix3 {
    Device dev;
    Piix3Config config;
    PciFunction *function;
    unsigned sources;
    uint8_t source_irq[PIIX3_MAX_SOURCES];
    struct {
        uint64_t source_level; /* bit n: line n is asserted */
        uint8_t pirq_level;    /* bit n: PIRQ n is asserted */
        uint16_t driven;       /* bit n: IRQ n as last driven */
        uint8_t reset_control;
    } g;
};

/* Drives each IRQ whose level has changed, or all. */
static void update(Piix3 *piix, bool all)
{
    uint16_t level = 0;
    for (unsigned i = 0; i < piix->sources; i++) {
        level |= (uint16_t)((piix->g.source_level >> i & 1) << piix->source_irq[i]);
    }
    for (unsigned i = 0; i < PIRQS; i++) {
        uint8_t route = pci_config(piix->function)[PIRQRC + i];
        if (piix->g.pirq_level >> i & 1 && !(route & PIRQ_OFF)) {
            level |= (uint16_t)(1u << (route & 15) & ROUTABLE);
        }
    }
    uint16_t changed = all ? 0xffff : level ^ piix->g.driven;
    piix->g.driven = level;
    for (unsigned irq = 0; irq < 16; irq++) {
        if (changed >> irq & 1) {
            line_set(&piix->config.pic[irq], level >> irq & 1);
            line_set(&piix->config.ioapic[irq], level >> irq & 1);
        }
    }
}

static void drive_source(void *self, unsigned source, bool level)
{
    Piix3 *piix = self;
    uint64_t bit = UINT64_C(1) << source;
    if (!(piix->g.source_level & bit) == level) {
        piix->g.source_level ^= bit;
        update(piix, false);
    }
}

Line piix3_irq(Piix3 *piix, unsigned irq)
{
    assert(irq < 16 && piix->sources < PIIX3_MAX_SOURCES);
    piix->source_irq[piix->sources] = (uint8_t)irq;
    return (Line){drive_source, piix, piix->sources++};
}

static void drive_pirq(void *self, unsigned pirq, bool level)
{
    Piix3 *piix = self;
    uint8_t bit = (uint8_t)(1u << pirq);
    piix->g.pirq_level = (uint8_t)(level ? piix->g.pirq_level | bit : piix->g.pirq_level & ~bit);
    update(piix, false);
}

static void piix3_written(void *self, unsigned offset, unsigned bytes)
{
    Piix3 *piix = self;
    if (offset < PIRQRC + PIRQS && offset + bytes > PIRQRC) {
        const uint8_t *route = pci_config(piix->function) + PIRQRC;
        log_trace("PIRQ routes %02x %02x %02x %02x", route[0], route[1], route[2], route[3]);
        update(piix, false);
    }
}

static uint64_t reset_read(void *self, uint32_t offset, unsigned bytes)
{
    Piix3 *piix = self;
    (void)offset;
    (void)bytes;
    return piix->g.reset_control;
}

/* The rising edge of RCPU resets; SRST says what (data sheet, 2.5.7.1). */
static void reset_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Piix3 *piix = self;
    (void)offset;
    (void)bytes;
    bool rises = value & RC_RESET && !(piix->g.reset_control & RC_RESET);
    piix->g.reset_control = value & (RC_HARD | RC_RESET);
    if (rises) {
        log_trace("%s reset by CF9h", value & RC_HARD ? "hard" : "soft");
        line_pulse(value & RC_HARD ? &piix->config.reset : &piix->config.init);
    }
}

static void piix3_reset(Device *d, ResetKind kind)
{
    Piix3 *piix = (Piix3 *)d;
    (void)kind;
    /* The lines are kept: their drivers set them in their own resets. */
    piix->g.reset_control = 0;
    update(piix, true);
}

static void piix3_state(Device *d, StateIo *io)
{
    Piix3 *piix = (Piix3 *)d;
    uint64_t known = piix->sources < 64 ? (UINT64_C(1) << piix->sources) - 1 : UINT64_MAX;
    state_u64(io, "source_level", &piix->g.source_level);
    state_u8(io, "pirq_level", &piix->g.pirq_level);
    state_u16(io, "driven", &piix->g.driven);
    state_u8(io, "reset_control", &piix->g.reset_control);
    state_check(io, !(piix->g.source_level & ~known), "an interrupt line this board has not");
    state_check(io, piix->g.pirq_level < 1u << PIRQS, "a fifth PIRQ");
}

static const DeviceType piix3_type = {
    .name = "piix3",
    .version = 1,
    .reset = piix3_reset,
    .state = piix3_state,
};

static const IoOps reset_ops = {reset_read, reset_write, 1, 1};

static void add_function(Piix3 *piix)
{
    static const PciIds ids = {.vendor = 0x8086,
                               .device = 0x7000,
                               .class_code = 0x060100,
                               .subsystem_vendor = 0x1af4,
                               .subsystem = 0x1100};
    PciFunction *f = piix->function = pci_add(piix->config.bus, piix->config.device, 0, &ids, piix);
    uint8_t *config = pci_config(f), *writable = pci_writable(f);
    config[PCI_COMMAND] = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    writable[PCI_COMMAND] = PCI_COMMAND_SPECIAL;
    writable[PCI_CACHE_LINE] = writable[PCI_LATENCY] = writable[PCI_INTERRUPT_LINE] = 0;
    config[PCI_HEADER_TYPE] = 0x80; /* the IDE function is always there */
    config[IORT] = 0x4d;
    config[XBCS] = 0x03;
    memset(config + PIRQRC, PIRQ_OFF, PIRQS);
    config[TOM] = 0x02;
    config[MBIRQ0] = config[MBIRQ0 + 1] = 0x80;
    config[MBDMA0] = config[MBDMA0 + 1] = 0x0c;
    config[SMICNTL] = 0x08;
    config[FTMR] = 0x0f;
    writable[IORT] = 0x7f;
    writable[XBCS] = 0xff;
    writable[XBCS + 1] = 0x01;
    memset(writable + PIRQRC, 0x8f, PIRQS);
    writable[TOM] = 0xfe;
    writable[MSTAT] = 0x7f;
    writable[MSTAT + 1] = 0x80;
    writable[MBIRQ0] = writable[MBIRQ0 + 1] = 0xcf;
    writable[MBDMA0] = writable[MBDMA0 + 1] = 0x8f;
    writable[APICBASE] = 0x3f;
    writable[DLC] = 0x0f;
    writable[SMICNTL] = 0x1d;
    memset(writable + SMIEN, 0xff, 2);
    memset(writable + SEE, 0xff, 4);
    writable[FTMR] = 0xff;
    memset(writable + SMIREQ, 0xff, 2);
    writable[CTLTMR] = writable[CTHTMR] = 0xff;
    pci_on_write(f, piix3_written);
}

Piix3 *piix3_new(Board *b, const Piix3Config *config, const char *id)
{
    Piix3 *piix = calloc(1, sizeof(*piix));
    assert(piix);
    piix->config = *config;
    add_function(piix);
    for (unsigned i = 0; i < PIRQS; i++) {
        pci_connect(config->bus, i, (Line){drive_pirq, piix, i});
    }
    pci_reset_control(config->bus, &reset_ops, piix);
    device_add(b, &piix->dev, &piix3_type, id);
    return piix;
}
