/* Sound Blaster: the DSP's MIDI port, "SB-MIDI".
 *
 * Source: Creative, Sound Blaster Series Hardware Programming Guide, chapter 5 and commands 30h to
 * 38h. What comes in goes to the DSP's queue once a command has asked for it, in the modes with
 * time stamps behind the milliseconds since that command; before that it is lost. The modes up to
 * 33h leave the DSP to its other commands, those from 34h on ("UART") take all that is written for
 * MIDI until a reset.
 */
#include "chipset/cards/sb16_internal.h"

/* Bits of the commands 30h to 37h. */
enum { MIDI_INTERRUPT = 1, MIDI_STAMPED = 2, MIDI_UART = 4 };
enum { STAMP_BYTES = 3, NS_PER_MS = 1000000 };

static unsigned entry_bytes(const Sb16 *s)
{
    return s->g.midi_mode & MIDI_STAMPED ? STAMP_BYTES + 1 : 1;
}

void sb16_midi_command(Sb16 *s, uint8_t command)
{
    if (command & (MIDI_UART | MIDI_STAMPED) && s->config.model < SB_2) {
        return; /* since DSP 2.00 */
    }
    bool ends = command & MIDI_INTERRUPT && command == s->g.midi_mode;
    s->g.midi_mode = ends ? 0 : command;
    s->g.midi_uart = s->g.midi_mode & MIDI_UART;
    s->g.midi_start_ns = clock_now(&s->dev.board->clock);
    if (s->g.midi_mode && s->config.midi.ops) {
        s->config.midi.ops->ready(s->config.midi.backend);
    }
}

void sb16_midi_reset(Sb16 *s)
{
    s->g.midi_mode = 0;
    s->g.midi_uart = false;
}

void sb16_midi_out(Sb16 *s, uint8_t value)
{
    if (s->config.midi.ops) {
        clock_be_exact(&s->dev.board->clock);
        s->config.midi.ops->write(s->config.midi.backend, &value, 1);
    }
}

void sb16_midi_taken(Sb16 *s)
{
    if (!s->g.midi_mode || s->g.queue_size % entry_bytes(s)) {
        return;
    }
    if (s->g.queue_size && s->g.midi_mode & MIDI_INTERRUPT) {
        sb16_raise(s, SB_IRQ_8);
    }
    if (s->config.midi.ops) {
        s->config.midi.ops->ready(s->config.midi.backend);
    }
}

static size_t room(void *self)
{
    const Sb16 *s = self;
    return (size_t)(SB_QUEUE - s->g.queue_size) / entry_bytes(s);
}

static void receive(void *self, const uint8_t *data, size_t size)
{
    Sb16 *s = self;
    int64_t ms = (clock_now(&s->dev.board->clock) - s->g.midi_start_ns) / NS_PER_MS;
    for (size_t i = 0; s->g.midi_mode && i < size && room(s); i++) {
        for (unsigned n = 0; s->g.midi_mode & MIDI_STAMPED && n < STAMP_BYTES; n++) {
            sb16_dsp_reply(s, (uint8_t)(ms >> 8 * n));
        }
        sb16_dsp_reply(s, data[i]);
        if (s->g.midi_mode & MIDI_INTERRUPT) {
            sb16_raise(s, SB_IRQ_8);
        }
    }
}

void sb16_midi_attach(Sb16 *s)
{
    if (s->config.midi.ops) {
        s->config.midi.ops->attach(s->config.midi.backend,
                                   &(CharSink){.receive = receive, .room = room, .self = s});
    }
}
