/* Stream sockets of the host: parsing of their names, listening and connecting. */
#include "machine/host/socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { RECONNECT_MOST = 3600 }; /* seconds */

static bool parse_reconnect(const char *option, const char *text, size_t n, SocketSpec *spec,
                            Err *err)
{
    unsigned value = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (digit > 9 || (value = value * 10 + digit) > RECONNECT_MOST) {
            return err_set(err, "-%s: reconnect=%.*s: write seconds, 0 (never) to %d", option,
                           (int)n, text, RECONNECT_MOST);
        }
    }
    spec->reconnect = value;
    return true;
}

static bool parse_flag(const char *option, const char *word, size_t n, SocketSpec *spec, Err *err)
{
    static const struct {
        const char *word;
        char what;
        bool value;
    } words[] = {{"server", 's', true},     {"server=on", 's', true}, {"server=off", 's', false},
                 {"nowait", 'w', false},    {"wait", 'w', true},      {"wait=on", 'w', true},
                 {"wait=off", 'w', false},  {"telnet", 't', true},    {"telnet=on", 't', true},
                 {"telnet=off", 't', false}};
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i].word) == n && memcmp(words[i].word, word, n) == 0) {
            *(words[i].what == 's'   ? &spec->server
              : words[i].what == 'w' ? &spec->wait
                                     : &spec->telnet) = words[i].value;
            return true;
        }
    }
    if (n == 7 && memcmp(word, "nodelay", 7) == 0) {
        return true;
    }
    if (n > 10 && memcmp(word, "reconnect=", 10) == 0) {
        return parse_reconnect(option, word + 10, n - 10, spec, err);
    }
    return err_set(err,
                   "-%s: '%.*s' is no setting of a socket; use server, nowait, wait, telnet or "
                   "reconnect=SECONDS",
                   option, (int)n, word);
}

static bool parse_address(const char *option, const char *text, size_t n, SocketSpec *spec,
                          Err *err)
{
    if (spec->local) {
        if (n == 0 || n >= sizeof(spec->path)) {
            return err_set(err, "-%s: a socket's path has 1 to %zu bytes; choose another", option,
                           sizeof(spec->path) - 1);
        }
        memcpy(spec->path, text, n);
        return true;
    }
    const char *colon = memrchr(text, ':', n);
    size_t host = colon ? (size_t)(colon - text) : 0;
    size_t port = colon ? n - host - 1 : 0;
    if (!colon || port == 0 || port >= sizeof(spec->port) || host >= sizeof(spec->host)) {
        return err_set(err, "-%s: '%.*s' is no address; write tcp:HOST:PORT", option, (int)n, text);
    }
    if (host >= 2 && text[0] == '[' && text[host - 1] == ']') { /* [::1]:23 */
        memcpy(spec->host, text + 1, host - 2);
    } else {
        memcpy(spec->host, text, host);
    }
    memcpy(spec->port, colon + 1, port);
    return true;
}

bool socket_parse(const char *option, const char *text, SocketSpec *spec, Err *err)
{
    memset(spec, 0, sizeof(*spec));
    spec->wait = true;
    if (strncmp(text, "unix:", 5) == 0) {
        spec->local = true;
        text += 5;
    } else if (strncmp(text, "tcp:", 4) == 0) {
        text += 4;
    } else if (strncmp(text, "telnet:", 7) == 0) {
        spec->telnet = true;
        text += 7;
    } else {
        return err_set(err, "-%s: '%s' is no socket; write unix:PATH or tcp:HOST:PORT", option,
                       text);
    }
    size_t n = strcspn(text, ",");
    if (!parse_address(option, text, n, spec, err)) {
        return false;
    }
    for (const char *p = text + n; *p; p += n) {
        p++;
        n = strcspn(p, ",");
        if (!parse_flag(option, p, n, spec, err)) {
            return false;
        }
    }
    if (spec->server && spec->reconnect) {
        return err_set(err, "-%s: reconnect= is for who connects, not for a server; leave it out",
                       option);
    }
    return true;
}

static struct sockaddr_un local_address(const SocketSpec *spec)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, spec->path, sizeof(address.sun_path));
    return address;
}

/* Is there a socket file to which nobody listens any more? */
static bool local_stale(const SocketSpec *spec)
{
    struct sockaddr_un address = local_address(spec);
    struct stat st;
    if (lstat(spec->path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 &&
                   errno == ECONNREFUSED;
    if (fd >= 0) {
        close(fd);
    }
    return refused;
}

static int local_open(const char *option, const SocketSpec *spec, Err *err)
{
    struct sockaddr_un address = local_address(spec);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int bad;
    if (spec->server) {
        if (local_stale(spec)) {
            unlink(spec->path);
        }
        bad = bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 4);
    } else {
        bad = connect(fd, (struct sockaddr *)&address, sizeof(address));
    }
    if (fd < 0 || bad) {
        err_set(err, "-%s: socket '%s': %s; %s", option, spec->path, strerror(errno),
                spec->server ? "choose a path that is free and can be written"
                             : "start its server first");
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

static int tcp_try(const struct addrinfo *at, bool server)
{
    int on = 1;
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    if (server) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, 4) == 0) {
            return fd;
        }
    } else if (connect(fd, at->ai_addr, at->ai_addrlen) == 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        return fd;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static const char *host_of(const SocketSpec *spec)
{
    return spec->host[0] ? spec->host : "127.0.0.1";
}

static struct addrinfo *tcp_find(const char *option, const SocketSpec *spec, Err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int wrong = getaddrinfo(host_of(spec), spec->port, &hints, &found);
    if (wrong) {
        err_set(err, "-%s: address '%s:%s': %s; check the name and the port", option, host_of(spec),
                spec->port, gai_strerror(wrong));
        return NULL;
    }
    return found;
}

static int tcp_open(const char *option, const SocketSpec *spec, Err *err)
{
    struct addrinfo *found = tcp_find(option, spec, err);
    int fd = -1;
    if (!found) {
        return -1;
    }
    for (const struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = tcp_try(at, spec->server);
    }
    freeaddrinfo(found);
    if (fd < 0) {
        err_set(err, "-%s: %s '%s:%s': %s; %s", option,
                spec->server ? "listening on" : "connecting to", host_of(spec), spec->port,
                strerror(errno),
                spec->server ? "choose a port that is free" : "start what listens there first");
    }
    return fd;
}

int socket_open(const char *option, const SocketSpec *spec, Err *err)
{
    int fd = spec->local ? local_open(option, spec, err) : tcp_open(option, spec, err);
    if (fd >= 0) {
        int on = 1;
        ioctl(fd, FIONBIO, &on);
    }
    return fd;
}

bool socket_call_open(SocketCall *call, const char *option, const SocketSpec *spec, Err *err)
{
    *call = (SocketCall){.fd = -1};
    if (spec->local) {
        return true;
    }
    call->found = call->next = tcp_find(option, spec, err);
    return call->found;
}

void socket_call_close(SocketCall *call)
{
    if (call->found) {
        freeaddrinfo(call->found);
    }
    if (call->fd >= 0) {
        close(call->fd);
    }
    *call = (SocketCall){.fd = -1};
}

bool socket_call_begin(SocketCall *call, const SocketSpec *spec)
{
    struct sockaddr_un local = local_address(spec);
    const struct sockaddr *to = (struct sockaddr *)&local;
    socklen_t length = sizeof(local);
    int family = AF_UNIX, protocol = 0;
    if (!spec->local) {
        const struct addrinfo *at = call->next ? call->next : call->found;
        call->next = at->ai_next;
        to = at->ai_addr;
        length = at->ai_addrlen;
        family = at->ai_family;
        protocol = at->ai_protocol;
    }
    call->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    if (call->fd >= 0 && connect(call->fd, to, length) != 0 && errno != EINPROGRESS) {
        close(call->fd);
        call->fd = -1;
    }
    return call->fd >= 0;
}

int socket_call_end(SocketCall *call)
{
    int fd = call->fd, error = 0, on = 1;
    socklen_t size = sizeof(error);
    call->fd = -1;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    call->next = call->found;
    return fd;
}

bool socket_call_has_more(const SocketCall *call)
{
    return call->next;
}

int socket_accept(int listener)
{
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) { /* characters go as they are typed; a Unix socket does so anyway */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    return fd;
}

void socket_wait(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    while (poll(&p, 1, -1) < 0 && errno == EINTR) {
    }
}

void socket_remove(const SocketSpec *spec)
{
    if (spec->local && spec->server) {
        unlink(spec->path);
    }
}
