/* Ears for sound tests: record what a chip pushes or a wav file holds, and judge it by spectrum,
 * level and continuity. And a sine for the chip to play. */
#ifndef TESTS_UNIT_LISTEN_H
#define TESTS_UNIT_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/core/audio_port.h"

typedef struct Ear {
    int16_t *pairs;
    size_t frames, room;
    uint32_t hz;      /* of the last push */
    int64_t start_ns; /* of the first push */
    int64_t end_ns;   /* of the last */
    unsigned breaks;  /* pushes that did not join their forerunner to half a frame */
    unsigned rates;   /* times that the rate changed */
    bool open;
} Ear;

/* Records one voice. */
AudioPort ear_port(Ear *e);
/* Forgets what was heard so far. */
void ear_clear(Ear *e);
void ear_free(Ear *e);
/* False when the file is no 16-bit stereo wav, or its sizes are wrong. */
bool ear_read_wav(Ear *e, const char *path);

/* Amplitude (0..32767) of a sine of `tone` Hz in one channel (0 left, 1 right) of a stretch. */
double ear_tone(const Ear *e, unsigned channel, double tone, size_t from, size_t frames);
double ear_rms(const Ear *e, unsigned channel, size_t from, size_t frames);
/* The longest run of frames that are all below `level`, within a stretch. */
size_t ear_longest_quiet(const Ear *e, int level, size_t from, size_t frames);

/* Writes a sine of amplitude 20,000 as 16-bit stereo, both sides alike; period: in frames. */
void ear_put_sine(uint8_t *at, unsigned frames, double period);

#endif
