/* The thread behind the network cards, and the buffers between it and the machine. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "machine/core/log.h"
#include "machine/host/host_bell.h"
#include "machine/host/host_time.h"
#include "machine/host/net_host_internal.h"

LOG_TAG("net");

enum { LENGTH = 2, PCAP_ETHERNET = 1, NS_PER_MS = 1000000 };

static void wake(NetHost *host)
{
    if (!atomic_exchange(&host->waking, true)) {
        bell_ring(host->wake_fd);
    }
}

/* ---- frames in a buffer, each behind its length ---- */

static bool bytes_put(NetBytes *to, size_t room, const uint8_t *frame, size_t size)
{
    if (to->count + LENGTH + size > room) {
        return false;
    }
    if (to->at + to->count + LENGTH + size > room) {
        memmove(to->data, to->data + to->at, to->count);
        to->at = 0;
    }
    uint8_t *end = to->data + to->at + to->count;
    end[0] = (uint8_t)size;
    end[1] = (uint8_t)(size >> 8);
    memcpy(end + LENGTH, frame, size);
    to->count += LENGTH + size;
    return true;
}

/* The first frame, or NULL. */
static const uint8_t *bytes_first(const NetBytes *from, size_t *size)
{
    const uint8_t *first = from->data + from->at;
    if (from->count < LENGTH) {
        return NULL;
    }
    *size = (size_t)(first[0] | first[1] << 8);
    return *size <= from->count - LENGTH ? first + LENGTH : NULL;
}

static void bytes_drop(NetBytes *from, size_t size)
{
    from->at += LENGTH + size;
    from->count -= LENGTH + size;
    if (from->count == 0) {
        from->at = 0;
    }
}

/* ---- machine's thread ---- */

static void pump(NetBackend *b)
{
    if (b->pumping) {
        return;
    }
    b->pumping = true;
    size_t size, taken = 0;
    for (const uint8_t *frame; (frame = bytes_first(&b->in, &size)) != NULL;) {
        if (b->attached && !b->sink.receive(b->sink.self, frame, size)) {
            break;
        }
        bytes_drop(&b->in, size);
        taken += LENGTH + size;
    }
    b->pumping = false;
    if (taken) {
        pthread_mutex_lock(&b->host->lock);
        b->in_flight -= taken;
        bool waited = b->throttled && b->in_flight <= NET_IN_ROOM / 2;
        b->throttled = b->throttled && !waited;
        pthread_mutex_unlock(&b->host->lock);
        if (waited) {
            wake(b->host);
        }
    }
}

static void deliver(void *self, const void *data, size_t size)
{
    NetBackend *b = self;
    NetBytes batch = {.data = (uint8_t *)(uintptr_t)data, .count = size};
    size_t length;
    for (const uint8_t *frame; (frame = bytes_first(&batch, &length)) != NULL;) {
        if (!bytes_put(&b->in, NET_IN_ROOM, frame, length)) {
            break; /* cannot be: in_flight counts them */
        }
        bytes_drop(&batch, length);
    }
    pump(b);
}

/* ---- who holds host->work ---- */

static void put_le(FILE *file, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        putc((int)(value >> 8 * i & 0xff), file);
    }
}

static void dump(NetBackend *b, const uint8_t *frame, size_t size)
{
    if (!b->dump) {
        return;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    size_t kept = size < b->dump_longest ? size : b->dump_longest;
    put_le(b->dump, (uint32_t)now.tv_sec, 4);
    put_le(b->dump, (uint32_t)(now.tv_nsec / 1000), 4);
    put_le(b->dump, (uint32_t)kept, 4);
    put_le(b->dump, (uint32_t)size, 4);
    fwrite(frame, 1, kept, b->dump);
    if (ferror(b->dump)) {
        log_warn("%s: the dump cannot be written; it ends here", b->id);
        fclose(b->dump);
        b->dump = NULL;
    }
}

void net_in(NetBackend *b, const uint8_t *frame, size_t size)
{
    uint8_t padded[NET_SHORTEST];
    if (size < 14 || size > NET_MAX_FRAME) {
        return;
    }
    dump(b, frame, size);
    if (size < NET_SHORTEST) { /* host stacks leave that to their adapter */
        memset(padded, 0, sizeof(padded));
        memcpy(padded, frame, size);
        frame = padded;
        size = NET_SHORTEST;
    }
    bool dropped = b->stuck && b->backlog.count >= NET_BATCH;
    if (!dropped && !bytes_put(&b->backlog, NET_BACKLOG, frame, size) && !b->backlog_full) {
        b->backlog_full = true;
        log_info("%s: frames come faster than the machine takes them; some are lost", b->id);
    }
}

bool net_in_room(const NetBackend *b)
{
    return b->backlog.count < NET_BATCH || b->stuck;
}

/* A machine that takes nothing, as a paused one, must not hold up those at the other end of the
 * cable: after a while what comes is thrown away, as by a switch whose port is blocked. */
static void watch_stuck(NetBackend *b, uint32_t *timeout_ms)
{
    int64_t now = host_time_ns() / NS_PER_MS;
    pthread_mutex_lock(&b->host->lock);
    bool throttled = b->throttled;
    pthread_mutex_unlock(&b->host->lock);
    if (!throttled) {
        b->throttled_ms = 0;
        b->stuck = false;
        return;
    }
    b->throttled_ms = b->throttled_ms ? b->throttled_ms : now;
    int64_t left = b->throttled_ms + NET_STUCK_MS - now;
    b->stuck = left <= 0;
    if (!b->stuck && left < *timeout_ms) {
        *timeout_ms = (uint32_t)left;
    }
}

/* Posts what the card has room for. */
static void post_backlog(NetBackend *b)
{
    for (;;) {
        NetBytes rest = b->backlog;
        size_t size;
        while (bytes_first(&rest, &size) &&
               b->backlog.count - rest.count + LENGTH + size <= NET_BATCH) {
            bytes_drop(&rest, size);
        }
        size_t batch = b->backlog.count - rest.count;
        pthread_mutex_lock(&b->host->lock);
        bool go = batch && b->in_flight + batch <= NET_IN_ROOM;
        b->in_flight += go ? batch : 0;
        b->throttled = batch && !go;
        pthread_mutex_unlock(&b->host->lock);
        if (!go) {
            return;
        }
        if (!event_post(b->events, b->backlog.data + b->backlog.at, batch)) {
            pthread_mutex_lock(&b->host->lock);
            b->in_flight -= batch;
            pthread_mutex_unlock(&b->host->lock);
        }
        b->backlog.at += batch;
        b->backlog.count -= batch;
    }
}

static void send_waiting(NetBackend *b)
{
    pthread_mutex_lock(&b->host->lock);
    NetBytes waiting = b->out;
    b->out = b->sending;
    b->sending = waiting;
    pthread_mutex_unlock(&b->host->lock);
    size_t size;
    for (const uint8_t *frame; (frame = bytes_first(&b->sending, &size)) != NULL;) {
        dump(b, frame, size);
        b->kind->send(b, frame, size, true);
        bytes_drop(&b->sending, size);
    }
}

/* ---- the card's calls, on the machine's thread ---- */

/* Without a change of threads, where nothing stands in the way: what a frame brings about (the
 * user network's acknowledgement, say) is back at once. False: the I/O thread must do it. */
static bool send_now(NetBackend *b, const uint8_t *frame, size_t size)
{
    NetHost *h = b->host;
    if (pthread_mutex_trylock(&h->work) != 0) {
        return false;
    }
    pthread_mutex_lock(&h->lock);
    bool first = b->out.count == 0; /* no frame overtakes another */
    pthread_mutex_unlock(&h->lock);
    NetSent sent = first ? b->kind->send(b, frame, size, false) : NET_LATER;
    if (sent != NET_LATER) {
        dump(b, frame, size);
        post_backlog(b);
        h->sent_now++;
    }
    bool wakes = sent == NET_WATCH && !h->brisk;
    pthread_mutex_unlock(&h->work);
    if (wakes) {
        wake(h);
    }
    return sent != NET_LATER;
}

static void port_send(void *backend, const uint8_t *frame, size_t size)
{
    NetBackend *b = backend;
    if (size < 14 || size > NET_MAX_FRAME) {
        return;
    }
    if (send_now(b, frame, size)) {
        return;
    }
    pthread_mutex_lock(&b->host->lock);
    bool was_empty = b->out.count == 0;
    bool put = bytes_put(&b->out, NET_OUT_ROOM, frame, size);
    bool first_loss = !put && !b->dropped;
    b->dropped |= !put;
    pthread_mutex_unlock(&b->host->lock);
    if (was_empty) {
        wake(b->host);
    }
    if (first_loss) {
        log_info("%s: the machine sends faster than the host takes; frames are lost", b->id);
    }
}

static void port_attach(void *backend, const NetSink *sink)
{
    NetBackend *b = backend;
    b->sink = *sink;
    b->attached = true;
    pump(b);
}

static void port_ready(void *backend)
{
    pump(backend);
}

static const NetOps port_ops = {.send = port_send, .attach = port_attach, .ready = port_ready};

/* ---- the I/O thread's loop ---- */

int net_poll_add(NetBackend *b, int fd, short events)
{
    NetHost *h = b->host;
    if (h->fd_count == NET_FDS) {
        return -1;
    }
    h->fds[h->fd_count] = (struct pollfd){.fd = fd, .events = events};
    return (int)h->fd_count++;
}

short net_poll_result(const NetBackend *b, int index)
{
    return index > 0 && (unsigned)index < b->host->fd_count ? b->host->fds[index].revents : 0;
}

static void one_round(NetHost *h)
{
    uint32_t timeout = NET_IDLE_MS;
    pthread_mutex_lock(&h->work);
    h->fds[0] = (struct pollfd){.fd = h->wake_fd, .events = POLLIN};
    h->fd_count = 1;
    for (unsigned i = 0; i < h->count; i++) {
        watch_stuck(h->backend[i], &timeout);
        h->backend[i]->kind->fill(h->backend[i], &timeout);
    }
    /* While the machine sends by itself, its sockets are looked at every ms without being told. */
    h->brisk = h->sent_now != 0;
    h->sent_now = 0;
    timeout = h->brisk && timeout > NET_BRISK_MS ? NET_BRISK_MS : timeout;
    pthread_mutex_unlock(&h->work);
    if (poll(h->fds, h->fd_count, (int)(timeout < NET_IDLE_MS ? timeout : NET_IDLE_MS)) < 0) {
        for (unsigned i = 0; i < h->fd_count; i++) {
            h->fds[i].revents = 0;
        }
    }
    if (h->fds[0].revents) {
        bell_hush(h->wake_fd);
        atomic_store(&h->waking, false); /* who wakes us before this is heard in this round */
    }
    pthread_mutex_lock(&h->work);
    for (unsigned i = 0; i < h->count; i++) {
        NetBackend *b = h->backend[i];
        b->kind->polled(b);
        send_waiting(b);
        post_backlog(b);
        if (b->dump) {
            fflush(b->dump);
        }
    }
    pthread_mutex_unlock(&h->work);
}

static void *net_thread(void *self)
{
    NetHost *h = self;
    for (bool quit = false; !quit;) {
        one_round(h);
        pthread_mutex_lock(&h->lock);
        quit = h->quit;
        pthread_mutex_unlock(&h->lock);
    }
    return NULL;
}

/* ---- opening and closing ---- */

static NetBackend *find(NetHost *h, const char *id)
{
    for (unsigned i = 0; i < h->count; i++) {
        if (strcmp(h->backend[i]->id, id) == 0) {
            return h->backend[i];
        }
    }
    return NULL;
}

static void backend_free(NetBackend *b)
{
    event_port_close(b->events);
    if (b->dump) {
        fclose(b->dump);
    }
    free(b->in.data);
    free(b->out.data);
    free(b->sending.data);
    free(b->backlog.data);
    free(b);
}

NetBackend *net_backend_new(NetHost *host, const char *id, const char *option, const NetKind *kind,
                            void *state, Err *err)
{
    if (strlen(id) >= NET_MAX_ID || find(host, id)) {
        err_set(err, "%s: the id '%s' is %s; choose another", option, id,
                find(host, id) ? "taken" : "too long");
        return NULL;
    }
    if (host->count == NET_MAX_BACKENDS) {
        err_set(err, "%s: a machine has at most %d networks", option, NET_MAX_BACKENDS);
        return NULL;
    }
    NetBackend *b = calloc(1, sizeof(*b));
    if (b) {
        b->host = host;
        b->kind = kind;
        b->state = state;
        strcpy(b->id, id);
        b->in.data = malloc(NET_IN_ROOM);
        b->out.data = malloc(NET_OUT_ROOM);
        b->sending.data = malloc(NET_OUT_ROOM);
        b->backlog.data = malloc(NET_BACKLOG);
        b->events = event_port_open(host->queue, b->id, deliver, b);
        if (!b->in.data || !b->out.data || !b->sending.data || !b->backlog.data || !b->events) {
            backend_free(b);
            b = NULL;
        }
    }
    if (!b) {
        err_set(err, "%s: out of memory", option);
        return NULL;
    }
    host->backend[host->count++] = b;
    return b;
}

bool net_host_dump(NetHost *host, const char *id, const char *option, const char *file,
                   uint32_t longest, Err *err)
{
    NetBackend *b = find(host, id);
    if (!b) {
        return err_set(err, "%s: there is no -netdev with id '%s'", option, id);
    }
    if (b->dump) {
        return err_set(err, "%s: network '%s' has a dump already", option, id);
    }
    b->dump = fopen(file, "wb");
    if (!b->dump) {
        return err_set(err, "%s: cannot write '%s': %s", option, file, strerror(errno));
    }
    b->dump_longest = longest;
    put_le(b->dump, 0xa1b2c3d4, 4); /* microseconds, this byte order */
    put_le(b->dump, 2, 2);
    put_le(b->dump, 4, 2);
    put_le(b->dump, 0, 4);
    put_le(b->dump, 0, 4);
    put_le(b->dump, longest, 4);
    put_le(b->dump, PCAP_ETHERNET, 4);
    fflush(b->dump);
    return true;
}

bool net_host_port(NetHost *host, const char *id, const char *option, NetPort *port, Err *err)
{
    NetBackend *b = find(host, id);
    if (!b) {
        return err_set(err, "%s: there is no -netdev with id '%s'", option, id);
    }
    if (b->taken) {
        return err_set(err, "%s: network '%s' has a card already; give each its own -netdev",
                       option, id);
    }
    b->taken = true;
    *port = (NetPort){&port_ops, b};
    return true;
}

static bool unix_address(const char *option, const char *path, struct sockaddr_storage *address,
                         socklen_t *length, Err *err)
{
    struct sockaddr_un *local = (struct sockaddr_un *)address;
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof(local->sun_path)) {
        return err_set(err, "%s: a socket's path has 1 to %zu bytes; choose another", option,
                       sizeof(local->sun_path) - 1);
    }
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, path, size);
    *length = sizeof(*local);
    return true;
}

bool net_address(const char *option, const char *text, bool passive, int type,
                 struct sockaddr_storage *address, socklen_t *length, Err *err)
{
    memset(address, 0, sizeof(*address));
    if (strncmp(text, "unix:", 5) == 0) {
        return unix_address(option, text + 5, address, length, err);
    }
    const char *colon = strrchr(text, ':');
    char host[256];
    size_t size = colon ? (size_t)(colon - text) : 0;
    if (!colon || !colon[1] || size >= sizeof(host)) {
        return err_set(err, "%s: '%s' is no address; write HOST:PORT", option, text);
    }
    memcpy(host, text, size);
    host[size] = '\0';
    struct addrinfo hints = {
        .ai_family = AF_INET, .ai_socktype = type, .ai_flags = passive ? AI_PASSIVE : 0};
    struct addrinfo *found;
    const char *name = host[0] ? host : passive ? NULL : "127.0.0.1";
    int failed = getaddrinfo(name, colon + 1, &hints, &found);
    if (failed) {
        return err_set(err, "%s: '%s': %s", option, text, gai_strerror(failed));
    }
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *length = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

NetHost *net_host_new(EventQueue *events)
{
    NetHost *h = calloc(1, sizeof(*h));
    if (!h) {
        return NULL;
    }
    h->queue = events;
    h->wake_fd = bell_open();
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->work, NULL);
    if (h->wake_fd < 0) {
        net_host_free(h);
        return NULL;
    }
    return h;
}

bool net_host_start(NetHost *host, Err *err)
{
    if (host->count == 0 || host->started) {
        return true;
    }
    int failed = pthread_create(&host->thread, NULL, net_thread, host);
    if (failed) {
        return err_set(err, "no thread for the network: %s", strerror(failed));
    }
    host->started = true;
    return true;
}

void net_host_free(NetHost *host)
{
    if (!host) {
        return;
    }
    if (host->started) {
        pthread_mutex_lock(&host->lock);
        host->quit = true;
        pthread_mutex_unlock(&host->lock);
        wake(host);
        pthread_join(host->thread, NULL);
    }
    for (unsigned i = 0; i < host->count; i++) {
        host->backend[i]->kind->close(host->backend[i]);
        backend_free(host->backend[i]);
    }
    if (host->wake_fd >= 0) {
        close(host->wake_fd);
    }
    pthread_mutex_destroy(&host->lock);
    pthread_mutex_destroy(&host->work);
    free(host);
}
