/* The menu's snapshots: the list with their times and pictures, saving, loading and deleting.
 *
 * They are those of the machine's disks (machine.h). Saving runs on a thread, for the guest runs on
 * meanwhile and so does the window; the others end at once.
 */
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ui/window_internal.h"

enum { THUMB_MOST = 512 };

static void drop_thumb(MenuModel *m)
{
    if (m->thumb) {
        SDL_DestroyTexture(m->thumb);
        m->thumb = NULL;
    }
}

static SDL_Texture *read_thumb(SDL_Renderer *renderer, const char *path)
{
    SDL_Texture *texture = NULL;
    png_image image = {.version = PNG_IMAGE_VERSION};
    if (png_image_begin_read_from_file(&image, path) && image.width <= THUMB_MOST &&
        image.height <= THUMB_MOST) {
        image.format = PNG_FORMAT_RGBA;
        uint8_t *pixels = malloc(PNG_IMAGE_SIZE(image));
        if (pixels && png_image_finish_read(&image, NULL, pixels, 0, NULL)) {
            texture = SDL_CreateTexture(renderer, SDL_PIXELFORMAT_RGBA32, SDL_TEXTUREACCESS_STATIC,
                                        (int)image.width, (int)image.height);
        }
        if (texture) {
            SDL_UpdateTexture(texture, NULL, pixels, (int)image.width * 4);
        }
        free(pixels);
    }
    png_image_free(&image);
    return texture;
}

/* The picture of the one that is chosen. */
static void take_thumb(Window *w)
{
    MenuModel *m = &w->model;
    Err ignored = {""};
    char path[] = "/tmp/vitrine-thumb-XXXXXX";
    drop_thumb(m);
    int fd = m->snapshots ? mkstemp(path) : -1;
    if (fd < 0) {
        return;
    }
    close(fd);
    if (machine_snapshot_thumbnail(w->machine, m->snapshot[m->snapshot_chosen].name, path,
                                   &ignored)) {
        m->thumb = read_thumb(w->renderer, path);
    }
    unlink(path);
}

void window_snapshots_refresh(Window *w)
{
    MenuModel *m = &w->model;
    SnapshotInfo *list = calloc(MENU_MAX_SNAPSHOTS, sizeof(*list));
    unsigned count = list ? machine_snapshot_query(w->machine, list, MENU_MAX_SNAPSHOTS) : 0;
    m->snapshots = 0;
    for (unsigned i = count; i-- > 0;) { /* the newest first */
        if (!list[i].machine) {
            continue;
        }
        MenuSnapshot *s = &m->snapshot[m->snapshots++];
        time_t when = (time_t)list[i].time_s;
        struct tm tm;
        snprintf(s->name, sizeof(s->name), "%s", list[i].name);
        s->when[0] = '\0';
        if (localtime_r(&when, &tm)) {
            strftime(s->when, sizeof(s->when), "%Y-%m-%d %H:%M:%S", &tm);
        }
    }
    free(list);
    m->snapshot_chosen = 0;
    take_thumb(w);
}

void window_snapshots_hint(Window *w)
{
    bool here = false;
    if (w->options->ui.resume) {
        return;
    }
    window_snapshots_refresh(w);
    for (unsigned i = 0; i < w->model.snapshots; i++) {
        here = here || strcmp(w->model.snapshot[i].name, WINDOW_SUSPENDED) == 0;
    }
    if (here) {
        static const char text[] =
            "started anew; -resume " WINDOW_SUSPENDED " goes on where it was closed";
        window_notice(w, "%s", text);
        fprintf(stderr, "vitrine: note: %s\n", text);
    }
}

static void *save(void *self)
{
    Window *w = self;
    w->save_done = machine_snapshot_save(w->machine, w->save_name, NULL, &w->save_err);
    window_push(w, WINDOW_SNAPSHOT_SAVED);
    return NULL;
}

static void begin_saving(Window *w)
{
    MenuModel *m = &w->model;
    if (w->saving) {
        window_notice(w, "a snapshot is being saved");
        return;
    }
    if (!m->snapshot_name[0]) {
        time_t now = time(NULL);
        struct tm tm;
        localtime_r(&now, &tm);
        strftime(m->snapshot_name, sizeof(m->snapshot_name), "%Y%m%d-%H%M%S", &tm);
    }
    snprintf(w->save_name, sizeof(w->save_name), "%s", m->snapshot_name);
    w->save_err.text[0] = '\0';
    w->saving = pthread_create(&w->saver, NULL, save, w) == 0;
    window_notice(w, w->saving ? "saving '%s'" : "no thread to save '%s'", w->save_name);
}

void window_snapshots_saved(Window *w)
{
    if (!w->saving) {
        return;
    }
    pthread_join(w->saver, NULL);
    w->saving = false;
    if (w->save_done) {
        w->model.snapshot_name[0] = '\0';
        window_notice(w, "saved '%s'", w->save_name);
    } else {
        window_notice(w, "%s", w->save_err.text);
    }
    if (w->menu_open) {
        window_snapshots_refresh(w);
    }
}

void window_snapshots_act(Window *w, MenuAction action)
{
    MenuModel *m = &w->model;
    const char *name = m->snapshot[m->snapshot_chosen].name;
    Err err = {""};
    bool done = true;
    if (action == MENU_SNAPSHOT_SAVE) {
        begin_saving(w);
    } else if (action == MENU_SNAPSHOT_CHOSEN) {
        take_thumb(w);
    } else if (m->snapshots && action == MENU_SNAPSHOT_LOAD) {
        done = machine_snapshot_load(w->machine, name, &err);
        window_notice(w, done ? "loaded '%s'" : "%s", done ? name : err.text);
    } else if (m->snapshots) {
        done = machine_snapshot_delete(w->machine, name, &err);
        window_notice(w, done ? "deleted '%s'" : "%s", done ? name : err.text);
        window_snapshots_refresh(w);
    }
}

void window_snapshots_free(Window *w)
{
    if (w->saving) {
        pthread_join(w->saver, NULL);
        w->saving = false;
    }
    drop_thumb(&w->model);
}
