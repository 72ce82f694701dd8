/* Networks over sockets, in QEMU's format: a stream with a length before each frame, or a datagram
 * for each.
 *
 * A stream's client tries again every second until its server is there; a server takes one client
 * at a time. What comes in is bounded: a frame longer than Ethernet's is skipped, a length that no
 * peer of ours sends ends the connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "machine/core/log.h"
#include "machine/host/host_time.h"
#include "machine/host/net_host_internal.h"

LOG_TAG("net");

enum {
    HEADER = 4,
    LONGEST = 65536, /* what a peer may send and we skip */
    OUT_ROOM = 1 << 20,
    IN_ROOM = 64 << 10,
    RETRY_MS = 1000,
    DATAGRAMS_A_ROUND = 64,
    WAITS = 20, /* ms for a receiver to read what is there already */
};

typedef struct StreamNet {
    bool server;
    struct sockaddr_storage address;
    socklen_t length;
    int listen_fd, fd; /* -1: none */
    bool connecting;
    int64_t retry_ms;
    int index;
    uint8_t in[IN_ROOM];
    size_t in_count;
    size_t skip; /* bytes of an overlong frame still to come */
    uint8_t *out;
    size_t out_at, out_count;
} StreamNet;

static int64_t now_ms(void)
{
    return host_time_ns() / 1000000;
}

static void hang_up(StreamNet *s)
{
    if (s->fd >= 0) {
        close(s->fd);
    }
    s->fd = s->index = -1;
    s->connecting = false;
    s->in_count = s->skip = s->out_at = s->out_count = 0;
    s->retry_ms = now_ms() + RETRY_MS;
}

static void no_delay(const StreamNet *s)
{
    if (s->address.ss_family != AF_UNIX) {
        setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    }
}

static void begin_connecting(StreamNet *s)
{
    s->retry_ms = now_ms() + RETRY_MS;
    s->fd = socket(s->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        return;
    }
    s->connecting = true;
    no_delay(s);
    if (connect(s->fd, (struct sockaddr *)&s->address, s->length) == 0) {
        s->connecting = false;
    } else if (errno != EINPROGRESS) {
        hang_up(s);
    }
}

static void flush(StreamNet *s)
{
    while (s->out_count) {
        ssize_t n = send(s->fd, s->out + s->out_at, s->out_count, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                hang_up(s);
            }
            return;
        }
        s->out_at += (size_t)n;
        s->out_count -= (size_t)n;
    }
    s->out_at = 0;
}

static NetSent stream_send(NetBackend *b, const uint8_t *frame, size_t size, bool may_wait)
{
    StreamNet *s = b->state;
    (void)may_wait;
    if (s->fd < 0 || s->connecting || s->out_count + HEADER + size > OUT_ROOM) {
        return NET_SENT; /* nobody there, or a peer that does not read: lost, as on a wire */
    }
    if (s->out_at + s->out_count + HEADER + size > OUT_ROOM) {
        memmove(s->out, s->out + s->out_at, s->out_count);
        s->out_at = 0;
    }
    bool watched = s->out_count != 0;
    uint32_t length = htonl((uint32_t)size);
    uint8_t *end = s->out + s->out_at + s->out_count;
    memcpy(end, &length, HEADER);
    memcpy(end + HEADER, frame, size);
    s->out_count += HEADER + size;
    if (!watched) {
        flush(s);
    }
    return !watched && (s->out_count || s->fd < 0) ? NET_WATCH : NET_SENT;
}

/* Takes whole frames out of what came in. False: the peer does not speak this format. */
static bool take_frames(NetBackend *b, StreamNet *s)
{
    size_t at = 0;
    for (;;) {
        size_t left = s->in_count - at;
        if (s->skip) {
            size_t n = s->skip < left ? s->skip : left;
            s->skip -= n;
            at += n;
            left -= n;
        }
        uint32_t length;
        if (s->skip || left < HEADER) {
            break;
        }
        memcpy(&length, s->in + at, HEADER);
        length = ntohl(length);
        if (length > LONGEST) {
            return false;
        }
        if (length > NET_MAX_FRAME) {
            at += HEADER;
            s->skip = length;
            continue;
        }
        if (left < HEADER + length) {
            break;
        }
        net_in(b, s->in + at + HEADER, length);
        at += HEADER + length;
    }
    s->in_count -= at;
    memmove(s->in, s->in + at, s->in_count);
    return true;
}

static void read_stream(NetBackend *b, StreamNet *s)
{
    ssize_t n = recv(s->fd, s->in + s->in_count, IN_ROOM - s->in_count, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        log_info("%s: the other end has gone", b->id);
        hang_up(s);
        return;
    }
    s->in_count += (size_t)n;
    if (!take_frames(b, s)) {
        log_warn("%s: the other end does not speak this format; connection closed", b->id);
        hang_up(s);
    }
}

static void stream_fill(NetBackend *b, uint32_t *timeout_ms)
{
    StreamNet *s = b->state;
    s->index = -1;
    if (s->fd >= 0) {
        short events = s->connecting || s->out_count ? POLLOUT : 0;
        if (!s->connecting && net_in_room(b)) {
            events |= POLLIN;
        }
        s->index = events ? net_poll_add(b, s->fd, events) : -1;
    } else if (s->server) {
        s->index = net_poll_add(b, s->listen_fd, POLLIN);
    } else {
        int64_t left = s->retry_ms - now_ms();
        left = left < 0 ? 0 : left;
        *timeout_ms = left < *timeout_ms ? (uint32_t)left : *timeout_ms;
    }
}

static void connected(NetBackend *b, StreamNet *s)
{
    int failure = 0;
    socklen_t size = sizeof(failure);
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    if (failure) {
        hang_up(s);
    } else {
        s->connecting = false;
        log_info("%s: connected", b->id);
    }
}

static void stream_polled(NetBackend *b)
{
    StreamNet *s = b->state;
    short got = net_poll_result(b, s->index);
    if (s->fd < 0 && s->server) {
        if (got) {
            s->fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (s->fd >= 0) {
                no_delay(s);
            }
        }
    } else if (s->fd < 0) {
        if (now_ms() >= s->retry_ms) {
            begin_connecting(s);
        }
    } else if (s->connecting) {
        if (got) {
            connected(b, s);
        }
    } else {
        if (got & POLLOUT) {
            flush(s);
        }
        if (s->fd >= 0 && got & (POLLIN | POLLHUP | POLLERR)) {
            read_stream(b, s);
        }
    }
}

/* A server's file, or what one that is gone has left. */
static void remove_file(const struct sockaddr_storage *address)
{
    const char *path = ((const struct sockaddr_un *)address)->sun_path;
    struct stat info;
    if (address->ss_family == AF_UNIX && lstat(path, &info) == 0 && S_ISSOCK(info.st_mode)) {
        unlink(path);
    }
}

static void stream_free(StreamNet *s)
{
    if (s->fd >= 0) {
        close(s->fd);
    }
    if (s->listen_fd >= 0) {
        close(s->listen_fd);
        remove_file(&s->address);
    }
    free(s->out);
    free(s);
}

static void stream_close(NetBackend *b)
{
    StreamNet *s = b->state;
    if (s->fd >= 0 && !s->connecting) {
        flush(s);
    }
    stream_free(s);
}

static const NetKind stream_kind = {stream_send, stream_fill, stream_polled, stream_close};

static bool listen_on(StreamNet *s, const char *option, const char *name, Err *err)
{
    s->listen_fd = socket(s->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->listen_fd >= 0) {
        setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
        remove_file(&s->address);
    }
    if (s->listen_fd < 0 || bind(s->listen_fd, (struct sockaddr *)&s->address, s->length) != 0 ||
        listen(s->listen_fd, 1) != 0) {
        return err_set(err, "%s: cannot listen on '%s': %s", option, name, strerror(errno));
    }
    return true;
}

bool net_host_stream(NetHost *host, const char *id, const char *option, const NetStreamSpec *spec,
                     Err *err)
{
    StreamNet *s = calloc(1, sizeof(*s));
    if (!s || !(s->out = malloc(OUT_ROOM))) {
        free(s);
        return err_set(err, "%s: out of memory", option);
    }
    s->server = spec->server;
    s->listen_fd = s->fd = s->index = -1;
    if (!net_address(option, spec->address, spec->server, SOCK_STREAM, &s->address, &s->length,
                     err) ||
        (s->server && !listen_on(s, option, spec->address, err)) ||
        !net_backend_new(host, id, option, &stream_kind, s, err)) {
        stream_free(s);
        return false;
    }
    return true;
}

/* ---- datagrams ---- */

typedef struct DgramNet {
    int fd, index;
    struct sockaddr_storage local, remote;
    socklen_t local_length, remote_length; /* remote: 0 while unknown */
    bool learn;                            /* answers go to whoever sent last */
    bool group;                            /* our own frames come back */
    uint8_t own[6];                        /* source address of the last frame sent */
    bool deaf;                             /* the receiver did not read in time */
} DgramNet;

static NetSent dgram_send(NetBackend *b, const uint8_t *frame, size_t size, bool may_wait)
{
    DgramNet *d = b->state;
    memcpy(d->own, frame + 6, sizeof(d->own));
    for (unsigned waited = 0; d->remote_length; waited++) {
        ssize_t n = sendto(d->fd, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL,
                           (struct sockaddr *)&d->remote, d->remote_length);
        if (n >= 0 || errno != EAGAIN) {
            d->deaf = false;
            break; /* what failed is lost, as on a wire */
        }
        /* The few datagrams that a local socket holds are less than a machine sends at once. A
         * receiver that does not read at all is waited for only once. */
        if (d->deaf || (may_wait && waited == WAITS)) {
            d->deaf = true;
            break;
        }
        if (!may_wait) {
            return NET_LATER;
        }
        poll(NULL, 0, 1);
    }
    return NET_SENT;
}

static void dgram_fill(NetBackend *b, uint32_t *timeout_ms)
{
    DgramNet *d = b->state;
    (void)timeout_ms;
    d->index = net_in_room(b) ? net_poll_add(b, d->fd, POLLIN) : -1;
}

static void dgram_polled(NetBackend *b)
{
    DgramNet *d = b->state;
    uint8_t frame[NET_MAX_FRAME + 1];
    if (!net_poll_result(b, d->index)) {
        return;
    }
    for (unsigned i = 0; i < DATAGRAMS_A_ROUND; i++) {
        struct sockaddr_storage from;
        socklen_t length = sizeof(from);
        ssize_t n =
            recvfrom(d->fd, frame, sizeof(frame), MSG_DONTWAIT, (struct sockaddr *)&from, &length);
        if (n < 0) {
            return;
        }
        if (n < 14 || n > (ssize_t)NET_MAX_FRAME ||
            (d->group && memcmp(frame + 6, d->own, sizeof(d->own)) == 0)) {
            continue;
        }
        if (d->learn) {
            d->remote = from;
            d->remote_length = length;
        }
        net_in(b, frame, (size_t)n);
    }
}

static void dgram_free(DgramNet *d)
{
    if (d->fd >= 0) {
        close(d->fd);
        if (d->local_length) {
            remove_file(&d->local);
        }
    }
    free(d);
}

static void dgram_close(NetBackend *b)
{
    dgram_free(b->state);
}

static const NetKind dgram_kind = {dgram_send, dgram_fill, dgram_polled, dgram_close};

static bool is_group(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    return address->ss_family == AF_INET && IN_MULTICAST(ntohl(in->sin_addr.s_addr));
}

/* The local address is then the interface that takes part. */
static bool join_group(DgramNet *d)
{
    const struct sockaddr_in *local = (const struct sockaddr_in *)&d->local;
    const struct sockaddr_in *group = (const struct sockaddr_in *)&d->remote;
    struct in_addr interface = {d->local_length ? local->sin_addr.s_addr : INADDR_ANY};
    struct ip_mreq request = {.imr_multiaddr = group->sin_addr, .imr_interface = interface};
    d->group = true;
    d->local_length = 0;
    return setsockopt(d->fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0 &&
           bind(d->fd, (const struct sockaddr *)group, sizeof(*group)) == 0 &&
           setsockopt(d->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request)) == 0 &&
           setsockopt(d->fd, IPPROTO_IP, IP_MULTICAST_LOOP, &(int){1}, sizeof(int)) == 0 &&
           (interface.s_addr == INADDR_ANY ||
            setsockopt(d->fd, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof(interface)) == 0);
}

static bool open_dgram(DgramNet *d, const char *option, const NetDgramSpec *spec, Err *err)
{
    if ((spec->local &&
         !net_address(option, spec->local, true, SOCK_DGRAM, &d->local, &d->local_length, err)) ||
        (spec->remote && !net_address(option, spec->remote, false, SOCK_DGRAM, &d->remote,
                                      &d->remote_length, err))) {
        return false;
    }
    bool group = spec->remote && is_group(&d->remote);
    if (!spec->local && !group) {
        return err_set(err, "%s: a datagram network needs a local address", option);
    }
    d->learn = !spec->remote;
    int family = spec->local ? d->local.ss_family : d->remote.ss_family;
    if (spec->remote && d->remote.ss_family != family) {
        return err_set(err, "%s: local and remote address must be of one kind", option);
    }
    d->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool ok = d->fd >= 0;
    if (ok && group) {
        ok = join_group(d);
    } else if (ok) {
        remove_file(&d->local);
        ok = bind(d->fd, (struct sockaddr *)&d->local, d->local_length) == 0;
    }
    if (!ok) {
        return err_set(err, "%s: cannot open '%s': %s", option, group ? spec->remote : spec->local,
                       strerror(errno));
    }
    return true;
}

bool net_host_dgram(NetHost *host, const char *id, const char *option, const NetDgramSpec *spec,
                    Err *err)
{
    DgramNet *d = calloc(1, sizeof(*d));
    if (!d) {
        return err_set(err, "%s: out of memory", option);
    }
    d->fd = d->index = -1;
    if (!open_dgram(d, option, spec, err) ||
        !net_backend_new(host, id, option, &dgram_kind, d, err)) {
        dgram_free(d);
        return false;
    }
    return true;
}
