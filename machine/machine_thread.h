/* A machine from within: what its thread (machine.c) and the calls that it answers
 * (machine_control.c) share. The rest of the program sees machine.h.
 */
#ifndef MACHINE_MACHINE_THREAD_H
#define MACHINE_MACHINE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "machine/engine.h"
#include "machine/machine_internal.h"
#include "machine/pace.h"
#include "machine/slack.h"
#include "machine/snapshot.h"

enum { MAX_LISTENERS = 8 };

/* A call carried to the machine's thread; it stands on the caller's stack. */
typedef struct Call {
    void (*run)(Machine *m, void *argument);
    void *argument;
    bool done;
    struct Call *next;
} Call;

typedef struct Listener {
    void (*heard)(void *self, const MachineEvent *event);
    void *self;
} Listener;

struct Machine {
    MachineConfig config;
    Board *board;
    Pc *pc;
    Accel accel;
    EngineBack back;
    bool changing_engine; /* under lock */

    pthread_t thread;
    atomic_bool started;
    pthread_mutex_t starting; /* recursive: calls before the start run in their callers' threads */
    pthread_mutex_t lock;
    pthread_cond_t wake;     /* the machine's thread waits on it when the guest is idle or paused */
    pthread_cond_t answered; /* callers wait on it */
    bool woken;
    Call *calls;
    bool finished; /* the thread has left its loop */

    /* of the machine's thread */
    Listener listeners[MAX_LISTENERS];
    unsigned listener_count;
    atomic_int state; /* RunState */
    bool reset_wanted, shutdown_wanted, by_guest;
    bool quit;
    int exit_status;
    atomic_bool in_snapshot; /* one is being saved or loaded */
    char parent[64];         /* the last one that was; of whoever has entered */
    SnapshotLazy *lazy;      /* memory that is still to come from a snapshot; NULL: none */
    SnapshotLine *line;      /* what the next snapshot may build on; NULL: nothing, ever */
    atomic_bool settled;     /* it has come, or is damaged */
    bool memory_lost;        /* some never came: the guest must not run on */
    Slack slack;
    int64_t hurried; /* guest ns of the last hurry */
    Pace pace;
    atomic_uint kips; /* of the pace, for other threads */
    int64_t lead;     /* counted clock: host time minus guest time when it last began to run */
};

/* All of these on the machine's thread. */
void machine_tell(Machine *m, const MachineEvent *event);
/* Starts or stops guest time with it, and tells of both. */
void machine_set_running(Machine *m, RunState state);
/* Ends the loading of a snapshot's memory. `wait`: when all of it is there. */
void machine_end_lazy(Machine *m, bool wait);
/* While it is set no other thread touches the engine; the machine's thread is then on its way to
 * the top of its loop, where it sees whatever woke it. */
void machine_set_changing_engine(Machine *m, bool changing);
/* The engine that keeps a speed for whoever asked for this one; NULL: that one cannot. */
const char *machine_paced_engine(const char *name);
/* kips: thousands of instructions a second; 0: as fast as it goes. */
bool machine_keep_speed(Machine *m, uint32_t kips, Err *err);

#endif
