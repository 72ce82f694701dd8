/* The pace of a period processor: how many instructions may be executed by when.
 *
 * The machine runs the guest in pieces of about a millisecond's worth of instructions and sleeps in
 * between. Time in which the guest was idle or the host was busy is not made up for.
 */
#ifndef MACHINE_PACE_H
#define MACHINE_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/core/err.h"

typedef struct Pace {
    uint32_t kips;  /* thousands of instructions a second; 0: as fast as it goes */
    int64_t since;  /* ns */
    uint64_t count; /* instructions executed then */
} Pace;

enum { PACE_NAME = 24 };

/* "max", "386-33", "486-66", "p100" ..., or a number in MIPS ("8", "0.5"). */
bool pace_parse(const char *text, uint32_t *kips, Err *err);
/* The name that stands for it, or "N MIPS". */
void pace_name(uint32_t kips, char name[PACE_NAME]);
/* One line a name, for help. */
const char *pace_help(void);

/* From now on. */
void pace_set(Pace *p, uint32_t kips, int64_t now, uint64_t executed);
/* At time `now`: how many instructions may be executed at once. 0: none before *when. */
uint64_t pace_budget(Pace *p, int64_t now, uint64_t executed, int64_t *when);

#endif
