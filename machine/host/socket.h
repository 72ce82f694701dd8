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
    bool telnet;       /* that protocol is spoken on it; for its user to see to */
    bool server, wait; /* wait: a server's start waits for the first client */
} SocketSpec;

/* option names the option in messages: "serial". */
bool socket_parse(const char *option, const char *text, SocketSpec *spec, Err *err);
/* A listening (spec->server) or connected socket, not blocking; -1 with err set. A file left by a
 * server that is gone is replaced. */
int socket_open(const char *option, const SocketSpec *spec, Err *err);
/* The next client, not blocking; -1: none waits. */
int socket_accept(int listener);
/* Waits for a client without limit. */
void socket_wait(int listener);
/* Removes a server's file. */
void socket_remove(const SocketSpec *spec);

#endif
