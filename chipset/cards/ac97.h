/* AC'97 audio of the Intel 82801AA (ICH), with a SigmaTel STAC9700 codec (Intel 290655; AC'97
 * Component Specification 2.1). */
#ifndef CHIPSET_CARDS_AC97_H
#define CHIPSET_CARDS_AC97_H

#include "chipset/pci.h"
#include "machine/core/audio_port.h"
#include "machine/core/device.h"

typedef struct Ac97 Ac97;

typedef struct Ac97Config {
    PciBus *bus;
    unsigned device; /* a free one */
    AudioPort audio;
} Ac97Config;

Ac97 *ac97_new(Board *b, const Ac97Config *config, const char *id);

#endif
