/* Guest time and the timers that hang on it. One Clock per machine; devices know no other time.
 *
 * Guest time is in nanoseconds since the machine was switched on and never runs backwards. It has
 * three sources: stepped (tests move it by hand), host (a monotonic host clock while the machine
 * runs) and counted (executed instructions, for runs that repeat byte for byte). Not thread-safe:
 * the machine's thread owns it.
 */
#ifndef MACHINE_CORE_CLOCK_H
#define MACHINE_CORE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_NEVER INT64_MAX
#define CLOCK_NS_PER_S INT64_C(1000000000)
#define CLOCK_BEHIND_MOST CLOCK_NS_PER_S /* ns; a longer stall of the host costs the rest */
#define CLOCK_LATE 250000 /* ns; so long overdue: the host had no processor for the guest */

typedef struct Timer Timer;
typedef struct Clock Clock;

typedef enum ClockSource { CLOCK_STEPPED, CLOCK_HOST, CLOCK_COUNTED } ClockSource;

struct Timer {
    Clock *clock;
    const char *what; /* "pit.irq0": names the timer in the log and in the state file */
    void (*fire)(void *self, int64_t due);
    void *self;
    /* How many ns after `due` it may fire while the processor sleeps, because nobody could tell.
     * It is asked when the processor begins to sleep; NULL: none. */
    int64_t (*late)(void *self);
    bool inward; /* what it does is seen by the guest alone, as a tick is: see clock_hold_back */
    int64_t due; /* guest ns; meaningful while armed */
    bool armed;
    Timer *prev, *next;
};

struct Clock {
    ClockSource source;
    bool running; /* host source only: does time pass? */
    int64_t base; /* stepped: the time; else guest ns at which the source stood at its base */
    int64_t source_base; /* host ns, or instructions << shift, at that moment */
    bool patient;        /* host source: the guest knows no other time, and is told none that
                            is more than CLOCK_LATE after a timer that has not fired */
    int64_t exact_until; /* guest ns: no slack before */
    int64_t behind;      /* host source, running: ns held back */
    int64_t mended;      /* the due time of the timer before which it has last been held back */
    int64_t told;        /* the latest time that the guest has been told */
    int64_t (*host_ns)(void);    /* host source: a monotonic clock */
    const uint64_t *count;       /* counted source: executed instructions */
    unsigned shift;              /* counted source: an instruction is 1 << shift ns */
    int64_t firing;              /* the due time of the timer that fires now, or CLOCK_NEVER */
    Timer *first;                /* armed timers in order of due */
    void (*changed)(void *self); /* the earliest due time moved forward; may be NULL */
    void *changed_self;
};

void clock_init(Clock *c);
/* Sources; the time goes on from where it stood. A host clock starts stopped. */
void clock_use_host(Clock *c, int64_t (*host_ns)(void));
void clock_use_count(Clock *c, const uint64_t *instructions, unsigned shift);
/* Host source: lets time pass, or stops it. */
void clock_run(Clock *c, bool running);

/* For what the guest sees of it, as devices show it. */
int64_t clock_now(Clock *c);
/* For those who only look whether something is due: the clock may still be held back to before. */
int64_t clock_peek(const Clock *c);
/* Due time of the earliest armed timer, or CLOCK_NEVER. */
int64_t clock_next_due(const Clock *c);
/* Until when a sleeping processor need not be disturbed: as clock_next_due, but timers that may be
 * late are waited for no sooner than they must be, and inward ones `slack` ns more (0: none). What
 * was due meanwhile then fires in order. */
int64_t clock_next_wake(const Clock *c, int64_t slack);
/* What the guest does is heard or seen outside as it does it, as notes that it sends: no slack for
 * the next second. */
void clock_be_exact(Clock *c);
/* Fires every timer due by now, in order of due time, each with its own due time. Returns how many.
 */
unsigned clock_fire_due(Clock *c);
/* Stepped and counted: jumps forward to `when` (no effect when it is past), firing nothing. Counted
 * clocks use it to skip the time in which the processor sleeps. */
void clock_skip_to(Clock *c, int64_t when);
/* To be called before anything else looks at the time. Host source, patient: where a timer is
 * overdue by more than CLOCK_LATE, the guest gets so much time before that one, since it may have
 * been in the middle of what comes first, and then the time until the next. */
void clock_mend_stall(Clock *c);
/* Host source, running: the time is `when` (no later than now, no earlier than the guest was told,
 * nor more than CLOCK_BEHIND_MOST behind the host's), since the processor has slept on, or was
 * given none by the host. It then goes on at its pace, so much behind the host's, until ... */
void clock_hold_back(Clock *c, int64_t when);
/* ... this moves it on to `when`, or as far as the host's time. False: it is not held back any
 * more.
 */
bool clock_make_up(Clock *c, int64_t when);
/* Stepped: moves on by `ns`, stopping at and firing each timer on the way. */
void clock_step(Clock *c, int64_t ns);
/* For state loading: sets the time itself. Timers must be armed again afterwards. */
void clock_set(Clock *c, int64_t now);

void timer_init(Timer *t, Clock *c, const char *what, void (*fire)(void *self, int64_t due),
                void *self);
/* Arms (or moves) the timer. A time in the past fires at the next clock_fire_due. Equal times fire
 * in order of arming. */
void timer_arm(Timer *t, int64_t when);
void timer_disarm(Timer *t);

/* Converts between ns and ticks of a frequency in Hz without overflow for any guest time below 146
 * years; ticks are rounded down, ns rounded up, so that clock_ticks(clock_ticks_to_ns(n)) == n. */
uint64_t clock_ticks(int64_t ns, uint32_t hz);
int64_t clock_ticks_to_ns(uint64_t ticks, uint32_t hz);

#endif
