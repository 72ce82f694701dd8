/* PCI bus: configuration mechanism 1, base addresses, interrupt pins, bus mastering.
 *
 * PCI Local Bus Specification 2.1, chapters 3.7.4 and 6. Not modelled: parity, type 1 cycles (there
 * is no second bus; they end in a master abort), special cycles, timing. A memory BAR that ends at
 * 4 GiB is not decoded, so that sizing a BAR with decoding on cannot hide the firmware. Wired by
 * pc_build, first of the chips on the bus.
 */
#include "chipset/pci.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("pci");

enum {
    ADDRESS_PORT = 0xcf8,
    RESET_OFFSET = 1, /* CF9h */
    DATA_OFFSET = 4,  /* CFCh */
    BARS = 6,
    DEVICES = 32,
    FUNCTIONS = 8,
    PIRQS = 4,
    BAR_IO = 1,
    BAR_PREFETCHABLE = 8,
    ROM_ENABLE = 1,
    HEADER_MULTIFUNCTION = 0x80,
    BAR_LEVEL = -1, /* on-board chips and memory answer first */
};
#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_BITS 0x80fffffcu
#define SPACE_END (UINT64_C(1) << 32)

typedef struct Bar {
    IoRange *range; /* NULL: not implemented */
    uint32_t size;  /* of what the BAR decodes: a power of two */
    bool io;
    bool open;
} Bar;

struct PciFunction {
    PciBus *bus;
    uint8_t device, function;
    void *self;
    void (*written)(void *self, unsigned offset, unsigned bytes);
    Bar bar[BARS];
    Bar rom;
    uint8_t writable[PCI_CONFIG_SIZE], clears[PCI_CONFIG_SIZE];
    uint8_t at_reset[PCI_CONFIG_SIZE];
    struct {
        uint8_t config[PCI_CONFIG_SIZE];
        bool interrupt; /* INTx# is asserted */
    } g;
};

struct PciBus {
    Device dev;
    PciFunction *function[DEVICES][FUNCTIONS];
    Line pirq[PIRQS];
    const IoOps *reset_ops;
    void *reset_self;
    bool sealed; /* at_reset has been taken */
    struct {
        uint32_t address; /* CONFADD */
    } g;
};

static void put_word(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static void put_dword(uint8_t *p, uint32_t value)
{
    put_word(p, (uint16_t)value);
    put_word(p + 2, (uint16_t)(value >> 16));
}

uint16_t pci_word(const PciFunction *f, unsigned offset)
{
    return (uint16_t)(f->g.config[offset] | f->g.config[offset + 1] << 8);
}

uint32_t pci_dword(const PciFunction *f, unsigned offset)
{
    return pci_word(f, offset) | (uint32_t)pci_word(f, offset + 2) << 16;
}

uint8_t *pci_config(PciFunction *f)
{
    return f->g.config;
}

uint8_t *pci_writable(PciFunction *f)
{
    return f->writable;
}

uint8_t *pci_write_1_clears(PciFunction *f)
{
    return f->clears;
}

void pci_on_write(PciFunction *f, void (*written)(void *self, unsigned offset, unsigned bytes))
{
    f->written = written;
}

/* Opens, closes or moves one range to where the registers say. */
static void apply_bar(PciFunction *f, Bar *bar, uint32_t reg, bool enabled)
{
    if (!bar->range) {
        return;
    }
    uint64_t base = reg & ~(bar->size - 1);
    uint64_t end = base + bar->size;
    uint16_t command = pci_word(f, PCI_COMMAND);
    enabled = enabled && command & (bar->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
    bar->open = enabled && base && (bar->io ? end <= BOARD_PORTS : end < SPACE_END);
    bus_move(bar->range, bar->open ? base : 0, bar->open);
}

static void apply_bars(PciFunction *f)
{
    for (unsigned i = 0; i < BARS; i++) {
        apply_bar(f, &f->bar[i], pci_dword(f, PCI_BAR0 + 4 * i), true);
    }
    uint32_t rom = pci_dword(f, PCI_ROM_BASE);
    apply_bar(f, &f->rom, rom, rom & ROM_ENABLE);
}

uint64_t pci_bar_base(const PciFunction *f, unsigned n)
{
    const Bar *bar = &f->bar[n];
    return bar->open ? pci_dword(f, PCI_BAR0 + 4 * n) & ~(bar->size - 1) : UINT64_MAX;
}

static bool overlaps(unsigned offset, unsigned bytes, unsigned first, unsigned count)
{
    return offset < first + count && first < offset + bytes;
}

static void config_write(PciFunction *f, unsigned offset, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        uint8_t *reg = &f->g.config[offset + i];
        uint8_t mask = f->writable[offset + i];
        *reg = (uint8_t)((*reg & ~mask) | (byte & mask));
        *reg &= (uint8_t) ~(byte & f->clears[offset + i]);
    }
    if (overlaps(offset, bytes, PCI_COMMAND, 2) || overlaps(offset, bytes, PCI_BAR0, 4 * BARS) ||
        overlaps(offset, bytes, PCI_ROM_BASE, 4)) {
        apply_bars(f);
    }
    log_trace("%02x.%u [0x%02x] <- 0x%0*x", f->device, f->function, offset, (int)(2 * bytes),
              value);
    if (f->written) {
        f->written(f->self, offset, bytes);
    }
}

/* The function that the address register selects, or NULL: a master abort. */
static PciFunction *selected(const PciBus *bus)
{
    uint32_t address = bus->g.address;
    if (!(address & ADDRESS_ENABLE) || (address >> 16 & 0xff) != 0) {
        return NULL;
    }
    return bus->function[address >> 11 & 31][address >> 8 & 7];
}

static uint64_t pci_read(void *self, uint32_t offset, unsigned bytes)
{
    PciBus *bus = self;
    if (offset < DATA_OFFSET) {
        if (offset == 0 && bytes == 4) {
            return bus->g.address;
        }
        if (offset == RESET_OFFSET && bytes == 1 && bus->reset_ops) {
            return bus->reset_ops->read(bus->reset_self, 0, 1);
        }
        return UINT64_MAX; /* not the register: an I/O cycle that nobody answers */
    }
    PciFunction *f = selected(bus);
    if (!f) {
        return UINT64_MAX;
    }
    unsigned at = (bus->g.address & 0xfc) + (offset & 3);
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint32_t)f->g.config[at + i] << (8 * i);
    }
    log_trace("%02x.%u [0x%02x] -> 0x%0*x", f->device, f->function, at, (int)(2 * bytes), value);
    return value;
}

static void pci_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    PciBus *bus = self;
    if (offset >= DATA_OFFSET) {
        PciFunction *f = selected(bus);
        if (f) {
            config_write(f, (bus->g.address & 0xfc) + (offset & 3), (uint32_t)value, bytes);
        }
    } else if (offset == 0 && bytes == 4) {
        bus->g.address = (uint32_t)value & ADDRESS_BITS;
    } else if (offset == RESET_OFFSET && bytes == 1 && bus->reset_ops) {
        bus->reset_ops->write(bus->reset_self, 0, value, 1);
    }
}

void pci_connect(PciBus *bus, unsigned pirq, Line line)
{
    bus->pirq[pirq] = line;
}

void pci_reset_control(PciBus *bus, const IoOps *ops, void *self)
{
    bus->reset_ops = ops;
    bus->reset_self = self;
}

/* The board's swizzle: INTA# of device 1 is PIRQA, and each device starts one further. */
static unsigned pirq_of(const PciFunction *f)
{
    return (f->device + f->g.config[PCI_INTERRUPT_PIN] + 2u) % PIRQS;
}

static void drive_pirq(PciBus *bus, unsigned pirq)
{
    bool level = false;
    for (unsigned i = 0; i < DEVICES * FUNCTIONS; i++) {
        const PciFunction *f = bus->function[i / FUNCTIONS][i % FUNCTIONS];
        level |= f && f->g.interrupt && pirq_of(f) == pirq;
    }
    line_set(&bus->pirq[pirq], level);
}

void pci_interrupt(PciFunction *f, bool level)
{
    if (f->g.interrupt != level && f->g.config[PCI_INTERRUPT_PIN]) {
        f->g.interrupt = level;
        drive_pirq(f->bus, pirq_of(f));
    }
}

bool pci_dma(PciFunction *f, uint64_t addr, void *buf, size_t len, bool to_guest)
{
    if (!(pci_word(f, PCI_COMMAND) & PCI_COMMAND_MASTER)) {
        log_guest("%02x.%u: DMA while bus mastering is off", f->device, f->function);
        if (!to_guest) {
            memset(buf, 0xff, len);
        }
        return false;
    }
    return bus_dma(f->bus->dev.board->memory, addr, buf, len, to_guest);
}

PciFunction *pci_add(PciBus *bus, unsigned device, unsigned function, const PciIds *ids, void *self)
{
    assert(device < DEVICES && function < FUNCTIONS && !bus->function[device][function]);
    PciFunction *f = calloc(1, sizeof(*f));
    assert(f);
    bus->function[device][function] = f;
    f->bus = bus;
    f->device = (uint8_t)device;
    f->function = (uint8_t)function;
    f->self = self;
    uint8_t *config = f->g.config;
    put_word(config + PCI_VENDOR, ids->vendor);
    put_word(config + PCI_DEVICE, ids->device);
    put_word(config + PCI_STATUS, PCI_STATUS_MEDIUM);
    put_dword(config + PCI_REVISION, ids->class_code << 8 | ids->revision);
    put_word(config + PCI_SUBSYSTEM_VENDOR, ids->subsystem_vendor);
    put_word(config + PCI_SUBSYSTEM, ids->subsystem);
    config[PCI_INTERRUPT_PIN] = ids->interrupt_pin;
    put_word(f->writable + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                                            PCI_COMMAND_PARITY | PCI_COMMAND_SERR);
    put_word(f->clears + PCI_STATUS, 0xf900);
    f->writable[PCI_CACHE_LINE] = 0xff;
    f->writable[PCI_LATENCY] = 0xff;
    f->writable[PCI_INTERRUPT_LINE] = 0xff;
    PciFunction *first = bus->function[device][0];
    for (unsigned i = 1; first && i < FUNCTIONS; i++) {
        if (bus->function[device][i]) {
            first->g.config[PCI_HEADER_TYPE] |= HEADER_MULTIFUNCTION;
        }
    }
    return f;
}

static void set_bar(PciFunction *f, unsigned offset, Bar *bar, uint32_t size, uint32_t flags,
                    IoRange *range)
{
    assert(!bar->range && size && (size & (size - 1)) == 0);
    *bar = (Bar){.range = range, .size = size, .io = flags & BAR_IO};
    put_dword(f->g.config + offset, flags);
    put_dword(f->writable + offset, ~(size - 1));
    bus_set_level(range, BAR_LEVEL);
}

IoRange *pci_bar_io(PciFunction *f, unsigned n, uint32_t size, const IoOps *ops, const char *what)
{
    assert(size >= 4 && size <= BOARD_PORTS);
    IoRange *range = bus_claim_off(f->bus->dev.board->ports, size, ops, f->self, what);
    set_bar(f, PCI_BAR0 + 4 * n, &f->bar[n], size, BAR_IO, range);
    return range;
}

void pci_bar_memory(PciFunction *f, unsigned n, uint32_t size, bool prefetchable, const IoOps *ops,
                    const char *what)
{
    assert(size >= 16);
    set_bar(f, PCI_BAR0 + 4 * n, &f->bar[n], size, prefetchable ? BAR_PREFETCHABLE : 0,
            bus_claim_off(f->bus->dev.board->memory, size, ops, f->self, what));
}

static IoRange *claim_block(PciFunction *f, const RamBlock *block, bool writable, const char *what)
{
    RamView view = {true, writable, block->at, block->at};
    IoRange *range = bus_claim_ram(f->bus->dev.board->memory, 0, block->size, &view, what);
    bus_move(range, 0, false);
    return range;
}

void pci_bar_ram(PciFunction *f, unsigned n, const RamBlock *block, const char *what)
{
    set_bar(f, PCI_BAR0 + 4 * n, &f->bar[n], block->size, BAR_PREFETCHABLE,
            claim_block(f, block, true, what));
}

void pci_rom(PciFunction *f, const RamBlock *block, const char *what)
{
    uint32_t size = 2048;
    while (size < block->size) {
        size *= 2;
    }
    set_bar(f, PCI_ROM_BASE, &f->rom, size, 0, claim_block(f, block, false, what));
    f->writable[PCI_ROM_BASE] |= ROM_ENABLE;
}

static void describe_bar(const PciFunction *f, const Bar *bar, unsigned offset,
                         void (*line)(void *self, const char *text), void *self)
{
    char text[80];
    if (bar->range) {
        snprintf(text, sizeof(text), "  %s 0x%08x, %" PRIu32 " bytes%s",
                 bar->io ? "ports" : (offset == PCI_ROM_BASE ? "rom" : "memory"),
                 pci_dword(f, offset) & ~(bar->size - 1), bar->size, bar->open ? "" : " (closed)");
        line(self, text);
    }
}

void pci_describe(PciBus *bus, void (*line)(void *self, const char *text), void *self)
{
    for (unsigned i = 0; i < DEVICES * FUNCTIONS; i++) {
        const PciFunction *f = bus->function[i / FUNCTIONS][i % FUNCTIONS];
        char text[80];
        if (!f) {
            continue;
        }
        snprintf(text, sizeof(text), "%02x.%u %04x:%04x class %06x irq %u%s", f->device,
                 f->function, pci_word(f, PCI_VENDOR), pci_word(f, PCI_DEVICE),
                 pci_dword(f, PCI_REVISION) >> 8, f->g.config[PCI_INTERRUPT_LINE],
                 f->g.interrupt ? " (asserted)" : "");
        line(self, text);
        for (unsigned n = 0; n < BARS; n++) {
            describe_bar(f, &f->bar[n], PCI_BAR0 + 4 * n, line, self);
        }
        describe_bar(f, &f->rom, PCI_ROM_BASE, line, self);
    }
}

/* The board is complete: what the chips have put into configuration space is its reset value. */
static void seal(PciBus *bus)
{
    for (unsigned i = 0; !bus->sealed && i < DEVICES * FUNCTIONS; i++) {
        PciFunction *f = bus->function[i / FUNCTIONS][i % FUNCTIONS];
        if (f) {
            memcpy(f->at_reset, f->g.config, sizeof(f->at_reset));
        }
    }
    bus->sealed = true;
}

static void pci_reset(Device *d, ResetKind kind)
{
    PciBus *bus = (PciBus *)d;
    (void)kind;
    seal(bus);
    bus->g.address = 0;
    for (unsigned i = 0; i < DEVICES * FUNCTIONS; i++) {
        PciFunction *f = bus->function[i / FUNCTIONS][i % FUNCTIONS];
        if (f) {
            memcpy(f->g.config, f->at_reset, sizeof(f->g.config));
            f->g.interrupt = false;
            apply_bars(f);
        }
    }
    for (unsigned i = 0; i < PIRQS; i++) {
        drive_pirq(bus, i);
    }
}

/* What no guest can change must be as this board has it: ids, header, and the fixed BAR bits. */
static bool same_function(const PciFunction *f)
{
    static const struct {
        uint8_t first, count;
    } fixed[] = {{PCI_VENDOR, 4},  {PCI_REVISION, 4}, {PCI_HEADER_TYPE, 1},
                 {PCI_BAR0, 0x20}, {PCI_ROM_BASE, 4}, {PCI_INTERRUPT_PIN, 1}};
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        for (unsigned at = fixed[i].first; at < fixed[i].first + fixed[i].count; at++) {
            if ((f->g.config[at] ^ f->at_reset[at]) & ~f->writable[at]) {
                return false;
            }
        }
    }
    return true;
}

static void pci_state(Device *d, StateIo *io)
{
    PciBus *bus = (PciBus *)d;
    seal(bus);
    state_u32(io, "address", &bus->g.address);
    state_check(io, (bus->g.address & ~ADDRESS_BITS) == 0, "address has impossible bits");
    for (unsigned i = 0; i < DEVICES * FUNCTIONS; i++) {
        PciFunction *f = bus->function[i / FUNCTIONS][i % FUNCTIONS];
        bool present = f;
        state_bool(io, "present", &present);
        if (!state_check(io, present == (f != NULL), "the board has other PCI functions") || !f) {
            continue;
        }
        state_bytes(io, "config", f->g.config, sizeof(f->g.config));
        state_bool(io, "interrupt", &f->g.interrupt);
        state_check(io, same_function(f), "another kind of function is in this place");
        state_check(io, !f->g.interrupt || f->g.config[PCI_INTERRUPT_PIN],
                    "a function without interrupt pin asserts it");
    }
}

static void pci_restored(Device *d)
{
    PciBus *bus = (PciBus *)d;
    for (unsigned i = 0; i < DEVICES * FUNCTIONS; i++) {
        PciFunction *f = bus->function[i / FUNCTIONS][i % FUNCTIONS];
        if (f) {
            apply_bars(f);
        }
    }
    for (unsigned i = 0; i < PIRQS; i++) {
        drive_pirq(bus, i);
    }
}

static void pci_destroy(Device *d)
{
    PciBus *bus = (PciBus *)d;
    for (unsigned i = 0; i < DEVICES * FUNCTIONS; i++) {
        free(bus->function[i / FUNCTIONS][i % FUNCTIONS]);
    }
    free(bus);
}

static const DeviceType pci_type = {
    .name = "pci",
    .version = 1,
    .reset = pci_reset,
    .state = pci_state,
    .restored = pci_restored,
    .destroy = pci_destroy,
};

static const IoOps pci_ops = {pci_read, pci_write, 1, 4};

PciBus *pci_new(Board *b, const char *id)
{
    PciBus *bus = calloc(1, sizeof(*bus));
    assert(bus);
    bus_claim(b->ports, ADDRESS_PORT, 8, &pci_ops, bus, "pci");
    device_add(b, &bus->dev, &pci_type, id);
    return bus;
}
