/* Between net_host.c (the thread and its buffers) and the kinds of network.
 *
 * All calls of a NetKind are made with host->work held: by the I/O thread or, for send, by the
 * machine's thread when the I/O thread has nothing to do. close comes after the I/O thread has
 * ended.
 */
#ifndef MACHINE_HOST_NET_HOST_INTERNAL_H
#define MACHINE_HOST_NET_HOST_INTERNAL_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>

#include "machine/host/net_host.h"

enum {
    NET_SHORTEST = 60,       /* without FCS: what an adapter pads to */
    NET_OUT_ROOM = 1 << 20,  /* bytes from the machine that wait for the I/O thread */
    NET_IN_ROOM = 256 << 10, /* bytes on their way to the card */
    NET_BACKLOG = 4 << 20,   /* bytes that wait to go on that way */
    NET_BATCH = 32 << 10,    /* bytes posted at once */
    NET_FDS = 4096,
    NET_IDLE_MS = 60000,
    NET_BRISK_MS = 1,
    NET_STUCK_MS = 1000, /* a machine that takes nothing for so long stops no sender */
};

typedef struct NetBackend NetBackend;

/* What became of a frame from the machine. */
typedef enum NetSent {
    NET_SENT,  /* or lost, as on a wire */
    NET_WATCH, /* sent; the I/O thread must look at the file descriptors again */
    NET_LATER, /* it would have had to wait */
} NetSent;

/* What one kind of network does. */
typedef struct NetKind {
    /* A frame from the machine. may_wait: a few ms, on the I/O thread; else it answers NET_LATER.
     */
    NetSent (*send)(NetBackend *b, const uint8_t *frame, size_t size, bool may_wait);
    /* Adds file descriptors with net_poll_add and lowers *timeout_ms if need be. */
    void (*fill)(NetBackend *b, uint32_t *timeout_ms);
    /* Looks at what net_poll_result says of them. */
    void (*polled)(NetBackend *b);
    void (*close)(NetBackend *b);
} NetKind;

typedef struct NetBytes {
    uint8_t *data;
    size_t at, count; /* bytes at..at + count */
} NetBytes;

struct NetBackend {
    NetHost *host;
    const NetKind *kind;
    void *state; /* the kind's */
    char id[NET_MAX_ID];
    EventPort *events;
    bool taken; /* by a card */

    /* machine's thread */
    NetSink sink;
    bool attached, pumping;
    NetBytes in; /* of NET_IN_ROOM bytes */

    /* both, under host->lock */
    NetBytes out;     /* of NET_OUT_ROOM bytes; each frame behind its length in two bytes */
    size_t in_flight; /* bytes posted and not yet taken by the card */
    bool throttled;   /* the I/O thread waits for in_flight to fall */
    bool dropped;     /* some frame was lost for want of room; said once */

    /* under host->work */
    NetBytes sending;     /* changes places with `out` */
    NetBytes backlog;     /* of NET_BACKLOG bytes */
    bool backlog_full;    /* said once */
    int64_t throttled_ms; /* host ms since which the card takes nothing; 0: it takes */
    bool stuck;           /* it has done so for NET_STUCK_MS: what comes now is dropped */
    FILE *dump;
    uint32_t dump_longest;
};

struct NetHost {
    EventQueue *queue;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_mutex_t work; /* held by who works on the networks; taken before lock */
    int wake_fd;
    unsigned sent_now;  /* under work: frames that the machine's thread sent since the last round */
    bool brisk;         /* under work: the I/O thread comes round within NET_BRISK_MS */
    atomic_bool waking; /* wake_fd has been written and not yet read */
    bool quit;          /* under lock */
    NetBackend *backend[NET_MAX_BACKENDS];
    unsigned count;
    struct pollfd fds[NET_FDS]; /* I/O thread */
    unsigned fd_count;
};

/* A new back end without a kind; NULL with err set. */
NetBackend *net_backend_new(NetHost *host, const char *id, const char *option, const NetKind *kind,
                            void *state, Err *err);
/* With host->work held: a frame for the machine; dropped when the backlog is full. */
void net_in(NetBackend *b, const uint8_t *frame, size_t size);
/* I/O thread: whether a kind that can leave frames where they are should take more. */
bool net_in_room(const NetBackend *b);
/* Index for net_poll_result; -1: too many. */
int net_poll_add(NetBackend *b, int fd, short events);
short net_poll_result(const NetBackend *b, int index);

/* "HOST:PORT" or "unix:PATH"; passive: an empty host means any address. */
bool net_address(const char *option, const char *text, bool passive, int type,
                 struct sockaddr_storage *address, socklen_t *length, Err *err);

#endif
