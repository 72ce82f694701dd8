/* How exactly a sleeping guest is woken. One that is idle but for its ticks need not be woken for
 * each of them: several are slept through, and then run one after another, each at its own guest
 * time (clock_hold_back). What reaches the guest from outside wakes it at once, and timers whose
 * work is seen outside are kept to; so a guest that is busy, sounds or moves a picture is not held
 * back. Times are host ns.
 */
#ifndef MACHINE_SLACK_H
#define MACHINE_SLACK_H

#include <stdint.h>

#define SLACK_NS 64000000 /* nearly four frames at 60 Hz */

typedef struct Slack {
    int64_t woke;        /* when it last woke */
    int64_t since, busy; /* ns that it ran, since when */
    int64_t ns;
} Slack;

/* The guest halts at `now`. Returns for how many ns inward timers may be slept through. */
int64_t slack_sleep(Slack *s, int64_t now);
void slack_woke(Slack *s, int64_t now);

#endif
