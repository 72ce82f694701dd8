/* `vitrine image create, convert, resize`. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "machine/image_internal.h"
#include "storage/floppy_image.h"
#include "storage/image_path.h"
#include "ui/value.h"

/* Opens what the new image will lie above, and notes the format that it was found to have: found
 * again later, in bytes that a guest has written, it could be another. */
static Block *open_backing(ImageArgs *a, NewImage *n, const char *path)
{
    char place[PATH_MAX];
    if (!image_path_beside(path, n->backing, true, place, sizeof(place), &a->err)) {
        return NULL;
    }
    BlockOptions how = {.read_only = true, .format = n->backing_format};
    Block *base = image_open(a, place, 0, how);
    if (base) {
        snprintf(n->found_format, sizeof(n->found_format), "%s", block_format_name(base));
        n->backing_format = n->found_format;
    }
    return base;
}

bool image_parse_size(ImageArgs *a, const char *text, uint64_t *size)
{
    if (!value_parse_size(text, 1, size) || *size == 0 || *size > INT64_MAX - BLOCK_SECTOR) {
        return err_set(&a->err, "'%s' is no size; write bytes, or a number with K, M, G, T, P or E",
                       text);
    }
    *size = (*size + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
    return true;
}

/* The format that a backing file must have. */
static bool fitting_backing(ImageArgs *a, const NewImage *n, const Block *base)
{
    bool own = strcmp(n->format, "qcow2") != 0;
    return !own || strcmp(block_format_name(base), n->format) == 0 ||
           err_set(&a->err,
                   "'%s' is a %s image; a %s image lies above one of its own kind only: "
                   "take qcow2",
                   block_path(base), block_format_name(base), n->format);
}

bool image_new_begin(ImageArgs *a, const NewImage *n, const char *path, uint64_t size,
                     char *temporary, size_t room)
{
    if (image_new_is_several(n)) {
        snprintf(temporary, room, "%s", path);
        if (a->option[IMAGE_OPTION_FORCE]) {
            image_new_remove(n, path, size);
        }
        return true;
    }
    return image_temporary_name(path, temporary, room, &a->err);
}

bool image_new_end(ImageArgs *a, const NewImage *n, const char *temporary, const char *path)
{
    return image_new_is_several(n) || image_put_in_place(a, temporary, path);
}

static bool create(ImageArgs *a, NewImage *n, uint64_t *size)
{
    const char *path = a->name[0];
    const char *text = a->names > 1 ? a->name[1] : n->size;
    char temporary[PATH_MAX];
    if ((text && !image_parse_size(a, text, size)) || !image_may_write(a, path)) {
        return false;
    }
    if (n->backing && !(a->option['u'] && *size)) {
        Block *base = open_backing(a, n, path);
        bool fits = base && fitting_backing(a, n, base);
        *size = *size || !base ? *size : block_size(base);
        block_close(base);
        if (!fits) {
            return false;
        }
    }
    if (!*size) {
        return err_set(&a->err, "'%s': say how large the disk is to be, for example 500M", path);
    }
    if (!image_new_begin(a, n, path, *size, temporary, sizeof(temporary))) {
        return false;
    }
    if (!image_new_make(n, temporary, path, *size, &a->err)) {
        image_tell_name(a, temporary, path);
        return false;
    }
    return image_new_end(a, n, temporary, path);
}

/* An image is what -f (or -O) says, not what its name's ending does; say so where they differ. */
static void note_ending(const ImageArgs *a, const NewImage *n, char option, const char *path)
{
    static const char *const endings[][2] = {{".qcow2", "qcow2"}, {".vmdk", "vmdk"},
                                             {".vdi", "vdi"},     {".vhd", "vhd"},
                                             {".vpc", "vhd"},     {".imd", "imd"}};
    size_t length = strlen(path);
    for (unsigned i = 0;
         !a->option[(unsigned char)option] && i < sizeof(endings) / sizeof(endings[0]); i++) {
        size_t end = strlen(endings[i][0]);
        if (length > end && strcasecmp(path + length - end, endings[i][0]) == 0) {
            fprintf(stderr,
                    "vitrine: note: '%s' is made %s; with -%c %s it is what its name says\n", path,
                    n->format, option, endings[i][1]);
        }
    }
}

int image_create(ImageArgs *a)
{
    NewImage n;
    uint64_t size = 0;
    bool good = image_new_take(a, &n, a->option['f']);
    if (good && strcmp(n.format, "imd") == 0) {
        good = err_set(&a->err, "an empty IMD image has no layout; make a raw one and convert it");
    }
    good = good && create(a, &n, &size);
    if (good && !a->option['q']) {
        printf("'%s': %s, %llu bytes\n", a->name[0], n.format, (unsigned long long)size);
    }
    if (good) {
        note_ending(a, &n, 'f', a->name[0]);
    }
    image_new_free(&n);
    return good ? 0 : 1;
}

static bool transfer(ImageArgs *a, Block *from, Block *reference, Block *to, bool packed)
{
    if (packed && block_pack_bytes(to) == 0) {
        return err_set(&a->err,
                       "-c: %s images are not compressed; take -O qcow2, or -O vmdk -o "
                       "subformat=streamOptimized",
                       block_format_name(to));
    }
    return packed ? image_transfer_packed(a, from, reference, to)
                  : image_transfer(a, from, reference, to);
}

/* With a backing file, only what differs from it is written. */
static bool fill(ImageArgs *a, const NewImage *n, Block *from, const char *path)
{
    bool packed = a->option['c'] || image_new_is_stream(n);
    BlockOptions how = {.format = n->format, .any_backing = true, .packed = packed};
    Block *to = block_open(path, &how, &a->err);
    bool good = to && transfer(a, from, n->backing ? to : NULL, to, packed);
    block_close(to);
    return good;
}

static bool convert(ImageArgs *a, NewImage *n, Block *from)
{
    const char *path = a->name[1];
    char temporary[PATH_MAX];
    uint64_t size = block_size(from);
    if (n->backing) {
        Block *base = open_backing(a, n, path);
        bool fits = base && fitting_backing(a, n, base);
        block_close(base);
        if (!fits) {
            return false;
        }
    }
    if (!image_new_begin(a, n, path, size, temporary, sizeof(temporary))) {
        return false;
    }
    if (strcmp(n->format, "imd") == 0) { /* whose layout is made of what is copied */
        bool made = imd_write(temporary, from, &a->err);
        image_tell_name(a, temporary, path);
        return made && image_new_end(a, n, temporary, path);
    }
    if (!image_new_make(n, temporary, path, size, &a->err)) {
        image_tell_name(a, temporary, path);
        return false;
    }
    if (!fill(a, n, from, temporary)) {
        image_new_remove(n, temporary, size);
        image_tell_name(a, temporary, path);
        return false;
    }
    return image_new_end(a, n, temporary, path);
}

/* -n: into an image that is there, which is written only where it differs. */
static bool convert_into(ImageArgs *a, NewImage *n, Block *from)
{
    BlockOptions how = {.format = a->option['O'] ? n->format : NULL};
    Block *to = image_open(a, a->name[1], 0, how);
    bool good = to != NULL;
    if (good && block_size(to) < block_size(from)) {
        good = err_set(&a->err, "'%s' is smaller than '%s'; enlarge it: vitrine image resize",
                       a->name[1], a->name[0]);
    }
    good = good && transfer(a, from, to, to, a->option['c'] != NULL);
    block_close(to);
    return good;
}

bool image_show_snapshot(ImageArgs *a, Block *from)
{
    const char *name = a->option['l'];
    if (!name) {
        return true;
    }
    static const char *const prefixes[] = {"snapshot.name=", "snapshot.id="};
    for (unsigned i = 0; i < 2; i++) {
        size_t length = strlen(prefixes[i]);
        name += strncmp(name, prefixes[i], length) == 0 ? length : 0;
    }
    int index = qcow2_is(from) ? qcow2_snapshot_find(from, name) : -1;
    if (index < 0) {
        return err_set(&a->err, "'%s' has no snapshot '%s'; 'vitrine image snapshot -l' lists them",
                       a->name[0], name);
    }
    int error = qcow2_snapshot_view(from, (unsigned)index);
    return !error || err_set(&a->err, "'%s': snapshot '%s' cannot be read: %s", a->name[0], name,
                             strerror(error));
}

static bool take_sparseness(ImageArgs *a)
{
    uint64_t size = 4096;
    const char *text = a->option['S'];
    if (text && (!value_parse_size(text, 1, &size) || size % BLOCK_SECTOR || size > 1 << 20)) {
        return err_set(&a->err, "-S %s: use 0, or whole sectors up to 1M", text);
    }
    a->dense = size == 0;
    a->grain = size ? size : 4096;
    return true;
}

int image_convert(ImageArgs *a)
{
    NewImage n;
    Block *from = NULL;
    bool into = a->option['n'] != NULL;
    bool good = image_new_take(a, &n, a->option['O']) && take_sparseness(a) &&
                (into || image_may_write(a, a->name[a->names - 1]));
    if (good && a->names > 2) {
        good = image_join(a, &n);
    } else if (good) {
        from = image_open(a, a->name[0], 'f', (BlockOptions){.read_only = true});
        good = from && image_show_snapshot(a, from) &&
               (into ? convert_into(a, &n, from) : convert(a, &n, from));
    }
    block_close(from);
    if (good && !into) {
        note_ending(a, &n, 'O', a->name[a->names - 1]);
    }
    image_new_free(&n);
    return good ? 0 : 1;
}

static bool new_size(ImageArgs *a, uint64_t before, uint64_t *size)
{
    const char *text = a->name[1];
    uint64_t by = 0;
    bool relative = text[0] == '+' || text[0] == '-';
    if (!image_parse_size(a, text + relative, &by)) {
        return false;
    }
    if ((text[0] == '-' && by >= before) || (text[0] == '+' && by > INT64_MAX - before)) {
        return err_set(&a->err, "'%s': it has %llu bytes; a size of '%s' is out of range",
                       a->name[0], (unsigned long long)before, text);
    }
    *size = text[0] == '+' ? before + by : text[0] == '-' ? before - by : by;
    return *size >= before || a->option[IMAGE_OPTION_SHRINK] ||
           err_set(&a->err,
                   "'%s' would lose what is behind byte %llu; make partitions and file systems "
                   "smaller in the guest, then use --shrink",
                   a->name[0], (unsigned long long)*size);
}

static bool resize(ImageArgs *a, Block *b, uint64_t size)
{
    int error = block_resize(b, size);
    if (error == ENOTSUP) {
        return err_set(&a->err,
                       "'%s': the size of a %s image cannot be changed; convert it to qcow2 first",
                       a->name[0], block_format_name(b));
    }
    if (error == EBUSY) {
        return err_set(&a->err, "'%s' holds snapshots; delete them before changing its size",
                       a->name[0]);
    }
    return !error || err_set(&a->err, "'%s' cannot have %llu bytes: %s", a->name[0],
                             (unsigned long long)size, strerror(error));
}

int image_resize(ImageArgs *a)
{
    uint64_t size = 0;
    Block *b = image_open(a, a->name[0], 'f', (BlockOptions){0});
    bool good = b && new_size(a, block_size(b), &size) && resize(a, b, size);
    block_close(b);
    if (good && !a->option['q']) {
        printf("'%s' has %llu bytes now\n", a->name[0], (unsigned long long)size);
    }
    return good ? 0 : 1;
}
