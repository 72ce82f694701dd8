/* 82093AA I/O APIC: 24 interrupt pins to messages for the local APIC (Intel data sheet, order no.
 * 290566).
 */
#ifndef CHIPSET_IOAPIC_H
#define CHIPSET_IOAPIC_H

#include "machine/core/device.h"
#include "machine/core/line.h"

enum { IOAPIC_PINS = 24 };

typedef struct Ioapic Ioapic;

typedef struct IoapicConfig {
    uint64_t base; /* 0xfec00000 */
    /* Sends a message: lapic_deliver. False: no local APIC took it. */
    bool (*deliver)(void *lapic, uint8_t destination, bool logical, unsigned mode, uint8_t vector,
                    bool level_triggered);
    void *lapic;
} IoapicConfig;

Ioapic *ioapic_new(Board *b, const IoapicConfig *config, const char *id);
/* Line sink: pins 0..23. ISA IRQ n is pin n, but IRQ0 is pin 2. */
void ioapic_pin(void *ioapic, unsigned pin, bool level);
/* The local APIC has ended a level-triggered interrupt. For lapic_connect_ioapic. */
void ioapic_end_of_interrupt(void *ioapic, uint8_t vector);

#endif
