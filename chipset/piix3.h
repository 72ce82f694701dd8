/* 82371SB (PIIX3) PCI to ISA bridge: interrupt routing and reset control (Intel data sheet, order
 * no. 290550).
 *
 * Every interrupt line of the board passes here: each driver of an IRQ takes its own line from
 * piix3_irq, and the bridge drives the interrupt controllers with the OR of all that share it,
 * routed PCI interrupts included.
 */
#ifndef CHIPSET_PIIX3_H
#define CHIPSET_PIIX3_H

#include "chipset/pci.h"

enum { PIIX3_MAX_SOURCES = 64 };

typedef struct Piix3 Piix3;

typedef struct Piix3Config {
    PciBus *bus;
    unsigned device; /* 1 on this board */
    Line pic[16];    /* IRQ n at the two 8259s (2 is their own) */
    Line ioapic[16]; /* IRQ n at the I/O APIC: pin n, but 0 goes to pin 2 */
    Line reset;      /* rises: reset the machine (CF9h) */
    Line init;       /* rises: INIT to the processor */
} Piix3Config;

Piix3 *piix3_new(Board *b, const Piix3Config *config, const char *id);
/* A new driver of IRQ 0..15; at most PIIX3_MAX_SOURCES in all. The order of these calls must be the
 * same whenever the same board is built: saved states depend on it. */
Line piix3_irq(Piix3 *piix, unsigned irq);

#endif
