/* Seeded random reads, writes, flushes, discards and reopenings on every writable format, compared
 * with a model in memory; then again with each host call made to fail in turn, and tried once more.
 *
 * VITRINE_LONG=1 runs the full number of cases, ONLY=pattern those of some formats. What cannot be
 * compared is refused: a failed write may have written some of its sectors, and only those.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/qcow2.h"
#include "tests/disk/images.h"

#define DISK_BYTES (6u << 20)
#define MAX_PIECE (192u * 1024)

/* Fails the call numbered `fail_at`, counting from 1; 0: none. */
typedef struct Faults {
    unsigned calls, fail_at;
} Faults;

static int check_fault(void *self, const char *call)
{
    Faults *faults = self;
    (void)call;
    return ++faults->calls == faults->fail_at ? EIO : 0;
}

typedef struct Scribble {
    const ImageKind *kind;
    char path[128];
    Faults faults;
    DiskFaults hook;
    Block *block;
    uint8_t *model, *got;
    uint8_t *kept; /* the disk as the snapshot inside has it; NULL: there is none */
    uint32_t seed;
    unsigned failures; /* calls that failed and were tried again */
} Scribble;

static uint32_t noise(Scribble *s)
{
    s->seed = s->seed * 1664525 + 1013904223;
    return s->seed >> 7;
}

static void open_block(Scribble *s)
{
    Err err = {""};
    BlockOptions options = {
        .format = s->kind->format, .snapshot = s->kind->snapshot, .faults = &s->hook};
    s->block = block_open(s->path, &options, &err);
    if (!s->block) { /* a fault while opening: the file must open all the same afterwards */
        assert_int_not_equal(s->faults.fail_at, 0);
        s->failures++;
        err.text[0] = '\0';
        s->block = block_open(s->path, &options, &err);
    }
    if (!s->block) {
        fail_msg("%s", err.text);
    }
}

/* Only one call in a run fails, so the second try must succeed. */
static int again(Scribble *s, int error)
{
    if (error) {
        assert_int_equal(error, EIO);
        assert_int_not_equal(s->faults.fail_at, 0);
        s->failures++;
    }
    return error;
}

/* What fails on the way leaves the image as it was, or one whose count tables are repaired when it
 * is opened again, as the mark in it says. */
static void after_failure(Scribble *s)
{
    block_close(s->block);
    open_block(s);
}

/* Makes a snapshot inside the image, goes back to it, or deletes it. */
static void change_snapshot(Scribble *s)
{
    Qcow2Snapshot info = {.name = "kept"};
    int index = qcow2_snapshot_find(s->block, "kept"), error;
    bool back = index >= 0 && noise(s) % 2;
    if (index < 0) {
        error = qcow2_snapshot_create(s->block, &info);
    } else {
        error = back ? qcow2_snapshot_apply(s->block, (unsigned)index)
                     : qcow2_snapshot_delete(s->block, (unsigned)index);
    }
    if (error == EOVERFLOW) { /* counts of one bit cannot share clusters */
        return;
    }
    if (error) {
        again(s, error);
        after_failure(s);
    }
    bool there = qcow2_snapshot_find(s->block, "kept") >= 0;
    if (index < 0 && there) {
        s->kept = malloc(DISK_BYTES);
        memcpy(s->kept, s->model, DISK_BYTES);
    } else if (back && !error) {
        memcpy(s->model, s->kept, DISK_BYTES);
    } else if (back) { /* half way: one or the other */
        while (again(s, block_read(s->block, 0, s->got, DISK_BYTES))) {
        }
        bool old = memcmp(s->got, s->model, DISK_BYTES) == 0;
        assert_true(old || memcmp(s->got, s->kept, DISK_BYTES) == 0);
        memcpy(s->model, s->got, DISK_BYTES);
    } else if (!there) {
        free(s->kept);
        s->kept = NULL;
    }
}

static void one_operation(Scribble *s)
{
    uint32_t pick = noise(s) % 100, sectors = DISK_BYTES / 512;
    uint32_t at = noise(s) % sectors, count = 1 + noise(s) % (noise(s) % 4 ? 16 : MAX_PIECE / 512);
    count = count < sectors - at ? count : sectors - at;
    uint64_t offset = (uint64_t)at * 512, length = (uint64_t)count * 512;
    if (pick < 45) {
        for (uint64_t i = 0; i < length; i += 4) {
            uint32_t value = pick < 5 ? 0 : noise(s);
            memcpy(s->model + offset + i, &value, 4);
        }
        while (again(s, block_write(s->block, offset, s->model + offset, (size_t)length))) {
        }
    } else if (pick < 85) {
        while (again(s, block_read(s->block, offset, s->got, (size_t)length))) {
        }
        assert_memory_equal(s->got, s->model + offset, (size_t)length);
    } else if (pick < 92) {
        while (again(s, block_discard(s->block, offset, length))) {
        }
        if (s->kind->discards_to_zero) {
            memset(s->model + offset, 0, (size_t)length);
        } else { /* old data or zeros, as the format likes; then fixed */
            while (again(s, block_read(s->block, offset, s->got, (size_t)length))) {
            }
            for (uint64_t i = 0; i < length; i++) {
                assert_true(s->got[i] == 0 || s->got[i] == s->model[offset + i]);
            }
            memcpy(s->model + offset, s->got, (size_t)length);
        }
    } else if (pick == 92 && qcow2_is(s->block)) {
        change_snapshot(s);
    } else if (pick < 99 || s->kind->snapshot) {
        while (again(s, block_flush(s->block))) {
        }
    } else {
        while (again(s, block_flush(s->block))) { /* a close has nobody to tell of an error */
        }
        block_close(s->block);
        open_block(s);
    }
}

static void compare_all(Scribble *s)
{
    for (uint64_t at = 0; at < DISK_BYTES; at += 1 << 20) {
        while (again(s, block_read(s->block, at, s->got, 1 << 20))) {
        }
        assert_memory_equal(s->got, s->model + at, 1 << 20);
    }
    BlockExtent extent;
    for (uint64_t at = 0; at < DISK_BYTES; at += extent.length) {
        while (again(s, block_map(s->block, at, &extent))) {
        }
        assert_true(extent.length > 0 && extent.length % 512 == 0);
        for (uint64_t i = 0; i < extent.length && !extent.data; i++) {
            assert_int_equal(s->model[at + i], 0);
        }
    }
}

/* Returns the number of host calls. */
static unsigned run(const ImageKind *kind, unsigned operations, uint32_t seed, unsigned fail_at)
{
    Scribble s = {.kind = kind, .seed = seed, .faults = {0, fail_at}};
    s.hook = (DiskFaults){check_fault, &s.faults};
    s.model = calloc(1, DISK_BYTES);
    s.got = malloc(DISK_BYTES);
    image_path(s.path, sizeof(s.path));
    kind->create(s.path, DISK_BYTES);
    open_block(&s);
    assert_int_equal(block_size(s.block), DISK_BYTES);
    for (unsigned i = 0; i < operations; i++) {
        one_operation(&s);
    }
    compare_all(&s);
    unsigned calls = s.faults.calls;
    if (!kind->snapshot) {
        s.faults.fail_at = 0;
        block_close(s.block);
        open_block(&s);
        compare_all(&s);
    }
    block_close(s.block);
    if (kind->checked) {
        image_check_with_qemu(s.path, kind->format, s.model, DISK_BYTES);
    }
    unlink(s.path);
    char other[160];
    snprintf(other, sizeof(other), "%s.base", s.path);
    unlink(other);
    snprintf(other, sizeof(other), "%.*s-flat.img", (int)strlen(s.path) - 4, s.path);
    unlink(other);
    free(s.model);
    free(s.got);
    free(s.kept);
    return calls;
}

static bool long_run(void)
{
    return getenv("VITRINE_LONG") != NULL;
}

static void scribble(void **state)
{
    const ImageKind *kind = *state;
    if (kind->needs_qemu && !image_have_qemu()) {
        skip();
    }
    for (unsigned i = 0; i < (long_run() ? 10u : 1u); i++) {
        run(kind, long_run() ? 10000 : 1500, 1 + i, 0);
    }
}

static void scribble_with_faults(void **state)
{
    const ImageKind *kind = *state;
    if (kind->needs_qemu && !image_have_qemu()) {
        skip();
    }
    unsigned calls = run(kind, 40, 77, 0), step = long_run() ? 1 : calls / 12 + 1;
    for (unsigned at = 1; at <= calls; at += step) {
        run(kind, 40, 77, at);
    }
}

int main(void)
{
    struct CMUnitTest tests[2 * IMAGE_KINDS_MAX];
    static char names[2 * IMAGE_KINDS_MAX][64];
    unsigned count = 0;
    for (const ImageKind *kind = image_kinds; kind->name; kind++) {
        for (unsigned faults = 0; faults < 2; faults++) {
            snprintf(names[count], sizeof(names[0]), "%s%s", kind->name,
                     faults ? " with a fault at each host call" : "");
            tests[count] = (struct CMUnitTest){
                .name = names[count],
                .test_func = faults ? scribble_with_faults : scribble,
                .initial_state = (void *)(uintptr_t)kind,
            };
            count++;
        }
    }
    cmocka_set_test_filter(getenv("ONLY"));
    return _cmocka_run_group_tests("scribble", tests, count, NULL, NULL);
}
