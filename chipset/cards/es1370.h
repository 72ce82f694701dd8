/* Ensoniq AudioPCI: ES1370 with its AK4531 codec (Ensoniq ES1370 specification; Asahi Kasei
 * AK4531).
 */
#ifndef CHIPSET_CARDS_ES1370_H
#define CHIPSET_CARDS_ES1370_H

#include "chipset/pci.h"
#include "machine/core/audio_port.h"
#include "machine/core/device.h"

typedef struct Es1370 Es1370;

typedef struct Es1370Config {
    PciBus *bus;
    unsigned device; /* a free one */
    AudioPort audio;
} Es1370Config;

Es1370 *es1370_new(Board *b, const Es1370Config *config, const char *id);

#endif
