/* The user network: libslirp answers as a router with DHCP, DNS and TFTP, and opens the host's own
 * sockets for what the guest connects to.
 *
 * libslirp is not thread-safe: host->work is held around all calls.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/core/log.h"
#include "machine/host/host_time.h"
#include "machine/host/net_host_internal.h"

LOG_TAG("slirp");

enum {
    MAX_TIMERS = 16,
    NS_PER_MS = 1000000,
    LONGEST_BOOTFILE = 127,
    LONGEST_NAME = 255,
    FORWARD_ROOM = 4 << 20,
};

typedef struct UserTimer {
    SlirpTimerCb fire;
    void *opaque;
    bool used, armed;
    int64_t due_ms;
} UserTimer;

typedef struct UserNet UserNet;

/* A port in the guest's network that leads to a TCP server or socket file of the host. */
typedef struct GuestForward {
    struct sockaddr_storage target;
    socklen_t target_length;
    struct in_addr address;
    int port;
    int fd; /* -1: not connected */
    int index;
    bool connecting;
    uint8_t *out; /* of FORWARD_ROOM bytes: what the server has not taken yet */
    size_t out_at, out_count;
} GuestForward;

struct UserNet {
    NetBackend *backend;
    Slirp *slirp;
    UserTimer timer[MAX_TIMERS];
    GuestForward forward[NET_MAX_FORWARDS];
    unsigned forwards;
};

/* ---- what libslirp calls ---- */

static ssize_t packet_out(const void *data, size_t size, void *opaque)
{
    UserNet *n = opaque;
    net_in(n->backend, data, size);
    return (ssize_t)size;
}

static void guest_error(const char *message, void *opaque)
{
    (void)opaque;
    log_guest("%s", message);
}

static int64_t now_ns(void *opaque)
{
    (void)opaque;
    return host_time_ns();
}

static void *timer_new(SlirpTimerCb fire, void *fire_opaque, void *opaque)
{
    UserNet *n = opaque;
    for (unsigned i = 0; i < MAX_TIMERS; i++) {
        if (!n->timer[i].used) {
            n->timer[i] = (UserTimer){.fire = fire, .opaque = fire_opaque, .used = true};
            return &n->timer[i];
        }
    }
    return NULL;
}

static void timer_free(void *timer, void *opaque)
{
    (void)opaque;
    if (timer) {
        *(UserTimer *)timer = (UserTimer){0};
    }
}

static void timer_mod(void *timer, int64_t due_ms, void *opaque)
{
    UserTimer *t = timer;
    (void)opaque;
    if (t) {
        t->due_ms = due_ms;
        t->armed = true;
    }
}

static void ignore_fd(int fd, void *opaque)
{
    (void)fd, (void)opaque;
}

static void ignore(void *opaque)
{
    (void)opaque;
}

static const SlirpCb callbacks = {
    .send_packet = packet_out,
    .guest_error = guest_error,
    .clock_get_ns = now_ns,
    .timer_new = timer_new,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = ignore_fd,
    .unregister_poll_fd = ignore_fd,
    .notify = ignore,
};

static int add_poll(int fd, int events, void *opaque)
{
    short wanted =
        (short)((events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
                (events & SLIRP_POLL_PRI ? POLLPRI : 0));
    return net_poll_add(opaque, fd, wanted);
}

static int poll_events(int index, void *opaque)
{
    short got = net_poll_result(opaque, index);
    return (got & POLLIN ? SLIRP_POLL_IN : 0) | (got & POLLOUT ? SLIRP_POLL_OUT : 0) |
           (got & POLLPRI ? SLIRP_POLL_PRI : 0) | (got & POLLERR ? SLIRP_POLL_ERR : 0) |
           (got & POLLHUP ? SLIRP_POLL_HUP : 0);
}

/* ---- ports in the guest's network that lead to the host ---- */

static void forward_close(GuestForward *f)
{
    if (f->fd >= 0) {
        close(f->fd);
    }
    f->fd = f->index = -1;
    f->connecting = false;
    f->out_at = f->out_count = 0;
}

static bool forward_open(GuestForward *f)
{
    f->fd = socket(f->target.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    f->connecting =
        f->fd >= 0 && connect(f->fd, (struct sockaddr *)&f->target, f->target_length) != 0;
    if (f->fd < 0 || (f->connecting && errno != EINPROGRESS)) {
        log_warn("guestfwd: cannot connect: %s", strerror(errno));
        forward_close(f);
        return false;
    }
    return true;
}

static void forward_flush(GuestForward *f)
{
    while (f->out_count && !f->connecting) {
        ssize_t n = send(f->fd, f->out + f->out_at, f->out_count, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                forward_close(f);
            }
            return;
        }
        f->out_at += (size_t)n;
        f->out_count -= (size_t)n;
    }
    f->out_at = f->out_count ? f->out_at : 0;
}

/* libslirp never offers again what is not taken now: all of it is, or the connection ends. */
static ssize_t forward_write(const void *data, size_t size, void *opaque)
{
    GuestForward *f = opaque;
    if (f->fd < 0 && !forward_open(f)) {
        return (ssize_t)size;
    }
    if (f->out_at + f->out_count + size > FORWARD_ROOM) {
        memmove(f->out, f->out + f->out_at, f->out_count);
        f->out_at = 0;
    }
    if (f->out_count + size > FORWARD_ROOM) {
        log_warn("guestfwd: the server does not read; connection closed");
        forward_close(f);
    } else {
        memcpy(f->out + f->out_at + f->out_count, data, size);
        f->out_count += size;
        forward_flush(f);
    }
    return (ssize_t)size;
}

static void forward_connected(GuestForward *f)
{
    int failure = 0;
    socklen_t size = sizeof(failure);
    getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    f->connecting = false;
    if (failure) {
        log_warn("guestfwd: cannot connect: %s", strerror(failure));
        forward_close(f);
    }
}

static void forward_poll(UserNet *n, GuestForward *f)
{
    uint8_t data[4096];
    short got = f->fd >= 0 && f->index >= 0 ? net_poll_result(n->backend, f->index) : 0;
    if (got && f->connecting) {
        forward_connected(f);
    }
    if (got & POLLOUT && f->fd >= 0) {
        forward_flush(f);
    }
    if (!(got & (POLLIN | POLLHUP | POLLERR)) || f->fd < 0) {
        return;
    }
    size_t room = slirp_socket_can_recv(n->slirp, f->address, f->port);
    ssize_t count = recv(f->fd, data, room < sizeof(data) ? room : sizeof(data), 0);
    if (count > 0) {
        slirp_socket_recv(n->slirp, f->address, f->port, data, (int)count);
    } else if (room && (count == 0 || errno != EAGAIN)) {
        forward_close(f);
    }
}

static void forward_fill(UserNet *n, GuestForward *f)
{
    short events = 0;
    if (f->fd >= 0) {
        events |= f->connecting || f->out_count ? POLLOUT : 0;
        events |= slirp_socket_can_recv(n->slirp, f->address, f->port) ? POLLIN : 0;
    }
    f->index = events ? net_poll_add(n->backend, f->fd, events) : -1;
}

/* ---- the network ---- */

static NetSent user_send(NetBackend *b, const uint8_t *frame, size_t size, bool may_wait)
{
    UserNet *n = b->state;
    (void)may_wait;
    slirp_input(n->slirp, frame, (int)size);
    return NET_WATCH; /* it may have opened sockets and set timers */
}

static void user_fill(NetBackend *b, uint32_t *timeout_ms)
{
    UserNet *n = b->state;
    slirp_pollfds_fill(n->slirp, timeout_ms, add_poll, b);
    int64_t now = host_time_ns() / NS_PER_MS;
    for (unsigned i = 0; i < MAX_TIMERS; i++) {
        if (n->timer[i].armed) {
            int64_t left = n->timer[i].due_ms > now ? n->timer[i].due_ms - now : 0;
            *timeout_ms = left < *timeout_ms ? (uint32_t)left : *timeout_ms;
        }
    }
    for (unsigned i = 0; i < n->forwards; i++) {
        forward_fill(n, &n->forward[i]);
    }
}

static void user_polled(NetBackend *b)
{
    UserNet *n = b->state;
    slirp_pollfds_poll(n->slirp, 0, poll_events, b);
    for (unsigned i = 0; i < n->forwards; i++) {
        forward_poll(n, &n->forward[i]);
    }
    int64_t now = host_time_ns() / NS_PER_MS;
    for (unsigned i = 0; i < MAX_TIMERS; i++) {
        if (n->timer[i].armed && n->timer[i].due_ms <= now) {
            n->timer[i].armed = false;
            n->timer[i].fire(n->timer[i].opaque);
        }
    }
}

static void user_close(NetBackend *b)
{
    UserNet *n = b->state;
    slirp_cleanup(n->slirp);
    for (unsigned i = 0; i < n->forwards; i++) {
        forward_close(&n->forward[i]);
        free(n->forward[i].out);
    }
    free(n);
}

static const NetKind user_kind = {user_send, user_fill, user_polled, user_close};

/* ---- settings ---- */

static bool bad(const char *option, const char *key, const char *value, const char *use, Err *err)
{
    return err_set(err, "%s: %s=%s: %s", option, key, value, use);
}

/* "10.0.2.0/24", "10.0.2.0/255.255.255.0" or an address whose class tells. */
static bool parse_net(const char *option, const char *text, SlirpConfig *c, Err *err)
{
    char address[32];
    const char *slash = text ? strchr(text, '/') : NULL;
    inet_aton("10.0.2.0", &c->vnetwork);
    c->vnetmask.s_addr = htonl(0xffffff00);
    if (!text) {
        return true;
    }
    size_t size = slash ? (size_t)(slash - text) : strlen(text);
    if (size >= sizeof(address)) {
        return bad(option, "net", text, "write ADDRESS/BITS", err);
    }
    memcpy(address, text, size);
    address[size] = '\0';
    if (inet_pton(AF_INET, address, &c->vnetwork) != 1) {
        return bad(option, "net", text, "write ADDRESS/BITS", err);
    }
    uint32_t first = ntohl(c->vnetwork.s_addr) >> 24;
    uint32_t mask = first < 128 ? 0xff000000 : first < 192 ? 0xffff0000 : 0xffffff00;
    if (slash && strchr(slash, '.')) {
        struct in_addr given;
        if (inet_pton(AF_INET, slash + 1, &given) != 1) {
            return bad(option, "net", text, "write ADDRESS/MASK", err);
        }
        mask = ntohl(given.s_addr);
    } else if (slash) {
        char *end;
        unsigned long bits = strtoul(slash + 1, &end, 10);
        if (*end || end == slash + 1 || bits < 4 || bits > 29) {
            return bad(option, "net", text, "a network has 4 to 29 bits", err);
        }
        mask = ~(uint32_t)0 << (32 - bits);
    }
    c->vnetmask.s_addr = htonl(mask);
    c->vnetwork.s_addr &= c->vnetmask.s_addr;
    return true;
}

/* An address in the network; otherwise the network's address + `low`. */
static bool parse_host(const char *option, const char *key, const char *text, const SlirpConfig *c,
                       uint32_t low, struct in_addr *to, Err *err)
{
    if (!text) {
        to->s_addr = c->vnetwork.s_addr | htonl(low);
        return true;
    }
    if (inet_pton(AF_INET, text, to) != 1 ||
        (to->s_addr & c->vnetmask.s_addr) != c->vnetwork.s_addr) {
        return bad(option, key, text, "this is no address in the guest's network", err);
    }
    return true;
}

static bool parse_names(const char *option, const NetUserSpec *spec, SlirpConfig *c, Err *err)
{
    struct stat info;
    if (spec->tftp && (stat(spec->tftp, &info) != 0 || !S_ISDIR(info.st_mode))) {
        return bad(option, "tftp", spec->tftp, "this is no folder", err);
    }
    if (spec->bootfile && strlen(spec->bootfile) > LONGEST_BOOTFILE) {
        return bad(option, "bootfile", spec->bootfile, "the name is too long for BOOTP", err);
    }
    const char *const names[] = {spec->hostname, spec->domainname, spec->tftp_server_name};
    for (unsigned i = 0; i < 3; i++) {
        if (names[i] && strlen(names[i]) > LONGEST_NAME) {
            return err_set(err, "%s: a name has at most %d characters", option, LONGEST_NAME);
        }
    }
    c->vhostname = spec->hostname;
    c->vdomainname = spec->domainname;
    c->tftp_path = spec->tftp;
    c->tftp_server_name = spec->tftp_server_name;
    c->bootfile = spec->bootfile;
    c->vdnssearch = spec->dnssearch[0] ? (const char **)spec->dnssearch : NULL;
    return true;
}

/* Takes the part up to `end` out of *text. */
static bool part(const char **text, char end, char *to, size_t room)
{
    const char *stop = end ? strchr(*text, end) : *text + strlen(*text);
    if (!stop || (size_t)(stop - *text) >= room) {
        return false;
    }
    memcpy(to, *text, (size_t)(stop - *text));
    to[stop - *text] = '\0';
    *text = end ? stop + 1 : stop;
    return true;
}

static bool parse_port(const char *text, int *port)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *port = (int)value;
    return *text && !*end && value > 0 && value < 65536;
}

/* "[tcp|udp]:[HOST]:PORT-[GUEST]:PORT" */
static bool add_hostfwd(UserNet *n, const char *option, const char *spec, Err *err)
{
    static const char use[] = "write tcp:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT";
    char protocol[8], host[64], host_port[8], guest[64];
    int from, to;
    struct in_addr host_address = {INADDR_ANY}, guest_address = {0};
    const char *text = spec;
    if (!part(&text, ':', protocol, sizeof(protocol)) || !part(&text, ':', host, sizeof(host)) ||
        !part(&text, '-', host_port, sizeof(host_port)) ||
        !part(&text, ':', guest, sizeof(guest)) || !parse_port(host_port, &from) ||
        !parse_port(text, &to) || (host[0] && inet_pton(AF_INET, host, &host_address) != 1) ||
        (guest[0] && inet_pton(AF_INET, guest, &guest_address) != 1)) {
        return bad(option, "hostfwd", spec, use, err);
    }
    bool udp = strcmp(protocol, "udp") == 0;
    if (!udp && protocol[0] && strcmp(protocol, "tcp") != 0) {
        return bad(option, "hostfwd", spec, use, err);
    }
    if (slirp_add_hostfwd(n->slirp, udp, host_address, from, guest_address, to) != 0) {
        return bad(option, "hostfwd", spec, "the host's port cannot be opened", err);
    }
    return true;
}

/* "[tcp]:SERVER:PORT-cmd:COMMAND", "...-unix:PATH" or "...-tcp:HOST:PORT" */
static bool add_guestfwd(UserNet *n, const char *option, const char *spec, Err *err)
{
    static const char use[] =
        "write tcp:GUESTADDR:PORT-tcp:HOST:PORT, ...-unix:PATH or ...-cmd:COMMAND";
    char protocol[8], server[64], port_text[8];
    int port;
    struct in_addr address;
    const char *text = spec;
    if (!part(&text, ':', protocol, sizeof(protocol)) ||
        !part(&text, ':', server, sizeof(server)) ||
        !part(&text, '-', port_text, sizeof(port_text)) || !parse_port(port_text, &port) ||
        inet_pton(AF_INET, server, &address) != 1 ||
        (protocol[0] && strcmp(protocol, "tcp") != 0)) {
        return bad(option, "guestfwd", spec, use, err);
    }
    int failed;
    if (strncmp(text, "cmd:", 4) == 0) {
        failed = slirp_add_exec(n->slirp, text + 4, &address, port);
    } else if (strncmp(text, "tcp:", 4) == 0 || strncmp(text, "unix:", 5) == 0) {
        GuestForward *f = &n->forward[n->forwards];
        if (!net_address(option, text[0] == 't' ? text + 4 : text, false, SOCK_STREAM, &f->target,
                         &f->target_length, err)) {
            return false;
        }
        f->fd = f->index = -1;
        f->address = address;
        f->port = port;
        f->out = malloc(FORWARD_ROOM);
        if (!f->out) {
            return err_set(err, "%s: out of memory", option);
        }
        failed = slirp_add_guestfwd(n->slirp, forward_write, f, &address, port);
        n->forwards += !failed;
        if (failed) {
            free(f->out);
        }
    } else {
        return bad(option, "guestfwd", spec, use, err);
    }
    if (failed) {
        return bad(option, "guestfwd", spec, "the address is not one of the guest's network's",
                   err);
    }
    return true;
}

static bool add_forwards(UserNet *n, const char *option, const NetUserSpec *spec, Err *err)
{
    for (unsigned i = 0; i < NET_MAX_FORWARDS && spec->hostfwd[i]; i++) {
        if (!add_hostfwd(n, option, spec->hostfwd[i], err)) {
            return false;
        }
    }
    for (unsigned i = 0; i < NET_MAX_FORWARDS && spec->guestfwd[i]; i++) {
        if (!add_guestfwd(n, option, spec->guestfwd[i], err)) {
            return false;
        }
    }
    return true;
}

bool net_host_user(NetHost *host, const char *id, const char *option, const NetUserSpec *spec,
                   Err *err)
{
    SlirpConfig c = {.version = 1,
                     .restricted = spec->restricted,
                     .in_enabled = !spec->no_ipv4,
                     .in6_enabled = !spec->no_ipv6,
                     .vprefix_len = 64};
    inet_pton(AF_INET6, "fec0::", &c.vprefix_addr6);
    inet_pton(AF_INET6, "fec0::2", &c.vhost6);
    inet_pton(AF_INET6, "fec0::3", &c.vnameserver6);
    if (!parse_net(option, spec->net, &c, err) ||
        !parse_host(option, "host", spec->host, &c, 2, &c.vhost, err) ||
        !parse_host(option, "dns", spec->dns, &c, 3, &c.vnameserver, err) ||
        !parse_host(option, "dhcpstart", spec->dhcpstart, &c, 15, &c.vdhcp_start, err) ||
        !parse_names(option, spec, &c, err)) {
        return false;
    }
    if (c.vhost.s_addr == c.vnameserver.s_addr || c.vhost.s_addr == c.vdhcp_start.s_addr ||
        c.vnameserver.s_addr == c.vdhcp_start.s_addr) {
        return err_set(err, "%s: host, dns and dhcpstart must be different addresses", option);
    }
    UserNet *n = calloc(1, sizeof(*n));
    n->slirp = n ? slirp_new(&c, &callbacks, n) : NULL;
    if (!n || !n->slirp) {
        free(n);
        return err_set(err, "%s: the user network cannot be started", option);
    }
    n->backend = net_backend_new(host, id, option, &user_kind, n, err);
    if (!n->backend) {
        slirp_cleanup(n->slirp);
        free(n);
        return false;
    }
    return add_forwards(n, option, spec, err);
}
