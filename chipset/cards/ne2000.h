/* NE2000 network card for the ISA bus: a DP8390 with 16 KiB of memory and a PROM (Novell's design;
 * National Semiconductor DP8390D data sheet, application note AN-729).
 */
#ifndef CHIPSET_CARDS_NE2000_H
#define CHIPSET_CARDS_NE2000_H

#include "machine/core/device.h"
#include "machine/core/line.h"
#include "machine/core/net_port.h"

typedef struct Ne2000 Ne2000;

typedef struct Ne2000Config {
    uint16_t base; /* first of 32 ports: 0x300 */
    Line irq;
    NetPort port;
    uint8_t mac[6];
    int64_t patience; /* guest ns that a frame waits for room in the ring; 0: it is lost at once */
} Ne2000Config;

Ne2000 *ne2000_new(Board *b, const Ne2000Config *config, const char *id);

#endif
