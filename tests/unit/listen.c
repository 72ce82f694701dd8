/* Ears for sound tests. */
#include "tests/unit/listen.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *ear_open(void *mixer, const char *name)
{
    Ear *e = mixer;
    (void)name;
    e->open = true;
    return e;
}

static void ear_close(void *mixer, void *voice)
{
    Ear *e = voice;
    (void)mixer;
    e->open = false;
}

static void hear(Ear *e, const int16_t *pairs, size_t frames)
{
    if (e->frames + frames > e->room) {
        e->room = (e->frames + frames) * 2;
        e->pairs = realloc(e->pairs, e->room * 2 * sizeof(*e->pairs));
    }
    memcpy(e->pairs + e->frames * 2, pairs, frames * 2 * sizeof(*pairs));
    e->frames += frames;
}

static void ear_push(void *mixer, void *voice, int64_t start_ns, uint32_t hz, const int16_t *pairs,
                     size_t frames)
{
    Ear *e = voice;
    (void)mixer;
    if (e->frames == 0) {
        e->start_ns = start_ns;
    } else {
        e->breaks += llabs(start_ns - e->end_ns) > 500000000 / hz;
        e->rates += hz != e->hz;
    }
    e->hz = hz;
    e->end_ns = start_ns + (int64_t)((double)frames * 1e9 / hz);
    hear(e, pairs, frames);
}

static const AudioOps ear_ops = {ear_open, ear_close, ear_push};

AudioPort ear_port(Ear *e)
{
    memset(e, 0, sizeof(*e));
    return (AudioPort){&ear_ops, e};
}

void ear_clear(Ear *e)
{
    e->frames = 0;
    e->breaks = e->rates = 0;
}

void ear_free(Ear *e)
{
    free(e->pairs);
    memset(e, 0, sizeof(*e));
}

static uint32_t number(const uint8_t *at)
{
    return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

bool ear_read_wav(Ear *e, const char *path)
{
    uint8_t h[44];
    int16_t pairs[1024];
    memset(e, 0, sizeof(*e));
    FILE *file = fopen(path, "rb");
    bool ok = file && fread(h, sizeof(h), 1, file) == 1 && memcmp(h, "RIFF", 4) == 0 &&
              memcmp(h + 8, "WAVEfmt ", 8) == 0 && h[22] == 2 && h[34] == 16;
    e->hz = ok ? number(h + 24) : 0;
    for (size_t n; ok && (n = fread(pairs, 4, 512, file)) > 0;) {
        hear(e, pairs, n);
    }
    ok = ok && number(h + 40) == e->frames * 4 && number(h + 4) == e->frames * 4 + 36;
    if (file) {
        fclose(file);
    }
    return ok;
}

double ear_tone(const Ear *e, unsigned channel, double tone, size_t from, size_t frames)
{
    double re = 0, im = 0, weights = 0;
    for (size_t i = 0; i < frames && from + i < e->frames; i++) {
        double angle = 2 * M_PI * tone * (double)i / e->hz;
        double window = 0.5 - 0.5 * cos(2 * M_PI * (double)i / (double)frames);
        double v = e->pairs[(from + i) * 2 + channel] * window;
        re += v * cos(angle);
        im += v * sin(angle);
        weights += window;
    }
    return weights > 0 ? 2 * hypot(re, im) / weights : 0;
}

double ear_rms(const Ear *e, unsigned channel, size_t from, size_t frames)
{
    double sum = 0;
    size_t n = 0;
    for (; n < frames && from + n < e->frames; n++) {
        double v = e->pairs[(from + n) * 2 + channel];
        sum += v * v;
    }
    return n ? sqrt(sum / (double)n) : 0;
}

size_t ear_longest_quiet(const Ear *e, int level, size_t from, size_t frames)
{
    size_t longest = 0, run = 0;
    for (size_t i = from; i < from + frames && i < e->frames; i++) {
        bool quiet = abs(e->pairs[i * 2]) < level && abs(e->pairs[i * 2 + 1]) < level;
        run = quiet ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

void ear_put_sine(uint8_t *at, unsigned frames, double period)
{
    for (unsigned i = 0; i < frames; i++) {
        int v = (int)lrint(20000 * sin(2 * M_PI * i / period));
        for (unsigned side = 0; side < 2; side++) {
            *at++ = (uint8_t)v;
            *at++ = (uint8_t)(v >> 8);
        }
    }
}
