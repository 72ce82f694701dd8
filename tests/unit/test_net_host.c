/* Networks on the host: wire format of streams and datagrams, lost peers, machines that take
 * nothing, multicast, tap, captures, options. */
#include <linux/if.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <sys/ioctl.h>
#include <sys/un.h>

#include "tests/unit/lan_rig.h"

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
        cmocka_unit_test(captures),
        cmocka_unit_test(bad_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
