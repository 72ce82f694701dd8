/* Parallel printer port with the PS/2's data direction bit (IBM PS/2 Hardware Interface Technical
 * Reference, "Parallel port"). */
#ifndef CHIPSET_LPT_H
#define CHIPSET_LPT_H

#include "machine/core/char_port.h"
#include "machine/core/device.h"
#include "machine/core/line.h"

typedef struct Lpt Lpt;

typedef struct LptConfig {
    uint16_t base; /* first of three ports: 0x378, 0x278, 0x3bc */
    Line irq;      /* IRQ7 or IRQ5 */
    CharPort port; /* the printer; all zero: no cable, and software sees that */
} LptConfig;

Lpt *lpt_new(Board *b, const LptConfig *config, const char *id);

#endif
