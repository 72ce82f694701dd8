/* The far end of a network cable, for tests of network cards. */
#ifndef TESTS_UNIT_WIRE_H
#define TESTS_UNIT_WIRE_H

#include "machine/core/net_port.h"

typedef struct Wire {
    NetSink sink;
    uint8_t sent[NET_MAX_FRAME]; /* the last frame that the card sent */
    size_t size;
    unsigned frames, readies;
} Wire;

NetPort wire_port(Wire *w);
/* A frame to this address, filled with one byte, as it comes from the cable; what the card says. */
bool wire_arrives(Wire *w, const uint8_t *to, size_t size, uint8_t fill);

#endif
