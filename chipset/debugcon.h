/* Debug console: a port whose writes are characters (the Bochs E9h hack; SeaBIOS writes to 402h).
 */
#ifndef CHIPSET_DEBUGCON_H
#define CHIPSET_DEBUGCON_H

#include "machine/core/char_port.h"
#include "machine/core/device.h"

typedef struct Debugcon Debugcon;

typedef struct DebugconConfig {
    uint16_t base; /* 0x402 or 0xe9 */
    CharPort port; /* gets every character; lines also go to the log, level trace */
} DebugconConfig;

Debugcon *debugcon_new(Board *b, const DebugconConfig *config, const char *id);

#endif
