/* Hayes modem behind a serial port: commands, results, calls out and in, lines, escape, state. */
#include "chipset/cards/modem.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/chip.h"

#define MS INT64_C(1000000)

typedef struct Fixture {
    Board *b;
    CharPort plug;
    char heard[2048];
    size_t size, room;
    unsigned lines;
    /* the line */
    PhoneSink sink;
    char dialled[200];
    unsigned answers, hang_ups;
    size_t line_room;
    char said[256];
    size_t said_size;
} Fixture;

static void port_receive(void *self, const uint8_t *data, size_t size)
{
    Fixture *f = self;
    assert_true(size <= f->room && f->size + size < sizeof(f->heard));
    memcpy(f->heard + f->size, data, size);
    f->size += size;
    f->heard[f->size] = '\0';
}

static size_t port_room(void *self)
{
    return ((Fixture *)self)->room;
}

static void port_lines(void *self, unsigned lines)
{
    ((Fixture *)self)->lines = lines;
}

static void line_attach(void *line, const PhoneSink *sink)
{
    ((Fixture *)line)->sink = *sink;
}

static void line_dial(void *line, const char *number)
{
    Fixture *f = line;
    strncpy(f->dialled, number, sizeof(f->dialled) - 1);
}

static void line_answer(void *line)
{
    ((Fixture *)line)->answers++;
}

static void line_hang_up(void *line)
{
    ((Fixture *)line)->hang_ups++;
}

static size_t line_room(void *line)
{
    return ((Fixture *)line)->line_room;
}

static void line_write(void *line, const uint8_t *data, size_t size)
{
    Fixture *f = line;
    assert_true(f->said_size + size <= sizeof(f->said));
    memcpy(f->said + f->said_size, data, size);
    f->said_size += size;
}

static void line_ready(void *line)
{
    (void)line;
}

static const PhoneOps line_ops = {line_attach, line_dial,  line_answer, line_hang_up,
                                  line_room,   line_write, line_ready};

static void fixture(Fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->room = f->line_room = 1000;
    f->b = chip_board();
    Modem *m = modem_new(f->b, &(ModemConfig){.line = {&line_ops, f}}, "modem0");
    f->plug = modem_plug(m);
    CharSink sink = {.receive = port_receive, .room = port_room, .lines = port_lines, .self = f};
    f->plug.ops->attach(f->plug.backend, &sink);
    board_reset(f->b, RESET_POWER);
    f->plug.ops->parameters(f->plug.backend, 19200, 8, 'N', 1);
    f->plug.ops->set_lines(f->plug.backend, true, true, false);
    f->hang_ups = 0;
}

static void send(Fixture *f, const char *text)
{
    f->plug.ops->write(f->plug.backend, (const uint8_t *)text, strlen(text));
}

/* What the modem said since the last time. */
static void heard(Fixture *f, const char *text)
{
    assert_string_equal(f->heard, text);
    f->size = 0;
    f->heard[0] = '\0';
}

static void commands_are_answered(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    send(&f, "AT\r");
    heard(&f, "AT\r\r\nOK\r\n");
    send(&f, "ate0\r");
    heard(&f, "ate0\r\r\nOK\r\n");
    send(&f, "AT&F1E0 M1L3 X4 \\N3 %C0 &K3 S95=47\r");
    heard(&f, "\r\nERROR\r\n"); /* there is no S95 */
    send(&f, "ATE0\r");
    f.size = 0;
    f.heard[0] = '\0';
    send(&f, "ATM1L3X4\\N3%C0&K3W2S7=60S7?\r");
    heard(&f, "\r\n060\r\n\r\nOK\r\n");
    send(&f, "AT!\r");
    heard(&f, "\r\nERROR\r\n");
    send(&f, "ATV0\r");
    heard(&f, "0\r");
    send(&f, "AT@\r");
    heard(&f, "4\r");
    send(&f, "ATQ1\r");
    send(&f, "AT\r");
    heard(&f, "");
    send(&f, "ATZ\r");
    heard(&f, "\r\nOK\r\n");
    send(&f, "rubbish\rAT\b\bX9\b4I0\r"); /* a backspace does not reach back to AT */
    assert_non_null(strstr(f.heard, "2400"));
    board_free(f.b);
}

static void a_call_goes_out_and_is_hung_up(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_int_equal(f.lines, CHAR_CTS | CHAR_DSR);
    send(&f, "ATE0\r");
    f.size = 0;
    send(&f, "ATDT 127.0.0.1:2323\r");
    assert_string_equal(f.dialled, "127.0.0.1:2323");
    f.size = 0;
    f.heard[0] = '\0';
    f.sink.connected(f.sink.self);
    heard(&f, "\r\nCONNECT 19200\r\n");
    assert_int_equal(f.lines, CHAR_CTS | CHAR_DSR | CHAR_DCD);
    send(&f, "hello");
    assert_memory_equal(f.said, "hello", 5);
    assert_true(f.sink.room(f.sink.self) > 0);
    f.sink.receive(f.sink.self, (const uint8_t *)"world", 5);
    heard(&f, "world");
    f.plug.ops->set_lines(f.plug.backend, false, true, false);
    heard(&f, "\r\nNO CARRIER\r\n");
    assert_int_equal(f.hang_ups, 1);
    assert_int_equal(f.lines, CHAR_CTS | CHAR_DSR);
    board_free(f.b);
}

static void the_escape_sequence_needs_silence(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    send(&f, "ATE0DThost\r");
    f.sink.connected(f.sink.self);
    f.size = 0;
    f.heard[0] = '\0';
    clock_step(&f.b->clock, 2000 * MS);
    send(&f, "x+++"); /* no silence before */
    clock_step(&f.b->clock, 2000 * MS);
    heard(&f, "");
    send(&f, "+++");
    clock_step(&f.b->clock, 500 * MS);
    send(&f, "y"); /* none after */
    clock_step(&f.b->clock, 2000 * MS);
    heard(&f, "");
    send(&f, "++");
    clock_step(&f.b->clock, 1500 * MS); /* too slow */
    send(&f, "+");
    clock_step(&f.b->clock, 2000 * MS);
    heard(&f, "");
    send(&f, "+++");
    clock_step(&f.b->clock, 990 * MS);
    heard(&f, "");
    clock_step(&f.b->clock, 20 * MS);
    heard(&f, "\r\nOK\r\n");
    assert_int_equal(f.lines & CHAR_DCD, CHAR_DCD);
    assert_int_equal(f.sink.room(f.sink.self), 0); /* the other side waits */
    size_t said = f.said_size;
    send(&f, "AT\r");
    heard(&f, "\r\nOK\r\n");
    assert_int_equal(f.said_size, said);
    send(&f, "ATO\r");
    heard(&f, "\r\nCONNECT 19200\r\n");
    send(&f, "z");
    assert_int_equal(f.said[f.said_size - 1], 'z');
    clock_step(&f.b->clock, 2000 * MS);
    send(&f, "+++");
    clock_step(&f.b->clock, 1100 * MS);
    f.size = 0;
    f.heard[0] = '\0';
    send(&f, "ATH\r");
    heard(&f, "\r\nOK\r\n");
    assert_int_equal(f.lines & CHAR_DCD, 0);
    board_free(f.b);
}

static void failures_have_their_names(void **state)
{
    (void)state;
    static const struct {
        PhoneEnd why;
        const char *text, *plain;
    } ends[] = {{PHONE_BUSY, "\r\nBUSY\r\n", "\r\nNO CARRIER\r\n"},
                {PHONE_NO_ANSWER, "\r\nNO ANSWER\r\n", "\r\nNO CARRIER\r\n"},
                {PHONE_HUNG_UP, "\r\nNO CARRIER\r\n", "\r\nNO CARRIER\r\n"}};
    for (unsigned i = 0; i < 3; i++) {
        Fixture f;
        fixture(&f);
        send(&f, "ATE0\r");
        for (unsigned plain = 0; plain < 2; plain++) {
            send(&f, plain ? "ATX1\r" : "ATX4\r");
            send(&f, "ATD5551234\r");
            f.size = 0;
            f.heard[0] = '\0';
            f.sink.ended(f.sink.self, ends[i].why);
            heard(&f, plain ? ends[i].plain : ends[i].text);
        }
        send(&f, "ATS7=3D5551234\r"); /* nobody at all */
        f.size = 0;
        f.heard[0] = '\0';
        clock_step(&f.b->clock, 2900 * MS);
        heard(&f, "");
        clock_step(&f.b->clock, 200 * MS);
        heard(&f, "\r\nNO CARRIER\r\n");
        send(&f, "ATD5551234\r");
        f.size = 0;
        f.heard[0] = '\0';
        send(&f, "x"); /* a key gives it up */
        heard(&f, "\r\nNO CARRIER\r\n");
        board_free(f.b);
    }
}

static void a_call_comes_in(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    send(&f, "ATE0\r");
    f.size = 0;
    f.heard[0] = '\0';
    f.sink.ringing(f.sink.self);
    heard(&f, "\r\nRING\r\n");
    assert_int_equal(f.lines & CHAR_RI, CHAR_RI);
    clock_step(&f.b->clock, 2100 * MS);
    assert_int_equal(f.lines & CHAR_RI, 0);
    clock_step(&f.b->clock, 4000 * MS);
    heard(&f, "\r\nRING\r\n");
    send(&f, "ATS1?\r");
    heard(&f, "\r\n002\r\n\r\nOK\r\n");
    send(&f, "ATA\r");
    assert_int_equal(f.answers, 1);
    f.sink.connected(f.sink.self);
    heard(&f, "\r\nCONNECT 19200\r\n");
    f.sink.ended(f.sink.self, PHONE_HUNG_UP);
    heard(&f, "\r\nNO CARRIER\r\n");

    send(&f, "ATS0=2\r"); /* by itself at the second ring */
    f.size = 0;
    f.heard[0] = '\0';
    f.sink.ringing(f.sink.self);
    assert_int_equal(f.answers, 1);
    clock_step(&f.b->clock, 6100 * MS);
    assert_int_equal(f.answers, 2);
    f.sink.ended(f.sink.self, PHONE_HUNG_UP);
    f.size = 0;
    f.heard[0] = '\0';
    f.sink.ringing(f.sink.self); /* the caller gives up */
    f.sink.ended(f.sink.self, PHONE_HUNG_UP);
    clock_step(&f.b->clock, 20000 * MS);
    heard(&f, "\r\nRING\r\n");
    send(&f, "ATA\r");
    heard(&f, "\r\nNO CARRIER\r\n");
    board_free(f.b);
}

static void a_slow_line_drops_cts(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    send(&f, "ATE0DThost\r");
    f.sink.connected(f.sink.self);
    f.line_room = 10;
    send(&f, "x");
    assert_int_equal(f.lines & CHAR_CTS, 0);
    f.line_room = 1000;
    f.sink.drained(f.sink.self);
    assert_int_equal(f.lines & CHAR_CTS, CHAR_CTS);
    board_free(f.b);
}

static void settings_of_lines(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    send(&f, "ATE0&C0\r");
    assert_int_equal(f.lines & CHAR_DCD, CHAR_DCD);
    send(&f, "AT&C1&S1\r");
    assert_int_equal(f.lines & (CHAR_DCD | CHAR_DSR), 0);
    send(&f, "AT&D1DThost\r");
    f.sink.connected(f.sink.self);
    f.size = 0;
    f.heard[0] = '\0';
    f.plug.ops->set_lines(f.plug.backend, false, true, false);
    heard(&f, "\r\nOK\r\n"); /* to commands, still connected */
    assert_int_equal(f.lines & CHAR_DCD, CHAR_DCD);
    board_free(f.b);
}

static void state_keeps_settings_but_no_call(void **state)
{
    (void)state;
    Fixture f, g;
    fixture(&f);
    fixture(&g);
    send(&f, "ATE0S7=33V0DThost\r");
    f.sink.connected(f.sink.self);
    send(&f, "+");
    StateIo *io = state_saver_new();
    size_t size;
    board_state(f.b, io);
    const uint8_t *bytes = state_finish(io, &size);
    Err err = {""};
    StateIo *loader = state_loader_new(bytes, size, &err);
    g.size = 0;
    board_state(g.b, loader);
    assert_true(state_ok(loader));
    board_restored(g.b);
    state_free(loader);
    state_free(io);
    assert_int_equal(g.lines & CHAR_DCD, 0);
    heard(&g, "3\r"); /* NO CARRIER */
    send(&g, "ATS7?\r");
    heard(&g, "033\r0\r");
    board_free(f.b);
    board_free(g.b);
}

static void random_typing_is_survived(void **state)
{
    (void)state;
    static const char keys[] = "AT&+\\DHOZEVQSX0123456789=?\r\b/,;: atdzx\n";
    Fixture f;
    fixture(&f);
    srand(3);
    for (unsigned i = 0; i < 200000; i++) {
        char text[2] = {rand() % 8 ? keys[rand() % (sizeof(keys) - 1)] : (char)(rand() % 255 + 1)};
        f.size = f.said_size = 0;
        f.room = f.line_room = (size_t)rand() % 1500;
        send(&f, text);
        if (rand() % 50 == 0) {
            switch (rand() % 5) {
            case 0:
                f.sink.connected(f.sink.self);
                break;
            case 1:
                f.sink.ringing(f.sink.self);
                break;
            case 2:
                f.sink.ended(f.sink.self, (PhoneEnd)(rand() % PHONE_ENDS));
                break;
            case 3:
                f.plug.ops->set_lines(f.plug.backend, rand() & 1, true, false);
                break;
            default:
                clock_step(&f.b->clock, rand() % 3000 * MS);
                break;
            }
        }
        f.plug.ops->ready(f.plug.backend);
    }
    board_free(f.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_answered),
        cmocka_unit_test(a_call_goes_out_and_is_hung_up),
        cmocka_unit_test(the_escape_sequence_needs_silence),
        cmocka_unit_test(failures_have_their_names),
        cmocka_unit_test(a_call_comes_in),
        cmocka_unit_test(a_slow_line_drops_cts),
        cmocka_unit_test(settings_of_lines),
        cmocka_unit_test(state_keeps_settings_but_no_call),
        cmocka_unit_test(random_typing_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
