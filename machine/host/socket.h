/* Stream sockets of the host, as options name them: "unix:PATH,server,nowait",
 * "tcp:HOST:PORT,server,nowait", "telnet:HOST:PORT,server,nowait".
 */
#ifndef MACHINE_HOST_SOCKET_H
#define MACHINE_HOST_SOCKET_H

#include <stdbool.h>

#include "machine/core/err.h"

typedef struct SocketSpec {
    bool local;     /* a Unix socket; else TCP */
    char path[108]; /* Unix: its file */
    char host[256]; /* TCP: empty for this computer alone */
    char port[32];
    bool telnet;        /* that protocol is spoken on it; for its user to see to */
    bool server, wait;  /* wait: a server's start waits for the first client */
    unsigned reconnect; /* a client's seconds between attempts, 1..3600; 0: one must succeed */
} SocketSpec;

/* A client's attempts to connect, which do not block. */
typedef struct SocketCall {
    struct addrinfo *found, *next; /* TCP: the addresses of the name; the next to be tried */
    int fd;                        /* of an attempt that is under way; else -1 */
} SocketCall;

/* option names the option in messages: "serial". */
bool socket_parse(const char *option, const char *text, SocketSpec *spec, Err *err);
/* A listening (spec->server) or connected socket, not blocking; -1 with err set. A file left by a
 * server that is gone is replaced. */
int socket_open(const char *option, const SocketSpec *spec, Err *err);
/* Looks the name up, once and for all, which may take its time. False: it is unknown. */
bool socket_call_open(SocketCall *call, const char *option, const SocketSpec *spec, Err *err);
void socket_call_close(SocketCall *call);
/* Begins an attempt; when call->fd can be written, socket_call_end says what has become of it.
 * False: it has failed. */
bool socket_call_begin(SocketCall *call, const SocketSpec *spec);
/* The connected socket, not blocking; or -1, and the attempt has failed. */
int socket_call_end(SocketCall *call);
/* After a failure: has the name another address, to be tried at once? */
bool socket_call_has_more(const SocketCall *call);
/* The next client, not blocking; -1: none waits. */
int socket_accept(int listener);
/* Waits for a client without limit. */
void socket_wait(int listener);
/* Removes a server's file. */
void socket_remove(const SocketSpec *spec);

#endif
