/* Sound through SDL: pulls a machine's mixer at the host's rate.
 *
 * SDL calls back on a thread of its own; all that is done there is mixer_pull.
 */
#include "ui/audio_sdl.h"

#include <SDL.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "machine/core/log.h"

LOG_TAG("sdl");

enum { BUFFER_FRAMES = 512 }; /* the device's own share of the latency: 11 ms at 48 kHz */

struct AudioSdl {
    SDL_AudioDeviceID device;
    Mixer *mixer;
    atomic_uint volume; /* percent */
};

static void fill(void *self, Uint8 *stream, int bytes)
{
    AudioSdl *a = self;
    float *samples = (float *)(void *)stream;
    size_t count = (size_t)bytes / sizeof(float);
    unsigned volume = atomic_load(&a->volume);
    mixer_pull(a->mixer, samples, count / 2);
    for (size_t i = 0; volume != AUDIO_SDL_FULL && i < count; i++) {
        samples[i] *= (float)volume / AUDIO_SDL_FULL;
    }
}

void audio_sdl_set_volume(AudioSdl *a, unsigned percent)
{
    atomic_store(&a->volume, percent < AUDIO_SDL_FULL ? percent : AUDIO_SDL_FULL);
}

unsigned audio_sdl_volume(const AudioSdl *a)
{
    return atomic_load(&a->volume);
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
    atomic_init(&a->volume, AUDIO_SDL_FULL);
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
