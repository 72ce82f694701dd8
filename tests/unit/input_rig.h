/* What the tests of keyboards and mice need: events from the host, and the host's end of a PS/2
 * plug. */
#ifndef TESTS_UNIT_INPUT_RIG_H
#define TESTS_UNIT_INPUT_RIG_H

#include "machine/core/keys.h"
#include "machine/core/ps2.h"
#include "tests/unit/chip.h"

/* The device has taken the event on return. */
static inline void input_post(Board *b, EventPort *port, InputEvent e)
{
    assert_true(event_post(port, &e, sizeof(e)));
    event_deliver(b->events);
}

static inline void input_key(Board *b, EventPort *port, uint8_t usage, bool down)
{
    input_post(b, port, (InputEvent){.kind = INPUT_KEY, .key = usage, .down = down});
}

static inline void ps2_send(Ps2Port plug, uint8_t byte)
{
    plug.ops->command(plug.device, byte);
}

/* Fails unless the bytes that wait are exactly these; takes them. */
static inline void ps2_expect(Ps2Port plug, const char *expected, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!plug.ops->waiting(plug.device)) {
            fail_msg("byte %zu of %zu is missing", i, size);
        }
        assert_int_equal(plug.ops->next(plug.device), (uint8_t)expected[i]);
    }
    assert_false(plug.ops->waiting(plug.device));
}
#define PS2_EXPECT(plug, text) ps2_expect((plug), (text), sizeof(text) - 1)

#endif
