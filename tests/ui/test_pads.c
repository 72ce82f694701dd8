/* Game pads through SDL's virtual joysticks: axes, buttons, cross, two pads, coming and going. */
#include "ui/pads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/ui/fake_machine.h"

typedef struct Rig {
    Machine *machine;
    Pads *pads;
} Rig;

static void pump(Rig *r)
{
    SDL_Event e;
    SDL_PumpEvents();
    while (SDL_PollEvent(&e)) {
        pads_event(r->pads, &e);
    }
}

static int plug(void)
{
    int device = SDL_JoystickAttachVirtual(SDL_JOYSTICK_TYPE_GAMECONTROLLER,
                                           SDL_CONTROLLER_AXIS_MAX, SDL_CONTROLLER_BUTTON_MAX, 0);
    assert_true(device >= 0);
    return device;
}

static SDL_Joystick *open_plugged(int device)
{
    SDL_Joystick *j = SDL_JoystickOpen(device);
    assert_non_null(j);
    for (int i = 0; i < SDL_CONTROLLER_AXIS_MAX; i++) {
        SDL_JoystickSetVirtualAxis(j, i, 0);
    }
    return j;
}

static void start(Rig *r)
{
    MachineConfig config;
    Err err = {""};
    machine_config_init(&config);
    r->machine = machine_new(&config, &err);
    machine_config_free(&config);
    r->pads = pads_open(r->machine);
    assert_non_null(r->pads);
    pump(r);
}

static void stop(Rig *r)
{
    pads_close(r->pads);
    machine_free(r->machine);
}

static void a_pad_comes_moves_and_goes(void **state)
{
    (void)state;
    Rig r;
    start(&r);
    assert_int_equal(fake_pads(r.machine).connected, 0);
    int device = plug();
    SDL_Joystick *j = open_plugged(device);
    pump(&r);
    PadState now = fake_pads(r.machine);
    assert_int_equal(now.connected, 15); /* alone, it is both sticks */
    assert_int_equal(now.buttons, 0);

    SDL_JoystickSetVirtualAxis(j, SDL_CONTROLLER_AXIS_LEFTX, -32768);
    SDL_JoystickSetVirtualAxis(j, SDL_CONTROLLER_AXIS_LEFTY, 32767);
    SDL_JoystickSetVirtualAxis(j, SDL_CONTROLLER_AXIS_RIGHTX, 16384);
    SDL_JoystickSetVirtualButton(j, SDL_CONTROLLER_BUTTON_A, 1);
    SDL_JoystickSetVirtualButton(j, SDL_CONTROLLER_BUTTON_Y, 1);
    pump(&r);
    now = fake_pads(r.machine);
    assert_int_equal(now.axis[0], 0);
    assert_int_equal(now.axis[1], 65535);
    assert_int_equal(now.axis[2], 49152);
    assert_int_equal(now.axis[3], 32768);
    assert_int_equal(now.buttons, 9);

    SDL_JoystickSetVirtualAxis(j, SDL_CONTROLLER_AXIS_LEFTX, 0);
    SDL_JoystickSetVirtualButton(j, SDL_CONTROLLER_BUTTON_DPAD_RIGHT, 1);
    SDL_JoystickSetVirtualButton(j, SDL_CONTROLLER_BUTTON_A, 0);
    pump(&r);
    now = fake_pads(r.machine);
    assert_int_equal(now.axis[0], 65535);
    assert_int_equal(now.buttons, 8);

    SDL_JoystickClose(j);
    SDL_JoystickDetachVirtual(device);
    pump(&r);
    now = fake_pads(r.machine);
    assert_int_equal(now.connected, 0);
    assert_int_equal(now.buttons, 0);
    stop(&r);
}

static void two_pads_are_two_sticks(void **state)
{
    (void)state;
    Rig r;
    start(&r);
    SDL_Joystick *a = open_plugged(plug());
    pump(&r);
    SDL_Joystick *b = open_plugged(plug());
    pump(&r);
    SDL_JoystickSetVirtualAxis(a, SDL_CONTROLLER_AXIS_LEFTX, 32767);
    SDL_JoystickSetVirtualButton(a, SDL_CONTROLLER_BUTTON_X, 1); /* the other's now */
    SDL_JoystickSetVirtualAxis(b, SDL_CONTROLLER_AXIS_LEFTY, -32768);
    SDL_JoystickSetVirtualButton(b, SDL_CONTROLLER_BUTTON_B, 1);
    pump(&r);
    PadState now = fake_pads(r.machine);
    assert_int_equal(now.connected, 15);
    assert_int_equal(now.axis[0], 65535);
    assert_int_equal(now.axis[3], 0);
    assert_int_equal(now.buttons, 8);
    SDL_JoystickClose(a);
    SDL_JoystickClose(b);
    SDL_JoystickDetachVirtual(0);
    pump(&r);
    now = fake_pads(r.machine);
    assert_int_equal(now.connected, 12); /* B stays where it is */
    SDL_JoystickDetachVirtual(0);
    pump(&r);
    assert_int_equal(fake_pads(r.machine).connected, 0);
    stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pad_comes_moves_and_goes),
        cmocka_unit_test(two_pads_are_two_sticks),
    };
    SDL_SetHint(SDL_HINT_VIDEODRIVER, "dummy");
    SDL_SetHint(SDL_HINT_JOYSTICK_ALLOW_BACKGROUND_EVENTS, "1");
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    SDL_SetHint(SDL_HINT_JOYSTICK_HIDAPI, "0");
    if (SDL_Init(SDL_INIT_VIDEO) != 0) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    SDL_Quit();
    return failed;
}
