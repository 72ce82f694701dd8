/* A machine's thread: the loop that runs the processor, fires timers, delivers events, and answers
 * other threads. */
#include "machine/machine.h"
#include "machine/pace.h"

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
#include "machine/info.h"
#include "machine/machine_internal.h"
#include "machine/pc.h"
#include "machine/slack.h"
#include "machine/snapshot.h"

LOG_TAG("machine");

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

static void tell(Machine *m, const MachineEvent *event)
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

/* While it is set no other thread touches the engine; the machine's thread is then on its way to
 * the top of its loop, where it sees whatever woke it. */
static void set_changing_engine(Machine *m, bool changing)
{
    pthread_mutex_lock(&m->lock);
    m->changing_engine = changing;
    pthread_mutex_unlock(&m->lock);
}

static bool replace_engine(Machine *m)
{
    set_changing_engine(m, true);
    bool done = engine_replace(&m->accel, &m->back);
    set_changing_engine(m, false);
    return done;
}

static void return_engine(Machine *m)
{
    set_changing_engine(m, true);
    engine_back(&m->accel, &m->back);
    set_changing_engine(m, false);
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

static void set_running(Machine *m, RunState state)
{
    RunState before = machine_state(m);
    if (before == state) {
        return;
    }
    atomic_store(&m->state, state);
    clock_run(&m->board->clock, state == RUN_STATE_RUNNING);
    m->lead = host_time_ns() - clock_peek(&m->board->clock);
    if (before == RUN_STATE_RUNNING) {
        tell(m, &(MachineEvent){.kind = MACHINE_STOPPED});
    } else if (state == RUN_STATE_RUNNING) {
        tell(m, &(MachineEvent){.kind = MACHINE_RESUMED});
    }
}

static void tray_moved(void *self, const char *device, bool open)
{
    tell(self, &(MachineEvent){
                   .kind = MACHINE_TRAY_MOVED, .by_guest = true, .device = device, .open = open});
}

static void io_failed(void *self, const char *device)
{
    Machine *m = self;
    tell(m, &(MachineEvent){.kind = MACHINE_IO_ERROR, .device = device});
    set_running(m, RUN_STATE_IO_ERROR);
    atomic_store(&pc_cpu(m->pc)->attention, true);
}

/* The engine that keeps a speed for whoever asked for this one; NULL: that one cannot. */
static const char *paced_engine(const char *name)
{
    if (!name || strcmp(name, "auto") == 0) {
        return engine_has_translator() ? accel_translator.name : accel_interpreter.name;
    }
    bool can = strcmp(name, accel_interpreter.name) == 0 ||
               strcmp(name, accel_translator.name) == 0 || strcmp(name, "tcg") == 0;
    return can ? name : NULL;
}

typedef struct SpeedCall {
    uint32_t kips;
    Err *err;
    bool done;
} SpeedCall;

static void do_set_speed(Machine *m, void *argument)
{
    SpeedCall *call = argument;
    if (call->kips && !m->accel.ops->paced) {
        err_set(call->err, "the %s knows no speed but max; use -accel translator with -speed",
                m->accel.ops->name);
    } else if (call->kips && m->config.icount_shift >= 0) {
        err_set(call->err, "-icount says itself how long an instruction takes: leave -speed away");
    } else {
        pace_set(&m->pace, call->kips, clock_peek(&m->board->clock), pc_cpu(m->pc)->executed);
        atomic_store(&m->kips, call->kips);
        call->done = true;
    }
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
    SpeedCall speed = {.err = err};
    if (m->config.speed && !pace_parse(m->config.speed, &speed.kips, err)) {
        machine_free(m);
        return NULL;
    }
    const char *engine = m->config.accel;
    if (speed.kips && paced_engine(engine)) {
        engine = paced_engine(engine);
    }
    if (!engine_open(&m->accel, engine, pc_cpu(m->pc), m->board, err)) {
        machine_free(m);
        return NULL;
    }
    do_set_speed(m, &speed);
    if (!speed.done) {
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
    set_running(m, RUN_STATE_SHUTDOWN);
    tell(m, &(MachineEvent){
                .kind = MACHINE_SHUTDOWN, .by_guest = m->by_guest, .exit_status = m->exit_status});
}

static void memory_settled(void *self)
{
    Machine *m = self;
    atomic_store(&m->settled, true);
    wake_up(m);
}

/* `wait`: until all of a loaded snapshot's memory is there. */
static void end_lazy(Machine *m, bool wait)
{
    Err err = {""};
    SnapshotLazy *lazy = m->lazy;
    m->lazy = NULL;
    if (!snapshot_lazy_end(lazy, wait, &err)) {
        log_error("%s; the machine is paused: reset it, or load another snapshot", err.text);
        m->memory_lost = true;
        tell(m, &(MachineEvent){.kind = MACHINE_IO_ERROR, .device = "snapshot"});
        set_running(m, RUN_STATE_IO_ERROR);
    }
}

static void look_after_memory(Machine *m)
{
    Err ignored;
    if (atomic_load(&m->settled)) {
        atomic_store(&m->settled, false);
        if (m->lazy && (snapshot_lazy_done(m->lazy) || snapshot_lazy_failed(m->lazy, &ignored))) {
            end_lazy(m, false);
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
    tell(m, &(MachineEvent){.kind = MACHINE_WAS_RESET, .by_guest = m->by_guest});
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

/* Where the host gave the guest no processor when a timer was due, it fires at its own time all the
 * same, with the guest's time to see to it before the next. */
static void hold_back(Clock *clock)
{
    int64_t due = clock_next_due(clock);
    if (clock->patient && clock_peek(clock) - due > CLOCK_LATE) {
        clock_hold_back(clock, due);
    }
}

/* A guest that does not sleep makes up for that little by little, the faster the more there is:
 * three times as fast at most. */
static void hurry(Machine *m)
{
    Clock *clock = &m->board->clock;
    int64_t now = clock_peek(clock), passed = now - m->hurried, due = clock_next_due(clock);
    if (clock->patient && clock->behind && passed > 0) {
        passed = passed < CLOCK_BEHIND_MOST ? passed : CLOCK_BEHIND_MOST;
        now += 2 * passed * clock->behind / CLOCK_BEHIND_MOST;
        clock_make_up(clock, due < now ? due : now);
    }
    m->hurried = clock_peek(clock);
}

static void run_guest(Machine *m)
{
    Clock *clock = &m->board->clock;
    clock->patient = clock->source == CLOCK_HOST && m->accel.ops->clocked;
    hold_back(clock);
    clock_fire_due(clock);
    hurry(m);
    if (!paced(m)) {
        return;
    }
    RunExit exit = m->accel.ops->run(&m->accel, clock_next_due(clock));
    hold_back(clock);
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
            set_running(m, RUN_STATE_PAUSED);
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
        set_running(m, RUN_STATE_RUNNING);
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

static void do_pause(Machine *m, void *argument)
{
    (void)argument;
    if (machine_state(m) == RUN_STATE_RUNNING) {
        set_running(m, RUN_STATE_PAUSED);
    }
}

void machine_pause(Machine *m)
{
    machine_call(m, do_pause, NULL);
}

static void do_resume(Machine *m, void *argument)
{
    (void)argument;
    RunState before = machine_state(m);
    if (m->memory_lost) {
        log_error("some of the snapshot's memory was damaged: reset the machine, or load another");
        return;
    }
    if (before == RUN_STATE_PAUSED || before == RUN_STATE_IO_ERROR) {
        set_running(m, RUN_STATE_RUNNING);
    }
    if (before == RUN_STATE_IO_ERROR) {
        pc_retry(m->pc);
    }
}

void machine_resume(Machine *m)
{
    machine_call(m, do_resume, NULL);
}

static void do_reset(Machine *m, void *argument)
{
    (void)argument;
    m->reset_wanted = true;
    m->by_guest = false;
    if (machine_state(m) == RUN_STATE_SHUTDOWN) {
        set_running(m, RUN_STATE_PAUSED);
    }
}

void machine_reset(Machine *m)
{
    machine_call(m, do_reset, NULL);
}

static void do_powerdown(Machine *m, void *argument)
{
    (void)argument;
    tell(m, &(MachineEvent){.kind = MACHINE_POWERDOWN});
    pc_power_button(m->pc);
}

void machine_powerdown(Machine *m)
{
    machine_call(m, do_powerdown, NULL);
}

void machine_input(Machine *m, const InputEvent *event)
{
    pc_input(m->pc, event);
}

void machine_pads(Machine *m, const PadState *pads)
{
    pc_pads(m->pc, pads);
}

bool machine_wants_absolute(const Machine *m)
{
    return pc_wants_absolute(m->pc);
}

uint8_t machine_keyboard_leds(const Machine *m)
{
    return pc_keyboard_leds(m->pc);
}

Screen *machine_screen(Machine *m)
{
    return pc_screen(m->pc);
}

struct Mixer *machine_mixer(Machine *m)
{
    return pc_mixer(m->pc);
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
    set_running(m, RUN_STATE_PAUSED);
}

typedef struct TextCall {
    char *text;
    size_t room;
    bool is_text;
} TextCall;

static void do_text(Machine *m, void *argument)
{
    TextCall *call = argument;
    call->is_text = pc_text(m->pc, call->text, call->room);
}

bool machine_text(Machine *m, char *text, size_t room)
{
    TextCall call = {text, room, false};
    machine_call(m, do_text, &call);
    return call.is_text;
}

typedef struct TextSizeCall {
    unsigned *columns, *rows;
} TextSizeCall;

static void do_text_size(Machine *m, void *argument)
{
    TextSizeCall *call = argument;
    pc_text_size(m->pc, call->columns, call->rows);
}

bool machine_text_size(Machine *m, unsigned *columns, unsigned *rows)
{
    TextSizeCall call = {columns, rows};
    *columns = *rows = 0;
    machine_call(m, do_text_size, &call);
    return *columns && *rows;
}

static void do_time(Machine *m, void *argument)
{
    *(int64_t *)argument = clock_peek(&m->board->clock);
}

int64_t machine_time(Machine *m)
{
    int64_t now = 0;
    machine_call(m, do_time, &now);
    return now;
}

typedef struct MediaCall {
    BlockInfo *info;
    unsigned count;
    const char *id, *file, *format;
    bool flag; /* read-only, or by force */
    bool done;
    Err *err;
} MediaCall;

static void do_block_query(Machine *m, void *argument)
{
    MediaCall *call = argument;
    call->count = pc_block_query(m->pc, call->info, call->count);
}

unsigned machine_block_query(Machine *m, BlockInfo *info, unsigned room)
{
    MediaCall call = {.info = info, .count = room};
    machine_call(m, do_block_query, &call);
    return call.count;
}

static bool media_free(Machine *m, Err *err)
{
    if (m->lazy) { /* it may lie in one of them */
        end_lazy(m, true);
    }
    return !atomic_load(&m->in_snapshot) ||
           err_set(err, "a snapshot is being saved; try again when it is done");
}

static void do_change_medium(Machine *m, void *argument)
{
    MediaCall *call = argument;
    call->done = media_free(m, call->err) &&
                 pc_change_medium(m->pc, call->id, call->file, call->format, call->flag, call->err);
    if (call->done) {
        tell(m, &(MachineEvent){.kind = MACHINE_TRAY_MOVED, .device = call->id, .open = false});
    }
}

bool machine_change_medium(Machine *m, const char *id, const char *file, const char *format,
                           bool read_only, Err *err)
{
    MediaCall call = {.id = id, .file = file, .format = format, .flag = read_only, .err = err};
    machine_call(m, do_change_medium, &call);
    return call.done;
}

static void do_eject(Machine *m, void *argument)
{
    MediaCall *call = argument;
    call->done = media_free(m, call->err) && pc_eject(m->pc, call->id, call->flag, call->err);
    if (call->done) {
        tell(m, &(MachineEvent){.kind = MACHINE_TRAY_MOVED, .device = call->id, .open = true});
    }
}

bool machine_eject(Machine *m, const char *id, bool force, Err *err)
{
    MediaCall call = {.id = id, .flag = force, .err = err};
    machine_call(m, do_eject, &call);
    return call.done;
}

typedef struct AccelCall {
    const char *name;
    Err *err;
    bool done;
} AccelCall;

static void do_set_accel(Machine *m, void *argument)
{
    AccelCall *call = argument;
    const char *name = m->pace.kips ? paced_engine(call->name) : call->name;
    if (!name) {
        call->done = err_set(call->err,
                             "the machine has a speed, which the %s does not keep: "
                             "x-set-speed max first",
                             call->name);
        return;
    }
    set_changing_engine(m, true);
    call->done = engine_change(&m->accel, name, call->err);
    m->back = call->done ? (EngineBack){.to = NULL} : m->back; /* the user's word counts */
    set_changing_engine(m, false);
}

bool machine_set_accel(Machine *m, const char *name, Err *err)
{
    AccelCall call = {.name = name, .err = err};
    machine_call(m, do_set_accel, &call);
    return call.done;
}

typedef struct StepCall {
    unsigned wanted, done;
    Err *err;
    bool good;
} StepCall;

static void do_step(Machine *m, void *argument)
{
    StepCall *call = argument;
    Cpu *cpu = pc_cpu(m->pc);
    RunExit exit = RUN_DUE;
    if (machine_state(m) != RUN_STATE_PAUSED) {
        err_set(call->err, "only a paused machine takes single steps: stop it first");
        return;
    }
    if (!m->accel.ops->paced && !m->accel.ops->steps) {
        err_set(call->err, "engine %s takes no single steps: x-set-accel to another one first",
                m->accel.ops->name);
        return;
    }
    while (exit == RUN_DUE && call->done < call->wanted && !m->reset_wanted &&
           !m->shutdown_wanted && !m->quit) {
        uint64_t before = cpu->executed;
        atomic_store(&cpu->attention, false);
        m->accel.budget = call->wanted - call->done;
        exit = m->accel.ops->run(&m->accel, CLOCK_NEVER);
        call->done += (unsigned)(cpu->executed - before);
    }
    m->accel.budget = 0;
    call->good = exit != RUN_FAILED || err_set(call->err, "%s", m->accel.failure);
}

bool machine_step(Machine *m, unsigned instructions, unsigned *done, Err *err)
{
    StepCall call = {.wanted = instructions, .err = err};
    machine_call(m, do_step, &call);
    *done = call.done;
    return call.good;
}

bool machine_set_speed(Machine *m, const char *speed, Err *err)
{
    SpeedCall call = {.err = err};
    if (!pace_parse(speed, &call.kips, err)) {
        return false;
    }
    machine_call(m, do_set_speed, &call);
    return call.done;
}

void machine_speed(const Machine *m, char name[MACHINE_SPEED])
{
    pace_name(atomic_load(&m->kips), name);
}

typedef struct InfoCall {
    const char *what;
    void (*line)(void *self, const char *text);
    void *self;
    bool known;
} InfoCall;

static void do_info(Machine *m, void *argument)
{
    InfoCall *call = argument;
    m->accel.ops->pull(&m->accel);
    call->known =
        info_view(call->what, pc_cpu(m->pc), m->board, machine_accel(m), call->line, call->self);
    if (strcmp(call->what, "engine") == 0 && m->accel.ops->describe) {
        m->accel.ops->describe(&m->accel, call->line, call->self);
    }
}

bool machine_info(Machine *m, const char *what, void (*line)(void *self, const char *text),
                  void *self)
{
    InfoCall call = {what, line, self, false};
    machine_call(m, do_info, &call);
    return call.known;
}
