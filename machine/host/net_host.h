/* The networks of one machine on the host: user network (libslirp), sockets, tap.
 *
 * One thread does all of it. The machine's thread never waits: frames it sends go into a buffer
 * (and are dropped when that is full, as a wire drops them), frames for it are posted through the
 * event queue and no more are taken in than the card has room for.
 */
#ifndef MACHINE_HOST_NET_HOST_H
#define MACHINE_HOST_NET_HOST_H

#include "machine/core/err.h"
#include "machine/core/event.h"
#include "machine/core/net_port.h"

enum { NET_MAX_FORWARDS = 16, NET_MAX_BACKENDS = 8, NET_MAX_ID = 32 };

typedef struct NetHost NetHost;

/* QEMU's settings of `-netdev user`; NULL or 0: the default. */
typedef struct NetUserSpec {
    const char *net, *host, *dns, *dhcpstart;
    const char *hostname, *domainname, *tftp, *tftp_server_name, *bootfile;
    const char *hostfwd[NET_MAX_FORWARDS], *guestfwd[NET_MAX_FORWARDS];
    const char *dnssearch[NET_MAX_FORWARDS + 1]; /* the last stays NULL */
    bool restricted, no_ipv4, no_ipv6;
} NetUserSpec;

/* Frames behind a 4-byte big-endian length on a stream. An address is "HOST:PORT" or "unix:PATH".
 */
typedef struct NetStreamSpec {
    const char *address;
    bool server;
} NetStreamSpec;

/* A frame a datagram. Addresses as above. */
typedef struct NetDgramSpec {
    const char *local;  /* NULL: any; multicast: the interface's address */
    const char *remote; /* NULL: whoever sent last */
} NetDgramSpec;

typedef struct NetTapSpec {
    const char *ifname; /* NULL: the kernel chooses */
    int fd;             /* an open tap's; -1: none */
} NetTapSpec;

/* events must outlive it. NULL: no memory. */
NetHost *net_host_new(EventQueue *events);
/* Before the machine's thread starts or after it has ended. NULL is allowed. */
void net_host_free(NetHost *host);

/* New networks, before net_host_start. id: unique, below NET_MAX_ID characters. Messages begin with
 * `option`: "-netdev user,id=n0". */
bool net_host_user(NetHost *host, const char *id, const char *option, const NetUserSpec *spec,
                   Err *err);
bool net_host_stream(NetHost *host, const char *id, const char *option, const NetStreamSpec *spec,
                     Err *err);
bool net_host_dgram(NetHost *host, const char *id, const char *option, const NetDgramSpec *spec,
                    Err *err);
bool net_host_tap(NetHost *host, const char *id, const char *option, const NetTapSpec *spec,
                  Err *err);
/* Writes all frames of a network to a pcap file, each cut to `longest` bytes. */
bool net_host_dump(NetHost *host, const char *id, const char *option, const char *file,
                   uint32_t longest, Err *err);
/* The port for a card; each network takes one. */
bool net_host_port(NetHost *host, const char *id, const char *option, NetPort *port, Err *err);
/* Starts the thread; with no networks there is none. */
bool net_host_start(NetHost *host, Err *err);

#endif
