/* What a throw-away overlay holds is written into its image on demand: every writable format, with
 * a fault injected at every host call; the guest's view never changes.
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

#include "storage/block.h"
#include "tests/disk/images.h"

#define DISK_BYTES (3u << 20)

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

static Block *open_image(const char *path, const BlockOptions *options)
{
    Err err = {""};
    Block *b = block_open(path, options, &err);
    if (!b) {
        fail_msg("%s", err.text);
    }
    return b;
}

static void scribble(Block *b, uint8_t *model, uint32_t seed)
{
    for (unsigned i = 0; i < 30; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t at = (seed >> 8) % (DISK_BYTES / 512) * 512, length = (1 + seed % 200) * 512;
        length = length < DISK_BYTES - at ? length : DISK_BYTES - at;
        memset(model + at, i % 7 ? (int)(seed >> 24) : 0, length);
        assert_int_equal(block_write(b, at, model + at, length), 0);
    }
}

static void look(Block *b, const uint8_t *model)
{
    uint8_t *got = malloc(DISK_BYTES);
    assert_int_equal(block_read(b, 0, got, DISK_BYTES), 0);
    assert_memory_equal(got, model, DISK_BYTES);
    free(got);
}

/* Returns how many host calls the commit took. */
static unsigned commit(const ImageKind *kind, unsigned fail_at)
{
    char path[128];
    Err err = {""};
    Faults faults = {0, 0};
    DiskFaults hook = {check_fault, &faults};
    uint8_t *model = calloc(1, DISK_BYTES);
    image_path(path, sizeof(path));
    kind->create(path, DISK_BYTES);
    Block *b = open_image(path, NULL);
    scribble(b, model, 1);
    block_close(b);
    b = open_image(path, &(BlockOptions){.snapshot = true, .faults = &hook});
    scribble(b, model, 2);
    faults = (Faults){0, fail_at};
    bool good = block_commit(b, &err);
    unsigned calls = faults.calls;
    faults.fail_at = 0;
    assert_true(good || fail_at);
    assert_true(good || err.text[0]);
    look(b, model);
    err.text[0] = '\0';
    if (!good && !block_commit(b, &err)) {
        fail_msg("%s", err.text);
    }
    look(b, model);
    if (!fail_at) { /* from now on it is an overlay as before */
        Block *other = open_image(path, &(BlockOptions){.read_only = true});
        look(other, model);
        scribble(b, model, 3);
        err.text[0] = '\0';
        assert_false(block_commit(b, &err)); /* others look at it */
        assert_non_null(strstr(err.text, "in use"));
        look(b, model);
        block_close(other);
        err.text[0] = '\0';
        assert_true(block_commit(b, &err));
        look(b, model);
    }
    block_close(b);
    b = open_image(path, NULL);
    look(b, model);
    block_close(b);
    if (kind->checked) {
        image_check_with_qemu(path, kind->format, model, DISK_BYTES);
    }
    unlink(path);
    free(model);
    return calls;
}

static void overlays_are_kept(void **state)
{
    const ImageKind *kind = *state;
    if (kind->needs_qemu && !image_have_qemu()) {
        skip();
    }
    unsigned calls = commit(kind, 0), step = getenv("VITRINE_LONG") ? 1 : calls / 10 + 1;
    for (unsigned at = 1; at <= calls; at += step) {
        commit(kind, at);
    }
}

static void what_cannot_be_written_keeps_its_overlay(void **state)
{
    char path[128], gone[160];
    uint8_t *model = calloc(1, DISK_BYTES);
    Err err = {""};
    (void)state;
    image_path(path, sizeof(path));
    snprintf(gone, sizeof(gone), "%s.gone", path);
    image_kinds[0].create(path, DISK_BYTES);
    Block *b = open_image(path, NULL);
    assert_false(block_commit(b, &err)); /* no overlay */
    block_close(b);
    b = open_image(path, &(BlockOptions){.snapshot = true});
    scribble(b, model, 4);
    assert_int_equal(rename(path, gone), 0);
    err.text[0] = '\0';
    assert_false(block_commit(b, &err));
    assert_non_null(strstr(err.text, path));
    look(b, model);
    image_kinds[0].create(path, DISK_BYTES / 2); /* another file has its name */
    err.text[0] = '\0';
    assert_false(block_commit(b, &err));
    assert_non_null(strstr(err.text, "another"));
    look(b, model);
    unlink(path);
    assert_int_equal(rename(gone, path), 0);
    err.text[0] = '\0';
    assert_true(block_commit(b, &err));
    look(b, model);
    block_close(b);
    unlink(path);
    free(model);
}

int main(void)
{
    struct CMUnitTest tests[IMAGE_KINDS_MAX + 1];
    unsigned count = 0;
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(what_cannot_be_written_keeps_its_overlay);
    for (const ImageKind *kind = image_kinds; kind->name; kind++) {
        if (!kind->snapshot && !strstr(kind->name, "over another") &&
            !strstr(kind->name, "one bit")) {
            tests[count++] = (struct CMUnitTest){
                .name = kind->name,
                .test_func = overlays_are_kept,
                .initial_state = (void *)(uintptr_t)kind,
            };
        }
    }
    return _cmocka_run_group_tests("commit", tests, count, NULL, NULL);
}
