/* 8042 keyboard controller with a PS/2 auxiliary port (IBM PS/2 Hardware Interface Technical
 * Reference, "Keyboard and auxiliary device controller").
 *
 * Ports 60h and 64h. Bytes from the devices come at the pace of the wire.
 */
#ifndef CHIPSET_KBC_H
#define CHIPSET_KBC_H

#include <stdbool.h>

#include "machine/core/device.h"
#include "machine/core/line.h"
#include "machine/core/ps2.h"

typedef struct Kbc Kbc;

typedef struct KbcConfig {
    Ps2Port keyboard, mouse;
    Line irq1, irq12;
    Line a20;   /* output port bit 1: driven at each write, true at reset, not after a load */
    Line reset; /* a pulse when output port bit 0 goes low: resets the processor */
} KbcConfig;

Kbc *kbc_new(Board *b, const KbcConfig *config, const char *id);

#endif
