/* Sound through SDL: pulls a machine's mixer at the host's rate. */
#ifndef UI_AUDIO_SDL_H
#define UI_AUDIO_SDL_H

#include "machine/host/mixer.h"

typedef struct AudioSdl AudioSdl;

/* NULL (with a line in the log) when the host has no sound: the machine runs on without. */
AudioSdl *audio_sdl_open(Mixer *mixer);
/* Before the mixer is freed. NULL is allowed. */
void audio_sdl_close(AudioSdl *a);
/* Of what is heard on the host alone: recordings and the guest's own mixers know nothing of it.
 * Percent, 0 to AUDIO_SDL_FULL. From any thread. */
enum { AUDIO_SDL_FULL = 100 };
void audio_sdl_set_volume(AudioSdl *a, unsigned percent);
unsigned audio_sdl_volume(const AudioSdl *a);

#endif
