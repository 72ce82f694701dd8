/* The user network: DHCP, TFTP, the host's loopback, forwards both ways. */
#include <sys/un.h>

#include "tests/unit/lan_rig.h"

/* --- a guest in a few lines --- */

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
             "user,id=n0,hostfwd=tcp:127.0.0.1:%d-:22,hostfwd=udp:127.0.0.1:%d-:53", tcp_port,
             udp_port);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dhcp_and_tftp), cmocka_unit_test(guest_reaches_the_hosts_loopback),
        cmocka_unit_test(guestfwd),      cmocka_unit_test(guestfwd_to_a_server_that_does_not_read),
        cmocka_unit_test(hostfwd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
