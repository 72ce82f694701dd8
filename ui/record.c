/* When a recording takes its frames: the recorder's thread, guest time, and the sound's ring.
 *
 * The thread wakes once a frame, asks the machine for its time, and gives the encoder as many
 * frames as have become due. Time that is set back or leaps (a state was loaded) is taken as one
 * frame's worth. Sound comes from the mixer's thread with its guest time and is laid into a ring,
 * so that silence, which nobody sends, lies between.
 */
#include "ui/record.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"
#include "machine/host/host_time.h"
#include "machine/host/mixer.h"
#include "ui/record_av.h"
#include "ui/value.h"

LOG_TAG("record");

#define S INT64_C(1000000000)
#define LEAP (60 * S)                 /* guest time does not go on by so much between two looks */
#define SOUND_DELAY (S / 5)           /* the mixer's sound is complete so long after its time */
#define SOUND_RING ((int64_t)1 << 18) /* frames */
#define SOUND_JITTER 2 /* frames; sound that begins so near to what was before joins it */

enum { SOUND_PIECE = 512 };

struct Recorder {
    Machine *machine;
    pthread_mutex_t control; /* one start or stop at a time */
    pthread_mutex_t lock;    /* guards what follows up to the blank line */
    pthread_cond_t wake;
    bool ending;
    RecordStatus status;
    Err error;           /* what went wrong while it ran */
    int64_t zero;        /* guest time of the recording's beginning, moved by leaps */
    float *ring;         /* NULL: no sound is taken */
    int64_t sound_taken; /* frames given to the encoder: the ring's begin */
    int64_t sound_next;  /* where the last sound ended */

    bool open; /* control's: the thread and the file are there */
    pthread_t thread;
    RecordAv *av; /* the thread's */
    Picture picture;
    int64_t last; /* guest time of the last look */
    int64_t next; /* frame */
    unsigned fps, hz;
};

bool record_parse(const char *spec, RecordConfig *c, Err *err)
{
    KeyValues kv;
    uint32_t fps = 0;
    char rest;
    memset(c, 0, sizeof(*c));
    bool ok = value_split(&kv, "record", spec, "file", err) &&
              value_number(&kv, "fps", 1, RECORD_MAX_FPS, &fps, err);
    const char *file = ok ? value_find(&kv, "file") : NULL;
    const char *size = ok ? value_find(&kv, "size") : NULL;
    c->fps = fps;
    if (ok && (!file || !*file || strlen(file) >= sizeof(c->file))) {
        ok = err_set(err, "-record: name a file: -record FILE.mkv");
    }
    if (ok && size &&
        (sscanf(size, "%4ux%4u%c", &c->width, &c->height, &rest) != 2 || c->width < 16 ||
         c->height < 16 || c->width > SCREEN_MAX_WIDTH || c->height > SCREEN_MAX_HEIGHT)) {
        ok = err_set(err, "-record: size=%s: use WIDTHxHEIGHT, from 16x16 to %ux%u", size,
                     SCREEN_MAX_WIDTH, SCREEN_MAX_HEIGHT);
    }
    ok = ok && value_all_used(&kv, "file, fps, size", err);
    if (ok) {
        strcpy(c->file, file); /* its length was checked */
    }
    value_free(&kv);
    return ok;
}

Recorder *recorder_new(Machine *m)
{
    Recorder *r = calloc(1, sizeof(*r));
    pthread_condattr_t monotonic;
    if (!r) {
        return NULL;
    }
    r->machine = m;
    pthread_mutex_init(&r->control, NULL);
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return r;
}

/* ---- sound ---- */

/* Mixer's thread. */
static void hear(void *self, int64_t at_ns, const float *pairs, size_t frames)
{
    Recorder *r = self;
    pthread_mutex_lock(&r->lock);
    double seconds = (double)(at_ns - r->zero) / 1e9;
    int64_t at = (int64_t)(seconds * r->hz);
    if (llabs(at - r->sound_next) <= SOUND_JITTER) {
        at = r->sound_next;
    }
    for (size_t i = 0; r->ring && i < frames; i++, at++) {
        if (at >= r->sound_taken && at < r->sound_taken + SOUND_RING) {
            memcpy(r->ring + 2 * (at % SOUND_RING), pairs + 2 * i, 2 * sizeof(*pairs));
        }
    }
    r->sound_next = at;
    pthread_mutex_unlock(&r->lock);
}

/* Gives the encoder the sound up to a time of the recording. */
static bool take_sound(Recorder *r, int64_t until_ns, Err *err)
{
    int64_t until = (int64_t)((double)until_ns / 1e9 * r->hz);
    float piece[2 * SOUND_PIECE];
    bool ok = true;
    while (ok && r->ring && r->sound_taken < until) {
        int64_t n = until - r->sound_taken < SOUND_PIECE ? until - r->sound_taken : SOUND_PIECE;
        pthread_mutex_lock(&r->lock);
        for (int64_t i = 0; i < n; i++) {
            float *from = r->ring + 2 * ((r->sound_taken + i) % SOUND_RING);
            memcpy(piece + 2 * i, from, 2 * sizeof(*from));
            from[0] = from[1] = 0;
        }
        r->sound_taken += n;
        pthread_mutex_unlock(&r->lock);
        ok = record_av_sound(r->av, piece, (size_t)n, err);
    }
    return ok;
}

static void begin_sound(Recorder *r)
{
    if (record_av_has_sound(r->av)) {
        r->ring = calloc((size_t)SOUND_RING, 2 * sizeof(*r->ring));
        r->sound_taken = r->sound_next = 0;
    }
    if (r->ring) {
        mixer_tap(machine_mixer(r->machine), hear, r);
    }
}

static void end_sound(Recorder *r)
{
    if (r->ring) {
        mixer_tap(machine_mixer(r->machine), NULL, NULL);
    }
    pthread_mutex_lock(&r->lock);
    free(r->ring);
    r->ring = NULL;
    pthread_mutex_unlock(&r->lock);
}

/* ---- frames ---- */

/* How long the recording is now, in ns of guest time. */
static int64_t look_at_clock(Recorder *r)
{
    int64_t now = machine_time(r->machine);
    if (now < r->last || now > r->last + LEAP) {
        pthread_mutex_lock(&r->lock);
        r->zero += now - r->last - S / r->fps;
        pthread_mutex_unlock(&r->lock);
    }
    r->last = now;
    return now - r->zero;
}

/* Writes what has become due. */
static bool take(Recorder *r, Err *err)
{
    int64_t length = look_at_clock(r);
    int64_t due = (int64_t)((double)length / 1e9 * r->fps) + 1; /* frames */
    bool changed =
        due > r->next && (screen_read(machine_screen(r->machine), &r->picture) || r->next == 0);
    bool ok = true;
    if (due > r->next + r->fps && !record_av_needs_all(r->av)) {
        r->next = due - 1; /* the host was busy, or idle time flew: the last frame stays longer */
    }
    for (; ok && r->next < due; r->next++) {
        ok = record_av_frame(r->av, &r->picture, changed, r->next, err);
        changed = false;
    }
    ok = ok && take_sound(r, length - SOUND_DELAY, err);
    pthread_mutex_lock(&r->lock);
    r->status.frames = (uint64_t)r->next;
    r->status.seconds = (double)r->next / r->fps;
    pthread_mutex_unlock(&r->lock);
    return ok;
}

/* Sleeps for a frame; false: the recording is to end. */
static bool sleep_a_frame(Recorder *r, int64_t *when)
{
    int64_t now = host_time_ns();
    *when += S / r->fps;
    *when = *when < now ? now : *when;
    struct timespec until = {*when / S, *when % S};
    pthread_mutex_lock(&r->lock);
    int waited = 0;
    while (!r->ending && waited == 0) {
        waited = pthread_cond_timedwait(&r->wake, &r->lock, &until);
    }
    bool goes_on = !r->ending;
    pthread_mutex_unlock(&r->lock);
    return goes_on;
}

static void *run(void *self)
{
    Recorder *r = self;
    Err err = {{0}};
    int64_t when = host_time_ns();
    bool ok;
    do {
        ok = take(r, &err);
    } while (ok && sleep_a_frame(r, &when));
    ok = ok && take(r, &err) && take_sound(r, r->next * S / r->fps, &err);
    end_sound(r);
    if (!ok) {
        log_error("%s", err.text);
    }
    pthread_mutex_lock(&r->lock);
    r->status.running = false;
    r->error = err;
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- control ---- */

/* The thread's end, then the file's. Under control. */
static bool finish(Recorder *r, Err *err)
{
    pthread_mutex_lock(&r->lock);
    r->ending = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    r->open = false;
    Err last = r->error;
    bool ok = record_av_close(r->av, last.text[0] ? &(Err){{0}} : &last) && !last.text[0];
    r->av = NULL;
    picture_free(&r->picture);
    memset(&r->picture, 0, sizeof(r->picture));
    return ok || err_set(err, "%s", last.text);
}

static bool begin(Recorder *r, const RecordConfig *c, Err *err)
{
    Mixer *mixer = machine_mixer(r->machine);
    r->hz = mixer && mixer_port(mixer).ops ? mixer_hz(mixer) : 0;
    r->fps = c->fps ? c->fps : RECORD_FPS;
    screen_read(machine_screen(r->machine), &r->picture);
    r->av = record_av_open(c, &r->picture, r->hz, err);
    if (!r->av) {
        picture_free(&r->picture);
        memset(&r->picture, 0, sizeof(r->picture));
        return false;
    }
    int64_t now = machine_time(r->machine);
    pthread_mutex_lock(&r->lock);
    r->ending = false;
    r->error = (Err){{0}};
    r->zero = r->last = now;
    r->next = 0;
    r->status = (RecordStatus){.running = true};
    memcpy(r->status.file, c->file, sizeof(r->status.file));
    pthread_mutex_unlock(&r->lock);
    begin_sound(r);
    if (pthread_create(&r->thread, NULL, run, r) != 0) {
        end_sound(r);
        record_av_close(r->av, &(Err){{0}});
        pthread_mutex_lock(&r->lock);
        r->status.running = false;
        pthread_mutex_unlock(&r->lock);
        return err_set(err, "no thread for the recording");
    }
    r->open = true;
    return true;
}

bool recorder_start(Recorder *r, const RecordConfig *c, Err *err)
{
    bool ok = true;
    pthread_mutex_lock(&r->control);
    if (r->open && recorder_running(r)) {
        ok = err_set(err, "a recording runs already, into '%s'; stop it first", r->status.file);
    } else if (r->open) {
        finish(r, &(Err){{0}}); /* it had failed, which was said */
    }
    ok = ok && begin(r, c, err);
    pthread_mutex_unlock(&r->control);
    return ok;
}

bool recorder_stop(Recorder *r, Err *err)
{
    pthread_mutex_lock(&r->control);
    bool ok = r->open ? finish(r, err) : err_set(err, "no recording runs");
    pthread_mutex_unlock(&r->control);
    return ok;
}

RecordStatus recorder_status(Recorder *r)
{
    pthread_mutex_lock(&r->lock);
    RecordStatus status = r->status;
    pthread_mutex_unlock(&r->lock);
    return status;
}

bool recorder_running(Recorder *r)
{
    pthread_mutex_lock(&r->lock);
    bool running = r->status.running;
    pthread_mutex_unlock(&r->lock);
    return running;
}

void recorder_free(Recorder *r)
{
    Err err = {{0}};
    if (!r) {
        return;
    }
    if (r->open && !recorder_stop(r, &err)) {
        log_error("%s", err.text);
    }
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->control);
    free(r);
}
