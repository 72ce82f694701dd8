/* `vitrine image create, convert, resize`. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/image_internal.h"
#include "storage/image_path.h"
#include "ui/value.h"

/* What a new image is to be. */
typedef struct NewImage {
    const char *format;
    Qcow2Options qcow2;
    char backing_format[32];
    KeyValues words; /* of -o; the options point into it */
    bool has_words;
} NewImage;

static bool power_of_two(const char *text, uint64_t most, unsigned *bits, Err *err)
{
    uint64_t number = 0;
    if (!value_parse_size(text, 1, &number) || number == 0 || number & (number - 1) ||
        number > most) {
        return err_set(err, "-o: '%s' is no power of two up to %llu", text,
                       (unsigned long long)most);
    }
    *bits = (unsigned)__builtin_ctzll(number);
    return true;
}

static bool take_qcow2_words(NewImage *n, Err *err)
{
    Qcow2Options *o = &n->qcow2;
    const char *cluster = value_find(&n->words, "cluster_size");
    const char *compat = value_find(&n->words, "compat");
    const char *counts = value_find(&n->words, "refcount_bits");
    const char *packing = value_find(&n->words, "compression_type");
    unsigned order = 4;
    if (compat && strcmp(compat, "0.10") != 0 && strcmp(compat, "v2") != 0 &&
        strcmp(compat, "1.1") != 0 && strcmp(compat, "v3") != 0) {
        return err_set(err, "-o compat=%s: use 0.10 or 1.1", compat);
    }
    if (packing && strcmp(packing, "zlib") != 0 && strcmp(packing, "zstd") != 0) {
        return err_set(err, "-o compression_type=%s: use zlib or zstd", packing);
    }
    if ((cluster && !power_of_two(cluster, 2 << 20, &o->cluster_bits, err)) ||
        (counts && !power_of_two(counts, 64, &order, err))) {
        return false;
    }
    if (cluster && o->cluster_bits < 9) {
        return err_set(err, "-o cluster_size=%s: use 512 to 2M", cluster);
    }
    o->version = compat && (compat[0] == '0' || compat[1] == '2') ? 2 : 3;
    o->refcount_bits = counts ? 1u << order : 0;
    o->zstd = packing && strcmp(packing, "zstd") == 0;
    o->backing = value_find(&n->words, "backing_file");
    o->backing_format = value_find(&n->words, "backing_fmt");
    return value_switch(&n->words, "lazy_refcounts", &o->lazy_refcounts, err);
}

static bool take_new(ImageArgs *a, NewImage *n, const char *format)
{
    *n = (NewImage){.format = format ? format : "raw"};
    bool qcow2 = strcmp(n->format, "qcow2") == 0;
    if (!qcow2 && strcmp(n->format, "raw") != 0) {
        return err_set(&a->err, "images of format '%s' cannot be made; take raw or qcow2",
                       n->format);
    }
    if (a->option['o']) {
        n->has_words = true;
        if (!value_split(&n->words, "o", a->option['o'], NULL, &a->err) ||
            (qcow2 && !take_qcow2_words(n, &a->err)) ||
            !value_all_used(&n->words,
                            qcow2 ? "cluster_size, compat, refcount_bits, lazy_refcounts, "
                                    "compression_type, backing_file, backing_fmt"
                                  : "none for raw images",
                            &a->err)) {
            return false;
        }
    }
    const char *backing = a->option['b'] ? a->option['b'] : a->option['B'];
    n->qcow2.backing = backing ? backing : n->qcow2.backing;
    n->qcow2.backing_format = a->option['F'] ? a->option['F'] : n->qcow2.backing_format;
    return qcow2 || !n->qcow2.backing ||
           err_set(&a->err, "raw images have no backing file; take the format qcow2");
}

static void free_new(NewImage *n)
{
    if (n->has_words) {
        value_free(&n->words);
    }
}

/* Opens what the new image will lie above, and notes the format that it was found to have: found
 * again later, in bytes that a guest has written, it could be another. */
static Block *open_backing(ImageArgs *a, NewImage *n, const char *path)
{
    char place[PATH_MAX];
    if (!image_path_beside(path, n->qcow2.backing, true, place, sizeof(place), &a->err)) {
        return NULL;
    }
    BlockOptions how = {.read_only = true, .format = n->qcow2.backing_format};
    Block *base = image_open(a, place, 0, how);
    if (base) {
        snprintf(n->backing_format, sizeof(n->backing_format), "%s", block_format_name(base));
        n->qcow2.backing_format = n->backing_format;
    }
    return base;
}

static bool parse_size(ImageArgs *a, const char *text, uint64_t *size)
{
    if (!value_parse_size(text, 1, size) || *size == 0 || *size > INT64_MAX - BLOCK_SECTOR) {
        return err_set(&a->err, "'%s' is no size; write bytes, or a number with K, M, G or T",
                       text);
    }
    *size = (*size + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
    return true;
}

static bool create(ImageArgs *a, NewImage *n, uint64_t *size)
{
    const char *path = a->name[0];
    char temporary[PATH_MAX];
    if (a->names > 1 && !parse_size(a, a->name[1], size)) {
        return false;
    }
    if (!image_may_write(a, path)) {
        return false;
    }
    if (n->qcow2.backing && !(a->option['u'] && *size)) {
        Block *base = open_backing(a, n, path);
        if (!base) {
            return false;
        }
        *size = *size ? *size : block_size(base);
        block_close(base);
    }
    if (!*size) {
        return err_set(&a->err, "'%s': say how large the disk is to be, for example 500M", path);
    }
    return image_temporary_name(path, temporary, sizeof(temporary), &a->err) &&
           image_make(temporary, n->format, *size, &n->qcow2, &a->err) &&
           image_put_in_place(a, temporary, path);
}

int image_create(ImageArgs *a)
{
    NewImage n;
    uint64_t size = 0;
    bool good = take_new(a, &n, a->option['f']) && create(a, &n, &size);
    if (good && !a->option['q']) {
        printf("'%s': %s, %llu bytes\n", a->name[0], n.format, (unsigned long long)size);
    }
    free_new(&n);
    return good ? 0 : 1;
}

/* With a backing file, only what differs from it is written. */
static bool fill(ImageArgs *a, const NewImage *n, Block *from, const char *path)
{
    BlockOptions how = {.format = n->format, .any_backing = true};
    Block *to = block_open(path, &how, &a->err);
    if (!to) {
        return false;
    }
    bool good = image_transfer(a, from, n->qcow2.backing ? to : NULL, to);
    block_close(to);
    return good;
}

static bool convert(ImageArgs *a, NewImage *n, Block *from)
{
    const char *path = a->name[1];
    char temporary[PATH_MAX];
    if (n->qcow2.backing) {
        Block *base = open_backing(a, n, path);
        if (!base) {
            return false;
        }
        block_close(base);
    }
    if (!image_temporary_name(path, temporary, sizeof(temporary), &a->err) ||
        !image_make(temporary, n->format, block_size(from), &n->qcow2, &a->err)) {
        return false;
    }
    if (!fill(a, n, from, temporary)) {
        unlink(temporary);
        return false;
    }
    return image_put_in_place(a, temporary, path);
}

int image_convert(ImageArgs *a)
{
    NewImage n;
    Block *from = NULL;
    bool good = take_new(a, &n, a->option['O']) && image_may_write(a, a->name[1]);
    if (good) {
        from = image_open(a, a->name[0], 'f', (BlockOptions){.read_only = true});
        good = from && convert(a, &n, from);
    }
    block_close(from);
    free_new(&n);
    return good ? 0 : 1;
}

static bool new_size(ImageArgs *a, uint64_t before, uint64_t *size)
{
    const char *text = a->name[1];
    uint64_t by = 0;
    bool relative = text[0] == '+' || text[0] == '-';
    if (!parse_size(a, text + relative, &by)) {
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
