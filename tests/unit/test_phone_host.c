/* Telephone lines over TCP: a call, what is said in it, and what is asked for too early. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine/host/phone_host.h"

enum { PATIENCE = 5000 }; /* rounds of 1 ms before a test gives up */

/* A modem that takes `room` bytes and keeps them. */
typedef struct Phone {
    EventQueue *events;
    PhoneHost *host;
    PhonePort port;
    uint8_t got[4096];
    size_t count, room;
    int connected, ended;
    int listener, peer; /* the other party's sockets */
} Phone;

static void on_ringing(void *self)
{
    (void)self;
}

static void on_connected(void *self)
{
    ((Phone *)self)->connected++;
}

static void on_ended(void *self, PhoneEnd why)
{
    (void)why;
    ((Phone *)self)->ended++;
}

static void on_receive(void *self, const uint8_t *data, size_t size)
{
    Phone *p = self;
    assert_true(size <= p->room && p->count + size <= sizeof(p->got));
    memcpy(p->got + p->count, data, size);
    p->count += size;
    p->room -= size;
}

static size_t on_room(void *self)
{
    return ((Phone *)self)->room;
}

static void on_drained(void *self)
{
    (void)self;
}

static void wait_for(Phone *p, const int *what)
{
    for (int i = 0; i < PATIENCE && !*what; i++) {
        event_deliver(p->events);
        usleep(1000);
    }
    assert_int_equal(*what, 1);
}

/* A phone that has called somebody who listens here. */
static Phone *call_made(void)
{
    Phone *p = calloc(1, sizeof(*p));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    char number[40];
    Err err = {{0}};
    p->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(p->listener, 1), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&address, &size), 0);
    p->events = event_queue_new(NULL, NULL);
    p->host = phone_host_new(p->events, "phone0", "", &err);
    assert_non_null(p->host);
    p->port = phone_host_port(p->host);
    p->room = sizeof(p->got);
    p->port.ops->attach(p->port.line, &(PhoneSink){.ringing = on_ringing,
                                                   .connected = on_connected,
                                                   .ended = on_ended,
                                                   .receive = on_receive,
                                                   .room = on_room,
                                                   .drained = on_drained,
                                                   .self = p});
    snprintf(number, sizeof(number), "127.0.0.1:%d", ntohs(address.sin_port));
    p->port.ops->dial(p->port.line, number);
    p->peer = accept(p->listener, NULL, NULL);
    assert_true(p->peer >= 0);
    wait_for(p, &p->connected);
    return p;
}

static void hang_up(Phone *p)
{
    close(p->peer);
    close(p->listener);
    phone_host_free(p->host);
    event_queue_free(p->events);
    free(p);
}

static void until(Phone *p, size_t count)
{
    for (int i = 0; i < PATIENCE && p->count < count; i++) {
        event_deliver(p->events);
        usleep(1000);
    }
    assert_int_equal(p->count, count);
}

static void both_are_heard(void **state)
{
    (void)state;
    Phone *p = call_made();
    char text[6] = "";
    p->port.ops->write(p->port.line, (const uint8_t *)"hello", 5);
    assert_int_equal(recv(p->peer, text, 5, MSG_WAITALL), 5);
    assert_string_equal(text, "hello");
    assert_int_equal(write(p->peer, "goodbye", 7), 7);
    until(p, 7);
    assert_memory_equal(p->got, "goodbye", 7);
    shutdown(p->peer, SHUT_RDWR);
    wait_for(p, &p->ended);
    hang_up(p);
}

/* The modem asks for more while data is still on its way to it: nothing may overtake or replace it.
 */
static void asking_early_loses_nothing(void **state)
{
    (void)state;
    Phone *p = call_made();
    assert_int_equal(write(p->peer, "first", 5), 5);
    for (int i = 0; i < PATIENCE && !event_waiting(p->events); i++) {
        usleep(1000);
    }
    p->port.ops->ready(p->port.line);
    assert_int_equal(write(p->peer, "second", 6), 6);
    usleep(100000);
    p->room = 1;
    event_deliver(p->events);
    assert_int_equal(p->count, 1);
    p->room = 100;
    p->port.ops->ready(p->port.line);
    until(p, 11);
    assert_memory_equal(p->got, "firstsecond", 11);
    hang_up(p);
}

static void wrong_settings(void **state)
{
    (void)state;
    static const char *const specs[] = {"telnet=perhaps", "telnet", "book=", "colour=red"};
    EventQueue *events = event_queue_new(NULL, NULL);
    for (unsigned i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        Err err = {{0}};
        assert_null(phone_host_new(events, "phone0", specs[i], &err));
        assert_non_null(strstr(err.text, "-serial modem: "));
    }
    char path[] = "/tmp/vitrine-book-XXXXXX", spec[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "555 host:23 telnet=yes\n", 23), 23);
    close(fd);
    snprintf(spec, sizeof(spec), "book=%s", path);
    Err err = {{0}};
    assert_null(phone_host_new(events, "phone0", spec, &err));
    assert_non_null(strstr(err.text, "555"));
    unlink(path);
    event_queue_free(events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_are_heard),
        cmocka_unit_test(asking_early_loses_nothing),
        cmocka_unit_test(wrong_settings),
    };
    return cmocka_run_group_tests_name("phone_host", tests, NULL, NULL);
}
