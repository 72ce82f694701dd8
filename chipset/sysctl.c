/* System control ports 61h, 80h, 92h, F0h and F1h.
 *
 * Data sheet: 82371SB (PIIX3), 290550, "NMI registers", "Reset control", "Coprocessor error". Wired
 * by pc_build to the timer, speaker, RTC, keyboard controller and processor.
 */
#include "chipset/sysctl.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("sysctl");

enum {
    P61_GATE2 = 0x01,
    P61_SPEAKER = 0x02,
    P61_NO_SYSTEM_ERROR = 0x04,
    P61_NO_CHANNEL_CHECK = 0x08,
    P61_WRITABLE = 0x0f,
    P61_REFRESH = 0x10,
    P61_OUT2 = 0x20,
    P61_CHANNEL_CHECK = 0x40,
    P61_SYSTEM_ERROR = 0x80,
    P92_INIT = 0x01,
    P92_A20 = 0x02,
    CRYSTAL_HZ = 1193182,
    REFRESH_TICKS = 18, /* counter 1's reload: a refresh each 15.09 us */
};

enum { PIN_A20, PIN_NMI_MASK, PIN_CHANNEL_CHECK, PIN_SYSTEM_ERROR, PIN_FERR };

struct Sysctl {
    Device dev;
    SysctlConfig config;
    struct {
        uint8_t port61; /* the writable bits */
        uint8_t port92; /* without P92_A20 */
        uint8_t post;
        bool a20; /* the gate: one latch, which port 92h and the keyboard controller both set */
        bool nmi_masked;
        bool channel_check, system_error; /* latched until their disable bit is set */
        bool ferr, irq13, ignne;
    } g;
};

static void drive_nmi(Sysctl *s)
{
    bool cause = (s->g.system_error && !(s->g.port61 & P61_NO_SYSTEM_ERROR)) ||
                 (s->g.channel_check && !(s->g.port61 & P61_NO_CHANNEL_CHECK));
    line_set(&s->config.nmi, cause && !s->g.nmi_masked);
}

bool sysctl_a20(const Sysctl *s)
{
    return s->g.a20;
}

uint8_t sysctl_post_code(const Sysctl *s)
{
    return s->g.post;
}

/* Chip sets watch the keyboard controller's output port and mirror it: whoever wrote last decides.
 * HIMEM relies on it, which closes by one way a gate that firmware has opened by the other. */
static void set_a20(Sysctl *s, bool open)
{
    s->g.a20 = open;
    line_set(&s->config.a20, open);
}

static void drive_all(Sysctl *s)
{
    line_set(&s->config.gate2, s->g.port61 & P61_GATE2);
    line_set(&s->config.speaker, s->g.port61 & P61_SPEAKER);
    line_set(&s->config.a20, sysctl_a20(s));
    line_set(&s->config.irq13, s->g.irq13);
    line_set(&s->config.ignne, s->g.ignne);
    drive_nmi(s);
}

/* FERR# rises: IRQ13. It falls: the error is dealt with, IGNNE# goes too. */
static void set_ferr(Sysctl *s, bool level)
{
    if (level && !s->g.ferr && !s->g.ignne) {
        s->g.irq13 = true;
    } else if (!level) {
        s->g.ignne = false;
    }
    s->g.ferr = level;
    line_set(&s->config.irq13, s->g.irq13);
    line_set(&s->config.ignne, s->g.ignne);
}

static void input_drive(void *sink, unsigned pin, bool level)
{
    Sysctl *s = sink;
    switch (pin) {
    case PIN_A20:
        set_a20(s, level);
        break;
    case PIN_NMI_MASK:
        s->g.nmi_masked = level;
        drive_nmi(s);
        break;
    case PIN_CHANNEL_CHECK:
        s->g.channel_check |= level && !(s->g.port61 & P61_NO_CHANNEL_CHECK);
        drive_nmi(s);
        break;
    case PIN_SYSTEM_ERROR:
        s->g.system_error |= level && !(s->g.port61 & P61_NO_SYSTEM_ERROR);
        drive_nmi(s);
        break;
    default:
        set_ferr(s, level);
    }
}

Line sysctl_a20_input(Sysctl *s)
{
    return (Line){input_drive, s, PIN_A20};
}

Line sysctl_nmi_mask(Sysctl *s)
{
    return (Line){input_drive, s, PIN_NMI_MASK};
}

Line sysctl_channel_check(Sysctl *s)
{
    return (Line){input_drive, s, PIN_CHANNEL_CHECK};
}

Line sysctl_system_error(Sysctl *s)
{
    return (Line){input_drive, s, PIN_SYSTEM_ERROR};
}

Line sysctl_ferr(Sysctl *s)
{
    return (Line){input_drive, s, PIN_FERR};
}

static uint64_t port61_read(void *self, uint32_t offset, unsigned bytes)
{
    Sysctl *s = self;
    (void)offset;
    (void)bytes;
    uint8_t value = s->g.port61;
    uint64_t ticks = clock_ticks(clock_now(&s->dev.board->clock), CRYSTAL_HZ);
    value |= ticks / REFRESH_TICKS & 1 ? P61_REFRESH : 0;
    value |= s->config.out2 && s->config.out2(s->config.pit) ? P61_OUT2 : 0;
    value |= s->g.channel_check ? P61_CHANNEL_CHECK : 0;
    value |= s->g.system_error ? P61_SYSTEM_ERROR : 0;
    return value;
}

static void port61_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Sysctl *s = self;
    (void)offset;
    (void)bytes;
    s->g.port61 = value & P61_WRITABLE;
    /* the disable bits also clear what was latched */
    s->g.system_error &= !(value & P61_NO_SYSTEM_ERROR);
    s->g.channel_check &= !(value & P61_NO_CHANNEL_CHECK);
    line_set(&s->config.gate2, value & P61_GATE2);
    line_set(&s->config.speaker, value & P61_SPEAKER);
    drive_nmi(s);
}

static uint64_t post_read(void *self, uint32_t offset, unsigned bytes)
{
    Sysctl *s = self;
    (void)offset;
    (void)bytes;
    return s->g.post;
}

static void post_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Sysctl *s = self;
    (void)offset;
    (void)bytes;
    s->g.post = (uint8_t)value;
    log_trace("POST code 0x%02x", s->g.post);
    if (s->config.post) {
        s->config.post(s->config.post_self, s->g.post);
    }
}

static uint64_t port92_read(void *self, uint32_t offset, unsigned bytes)
{
    Sysctl *s = self;
    (void)offset;
    (void)bytes;
    return s->g.port92 | (s->g.a20 ? P92_A20 : 0u);
}

static void port92_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Sysctl *s = self;
    (void)offset;
    (void)bytes;
    bool reset = value & P92_INIT && !(s->g.port92 & P92_INIT);
    s->g.port92 = value & P92_INIT;
    set_a20(s, value & P92_A20);
    if (reset) {
        log_trace("fast reset");
        line_pulse(&s->config.init);
    }
}

static uint64_t coprocessor_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)self;
    (void)offset;
    (void)bytes;
    return 0xff;
}

/* F0h clears IRQ13 and lets the processor go on despite the error; F1h reset the 287 and clears
 * IRQ13 too. */
static void coprocessor_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Sysctl *s = self;
    (void)value;
    (void)bytes;
    s->g.irq13 = false;
    line_set(&s->config.irq13, false);
    if (offset == 0 && s->g.ferr) {
        s->g.ignne = true;
        line_set(&s->config.ignne, true);
    }
}

static void sysctl_reset(Device *d, ResetKind kind)
{
    Sysctl *s = (Sysctl *)d;
    (void)kind;
    bool ferr = s->g.ferr;
    bool a20 = s->g.a20;
    bool masked = s->g.nmi_masked;
    memset(&s->g, 0, sizeof(s->g));
    s->g.ferr = ferr; /* the pins belong to others */
    s->g.a20 = a20;
    s->g.nmi_masked = masked;
    drive_all(s);
}

static void sysctl_state(Device *d, StateIo *io)
{
    Sysctl *s = (Sysctl *)d;
    state_u8(io, "port61", &s->g.port61);
    state_u8(io, "port92", &s->g.port92);
    state_u8(io, "post", &s->g.post);
    state_bool(io, "a20", &s->g.a20);
    state_bool(io, "nmi_masked", &s->g.nmi_masked);
    state_bool(io, "channel_check", &s->g.channel_check);
    state_bool(io, "system_error", &s->g.system_error);
    state_bool(io, "ferr", &s->g.ferr);
    state_bool(io, "irq13", &s->g.irq13);
    state_bool(io, "ignne", &s->g.ignne);
    state_check(io, !(s->g.port61 & ~P61_WRITABLE) && !(s->g.port92 & ~P92_INIT),
                "a port has a reserved bit");
}

static void sysctl_restored(Device *d)
{
    Sysctl *s = (Sysctl *)d;
    /* The gate of counter 2 is saved by the timer; IGNNE# by the processor, which would take it for
     * a new edge. */
    line_set(&s->config.speaker, s->g.port61 & P61_SPEAKER);
    line_set(&s->config.a20, sysctl_a20(s));
    line_set(&s->config.irq13, s->g.irq13);
}

static const DeviceType sysctl_type = {
    .name = "sysctl",
    .version = 1,
    .reset = sysctl_reset,
    .state = sysctl_state,
    .restored = sysctl_restored,
};

static const IoOps port61_ops = {port61_read, port61_write, 1, 1};
static const IoOps post_ops = {post_read, post_write, 1, 1};
static const IoOps port92_ops = {port92_read, port92_write, 1, 1};
static const IoOps coprocessor_ops = {coprocessor_read, coprocessor_write, 1, 1};

Sysctl *sysctl_new(Board *b, const SysctlConfig *config, const char *id)
{
    Sysctl *s = calloc(1, sizeof(*s));
    s->config = *config;
    bus_claim(b->ports, 0x61, 1, &port61_ops, s, "system control 61h");
    bus_claim(b->ports, 0x80, 1, &post_ops, s, "POST code");
    bus_claim(b->ports, 0x92, 1, &port92_ops, s, "system control 92h");
    bus_claim(b->ports, 0xf0, 2, &coprocessor_ops, s, "coprocessor error");
    device_add(b, &s->dev, &sysctl_type, id);
    return s;
}
