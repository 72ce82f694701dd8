/* Views of a machine for people, as lines of text. */
#ifndef MACHINE_INFO_H
#define MACHINE_INFO_H

#include "cpu-accel/x86/cpu.h"

/* Machine's thread, architectural state pulled. False: no view of that name ("registers", "mem",
 * "mtree", "timers", "devices", "engine"). */
bool info_view(const char *what, const Cpu *cpu, Board *b, const char *engine,
               void (*line)(void *self, const char *text), void *self);

#endif
