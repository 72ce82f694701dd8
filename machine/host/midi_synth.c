/* A General MIDI synthesizer for the mixer: FluidSynth with a sound font.
 *
 * Takes a MIDI byte stream (MIDI 1.0 Detailed Specification: running status, real-time bytes
 * anywhere, system exclusive). All calls but the first come on the mixer's thread.
 */
#include "machine/host/midi_synth.h"

#include <fluidsynth.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/core/log.h"

LOG_TAG("midi");

enum { SYSEX_ROOM = 1024, BATCH = 512 };

typedef struct MidiSynth {
    char *soundfont;
    unsigned hz;
    bool tried; /* to load; then synth is NULL when there is none */
    fluid_settings_t *settings;
    fluid_synth_t *synth;
    uint8_t status; /* running; 0: none */
    uint8_t data[2];
    unsigned have;
    bool in_sysex;
    uint8_t sysex[SYSEX_ROOM];
    size_t sysex_size; /* above SYSEX_ROOM: too long, dropped at its end */
} MidiSynth;

static const char *const known_fonts[] = {"/usr/share/sounds/sf2/TimGM6mb.sf2",
                                          "/usr/share/sounds/sf2/default-GM.sf2",
                                          "/usr/share/sounds/sf2/FluidR3_GM.sf2"};

static const char *choose_font(const MidiSynth *s)
{
    if (s->soundfont) {
        return s->soundfont;
    }
    for (unsigned i = 0; i < sizeof(known_fonts) / sizeof(known_fonts[0]); i++) {
        if (access(known_fonts[i], R_OK) == 0) {
            return known_fonts[i];
        }
    }
    return NULL;
}

static void hush(int level, const char *message, void *data)
{
    (void)level;
    (void)data;
    log_info("fluidsynth: %s", message);
}

static void load(MidiSynth *s)
{
    const char *font = choose_font(s);
    s->tried = true;
    if (!font) {
        log_warn("no sound font is installed (Debian: timgm6mb-soundfont): MIDI is silent");
        return;
    }
    for (int level = FLUID_PANIC; level < LAST_LOG_LEVEL; level++) {
        fluid_set_log_function(level, hush, NULL);
    }
    s->settings = new_fluid_settings();
    fluid_settings_setnum(s->settings, "synth.sample-rate", s->hz);
    fluid_settings_setnum(s->settings, "synth.gain", 0.5);
    fluid_settings_setint(s->settings, "synth.threadsafe-api", 0);
    fluid_settings_setint(s->settings, "synth.polyphony", 128);
    s->synth = new_fluid_synth(s->settings);
    if (!s->synth || fluid_synth_sfload(s->synth, font, 1) == FLUID_FAILED) {
        log_warn("sound font '%s' cannot be loaded: MIDI is silent", font);
        delete_fluid_synth(s->synth);
        s->synth = NULL;
    }
}

static unsigned data_bytes(uint8_t status)
{
    if (status >= 0xf0) {
        return status == 0xf2 ? 2 : status == 0xf1 || status == 0xf3 ? 1 : 0;
    }
    return (status & 0xe0) == 0xc0 ? 1 : 2;
}

static void message(MidiSynth *s)
{
    int channel = s->status & 15, a = s->data[0], b = s->data[1];
    switch (s->status >> 4) {
    case 0x8:
        fluid_synth_noteoff(s->synth, channel, a);
        break;
    case 0x9:
        if (b) {
            fluid_synth_noteon(s->synth, channel, a, b);
        } else {
            fluid_synth_noteoff(s->synth, channel, a);
        }
        break;
    case 0xa:
        fluid_synth_key_pressure(s->synth, channel, a, b);
        break;
    case 0xb:
        fluid_synth_cc(s->synth, channel, a, b);
        break;
    case 0xc:
        fluid_synth_program_change(s->synth, channel, a);
        break;
    case 0xd:
        fluid_synth_channel_pressure(s->synth, channel, a);
        break;
    case 0xe:
        fluid_synth_pitch_bend(s->synth, channel, a | b << 7);
        break;
    default: /* system common messages concern sequencers */
        break;
    }
}

static void end_sysex(MidiSynth *s)
{
    if (s->in_sysex && s->sysex_size <= SYSEX_ROOM) {
        fluid_synth_sysex(s->synth, (const char *)s->sysex, (int)s->sysex_size, NULL, NULL, NULL,
                          0);
    }
    s->in_sysex = false;
}

static void take_byte(MidiSynth *s, uint8_t byte)
{
    if (byte >= 0xf8) {
        if (byte == 0xff) {
            fluid_synth_system_reset(s->synth);
        }
        return; /* real-time messages stand anywhere, even inside others */
    }
    if (byte >= 0x80) {
        end_sysex(s);
        s->in_sysex = byte == 0xf0;
        s->sysex_size = 0;
        s->status = byte == 0xf0 || byte == 0xf7 ? 0 : byte;
        s->have = 0;
    } else if (s->in_sysex) {
        if (s->sysex_size < SYSEX_ROOM) {
            s->sysex[s->sysex_size] = byte;
        }
        s->sysex_size += s->sysex_size <= SYSEX_ROOM;
        return;
    } else if (s->status && s->have < 2) {
        s->data[s->have++] = byte;
    }
    if (s->status && s->have == data_bytes(s->status)) {
        message(s);
        s->have = 0;
        s->status = s->status >= 0xf0 ? 0 : s->status;
    }
}

static void synth_bytes(void *self, const uint8_t *data, size_t size)
{
    MidiSynth *s = self;
    if (!s->tried) {
        load(s);
    }
    for (size_t i = 0; s->synth && i < size; i++) {
        take_byte(s, data[i]);
    }
}

static void synth_render(void *self, float *pairs, size_t frames)
{
    MidiSynth *s = self;
    while (s->synth && frames) {
        float out[BATCH * 2];
        size_t part = frames < BATCH ? frames : BATCH;
        fluid_synth_write_float(s->synth, (int)part, out, 0, 2, out, 1, 2);
        for (size_t i = 0; i < part * 2; i++) {
            pairs[i] += out[i];
        }
        pairs += part * 2;
        frames -= part;
    }
}

static void synth_free(void *self)
{
    MidiSynth *s = self;
    delete_fluid_synth(s->synth);
    delete_fluid_settings(s->settings);
    free(s->soundfont);
    free(s);
}

MixerSynth midi_synth_new(const char *soundfont, unsigned hz)
{
    MidiSynth *s = calloc(1, sizeof(*s));
    s->soundfont = soundfont ? strdup(soundfont) : NULL;
    s->hz = hz;
    return (MixerSynth){synth_bytes, synth_render, synth_free, s};
}
