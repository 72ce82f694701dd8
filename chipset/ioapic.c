/* 82093AA I/O APIC.
 *
 * Data sheet: Intel 82093AA, 290566. Lines carry logical levels, so the polarity bit of an entry is
 * storage: the board's wiring is what it says. Not modelled: arbitration (ids are storage), the
 * time messages take (delivery status always reads idle). Wired by pc_build.
 */
#include "chipset/ioapic.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("ioapic");

enum {
    IOREGSEL = 0x00,
    IOWIN = 0x10,
    SPACE = 0x1000,
    REG_ID = 0,
    REG_VERSION = 1,
    REG_ARBITRATION = 2,
    REG_TABLE = 0x10,
    VERSION = 0x11 | (IOAPIC_PINS - 1) << 16,
    MODE_FIXED = 0, /* SMI, NMI, INIT and ExtINT are always edges */
    MODE_LOWEST = 1,
};
#define ENTRY_MODE_SHIFT 8
#define ENTRY_LOGICAL 0x800u
#define ENTRY_STATUS 0x1000u
#define ENTRY_REMOTE_IRR 0x4000u
#define ENTRY_LEVEL 0x8000u
#define ENTRY_MASKED 0x10000u
#define ENTRY_READ_ONLY (ENTRY_STATUS | ENTRY_REMOTE_IRR)
#define ENTRY_BITS UINT64_C(0xff0000000001ffff)

struct Ioapic {
    Device dev;
    IoapicConfig config;
    struct {
        uint8_t select;
        uint32_t id;
        uint32_t level; /* bit n: pin n is asserted */
        uint64_t entry[IOAPIC_PINS];
    } g;
};

static bool send(Ioapic *io, unsigned pin)
{
    uint64_t e = io->g.entry[pin];
    return io->config.deliver(io->config.lapic, (uint8_t)(e >> 56), e & ENTRY_LOGICAL,
                              e >> ENTRY_MODE_SHIFT & 7, (uint8_t)e, e & ENTRY_LEVEL);
}

static bool level_triggered(uint64_t entry)
{
    return entry & ENTRY_LEVEL && (entry >> ENTRY_MODE_SHIFT & 7) <= MODE_LOWEST;
}

/* A level-triggered pin sends while it is asserted and its last message has been ended. */
static void service_level(Ioapic *io, unsigned pin)
{
    uint64_t *e = &io->g.entry[pin];
    if (level_triggered(*e) && io->g.level >> pin & 1 &&
        !(*e & (ENTRY_MASKED | ENTRY_REMOTE_IRR))) {
        *e |= ENTRY_REMOTE_IRR; /* first: sending may end the interrupt at once */
        if (!send(io, pin)) {
            *e &= ~(uint64_t)ENTRY_REMOTE_IRR;
        }
    }
}

void ioapic_pin(void *ioapic, unsigned pin, bool level)
{
    Ioapic *io = ioapic;
    if (pin >= IOAPIC_PINS || (io->g.level >> pin & 1) == level) {
        return;
    }
    io->g.level ^= 1u << pin;
    if (level_triggered(io->g.entry[pin])) {
        service_level(io, pin);
    } else if (level && !(io->g.entry[pin] & ENTRY_MASKED)) {
        send(io, pin); /* an edge at a masked pin is lost (data sheet, 3.2.4) */
    }
}

void ioapic_end_of_interrupt(void *ioapic, uint8_t vector)
{
    Ioapic *io = ioapic;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *e = &io->g.entry[pin];
        if (level_triggered(*e) && (uint8_t)*e == vector && *e & ENTRY_REMOTE_IRR) {
            *e &= ~(uint64_t)ENTRY_REMOTE_IRR;
            service_level(io, pin);
        }
    }
}

static uint32_t read_register(const Ioapic *io)
{
    unsigned n = io->g.select;
    switch (n) {
    case REG_ID:
    case REG_ARBITRATION:
        return io->g.id;
    case REG_VERSION:
        return VERSION;
    default:
        if (n >= REG_TABLE && n < REG_TABLE + 2 * IOAPIC_PINS) {
            n -= REG_TABLE;
            return (uint32_t)(io->g.entry[n / 2] >> (n & 1 ? 32 : 0));
        }
        return 0;
    }
}

static void write_entry(Ioapic *io, unsigned pin, bool high, uint32_t value)
{
    uint64_t *e = &io->g.entry[pin];
    if (high) {
        *e = (*e & 0xffffffff) | (uint64_t)value << 32;
    } else {
        *e = (*e & ~(uint64_t)0xffffffff) | (*e & ENTRY_READ_ONLY) | (value & ~ENTRY_READ_ONLY);
        if (!level_triggered(*e)) {
            *e &= ~(uint64_t)ENTRY_REMOTE_IRR; /* how systems without an EOI register clear it */
        }
    }
    *e &= ENTRY_BITS;
    log_trace("pin %u: 0x%08x %08x", pin, (uint32_t)(*e >> 32), (uint32_t)*e);
    service_level(io, pin);
}

static void write_register(Ioapic *io, uint32_t value)
{
    unsigned n = io->g.select;
    if (n == REG_ID) {
        io->g.id = value & 0x0f000000;
    } else if (n >= REG_TABLE && n < REG_TABLE + 2 * IOAPIC_PINS) {
        write_entry(io, (n - REG_TABLE) / 2, n & 1, value);
    }
}

static uint64_t ioapic_read(void *self, uint32_t offset, unsigned bytes)
{
    Ioapic *io = self;
    (void)bytes;
    switch (offset) {
    case IOREGSEL:
        return io->g.select;
    case IOWIN:
        return read_register(io);
    default:
        return 0;
    }
}

static void ioapic_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Ioapic *io = self;
    (void)bytes;
    if (offset == IOREGSEL) {
        io->g.select = (uint8_t)value;
    } else if (offset == IOWIN) {
        write_register(io, (uint32_t)value);
    }
}

static void ioapic_reset(Device *d, ResetKind kind)
{
    Ioapic *io = (Ioapic *)d;
    (void)kind;
    uint32_t level = io->g.level; /* belongs to those who drive it */
    memset(&io->g, 0, sizeof(io->g));
    io->g.level = level;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        io->g.entry[pin] = ENTRY_MASKED;
    }
}

static void ioapic_state(Device *d, StateIo *s)
{
    Ioapic *io = (Ioapic *)d;
    state_u8(s, "select", &io->g.select);
    state_u32(s, "id", &io->g.id);
    state_u32(s, "level", &io->g.level);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        state_u64(s, "entry", &io->g.entry[pin]);
    }
    state_check(s, io->g.level >> IOAPIC_PINS == 0, "a pin the chip has not");
}

static const DeviceType ioapic_type = {
    .name = "ioapic",
    .version = 1,
    .reset = ioapic_reset,
    .state = ioapic_state,
};

static const IoOps ioapic_ops = {ioapic_read, ioapic_write, 4, 4};

Ioapic *ioapic_new(Board *b, const IoapicConfig *config, const char *id)
{
    Ioapic *io = calloc(1, sizeof(*io));
    assert(io);
    io->config = *config;
    IoRange *range = bus_claim(b->memory, config->base, SPACE, &ioapic_ops, io, "ioapic");
    bus_set_level(range, 2);
    device_add(b, &io->dev, &ioapic_type, id);
    return io;
}
