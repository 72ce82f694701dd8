/* 8042 with its devices: commands, wire timing, interrupts, A20, translation, state. */
#include "chipset/kbc.h"
#include "chipset/ps2_keyboard.h"
#include "chipset/ps2_mouse.h"
#include "chipset/sysctl.h"

#include <string.h>

#include "tests/unit/input_rig.h"

#define MS INT64_C(1000000)

enum { A = 0x04, B = 0x05 }; /* HID usages */

typedef struct Fixture {
    Board *b;
    Ps2Keyboard *kbd;
    Ps2Mouse *mouse;
    Probe irq1, irq12, a20, reset;
} Fixture;

static void built(Fixture *f)
{
    Board *b = f->b = chip_board();
    f->kbd = ps2_keyboard_new(b, &(Ps2KeyboardConfig){0}, "ps2kbd");
    f->mouse = ps2_mouse_new(b, &(Ps2MouseConfig){0}, "ps2mouse");
    kbc_new(b,
            &(KbcConfig){.keyboard = ps2_keyboard_plug(f->kbd),
                         .mouse = ps2_mouse_plug(f->mouse),
                         .irq1 = chip_probe(b, &f->irq1),
                         .irq12 = chip_probe(b, &f->irq12),
                         .a20 = chip_probe(b, &f->a20),
                         .reset = chip_probe(b, &f->reset)},
            "kbc");
    board_reset(b, RESET_POWER);
}

static void command(Board *b, uint8_t value)
{
    chip_out(b, 0x64, value);
}

static void set_mode(Board *b, uint8_t mode)
{
    command(b, 0x60);
    chip_out(b, 0x60, mode);
}

/* Devices tested and drained, interrupts and translation on. */
static void fixture(Fixture *f)
{
    built(f);
    set_mode(f->b, 0x00);
    for (unsigned i = 0; i < 500; i++) {
        clock_step(&f->b->clock, MS);
        if (chip_in(f->b, 0x64) & 1) {
            chip_in(f->b, 0x60);
        }
    }
    set_mode(f->b, 0x47);
    command(f->b, 0xd4);
    chip_out(f->b, 0x60, 0xf4);
    clock_step(&f->b->clock, 5 * MS);
    assert_int_equal(chip_in(f->b, 0x60), 0xfa);
    f->irq1.rises = f->irq12.rises = 0;
}

static void key(Fixture *f, uint8_t usage, bool down)
{
    input_key(f->b, ps2_keyboard_events(f->kbd), usage, down);
}

static void move(Fixture *f, int dx)
{
    input_post(f->b, ps2_mouse_events(f->mouse),
               (InputEvent){.kind = INPUT_MOUSE_MOVE, .dx = (int16_t)dx});
}

static void assert_reply(Board *b, uint8_t expected)
{
    assert_int_equal(chip_in(b, 0x64) & 0x21, 0x01);
    assert_int_equal(chip_in(b, 0x60), expected);
    assert_int_equal(chip_in(b, 0x64) & 0x01, 0);
}

static void both_devices_report_after_power_on(void **state)
{
    (void)state;
    Fixture f;
    built(&f);
    assert_int_equal(chip_in(f.b, 0x64), 0x18); /* unlocked, nothing waits */
    clock_step(&f.b->clock, 1000 * MS);
    assert_int_equal(chip_in(f.b, 0x64) & 1, 0); /* both interfaces are off */
    set_mode(f.b, 0x20);
    clock_step(&f.b->clock, MS);
    assert_reply(f.b, 0xaa);
    set_mode(f.b, 0x10);
    clock_step(&f.b->clock, MS);
    assert_int_equal(chip_in(f.b, 0x64) & 0x21, 0x21);
    assert_int_equal(chip_in(f.b, 0x60), 0xaa);
    clock_step(&f.b->clock, MS);
    assert_int_equal(chip_in(f.b, 0x60), 0x00);
    board_free(f.b);
}

static void self_tests(void **state)
{
    (void)state;
    Fixture f;
    built(&f);
    assert_int_equal(chip_in(f.b, 0x64) & 0x04, 0);
    command(f.b, 0xaa);
    assert_reply(f.b, 0x55);
    assert_int_equal(chip_in(f.b, 0x64) & 0x04, 0x04);
    command(f.b, 0xab);
    assert_reply(f.b, 0x00);
    command(f.b, 0xa9);
    assert_reply(f.b, 0x00);
    command(f.b, 0xa4);
    assert_reply(f.b, 0xf1);
    command(f.b, 0xc0);
    assert_reply(f.b, 0xa0);
    command(f.b, 0xa5); /* a password is swallowed */
    chip_out(f.b, 0x60, 0x1e);
    chip_out(f.b, 0x60, 0x00);
    command(f.b, 0xe0);
    assert_reply(f.b, 0x02);
    board_free(f.b);
}

static void command_byte_and_memory(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    command(f.b, 0x20);
    assert_reply(f.b, 0x47);
    command(f.b, 0x75);
    chip_out(f.b, 0x60, 0x5a);
    command(f.b, 0x35);
    assert_reply(f.b, 0x5a);
    command(f.b, 0xad);
    command(f.b, 0xa7);
    command(f.b, 0x20);
    assert_reply(f.b, 0x77);
    /* the lock bit does not follow the interfaces */
    assert_int_equal(chip_in(f.b, 0x64) & 0x10, 0x10);
    command(f.b, 0xae);
    command(f.b, 0xa8);
    command(f.b, 0x20);
    assert_reply(f.b, 0x47);
    board_free(f.b);
}

static void key_arrives_translated_with_one_interrupt(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    key(&f, A, true);
    clock_step(&f.b->clock, MS - 1);
    assert_false(f.irq1.level);
    clock_step(&f.b->clock, 1);
    assert_true(f.irq1.level);
    assert_reply(f.b, 0x1e);
    assert_false(f.irq1.level);
    key(&f, A, false);
    clock_step(&f.b->clock, 2 * MS); /* F0h 1Ch on the wire */
    assert_reply(f.b, 0x9e);
    assert_int_equal(f.irq1.rises, 2);
    board_free(f.b);
}

static void port_60h_read_twice_gives_the_same_byte(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    key(&f, A, true);
    key(&f, B, true);
    clock_step(&f.b->clock, 10 * MS);
    assert_int_equal(chip_in(f.b, 0x60), 0x1e);
    for (unsigned i = 0; i < 9; i++) {
        clock_step(&f.b->clock, MS / 10);
        assert_int_equal(chip_in(f.b, 0x60), 0x1e);
    }
    clock_step(&f.b->clock, MS / 10);
    assert_int_equal(chip_in(f.b, 0x60), 0x30);
    assert_int_equal(f.irq1.rises, 2);
    board_free(f.b);
}

static void mouse_backlog_does_not_shorten_the_wire_time(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    move(&f, 5);
    move(&f, 5);
    clock_step(&f.b->clock, 20 * MS);
    for (unsigned i = 0; i < 6; i++) {
        assert_true(f.irq12.level);
        chip_in(f.b, 0x60);
        clock_step(&f.b->clock, MS - 1);
        assert_false(f.irq12.level);
        clock_step(&f.b->clock, 15 * MS);
        if (i == 2) {
            move(&f, 1);
            clock_step(&f.b->clock, 15 * MS);
        }
    }
    board_free(f.b);
}

static void mouse_bytes_raise_irq12_and_the_auxiliary_bit(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    move(&f, 3);
    clock_step(&f.b->clock, 2 * MS);
    assert_true(f.irq12.level);
    assert_false(f.irq1.level);
    assert_int_equal(chip_in(f.b, 0x64) & 0x21, 0x21);
    assert_int_equal(chip_in(f.b, 0x60), 0x08);
    assert_false(f.irq12.level);
    clock_step(&f.b->clock, MS);
    assert_int_equal(chip_in(f.b, 0x60), 3);
    clock_step(&f.b->clock, MS);
    assert_int_equal(chip_in(f.b, 0x60), 0);
    board_free(f.b);
}

static void disabled_interfaces_hold_their_bytes(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    command(f.b, 0xad);
    key(&f, A, true);
    clock_step(&f.b->clock, 50 * MS);
    assert_int_equal(chip_in(f.b, 0x64) & 1, 0);
    command(f.b, 0x20); /* its answer raises no interrupt while the keyboard is off */
    assert_int_equal(f.irq1.rises, 0);
    assert_reply(f.b, 0x57);
    command(f.b, 0xae);
    clock_step(&f.b->clock, MS);
    assert_reply(f.b, 0x1e);
    assert_int_equal(f.irq1.rises, 1);
    board_free(f.b);
}

static void output_port_write_raises_no_interrupt(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    command(f.b, 0xd1);
    chip_out(f.b, 0x60, 0xdf); /* bit 4 is the interrupt's */
    assert_int_equal(f.irq1.rises, 0);
    assert_false(f.irq1.level);
    key(&f, A, true); /* and the keyboard goes on */
    clock_step(&f.b->clock, MS);
    assert_reply(f.b, 0x1e);
    board_free(f.b);
}

static void a20_through_the_output_port(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_true(f.a20.level); /* the port's pins are high at reset */
    command(f.b, 0xd1);
    chip_out(f.b, 0x60, 0xdd);
    assert_false(f.a20.level);
    command(f.b, 0xd0);
    assert_int_equal(chip_in(f.b, 0x60) & 0x03, 0x01);
    command(f.b, 0xdf);
    assert_true(f.a20.level);
    command(f.b, 0xdd);
    assert_false(f.a20.level);
    assert_int_equal(f.reset.rises, 0);
    board_free(f.b);
}

static void processor_reset(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    command(f.b, 0xfe);
    assert_int_equal(f.reset.rises, 1);
    command(f.b, 0xff);
    assert_int_equal(f.reset.rises, 1);
    command(f.b, 0xd1);
    chip_out(f.b, 0x60, 0xde);
    assert_int_equal(f.reset.rises, 2);
    board_free(f.b);
}

static void buffers_written_by_the_host(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    command(f.b, 0xd2);
    chip_out(f.b, 0x60, 0x42);
    assert_true(f.irq1.level);
    assert_reply(f.b, 0x42);
    command(f.b, 0xd3);
    chip_out(f.b, 0x60, 0x43);
    assert_true(f.irq12.level);
    assert_int_equal(chip_in(f.b, 0x64) & 0x21, 0x21);
    assert_int_equal(chip_in(f.b, 0x60), 0x43);
    board_free(f.b);
}

static void answers_wait_for_the_buffer(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    key(&f, A, true);
    clock_step(&f.b->clock, MS);
    command(f.b, 0xd0);
    for (unsigned i = 0; i < 10; i++) {
        command(f.b, 0x20); /* more than the controller remembers */
    }
    assert_int_equal(chip_in(f.b, 0x60), 0x1e); /* the key is not overwritten */
    assert_int_equal(chip_in(f.b, 0x60), 0xdf);
    assert_int_equal(chip_in(f.b, 0x60), 0x47);
    assert_int_equal(chip_in(f.b, 0x60), 0x47);
    assert_reply(f.b, 0x47);
    assert_int_equal(f.irq1.rises, 5);
    board_free(f.b);
}

static void keyboard_commands_take_time(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x60, 0xed);
    clock_step(&f.b->clock, 2 * MS - 1);
    assert_int_equal(chip_in(f.b, 0x64) & 1, 0);
    clock_step(&f.b->clock, 1);
    assert_reply(f.b, 0xfa);
    chip_out(f.b, 0x60, 0x02);
    clock_step(&f.b->clock, 2 * MS);
    assert_reply(f.b, 0xfa);
    assert_int_equal(ps2_keyboard_leds(f.kbd), 2);
    chip_out(f.b, 0x60, 0xf2);
    clock_step(&f.b->clock, 2 * MS);
    assert_reply(f.b, 0xfa);
    clock_step(&f.b->clock, MS);
    assert_reply(f.b, 0xab);
    clock_step(&f.b->clock, MS);
    assert_reply(f.b, 0x41); /* 83h, translated */
    board_free(f.b);
}

static void status_tells_command_from_data(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    command(f.b, 0xd1);
    assert_int_equal(chip_in(f.b, 0x64) & 0x08, 0x08);
    chip_out(f.b, 0x60, 0xdf);
    assert_int_equal(chip_in(f.b, 0x64) & 0x08, 0);
    board_free(f.b);
}

static void nothing_plugged_in(void **state)
{
    (void)state;
    Board *b = chip_board();
    kbc_new(b, &(KbcConfig){0}, "kbc");
    board_reset(b, RESET_POWER);
    command(b, 0xab);
    assert_reply(b, 0x02);
    chip_out(b, 0x60, 0xf2);
    assert_int_equal(chip_in(b, 0x64) & 0x40, 0x40);
    assert_reply(b, 0xfe);
    board_free(b);
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f, g;
    fixture(&f);
    built(&g);
    key(&f, A, true);
    key(&f, A, false);
    move(&f, 7);
    command(f.b, 0xdd);
    clock_step(&f.b->clock, MS / 2);
    chip_state_round_trip(f.b, g.b);
    g.irq1.rises = f.irq1.rises = 0;
    for (unsigned i = 0; i < 10; i++) {
        clock_step(&f.b->clock, 2 * MS);
        clock_step(&g.b->clock, 2 * MS);
        assert_int_equal(chip_in(f.b, 0x64), chip_in(g.b, 0x64));
        assert_int_equal(chip_in(f.b, 0x60), chip_in(g.b, 0x60));
    }
    assert_int_equal(g.irq1.rises, 2);
    chip_state_round_trip(f.b, g.b);
    board_free(f.b);
    board_free(g.b);
}

/* The gate's latch is the board's, and port 92h may have written it since the controller did. */
static void loading_leaves_the_a20_latch_alone(void **state)
{
    (void)state;
    Board *b[2];
    Probe a20[2];
    for (unsigned i = 0; i < 2; i++) {
        b[i] = chip_board();
        Sysctl *s = sysctl_new(b[i], &(SysctlConfig){.a20 = chip_probe(b[i], &a20[i])}, "sysctl");
        kbc_new(b[i], &(KbcConfig){.a20 = sysctl_a20_input(s)}, "kbc");
        board_reset(b[i], RESET_POWER);
        assert_true(a20[i].level);
    }
    chip_out(b[0], 0x92, 0x00);
    assert_false(a20[0].level);
    chip_state_round_trip(b[0], b[1]);
    assert_false(a20[1].level);
    board_free(b[0]);
    board_free(b[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_devices_report_after_power_on),
        cmocka_unit_test(self_tests),
        cmocka_unit_test(command_byte_and_memory),
        cmocka_unit_test(key_arrives_translated_with_one_interrupt),
        cmocka_unit_test(port_60h_read_twice_gives_the_same_byte),
        cmocka_unit_test(mouse_backlog_does_not_shorten_the_wire_time),
        cmocka_unit_test(mouse_bytes_raise_irq12_and_the_auxiliary_bit),
        cmocka_unit_test(disabled_interfaces_hold_their_bytes),
        cmocka_unit_test(output_port_write_raises_no_interrupt),
        cmocka_unit_test(a20_through_the_output_port),
        cmocka_unit_test(processor_reset),
        cmocka_unit_test(buffers_written_by_the_host),
        cmocka_unit_test(answers_wait_for_the_buffer),
        cmocka_unit_test(keyboard_commands_take_time),
        cmocka_unit_test(status_tells_command_from_data),
        cmocka_unit_test(nothing_plugged_in),
        cmocka_unit_test(loading_leaves_the_a20_latch_alone),
        cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
