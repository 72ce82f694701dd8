/* Fuzzing of sound cards and ports: bytes of input are port accesses, DMA programming, guest
 * memory, what comes in from outside, and time.
 *
 * FUZZ_DEVICE names a row of the table below; a device more needs a row, a function that builds it
 * and one that starts it as a driver does, so that inputs begin where it is interesting. With
 * clang's -fsanitize=fuzzer it is a libFuzzer target; with -DFUZZ_STANDALONE it makes its inputs
 * itself: fuzz_device [seconds [seed]], or runs the files named. FUZZ_LAST=FILE keeps the input
 * that runs. What must hold: no crash, no hang, sound in sane pieces, and a board loaded from the
 * state at any moment has the same state and does the same from there on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chipset/cards/ac97.h"
#include "chipset/cards/es1370.h"
#include "chipset/cards/gameport.h"
#include "chipset/cards/gus.h"
#include "chipset/cards/modem.h"
#include "chipset/cards/mpu401.h"
#include "chipset/cards/opl3.h"
#include "chipset/cards/sb16.h"
#include "chipset/cards/speaker.h"
#include "chipset/dma.h"
#include "chipset/lpt.h"
#include "chipset/pci.h"
#include "chipset/pit.h"
#include "chipset/uart.h"
#include "machine/core/bytes.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_rig.h"

#ifndef FUZZ_DEVICE
#define FUZZ_DEVICE "gus"
#endif

enum {
    RAM_SIZE = 0x20000,
    PCI_SLOT = 5,
    PCI_PORT = 0xc000,
    INPUT_MAX = 1 << 14,
    STEP_LIMIT = 24, /* 1 << so many ns at most pass in a step, */
    LONG_STEP = 36,  /* or where a device waits for a minute and does little meanwhile */
};

typedef struct Rig {
    Board *b;
    uint8_t *ram;
    Dma *dma;
    PciBus *pci;
    CharSink in[2];    /* what the world can send to */
    unsigned lines[2]; /* as it drives their modem lines, CHAR_ bits */
    PhoneSink phone;
    bool phone_full; /* its line takes nothing now */
    EventPort *events;
    uint32_t levels; /* of interrupt lines */
} Rig;

typedef struct Row {
    const char *name;
    void (*build)(Rig *r, uint8_t style);
    void (*start)(Rig *r, uint8_t style); /* NULL: there is nothing to begin with */
    struct {
        uint16_t base, count;
    } ports[4];
    struct {
        uint16_t index, data; /* the number of a register, and what it holds */
    } pair[2];
    const char *const *words; /* that its line understands */
} Row;

/* --- the world around a device --- */

static void line_driven(void *sink, unsigned pin, bool level)
{
    Rig *r = sink;
    r->levels = level ? r->levels | 1u << pin : r->levels & ~(1u << pin);
}

static Line irq(Rig *r, unsigned n)
{
    return (Line){line_driven, r, n};
}

static void world_write(void *backend, const uint8_t *data, size_t size)
{
    (void)backend, (void)data, (void)size;
}

static void world_attach(void *backend, const CharSink *sink)
{
    Rig *r = backend;
    r->in[r->in[0].receive != NULL] = *sink;
}

static void world_ready(void *backend)
{
    (void)backend;
}

static const CharOps world_ops = {
    .write = world_write, .attach = world_attach, .ready = world_ready};

static void phone_attach(void *line, const PhoneSink *sink)
{
    ((Rig *)line)->phone = *sink;
}

static void phone_dial(void *line, const char *number)
{
    (void)line;
    if (strlen(number) > 200) {
        abort();
    }
}

static void phone_nothing(void *line)
{
    (void)line;
}

static size_t phone_room(void *line)
{
    return ((Rig *)line)->phone_full ? 0 : 1000;
}

static const PhoneOps phone_ops = {phone_attach, phone_dial,  phone_nothing, phone_nothing,
                                   phone_room,   world_write, phone_nothing};

/* --- the devices --- */

static CharPort world(Rig *r)
{
    return (CharPort){&world_ops, r};
}

static void build_gus(Rig *r, uint8_t style)
{
    Err err = {""};
    GusConfig c = {.base = 0x240,
                   .irq_choice = 7,
                   .dma_choice = 1,
                   .memory_kib = 256u * ((style & 3) + 1),
                   .audio = fuzz_audio(r->b),
                   .midi = world(r)};
    for (unsigned i = 0; i < 16; i++) {
        c.irq[i] = irq(r, i);
        if (i < 8 && gus_has_dma(i)) {
            c.dma[i] = dma_line(r->dma, i);
        }
    }
    if (!gus_new(r->b, &c, "gus", &err)) {
        exit(1);
    }
}

static void build_sb16(Rig *r, uint8_t style)
{
    Opl3 *fm = opl3_new(r->b,
                        &(Opl3Config){.audio = fuzz_audio(r->b),
                                      .opl2 = (style & 3) < SB_PRO,
                                      .base = 0x388,
                                      .blaster_base = 0x220},
                        "opl3");
    Sb16Config c = {.model = (SbModel)(style & 3),
                    .audio = fuzz_audio(r->b),
                    .midi = world(r),
                    .base = 0x220,
                    .irq = {irq(r, 9), irq(r, 5), irq(r, 7), irq(r, 10)},
                    .irq_choice = 1,
                    .dma8 = 1,
                    .dma16 = 5,
                    .fm_volume = opl3_volume,
                    .fm = fm};
    for (unsigned i = 0; i < 8; i++) {
        if (i != 2 && i != 4) {
            c.dma[i] = dma_line(r->dma, i);
        }
    }
    if (c.model != SB_16) {
        sb16_new(r->b, &c, "sb16");
        return;
    }
    Mpu401Config interface = {.base = 0x330, .midi = world(r)};
    Mpu401 *mpu = mpu401_new(r->b, &interface, "mpu401");
    c.midi = mpu401_cable(mpu);
    mpu401_connect(mpu, sb16_mpu_irq(sb16_new(r->b, &c, "sb16")));
}

static void build_opl3(Rig *r, uint8_t style)
{
    opl3_new(r->b, &(Opl3Config){.audio = fuzz_audio(r->b), .opl2 = style & 1, .base = 0x388},
             "opl3");
}

static void build_mpu401(Rig *r, uint8_t style)
{
    (void)style;
    mpu401_new(r->b, &(Mpu401Config){.base = 0x330, .irq = irq(r, 9), .midi = world(r)}, "mpu401");
}

static void build_es1370(Rig *r, uint8_t style)
{
    (void)style;
    es1370_new(r->b, &(Es1370Config){.bus = r->pci, .device = PCI_SLOT, .audio = fuzz_audio(r->b)},
               "es1370");
}

static void build_ac97(Rig *r, uint8_t style)
{
    (void)style;
    ac97_new(r->b, &(Ac97Config){.bus = r->pci, .device = PCI_SLOT, .audio = fuzz_audio(r->b)},
             "ac97");
}

static bool timer2_wave(void *pit, uint64_t tick, uint64_t *change)
{
    return pit_wave(pit, 2, tick, change);
}

static void build_speaker(Rig *r, uint8_t style)
{
    Pit *pit = pit_new(r->b, &(PitConfig){.base = 0x40, .out = {irq(r, 0)}}, "pit");
    Speaker *speaker = speaker_new(
        r->b,
        &(SpeakerConfig){
            .audio = fuzz_audio(r->b), .wave = timer2_wave, .timer = pit, .timer_hz = PIT_HZ},
        "speaker");
    pit_watch(pit, 2, speaker_before_change, speaker);
    Line gate = speaker_gate(speaker);
    line_set(&gate, style & 1);
}

static void build_gameport(Rig *r, uint8_t style)
{
    r->events = gameport_events(
        gameport_new(r->b, &(GameportConfig){.base = 0x200, .ports = style & 1 ? 8 : 1}, "game"));
}

static void build_lpt(Rig *r, uint8_t style)
{
    lpt_new(
        r->b,
        &(LptConfig){.base = 0x378, .irq = irq(r, 7), .port = style & 1 ? world(r) : (CharPort){0}},
        "lpt");
}

static void build_uart(Rig *r, uint8_t style)
{
    (void)style;
    uart_new(r->b, &(UartConfig){.base = 0x3f8, .irq = irq(r, 4), .port = world(r)}, "com1");
}

static void build_modem(Rig *r, uint8_t style)
{
    (void)style;
    Modem *m = modem_new(r->b, &(ModemConfig){.line = {&phone_ops, r}}, "modem0");
    uart_new(r->b, &(UartConfig){.base = 0x3f8, .irq = irq(r, 4), .port = modem_plug(m)}, "com1");
}

/* --- as drivers start them --- */

typedef struct Step {
    uint16_t port, value;
    uint8_t bytes;
} Step;

static void out(Rig *r, const Step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bus_write(r->b->ports, steps[i].port, steps[i].value, steps[i].bytes);
        clock_step(&r->b->clock, 5000);
    }
}

static void register_of(Rig *r, uint16_t index_port, unsigned index, uint16_t port, unsigned value,
                        unsigned bytes)
{
    bus_write(r->b->ports, index_port, index, 1);
    bus_write(r->b->ports, port, value, bytes);
}

/* One voice that plays, loops and interrupts, a transfer to memory, a timer, sampling. */
static void start_gus(Rig *r, uint8_t style)
{
    static const uint16_t words[][2] = {{0x01, 0x400}, {0x02, 0},      {0x03, 0x200},
                                        {0x04, 2},     {0x05, 0},      {0x0a, 0},
                                        {0x0b, 0x400}, {0x09, 0xe000}, {0x42, 0x10}};
    static const uint8_t bytes[][2] = {{0x0e, 0xcd}, {0x06, 0x3f}, {0x07, 0x20}, {0x08, 0xe0},
                                       {0x00, 0x28}, {0x0d, 0x28}, {0x46, 0xf0}, {0x47, 0xf0},
                                       {0x45, 0x0c}, {0x41, 0x21}};
    static const Step first[] = {
        {0x240, 0x0d, 1}, {0x342, 0, 1}, {0x343, 0x4c, 1}, {0x345, 1, 1}, {0x345, 7, 1}};
    static const Step sampling[] = {
        {0x343, 0x48, 1}, {0x345, 4, 1}, {0x343, 0x49, 1}, {0x345, 0x21, 1}};
    static const Step timers[] = {{0x248, 4, 1}, {0x249, 3, 1}};
    out(r, first, 5);
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        register_of(r, 0x343, words[i][0], 0x344, words[i][1], 2);
    }
    for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        register_of(r, 0x343, bytes[i][0], 0x345, bytes[i][1], 1);
    }
    out(r, sampling, style & 1 ? 4 : 0);
    out(r, timers, 2);
}

static void start_sb16(Rig *r, uint8_t style)
{
    static const Step reset[] = {{0x226, 1, 1}, {0x226, 0, 1}};
    static const uint8_t ways[4][8] = {{0xd1, 0x40, 0xa5, 0x48, 0xff, 0x01, 0x1c},
                                       {0xd1, 0x41, 0x56, 0x22, 0xb6, 0x30, 0xff, 0x01},
                                       {0xd1, 0x40, 0xa5, 0x48, 0xff, 0x01, 0x7d},
                                       {0xd1, 0x40, 0xa5, 0x48, 0xff, 0x01, 0x2c}};
    out(r, reset, 2);
    clock_step(&r->b->clock, 200000);
    for (unsigned i = 0; i < 8 && (i < 7 || ways[style >> 2 & 3][i]); i++) {
        out(r, &(Step){0x22c, ways[style >> 2 & 3][i], 1}, 1);
    }
}

/* Every voice of both banks sounds. */
static void start_opl3(Rig *r, uint8_t style)
{
    bool more = !(style & 1);
    static const uint8_t all[][2] = {{0x20, 0x21}, {0x40, 0x08}, {0x60, 0xf4}, {0x80, 0x25},
                                     {0xe0, 0x01}, {0xc0, 0x3b}, {0xa0, 0x98}, {0xb0, 0x31}};
    if (more) {
        register_of(r, 0x38a, 5, 0x38b, 1, 1);
    }
    for (unsigned i = 0; i < 0x16 * (more ? 2u : 1u); i++) {
        uint16_t port = i < 0x16 ? 0x388 : 0x38a;
        for (unsigned j = 0; j < (i % 0x16 < 9 ? 8 : 5); j++) {
            register_of(r, port, all[j][0] + i % 0x16, port + 1, all[j][1], 1);
        }
    }
    register_of(r, 0x388, 4, 0x389, 0x03, 1);
}

/* The dumb mode; or the clever one with tracks that ask and a clock to the host. */
static void start_mpu401(Rig *r, uint8_t style)
{
    static const uint8_t clever[] = {0xff, 0xe0, 0xec, 0xb8, 0x95, 0x0a};
    if (!(style & 1)) {
        out(r, &(Step){0x331, 0x3f, 1}, 1);
        return;
    }
    for (unsigned i = 0; i < sizeof(clever); i++) {
        out(r, &(Step){0x331, clever[i], 1}, 1);
        bus_read(r->b->ports, 0x330, 1);
        if (i == 1 || i == 2) {
            out(r, &(Step){0x330, i == 1 ? 240 : 0xff, 1}, 1);
        }
    }
}

static void start_es1370(Rig *r, uint8_t style)
{
    static const uint32_t steps[][2] = {
        {0x0c, 0x0c},   {0x30, 0x1000}, {0x34, 0x3f}, {0x38, 0x2000}, {0x3c, 0x3f}, {0x0c, 0x0d},
        {0x30, 0x3000}, {0x34, 0x3f},   {0x24, 31},   {0x28, 31},     {0x2c, 31},   {0x20, 0x73f}};
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        bus_write(r->b->ports, PCI_PORT + steps[i][0], steps[i][1], 4);
    }
    bus_write(r->b->ports, PCI_PORT, 30u << 16 | 3u << 12 | (style & 1 ? 0x70 : 0x60), 4);
}

/* Lists of 32 buffers, all three channels run. */
static void start_ac97(Rig *r, uint8_t style)
{
    uint16_t control = PCI_PORT + 0x400;
    bus_write(r->b->ports, control + 0x2c, 2, 4);
    out(r,
        (const Step[]){
            {PCI_PORT + 0x02, 0, 2}, {PCI_PORT + 0x18, 0x808, 2}, {PCI_PORT + 0x2a, 9, 2}},
        3);
    for (unsigned i = 0; i < 96; i++) {
        bytes_put_le32(r->ram + 0x8000 + i * 8, 0x1000 + i * 0x80);
        bytes_put_le32(r->ram + 0x8004 + i * 8, 0x40 | (i & 3 ? 0 : 0x80000000u));
    }
    for (unsigned i = 0; i < 3; i++) {
        bus_write(r->b->ports, control + 16 * i, 0x8000 + 0x100 * i, 4);
        bus_write(r->b->ports, control + 16 * i + 5, 31, 1);
        bus_write(r->b->ports, control + 16 * i + 0xb, style & 1 << (i & 1) ? 0x1d : 1, 1);
    }
}

static void start_speaker(Rig *r, uint8_t style)
{
    out(r, (const Step[]){{0x43, style & 2 ? 0xb0 : 0xb6, 1}, {0x42, 0x34, 1}, {0x42, 0x02, 1}}, 3);
}

static void start_uart(Rig *r, uint8_t style)
{
    out(r, (const Step[]){{0x3fb, 0x83, 1}, {0x3f8, style & 1 ? 12 : 1, 2}, {0x3fb, 0x03, 1}}, 3);
    out(r, (const Step[]){{0x3fa, style & 2 ? 0xc7 : 0, 1}, {0x3fc, 0x0b, 1}, {0x3f9, 0x0f, 1}}, 3);
}

static const char *const modem_words[] = {"AT\r",
                                          "ATD5551234\r",
                                          "ATA\r",
                                          "ATS0=1\r",
                                          "+++",
                                          "ATO\r",
                                          "ATH\r",
                                          "ATZ\r",
                                          "AT&F\r",
                                          "ATE0V0Q0\r",
                                          "ATX4&C1&D2\r",
                                          "A/",
                                          "ATDT;\r",
                                          "ATS7?\r",
                                          "ATI4\r",
                                          "AT&W1Z1\r",
                                          "AT\\N3%C0\r",
                                          "ATS12=0S2=33\r",
                                          "hello out there\r\n",
                                          "AT&V\r",
                                          "ATM0L3\r",
                                          "AT&K3&Q5\r",
                                          "ATS3=7\r",
                                          "AT+MS=1\r",
                                          NULL};

static void type_words(Rig *r, const char *words)
{
    for (const char *p = words; *p; p++) {
        bus_write(r->b->ports, 0x3f8, (uint8_t)*p, 1);
        clock_step(&r->b->clock, 90000); /* as fast as the line */
    }
}

/* Half of them in a call that was answered. */
static void start_modem(Rig *r, uint8_t style)
{
    start_uart(r, 2);
    if (style & 1) {
        r->phone.ringing(r->phone.self);
        type_words(r, "ATA\r");
        r->phone.connected(r->phone.self);
        clock_step(&r->b->clock, CLOCK_NS_PER_S);
    }
}

static const Row rows[] = {
    {"gus",
     build_gus,
     start_gus,
     {{0x240, 16}, {0x340, 8}, {0x342, 6}, {0x347, 1}},
     {{0x343, 0x345}, {0x343, 0x344}},
     NULL},
    {"sb16",
     build_sb16,
     start_sb16,
     {{0x220, 16}, {0x330, 2}, {0x22a, 6}, {0x22c, 1}},
     {{0x224, 0x225}, {0x388, 0x389}},
     NULL},
    {"opl3", build_opl3, start_opl3, {{0x388, 4}}, {{0x388, 0x389}, {0x38a, 0x38b}}, NULL},
    {"mpu401", build_mpu401, start_mpu401, {{0x330, 2}}, {{0}}, NULL},
    {"es1370", build_es1370, start_es1370, {{PCI_PORT, 64}, {PCI_PORT + 0x20, 32}}, {{0}}, NULL},
    {"ac97", build_ac97, start_ac97, {{PCI_PORT, 256}, {PCI_PORT + 0x400, 64}}, {{0}}, NULL},
    {"speaker", build_speaker, start_speaker, {{0x40, 4}, {0x42, 2}}, {{0}}, NULL},
    {"gameport", build_gameport, NULL, {{0x200, 8}}, {{0}}, NULL},
    {"lpt", build_lpt, NULL, {{0x378, 4}}, {{0}}, NULL},
    {"uart", build_uart, start_uart, {{0x3f8, 8}}, {{0}}, NULL},
    {"modem", build_modem, start_modem, {{0x3f8, 8}, {0x3f8, 1}}, {{0}}, modem_words},
};

static const Row *row(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].name, FUZZ_DEVICE) == 0) {
            return &rows[i];
        }
    }
    fprintf(stderr, "there is no device " FUZZ_DEVICE "\n");
    exit(1);
}

static void build(Rig *r, uint8_t style)
{
    const RamBlock *ram;
    memset(r, 0, sizeof(*r));
    r->b = fuzz_board(RAM_SIZE, &ram);
    r->ram = ram_at(&r->b->ram, ram->at);
    r->pci = pci_new(r->b, "pci");
    r->dma = dma_new(r->b, "dma");
    pci_connect(r->pci, 0, irq(r, 11));
    row()->build(r, style);
    board_reset(r->b, RESET_POWER);
    fuzz_cascade(r->b);
    fuzz_config(r->b, PCI_SLOT, 0x10, PCI_PORT);
    fuzz_config(r->b, PCI_SLOT, 0x14, PCI_PORT + 0x400);
    fuzz_config(r->b, PCI_SLOT, 0x04, 5);
    for (unsigned i = 0; i < 2; i++) {
        if (r->in[i].connected) {
            r->in[i].connected(r->in[i].self, true);
            r->lines[i] = CHAR_CTS | CHAR_DSR | CHAR_DCD;
        }
    }
}

/* --- the input --- */

static void drive_lines(Rig *r, unsigned n, unsigned lines)
{
    r->lines[n] = lines;
    if (r->in[n].lines) {
        r->in[n].lines(r->in[n].self, lines);
    }
}

/* Bytes of a line, its break, its carrier, its modem lines. */
static void from_line(Rig *r, uint8_t what, const uint8_t *data)
{
    unsigned n = what & 1;
    const CharSink *sink = &r->in[n];
    size_t size = what >> 4;
    if (what & 2 && sink->brk) {
        sink->brk(sink->self);
    }
    if (what & 4) {
        drive_lines(r, n, data[15] & (CHAR_CTS | CHAR_DSR | CHAR_RI | CHAR_DCD));
    } else if (what & 8 && sink->connected) {
        bool up = data[15] & 1;
        sink->connected(sink->self, up);
        r->lines[n] = up ? CHAR_CTS | CHAR_DSR | CHAR_DCD : 0;
    }
    if (sink->quiet) {
        sink->quiet(sink->self);
    }
    if (sink->receive && sink->room) {
        size_t room = sink->room(sink->self);
        sink->receive(sink->self, data, room < size ? room : size);
    }
}

/* Bytes, breaks, pad movements, calls. */
static void from_outside(Rig *r, Input *in)
{
    uint8_t what = take(in), data[16];
    for (unsigned i = 0; i < sizeof(data); i++) {
        data[i] = take(in);
    }
    if (r->events) {
        event_post(r->events, data, sizeof(GameportEvent));
        event_deliver(r->b->events);
    } else if (r->phone.ringing) {
        size_t room = r->phone.room(r->phone.self);
        switch (what & 7) {
        case 0:
            r->phone.ringing(r->phone.self);
            break;
        case 1:
            r->phone.connected(r->phone.self);
            break;
        case 2:
            r->phone.ended(r->phone.self, (PhoneEnd)(what >> 3) % PHONE_ENDS);
            break;
        case 3:
            r->phone_full = !r->phone_full;
            if (!r->phone_full) {
                r->phone.drained(r->phone.self);
            }
            break;
        default:
            r->phone.receive(r->phone.self, data, room < sizeof(data) ? room : sizeof(data));
            break;
        }
    } else {
        from_line(r, what, data);
    }
}

/* A register by its number, or a word of those that the device's line understands. */
static void write_pair(Rig *r, Input *in, uint8_t which, uint8_t number)
{
    const Row *d = row();
    unsigned n = which & 1;
    if (d->words) {
        unsigned count = 0;
        while (d->words[count]) {
            count++;
        }
        type_words(r, d->words[number % count]);
    } else {
        unsigned bytes = d->pair[n].data & 1 ? 1 : 2;
        register_of(r, d->pair[n].index, number, d->pair[n].data, take_value(in, bytes), bytes);
    }
}

static uint32_t one_step(Rig *r, Input *in)
{
    uint8_t op = take(in), where = take(in);
    const Row *d = row();
    unsigned range = where >> 6, bytes = op >> 3 & 7;
    range = d->ports[range].count ? range : 0;
    uint16_t port = (uint16_t)(d->ports[range].base + where % d->ports[range].count);
    bytes = bytes == 0 ? 4 : bytes < 3 ? 2 : 1;
    switch (op & 7) {
    case 0:
        if (d->words || d->pair[0].index) {
            write_pair(r, in, op >> 3, where);
            return 0;
        }
        /* fall through */
    case 1:
    case 2:
        bus_write(r->b->ports, port, take_value(in, bytes), bytes);
        return 0;
    case 3:
        return (uint32_t)bus_read(r->b->ports, port, bytes);
    case 4:
        clock_step(&r->b->clock, (int64_t)1 << where % (d->words ? LONG_STEP : STEP_LIMIT));
        return 0;
    case 5: {
        uint32_t sum = 0;
        for (unsigned i = where & 15; i; i--) { /* bursts to data ports */
            bus_write(r->b->ports, port, take(in), 1);
            sum = sum * 31 + (uint32_t)bus_read(r->b->ports, port, bytes);
            clock_step(&r->b->clock, op & 0x80 ? 90000 : 0);
        }
        return sum;
    }
    case 6:
        if (where & 1) {
            fuzz_program_dma(r->b, in);
        } else {
            bytes_put_le32(r->ram + take_value(in, 2) % (RAM_SIZE - 4), take_value(in, 4));
        }
        return 0;
    default:
        from_outside(r, in);
        return 0;
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_silence();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4 || size > INPUT_MAX) {
        return 0;
    }
    Rig one, two;
    Input in = {data + 2, data + size};
    const uint8_t *middle = data + 2 + data[1] * (size - 2) / 256;
    build(&one, data[0]);
    if (data[0] & 0x80 && row()->start) {
        row()->start(&one, data[0]);
    }
    while (in.at < middle) {
        one_step(&one, &in);
    }
    build(&two, data[0]);
    memcpy(two.b->ram.host, one.b->ram.host, one.b->ram.used); /* a card's memory too */
    for (unsigned i = 0; i < 2 && !one.phone.ringing; i++) {
        drive_lines(&two, i, one.lines[i]); /* the world is no part of the state */
    }
    fuzz_copy_board(one.b, two.b, !one.phone.ringing); /* a call ends there */
    Input in_two = in;
    while (in.at < in.end) {
        uint32_t a = one_step(&one, &in), b = one_step(&two, &in_two);
        fuzz_must_be(one.phone.ringing || a == b, "what is read");
    }
    fuzz_must_be(one.phone.ringing || memcmp(one.ram, two.ram, RAM_SIZE) == 0, "memory");
    board_free(one.b);
    board_free(two.b);
    return 0;
}

#include "tests/fuzz/fuzz_noise.h"
