/* Guest time and timers: a sorted list, since a machine has a few dozen timers at most. */
#include "machine/core/clock.h"

#include <assert.h>
#include <string.h>

void clock_init(Clock *c)
{
    *c = (Clock){.firing = CLOCK_NEVER};
}

static int64_t source_now(const Clock *c)
{
    switch (c->source) {
    case CLOCK_HOST:
        return c->running ? c->host_ns() : c->source_base;
    case CLOCK_COUNTED:
        return (int64_t)(*c->count << c->shift);
    case CLOCK_STEPPED:
        break;
    }
    return c->source_base;
}

int64_t clock_peek(const Clock *c)
{
    return c->base + (source_now(c) - c->source_base);
}

/* The earliest time that it may be held back to. */
static int64_t least(const Clock *c, int64_t now)
{
    int64_t furthest = now + c->behind - CLOCK_BEHIND_MOST;
    return furthest > c->told ? furthest : c->told;
}

int64_t clock_now(Clock *c)
{
    int64_t now = clock_peek(c),
            due = c->firing < clock_next_due(c) ? c->firing : clock_next_due(c);
    if (c->patient && now - due > CLOCK_LATE) {
        int64_t latest = due + CLOCK_LATE, earliest = least(c, now);
        now = latest > earliest ? latest : earliest;
    }
    return c->told = now;
}

static void rebase(Clock *c, int64_t now)
{
    c->base = now;
    c->source_base = source_now(c);
    c->behind = 0;
}

void clock_use_host(Clock *c, int64_t (*host_ns)(void))
{
    int64_t now = clock_peek(c);
    c->source = CLOCK_HOST;
    c->host_ns = host_ns;
    c->running = false;
    c->source_base = 0;
    rebase(c, now);
}

void clock_use_count(Clock *c, const uint64_t *instructions, unsigned shift)
{
    int64_t now = clock_peek(c);
    c->source = CLOCK_COUNTED;
    c->count = instructions;
    c->shift = shift;
    rebase(c, now);
}

void clock_run(Clock *c, bool running)
{
    int64_t now = clock_peek(c);
    c->running = running;
    rebase(c, now);
}

int64_t clock_next_due(const Clock *c)
{
    return c->first ? c->first->due : CLOCK_NEVER;
}

int64_t clock_next_wake(const Clock *c, int64_t slack)
{
    int64_t wake = CLOCK_NEVER;
    slack = clock_peek(c) < c->exact_until ? 0 : slack;
    for (const Timer *t = c->first; t && t->due < wake; t = t->next) {
        int64_t latest = t->due + (t->late ? t->late(t->self) : 0) + (t->inward ? slack : 0);
        wake = latest < wake ? latest : wake;
    }
    return wake;
}

void clock_be_exact(Clock *c)
{
    c->exact_until = clock_peek(c) + CLOCK_NS_PER_S;
}

static void unlink_timer(Timer *t)
{
    if (t->prev) {
        t->prev->next = t->next;
    } else {
        t->clock->first = t->next;
    }
    if (t->next) {
        t->next->prev = t->prev;
    }
    t->prev = t->next = NULL;
    t->armed = false;
}

static unsigned fire_until(Clock *c, int64_t now)
{
    unsigned fired = 0;
    while (c->first && c->first->due <= now) {
        Timer *t = c->first;
        int64_t due = t->due;
        unlink_timer(t);
        c->firing = due;
        t->fire(t->self, due);
        fired++;
    }
    c->firing = CLOCK_NEVER;
    return fired;
}

unsigned clock_fire_due(Clock *c)
{
    return c->first ? fire_until(c, clock_peek(c)) : 0;
}

void clock_skip_to(Clock *c, int64_t when)
{
    assert(c->source != CLOCK_HOST);
    if (when > clock_peek(c)) {
        rebase(c, when);
    }
}

void clock_hold_back(Clock *c, int64_t when)
{
    assert(c->source == CLOCK_HOST && c->running);
    int64_t now = clock_peek(c), earliest = least(c, now);
    when = when > earliest ? when : earliest;
    if (when < now) {
        int64_t behind = c->behind + now - when;
        rebase(c, when);
        c->behind = behind;
    }
}

void clock_mend_stall(Clock *c)
{
    int64_t due = clock_next_due(c);
    if (c->patient && clock_peek(c) - due > CLOCK_LATE) {
        clock_hold_back(c, due == c->mended ? due : due - CLOCK_LATE);
        c->mended = due;
    }
}

bool clock_make_up(Clock *c, int64_t when)
{
    int64_t now = clock_peek(c), behind = c->behind;
    if (behind == 0) {
        return false;
    }
    int64_t step = when - now < behind ? when - now : behind;
    if (step > 0) {
        rebase(c, now + step);
        c->behind = behind - step;
    }
    return c->behind > 0;
}

void clock_step(Clock *c, int64_t ns)
{
    assert(c->source == CLOCK_STEPPED);
    int64_t end = c->base + ns;
    while (c->first && c->first->due <= end) {
        clock_skip_to(c, c->first->due);
        fire_until(c, c->base);
    }
    clock_skip_to(c, end);
}

void clock_set(Clock *c, int64_t now)
{
    rebase(c, now);
    c->told = now;
    c->exact_until = 0;
}

void timer_init(Timer *t, Clock *c, const char *what, void (*fire)(void *self, int64_t due),
                void *self)
{
    memset(t, 0, sizeof(*t));
    t->clock = c;
    t->what = what;
    t->fire = fire;
    t->self = self;
}

void timer_arm(Timer *t, int64_t when)
{
    Clock *c = t->clock;
    timer_disarm(t);
    t->due = when;
    t->armed = true;
    Timer *before = NULL;
    Timer *after = c->first;
    while (after && after->due <= when) {
        before = after;
        after = after->next;
    }
    t->prev = before;
    t->next = after;
    if (after) {
        after->prev = t;
    }
    if (before) {
        before->next = t;
    } else {
        c->first = t;
        if (c->changed) {
            c->changed(c->changed_self);
        }
    }
}

void timer_disarm(Timer *t)
{
    if (t->armed) {
        unlink_timer(t);
    }
}

uint64_t clock_ticks(int64_t ns, uint32_t hz)
{
    return (uint64_t)((unsigned __int128)(uint64_t)ns * hz / (uint64_t)CLOCK_NS_PER_S);
}

int64_t clock_ticks_to_ns(uint64_t ticks, uint32_t hz)
{
    return (int64_t)(((unsigned __int128)ticks * (uint64_t)CLOCK_NS_PER_S + hz - 1) / hz);
}
