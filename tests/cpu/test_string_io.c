/* INS and OUTS at a device that takes runs, beside the same at one that does not: nobody may see a
 * difference, neither after a call of the handler nor under any engine. */
#include <stdlib.h>
#include <string.h>

#include "tests/cpu/guest.h"
#include "tests/cpu/sys_rig.h"

enum { PORT = 0x310, ELEMENTS = 1 << 20 };

/* Gives numbered elements and takes notes; at element `event` something happens. */
typedef struct Source {
    Cpu *cpu;
    uint32_t count; /* elements so far, in and out */
    uint32_t most;  /* of a run; 0: takes none */
    uint32_t event; /* the element at which INTR rises */
    uint32_t in_runs;
    uint64_t hash; /* of all that was written */
} Source;

static void happen(Source *d)
{
    if (d->count++ == d->event) {
        cpu_intr(d->cpu, 0, true);
    }
}

static uint32_t element(const Source *d)
{
    return (d->count + 1) * 0x9e3779b1u;
}

static void note(Source *d, uint64_t value)
{
    d->hash = (d->hash ^ value) * UINT64_C(0x100000001b3);
}

static uint64_t device_read(void *self, uint32_t offset, unsigned bytes)
{
    Source *d = self;
    uint32_t value = element(d);
    (void)offset;
    (void)bytes;
    happen(d);
    return value;
}

static void device_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Source *d = self;
    (void)offset;
    (void)bytes;
    note(d, value);
    happen(d);
}

static uint32_t in_a_row(const Source *d, uint32_t count)
{
    uint32_t most = count < d->most ? count : d->most;
    return d->count <= d->event && d->event - d->count < most ? d->event - d->count : most;
}

static uint32_t device_read_run(void *self, uint32_t offset, unsigned bytes, void *data,
                                uint32_t count)
{
    Source *d = self;
    uint32_t n = in_a_row(d, count);
    assert_int_equal(offset, 0);
    for (uint32_t i = 0; i < n; i++, d->count++) {
        uint32_t value = element(d);
        memcpy((uint8_t *)data + i * bytes, &value, bytes);
    }
    d->in_runs += n;
    return n;
}

static uint32_t device_write_run(void *self, uint32_t offset, unsigned bytes, const void *data,
                                 uint32_t count)
{
    Source *d = self;
    uint32_t n = in_a_row(d, count);
    assert_int_equal(offset, 0);
    for (uint32_t i = 0; i < n; i++, d->count++) {
        uint32_t value = 0;
        memcpy(&value, (const uint8_t *)data + i * bytes, bytes);
        note(d, value);
    }
    d->in_runs += n;
    return n;
}

static const IoOps ops = {device_read, device_write, 1, 4};
static const IoRuns runs = {device_read_run, device_write_run};

static void plug_in(Board *b, Source *d)
{
    bus_set_runs(bus_claim(b->ports, PORT, 8, &ops, d, "device"), &runs);
}

/* --- handlers --- */

typedef enum Mode { REAL, PROTECTED, PAGED, USER, V86, MODES } Mode;

enum { BITMAP_BYTES = 0x80, CASES = 4000, WATCHED = 0x40000 };

/* Two processors, of which one has a device that takes runs. */
typedef struct Twins {
    Sys s[2];
    Source device[2];
    uint32_t r;
} Twins;

static uint32_t pick(Twins *t, uint32_t below)
{
    t->r = t->r * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)t->r * below >> 32);
}

static void enter(Sys *s, Mode mode)
{
    sys_open(s, CPU_PENTIUM3);
    for (uint32_t at = SYS_DATA; at < WATCHED; at++) {
        s->ram[at] = (uint8_t)(at * 167 >> 3);
    }
    if (mode == REAL) {
        return;
    }
    sys_protected(s);
    if (mode != PROTECTED) {
        sys_paging(s);
    }
    if (mode == USER) {
        sys_user(s);
    } else if (mode == V86) {
        sys_v86(s, 3);
    }
    s->cpu->seg[TR].limit = 0x68 + BITMAP_BYTES;
}

/* Where the first element lies: often just below the end of a page or of the segment. */
static uint32_t place(Twins *t, unsigned bytes)
{
    uint32_t near =
        pick(t, 3) ? bytes * pick(t, 40) + pick(t, 2) * pick(t, bytes) : pick(t, 0x2000);
    return SYS_DATA + 0x1000 * (1 + pick(t, 8)) - near;
}

static void compare(const Twins *t, Outcome one, Outcome other)
{
    const Cpu *a = t->s[0].cpu, *b = t->s[1].cpu;
    assert_int_equal(one, other);
    assert_memory_equal(a->reg, b->reg, sizeof(a->reg));
    assert_int_equal(a->eip, b->eip);
    assert_int_equal(cpu_eflags(a), cpu_eflags(b));
    assert_int_equal(a->intr, b->intr);
    assert_int_equal(a->pending_dr6, b->pending_dr6);
    if (one == X_FAULT) {
        assert_memory_equal(&a->fault, &b->fault, sizeof(a->fault));
    }
    assert_memory_equal(t->s[0].ram, t->s[1].ram, WATCHED);
    assert_int_equal(t->device[0].count, t->device[1].count);
    assert_true(t->device[0].hash == t->device[1].hash);
    assert_int_equal(bus_accesses(t->s[0].b->ports), bus_accesses(t->s[1].b->ports));
}

/* The same on both; everything that can be chosen is. */
static void prepare(Twins *t, Insn *in, unsigned bytes, Mode mode)
{
    bool wide = mode != REAL && mode != V86 && pick(t, 3);
    uint32_t at = place(t, bytes), count = pick(t, 4) ? pick(t, 700) : pick(t, 5);
    bool down = pick(t, 6) == 0, watched = pick(t, 12) == 0, forbidden = pick(t, 8) == 0;
    bool hole = (mode == PAGED || mode == USER) && pick(t, 2);
    uint32_t limit = pick(t, 4) ? 0xffffffffu : at - SYS_DATA + bytes * pick(t, 500);
    uint32_t event = pick(t, 2) ? pick(t, 700) : ELEMENTS, most = 1 + pick(t, 300);
    uint32_t hidden = pick(t, 0x10000) << 16;
    bool wraps = !wide && pick(t, 3) == 0; /* at the end of the 16-bit offsets */
    uint32_t base = wide ? 0 : wraps ? at + pick(t, 100) - 0xffff : SYS_DATA;
    *in = sys_insn(bytes == 1 ? 4 : bytes);
    in->prefix = pick(t, 10) ? PREFIX_REP : 0;
    in->address_mask = wide ? 0xffffffffu : 0xffff;
    for (unsigned i = 0; i < 2; i++) {
        Sys *s = &t->s[i];
        Cpu *cpu = s->cpu;
        t->device[i] = (Source){.cpu = cpu, .most = i ? most : 0, .event = event};
        cpu_intr(cpu, 0, false);
        cpu->eflags = (cpu->eflags & ~(FL_DF | FL_IF)) | (down ? FL_DF : 0) | FL_IF;
        cpu->dr7 = watched ? 0x401u | 3u << 16 : 0x400;
        cpu->dr[0] = at + 64;
        cpu->pending_dr6 = 0;
        mem_flush(cpu, true);
        cpu->seg[ES].base = cpu->seg[DS].base = base;
        cpu->seg[ES].limit = cpu->seg[DS].limit = wide || wraps ? limit : limit & 0xffff;
        cpu->reg[EDI] = cpu->reg[ESI] = wide ? at : (hidden | (at - base));
        cpu->reg[ECX] = wide ? count : hidden | count;
        cpu->reg[EDX] = PORT;
        memset(s->ram + SYS_TSS + 0x68, 0, BITMAP_BYTES + 1);
        s->ram[SYS_TSS + 0x68 + PORT / 8] = forbidden ? 4 : 0;
        if (mode == PAGED || mode == USER) {
            uint32_t next = (at + 0x1000) & ~0xfffu;
            sys_set_pte(s, next, hole ? next : next | 7);
        }
    }
}

/* Calls the handler until it is through, or has failed; at a pause the interrupt is taken away. */
static Outcome through(Twins *t, const Insn *in, InsnHandler handler)
{
    for (;;) {
        Outcome one = handler(t->s[0].cpu, in), other = handler(t->s[1].cpu, in);
        compare(t, one, other);
        if (one != X_REPEAT) {
            return one;
        }
        for (unsigned i = 0; i < 2; i++) {
            cpu_intr(t->s[i].cpu, 0, false);
        }
    }
}

static void nothing_differs(void **state)
{
    (void)state;
    static const InsnHandler handlers[] = {ex_insb, ex_insv, ex_outsb, ex_outsv};
    Twins t = {.r = 20};
    for (Mode mode = REAL; mode < MODES; mode++) {
        uint32_t in_runs = 0, count = 0;
        for (unsigned i = 0; i < 2; i++) {
            enter(&t.s[i], mode);
            plug_in(t.s[i].b, &t.device[i]);
        }
        for (unsigned i = 0; i < CASES / MODES; i++) {
            Insn in;
            unsigned which = pick(&t, 4);
            prepare(&t, &in, which & 1 ? 2 + 2 * pick(&t, 2) : 1, mode);
            through(&t, &in, handlers[which]);
            in_runs += t.device[1].in_runs;
            count += t.device[1].count;
            assert_int_equal(t.device[0].in_runs, 0);
        }
        assert_true(in_runs > count / 2);
        sys_close(&t.s[0]);
        sys_close(&t.s[1]);
    }
}

/* INS over the map of permissions itself: what it stores counts for the next element. */
static void the_permission_map_is_overwritten(void **state)
{
    (void)state;
    unsigned faults = 0, tried = 0;
    for (uint32_t before = 0; before < 600; before += 7, tried++) {
        Twins t = {.r = 1};
        Insn in = sys_insn(2);
        in.prefix = PREFIX_REP;
        for (unsigned i = 0; i < 2; i++) {
            enter(&t.s[i], USER);
            t.device[i] = (Source){.cpu = t.s[i].cpu, .most = i ? 100 : 0, .event = ELEMENTS};
            plug_in(t.s[i].b, &t.device[i]);
            memset(t.s[i].ram + SYS_TSS + 0x68, 0, BITMAP_BYTES + 1);
            t.s[i].cpu->reg[EDI] = SYS_TSS + 0x68 + PORT / 8 - before;
            t.s[i].cpu->reg[ECX] = 1000;
            t.s[i].cpu->reg[EDX] = PORT;
        }
        if (through(&t, &in, ex_insv) == X_FAULT) {
            faults++;
            assert_int_equal(t.s[0].cpu->fault.vector, VEC_GP);
            assert_true(t.device[0].count <= before / 2 + 2);
        }
        assert_true(before < 400 || t.device[1].in_runs > 90); /* up to the map's page */
        sys_close(&t.s[0]);
        sys_close(&t.s[1]);
    }
    assert_true(faults > tried / 2); /* else what was stored happened to permit the port */
}

/* With breakpoints and downwards each element goes by itself. */
static void single_accesses_where_it_matters(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(2);
    in.prefix = PREFIX_REP;
    sys_open(&s, CPU_PENTIUM3);
    sys_protected(&s);
    Source d = {.cpu = s.cpu, .most = 100, .event = ELEMENTS};
    plug_in(s.b, &d);
    for (unsigned i = 0; i < 3; i++) {
        d.in_runs = 0;
        s.cpu->dr7 = i == 1 ? 0x402 : 0x400;
        s.cpu->eflags = i == 2 ? FL_DF : 0;
        s.cpu->reg[EDX] = PORT;
        s.cpu->reg[EDI] = SYS_DATA + 0x800;
        s.cpu->reg[ECX] = 200;
        assert_int_equal(ex_insv(s.cpu, &in), X_STOP);
        assert_int_equal(d.in_runs, i == 0 ? 199 : 0);
    }
    sys_close(&s);
}

/* --- engines --- */

/* cld; mov edi, data + 100h; mov esi, edi; mov edx, PORT; mov ecx, 3000; rep insw; mov ecx, 5000;
 * rep outsb; mov ecx, 700; rep insd; mov ecx, 1400; rep outsw; mov ecx, 100; rep insb; inc ebx;
 * hlt */
static const char program[] = "\xfc\xbf\x00\x01\x02\x00\x89\xfe\xba\x10\x03\x00\x00"
                              "\xb9\xb8\x0b\x00\x00\x66\xf3\x6d"
                              "\xb9\x88\x13\x00\x00\xf3\x6e"
                              "\xb9\xbc\x02\x00\x00\xf3\x6d"
                              "\xb9\x78\x05\x00\x00\x66\xf3\x6f"
                              "\xb9\x64\x00\x00\x00\xf3\x6c\x43\xf4";

static Guest *run(const AccelOps *engine, Source *d, bool interrupts)
{
    Guest *g = guest_new(CPU_PENTIUM3, engine);
    guest_flat(g);
    CODE(g, program);
    for (unsigned i = 0; i < 256; i++) {
        guest_put(g, GUEST_HANDLERS + 2 * i, "\xf4\xf4", 2);
    }
    g->vector = 0x40;
    cpu_set_eflags(g->cpu, FL_ONE | (interrupts ? FL_IF : 0));
    d->cpu = g->cpu;
    plug_in(g->board, d);
    RunExit end = RUN_DUE;
    for (unsigned i = 0; i < 1000 && end == RUN_DUE; i++) {
        atomic_store(&g->cpu->attention, false);
        end = engine->run(&g->accel, clock_now(&g->board->clock) + 10000);
    }
    if (end != RUN_HALTED) {
        fail_msg("%s: %d at %08x, %s", engine->name, end, g->cpu->eip, g->accel.failure);
    }
    return g;
}

static void engines_see_no_difference(void **state)
{
    (void)state;
    static const AccelOps *const engines[] = {&accel_interpreter, &accel_translator, &accel_check};
    static const uint32_t events[] = {ELEMENTS, 0, 255, 256, 1234, 8500};
    for (unsigned e = 0; e < sizeof(events) / sizeof(events[0]); e++) {
        for (unsigned i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
            Source one = {.event = events[e]}, other = {.event = events[e], .most = 1000};
            Guest *a = run(engines[i], &one, events[e] != ELEMENTS);
            Guest *b = run(engines[i], &other, events[e] != ELEMENTS);
            assert_memory_equal(a->cpu->reg, b->cpu->reg, sizeof(a->cpu->reg));
            assert_int_equal(a->cpu->eip, b->cpu->eip);
            assert_int_equal(a->cpu->executed, b->cpu->executed);
            assert_memory_equal(a->ram, b->ram, GUEST_RAM);
            assert_int_equal(one.count, other.count);
            assert_true(one.hash == other.hash);
            if (events[e] == ELEMENTS) {
                assert_int_equal(one.count, 3000 + 5000 + 700 + 1400 + 100);
                assert_int_equal(a->cpu->reg[EBX], 1);
            }
            bool taken = engines[i] != &accel_check && events[e] > 1000;
            assert_true(taken ? other.in_runs > other.count * 9 / 10 : other.in_runs <= 255);
            guest_free(a);
            guest_free(b);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_differs),
        cmocka_unit_test(the_permission_map_is_overwritten),
        cmocka_unit_test(single_accesses_where_it_matters),
        cmocka_unit_test(engines_see_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
