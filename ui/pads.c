/* Game pads: SDL's game controllers and joysticks onto the game port's four axes and four buttons.
 *
 * The first pad is stick A with its left stick or cross; while it is alone, its right stick and
 * third and fourth button are stick B's. The second pad is stick B. A pad that SDL knows no layout
 * of is taken by the numbers of its axes and buttons. Pads may come and go at any time.
 */
#include "ui/pads.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("pads");

enum { STICKS = 2, CENTRE = 0x8000 };

typedef struct Pad {
    SDL_GameController *controller; /* NULL: only a joystick */
    SDL_Joystick *joystick;         /* NULL: nobody is here */
    SDL_JoystickID id;
} Pad;

struct Pads {
    Machine *machine;
    Pad pad[STICKS];
    PadState told; /* what the machine knows */
};

static uint16_t axis(Sint16 value)
{
    return (uint16_t)(value + CENTRE);
}

/* A cross is a stick that is pushed all the way. */
static uint16_t crossed(bool low, bool high, uint16_t otherwise)
{
    return low && !high ? 0 : high && !low ? UINT16_MAX : otherwise;
}

static bool button(const Pad *p, SDL_GameControllerButton which)
{
    return SDL_GameControllerGetButton(p->controller, which);
}

static void read_controller(const Pad *p, uint16_t *axes, uint8_t *buttons)
{
    SDL_GameController *c = p->controller;
    axes[0] = crossed(button(p, SDL_CONTROLLER_BUTTON_DPAD_LEFT),
                      button(p, SDL_CONTROLLER_BUTTON_DPAD_RIGHT),
                      axis(SDL_GameControllerGetAxis(c, SDL_CONTROLLER_AXIS_LEFTX)));
    axes[1] = crossed(button(p, SDL_CONTROLLER_BUTTON_DPAD_UP),
                      button(p, SDL_CONTROLLER_BUTTON_DPAD_DOWN),
                      axis(SDL_GameControllerGetAxis(c, SDL_CONTROLLER_AXIS_LEFTY)));
    axes[2] = axis(SDL_GameControllerGetAxis(c, SDL_CONTROLLER_AXIS_RIGHTX));
    axes[3] = axis(SDL_GameControllerGetAxis(c, SDL_CONTROLLER_AXIS_RIGHTY));
    for (unsigned i = 0; i < 4; i++) { /* A, B, X, Y */
        *buttons |= (uint8_t)(button(p, (SDL_GameControllerButton)i) << i);
    }
}

static void read_joystick(const Pad *p, uint16_t *axes, uint8_t *buttons)
{
    Uint8 hat = SDL_JoystickNumHats(p->joystick) > 0 ? SDL_JoystickGetHat(p->joystick, 0) : 0;
    for (int i = 0; i < 4; i++) {
        bool there = i < SDL_JoystickNumAxes(p->joystick);
        axes[i] = there ? axis(SDL_JoystickGetAxis(p->joystick, i)) : CENTRE;
        *buttons |= (uint8_t)(SDL_JoystickGetButton(p->joystick, i) << i);
    }
    axes[0] = crossed(hat & SDL_HAT_LEFT, hat & SDL_HAT_RIGHT, axes[0]);
    axes[1] = crossed(hat & SDL_HAT_UP, hat & SDL_HAT_DOWN, axes[1]);
}

/* Tells the machine how all sticks stand now. */
static void tell(Pads *p)
{
    PadState now = {.axis = {CENTRE, CENTRE, CENTRE, CENTRE}};
    bool alone = !p->pad[1].joystick;
    for (unsigned i = 0; i < STICKS; i++) {
        const Pad *pad = &p->pad[i];
        uint16_t axes[4];
        uint8_t buttons = 0;
        if (!pad->joystick) {
            continue;
        }
        if (pad->controller) {
            read_controller(pad, axes, &buttons);
        } else {
            read_joystick(pad, axes, &buttons);
        }
        unsigned taken = alone && i == 0 ? 4 : 2;
        memcpy(now.axis + i * 2, axes, taken * sizeof(axes[0]));
        now.buttons |= (uint8_t)((buttons & (taken == 4 ? 15 : 3)) << i * 2);
        now.connected |= (uint8_t)((taken == 4 ? 15 : 3) << i * 2);
    }
    if (memcmp(&now, &p->told, sizeof(now)) != 0) {
        p->told = now;
        machine_pads(p->machine, &now);
    }
}

static void plug_in(Pads *p, int device)
{
    SDL_JoystickID id = SDL_JoystickGetDeviceInstanceID(device);
    Pad *at = NULL;
    for (unsigned i = STICKS; i-- > 0;) {
        if (p->pad[i].joystick && p->pad[i].id == id) {
            return; /* controllers are told of twice */
        }
        at = p->pad[i].joystick ? at : &p->pad[i];
    }
    if (!at) {
        return;
    }
    at->controller = SDL_IsGameController(device) ? SDL_GameControllerOpen(device) : NULL;
    at->joystick =
        at->controller ? SDL_GameControllerGetJoystick(at->controller) : SDL_JoystickOpen(device);
    at->id = id;
    if (at->joystick) {
        log_info("stick %c is %s", at == p->pad ? 'A' : 'B', SDL_JoystickName(at->joystick));
    }
}

static void take_out(Pad *pad)
{
    if (pad->controller) {
        SDL_GameControllerClose(pad->controller);
    } else if (pad->joystick) {
        SDL_JoystickClose(pad->joystick);
    }
    *pad = (Pad){0};
}

bool pads_event(Pads *p, const SDL_Event *e)
{
    if (!p || e->type < SDL_JOYAXISMOTION || e->type >= SDL_FINGERDOWN) {
        return false;
    }
    if (e->type == SDL_JOYDEVICEADDED) {
        plug_in(p, e->jdevice.which);
    } else if (e->type == SDL_JOYDEVICEREMOVED) {
        for (unsigned i = 0; i < STICKS; i++) {
            if (p->pad[i].joystick && p->pad[i].id == e->jdevice.which) {
                take_out(&p->pad[i]);
            }
        }
    }
    tell(p);
    return true;
}

Pads *pads_open(Machine *machine)
{
    if (SDL_InitSubSystem(SDL_INIT_GAMECONTROLLER) != 0) {
        log_info("no game pads: %s", SDL_GetError());
        return NULL;
    }
    Pads *p = calloc(1, sizeof(*p));
    if (!p) {
        SDL_QuitSubSystem(SDL_INIT_GAMECONTROLLER);
        return NULL;
    }
    p->machine = machine;
    for (int i = 0; i < SDL_NumJoysticks(); i++) {
        plug_in(p, i);
    }
    tell(p);
    return p;
}

void pads_close(Pads *p)
{
    if (p) {
        for (unsigned i = 0; i < STICKS; i++) {
            take_out(&p->pad[i]);
        }
        SDL_QuitSubSystem(SDL_INIT_GAMECONTROLLER);
        free(p);
    }
}
