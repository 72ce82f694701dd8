/* Block layer: opening and its errors, locks, raw files, overlays, the job queue in both modes. */
#include "storage/block.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "storage/block_format.h"
#include "tests/unit/disk_board.h"
#include "tests/unit/folder.h"

static const char *make_file(const char *name, size_t size, const char *content)
{
    const char *path = path_of(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (content) {
        fputs(content, file);
    }
    assert_int_equal(ftruncate(fileno(file), (off_t)size), 0);
    fclose(file);
    return path;
}

/* Opening fails, and the text names the file and what to do. */
static void check_refused(const char *path, const BlockOptions *options, const char *part)
{
    Err err = {""};
    assert_null(block_open(path, options, &err));
    if (!strstr(err.text, path) || !strstr(err.text, part)) {
        fail_msg("'%s' does not speak of %s and '%s'", err.text, path, part);
    }
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

static void bad_files_are_refused_with_a_remedy(void **state)
{
    (void)state;
    check_refused(path_of("missing"), NULL, "check the name");
    check_refused(make_file("empty", 0, NULL), NULL, "is empty");
    check_refused(make_file("odd", 1000, NULL), NULL, "truncate -s %512");
    check_refused(folder, NULL, "is a folder");
    check_refused(make_file("image.raw", 1024, NULL), &(BlockOptions){.format = "nonesuch"},
                  "nonesuch");
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    check_refused(path_of("pipe"), NULL, "neither a file nor a disk");
    check_refused(make_file("x.vhdx", 1024, "vhdxfile"), NULL, "qemu-img convert");
    if (geteuid() != 0) {
        chmod(make_file("protected", 1024, NULL), 0400);
        check_refused(path_of("protected"), NULL, "readonly=on");
        Block *b = open_image(path_of("protected"), &(BlockOptions){.or_read_only = true});
        assert_true(block_read_only(b));
        block_close(b);
    }
    Block *b = open_image(make_file("x.vhdx", 1024, "vhdxfile"), &(BlockOptions){.format = "raw"});
    block_close(b);
}

static void an_image_is_open_for_writing_once(void **state)
{
    (void)state;
    const char *path = make_file("locked", 4096, NULL);
    Block *first = open_image(path, NULL);
    check_refused(path, NULL, "in use");
    check_refused(path, &(BlockOptions){.read_only = true}, "in use");
    block_close(first);
    first = open_image(path, &(BlockOptions){.read_only = true});
    Block *second = open_image(path, &(BlockOptions){.snapshot = true}); /* readers share */
    check_refused(path, NULL, "in use");
    block_close(second);
    block_close(first);
    block_close(open_image(path, NULL));
}

static void raw_reads_writes_and_punches_holes(void **state)
{
    (void)state;
    uint8_t data[1024], back[1024];
    BlockExtent extent;
    Block *b = open_image(make_file("raw", 1 << 20, NULL), NULL);
    assert_string_equal(block_format_name(b), "raw");
    assert_int_equal(block_size(b), 1 << 20);
    assert_int_equal(block_map(b, 0, &extent), 0);
    assert_false(extent.data);
    assert_int_equal(extent.length, 1 << 20);
    memset(data, 0xa5, sizeof(data));
    assert_int_equal(block_write(b, 65536, data, sizeof(data)), 0);
    assert_int_equal(block_read(b, 65536, back, sizeof(back)), 0);
    assert_memory_equal(data, back, sizeof(data));
    assert_int_equal(block_flush(b), 0);
    assert_int_equal(block_map(b, 65536, &extent), 0);
    assert_true(extent.data);
    assert_int_equal(block_discard(b, 65536, 65536), 0);
    assert_int_equal(block_read(b, 65536, back, sizeof(back)), 0);
    assert_int_equal(back[0] | back[1023], 0);
    /* only whole sectors inside the image */
    assert_int_equal(block_read(b, 1, back, 512), EINVAL);
    assert_int_equal(block_read(b, (1 << 20) - 512, back, 1024), EINVAL);
    assert_int_equal(block_write(b, UINT64_MAX - 511, back, 512), EINVAL);
    block_close(b);
}

static void snapshot_leaves_the_image_alone(void **state)
{
    (void)state;
    uint8_t data[2048], back[2048], file[4096];
    BlockExtent extent;
    const char *path = make_file("base", 40 << 20, "the image");
    Block *b = open_image(path, &(BlockOptions){.snapshot = true});
    assert_true(block_is_snapshot(b));
    assert_false(block_read_only(b));
    assert_string_equal(block_format_name(b), "raw");
    memset(data, 0x11, sizeof(data));
    assert_int_equal(block_write(b, 512, data, 1024), 0);
    assert_int_equal(block_write(b, 33 << 20, data, 512), 0);
    assert_int_equal(block_read(b, 0, back, sizeof(back)), 0);
    assert_memory_equal(back, "the image", 9);
    assert_int_equal(back[511], 0);
    assert_int_equal(back[512], 0x11);
    assert_int_equal(back[1535], 0x11);
    assert_int_equal(back[1536], 0);
    assert_int_equal(block_discard(b, 0, 512), 0);
    assert_int_equal(block_read(b, 0, back, 512), 0);
    assert_int_equal(back[0], 0);
    assert_int_equal(block_map(b, 1 << 20, &extent), 0);
    assert_false(extent.data);
    assert_int_equal(block_flush(b), 0);
    block_close(b);
    int fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, file, sizeof(file)), sizeof(file));
    close(fd);
    assert_memory_equal(file, "the image", 9);
    assert_int_equal(file[512], 0);
}

/* The queue: jobs note their ends here. */
typedef struct Log {
    unsigned ends;
    int error;
    uint8_t first;
    uint64_t length, moved;
    uint8_t data[4096]; /* of the last job, or of as much of it as there is room */
    int64_t when;
    Board *b;
} Log;

static void ended(void *self, BlockJob *job)
{
    Log *log = self;
    log->ends++;
    log->error = job->error;
    log->length = job->length;
    log->moved = job->moved;
    if (job->data) {
        memcpy(log->data, job->data, job->length < 4096 ? (size_t)job->length : 4096);
    }
    log->first = job->data ? job->data[0] : 0;
    log->when = clock_now(&log->b->clock);
}

static void deliver_until(Board *b, const Log *log, unsigned ends)
{
    for (unsigned i = 0; i < 20000 && log->ends < ends; i++) {
        event_deliver(b->events);
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    assert_int_equal(log->ends, ends);
}

static void jobs_end_through_the_event_queue(void **state)
{
    (void)state;
    Err err = {""};
    Board *b = chip_board();
    BlockQueue *q = block_queue_new(b, &(BlockQueueConfig){0}, "block", &err);
    Log log = {.b = b};
    Block *image = open_image(make_file("queued", 1 << 20, NULL), NULL);
    BlockJob *job = block_job_new(q, "test", BLOCK_WRITE, 4096, 512, ended, &log);
    memset(job->data, 0x42, 512);
    block_job_submit(job, image, 0);
    block_job_submit(block_job_new(q, "test", BLOCK_READ, 4096, 512, ended, &log), image, 0);
    deliver_until(b, &log, 2);
    assert_int_equal(log.first, 0x42); /* the read waited for the write it overlaps */
    /* not before the guest time asked for */
    block_job_submit(block_job_new(q, "test", BLOCK_READ, 0, 512, ended, &log), image, 1000000);
    block_queue_quiesce(q);
    for (unsigned i = 0; i < 20; i++) {
        event_deliver(b->events);
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
    assert_int_equal(log.ends, 2);
    clock_step(&b->clock, 1000000);
    assert_int_equal(log.ends, 3);
    block_job_cancel(NULL);
    job = block_job_new(q, "test", BLOCK_READ, 0, 512, ended, &log);
    block_job_submit(job, image, 0);
    block_job_cancel(job);
    block_job_submit(block_job_new(q, "test", BLOCK_FLUSH, 0, 0, ended, &log), image, 0);
    assert_true(block_queue_drain(q));
    assert_int_equal(log.ends, 4);
    block_queue_retire(q, image);
    board_free(b);
    check_refused(path_of("missing"), NULL, "check");
    block_close(open_image(path_of("queued"), NULL)); /* it was closed, and its lock is gone */
}

static void deterministic_ends_have_fixed_times(void **state)
{
    (void)state;
    BlockQueue *q;
    Board *b = disk_board(&q);
    Log log = {.b = b};
    MemoryDisk disk;
    memory_disk_init(&disk, 1 << 20);
    Block *image = memory_block(&disk);
    for (unsigned i = 1; i <= 50; i++) {
        int64_t start = clock_now(&b->clock);
        block_job_submit(block_job_new(q, "test", BLOCK_READ, 512, 512, ended, &log), image,
                         start + 70000);
        event_deliver(b->events);
        clock_step(&b->clock, 200000);
        assert_int_equal(log.ends, i);
        assert_int_equal(log.when, start + 70000);
    }
    block_queue_retire(q, image);
    board_free(b);
    memory_disk_free(&disk);
}

typedef struct Pause {
    unsigned errors;
    int error;
} Pause;

static BlockErrorAction pause_machine(void *self, const BlockError *error)
{
    Pause *pause = self;
    pause->errors++;
    pause->error = error->error;
    assert_string_equal(error->device, "test");
    return BLOCK_ERROR_STOP;
}

static void host_errors_pause_and_are_tried_again(void **state)
{
    (void)state;
    for (unsigned deterministic = 0; deterministic < 2; deterministic++) {
        Err err = {""};
        Pause pause = {0};
        Board *b = chip_board();
        BlockQueue *q = block_queue_new(
            b, &(BlockQueueConfig){deterministic, 2, pause_machine, &pause}, "block", &err);
        Log log = {.b = b};
        MemoryDisk disk;
        memory_disk_init(&disk, 1 << 20);
        Block *image = memory_block(&disk);
        disk.error = ENOSPC;
        BlockJob *job = block_job_new(q, "test", BLOCK_WRITE, 0, 512, ended, &log);
        memset(job->data, 0x99, 512);
        block_job_submit(job, image, 0);
        block_job_submit(block_job_new(q, "test", BLOCK_READ, 0, 512, ended, &log), image, 0);
        assert_false(block_queue_drain(q));
        clock_step(&b->clock, 1000000);
        assert_int_equal(log.ends, 0);
        assert_int_equal(pause.error, ENOSPC);
        disk.error = 0;
        block_queue_retry(q);
        assert_true(block_queue_drain(q));
        assert_int_equal(log.ends, 2);
        assert_int_equal(log.error, 0);
        assert_int_equal(log.first, 0x99);
        assert_int_equal(disk.bytes[511], 0x99);
        block_queue_retire(q, image);
        board_free(b);
        memory_disk_free(&disk);
    }
}

typedef struct Answer {
    BlockErrorAction action;
    unsigned asked;
} Answer;

static BlockErrorAction answer(void *self, const BlockError *error)
{
    Answer *a = self;
    a->asked++;
    assert_int_equal(error->error, EIO);
    return a->action;
}

typedef struct BadDisk {
    Board *b;
    BlockQueue *q;
    Answer answer;
    MemoryDisk disk;
    Block *image;
    Log log;
} BadDisk;

/* Sectors 5 and 6 of the image are bad. */
static void open_bad(BadDisk *d, BlockErrorAction action)
{
    Err err = {""};
    *d = (BadDisk){.b = chip_board(), .answer = {action, 0}};
    d->q = block_queue_new(d->b, &(BlockQueueConfig){true, 2, answer, &d->answer}, "block", &err);
    memory_disk_init(&d->disk, 1 << 20);
    d->disk.bad_at = 5 * 512;
    d->disk.bad_bytes = 2 * 512;
    d->image = memory_block(&d->disk);
    d->log.b = d->b;
}

static void close_bad(BadDisk *d)
{
    block_queue_retire(d->q, d->image);
    board_free(d->b);
    memory_disk_free(&d->disk);
}

/* A job of sectors first .. first + count - 1 that goes by blocks of so many; writes put in 0x55.
 */
static void run_job(BadDisk *d, BlockOp op, unsigned first, unsigned count, unsigned block)
{
    unsigned before = d->log.ends;
    BlockJob *job = block_job_new(d->q, "test", op, first * 512ull, count * 512ull, ended, &d->log);
    memset(job->data, 0x55, count * 512);
    job->block = block * 512;
    block_job_submit(job, d->image, 0);
    clock_step(&d->b->clock, 10000000);
    assert_int_equal(d->log.ends, before + 1);
}

static void a_read_ends_short_before_what_fails(void **state)
{
    (void)state;
    BadDisk d;
    open_bad(&d, BLOCK_ERROR_REPORT);
    run_job(&d, BLOCK_READ, 2, 8, 1);
    assert_int_equal(d.log.error, 0);
    assert_int_equal(d.log.length, 3 * 512);
    assert_memory_equal(d.log.data, d.disk.bytes + 2 * 512, 3 * 512);
    assert_int_equal(d.answer.asked, 0); /* nothing that was asked for is missing yet */
    run_job(&d, BLOCK_READ, 5, 8, 1);
    assert_int_equal(d.log.error, EIO);
    assert_int_equal(d.log.moved, 0);
    assert_int_equal(d.answer.asked, 1);
    run_job(&d, BLOCK_READ, 0, 8, 4); /* by blocks: 0..3 whole, 4 alone is none */
    assert_int_equal(d.log.error, 0);
    assert_int_equal(d.log.length, 4 * 512);
    run_job(&d, BLOCK_READ, 4, 8, 4);
    assert_int_equal(d.log.error, EIO);
    assert_int_equal(d.log.moved, 512);
    run_job(&d, BLOCK_READ, 7, 8, 1);
    assert_int_equal(d.log.error, 0);
    assert_int_equal(d.log.length, 8 * 512);
    assert_int_equal(d.answer.asked, 2);
    close_bad(&d);
}

static void a_failed_write_tells_how_far_it_came(void **state)
{
    (void)state;
    BadDisk d;
    open_bad(&d, BLOCK_ERROR_REPORT);
    run_job(&d, BLOCK_WRITE, 3, 6, 1);
    assert_int_equal(d.log.error, EIO);
    assert_int_equal(d.log.moved, 2 * 512);
    assert_int_equal(d.answer.asked, 1);
    assert_int_equal(d.disk.bytes[5 * 512 - 1], 0x55);
    assert_int_equal(d.disk.bytes[7 * 512], memory_byte(7 * 512));
    close_bad(&d);
}

static void ignored_errors_cost_no_more_than_what_is_bad(void **state)
{
    (void)state;
    static const uint8_t zeros[1024];
    BadDisk d;
    open_bad(&d, BLOCK_ERROR_IGNORE);
    run_job(&d, BLOCK_READ, 5, 8, 8);
    assert_int_equal(d.log.error, 0);
    assert_int_equal(d.log.length, 8 * 512);
    assert_memory_equal(d.log.data, zeros, 1024);
    assert_memory_equal(d.log.data + 1024, d.disk.bytes + 7 * 512, 3072);
    assert_int_equal(d.answer.asked, 2);
    run_job(&d, BLOCK_WRITE, 4, 4, 1);
    assert_int_equal(d.log.error, 0);
    assert_int_equal(d.disk.bytes[4 * 512], 0x55);
    assert_int_equal(d.disk.bytes[5 * 512], memory_byte(5 * 512));
    assert_int_equal(d.disk.bytes[7 * 512], 0x55);
    assert_int_equal(d.answer.asked, 4);
    close_bad(&d);
}

/* A guest that abandons jobs without end is held up, not given memory without end. */
static void abandoned_jobs_are_bounded(void **state)
{
    (void)state;
    BlockQueue *q;
    Board *b = disk_board(&q);
    Log log = {.b = b};
    MemoryDisk disk;
    memory_disk_init(&disk, 1 << 20);
    Block *image = memory_block(&disk);
    for (unsigned i = 0; i < 3000; i++) {
        BlockJob *job = block_job_new(q, "test", BLOCK_READ, 0, 65536, ended, &log);
        block_job_submit(job, image, 0);
        block_job_cancel(job);
    }
    assert_true(block_queue_drain(q));
    assert_int_equal(log.ends, 0);
    block_queue_retire(q, image);
    board_free(b);
    memory_disk_free(&disk);
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"empty",  "odd", "image.raw", "pipe",   "x.vhdx",
                                        "locked", "raw", "base",      "queued", "protected"};
    (void)state;
    return remove_folder_of(names, sizeof(names) / sizeof(names[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_refused_with_a_remedy),
        cmocka_unit_test(an_image_is_open_for_writing_once),
        cmocka_unit_test(raw_reads_writes_and_punches_holes),
        cmocka_unit_test(snapshot_leaves_the_image_alone),
        cmocka_unit_test(jobs_end_through_the_event_queue),
        cmocka_unit_test(deterministic_ends_have_fixed_times),
        cmocka_unit_test(host_errors_pause_and_are_tried_again),
        cmocka_unit_test(a_read_ends_short_before_what_fails),
        cmocka_unit_test(a_failed_write_tells_how_far_it_came),
        cmocka_unit_test(ignored_errors_cost_no_more_than_what_is_bad),
        cmocka_unit_test(abandoned_jobs_are_bounded),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
