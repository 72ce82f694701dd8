/* The MPU-401's inside: what its ports and its intelligent mode share. */
#ifndef CHIPSET_CARDS_MPU401_INTERNAL_H
#define CHIPSET_CARDS_MPU401_INTERNAL_H

#include "chipset/cards/mpu401.h"

enum {
    MPU_QUEUE = 64,
    MPU_CHANNELS = 16,
    MPU_KEYS = 128,
    MPU_TRACKS = 8,
    MPU_CONDUCTOR = MPU_TRACKS, /* a track of commands */
    MPU_DIRECT,                 /* a message that is sent at once */
    MPU_LISTS,
    MPU_EVENT = 3, /* bytes of the longest message */
};

/* What a byte written to the data port is for. */
typedef enum MpuFor {
    MPU_FOR_CABLE,    /* nobody asked: as in UART mode */
    MPU_FOR_ARGUMENT, /* of `command` */
    MPU_FOR_TIME,     /* of the event that was asked for, of `list` */
    MPU_FOR_EVENT,    /* the rest of it */
    MPU_FOR_MESSAGE,  /* commands D0h..D7h: a message to be sent at once, as of track `list` */
    MPU_FORS
} MpuFor;

typedef enum MpuKind { MPU_NOTHING, MPU_REST, MPU_MESSAGE, MPU_MARK } MpuKind;

/* A track, or the conductor's: what comes next of it. */
typedef struct MpuList {
    uint8_t kind;  /* MpuKind; MPU_NOTHING: the host has not told yet */
    uint8_t ticks; /* until it is due */
    uint8_t late;  /* ticks that went by while it was being asked for */
    uint8_t event[MPU_EVENT], size;
    uint8_t running; /* status of the message before, 0: none */
    bool asked;
} MpuList;

struct Mpu401 {
    Device dev;
    Mpu401Config config;
    CharSink second; /* who else hears what comes over the cable, or all zero */
    Timer tick;
    struct {
        bool uart;
        uint8_t queue[MPU_QUEUE], at, size; /* to be read by the guest */
        /* what the cable carried */
        uint8_t status, data[2], have;           /* running status, 0: none */
        uint8_t note[MPU_CHANNELS][MPU_KEYS];    /* velocity of held notes */
        uint8_t control[MPU_CHANNELS][MPU_KEYS]; /* UNKNOWN: never sent */
        uint8_t program[MPU_CHANNELS];
        uint16_t bend[MPU_CHANNELS]; /* 0x2000: none */

        /* intelligent mode */
        unsigned what_for;                            /* MpuFor */
        uint8_t command, list;                        /* as MpuFor says; list < MPU_DIRECT */
        uint8_t tempo, relative, ticks_a_beat;        /* beats a minute; in 64ths; 48..192 */
        uint8_t active;                               /* tracks, command ECh */
        bool conductor, clock_to_host, stopped_input; /* switches */
        bool keep_notes;                              /* command 30h */
        bool playing, midi_clock;
        uint8_t running_lists; /* tracks that have not come to their end */
        bool conducting;
        uint8_t host_rate, host_at; /* clock to host: quarters of a tick, and so far */
        uint8_t beat_at;            /* MIDI clock: 24ths of a beat, in ticks_a_beat */
        bool standby, recording;
        uint8_t record_ticks; /* since the last thing recorded */
        uint8_t in[MPU_EVENT], in_size, in_running;
        MpuList lists[MPU_LISTS];
    } g;
};

/* mpu401.c */
/* To the guest. */
void mpu401_give(Mpu401 *m, uint8_t value);
/* To the cable. */
void mpu401_send(Mpu401 *m, const uint8_t *data, size_t size);
/* Ends each note that sounds. */
void mpu401_notes_off(Mpu401 *m);
/* Takes what asks for events out of the guest's queue. */
void mpu401_forget_asking(Mpu401 *m);
/* mpu401_sequencer.c */
void mpu401_sequencer_init(Mpu401 *m);
void mpu401_sequencer_reset(Mpu401 *m);
void mpu401_sequencer_state(Mpu401 *m, StateIo *io);
/* Commands but FFh and 3Fh; the acknowledge is out. */
void mpu401_sequencer_command(Mpu401 *m, uint8_t command);
void mpu401_sequencer_write(Mpu401 *m, uint8_t value);
/* The guest has read this byte. */
void mpu401_sequencer_told(Mpu401 *m, uint8_t value);
/* Bytes that came over the cable, and how many there is room for. */
void mpu401_sequencer_receive(Mpu401 *m, const uint8_t *data, size_t size);
size_t mpu401_sequencer_room(const Mpu401 *m);

#endif
