/* The kinds of back end of a serial or parallel port: terminal, file, socket, pty, host port. */
#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/host/char_host_internal.h"

static void make_raw(struct termios *t)
{
    t->c_iflag &=
        (tcflag_t) ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON | IXOFF);
    t->c_lflag &= (tcflag_t) ~(ECHO | ECHONL | ICANON | IEXTEN);
    t->c_cflag = (t->c_cflag & (tcflag_t) ~(CSIZE | PARENB)) | CS8;
    t->c_cc[VMIN] = 1;
    t->c_cc[VTIME] = 0;
}

/* escape: Ctrl-C goes to the guest too, and Ctrl-A x is the way out. */
static bool open_terminal(CharBackend *b, bool escape)
{
    b->terminal = true;
    b->escape = escape;
    b->read_fd = STDIN_FILENO;
    b->write_fd = STDOUT_FILENO;
    /* A job in the background must not touch the terminal. */
    if (isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp() &&
        tcgetattr(STDIN_FILENO, &b->saved) == 0) {
        struct termios raw = b->saved;
        make_raw(&raw);
        if (escape) {
            raw.c_lflag &= (tcflag_t)~ISIG;
        }
        b->saved_valid = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    }
    return true;
}

static bool open_file(CharBackend *b, const char *option, const char *path, Err *err)
{
    b->write_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (b->write_fd < 0) {
        return err_set(err, "-%s: file '%s' cannot be written: %s", option, path, strerror(errno));
    }
    return true;
}

static bool open_socket(CharBackend *b, const char *option, const char *spec, Err *err)
{
    if (!socket_parse(option, spec, &b->socket, err)) {
        return false;
    }
    b->is_socket = true;
    if (b->socket.telnet && !(b->telnet = calloc(1, sizeof(*b->telnet)))) {
        return err_set(err, "out of memory");
    }
    if (b->telnet) {
        b->telnet->t.com = &b->telnet->com;
    }
    if (b->socket.reconnect) {
        char_telnet_start(b, false);
        return socket_call_open(&b->call, option, &b->socket, err);
    }
    int fd = socket_open(option, &b->socket, err);
    if (fd < 0) {
        return false;
    }
    if (!b->socket.server) {
        b->read_fd = b->write_fd = fd;
        char_telnet_start(b, true);
        return true;
    }
    b->listen_fd = fd;
    while (b->socket.wait && b->read_fd < 0) {
        fprintf(stderr, "vitrine: -%s: waiting for a connection to %s\n", option, spec);
        socket_wait(fd);
        b->read_fd = b->write_fd = socket_accept(fd);
    }
    char_telnet_start(b, b->read_fd >= 0);
    return true;
}

static bool open_pty(CharBackend *b, const char *option, Err *err)
{
    char path[128];
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || grantpt(fd) || unlockpt(fd) || ptsname_r(fd, path, sizeof(path))) {
        err_set(err, "-%s: no pty: %s", option, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    b->read_fd = b->write_fd = fd;
    b->slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios raw;
    if (b->slave >= 0 && tcgetattr(b->slave, &raw) == 0) {
        make_raw(&raw);
        raw.c_lflag &= (tcflag_t)~ISIG;
        raw.c_oflag &= (tcflag_t)~OPOST;
        tcsetattr(b->slave, TCSANOW, &raw);
    }
    printf("char device redirected to %s (label %s)\n", path, option);
    fflush(stdout);
    return true;
}

/* What is written stays in a FIFO until somebody reads it; who else writes there is not our matter.
 */
static bool open_fifo(CharBackend *b, const char *option, const char *path, Err *err)
{
    b->write_fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    return b->write_fd >= 0 || err_set(err, "-%s: FIFO '%s': %s", option, path, strerror(errno));
}

CharTtyNews char_tty_look(CharBackend *b)
{
    static const struct {
        int tiocm;
        uint8_t line;
    } bits[4] = {
        {TIOCM_CTS, CHAR_CTS}, {TIOCM_DSR, CHAR_DSR}, {TIOCM_RNG, CHAR_RI}, {TIOCM_CAR, CHAR_DCD}};
    CharTty *tty = &b->host_port;
    CharTtyNews news = {.inputs = tty->inputs};
    struct serial_icounter_struct c = {0};
    int lines;
    if (ioctl(b->read_fd, TIOCMGET, &lines) != 0) {
        return news;
    }
    news.inputs = 0;
    for (unsigned i = 0; i < 4; i++) {
        news.inputs |= lines & bits[i].tiocm ? bits[i].line : 0;
    }
    if (tty->counts && ioctl(b->read_fd, TIOCGICOUNT, &c) == 0) {
        const int now[4] = {c.cts, c.dsr, c.rng, c.dcd};
        for (unsigned i = 0; i < 4; i++) {
            news.flicker |= now[i] != tty->count[i] ? bits[i].line : 0;
            tty->count[i] = now[i];
        }
        news.flicker &= (uint8_t) ~(tty->inputs ^ news.inputs);
        news.broke = c.brk != tty->breaks;
        tty->breaks = c.brk;
    }
    tty->inputs = news.inputs;
    return news;
}

/* A pseudo terminal has no modem lines. Where breaks are counted, they need not be read as NUL. */
static void open_lines(CharBackend *b)
{
    struct serial_icounter_struct c = {0};
    struct termios t;
    int lines;
    b->host_port.lines = b->tty && ioctl(b->read_fd, TIOCMGET, &lines) == 0;
    b->host_port.counts = b->host_port.lines && ioctl(b->read_fd, TIOCGICOUNT, &c) == 0;
    if (b->host_port.counts && tcgetattr(b->read_fd, &t) == 0) {
        t.c_iflag |= IGNBRK;
        tcsetattr(b->read_fd, TCSANOW, &t);
    }
    if (b->host_port.lines) {
        char_tty_look(b); /* what was before is no news */
    }
}

static bool open_host_port(CharBackend *b, const char *option, const char *path, Err *err)
{
    struct stat about;
    if (stat(path, &about) == 0 && S_ISFIFO(about.st_mode)) {
        return open_fifo(b, option, path, err);
    }
    if (strncmp(path, "/dev/", 5) != 0) {
        return open_file(b, option, path, err);
    }
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return err_set(err, "-%s: port '%s': %s", option, path, strerror(errno));
    }
    struct termios raw;
    if (tcgetattr(fd, &raw) == 0) {
        make_raw(&raw);
        raw.c_lflag &= (tcflag_t)~ISIG;
        raw.c_oflag &= (tcflag_t)~OPOST;
        raw.c_cflag |= CREAD | CLOCAL;
        tcsetattr(fd, TCSANOW, &raw);
        b->tty = true;
    }
    b->read_fd = b->write_fd = fd;
    open_lines(b);
    return true;
}

bool char_open_kind(CharBackend *b, const char *option, const char *spec, Err *err)
{
    if (strcmp(spec, "stdio") == 0 || strcmp(spec, "mon:stdio") == 0) {
        return open_terminal(b, spec[0] == 'm');
    }
    if (strncmp(spec, "file:", 5) == 0) {
        return open_file(b, option, spec + 5, err);
    }
    if (strncmp(spec, "pdf:", 4) == 0) {
        return char_open_printer(b, option, spec + 4, err);
    }
    if (strncmp(spec, "unix:", 5) == 0 || strncmp(spec, "tcp:", 4) == 0 ||
        strncmp(spec, "telnet:", 7) == 0) {
        return open_socket(b, option, spec, err);
    }
    if (strcmp(spec, "pty") == 0) {
        return open_pty(b, option, err);
    }
    if (spec[0] == '/') {
        return open_host_port(b, option, spec, err);
    }
    return err_set(
        err,
        "-%s: '%s' leads nowhere; use stdio, file:PATH, pdf:PATH, unix:PATH[,server,nowait], "
        "tcp:HOST:PORT[,server,nowait], telnet: the same, pty, /dev/PORT, /FIFO or none",
        option, spec);
}

static speed_t tty_speed(unsigned baud)
{
    static const struct {
        unsigned baud;
        speed_t speed;
    } speeds[] = {{50, B50},     {75, B75},       {110, B110},     {134, B134},
                  {150, B150},   {200, B200},     {300, B300},     {600, B600},
                  {1200, B1200}, {1800, B1800},   {2400, B2400},   {4800, B4800},
                  {9600, B9600}, {19200, B19200}, {38400, B38400}, {57600, B57600}};
    for (unsigned i = 0; i < sizeof(speeds) / sizeof(speeds[0]); i++) {
        if (baud <= speeds[i].baud) {
            return speeds[i].speed;
        }
    }
    return B115200;
}

void char_tty_parameters(CharBackend *b, unsigned baud, unsigned data_bits, char parity,
                         unsigned stop_bits)
{
    static const tcflag_t sizes[] = {CS5, CS6, CS7, CS8};
    struct termios t;
    if (tcgetattr(b->write_fd, &t) != 0) {
        return;
    }
    cfsetspeed(&t, tty_speed(baud));
    t.c_cflag &= (tcflag_t) ~(CSIZE | PARENB | PARODD | CSTOPB);
    t.c_cflag |= data_bits >= 5 && data_bits <= 8 ? sizes[data_bits - 5] : CS8;
    t.c_cflag |= parity == 'N' ? 0 : parity == 'O' ? PARENB | PARODD : PARENB;
    t.c_cflag |= stop_bits > 1 ? CSTOPB : 0;
    tcsetattr(b->write_fd, TCSANOW, &t);
}

void char_tty_lines(CharBackend *b, bool dtr, bool rts, bool brk)
{
    int on = (dtr ? TIOCM_DTR : 0) | (rts ? TIOCM_RTS : 0);
    int off = (TIOCM_DTR | TIOCM_RTS) & ~on;
    ioctl(b->write_fd, TIOCMBIS, &on);
    ioctl(b->write_fd, TIOCMBIC, &off);
    ioctl(b->write_fd, brk ? TIOCSBRK : TIOCCBRK, 0);
}
