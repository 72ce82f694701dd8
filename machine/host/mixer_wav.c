/* The mixer's wav file: 16-bit stereo PCM (RIFF, Microsoft and IBM, 1991). */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"
#include "machine/host/mixer_internal.h"

LOG_TAG("wav");

enum { HEADER_BYTES = 44, PAIR_BYTES = 4, BATCH = 512 };

struct WavFile {
    FILE *file;
    unsigned hz;
    uint64_t frames;
    bool failed;
};

static void put(uint8_t *at, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> 8 * i);
    }
}

/* Sizes saturate: players read a longer file to its end. */
static bool write_header(WavFile *w)
{
    uint8_t h[HEADER_BYTES] = "RIFF    WAVEfmt ";
    uint64_t bytes = w->frames * PAIR_BYTES;
    uint32_t data = bytes > UINT32_MAX - HEADER_BYTES ? UINT32_MAX - HEADER_BYTES : (uint32_t)bytes;
    put(h + 4, data + HEADER_BYTES - 8, 4);
    put(h + 16, 16, 4);
    put(h + 20, 1, 2); /* PCM */
    put(h + 22, 2, 2); /* channels */
    put(h + 24, w->hz, 4);
    put(h + 28, w->hz * PAIR_BYTES, 4);
    put(h + 32, PAIR_BYTES, 2);
    put(h + 34, 16, 2);
    memcpy(h + 36, "data", 4);
    put(h + 40, data, 4);
    return fseeko(w->file, 0, SEEK_SET) == 0 && fwrite(h, sizeof(h), 1, w->file) == 1 &&
           fseeko(w->file, 0, SEEK_END) == 0;
}

WavFile *wav_open(const char *path, unsigned hz, Err *err)
{
    WavFile *w = calloc(1, sizeof(*w));
    w->hz = hz;
    w->file = fopen(path, "wb");
    if (!w->file || !write_header(w)) {
        err_set(err, "-audiodev wav: '%s' cannot be written: %s", path, strerror(errno));
        if (w->file) {
            fclose(w->file);
        }
        free(w);
        return NULL;
    }
    return w;
}

static void give_up(WavFile *w)
{
    if (!w->failed) {
        log_error("the recording ends here: %s", strerror(errno));
        w->failed = true;
    }
}

void wav_write(WavFile *w, const float *pairs, size_t frames)
{
    while (frames && !w->failed) {
        uint8_t out[BATCH * PAIR_BYTES];
        size_t part = frames < BATCH ? frames : BATCH;
        for (size_t i = 0; i < part * 2; i++) {
            float v = pairs[i] > 1.0f ? 1.0f : pairs[i] < -1.0f ? -1.0f : pairs[i];
            put(out + i * 2, (uint16_t)lrintf(v * 32767.0f), 2);
        }
        if (fwrite(out, PAIR_BYTES, part, w->file) != part) {
            give_up(w);
        }
        w->frames += part;
        pairs += part * 2;
        frames -= part;
    }
}

void wav_close(WavFile *w)
{
    if (!w) {
        return;
    }
    bool ok = w->failed || write_header(w);
    if (fclose(w->file) != 0 || !ok) {
        give_up(w);
    }
    free(w);
}
