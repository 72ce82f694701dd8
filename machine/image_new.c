/* `vitrine image`: what a new image is to be, from -f, -o, -b and -F, and making it. The words of
 * -o are qemu-img's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/host/disk_file.h"
#include "machine/image_internal.h"

enum { ZERO_PIECE = 1 << 20 };

static bool power_of_two(KeyValues *kv, const char *key, uint64_t least, uint64_t most,
                         uint32_t *number, Err *err)
{
    const char *text = value_find(kv, key);
    uint64_t value = 0;
    if (!text) {
        return true;
    }
    if (!value_parse_size(text, 1, &value) || value & (value - 1) || value < least ||
        value > most) {
        return err_set(err, "-o %s=%s: use a power of two from %llu to %llu", key, text,
                       (unsigned long long)least, (unsigned long long)most);
    }
    *number = (uint32_t)value;
    return true;
}

/* One of the words; its place in the list. True when the key is absent: *choice stays. */
static bool one_of(KeyValues *kv, const char *key, const char *const *words, unsigned *choice,
                   Err *err)
{
    char known[160] = "";
    const char *text = value_find(kv, key);
    for (unsigned i = 0; text && words[i]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *choice = i;
            return true;
        }
        snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i ? ", " : "",
                 words[i]);
    }
    return !text || err_set(err, "-o %s=%s: use one of %s", key, text, known);
}

static bool preallocation(NewImage *n, const char *const *words, Err *err)
{
    unsigned choice = 0;
    static const char *const all[] = {"off", "metadata", "falloc", "full"};
    if (!one_of(&n->words, "preallocation", words, &choice, err)) {
        return false;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(words[choice], all[i]) == 0) {
            n->preallocation = (ImagePreallocation)i;
        }
    }
    return true;
}

static void take_backing_words(NewImage *n)
{
    n->backing = value_find(&n->words, "backing_file");
    n->backing_format = value_find(&n->words, "backing_fmt");
}

static bool take_raw(NewImage *n, Err *err)
{
    static const char *const words[] = {"off", "falloc", "full", NULL};
    return preallocation(n, words, err);
}

static bool take_qcow2(NewImage *n, Err *err)
{
    static const char *const compat[] = {"1.1", "v3", "0.10", "v2", NULL};
    static const char *const packing[] = {"zlib", "zstd", NULL};
    static const char *const words[] = {"off", "metadata", "falloc", "full", NULL};
    Qcow2Options *o = &n->qcow2;
    uint32_t cluster = 0, counts = 0;
    unsigned version = 0, zstd = 0;
    bool extended = false;
    if (!power_of_two(&n->words, "cluster_size", 512, 2 << 20, &cluster, err) ||
        !power_of_two(&n->words, "refcount_bits", 1, 64, &counts, err) ||
        !one_of(&n->words, "compat", compat, &version, err) ||
        !one_of(&n->words, "compression_type", packing, &zstd, err) ||
        !value_switch(&n->words, "lazy_refcounts", &o->lazy_refcounts, err) ||
        !value_switch(&n->words, "extended_l2", &extended, err) || !preallocation(n, words, err)) {
        return false;
    }
    if (extended) {
        return err_set(err, "-o extended_l2=on is not supported; leave it out");
    }
    o->cluster_bits = cluster ? (unsigned)__builtin_ctz(cluster) : 0;
    o->refcount_bits = counts;
    o->version = version >= 2 ? 2 : 3;
    o->zstd = zstd;
    take_backing_words(n);
    return true;
}

static bool take_vdi(NewImage *n, Err *err)
{
    static const char *const words[] = {"off", "metadata", NULL};
    if (!value_switch(&n->words, "static", &n->vdi.fixed, err) ||
        !power_of_two(&n->words, "block_size", 4096, 64 << 20, &n->vdi.block_bytes, err) ||
        !preallocation(n, words, err)) {
        return false;
    }
    n->vdi.fixed |= n->preallocation != IMAGE_PREALLOCATION_OFF;
    n->preallocation = IMAGE_PREALLOCATION_OFF;
    return true;
}

static bool take_vhd(NewImage *n, Err *err)
{
    static const char *const kinds[] = {"dynamic", "fixed", NULL};
    unsigned kind = 0;
    bool exact = true;
    if (!one_of(&n->words, "subformat", kinds, &kind, err) ||
        !value_switch(&n->words, "force_size", &exact, err) ||
        !power_of_two(&n->words, "block_size", 4096, 256 << 20, &n->vhd.block_bytes, err)) {
        return false;
    }
    n->vhd.fixed = kind == 1;
    n->vhd.by_geometry = !exact;
    take_backing_words(n);
    return true;
}

static bool take_vmdk(NewImage *n, Err *err)
{
    const char *kind = value_find(&n->words, "subformat");
    const char *hardware = value_find(&n->words, "hwversion");
    bool compat6 = false;
    uint64_t number = 0;
    if (kind && !vmdk_kind_of(kind, &n->vmdk.kind)) {
        return err_set(err,
                       "-o subformat=%s: use monolithicSparse, monolithicFlat, "
                       "twoGbMaxExtentSparse, twoGbMaxExtentFlat or streamOptimized",
                       kind);
    }
    if (hardware && (!value_parse_number(hardware, &number) || number < 1 || number > 99)) {
        return err_set(err, "-o hwversion=%s: use a number from 1 to 99", hardware);
    }
    if (!value_switch(&n->words, "compat6", &compat6, err) ||
        !value_switch(&n->words, "zeroed_grain", &n->vmdk.zero_grains, err)) {
        return false;
    }
    n->vmdk.hardware = hardware ? (unsigned)number : compat6 ? 6 : 4;
    n->vmdk.adapter = value_find(&n->words, "adapter_type");
    take_backing_words(n);
    return true;
}

static const struct {
    const char *format;
    bool (*take)(NewImage *n, Err *err);
    const char *words;
    bool backing;
} kinds[] = {
    {"raw", take_raw, "preallocation", false},
    {"qcow2", take_qcow2,
     "cluster_size, compat, refcount_bits, lazy_refcounts, compression_type, preallocation, "
     "backing_file, backing_fmt",
     true},
    {"vdi", take_vdi, "static, preallocation, block_size", false},
    {"vhd", take_vhd, "subformat, force_size, block_size, backing_file, backing_fmt", true},
    {"vmdk", take_vmdk,
     "subformat, adapter_type, hwversion, compat6, zeroed_grain, backing_file, backing_fmt", true},
    {"imd", NULL, "none", false},
};

bool image_new_take(ImageArgs *a, NewImage *n, const char *format)
{
    static const char *const nothing_here[] = {"nocow", "extent_size_hint", "toolsversion", NULL};
    *n = (NewImage){.format = format ? format : "raw"};
    n->format = strcmp(n->format, "vpc") == 0 ? "vhd" : n->format;
    unsigned i = 0;
    while (i < sizeof(kinds) / sizeof(kinds[0]) && strcmp(kinds[i].format, n->format) != 0) {
        i++;
    }
    if (i == sizeof(kinds) / sizeof(kinds[0])) {
        return err_set(
            &a->err,
            "images of format '%s' cannot be made; take raw, qcow2, vmdk, vdi, vhd (vpc) "
            "or imd",
            n->format);
    }
    if (a->option['o']) {
        n->has_words = true;
        if (!value_split(&n->words, "o", a->option['o'], NULL, &a->err)) {
            return false;
        }
        n->size = value_find(&n->words, "size");
        value_ignore(&n->words, nothing_here);
    }
    if ((kinds[i].take && !kinds[i].take(n, &a->err)) ||
        !value_all_used(&n->words, kinds[i].words, &a->err)) {
        return false;
    }
    const char *backing = a->option['b'] ? a->option['b'] : a->option['B'];
    n->backing = backing ? backing : n->backing;
    n->backing_format = a->option['F'] ? a->option['F'] : n->backing_format;
    if (n->backing && n->preallocation) {
        return err_set(&a->err, "-o preallocation does not go with a backing file; leave one out");
    }
    return kinds[i].backing || !n->backing ||
           err_set(&a->err, "%s images have no backing file; take the format qcow2", n->format);
}

void image_new_free(NewImage *n)
{
    if (n->has_words) {
        value_free(&n->words);
    }
}

bool image_new_is_stream(const NewImage *n)
{
    return strcmp(n->format, "vmdk") == 0 && n->vmdk.kind == VMDK_STREAM;
}

bool image_new_is_several(const NewImage *n)
{
    return strcmp(n->format, "vmdk") == 0 && n->vmdk.kind != VMDK_STREAM &&
           n->vmdk.kind != VMDK_MONOLITHIC_SPARSE;
}

void image_new_remove(const NewImage *n, const char *path, uint64_t size)
{
    if (image_new_is_several(n)) {
        vmdk_remove(path, size, n->vmdk.kind);
    } else {
        unlink(path);
    }
}

/* ---- making ---- */

static int write_zeros(const DiskFile *file, uint64_t size)
{
    uint8_t *zeros = calloc(1, ZERO_PIECE);
    int error = zeros ? 0 : ENOMEM;
    for (uint64_t at = 0; at < size && !error; at += ZERO_PIECE) {
        error = disk_file_write(file, at, zeros,
                                (size_t)(size - at < ZERO_PIECE ? size - at : ZERO_PIECE));
    }
    free(zeros);
    return error;
}

static bool make_raw(const NewImage *n, const char *path, uint64_t size, Err *err)
{
    DiskFile file = {.fd = -1};
    if (!disk_file_create(&file, path, &(DiskFileOptions){.write = true}, err)) {
        return false;
    }
    int error = disk_file_resize(&file, size);
    if (!error && n->preallocation == IMAGE_PREALLOCATION_FALLOC) {
        error = disk_file_reserve(&file, 0, size);
    } else if (!error && n->preallocation == IMAGE_PREALLOCATION_FULL) {
        error = write_zeros(&file, size);
    }
    error = error ? error : disk_file_sync(&file);
    disk_file_close(&file);
    if (error) {
        unlink(path);
    }
    return !error || err_set(err, "'%s' cannot be made so large: %s", path, strerror(error));
}

static int fill_qcow2(Block *b, ImagePreallocation how)
{
    int error = qcow2_preallocate(b);
    uint8_t *zeros = how == IMAGE_PREALLOCATION_FULL ? calloc(1, ZERO_PIECE) : NULL;
    for (uint64_t at = 0; zeros && at < block_size(b) && !error; at += ZERO_PIECE) {
        uint64_t rest = block_size(b) - at;
        error = block_write(b, at, zeros, (size_t)(rest < ZERO_PIECE ? rest : ZERO_PIECE));
    }
    free(zeros);
    return error ? error : block_flush(b);
}

static bool make_qcow2(const NewImage *n, const char *path, uint64_t size, Err *err)
{
    Qcow2Options o = n->qcow2;
    o.backing = n->backing;
    o.backing_format = n->backing_format;
    if (!qcow2_create(path, size, &o, err)) {
        return false;
    }
    if (!n->preallocation) {
        return true;
    }
    Block *b = block_open(path, &(BlockOptions){.format = "qcow2"}, err);
    int error = b ? fill_qcow2(b, n->preallocation) : 0;
    block_close(b);
    if (b && !error && n->preallocation == IMAGE_PREALLOCATION_FALLOC) {
        DiskFile file;
        uint64_t room = 0;
        if (disk_file_open(&file, path, &(DiskFileOptions){.write = true}, err)) {
            error = disk_file_size(&file, &room);
            error = error ? error : disk_file_reserve(&file, 0, room);
            disk_file_close(&file);
        }
    }
    return b &&
           (!error || err_set(err, "'%s' cannot be given its room: %s", path, strerror(error)));
}

bool image_new_make(const NewImage *n, const char *path, const char *name, uint64_t size, Err *err)
{
    bool good;
    if (strcmp(n->format, "raw") == 0) {
        return make_raw(n, path, size, err);
    }
    if (strcmp(n->format, "vdi") == 0) {
        return vdi_create(path, size, &n->vdi, err);
    }
    if (strcmp(n->format, "vhd") == 0) {
        VhdOptions o = n->vhd;
        o.backing = n->backing;
        return vhd_create(path, size, &o, err);
    }
    if (strcmp(n->format, "vmdk") == 0) {
        VmdkOptions o = n->vmdk;
        o.backing = n->backing;
        o.name = name;
        return vmdk_create(path, size, &o, err);
    }
    good = make_qcow2(n, path, size, err);
    if (!good) {
        unlink(path); /* half written; the name is our own */
    }
    return good;
}
