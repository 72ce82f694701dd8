/* Ctrl-C, kill and hang-up end the program in good order: images flushed, terminal restored. */
#ifndef UI_SIGNALS_H
#define UI_SIGNALS_H

#include "machine/machine.h"

typedef struct Signals Signals;

/* Call it before other threads are made: they inherit that signals are not theirs. NULL: not
 * possible; signals then do what they always do. */
Signals *signals_new(void);
/* From now on a signal quits this machine; a second one, or one before, ends the process at once.
 */
void signals_attach(Signals *s, Machine *m);
/* Before machine_free. */
void signals_free(Signals *s);

#endif
