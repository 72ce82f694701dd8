/* MPU-401: how programs find it, UART mode, the cable, interrupts, a state that sets the
 * synthesizer up again; intelligent mode: tracks and conductor at their times, clock to the host,
 * messages sent at once, recording. */
#include "chipset/cards/mpu401.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/chip.h"

typedef struct Fixture {
    Board *b;
    Mpu401 *mpu;
    Probe irq;
    CharSink sink;
    uint8_t heard[4096];
    int64_t heard_ns[4096];
    size_t size;
    /* what the host answers when it is asked for a track's or the conductor's next event */
    const char *list[9];
    unsigned at[9], asked[9];
    uint8_t told[4096]; /* by the interface, but what asks */
    int64_t told_ns[4096];
    size_t tellings;
    unsigned readies;
} Fixture;

#define MS INT64_C(1000000)

static void cable_write(void *backend, const uint8_t *data, size_t size)
{
    Fixture *f = backend;
    for (size_t i = 0; i < size && f->size < sizeof(f->heard); i++) {
        f->heard_ns[f->size] = clock_now(&f->b->clock);
        f->heard[f->size++] = data[i];
    }
}

static void cable_attach(void *backend, const CharSink *sink)
{
    ((Fixture *)backend)->sink = *sink;
}

static void cable_ready(void *backend)
{
    ((Fixture *)backend)->readies++;
}

static const CharOps cable = {.write = cable_write, .attach = cable_attach, .ready = cable_ready};

static void fixture(Fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->b = chip_board();
    f->mpu = mpu401_new(
        f->b, &(Mpu401Config){.base = 0x330, .irq = chip_probe(f->b, &f->irq), .midi = {&cable, f}},
        "mpu401");
    board_reset(f->b, RESET_POWER);
    f->size = 0;
}

static bool heard(const Fixture *f, const char *bytes, size_t size)
{
    return memmem(f->heard, f->size, bytes, size) != NULL;
}

static void programs_find_it(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_int_equal(chip_in(f.b, 0x331) & 0xc0, 0x80); /* nothing to read, ready to take */
    chip_out(f.b, 0x331, 0xff);
    assert_int_equal(chip_in(f.b, 0x331) & 0x80, 0);
    assert_true(f.irq.level);
    assert_int_equal(chip_in(f.b, 0x330), 0xfe);
    assert_false(f.irq.level);
    assert_int_equal(chip_in(f.b, 0x331) & 0x80, 0x80);
    chip_out(f.b, 0x331, 0xac);
    assert_int_equal(chip_in(f.b, 0x330), 0xfe);
    assert_int_equal(chip_in(f.b, 0x330), 0x15);
    board_free(f.b);
}

static void uart_mode_passes_bytes_both_ways(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x331, 0x3f);
    assert_int_equal(chip_in(f.b, 0x330), 0xfe);
    static const uint8_t note[] = {0x90, 60, 100};
    for (unsigned i = 0; i < 3; i++) {
        chip_out(f.b, 0x330, note[i]);
    }
    assert_int_equal(f.size, 3);
    assert_memory_equal(f.heard, note, 3);
    f.sink.receive(f.sink.self, note, 3);
    assert_true(f.irq.level);
    assert_int_equal(chip_in(f.b, 0x330), 0x90);
    assert_int_equal(chip_in(f.b, 0x330), 60);
    assert_int_equal(chip_in(f.b, 0x330), 100);
    assert_false(f.irq.level);
    uint8_t many[200] = {0};
    assert_int_equal(f.sink.room(f.sink.self), 64);
    f.sink.receive(f.sink.self, many, sizeof(many)); /* more than there is room for */
    assert_int_equal(f.sink.room(f.sink.self), 0);
    chip_out(f.b, 0x331, 0xff); /* leaves the mode without a word */
    assert_int_equal(chip_in(f.b, 0x331) & 0x80, 0x80);
    chip_out(f.b, 0x331, 0xff);
    assert_int_equal(chip_in(f.b, 0x330), 0xfe);
    board_free(f.b);
}

static void a_reset_ends_the_notes(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x330, 0x95);
    chip_out(f.b, 0x330, 60);
    chip_out(f.b, 0x330, 1);
    board_reset(f.b, RESET_HARD);
    assert_true(heard(&f, "\xb5\x78\x00", 3));
    board_free(f.b);
}

static void a_loaded_state_sets_the_synthesizer_up(void **state)
{
    (void)state;
    Fixture f, other;
    fixture(&f);
    fixture(&other);
    static const uint8_t song[] = {0xc3, 17,   0xb3, 7, 99,   0xe3, 1, 80, 0x93, 60,   100, 64,
                                   90,   0xf8, 60,   0, 0xf0, 1,    2, 3,  0xf7, 0x93, 67};
    for (size_t i = 0; i < sizeof(song); i++) {
        chip_out(f.b, 0x330, song[i]);
    }
    chip_state_round_trip(f.b, other.b);
    assert_true(heard(&other, "\xc3\x11", 2));
    assert_true(heard(&other, "\xb3\x07\x63", 3));
    assert_true(heard(&other, "\xe3\x01\x50", 3));
    assert_true(heard(&other, "\x93\x40\x5a", 3)); /* the note still held */
    assert_false(heard(&other, "\x93\x3c", 2));    /* not the one that ended */
    assert_memory_equal(other.heard + other.size - 2, "\x93\x43", 2);
    board_free(other.b);
    board_free(f.b);
}

/* --- intelligent mode --- */

/* A driver's interrupt: reads all that waits, and answers what asks. Events are strings of two hex
 * digits a byte, a blank between events. */
static void serve(Fixture *f)
{
    while (!(chip_in(f->b, 0x331) & 0x80)) {
        uint8_t value = chip_in(f->b, 0x330);
        unsigned n = value == 0xf9 ? 8 : value - 0xf0u;
        if (n > 8 || value == 0xf8) {
            f->told_ns[f->tellings] = clock_now(&f->b->clock);
            f->told[f->tellings++ % sizeof(f->told)] = value;
            continue;
        }
        f->asked[n]++;
        const char *text = f->list[n] + f->at[n];
        unsigned byte;
        for (; sscanf(text, "%2x", &byte) == 1; text += 2) {
            chip_out(f->b, 0x330, (uint8_t)byte);
            if (text[2] != ' ' && text[2] != '\0') {
                continue;
            }
            text += text[2] == ' ' ? 3 : 2;
            break;
        }
        f->at[n] = (unsigned)(text - f->list[n]);
    }
}

static void order(Fixture *f, uint8_t command)
{
    chip_out(f->b, 0x331, command);
    serve(f);
}

static void order_with(Fixture *f, uint8_t command, uint8_t value)
{
    order(f, command);
    chip_out(f->b, 0x330, value);
}

static void pass(Fixture *f, int64_t ns)
{
    for (; ns > 0; ns -= MS) {
        clock_step(&f->b->clock, MS);
        if (f->irq.level) {
            serve(f);
        }
    }
}

/* 125 beats a minute of 120 ticks: 4 ms a tick. */
static void intelligent(Fixture *f)
{
    fixture(f);
    clock_step(&f->b->clock, 10 * MS);
    for (unsigned i = 0; i < 9; i++) {
        f->list[i] = "00FC";
    }
    order(f, 0xff);
    order_with(f, 0xe0, 125);
    order(f, 0xc5);
    order(f, 0xb8);
    f->tellings = 0;
}

static void heard_at(const Fixture *f, const char *bytes, size_t size, int64_t ns)
{
    const uint8_t *at = memmem(f->heard, f->size, bytes, size);
    assert_non_null(at);
    int64_t when = f->heard_ns[at - f->heard];
    assert_in_range(when, ns - MS, ns + MS);
}

static void tracks_play_at_their_times(void **state)
{
    (void)state;
    Fixture f;
    intelligent(&f);
    f.list[0] = "00903C64 0A3C00 05F9 05FC"; /* running status, a measure's end, the track's */
    f.list[2] = "F8 0AC205 00FC";            /* 240 ticks and ten more */
    order_with(&f, 0xec, 0x05);
    int64_t start = clock_now(&f.b->clock);
    order(&f, 0x08);
    pass(&f, 1500 * MS);
    assert_int_equal(f.size, 8);
    heard_at(&f, "\x90\x3c\x64", 3, start);
    heard_at(&f, "\x90\x3c\x00", 3, start + 40 * MS);
    heard_at(&f, "\xc2\x05", 2, start + 1000 * MS);
    assert_int_equal(f.asked[0], 4);
    assert_int_equal(f.asked[1], 0);
    assert_int_equal(f.asked[2], 3);
    assert_int_equal(f.told[f.tellings - 1], 0xfc); /* all have ended */
    assert_in_range(f.told_ns[f.tellings - 1], start + 999 * MS, start + 1002 * MS);
    assert_int_equal(clock_next_due(&f.b->clock), CLOCK_NEVER);
    board_free(f.b);
}

static void a_late_answer_keeps_the_beat(void **state)
{
    (void)state;
    Fixture f;
    intelligent(&f);
    f.list[0] = "0A903C64 0A903E64 0A904064 00FC";
    order_with(&f, 0xec, 0x01);
    int64_t start = clock_now(&f.b->clock);
    order(&f, 0x08);
    while (!f.irq.level) {
        clock_step(&f.b->clock, MS);
    }
    clock_step(&f.b->clock, 22 * MS); /* the host has something else to do */
    serve(&f);
    while (!f.irq.level) {
        clock_step(&f.b->clock, MS);
    }
    clock_step(&f.b->clock, 70 * MS); /* even past the time */
    pass(&f, 50 * MS);
    heard_at(&f, "\x90\x3c\x64", 3, start + 40 * MS);
    heard_at(&f, "\x90\x3e\x64", 3, start + 80 * MS);
    heard_at(&f, "\x90\x40\x64", 3, start + 151 * MS);
    board_free(f.b);
}

static void stopping_ends_the_notes_and_goes_on_later(void **state)
{
    (void)state;
    Fixture f;
    intelligent(&f);
    f.list[0] = "00903C64 64903E64 64FC";
    order_with(&f, 0xec, 0x01);
    order(&f, 0x0a); /* with MIDI's own start, and its clock */
    assert_int_equal(f.heard[0], 0xfa);
    pass(&f, 200 * MS);
    assert_true(heard(&f, "\xf8\xf8\xf8", 3));
    order(&f, 0x05);
    assert_memory_equal(f.heard + f.size - 4, "\xfc\x80\x3c\x40", 4);
    size_t size = f.size;
    pass(&f, 1000 * MS);
    assert_int_equal(f.size, size);
    int64_t again = clock_now(&f.b->clock);
    order(&f, 0x08);
    pass(&f, 300 * MS);
    heard_at(&f, "\x90\x3e\x64", 3, again + 200 * MS);
    board_free(f.b);
}

static void the_conductor_changes_the_tempo(void **state)
{
    (void)state;
    Fixture f;
    intelligent(&f);
    f.list[8] = "32E0FA 00FC"; /* after 50 ticks: 250 beats a minute */
    f.list[0] = "64903C64 00FC";
    order_with(&f, 0xec, 0x01);
    order(&f, 0x8f);
    int64_t start = clock_now(&f.b->clock);
    order(&f, 0x08);
    pass(&f, 500 * MS);
    heard_at(&f, "\x90\x3c\x64", 3, start + 50 * 4 * MS + 50 * 2 * MS);
    assert_int_equal(f.told[f.tellings - 1], 0xfc);
    order(&f, 0xaf);
    assert_int_equal(f.told[f.tellings - 1], 250);
    board_free(f.b);
}

static void the_host_is_told_the_clock(void **state)
{
    (void)state;
    Fixture f;
    intelligent(&f);
    order_with(&f, 0xe7, 60); /* each 15 ticks */
    f.tellings = 0;
    order(&f, 0x95);
    int64_t start = clock_now(&f.b->clock);
    pass(&f, 601 * MS);
    assert_int_equal(f.tellings, 1 + 10);
    for (unsigned i = 1; i <= 10; i++) {
        assert_int_equal(f.told[i], 0xfd);
        assert_in_range(f.told_ns[i], start + i * 60 * MS - MS, start + i * 60 * MS + MS);
    }
    clock_step(&f.b->clock, 60000 * MS); /* nobody reads: there is still room for an answer */
    chip_out(f.b, 0x331, 0x94);
    serve(&f);
    assert_int_equal(f.told[f.tellings - 1], 0xfe);
    assert_int_equal(clock_next_due(&f.b->clock), CLOCK_NEVER);
    board_free(f.b);
}

static void messages_are_sent_at_once(void **state)
{
    (void)state;
    Fixture f;
    intelligent(&f);
    order_with(&f, 0xd3, 0x95);
    chip_out(f.b, 0x330, 0x3c);
    chip_out(f.b, 0x330, 0x40);
    order_with(&f, 0xd3, 0x3e); /* the track's running status */
    chip_out(f.b, 0x330, 0x41);
    order_with(&f, 0xd0, 0xc1);
    chip_out(f.b, 0x330, 0x05);
    order_with(&f, 0xdf, 0xf0);
    chip_out(f.b, 0x330, 0x41);
    chip_out(f.b, 0x330, 0xf7);
    static const uint8_t all[] = {0x95, 0x3c, 0x40, 0x95, 0x3e, 0x41, 0xc1, 0x05, 0xf0, 0x41, 0xf7};
    assert_int_equal(f.size, sizeof(all));
    assert_memory_equal(f.heard, all, sizeof(all));
    board_free(f.b);
}

static void what_comes_in_is_recorded_with_its_times(void **state)
{
    (void)state;
    Fixture f;
    intelligent(&f);
    static const uint8_t song[] = {0x90, 0x3c, 0x40, 0x3c, 0x00, 0xf8, 0xf0, 0x01, 0xf7, 0xc0, 7};
    f.sink.receive(f.sink.self, song, 3); /* not asked for */
    serve(&f);
    assert_int_equal(f.tellings, 0);
    order(&f, 0x20);
    f.tellings = 0;
    pass(&f, 500 * MS);
    f.sink.receive(f.sink.self, song, 3); /* here it begins */
    pass(&f, 40 * MS);
    f.sink.receive(f.sink.self, song + 3, 2);
    pass(&f, 1000 * MS);
    f.sink.receive(f.sink.self, song + 5, 6);
    pass(&f, 20 * MS);
    order(&f, 0x11);
    static const uint8_t all[] = {0,    0x90, 0x3c, 0x40, 10,   0x90, 0x3c, 0x00,
                                  0xf8, 10,   0xc0, 7,    0xfe, 5,    0xfc};
    assert_int_equal(f.tellings, sizeof(all));
    assert_memory_equal(f.told, all, sizeof(all));
    assert_int_equal(clock_next_due(&f.b->clock), CLOCK_NEVER);
    board_free(f.b);
}

static void clearing_takes_back_what_was_asked(void **state)
{
    (void)state;
    Fixture f;
    intelligent(&f);
    order_with(&f, 0xec, 0xff);
    chip_out(f.b, 0x331, 0x08);
    chip_out(f.b, 0x331, 0x05);
    chip_out(f.b, 0x331, 0xb8);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(chip_in(f.b, 0x330), 0xfe);
    }
    assert_false(f.irq.level);
    chip_out(f.b, 0x331, 0x08);
    serve(&f);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(f.asked[i], 1);
    }
    board_free(f.b);
}

static void state_goes_on_in_the_middle_of_a_song(void **state)
{
    (void)state;
    Fixture f, other;
    intelligent(&f);
    intelligent(&other);
    f.list[0] = other.list[0] = "00903C64 0A3C00 0A3C64 0A3C00 0A3C64 0A3C00 0A3C64 0A3C00 00FC";
    f.list[1] = other.list[1] = "05B10764 0DC105 1EE10040 14914040 00FC";
    order_with(&f, 0xec, 0x03);
    order(&f, 0x95);
    order(&f, 0x0a);
    pass(&f, 100 * MS);
    clock_step(&f.b->clock, 25 * MS); /* with a question open */
    chip_state_round_trip(f.b, other.b);
    memcpy(other.at, f.at, sizeof(f.at));
    f.size = other.size = f.tellings = other.tellings = 0;
    pass(&f, 1000 * MS);
    pass(&other, 1000 * MS);
    assert_true(f.size > 20);
    assert_int_equal(f.size, other.size);
    assert_memory_equal(f.heard, other.heard, f.size);
    assert_memory_equal(f.heard_ns, other.heard_ns, f.size * sizeof(f.heard_ns[0]));
    assert_int_equal(f.tellings, other.tellings);
    assert_memory_equal(f.told, other.told, f.tellings);
    board_free(other.b);
    board_free(f.b);
}

static size_t full(void *self)
{
    (void)self;
    return 0;
}

static void swallow(void *self, const uint8_t *data, size_t size)
{
    (void)self, (void)data, (void)size;
}

/* The card's DSP hangs on the same cable. Input that waits for it goes on when this end takes all.
 */
static void the_cables_other_end_may_be_full(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    CharPort second = mpu401_cable(f.mpu);
    second.ops->attach(second.backend, &(CharSink){.receive = swallow, .room = full});
    assert_int_equal(f.sink.room(f.sink.self), 0);
    unsigned readies = f.readies;
    second.ops->ready(second.backend);
    assert_int_equal(f.readies, readies + 1);
    chip_out(f.b, 0x331, 0x3f);
    assert_int_equal(f.readies, readies + 2);
    assert_int_equal(f.sink.room(f.sink.self), 63);
    board_free(f.b);
}

static void random_bytes_break_nothing(void **state)
{
    (void)state;
    Fixture f, other;
    fixture(&f);
    fixture(&other);
    srand(99);
    for (unsigned i = 0; i < 100000; i++) {
        f.size = other.size = 0;
        if (rand() & 3) {
            chip_out(f.b, (uint16_t)(0x330 + rand() % 16 / 15), (uint8_t)rand());
        } else {
            chip_in(f.b, (uint16_t)(0x330 + rand() % 2));
        }
        if (i % 5000 == 0) {
            chip_state_round_trip(f.b, other.b);
        }
    }
    board_free(other.b);
    board_free(f.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_find_it),
        cmocka_unit_test(uart_mode_passes_bytes_both_ways),
        cmocka_unit_test(a_reset_ends_the_notes),
        cmocka_unit_test(a_loaded_state_sets_the_synthesizer_up),
        cmocka_unit_test(tracks_play_at_their_times),
        cmocka_unit_test(a_late_answer_keeps_the_beat),
        cmocka_unit_test(stopping_ends_the_notes_and_goes_on_later),
        cmocka_unit_test(the_conductor_changes_the_tempo),
        cmocka_unit_test(the_host_is_told_the_clock),
        cmocka_unit_test(messages_are_sent_at_once),
        cmocka_unit_test(what_comes_in_is_recorded_with_its_times),
        cmocka_unit_test(clearing_takes_back_what_was_asked),
        cmocka_unit_test(state_goes_on_in_the_middle_of_a_song),
        cmocka_unit_test(the_cables_other_end_may_be_full),
        cmocka_unit_test(random_bytes_break_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
