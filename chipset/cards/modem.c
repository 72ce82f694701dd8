/* Hayes modem: calls, the serial port's lines, escape sequence, results.
 *
 * Sources: Hayes, Smartmodem 2400 user's guide; ITU-T V.250. modem_command.c has the commands. The
 * telephone line is a PhonePort: over TCP, a number is HOST:PORT. A call does not outlive a loaded
 * state: the carrier is lost then. Not modelled: a speed of the line (data pass as fast as the
 * serial port carries them), XON/XOFF towards the guest, voice and fax. Wired by pc_build in the
 * place of what a serial port leads to.
 */
#include "chipset/cards/modem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chipset/cards/modem_internal.h"
#include "machine/core/log.h"

LOG_TAG("modem");

enum { CTS_ROOM = 256 }; /* bytes that the line must take before the guest may send */

#define SECOND CLOCK_NS_PER_S
#define RING_ON (2 * SECOND)
#define RING_OFF (4 * SECOND)

static int64_t now_of(const Modem *m)
{
    return clock_now(&m->dev.board->clock);
}

/* --- towards the guest --- */

static void flush(Modem *m)
{
    while (m->plugged && m->g.size) {
        size_t run = MODEM_QUEUE - m->g.at < m->g.size ? MODEM_QUEUE - m->g.at : m->g.size;
        size_t room = m->port.room(m->port.self);
        size_t n = room < run ? room : run;
        if (n == 0) {
            return;
        }
        uint8_t data[256];
        n = n < sizeof(data) ? n : sizeof(data);
        memcpy(data, m->g.queue + m->g.at, n);
        m->g.at = (uint16_t)((m->g.at + n) % MODEM_QUEUE);
        m->g.size = (uint16_t)(m->g.size - n);
        m->port.receive(m->port.self, data, n);
    }
}

static void give(Modem *m, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size && m->g.size < MODEM_QUEUE; i++) {
        m->g.queue[(m->g.at + m->g.size++) % MODEM_QUEUE] = bytes[i];
    }
    flush(m);
}

void modem_say(Modem *m, const char *text)
{
    const uint8_t end[2] = {m->g.s[S_RETURN], m->g.s[S_LINE_FEED]};
    if (m->g.quiet) {
        return;
    }
    if (m->g.verbose) {
        give(m, end, 2);
    }
    give(m, text, strlen(text));
    give(m, end, m->g.verbose ? 2 : 1);
}

static const struct {
    uint32_t baud;
    uint8_t code;
} speeds[] = {{300, 1},    {1200, 5},   {2400, 10},  {4800, 11},  {9600, 12},
              {19200, 14}, {38400, 28}, {57600, 18}, {115200, 87}};

static void say_connect(Modem *m)
{
    char text[40];
    size_t i = 0;
    while (i < sizeof(speeds) / sizeof(speeds[0]) - 1 && speeds[i].baud < m->g.baud) {
        i++;
    }
    bool plain = m->g.codes == 0 || speeds[i].code == 1;
    if (!m->g.verbose) {
        snprintf(text, sizeof(text), "%u", plain ? 1u : speeds[i].code);
    } else if (plain) {
        snprintf(text, sizeof(text), "CONNECT");
    } else {
        snprintf(text, sizeof(text), "CONNECT %u", (unsigned)speeds[i].baud);
    }
    modem_say(m, text);
}

void modem_result(Modem *m, ModemResult code)
{
    static const char *const words[] = {"OK", "CONNECT", "RING", "NO CARRIER", "ERROR",
                                        "",   "",        "BUSY", "NO ANSWER"};
    char number[8];
    if (code == RESULT_CONNECT) {
        say_connect(m);
        return;
    }
    if (code >= RESULT_BUSY && m->g.codes < 3) {
        code = RESULT_NO_CARRIER; /* told apart from X3 on */
    }
    snprintf(number, sizeof(number), "%d", code);
    modem_say(m, m->g.verbose ? words[code] : number);
}

/* --- the serial port's lines --- */

void modem_drive(Modem *m)
{
    const PhonePort *line = &m->config.line;
    bool online = m->g.call == CALL_ONLINE;
    bool flow = m->g.flow_mode == 3 && online && m->g.data && line->ops;
    m->g.cts = !flow || line->ops->room(line->line) >= CTS_ROOM;
    unsigned lines = m->g.cts ? CHAR_CTS : 0;
    lines |= m->g.dsr_mode == 0 || online ? CHAR_DSR : 0;
    lines |= m->g.carrier_mode == 0 || online ? CHAR_DCD : 0;
    lines |= m->g.ri ? CHAR_RI : 0;
    if (m->plugged && m->port.lines) {
        m->port.lines(m->port.self, lines);
    }
}

/* --- calls --- */

static void end_call(Modem *m)
{
    timer_disarm(&m->ring);
    timer_disarm(&m->wait);
    timer_disarm(&m->guard);
    m->g.call = CALL_NONE;
    m->g.data = m->g.ri = false;
    m->g.escapes = 0;
    m->g.s[S_RINGS] = 0;
    modem_drive(m);
}

void modem_hang_up(Modem *m)
{
    if (m->g.call != CALL_NONE && m->config.line.ops) {
        m->config.line.ops->hang_up(m->config.line.line);
    }
    end_call(m);
}

static void give_up(Modem *m, ModemResult why)
{
    modem_hang_up(m);
    modem_result(m, why);
}

static void try_call(Modem *m)
{
    timer_disarm(&m->ring);
    m->g.call = CALL_TRYING;
    m->g.ri = false;
    unsigned seconds = m->g.s[S_WAIT] ? m->g.s[S_WAIT] : 50;
    timer_arm(&m->wait, now_of(m) + (int64_t)seconds * SECOND);
    modem_drive(m);
}

/* Letters before the number say how to dial; what follows a comma or blank waits on a real line. */
void modem_dial(Modem *m, const char *number)
{
    char clean[MODEM_LINE + 1];
    size_t size = 0;
    if (*number == 'T' || *number == 'P') {
        number++;
    }
    for (; *number; number++) {
        if (!strchr(" ,;@!W()", *number)) {
            clean[size++] = *number;
        }
    }
    clean[size] = '\0';
    if (m->g.call == CALL_ONLINE || !m->config.line.ops || !size) {
        modem_result(m, m->g.call == CALL_ONLINE ? RESULT_ERROR : RESULT_NO_CARRIER);
        return;
    }
    modem_hang_up(m);
    try_call(m);
    m->config.line.ops->dial(m->config.line.line, clean);
}

void modem_answer(Modem *m)
{
    if (m->g.call != CALL_RINGING) {
        modem_result(m, RESULT_NO_CARRIER);
        return;
    }
    try_call(m);
    m->config.line.ops->answer(m->config.line.line);
}

void modem_go_online(Modem *m)
{
    m->g.data = true;
    m->g.escapes = 0;
    m->g.last_data_ns = now_of(m);
    modem_result(m, RESULT_CONNECT);
    modem_drive(m);
    m->config.line.ops->ready(m->config.line.line);
}

static void ring_fired(void *self, int64_t due)
{
    Modem *m = self;
    m->g.ri = !m->g.ri;
    if (m->g.ri) {
        m->g.s[S_RINGS]++;
        modem_result(m, RESULT_RING);
    }
    timer_arm(&m->ring, due + (m->g.ri ? RING_ON : RING_OFF));
    modem_drive(m);
    /* it answers within the ring that is the last to wait for */
    if (m->g.ri && m->g.s[S_AUTO_ANSWER] && m->g.s[S_RINGS] >= m->g.s[S_AUTO_ANSWER] && m->g.dtr) {
        modem_answer(m);
    }
}

static void wait_fired(void *self, int64_t due)
{
    (void)due;
    give_up(self, RESULT_NO_CARRIER);
}

static void line_ringing(void *self)
{
    Modem *m = self;
    if (m->g.call != CALL_NONE) {
        return; /* the line turns callers away while it is taken; this one was a moment late */
    }
    m->g.call = CALL_RINGING;
    m->g.s[S_RINGS] = 0;
    m->g.ri = false;
    ring_fired(m, now_of(m));
}

static void line_connected(void *self)
{
    Modem *m = self;
    if (m->g.call != CALL_TRYING) {
        return;
    }
    timer_disarm(&m->wait);
    m->g.call = CALL_ONLINE;
    modem_go_online(m);
    log_info("connected");
}

static void line_ended(void *self, PhoneEnd why)
{
    static const ModemResult results[PHONE_ENDS] = {RESULT_NO_CARRIER, RESULT_BUSY,
                                                    RESULT_NO_ANSWER};
    Modem *m = self;
    unsigned was = m->g.call;
    end_call(m);
    if (was == CALL_TRYING || was == CALL_ONLINE) {
        modem_result(m, was == CALL_ONLINE ? RESULT_NO_CARRIER : results[why]);
    }
}

static size_t line_room(void *self)
{
    const Modem *m = self;
    return m->g.call == CALL_ONLINE && m->g.data ? MODEM_QUEUE - (size_t)m->g.size : 0;
}

static void line_receive(void *self, const uint8_t *data, size_t size)
{
    give(self, data, size);
}

static void line_drained(void *self)
{
    modem_drive(self);
}

/* --- from the guest --- */

static void end_line(Modem *m)
{
    m->g.in_line = false;
    m->g.prefix = 0;
    m->g.line[m->g.length] = '\0';
    memcpy(m->g.last, m->g.line, sizeof(m->g.last));
    modem_run(m, m->g.last);
}

static void command_byte(Modem *m, uint8_t byte)
{
    if (m->g.call == CALL_TRYING) { /* any key gives the call up */
        give_up(m, RESULT_NO_CARRIER);
        return;
    }
    if (m->g.echo) {
        give(m, &byte, 1);
    }
    uint8_t letter = byte & 0x7f;
    letter = letter >= 'a' && letter <= 'z' ? letter - 32 : letter;
    if (!m->g.in_line) {
        if (m->g.prefix && letter == '/') {
            m->g.prefix = 0;
            modem_run(m, m->g.last);
        } else if (m->g.prefix && letter == 'T') {
            m->g.in_line = true;
            m->g.length = 0;
        } else {
            m->g.prefix = letter == 'A';
        }
    } else if (letter == m->g.s[S_RETURN]) {
        end_line(m);
    } else if (letter == m->g.s[S_BACKSPACE]) {
        m->g.length -= m->g.length > 0;
    } else if (letter >= ' ' && m->g.length < MODEM_LINE) {
        m->g.line[m->g.length++] = (char)letter;
    }
}

static int64_t guard_ns(const Modem *m)
{
    return m->g.s[S_GUARD] * SECOND / 50;
}

/* Silence followed three escape characters, which silence went before. */
static void guard_fired(void *self, int64_t due)
{
    Modem *m = self;
    (void)due;
    m->g.escapes = 0;
    if (m->g.call == CALL_ONLINE && m->g.data) {
        m->g.data = false;
        m->g.in_line = false;
        m->g.prefix = 0;
        modem_drive(m);
        modem_result(m, RESULT_OK);
    }
}

static void watch_for_escape(Modem *m, uint8_t byte)
{
    int64_t now = now_of(m), quiet = now - m->g.last_data_ns;
    m->g.last_data_ns = now;
    timer_disarm(&m->guard);
    if (m->g.s[S_ESCAPE] > 127 || byte != m->g.s[S_ESCAPE]) {
        m->g.escapes = 0;
    } else if (m->g.escapes == 0) {
        m->g.escapes = quiet >= guard_ns(m);
    } else {
        m->g.escapes = quiet < guard_ns(m) && m->g.escapes < 3 ? m->g.escapes + 1 : 0;
    }
    if (m->g.escapes == 3) {
        timer_arm(&m->guard, now + guard_ns(m));
    }
}

static void port_write(void *backend, const uint8_t *data, size_t size)
{
    Modem *m = backend;
    const PhonePort *line = &m->config.line;
    for (size_t i = 0; i < size; i++) {
        if (m->g.call == CALL_ONLINE && m->g.data) {
            watch_for_escape(m, data[i]);
            line->ops->write(line->line, data + i, 1);
        } else {
            command_byte(m, data[i]);
        }
    }
    if (m->g.call == CALL_ONLINE) {
        modem_drive(m);
    }
}

static void port_attach(void *backend, const CharSink *sink)
{
    Modem *m = backend;
    m->port = *sink;
    m->plugged = true;
    modem_drive(m);
}

static void port_ready(void *backend)
{
    Modem *m = backend;
    flush(m);
    if (m->config.line.ops && m->g.call == CALL_ONLINE && m->g.data) {
        m->config.line.ops->ready(m->config.line.line);
    }
}

static void port_parameters(void *backend, unsigned baud, unsigned data_bits, char parity,
                            unsigned stop_bits)
{
    (void)data_bits;
    (void)parity;
    (void)stop_bits;
    ((Modem *)backend)->g.baud = baud;
}

static void port_set_lines(void *backend, bool dtr, bool rts, bool brk)
{
    Modem *m = backend;
    bool fell = m->g.dtr && !dtr;
    (void)brk;
    m->g.dtr = dtr;
    m->g.rts = rts;
    if (!fell || m->g.dtr_mode == 0) {
        return;
    }
    if (m->g.dtr_mode == 1) {
        if (m->g.call == CALL_ONLINE && m->g.data) {
            guard_fired(m, 0);
        }
        return;
    }
    bool was = m->g.call == CALL_ONLINE || m->g.call == CALL_TRYING;
    if (was) {
        give_up(m, RESULT_NO_CARRIER);
    }
    if (m->g.dtr_mode == 3) {
        modem_defaults(m);
        modem_drive(m);
    }
}

static const CharOps port_ops = {
    .write = port_write,
    .attach = port_attach,
    .ready = port_ready,
    .parameters = port_parameters,
    .set_lines = port_set_lines,
};

CharPort modem_plug(Modem *m)
{
    return (CharPort){&port_ops, m};
}

/* --- life --- */

/* The computer's reset does not reach the modem; its power is the computer's. */
static void modem_reset(Device *d, ResetKind kind)
{
    Modem *m = (Modem *)d;
    if (kind == RESET_POWER) {
        modem_hang_up(m);
        m->g.size = m->g.at = 0;
        m->g.in_line = false;
        m->g.prefix = 0;
        modem_defaults(m);
        modem_drive(m);
    }
}

static void settings_state(Modem *m, StateIo *io)
{
    state_bytes(io, "s", m->g.s, sizeof(m->g.s));
    state_bool(io, "echo", &m->g.echo);
    state_bool(io, "quiet", &m->g.quiet);
    state_bool(io, "verbose", &m->g.verbose);
    state_u8(io, "codes", &m->g.codes);
    state_u8(io, "carrier_mode", &m->g.carrier_mode);
    state_u8(io, "dtr_mode", &m->g.dtr_mode);
    state_u8(io, "flow_mode", &m->g.flow_mode);
    state_u8(io, "dsr_mode", &m->g.dsr_mode);
    state_u32(io, "baud", &m->g.baud);
}

static void modem_state(Device *d, StateIo *io)
{
    Modem *m = (Modem *)d;
    state_enum(io, "call", &m->g.call, CALL_STATES);
    state_bool(io, "data", &m->g.data);
    state_bool(io, "dtr", &m->g.dtr);
    state_bool(io, "rts", &m->g.rts);
    state_bool(io, "ri", &m->g.ri);
    state_bool(io, "cts", &m->g.cts);
    settings_state(m, io);
    state_u8(io, "prefix", &m->g.prefix);
    state_bool(io, "in_line", &m->g.in_line);
    state_bytes(io, "line", m->g.line, sizeof(m->g.line));
    state_bytes(io, "last", m->g.last, sizeof(m->g.last));
    state_u8(io, "length", &m->g.length);
    state_u8(io, "escapes", &m->g.escapes);
    state_i64(io, "last_data_ns", &m->g.last_data_ns);
    state_bytes(io, "queue", m->g.queue, sizeof(m->g.queue));
    state_u16(io, "at", &m->g.at);
    state_u16(io, "size", &m->g.size);
    state_timer(io, "ring", &m->ring);
    state_timer(io, "wait", &m->wait);
    state_timer(io, "guard", &m->guard);
    state_check(io, m->g.length <= MODEM_LINE && m->g.at < MODEM_QUEUE && m->g.size <= MODEM_QUEUE,
                "a queue is too long");
    state_check(io, m->g.line[MODEM_LINE] == 0 && m->g.last[MODEM_LINE] == 0,
                "a command has no end");
    state_check(io, m->g.escapes <= 3 && m->g.codes <= 4, "a setting is out of range");
    state_check(io, m->g.last_data_ns >= 0 && m->g.last_data_ns <= now_of(m) + SECOND,
                "data of the future");
}

/* The line of that time is gone, and the call of the machine that this one was. */
static void modem_restored(Device *d)
{
    Modem *m = (Modem *)d;
    unsigned was = m->g.call;
    if (m->config.line.ops) {
        m->config.line.ops->hang_up(m->config.line.line);
    }
    if (was != CALL_NONE) {
        end_call(m);
    }
    if (was == CALL_TRYING || was == CALL_ONLINE) {
        modem_result(m, RESULT_NO_CARRIER);
    }
    modem_drive(m);
}

static const DeviceType modem_type = {
    .name = "modem",
    .version = 1,
    .reset = modem_reset,
    .state = modem_state,
    .restored = modem_restored,
};

Modem *modem_new(Board *b, const ModemConfig *config, const char *id)
{
    Modem *m = calloc(1, sizeof(*m));
    m->config = *config;
    m->g.baud = 2400;
    modem_defaults(m);
    timer_init(&m->ring, &b->clock, "modem.ring", ring_fired, m);
    timer_init(&m->wait, &b->clock, "modem.wait", wait_fired, m);
    timer_init(&m->guard, &b->clock, "modem.guard", guard_fired, m);
    if (config->line.ops) {
        config->line.ops->attach(config->line.line, &(PhoneSink){.ringing = line_ringing,
                                                                 .connected = line_connected,
                                                                 .ended = line_ended,
                                                                 .receive = line_receive,
                                                                 .room = line_room,
                                                                 .drained = line_drained,
                                                                 .self = m});
    }
    device_add(b, &m->dev, &modem_type, id);
    return m;
}
