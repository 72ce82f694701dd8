/* The Sound Blaster's inside: what DSP commands, DMA and mixer share. */
#ifndef CHIPSET_CARDS_SB16_INTERNAL_H
#define CHIPSET_CARDS_SB16_INTERNAL_H

#include "chipset/cards/sb16.h"

enum {
    SB_QUEUE = 64, /* bytes that the DSP can have ready to be read */
    SB_ARGUMENTS = 3,
    SB_DIRECT_HZ = 48000,
};

/* Bits of mixer register 82h. */
enum { SB_IRQ_8 = 1, SB_IRQ_16 = 2, SB_IRQ_MPU = 4 };

typedef enum SbCoding { SB_PCM, SB_ADPCM2, SB_ADPCM26, SB_ADPCM4, SB_CODINGS } SbCoding;

struct Sb16 {
    Device dev;
    Sb16Config config;
    void *voice;
    Timer timer;        /* the next piece of DMA, silence or direct output */
    uint32_t volume[2]; /* of the voice, 10000h: as it comes; made from the mixer's registers */
    struct {
        uint8_t reset_port;
        uint8_t command, wanted, have, argument[SB_ARGUMENTS];
        uint8_t queue[SB_QUEUE], queue_at, queue_size;
        uint8_t last_read;
        bool busy; /* the next status read shows it */
        bool midi_uart;
        uint8_t midi_mode; /* command 30h..37h in force, or 0 */
        int64_t midi_start_ns;
        uint8_t ram[256]; /* of the DSP's processor: commands F9h, FAh */
        bool speaker;
        uint8_t test;
        uint8_t id_value, id_count; /* command E2h */
        uint8_t irq;                /* pending SB_IRQ_ bits */
        uint8_t mixer_index, mixer[256];

        uint32_t hz; /* frames a second */
        uint32_t
            constant_hz; /* command 40h: samples a second, both sides together; 0: hz as it is */
        uint32_t block;  /* command 48h: units less one */

        /* The transfer under way. A unit is a byte, or a word with 16 bits. */
        bool active, paused, high_speed;
        bool to_memory, wide, is_signed, stereo, auto_init, ending, silence, muted;
        uint8_t coding;          /* SbCoding */
        uint32_t length, left;   /* units of a block, and those still to come */
        int64_t origin_ns;       /* guest time of frame 0 */
        uint64_t frames;         /* done since */
        uint32_t since_end;      /* units since the DMA channel's last terminal count */
        uint32_t buffer;         /* units between its last two: the guest's buffer */
        bool halted;             /* a block ended with the interrupt of the last one pending */
        uint8_t reference, step; /* ADPCM */
        bool want_reference;
        int64_t played_ns; /* guest time up to which something was played */

        /* Direct output (command 10h). */
        bool direct;
        uint8_t direct_value;
        uint64_t direct_frame; /* at SB_DIRECT_HZ since guest time 0 */
        uint32_t direct_quiet; /* frames since the last command */
    } g;
};

/* sb16_dsp.c */
void sb16_dsp_reset(Sb16 *s);
void sb16_dsp_write(Sb16 *s, uint8_t value);
void sb16_dsp_reply(Sb16 *s, uint8_t value);
/* The Pro's mixer switches between mono and stereo while it plays, too. */
void sb16_dsp_stereo(Sb16 *s);
/* sb16_midi.c */
void sb16_midi_attach(Sb16 *s);
void sb16_midi_command(Sb16 *s, uint8_t command);
void sb16_midi_reset(Sb16 *s);
void sb16_midi_out(Sb16 *s, uint8_t value);
/* The guest has read a byte of the DSP's queue. */
void sb16_midi_taken(Sb16 *s);
/* sb16_dma.c */
void sb16_raise(Sb16 *s, uint8_t bits);
void sb16_acknowledge(Sb16 *s, uint8_t bits);
/* Starts a transfer of g.length units as g describes it. */
void sb16_start(Sb16 *s);
void sb16_stop(Sb16 *s);
void sb16_pause(Sb16 *s, bool paused);
void sb16_direct(Sb16 *s, uint8_t value);
/* Brings sound and transfers up to now. */
void sb16_catch_up(Sb16 *s);
void sb16_fire(void *self, int64_t due);
void sb16_dma_ready(void *self);
DmaLine *sb16_channel(Sb16 *s, bool wide);
/* Mixer register 81h: a request that is up moves along. */
void sb16_choose_channels(Sb16 *s, uint8_t choice);
/* sb16_mixer.c */
void sb16_mixer_reset(Sb16 *s);
void sb16_mixer_write(Sb16 *s, uint8_t value);
uint8_t sb16_mixer_read(Sb16 *s);
void sb16_mixer_apply(Sb16 *s);

#endif
