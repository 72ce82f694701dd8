/* Telnet on a serial port's socket: the bytes that were read ahead, and the modem lines in their
 * places between them.
 *
 * What comes from the socket is read whether or not the guest takes it, as far as there is room, so
 * that CTS is heard at once; the other lines and a break wait for the bytes before them, lest a
 * carrier that falls should cut off what was said. The guest's lines go out behind what it sent
 * before. A far end that has a com port is asked to wait ahead of TCP.
 */
#include <stdlib.h>
#include <string.h>

#include "machine/host/char_host_internal.h"
#include "machine/host/host_time.h"

enum {
    SETTLE_MS = 1000, /* a far end that says nothing of a com port has none */
    PAUSE_AT = CHAR_AHEAD / 2,
    RESUME_AT = CHAR_AHEAD / 8,
    READ_MOST = CHAR_IN_ROOM, /* bytes of one read */
};

void char_telnet_start(CharBackend *b, bool up)
{
    CharTelnet *n = b->telnet;
    if (!n) {
        return;
    }
    telnet_start(&n->t, up ? TELNET_ON : TELNET_OFF,
                 b->socket.server ? TELNET_CALLED : TELNET_CALLER);
    n->at = n->count = n->marks = 0;
    n->closing = n->paced = false;
    n->inputs = CHAR_USUAL;
    n->settle_by = host_time_ns() + SETTLE_MS * INT64_C(1000000);
}

/* --- from the far end --- */

static void put_mark(CharTelnet *n, bool broke, bool down, uint8_t inputs, uint8_t flicker)
{
    CharMark *last = n->marks ? &n->mark[n->marks - 1] : NULL;
    if (n->marks == CHAR_MARKS) { /* one for all from here on */
        last->flicker |= flicker | (last->inputs ^ inputs);
        last->inputs = inputs;
        last->broke |= broke;
        last->down |= down;
        last->ahead = n->count;
        return;
    }
    n->mark[n->marks++] = (CharMark){n->count, broke, down, inputs, flicker};
}

static void tell_pace(CharBackend *b, bool paced)
{
    b->telnet->paced = paced;
    pthread_mutex_lock(&b->host->lock);
    b->prompt.paced = paced;
    pthread_mutex_unlock(&b->host->lock);
    char_tell_now(b, 0, 0, 0);
}

/* What the last byte did to the lines. */
static void look_at_lines(CharBackend *b)
{
    CharTelnet *n = b->telnet;
    ComPort *com = &n->com;
    uint8_t changed = (uint8_t)((n->inputs ^ com->inputs) | com->flickered);
    uint8_t flicker = com->flickered & (uint8_t) ~(n->inputs ^ com->inputs);
    bool broke = com->broke || n->t.broke, paced = com_port_paced(com);
    com->flickered = 0;
    com->broke = n->t.broke = false;
    if (paced != n->paced) {
        tell_pace(b, paced);
    }
    if (!b->carrier && !broke) { /* it begins with the lines as they are then */
        n->inputs = com->inputs;
        return;
    }
    if (changed & ~CHAR_CTS || broke) {
        put_mark(n, broke, false, com->inputs & (uint8_t)~CHAR_CTS, flicker & (uint8_t)~CHAR_CTS);
    }
    n->inputs = com->inputs;
    if (changed & CHAR_CTS) {
        char_tell_now(b, CHAR_CTS, com->inputs, flicker);
    }
}

static void purge(CharBackend *b)
{
    CharTelnet *n = b->telnet;
    if (n->com.purge & 1) {
        pthread_mutex_lock(&b->host->lock);
        b->out_count = b->guest.ahead = 0;
        pthread_mutex_unlock(&b->host->lock);
        char_tell_of_room(b);
    }
    if (n->com.purge & 2) {
        n->count = 0;
        for (unsigned i = 0; i < n->marks; i++) {
            n->mark[i].ahead = 0;
        }
    }
    n->com.purge = 0;
}

bool char_telnet_has_room(const CharBackend *b)
{
    return b->telnet->count + READ_MOST + TELNET_HELD <= CHAR_AHEAD;
}

void char_telnet_take(CharBackend *b, const uint8_t *data, size_t size)
{
    CharTelnet *n = b->telnet;
    for (size_t i = 0; i < size; i++) {
        uint8_t out[1 + TELNET_HELD];
        size_t count = telnet_decode(&n->t, data + i, 1, out);
        for (size_t k = 0; k < count && n->count < CHAR_AHEAD; k++) {
            n->in[(n->at + n->count++) % CHAR_AHEAD] = out[k];
        }
        purge(b);
        look_at_lines(b);
    }
}

/* The next piece for the guest, when it has taken the last: to the next mark at most. */
static void feed(CharBackend *b)
{
    CharTelnet *n = b->telnet;
    CharMessage m = {.kind = MESSAGE_INPUT};
    pthread_mutex_lock(&b->host->lock);
    bool busy = b->in_flight;
    pthread_mutex_unlock(&b->host->lock);
    if (busy || (!n->count && !n->marks)) {
        return;
    }
    if (!b->carrier && (n->count || !n->mark[0].down)) {
        char_raise_carrier(b, n->inputs); /* whoever talks is there */
    }
    if (n->marks && n->mark[0].ahead == 0) {
        CharMark mark = n->mark[0];
        memmove(n->mark, n->mark + 1, --n->marks * sizeof(n->mark[0]));
        if (mark.down) {
            char_telnet_start(b, false);
            char_drop_carrier(b);
            return;
        }
        m.marked = true;
        m.broke = mark.broke;
        m.inputs = mark.inputs;
        m.flicker = mark.flicker;
    }
    size_t most = n->marks && n->mark[0].ahead < n->count ? n->mark[0].ahead : n->count, size = 0;
    for (; size < most && size < sizeof(m.data); size++) {
        m.data[size] = n->in[(n->at + size) % CHAR_AHEAD];
    }
    n->at = (n->at + size) % CHAR_AHEAD;
    n->count -= size;
    for (unsigned i = 0; i < n->marks; i++) {
        n->mark[i].ahead -= size;
    }
    char_post(b, &m, size);
}

/* The guest takes nothing: it is to see at least where the lines are. */
static void overtake(CharBackend *b)
{
    CharTelnet *n = b->telnet;
    uint8_t flicker = 0;
    for (unsigned i = 0; i < n->marks; i++) {
        flicker |= n->mark[i].flicker | (i ? n->mark[i].inputs ^ n->mark[i - 1].inputs : 0);
        if (n->mark[i].down) {
            char_telnet_start(b, false);
            char_drop_carrier(b);
            return;
        }
    }
    n->marks = 0;
    char_tell_now(b, 0xff, n->inputs, flicker);
}

void char_telnet_end(CharBackend *b)
{
    CharTelnet *n = b->telnet;
    n->closing = true;
    put_mark(n, false, true, 0, 0);
}

/* --- to the far end --- */

/* Changes of the guest's port take their place between the bytes, unless those stand still. */
static void look_at_port(CharBackend *b)
{
    CharGuest *g = &b->guest;
    ComPort *com = &b->telnet->com;
    pthread_mutex_lock(&b->host->lock);
    CharGuest now = *g;
    bool due = g->changed && (g->ahead == 0 || com->suspended);
    if (due) {
        g->changed = false;
        g->toggled = 0;
    }
    pthread_mutex_unlock(&b->host->lock);
    if (due) {
        bool brk = now.lines & ~com->lines & COM_BREAK || now.toggled & ~now.lines & COM_BREAK;
        com_port_frame(com, now.baud, now.data_bits, now.parity, now.stop_bits);
        com_port_lines(com, now.lines, now.toggled);
        if (brk && !com->on && !com->server) {
            telnet_break(&b->telnet->t);
        }
    }
}

bool char_telnet_writes(const CharBackend *b)
{
    const CharTelnet *n = b->telnet;
    return n->t.count > 0 || (b->out_count > 0 && !n->com.suspended);
}

void char_telnet_give(CharBackend *b)
{
    uint8_t data[CHAR_IN_ROOM];
    Telnet *t = &b->telnet->t;
    size_t room = telnet_room(t), size;
    pthread_mutex_lock(&b->host->lock);
    size_t most = b->telnet->com.suspended ? 0 : b->guest.changed ? b->guest.ahead : sizeof(data);
    pthread_mutex_unlock(&b->host->lock);
    most = room < most ? room : most;
    size_t count = char_take_output(b, data, most < sizeof(data) ? most : sizeof(data));
    telnet_encode(t, data, count);
    const uint8_t *wire = telnet_waiting(t, &size);
    ssize_t done = wire ? char_write_out(b, wire, size) : 0;
    if (done >= 0) {
        telnet_sent(t, (size_t)done);
        char_tell_of_room(b);
    }
}

int64_t char_telnet_tend(CharBackend *b)
{
    CharTelnet *n = b->telnet;
    bool here = b->read_fd >= 0;
    if (!here && !n->closing) {
        return INT64_MAX;
    }
    pthread_mutex_lock(&b->host->lock);
    bool stuck = b->stuck;
    pthread_mutex_unlock(&b->host->lock);
    if (here) {
        look_at_port(b);
        if (n->count > PAUSE_AT || n->count < RESUME_AT) {
            com_port_pause(&n->com, n->count > PAUSE_AT);
        }
        telnet_tell(&n->t);
        if (!b->carrier && (telnet_settled(&n->t) || host_time_ns() >= n->settle_by)) {
            char_raise_carrier(b, n->inputs);
        }
    }
    if (stuck && n->marks) {
        overtake(b);
    }
    feed(b);
    return here && !b->carrier ? n->settle_by : INT64_MAX;
}
