/* Gravis UltraSound (Advanced Gravis, UltraSound Software Development Kit, "GF1 register
 * description"): 32 voices from its own memory, timers, MIDI port.
 */
#ifndef CHIPSET_CARDS_GUS_H
#define CHIPSET_CARDS_GUS_H

#include "machine/core/audio_port.h"
#include "machine/core/char_port.h"
#include "machine/core/device.h"
#include "machine/core/dma.h"
#include "machine/core/line.h"

typedef struct GusConfig {
    uint16_t base; /* 210h..260h; the second half answers 100h above */
    /* Lines by number, of those that the card's latches can choose: 2 (9), 3, 5, 7, 11, 12, 15. */
    Line irq[16];
    DmaLine dma[8];                 /* 1, 3, 5, 6, 7 */
    uint8_t irq_choice, dma_choice; /* both channels', until the guest chooses; 0: none */
    uint32_t memory_kib;            /* 256, 512, 768 or 1024; 0: 1024 */
    AudioPort audio;
    CharPort midi;
} GusConfig;

typedef struct Gus Gus;

/* NULL with err set when there is no memory. */
Gus *gus_new(Board *b, const GusConfig *config, const char *id, Err *err);
/* Can the card's latches choose this request or channel? */
bool gus_has_irq(unsigned irq);
bool gus_has_dma(unsigned channel);

#endif
