/* 16550A: timing, FIFOs, interrupt priorities, timeout, modem lines, loopback, break, state. */
#include "chipset/uart.h"

#include <string.h>

#include "tests/unit/chip.h"

#define BASE 0x3f8
#define CHAR_NS INT64_C(86806) /* 10 bits at 115200 baud, rounded up */

enum { DATA = BASE, IER, IIR, LCR, MCR, LSR, MSR, SCR };

typedef struct Far {
    char text[256];
    size_t size;
    CharSink sink;
    unsigned baud, data_bits, stop_bits;
    char parity;
    bool dtr, rts, brk;
    unsigned readies;
} Far;

static void far_write(void *backend, const uint8_t *data, size_t size)
{
    Far *far = backend;
    memcpy(far->text + far->size, data, size);
    far->size += size;
}

static void far_attach(void *backend, const CharSink *sink)
{
    Far *far = backend;
    far->sink = *sink;
}

static void far_ready(void *backend)
{
    Far *far = backend;
    far->readies++;
}

static void far_parameters(void *backend, unsigned baud, unsigned data_bits, char parity,
                           unsigned stop_bits)
{
    Far *far = backend;
    far->baud = baud;
    far->data_bits = data_bits;
    far->parity = parity;
    far->stop_bits = stop_bits;
}

static void far_lines(void *backend, bool dtr, bool rts, bool brk)
{
    Far *far = backend;
    far->dtr = dtr;
    far->rts = rts;
    far->brk = brk;
}

static const CharOps far_ops = {far_write, far_attach, far_ready, far_parameters, far_lines};

typedef struct Fixture {
    Board *b;
    Far far;
    Probe irq;
} Fixture;

static void built(Fixture *f, UartModel model)
{
    memset(f, 0, sizeof(*f));
    f->b = chip_board();
    uart_new(f->b,
             &(UartConfig){.base = BASE,
                           .model = model,
                           .irq = chip_probe(f->b, &f->irq),
                           .port = {&far_ops, &f->far}},
             "com1");
    board_reset(f->b, RESET_POWER);
}

/* 115200 8N1, OUT2 on. */
static void fixture(Fixture *f)
{
    built(f, UART_16550A);
    chip_out(f->b, LCR, 0x83);
    chip_out(f->b, DATA, 1);
    chip_out(f->b, IER, 0);
    chip_out(f->b, LCR, 0x03);
    chip_out(f->b, MCR, 0x0b);
}

static void arrive(Fixture *f, const char *text)
{
    f->far.sink.receive(f->far.sink.self, (const uint8_t *)text, strlen(text));
}

static void step(Fixture *f, unsigned characters)
{
    clock_step(&f->b->clock, characters * CHAR_NS);
}

static void registers_after_reset(void **state)
{
    (void)state;
    Fixture f;
    built(&f, UART_16550A);
    assert_int_equal(chip_in(f.b, IER), 0);
    assert_int_equal(chip_in(f.b, IIR), 0x01);
    assert_int_equal(chip_in(f.b, LCR), 0);
    assert_int_equal(chip_in(f.b, MCR), 0);
    assert_int_equal(chip_in(f.b, LSR), 0x60);
    chip_out(f.b, SCR, 0xa5);
    chip_out(f.b, IER, 0xff);
    chip_out(f.b, MCR, 0xff);
    assert_int_equal(chip_in(f.b, SCR), 0xa5);
    assert_int_equal(chip_in(f.b, IER), 0x0f);
    assert_int_equal(chip_in(f.b, MCR), 0x1f);
    chip_out(f.b, IIR, 0x01);
    assert_int_equal(chip_in(f.b, IIR) & 0xc0, 0xc0);
    board_free(f.b);
    built(&f, UART_16450);
    chip_out(f.b, IIR, 0x01);
    assert_int_equal(chip_in(f.b, IIR) & 0xc0, 0);
    board_free(f.b);
}

static void parameters_reach_the_far_end(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_int_equal(f.far.baud, 115200);
    assert_int_equal(f.far.data_bits, 8);
    assert_int_equal(f.far.parity, 'N');
    assert_true(f.far.dtr && f.far.rts && !f.far.brk);
    chip_out(f.b, LCR, 0x9e); /* 7 bits, even, 2 stop */
    chip_out(f.b, DATA, 0x80);
    chip_out(f.b, IER, 0x01);
    assert_int_equal(f.far.baud, 300);
    assert_int_equal(f.far.data_bits, 7);
    assert_int_equal(f.far.parity, 'E');
    assert_int_equal(f.far.stop_bits, 2);
    assert_int_equal(chip_in(f.b, DATA), 0x80);
    assert_int_equal(chip_in(f.b, IER), 0x01);
    chip_out(f.b, LCR, 0x40);
    assert_true(f.far.brk);
    board_free(f.b);
}

static void characters_take_their_time_out(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, DATA, 'a');
    assert_int_equal(chip_in(f.b, LSR), 0x20); /* in the shift register */
    chip_out(f.b, DATA, 'b');
    assert_int_equal(chip_in(f.b, LSR), 0x00);
    clock_step(&f.b->clock, CHAR_NS - 2);
    assert_int_equal(f.far.size, 0);
    clock_step(&f.b->clock, 2);
    assert_int_equal(f.far.size, 1);
    assert_int_equal(chip_in(f.b, LSR), 0x20);
    step(&f, 1);
    assert_int_equal(chip_in(f.b, LSR), 0x60);
    assert_memory_equal(f.far.text, "ab", 2);
    /* 9600 baud, 7 data bits: 9 bits of 104 us */
    chip_out(f.b, LCR, 0x82);
    chip_out(f.b, DATA, 12);
    chip_out(f.b, LCR, 0x02);
    chip_out(f.b, DATA, 0xe1);
    clock_step(&f.b->clock, 937000);
    assert_int_equal(f.far.size, 2);
    clock_step(&f.b->clock, 1000);
    assert_int_equal(f.far.text[2], 0x61); /* seven bits */
    board_free(f.b);
}

static void fifo_takes_sixteen(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, IIR, 0x01);
    chip_out(f.b, IER, 0x02);
    assert_int_equal(chip_in(f.b, IIR), 0xc2);
    assert_int_equal(chip_in(f.b, IIR), 0xc1); /* reading it clears it */
    for (unsigned i = 0; i < 17; i++) {        /* one goes to the shift register */
        chip_out(f.b, DATA, (uint8_t)('a' + i));
    }
    assert_false(f.irq.level);
    step(&f, 15);
    assert_false(f.irq.level);
    step(&f, 1);
    assert_true(f.irq.level); /* the FIFO is empty, the last character is on its way */
    assert_int_equal(chip_in(f.b, LSR), 0x20);
    step(&f, 1);
    assert_memory_equal(f.far.text, "abcdefghijklmnopq", 17);
    for (unsigned i = 0; i < 20; i++) {
        chip_out(f.b, DATA, 'x');
    }
    chip_out(f.b, IIR, 0x05); /* clear the transmit FIFO */
    step(&f, 5);
    assert_int_equal(f.far.size, 18);
    board_free(f.b);
}

static void characters_take_their_time_in(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    arrive(&f, "ab");
    clock_step(&f.b->clock, CHAR_NS - 2);
    assert_int_equal(chip_in(f.b, LSR) & 1, 0);
    clock_step(&f.b->clock, 2);
    assert_int_equal(chip_in(f.b, LSR) & 1, 1);
    step(&f, 10);
    assert_int_equal(chip_in(f.b, LSR), 0x61); /* the host holds the next one: no overrun */
    assert_int_equal(chip_in(f.b, DATA), 'a');
    assert_int_equal(chip_in(f.b, LSR) & 1, 0);
    step(&f, 1);
    assert_int_equal(chip_in(f.b, DATA), 'b');
    board_free(f.b);
}

static void trigger_levels_and_timeout(void **state)
{
    (void)state;
    static const uint8_t levels[4] = {1, 4, 8, 14};
    for (unsigned i = 0; i < 4; i++) {
        Fixture f;
        fixture(&f);
        chip_out(f.b, IIR, (uint8_t)(0x01 | i << 6));
        chip_out(f.b, IER, 0x01);
        arrive(&f, "abcdefghijklmnopqrst");
        if (levels[i] > 1) {
            step(&f, levels[i] - 1u);
            assert_false(f.irq.level);
        }
        step(&f, 1);
        assert_true(f.irq.level);
        assert_int_equal(chip_in(f.b, IIR), 0xc4);
        chip_in(f.b, DATA);
        assert_false(f.irq.level);
        step(&f, 30);
        assert_int_equal(chip_in(f.b, LSR) & 0x03, 0x01);
        board_free(f.b);
    }
    Fixture f;
    fixture(&f);
    chip_out(f.b, IIR, 0xc1);
    chip_out(f.b, IER, 0x01);
    arrive(&f, "abc");
    step(&f, 6);
    assert_false(f.irq.level);
    step(&f, 1); /* four characters of silence */
    assert_true(f.irq.level);
    assert_int_equal(chip_in(f.b, IIR), 0xcc);
    chip_in(f.b, DATA);
    assert_false(f.irq.level);
    step(&f, 4);
    assert_int_equal(chip_in(f.b, IIR), 0xcc);
    chip_in(f.b, DATA);
    chip_in(f.b, DATA);
    step(&f, 10);
    assert_false(f.irq.level);
    board_free(f.b);
}

static void interrupts_come_by_priority(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, MCR, 0x1b); /* loopback with RTS and DTR: deltas for CTS, DSR */
    chip_in(f.b, MSR);
    chip_out(f.b, MCR, 0x18);
    chip_out(f.b, DATA, 'a');
    chip_out(f.b, DATA, 'b');
    step(&f, 3); /* the second overruns the first */
    chip_out(f.b, IER, 0x0f);
    assert_true(f.irq.level);
    assert_int_equal(chip_in(f.b, IIR), 0x06);
    assert_int_equal(chip_in(f.b, LSR), 0x63);
    assert_int_equal(chip_in(f.b, IIR), 0x04);
    assert_int_equal(chip_in(f.b, DATA), 'b');
    assert_int_equal(chip_in(f.b, IIR), 0x02);
    assert_int_equal(chip_in(f.b, IIR), 0x00);
    assert_int_equal(chip_in(f.b, MSR), 0x83);
    assert_int_equal(chip_in(f.b, IIR), 0x01);
    assert_false(f.irq.level);
    board_free(f.b);
}

static void out2_gates_the_interrupt(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, MCR, 0x03);
    chip_out(f.b, IER, 0x02);
    assert_false(f.irq.level);
    chip_out(f.b, MCR, 0x0b);
    assert_true(f.irq.level);
    board_free(f.b);
}

static void writing_data_and_enabling_again_handle_the_transmit_interrupt(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, IER, 0x02);
    chip_in(f.b, IIR);
    assert_false(f.irq.level);
    chip_out(f.b, IER, 0x00);
    chip_out(f.b, IER, 0x02);
    assert_true(f.irq.level);
    chip_out(f.b, DATA, 'a');
    chip_out(f.b, DATA, 'b');
    assert_false(f.irq.level);
    step(&f, 1);
    assert_true(f.irq.level);
    board_free(f.b);
}

static void loopback_connects_the_modem_lines(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    static const struct {
        uint8_t mcr, msr;
    } rows[] = {{0x11, 0x20}, {0x12, 0x10}, {0x14, 0x40}, {0x18, 0x80}, {0x10, 0x00}};
    for (unsigned i = 0; i < 5; i++) {
        chip_out(f.b, MCR, rows[i].mcr);
        assert_int_equal(chip_in(f.b, MSR) & 0xf0, rows[i].msr);
    }
    chip_in(f.b, MSR);
    chip_out(f.b, MCR, 0x14);
    assert_int_equal(chip_in(f.b, MSR), 0x40); /* RI counts when it falls */
    chip_out(f.b, MCR, 0x10);
    assert_int_equal(chip_in(f.b, MSR), 0x04);
    assert_false(f.far.dtr || f.far.rts);
    chip_out(f.b, DATA, 'z');
    arrive(&f, "q"); /* the pin is cut off */
    step(&f, 3);
    assert_int_equal(f.far.size, 0);
    assert_int_equal(chip_in(f.b, DATA), 'z');
    chip_out(f.b, MCR, 0x03);
    step(&f, 1);
    assert_int_equal(chip_in(f.b, DATA), 'q');
    board_free(f.b);
}

static void break_is_received_in_loopback(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, IIR, 0x01);
    chip_out(f.b, MCR, 0x10);
    chip_out(f.b, DATA, 'a');
    step(&f, 1);
    chip_out(f.b, LCR, 0x43);
    assert_int_equal(chip_in(f.b, LSR), 0xe1); /* an error, but not at the top */
    assert_int_equal(chip_in(f.b, DATA), 'a');
    assert_int_equal(chip_in(f.b, LSR) & 0x99, 0x99);
    assert_int_equal(chip_in(f.b, LSR) & 0x98, 0x00);
    assert_int_equal(chip_in(f.b, DATA), 0);
    board_free(f.b);
}

static void break_is_received_from_the_far_end(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, IER, 0x04);
    f.far.sink.brk(f.far.sink.self);
    assert_true(f.irq.level);
    assert_int_equal(chip_in(f.b, LSR), 0x79); /* break, framing, ready */
    assert_false(f.irq.level);
    assert_int_equal(chip_in(f.b, DATA), 0);
    assert_int_equal(chip_in(f.b, LSR), 0x60);
    chip_out(f.b, MCR, 0x10); /* loopback: nobody listens to the line */
    f.far.sink.brk(f.far.sink.self);
    assert_int_equal(chip_in(f.b, LSR), 0x60);
    board_free(f.b);
}

static void fifo_overrun_keeps_what_was_there(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, IIR, 0x01);
    chip_out(f.b, MCR, 0x10);
    for (unsigned i = 0; i < 20; i++) {
        chip_out(f.b, DATA, (uint8_t)('a' + i));
        step(&f, 1);
    }
    assert_int_equal(chip_in(f.b, LSR), 0x63);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(chip_in(f.b, DATA), 'a' + i);
    }
    assert_int_equal(chip_in(f.b, LSR), 0x60);
    board_free(f.b);
}

static void carrier_moves_the_modem_lines(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_in(f.b, MSR);
    assert_int_equal(chip_in(f.b, MSR), 0x00);
    chip_out(f.b, IER, 0x08);
    f.far.sink.connected(f.far.sink.self, true);
    assert_true(f.irq.level);
    assert_int_equal(chip_in(f.b, MSR), 0xbb);
    assert_false(f.irq.level);
    f.far.sink.connected(f.far.sink.self, false);
    assert_int_equal(chip_in(f.b, MSR), 0x0b);
    board_free(f.b);
}

static void host_is_told_of_room(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    CharSink *sink = &f.far.sink;
    uint8_t data[300];
    memset(data, 'x', sizeof(data));
    size_t room = sink->room(sink->self);
    assert_true(room > 0 && room < sizeof(data));
    sink->receive(sink->self, data, sizeof(data)); /* more than room: the rest is lost */
    assert_int_equal(sink->room(sink->self), 0);
    step(&f, 1);
    assert_int_equal(f.far.readies, 1);
    assert_int_equal(sink->room(sink->self), 1);
    unsigned got = 0;
    for (unsigned i = 0; i < 400; i++) {
        if (chip_in(f.b, LSR) & 1) {
            got += chip_in(f.b, DATA) == 'x';
        }
        step(&f, 1);
    }
    assert_int_equal(got, room);
    board_free(f.b);
}

/* For what must not overtake bytes: the line is quiet when the last one has left it. */
static void host_is_told_when_the_line_is_quiet(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, IIR, 0x01);
    CharSink *sink = &f.far.sink;
    assert_true(sink->quiet(sink->self));
    step(&f, 1);
    arrive(&f, "abc");
    step(&f, 1);
    assert_int_equal(f.far.readies, 0); /* nobody asked */
    assert_false(sink->quiet(sink->self));
    step(&f, 1);
    assert_int_equal(f.far.readies, 1);
    assert_false(sink->quiet(sink->self));
    step(&f, 1);
    assert_int_equal(f.far.readies, 2);
    assert_true(sink->quiet(sink->self));
    board_free(f.b);
}

static void nothing_plugged_in(void **state)
{
    (void)state;
    Board *b = chip_board();
    uart_new(b, &(UartConfig){.base = BASE}, "com1");
    board_reset(b, RESET_POWER);
    chip_out(b, DATA, 'a');
    clock_step(&b->clock, 1000000000);
    assert_int_equal(chip_in(b, LSR), 0x60);
    assert_int_equal(chip_in(b, MSR), 0x00);
    board_free(b);
}

static void an_eager_listener_hears_at_once(void **state)
{
    (void)state;
    for (int eager = 0; eager < 2; eager++) {
        Board *b = chip_board();
        uart_new(b, &(UartConfig){.base = BASE, .eager = eager}, "com1");
        board_reset(b, RESET_POWER);
        chip_out(b, LCR, 0x83);
        chip_out(b, DATA, 1);
        chip_out(b, LCR, 0x03);
        chip_out(b, DATA, 'a');
        clock_step(&b->clock, CHAR_NS / 32);
        assert_int_equal(chip_in(b, LSR) & 0x40, eager ? 0x40 : 0);
        board_free(b);
    }
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f, g;
    fixture(&f);
    built(&g, UART_16550A);
    chip_out(f.b, IIR, 0x41);
    chip_out(f.b, IER, 0x03);
    arrive(&f, "input");
    for (unsigned i = 0; i < 8; i++) {
        chip_out(f.b, DATA, (uint8_t)('A' + i));
    }
    clock_step(&f.b->clock, CHAR_NS * 5 / 2);
    chip_state_round_trip(f.b, g.b);
    assert_int_equal(g.far.baud, 115200);
    step(&g, 6);
    assert_memory_equal(g.far.text, "CDEFGH", 6);
    for (const char *p = "input"; *p; p++) {
        assert_int_equal(chip_in(g.b, DATA), *p);
    }
    board_free(f.b);
    board_free(g.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_after_reset),
        cmocka_unit_test(parameters_reach_the_far_end),
        cmocka_unit_test(characters_take_their_time_out),
        cmocka_unit_test(fifo_takes_sixteen),
        cmocka_unit_test(characters_take_their_time_in),
        cmocka_unit_test(trigger_levels_and_timeout),
        cmocka_unit_test(interrupts_come_by_priority),
        cmocka_unit_test(out2_gates_the_interrupt),
        cmocka_unit_test(writing_data_and_enabling_again_handle_the_transmit_interrupt),
        cmocka_unit_test(loopback_connects_the_modem_lines),
        cmocka_unit_test(break_is_received_in_loopback),
        cmocka_unit_test(break_is_received_from_the_far_end),
        cmocka_unit_test(fifo_overrun_keeps_what_was_there),
        cmocka_unit_test(carrier_moves_the_modem_lines),
        cmocka_unit_test(host_is_told_of_room),
        cmocka_unit_test(host_is_told_when_the_line_is_quiet),
        cmocka_unit_test(nothing_plugged_in),
        cmocka_unit_test(an_eager_listener_hears_at_once),
        cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
