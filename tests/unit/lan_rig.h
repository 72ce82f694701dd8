/* Machines with one network card each, that keep all frames, on networks of the host; sockets for
 * their other ends. */
#ifndef TESTS_UNIT_LAN_RIG_H
#define TESTS_UNIT_LAN_RIG_H

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

static inline bool lan_receive(void *self, const uint8_t *frame, size_t size)
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

static inline void lan_object(Lan *l, const char *object)
{
    Err err = {""};
    if (object && !pc_net_object(l->host, object, &err)) {
        fail_msg("%s", err.text);
    }
}

/* NULL: the network cannot be had here; *err says why. */
static inline Lan *lan_try(const char *netdev, const char *object, Err *err)
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

static inline Lan *lan_new(const char *netdev, const char *object)
{
    Err err = {""};
    Lan *l = lan_try(netdev, object, &err);
    if (!l) {
        fail_msg("%s", err.text);
    }
    return l;
}

static inline void lan_forget(Lan *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        free(l->frame[i]);
    }
    l->count = 0;
}

static inline void lan_free(Lan *l)
{
    lan_forget(l);
    net_host_free(l->host);
    event_queue_free(l->events);
    free(l);
}

static inline void breathe(Lan *l)
{
    usleep(1000);
    event_deliver(l->events);
}

static inline void wait_frames(Lan *l, unsigned count)
{
    for (unsigned i = 0; i < PATIENCE && l->count < count; i++) {
        breathe(l);
    }
    assert_int_equal(l->count, count);
}

static inline void send_frame(Lan *l, const void *frame, size_t size)
{
    l->port.ops->send(l->port.backend, frame, size);
}

static inline void make_frame(uint8_t *frame, size_t size, unsigned number)
{
    for (size_t i = 0; i < size; i++) {
        frame[i] = (uint8_t)(number * 7 + i);
    }
    bytes_put_be16(frame + 12, 0x88b5); /* for experiments */
}

/* A number of frames of all sizes from one to the other; both ends must be there already. */
static inline void exchange(Lan *from, Lan *to, unsigned count)
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
static inline void until_joined(Lan *from, Lan *to)
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

static inline int free_port(int type)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, type, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static inline int dial(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

static inline void read_all(int fd, void *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, PATIENCE), 1);
        ssize_t n = recv(fd, (uint8_t *)to + done, size - done, 0);
        assert_true(n > 0);
        done += (size_t)n;
    }
}

#endif
