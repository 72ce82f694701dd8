/* `vitrine image snapshot, commit, rebase`: snapshots inside an image, and what lies below it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "machine/host/disk_file.h"
#include "machine/image_internal.h"
#include "storage/image_path.h"

static bool want_qcow2(ImageArgs *a, const Block *b, const char *what)
{
    return qcow2_is(b) ||
           err_set(&a->err, "'%s' is a %s image, which has no %s; convert it to qcow2", a->name[0],
                   block_format_name(b), what);
}

/* ---- snapshots ---- */

static bool snapshot_index(ImageArgs *a, Block *b, const char *name, unsigned *index)
{
    int found = qcow2_snapshot_find(b, name);
    *index = found < 0 ? 0 : (unsigned)found;
    return found >= 0 || err_set(&a->err,
                                 "'%s' has no snapshot '%s'; 'vitrine image snapshot -l' "
                                 "lists them",
                                 a->name[0], name);
}

static bool snapshot_done(ImageArgs *a, const char *name, const char *doing, int error)
{
    return !error || err_set(&a->err, "'%s': snapshot '%s' cannot be %s: %s", a->name[0], name,
                             doing, strerror(error));
}

static bool snapshot_make(ImageArgs *a, Block *b, const char *name)
{
    Qcow2Snapshot info = {0};
    struct timespec now;
    if (!name[0] || strlen(name) >= sizeof(info.name)) {
        return err_set(&a->err, "-c: a snapshot's name has 1 to %zu bytes", sizeof(info.name) - 1);
    }
    if (qcow2_snapshot_find(b, name) >= 0) {
        return err_set(&a->err, "'%s' has a snapshot '%s' already; take another name or delete it",
                       a->name[0], name);
    }
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(info.name, sizeof(info.name), "%s", name);
    info.date_s = (uint32_t)now.tv_sec;
    info.date_ns = (uint32_t)now.tv_nsec;
    info.disk_size = block_size(b);
    return snapshot_done(a, name, "made", qcow2_snapshot_create(b, &info));
}

/* Going back does not change the disk's size. */
static bool snapshot_apply(ImageArgs *a, Block *b, unsigned index)
{
    Qcow2Snapshot s;
    qcow2_snapshot_info(b, index, &s);
    if (s.disk_size != block_size(b)) {
        return err_set(&a->err,
                       "'%s': snapshot '%s' is of a disk of %llu bytes, and this one has %llu now; "
                       "take it out: vitrine image convert -l '%s' -O qcow2 '%s' NEW",
                       a->name[0], s.name, (unsigned long long)s.disk_size,
                       (unsigned long long)block_size(b), s.name, a->name[0]);
    }
    return snapshot_done(a, s.name, "applied", qcow2_snapshot_apply(b, index));
}

static bool snapshot_change(ImageArgs *a, Block *b)
{
    unsigned index;
    if (a->option['c']) {
        return snapshot_make(a, b, a->option['c']);
    }
    bool delete = a->option['d'] != NULL;
    const char *name = delete ? a->option['d'] : a->option['a'];
    return snapshot_index(a, b, name, &index) &&
           (delete ? snapshot_done(a, name, "deleted", qcow2_snapshot_delete(b, index))
                   : snapshot_apply(a, b, index));
}

int image_snapshot(ImageArgs *a)
{
    unsigned actions = !!a->option['l'] + !!a->option['c'] + !!a->option['a'] + !!a->option['d'];
    if (actions > 1) {
        err_set(&a->err, "use only one of -l, -c, -a and -d");
        return 1;
    }
    bool list = actions == 0 || a->option['l'];
    Block *b =
        image_open(a, a->name[0], 'f', (BlockOptions){.read_only = list, .no_backing = list});
    bool good = b && want_qcow2(a, b, "snapshots");
    if (good && list) {
        image_list_snapshots(b, a->json);
    } else if (good) {
        good = snapshot_change(a, b);
    }
    block_close(b);
    return good ? 0 : 1;
}

/* ---- commit ---- */

/* The image's own name, and where the one below it is. */
static bool find_backing(ImageArgs *a, char *path, size_t room, Qcow2Info *info)
{
    Block *b =
        image_open(a, a->name[0], 'f', (BlockOptions){.read_only = true, .no_backing = true});
    bool good = b && want_qcow2(a, b, "backing file");
    int error = good ? qcow2_describe(b, info) : 0;
    block_close(b);
    if (!good || error) {
        return good && err_set(&a->err, "'%s' cannot be read: %s", a->name[0], strerror(error));
    }
    if (!info->backing[0]) {
        return err_set(&a->err, "'%s' has no backing file to write its changes to", a->name[0]);
    }
    bool any = a->option[IMAGE_OPTION_BACKING] != NULL;
    return image_path_beside(a->name[0], info->backing, any, path, room, &a->err);
}

static bool commit_into(ImageArgs *a, Block *top, Block *base)
{
    int error = block_size(top) > block_size(base) ? block_resize(base, block_size(top)) : 0;
    if (error) {
        return err_set(&a->err, "'%s' cannot be made as large as '%s': %s", block_path(base),
                       a->name[0], strerror(error));
    }
    return image_transfer(a, top, base, base);
}

/* The image below the top that -b names; the next one without. */
static const Block *find_below(ImageArgs *a, const Block *top, const char *next)
{
    struct stat wanted, one;
    const char *name = a->option['b'] ? a->option['b'] : next;
    bool found = stat(name, &wanted) == 0;
    for (const Block *b = found ? block_backing(top) : NULL; b; b = block_backing(b)) {
        if (stat(block_path(b), &one) == 0 && one.st_ino == wanted.st_ino &&
            one.st_dev == wanted.st_dev) {
            return b;
        }
    }
    err_set(&a->err,
            "'%s' does not lie above '%s'; 'vitrine image info --backing-chain' tells what "
            "it lies above",
            a->name[0], name);
    return NULL;
}

/* The base is written while it is also read from above, so that chain is opened without locks; the
 * image itself is kept from others by a lock of its own, the base by its writer's. What the base
 * holds already is written once more if this is cut off, which changes nothing. */
int image_commit(ImageArgs *a)
{
    char path[PATH_MAX];
    Qcow2Info info;
    DiskFile guard = {.fd = -1};
    DiskFileOptions lock = {.write = true, .lock = true};
    if (!find_backing(a, path, sizeof(path), &info) ||
        !disk_file_open(&guard, a->name[0], &lock, &a->err)) {
        return 1;
    }
    Block *base = NULL;
    Block *top = image_open(a, a->name[0], 'f', (BlockOptions){.read_only = true, .no_lock = true});
    if (top) {
        const Block *below = find_below(a, top, path);
        BlockOptions how = {.format = below ? block_format_name(below) : NULL};
        base = below ? image_open(a, block_path(below), 0, how) : NULL;
    }
    bool good = base && commit_into(a, top, base);
    block_close(base);
    block_close(top);
    disk_file_close(&guard);
    if (good && !a->option['q']) {
        printf("'%s' holds all that '%s' does\n", a->option['b'] ? a->option['b'] : path,
               a->name[0]);
    }
    return good ? 0 : 1;
}

/* ---- rebase ---- */

static bool rename_backing(ImageArgs *a, Block *b, const char *backing, const char *format)
{
    int error = qcow2_set_backing(b, backing[0] ? backing : NULL, format);
    return !error || err_set(&a->err, "'%s' cannot be laid above '%s': %s", a->name[0], backing,
                             strerror(error));
}

/* First what the new base would show differently is written into the image, then it is named. */
static bool rebase_onto(ImageArgs *a, Block *b, const char *backing)
{
    char path[PATH_MAX];
    Block *base = NULL;
    const char *format = a->option['F'];
    if (backing[0]) {
        if (!image_path_beside(a->name[0], backing, true, path, sizeof(path), &a->err)) {
            return false;
        }
        base = image_open(a, path, 0, (BlockOptions){.read_only = true, .format = format});
        if (!base) {
            return false;
        }
        format = block_format_name(base);
    }
    bool good = image_transfer(a, b, base, b) && rename_backing(a, b, backing, format);
    block_close(base);
    return good;
}

/* -u: without -F the format is what is found now, once, and not later in what a guest has written.
 */
static bool rename_only(ImageArgs *a, Block *b, const char *backing)
{
    char path[PATH_MAX];
    if (!backing[0] || a->option['F']) {
        return rename_backing(a, b, backing, a->option['F']);
    }
    if (!image_path_beside(a->name[0], backing, true, path, sizeof(path), &a->err)) {
        return false;
    }
    Block *base = image_open(a, path, 0, (BlockOptions){.read_only = true, .no_backing = true});
    if (!base) {
        char why[sizeof(a->err.text)];
        snprintf(why, sizeof(why), "%s", a->err.text);
        a->err.text[0] = '\0';
        return err_set(&a->err, "rebase -u: say with -F which format '%s' has (%.300s)", backing,
                       why);
    }
    bool good = rename_backing(a, b, backing, block_format_name(base));
    block_close(base);
    return good;
}

int image_rebase(ImageArgs *a)
{
    const char *backing = a->option['b'] ? a->option['b'] : a->option['B'];
    bool only_name = a->option['u'] != NULL;
    if (!backing) {
        err_set(&a->err, "rebase needs -b FILE, or -b '' for no backing file");
        return 1;
    }
    Block *b = image_open(a, a->name[0], 'f', (BlockOptions){.no_backing = only_name});
    bool good = b && want_qcow2(a, b, "backing file") &&
                (only_name ? rename_only(a, b, backing) : rebase_onto(a, b, backing));
    block_close(b);
    return good ? 0 : 1;
}
