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

enum { WRITE_CHUNK = 4096, TERMINAL_CHUNK = 256, FLUSH_MS = 1000, HURRY_MS = 500, LOOK_MS = 20 };

static void wake(CharHost *host)
{
    bell_ring(host->wake_fd);
}

/* ---- machine's thread ---- */

/* What the guest sees: the far end's lines, while there is one, and CTS low when output waits.
 * fresh: that there is one is the news. */
static void drive(CharBackend *b, unsigned inputs, bool fresh)
{
    pthread_mutex_lock(&b->host->lock);
    bool held = b->held;
    pthread_mutex_unlock(&b->host->lock);
    if (!b->shown || !b->attached) {
        return;
    }
    if (b->sink.connected && (!b->sink.lines || (fresh && inputs == CHAR_USUAL && !held))) {
        b->sink.connected(b->sink.self, true);
    } else if (b->sink.lines) {
        b->sink.lines(b->sink.self, inputs & ~(held ? (unsigned)CHAR_CTS : 0));
    }
}

/* Lines of the mask; flicker: those that were otherwise for a moment. */
static void change_inputs(CharBackend *b, uint8_t mask, uint8_t inputs, uint8_t flicker)
{
    uint8_t now = (uint8_t)((b->inputs & ~mask) | (inputs & mask));
    flicker &= mask;
    if (flicker) {
        drive(b, now ^ flicker, false);
    }
    if (flicker || now != b->inputs) {
        b->inputs = now;
        drive(b, now, false);
    }
}

static void show_end(CharBackend *b)
{
    b->shown = false;
    if (b->attached && b->sink.connected) {
        b->sink.connected(b->sink.self, false);
    }
}

static void say_waits(CharBackend *b, bool waits)
{
    b->has_due = waits;
    pthread_mutex_lock(&b->host->lock);
    b->waits = waits;
    pthread_mutex_unlock(&b->host->lock);
    wake(b->host);
}

static void apply_due(CharBackend *b)
{
    CharMark due = b->due;
    b->due = (CharMark){0};
    say_waits(b, false);
    if (due.broke && b->attached && b->sink.brk) {
        b->sink.brk(b->sink.self);
    }
    if (due.down) {
        show_end(b);
    } else {
        change_inputs(b, (uint8_t)~CHAR_CTS, due.inputs, due.flicker);
    }
}

static bool is_quiet(const CharBackend *b)
{
    return !b->attached || !b->sink.quiet || b->sink.quiet(b->sink.self);
}

/* The guest takes bytes. */
static void note_progress(CharBackend *b)
{
    if (b->hurries) {
        b->hurries = 0;
        pthread_mutex_lock(&b->host->lock);
        b->stuck = false;
        pthread_mutex_unlock(&b->host->lock);
    }
}

static void give_bytes(CharBackend *b)
{
    while (b->in_count) {
        size_t room = b->sink.room ? b->sink.room(b->sink.self) : b->in_count;
        size_t n = room < b->in_count ? room : b->in_count;
        if (n == 0) {
            break;
        }
        const uint8_t *from = b->in + b->in_at;
        b->in_at += n;
        b->in_count -= n;
        note_progress(b);
        b->sink.receive(b->sink.self, from, n);
    }
}

/* In their order: lines that are due, when the line is quiet; the bytes; and that the far end has
 * gone, when it is quiet again. */
static void pump(CharBackend *b)
{
    bool paced = b->in_count && b->paced && !(b->guest.lines & COM_RTS); /* this thread writes it */
    if (!b->attached || b->pumping || paced) {
        return;
    }
    b->pumping = true;
    if (b->has_due && !b->due.down && is_quiet(b)) {
        apply_due(b);
    }
    if (!b->has_due || b->due.down) {
        give_bytes(b);
    }
    if (b->has_due && b->due.down && !b->in_count && is_quiet(b)) {
        apply_due(b);
    }
    b->pumping = false;
    if (b->holding && b->in_count == 0 && !b->has_due) {
        b->holding = false;
        pthread_mutex_lock(&b->host->lock);
        b->in_flight = false;
        pthread_mutex_unlock(&b->host->lock);
        wake(b->host);
    }
}

static void take_message(CharBackend *b, const CharMessage *m, size_t size)
{
    if (m->marked) {
        b->due = (CharMark){.broke = m->broke, .inputs = m->inputs, .flicker = m->flicker};
        say_waits(b, true);
    }
    memcpy(b->in, m->data, size);
    b->in_at = 0;
    b->in_count = size;
    b->holding = true;
    pump(b);
}

static void take_prompt(CharBackend *b)
{
    pthread_mutex_lock(&b->host->lock);
    uint8_t mask = b->prompt.mask, inputs = b->prompt.inputs, flicker = b->prompt.flicker;
    bool broke = b->prompt.broke;
    b->paced = b->prompt.paced;
    b->prompt.posted = b->prompt.broke = false;
    b->prompt.mask = b->prompt.flicker = 0;
    pthread_mutex_unlock(&b->host->lock);
    if (broke && b->attached && b->sink.brk) {
        b->sink.brk(b->sink.self);
    }
    change_inputs(b, mask, inputs, flicker);
    pump(b);
}

/* Twice, as the machine may have stood still and not the guest. */
static void hurry(CharBackend *b)
{
    b->hurries++;
    pthread_mutex_lock(&b->host->lock);
    b->hurrying = false;
    b->stuck = b->hurries > 1;
    pthread_mutex_unlock(&b->host->lock);
    if (b->hurries > 1 && b->has_due) {
        apply_due(b);
        pump(b);
    }
    wake(b->host);
}

static void deliver(void *self, const void *data, size_t size)
{
    CharBackend *b = self;
    CharMessage m;
    if (size < offsetof(CharMessage, data) || size > sizeof(m)) {
        return;
    }
    memcpy(&m, data, size);
    switch (m.kind) {
    case MESSAGE_INPUT:
        take_message(b, &m, size - offsetof(CharMessage, data));
        break;
    case MESSAGE_UP:
        if (b->has_due) {
            apply_due(b);
        }
        b->shown = true;
        b->inputs = m.inputs;
        drive(b, b->inputs, true);
        break;
    case MESSAGE_DOWN:
        if (b->has_due) {
            apply_due(b);
        }
        b->due = (CharMark){.down = true};
        say_waits(b, true);
        pump(b);
        break;
    case MESSAGE_ROOM:
        drive(b, b->inputs, false);
        break;
    case MESSAGE_NOW:
        take_prompt(b);
        break;
    default:
        hurry(b);
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
    CharBackend *b = backend;
    note_progress(b);
    pump(b);
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

void char_post(CharBackend *b, const CharMessage *m, size_t size)
{
    bool input = m->kind == MESSAGE_INPUT;
    if (input) {
        pthread_mutex_lock(&b->host->lock);
        b->in_flight = true;
        pthread_mutex_unlock(&b->host->lock);
    }
    if (!event_post(b->events, m, offsetof(CharMessage, data) + size) && input) {
        pthread_mutex_lock(&b->host->lock);
        b->in_flight = false;
        pthread_mutex_unlock(&b->host->lock);
        log_warn("%s: %zu bytes of input are lost: the machine does not take them", b->name, size);
    }
}

static void post(CharBackend *b, uint8_t kind)
{
    char_post(b, &(CharMessage){.kind = kind}, 0);
}

void char_tell_now(CharBackend *b, uint8_t mask, uint8_t inputs, uint8_t flicker)
{
    pthread_mutex_lock(&b->host->lock);
    bool first = !b->prompt.posted;
    flicker |= b->prompt.mask & (b->prompt.inputs ^ inputs); /* it was not seen before it changed */
    b->prompt.posted = true;
    b->prompt.mask |= mask;
    b->prompt.inputs = (uint8_t)((b->prompt.inputs & ~mask) | (inputs & mask));
    b->prompt.flicker |= flicker & mask;
    pthread_mutex_unlock(&b->host->lock);
    if (first) {
        post(b, MESSAGE_NOW);
    }
}

void char_raise_carrier(CharBackend *b, uint8_t inputs)
{
    b->carrier = true;
    char_post(b, &(CharMessage){.kind = MESSAGE_UP, .inputs = inputs}, 0);
}

void char_drop_carrier(CharBackend *b)
{
    b->carrier = false;
    post(b, MESSAGE_DOWN);
}

static void set_up(CharBackend *b, bool up)
{
    pthread_mutex_lock(&b->host->lock);
    b->up = up;
    b->out_count = b->guest.ahead = 0;
    b->held = false;
    if (up) {
        char_telnet_start(b, true);
    }
    pthread_mutex_unlock(&b->host->lock);
    if (b->telnet) {
        if (!up) {
            char_telnet_end(b);
        }
    } else if (up) {
        char_raise_carrier(b, CHAR_USUAL);
    } else {
        char_drop_carrier(b);
    }
}

/* The other end has gone: a server waits for the next client, one with reconnect= calls again,
 * others stay silent. */
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

void char_tell_of_room(CharBackend *b)
{
    pthread_mutex_lock(&b->host->lock);
    bool room = b->held && b->out_count < CHAR_OUT_LOW;
    b->held = b->held && !room;
    pthread_mutex_unlock(&b->host->lock);
    if (room) {
        post(b, MESSAGE_ROOM);
    }
}

static void take_input(CharBackend *b)
{
    CharMessage m = {.kind = MESSAGE_INPUT};
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
    if (b->telnet) {
        char_telnet_take(b, data, size);
    } else if (size) {
        char_post(b, &m, size);
    }
}

/* From the ring, where the machine may drop the oldest meanwhile. */
size_t char_take_output(CharBackend *b, uint8_t *data, size_t most)
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

/* The far end takes nothing more; what it said before may be there still. */
static void stop_output(CharBackend *b)
{
    if (b->read_fd < 0) {
        hang_up(b);
        return;
    }
    b->write_fd = -1;
    pthread_mutex_lock(&b->host->lock);
    b->up = false;
    b->out_count = b->guest.ahead = 0;
    pthread_mutex_unlock(&b->host->lock);
    char_tell_of_room(b);
}

/* Returns how many bytes were written, 0 when none can be now; -1: the other end has gone. */
ssize_t char_write_out(CharBackend *b, const uint8_t *data, size_t size)
{
    ssize_t done = write(b->write_fd, data, size);
    if (done >= 0 || errno == EAGAIN || errno == EINTR) {
        return done > 0 ? done : 0;
    }
    if (errno != EPIPE && errno != ECONNRESET) {
        log_warn("%s: output stops: %s", b->name, strerror(errno));
    }
    stop_output(b);
    return -1;
}

static void give_output(CharBackend *b)
{
    uint8_t data[WRITE_CHUNK];
    if (b->telnet) {
        char_telnet_give(b);
        return;
    }
    size_t n = char_take_output(b, data, b->terminal ? TERMINAL_CHUNK : WRITE_CHUNK);
    ssize_t done = char_write_out(b, data, n);
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
    char_tell_of_room(b);
}

static void take_client(CharBackend *b)
{
    int fd = b->call.fd >= 0 ? char_call_end(b) : socket_accept(b->listen_fd);
    if (fd >= 0) {
        b->read_fd = b->write_fd = fd;
        set_up(b, true);
    }
}

/* Adds what b waits for to the poll set. Returns whether output waits. */
static bool add_polls(CharBackend *b, struct pollfd *read_at, struct pollfd *write_at,
                      struct pollfd *listen_at)
{
    bool flowing = b->telnet ? char_telnet_has_room(b) : !b->in_flight;
    bool waits = b->telnet ? char_telnet_writes(b) : b->out_count > 0;
    bool output = waits && b->write_fd >= 0, closing = b->telnet && b->telnet->closing;
    b->gone = b->gone && !flowing;
    bool look = flowing || (b->is_socket && !b->gone);
    *read_at =
        (struct pollfd){.fd = look ? b->read_fd : -1, .events = flowing ? POLLIN : POLLRDHUP};
    *write_at = (struct pollfd){.fd = output ? b->write_fd : -1, .events = POLLOUT};
    bool calls = b->call.fd >= 0;
    int door = calls ? b->call.fd : b->listen_fd;
    *listen_at = (struct pollfd){.fd = b->read_fd < 0 && !closing ? door : -1,
                                 .events = calls ? POLLOUT : POLLIN};
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
        if (polls[0].events & POLLIN) {
            take_input(b);
        } else {
            b->gone = true;
        }
    }
}

/* A port's driver says nothing of its lines by itself. */
static int64_t look_at_host_port(CharBackend *b)
{
    CharTty *tty = &b->host_port;
    int64_t now = host_time_ns();
    if (!tty->lines || b->read_fd < 0) {
        return INT64_MAX;
    }
    if (now >= tty->look_at) {
        uint8_t was = tty->inputs;
        CharTtyNews news = char_tty_look(b);
        if (news.broke) {
            pthread_mutex_lock(&b->host->lock);
            b->prompt.broke = true;
            pthread_mutex_unlock(&b->host->lock);
        }
        if (news.broke || news.flicker || news.inputs != was) {
            char_tell_now(b, 0xff, news.inputs, news.flicker);
        }
        tty->look_at = now + LOOK_MS * INT64_C(1000000);
    }
    return tty->look_at;
}

/* Ahead of a poll. Returns until when at the latest it wants to be seen to again. */
static int64_t tend(CharBackend *b)
{
    int64_t next = b->telnet ? char_telnet_tend(b) : look_at_host_port(b), now = host_time_ns();
    int64_t call_at = char_call_tend(b);
    next = call_at < next ? call_at : next;
    pthread_mutex_lock(&b->host->lock);
    bool stuck = b->stuck;
    bool waits = b->waits || b->gone || (b->telnet && b->telnet->marks && !stuck);
    bool post_it = waits && b->hurry_at && now >= b->hurry_at && !b->hurrying;
    b->hurrying |= post_it;
    pthread_mutex_unlock(&b->host->lock);
    if (post_it) {
        post(b, MESSAGE_HURRY);
    }
    if (b->gone && stuck) { /* nobody will read the rest */
        b->gone = false;
        hang_up(b);
    }
    if (!waits) {
        b->hurry_at = 0;
    } else if (!b->hurry_at || now >= b->hurry_at) {
        b->hurry_at = now + HURRY_MS * INT64_C(1000000);
    }
    return waits && b->hurry_at < next ? b->hurry_at : next;
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
    socket_call_close(&b->call);
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
    b->read_fd = b->write_fd = b->listen_fd = b->slave = b->call.fd = -1;
    memcpy(b->name, "char0", 6);
    b->name[4] = (char)('0' + host->count);
    if (!char_open_kind(b, option, spec, err)) {
        backend_free(b);
        return false;
    }
    b->up = b->write_fd >= 0;
    b->carrier = b->shown = b->up && !b->telnet;
    b->inputs = b->host_port.lines ? b->host_port.inputs : CHAR_USUAL;
    b->events = event_port_open(host->queue, b->name, deliver, b);
    pthread_mutex_lock(&host->lock);
    host->backend[host->count++] = b;
    pthread_mutex_unlock(&host->lock);
    wake(host);
    *port = (CharPort){&port_ops, b};
    return true;
}
