/* What the window asks an X server, apart because libX11 has a Screen of its own. */
#ifndef UI_WINDOW_X11_H
#define UI_WINDOW_X11_H

#include <SDL.h>
#include <setjmp.h>
#include <stdbool.h>

/* From now on a lost connection to the X server makes the calling thread jump to `out`, after which
 * nothing of SDL's video may be called, and lets any other thread that finds it lost sleep for
 * ever. NULL: it ends the program again, as Xlib has it. */
void window_x11_guard(jmp_buf *out);

/* False: windows cannot become full-screen by asking for it. True where the question is void. */
bool window_manager_runs(SDL_Window *window);

#endif
