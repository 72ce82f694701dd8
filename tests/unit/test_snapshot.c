/* Snapshot files: pages and sections there and back, damage of every kind, failing hosts; the block
 * queue's part in snapshots. */
#include "storage/snapshot.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "storage/snapshot_place.h"
#include "tests/unit/disk_board.h"

enum { PAGES = 500, ROOM = 4 << 20 };

/* A file in memory. */
typedef struct Bytes {
    uint8_t *data;
    uint64_t size;
    unsigned calls, fail_at; /* 0: never */
} Bytes;

static int bytes_read(void *self, uint64_t offset, void *data, size_t length)
{
    Bytes *b = self;
    if (offset > b->size || length > b->size - offset) {
        return EIO;
    }
    memcpy(data, b->data + offset, length);
    return 0;
}

static int bytes_write(void *self, uint64_t offset, const void *data, size_t length)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* several threads write */
    Bytes *b = self;
    pthread_mutex_lock(&lock);
    bool fails = ++b->calls == b->fail_at || offset + length > ROOM;
    if (!fails) {
        memcpy(b->data + offset, data, length);
        b->size = b->size > offset + length ? b->size : offset + length;
    }
    pthread_mutex_unlock(&lock);
    return fails ? ENOSPC : 0;
}

static SnapshotIo io_of(Bytes *b)
{
    return (SnapshotIo){bytes_read, bytes_write, b};
}

static void bytes_init(Bytes *b)
{
    *b = (Bytes){.data = calloc(1, ROOM)};
}

/* Page n of the sample: zeros, one of three contents that come again, or its own. */
static void sample_page(uint64_t n, uint8_t *page)
{
    uint32_t seed = (uint32_t)(n % 5 == 1 ? n % 3 : n) * 2654435761u + 1;
    for (unsigned i = 0; i < SNAPSHOT_PAGE; i++) {
        seed = seed * 1103515245 + 12345;
        page[i] = n % 5 == 0 ? 0 : (uint8_t)(seed >> 24 & (n % 2 ? 0x0f : 0xff));
    }
}

static int write_sample(Bytes *b)
{
    SnapshotIo io = io_of(b);
    uint8_t page[SNAPSHOT_PAGE];
    uint64_t size = 0;
    SnapshotWriter *w = snapshot_writer_new(&io, PAGES, 3);
    assert_non_null(w);
    int error = 0;
    for (uint64_t i = 0; i < PAGES && !error; i++) {
        sample_page(i + 7, page); /* another one, replaced below */
        error = i % 3 == 0 ? snapshot_writer_page(w, i, page) : 0;
    }
    for (uint64_t i = 0; i < PAGES && !error; i++) {
        sample_page(i, page);
        error = snapshot_writer_page(w, i, page);
    }
    error = error ? error : snapshot_writer_section(w, SNAPSHOT_META, "what it says", 13);
    error = error ? error : snapshot_writer_finish(w, &size);
    assert_true(error || size == b->size);
    assert_int_equal(snapshot_writer_page(w, PAGES, page), EINVAL);
    snapshot_writer_free(w);
    return error;
}

typedef struct Placed {
    uint8_t *memory;
    atomic_uint count;
} Placed;

static int place(void *self, uint64_t page, const uint8_t *data)
{
    Placed *p = self;
    if (page >= PAGES) {
        fail_msg("page %llu is none of ours", (unsigned long long)page);
    }
    memcpy(p->memory + page * SNAPSHOT_PAGE, data, SNAPSHOT_PAGE);
    atomic_fetch_add(&p->count, 1);
    return 0;
}

/* All a reader can be asked. False, with err set, when it refuses any. */
static bool read_sample(Bytes *b, Placed *p, Err *err)
{
    SnapshotIo io = io_of(b);
    size_t size = 0;
    SnapshotReader *r = snapshot_reader_open(&io, b->size, "sample", err);
    uint8_t *meta = r ? snapshot_reader_section(r, SNAPSHOT_META, 4096, &size, err) : NULL;
    bool ok = meta && snapshot_reader_map(r, PAGES, err) &&
              snapshot_reader_each(r, 0, PAGES, 3, &(SnapshotSink){place, NULL, p}, err);
    for (uint64_t i = 0; i < PAGES && ok; i++) {
        if (snapshot_reader_is_zero(r, i)) {
            memset(p->memory + i * SNAPSHOT_PAGE, 0, SNAPSHOT_PAGE);
        }
    }
    ok = ok && size == 13;
    free(meta);
    snapshot_reader_close(r);
    return ok;
}

static bool equals_sample(const uint8_t *memory)
{
    uint8_t page[SNAPSHOT_PAGE];
    for (uint64_t i = 0; i < PAGES; i++) {
        sample_page(i, page);
        if (memcmp(memory + i * SNAPSHOT_PAGE, page, SNAPSHOT_PAGE) != 0) {
            return false;
        }
    }
    return true;
}

static void pages_come_back_and_repetitions_take_no_room(void **state)
{
    (void)state;
    Bytes b;
    Err err = {""};
    Placed p = {.memory = malloc((size_t)PAGES * SNAPSHOT_PAGE)};
    memset(p.memory, 0xee, (size_t)PAGES * SNAPSHOT_PAGE);
    bytes_init(&b);
    assert_int_equal(write_sample(&b), 0);
    if (!read_sample(&b, &p, &err)) {
        fail_msg("%s", err.text);
    }
    assert_true(equals_sample(p.memory));
    assert_int_equal(p.count, PAGES - PAGES / 5);

    /* a part of it alone */
    SnapshotIo io = io_of(&b);
    SnapshotReader *r = snapshot_reader_open(&io, b.size, "sample", &err);
    assert_true(snapshot_reader_map(r, PAGES, &err));
    p.count = 0;
    memset(p.memory, 0xee, (size_t)PAGES * SNAPSHOT_PAGE);
    assert_true(snapshot_reader_each(r, 101, 20, 1, &(SnapshotSink){place, NULL, &p}, &err));
    assert_int_equal(p.count, 16);
    assert_int_equal(p.memory[100 * SNAPSHOT_PAGE], 0xee);
    assert_int_equal(p.memory[121 * SNAPSHOT_PAGE], 0xee);
    assert_false(snapshot_reader_each(r, PAGES - 1, 2, 1, &(SnapshotSink){place, NULL, &p}, &err));
    snapshot_reader_close(r);

    /* the same page 500 times is as good as once */
    Bytes one, many;
    bytes_init(&one);
    bytes_init(&many);
    for (unsigned i = 0; i < 2; i++) {
        SnapshotIo target = io_of(i ? &many : &one);
        uint8_t page[SNAPSHOT_PAGE];
        uint64_t size;
        sample_page(2, page);
        SnapshotWriter *w = snapshot_writer_new(&target, PAGES, 2);
        for (unsigned n = 0; n < (i ? PAGES : 1); n++) {
            assert_int_equal(snapshot_writer_page(w, n, page), 0);
        }
        assert_int_equal(snapshot_writer_finish(w, &size), 0);
        snapshot_writer_free(w);
    }
    assert_true(many.size < one.size + 200);
    free(one.data);
    free(many.data);
    free(b.data);
    free(p.memory);
}

static void what_does_not_fit_is_refused_by_name(void **state)
{
    (void)state;
    Bytes b;
    Err err = {""};
    size_t size;
    bytes_init(&b);
    assert_int_equal(write_sample(&b), 0);
    SnapshotIo io = io_of(&b);
    SnapshotReader *r = snapshot_reader_open(&io, b.size, "sample", &err);
    assert_non_null(r);
    assert_false(snapshot_reader_map(r, PAGES + 1, &err));
    assert_non_null(strstr(err.text, "sample"));
    err.text[0] = '\0';
    assert_null(snapshot_reader_section(r, SNAPSHOT_META, 12, &size, &err));
    assert_non_null(strstr(err.text, "too large"));
    err.text[0] = '\0';
    assert_null(snapshot_reader_section(r, SNAPSHOT_THUMB, 4096, &size, &err));
    assert_non_null(strstr(err.text, "missing"));
    snapshot_reader_close(r);
    err.text[0] = '\0';
    b.data[8] = 3; /* version */
    assert_null(snapshot_reader_open(&io, b.size, "sample", &err));
    assert_non_null(strstr(err.text, "newer"));
    err.text[0] = '\0';
    b.data[0] = 'x';
    assert_null(snapshot_reader_open(&io, b.size, "sample", &err));
    assert_non_null(strstr(err.text, "no snapshot"));
    assert_null(snapshot_writer_new(&io, SNAPSHOT_MAX_PAGES + 1, 1));
    free(b.data);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void put_crc(uint8_t *at, const uint8_t *data, size_t size)
{
    uint32_t crc = (uint32_t)crc32_z(0, data, size);
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(crc >> (8 * i));
    }
}

/* Damages bytes somewhere; in half of the cases the checksums of header, table of contents and
 * sections are right again, as an attacker would have them. */
static void damage(Bytes *b, uint32_t *seed)
{
    static const uint8_t telling[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    uint32_t toc = 0, count = 4;
    memcpy(&toc, b->data + 24, 4);
    for (unsigned n = next_random(seed) % 4 + 1; n; n--) {
        uint32_t where = next_random(seed) % 4, at = next_random(seed);
        at = where == 0   ? at % 64
             : where == 1 ? toc + at % (uint32_t)(b->size - toc)
             : where == 2 ? (uint32_t)(b->size - 1 - at % (b->size < 3000 ? b->size : 3000))
                          : (uint32_t)(at % b->size);
        b->data[at] = next_random(seed) & 1 ? telling[next_random(seed) % sizeof(telling)]
                                            : (uint8_t)next_random(seed);
    }
    if (next_random(seed) & 1) {
        for (uint32_t i = 0; i < count && toc + 40 * (i + 1) <= b->size; i++) {
            uint64_t offset, packed;
            memcpy(&offset, b->data + toc + 40 * i + 8, 8);
            memcpy(&packed, b->data + toc + 40 * i + 16, 8);
            if (offset <= b->size && packed <= b->size - offset) {
                put_crc(b->data + toc + 40 * i + 32, b->data + offset, packed);
            }
        }
        if (toc + 40 * 3 <= b->size) {
            put_crc(b->data + 36, b->data + toc, 40 * 3);
        }
        put_crc(b->data + 12, b->data + 16, 48);
    }
    if (next_random(seed) % 8 == 0) {
        b->size = next_random(seed) % b->size + 1; /* cut off */
    }
}

static void no_damage_passes_or_does_harm(void **state)
{
    (void)state;
    const char *rounds = getenv("SNAPSHOT_FUZZ"), *from = getenv("SNAPSHOT_FUZZ_SEED");
    unsigned tries = rounds ? (unsigned)strtoul(rounds, NULL, 10) : 600, refused = 0;
    uint32_t first = from ? (uint32_t)strtoul(from, NULL, 10) : 1;
    Bytes good, b;
    Placed p = {.memory = malloc((size_t)PAGES * SNAPSHOT_PAGE)};
    bytes_init(&good);
    assert_int_equal(write_sample(&good), 0);
    b.data = malloc(good.size);
    for (uint32_t i = first; i < first + tries; i++) {
        uint32_t seed = i * 2654435761u | 1;
        Err err = {""};
        b.size = good.size;
        memcpy(b.data, good.data, good.size);
        damage(&b, &seed);
        memset(p.memory, 0xee, (size_t)PAGES * SNAPSHOT_PAGE);
        bool same = b.size == good.size && memcmp(b.data, good.data, good.size) == 0;
        if (!read_sample(&b, &p, &err)) {
            refused++;
            if (same || !err.text[0]) {
                fail_msg("seed %u: refused '%s'", i, err.text);
            }
        }
    }
    assert_true(refused > tries / 2);
    free(p.memory);
    free(b.data);
    free(good.data);
}

/* Any one byte but the few that nobody reads. */
static void a_flipped_bit_is_found(void **state)
{
    (void)state;
    Bytes b;
    Placed p = {.memory = malloc((size_t)PAGES * SNAPSHOT_PAGE)};
    bytes_init(&b);
    assert_int_equal(write_sample(&b), 0);
    for (uint64_t at = 0; at < b.size; at += at < 64 || at + 200 > b.size ? 1 : b.size / 150) {
        Err err = {""};
        b.data[at] ^= 0x10;
        if (read_sample(&b, &p, &err) && !equals_sample(p.memory)) {
            fail_msg("byte %llu of %llu", (unsigned long long)at, (unsigned long long)b.size);
        }
        b.data[at] ^= 0x10;
    }
    free(p.memory);
    free(b.data);
}

static void every_failing_write_is_reported(void **state)
{
    (void)state;
    for (unsigned fail_at = 1;; fail_at++) {
        Bytes b;
        bytes_init(&b);
        b.fail_at = fail_at;
        int error = write_sample(&b);
        unsigned calls = b.calls;
        free(b.data);
        if (calls < fail_at) {
            assert_int_equal(error, 0);
            assert_true(fail_at > 5);
            break;
        }
        assert_int_equal(error, ENOSPC);
    }
}

/* ---- places ---- */

static char folder[64];

typedef struct Countdown {
    unsigned calls, fail_at;
} Countdown;

static int countdown(void *self, const char *call)
{
    Countdown *c = self;
    (void)call;
    return ++c->calls == c->fail_at ? ENOSPC : 0;
}

static unsigned files_here(void)
{
    char command[128];
    unsigned count = 0;
    snprintf(command, sizeof(command), "ls %s | wc -l", folder);
    FILE *list = popen(command, "r");
    assert_int_equal(fscanf(list, "%u", &count), 1);
    pclose(list);
    return count;
}

static bool save_file(const char *path, const char *text, Countdown *c)
{
    Err err = {""};
    DiskFaults faults = {countdown, c};
    SnapshotPlace *place_ = snapshot_place_create(path, true, &faults, &err);
    SnapshotWriter *w = place_ ? snapshot_writer_new(snapshot_place_io(place_), 4, 1) : NULL;
    uint64_t size;
    bool ok = w && snapshot_writer_section(w, SNAPSHOT_META, text, strlen(text)) == 0 &&
              snapshot_writer_finish(w, &size) == 0 && snapshot_place_commit(place_, &err);
    snapshot_writer_free(w);
    snapshot_place_close(place_);
    return ok;
}

static void check_file(const char *path, const char *text)
{
    Err err = {""};
    size_t size = 0;
    SnapshotPlace *place_ = snapshot_place_open(path, &err);
    assert_non_null(place_);
    SnapshotReader *r =
        snapshot_reader_open(snapshot_place_io(place_), snapshot_place_size(place_), path, &err);
    uint8_t *meta = r ? snapshot_reader_section(r, SNAPSHOT_META, 100, &size, &err) : NULL;
    assert_non_null(meta);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(meta, text, size);
    free(meta);
    snapshot_reader_close(r);
    snapshot_place_close(place_);
}

static void a_file_is_replaced_whole_or_not_at_all(void **state)
{
    (void)state;
    char path[100];
    Err err = {""};
    snprintf(path, sizeof(path), "%s/a.vsnap", folder);
    Countdown never = {0, 0};
    assert_true(save_file(path, "old", &never));
    for (unsigned fail_at = 1; fail_at <= never.calls; fail_at++) {
        Countdown c = {0, fail_at};
        assert_false(save_file(path, "new", &c));
        check_file(path, "old");
        assert_int_equal(files_here(), 1);
    }
    never.calls = 0;
    assert_true(save_file(path, "new", &never));
    check_file(path, "new");
    assert_null(snapshot_place_create(path, false, NULL, &err));
    assert_non_null(strstr(err.text, path));
    unlink(path);
}

/* The state that a qcow2 image keeps is read without setting its disk back. */
static void an_image_keeps_states_beside_its_disk(void **state)
{
    (void)state;
    char path[100];
    Err err = {""};
    uint8_t data[65536], back[65536];
    snprintf(path, sizeof(path), "%s/a.qcow2", folder);
    assert_true(qcow2_create(path, 1 << 20, NULL, &err));
    Block *image = block_open(path, NULL, &err);
    assert_non_null(image);
    assert_true(snapshot_image_is(image));
    for (unsigned i = 0; i < 3; i++) {
        memset(data, 'a' + (int)i, sizeof(data));
        assert_int_equal(block_write(image, 0, data, sizeof(data)), 0);
        SnapshotPlace *p = snapshot_place_image(image, &err);
        assert_int_equal(snapshot_place_io(p)->write(p, 100, data, sizeof(data)), 0);
        Qcow2Snapshot info = {.name = "n", .vm_state_size = 100 + sizeof(data)};
        info.name[0] = (char)('x' + (int)i);
        assert_int_equal(snapshot_image_create(image, &info), 0);
        assert_true(snapshot_place_commit(p, &err));
        snapshot_place_close(p);
    }
    for (unsigned i = 0; i < 3; i++) {
        SnapshotPlace *p = snapshot_place_image_open(image, i, &err);
        assert_non_null(p);
        assert_int_equal(snapshot_place_size(p), 100 + sizeof(data));
        assert_int_equal(snapshot_place_io(p)->read(p, 100, back, sizeof(back)), 0);
        assert_int_equal(back[0], 'a' + (int)i);
        assert_int_equal(back[sizeof(back) - 1], 'a' + (int)i);
        snapshot_place_close(p);
    }
    assert_int_equal(block_read(image, 0, back, sizeof(back)), 0);
    assert_int_equal(back[0], 'c');
    assert_int_equal(snapshot_image_apply(image, "x"), 0);
    assert_int_equal(block_read(image, 0, back, sizeof(back)), 0);
    assert_int_equal(back[0], 'a');

    /* what was written and not kept leaves nothing behind */
    SnapshotPlace *p = snapshot_place_image(image, &err);
    assert_int_equal(snapshot_place_io(p)->write(p, 0, data, sizeof(data)), 0);
    snapshot_place_close(p);
    assert_int_equal(snapshot_image_undo(image, "z"), 0);
    assert_int_equal(snapshot_image_delete(image, "y"), 0);
    assert_int_equal(snapshot_image_delete(image, "y"), ENOENT);
    assert_int_equal(snapshot_image_count(image), 1);
    Qcow2Check check;
    assert_int_equal(block_flush(image), 0);
    assert_int_equal(qcow2_check(image, false, &check), 0);
    assert_int_equal(check.corruptions, 0);
    assert_int_equal(check.leaks, 0);
    block_close(image);
    unlink(path);
}

/* ---- the block queue ---- */

static void job_done(void *self, BlockJob *job)
{
    (void)job;
    ++*(unsigned *)self;
}

static void a_held_queue_begins_nothing_and_notes_what_is_written(void **state)
{
    (void)state;
    BlockQueue *q;
    Board *b = disk_board(&q);
    MemoryDisk disk;
    memory_disk_init(&disk, 1 << 20);
    Block *image = memory_block(&disk);
    BlockTrack *track = block_track_begin(q, image);
    uint64_t part = 0;
    unsigned done = 0;
    assert_false(block_track_next(q, track, &part));
    block_queue_hold(q);
    BlockJob *job =
        block_job_new(q, "disk", BLOCK_WRITE, 3 * BLOCK_TRACK_BYTES - 512, 1024, job_done, &done);
    memset(job->data, 0x55, 1024);
    block_job_submit(job, image, 0);
    block_queue_wait_running(q); /* nothing may run */
    usleep(20000);
    assert_int_equal(block_track_count(q, track), 0);
    assert_int_equal(disk.bytes[3 * BLOCK_TRACK_BYTES], memory_byte(3 * BLOCK_TRACK_BYTES));
    block_queue_release(q);
    assert_true(block_queue_drain(q));
    assert_int_equal(done, 1);
    assert_int_equal(disk.bytes[3 * BLOCK_TRACK_BYTES], 0x55);
    assert_int_equal(block_track_count(q, track), 2);
    assert_true(block_track_next(q, track, &part));
    assert_int_equal(part, 2);
    part = 0;
    assert_true(block_track_next(q, track, &part));
    assert_int_equal(part, 3);
    assert_false(block_track_next(q, track, &part));
    /* reading leaves no mark, discarding does */
    block_job_submit(block_job_new(q, "disk", BLOCK_READ, 0, 512, job_done, &done), image, 0);
    block_job_submit(block_job_new(q, "disk", BLOCK_DISCARD, 0, 1 << 20, job_done, &done), image,
                     0);
    assert_true(block_queue_drain(q));
    assert_int_equal(block_track_count(q, track), (1 << 20) / BLOCK_TRACK_BYTES);
    block_track_end(q, track);
    board_free(b);
    block_close(image);
    memory_disk_free(&disk);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/vitrine-snapshot-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_come_back_and_repetitions_take_no_room),
        cmocka_unit_test(what_does_not_fit_is_refused_by_name),
        cmocka_unit_test(no_damage_passes_or_does_harm),
        cmocka_unit_test(a_flipped_bit_is_found),
        cmocka_unit_test(every_failing_write_is_reported),
        cmocka_unit_test(a_file_is_replaced_whole_or_not_at_all),
        cmocka_unit_test(an_image_keeps_states_beside_its_disk),
        cmocka_unit_test(a_held_queue_begins_nothing_and_notes_what_is_written),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
