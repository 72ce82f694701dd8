/* Snapshots of whole machines: saved at random points, loaded into fresh ones, which go on alike;
 * refused loads leave no trace; writes to disks come back.
 *
 * STATE_POINTS: how many points a guest (8); STATE_SEED: the first of them. STATE_KERNEL,
 * STATE_INITRD: a Linux to try as well (tests/guests/test_state.py). STATE_ONLY: the one test to
 * run.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/core/bytes.h"
#include "machine/snapshot.h"
#include "storage/qcow2.h"
#include "tests/state/pc_rig.h"
#include "tests/unit/folder.h"

static void here(void *self, void (*run)(void *argument), void *argument)
{
    (void)self;
    run(argument);
}

static SnapshotHost host_of(PcRig *rig, const MachineConfig *config)
{
    return (SnapshotHost){
        .board = rig->b, .pc = rig->pc, .accel = &rig->accel, .config = config, .call = here};
}

static void config_init(MachineConfig *c, const char *floppy, const char *disk)
{
    machine_config_init(c);
    c->ram_mib = 32;
    free(c->rtc_base);
    c->rtc_base = strdup("1998-06-25T12:00:00");
    if (floppy) {
        c->drive[0] = (DriveConfig){
            .present = true, .bus = DRIVE_FLOPPY, .file = strdup(floppy), .snapshot = true};
    }
    if (disk) {
        c->drive[1] =
            (DriveConfig){.present = true, .bus = DRIVE_IDE, .index = 0, .file = strdup(disk)};
    }
}

static void save(PcRig *rig, const MachineConfig *config, const char *name)
{
    Err err = {""};
    SnapshotFigures figures;
    SnapshotHost host = host_of(rig, config);
    if (!snapshot_save(&host, name, "a note", &figures, &err)) {
        fail_msg("%s", err.text);
    }
    assert_true(figures.bytes > 1000);
}

static void load(PcRig *rig, const MachineConfig *config, const char *name)
{
    Err err = {""};
    SnapshotHost host = host_of(rig, config);
    if (snapshot_load(&host, name, NULL, &err) != SNAPSHOT_LOADED) {
        fail_msg("%s", err.text);
    }
}

/* Memory comes while the machine runs. */
static SnapshotLazy *load_lazily(PcRig *rig, const MachineConfig *config, const char *name,
                                 void (*settled)(void *self), void *self)
{
    Err err = {""};
    SnapshotLazy *lazy = NULL;
    SnapshotHost host = host_of(rig, config);
    host.lazy = &lazy;
    host.settled = settled;
    host.self = self;
    if (snapshot_load(&host, name, NULL, &err) != SNAPSHOT_LOADED) {
        fail_msg("%s", err.text);
    }
    assert_non_null(lazy);
    return lazy;
}

static void count_settled(void *self)
{
    atomic_fetch_add((atomic_uint *)self, 1);
}

static void check_equal(PcRig *a, PcRig *b, const char *when, unsigned point)
{
    size_t size_a, size_b;
    uint8_t *bytes_a = pc_rig_save(a, &size_a), *bytes_b = pc_rig_save(b, &size_b);
    for (size_t at = 0; at < size_a && at < size_b; at++) {
        if (bytes_a[at] != bytes_b[at]) {
            fail_msg("point %u, %s: states differ at byte %zu, behind '%.24s'", point, when, at,
                     bytes_a + (at > 24 ? at - 24 : 0));
        }
    }
    assert_int_equal(size_a, size_b);
    free(bytes_a);
    free(bytes_b);
    if (memcmp(a->b->ram.host, b->b->ram.host, a->b->ram.used) != 0) {
        fail_msg("point %u, %s: memories differ", point, when);
    }
}

static void check_screens(PcRig *a, PcRig *b, unsigned point)
{
    Picture one = {0}, two = {0};
    bool shown = screen_read(pc_screen(a->pc), &one); /* not before its first frame's end */
    assert_true(screen_read(pc_screen(b->pc), &two) || !shown);
    if (shown && (one.width != two.width || one.height != two.height ||
                  memcmp(one.pixels, two.pixels, (size_t)one.width * one.height * 4) != 0)) {
        fail_msg("point %u: pictures differ", point);
    }
    picture_free(&one);
    picture_free(&two);
}

static unsigned number_from(const char *variable, unsigned otherwise)
{
    const char *text = getenv(variable);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

/* Saves at random points; a machine made anew loads, and both go on alike. */
static void check_config(MachineConfig *given, const char *disk, unsigned points, int64_t span)
{
    MachineConfig config = *given;
    PcRig a;
    /* two open the same image: what they write must not meet */
    config.snapshot = disk != NULL;
    pc_rig_open(&a, &config, "interpreter");
    unsigned seed = number_from("STATE_SEED", 1);
    char name[160];
    snprintf(name, sizeof(name), "%s", path_of("point.vsnap"));
    for (unsigned i = 0; i < points; i++) {
        PcRig b;
        seed = seed * 1103515245 + 12345;
        pc_rig_run(&a, 1 + (int64_t)(seed >> 8) % span);
        save(&a, &config, name);
        pc_rig_open(&b, &config, "interpreter");
        if (i % 2) {
            pc_rig_run(&b, 1 + (int64_t)(seed >> 6) % span); /* one that has run already */
        }
        atomic_uint settled = 0;
        SnapshotLazy *lazy = NULL;
        if (i % 3 == 2) {
            lazy = load_lazily(&b, &config, name, count_settled, &settled);
        } else {
            load(&b, &config, name);
            check_equal(&a, &b, "loaded", i);
        }
        int64_t further = 20000000 + (int64_t)(seed >> 7) % (span / 2);
        pc_rig_run(&a, further);
        pc_rig_run(&b, further);
        assert_true(snapshot_lazy_end(lazy, true, &(Err){""}));
        check_equal(&a, &b, "gone on", i);
        check_screens(&a, &b, i);
        pc_rig_close(&b);
    }
    unlink(name);
    pc_rig_close(&a);
    machine_config_free(&config);
}

static void check_guest(const char *floppy, const char *disk, unsigned points, int64_t span)
{
    MachineConfig config;
    config_init(&config, floppy, disk);
    check_config(&config, disk, points, span);
}

static void firmware_goes_on_from_any_point(void **state)
{
    (void)state;
    check_guest(NULL, NULL, number_from("STATE_POINTS", 8), 60000000);
}

static void guest_goes_on(const char *name, int64_t span)
{
    char path[512];
    struct stat st;
    const char *guests = getenv("GUESTS");
    snprintf(path, sizeof(path), "%s/%s", guests ? guests : "guests", name);
    if (stat(path, &st) < 0) {
        skip();
    }
    check_guest(path, NULL, number_from("STATE_POINTS", 6), span);
}

static void freedos_goes_on_from_any_point(void **state)
{
    (void)state;
    guest_goes_on("freedos722.img", 700000000);
}

static void kolibri_goes_on_from_any_point(void **state)
{
    (void)state;
    guest_goes_on("kolibri.img", 900000000);
}

static void memtest_goes_on_from_any_point(void **state)
{
    (void)state;
    guest_goes_on("memtest.img", 500000000);
}

/* Paging, interrupts, DMA to and from a disk: from its first instruction to the shell and on. */
static void linux_goes_on_from_any_point(void **state)
{
    (void)state;
    const char *kernel = getenv("STATE_KERNEL"), *initrd = getenv("STATE_INITRD");
    if (!kernel || !initrd) {
        skip();
    }
    MachineConfig config;
    char disk[160];
    snprintf(disk, sizeof(disk), "%s", path_of("linux.img"));
    FILE *file = fopen(disk, "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), 8 << 20), 0);
    fclose(file);
    config_init(&config, NULL, disk);
    config.ram_mib = 64;
    config.kernel = strdup(kernel);
    config.initrd = strdup(initrd);
    config.append = strdup("console=ttyS0 panic=-1 rdinit=/work");
    check_config(&config, disk, number_from("STATE_POINTS", 6), 400000000);
    unlink(disk);
}

static void make_raw(const char *path, uint64_t size, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(ftruncate(fileno(file), (off_t)size), 0);
    fclose(file);
}

static Block *disk_of(PcRig *rig)
{
    BlockInfo info;
    Block *disk = pc_medium(rig->pc, 1, &info);
    assert_non_null(disk);
    return disk;
}

static void check_disk(PcRig *rig, const char *text, uint64_t offset)
{
    char sector[512];
    assert_int_equal(block_read(disk_of(rig), offset, sector, sizeof(sector)), 0);
    assert_string_equal(sector, text);
}

static void write_disk(PcRig *rig, const char *text, uint64_t offset)
{
    char sector[512] = "";
    snprintf(sector, sizeof(sector), "%s", text);
    assert_int_equal(block_write(disk_of(rig), offset, sector, sizeof(sector)), 0);
}

/* raw: in the snapshot's file; qcow2: in the image. */
static void check_disks(const char *path, const char *const names[2])
{
    MachineConfig config;
    PcRig rig;
    config_init(&config, NULL, path);
    pc_rig_open(&rig, &config, "interpreter");
    const uint64_t far = (8 << 20) - 512;
    write_disk(&rig, "one", 0);
    save(&rig, &config, names[0]);
    write_disk(&rig, "two", 0);
    write_disk(&rig, "far", far);
    save(&rig, &config, names[1]);
    write_disk(&rig, "three", 0);
    load(&rig, &config, names[0]);
    check_disk(&rig, "one", 0);
    check_disk(&rig, "", far);
    load(&rig, &config, names[1]);
    check_disk(&rig, "two", 0);
    check_disk(&rig, "far", far);

    SnapshotInfo list[8];
    SnapshotHost host = host_of(&rig, &config);
    Err err = {""};
    assert_int_equal(snapshot_list(&host, list, 8), 2);
    assert_string_equal(list[0].note, "a note");
    assert_true(list[0].machine && list[1].machine);
    size_t size;
    uint8_t *png = snapshot_thumbnail(&host, names[0], &size, &err);
    assert_true(!png || memcmp(png, "\x89PNG", 4) == 0);
    free(png);
    err.text[0] = '\0';
    save(&rig, &config, names[0]); /* again: takes the old one's place */
    assert_int_equal(snapshot_list(&host, list, 8), 2);
    load(&rig, &config, names[0]);
    check_disk(&rig, "two", 0);
    assert_true(snapshot_delete(&host, names[0], &err));
    assert_false(snapshot_delete(&host, names[0], &err));
    assert_non_null(strstr(err.text, "there is no snapshot"));
    assert_int_equal(snapshot_list(&host, list, 8), 1);
    assert_true(snapshot_delete(&host, names[1], &err));
    pc_rig_close(&rig);
    machine_config_free(&config);
    unlink(path);
}

static void raw_disks_come_back(void **state)
{
    (void)state;
    static const char *const names[2] = {"first", "second"};
    const char *path = path_of("disk.img");
    make_raw(path, 8 << 20, "");
    check_disks(path, names);
}

static void qcow2_disks_come_back(void **state)
{
    (void)state;
    static const char *const names[2] = {"first", "1"};
    Err err = {""};
    const char *path = path_of("disk.qcow2");
    assert_true(qcow2_create(path, 8 << 20, NULL, &err));
    check_disks(path, names);
}

/* The load fails with these words, and nothing has changed. */
static void check_refused(PcRig *rig, const MachineConfig *config, const char *name,
                          const char *words)
{
    Err err = {""};
    size_t before_size, after_size;
    SnapshotHost host = host_of(rig, config);
    uint8_t *before = pc_rig_save(rig, &before_size);
    uint64_t sum = pc_rig_memory_sum(rig);
    assert_int_equal(snapshot_load(&host, name, NULL, &err), SNAPSHOT_REFUSED);
    if (!strstr(err.text, words)) {
        fail_msg("'%s' does not speak of '%s'", err.text, words);
    }
    uint8_t *after = pc_rig_save(rig, &after_size);
    assert_int_equal(before_size, after_size);
    assert_memory_equal(before, after, before_size);
    assert_int_equal(sum, pc_rig_memory_sum(rig));
    free(before);
    free(after);
}

static void what_does_not_match_is_refused_without_a_trace(void **state)
{
    (void)state;
    MachineConfig config, other;
    PcRig a, b;
    char name[160];
    snprintf(name, sizeof(name), "%s", path_of("a.vsnap"));
    make_raw(path_of("disk.img"), 1 << 20, "mine");
    make_raw(path_of("other.img"), 1 << 20, "another's");
    config_init(&config, NULL, path_of("disk.img"));
    pc_rig_open(&a, &config, "interpreter");
    pc_rig_run(&a, 30000000);
    save(&a, &config, name);
    pc_rig_close(&a);

    config_init(&other, NULL, path_of("disk.img"));
    other.ram_mib = 16;
    pc_rig_open(&b, &other, "interpreter");
    check_refused(&b, &other, name, "use -m 32");
    check_refused(&b, &other, "nonesuch", "there is no snapshot");
    check_refused(&b, &other, "x\ny", "control characters");
    pc_rig_close(&b);
    machine_config_free(&other);

    config_init(&other, NULL, path_of("other.img"));
    pc_rig_open(&b, &other, "interpreter");
    check_refused(&b, &other, name, "needs 'disk.img'");
    check_disk(&b, "another's", 0);
    pc_rig_close(&b);
    machine_config_free(&other);

    /* a mouse more: found in the walk through the devices, half of which are loaded by then */
    config_init(&other, NULL, path_of("disk.img"));
    other.serial[2] = strdup("msmouse");
    pc_rig_open(&b, &other, "interpreter");
    pc_rig_run(&b, 10000000);
    check_refused(&b, &other, name, "mouse2");
    pc_rig_run(&b, 10000000);
    pc_rig_close(&b);
    machine_config_free(&other);

    config_init(&other, NULL, NULL);
    pc_rig_open(&b, &other, "interpreter");
    check_refused(&b, &other, name, "needs 'disk.img'");
    pc_rig_close(&b);
    machine_config_free(&other);

    machine_config_free(&config);
    unlink(name);
    unlink(path_of("disk.img"));
    unlink(path_of("other.img"));
}

/* Damage that shows only when memory is unpacked: said so, and the machine can be reset. */
/* Where the first packed pages lie: sections come before them when the packing threads are late
 * (docs/STATE.md has the layout). */
static long first_frame(FILE *file)
{
    uint8_t header[64], entry[16][40];
    assert_int_equal(fread(header, sizeof(header), 1, file), 1);
    uint32_t count = bytes_le32(header + 32);
    assert_in_range(count, 1, 16);
    fseek(file, (long)bytes_le64(header + 24), SEEK_SET);
    assert_int_equal(fread(entry, sizeof(entry[0]), count, file), count);
    uint64_t at = sizeof(header);
    for (uint32_t i = 0; i < count; i++) {
        if (bytes_le64(entry[i] + 8) == at) {
            at += bytes_le64(entry[i] + 16);
            i = UINT32_MAX; /* another may follow it */
        }
    }
    return (long)at;
}

static void damaged_memory_breaks_but_a_reset_mends(void **state)
{
    (void)state;
    MachineConfig config;
    PcRig a;
    Err err = {""};
    char name[160];
    snprintf(name, sizeof(name), "%s", path_of("a.vsnap"));
    config_init(&config, NULL, NULL);
    pc_rig_open(&a, &config, "interpreter");
    pc_rig_run(&a, 30000000);
    save(&a, &config, name);
    FILE *file = fopen(name, "r+b");
    assert_non_null(file);
    fseek(file, first_frame(file) + 100, SEEK_SET);
    fwrite("damaged", 1, 7, file);
    fclose(file);
    SnapshotHost host = host_of(&a, &config);
    assert_int_equal(snapshot_load(&host, name, NULL, &err), SNAPSHOT_BROKEN);
    assert_non_null(strstr(err.text, "damaged"));
    board_reset(a.b, RESET_HARD);
    a.accel.ops->push(&a.accel);
    char text[8192] = "";
    for (unsigned i = 0; i < 100 && !strstr(text, "No bootable device"); i++) {
        pc_rig_run(&a, 100000000);
        pc_text(a.pc, text, sizeof(text));
    }
    assert_non_null(strstr(text, "No bootable device"));
    pc_rig_close(&a);
    machine_config_free(&config);
    unlink(name);
}

/* The same damage when memory comes while the guest runs: told, not handed to the guest. */
static void damage_that_shows_late_is_told(void **state)
{
    (void)state;
    MachineConfig config;
    PcRig a, b;
    Err err = {""};
    char name[160];
    snprintf(name, sizeof(name), "%s", path_of("a.vsnap"));
    config_init(&config, NULL, NULL);
    pc_rig_open(&a, &config, "interpreter");
    pc_rig_open(&b, &config, "interpreter");
    for (uint64_t at = 1 << 20; at < 31 << 20; at += 8) { /* many frames, none alike */
        bus_write(a.b->memory, at, at * UINT64_C(0x9e3779b97f4a7c15), 8);
    }
    save(&a, &config, name);
    FILE *file = fopen(name, "r+b");
    assert_non_null(file);
    fseek(file, 9 << 20, SEEK_SET);
    fwrite("damaged", 1, 7, file);
    fclose(file);
    atomic_uint settled = 0;
    SnapshotLazy *lazy = load_lazily(&b, &config, name, count_settled, &settled);
    /* a bus master touches all of it, in an order that is not the file's */
    uint64_t good = 0;
    for (uint64_t at = 31 << 20; at > 1 << 20;) {
        uint64_t got = 0;
        at -= RAM_PAGE;
        bus_dma(b.b->memory, at, &got, sizeof(got), false);
        good += got == at * UINT64_C(0x9e3779b97f4a7c15);
    }
    assert_in_range(good, 100, (30 << 20) / RAM_PAGE - 1);
    assert_true(settled > 0);
    assert_false(snapshot_lazy_done(lazy));
    assert_true(snapshot_lazy_failed(lazy, &err));
    assert_non_null(strstr(err.text, "damaged"));
    assert_false(snapshot_lazy_end(lazy, true, &err));
    pc_rig_close(&b);
    pc_rig_close(&a);
    machine_config_free(&config);
    unlink(name);
}

static int64_t hasty(void)
{
    static int64_t now;
    return now += 1000000;
}

/* Devices that compute their state for the moment all see the same one. */
static void guest_time_stands_still_while_it_is_saved(void **state)
{
    (void)state;
    MachineConfig config;
    PcRig a;
    char name[160];
    snprintf(name, sizeof(name), "%s", path_of("a.vsnap"));
    config_init(&config, NULL, NULL);
    pc_rig_open(&a, &config, "interpreter");
    pc_rig_run(&a, 30000000);
    clock_use_host(&a.b->clock, hasty);
    clock_run(&a.b->clock, true);
    save(&a, &config, name);
    assert_true(a.b->clock.running);
    clock_run(&a.b->clock, false);
    load(&a, &config, name);
    pc_rig_close(&a);
    machine_config_free(&config);
    unlink(name);
}

typedef struct Countdown {
    atomic_uint calls;
    unsigned fail_at;
} Countdown;

static int countdown(void *self, const char *call)
{
    Countdown *c = self;
    (void)call;
    return atomic_fetch_add(&c->calls, 1) + 1 == c->fail_at ? 28 : 0; /* ENOSPC */
}

/* A host that fails at any call: no snapshot, no leavings, and the machine goes on as if nothing
 * had been. */
static void a_failing_host_leaves_the_machine_alone(void **state)
{
    (void)state;
    MachineConfig config;
    PcRig a, b;
    char name[160];
    snprintf(name, sizeof(name), "%s", path_of("a.vsnap"));
    config_init(&config, NULL, NULL);
    pc_rig_open(&a, &config, "interpreter");
    pc_rig_open(&b, &config, "interpreter");
    pc_rig_run(&a, 20000000);
    for (unsigned fail_at = 1;; fail_at++) {
        Countdown c = {0, fail_at};
        DiskFaults faults = {countdown, &c};
        SnapshotHost host = host_of(&a, &config);
        Err err = {""};
        host.faults = &faults;
        bool done = snapshot_save(&host, name, NULL, NULL, &err);
        if (c.calls < fail_at) {
            assert_true(done);
            break;
        }
        assert_false(done);
        assert_true(err.text[0] != '\0');
        assert_int_equal(access(name, F_OK), -1);
    }
    load(&b, &config, name);
    pc_rig_run(&a, 20000000);
    pc_rig_run(&b, 20000000);
    check_equal(&a, &b, "gone on", 0);
    pc_rig_close(&b);
    pc_rig_close(&a);
    machine_config_free(&config);
    unlink(name);
}

static int remove_folder(void **state)
{
    (void)state;
    return remove_folder_of(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(firmware_goes_on_from_any_point),
        cmocka_unit_test(freedos_goes_on_from_any_point),
        cmocka_unit_test(kolibri_goes_on_from_any_point),
        cmocka_unit_test(memtest_goes_on_from_any_point),
        cmocka_unit_test(linux_goes_on_from_any_point),
        cmocka_unit_test(raw_disks_come_back),
        cmocka_unit_test(qcow2_disks_come_back),
        cmocka_unit_test(what_does_not_match_is_refused_without_a_trace),
        cmocka_unit_test(guest_time_stands_still_while_it_is_saved),
        cmocka_unit_test(damaged_memory_breaks_but_a_reset_mends),
        cmocka_unit_test(damage_that_shows_late_is_told),
        cmocka_unit_test(a_failing_host_leaves_the_machine_alone),
    };
    if (getenv("STATE_ONLY")) {
        cmocka_set_test_filter(getenv("STATE_ONLY"));
    }
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
