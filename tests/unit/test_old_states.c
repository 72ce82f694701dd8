/* States that older versions of this program have saved still load.
 *
 * ps2_keyboard-1.state: a board with a keyboard alone, before it knew multimedia keys; LEDs 5, scan
 * code set 3, left Shift and B held and not yet read. Each device that gets a new version leaves a
 * sample of its old one here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "chipset/ps2_keyboard.h"
#include "machine/core/keys.h"
#include "tests/unit/chip.h"

enum { ROOM = 65536, LSHIFT = 0xe1, MUTE = 0x7f };

static size_t sample(const char *name, uint8_t *bytes)
{
    char path[512];
    const char *slash = strrchr(__FILE__, '/');
    snprintf(path, sizeof(path), "%.*s%s", (int)(slash - __FILE__ + 1), __FILE__, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        fail_msg("%s is missing", path);
    }
    size_t size = fread(bytes, 1, ROOM, file);
    fclose(file);
    return size;
}

/* The first error; empty: all was well. */
static const char *load(Board *b, const uint8_t *bytes, size_t size)
{
    static char text[256];
    Err err = {""};
    StateIo *io = state_loader_new(bytes, size, &err);
    if (!io) {
        fail_msg("%s", err.text);
    }
    board_state(b, io);
    snprintf(text, sizeof(text), "%s", state_ok(io) ? "" : state_error(io));
    state_free(io);
    board_restored(b);
    return text;
}

static void key(Board *b, Ps2Keyboard *kbd, uint8_t usage, bool down)
{
    InputEvent e = {.kind = INPUT_KEY, .key = usage, .down = down};
    event_post(ps2_keyboard_events(kbd), &e, sizeof(e));
    event_deliver(b->events);
}

static void expect(Ps2Port plug, const char *bytes)
{
    for (; *bytes; bytes++) {
        assert_true(plug.ops->waiting(plug.device));
        assert_int_equal(plug.ops->next(plug.device), (uint8_t)*bytes);
    }
    assert_false(plug.ops->waiting(plug.device));
}

static void keyboard_of_version_1(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    size_t size = sample("ps2_keyboard-1.state", bytes);
    Board *b = chip_board(), *other = chip_board();
    Ps2Keyboard *kbd = ps2_keyboard_new(b, &(Ps2KeyboardConfig){0}, "ps2kbd");
    ps2_keyboard_new(other, &(Ps2KeyboardConfig){0}, "ps2kbd");
    Ps2Port plug = ps2_keyboard_plug(kbd);
    board_reset(b, RESET_POWER);
    board_reset(other, RESET_POWER);
    assert_string_equal(load(b, bytes, size), "");
    assert_int_equal(clock_now(&b->clock), 300000000);
    assert_int_equal(ps2_keyboard_leds(kbd), 5);
    expect(plug, "\x12\x32");
    key(b, kbd, LSHIFT, false);
    expect(plug, "\xf0\x12");
    key(b, kbd, MUTE, true); /* a key that it did not know then */
    key(b, kbd, MUTE, false);
    while (plug.ops->waiting(plug.device)) {
        plug.ops->next(plug.device);
    }
    chip_state_round_trip(b, other); /* and saves as the newest version */
    board_free(other);
    board_free(b);
}

/* What this program does not know yet it does not guess. */
static void a_newer_version_is_refused_by_name(void **state)
{
    (void)state;
    uint8_t bytes[ROOM];
    size_t size = sample("ps2_keyboard-1.state", bytes);
    uint8_t *tag = memmem(bytes, size, "ps2kbd", 6);
    assert_non_null(tag);
    tag[6] = 200;
    uint32_t crc = (uint32_t)crc32_z(0, bytes, size - 4);
    memcpy(bytes + size - 4, &crc, 4);
    Board *b = chip_board();
    ps2_keyboard_new(b, &(Ps2KeyboardConfig){0}, "ps2kbd");
    board_reset(b, RESET_POWER);
    const char *why = load(b, bytes, size);
    assert_non_null(strstr(why, "ps2kbd"));
    assert_non_null(strstr(why, "version"));
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keyboard_of_version_1),
        cmocka_unit_test(a_newer_version_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
