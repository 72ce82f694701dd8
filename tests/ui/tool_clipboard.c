/* The desktop's clipboard from outside: `get`, `primary`, or `set TEXT`, which keeps it until
 * killed.
 */
#include <SDL.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc < 2 || SDL_Init(SDL_INIT_VIDEO) != 0) {
        fprintf(stderr, "tool_clipboard: %s\n",
                argc < 2 ? "get, primary or set TEXT" : SDL_GetError());
        return 1;
    }
    /* SDL reaches the clipboard through a window. */
    SDL_Window *window = SDL_CreateWindow("clipboard", 0, 0, 16, 16, SDL_WINDOW_HIDDEN);
    if (argc > 2 && strcmp(argv[1], "set") == 0) {
        SDL_Event e;
        SDL_SetClipboardText(argv[2]);
        puts("set");
        fflush(stdout);
        while (SDL_WaitEvent(&e) && e.type != SDL_QUIT) {
        }
    } else {
        char *text = strcmp(argv[1], "primary") == 0 ? SDL_GetPrimarySelectionText()
                                                     : SDL_GetClipboardText();
        fputs(text, stdout);
        SDL_free(text);
    }
    SDL_DestroyWindow(window);
    SDL_Quit();
    return 0;
}
