/* The UltraSound's inside: what its registers and its voices share. */
#ifndef CHIPSET_CARDS_GUS_INTERNAL_H
#define CHIPSET_CARDS_GUS_INTERNAL_H

#include "chipset/cards/gus.h"

enum {
    GUS_VOICES = 32,
    GUS_LEAST_VOICES = 14,
    GUS_PENDING = 256, /* frames that wait to be pushed */
    GUS_FRACTION = 9,  /* bits of a position behind the point */
    GUS_AT_MASK = (1 << 29) - 1,
    GUS_MEMORY_MASK = 0xfffff,
};

/* Bits of a voice's control register and of its ramp's. */
enum {
    VOICE_STOPPED = 0x01,
    VOICE_STOP = 0x02,
    VOICE_HALTED = VOICE_STOPPED | VOICE_STOP,
    VOICE_WIDE = 0x04,
    RAMP_ROLLOVER = 0x04, /* in the ramp's register, but acts on the position */
    VOICE_LOOP = 0x08,
    VOICE_BOTH_WAYS = 0x10,
    VOICE_IRQ = 0x20,
    VOICE_DOWN = 0x40,
    VOICE_PENDING = 0x80,
};

/* Bits of the IRQ status, port 2x6. */
enum {
    GUS_IRQ_MIDI_TX = 0x01,
    GUS_IRQ_MIDI_RX = 0x02,
    GUS_IRQ_TIMER1 = 0x04,
    GUS_IRQ_TIMER2 = 0x08,
    GUS_IRQ_WAVE = 0x20,
    GUS_IRQ_RAMP = 0x40,
    GUS_IRQ_DMA = 0x80,
};

/* Control of the MIDI port: its master reset. */
enum { GUS_MIDI_RESET = 0x03 };

/* Bits of the reset register, 4Ch. */
enum { GUS_RUN = 0x01, GUS_DAC = 0x02, GUS_MASTER_IRQ = 0x04 };

typedef struct GusVoice {
    uint8_t control, ramp_control;
    uint16_t frequency;      /* 6.9 bits above a bit that is not there */
    uint32_t start, end, at; /* 20.9 bits */
    uint8_t ramp_rate, ramp_start, ramp_end;
    uint32_t volume; /* 12.9 bits: exponent, mantissa, fraction */
    uint8_t pan;     /* 0 left .. 15 */
} GusVoice;

struct Gus {
    Device dev;
    GusConfig config;
    uint32_t memory_bytes;
    RamBlock *block;
    uint8_t *memory;
    void *voice;
    Timer play, timer[2], dma, sampling, midi;
    struct {
        uint8_t mix, irq_latch, dma_latch, select;        /* 2x0, 2xB, 2xF */
        uint8_t timer_index, timer_data, timer_expired;   /* 2x8, 2x9 */
        uint8_t timer_control, timer_count[2];            /* 45h..47h */
        uint8_t page, index;                              /* 3x2, 3x3 */
        uint8_t dma_control, sample_control, sample_rate; /* 41h, 49h, 48h */
        bool dma_ended, sample_ended;                     /* bit 6 of them, read */
        uint16_t dma_start;                               /* 42h */
        uint32_t dma_at, poke_at;                         /* bytes of memory */
        uint8_t trim, reset, active;                      /* 4Bh, 4Ch, 0Eh */
        uint8_t irq;                                      /* pending GUS_IRQ_ bits but voices' */
        uint8_t midi_control, midi_received;              /* 3x0, 3x1 */
        bool midi_full, midi_overrun, midi_sending;
        GusVoice voice[GUS_VOICES];

        bool playing;
        int64_t origin_ns; /* guest time of frame 0 */
        uint64_t frames;   /* since */
        uint32_t tail;     /* frames still played after the last voice stopped */
        int64_t offset[2]; /* the output capacitors' charge, 16 bits behind the point */
        int64_t sample_ns; /* guest time up to which was sampled */
    } g;
    /* played, but not pushed yet */
    int16_t pending[GUS_PENDING * 2];
    uint32_t pending_frames;
};

/* gus.c */
void gus_drive(Gus *u);
/* Bytes at `at` were written. */
void gus_memory_written(Gus *u, uint32_t at, uint32_t length);
/* gus_voice.c */
void gus_voices_reset(Gus *u);
uint16_t gus_voice_read(Gus *u, unsigned reg);
void gus_voice_write(Gus *u, unsigned reg, uint16_t value);
void gus_set_active(Gus *u, uint8_t value);
/* The voice whose interrupt waits, in the terms of register 8Fh; takes its marks away. */
uint8_t gus_irq_source(Gus *u);
uint8_t gus_voice_irqs(const Gus *u);
/* Brings the voices up to now, and plans the next time. */
void gus_catch_up(Gus *u);
void gus_plan(Gus *u);
void gus_play_fired(void *self, int64_t due);
/* gus_io.c */
void gus_timers_write(Gus *u, uint8_t value);
void gus_timer_fired(void *self, int64_t due, unsigned which);
void gus_dma_write(Gus *u, uint8_t value);
uint8_t gus_dma_read(Gus *u);
void gus_dma_fired(void *self, int64_t due);
void gus_dma_ready(void *self);
uint32_t gus_dma_address(const Gus *u);
void gus_sample_write(Gus *u, uint8_t value);
uint8_t gus_sample_read(Gus *u);
void gus_sample_fired(void *self, int64_t due);
uint8_t gus_midi_status(const Gus *u);
void gus_midi_control(Gus *u, uint8_t value);
void gus_midi_write(Gus *u, uint8_t value);
uint8_t gus_midi_read(Gus *u);
void gus_midi_fired(void *self, int64_t due);
void gus_midi_receive(void *self, const uint8_t *data, size_t size);
size_t gus_midi_room(void *self);

#endif
