/* Two 8259A interrupt controllers in the PC arrangement (Intel 8259A data sheet, order no. 231468)
 * and the ELCR.
 *
 * The master is at 20h, the slave at A0h on the master's IR2, the edge/level registers at 4D0h
 * (82371SB data sheet, 290550). As on the chip a request must stay up until it is acknowledged: a
 * line_pulse is no interrupt.
 */
#ifndef CHIPSET_PIC_H
#define CHIPSET_PIC_H

#include <stdbool.h>

#include "machine/core/device.h"
#include "machine/core/line.h"

typedef struct Pic Pic;

typedef struct PicConfig {
    Line intr; /* INT of the master */
} PicConfig;

Pic *pic_new(Board *b, const PicConfig *config, const char *id);
/* Solders INT to a chip that is made later than this one. */
void pic_connect(Pic *pic, Line intr);
/* A new source of request `irq` (0..15, not 2). Up to 32 sources may share a request: it is up
 * while one of them is. Call it while the board is built, always in the same order. */
Line pic_input(Pic *pic, unsigned irq);
/* Both INTA cycles: the vector, which is a spurious 7 (or 15) where no request is left. Fits
 * Cpu.acknowledge. */
uint8_t pic_acknowledge(void *pic);
/* What INT shows. */
bool pic_pending(const Pic *pic);
/* Registers of the master (0) or slave (1), for `info pic`. */
typedef struct PicView {
    uint8_t irr, isr, imr, elcr, base;
} PicView;
PicView pic_view(const Pic *pic, unsigned chip);

#endif
