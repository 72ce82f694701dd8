/* `vitrine image amend`: other options for an image that is there, where its format allows it.
 */
#include <stdio.h>
#include <string.h>

#include "machine/image_internal.h"
#include "storage/block_amend.h"

/* What `create -o` takes and an image keeps for its life, and what changes it all the same. */
typedef struct Fixed {
    const char *format, *key, *remedy;
} Fixed;

/* clang-format off */
static const Fixed fixed[] = {
    {"qcow2", "cluster_size", "make another image: vitrine image convert -O qcow2 -o cluster_size="},
    {"qcow2", "compression_type", "make another image: vitrine image convert -O qcow2 -c -o compression_type="},
    {"qcow2", "preallocation", "make another image: vitrine image convert -O qcow2 -o preallocation="},
    {"qcow2", "extended_l2", "leave it out"},
    {"qcow2", "backing_file", "use: vitrine image rebase -b FILE, with -u when only the name changes"},
    {"qcow2", "backing_fmt", "use: vitrine image rebase -u -b FILE -F FORMAT"},
    {"vmdk", "subformat", "make another image: vitrine image convert -O vmdk -o subformat="},
    {"vmdk", "backing_fmt", "leave it out: it is vmdk"},
    {"vdi", "static", "make another image: vitrine image convert -O vdi -o static="},
    {"vdi", "block_size", "make another image: vitrine image convert -O vdi -o block_size="},
    {"vdi", "preallocation", "make another image: vitrine image convert -O vdi -o preallocation="},
    {"vhd", "subformat", "make another image: vitrine image convert -O vhd -o subformat="},
    {"vhd", "force_size", "make another image: vitrine image convert -O vhd -o force_size="},
    {"vhd", "block_size", "make another image: vitrine image convert -O vhd -o block_size="},
    {"vhd", "backing_file", "give the parent its old name, or make another image: vitrine image convert"},
    {"vhd", "backing_fmt", "leave it out: it is vhd"},
    {"raw", "preallocation", "make another image: vitrine image convert -O raw -o preallocation="},
    {NULL, "size", "use: vitrine image resize"},
};
/* clang-format on */

static bool refuse_fixed(ImageArgs *a, const char *format, KeyValues *words)
{
    for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        const Fixed *f = &fixed[i];
        if ((!f->format || strcmp(f->format, format) == 0) && value_find(words, f->key)) {
            return err_set(&a->err, "-o %s: amend does not change it in a %s image; %s", f->key,
                           format, f->remedy);
        }
    }
    return true;
}

static bool take_qcow2(ImageArgs *a, KeyValues *words, Qcow2Amendment *what)
{
    const char *compat = value_find(words, "compat"), *bits = value_find(words, "refcount_bits");
    uint64_t number = 0;
    *what = (Qcow2Amendment){.set_lazy_refcounts = value_find(words, "lazy_refcounts") != NULL};
    if (compat) {
        bool old = strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0;
        if (!old && strcmp(compat, "1.1") != 0 && strcmp(compat, "v3") != 0) {
            return err_set(&a->err, "-o compat=%s: use one of 1.1, v3, 0.10, v2", compat);
        }
        what->version = old ? 2 : 3;
    }
    if (bits && (!value_parse_number(bits, &number) || number < 1 || number > 64 ||
                 number & (number - 1))) {
        return err_set(&a->err, "-o refcount_bits=%s: use a power of two from 1 to 64", bits);
    }
    what->refcount_bits = (unsigned)number;
    return value_switch(words, "lazy_refcounts", &what->lazy_refcounts, &a->err) &&
           value_all_used(words, "compat, lazy_refcounts, refcount_bits", &a->err);
}

static bool take_vmdk(ImageArgs *a, KeyValues *words, VmdkAmendment *what)
{
    const char *hardware = value_find(words, "hwversion");
    bool set_compat6 = value_find(words, "compat6") != NULL, compat6 = false;
    uint64_t number = 0;
    *what = (VmdkAmendment){.adapter = value_find(words, "adapter_type"),
                            .backing = value_find(words, "backing_file"),
                            .any_backing = a->option[IMAGE_OPTION_BACKING] != NULL,
                            .set_zero_grains = value_find(words, "zeroed_grain") != NULL};
    if (hardware && (!value_parse_number(hardware, &number) || number < 1 || number > 99)) {
        return err_set(&a->err, "-o hwversion=%s: use a number from 1 to 99", hardware);
    }
    if (!value_switch(words, "compat6", &compat6, &a->err) ||
        !value_switch(words, "zeroed_grain", &what->zero_grains, &a->err)) {
        return false;
    }
    what->hardware = hardware ? (unsigned)number : compat6 ? 6 : set_compat6 ? 4 : 0;
    return value_all_used(words, "adapter_type, hwversion, compat6, zeroed_grain, backing_file",
                          &a->err);
}

static bool amend(ImageArgs *a, Block *b, KeyValues *words)
{
    const char *format = block_format_name(b);
    if (!refuse_fixed(a, format, words)) {
        return false;
    }
    if (qcow2_is(b)) {
        Qcow2Amendment what;
        return take_qcow2(a, words, &what) && qcow2_amend(b, &what, &a->err);
    }
    if (strcmp(format, "vmdk") == 0) {
        VmdkAmendment what;
        return take_vmdk(a, words, &what) && vmdk_amend(b, &what, &a->err);
    }
    return err_set(&a->err,
                   "'%s' is a %s image, which has no options that amend changes; make another: "
                   "vitrine image convert",
                   a->name[0], format);
}

int image_amend(ImageArgs *a)
{
    KeyValues words;
    if (!a->option['o']) {
        err_set(&a->err, "amend needs -o OPTIONS: what is to be changed");
        return 1;
    }
    if (!value_split(&words, "o", a->option['o'], NULL, &a->err)) {
        return 1;
    }
    Block *b =
        image_open(a, a->name[0], 'f', (BlockOptions){.no_backing = true, .for_repair = true});
    bool good = b && amend(a, b, &words);
    block_close(b);
    value_free(&words);
    return good ? 0 : 1;
}
