/* What the window asks an X server, apart because libX11 has a Screen of its own. */
#ifndef UI_WINDOW_X11_H
#define UI_WINDOW_X11_H

#include <SDL.h>
#include <stdbool.h>

/* False: windows cannot become full-screen by asking for it. True where the question is void. */
bool window_manager_runs(SDL_Window *window);

#endif
