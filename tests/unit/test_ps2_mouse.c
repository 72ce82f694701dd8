/* PS/2 mouse: identification, packets, rates, scaling, remote and wrap mode, state. */
#include "chipset/ps2_mouse.h"

#include "tests/unit/input_rig.h"

#define MS INT64_C(1000000)

typedef struct Fixture {
    Board *b;
    Ps2Mouse *mouse;
    Ps2Port plug;
} Fixture;

static Fixture built(unsigned fastest_hz)
{
    Fixture f = {.b = chip_board()};
    f.mouse = ps2_mouse_new(f.b, &(Ps2MouseConfig){.fastest_hz = fastest_hz}, "ps2mouse");
    f.plug = ps2_mouse_plug(f.mouse);
    board_reset(f.b, RESET_POWER);
    return f;
}

#define EXPECT(f, text) PS2_EXPECT((f)->plug, text)

static void send(Fixture *f, uint8_t byte)
{
    ps2_send(f->plug, byte);
}

/* Sends and takes the acknowledge. */
static void say(Fixture *f, uint8_t byte)
{
    send(f, byte);
    EXPECT(f, "\xfa");
}

static void set_rate(Fixture *f, uint8_t rate)
{
    say(f, 0xf3);
    say(f, rate);
}

static Fixture fixture(void)
{
    Fixture f = built(0);
    clock_step(&f.b->clock, 2 * MS);
    EXPECT(&f, "\xaa\0");
    say(&f, 0xf4);
    return f;
}

static void post(Fixture *f, InputEvent e)
{
    input_post(f->b, ps2_mouse_events(f->mouse), e);
}

static void move(Fixture *f, int dx, int dy, int wheel)
{
    post(f, (InputEvent){.kind = INPUT_MOUSE_MOVE,
                         .dx = (int16_t)dx,
                         .dy = (int16_t)dy,
                         .wheel = (int16_t)wheel});
    clock_step(&f->b->clock, 10 * MS);
}

static void press(Fixture *f, uint8_t buttons)
{
    post(f, (InputEvent){.kind = INPUT_MOUSE_BUTTONS, .buttons = buttons});
    clock_step(&f->b->clock, 10 * MS);
}

static void reset_and_silence_until_enabled(void **state)
{
    (void)state;
    Fixture f = built(0);
    move(&f, 1, 1, 0);
    clock_step(&f.b->clock, 2 * MS);
    EXPECT(&f, "\xaa\0");
    move(&f, 1, 1, 0);
    EXPECT(&f, "");
    say(&f, 0xf4);
    clock_step(&f.b->clock, 100 * MS);
    EXPECT(&f, ""); /* what it did while disabled is forgotten */
    say(&f, 0xff);
    clock_step(&f.b->clock, 2 * MS);
    EXPECT(&f, "\xaa\0");
    board_free(f.b);
}

static void packets(void **state)
{
    (void)state;
    Fixture f = fixture();
    move(&f, 5, -3, 1);
    EXPECT(&f, "\x08\x05\x03"); /* up is positive; no wheel yet */
    move(&f, -1, 2, 0);
    EXPECT(&f, "\x38\xff\xfe");
    press(&f, MOUSE_LEFT | MOUSE_MIDDLE);
    EXPECT(&f, "\x0d\0\0");
    press(&f, MOUSE_RIGHT);
    EXPECT(&f, "\x0a\0\0");
    press(&f, MOUSE_RIGHT);
    EXPECT(&f, ""); /* nothing new */
    move(&f, 300, 0, 0);
    EXPECT(&f, "\x0a\xff\0\x0a\x2d\0"); /* the rest follows: no overflow */
    board_free(f.b);
}

static void wheel_identification(void **state)
{
    (void)state;
    Fixture f = fixture();
    set_rate(&f, 200);
    set_rate(&f, 100);
    send(&f, 0xf2);
    EXPECT(&f, "\xfa\0");
    set_rate(&f, 200);
    set_rate(&f, 100);
    set_rate(&f, 80);
    send(&f, 0xf2);
    EXPECT(&f, "\xfa\x03");
    move(&f, 0, 0, 1);
    move(&f, 0, 0, 0);
    EXPECT(&f, "\x08\0\0\xff"); /* away from the user is negative */
    move(&f, 0, 0, -2);
    EXPECT(&f, "\x08\0\0\x02");
    say(&f, 0xff);
    clock_step(&f.b->clock, 2 * MS);
    EXPECT(&f, "\xaa\0");
    send(&f, 0xf2);
    EXPECT(&f, "\xfa\0");
    board_free(f.b);
}

static void explorer_identification(void **state)
{
    (void)state;
    Fixture f = fixture();
    set_rate(&f, 200);
    set_rate(&f, 200);
    set_rate(&f, 80);
    send(&f, 0xf2);
    EXPECT(&f, "\xfa\x04");
    press(&f, MOUSE_SIDE | MOUSE_EXTRA);
    EXPECT(&f, "\x08\0\0\x30");
    move(&f, 0, 0, 10);
    clock_step(&f.b->clock, 20 * MS);
    EXPECT(&f, "\x08\0\0\x38\x08\0\0\x3e");
    board_free(f.b);
}

static unsigned reports_a_second(Fixture *f)
{
    unsigned bytes = 0;
    for (unsigned i = 0; i < 1000; i++) {
        post(f, (InputEvent){.kind = INPUT_MOUSE_MOVE, .dx = 1});
        clock_step(&f->b->clock, MS);
        while (f->plug.ops->waiting(f->plug.device)) {
            f->plug.ops->next(f->plug.device);
            bytes++;
        }
    }
    return bytes / 3;
}

static void sample_rate_limits_reports(void **state)
{
    (void)state;
    Fixture f = fixture();
    assert_in_range(reports_a_second(&f), 99, 101);
    set_rate(&f, 40); /* as Windows 9x does */
    assert_in_range(reports_a_second(&f), 39, 41);
    board_free(f.b);
    f = built(125); /* unless the board wants it faster */
    clock_step(&f.b->clock, 2 * MS);
    EXPECT(&f, "\xaa\0");
    set_rate(&f, 40);
    say(&f, 0xf4);
    assert_in_range(reports_a_second(&f), 124, 126);
    send(&f, 0xe9);
    EXPECT(&f, "\xfa\x20\x02\x28");
    board_free(f.b);
}

static void status_resolution_and_bad_arguments(void **state)
{
    (void)state;
    Fixture f = fixture();
    say(&f, 0xe8);
    say(&f, 3);
    say(&f, 0xe8);
    send(&f, 4);
    EXPECT(&f, "\xfe");
    say(&f, 0xf3);
    send(&f, 0);
    EXPECT(&f, "\xfe");
    say(&f, 0xe7);
    post(&f, (InputEvent){.kind = INPUT_MOUSE_BUTTONS, .buttons = MOUSE_LEFT});
    send(&f, 0xe9);
    EXPECT(&f, "\xfa\x34\x03\x64");
    say(&f, 0xf6);
    send(&f, 0xe9);
    EXPECT(&f, "\xfa\x04\x02\x64");
    send(&f, 0xe1);
    EXPECT(&f, "\xfe");
    send(&f, 0xfe);
    EXPECT(&f, "\xfe");
    board_free(f.b);
}

static void scaling_doubles_in_stream_mode(void **state)
{
    (void)state;
    Fixture f = fixture();
    static const uint8_t expected[8] = {0, 1, 1, 3, 6, 9, 12, 14};
    say(&f, 0xe7);
    for (int i = 1; i < 8; i++) {
        move(&f, i, 0, 0);
        assert_int_equal(f.plug.ops->next(f.plug.device), 0x08);
        assert_int_equal(f.plug.ops->next(f.plug.device), expected[i]);
        f.plug.ops->next(f.plug.device);
    }
    say(&f, 0xe6);
    move(&f, 7, 0, 0);
    EXPECT(&f, "\x08\x07\0");
    board_free(f.b);
}

static void remote_mode_reports_when_asked(void **state)
{
    (void)state;
    Fixture f = fixture();
    say(&f, 0xf0);
    move(&f, 4, 0, 0);
    move(&f, 4, 0, 0);
    EXPECT(&f, "");
    send(&f, 0xeb);
    EXPECT(&f, "\xfa\x08\x08\0");
    send(&f, 0xeb);
    EXPECT(&f, "\xfa\x08\0\0");
    say(&f, 0xea);
    move(&f, 1, 0, 0);
    EXPECT(&f, "\x08\x01\0");
    board_free(f.b);
}

static void wrap_mode_echoes(void **state)
{
    (void)state;
    Fixture f = fixture();
    say(&f, 0xee);
    move(&f, 4, 0, 0);
    send(&f, 0xf2);
    EXPECT(&f, "\xf2");
    send(&f, 0x55);
    EXPECT(&f, "\x55");
    send(&f, 0xec);
    EXPECT(&f, "\xfa\x08\x04\0"); /* the motion was kept */
    board_free(f.b);
}

static void command_breaks_off_a_report(void **state)
{
    (void)state;
    Fixture f = fixture();
    move(&f, 4, 0, 0);
    assert_int_equal(f.plug.ops->next(f.plug.device), 0x08);
    send(&f, 0xf5);
    EXPECT(&f, "\xfa");
    board_free(f.b);
}

static void nudge_reports_without_motion(void **state)
{
    (void)state;
    Fixture f = fixture();
    ps2_mouse_nudge(f.mouse);
    EXPECT(&f, "\x08\0\0");
    clock_step(&f.b->clock, 20 * MS);
    EXPECT(&f, "");
    board_free(f.b);
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f = fixture(), g = built(0);
    set_rate(&f, 200);
    set_rate(&f, 100);
    set_rate(&f, 80);
    move(&f, 3, 0, 0);
    post(&f, (InputEvent){.kind = INPUT_MOUSE_MOVE, .dx = -2000, .wheel = 3});
    f.plug.ops->next(f.plug.device);
    chip_state_round_trip(f.b, g.b);
    for (unsigned i = 0; i < 20; i++) {
        clock_step(&f.b->clock, 5 * MS);
        clock_step(&g.b->clock, 5 * MS);
        while (f.plug.ops->waiting(f.plug.device)) {
            assert_true(g.plug.ops->waiting(g.plug.device));
            assert_int_equal(f.plug.ops->next(f.plug.device), g.plug.ops->next(g.plug.device));
        }
        assert_false(g.plug.ops->waiting(g.plug.device));
    }
    board_free(f.b);
    board_free(g.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_and_silence_until_enabled),
        cmocka_unit_test(packets),
        cmocka_unit_test(wheel_identification),
        cmocka_unit_test(explorer_identification),
        cmocka_unit_test(sample_rate_limits_reports),
        cmocka_unit_test(status_resolution_and_bad_arguments),
        cmocka_unit_test(scaling_doubles_in_stream_mode),
        cmocka_unit_test(remote_mode_reports_when_asked),
        cmocka_unit_test(wrap_mode_echoes),
        cmocka_unit_test(command_breaks_off_a_report),
        cmocka_unit_test(nudge_reports_without_motion),
        cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
