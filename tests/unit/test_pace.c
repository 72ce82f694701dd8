/* The pace of a period processor: names, rates, smoothness, and time that is not made up for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "machine/pace.h"

enum { MS = 1000000 };

static void names_and_numbers(void **state)
{
    (void)state;
    Err err = {""};
    uint32_t kips;
    char name[PACE_NAME];
    assert_true(pace_parse("max", &kips, &err));
    assert_int_equal(kips, 0);
    pace_name(kips, name);
    assert_string_equal(name, "max");
    assert_true(pace_parse("486-66", &kips, &err));
    assert_int_equal(kips, 26800);
    pace_name(kips, name);
    assert_string_equal(name, "486-66");
    assert_true(pace_parse("2.5", &kips, &err));
    assert_int_equal(kips, 2500);
    pace_name(kips, name);
    assert_string_equal(name, "2.5 MIPS");
    const char *const bad[] = {"", "fast", "0", "-3", "1e9", "nan", "inf", "12x"};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        err.text[0] = '\0';
        assert_false(pace_parse(bad[i], &kips, &err));
        assert_non_null(strstr(err.text, "386-33"));
    }
    for (const char *p = pace_help(); *p && strncmp(p, "or ", 3) != 0; p = strchr(p, '\n') + 1) {
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(p, "\n"), p);
        assert_true(pace_parse(name, &kips, &err));
    }
}

/* A machine that executes `speed` instructions a ms runs for so many ms; the longest time it ran
 * at once goes to *longest, the longest it slept to *slept. */
static uint64_t run(Pace *p, int64_t *now, uint64_t *executed, int64_t ms, uint64_t speed,
                    int64_t *longest, int64_t *slept)
{
    int64_t end = *now + ms * MS, when;
    uint64_t before = *executed;
    *longest = *slept = 0;
    while (*now < end) {
        uint64_t budget = pace_budget(p, *now, *executed, &when);
        if (budget) {
            int64_t took = (int64_t)(budget * MS / speed) + 1;
            *executed += budget;
            *now += took;
            *longest = took > *longest ? took : *longest;
        } else {
            assert_true(when > *now);
            *slept = when - *now > *slept ? when - *now : *slept;
            *now = when;
        }
    }
    return *executed - before;
}

static void the_rate_is_kept_in_short_pieces(void **state)
{
    (void)state;
    static const uint32_t rates[] = {10, 300, 6100, 26800, 140000};
    for (unsigned i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        Pace p;
        int64_t now = 123456789, longest, slept;
        uint64_t executed = 1000;
        pace_set(&p, rates[i], now, executed);
        uint64_t ran = run(&p, &now, &executed, 10000, 500000, &longest, &slept);
        assert_in_range(ran, rates[i] * UINT64_C(10000) * 99 / 100, rates[i] * UINT64_C(10000));
        assert_true(longest < 2 * MS && slept <= MS + 1000);
    }
}

static void lost_time_is_not_made_up_for(void **state)
{
    (void)state;
    Pace p;
    int64_t now = 0, when;
    pace_set(&p, 10000, now, 0);
    now = 300 * MS; /* the guest was halted */
    uint64_t budget = pace_budget(&p, now, 0, &when);
    assert_in_range(budget, 10000, 40000);
    assert_int_equal(pace_budget(&p, now, budget, &when), 0);
    now = when + 5000 * INT64_C(1000000); /* ... for long */
    assert_in_range(pace_budget(&p, now, budget, &when), 10000, 40000);
    /* a host that cannot keep up */
    int64_t longest, slept;
    uint64_t executed = budget;
    assert_in_range(run(&p, &now, &executed, 3000, 5000, &longest, &slept), 14000000, 15100000);
    assert_true(longest < 10 * MS);
}

static void another_time_begins_anew(void **state)
{
    (void)state;
    Pace p;
    int64_t when;
    pace_set(&p, 10000, 5000 * INT64_C(1000000), 7000000);
    assert_int_equal(pace_budget(&p, 2 * MS, 100, &when), 0);
    assert_in_range(when, 2 * MS + 1, 3 * MS + 1000);
    assert_in_range(pace_budget(&p, when, 100, &when), 10000, 11000);
    pace_set(&p, 0, 0, 0);
    assert_true(pace_budget(&p, 0, 5, &when) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers),
        cmocka_unit_test(the_rate_is_kept_in_short_pieces),
        cmocka_unit_test(lost_time_is_not_made_up_for),
        cmocka_unit_test(another_time_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
