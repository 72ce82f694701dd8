/* 8254 programmable interval timer: three counters at 1.193182 MHz (Intel 8254 data sheet, order
 * no. 231164).
 *
 * Counter 0 drives IRQ0, counter 1 once refreshed DRAM, counter 2 drives the speaker and is gated
 * by port 61h.
 */
#ifndef CHIPSET_PIT_H
#define CHIPSET_PIT_H

#include <stdbool.h>

#include "machine/core/device.h"
#include "machine/core/line.h"

#define PIT_HZ 1193182u /* the board's 14.31818 MHz crystal divided by 12 */

typedef struct Pit Pit;

typedef struct PitConfig {
    uint16_t base; /* first of four ports: 0x40 */
    Line out[3];   /* the OUT pins */
} PitConfig;

Pit *pit_new(Board *b, const PitConfig *config, const char *id);
/* The GATE pin of a counter (0..2). Gates 0 and 1 are tied high on a PC. */
void pit_gate(Pit *pit, unsigned counter, bool level);
/* The OUT pin of a counter now: port 61h bit 5 shows counter 2. */
bool pit_output(Pit *pit, unsigned counter);

/* For whoever hears OUT as a wave. Calls before(self) when the counter is about to change its
 * course (control word, count, gate, reset). One listener a counter. */
void pit_watch(Pit *pit, unsigned counter, void (*before)(void *self), void *self);
/* OUT at `tick` (of PIT_HZ, since guest time 0), which is not before the last call of `before` and
 * not after now. *change: the later tick at which it changes by itself, 0: never. */
bool pit_wave(Pit *pit, unsigned counter, uint64_t tick, uint64_t *change);

#endif
