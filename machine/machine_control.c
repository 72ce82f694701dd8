/* What other threads ask of a machine: pausing, resetting, media, engine, speed, single steps,
 * looks at its state. Each is carried to the machine's thread by machine_call.
 */
#include "machine/machine_thread.h"

#include <string.h>

#include "machine/core/log.h"
#include "machine/info.h"

LOG_TAG("machine");

static void do_pause(Machine *m, void *argument)
{
    (void)argument;
    if (machine_state(m) == RUN_STATE_RUNNING) {
        machine_set_running(m, RUN_STATE_PAUSED);
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
        machine_set_running(m, RUN_STATE_RUNNING);
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
        machine_set_running(m, RUN_STATE_PAUSED);
    }
}

void machine_reset(Machine *m)
{
    machine_call(m, do_reset, NULL);
}

static void do_powerdown(Machine *m, void *argument)
{
    (void)argument;
    machine_tell(m, &(MachineEvent){.kind = MACHINE_POWERDOWN});
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
        machine_end_lazy(m, true);
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
        machine_tell(
            m, &(MachineEvent){.kind = MACHINE_TRAY_MOVED, .device = call->id, .open = false});
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
        machine_tell(m,
                     &(MachineEvent){.kind = MACHINE_TRAY_MOVED, .device = call->id, .open = true});
    }
}

bool machine_eject(Machine *m, const char *id, bool force, Err *err)
{
    MediaCall call = {.id = id, .flag = force, .err = err};
    machine_call(m, do_eject, &call);
    return call.done;
}

static void do_commit(Machine *m, void *argument)
{
    MediaCall *call = argument;
    call->done = media_free(m, call->err) && pc_commit(m->pc, call->id, call->err);
}

bool machine_commit(Machine *m, const char *id, Err *err)
{
    MediaCall call = {.id = id, .err = err};
    machine_call(m, do_commit, &call);
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
    const char *name = m->pace.kips ? machine_paced_engine(call->name) : call->name;
    if (!name) {
        call->done = err_set(call->err,
                             "the machine has a speed, which the %s does not keep: "
                             "x-set-speed max first",
                             call->name);
        return;
    }
    machine_set_changing_engine(m, true);
    call->done = engine_change(&m->accel, name, call->err);
    m->back = call->done ? (EngineBack){.to = NULL} : m->back; /* the user's word counts */
    machine_set_changing_engine(m, false);
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

const char *machine_paced_engine(const char *name)
{
    if (!name || strcmp(name, "auto") == 0) {
        return engine_has_translator() ? accel_translator.name : accel_interpreter.name;
    }
    bool can = strcmp(name, accel_interpreter.name) == 0 ||
               strcmp(name, accel_translator.name) == 0 || strcmp(name, "tcg") == 0;
    return can ? name : NULL;
}

bool machine_keep_speed(Machine *m, uint32_t kips, Err *err)
{
    if (kips && !m->accel.ops->paced) {
        return err_set(err, "the %s knows no speed but max; use -accel translator with -speed",
                       m->accel.ops->name);
    }
    if (kips && m->config.icount_shift >= 0) {
        return err_set(err, "-icount says itself how long an instruction takes: leave -speed away");
    }
    pace_set(&m->pace, kips, clock_peek(&m->board->clock), pc_cpu(m->pc)->executed);
    atomic_store(&m->kips, kips);
    return true;
}

typedef struct SpeedCall {
    uint32_t kips;
    Err *err;
    bool done;
} SpeedCall;

static void do_set_speed(Machine *m, void *argument)
{
    SpeedCall *call = argument;
    call->done = machine_keep_speed(m, call->kips, call->err);
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
    if (strcmp(call->what, "pic") == 0) {
        pc_view_pic(m->pc, call->line, call->self);
        call->known = true;
    }
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
