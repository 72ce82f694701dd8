/* Sound cards of -device, for the table in pc_cards.c. */
#ifndef MACHINE_PC_SOUND_H
#define MACHINE_PC_SOUND_H

#include "machine/pc_cards.h"
#include "ui/value.h"

bool sound_plug_sb16(PcCards *cards, KeyValues *kv, Err *err);
bool sound_plug_adlib(PcCards *cards, KeyValues *kv, Err *err);
bool sound_plug_ac97(PcCards *cards, KeyValues *kv, Err *err);
bool sound_plug_es1370(PcCards *cards, KeyValues *kv, Err *err);
bool sound_plug_gus(PcCards *cards, KeyValues *kv, Err *err);
bool sound_plug_mpu401(PcCards *cards, KeyValues *kv, Err *err);
/* What a machine has that says nothing of sound: a Sound Blaster 16 at 220h, IRQ 5, DMA 1 and 5,
 * with its FM synthesizer and MPU-401. */
bool sound_plug_default(PcCards *cards, Err *err);

#endif
