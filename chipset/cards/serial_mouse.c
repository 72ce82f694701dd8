/* Serial mice.
 *
 * Sources: Microsoft Mouse Programmer's Reference (report format, "M" at power-up); Logitech's
 * three button and Microsoft's wheel extensions; Mouse Systems M-1 manual. The mouse takes its
 * power from RTS and DTR: raising them makes it identify itself. It speaks 1200 baud; at another
 * speed of the UART its bytes are noise and are not delivered. Wired by pc_build: its plug to a
 * UART, its event port to the front end. Not modelled: the Plug and Play identifier after the "M".
 */
#include "chipset/cards/serial_mouse.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/keys.h"

enum {
    BAUD = 1200,
    IDENTIFY_NS = 14000000,
    MICROSOFT_SYNC = 0x40,
    MICROSOFT_LEFT = 0x20,
    MICROSOFT_RIGHT = 0x10,
    LOGITECH_MIDDLE = 0x20,
    WHEEL_MIDDLE = 0x10,
    SYSTEMS_SYNC = 0x80,
    BACKLOG = 2048,
    REPORT_ROOM = 5,
};

struct SerialMouse {
    Device dev;
    SerialMouseConfig config;
    EventPort *events;
    CharSink sink;
    bool attached;
    struct {
        uint32_t baud; /* of the UART */
        bool powered;
        bool identified;           /* the power-up message is out */
        uint8_t buttons, reported; /* MOUSE_* */
        int32_t dx, dy, dz;        /* since the last report; dy grows downwards, dz to the user */
        int64_t next_report;       /* guest ns: the wire is busy until then */
    } g;
    Timer timer;
};

static int64_t now_of(const SerialMouse *m)
{
    return clock_now(&m->dev.board->clock);
}

static int32_t take(int32_t *from, int32_t low, int32_t high)
{
    int32_t v = *from < low ? low : *from > high ? high : *from;
    *from -= v;
    return v;
}

/* --- reports --- */

static size_t microsoft_report(SerialMouse *m, uint8_t *r)
{
    uint8_t b = m->g.buttons;
    uint8_t dx = (uint8_t)take(&m->g.dx, -128, 127);
    uint8_t dy = (uint8_t)take(&m->g.dy, -128, 127);
    r[0] = (uint8_t)(MICROSOFT_SYNC | (b & MOUSE_LEFT ? MICROSOFT_LEFT : 0) |
                     (b & MOUSE_RIGHT ? MICROSOFT_RIGHT : 0) | dy >> 6 << 2 | dx >> 6);
    r[1] = dx & 0x3f;
    r[2] = dy & 0x3f;
    if (m->config.kind == SERIAL_MOUSE_WHEEL) {
        r[3] = (uint8_t)((b & MOUSE_MIDDLE ? WHEEL_MIDDLE : 0) | (take(&m->g.dz, -8, 7) & 15));
        return 4;
    }
    m->g.dz = 0;
    if (m->config.kind == SERIAL_MOUSE_LOGITECH && (b | m->g.reported) & MOUSE_MIDDLE) {
        r[3] = b & MOUSE_MIDDLE ? LOGITECH_MIDDLE : 0;
        return 4;
    }
    return 3;
}

static size_t systems_report(SerialMouse *m, uint8_t *r)
{
    uint8_t b = m->g.buttons; /* a pressed button reads 0 */
    int32_t up = -m->g.dy;
    r[0] = (uint8_t)(SYSTEMS_SYNC | (b & MOUSE_LEFT ? 0 : 4) | (b & MOUSE_MIDDLE ? 0 : 2) |
                     (b & MOUSE_RIGHT ? 0 : 1));
    r[1] = (uint8_t)take(&m->g.dx, -127, 127);
    r[2] = (uint8_t)take(&up, -127, 127);
    r[3] = (uint8_t)take(&m->g.dx, -127, 127); /* what moved meanwhile */
    r[4] = (uint8_t)take(&up, -127, 127);
    m->g.dy = -up;
    m->g.dz = 0;
    return 5;
}

static void deliver_bytes(SerialMouse *m, const uint8_t *data, size_t size)
{
    if (m->attached && m->g.baud == BAUD && m->sink.room(m->sink.self) >= size) {
        m->sink.receive(m->sink.self, data, size);
    }
}

static bool news(const SerialMouse *m)
{
    uint8_t seen = m->config.kind == SERIAL_MOUSE_MICROSOFT
                       ? MOUSE_LEFT | MOUSE_RIGHT
                       : MOUSE_LEFT | MOUSE_RIGHT | MOUSE_MIDDLE;
    return m->g.dx || m->g.dy || (m->g.dz && m->config.kind == SERIAL_MOUSE_WHEEL) ||
           ((m->g.buttons ^ m->g.reported) & seen);
}

/* Makes the next report when there is news and the wire is free. */
static void report(SerialMouse *m)
{
    uint8_t bytes[REPORT_ROOM];
    if (!m->g.powered || !m->g.identified || !news(m)) {
        return;
    }
    int64_t now = now_of(m);
    if (now < m->g.next_report) {
        timer_arm(&m->timer, m->g.next_report);
        return;
    }
    bool systems = m->config.kind == SERIAL_MOUSE_SYSTEMS;
    size_t size = systems ? systems_report(m, bytes) : microsoft_report(m, bytes);
    m->g.reported = m->g.buttons;
    m->g.next_report = now + (int64_t)size * (systems ? 10 : 9) * CLOCK_NS_PER_S / BAUD;
    deliver_bytes(m, bytes, size);
    if (news(m)) { /* more than one report can tell */
        timer_arm(&m->timer, m->g.next_report);
    }
}

static void identify(SerialMouse *m)
{
    static const char *const names[] = {"M", "M3", "MZ", ""};
    const char *name = names[m->config.kind];
    m->g.identified = true;
    m->g.next_report = now_of(m) + (int64_t)strlen(name) * 9 * CLOCK_NS_PER_S / BAUD;
    deliver_bytes(m, (const uint8_t *)name, strlen(name));
}

static void timer_fire(void *self, int64_t due)
{
    SerialMouse *m = self;
    (void)due;
    if (m->g.powered && !m->g.identified) {
        identify(m);
    }
    report(m);
}

static void deliver(void *self, const void *data, size_t size)
{
    SerialMouse *m = self;
    InputEvent event;
    if (size != sizeof(event)) {
        return;
    }
    memcpy(&event, data, sizeof(event));
    if (event.kind == INPUT_MOUSE_MOVE && m->g.powered) {
        m->g.dx += event.dx;
        m->g.dy += event.dy;
        m->g.dz -= event.wheel;
        m->g.dx = m->g.dx > BACKLOG ? BACKLOG : m->g.dx < -BACKLOG ? -BACKLOG : m->g.dx;
        m->g.dy = m->g.dy > BACKLOG ? BACKLOG : m->g.dy < -BACKLOG ? -BACKLOG : m->g.dy;
        m->g.dz = m->g.dz > BACKLOG ? BACKLOG : m->g.dz < -BACKLOG ? -BACKLOG : m->g.dz;
    } else if (event.kind == INPUT_MOUSE_BUTTONS) {
        m->g.buttons = event.buttons & (MOUSE_LEFT | MOUSE_RIGHT | MOUSE_MIDDLE);
    }
    report(m);
}

/* --- the UART's end --- */

static void plug_write(void *backend, const uint8_t *data, size_t size)
{
    (void)backend; /* it hears nothing */
    (void)data;
    (void)size;
}

static void plug_attach(void *backend, const CharSink *sink)
{
    SerialMouse *m = backend;
    m->sink = *sink;
    m->attached = true;
}

static void plug_parameters(void *backend, unsigned baud, unsigned data_bits, char parity,
                            unsigned stop_bits)
{
    SerialMouse *m = backend;
    (void)data_bits;
    (void)parity;
    (void)stop_bits;
    m->g.baud = baud;
}

static void plug_set_lines(void *backend, bool dtr, bool rts, bool brk)
{
    SerialMouse *m = backend;
    bool powered = dtr && rts;
    (void)brk;
    if (powered == m->g.powered) {
        return;
    }
    m->g.powered = powered;
    m->g.identified = false;
    m->g.dx = m->g.dy = m->g.dz = 0;
    m->g.reported = 0;
    if (powered) {
        timer_arm(&m->timer, now_of(m) + IDENTIFY_NS);
    } else {
        timer_disarm(&m->timer);
    }
}

static const CharOps plug_ops = {
    .write = plug_write,
    .attach = plug_attach,
    .parameters = plug_parameters,
    .set_lines = plug_set_lines,
};

CharPort serial_mouse_plug(SerialMouse *mouse)
{
    return (CharPort){&plug_ops, mouse};
}

EventPort *serial_mouse_events(SerialMouse *mouse)
{
    return mouse->events;
}

/* --- device --- */

static void serial_mouse_reset(Device *d, ResetKind kind)
{
    SerialMouse *m = (SerialMouse *)d;
    (void)kind; /* power comes through the UART's lines, which its own reset drops */
    timer_disarm(&m->timer);
    m->g.powered = m->g.identified = false;
    m->g.dx = m->g.dy = m->g.dz = 0;
}

static void state_i32(StateIo *io, const char *field, int32_t *value)
{
    uint32_t raw = (uint32_t)*value;
    state_u32(io, field, &raw);
    *value = (int32_t)raw;
    state_check(io, *value >= -BACKLOG && *value <= BACKLOG, "motion is out of range");
}

static void serial_mouse_state(Device *d, StateIo *io)
{
    SerialMouse *m = (SerialMouse *)d;
    state_u32(io, "baud", &m->g.baud);
    state_bool(io, "powered", &m->g.powered);
    state_bool(io, "identified", &m->g.identified);
    state_u8(io, "buttons", &m->g.buttons);
    state_u8(io, "reported", &m->g.reported);
    state_i32(io, "dx", &m->g.dx);
    state_i32(io, "dy", &m->g.dy);
    state_i32(io, "dz", &m->g.dz);
    state_i64(io, "next_report", &m->g.next_report);
    state_timer(io, "timer", &m->timer);
}

static void serial_mouse_destroy(Device *d)
{
    SerialMouse *m = (SerialMouse *)d;
    event_port_close(m->events);
    free(m);
}

static const DeviceType serial_mouse_type = {
    .name = "serial_mouse",
    .version = 1,
    .reset = serial_mouse_reset,
    .state = serial_mouse_state,
    .destroy = serial_mouse_destroy,
};

SerialMouse *serial_mouse_new(Board *b, const SerialMouseConfig *config, const char *id)
{
    SerialMouse *m = calloc(1, sizeof(*m));
    m->config = *config;
    timer_init(&m->timer, &b->clock, "serial_mouse.timer", timer_fire, m);
    m->events = event_port_open(b->events, id, deliver, m);
    device_add(b, &m->dev, &serial_mouse_type, id);
    return m;
}
