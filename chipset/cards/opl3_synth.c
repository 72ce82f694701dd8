/* FM synthesizer: operators, envelopes, rhythm.
 *
 * Sources: YMF262 application manual (Yamaha); published measurements and die photographs of YM3812
 * and YMF262: the two ROMs (a quarter of -log2 sine with 256 entries in 1/256 octaves, and the
 * fraction of 2^x), the 36-bit envelope counter that ticks every other sample, the 23-bit noise
 * register that shifts once an operator. Operators are computed one after the other as the chip
 * does, each sample from 0 to 35. Not modelled: the delay of up to a sample between left and right,
 * and the test register.
 *
 * Operator numbers: bank * 18 + group * 6 + (0..2: first, 3..5: second operator of the group's
 * channels).
 */
#include "chipset/cards/opl3_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAVES = 8,
    NEGATIVE = 0x8000,
    QUIET_WAVE = 0x1000, /* attenuation of a wave's silent part */
    TREMOLO_STEPS = 210,
    HAT = 13,
    TOM = 14,
    SNARE = 16,
    CYMBAL = 17,
    PHASE_FRACTION = 9,
    REG_TEST = 0x01,
    REG_NOTE_SELECT = 0x08,
    REG_RHYTHM = 0xbd,
    REG_FOUR_OPERATORS = 0x04, /* bank 1 */
    REG_NEW = 0x05,            /* bank 1 */
    RHYTHM_ON = 0x20,
};

/* Attenuation by pitch: 3 dB an octave in steps of 0.1875 dB at the top octave, by F-number's high
 * bits (application manual, "KSL"). */
static const uint8_t level_scale[16] = {0,  32, 40, 45, 48, 51, 53, 55,
                                        56, 58, 59, 60, 61, 62, 63, 64};
/* Twice the frequency multiple. */
static const uint8_t multiples[16] = {1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 20, 24, 24, 30, 30};

static bool new_mode(const Opl3Synth *s)
{
    return s->g.reg[1][REG_NEW] & 1;
}

static bool rhythm(const Opl3Synth *s)
{
    return s->g.reg[0][REG_RHYTHM] & RHYTHM_ON;
}

/* --- tables --- */

static uint16_t wave_entry(const uint16_t *sine, unsigned wave, unsigned phase)
{
    unsigned mirrored = phase & 0x100 ? ~phase & 0xff : phase & 0xff;
    unsigned twice = phase & 0x80 ? ~phase << 1 & 0xff : phase << 1 & 0xff;
    bool second = phase & 0x200;
    switch (wave) {
    case 0: /* sine */
        return sine[mirrored] | (second ? NEGATIVE : 0);
    case 1: /* its upper half */
        return second ? QUIET_WAVE : sine[mirrored];
    case 2: /* both halves upwards */
        return sine[mirrored];
    case 3: /* rising quarters */
        return phase & 0x100 ? QUIET_WAVE : sine[phase & 0xff];
    case 4: /* a sine in half the time, then silence */
        return second ? QUIET_WAVE : sine[twice] | (phase & 0x100 ? NEGATIVE : 0);
    case 5: /* the same upwards */
        return second ? QUIET_WAVE : sine[twice];
    case 6: /* square */
        return second ? NEGATIVE : 0;
    default: /* exponential saw tooth */
        return second ? (uint16_t)((~phase & 0x1ff) << 3 | NEGATIVE)
                      : (uint16_t)((phase & 0x1ff) << 3);
    }
}

bool opl3_synth_init(Opl3Synth *s, bool opl2)
{
    uint16_t sine[256];
    s->opl2 = opl2;
    s->wave = malloc(WAVES * sizeof(*s->wave));
    for (unsigned i = 0; i < 256; i++) {
        sine[i] = (uint16_t)lround(-log2(sin((i + 0.5) * M_PI / 512)) * 256);
        s->exponent[i] = (uint16_t)(lround((exp2((255 - i) / 256.0) - 1) * 1024) + 1024);
    }
    for (unsigned wave = 0; s->wave && wave < WAVES; wave++) {
        for (unsigned phase = 0; phase < 1024; phase++) {
            s->wave[wave][phase] = wave_entry(sine, wave, phase);
        }
    }
    return s->wave;
}

void opl3_synth_fini(Opl3Synth *s)
{
    free(s->wave);
}

/* --- registers to operators --- */

/* The operator behind register offset 0..15h of a bank, or -1. */
static int operator_at(unsigned bank, unsigned offset)
{
    unsigned group = offset >> 3, within = offset & 7;
    return group < 3 && within < 6 ? (int)(bank * 18 + group * 6 + within) : -1;
}

static unsigned first_operator(unsigned channel)
{
    return channel / 3 * 6 + channel % 3;
}

/* Channel n and n + 3 as one of four operators: 1 for the first, 2 for the second of a pair. */
static unsigned pair_place(const Opl3Synth *s, unsigned channel)
{
    unsigned within = channel % 9;
    if (!new_mode(s) || within >= 6) {
        return 0;
    }
    unsigned bit = channel / 9 * 3 + within % 3;
    return s->g.reg[1][REG_FOUR_OPERATORS] >> bit & 1 ? 1 + within / 3 : 0;
}

static void refresh_operator(Opl3Synth *s, unsigned n)
{
    Opl3Operator *op = &s->op[n];
    unsigned bank = n / 18, within = n % 18;
    const uint8_t *reg = s->g.reg[bank] + within / 6 * 8 + within % 6;
    unsigned channel = bank * 9 + within / 6 * 3 + within % 3;
    op->channel = (uint8_t)channel;
    /* the second half of a four-operator channel plays the first one's note */
    unsigned pitch = pair_place(s, channel) == 2 ? channel - 3 : channel;
    const uint8_t *note = s->g.reg[pitch / 9] + pitch % 9;
    unsigned number = note[0xa0] | (note[0xb0] & 3u) << 8;
    unsigned block = note[0xb0] >> 2 & 7;

    unsigned flags = reg[0x20];
    op->tremolo = flags & 0x80;
    op->vibrato = flags & 0x40;
    op->multiple = multiples[flags & 15];
    op->step = (number << block >> 1) * op->multiple >> 1;

    static const uint8_t scale_shift[4] = {8, 1, 2, 0};
    int scale = level_scale[number >> 6] * 4 - (8 - (int)block) * 32;
    scale = scale < 0 ? 0 : scale;
    op->attenuation = (uint16_t)((reg[0x40] & 0x3f) * 4 + (scale >> scale_shift[reg[0x40] >> 6]));

    unsigned select = s->g.reg[0][REG_NOTE_SELECT] & 0x40 ? 8 : 9;
    unsigned key_code = block << 1 | (number >> select & 1);
    unsigned offset = flags & 0x10 ? key_code : key_code >> 2;
    unsigned stages[4] = {reg[0x60] >> 4, reg[0x60] & 15u, flags & 0x20 ? 0 : reg[0x80] & 15u,
                          reg[0x80] & 15u};
    for (unsigned i = 0; i < 4; i++) {
        unsigned rate = stages[i] * 4 + offset;
        op->rate[i] = (uint8_t)(stages[i] == 0 ? 0 : rate > 63 ? 60 | (rate & 3) : rate);
    }
    unsigned sustain = reg[0x80] >> 4;
    op->sustain = (uint8_t)(sustain == 15 ? 31 : sustain);

    unsigned wave = reg[0xe0];
    bool selectable = !s->opl2 || s->g.reg[0][REG_TEST] & 0x20;
    op->wave = (uint8_t)(!selectable ? 0 : wave & (new_mode(s) ? 7 : 3));
}

/* Who modulates whom in the channel that begins at `channel`. */
static void route_operators(Opl3Synth *s, const unsigned *op, const int8_t *source,
                            const uint8_t *weight, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        s->op[op[i]].source = source[i] < 0 ? OPL3_NO_SOURCE : (int8_t)op[source[i]];
        s->op[op[i]].weight = weight[i];
    }
}

static void refresh_routes(Opl3Synth *s, unsigned channel)
{
    /* by the connection bits: the operator before, or none; 0 of the first: its own feedback */
    static const int8_t source2[2][2] = {{0, 0}, {0, -1}};
    static const uint8_t weight2[2][2] = {{0, 1}, {1, 1}};
    static const int8_t source4[4][4] = {
        {0, 0, 1, 2}, {0, 0, -1, 2}, {0, -1, 1, 2}, {0, -1, 1, -1}};
    static const uint8_t weight4[4][4] = {{0, 0, 0, 1}, {0, 1, 0, 1}, {1, 0, 0, 1}, {1, 0, 1, 1}};
    static const int8_t no_source[2] = {-1, -1};
    static const uint8_t twice[2] = {2, 2}, second_twice[2] = {0, 2};
    unsigned place = pair_place(s, channel);
    channel = place == 2 ? channel - 3 : channel;
    unsigned a = first_operator(channel);
    const uint8_t *control = s->g.reg[channel / 9] + 0xc0 + channel % 9;
    s->op[a].feedback = control[0] >> 1 & 7;
    if (place) {
        unsigned op[4] = {a, a + 3, a + 6, a + 9};
        unsigned way = (control[0] & 1u) << 1 | (control[3] & 1u);
        route_operators(s, op, source4[way], weight4[way], 4);
        s->op[op[2]].feedback = 0;
        return;
    }
    unsigned op[2] = {a, a + 3}, way = control[0] & 1;
    if (rhythm(s) && channel == 6) {
        route_operators(s, op, source2[way], second_twice, 2);
    } else if (rhythm(s) && (channel == 7 || channel == 8)) {
        route_operators(s, op, no_source, twice, 2);
    } else {
        route_operators(s, op, source2[way], weight2[way], 2);
    }
}

static void key(Opl3Synth *s, unsigned n, uint8_t kind, bool down)
{
    uint8_t *keys = &s->op[n].g.key;
    *keys = (uint8_t)(down ? *keys | kind : *keys & ~kind);
}

static void refresh_keys(Opl3Synth *s, unsigned channel)
{
    unsigned place = pair_place(s, channel);
    if (place == 2) {
        channel -= 3;
    }
    bool down = s->g.reg[channel / 9][0xb0 + channel % 9] & 0x20;
    for (unsigned i = 0; i < (place ? 4u : 2u); i++) {
        key(s, first_operator(channel) + i * 3, OPL3_KEY_NOTE, down);
    }
}

static void refresh_drums(Opl3Synth *s)
{
    unsigned drums = rhythm(s) ? s->g.reg[0][REG_RHYTHM] : 0;
    key(s, 12, OPL3_KEY_DRUM, drums & 0x10); /* bass: both operators */
    key(s, 15, OPL3_KEY_DRUM, drums & 0x10);
    key(s, SNARE, OPL3_KEY_DRUM, drums & 0x08);
    key(s, TOM, OPL3_KEY_DRUM, drums & 0x04);
    key(s, CYMBAL, OPL3_KEY_DRUM, drums & 0x02);
    key(s, HAT, OPL3_KEY_DRUM, drums & 0x01);
}

void opl3_synth_refresh(Opl3Synth *s)
{
    for (unsigned i = 0; i < OPL3_OPERATORS; i++) {
        refresh_operator(s, i);
    }
    for (unsigned i = 0; i < OPL3_CHANNELS; i++) {
        refresh_routes(s, i);
    }
}

static void note_written(Opl3Synth *s, unsigned channel, bool keyed)
{
    unsigned first = first_operator(channel);
    for (unsigned i = 0; i < (pair_place(s, channel) == 1 ? 4u : 2u); i++) {
        refresh_operator(s, first + i * 3);
    }
    if (keyed && pair_place(s, channel) != 2) {
        refresh_keys(s, channel);
    }
}

void opl3_synth_write(Opl3Synth *s, unsigned bank, uint8_t index, uint8_t value)
{
    s->g.reg[bank][index] = value;
    unsigned high = index & 0xf0, low = index & 15;
    bool shared = (bank == 0 && (index == REG_TEST || index == REG_NOTE_SELECT)) ||
                  (bank == 1 && (index == REG_FOUR_OPERATORS || index == REG_NEW));
    if (shared) {
        opl3_synth_refresh(s);
    } else if (bank == 0 && index == REG_RHYTHM) {
        for (unsigned i = 6; i < 9; i++) {
            refresh_routes(s, i);
        }
        refresh_drums(s);
    } else if ((high == 0xa0 || high == 0xb0) && low < 9) {
        note_written(s, bank * 9 + low, high == 0xb0);
    } else if (high == 0xc0 && low < 9) {
        refresh_routes(s, bank * 9 + low);
    } else if ((high >= 0x20 && high < 0xa0) || high >= 0xe0) {
        int n = operator_at(bank, index & 0x1f);
        if (n >= 0) {
            refresh_operator(s, (unsigned)n);
        }
    }
}

/* --- a sample --- */

/* How far the envelope moves in this sample, as a power of two plus one; 0: not at all. */
static unsigned envelope_pace(const Opl3Synth *s, unsigned rate)
{
    static const uint8_t extra[4][4] = {{0, 0, 0, 0}, {1, 0, 0, 0}, {1, 0, 1, 0}, {1, 1, 1, 0}};
    unsigned high = rate >> 2, low = rate & 3;
    if (rate == 0) {
        return 0;
    }
    if (high < 12) {
        /* slow: once in 2^(12 - high) ticks of the counter, and once or twice more by `low` */
        if (!s->g.eg_half || !s->g.eg_zeros) {
            return 0;
        }
        switch (high + s->g.eg_zeros) {
        case 12:
            return 1;
        case 13:
            return low >> 1;
        case 14:
            return low & 1;
        default:
            return 0;
        }
    }
    unsigned pace = (high & 3) + extra[low][s->g.eg_low];
    return pace > 3 ? 3 : pace ? pace : s->g.eg_half;
}

/* Moves the envelope on; true when the operator's key has just gone down. */
static bool envelope_step(const Opl3Synth *s, Opl3Operator *op)
{
    bool start = op->g.key && op->g.stage == OPL3_RELEASE;
    Opl3Stage stage = start ? OPL3_ATTACK : (Opl3Stage)op->g.stage;
    unsigned rate = op->rate[stage];
    unsigned pace = envelope_pace(s, rate);
    int level = op->g.envelope;
    bool gone = (level & 0x1f8) == 0x1f8;
    bool at_once = rate >= 60;
    int change = 0;

    if (start) {
        level = at_once ? 0 : level;
    } else if (stage != OPL3_ATTACK && gone) {
        level = OPL3_SILENT;
    }
    if (stage == OPL3_ATTACK) {
        if (op->g.envelope == 0 && !start) {
            op->g.stage = OPL3_DECAY;
        } else if (op->g.key && pace && !at_once) {
            change = ~(int)op->g.envelope >> (4 - pace);
        }
    } else if (stage == OPL3_DECAY && op->g.envelope >> 4 == op->sustain) {
        op->g.stage = OPL3_SUSTAIN;
    } else if (!gone && pace) {
        change = 1 << (pace - 1);
    }
    op->g.envelope = (uint16_t)((level + change) & 0x1ff);
    if (start) {
        op->g.stage = OPL3_ATTACK;
    }
    if (!op->g.key) {
        op->g.stage = OPL3_RELEASE;
    }
    return start;
}

static uint32_t vibrato_step(const Opl3Synth *s, const Opl3Operator *op)
{
    unsigned channel = pair_place(s, op->channel) == 2 ? op->channel - 3u : op->channel;
    const uint8_t *note = s->g.reg[channel / 9] + channel % 9;
    int number = note[0xa0] | (note[0xb0] & 3) << 8;
    int range = number >> 7 & 7;
    if ((s->g.vibrato_at & 3) == 0) {
        range = 0;
    } else if (s->g.vibrato_at & 1) {
        range >>= 1;
    }
    range >>= s->g.reg[0][REG_RHYTHM] & 0x40 ? 0 : 1;
    number += s->g.vibrato_at & 4 ? -range : range;
    return ((uint32_t)number << (note[0xb0] >> 2 & 7) >> 1) * op->multiple >> 1;
}

/* What the rhythm section makes of the phases of operators 13, 16 and 17. */
static unsigned drum_phase(Opl3Synth *s, unsigned n, unsigned phase)
{
    if (n == HAT) {
        s->g.hat_phase = (uint8_t)((phase >> 2 & 3) | (phase >> 7 & 3) << 2);
    }
    if (n == CYMBAL && rhythm(s)) {
        s->g.cymbal_phase = (uint8_t)((phase >> 3 & 1) | (phase >> 5 & 1) << 1);
    }
    if (!rhythm(s)) {
        return phase;
    }
    unsigned h2 = s->g.hat_phase & 1, h3 = s->g.hat_phase >> 1 & 1, h7 = s->g.hat_phase >> 2 & 1,
             h8 = s->g.hat_phase >> 3, c3 = s->g.cymbal_phase & 1, c5 = s->g.cymbal_phase >> 1;
    unsigned metal = (h2 ^ h7) | (h3 ^ c5) | (c3 ^ c5), noise = s->g.noise & 1;
    switch (n) {
    case HAT:
        return metal << 9 | (metal ^ noise ? 0xd0u : 0x34u);
    case SNARE:
        return h8 << 9 | (h8 ^ noise) << 8;
    case CYMBAL:
        return metal << 9 | 0x80u;
    default:
        return phase;
    }
}

static void operator_step(Opl3Synth *s, unsigned n, unsigned tremolo)
{
    Opl3Operator *op = &s->op[n];
    unsigned level = op->g.envelope + op->attenuation + (op->tremolo ? tremolo : 0u);
    int modulation = 0;
    if (op->source == (int8_t)n) {
        modulation = op->feedback ? (op->g.before + op->g.out) >> (9 - op->feedback) : 0;
    } else if (op->source != OPL3_NO_SOURCE) {
        modulation = s->op[op->source].g.out;
    }
    op->g.before = op->g.out;
    bool resting = op->g.stage == OPL3_RELEASE && !op->g.key && op->g.envelope == OPL3_SILENT;
    bool start = !resting && envelope_step(s, op);

    unsigned phase = drum_phase(s, n, op->g.phase >> PHASE_FRACTION & 0x3ff);
    uint32_t from = start ? 0 : op->g.phase;
    op->g.phase = (from + (op->vibrato ? vibrato_step(s, op) : op->step)) & 0x7ffff;
    unsigned bit = (s->g.noise >> 14 ^ s->g.noise) & 1;
    s->g.noise = s->g.noise >> 1 | bit << 22;

    uint16_t entry = s->wave[op->wave][(phase + (unsigned)modulation) & 0x3ff];
    unsigned total = (entry & ~NEGATIVE) + level * 8;
    int value = total > 0x1fff ? 0 : s->exponent[total & 0xff] << 1 >> (total >> 8);
    op->g.out = (int16_t)(entry & NEGATIVE ? ~value : value); /* ones' complement */
}

/* The clocks that all operators share, at the end of a sample. */
static void clocks_step(Opl3Synth *s)
{
    if ((s->g.samples & 0x3f) == 0x3f) {
        s->g.tremolo_at = (uint8_t)((s->g.tremolo_at + 1) % TREMOLO_STEPS);
    }
    if ((s->g.samples & 0x3ff) == 0x3ff) {
        s->g.vibrato_at = (s->g.vibrato_at + 1) & 7;
    }
    s->g.samples = (s->g.samples + 1) & 0x3ff;
    if (s->g.eg_half) {
        unsigned zeros = s->g.eg_count ? (unsigned)__builtin_ctzll(s->g.eg_count) : 36;
        s->g.eg_zeros = (uint8_t)(zeros > 12 ? 0 : zeros + 1);
        s->g.eg_low = s->g.eg_count & 3;
    }
    if (s->g.eg_over || s->g.eg_half) {
        s->g.eg_count = (s->g.eg_count + 1) & 0xfffffffffu;
        s->g.eg_over = s->g.eg_count == 0;
    }
    s->g.eg_half = !s->g.eg_half;
}

void opl3_synth_sample(Opl3Synth *s, int32_t *left, int32_t *right)
{
    unsigned at = s->g.tremolo_at < 105 ? s->g.tremolo_at : 210u - s->g.tremolo_at;
    unsigned tremolo = at >> (s->g.reg[0][REG_RHYTHM] & 0x80 ? 2 : 4);
    int32_t sum[2] = {0, 0};
    bool stereo = new_mode(s);
    unsigned operators = s->opl2 ? OPL3_OPERATORS / 2 : OPL3_OPERATORS;
    for (unsigned n = 0; n < operators; n++) {
        operator_step(s, n, tremolo);
        Opl3Operator *op = &s->op[n];
        if (op->weight) {
            unsigned sides = s->g.reg[op->channel / 9][0xc0 + op->channel % 9];
            int32_t value = op->g.out * op->weight;
            sum[0] += !stereo || sides & 0x10 ? value : 0;
            sum[1] += !stereo || sides & 0x20 ? value : 0;
        }
    }
    clocks_step(s);
    *left = sum[0] > 32767 ? 32767 : sum[0] < -32768 ? -32768 : sum[0];
    *right = sum[1] > 32767 ? 32767 : sum[1] < -32768 ? -32768 : sum[1];
}

bool opl3_synth_resting(const Opl3Synth *s)
{
    for (unsigned n = 0; n < OPL3_OPERATORS; n++) {
        const Opl3Operator *op = &s->op[n];
        if (op->g.key || op->g.envelope != OPL3_SILENT) {
            return false;
        }
    }
    return true;
}

/* Phases run on unheard; the noise and vibrato's part in them are let go. */
void opl3_synth_skip(Opl3Synth *s, uint64_t samples)
{
    for (unsigned n = 0; n < OPL3_OPERATORS; n++) {
        s->op[n].g.phase = (uint32_t)((s->op[n].g.phase + s->op[n].step * samples) & 0x7ffff);
        s->op[n].g.out = s->op[n].g.before = 0;
    }
    uint64_t total = s->g.samples + samples;
    s->g.tremolo_at = (uint8_t)((s->g.tremolo_at + total / 64 - s->g.samples / 64) % TREMOLO_STEPS);
    s->g.vibrato_at = (s->g.vibrato_at + total / 1024) & 7;
    s->g.samples = total & 0x3ff;
    s->g.eg_count = (s->g.eg_count + (samples + s->g.eg_half) / 2) & 0xfffffffffu;
    s->g.eg_half ^= samples & 1;
}

void opl3_synth_reset(Opl3Synth *s)
{
    memset(&s->g, 0, sizeof(s->g));
    s->g.noise = 1;
    for (unsigned n = 0; n < OPL3_OPERATORS; n++) {
        memset(&s->op[n].g, 0, sizeof(s->op[n].g));
        s->op[n].g.envelope = OPL3_SILENT;
        s->op[n].g.stage = OPL3_RELEASE;
    }
    opl3_synth_refresh(s);
}

void opl3_synth_state(Opl3Synth *s, StateIo *io)
{
    state_bytes(io, "registers", s->g.reg, sizeof(s->g.reg));
    for (unsigned n = 0; n < OPL3_OPERATORS; n++) {
        Opl3Operator *op = &s->op[n];
        state_u32(io, "phase", &op->g.phase);
        state_u16(io, "envelope", &op->g.envelope);
        state_u8(io, "stage", &op->g.stage);
        state_u8(io, "key", &op->g.key);
        state_u16(io, "out", (uint16_t *)&op->g.out);
        state_u16(io, "before", (uint16_t *)&op->g.before);
        state_check(io,
                    op->g.phase <= 0x7ffff && op->g.envelope <= OPL3_SILENT &&
                        op->g.stage <= OPL3_RELEASE && op->g.key <= 3,
                    "an operator is out of range");
    }
    state_u32(io, "noise", &s->g.noise);
    state_u16(io, "samples", &s->g.samples);
    state_u8(io, "vibrato_at", &s->g.vibrato_at);
    state_u8(io, "tremolo_at", &s->g.tremolo_at);
    state_u64(io, "eg_count", &s->g.eg_count);
    state_bool(io, "eg_half", &s->g.eg_half);
    state_bool(io, "eg_over", &s->g.eg_over);
    state_u8(io, "eg_zeros", &s->g.eg_zeros);
    state_u8(io, "eg_low", &s->g.eg_low);
    state_u8(io, "hat_phase", &s->g.hat_phase);
    state_u8(io, "cymbal_phase", &s->g.cymbal_phase);
    state_check(io,
                s->g.vibrato_at < 8 && s->g.tremolo_at < TREMOLO_STEPS && s->g.eg_zeros <= 13 &&
                    s->g.eg_low < 4 && s->g.hat_phase < 16 && s->g.cymbal_phase < 4,
                "a clock is out of range");
}
