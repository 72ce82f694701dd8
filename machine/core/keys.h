/* Key numbers inside the machine: USB HID usages of page 7 (keyboard), as SDL scancodes are too.
 *
 * 0x04 is A, 0x1e is 1, 0xe0 is left Ctrl (USB HID Usage Tables 1.12, section 10). Front ends send
 * them, the keyboard turns them into scan codes.
 */
#ifndef MACHINE_CORE_KEYS_H
#define MACHINE_CORE_KEYS_H

#include <stdbool.h>
#include <stdint.h>

/* Keys that HID keeps on its consumer page: numbers that page 7 has no use for. */
enum {
    KEY_PLAY = 0xe8,
    KEY_STOP = 0xe9,
    KEY_PREVIOUS = 0xea,
    KEY_NEXT = 0xeb,
    KEY_WWW_HOME = 0xf0,
    KEY_WWW_BACK = 0xf1,
    KEY_WWW_FORWARD = 0xf2,
    KEY_WWW_STOP = 0xf3,
    KEY_WWW_SEARCH = 0xf4,
    KEY_WWW_FAVOURITES = 0xf7,
    KEY_SLEEP = 0xf8,
    KEY_WAKE = 0xf9,
    KEY_WWW_REFRESH = 0xfa,
    KEY_CALCULATOR = 0xfb,
    KEY_MAIL = 0xfc,
    KEY_COMPUTER = 0xfd,
    KEY_MEDIA = 0xfe,
};

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
