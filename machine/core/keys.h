/* Key numbers inside the machine: USB HID usages of page 7 (keyboard), as SDL scancodes are too.
 *
 * 0x04 is A, 0x1e is 1, 0xe0 is left Ctrl (USB HID Usage Tables 1.12, section 10). Front ends send
 * them, the keyboard turns them into scan codes.
 */
#ifndef MACHINE_CORE_KEYS_H
#define MACHINE_CORE_KEYS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum InputKind {
    INPUT_KEY,
    INPUT_MOUSE_MOVE,
    INPUT_MOUSE_BUTTONS,
    INPUT_MOUSE_ABSOLUTE
} InputKind;

enum { MOUSE_LEFT = 1, MOUSE_RIGHT = 2, MOUSE_MIDDLE = 4, MOUSE_SIDE = 8, MOUSE_EXTRA = 16 };

/* The payload of an input event. */
typedef struct InputEvent {
    InputKind kind;
    uint8_t key; /* INPUT_KEY: HID usage */
    bool down;
    uint8_t buttons; /* INPUT_MOUSE_BUTTONS: MOUSE_* now held */
    int16_t dx, dy,
        wheel;     /* INPUT_MOUSE_MOVE: dy grows downwards; wheel: positive is away from the user */
    uint16_t x, y; /* INPUT_MOUSE_ABSOLUTE: 0..65535 across the picture */
} InputEvent;

#endif
