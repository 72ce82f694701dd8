/* What the files of a machine share: its parts, for those that work on the whole of it.
 */
#ifndef MACHINE_MACHINE_INTERNAL_H
#define MACHINE_MACHINE_INTERNAL_H

#include "cpu-accel/accel.h"
#include "machine/machine.h"
#include "machine/pc.h"

typedef struct MachineParts {
    Board *board;
    Pc *pc;
    Accel *accel;
    const MachineConfig *config;
    struct SnapshotLazy **lazy;  /* memory that is still to come */
    void (*settled)(void *self); /* with the machine: see SnapshotHost */
    struct SnapshotLine *line;
} MachineParts;

MachineParts machine_parts(Machine *m);
/* Runs something on the machine's thread, between two instructions, and waits for it. */
void machine_call(Machine *m, void (*run)(Machine *m, void *argument), void *argument);
/* One snapshot at a time; media stay where they are meanwhile. False: there is one going on. */
bool machine_snapshot_enter(Machine *m);
void machine_snapshot_leave(Machine *m);
/* Any thread but the machine's: waits until all memory is there. False: some of it is lost. */
bool machine_memory_wait(Machine *m, Err *err);
/* The snapshot that the machine goes on from, 64 bytes; between enter and leave. */
char *machine_snapshot_parent(Machine *m);
/* Machine's thread: all of its state is another one; it is paused. broken: it is reset, too. */
void machine_was_loaded(Machine *m, bool broken);

#endif
