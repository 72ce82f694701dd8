/* Telephone lines over TCP, plain or telnet.
 *
 * A thread makes, takes and carries calls; the machine's thread leaves its wishes and data under a
 * lock. Every call has a number of its own, so that news of an old one, still on its way through
 * the event queue, cannot be taken for the present one's.
 */
#include "machine/host/phone_host.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "machine/core/log.h"
#include "machine/host/host_bell.h"
#include "machine/host/host_thread.h"
#include "machine/host/socket.h"
#include "machine/host/telnet.h"

LOG_TAG("phone");

enum {
    OUT_ROOM = 8192, /* half of it is what the modem may fill before the guest is told to wait */
    IN_ROOM = 2048,
    NUMBER_ROOM = 160,
    BOOK_MOST = 1000,
};

enum { NEWS_RINGING, NEWS_CONNECTED, NEWS_ENDED, NEWS_DATA, NEWS_DRAINED };

typedef struct News {
    uint32_t call;
    uint8_t kind, why;
    uint8_t data[IN_ROOM];
} News;

typedef struct Entry {
    char number[64], place[NUMBER_ROOM];
    TelnetMode telnet;
} Entry;

typedef enum Wish { WISH_NONE, WISH_DIAL, WISH_ANSWER, WISH_HANG_UP } Wish;

struct PhoneHost {
    EventPort *events;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    int wake_fd, listen_fd;
    SocketSpec listen;
    TelnetMode mode; /* of calls for which the book says nothing else */
    Entry *book;
    unsigned entries;

    /* machine's thread */
    PhoneSink sink;
    bool attached;
    uint32_t heard; /* the call whose news count */
    uint8_t in[IN_ROOM];
    size_t in_at, in_count;
    bool holding; /* `in` has what came last: the next input may come when it is empty */
    bool pumping;

    /* under lock */
    bool quit;
    Wish wish;
    char number[NUMBER_ROOM];
    uint32_t call; /* of the latest wish to dial, or caller */
    uint8_t out[OUT_ROOM];
    size_t out_at, out_count;
    bool full;      /* the modem waits for room */
    bool in_flight; /* input is on its way: read no more */

    /* the thread's */
    int fd; /* of the call; -1: none */
    uint32_t fd_call;
    bool ringing, connecting;
    TelnetMode call_mode;
    Telnet telnet; /* between the call and its socket */
};

static void wake(PhoneHost *p)
{
    bell_ring(p->wake_fd);
}

/* --- the thread --- */

static void tell(PhoneHost *p, uint8_t kind, uint8_t why, const uint8_t *data, size_t size)
{
    News news = {.call = p->fd_call, .kind = kind, .why = why};
    if (size) {
        memcpy(news.data, data, size);
    }
    event_post(p->events, &news, offsetof(News, data) + size);
}

static void drop(PhoneHost *p)
{
    if (p->fd >= 0) {
        close(p->fd);
    }
    p->fd = -1;
    p->ringing = p->connecting = false;
    telnet_start(&p->telnet, TELNET_OFF, TELNET_CALLER);
    pthread_mutex_lock(&p->lock);
    p->out_count = 0;
    p->in_flight = false;
    pthread_mutex_unlock(&p->lock);
}

static void end(PhoneHost *p, PhoneEnd why)
{
    drop(p);
    tell(p, NEWS_ENDED, (uint8_t)why, NULL, 0);
}

static const char *look_up(const PhoneHost *p, const char *number, TelnetMode *mode)
{
    *mode = p->mode;
    for (unsigned i = 0; i < p->entries; i++) {
        if (strcasecmp(p->book[i].number, number) == 0) {
            *mode = p->book[i].telnet;
            return p->book[i].place;
        }
    }
    return number;
}

/* "HOST:PORT", "[ADDRESS]:PORT", or a host alone, whose port is telnet's. */
static int open_call(const char *place)
{
    char host[NUMBER_ROOM];
    const char *port = strrchr(place, ':');
    size_t length = port ? (size_t)(port - place) : strlen(place);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (length >= 2 && place[0] == '[' && place[length - 1] == ']') {
        place++;
        length -= 2;
    }
    memcpy(host, place, length);
    host[length] = '\0';
    if (getaddrinfo(host, port ? port + 1 : "23", &hints, &found) != 0) {
        return -1;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static void dial(PhoneHost *p, const char *number, uint32_t call)
{
    drop(p);
    p->fd_call = call;
    p->fd = open_call(look_up(p, number, &p->call_mode));
    p->connecting = p->fd >= 0;
    if (p->fd < 0) {
        log_info("'%s' cannot be reached", number);
        end(p, PHONE_NO_ANSWER);
    }
}

static void answer(PhoneHost *p)
{
    if (!p->ringing) {
        end(p, PHONE_HUNG_UP);
        return;
    }
    p->ringing = false;
    telnet_start(&p->telnet, p->mode, TELNET_CALLED);
    pthread_mutex_lock(&p->lock);
    p->out_count = 0; /* of the call before */
    pthread_mutex_unlock(&p->lock);
    tell(p, NEWS_CONNECTED, 0, NULL, 0);
}

static void serve_wish(PhoneHost *p)
{
    char number[NUMBER_ROOM];
    pthread_mutex_lock(&p->lock);
    Wish wish = p->wish;
    uint32_t call = p->call;
    memcpy(number, p->number, sizeof(number));
    p->wish = WISH_NONE;
    pthread_mutex_unlock(&p->lock);
    if (wish == WISH_DIAL) {
        dial(p, number, call);
    } else if (wish == WISH_ANSWER) {
        answer(p);
    } else if (wish == WISH_HANG_UP) {
        drop(p);
    }
}

static void take_caller(PhoneHost *p)
{
    int fd = socket_accept(p->listen_fd);
    if (fd < 0) {
        return;
    }
    if (p->fd >= 0) { /* engaged */
        close(fd);
        return;
    }
    p->fd = fd;
    p->ringing = true;
    pthread_mutex_lock(&p->lock);
    p->fd_call = ++p->call;
    pthread_mutex_unlock(&p->lock);
    tell(p, NEWS_RINGING, 0, NULL, 0);
}

static void finish_connecting(PhoneHost *p)
{
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    p->connecting = false;
    if (error) {
        end(p, error == ECONNREFUSED ? PHONE_BUSY : PHONE_NO_ANSWER);
    } else {
        telnet_start(&p->telnet, p->call_mode, TELNET_CALLER);
        tell(p, NEWS_CONNECTED, 0, NULL, 0);
    }
}

static void tell_data(PhoneHost *p, const uint8_t *data, size_t size)
{
    if (size == 0) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->in_flight = true;
    pthread_mutex_unlock(&p->lock);
    tell(p, NEWS_DATA, 0, data, size);
}

static void take_data(PhoneHost *p)
{
    uint8_t wire[IN_ROOM - TELNET_HELD], data[IN_ROOM];
    ssize_t n = read(p->fd, wire, sizeof(wire));
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        tell_data(p, data, telnet_finish(&p->telnet, data));
        end(p, PHONE_HUNG_UP);
        return;
    }
    tell_data(p, data, telnet_decode(&p->telnet, wire, (size_t)n, data));
}

static void give_data(PhoneHost *p)
{
    uint8_t data[OUT_ROOM];
    size_t room = telnet_room(&p->telnet), waiting;
    pthread_mutex_lock(&p->lock);
    size_t n = p->out_count < room ? p->out_count : room;
    for (size_t i = 0; i < n; i++) {
        data[i] = p->out[(p->out_at + i) % OUT_ROOM];
    }
    p->out_at = (p->out_at + n) % OUT_ROOM;
    p->out_count -= n;
    pthread_mutex_unlock(&p->lock);
    telnet_encode(&p->telnet, data, n);
    const uint8_t *wire = telnet_waiting(&p->telnet, &waiting);
    ssize_t done = wire ? send(p->fd, wire, waiting, MSG_NOSIGNAL) : 0;
    if (done < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            end(p, PHONE_HUNG_UP);
        }
        return;
    }
    telnet_sent(&p->telnet, (size_t)done);
    pthread_mutex_lock(&p->lock);
    bool drained = p->full && p->out_count <= OUT_ROOM / 4;
    p->full = p->full && !drained;
    pthread_mutex_unlock(&p->lock);
    if (drained) {
        tell(p, NEWS_DRAINED, 0, NULL, 0);
    }
}

static void serve(PhoneHost *p, short caller, short call)
{
    if (call && p->fd >= 0) {
        if (p->connecting) {
            finish_connecting(p);
        } else if (p->ringing) {
            end(p, PHONE_HUNG_UP); /* the caller gave up */
        } else {
            if (call & POLLOUT) {
                give_data(p);
            }
            if (p->fd >= 0 && call & (POLLIN | POLLHUP | POLLERR)) {
                take_data(p);
            }
        }
    }
    if (caller) {
        take_caller(p);
    }
}

static void *run(void *self)
{
    PhoneHost *p = self;
    for (;;) {
        struct pollfd polls[3] = {{.fd = p->wake_fd, .events = POLLIN},
                                  {.fd = p->listen_fd, .events = POLLIN},
                                  {.fd = p->fd}};
        pthread_mutex_lock(&p->lock);
        bool quit = p->quit;
        bool output = p->out_count > 0 || p->telnet.count > 0, input = !p->in_flight;
        pthread_mutex_unlock(&p->lock);
        if (quit) {
            return NULL;
        }
        if (p->connecting) {
            polls[2].events = POLLOUT;
        } else if (p->ringing) {
            polls[2].events = POLLRDHUP;
        } else {
            polls[2].events = (short)((output ? POLLOUT : 0) | (input ? POLLIN : 0));
            /* hang-ups are reported unasked; while input waits they must wait too */
            polls[2].fd = polls[2].events ? p->fd : -1;
        }
        if (poll(polls, 3, -1) < 0) {
            continue;
        }
        if (polls[0].revents) {
            bell_hush(p->wake_fd);
            serve_wish(p);
            continue; /* what was polled may be gone */
        }
        serve(p, polls[1].revents, polls[2].revents);
    }
}

/* --- machine's thread --- */

static void pump(PhoneHost *p)
{
    if (p->pumping) {
        return;
    }
    p->pumping = true;
    while (p->in_count) {
        size_t room = p->sink.room(p->sink.self), n = room < p->in_count ? room : p->in_count;
        if (n == 0) {
            break;
        }
        const uint8_t *from = p->in + p->in_at;
        p->in_at += n;
        p->in_count -= n;
        p->sink.receive(p->sink.self, from, n);
    }
    p->pumping = false;
    if (p->holding && p->in_count == 0) {
        p->holding = false;
        pthread_mutex_lock(&p->lock);
        p->in_flight = false;
        pthread_mutex_unlock(&p->lock);
        wake(p);
    }
}

/* The call is over: the thread, which ends it too, waits for nobody then. */
static void forget_input(PhoneHost *p)
{
    p->in_count = 0;
    p->holding = false;
}

static void deliver(void *self, const void *data, size_t size)
{
    PhoneHost *p = self;
    News news;
    if (size < offsetof(News, data) || size > sizeof(news) || !p->attached) {
        return;
    }
    memcpy(&news, data, size);
    if (news.kind == NEWS_RINGING) {
        p->heard = news.call;
        forget_input(p);
        p->sink.ringing(p->sink.self);
        return;
    }
    if (news.call != p->heard) {
        return;
    }
    if (news.kind == NEWS_CONNECTED) {
        p->sink.connected(p->sink.self);
    } else if (news.kind == NEWS_DATA) {
        p->in_at = 0;
        p->in_count = size - offsetof(News, data);
        p->holding = true;
        memcpy(p->in, news.data, p->in_count);
        pump(p);
    } else if (news.kind == NEWS_DRAINED) {
        p->sink.drained(p->sink.self);
    } else if (news.kind == NEWS_ENDED) {
        p->heard = 0;
        /* what he said before he hung up is heard still, as far as there is room */
        pump(p);
        forget_input(p);
        p->sink.ended(p->sink.self, news.why < PHONE_ENDS ? (PhoneEnd)news.why : PHONE_HUNG_UP);
    }
}

static void line_attach(void *line, const PhoneSink *sink)
{
    PhoneHost *p = line;
    p->sink = *sink;
    p->attached = true;
}

static void want(PhoneHost *p, Wish wish, const char *number)
{
    pthread_mutex_lock(&p->lock);
    p->wish = wish;
    if (number) {
        snprintf(p->number, sizeof(p->number), "%s", number);
        p->heard = ++p->call;
    }
    p->full = false; /* what waits to be sent is the thread's to drop: it may be sending */
    pthread_mutex_unlock(&p->lock);
    if (wish != WISH_ANSWER) {
        forget_input(p);
    }
    wake(p);
}

static void line_dial(void *line, const char *number)
{
    want(line, WISH_DIAL, number);
}

static void line_answer(void *line)
{
    want(line, WISH_ANSWER, NULL);
}

static void line_hang_up(void *line)
{
    PhoneHost *p = line;
    p->heard = 0;
    want(p, WISH_HANG_UP, NULL);
}

static size_t line_room(void *line)
{
    PhoneHost *p = line;
    pthread_mutex_lock(&p->lock);
    size_t room = p->out_count < OUT_ROOM / 2 ? OUT_ROOM / 2 - p->out_count : 0;
    p->full |= room < OUT_ROOM / 4;
    pthread_mutex_unlock(&p->lock);
    return room;
}

static void line_write(void *line, const uint8_t *data, size_t size)
{
    PhoneHost *p = line;
    pthread_mutex_lock(&p->lock);
    bool begin = p->out_count == 0;
    for (size_t i = 0; i < size && p->out_count < OUT_ROOM; i++) {
        p->out[(p->out_at + p->out_count++) % OUT_ROOM] = data[i];
    }
    pthread_mutex_unlock(&p->lock);
    if (begin) {
        wake(p);
    }
}

static void line_ready(void *line)
{
    pump(line);
}

static const PhoneOps line_ops = {
    .attach = line_attach,
    .dial = line_dial,
    .answer = line_answer,
    .hang_up = line_hang_up,
    .room = line_room,
    .write = line_write,
    .ready = line_ready,
};

PhonePort phone_host_port(PhoneHost *p)
{
    return (PhonePort){&line_ops, p};
}

/* --- making and freeing --- */

static bool read_book(PhoneHost *p, const char *path, Err *err)
{
    FILE *file = fopen(path, "re");
    char line[256], extra[16];
    bool ok = true;
    if (!file) {
        return err_set(err, "-serial modem: book '%s': %s", path, strerror(errno));
    }
    p->book = calloc(BOOK_MOST, sizeof(*p->book));
    while (ok && p->book && p->entries < BOOK_MOST && fgets(line, sizeof(line), file)) {
        Entry *e = &p->book[p->entries];
        int words =
            line[0] == '#' ? 0 : sscanf(line, "%63s %159s %15s", e->number, e->place, extra);
        e->telnet = p->mode;
        if (words == 3 && strncmp(extra, "telnet=", 7) == 0 &&
            !telnet_mode(extra + 7, &e->telnet)) {
            ok = err_set(err, "-serial modem: book '%s': %s: '%s' is not telnet=on, off or auto",
                         path, e->number, extra);
        }
        p->entries += words >= 2;
    }
    fclose(file);
    return ok;
}

static bool take_settings(PhoneHost *p, const char *spec, Err *err)
{
    char book[300];
    bool has_book = false; /* read when telnet= is known */
    while (*spec) {
        char part[300], address[300];
        size_t length = strcspn(spec, ",");
        snprintf(part, sizeof(part), "%.*s", (int)length, spec);
        spec += length + (spec[length] == ',');
        if (strncmp(part, "listen=", 7) == 0) {
            snprintf(address, sizeof(address), "tcp:%.280s,server,nowait", part + 7);
            if (!socket_parse("serial", address, &p->listen, err) ||
                (p->listen_fd = socket_open("serial", &p->listen, err)) < 0) {
                return false;
            }
        } else if (strncmp(part, "book=", 5) == 0) {
            memcpy(book, part + 5, strlen(part + 5) + 1);
            has_book = true;
        } else if (strncmp(part, "telnet=", 7) == 0) {
            if (!telnet_mode(part + 7, &p->mode)) {
                return err_set(err, "-serial modem: '%s' is not telnet=on, off or auto", part);
            }
        } else {
            return err_set(err,
                           "-serial modem: '%s' is unknown; it takes listen=HOST:PORT, book=FILE "
                           "and telnet=on|off|auto",
                           part);
        }
    }
    return !has_book || read_book(p, book, err);
}

PhoneHost *phone_host_new(EventQueue *events, const char *name, const char *spec, Err *err)
{
    PhoneHost *p = calloc(1, sizeof(*p));
    if (!p) {
        err_set(err, "out of memory");
        return NULL;
    }
    p->fd = p->listen_fd = -1;
    p->mode = TELNET_AUTO;
    pthread_mutex_init(&p->lock, NULL);
    p->wake_fd = bell_open();
    p->events = event_port_open(events, name, deliver, p);
    if (p->wake_fd < 0) {
        err_set(err, "-serial modem: %s", strerror(errno));
    }
    if (p->wake_fd < 0 || !take_settings(p, spec, err)) {
        phone_host_free(p);
        return NULL;
    }
    p->started = host_thread_start(&p->thread, run, p) == 0;
    if (!p->started) {
        err_set(err, "-serial modem: no thread for the telephone line");
        phone_host_free(p);
        return NULL;
    }
    return p;
}

void phone_host_free(PhoneHost *p)
{
    if (!p) {
        return;
    }
    if (p->started) {
        pthread_mutex_lock(&p->lock);
        p->quit = true;
        pthread_mutex_unlock(&p->lock);
        wake(p);
        pthread_join(p->thread, NULL);
    }
    event_port_close(p->events);
    int fds[3] = {p->fd, p->listen_fd, p->wake_fd};
    for (unsigned i = 0; i < 3; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    pthread_mutex_destroy(&p->lock);
    free(p->book);
    free(p);
}
