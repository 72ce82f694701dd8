/* The engine that runs a machine's processor: found by name, attached to memory and board,
 * exchanged while running. */
#ifndef MACHINE_ENGINE_H
#define MACHINE_ENGINE_H

#include "cpu-accel/accel.h"

/* Opens the engine of that name ("auto" and "tcg" included) on this processor and makes memory tell
 * it of changes. */
bool engine_open(Accel *a, const char *name, Cpu *cpu, Board *b, Err *err);
void engine_close(Accel *a);
/* Between two instructions: moves the architectural state to another engine. On failure the old one
 * goes on. */
bool engine_change(Accel *a, const char *name, Err *err);

#endif
