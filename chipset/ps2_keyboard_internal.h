/* The keys of the PS/2 keyboard: scan codes by HID usage. */
#ifndef CHIPSET_PS2_KEYBOARD_INTERNAL_H
#define CHIPSET_PS2_KEYBOARD_INTERNAL_H

#include <stdint.h>

/* What set 3 does with a key unless told otherwise. In sets 1 and 2 every key repeats but Pause. */
enum { TYPEMATIC, MAKE_BREAK, MAKE_ONLY, TYPEMATIC_MAKE_BREAK };

/* Sets 1 and 2. */
enum {
    EXTENDED = 0x01,   /* E0h before the code */
    NAVIGATION = 0x02, /* fakes shifts, so that it is never a digit */
    DIVIDE = 0x04,     /* keypad /: takes shift away, so that it is never ? */
    PRINT = 0x08,      /* Print Screen, SysRq */
    PAUSE = 0x10,      /* Pause, Break */
    NO_BREAK = 0x20,
};

typedef struct KeyCode {
    uint8_t set1, set2, set3; /* 0: the set does not have the key */
    uint8_t set3_type;
    uint8_t flags;
} KeyCode;

#define KEY_COUNT 0x100u

extern const KeyCode ps2_keyboard_keys[KEY_COUNT];

#endif
