/* What tests may ask a fake machine. */
#ifndef TESTS_UI_FAKE_MACHINE_H
#define TESTS_UI_FAKE_MACHINE_H

#include "machine/machine.h"

enum { FAKE_MAX_INPUT = 1024 };

/* Copies the input events that came so far. Returns how many. */
unsigned fake_input(Machine *m, InputEvent *events, unsigned room);
/* What was last told of pads. */
PadState fake_pads(Machine *m);
/* What the text screen shows; NULL: a graphics mode. */
void fake_show(Machine *m, const char *text);
/* The guest does something of its own. */
void fake_guest_event(Machine *m, const MachineEvent *event);
/* Does nothing. A program that calls it is linked with the fake, not with the real machine. */
void fake_wanted(void);

#endif
