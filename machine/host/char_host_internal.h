/* Between char_host.c (the thread and its buffers) and char_host_open.c (the kinds of back end). */
#ifndef MACHINE_HOST_CHAR_HOST_INTERNAL_H
#define MACHINE_HOST_CHAR_HOST_INTERNAL_H

#include <pthread.h>
#include <termios.h>

#include "machine/host/char_host.h"
#include "machine/host/socket.h"
#include "machine/host/telnet.h"

enum {
    CHAR_MAX = 8,                      /* back ends of one machine */
    CHAR_OUT_ROOM = 1 << 20,           /* bytes that wait for a slow reader */
    CHAR_OUT_HIGH = CHAR_OUT_ROOM / 2, /* CTS falls above it, and rises below the other */
    CHAR_OUT_LOW = CHAR_OUT_ROOM / 8,
    CHAR_IN_ROOM = 4096, /* bytes read ahead of the device */
    CHAR_ESCAPE = 1,     /* Ctrl-A on mon:stdio */
};

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
    bool terminal;        /* stdin and stdout: not made non-blocking, since others share them */
    bool escape;          /* Ctrl-A begins a command */
    bool tty;             /* has line settings */
    struct termios saved; /* of the terminal; restored when saved_valid */
    bool saved_valid;
    SocketSpec socket;
    Telnet *telnet;       /* on a socket that speaks it; then the I/O thread's. Else NULL */
    ComPort com;          /* its com port; the I/O thread's too */
    CharPrinter *printer; /* reads the other end of a pipe; else NULL */
    int slave;            /* pty: kept open, so that no reader is no hang-up; else -1 */

    /* machine's thread */
    CharSink sink;
    bool attached, pumping;
    uint8_t in[CHAR_IN_ROOM];
    size_t in_at, in_count;
    bool holding;   /* `in` has what came last: the next input may come when it is empty */
    uint8_t inputs; /* CHAR_CTS.. as the far end has them */
    bool paced;     /* input waits while the guest's RTS is low */

    /* I/O thread */
    int read_fd, write_fd, listen_fd; /* -1: none */
    bool escaped;
    int64_t settle_by;     /* host ns: telnet's com port must have been agreed upon */
    uint8_t posted_inputs; /* CHAR_CTS.. as the machine knows them, or will */
    bool posted_pace;

    /* both, under host->lock */
    uint8_t *out; /* ring of CHAR_OUT_ROOM bytes */
    size_t out_at, out_count;
    bool in_flight; /* input is on its way to the device: read no more */
    bool up;        /* somebody is at the other end */
    bool carrier;   /* and the machine was told so */
    bool dropped;   /* some output was lost; said once */
    bool held;      /* CTS is low: the buffer is nearly full */
    CharGuest guest;
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
/* For a socket that speaks telnet: its connection begins, or (up is false) is over. */
void char_start_telnet(CharBackend *b, bool up);
/* "PATH[,pins=][,paper=]". */
bool char_open_printer(CharBackend *b, const char *option, const char *spec, Err *err);
/* After the pipe to it was closed: waits until all is on paper. NULL is allowed. */
void char_close_printer(CharPrinter *p);
/* Line settings of a host port; machine's thread. */
void char_tty_parameters(CharBackend *b, unsigned baud, unsigned data_bits, char parity,
                         unsigned stop_bits);
void char_tty_lines(CharBackend *b, bool dtr, bool rts, bool brk);

#endif
