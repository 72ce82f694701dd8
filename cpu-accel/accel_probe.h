/* Which engines this host can run, measured; for `vitrine accel` and for -accel auto. */
#ifndef CPU_ACCEL_ACCEL_PROBE_H
#define CPU_ACCEL_ACCEL_PROBE_H

#include <stdbool.h>

enum { ACCEL_TABLE_ROWS = 8 };

typedef struct AccelRow {
    const char *engine; /* "kvm" ... */
    const char *what;   /* "real mode" ..., or "" for the engine as a whole */
    bool good;
    char text[160]; /* "right, 812.3 million instructions a second" */
} AccelRow;

typedef struct AccelTable {
    AccelRow row[ACCEL_TABLE_ROWS];
    unsigned rows;
    const char *choice; /* the engine that -accel auto takes */
    char why[200];      /* one line */
} AccelTable;

/* Runs the probes: a few tens of milliseconds. `translator`: this program has one for this host. */
void accel_probe(bool translator, AccelTable *out);

#endif
