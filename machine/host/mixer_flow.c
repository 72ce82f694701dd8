/* From guest time to the host's sound device: a ring, and a resampler whose ratio follows its fill.
 *
 * The two clocks differ by some parts in a million, which a change of pitch of at most half a
 * percent takes up unheard. A guest that cannot keep its speed fills the ring too slowly: the pitch
 * falls with it, down to a quarter, rather than the sound breaking into pieces. When the ring runs
 * dry (a paused machine) the sound fades out, and starts again when the latency is filled.
 */
#include <pthread.h>
#include <samplerate.h>
#include <stdlib.h>
#include <string.h>

#include "machine/host/mixer_internal.h"

#define DRIFT_MAX 0.005  /* relative speed that nobody hears */
#define HURRY_MAX 1.02   /* after a burst */
#define SLOWEST 0.25     /* a slower guest is heard in pieces */
#define FILL_SMOOTH 0.05 /* weight of a new reading of the fill */

enum { RING_FRAMES = 1 << 16, PIECE = 256, FADE_FRAMES = 128 };

struct MixerFlow {
    pthread_mutex_t lock;
    float *ring; /* under lock */
    uint64_t fed, pulled;
    double target;  /* frames */
    double fill;    /* smoothed, frames */
    bool playing;   /* else the ring fills up to the target first */
    SRC_STATE *src; /* the puller's */
    float piece[PIECE * 2];
    size_t piece_at, piece_frames;
    float last[2]; /* what the fade starts from */
};

MixerFlow *flow_new(unsigned hz, unsigned latency_ms)
{
    MixerFlow *f = calloc(1, sizeof(*f));
    int error;
    pthread_mutex_init(&f->lock, NULL);
    f->ring = calloc(RING_FRAMES, 2 * sizeof(*f->ring));
    f->target = (double)hz * latency_ms / 1000;
    if (f->target > RING_FRAMES / 4) {
        f->target = RING_FRAMES / 4;
    }
    f->src = src_new(SRC_SINC_FASTEST, 2, &error);
    return f;
}

void flow_free(MixerFlow *f)
{
    if (f) {
        src_delete(f->src);
        pthread_mutex_destroy(&f->lock);
        free(f->ring);
        free(f);
    }
}

void flow_feed(MixerFlow *f, const float *pairs, size_t frames)
{
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < frames; i++, f->fed++) {
        memcpy(f->ring + (f->fed % RING_FRAMES) * 2, pairs + i * 2, 2 * sizeof(*pairs));
    }
    /* far behind: nobody listens, or the host slept; keep the newest */
    if ((double)(f->fed - f->pulled) > 4 * f->target + RING_FRAMES / 8) {
        f->pulled = f->fed - (uint64_t)f->target;
    }
    pthread_mutex_unlock(&f->lock);
}

/* How fast the ring is to be emptied, 1 being the guest's own speed; 0: not at all. */
static double speed(MixerFlow *f, double fill)
{
    if (!f->playing) {
        if (fill < f->target) {
            return 0;
        }
        f->playing = true;
        f->fill = fill;
    }
    f->fill += (fill - f->fill) * FILL_SMOOTH;
    double low = f->target / 4;
    if (fill < low) {
        double slow = fill / low;
        return slow < SLOWEST ? SLOWEST : slow;
    }
    double off = (f->fill - f->target) / f->target;
    if (off > 1.5) {
        return HURRY_MAX;
    }
    return 1 + (off > 1 ? 1 : off < -1 ? -1 : off) * DRIFT_MAX;
}

static bool next_piece(MixerFlow *f)
{
    if (f->piece_frames) {
        return true;
    }
    pthread_mutex_lock(&f->lock);
    uint64_t there = f->fed - f->pulled;
    f->piece_at = 0;
    f->piece_frames = there < PIECE ? (size_t)there : PIECE;
    for (size_t i = 0; i < f->piece_frames; i++, f->pulled++) {
        memcpy(f->piece + i * 2, f->ring + (f->pulled % RING_FRAMES) * 2, 2 * sizeof(float));
    }
    pthread_mutex_unlock(&f->lock);
    return f->piece_frames != 0;
}

/* Silence without a click. */
static void fade(MixerFlow *f, float *pairs, size_t frames)
{
    for (size_t i = 0; i < frames; i++) {
        for (unsigned c = 0; c < 2; c++) {
            f->last[c] -= f->last[c] / FADE_FRAMES;
            pairs[i * 2 + c] = f->last[c];
        }
    }
}

void flow_pull(MixerFlow *f, float *pairs, size_t frames)
{
    pthread_mutex_lock(&f->lock);
    double fill = (double)(f->fed - f->pulled);
    pthread_mutex_unlock(&f->lock);
    double rate = speed(f, fill + (double)f->piece_frames);
    size_t done = 0;
    while (rate > 0 && done < frames) {
        if (!next_piece(f)) {
            f->playing = false;
            src_reset(f->src);
            break;
        }
        SRC_DATA d = {.data_in = f->piece + f->piece_at * 2,
                      .data_out = pairs + done * 2,
                      .input_frames = (long)f->piece_frames,
                      .output_frames = (long)(frames - done),
                      .src_ratio = 1 / rate};
        if (src_process(f->src, &d) != 0) {
            break;
        }
        f->piece_at += (size_t)d.input_frames_used;
        f->piece_frames -= (size_t)d.input_frames_used;
        done += (size_t)d.output_frames_gen;
    }
    if (done) {
        memcpy(f->last, pairs + (done - 1) * 2, sizeof(f->last));
    }
    fade(f, pairs + done * 2, frames - done);
}
