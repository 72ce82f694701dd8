/* Bringing a snapshot's pages: by several threads from the first to the last, while whoever cannot
 * wait takes what it needs out of turn.
 *
 * The unit is what is packed together, or a group of pages of zeros. Whoever comes first does a
 * unit; others wait for it. What is damaged is noted, and no further unit is begun.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "storage/snapshot_internal.h"

enum { MAX_THREADS = 8, GROUP_PAGES = 64 };

typedef enum UnitState { UNIT_TODO, UNIT_BUSY, UNIT_DONE, UNIT_FAILED } UnitState;

struct SnapshotFill {
    SnapshotReader *r;
    SnapshotSink sink;
    uint64_t first, count;
    size_t frames, units; /* units: frames, then groups of zeros when the sink wants them */
    uint32_t *start;      /* where a frame's pages begin in `page`; one more than frames */
    uint32_t *page;       /* pages, less `first`, in order of frames */
    _Atomic uint8_t *state;
    atomic_size_t next, left;
    atomic_bool stop, failed;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    Err err; /* under lock */
    SnapshotUnpacker own;
    pthread_t thread[MAX_THREADS];
    unsigned threads, running; /* running: under lock */
    void (*ended)(void *self);
    void *self;
};

static bool set_failed(SnapshotFill *f, const Err *err)
{
    pthread_mutex_lock(&f->lock);
    if (!f->err.text[0]) {
        f->err = *err;
    }
    pthread_mutex_unlock(&f->lock);
    atomic_store(&f->failed, true);
    return false;
}

static bool call_failed(const SnapshotFill *f, int error, Err *err)
{
    return err_set(err, "snapshot '%s': %s", snapshot_reader_name(f->r), strerror(error));
}

static bool place_frame(SnapshotFill *f, size_t frame, SnapshotUnpacker *u, Err *err)
{
    if (f->start[frame] == f->start[frame + 1]) {
        return true;
    }
    if (!snapshot_reader_unpack(f->r, frame, u, err)) {
        return false;
    }
    for (uint32_t i = f->start[frame]; i < f->start[frame + 1]; i++) {
        uint64_t page = f->first + f->page[i];
        size_t at =
            (snapshot_reader_stored(f->r, page) - 1) % SNAPSHOT_FRAME_PAGES * (size_t)SNAPSHOT_PAGE;
        if (at + SNAPSHOT_PAGE > u->size) {
            return snapshot_reader_missing(f->r, err);
        }
        int error = f->sink.place(f->sink.self, page, u->data + at);
        if (error) {
            return call_failed(f, error, err);
        }
    }
    return true;
}

static bool clear_group(SnapshotFill *f, size_t group, Err *err)
{
    uint64_t at = f->first + group * GROUP_PAGES, end = at + GROUP_PAGES, run = 0;
    end = end < f->first + f->count ? end : f->first + f->count;
    for (; at <= end; at++) {
        if (at < end && snapshot_reader_stored(f->r, at) == 0) {
            run++;
            continue;
        }
        int error = run ? f->sink.clear(f->sink.self, at - run, run) : 0;
        if (error) {
            return call_failed(f, error, err);
        }
        run = 0;
    }
    return true;
}

/* Does the unit unless somebody has begun it. False: it failed. */
static bool take(SnapshotFill *f, size_t unit, SnapshotUnpacker *u)
{
    uint8_t todo = UNIT_TODO;
    Err err = {""};
    if (!atomic_compare_exchange_strong(&f->state[unit], &todo, UNIT_BUSY)) {
        return true;
    }
    bool ok =
        unit < f->frames ? place_frame(f, unit, u, &err) : clear_group(f, unit - f->frames, &err);
    if (!ok) {
        set_failed(f, &err);
    }
    pthread_mutex_lock(&f->lock);
    atomic_store(&f->state[unit], ok ? UNIT_DONE : UNIT_FAILED);
    atomic_fetch_sub(&f->left, ok);
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    return ok;
}

static void take_all(SnapshotFill *f, SnapshotUnpacker *u)
{
    while (!atomic_load(&f->stop) && !atomic_load(&f->failed)) {
        size_t unit = atomic_fetch_add(&f->next, 1);
        if (unit >= f->units || !take(f, unit, u)) {
            break;
        }
    }
}

static void *worker(void *self)
{
    SnapshotFill *f = self;
    SnapshotUnpacker u;
    if (snapshot_unpacker_open(&u)) {
        take_all(f, &u);
    } else {
        set_failed(f, &(Err){"a snapshot cannot be loaded: out of memory"});
    }
    snapshot_unpacker_close(&u);
    pthread_mutex_lock(&f->lock);
    bool last = --f->running == 0;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (last && f->ended && !atomic_load(&f->stop)) {
        f->ended(f->self);
    }
    return NULL;
}

/* Sorts the pages by the frame they lie in. */
static void sort_pages(SnapshotFill *f)
{
    for (uint64_t i = 0; i < f->count; i++) {
        uint32_t stored = snapshot_reader_stored(f->r, f->first + i);
        if (stored) {
            f->start[(stored - 1) / SNAPSHOT_FRAME_PAGES + 2]++;
        }
    }
    for (size_t i = 2; i < f->frames + 2; i++) {
        f->start[i] += f->start[i - 1];
    }
    for (uint64_t i = 0; i < f->count; i++) {
        uint32_t stored = snapshot_reader_stored(f->r, f->first + i);
        if (stored) {
            f->page[f->start[(stored - 1) / SNAPSHOT_FRAME_PAGES + 1]++] = (uint32_t)i;
        }
    }
}

SnapshotFill *snapshot_fill_new(SnapshotReader *r, uint64_t first, uint64_t count,
                                const SnapshotSink *sink, Err *err)
{
    uint64_t pages = snapshot_reader_count(r);
    if (first > pages || count > pages - first) {
        err_set(err, "snapshot '%s' has fewer pages", snapshot_reader_name(r));
        return NULL;
    }
    SnapshotFill *f = calloc(1, sizeof(*f));
    if (!f) {
        err_set(err, "snapshot '%s': out of memory", snapshot_reader_name(r));
        return NULL;
    }
    *f = (SnapshotFill){.r = r, .sink = *sink, .first = first, .count = count};
    f->frames = snapshot_reader_frames(r);
    f->units = f->frames + (sink->clear ? (count + GROUP_PAGES - 1) / GROUP_PAGES : 0);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->start = calloc(f->frames + 2, sizeof(*f->start));
    f->page = malloc(count ? (size_t)count * sizeof(*f->page) : 1);
    f->state = calloc(f->units + 1, sizeof(*f->state));
    atomic_store(&f->left, f->units);
    if (!snapshot_unpacker_open(&f->own) || !f->start || !f->page || !f->state) {
        err_set(err, "snapshot '%s': out of memory", snapshot_reader_name(r));
        snapshot_fill_free(f);
        return NULL;
    }
    sort_pages(f);
    return f;
}

bool snapshot_fill_need(SnapshotFill *f, uint64_t page)
{
    uint32_t stored = snapshot_reader_stored(f->r, page);
    size_t unit = stored ? (stored - 1) / SNAPSHOT_FRAME_PAGES
                         : f->frames + (size_t)(page - f->first) / GROUP_PAGES;
    if (unit >= f->units || atomic_load(&f->state[unit]) == UNIT_DONE) {
        return true;
    }
    take(f, unit, &f->own);
    pthread_mutex_lock(&f->lock);
    while (atomic_load(&f->state[unit]) == UNIT_BUSY) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    return atomic_load(&f->state[unit]) == UNIT_DONE;
}

bool snapshot_fill_start(SnapshotFill *f, unsigned threads, void (*ended)(void *self), void *self)
{
    sigset_t all, before;
    f->ended = ended;
    f->self = self;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&f->lock);
    while (f->threads < threads && f->threads < MAX_THREADS &&
           pthread_create(&f->thread[f->threads], NULL, worker, f) == 0) {
        f->threads++;
        f->running++;
    }
    pthread_mutex_unlock(&f->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return f->threads > 0;
}

void snapshot_fill_finish(SnapshotFill *f)
{
    take_all(f, &f->own);
    pthread_mutex_lock(&f->lock);
    while (f->running || (!atomic_load(&f->failed) && atomic_load(&f->left))) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
}

bool snapshot_fill_done(const SnapshotFill *f)
{
    return atomic_load(&f->left) == 0;
}

bool snapshot_fill_failed(SnapshotFill *f, Err *err)
{
    if (!atomic_load(&f->failed)) {
        return false;
    }
    pthread_mutex_lock(&f->lock);
    *err = f->err;
    pthread_mutex_unlock(&f->lock);
    return true;
}

void snapshot_fill_free(SnapshotFill *f)
{
    if (!f) {
        return;
    }
    atomic_store(&f->stop, true);
    for (unsigned i = 0; i < f->threads; i++) {
        pthread_join(f->thread[i], NULL);
    }
    snapshot_unpacker_close(&f->own);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f->start);
    free(f->page);
    free((void *)f->state);
    free(f);
}

bool snapshot_reader_each(SnapshotReader *r, uint64_t first, uint64_t count, unsigned threads,
                          const SnapshotSink *sink, Err *err)
{
    SnapshotFill *f = snapshot_fill_new(r, first, count, sink, err);
    if (!f) {
        return false;
    }
    if (threads > 1) {
        snapshot_fill_start(f, threads - 1, NULL, NULL);
    }
    snapshot_fill_finish(f);
    bool failed = snapshot_fill_failed(f, err);
    snapshot_fill_free(f);
    return !failed;
}
