/* Parallel port: strobe, busy and acknowledge, interrupt, direction, no cable, state. */
#include "chipset/lpt.h"

#include <string.h>

#include "tests/unit/chip.h"

enum { DATA = 0x378, STATUS, CONTROL };

typedef struct Paper {
    char text[64];
    size_t size;
} Paper;

static void paper_write(void *backend, const uint8_t *data, size_t size)
{
    Paper *paper = backend;
    memcpy(paper->text + paper->size, data, size);
    paper->size += size;
}

static const CharOps paper_ops = {.write = paper_write};

typedef struct Fixture {
    Board *b;
    Paper paper;
    Probe irq;
} Fixture;

static void fixture(Fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->b = chip_board();
    lpt_new(f->b,
            &(LptConfig){
                .base = 0x378, .irq = chip_probe(f->b, &f->irq), .port = {&paper_ops, &f->paper}},
            "lpt1");
    board_reset(f->b, RESET_POWER);
    chip_out(f->b, CONTROL, 0x0c);
}

static void print(Board *b, char c, uint8_t control)
{
    chip_out(b, DATA, (uint8_t)c);
    chip_out(b, CONTROL, control | 1);
    chip_out(b, CONTROL, control);
}

/* SeaBIOS polls for the acknowledge, may come late for its 5 us, and sends the next byte at once.
 */
static void an_acknowledge_waits_to_be_seen(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    print(f.b, 'A', 0x0c);
    clock_step(&f.b->clock, 1000000);
    assert_int_equal(chip_in(f.b, STATUS), 0x9a); /* not busy, acknowledged */
    assert_int_equal(chip_in(f.b, STATUS), 0xde);
    print(f.b, 'B', 0x0c);
    clock_step(&f.b->clock, 11000); /* within the pulse */
    assert_int_equal(chip_in(f.b, STATUS), 0x1e);
    print(f.b, 'C', 0x0c);
    clock_step(&f.b->clock, 20000);
    assert_int_equal(f.paper.size, 3);
    assert_int_equal(chip_in(f.b, STATUS), 0x9a);
    board_free(f.b);
}

static void strobe_prints_and_the_printer_is_busy_for_a_while(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_int_equal(chip_in(f.b, STATUS), 0xde);
    print(f.b, 'A', 0x0c);
    assert_int_equal(chip_in(f.b, STATUS), 0x5e);
    print(f.b, 'x', 0x0c); /* busy: not looked at */
    clock_step(&f.b->clock, 10000);
    assert_int_equal(chip_in(f.b, STATUS), 0x1e);
    clock_step(&f.b->clock, 5000);
    chip_in(f.b, STATUS);
    assert_int_equal(chip_in(f.b, STATUS), 0xde);
    print(f.b, 'B', 0x0c);
    assert_int_equal(f.paper.size, 2);
    assert_memory_equal(f.paper.text, "AB", 2);
    assert_int_equal(chip_in(f.b, CONTROL), 0xcc);
    board_free(f.b);
}

static void interrupt_comes_with_the_acknowledge(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    print(f.b, 'A', 0x1c);
    clock_step(&f.b->clock, 14999);
    assert_false(f.irq.level);
    clock_step(&f.b->clock, 1);
    assert_true(f.irq.level);
    assert_int_equal(chip_in(f.b, STATUS) & 0x04, 0);
    assert_false(f.irq.level);
    print(f.b, 'B', 0x1c);
    clock_step(&f.b->clock, 20000);
    assert_true(f.irq.level);
    print(f.b, 'C', 0x1c); /* a handler that never reads status gets its next edge all the same */
    assert_false(f.irq.level);
    clock_step(&f.b->clock, 20000);
    assert_int_equal(f.irq.rises, 3);
    chip_out(f.b, CONTROL, 0x0c);
    assert_false(f.irq.level);
    board_free(f.b);
}

static void init_resets_the_printer(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    print(f.b, 'A', 0x0c);
    chip_out(f.b, CONTROL, 0x08);
    assert_int_equal(chip_in(f.b, STATUS) & 0x80, 0);
    print(f.b, 'B', 0x08);
    assert_int_equal(f.paper.size, 1);
    chip_out(f.b, CONTROL, 0x0c);
    assert_int_equal(chip_in(f.b, STATUS), 0xde);
    board_free(f.b);
}

static void data_reads_back_unless_turned_to_input(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, DATA, 0x55);
    assert_int_equal(chip_in(f.b, DATA), 0x55);
    chip_out(f.b, CONTROL, 0x2c);
    assert_int_equal(chip_in(f.b, DATA), 0xff);
    board_free(f.b);
}

static void no_cable_shows(void **state)
{
    (void)state;
    Board *b = chip_board();
    lpt_new(b, &(LptConfig){.base = 0x378}, "lpt1");
    board_reset(b, RESET_POWER);
    chip_out(b, CONTROL, 0x0c);
    print(b, 'A', 0x0c);
    assert_int_equal(chip_in(b, STATUS), 0x7e); /* busy and out of paper */
    board_free(b);
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f, g;
    fixture(&f);
    fixture(&g);
    print(f.b, 'A', 0x1c);
    clock_step(&f.b->clock, 12000);
    chip_state_round_trip(f.b, g.b);
    clock_step(&g.b->clock, 3000);
    assert_true(g.irq.level);
    chip_state_round_trip(g.b, f.b);
    assert_true(f.irq.level);
    board_free(f.b);
    board_free(g.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_acknowledge_waits_to_be_seen),
        cmocka_unit_test(strobe_prints_and_the_printer_is_busy_for_a_while),
        cmocka_unit_test(interrupt_comes_with_the_acknowledge),
        cmocka_unit_test(init_resets_the_printer),
        cmocka_unit_test(data_reads_back_unless_turned_to_input),
        cmocka_unit_test(no_cable_shows),
        cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
