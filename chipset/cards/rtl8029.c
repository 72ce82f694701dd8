/* RTL8029AS network card for the PCI bus: an NE2000 behind one base address.
 *
 * Data sheet: Realtek RTL8029AS, 1997. The DP8390's part is in dp8390.c. Page 3 holds Realtek's own
 * registers; the data port takes 32-bit accesses. Not modelled: power-down, the serial EEPROM's
 * pins (9346CR reads as if nothing were shifted out), full duplex (the wire takes no time here).
 * Wired by pc_cards.
 */
#include "chipset/cards/rtl8029.h"

#include <stdlib.h>

#include "chipset/cards/dp8390_internal.h"

enum { PAGE3 = 3, ID0 = 0x50, ID1 = 0x70 };
/* Page 3 (data sheet, "Page 3 registers"). */
enum { CR9346 = 0x1, CONFIG0 = 0x3, CONFIG2 = 0x5, CONFIG3 = 0x6, ASID0 = 0xe, ASID1 = 0xf };
enum { CR9346_EEM = 0xc0, CONFIG_WRITE = 0xc0, CONFIG2_MASK = 0xe0, CONFIG3_MASK = 0x46 };

struct Rtl8029 {
    Device dev;
    PciFunction *function;
    struct {
        uint8_t cr9346, config2, config3;
    } g;
    Dp8390 nic;
};

static unsigned page(Rtl8029 *r)
{
    return dp8390_read(&r->nic, 0) >> 6;
}

static uint8_t read_register(Rtl8029 *r, unsigned reg)
{
    if (reg && page(r) == PAGE3) {
        switch (reg) {
        case CR9346:
            return r->g.cr9346;
        case CONFIG0:
            return 0;
        case CONFIG2:
            return r->g.config2;
        case CONFIG3:
            return r->g.config3;
        case ASID0: /* "8029ASID0", "8029ASID1": apart from the RTL8029 before it */
            return 0x29;
        case ASID1:
            return 0x80;
        default:
            return 0xff;
        }
    }
    if (page(r) == 0 && (reg == 0xa || reg == 0xb)) {
        return reg == 0xa ? ID0 : ID1; /* "8029ID0", "8029ID1" */
    }
    return dp8390_read(&r->nic, reg);
}

static void write_register(Rtl8029 *r, unsigned reg, uint8_t value)
{
    if (!reg || page(r) != PAGE3) {
        dp8390_write(&r->nic, reg, value);
    } else if (reg == CR9346) {
        r->g.cr9346 = value & 0xfe;
    } else if ((r->g.cr9346 & CR9346_EEM) == CONFIG_WRITE && reg == CONFIG2) {
        r->g.config2 = value & CONFIG2_MASK;
    } else if ((r->g.cr9346 & CR9346_EEM) == CONFIG_WRITE && reg == CONFIG3) {
        r->g.config3 = value & CONFIG3_MASK;
    }
}

static uint64_t read_port(void *self, uint32_t offset, unsigned bytes)
{
    Rtl8029 *r = self;
    if (offset >= DP8390_REGISTERS) {
        return ne2000_read(&r->nic, offset, bytes);
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)read_register(r, offset + i) << 8 * i;
    }
    return value;
}

static void write_port(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Rtl8029 *r = self;
    if (offset >= DP8390_REGISTERS) {
        ne2000_write(&r->nic, offset, (uint32_t)value, bytes);
        return;
    }
    for (unsigned i = 0; i < bytes; i++) {
        write_register(r, offset + i, (uint8_t)(value >> 8 * i));
    }
}

static uint32_t read_run(void *self, uint32_t offset, unsigned bytes, void *data, uint32_t count)
{
    Rtl8029 *r = self;
    return ne2000_read_run(&r->nic, offset, bytes, data, count);
}

static uint32_t write_run(void *self, uint32_t offset, unsigned bytes, const void *data,
                          uint32_t count)
{
    Rtl8029 *r = self;
    return ne2000_write_run(&r->nic, offset, bytes, data, count);
}

static const IoOps port_ops = {read_port, write_port, 1, 4};
static const IoRuns port_runs = {read_run, write_run};

static void irq_driven(void *sink, unsigned pin, bool level)
{
    Rtl8029 *r = sink;
    (void)pin;
    pci_interrupt(r->function, level);
}

static void reset(Device *d, ResetKind kind)
{
    Rtl8029 *r = (Rtl8029 *)d;
    (void)kind;
    r->g.cr9346 = r->g.config2 = r->g.config3 = 0;
    dp8390_reset(&r->nic);
}

static void state(Device *d, StateIo *io)
{
    Rtl8029 *r = (Rtl8029 *)d;
    state_u8(io, "cr9346", &r->g.cr9346);
    state_u8(io, "config2", &r->g.config2);
    state_u8(io, "config3", &r->g.config3);
    dp8390_state(&r->nic, io);
}

static void restored(Device *d)
{
    dp8390_restored(&((Rtl8029 *)d)->nic);
}

static void destroy(Device *d)
{
    dp8390_fini(&((Rtl8029 *)d)->nic);
    free(d);
}

static const DeviceType type = {
    .name = "rtl8029",
    .version = 1,
    .reset = reset,
    .state = state,
    .restored = restored,
    .destroy = destroy,
};

Rtl8029 *rtl8029_new(Board *b, const Rtl8029Config *config, const char *id)
{
    Rtl8029 *r = calloc(1, sizeof(*r));
    if (!r) {
        return NULL;
    }
    static const PciIds ids = {.vendor = 0x10ec,
                               .device = 0x8029,
                               .class_code = 0x020000,
                               .subsystem_vendor = 0x10ec,
                               .subsystem = 0x8029,
                               .interrupt_pin = 1};
    r->function = pci_add(config->bus, config->device, 0, &ids, r);
    bus_set_runs(pci_bar_io(r->function, 0, NE2000_PORTS, &port_ops, "rtl8029"), &port_runs);
    if (config->rom) {
        pci_rom(r->function, config->rom, "rtl8029 rom");
    }
    Dp8390Config nic = {
        .port = config->port, .irq = {irq_driven, r, 0}, .patience = config->patience};
    for (unsigned i = 0; i < 6; i++) {
        nic.mac[i] = config->mac[i];
    }
    device_add(b, &r->dev, &type, id);
    dp8390_init(&r->nic, &b->clock, &nic);
    return r;
}
