/* FM synthesizers: YMF262 (OPL3), and YM3812 (OPL2) as on the AdLib card (Yamaha YMF262
 * application manual; YM3812 data sheet).
 *
 * The chip answers at 388h and, on a Sound Blaster, at the ninth and tenth port of the card; the
 * YMF262 at the first four too.
 */
#ifndef CHIPSET_CARDS_OPL3_H
#define CHIPSET_CARDS_OPL3_H

#include "machine/core/audio_port.h"
#include "machine/core/device.h"
#include "machine/core/line.h"

#define OPL3_HZ 49716u /* 14.31818 MHz / 288 */
#define OPL3_UNITY AUDIO_FULL_VOLUME

typedef struct Opl3 Opl3;

typedef struct Opl3Config {
    AudioPort audio;
    bool opl2;             /* a YM3812: one bank, one speaker, bits 1 and 2 of the status set */
    uint16_t base;         /* 388h; 0: none */
    uint16_t blaster_base; /* 220h: of the Sound Blaster it sits on; 0: none */
    Line irq;              /* the timers'; not connected on any card sold for PCs */
} Opl3Config;

Opl3 *opl3_new(Board *b, const Opl3Config *config, const char *id);
/* The mixer chip behind it: volume of each side, OPL3_UNITY is as it comes. */
void opl3_volume(void *opl3, uint32_t left, uint32_t right);

#endif
