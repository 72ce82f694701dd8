/* Ports 61h, 80h, 92h, F0h: gates, refresh bit, NMI, A20, fast reset, coprocessor error, state. */
#include "chipset/sysctl.h"

#include "tests/unit/chip.h"

typedef struct Fixture {
    Board *b;
    Sysctl *s;
    Probe gate2, speaker, nmi, a20, init, irq13, ignne;
    bool out2;
    unsigned posts;
} Fixture;

static bool out2(void *self)
{
    return *(bool *)self;
}

static void post(void *self, uint8_t code)
{
    Fixture *f = self;
    f->posts = f->posts << 8 | code;
}

static void fixture(Fixture *f)
{
    Board *b = f->b = chip_board();
    f->out2 = false;
    f->posts = 0;
    f->s = sysctl_new(b,
                      &(SysctlConfig){.gate2 = chip_probe(b, &f->gate2),
                                      .speaker = chip_probe(b, &f->speaker),
                                      .out2 = out2,
                                      .pit = &f->out2,
                                      .nmi = chip_probe(b, &f->nmi),
                                      .a20 = chip_probe(b, &f->a20),
                                      .init = chip_probe(b, &f->init),
                                      .irq13 = chip_probe(b, &f->irq13),
                                      .ignne = chip_probe(b, &f->ignne),
                                      .post = post,
                                      .post_self = f},
                      "sysctl");
    board_reset(b, RESET_POWER);
}

static void gates_and_out2(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x61, 0xf3);
    assert_true(f.gate2.level && f.speaker.level);
    assert_int_equal(chip_in(f.b, 0x61) & 0xef, 0x03);
    f.out2 = true;
    assert_int_equal(chip_in(f.b, 0x61) & 0xef, 0x23);
    chip_out(f.b, 0x61, 0x01);
    assert_true(f.gate2.level && !f.speaker.level);
    board_free(f.b);
}

static void refresh_bit_toggles_each_15_us(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    unsigned toggles = 0;
    uint8_t last = chip_in(f.b, 0x61) & 0x10;
    for (unsigned i = 0; i < 10000; i++) {
        clock_step(&f.b->clock, 1000);
        uint8_t now = chip_in(f.b, 0x61) & 0x10;
        toggles += now != last;
        last = now;
    }
    assert_in_range(toggles, 662, 663); /* 10 ms / 15.0857 us */
    board_free(f.b);
}

static void nmi_sources_latch_and_are_masked(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    Line check = sysctl_channel_check(f.s), error = sysctl_system_error(f.s);
    Line mask = sysctl_nmi_mask(f.s);
    line_pulse(&check);
    assert_true(f.nmi.level);
    assert_int_equal(chip_in(f.b, 0x61) & 0xc0, 0x40);
    chip_out(f.b, 0x61, 0x08);
    assert_false(f.nmi.level);
    assert_int_equal(chip_in(f.b, 0x61) & 0xc0, 0);
    line_pulse(&check);
    assert_int_equal(chip_in(f.b, 0x61) & 0xc0, 0);
    line_set(&mask, true);
    line_pulse(&error);
    assert_int_equal(chip_in(f.b, 0x61) & 0xc0, 0x80);
    assert_false(f.nmi.level);
    line_set(&mask, false);
    assert_true(f.nmi.level);
    board_free(f.b);
}

/* Firmware opens the gate by port 92h, HIMEM closes it by the keyboard controller. */
static void a20_obeys_whoever_wrote_last(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    Line kbc = sysctl_a20_input(f.s);
    assert_false(f.a20.level);
    chip_out(f.b, 0x92, 0x02);
    assert_true(f.a20.level);
    assert_int_equal(chip_in(f.b, 0x92), 0x02);
    line_set(&kbc, false);
    assert_false(f.a20.level);
    assert_int_equal(chip_in(f.b, 0x92), 0x00);
    line_set(&kbc, true);
    assert_int_equal(chip_in(f.b, 0x92), 0x02);
    chip_out(f.b, 0x92, 0x00);
    assert_false(f.a20.level);
    board_free(f.b);
}

static void fast_reset_needs_a_rising_edge(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x92, 0x03);
    assert_int_equal(f.init.rises, 1);
    assert_true(f.a20.level);
    chip_out(f.b, 0x92, 0x03);
    assert_int_equal(f.init.rises, 1);
    chip_out(f.b, 0x92, 0x02);
    chip_out(f.b, 0x92, 0x03);
    assert_int_equal(f.init.rises, 2);
    board_free(f.b);
}

static void coprocessor_error(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    Line ferr = sysctl_ferr(f.s);
    chip_out(f.b, 0xf0, 0);
    assert_false(f.ignne.level); /* only while FERR# is up */
    line_set(&ferr, true);
    assert_true(f.irq13.level);
    chip_out(f.b, 0xf0, 0);
    assert_false(f.irq13.level);
    assert_true(f.ignne.level);
    line_set(&ferr, false);
    assert_false(f.ignne.level);
    line_set(&ferr, true);
    assert_true(f.irq13.level);
    chip_out(f.b, 0xf1, 0);
    assert_false(f.irq13.level);
    assert_false(f.ignne.level);
    board_free(f.b);
}

static void post_codes(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    chip_out(f.b, 0x80, 0x12);
    chip_out(f.b, 0x80, 0x34);
    assert_int_equal(f.posts, 0x1234);
    assert_int_equal(chip_in(f.b, 0x80), 0x34);
    assert_int_equal(sysctl_post_code(f.s), 0x34);
    board_free(f.b);
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f, g;
    fixture(&f);
    fixture(&g);
    chip_out(f.b, 0x61, 0x02);
    chip_out(f.b, 0x92, 0x02);
    Line ferr = sysctl_ferr(f.s);
    line_set(&ferr, true);
    chip_state_round_trip(f.b, g.b);
    assert_true(g.a20.level && g.speaker.level && g.irq13.level);
    board_free(f.b);
    board_free(g.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates_and_out2),
        cmocka_unit_test(refresh_bit_toggles_each_15_us),
        cmocka_unit_test(nmi_sources_latch_and_are_masked),
        cmocka_unit_test(a20_obeys_whoever_wrote_last),
        cmocka_unit_test(fast_reset_needs_a_rising_edge),
        cmocka_unit_test(coprocessor_error),
        cmocka_unit_test(post_codes),
        cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
