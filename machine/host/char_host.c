/* The thread behind the serial and parallel ports, and the buffers between it and the machine. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/core/log.h"
#include "machine/host/char_host_internal.h"
#include "machine/host/host_bell.h"
#include "machine/host/host_thread.h"
#include "machine/host/host_time.h"

LOG_TAG("char");

enum { MESSAGE_INPUT, MESSAGE_UP, MESSAGE_DOWN, MESSAGE_ROOM };
enum {
    WRITE_CHUNK = 4096,
    TERMINAL_CHUNK = 256,
    FLUSH_MS = 1000,
    SETTLE_MS = 1000, /* a far end that says nothing of a com port has none */
};
enum { USUAL = CHAR_CTS | CHAR_DSR | CHAR_DCD };

typedef struct Message {
    uint8_t kind;
    bool broke;              /* ahead of the data */
    bool paced;              /* as CharBackend has it */
    uint8_t inputs, flicker; /* CHAR_CTS..; flicker: those that changed to and fro */
    uint8_t data[CHAR_IN_ROOM];
} Message;

static void wake(CharHost *host)
{
    bell_ring(host->wake_fd);
}

/* ---- machine's thread ---- */

static void pump(CharBackend *b)
{
    if (!b->attached || b->pumping ||
        (b->in_count && b->paced && !(b->guest.lines & COM_RTS))) { /* written by this thread */
        return;
    }
    b->pumping = true;
    while (b->in_count) {
        size_t room = b->sink.room ? b->sink.room(b->sink.self) : b->in_count;
        size_t n = room < b->in_count ? room : b->in_count;
        if (n == 0) {
            break;
        }
        const uint8_t *from = b->in + b->in_at;
        b->in_at += n;
        b->in_count -= n;
        b->sink.receive(b->sink.self, from, n);
    }
    b->pumping = false;
    if (b->holding && b->in_count == 0) {
        b->holding = false;
        pthread_mutex_lock(&b->host->lock);
        b->in_flight = false;
        pthread_mutex_unlock(&b->host->lock);
        wake(b->host);
    }
}

/* What the guest sees: the far end's lines, while there is one, and CTS low when output waits.
 * fresh: that there is one is the news. */
static void drive(CharBackend *b, unsigned inputs, bool fresh)
{
    pthread_mutex_lock(&b->host->lock);
    bool carrier = b->carrier, held = b->held;
    pthread_mutex_unlock(&b->host->lock);
    if (!carrier || !b->attached) {
        return;
    }
    if (b->sink.connected && (!b->sink.lines || (fresh && inputs == USUAL && !held))) {
        b->sink.connected(b->sink.self, true);
    } else if (b->sink.lines) {
        b->sink.lines(b->sink.self, inputs & ~(held ? (unsigned)CHAR_CTS : 0));
    }
}

static void take_message(CharBackend *b, const Message *m, size_t size)
{
    if (m->broke && b->attached && b->sink.brk) {
        b->sink.brk(b->sink.self);
    }
    b->paced = m->paced;
    if (m->flicker) {
        drive(b, m->inputs ^ m->flicker, false);
    }
    if (m->flicker || m->inputs != b->inputs) {
        b->inputs = m->inputs;
        drive(b, b->inputs, false);
    }
    memcpy(b->in, m->data, size);
    b->in_at = 0;
    b->in_count = size;
    b->holding = true;
    pump(b);
}

static void deliver(void *self, const void *data, size_t size)
{
    CharBackend *b = self;
    Message m;
    if (size < offsetof(Message, data) || size > sizeof(m)) {
        return;
    }
    memcpy(&m, data, size);
    switch (m.kind) {
    case MESSAGE_INPUT:
        take_message(b, &m, size - offsetof(Message, data));
        break;
    case MESSAGE_UP:
        b->inputs = m.inputs;
        b->paced = m.paced;
        drive(b, b->inputs, true);
        break;
    case MESSAGE_ROOM:
        drive(b, b->inputs, false);
        break;
    default:
        if (b->attached && b->sink.connected) {
            b->sink.connected(b->sink.self, false);
        }
        break;
    }
}

static void port_write(void *backend, const uint8_t *data, size_t size)
{
    CharBackend *b = backend;
    pthread_mutex_lock(&b->host->lock);
    bool was_empty = b->out_count == 0;
    bool first_loss = false;
    if (!b->up) {
        size = 0; /* nobody there: a cable into the air */
    }
    for (size_t i = 0; i < size; i++) {
        if (b->out_count == CHAR_OUT_ROOM) {
            first_loss |= !b->dropped;
            b->dropped = true;
            b->out_at = (b->out_at + 1) % CHAR_OUT_ROOM;
            b->out_count--;
            b->guest.ahead -= b->guest.ahead > 0;
        }
        b->out[(b->out_at + b->out_count) % CHAR_OUT_ROOM] = data[i];
        b->out_count++;
    }
    bool begin = was_empty && b->out_count > 0;
    bool hold = !b->held && b->out_count > CHAR_OUT_HIGH;
    b->held |= hold;
    pthread_mutex_unlock(&b->host->lock);
    if (begin) {
        wake(b->host);
    }
    if (hold) { /* a guest that minds its lines waits now */
        drive(b, b->inputs, false);
    }
    if (first_loss) {
        log_warn("%s: the reader is too slow; the oldest output is dropped", b->name);
    }
}

static void port_attach(void *backend, const CharSink *sink)
{
    CharBackend *b = backend;
    b->sink = *sink;
    b->attached = true;
    drive(b, b->inputs, true);
    pump(b);
}

static void port_ready(void *backend)
{
    pump(backend);
}

/* The I/O thread is to look at the port again. lock is held; returns whether to wake it. */
static bool port_changed(CharBackend *b)
{
    if (!b->guest.changed) {
        b->guest.changed = true;
        b->guest.ahead = b->out_count;
    }
    return b->telnet;
}

static void port_parameters(void *backend, unsigned baud, unsigned data_bits, char parity,
                            unsigned stop_bits)
{
    CharBackend *b = backend;
    if (b->tty) {
        char_tty_parameters(b, baud, data_bits, parity, stop_bits);
    }
    pthread_mutex_lock(&b->host->lock);
    CharGuest *g = &b->guest;
    g->baud = baud;
    g->data_bits = data_bits;
    g->parity = parity;
    g->stop_bits = stop_bits;
    bool tell = port_changed(b);
    pthread_mutex_unlock(&b->host->lock);
    if (tell) {
        wake(b->host);
    }
}

static void port_set_lines(void *backend, bool dtr, bool rts, bool brk)
{
    CharBackend *b = backend;
    uint8_t lines = (dtr ? COM_DTR : 0) | (rts ? COM_RTS : 0) | (brk ? COM_BREAK : 0);
    if (b->tty) {
        char_tty_lines(b, dtr, rts, brk);
    }
    pthread_mutex_lock(&b->host->lock);
    uint8_t changed = b->guest.lines ^ lines;
    b->guest.lines = lines;
    b->guest.toggled |= changed;
    bool tell = changed && port_changed(b);
    pthread_mutex_unlock(&b->host->lock);
    if (tell) {
        wake(b->host);
    }
    if (changed & COM_RTS) {
        pump(b);
    }
}

static const CharOps port_ops = {
    .write = port_write,
    .attach = port_attach,
    .ready = port_ready,
    .parameters = port_parameters,
    .set_lines = port_set_lines,
};

/* ---- I/O thread ---- */

static void post(CharBackend *b, const Message *m, size_t size)
{
    bool input = m->kind == MESSAGE_INPUT;
    if (input) {
        pthread_mutex_lock(&b->host->lock);
        b->in_flight = true;
        pthread_mutex_unlock(&b->host->lock);
    }
    if (!event_post(b->events, m, offsetof(Message, data) + size) && input) {
        pthread_mutex_lock(&b->host->lock);
        b->in_flight = false;
        pthread_mutex_unlock(&b->host->lock);
        log_warn("%s: %zu bytes of input are lost: the machine does not take them", b->name, size);
    }
}

/* The machine learns of a connection when it is known how the lines stand. */
static void raise_carrier(CharBackend *b)
{
    Message m = {.kind = MESSAGE_UP, .inputs = USUAL};
    if (b->telnet) {
        m.inputs = b->com.inputs;
        m.paced = com_port_paced(&b->com);
        b->com.flickered = 0;
    }
    b->posted_inputs = m.inputs;
    b->posted_pace = m.paced;
    pthread_mutex_lock(&b->host->lock);
    b->carrier = true;
    pthread_mutex_unlock(&b->host->lock);
    post(b, &m, 0);
}

static void set_up(CharBackend *b, bool up)
{
    pthread_mutex_lock(&b->host->lock);
    b->up = up;
    b->carrier = false;
    b->out_count = b->guest.ahead = 0;
    b->held = false;
    char_start_telnet(b, up);
    pthread_mutex_unlock(&b->host->lock);
    b->settle_by = host_time_ns() + SETTLE_MS * INT64_C(1000000);
    if (!up) {
        post(b, &(Message){.kind = MESSAGE_DOWN}, 0);
    } else if (!b->telnet) {
        raise_carrier(b);
    }
}

/* The other end has gone: a server waits for the next client, others stay silent. */
static void hang_up(CharBackend *b)
{
    if (b->read_fd >= 0 && !b->terminal) {
        close(b->read_fd);
    }
    if (b->write_fd >= 0 && b->write_fd != b->read_fd && !b->terminal) {
        close(b->write_fd);
    }
    b->read_fd = -1;
    b->write_fd = -1;
    set_up(b, false);
}

/* Takes the Ctrl-A commands out of the terminal's input. Returns how many bytes are left. */
static size_t take_escapes(CharBackend *b, uint8_t *data, size_t size)
{
    size_t kept = 0;
    for (size_t i = 0; i < size; i++) {
        if (b->escaped) {
            b->escaped = false;
            if (data[i] == 'x') {
                kill(getpid(), SIGTERM); /* ends the program in good order, as from outside */
            } else if (data[i] == CHAR_ESCAPE) {
                data[kept++] = CHAR_ESCAPE;
            }
        } else if (data[i] == CHAR_ESCAPE) {
            b->escaped = true;
        } else {
            data[kept++] = data[i];
        }
    }
    return kept;
}

static void tell_of_room(CharBackend *b)
{
    pthread_mutex_lock(&b->host->lock);
    bool room = b->held && b->out_count < CHAR_OUT_LOW;
    b->held = b->held && !room;
    pthread_mutex_unlock(&b->host->lock);
    if (room) {
        post(b, &(Message){.kind = MESSAGE_ROOM}, 0);
    }
}

/* What telnet makes of the input: data in its place, and the lines. Returns the size of the data;
 * *news: there is something beside them. */
static size_t take_telnet(CharBackend *b, Message *m, size_t size, bool *news)
{
    uint8_t plain[CHAR_IN_ROOM + TELNET_HELD]; /* of which AUTO alone would need the last */
    Telnet *t = b->telnet;
    ComPort *com = &b->com;
    size = telnet_decode(t, m->data, size, plain);
    memcpy(m->data, plain, size);
    m->broke = t->broke || com->broke;
    t->broke = com->broke = false;
    if (com->purge) {
        pthread_mutex_lock(&b->host->lock);
        b->out_count = b->guest.ahead = 0;
        pthread_mutex_unlock(&b->host->lock);
        com->purge = 0;
        tell_of_room(b);
    }
    if (!b->carrier && (size || m->broke)) {
        raise_carrier(b); /* whoever talks is there */
    }
    m->paced = com_port_paced(com);
    m->inputs = com->inputs;
    m->flicker = com->flickered & (uint8_t) ~(b->posted_inputs ^ com->inputs);
    *news = b->carrier &&
            (m->broke || m->flicker || m->inputs != b->posted_inputs || m->paced != b->posted_pace);
    if (b->carrier) {
        com->flickered = 0;
        b->posted_inputs = m->inputs;
        b->posted_pace = m->paced;
    }
    return size;
}

static void take_input(CharBackend *b)
{
    Message m = {.kind = MESSAGE_INPUT, .inputs = USUAL};
    uint8_t *data = m.data;
    ssize_t n = read(b->read_fd, data, sizeof(m.data));
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        if (b->terminal) {
            b->read_fd = -1; /* the end of standard input; output goes on */
        } else {
            hang_up(b);
        }
        return;
    }
    size_t size = b->escape ? take_escapes(b, data, (size_t)n) : (size_t)n;
    bool news = false;
    if (b->telnet) {
        size = take_telnet(b, &m, size, &news);
    }
    if (size || news) {
        post(b, &m, size);
    }
}

/* From the ring, where the machine may drop the oldest meanwhile. */
static size_t take_output(CharBackend *b, uint8_t *data, size_t most)
{
    pthread_mutex_lock(&b->host->lock);
    size_t n = b->out_count < most ? b->out_count : most;
    for (size_t i = 0; i < n; i++) {
        data[i] = b->out[(b->out_at + i) % CHAR_OUT_ROOM];
    }
    b->out_at = (b->out_at + n) % CHAR_OUT_ROOM;
    b->out_count -= n;
    b->guest.ahead -= n < b->guest.ahead ? n : b->guest.ahead;
    pthread_mutex_unlock(&b->host->lock);
    return n;
}

/* Returns how many bytes were written, 0 when none can be now; -1: the other end has gone. */
static ssize_t write_out(CharBackend *b, const uint8_t *data, size_t size)
{
    ssize_t done = write(b->write_fd, data, size);
    if (done >= 0 || errno == EAGAIN || errno == EINTR) {
        return done > 0 ? done : 0;
    }
    if (errno != EPIPE && errno != ECONNRESET) {
        log_warn("%s: output stops: %s", b->name, strerror(errno));
    }
    hang_up(b);
    return -1;
}

/* Changes of the guest's port take their place between the bytes, unless those stand still. */
static void look_at_port(CharBackend *b)
{
    CharGuest *g = &b->guest;
    ComPort *com = &b->com;
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
        if (brk && !com->on && b->up && !com->server) {
            telnet_break(b->telnet);
        }
    }
    telnet_tell(b->telnet);
}

static void give_telnet(CharBackend *b)
{
    uint8_t data[WRITE_CHUNK];
    size_t room = telnet_room(b->telnet), size;
    pthread_mutex_lock(&b->host->lock);
    size_t most = b->com.suspended ? 0 : b->guest.changed ? b->guest.ahead : sizeof(data);
    pthread_mutex_unlock(&b->host->lock);
    most = room < most ? room : most;
    size_t n = take_output(b, data, most < sizeof(data) ? most : sizeof(data));
    telnet_encode(b->telnet, data, n);
    const uint8_t *wire = telnet_waiting(b->telnet, &size);
    ssize_t done = wire ? write_out(b, wire, size) : 0;
    if (done >= 0) {
        telnet_sent(b->telnet, (size_t)done);
        tell_of_room(b);
    }
}

static void give_output(CharBackend *b)
{
    uint8_t data[WRITE_CHUNK];
    if (b->telnet) {
        give_telnet(b);
        return;
    }
    size_t n = take_output(b, data, b->terminal ? TERMINAL_CHUNK : WRITE_CHUNK);
    ssize_t done = write_out(b, data, n);
    if (done < 0) {
        return;
    }
    size_t left = n - (size_t)done;
    if (left) {
        pthread_mutex_lock(&b->host->lock);
        if (b->out_count + left <= CHAR_OUT_ROOM) {
            for (size_t i = 0; i < left; i++) {
                b->out_at = (b->out_at + CHAR_OUT_ROOM - 1) % CHAR_OUT_ROOM;
                b->out[b->out_at] = data[n - 1 - i];
            }
            b->out_count += left;
        }
        pthread_mutex_unlock(&b->host->lock);
    }
    tell_of_room(b);
}

static void take_client(CharBackend *b)
{
    int fd = socket_accept(b->listen_fd);
    if (fd >= 0) {
        b->read_fd = b->write_fd = fd;
        set_up(b, true);
    }
}

/* Adds what b waits for to the poll set. Returns whether output waits. */
static bool add_polls(CharBackend *b, struct pollfd *read_at, struct pollfd *write_at,
                      struct pollfd *listen_at)
{
    bool flowing = !b->in_flight;
    bool waits = b->out_count > 0 && !(b->telnet && b->com.suspended);
    bool output = (waits || (b->telnet && b->telnet->count > 0)) && b->write_fd >= 0;
    *read_at = (struct pollfd){.fd = flowing ? b->read_fd : -1, .events = POLLIN};
    *write_at = (struct pollfd){.fd = output ? b->write_fd : -1, .events = POLLOUT};
    *listen_at = (struct pollfd){.fd = b->read_fd < 0 ? b->listen_fd : -1, .events = POLLIN};
    return output;
}

static void serve(CharBackend *b, const struct pollfd *polls)
{
    if (polls[2].revents) {
        take_client(b);
        return;
    }
    if (polls[1].revents && b->write_fd == polls[1].fd) {
        give_output(b);
    }
    if (polls[0].revents && b->read_fd == polls[0].fd) {
        take_input(b);
    }
}

/* Telnet's com port, ahead of a poll. Returns until when at the latest it wants to be seen to
 * again.
 */
static int64_t tend(CharBackend *b)
{
    if (!b->telnet || !b->up) { /* which this thread sets */
        return INT64_MAX;
    }
    look_at_port(b);
    if (!b->carrier && (telnet_settled(b->telnet) || host_time_ns() >= b->settle_by)) {
        raise_carrier(b);
    }
    return b->carrier ? INT64_MAX : b->settle_by;
}

/* Milliseconds for poll(). */
static int until(int64_t when)
{
    int64_t ns = when - host_time_ns();
    return when == INT64_MAX ? -1 : ns <= 0 ? 0 : (int)(ns / 1000000 + 1);
}

static void *io_thread(void *self)
{
    CharHost *host = self;
    struct pollfd polls[1 + 3 * CHAR_MAX];
    int64_t end = INT64_MAX;
    for (;;) {
        polls[0] = (struct pollfd){.fd = host->wake_fd, .events = POLLIN};
        bool output = false;
        pthread_mutex_lock(&host->lock);
        unsigned count = host->count;
        pthread_mutex_unlock(&host->lock);
        int64_t next = INT64_MAX;
        for (unsigned i = 0; i < count; i++) {
            int64_t when = tend(host->backend[i]);
            next = when < next ? when : next;
        }
        pthread_mutex_lock(&host->lock);
        for (unsigned i = 0; i < count; i++) {
            struct pollfd *at = polls + 1 + 3 * i;
            output |= add_polls(host->backend[i], at, at + 1, at + 2);
        }
        if (host->quit && end == INT64_MAX) {
            end = host_time_ns() + FLUSH_MS * INT64_C(1000000);
        }
        pthread_mutex_unlock(&host->lock);
        if (end != INT64_MAX && (!output || host_time_ns() >= end)) {
            return NULL;
        }
        if (poll(polls, 1 + 3 * count, end == INT64_MAX ? until(next) : 50) < 0) {
            continue;
        }
        if (polls[0].revents) {
            bell_hush(host->wake_fd);
        }
        for (unsigned i = 0; i < count; i++) {
            serve(host->backend[i], polls + 1 + 3 * i);
        }
    }
}

/* ---- making and freeing ---- */

CharHost *char_host_new(EventQueue *events)
{
    CharHost *host = calloc(1, sizeof(*host));
    if (!host) {
        return NULL;
    }
    host->queue = events;
    host->wake_fd = bell_open();
    if (host->wake_fd < 0) {
        free(host);
        return NULL;
    }
    pthread_mutex_init(&host->lock, NULL);
    int failed = host_thread_start(&host->thread, io_thread, host);
    if (failed) {
        close(host->wake_fd);
        free(host);
        return NULL;
    }
    return host;
}

static void backend_free(CharBackend *b)
{
    if (b->saved_valid) {
        tcsetattr(STDIN_FILENO, TCSANOW, &b->saved);
    }
    if (!b->terminal) {
        int fds[3] = {b->read_fd, b->write_fd == b->read_fd ? -1 : b->write_fd, b->slave};
        for (unsigned i = 0; i < 3; i++) {
            if (fds[i] >= 0) {
                close(fds[i]);
            }
        }
    }
    char_close_printer(b->printer);
    if (b->listen_fd >= 0) {
        close(b->listen_fd);
        socket_remove(&b->socket);
    }
    event_port_close(b->events);
    free(b->telnet);
    free(b->out);
    free(b);
}

void char_host_free(CharHost *host)
{
    if (!host) {
        return;
    }
    pthread_mutex_lock(&host->lock);
    host->quit = true;
    pthread_mutex_unlock(&host->lock);
    wake(host);
    pthread_join(host->thread, NULL);
    for (unsigned i = 0; i < host->count; i++) {
        backend_free(host->backend[i]);
    }
    close(host->wake_fd);
    pthread_mutex_destroy(&host->lock);
    free(host);
}

bool char_host_open(CharHost *host, const char *option, const char *spec, CharPort *port, Err *err)
{
    memset(port, 0, sizeof(*port));
    if (!spec || strcmp(spec, "none") == 0) {
        return true;
    }
    if (host->count == CHAR_MAX) {
        return err_set(err, "-%s: no more than %d ports can lead out of the machine", option,
                       CHAR_MAX);
    }
    CharBackend *b = calloc(1, sizeof(*b));
    uint8_t *out = malloc(CHAR_OUT_ROOM);
    if (!b || !out) {
        free(b);
        free(out);
        return err_set(err, "out of memory");
    }
    b->host = host;
    b->out = out;
    b->read_fd = b->write_fd = b->listen_fd = b->slave = -1;
    memcpy(b->name, "char0", 6);
    b->name[4] = (char)('0' + host->count);
    if (!char_open_kind(b, option, spec, err)) {
        backend_free(b);
        return false;
    }
    b->up = b->write_fd >= 0;
    b->carrier = b->up && !b->telnet;
    b->inputs = b->posted_inputs = USUAL;
    b->settle_by = host_time_ns() + SETTLE_MS * INT64_C(1000000);
    b->events = event_port_open(host->queue, b->name, deliver, b);
    pthread_mutex_lock(&host->lock);
    host->backend[host->count++] = b;
    pthread_mutex_unlock(&host->lock);
    wake(host);
    *port = (CharPort){&port_ops, b};
    return true;
}
