/* Hayes modem behind a serial port: commands, results, calls out and in, lines, escape, state. */
#include "chipset/cards/modem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/chip.h"

#define MS INT64_C(1000000)

typedef struct Fixture {
    Board *b;
    CharPort plug;
    char heard[8192];
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
    clock_step(&f.b->clock, 40 * MS);
    f.plug.ops->set_lines(f.plug.backend, true, true, false);
    clock_step(&f.b->clock, 100 * MS);
    heard(&f, ""); /* S25: shorter than 50 ms does not count */
    f.plug.ops->set_lines(f.plug.backend, false, true, false);
    clock_step(&f.b->clock, 60 * MS);
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
        send(&f, "\n"); /* of CR LF: no key */
        clock_step(&f.b->clock, 100 * MS);
        send(&f, "x");
        heard(&f, "");
        clock_step(&f.b->clock, 30 * MS);
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
    clock_step(&f.b->clock, 60 * MS);
    heard(&f, "\r\nOK\r\n"); /* to commands, still connected */
    assert_int_equal(f.lines & CHAR_DCD, CHAR_DCD);
    board_free(f.b);
}

static void forget(Fixture *f)
{
    f->size = 0;
    f->heard[0] = '\0';
}

/* What a command says with echo off. */
static void says(Fixture *f, const char *command, const char *answer)
{
    char line[300];
    forget(f);
    snprintf(line, sizeof(line), "%s\r", command);
    send(f, line);
    heard(f, answer);
}

#define OK "\r\nOK\r\n"
#define ERROR "\r\nERROR\r\n"

static void profiles_are_kept(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    says(&f, "ATE0S0=3X2&D1&W1", "ATE0S0=3X2&D1&W1\r" OK);
    says(&f, "ATS0=4&W", OK);
    says(&f, "AT&FE0S0?S25?", "\r\n000\r\n\r\n005\r\n" OK);
    says(&f, "ATZ", OK);
    says(&f, "ATS0?", "\r\n004\r\n" OK);
    says(&f, "ATZ1", OK);
    says(&f, "ATS0?", "\r\n003\r\n" OK);
    says(&f, "ATZ2", ERROR);
    says(&f, "AT&W2", ERROR);
    says(&f, "AT&Y1&F", OK);
    board_reset(f.b, RESET_POWER);
    says(&f, "ATS0?", "\r\n003\r\n" OK); /* the one of &Y */
    forget(&f);
    send(&f, "AT&V\r");
    assert_non_null(strstr(f.heard, "ACTIVE PROFILE:\r\n\r\nE0 Q0 V1 X2 &C1 &D1 &K3 &S0\r\n"));
    assert_non_null(strstr(f.heard, "STORED PROFILE 1:\r\n\r\nE0 Q0 V1 X2 &C1 &D1 &K3 &S0\r\n"));
    assert_non_null(strstr(f.heard, "S0:004 S1:000 S2:043"));
    Fixture g;
    fixture(&g);
    chip_state_round_trip(f.b, g.b);
    says(&g, "ATZ", OK);
    says(&g, "ATS0?", "\r\n004\r\n" OK);
    board_free(f.b);
    board_free(g.b);
}

static void settings_out_of_range_change_nothing(void **state)
{
    (void)state;
    static const char *const wrong[] = {"ATE2",   "ATV2",    "ATQ9",     "ATX5", "AT&C2",
                                        "AT&D4",  "AT&K7",   "AT&S2",    "ATH2", "ATS12=256",
                                        "ATS64?", "ATS64=1", "ATS12=999"};
    Fixture f;
    fixture(&f);
    send(&f, "ATE0\r");
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        says(&f, wrong[i], ERROR);
    }
    forget(&f);
    send(&f, "ATS12?&V\r");
    assert_non_null(strstr(f.heard, "050"));
    assert_non_null(strstr(f.heard, "E0 Q0 V1 X4 &C1 &D2 &K3 &S0"));
    board_free(f.b);
}

static void registers_have_a_pointer(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    send(&f, "ATE0\r");
    says(&f, "ATS7", OK);
    says(&f, "AT=44", OK);
    says(&f, "AT?", "\r\n044\r\n" OK);
    says(&f, "AT S 8 = 7 S7? S8 ?", "\r\n044\r\n\r\n007\r\n" OK);
    says(&f, "AT+MS=11,1;+FCLASS=0;S0?", "\r\n000\r\n" OK); /* nothing of it is a register */
    says(&f, "AT&Q5\\N3%C1*B1-J1S0?", "\r\n000\r\n" OK);
    board_free(f.b);
}

static void a_line_has_an_end(void **state)
{
    (void)state;
    Fixture f;
    char line[200] = "AT";
    fixture(&f);
    send(&f, "ATE0\r");
    for (size_t i = 2; i < 130; i++) {
        line[i] = 'L';
    }
    says(&f, line, OK);
    line[130] = '1'; /* cut off, it would be another command */
    says(&f, line, ERROR);
    says(&f, "AT", OK);
    forget(&f);
    send(&f, "A/");
    heard(&f, OK);
    board_free(f.b);
}

static void silence_and_numbers(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    send(&f, "ATE0\r");
    says(&f, "ATQ1I1", "\r\n000\r\n"); /* results are silent, what was asked for is not */
    says(&f, "ATS7?", "\r\n050\r\n");
    says(&f, "ATQ0V0S7?", "050\r\n0\r");
    board_free(f.b);
}

static void numbers_and_names(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"ATDT555-1234", "555-1234"},
        {"ATDP9W,555 (12)34;", "95551234"},
        {"ATD5551234", "5551234"},
        {"ATDTwww.example.org:23", "WWW.EXAMPLE.ORG:23"},
        {"ATDTwwv", "WWV"},
        {"ATDpluto:2323", "PLUTO:2323"},
        {"ATDTpluto:2323", "PLUTO:2323"},
        {"ATDT[::1]:23", "[::1]:23"},
        {"ATDL", "[::1]:23"},
        {"ATDTL", "[::1]:23"},
        {"AT&Z2=T999W1", NULL},
        {"ATDS=2", "9991"},
    };
    Fixture f;
    fixture(&f);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(f.dialled, 0, sizeof(f.dialled));
        send(&f, rows[i][0]);
        send(&f, "\r");
        if (rows[i][1]) {
            assert_string_equal(f.dialled, rows[i][1]);
        }
        f.sink.ended(f.sink.self, PHONE_BUSY);
        forget(&f);
    }
    board_free(f.b);
}

static void connect(Fixture *f, const char *settings)
{
    fixture(f);
    send(f, settings);
    send(f, "DThost\r");
    f->sink.connected(f->sink.self);
    forget(f);
}

static void the_guest_holds_data_back_by_rts(void **state)
{
    (void)state;
    for (unsigned flow = 0; flow < 2; flow++) {
        Fixture f;
        connect(&f, flow ? "ATE0&K3" : "ATE0&K0");
        f.plug.ops->set_lines(f.plug.backend, true, false, false);
        f.sink.receive(f.sink.self, (const uint8_t *)"data", 4);
        heard(&f, flow ? "" : "data");
        f.plug.ops->set_lines(f.plug.backend, true, true, false);
        heard(&f, flow ? "data" : "");
        f.plug.ops->set_lines(f.plug.backend, true, false, false);
        f.sink.ended(f.sink.self, PHONE_HUNG_UP);
        heard(&f, "\r\nNO CARRIER\r\n"); /* results are not data */
        f.plug.ops->set_lines(f.plug.backend, true, true, false);
        send(&f, "ATDThost\r");
        f.sink.connected(f.sink.self);
        forget(&f);
        f.plug.ops->set_lines(f.plug.backend, true, false, false);
        f.sink.receive(f.sink.self, (const uint8_t *)"end", 3);
        f.sink.ended(f.sink.self, PHONE_HUNG_UP);
        heard(&f, flow ? "" : "end\r\nNO CARRIER\r\n");
        f.plug.ops->set_lines(f.plug.backend, true, true, false);
        heard(&f, flow ? "end\r\nNO CARRIER\r\n" : "");
        board_free(f.b);
    }
}

static void xon_and_xoff_hold_data_back(void **state)
{
    (void)state;
    static const uint8_t through[3] = {0x13, 'x', 0x11};
    for (unsigned mode = 3; mode <= 6; mode++) {
        Fixture f;
        char settings[16];
        snprintf(settings, sizeof(settings), "ATE0&K%u", mode);
        connect(&f, settings);
        send(&f, "\x13x");
        f.sink.receive(f.sink.self, (const uint8_t *)"data", 4);
        heard(&f, mode == 3 ? "data" : "");
        send(&f, "\x11");
        heard(&f, mode == 3 ? "" : "data");
        bool passes = mode == 3 || mode == 5;
        assert_int_equal(f.said_size, passes ? 3 : 1);
        assert_memory_equal(f.said, passes ? through : through + 1, f.said_size);
        f.line_room = 10;
        send(&f, "y");
        heard(&f, mode == 3 ? "" : "\x13");
        assert_int_equal(f.lines & CHAR_CTS, mode == 3 || mode == 6 ? 0 : CHAR_CTS);
        f.line_room = 1000;
        f.sink.drained(f.sink.self);
        heard(&f, mode == 3 ? "" : "\x11");
        f.line_room = 10;
        send(&f, "y");
        forget(&f);
        f.sink.ended(f.sink.self, PHONE_HUNG_UP);
        heard(&f, mode == 3 ? "\r\nNO CARRIER\r\n" : "\x11\r\nNO CARRIER\r\n");
        board_free(f.b);
    }
}

/* Data that the guest does not take leave room for what the modem itself has to say. */
static void results_find_room(void **state)
{
    (void)state;
    static uint8_t data[8192];
    Fixture f;
    connect(&f, "ATE0");
    f.room = 0;
    memset(data, 'd', sizeof(data));
    size_t room = f.sink.room(f.sink.self);
    f.sink.receive(f.sink.self, data, room);
    assert_int_equal(f.sink.room(f.sink.self), 0);
    f.sink.ended(f.sink.self, PHONE_HUNG_UP);
    heard(&f, "");
    f.room = 1000;
    f.plug.ops->ready(f.plug.backend);
    assert_memory_equal(f.heard, data, room);
    assert_string_equal(f.heard + room, "\r\nNO CARRIER\r\n");
    board_free(f.b);
}

static void no_guard_time_needs_no_silence(void **state)
{
    (void)state;
    Fixture f;
    connect(&f, "ATE0S12=0");
    send(&f, "x+++");
    clock_step(&f.b->clock, 1);
    heard(&f, "\r\nOK\r\n");
    says(&f, "ATO", "\r\nCONNECT 19200\r\n");
    board_free(f.b);
}

static void answering_minds_dtr_as_it_is_told(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 4; mode++) {
        Fixture f;
        char settings[32];
        fixture(&f);
        snprintf(settings, sizeof(settings), "ATS0=1&D%u&W\r", mode);
        send(&f, settings);
        f.plug.ops->set_lines(f.plug.backend, false, true, false);
        clock_step(&f.b->clock, 100 * MS);
        f.sink.ringing(f.sink.self);
        assert_int_equal(f.answers, mode < 2);
        board_free(f.b);
    }
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
    assert_string_equal(state_error(loader), "");
    board_restored(g.b);
    state_free(loader);
    state_free(io);
    assert_int_equal(g.lines & CHAR_DCD, 0);
    heard(&g, "3\r"); /* NO CARRIER */
    send(&g, "ATS7?\r");
    heard(&g, "033\r\n0\r");
    board_free(f.b);
    board_free(g.b);
}

/* A stream as version 1 wrote it, which knew of no profiles. */
static StateIo *version_1(void)
{
    StateIo *io = state_saver_new();
    uint8_t s[64] = {3, 0, '+', '\r', '\n', '\b', 2, 44}, zero = 0, mode = 1, queue[4096] = {0};
    char line[129] = "";
    bool off = false, on = true;
    int64_t now = 0;
    uint32_t baud = 9600;
    uint16_t none = 0;
    unsigned call = 0;
    Timer t = {0};
    state_begin(io, "clock", 1);
    state_i64(io, "now", &now);
    state_end(io);
    state_begin(io, "modem0", 1);
    state_enum(io, "call", &call, 4);
    static const char *const flags[] = {"data", "dtr", "rts", "ri", "cts"};
    for (unsigned i = 0; i < 5; i++) {
        state_bool(io, flags[i], &off);
    }
    state_bytes(io, "s", s, sizeof(s));
    state_bool(io, "echo", &off);
    state_bool(io, "quiet", &off);
    state_bool(io, "verbose", &on);
    static const char *const modes[] = {"codes", "carrier_mode", "dtr_mode", "flow_mode",
                                        "dsr_mode"};
    for (unsigned i = 0; i < 5; i++) {
        state_u8(io, modes[i], &mode);
    }
    state_u32(io, "baud", &baud);
    state_u8(io, "prefix", &zero);
    state_bool(io, "in_line", &off);
    state_bytes(io, "line", line, sizeof(line));
    state_bytes(io, "last", line, sizeof(line));
    state_u8(io, "length", &zero);
    state_u8(io, "escapes", &zero);
    state_i64(io, "last_data_ns", &now);
    state_bytes(io, "queue", queue, sizeof(queue));
    state_u16(io, "at", &none);
    state_u16(io, "size", &none);
    state_timer(io, "ring", &t);
    state_timer(io, "wait", &t);
    state_timer(io, "guard", &t);
    state_end(io);
    return io;
}

static void states_of_version_1_load(void **state)
{
    (void)state;
    Fixture f;
    size_t size;
    Err err = {""};
    fixture(&f);
    send(&f, "ATE0S0=9&W&Y1\rATX4\r");
    StateIo *io = version_1(), *loader;
    const uint8_t *bytes = state_finish(io, &size);
    loader = state_loader_new(bytes, size, &err);
    board_state(f.b, loader);
    assert_string_equal(state_error(loader), "");
    board_restored(f.b);
    state_free(loader);
    state_free(io);
    says(&f, "ATS0?S7?", "\r\n003\r\n\r\n044\r\n" OK);
    says(&f, "ATZE0", "\r\nOK\r\n");
    says(&f, "ATS0?", "ATS0?\r\r\n000\r\n" OK); /* there was nothing kept: the factory's */
    board_free(f.b);
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
        cmocka_unit_test(profiles_are_kept),
        cmocka_unit_test(settings_out_of_range_change_nothing),
        cmocka_unit_test(registers_have_a_pointer),
        cmocka_unit_test(a_line_has_an_end),
        cmocka_unit_test(silence_and_numbers),
        cmocka_unit_test(numbers_and_names),
        cmocka_unit_test(the_guest_holds_data_back_by_rts),
        cmocka_unit_test(xon_and_xoff_hold_data_back),
        cmocka_unit_test(results_find_room),
        cmocka_unit_test(no_guard_time_needs_no_silence),
        cmocka_unit_test(answering_minds_dtr_as_it_is_told),
        cmocka_unit_test(state_keeps_settings_but_no_call),
        cmocka_unit_test(states_of_version_1_load),
        cmocka_unit_test(random_typing_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
