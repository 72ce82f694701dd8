/* Telnet's com port control option: RFC 2217, both sides.
 *
 * A server's port is an end of a null modem whose other end is the guest's: the client's DTR is the
 * guest's DSR and DCD, his RTS the guest's CTS, and the other way round. What the client sets the
 * port to is remembered and told to him, but has no effect on the bytes, as nothing has that is on
 * the way between two sockets. A client's port is the guest's own, moved elsewhere. The far end is
 * told the state of things, never each event, so that no guest can fill a queue by its writes.
 * Not modelled: flow control of the port by XON/XOFF, DCD, DTR or DSR (refused); line states other
 * than a break. char_host.c moves the lines, telnet.c the commands.
 */
#include "machine/host/com_port.h"

#include <string.h>

#include "machine/core/bytes.h"
#include "machine/core/char_port.h"

/* Commands of the client; those of the server are 100 higher. */
enum {
    SIGNATURE,
    SET_BAUDRATE,
    SET_DATASIZE,
    SET_PARITY,
    SET_STOPSIZE,
    SET_CONTROL,
    NOTIFY_LINESTATE,
    NOTIFY_MODEMSTATE,
    FLOWCONTROL_SUSPEND,
    FLOWCONTROL_RESUME,
    SET_LINESTATE_MASK,
    SET_MODEMSTATE_MASK,
    PURGE_DATA,
    FROM_SERVER = 100,
};

/* Values of SET-CONTROL. Those of a line: ask, on, off. */
enum {
    ASK_FLOW = 0,
    FLOW_NONE = 1,
    FLOW_HARDWARE = 3,
    ASK_BREAK = 4,
    ASK_DTR = 7,
    ASK_RTS = 10,
    ASK_FLOW_IN = 13,
    FLOW_IN_NONE = 14,
    FLOW_IN_HARDWARE = 16,
    FLOW_DCD = 17, /* as FLOW_NONE.. */
    FLOW_IN_DTR,   /* as FLOW_IN_NONE.. */
    FLOW_DSR,
};

/* Of modem states, and of line states. */
enum {
    STATE_DELTA_CTS = 0x01,
    STATE_DELTA_DSR = 0x02,
    STATE_FELL_RI = 0x04,
    STATE_DELTA_DCD = 0x08,
    STATE_CTS = 0x10,
    STATE_DSR = 0x20,
    STATE_RI = 0x40,
    STATE_DCD = 0x80,
    LINE_BREAK = 0x10,
};

enum { USUAL = CHAR_CTS | CHAR_DSR | CHAR_DCD };

static const char name[] = "Vitrine";

static const struct {
    uint8_t line, ask;
} controls[] = {{COM_DTR, ASK_DTR}, {COM_RTS, ASK_RTS}, {COM_BREAK, ASK_BREAK}};
enum { CONTROLS = sizeof(controls) / sizeof(controls[0]) };

void com_port_start(ComPort *c, bool server)
{
    ComPort fresh = {.lines = c->lines,
                     .frame = c->frame,
                     .server = server,
                     .remote = COM_DTR | COM_RTS,
                     .flow = {FLOW_NONE, FLOW_IN_NONE},
                     .modem = 0xff,
                     .inputs = USUAL};
    *c = fresh;
}

static void set_inputs(ComPort *c, uint8_t inputs)
{
    c->flickered |= c->inputs ^ inputs;
    c->inputs = inputs;
}

void com_port_agree(ComPort *c, bool on)
{
    if (c->on == on) {
        return;
    }
    uint8_t had = c->inputs, changed = c->flickered;
    com_port_start(c, c->server);
    c->flickered = changed;
    c->inputs = had;
    set_inputs(c, USUAL);
    c->on = on;
    c->untold = COM_DTR | COM_RTS; /* who knows how they are there; a break is not */
}

/* --- the guest's port --- */

void com_port_frame(ComPort *c, unsigned baud, unsigned data_bits, char parity, unsigned stop_bits)
{
    static const char parities[] = "NOEMS";
    const char *found = memchr(parities, parity, sizeof(parities) - 1);
    c->frame.baud = baud ? baud : 1;
    c->frame.data_bits = (uint8_t)(data_bits >= 5 && data_bits <= 8 ? data_bits : 8);
    c->frame.parity = (uint8_t)(found ? found - parities + 1 : 1);
    c->frame.stop_bits = stop_bits < 2 ? 1 : data_bits == 5 ? 3 : 2;
}

void com_port_lines(ComPort *c, uint8_t lines, uint8_t toggled)
{
    c->lines = lines;
    c->toggled |= toggled;
}

void com_port_pause(ComPort *c, bool pause)
{
    c->paused = pause;
}

bool com_port_paced(const ComPort *c)
{
    return c->on && c->server && c->flow[0] == FLOW_HARDWARE;
}

/* --- what the far end is to hear --- */

static uint8_t differing(const ComPort *c)
{
    return (uint8_t)((c->lines ^ c->told) | c->toggled | c->untold);
}

/* A line that is as it was told but was not in between is told twice. */
static size_t next_control(ComPort *c, uint8_t *out)
{
    for (unsigned i = 0; i < CONTROLS; i++) {
        uint8_t line = controls[i].line;
        if (differing(c) & line) {
            c->told = (uint8_t)(c->untold & line ? (c->told & ~line) | (c->lines & line)
                                                 : c->told ^ line);
            c->untold &= (uint8_t)~line;
            c->toggled &= (uint8_t)~line;
            out[0] = SET_CONTROL;
            out[1] = (uint8_t)(controls[i].ask + (c->told & line ? 1 : 2));
            return 2;
        }
    }
    return 0;
}

static size_t next_of_frame(ComPort *c, uint8_t *out)
{
    ComFrame *told = &c->told_frame;
    if (told->baud != c->frame.baud) {
        told->baud = c->frame.baud;
        out[0] = SET_BAUDRATE;
        bytes_put_be32(out + 1, told->baud);
        return 5;
    }
    const uint8_t wanted[3] = {c->frame.data_bits, c->frame.parity, c->frame.stop_bits};
    uint8_t *const was[3] = {&told->data_bits, &told->parity, &told->stop_bits};
    for (unsigned i = 0; i < 3; i++) {
        if (*was[i] != wanted[i]) {
            *was[i] = wanted[i];
            out[0] = (uint8_t)(SET_DATASIZE + i);
            out[1] = wanted[i];
            return 2;
        }
    }
    return 0;
}

static size_t client_next(ComPort *c, uint8_t *out)
{
    /* the guest does its flow control itself, by the lines */
    static const uint8_t opening[][2] = {
        {SET_LINESTATE_MASK, LINE_BREAK}, {SET_MODEMSTATE_MASK, 0xff}, {SET_CONTROL, FLOW_NONE}};
    size_t size = next_control(c, out);
    if (size) {
        return size;
    }
    if (c->said < sizeof(opening) / sizeof(opening[0])) {
        memcpy(out, opening[c->said++], 2);
        return 2;
    }
    return next_of_frame(c, out);
}

/* The mask is put on changes too: it need not let the deltas through for a line that falls to be
 * told. */
static size_t next_modem_state(ComPort *c, uint8_t *out)
{
    uint8_t changed = differing(c), lines = c->lines;
    uint8_t levels =
        (lines & COM_RTS ? STATE_CTS : 0) | (lines & COM_DTR ? STATE_DSR | STATE_DCD : 0);
    uint8_t deltas = (changed & COM_RTS ? STATE_DELTA_CTS : 0) |
                     (changed & COM_DTR ? STATE_DELTA_DSR | STATE_DELTA_DCD : 0);
    uint8_t about = c->said ? (uint8_t)(deltas | deltas << 4) : 0xff;
    if (!c->said) {
        deltas = 0; /* he asks, or knows nothing yet */
    }
    c->said = 1;
    c->told = (uint8_t)((c->told & COM_BREAK) | (lines & (COM_DTR | COM_RTS)));
    c->toggled &= COM_BREAK;
    c->untold = 0;
    out[0] = NOTIFY_MODEMSTATE + FROM_SERVER;
    out[1] = (levels | deltas) & c->modem;
    return c->modem & about ? 2 : 0;
}

static size_t server_next(ComPort *c, uint8_t *out)
{
    size_t size = 0;
    if (!c->said || differing(c) & (COM_DTR | COM_RTS)) {
        size = next_modem_state(c, out);
    }
    if (size == 0 && differing(c) & COM_BREAK) {
        bool began = c->lines & COM_BREAK || !(c->told & COM_BREAK);
        c->told = (uint8_t)((c->told & ~COM_BREAK) | (c->lines & COM_BREAK));
        c->toggled &= (uint8_t)~COM_BREAK;
        out[0] = NOTIFY_LINESTATE + FROM_SERVER;
        out[1] = LINE_BREAK;
        size = began && c->line & LINE_BREAK ? 2 : 0;
    }
    return size;
}

size_t com_port_next(ComPort *c, uint8_t *out)
{
    if (c->on && c->paused != c->told_paused) {
        c->told_paused = c->paused;
        out[0] = (uint8_t)((c->paused ? FLOWCONTROL_SUSPEND : FLOWCONTROL_RESUME) +
                           (c->server ? FROM_SERVER : 0));
        return 1;
    }
    return !c->on ? 0 : c->server ? server_next(c, out) : client_next(c, out);
}

/* --- what the client says --- */

static uint8_t set_flow(ComPort *c, uint8_t value)
{
    unsigned towards = value <= FLOW_HARDWARE || value == FLOW_DCD || value == FLOW_DSR ? 0 : 1;
    if (value == FLOW_NONE || value == FLOW_HARDWARE || value == FLOW_IN_NONE ||
        value == FLOW_IN_HARDWARE) {
        c->flow[towards] = value;
    }
    return c->flow[towards];
}

static uint8_t set_line(ComPort *c, uint8_t line, uint8_t ask, uint8_t value)
{
    uint8_t was = c->remote;
    if (value != ask) {
        c->remote = (uint8_t)(value == ask + 1 ? was | line : was & ~line);
        c->heard |= line != COM_BREAK;
        c->broke |= line == COM_BREAK && c->remote & ~was;
        set_inputs(c, (c->remote & COM_RTS ? CHAR_CTS : 0) |
                          (c->remote & COM_DTR ? CHAR_DSR | CHAR_DCD : 0));
    }
    return (uint8_t)(c->remote & line ? ask + 1 : ask + 2);
}

static size_t hear_control(ComPort *c, uint8_t value, uint8_t *answer)
{
    answer[0] = SET_CONTROL + FROM_SERVER;
    for (unsigned i = 0; i < CONTROLS; i++) {
        uint8_t ask = controls[i].ask;
        if (value >= ask && value <= ask + 2) {
            answer[1] = set_line(c, controls[i].line, ask, value);
            return 2;
        }
    }
    answer[1] = set_flow(c, value);
    return value <= FLOW_DSR ? 2 : 0;
}

static size_t hear_baud(ComPort *c, const uint8_t *value, uint8_t *answer)
{
    uint32_t baud = bytes_be32(value);
    if (baud) {
        c->port.baud = baud;
    }
    answer[0] = SET_BAUDRATE + FROM_SERVER;
    bytes_put_be32(answer + 1, c->port.baud ? c->port.baud : c->frame.baud);
    return 5;
}

/* Until the client sets it, a setting is the guest's. */
static size_t hear_frame(ComPort *c, uint8_t command, uint8_t value, uint8_t *answer)
{
    static const uint8_t least[3] = {5, 1, 1}, most[3] = {8, 5, 3};
    const uint8_t guest[3] = {c->frame.data_bits, c->frame.parity, c->frame.stop_bits};
    uint8_t *const port[3] = {&c->port.data_bits, &c->port.parity, &c->port.stop_bits};
    unsigned i = command - SET_DATASIZE;
    if (value >= least[i] && value <= most[i]) {
        *port[i] = value;
    }
    answer[0] = command + FROM_SERVER;
    answer[1] = *port[i] ? *port[i] : guest[i];
    return 2;
}

static size_t hear_client(ComPort *c, uint8_t command, uint8_t value, uint8_t *answer)
{
    answer[0] = command + FROM_SERVER;
    answer[1] = value;
    switch (command) {
    case SET_DATASIZE:
    case SET_PARITY:
    case SET_STOPSIZE:
        return hear_frame(c, command, value, answer);
    case SET_CONTROL:
        return hear_control(c, value, answer);
    case SET_LINESTATE_MASK:
        c->line = value;
        return 2;
    case SET_MODEMSTATE_MASK:
        c->modem = value;
        c->said = 0;
        return 2;
    case PURGE_DATA:
        if (value < 1 || value > 3) {
            return 0;
        }
        c->purge |= value;
        return 2;
    default:
        return 0;
    }
}

/* --- what the server says --- */

static void hear_modem_state(ComPort *c, uint8_t state)
{
    uint8_t inputs = (state & STATE_CTS ? CHAR_CTS : 0) | (state & STATE_DSR ? CHAR_DSR : 0) |
                     (state & STATE_RI ? CHAR_RI : 0) | (state & STATE_DCD ? CHAR_DCD : 0);
    uint8_t deltas =
        (state & STATE_DELTA_CTS ? CHAR_CTS : 0) | (state & STATE_DELTA_DSR ? CHAR_DSR : 0) |
        (state & STATE_FELL_RI ? CHAR_RI : 0) | (state & STATE_DELTA_DCD ? CHAR_DCD : 0);
    if (c->heard) { /* else they are of a time before us */
        c->flickered |= deltas;
    }
    c->heard = true;
    set_inputs(c, inputs);
}

static size_t hear_without_value(ComPort *c, uint8_t command, uint8_t *answer)
{
    if (command == FLOWCONTROL_SUSPEND || command == FLOWCONTROL_RESUME) {
        c->suspended = command == FLOWCONTROL_SUSPEND;
    } else if (command == NOTIFY_MODEMSTATE && c->server) {
        c->said = 0; /* pySerial asks in this way */
    } else if (command == SIGNATURE) {
        answer[0] = c->server ? SIGNATURE + FROM_SERVER : SIGNATURE;
        memcpy(answer + 1, name, sizeof(name) - 1);
        return sizeof(name);
    }
    return 0;
}

size_t com_port_hear(ComPort *c, const uint8_t *in, size_t size, uint8_t *answer)
{
    unsigned first = c->server ? 0 : FROM_SERVER;
    if (!c->on || size == 0 || in[0] < first || in[0] > first + PURGE_DATA) {
        return 0; /* among others, what is not for our side: nobody answers answers */
    }
    uint8_t command = (uint8_t)(in[0] - first);
    if (size == 1) {
        return hear_without_value(c, command, answer);
    }
    if (c->server) {
        return command == SET_BAUDRATE ? size == 5 ? hear_baud(c, in + 1, answer) : 0
               : size == 2             ? hear_client(c, command, in[1], answer)
                                       : 0;
    }
    if (size == 2 && command == NOTIFY_MODEMSTATE) {
        hear_modem_state(c, in[1]);
    } else if (size == 2 && command == NOTIFY_LINESTATE) {
        c->broke |= (in[1] & LINE_BREAK) != 0;
    }
    return 0;
}
