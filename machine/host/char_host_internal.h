/* Between char_host.c (the thread and its buffers), char_host_telnet.c (telnet's lines and data),
 * char_host_call.c (clients that call again) and char_host_open.c (the kinds of back end). */
#ifndef MACHINE_HOST_CHAR_HOST_INTERNAL_H
#define MACHINE_HOST_CHAR_HOST_INTERNAL_H

#include <pthread.h>
#include <sys/types.h>
#include <termios.h>

#include "machine/host/char_host.h"
#include "machine/host/socket.h"
#include "machine/host/telnet.h"

enum {
    CHAR_MAX = 8,                      /* back ends of one machine */
    CHAR_OUT_ROOM = 1 << 20,           /* bytes that wait for a slow reader */
    CHAR_OUT_HIGH = CHAR_OUT_ROOM / 2, /* CTS falls above it, and rises below the other */
    CHAR_OUT_LOW = CHAR_OUT_ROOM / 8,
    CHAR_IN_ROOM = 4096,  /* bytes read ahead of the device */
    CHAR_ESCAPE = 1,      /* Ctrl-A on mon:stdio */
    CHAR_AHEAD = 1 << 15, /* bytes that telnet reads ahead of those */
    CHAR_MARKS = 16,
};
/* What a line without modem lines has, while somebody is there. */
enum { CHAR_USUAL = CHAR_CTS | CHAR_DSR | CHAR_DCD };

/* To the machine's thread. */
enum {
    MESSAGE_INPUT, /* bytes; and lines, ahead of them */
    MESSAGE_UP,
    MESSAGE_DOWN,
    MESSAGE_ROOM,
    MESSAGE_NOW,   /* look at `prompt` */
    MESSAGE_HURRY, /* something has waited for long */
};

typedef struct CharMessage {
    uint8_t kind;
    bool marked;             /* what follows means something, behind all that came before */
    bool broke;              /* a break */
    uint8_t inputs, flicker; /* CHAR_CTS.. but for CTS; flicker: those that changed to and fro */
    uint8_t data[CHAR_IN_ROOM];
} CharMessage;

/* What takes its place between the bytes of the far end. */
typedef struct CharMark {
    size_t ahead; /* bytes that come before it */
    bool broke, down;
    uint8_t inputs, flicker;
} CharMark;

/* Modem lines of a port of the host, which are looked at again and again; I/O thread's. */
typedef struct CharTty {
    bool lines, counts; /* it has them; it counts their changes */
    uint8_t inputs;     /* CHAR_CTS.. */
    int count[4], breaks;
    int64_t look_at; /* host ns */
} CharTty;

/* I/O thread's. */
typedef struct CharTelnet {
    Telnet t;
    ComPort com;
    uint8_t in[CHAR_AHEAD]; /* ring */
    size_t at, count;
    CharMark mark[CHAR_MARKS];
    unsigned marks;
    uint8_t inputs;    /* CHAR_CTS.. behind the last mark */
    bool paced;        /* as was said by `prompt` */
    bool closing;      /* the far end has gone, but not all that it said was taken */
    int64_t settle_by; /* host ns: the com port must have been agreed upon */
} CharTelnet;

typedef struct CharPrinter CharPrinter;

/* The guest's port, for those who carry it further; under host->lock. */
typedef struct CharGuest {
    uint8_t lines, toggled; /* COM_DTR..; toggled: since the I/O thread took them */
    unsigned baud, data_bits, stop_bits;
    char parity;
    bool changed;
    size_t ahead; /* bytes of output that were there before the change */
} CharGuest;

typedef struct CharBackend {
    CharHost *host;
    char name[8]; /* of its event port */
    EventPort *events;

    /* set when opened */
    bool terminal; /* stdin and stdout: not made non-blocking, since others share them */
    bool escape;   /* Ctrl-A begins a command */
    bool tty;      /* has line settings */
    CharTty host_port;
    struct termios saved; /* of the terminal; restored when saved_valid */
    bool saved_valid;
    SocketSpec socket;
    SocketCall call; /* of a client that connects again and again, socket.reconnect */
    bool is_socket;
    CharTelnet *telnet;   /* on a socket that speaks it; else NULL */
    CharPrinter *printer; /* reads the other end of a pipe; else NULL */
    int slave;            /* pty: kept open, so that no reader is no hang-up; else -1 */

    /* machine's thread */
    CharSink sink;
    bool attached, pumping;
    uint8_t in[CHAR_IN_ROOM];
    size_t in_at, in_count;
    bool holding;   /* `in` has what came last: the next input may come when it is empty */
    bool shown;     /* the device has a carrier */
    uint8_t inputs; /* CHAR_CTS.. as the far end has them */
    bool paced;     /* input waits while the guest's RTS is low */
    CharMark due;   /* what waits until the line is quiet: all of them together */
    bool has_due;
    unsigned hurries; /* since a byte was taken last */

    /* I/O thread */
    int read_fd, write_fd, listen_fd; /* -1: none */
    bool escaped;
    int64_t hurry_at; /* host ns; 0: nothing waits */
    int64_t call_at;  /* host ns: the next attempt to connect */
    bool gone;        /* the far end has hung up behind what is in flight */

    /* both, under host->lock */
    uint8_t *out; /* ring of CHAR_OUT_ROOM bytes */
    size_t out_at, out_count;
    bool in_flight; /* input is on its way to the device: read no more */
    bool up;        /* somebody is at the other end */
    bool carrier;   /* and the machine was told so; the I/O thread alone looks at it */
    bool dropped;   /* some output was lost; said once */
    bool held;      /* CTS is low: the buffer is nearly full */
    CharGuest guest;
    bool waits;    /* the machine's thread has something due */
    bool stuck;    /* the guest takes no bytes: lines wait for them no longer */
    bool hurrying; /* MESSAGE_HURRY is on its way */
    struct {
        bool posted;                   /* MESSAGE_NOW is on its way */
        uint8_t mask, inputs, flicker; /* mask: those that are meant */
        bool paced, broke;
    } prompt; /* lines that overtake bytes */
} CharBackend;

struct CharHost {
    EventQueue *queue;
    pthread_t thread;
    pthread_mutex_t lock;
    int wake_fd;
    bool quit; /* under lock */
    CharBackend *backend[CHAR_MAX];
    unsigned count; /* grows under lock */
};

/* Fills the file descriptors and flags of b. */
bool char_open_kind(CharBackend *b, const char *option, const char *spec, Err *err);

/* char_host.c; I/O thread */
void char_post(CharBackend *b, const CharMessage *m, size_t size);
/* The machine is told that somebody is there, with these lines. */
void char_raise_carrier(CharBackend *b, uint8_t inputs);
/* ... and that he has gone. */
void char_drop_carrier(CharBackend *b);
/* Lines of the mask, now: they overtake bytes. flicker: those that were otherwise for a moment. */
void char_tell_now(CharBackend *b, uint8_t mask, uint8_t inputs, uint8_t flicker);
/* Takes from the ring of output, and writes. -1: the other end has gone. */
size_t char_take_output(CharBackend *b, uint8_t *data, size_t most);
ssize_t char_write_out(CharBackend *b, const uint8_t *data, size_t size);
void char_tell_of_room(CharBackend *b);

/* char_host_telnet.c; I/O thread. A connection begins, or (up is false) there is none. */
void char_telnet_start(CharBackend *b, bool up);
/* It is over; the machine hears of it behind all that came before. */
void char_telnet_end(CharBackend *b);
bool char_telnet_has_room(const CharBackend *b);
/* Is there something to write, which can be? host->lock is held. */
bool char_telnet_writes(const CharBackend *b);
void char_telnet_take(CharBackend *b, const uint8_t *data, size_t size);
void char_telnet_give(CharBackend *b);
/* What is to be done at times; returns when at the latest again (host ns). */
int64_t char_telnet_tend(CharBackend *b);

/* char_host_call.c; I/O thread. Begins to connect when it is time; returns when it wants to be seen
 * to (host ns). */
int64_t char_call_tend(CharBackend *b);
/* What has become of the attempt, now that b->call.fd can be written: the connected socket, or -1.
 */
int char_call_end(CharBackend *b);

/* char_host_open.c */
/* "PATH[,pins=][,paper=]". */
bool char_open_printer(CharBackend *b, const char *option, const char *spec, Err *err);
/* After the pipe to it was closed: waits until all is on paper. NULL is allowed. */
void char_close_printer(CharPrinter *p);
/* Line settings of a host port; machine's thread. */
void char_tty_parameters(CharBackend *b, unsigned baud, unsigned data_bits, char parity,
                         unsigned stop_bits);
/* Changes of what the port hears; I/O thread, but for the first time. */
typedef struct CharTtyNews {
    uint8_t inputs, flicker; /* CHAR_CTS.. */
    bool broke;
} CharTtyNews;
CharTtyNews char_tty_look(CharBackend *b);
void char_tty_lines(CharBackend *b, bool dtr, bool rts, bool brk);

#endif
