/* Two 8237A DMA controllers and their page registers as on the AT (Intel 8237A data sheet, 231466).
 *
 * Channels 0..3 move bytes within 64 KiB pages, 5..7 words within 128 KiB pages; channel 4 carries
 * the cascade. Ports 00h..0Fh, C0h..DFh and 81h..8Fh.
 */
#ifndef CHIPSET_DMA_H
#define CHIPSET_DMA_H

#include "machine/core/device.h"
#include "machine/core/dma.h"

typedef struct Dma Dma;

Dma *dma_new(Board *b, const char *id);
/* DREQ and DACK of a channel (0..3, 5..7), for one device. */
DmaLine dma_line(Dma *dma, unsigned channel);

#endif
