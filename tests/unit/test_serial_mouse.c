/* Serial mice behind a UART: identification, reports of each kind, pace, state. */
#include "chipset/cards/serial_mouse.h"
#include "chipset/uart.h"

#include "tests/unit/input_rig.h"

#define MS INT64_C(1000000)
#define BASE 0x3f8

enum { DATA = BASE, IER, IIR, LCR, MCR, LSR };

typedef struct Fixture {
    Board *b;
    SerialMouse *mouse;
} Fixture;

static Fixture built(SerialMouseKind kind)
{
    Fixture f = {.b = chip_board()};
    f.mouse = serial_mouse_new(f.b, &(SerialMouseConfig){kind}, "mouse");
    uart_new(f.b, &(UartConfig){.base = BASE, .port = serial_mouse_plug(f.mouse)}, "com1");
    board_reset(f.b, RESET_POWER);
    return f;
}

/* As a driver does it: 1200 baud, power off, power on. */
static Fixture fixture(SerialMouseKind kind, bool eight_bits)
{
    Fixture f = built(kind);
    chip_out(f.b, LCR, 0x80);
    chip_out(f.b, DATA, 96);
    chip_out(f.b, IER, 0);
    chip_out(f.b, LCR, eight_bits ? 0x03 : 0x02);
    chip_out(f.b, IIR, 0x01);
    chip_out(f.b, MCR, 0x0b);
    return f;
}

/* Fails unless exactly these bytes come within 200 ms. */
static void expect(Fixture *f, const uint8_t *bytes, unsigned count)
{
    unsigned got = 0;
    for (unsigned i = 0; i < 200; i++) {
        clock_step(&f->b->clock, MS);
        while (chip_in(f->b, LSR) & 1) {
            uint8_t byte = chip_in(f->b, DATA);
            assert_true(got < count);
            assert_int_equal(byte, bytes[got]);
            got++;
        }
    }
    assert_int_equal(got, count);
}

#define EXPECT(f, ...) expect((f), (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

static void post(Fixture *f, InputEvent e)
{
    input_post(f->b, serial_mouse_events(f->mouse), e);
}

static void move(Fixture *f, int dx, int dy, int wheel)
{
    post(f, (InputEvent){.kind = INPUT_MOUSE_MOVE,
                         .dx = (int16_t)dx,
                         .dy = (int16_t)dy,
                         .wheel = (int16_t)wheel});
}

static void press(Fixture *f, uint8_t buttons)
{
    post(f, (InputEvent){.kind = INPUT_MOUSE_BUTTONS, .buttons = buttons});
}

static void microsoft(void **state)
{
    (void)state;
    Fixture f = fixture(SERIAL_MOUSE_MICROSOFT, false);
    EXPECT(&f, 'M');
    move(&f, 5, -3, 0);
    EXPECT(&f, 0x4c, 0x05, 0x3d);
    move(&f, -100, 100, 3);
    EXPECT(&f, 0x46, 0x1c, 0x24);
    press(&f, MOUSE_LEFT | MOUSE_RIGHT);
    EXPECT(&f, 0x70, 0, 0);
    press(&f, MOUSE_LEFT | MOUSE_RIGHT | MOUSE_MIDDLE); /* it has no middle button */
    expect(&f, NULL, 0);
    chip_out(f.b, MCR, 0x09); /* power off and on */
    move(&f, 1, 1, 0);
    expect(&f, NULL, 0);
    chip_out(f.b, MCR, 0x0b);
    clock_step(&f.b->clock, 13 * MS);
    assert_int_equal(chip_in(f.b, LSR) & 1, 0);
    EXPECT(&f, 'M', 0x70, 0, 0);
    board_free(f.b);
}

static void logitech(void **state)
{
    (void)state;
    Fixture f = fixture(SERIAL_MOUSE_LOGITECH, false);
    EXPECT(&f, 'M', '3');
    press(&f, MOUSE_MIDDLE);
    EXPECT(&f, 0x40, 0, 0, 0x20);
    press(&f, 0);
    EXPECT(&f, 0x40, 0, 0, 0x00);
    move(&f, 1, 0, 0);
    EXPECT(&f, 0x40, 1, 0);
    board_free(f.b);
}

static void wheel(void **state)
{
    (void)state;
    Fixture f = fixture(SERIAL_MOUSE_WHEEL, false);
    EXPECT(&f, 'M', 'Z');
    move(&f, 0, 0, 1);
    EXPECT(&f, 0x40, 0, 0, 0x0f);
    press(&f, MOUSE_MIDDLE);
    EXPECT(&f, 0x40, 0, 0, 0x10);
    board_free(f.b);
}

static void mouse_systems(void **state)
{
    (void)state;
    Fixture f = fixture(SERIAL_MOUSE_SYSTEMS, true);
    expect(&f, NULL, 0);
    move(&f, 200, 5, 0);
    EXPECT(&f, 0x87, 127, 0xfb, 73, 0);
    press(&f, MOUSE_LEFT);
    EXPECT(&f, 0x83, 0, 0, 0, 0);
    board_free(f.b);
}

static void wrong_speed_gives_nothing(void **state)
{
    (void)state;
    Fixture f = built(SERIAL_MOUSE_MICROSOFT);
    chip_out(f.b, LCR, 0x02); /* 9600 baud */
    chip_out(f.b, MCR, 0x0b);
    expect(&f, NULL, 0);
    board_free(f.b);
}

static void reports_keep_the_pace_of_the_wire(void **state)
{
    (void)state;
    Fixture f = fixture(SERIAL_MOUSE_MICROSOFT, false);
    EXPECT(&f, 'M');
    unsigned bytes = 0;
    for (unsigned i = 0; i < 1000; i++) {
        move(&f, 1, 0, 0);
        clock_step(&f.b->clock, MS);
        while (chip_in(f.b, LSR) & 1) {
            chip_in(f.b, DATA);
            bytes++;
        }
    }
    assert_in_range(bytes, 120, 133); /* 1200 / 9 */
    board_free(f.b);
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f = fixture(SERIAL_MOUSE_WHEEL, false), g = built(SERIAL_MOUSE_WHEEL);
    clock_step(&f.b->clock, 10 * MS);
    chip_state_round_trip(f.b, g.b);
    EXPECT(&g, 'M', 'Z');
    move(&g, 1, 0, 0);
    move(&g, 300, 0, 0);
    clock_step(&g.b->clock, 3 * MS);
    chip_state_round_trip(g.b, f.b);
    EXPECT(&f, 0x40, 1, 0, 0, 0x41, 0x3f, 0, 0, 0x41, 0x3f, 0, 0, 0x40, 0x2e, 0, 0);
    board_free(f.b);
    board_free(g.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(microsoft),
        cmocka_unit_test(logitech),
        cmocka_unit_test(wheel),
        cmocka_unit_test(mouse_systems),
        cmocka_unit_test(wrong_speed_gives_nothing),
        cmocka_unit_test(reports_keep_the_pace_of_the_wire),
        cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
