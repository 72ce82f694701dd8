/* `vitrine image`: opening, walking through two images at once, copying what differs, and giving a
 * finished file its name.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/host/disk_file.h"
#include "machine/image_internal.h"

enum { STRETCH = 1 << 20 /* bytes read at once */, SALVAGE_PIECE = 4096 };

Block *image_open(ImageArgs *a, const char *path, char letter, BlockOptions more)
{
    const char *format = letter ? a->option[(int)letter] : NULL;
    more.format = more.format ? more.format : format;
    more.any_backing = a->option[IMAGE_OPTION_BACKING] != NULL;
    if (a->option['U'] && !more.read_only) {
        err_set(&a->err, "'%s' is to be written to: -U goes with looking only; leave it out", path);
        return NULL;
    }
    more.no_lock = more.no_lock || a->option['U'] != NULL;
    return block_open(path, &more, &a->err);
}

/* ---- walking ---- */

bool image_walk_begin(ImageWalk *w, Block *a, Block *b, uint64_t end, Err *err)
{
    *w = (ImageWalk){.a = a, .b = b, .end = end};
    w->data = malloc(STRETCH);
    w->other = malloc(STRETCH);
    if (!w->data || !w->other) {
        image_walk_end(w);
        return err_set(err, "out of memory");
    }
    return true;
}

void image_walk_end(ImageWalk *w)
{
    free(w->data);
    free(w->other);
    w->data = w->other = NULL;
}

/* Is there data, and how far does that hold? */
static int look(Block *b, uint64_t at, uint64_t end, bool *data, uint64_t *length)
{
    BlockExtent extent = {.length = end - at, .data = false};
    int error = b && at < block_size(b) ? block_map(b, at, &extent) : 0;
    *data = extent.data;
    *length = extent.length < end - at ? extent.length : end - at;
    return !error && *length == 0 ? EIO : error;
}

static int fetch(Block *b, uint64_t at, bool has_data, uint8_t *to, uint64_t length)
{
    uint64_t size = b && has_data ? block_size(b) : 0;
    uint64_t there = at >= size ? 0 : size - at < length ? size - at : length;
    memset(to + there, 0, (size_t)(length - there));
    return there ? block_read(b, at, to, (size_t)there) : 0;
}

int image_walk_next(ImageWalk *w)
{
    uint64_t a_length, b_length;
    w->at += w->length;
    w->length = 0;
    if (w->at >= w->end) {
        return 0;
    }
    int error = look(w->a, w->at, w->end, &w->a_data, &a_length);
    error = error ? error : look(w->b, w->at, w->end, &w->b_data, &b_length);
    if (error) {
        return error;
    }
    uint64_t length = a_length < b_length ? a_length : b_length;
    w->same = !w->a_data && !w->b_data && !w->all;
    if (!w->same) {
        length = length < STRETCH ? length : STRETCH;
        error = fetch(w->a, w->at, w->a_data, w->data, length);
        error = error ? error : fetch(w->b, w->at, w->b_data, w->other, length);
    }
    w->length = error ? 0 : length;
    return error;
}

/* ---- copying ---- */

/* Reads what can be read, and zeros for the rest. */
static void salvage(ImageArgs *a, Block *from, uint64_t at, uint8_t *data, uint64_t length)
{
    for (uint64_t done = 0; done < length; done += SALVAGE_PIECE) {
        uint64_t part = length - done < SALVAGE_PIECE ? length - done : SALVAGE_PIECE;
        if (fetch(from, at + done, true, data + done, part) != 0) {
            memset(data + done, 0, (size_t)part);
            a->lost += part;
        }
    }
}

/* The next stretch; with --salvage, also where the first image cannot be read. */
static int next_stretch(ImageArgs *a, ImageWalk *w)
{
    int error = image_walk_next(w);
    if (error && a->option[IMAGE_OPTION_SALVAGE]) {
        uint64_t length = w->end - w->at < STRETCH ? w->end - w->at : STRETCH;
        error = fetch(w->b, w->at, true, w->other, length);
        if (!error) {
            salvage(a, w->a, w->at, w->data, length);
            w->same = false;
            w->length = length;
        }
    }
    return error;
}

/* What lies behind the end of the smaller one is none of a copy's business. */
static uint64_t common_size(const Block *from, const Block *to)
{
    uint64_t x = block_size(from), y = block_size(to);
    return x < y ? x : y;
}

static void show_progress(const ImageArgs *a, uint64_t done, uint64_t all, int *shown)
{
    int now = all ? (int)((double)done * 1000 / (double)all) : 1000;
    if (a->progress && now != *shown) {
        fprintf(stderr, "\r    (%d.%d/100%%)", now / 10, now % 10);
        *shown = now;
    }
}

/* Writes the runs of grains of this stretch that differ. */
static int write_changes(const ImageArgs *a, const ImageWalk *w, Block *to)
{
    uint64_t from = 0, at = 0;
    while (at <= w->length) {
        uint64_t grain = w->length - at < a->grain ? w->length - at : a->grain;
        bool differs =
            grain && (a->dense || memcmp(w->data + at, w->other + at, (size_t)grain) != 0);
        if (!differs) {
            int error =
                at > from ? block_write(to, w->at + from, w->data + from, (size_t)(at - from)) : 0;
            if (error || grain == 0) {
                return error;
            }
            from = at + grain;
        }
        at += grain;
    }
    return 0;
}

/* The end of a copy: all is on the disk, or the message is set. */
static bool transferred(ImageArgs *a, Block *from, Block *to, const char *doing, int error)
{
    if (!error) {
        doing = "written";
        error = block_flush(to);
    }
    if (a->progress) {
        fputc('\n', stderr);
    }
    if (a->lost && !error) {
        fprintf(stderr, "vitrine: '%s': %llu bytes cannot be read, and are zeros in the copy\n",
                block_path(from), (unsigned long long)a->lost);
    }
    return !error ||
           err_set(&a->err, "'%s' cannot be %s: %s%s", block_path(doing[0] == 'r' ? from : to),
                   doing, strerror(error),
                   error == ENOSPC                   ? "; make room and try again"
                   : error == EIO && doing[0] == 'r' ? "; convert --salvage copies the rest"
                                                     : "");
}

bool image_transfer(ImageArgs *a, Block *from, Block *reference, Block *to)
{
    ImageWalk w;
    int error = 0, shown = -1;
    if (!image_walk_begin(&w, from, reference, common_size(from, to), &a->err)) {
        return false;
    }
    w.all = a->dense;
    const char *doing = "read";
    show_progress(a, 0, w.end, &shown);
    while (!(error = next_stretch(a, &w)) && w.length) {
        error = w.same ? 0 : write_changes(a, &w, to);
        if (error) {
            doing = "written";
            break;
        }
        show_progress(a, w.at + w.length, w.end, &shown);
    }
    image_walk_end(&w);
    return transferred(a, from, to, doing, error);
}

static bool all_zero(const uint8_t *data, size_t length)
{
    return data[0] == 0 && memcmp(data, data + 1, length - 1) == 0;
}

/* The unit at `at`, unless it is what the reference has there; where `from` ends in it, the rest
 * stays as it is. *doing: what failed. */
static int pack_unit(ImageArgs *a, Block *from, Block *reference, Block *to, uint64_t at,
                     uint8_t *data, uint8_t *other, const char **doing)
{
    uint64_t rest = block_size(to) - at, unit = block_pack_bytes(to);
    size_t length = (size_t)(unit < rest ? unit : rest);
    *doing = "read";
    int error = fetch(from, at, true, data, length);
    if (error && a->option[IMAGE_OPTION_SALVAGE]) {
        salvage(a, from, at, data, length);
        error = 0;
    }
    error = error || !reference ? error : fetch(reference, at, true, other, length);
    if (error) {
        return error;
    }
    if (reference && block_size(from) - at < length) {
        size_t own = (size_t)(block_size(from) - at);
        memcpy(data + own, other + own, length - own);
    }
    bool same = reference ? memcmp(data, other, length) == 0 : all_zero(data, length);
    *doing = "written";
    return same && !a->dense ? 0 : block_write_packed(to, at, data, length);
}

bool image_transfer_packed(ImageArgs *a, Block *from, Block *reference, Block *to)
{
    uint64_t unit = block_pack_bytes(to), end = common_size(from, to);
    uint8_t *data = unit ? malloc((size_t)unit) : NULL, *other = unit ? malloc((size_t)unit) : NULL;
    int error = data && other ? 0 : unit ? ENOMEM : ENOTSUP, shown = -1;
    const char *doing = "written";
    for (uint64_t at = 0; at < end && !error;) {
        bool has_data = true;
        uint64_t length = unit;
        show_progress(a, at, end, &shown);
        if (!reference && !a->dense) {
            doing = "read";
            error = look(from, at, end, &has_data, &length);
            if (error && a->option[IMAGE_OPTION_SALVAGE]) {
                error = 0;
                has_data = true;
            }
        }
        if (!error && has_data) {
            error = pack_unit(a, from, reference, to, at, data, other, &doing);
        }
        /* whole units without data are passed over */
        uint64_t skip = has_data ? unit : length / unit * unit;
        if (!error && !has_data && skip == 0) {
            error = pack_unit(a, from, reference, to, at, data, other, &doing);
        }
        at += skip ? skip : unit;
    }
    if (!error) {
        show_progress(a, end, end, &shown);
    }
    free(data);
    free(other);
    return transferred(a, from, to, doing, error);
}

/* ---- new files ---- */

bool image_may_write(ImageArgs *a, const char *path)
{
    struct stat there;
    if (lstat(path, &there) != 0) {
        return true;
    }
    if (!a->option[IMAGE_OPTION_FORCE]) {
        return err_set(&a->err,
                       "'%s' is there already; take another name, or --force to replace it", path);
    }
    bool link = S_ISLNK(there.st_mode);
    if (link && stat(path, &there) != 0) {
        return true; /* it leads nowhere */
    }
    if (!S_ISREG(there.st_mode)) {
        return err_set(&a->err,
                       "'%s' is no ordinary file, and is not replaced; to write to a disk: vitrine "
                       "image convert -n",
                       path);
    }
    /* who has it open would go on writing to a file without a name */
    DiskFile file;
    bool idle = disk_file_open(
        &file, path, &(DiskFileOptions){.write = true, .or_read_only = true, .lock = true},
        &a->err);
    if (idle) {
        disk_file_close(&file);
    }
    return idle;
}

void image_tell_name(ImageArgs *a, const char *temporary, const char *path)
{
    char text[sizeof(a->err.text)];
    char *at = strcmp(temporary, path) == 0 ? NULL : strstr(a->err.text, temporary);
    if (at) {
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - a->err.text), a->err.text, path,
                 at + strlen(temporary));
        memcpy(a->err.text, text, sizeof(text));
    }
}

bool image_temporary_name(const char *path, char *name, size_t room, Err *err)
{
    int length = snprintf(name, room, "%s.part-%ld", path, (long)getpid());
    return (length > 0 && (size_t)length < room) ||
           err_set(err, "'%s': the name is too long", path);
}

/* The folder's entry is on the disk, too. */
static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1,
             slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd); /* some file systems cannot, and lose nothing by it */
        close(fd);
    }
}

bool image_put_in_place(ImageArgs *a, const char *temporary, const char *path)
{
    bool force = a->option[IMAGE_OPTION_FORCE] != NULL;
    bool done;
    if (force) {
        done = rename(temporary, path) == 0;
    } else {
        done = renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0;
        if (!done && (errno == EINVAL || errno == ENOSYS)) { /* not on this file system */
            done = link(temporary, path) == 0;
            done = done && unlink(temporary) == 0;
        }
    }
    if (!done) {
        err_set(&a->err, "'%s' cannot be made: %s", path,
                errno == EEXIST ? "it is there already; --force replaces it" : strerror(errno));
        unlink(temporary);
        return false;
    }
    sync_folder(path);
    return true;
}
