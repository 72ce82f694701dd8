/* All simple chips on one board under random port traffic: nothing breaks, and a board loaded from
 * a state goes on exactly like the one that was saved. A failure prints its seed. */
#include "chipset/cards/gameport.h"
#include "chipset/cards/serial_mouse.h"
#include "chipset/cards/vmware_port.h"
#include "chipset/debugcon.h"
#include "chipset/dma.h"
#include "chipset/fw_cfg.h"
#include "chipset/kbc.h"
#include "chipset/lpt.h"
#include "chipset/pic.h"
#include "chipset/pit.h"
#include "chipset/ps2_keyboard.h"
#include "chipset/ps2_mouse.h"
#include "chipset/rtc.h"
#include "chipset/sysctl.h"
#include "chipset/uart.h"

#include <string.h>

#include "machine/core/keys.h"
#include "tests/unit/chip.h"

#define RAM_SIZE 0x200000u

typedef struct Pc {
    Board *b;
    Pic *pic;
    Dma *dma;
    Ps2Keyboard *kbd;
    Ps2Mouse *mouse;
    SerialMouse *serial;
    Gameport *pads;
    VmwarePort *vmware;
    DmaLine dma_line[2];
    VmwareRegisters registers;
} Pc;

static void load(void *cpu, VmwareRegisters *r)
{
    *r = *(VmwareRegisters *)cpu;
}

static void store(void *cpu, const VmwareRegisters *r)
{
    *(VmwareRegisters *)cpu = *r;
}

static void swallow(void *backend, const uint8_t *data, size_t size)
{
    (void)backend;
    (void)data;
    (void)size;
}

static const CharOps printer = {.write = swallow};

static void build(Pc *pc)
{
    Err err = {""};
    memset(pc, 0, sizeof(*pc));
    Board *b = pc->b = chip_board();
    chip_ram(b, RAM_SIZE);
    pc->pic = pic_new(b, &(PicConfig){0}, "pic");
    pit_new(b, &(PitConfig){.base = 0x40, .out = {pic_input(pc->pic, 0)}}, "pit");
    pc->dma = dma_new(b, "dma");
    Sysctl *sysctl = sysctl_new(b, &(SysctlConfig){.irq13 = pic_input(pc->pic, 13)}, "sysctl");
    rtc_new(b, &(RtcConfig){.irq = pic_input(pc->pic, 8), .nmi_mask = sysctl_nmi_mask(sysctl)},
            "rtc");
    pc->kbd = ps2_keyboard_new(b, &(Ps2KeyboardConfig){0}, "kbd");
    pc->mouse = ps2_mouse_new(b, &(Ps2MouseConfig){0}, "mouse");
    kbc_new(b,
            &(KbcConfig){.keyboard = ps2_keyboard_plug(pc->kbd),
                         .mouse = ps2_mouse_plug(pc->mouse),
                         .irq1 = pic_input(pc->pic, 1),
                         .irq12 = pic_input(pc->pic, 12),
                         .a20 = sysctl_a20_input(sysctl)},
            "kbc");
    pc->serial = serial_mouse_new(b, &(SerialMouseConfig){SERIAL_MOUSE_WHEEL}, "serial_mouse");
    uart_new(b,
             &(UartConfig){.base = 0x3f8,
                           .irq = pic_input(pc->pic, 4),
                           .port = serial_mouse_plug(pc->serial)},
             "com1");
    uart_new(b, &(UartConfig){.base = 0x2f8, .model = UART_16450, .irq = pic_input(pc->pic, 3)},
             "com2");
    lpt_new(b, &(LptConfig){.base = 0x378, .irq = pic_input(pc->pic, 7), .port = {&printer, NULL}},
            "lpt1");
    fw_cfg_add_file(fw_cfg_new(b, "fw_cfg"), "bootorder", "order", 6, &err);
    debugcon_new(b, &(DebugconConfig){.base = 0x402}, "debugcon");
    pc->pads = gameport_new(b, &(GameportConfig){0x201, 1}, "gameport");
    pc->vmware = vmware_port_new(b,
                                 &(VmwarePortConfig){.load = load,
                                                     .store = store,
                                                     .cpu = &pc->registers,
                                                     .nudge = ps2_mouse_nudge,
                                                     .mouse = pc->mouse},
                                 "vmware");
    pc->dma_line[0] = dma_line(pc->dma, 1);
    pc->dma_line[1] = dma_line(pc->dma, 5);
    board_reset(b, RESET_POWER);
}

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static uint16_t random_port(uint64_t r)
{
    static const struct {
        uint16_t base, count;
    } ranges[] = {{0x00, 16}, {0x20, 2},  {0x40, 4},  {0x60, 1},   {0x61, 1},
                  {0x64, 1},  {0x70, 4},  {0x80, 16}, {0x92, 1},   {0xa0, 2},
                  {0xc0, 32}, {0xf0, 2},  {0x201, 1}, {0x2f8, 8},  {0x378, 3},
                  {0x3f8, 8}, {0x402, 1}, {0x4d0, 2}, {0x510, 12}, {0x5658, 4}};
    unsigned i = (unsigned)(r % (sizeof(ranges) / sizeof(ranges[0])));
    return (uint16_t)(ranges[i].base + (r >> 8) % ranges[i].count);
}

static void random_event(Pc *pc, uint64_t r)
{
    InputEvent e = {.kind = (InputKind)(r & 3),
                    .key = (uint8_t)(r >> 8),
                    .down = r >> 16 & 1,
                    .buttons = (uint8_t)(r >> 17 & 31),
                    .dx = (int16_t)(r >> 24),
                    .dy = (int16_t)(r >> 32),
                    .wheel = (int16_t)(int8_t)(r >> 40),
                    .x = (uint16_t)(r >> 24),
                    .y = (uint16_t)(r >> 32)};
    GameportEvent pads = {.connected = (uint8_t)(r >> 8), .buttons = (uint8_t)(r >> 16)};
    event_post(ps2_keyboard_events(pc->kbd), &e, sizeof(e));
    event_post(ps2_mouse_events(pc->mouse), &e, sizeof(e));
    event_post(serial_mouse_events(pc->serial), &e, sizeof(e));
    event_post(vmware_port_events(pc->vmware), &e, sizeof(e));
    event_post(gameport_events(pc->pads), &pads, sizeof(pads));
    event_deliver(pc->b->events);
}

static uint64_t random_backdoor(Pc *pc, uint64_t r)
{
    static const uint32_t commands[] = {10, 20, 23, 39, 39, 40, 41, 41, 86, 7};
    static const uint32_t arguments[] = {0x45414552, 0x53424152, 0x4c455252, 0xf5, 4, 1, 7, 0};
    pc->registers = (VmwareRegisters){
        .eax = 0x564d5868, .ebx = arguments[r >> 8 & 7], .ecx = commands[(r >> 16) % 10]};
    return bus_read(pc->b->ports, 0x5658, 4);
}

/* One random thing that can happen to a board; what the guest sees of it. */
static uint64_t act(Pc *pc, uint64_t r)
{
    static const int64_t spans[] = {500, 20000, 1000000, 30000000, 1100000000};
    uint8_t data[300] = {0};
    unsigned bytes = 1u << (r >> 4 & 3);
    uint64_t detail = r >> 8;
    bytes = bytes > 4 ? 1 : bytes;
    switch (r & 15) {
    case 0:
        clock_step(&pc->b->clock, (int64_t)(detail % (uint64_t)spans[(r >> 4 & 15) % 5]));
        return 0;
    case 1:
        random_event(pc, detail);
        return 0;
    case 2:
        return pic_acknowledge(pc->pic);
    case 3:
        dma_transfer(&pc->dma_line[r >> 4 & 1], data, detail % sizeof(data), r >> 5 & 1, NULL);
        return data[0] | (uint64_t)data[150] << 8;
    case 4:
        return random_backdoor(pc, detail);
    case 5:
        if (detail % 64 == 0) {
            board_reset(pc->b, r >> 4 & 1 ? RESET_POWER : RESET_HARD);
        }
        return pic_pending(pc->pic);
    case 6:
    case 7:
    case 8:
    case 9:
        return bus_read(pc->b->ports, random_port(detail), bytes);
    default:
        bus_write(pc->b->ports, random_port(detail), detail >> 24, bytes);
        return 0;
    }
}

static void a_loaded_board_goes_on_alike(void **state)
{
    (void)state;
    for (uint64_t first = 1; first <= 40; first++) {
        uint64_t seed = first * 0x9e3779b97f4a7c15u;
        Pc pc, twin;
        build(&pc);
        build(&twin);
        for (unsigned i = 0; i < 500 + first * 20; i++) {
            act(&pc, next(&seed));
        }
        /* memory and processor are not the devices' state: both begin with the same */
        twin.registers = pc.registers;
        memcpy(ram_at(&twin.b->ram, 0), ram_at(&pc.b->ram, 0), RAM_SIZE);
        chip_state_round_trip(pc.b, twin.b);
        for (unsigned i = 0; i < 500; i++) {
            uint64_t r = next(&seed);
            uint64_t seen = act(&pc, r), again = act(&twin, r);
            if (seen != again) {
                fail_msg("seed %u, step %u: 0x%llx, and 0x%llx after a load", (unsigned)first, i,
                         (unsigned long long)seen, (unsigned long long)again);
            }
        }
        chip_state_round_trip(pc.b, twin.b);
        board_free(pc.b);
        board_free(twin.b);
    }
}

/* Changes one byte and mends the checksum. */
static void damage(uint8_t *bytes, size_t size, uint64_t r)
{
    bytes[8 + r % (size - 12)] ^= (uint8_t)(1u << (r >> 32 & 7)) | (uint8_t)(r >> 40);
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size - 4; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xedb88320 & (0u - (crc & 1)));
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        bytes[size - 4 + i] = (uint8_t)(~crc >> (8 * i));
    }
}

/* A damaged state is refused or harmless: what it leaves behind still runs. */
static void damaged_states_are_harmless(void **state)
{
    (void)state;
    uint64_t seed = 0x123456789abcdefu;
    Pc pc;
    build(&pc);
    for (unsigned i = 0; i < 300; i++) {
        act(&pc, next(&seed));
    }
    StateIo *saver = state_saver_new();
    board_state(pc.b, saver);
    size_t size = 0;
    const uint8_t *bytes = state_finish(saver, &size);
    uint8_t *copy = test_malloc(size);
    for (unsigned round = 0; round < 60; round++) {
        Pc victim;
        build(&victim);
        memcpy(copy, bytes, size);
        damage(copy, size, next(&seed));
        StateIo *loader = state_loader_new(copy, size, NULL);
        if (loader) {
            board_state(victim.b, loader);
            if (state_ok(loader)) {
                board_restored(victim.b);
            } else {
                board_reset(victim.b, RESET_POWER);
            }
            state_free(loader);
        }
        for (unsigned i = 0; i < 200; i++) {
            act(&victim, next(&seed));
        }
        board_free(victim.b);
    }
    test_free(copy);
    state_free(saver);
    board_free(pc.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loaded_board_goes_on_alike),
        cmocka_unit_test(damaged_states_are_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
