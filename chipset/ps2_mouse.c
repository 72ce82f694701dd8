/* PS/2 mouse.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference (1988), "Mouse"; Microsoft's wheel
 * extension (identification by the sample rates 200, 100, 80, and 200, 200, 80 for five buttons).
 * Wired by pc_build: its plug to the keyboard controller, its event port to the front end. Not
 * modelled: resolution, which is read back but scales nothing, because host motion has no
 * millimetres.
 */
#include "chipset/ps2_mouse.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/keys.h"
#include "machine/core/log.h"

LOG_TAG("ps2_mouse");

enum {
    ACK = 0xfa,
    RESEND = 0xfe,
    BAT_OK = 0xaa,
    CMD_SCALING_1 = 0xe6,
    CMD_SCALING_2 = 0xe7,
    CMD_RESOLUTION = 0xe8,
    CMD_STATUS = 0xe9,
    CMD_STREAM = 0xea,
    CMD_READ = 0xeb,
    CMD_RESET_WRAP = 0xec,
    CMD_WRAP = 0xee,
    CMD_REMOTE = 0xf0,
    CMD_IDENTIFY = 0xf2,
    CMD_RATE = 0xf3,
    CMD_ENABLE = 0xf4,
    CMD_DISABLE = 0xf5,
    CMD_DEFAULT = 0xf6,
    CMD_RESEND = 0xfe,
    CMD_RESET = 0xff,
    STATUS_REMOTE = 0x40,
    STATUS_ENABLED = 0x20,
    STATUS_SCALING = 0x10,
    PACKET_ALWAYS = 0x08,
    PACKET_X_SIGN = 0x10,
    PACKET_Y_SIGN = 0x20,
    ID_PLAIN = 0,
    ID_WHEEL = 3,
    ID_EXPLORER = 4,
    QUEUE_ROOM = 16,
    STEP = 255,    /* motion that one report can tell */
    BACKLOG = 2048 /* motion kept for later reports */
};

#define BAT_NS INT64_C(2000000) /* shorter than a mouse's 300 ms: everybody only waits for it */

struct Ps2Mouse {
    Device dev;
    Ps2MouseConfig config;
    EventPort *events;
    void (*ready)(void *self);
    void *ready_self;
    struct {
        uint8_t id;
        uint8_t resolution; /* 0..3: 1, 2, 4, 8 counts a millimetre */
        uint8_t rate;       /* reports a second, as the guest set it */
        uint8_t rates[3];   /* the last ones set, for identification */
        uint8_t awaiting;   /* the command whose argument comes next, or 0 */
        bool enabled, remote, wrap, doubled, testing;
        uint8_t buttons, reported; /* MOUSE_* now, and in the last report */
        bool nudged;
        int32_t dx, dy, dz;  /* since the last report; dy grows upwards, dz towards the user */
        int64_t next_report; /* guest ns before which none is made */
        uint8_t last;        /* last byte sent */
        uint8_t queue[QUEUE_ROOM];
        uint8_t count;
    } g;
    Timer bat, sample;
};

static int64_t now_of(const Ps2Mouse *m)
{
    return clock_now(&m->dev.board->clock);
}

static void put(Ps2Mouse *m, uint8_t byte)
{
    if (m->g.count < QUEUE_ROOM) {
        m->g.queue[m->g.count++] = byte;
    }
}

static void tell(Ps2Mouse *m)
{
    if (m->ready && m->g.count) {
        m->ready(m->ready_self);
    }
}

static int32_t clamp(int32_t v, int32_t low, int32_t high)
{
    return v < low ? low : v > high ? high : v;
}

/* --- reports --- */

/* Scaling 2:1 applies to stream mode only (reference, "Set Scaling 2:1"). */
static int32_t scaled(const Ps2Mouse *m, int32_t v, bool stream)
{
    static const uint8_t small[6] = {0, 1, 1, 3, 6, 9};
    int32_t size = v < 0 ? -v : v;
    if (!m->g.doubled || !stream) {
        return v;
    }
    size = size < 6 ? small[size] : size * 2;
    size = size > STEP ? STEP : size;
    return v < 0 ? -size : size;
}

static void put_report(Ps2Mouse *m, bool stream)
{
    int32_t dx = clamp(m->g.dx, -STEP, STEP);
    int32_t dy = clamp(m->g.dy, -STEP, STEP);
    m->g.dx -= dx;
    m->g.dy -= dy;
    dx = scaled(m, dx, stream);
    dy = scaled(m, dy, stream);
    uint8_t b = m->g.buttons;
    put(m, (uint8_t)(PACKET_ALWAYS | (b & (MOUSE_LEFT | MOUSE_RIGHT | MOUSE_MIDDLE)) |
                     (dx < 0 ? PACKET_X_SIGN : 0) | (dy < 0 ? PACKET_Y_SIGN : 0)));
    put(m, (uint8_t)dx);
    put(m, (uint8_t)dy);
    if (m->g.id == ID_PLAIN) {
        m->g.dz = 0;
    } else {
        int32_t dz = m->g.id == ID_WHEEL ? clamp(m->g.dz, -128, 127) : clamp(m->g.dz, -8, 7);
        m->g.dz -= dz;
        uint8_t side = (uint8_t)((b & MOUSE_SIDE ? 0x10 : 0) | (b & MOUSE_EXTRA ? 0x20 : 0));
        put(m, m->g.id == ID_WHEEL ? (uint8_t)dz : (uint8_t)((dz & 15) | side));
    }
    m->g.reported = b;
    m->g.nudged = false;
}

static bool news(const Ps2Mouse *m)
{
    return m->g.dx || m->g.dy || (m->g.dz && m->g.id != ID_PLAIN) ||
           m->g.buttons != m->g.reported || m->g.nudged;
}

/* Stream mode: makes the next report when there is news, the last one is gone and its time has
 * come. */
static void report(Ps2Mouse *m)
{
    if (!m->g.enabled || m->g.remote || m->g.wrap || m->g.testing || m->g.count || !news(m)) {
        return;
    }
    int64_t now = now_of(m);
    if (now < m->g.next_report) {
        timer_arm(&m->sample, m->g.next_report);
        return;
    }
    unsigned hz = m->g.rate > m->config.fastest_hz ? m->g.rate : m->config.fastest_hz;
    m->g.next_report = now + CLOCK_NS_PER_S / (hz ? hz : 1);
    put_report(m, true);
    tell(m);
}

static void sample_fire(void *self, int64_t due)
{
    (void)due;
    report(self);
}

void ps2_mouse_nudge(void *mouse)
{
    Ps2Mouse *m = mouse;
    m->g.nudged = true;
    report(m);
}

static void deliver(void *self, const void *data, size_t size)
{
    Ps2Mouse *m = self;
    InputEvent event;
    if (size != sizeof(event)) {
        return;
    }
    memcpy(&event, data, sizeof(event));
    if (event.kind == INPUT_MOUSE_MOVE) {
        m->g.dx = clamp(m->g.dx + event.dx, -BACKLOG, BACKLOG);
        m->g.dy = clamp(m->g.dy - event.dy, -BACKLOG, BACKLOG);
        m->g.dz = clamp(m->g.dz - event.wheel, -BACKLOG, BACKLOG);
    } else if (event.kind == INPUT_MOUSE_BUTTONS) {
        m->g.buttons = event.buttons & 0x1f;
    }
    if (!m->g.enabled && !m->g.remote) {
        m->g.dx = m->g.dy = m->g.dz = 0; /* a disabled mouse forgets where it went */
    }
    report(m);
}

/* --- plug --- */

static bool plug_waiting(void *device)
{
    Ps2Mouse *m = device;
    return m->g.count != 0;
}

static uint8_t plug_next(void *device)
{
    Ps2Mouse *m = device;
    if (m->g.count) {
        m->g.last = m->g.queue[0];
        memmove(m->g.queue, m->g.queue + 1, --m->g.count);
        if (m->g.count == 0) {
            report(m);
        }
    }
    return m->g.last;
}

static void plug_attach(void *device, void (*ready)(void *self), void *self)
{
    Ps2Mouse *m = device;
    m->ready = ready;
    m->ready_self = self;
}

/* --- commands --- */

static void set_defaults(Ps2Mouse *m)
{
    m->g.rate = 100;
    m->g.resolution = 2;
    m->g.enabled = m->g.remote = m->g.wrap = m->g.doubled = false;
    m->g.dx = m->g.dy = m->g.dz = 0;
    m->g.nudged = false;
    m->g.reported = m->g.buttons;
    timer_disarm(&m->sample);
}

static void begin_test(Ps2Mouse *m)
{
    set_defaults(m);
    m->g.id = ID_PLAIN;
    memset(m->g.rates, 0, sizeof(m->g.rates));
    m->g.awaiting = 0;
    m->g.next_report = 0;
    m->g.testing = true;
    timer_arm(&m->bat, now_of(m) + BAT_NS);
}

static void bat_fire(void *self, int64_t due)
{
    Ps2Mouse *m = self;
    (void)due;
    m->g.testing = false;
    put(m, BAT_OK);
    put(m, ID_PLAIN);
    tell(m);
}

static void put_status(Ps2Mouse *m)
{
    uint8_t b = m->g.buttons;
    put(m, (uint8_t)((m->g.remote ? STATUS_REMOTE : 0) | (m->g.enabled ? STATUS_ENABLED : 0) |
                     (m->g.doubled ? STATUS_SCALING : 0) | (b & MOUSE_LEFT ? 4 : 0) |
                     (b & MOUSE_MIDDLE ? 2 : 0) | (b & MOUSE_RIGHT ? 1 : 0)));
    put(m, m->g.resolution);
    put(m, m->g.rate);
}

static void set_rate(Ps2Mouse *m, uint8_t rate)
{
    if (rate == 0 || rate > 200) {
        put(m, RESEND);
        return;
    }
    put(m, ACK);
    m->g.rate = rate;
    m->g.rates[0] = m->g.rates[1];
    m->g.rates[1] = m->g.rates[2];
    m->g.rates[2] = rate;
    if (m->g.rates[0] == 200 && rate == 80) {
        if (m->g.rates[1] == 100) {
            m->g.id = ID_WHEEL;
        } else if (m->g.rates[1] == 200) {
            m->g.id = ID_EXPLORER;
        }
    }
}

static void argument(Ps2Mouse *m, uint8_t command, uint8_t byte)
{
    if (command == CMD_RATE) {
        set_rate(m, byte);
    } else if (byte > 3) {
        put(m, RESEND);
    } else {
        put(m, ACK);
        m->g.resolution = byte;
    }
}

/* Commands that set a mode and are only acknowledged. */
static void mode_command(Ps2Mouse *m, uint8_t byte)
{
    put(m, ACK);
    switch (byte) {
    case CMD_SCALING_1:
        m->g.doubled = false;
        break;
    case CMD_SCALING_2:
        m->g.doubled = true;
        break;
    case CMD_STREAM:
        m->g.remote = false;
        break;
    case CMD_WRAP:
        m->g.wrap = true;
        break;
    case CMD_REMOTE:
        m->g.remote = true;
        break;
    case CMD_ENABLE:
        m->g.enabled = true;
        break;
    case CMD_DISABLE:
        m->g.enabled = false;
        break;
    case CMD_DEFAULT:
        set_defaults(m);
        break;
    default: /* resolution and rate */
        m->g.awaiting = byte;
    }
}

static void command(Ps2Mouse *m, uint8_t byte)
{
    switch (byte) {
    case CMD_STATUS:
        put(m, ACK);
        put_status(m);
        break;
    case CMD_READ:
        put(m, ACK);
        put_report(m, false);
        break;
    case CMD_RESET_WRAP:
        put(m, ACK);
        m->g.wrap = false;
        break;
    case CMD_IDENTIFY:
        put(m, ACK);
        put(m, m->g.id);
        break;
    case CMD_RESEND:
        put(m, m->g.last);
        break;
    case CMD_RESET:
        put(m, ACK);
        begin_test(m);
        break;
    case CMD_SCALING_1:
    case CMD_SCALING_2:
    case CMD_RESOLUTION:
    case CMD_STREAM:
    case CMD_WRAP:
    case CMD_REMOTE:
    case CMD_RATE:
    case CMD_ENABLE:
    case CMD_DISABLE:
    case CMD_DEFAULT:
        mode_command(m, byte);
        break;
    default:
        log_guest("command 0x%02x", byte);
        put(m, RESEND);
    }
}

static void plug_command(void *device, uint8_t byte)
{
    Ps2Mouse *m = device;
    uint8_t awaiting = m->g.awaiting;
    m->g.awaiting = 0;
    m->g.count = 0; /* a command breaks off the report under way */
    if (awaiting) {
        argument(m, awaiting, byte);
    } else if (m->g.wrap && byte != CMD_RESET && byte != CMD_RESET_WRAP) {
        put(m, byte);
    } else {
        command(m, byte);
    }
    tell(m);
}

/* --- device --- */

static const Ps2Ops plug_ops = {plug_command, plug_waiting, plug_next, plug_attach};

Ps2Port ps2_mouse_plug(Ps2Mouse *mouse)
{
    return (Ps2Port){&plug_ops, mouse};
}

EventPort *ps2_mouse_events(Ps2Mouse *mouse)
{
    return mouse->events;
}

static void ps2_mouse_reset(Device *d, ResetKind kind)
{
    Ps2Mouse *m = (Ps2Mouse *)d;
    if (kind == RESET_POWER) { /* it has no reset pin */
        memset(&m->g, 0, sizeof(m->g));
        begin_test(m);
    }
}

static void ps2_mouse_state(Device *d, StateIo *io)
{
    Ps2Mouse *m = (Ps2Mouse *)d;
    state_u8(io, "id", &m->g.id);
    state_u8(io, "resolution", &m->g.resolution);
    state_u8(io, "rate", &m->g.rate);
    state_bytes(io, "rates", m->g.rates, sizeof(m->g.rates));
    state_u8(io, "awaiting", &m->g.awaiting);
    state_bool(io, "enabled", &m->g.enabled);
    state_bool(io, "remote", &m->g.remote);
    state_bool(io, "wrap", &m->g.wrap);
    state_bool(io, "doubled", &m->g.doubled);
    state_bool(io, "testing", &m->g.testing);
    state_u8(io, "buttons", &m->g.buttons);
    state_u8(io, "reported", &m->g.reported);
    state_bool(io, "nudged", &m->g.nudged);
    uint32_t motion[3] = {(uint32_t)m->g.dx, (uint32_t)m->g.dy, (uint32_t)m->g.dz};
    state_u32(io, "dx", &motion[0]);
    state_u32(io, "dy", &motion[1]);
    state_u32(io, "dz", &motion[2]);
    m->g.dx = (int32_t)motion[0];
    m->g.dy = (int32_t)motion[1];
    m->g.dz = (int32_t)motion[2];
    state_i64(io, "next_report", &m->g.next_report);
    state_u8(io, "last", &m->g.last);
    state_bytes(io, "queue", m->g.queue, sizeof(m->g.queue));
    state_u8(io, "count", &m->g.count);
    state_timer(io, "bat", &m->bat);
    state_timer(io, "sample", &m->sample);
    state_check(io, m->g.id == ID_PLAIN || m->g.id == ID_WHEEL || m->g.id == ID_EXPLORER,
                "identity is impossible");
    state_check(io, m->g.resolution <= 3 && m->g.rate >= 1 && m->g.rate <= 200,
                "rate or resolution is out of range");
    state_check(io, m->g.count <= QUEUE_ROOM, "queue is too full");
    state_check(io,
                m->g.awaiting == 0 || m->g.awaiting == CMD_RATE || m->g.awaiting == CMD_RESOLUTION,
                "awaits the argument of no command");
    state_check(io,
                clamp(m->g.dx, -BACKLOG, BACKLOG) == m->g.dx &&
                    clamp(m->g.dy, -BACKLOG, BACKLOG) == m->g.dy &&
                    clamp(m->g.dz, -BACKLOG, BACKLOG) == m->g.dz,
                "motion is out of range");
}

static void ps2_mouse_destroy(Device *d)
{
    Ps2Mouse *m = (Ps2Mouse *)d;
    event_port_close(m->events);
    free(m);
}

static const DeviceType ps2_mouse_type = {
    .name = "ps2_mouse",
    .version = 1,
    .reset = ps2_mouse_reset,
    .state = ps2_mouse_state,
    .destroy = ps2_mouse_destroy,
};

Ps2Mouse *ps2_mouse_new(Board *b, const Ps2MouseConfig *config, const char *id)
{
    Ps2Mouse *m = calloc(1, sizeof(*m));
    m->config = *config;
    m->config.fastest_hz = config->fastest_hz > 200 ? 200 : config->fastest_hz;
    timer_init(&m->bat, &b->clock, "ps2_mouse.bat", bat_fire, m);
    timer_init(&m->sample, &b->clock, "ps2_mouse.sample", sample_fire, m);
    m->events = event_port_open(b->events, id, deliver, m);
    device_add(b, &m->dev, &ps2_mouse_type, id);
    return m;
}
