/* Recording of a machine to a video file, on a thread of its own, in guest time.
 *
 * The file has a constant rate of frames and lasts as long as the guest's time did: pauses are cut
 * out, and the machine never waits for the encoder.
 */
#ifndef UI_RECORD_H
#define UI_RECORD_H

#include "machine/machine.h"

enum { RECORD_PATH = 1024, RECORD_FPS = 30, RECORD_MAX_FPS = 120 };

typedef struct RecordConfig {
    char file[RECORD_PATH]; /* .mkv, .mp4, .mov, .avi, or .png: a numbered sequence of pictures */
    unsigned fps;           /* 1..RECORD_MAX_FPS; 0: RECORD_FPS */
    unsigned width, height; /* of the video, 16..SCREEN_MAX_*; 0: the guest's at the start */
} RecordConfig;

/* FILE[,fps=N][,size=WxH] */
bool record_parse(const char *spec, RecordConfig *c, Err *err);

typedef struct Recorder Recorder;

typedef struct RecordStatus {
    bool running;
    char file[RECORD_PATH]; /* of this recording, or of the last one; empty: none yet */
    uint64_t frames;
    double seconds;
} RecordStatus;

/* NULL when memory is short. All calls may come from any thread, start after machine_start. */
Recorder *recorder_new(Machine *m);
/* Ends the recording. Call it before machine_free. NULL is allowed. */
void recorder_free(Recorder *r);
bool recorder_start(Recorder *r, const RecordConfig *c, Err *err);
/* Completes the file. False with err set when none was running or it could not be written. */
bool recorder_stop(Recorder *r, Err *err);
RecordStatus recorder_status(Recorder *r);
bool recorder_running(Recorder *r);

#endif
