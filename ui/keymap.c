/* Tables of keys: HID usage, scan code of set 1, name, and what a US keyboard types.
 *
 * USB HID Usage Tables 1.12, section 10; the scan codes are those of the PC/AT keyboard. Names are
 * QEMU's QKeyCode.
 */
#include "ui/keymap.h"

#include <string.h>
#include <strings.h>

#include "machine/core/keys.h"

typedef struct Key {
    uint8_t hid, scan;   /* scan: bit 7 set for prefix E0; 0: none */
    char plain, shifted; /* 0: types nothing */
    const char *name;
} Key;

/* clang-format off */
static const Key keys[] = {
    {0x04, 0x1e, 'a', 'A', "a"}, {0x05, 0x30, 'b', 'B', "b"}, {0x06, 0x2e, 'c', 'C', "c"}, {0x07, 0x20, 'd', 'D', "d"},
    {0x08, 0x12, 'e', 'E', "e"}, {0x09, 0x21, 'f', 'F', "f"}, {0x0a, 0x22, 'g', 'G', "g"}, {0x0b, 0x23, 'h', 'H', "h"},
    {0x0c, 0x17, 'i', 'I', "i"}, {0x0d, 0x24, 'j', 'J', "j"}, {0x0e, 0x25, 'k', 'K', "k"}, {0x0f, 0x26, 'l', 'L', "l"},
    {0x10, 0x32, 'm', 'M', "m"}, {0x11, 0x31, 'n', 'N', "n"}, {0x12, 0x18, 'o', 'O', "o"}, {0x13, 0x19, 'p', 'P', "p"},
    {0x14, 0x10, 'q', 'Q', "q"}, {0x15, 0x13, 'r', 'R', "r"}, {0x16, 0x1f, 's', 'S', "s"}, {0x17, 0x14, 't', 'T', "t"},
    {0x18, 0x16, 'u', 'U', "u"}, {0x19, 0x2f, 'v', 'V', "v"}, {0x1a, 0x11, 'w', 'W', "w"}, {0x1b, 0x2d, 'x', 'X', "x"},
    {0x1c, 0x15, 'y', 'Y', "y"}, {0x1d, 0x2c, 'z', 'Z', "z"},
    {0x1e, 0x02, '1', '!', "1"}, {0x1f, 0x03, '2', '@', "2"}, {0x20, 0x04, '3', '#', "3"}, {0x21, 0x05, '4', '$', "4"},
    {0x22, 0x06, '5', '%', "5"}, {0x23, 0x07, '6', '^', "6"}, {0x24, 0x08, '7', '&', "7"}, {0x25, 0x09, '8', '*', "8"},
    {0x26, 0x0a, '9', '(', "9"}, {0x27, 0x0b, '0', ')', "0"},
    {0x28, 0x1c, '\n', 0, "ret"}, {0x29, 0x01, 27, 0, "esc"}, {0x2a, 0x0e, '\b', 0, "backspace"},
    {0x2b, 0x0f, '\t', 0, "tab"}, {0x2c, 0x39, ' ', 0, "spc"}, {0x2d, 0x0c, '-', '_', "minus"},
    {0x2e, 0x0d, '=', '+', "equal"}, {0x2f, 0x1a, '[', '{', "bracket_left"}, {0x30, 0x1b, ']', '}', "bracket_right"},
    {0x31, 0x2b, '\\', '|', "backslash"}, {0x33, 0x27, ';', ':', "semicolon"}, {0x34, 0x28, '\'', '"', "apostrophe"},
    {0x35, 0x29, '`', '~', "grave_accent"}, {0x36, 0x33, ',', '<', "comma"}, {0x37, 0x34, '.', '>', "dot"},
    {0x38, 0x35, '/', '?', "slash"}, {0x39, 0x3a, 0, 0, "caps_lock"},
    {0x3a, 0x3b, 0, 0, "f1"}, {0x3b, 0x3c, 0, 0, "f2"}, {0x3c, 0x3d, 0, 0, "f3"}, {0x3d, 0x3e, 0, 0, "f4"},
    {0x3e, 0x3f, 0, 0, "f5"}, {0x3f, 0x40, 0, 0, "f6"}, {0x40, 0x41, 0, 0, "f7"}, {0x41, 0x42, 0, 0, "f8"},
    {0x42, 0x43, 0, 0, "f9"}, {0x43, 0x44, 0, 0, "f10"}, {0x44, 0x57, 0, 0, "f11"}, {0x45, 0x58, 0, 0, "f12"},
    {0x46, 0xb7, 0, 0, "print"}, {0x46, 0x54, 0, 0, "sysrq"}, {0x47, 0x46, 0, 0, "scroll_lock"},
    {0x48, 0xc6, 0, 0, "pause"}, {0x49, 0xd2, 0, 0, "insert"}, {0x4a, 0xc7, 0, 0, "home"}, {0x4b, 0xc9, 0, 0, "pgup"},
    {0x4c, 0xd3, 0, 0, "delete"}, {0x4d, 0xcf, 0, 0, "end"}, {0x4e, 0xd1, 0, 0, "pgdn"}, {0x4f, 0xcd, 0, 0, "right"},
    {0x50, 0xcb, 0, 0, "left"}, {0x51, 0xd0, 0, 0, "down"}, {0x52, 0xc8, 0, 0, "up"}, {0x53, 0x45, 0, 0, "num_lock"},
    {0x54, 0xb5, 0, 0, "kp_divide"}, {0x55, 0x37, 0, 0, "kp_multiply"}, {0x56, 0x4a, 0, 0, "kp_subtract"},
    {0x57, 0x4e, 0, 0, "kp_add"}, {0x58, 0x9c, 0, 0, "kp_enter"}, {0x59, 0x4f, 0, 0, "kp_1"}, {0x5a, 0x50, 0, 0, "kp_2"},
    {0x5b, 0x51, 0, 0, "kp_3"}, {0x5c, 0x4b, 0, 0, "kp_4"}, {0x5d, 0x4c, 0, 0, "kp_5"}, {0x5e, 0x4d, 0, 0, "kp_6"},
    {0x5f, 0x47, 0, 0, "kp_7"}, {0x60, 0x48, 0, 0, "kp_8"}, {0x61, 0x49, 0, 0, "kp_9"}, {0x62, 0x52, 0, 0, "kp_0"},
    {0x63, 0x53, 0, 0, "kp_decimal"}, {0x64, 0x56, 0, 0, "less"}, {0x65, 0xdd, 0, 0, "menu"}, {0x65, 0, 0, 0, "compose"},
    {0x66, 0xde, 0, 0, "power"}, {0x67, 0x59, 0, 0, "kp_equals"}, {0x85, 0x7e, 0, 0, "kp_comma"},
    {0x87, 0x73, 0, 0, "ro"}, {0x88, 0x70, 0, 0, "katakanahiragana"}, {0x89, 0x7d, 0, 0, "yen"},
    {0x8a, 0x79, 0, 0, "henkan"}, {0x8b, 0x7b, 0, 0, "muhenkan"}, {0x90, 0, 0, 0, "lang1"}, {0x91, 0, 0, 0, "lang2"},
    {0xe0, 0x1d, 0, 0, "ctrl"}, {0xe1, 0x2a, 0, 0, "shift"}, {0xe2, 0x38, 0, 0, "alt"}, {0xe3, 0xdb, 0, 0, "meta_l"},
    {0xe4, 0x9d, 0, 0, "ctrl_r"}, {0xe5, 0x36, 0, 0, "shift_r"}, {0xe6, 0xb8, 0, 0, "alt_r"}, {0xe7, 0xdc, 0, 0, "meta_r"},
    {0x68, 0x64, 0, 0, "f13"}, {0x69, 0x65, 0, 0, "f14"}, {0x6a, 0x66, 0, 0, "f15"}, {0x6b, 0x67, 0, 0, "f16"},
    {0x6c, 0x68, 0, 0, "f17"}, {0x6d, 0x69, 0, 0, "f18"}, {0x6e, 0x6a, 0, 0, "f19"}, {0x6f, 0x6b, 0, 0, "f20"},
    {0x70, 0x6c, 0, 0, "f21"}, {0x71, 0x6d, 0, 0, "f22"}, {0x72, 0x6e, 0, 0, "f23"}, {0x73, 0x76, 0, 0, "f24"},
    {0x7f, 0xa0, 0, 0, "audiomute"}, {0x80, 0xb0, 0, 0, "volumeup"}, {0x81, 0xae, 0, 0, "volumedown"},
    {0x93, 0x77, 0, 0, "hiragana"}, {0x94, 0, 0, 0, "zenkakuhankaku"},
    {KEY_PLAY, 0xa2, 0, 0, "audioplay"}, {KEY_STOP, 0xa4, 0, 0, "audiostop"}, {KEY_PREVIOUS, 0x90, 0, 0, "audioprev"},
    {KEY_NEXT, 0x99, 0, 0, "audionext"}, {KEY_WWW_HOME, 0xb2, 0, 0, "ac_home"}, {KEY_WWW_BACK, 0xea, 0, 0, "ac_back"},
    {KEY_WWW_FORWARD, 0xe9, 0, 0, "ac_forward"}, {KEY_WWW_REFRESH, 0xe7, 0, 0, "ac_refresh"},
    {KEY_WWW_FAVOURITES, 0xe6, 0, 0, "ac_bookmarks"}, {KEY_WWW_STOP, 0xe8, 0, 0, "stop"}, {KEY_WWW_SEARCH, 0xe5, 0, 0, "find"},
    {KEY_SLEEP, 0xdf, 0, 0, "sleep"}, {KEY_WAKE, 0xe3, 0, 0, "wake"}, {KEY_CALCULATOR, 0xa1, 0, 0, "calculator"},
    {KEY_MAIL, 0xec, 0, 0, "mail"}, {KEY_COMPUTER, 0xeb, 0, 0, "computer"}, {KEY_MEDIA, 0xed, 0, 0, "mediaselect"},
    {0xe6, 0, 0, 0, "altgr"}, {0x2c, 0, 0, 0, "space"}, {0x28, 0, 0, 0, "enter"}, {0x62, 0, 0, 0, "kp_insert"},
};
/* clang-format on */
enum { KEYS = sizeof(keys) / sizeof(keys[0]) };

uint8_t keymap_by_name(const char *name, size_t length)
{
    for (unsigned i = 0; i < KEYS; i++) {
        if (strlen(keys[i].name) == length && strncasecmp(keys[i].name, name, length) == 0) {
            return keys[i].hid;
        }
    }
    return 0;
}

const char *keymap_name(uint8_t hid)
{
    for (unsigned i = 0; i < KEYS; i++) {
        if (keys[i].hid == hid) {
            return keys[i].name;
        }
    }
    return NULL;
}

uint8_t keymap_by_scan_code(unsigned code)
{
    for (unsigned i = 0; i < KEYS; i++) {
        if (keys[i].scan && keys[i].scan == code) {
            return keys[i].hid;
        }
    }
    return 0;
}

bool keymap_by_char(char c, uint8_t *hid, bool *shift)
{
    if (c == '\r') {
        c = '\n';
    }
    for (unsigned i = 0; c && i < KEYS; i++) {
        if (keys[i].plain == c || keys[i].shifted == c) {
            *hid = keys[i].hid;
            *shift = keys[i].plain != c;
            return true;
        }
    }
    return false;
}
