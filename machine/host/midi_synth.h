/* A General MIDI synthesizer for the mixer: FluidSynth with a sound font. */
#ifndef MACHINE_HOST_MIDI_SYNTH_H
#define MACHINE_HOST_MIDI_SYNTH_H

#include "machine/host/mixer.h"

/* `soundfont` NULL: Debian's timgm6mb-soundfont. It is loaded at the first note; without one the
 * synthesizer is silent and says so once in the log. */
MixerSynth midi_synth_new(const char *soundfont, unsigned hz);

#endif
