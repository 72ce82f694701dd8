/* The typist: what is typed cannot begin to repeat, however long the host takes between two looks.
 */
#include "ui/typist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/ui/fake_machine.h"

static Machine *make(void)
{
    MachineConfig config;
    Err err = {""};
    machine_config_init(&config);
    Machine *m = machine_new(&config, &err);
    machine_config_free(&config);
    assert_true(machine_start(m, &err));
    return m;
}

/* How many keys that repeat are down behind each look; types all. */
static void type_with_looks(const char *layout, const char *text, unsigned strokes)
{
    static InputEvent got[FAKE_MAX_INPUT];
    Err err = {""};
    unsigned lost, seen = 0, presses = 0;
    bool down[256] = {false};
    Machine *m = make();
    Typist *t = typist_new(m);
    assert_true(typist_type(t, key_layout_find(layout), text, 2, &lost, &err));
    assert_int_equal(lost, 0);
    for (int64_t next = 0; next != INT64_MAX; usleep(2500)) {
        next = typist_play(t);
        unsigned count = fake_input(m, got, FAKE_MAX_INPUT);
        for (; seen < count; seen++) {
            down[got[seen].key] = got[seen].down;
            presses += got[seen].down && got[seen].key < 0xe0;
        }
        for (unsigned key = 0; key < 0xe0; key++) { /* modifiers do no harm when they repeat */
            assert_false(down[key]);
        }
    }
    for (unsigned key = 0xe0; key < 256; key++) {
        assert_false(down[key]);
    }
    assert_int_equal(presses, strokes);
    typist_free(t);
    machine_free(m);
}

static void no_key_stays_down_between_two_looks(void **state)
{
    (void)state;
    type_with_looks("en-us", "aB!\n", 4);
    type_with_looks("de", "@z\xc3\xa4^", 5); /* AltGr, a key of its own, a dead key and a blank */
    type_with_looks("en-us", "\xc3\xa4", 3); /* Alt and 132 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_key_stays_down_between_two_looks),
    };
    fake_wanted();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
