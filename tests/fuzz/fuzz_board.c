/* Fuzzing of network cards and input devices: bytes of input are port accesses, frames, keys and
 * motion, guest memory, and time.
 *
 * FUZZ_DEVICE names the device: ne2000, rtl8029, pcnet, kbc (with keyboard and mouse), serialmouse
 * (behind its UART) or vmwareport (with the processor's registers from the input). With clang's
 * -fsanitize=fuzzer it is a libFuzzer target; with -DFUZZ_STANDALONE it makes its inputs itself:
 * fuzz_board [seconds [seed]], or runs the files named. FUZZ_LAST=FILE keeps the input that runs.
 * What must hold: no crash, no hang, no line that stays up when its causes are gone, and a board
 * loaded from the state at any moment has the same state and does the same from there on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chipset/cards/ne2000.h"
#include "chipset/cards/pcnet.h"
#include "chipset/cards/rtl8029.h"
#include "chipset/cards/serial_mouse.h"
#include "chipset/cards/vmware_port.h"
#include "chipset/kbc.h"
#include "chipset/pci.h"
#include "chipset/ps2_keyboard.h"
#include "chipset/ps2_mouse.h"
#include "chipset/uart.h"
#include "machine/core/bytes.h"
#include "machine/core/keys.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_rig.h"

#ifndef FUZZ_DEVICE
#define FUZZ_DEVICE "ne2000"
#endif

enum {
    RAM_SIZE = 0x20000,
    PCI_SLOT = 5,
    PCI_PORT = 0xc000,
    PCI_MEMORY = 0x80000000,
    INPUT_MAX = 1 << 14
};

static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

typedef struct Rig {
    Board *b;
    uint8_t *ram;
    NetSink sink;
    EventPort *keys, *mouse;
    uint32_t sent;  /* a sum over the frames that the card sent */
    uint32_t lines; /* a sum over the changes of its lines */
    uint16_t port, ports;
    bool waiting, on_pci, backdoor;
    VmwareRegisters registers;
} Rig;

static void line_driven(void *sink, unsigned pin, bool level)
{
    Rig *r = sink;
    r->lines = r->lines * 31 + pin * 2 + level;
}

static void wire_send(void *backend, const uint8_t *frame, size_t size)
{
    Rig *r = backend;
    if (size < 14 || size > NET_MAX_FRAME) {
        abort();
    }
    for (size_t i = 0; i < size; i++) {
        r->sent = r->sent * 31 + frame[i];
    }
}

static void wire_attach(void *backend, const NetSink *sink)
{
    ((Rig *)backend)->sink = *sink;
}

static void wire_ready(void *backend)
{
    ((Rig *)backend)->waiting = false;
}

static const NetOps wire_ops = {wire_send, wire_attach, wire_ready};

static void build_kbc(Rig *r)
{
    Ps2Keyboard *keyboard = ps2_keyboard_new(r->b, &(Ps2KeyboardConfig){0}, "ps2kbd");
    Ps2Mouse *mouse = ps2_mouse_new(r->b, &(Ps2MouseConfig){0}, "ps2mouse");
    kbc_new(r->b,
            &(KbcConfig){.keyboard = ps2_keyboard_plug(keyboard),
                         .mouse = ps2_mouse_plug(mouse),
                         .irq1 = {line_driven, r, 1},
                         .irq12 = {line_driven, r, 12},
                         .a20 = {line_driven, r, 20},
                         .reset = {line_driven, r, 21}},
            "kbc");
    r->keys = ps2_keyboard_events(keyboard);
    r->mouse = ps2_mouse_events(mouse);
    r->port = 0x60;
    r->ports = 5;
}

static void build_serial_mouse(Rig *r, uint8_t kind)
{
    SerialMouse *mouse =
        serial_mouse_new(r->b, &(SerialMouseConfig){(SerialMouseKind)(kind & 3)}, "mouse");
    uart_new(
        r->b,
        &(UartConfig){.base = 0x3f8, .port = serial_mouse_plug(mouse), .irq = {line_driven, r, 4}},
        "com1");
    r->mouse = serial_mouse_events(mouse);
    r->port = 0x3f8;
    r->ports = 8;
}

static void load_registers(void *cpu, VmwareRegisters *registers)
{
    *registers = ((Rig *)cpu)->registers;
}

static void store_registers(void *cpu, const VmwareRegisters *g)
{
    Rig *r = cpu;
    const uint32_t values[] = {g->eax, g->ebx, g->ecx, g->edx, g->esi, g->edi};
    r->registers = *g;
    for (unsigned i = 0; i < 6; i++) {
        r->sent = r->sent * 31 + values[i];
    }
}

static void nudged(void *mouse)
{
    ((Rig *)mouse)->sent++;
}

static void build_backdoor(Rig *r)
{
    VmwarePort *v = vmware_port_new(r->b,
                                    &(VmwarePortConfig){.load = load_registers,
                                                        .store = store_registers,
                                                        .cpu = r,
                                                        .ram_mib = 64,
                                                        .nudge = nudged,
                                                        .mouse = r},
                                    "vmware");
    r->mouse = vmware_port_events(v);
    r->port = 0x5658;
    r->ports = 4;
    r->backdoor = true;
}

static void build_pci(Rig *r, int64_t patience)
{
    PciBus *bus = pci_new(r->b, "pci");
    NetPort port = {&wire_ops, r};
    pci_connect(bus, 0, (Line){line_driven, r, 0});
    if (strcmp(FUZZ_DEVICE, "pcnet") == 0) {
        PcnetConfig c = {.bus = bus, .device = PCI_SLOT, .port = port, .patience = patience};
        memcpy(c.mac, mac, 6);
        pcnet_new(r->b, &c, "net0");
    } else {
        Rtl8029Config c = {.bus = bus, .device = PCI_SLOT, .port = port, .patience = patience};
        memcpy(c.mac, mac, 6);
        rtl8029_new(r->b, &c, "net0");
    }
    r->on_pci = true;
    r->port = PCI_PORT;
    r->ports = 32;
}

static void build(Rig *r, uint8_t first)
{
    int64_t patience = first & 0x80 ? 1000000 : 0;
    const RamBlock *ram;
    memset(r, 0, sizeof(*r));
    r->b = fuzz_board(RAM_SIZE, &ram);
    r->ram = ram_at(&r->b->ram, ram->at);
    if (strcmp(FUZZ_DEVICE, "kbc") == 0) {
        build_kbc(r);
    } else if (strcmp(FUZZ_DEVICE, "serialmouse") == 0) {
        build_serial_mouse(r, first);
    } else if (strcmp(FUZZ_DEVICE, "vmwareport") == 0) {
        build_backdoor(r);
    } else if (strcmp(FUZZ_DEVICE, "ne2000") == 0) {
        Ne2000Config c = {.base = 0x300,
                          .port = {&wire_ops, r},
                          .patience = patience,
                          .irq = {line_driven, r, 10}};
        memcpy(c.mac, mac, 6);
        ne2000_new(r->b, &c, "net0");
        r->port = 0x300;
        r->ports = 32;
    } else {
        build_pci(r, patience);
    }
    board_reset(r->b, RESET_POWER);
    if (r->on_pci) {
        fuzz_config(r->b, PCI_SLOT, 0x10, PCI_PORT);
        fuzz_config(r->b, PCI_SLOT, 0x14, PCI_MEMORY);
        fuzz_config(r->b, PCI_SLOT, 0x04, 7);
    }
}

/* --- as a driver starts the card, so that inputs begin where it is interesting --- */

static void out(Rig *r, unsigned offset, uint32_t value, unsigned bytes)
{
    bus_write(r->b->ports, r->port + offset, value, bytes);
}

static void start_8390(Rig *r)
{
    static const uint8_t steps[][2] = {
        {0x0, 0x21}, {0xe, 0x49}, {0xc, 0x1f}, {0xd, 0x00}, {0x1, 0x46}, {0x2, 0x80}, {0x3, 0x46},
        {0x4, 0x40}, {0x7, 0xff}, {0xf, 0x7f}, {0x0, 0x61}, {0x7, 0x47}, {0x0, 0x22}};
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        out(r, steps[i][0], steps[i][1], 1);
    }
}

static void csr(Rig *r, unsigned n, uint16_t value, unsigned data_port)
{
    out(r, 0x12, n, 2);
    out(r, data_port, value, 2);
}

/* Rings of eight descriptors with buffers of 64 bytes, all the chip's. */
static void start_pcnet(Rig *r, uint8_t style)
{
    unsigned size = style ? 16 : 8;
    csr(r, 20, style, 0x16);
    r->ram[0] = 0x00;
    r->ram[1] = 0x80; /* promiscuous */
    uint8_t *rings = r->ram + (style ? 20 : 16);
    bytes_put_le32(rings, 0x100);
    bytes_put_le32(rings + 4, 0x200);
    if (style) {
        r->ram[2] = r->ram[3] = 0x30;
    } else {
        rings[3] = rings[7] = 0x60;
    }
    for (unsigned i = 0; i < 16; i++) {
        uint8_t *d = r->ram + 0x100 + i % 8 * size + i / 8 * 0x100;
        uint32_t buffer = 0x1000 + i * 0x40;
        bytes_put_le32(d + (style == 3 ? 8 : 0), buffer);
        bytes_put_le16(d + 4, 0xffc0);
        if (style) {
            bytes_put_le16(d + 6, i < 8 ? 0x8000 : 0x0300);
        } else {
            d[3] = i < 8 ? 0x80 : 0x03;
        }
    }
    csr(r, 1, 0, 0x10);
    csr(r, 2, 0, 0x10);
    csr(r, 0, 0x43, 0x10);
}

/* A byte for the mouse, which answers. */
static void to_mouse(Rig *r, uint8_t value)
{
    out(r, 4, 0xd4, 1);
    out(r, 0, value, 1);
    clock_step(&r->b->clock, 2000000);
    bus_read(r->b->ports, r->port, 1);
}

static void start(Rig *r, uint8_t how)
{
    if (strcmp(FUZZ_DEVICE, "pcnet") == 0) {
        start_pcnet(r, how >> 1 & 3);
    } else if (r->sink.receive) {
        start_8390(r);
    } else if (r->keys) {
        clock_step(&r->b->clock, 400000000);
        out(r, 4, 0x60, 1);
        out(r, 0, 0x47, 1);
        out(r, 4, 0xa8, 1);
        to_mouse(r, 0xf4);
        if (how & 2) { /* the knock of the wheel */
            static const uint8_t rates[] = {200, 100, 80};
            for (unsigned i = 0; i < 3; i++) {
                to_mouse(r, 0xf3);
                to_mouse(r, rates[i]);
            }
        }
    }
}

/* --- the input --- */

static void frame_arrives(Rig *r, Input *in)
{
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t frame[NET_MAX_FRAME], to = take(in);
    size_t size = take_value(in, 2) % (NET_MAX_FRAME + 1);
    if (!r->sink.receive || r->waiting) {
        return; /* a back end offers the frame that waits again, when it is told to */
    }
    memset(frame, to, sizeof(frame));
    memcpy(frame, to & 1 ? mac : all, 6);
    r->waiting = !r->sink.receive(r->sink.self, frame, size);
}

static void input_event(Rig *r, Input *in)
{
    InputEvent e = {.kind = (InputKind)(take(in) & 3)};
    e.key = take(in);
    e.down = e.key & 1 ? take(in) & 1 : true;
    e.buttons = take(in);
    e.dx = (int16_t)take_value(in, 2);
    e.dy = (int16_t)take_value(in, 2);
    e.wheel = (int8_t)take(in);
    e.x = (uint16_t)e.dx;
    e.y = (uint16_t)e.dy;
    if (r->keys && e.kind == INPUT_KEY) {
        event_post(r->keys, &e, sizeof(e));
    } else if (r->mouse) {
        event_post(r->mouse, &e, sizeof(e));
    }
    event_deliver(r->b->events);
}

/* What a driver has in its registers, or anything. */
static void fill_registers(Rig *r, Input *in)
{
    static const uint32_t commands[8] = {10, 20, 23, 39, 39, 40, 41, 41};
    static const uint32_t words[8] = {0x45414552, 0x53424152, 0x53424152, 0x4c455252,
                                      0xf5,       1,          4,          6};
    uint8_t how = take(in);
    r->registers = (VmwareRegisters){
        .eax = 0x564d5868, .ebx = words[how & 7], .ecx = commands[how >> 3 & 7], .edx = 0x5658};
    if (how & 0x40) {
        r->registers.ebx = take_value(in, 4);
    }
    if (how & 0x80) {
        r->registers.ecx = take_value(in, 4);
        r->registers.eax ^= take(in) & 1;
    }
}

static uint32_t one_step(Rig *r, Input *in)
{
    uint8_t op = take(in);
    uint16_t port = (uint16_t)(r->port + (op >> 3) % r->ports);
    uint8_t how = take(in);
    unsigned bytes = 1u << (how & 0x3f) % 3;
    if (r->backdoor) {
        fill_registers(r, in);
        port = op & 0x80 ? port : r->port;
        bytes = op & 0x80 ? bytes : 4;
    }
    switch (op & 7) {
    case 0:
        if (how & 0x80 && strcmp(FUZZ_DEVICE, "pcnet") == 0) {
            csr(r, take(in), (uint16_t)take_value(in, 2), 0x10);
            return 0;
        }
        if (how & 0x80 && r->keys) {
            to_mouse(r, take(in));
            return 0;
        }
        /* fall through */
    case 1:
        bus_write(r->b->ports, port, take_value(in, bytes), bytes);
        return 0;
    case 2:
        return (uint32_t)bus_read(r->b->ports, port, bytes);
    case 3:
        r->sink.receive ? frame_arrives(r, in) : input_event(r, in);
        return 0;
    case 4:
        clock_step(&r->b->clock, (int64_t)1 << take(in) % 28);
        return 0;
    case 5: { /* many of one: data ports, bursts */
        uint32_t sum = 0;
        unsigned count = take(in);
        if (how & 0x40) {
            return fuzz_burst(r->b, port, bytes, count, how & 0x80);
        }
        for (unsigned i = count; i; i--) {
            sum = sum * 31 + (uint32_t)bus_read(r->b->ports, port, bytes);
        }
        return sum;
    }
    case 6:
        if (r->on_pci && op & 8) {
            fuzz_config(r->b, PCI_SLOT, op & 0x10 ? 0x04 : 0x10 + (op >> 3 & 0xc),
                        take_value(in, 4));
        } else {
            for (unsigned i = take(in); i; i--) {
                bus_write(r->b->ports, port, i * 0x01010101u, bytes);
            }
        }
        return 0;
    default: {
        uint32_t to = take_value(in, 2) % (RAM_SIZE - 4); /* rings lie low */
        bytes_put_le32(r->ram + to, take_value(in, 4));
        return 0;
    }
    }
}

/* --- the state --- */

static void copy_board(Rig *from, Rig *to)
{
    memcpy(to->ram, from->ram, RAM_SIZE);
    fuzz_copy_board(from->b, to->b, true);
    to->sent = from->sent;
    to->waiting = from->waiting = false; /* back ends try again with what waits */
    to->lines = from->lines;
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
    if (data[0] & 1) {
        start(&one, data[0]);
    }
    while (in.at < middle) {
        one_step(&one, &in);
    }
    build(&two, data[0]);
    copy_board(&one, &two);
    Input in_two = in;
    while (in.at < in.end) {
        uint32_t a = one_step(&one, &in), b = one_step(&two, &in_two);
        fuzz_must_be(a == b && one.sent == two.sent, "what is read or sent");
    }
    fuzz_must_be(memcmp(one.ram, two.ram, RAM_SIZE) == 0, "memory");
    board_free(one.b);
    board_free(two.b);
    return 0;
}

#include "tests/fuzz/fuzz_noise.h"
