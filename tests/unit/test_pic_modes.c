/* 8259A: every order of priorities, each command of OCW2 and OCW3, what ICW1 clears, single and
 * slave chips, poll, and spurious levels: the data sheet's lists, one by one. test_pic.c has the
 * rest. */
#include "tests/unit/pic_rig.h"

static void edge(Fixture *f, unsigned irq)
{
    line_set(&f->irq[irq], false);
    line_set(&f->irq[irq], true);
}

/* Set priority: all pairs of requests under each lowest level, on the slave, which has all eight.
 */
static void every_order_of_priorities(void **state)
{
    (void)state;
    for (unsigned lowest = 0; lowest < 8; lowest++) {
        for (unsigned a = 0; a < 8; a++) {
            for (unsigned b = 0; b < 8; b++) {
                Fixture f;
                fixture(&f);
                chip_out(f.b, 0xa0, (uint8_t)(0xc0 | lowest));
                line_set(&f.irq[8 + a], true);
                line_set(&f.irq[8 + b], true);
                unsigned rank_a = (a - lowest - 1) & 7, rank_b = (b - lowest - 1) & 7;
                unsigned first = rank_a <= rank_b ? a : b;
                assert_int_equal(pic_acknowledge(f.pic), 0x70 | first);
                board_free(f.b);
            }
        }
    }
}

/* A level in service lets in what is above it in the turned order, and nothing else. */
static void nesting_in_every_order(void **state)
{
    (void)state;
    for (unsigned lowest = 0; lowest < 8; lowest++) {
        for (unsigned served = 0; served < 8; served++) {
            for (unsigned then = 0; then < 8; then++) {
                Fixture f;
                fixture(&f);
                chip_out(f.b, 0xa0, (uint8_t)(0xc0 | lowest));
                line_set(&f.irq[8 + served], true);
                assert_int_equal(pic_acknowledge(f.pic), 0x70 | served);
                chip_out(f.b, 0x20, 0x20); /* the master holds nothing back */
                edge(&f, 8 + then);
                bool above = ((then - lowest - 1) & 7) < ((served - lowest - 1) & 7);
                assert_int_equal(f.intr.level, above);
                board_free(f.b);
            }
        }
    }
}

/* Rotate on specific EOI: whatever level is named becomes the lowest, and is ended. */
static void rotate_on_specific_eoi(void **state)
{
    (void)state;
    for (unsigned level = 0; level < 8; level++) {
        Fixture f;
        fixture(&f);
        line_set(&f.irq[8 + level], true);
        assert_int_equal(pic_acknowledge(f.pic), 0x70 | level);
        chip_out(f.b, 0xa0, (uint8_t)(0xe0 | level));
        chip_out(f.b, 0x20, 0x20);
        assert_int_equal(isr(f.b, 0xa0), 0);
        for (unsigned i = 0; i < 8; i++) {
            edge(&f, 8 + i);
        }
        for (unsigned i = 1; i <= 8; i++) { /* all that follow it, and it last */
            assert_int_equal(pic_acknowledge(f.pic), 0x70 | ((level + i) & 7));
            chip_out(f.b, 0xa0, (uint8_t)(0x60 | ((level + i) & 7)));
            chip_out(f.b, 0x20, 0x20);
        }
        assert_false(f.intr.level);
        board_free(f.b);
    }
}

/* Rotate on non-specific EOI serves eight that always ask in turn. */
static void equal_priorities_by_rotation(void **state)
{
    (void)state;
    Fixture f;
    unsigned served[8] = {0};
    fixture(&f);
    for (unsigned i = 0; i < 8; i++) {
        line_set(&f.irq[8 + i], true);
    }
    for (unsigned turn = 0; turn < 80; turn++) {
        unsigned level = pic_acknowledge(f.pic) & 7;
        assert_int_equal(level, turn % 8);
        served[level]++;
        edge(&f, 8 + level);
        chip_out(f.b, 0xa0, 0xa0);
        chip_out(f.b, 0x20, 0x20);
    }
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(served[i], 10);
    }
    board_free(f.b);
}

static void commands_that_change_nothing(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_set(&f.irq[3], true);
    pic_acknowledge(f.pic);
    chip_out(f.b, 0x20, 0x43); /* OCW2: no operation */
    assert_int_equal(isr(f.b, 0x20), 0x08);
    chip_out(f.b, 0x20, 0x64); /* specific EOI of a level that is not served */
    assert_int_equal(isr(f.b, 0x20), 0x08);
    chip_out(f.b, 0x20, 0x20);
    chip_out(f.b, 0x20, 0x20); /* EOI with nothing in service */
    chip_out(f.b, 0x20, 0xa0); /* nor is anything rotated */
    assert_int_equal(isr(f.b, 0x20), 0);
    edge(&f, 0);
    edge(&f, 1);
    assert_int_equal(pic_acknowledge(f.pic), 0x08);
    board_free(f.b);
}

static void reads_go_on_as_the_last_command_said(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_set(&f.irq[3], true);
    pic_acknowledge(f.pic);
    line_set(&f.irq[5], true);
    chip_out(f.b, 0x20, 0x0b);
    assert_int_equal(chip_in(f.b, 0x20), 0x08);
    assert_int_equal(chip_in(f.b, 0x20), 0x08);
    chip_out(f.b, 0x20, 0x08); /* OCW3 without RR */
    assert_int_equal(chip_in(f.b, 0x20), 0x08);
    chip_out(f.b, 0x20, 0x48); /* nor does the special mask change it */
    assert_int_equal(chip_in(f.b, 0x20), 0x08);
    chip_out(f.b, 0x20, 0x20);
    assert_int_equal(chip_in(f.b, 0x20), 0x00);
    chip_out(f.b, 0x20, 0x0a);
    assert_int_equal(chip_in(f.b, 0x20), 0x20);
    assert_int_equal(chip_in(f.b, 0x21), 0x00); /* the mask is always at the other address */
    board_free(f.b);
}

/* ICW1: the list a..f of "Initialization Command Words", and what ICW4 would have set. */
static void icw1_clears(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    program(f.b, 0x20, 0x11, 0x08, 0x13); /* automatic EOI, special fully nested */
    chip_out(f.b, 0x20, 0x80);            /* rotate in automatic EOI mode */
    chip_out(f.b, 0x20, 0x6b);            /* special mask, read ISR */
    chip_out(f.b, 0x20, 0xc3);            /* 3 is the lowest */
    chip_out(f.b, 0x21, 0xa5);
    program(f.b, 0x20, 0x10, 0x08, 0); /* without ICW4 */
    assert_int_equal(chip_in(f.b, 0x21), 0);
    line_set(&f.irq[3], true);
    line_set(&f.irq[4], true);
    assert_int_equal(chip_in(f.b, 0x20), 0x18);     /* IRR */
    assert_int_equal(pic_acknowledge(f.pic), 0x0b); /* 7 is the lowest again */
    assert_int_equal(isr(f.b, 0x20), 0x08);         /* no automatic EOI */
    chip_out(f.b, 0x21, 0x08);
    assert_false(f.intr.level); /* no special mask */
    chip_out(f.b, 0x21, 0x00);
    chip_out(f.b, 0x20, 0x20);
    assert_int_equal(pic_acknowledge(f.pic), 0x0c);
    chip_out(f.b, 0x20, 0x20);
    line_set(&f.irq[14], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x76);
    edge(&f, 8);
    assert_false(f.intr.level); /* no special nesting */
    board_free(f.b);
}

static void icw1_ends_all_service(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_set(&f.irq[0], true);
    line_set(&f.irq[14], true);
    pic_acknowledge(f.pic);
    chip_out(f.b, 0x20, 0x20);
    pic_acknowledge(f.pic);
    assert_int_equal(isr(f.b, 0x20) | isr(f.b, 0xa0), 0x44);
    program(f.b, 0x20, 0x11, 0x08, 0x01);
    program(f.b, 0xa0, 0x11, 0x70, 0x01);
    assert_int_equal(isr(f.b, 0x20), 0);
    assert_int_equal(isr(f.b, 0xa0), 0);
    assert_int_equal(irr(f.b, 0xa0), 0); /* still up, but the edge is forgotten */
    assert_false(f.intr.level);
    board_free(f.b);
}

/* SNGL: no ICW3, and IR2 is an input like others. */
static void single(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    program(f.b, 0x20, 0x13, 0x40, 0x01);
    assert_int_equal(chip_in(f.b, 0x21), 0);
    chip_out(f.b, 0x21, 0x80); /* an OCW1 already */
    assert_int_equal(chip_in(f.b, 0x21), 0x80);
    line_set(&f.irq[14], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x42);
    assert_int_equal(isr(f.b, 0xa0), 0); /* the slave saw no INTA */
    board_free(f.b);
}

static void vectors_take_five_bits(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    program(f.b, 0x20, 0x11, 0xff, 0x01);
    program(f.b, 0xa0, 0x11, 0x0f, 0x01);
    line_set(&f.irq[1], true);
    assert_int_equal(pic_acknowledge(f.pic), 0xf9);
    chip_out(f.b, 0x20, 0x20);
    line_set(&f.irq[15], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x0f);
    board_free(f.b);
}

static void a_mask_during_service(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_set(&f.irq[3], true);
    pic_acknowledge(f.pic);
    chip_out(f.b, 0x21, 0x08); /* its own */
    line_set(&f.irq[5], true);
    assert_false(f.intr.level); /* still in service, and holds back */
    assert_int_equal(isr(f.b, 0x20), 0x08);
    chip_out(f.b, 0x20, 0x20);
    assert_int_equal(isr(f.b, 0x20), 0);
    assert_int_equal(pic_acknowledge(f.pic), 0x0d);
    board_free(f.b);
}

/* Special mask mode opens what is above and below, but not the masked level itself. */
static void special_mask_for_each_level(void **state)
{
    (void)state;
    for (unsigned served = 0; served < 8; served++) {
        for (unsigned then = 0; then < 8; then++) {
            Fixture f;
            fixture(&f);
            line_set(&f.irq[8 + served], true);
            pic_acknowledge(f.pic);
            chip_out(f.b, 0x20, 0x20);
            chip_out(f.b, 0xa1, (uint8_t)(1u << served));
            chip_out(f.b, 0xa0, 0x68);
            edge(&f, 8 + then);
            assert_int_equal(f.intr.level, then != served);
            chip_out(f.b, 0xa1, 0);
            bool again = then < served; /* unmasked, it holds back what is below, and itself */
            assert_int_equal(f.intr.level, again);
            board_free(f.b);
        }
    }
}

static void automatic_eoi_leaves_nothing_in_service(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    program(f.b, 0x20, 0x11, 0x08, 0x03);
    line_set(&f.irq[0], true);
    line_set(&f.irq[7], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x08);
    assert_true(f.intr.level); /* the lower one needs no EOI */
    edge(&f, 0);
    assert_int_equal(pic_acknowledge(f.pic), 0x08);
    chip_out(f.b, 0x20, 0x20); /* an EOI does no harm */
    assert_int_equal(pic_acknowledge(f.pic), 0x0f);
    assert_int_equal(isr(f.b, 0x20), 0);
    chip_out(f.b, 0x20, 0x80);
    chip_out(f.b, 0x20, 0x00); /* rotation in automatic EOI mode on, and off */
    edge(&f, 0);
    assert_int_equal(pic_acknowledge(f.pic), 0x08);
    edge(&f, 0);
    edge(&f, 1);
    assert_int_equal(pic_acknowledge(f.pic), 0x08);
    board_free(f.b);
}

/* The driver's part of special fully nested mode: the master's EOI only when the slave has none
 * left. */
static void special_nesting_through_both(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    program(f.b, 0x20, 0x11, 0x08, 0x11);
    line_set(&f.irq[15], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x77);
    line_set(&f.irq[12], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x74);
    line_set(&f.irq[13], true);
    assert_false(f.intr.level); /* below 12 on the slave */
    line_set(&f.irq[1], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x09); /* above the slave on the master */
    chip_out(f.b, 0x20, 0x20);
    chip_out(f.b, 0xa0, 0x20); /* ends 12 */
    assert_int_equal(isr(f.b, 0xa0), 0x80);
    assert_int_equal(pic_acknowledge(f.pic), 0x75); /* without an EOI of the master's */
    chip_out(f.b, 0xa0, 0x20);
    chip_out(f.b, 0xa0, 0x20);
    assert_int_equal(isr(f.b, 0xa0), 0);
    chip_out(f.b, 0x20, 0x20);
    assert_int_equal(isr(f.b, 0x20), 0);
    board_free(f.b);
}

static void poll_of_both(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_set(&f.irq[4], true);
    line_set(&f.irq[13], true);
    chip_out(f.b, 0x20, 0x0c);
    assert_int_equal(chip_in(f.b, 0x20), 0x82); /* the slave */
    assert_int_equal(isr(f.b, 0x20), 0x04);
    chip_out(f.b, 0xa0, 0x0c);
    assert_int_equal(chip_in(f.b, 0xa0), 0x85);
    chip_out(f.b, 0xa0, 0x20);
    chip_out(f.b, 0x20, 0x20);
    chip_out(f.b, 0x20, 0x0c);
    assert_int_equal(chip_in(f.b, 0x20), 0x84);
    chip_out(f.b, 0x20, 0x0c);
    assert_int_equal(chip_in(f.b, 0x20) & 0x80, 0); /* it is in service */
    chip_out(f.b, 0x20, 0x0c);
    chip_out(f.b, 0x20, 0x08); /* OCW3 without P takes it back */
    assert_int_equal(chip_in(f.b, 0x21), 0);
    edge(&f, 0);
    chip_out(f.b, 0x20, 0x0c);
    assert_int_equal(chip_in(f.b, 0x21), 0x80); /* either address */
    board_free(f.b);
}

static void poll_obeys_masks(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x21, 0x08);
    line_set(&f.irq[3], true);
    chip_out(f.b, 0x20, 0x0c);
    assert_int_equal(chip_in(f.b, 0x20) & 0x80, 0);
    assert_int_equal(irr(f.b, 0x20), 0x08);
    board_free(f.b);
}

/* Spurious: a request that is gone, or masked, before its INTA, on either chip. A real IRQ 7 is
 * known by its bit in service. */
static void spurious_levels(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    line_set(&f.irq[5], true);
    line_set(&f.irq[5], false);
    assert_int_equal(pic_acknowledge(f.pic), 0x0f);
    assert_int_equal(isr(f.b, 0x20), 0);
    line_set(&f.irq[5], true);
    chip_out(f.b, 0x21, 0x20);
    assert_int_equal(pic_acknowledge(f.pic), 0x0f);
    chip_out(f.b, 0x21, 0x00);
    assert_int_equal(pic_acknowledge(f.pic), 0x0d);
    chip_out(f.b, 0x20, 0x20);
    line_set(&f.irq[7], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x0f);
    assert_int_equal(isr(f.b, 0x20), 0x80);
    assert_int_equal(pic_acknowledge(f.pic), 0x0f); /* spurious within the real one */
    assert_int_equal(isr(f.b, 0x20), 0x80);
    chip_out(f.b, 0x20, 0x20);
    line_set(&f.irq[14], true);
    line_set(&f.irq[14], false); /* takes the slave's INT along */
    assert_int_equal(pic_acknowledge(f.pic), 0x0f);
    assert_int_equal(isr(f.b, 0x20) | isr(f.b, 0xa0), 0);
    /* masking it does so too; IRQ 15's own needs a request that goes between the two INTAs */
    line_set(&f.irq[14], true);
    chip_out(f.b, 0xa1, 0x40);
    assert_false(f.intr.level);
    chip_out(f.b, 0xa1, 0x00);
    assert_int_equal(pic_acknowledge(f.pic), 0x76);
    board_free(f.b);
}

static void levels_on_the_slave(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x4d1, 0x0e);
    line_set(&f.irq[10], true);
    line_set(&f.irq[11], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x72);
    chip_out(f.b, 0xa0, 0x20);
    chip_out(f.b, 0x20, 0x20);
    assert_int_equal(pic_acknowledge(f.pic), 0x72); /* asks for as long as it is up */
    line_set(&f.irq[10], false);
    chip_out(f.b, 0xa0, 0x20);
    chip_out(f.b, 0x20, 0x20);
    assert_int_equal(pic_acknowledge(f.pic), 0x73);
    line_set(&f.irq[11], false);
    chip_out(f.b, 0xa0, 0x20);
    chip_out(f.b, 0x20, 0x20);
    assert_false(f.intr.level);
    line_set(&f.irq[10], true);
    chip_out(f.b, 0x4d1, 0x00); /* to edges, while it is up: that edge was seen */
    assert_int_equal(pic_acknowledge(f.pic), 0x72);
    chip_out(f.b, 0xa0, 0x20);
    chip_out(f.b, 0x20, 0x20);
    assert_false(f.intr.level);
    board_free(f.b);
}

static void elcr_outlives_icw1(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x4d0, 0x20);
    chip_out(f.b, 0x4d1, 0x02);
    program(f.b, 0x20, 0x11, 0x08, 0x01);
    program(f.b, 0xa0, 0x19, 0x70, 0x01); /* LTIM: the PIIX ignores it */
    assert_int_equal(chip_in(f.b, 0x4d0), 0x20);
    assert_int_equal(chip_in(f.b, 0x4d1), 0x02);
    line_set(&f.irq[14], true);
    assert_int_equal(pic_acknowledge(f.pic), 0x76);
    chip_out(f.b, 0xa0, 0x20);
    chip_out(f.b, 0x20, 0x20);
    assert_false(f.intr.level); /* an edge */
    board_free(f.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_of_priorities),
        cmocka_unit_test(nesting_in_every_order),
        cmocka_unit_test(rotate_on_specific_eoi),
        cmocka_unit_test(equal_priorities_by_rotation),
        cmocka_unit_test(commands_that_change_nothing),
        cmocka_unit_test(reads_go_on_as_the_last_command_said),
        cmocka_unit_test(icw1_clears),
        cmocka_unit_test(icw1_ends_all_service),
        cmocka_unit_test(single),
        cmocka_unit_test(vectors_take_five_bits),
        cmocka_unit_test(a_mask_during_service),
        cmocka_unit_test(special_mask_for_each_level),
        cmocka_unit_test(automatic_eoi_leaves_nothing_in_service),
        cmocka_unit_test(special_nesting_through_both),
        cmocka_unit_test(poll_of_both),
        cmocka_unit_test(poll_obeys_masks),
        cmocka_unit_test(spurious_levels),
        cmocka_unit_test(levels_on_the_slave),
        cmocka_unit_test(elcr_outlives_icw1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
