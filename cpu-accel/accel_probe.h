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

/* Runs all probes, for the table: some 50 ms. `translator`: this program has one for this host. */
void accel_probe(bool translator, AccelTable *out);
/* The same choice, but stops at the first thing that speaks against KVM: modes not tried have no
 * rows. */
void accel_choose(bool translator, AccelTable *out);

#endif
