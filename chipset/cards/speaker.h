/* The PC speaker: OUT of timer 2 AND bit 1 of port 61h (IBM PC AT Technical Reference, 1502243). */
#ifndef CHIPSET_CARDS_SPEAKER_H
#define CHIPSET_CARDS_SPEAKER_H

#include "machine/core/audio_port.h"
#include "machine/core/device.h"
#include "machine/core/line.h"

typedef struct Speaker Speaker;

typedef struct SpeakerConfig {
    AudioPort audio;
    /* OUT2 at a tick of the timer's clock (since guest time 0), and the tick at which it changes
     * next by itself (0: never). */
    bool (*wave)(void *timer, uint64_t tick, uint64_t *change);
    void *timer;
    uint32_t timer_hz;
} SpeakerConfig;

Speaker *speaker_new(Board *b, const SpeakerConfig *config, const char *id);
/* Input: the speaker data bit of port 61h. */
Line speaker_gate(Speaker *s);
/* The timer calls this before it changes OUT's course. */
void speaker_before_change(void *speaker);

#endif
