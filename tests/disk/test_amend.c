/* Images whose options are changed in place: each host call on the way fails in turn, and before
 * each in turn the process is killed, or the power is cut; disk and snapshot stay what they were,
 * with the old options or the new ones.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/block_amend.h"
#include "storage/block_create.h"
#include "storage/qcow2.h"
#include "tests/disk/images.h"

#define SIZE (1u << 20)
#define CLUSTER 4096u

enum { MAX_FILE = 4 << 20 };

/* What a disk may hold after a power cut: all that was synced, and of the sectors that were written
 * since, some. */
typedef struct PowerCut {
    const char *from, *to; /* files */
    uint8_t durable[MAX_FILE], now[MAX_FILE];
    size_t durable_size, size;
    bool syncing;
    uint32_t seed;
} PowerCut;

/* The call numbered `at` fails, ends the process, or is cut off with the power; counted from 1, 0:
 * none. */
typedef struct Faults {
    unsigned calls, at;
    bool kill, on;
    PowerCut *cut;
} Faults;

static size_t read_all(const char *path, uint8_t *bytes)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, MAX_FILE, file);
    fclose(file);
    assert_true(size < MAX_FILE);
    memset(bytes + size, 0, MAX_FILE - size);
    return size;
}

static void cut_power(PowerCut *c)
{
    c->size = read_all(c->from, c->now);
    size_t most = c->size > c->durable_size ? c->size : c->durable_size;
    for (size_t at = 0; at < most; at += 512) {
        c->seed = c->seed * 1664525 + 1013904223;
        if (c->seed >> 31) {
            memcpy(c->now + at, c->durable + at, 512);
        }
    }
    FILE *file = fopen(c->to, "wb");
    assert_non_null(file);
    size_t size = c->seed >> 30 & 1 ? c->size : c->durable_size;
    assert_int_equal(fwrite(c->now, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void follow(PowerCut *c, const char *call, bool now)
{
    if (c->syncing) { /* nothing has been written since that sync */
        c->durable_size = read_all(c->from, c->durable);
    }
    c->syncing = strcmp(call, "sync") == 0;
    if (now) {
        cut_power(c);
    }
}

static int check_fault(void *self, const char *call)
{
    Faults *f = self;
    if (f->cut) {
        follow(f->cut, call, f->on && f->calls + 1 == f->at);
    }
    if (!f->on || ++f->calls != f->at || f->cut) {
        return 0;
    }
    if (f->kill) {
        raise(SIGKILL);
    }
    return EIO;
}

static uint8_t disk[SIZE], kept[SIZE], got[SIZE];

static void must(bool good, const Err *err)
{
    if (!good) {
        fail_msg("%s", err->text);
    }
}

static void ok(int error)
{
    assert_int_equal(error, 0);
}

static void put(Block *b, uint64_t at, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i++) {
        disk[at + i] = (uint8_t)(seed + i / 7);
    }
    ok(block_write(b, at, disk + at, length));
}

static void clear(Block *b, uint64_t at, size_t length)
{
    ok(block_discard(b, at, length));
    ok(block_read(b, at, disk + at, length)); /* version 2 above another keeps it */
}

static void copy(const char *from, const char *to)
{
    static uint8_t bytes[64 << 10];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    for (size_t n; (n = fread(bytes, 1, sizeof(bytes), in)) > 0;) {
        assert_int_equal(fwrite(bytes, 1, n, out), n);
    }
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* ---- qcow2 ---- */

typedef struct Case {
    const char *name;
    Qcow2Options made;
    bool backed;
    Qcow2Amendment what;
} Case;

/* A disk with plain, compressed and zero clusters, some shared with a snapshot, some not. */
static void make(const Case *c, const char *path, const char *base)
{
    Err err = {""};
    Qcow2Options o = c->made;
    o.cluster_bits = 12;
    memset(disk, 0, SIZE);
    if (c->backed) {
        must(qcow2_create(base, SIZE, NULL, &err), &err);
        Block *b = block_open(base, NULL, &err);
        must(b != NULL, &err);
        put(b, 0, SIZE / 2, 1);
        block_close(b);
        o.backing = strrchr(base, '/') + 1;
        o.backing_format = "qcow2";
    }
    must(qcow2_create(path, SIZE, &o, &err), &err);
    Block *b = block_open(path, NULL, &err);
    must(b != NULL, &err);
    put(b, 8 * CLUSTER, 6 * CLUSTER, 2);
    clear(b, 10 * CLUSTER, 3 * CLUSTER); /* in the snapshot, too */
    memset(disk + 30 * CLUSTER, 0x33, CLUSTER);
    ok(block_write_packed(b, 30 * CLUSTER, disk + 30 * CLUSTER, CLUSTER));
    if (o.refcount_bits != 1) {
        memcpy(kept, disk, SIZE);
        ok(qcow2_snapshot_create(b, &(Qcow2Snapshot){.name = "kept", .disk_size = SIZE}));
    }
    put(b, 9 * CLUSTER, CLUSTER, 3);
    put(b, SIZE - 2 * CLUSTER, 2 * CLUSTER, 4);
    clear(b, 13 * CLUSTER, CLUSTER);
    clear(b, 100 * CLUSTER, 2 * CLUSTER);
    block_close(b);
}

/* True: it has the new options. */
static bool look(const Case *c, const char *path, bool judge)
{
    Err err = {""};
    Qcow2Info info;
    Qcow2Check check;
    Block *b = block_open(path, &(BlockOptions){.read_only = true}, &err);
    must(b != NULL, &err);
    ok(qcow2_describe(b, &info));
    ok(qcow2_check(b, false, &check));
    assert_int_equal(check.corruptions, 0);
    assert_int_equal(info.dirty, false);
    assert_int_equal(info.backing[0] != 0, c->backed);
    assert_string_equal(info.backing_format, c->backed ? "qcow2" : "");
    ok(block_read(b, 0, got, SIZE));
    assert_memory_equal(got, disk, SIZE);
    if (c->made.refcount_bits != 1) {
        ok(qcow2_snapshot_view(b, 0));
        ok(block_read(b, 0, got, SIZE));
        assert_memory_equal(got, kept, SIZE);
    }
    block_close(b);
    if (judge && image_have_qemu()) { /* 3: room that was taken when it was cut off */
        image_command("qemu-img check -q -f qcow2 %s >/dev/null || test $? = 3", path);
    }
    const Qcow2Amendment *w = &c->what;
    bool version = !w->version || w->version == info.options.version;
    bool bits = !w->refcount_bits || w->refcount_bits == info.options.refcount_bits;
    bool lazy = !w->set_lazy_refcounts || w->lazy_refcounts == info.options.lazy_refcounts;
    bool as_made =
        info.options.version == (c->made.version ? c->made.version : 3) &&
        info.options.refcount_bits == (c->made.refcount_bits ? c->made.refcount_bits : 16) &&
        info.options.lazy_refcounts == c->made.lazy_refcounts;
    assert_true((version && bits && lazy) || as_made);
    return version && bits && lazy;
}

static bool amend(const Case *c, const char *path, Faults *faults, Err *err)
{
    DiskFaults hook = {check_fault, faults};
    Block *b = block_open(
        path, &(BlockOptions){.for_repair = true, .no_backing = true, .faults = &hook}, err);
    must(b != NULL, err);
    faults->on = true;
    bool good = qcow2_amend(b, &c->what, err);
    block_close(b);
    return good;
}

/* The guest's next writes find an image that works: it is filled, and its snapshot goes. */
static void use(const Case *c, const char *path)
{
    Err err = {""};
    Qcow2Check check;
    Block *b = block_open(path, NULL, &err);
    must(b != NULL, &err);
    memset(got, 0x77, SIZE);
    ok(block_write(b, 0, got, SIZE));
    if (c->made.refcount_bits != 1) {
        ok(qcow2_snapshot_apply(b, 0));
        ok(qcow2_snapshot_delete(b, 0));
    }
    ok(qcow2_check(b, false, &check));
    assert_int_equal(check.corruptions + check.leaks, 0);
    block_close(b);
    if (image_have_qemu()) {
        image_command("qemu-img check -q -f qcow2 %s", path);
    }
}

static void run_killed(const Case *c, const char *path, unsigned at)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        Err err = {""};
        Faults faults = {.at = at, .kill = true};
        amend(c, path, &faults, &err);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* True: it has the new options. */
static bool run_cut(const Case *c, const char *path, const char *torn, unsigned at, uint32_t seed)
{
    static PowerCut cut;
    Err err = {""};
    Faults faults = {.at = at, .cut = &cut};
    cut.from = path;
    cut.to = torn;
    cut.syncing = false;
    cut.seed = seed;
    cut.durable_size = read_all(path, cut.durable);
    must(amend(c, path, &faults, &err), &err);
    return look(c, torn, false);
}

static void run_case(const Case *c)
{
    char path[128], base[128], work[128], torn[128];
    image_path(path, sizeof(path));
    image_path(base, sizeof(base));
    image_path(work, sizeof(work));
    image_path(torn, sizeof(torn));
    make(c, path, base);
    assert_false(look(c, path, true));
    Err err = {""};
    Faults none = {0};
    copy(path, work);
    must(amend(c, work, &none, &err), &err);
    assert_true(look(c, work, true));
    use(c, work);
    assert_true(none.calls > 5);
    unsigned old = 0;
    for (unsigned at = 1; at <= none.calls; at++) {
        bool judge = at % 8 == 0 || getenv("VITRINE_LONG");
        Faults faults = {.at = at};
        copy(path, work);
        err.text[0] = '\0';
        bool good = amend(c, work, &faults, &err);
        assert_true(good || strstr(err.text, work));
        old += !look(c, work, judge);
        copy(path, work);
        run_killed(c, work, at);
        old += !look(c, work, judge);
        for (uint32_t seed = 0; seed < 4; seed++) {
            copy(path, work);
            old += !run_cut(c, work, torn, at, seed * 977 + at);
        }
    }
    assert_true(old > 4);
    unlink(path);
    unlink(base);
    unlink(work);
    unlink(torn);
}

static void qcow2_keeps_its_disk_whatever_happens(void **state)
{
    static const Case cases[] = {
        {"down", {0}, false, {.version = 2}},
        {"down, above another", {.lazy_refcounts = true}, true, {.version = 2}},
        {"up", {.version = 2}, true, {.version = 3}},
        {"up and lazy", {.version = 2}, false, {3, 0, true, true}},
        {"lazy", {0}, false, {0, 0, true, true}},
        {"not lazy", {.lazy_refcounts = true}, true, {0, 0, true, false}},
        {"wide counts", {0}, false, {.refcount_bits = 64}},
        {"narrow counts", {.refcount_bits = 32}, true, {.refcount_bits = 2}},
        {"from one bit", {.refcount_bits = 1}, false, {.refcount_bits = 8}},
        {"up and wide", {.version = 2}, true, {.version = 3, .refcount_bits = 64}},
        {"down and narrower", {.refcount_bits = 64}, true, {.version = 2, .refcount_bits = 16}},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("# %s\n", cases[i].name);
        run_case(&cases[i]);
    }
}

static void refused(const Case *c, const char *path, const char *part)
{
    static uint8_t before[1 << 20], after[1 << 20];
    Err err = {""};
    Faults none = {0};
    FILE *file = fopen(path, "rb");
    size_t size = fread(before, 1, sizeof(before), file);
    fclose(file);
    assert_false(amend(c, path, &none, &err));
    if (!strstr(err.text, path) || !strstr(err.text, part)) {
        fail_msg("'%s' does not speak of '%s'", err.text, part);
    }
    file = fopen(path, "rb");
    assert_int_equal(fread(after, 1, sizeof(after), file), size);
    fclose(file);
    assert_memory_equal(before, after, size);
}

/* Nothing of the file changes when amend says no. */
static void qcow2_refuses_what_it_cannot_do_whole(void **state)
{
    static const uint8_t dirty = 1, damaged = 2, zeros[64] = {0};
    const Case down = {.what = {.version = 2}}, wide = {.what = {.refcount_bits = 64}};
    const Case one = {.what = {.refcount_bits = 1}};
    const Case lazy = {.made = {.version = 2}, .what = {0, 0, true, true}};
    const Case zstd = {.made = {.zstd = true}, .what = {.version = 2}};
    const Case narrow = {.made = {.refcount_bits = 8}, .what = {.version = 2}};
    const Case up = {.made = {.version = 2}, .what = {.version = 3}};
    char path[128], base[128];
    (void)state;
    image_path(path, sizeof(path));
    image_path(base, sizeof(base));
    make(&zstd, path, base);
    refused(&zstd, path, "zstd");
    unlink(path);
    make(&narrow, path, base);
    refused(&narrow, path, "refcount_bits=16");
    unlink(path);
    make(&lazy, path, base);
    refused(&lazy, path, "compat=1.1");
    unlink(path);
    make(&down, path, base);
    refused(&one, path, "snapshots");
    image_poke(path, 79, &dirty, 1);
    refused(&down, path, "check -r all");
    image_poke(path, 79, &damaged, 1);
    refused(&wide, path, "check -r all");
    image_poke(path, 79, zeros, 1);
    image_poke(path, 2 * CLUSTER + 8, "\377\377",
               2); /* the first table's count: of too many users */
    refused(&down, path, "lost room");
    image_poke(path, 2 * CLUSTER, zeros, sizeof(zeros)); /* counts */
    refused(&wide, path, "check -r all");
    unlink(path);
    make(&up, path, base); /* a bit that version 2 does not know, on the first data cluster */
    static uint8_t image[1 << 20];
    FILE *file = fopen(path, "rb");
    assert_true(fread(image, 1, sizeof(image), file) > 4 * CLUSTER);
    fclose(file);
    uint64_t l1 = 3 * CLUSTER, l2 = (uint64_t)image[l1 + 5] << 16 | (uint64_t)image[l1 + 6] << 8;
    image[l2 + 8 * 8 + 7] |= 1;
    image_poke(path, (long)(l2 + 8 * 8 + 7), &image[l2 + 8 * 8 + 7], 1);
    refused(&up, path, "cannot be changed");
    unlink(path);
}

/* One that is marked as damaged is mended by what the message names. */
static void marked_images_are_repaired(void **state)
{
    static const uint8_t damaged = 2;
    const Case plain = {.what = {.version = 2}};
    char path[128], base[128];
    Err err = {""};
    Qcow2Check check;
    (void)state;
    image_path(path, sizeof(path));
    image_path(base, sizeof(base));
    make(&plain, path, base);
    image_poke(path, 79, &damaged, 1);
    assert_null(block_open(path, NULL, &err));
    Block *b = block_open(path, &(BlockOptions){.for_repair = true}, &err);
    assert_non_null(b);
    ok(qcow2_check(b, true, &check));
    block_close(b);
    assert_false(look(&plain, path, true));
    unlink(path);
}

/* ---- VMDK ---- */

static Block *open_vmdk(const char *path, DiskFaults *hook)
{
    Err err = {""};
    Block *b = block_open(path, &(BlockOptions){.no_backing = true, .faults = hook}, &err);
    must(b != NULL, &err);
    return b;
}

static void look_vmdk(const char *path)
{
    Err err = {""};
    BlockCheck check;
    Block *b = block_open(path, &(BlockOptions){.read_only = true}, &err);
    must(b != NULL, &err);
    assert_string_equal(block_format_name(b), "vmdk");
    ok(block_read(b, 0, got, SIZE));
    assert_memory_equal(got, disk, SIZE);
    int error = block_check(b, &check);
    assert_true(error == ENOTSUP || (!error && !check.corruptions));
    block_close(b);
}

static bool amend_vmdk(const char *path, const VmdkAmendment *what, Faults *faults)
{
    Err err = {""};
    DiskFaults hook = {check_fault, faults};
    Block *b = open_vmdk(path, &hook);
    faults->on = true;
    bool good = vmdk_amend(b, what, &err);
    assert_true(good || strstr(err.text, path));
    block_close(b);
    return good;
}

static void vmdk_keeps_its_disk_whatever_happens(void **state)
{
    static const VmdkAmendment to = {
        .adapter = "lsilogic", .hardware = 10, .set_zero_grains = true, .zero_grains = true};
    static const VmdkAmendment back = {
        .adapter = "ide", .hardware = 4, .set_zero_grains = true, .zero_grains = false};
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        char path[128];
        Err err = {""};
        image_path(path, sizeof(path));
        memset(disk, 0, SIZE);
        VmdkOptions o = {.kind = kind ? VMDK_SPLIT_SPARSE : VMDK_MONOLITHIC_SPARSE};
        must(vmdk_create(path, SIZE, &o, &err), &err);
        Block *b = open_vmdk(path, NULL);
        put(b, 65536, 200000 / 512 * 512, 5);
        block_close(b);
        Faults none = {0};
        assert_true(amend_vmdk(path, &to, &none));
        look_vmdk(path);
        image_command("grep -aq 'ddb.adapterType = \"lsilogic\"' %s", path);
        image_command("grep -aq 'ddb.virtualHWVersion = \"10\"' %s", path);
        image_command("grep -aq 'ddb.geometry.heads = \"255\"' %s", path);
        for (unsigned at = 1; at <= none.calls; at++) {
            Faults faults = {.at = at};
            amend_vmdk(path, at & 1 ? &back : &to, &faults);
            look_vmdk(path);
            if (image_have_qemu()) {
                image_command("qemu-img info -f vmdk %s >/dev/null", path);
            }
            faults = (Faults){0};
            assert_true(amend_vmdk(path, at & 1 ? &back : &to, &faults));
        }
        image_check_with_qemu(path, "vmdk", disk, SIZE);
        vmdk_remove(path, SIZE, o.kind);
    }
}

/* Grains that are known to be zeros would be lost without that word. */
static void vmdk_refuses_to_forget_zeros(void **state)
{
    static const VmdkAmendment off = {.set_zero_grains = true};
    char path[128];
    Err err = {""};
    Faults none = {0};
    (void)state;
    image_path(path, sizeof(path));
    memset(disk, 0, SIZE);
    must(vmdk_create(path, SIZE, &(VmdkOptions){.zero_grains = true}, &err), &err);
    Block *b = open_vmdk(path, NULL);
    put(b, 0, 131072, 6);
    block_close(b);
    assert_true(amend_vmdk(path, &off, &none));
    assert_true(
        amend_vmdk(path, &(VmdkAmendment){.set_zero_grains = true, .zero_grains = true}, &none));
    b = open_vmdk(path, NULL);
    clear(b, 65536, 65536);
    block_close(b);
    assert_false(amend_vmdk(path, &off, &none));
    look_vmdk(path);
    unlink(path);
}

/* ---- files that lie ---- */

/* Some bytes wrong: refused with a text, or changed without harm to us. */
static void lie(const char *path, const uint8_t *image, size_t size, uint32_t *seed, size_t hot)
{
    static uint8_t bytes[MAX_FILE];
    static const uint8_t bad[] = {0xff, 0x00, 0x80, 0x01};
    memcpy(bytes, image, size);
    for (unsigned i = 0; i < 2; i++) {
        *seed = *seed * 1664525 + 1013904223;
        size_t at = (*seed >> 8) % (*seed >> 30 ? hot : size), length = 1 + *seed % 8;
        memset(bytes + at, bad[*seed >> 4 & 3], length < size - at ? length : size - at);
    }
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static void lying_images_do_no_harm(void **state)
{
    static const Case cases[] = {
        {"", {0}, true, {.version = 2}},
        {"", {.version = 2}, true, {3, 64, true, true}},
        {"", {.refcount_bits = 64}, true, {.version = 2, .refcount_bits = 16}},
    };
    static uint8_t image[MAX_FILE];
    char path[128], base[128];
    uint32_t seed = 21;
    unsigned done = 0, rounds = getenv("VITRINE_LONG") ? 20000 : 400;
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        image_path(path, sizeof(path));
        image_path(base, sizeof(base));
        make(&cases[i], path, base);
        size_t size = read_all(path, image);
        for (unsigned n = 0; n < rounds; n++) {
            Err err = {""};
            lie(path, image, size, &seed, n & 1 ? 160 : 5 * CLUSTER);
            Block *b = block_open(
                path, &(BlockOptions){.format = "qcow2", .for_repair = true, .no_backing = true},
                &err);
            bool good = b && qcow2_amend(b, &cases[i].what, &err);
            assert_true(good || strstr(err.text, path));
            done += good;
            block_close(b);
        }
        unlink(path);
        unlink(base);
    }
    assert_true(done > 20 && done < rounds * 3);
}

static void lying_vmdk_images_do_no_harm(void **state)
{
    static const VmdkAmendment what = {
        .adapter = "buslogic", .hardware = 99, .set_zero_grains = true, .zero_grains = true};
    static uint8_t image[MAX_FILE];
    char path[128];
    uint32_t seed = 22;
    unsigned done = 0, rounds = getenv("VITRINE_LONG") ? 20000 : 400;
    Err err = {""};
    (void)state;
    image_path(path, sizeof(path));
    must(vmdk_create(path, SIZE, NULL, &err), &err);
    Block *b = open_vmdk(path, NULL);
    put(b, 65536, 131072, 7);
    block_close(b);
    size_t size = read_all(path, image);
    for (unsigned n = 0; n < rounds; n++) {
        err.text[0] = '\0';
        lie(path, image, size, &seed, n & 1 ? 80 : 1024);
        b = block_open(path, &(BlockOptions){.format = "vmdk", .no_backing = true}, &err);
        bool good = b && vmdk_amend(b, &what, &err);
        assert_true(good || strstr(err.text, path));
        done += good;
        block_close(b);
    }
    assert_true(done > 20 && done < rounds);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qcow2_keeps_its_disk_whatever_happens),
        cmocka_unit_test(qcow2_refuses_what_it_cannot_do_whole),
        cmocka_unit_test(marked_images_are_repaired),
        cmocka_unit_test(vmdk_keeps_its_disk_whatever_happens),
        cmocka_unit_test(vmdk_refuses_to_forget_zeros),
        cmocka_unit_test(lying_images_do_no_harm),
        cmocka_unit_test(lying_vmdk_images_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
