/* Keys by name, by PC scan code and by character, as HID usages (machine/core/keys.h). */
#ifndef UI_KEYMAP_H
#define UI_KEYMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEY_HID_SHIFT = 0xe1, KEY_HID_CTRL = 0xe0, KEY_HID_ALT = 0xe2, KEY_HID_DELETE = 0x4c };

/* QEMU's names ("ret", "ctrl_r", "kp_5"), any case. 0: there is no such key. */
uint8_t keymap_by_name(const char *name, size_t length);
/* The name of a usage, or NULL. */
const char *keymap_name(uint8_t hid);
/* Scan code set 1; keys with prefix E0 have bit 7 set. 0: there is no such key. */
uint8_t keymap_by_scan_code(unsigned code);
/* The key that types an ASCII character on a US keyboard; newline is Enter. False: none does. */
bool keymap_by_char(char c, uint8_t *hid, bool *shift);

#endif
