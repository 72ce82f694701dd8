/* Keys by name, scan code and character; the PC's character set in UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ui/codepage.h"
#include "ui/keymap.h"

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t hid;
    } cases[] = {{"a", 0x04},      {"Z", 0x1d},     {"1", 0x1e},     {"0", 0x27},
                 {"ret", 0x28},    {"esc", 0x29},   {"spc", 0x2c},   {"f12", 0x45},
                 {"sysrq", 0x46},  {"print", 0x46}, {"pause", 0x48}, {"kp_5", 0x5d},
                 {"ctrl_r", 0xe4}, {"less", 0x64},  {"menu", 0x65},  {"nokey", 0},
                 {"", 0},          {"re", 0},       {"kp_", 0}};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(keymap_by_name(cases[i].name, strlen(cases[i].name)), cases[i].hid);
    }
    assert_string_equal(keymap_name(0x28), "ret");
    assert_null(keymap_name(1));
}

static void scan_codes(void **state)
{
    (void)state;
    assert_int_equal(keymap_by_scan_code(0x1c), 0x28);
    assert_int_equal(keymap_by_scan_code(0x9c), 0x58); /* E0 1C: keypad Enter */
    assert_int_equal(keymap_by_scan_code(0xd3), 0x4c); /* E0 53: Delete */
    assert_int_equal(keymap_by_scan_code(0), 0);
    assert_int_equal(keymap_by_scan_code(0x7f), 0);
}

static void characters(void **state)
{
    (void)state;
    uint8_t hid;
    bool shift;
    for (int c = ' '; c < 127; c++) {
        assert_true(keymap_by_char((char)c, &hid, &shift));
    }
    assert_true(keymap_by_char('\\', &hid, &shift));
    assert_int_equal(hid, 0x31);
    assert_false(shift);
    assert_true(keymap_by_char(':', &hid, &shift));
    assert_int_equal(hid, 0x33);
    assert_true(shift);
    assert_true(keymap_by_char('\r', &hid, &shift));
    assert_int_equal(hid, 0x28);
    assert_false(keymap_by_char('\0', &hid, &shift));
    assert_false(keymap_by_char('\x01', &hid, &shift));
    assert_false(keymap_by_char((char)0xe9, &hid, &shift));
}

static void character_set(void **state)
{
    (void)state;
    char utf8[32];
    codepage_utf8("A\xc9\xb3\xe1\x01\x7f", 6, utf8);
    assert_string_equal(utf8, "A\u2554\u2502\u00df\u263a\u2302");
    codepage_utf8("\0\xff", 2, utf8);
    assert_string_equal(utf8, " \u00a0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(scan_codes),
        cmocka_unit_test(characters),
        cmocka_unit_test(character_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
