/* 8259A pair: priorities, rotation, masks, special modes, poll, spurious levels, ELCR, state. */
#include "tests/unit/pic_rig.h"

static void serves_by_priority_and_nests(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_false(f.intr.level);
    line_set(&f.irq[4], true);
    line_set(&f.irq[3], true);
    assert_true(f.intr.level);
    assert_int_equal(irr(f.b, 0x20), 0x18);
    assert_int_equal(pic_acknowledge(f.pic), 0x0b);
    assert_false(f.intr.level); /* 4 waits behind 3 */
    assert_int_equal(irr(f.b, 0x20), 0x10);
    assert_int_equal(isr(f.b, 0x20), 0x08);
    line_set(&f.irq[0], true);
    assert_true(f.intr.level);
    assert_int_equal(pic_acknowledge(f.pic), 0x08);
    assert_int_equal(isr(f.b, 0x20), 0x09);
    chip_out(f.b, 0x20, 0x20); /* ends the highest */
    assert_int_equal(isr(f.b, 0x20), 0x08);
    chip_out(f.b, 0x20, 0x63); /* specific, 3 */
    assert_int_equal(isr(f.b, 0x20), 0);
    assert_int_equal(pic_acknowledge(f.pic), 0x0c);
    board_free(f.b);
}

static void masks_hide_but_keep_requests(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x21, 0x10);
    assert_int_equal(chip_in(f.b, 0x21), 0x10);
    line_set(&f.irq[4], true);
    assert_false(f.intr.level);
    assert_int_equal(irr(f.b, 0x20), 0x10);
    chip_out(f.b, 0x21, 0);
    assert_true(f.intr.level);
    board_free(f.b);
}

static void edge_mode_needs_a_new_edge(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_set(&f.irq[5], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x0d);
    chip_out(f.b, 0x20, 0x20);
    assert_false(f.intr.level); /* still high, but served */
    line_set(&f.irq[5], false);
    line_set(&f.irq[5], true);
    assert_true(f.intr.level);
    board_free(f.b);
}

static void level_mode_asks_again_while_high(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x4d0, 0xff);
    chip_out(f.b, 0x4d1, 0xff);
    assert_int_equal(chip_in(f.b, 0x4d0), 0xf8); /* 0..2, 8 and 13 are always edges */
    assert_int_equal(chip_in(f.b, 0x4d1), 0xde);
    line_set(&f.irq[5], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x0d);
    assert_false(f.intr.level);
    chip_out(f.b, 0x20, 0x20);
    assert_true(f.intr.level);
    line_set(&f.irq[5], false);
    assert_false(f.intr.level);
    board_free(f.b);
}

static void shared_request_is_up_while_one_source_is(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    Line other = pic_input(f.pic, 11);
    chip_out(f.b, 0x4d1, 0x08);
    line_set(&f.irq[11], true);
    line_set(&other, true);
    line_set(&f.irq[11], false);
    assert_int_equal(pic_acknowledge(f.pic), 0x73);
    chip_out(f.b, 0xa0, 0x20);
    chip_out(f.b, 0x20, 0x20);
    assert_true(f.intr.level);
    line_set(&other, false);
    assert_false(f.intr.level);
    board_free(f.b);
}

static void withdrawn_request_is_spurious_7_without_service(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_pulse(&f.irq[3]);
    assert_false(f.intr.level);
    assert_int_equal(pic_acknowledge(f.pic), 0x0f);
    assert_int_equal(isr(f.b, 0x20), 0);
    board_free(f.b);
}

static void polled_slave_request_leaves_spurious_7(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_set(&f.irq[12], true);
    chip_out(f.b, 0xa0, 0x0c);
    assert_int_equal(chip_in(f.b, 0xa0), 0x84);
    assert_int_equal(pic_acknowledge(f.pic), 0x0f);
    assert_int_equal(isr(f.b, 0xa0), 0x10);
    assert_int_equal(isr(f.b, 0x20), 0);
    board_free(f.b);
}

static void slave_request_needs_both_ends_of_interrupt(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_set(&f.irq[14], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x76);
    assert_int_equal(isr(f.b, 0x20), 0x04);
    assert_int_equal(isr(f.b, 0xa0), 0x40);
    line_set(&f.irq[8], true);
    assert_false(f.intr.level); /* fully nested: IR2 in service holds the slave back */
    chip_out(f.b, 0x20, 0x20);
    assert_true(f.intr.level); /* 8 is above 14 in the slave */
    assert_int_equal(pic_acknowledge(f.pic), 0x70);
    chip_out(f.b, 0xa0, 0x20);
    chip_out(f.b, 0xa0, 0x20);
    chip_out(f.b, 0x20, 0x20);
    assert_int_equal(isr(f.b, 0xa0), 0);
    board_free(f.b);
}

static void second_slave_request_makes_a_new_edge(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_set(&f.irq[12], true);
    line_set(&f.irq[14], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x74);
    chip_out(f.b, 0xa0, 0x20);
    assert_false(f.intr.level);
    chip_out(f.b, 0x20, 0x20);
    assert_true(f.intr.level);
    assert_int_equal(pic_acknowledge(f.pic), 0x76);
    board_free(f.b);
}

static void special_fully_nested_lets_the_slave_in(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    program(f.b, 0x20, 0x11, 0x08, 0x11);
    line_set(&f.irq[14], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x76);
    line_set(&f.irq[8], true);
    assert_true(f.intr.level);
    line_set(&f.irq[3], true); /* below the slave on the master: still held back */
    assert_int_equal(pic_acknowledge(f.pic), 0x70);
    assert_false(f.intr.level);
    board_free(f.b);
}

static void special_mask_mode_opens_lower_levels(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_set(&f.irq[3], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x0b);
    line_set(&f.irq[6], true);
    assert_false(f.intr.level);
    chip_out(f.b, 0x21, 0x08);
    assert_false(f.intr.level);
    chip_out(f.b, 0x20, 0x68); /* set special mask mode */
    assert_true(f.intr.level);
    assert_int_equal(pic_acknowledge(f.pic), 0x0e);
    chip_out(f.b, 0x20, 0x20); /* non-specific EOI spares the masked level 3 */
    assert_int_equal(isr(f.b, 0x20), 0x08);
    chip_out(f.b, 0x20, 0x20);
    assert_int_equal(isr(f.b, 0x20), 0x08);
    chip_out(f.b, 0x20, 0x48); /* reset special mask mode */
    chip_out(f.b, 0x20, 0x20);
    assert_int_equal(isr(f.b, 0x20), 0);
    board_free(f.b);
}

static void rotation(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_set(&f.irq[3], true);
    line_set(&f.irq[4], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x0b);
    chip_out(f.b, 0x20, 0xa0); /* rotate on non-specific EOI: 3 is now lowest */
    line_set(&f.irq[3], false);
    line_set(&f.irq[3], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x0c);
    chip_out(f.b, 0x20, 0xe4); /* rotate on specific EOI */
    line_set(&f.irq[5], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x0d);
    chip_out(f.b, 0x20, 0x65);
    chip_out(f.b, 0x20, 0xc2); /* set priority: 2 lowest, so 3 is highest */
    line_set(&f.irq[0], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x0b);
    board_free(f.b);
}

static void automatic_end_of_interrupt_with_rotation(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    program(f.b, 0x20, 0x11, 0x08, 0x03);
    line_set(&f.irq[3], true);
    line_set(&f.irq[4], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x0b);
    assert_int_equal(isr(f.b, 0x20), 0);
    assert_true(f.intr.level);
    assert_int_equal(pic_acknowledge(f.pic), 0x0c);
    chip_out(f.b, 0x20, 0x80); /* rotate in automatic EOI mode */
    line_set(&f.irq[0], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x08);
    line_set(&f.irq[0], false);
    line_set(&f.irq[0], true);
    line_set(&f.irq[1], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x09); /* 0 was sent to the end */
    board_free(f.b);
}

static void automatic_end_on_the_slave_does_not_lose_the_second(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    program(f.b, 0x20, 0x11, 0x08, 0x03);
    program(f.b, 0xa0, 0x11, 0x70, 0x03);
    line_set(&f.irq[12], true);
    line_set(&f.irq[14], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x74);
    assert_true(f.intr.level);
    assert_int_equal(pic_acknowledge(f.pic), 0x76);
    assert_false(f.intr.level);
    board_free(f.b);
}

static void poll_is_an_acknowledge(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x20, 0x0c);
    assert_int_equal(chip_in(f.b, 0x20) & 0x80, 0);
    line_set(&f.irq[6], true);
    chip_out(f.b, 0x20, 0x0c);
    assert_int_equal(chip_in(f.b, 0x20), 0x86);
    assert_false(f.intr.level);
    assert_int_equal(isr(f.b, 0x20), 0x40);
    assert_int_equal(chip_in(f.b, 0x20), 0x40); /* the poll lasts for one read */
    board_free(f.b);
}

static void initialisation_clears_masks_and_edges(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x21, 0xff);
    line_set(&f.irq[3], true);
    chip_out(f.b, 0x20, 0x11);
    assert_int_equal(chip_in(f.b, 0x20), 0); /* reads IRR; the edge is forgotten */
    chip_out(f.b, 0x21, 0x28);
    chip_out(f.b, 0x21, 0x04);
    chip_out(f.b, 0x21, 0x01);
    assert_int_equal(chip_in(f.b, 0x21), 0);
    assert_false(f.intr.level);
    line_set(&f.irq[3], false);
    line_set(&f.irq[3], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x2b);
    board_free(f.b);
}

static void int_may_be_connected_later(void **state)
{
    (void)state;
    Fixture f;
    Probe late;
    fixture(&f);
    line_set(&f.irq[3], true);
    pic_connect(f.pic, chip_probe(f.b, &late));
    assert_true(late.level);
    pic_acknowledge(f.pic);
    assert_false(late.level);
    board_free(f.b);
}

static void silent_until_programmed(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    board_reset(f.b, RESET_HARD);
    line_set(&f.irq[1], true);
    assert_false(f.intr.level);
    board_free(f.b);
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f, g;
    fixture(&f);
    fixture(&g);
    line_set(&f.irq[14], true);
    pic_acknowledge(f.pic);
    line_set(&f.irq[1], true);
    chip_out(f.b, 0x21, 0x40);
    chip_out(f.b, 0x4d1, 0x0e);
    chip_state_round_trip(f.b, g.b);
    assert_true(g.intr.level);
    assert_int_equal(pic_acknowledge(g.pic), 0x09);
    assert_int_equal(isr(g.b, 0xa0), 0x40);
    board_free(f.b);
    board_free(g.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_by_priority_and_nests),
        cmocka_unit_test(masks_hide_but_keep_requests),
        cmocka_unit_test(edge_mode_needs_a_new_edge),
        cmocka_unit_test(level_mode_asks_again_while_high),
        cmocka_unit_test(shared_request_is_up_while_one_source_is),
        cmocka_unit_test(withdrawn_request_is_spurious_7_without_service),
        cmocka_unit_test(polled_slave_request_leaves_spurious_7),
        cmocka_unit_test(slave_request_needs_both_ends_of_interrupt),
        cmocka_unit_test(second_slave_request_makes_a_new_edge),
        cmocka_unit_test(special_fully_nested_lets_the_slave_in),
        cmocka_unit_test(special_mask_mode_opens_lower_levels),
        cmocka_unit_test(rotation),
        cmocka_unit_test(automatic_end_of_interrupt_with_rotation),
        cmocka_unit_test(automatic_end_on_the_slave_does_not_lose_the_second),
        cmocka_unit_test(poll_is_an_acknowledge),
        cmocka_unit_test(initialisation_clears_masks_and_edges),
        cmocka_unit_test(int_may_be_connected_later),
        cmocka_unit_test(silent_until_programmed),
        cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
