/* Snapshots of a whole machine: memory, devices and disks at one instant, saved while it runs.
 *
 * Memory is copied in rounds while the guest goes on, each round what was written since the last,
 * until so little is left that it can be copied between two instructions; that moment is the
 * snapshot's instant. Disks in qcow2 images keep an internal snapshot; all other writable disks are
 * copied into the snapshot: the first time as a whole, later what was written since the snapshot
 * that the machine goes on from, on which the new one then builds. It lies in the first qcow2
 * disk's machine state area (complete in itself then), or in a file beside the first image.
 *
 * Calls come from one thread at a time, any but the machine's while that runs; they take their time
 * and carry what must be done between two instructions to the machine's thread.
 */
#ifndef MACHINE_SNAPSHOT_H
#define MACHINE_SNAPSHOT_H

#include "cpu-accel/accel.h"
#include "machine/host/disk_file.h"
#include "machine/machine.h"
#include "machine/pc.h"

/* What the next snapshot may build on. */
typedef struct SnapshotLine SnapshotLine;
SnapshotLine *snapshot_line_new(void); /* NULL: no memory */
/* While the board's block queue is there. NULL is allowed. */
void snapshot_line_free(SnapshotLine *line, BlockQueue *queue);

/* Memory that is still to come from a snapshot that was loaded. */
typedef struct SnapshotLazy SnapshotLazy;

/* The machine, as snapshots need it. */
typedef struct SnapshotHost {
    Board *board;
    Pc *pc;
    Accel *accel;
    const MachineConfig *config;
    /* Runs something on the machine's thread, between two instructions, and waits for it. */
    void (*call)(void *self, void (*run)(void *argument), void *argument);
    void *self;
    /* load: where memory that comes later is kept; NULL: all of it is brought at once.
     * settled(self) is called, from any thread, when all has come or some turns out to be damaged.
     */
    SnapshotLazy **lazy;
    void (*settled)(void *self);
    const char *parent;       /* save: the snapshot that the machine goes on from; NULL: none */
    const DiskFaults *faults; /* tests: of the snapshot's own file */
    SnapshotLine *line;       /* the machine's; NULL: each snapshot is complete in itself */
} SnapshotHost;

typedef struct SnapshotFigures {
    int64_t pause_ns; /* save: the longest stop of the guest; load: all of it */
    int64_t total_ns; /* until it is on the disk, or runs on */
    int64_t frame_ns; /* load: until the picture shows */
    unsigned rounds;
    uint64_t bytes; /* save: written */
} SnapshotFigures;

/* name: a tag, or a file's path when it holds a slash or ends in ".vsnap". note may be NULL,
 * figures too. An older one of that name is replaced. On failure nothing is left behind. */
bool snapshot_save(const SnapshotHost *host, const char *name, const char *note,
                   SnapshotFigures *figures, Err *err);

typedef enum SnapshotOutcome {
    SNAPSHOT_LOADED,
    SNAPSHOT_REFUSED, /* the machine is as it was */
    SNAPSHOT_BROKEN,  /* part of it was overwritten: it must be reset */
} SnapshotOutcome;

SnapshotOutcome snapshot_load(const SnapshotHost *host, const char *name, SnapshotFigures *figures,
                              Err *err);
/* From any thread, while it is kept. */
bool snapshot_lazy_done(const SnapshotLazy *l);
/* Has some of it turned out to be damaged? */
bool snapshot_lazy_failed(SnapshotLazy *l, Err *err);
/* Machine's thread. Frees it; `wait`: when all of it has come, else what is missing is lost. False
 * with err: some of it was damaged. NULL is allowed. */
bool snapshot_lazy_end(SnapshotLazy *l, bool wait, Err *err);

bool snapshot_delete(const SnapshotHost *host, const char *name, Err *err);
/* Those of this machine's disks, oldest first; at most `room`. */
unsigned snapshot_list(const SnapshotHost *host, SnapshotInfo *list, unsigned room);
/* PNG, freed by the caller; NULL: there is none. */
uint8_t *snapshot_thumbnail(const SnapshotHost *host, const char *name, size_t *size, Err *err);

#endif
