/* The menu's list of files for a drive: what lies in a folder of the host, and going from one to
 * another. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "ui/window_internal.h"

void window_files_free(Window *w)
{
    for (unsigned i = 0; i < w->model.files; i++) {
        free(w->model.file[i].name);
    }
    free(w->model.file);
    w->model.file = NULL;
    w->model.files = 0;
}

static int compare(const void *a, const void *b)
{
    const MenuFile *one = a, *other = b;
    if (one->folder != other->folder) {
        return one->folder ? -1 : 1;
    }
    int order = strcasecmp(one->name, other->name);
    return order ? order : strcmp(one->name, other->name);
}

/* Folders, files and disks; a name with a dot in front is hidden. */
static bool is_shown(DIR *dir, const char *name, bool *folder)
{
    struct stat st;
    if (name[0] == '.' || fstatat(dirfd(dir), name, &st, 0) != 0) {
        return false;
    }
    *folder = S_ISDIR(st.st_mode);
    return *folder || S_ISREG(st.st_mode) || S_ISBLK(st.st_mode);
}

static void add(MenuModel *m, const char *name, bool folder)
{
    char *copy = strdup(name);
    if (copy) {
        m->file[m->files++] = (MenuFile){copy, folder};
    }
}

/* On failure the list stays. */
static bool read_folder(Window *w, const char *path, Err *err)
{
    MenuModel *m = &w->model;
    char real[PATH_MAX];
    DIR *dir = realpath(path, real) && strlen(real) < sizeof(m->folder) ? opendir(real) : NULL;
    if (!dir) {
        return err_set(err, "folder '%s' cannot be read: %s", path, strerror(errno));
    }
    MenuFile *list = calloc(MENU_MAX_FILES, sizeof(*list));
    if (!list) {
        closedir(dir);
        return err_set(err, "out of memory");
    }
    window_files_free(w);
    m->file = list;
    memcpy(m->folder, real, strlen(real) + 1);
    add(m, "..", true);
    unsigned above = m->files;
    bool folder;
    for (const struct dirent *entry; m->files < MENU_MAX_FILES && (entry = readdir(dir));) {
        if (is_shown(dir, entry->d_name, &folder)) {
            add(m, entry->d_name, folder);
        }
    }
    closedir(dir);
    qsort(m->file + above, m->files - above, sizeof(*list), compare);
    return true;
}

/* Where the drive's medium lies, else where the last one was chosen, else where we were started. */
static void begin(Window *w)
{
    MenuModel *m = &w->model;
    Err err = {{0}}, ignored = {{0}};
    char folder[MENU_PATH];
    memcpy(folder, m->drive[m->chosen].file, sizeof(folder));
    char *slash = strrchr(folder, '/');
    if (slash) {
        slash[slash == folder] = '\0';
    }
    bool there = slash && read_folder(w, folder, &ignored);
    there = there || (m->folder[0] && read_folder(w, m->folder, &ignored));
    m->choosing = there || read_folder(w, ".", &err);
    m->notice[0] = '\0';
    if (!m->choosing) {
        window_notice(w, "%s", err.text);
    }
}

void window_files_act(Window *w, MenuAction action)
{
    MenuModel *m = &w->model;
    const MenuDrive *drive = &m->drive[m->chosen];
    char path[MENU_PATH + NAME_MAX + 2];
    Err err = {{0}};
    if (action == MENU_CHOOSE) {
        begin(w);
    } else if (action == MENU_CHOOSE_END || m->file_chosen >= m->files) {
        m->choosing = false;
    } else {
        const MenuFile *file = &m->file[m->file_chosen];
        snprintf(path, sizeof(path), "%s/%s", strcmp(m->folder, "/") == 0 ? "" : m->folder,
                 file->name);
        if (!file->folder) {
            m->choosing = false;
            window_insert(w, drive->id, path, drive->read_only);
        } else if (!read_folder(w, path, &err)) {
            window_notice(w, "%s", err.text);
        } else {
            m->notice[0] = '\0';
        }
    }
}
