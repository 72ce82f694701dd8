/* `vitrine image measure, dd`, and convert with several sources, which lie one behind the other.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/image_internal.h"

enum { PIECE = 1 << 20 };

/* ---- copying to another place ---- */

static bool all_zero(const uint8_t *data, size_t length)
{
    return data[0] == 0 && memcmp(data, data + 1, length - 1) == 0;
}

bool image_copy_part(ImageArgs *a, Block *from, uint64_t at, Block *to, uint64_t where,
                     uint64_t length)
{
    uint8_t *data = malloc(PIECE);
    int error = data ? 0 : ENOMEM;
    const char *doing = "read";
    for (uint64_t done = 0; done < length && !error;) {
        BlockExtent extent = {.data = true};
        error = block_map(from, at + done, &extent);
        uint64_t part = length - done < extent.length ? length - done : extent.length;
        if (!error && part == 0) {
            error = EIO;
        }
        if (!error && extent.data) {
            part = part < PIECE ? part : PIECE;
            error = block_read(from, at + done, data, (size_t)part);
            if (!error && !all_zero(data, (size_t)part)) {
                doing = "written";
                error = block_write(to, where + done, data, (size_t)part);
                doing = error ? doing : "read";
            }
        }
        done += part;
    }
    free(data);
    return !error || err_set(&a->err, "'%s' cannot be %s: %s",
                             block_path(doing[0] == 'r' ? from : to), doing, strerror(error));
}

/* ---- several sources ---- */

/* All of them, opened; the sum of their sizes. */
static bool open_all(ImageArgs *a, Block **from, unsigned count, uint64_t *size)
{
    *size = 0;
    for (unsigned i = 0; i < count; i++) {
        from[i] = image_open(a, a->name[i], 'f', (BlockOptions){.read_only = true});
        if (!from[i]) {
            return false;
        }
        *size += block_size(from[i]);
    }
    return true;
}

static bool join(ImageArgs *a, const NewImage *n, Block **from, unsigned count, uint64_t size)
{
    const char *path = a->name[count];
    char temporary[PATH_MAX];
    if (a->option['c'] || a->option['l'] || a->option['n'] || a->option[IMAGE_OPTION_SALVAGE] ||
        n->backing || image_new_is_stream(n) || strcmp(n->format, "imd") == 0) {
        return err_set(&a->err, "several images are joined plainly: without -b, -c, -l, -n and "
                                "--salvage, and into no streamOptimized VMDK or IMD image");
    }
    if (!image_may_write(a, path) ||
        !image_new_begin(a, n, path, size, temporary, sizeof(temporary))) {
        return false;
    }
    if (!image_new_make(n, temporary, path, size, &a->err)) {
        image_tell_name(a, temporary, path);
        return false;
    }
    Block *to = block_open(temporary, &(BlockOptions){.format = n->format}, &a->err);
    uint64_t at = 0;
    bool good = to != NULL;
    for (unsigned i = 0; i < count && good; at += block_size(from[i++])) {
        good = image_copy_part(a, from[i], 0, to, at, block_size(from[i]));
    }
    int error = good ? block_flush(to) : 0;
    good =
        good && (!error || err_set(&a->err, "'%s' cannot be written: %s", path, strerror(error)));
    block_close(to);
    if (!good) {
        image_new_remove(n, temporary, size);
        image_tell_name(a, temporary, path);
        return false;
    }
    return image_new_end(a, n, temporary, path);
}

bool image_join(ImageArgs *a, const NewImage *n)
{
    Block *from[IMAGE_MAX_NAMES] = {NULL};
    unsigned count = a->names - 1;
    uint64_t size;
    bool good = open_all(a, from, count, &size) && join(a, n, from, count, size);
    for (unsigned i = 0; i < count; i++) {
        block_close(from[i]);
    }
    return good;
}

/* ---- dd ---- */

typedef struct DdWords {
    const char *from, *to;
    uint64_t block, count, skip; /* bytes; blocks; blocks */
} DdWords;

static bool dd_number(ImageArgs *a, const char *text, uint64_t *number)
{
    return (value_parse_size(text, 1, number) && *number <= INT64_MAX) ||
           err_set(&a->err, "dd: '%s' is no number", text);
}

static bool dd_words(ImageArgs *a, DdWords *w)
{
    *w = (DdWords){.block = BLOCK_SECTOR, .count = UINT64_MAX};
    for (unsigned i = 0; i < a->names; i++) {
        const char *word = a->name[i], *equals = strchr(word, '=');
        size_t length = equals ? (size_t)(equals - word) : 0;
        bool good = true;
        if (length == 2 && strncmp(word, "if", 2) == 0) {
            w->from = equals + 1;
        } else if (length == 2 && strncmp(word, "of", 2) == 0) {
            w->to = equals + 1;
        } else if (length == 2 && strncmp(word, "bs", 2) == 0) {
            good = dd_number(a, equals + 1, &w->block);
        } else if (length == 5 && strncmp(word, "count", 5) == 0) {
            good = dd_number(a, equals + 1, &w->count);
        } else if (length == 4 && strncmp(word, "skip", 4) == 0) {
            good = dd_number(a, equals + 1, &w->skip);
        } else {
            good = err_set(&a->err, "dd: '%s' is none of if=, of=, bs=, count=, skip=", word);
        }
        if (!good) {
            return false;
        }
    }
    if (!w->from || !w->to) {
        return err_set(&a->err, "dd needs if=FILE and of=FILE");
    }
    return (w->block && w->block % BLOCK_SECTOR == 0 && w->block <= 1 << 30) ||
           err_set(&a->err, "dd: bs=%" PRIu64 ": use whole sectors of 512 bytes, up to 1G",
                   w->block);
}

static bool dd(ImageArgs *a, const NewImage *n, const DdWords *w, Block *from)
{
    uint64_t all = block_size(from), at = w->skip < all / w->block + 1 ? w->skip * w->block : all;
    at = at < all ? at : all;
    uint64_t size = w->count < (all - at) / w->block + 1 ? w->count * w->block : all - at;
    size = size < all - at ? size : all - at;
    char temporary[PATH_MAX];
    if (size == 0) {
        return err_set(&a->err, "dd: nothing of '%s' is to be copied", w->from);
    }
    if (image_new_is_stream(n) || n->backing || strcmp(n->format, "imd") == 0) {
        return err_set(&a->err, "dd makes no images above others, IMD or streamOptimized ones");
    }
    if (!image_may_write(a, w->to) ||
        !image_new_begin(a, n, w->to, size, temporary, sizeof(temporary))) {
        return false;
    }
    if (!image_new_make(n, temporary, w->to, size, &a->err)) {
        image_tell_name(a, temporary, w->to);
        return false;
    }
    Block *to = block_open(temporary, &(BlockOptions){.format = n->format}, &a->err);
    bool good = to && image_copy_part(a, from, at, to, 0, size);
    int error = good ? block_flush(to) : 0;
    good =
        good && (!error || err_set(&a->err, "'%s' cannot be written: %s", w->to, strerror(error)));
    block_close(to);
    if (!good) {
        image_new_remove(n, temporary, size);
        image_tell_name(a, temporary, w->to);
        return false;
    }
    return image_new_end(a, n, temporary, w->to);
}

int image_dd(ImageArgs *a)
{
    NewImage n;
    DdWords w;
    Block *from = NULL;
    bool good = image_new_take(a, &n, a->option['O']) && dd_words(a, &w);
    if (good) {
        from = image_open(a, w.from, 'f', (BlockOptions){.read_only = true});
        good = from && dd(a, &n, &w, from);
    }
    block_close(from);
    image_new_free(&n);
    return good ? 0 : 1;
}

/* ---- measure ---- */

static uint64_t divide_up(uint64_t number, uint64_t by)
{
    return number / by + (number % by != 0);
}

/* Header, tables and reference counts of a qcow2 image with all clusters. */
static uint64_t qcow2_tables(uint64_t size, const Qcow2Options *o)
{
    uint64_t cluster = UINT64_C(1) << (o->cluster_bits ? o->cluster_bits : 16);
    uint64_t counts = cluster * 8 / (o->refcount_bits ? o->refcount_bits : 16);
    uint64_t data = divide_up(size, cluster), level2 = divide_up(data, cluster / 8);
    uint64_t fixed = 1 + divide_up(level2 * 8, cluster) + level2, blocks = 0, table = 0;
    for (;;) {
        uint64_t wanted = divide_up(data + fixed + blocks + table, counts);
        uint64_t room = divide_up(wanted * 8, cluster);
        if (wanted == blocks && room == table) {
            return (fixed + blocks + table) * cluster;
        }
        blocks = wanted;
        table = room;
    }
}

/* Bytes of clusters that hold data. */
static bool count_data(ImageArgs *a, Block *from, uint64_t cluster, uint64_t *bytes)
{
    uint64_t last = UINT64_MAX;
    *bytes = 0;
    for (uint64_t at = 0; at < block_size(from);) {
        BlockExtent extent = {0};
        int error = block_map(from, at, &extent);
        if (error || extent.length == 0) {
            return err_set(&a->err, "'%s' cannot be read: %s", block_path(from),
                           strerror(error ? error : EIO));
        }
        if (extent.data) {
            uint64_t first = at / cluster, end = (at + extent.length - 1) / cluster;
            *bytes += (end - first + (first != last)) * cluster;
            last = end;
        }
        at += extent.length;
    }
    return true;
}

static bool measure(ImageArgs *a, const NewImage *n, Block *from, uint64_t size)
{
    bool raw = strcmp(n->format, "raw") == 0;
    if (!raw && strcmp(n->format, "qcow2") != 0) {
        return err_set(&a->err, "what a %s image takes is not known beforehand; raw and qcow2 are",
                       n->format);
    }
    uint64_t cluster = UINT64_C(1) << (n->qcow2.cluster_bits ? n->qcow2.cluster_bits : 16);
    uint64_t tables = raw ? 0 : qcow2_tables(size, &n->qcow2), data = 0;
    if (!raw && from && !count_data(a, from, cluster, &data)) {
        return false;
    }
    uint64_t full = raw ? size : tables + divide_up(size, cluster) * cluster;
    uint64_t required =
        raw || n->preallocation >= IMAGE_PREALLOCATION_FALLOC ? full : tables + data;
    printf(a->json ? "{\n    \"required\": %" PRIu64 ",\n    \"fully-allocated\": %" PRIu64 "\n}\n"
                   : "required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n",
           required, full);
    return true;
}

int image_measure(ImageArgs *a)
{
    NewImage n;
    uint64_t size = 0;
    Block *from = NULL;
    const char *text = a->option[IMAGE_OPTION_SIZE];
    bool good = image_new_take(a, &n, a->option['O']);
    if (good && !text == !a->names) {
        good = err_set(&a->err, "measure takes --size SIZE, or an image");
    }
    if (good && text) {
        good = image_parse_size(a, text, &size);
    } else if (good) {
        from = image_open(a, a->name[0], 'f', (BlockOptions){.read_only = true});
        good = from && image_show_snapshot(a, from);
        size = good ? block_size(from) : 0;
    }
    good = good && measure(a, &n, from, size);
    block_close(from);
    image_new_free(&n);
    return good ? 0 : 1;
}
