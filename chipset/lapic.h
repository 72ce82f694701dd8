/* Local APIC of the processor (xAPIC register set, SDM vol. 3, chapter 11).
 *
 * Sits between the interrupt controllers and the processor's INTR pin. Firmware and systems that
 * know no APIC see the 8259s through it (virtual wire mode).
 */
#ifndef CHIPSET_LAPIC_H
#define CHIPSET_LAPIC_H

#include "machine/core/device.h"
#include "machine/core/line.h"

typedef struct Lapic Lapic;

/* Delivery modes of LVT, ICR and I/O APIC entries. */
typedef enum ApicMode {
    APIC_FIXED = 0,
    APIC_LOWEST = 1,
    APIC_SMI = 2,
    APIC_NMI = 4,
    APIC_INIT = 5,
    APIC_STARTUP = 6,
    APIC_EXTINT = 7,
} ApicMode;

typedef struct LapicConfig {
    bool present;              /* false: a processor without APIC; the 8259s reach INTR directly */
    uint32_t bus_hz;           /* of the timer before its divider: 100000000 on this board */
    Line intr, nmi, smi, init; /* the processor's pins */
    uint8_t (*acknowledge_pic)(void *pic); /* INTA cycle of the 8259s */
    void *pic;
} LapicConfig;

Lapic *lapic_new(Board *b, const LapicConfig *config, const char *id);
/* Whom to tell of the end of a level-triggered interrupt: ioapic_end_of_interrupt. */
void lapic_connect_ioapic(Lapic *lapic, void (*ended)(void *ioapic, uint8_t vector), void *ioapic);
/* Line sink for LINT0 (pin 0: INTR of the 8259s) and LINT1 (pin 1: NMI of the board). */
void lapic_lint(void *lapic, unsigned pin, bool level);
/* The processor's INTA cycle; returns the vector. For CpuPins.acknowledge. */
uint8_t lapic_acknowledge(void *lapic);
/* IA32_APIC_BASE was written: bits 12 and up place the registers, bit 11 enables. */
void lapic_set_base(void *lapic, uint64_t apic_base);
/* A message on the APIC bus. True when this APIC is a destination and took it. */
bool lapic_deliver(void *lapic, uint8_t destination, bool logical, unsigned mode, uint8_t vector,
                   bool level_triggered);

#endif
