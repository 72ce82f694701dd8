/* The mixer's end of a sound source. Each source has its own rate and is pulled or pushed in guest
 * time.
 *
 * A source opens a voice and pushes frames stamped by guest time; the mixer (ui/ or a wav file)
 * resamples and mixes on its own thread and corrects drift there. Pushing never blocks. All zero:
 * no sound; pushes vanish.
 */
#ifndef MACHINE_CORE_AUDIO_PORT_H
#define MACHINE_CORE_AUDIO_PORT_H

#include <stddef.h>
#include <stdint.h>

typedef struct AudioOps {
    /* A stereo voice; NULL when there is no room for more. */
    void *(*open)(void *mixer, const char *name);
    void (*close)(void *mixer, void *voice);
    /* `frames` stereo pairs of 16 bits at `hz`, the first of which sounds at guest time `start_ns`.
     * A gap since the last push is silence. */
    void (*push)(void *mixer, void *voice, int64_t start_ns, uint32_t hz, const int16_t *pairs,
                 size_t frames);
} AudioOps;

typedef struct AudioPort {
    const AudioOps *ops;
    void *mixer;
} AudioPort;

#define AUDIO_FULL_VOLUME 0x10000 /* a volume that leaves samples as they are */

static inline int16_t audio_clip(int64_t value)
{
    return (int16_t)(value > INT16_MAX ? INT16_MAX : value < INT16_MIN ? INT16_MIN : value);
}

static inline int16_t audio_scaled(int32_t value, uint32_t volume)
{
    return audio_clip((int64_t)value * volume / AUDIO_FULL_VOLUME);
}

#endif
