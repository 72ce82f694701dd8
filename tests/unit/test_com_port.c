/* Telnet's com port option: what each side says and hears, two of us as a null modem, hostile
 * peers, cuts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine/core/char_port.h"
#include "machine/host/telnet.h"

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define COM(...) IAC, SB, 44, __VA_ARGS__, IAC, SE

enum { SE = 240, BRK = 243, SB = 250, WILL, WONT, DO, DONT, IAC };
enum { USUAL = CHAR_CTS | CHAR_DSR | CHAR_DCD };

typedef struct End {
    Telnet t;
    ComPort com;
} End;

static size_t drain(End *e, uint8_t *out)
{
    size_t all = 0, size;
    telnet_tell(&e->t);
    for (const uint8_t *from; (from = telnet_waiting(&e->t, &size)) != NULL; all += size) {
        size = size > 7 ? 7 : size;
        memcpy(out + all, from, size);
        telnet_sent(&e->t, size);
    }
    return all;
}

static void says(End *e, const uint8_t *bytes, size_t size)
{
    uint8_t got[TELNET_WIRE];
    size_t n = drain(e, got);
    assert_int_equal(n, size);
    assert_memory_equal(got, bytes, size);
}

static void says_nothing(End *e)
{
    uint8_t got[TELNET_WIRE];
    assert_int_equal(drain(e, got), 0);
}

static void hears(End *e, const uint8_t *in, size_t size, const char *data)
{
    uint8_t out[4096 + TELNET_HELD];
    assert_true(size <= sizeof(out) - TELNET_HELD);
    assert_int_equal(telnet_decode(&e->t, in, size, out), strlen(data));
    assert_memory_equal(out, data, strlen(data));
}

/* 9600 8N1 with DTR and RTS; the offer is said. */
static End *started(TelnetRole role)
{
    uint8_t ignored[TELNET_WIRE];
    End *e = calloc(1, sizeof(*e));
    assert_non_null(e);
    e->t.com = &e->com;
    com_port_frame(&e->com, 9600, 8, 'N', 1);
    com_port_lines(&e->com, COM_DTR | COM_RTS, 0);
    telnet_start(&e->t, TELNET_ON, role);
    assert_false(telnet_settled(&e->t));
    size_t n = drain(e, ignored);
    const uint8_t offer[3] = {IAC, role == TELNET_CALLED ? DO : WILL, 44};
    assert_memory_equal(ignored + n - 3, offer, 3);
    return e;
}

static End *server(void)
{
    End *e = started(TELNET_CALLED);
    hears(e, BYTES(IAC, WILL, 44), "");
    says(e, BYTES(COM(107, 0xb0))); /* CTS, DSR and DCD: the guest's RTS and DTR */
    return e;
}

static End *client(void)
{
    End *e = started(TELNET_CALLER);
    hears(e, BYTES(IAC, DO, 44), "");
    says(e, BYTES(COM(5, 8), COM(5, 11), COM(10, 16), COM(11, IAC, IAC), COM(5, 1),
                  COM(1, 0, 0, 0x25, 0x80), COM(2, 8), COM(3, 1), COM(4, 1)));
    return e;
}

static void the_guest_sets_the_clients_port(void **state)
{
    (void)state;
    End *e = client();
    says_nothing(e);
    com_port_frame(&e->com, 115200, 7, 'E', 2);
    says(e, BYTES(COM(1, 0, 1, 0xc2, 0), COM(2, 7), COM(3, 3), COM(4, 2)));
    com_port_frame(&e->com, 115200, 5, 'S', 2);
    says(e, BYTES(COM(2, 5), COM(3, 5), COM(4, 3))); /* of five bits, it is one and a half */
    com_port_frame(&e->com, 255, 5, 'M', 1);
    says(e, BYTES(COM(1, 0, 0, 0, IAC, IAC), COM(3, 4), COM(4, 1)));
    com_port_lines(&e->com, COM_RTS, COM_DTR);
    says(e, BYTES(COM(5, 9)));
    com_port_lines(&e->com, COM_DTR | COM_BREAK, COM_DTR | COM_RTS | COM_BREAK);
    says(e, BYTES(COM(5, 8), COM(5, 12), COM(5, 5)));
    com_port_lines(&e->com, COM_DTR, COM_BREAK | COM_DTR); /* DTR in between */
    says(e, BYTES(COM(5, 9), COM(5, 8), COM(5, 6)));
    hears(e, BYTES(COM(101, 0, 0, 1, 2), COM(102, 8), COM(105, 9), COM(110, 16), COM(111, 1)), "");
    says_nothing(e); /* answers are not answered */
    free(e);
}

static void the_guest_sees_the_servers_lines(void **state)
{
    (void)state;
    End *e = client();
    assert_false(telnet_settled(&e->t));
    assert_int_equal(e->com.inputs, USUAL);
    hears(e, BYTES(COM(107, 0x3f)), "");
    assert_true(telnet_settled(&e->t));
    assert_int_equal(e->com.inputs, CHAR_CTS | CHAR_DSR);
    assert_int_equal(e->com.flickered, CHAR_DCD); /* what was before us is no news */
    e->com.flickered = 0;
    hears(e, BYTES(COM(107, 0xf8)), "");
    assert_int_equal(e->com.inputs, CHAR_CTS | CHAR_DSR | CHAR_DCD | CHAR_RI);
    assert_int_equal(e->com.flickered, CHAR_DCD | CHAR_RI);
    e->com.flickered = 0;
    hears(e, BYTES(COM(107, 0xf1)), ""); /* CTS was low for a moment */
    assert_int_equal(e->com.flickered, CHAR_CTS);
    e->com.flickered = 0;
    hears(e, BYTES(COM(107, 0x04)), "");
    assert_int_equal(e->com.inputs, 0);
    hears(e, BYTES('a', COM(106, 0x10), 'b', COM(106, 0xef)), "ab");
    assert_true(e->com.broke);
    e->com.broke = false;
    hears(e, BYTES(COM(106, IAC & 0xef), COM(106), COM(107), COM(107, 1, 2), COM(5, 5)), "");
    assert_false(e->com.broke);
    assert_int_equal(e->com.inputs, 0);
    hears(e, BYTES(COM(108)), "");
    assert_true(e->com.suspended);
    hears(e, BYTES(COM(8), COM(109)), "");
    assert_false(e->com.suspended);
    hears(e, BYTES(COM(100)), "");
    says(e, BYTES(COM(0, 'V', 'i', 't', 'r', 'i', 'n', 'e')));
    hears(e, BYTES(COM(100, 'x', 'y')), "");
    says_nothing(e);
    free(e);
}

static void a_client_sets_our_port(void **state)
{
    (void)state;
    End *e = server();
    assert_int_equal(e->com.inputs, USUAL);
    hears(e, BYTES(COM(1, 0, 0, 0, 0), COM(2, 0), COM(3, 0), COM(4, 0)), "");
    says(e, BYTES(COM(101, 0, 0, 0x25, 0x80), COM(102, 8), COM(103, 1), COM(104, 1)));
    com_port_frame(&e->com, 300, 7, 'O', 2); /* until he sets them, they are the guest's */
    hears(e, BYTES(COM(1, 0, 0, 0, 0), COM(2, 9), COM(3, 6), COM(4, 4)), "");
    says(e, BYTES(COM(101, 0, 0, 1, 0x2c), COM(102, 7), COM(103, 2), COM(104, 2)));
    hears(e, BYTES(COM(1, 0, IAC, IAC, 1, 2), COM(2, 6), COM(3, 5), COM(4, 3)), "");
    says(e, BYTES(COM(101, 0, IAC, IAC, 1, 2), COM(102, 6), COM(103, 5), COM(104, 3)));
    hears(e, BYTES(COM(0)), "");
    says(e, BYTES(COM(100, 'V', 'i', 't', 'r', 'i', 'n', 'e')));
    hears(e, BYTES(COM(0, 'm', 'e')), "");
    says_nothing(e);
    hears(e, BYTES(COM(10, 0x1e), COM(12, 0), COM(12, 4)), "");
    says(e, BYTES(COM(110, 0x1e)));
    assert_int_equal(e->com.purge, 0);
    for (uint8_t what = 1; what <= 3; what++) {
        e->com.purge = 0;
        hears(e, BYTES(COM(12, what)), "");
        says(e, BYTES(COM(112, what)));
        assert_int_equal(e->com.purge, what); /* for who has the bytes */
    }
    hears(e,
          BYTES(COM(13, 1), COM(1, 1), COM(1, 1, 2, 3), COM(1, 1, 2, 3, 4, 5), COM(101, 0, 0, 0, 1),
                COM(107, 0), COM(2), COM(200, 1), IAC, SB, IAC, SE, IAC, SB, 44, IAC, SE),
          "");
    says_nothing(e);
    free(e);
}

static void a_client_drives_the_guests_lines(void **state)
{
    (void)state;
    static const struct {
        uint8_t value, answer, inputs;
        bool broke;
    } rows[] = {
        {7, 8, USUAL, false},
        {10, 11, USUAL, false},
        {4, 6, USUAL, false},
        {9, 9, CHAR_CTS, false},
        {7, 9, CHAR_CTS, false},
        {12, 12, 0, false},
        {10, 12, 0, false},
        {8, 8, CHAR_DSR | CHAR_DCD, false},
        {5, 5, CHAR_DSR | CHAR_DCD, true},
        {5, 5, CHAR_DSR | CHAR_DCD, false},
        {4, 5, CHAR_DSR | CHAR_DCD, false},
        {6, 6, CHAR_DSR | CHAR_DCD, false},
        {11, 11, USUAL, false},
        {0, 1, USUAL, false},
        {2, 1, USUAL, false}, /* XON/XOFF and the like are refused */
        {17, 1, USUAL, false},
        {19, 1, USUAL, false},
        {3, 3, USUAL, false},
        {0, 3, USUAL, false},
        {1, 1, USUAL, false},
        {13, 14, USUAL, false},
        {15, 14, USUAL, false},
        {18, 14, USUAL, false},
        {16, 16, USUAL, false},
        {14, 14, USUAL, false},
    };
    End *e = server();
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        hears(e, BYTES(COM(5, rows[i].value)), "");
        says(e, BYTES(COM(105, rows[i].answer)));
        assert_int_equal(e->com.inputs, rows[i].inputs);
        assert_int_equal(e->com.broke, rows[i].broke);
        assert_int_equal(com_port_paced(&e->com), rows[i].answer == 3);
        e->com.broke = false;
    }
    hears(e, BYTES(COM(5, 20), COM(5, 0xfe)), "");
    says_nothing(e);
    assert_true(telnet_settled(&e->t));
    free(e);
}

static void a_client_hears_of_the_guests_lines(void **state)
{
    (void)state;
    End *e = server();
    com_port_lines(&e->com, COM_DTR, COM_RTS);
    says(e, BYTES(COM(107, 0xa1)));
    com_port_lines(&e->com, COM_RTS, COM_DTR | COM_RTS);
    says(e, BYTES(COM(107, 0x1b)));
    com_port_lines(&e->com, COM_RTS, COM_RTS); /* to and fro */
    says(e, BYTES(COM(107, 0x11)));
    com_port_lines(&e->com, COM_RTS | COM_BREAK, COM_BREAK);
    says_nothing(e); /* the mask of line states is 0 */
    com_port_lines(&e->com, COM_RTS, COM_BREAK);
    hears(e, BYTES(COM(10, 16)), "");
    says(e, BYTES(COM(110, 16)));
    com_port_lines(&e->com, COM_RTS | COM_BREAK, COM_BREAK);
    says(e, BYTES(COM(106, 16)));
    com_port_lines(&e->com, COM_RTS, COM_BREAK);
    says_nothing(e);
    com_port_lines(&e->com, COM_RTS, COM_BREAK); /* a short one */
    says(e, BYTES(COM(106, 16)));
    hears(e, BYTES(COM(11, 0x10)), "");
    says(e, BYTES(COM(111, 0x10), COM(107, 0x10)));
    com_port_lines(&e->com, COM_DTR | COM_RTS, COM_DTR);
    says_nothing(e);
    com_port_lines(&e->com, COM_DTR, COM_RTS);
    says(e, BYTES(COM(107, 0)));
    hears(e, BYTES(COM(11, 0)), "");
    says(e, BYTES(COM(111, 0)));
    com_port_lines(&e->com, 0, COM_DTR);
    says_nothing(e);
    hears(e, BYTES(COM(11, IAC, IAC), COM(7)), "");
    says(e, BYTES(COM(111, IAC, IAC), COM(107, 0)));
    hears(e, BYTES(COM(8)), "");
    assert_true(e->com.suspended);
    free(e);
}

/* The guest acts between the agreement and the first words. */
static void lines_change_before_they_are_told(void **state)
{
    (void)state;
    End *e = started(TELNET_CALLER);
    hears(e, BYTES(IAC, DO, 44), "");
    com_port_lines(&e->com, COM_RTS, COM_DTR);
    com_port_lines(&e->com, 0, COM_RTS | COM_BREAK);
    const uint8_t lines[] = {COM(5, 9), COM(5, 12), COM(5, 5), COM(5, 6)};
    uint8_t got[TELNET_WIRE];
    drain(e, got);
    assert_memory_equal(got, lines, sizeof(lines));
    free(e);
}

/* Without the option there is nothing but what there was. */
static void who_refuses_is_left_alone(void **state)
{
    (void)state;
    End *e = started(TELNET_CALLED);
    hears(e, BYTES(IAC, WONT, 44), "");
    assert_true(telnet_settled(&e->t));
    com_port_lines(&e->com, 0, COM_DTR | COM_RTS);
    hears(e, BYTES('x', COM(5, 9), COM(12, 2), COM(8), COM(0), 'y'), "xy");
    says_nothing(e);
    assert_false(e->com.suspended);
    assert_int_equal(e->com.inputs, USUAL);
    hears(e, BYTES(IAC, WILL, 44), ""); /* after all */
    says(e, BYTES(IAC, DO, 44, COM(107, 0)));
    hears(e, BYTES(COM(5, 9), COM(8)), "");
    says(e, BYTES(COM(105, 9)));
    assert_int_equal(e->com.inputs, CHAR_CTS);
    hears(e, BYTES(IAC, WONT, 44), "");
    says(e, BYTES(IAC, DONT, 44));
    assert_int_equal(e->com.inputs, USUAL);
    assert_false(e->com.suspended);
    hears(e, BYTES(IAC, WILL, 44), "");
    says(e, BYTES(IAC, DO, 44, COM(107, 0)));
    telnet_start(&e->t, TELNET_ON, TELNET_CALLED); /* the next client */
    assert_int_equal(e->com.inputs, USUAL);
    assert_false(e->com.on || e->com.heard);
    free(e);
}

static void pass(End *from, End *to)
{
    uint8_t wire[TELNET_WIRE], data[TELNET_WIRE + TELNET_HELD];
    assert_int_equal(telnet_decode(&to->t, wire, drain(from, wire), data), 0);
}

static unsigned crossed(unsigned lines)
{
    return (lines & COM_RTS ? CHAR_CTS : 0) | (lines & COM_DTR ? CHAR_DSR | CHAR_DCD : 0);
}

static void two_of_us_are_a_null_modem(void **state)
{
    (void)state;
    End *a = started(TELNET_CALLED), *b = started(TELNET_CALLER);
    com_port_lines(&a->com, 0, 0);
    com_port_lines(&b->com, 0, 0);
    telnet_start(&a->t, TELNET_ON, TELNET_CALLED);
    telnet_start(&b->t, TELNET_ON, TELNET_CALLER);
    for (unsigned i = 0; i < 5; i++) {
        pass(a, b);
        pass(b, a);
    }
    assert_true(telnet_settled(&a->t) && telnet_settled(&b->t));
    assert_int_equal(a->com.inputs, 0);
    assert_int_equal(b->com.inputs, 0);
    a->com.flickered = b->com.flickered = 0;
    for (unsigned i = 0; i < 64; i++) {
        End *one = i & 1 ? a : b, *other = i & 1 ? b : a;
        uint8_t lines = (i * 7 >> 1) & 7, was = one->com.lines;
        com_port_lines(&one->com, lines, lines ^ was);
        pass(one, other);
        assert_int_equal(other->com.inputs, crossed(lines));
        assert_int_equal(other->com.flickered, crossed(lines) ^ crossed(was));
        assert_int_equal(other->com.broke, lines & ~was & COM_BREAK ? 1 : 0);
        com_port_lines(&one->com, lines, COM_DTR | COM_RTS); /* a moment */
        other->com.flickered = 0;
        pass(one, other);
        assert_int_equal(other->com.inputs, crossed(lines));
        assert_int_equal(other->com.flickered, USUAL);
        other->com.broke = false;
        other->com.flickered = 0;
    }
    for (unsigned i = 0; i < 3; i++) {
        pass(a, b);
        pass(b, a);
    }
    says_nothing(a);
    says_nothing(b);
    free(a);
    free(b);
}

static void a_command_has_an_end(void **state)
{
    (void)state;
    static uint8_t in[1200], out[sizeof(in) + TELNET_HELD];
    End *e = server();
    hears(e, BYTES(IAC, SB, 44, 0), "");
    memset(in, 'x', sizeof(in));
    assert_int_equal(telnet_decode(&e->t, in, 500, out), 0);
    hears(e, BYTES(IAC, SE), ""); /* a long signature */
    hears(e, BYTES(IAC, SB, 44, 5), "");
    assert_in_range(telnet_decode(&e->t, in, sizeof(in), out), 1, sizeof(in) - 1);
    hears(e, BYTES('d', IAC, SE), "d");
    says_nothing(e);
    hears(e, BYTES(IAC, SB, 44, 5, IAC, DO, 9, IAC, SE, '.'), "."); /* no command is in there */
    says(e, BYTES(COM(105, 9)));
    free(e);
}

/* Nobody who reads the answers: they end where the wire does, whole. */
static void answers_end_with_the_wire(void **state)
{
    (void)state;
    End *e = server(), *peer = client();
    for (unsigned i = 0; i < 20000; i++) {
        hears(e, BYTES(COM(1, IAC, IAC, IAC, IAC, IAC, IAC, IAC, IAC), COM(0), COM(11, 0xfe)), "");
        com_port_lines(&e->com, i & 3, COM_DTR | COM_RTS);
        telnet_tell(&e->t);
        assert_true(e->t.count <= TELNET_WIRE);
    }
    assert_in_range(e->t.count, TELNET_WIRE - 80, TELNET_WIRE);
    pass(e, peer);
    assert_int_equal(peer->t.state, 0);
    pass(e, peer);
    assert_int_equal(peer->com.inputs, crossed(e->com.lines)); /* told when there was room */
    free(e);
    free(peer);
}

static void cuts_change_nothing(void **state)
{
    (void)state;
    static const uint8_t in[] = {'h',
                                 IAC,
                                 WILL,
                                 44,
                                 'i',
                                 COM(5, 9),
                                 IAC,
                                 IAC,
                                 COM(1, IAC, IAC, 0, 1, 2),
                                 'q',
                                 COM(10, IAC, IAC),
                                 '\r',
                                 COM(5, 5),
                                 0,
                                 COM(0),
                                 '!'};
    uint8_t whole[sizeof(in) + TELNET_HELD], said[TELNET_WIRE];
    End *e = started(TELNET_CALLED);
    size_t answers, count = telnet_decode(&e->t, in, sizeof(in), whole);
    answers = drain(e, said);
    assert_int_equal(count, 6); /* NUL behind CR is telnet's */
    assert_memory_equal(whole, "hi\377q\r!", 6);
    for (size_t cut = 1; cut < sizeof(in); cut++) {
        uint8_t data[sizeof(in) + TELNET_HELD], wire[TELNET_WIRE];
        End *half = started(TELNET_CALLED);
        size_t n = telnet_decode(&half->t, in, cut, data);
        n += telnet_decode(&half->t, in + cut, sizeof(in) - cut, data + n);
        assert_int_equal(n, count);
        assert_memory_equal(data, whole, count);
        assert_true(half->com.on && half->com.broke && half->com.line == 0xff);
        assert_int_equal(half->com.inputs, CHAR_CTS);
        assert_int_equal(half->com.port.baud, 0xff000102);
        assert_int_equal(drain(half, wire), answers);
        assert_memory_equal(wire, said, answers);
        free(half);
    }
    free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_guest_sets_the_clients_port),
        cmocka_unit_test(the_guest_sees_the_servers_lines),
        cmocka_unit_test(a_client_sets_our_port),
        cmocka_unit_test(a_client_drives_the_guests_lines),
        cmocka_unit_test(a_client_hears_of_the_guests_lines),
        cmocka_unit_test(lines_change_before_they_are_told),
        cmocka_unit_test(who_refuses_is_left_alone),
        cmocka_unit_test(two_of_us_are_a_null_modem),
        cmocka_unit_test(a_command_has_an_end),
        cmocka_unit_test(answers_end_with_the_wire),
        cmocka_unit_test(cuts_change_nothing),
    };
    return cmocka_run_group_tests_name("com_port", tests, NULL, NULL);
}
