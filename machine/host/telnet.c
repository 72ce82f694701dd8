/* Telnet: RFC 854, with BINARY (856), ECHO (857) and SUPPRESS GO AHEAD (858); RFC 1143 against
 * loops.
 *
 * Only changes of an option are answered, other options are refused once, and the answers that can
 * be had again and again are counted: there is an end to what one connection can make us say.
 * Not modelled: sub-negotiations (skipped), urgent data.
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
enum { KNOWN_BINARY, KNOWN_ECHO, KNOWN_SGA, UNKNOWN };
enum { OFF, ASKED, ON }; /* an option of one side; we never ask for its end */
enum { DATA, COMMAND, VERB, SKIP, SKIP_COMMAND };

enum {
    LOOK = 255,          /* bytes of a connection in which AUTO looks for a negotiation */
    OPTION_MOST = 0xf0,  /* from here on it is no option but noise */
    SKIP_MOST = 1024,    /* a sub-negotiation without an end is over then */
    ANSWERS_MOST = 1000, /* answers to changes of options, and to AYT, in one connection */
};

static const uint8_t option_of[3] = {OPTION_BINARY, OPTION_ECHO, OPTION_SGA};

static unsigned known(uint8_t option)
{
    return option == OPTION_BINARY ? KNOWN_BINARY
           : option == OPTION_ECHO ? KNOWN_ECHO
           : option == OPTION_SGA  ? KNOWN_SGA
                                   : UNKNOWN;
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
    unsigned which = known(option);
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

/* --- from the socket --- */

void telnet_start(Telnet *t, TelnetMode mode, TelnetRole role)
{
    memset(t, 0, offsetof(Telnet, wire));
    t->mode = mode;
    t->role = role;
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
        t->skipped = 0;
        t->state = SKIP;
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

static size_t take(Telnet *t, uint8_t byte, uint8_t *out)
{
    switch (t->state) {
    case COMMAND:
        return take_command(t, byte, out);
    case VERB:
        t->state = DATA;
        negotiate(t, t->verb, byte);
        return 0;
    case SKIP:
    case SKIP_COMMAND: {
        bool end = (t->state == SKIP_COMMAND && byte == SE) || ++t->skipped >= SKIP_MOST;
        t->state = end ? DATA : t->state == SKIP && byte == IAC ? SKIP_COMMAND : SKIP;
        return 0;
    }
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
