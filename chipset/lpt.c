/* Parallel printer port.
 *
 * Sources: IBM PS/2 Hardware Interface Technical Reference; the Centronics timing of the Epson FX
 * series. The printer takes a byte at the strobe's rising edge, is busy, and acknowledges; the
 * interrupt is latched at the end of the acknowledge, as on the PS/2 and later. Wired by pc_build:
 * IRQ7 and a CharPort.
 *
 * QUIRK: an acknowledge that nobody saw is shown to the next read of the status too: SeaBIOS polls
 * for the pulse of some microseconds and may take longer between two looks.
 *
 * Not modelled: EPP and ECP modes.
 */
#include "chipset/lpt.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("lpt");

enum {
    REG_DATA,
    REG_STATUS,
    REG_CONTROL,
    CONTROL_STROBE = 0x01,
    CONTROL_INIT = 0x04, /* low resets the printer */
    CONTROL_SELECT = 0x08,
    CONTROL_IRQ = 0x10,
    CONTROL_INPUT = 0x20,
    CONTROL_UNUSED = 0xc0,
    STATUS_LOW = 0x02,    /* bit 0 is low: SeaBIOS passes it on, where DOS finds "time-out" */
    STATUS_NO_IRQ = 0x04, /* goes low with the interrupt, until status is read */
    STATUS_NO_ERROR = 0x08,
    STATUS_SELECTED = 0x10,
    STATUS_PAPER_OUT = 0x20,
    STATUS_NO_ACK = 0x40,
    STATUS_NOT_BUSY = 0x80,
    BUSY_NS = 10000,
    ACK_NS = 5000,
};

typedef enum Phase { READY, BUSY, ACKNOWLEDGING, PHASE_COUNT } Phase;

struct Lpt {
    Device dev;
    LptConfig config;
    struct {
        uint8_t data, control;
        unsigned phase; /* Phase */
        bool irq;
        bool unseen; /* an acknowledge that no read of the status has shown */
    } g;
    Timer timer;
};

static void drive_irq(Lpt *l)
{
    line_set(&l->config.irq, l->g.irq && l->g.control & CONTROL_IRQ);
}

static int64_t now_of(const Lpt *l)
{
    return clock_now(&l->dev.board->clock);
}

static void timer_fire(void *self, int64_t due)
{
    Lpt *l = self;
    if (l->g.phase == BUSY) {
        l->g.phase = ACKNOWLEDGING;
        timer_arm(&l->timer, due + ACK_NS);
    } else {
        l->g.phase = READY;
        l->g.irq = true;
        drive_irq(l);
    }
}

static void strobe(Lpt *l)
{
    const CharPort *port = &l->config.port;
    if (!port->ops || l->g.phase == BUSY || !(l->g.control & CONTROL_INIT)) {
        return; /* nobody looks */
    }
    port->ops->write(port->backend, &l->g.data, 1);
    l->g.phase = BUSY;
    l->g.unseen = true;
    timer_arm(&l->timer, now_of(l) + BUSY_NS);
}

static uint8_t status(Lpt *l)
{
    uint8_t value = STATUS_LOW | (l->g.irq ? 0 : STATUS_NO_IRQ);
    if (!l->config.port.ops) { /* the inputs float high; busy is inverted */
        value |= STATUS_NO_ERROR | STATUS_SELECTED | STATUS_PAPER_OUT | STATUS_NO_ACK;
    } else {
        value |= STATUS_NO_ERROR | STATUS_SELECTED;
        bool acknowledged = l->g.phase == ACKNOWLEDGING || (l->g.phase == READY && l->g.unseen);
        value |= acknowledged ? 0 : STATUS_NO_ACK;
        l->g.unseen &= !acknowledged;
        value |= l->g.phase == READY && l->g.control & CONTROL_INIT ? STATUS_NOT_BUSY : 0;
    }
    l->g.irq = false;
    drive_irq(l);
    return value;
}

static uint64_t lpt_read(void *self, uint32_t offset, unsigned bytes)
{
    Lpt *l = self;
    (void)bytes;
    switch (offset) {
    case REG_DATA: /* a printer drives nothing */
        return l->g.control & CONTROL_INPUT ? 0xff : l->g.data;
    case REG_STATUS:
        return status(l);
    default:
        return l->g.control | CONTROL_UNUSED;
    }
}

static void write_control(Lpt *l, uint8_t value)
{
    bool rising = value & CONTROL_STROBE && !(l->g.control & CONTROL_STROBE);
    l->g.control = value & (uint8_t)~CONTROL_UNUSED;
    if (!(value & CONTROL_INIT)) {
        l->g.phase = READY;
        l->g.irq = l->g.unseen = false;
        timer_disarm(&l->timer);
    }
    if (!(value & CONTROL_IRQ)) {
        l->g.irq = false;
    }
    if (rising) {
        l->g.irq = false;
        strobe(l);
    }
    drive_irq(l);
}

static void lpt_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Lpt *l = self;
    (void)bytes;
    if (offset == REG_DATA) {
        l->g.data = (uint8_t)value;
    } else if (offset == REG_CONTROL) {
        write_control(l, (uint8_t)value);
    }
}

static void lpt_reset(Device *d, ResetKind kind)
{
    Lpt *l = (Lpt *)d;
    (void)kind;
    timer_disarm(&l->timer);
    memset(&l->g, 0, sizeof(l->g));
    drive_irq(l);
}

static void lpt_state(Device *d, StateIo *io)
{
    Lpt *l = (Lpt *)d;
    state_u8(io, "data", &l->g.data);
    state_u8(io, "control", &l->g.control);
    state_enum(io, "phase", &l->g.phase, PHASE_COUNT);
    state_bool(io, "irq", &l->g.irq);
    state_timer(io, "timer", &l->timer);
    if (state_since(io, 2)) {
        state_bool(io, "unseen", &l->g.unseen);
    } else {
        l->g.unseen = false;
    }
}

static void lpt_restored(Device *d)
{
    Lpt *l = (Lpt *)d;
    drive_irq(l);
}

static const DeviceType lpt_type = {
    .name = "lpt",
    .version = 2,
    .reset = lpt_reset,
    .state = lpt_state,
    .restored = lpt_restored,
};

static const IoOps lpt_ops = {lpt_read, lpt_write, 1, 1};

Lpt *lpt_new(Board *b, const LptConfig *config, const char *id)
{
    Lpt *l = calloc(1, sizeof(*l));
    l->config = *config;
    timer_init(&l->timer, &b->clock, "lpt.timer", timer_fire, l);
    bus_claim(b->ports, config->base, 3, &lpt_ops, l, "lpt");
    device_add(b, &l->dev, &lpt_type, id);
    log_trace("%s at 0x%x", id, config->base);
    return l;
}
