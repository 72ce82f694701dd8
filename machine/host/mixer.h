/* The mixer: all voices of one machine, resampled in guest time and mixed on a thread of its own.
 *
 * Voices and synthesizers are placed on one timeline that counts output frames of guest time; what
 * nobody pushes is silence. A wav file gets that timeline as it is. A sound device pulls it at the
 * host's rate, through a second resampler that keeps the fill at the wanted latency: it corrects
 * slow drift inaudibly, follows a guest that runs below its speed, and falls silent when the guest
 * is paused.
 */
#ifndef MACHINE_HOST_MIXER_H
#define MACHINE_HOST_MIXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/core/audio_port.h"
#include "machine/core/char_port.h"
#include "machine/core/clock.h"
#include "machine/core/err.h"

typedef enum MixerOutput { MIXER_NONE, MIXER_WAV, MIXER_PULL } MixerOutput;

typedef struct MixerConfig {
    MixerOutput output;
    char path[1024];     /* wav */
    unsigned hz;         /* 8000..192000; 0: 48000 */
    unsigned latency_ms; /* 10..1000 between guest and ear, without the device's own buffer */
} MixerConfig;

/* A sound source that runs on the mixer's thread, fed by bytes (MIDI). */
typedef struct MixerSynth {
    void (*bytes)(void *self, const uint8_t *data, size_t size);
    /* Adds its next frames (stereo pairs, full scale is 1). */
    void (*render)(void *self, float *pairs, size_t frames);
    void (*free)(void *self);
    void *self;
} MixerSynth;

typedef struct Mixer Mixer;

/* QEMU's -audiodev: "none", "wav,path=FILE", "sdl"; with id=, out.frequency=, out.buffer-length=
 * (microseconds), latency= (milliseconds). NULL is none. */
bool mixer_parse(const char *audiodev, MixerConfig *c, Err *err);
/* Opens the file and starts the thread. `clock` is the machine's. NULL with err set on failure. */
Mixer *mixer_new(Clock *clock, const MixerConfig *c, Err *err);
/* Machine's thread, or after its end and before the clock's: the last word. A wav file is complete
 * up to now. */
void mixer_stop(Mixer *m);
/* After mixer_stop, and after the devices that push. NULL is allowed. */
void mixer_free(Mixer *m);
/* All zero when the output is none. */
AudioPort mixer_port(Mixer *m);
/* What is written to the port sounds at the guest time of the write. At most 4 synthesizers; the
 * mixer owns and frees them. All zero when the output is none (the synth is freed at once). */
CharPort mixer_add_synth(Mixer *m, const MixerSynth *synth);

unsigned mixer_hz(const Mixer *m);
/* Is a sound device to be opened for it? Not when it is NULL. */
bool mixer_wants_device(const Mixer *m);
/* Output MIXER_PULL, from any one thread: fills `frames` pairs, always. */
void mixer_pull(Mixer *m, float *pairs, size_t frames);

/* What a recording hears: frames of the timeline as they leave, with the guest time of the first
 * one. Long silence may be left out. Called on the mixer's thread; must not call back. */
typedef void MixerTap(void *self, int64_t at_ns, const float *pairs, size_t frames);
/* Any thread; NULL: no more calls come after it returns. One at a time. */
void mixer_tap(Mixer *m, MixerTap *tap, void *self);

#endif
