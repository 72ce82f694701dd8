/* The window: shows the machine's screen, takes keys and mouse, and commands the machine.
 *
 * All of it belongs to the program's first thread, as SDL asks.
 */
#ifndef UI_WINDOW_H
#define UI_WINDOW_H

#include "ui/audio_sdl.h"
#include "ui/options.h"
#include "ui/record.h"

typedef struct Window Window;

/* Reaches the display; no window is to be seen yet. NULL with err set when there is none. options
 * must outlive the window. */
Window *window_new(const Options *options, Err *err);
/* Listens to the machine; call it before machine_start. */
bool window_attach(Window *w, Machine *m, Recorder *recorder, AudioSdl *audio, Err *err);
/* Opens the window and runs it until the machine has ended. */
bool window_run(Window *w, Err *err);
/* Its closing saved the machine, as the snapshot WINDOW_SUSPENDED. */
#define WINDOW_SUSPENDED "suspended"
bool window_suspended(const Window *w);
/* Before machine_free, after the machine's thread has ended. NULL is allowed. */
void window_free(Window *w);

#endif
