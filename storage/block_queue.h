/* The asynchronous side of the block layer: devices hand jobs to worker threads and hear of their
 * end on the machine's thread.
 *
 * One queue per board; it is a device of the board (add it before those that use it, so that it is
 * destroyed after them). A job has its own buffer, so an abandoned one harms nobody.
 *
 * Order: jobs of one image that overlap, where one of them writes, run in the order of submission;
 * a flush waits for all jobs submitted before it; nothing else is ordered. A write is safe once a
 * flush submitted after its end has ended.
 *
 * Time: normally a job's end enters through the board's event queue, no earlier than the guest time
 * the device asked for. In deterministic mode it comes at exactly that time: the machine's thread
 * waits for the worker then, so that runs repeat.
 *
 * Host errors (disk full, medium gone): the job is done again in small parts up to the one that
 * fails. A read ends short there, without an error, if it has brought anything; the next read,
 * which begins with the bad part, has the error. on_error is asked what to do: with the machine
 * stopped the job is kept, and block_queue_retry runs it again; or the device sees the error; or
 * the bad part is passed over (zeros are read), and the rest of the job goes on.
 */
#ifndef STORAGE_BLOCK_QUEUE_H
#define STORAGE_BLOCK_QUEUE_H

#include "machine/core/device.h"
#include "storage/block.h"

/* The longest job: what an ATA disk can ask for in one PRD table is cut into such pieces. */
#define BLOCK_JOB_MAX (256u * 1024)
/* Deterministic mode: what a job takes at least. */
#define BLOCK_DETERMINISTIC_NS 50000

typedef enum BlockOp {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,
    BLOCK_DISCARD,
    BLOCK_READ_RAW, /* CD: whole sectors; offset is 2352 times the first one's LBA */
    BLOCK_OPS
} BlockOp;

typedef struct BlockQueue BlockQueue;
typedef struct BlockJob BlockJob;

typedef struct BlockError {
    const char *device; /* the device's id */
    const char *path;   /* of the image */
    BlockOp op;
    int error; /* errno */
} BlockError;

typedef enum BlockErrorAction {
    BLOCK_ERROR_REPORT, /* the device sees it */
    BLOCK_ERROR_STOP,   /* the machine is stopped and will call block_queue_retry */
    BLOCK_ERROR_IGNORE  /* as if it had worked */
} BlockErrorAction;

typedef struct BlockQueueConfig {
    bool deterministic;
    unsigned workers; /* threads; 0: 2 */
    /* Machine's thread. NULL: errors go to the guest. */
    BlockErrorAction (*on_error)(void *self, const BlockError *error);
    void *self;
} BlockQueueConfig;

struct BlockJob {
    BlockOp op;
    uint64_t offset, length; /* bytes; only a discard may be longer than BLOCK_JOB_MAX. In done():
                                a read's may be less, see above */
    uint64_t block;          /* bytes: a read ends short at a multiple of this, 0: never.
                                block_job_new sets a sector; it is not in the state */
    uint8_t *data;           /* length bytes for reads and writes, zeroed when made */
    int error;               /* in done(): 0 or errno */
    uint64_t moved;          /* in done() with an error: bytes before the part that failed */
    struct BlockWork *work;  /* the queue's */
};

/* NULL and err set when threads cannot be made. */
BlockQueue *block_queue_new(Board *b, const BlockQueueConfig *config, const char *id, Err *err);

/* done(self, job) comes once on the machine's thread, unless the job is cancelled; the job is freed
 * when done returns. `device` names the owner in errors. Never NULL: no memory is reported through
 * done as ENOMEM. */
BlockJob *block_job_new(BlockQueue *q, const char *device, BlockOp op, uint64_t offset,
                        uint64_t length, void (*done)(void *self, BlockJob *job), void *self);
/* The end comes at guest time `due` (deterministic: at least BLOCK_DETERMINISTIC_NS from now) or,
 * when the host needs longer, later. The image must stay open: see block_queue_retire. */
void block_job_submit(BlockJob *job, Block *image, int64_t due);
/* The device has lost interest; a job that was submitted still runs to its end. NULL is allowed. */
void block_job_cancel(BlockJob *job);
/* State walk of a job in flight, or of none (*job NULL). After loading, the device's restored()
 * calls block_job_resubmit. A loaded job reaches at most max_length, and its range is checked on
 * submission. */
void block_job_state(BlockQueue *q, StateIo *io, const char *device, BlockJob **job,
                     uint64_t max_length, void (*done)(void *self, BlockJob *job), void *self);
void block_job_resubmit(BlockJob *job, Block *image);

/* Closes the image once its last job has ended; its writes are flushed. The device must not submit
 * to it any more. NULL is allowed. */
void block_queue_retire(BlockQueue *q, Block *image);

/* Machine's thread. Runs the jobs that on_error kept once more. */
void block_queue_retry(BlockQueue *q);
/* Machine's thread. Waits until no worker is busy; delivers nothing. Before images or state are
 * saved. */
void block_queue_quiesce(BlockQueue *q);
/* From any thread. No job begins any more until it is released; those that run go on. Snapshots
 * keep images still with it while the guest runs on. Holds are counted. */
void block_queue_hold(BlockQueue *q);
void block_queue_release(BlockQueue *q);
/* Waits until no worker runs a job; while the queue is held, or others may begin. */
void block_queue_wait_running(BlockQueue *q);

/* Which parts of an image are written, for a snapshot that copies it meanwhile. */
#define BLOCK_TRACK_BYTES 65536u /* a part */
typedef struct BlockTrack BlockTrack;
/* From any thread. NULL: no memory. */
BlockTrack *block_track_begin(BlockQueue *q, Block *image);
void block_track_end(BlockQueue *q, BlockTrack *track);
/* The first written part from *part on, which counts as unwritten from now. False: there is none.
 */
bool block_track_next(BlockQueue *q, BlockTrack *track, uint64_t *part);
uint64_t block_track_count(BlockQueue *q, const BlockTrack *track);
/* The first written part from *part on, which goes on counting as written. */
bool block_track_find(BlockQueue *q, const BlockTrack *track, uint64_t *part);
/* Is it still of this image? One that was retired meanwhile takes its tracks along. NULL: no. */
bool block_track_is_of(BlockQueue *q, const BlockTrack *track, const Block *image);

/* Machine's thread. Waits for and delivers everything, whatever its guest time. False when jobs are
 * left that on_error keeps. */
bool block_queue_drain(BlockQueue *q);

#endif
