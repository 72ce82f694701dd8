/* The plug between the keyboard controller and a PS/2 device: bytes both ways, one at a time.
 *
 * The device queues what it has to say; the controller takes a byte when its own buffer is free and
 * the wire has had its time. A value, given out by the device; all zero means nothing is plugged
 * in.
 */
#ifndef MACHINE_CORE_PS2_H
#define MACHINE_CORE_PS2_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Ps2Ops {
    /* A byte from the host. Its answer, if any, is queued. */
    void (*command)(void *device, uint8_t byte);
    /* Has the device a byte for the host? */
    bool (*waiting)(void *device);
    /* Takes it; only while waiting. */
    uint8_t (*next)(void *device);
    /* Calls ready(self) whenever a byte was queued. One listener. */
    void (*attach)(void *device, void (*ready)(void *self), void *self);
} Ps2Ops;

typedef struct Ps2Port {
    const Ps2Ops *ops;
    void *device;
} Ps2Port;

#endif
