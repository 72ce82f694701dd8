/* Telnet: RFC 854, with BINARY (856), ECHO (857), SUPPRESS GO AHEAD (858) and the com port (2217);
 * RFC 1143 against loops.
 *
 * Only changes of an option are answered, other options are refused once, and the answers that can
 * be had again and again are counted: there is an end to what one connection can make us say.
 * Answers to commands of the com port are one each, whole or not at all. Not modelled: other
 * sub-negotiations (skipped), urgent data.
 */
#include "machine/host/telnet.h"

#include <string.h>

enum {
    SE = 240,
    BREAK = 243,
    AYT = 246,
    SB = 250,
    WILL = 251,
    WONT = 252,
    DO = 253,
    DONT = 254,
    IAC = 255
};
enum { OPTION_BINARY = 0, OPTION_ECHO = 1, OPTION_SGA = 3 };
enum { KNOWN_BINARY, KNOWN_ECHO, KNOWN_SGA, KNOWN_COM_PORT, UNKNOWN };
enum { OFF, ASKED, ON }; /* an option of one side; we never ask for its end */
enum { DATA, COMMAND, VERB, SUB, SUB_COMMAND };

enum {
    LOOK = 255,          /* bytes of a connection in which AUTO looks for a negotiation */
    OPTION_MOST = 0xf0,  /* from here on it is no option but noise */
    SUB_MOST = 1024,     /* a sub-negotiation without an end is over then */
    ANSWERS_MOST = 1000, /* answers to changes of options, and to AYT, in one connection */
};

static const uint8_t option_of[4] = {OPTION_BINARY, OPTION_ECHO, OPTION_SGA, COM_PORT_OPTION};

static unsigned known(const Telnet *t, uint8_t option)
{
    for (unsigned i = 0; i < (t->com ? UNKNOWN : KNOWN_COM_PORT); i++) {
        if (option == option_of[i]) {
            return i;
        }
    }
    return UNKNOWN;
}

bool telnet_mode(const char *word, TelnetMode *mode)
{
    static const char *const words[] = {"off", "auto", "on"};
    for (unsigned i = 0; i < 3; i++) {
        if (strcmp(word, words[i]) == 0) {
            *mode = (TelnetMode)i;
            return true;
        }
    }
    return false;
}

/* --- towards the socket --- */

static void put(Telnet *t, uint8_t byte)
{
    t->wire[(t->at + t->count++) % TELNET_WIRE] = byte;
}

/* Whole or not at all. A peer who takes no answers gets none. */
static bool answer(Telnet *t, const uint8_t *bytes, size_t size)
{
    if (size > (size_t)(TELNET_WIRE - t->count)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        put(t, bytes[i]);
    }
    return true;
}

static bool say(Telnet *t, uint8_t verb, uint8_t option)
{
    return answer(t, (const uint8_t[]){IAC, verb, option}, 3);
}

size_t telnet_room(const Telnet *t)
{
    size_t used = (size_t)t->count + TELNET_ANSWERS + 1;
    return used < TELNET_WIRE ? (TELNET_WIRE - used) / 2 : 0;
}

/* A carriage return that no line feed follows is followed by NUL, unless the line is binary. The
 * NUL goes ahead of the next byte, so that nothing is held back: a byte becomes two at most, and
 * one more after a CR that became one. */
void telnet_encode(Telnet *t, const uint8_t *data, size_t size)
{
    size_t room = telnet_room(t);
    bool telnet = t->mode == TELNET_ON, binary = t->ours[KNOWN_BINARY] == ON;
    for (size_t i = 0; i < size && i < room; i++) {
        if (telnet && !binary && t->went_cr && data[i] != '\n') {
            put(t, 0);
        }
        if (telnet && data[i] == IAC) {
            put(t, IAC);
        }
        put(t, data[i]);
        t->went_cr = data[i] == '\r';
    }
}

const uint8_t *telnet_waiting(const Telnet *t, size_t *size)
{
    size_t straight = (size_t)TELNET_WIRE - t->at;
    *size = t->count < straight ? t->count : straight;
    return *size ? t->wire + t->at : NULL;
}

void telnet_sent(Telnet *t, size_t size)
{
    size_t n = size < t->count ? size : t->count;
    t->at = (uint16_t)((t->at + n) % TELNET_WIRE);
    t->count = (uint16_t)(t->count - n);
}

/* --- options --- */

static void ask(Telnet *t, uint8_t verb, unsigned which)
{
    (verb == WILL ? t->ours : t->theirs)[which] = ASKED;
    say(t, verb, option_of[which]);
}

/* Both sides of the line are to be 8-bit, and characters go as they are typed. */
static void offer(Telnet *t)
{
    if (t->role == TELNET_CALLED) {
        ask(t, WILL, KNOWN_ECHO);
        ask(t, WILL, KNOWN_SGA);
    } else {
        ask(t, DO, KNOWN_SGA);
    }
    ask(t, WILL, KNOWN_BINARY);
    ask(t, DO, KNOWN_BINARY);
    if (t->com) {
        ask(t, t->role == TELNET_CALLED ? DO : WILL, KNOWN_COM_PORT);
    }
}

static bool agreeable(const Telnet *t, bool ours, unsigned which)
{
    return which != UNKNOWN && (which != KNOWN_ECHO || ours == (t->role == TELNET_CALLED));
}

static void refuse(Telnet *t, bool ours, uint8_t option)
{
    uint8_t *bits = t->refused[ours] + option / 8, bit = (uint8_t)(1 << option % 8);
    if (!(*bits & bit) && say(t, ours ? WONT : DONT, option)) {
        *bits |= bit;
    }
}

/* RFC 1143's table, without the rows for wishes that we never have. */
static void negotiate(Telnet *t, uint8_t verb, uint8_t option)
{
    bool ours = verb == DO || verb == DONT, on = verb == WILL || verb == DO;
    unsigned which = known(t, option);
    if (on && !agreeable(t, ours, which)) {
        refuse(t, ours, option);
        return;
    }
    if (which == UNKNOWN) {
        return; /* it is off as it was */
    }
    uint8_t *now = (ours ? t->ours : t->theirs) + which;
    bool quiet = *now == ASKED || (*now == ON) == on; /* it is the answer, or no change */
    if (on && !quiet && (t->answered >= ANSWERS_MOST || !say(t, ours ? WILL : DO, option))) {
        return; /* enough: it stays off */
    }
    if (!on && !quiet && t->answered < ANSWERS_MOST) {
        say(t, ours ? WONT : DONT, option);
    }
    t->answered += !quiet && t->answered < ANSWERS_MOST;
    *now = on ? ON : OFF;
    if (which == KNOWN_COM_PORT) {
        com_port_agree(t->com, t->ours[which] == ON || t->theirs[which] == ON);
    }
    t->went_cr = t->went_cr && !(ours && which == KNOWN_BINARY);
}

/* "Are you there": something to see for who calls us, nothing for who thinks that we are a person.
 */
static void are_you_there(Telnet *t)
{
    static const char yes[] = "\r\n[Yes]\r\n";
    if (t->role == TELNET_CALLED && t->answered < ANSWERS_MOST) {
        t->answered++;
        answer(t, (const uint8_t *)yes, sizeof(yes) - 1);
    }
}

/* --- the com port --- */

/* A sub-negotiation of the com port's option, with its frame. */
static bool say_com(Telnet *t, const uint8_t *bytes, size_t size)
{
    uint8_t all[2 * COM_PORT_WORD + 5] = {IAC, SB, COM_PORT_OPTION};
    size_t n = 3;
    for (size_t i = 0; i < size; i++) {
        all[n++] = bytes[i];
        if (bytes[i] == IAC) {
            all[n++] = IAC;
        }
    }
    all[n++] = IAC;
    all[n++] = SE;
    return answer(t, all, n);
}

void telnet_tell(Telnet *t)
{
    uint8_t word[COM_PORT_WORD];
    size_t size = 1;
    while (t->com && size && TELNET_WIRE - t->count > 2 * COM_PORT_WORD + 5) {
        size = com_port_next(t->com, word);
        if (size) {
            say_com(t, word, size);
        }
    }
}

void telnet_break(Telnet *t)
{
    if (t->mode == TELNET_ON) {
        answer(t, (const uint8_t[]){IAC, BREAK}, 2);
    }
}

bool telnet_settled(const Telnet *t)
{
    if (!t->com || t->mode != TELNET_ON || t->com->heard) {
        return true;
    }
    const uint8_t *asked = t->role == TELNET_CALLED ? t->theirs : t->ours;
    return asked[KNOWN_COM_PORT] == OFF && !t->com->on;
}

static void hear_sub(Telnet *t)
{
    uint8_t word[COM_PORT_WORD];
    if (t->com && t->sub_size && t->sub[0] == COM_PORT_OPTION) {
        size_t size = com_port_hear(t->com, t->sub + 1, t->sub_size - 1u, word);
        if (size) {
            say_com(t, word, size);
        }
    }
}

/* --- from the socket --- */

void telnet_start(Telnet *t, TelnetMode mode, TelnetRole role)
{
    memset((char *)t + offsetof(Telnet, mode), 0, offsetof(Telnet, wire) - offsetof(Telnet, mode));
    t->mode = mode;
    t->role = role;
    if (t->com) {
        com_port_start(t->com, role == TELNET_CALLED);
    }
    if (mode == TELNET_ON) {
        offer(t);
    }
}

static size_t take_command(Telnet *t, uint8_t byte, uint8_t *out)
{
    t->state = DATA;
    if (byte == IAC) {
        t->came_cr = false;
        out[0] = IAC;
        return 1;
    }
    if (byte >= WILL) {
        t->verb = byte;
        t->state = VERB;
    } else if (byte == SB) {
        t->skipped = t->sub_size = 0;
        t->state = SUB;
    } else if (byte == BREAK) {
        t->broke = true;
    } else if (byte == AYT) {
        are_you_there(t);
    }
    return 0;
}

static size_t take_data(Telnet *t, uint8_t byte, uint8_t *out)
{
    if (byte == IAC) {
        t->state = COMMAND;
        return 0;
    }
    bool padding = byte == 0 && t->came_cr && t->theirs[KNOWN_BINARY] != ON;
    t->came_cr = byte == '\r';
    out[0] = byte;
    return !padding;
}

static void take_sub(Telnet *t, uint8_t byte)
{
    bool command = t->state == SUB_COMMAND;
    if (command && byte == SE) {
        t->state = DATA;
        hear_sub(t);
        return;
    }
    t->state = !command && byte == IAC ? SUB_COMMAND : SUB;
    if (t->state == SUB && (!command || byte == IAC) && t->sub_size < sizeof(t->sub)) {
        t->sub[t->sub_size++] = byte;
    }
    if (++t->skipped >= SUB_MOST) {
        t->state = DATA;
    }
}

static size_t take(Telnet *t, uint8_t byte, uint8_t *out)
{
    switch (t->state) {
    case COMMAND:
        return take_command(t, byte, out);
    case VERB:
        t->state = DATA;
        negotiate(t, t->verb, byte);
        return 0;
    case SUB:
    case SUB_COMMAND:
        take_sub(t, byte);
        return 0;
    default:
        return take_data(t, byte, out);
    }
}

/* AUTO held back the beginning of what turned out to be no negotiation. */
static size_t release(Telnet *t, uint8_t *out)
{
    size_t held = t->state == VERB ? 2 : t->state == COMMAND;
    const uint8_t bytes[2] = {IAC, t->verb};
    memcpy(out, bytes, held);
    t->state = DATA;
    return held;
}

static size_t look(Telnet *t, uint8_t byte, uint8_t *out)
{
    if (t->state == DATA && byte == IAC) {
        t->state = COMMAND;
    } else if (t->state == COMMAND && byte >= WILL && byte != IAC) {
        t->verb = byte;
        t->state = VERB;
    } else if (t->state == VERB && byte < OPTION_MOST) {
        t->state = DATA;
        t->mode = TELNET_ON;
        offer(t);
        negotiate(t, t->verb, byte);
    } else {
        size_t held = release(t, out);
        out[held] = byte;
        t->came_cr = byte == '\r';
        if (held || byte > 0x7f || ++t->seen == LOOK) {
            t->mode = TELNET_OFF;
        }
        return held + 1;
    }
    return 0;
}

size_t telnet_decode(Telnet *t, const uint8_t *in, size_t size, uint8_t *out)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++) {
        if (t->mode == TELNET_ON) {
            count += take(t, in[i], out + count);
        } else if (t->mode == TELNET_AUTO) {
            count += look(t, in[i], out + count);
        } else {
            out[count++] = in[i];
        }
    }
    return count;
}

size_t telnet_finish(Telnet *t, uint8_t *out)
{
    return t->mode == TELNET_AUTO ? release(t, out) : 0;
}
