/* The board of a period PC: 440FX, PIIX3, and all that hangs on them, wired top to bottom in
 * pc_build.
 *
 * Read pc_build as a schematic: first the memory and the processor, then the chips in the order in
 * which they stand on the buses, last the plugs. Chips know nothing of each other; every wire
 * between two of them is a line here.
 */
#include "machine/pc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chipset/cards/gameport.h"
#include "chipset/cards/modem.h"
#include "chipset/cards/serial_mouse.h"
#include "chipset/cards/speaker.h"
#include "chipset/cards/vmware_port.h"
#include "chipset/debugcon.h"
#include "chipset/dma.h"
#include "chipset/fw_cfg.h"
#include "chipset/i440fx.h"
#include "chipset/ioapic.h"
#include "chipset/kbc.h"
#include "chipset/lapic.h"
#include "chipset/lpt.h"
#include "chipset/pci.h"
#include "chipset/pic.h"
#include "chipset/piix3.h"
#include "chipset/piix4_pm.h"
#include "chipset/pit.h"
#include "chipset/ps2_keyboard.h"
#include "chipset/ps2_mouse.h"
#include "chipset/rtc.h"
#include "chipset/sysctl.h"
#include "chipset/uart.h"
#include "display/cirrus.h"
#include "display/vga.h"
#include "machine/firmware.h"
#include "machine/host/char_host.h"
#include "machine/host/host_time.h"
#include "machine/host/mixer.h"
#include "machine/host/phone_host.h"
#include "machine/pc_cards.h"
#include "machine/pc_drives.h"
#include "machine/pc_fw.h"
#include "machine/pc_options.h"

enum { VGA_DEVICE = 2, APIC_BUS_HZ = 100000000, MOUSE_HZ = 100, CMOS_SHUTDOWN = 0x0f };

static const uint16_t uart_base[MACHINE_MAX_SERIAL] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
static const uint8_t uart_irq[MACHINE_MAX_SERIAL] = {4, 3, 4, 3};
static const char *const serial_mouse_id[MACHINE_MAX_SERIAL] = {"mouse0", "mouse1", "mouse2",
                                                                "mouse3"};
static const char *const uart_id[MACHINE_MAX_SERIAL] = {"serial0", "serial1", "serial2", "serial3"};

struct Pc {
    Board *b;
    PcHost host;
    Cpu *cpu;
    Pic *pic;
    Pit *pit;
    Rtc *rtc;
    Piix4Pm *pm;
    Ps2Keyboard *keyboard;
    Ps2Mouse *mouse;
    VmwarePort *pointer;
    EventPort *sticks;       /* on the game port */
    EventPort *serial_mouse; /* takes the mouse's events; NULL: the PS/2 mouse does */
    int64_t power_on_us;     /* UTC at guest time 0, since 1970 */
    int32_t utc_offset_minutes;
    Vga *vga;
    Screen *screen;
    CharHost *chars;
    PhoneHost *phone[MACHINE_MAX_SERIAL]; /* of modems */
    Mixer *mixer;
    NetHost *net;
    Drives drives;
    PcSeed seed;
};

/* --- wires that need a word of translation --- */

static void reset_pulled(void *sink, unsigned pin, bool level)
{
    Pc *pc = sink;
    (void)pin;
    if (level) {
        pc->host.reset(pc->host.self);
    }
}

/* The keyboard controller's and port 92h's way to reset the processor. Software that wants to come
 * back from it has set the shutdown byte; with none set it wants the machine to start anew, which
 * the firmware would have to arrange by pulling the same line once more. */
static void soft_reset_pulled(void *sink, unsigned pin, bool level)
{
    Pc *pc = sink;
    if (!level) {
        return;
    }
    if (rtc_cmos(pc->rtc, CMOS_SHUTDOWN) == 0) {
        reset_pulled(pc, pin, true);
    } else {
        cpu_init_pin(pc->cpu, 0, true);
        cpu_init_pin(pc->cpu, 0, false);
    }
}

static void power_off_pulled(void *sink, unsigned pin, bool level)
{
    Pc *pc = sink;
    (void)pin;
    if (level) {
        pc->host.power_off(pc->host.self);
    }
}

static void gate2_driven(void *sink, unsigned pin, bool level)
{
    pit_gate(sink, pin, level);
}

static bool timer2_out(void *pit)
{
    return pit_output(pit, 2);
}

static bool timer2_wave(void *pit, uint64_t tick, uint64_t *change)
{
    return pit_wave(pit, 2, tick, change);
}

static void registers_out(void *cpu, VmwareRegisters *out)
{
    const uint32_t *r = ((const Cpu *)cpu)->reg;
    *out = (VmwareRegisters){r[EAX], r[EBX], r[ECX], r[EDX], r[ESI], r[EDI]};
}

static void registers_in(void *cpu, const VmwareRegisters *in)
{
    uint32_t *r = ((Cpu *)cpu)->reg;
    r[EAX] = in->eax;
    r[EBX] = in->ebx;
    r[ECX] = in->ecx;
    r[EDX] = in->edx;
    r[ESI] = in->esi;
    r[EDI] = in->edi;
}

static VmwareTime time_of_day(void *self)
{
    const Pc *pc = self;
    return (VmwareTime){.utc_us = pc->power_on_us + clock_now(&pc->b->clock) / 1000,
                        .offset_minutes = pc->utc_offset_minutes};
}

/* A mouse in the place of a serial line: "msmouse" as QEMU calls it, "mousesystems", "logitech",
 * "wheelmouse". */
static bool serial_mouse_kind(const char *spec, SerialMouseKind *kind)
{
    static const struct {
        const char *name;
        SerialMouseKind kind;
    } kinds[] = {{"msmouse", SERIAL_MOUSE_MICROSOFT},
                 {"logitech", SERIAL_MOUSE_LOGITECH},
                 {"wheelmouse", SERIAL_MOUSE_WHEEL},
                 {"mousesystems", SERIAL_MOUSE_SYSTEMS}};
    for (size_t i = 0; spec && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, spec) == 0) {
            *kind = kinds[i].kind;
            return true;
        }
    }
    return false;
}

static Line card_irq(void *piix, unsigned irq)
{
    return piix3_irq(piix, irq);
}

static bool open_char(Pc *pc, const char *option, const char *spec, CharPort *port, Err *err)
{
    return char_host_open(pc->chars, option, spec, port, err);
}

/* "modem", and its line's settings after a colon or comma. */
static bool is_modem(const char *spec)
{
    return spec && strncmp(spec, "modem", 5) == 0 && (!spec[5] || spec[5] == ':' || spec[5] == ',');
}

static bool plug_modem(Pc *pc, unsigned n, const char *spec, CharPort *port, Err *err)
{
    static const char *const line[] = {"phone0", "phone1", "phone2", "phone3"};
    static const char *const id[] = {"modem0", "modem1", "modem2", "modem3"};
    pc->phone[n] = phone_host_new(pc->b->events, line[n], spec[5] ? spec + 6 : "", err);
    if (!pc->phone[n]) {
        return false;
    }
    *port =
        modem_plug(modem_new(pc->b, &(ModemConfig){.line = phone_host_port(pc->phone[n])}, id[n]));
    return true;
}

/* What set-up would have left in the CMOS. */
static void set_up_cmos(Pc *pc, const MachineConfig *c)
{
    RtcSetup setup = {
        .ram_below_4g = (uint64_t)c->ram_mib << 20, .floppy_check = true, .mouse = true, .cpus = 1};
    drives_describe(&pc->drives, &setup);
    pc_boot_order(c->boot_once ? c->boot_once : c->boot_order, &setup);
    rtc_setup(pc->rtc, &setup);
}

/* Does this only show or keep what the guest says? */
static bool is_log(const char *back_end)
{
    return back_end && (strcmp(back_end, "stdio") == 0 || strncmp(back_end, "file:", 5) == 0);
}

bool pc_build(Pc *pc, Board *b, const MachineConfig *c, const PcHost *host, Err *err)
{
    CpuModel model;
    bool pvclock;
    RtcConfig rtc = {0};
    if (!pc_cpu_model(c->cpu, &model, &pvclock, err) || !pc_rtc_base(c->rtc_base, &rtc.base, err) ||
        !pc_check_memory(c->ram_mib, err) || !pc_check_firmware(model, c->bios, err)) {
        return false;
    }
    pc->b = b;
    int64_t utc =
        c->rtc_base && strcmp(c->rtc_base, "localtime") == 0 ? host_time_of_day() : rtc.base;
    pc->power_on_us = utc * 1000000;
    pc->utc_offset_minutes = (int32_t)((rtc.base - utc) / 60);
    pc->host = *host;
    pc->screen = screen_new();
    pc->chars = char_host_new(b->events);
    pc->net = net_host_new(b->events);
    if (!pc->screen || !pc->chars || !pc->net) {
        return err_set(err, "out of memory");
    }
    MixerConfig sound;
    if (!mixer_parse(c->audiodev, &sound, err) ||
        !(pc->mixer = mixer_new(&b->clock, &sound, err))) {
        return false;
    }
    Line reset = {reset_pulled, pc, 0}, soft_reset = {soft_reset_pulled, pc, 0};

    /* Memory and processor. Its pins are soldered below, as the chips appear. */
    RamBlock *ram = ram_add(&b->ram, "ram", (uint64_t)c->ram_mib << 20, err);
    RamBlock *bios = ram ? firmware_bios(&b->ram, c->bios, err) : NULL;
    if (!bios) {
        return false;
    }
    pc->cpu = cpu_new(b, model, &(CpuPins){0});
    pc->cpu->pvclock = pvclock;
    pc->cpu->pvclock_start_us = pc->power_on_us;
    Line intr = {cpu_intr, pc->cpu, 0}, nmi = {cpu_nmi, pc->cpu, 0}, smi = {cpu_smi, pc->cpu, 0},
         init = {cpu_init_pin, pc->cpu, 0};

    /* Interrupt controllers: 8259s into LINT0 of the local APIC, which drives the processor's INTR.
     */
    LapicConfig lapic_config = {.present = model >= CPU_PENTIUM,
                                .bus_hz = APIC_BUS_HZ,
                                .intr = intr,
                                .nmi = nmi,
                                .smi = smi,
                                .init = init,
                                .acknowledge_pic = pic_acknowledge};
    Lapic *lapic;
    PicConfig pic_config = {0};
    pc->pic = pic_new(b, &pic_config, "pic");
    lapic_config.pic = pc->pic;
    lapic = lapic_new(b, &lapic_config, "lapic");
    pic_connect(pc->pic, (Line){lapic_lint, lapic, 0});
    Ioapic *ioapic = ioapic_new(
        b, &(IoapicConfig){.base = 0xfec00000, .deliver = lapic_deliver, .lapic = lapic}, "ioapic");
    lapic_connect_ioapic(lapic, ioapic_end_of_interrupt, ioapic);

    /* Host bridge and south bridge. */
    PciBus *pci = pci_new(b, "pci");
    I440fx *bridge = i440fx_new(
        b, &(I440fxConfig){.bus = pci, .ram = ram, .bios = bios, .reset = reset, .init = init},
        "i440fx");
    Piix3Config piix_config = {.bus = pci, .device = 1, .reset = reset, .init = init};
    for (unsigned irq = 0; irq < 16; irq++) {
        if (irq != 2) {
            piix_config.pic[irq] = pic_input(pc->pic, irq);
            piix_config.ioapic[irq] = (Line){ioapic_pin, ioapic, irq ? irq : 2};
        }
    }
    Piix3 *piix = piix3_new(b, &piix_config, "piix3");
    pc->pm = piix4_pm_new(b,
                          &(Piix4PmConfig){.bus = pci,
                                           .device = 1,
                                           .function = 3,
                                           .sci = piix3_irq(piix, 9),
                                           .smi = smi,
                                           .power_off = {power_off_pulled, pc, 0}},
                          "pm");

    /* Timers, DMA, and the system control ports that tie A20, NMI and the coprocessor's error
     * together. */
    pc->pit = pit_new(b, &(PitConfig){.base = 0x40, .out = {piix3_irq(piix, 0)}}, "pit");
    Speaker *speaker = speaker_new(b,
                                   &(SpeakerConfig){.audio = mixer_port(pc->mixer),
                                                    .wave = timer2_wave,
                                                    .timer = pc->pit,
                                                    .timer_hz = PIT_HZ},
                                   "speaker");
    pit_watch(pc->pit, 2, speaker_before_change, speaker);
    Sysctl *sysctl = sysctl_new(b,
                                &(SysctlConfig){.gate2 = {gate2_driven, pc->pit, 2},
                                                .speaker = speaker_gate(speaker),
                                                .out2 = timer2_out,
                                                .pit = pc->pit,
                                                .nmi = {lapic_lint, lapic, 1},
                                                .a20 = {cpu_a20m, pc->cpu, 0},
                                                .init = soft_reset,
                                                .irq13 = piix3_irq(piix, 13),
                                                .ignne = {cpu_ignne, pc->cpu, 0}},
                                "sysctl");
    rtc.irq = piix3_irq(piix, 8);
    rtc.nmi_mask = sysctl_nmi_mask(sysctl);
    pc->rtc = rtc_new(b, &rtc, "rtc");
    Dma *dma = dma_new(b, "dma");
    CpuPins pins = {.acknowledge = lapic_acknowledge,
                    .self = lapic,
                    .apic_base_changed = lapic_set_base,
                    .ferr = sysctl_ferr(sysctl),
                    .smiact = {i440fx_smiact, bridge, 0},
                    .shutdown = reset};
    cpu_connect(pc->cpu, &pins);

    /* Keyboard and mouse. */
    pc->keyboard = ps2_keyboard_new(b, &(Ps2KeyboardConfig){0}, "keyboard");
    pc->mouse = ps2_mouse_new(b, &(Ps2MouseConfig){.fastest_hz = MOUSE_HZ}, "mouse");
    kbc_new(b,
            &(KbcConfig){.keyboard = ps2_keyboard_plug(pc->keyboard),
                         .mouse = ps2_mouse_plug(pc->mouse),
                         .irq1 = piix3_irq(piix, 1),
                         .irq12 = piix3_irq(piix, 12),
                         .a20 = sysctl_a20_input(sysctl),
                         .reset = soft_reset},
            "kbc");
    pc->pointer = vmware_port_new(b,
                                  &(VmwarePortConfig){.load = registers_out,
                                                      .store = registers_in,
                                                      .cpu = pc->cpu,
                                                      .time = time_of_day,
                                                      .time_self = pc,
                                                      .ram_mib = c->ram_mib,
                                                      .nudge = ps2_mouse_nudge,
                                                      .mouse = pc->mouse},
                                  "vmware");
    pc->sticks =
        gameport_events(gameport_new(b, &(GameportConfig){.base = 0x201, .ports = 1}, "gameport"));

    /* Drives. */
    if (!drives_build(&pc->drives, b, c,
                      &(DrivesWiring){.pci = pci,
                                      .fdc_irq = piix3_irq(piix, 6),
                                      .fdc_dma = dma_line(dma, 2),
                                      .ide_irq = {piix3_irq(piix, 14), piix3_irq(piix, 15)},
                                      .audio = mixer_port(pc->mixer),
                                      .io_error = host->io_error,
                                      .tray_moved = host->tray_moved,
                                      .self = host->self},
                      err)) {
        return false;
    }

    /* Display. */
    if (strcmp(c->vga, "none") != 0) {
        RamBlock *vgabios = firmware_vgabios(&b->ram, c->vgabios, c->vga, err);
        if (vgabios) {
            VgaConfig vga = {
                .screen = pc->screen, .pci = pci, .pci_device = VGA_DEVICE, .rom = vgabios};
            pc->vga = strcmp(c->vga, "cirrus") == 0 ? cirrus_new(b, &vga, "vga", err)
                                                    : vga_new(b, &vga, "vga", err);
        }
        if (!pc->vga) {
            return false;
        }
    }

    /* Serial and parallel ports, debug ports. */
    for (unsigned i = 0; i < MACHINE_MAX_SERIAL; i++) {
        UartConfig uart = {.base = uart_base[i], .irq = piix3_irq(piix, uart_irq[i])};
        SerialMouseConfig mouse;
        if (serial_mouse_kind(c->serial[i], &mouse.kind)) {
            SerialMouse *serial_mouse = serial_mouse_new(b, &mouse, serial_mouse_id[i]);
            uart.port = serial_mouse_plug(serial_mouse);
            pc->serial_mouse = serial_mouse_events(serial_mouse);
        } else if (is_modem(c->serial[i])) {
            if (!plug_modem(pc, i, c->serial[i], &uart.port, err)) {
                return false;
            }
        } else if (!open_char(pc, "serial", c->serial[i], &uart.port, err)) {
            return false;
        }
        uart.eager = is_log(c->serial[i]);
        if (c->serial[i] || i < 2) {
            uart_new(b, &uart, uart_id[i]);
        }
    }

    LptConfig lpt = {.base = 0x378, .irq = piix3_irq(piix, 7)};
    DebugconConfig debugcon = {.base = 0x402};
    if (!open_char(pc, "parallel", c->parallel, &lpt.port, err) ||
        !open_char(pc, "debugcon", c->debugcon, &debugcon.port, err)) {
        return false;
    }
    lpt_new(b, &lpt, "parallel0");
    debugcon_new(b, &debugcon, "debugcon");

    /* Cards. */
    PcCards cards = {.b = b,
                     .config = c,
                     .host = &pc->host,
                     .pci = pci,
                     .dma = dma,
                     .mixer = pc->mixer,
                     .chars = pc->chars,
                     .cd_volume = ide_audio_volume,
                     .cd = pc->drives.ide,
                     .pci_used = 1u << 0 | 1u << 1 | 1u << VGA_DEVICE,
                     .net = pc->net,
                     .irq = card_irq,
                     .board = piix};
    if (!pc_cards_plug(&cards, err)) {
        return false;
    }

    /* What the firmware is told. */
    if (!pc_fw_items(fw_cfg_new(b, "fw_cfg"), c, &pc->seed, err)) {
        return false;
    }
    set_up_cmos(pc, c);
    return true;
}

Pc *pc_new(void)
{
    return calloc(1, sizeof(Pc));
}

void pc_unplug(Pc *pc)
{
    if (pc) {
        for (unsigned i = 0; i < MACHINE_MAX_SERIAL; i++) {
            phone_host_free(pc->phone[i]);
            pc->phone[i] = NULL;
        }
        char_host_free(pc->chars);
        net_host_free(pc->net);
        pc->chars = NULL;
        pc->net = NULL;
        mixer_stop(pc->mixer);
    }
}

void pc_free(Pc *pc)
{
    if (pc) {
        pc_unplug(pc);
        screen_free(pc->screen);
        mixer_free(pc->mixer);
        free(pc->seed.data);
        free(pc);
    }
}

Cpu *pc_cpu(Pc *pc)
{
    return pc->cpu;
}

Mixer *pc_mixer(Pc *pc)
{
    return pc->mixer;
}

Screen *pc_screen(Pc *pc)
{
    return pc->screen;
}

void pc_power_button(Pc *pc)
{
    piix4_pm_power_button(pc->pm);
}

void pc_view_pic(const Pc *pc, void (*line)(void *self, const char *text), void *self)
{
    for (unsigned chip = 0; chip < 2; chip++) {
        PicView v = pic_view(pc->pic, chip);
        char text[80];
        snprintf(text, sizeof(text), "pic%u: irr=%02x isr=%02x imr=%02x elcr=%02x base=%02x", chip,
                 v.irr, v.isr, v.imr, v.elcr, v.base);
        line(self, text);
    }
}

bool pc_text(Pc *pc, char *text, size_t room)
{
    if (!pc->vga) {
        text[0] = '\0';
        return false;
    }
    return vga_text(pc->vga, text, room);
}

void pc_text_size(Pc *pc, unsigned *columns, unsigned *rows)
{
    VgaTextSize size = pc->vga ? vga_text_size(pc->vga) : (VgaTextSize){0};
    *columns = size.columns;
    *rows = size.rows;
}

unsigned pc_block_query(Pc *pc, BlockInfo *info, unsigned room)
{
    return drives_query(&pc->drives, info, room);
}

bool pc_change_medium(Pc *pc, const char *id, const char *file, const char *format, bool read_only,
                      Err *err)
{
    return drives_change(&pc->drives, id, file, format, read_only, err);
}

bool pc_eject(Pc *pc, const char *id, bool force, Err *err)
{
    return drives_eject(&pc->drives, id, force, err);
}

bool pc_commit(Pc *pc, const char *id, Err *err)
{
    return drives_commit(&pc->drives, id, err);
}

BlockQueue *pc_disks(Pc *pc)
{
    return pc->drives.queue;
}

Block *pc_medium(Pc *pc, unsigned bay, BlockInfo *info)
{
    return drives_medium(&pc->drives, bay, info);
}

void pc_drain(Pc *pc)
{
    block_queue_drain(pc->drives.queue);
}

void pc_retry(Pc *pc)
{
    block_queue_retry(pc->drives.queue);
}

void pc_input(Pc *pc, const InputEvent *event)
{
    EventPort *port = ps2_mouse_events(pc->mouse);
    if (event->kind == INPUT_KEY) {
        port = ps2_keyboard_events(pc->keyboard);
    } else if (vmware_port_wants_absolute(pc->pointer)) {
        port = vmware_port_events(pc->pointer);
    } else if (pc->serial_mouse) {
        port = pc->serial_mouse;
    }
    event_post(port, event, sizeof(*event));
}

void pc_pads(Pc *pc, const PadState *pads)
{
    GameportEvent event = {.connected = pads->connected, .buttons = pads->buttons};
    memcpy(event.axis, pads->axis, sizeof(event.axis));
    event_post(pc->sticks, &event, sizeof(event));
}

uint8_t pc_keyboard_leds(const Pc *pc)
{
    return ps2_keyboard_leds(pc->keyboard);
}

bool pc_wants_absolute(const Pc *pc)
{
    return vmware_port_wants_absolute(pc->pointer);
}
