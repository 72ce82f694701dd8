/* 8042: each scan code's translation, each command, what gates an interrupt, and whose byte comes
 * when; with devices that say what the test tells them. test_kbc.c has the rest. */
#include "chipset/kbc.h"

#include <string.h>

#include "tests/unit/chip.h"

#define MS INT64_C(1000000)

/* A device with bytes to send, which remembers what it is sent. */
typedef struct Talker {
    uint8_t out[16], in[16];
    unsigned first, outs, ins;
    void (*ready)(void *self);
    void *self;
} Talker;

static bool talker_waiting(void *self)
{
    const Talker *t = self;
    return t->first < t->outs;
}

static uint8_t talker_next(void *self)
{
    Talker *t = self;
    return t->out[t->first++];
}

static void talker_command(void *self, uint8_t byte)
{
    Talker *t = self;
    t->in[t->ins++ % 16] = byte;
}

static void talker_attach(void *self, void (*ready)(void *controller), void *controller)
{
    Talker *t = self;
    t->ready = ready;
    t->self = controller;
}

static const Ps2Ops talker_ops = {
    .waiting = talker_waiting,
    .next = talker_next,
    .command = talker_command,
    .attach = talker_attach,
};

typedef struct Fixture {
    Board *b;
    Talker keyboard, mouse;
    Probe irq1, irq12, a20, reset;
} Fixture;

static void command(const Fixture *f, uint8_t value)
{
    chip_out(f->b, 0x64, value);
}

static void set_mode(const Fixture *f, uint8_t mode)
{
    command(f, 0x60);
    chip_out(f->b, 0x60, mode);
}

static void fixture(Fixture *f, uint8_t mode)
{
    memset(f, 0, sizeof(*f));
    Board *b = f->b = chip_board();
    kbc_new(b,
            &(KbcConfig){.keyboard = {&talker_ops, &f->keyboard},
                         .mouse = {&talker_ops, &f->mouse},
                         .irq1 = chip_probe(b, &f->irq1),
                         .irq12 = chip_probe(b, &f->irq12),
                         .a20 = chip_probe(b, &f->a20),
                         .reset = chip_probe(b, &f->reset)},
            "kbc");
    board_reset(b, RESET_POWER);
    set_mode(f, mode);
    f->irq1.rises = f->irq12.rises = f->reset.rises = 0;
}

static void say(Talker *t, uint8_t byte)
{
    if (t->first == t->outs) {
        t->first = t->outs = 0;
    }
    t->out[t->outs++] = byte;
    t->ready(t->self);
}

static uint8_t status(const Fixture *f)
{
    return chip_in(f->b, 0x64);
}

static uint8_t data(const Fixture *f)
{
    return chip_in(f->b, 0x60);
}

static void wire(const Fixture *f)
{
    clock_step(&f->b->clock, MS);
}

/* What a keyboard of set 2 sends for the keys that set 1 numbers from 1 on. */
/* clang-format off */
static const uint8_t set_2[] = {
    0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, /* Esc 1..= */
    0x0d, 0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, /* Tab Q..] */
    0x14, 0x1c, 0x1b, 0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e,       /* Ctrl A..' */
    0x12, 0x5d, 0x1a, 0x22, 0x21, 0x2a, 0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59,       /* Shift \ Z../ */
    0x7c, 0x11, 0x29, 0x58, 0x05, 0x06, 0x04, 0x0c, 0x03, 0x0b, 0x83, 0x0a, 0x01, 0x09, /* * Alt F1.. */
    0x77, 0x7e, 0x6c, 0x75, 0x7d, 0x7b, 0x6b, 0x73, 0x74, 0x79, 0x69, 0x72, 0x7a, 0x70, 0x71,
    0x84, 0x61, 0x78, 0x07,                                                             /* SysRq, F11 */
};
/* clang-format on */

static int translated(Fixture *f, uint8_t byte)
{
    say(&f->keyboard, byte);
    wire(f);
    return status(f) & 1 ? data(f) : -1;
}

static void every_key_is_translated(void **state)
{
    /* 55h and 56h lie between SysRq and F11 */
    (void)state;
    Fixture f;
    fixture(&f, 0x41);
    for (unsigned i = 0; i < sizeof(set_2); i++) {
        int key = (int)i + 1;
        key = i >= sizeof(set_2) - 3 ? key + 1 : key;
        assert_int_equal(translated(&f, set_2[i]), key);
        assert_int_equal(translated(&f, 0xf0), -1); /* a break is one byte of set 1 */
        assert_int_equal(translated(&f, set_2[i]), key | 0x80);
    }
    board_free(f.b);
}

static void every_code_is_translated_once(void **state)
{
    (void)state;
    Fixture f;
    bool seen[256] = {false};
    fixture(&f, 0x41);
    for (unsigned code = 0; code < 256; code++) {
        if (code == 0xf0) {
            continue;
        }
        int to = translated(&f, (uint8_t)code);
        if (code < 0x80 && code != 0) {
            assert_in_range(to, 1, 0x7f);
            assert_false(seen[to]);
            seen[to] = true;
        } else if (code != 0 && code != 0x83 && code != 0x84) {
            assert_int_equal(to, code); /* E0h, FAh, AAh ... go through */
        }
    }
    board_free(f.b);
}

static void no_translation_is_no_change(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, 0x01);
    for (unsigned code = 0; code < 256; code++) {
        assert_int_equal(translated(&f, (uint8_t)code), code);
    }
    set_mode(&f, 0x41);
    assert_int_equal(translated(&f, 0xf0), -1);
    set_mode(&f, 0x01); /* a prefix that was swallowed is forgotten */
    assert_int_equal(translated(&f, 0x1c), 0x1c);
    set_mode(&f, 0x41);
    assert_int_equal(translated(&f, 0x1c), 0x1e);
    board_free(f.b);
}

/* The mouse is never translated, nor is what a program puts into the buffer. */
static void only_the_keyboard_is_translated(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, 0x43);
    say(&f.mouse, 0x1c);
    wire(&f);
    assert_int_equal(status(&f) & 0x21, 0x21);
    assert_int_equal(data(&f), 0x1c);
    command(&f, 0xd2);
    chip_out(f.b, 0x60, 0xf0);
    assert_int_equal(data(&f), 0xf0);
    command(&f, 0xd2);
    chip_out(f.b, 0x60, 0x1c);
    assert_int_equal(data(&f), 0x1c);
    assert_int_equal(f.irq1.rises, 2);
    command(&f, 0xd3);
    chip_out(f.b, 0x60, 0x1c);
    assert_int_equal(status(&f) & 0x21, 0x21);
    assert_int_equal(f.irq12.rises, 2);
    assert_int_equal(data(&f), 0x1c);
    board_free(f.b);
}

/* The lines are the buffer's, as the command byte lets them through at the moment. */
static void interrupt_enables_are_gates(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, 0x00);
    say(&f.keyboard, 0x1c);
    wire(&f);
    assert_false(f.irq1.level);
    set_mode(&f, 0x01);
    assert_true(f.irq1.level);
    set_mode(&f, 0x02);
    assert_false(f.irq1.level);
    assert_false(f.irq12.level); /* a byte of the keyboard's is none of the mouse's */
    set_mode(&f, 0x01);
    assert_true(f.irq1.level);
    data(&f);
    assert_false(f.irq1.level);
    say(&f.mouse, 0x08);
    wire(&f);
    assert_false(f.irq1.level);
    assert_false(f.irq12.level);
    set_mode(&f, 0x02);
    assert_true(f.irq12.level);
    data(&f);
    assert_false(f.irq12.level);
    board_free(f.b);
}

static void a_second_byte_is_a_second_edge(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, 0x03);
    say(&f.keyboard, 0x1c);
    say(&f.keyboard, 0x32);
    say(&f.mouse, 0x08);
    wire(&f);
    assert_int_equal(f.irq1.rises, 1);
    clock_step(&f.b->clock, 50 * MS); /* nothing more comes while it is not read */
    assert_int_equal(status(&f) & 0x21, 0x01);
    assert_int_equal(data(&f), 0x1c);
    clock_step(&f.b->clock, MS - 1);
    assert_int_equal(status(&f) & 1, 0);
    clock_step(&f.b->clock, 1);
    assert_int_equal(f.irq1.rises, 2); /* the keyboard first */
    assert_int_equal(data(&f), 0x32);
    assert_int_equal(f.irq12.rises, 0);
    wire(&f);
    assert_int_equal(f.irq12.rises, 1);
    assert_int_equal(data(&f), 0x08);
    board_free(f.b);
}

static void inhibited_devices_wait(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, 0x03);
    command(&f, 0xad);
    command(&f, 0xa7);
    command(&f, 0x20);
    assert_int_equal(data(&f) & 0x30, 0x30);
    say(&f.keyboard, 0x1c);
    say(&f.mouse, 0x08);
    clock_step(&f.b->clock, 50 * MS);
    assert_int_equal(status(&f) & 1, 0);
    command(&f, 0xa8);
    wire(&f);
    assert_int_equal(status(&f) & 0x21, 0x21);
    data(&f);
    command(&f, 0xae);
    wire(&f);
    assert_int_equal(data(&f), 0x1c);
    command(&f, 0x20);
    assert_int_equal(data(&f) & 0x30, 0);
    command(&f, 0xad);
    chip_out(f.b, 0x60, 0xed); /* a byte to the keyboard lets it talk again */
    command(&f, 0x20);
    assert_int_equal(data(&f) & 0x30, 0);
    assert_int_equal(f.keyboard.in[0], 0xed);
    board_free(f.b);
}

static void d4_is_for_one_byte(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, 0x03);
    command(&f, 0xd4);
    chip_out(f.b, 0x60, 0xf4);
    chip_out(f.b, 0x60, 0xed);
    assert_int_equal(f.mouse.ins, 1);
    assert_int_equal(f.mouse.in[0], 0xf4);
    assert_int_equal(f.keyboard.ins, 1);
    assert_int_equal(f.keyboard.in[0], 0xed);
    command(&f, 0xd4);
    command(&f, 0x20); /* another command takes its place */
    data(&f);
    chip_out(f.b, 0x60, 0xee);
    assert_int_equal(f.mouse.ins, 1);
    assert_int_equal(f.keyboard.in[1], 0xee);
    board_free(f.b);
}

static void all_of_its_memory(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, 0x00);
    for (uint8_t i = 1; i < 32; i++) {
        command(&f, 0x60 | i);
        chip_out(f.b, 0x60, i ^ 0xa5);
    }
    for (uint8_t i = 1; i < 32; i++) {
        command(&f, 0x20 | i);
        assert_int_equal(data(&f), i ^ 0xa5);
    }
    command(&f, 0x20);
    assert_int_equal(data(&f), 0x00);
    board_free(f.b);
}

static void the_system_flag(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, 0x04);
    assert_int_equal(status(&f) & 0x04, 0x04);
    set_mode(&f, 0x00);
    assert_int_equal(status(&f) & 0x04, 0);
    command(&f, 0xaa);
    assert_int_equal(data(&f), 0x55);
    assert_int_equal(status(&f) & 0x04, 0x04);
    board_reset(f.b, RESET_HARD);
    assert_int_equal(status(&f) & 0x04, 0);
    board_free(f.b);
}

static void a20_by_each_command(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, 0x00);
    assert_true(f.a20.level);
    command(&f, 0xdd);
    assert_false(f.a20.level);
    command(&f, 0xdf);
    assert_true(f.a20.level);
    command(&f, 0xd1);
    chip_out(f.b, 0x60, 0xdd);
    assert_false(f.a20.level);
    command(&f, 0xd0);
    assert_int_equal(data(&f) & 0x03, 0x01);
    command(&f, 0xd1);
    chip_out(f.b, 0x60, 0xdf);
    assert_true(f.a20.level);
    command(&f, 0xd0);
    assert_int_equal(data(&f) & 0x03, 0x03);
    assert_int_equal(f.reset.rises, 0);
    assert_int_equal(f.irq1.rises + f.irq12.rises, 0);
    board_free(f.b);
}

/* F0h to FFh pulse the bits that are 0; bit 0 is the processor's reset. A20 stays as it is. */
static void pulses(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, 0x00);
    for (unsigned value = 0xf0; value <= 0xff; value++) {
        f.reset.rises = 0;
        command(&f, (uint8_t)value);
        assert_int_equal(f.reset.rises, !(value & 1));
        assert_true(f.a20.level);
    }
    board_free(f.b);
}

static void output_port_shows_the_buffer(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, 0x00);
    say(&f.keyboard, 0x1c);
    wire(&f);
    command(&f, 0xd0); /* its answer waits for the buffer */
    assert_int_equal(data(&f), 0x1c);
    assert_int_equal(data(&f) & 0x30, 0x10);
    say(&f.mouse, 0x08);
    wire(&f);
    command(&f, 0xd0);
    assert_int_equal(data(&f), 0x08);
    assert_int_equal(data(&f) & 0x30, 0x20);
    command(&f, 0xd0);
    assert_int_equal(data(&f) & 0x30, 0);
    board_free(f.b);
}

static void passwords_are_none(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, 0x00);
    command(&f, 0xa4);
    assert_int_equal(data(&f), 0xf1);
    command(&f, 0xa5);
    chip_out(f.b, 0x60, 0x1e);
    chip_out(f.b, 0x60, 0x30);
    chip_out(f.b, 0x60, 0x00);
    assert_int_equal(f.keyboard.ins, 0);
    command(&f, 0xa6);
    chip_out(f.b, 0x60, 0xee);
    assert_int_equal(f.keyboard.ins, 1);
    board_free(f.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_translated),
        cmocka_unit_test(every_code_is_translated_once),
        cmocka_unit_test(no_translation_is_no_change),
        cmocka_unit_test(only_the_keyboard_is_translated),
        cmocka_unit_test(interrupt_enables_are_gates),
        cmocka_unit_test(a_second_byte_is_a_second_edge),
        cmocka_unit_test(inhibited_devices_wait),
        cmocka_unit_test(d4_is_for_one_byte),
        cmocka_unit_test(all_of_its_memory),
        cmocka_unit_test(the_system_flag),
        cmocka_unit_test(a20_by_each_command),
        cmocka_unit_test(pulses),
        cmocka_unit_test(output_port_shows_the_buffer),
        cmocka_unit_test(passwords_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
