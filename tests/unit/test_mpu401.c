/* MPU-401: how programs find it, UART mode, the cable, interrupts, a state that sets the
 * synthesizer up again. */
#include "chipset/cards/mpu401.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/chip.h"

typedef struct Fixture {
    Board *b;
    Mpu401 *mpu;
    Probe irq;
    CharSink sink;
    uint8_t heard[4096];
    size_t size;
} Fixture;

static void cable_write(void *backend, const uint8_t *data, size_t size)
{
    Fixture *f = backend;
    for (size_t i = 0; i < size && f->size < sizeof(f->heard); i++) {
        f->heard[f->size++] = data[i];
    }
}

static void cable_attach(void *backend, const CharSink *sink)
{
    ((Fixture *)backend)->sink = *sink;
}

static void cable_ready(void *backend)
{
    (void)backend;
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
        cmocka_unit_test(random_bytes_break_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
