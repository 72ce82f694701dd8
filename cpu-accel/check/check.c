/* Engine `check`: translator and interpreter in lock step on a real machine.
 *
 * The translator runs a span of code, the interpreter then as many instructions on the shadow, and
 * everything must be the same: registers, memory that was written, clean marks of pages, device
 * accesses. From time to time all of memory is compared. A span that ends in a difference is run
 * again in single units; the first difference is reported and stops the machine. docs/TRANSLATOR.md
 * says how to read it; engine.c opens it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/check/check.h"
#include "cpu-accel/x86/control.h"
#include "machine/core/clock.h"

enum {
    CLOCK_SLICE = 20000,    /* instructions between two looks at a host clock */
    MEMORY_EVERY = 1 << 26, /* instructions between two comparisons of all memory */
    SPAN_MOST = 1 << 16,    /* instructions compared at once */
    PIECE_MOST = 256,       /* ... where units are run one by one, */
    PIECES_ONE_IN = 4,      /* at the beginning of one run in so many, */
    PIECES_FOR = 128,       /* for so many instructions */
};

static void check_close(Accel *a)
{
    Check *c = a->self;
    if (!c) {
        return;
    }
    if (c->inner.self) {
        accel_translator.close(&c->inner);
    }
    record_close(c);
    shadow_close(c);
    free(c);
    a->self = NULL;
}

static bool check_open(Accel *a, Err *err)
{
    Check *c = a->self = calloc(1, sizeof(*c));
    if (!c) {
        return err_set(err, "out of memory");
    }
    c->accel = a;
    c->cpu = a->cpu;
    c->board = a->board;
    c->stale = true;
    c->inner = (Accel){.ops = &accel_translator, .cpu = a->cpu, .board = a->board};
    compare_open(c);
    record_open(c);
    if (!accel_translator.open(&c->inner, err) || !shadow_open(c, err)) {
        check_close(a);
        return false;
    }
    c->translator = c->inner.self;
    return true;
}

/* How many instructions may run before somebody must look at the time. 0: it has come. */
static uint64_t room(Check *c, int64_t until_ns)
{
    const Clock *clock = &c->board->clock;
    if (clock->source != CLOCK_COUNTED && c->count.instructions < c->time_at) {
        return c->time_at - c->count.instructions;
    }
    int64_t now = clock_peek(clock);
    if (now >= until_ns) {
        return 0;
    }
    if (clock->source != CLOCK_COUNTED) {
        c->time_at = c->count.instructions + CLOCK_SLICE;
        return CLOCK_SLICE;
    }
    uint64_t left = (uint64_t)until_ns - (uint64_t)now;
    return (left >> clock->shift) + !!(left & ((UINT64_C(1) << clock->shift) - 1));
}

void check_remember(Check *c)
{
    const Cpu *s = c->shadow;
    memcpy(c->before.reg, s->reg, sizeof(c->before.reg));
    c->before.eip = s->eip;
    c->before.eflags = cpu_eflags(s);
    c->before.code = s->seg[CS];
}

void check_leave_trail(Check *c, const Piece *piece)
{
    c->trail_at = (c->trail_at + 1) % TRAIL;
    c->trail[c->trail_at] = (Step){
        .cs_base = c->before.code.base,
        .eip = c->before.eip,
        .selector = c->before.code.selector,
        .unit = piece->unit != NULL,
        .code32 = c->before.code.access & SEG_BIG,
        .count = piece->count,
    };
}

static void compare_all_sometimes(Check *c)
{
    if (!c->difference[0] && c->count.instructions >= c->next_memory) {
        c->next_memory = c->count.instructions + MEMORY_EVERY;
        compare_memory(c);
    }
}

static bool poll(Check *c)
{
    check_remember(c);
    record_begin(c);
    int_poll(c->cpu);
    record_replay(c);
    int_poll(c->shadow);
    record_done(c);
    check_leave_trail(c, &(Piece){0});
    if (c->difference[0] || !compare_span(c)) {
        report_make(c);
        report_send(c);
        return false;
    }
    return true;
}

/* Both are where they are: compare. False: they differ, and that has been reported. */
static bool compare(Check *c, const Piece *span)
{
    if ((c->difference[0] || !compare_span(c)) && !again_run(c, span)) {
        return false;
    }
    compare_all_sometimes(c);
    if (c->difference[0]) {
        report_make(c);
        report_send(c);
        return false;
    }
    return true;
}

/* Units are linked and counted, but now and then also not. */
static bool run_span(Check *c, uint64_t most, bool in_pieces)
{
    Piece span;
    uint64_t limit = in_pieces ? PIECE_MOST : SPAN_MOST;
    most = most < limit ? most : limit;
    check_remember(c);
    again_start(c);
    record_begin(c);
    if (in_pieces) {
        translator_piece(c->translator, most, &span);
    } else {
        translator_span(c->translator, most, &span);
    }
    record_replay(c);
    shadow_run(c, &span);
    record_done(c);
    *(in_pieces ? &c->count.pieces : &c->count.spans) += 1;
    c->count.instructions += span.count + span.one_step;
    check_leave_trail(c, &span);
    return compare(c, &span);
}

static RunExit check_run(Accel *a, int64_t until_ns)
{
    Check *c = a->self;
    Cpu *cpu = c->cpu;
    c->difference[0] = '\0';
    c->time_at = 0;
    translator_begin(c->translator);
    if (c->stale) {
        shadow_copy(c);
        c->next_memory = c->count.instructions + MEMORY_EVERY;
    } else {
        shadow_follow(c);
    }
    uint64_t pieces_until = ++c->runs % PIECES_ONE_IN ? 0 : c->count.instructions + PIECES_FOR;
    for (;;) {
        uint64_t most = room(c, until_ns);
        if (most == 0) {
            return RUN_DUE;
        }
        if (int_waiting(cpu) && !poll(c)) {
            return RUN_FAILED;
        }
        if (atomic_load_explicit(&cpu->attention, memory_order_relaxed)) {
            return RUN_DUE;
        }
        if (cpu->activity != CPU_RUNNING) {
            return RUN_HALTED;
        }
        if (!run_span(c, most, c->count.instructions < pieces_until)) {
            return RUN_FAILED;
        }
    }
}

static void check_kick(Accel *a)
{
    Check *c = a->self;
    accel_translator.kick(&c->inner);
}

static void check_pull(Accel *a)
{
    Check *c = a->self;
    accel_translator.pull(&c->inner);
}

static void check_push(Accel *a)
{
    Check *c = a->self;
    ram_need(&a->board->ram, 0, a->board->ram.used); /* it is compared as a whole */
    accel_translator.push(&c->inner);
    c->stale = true; /* all may be new */
}

static void check_code_changed(Accel *a, uint32_t at, uint32_t length)
{
    Check *c = a->self;
    accel_translator.code_changed(&c->inner, at, length);
}

static void check_flags_set(Accel *a, uint32_t first_page, uint32_t pages)
{
    Check *c = a->self;
    record_flags(c);
    accel_translator.flags_set(&c->inner, first_page, pages);
}

static void check_written(Accel *a, uint32_t at, uint32_t length)
{
    record_written(a->self, at, length);
}

static void check_map_changed(Accel *a)
{
    Check *c = a->self;
    accel_translator.map_changed(&c->inner);
    if (!c->stale) {
        record_map(c);
    }
}

static void check_describe(Accel *a, void (*line)(void *self, const char *text), void *self)
{
    Check *c = a->self;
    const CheckCounts *n = &c->count;
    const struct {
        const char *what;
        uint64_t count;
    } all[] = {
        {"instructions run twice", n->instructions},
        {"spans compared", n->spans},
        {"single units compared", n->pieces},
        {"accesses outside memory, made once", n->devices},
        {"comparisons of all memory", n->memory_compares},
        {"accessed and dirty bits that only one of the two has set", n->marks},
        {"spans run again, in pieces", n->again},
        {"of them agreed then: those bits came at another time", n->vanished},
        {"ms of guest time", (uint64_t)clock_peek(&c->board->clock) / 1000000},
    };
    char text[128];
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        snprintf(text, sizeof(text), "%12" PRIu64 " %s", all[i].count, all[i].what);
        line(self, text);
    }
    accel_translator.describe(&c->inner, line, self);
}

const AccelOps accel_check = {
    .name = "check",
    .clocked = true,
    .open = check_open,
    .close = check_close,
    .run = check_run,
    .kick = check_kick,
    .pull = check_pull,
    .push = check_push,
    .code_changed = check_code_changed,
    .flags_set = check_flags_set,
    .written = check_written,
    .map_changed = check_map_changed,
    .describe = check_describe,
};
