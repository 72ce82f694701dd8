/* The window's life: opening, the event loop, closing.
 *
 * The loop sleeps in SDL until an event comes and draws only when something has changed. New
 * pictures are an event too: a thread waits for them, so that neither the machine's thread has to
 * do with the window nor the window has to look for them.
 */
#include "ui/window.h"

#include <stdlib.h>
#include <string.h>

#include "machine/host/host_time.h"
#include "ui/window_internal.h"
#include "ui/window_x11.h"

enum {
    WATCH_MS = 1000,
    TURN_MS = 500,   /* between looks at what is no event: the speed, recordings, notices */
    MENU_MS = 40,    /* between frames of the menu */
    SETTLE_MS = 400, /* an OpenGL driver may learn of the window's new size a frame late */
    NOTICE_MS = 4000,
    LOST_SECONDS = 1, /* for a thread to end that may have found the display gone */
    FIRST_WIDTH = 720,
    FIRST_HEIGHT = 400
};

#ifdef __SANITIZE_ADDRESS__
/* The leak checker takes what a graphics driver keeps in its own variables for lost once SDL has
 * unloaded the driver; so in this build libraries stay. */
int dlclose(void *library);
int dlclose(void *library)
{
    (void)library;
    return 0;
}
#endif

Window *window_new(const Options *options, Err *err)
{
    Window *w = calloc(1, sizeof(*w));
    if (!w) {
        err_set(err, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&w->post.lock, NULL);
    pthread_cond_init(&w->post.news, NULL);
    w->options = options;
    w->scaling = options->ui.scaling;
    w->scanlines = options->ui.scanlines;
    w->layout = key_layout_find(options->ui.layout);
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    SDL_SetHint(SDL_HINT_MOUSE_FOCUS_CLICKTHROUGH, "1");
    SDL_SetHint(SDL_HINT_QUIT_ON_LAST_WINDOW_CLOSE, "0");
    if (SDL_InitSubSystem(SDL_INIT_VIDEO) != 0) {
        err_set(err, "no display: %s; start it on a desktop, or without a window: -display none",
                SDL_GetError());
        free(w);
        return NULL;
    }
    if (!getenv("SDL_VIDEODRIVER") && strcmp(SDL_GetCurrentVideoDriver(), "offscreen") == 0) {
        err_set(err, "no display; start it on a desktop, or without a window: -display none");
        window_free(w);
        return NULL;
    }
    w->event_type = SDL_RegisterEvents(1);
    if (!window_input_init(w, err)) {
        window_free(w);
        return NULL;
    }
    return w;
}

void window_push(Window *w, int code)
{
    pthread_mutex_lock(&w->post.lock);
    w->post.codes |= 1U << code;
    pthread_mutex_unlock(&w->post.lock);
    pthread_cond_signal(&w->post.news);
}

static void *post(void *self)
{
    Window *w = self;
    for (;;) {
        pthread_mutex_lock(&w->post.lock);
        while (!w->post.codes && !w->post.over) {
            pthread_cond_wait(&w->post.news, &w->post.lock);
        }
        unsigned codes = w->post.codes;
        w->post.codes = 0;
        pthread_mutex_unlock(&w->post.lock);
        if (!codes) {
            return NULL;
        }
        for (int code = 0; code < WINDOW_CODES; code++) {
            SDL_Event e = {.user = {.type = w->event_type, .code = code}};
            if (codes >> code & 1) {
                SDL_PushEvent(&e);
            }
        }
    }
}

static void end_post(Window *w)
{
    struct timespec until;
    pthread_mutex_lock(&w->post.lock);
    w->post.over = true;
    pthread_mutex_unlock(&w->post.lock);
    pthread_cond_signal(&w->post.news);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOST_SECONDS;
    if (!w->lost) {
        pthread_join(w->post.thread, NULL);
    } else {
        pthread_timedjoin_np(w->post.thread, NULL, &until);
    }
}

/* Machine's thread. */
static void heard(void *self, const MachineEvent *event)
{
    Window *w = self;
    if (event->kind == MACHINE_ENGINE_FAILED) {
        pthread_mutex_lock(&w->post.lock);
        snprintf(w->failure, sizeof(w->failure), "%s", event->why);
        pthread_mutex_unlock(&w->post.lock);
        window_push(w, WINDOW_ENGINE_FAILED);
        return;
    }
    if (event->kind == MACHINE_IO_ERROR) {
        if (event->io.action != DRIVE_ERROR_STOP) {
            return; /* the user wanted it so */
        }
        pthread_mutex_lock(&w->post.lock);
        snprintf(w->broken, sizeof(w->broken), "%s", event->device ? event->device : "");
        pthread_mutex_unlock(&w->post.lock);
    }
    window_push(w, event->kind == MACHINE_IO_ERROR ? WINDOW_IO_ERROR : WINDOW_STATE_CHANGED);
}

bool window_attach(Window *w, Machine *m, Recorder *recorder, AudioSdl *audio, Err *err)
{
    w->machine = m;
    w->recorder = recorder;
    w->audio = audio;
    w->typist = typist_new(m);
    if (!w->typist) {
        return err_set(err, "out of memory");
    }
    machine_listen(m, heard, w);
    return true;
}

static void *wait_for_end(void *self)
{
    Window *w = self;
    machine_wait(w->machine);
    window_push(w, WINDOW_MACHINE_ENDED);
    return NULL;
}

static void *watch_pictures(void *self)
{
    Window *w = self;
    uint64_t seen = 0;
    while (!atomic_load(&w->watch_ended)) {
        uint64_t newest = screen_wait(machine_screen(w->machine), seen, WATCH_MS);
        if (newest != seen && !atomic_exchange(&w->picture_told, true)) {
            window_push(w, WINDOW_PICTURE);
        }
        seen = newest;
    }
    return NULL;
}

static bool open_window(Window *w, Err *err)
{
    Uint32 flags = SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI;
    w->sdl = SDL_CreateWindow(machine_name(w->machine), SDL_WINDOWPOS_CENTERED,
                              SDL_WINDOWPOS_CENTERED, FIRST_WIDTH, FIRST_HEIGHT, flags);
    if (w->sdl) {
        w->renderer = SDL_CreateRenderer(w->sdl, -1, 0);
    }
    if (w->sdl && !w->renderer) {
        w->renderer = SDL_CreateRenderer(w->sdl, -1, SDL_RENDERER_SOFTWARE);
    }
    if (!w->renderer) {
        return err_set(err, "the window cannot be opened: %s; try -display none", SDL_GetError());
    }
    SDL_StopTextInput();
    SDL_EventState(SDL_DROPFILE, SDL_ENABLE);
    SDL_GetWindowSize(w->sdl, &w->set_width, &w->set_height);
    window_fit(w);
    if (w->options->ui.full_screen) {
        window_command(w, WINDOW_FULL_SCREEN);
    }
    window_title(w);
    window_snapshots_hint(w);
    return true;
}

/* A machine that is to be suspended but cannot be saved stays. */
static void window_close_machine(Window *w)
{
    Err err = {""};
    bool suspend = w->options->ui.window_suspend && !w->ended &&
                   machine_state(w->machine) != RUN_STATE_SHUTDOWN;
    if (!suspend || machine_snapshot_save(w->machine, WINDOW_SUSPENDED, NULL, &err)) {
        w->suspended = suspend;
        machine_quit(w->machine, 0);
    } else {
        window_notice(w, "not closed: %s", err.text);
    }
}

bool window_suspended(const Window *w)
{
    return w->suspended;
}

static void take_window_event(Window *w, const SDL_WindowEvent *e)
{
    w->redraw = true;
    if (e->event == SDL_WINDOWEVENT_SIZE_CHANGED || e->event == SDL_WINDOWEVENT_EXPOSED) {
        w->resized_at = SDL_GetTicks();
        w->settling = true;
    }
    if (e->event == SDL_WINDOWEVENT_FOCUS_LOST) {
        window_release(w);
    } else if (e->event == SDL_WINDOWEVENT_CLOSE && w->options->ui.window_close) {
        window_close_machine(w);
    }
}

static void take_user_event(Window *w, int code)
{
    if (code == WINDOW_PICTURE) {
        return; /* run_once looks for it anyway */
    }
    w->redraw = true;
    if (code == WINDOW_MACHINE_ENDED) {
        w->ended = true;
        return;
    }
    if (code == WINDOW_SNAPSHOT_SAVED) {
        window_snapshots_saved(w);
    }
    if (code == WINDOW_IO_ERROR) {
        window_disk_notice(w);
    }
    if (code == WINDOW_ENGINE_FAILED) {
        w->engine_failed = true;
        window_engine_notice(w);
    } else if (machine_state(w->machine) == RUN_STATE_RUNNING) {
        w->engine_failed = false;
    }
    if (w->menu_open) {
        window_menu_refresh(w);
    }
    window_title(w);
}

static void take_event(Window *w, SDL_Event *e)
{
    if (w->menu_open) {
        if (!w->host_down || e->type != SDL_KEYDOWN) { /* else it is a command */
            menu_event(w->menu, e);
        }
        w->redraw = true;
    }
    if (window_input(w, e) || pads_event(w->pads, e)) {
        return;
    }
    if (e->type == SDL_WINDOWEVENT) {
        take_window_event(w, &e->window);
    } else if (e->type == w->event_type) {
        take_user_event(w, e->user.code);
    } else if (e->type == SDL_QUIT) { /* not by the window's button: the desktop is gone */
        w->lost = true;
    } else if (e->type == SDL_DROPFILE) {
        window_drop(w, e->drop.file);
        SDL_free(e->drop.file);
        w->redraw = true;
    } else if (e->type == SDL_RENDER_TARGETS_RESET || e->type == SDL_RENDER_DEVICE_RESET) {
        window_picture_renew(w);
        w->redraw = true;
    }
}

static int patience(const Window *w, int64_t typist_due)
{
    int64_t until = (typist_due - host_time_ns()) / 1000000;
    int64_t most = w->menu_open || w->settling ? MENU_MS : TURN_MS;
    until = until < most ? until : most;
    return until < 1 ? 1 : (int)until;
}

/* Dear ImGui 1.86 knows of keys what they are at each frame: one that is pressed and let go between
 * two would be lost. */
static bool menu_must_see(const Window *w, const SDL_Event *e)
{
    return w->menu_open && (e->type == SDL_KEYDOWN || e->type == SDL_KEYUP);
}

static void run_once(Window *w)
{
    SDL_Event e;
    if (SDL_WaitEventTimeout(&e, patience(w, typist_play(w->typist)))) {
        do {
            take_event(w, &e);
        } while (!w->ended && !menu_must_see(w, &e) && SDL_PollEvent(&e));
    }
    if (w->ended) {
        return;
    }
    if (w->notice_at && (Sint32)(SDL_GetTicks() - w->notice_at) > NOTICE_MS) {
        w->notice_at = 0;
        w->redraw = true;
        window_title(w);
    }
    char speed[MACHINE_SPEED];
    machine_speed(w->machine, speed);
    if (w->recording != recorder_running(w->recorder) || strcmp(speed, w->speed) != 0) {
        window_title(w); /* the control socket, or a full disk */
    }
    atomic_store(&w->picture_told, false);
    if (window_picture_update(w)) {
        w->redraw = true;
        window_clip_picture(w);
    }
    if (w->settling) {
        w->redraw = true;
        w->settling = SDL_GetTicks() - w->resized_at < SETTLE_MS;
    }
    if (w->redraw || w->menu_open) {
        window_draw(w);
    }
}

/* A machine whose display is gone is saved if it can be, for nobody has closed it. */
static bool keep_machine(Window *w, Err *err)
{
    Err why = {""};
    window_snapshots_free(w);
    if (w->ended || machine_state(w->machine) == RUN_STATE_SHUTDOWN) {
        return true;
    }
    bool saved = machine_snapshot_save(w->machine, WINDOW_SUSPENDED, NULL, &why);
    machine_quit(w->machine, 1);
    return saved
               ? err_set(err,
                         "the display is gone; the machine is saved, and -resume " WINDOW_SUSPENDED
                         " goes on from here")
               : err_set(err, "the display is gone; the machine was not saved: %s", why.text);
}

/* True until the display is gone. */
static bool run_events(Window *w)
{
    jmp_buf when_lost;
    if (setjmp(when_lost) != 0) {
        return false;
    }
    window_x11_guard(&when_lost);
    while (!w->ended && !w->lost) {
        run_once(w);
    }
    window_x11_guard(NULL);
    return !w->lost;
}

bool window_run(Window *w, Err *err)
{
    if (!open_window(w, err)) {
        return false;
    }
    if (pthread_create(&w->post.thread, NULL, post, w) != 0 ||
        pthread_create(&w->waiter, NULL, wait_for_end, w) != 0 ||
        pthread_create(&w->watcher, NULL, watch_pictures, w) != 0) {
        return err_set(err, "no thread for the window");
    }
    w->pads = pads_open(w->machine);
    w->redraw = true;
    w->lost = !run_events(w);
    bool kept = !w->lost || keep_machine(w, err);
    if (!w->lost) {
        pads_close(w->pads);
    }
    w->pads = NULL;
    pthread_join(w->waiter, NULL);
    atomic_store(&w->watch_ended, true);
    screen_wake(machine_screen(w->machine));
    pthread_join(w->watcher, NULL);
    end_post(w);
    return kept;
}

void window_free(Window *w)
{
    if (!w || w->lost) { /* a thread may still sleep with it in its hands */
        return;
    }
    window_snapshots_free(w);
    window_files_free(w);
    if (w->renderer) {
        menu_free(w->menu);
        window_draw_free(w);
        SDL_DestroyRenderer(w->renderer);
    }
    if (w->sdl) {
        SDL_DestroyWindow(w->sdl);
    }
    SDL_QuitSubSystem(SDL_INIT_VIDEO);
    typist_free(w->typist);
    pthread_mutex_destroy(&w->post.lock);
    pthread_cond_destroy(&w->post.news);
    free(w);
}
