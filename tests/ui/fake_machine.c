/* A machine without a board behind machine/machine.h: it keeps what it is told, shows input as
 * text, and paints a picture that changes with each key. A machine named "absolute" wants such a
 * pointer; one named "failing" has an engine that fails with the first key,
 * one named "full" a floppy drive whose image does.
 */
#include "tests/ui/fake_machine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/host/host_time.h"

enum { WIDTH = 640, HEIGHT = 400, MAX_LISTENERS = 8, SHOWN = 24, SIDE = 100 };

typedef struct Listener {
    void (*heard)(void *self, const MachineEvent *event);
    void *self;
} Listener;

struct Machine {
    MachineConfig config;
    Screen *screen;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool finished;
    int exit_status;
    RunState state;
    Listener listener[MAX_LISTENERS];
    unsigned listeners;
    InputEvent input[FAKE_MAX_INPUT];
    unsigned inputs;
    PadState pads;
    char *text; /* set by fake_show; else input is shown */
    bool graphics;
    char speed[MACHINE_SPEED];
    atomic_bool accel; /* the translator runs, as far as one is told */
    bool tray_open[MACHINE_MAX_DRIVES];
};

static void tell(Machine *m, MachineEvent event)
{
    for (unsigned i = 0; i < m->listeners; i++) {
        m->listener[i].heard(m->listener[i].self, &event);
    }
}

/* Left half red, right half blue, and a square in the middle whose colour counts the keys. */
static void paint(Machine *m, unsigned keys)
{
    static const uint32_t colours[] = {0x000000, 0x00ff00, 0xffffff, 0xffff00};
    uint32_t line[WIDTH];
    screen_begin(m->screen, WIDTH, HEIGHT, 4, 3);
    for (unsigned y = 0; y < HEIGHT; y++) {
        for (unsigned x = 0; x < WIDTH; x++) {
            bool middle = x >= (WIDTH - SIDE) / 2 && x < (WIDTH + SIDE) / 2 &&
                          y >= (HEIGHT - SIDE) / 2 && y < (HEIGHT + SIDE) / 2;
            uint32_t half = x < WIDTH / 2 ? 0xff0000 : 0x0000ff;
            line[x] = middle ? colours[keys % 4] : half;
        }
        screen_put(m->screen, y, line);
    }
    screen_publish(m->screen);
}

Machine *machine_new(const MachineConfig *config, Err *err)
{
    Machine *m = calloc(1, sizeof(*m));
    (void)err;
    machine_config_copy(&m->config, config);
    m->screen = screen_new();
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->ended, NULL);
    m->state = RUN_STATE_PAUSED;
    paint(m, 0);
    return m;
}

void machine_free(Machine *m)
{
    if (m) {
        screen_free(m->screen);
        machine_config_free(&m->config);
        pthread_cond_destroy(&m->ended);
        pthread_mutex_destroy(&m->lock);
        free(m->text);
        free(m);
    }
}

bool machine_start(Machine *m, Err *err)
{
    (void)err;
    if (!m->config.start_paused) {
        machine_resume(m);
    }
    return true;
}

void machine_listen(Machine *m, void (*heard)(void *self, const MachineEvent *event), void *self)
{
    m->listener[m->listeners++] = (Listener){heard, self};
}

static RunState swap_state(Machine *m, RunState state)
{
    pthread_mutex_lock(&m->lock);
    RunState before = m->state;
    m->state = state;
    pthread_mutex_unlock(&m->lock);
    return before;
}

RunState machine_state(const Machine *m)
{
    Machine *own = (Machine *)m;
    pthread_mutex_lock(&own->lock);
    RunState state = m->state;
    pthread_mutex_unlock(&own->lock);
    return state;
}

const char *machine_name(const Machine *m)
{
    return m->config.name ? m->config.name : "Vitrine";
}

const char *machine_accel(const Machine *m)
{
    return m->accel ? "translator" : "interpreter";
}

void machine_speed(const Machine *m, char name[MACHINE_SPEED])
{
    snprintf(name, MACHINE_SPEED, "%s", m->speed[0] ? m->speed : "max");
}

bool machine_set_speed(Machine *m, const char *speed, Err *err)
{
    if (!machine_speed_known(speed, err)) {
        return false;
    }
    snprintf(m->speed, sizeof(m->speed), "%s", speed);
    return true;
}

bool machine_set_accel(Machine *m, const char *name, Err *err)
{
    bool translator = strcmp(name, "translator") == 0;
    if (!translator && strcmp(name, "interpreter") != 0) {
        return err_set(err, "-accel %s: no such engine", name);
    }
    m->accel = translator;
    return true;
}

/* Halts behind the tenth. */
bool machine_step(Machine *m, unsigned instructions, unsigned *done, Err *err)
{
    *done = instructions < 10 ? instructions : 10;
    return machine_state(m) == RUN_STATE_PAUSED || err_set(err, "stop it first");
}

void machine_pause(Machine *m)
{
    if (swap_state(m, RUN_STATE_PAUSED) == RUN_STATE_RUNNING) {
        tell(m, (MachineEvent){.kind = MACHINE_STOPPED});
    }
}

void machine_resume(Machine *m)
{
    if (swap_state(m, RUN_STATE_RUNNING) != RUN_STATE_RUNNING) {
        tell(m, (MachineEvent){.kind = MACHINE_RESUMED});
    }
}

void machine_reset(Machine *m)
{
    tell(m, (MachineEvent){.kind = MACHINE_WAS_RESET});
}

void machine_powerdown(Machine *m)
{
    tell(m, (MachineEvent){.kind = MACHINE_POWERDOWN});
}

void machine_quit(Machine *m, int exit_status)
{
    if (swap_state(m, RUN_STATE_SHUTDOWN) != RUN_STATE_SHUTDOWN) {
        tell(m, (MachineEvent){.kind = MACHINE_SHUTDOWN, .exit_status = exit_status});
    }
    pthread_mutex_lock(&m->lock);
    m->exit_status = exit_status;
    m->finished = true;
    pthread_cond_broadcast(&m->ended);
    pthread_mutex_unlock(&m->lock);
}

int machine_wait(Machine *m)
{
    pthread_mutex_lock(&m->lock);
    while (!m->finished) {
        pthread_cond_wait(&m->ended, &m->lock);
    }
    pthread_mutex_unlock(&m->lock);
    return m->exit_status;
}

void machine_pads(Machine *m, const PadState *pads)
{
    pthread_mutex_lock(&m->lock);
    m->pads = *pads;
    pthread_mutex_unlock(&m->lock);
}

PadState fake_pads(Machine *m)
{
    pthread_mutex_lock(&m->lock);
    PadState now = m->pads;
    pthread_mutex_unlock(&m->lock);
    return now;
}

void machine_input(Machine *m, const InputEvent *event)
{
    pthread_mutex_lock(&m->lock);
    if (m->inputs < FAKE_MAX_INPUT) {
        m->input[m->inputs++] = *event;
    }
    unsigned keys = 0;
    for (unsigned i = 0; i < m->inputs; i++) {
        keys += m->input[i].kind == INPUT_KEY && m->input[i].down;
    }
    if (event->kind == INPUT_KEY && event->down) {
        paint(m, keys);
    }
    pthread_mutex_unlock(&m->lock);
    if (keys == 1 && event->down && strcmp(machine_name(m), "failing") == 0) {
        machine_pause(m);
        tell(m, (MachineEvent){.kind = MACHINE_ENGINE_FAILED, .why = "no such instruction"});
    }
    if (keys == 1 && event->down && strcmp(machine_name(m), "full") == 0) {
        swap_state(m, RUN_STATE_IO_ERROR);
        tell(m, (MachineEvent){.kind = MACHINE_IO_ERROR, .device = "floppy0"});
    }
}

unsigned fake_input(Machine *m, InputEvent *events, unsigned room)
{
    pthread_mutex_lock(&m->lock);
    unsigned n = m->inputs < room ? m->inputs : room;
    memcpy(events, m->input, n * sizeof(events[0]));
    pthread_mutex_unlock(&m->lock);
    return n;
}

bool machine_wants_absolute(const Machine *m)
{
    return strcmp(machine_name(m), "absolute") == 0;
}

uint8_t machine_keyboard_leds(const Machine *m)
{
    (void)m;
    return 0;
}

struct Mixer *machine_mixer(Machine *m)
{
    (void)m;
    return NULL;
}

Screen *machine_screen(Machine *m)
{
    return m->screen;
}

void fake_show(Machine *m, const char *text)
{
    pthread_mutex_lock(&m->lock);
    free(m->text);
    m->text = text ? strdup(text) : NULL;
    m->graphics = !text;
    pthread_mutex_unlock(&m->lock);
}

static int describe(const InputEvent *e, char *line, size_t room)
{
    switch (e->kind) {
    case INPUT_KEY:
        return snprintf(line, room, "key %02x %s\n", e->key, e->down ? "down" : "up");
    case INPUT_MOUSE_MOVE:
        return snprintf(line, room, "move %d %d %d\n", e->dx, e->dy, e->wheel);
    case INPUT_MOUSE_BUTTONS:
        return snprintf(line, room, "buttons %x\n", e->buttons);
    case INPUT_MOUSE_ABSOLUTE:
        return snprintf(line, room, "absolute %u %u\n", e->x, e->y);
    }
    return 0;
}

bool machine_text(Machine *m, char *text, size_t room)
{
    pthread_mutex_lock(&m->lock);
    text[0] = '\0';
    if (m->text) {
        snprintf(text, room, "%s", m->text);
    } else {
        size_t at = 0;
        for (unsigned i = m->inputs > SHOWN ? m->inputs - SHOWN : 0; i < m->inputs; i++) {
            at += (size_t)describe(&m->input[i], text + at, room - at);
        }
    }
    bool is_text = !m->graphics;
    pthread_mutex_unlock(&m->lock);
    return is_text;
}

bool machine_text_size(Machine *m, unsigned *columns, unsigned *rows)
{
    pthread_mutex_lock(&m->lock);
    *columns = m->graphics ? 0 : 80;
    *rows = m->graphics ? 0 : 25;
    pthread_mutex_unlock(&m->lock);
    return *columns != 0;
}

/* Guest time is the host's. */
int64_t machine_time(Machine *m)
{
    (void)m;
    return host_time_ns();
}

void fake_wanted(void)
{
}

void fake_guest_event(Machine *m, const MachineEvent *event)
{
    tell(m, *event);
}

static void block_id(const DriveConfig *d, char *id, size_t room)
{
    if (d->id) {
        snprintf(id, room, "%s", d->id);
    } else if (d->bus == DRIVE_FLOPPY) {
        snprintf(id, room, "floppy%u", d->index % 2);
    } else {
        snprintf(id, room, "ide%u-%s%u", d->index / 2 % 2, d->media == MEDIA_CDROM ? "cd" : "hd",
                 d->index % 2);
    }
}

unsigned machine_block_query(Machine *m, BlockInfo *info, unsigned room)
{
    unsigned n = 0;
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES && n < room; i++) {
        const DriveConfig *d = &m->config.drive[i];
        if (d->present) {
            BlockInfo *b = &info[n++];
            memset(b, 0, sizeof(*b));
            block_id(d, b->id, sizeof(b->id));
            snprintf(b->file, sizeof(b->file), "%s", d->file ? d->file : "");
            snprintf(b->format, sizeof(b->format), "raw");
            b->size = 1474560;
            b->removable = d->bus == DRIVE_FLOPPY || d->media == MEDIA_CDROM;
            b->tray_open = m->tray_open[i];
            b->read_only = d->read_only;
        }
    }
    return n;
}

static DriveConfig *find_drive(Machine *m, const char *id)
{
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        char name[32];
        block_id(&m->config.drive[i], name, sizeof(name));
        if (m->config.drive[i].present && strcmp(name, id) == 0) {
            return &m->config.drive[i];
        }
    }
    return NULL;
}

bool machine_change_medium(Machine *m, const char *id, const char *file, const char *format,
                           bool read_only, Err *err)
{
    DriveConfig *d = find_drive(m, id);
    (void)format;
    if (!d || strstr(file, "missing")) {
        return err_set(err, "image '%s' cannot be opened", file);
    }
    free(d->file);
    d->file = strdup(file);
    d->read_only = read_only;
    m->tray_open[d - m->config.drive] = false;
    tell(m, (MachineEvent){.kind = MACHINE_TRAY_MOVED, .device = id, .open = false});
    return true;
}

bool machine_eject(Machine *m, const char *id, bool force, Err *err)
{
    DriveConfig *d = find_drive(m, id);
    (void)force;
    if (!d) {
        return err_set(err, "there is no drive '%s'", id);
    }
    free(d->file);
    d->file = NULL;
    m->tray_open[d - m->config.drive] = true;
    tell(m, (MachineEvent){.kind = MACHINE_TRAY_MOVED, .device = id, .open = true});
    return true;
}

bool machine_commit(Machine *m, const char *id, Err *err)
{
    return strcmp(id, "all") == 0 || find_drive(m, id) ||
           err_set(err, "there is no drive '%s'", id);
}

static bool fake_snapshot(const Machine *m, const char *name, Err *err)
{
    (void)m;
    return !strstr(name, "missing") || err_set(err, "there is no snapshot '%s'", name);
}

bool machine_snapshot_save(Machine *m, const char *name, const char *note, Err *err)
{
    (void)note;
    return fake_snapshot(m, name, err);
}

bool machine_snapshot_load(Machine *m, const char *name, Err *err)
{
    return fake_snapshot(m, name, err);
}

bool machine_snapshot_delete(Machine *m, const char *name, Err *err)
{
    return fake_snapshot(m, name, err);
}

bool machine_snapshot_thumbnail(Machine *m, const char *name, const char *path, Err *err)
{
    (void)path;
    return fake_snapshot(m, name, err);
}

unsigned machine_snapshot_query(Machine *m, SnapshotInfo *list, unsigned room)
{
    (void)m;
    if (room) {
        list[0] = (SnapshotInfo){
            .name = "one", .id = "1", .place = "disk.qcow2", .time_s = 900000000, .machine = true};
    }
    return room ? 1 : 0;
}

bool machine_info(Machine *m, const char *what, void (*line)(void *self, const char *text),
                  void *self)
{
    (void)m;
    if (strcmp(what, "registers") != 0) {
        return false;
    }
    line(self, "EAX=00000000 EBX=00000001");
    line(self, "EIP=0000fff0");
    return true;
}
