/* Keys and mouse of the window: what goes to the guest, and what commands the window.
 *
 * Keys go by place: SDL's scancodes are the HID usages that the machine takes. The host key never
 * reaches the guest; with another key it is a command, alone it grabs or releases the mouse.
 */
#include <string.h>
#include <strings.h>

#include "ui/window_internal.h"

bool window_input_init(Window *w, Err *err)
{
    static const struct {
        const char *name;
        SDL_Scancode key;
    } short_names[] = {{"rctrl", SDL_SCANCODE_RCTRL},     {"lctrl", SDL_SCANCODE_LCTRL},
                       {"ralt", SDL_SCANCODE_RALT},       {"lalt", SDL_SCANCODE_LALT},
                       {"rshift", SDL_SCANCODE_RSHIFT},   {"lshift", SDL_SCANCODE_LSHIFT},
                       {"rgui", SDL_SCANCODE_RGUI},       {"lgui", SDL_SCANCODE_LGUI},
                       {"menu", SDL_SCANCODE_APPLICATION}};
    const char *name = w->options->ui.host_key;
    w->host_key = SDL_SCANCODE_RCTRL;
    if (!name) {
        return true;
    }
    if (strcmp(name, "none") == 0) {
        w->host_key = SDL_SCANCODE_UNKNOWN;
        return true;
    }
    for (unsigned i = 0; i < sizeof(short_names) / sizeof(short_names[0]); i++) {
        if (strcasecmp(name, short_names[i].name) == 0) {
            w->host_key = short_names[i].key;
            return true;
        }
    }
    w->host_key = SDL_GetScancodeFromName(name);
    return w->host_key != SDL_SCANCODE_UNKNOWN ||
           err_set(err,
                   "-host-key: there is no key '%s'; use rctrl, ralt, rgui, menu, a name like "
                   "'F12' or 'Right Ctrl', or none",
                   name);
}

const char *window_host_key(const Window *w)
{
    return w->host_key == SDL_SCANCODE_UNKNOWN ? "(no host key)" : SDL_GetScancodeName(w->host_key);
}

static void send_key(Window *w, uint8_t hid, bool down)
{
    if (w->held[hid] != down) {
        w->held[hid] = down;
        machine_input(w->machine, &(InputEvent){.kind = INPUT_KEY, .key = hid, .down = down});
    }
}

static void send_buttons(Window *w, uint8_t buttons)
{
    if (w->buttons != buttons) {
        w->buttons = buttons;
        machine_input(w->machine, &(InputEvent){.kind = INPUT_MOUSE_BUTTONS, .buttons = buttons});
    }
}

void window_capture(Window *w, bool capture)
{
    if (w->captured == capture) {
        return;
    }
    w->captured = capture;
    window_clip_clear(w);
    SDL_SetRelativeMouseMode(capture ? SDL_TRUE : SDL_FALSE);
    SDL_SetWindowGrab(w->sdl, capture ? SDL_TRUE : SDL_FALSE);
    /* Without a host key the desktop's own keys are the only way out. */
    bool keys = capture && w->host_key != SDL_SCANCODE_UNKNOWN;
    SDL_SetWindowKeyboardGrab(w->sdl, keys ? SDL_TRUE : SDL_FALSE);
    if (!capture) {
        send_buttons(w, 0);
    } else if (w->full_screen && w->host_key != SDL_SCANCODE_UNKNOWN) {
        window_notice(w, "press %s to release the mouse", window_host_key(w));
    }
    window_title(w);
}

void window_release(Window *w)
{
    for (unsigned hid = 0; hid < sizeof(w->held) / sizeof(w->held[0]); hid++) {
        send_key(w, (uint8_t)hid, false);
    }
    send_buttons(w, 0);
    w->host_down = false;
    window_capture(w, false);
}

static bool host_command(SDL_Scancode key, WindowCommand *command)
{
    static const struct {
        SDL_Scancode key;
        WindowCommand command;
    } commands[] = {{SDL_SCANCODE_P, WINDOW_PAUSE},
                    {SDL_SCANCODE_B, WINDOW_RESET},
                    {SDL_SCANCODE_H, WINDOW_POWER},
                    {SDL_SCANCODE_DELETE, WINDOW_CTRL_ALT_DEL},
                    {SDL_SCANCODE_S, WINDOW_SCREENSHOT},
                    {SDL_SCANCODE_R, WINDOW_RECORD},
                    {SDL_SCANCODE_RETURN, WINDOW_FULL_SCREEN},
                    {SDL_SCANCODE_L, WINDOW_SCALING},
                    {SDL_SCANCODE_I, WINDOW_SCANLINES},
                    {SDL_SCANCODE_C, WINDOW_COPY},
                    {SDL_SCANCODE_V, WINDOW_PASTE},
                    {SDL_SCANCODE_F, WINDOW_FIND},
                    {SDL_SCANCODE_G, WINDOW_GRAB},
                    {SDL_SCANCODE_M, WINDOW_MENU},
                    {SDL_SCANCODE_Q, WINDOW_QUIT}};
    for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (commands[i].key == key) {
            *command = commands[i].command;
            return true;
        }
    }
    return false;
}

static void host_key(Window *w, bool down)
{
    bool alone = w->host_down && !w->host_used;
    w->host_down = down;
    w->host_used = false;
    if (!down && alone && !w->menu_open) {
        window_command(w, WINDOW_GRAB);
    }
}

/* The machine's number of a key; 0: it has none. */
static uint8_t usage_of(SDL_Scancode key)
{
    static const struct {
        SDL_Scancode key;
        uint8_t usage;
    } others[] = {
        {SDL_SCANCODE_NONUSHASH, 0x31}, /* the same place on a keyboard of 102 keys */
        {SDL_SCANCODE_SYSREQ, 0x46},
        {SDL_SCANCODE_AUDIONEXT, KEY_NEXT},
        {SDL_SCANCODE_AUDIOPREV, KEY_PREVIOUS},
        {SDL_SCANCODE_AUDIOSTOP, KEY_STOP},
        {SDL_SCANCODE_AUDIOPLAY, KEY_PLAY},
        {SDL_SCANCODE_AUDIOMUTE, 0x7f},
        {SDL_SCANCODE_MEDIASELECT, KEY_MEDIA},
        {SDL_SCANCODE_WWW, KEY_WWW_HOME},
        {SDL_SCANCODE_MAIL, KEY_MAIL},
        {SDL_SCANCODE_CALCULATOR, KEY_CALCULATOR},
        {SDL_SCANCODE_COMPUTER, KEY_COMPUTER},
        {SDL_SCANCODE_AC_SEARCH, KEY_WWW_SEARCH},
        {SDL_SCANCODE_AC_HOME, KEY_WWW_HOME},
        {SDL_SCANCODE_AC_BACK, KEY_WWW_BACK},
        {SDL_SCANCODE_AC_FORWARD, KEY_WWW_FORWARD},
        {SDL_SCANCODE_AC_STOP, KEY_WWW_STOP},
        {SDL_SCANCODE_AC_REFRESH, KEY_WWW_REFRESH},
        {SDL_SCANCODE_AC_BOOKMARKS, KEY_WWW_FAVOURITES},
        {SDL_SCANCODE_SLEEP, KEY_SLEEP},
    };
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (others[i].key == key) {
            return others[i].usage;
        }
    }
    return key >= SDL_SCANCODE_A && key <= SDL_SCANCODE_RGUI ? (uint8_t)key : 0;
}

/* One wrong key must not lose what the guest has not saved: false, and the second time true. */
static bool is_sure(Window *w, WindowCommand command, SDL_Scancode key)
{
    bool loses = (command == WINDOW_RESET || command == WINDOW_QUIT) &&
                 machine_state(w->machine) != RUN_STATE_SHUTDOWN;
    bool again = w->asked == (int)command + 1 && w->notice_at; /* as long as it says so */
    w->asked = loses && !again ? (int)command + 1 : 0;
    if (w->asked) {
        window_notice(w, "%s+%s again %s; what the guest has not saved is lost", window_host_key(w),
                      SDL_GetScancodeName(key),
                      command == WINDOW_QUIT ? "quits" : "resets the machine");
    }
    return !w->asked;
}

static void take_key(Window *w, const SDL_KeyboardEvent *e)
{
    SDL_Scancode key = e->keysym.scancode;
    bool down = e->state == SDL_PRESSED;
    WindowCommand command;
    if (e->repeat) {
        return; /* the guest's keyboard repeats by itself */
    }
    if (key == w->host_key && key != SDL_SCANCODE_UNKNOWN) {
        host_key(w, down);
        return;
    }
    if (w->host_down && down) {
        w->host_used = true;
        if (host_command(key, &command) && is_sure(w, command, key)) {
            window_command(w, command);
        }
        return;
    }
    if (w->menu_open) {
        if (down && key == SDL_SCANCODE_ESCAPE) {
            window_command(w, WINDOW_MENU);
        }
        return;
    }
    uint8_t usage = usage_of(key);
    if (usage) {
        if (down && (key < SDL_SCANCODE_LCTRL || key > SDL_SCANCODE_RGUI)) {
            window_clip_clear(w);
            typist_stop(w->typist); /* who types himself wants no more of the paste */
        }
        send_key(w, usage, down);
    }
}

static uint8_t button_bit(uint8_t button)
{
    switch (button) {
    case SDL_BUTTON_LEFT:
        return MOUSE_LEFT;
    case SDL_BUTTON_RIGHT:
        return MOUSE_RIGHT;
    case SDL_BUTTON_MIDDLE:
        return MOUSE_MIDDLE;
    case SDL_BUTTON_X1:
        return MOUSE_SIDE;
    case SDL_BUTTON_X2:
        return MOUSE_EXTRA;
    default:
        return 0;
    }
}

bool window_in_picture(const Window *w, int x, int y, uint16_t *px, uint16_t *py)
{
    int width, height, out_width, out_height;
    SDL_GetWindowSize(w->sdl, &width, &height);
    SDL_GetRendererOutputSize(w->renderer, &out_width, &out_height);
    if (width <= 0 || height <= 0 || w->at.w <= 1 || w->at.h <= 1) {
        return false;
    }
    int64_t ox = (int64_t)x * out_width / width - w->at.x;
    int64_t oy = (int64_t)y * out_height / height - w->at.y;
    if (ox < 0 || oy < 0 || ox >= w->at.w || oy >= w->at.h) {
        return false;
    }
    *px = (uint16_t)(ox * 65535 / (w->at.w - 1));
    *py = (uint16_t)(oy * 65535 / (w->at.h - 1));
    return true;
}

static int16_t bounded(int value)
{
    return (int16_t)(value < -32767 ? -32767 : value > 32767 ? 32767 : value);
}

static void take_motion(Window *w, const SDL_MouseMotionEvent *e)
{
    uint16_t x, y;
    if (window_clip_motion(w, e)) {
        return;
    }
    if (w->captured) {
        machine_input(w->machine, &(InputEvent){.kind = INPUT_MOUSE_MOVE,
                                                .dx = bounded(e->xrel),
                                                .dy = bounded(e->yrel)});
        return;
    }
    bool inside = machine_wants_absolute(w->machine) && window_in_picture(w, e->x, e->y, &x, &y);
    if (inside) {
        machine_input(w->machine, &(InputEvent){.kind = INPUT_MOUSE_ABSOLUTE, .x = x, .y = y});
    }
    SDL_ShowCursor(inside && !w->options->ui.show_cursor ? SDL_DISABLE : SDL_ENABLE);
}

static void take_button(Window *w, const SDL_MouseButtonEvent *e)
{
    uint8_t bit = button_bit(e->button);
    bool down = e->state == SDL_PRESSED;
    if (window_clip_button(w, e)) {
        return;
    }
    if (!w->captured && !machine_wants_absolute(w->machine)) {
        if (down && bit == MOUSE_LEFT) {
            window_capture(w, true); /* this click is for the window, not for the guest */
        }
        return;
    }
    send_buttons(w, (uint8_t)(down ? w->buttons | bit : w->buttons & ~bit));
}

static void take_wheel(Window *w, const SDL_MouseWheelEvent *e)
{
    if (w->captured || machine_wants_absolute(w->machine)) {
        int turns = e->direction == SDL_MOUSEWHEEL_FLIPPED ? -e->y : e->y;
        machine_input(w->machine, &(InputEvent){.kind = INPUT_MOUSE_MOVE, .wheel = bounded(turns)});
    }
}

bool window_input(Window *w, const SDL_Event *e)
{
    switch (e->type) {
    case SDL_KEYDOWN:
    case SDL_KEYUP:
        take_key(w, &e->key);
        return true;
    case SDL_MOUSEMOTION:
        if (!w->menu_open) {
            take_motion(w, &e->motion);
        }
        return true;
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP:
        if (!w->menu_open) {
            take_button(w, &e->button);
        }
        return true;
    case SDL_MOUSEWHEEL:
        if (!w->menu_open) {
            take_wheel(w, &e->wheel);
        }
        return true;
    default:
        return false;
    }
}
