/* The machine core: clock and timers, bus, page flags, state stream, event queue, log. */
#include "tests/unit/chip.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("coretest");

/* --- clock --- */

typedef struct Fired {
    Clock *clock;
    int64_t due[16], now[16];
    unsigned count;
    Timer timer;
    int64_t again; /* re-arms itself this much later, 0: not */
} Fired;

static void fire(void *self, int64_t due)
{
    Fired *f = self;
    if (f->count < 16) {
        f->due[f->count] = due;
        f->now[f->count++] = clock_now(f->clock);
    }
    if (f->again) {
        timer_arm(&f->timer, due + f->again);
    }
}

static void timers_fire_in_order_at_their_time(void **state)
{
    (void)state;
    Clock c;
    clock_init(&c);
    Fired a = {.clock = &c}, b = {.clock = &c};
    timer_init(&a.timer, &c, "a", fire, &a);
    timer_init(&b.timer, &c, "b", fire, &b);
    timer_arm(&a.timer, 200);
    timer_arm(&b.timer, 100);
    assert_int_equal(clock_next_due(&c), 100);
    timer_arm(&b.timer, 300); /* moved behind the other */
    assert_int_equal(clock_next_due(&c), 200);
    clock_step(&c, 250);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.now[0], 200);
    assert_int_equal(b.count, 0);
    assert_int_equal(clock_now(&c), 250);
    timer_disarm(&b.timer);
    clock_step(&c, 1000);
    assert_int_equal(b.count, 0);
    assert_int_equal(clock_next_due(&c), CLOCK_NEVER);
}

static void a_periodic_timer_keeps_its_phase(void **state)
{
    (void)state;
    Clock c;
    clock_init(&c);
    Fired a = {.clock = &c, .again = 10};
    timer_init(&a.timer, &c, "a", fire, &a);
    timer_arm(&a.timer, 10);
    clock_step(&c, 95);
    assert_int_equal(a.count, 9);
    assert_int_equal(a.due[8], 90);
    assert_int_equal(a.now[8], 90);
}

static int64_t fake_host_ns;

static int64_t fake_host(void)
{
    return fake_host_ns;
}

static void host_time_stops_with_the_machine(void **state)
{
    (void)state;
    Clock c;
    clock_init(&c);
    fake_host_ns = 1000000;
    clock_use_host(&c, fake_host);
    fake_host_ns += 500;
    assert_int_equal(clock_now(&c), 0);
    clock_run(&c, true);
    fake_host_ns += 70;
    assert_int_equal(clock_now(&c), 70);
    clock_run(&c, false);
    fake_host_ns += 1000;
    assert_int_equal(clock_now(&c), 70);
    clock_run(&c, true);
    fake_host_ns += 5;
    assert_int_equal(clock_now(&c), 75);
}

static int64_t two_late(void *self)
{
    (void)self;
    return 2;
}

static void slack_is_for_what_the_guest_alone_sees(void **state)
{
    (void)state;
    Clock c;
    clock_init(&c);
    Fired tick = {.clock = &c}, sound = {.clock = &c};
    timer_init(&tick.timer, &c, "tick", fire, &tick);
    timer_init(&sound.timer, &c, "sound", fire, &sound);
    tick.timer.inward = true;
    timer_arm(&tick.timer, 100);
    assert_int_equal(clock_next_wake(&c, 0), 100);
    assert_int_equal(clock_next_wake(&c, 50), 150);
    tick.timer.late = two_late;
    assert_int_equal(clock_next_wake(&c, 0), 102);
    assert_int_equal(clock_next_wake(&c, 50), 152);
    timer_arm(&sound.timer, 120);
    assert_int_equal(clock_next_wake(&c, 50), 120);
    timer_arm(&sound.timer, 160);
    assert_int_equal(clock_next_wake(&c, 50), 152);
    clock_be_exact(&c);
    assert_int_equal(clock_next_wake(&c, 50), 102);
    timer_disarm(&sound.timer);
    timer_disarm(&tick.timer);
    clock_step(&c, CLOCK_NS_PER_S);
    timer_arm(&tick.timer, CLOCK_NS_PER_S + 100);
    assert_int_equal(clock_next_wake(&c, 50), CLOCK_NS_PER_S + 152);
}

static void time_held_back_is_made_up_for(void **state)
{
    (void)state;
    Clock c;
    clock_init(&c);
    fake_host_ns = 5000;
    clock_use_host(&c, fake_host);
    assert_false(clock_make_up(&c, 100));
    clock_run(&c, true);
    fake_host_ns += 1000; /* slept to 1000, but there was a tick at 250 */
    clock_hold_back(&c, 250);
    assert_int_equal(clock_peek(&c), 250);
    fake_host_ns += 10; /* its work */
    assert_int_equal(clock_peek(&c), 260);
    assert_true(clock_make_up(&c, 500));
    assert_int_equal(clock_peek(&c), 500);
    assert_true(clock_make_up(&c, 400)); /* never back */
    assert_int_equal(clock_peek(&c), 500);
    fake_host_ns += 10;
    clock_hold_back(&c, 505); /* and once more */
    assert_int_equal(clock_peek(&c), 505);
    assert_false(clock_make_up(&c, 2000));
    assert_int_equal(clock_peek(&c), 1020); /* where it would be if nothing had been */
    assert_false(clock_make_up(&c, 2000));
    clock_hold_back(&c, 1500); /* later than now */
    assert_int_equal(clock_peek(&c), 1020);
    fake_host_ns += 80;
    clock_hold_back(&c, 1050);
    clock_run(&c, false); /* a stop ends it */
    fake_host_ns += 1000;
    clock_run(&c, true);
    assert_false(clock_make_up(&c, 2000));
    assert_int_equal(clock_peek(&c), 1050);
}

static void time_is_held_back_within_limits(void **state)
{
    (void)state;
    Clock c;
    clock_init(&c);
    fake_host_ns = 0;
    clock_use_host(&c, fake_host);
    clock_run(&c, true);
    fake_host_ns += 1000;
    assert_int_equal(clock_peek(&c), 1000);
    assert_int_equal(clock_now(&c), 1000); /* the guest knows this time */
    fake_host_ns += 1000;
    assert_int_equal(clock_peek(&c), 2000); /* not this */
    clock_hold_back(&c, 500);
    assert_int_equal(clock_peek(&c), 1000);
    clock_set(&c, 100); /* a state of before is loaded */
    fake_host_ns += 1000;
    clock_hold_back(&c, 200);
    assert_int_equal(clock_peek(&c), 200);
    fake_host_ns += CLOCK_BEHIND_MOST; /* behind the host by 900 already */
    clock_hold_back(&c, 300);
    assert_int_equal(clock_peek(&c), 1100);
    fake_host_ns += 50;
    clock_hold_back(&c, 1100);
    assert_int_equal(clock_peek(&c), 1150);
    assert_false(clock_make_up(&c, CLOCK_NEVER));
    assert_int_equal(clock_peek(&c), 1150 + CLOCK_BEHIND_MOST);
}

/* A patient clock of the host's at 0, with timers at two times. */
static void patient_clock(Clock *c, Fired *a, int64_t first, Fired *b, int64_t second)
{
    clock_init(c);
    fake_host_ns = 0;
    clock_use_host(c, fake_host);
    clock_run(c, true);
    c->patient = true;
    *a = *b = (Fired){.clock = c};
    timer_init(&a->timer, c, "a", fire, a);
    timer_init(&b->timer, c, "b", fire, b);
    timer_arm(&a->timer, first);
    timer_arm(&b->timer, second);
}

static void a_patient_guest_is_told_no_time_after_what_is_due(void **state)
{
    (void)state;
    Clock c;
    Fired a, b;
    patient_clock(&c, &a, 1000, &b, 4000000);
    fake_host_ns = 9000000;
    assert_int_equal(clock_now(&c), 1000 + CLOCK_LATE);
    clock_mend_stall(&c);
    assert_int_equal(clock_fire_due(&c), 1);
    assert_int_equal(a.now[0], 1000 + CLOCK_LATE);
    fake_host_ns += 4000000;
    assert_int_equal(clock_fire_due(&c), 1); /* not held back: it is told as it is, but not later */
    assert_int_equal(clock_now(&c), 4001000 + CLOCK_LATE);
    timer_arm(&a.timer, 6000000);
    c.patient = false;
    fake_host_ns += 4000000;
    assert_int_equal(clock_now(&c), 8001000 + CLOCK_LATE);
}

static void a_stall_is_over_before_what_was_due(void **state)
{
    (void)state;
    Clock c;
    Fired a, b;
    patient_clock(&c, &a, 1000000, &b, 1600000);
    fake_host_ns = 1000000 + CLOCK_LATE; /* late, but no stall */
    clock_mend_stall(&c);
    assert_int_equal(clock_peek(&c), 1000000 + CLOCK_LATE);
    fake_host_ns = 9000000;
    clock_mend_stall(&c);
    assert_int_equal(clock_peek(&c), 1000000 - CLOCK_LATE); /* the guest comes to an end with it */
    assert_int_equal(clock_fire_due(&c), 0);
    fake_host_ns += 3000000;
    clock_mend_stall(&c); /* but not for ever */
    assert_int_equal(clock_peek(&c), 1000000);
    assert_int_equal(clock_fire_due(&c), 1);
    fake_host_ns += 3000000;
    clock_mend_stall(&c);
    assert_int_equal(clock_peek(&c), 1600000 - CLOCK_LATE);
    fake_host_ns += CLOCK_LATE;
    assert_int_equal(clock_fire_due(&c), 1);
    assert_int_equal(b.now[0], 1600000);
    c.patient = false;
    timer_arm(&a.timer, 1700000);
    fake_host_ns += 3000000;
    clock_mend_stall(&c);
    assert_int_equal(clock_peek(&c), 4600000);
}

static void counted_time_follows_instructions_and_skips(void **state)
{
    (void)state;
    Clock c;
    uint64_t count = 0;
    clock_init(&c);
    clock_use_count(&c, &count, 3);
    count = 10;
    assert_int_equal(clock_now(&c), 80);
    clock_skip_to(&c, 1000);
    count += 1;
    assert_int_equal(clock_now(&c), 1008);
    clock_skip_to(&c, 500); /* never back */
    assert_int_equal(clock_now(&c), 1008);
}

static void ticks_convert_both_ways(void **state)
{
    (void)state;
    static const uint32_t rates[] = {1193182, 3579545, 32768, 25175000, 1};
    for (unsigned i = 0; i < 5; i++) {
        for (uint64_t n = 0; n < 100000; n += 37) {
            assert_int_equal(clock_ticks(clock_ticks_to_ns(n, rates[i]), rates[i]), n);
        }
    }
}

/* --- bus --- */

typedef struct Recorder {
    uint32_t offset[32];
    unsigned bytes[32];
    uint64_t value[32];
    unsigned count;
    uint64_t answer;
} Recorder;

static uint64_t recorder_read(void *self, uint32_t offset, unsigned bytes)
{
    Recorder *r = self;
    r->offset[r->count] = offset;
    r->bytes[r->count++] = bytes;
    return r->answer;
}

static void recorder_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Recorder *r = self;
    r->offset[r->count] = offset;
    r->value[r->count] = value;
    r->bytes[r->count++] = bytes;
}

static uint32_t recorder_read_run(void *self, uint32_t offset, unsigned bytes, void *data,
                                  uint32_t count)
{
    recorder_read(self, offset, bytes);
    memset(data, 0x55, (size_t)count * bytes);
    return count;
}

static uint32_t recorder_write_run(void *self, uint32_t offset, unsigned bytes, const void *data,
                                   uint32_t count)
{
    recorder_write(self, offset, ((const uint8_t *)data)[count * bytes - 1], bytes);
    return count;
}

/* A run is asked for only where each of its accesses would go to one range in one piece. */
static void runs_of_accesses(void **state)
{
    (void)state;
    static const IoOps ops = {recorder_read, recorder_write, 2, 4};
    static const IoRuns runs = {recorder_read_run, recorder_write_run};
    Recorder r = {.count = 0};
    Board *b = chip_board();
    uint8_t data[80] = {[79] = 9};
    IoRange *range = bus_claim(b->ports, 0x100, 8, &ops, &r, "recorder");
    assert_int_equal(bus_read_run(b->ports, 0x104, 2, data, 40), 0); /* it has none yet */
    bus_set_runs(range, &runs);
    static const struct {
        uint16_t port;
        unsigned bytes;
    } refused[] = {{0x104, 1}, {0x104, 8}, {0x102, 4}, {0x105, 2},
                   {0x107, 2}, {0x108, 2}, {0xfe, 4}};
    for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        uint16_t port = refused[i].port;
        assert_int_equal(bus_read_run(b->ports, port, refused[i].bytes, data, 10), 0);
        assert_int_equal(bus_write_run(b->ports, port, refused[i].bytes, data, 10), 0);
    }
    assert_int_equal(r.count, 0);
    assert_int_equal(bus_write_run(b->ports, 0x106, 2, data, 40), 40);
    assert_int_equal(bus_read_run(b->ports, 0x104, 4, data, 20), 20);
    assert_int_equal(r.offset[0], 6);
    assert_int_equal(r.bytes[0], 2);
    assert_int_equal(r.value[0], 9);
    assert_int_equal(r.offset[1], 4);
    assert_int_equal(r.bytes[1], 4);
    assert_int_equal(data[79], 0x55);
    assert_int_equal(bus_accesses(b->ports), 60);
    /* each access is traced by itself */
    assert_true(log_configure("ports=trace", NULL));
    assert_int_equal(bus_read_run(b->ports, 0x104, 4, data, 20), 0);
    assert_true(log_configure("warn", NULL));
    /* whoever lies above has none of them */
    bus_claim(b->ports, 0x104, 4, &ops, &r, "above");
    assert_int_equal(bus_read_run(b->ports, 0x104, 4, data, 20), 0);
    assert_int_equal(bus_read_run(b->ports, 0x100, 4, data, 20), 20);
    board_free(b);
}

static void accesses_are_split_to_what_a_range_takes(void **state)
{
    (void)state;
    Board *b = chip_board();
    Recorder r = {.answer = 0x5a};
    static const IoOps bytes_only = {recorder_read, recorder_write, 1, 1};
    bus_claim(b->ports, 0x300, 3, &bytes_only, &r, "test");
    bus_write(b->ports, 0x301, 0x44332211, 4); /* two bytes inside, two beyond */
    assert_int_equal(r.count, 2);
    assert_int_equal(r.offset[1], 2);
    assert_int_equal(r.value[1], 0x22);
    assert_int_equal(bus_read(b->ports, 0x302, 2), 0xff5a);
    assert_int_equal(bus_read(b->ports, 0x400, 4), 0xffffffff);
    board_free(b);
}

static void a_wide_register_is_read_whole_and_cut(void **state)
{
    (void)state;
    Board *b = chip_board();
    Recorder r = {.answer = 0x44332211};
    static const IoOps words_only = {recorder_read, recorder_write, 4, 4};
    bus_claim(b->memory, 0xfee00000, 0x1000, &words_only, &r, "test");
    assert_int_equal(bus_read(b->memory, 0xfee00012, 2), 0x4433);
    assert_int_equal(r.offset[0], 0x10);
    assert_int_equal(r.bytes[0], 4);
    bus_write(b->memory, 0xfee00011, 0xab, 1);
    assert_int_equal(r.value[1], 0xab00);
    board_free(b);
}

static void the_last_claim_and_the_higher_level_win(void **state)
{
    (void)state;
    Board *b = chip_board();
    Recorder r = {.answer = 1}, s = {.answer = 2};
    static const IoOps ops = {recorder_read, recorder_write, 1, 4};
    IoRange *first = bus_claim(b->ports, 0x100, 0x100, &ops, &r, "first");
    IoRange *second = bus_claim(b->ports, 0x180, 0x10, &ops, &s, "second");
    assert_int_equal(bus_read(b->ports, 0x180, 1), 2);
    assert_int_equal(s.offset[0], 0);
    assert_int_equal(bus_read(b->ports, 0x190, 1), 1);
    assert_int_equal(r.offset[0], 0x90);
    bus_set_level(first, 1);
    assert_int_equal(bus_read(b->ports, 0x180, 1), 1);
    bus_set_level(first, 0);
    bus_move(second, 0x1f0, true);
    assert_int_equal(bus_read(b->ports, 0x180, 1), 1);
    assert_int_equal(bus_read(b->ports, 0x1f0, 1), 2);
    bus_move(second, 0, false);
    assert_int_equal(bus_read(b->ports, 0x1f0, 1), 1);
    bus_move(second, 0xfffff, true); /* beyond the last port: as if it were off */
    assert_int_equal(bus_read(b->ports, 0xffff, 1), 0xff);
    bus_release(first);
    assert_int_equal(bus_read(b->ports, 0x100, 1), 0xff);
    board_free(b);
}

static void memory_reads_and_writes_by_its_view(void **state)
{
    (void)state;
    Board *b = chip_board();
    RamBlock *ram = ram_add(&b->ram, "ram", 0x10000, NULL);
    RamBlock *rom = ram_add(&b->ram, "rom", 0x1000, NULL);
    memset(ram_at(&b->ram, rom->at), 0x77, 0x1000);
    bus_claim_ram(b->memory, 0, 0x10000, &(RamView){true, true, ram->at, ram->at}, "ram");
    IoRange *shadow = bus_claim_ram(b->memory, 0x8000, 0x1000,
                                    &(RamView){true, true, rom->at, ram->at + 0x8000}, "shadow");
    bus_write(b->memory, 0x8004, 0x1234, 2); /* reads ROM, writes RAM beneath */
    assert_int_equal(bus_read(b->memory, 0x8004, 2), 0x7777);
    bus_set_view(shadow, &(RamView){true, false, ram->at + 0x8000, 0});
    assert_int_equal(bus_read(b->memory, 0x8004, 2), 0x1234);
    bus_write(b->memory, 0x8004, 0, 2);
    assert_int_equal(bus_read(b->memory, 0x8004, 2), 0x1234);
    bus_write(b->memory, 0x7ffe, 0x44332211, 4); /* across the edge */
    assert_int_equal(bus_read(b->memory, 0x7ffe, 2), 0x2211);
    uint8_t data[8] = {0};
    assert_true(bus_dma(b->memory, 0x7ffc, data, 8, false));
    assert_int_equal(data[2], 0x11);
    assert_false(bus_dma(b->memory, 0xfffc, data, 8, false)); /* runs off the end of memory */
    assert_int_equal(data[7], 0xff);
    assert_true(bus_page(b->memory, 0x7123).ram);
    assert_int_equal(bus_page(b->memory, 0x8123).view.read_at, ram->at + 0x8000);
    assert_false(bus_page(b->memory, 0x10000).ram);
    board_free(b);
}

typedef struct Heard {
    unsigned code, flags;
    uint32_t at, length;
} Heard;

static void heard_code(void *self, uint32_t at, uint32_t length)
{
    Heard *h = self;
    h->code++;
    h->at = at;
    h->length = length;
}

static void heard_flags(void *self, uint32_t first, uint32_t pages)
{
    Heard *h = self;
    (void)first;
    h->flags += pages;
}

static void page_flags_catch_every_writer(void **state)
{
    (void)state;
    Board *b = chip_board();
    RamBlock *ram = ram_add(&b->ram, "ram", 0x4000, NULL);
    bus_claim_ram(b->memory, 0, 0x4000, &(RamView){true, true, ram->at, ram->at}, "ram");
    Heard heard = {0};
    b->ram.listener = (RamListener){heard_code, heard_flags, &heard, NULL};
    ram_flag_set(&b->ram, 1, 2, RAM_CLEAN_DISPLAY);
    ram_flag_set(&b->ram, 2, 1, RAM_CODE);
    assert_int_equal(heard.flags, 3);
    uint8_t data[4] = {1, 2, 3, 4};
    bus_dma(b->memory, 0x1ffe, data, 4, true);
    assert_int_equal(b->ram.flags[1], 0);
    assert_int_equal(b->ram.flags[2],
                     RAM_CODE); /* code marks stay until the engine takes them off */
    assert_int_equal(heard.code, 1);
    assert_int_equal(heard.at, 0x1ffe);
    bus_write(b->memory, 0x3000, 1, 1);
    assert_int_equal(heard.code, 1);
    board_free(b);
}

/* --- state --- */

static StateIo *reload(StateIo *saver)
{
    size_t size;
    const uint8_t *bytes = state_finish(saver, &size);
    Err err = {""};
    StateIo *loader = state_loader_new(bytes, size, &err);
    assert_non_null(loader);
    return loader;
}

static void state_refuses_what_it_does_not_know(void **state)
{
    (void)state;
    uint32_t value = 7;
    StateIo *saver = state_saver_new();
    state_begin(saver, "chip", 2);
    state_u32(saver, "count", &value);
    state_end(saver);

    StateIo *loader = reload(saver);
    assert_true(state_begin(loader, "chip", 2));
    uint32_t loaded = 0;
    state_u32(loader, "other", &loaded);
    assert_false(state_ok(loader));
    assert_non_null(strstr(state_error(loader), "chip.other"));
    assert_non_null(strstr(state_error(loader), "count"));
    assert_int_equal(loaded, 0);
    state_free(loader);
    state_free(saver);

    saver = state_saver_new();
    state_begin(saver, "chip", 2);
    state_u32(saver, "count", &value);
    state_end(saver);
    loader = reload(saver);
    assert_false(state_begin(loader, "chip", 1)); /* newer than known */
    assert_non_null(strstr(state_error(loader), "version 2"));
    state_free(loader);
    state_free(saver);

    saver = state_saver_new();
    state_begin(saver, "chip", 1);
    state_u32(saver, "count", &value);
    state_end(saver);
    loader = reload(saver);
    state_begin(loader, "chip", 1);
    state_end(loader); /* left unread */
    assert_non_null(strstr(state_error(loader), "unknown field 'count'"));
    state_free(loader);
    state_free(saver);
}

static void state_checks_values_and_damage(void **state)
{
    (void)state;
    unsigned mode = 9;
    uint8_t blob[4] = {1, 2, 3, 4};
    size_t length = 4;
    StateIo *saver = state_saver_new();
    state_begin(saver, "chip", 1);
    state_enum(saver, "mode", &mode, 10);
    state_blob(saver, "fifo", blob, &length, 16);
    state_end(saver);
    StateIo *loader = reload(saver);
    state_begin(loader, "chip", 1);
    unsigned loaded = 0;
    state_enum(loader, "mode", &loaded, 5);
    assert_non_null(strstr(state_error(loader), "chip.mode: is out of range"));
    state_free(loader);

    size_t size;
    const uint8_t *bytes = state_finish(saver, &size);
    uint8_t *copy = malloc(size);
    for (size_t i = 0; i < size; i++) {
        memcpy(copy, bytes, size);
        copy[i] ^= 0x10;
        Err err = {""};
        assert_null(state_loader_new(copy, size, &err));
        assert_true(err.text[0] != '\0');
    }
    free(copy);
    state_free(saver);
}

/* A device that notes what time it is while its state is walked. */
typedef struct Watcher {
    Device dev;
    int64_t seen;
} Watcher;

static void watcher_reset(Device *d, ResetKind kind)
{
    (void)d;
    (void)kind;
}

static void watcher_state(Device *d, StateIo *io)
{
    Watcher *w = (Watcher *)d;
    fake_host_ns += 1000; /* the walk takes its time on the host */
    w->seen = clock_now(&d->board->clock);
    state_i64(io, "seen", &w->seen);
}

static void guest_time_stands_still_while_state_is_saved(void **state)
{
    (void)state;
    static const DeviceType type = {"watcher", 1, watcher_reset, watcher_state, NULL, NULL};
    Board *b = chip_board();
    Watcher *first = calloc(1, sizeof(*first)), *second = calloc(1, sizeof(*second));
    device_add(b, &first->dev, &type, "first");
    device_add(b, &second->dev, &type, "second");
    clock_use_host(&b->clock, fake_host);
    clock_run(&b->clock, true);
    fake_host_ns += 500;
    StateIo *io = state_saver_new();
    board_state(b, io);
    assert_int_equal(first->seen, 500);
    assert_int_equal(second->seen, 500);
    assert_int_equal(clock_now(&b->clock), 500);
    fake_host_ns += 7;
    assert_int_equal(clock_now(&b->clock), 507);
    state_free(io);
    board_free(b);
}

static void never_fires(void *self, int64_t due)
{
    (void)self;
    (void)due;
    fail();
}

static void a_timer_long_overdue_is_refused(void **state)
{
    (void)state;
    Board *b = chip_board();
    Timer timer;
    timer_init(&timer, &b->clock, "late", never_fires, NULL);
    clock_set(&b->clock, 100 * CLOCK_NS_PER_S);
    for (int64_t late = 9; late <= 11; late += 2) {
        timer_arm(&timer, (100 - late) * CLOCK_NS_PER_S);
        StateIo *saver = state_saver_new();
        state_begin(saver, "chip", 1);
        state_timer(saver, "timer", &timer);
        state_end(saver);
        StateIo *loader = reload(saver);
        state_begin(loader, "chip", 1);
        state_timer(loader, "timer", &timer);
        assert_int_equal(state_ok(loader), late < 10);
        state_free(loader);
        state_free(saver);
    }
    timer_disarm(&timer);
    board_free(b);
}

/* --- events --- */

typedef struct Inbox {
    unsigned count, sum;
} Inbox;

static void inbox_deliver(void *self, const void *data, size_t size)
{
    Inbox *box = self;
    box->count++;
    box->sum += size ? *(const uint8_t *)data : 0;
}

typedef struct Poster {
    EventPort *port;
    unsigned taken;
} Poster;

static void *post_many(void *self)
{
    Poster *p = self;
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t one = 1;
        p->taken += event_post(p->port, &one, 1);
    }
    return NULL;
}

static void events_cross_threads_and_are_bounded(void **state)
{
    (void)state;
    EventQueue *q = event_queue_new(NULL, NULL);
    Inbox box = {0};
    EventPort *port = event_port_open(q, "test", inbox_deliver, &box);
    Poster posters[3];
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++) {
        posters[i] = (Poster){.port = port};
        pthread_create(&threads[i], NULL, post_many, &posters[i]);
    }
    for (unsigned i = 0; i < 100; i++) {
        event_deliver(q);
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    event_deliver(q);
    assert_int_equal(box.count, 3000);
    assert_int_equal(box.sum, 3000);
    assert_false(event_waiting(q));
    unsigned taken = 0;
    for (unsigned i = 0; i < EVENT_QUEUE_LIMIT + 10; i++) {
        taken += event_post(port, NULL, 0);
    }
    assert_int_equal(taken, EVENT_QUEUE_LIMIT);
    event_port_close(port);
    assert_int_equal(event_deliver(q), 0);
    assert_false(event_post(port, NULL, 0));
    event_queue_free(q);
}

/* --- log --- */

static void count_line(void *self, LogLevel level, const char *tag, const char *text)
{
    (void)level;
    (void)tag;
    (void)text;
    ++*(unsigned *)self;
}

static void log_levels_and_limits(void **state)
{
    (void)state;
    unsigned lines = 0;
    log_to_sink(count_line, &lines);
    assert_true(log_configure("coretest=guest,error", NULL));
    for (unsigned i = 0; i < 1000; i++) {
        log_guest("again %u", i);
    }
    assert_int_equal(lines, LOG_SITE_LIMIT);
    log_trace("not wanted");
    assert_int_equal(lines, LOG_SITE_LIMIT);
    Err err = {""};
    assert_false(log_configure("coretest=loud", &err));
    assert_non_null(strstr(err.text, "loud"));
    err.text[0] = '\0';
    assert_false(log_configure("coretets=trace", &err));
    assert_non_null(strstr(err.text, "coretets"));
    log_configure("warn", NULL);
    log_to_sink(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_at_their_time),
        cmocka_unit_test(a_periodic_timer_keeps_its_phase),
        cmocka_unit_test(host_time_stops_with_the_machine),
        cmocka_unit_test(slack_is_for_what_the_guest_alone_sees),
        cmocka_unit_test(time_held_back_is_made_up_for),
        cmocka_unit_test(time_is_held_back_within_limits),
        cmocka_unit_test(a_patient_guest_is_told_no_time_after_what_is_due),
        cmocka_unit_test(a_stall_is_over_before_what_was_due),
        cmocka_unit_test(counted_time_follows_instructions_and_skips),
        cmocka_unit_test(ticks_convert_both_ways),
        cmocka_unit_test(runs_of_accesses),
        cmocka_unit_test(accesses_are_split_to_what_a_range_takes),
        cmocka_unit_test(a_wide_register_is_read_whole_and_cut),
        cmocka_unit_test(the_last_claim_and_the_higher_level_win),
        cmocka_unit_test(memory_reads_and_writes_by_its_view),
        cmocka_unit_test(page_flags_catch_every_writer),
        cmocka_unit_test(state_refuses_what_it_does_not_know),
        cmocka_unit_test(state_checks_values_and_damage),
        cmocka_unit_test(guest_time_stands_still_while_state_is_saved),
        cmocka_unit_test(a_timer_long_overdue_is_refused),
        cmocka_unit_test(events_cross_threads_and_are_bounded),
        cmocka_unit_test(log_levels_and_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
