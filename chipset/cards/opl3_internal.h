/* The FM synthesizer's inside: what its register file and its operators share. */
#ifndef CHIPSET_CARDS_OPL3_INTERNAL_H
#define CHIPSET_CARDS_OPL3_INTERNAL_H

#include "chipset/cards/opl3.h"

enum {
    OPL3_OPERATORS = 36,
    OPL3_CHANNELS = 18,
    OPL3_SILENT = 0x1ff, /* envelope: 9 bits of 0.1875 dB */
    OPL3_NO_SOURCE = -1,
};

enum { OPL3_KEY_NOTE = 1, OPL3_KEY_DRUM = 2 };

typedef enum Opl3Stage { OPL3_ATTACK, OPL3_DECAY, OPL3_SUSTAIN, OPL3_RELEASE } Opl3Stage;

typedef struct Opl3Operator {
    struct {
        uint32_t phase;      /* 10.9 bits */
        uint16_t envelope;   /* 0..OPL3_SILENT */
        uint8_t stage;       /* Opl3Stage */
        uint8_t key;         /* OPL3_KEY_ bits */
        int16_t out, before; /* this sample's output and the last's */
    } g;
    /* made from the registers */
    uint32_t step;        /* phase a sample, without vibrato */
    uint16_t attenuation; /* total level and key scaling, in the envelope's steps */
    uint8_t rate[4];      /* of each stage, 0..63; 0: stands still */
    uint8_t sustain;      /* envelope >> 4 at which decay ends */
    uint8_t multiple;     /* twice the factor */
    uint8_t wave;         /* 0..7 */
    bool tremolo, vibrato;
    int8_t source;    /* the operator that modulates it; itself: feedback */
    uint8_t feedback; /* 0..7 */
    uint8_t weight;   /* how often it is added to the output: 0 modulator, 1, 2 drum */
    uint8_t channel;
} Opl3Operator;

typedef struct Opl3Synth {
    Opl3Operator op[OPL3_OPERATORS];
    struct {
        uint8_t reg[2][256];
        uint32_t noise;        /* 23 bits */
        uint16_t samples;      /* low bits of the count, for vibrato and tremolo */
        uint8_t vibrato_at;    /* 0..7 */
        uint8_t tremolo_at;    /* 0..209 */
        uint64_t eg_count;     /* 36 bits: the envelopes' slow clock */
        bool eg_half, eg_over; /* it ticks at every other sample; it has just wrapped */
        uint8_t eg_zeros;      /* 1 + zeros at the count's end, 0: more than 12 */
        uint8_t eg_low;        /* its last two bits */
        uint8_t hat_phase;     /* bits 2, 3, 7, 8 of operator 13's phase, as bits 0..3 */
        uint8_t cymbal_phase;  /* bits 3, 5 of operator 17's, as bits 0..1 */
    } g;
    bool opl2;
    uint16_t (*wave)[1024]; /* [8]: attenuation in 1/256 octaves, bit 15: negative */
    uint16_t exponent[256];
} Opl3Synth;

bool opl3_synth_init(Opl3Synth *s, bool opl2);
void opl3_synth_fini(Opl3Synth *s);
void opl3_synth_reset(Opl3Synth *s);
/* bank 0..1 */
void opl3_synth_write(Opl3Synth *s, unsigned bank, uint8_t index, uint8_t value);
/* After the registers were loaded. */
void opl3_synth_refresh(Opl3Synth *s);
/* The next sample. */
void opl3_synth_sample(Opl3Synth *s, int32_t *left, int32_t *right);
/* Does nothing sound, and will nothing until a key is pressed? */
bool opl3_synth_resting(const Opl3Synth *s);
/* While resting: as many samples later. */
void opl3_synth_skip(Opl3Synth *s, uint64_t samples);
void opl3_synth_state(Opl3Synth *s, StateIo *io);

#endif
