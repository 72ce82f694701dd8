/* Telnet as a filter between a byte stream and a socket: no I/O of its own, all state in a struct.
 *
 * What comes from the socket goes through telnet_decode; what goes there through telnet_encode into
 * a buffer, in which the answers to negotiations find their place between the data. A plain line
 * goes the same way unchanged. Every function is for one thread at a time.
 */
#ifndef MACHINE_HOST_TELNET_H
#define MACHINE_HOST_TELNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/host/com_port.h"

enum {
    TELNET_HELD = 2,      /* bytes that telnet_decode may give beyond what it is given */
    TELNET_WIRE = 8192,   /* bytes on their way to the socket */
    TELNET_ANSWERS = 2048 /* of them, kept for answers */
};

/* AUTO: plain, until the first byte above 7Fh, within the first 256, begins a negotiation. */
typedef enum TelnetMode { TELNET_OFF, TELNET_AUTO, TELNET_ON } TelnetMode;
/* Who is called offers to echo; the caller lets him. */
typedef enum TelnetRole { TELNET_CALLER, TELNET_CALLED } TelnetRole;

typedef struct Telnet {
    /* Of who has a port: the com port control option is offered, under ON. NULL: it is refused.
     * Set before the start; not of the connection. */
    ComPort *com;
    /* the rest is of the connection */
    TelnetMode mode; /* AUTO until it is known */
    TelnetRole role;
    uint8_t state;                   /* of the decoder */
    uint8_t verb;                    /* WILL..DONT whose option comes next */
    uint8_t seen;                    /* bytes that AUTO has looked at */
    uint16_t skipped;                /* bytes of a sub-negotiation */
    uint8_t sub[1 + COM_PORT_HEARD]; /* of them, its option and the first of what it says */
    uint8_t sub_size;
    bool came_cr, went_cr;      /* the last byte of data, each way */
    uint8_t ours[4], theirs[4]; /* state of ECHO, SGA, BINARY and the com port */
    uint8_t refused[2][32];     /* a bit an option: said no to WILL, to DO */
    bool broke;                 /* a break came: for who decodes to clear */
    uint16_t answered;          /* answers that could be had more than once */
    uint16_t at, count;         /* of wire */
    uint8_t wire[TELNET_WIRE];
} Telnet;

/* "on", "off" or "auto". */
bool telnet_mode(const char *word, TelnetMode *mode);
/* A new connection; what waited on the wire is forgotten. */
void telnet_start(Telnet *t, TelnetMode mode, TelnetRole role);
/* Bytes from the socket; out has room for size + TELNET_HELD. Returns how many of data came out. */
size_t telnet_decode(Telnet *t, const uint8_t *in, size_t size, uint8_t *out);
/* Has the far end said yes or no to the com port, and where its lines are, or cannot be expected
 * to? */
bool telnet_settled(const Telnet *t);
/* The far end has gone: what AUTO still held back (at most TELNET_HELD bytes). */
size_t telnet_finish(Telnet *t, uint8_t *out);
/* How many bytes telnet_encode takes now. */
size_t telnet_room(const Telnet *t);
void telnet_encode(Telnet *t, const uint8_t *data, size_t size);
/* Puts what the far end's com port has to hear on the wire, as far as there is room. */
void telnet_tell(Telnet *t);
/* A break for who has no com port, ahead of the data to come. */
void telnet_break(Telnet *t);
/* What the socket is to get next (NULL when size becomes 0), and that it took so many. */
const uint8_t *telnet_waiting(const Telnet *t, size_t *size);
void telnet_sent(Telnet *t, size_t size);

#endif
