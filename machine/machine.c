/* A machine and its thread: the loop that runs the processor, fires timers, delivers events, and
 * answers other threads. What they ask for is in machine_control.c. */
#include "machine/machine.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu-accel/x86/idle.h"
#include "machine/core/log.h"
#include "machine/engine.h"
#include "machine/host/host_time.h"
#include "machine/machine_thread.h"
#include "machine/pc.h"
#include "machine/snapshot.h"

LOG_TAG("machine");

void machine_tell(Machine *m, const MachineEvent *event)
{
    for (unsigned i = 0; i < m->listener_count; i++) {
        m->listeners[i].heard(m->listeners[i].self, event);
    }
}

static void wake_up(void *self)
{
    Machine *m = self;
    pthread_mutex_lock(&m->lock);
    m->woken = true;
    pthread_cond_signal(&m->wake);
    if (m->accel.ops && !m->changing_engine) {
        m->accel.ops->kick(&m->accel);
    }
    pthread_mutex_unlock(&m->lock);
}

void machine_set_changing_engine(Machine *m, bool changing)
{
    pthread_mutex_lock(&m->lock);
    m->changing_engine = changing;
    pthread_mutex_unlock(&m->lock);
}

static bool replace_engine(Machine *m)
{
    machine_set_changing_engine(m, true);
    bool done = engine_replace(&m->accel, &m->back);
    machine_set_changing_engine(m, false);
    return done;
}

static void return_engine(Machine *m)
{
    machine_set_changing_engine(m, true);
    engine_back(&m->accel, &m->back);
    machine_set_changing_engine(m, false);
}

/* A timer was armed ahead of all others while the processor runs towards a later one. */
static void deadline_moved(void *self)
{
    Machine *m = self;
    atomic_store(&pc_cpu(m->pc)->attention, true);
}

static void want_reset(void *self)
{
    Machine *m = self;
    m->reset_wanted = true;
    m->by_guest = true;
    atomic_store(&pc_cpu(m->pc)->attention, true);
}

static void want_power_off(void *self)
{
    Machine *m = self;
    m->shutdown_wanted = true;
    m->by_guest = true;
    atomic_store(&pc_cpu(m->pc)->attention, true);
}

static void want_debug_exit(void *self, int exit_status)
{
    Machine *m = self;
    m->exit_status = exit_status;
    m->quit = true;
    atomic_store(&pc_cpu(m->pc)->attention, true);
}

void machine_set_running(Machine *m, RunState state)
{
    RunState before = machine_state(m);
    if (before == state) {
        return;
    }
    atomic_store(&m->state, state);
    clock_run(&m->board->clock, state == RUN_STATE_RUNNING);
    m->lead = host_time_ns() - clock_peek(&m->board->clock);
    if (before == RUN_STATE_RUNNING) {
        machine_tell(m, &(MachineEvent){.kind = MACHINE_STOPPED});
    } else if (state == RUN_STATE_RUNNING) {
        machine_tell(m, &(MachineEvent){.kind = MACHINE_RESUMED});
    }
}

static void tray_moved(void *self, const char *device, bool open)
{
    machine_tell(self,
                 &(MachineEvent){
                     .kind = MACHINE_TRAY_MOVED, .by_guest = true, .device = device, .open = open});
}

static void io_failed(void *self, const char *device, const MachineIoError *what)
{
    Machine *m = self;
    machine_tell(m, &(MachineEvent){.kind = MACHINE_IO_ERROR, .device = device, .io = *what});
    if (what->action != DRIVE_ERROR_STOP) {
        return;
    }
    machine_set_running(m, RUN_STATE_IO_ERROR);
    atomic_store(&pc_cpu(m->pc)->attention, true);
}

Machine *machine_new(const MachineConfig *config, Err *err)
{
    Machine *m = calloc(1, sizeof(*m));
    if (!m) {
        err_set(err, "out of memory");
        return NULL;
    }
    machine_config_copy(&m->config, config);
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&m->starting, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&m->wake, &monotonic);
    pthread_cond_init(&m->answered, NULL);
    pthread_condattr_destroy(&monotonic);
    atomic_store(&m->state, RUN_STATE_PAUSED);

    PcHost host = {want_reset, want_power_off, want_debug_exit, io_failed, tray_moved, m};
    m->board = board_new(err);
    if (m->board) {
        event_queue_wake(m->board->events, wake_up, m);
    }
    m->pc = pc_new();
    if (!m->board || !m->pc || !pc_build(m->pc, m->board, &m->config, &host, err)) {
        machine_free(m);
        return NULL;
    }
    m->line = snapshot_line_new();
    if (m->config.icount_shift >= 0) {
        clock_use_count(&m->board->clock, &pc_cpu(m->pc)->executed,
                        (unsigned)m->config.icount_shift);
    } else {
        clock_use_host(&m->board->clock, host_time_ns);
    }
    uint32_t kips = 0;
    if (m->config.speed && !pace_parse(m->config.speed, &kips, err)) {
        machine_free(m);
        return NULL;
    }
    const char *engine = m->config.accel;
    if (kips && machine_paced_engine(engine)) {
        engine = machine_paced_engine(engine);
    }
    if (!engine_open(&m->accel, engine, pc_cpu(m->pc), m->board, err) ||
        !machine_keep_speed(m, kips, err)) {
        machine_free(m);
        return NULL;
    }
    m->board->clock.changed = deadline_moved;
    m->board->clock.changed_self = m;
    board_reset(m->board, RESET_POWER);
    m->accel.ops->push(&m->accel);
    return m;
}

static void power_down(Machine *m)
{
    pc_drain(m->pc);
    machine_set_running(m, RUN_STATE_SHUTDOWN);
    machine_tell(m, &(MachineEvent){.kind = MACHINE_SHUTDOWN,
                                    .by_guest = m->by_guest,
                                    .exit_status = m->exit_status});
}

static void memory_settled(void *self)
{
    Machine *m = self;
    atomic_store(&m->settled, true);
    wake_up(m);
}

void machine_end_lazy(Machine *m, bool wait)
{
    Err err = {""};
    SnapshotLazy *lazy = m->lazy;
    m->lazy = NULL;
    if (!snapshot_lazy_end(lazy, wait, &err)) {
        log_error("%s; the machine is paused: reset it, or load another snapshot", err.text);
        m->memory_lost = true;
        machine_tell(m, &(MachineEvent){.kind = MACHINE_IO_ERROR, .device = "snapshot"});
        machine_set_running(m, RUN_STATE_IO_ERROR);
    }
}

static void look_after_memory(Machine *m)
{
    Err ignored;
    if (atomic_load(&m->settled)) {
        atomic_store(&m->settled, false);
        if (m->lazy && (snapshot_lazy_done(m->lazy) || snapshot_lazy_failed(m->lazy, &ignored))) {
            machine_end_lazy(m, false);
        }
    }
}

static void hard_reset(Machine *m)
{
    m->reset_wanted = false;
    if (m->config.no_reboot && m->by_guest) {
        m->shutdown_wanted = true;
        return;
    }
    m->accel.ops->pull(&m->accel);
    board_reset(m->board, RESET_HARD);
    m->accel.ops->push(&m->accel);
    m->memory_lost = false;
    machine_tell(m, &(MachineEvent){.kind = MACHINE_WAS_RESET, .by_guest = m->by_guest});
    m->by_guest = false;
}

/* Takes and runs the calls of other threads. */
static void answer_calls(Machine *m)
{
    pthread_mutex_lock(&m->lock);
    m->woken = false;
    while (m->calls) {
        Call *call = m->calls;
        m->calls = call->next;
        pthread_mutex_unlock(&m->lock);
        call->run(m, call->argument);
        pthread_mutex_lock(&m->lock);
        call->done = true;
        pthread_cond_broadcast(&m->answered);
    }
    pthread_mutex_unlock(&m->lock);
}

/* Sleeps until host time `when` (CLOCK_NEVER: without end) or until woken. */
static void sleep_until(Machine *m, int64_t when)
{
    pthread_mutex_lock(&m->lock);
    while (!m->woken && !event_waiting(m->board->events)) {
        if (when == CLOCK_NEVER) {
            pthread_cond_wait(&m->wake, &m->lock);
            continue;
        }
        struct timespec until = {when / CLOCK_NS_PER_S, when % CLOCK_NS_PER_S};
        if (pthread_cond_timedwait(&m->wake, &m->lock, &until) == ETIMEDOUT) {
            break;
        }
    }
    pthread_mutex_unlock(&m->lock);
}

/* As idle, where guest time follows the host's. */
static void idle_by_host(Machine *m, int64_t end, bool halted)
{
    Clock *clock = &m->board->clock;
    int64_t due = clock_next_wake(clock, 0);
    if (clock_make_up(clock, due < end ? due : end)) {
        return;
    }
    int64_t now = clock_peek(clock), host_now = host_time_ns();
    if (due <= now || end <= now) {
        return;
    }
    int64_t slack = halted ? slack_sleep(&m->slack, host_now) : 0;
    int64_t until = clock_next_wake(clock, clock->patient ? slack : 0);
    until = until < end ? until : end;
    if (m->accel.ops->rest) {
        m->accel.ops->rest(&m->accel, until);
    }
    sleep_until(m, until == CLOCK_NEVER ? CLOCK_NEVER : host_now + (until - now));
    int64_t slept_to = clock_peek(clock);
    if (halted && clock->patient && due < slept_to) {
        clock_hold_back(clock, due);
    }
    if (halted) {
        slack_woke(&m->slack, host_time_ns());
    }
}

/* The guest has nothing to do: wait for the next timer or event, for `most` ns at most. `halted`:
 * of its own will. */
static void idle(Machine *m, int64_t most, bool halted)
{
    Clock *clock = &m->board->clock;
    int64_t due = clock_next_due(clock), now = clock_peek(clock);
    if (clock->source == CLOCK_HOST) {
        idle_by_host(m, most == CLOCK_NEVER ? CLOCK_NEVER : now + most, halted);
        return;
    }
    if (most != CLOCK_NEVER && due - now > most) {
        due = now + most;
    }
    if (!m->config.icount_hurry || due == CLOCK_NEVER) {
        sleep_until(m, due == CLOCK_NEVER ? CLOCK_NEVER : due + m->lead);
        if (event_waiting(m->board->events)) {
            now = host_time_ns() - m->lead;
            clock_skip_to(clock, now < due ? now : due);
            return;
        }
    }
    if (due != CLOCK_NEVER) {
        clock_skip_to(clock, due);
    }
}

/* Gives the engine what a slower processor would have executed by now. False: nothing yet; the
 * machine has slept. */
static bool paced(Machine *m)
{
    int64_t when, now = clock_peek(&m->board->clock);
    uint64_t budget = pace_budget(&m->pace, now, pc_cpu(m->pc)->executed, &when);
    m->accel.budget = budget == UINT64_MAX ? 0 : budget;
    if (budget == 0) {
        idle(m, when - now, false);
    }
    return budget != 0;
}

/* A guest that does not sleep makes up for that little by little, the faster the more there is:
 * three times as fast at most. What it waits for keeps its share of the time, too. */
static void hurry(Machine *m)
{
    Clock *clock = &m->board->clock;
    int64_t now = clock_peek(clock), passed = now - m->hurried, ahead = clock_next_due(clock) - now;
    if (clock->patient && clock->behind && passed > 0 && ahead > 0) {
        int64_t share = 2 * clock->behind, most = passed < ahead ? passed : ahead;
        most = most < CLOCK_BEHIND_MOST ? most : CLOCK_BEHIND_MOST;
        clock_make_up(clock, now + most * (share / 1000) / ((CLOCK_BEHIND_MOST + share) / 1000));
    }
    m->hurried = clock_peek(clock);
}

static void run_guest(Machine *m)
{
    Clock *clock = &m->board->clock;
    clock->patient = clock->source == CLOCK_HOST && m->accel.ops->clocked;
    clock_mend_stall(clock);
    clock_fire_due(clock);
    hurry(m);
    if (!paced(m)) {
        return;
    }
    RunExit exit = m->accel.ops->run(&m->accel, clock_next_due(clock));
    clock_mend_stall(clock);
    if (exit != RUN_FAILED && engine_back_due(&m->back, m->board)) {
        return_engine(m);
    }
    int64_t nap = idle_take(pc_cpu(m->pc));
    if (exit == RUN_HALTED) {
        idle(m, CLOCK_NEVER, true);
    } else if (nap && !pc_cpu(m->pc)->intr) {
        idle(m, nap, true);
        idle_woke(pc_cpu(m->pc));
    } else if (exit == RUN_FAILED && !replace_engine(m)) {
        bool end = m->config.unattended && !m->config.no_shutdown;
        log_error("engine %s: %s; %s", m->accel.ops->name, m->accel.failure,
                  end ? "exiting" : "the machine is paused");
        if (end) {
            m->exit_status = 1;
            m->quit = true;
        } else {
            machine_set_running(m, RUN_STATE_PAUSED);
            machine_tell(m,
                         &(MachineEvent){.kind = MACHINE_ENGINE_FAILED, .why = m->accel.failure});
        }
    }
}

static void *machine_thread(void *self)
{
    Machine *m = self;
    pthread_mutex_lock(&m->starting); /* until machine_start is done */
    pthread_mutex_unlock(&m->starting);
    log_use_clock(&m->board->clock);
    if (!m->config.start_paused) {
        machine_set_running(m, RUN_STATE_RUNNING);
    }
    while (!m->quit) {
        atomic_store(&pc_cpu(m->pc)->attention, false);
        answer_calls(m);
        event_deliver(m->board->events);
        if (!atomic_load(&m->in_snapshot)) {
            look_after_memory(m);
        }
        if (m->reset_wanted) {
            hard_reset(m);
        }
        if (m->shutdown_wanted) {
            m->shutdown_wanted = false;
            power_down(m);
            m->quit |= !m->config.no_shutdown;
        }
        if (m->quit) {
            break;
        }
        if (machine_state(m) == RUN_STATE_RUNNING) {
            run_guest(m);
        } else {
            sleep_until(m, CLOCK_NEVER);
        }
    }
    if (machine_state(m) != RUN_STATE_SHUTDOWN) {
        power_down(m);
    }
    pthread_mutex_lock(&m->lock);
    m->finished = true;
    pthread_cond_broadcast(&m->answered);
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

bool machine_start(Machine *m, Err *err)
{
    pthread_mutex_lock(&m->starting);
    int failed = pthread_create(&m->thread, NULL, machine_thread, m);
    atomic_store(&m->started, failed == 0);
    pthread_mutex_unlock(&m->starting);
    return failed == 0 || err_set(err, "no thread for the machine: %s", strerror(failed));
}

/* True when the machine has no thread yet; no thread begins while `run` is at work. */
static bool call_before_start(Machine *m, void (*run)(Machine *m, void *argument), void *argument)
{
    pthread_mutex_lock(&m->starting);
    bool started = atomic_load(&m->started);
    if (!started) {
        run(m, argument);
    }
    pthread_mutex_unlock(&m->starting);
    return !started;
}

void machine_call(Machine *m, void (*run)(Machine *m, void *argument), void *argument)
{
    if (atomic_load(&m->started) && pthread_equal(pthread_self(), m->thread)) {
        run(m, argument);
        return;
    }
    if (call_before_start(m, run, argument)) {
        return;
    }
    Call call = {.run = run, .argument = argument};
    pthread_mutex_lock(&m->lock);
    Call **last = &m->calls;
    while (*last) {
        last = &(*last)->next;
    }
    *last = &call;
    pthread_mutex_unlock(&m->lock);
    wake_up(m);
    pthread_mutex_lock(&m->lock);
    while (!call.done && !m->finished) {
        pthread_cond_wait(&m->answered, &m->lock);
    }
    bool lost = !call.done;
    if (lost) { /* the thread is gone: nobody else will run it */
        for (Call **at = &m->calls; *at; at = &(*at)->next) {
            if (*at == &call) {
                *at = call.next;
                break;
            }
        }
    }
    pthread_mutex_unlock(&m->lock);
    if (lost) {
        run(m, argument);
    }
}

static void do_quit(Machine *m, void *argument)
{
    if (!m->quit) {
        m->exit_status = *(int *)argument;
        m->quit = true;
    }
}

void machine_quit(Machine *m, int exit_status)
{
    machine_call(m, do_quit, &exit_status);
}

int machine_wait(Machine *m)
{
    pthread_mutex_lock(&m->lock);
    while (atomic_load(&m->started) && !m->finished) {
        pthread_cond_wait(&m->answered, &m->lock);
    }
    pthread_mutex_unlock(&m->lock);
    return m->exit_status;
}

void machine_free(Machine *m)
{
    if (!m) {
        return;
    }
    if (atomic_load(&m->started)) {
        machine_quit(m, 0);
        pthread_join(m->thread, NULL);
    }
    snapshot_lazy_end(m->lazy, false, &(Err){""});
    if (m->line) {
        snapshot_line_free(m->line, pc_disks(m->pc));
    }
    engine_close(&m->accel);
    pc_unplug(m->pc);
    board_free(m->board);
    pc_free(m->pc);
    pthread_cond_destroy(&m->answered);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->starting);
    machine_config_free(&m->config);
    free(m);
}

void machine_listen(Machine *m, void (*heard)(void *self, const MachineEvent *event), void *self)
{
    if (m->listener_count < MAX_LISTENERS) {
        m->listeners[m->listener_count++] = (Listener){heard, self};
    }
}

RunState machine_state(const Machine *m)
{
    return (RunState)atomic_load(&m->state);
}

const char *machine_name(const Machine *m)
{
    return m->config.name ? m->config.name : "Vitrine";
}

const char *machine_accel(const Machine *m)
{
    return m->accel.ops->name;
}

MachineParts machine_parts(Machine *m)
{
    return (MachineParts){m->board, m->pc,          &m->accel, &m->config,
                          &m->lazy, memory_settled, m->line};
}

typedef struct MemoryCall {
    bool coming, lost;
} MemoryCall;

static void do_memory(Machine *m, void *argument)
{
    MemoryCall *call = argument;
    look_after_memory(m);
    *call = (MemoryCall){m->lazy != NULL, m->memory_lost};
}

bool machine_memory_wait(Machine *m, Err *err)
{
    MemoryCall call;
    for (;;) {
        machine_call(m, do_memory, &call);
        if (!call.coming) {
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return !call.lost || err_set(err, "some of this machine's memory is lost: the snapshot that it "
                                      "was loaded from is damaged; reset it first");
}

bool machine_snapshot_enter(Machine *m)
{
    return !atomic_exchange(&m->in_snapshot, true);
}

void machine_snapshot_leave(Machine *m)
{
    atomic_store(&m->in_snapshot, false);
    wake_up(m); /* what memory settled meanwhile */
}

char *machine_snapshot_parent(Machine *m)
{
    return m->parent;
}

void machine_was_loaded(Machine *m, bool broken)
{
    m->shutdown_wanted = false;
    m->memory_lost = false;
    m->reset_wanted = broken;
    m->by_guest = false;
    machine_set_running(m, RUN_STATE_PAUSED);
}
