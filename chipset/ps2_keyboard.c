/* PS/2 keyboard.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference (1988): commands, the three scan code
 * sets, typematic. Wired by pc_build: its plug to the keyboard controller, its event port to the
 * front end. Not modelled: the keyboard does not resend by itself after a parity error (there are
 * none).
 */
#include "chipset/ps2_keyboard.h"

#include <stdlib.h>
#include <string.h>

#include "chipset/ps2_keyboard_internal.h"
#include "machine/core/keys.h"
#include "machine/core/log.h"

LOG_TAG("ps2_keyboard");

enum {
    ACK = 0xfa,
    RESEND = 0xfe,
    BAT_OK = 0xaa,
    ECHO = 0xee,
    OVERRUN = 0x00, /* FFh in set 1 */
    CMD_LEDS = 0xed,
    CMD_ECHO = 0xee,
    CMD_SET = 0xf0,
    CMD_IDENTIFY = 0xf2,
    CMD_TYPEMATIC = 0xf3,
    CMD_ENABLE = 0xf4,
    CMD_DEFAULT_DISABLE = 0xf5,
    CMD_DEFAULT = 0xf6,
    CMD_ALL_TYPEMATIC = 0xf7, /* F7h..FAh: all keys; FBh..FDh: one */
    CMD_ALL_BOTH = 0xfa,
    CMD_KEY_TYPEMATIC = 0xfb,
    CMD_KEY_MAKE = 0xfd,
    CMD_RESEND = 0xfe,
    CMD_RESET = 0xff,
    TYPEMATIC_DEFAULT = 0x2b, /* 500 ms, 10.9 a second */
    /* QUIRK: the real one holds 16 bytes; front ends type faster than fingers (QMP send-key) */
    SCAN_ROOM = 240,
    KEY_BYTES = 8, /* the longest make or break, with its faked shifts */
    REPLY_ROOM = 16,
    KEYS_OF_VERSION_1 = 0xe8, /* of the state */
    KEY_NUM_LOCK_LED = 0x02,
    USAGE_LEFT_CTRL = 0xe0,
    USAGE_LEFT_SHIFT,
    USAGE_LEFT_ALT,
    USAGE_RIGHT_CTRL = 0xe4,
    USAGE_RIGHT_SHIFT,
    USAGE_RIGHT_ALT,
    /* what a key's make faked, to be undone by its break */
    FAKE_LEFT_UP = 0x01,
    FAKE_RIGHT_UP = 0x02,
    FAKE_LEFT_DOWN = 0x04,
    FAKE_SYSRQ = 0x08,
};

/* The basic assurance test. A keyboard's takes 300 to 500 ms, in which firmware and drivers only
 * wait for its answer; no shorter time is known to harm any. */
#define BAT_NS INT64_C(2000000)

struct Ps2Keyboard {
    Device dev;
    Ps2KeyboardConfig config;
    EventPort *events;
    void (*ready)(void *self);
    void *ready_self;
    struct {
        uint8_t set; /* 1..3 */
        uint8_t leds;
        uint8_t typematic;
        bool scanning;
        bool testing;     /* in the basic assurance test */
        uint8_t awaiting; /* the command whose argument comes next, or 0 */
        uint8_t held[32]; /* a bit for each usage */
        uint8_t fake[KEY_COUNT];
        uint8_t type[KEY_COUNT]; /* in set 3 */
        uint8_t repeating;       /* usage, or 0 */
        uint8_t last;            /* last byte sent, for RESEND */
        uint8_t scan[SCAN_ROOM];
        uint8_t scan_count;
        uint8_t reply[REPLY_ROOM];
        uint8_t reply_count;
    } g;
    Timer bat, repeat;
};

static int64_t now_of(const Ps2Keyboard *kbd)
{
    return clock_now(&kbd->dev.board->clock);
}

/* --- queues --- */

static void put(Ps2Keyboard *kbd, uint8_t byte)
{
    if (kbd->g.scan_count < SCAN_ROOM) {
        kbd->g.scan[kbd->g.scan_count++] = byte;
    }
}

static void tell(Ps2Keyboard *kbd)
{
    if (kbd->ready && (kbd->g.scan_count || kbd->g.reply_count)) {
        kbd->ready(kbd->ready_self);
    }
}

static void answer(Ps2Keyboard *kbd, uint8_t byte)
{
    if (kbd->g.reply_count < REPLY_ROOM) {
        kbd->g.reply[kbd->g.reply_count++] = byte;
    }
}

static bool plug_waiting(void *device)
{
    Ps2Keyboard *kbd = device;
    return kbd->g.scan_count || kbd->g.reply_count;
}

static uint8_t plug_next(void *device)
{
    Ps2Keyboard *kbd = device;
    if (kbd->g.reply_count) {
        kbd->g.last = kbd->g.reply[0];
        memmove(kbd->g.reply, kbd->g.reply + 1, --kbd->g.reply_count);
    } else if (kbd->g.scan_count) {
        kbd->g.last = kbd->g.scan[0];
        memmove(kbd->g.scan, kbd->g.scan + 1, --kbd->g.scan_count);
    }
    return kbd->g.last;
}

static void plug_attach(void *device, void (*ready)(void *self), void *self)
{
    Ps2Keyboard *kbd = device;
    kbd->ready = ready;
    kbd->ready_self = self;
}

/* --- scan codes --- */

static bool held(const Ps2Keyboard *kbd, unsigned usage)
{
    return kbd->g.held[usage >> 3] >> (usage & 7) & 1;
}

static void set_held(Ps2Keyboard *kbd, unsigned usage, bool down)
{
    uint8_t bit = (uint8_t)(1u << (usage & 7));
    kbd->g.held[usage >> 3] =
        (uint8_t)(down ? kbd->g.held[usage >> 3] | bit : kbd->g.held[usage >> 3] & ~bit);
}

static void put_code(Ps2Keyboard *kbd, bool extended, uint8_t set1, uint8_t set2, bool down)
{
    if (extended) {
        put(kbd, 0xe0);
    }
    if (kbd->g.set == 1) {
        put(kbd, (uint8_t)(down ? set1 : set1 | 0x80));
    } else {
        if (!down) {
            put(kbd, 0xf0);
        }
        put(kbd, set2);
    }
}

static void put_fake_left(Ps2Keyboard *kbd, bool down)
{
    put_code(kbd, true, 0x2a, 0x12, down);
}

static void put_fake_right(Ps2Keyboard *kbd, bool down)
{
    put_code(kbd, true, 0x36, 0x59, down);
}

static void put_key(Ps2Keyboard *kbd, const KeyCode *key, bool down)
{
    put_code(kbd, key->flags & EXTENDED, key->set1, key->set2, down);
}

/* Which shifts a key that must not be shifted (or not be a digit) fakes. */
static uint8_t fakes_for(const Ps2Keyboard *kbd, const KeyCode *key)
{
    bool left = held(kbd, USAGE_LEFT_SHIFT);
    bool right = held(kbd, USAGE_RIGHT_SHIFT);
    bool num_lock = kbd->g.leds & KEY_NUM_LOCK_LED;
    uint8_t shifts = (uint8_t)((left ? FAKE_LEFT_UP : 0) | (right ? FAKE_RIGHT_UP : 0));
    if (key->flags & DIVIDE) {
        return shifts;
    }
    if (!(key->flags & NAVIGATION)) {
        return 0;
    }
    if (num_lock) {
        return shifts ? 0 : FAKE_LEFT_DOWN;
    }
    return shifts;
}

static void make_print_screen(Ps2Keyboard *kbd, unsigned usage, bool repeated)
{
    if (held(kbd, USAGE_LEFT_ALT) || held(kbd, USAGE_RIGHT_ALT)) {
        kbd->g.fake[usage] = FAKE_SYSRQ;
        put_code(kbd, false, 0x54, 0x84, true);
        return;
    }
    bool modified = held(kbd, USAGE_LEFT_SHIFT) || held(kbd, USAGE_RIGHT_SHIFT) ||
                    held(kbd, USAGE_LEFT_CTRL) || held(kbd, USAGE_RIGHT_CTRL);
    if (!repeated) {
        kbd->g.fake[usage] = modified ? 0 : FAKE_LEFT_DOWN;
        if (!modified) {
            put_fake_left(kbd, true);
        }
    }
    put_code(kbd, true, 0x37, 0x7c, true);
}

/* Pause sends make and break at once; with Ctrl it is Break. */
static void make_pause(Ps2Keyboard *kbd)
{
    if (held(kbd, USAGE_LEFT_CTRL) || held(kbd, USAGE_RIGHT_CTRL)) {
        put_code(kbd, true, 0x46, 0x7e, true);
        put_code(kbd, true, 0x46, 0x7e, false);
        return;
    }
    put(kbd, 0xe1);
    put_code(kbd, false, 0x1d, 0x14, true);
    put_code(kbd, false, 0x45, 0x77, true);
    put(kbd, 0xe1);
    put_code(kbd, false, 0x1d, 0x14, false);
    put_code(kbd, false, 0x45, 0x77, false);
}

static void make(Ps2Keyboard *kbd, unsigned usage, bool repeated)
{
    const KeyCode *key = &ps2_keyboard_keys[usage];
    if (kbd->g.set == 3) {
        put(kbd, key->set3);
    } else if (key->flags & PRINT) {
        make_print_screen(kbd, usage, repeated);
    } else if (key->flags & PAUSE) {
        make_pause(kbd);
    } else {
        if (!repeated) {
            uint8_t fake = kbd->g.fake[usage] = fakes_for(kbd, key);
            if (fake & FAKE_LEFT_UP) {
                put_fake_left(kbd, false);
            }
            if (fake & FAKE_RIGHT_UP) {
                put_fake_right(kbd, false);
            }
            if (fake & FAKE_LEFT_DOWN) {
                put_fake_left(kbd, true);
            }
        }
        put_key(kbd, key, true);
    }
}

static void release(Ps2Keyboard *kbd, unsigned usage)
{
    const KeyCode *key = &ps2_keyboard_keys[usage];
    uint8_t fake = kbd->g.fake[usage];
    kbd->g.fake[usage] = 0;
    if (kbd->g.set == 3) {
        if (kbd->g.type[usage] == MAKE_BREAK || kbd->g.type[usage] == TYPEMATIC_MAKE_BREAK) {
            put(kbd, 0xf0);
            put(kbd, key->set3);
        }
        return;
    }
    if (key->flags & (PAUSE | NO_BREAK)) {
        return;
    }
    if (fake & FAKE_SYSRQ) {
        put_code(kbd, false, 0x54, 0x84, false);
        return;
    }
    put_code(kbd, key->flags & (EXTENDED | PRINT), key->flags & PRINT ? 0x37 : key->set1, key->set2,
             false);
    if (fake & FAKE_LEFT_DOWN) {
        put_fake_left(kbd, false);
    }
    if (fake & FAKE_RIGHT_UP && held(kbd, USAGE_RIGHT_SHIFT)) {
        put_fake_right(kbd, true);
    }
    if (fake & FAKE_LEFT_UP && held(kbd, USAGE_LEFT_SHIFT)) {
        put_fake_left(kbd, true);
    }
}

/* --- typematic --- */

static int64_t repeat_delay(const Ps2Keyboard *kbd)
{
    return INT64_C(250000000) * ((kbd->g.typematic >> 5 & 3) + 1);
}

static int64_t repeat_period(const Ps2Keyboard *kbd)
{
    /* (8 + A) * 2^B * 4.17 ms */
    return (INT64_C(8) + (kbd->g.typematic & 7)) * (1 << (kbd->g.typematic >> 3 & 3)) *
           INT64_C(1000000000) / 240;
}

static bool repeats(const Ps2Keyboard *kbd, unsigned usage)
{
    if (kbd->g.set == 3) {
        return kbd->g.type[usage] == TYPEMATIC || kbd->g.type[usage] == TYPEMATIC_MAKE_BREAK;
    }
    return !(ps2_keyboard_keys[usage].flags & (PAUSE | NO_BREAK));
}

static void stop_repeating(Ps2Keyboard *kbd)
{
    kbd->g.repeating = 0;
    timer_disarm(&kbd->repeat);
}

/* Repeats only into an empty buffer, so that a slow guest finds no tail of them. */
static void repeat_fire(void *self, int64_t due)
{
    Ps2Keyboard *kbd = self;
    if (!kbd->g.repeating) {
        return;
    }
    if (kbd->g.scan_count == 0) {
        make(kbd, kbd->g.repeating, true);
    }
    timer_arm(&kbd->repeat, due + repeat_period(kbd));
    tell(kbd);
}

/* --- keys --- */

static bool known(const Ps2Keyboard *kbd, unsigned usage)
{
    const KeyCode *key = usage < KEY_COUNT ? &ps2_keyboard_keys[usage] : NULL;
    return key && (kbd->g.set == 3 ? key->set3 : key->set2) != 0;
}

/* Is there room for a make, and still for the break of every key held then? A lost break is a stuck
 * key. */
static bool has_room(const Ps2Keyboard *kbd)
{
    unsigned keys = 0;
    for (unsigned i = 0; i < sizeof(kbd->g.held); i++) {
        keys += (unsigned)__builtin_popcount(kbd->g.held[i]);
    }
    return kbd->g.scan_count + KEY_BYTES * (keys + 2) <= SCAN_ROOM;
}

static void press(Ps2Keyboard *kbd, unsigned usage)
{
    if (!has_room(kbd)) {
        uint8_t overrun = kbd->g.set == 1 ? 0xff : OVERRUN;
        if (kbd->g.scan_count == 0 || kbd->g.scan[kbd->g.scan_count - 1] != overrun) {
            put(kbd, overrun);
        }
        return; /* not held: there will be no break either */
    }
    make(kbd, usage, false);
    set_held(kbd, usage, true);
    if (repeats(kbd, usage)) {
        kbd->g.repeating = (uint8_t)usage;
        timer_arm(&kbd->repeat, now_of(kbd) + repeat_delay(kbd));
    } else {
        stop_repeating(kbd);
    }
}

static void key_event(Ps2Keyboard *kbd, unsigned usage, bool down)
{
    if (!known(kbd, usage) || held(kbd, usage) == down || kbd->g.testing) {
        return;
    }
    if (!kbd->g.scanning) {
        if (!down) {
            set_held(kbd, usage, false);
        }
        return;
    }
    if (down) {
        press(kbd, usage);
    } else {
        set_held(kbd, usage, false);
        release(kbd, usage);
        if (kbd->g.repeating == usage) {
            stop_repeating(kbd);
        }
    }
    tell(kbd);
}

static void deliver(void *self, const void *data, size_t size)
{
    InputEvent event;
    if (size != sizeof(event)) {
        return;
    }
    memcpy(&event, data, sizeof(event));
    if (event.kind == INPUT_KEY) {
        key_event(self, event.key, event.down);
    }
}

/* --- commands --- */

static void set_leds(Ps2Keyboard *kbd, uint8_t leds)
{
    kbd->g.leds = leds & 7;
    if (kbd->config.leds_changed) {
        kbd->config.leds_changed(kbd->config.self, kbd->g.leds);
    }
}

static void clear_scan(Ps2Keyboard *kbd)
{
    kbd->g.scan_count = 0;
    stop_repeating(kbd);
}

static void set_all_types(Ps2Keyboard *kbd, int type)
{
    for (unsigned i = 0; i < KEY_COUNT; i++) {
        kbd->g.type[i] = type < 0 ? ps2_keyboard_keys[i].set3_type : (uint8_t)type;
    }
}

static void set_defaults(Ps2Keyboard *kbd)
{
    clear_scan(kbd);
    kbd->g.set = 2;
    kbd->g.typematic = TYPEMATIC_DEFAULT;
    set_all_types(kbd, -1);
}

static void begin_test(Ps2Keyboard *kbd)
{
    set_defaults(kbd);
    memset(kbd->g.held, 0, sizeof(kbd->g.held));
    memset(kbd->g.fake, 0, sizeof(kbd->g.fake));
    set_leds(kbd, 0);
    kbd->g.scanning = false;
    kbd->g.testing = true;
    timer_arm(&kbd->bat, now_of(kbd) + BAT_NS);
}

static void bat_fire(void *self, int64_t due)
{
    Ps2Keyboard *kbd = self;
    (void)due;
    kbd->g.testing = false;
    kbd->g.scanning = true;
    answer(kbd, BAT_OK);
    tell(kbd);
}

/* Set 3's type for the key with this code; the keyboard goes on asking for codes. */
static void set_key_type(Ps2Keyboard *kbd, uint8_t command, uint8_t code)
{
    static const uint8_t types[3] = {TYPEMATIC, MAKE_BREAK, MAKE_ONLY};
    for (unsigned i = 0; i < KEY_COUNT; i++) {
        if (ps2_keyboard_keys[i].set3 == code) {
            kbd->g.type[i] = types[command - CMD_KEY_TYPEMATIC];
        }
    }
}

static void argument(Ps2Keyboard *kbd, uint8_t command, uint8_t byte)
{
    switch (command) {
    case CMD_LEDS:
        answer(kbd, ACK);
        set_leds(kbd, byte);
        break;
    case CMD_TYPEMATIC:
        answer(kbd, ACK);
        kbd->g.typematic = byte & 0x7f;
        break;
    case CMD_SET:
        if (byte > 3) {
            answer(kbd, RESEND);
            break;
        }
        answer(kbd, ACK);
        if (byte == 0) {
            answer(kbd, kbd->g.set);
        } else {
            clear_scan(kbd);
            kbd->g.set = byte;
        }
        break;
    default:
        answer(kbd, ACK);
        set_key_type(kbd, command, byte);
        kbd->g.awaiting = command; /* until the next command */
    }
}

static void set_3_command(Ps2Keyboard *kbd, uint8_t command)
{
    static const uint8_t types[4] = {TYPEMATIC, MAKE_BREAK, MAKE_ONLY, TYPEMATIC_MAKE_BREAK};
    answer(kbd, ACK);
    clear_scan(kbd);
    if (command <= CMD_ALL_BOTH) {
        set_all_types(kbd, types[command - CMD_ALL_TYPEMATIC]);
    } else {
        kbd->g.awaiting = command;
    }
}

static void command(Ps2Keyboard *kbd, uint8_t byte)
{
    switch (byte) {
    case CMD_LEDS:
    case CMD_SET:
    case CMD_TYPEMATIC:
        answer(kbd, ACK);
        kbd->g.awaiting = byte;
        break;
    case CMD_ECHO:
        answer(kbd, ECHO);
        break;
    case CMD_IDENTIFY:
        answer(kbd, ACK);
        answer(kbd, 0xab);
        answer(kbd, 0x83);
        break;
    case CMD_ENABLE:
        answer(kbd, ACK);
        clear_scan(kbd);
        kbd->g.scanning = true;
        break;
    case CMD_DEFAULT_DISABLE:
    case CMD_DEFAULT:
        answer(kbd, ACK);
        set_defaults(kbd);
        kbd->g.scanning = byte == CMD_DEFAULT;
        break;
    case CMD_RESEND:
        answer(kbd, kbd->g.last);
        break;
    case CMD_RESET:
        kbd->g.reply_count = 0;
        answer(kbd, ACK);
        begin_test(kbd);
        break;
    default:
        if (byte >= CMD_ALL_TYPEMATIC && byte <= CMD_KEY_MAKE) {
            set_3_command(kbd, byte);
        } else {
            log_guest("command 0x%02x", byte);
            answer(kbd, RESEND);
        }
    }
}

static void plug_command(void *device, uint8_t byte)
{
    Ps2Keyboard *kbd = device;
    uint8_t awaiting = kbd->g.awaiting;
    kbd->g.awaiting = 0;
    if (awaiting && byte < CMD_LEDS) {
        argument(kbd, awaiting, byte);
    } else { /* a command where an argument should be takes its place */
        command(kbd, byte);
    }
    tell(kbd);
}

/* --- device --- */

static const Ps2Ops plug_ops = {plug_command, plug_waiting, plug_next, plug_attach};

Ps2Port ps2_keyboard_plug(Ps2Keyboard *kbd)
{
    return (Ps2Port){&plug_ops, kbd};
}

EventPort *ps2_keyboard_events(Ps2Keyboard *kbd)
{
    return kbd->events;
}

uint8_t ps2_keyboard_leds(const Ps2Keyboard *kbd)
{
    return kbd->g.leds;
}

static void ps2_keyboard_reset(Device *d, ResetKind kind)
{
    Ps2Keyboard *kbd = (Ps2Keyboard *)d;
    if (kind == RESET_POWER) { /* it has no reset pin */
        memset(&kbd->g, 0, sizeof(kbd->g));
        begin_test(kbd);
    }
}

static void ps2_keyboard_state(Device *d, StateIo *io)
{
    Ps2Keyboard *kbd = (Ps2Keyboard *)d;
    state_u8(io, "set", &kbd->g.set);
    state_u8(io, "leds", &kbd->g.leds);
    state_u8(io, "typematic", &kbd->g.typematic);
    state_bool(io, "scanning", &kbd->g.scanning);
    state_bool(io, "testing", &kbd->g.testing);
    state_u8(io, "awaiting", &kbd->g.awaiting);
    state_bytes(io, "held", kbd->g.held, sizeof(kbd->g.held));
    state_bytes(io, "fake", kbd->g.fake, KEYS_OF_VERSION_1);
    state_bytes(io, "type", kbd->g.type, KEYS_OF_VERSION_1);
    if (state_since(io, 2)) {
        state_bytes(io, "more_fake", kbd->g.fake + KEYS_OF_VERSION_1,
                    KEY_COUNT - KEYS_OF_VERSION_1);
        state_bytes(io, "more_type", kbd->g.type + KEYS_OF_VERSION_1,
                    KEY_COUNT - KEYS_OF_VERSION_1);
    }
    state_u8(io, "repeating", &kbd->g.repeating);
    state_u8(io, "last", &kbd->g.last);
    state_bytes(io, "scan", kbd->g.scan, sizeof(kbd->g.scan));
    state_u8(io, "scan_count", &kbd->g.scan_count);
    state_bytes(io, "reply", kbd->g.reply, sizeof(kbd->g.reply));
    state_u8(io, "reply_count", &kbd->g.reply_count);
    state_timer(io, "bat", &kbd->bat);
    state_timer(io, "repeat", &kbd->repeat);
    uint8_t a = kbd->g.awaiting;
    state_check(io, kbd->g.set >= 1 && kbd->g.set <= 3, "scan code set is impossible");
    state_check(io, kbd->g.scan_count <= SCAN_ROOM && kbd->g.reply_count <= REPLY_ROOM,
                "buffer is too full");
    state_check(io,
                a == 0 || a == CMD_LEDS || a == CMD_SET || a == CMD_TYPEMATIC ||
                    (a >= CMD_KEY_TYPEMATIC && a <= CMD_KEY_MAKE),
                "awaits the argument of no command");
}

static void ps2_keyboard_restored(Device *d)
{
    Ps2Keyboard *kbd = (Ps2Keyboard *)d;
    set_leds(kbd, kbd->g.leds);
}

static void ps2_keyboard_destroy(Device *d)
{
    Ps2Keyboard *kbd = (Ps2Keyboard *)d;
    event_port_close(kbd->events);
    free(kbd);
}

static const DeviceType ps2_keyboard_type = {
    .name = "ps2_keyboard",
    .version = 2,
    .reset = ps2_keyboard_reset,
    .state = ps2_keyboard_state,
    .restored = ps2_keyboard_restored,
    .destroy = ps2_keyboard_destroy,
};

Ps2Keyboard *ps2_keyboard_new(Board *b, const Ps2KeyboardConfig *config, const char *id)
{
    Ps2Keyboard *kbd = calloc(1, sizeof(*kbd));
    kbd->config = *config;
    timer_init(&kbd->bat, &b->clock, "ps2_keyboard.bat", bat_fire, kbd);
    timer_init(&kbd->repeat, &b->clock, "ps2_keyboard.repeat", repeat_fire, kbd);
    kbd->events = event_port_open(b->events, id, deliver, kbd);
    device_add(b, &kbd->dev, &ps2_keyboard_type, id);
    return kbd;
}
