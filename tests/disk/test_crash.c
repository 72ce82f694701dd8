/* The writer is killed (kill -9) at random moments: every flushed write is there, and the image is
 * whole.
 *
 * A child writes sectors that bear a growing number, flushes now and then, takes snapshots and
 * discards; what it has been told lies in shared memory. The parent kills it, opens the image and
 * looks. VITRINE_LONG=1: 200 times.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/qcow2.h"
#include "tests/disk/images.h"

#define SECTORS 8192u

/* What the child has done, seen by both. */
typedef struct Shared {
    uint64_t written[SECTORS]; /* number last given to block_write */
    uint64_t safe[SECTORS];    /* number that a finished flush covers */
    atomic_uint flushes;
} Shared;

static void put_number(uint8_t *sector, uint64_t number)
{
    for (unsigned i = 0; i < 512; i += 8) {
        memcpy(sector + i, &number, 8);
    }
}

/* Never returns. */
static void scribble(const char *path, Shared *shared, uint32_t seed, uint64_t number)
{
    static uint8_t data[64 * 512];
    Err err = {""};
    Block *b = block_open(path, NULL, &err);
    if (!b) {
        fprintf(stderr, "%s\n", err.text);
        _exit(1);
    }
    for (;;) {
        seed = seed * 1664525 + 1013904223;
        uint32_t at = (seed >> 8) % SECTORS, count = 1 + (seed >> 3) % 64;
        count = count < SECTORS - at ? count : SECTORS - at;
        for (uint32_t i = 0; i < count; i++) {
            shared->written[at + i] = ++number;
            put_number(data + 512 * i, number);
        }
        if (block_write(b, (uint64_t)at * 512, data, 512 * (size_t)count) != 0) {
            _exit(1);
        }
        if ((seed >> 24) % 8 == 0) {
            if (block_flush(b) != 0) {
                _exit(1);
            }
            memcpy(shared->safe, shared->written, sizeof(shared->safe));
            atomic_fetch_add(&shared->flushes, 1);
        }
        if (qcow2_is(b) && (seed >> 24) == 77) {
            Qcow2Snapshot info = {.name = "now"};
            int index = qcow2_snapshot_find(b, "now");
            int error = index >= 0 ? qcow2_snapshot_delete(b, (unsigned)index)
                                   : qcow2_snapshot_create(b, &info);
            if (error && error != EOVERFLOW) { /* counts of one bit cannot share clusters */
                _exit(1);
            }
        }
    }
}

static void look(const char *path, Shared *shared)
{
    uint8_t sector[512];
    Err err = {""};
    Block *b = block_open(path, NULL, &err);
    if (!b) {
        fail_msg("%s", err.text);
    }
    if (qcow2_is(b)) {
        Qcow2Check check;
        assert_int_equal(qcow2_check(b, false, &check), 0);
        assert_int_equal(check.corruptions, 0);
        assert_int_equal(qcow2_check(b, true, &check), 0); /* gives lost clusters back */
    }
    for (uint32_t i = 0; i < SECTORS; i++) {
        uint64_t number, again;
        assert_int_equal(block_read(b, 512ull * i, sector, 512), 0);
        memcpy(&number, sector, 8);
        memcpy(&again, sector + 504, 8);
        if (number < shared->safe[i] || number > shared->written[i] || number != again) {
            fail_msg("sector %u bears %llu, not %llu to %llu", i, (unsigned long long)number,
                     (unsigned long long)shared->safe[i], (unsigned long long)shared->written[i]);
        }
        shared->written[i] = shared->safe[i] = number;
    }
    block_close(b);
}

static void killed_writers_lose_nothing(void **state)
{
    const ImageKind *kind = *state;
    char path[128];
    if (kind->needs_qemu && !image_have_qemu()) {
        skip();
    }
    Shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    image_path(path, sizeof(path));
    kind->create(path, SECTORS * 512ull);
    unsigned rounds = getenv("VITRINE_LONG") ? 200 : 4;
    uint32_t seed = 1;
    for (unsigned i = 0; i < rounds; i++) {
        seed = seed * 1664525 + 1013904223;
        unsigned before = atomic_load(&shared->flushes);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            scribble(path, shared, seed, (uint64_t)(i + 1) << 40);
        }
        for (unsigned wait = 0; wait < 2000 && atomic_load(&shared->flushes) < before + 3; wait++) {
            usleep(1000);
        }
        usleep((seed >> 8) % 20000);
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status)); /* it did not give up by itself */
        look(path, shared);
    }
    if (image_have_qemu() && strcmp(kind->format, "qcow2") == 0) {
        image_command("qemu-img check -q %s", path);
    }
    unlink(path);
    munmap(shared, sizeof(*shared));
}

int main(void)
{
    struct CMUnitTest tests[IMAGE_KINDS_MAX];
    unsigned count = 0;
    for (const ImageKind *kind = image_kinds; kind->name; kind++) {
        if (!kind->snapshot && !strstr(kind->name, "over another")) {
            tests[count++] = (struct CMUnitTest){
                .name = kind->name,
                .test_func = killed_writers_lose_nothing,
                .initial_state = (void *)(uintptr_t)kind,
            };
        }
    }
    return _cmocka_run_group_tests("crash", tests, count, NULL, NULL);
}
