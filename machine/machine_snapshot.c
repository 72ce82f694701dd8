/* A machine's snapshots: carries machine/snapshot.h to the machine's thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"
#include "machine/machine_internal.h"
#include "machine/snapshot.h"

LOG_TAG("snapshot");

typedef struct Carried {
    void (*run)(void *argument);
    void *argument;
} Carried;

static void do_carried(Machine *m, void *argument)
{
    const Carried *carried = argument;
    (void)m;
    carried->run(carried->argument);
}

static void carry(void *self, void (*run)(void *argument), void *argument)
{
    Carried carried = {run, argument};
    machine_call(self, do_carried, &carried);
}

static bool enter(Machine *m, SnapshotHost *host, Err *err)
{
    if (!machine_snapshot_enter(m)) {
        return err_set(err, "another snapshot is being saved or loaded; try again when it is done");
    }
    MachineParts parts = machine_parts(m);
    *host = (SnapshotHost){.board = parts.board,
                           .pc = parts.pc,
                           .accel = parts.accel,
                           .config = parts.config,
                           .parent = machine_snapshot_parent(m),
                           .call = carry,
                           .lazy = parts.lazy,
                           .settled = parts.settled,
                           .line = parts.line,
                           .self = m};
    return true;
}

static void goes_on_from(Machine *m, const char *name)
{
    const char *slash = strrchr(name, '/');
    snprintf(machine_snapshot_parent(m), 64, "%.63s", slash ? slash + 1 : name);
}

bool machine_snapshot_save(Machine *m, const char *name, const char *note, Err *err)
{
    SnapshotHost host;
    SnapshotFigures figures;
    if (!enter(m, &host, err)) {
        return false;
    }
    bool done = machine_memory_wait(m, err) && snapshot_save(&host, name, note, &figures, err);
    if (done) {
        goes_on_from(m, name);
    }
    machine_snapshot_leave(m);
    if (done) {
        log_info("'%s' saved: %lld ms, %llu KiB; the guest stood still for %lld us at most", name,
                 (long long)figures.total_ns / 1000000, (unsigned long long)figures.bytes / 1024,
                 (long long)figures.pause_ns / 1000);
    }
    return done;
}

static void do_loaded(Machine *m, void *argument)
{
    machine_was_loaded(m, *(SnapshotOutcome *)argument == SNAPSHOT_BROKEN);
}

bool machine_snapshot_load(Machine *m, const char *name, Err *err)
{
    SnapshotHost host;
    SnapshotFigures figures;
    if (!enter(m, &host, err)) {
        return false;
    }
    bool was_running = machine_state(m) == RUN_STATE_RUNNING;
    machine_pause(m);
    SnapshotOutcome outcome = snapshot_load(&host, name, &figures, err);
    if (outcome != SNAPSHOT_REFUSED) {
        machine_call(m, do_loaded, &outcome);
    }
    if (outcome == SNAPSHOT_LOADED) {
        goes_on_from(m, name);
    }
    if (was_running && outcome != SNAPSHOT_BROKEN) {
        machine_resume(m);
    }
    machine_snapshot_leave(m);
    if (outcome == SNAPSHOT_BROKEN) {
        Err why = *err;
        err->text[0] = '\0';
        return err_set(err, "%.400s; the machine has been reset and paused", why.text);
    }
    if (outcome == SNAPSHOT_LOADED) {
        log_info("'%s' loaded: picture after %.1f ms, the guest after %.1f ms", name,
                 (double)figures.frame_ns / 1e6, (double)figures.total_ns / 1e6);
    }
    return outcome == SNAPSHOT_LOADED;
}

bool machine_snapshot_delete(Machine *m, const char *name, Err *err)
{
    SnapshotHost host;
    if (!enter(m, &host, err)) {
        return false;
    }
    Err ignored = {""};
    machine_memory_wait(m, &ignored); /* it may be coming from this one */
    bool done = snapshot_delete(&host, name, err);
    machine_snapshot_leave(m);
    return done;
}

bool machine_snapshot_thumbnail(Machine *m, const char *name, const char *path, Err *err)
{
    SnapshotHost host;
    size_t size;
    if (!enter(m, &host, err)) {
        return false;
    }
    uint8_t *png = snapshot_thumbnail(&host, name, &size, err);
    machine_snapshot_leave(m);
    FILE *file = png ? fopen(path, "wb") : NULL;
    bool done = file && fwrite(png, 1, size, file) == size;
    done = file && fclose(file) == 0 && done;
    free(png);
    return done || err_set(err, "'%s' cannot be written: %s", path, strerror(errno));
}

unsigned machine_snapshot_query(Machine *m, SnapshotInfo *list, unsigned room)
{
    SnapshotHost host;
    Err ignored = {""};
    if (!enter(m, &host, &ignored)) {
        return 0;
    }
    unsigned count = snapshot_list(&host, list, room);
    machine_snapshot_leave(m);
    return count;
}
