/* Snapshots of raw disks that build on one another: seeded trees of them, each compared with what
 * the disk was; files that are gone or changed; faults at the host's calls; writers that are
 * killed.
 *
 * Each snapshot's note holds a sum of its disk, so that whoever finds one can tell what is in it.
 * STATE_SEED: the first seed; STATE_STEPS: how many steps (160); STATE_KILLS: how many kills (12).
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "machine/snapshot.h"
#include "tests/state/pc_rig.h"
#include "tests/unit/folder.h"

enum { DISK_BYTES = 3 * 1024 * 1024 + 512, MAX_WRITE = 100000, NAMES = 6 };

typedef struct Rig {
    PcRig pc;
    MachineConfig config;
    SnapshotLine *line;
    const DiskFaults *faults;
    uint32_t seed;
} Rig;

static unsigned number_from(const char *variable, unsigned otherwise)
{
    const char *text = getenv(variable);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static uint32_t random_below(Rig *r, uint32_t limit)
{
    r->seed = r->seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(r->seed >> 4) * limit >> 28);
}

static void here(void *self, void (*run)(void *argument), void *argument)
{
    (void)self;
    run(argument);
}

static SnapshotHost host_of(Rig *r)
{
    return (SnapshotHost){.board = r->pc.b,
                          .pc = r->pc.pc,
                          .accel = &r->pc.accel,
                          .config = &r->config,
                          .call = here,
                          .line = r->line,
                          .faults = r->faults};
}

static void make_raw(const char *path)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), DISK_BYTES), 0);
    fclose(file);
}

static void rig_open(Rig *r, const char *disk, uint32_t seed)
{
    *r = (Rig){.seed = seed};
    machine_config_init(&r->config);
    r->config.ram_mib = 4;
    r->config.drive[1] =
        (DriveConfig){.present = true, .bus = DRIVE_IDE, .index = 0, .file = strdup(disk)};
    pc_rig_open(&r->pc, &r->config, "interpreter");
    r->line = snapshot_line_new();
    assert_non_null(r->line);
}

static void rig_close(Rig *r)
{
    snapshot_line_free(r->line, pc_disks(r->pc.pc));
    pc_rig_close(&r->pc);
    machine_config_free(&r->config);
}

static Block *disk_of(Rig *r)
{
    BlockInfo info;
    Block *disk = pc_medium(r->pc.pc, 1, &info);
    assert_non_null(disk);
    return disk;
}

static void job_done(void *self, BlockJob *job)
{
    *(int *)self = job->error;
}

/* As the drive's own writes go. */
static void write_disk(Rig *r, const void *data, uint64_t offset, uint32_t length)
{
    int error = -1;
    BlockQueue *queue = pc_disks(r->pc.pc);
    BlockJob *job = block_job_new(queue, "test", BLOCK_WRITE, offset, length, job_done, &error);
    memcpy(job->data, data, length);
    block_job_submit(job, disk_of(r), 0);
    assert_true(block_queue_drain(queue));
    assert_int_equal(error, 0);
}

static void scribble(Rig *r)
{
    static uint8_t data[MAX_WRITE + 512];
    uint32_t length = (random_below(r, MAX_WRITE) + 512) / 512 * 512;
    uint64_t offset = random_below(r, (DISK_BYTES - length) / 512 + 1) * UINT64_C(512);
    bool zeros = random_below(r, 4) == 0;
    for (uint32_t i = 0; i < length; i++) {
        data[i] = zeros ? 0 : (uint8_t)random_below(r, 256);
    }
    write_disk(r, data, offset, length);
}

static void read_disk(Rig *r, uint8_t *into)
{
    assert_int_equal(block_read(disk_of(r), 0, into, DISK_BYTES), 0);
}

/* FNV-1a. */
static void sum_of(Rig *r, char text[24])
{
    static uint8_t bytes[DISK_BYTES];
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    read_disk(r, bytes);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    snprintf(text, 24, "%016llx", (unsigned long long)sum);
}

static bool save(Rig *r, const char *name, uint64_t *bytes, Err *err)
{
    char sum[24];
    SnapshotFigures figures;
    SnapshotHost host = host_of(r);
    sum_of(r, sum);
    bool saved = snapshot_save(&host, name, sum, &figures, err);
    *bytes = figures.bytes;
    return saved;
}

static void must_save(Rig *r, const char *name, uint64_t *bytes)
{
    Err err = {""};
    if (!save(r, name, bytes, &err)) {
        fail_msg("%s", err.text);
    }
}

static void must_load(Rig *r, const char *name)
{
    Err err = {""};
    SnapshotHost host = host_of(r);
    if (snapshot_load(&host, name, NULL, &err) != SNAPSHOT_LOADED) {
        fail_msg("%s", err.text);
    }
}

/* Every snapshot that there is holds the disk that its note tells of. */
static unsigned check_all(Rig *r)
{
    SnapshotInfo list[32];
    SnapshotHost host = host_of(r);
    unsigned count = snapshot_list(&host, list, 32);
    for (unsigned i = 0; i < count; i++) {
        char sum[24];
        must_load(r, list[i].name);
        sum_of(r, sum);
        if (strcmp(sum, list[i].note) != 0) {
            fail_msg("seed %u: '%s' holds another disk", r->seed, list[i].name);
        }
    }
    return count;
}

static void only_what_was_written_is_kept(void **state)
{
    (void)state;
    Rig r;
    Err err = {""};
    uint64_t first, second, third, fourth, again;
    make_raw(path_of("disk.img"));
    rig_open(&r, path_of("disk.img"), 1);
    for (unsigned i = 0; i < 60; i++) {
        scribble(&r);
    }
    must_save(&r, "first", &first);
    assert_true(first > 1 << 20);
    static const uint8_t sector[512] = "changed";
    write_disk(&r, sector, 0, sizeof(sector));
    must_save(&r, "second", &second);
    assert_true(second + (1 << 20) < first);
    must_save(&r, "third", &third); /* two below it */
    must_load(&r, "second");
    write_disk(&r, sector, 512, sizeof(sector));
    must_save(&r, "fourth", &fourth);
    assert_true(third < second && fourth + (1 << 20) < first);
    must_save(&r, "fourth", &again); /* nothing can build on what it replaces */
    assert_true(again > 1 << 20);
    assert_int_equal(check_all(&r), 4);

    SnapshotHost host = host_of(&r);
    assert_true(snapshot_delete(&host, "first", &err)); /* now second has the whole */
    assert_int_equal(check_all(&r), 3);
    assert_true(snapshot_delete(&host, "second", &err));
    assert_int_equal(check_all(&r), 2);
    rig_close(&r);

    rig_open(&r, path_of("disk.img"), 1); /* in another process, too */
    assert_int_equal(check_all(&r), 2);
    must_load(&r, "third");
    must_save(&r, "fifth", &second);
    assert_true(second + (1 << 20) < first);
    rig_close(&r);
}

static void a_chain_has_an_end(void **state)
{
    (void)state;
    Rig r;
    char name[16];
    uint64_t bytes, first = 0;
    unsigned whole = 0;
    make_raw(path_of("chain.img"));
    rig_open(&r, path_of("chain.img"), 2);
    for (unsigned i = 0; i < 60; i++) {
        scribble(&r);
    }
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "s%u", i);
        must_save(&r, name, &bytes);
        first = i == 0 ? bytes : first;
        whole += bytes + (1 << 20) > first;
    }
    assert_int_equal(whole, 2);
    assert_int_equal(check_all(&r), 20);
    rig_close(&r);
}

static void refused(Rig *r, const char *name, const char *words)
{
    Err err = {""};
    SnapshotHost host = host_of(r);
    assert_int_equal(snapshot_load(&host, name, NULL, &err), SNAPSHOT_REFUSED);
    if (!strstr(err.text, words)) {
        fail_msg("'%s' does not speak of '%s'", err.text, words);
    }
}

static void files_that_are_gone_or_others_are_told(void **state)
{
    (void)state;
    Rig r;
    Err err = {""};
    uint64_t bytes;
    char sum[24];
    make_raw(path_of("told.img"));
    rig_open(&r, path_of("told.img"), 3);
    scribble(&r);
    must_save(&r, "a", &bytes);
    scribble(&r);
    must_save(&r, "b", &bytes);
    sum_of(&r, sum);
    const char *base = path_of("told.img.a.vsnap"), *aside = path_of("aside");
    assert_int_equal(rename(base, aside), 0);
    refused(&r, "b", "builds on");
    char now[24];
    sum_of(&r, now);
    assert_string_equal(sum, now);
    must_save(&r, "c", &bytes); /* builds on nothing that is not there */
    must_save(&r, "a", &bytes); /* another one of that name */
    refused(&r, "b", "is another one now");
    SnapshotHost host = host_of(&r);
    assert_true(snapshot_delete(&host, "a", &err));
    assert_int_equal(rename(aside, base), 0);
    assert_int_equal(check_all(&r), 3);
    must_load(&r, "b");
    sum_of(&r, now);
    assert_string_equal(sum, now);
    rig_close(&r);
}

/* The image is not relied on: what somebody else writes to it goes, and nothing more. */
static void an_image_changed_from_outside_harms_no_snapshot(void **state)
{
    (void)state;
    Rig r;
    uint64_t bytes;
    make_raw(path_of("outside.img"));
    rig_open(&r, path_of("outside.img"), 4);
    scribble(&r);
    must_save(&r, "a", &bytes);
    scribble(&r);
    must_save(&r, "b", &bytes);
    rig_close(&r);
    FILE *file = fopen(path_of("outside.img"), "r+b");
    assert_non_null(file);
    for (unsigned i = 0; i < DISK_BYTES; i += 4099) {
        fseek(file, (long)i, SEEK_SET);
        fputs("from outside", file);
    }
    assert_int_equal(ftruncate(fileno(file), DISK_BYTES), 0);
    fclose(file);
    rig_open(&r, path_of("outside.img"), 4);
    assert_int_equal(check_all(&r), 2);
    must_save(&r, "c", &bytes);
    assert_int_equal(check_all(&r), 3);
    rig_close(&r);
}

/* One step of a life: writes, saves, loads, deletions. */
static void live(Rig *r)
{
    char name[8];
    Err err = {""};
    uint64_t bytes;
    SnapshotHost host = host_of(r);
    snprintf(name, sizeof(name), "n%u", random_below(r, NAMES));
    switch (random_below(r, 8)) {
    case 0:
    case 1:
    case 2:
        save(r, name, &bytes, &err);
        break;
    case 3:
        snapshot_delete(&host, name, &err);
        break;
    case 4:
        if (snapshot_load(&host, name, NULL, &err) == SNAPSHOT_BROKEN) {
            fail_msg("%s", err.text);
        }
        break;
    default:
        scribble(r);
    }
}

static void trees_of_them_hold_what_the_disk_was(void **state)
{
    (void)state;
    Rig r;
    unsigned steps = number_from("STATE_STEPS", 160), seed = number_from("STATE_SEED", 1);
    make_raw(path_of("tree.img"));
    rig_open(&r, path_of("tree.img"), seed);
    for (unsigned i = 0; i < steps; i++) {
        live(&r);
        if (i % 40 == 39) {
            check_all(&r);
        }
        if (i % 64 == 63) {
            seed = r.seed;
            rig_close(&r);
            rig_open(&r, path_of("tree.img"), seed);
        }
    }
    assert_true(check_all(&r) > 1);
    rig_close(&r);
}

/* From several threads. */
static int sometimes(void *self, const char *call)
{
    uint32_t turn = atomic_fetch_add((atomic_uint *)self, 1);
    (void)call;
    return (turn * UINT32_C(2654435761) >> 16) % 40 == 0 ? ENOSPC : 0;
}

static void faults_of_the_host_leave_all_whole(void **state)
{
    (void)state;
    Rig r;
    atomic_uint turn = 0;
    const DiskFaults faults = {sometimes, &turn};
    make_raw(path_of("faults.img"));
    rig_open(&r, path_of("faults.img"), number_from("STATE_SEED", 1) + 5);
    for (unsigned i = 0; i < number_from("STATE_STEPS", 160); i++) {
        r.faults = &faults;
        live(&r);
        r.faults = NULL;
        if (i % 20 == 19) {
            check_all(&r);
        }
    }
    assert_true(check_all(&r) > 0);
    rig_close(&r);
}

static void killed_writers_leave_all_whole(void **state)
{
    (void)state;
    unsigned kills = number_from("STATE_KILLS", 12), seen = 0;
    make_raw(path_of("killed.img"));
    for (unsigned i = 0; i < kills; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            Rig r;
            rig_open(&r, path_of("killed.img"), number_from("STATE_SEED", 1) + i);
            for (;;) {
                live(&r);
            }
        }
        nanosleep(&(struct timespec){.tv_nsec = 100000000 + 37000000 * (long)(i % 20)}, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        Rig r;
        rig_open(&r, path_of("killed.img"), 1);
        seen += check_all(&r);
        rig_close(&r);
    }
    assert_true(seen > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_was_written_is_kept),
        cmocka_unit_test(a_chain_has_an_end),
        cmocka_unit_test(files_that_are_gone_or_others_are_told),
        cmocka_unit_test(an_image_changed_from_outside_harms_no_snapshot),
        cmocka_unit_test(trees_of_them_hold_what_the_disk_was),
        cmocka_unit_test(faults_of_the_host_leave_all_whole),
        cmocka_unit_test(killed_writers_leave_all_whole),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_full_folder);
}
