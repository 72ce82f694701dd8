/* Telnet: option negotiation without loops, all byte values both ways, hostile peers, plain lines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine/host/telnet.h"

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

enum { BREAK = 243, AYT = 246, SB = 250, WILL, WONT, DO, DONT, IAC };
enum { BINARY = 0, ECHO = 1, SGA = 3, TTYPE = 24, NAWS = 31 };

static Telnet *started(TelnetMode mode, TelnetRole role)
{
    Telnet *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    telnet_start(t, mode, role);
    return t;
}

/* Everything that waits for the socket, taken in pieces of odd sizes. */
static size_t drain(Telnet *t, uint8_t *out)
{
    size_t all = 0, size;
    for (const uint8_t *from; (from = telnet_waiting(t, &size)) != NULL; all += size) {
        size = size > 7 ? 7 : size;
        memcpy(out + all, from, size);
        telnet_sent(t, size);
    }
    return all;
}

static void says(Telnet *t, const uint8_t *bytes, size_t size)
{
    uint8_t got[TELNET_WIRE];
    assert_int_equal(drain(t, got), size);
    assert_memory_equal(got, bytes, size);
}

static void says_nothing(Telnet *t)
{
    uint8_t got[TELNET_WIRE];
    assert_int_equal(drain(t, got), 0);
}

static void hears(Telnet *t, const uint8_t *in, size_t size, const char *data)
{
    uint8_t out[2048 + TELNET_HELD];
    assert_true(size <= sizeof(out) - TELNET_HELD);
    assert_int_equal(telnet_decode(t, in, size, out), strlen(data));
    assert_memory_equal(out, data, strlen(data));
}

static void offers(void **state)
{
    (void)state;
    Telnet *t = started(TELNET_ON, TELNET_CALLED);
    says(t, BYTES(IAC, WILL, ECHO, IAC, WILL, SGA, IAC, WILL, BINARY, IAC, DO, BINARY));
    hears(t, BYTES(IAC, DO, ECHO, IAC, DO, SGA, IAC, DO, BINARY, IAC, WILL, BINARY, 'x'), "x");
    says_nothing(t); /* they are the answers */
    free(t);
    t = started(TELNET_ON, TELNET_CALLER);
    says(t, BYTES(IAC, DO, SGA, IAC, WILL, BINARY, IAC, DO, BINARY));
    hears(t, BYTES(IAC, WILL, ECHO, IAC, WILL, SGA, IAC, DO, ECHO, IAC, DO, SGA), "");
    says(t, BYTES(IAC, DO, ECHO, IAC, WONT, ECHO, IAC, WILL, SGA));
    free(t);
    t = started(TELNET_OFF, TELNET_CALLER);
    says_nothing(t);
    free(t);
}

static void only_changes_are_answered(void **state)
{
    (void)state;
    Telnet *t = started(TELNET_ON, TELNET_CALLER);
    uint8_t ignored[TELNET_WIRE];
    drain(t, ignored);
    hears(t, BYTES(IAC, WILL, ECHO, IAC, WILL, ECHO, IAC, WILL, ECHO), "");
    says(t, BYTES(IAC, DO, ECHO));
    hears(t, BYTES(IAC, WONT, ECHO, IAC, WONT, ECHO), "");
    says(t, BYTES(IAC, DONT, ECHO));
    hears(t, BYTES(IAC, WONT, SGA, IAC, DONT, BINARY, IAC, WONT, BINARY),
          ""); /* refusals of ours */
    says_nothing(t);
    hears(t, BYTES(IAC, DO, TTYPE, IAC, DO, TTYPE, IAC, DO, NAWS, IAC, WILL, TTYPE), "");
    says(t, BYTES(IAC, WONT, TTYPE, IAC, WONT, NAWS, IAC, DONT, TTYPE));
    hears(t, BYTES(IAC, DO, TTYPE, IAC, DONT, TTYPE, IAC, WILL, TTYPE, IAC, WONT, TTYPE), "");
    says_nothing(t);
    free(t);
}

/* Two of us, in all pairs of roles: the talk comes to an end, and both directions are binary. */
static void two_of_us_agree(void **state)
{
    (void)state;
    for (unsigned pair = 0; pair < 8; pair++) {
        Telnet *t[2] = {
            started(TELNET_ON, pair & 1 ? TELNET_CALLED : TELNET_CALLER),
            started(pair & 4 ? TELNET_AUTO : TELNET_ON, pair & 2 ? TELNET_CALLED : TELNET_CALLER)};
        uint8_t wire[TELNET_WIRE], data[TELNET_WIRE + TELNET_HELD];
        unsigned rounds = 0, quiet = 0;
        for (; quiet < 2 && rounds < 20; rounds++) {
            size_t size = drain(t[rounds & 1], wire);
            quiet = size ? 0 : quiet + 1;
            assert_int_equal(telnet_decode(t[!(rounds & 1)], wire, size, data), 0);
        }
        assert_true(rounds < 10);
        telnet_encode(t[0], BYTES('\r', 'x', 0xff, '\r'));
        says(t[0], BYTES('\r', 'x', 0xff, 0xff, '\r'));
        telnet_encode(t[1], BYTES('\r', 'x'));
        says(t[1], BYTES('\r', 'x'));
        free(t[0]);
        free(t[1]);
    }
}

/* All pairs of byte values, so that each follows CR, NUL, LF, IAC and every other. */
static void every_byte_comes_through(void **state)
{
    (void)state;
    static uint8_t sent[65536 * 2], got[65536 * 2 + TELNET_HELD];
    for (unsigned i = 0; i < 65536; i++) {
        sent[2 * i] = (uint8_t)(i >> 8);
        sent[2 * i + 1] = (uint8_t)i;
    }
    for (unsigned binary = 0; binary < 2; binary++) {
        Telnet *a = started(TELNET_ON, TELNET_CALLER), *b = started(TELNET_ON, TELNET_CALLED);
        uint8_t wire[TELNET_WIRE];
        size_t count = 0;
        drain(a, wire);
        drain(b, wire);
        if (binary) {
            hears(a, BYTES(IAC, DO, BINARY), "");
            hears(b, BYTES(IAC, WILL, BINARY), "");
        }
        for (size_t at = 0; at < sizeof(sent);) {
            size_t n = 1 + at % 977, room = telnet_room(a);
            n = n > room ? room : n;
            n = n > sizeof(sent) - at ? sizeof(sent) - at : n;
            telnet_encode(a, sent + at, n);
            at += n;
            size_t size = drain(a, wire);
            assert_true(count + size < sizeof(got) + sizeof(wire));
            count += telnet_decode(b, wire, size, got + count);
        }
        assert_int_equal(count, sizeof(sent));
        assert_memory_equal(got, sent, count);
        says_nothing(b);
        free(a);
        free(b);
    }
}

static void line_ends(void **state)
{
    (void)state;
    Telnet *t = started(TELNET_ON, TELNET_CALLED);
    uint8_t ignored[TELNET_WIRE];
    drain(t, ignored);
    hears(t, BYTES('a', '\r', 0, 'b', '\r', '\n', 'c', '\r', 'd'), "a\rb\r\nc\rd");
    uint8_t out[16];
    assert_int_equal(telnet_decode(t, BYTES('\r', IAC, IAC, 0, '\r', 'x', 0), out), 6);
    assert_memory_equal(out, "\r\xff\0\rx\0", 6);
    telnet_encode(t, BYTES('\r', '\n', '\r', '\r', 'x', '\r', 0xff, '\r'));
    says(t, BYTES('\r', '\n', '\r', 0, '\r', 0, 'x', '\r', 0, 0xff, 0xff, '\r'));
    telnet_encode(t, BYTES('\n'));
    says(t, BYTES('\n'));
    free(t);
}

static void commands_are_no_data(void **state)
{
    (void)state;
    Telnet *t = started(TELNET_ON, TELNET_CALLED);
    uint8_t ignored[TELNET_WIRE];
    drain(t, ignored);
    hears(t, BYTES('a', IAC, 241, 'b', IAC, BREAK, 'c', IAC, 249, 'd', IAC, 0x20, 'e'), "abcde");
    assert_true(t->broke);
    hears(t, BYTES('1', IAC, SB, TTYPE, 1, IAC, IAC, 240, IAC, 240, '2'), "12");
    says_nothing(t);
    hears(t, BYTES(IAC, AYT), "");
    says(t, BYTES('\r', '\n', '[', 'Y', 'e', 's', ']', '\r', '\n'));
    free(t);
    t = started(TELNET_ON, TELNET_CALLER);
    drain(t, ignored);
    hears(t, BYTES(IAC, AYT, 'x'), "x");
    says_nothing(t);
    free(t);
}

/* A sub-negotiation that never ends cannot swallow the rest of the call. */
static void a_sub_negotiation_has_an_end(void **state)
{
    (void)state;
    Telnet *t = started(TELNET_ON, TELNET_CALLER);
    hears(t, BYTES(IAC, SB, NAWS), "");
    uint8_t filler[1025], out[sizeof(filler) + TELNET_HELD];
    memset(filler, 'f', sizeof(filler));
    size_t first = telnet_decode(t, filler, sizeof(filler), out);
    assert_in_range(first, 1, sizeof(filler) - 1);
    assert_int_equal(telnet_decode(t, filler, sizeof(filler), out), sizeof(filler));
    free(t);
}

/* The same bytes at once, and cut in two at every place, and one by one. */
static void cuts_change_nothing(void **state)
{
    (void)state;
    static const uint8_t in[] = {
        'h', 'i', IAC, WILL, ECHO, IAC,    WILL, SGA, IAC, DO,  TTYPE, '\r', 0,   'x', IAC,
        IAC, 'y', IAC, SB,   24,   1,      IAC,  IAC, IAC, 240, 'z',   '\r', IAC, DO,  BINARY,
        0,   IAC, AYT, IAC,  WILL, BINARY, '\r', 0,   'q', IAC, WONT,  ECHO, '!'};
    static const TelnetMode modes[] = {TELNET_OFF, TELNET_AUTO, TELNET_ON};
    for (unsigned m = 0; m < 6; m++) {
        uint8_t whole[sizeof(in) + TELNET_HELD], data[sizeof(in) + TELNET_HELD];
        uint8_t said[TELNET_WIRE], wire[TELNET_WIRE];
        Telnet *t = started(modes[m / 2], m & 1 ? TELNET_CALLED : TELNET_CALLER);
        size_t count = telnet_decode(t, in, sizeof(in), whole);
        size_t answers = drain(t, said);
        assert_true(m < 2 ? count == sizeof(in) && answers == 0 : count < sizeof(in) && answers);
        for (size_t cut = 0; cut <= sizeof(in); cut++) {
            telnet_start(t, modes[m / 2], m & 1 ? TELNET_CALLED : TELNET_CALLER);
            size_t n = telnet_decode(t, in, cut, data), w = 0;
            if (cut == 0) {
                for (; w < sizeof(in); w++) {
                    n += telnet_decode(t, in + w, 1, data + n);
                }
            } else {
                n += telnet_decode(t, in + cut, sizeof(in) - cut, data + n);
            }
            assert_int_equal(n, count);
            assert_memory_equal(data, whole, count);
            assert_int_equal(drain(t, wire), answers);
            assert_memory_equal(wire, said, answers);
        }
        free(t);
    }
}

static void plain_lines_stay_plain(void **state)
{
    (void)state;
    static const struct {
        uint8_t in[8];
        size_t size;
    } lines[] = {
        {{0x7e, 0xff, 0x7d, 0x23}, 4},             /* PPP */
        {{0xc0, IAC, WILL, ECHO}, 4},              /* SLIP; what follows is data */
        {{IAC, IAC, WILL, ECHO}, 4},               /* no negotiation */
        {{'a', IAC, DO, 0xfe, IAC, WILL, SGA}, 7}, /* no option */
        {{IAC, 'x', IAC, WILL, SGA}, 5},
        {{'e', 'n', 'd', IAC}, 4},
        {{'e', 'n', 'd', IAC, DO}, 5},
    };
    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        uint8_t out[8 + TELNET_HELD];
        Telnet *t = started(TELNET_AUTO, TELNET_CALLER);
        size_t n = telnet_decode(t, lines[i].in, lines[i].size, out);
        n += telnet_finish(t, out + n);
        assert_int_equal(n, lines[i].size);
        assert_memory_equal(out, lines[i].in, n);
        telnet_encode(t, BYTES('\r', 0xff, 'x'));
        says(t, BYTES('\r', 0xff, 'x'));
        free(t);
    }
}

static void auto_looks_at_the_beginning_only(void **state)
{
    (void)state;
    uint8_t text[256], out[sizeof(text) + TELNET_HELD];
    memset(text, 't', sizeof(text));
    for (size_t before = 253; before <= sizeof(text); before++) {
        Telnet *t = started(TELNET_AUTO, TELNET_CALLER);
        assert_int_equal(telnet_decode(t, text, before, out), before);
        bool plain = telnet_decode(t, BYTES(IAC, WILL, ECHO), out) == 3;
        assert_int_equal(plain, before >= 255);
        uint8_t wire[TELNET_WIRE];
        assert_int_equal(drain(t, wire) == 0, plain);
        free(t);
    }
}

/* Every option again and again, with nobody who reads the answers, and with one who does. */
static void a_storm_is_not_answered_for_ever(void **state)
{
    (void)state;
    size_t unread = 0;
    for (unsigned reads = 0; reads < 2; reads++) {
        Telnet *t = started(TELNET_ON, TELNET_CALLED);
        uint8_t wire[TELNET_WIRE];
        size_t said = 0, last = 0;
        for (unsigned round = 0; round < 4000; round++) {
            last = said;
            for (unsigned i = 0; i < 1024; i++) {
                hears(t, BYTES(IAC, (uint8_t)(WILL + i % 4), (uint8_t)(i / 4)), "");
            }
            hears(t, BYTES(IAC, AYT), "");
            assert_true(t->count <= TELNET_WIRE);
            said += reads ? drain(t, wire) : 0;
        }
        assert_int_equal(said, last);
        unread = reads ? unread : t->count;
        assert_in_range(unread, 1500, TELNET_WIRE - 1); /* all that can be had fits */
        assert_int_equal(said, reads ? unread : 0);
        hears(t, BYTES('o', 'k'), "ok");
        free(t);
    }
}

/* Data leaves room for answers, and what does not fit is left out rather than written elsewhere. */
static void the_wire_has_an_end(void **state)
{
    (void)state;
    static uint8_t full[TELNET_WIRE * 2], wire[TELNET_WIRE];
    Telnet *t = started(TELNET_ON, TELNET_CALLER);
    memset(full, 0xff, sizeof(full));
    size_t room = telnet_room(t), count = t->count;
    telnet_encode(t, full, sizeof(full));
    assert_int_equal(t->count, count + 2 * room);
    assert_int_equal(telnet_room(t), 0);
    for (unsigned i = 0; i < 2000; i++) {
        hears(t, BYTES(IAC, WILL, (uint8_t)i, IAC, DO, (uint8_t)i), "");
        hears(t, BYTES(IAC, WONT, SGA, IAC, WILL, SGA), "");
    }
    assert_true(t->count <= TELNET_WIRE);
    assert_true(drain(t, wire) > count + 2 * room);
    says_nothing(t);
    free(t);
}

static void words(void **state)
{
    (void)state;
    TelnetMode mode = TELNET_OFF;
    assert_true(telnet_mode("auto", &mode) && mode == TELNET_AUTO);
    assert_true(telnet_mode("on", &mode) && mode == TELNET_ON);
    assert_true(telnet_mode("off", &mode) && mode == TELNET_OFF);
    assert_false(telnet_mode("", &mode) || telnet_mode("one", &mode));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offers),
        cmocka_unit_test(only_changes_are_answered),
        cmocka_unit_test(two_of_us_agree),
        cmocka_unit_test(every_byte_comes_through),
        cmocka_unit_test(line_ends),
        cmocka_unit_test(commands_are_no_data),
        cmocka_unit_test(a_sub_negotiation_has_an_end),
        cmocka_unit_test(cuts_change_nothing),
        cmocka_unit_test(plain_lines_stay_plain),
        cmocka_unit_test(auto_looks_at_the_beginning_only),
        cmocka_unit_test(a_storm_is_not_answered_for_ever),
        cmocka_unit_test(the_wire_has_an_end),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests_name("telnet", tests, NULL, NULL);
}
