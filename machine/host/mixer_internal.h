/* What the files of the mixer share: the end of the timeline. */
#ifndef MACHINE_HOST_MIXER_INTERNAL_H
#define MACHINE_HOST_MIXER_INTERNAL_H

#include "machine/host/mixer.h"

/* A wav file of 16 bits, two channels; its header is right after each flush. */
typedef struct WavFile WavFile;
WavFile *wav_open(const char *path, unsigned hz, Err *err);
void wav_write(WavFile *w, const float *pairs, size_t frames);
void wav_close(WavFile *w);

/* Between the mixer's thread, which feeds frames of guest time, and the sound device's, which pulls
 * them in host time. */
typedef struct MixerFlow MixerFlow;
MixerFlow *flow_new(unsigned hz, unsigned latency_ms);
void flow_free(MixerFlow *f);
void flow_feed(MixerFlow *f, const float *pairs, size_t frames);
void flow_pull(MixerFlow *f, float *pairs, size_t frames);

#endif
