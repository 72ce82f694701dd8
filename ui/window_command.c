/* What the window's keys and menu do, and what its title says. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ui/image_kind.h"
#include "ui/keymap.h"
#include "ui/window_internal.h"
#include "ui/window_x11.h"

void window_notice(Window *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(w->notice, sizeof(w->notice), format, args);
    va_end(args);
    snprintf(w->model.notice, sizeof(w->model.notice), "%s", w->notice);
    w->notice_at = SDL_GetTicks() | 1;
    w->redraw = true;
    window_title(w);
}

void window_disk_notice(Window *w)
{
    char drive[sizeof(w->broken)], path[MENU_PATH] = "";
    BlockInfo blocks[MENU_MAX_DRIVES];
    pthread_mutex_lock(&w->post.lock);
    memcpy(drive, w->broken, sizeof(drive));
    pthread_mutex_unlock(&w->post.lock);
    if (strcmp(drive, "snapshot") == 0) {
        window_notice(w, "the snapshot is damaged: reset the machine, or load another one");
        return;
    }
    unsigned count = machine_block_query(w->machine, blocks, MENU_MAX_DRIVES);
    for (unsigned i = 0; i < count && i < MENU_MAX_DRIVES; i++) {
        if (strcmp(blocks[i].id, drive) == 0) {
            snprintf(path, sizeof(path), " ('%.900s')", blocks[i].file);
        }
    }
    window_notice(w, "%s%s cannot be read or written: make room or mend it, then resume", drive,
                  path);
}

void window_engine_notice(Window *w)
{
    char why[sizeof(w->failure)];
    pthread_mutex_lock(&w->post.lock);
    memcpy(why, w->failure, sizeof(why));
    pthread_mutex_unlock(&w->post.lock);
    window_notice(w, "choose another engine in the menu; %s: %s", machine_accel(w->machine), why);
}

static const char *state_text(const Window *w)
{
    switch (machine_state(w->machine)) {
    case RUN_STATE_PAUSED:
        return w->engine_failed ? " [paused: the engine failed]" : " [paused]";
    case RUN_STATE_SHUTDOWN:
        return " [powered off]";
    case RUN_STATE_IO_ERROR:
        return " [paused: disk error]";
    case RUN_STATE_RUNNING:
        break;
    }
    return "";
}

void window_title(Window *w)
{
    char title[800], at[MACHINE_SPEED + 8] = "";
    const char *name = machine_name(w->machine);
    bool named = strcmp(name, "Vitrine") != 0;
    char hint[160] = "";
    if (w->notice_at) {
        snprintf(hint, sizeof(hint), " - %.150s", w->notice);
    } else if (w->host_key == SDL_SCANCODE_UNKNOWN) {
        const char *way = w->captured ? " - Alt+Tab to another window releases the mouse" : "";
        snprintf(hint, sizeof(hint), "%s", way);
    } else if (w->captured) {
        snprintf(hint, sizeof(hint), " - press %s to release the mouse", window_host_key(w));
    } else {
        snprintf(hint, sizeof(hint), " - %s+M: menu", window_host_key(w));
    }
    machine_speed(w->machine, w->speed);
    if (strcmp(w->speed, "max") != 0) {
        snprintf(at, sizeof(at), " [%s]", w->speed);
    }
    w->recording = recorder_running(w->recorder);
    const char *recording = w->recording ? " [recording]" : "";
    snprintf(title, sizeof(title), "%.300s%s%s%s%s%s", name, named ? " - Vitrine" : "",
             state_text(w), at, recording, hint);
    SDL_SetWindowTitle(w->sdl, title);
}

static void pause_or_resume(Window *w)
{
    if (machine_state(w->machine) == RUN_STATE_RUNNING) {
        machine_pause(w->machine);
    } else {
        machine_resume(w->machine);
    }
}

static void ctrl_alt_del(Window *w)
{
    static const uint8_t keys[] = {KEY_HID_CTRL, KEY_HID_ALT, KEY_HID_DELETE};
    for (unsigned i = 0; i < 6; i++) {
        uint8_t key = i < 3 ? keys[i] : keys[5 - i];
        machine_input(w->machine, &(InputEvent){.kind = INPUT_KEY, .key = key, .down = i < 3});
    }
}

/* A new file's name in the folder of screenshots. */
static void new_name(const Window *w, const char *ending, char *path, size_t room)
{
    char stamp[32];
    const char *folder = w->options->ui.screenshot_dir;
    time_t now = time(NULL);
    struct tm tm;
    localtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
    for (unsigned i = 0; i < 1000; i++) {
        char number[8] = "";
        if (i) {
            snprintf(number, sizeof(number), "-%u", i);
        }
        snprintf(path, room, "%.900s%svitrine-%s%s.%s", folder ? folder : "", folder ? "/" : "",
                 stamp, number, ending);
        if (access(path, F_OK) != 0) {
            break;
        }
    }
}

static void record(Window *w)
{
    Err err = {{0}};
    if (recorder_running(w->recorder)) {
        if (recorder_stop(w->recorder, &err)) {
            RecordStatus status = recorder_status(w->recorder);
            window_notice(w, "saved %s, %.1f s", status.file, status.seconds);
        }
    } else {
        RecordConfig config = {0};
        new_name(w, "mkv", config.file, sizeof(config.file));
        if (recorder_start(w->recorder, &config, &err)) {
            window_notice(w, "recording %s", config.file);
        }
    }
    if (err.text[0]) {
        window_notice(w, "%s", err.text);
    }
}

static void screenshot(Window *w)
{
    char path[1024];
    Err err = {{0}};
    new_name(w, "png", path, sizeof(path));
    Picture picture = {0}; /* the window's own must not miss what is new to it */
    screen_read(machine_screen(w->machine), &picture);
    if (picture.serial == 0) {
        window_notice(w, "no picture yet");
    } else if (screenshot_png(&picture, path, &err)) {
        window_notice(w, "saved %s", path);
    } else {
        window_notice(w, "%s", err.text);
    }
    picture_free(&picture);
}

static void full_screen(Window *w)
{
    w->full_screen = !w->full_screen;
    if (w->full_screen && w->host_key != SDL_SCANCODE_UNKNOWN) {
        window_notice(w, "%s+Enter leaves full screen, %s+M opens the menu", window_host_key(w),
                      window_host_key(w));
    }
    if (window_manager_runs(w->sdl)) {
        SDL_SetWindowFullscreen(w->sdl, w->full_screen ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
        return;
    }
    SDL_Rect to = w->before;
    if (w->full_screen) {
        SDL_GetWindowPosition(w->sdl, &w->before.x, &w->before.y);
        SDL_GetWindowSize(w->sdl, &w->before.w, &w->before.h);
        SDL_GetDisplayBounds(SDL_GetWindowDisplayIndex(w->sdl), &to);
    }
    SDL_SetWindowPosition(w->sdl, to.x, to.y);
    SDL_SetWindowSize(w->sdl, to.w, to.h);
}

bool window_menu_ready(Window *w)
{
    if (!w->menu) {
        w->menu = menu_new(w->sdl, w->renderer);
    }
    return w->menu != NULL;
}

void window_menu_open(Window *w, bool finding)
{
    if (!window_menu_ready(w)) {
        window_notice(w, "the menu cannot be drawn here");
        return;
    }
    if (!w->menu_open) {
        window_release(w);
        SDL_ShowCursor(SDL_ENABLE);
        SDL_StartTextInput();
    }
    w->menu_open = w->menu_opened = true;
    w->model.finding = finding;
    w->model.notice[0] = '\0';
    if (w->engine_failed) {
        window_engine_notice(w);
    } else if (machine_state(w->machine) == RUN_STATE_IO_ERROR) {
        window_disk_notice(w);
    }
    window_menu_refresh(w);
    if (!finding) {
        window_snapshots_refresh(w);
    }
}

static void toggle_menu(Window *w)
{
    if (w->menu_open) {
        w->menu_open = false;
        SDL_StopTextInput();
    } else {
        window_menu_open(w, false);
    }
}

static void next_scaling(Window *w)
{
    static const char *const names[] = {"whole multiples of the pixels", "the tube's shape, sharp",
                                        "the tube's shape, smooth"};
    w->scaling = (w->scaling + 1) % SCALINGS;
    window_fit(w);
    window_notice(w, "%s", names[w->scaling]);
}

void window_command(Window *w, WindowCommand command)
{
    w->redraw = true;
    switch (command) {
    case WINDOW_PAUSE:
        pause_or_resume(w);
        break;
    case WINDOW_RESET:
        machine_reset(w->machine);
        break;
    case WINDOW_POWER:
        machine_powerdown(w->machine);
        break;
    case WINDOW_CTRL_ALT_DEL:
        ctrl_alt_del(w);
        break;
    case WINDOW_SCREENSHOT:
        screenshot(w);
        break;
    case WINDOW_RECORD:
        record(w);
        break;
    case WINDOW_FULL_SCREEN:
        full_screen(w);
        break;
    case WINDOW_SCALING:
        next_scaling(w);
        break;
    case WINDOW_SCANLINES:
        w->scanlines = !w->scanlines;
        break;
    case WINDOW_COPY:
        window_copy(w);
        break;
    case WINDOW_PASTE:
        window_paste(w);
        break;
    case WINDOW_FIND:
        window_find(w);
        break;
    case WINDOW_GRAB:
        window_capture(w, !w->captured && !machine_wants_absolute(w->machine));
        break;
    case WINDOW_MENU:
        toggle_menu(w);
        break;
    case WINDOW_QUIT:
        machine_quit(w->machine, 0);
        break;
    }
    window_title(w);
}

/* ---- drives ---- */

static bool is_cd(const Window *w, const char *id)
{
    for (unsigned i = 0; i < MACHINE_MAX_DRIVES; i++) {
        const DriveConfig *d = &w->options->machine.drive[i];
        if (d->present && d->id && strcmp(d->id, id) == 0) {
            return d->media == MEDIA_CDROM;
        }
    }
    return strstr(id, "-cd") != NULL; /* the name it has by itself: "ide1-cd0" */
}

/* A drive's name for people. */
static void name_drive(const Window *w, const char *id, char *name, size_t room)
{
    const char *kind = is_cd(w, id) ? "CD" : "Floppy";
    if (strcmp(id, "floppy0") == 0) {
        kind = "Floppy A";
    } else if (strcmp(id, "floppy1") == 0) {
        kind = "Floppy B";
    }
    snprintf(name, room, "%s (%.31s)", kind, id);
}

void window_menu_refresh(Window *w)
{
    BlockInfo blocks[MENU_MAX_DRIVES];
    unsigned count = machine_block_query(w->machine, blocks, MENU_MAX_DRIVES);
    MenuModel *model = &w->model;
    model->drives = 0;
    for (unsigned i = 0; i < count && i < MENU_MAX_DRIVES; i++) {
        if (!blocks[i].removable) {
            continue;
        }
        MenuDrive *drive = &model->drive[model->drives++];
        if (strcmp(drive->id, blocks[i].id) != 0) {
            drive->path[0] = '\0';
            drive->read_only = blocks[i].read_only;
        }
        memcpy(drive->id, blocks[i].id, sizeof(drive->id));
        name_drive(w, blocks[i].id, drive->label, sizeof(drive->label));
        memcpy(drive->file, blocks[i].file, sizeof(drive->file));
    }
    model->title = machine_name(w->machine);
    model->host_key = window_host_key(w);
    model->paused = machine_state(w->machine) != RUN_STATE_RUNNING;
    model->full_screen = w->full_screen;
    model->recording = recorder_running(w->recorder);
    model->scaling = w->scaling;
    model->scanlines = w->scanlines;
    model->volume = w->audio ? (int)audio_sdl_volume(w->audio) : -1;
    snprintf(model->engine, sizeof(model->engine), "%s", machine_accel(w->machine));
    machine_speed(w->machine, model->speed);
    model->speeds = machine_speed_help();
}

void window_insert(Window *w, const char *id, const char *path, bool read_only)
{
    Err err = {{0}};
    if (machine_change_medium(w->machine, id, path, NULL, read_only, &err)) {
        window_notice(w, "%s is in %s", path, id);
    } else {
        window_notice(w, "%s", err.text);
    }
}

void window_menu_act(Window *w, MenuAction action)
{
    static const WindowCommand commands[] = {
        [MENU_PAUSE] = WINDOW_PAUSE,
        [MENU_RESET] = WINDOW_RESET,
        [MENU_POWER] = WINDOW_POWER,
        [MENU_CTRL_ALT_DEL] = WINDOW_CTRL_ALT_DEL,
        [MENU_SCREENSHOT] = WINDOW_SCREENSHOT,
        [MENU_RECORD] = WINDOW_RECORD,
        [MENU_FULL_SCREEN] = WINDOW_FULL_SCREEN,
        [MENU_SCALING] = WINDOW_SCALING,
        [MENU_SCANLINES] = WINDOW_SCANLINES,
        [MENU_COPY] = WINDOW_COPY,
        [MENU_PASTE] = WINDOW_PASTE,
        [MENU_FIND] = WINDOW_FIND,
        [MENU_CLOSE] = WINDOW_MENU,
        [MENU_QUIT] = WINDOW_QUIT,
    };
    MenuDrive *drive = &w->model.drive[w->model.chosen];
    Err err = {{0}};
    if (action == MENU_NONE) {
        return;
    }
    if (action == MENU_FIND_EDITED || action == MENU_FIND_NEXT) {
        window_find_act(w, action);
        return;
    }
    if (action >= MENU_SNAPSHOT_SAVE && action <= MENU_SNAPSHOT_DELETE) {
        window_snapshots_act(w, action);
    } else if (action >= MENU_CHOOSE && action <= MENU_FILE_CHOSEN) {
        window_files_act(w, action);
    } else if (action == MENU_ENGINE) {
        if (machine_set_accel(w->machine, w->model.engine_chosen, &err)) {
            window_notice(w, "engine: %s", machine_accel(w->machine));
            if (w->engine_failed) {
                machine_resume(w->machine);
            }
        } else {
            window_notice(w, "%s", err.text);
        }
    } else if (action == MENU_VOLUME && w->audio) {
        audio_sdl_set_volume(w->audio, (unsigned)w->model.volume);
    } else if (action == MENU_SPEED) {
        if (machine_set_speed(w->machine, w->model.speed_chosen, &err)) {
            window_notice(w, "speed: %s", w->model.speed_chosen);
        } else {
            window_notice(w, "%s", err.text);
        }
    } else if (action == MENU_INSERT) {
        window_insert(w, drive->id, drive->path, drive->read_only);
    } else if (action == MENU_EJECT) {
        if (!machine_eject(w->machine, drive->id, false, &err)) {
            window_notice(w, "%s", err.text);
        }
    } else {
        window_command(w, commands[action]);
    }
    window_menu_refresh(w);
}

void window_drop(Window *w, const char *path)
{
    BlockInfo blocks[MENU_MAX_DRIVES];
    ImageKind kind;
    Err err = {{0}};
    if (!image_kind(path, &kind, &err)) {
        window_notice(w, "%s", err.text);
        return;
    }
    unsigned count = machine_block_query(w->machine, blocks, MENU_MAX_DRIVES);
    for (unsigned i = 0; i < count && i < MENU_MAX_DRIVES; i++) {
        bool fits = is_cd(w, blocks[i].id) ? kind == IMAGE_CDROM : kind == IMAGE_FLOPPY;
        if (blocks[i].removable && fits) {
            window_insert(w, blocks[i].id, path, false);
            window_menu_refresh(w);
            return;
        }
    }
    static const char *const remedies[] = {
        [IMAGE_FLOPPY] = "there is no floppy drive; start with -fda '' to have one",
        [IMAGE_CDROM] = "there is no CD drive; start with -cdrom '' to have one",
        [IMAGE_DISK] = "a hard disk cannot be put in while the machine runs; start with -hda",
        [IMAGE_KERNEL] = "a kernel cannot be put in; start with -kernel",
    };
    const char *slash = strrchr(path, '/');
    window_notice(w, "%s: %s", slash ? slash + 1 : path, remedies[kind]);
}
