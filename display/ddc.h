/* A monitor's data: EDID 1.3 of the display, and the DDC2B slave that a card reads it from
 * (VESA E-EDID 3, VESA DDC 3).
 */
#ifndef DISPLAY_DDC_H
#define DISPLAY_DDC_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/core/state.h"

#define DDC_EDID_SIZE 128u

/* The 128 bytes: a monitor of 4:3 that shows up to 2048 x 1536 and prefers 1024 x 768 at 60 Hz. */
void ddc_edid(uint8_t edid[DDC_EDID_SIZE]);

/* The monitor's memory on the two wires. All zero but the wires: idle. */
typedef struct Ddc {
    bool clock, data; /* as the card last drove them; high when idle */
    bool out;         /* the monitor lets the data wire float (true) or pulls it low */
    uint8_t phase;    /* what the bits on the wire are: see ddc.c */
    uint8_t bits;     /* of the current byte, 0..8; the ninth is the acknowledgement */
    uint8_t shift;    /* the byte so far */
    uint8_t address;  /* within the EDID */
} Ddc;

void ddc_init(Ddc *d);
/* The card drives the wires (true: lets float). */
void ddc_drive(Ddc *d, bool clock, bool data);
/* The data wire, as both sides make it. */
bool ddc_data(const Ddc *d);
void ddc_state(Ddc *d, StateIo *io);

#endif
