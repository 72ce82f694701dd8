/* The interpreter as a part of other engines: single steps, and runs of blocks. */
#ifndef CPU_ACCEL_INTERPRETER_INTERPRETER_H
#define CPU_ACCEL_INTERPRETER_INTERPRETER_H

#include "cpu-accel/accel.h"

typedef struct Interpreter Interpreter;

Interpreter *interpreter_new(Cpu *cpu);
void interpreter_free(Interpreter *e);
/* Runs one instruction, with all that may surround it: debug traps, shadows, faults. Returns how it
 * ended; a fault has been delivered. */
Outcome interpreter_step(Cpu *cpu);
/* Runs blocks, `most` instructions at most, until something wants a look: attention, X_STOP, a
 * fault, a repeated instruction that has paused. Returns how the last one ended; the pause has been
 * counted as an instruction. */
Outcome interpreter_blocks(Interpreter *e, uint64_t most);
void interpreter_changed(Interpreter *e, uint32_t at, uint32_t length);

#endif
