/* Sound through SDL: pulls a machine's mixer at the host's rate.
 *
 * SDL calls back on a thread of its own; all that is done there is mixer_pull.
 */
#include "ui/audio_sdl.h"

#include <SDL.h>
#include <stdlib.h>

#include "machine/core/log.h"

LOG_TAG("sdl");

enum { BUFFER_FRAMES = 512 }; /* the device's own share of the latency: 11 ms at 48 kHz */

struct AudioSdl {
    SDL_AudioDeviceID device;
    Mixer *mixer;
};

static void fill(void *self, Uint8 *stream, int bytes)
{
    AudioSdl *a = self;
    mixer_pull(a->mixer, (float *)(void *)stream, (size_t)bytes / (2 * sizeof(float)));
}

AudioSdl *audio_sdl_open(Mixer *mixer)
{
    if (SDL_InitSubSystem(SDL_INIT_AUDIO) != 0) {
        log_warn("no sound: %s", SDL_GetError());
        return NULL;
    }
    AudioSdl *a = calloc(1, sizeof(*a));
    SDL_AudioSpec want = {.freq = (int)mixer_hz(mixer),
                          .format = AUDIO_F32SYS,
                          .channels = 2,
                          .samples = BUFFER_FRAMES,
                          .callback = fill,
                          .userdata = a};
    a->mixer = mixer;
    a->device = SDL_OpenAudioDevice(NULL, 0, &want, NULL, 0);
    if (!a->device) {
        log_warn("no sound: %s", SDL_GetError());
        SDL_QuitSubSystem(SDL_INIT_AUDIO);
        free(a);
        return NULL;
    }
    SDL_PauseAudioDevice(a->device, 0);
    return a;
}

void audio_sdl_close(AudioSdl *a)
{
    if (a) {
        SDL_CloseAudioDevice(a->device);
        SDL_QuitSubSystem(SDL_INIT_AUDIO);
        free(a);
    }
}
