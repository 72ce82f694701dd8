/* 82371AB (PIIX4), function 3: power management, SMI command port, SMBus host controller.
 *
 * Data sheet: Intel 82371AB (PIIX4), 290562, and ACPI 1.0 for the PM1 registers. Modelled: PM1
 * status, enable and control, the PM timer, general purpose events without sources (in the chip's
 * own block and at AFE0h, where SeaBIOS's tables put GPE0), APMC/APMS with SMI, an SMBus on which
 * no device answers. Not modelled: sleep states other than soft-off, clock control (storage),
 * device monitors (storage), RTC wake. Wired by pc_build.
 */
#include "chipset/piix4_pm.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("pm");

/* Configuration registers (data sheet, 7.1). */
enum {
    PMBASE = 0x40,
    COUNT_A = 0x44,
    DEVRES_END = 0x7c,
    DEVACTB = 0x58,
    PMREGMISC = 0x80,
    SMBBASE = 0x90,
    SMBHSTCFG = 0xd2,
    SMBSLVC = 0xd3,
    SMBREV = 0xd6,
    DEVACTB_APMC_EN = 0x02, /* bit 25, in its fourth byte */
    SMBHSTCFG_ENABLE = 0x01,
    SMBHSTCFG_IRQ9 = 0x08,
    SMBHSTCFG_SELECT = 0x0e,
};

/* Power management I/O space (data sheet, 7.2). */
enum {
    PMSTS = 0x00,
    PMEN = 0x02,
    PMCNTRL = 0x04,
    PMTMR = 0x08,
    GPSTS = 0x0c,
    GPEN = 0x0e,
    PCNTRL = 0x10,
    PLVL2 = 0x14,
    GLBSTS = 0x18,
    DEVSTS = 0x1c,
    GLBEN = 0x20,
    GLBCTL = 0x28,
    DEVCTL = 0x2c,
    GPIREG = 0x30,
    GPOREG = 0x34,
    PM_SPACE = 0x40,
    TMROF = 0x0001,
    GBL = 0x0020,
    PWRBTN = 0x0100,
    RTC = 0x0400,
    SCI_EN = 0x0001,
    GBL_RLS = 0x0004,
    SUS_TYPE = 0x1c00,
    SUS_SHIFT = 10,
    SUS_EN = 0x2000,
    TYPE_SOFT_OFF = 0, /* the types that the ACPI tables announce */
    TYPE_DISK = 2,     /* S4: the guest has saved itself, the machine goes off */
    GLBSTS_BIOS = 0x01,
    GLBSTS_APM = 0x20,
    GLBEN_BIOS = 0x02,
    GLBCTL_SMI_EN = 0x01,
    GLBCTL_BIOS_RLS = 0x02,
};
#define TIMER_MASK 0xffffffu
#define TIMER_HALF_SHIFT 23 /* TMROF: bit 23 has changed */

/* SMBus I/O space (data sheet, 7.3). */
enum {
    SMBHSTSTS = 0x0,
    SMBHSTCNT = 0x2,
    SMBBLKDAT = 0x7,
    SMB_SPACE = 0x10,
    STS_DEV_ERR = 0x04,
    STS_FAILED = 0x10,
    STS_CLEARS = 0x1e,
    CNT_INTEREN = 0x01,
    CNT_KILL = 0x02,
    CNT_START = 0x40,
};

enum {
    APM_PORT = 0xb2,
    GPE_PORT = 0xafe0,
    ACPI_ENABLE = 0xf1, /* what SeaBIOS's FADT says to write to APMC */
    ACPI_DISABLE = 0xf0,
};

struct Piix4Pm {
    Device dev;
    Piix4PmConfig config;
    PciFunction *function;
    IoRange *pm_space, *smb_space;
    Timer overflow;
    struct {
        uint16_t status, enable, control; /* PM1; TMROF in status is kept in timer_half */
        uint64_t timer_half;       /* half periods of the timer at which TMROF was last cleared */
        uint8_t storage[PM_SPACE]; /* registers without an effect of their own */
        uint16_t gpe_status, gpe_enable;
        uint8_t apmc, apms;
        uint8_t smb[SMB_SPACE];
        uint8_t smb_index; /* of the block data register, 0..31 */
        uint8_t smb_block[32];
    } g;
};

static uint64_t timer_ticks(const Piix4Pm *pm)
{
    return clock_ticks(clock_now(&pm->dev.board->clock), PIIX4_PM_HZ);
}

static uint16_t status_now(const Piix4Pm *pm)
{
    bool overflowed = timer_ticks(pm) >> TIMER_HALF_SHIFT != pm->g.timer_half;
    return (uint16_t)(pm->g.status | (overflowed ? TMROF : 0));
}

static bool smb_interrupt(const Piix4Pm *pm)
{
    return (pci_config(pm->function)[SMBHSTCFG] & SMBHSTCFG_SELECT) == SMBHSTCFG_IRQ9 &&
           pm->g.smb[SMBHSTCNT] & CNT_INTEREN && pm->g.smb[SMBHSTSTS] & STS_CLEARS;
}

/* Drives the SCI and arms the timer for the next overflow that would raise it. */
static void update(Piix4Pm *pm)
{
    uint16_t status = status_now(pm);
    bool event = status & pm->g.enable & (TMROF | GBL | PWRBTN | RTC);
    event |= (pm->g.gpe_status & pm->g.gpe_enable) != 0;
    line_set(&pm->config.sci, (event && pm->g.control & SCI_EN) || smb_interrupt(pm));
    if (pm->g.enable & TMROF && !(status & TMROF)) {
        uint64_t next = ((timer_ticks(pm) >> TIMER_HALF_SHIFT) + 1) << TIMER_HALF_SHIFT;
        timer_arm(&pm->overflow, clock_ticks_to_ns(next, PIIX4_PM_HZ));
    } else {
        timer_disarm(&pm->overflow);
    }
}

static void overflow_fire(void *self, int64_t due)
{
    (void)due;
    update(self);
}

void piix4_pm_power_button(Piix4Pm *pm)
{
    pm->g.status |= PWRBTN;
    update(pm);
}

bool piix4_pm_acpi_enabled(const Piix4Pm *pm)
{
    return pm->g.control & SCI_EN;
}

static uint32_t stored(const Piix4Pm *pm, uint32_t offset, unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint32_t)pm->g.storage[offset + i] << (8 * i);
    }
    return value;
}

/* The 16-bit unit at an even offset. */
static uint16_t read_unit(const Piix4Pm *pm, uint32_t offset)
{
    switch (offset) {
    case PMSTS:
        return status_now(pm);
    case PMEN:
        return pm->g.enable;
    case PMCNTRL:
        return pm->g.control;
    case PMTMR:
        return (uint16_t)timer_ticks(pm);
    case PMTMR + 2:
        return (uint16_t)((timer_ticks(pm) & TIMER_MASK) >> 16);
    default:
        return (uint16_t)stored(pm, offset, 2);
    }
}

static uint64_t pm_read(void *self, uint32_t offset, unsigned bytes)
{
    Piix4Pm *pm = self;
    uint32_t value = 0;
    if (offset == PMTMR && bytes == 4) {
        return timer_ticks(pm) & TIMER_MASK; /* one moment for all four bytes */
    }
    for (uint32_t at = offset & ~1u; at < offset + bytes; at += 2) {
        uint32_t unit = read_unit(pm, at);
        value |= at < offset ? unit >> 8 : unit << (8 * (at - offset));
    }
    return value;
}

static void smi(Piix4Pm *pm)
{
    if (pm->g.storage[GLBCTL] & GLBCTL_SMI_EN) {
        line_pulse(&pm->config.smi);
    }
}

static void write_control(Piix4Pm *pm, uint16_t value, uint16_t mask)
{
    value = (uint16_t)((pm->g.control & ~mask) | (value & mask));
    pm->g.control = value & ~(SUS_EN | GBL_RLS);
    if (value & mask & GBL_RLS) {
        pm->g.storage[GLBSTS] |= GLBSTS_BIOS; /* the OS calls the firmware (data sheet, 7.2.3) */
        if (pm->g.storage[GLBEN] & GLBEN_BIOS) {
            smi(pm);
        }
    }
    if (value & mask & SUS_EN) {
        unsigned type = (value & SUS_TYPE) >> SUS_SHIFT;
        if (type == TYPE_SOFT_OFF || type == TYPE_DISK) {
            log_trace("soft-off");
            line_pulse(&pm->config.power_off);
        } else {
            log_unimp("sleep type %u", type);
        }
    }
}

static void write_glbctl(Piix4Pm *pm)
{
    if (pm->g.storage[GLBCTL] & GLBCTL_BIOS_RLS) {
        pm->g.storage[GLBCTL] &= (uint8_t)~GLBCTL_BIOS_RLS; /* the firmware calls the OS */
        pm->g.status |= GBL;
    }
}

/* One byte of the registers whose bits are cleared by ones, or of storage. */
static void write_plain(Piix4Pm *pm, uint32_t offset, uint8_t value)
{
    switch (offset & ~1u) {
    case PMTMR:
    case PMTMR + 2:
    case PLVL2:
    case GPIREG:
    case GPIREG + 2:
        return; /* read only */
    case GPSTS:
    case GLBSTS:
    case DEVSTS:
    case DEVSTS + 2:
        pm->g.storage[offset] &= (uint8_t)~value;
        return;
    default:
        pm->g.storage[offset] = value;
    }
    if (offset == GLBCTL) {
        write_glbctl(pm);
    }
}

static void write_byte(Piix4Pm *pm, uint32_t offset, uint8_t byte)
{
    unsigned shift = 8 * (offset & 1);
    uint16_t value = (uint16_t)(byte << shift), mask = (uint16_t)(0xff << shift);
    switch (offset & ~1u) {
    case PMSTS:
        pm->g.status &= (uint16_t)~value;
        if (value & TMROF) {
            pm->g.timer_half = timer_ticks(pm) >> TIMER_HALF_SHIFT;
        }
        break;
    case PMEN:
        pm->g.enable = (uint16_t)((pm->g.enable & ~mask) | value) & (TMROF | GBL | PWRBTN | RTC);
        break;
    default:
        write_plain(pm, offset, byte);
    }
}

static void pm_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Piix4Pm *pm = self;
    for (unsigned i = 0; i < bytes; i++) {
        uint32_t at = offset + i;
        uint8_t byte = (uint8_t)(value >> (8 * i));
        if (at == PMCNTRL || at == PMCNTRL + 1) {
            /* both bytes at once: the sleep type comes with its enable bit */
            bool both = at == PMCNTRL && i + 1 < bytes;
            uint16_t word =
                both ? (uint16_t)(value >> (8 * i)) : (uint16_t)(byte << (8 * (at - PMCNTRL)));
            write_control(pm, word, both ? 0xffff : (uint16_t)(0xff << (8 * (at - PMCNTRL))));
            i += both;
        } else {
            write_byte(pm, at, byte);
        }
    }
    update(pm);
}

static uint64_t gpe_read(void *self, uint32_t offset, unsigned bytes)
{
    Piix4Pm *pm = self;
    (void)bytes;
    uint16_t reg = offset < 2 ? pm->g.gpe_status : pm->g.gpe_enable;
    return (uint8_t)(reg >> (8 * (offset & 1)));
}

static void gpe_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Piix4Pm *pm = self;
    (void)bytes;
    unsigned shift = 8 * (offset & 1);
    uint16_t bits = (uint16_t)((value & 0xff) << shift);
    if (offset < 2) {
        pm->g.gpe_status &= (uint16_t)~bits;
    } else {
        pm->g.gpe_enable = (uint16_t)((pm->g.gpe_enable & ~(0xff << shift)) | bits);
    }
    update(pm);
}

static uint64_t apm_read(void *self, uint32_t offset, unsigned bytes)
{
    Piix4Pm *pm = self;
    (void)bytes;
    return offset == 0 ? pm->g.apmc : pm->g.apms;
}

static void apm_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Piix4Pm *pm = self;
    (void)bytes;
    if (offset != 0) {
        pm->g.apms = (uint8_t)value;
        return;
    }
    pm->g.apmc = (uint8_t)value;
    log_trace("APMC 0x%02x", pm->g.apmc);
    /* QUIRK: on a real board the firmware's SMI handler sets and clears SCI_EN for these two;
     * SeaBIOS's tables name them, but its handler leaves the rest to the board. */
    if (pm->g.apmc == ACPI_ENABLE) {
        pm->g.control |= SCI_EN;
    } else if (pm->g.apmc == ACPI_DISABLE) {
        pm->g.control &= (uint16_t)~SCI_EN;
    }
    if (pci_config(pm->function)[DEVACTB + 3] & DEVACTB_APMC_EN) {
        pm->g.storage[GLBSTS] |= GLBSTS_APM;
        smi(pm);
    }
    update(pm);
}

static uint64_t smb_read(void *self, uint32_t offset, unsigned bytes)
{
    Piix4Pm *pm = self;
    (void)bytes;
    if (offset == SMBHSTCNT) {
        pm->g.smb_index = 0; /* reading it rewinds the block data (data sheet, 7.3.3) */
        return pm->g.smb[SMBHSTCNT] & ~CNT_START;
    }
    if (offset == SMBBLKDAT) {
        uint8_t value = pm->g.smb_block[pm->g.smb_index];
        pm->g.smb_index = (pm->g.smb_index + 1) % sizeof(pm->g.smb_block);
        return value;
    }
    return pm->g.smb[offset];
}

static void smb_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Piix4Pm *pm = self;
    (void)bytes;
    uint8_t byte = (uint8_t)value;
    switch (offset) {
    case SMBHSTSTS:
    case SMBHSTSTS + 1:
        pm->g.smb[offset] &= (uint8_t) ~(byte & STS_CLEARS);
        break;
    case SMBHSTCNT:
        pm->g.smb[offset] = byte & 0x1f;
        if (byte & CNT_KILL) {
            pm->g.smb[SMBHSTSTS] |= STS_FAILED;
        } else if (byte & CNT_START) {
            pm->g.smb[SMBHSTSTS] |= STS_DEV_ERR; /* nobody acknowledges any address */
        }
        break;
    case SMBBLKDAT:
        pm->g.smb_block[pm->g.smb_index] = byte;
        pm->g.smb_index = (pm->g.smb_index + 1) % sizeof(pm->g.smb_block);
        break;
    default:
        pm->g.smb[offset] = byte;
    }
    update(pm);
}

static void apply_spaces(Piix4Pm *pm)
{
    const uint8_t *config = pci_config(pm->function);
    uint16_t base = pci_word(pm->function, PMBASE) & 0xffc0;
    bus_move(pm->pm_space, base, base && config[PMREGMISC] & 1);
    base = pci_word(pm->function, SMBBASE) & 0xfff0;
    bus_move(pm->smb_space, base,
             base && config[SMBHSTCFG] & SMBHSTCFG_ENABLE && config[PCI_COMMAND] & PCI_COMMAND_IO);
}

static void pm_written(void *self, unsigned offset, unsigned bytes)
{
    Piix4Pm *pm = self;
    (void)offset;
    (void)bytes;
    apply_spaces(pm);
    update(pm);
}

static void pm_reset(Device *d, ResetKind kind)
{
    Piix4Pm *pm = (Piix4Pm *)d;
    (void)kind;
    memset(&pm->g, 0, sizeof(pm->g));
    pm->g.timer_half = timer_ticks(pm) >> TIMER_HALF_SHIFT;
    apply_spaces(pm);
    update(pm);
}

static void pm_state(Device *d, StateIo *io)
{
    Piix4Pm *pm = (Piix4Pm *)d;
    state_u16(io, "status", &pm->g.status);
    state_u16(io, "enable", &pm->g.enable);
    state_u16(io, "control", &pm->g.control);
    state_u64(io, "timer_half", &pm->g.timer_half);
    state_bytes(io, "storage", pm->g.storage, sizeof(pm->g.storage));
    state_u16(io, "gpe_status", &pm->g.gpe_status);
    state_u16(io, "gpe_enable", &pm->g.gpe_enable);
    state_u8(io, "apmc", &pm->g.apmc);
    state_u8(io, "apms", &pm->g.apms);
    state_bytes(io, "smb", pm->g.smb, sizeof(pm->g.smb));
    state_u8(io, "smb_index", &pm->g.smb_index);
    state_bytes(io, "smb_block", pm->g.smb_block, sizeof(pm->g.smb_block));
    state_timer(io, "overflow", &pm->overflow);
    state_check(io, pm->g.smb_index < sizeof(pm->g.smb_block), "block index is out of range");
}

static void pm_restored(Device *d)
{
    Piix4Pm *pm = (Piix4Pm *)d;
    apply_spaces(pm);
    update(pm);
}

static const DeviceType pm_type = {
    .name = "piix4_pm",
    .version = 1,
    .reset = pm_reset,
    .state = pm_state,
    .restored = pm_restored,
};

static void add_function(Piix4Pm *pm)
{
    static const PciIds ids = {.vendor = 0x8086,
                               .device = 0x7113,
                               .class_code = 0x068000,
                               .revision = 3,
                               .subsystem_vendor = 0x1af4,
                               .subsystem = 0x1100,
                               .interrupt_pin = 1};
    PciFunction *f = pm->function =
        pci_add(pm->config.bus, pm->config.device, pm->config.function, &ids, pm);
    uint8_t *config = pci_config(f), *writable = pci_writable(f);
    config[PCI_STATUS] |= PCI_STATUS_FAST_BACK;
    writable[PCI_COMMAND] = PCI_COMMAND_IO;
    config[PMBASE] = 1;
    writable[PMBASE] = 0xc0;
    writable[PMBASE + 1] = 0xff;
    memset(writable + COUNT_A, 0xff, DEVRES_END + 4 - COUNT_A);
    writable[PMREGMISC] = 0x01;
    config[SMBBASE] = 1;
    writable[SMBBASE] = 0xf0;
    writable[SMBBASE + 1] = 0xff;
    writable[SMBHSTCFG] = 0x0f;
    memset(writable + SMBSLVC, 0xff, SMBREV - SMBSLVC);
    pci_on_write(f, pm_written);
}

static const IoOps pm_ops = {pm_read, pm_write, 1, 4};
static const IoOps smb_ops = {smb_read, smb_write, 1, 1};
static const IoOps gpe_ops = {gpe_read, gpe_write, 1, 1};
static const IoOps apm_ops = {apm_read, apm_write, 1, 1};

Piix4Pm *piix4_pm_new(Board *b, const Piix4PmConfig *config, const char *id)
{
    Piix4Pm *pm = calloc(1, sizeof(*pm));
    assert(pm);
    pm->config = *config;
    add_function(pm);
    timer_init(&pm->overflow, &b->clock, "pm.overflow", overflow_fire, pm);
    pm->overflow.inward = true;
    pm->pm_space = bus_claim_off(b->ports, PM_SPACE, &pm_ops, pm, "pm");
    pm->smb_space = bus_claim_off(b->ports, SMB_SPACE, &smb_ops, pm, "smbus");
    bus_set_level(pm->pm_space, -1); /* as BARs: chips at fixed addresses answer first */
    bus_set_level(pm->smb_space, -1);
    bus_claim(b->ports, GPE_PORT, 4, &gpe_ops, pm, "gpe0");
    bus_claim(b->ports, APM_PORT, 2, &apm_ops, pm, "apm");
    device_add(b, &pm->dev, &pm_type, id);
    return pm;
}
