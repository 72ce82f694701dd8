/* VGA: registers, memory window with every write and read mode, beam timing, text, state. */
#include "tests/unit/vga_rig.h"

#include <stdlib.h>
#include <string.h>

static void refresh_rates_are_exact(void **state)
{
    (void)state;
    static const struct {
        const VgaMode *mode;
        uint64_t hz, dots;
    } cases[] = {{&mode_03, 28322000, 900 * 449},
                 {&mode_13, 25175000, 800 * 449},
                 {&mode_12, 25175000, 800 * 525}};
    for (unsigned i = 0; i < 3; i++) {
        Rig r = rig_new();
        rig_mode(&r, cases[i].mode);
        rig_to_line(&r, 0);
        while (!(chip_in(r.b, 0x3da) & 8)) {
            clock_step(&r.b->clock, 10);
        }
        int64_t start = clock_now(&r.b->clock);
        for (unsigned frame = 0; frame < 10; frame++) {
            clock_step(&r.b->clock, 1000000);
            while (!(chip_in(r.b, 0x3da) & 8)) {
                clock_step(&r.b->clock, 10);
            }
        }
        int64_t gone = clock_now(&r.b->clock) - start;
        int64_t expected = (int64_t)(10 * cases[i].dots * 1000000000 / cases[i].hz);
        assert_true(llabs(gone - expected) <= 20);
        rig_free(&r);
    }
}

static void mode_13_shows_bytes_as_colours(void **state)
{
    (void)state;
    Rig r = rig_new();
    rig_mode(&r, &mode_13);
    for (unsigned y = 0; y < 200; y++) {
        for (unsigned x = 0; x < 320; x++) {
            rig_poke(&r, 0xa0000 + y * 320 + x, (uint8_t)(x + y));
        }
    }
    rig_frame(&r);
    assert_int_equal(r.picture.width, 320);
    assert_int_equal(r.picture.height, 400);
    assert_int_equal(r.picture.aspect_width * 3, r.picture.aspect_height * 4);
    for (unsigned y = 0; y < 400; y++) {
        for (unsigned x = 0; x < 320; x++) {
            assert_int_equal(rig_pixel(&r, x, y), rig_color((x + y / 2) & 0xff));
        }
    }
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refresh_rates_are_exact),
        cmocka_unit_test(mode_13_shows_bytes_as_colours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
