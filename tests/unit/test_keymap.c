/* Keys by name, scan code and character; the PC's character set in UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "chipset/ps2_keyboard_internal.h"
#include "ui/codepage.h"
#include "ui/keylayout.h"
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

/* The numbers by which a front end knows keys are set 1 of the guest's keyboard. */
static void scan_codes_are_the_keyboards(void **state)
{
    (void)state;
    unsigned keys = 0;
    for (unsigned code = 1; code < 256; code++) {
        uint8_t hid = keymap_by_scan_code(code);
        const KeyCode *key = &ps2_keyboard_keys[hid];
        if (hid && !(key->flags & (PRINT | PAUSE))) {
            assert_non_null(keymap_name(hid));
            assert_int_equal(key->set1, code & 0x7f);
            assert_int_equal(!!(key->flags & EXTENDED), code >> 7);
            keys++;
        }
    }
    assert_true(keys > 130);
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

static void bytes_and_code_points(void **state)
{
    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        if (byte != 0x7f && codepage_point((uint8_t)byte) != ' ') {
            assert_int_equal(codepage_byte(codepage_point((uint8_t)byte)), byte);
        }
    }
    assert_int_equal(codepage_byte(0x4e2d), -1);
    assert_int_equal(codepage_byte(0xfffd), -1);
}

static void utf8_is_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t points[5];
    } cases[] = {
        {"a\u00e4\u2554\U0001f600", {'a', 0xe4, 0x2554, 0x1f600, 0}},
        {"\xe4x", {0xfffd, 'x', 0}},             /* a byte of Latin-1 */
        {"\xe2\x95", {0xfffd, 0xfffd, 0}},       /* cut off */
        {"\xc1\x81y", {0xfffd, 0xfffd, 'y', 0}}, /* longer than it must be */
        {"\x80\xff", {0xfffd, 0xfffd, 0}},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *at = cases[i].text;
        for (unsigned k = 0; k < 5; k++) {
            uint32_t point = codepage_next(&at);
            assert_int_equal(point, cases[i].points[k]);
            if (!point) {
                break;
            }
        }
        assert_int_equal(*at, 0);
    }
}

static void check_stroke(const char *layout, uint32_t point, uint8_t hid, bool shift, bool altgr,
                         bool dead)
{
    KeyStroke s;
    assert_true(key_layout_stroke(key_layout_find(layout), point, &s));
    assert_int_equal(s.hid, hid);
    assert_int_equal(s.shift, shift);
    assert_int_equal(s.altgr, altgr);
    assert_int_equal(s.dead, dead);
}

static void layouts(void **state)
{
    (void)state;
    static const char *const names[] = {"en-us", "en-gb", "de", "fr", "es", "it", "sv"};
    KeyStroke s;
    /* What DOS needs must be on every keyboard; and nothing twice on one key. */
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const KeyLayout *layout = key_layout_find(names[i]);
        assert_non_null(layout);
        bool seen[256][4] = {{0}};
        for (uint32_t c = ' '; c < 127; c++) {
            bool rare = c == '`' || c == '~' || c == '^' || c == '{' || c == '}';
            if (!key_layout_stroke(layout, c, &s)) {
                assert_true(rare); /* typed by number */
                continue;
            }
            bool *place = &seen[s.hid][s.shift + 2 * s.altgr];
            assert_false(*place);
            *place = true;
        }
    }
    assert_null(key_layout_find("xx"));
    assert_ptr_equal(key_layout_find(NULL), key_layout_find("us"));
    /* On the US keyboard both tables agree. */
    for (int c = ' '; c < 127; c++) {
        uint8_t hid;
        bool shift;
        assert_true(keymap_by_char((char)c, &hid, &shift));
        check_stroke("us", (uint32_t)c, hid, shift, false, false);
    }
    check_stroke("de", 'z', 0x1c, false, false, false);
    check_stroke("de", 0xdf, 0x2d, false, false, false);
    check_stroke("de", '\\', 0x2d, false, true, false);
    check_stroke("de", '^', 0x35, false, false, true);
    check_stroke("fr", 'a', 0x14, false, false, false);
    check_stroke("fr", '1', 0x1e, true, false, false);
    check_stroke("fr", '.', 0x36, true, false, false);
    check_stroke("uk", '"', 0x1f, true, false, false);
    check_stroke("uk", '|', 0x64, true, false, false);
    check_stroke("es", 0xf1, 0x33, false, false, false);
    check_stroke("it", '\\', 0x35, false, false, false);
    check_stroke("sv", '$', 0x21, false, true, false);
    check_stroke("sv", '\n', 0x28, false, false, false);
    assert_false(key_layout_stroke(key_layout_find("us"), 0xe4, &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(scan_codes),
        cmocka_unit_test(scan_codes_are_the_keyboards),
        cmocka_unit_test(characters),
        cmocka_unit_test(character_set),
        cmocka_unit_test(bytes_and_code_points),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(layouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
