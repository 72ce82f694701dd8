/* Networks on the host: wire format of streams and datagrams, lost peers, machines that take
 * nothing, multicast, tap, the user network's DHCP, TFTP and forwards, captures, options. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "machine/core/bytes.h"
#include "machine/pc_net.h"
#include "tests/unit/chip.h"

enum { PATIENCE = 20000, /* rounds of 1 ms before a test gives up */ MOST = 20000 };

/* A machine with one network card that keeps all frames. */
typedef struct Lan {
    EventQueue *events;
    NetHost *host;
    NetPort port;
    uint8_t *frame[MOST];
    size_t size[MOST];
    unsigned count, room; /* frames that came, and that may come */
} Lan;

static bool lan_receive(void *self, const uint8_t *frame, size_t size)
{
    Lan *l = self;
    if (l->count == l->room) {
        return false;
    }
    l->frame[l->count] = malloc(size);
    memcpy(l->frame[l->count], frame, size);
    l->size[l->count++] = size;
    return true;
}

static void lan_object(Lan *l, const char *object)
{
    Err err = {""};
    if (object && !pc_net_object(l->host, object, &err)) {
        fail_msg("%s", err.text);
    }
}

/* NULL: the network cannot be had here; *err says why. */
static Lan *lan_try(const char *netdev, const char *object, Err *err)
{
    Lan *l = calloc(1, sizeof(*l));
    l->events = event_queue_new(NULL, NULL);
    l->host = net_host_new(l->events);
    l->room = MOST;
    if (!pc_net_netdev(l->host, netdev, err)) {
        net_host_free(l->host);
        event_queue_free(l->events);
        free(l);
        return NULL;
    }
    lan_object(l, object);
    assert_true(net_host_port(l->host, "n0", "-device", &l->port, err));
    NetSink sink = {lan_receive, l};
    l->port.ops->attach(l->port.backend, &sink);
    assert_true(net_host_start(l->host, err));
    return l;
}

static Lan *lan_new(const char *netdev, const char *object)
{
    Err err = {""};
    Lan *l = lan_try(netdev, object, &err);
    if (!l) {
        fail_msg("%s", err.text);
    }
    return l;
}

static void lan_forget(Lan *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        free(l->frame[i]);
    }
    l->count = 0;
}

static void lan_free(Lan *l)
{
    lan_forget(l);
    net_host_free(l->host);
    event_queue_free(l->events);
    free(l);
}

static void breathe(Lan *l)
{
    usleep(1000);
    event_deliver(l->events);
}

static void wait_frames(Lan *l, unsigned count)
{
    for (unsigned i = 0; i < PATIENCE && l->count < count; i++) {
        breathe(l);
    }
    assert_int_equal(l->count, count);
}

static void send_frame(Lan *l, const void *frame, size_t size)
{
    l->port.ops->send(l->port.backend, frame, size);
}

static void make_frame(uint8_t *frame, size_t size, unsigned number)
{
    for (size_t i = 0; i < size; i++) {
        frame[i] = (uint8_t)(number * 7 + i);
    }
    bytes_put_be16(frame + 12, 0x88b5); /* for experiments */
}

/* A number of frames of all sizes from one to the other; both ends must be there already. */
static void exchange(Lan *from, Lan *to, unsigned count)
{
    uint8_t frame[NET_MAX_FRAME];
    lan_forget(to);
    for (unsigned i = 0; i < count; i++) {
        make_frame(frame, 60 + i * 37 % (NET_MAX_FRAME - 59), i);
        send_frame(from, frame, 60 + i * 37 % (NET_MAX_FRAME - 59));
        if (i % 16 == 15) {
            wait_frames(to, i + 1);
        }
    }
    wait_frames(to, count);
    for (unsigned i = 0; i < count; i++) {
        size_t size = 60 + i * 37 % (NET_MAX_FRAME - 59);
        make_frame(frame, size, i);
        assert_int_equal(to->size[i], size);
        assert_memory_equal(to->frame[i], frame, size);
    }
}

/* Sends until something arrives: connections take their time. */
static void until_joined(Lan *from, Lan *to)
{
    uint8_t frame[60];
    make_frame(frame, 60, 0);
    for (unsigned i = 0; i < PATIENCE && to->count == 0; i++) {
        if (i % 20 == 0) {
            send_frame(from, frame, 60);
        }
        breathe(to);
        event_deliver(from->events);
    }
    assert_true(to->count > 0);
    usleep(50000);
    breathe(to);
    lan_forget(to);
}

static int free_port(int type)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, type, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static int dial(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

static void read_all(int fd, void *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, PATIENCE), 1);
        ssize_t n = recv(fd, (uint8_t *)to + done, size - done, 0);
        assert_true(n > 0);
        done += (size_t)n;
    }
}

/* --- streams --- */

static void stream_speaks_length_and_frame(void **state)
{
    (void)state;
    char text[100];
    uint8_t frame[NET_MAX_FRAME], wire[4 + 65536];
    int port = free_port(SOCK_STREAM);
    snprintf(text, sizeof(text), "socket,id=n0,listen=127.0.0.1:%d", port);
    Lan *l = lan_new(text, NULL);
    int fd = dial(port);
    make_frame(frame, 60, 1);
    bytes_put_be32(wire, 60);
    memcpy(wire + 4, frame, 60);
    for (unsigned i = 0; i < 64; i++) { /* in pieces */
        assert_int_equal(send(fd, wire + i, 1, 0), 1);
    }
    wait_frames(l, 1);
    assert_memory_equal(l->frame[0], frame, 60);
    send_frame(l, frame, 60);
    read_all(fd, wire, 64);
    assert_int_equal(bytes_be32(wire), 60);
    assert_memory_equal(wire + 4, frame, 60);
    /* A short one is padded, a long one passed over, the next one right. */
    static const unsigned sizes[] = {14, 1519, 60000, 1518, 13, 100};
    for (unsigned i = 0; i < 6; i++) {
        memset(wire, 0xee, sizeof(wire));
        bytes_put_be32(wire, sizes[i]);
        assert_int_equal(send(fd, wire, 4 + sizes[i], 0), 4 + sizes[i]);
    }
    wait_frames(l, 4);
    assert_int_equal(l->size[1], 60);
    assert_int_equal(l->frame[1][13], 0xee);
    assert_int_equal(l->frame[1][14], 0);
    assert_int_equal(l->size[2], 1518);
    assert_int_equal(l->size[3], 100);
    /* A length that no peer sends ends the connection; the next client is welcome. */
    bytes_put_be32(wire, 65537);
    assert_int_equal(send(fd, wire, 4, 0), 4);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE), 1);
    assert_true(recv(fd, wire, 4, 0) <= 0);
    close(fd);
    fd = dial(port);
    bytes_put_be32(wire, 60);
    assert_int_equal(send(fd, wire, 64, 0), 64);
    wait_frames(l, 5);
    close(fd);
    lan_free(l);
}

static void streams_join_and_join_again(void **state)
{
    (void)state;
    char listen[200], connect[200], path[] = "/tmp/vitrine-net-XXXXXX";
    assert_non_null(mkdtemp(path));
    for (unsigned local = 0; local < 3; local++) {
        if (local == 1) {
            snprintf(listen, sizeof(listen), "stream,id=n0,server=on,addr.type=unix,addr.path=%s/s",
                     path);
            snprintf(connect, sizeof(connect),
                     "stream,id=n0,server=off,addr.type=unix,addr.path=%s/s", path);
        } else {
            int port = free_port(SOCK_STREAM);
            snprintf(listen, sizeof(listen), "socket,id=n0,listen=127.0.0.1:%d", port);
            snprintf(connect, sizeof(connect), "socket,id=n0,connect=127.0.0.1:%d", port);
        }
        Lan *client = lan_new(connect, NULL); /* before its server */
        Lan *server = lan_new(listen, NULL);
        until_joined(client, server);
        until_joined(server, client);
        exchange(client, server, 200);
        exchange(server, client, 200);
        lan_free(server);
        server = lan_new(listen, NULL);
        until_joined(client, server);
        exchange(server, client, 20);
        lan_free(client);
        lan_free(server);
    }
    rmdir(path);
}

/* --- datagrams --- */

static void datagrams(void **state)
{
    (void)state;
    char text[2][200], path[] = "/tmp/vitrine-net-XXXXXX";
    assert_non_null(mkdtemp(path));
    for (unsigned kind = 0; kind < 3; kind++) {
        int port[2] = {free_port(SOCK_DGRAM), free_port(SOCK_DGRAM)};
        for (unsigned i = 0; i < 2; i++) {
            if (kind == 0) {
                snprintf(text[i], sizeof(text[i]),
                         "socket,id=n0,udp=127.0.0.1:%d,localaddr=127.0.0.1:%d", port[!i], port[i]);
            } else if (kind == 1) {
                snprintf(text[i], sizeof(text[i]),
                         "dgram,id=n0,local.type=unix,local.path=%s/%u,remote.type=unix,"
                         "remote.path=%s/%u",
                         path, i, path, !i);
            } else { /* the first answers whoever speaks to it */
                int n = snprintf(text[i], sizeof(text[i]),
                                 "dgram,id=n0,local.type=inet,local.host=127.0.0.1,local.port=%d",
                                 port[i]);
                snprintf(text[i] + n, sizeof(text[i]) - (size_t)n,
                         ",remote.type=inet,remote.host=127.0.0.1,remote.port=%d", port[!i]);
                text[i][i ? strlen(text[i]) : (size_t)n] = '\0';
            }
        }
        Lan *a = lan_new(text[0], NULL), *b = lan_new(text[1], NULL);
        until_joined(b, a);
        until_joined(a, b);
        exchange(a, b, 100);
        exchange(b, a, 100);
        lan_free(a);
        lan_free(b);
    }
    rmdir(path);
}

static void multicast(void **state)
{
    (void)state;
    char text[200];
    Err err = {""};
    snprintf(text, sizeof(text), "socket,id=n0,mcast=239.77.3.%d:%d,localaddr=127.0.0.1",
             1 + getpid() % 250, free_port(SOCK_DGRAM));
    Lan *l[3];
    l[0] = lan_try(text, NULL, &err);
    if (!l[0]) {
        print_message("# no multicast here: %s\n", err.text);
        skip();
    }
    l[1] = lan_new(text, NULL);
    l[2] = lan_new(text, NULL);
    uint8_t frame[3][100];
    for (unsigned i = 0; i < 3; i++) {
        make_frame(frame[i], 100, i);
        frame[i][6] = (uint8_t)i; /* each card has its own address */
        send_frame(l[i], frame[i], 100);
        for (unsigned k = 0; k < 3; k++) {
            wait_frames(l[k], k == i ? 0 : 1);
            if (k != i) {
                assert_memory_equal(l[k]->frame[0], frame[i], 100);
            }
        }
        usleep(20000);
        breathe(l[i]);
        assert_int_equal(l[i]->count, 0); /* one's own frames do not come back */
        for (unsigned k = 0; k < 3; k++) {
            lan_forget(l[k]);
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        lan_free(l[i]);
    }
}

/* --- machines that take nothing --- */

static void no_room_loses_nothing(void **state)
{
    (void)state;
    char text[2][100];
    int port = free_port(SOCK_STREAM);
    snprintf(text[0], sizeof(text[0]), "socket,id=n0,listen=127.0.0.1:%d", port);
    snprintf(text[1], sizeof(text[1]), "socket,id=n0,connect=127.0.0.1:%d", port);
    Lan *a = lan_new(text[0], NULL), *b = lan_new(text[1], NULL);
    until_joined(a, b);
    b->room = 0; /* a full ring */
    uint8_t frame[100];
    for (unsigned i = 0; i < 500; i++) {
        make_frame(frame, 100, i);
        send_frame(a, frame, 100);
    }
    for (unsigned i = 1; i <= 500; i++) { /* each byte is read once, in order */
        for (unsigned k = 0; k < PATIENCE && b->count < i; k++) {
            b->room = i;
            b->port.ops->ready(b->port.backend);
            if (b->count < i) {
                breathe(b);
            }
        }
        assert_int_equal(b->count, i);
        make_frame(frame, 100, i - 1);
        assert_memory_equal(b->frame[i - 1], frame, 100);
    }
    lan_free(a);
    lan_free(b);
}

/* A paused machine: the sender is never held up for long, what is kept is bounded, and afterwards
 * frames come through again. */
static void a_paused_machine_holds_up_nobody(void **state)
{
    (void)state;
    char text[100];
    enum { FRAMES = 40000, SIZE = 1000 };
    static uint8_t wire[4 + SIZE];
    int port = free_port(SOCK_STREAM);
    snprintf(text, sizeof(text), "socket,id=n0,listen=127.0.0.1:%d", port);
    Lan *l = lan_new(text, NULL);
    int fd = dial(port);
    bytes_put_be32(wire, SIZE);
    make_frame(wire + 4, SIZE, 3);
    for (unsigned i = 0; i < FRAMES; i++) { /* 40 MB, and nobody delivers */
        for (size_t done = 0; done < sizeof(wire);) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            assert_int_equal(poll(&p, 1, PATIENCE), 1);
            ssize_t n = send(fd, wire + done, sizeof(wire) - done, MSG_DONTWAIT);
            done += n > 0 ? (size_t)n : 0;
        }
    }
    for (unsigned i = 0; i < 300; i++) { /* what was kept comes now */
        breathe(l);
    }
    assert_true(l->count > 100 && l->count < 8000);
    unsigned before = l->count;
    wire[4] = 0x77;
    assert_int_equal(send(fd, wire, sizeof(wire), 0), sizeof(wire));
    for (unsigned i = 0; i < PATIENCE && l->frame[l->count - 1][0] != 0x77; i++) {
        breathe(l);
    }
    assert_int_equal(l->frame[l->count - 1][0], 0x77);
    assert_true(l->count > before);
    close(fd);
    lan_free(l);
}

/* --- tap --- */

static void interface_up(const char *name)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    strcpy(request.ifr_name, name);
    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags |= IFF_UP;
        ioctl(fd, SIOCSIFFLAGS, &request);
    }
    close(fd);
}

static int packet_socket(const char *name)
{
    struct ifreq request = {0};
    int fd = socket(AF_PACKET, SOCK_RAW, htons(0x88b5));
    strcpy(request.ifr_name, name);
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(0x88b5)};
    if (fd >= 0 && ioctl(fd, SIOCGIFINDEX, &request) == 0) {
        at.sll_ifindex = request.ifr_ifindex;
        if (bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0) {
            return fd;
        }
    }
    return -1;
}

static void tap(void **state)
{
    (void)state;
    char name[IFNAMSIZ], text[100];
    Err err = {""};
    snprintf(name, sizeof(name), "vitr%d", getpid() % 100000);
    snprintf(text, sizeof(text), "tap,id=n0,ifname=%s,script=no,downscript=no", name);
    Lan *l = lan_try(text, NULL, &err);
    if (!l) {
        print_message("# no tap here: %s\n", err.text);
        skip();
    }
    interface_up(name);
    int fd = packet_socket(name);
    if (fd < 0) {
        lan_free(l);
        print_message("# no packet socket here\n");
        skip();
    }
    uint8_t frame[1514], back[1600];
    make_frame(frame, sizeof(frame), 5);
    frame[0] = 0x52;
    send_frame(l, frame, sizeof(frame));
    read_all(fd, back, sizeof(frame));
    assert_memory_equal(back, frame, sizeof(frame));
    assert_int_equal(send(fd, frame, 42, 0), 42);
    bool found = false;
    for (unsigned i = 0; i < PATIENCE && !found; i++) {
        breathe(l);
        for (unsigned k = 0; k < l->count; k++) { /* the kernel may speak up, too */
            found |= l->size[k] == 60 && memcmp(l->frame[k], frame, 42) == 0;
        }
    }
    assert_true(found);
    close(fd);
    lan_free(l);
}

/* --- the user network: a guest in a few lines --- */

static const uint8_t own_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
enum { OWN = 0x0a00020f, ROUTER = 0x0a000202, FORWARDED = 0x0a000264 };

static uint16_t checksum(const uint8_t *data, size_t size, uint32_t sum)
{
    for (size_t i = 0; i < size; i++) {
        sum += (uint32_t)data[i] << (i & 1 ? 0 : 8);
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static void ethernet(uint8_t *frame, uint16_t type)
{
    static const uint8_t router[6] = {0x52, 0x55, 10, 0, 2, 2};
    memcpy(frame, router, 6);
    memcpy(frame + 6, own_mac, 6);
    bytes_put_be16(frame + 12, type);
}

static void send_ip(Lan *l, uint8_t protocol, uint32_t from, uint32_t to, const uint8_t *body,
                    size_t size)
{
    uint8_t frame[NET_MAX_FRAME] = {0}, *ip = frame + 14;
    ethernet(frame, 0x0800);
    if (to == UINT32_MAX) {
        memset(frame, 0xff, 6);
    }
    ip[0] = 0x45;
    bytes_put_be16(ip + 2, (uint16_t)(20 + size));
    ip[8] = 64;
    ip[9] = protocol;
    bytes_put_be32(ip + 12, from);
    bytes_put_be32(ip + 16, to);
    bytes_put_be16(ip + 10, checksum(ip, 20, 0));
    memcpy(ip + 20, body, size);
    send_frame(l, frame, 34 + size < 60 ? 60 : 34 + size);
}

static void send_udp(Lan *l, uint32_t from, unsigned from_port, uint32_t to, unsigned port,
                     const void *data, size_t size)
{
    uint8_t body[1480] = {0};
    bytes_put_be16(body, (uint16_t)from_port);
    bytes_put_be16(body + 2, (uint16_t)port);
    bytes_put_be16(body + 4, (uint16_t)(8 + size));
    memcpy(body + 8, data, size);
    send_ip(l, 17, from, to, body, 8 + size);
}

static void announce(Lan *l)
{
    uint8_t frame[60] = {0}, *arp = frame + 14;
    ethernet(frame, 0x0806);
    memset(frame, 0xff, 6);
    memcpy(arp, "\0\1\x08\0\6\4\0\1", 8);
    memcpy(arp + 8, own_mac, 6);
    bytes_put_be32(arp + 14, OWN);
    bytes_put_be32(arp + 24, ROUTER);
    send_frame(l, frame, 60);
}

/* The next IP packet of a protocol to this port of ours, whatever lies between. NULL: none came. */
static const uint8_t *next_packet(Lan *l, unsigned *at, uint8_t protocol, unsigned port,
                                  unsigned patience)
{
    for (unsigned i = 0; i < patience; i++) {
        for (; *at < l->count; ++*at) {
            const uint8_t *f = l->frame[*at];
            if (bytes_be16(f + 12) == 0x0800 && f[23] == protocol && bytes_be16(f + 36) == port) {
                return l->frame[(*at)++] + 14;
            }
        }
        breathe(l);
    }
    return NULL;
}

typedef struct Tcp {
    Lan *lan;
    uint32_t peer, sent, seen; /* sequence numbers that come next */
    unsigned from, to;         /* ports */
    unsigned at;
} Tcp;

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

static void tcp_send(Tcp *t, uint8_t flags, const void *data, size_t size)
{
    uint8_t body[1400] = {0}, pseudo[12] = {0};
    bytes_put_be16(body, (uint16_t)t->from);
    bytes_put_be16(body + 2, (uint16_t)t->to);
    bytes_put_be32(body + 4, t->sent);
    bytes_put_be32(body + 8, flags & ACK ? t->seen : 0);
    body[12] = 0x50;
    body[13] = flags;
    bytes_put_be16(body + 14, 8192);
    memcpy(body + 20, data, size);
    bytes_put_be32(pseudo, OWN);
    bytes_put_be32(pseudo + 4, t->peer);
    pseudo[9] = 6;
    bytes_put_be16(pseudo + 10, (uint16_t)(20 + size));
    uint32_t sum = (uint16_t)~checksum(pseudo, 12, 0);
    bytes_put_be16(body + 16, checksum(body, 20 + size, sum));
    t->sent += (uint32_t)size + !!(flags & (SYN | FIN));
    send_ip(t->lan, 6, OWN, t->peer, body, 20 + size);
}

/* The next segment's flags, its text in `text`; 0: none came. */
static uint8_t tcp_take(Tcp *t, char *text, size_t room, unsigned patience)
{
    const uint8_t *ip = next_packet(t->lan, &t->at, 6, t->from, patience);
    if (!ip) {
        return 0;
    }
    const uint8_t *tcp = ip + 20, *data = tcp + (tcp[12] >> 4) * 4;
    size_t size = (size_t)(ip + bytes_be16(ip + 2) - data);
    assert_true(size < room);
    memcpy(text, data, size);
    text[size] = '\0';
    t->to = bytes_be16(tcp);
    t->peer = bytes_be32(ip + 12);
    t->seen = bytes_be32(tcp + 4) + (uint32_t)size + !!(tcp[13] & (SYN | FIN));
    return tcp[13];
}

static bool tcp_connect(Tcp *t, unsigned patience)
{
    char text[1500];
    tcp_send(t, SYN, "", 0);
    for (uint8_t flags; (flags = tcp_take(t, text, sizeof(text), patience)) != 0;) {
        if (flags & RST) {
            return false;
        }
        if ((flags & (SYN | ACK)) == (SYN | ACK)) {
            tcp_send(t, ACK, "", 0);
            return true;
        }
    }
    return false;
}

static void tcp_expect(Tcp *t, const char *wanted)
{
    char text[1500], all[4000] = "";
    while (!strstr(all, wanted)) {
        uint8_t flags = tcp_take(t, text, sizeof(text), PATIENCE);
        assert_true(flags != 0 && !(flags & RST));
        if (text[0]) {
            strncat(all, text, sizeof(all) - strlen(all) - 1);
            tcp_send(t, ACK, "", 0);
        }
    }
}

static void dhcp_and_tftp(void **state)
{
    (void)state;
    char folder[] = "/tmp/vitrine-net-XXXXXX", text[300], path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/boot.bin", folder);
    FILE *file = fopen(path, "w");
    for (unsigned i = 0; i < 700; i++) {
        putc((int)(i & 0xff), file);
    }
    fclose(file);
    snprintf(text, sizeof(text),
             "user,id=n0,tftp=%s,bootfile=boot.bin,hostname=guest,domainname=example.org", folder);
    Lan *l = lan_new(text, NULL);
    uint8_t boot[300] = {1, 1, 6, 0, 0x11, 0x22, 0x33, 0x44};
    memcpy(boot + 28, own_mac, 6);
    memcpy(boot + 236, "\x63\x82\x53\x63\x35\x01\x01\xff", 8); /* discover */
    send_udp(l, 0, 68, UINT32_MAX, 67, boot, sizeof(boot));
    unsigned at = 0;
    const uint8_t *ip = next_packet(l, &at, 17, 68, PATIENCE);
    assert_non_null(ip);
    const uint8_t *offer = ip + 28;
    assert_int_equal(offer[0], 2);
    assert_int_equal(bytes_be32(offer + 4), 0x11223344);
    assert_int_equal(bytes_be32(offer + 16), OWN);
    assert_string_equal((const char *)offer + 108, "boot.bin");
    bool router = false, name = false;
    for (const uint8_t *o = offer + 240; *o != 0xff; o += 2 + o[1]) {
        router |= o[0] == 3 && bytes_be32(o + 2) == ROUTER;
        name |= o[0] == 12 && memcmp(o + 2, "guest", 5) == 0;
    }
    assert_true(router && name);
    announce(l);
    send_udp(l, OWN, 3000, ROUTER, 69, "\0\1boot.bin\0octet", 17);
    ip = next_packet(l, &at, 17, 3000, PATIENCE);
    assert_non_null(ip);
    assert_int_equal(bytes_be16(ip + 28), 3); /* data */
    assert_int_equal(bytes_be16(ip + 24), 8 + 4 + 512);
    assert_int_equal(ip[32 + 100], 100);
    send_udp(l, OWN, 3000, ROUTER, 69, "\0\4\0\1", 4);
    ip = next_packet(l, &at, 17, 3000, PATIENCE);
    assert_non_null(ip);
    assert_int_equal(bytes_be16(ip + 24), 8 + 4 + 188);
    send_udp(l, OWN, 3001, ROUTER, 69, "\0\1../passwd\0octet", 18);
    ip = next_packet(l, &at, 17, 3001, PATIENCE);
    assert_non_null(ip);
    assert_int_equal(bytes_be16(ip + 28), 5); /* no way out of the folder */
    lan_free(l);
    unlink(path);
    rmdir(folder);
}

static int listener(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static int accepted(int fd, int patience)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, patience) == 1 ? accept(fd, NULL, NULL) : -1;
}

static void speaks_with(Tcp *t, int server)
{
    char got[6] = "";
    int fd = accepted(server, PATIENCE);
    assert_true(fd >= 0);
    read_all(fd, got, 5);
    assert_string_equal(got, "hello");
    assert_int_equal(send(fd, "world", 5, 0), 5);
    tcp_expect(t, "world");
    close(fd);
}

static void guest_reaches_the_hosts_loopback(void **state)
{
    (void)state;
    int port, server = listener(&port);
    Lan *l = lan_new("user,id=n0", NULL);
    announce(l);
    Tcp t = {.lan = l, .peer = ROUTER, .sent = 1000, .from = 2000, .to = (unsigned)port};
    assert_true(tcp_connect(&t, PATIENCE));
    tcp_send(&t, PSH | ACK, "hello", 5);
    speaks_with(&t, server);
    lan_free(l);
    /* restrict: no way out. */
    l = lan_new("user,id=n0,restrict=on", NULL);
    announce(l);
    t = (Tcp){.lan = l, .peer = ROUTER, .sent = 1000, .from = 2000, .to = (unsigned)port};
    assert_false(tcp_connect(&t, 300));
    assert_int_equal(accepted(server, 0), -1);
    lan_free(l);
    close(server);
}

static void guestfwd(void **state)
{
    (void)state;
    char text[300], path[] = "/tmp/vitrine-net-XXXXXX";
    int port, server = listener(&port);
    assert_non_null(mkdtemp(path));
    struct sockaddr_un file = {.sun_family = AF_UNIX};
    snprintf(file.sun_path, sizeof(file.sun_path), "%s/s", path);
    int local = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(local, (struct sockaddr *)&file, sizeof(file)), 0);
    assert_int_equal(listen(local, 4), 0);
    snprintf(text, sizeof(text),
             "user,id=n0,restrict=on,guestfwd=tcp:10.0.2.100:80-tcp:127.0.0.1:%d,"
             "guestfwd=tcp:10.0.2.100:81-unix:%s/s,guestfwd=tcp:10.0.2.100:82-cmd:cat",
             port, path);
    Lan *l = lan_new(text, NULL);
    announce(l);
    for (unsigned i = 0; i < 3; i++) {
        Tcp t = {.lan = l, .peer = FORWARDED, .sent = 1000, .from = 2000 + i, .to = 80 + i};
        assert_true(tcp_connect(&t, PATIENCE));
        tcp_send(&t, PSH | ACK, "hello", 5);
        if (i < 2) {
            speaks_with(&t, i ? local : server);
        } else {
            tcp_expect(&t, "hello"); /* cat says it again */
        }
    }
    lan_free(l);
    close(server);
    close(local);
    unlink(file.sun_path);
    rmdir(path);
}

/* A server that never reads costs 4 MB and its connection, not the network. */
static void guestfwd_to_a_server_that_does_not_read(void **state)
{
    (void)state;
    char text[200], block[1000], got[1500];
    int port, server = listener(&port);
    memset(block, 'x', sizeof(block));
    snprintf(text, sizeof(text), "user,id=n0,guestfwd=tcp:10.0.2.100:80-tcp:127.0.0.1:%d", port);
    Lan *l = lan_new(text, NULL);
    announce(l);
    Tcp t = {.lan = l, .peer = FORWARDED, .sent = 1000, .from = 2000, .to = 80};
    assert_true(tcp_connect(&t, PATIENCE));
    for (unsigned i = 0; i < 3000; i++) {
        tcp_send(&t, PSH | ACK, block, sizeof(block));
        while (i % 8 == 7 && tcp_take(&t, got, sizeof(got), 20)) {
        }
    }
    Tcp other = {.lan = l, .peer = ROUTER, .sent = 1, .from = 2001, .to = (unsigned)port};
    assert_true(tcp_connect(&other, PATIENCE));
    lan_free(l);
    close(server);
}

static void hostfwd(void **state)
{
    (void)state;
    char text[200], got[10] = "";
    int tcp_port = free_port(SOCK_STREAM), udp_port = free_port(SOCK_DGRAM);
    snprintf(text, sizeof(text),
             "user,id=n0,hostfwd=tcp:127.0.0.1:%d-:22,hostfwd=udp:127.0.0.1:%d-:53",
             tcp_port, udp_port);
    Lan *l = lan_new(text, NULL);
    announce(l);
    int fd = dial(tcp_port);
    Tcp t = {.lan = l, .sent = 5000, .from = 22};
    char none[1500];
    assert_int_equal(tcp_take(&t, none, sizeof(none), PATIENCE), SYN);
    tcp_send(&t, SYN | ACK, "", 0);
    assert_int_equal(send(fd, "question", 8, 0), 8);
    tcp_expect(&t, "question");
    tcp_send(&t, PSH | ACK, "answer", 6);
    read_all(fd, got, 6);
    assert_string_equal(got, "answer");
    close(fd);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)udp_port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(sendto(fd, "name?", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
    unsigned at = 0;
    const uint8_t *ip = next_packet(l, &at, 17, 53, PATIENCE);
    assert_non_null(ip);
    assert_memory_equal(ip + 28, "name?", 5);
    send_udp(l, OWN, 53, bytes_be32(ip + 12), bytes_be16(ip + 20), "here", 4);
    read_all(fd, got, 4);
    assert_memory_equal(got, "here", 4);
    close(fd);
    lan_free(l);
}

/* --- captures and options --- */

static void captures(void **state)
{
    (void)state;
    char text[100], object[100], path[] = "/tmp/vitrine-pcap-XXXXXX";
    uint8_t frame[200], wire[204], *data = malloc(65536);
    int temporary = mkstemp(path), port = free_port(SOCK_STREAM);
    assert_true(temporary >= 0);
    snprintf(text, sizeof(text), "socket,id=n0,listen=127.0.0.1:%d", port);
    snprintf(object, sizeof(object), "filter-dump,id=f0,netdev=n0,file=%s,maxlen=100", path);
    Lan *l = lan_new(text, object);
    int fd = dial(port);
    make_frame(frame, 200, 1);
    bytes_put_be32(wire, 200);
    memcpy(wire + 4, frame, 200);
    assert_int_equal(send(fd, wire, 204, 0), 204);
    wait_frames(l, 1);
    send_frame(l, frame, 80);
    read_all(fd, wire, 84);
    close(fd);
    lan_free(l);
    size_t size = (size_t)pread(temporary, data, 65536, 0);
    assert_int_equal(size, 24 + 16 + 100 + 16 + 80);
    assert_int_equal(bytes_le32(data), 0xa1b2c3d4);
    assert_int_equal(bytes_le16(data + 4), 2);
    assert_int_equal(bytes_le32(data + 16), 100);
    assert_int_equal(bytes_le32(data + 20), 1); /* Ethernet */
    assert_int_equal(bytes_le32(data + 24 + 8), 100);
    assert_int_equal(bytes_le32(data + 24 + 12), 200);
    assert_memory_equal(data + 40, frame, 100);
    assert_int_equal(bytes_le32(data + 140 + 8), 80);
    assert_memory_equal(data + 156, frame, 80);
    free(data);
    close(temporary);
    unlink(path);
}

static void bad_settings(void **state)
{
    (void)state;
    static const struct {
        const char *netdev, *says;
    } cases[] = {
        {"user", "id="},
        {"carrier-pigeon,id=n0", "no such network"},
        {"user,id=n0,net=10.0.2.0/30", "4 to 29 bits"},
        {"user,id=n0,net=nonsense", "ADDRESS/BITS"},
        {"user,id=n0,host=1.2.3.4", "no address in the guest's network"},
        {"user,id=n0,host=10.0.2.3", "different addresses"},
        {"user,id=n0,tftp=/nowhere", "no folder"},
        {"user,id=n0,hostfwd=tcp:127.0.0.1:0-:22", "write tcp"},
        {"user,id=n0,hostfwd=sctp::1-:22", "write tcp"},
        {"user,id=n0,guestfwd=tcp:10.0.2.100:80-smoke:x", "write tcp"},
        {"user,id=n0,guestfwd=tcp:1.2.3.4:80-cmd:cat", "not one of the guest's"},
        {"user,id=n0,ipv4=off,ipv6=off", "cannot both be off"},
        {"user,id=n0,color=red", "color"},
        {"socket,id=n0", "write one of"},
        {"socket,id=n0,listen=:1,connect=:1", "write one of"},
        {"socket,id=n0,connect=nowhere", "HOST:PORT"},
        {"socket,id=n0,udp=127.0.0.1:1", "localaddr"},
        {"dgram,id=n0", "local address"},
        {"stream,id=n0", "addr.type"},
        {"stream,id=n0,addr.type=inet,addr.host=x", "addr.host=HOST"},
        {"tap,id=n0,script=/bin/up", "script=no"},
        {"tap,id=n0,ifname=a-name-that-is-far-too-long", "too long"},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Err err = {""};
        EventQueue *events = event_queue_new(NULL, NULL);
        NetHost *host = net_host_new(events);
        if (pc_net_netdev(host, cases[i].netdev, &err) || !strstr(err.text, cases[i].says)) {
            fail_msg("%s: '%s' does not say '%s'", cases[i].netdev, err.text, cases[i].says);
        }
        net_host_free(host);
        event_queue_free(events);
    }
    Lan *l = lan_new("user,id=n0", NULL);
    Err err = {""};
    NetPort port;
    assert_false(pc_net_netdev(l->host, "user,id=n0", &err));
    assert_non_null(strstr(err.text, "taken"));
    err.text[0] = '\0';
    assert_false(net_host_port(l->host, "n0", "-device", &port, &err));
    assert_non_null(strstr(err.text, "a card already"));
    err.text[0] = '\0';
    assert_false(pc_net_object(l->host, "filter-dump,netdev=n1,file=/tmp/x", &err));
    assert_non_null(strstr(err.text, "no -netdev"));
    err.text[0] = '\0';
    assert_false(pc_net_object(l->host, "filter-dump,netdev=n0,file=/nowhere/x", &err));
    assert_non_null(strstr(err.text, "cannot write"));
    lan_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_speaks_length_and_frame),
        cmocka_unit_test(streams_join_and_join_again),
        cmocka_unit_test(datagrams),
        cmocka_unit_test(multicast),
        cmocka_unit_test(no_room_loses_nothing),
        cmocka_unit_test(a_paused_machine_holds_up_nobody),
        cmocka_unit_test(tap),
        cmocka_unit_test(dhcp_and_tftp),
        cmocka_unit_test(guest_reaches_the_hosts_loopback),
        cmocka_unit_test(guestfwd),
        cmocka_unit_test(guestfwd_to_a_server_that_does_not_read),
        cmocka_unit_test(hostfwd),
        cmocka_unit_test(captures),
        cmocka_unit_test(bad_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
