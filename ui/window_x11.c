/* What the window has to do with an X server itself: whether a window manager runs, without which
 * nobody makes windows full-screen; and what happens when the server is gone.
 *
 * SDL has loaded libX11 itself; it is borrowed here, not linked.
 */
#include "ui/window_x11.h"

#include <dlfcn.h>
#include <SDL_syswm.h>
#include <unistd.h>

#ifdef SDL_VIDEO_DRIVER_X11
static _Thread_local jmp_buf *way_out;

/* Xlib ends the program when this returns. */
static int server_gone(Display *display)
{
    (void)display;
    jmp_buf *out = way_out;
    way_out = NULL; /* its frame may end after the jump */
    if (out) {
        longjmp(*out, 1);
    }
    for (;;) { /* what is to be done is done by the thread with the way out */
        pause();
    }
}

static bool manager_runs(Display *display)
{
    bool runs = true;
    void *lib = dlopen("libX11.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (!lib) {
        return true;
    }
    __typeof__(&XInternAtom) intern = (__typeof__(&XInternAtom))dlsym(lib, "XInternAtom");
    __typeof__(&XGetWindowProperty) property =
        (__typeof__(&XGetWindowProperty))dlsym(lib, "XGetWindowProperty");
    __typeof__(&XDefaultRootWindow) root =
        (__typeof__(&XDefaultRootWindow))dlsym(lib, "XDefaultRootWindow");
    __typeof__(&XFree) release = (__typeof__(&XFree))dlsym(lib, "XFree");
    if (intern && property && root && release) {
        Atom type;
        int format;
        unsigned long items = 0, left;
        unsigned char *value = NULL;
        Atom check = intern(display, "_NET_SUPPORTING_WM_CHECK", False);
        property(display, root(display), check, 0, 1, False, AnyPropertyType, &type, &format,
                 &items, &left, &value);
        runs = items > 0;
        if (value) {
            release(value);
        }
    }
    dlclose(lib);
    return runs;
}
#endif

void window_x11_guard(jmp_buf *out)
{
#ifdef SDL_VIDEO_DRIVER_X11
    void *lib = dlopen("libX11.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (lib) {
        __typeof__(&XSetIOErrorHandler) handle =
            (__typeof__(&XSetIOErrorHandler))dlsym(lib, "XSetIOErrorHandler");
        way_out = out;
        if (handle) {
            handle(out ? server_gone : NULL);
        }
        dlclose(lib);
    }
#else
    (void)out;
#endif
}

bool window_manager_runs(SDL_Window *window)
{
#ifdef SDL_VIDEO_DRIVER_X11
    SDL_SysWMinfo info;
    SDL_VERSION(&info.version);
    if (SDL_GetWindowWMInfo(window, &info) && info.subsystem == SDL_SYSWM_X11) {
        return manager_runs(info.info.x11.display);
    }
#endif
    (void)window;
    return true;
}
