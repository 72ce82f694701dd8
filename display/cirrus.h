/* Cirrus Logic GD5446 on PCI: a VGA with linear frame buffer, blitter and hardware cursor
 * (CL-GD5446 Technical Reference Manual).
 */
#ifndef DISPLAY_CIRRUS_H
#define DISPLAY_CIRRUS_H

#include "display/vga.h"

/* The card; `config->pci` must be set, vram_mib may be 1, 2 or 4 (0: 4). All calls of vga.h work on
 * it. NULL with err set when there is no memory. */
Vga *cirrus_new(Board *b, const VgaConfig *config, const char *id, Err *err);

#endif
