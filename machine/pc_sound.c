/* Sound cards of -device: their settings, and how their chips are wired together. */
#include "machine/pc_sound.h"

#include <string.h>

#include "chipset/cards/ac97.h"
#include "chipset/cards/es1370.h"
#include "chipset/cards/gus.h"
#include "chipset/cards/mpu401.h"
#include "chipset/cards/opl3.h"
#include "chipset/cards/sb16.h"
#include "machine/host/midi_synth.h"

enum { BLASTER_BASE = 0x220, BLASTER_IRQ = 5, ADLIB_BASE = 0x388, MPU_BASE = 0x330, MPU_IRQ = 9 };
enum { GUS_BASE = 0x240, GUS_IRQ = 7, GUS_DMA = 3 };

static const uint8_t blaster_irqs[SB_IRQS] = {9, 5, 7, 10};

static bool only_one(PcCards *cards, const char *id, Err *err)
{
    return !device_find(cards->b, id) ||
           err_set(err, "-device: a machine has room for one %s; leave the other one out", id);
}

/* Where a MIDI cable leads. */
typedef struct Cable {
    const char *port;      /* a port or socket of the host; NULL: a synthesizer */
    const char *soundfont; /* NULL: the usual one */
} Cable;

static Cable find_cable(KeyValues *kv)
{
    return (Cable){value_find(kv, "midi"), value_find(kv, "soundfont")};
}

static bool plug_cable(PcCards *cards, const Cable *cable, CharPort *port, Err *err)
{
    if (cable->port) {
        return char_host_open(cards->chars, "device ...,midi=", cable->port, port, err);
    }
    MixerSynth synth = midi_synth_new(cable->soundfont, mixer_hz(cards->mixer));
    *port = mixer_add_synth(cards->mixer, &synth);
    return true;
}

typedef struct Blaster {
    uint32_t base, irq, dma8, dma16;
    SbModel model;
    Cable cable;
} Blaster;

/* An UltraSound answers 100h above its base too, where an MPU-401 may stand. */
static bool bases_apart(const PcCards *cards, Err *err)
{
    uint16_t gus = cards->gus_base;
    if (gus && gus == cards->blaster_base) {
        return err_set(err, "-device gus,iobase=0x%x: the Sound Blaster is there; move one of them",
                       gus);
    }
    return gus != MPU_BASE - 0x100 || !device_find(cards->b, "mpu401") ||
           err_set(err, "-device gus,iobase=0x%x: the MPU-401 is at 0x330; take another base", gus);
}

static bool check_blaster(const Blaster *c, unsigned *irq_choice, Err *err)
{
    for (*irq_choice = 0; *irq_choice < SB_IRQS; ++*irq_choice) {
        if (blaster_irqs[*irq_choice] == c->irq || (c->irq == 2 && *irq_choice == 0)) {
            break;
        }
    }
    if (*irq_choice == SB_IRQS) {
        return err_set(err, "-device sb16,irq=%u: use 2, 5, 7, 9 or 10", c->irq);
    }
    if (c->base < 0x210 || c->base > 0x280 || c->base & 15) {
        return err_set(err, "-device sb16,iobase=0x%x: use 0x220, 0x240, 0x260 or 0x280", c->base);
    }
    if (c->dma8 != 0 && c->dma8 != 1 && c->dma8 != 3) {
        return err_set(err, "-device sb16,dma=%u: use 0, 1 or 3", c->dma8);
    }
    return (c->dma16 >= 5 && c->dma16 <= 7) || c->dma16 == c->dma8 ||
           err_set(err, "-device sb16,dma16=%u: use 5, 6 or 7, or the same as dma=", c->dma16);
}

static bool plug_blaster(PcCards *cards, const Blaster *c, Err *err)
{
    unsigned irq_choice;
    if (!only_one(cards, "sb16", err) || !check_blaster(c, &irq_choice, err)) {
        return false;
    }
    cards->blaster_base = (uint16_t)c->base;
    AudioPort audio = mixer_port(cards->mixer);
    CharPort midi;
    if (!plug_cable(cards, &c->cable, &midi, err)) {
        return false;
    }
    Opl3Config fm = {.audio = audio,
                     .opl2 = c->model < SB_PRO,
                     .base = device_find(cards->b, "adlib") ? 0 : ADLIB_BASE,
                     .blaster_base = (uint16_t)c->base};
    Sb16Config blaster = {.model = c->model,
                          .audio = audio,
                          .base = (uint16_t)c->base,
                          .irq_choice = (uint8_t)irq_choice,
                          .dma8 = (uint8_t)c->dma8,
                          .dma16 = (uint8_t)c->dma16,
                          .cd_volume = cards->cd_volume,
                          .cd = cards->cd,
                          .fm_volume = opl3_volume,
                          .fm = opl3_new(cards->b, &fm, "opl3")};
    for (unsigned i = 0; i < SB_IRQS; i++) {
        blaster.irq[i] = cards->irq(cards->board, blaster_irqs[i]);
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i != 2 && i != 4) { /* the diskette drives' and the cascade */
            blaster.dma[i] = dma_line(cards->dma, i);
        }
    }
    if (c->model == SB_16 && !device_find(cards->b, "mpu401")) {
        Mpu401Config mpu = {.base = MPU_BASE, .midi = midi};
        Mpu401 *interface = mpu401_new(cards->b, &mpu, "mpu401");
        blaster.midi = mpu401_cable(interface);
        Sb16 *card = sb16_new(cards->b, &blaster, "sb16");
        mpu401_connect(interface, sb16_mpu_irq(card));
    } else {
        blaster.midi = midi;
        sb16_new(cards->b, &blaster, "sb16");
    }
    return bases_apart(cards, err);
}

static const Blaster usual_blaster = {
    .base = BLASTER_BASE, .irq = BLASTER_IRQ, .dma8 = 1, .dma16 = 5, .model = SB_16};

bool sound_plug_default(PcCards *cards, Err *err)
{
    return plug_blaster(cards, &usual_blaster, err);
}

/* QEMU's settings, soundfont= and midi=. */
bool sound_plug_sb16(PcCards *cards, KeyValues *kv, Err *err)
{
    static const char *const elsewhere[] = {"audiodev", NULL};
    Blaster c = usual_blaster;
    uint32_t version = 0x405;
    value_ignore(kv, elsewhere);
    if (!value_number(kv, "iobase", 0, 0xffff, &c.base, err) ||
        !value_number(kv, "irq", 0, 15, &c.irq, err) ||
        !value_number(kv, "dma", 0, 7, &c.dma8, err) ||
        !value_number(kv, "dma16", 0, 7, &c.dma16, err) ||
        !value_number(kv, "version", 0x100, 0x4ff, &version, err)) {
        return false;
    }
    c.model = version < 0x200 ? SB_1 : version < 0x300 ? SB_2 : version < 0x400 ? SB_PRO : SB_16;
    c.cable = find_cable(kv);
    return plug_blaster(cards, &c, err);
}

/* The AdLib card alone has the older chip; with opl3=on, the newer one of its kin. */
bool sound_plug_adlib(PcCards *cards, KeyValues *kv, Err *err)
{
    static const char *const elsewhere[] = {"audiodev", "freq", NULL};
    uint32_t base = ADLIB_BASE;
    bool opl3 = false;
    value_ignore(kv, elsewhere);
    if (!only_one(cards, "adlib", err) || !value_number(kv, "iobase", 0x200, 0x3fc, &base, err) ||
        !value_switch(kv, "opl3", &opl3, err)) {
        return false;
    }
    if (device_find(cards->b, "opl3") && base == ADLIB_BASE) {
        return true; /* the Sound Blaster answers there already */
    }
    opl3_new(
        cards->b,
        &(Opl3Config){.audio = mixer_port(cards->mixer), .opl2 = !opl3, .base = (uint16_t)base},
        "adlib");
    return true;
}

bool sound_plug_mpu401(PcCards *cards, KeyValues *kv, Err *err)
{
    uint32_t base = MPU_BASE, irq = MPU_IRQ;
    Cable cable = find_cable(kv);
    CharPort midi;
    if (!only_one(cards, "mpu401", err) || !value_number(kv, "iobase", 0x200, 0x3fe, &base, err) ||
        !value_number(kv, "irq", 3, 15, &irq, err) || !plug_cable(cards, &cable, &midi, err)) {
        return false;
    }
    mpu401_new(
        cards->b,
        &(Mpu401Config){.base = (uint16_t)base, .irq = cards->irq(cards->board, irq), .midi = midi},
        "mpu401");
    return true;
}

static bool check_gus(uint32_t base, uint32_t irq, uint32_t dma, uint32_t memory, Err *err)
{
    if (base < 0x210 || base > 0x260 || base & 15) {
        return err_set(err, "-device gus,iobase=0x%x: use 0x210, 0x220 .. 0x260", base);
    }
    if (!gus_has_irq(irq)) {
        return err_set(err, "-device gus,irq=%u: use 2, 3, 5, 7, 9, 11, 12 or 15", irq);
    }
    if (!gus_has_dma(dma)) {
        return err_set(err, "-device gus,dma=%u: use 1, 3, 5, 6 or 7", dma);
    }
    return (memory && memory % 256 == 0) ||
           err_set(err, "-device gus,memory=%u: use 256, 512, 768 or 1024 (KiB)", memory);
}

bool sound_plug_gus(PcCards *cards, KeyValues *kv, Err *err)
{
    static const char *const elsewhere[] = {"audiodev", "freq", NULL};
    static const uint8_t irqs[] = {3, 5, 7, 9, 11, 12, 15}, channels[] = {1, 3, 5, 6, 7};
    uint32_t base = GUS_BASE, irq = GUS_IRQ, dma = GUS_DMA, memory = 1024;
    Cable cable = find_cable(kv);
    value_ignore(kv, elsewhere);
    if (!only_one(cards, "gus", err) || !value_number(kv, "iobase", 0, 0xffff, &base, err) ||
        !value_number(kv, "irq", 0, 15, &irq, err) || !value_number(kv, "dma", 0, 7, &dma, err) ||
        !value_number(kv, "memory", 0, 1024, &memory, err) ||
        !check_gus(base, irq, dma, memory, err)) {
        return false;
    }
    GusConfig config = {.base = (uint16_t)base,
                        .irq_choice = (uint8_t)irq,
                        .dma_choice = (uint8_t)dma,
                        .memory_kib = memory,
                        .audio = mixer_port(cards->mixer)};
    for (unsigned i = 0; i < sizeof(irqs); i++) {
        config.irq[irqs[i]] = cards->irq(cards->board, irqs[i]);
    }
    for (unsigned i = 0; i < sizeof(channels); i++) {
        config.dma[channels[i]] = dma_line(cards->dma, channels[i]);
    }
    cards->gus_base = (uint16_t)base;
    return bases_apart(cards, err) && plug_cable(cards, &cable, &config.midi, err) &&
           gus_new(cards->b, &config, "gus", err) != NULL;
}

bool sound_plug_es1370(PcCards *cards, KeyValues *kv, Err *err)
{
    static const char *const elsewhere[] = {"audiodev", "bus", NULL};
    Es1370Config config = {.bus = cards->pci, .audio = mixer_port(cards->mixer)};
    value_ignore(kv, elsewhere);
    return only_one(cards, "es1370", err) && pc_cards_pci_place(cards, kv, &config.device, err) &&
           es1370_new(cards->b, &config, "es1370");
}

bool sound_plug_ac97(PcCards *cards, KeyValues *kv, Err *err)
{
    static const char *const elsewhere[] = {"audiodev", "bus", NULL};
    Ac97Config config = {.bus = cards->pci, .audio = mixer_port(cards->mixer)};
    value_ignore(kv, elsewhere);
    return only_one(cards, "ac97", err) && pc_cards_pci_place(cards, kv, &config.device, err) &&
           ac97_new(cards->b, &config, "ac97");
}
