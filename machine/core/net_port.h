/* The host's end of a network cable: Ethernet frames without preamble and FCS, 14..1518 bytes.
 *
 * All zero means no cable. send is called on the machine's thread and never blocks; received frames
 * come on the machine's thread too (the back end posts them through the event queue).
 */
#ifndef MACHINE_CORE_NET_PORT_H
#define MACHINE_CORE_NET_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_MAX_FRAME 1518u

typedef struct NetSink {
    /* False: no room just now; the back end keeps the frame and tries again after ready. */
    bool (*receive)(void *self, const uint8_t *frame, size_t size);
    void *self;
} NetSink;

typedef struct NetOps {
    void (*send)(void *backend, const uint8_t *frame, size_t size);
    void (*attach)(void *backend, const NetSink *sink);
    void (*ready)(void *backend); /* the card can receive again */
} NetOps;

typedef struct NetPort {
    const NetOps *ops;
    void *backend;
} NetPort;

#endif
