/* PS/2 keyboard: scan codes of all sets, fake shifts, Pause, Print Screen, typematic, commands. */
#include "chipset/ps2_keyboard.h"

#include <string.h>

#include "chipset/ps2_keyboard_internal.h"
#include "tests/unit/input_rig.h"

#define MS INT64_C(1000000)

enum {
    A = 0x04,
    PRINT_SCREEN = 0x46,
    PAUSE_KEY = 0x48,
    INSERT = 0x49,
    RIGHT = 0x4f,
    SLASH = 0x54,
    HANGUL = 0x90,
    LCTRL = 0xe0,
    LSHIFT = 0xe1,
    LALT = 0xe2,
    RCTRL = 0xe4,
    RSHIFT = 0xe5,
};

typedef struct Fixture {
    Board *b;
    Ps2Keyboard *kbd;
    Ps2Port plug;
} Fixture;

static Fixture built(void)
{
    Fixture f = {.b = chip_board()};
    f.kbd = ps2_keyboard_new(f.b, &(Ps2KeyboardConfig){0}, "ps2kbd");
    f.plug = ps2_keyboard_plug(f.kbd);
    board_reset(f.b, RESET_POWER);
    return f;
}

#define EXPECT(f, text) PS2_EXPECT((f)->plug, text)

static void send(Fixture *f, uint8_t byte)
{
    ps2_send(f->plug, byte);
}

static Fixture fixture(void)
{
    Fixture f = built();
    clock_step(&f.b->clock, 2 * MS);
    EXPECT(&f, "\xaa");
    return f;
}

static void key(Fixture *f, uint8_t usage, bool down)
{
    input_key(f->b, ps2_keyboard_events(f->kbd), usage, down);
}

static void use_set(Fixture *f, uint8_t set)
{
    send(f, 0xf0);
    send(f, set);
    EXPECT(f, "\xfa\xfa");
}

static void basic_test_takes_its_time(void **state)
{
    (void)state;
    Fixture f = built();
    key(&f, A, true);
    clock_step(&f.b->clock, 2 * MS - 1);
    EXPECT(&f, "");
    clock_step(&f.b->clock, 1);
    EXPECT(&f, "\xaa");
    send(&f, 0xff);
    EXPECT(&f, "\xfa");
    clock_step(&f.b->clock, 1 * MS);
    EXPECT(&f, "");
    clock_step(&f.b->clock, MS);
    EXPECT(&f, "\xaa");
    board_free(f.b);
}

static void plain_keys_in_all_sets(void **state)
{
    (void)state;
    Fixture f = fixture();
    key(&f, A, true);
    key(&f, A, true); /* a host's repeat is not ours */
    key(&f, A, false);
    key(&f, A, false);
    EXPECT(&f, "\x1c\xf0\x1c");
    use_set(&f, 1);
    key(&f, A, true);
    key(&f, A, false);
    key(&f, RCTRL, true);
    key(&f, RCTRL, false);
    EXPECT(&f, "\x1e\x9e\xe0\x1d\xe0\x9d");
    use_set(&f, 3);
    key(&f, A, true);
    key(&f, A, false); /* typematic only: no break code */
    key(&f, LSHIFT, true);
    key(&f, LSHIFT, false);
    key(&f, RCTRL, true);
    key(&f, RCTRL, false);
    EXPECT(&f, "\x1c\x12\xf0\x12\x58");
    board_free(f.b);
}

static void every_key_of_set_2_has_make_and_break(void **state)
{
    (void)state;
    Fixture f = fixture();
    unsigned keys = 0;
    for (unsigned usage = 0; usage < 256; usage++) {
        const KeyCode *code = &ps2_keyboard_keys[usage];
        key(&f, (uint8_t)usage, true);
        key(&f, (uint8_t)usage, false);
        if (!code->set2) {
            EXPECT(&f, "");
        } else if (!(code->flags & (PRINT | PAUSE | NO_BREAK))) {
            char bytes[5] = {(char)0xe0, (char)code->set2, (char)0xe0, (char)0xf0,
                             (char)code->set2};
            char plain[3] = {(char)code->set2, (char)0xf0, (char)code->set2};
            bool extended = code->flags & EXTENDED;
            ps2_expect(f.plug, extended ? bytes : plain, extended ? 5 : 3);
            keys++;
        } else {
            while (f.plug.ops->waiting(f.plug.device)) {
                f.plug.ops->next(f.plug.device);
            }
        }
    }
    assert_true(keys >= 140);
    board_free(f.b);
}

/* Sets 1 and 3: a make and a break for each key of set 2, none of them another key's; and set 1 is
 * what the controller makes of set 2. */
static void the_other_sets_have_the_same_keys(void **state)
{
    (void)state;
    Fixture f = fixture();
    bool seen[2][128] = {{false}};
    use_set(&f, 1);
    for (unsigned usage = 0; usage < 256; usage++) {
        const KeyCode *code = &ps2_keyboard_keys[usage];
        if (!code->set2 || code->flags & (PRINT | PAUSE | NO_BREAK)) {
            continue;
        }
        char bytes[4] = {(char)0xe0, (char)code->set1, (char)0xe0, (char)(code->set1 | 0x80)};
        char plain[2] = {(char)code->set1, (char)(code->set1 | 0x80)};
        bool extended = code->flags & EXTENDED;
        assert_true(code->set1 > 0 && code->set1 < 0x80);
        bool *place = &seen[extended][code->set1];
        assert_true(!*place || usage == 0x32 || usage == 0x94); /* keys in another's place */
        *place = true;
        key(&f, (uint8_t)usage, true);
        key(&f, (uint8_t)usage, false);
        ps2_expect(f.plug, extended ? bytes : plain, extended ? 4 : 2);
    }
    use_set(&f, 3);
    send(&f, 0xf8); /* make and break for all */
    EXPECT(&f, "\xfa");
    for (unsigned usage = 0; usage < 256; usage++) {
        const KeyCode *code = &ps2_keyboard_keys[usage];
        char bytes[3] = {(char)code->set3, (char)0xf0, (char)code->set3};
        key(&f, (uint8_t)usage, true);
        key(&f, (uint8_t)usage, false);
        ps2_expect(f.plug, bytes, code->set3 ? 3 : 0);
    }
    board_free(f.b);
}

/* Codes of Microsoft's keyboard scan code specification. */
static void multimedia_keys(void **state)
{
    (void)state;
    static const struct {
        uint8_t usage, set1, set2;
    } cases[] = {
        {0x7f, 0x20, 0x23},
        {0x80, 0x30, 0x32},
        {0x81, 0x2e, 0x21},
        {KEY_NEXT, 0x19, 0x4d},
        {KEY_PREVIOUS, 0x10, 0x15},
        {KEY_STOP, 0x24, 0x3b},
        {KEY_PLAY, 0x22, 0x34},
        {KEY_MEDIA, 0x6d, 0x50},
        {KEY_MAIL, 0x6c, 0x48},
        {KEY_CALCULATOR, 0x21, 0x2b},
        {KEY_COMPUTER, 0x6b, 0x40},
        {KEY_WWW_SEARCH, 0x65, 0x10},
        {KEY_WWW_HOME, 0x32, 0x3a},
        {KEY_WWW_BACK, 0x6a, 0x38},
        {KEY_WWW_FORWARD, 0x69, 0x30},
        {KEY_WWW_STOP, 0x68, 0x28},
        {KEY_WWW_REFRESH, 0x67, 0x20},
        {KEY_WWW_FAVOURITES, 0x66, 0x18},
        {0x66, 0x5e, 0x37},
        {KEY_SLEEP, 0x5f, 0x3f},
        {KEY_WAKE, 0x63, 0x5e},
    };
    Fixture f = fixture();
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char make[2] = {(char)0xe0, (char)cases[i].set2};
        char brk[3] = {(char)0xe0, (char)0xf0, (char)cases[i].set2};
        key(&f, cases[i].usage, true);
        ps2_expect(f.plug, make, 2);
        key(&f, cases[i].usage, false);
        ps2_expect(f.plug, brk, 3);
        assert_int_equal(ps2_keyboard_keys[cases[i].usage].set1, cases[i].set1);
    }
    board_free(f.b);
}

static void pause_and_break(void **state)
{
    (void)state;
    Fixture f = fixture();
    key(&f, PAUSE_KEY, true);
    key(&f, PAUSE_KEY, false);
    EXPECT(&f, "\xe1\x14\x77\xe1\xf0\x14\xf0\x77");
    clock_step(&f.b->clock, 2000 * MS);
    EXPECT(&f, ""); /* it never repeats */
    key(&f, LCTRL, true);
    key(&f, PAUSE_KEY, true);
    key(&f, PAUSE_KEY, false);
    key(&f, LCTRL, false);
    EXPECT(&f, "\x14\xe0\x7e\xe0\xf0\x7e\xf0\x14");
    use_set(&f, 1);
    key(&f, PAUSE_KEY, true);
    key(&f, PAUSE_KEY, false);
    EXPECT(&f, "\xe1\x1d\x45\xe1\x9d\xc5");
    board_free(f.b);
}

static void print_screen_and_sysrq(void **state)
{
    (void)state;
    Fixture f = fixture();
    key(&f, PRINT_SCREEN, true);
    EXPECT(&f, "\xe0\x12\xe0\x7c");
    clock_step(&f.b->clock, 500 * MS);
    EXPECT(&f, "\xe0\x7c");
    key(&f, PRINT_SCREEN, false);
    EXPECT(&f, "\xe0\xf0\x7c\xe0\xf0\x12");
    key(&f, LSHIFT, true);
    key(&f, PRINT_SCREEN, true);
    key(&f, PRINT_SCREEN, false);
    key(&f, LSHIFT, false);
    EXPECT(&f, "\x12\xe0\x7c\xe0\xf0\x7c\xf0\x12");
    key(&f, LALT, true);
    key(&f, PRINT_SCREEN, true);
    key(&f, LALT, false); /* the break belongs to the make, whatever is held now */
    key(&f, PRINT_SCREEN, false);
    EXPECT(&f, "\x11\x84\xf0\x11\xf0\x84");
    use_set(&f, 1);
    key(&f, PRINT_SCREEN, true);
    key(&f, PRINT_SCREEN, false);
    EXPECT(&f, "\xe0\x2a\xe0\x37\xe0\xb7\xe0\xaa");
    board_free(f.b);
}

static void navigation_keys_fake_shifts(void **state)
{
    (void)state;
    Fixture f = fixture();
    key(&f, LSHIFT, true);
    key(&f, INSERT, true);
    key(&f, INSERT, false);
    key(&f, LSHIFT, false);
    EXPECT(&f, "\x12\xe0\xf0\x12\xe0\x70\xe0\xf0\x70\xe0\x12\xf0\x12");
    send(&f, 0xed);
    send(&f, 0x02);
    EXPECT(&f, "\xfa\xfa");
    key(&f, RIGHT, true);
    key(&f, RIGHT, false);
    EXPECT(&f, "\xe0\x12\xe0\x74\xe0\xf0\x74\xe0\xf0\x12");
    key(&f, RSHIFT, true);
    key(&f, RIGHT, true);
    key(&f, RIGHT, false);
    EXPECT(&f, "\x59\xe0\x74\xe0\xf0\x74");
    key(&f, SLASH, true);
    key(&f, RSHIFT, false); /* no fake make of a shift that is up by now */
    key(&f, SLASH, false);
    EXPECT(&f, "\xe0\xf0\x59\xe0\x4a\xf0\x59\xe0\xf0\x4a");
    board_free(f.b);
}

static void typematic_follows_the_settings(void **state)
{
    (void)state;
    Fixture f = fixture();
    key(&f, A, true);
    EXPECT(&f, "\x1c");
    clock_step(&f.b->clock, 500 * MS - 1);
    EXPECT(&f, "");
    clock_step(&f.b->clock, 1);
    EXPECT(&f, "\x1c");
    unsigned repeats = 0;
    for (unsigned i = 0; i < 1000; i++) {
        clock_step(&f.b->clock, MS);
        while (f.plug.ops->waiting(f.plug.device)) {
            repeats += f.plug.ops->next(f.plug.device) == 0x1c;
        }
    }
    assert_int_equal(repeats, 10); /* 10.9 a second */
    key(&f, LSHIFT, true);         /* the last key repeats, and nothing after it is let go */
    EXPECT(&f, "\x12");
    key(&f, LSHIFT, false);
    EXPECT(&f, "\xf0\x12");
    clock_step(&f.b->clock, 2000 * MS);
    EXPECT(&f, "");
    key(&f, A, false);
    EXPECT(&f, "\xf0\x1c");
    send(&f, 0xf3);
    send(&f, 0x00); /* 250 ms, 30 a second */
    EXPECT(&f, "\xfa\xfa");
    key(&f, A, true);
    EXPECT(&f, "\x1c");
    clock_step(&f.b->clock, 250 * MS);
    EXPECT(&f, "\x1c");
    clock_step(&f.b->clock, 34 * MS);
    EXPECT(&f, "\x1c");
    clock_step(&f.b->clock, 10000 * MS); /* a guest that does not read finds no tail of repeats */
    EXPECT(&f, "\x1c");
    board_free(f.b);
}

static void commands(void **state)
{
    (void)state;
    Fixture f = fixture();
    send(&f, 0xee);
    EXPECT(&f, "\xee");
    send(&f, 0xf2);
    EXPECT(&f, "\xfa\xab\x83");
    send(&f, 0xfe);
    EXPECT(&f, "\x83");
    send(&f, 0xef);
    EXPECT(&f, "\xfe");
    send(&f, 0xf0);
    send(&f, 0x00);
    EXPECT(&f, "\xfa\xfa\x02");
    send(&f, 0xf0);
    send(&f, 0x04);
    EXPECT(&f, "\xfa\xfe");
    send(&f, 0xed);
    send(&f, 0xf4); /* a command instead of the argument */
    EXPECT(&f, "\xfa\xfa");
    assert_int_equal(ps2_keyboard_leds(f.kbd), 0);
    send(&f, 0xf5);
    EXPECT(&f, "\xfa");
    key(&f, A, true);
    key(&f, A, false);
    EXPECT(&f, "");
    send(&f, 0xf4);
    key(&f, A, true);
    EXPECT(&f, "\xfa\x1c");
    board_free(f.b);
}

static void set_3_key_types(void **state)
{
    (void)state;
    Fixture f = fixture();
    use_set(&f, 3);
    send(&f, 0xf8); /* all make and break */
    EXPECT(&f, "\xfa");
    key(&f, A, true);
    clock_step(&f.b->clock, 1000 * MS);
    key(&f, A, false);
    EXPECT(&f, "\x1c\xf0\x1c");
    send(&f, 0xfd); /* A and left shift: make only */
    send(&f, 0x1c);
    send(&f, 0x12);
    send(&f, 0xf4);
    EXPECT(&f, "\xfa\xfa\xfa\xfa");
    key(&f, A, true);
    key(&f, A, false);
    key(&f, LSHIFT, true);
    key(&f, LSHIFT, false);
    EXPECT(&f, "\x1c\x12");
    send(&f, 0xfa); /* all repeat, make and break */
    EXPECT(&f, "\xfa");
    key(&f, A, true);
    EXPECT(&f, "\x1c");
    clock_step(&f.b->clock, 500 * MS);
    key(&f, A, false);
    EXPECT(&f, "\x1c\xf0\x1c");
    board_free(f.b);
}

static void overrun_loses_makes_but_no_breaks(void **state)
{
    (void)state;
    Fixture f = fixture();
    key(&f, LSHIFT, true);
    for (unsigned i = 0; i < 200; i++) {
        key(&f, (uint8_t)(A + i % 20), true);
        key(&f, (uint8_t)(A + i % 20), false);
    }
    key(&f, LSHIFT, false);
    unsigned overruns = 0;
    uint8_t last = 0, before = 0;
    while (f.plug.ops->waiting(f.plug.device)) {
        before = last;
        last = f.plug.ops->next(f.plug.device);
        overruns += last == 0;
    }
    assert_int_equal(overruns, 1);
    assert_int_equal(before, 0xf0);
    assert_int_equal(last, 0x12);
    board_free(f.b);
}

static void no_break_is_lost_however_many_keys_are_held(void **state)
{
    (void)state;
    Fixture f = fixture();
    unsigned makes = 0, breaks = 0;
    for (unsigned i = 0; i < 0x60; i++) { /* a cat */
        key(&f, (uint8_t)(A + i), true);
    }
    for (unsigned i = 0; i < 0x60; i++) {
        key(&f, (uint8_t)(A + i), false);
    }
    bool brk = false;
    while (f.plug.ops->waiting(f.plug.device)) {
        uint8_t byte = f.plug.ops->next(f.plug.device);
        breaks += byte != 0xf0 && byte != 0 && brk;
        makes += byte != 0xf0 && byte != 0 && !brk;
        brk = byte == 0xf0;
    }
    assert_true(makes >= 10);
    assert_int_equal(makes, breaks);
    board_free(f.b);
}

static void foreign_events_are_ignored(void **state)
{
    (void)state;
    Fixture f = fixture();
    InputEvent e = {.kind = INPUT_MOUSE_MOVE, .key = A, .down = true};
    event_post(ps2_keyboard_events(f.kbd), &e, sizeof(e));
    event_post(ps2_keyboard_events(f.kbd), &e, 1);
    key(&f, HANGUL, true);
    key(&f, HANGUL, false);
    EXPECT(&f, "\xf2");
    board_free(f.b);
}

static void survives_a_system_reset(void **state)
{
    (void)state;
    Fixture f = fixture();
    send(&f, 0xed);
    send(&f, 0x07);
    EXPECT(&f, "\xfa\xfa");
    board_reset(f.b, RESET_HARD);
    assert_int_equal(ps2_keyboard_leds(f.kbd), 7);
    board_free(f.b);
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f = fixture(), g = built();
    send(&f, 0xed);
    key(&f, LSHIFT, true);
    key(&f, INSERT, true);
    chip_state_round_trip(f.b, g.b);
    send(&g, 0x04);
    EXPECT(&g, "\xfa\xfa\x12\xe0\xf0\x12\xe0\x70");
    clock_step(&g.b->clock, 500 * MS);
    key(&g, INSERT, false);
    EXPECT(&g, "\xe0\x70\xe0\xf0\x70\xe0\x12");
    assert_int_equal(ps2_keyboard_leds(g.kbd), 4);
    board_free(f.b);
    board_free(g.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(basic_test_takes_its_time),
        cmocka_unit_test(plain_keys_in_all_sets),
        cmocka_unit_test(every_key_of_set_2_has_make_and_break),
        cmocka_unit_test(the_other_sets_have_the_same_keys),
        cmocka_unit_test(multimedia_keys),
        cmocka_unit_test(pause_and_break),
        cmocka_unit_test(print_screen_and_sysrq),
        cmocka_unit_test(navigation_keys_fake_shifts),
        cmocka_unit_test(typematic_follows_the_settings),
        cmocka_unit_test(commands),
        cmocka_unit_test(set_3_key_types),
        cmocka_unit_test(overrun_loses_makes_but_no_breaks),
        cmocka_unit_test(no_break_is_lost_however_many_keys_are_held),
        cmocka_unit_test(foreign_events_are_ignored),
        cmocka_unit_test(survives_a_system_reset),
        cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
