/* Game port at 201h: four axes and four buttons, timed by RC one-shots (IBM Game Control Adapter,
 * Options and Adapters Technical Reference). */
#ifndef CHIPSET_CARDS_GAMEPORT_H
#define CHIPSET_CARDS_GAMEPORT_H

#include "machine/core/device.h"
#include "machine/core/event.h"

typedef struct Gameport Gameport;

/* What a front end posts when a pad moves. */
typedef struct GameportEvent {
    uint8_t connected; /* a bit for each axis: 0 x1, 1 y1, 2 x2, 3 y2 */
    uint8_t buttons;   /* a bit for each of the four that is held */
    uint16_t axis[4];  /* 0 left or up .. 65535 */
} GameportEvent;

typedef struct GameportConfig {
    uint16_t base; /* 0x201, or 0x200 with eight ports as most cards decode it */
    uint8_t ports; /* 1 or 8 */
} GameportConfig;

Gameport *gameport_new(Board *b, const GameportConfig *config, const char *id);
EventPort *gameport_events(Gameport *g);

#endif
