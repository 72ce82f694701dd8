/* System control ports of the AT: 61h, 80h, 92h, F0h/F1h, with the A20 gate, NMI and IRQ13
 * (82371SB, 290550).
 *
 * What the board scatters around the processor: speaker and timer gates, the refresh bit, NMI
 * sources and mask, fast A20 and reset, the coprocessor's interrupt, the POST code.
 */
#ifndef CHIPSET_SYSCTL_H
#define CHIPSET_SYSCTL_H

#include <stdbool.h>

#include "machine/core/device.h"
#include "machine/core/line.h"

typedef struct Sysctl Sysctl;

typedef struct SysctlConfig {
    Line gate2;              /* port 61h bit 0: GATE of counter 2 */
    Line speaker;            /* bit 1: lets OUT2 through to the speaker */
    bool (*out2)(void *pit); /* OUT of counter 2 now, for bit 5; NULL reads as 0 */
    void *pit;
    Line nmi;  /* to the processor */
    Line a20;  /* true: A20 passes; port 92h or the keyboard controller, whoever wrote last */
    Line init; /* a pulse: port 92h bit 0 resets the processor */
    Line irq13, ignne;                      /* coprocessor error; IGNNE# */
    void (*post)(void *self, uint8_t code); /* sees each POST code; may be NULL */
    void *post_self;
} SysctlConfig;

Sysctl *sysctl_new(Board *b, const SysctlConfig *config, const char *id);
/* Inputs. */
Line sysctl_a20_input(Sysctl *s);     /* the keyboard controller's A20 */
Line sysctl_nmi_mask(Sysctl *s);      /* the RTC's port 70h bit 7 */
Line sysctl_channel_check(Sysctl *s); /* IOCHK# of the ISA bus */
Line sysctl_system_error(Sysctl *s);  /* SERR# of the PCI bus */
Line sysctl_ferr(Sysctl *s);          /* the processor's FERR# */
bool sysctl_a20(const Sysctl *s);
uint8_t sysctl_post_code(const Sysctl *s);

#endif
