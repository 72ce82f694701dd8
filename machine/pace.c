/* Pacing: instructions by time.
 *
 * The named speeds are what these processors achieved with the games and programs of their day, in
 * millions of instructions a second, as users of emulators have found them by ear and eye; the
 * makers' own figures, for short loops in the cache, are higher.
 */
#include "machine/pace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECE_NS = 1000000, /* what is run at once is worth this time */
    MOST_PIECES = 4,    /* of time lost that are made up for */
    KIPS_MIN = 10,
    KIPS_MAX = 4000000,
};

static const struct {
    const char *name;
    uint32_t kips;
} speeds[] = {
    {"8088", 300},      {"286-12", 1500},  {"386-16", 2900},  {"386-25", 4600},  {"386-33", 6100},
    {"386-40", 7400},   {"486-25", 10000}, {"486-33", 13400}, {"486-50", 20000}, {"486-66", 26800},
    {"486-100", 40000}, {"p60", 36000},    {"p75", 45000},    {"p90", 54000},    {"p100", 60000},
    {"p133", 80000},    {"p166", 100000},  {"p200", 120000},  {"p233", 140000},
};

bool pace_parse(const char *text, uint32_t *kips, Err *err)
{
    *kips = 0;
    if (strcmp(text, "max") == 0) {
        return true;
    }
    for (unsigned i = 0; i < sizeof(speeds) / sizeof(speeds[0]); i++) {
        if (strcmp(text, speeds[i].name) == 0) {
            *kips = speeds[i].kips;
            return true;
        }
    }
    char *end;
    double mips = strtod(text, &end);
    if (end == text || *end || !(mips * 1000 >= KIPS_MIN) || mips * 1000 > KIPS_MAX) {
        return err_set(err,
                       "speed '%s': say max, a processor (386-33, 486-66, p100 ...; -speed help "
                       "lists them) or millions of instructions a second, 0.01 to 4000",
                       text);
    }
    *kips = (uint32_t)lround(mips * 1000);
    return true;
}

void pace_name(uint32_t kips, char name[PACE_NAME])
{
    for (unsigned i = 0; i < sizeof(speeds) / sizeof(speeds[0]); i++) {
        if (kips == speeds[i].kips) {
            snprintf(name, PACE_NAME, "%s", speeds[i].name);
            return;
        }
    }
    if (kips) {
        snprintf(name, PACE_NAME, "%.6g MIPS", kips / 1000.0);
    } else {
        snprintf(name, PACE_NAME, "max");
    }
}

const char *pace_help(void)
{
    return "max\n8088\n286-12\n386-16\n386-25\n386-33\n386-40\n486-25\n486-33\n486-50\n486-66\n486-"
           "100\n"
           "p60\np75\np90\np100\np133\np166\np200\np233\n"
           "or millions of instructions a second: 0.01 to 4000\n";
}

void pace_set(Pace *p, uint32_t kips, int64_t now, uint64_t executed)
{
    *p = (Pace){kips, now, executed};
}

/* Instructions in so many ns. */
static uint64_t worth(const Pace *p, int64_t ns)
{
    return (uint64_t)ns * p->kips / 1000000;
}

uint64_t pace_budget(Pace *p, int64_t now, uint64_t executed, int64_t *when)
{
    *when = now;
    if (p->kips == 0) {
        return UINT64_MAX;
    }
    const uint64_t piece = worth(p, PIECE_NS) ? worth(p, PIECE_NS) : 1;
    int64_t passed = now - p->since;
    if (passed < 0 || executed < p->count) { /* the machine has been put to another time */
        pace_set(p, p->kips, now, executed);
        passed = 0;
    }
    uint64_t done = executed - p->count;
    /* The base moves on every second at least, so that the product above stays small. */
    if (passed >= 1000000000) {
        p->since += 1000000000;
        uint64_t second = worth(p, 1000000000);
        if (done < second) {
            p->since = now - PIECE_NS;
            p->count = executed;
        } else {
            p->count += second;
        }
        passed = now - p->since;
        done = executed - p->count;
        if (passed >= 1000000000) { /* long asleep */
            pace_set(p, p->kips, now - PIECE_NS, executed);
            passed = PIECE_NS;
            done = 0;
        }
    }
    uint64_t allowed = worth(p, passed);
    if (allowed > done + MOST_PIECES * piece) {
        p->since = now - MOST_PIECES * (int64_t)PIECE_NS;
        p->count = executed;
        return MOST_PIECES * piece;
    }
    if (allowed >= done + piece) {
        return allowed - done;
    }
    *when = now + (int64_t)((done + piece - allowed) * 1000000 / p->kips) + 1;
    return 0;
}
