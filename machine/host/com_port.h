/* Telnet's com port control option (RFC 2217): a serial port's settings and modem lines beside the
 * bytes. No I/O of its own, all state in a struct.
 *
 * The commands come and go as they stand within a sub-negotiation: without its frame, and with
 * byte 255 once. telnet.c frames them. The server has the port, to which the guest's is joined by a
 * null modem; the client uses a port that is elsewhere as if it were the guest's own. Every
 * function is for one thread at a time.
 */
#ifndef MACHINE_HOST_COM_PORT_H
#define MACHINE_HOST_COM_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    COM_PORT_OPTION = 44,
    COM_PORT_WORD = 32,  /* bytes of a command that we say, at most */
    COM_PORT_HEARD = 64, /* bytes of one that we hear; more are not looked at */
};

/* Lines that the guest drives. */
enum { COM_DTR = 1, COM_RTS = 2, COM_BREAK = 4 };

/* What a port is set to. */
typedef struct ComFrame {
    uint32_t baud;     /* 1.. */
    uint8_t data_bits; /* 5..8 */
    uint8_t parity;    /* N, O, E, M, S as 1..5 */
    uint8_t stop_bits; /* 1, 2; 3 is one and a half */
} ComFrame;

typedef struct ComPort {
    /* the guest's port; these outlive a connection */
    uint8_t lines; /* COM_DTR.. */
    ComFrame frame;
    /* of a connection */
    bool server, on;          /* on: both sides agreed to the option */
    uint8_t toggled;          /* COM_DTR..: changed since they were told, perhaps to and fro */
    uint8_t untold;           /* COM_DTR..: not told at all yet */
    uint8_t told;             /* COM_DTR..: as the far end knows them */
    uint8_t said;             /* steps of the opening words */
    ComFrame told_frame;      /* client: what was asked for */
    ComFrame port;            /* server: what the client set, in the place of the guest's */
    uint8_t set;              /* of that, a bit a setting */
    uint8_t remote;           /* server: COM_DTR.. of the client */
    uint8_t flow[2];          /* server: towards the guest, from it: as SET-CONTROL has them */
    uint8_t modem, line;      /* masks of notifications */
    bool paused, told_paused; /* we want no data now; it was said */
    bool suspended;           /* the far end wants no data now */
    uint8_t purge;     /* 1: what comes from the guest, 2: what goes there; for who decodes */
    uint8_t inputs;    /* CHAR_CTS.. that the guest sees */
    uint8_t flickered; /* of them, those that came back; for who decodes to clear */
    bool heard;        /* the far end told its lines: until then they are as usual */
    bool broke;        /* a break came; for who decodes to clear */
} ComPort;

/* A new connection. */
void com_port_start(ComPort *c, bool server);
/* Both agreed to the option, or no longer. */
void com_port_agree(ComPort *c, bool on);
/* A command of the far end. Returns the size of the answer, which has room for COM_PORT_WORD. */
size_t com_port_hear(ComPort *c, const uint8_t *in, size_t size, uint8_t *answer);
/* What the far end is to hear next; 0: it knows all. out has room for COM_PORT_WORD. */
size_t com_port_next(ComPort *c, uint8_t *out);
/* The guest's port as the machine knows it: baud 1.., N O E M S, 1 or 2 stop bits. */
void com_port_frame(ComPort *c, unsigned baud, unsigned data_bits, char parity, unsigned stop_bits);
/* toggled: the lines that changed since the last time. */
void com_port_lines(ComPort *c, uint8_t lines, uint8_t toggled);
/* Whether data of the far end are to wait: there is no room for them. */
void com_port_pause(ComPort *c, bool pause);
/* The client wants RTS of the guest to hold its data back. */
bool com_port_paced(const ComPort *c);

#endif
