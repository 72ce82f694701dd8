/* The asynchronous side of the block layer: a list of jobs, worker threads, ends on the machine's
 * thread.
 *
 * All jobs of a board stand in one list in the order of submission. A worker takes the first that
 * does not depend on an earlier one. The list is short (a drive has one or two jobs), so that is a
 * plain walk under one lock.
 */
#include "storage/block_queue.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "machine/core/log.h"
#include "storage/block_format.h"
#include "storage/cd.h"

LOG_TAG("block");

enum {
    MAX_WORKERS = 16,
    MAX_JOBS = 64, /* a guest that abandons jobs faster than the host ends them is made to wait */
};

typedef enum WorkStage {
    WORK_NEW,     /* not submitted */
    WORK_WAITING, /* for a worker, or for an earlier job */
    WORK_RUNNING,
    WORK_ENDED, /* for the machine's thread */
    WORK_HELD,  /* failed; kept until block_queue_retry */
} WorkStage;

typedef struct BlockWork {
    BlockJob job;
    BlockQueue *queue;
    Block *image;
    uint64_t id;
    WorkStage stage;
    bool cancelled; /* the device has gone; nobody hears of the end */
    bool closing;   /* closes the image; waits for every earlier job on it */
    const char *device;
    void (*done)(void *self, BlockJob *job);
    void *self;
    uint64_t from; /* bytes that need not be tried again: moved, or passed over */
    int64_t due;   /* guest ns */
    Timer timer;   /* armed: the end is to be delivered at due */
    struct BlockWork *next;
} BlockWork;

struct BlockTrack {
    const Block *image;
    uint64_t parts, written;
    uint8_t *mark; /* a byte a part */
    struct BlockTrack *next;
};

struct BlockQueue {
    Device dev;
    BlockQueueConfig config;
    EventPort *port;
    pthread_mutex_t lock;
    pthread_cond_t work_came, work_ended;
    pthread_t thread[MAX_WORKERS];
    unsigned threads;
    bool stopping;
    unsigned holds;
    BlockTrack *tracks;
    uint64_t last_id;
    BlockWork *first; /* submitted and not yet delivered, in order of submission */
};

static bool overlaps(const BlockWork *a, const BlockWork *b)
{
    return a->job.offset < b->job.offset + b->job.length &&
           b->job.offset < a->job.offset + a->job.length;
}

static bool must_wait_for(const BlockWork *later, const BlockWork *earlier)
{
    if (earlier->image != later->image || earlier->stage == WORK_ENDED) {
        return false;
    }
    if (later->closing || later->job.op == BLOCK_FLUSH || !later->image->format->parallel) {
        return true;
    }
    bool writes = later->job.op == BLOCK_WRITE || later->job.op == BLOCK_DISCARD ||
                  earlier->job.op == BLOCK_WRITE || earlier->job.op == BLOCK_DISCARD;
    return writes && earlier->job.op != BLOCK_FLUSH && overlaps(later, earlier);
}

static BlockWork *next_runnable(BlockQueue *q)
{
    for (BlockWork *w = q->first; w; w = w->next) {
        bool free_to_run = w->stage == WORK_WAITING;
        for (BlockWork *before = q->first; free_to_run && before != w; before = before->next) {
            free_to_run = !must_wait_for(w, before);
        }
        if (free_to_run) {
            return w;
        }
    }
    return NULL;
}

static void unlink_work(BlockQueue *q, BlockWork *w)
{
    for (BlockWork **at = &q->first; *at; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            return;
        }
    }
}

static void free_work(BlockWork *w)
{
    timer_disarm(&w->timer);
    free(w->job.data);
    free(w);
}

static bool is_read(BlockOp op)
{
    return op == BLOCK_READ || op == BLOCK_READ_RAW;
}

/* EINVAL and EROFS are the guest's doing: no mending on the host would help. */
static bool by_guest(int error)
{
    return error == EINVAL || error == EROFS;
}

/* Bytes of the job at `from`, which are tried alone after an error. */
static uint64_t part_at(const BlockJob *job, uint64_t from)
{
    uint64_t part = job->op == BLOCK_READ_RAW ? CD_RAW_SECTOR : BLOCK_SECTOR;
    return part < job->length - from ? part : job->length - from;
}

static int transfer(const BlockWork *w, uint64_t from, uint64_t length)
{
    const BlockJob *job = &w->job;
    uint64_t offset = job->offset + from;
    switch (job->op) {
    case BLOCK_READ:
        return block_read(w->image, offset, job->data + from, (size_t)length);
    case BLOCK_WRITE:
        return block_write(w->image, offset, job->data + from, (size_t)length);
    default:
        return cd_read_raw(w->image, (uint32_t)(offset / CD_RAW_SECTOR), job->data + from,
                           (uint32_t)(length / CD_RAW_SECTOR));
    }
}

/* A job with data: all at once, or if that fails up to the part that does. */
static int move(BlockWork *w)
{
    BlockJob *job = &w->job;
    int error = transfer(w, w->from, job->length - w->from);
    if (error == 0 || by_guest(error)) {
        return error;
    }
    while (w->from < job->length) {
        uint64_t part = part_at(job, w->from);
        error = transfer(w, w->from, part);
        if (error) {
            return error;
        }
        w->from += part;
    }
    return 0;
}

static int perform(BlockWork *w)
{
    BlockJob *job = &w->job;
    if (w->closing) {
        block_close(w->image);
        return 0;
    }
    switch (job->op) {
    case BLOCK_READ:
    case BLOCK_WRITE:
    case BLOCK_READ_RAW:
        return job->data ? move(w) : ENOMEM;
    case BLOCK_FLUSH:
        return block_flush(w->image);
    default:
        return block_discard(w->image, job->offset, job->length);
    }
}

/* The event queue may be full or out of memory for a moment; an end must not get lost. */
static void post_end(BlockQueue *q, uint64_t id)
{
    while (!event_post(q->port, &id, sizeof(id))) {
        pthread_mutex_lock(&q->lock);
        bool stopping = q->stopping;
        pthread_mutex_unlock(&q->lock);
        if (stopping) {
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

/* Before a job runs and after it, so that whoever reads the image meanwhile reads it again. */
static void note_written(BlockQueue *q, const BlockWork *w)
{
    if (w->closing || w->job.length == 0 ||
        (w->job.op != BLOCK_WRITE && w->job.op != BLOCK_DISCARD)) {
        return;
    }
    for (BlockTrack *t = q->tracks; t; t = t->next) {
        uint64_t part = w->job.offset / BLOCK_TRACK_BYTES;
        uint64_t last = (w->job.offset + w->job.length - 1) / BLOCK_TRACK_BYTES;
        for (; t->image == w->image && part <= last && part < t->parts; part++) {
            t->written += !t->mark[part];
            t->mark[part] = 1;
        }
    }
}

static void *worker(void *self)
{
    BlockQueue *q = self;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        BlockWork *w = q->holds ? NULL : next_runnable(q);
        if (!w) {
            if (q->stopping) {
                break;
            }
            pthread_cond_wait(&q->work_came, &q->lock);
            continue;
        }
        w->stage = WORK_RUNNING;
        note_written(q, w);
        pthread_mutex_unlock(&q->lock);
        int error = perform(w);
        pthread_mutex_lock(&q->lock);
        note_written(q, w);
        w->job.error = error;
        w->stage = WORK_ENDED;
        uint64_t id = w->id;
        bool heard_of = !w->cancelled && !w->closing;
        if (!heard_of) {
            unlink_work(q, w);
            free_work(w);
        }
        pthread_cond_broadcast(&q->work_ended);
        pthread_cond_broadcast(&q->work_came); /* others may have waited for this one */
        if (heard_of && !q->config.deterministic) {
            pthread_mutex_unlock(&q->lock);
            post_end(q, id);
            pthread_mutex_lock(&q->lock);
        }
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* Back to the workers. The lock is held. */
static void run_again(BlockQueue *q, BlockWork *w)
{
    w->stage = WORK_WAITING;
    if (q->config.deterministic) {
        timer_arm(&w->timer, clock_now(&q->dev.board->clock) + BLOCK_DETERMINISTIC_NS);
    }
}

static BlockErrorAction ask_what_to_do(BlockQueue *q, const BlockWork *w)
{
    BlockError what = {w->device, block_path(w->image), w->job.op, w->job.error};
    const char *verb = is_read(what.op) ? "read" : "write";
    if (by_guest(what.error)) {
        log_guest("%s: '%s': %s refused: %s", what.device, what.path, verb, strerror(what.error));
        return BLOCK_ERROR_REPORT;
    }
    BlockErrorAction action =
        q->config.on_error ? q->config.on_error(q->config.self, &what) : BLOCK_ERROR_REPORT;
    if (action == BLOCK_ERROR_STOP) {
        log_error("%s: '%s': %s failed: %s", what.device, what.path, verb, strerror(what.error));
    } else { /* a guest can try it again and again */
        log_guest("%s: '%s': %s failed: %s", what.device, what.path, verb, strerror(what.error));
    }
    return action;
}

/* The job goes on behind the part that failed. False: there is nothing more to do. */
static bool pass_over(BlockQueue *q, BlockWork *w)
{
    BlockJob *job = &w->job;
    bool has_data = is_read(job->op) || job->op == BLOCK_WRITE;
    if (has_data && !job->data) {
        return false; /* no memory: there is nothing that could pass for the data */
    }
    if (has_data && w->from < job->length) {
        uint64_t part = part_at(job, w->from);
        if (is_read(job->op)) {
            memset(job->data + w->from, 0, (size_t)part);
        }
        w->from += part;
        if (w->from < job->length) {
            pthread_mutex_lock(&q->lock);
            run_again(q, w);
            pthread_cond_broadcast(&q->work_came);
            pthread_mutex_unlock(&q->lock);
            return true;
        }
    }
    job->error = 0;
    return false;
}

/* A failed job. True: it has not come to its end yet. */
static bool goes_on(BlockQueue *q, BlockWork *w)
{
    BlockJob *job = &w->job;
    uint64_t good = job->block ? w->from / job->block * job->block : 0;
    if (is_read(job->op) && good > 0) {
        job->length = good;
        job->error = 0;
        return false;
    }
    job->moved = w->from;
    switch (ask_what_to_do(q, w)) {
    case BLOCK_ERROR_STOP:
        pthread_mutex_lock(&q->lock);
        w->stage = WORK_HELD;
        pthread_mutex_unlock(&q->lock);
        return true;
    case BLOCK_ERROR_IGNORE:
        return pass_over(q, w);
    default:
        return false;
    }
}

/* Machine's thread, w has ended: tells the device, or keeps the job for another try. */
static void deliver(BlockQueue *q, BlockWork *w)
{
    if (w->job.error && goes_on(q, w)) {
        return;
    }
    pthread_mutex_lock(&q->lock);
    unlink_work(q, w);
    pthread_mutex_unlock(&q->lock);
    timer_disarm(&w->timer);
    w->done(w->self, &w->job);
    free_work(w);
}

static void heard(void *self, const void *data, size_t size)
{
    BlockQueue *q = self;
    uint64_t id;
    if (size != sizeof(id)) {
        return;
    }
    memcpy(&id, data, sizeof(id));
    pthread_mutex_lock(&q->lock);
    BlockWork *w = q->first;
    while (w && (w->id != id || w->stage != WORK_ENDED)) {
        w = w->next;
    }
    pthread_mutex_unlock(&q->lock);
    if (!w) {
        return; /* drained or cancelled meanwhile */
    }
    if (w->due > clock_now(&q->dev.board->clock)) {
        timer_arm(&w->timer, w->due);
    } else {
        deliver(q, w);
    }
}

/* A job that waits for a held one does not get on until the machine does. */
static bool stuck(BlockQueue *q)
{
    for (const BlockWork *w = q->first; w; w = w->next) {
        if (w->stage == WORK_RUNNING) {
            return false;
        }
    }
    return next_runnable(q) == NULL;
}

/* Deterministic mode: the moment of a job's end has come. */
static void timer_fired(void *self, int64_t due)
{
    BlockWork *w = self;
    BlockQueue *q = w->queue;
    pthread_mutex_lock(&q->lock);
    while ((w->stage == WORK_WAITING || w->stage == WORK_RUNNING) && !stuck(q)) {
        pthread_cond_wait(&q->work_ended, &q->lock);
    }
    bool ended = w->stage == WORK_ENDED;
    pthread_mutex_unlock(&q->lock);
    if (ended) {
        deliver(q, w);
    } else {
        timer_arm(&w->timer, due + BLOCK_DETERMINISTIC_NS); /* once the machine goes on */
    }
}

static unsigned listed(const BlockQueue *q)
{
    unsigned count = 0;
    for (const BlockWork *w = q->first; w; w = w->next) {
        count++;
    }
    return count;
}

static void submit(BlockWork *w)
{
    BlockQueue *q = w->queue;
    if (q->config.deterministic && !w->closing) {
        timer_arm(&w->timer, w->due);
    }
    pthread_mutex_lock(&q->lock);
    while (listed(q) >= MAX_JOBS && !stuck(q)) {
        pthread_cond_wait(&q->work_ended, &q->lock);
    }
    w->id = ++q->last_id;
    w->stage = WORK_WAITING;
    BlockWork **last = &q->first;
    while (*last) {
        last = &(*last)->next;
    }
    w->next = NULL;
    *last = w;
    pthread_cond_broadcast(&q->work_came);
    pthread_mutex_unlock(&q->lock);
}

static BlockWork *work_new(BlockQueue *q)
{
    BlockWork *w = calloc(1, sizeof(*w));
    if (!w) {
        abort(); /* a few hundred bytes: there is nothing left to run with */
    }
    w->queue = q;
    w->job.work = w;
    timer_init(&w->timer, &q->dev.board->clock, "block.job", timer_fired, w);
    return w;
}

BlockJob *block_job_new(BlockQueue *q, const char *device, BlockOp op, uint64_t offset,
                        uint64_t length, void (*done)(void *self, BlockJob *job), void *self)
{
    BlockWork *w = work_new(q);
    w->job.op = op;
    w->job.offset = offset;
    w->job.length = length;
    w->job.block = op == BLOCK_READ_RAW ? CD_RAW_SECTOR : BLOCK_SECTOR;
    w->device = device;
    w->done = done;
    w->self = self;
    if ((op == BLOCK_READ || op == BLOCK_WRITE || op == BLOCK_READ_RAW) &&
        length <= BLOCK_JOB_MAX) {
        w->job.data = calloc(1, length ? (size_t)length : 1);
    }
    return &w->job;
}

void block_job_submit(BlockJob *job, Block *image, int64_t due)
{
    BlockWork *w = job->work;
    int64_t now = clock_now(&w->queue->dev.board->clock);
    w->image = image;
    w->due = due;
    if (w->queue->config.deterministic && w->due < now + BLOCK_DETERMINISTIC_NS) {
        w->due = now + BLOCK_DETERMINISTIC_NS;
    }
    submit(w);
}

void block_job_resubmit(BlockJob *job, Block *image)
{
    job->work->image = image;
    submit(job->work);
}

void block_job_cancel(BlockJob *job)
{
    if (!job) {
        return;
    }
    BlockWork *w = job->work;
    BlockQueue *q = w->queue;
    timer_disarm(&w->timer);
    pthread_mutex_lock(&q->lock);
    bool over = w->stage != WORK_WAITING && w->stage != WORK_RUNNING;
    w->cancelled = !over; /* else the worker frees it */
    if (over && w->stage != WORK_NEW) {
        unlink_work(q, w);
    }
    pthread_mutex_unlock(&q->lock);
    if (over) {
        free_work(w);
    }
}

void block_job_state(BlockQueue *q, StateIo *io, const char *device, BlockJob **job,
                     uint64_t max_length, void (*done)(void *self, BlockJob *job), void *self)
{
    bool present = *job != NULL;
    BlockWork now = {0};
    if (present) { /* the parts that no worker touches */
        now.job.op = (*job)->op;
        now.job.offset = (*job)->offset;
        now.job.length = (*job)->length;
        now.due = (*job)->work->due;
    }
    unsigned op = (unsigned)now.job.op;
    state_bool(io, "job", &present);
    if (present) {
        state_enum(io, "job_op", &op, BLOCK_OPS);
        state_u64(io, "job_offset", &now.job.offset);
        state_u64(io, "job_length", &now.job.length);
        state_i64(io, "job_due", &now.due);
        state_check(io, now.job.length <= max_length && now.job.offset <= INT64_MAX,
                    "job is too large");
    }
    if (state_loading(io)) {
        block_job_cancel(*job);
        *job = NULL;
        if (!present || !state_ok(io)) {
            return;
        }
        *job = block_job_new(q, device, (BlockOp)op, now.job.offset, now.job.length, done, self);
        (*job)->work->due = now.due;
    }
    if (present && op == BLOCK_WRITE && (*job)->data) {
        state_bytes(io, "job_data", (*job)->data, (size_t)(*job)->length);
    }
}

void block_queue_retire(BlockQueue *q, Block *image)
{
    if (image) {
        BlockWork *w = work_new(q);
        w->image = image;
        w->closing = true;
        w->device = q->dev.id;
        pthread_mutex_lock(&q->lock);
        for (BlockTrack *t = q->tracks; t; t = t->next) {
            t->image = t->image == image ? NULL : t->image;
        }
        pthread_mutex_unlock(&q->lock);
        submit(w);
    }
}

void block_queue_retry(BlockQueue *q)
{
    pthread_mutex_lock(&q->lock);
    for (BlockWork *w = q->first; w; w = w->next) {
        if (w->stage == WORK_HELD) {
            w->from = 0; /* what was mended may be another file */
            run_again(q, w);
        }
    }
    pthread_cond_broadcast(&q->work_came);
    pthread_mutex_unlock(&q->lock);
}

static bool busy(const BlockQueue *q)
{
    for (const BlockWork *w = q->first; w; w = w->next) {
        if (w->stage == WORK_WAITING || w->stage == WORK_RUNNING) {
            return true;
        }
    }
    return false;
}

void block_queue_quiesce(BlockQueue *q)
{
    pthread_mutex_lock(&q->lock);
    while (busy(q) && !stuck(q)) {
        pthread_cond_wait(&q->work_ended, &q->lock);
    }
    pthread_mutex_unlock(&q->lock);
}

void block_queue_hold(BlockQueue *q)
{
    pthread_mutex_lock(&q->lock);
    q->holds++;
    pthread_mutex_unlock(&q->lock);
}

void block_queue_release(BlockQueue *q)
{
    pthread_mutex_lock(&q->lock);
    q->holds--;
    pthread_cond_broadcast(&q->work_came);
    pthread_mutex_unlock(&q->lock);
}

static bool any_running(const BlockQueue *q)
{
    for (const BlockWork *w = q->first; w; w = w->next) {
        if (w->stage == WORK_RUNNING) {
            return true;
        }
    }
    return false;
}

void block_queue_wait_running(BlockQueue *q)
{
    pthread_mutex_lock(&q->lock);
    while (any_running(q)) {
        pthread_cond_wait(&q->work_ended, &q->lock);
    }
    pthread_mutex_unlock(&q->lock);
}

BlockTrack *block_track_begin(BlockQueue *q, Block *image)
{
    BlockTrack *t = calloc(1, sizeof(*t));
    uint64_t parts = (block_size(image) + BLOCK_TRACK_BYTES - 1) / BLOCK_TRACK_BYTES;
    if (!t || !(t->mark = calloc(1, (size_t)parts + 1))) {
        free(t);
        return NULL;
    }
    t->image = image;
    t->parts = parts;
    pthread_mutex_lock(&q->lock);
    t->next = q->tracks;
    q->tracks = t;
    for (const BlockWork *w = q->first; w; w = w->next) {
        if (w->stage == WORK_RUNNING) {
            note_written(q, w); /* it began before, and ends after */
        }
    }
    pthread_mutex_unlock(&q->lock);
    return t;
}

void block_track_end(BlockQueue *q, BlockTrack *track)
{
    if (!track) {
        return;
    }
    pthread_mutex_lock(&q->lock);
    for (BlockTrack **at = &q->tracks; *at; at = &(*at)->next) {
        if (*at == track) {
            *at = track->next;
            break;
        }
    }
    pthread_mutex_unlock(&q->lock);
    free(track->mark);
    free(track);
}

bool block_track_next(BlockQueue *q, BlockTrack *track, uint64_t *part)
{
    pthread_mutex_lock(&q->lock);
    const uint8_t *mark = track->written && *part < track->parts
                              ? memchr(track->mark + *part, 1, (size_t)(track->parts - *part))
                              : NULL;
    if (mark) {
        *part = (uint64_t)(mark - track->mark);
        track->mark[*part] = 0;
        track->written--;
    }
    pthread_mutex_unlock(&q->lock);
    return mark != NULL;
}

bool block_track_find(BlockQueue *q, const BlockTrack *track, uint64_t *part)
{
    pthread_mutex_lock(&q->lock);
    const uint8_t *mark = track->written && *part < track->parts
                              ? memchr(track->mark + *part, 1, (size_t)(track->parts - *part))
                              : NULL;
    *part = mark ? (uint64_t)(mark - track->mark) : *part;
    pthread_mutex_unlock(&q->lock);
    return mark != NULL;
}

bool block_track_is_of(BlockQueue *q, const BlockTrack *track, const Block *image)
{
    pthread_mutex_lock(&q->lock);
    bool is = track && image && track->image == image;
    pthread_mutex_unlock(&q->lock);
    return is;
}

uint64_t block_track_count(BlockQueue *q, const BlockTrack *track)
{
    pthread_mutex_lock(&q->lock);
    uint64_t written = track->written;
    pthread_mutex_unlock(&q->lock);
    return written;
}

bool block_queue_drain(BlockQueue *q)
{
    for (;;) {
        block_queue_quiesce(q);
        pthread_mutex_lock(&q->lock);
        BlockWork *w = q->first;
        while (w && w->stage != WORK_ENDED) {
            w = w->next;
        }
        bool empty = q->first == NULL;
        pthread_mutex_unlock(&q->lock);
        if (!w) {
            return empty;
        }
        deliver(q, w);
    }
}

static void queue_reset(Device *d, ResetKind kind)
{
    (void)d; /* the devices cancel their own jobs */
    (void)kind;
}

static void queue_state(Device *d, StateIo *io)
{
    (void)d; /* a job's state is walked by the device whose it is */
    (void)io;
}

static void queue_destroy(Device *d)
{
    BlockQueue *q = (BlockQueue *)d;
    block_queue_retry(q);
    block_queue_quiesce(q); /* images that were retired get flushed and closed */
    pthread_mutex_lock(&q->lock);
    q->stopping = true;
    pthread_cond_broadcast(&q->work_came);
    pthread_mutex_unlock(&q->lock);
    for (unsigned i = 0; i < q->threads; i++) {
        pthread_join(q->thread[i], NULL);
    }
    event_port_close(q->port);
    while (q->first) {
        BlockWork *w = q->first;
        q->first = w->next;
        free_work(w);
    }
    pthread_cond_destroy(&q->work_came);
    pthread_cond_destroy(&q->work_ended);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

static const DeviceType queue_type = {
    .name = "block",
    .version = 1,
    .reset = queue_reset,
    .state = queue_state,
    .destroy = queue_destroy,
};

BlockQueue *block_queue_new(Board *b, const BlockQueueConfig *config, const char *id, Err *err)
{
    BlockQueue *q = calloc(1, sizeof(*q));
    if (!q) {
        err_set(err, "out of memory");
        return NULL;
    }
    q->config = *config;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->work_came, NULL);
    pthread_cond_init(&q->work_ended, NULL);
    q->port = event_port_open(b->events, id, heard, q);
    device_add(b, &q->dev, &queue_type, id);
    unsigned wanted = config->workers ? config->workers : 2;
    /* Signals are for the front end's threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (q->threads < wanted && q->threads < MAX_WORKERS &&
           pthread_create(&q->thread[q->threads], NULL, worker, q) == 0) {
        q->threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!q->port || q->threads == 0) {
        err_set(err, "the disk threads cannot be started; free some memory or processes");
        return NULL; /* the board frees it */
    }
    return q;
}
