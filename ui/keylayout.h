/* Which key of the guest's keyboard types a character, for some national keyboards. */
#ifndef UI_KEYLAYOUT_H
#define UI_KEYLAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#define KEY_LAYOUT_NAMES "en-us, en-gb, de, fr, es, it, sv"

typedef struct KeyLayout KeyLayout;

typedef struct KeyStroke {
    uint8_t hid; /* HID usage */
    bool shift, altgr;
    bool dead; /* types nothing before the space bar is pressed too */
} KeyStroke;

/* By QEMU's name ("en-us", "de") or the country's ("us", "uk"). NULL is en-us; NULL for a name that
 * is not known. */
const KeyLayout *key_layout_find(const char *name);
/* False: no key types this code point. */
bool key_layout_stroke(const KeyLayout *layout, uint32_t point, KeyStroke *stroke);

#endif
