/* VMDK: other options for an image that is there: lines of its descriptor, grains of zeros.
 *
 * A descriptor is changed by one write into one page of the file, so that nobody ever finds half of
 * it. The kind of an image and the size of its grains cannot be changed in place: `vitrine image
 * convert` does that.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block_amend.h"
#include "storage/image_path.h"
#include "storage/vmdk_internal.h"

enum { PAGE = 4096, MAX_KEYS = 6, MAX_VALUE = 1024 };

typedef struct Line {
    const char *key;
    char value[MAX_VALUE];
    bool quoted_close; /* key="value" without spaces, as the descriptor's head has it */
    bool done;
} Line;

typedef struct Descriptor {
    uint64_t at, room; /* bytes; room 0: a file of its own, which may grow */
    char *text;        /* as it is, ended by a NUL */
    char *fresh;       /* as it is to be */
    size_t length, fresh_length;
    Line line[MAX_KEYS];
    unsigned lines;
} Descriptor;

static bool damaged(const Block *b, const char *what, Err *err)
{
    return err_set(err,
                   "'%s' is a damaged VMDK image: %s; copy what is left: vitrine image convert -O "
                   "qcow2 '%s' disk.qcow2",
                   b->path, what, b->path);
}

static bool failed(const Block *b, int error, Err *err)
{
    return err_set(err, "'%s' cannot be changed: %s", b->path, strerror(error));
}

/* ---- the descriptor ---- */

static bool load(Block *b, Descriptor *d, Err *err)
{
    uint8_t h[VMDK_HEADER] = {0};
    uint64_t size = 0;
    int error = disk_file_size(&b->file, &size);
    size_t head = size < VMDK_HEADER ? (size_t)size : VMDK_HEADER;
    error = error ? error : disk_file_read(&b->file, 0, h, head);
    if (!error && memcmp(h, "KDMV", 4) == 0) {
        uint64_t sectors = bytes_le64(h + 36);
        d->at = bytes_le64(h + 28) * BLOCK_SECTOR;
        if (!d->at || d->at >= size || sectors > VMDK_MAX_DESCRIPTOR / BLOCK_SECTOR || !sectors) {
            return err_set(err, "'%s' has no descriptor that could be changed", b->path);
        }
        d->room = sectors * BLOCK_SECTOR;
        size = d->room < size - d->at ? d->room : size - d->at;
    }
    error = error ? error : size > VMDK_MAX_DESCRIPTOR ? EFBIG : 0;
    d->text = error ? NULL : calloc(1, (size_t)size + 1);
    d->fresh = error ? NULL : calloc(1, (size_t)size + (size_t)MAX_KEYS * (MAX_VALUE + 64));
    error = error || (d->text && d->fresh) ? error : ENOMEM;
    error = error ? error : disk_file_read(&b->file, d->at, d->text, (size_t)size);
    d->length = error ? 0 : strlen(d->text);
    return !error || failed(b, error, err);
}

static void set(Descriptor *d, const char *key, bool head, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void set(Descriptor *d, const char *key, bool head, const char *format, ...)
{
    Line *line = &d->line[d->lines++];
    va_list args;
    *line = (Line){.key = key, .quoted_close = head};
    va_start(args, format);
    vsnprintf(line->value, sizeof(line->value), format, args);
    va_end(args);
}

/* Empty: there is no such line. */
static void find_value(const Descriptor *d, const char *key, char *value, size_t room)
{
    const char *at = d->text;
    value[0] = '\0';
    while (*at && !vmdk_value(at, key, value, room)) {
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
}

static void put_line(Descriptor *d, const Line *line, const char *end)
{
    char *to = d->fresh + d->fresh_length;
    const char *middle = line->quoted_close ? "=" : " = ";
    d->fresh_length += (size_t)sprintf(to, "%s%s\"%s\"%s", line->key, middle, line->value, end);
}

/* d->fresh: the text with the lines that are set in the place of the old ones, or behind. */
static void rewrite(Descriptor *d)
{
    char value[MAX_VALUE];
    const char *at = d->text;
    bool ended = true;
    while (*at) {
        size_t length = strcspn(at, "\n");
        bool cr = length && at[length - 1] == '\r';
        unsigned i = 0;
        while (i < d->lines && !vmdk_value(at, d->line[i].key, value, sizeof(value))) {
            i++;
        }
        ended = at[length] == '\n';
        if (i < d->lines && !d->line[i].done) {
            d->line[i].done = true;
            put_line(d, &d->line[i], !ended ? "" : cr ? "\r\n" : "\n");
        } else {
            memcpy(d->fresh + d->fresh_length, at, length + ended);
            d->fresh_length += length + ended;
        }
        at += length + ended;
    }
    for (unsigned i = 0; i < d->lines; i++) {
        if (!d->line[i].done) {
            if (!ended) {
                d->fresh[d->fresh_length++] = '\n';
                ended = true;
            }
            put_line(d, &d->line[i], "\n");
        }
    }
}

/* What of the file differs, first and behind the last; the shorter text is filled up. */
static bool differing(const Block *b, Descriptor *d, size_t *first, size_t *end, Err *err)
{
    size_t most = d->length > d->fresh_length ? d->length : d->fresh_length;
    memset(d->fresh + d->fresh_length, d->room ? 0 : '\n', most - d->fresh_length);
    *first = 0;
    *end = most;
    while (*first < most && d->text[*first] == d->fresh[*first]) {
        ++*first;
    }
    while (*end > *first && *end <= d->length && d->text[*end - 1] == d->fresh[*end - 1]) {
        --*end;
    }
    bool fits = *end <= (d->room ? d->room - 1 : VMDK_MAX_DESCRIPTOR);
    bool one = *first == *end || (d->at + *first) / PAGE == (d->at + *end - 1) / PAGE;
    return (fits && one) ||
           err_set(err,
                   "'%s': its descriptor is too long to be changed in place; make another image: "
                   "vitrine image convert -O vmdk",
                   b->path);
}

/* ---- the single options ---- */

static void set_adapter(const Block *b, Descriptor *d, const char *adapter)
{
    char before[32];
    find_value(d, "ddb.adapterType", before, sizeof(before));
    bool was_ide = !before[0] || strcasecmp(before, "ide") == 0, ide = strcmp(adapter, "ide") == 0;
    set(d, "ddb.adapterType", false, "%s", adapter);
    if (was_ide != ide) {
        unsigned heads = ide ? 16 : 255;
        set(d, "ddb.geometry.cylinders", false, "%llu",
            (unsigned long long)(b->size / BLOCK_SECTOR / 63 / heads));
        set(d, "ddb.geometry.heads", false, "%u", heads);
        set(d, "ddb.geometry.sectors", false, "63");
    }
}

/* The same parent under another name: its content and its size are those that the image knows. */
static bool set_parent(const Block *b, Descriptor *d, const VmdkAmendment *what, Err *err)
{
    const Vmdk *v = b->data;
    char path[PATH_MAX], wanted[16];
    if (!v->parent[0]) {
        return err_set(err,
                       "'%s' has no backing file; make an image above one: vitrine image create -f "
                       "vmdk -b '%s'",
                       b->path, what->backing);
    }
    if (!what->backing[0] || strlen(what->backing) > 1000 || strpbrk(what->backing, "\"\n\r")) {
        return err_set(err, "'%s': a backing file's name has 1 to 1000 bytes and no quotes",
                       b->path);
    }
    if (!image_path_beside(b->path, what->backing, what->any_backing, path, sizeof(path), err)) {
        return false;
    }
    BlockOptions how = {.read_only = true, .format = "vmdk", .any_backing = what->any_backing};
    Block *parent = block_open(path, &how, err);
    if (!parent) {
        return false;
    }
    find_value(d, "parentCID", wanted, sizeof(wanted));
    const Vmdk *p = parent->data;
    bool same = p->content_at && p->content == strtoul(wanted, NULL, 16) && parent->size == b->size;
    block_close(parent);
    set(d, "parentFileNameHint", true, "%s", what->backing);
    return same || err_set(err,
                           "'%s' is not what '%s' was made above, or has been written to since; "
                           "name the one that it was",
                           path, b->path);
}

static bool known_adapter(const Block *b, const char *adapter, Err *err)
{
    static const char *const adapters[] = {"ide", "buslogic", "lsilogic", "legacyESX"};
    for (unsigned i = 0; i < sizeof(adapters) / sizeof(adapters[0]); i++) {
        if (strcmp(adapter, adapters[i]) == 0) {
            return true;
        }
    }
    return err_set(err, "'%s': adapter_type=%s: take ide, buslogic, lsilogic or legacyESX", b->path,
                   adapter);
}

/* ---- grains of zeros ---- */

/* Does a table of this directory have an entry that says "zeros", or would? */
static int seek_zeros(const VmdkExtent *e, const uint32_t *directory, bool *found)
{
    uint8_t *table = malloc(4ull * e->table_size);
    int error = table ? 0 : ENOMEM;
    for (uint32_t i = 0; i < e->directory_size && directory && !error; i++) {
        error = directory[i] ? disk_file_read(&e->file, (uint64_t)directory[i] * BLOCK_SECTOR,
                                              table, 4ull * e->table_size)
                             : 0;
        for (uint32_t j = 0; j < e->table_size && directory[i] && !error; j++) {
            *found |= bytes_le32(table + 4ull * j) == 1;
        }
    }
    free(table);
    return error;
}

static bool may_change_zeros(Block *b, bool on, Err *err)
{
    const Vmdk *v = b->data;
    bool found = false;
    int error = 0;
    unsigned sparse = 0;
    for (unsigned i = 0; i < v->extents && !error; i++) {
        const VmdkExtent *e = &v->extent[i];
        if (e->kind == VMDK_EXTENT_SPARSE && on != ((e->flags & VMDK_FLAG_ZERO_GRAINS) != 0)) {
            error = seek_zeros(e, e->directory, &found);
            error = error ? error : seek_zeros(e, e->second, &found);
        }
        sparse += e->kind == VMDK_EXTENT_SPARSE;
    }
    if (error) {
        return failed(b, error, err);
    }
    if (!sparse) {
        return err_set(err, "'%s' is flat and has no grains; leave zeroed_grain out", b->path);
    }
    if (found && on) {
        return damaged(b, "a grain lies where its header does", err);
    }
    return !found || err_set(err,
                             "'%s' has grains that are known to be zeros; make another image: "
                             "vitrine image convert -O vmdk -o zeroed_grain=off",
                             b->path);
}

/* Each file of the image says so for itself. */
static int change_zeros(Block *b, bool on)
{
    Vmdk *v = b->data;
    int error = 0;
    for (unsigned i = 0; i < v->extents && !error; i++) {
        VmdkExtent *e = &v->extent[i];
        uint8_t h[12];
        if (e->kind != VMDK_EXTENT_SPARSE || on == ((e->flags & VMDK_FLAG_ZERO_GRAINS) != 0)) {
            continue;
        }
        error = disk_file_read(&e->file, 0, h, sizeof(h));
        uint32_t flags = e->flags ^ VMDK_FLAG_ZERO_GRAINS, version = bytes_le32(h + 4);
        bytes_put_le32(h + 4, version > 2 ? version : on ? 2 : 1);
        bytes_put_le32(h + 8, flags);
        error = error ? error : disk_file_write(&e->file, 0, h, sizeof(h));
        error = error ? error : disk_file_sync(&e->file);
        e->flags = error ? e->flags : flags;
    }
    return error;
}

/* ---- all of it ---- */

static bool sound(Block *b, Err *err)
{
    BlockCheck check;
    int error = block_check(b, &check);
    if (error && error != ENOTSUP) { /* flat ones have nothing that could be damaged */
        return err_set(err, "'%s' cannot be checked: %s", b->path, strerror(error));
    }
    return error == ENOTSUP || check.corruptions == 0 ||
           damaged(b, "parts of the disk lie in one place, or outside the file", err);
}

static bool change(Block *b, const VmdkAmendment *what, Descriptor *d, Err *err)
{
    size_t first = 0, end = 0;
    bool text = what->adapter || what->hardware || what->backing;
    if ((what->adapter && !known_adapter(b, what->adapter, err)) || (text && !load(b, d, err)) ||
        (what->backing && !set_parent(b, d, what, err)) ||
        (what->set_zero_grains && !may_change_zeros(b, what->zero_grains, err))) {
        return false;
    }
    if (what->adapter) {
        set_adapter(b, d, what->adapter);
    }
    if (what->hardware) {
        set(d, "ddb.virtualHWVersion", false, "%u", what->hardware);
    }
    if (text) {
        rewrite(d);
        if (!differing(b, d, &first, &end, err)) {
            return false;
        }
    }
    int error =
        end > first ? disk_file_write(&b->file, d->at + first, d->fresh + first, end - first) : 0;
    error = error || end == first ? error : disk_file_sync(&b->file);
    error = error || !what->set_zero_grains ? error : change_zeros(b, what->zero_grains);
    return !error || failed(b, error, err);
}

bool vmdk_amend(Block *b, const VmdkAmendment *what, Err *err)
{
    Descriptor d = {0};
    bool good = sound(b, err) && change(b, what, &d, err);
    free(d.text);
    free(d.fresh);
    return good;
}
