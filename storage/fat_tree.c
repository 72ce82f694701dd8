/* A folder as a FAT disk: reading the folder of the host, and opening its files later.
 *
 * Everything is opened below the folder (openat2, RESOLVE_BENEATH), so no link leads out of it, now
 * or when something is exchanged later. Folders behind symbolic links are left out: they could go
 * round in a circle. Pipes, sockets and devices are left out.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "machine/core/log.h"
#include "storage/fat_internal.h"

LOG_TAG("fat");

static int open_beneath(const FatTree *t, const char *path, int flags)
{
    struct open_how how = {.flags =
                               (uint64_t)(flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd;
    do {
        fd = syscall(SYS_openat2, t->root, path, &how, sizeof(how));
    } while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    return (int)fd;
}

/* The path of a node below the folder; "." for the folder itself. */
static bool path_of(const FatTree *t, uint32_t node, char *path, size_t room)
{
    const char *part[FAT_MAX_DEPTH + 1];
    unsigned parts = 0;
    size_t at = 0;
    for (; node && parts <= FAT_MAX_DEPTH; node = t->node[node].parent) {
        part[parts++] = t->node[node].name;
    }
    if (parts == 0) {
        snprintf(path, room, ".");
    }
    while (parts--) {
        int length = snprintf(path + at, room - at, "%s%s", at ? "/" : "", part[parts]);
        if (length < 0 || (size_t)length >= room - at) {
            errno = ENAMETOOLONG;
            return false;
        }
        at += (size_t)length;
    }
    return true;
}

int fat_tree_open(const FatTree *t, uint32_t node)
{
    char path[PATH_MAX];
    struct stat s;
    int fd = path_of(t, node, path, sizeof(path)) ? open_beneath(t, path, 0) : -1;
    if (fd >= 0 && (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode))) {
        close(fd);
        errno = ENOENT;
        return -1;
    }
    return fd;
}

static void set_times(FatNode *n, const struct stat *s)
{
    struct tm tm;
    time_t when = s->st_mtime;
    n->modified = (int64_t)s->st_mtim.tv_sec * 1000000000 + s->st_mtim.tv_nsec;
    n->date = 1 << 5 | 1; /* the first day that FAT knows, in 1980 */
    if (localtime_r(&when, &tm) && tm.tm_year >= 80 && tm.tm_year <= 207) {
        n->date = (uint16_t)((tm.tm_year - 80) << 9 | (tm.tm_mon + 1) << 5 | tm.tm_mday);
        n->time =
            (uint16_t)(tm.tm_hour << 11 | tm.tm_min << 5 | (tm.tm_sec > 59 ? 59 : tm.tm_sec) / 2);
    }
}

static FatNode *add_node(FatTree *t)
{
    if (t->nodes == t->room) {
        uint32_t room = t->room ? t->room * 2 : 64;
        FatNode *more = realloc(t->node, room * sizeof(*more));
        if (!more) {
            return NULL;
        }
        t->node = more;
        t->room = room;
    }
    FatNode *n = &t->node[t->nodes];
    *n = (FatNode){0};
    return n;
}

/* Why an entry is left out; NULL: it is not, and *s tells what it is. */
static const char *look(const FatTree *t, uint32_t folder, const char *name, int at, struct stat *s)
{
    char path[PATH_MAX], whole[PATH_MAX + NAME_MAX + 2];
    if (fstatat(at, name, s, AT_SYMLINK_NOFOLLOW) != 0) {
        return "it cannot be examined";
    }
    if (S_ISLNK(s->st_mode)) {
        if (!path_of(t, folder, path, sizeof(path))) {
            return "its path is too long";
        }
        snprintf(whole, sizeof(whole), "%s/%s", path, name);
        int fd = open_beneath(t, whole, 0);
        bool good = fd >= 0 && fstat(fd, s) == 0;
        if (fd >= 0) {
            close(fd);
        }
        if (!good) {
            return "it is a link that leads out of the folder, or nowhere";
        }
        if (S_ISDIR(s->st_mode)) {
            return "it is a link to a folder";
        }
    }
    if (!S_ISREG(s->st_mode) && !S_ISDIR(s->st_mode)) {
        return "it is neither a file nor a folder";
    }
    if (S_ISREG(s->st_mode) && (uint64_t)s->st_size > UINT32_MAX) {
        return "it is larger than FAT allows (4 GiB)";
    }
    if (S_ISDIR(s->st_mode) && t->node[folder].depth + 1 >= FAT_MAX_DEPTH) {
        return "it lies too deep";
    }
    return NULL;
}

static bool add_entry(FatTree *t, uint32_t folder, const char *name, int at, Err *err)
{
    struct stat s;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return true;
    }
    const char *why = look(t, folder, name, at, &s);
    if (why) {
        log_warn("'%s': '%s' is left out: %s", t->path, name, why);
        return true;
    }
    if (t->nodes >= FAT_MAX_NODES) {
        return err_set(err, "'%s' holds more than %u files; name a smaller folder", t->path,
                       FAT_MAX_NODES);
    }
    FatNode *n = add_node(t);
    char *copy = n ? strdup(name) : NULL;
    if (!copy) {
        return err_set(err, "'%s': out of memory", t->path);
    }
    n->name = copy;
    n->parent = folder;
    n->depth = (uint8_t)(t->node[folder].depth + 1);
    n->folder = S_ISDIR(s.st_mode);
    n->size = n->folder ? 0 : (uint32_t)s.st_size;
    set_times(n, &s);
    t->nodes++;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const FatNode *)a)->name, ((const FatNode *)b)->name);
}

/* The entries of a folder take one slot, and those of their long names. */
static bool count_slots(FatTree *t, uint32_t folder, Err *err)
{
    FatNode *f = &t->node[folder];
    f->slots = folder ? 2 : 1; /* "." and "..", or the disk's name */
    for (uint32_t i = 0; i < f->children; i++) {
        FatNode *n = &t->node[f->child + i];
        n->slot = f->slots;
        f->slots += 1 + (n->long_units + FAT_UNITS_A_SLOT - 1u) / FAT_UNITS_A_SLOT;
    }
    return f->slots <= FAT_MAX_SLOTS || err_set(err, "'%s': '%s' holds more files than FAT allows",
                                                t->path, f->name ? f->name : ".");
}

static bool read_folder(FatTree *t, uint32_t folder, Err *err)
{
    char path[PATH_MAX];
    int fd = path_of(t, folder, path, sizeof(path)) ? open_beneath(t, path, O_DIRECTORY) : -1;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0) {
            close(fd);
        }
        if (folder == 0) {
            return err_set(err, "'%s' cannot be read: %s", t->path, strerror(errno));
        }
        log_warn("'%s': '%s' is shown empty: %s", t->path, path, strerror(errno));
        return count_slots(t, folder, err);
    }
    const struct dirent *entry;
    bool good = true;
    t->node[folder].child = t->nodes;
    while (good && (entry = readdir(dir)) != NULL) {
        good = add_entry(t, folder, entry->d_name, dirfd(dir), err);
    }
    closedir(dir);
    if (!good) {
        return false;
    }
    FatNode *f = &t->node[folder];
    f->children = t->nodes - f->child;
    if (f->children) { /* the same folder makes the same disk */
        qsort(&t->node[f->child], f->children, sizeof(FatNode), by_name);
    }
    if (!fat_name_children(t, folder)) {
        return err_set(err, "'%s': out of memory", t->path);
    }
    return count_slots(t, folder, err);
}

bool fat_tree_read(FatTree *t, const char *path, Err *err)
{
    struct stat s;
    *t = (FatTree){.root = -1, .path = strdup(path), .long_names = true};
    t->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->root < 0) {
        return err_set(err, "folder '%s' cannot be opened: %s; check the name behind fat:", path,
                       strerror(errno));
    }
    FatNode *root = add_node(t);
    if (!root || !t->path) {
        return err_set(err, "'%s': out of memory", path);
    }
    root->folder = true;
    if (fstat(t->root, &s) == 0) {
        set_times(root, &s);
    }
    t->nodes = 1;
    for (uint32_t i = 0; i < t->nodes; i++) {
        if (t->node[i].folder && !read_folder(t, i, err)) {
            return false;
        }
    }
    return true;
}

void fat_tree_free(FatTree *t)
{
    for (uint32_t i = 0; i < t->nodes; i++) {
        free(t->node[i].name);
        free(t->node[i].long_name);
    }
    free(t->node);
    free(t->path);
    if (t->root >= 0) {
        close(t->root);
    }
    *t = (FatTree){.root = -1};
}
