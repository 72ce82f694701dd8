/* Sound Blaster: commands of the DSP.
 *
 * Source: Creative, Sound Blaster Series Hardware Programming Guide, chapters 2 and 6; commands
 * that the guide leaves out by what is known of the DSP's firmware. A command that a model does not
 * know is swallowed. Recording gives silence: no source is plugged in. Not modelled: the CSP (its
 * commands take their bytes and read back as absent).
 */
#include <string.h>

#include "chipset/cards/sb16_internal.h"
#include "machine/core/log.h"

LOG_TAG("sb16");

enum {
    RATE_LOW = 4000,
    RATE_HIGH = 48000,
};

static const uint8_t versions[4][2] = {{1, 5}, {2, 1}, {3, 2}, {4, 5}};

/* How many bytes follow a command, for all models; the 16 takes more for its own. */
static unsigned arguments(const Sb16 *s, uint8_t command)
{
    bool is16 = s->config.model == SB_16;
    switch (command) {
    case 0x10: /* direct output */
    case 0x38: /* MIDI byte */
    case 0x40: /* time constant */
    case 0xe0: /* identification */
    case 0xe2:
    case 0xe4:
        return 1;
    case 0x14: /* 8-bit single output and its ADPCM kin */
    case 0x15:
    case 0x16:
    case 0x17:
    case 0x24:
    case 0x48: /* block size */
    case 0x74:
    case 0x75:
    case 0x76:
    case 0x77:
    case 0x80: /* silence */
        return 2;
    case 0x04:
    case 0x08:
    case 0x0f:
    case 0xf9:
        return is16 ? 1 : 0;
    case 0x05:
    case 0x0e:
    case 0x41: /* output rate */
    case 0x42: /* input rate */
    case 0xfa:
        return is16 ? 2 : 0;
    default:
        return is16 && command >= 0xb0 && command <= 0xcf ? 3 : 0;
    }
}

static uint32_t word_argument(const Sb16 *s)
{
    return s->g.argument[0] | (uint32_t)s->g.argument[1] << 8;
}

void sb16_dsp_reply(Sb16 *s, uint8_t value)
{
    if (s->g.queue_size < SB_QUEUE) {
        s->g.queue[(s->g.queue_at + s->g.queue_size++) % SB_QUEUE] = value;
    }
}

static void set_rate(Sb16 *s, uint32_t hz)
{
    sb16_catch_up(s);
    hz = hz < RATE_LOW ? RATE_LOW : hz > RATE_HIGH ? RATE_HIGH : hz;
    if (hz != s->g.hz && s->g.active) {
        /* a clock in motion goes on from here at the new rate */
        s->g.origin_ns += clock_ticks_to_ns(s->g.frames, s->g.hz);
        s->g.frames = 0;
    }
    s->g.hz = hz;
}

static bool pro_stereo(const Sb16 *s)
{
    return s->config.model == SB_PRO && s->g.mixer[0x0e] & 2;
}

/* The clock of command 40h counts samples; frames of two are half as many. */
static void apply_constant(Sb16 *s)
{
    if (s->g.constant_hz) {
        set_rate(s, s->g.constant_hz / (s->g.stereo ? 2 : 1));
    }
}

void sb16_dsp_stereo(Sb16 *s)
{
    bool pcm_out = s->g.active && s->g.coding == SB_PCM && !s->g.to_memory && !s->g.silence;
    if (pcm_out && s->config.model == SB_PRO && s->g.stereo != pro_stereo(s)) {
        s->g.stereo = pro_stereo(s);
        apply_constant(s);
    }
}

static void begin(Sb16 *s)
{
    s->g.active = false; /* its clock is not to be moved along with the rate's change */
    apply_constant(s);
    sb16_start(s);
}

static void start_8(Sb16 *s, uint32_t length, bool auto_init, bool to_memory, SbCoding coding)
{
    sb16_catch_up(s);
    s->g.wide = s->g.is_signed = s->g.silence = false;
    s->g.stereo = coding == SB_PCM && !to_memory && pro_stereo(s);
    s->g.length = length;
    s->g.auto_init = auto_init;
    s->g.to_memory = to_memory;
    s->g.coding = (uint8_t)coding;
    begin(s);
}

static void start_adpcm(Sb16 *s, SbCoding coding, uint32_t length, bool auto_init, bool reference)
{
    s->g.want_reference = reference;
    start_8(s, length, auto_init, false, coding);
}

/* Commands Bxh (16 bits) and Cxh (8 bits): a mode and the number of units less one. */
static void start_16(Sb16 *s)
{
    uint8_t command = s->g.command, mode = s->g.argument[0];
    sb16_catch_up(s);
    s->g.wide = command < 0xc0;
    s->g.to_memory = command & 8;
    s->g.auto_init = command & 4;
    s->g.is_signed = mode & 0x10;
    s->g.stereo = mode & 0x20;
    s->g.silence = false;
    s->g.coding = SB_PCM;
    s->g.length = (s->g.argument[1] | (uint32_t)s->g.argument[2] << 8) + 1;
    begin(s);
}

static void start_silence(Sb16 *s)
{
    sb16_catch_up(s);
    s->g.wide = s->g.stereo = s->g.auto_init = s->g.to_memory = false;
    s->g.coding = SB_PCM;
    s->g.silence = true;
    s->g.length = word_argument(s) + 1;
    begin(s);
}

/* E2h: drivers read the answer from memory to see which DMA channel works. The DSP adds up its
 * argument, of which some bits are inverted in turn. */
static void identify_dma(Sb16 *s)
{
    static const uint8_t inverted[4] = {0x96, 0xa5, 0x69, 0x5a};
    s->g.id_value = (uint8_t)(s->g.id_value + (s->g.argument[0] ^ inverted[s->g.id_count++ & 3]));
    uint8_t answer = s->g.id_value;
    DmaLine *line = sb16_channel(s, false);
    dma_request(line, true);
    dma_transfer(line, &answer, 1, true, NULL);
    dma_request(line, false);
}

static void reply_copyright(Sb16 *s)
{
    static const char text[] = "COPYRIGHT (C) CREATIVE TECHNOLOGY LTD, 1992.";
    for (size_t i = 0; i < sizeof(text); i++) {
        sb16_dsp_reply(s, (uint8_t)text[i]);
    }
}

/* 10h..9Fh: transfers of 8 bits. False: not one of them. */
static bool transfer_command(Sb16 *s)
{
    uint32_t length = word_argument(s) + 1, block = s->g.block + 1;
    bool since_2 = s->config.model >= SB_2;
    switch (s->g.command) {
    case 0x14:
    case 0x15:
        start_8(s, length, false, false, SB_PCM);
        return true;
    case 0x24:
        start_8(s, length, false, true, SB_PCM);
        return true;
    case 0x16:
    case 0x17:
        start_adpcm(s, SB_ADPCM2, length, false, s->g.command & 1);
        return true;
    case 0x74:
    case 0x75:
        start_adpcm(s, SB_ADPCM4, length, false, s->g.command & 1);
        return true;
    case 0x76:
    case 0x77:
        start_adpcm(s, SB_ADPCM26, length, false, s->g.command & 1);
        return true;
    case 0x80:
        start_silence(s);
        return true;
    default:
        break;
    }
    if (!since_2) {
        return false;
    }
    switch (s->g.command) {
    case 0x1c:
    case 0x90:
    case 0x91:
    case 0x2c:
    case 0x98:
    case 0x99:
        /* at high speed the DSP of the 2.0 and the Pro hears nothing but a reset */
        s->g.high_speed = s->g.command >= 0x90 && s->config.model < SB_16;
        bool high_speed = s->g.high_speed;
        start_8(s, block, !(s->g.command & 1), s->g.command == 0x2c || s->g.command >= 0x98,
                SB_PCM);
        s->g.high_speed = high_speed;
        return true;
    case 0x1f:
        start_adpcm(s, SB_ADPCM2, block, true, true);
        return true;
    case 0x7d:
        start_adpcm(s, SB_ADPCM4, block, true, true);
        return true;
    case 0x7f:
        start_adpcm(s, SB_ADPCM26, block, true, true);
        return true;
    default:
        return false;
    }
}

/* D0h..DAh: pause, go on, leave auto-init, speaker. */
static void control_command(Sb16 *s)
{
    bool is16 = s->config.model == SB_16;
    switch (s->g.command) {
    case 0xd0:
    case 0xd4:
        if (!s->g.wide) {
            sb16_pause(s, s->g.command == 0xd0);
        }
        break;
    case 0xd5:
    case 0xd6:
        if (is16 && s->g.wide) {
            sb16_pause(s, s->g.command == 0xd5);
        }
        break;
    case 0xd1:
    case 0xd3:
        sb16_catch_up(s);
        s->g.speaker = s->g.command == 0xd1;
        break;
    case 0xd8:
        sb16_dsp_reply(s, s->g.speaker ? 0xff : 0x00);
        break;
    case 0xd9: /* leave auto-init at the end of the block */
    case 0xda:
        sb16_catch_up(s);
        s->g.ending |= s->g.active && s->g.wide == (s->g.command == 0xd9);
        break;
    default:
        break;
    }
}

/* 45h, 47h: auto-init goes on, for a transfer that is to end. */
static void continue_command(Sb16 *s)
{
    sb16_catch_up(s);
    if (s->g.active && s->g.wide == (s->g.command == 0x47)) {
        s->g.ending = false;
        s->g.auto_init = true;
    }
}

/* E0h..FFh: who are you, and tests. */
static void query_command(Sb16 *s)
{
    switch (s->g.command) {
    case 0xe0:
        sb16_dsp_reply(s, (uint8_t)~s->g.argument[0]);
        break;
    case 0xe1:
        sb16_dsp_reply(s, versions[s->config.model][0]);
        sb16_dsp_reply(s, versions[s->config.model][1]);
        break;
    case 0xe2:
        identify_dma(s);
        break;
    case 0xe3:
        if (s->config.model == SB_16) {
            reply_copyright(s);
        }
        break;
    case 0xe4:
        s->g.test = s->g.argument[0];
        break;
    case 0xe8:
        sb16_dsp_reply(s, s->g.test);
        break;
    case 0xf2:
        sb16_raise(s, SB_IRQ_8);
        break;
    case 0xf3:
        if (s->config.model == SB_16) {
            sb16_raise(s, SB_IRQ_16);
        }
        break;
    case 0xf9:
        sb16_dsp_reply(s, s->config.model == SB_16 ? s->g.ram[s->g.argument[0]] : 0);
        break;
    case 0xfa:
        if (s->config.model == SB_16) {
            s->g.ram[s->g.argument[0]] = s->g.argument[1];
        }
        break;
    case 0xf8: /* undocumented; installers of the time ask it */
    case 0xfb:
    case 0xfc:
        sb16_dsp_reply(s, 0);
        break;
    case 0xfd:
        sb16_dsp_reply(s, s->g.test);
        break;
    default:
        log_guest("command 0x%02x is unknown", s->g.command);
    }
}

static void execute(Sb16 *s)
{
    uint8_t command = s->g.command;
    log_trace("command 0x%02x 0x%02x 0x%02x 0x%02x", command, s->g.argument[0], s->g.argument[1],
              s->g.argument[2]);
    if (transfer_command(s)) {
        return;
    }
    if (s->config.model == SB_16 && command >= 0xb0 && command <= 0xcf) {
        start_16(s);
        return;
    }
    if (command >= 0x30 && command <= 0x37) {
        sb16_midi_command(s, command);
        return;
    }
    switch (command) {
    case 0x10:
        sb16_direct(s, s->g.argument[0]);
        break;
    case 0x20:
        sb16_dsp_reply(s, 0x80);
        break;
    case 0x38:
        sb16_midi_out(s, s->g.argument[0]);
        break;
    case 0x40:
        s->g.constant_hz = 1000000u / (256u - s->g.argument[0]);
        apply_constant(s);
        break;
    case 0x41:
    case 0x42:
        if (s->config.model == SB_16) {
            s->g.constant_hz = 0;
            set_rate(s, (uint32_t)s->g.argument[0] << 8 | s->g.argument[1]);
        }
        break;
    case 0x45:
    case 0x47:
        continue_command(s);
        break;
    case 0x48:
        s->g.block = word_argument(s);
        break;
    case 0x04: /* before the 16, which has its CSP here: the DSP's state */
        if (s->config.model < SB_16) {
            static const uint8_t states[SB_16] = {0xff, 0x88, 0x7b};
            sb16_dsp_reply(s, states[s->config.model]);
        }
        break;
    case 0x05: /* CSP: none */
    case 0x0e:
    case 0xa0: /* mono or stereo recording */
    case 0xa8:
        break;
    case 0x08:
    case 0x0f:
        if (s->config.model == SB_16) {
            sb16_dsp_reply(s, 0xff);
        }
        break;
    default:
        if (command >= 0xd0 && command <= 0xda) {
            control_command(s);
        } else {
            query_command(s);
        }
    }
}

void sb16_dsp_write(Sb16 *s, uint8_t value)
{
    s->g.busy = true;
    if (s->g.midi_uart) {
        sb16_midi_out(s, value);
        return;
    }
    if (s->g.high_speed) {
        return;
    }
    if (!s->g.wanted) {
        s->g.command = value;
        s->g.have = 0;
        memset(s->g.argument, 0, sizeof(s->g.argument));
        s->g.wanted = (uint8_t)arguments(s, value);
    } else {
        s->g.argument[s->g.have++] = value;
        s->g.wanted--;
    }
    if (!s->g.wanted) {
        execute(s);
    }
}

void sb16_dsp_reset(Sb16 *s)
{
    bool only_mode = s->g.high_speed || s->g.midi_uart;
    sb16_stop(s);
    sb16_midi_reset(s);
    s->g.wanted = 0;
    s->g.queue_size = 0;
    s->g.busy = false;
    sb16_acknowledge(s, SB_IRQ_8 | SB_IRQ_16);
    if (only_mode) {
        return; /* the reset ends that mode and is used up by it */
    }
    s->g.paused = s->g.direct = false;
    s->g.speaker = false;
    s->g.hz = 11025;
    s->g.constant_hz = 0;
    s->g.block = 0x7ff;
    s->g.id_value = 0xaa;
    s->g.id_count = 0;
    s->g.stereo = s->g.wide = false;
    sb16_dsp_reply(s, 0xaa);
}
