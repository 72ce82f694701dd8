/* A video file by FFmpeg's libraries: frames and sound in, a finished file out. One thread. */
#ifndef UI_RECORD_AV_H
#define UI_RECORD_AV_H

#include "ui/record.h"

typedef struct RecordAv RecordAv;

/* first: the picture whose size and shape the video has when the configuration leaves them open.
 * hz: of the sound, 0: none. NULL with err set. */
RecordAv *record_av_open(const RecordConfig *c, const Picture *first, unsigned hz, Err *err);
/* Must every frame be given? Else those left out show the one before. */
bool record_av_needs_all(const RecordAv *v);
/* Frame `index`, ascending. changed: not the picture of the frame before. */
bool record_av_frame(RecordAv *v, const Picture *picture, bool changed, int64_t index, Err *err);
/* The next frames of sound, pairs at full scale 1. */
bool record_av_sound(RecordAv *v, const float *pairs, size_t frames, Err *err);
/* Is there sound in the file? */
bool record_av_has_sound(const RecordAv *v);
/* Completes the file, and frees. */
bool record_av_close(RecordAv *v, Err *err);

#endif
