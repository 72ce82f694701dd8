/* 82371AB (PIIX4), function 3: ACPI power management, SMI command port, SMBus host (Intel data
 * sheet, order no. 290562).
 *
 * Power button, soft-off, the 3.579545 MHz timer, and ports B2h/B3h, by which software calls system
 * management mode.
 */
#ifndef CHIPSET_PIIX4_PM_H
#define CHIPSET_PIIX4_PM_H

#include "chipset/pci.h"

#define PIIX4_PM_HZ 3579545u

typedef struct Piix4Pm Piix4Pm;

typedef struct Piix4PmConfig {
    PciBus *bus;
    unsigned device, function; /* 1 and 3 on this board */
    Line sci;                  /* IRQ9, level */
    Line smi;                  /* edge: SMI# to the processor */
    Line power_off;            /* rises: the guest has switched the machine off */
} Piix4PmConfig;

Piix4Pm *piix4_pm_new(Board *b, const Piix4PmConfig *config, const char *id);
/* The power button was pressed. */
void piix4_pm_power_button(Piix4Pm *pm);
/* Has the guest switched to ACPI mode, so that it answers the power button? */
bool piix4_pm_acpi_enabled(const Piix4Pm *pm);

#endif
