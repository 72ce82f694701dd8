/* Game port: one-shot lengths, buttons, absent sticks, state. */
#include "chipset/cards/gameport.h"

#include "tests/unit/chip.h"

typedef struct Fixture {
    Board *b;
    Gameport *port;
} Fixture;

static Fixture fixture(void)
{
    Fixture f = {.b = chip_board()};
    f.port = gameport_new(f.b, &(GameportConfig){0x201, 1}, "gameport");
    board_reset(f.b, RESET_POWER);
    return f;
}

static void post(Fixture *f, GameportEvent e)
{
    event_post(gameport_events(f->port), &e, sizeof(e));
    event_deliver(f->b->events);
}

static void axes_are_times(void **state)
{
    (void)state;
    Fixture f = fixture();
    post(&f, (GameportEvent){.connected = 0x0f, .axis = {0, 65535, 32768, 16384}});
    assert_int_equal(chip_in(f.b, 0x201), 0xf0);
    chip_out(f.b, 0x201, 0);
    static const int64_t lengths[4] = {24200, 1124200, 574208, 299204};
    for (unsigned i = 0; i < 4; i++) {
        chip_out(f.b, 0x201, 0xff);
        assert_int_equal(chip_in(f.b, 0x201), 0xff);
        clock_step(&f.b->clock, lengths[i] - 1);
        assert_int_equal(chip_in(f.b, 0x201) >> i & 1, 1);
        clock_step(&f.b->clock, 1);
        assert_int_equal(chip_in(f.b, 0x201) >> i & 1, 0);
    }
    board_free(f.b);
}

static void buttons_read_low(void **state)
{
    (void)state;
    Fixture f = fixture();
    post(&f, (GameportEvent){.connected = 3, .buttons = 0x05});
    assert_int_equal(chip_in(f.b, 0x201), 0xa0);
    board_free(f.b);
}

static void absent_sticks_never_end(void **state)
{
    (void)state;
    Fixture f = fixture();
    chip_out(f.b, 0x201, 0);
    clock_step(&f.b->clock, 10000000000);
    assert_int_equal(chip_in(f.b, 0x201), 0xff);
    post(&f, (GameportEvent){.connected = 3});
    chip_out(f.b, 0x201, 0);
    clock_step(&f.b->clock, 100000);
    assert_int_equal(chip_in(f.b, 0x201), 0xfc);
    board_free(f.b);
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f = fixture(), g = fixture();
    post(&f, (GameportEvent){.connected = 1, .buttons = 1, .axis = {1000}});
    chip_out(f.b, 0x201, 0);
    chip_state_round_trip(f.b, g.b);
    assert_int_equal(chip_in(g.b, 0x201), 0xef);
    clock_step(&g.b->clock, 50000);
    assert_int_equal(chip_in(g.b, 0x201), 0xee);
    board_free(f.b);
    board_free(g.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes_are_times),
        cmocka_unit_test(buttons_read_low),
        cmocka_unit_test(absent_sticks_never_end),
        cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
