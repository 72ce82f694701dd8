/* Two 8259A interrupt controllers, cascaded as on a PC, with the ELCR of the PIIX.
 *
 * Data sheets: Intel 8259A, 231468; 82371SB (PIIX3), 290550, for ELCR and for ICW1's ignored LTIM
 * bit. A request is a level: in edge mode it shows in IRR from its rising edge until it is
 * acknowledged or withdrawn, so that withdrawn requests end in the default level 7. Wired by
 * pc_build: INT to the processor (or local APIC), inputs from every ISA device and from the PIRQ
 * router. Not modelled: the call sequence for the 8080 and the buffered mode's SP/EN pin.
 */
#include "chipset/pic.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("pic");

enum {
    CASCADE = 2, /* the master's input that the slave is on */
    SOURCES = 32,
    /* A0 = 0 */
    ICW1 = 0x10,
    ICW1_IC4 = 0x01,
    ICW1_SINGLE = 0x02,
    OCW3 = 0x08,
    OCW3_RIS = 0x01,
    OCW3_RR = 0x02,
    OCW3_POLL = 0x04,
    OCW3_SMM = 0x20,
    OCW3_ESMM = 0x40,
    OCW2_EOI = 0x20,
    OCW2_SL = 0x40,
    OCW2_ROTATE = 0x80,
    /* A0 = 1 */
    ICW4_8086 = 0x01,
    ICW4_AUTO_EOI = 0x02,
    ICW4_SFNM = 0x10,
    POLL_REQUEST = 0x80,
};

/* Requests that are always edge triggered: timer, keyboard, cascade; RTC, FERR# (290550, "ELCR").
 */
static const uint8_t elcr_mask[2] = {0xf8, 0xde};

typedef struct Chip {
    struct {
        uint8_t lines; /* the IR pins */
        uint8_t armed; /* edge mode: the pin was low since the last acknowledge or ICW1 */
        uint8_t isr, imr, elcr;
        uint8_t base;   /* vector of IR0 */
        uint8_t lowest; /* 0..7: the level of lowest priority */
        uint8_t icw;    /* 0: ready; 2..4: the ICW that is awaited */
        bool single, needs_icw4;
        bool auto_eoi, rotate_auto_eoi, special_nested, special_mask;
        bool read_isr, poll;
    } g;
} Chip;

struct Pic {
    Device dev;
    PicConfig config;
    Chip chip[2];
    struct {
        uint32_t sources[16]; /* for each request, which of its sources are up */
        bool intr;
    } g;
    unsigned source_count[16];
};

static uint8_t requests(const Chip *c)
{
    return (uint8_t)(c->g.lines & (c->g.armed | c->g.elcr));
}

/* The level of highest priority among those set, or -1. */
static int highest(const Chip *c, uint8_t levels)
{
    for (unsigned i = 1; i <= 8; i++) {
        unsigned level = (c->g.lowest + i) & 7;
        if (levels & 1u << level) {
            return (int)level;
        }
    }
    return -1;
}

/* In-service levels that hold back others: in special mask mode the masked ones do not. */
static uint8_t blocking(const Chip *c)
{
    return c->g.special_mask ? (uint8_t)(c->g.isr & ~c->g.imr) : c->g.isr;
}

/* The request to be served now, or -1. */
static int pending(const Pic *pic, const Chip *c)
{
    if (c->g.icw) {
        return -1; /* being initialised */
    }
    uint8_t wanted = (uint8_t)(requests(c) & ~c->g.imr);
    if (c->g.special_mask) {
        wanted &= (uint8_t)~c->g.isr; /* a level in service never interrupts itself */
    }
    int request = highest(c, wanted);
    int service = highest(c, blocking(c));
    if (request < 0 || service < 0) {
        return request;
    }
    if (request == service && request == CASCADE && c->g.special_nested && c == &pic->chip[0]) {
        return request; /* the slave may interrupt its own service */
    }
    unsigned rank = ((unsigned)request - c->g.lowest - 1) & 7;
    unsigned service_rank = ((unsigned)service - c->g.lowest - 1) & 7;
    return rank < service_rank ? request : -1;
}

static void set_pin(Chip *c, unsigned level, bool up)
{
    uint8_t bit = (uint8_t)(1u << level);
    if (up) {
        c->g.lines |= bit;
    } else {
        c->g.lines &= (uint8_t)~bit;
        c->g.armed |= bit;
    }
}

/* Carries the slave's INT to the master, and the master's to the pin. */
static void refresh(Pic *pic)
{
    set_pin(&pic->chip[0], CASCADE, pending(pic, &pic->chip[1]) >= 0);
    bool intr = pending(pic, &pic->chip[0]) >= 0;
    if (intr != pic->g.intr) {
        pic->g.intr = intr;
        line_set(&pic->config.intr, intr);
    }
}

static void end_of_interrupt(Chip *c, unsigned level, bool rotate)
{
    c->g.isr &= (uint8_t) ~(1u << level);
    if (rotate) {
        c->g.lowest = (uint8_t)level;
    }
}

/* An INTA sequence on one chip: takes the request into service. Returns its level, or -1 when none
 * is left. */
static int take(Pic *pic, Chip *c)
{
    int level = pending(pic, c);
    if (level < 0) {
        return -1;
    }
    uint8_t bit = (uint8_t)(1u << level);
    c->g.armed &= (uint8_t)~bit;
    c->g.isr |= bit;
    if (c->g.auto_eoi) {
        end_of_interrupt(c, (unsigned)level, c->g.rotate_auto_eoi);
    }
    return level;
}

/* The slave's INT falls during its INTA, so that what still waits there makes a new edge. */
static int take_slave(Pic *pic)
{
    int level = take(pic, &pic->chip[1]);
    set_pin(&pic->chip[0], CASCADE, false);
    return level;
}

uint8_t pic_acknowledge(void *self)
{
    Pic *pic = self;
    Chip *master = &pic->chip[0];
    Chip *slave = &pic->chip[1];
    int level = take(pic, master);
    uint8_t vector;
    if (level == CASCADE && !master->g.single) {
        int inner = take_slave(pic);
        vector = (uint8_t)(slave->g.base | (inner < 0 ? 7 : inner));
    } else {
        vector = (uint8_t)(master->g.base | (level < 0 ? 7 : level));
        if (level < 0) {
            log_trace("spurious 7");
        }
    }
    refresh(pic);
    return vector;
}

bool pic_pending(const Pic *pic)
{
    return pic->g.intr;
}

PicView pic_view(const Pic *pic, unsigned chip)
{
    const Chip *c = &pic->chip[chip & 1];
    return (PicView){requests(c), c->g.isr, c->g.imr, c->g.elcr, c->g.base};
}

static void write_icw1(Chip *c, uint8_t value)
{
    uint8_t lines = c->g.lines;
    uint8_t elcr = c->g.elcr;
    memset(&c->g, 0, sizeof(c->g));
    c->g.lines = lines;
    c->g.elcr = elcr;
    c->g.armed = (uint8_t)~lines; /* the edge sense is reset: only a new edge counts */
    c->g.lowest = 7;
    c->g.icw = 2;
    c->g.single = value & ICW1_SINGLE;
    c->g.needs_icw4 = value & ICW1_IC4;
}

static void write_ocw2(Chip *c, uint8_t value)
{
    bool rotate = value & OCW2_ROTATE;
    unsigned level = value & 7;
    switch (value & (OCW2_ROTATE | OCW2_SL | OCW2_EOI)) {
    case OCW2_EOI:
    case OCW2_EOI | OCW2_ROTATE: {
        int served = highest(c, blocking(c)); /* special mask mode spares masked levels */
        if (served >= 0) {
            end_of_interrupt(c, (unsigned)served, rotate);
        }
        break;
    }
    case OCW2_EOI | OCW2_SL:
    case OCW2_EOI | OCW2_SL | OCW2_ROTATE:
        end_of_interrupt(c, level, rotate);
        break;
    case OCW2_SL | OCW2_ROTATE:
        c->g.lowest = (uint8_t)level;
        break;
    case OCW2_ROTATE:
        c->g.rotate_auto_eoi = true;
        break;
    case 0:
        c->g.rotate_auto_eoi = false;
        break;
    default: /* no operation */
        break;
    }
}

static void write_ocw3(Chip *c, uint8_t value)
{
    if (value & OCW3_ESMM) {
        c->g.special_mask = value & OCW3_SMM;
    }
    c->g.poll = value & OCW3_POLL;
    if (value & OCW3_RR) {
        c->g.read_isr = value & OCW3_RIS;
    }
}

static void write_high(Pic *pic, Chip *c, uint8_t value)
{
    switch (c->g.icw) {
    case 2:
        c->g.base = value & 0xf8;
        c->g.icw = c->g.single ? (c->g.needs_icw4 ? 4 : 0) : 3;
        break;
    case 3: /* where the slave sits is the board's wiring */
        if (value != (c == &pic->chip[0] ? 1u << CASCADE : CASCADE)) {
            log_guest("chip%d: ICW3 0x%02x is not how a PC is wired", (int)(c - pic->chip), value);
        }
        c->g.icw = c->g.needs_icw4 ? 4 : 0;
        break;
    case 4:
        if (!(value & ICW4_8086)) {
            log_unimp("chip%d: 8080 mode", (int)(c - pic->chip));
        }
        c->g.auto_eoi = value & ICW4_AUTO_EOI;
        c->g.special_nested = value & ICW4_SFNM;
        c->g.icw = 0;
        break;
    default:
        c->g.imr = value;
    }
}

static uint64_t chip_read(Pic *pic, Chip *c, uint32_t offset)
{
    if (c->g.poll) { /* this read is the INTA */
        c->g.poll = false;
        int level = c == &pic->chip[1] ? take_slave(pic) : take(pic, c);
        refresh(pic);
        return level < 0 ? 0 : (uint64_t)(POLL_REQUEST | level);
    }
    if (offset == 1) {
        return c->g.imr;
    }
    return c->g.read_isr ? c->g.isr : requests(c);
}

static void chip_write(Pic *pic, Chip *c, uint32_t offset, uint8_t value)
{
    if (offset == 1) {
        write_high(pic, c, value);
    } else if (value & ICW1) {
        write_icw1(c, value);
    } else if (value & OCW3) {
        write_ocw3(c, value);
    } else {
        write_ocw2(c, value);
    }
    refresh(pic);
}

static uint64_t master_read(void *self, uint32_t offset, unsigned bytes)
{
    Pic *pic = self;
    (void)bytes;
    return chip_read(pic, &pic->chip[0], offset);
}

static void master_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Pic *pic = self;
    (void)bytes;
    chip_write(pic, &pic->chip[0], offset, (uint8_t)value);
}

static uint64_t slave_read(void *self, uint32_t offset, unsigned bytes)
{
    Pic *pic = self;
    (void)bytes;
    return chip_read(pic, &pic->chip[1], offset);
}

static void slave_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Pic *pic = self;
    (void)bytes;
    chip_write(pic, &pic->chip[1], offset, (uint8_t)value);
}

static uint64_t elcr_read(void *self, uint32_t offset, unsigned bytes)
{
    Pic *pic = self;
    (void)bytes;
    return pic->chip[offset & 1].g.elcr;
}

static void elcr_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Pic *pic = self;
    (void)bytes;
    pic->chip[offset & 1].g.elcr = (uint8_t)value & elcr_mask[offset & 1];
    refresh(pic);
}

/* pin: the request, and above it the number of the source. */
static void input_drive(void *sink, unsigned pin, bool level)
{
    Pic *pic = sink;
    unsigned irq = pin & 15;
    uint32_t bit = UINT32_C(1) << (pin >> 4);
    pic->g.sources[irq] = level ? pic->g.sources[irq] | bit : pic->g.sources[irq] & ~bit;
    set_pin(&pic->chip[irq >> 3], irq & 7, pic->g.sources[irq] != 0);
    refresh(pic);
}

void pic_connect(Pic *pic, Line intr)
{
    pic->config.intr = intr;
    line_set(&pic->config.intr, pic->g.intr);
}

Line pic_input(Pic *pic, unsigned irq)
{
    assert(irq < 16 && irq != CASCADE && pic->source_count[irq] < SOURCES);
    return (Line){input_drive, pic, irq | pic->source_count[irq]++ << 4};
}

static void pic_reset(Device *d, ResetKind kind)
{
    Pic *pic = (Pic *)d;
    (void)kind;
    /* The 8259A has no reset pin; the PIIX masks nothing and clears ELCR. Requests that are up stay
     * so: their devices drive them. */
    for (unsigned i = 0; i < 2; i++) {
        Chip *c = &pic->chip[i];
        uint8_t lines = c->g.lines;
        memset(&c->g, 0, sizeof(c->g));
        c->g.lines = lines;
        c->g.armed = (uint8_t)~lines;
        c->g.lowest = 7;
        c->g.icw = 2; /* silent until it is programmed */
    }
    refresh(pic);
}

static void pic_state(Device *d, StateIo *io)
{
    Pic *pic = (Pic *)d;
    for (unsigned i = 0; i < 2; i++) {
        Chip *c = &pic->chip[i];
        state_u8(io, "lines", &c->g.lines);
        state_u8(io, "armed", &c->g.armed);
        state_u8(io, "isr", &c->g.isr);
        state_u8(io, "imr", &c->g.imr);
        state_u8(io, "elcr", &c->g.elcr);
        state_u8(io, "base", &c->g.base);
        state_u8(io, "lowest", &c->g.lowest);
        state_u8(io, "icw", &c->g.icw);
        state_bool(io, "single", &c->g.single);
        state_bool(io, "needs_icw4", &c->g.needs_icw4);
        state_bool(io, "auto_eoi", &c->g.auto_eoi);
        state_bool(io, "rotate_auto_eoi", &c->g.rotate_auto_eoi);
        state_bool(io, "special_nested", &c->g.special_nested);
        state_bool(io, "special_mask", &c->g.special_mask);
        state_bool(io, "read_isr", &c->g.read_isr);
        state_bool(io, "poll", &c->g.poll);
        state_check(io, c->g.lowest < 8 && c->g.icw <= 4 && c->g.icw != 1 && !(c->g.base & 7),
                    "level, vector or ICW is impossible");
        state_check(io, !(c->g.elcr & ~elcr_mask[i]), "ELCR has a reserved bit");
    }
    for (unsigned i = 0; i < 16; i++) {
        state_u32(io, "sources", &pic->g.sources[i]);
    }
    state_bool(io, "intr", &pic->g.intr);
}

static void pic_restored(Device *d)
{
    Pic *pic = (Pic *)d;
    line_set(&pic->config.intr, pic->g.intr);
}

static const DeviceType pic_type = {
    .name = "pic",
    .version = 1,
    .reset = pic_reset,
    .state = pic_state,
    .restored = pic_restored,
};

static const IoOps master_ops = {master_read, master_write, 1, 1};
static const IoOps slave_ops = {slave_read, slave_write, 1, 1};
static const IoOps elcr_ops = {elcr_read, elcr_write, 1, 1};

Pic *pic_new(Board *b, const PicConfig *config, const char *id)
{
    Pic *pic = calloc(1, sizeof(*pic));
    pic->config = *config;
    bus_claim(b->ports, 0x20, 2, &master_ops, pic, "pic master");
    bus_claim(b->ports, 0xa0, 2, &slave_ops, pic, "pic slave");
    bus_claim(b->ports, 0x4d0, 2, &elcr_ops, pic, "pic elcr");
    device_add(b, &pic->dev, &pic_type, id);
    return pic;
}
