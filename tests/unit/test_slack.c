/* Which guests are slept through several ticks: those that do hardly anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "machine/slack.h"

enum { US = 1000, MS = 1000000 };

/* A guest that works for `work` each `period`, for a second; the slack at its end. */
static int64_t after_a_second(Slack *s, int64_t *now, int64_t work, int64_t period)
{
    int64_t slack = 0;
    for (int64_t end = *now + 1000 * MS; *now < end; *now += period) {
        slack_woke(s, *now);
        slack = slack_sleep(s, *now + work);
    }
    return slack;
}

static void idle_guests_are_left_asleep(void **state)
{
    (void)state;
    Slack s = {0};
    int64_t now = 0;
    assert_int_equal(after_a_second(&s, &now, 20 * US, 4 * MS), SLACK_NS);
    assert_int_equal(after_a_second(&s, &now, 900 * US, 54 * MS), SLACK_NS);
    assert_int_equal(after_a_second(&s, &now, 200 * US, 4 * MS), SLACK_NS);
}

static void busy_ones_are_not(void **state)
{
    (void)state;
    Slack s = {0};
    int64_t now = 0;
    assert_int_equal(after_a_second(&s, &now, 300 * US, 4 * MS), 0);
    assert_int_equal(after_a_second(&s, &now, 3 * MS, 4 * MS), 0);
    assert_int_equal(after_a_second(&s, &now, 1500 * US, 14 * MS), 0);
}

static void work_at_length_is_seen_at_once(void **state)
{
    (void)state;
    Slack s = {0};
    int64_t now = 0;
    assert_int_equal(after_a_second(&s, &now, 20 * US, 4 * MS), SLACK_NS);
    slack_woke(&s, now);
    now += 3 * MS;
    assert_int_equal(slack_sleep(&s, now), 0);
    slack_woke(&s, now + MS); /* and idle again only after a while of idleness */
    assert_int_equal(slack_sleep(&s, now + MS + 10 * US), 0);
    assert_int_equal(after_a_second(&s, &now, 20 * US, 4 * MS), SLACK_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_guests_are_left_asleep),
        cmocka_unit_test(busy_ones_are_not),
        cmocka_unit_test(work_at_length_is_seen_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
