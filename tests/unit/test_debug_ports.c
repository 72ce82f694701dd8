/* Debug console and debug exit ports. */
#include "chipset/debug_exit.h"
#include "chipset/debugcon.h"

#include <string.h>

#include "tests/unit/chip.h"

typedef struct Text {
    char data[64];
    size_t size;
} Text;

static void text_write(void *backend, const uint8_t *data, size_t size)
{
    Text *text = backend;
    memcpy(text->data + text->size, data, size);
    text->size += size;
}

static const CharOps text_ops = {.write = text_write};

static void console_passes_characters_on(void **state)
{
    (void)state;
    Board *b = chip_board();
    Text text = {.size = 0};
    debugcon_new(b, &(DebugconConfig){.base = 0x402, .port = {&text_ops, &text}}, "debugcon");
    debugcon_new(b, &(DebugconConfig){.base = 0xe9}, "port_e9"); /* nothing is plugged in */
    board_reset(b, RESET_POWER);
    assert_int_equal(chip_in(b, 0x402), 0xe9);
    for (const char *p = "Hi\n"; *p; p++) {
        chip_out(b, 0x402, (uint8_t)*p);
    }
    for (unsigned i = 0; i < 1000; i++) {
        chip_out(b, 0xe9, 'x');
    }
    assert_int_equal(text.size, 3);
    assert_memory_equal(text.data, "Hi\n", 3);
    board_free(b);
}

static void note(void *self, int status)
{
    *(int *)self = status;
}

static void exit_status_is_odd(void **state)
{
    (void)state;
    Board *b = chip_board();
    Err err = {""};
    int status = -1;
    DebugExitConfig config = {.base = 0xf4, .size = 4, .exit = note, .self = &status};
    assert_non_null(debug_exit_new(b, &config, "exit", &err));
    chip_out(b, 0xf4, 0);
    assert_int_equal(status, 1);
    bus_write(b->ports, 0xf4, 0x10, 4);
    assert_int_equal(status, 33);
    bus_write(b->ports, 0xf4, 0xffffffff, 4);
    assert_int_equal(status, 0xff);
    config.size = 3;
    assert_null(debug_exit_new(b, &config, "bad", &err));
    assert_non_null(strstr(err.text, "iosize"));
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(console_passes_characters_on),
        cmocka_unit_test(exit_status_is_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
