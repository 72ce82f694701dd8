/* A guest is idle when it ran for less than a sixteenth of a while, and never for long. */
#include "machine/slack.h"

enum { WHILE_NS = 100000000, SHARE = 16, LONG_NS = 2000000 };

int64_t slack_sleep(Slack *s, int64_t now)
{
    int64_t ran = now - s->woke, passed = now - s->since;
    s->busy += ran;
    if (ran > LONG_NS || passed >= WHILE_NS) {
        s->ns = ran <= LONG_NS && s->busy < passed / SHARE ? SLACK_NS : 0;
        s->since = now;
        s->busy = 0;
    }
    return s->ns;
}

void slack_woke(Slack *s, int64_t now)
{
    s->woke = now;
}
