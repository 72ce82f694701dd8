/* PS/2 keyboard, 101/102 keys and the Japanese, Korean and multimedia ones (IBM PS/2 Hardware
 * Interface Technical Reference, "Keyboard").
 *
 * Keys arrive as InputEvent (INPUT_KEY) through its event port.
 */
#ifndef CHIPSET_PS2_KEYBOARD_H
#define CHIPSET_PS2_KEYBOARD_H

#include "machine/core/device.h"
#include "machine/core/event.h"
#include "machine/core/ps2.h"

typedef struct Ps2Keyboard Ps2Keyboard;

typedef struct Ps2KeyboardConfig {
    void (*leds_changed)(void *self, uint8_t leds); /* may be NULL; as ps2_keyboard_leds */
    void *self;
} Ps2KeyboardConfig;

Ps2Keyboard *ps2_keyboard_new(Board *b, const Ps2KeyboardConfig *config, const char *id);
/* Its plug, for the controller. */
Ps2Port ps2_keyboard_plug(Ps2Keyboard *kbd);
/* Where front ends post InputEvent. A key that is held is posted once: the keyboard repeats it. */
EventPort *ps2_keyboard_events(Ps2Keyboard *kbd);
/* Bit 0 scroll lock, 1 num lock, 2 caps lock. */
uint8_t ps2_keyboard_leds(const Ps2Keyboard *kbd);

#endif
