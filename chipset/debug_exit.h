/* Debug exit port: a write ends the program with a status of the guest's choice (QEMU's
 * isa-debug-exit). */
#ifndef CHIPSET_DEBUG_EXIT_H
#define CHIPSET_DEBUG_EXIT_H

#include "machine/core/device.h"

typedef struct DebugExit DebugExit;

typedef struct DebugExitConfig {
    uint16_t base;                        /* iobase: 0x501 by default */
    uint8_t size;                         /* iosize: 1, 2 or 4 ports */
    void (*exit)(void *self, int status); /* (value << 1) | 1, cut to eight bits by the host */
    void *self;
} DebugExitConfig;

/* False with err set: the ports do not fit. */
DebugExit *debug_exit_new(Board *b, const DebugExitConfig *config, const char *id, Err *err);

#endif
