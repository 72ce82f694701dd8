/* Hayes modem: calls, the serial port's lines, escape sequence, results.
 *
 * Sources: Hayes, Smartmodem 2400 user's guide; ITU-T V.250. modem_command.c has the commands. The
 * telephone line is a PhonePort: over TCP, a number is HOST:PORT. A call does not outlive a loaded
 * state: the carrier is lost then. The profiles of &W are kept while the program runs. Not
 * modelled: a speed of the line (data pass as fast as the serial port carries them), voice and fax.
 * Wired by pc_build in the place of what a serial port leads to.
 */
#include "chipset/cards/modem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chipset/cards/modem_internal.h"
#include "machine/core/log.h"

LOG_TAG("modem");

enum {
    CTS_ROOM = 256,    /* bytes that the line must take before the guest may send */
    RESULT_ROOM = 256, /* bytes of the queue that are for results alone */
    XON = 0x11,
    XOFF = 0x13,
};

#define SECOND CLOCK_NS_PER_S
#define RING_ON (2 * SECOND)
#define RING_OFF (4 * SECOND)
#define KEY_AGAIN (SECOND / 8) /* V.250, 5.6.1 */

static int64_t now_of(const Modem *m)
{
    return clock_now(&m->dev.board->clock);
}

/* --- towards the guest --- */

static bool flow_by_lines(const Modem *m)
{
    return m->g.now.flow_mode == 3 || m->g.now.flow_mode == 6;
}

static bool flow_by_characters(const Modem *m)
{
    return m->g.now.flow_mode >= 4;
}

static bool carries_data(const Modem *m)
{
    return m->g.call == CALL_ONLINE && m->g.data;
}

/* Does the guest want nothing now? Data of a call that is over wait still, and what is said of its
 * end behind them. */
static bool held_back(const Modem *m)
{
    return (carries_data(m) || m->g.holds_data) &&
           ((flow_by_lines(m) && !m->g.rts) || (flow_by_characters(m) && m->g.guest_stopped));
}

static void flush(Modem *m)
{
    while (m->plugged && m->g.size && !held_back(m)) {
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
    m->g.holds_data = m->g.holds_data && m->g.size;
}

static void give(Modem *m, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size && m->g.size < MODEM_QUEUE; i++) {
        m->g.queue[(m->g.at + m->g.size++) % MODEM_QUEUE] = bytes[i];
    }
    flush(m);
}

/* V.250, 5.7.1: after a number stands no line feed. */
static void say(Modem *m, const char *text, bool number)
{
    const uint8_t end[2] = {m->g.now.s[S_RETURN], m->g.now.s[S_LINE_FEED]};
    if (m->g.now.verbose) {
        give(m, end, 2);
    }
    give(m, text, strlen(text));
    give(m, end, number ? 1 : 2);
}

void modem_inform(Modem *m, const char *text)
{
    say(m, text, false);
}

static void say_result(Modem *m, const char *text)
{
    if (!m->g.now.quiet) {
        say(m, text, !m->g.now.verbose);
    }
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
    bool plain = m->g.now.codes == 0 || speeds[i].code == 1;
    if (!m->g.now.verbose) {
        snprintf(text, sizeof(text), "%u", plain ? 1u : speeds[i].code);
    } else if (plain) {
        snprintf(text, sizeof(text), "CONNECT");
    } else {
        snprintf(text, sizeof(text), "CONNECT %u", (unsigned)speeds[i].baud);
    }
    say_result(m, text);
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
    if (code >= RESULT_BUSY && m->g.now.codes < 3) {
        code = RESULT_NO_CARRIER; /* told apart from X3 on */
    }
    snprintf(number, sizeof(number), "%d", code);
    say_result(m, m->g.now.verbose ? words[code] : number);
}

/* --- the serial port's lines --- */

/* The guest is to stop, or to go on: ahead of all that waits. */
static void give_flow(Modem *m, bool stop)
{
    uint8_t byte = stop ? XOFF : XON;
    m->g.stopped = stop;
    if (m->plugged && m->port.room(m->port.self)) {
        m->port.receive(m->port.self, &byte, 1);
    } else if (m->g.size < MODEM_QUEUE) {
        m->g.at = (uint16_t)((m->g.at + MODEM_QUEUE - 1) % MODEM_QUEUE);
        m->g.queue[m->g.at] = byte;
        m->g.size++;
    }
}

void modem_drive(Modem *m)
{
    const PhonePort *line = &m->config.line;
    bool online = m->g.call == CALL_ONLINE;
    bool full = carries_data(m) && line->ops && line->ops->room(line->line) < CTS_ROOM;
    m->g.cts = !(full && flow_by_lines(m));
    if ((full && flow_by_characters(m)) != m->g.stopped) {
        give_flow(m, !m->g.stopped);
    }
    unsigned lines = m->g.cts ? CHAR_CTS : 0;
    lines |= m->g.now.dsr_mode == 0 || online ? CHAR_DSR : 0;
    lines |= m->g.now.carrier_mode == 0 || online ? CHAR_DCD : 0;
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
    m->g.guest_stopped = m->g.guest_stopped && m->g.holds_data;
    m->g.escapes = 0;
    m->g.now.s[S_RINGS] = 0;
    modem_drive(m);
    flush(m);
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
    unsigned seconds = m->g.now.s[S_WAIT] ? m->g.now.s[S_WAIT] : 50;
    timer_arm(&m->wait, now_of(m) + (int64_t)seconds * SECOND);
    modem_drive(m);
}

/* What a telephone has keys for, and the letters of Hayes between them, is a number; else it is the
 * name of a host or an entry of the book. */
static bool is_number(const char *text)
{
    static const char keys[] = "0123456789*#ABCDTPWR,;@!()- ";
    return text[strspn(text, keys)] == '\0' && strpbrk(text, "0123456789");
}

/* T and P in front say how to dial; what a comma, a W or a blank wait for is not on this line. */
static void clean_number(const char *number, char clean[MODEM_LINE + 1])
{
    size_t size = 0;
    memset(clean, 0, MODEM_LINE + 1);
    if (*number == 'T' || (*number == 'P' && is_number(number))) {
        number++;
    }
    const char *skip = is_number(number) ? " ,;@!W()TPR" : " ,;@!()";
    for (; *number && size < MODEM_LINE; number++) {
        if (!strchr(skip, *number)) {
            clean[size++] = *number;
        }
    }
}

/* "L" is the last number, "S=n" one that is kept. */
static const char *number_meant(const Modem *m, const char *text)
{
    const char *number = *text == 'T' || *text == 'P' ? text + 1 : text;
    if (strcmp(number, "L") == 0) {
        return m->g.dialled;
    }
    if (strncmp(number, "S=", 2) == 0 && number[2] >= '0' && number[2] < '0' + MODEM_NUMBERS &&
        !number[3]) {
        return m->g.numbers[number[2] - '0'];
    }
    return text;
}

void modem_dial(Modem *m, const char *number)
{
    char clean[MODEM_LINE + 1];
    clean_number(number_meant(m, number), clean);
    if (m->g.call == CALL_ONLINE || !m->config.line.ops || !clean[0]) {
        modem_result(m, m->g.call == CALL_ONLINE ? RESULT_ERROR : RESULT_NO_CARRIER);
        return;
    }
    memcpy(m->g.dialled, clean, sizeof(clean));
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
        m->g.now.s[S_RINGS]++;
        modem_result(m, RESULT_RING);
    }
    timer_arm(&m->ring, due + (m->g.ri ? RING_ON : RING_OFF));
    modem_drive(m);
    /* it answers within the ring that is the last to wait for */
    bool minded = m->g.now.dtr_mode >= 2;
    if (m->g.ri && m->g.now.s[S_AUTO_ANSWER] && m->g.now.s[S_RINGS] >= m->g.now.s[S_AUTO_ANSWER] &&
        (m->g.dtr || !minded)) {
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
    m->g.now.s[S_RINGS] = 0;
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
    size_t most = MODEM_QUEUE - RESULT_ROOM;
    return carries_data(m) && m->g.size < most ? most - m->g.size : 0;
}

static void line_receive(void *self, const uint8_t *data, size_t size)
{
    Modem *m = self;
    m->g.holds_data = m->g.holds_data || size;
    give(m, data, size);
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
    m->g.last_data_ns = now_of(m);
    if (m->g.too_long) {
        modem_result(m, RESULT_ERROR);
        return;
    }
    m->g.line[m->g.length] = '\0';
    memcpy(m->g.last, m->g.line, sizeof(m->g.last));
    modem_run(m, m->g.last);
}

static void command_byte(Modem *m, uint8_t byte)
{
    if (m->g.call == CALL_TRYING) { /* any key gives the call up, but what follows the CR */
        if (now_of(m) - m->g.last_data_ns >= KEY_AGAIN) {
            give_up(m, RESULT_NO_CARRIER);
        }
        return;
    }
    if (m->g.now.echo) {
        give(m, &byte, 1);
    }
    uint8_t letter = byte & 0x7f;
    letter = letter >= 'a' && letter <= 'z' ? letter - 32 : letter;
    if (!m->g.in_line) {
        if (m->g.prefix && letter == '/') {
            m->g.prefix = 0;
            m->g.last_data_ns = now_of(m);
            modem_run(m, m->g.last);
        } else if (m->g.prefix && letter == 'T') {
            m->g.in_line = true;
            m->g.too_long = false;
            m->g.length = 0;
        } else {
            m->g.prefix = letter == 'A';
        }
    } else if (letter == m->g.now.s[S_RETURN]) {
        end_line(m);
    } else if (letter == m->g.now.s[S_BACKSPACE]) {
        m->g.length -= m->g.length > 0;
    } else if (letter > ' ' && m->g.length < MODEM_LINE) {
        m->g.line[m->g.length++] = (char)letter;
    } else if (letter > ' ') {
        m->g.too_long = true;
    }
}

static int64_t guard_ns(const Modem *m)
{
    return m->g.now.s[S_GUARD] * SECOND / 50;
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
    int64_t now = now_of(m), quiet = now - m->g.last_data_ns, guard = guard_ns(m);
    m->g.last_data_ns = now;
    timer_disarm(&m->guard);
    if (m->g.now.s[S_ESCAPE] > 127 || byte != m->g.now.s[S_ESCAPE]) {
        m->g.escapes = 0;
    } else if (m->g.escapes == 0) {
        m->g.escapes = quiet >= guard;
    } else {
        m->g.escapes = (quiet < guard || !guard) && m->g.escapes < 3 ? m->g.escapes + 1 : 0;
    }
    if (m->g.escapes == 3) {
        timer_arm(&m->guard, now + guard);
    }
}

/* XON and XOFF are the modem's own; &K5 lets them through besides. */
static bool takes_flow(Modem *m, uint8_t byte)
{
    if (!flow_by_characters(m) || (byte != XON && byte != XOFF)) {
        return false;
    }
    m->g.guest_stopped = byte == XOFF;
    flush(m);
    return m->g.now.flow_mode != 5;
}

static void port_write(void *backend, const uint8_t *data, size_t size)
{
    Modem *m = backend;
    const PhonePort *line = &m->config.line;
    for (size_t i = 0; i < size; i++) {
        if ((carries_data(m) || m->g.guest_stopped) && takes_flow(m, data[i])) {
            continue;
        }
        if (carries_data(m)) {
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
    if (m->config.line.ops && carries_data(m)) {
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

/* DTR has been low for long enough to count. */
static void dtr_fired(void *self, int64_t due)
{
    Modem *m = self;
    (void)due;
    if (m->g.now.dtr_mode == 1) {
        if (carries_data(m)) {
            guard_fired(m, 0);
        }
        return;
    }
    if (m->g.call == CALL_ONLINE || m->g.call == CALL_TRYING) {
        m->g.size = 0; /* nobody wants that now */
        m->g.holds_data = false;
        give_up(m, RESULT_NO_CARRIER);
    }
    if (m->g.now.dtr_mode == 3) {
        modem_recall(m, 0);
    }
}

static void port_set_lines(void *backend, bool dtr, bool rts, bool brk)
{
    Modem *m = backend;
    bool fell = m->g.dtr && !dtr;
    (void)brk;
    m->g.dtr = dtr;
    m->g.rts = rts;
    if (dtr) {
        timer_disarm(&m->dtr);
    } else if (fell && m->g.now.dtr_mode && m->g.now.s[S_DTR]) {
        timer_arm(&m->dtr, now_of(m) + m->g.now.s[S_DTR] * SECOND / 100);
    } else if (fell && m->g.now.dtr_mode) {
        dtr_fired(m, 0);
    }
    if (rts) {
        port_ready(m);
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
        m->g.holds_data = m->g.guest_stopped = m->g.stopped = false;
        m->g.in_line = false;
        m->g.prefix = 0;
        timer_disarm(&m->dtr);
        modem_recall(m, m->g.power_up);
    }
}

static void profile_state(ModemProfile *p, StateIo *io)
{
    state_bytes(io, "s", p->s, sizeof(p->s));
    state_bool(io, "echo", &p->echo);
    state_bool(io, "quiet", &p->quiet);
    state_bool(io, "verbose", &p->verbose);
    state_u8(io, "codes", &p->codes);
    state_u8(io, "carrier_mode", &p->carrier_mode);
    state_u8(io, "dtr_mode", &p->dtr_mode);
    state_u8(io, "flow_mode", &p->flow_mode);
    state_u8(io, "dsr_mode", &p->dsr_mode);
    state_check(io, p->codes <= 4, "a setting is out of range");
}

/* Those of version 1 kept nothing. */
static void kept_state(Modem *m, StateIo *io)
{
    if (!state_since(io, 2)) {
        for (unsigned i = 0; i < MODEM_PROFILES; i++) {
            modem_defaults(&m->g.kept[i]);
        }
        memset(m->g.dialled, 0, sizeof(m->g.dialled));
        memset(m->g.numbers, 0, sizeof(m->g.numbers));
        m->g.power_up = m->g.pointer = 0;
        m->g.too_long = m->g.guest_stopped = m->g.stopped = m->g.holds_data = false;
        timer_disarm(&m->dtr);
        return;
    }
    for (unsigned i = 0; i < MODEM_PROFILES; i++) {
        profile_state(&m->g.kept[i], io);
    }
    state_u8(io, "power_up", &m->g.power_up);
    state_u8(io, "pointer", &m->g.pointer);
    state_bytes(io, "dialled", m->g.dialled, sizeof(m->g.dialled));
    state_bytes(io, "numbers", m->g.numbers, sizeof(m->g.numbers));
    state_bool(io, "too_long", &m->g.too_long);
    state_bool(io, "guest_stopped", &m->g.guest_stopped);
    state_bool(io, "stopped", &m->g.stopped);
    state_bool(io, "holds_data", &m->g.holds_data);
    state_timer(io, "dtr", &m->dtr);
    state_check(io, m->g.power_up < MODEM_PROFILES && m->g.pointer < MODEM_REGISTERS,
                "there is no such profile or register");
    bool ends = m->g.dialled[MODEM_LINE] == 0;
    for (unsigned i = 0; i < MODEM_NUMBERS; i++) {
        ends = ends && m->g.numbers[i][MODEM_NUMBER] == 0;
    }
    state_check(io, ends, "a number has no end");
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
    profile_state(&m->g.now, io);
    state_u32(io, "baud", &m->g.baud);
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
    state_check(io, m->g.escapes <= 3, "there are too many escapes");
    state_check(io, m->g.last_data_ns >= 0 && m->g.last_data_ns <= now_of(m) + SECOND,
                "data of the future");
    kept_state(m, io);
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
    .version = 2,
    .reset = modem_reset,
    .state = modem_state,
    .restored = modem_restored,
};

Modem *modem_new(Board *b, const ModemConfig *config, const char *id)
{
    Modem *m = calloc(1, sizeof(*m));
    m->config = *config;
    m->g.baud = 2400;
    modem_defaults(&m->g.now);
    for (unsigned i = 0; i < MODEM_PROFILES; i++) {
        m->g.kept[i] = m->g.now;
    }
    timer_init(&m->ring, &b->clock, "modem.ring", ring_fired, m);
    timer_init(&m->wait, &b->clock, "modem.wait", wait_fired, m);
    timer_init(&m->guard, &b->clock, "modem.guard", guard_fired, m);
    timer_init(&m->dtr, &b->clock, "modem.dtr", dtr_fired, m);
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
