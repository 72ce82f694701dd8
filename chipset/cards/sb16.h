/* Sound Blaster 1.0, 2.0, Pro and 16: DSP, DMA and mixer (Creative, Sound Blaster Series Hardware
 * Programming Guide).
 *
 * The FM synthesizer and the MPU-401 of the card are chips of their own.
 */
#ifndef CHIPSET_CARDS_SB16_H
#define CHIPSET_CARDS_SB16_H

#include "machine/core/audio_port.h"
#include "machine/core/char_port.h"
#include "machine/core/device.h"
#include "machine/core/dma.h"
#include "machine/core/line.h"

enum { SB_IRQS = 4 }; /* 2 (9), 5, 7, 10: the bits of mixer register 80h */

typedef enum SbModel { SB_1, SB_2, SB_PRO, SB_16 } SbModel; /* DSP 1.05, 2.01, 3.02, 4.05 */

typedef struct Sb16Config {
    SbModel model;
    AudioPort audio;
    CharPort midi; /* what DSP commands 30h..38h talk to */
    uint16_t base; /* 220h */
    Line irq[SB_IRQS];
    uint8_t irq_choice; /* 0..3: an index into irq, until the guest chooses */
    DmaLine dma[8];
    uint8_t dma8, dma16; /* 0, 1, 3 and 5..7; dma16 below 4: 16 bits go over dma8 */
    /* Volume of the FM synthesizer beside it, 10000h is as it comes; may be NULL. */
    void (*fm_volume)(void *fm, uint32_t left, uint32_t right);
    void *fm;
    /* The same for the CD-ROM drive's audio cable. */
    void (*cd_volume)(void *cd, uint32_t left, uint32_t right);
    void *cd;
} Sb16Config;

typedef struct Sb16 Sb16;

Sb16 *sb16_new(Board *b, const Sb16Config *config, const char *id);
/* Input: the interrupt of the card's MPU-401, which shares the card's request. */
Line sb16_mpu_irq(Sb16 *s);

#endif
