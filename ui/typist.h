/* Types text into a machine as keystrokes, at a pace that guests can follow. Not for two threads.
 */
#ifndef UI_TYPIST_H
#define UI_TYPIST_H

#include "machine/machine.h"
#include "ui/keylayout.h"

enum { TYPIST_MAX_TEXT = 65536, TYPIST_MAX_MS = 10000, TYPIST_MS = 30 };

typedef struct Typist Typist;

/* NULL when memory is short. */
Typist *typist_new(Machine *m);
void typist_free(Typist *t);
/* Adds UTF-8 to what is to be typed, `ms` from key to key; line ends of all kinds are Enter. What
 * the layout lacks is typed as Alt and its number in code page 437; *lost counts what that lacks
 * too. False with err set when it is too much. */
bool typist_type(Typist *t, const KeyLayout *layout, const char *utf8, unsigned ms, unsigned *lost,
                 Err *err);
/* Presses what is due. Returns the host's time when there is more to do, INT64_MAX: all is typed.
 */
int64_t typist_play(Typist *t);
/* Forgets the rest, and lets go of what is held. */
void typist_stop(Typist *t);

#endif
