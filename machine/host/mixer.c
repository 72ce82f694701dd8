/* The mixer: queue, timeline, voices.
 *
 * The machine's thread only copies frames into a queue; the mixer's thread brings each voice to the
 * output's rate (libsamplerate) and adds it to a ring of frames, the timeline. Frames that are
 * older than every voice's delay are final and leave for the file or the device. Contract with the
 * voices: a push comes at most MAX_DELAY after its first frame was due.
 */
#include "machine/host/mixer.h"

#include <math.h>
#include <pthread.h>
#include <samplerate.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"
#include "machine/host/mixer_internal.h"

LOG_TAG("mixer");

#define MS INT64_C(1000000)
#define MAX_DELAY (20 * MS)      /* from a frame's time to its place in the timeline */
#define TICK (10 * MS)           /* how often the mixer is told the guest's time while it sounds */
#define RINGS_ON (60000 * MS)    /* a synthesizer without new bytes: its longest note */
#define IDLE_AFTER (5000 * MS)   /* without a push: no more ticks */
#define CONTINUOUS (1 * MS)      /* pushes nearer than this to their forerunner's end join it */
#define SKIP_SILENCE (1000 * MS) /* a device is spared longer silence than this */
#define MAX_PUSH_HZ 192000u

enum {
    MAX_VOICES = 16,
    MAX_SYNTHS = 4,
    RING_FRAMES = 1 << 18,
    QUEUE_FRAMES = 1 << 18, /* waiting in the queue, at most */
    QUEUE_ITEMS = 1 << 14,
    BATCH = 512,
    DEFAULT_HZ = 48000,
    DEFAULT_LATENCY_MS = 50,
};

typedef struct Voice {
    Mixer *mixer;
    bool open; /* machine's thread */
    /* the mixer's thread */
    SRC_STATE *src;
    bool streaming;
    uint32_t hz;
    int64_t anchor_ns; /* guest time of the stream's first frame */
    uint64_t taken;    /* frames since */
    int64_t out_at;    /* timeline frame that the next output goes to */
} Voice;

typedef struct SynthSlot {
    Mixer *mixer;
    MixerSynth synth;
    int64_t at;          /* rendered up to this frame */
    int64_t quiet_after; /* guest ns: no bytes for long, needs no rendering */
} SynthSlot;

typedef enum ItemKind { ITEM_FRAMES, ITEM_BYTES, ITEM_TIME } ItemKind;

typedef struct Item {
    struct Item *next;
    ItemKind kind;
    int64_t now; /* guest time of the push */
    Voice *voice;
    SynthSlot *synth;
    int64_t start_ns;
    uint32_t hz;
    size_t size; /* frames or bytes */
    int16_t data[];
} Item;

struct Mixer {
    MixerConfig config;
    Clock *clock;
    Timer tick;
    int64_t active_until; /* guest ns: till then something may sound */
    Voice voice[MAX_VOICES];
    SynthSlot synth[MAX_SYNTHS];
    unsigned synths;

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled, emptied;
    Item *first, **last; /* under lock */
    size_t queued, items;
    bool ending;
    bool stopped; /* machine's thread */

    /* the mixer's thread */
    int64_t origin_ns, origin_frame; /* where guest time lies on the timeline */
    int64_t horizon;                 /* latest guest time heard of */
    int64_t final;                   /* timeline frames that have left */
    float *ring;
    WavFile *wav;
    MixerFlow *flow;

    pthread_mutex_t tap_lock;
    MixerTap *tap; /* under tap_lock; NULL: nobody listens */
    void *tap_self;
};

/* --- timeline --- */

static int64_t frame_of(const Mixer *m, int64_t ns)
{
    return m->origin_frame + (int64_t)floor((double)(ns - m->origin_ns) * m->config.hz / 1e9);
}

static float *ring_at(Mixer *m, int64_t frame)
{
    return m->ring + (size_t)(frame & (RING_FRAMES - 1)) * 2;
}

/* Adds frames at `at`, leaving out what came too late or lies too far ahead. */
static void add(Mixer *m, int64_t at, const float *pairs, size_t frames)
{
    for (size_t i = 0; i < frames; i++) {
        int64_t frame = at + (int64_t)i;
        if (frame >= m->final && frame < m->final + RING_FRAMES) {
            float *to = ring_at(m, frame);
            to[0] += pairs[i * 2];
            to[1] += pairs[i * 2 + 1];
        }
    }
}

/* Through the voice's resampler; an end brings out what it holds back. */
static void resample(Voice *v, const float *in, size_t frames, bool end)
{
    float out[BATCH * 2];
    SRC_DATA d = {.data_in = in,
                  .input_frames = (long)frames,
                  .data_out = out,
                  .output_frames = BATCH,
                  .end_of_input = end,
                  .src_ratio = (double)v->mixer->config.hz / v->hz};
    do {
        if (src_process(v->src, &d) != 0) {
            return;
        }
        add(v->mixer, v->out_at, out, (size_t)d.output_frames_gen);
        v->out_at += d.output_frames_gen;
        d.data_in += d.input_frames_used * 2;
        d.input_frames -= d.input_frames_used;
    } while (d.output_frames_gen || d.input_frames > 0);
}

static void voice_end(Voice *v)
{
    if (v->streaming) {
        resample(v, (const float[2]){0, 0}, 0, true);
        v->streaming = false;
    }
}

static int64_t voice_end_ns(const Voice *v)
{
    return v->anchor_ns + (int64_t)((double)v->taken * 1e9 / v->hz);
}

static void voice_take(Voice *v, const Item *item)
{
    Mixer *m = v->mixer;
    if (v->streaming &&
        (item->hz != v->hz || llabs(item->start_ns - voice_end_ns(v)) > CONTINUOUS)) {
        voice_end(v);
    }
    if (!v->streaming) {
        int error;
        v->src = v->src ? v->src : src_new(SRC_SINC_FASTEST, 2, &error);
        if (!v->src) {
            return;
        }
        src_reset(v->src);
        v->streaming = true;
        v->hz = item->hz;
        v->anchor_ns = item->start_ns;
        v->taken = 0;
        v->out_at = frame_of(m, item->start_ns);
    }
    for (size_t done = 0; done < item->size;) {
        float in[BATCH * 2];
        size_t part = item->size - done < BATCH ? item->size - done : BATCH;
        src_short_to_float_array(item->data + done * 2, in, (int)(part * 2));
        resample(v, in, part, false);
        done += part;
    }
    v->taken += item->size;
}

static void render_synth(Mixer *m, SynthSlot *s, int64_t to)
{
    s->at = s->at < m->final ? m->final : s->at;
    while (s->at < to) {
        float out[BATCH * 2] = {0};
        size_t part = to - s->at < BATCH ? (size_t)(to - s->at) : BATCH;
        if (m->horizon < s->quiet_after) {
            s->synth.render(s->synth.self, out, part);
            add(m, s->at, out, part);
        }
        s->at += (int64_t)part;
    }
}

static void tell_tap(Mixer *m, int64_t from, const float *pairs, size_t frames)
{
    pthread_mutex_lock(&m->tap_lock);
    if (m->tap) {
        double ns = (double)(from - m->origin_frame) * 1e9 / m->config.hz;
        m->tap(m->tap_self, m->origin_ns + (int64_t)floor(ns), pairs, frames);
    }
    pthread_mutex_unlock(&m->tap_lock);
}

/* Lets all frames before `to` leave. */
static void finish(Mixer *m, int64_t to)
{
    for (unsigned i = 0; i < MAX_VOICES; i++) {
        Voice *v = &m->voice[i];
        if (v->streaming && frame_of(m, voice_end_ns(v)) < to) {
            voice_end(v);
        }
    }
    for (int64_t from = m->final; from < to; from = m->final) {
        int64_t part = to - from < BATCH ? to - from : BATCH;
        float out[BATCH * 2];
        for (unsigned i = 0; i < m->synths; i++) {
            render_synth(m, &m->synth[i], from + part);
        }
        for (int64_t i = 0; i < part; i++) {
            float *frame = ring_at(m, from + i);
            memcpy(out + i * 2, frame, 2 * sizeof(*out));
            frame[0] = frame[1] = 0;
        }
        m->final += part;
        tell_tap(m, from, out, (size_t)part);
        if (m->wav) {
            wav_write(m->wav, out, (size_t)part);
        } else {
            flow_feed(m->flow, out, (size_t)part);
        }
    }
}

/* Guest time has come to `now`. */
static void advance(Mixer *m, int64_t now)
{
    m->horizon = now > m->horizon ? now : m->horizon;
    finish(m, frame_of(m, m->horizon - MAX_DELAY));
}

/* Time made a leap since the last tick: a loaded state sets it back, silence lets it run ahead. The
 * timeline goes on all the same; a file keeps the silence. */
static void follow_leap(Mixer *m, int64_t now)
{
    if (m->wav && now - m->horizon > SKIP_SILENCE) {
        advance(m, now - SKIP_SILENCE / 2);
    } else if (now < m->horizon - CONTINUOUS || now - m->horizon > SKIP_SILENCE) {
        for (unsigned i = 0; i < MAX_VOICES; i++) {
            voice_end(&m->voice[i]);
        }
        finish(m, frame_of(m, m->horizon));
        m->origin_frame = m->final;
        m->origin_ns = m->horizon = now;
        for (unsigned i = 0; i < m->synths; i++) {
            m->synth[i].at = m->final;
        }
    }
}

/* Frames never make others final: when the host was busy, voices come one after the other, each
 * with all that it is behind. Ticks do, since timers fire in the order in which they were due. */
static void take(Mixer *m, Item *item)
{
    follow_leap(m, item->now);
    if (item->kind == ITEM_FRAMES) {
        voice_take(item->voice, item);
    } else if (item->kind == ITEM_BYTES) {
        SynthSlot *s = item->synth;
        render_synth(m, s, frame_of(m, item->now));
        s->synth.bytes(s->synth.self, (const uint8_t *)item->data, item->size);
        s->quiet_after = item->now + RINGS_ON;
    } else {
        advance(m, item->now);
    }
}

static void *run(void *self)
{
    Mixer *m = self;
    pthread_mutex_lock(&m->lock);
    while (m->first || !m->ending) {
        Item *item = m->first;
        if (!item) {
            pthread_cond_wait(&m->filled, &m->lock);
            continue;
        }
        m->first = NULL;
        m->last = &m->first;
        m->queued = m->items = 0;
        pthread_cond_signal(&m->emptied);
        pthread_mutex_unlock(&m->lock);
        while (item) {
            Item *next = item->next;
            take(m, item);
            free(item);
            item = next;
        }
        pthread_mutex_lock(&m->lock);
    }
    pthread_mutex_unlock(&m->lock);
    finish(m, frame_of(m, m->horizon));
    return NULL;
}

/* --- the machine's side --- */

/* A device never makes the machine wait: what finds no room is lost. A file gets everything. */
static void post(Mixer *m, Item *item)
{
    size_t weight = item->kind == ITEM_FRAMES ? item->size : item->size / 4;
    bool room;
    pthread_mutex_lock(&m->lock);
    while (!(room = m->queued + weight <= QUEUE_FRAMES && m->items < QUEUE_ITEMS) && m->wav) {
        pthread_cond_wait(&m->emptied, &m->lock);
    }
    if (room) {
        *m->last = item;
        m->last = &item->next;
        m->queued += weight;
        m->items++;
        pthread_cond_signal(&m->filled);
    }
    pthread_mutex_unlock(&m->lock);
    if (!room) {
        free(item);
    }
}

static void post_time(Mixer *m, int64_t now)
{
    Item *item = calloc(1, sizeof(*item));
    item->kind = ITEM_TIME;
    item->now = now;
    post(m, item);
}

static void ticked(void *self, int64_t due)
{
    Mixer *m = self;
    post_time(m, due);
    if (due < m->active_until) {
        timer_arm(&m->tick, due + TICK);
    }
}

/* Something sounds for `ns`: the mixer is to know how time goes by. */
static void keep_ticking(Mixer *m, int64_t ns)
{
    int64_t now = clock_now(m->clock);
    bool loaded_back = m->active_until > now + RINGS_ON;
    m->active_until = now + ns > m->active_until || loaded_back ? now + ns : m->active_until;
    /* an alarm far ahead was set before a state was loaded */
    if (!m->tick.armed || m->tick.due > now + 2 * TICK) {
        timer_arm(&m->tick, now + TICK);
    }
}

static void *port_open(void *mixer, const char *name)
{
    Mixer *m = mixer;
    for (unsigned i = 0; i < MAX_VOICES; i++) {
        if (!m->voice[i].open) {
            m->voice[i].open = true;
            log_info("voice %u is %s", i, name);
            return &m->voice[i];
        }
    }
    log_warn("no voice is left for %s", name);
    return NULL;
}

static void port_close(void *mixer, void *voice)
{
    Voice *v = voice;
    (void)mixer;
    if (v) {
        v->open = false;
    }
}

static void port_push(void *mixer, void *voice, int64_t start_ns, uint32_t hz, const int16_t *pairs,
                      size_t frames)
{
    Mixer *m = mixer;
    /* libsamplerate's ratios end at 256 */
    if (!voice || m->stopped || frames == 0 || frames > QUEUE_FRAMES / 2 || hz > MAX_PUSH_HZ ||
        hz * 250 < m->config.hz) {
        return;
    }
    Item *item = malloc(sizeof(*item) + frames * 2 * sizeof(*pairs));
    *item = (Item){.kind = ITEM_FRAMES,
                   .now = clock_now(m->clock),
                   .voice = voice,
                   .start_ns = start_ns,
                   .hz = hz,
                   .size = frames};
    memcpy(item->data, pairs, frames * 2 * sizeof(*pairs));
    post(m, item);
    keep_ticking(m, IDLE_AFTER);
}

static const AudioOps port_ops = {port_open, port_close, port_push};

AudioPort mixer_port(Mixer *m)
{
    return m->config.output == MIXER_NONE ? (AudioPort){0} : (AudioPort){&port_ops, m};
}

static void synth_write(void *backend, const uint8_t *data, size_t size)
{
    SynthSlot *s = backend;
    if (s->mixer->stopped || size > QUEUE_FRAMES / 2) {
        return;
    }
    Item *item = malloc(sizeof(*item) + size);
    *item = (Item){.kind = ITEM_BYTES, .now = clock_now(s->mixer->clock), .synth = s, .size = size};
    memcpy(item->data, data, size);
    post(s->mixer, item);
    keep_ticking(s->mixer, RINGS_ON);
}

static void synth_attach(void *backend, const CharSink *sink)
{
    (void)backend;
    (void)sink; /* it never speaks */
}

static void synth_ready(void *backend)
{
    (void)backend;
}

static const CharOps synth_ops = {
    .write = synth_write, .attach = synth_attach, .ready = synth_ready};

CharPort mixer_add_synth(Mixer *m, const MixerSynth *synth)
{
    if (m->config.output == MIXER_NONE || m->synths == MAX_SYNTHS) {
        synth->free(synth->self);
        return (CharPort){0};
    }
    SynthSlot *s = &m->synth[m->synths++];
    *s = (SynthSlot){.mixer = m, .synth = *synth};
    return (CharPort){&synth_ops, s};
}

unsigned mixer_hz(const Mixer *m)
{
    return m->config.hz;
}

bool mixer_wants_device(const Mixer *m)
{
    return m && m->config.output == MIXER_PULL;
}

void mixer_pull(Mixer *m, float *pairs, size_t frames)
{
    if (m->flow) {
        flow_pull(m->flow, pairs, frames);
    } else {
        memset(pairs, 0, frames * 2 * sizeof(*pairs));
    }
}

void mixer_tap(Mixer *m, MixerTap *tap, void *self)
{
    pthread_mutex_lock(&m->tap_lock);
    m->tap = tap;
    m->tap_self = self;
    pthread_mutex_unlock(&m->tap_lock);
}

/* --- life --- */

Mixer *mixer_new(Clock *clock, const MixerConfig *c, Err *err)
{
    Mixer *m = calloc(1, sizeof(*m));
    m->config = *c;
    m->config.hz = c->hz ? c->hz : DEFAULT_HZ;
    m->config.latency_ms = c->latency_ms ? c->latency_ms : DEFAULT_LATENCY_MS;
    m->clock = clock;
    m->last = &m->first;
    timer_init(&m->tick, clock, "mixer.tick", ticked, m);
    for (unsigned i = 0; i < MAX_VOICES; i++) {
        m->voice[i].mixer = m;
    }
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->tap_lock, NULL);
    pthread_cond_init(&m->filled, NULL);
    pthread_cond_init(&m->emptied, NULL);
    if (c->output == MIXER_NONE) {
        m->stopped = true;
        return m;
    }
    m->ring = calloc(RING_FRAMES, 2 * sizeof(*m->ring));
    if (c->output == MIXER_WAV && !(m->wav = wav_open(c->path, m->config.hz, err))) {
        m->stopped = true;
        mixer_free(m);
        return NULL;
    }
    if (c->output == MIXER_PULL) {
        m->flow = flow_new(m->config.hz, m->config.latency_ms);
    }
    if (pthread_create(&m->thread, NULL, run, m) != 0) {
        err_set(err, "-audiodev: no thread for the mixer");
        m->stopped = true;
        mixer_free(m);
        return NULL;
    }
    return m;
}

void mixer_stop(Mixer *m)
{
    if (!m || m->stopped) {
        return;
    }
    timer_disarm(&m->tick);
    post_time(m, clock_now(m->clock));
    m->stopped = true;
    pthread_mutex_lock(&m->lock);
    m->ending = true;
    pthread_cond_signal(&m->filled);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    wav_close(m->wav);
    m->wav = NULL;
}

void mixer_free(Mixer *m)
{
    if (!m) {
        return;
    }
    mixer_stop(m);
    for (unsigned i = 0; i < MAX_VOICES; i++) {
        if (m->voice[i].src) {
            src_delete(m->voice[i].src);
        }
    }
    for (unsigned i = 0; i < m->synths; i++) {
        m->synth[i].synth.free(m->synth[i].synth.self);
    }
    flow_free(m->flow);
    pthread_cond_destroy(&m->filled);
    pthread_cond_destroy(&m->emptied);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->tap_lock);
    free(m->ring);
    free(m);
}
