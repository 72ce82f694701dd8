/* MPU-401: intelligent mode: eight tracks and a conductor's, the clock to the host, recording.
 *
 * Source: Roland, MPU-401 Technical Reference Manual. While it plays, the interface asks the host
 * for the next event of each track (F0h..F7h; F9h: of the conductor), which comes with the ticks
 * that it is to wait for after the one before; it is sent at its time, and the next one is asked
 * for. A tick is a beat's 48th to 192nd. Not modelled: metronome and tape (their commands are
 * taken), MIDI and tape as the clock's source, the filters of what comes in (all is let through),
 * and the reference tables (a track may send to every channel).
 */
#include <string.h>

#include "chipset/cards/mpu401_internal.h"

enum {
    ASK_TRACK = 0xf0, /* messages to the host */
    TIME_OVERFLOW = 0xf8,
    ASK_CONDUCTOR = 0xf9,
    ALL_ENDED = 0xfc,
    CLOCK_TO_HOST = 0xfd,
    MARK_END = 0xfc, /* marks in tracks; also MIDI's stop */
    MIDI_CLOCK = 0xf8,
    MIDI_START = 0xfa,
    MIDI_CONTINUE = 0xfb,
    MIDI_STOP = 0xfc,
    SYSEX = 0xf0,        /* the first status that is no channel's */
    LONGEST_TICKS = 240, /* that a timing byte can tell: then comes an overflow */
    CLOCKS_A_BEAT = 24,
    NORMAL_RELATIVE = 64,
    USUAL_TEMPO = 100,
    USUAL_TICKS = 120,
    USUAL_HOST_RATE = 240,
    SLOWEST = 8, /* beats a minute */
    FASTEST = 250,
    /* To a guest that reads nothing no clock is told any more, so that there is room for answers.
     */
    CLOCKS_WAIT = MPU_QUEUE / 2,
};

/* Bytes of a channel's message. */
static unsigned message_size(uint8_t status)
{
    return (status & 0xe0) == 0xc0 ? 2 : 3;
}

/* --- the clock --- */

static int64_t tick_ns(const Mpu401 *m)
{
    int64_t beats = m->g.tempo < SLOWEST ? SLOWEST : m->g.tempo > FASTEST ? FASTEST : m->g.tempo;
    int64_t relative = m->g.relative ? m->g.relative : 1;
    return 60 * CLOCK_NS_PER_S * NORMAL_RELATIVE / (beats * relative * m->g.ticks_a_beat);
}

static bool ticking(const Mpu401 *m)
{
    return m->g.playing || m->g.clock_to_host || m->g.midi_clock || m->g.recording;
}

static void arm(Mpu401 *m)
{
    if (!ticking(m)) {
        timer_disarm(&m->tick);
    } else if (!m->tick.armed) {
        timer_arm(&m->tick, clock_now(&m->dev.board->clock) + tick_ns(m));
    }
}

/* --- lists --- */

static bool running(const Mpu401 *m, unsigned n)
{
    return n == MPU_CONDUCTOR ? m->g.conducting : m->g.running_lists >> n & 1;
}

static void ask(Mpu401 *m, unsigned n)
{
    MpuList *l = &m->g.lists[n];
    l->kind = MPU_NOTHING;
    l->asked = true;
    l->late = 0;
    mpu401_give(m, n == MPU_CONDUCTOR ? ASK_CONDUCTOR : (uint8_t)(ASK_TRACK + n));
}

static void clear_lists(Mpu401 *m)
{
    for (unsigned i = 0; i < MPU_LISTS; i++) {
        uint8_t status = m->g.lists[i].running;
        m->g.lists[i] = (MpuList){.running = status};
    }
    m->g.what_for = MPU_FOR_CABLE;
    mpu401_forget_asking(m);
}

static void ended(Mpu401 *m, unsigned n)
{
    m->g.lists[n].kind = MPU_NOTHING;
    if (n == MPU_CONDUCTOR) {
        m->g.conducting = false;
    } else {
        m->g.running_lists &= (uint8_t) ~(1u << n);
    }
    if (!m->g.running_lists && !m->g.conducting) {
        m->g.playing = false;
        mpu401_give(m, ALL_ENDED);
        arm(m);
    }
}

static bool takes_argument(uint8_t command)
{
    return command >= 0xe0 && command < 0xf0;
}

static void conduct(Mpu401 *m, const MpuList *l);

static void perform(Mpu401 *m, unsigned n)
{
    MpuList *l = &m->g.lists[n];
    if (l->kind == MPU_MARK && l->event[0] == MARK_END) {
        ended(m, n);
        return;
    }
    if (l->kind == MPU_MESSAGE && n < MPU_CONDUCTOR) {
        mpu401_send(m, l->event, l->size);
    } else if (l->kind == MPU_MESSAGE) {
        conduct(m, l);
    }
    if (m->g.playing && running(m, n)) {
        ask(m, n);
    }
}

/* The host has told what comes next. */
static void loaded(Mpu401 *m, unsigned n, MpuKind kind)
{
    MpuList *l = &m->g.lists[n];
    l->kind = (uint8_t)kind;
    l->ticks = (uint8_t)(l->late < l->ticks ? l->ticks - l->late : 0);
    l->late = 0;
    m->g.what_for = MPU_FOR_CABLE;
    if (l->ticks == 0 && m->g.playing && running(m, n)) {
        perform(m, n);
    }
}

static void start_playing(Mpu401 *m)
{
    m->g.playing = true;
    m->g.running_lists = m->g.active;
    m->g.conducting = m->g.conductor;
    for (unsigned i = 0; i <= MPU_CONDUCTOR; i++) {
        MpuList *l = &m->g.lists[i];
        if (running(m, i) && l->kind == MPU_NOTHING && !l->asked) {
            ask(m, i);
        }
    }
}

static void lists_tick(Mpu401 *m)
{
    for (unsigned i = 0; i <= MPU_CONDUCTOR && m->g.playing; i++) {
        MpuList *l = &m->g.lists[i];
        if (!running(m, i)) {
            continue;
        }
        if (l->kind == MPU_NOTHING) {
            l->late += l->late < UINT8_MAX;
        } else if (l->ticks <= 1) {
            l->ticks = 0;
            perform(m, i);
        } else {
            l->ticks--;
        }
    }
}

/* --- recording --- */

static void record_tick(Mpu401 *m)
{
    if (++m->g.record_ticks == LONGEST_TICKS) {
        m->g.record_ticks = 0;
        mpu401_give(m, TIME_OVERFLOW);
    }
}

static void record(Mpu401 *m, const uint8_t *data, unsigned size)
{
    mpu401_give(m, m->g.record_ticks);
    m->g.record_ticks = 0;
    for (unsigned i = 0; i < size; i++) {
        mpu401_give(m, data[i]);
    }
}

static void start_recording(Mpu401 *m)
{
    m->g.standby = false;
    m->g.recording = true;
    m->g.record_ticks = 0;
    arm(m);
}

static void stop_recording(Mpu401 *m)
{
    static const uint8_t end = MARK_END;
    if (m->g.recording) {
        record(m, &end, 1);
    }
    m->g.standby = m->g.recording = false;
}

size_t mpu401_sequencer_room(const Mpu401 *m)
{
    if (!m->g.standby && !m->g.recording && !m->g.stopped_input) {
        return MPU_QUEUE; /* nobody listens */
    }
    /* each byte may end a message that is told with its status and a timing byte */
    return (size_t)(MPU_QUEUE - m->g.size) / (MPU_EVENT + 1);
}

static void message_received(Mpu401 *m)
{
    if (m->g.standby) {
        start_recording(m);
    }
    if (m->g.recording) {
        record(m, m->g.in, m->g.in_size);
    } else if (m->g.stopped_input) {
        for (unsigned i = 0; i < m->g.in_size; i++) {
            mpu401_give(m, m->g.in[i]);
        }
    }
}

void mpu401_sequencer_receive(Mpu401 *m, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] >= SYSEX) { /* system messages are not told */
            m->g.in_running = data[i] < MIDI_CLOCK ? 0 : m->g.in_running;
            continue;
        }
        if (data[i] >= 0x80) {
            m->g.in_running = data[i];
            m->g.in_size = 0;
        }
        if (!m->g.in_running) {
            continue;
        }
        if (m->g.in_size == 0 && data[i] < 0x80) {
            m->g.in[m->g.in_size++] = m->g.in_running;
        }
        m->g.in[m->g.in_size++] = data[i];
        if (m->g.in_size >= message_size(m->g.in_running)) {
            message_received(m);
            m->g.in_size = 0;
        }
    }
}

/* --- a tick --- */

static void clocks_tick(Mpu401 *m)
{
    m->g.beat_at += CLOCKS_A_BEAT;
    if (m->g.beat_at >= m->g.ticks_a_beat) {
        static const uint8_t clock = MIDI_CLOCK;
        m->g.beat_at -= m->g.ticks_a_beat;
        if (m->g.midi_clock) {
            mpu401_send(m, &clock, 1);
        }
    }
    unsigned at = m->g.host_at + 4u, rate = m->g.host_rate ? m->g.host_rate : 256;
    if (at >= rate) {
        at = at - rate < 4 ? at - rate : 0;
        if (m->g.clock_to_host && m->g.size < CLOCKS_WAIT) {
            mpu401_give(m, CLOCK_TO_HOST);
        }
    }
    m->g.host_at = (uint8_t)at;
}

static void fire(void *self, int64_t due)
{
    Mpu401 *m = self;
    clocks_tick(m);
    lists_tick(m);
    if (m->g.recording) {
        record_tick(m);
    }
    if (ticking(m)) {
        int64_t next = due + tick_ns(m), now = clock_now(&m->dev.board->clock);
        timer_arm(&m->tick, next > now - CLOCK_NS_PER_S ? next : now);
    }
}

/* --- commands --- */

/* 00h..2Fh: MIDI's own transport, playing and recording, two bits each. */
static void transport(Mpu401 *m, uint8_t command)
{
    static const uint8_t messages[4] = {0, MIDI_STOP, MIDI_START, MIDI_CONTINUE};
    unsigned midi = command & 3, play = command >> 2 & 3, recording = command >> 4 & 3;
    if (midi) {
        mpu401_send(m, &messages[midi], 1);
        m->g.midi_clock = midi != 1;
        m->g.beat_at = 0;
    }
    if (play == 1) {
        m->g.playing = false;
        if (!m->g.keep_notes) {
            mpu401_notes_off(m);
        }
    } else if (play == 2) {
        start_playing(m);
    }
    if (recording == 1) {
        stop_recording(m);
    } else if (recording == 2 && (midi >= 2 || play == 2)) {
        start_recording(m);
    } else if (recording == 2) {
        m->g.standby = true;
    }
    arm(m);
}

static void query(Mpu401 *m, uint8_t command)
{
    switch (command) {
    case 0xab: /* what recording has counted since its last event, once */
        mpu401_give(m, m->g.record_ticks);
        m->g.record_ticks = 0;
        break;
    case 0xac: /* version */
        mpu401_give(m, 0x15);
        break;
    case 0xad: /* revision */
        mpu401_give(m, 0x01);
        break;
    case 0xaf:
        mpu401_give(m, m->g.tempo);
        break;
    default: /* a track's counter */
        if (command < 0xa0 + MPU_TRACKS) {
            mpu401_give(m, m->g.lists[command & 7].ticks);
        }
    }
}

static void run_switch(Mpu401 *m, uint8_t command)
{
    bool on = command & 1;
    switch (command & 0xfe) {
    case 0x8a: /* input is told though nothing is recorded */
        m->g.stopped_input = on;
        break;
    case 0x8e:
        m->g.conductor = on;
        break;
    case 0x94:
        m->g.clock_to_host = on;
        m->g.host_at = 0;
        arm(m);
        break;
    default: /* metronome, bender, thru, measure ends and other things of recording */
        break;
    }
}

static void run_command(Mpu401 *m, uint8_t command)
{
    if (command < 0x30) {
        transport(m, command);
    } else if (command == 0x30) {
        m->g.keep_notes = true;
    } else if (command >= 0x80 && command < 0xa0) {
        run_switch(m, command);
    } else if (command >= 0xa0 && command < 0xb0) {
        query(m, command);
    } else if (command == 0xb1) {
        m->g.relative = NORMAL_RELATIVE;
    } else if (command == 0xb8) {
        clear_lists(m);
    } else if (command == 0xb9) {
        mpu401_notes_off(m);
    } else if (command == 0xba) {
        m->g.record_ticks = 0;
    } else if (command >= 0xc2 && command <= 0xc8) {
        m->g.ticks_a_beat = (uint8_t)((command & 15) * 24);
        m->g.beat_at = 0;
    } else if (command >= 0xd0 && command < 0xd0 + MPU_TRACKS) {
        m->g.what_for = MPU_FOR_MESSAGE;
        m->g.list = command & 7;
        m->g.lists[MPU_DIRECT] = (MpuList){.running = m->g.lists[command & 7].running};
    } /* DFh: a system message, whose bytes reach the cable as all do that nobody else waits for */
}

static void run_argument(Mpu401 *m, uint8_t command, uint8_t value)
{
    switch (command) {
    case 0xe0:
        m->g.tempo = value;
        break;
    case 0xe1:
        m->g.relative = value;
        break;
    case 0xe7:
        m->g.host_rate = value;
        m->g.host_at = 0;
        break;
    case 0xec:
        m->g.active = value;
        break;
    default: /* the metronome's, how slowly the tempo changes, and which channels are let in */
        break;
    }
}

/* The conductor's commands: not those that need the host. */
static void conduct(Mpu401 *m, const MpuList *l)
{
    uint8_t command = l->event[0];
    if (takes_argument(command)) {
        run_argument(m, command, l->event[1]);
    } else if (command < 0xa0 || (command >= 0xb1 && command < 0xd0 && command != 0xb8)) {
        run_command(m, command);
    }
}

void mpu401_sequencer_command(Mpu401 *m, uint8_t command)
{
    m->g.what_for = MPU_FOR_CABLE;
    if (takes_argument(command)) {
        m->g.what_for = MPU_FOR_ARGUMENT;
        m->g.command = command;
    } else {
        run_command(m, command);
    }
}

/* --- what the host tells --- */

void mpu401_sequencer_told(Mpu401 *m, uint8_t value)
{
    bool of_track = value >= ASK_TRACK && value < ASK_TRACK + MPU_TRACKS;
    unsigned n = of_track ? value - (unsigned)ASK_TRACK : MPU_CONDUCTOR;
    if ((of_track || value == ASK_CONDUCTOR) && m->g.lists[n].asked) {
        m->g.lists[n].asked = false;
        m->g.lists[n].size = 0;
        m->g.what_for = MPU_FOR_TIME;
        m->g.list = (uint8_t)n;
    }
}

static void time_byte(Mpu401 *m, uint8_t value)
{
    MpuList *l = &m->g.lists[m->g.list];
    m->g.what_for = MPU_FOR_EVENT;
    l->ticks = value < SYSEX ? value : value == TIME_OVERFLOW ? LONGEST_TICKS : 0;
    if (value >= SYSEX) { /* nothing follows */
        l->event[0] = value;
        loaded(m, m->g.list, value == TIME_OVERFLOW ? MPU_REST : MPU_MARK);
    }
}

/* A byte of a channel's message; true when it is whole. */
static bool message_byte(MpuList *l, uint8_t value)
{
    if (value >= 0x80) {
        l->running = value;
        l->size = 0;
    } else if (!l->running) {
        return false;
    } else if (l->size == 0) {
        l->event[l->size++] = l->running;
    }
    l->event[l->size++] = value;
    return l->size >= message_size(l->running);
}

static void event_byte(Mpu401 *m, uint8_t value)
{
    unsigned n = m->g.list;
    MpuList *l = &m->g.lists[n];
    if (n == MPU_CONDUCTOR && (l->size || value < SYSEX)) {
        l->event[l->size++] = value;
        if (l->size >= (takes_argument(l->event[0]) ? 2 : 1)) {
            loaded(m, n, MPU_MESSAGE);
        }
    } else if (value < SYSEX) {
        if (message_byte(l, value)) {
            loaded(m, n, MPU_MESSAGE);
        }
    } else if (l->size == 0) {
        l->event[0] = value;
        loaded(m, n, MPU_MARK);
    }
}

static void direct_byte(Mpu401 *m, uint8_t value)
{
    MpuList *l = &m->g.lists[MPU_DIRECT];
    if (value >= SYSEX) {
        mpu401_send(m, &value, 1);
        m->g.what_for = MPU_FOR_CABLE;
    } else if (message_byte(l, value)) {
        mpu401_send(m, l->event, l->size);
        m->g.lists[m->g.list].running = l->running;
        m->g.what_for = MPU_FOR_CABLE;
    }
}

void mpu401_sequencer_write(Mpu401 *m, uint8_t value)
{
    switch (m->g.what_for) {
    case MPU_FOR_ARGUMENT:
        m->g.what_for = MPU_FOR_CABLE;
        run_argument(m, m->g.command, value);
        break;
    case MPU_FOR_TIME:
        time_byte(m, value);
        break;
    case MPU_FOR_EVENT:
        event_byte(m, value);
        break;
    case MPU_FOR_MESSAGE:
        direct_byte(m, value);
        break;
    default:
        mpu401_send(m, &value, 1);
    }
}

/* --- life --- */

void mpu401_sequencer_reset(Mpu401 *m)
{
    timer_disarm(&m->tick);
    m->g.what_for = MPU_FOR_CABLE;
    m->g.command = m->g.list = 0;
    m->g.tempo = USUAL_TEMPO;
    m->g.relative = NORMAL_RELATIVE;
    m->g.ticks_a_beat = USUAL_TICKS;
    m->g.active = m->g.running_lists = 0;
    m->g.conductor = m->g.clock_to_host = m->g.stopped_input = m->g.keep_notes = false;
    m->g.playing = m->g.midi_clock = m->g.conducting = false;
    m->g.host_rate = USUAL_HOST_RATE;
    m->g.host_at = m->g.beat_at = 0;
    m->g.standby = m->g.recording = false;
    m->g.record_ticks = m->g.in_size = m->g.in_running = 0;
    memset(m->g.lists, 0, sizeof(m->g.lists));
}

static bool is_running_status(uint8_t value)
{
    return value == 0 || (value >= 0x80 && value < SYSEX);
}

static void list_state(MpuList *l, StateIo *io)
{
    state_u8(io, "list_kind", &l->kind);
    state_u8(io, "list_ticks", &l->ticks);
    state_u8(io, "list_late", &l->late);
    state_bytes(io, "list_event", l->event, sizeof(l->event));
    state_u8(io, "list_size", &l->size);
    state_u8(io, "list_running", &l->running);
    state_bool(io, "list_asked", &l->asked);
    state_check(io, l->kind <= MPU_MARK && l->size <= MPU_EVENT && is_running_status(l->running),
                "an event is impossible");
}

void mpu401_sequencer_state(Mpu401 *m, StateIo *io)
{
    state_enum(io, "what_for", &m->g.what_for, MPU_FORS);
    state_u8(io, "command", &m->g.command);
    state_u8(io, "list", &m->g.list);
    state_u8(io, "tempo", &m->g.tempo);
    state_u8(io, "relative", &m->g.relative);
    state_u8(io, "ticks_a_beat", &m->g.ticks_a_beat);
    state_u8(io, "active", &m->g.active);
    state_bool(io, "conductor", &m->g.conductor);
    state_bool(io, "clock_to_host", &m->g.clock_to_host);
    state_bool(io, "stopped_input", &m->g.stopped_input);
    state_bool(io, "keep_notes", &m->g.keep_notes);
    state_bool(io, "playing", &m->g.playing);
    state_bool(io, "midi_clock", &m->g.midi_clock);
    state_u8(io, "running_lists", &m->g.running_lists);
    state_bool(io, "conducting", &m->g.conducting);
    state_u8(io, "host_rate", &m->g.host_rate);
    state_u8(io, "host_at", &m->g.host_at);
    state_u8(io, "beat_at", &m->g.beat_at);
    state_bool(io, "standby", &m->g.standby);
    state_bool(io, "recording", &m->g.recording);
    state_u8(io, "record_ticks", &m->g.record_ticks);
    state_bytes(io, "in", m->g.in, sizeof(m->g.in));
    state_u8(io, "in_size", &m->g.in_size);
    state_u8(io, "in_running", &m->g.in_running);
    for (unsigned i = 0; i < MPU_LISTS; i++) {
        list_state(&m->g.lists[i], io);
    }
    state_timer(io, "tick", &m->tick);
    state_check(io, m->g.list < MPU_DIRECT && m->g.in_size < MPU_EVENT, "a list is out of range");
    state_check(
        io, m->g.ticks_a_beat >= 48 && m->g.ticks_a_beat <= 192 && m->g.beat_at < m->g.ticks_a_beat,
        "the clock is out of range");
    state_check(io, is_running_status(m->g.in_running), "running status is impossible");
    unsigned filled = m->g.what_for == MPU_FOR_MESSAGE ? MPU_DIRECT : m->g.list;
    state_check(io,
                m->g.what_for < MPU_FOR_EVENT || m->g.lists[filled].size < 2 ||
                    (m->g.lists[filled].size == 2 && filled != MPU_CONDUCTOR),
                "an event is too long");
}

void mpu401_sequencer_init(Mpu401 *m)
{
    timer_init(&m->tick, &m->dev.board->clock, "mpu401.tick", fire, m);
}
