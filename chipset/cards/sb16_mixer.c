/* Sound Blaster mixers: CT1345 (Pro) and CT1745 (16).
 *
 * Source: Creative, Sound Blaster Series Hardware Programming Guide, chapter 4. Volumes act on the
 * voice (DSP), the FM synthesizer and the CD; the other inputs have registers only. The 1.0 and 2.0
 * have no mixer. The amplifier behind the mixer is part of the volumes here: defaults sound as loud
 * as the card does, and nothing is amplified beyond what the source gives (twice that for FM).
 *
 * QUIRK: after power-on the CD is as loud as the voice, where the cards mute it, since many DOS
 * games play CD tracks and leave the mixer to a utility of Creative's in AUTOEXEC.BAT.
 */
#include <math.h>
#include <string.h>

#include "chipset/cards/sb16_internal.h"

enum {
    MIX_RESET = 0x00,
    MIX_PRO_VOICE = 0x04,
    MIX_PRO_MIC = 0x0a,
    MIX_PRO_MASTER = 0x22,
    MIX_PRO_FM = 0x26,
    MIX_PRO_CD = 0x28,
    MIX_PRO_LINE = 0x2e,
    MIX_MASTER = 0x30,
    MIX_VOICE = 0x32,
    MIX_FM = 0x34,
    MIX_CD = 0x36,
    MIX_LINE = 0x38,
    MIX_MIC = 0x3a,
    MIX_OUTPUTS = 0x3c, /* switches: bits 2 and 1 the CD's sides */
    MIX_IRQ = 0x80,
    MIX_DMA = 0x81,
    MIX_IRQ_STATUS = 0x82,
    VERSION_BITS = 0x20, /* of the status on a DSP 4.05 */
};

#define STEP_DB 2.0
#define VOICE_AMPLIFIER 5.0 /* 14 dB: two volumes at their default of -14 dB */
#define FM_AMPLIFIER 10.0
#define UNITY 65536.0

/* 0..31 in steps of 2 dB. */
static double factor(unsigned level)
{
    return pow(10, -STEP_DB * (31 - level) / 20);
}

static unsigned level16(const Sb16 *s, unsigned index)
{
    return s->g.mixer[index] >> 3;
}

/* Three bits of a register of the Pro, as one of 32 levels: their default is as loud as the 16's.
 */
static unsigned level_pro(const Sb16 *s, unsigned index, bool right)
{
    unsigned nibble = right ? s->g.mixer[index] & 15 : s->g.mixer[index] >> 4;
    unsigned level = nibble >> 1;
    return level ? 31 - (7 - level) * 7 / 3 : 0;
}

static uint32_t loudness(double value, double most)
{
    return (uint32_t)((value > most ? most : value) * UNITY);
}

void sb16_mixer_apply(Sb16 *s)
{
    uint32_t fm[2], cd[2];
    for (unsigned side = 0; side < 2; side++) {
        unsigned master = 31, voice = 31, synth = 31, disc = 31;
        if (s->config.model == SB_16) {
            master = level16(s, MIX_MASTER + side);
            voice = level16(s, MIX_VOICE + side);
            synth = level16(s, MIX_FM + side);
            disc = level16(s, MIX_CD + side);
        } else if (s->config.model == SB_PRO) {
            master = level_pro(s, MIX_PRO_MASTER, side);
            voice = level_pro(s, MIX_PRO_VOICE, side);
            synth = level_pro(s, MIX_PRO_FM, side);
            disc = level_pro(s, MIX_PRO_CD, side);
        }
        s->volume[side] = loudness(factor(master) * factor(voice) * VOICE_AMPLIFIER, 1);
        cd[side] = loudness(factor(master) * factor(disc) * VOICE_AMPLIFIER, 1);
        if (s->config.model == SB_16 && !(s->g.mixer[MIX_OUTPUTS] & (side ? 2 : 4))) {
            cd[side] = 0;
        }
        fm[side] = loudness(factor(master) * factor(synth) * FM_AMPLIFIER, 2);
    }
    if (s->config.fm_volume) {
        s->config.fm_volume(s->config.fm, fm[0], fm[1]);
    }
    if (s->config.cd_volume) {
        s->config.cd_volume(s->config.cd, cd[0], cd[1]);
    }
}

void sb16_mixer_reset(Sb16 *s)
{
    uint8_t irq = s->g.mixer[MIX_IRQ], dma = s->g.mixer[MIX_DMA];
    memset(s->g.mixer, 0, sizeof(s->g.mixer));
    if (s->config.model == SB_16) {
        memset(s->g.mixer + MIX_MASTER, 0xc0, 8);
        s->g.mixer[MIX_OUTPUTS] = 0x1f;
        s->g.mixer[0x3d] = 0x15;
        s->g.mixer[0x3e] = 0x0b;
        memset(s->g.mixer + 0x44, 0x80, 4);
        s->g.mixer[MIX_IRQ] = irq; /* the choice of lines outlives it */
        s->g.mixer[MIX_DMA] = dma;
    } else {
        s->g.mixer[MIX_PRO_MASTER] = s->g.mixer[MIX_PRO_VOICE] = s->g.mixer[MIX_PRO_FM] = 0x99;
        s->g.mixer[MIX_PRO_CD] = 0x99;
        s->g.mixer[MIX_PRO_LINE] = 0x11;
    }
    sb16_mixer_apply(s);
}

/* The registers of the Pro show the upper four bits of those of the 16. */
static unsigned pro_alias(unsigned index)
{
    switch (index) {
    case MIX_PRO_VOICE:
        return MIX_VOICE;
    case MIX_PRO_MASTER:
        return MIX_MASTER;
    case MIX_PRO_FM:
        return MIX_FM;
    case MIX_PRO_CD:
        return MIX_CD;
    case MIX_PRO_LINE:
        return MIX_LINE;
    default:
        return 0;
    }
}

static void write16(Sb16 *s, unsigned index, uint8_t value)
{
    unsigned pair = pro_alias(index);
    if (pair) {
        s->g.mixer[pair] = (value & 0xf0) | 0x08;
        s->g.mixer[pair + 1] = (uint8_t)(value << 4 | 0x08);
    } else if (index == MIX_PRO_MIC) {
        s->g.mixer[MIX_MIC] = (uint8_t)(value << 5 | 0x18);
    } else if (index == MIX_IRQ) {
        sb16_catch_up(s);
        uint8_t pending = s->g.irq;
        sb16_acknowledge(s, pending); /* off the old line */
        s->g.mixer[index] = value & 15;
        sb16_raise(s, pending);
    } else if (index == MIX_DMA) {
        sb16_catch_up(s);
        sb16_choose_channels(s, value & 0xeb);
    } else if (index != MIX_IRQ_STATUS) {
        s->g.mixer[index] = value;
    }
}

void sb16_mixer_write(Sb16 *s, uint8_t value)
{
    unsigned index = s->g.mixer_index;
    if (s->config.model < SB_PRO) {
        return;
    }
    sb16_catch_up(s);
    if (index == MIX_RESET) {
        sb16_mixer_reset(s);
        return;
    }
    if (s->config.model == SB_16) {
        write16(s, index, value);
    } else {
        /* the lowest bit of each nibble is not there and reads 1 */
        s->g.mixer[index] = pro_alias(index) ? value | 0x11 : value;
        sb16_dsp_stereo(s);
    }
    sb16_mixer_apply(s);
}

uint8_t sb16_mixer_read(Sb16 *s)
{
    unsigned index = s->g.mixer_index;
    if (s->config.model < SB_PRO) {
        return 0xff;
    }
    if (s->config.model == SB_16) {
        unsigned pair = pro_alias(index);
        if (pair) {
            return (s->g.mixer[pair] & 0xf0) | s->g.mixer[pair + 1] >> 4;
        }
        if (index == MIX_PRO_MIC) {
            return s->g.mixer[MIX_MIC] >> 5;
        }
        if (index == MIX_IRQ_STATUS) {
            return s->g.irq | VERSION_BITS;
        }
    }
    return s->g.mixer[index];
}
