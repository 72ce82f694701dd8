/* The host's game pads and joysticks as sticks on the machine's game port. */
#ifndef UI_PADS_H
#define UI_PADS_H

#include <SDL.h>

#include "machine/machine.h"

typedef struct Pads Pads;

/* Starts SDL's game controllers; NULL, with a line in the log, when there are none to be had. */
Pads *pads_open(Machine *machine);
/* Takes an event if it is about pads. */
bool pads_event(Pads *p, const SDL_Event *e);
void pads_close(Pads *p);

#endif
