/* VGA with Bochs VBE extensions (IBM PS/2 Video Subsystem reference; Bochs VBE DISPI interface,
 * ID B0C5h), on PCI as 1234:1111 or as a plain ISA card.
 */
#ifndef DISPLAY_VGA_H
#define DISPLAY_VGA_H

#include <stdbool.h>
#include <stddef.h>

#include "chipset/pci.h"
#include "display/screen.h"
#include "machine/core/device.h"
#include "machine/core/line.h"

typedef struct Vga Vga;

typedef struct VgaConfig {
    Screen *screen; /* drawn on; must outlive the board */
    PciBus *pci;    /* NULL: ISA card; its BIOS is then the board's to put at C0000h */
    unsigned pci_device;
    const RamBlock *rom; /* VGA BIOS for the PCI ROM base address; may be NULL */
    uint32_t vram_mib;   /* power of two, 1..64; 0: 16 (Cirrus: 4) */
    uint64_t lfb_base; /* ISA only: where the frame buffer is seen (Bochs: E0000000h); 0: nowhere */
    Line irq;          /* vertical retrace interrupt (IRQ 9); usually unconnected */
} VgaConfig;

/* The standard card. NULL with err set when there is no memory. */
Vga *vga_new(Board *b, const VgaConfig *config, const char *id, Err *err);

/* The text screen as bytes of the guest's code page: rows separated by newlines, trailing blanks
 * cut, at most `room` with the final NUL. False (and an empty text) in a graphics mode. Machine's
 * thread. */
bool vga_text(Vga *v, char *text, size_t room);
/* Columns and rows of the text screen, and the cursor's place; all 0 in a graphics mode. */
typedef struct VgaTextSize {
    unsigned columns, rows, cursor_column, cursor_row;
    bool cursor_on;
} VgaTextSize;
VgaTextSize vga_text_size(const Vga *v);

#endif
