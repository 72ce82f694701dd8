/* National keyboards: what each key of the four rows types, plain, with Shift and with AltGr.
 *
 * After the keyboard pages of ISO/IEC 9995 and the keyboards that DOS's KEYB and Windows load for
 * these countries. Only what AltGr types in all of them is listed.
 */
#include "ui/keylayout.h"

#include <stddef.h>
#include <strings.h>

#include "ui/codepage.h"

enum { KEYS = 48, MAX_ALTGR = 16 };

/* The rows from the top, each from the left; the key beside the left Shift begins the last one. */
static const uint8_t places[KEYS] = {
    0x35, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x2d, 0x2e, 0x14, 0x1a, 0x08,
    0x15, 0x17, 0x1c, 0x18, 0x0c, 0x12, 0x13, 0x2f, 0x30, 0x04, 0x16, 0x07, 0x09, 0x0a, 0x0b, 0x0d,
    0x0e, 0x0f, 0x33, 0x34, 0x31, 0x64, 0x1d, 0x1b, 0x06, 0x19, 0x05, 0x11, 0x10, 0x36, 0x37, 0x38,
};

typedef struct AltGr {
    uint8_t hid;
    uint16_t point;
} AltGr;

struct KeyLayout {
    const char *name, *country;
    const char *plain, *shifted; /* KEYS characters of UTF-8; a space: nothing */
    AltGr altgr[MAX_ALTGR];
    const char *dead;
};

/* clang-format off */
static const KeyLayout layouts[] = {
    {"en-us", "us",
     "`1234567890-=" "qwertyuiop[]" "asdfghjkl;'\\" " zxcvbnm,./",
     "~!@#$%^&*()_+" "QWERTYUIOP{}" "ASDFGHJKL:\"|" " ZXCVBNM<>?", {{0, 0}}, ""},
    {"en-gb", "uk",
     "`1234567890-=" "qwertyuiop[]" "asdfghjkl;'#" "\\zxcvbnm,./",
     "¬!\"£$%^&*()_+" "QWERTYUIOP{}" "ASDFGHJKL:@~" "|ZXCVBNM<>?", {{0, 0}}, ""},
    {"de", "gr",
     "^1234567890ß´" "qwertzuiopü+" "asdfghjklöä#" "<yxcvbnm,.-",
     "°!\"§$%&/()=?`" "QWERTZUIOPÜ*" "ASDFGHJKLÖÄ'" ">YXCVBNM;:_",
     {{0x1f, 0xb2}, {0x20, 0xb3}, {0x24, '{'}, {0x25, '['}, {0x26, ']'}, {0x27, '}'}, {0x2d, '\\'}, {0x14, '@'},
      {0x30, '~'}, {0x64, '|'}, {0x10, 0xb5}}, "^´`"},
    {"fr", "fr",
     "²&é\"'(-è_çà)=" "azertyuiop^$" "qsdfghjklmù*" "<wxcvbn,;:!",
     " 1234567890°+" "AZERTYUIOP¨£" "QSDFGHJKLM%µ" ">WXCVBN?./§",
     {{0x1f, '~'}, {0x20, '#'}, {0x21, '{'}, {0x22, '['}, {0x23, '|'}, {0x24, '`'}, {0x25, '\\'}, {0x27, '@'},
      {0x2d, ']'}, {0x2e, '}'}}, "^¨~`"},
    {"es", "sp",
     "º1234567890'¡" "qwertyuiop`+" "asdfghjklñ´ç" "<zxcvbnm,.-",
     "ª!\"·$%&/()=?¿" "QWERTYUIOP^*" "ASDFGHJKLÑ¨Ç" ">ZXCVBNM;:_",
     {{0x35, '\\'}, {0x1e, '|'}, {0x1f, '@'}, {0x20, '#'}, {0x2f, '['}, {0x30, ']'}, {0x34, '{'}, {0x31, '}'}}, "`^´¨"},
    {"it", "it",
     "\\1234567890'ì" "qwertyuiopè+" "asdfghjklòàù" "<zxcvbnm,.-",
     "|!\"£$%&/()=?^" "QWERTYUIOPé*" "ASDFGHJKLç°§" ">ZXCVBNM;:_",
     {{0x33, '@'}, {0x34, '#'}, {0x2f, '['}, {0x30, ']'}}, ""},
    {"sv", "se",
     "§1234567890+´" "qwertyuiopå¨" "asdfghjklöä'" "<zxcvbnm,.-",
     "½!\"#¤%&/()=?`" "QWERTYUIOPÅ^" "ASDFGHJKLÖÄ*" ">ZXCVBNM;:_",
     {{0x1f, '@'}, {0x20, 0xa3}, {0x21, '$'}, {0x24, '{'}, {0x25, '['}, {0x26, ']'}, {0x27, '}'}, {0x2d, '\\'},
      {0x30, '~'}, {0x64, '|'}}, "´`¨^~"},
};
/* clang-format on */
enum { LAYOUTS = sizeof(layouts) / sizeof(layouts[0]) };

const KeyLayout *key_layout_find(const char *name)
{
    for (unsigned i = 0; name && i < LAYOUTS; i++) {
        if (strcasecmp(name, layouts[i].name) == 0 || strcasecmp(name, layouts[i].country) == 0) {
            return &layouts[i];
        }
    }
    return name ? NULL : &layouts[0];
}

static bool in_row(const char *row, uint32_t point, uint8_t *hid)
{
    for (unsigned i = 0; i < KEYS && *row; i++) {
        if (codepage_next(&row) == point) {
            *hid = places[i];
            return true;
        }
    }
    return false;
}

static bool is_dead(const KeyLayout *layout, uint32_t point)
{
    for (const char *at = layout->dead; *at;) {
        if (codepage_next(&at) == point) {
            return true;
        }
    }
    return false;
}

bool key_layout_stroke(const KeyLayout *layout, uint32_t point, KeyStroke *stroke)
{
    *stroke = (KeyStroke){0};
    if (point == '\n' || point == '\t' || point == ' ' || point == 27 || point == '\b') {
        stroke->hid = point == '\n'   ? 0x28
                      : point == '\t' ? 0x2b
                      : point == ' '  ? 0x2c
                      : point == 27   ? 0x29
                                      : 0x2a;
        return true;
    }
    bool known = in_row(layout->plain, point, &stroke->hid);
    if (!known && in_row(layout->shifted, point, &stroke->hid)) {
        stroke->shift = known = true;
    }
    for (unsigned i = 0; !known && i < MAX_ALTGR && layout->altgr[i].hid; i++) {
        if (layout->altgr[i].point == point) {
            stroke->hid = layout->altgr[i].hid;
            stroke->altgr = known = true;
        }
    }
    stroke->dead = known && is_dead(layout, point);
    return known;
}
