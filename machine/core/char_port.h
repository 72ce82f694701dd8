/* The host's end of a byte stream: what a serial or parallel port, debug console or modem is
 * plugged into.
 *
 * The device holds a CharPort by value; all zero means nothing is plugged in (output vanishes).
 * Calls come on the machine's thread and never block. Input arrives through receive, called on the
 * machine's thread (the back end posts it through the event queue).
 */
#ifndef MACHINE_CORE_CHAR_PORT_H
#define MACHINE_CORE_CHAR_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lines towards a serial port's device. */
enum { CHAR_CTS = 1, CHAR_DSR = 2, CHAR_RI = 4, CHAR_DCD = 8 };

typedef struct CharSink {
    void (*receive)(void *self, const uint8_t *data,
                    size_t size);           /* at most what `room` said since the last call */
    size_t (*room)(void *self);             /* bytes the device can take now */
    void (*connected)(void *self, bool up); /* carrier, down until told; may be NULL */
    /* All lines as they are now, in the place of `connected`, from those who tell them apart; may
     * be NULL. */
    void (*lines)(void *self, unsigned lines);
    void (*brk)(void *self); /* a break, ahead of the bytes that wait on the line; may be NULL */
    /* Is nothing of what was received still on the line? When it says no, `ready` comes with each
     * byte that leaves it. For what must not overtake bytes; may be NULL: it never is. */
    bool (*quiet)(void *self);
    void *self;
} CharSink;

typedef struct CharOps {
    /* Takes all bytes (it buffers, and drops the oldest when a reader stalls for long). */
    void (*write)(void *backend, const uint8_t *data, size_t size);
    /* The device's side; called once, when the device is made. */
    void (*attach)(void *backend, const CharSink *sink);
    /* The device has room again after room() said 0, or fewer bytes on its line after quiet() said
     * no. */
    void (*ready)(void *backend);
    /* Line settings and modem lines, for host ports and modems; each may be NULL. */
    void (*parameters)(void *backend, unsigned baud, unsigned data_bits, char parity,
                       unsigned stop_bits);
    void (*set_lines)(void *backend, bool dtr, bool rts, bool brk);
} CharOps;

typedef struct CharPort {
    const CharOps *ops;
    void *backend;
} CharPort;

#endif
