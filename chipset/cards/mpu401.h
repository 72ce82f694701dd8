/* MPU-401 MIDI interface (Roland, MPU-401 Technical Reference Manual), at 330h. */
#ifndef CHIPSET_CARDS_MPU401_H
#define CHIPSET_CARDS_MPU401_H

#include "machine/core/char_port.h"
#include "machine/core/device.h"
#include "machine/core/line.h"

typedef struct Mpu401 Mpu401;

typedef struct Mpu401Config {
    uint16_t base; /* data; base + 1: status and command */
    Line irq;      /* high while a byte waits to be read */
    CharPort midi; /* the cable: a synthesizer, a host port */
} Mpu401Config;

Mpu401 *mpu401_new(Board *b, const Mpu401Config *config, const char *id);
/* Solders the interrupt, for a card whose other half is made later. */
void mpu401_connect(Mpu401 *m, Line irq);
/* A second way to the same cable, for a Sound Blaster's DSP. */
CharPort mpu401_cable(Mpu401 *m);

#endif
