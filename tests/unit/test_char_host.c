/* Host ends of serial and parallel ports: files, sockets, ptys; flow control and lost peers. */
#include <fcntl.h>
#include <linux/serial.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine/host/char_host.h"
#include "machine/host/socket.h"

enum { PATIENCE = 5000 }; /* rounds of 1 ms before a test gives up */

/* A device that takes `room` bytes and keeps them. */
typedef struct Plug {
    EventQueue *events;
    CharHost *host;
    CharPort port;
    uint8_t got[65536];
    size_t count, room;
    int up;
    int breaks;
    unsigned lines; /* CHAR_CTS.. as they were last told */
    bool loud;      /* what it received is still on the line */
    size_t before;  /* bytes that had come when DSR fell */
} Plug;

static void plug_receive(void *self, const uint8_t *data, size_t size)
{
    Plug *p = self;
    assert_true(size <= p->room);
    assert_true(p->count + size <= sizeof(p->got));
    memcpy(p->got + p->count, data, size);
    p->count += size;
    p->room -= size;
}

static size_t plug_room(void *self)
{
    return ((Plug *)self)->room;
}

static void plug_connected(void *self, bool up)
{
    Plug *p = self;
    p->up = up;
    p->lines = up ? CHAR_CTS | CHAR_DSR | CHAR_DCD : 0;
}

static void plug_lines(void *self, unsigned lines)
{
    Plug *p = self;
    p->before = p->lines & ~lines & CHAR_DSR ? p->count : p->before;
    p->lines = lines;
}

static bool plug_quiet(void *self)
{
    return !((Plug *)self)->loud;
}

static void plug_break(void *self)
{
    ((Plug *)self)->breaks++;
}

static Plug *plug_new(const char *spec)
{
    Plug *p = calloc(1, sizeof(*p));
    Err err = {{0}};
    p->events = event_queue_new(NULL, NULL);
    p->host = char_host_new(p->events);
    p->room = sizeof(p->got);
    assert_non_null(p->host);
    if (!char_host_open(p->host, "serial", spec, &p->port, &err)) {
        fail_msg("%s: %s", spec, err.text);
    }
    if (p->port.ops) {
        CharSink sink = {.receive = plug_receive,
                         .room = plug_room,
                         .connected = plug_connected,
                         .lines = plug_lines,
                         .brk = plug_break,
                         .quiet = plug_quiet,
                         .self = p};
        p->port.ops->attach(p->port.backend, &sink);
    }
    return p;
}

static void plug_free(Plug *p)
{
    char_host_free(p->host);
    event_queue_free(p->events);
    free(p);
}

static void plug_write(Plug *p, const char *text)
{
    p->port.ops->write(p->port.backend, (const uint8_t *)text, strlen(text));
}

static void plug_until(Plug *p, size_t count)
{
    for (int i = 0; i < PATIENCE && p->count < count; i++) {
        event_deliver(p->events);
        usleep(1000);
    }
    assert_int_equal(p->count, count);
}

static void plug_until_up(Plug *p, int up)
{
    for (int i = 0; i < PATIENCE && p->up != up; i++) {
        event_deliver(p->events);
        usleep(1000);
    }
    assert_int_equal(p->up, up);
}

static void plug_until_lines(Plug *p, unsigned lines)
{
    for (int i = 0; i < PATIENCE && p->lines != lines; i++) {
        event_deliver(p->events);
        usleep(1000);
    }
    assert_int_equal(p->lines, lines);
}

static void read_exactly(int fd, char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&poll_fd, 1, PATIENCE), 1);
        ssize_t got = read(fd, text + at, n - at);
        assert_true(got > 0);
        at += (size_t)got;
    }
}

static int client_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static char folder[] = "/tmp/vitrine-char-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[100];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void nothing_plugged_in(void **state)
{
    (void)state;
    Plug *p = plug_new("none");
    assert_null(p->port.ops);
    plug_free(p);
}

static void file_keeps_all_output(void **state)
{
    (void)state;
    char spec[160], text[6] = "";
    snprintf(spec, sizeof(spec), "file:%s", in_folder("out"));
    Plug *p = plug_new(spec);
    for (int i = 0; i < 20000; i++) {
        plug_write(p, "0123456789");
    }
    plug_write(p, "ENDS");
    plug_free(p); /* writes out the rest */
    struct stat st;
    assert_int_equal(stat(in_folder("out"), &st), 0);
    assert_int_equal(st.st_size, 200004);
    int fd = open(in_folder("out"), O_RDONLY);
    lseek(fd, -5, SEEK_END);
    read_exactly(fd, text, 5);
    assert_string_equal(text, "9ENDS");
    close(fd);
}

static void socket_server_talks_and_survives_clients(void **state)
{
    (void)state;
    char spec[160], text[6] = "";
    snprintf(spec, sizeof(spec), "unix:%s,server,nowait", in_folder("s"));
    Plug *p = plug_new(spec);
    plug_write(p, "lost");
    for (int round = 0; round < 2; round++) {
        int fd = client_of(in_folder("s"));
        plug_until_up(p, 1);
        plug_write(p, "hello");
        read_exactly(fd, text, 5);
        assert_string_equal(text, "hello");
        assert_int_equal(write(fd, "abc", 3), 3);
        plug_until(p, (size_t)(3 * (round + 1)));
        close(fd);
        plug_until_up(p, 0);
        plug_write(p, "into the air");
    }
    assert_memory_equal(p->got, "abcabc", 6);
    plug_free(p);
    assert_int_not_equal(access(in_folder("s"), F_OK), 0);
}

/* The server comes later than the port, goes, and comes back. */
static void a_client_calls_again(void **state)
{
    (void)state;
    char spec[160], address[160];
    snprintf(spec, sizeof(spec), "unix:%s,reconnect=1", in_folder("later"));
    snprintf(address, sizeof(address), "unix:%s,server,nowait", in_folder("later"));
    Plug *p = plug_new(spec);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(p->up, 0);
        Plug *server = plug_new(address);
        plug_until_up(p, 1);
        plug_write(p, "here");
        plug_until(server, 4);
        plug_write(server, "abc");
        plug_until(p, (size_t)(3 * (round + 1)));
        plug_free(server);
        plug_until_up(p, 0);
    }
    plug_free(p);
}

static void a_client_tries_each_address(void **state)
{
    (void)state;
    char spec[160];
    int listener = socket(AF_INET, SOCK_STREAM, 0); /* a name may well lead to ::1 first */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(listen(listener, 1), 0);
    snprintf(spec, sizeof(spec), "tcp:localhost:%u,reconnect=3600", ntohs(address.sin_port));
    Plug *p = plug_new(spec);
    plug_until_up(p, 1);
    plug_free(p);
    close(listener);
}

static void reconnect_is_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"unix:/tmp/x,reconnect=3601", "unix:/tmp/x,reconnect=1s",
                                      "unix:/tmp/x,server,reconnect=1"};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        SocketSpec parsed;
        Err err = {""};
        assert_false(socket_parse("serial", bad[i], &parsed, &err));
        assert_non_null(strstr(err.text, "reconnect="));
    }
}

static void input_waits_for_room(void **state)
{
    (void)state;
    char spec[160];
    static char many[40000];
    snprintf(spec, sizeof(spec), "unix:%s,server=on,wait=off", in_folder("s"));
    Plug *p = plug_new(spec);
    int fd = client_of(in_folder("s"));
    plug_until_up(p, 1);
    p->room = 10;
    for (size_t i = 0; i < sizeof(many); i++) {
        many[i] = (char)(i * 7);
    }
    assert_int_equal(write(fd, many, sizeof(many)), sizeof(many));
    plug_until(p, 10);
    event_deliver(p->events);
    assert_int_equal(p->count, 10);
    for (size_t all = 10; all < sizeof(many);) {
        size_t more = sizeof(many) - all < 1000 ? sizeof(many) - all : 1000;
        p->room = more;
        p->port.ops->ready(p->port.backend);
        plug_until(p, all += more);
    }
    assert_memory_equal(p->got, many, sizeof(many));
    close(fd);
    plug_free(p);
}

/* The device asks for more while input is still on its way to it: nothing may overtake or replace
 * it. */
static void asking_early_loses_nothing(void **state)
{
    (void)state;
    char spec[160];
    snprintf(spec, sizeof(spec), "unix:%s,server=on,wait=off", in_folder("s"));
    Plug *p = plug_new(spec);
    int fd = client_of(in_folder("s"));
    plug_until_up(p, 1);
    assert_int_equal(write(fd, "first", 5), 5);
    for (int i = 0; i < PATIENCE && !event_waiting(p->events); i++) {
        usleep(1000);
    }
    p->port.ops->ready(p->port.backend);
    assert_int_equal(write(fd, "second", 6), 6);
    usleep(100000);
    p->room = 1;
    event_deliver(p->events);
    assert_int_equal(p->count, 1);
    p->room = 100;
    p->port.ops->ready(p->port.backend);
    plug_until(p, 11);
    assert_memory_equal(p->got, "firstsecond", 11);
    close(fd);
    plug_free(p);
}

/* A telnet client: offers come to him, his breaks and data to the device. */
static void telnet_is_spoken(void **state)
{
    (void)state;
    char spec[160], text[15];
    snprintf(spec, sizeof(spec), "unix:%s,server,nowait,telnet=on", in_folder("t"));
    Plug *p = plug_new(spec);
    int fd = client_of(in_folder("t"));
    plug_until_up(p, 1);
    read_exactly(fd, text, 15);
    assert_memory_equal(text, "\377\373\1\377\373\3\377\373\0\377\375\0\377\375,", 15);
    assert_int_equal(write(fd, "\377\363", 2), 2); /* a break alone */
    for (int i = 0; i < PATIENCE && !p->breaks; i++) {
        event_deliver(p->events);
        usleep(1000);
    }
    assert_int_equal(p->breaks, 1);
    p->room = 1;
    assert_int_equal(write(fd, "\377\363a\r\0\377\377", 7), 7);
    plug_until(p, 1);
    assert_int_equal(p->breaks, 2);
    p->room = 100;
    p->port.ops->ready(p->port.backend);
    plug_until(p, 3);
    assert_memory_equal(p->got, "a\r\377", 3);
    plug_write(p, "\377\r\r\n");
    read_exactly(fd, text, 6);
    assert_memory_equal(text, "\377\377\r\0\r\n", 6);
    close(fd);
    plug_free(p);
}

/* Who says something and hangs up is heard before his carrier falls. */
static void the_end_comes_behind_the_bytes(void **state)
{
    (void)state;
    static const char *const kinds[] = {"", ",telnet"};
    for (unsigned i = 0; i < 2; i++) {
        char spec[160];
        snprintf(spec, sizeof(spec), "unix:%s,server,nowait%s", in_folder("e"), kinds[i]);
        Plug *p = plug_new(spec);
        int fd = client_of(in_folder("e"));
        p->loud = true;
        assert_int_equal(write(fd, "goodbye", 7), 7);
        close(fd);
        plug_until(p, 7);
        for (unsigned k = 0; k < 50; k++) {
            event_deliver(p->events);
            usleep(1000);
            p->port.ops->ready(p->port.backend); /* it goes on */
        }
        assert_int_equal(p->up, 1);
        p->loud = false;
        p->port.ops->ready(p->port.backend);
        plug_until_up(p, 0);
        plug_free(p);
    }
}

/* ... but a guest that reads nothing keeps nobody on the line, nor the next one from it. */
static void a_guest_that_does_not_read_sees_the_end(void **state)
{
    (void)state;
    static const char *const kinds[] = {"", ",telnet"};
    static char many[20000];
    for (unsigned i = 0; i < 2; i++) {
        char spec[160];
        snprintf(spec, sizeof(spec), "unix:%s,server,nowait%s", in_folder("e"), kinds[i]);
        Plug *p = plug_new(spec);
        p->room = 10;
        for (unsigned round = 0; round < 2; round++) {
            int fd = client_of(in_folder("e"));
            assert_int_equal(write(fd, many, sizeof(many)), sizeof(many));
            plug_until_up(p, 1);
            close(fd);
            plug_until_up(p, 0);
        }
        plug_free(p);
    }
}

/* The end of standard input is none of standard output, however long the guest leaves it unread. */
static void input_that_ends_leaves_the_output(void **state)
{
    (void)state;
    int saved[2] = {dup(STDIN_FILENO), dup(STDOUT_FILENO)}, in[2], out[2];
    char text[3];
    assert_int_equal(pipe(in) | pipe(out), 0);
    fflush(stdout);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    close(in[0]);
    Plug *p = plug_new("stdio");
    p->room = 2;
    bool written = write(in[1], "hello", 5) == 5;
    close(in[1]);
    for (int i = 0; i < 2500; i++) { /* longer than a carrier would be kept for */
        event_deliver(p->events);
        usleep(1000);
    }
    int up = p->up;
    plug_write(p, "out");
    struct pollfd wait = {.fd = out[0], .events = POLLIN};
    bool said = poll(&wait, 1, PATIENCE) == 1 && read(out[0], text, 3) == 3;
    p->room = 100;
    p->port.ops->ready(p->port.backend);
    size_t count = p->count;
    plug_free(p);
    dup2(saved[0], STDIN_FILENO);
    dup2(saved[1], STDOUT_FILENO);
    for (unsigned i = 0; i < 2; i++) {
        close(saved[i]);
        close(out[i]);
    }
    assert_true(written && said);
    assert_int_equal(up, 1);
    assert_memory_equal(text, "out", 3);
    assert_int_equal(count, 5);
}

/* CTS does not wait for bytes, the other lines do; a far end with a com port is asked to wait. */
static void lines_have_their_places(void **state)
{
    (void)state;
    static const uint8_t agree[] = {255, 251, 44,  255, 250, 44, 5,   8,  255,
                                    240, 255, 250, 44,  5,   11, 255, 240};
    static const uint8_t lines[] = {255, 250, 44, 5, 12, 255, 240, 255, 250, 44, 5, 9, 255, 240};
    static char many[25000];
    char spec[160], text[45];
    snprintf(spec, sizeof(spec), "unix:%s,server,nowait,telnet", in_folder("l"));
    Plug *p = plug_new(spec);
    int fd = client_of(in_folder("l"));
    p->port.ops->set_lines(p->port.backend, true, true, false);
    assert_int_equal(write(fd, agree, sizeof(agree)), sizeof(agree));
    plug_until_up(p, 1);
    read_exactly(fd, text, 15 + 7 + 7 + 7); /* offers, two answers, our lines */
    p->room = 100;
    assert_int_equal(write(fd, many, sizeof(many)), sizeof(many));
    read_exactly(fd, text, 6);
    assert_memory_equal(text, "\377\372,l\377\360", 6);
    assert_int_equal(write(fd, lines, sizeof(lines)), sizeof(lines));
    plug_until_lines(p, CHAR_DSR | CHAR_DCD);
    assert_int_equal(p->count, 100);
    p->room = sizeof(p->got);
    p->port.ops->ready(p->port.backend);
    plug_until(p, sizeof(many));
    plug_until_lines(p, 0);
    assert_int_equal(p->before, sizeof(many));
    read_exactly(fd, text, 7 + 7 + 6);
    assert_memory_equal(text + 14, "\377\372,m\377\360", 6);
    assert_int_equal(write(fd, lines, 7), 7);
    close(fd);
    plug_until_up(p, 0);
    plug_free(p);
}

static void stalled_reader_never_blocks(void **state)
{
    (void)state;
    char spec[160];
    static char block[65537];
    snprintf(spec, sizeof(spec), "unix:%s,server,nowait", in_folder("s"));
    Plug *p = plug_new(spec);
    int fd = client_of(in_folder("s"));
    plug_until_up(p, 1);
    memset(block, 'x', sizeof(block) - 1);
    for (int i = 0; i < 64; i++) {
        plug_write(p, block); /* 4 MiB that nobody reads */
    }
    close(fd);
    plug_until_up(p, 0);
    plug_free(p);
}

/* A guest that minds CTS loses nothing to a reader who stalls. */
static void cts_holds_the_guest_back(void **state)
{
    (void)state;
    char spec[140];
    static uint8_t piece[4096], back[4096];
    snprintf(spec, sizeof(spec), "unix:%s,server,nowait", in_folder("cts"));
    Plug *p = plug_new(spec);
    int fd = client_of(in_folder("cts"));
    plug_until_up(p, 1);
    p->lines = CHAR_CTS;
    size_t sent = 0, read_back = 0;
    while (p->lines & CHAR_CTS && sent < 1 << 22) {
        for (size_t i = 0; i < sizeof(piece); i++) {
            piece[i] = (uint8_t)((sent + i) * 7 >> 3);
        }
        p->port.ops->write(p->port.backend, piece, sizeof(piece));
        sent += sizeof(piece);
        event_deliver(p->events);
    }
    assert_int_equal(p->lines & CHAR_CTS, 0);
    assert_int_equal(p->lines & CHAR_DCD, CHAR_DCD);
    while (read_back < sent) {
        read_exactly(fd, (char *)back, sizeof(back));
        for (size_t i = 0; i < sizeof(back); i++) {
            assert_int_equal(back[i], (uint8_t)((read_back + i) * 7 >> 3));
        }
        read_back += sizeof(back);
    }
    for (int i = 0; i < PATIENCE && !(p->lines & CHAR_CTS); i++) {
        event_deliver(p->events);
        usleep(1000);
    }
    assert_int_equal(p->lines & CHAR_CTS, CHAR_CTS);
    close(fd);
    plug_free(p);
}

static void a_fifo_keeps_what_was_written(void **state)
{
    (void)state;
    char text[16];
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    Plug *p = plug_new(in_folder("fifo"));
    plug_write(p, "nobody reads yet");
    int fd = open(in_folder("fifo"), O_RDONLY | O_NONBLOCK);
    read_exactly(fd, text, sizeof(text));
    assert_memory_equal(text, "nobody reads yet", sizeof(text));
    close(fd);
    plug_free(p);
    unlink(in_folder("fifo"));
}

/* Two machines over TCP on this computer: the null modem's both ends. */
static void tcp_joins_two_machines(void **state)
{
    (void)state;
    char server[64], client[64];
    Plug *a = NULL;
    int port = 20000 + getpid() % 20000;
    snprintf(server, sizeof(server), "tcp:127.0.0.1:%d,server,nowait", port);
    snprintf(client, sizeof(client), "tcp:127.0.0.1:%d", port);
    a = plug_new(server);
    for (unsigned again = 0; again < 2; again++) { /* a second one after the first has gone */
        Plug *b = plug_new(client);
        plug_until_up(a, 1);
        assert_int_equal(b->up, 1);
        a->count = b->count = 0;
        plug_write(a, "from the server");
        plug_write(b, "from the client");
        plug_until(a, 15);
        plug_until(b, 15);
        assert_memory_equal(a->got, "from the client", 15);
        assert_memory_equal(b->got, "from the server", 15);
        plug_free(b);
        plug_until_up(a, 0);
    }
    plug_free(a);
}

static void client_side(void **state)
{
    (void)state;
    char spec[160], text[3] = "";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", in_folder("c"));
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    listen(listener, 1);
    snprintf(spec, sizeof(spec), "unix:%s", in_folder("c"));
    Plug *p = plug_new(spec);
    int fd = accept(listener, NULL, NULL);
    plug_write(p, "hi");
    read_exactly(fd, text, 2);
    assert_string_equal(text, "hi");
    close(fd);
    plug_until_up(p, 0);
    close(listener);
    plug_free(p);
}

static void pty_is_raw_both_ways(void **state)
{
    (void)state;
    char text[5] = "", path[64] = "";
    int probe = posix_openpt(O_RDWR | O_NOCTTY);
    if (probe < 0) {
        print_message("this host has no pseudo terminals (/dev/pts)\n");
        skip();
    }
    close(probe);
    /* The path is said on standard output. */
    int saved = dup(STDOUT_FILENO), said[2];
    assert_int_equal(pipe(said), 0);
    fflush(stdout);
    dup2(said[1], STDOUT_FILENO);
    Plug *p = plug_new("pty");
    dup2(saved, STDOUT_FILENO);
    char line[128] = "";
    assert_true(read(said[0], line, sizeof(line) - 1) > 0);
    assert_int_equal(sscanf(line, "char device redirected to %63s", path), 1);
    int fd = open(path, O_RDWR | O_NOCTTY);
    assert_true(fd >= 0);
    plug_write(p, "a\r\nb");
    read_exactly(fd, text, 4);
    assert_string_equal(text, "a\r\nb");
    assert_int_equal(write(fd, "\003\r", 2), 2);
    plug_until(p, 2);
    assert_memory_equal(p->got, "\003\r", 2);
    close(fd);
    plug_free(p);
    close(said[0]);
    close(said[1]);
    close(saved);
}

/* In the place of libc's: modem lines for a pseudo terminal, which has none. */
static struct {
    _Atomic bool on;
    _Atomic int inputs, outputs, breaks;
    _Atomic int dsr_count, rng_count, brk_count;
} wires;

int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (!wires.on) {
        return (int)syscall(SYS_ioctl, fd, request, argument);
    }
    switch (request) {
    case TIOCMGET:
        *(int *)argument = wires.inputs;
        return 0;
    case TIOCGICOUNT:
        *(struct serial_icounter_struct *)argument = (struct serial_icounter_struct){
            .dsr = wires.dsr_count, .rng = wires.rng_count, .brk = wires.brk_count};
        return 0;
    case TIOCMBIS:
        wires.outputs |= *(int *)argument;
        return 0;
    case TIOCMBIC:
        wires.outputs &= ~*(int *)argument;
        return 0;
    case TIOCSBRK:
        wires.breaks++;
        return 0;
    case TIOCCBRK:
        return 0;
    default:
        return (int)syscall(SYS_ioctl, fd, request, argument);
    }
}

/* A port of the host: its lines are the guest's. */
static void a_host_port_has_its_lines(void **state)
{
    (void)state;
    char name[64];
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master) ||
        ptsname_r(master, name, sizeof(name))) {
        print_message("this host has no pseudo terminals (/dev/pts)\n");
        skip();
    }
    Plug *p = plug_new(name);
    assert_int_equal(p->up, 1); /* without lines it is as usual */
    plug_free(p);
    wires.on = true;
    wires.inputs = TIOCM_CTS | TIOCM_RNG;
    wires.rng_count = 5;
    p = plug_new(name);
    assert_int_equal(p->lines, CHAR_CTS | CHAR_RI);
    wires.inputs = TIOCM_DSR | TIOCM_CAR;
    plug_until_lines(p, CHAR_DSR | CHAR_DCD);
    assert_int_equal(p->breaks, 0);
    p->before = 99;
    wires.brk_count++;
    wires.dsr_count += 2; /* between two looks */
    for (int i = 0; i < PATIENCE && !p->breaks; i++) {
        event_deliver(p->events);
        usleep(1000);
    }
    assert_int_equal(p->breaks, 1);
    for (int i = 0; i < PATIENCE && p->before; i++) {
        event_deliver(p->events);
        usleep(1000);
    }
    assert_int_equal(p->before, 0); /* DSR fell, and rose again */
    plug_until_lines(p, CHAR_DSR | CHAR_DCD);
    p->port.ops->set_lines(p->port.backend, true, false, true);
    assert_int_equal(wires.outputs, TIOCM_DTR);
    assert_int_equal(wires.breaks, 1);
    p->port.ops->set_lines(p->port.backend, false, true, false);
    assert_int_equal(wires.outputs, TIOCM_RTS);
    plug_free(p);
    wires.on = false;
    close(master);
}

static void refusals(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"unix:/nonexistent/x,server,nowait", "/nonexistent/x"},
        {"unix:/nonexistent/x", "start its server"},
        {"unix:", "1 to"},
        {"unix:/tmp/x,sevrer", "'sevrer'"},
        {"tcp:5", "tcp:HOST:PORT"},
        {"file:/nonexistent/y", "/nonexistent/y"},
        {"/dev/nonexistent", "/dev/nonexistent"},
        {"smoke:signal", "leads nowhere"},
    };
    EventQueue *events = event_queue_new(NULL, NULL);
    CharHost *host = char_host_new(events);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CharPort port;
        Err err = {{0}};
        assert_false(char_host_open(host, "serial", cases[i][0], &port, &err));
        if (!strstr(err.text, cases[i][1]) || !strstr(err.text, "-serial")) {
            fail_msg("'%s': '%s'", cases[i][0], err.text);
        }
        assert_null(port.ops);
    }
    char_host_free(host);
    event_queue_free(events);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"out", "s", "c", "e", "l"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        unlink(in_folder(names[i]));
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_plugged_in),
        cmocka_unit_test(file_keeps_all_output),
        cmocka_unit_test(socket_server_talks_and_survives_clients),
        cmocka_unit_test(a_client_calls_again),
        cmocka_unit_test(a_client_tries_each_address),
        cmocka_unit_test(reconnect_is_checked),
        cmocka_unit_test(input_waits_for_room),
        cmocka_unit_test(asking_early_loses_nothing),
        cmocka_unit_test(telnet_is_spoken),
        cmocka_unit_test(the_end_comes_behind_the_bytes),
        cmocka_unit_test(a_guest_that_does_not_read_sees_the_end),
        cmocka_unit_test(input_that_ends_leaves_the_output),
        cmocka_unit_test(lines_have_their_places),
        cmocka_unit_test(stalled_reader_never_blocks),
        cmocka_unit_test(cts_holds_the_guest_back),
        cmocka_unit_test(a_fifo_keeps_what_was_written),
        cmocka_unit_test(tcp_joins_two_machines),
        cmocka_unit_test(client_side),
        cmocka_unit_test(pty_is_raw_both_ways),
        cmocka_unit_test(a_host_port_has_its_lines),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
