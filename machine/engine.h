/* The engine that runs a machine's processor: found by name, attached to memory and board,
 * exchanged while running. */
#ifndef MACHINE_ENGINE_H
#define MACHINE_ENGINE_H

#include "cpu-accel/accel.h"

/* Opens the engine of that name on this processor and makes memory tell it of changes. Besides the
 * engines' own names there are "auto" (measures and chooses), "kvm-first" (KVM without a look, and
 * another engine where it fails) and "tcg" (the translator). The clock's source is set before. */
bool engine_open(Accel *a, const char *name, Cpu *cpu, Board *b, Err *err);
void engine_close(Accel *a);
/* Between two instructions: moves the architectural state to another engine. On failure the old one
 * goes on. */
bool engine_change(Accel *a, const char *name, Err *err);
/* After RUN_FAILED: goes on with an engine that runs everything, when the user left the choice open
 * (a->replaceable). False: he did not, or there is none. */
bool engine_replace(Accel *a);
/* Is a translator for this host part of this program? */
bool engine_has_translator(void);

#endif
