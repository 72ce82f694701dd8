/* The translator: guest code as host code, in windows on guest memory. The engine's own loop.
 *
 * Every single instruction that translated code leaves aside runs in the interpreter, and so do
 * pieces of code under alignment checks and on pages whose code keeps changing. engine.c opens it.
 */
#include <cpuid.h>
#include <immintrin.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu-accel/translator/translator.h"
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/fpu.h"
#include "cpu-accel/x86/mem.h"
#include "machine/core/clock.h"
#include "machine/host/host_time.h"

enum {
    INTERPRETER_SLICE = 2000,
    PIECE_SLICE = 200,       /* where there can be no unit */
    COUNTED_SLICE = 1 << 18, /* less than emit_count can count to */
    HWCAP2_FSGSBASE_BIT = 1 << 1,
    ARCH_SET_GS_CODE = 0x1001,
    NEAR_NS = 3000,  /* an alarm costs as much */
    NEAR_SLICE = 20, /* instructions */
};

static bool host_can(Err *err)
{
    unsigned a, b = 0, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_BMI2)) {
        return err_set(err,
                       "-accel translator: this processor has no BMI2; use -accel interpreter");
    }
    return true;
}

static void set_gs(Translator *t, const uint8_t *base)
{
    if (t->gs_base == base) {
        return;
    }
    if (t->has_wrgsbase) {
        __asm__ volatile("wrgsbase %0" : : "r"(base));
    } else {
        syscall(SYS_arch_prctl, ARCH_SET_GS_CODE, base);
    }
    t->gs_base = base;
    t->cpu->scratch[SCRATCH_BASE] = (uintptr_t)base;
}

static void code_gone(void *self, Window *w, uint32_t linear, uint32_t ram)
{
    spaces_forget_page(self, w, linear, ram);
}

static void all_gone(void *self, Window *w)
{
    spaces_forget_window(self, w);
}

static void flushed_all(void *self, bool globals_too)
{
    Translator *t = self;
    if (t->a20 != t->cpu->a20) {
        t->a20 = t->cpu->a20;
        windows_a20(&t->windows);
    }
    windows_flush(&t->windows, globals_too);
    t->cpu->scratch[SCRATCH_LEAVE] = 1;
}

static void flushed_page(void *self, uint32_t linear)
{
    Translator *t = self;
    windows_flush_page(&t->windows, linear);
    t->cpu->scratch[SCRATCH_LEAVE] = 1;
}

static void translator_close(Accel *a)
{
    Translator *t = a->self;
    if (!t) {
        return;
    }
    if (t->cpu->flushed.self == t) { /* else another of us has the processor already */
        t->cpu->flushed = (CpuFlushed){0};
        memset(t->cpu->scratch, 0, sizeof(t->cpu->scratch));
    }
    if (t->perf_map) {
        fclose(t->perf_map);
    }
    signals_close(t);
    units_close(t);
    for (unsigned i = 0; i < MAX_SPACES; i++) {
        free(t->space[i]);
    }
    windows_close(&t->windows);
    limits_close(&t->limits);
    code_close(&t->code);
    interpreter_free(t->interpreter);
    free(t);
    a->self = NULL;
}

/* VITRINE_PERF_MAP in the environment asks for names of translated code (tests/bench/perf-units).
 */
static void open_perf_map(Translator *t)
{
    char name[64];
    if (!getenv("VITRINE_PERF_MAP")) {
        return;
    }
    snprintf(name, sizeof(name), "/tmp/perf-%d.map", (int)getpid());
    t->perf_map = fopen(name, "we");
    if (t->perf_map) {
        setvbuf(t->perf_map, NULL, _IOLBF, 0);
        fprintf(t->perf_map, "%lx %zx translator_stubs\n", (unsigned long)(uintptr_t)t->code.run,
                t->code.at);
    }
}

static bool translator_open(Accel *a, Err *err)
{
    if (!host_can(err)) {
        return false;
    }
    Translator *t = a->self = calloc(1, sizeof(*t));
    if (!t) {
        return err_set(err, "out of memory");
    }
    t->accel = a;
    t->cpu = a->cpu;
    t->code.fd = -1;
    t->interpreter = interpreter_new(a->cpu);
    if (!t->interpreter || !code_open(&t->code, CODE_CACHE_SIZE, err) ||
        !windows_open(&t->windows, a->cpu, err) || !limits_open(&t->limits, err) ||
        !units_open(t, err) || !signals_open(t, err)) {
        err_set(err, "out of memory");
        translator_close(a);
        return false;
    }
    stubs_emit(t);
    open_perf_map(t);
    t->code.start = t->code.at;
    t->windows.code_gone = code_gone;
    t->windows.all_gone = all_gone;
    t->windows.self = t;
    t->valid_poll = 1;
    t->a20 = a->cpu->a20;
    t->has_wrgsbase = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT;
    a->cpu->scratch[SCRATCH_FPU] = FPU_IN_CPU;
    a->cpu->flushed = (CpuFlushed){flushed_all, flushed_page, t};
    return true;
}

/* What real mode's own loads leave of a segment's access rights as it is. */
static bool real_data(const Cpu *cpu, const SegReg *s)
{
    const uint32_t kept = SEG_BIG | SEG_GRANULARITY | SEG_AVL;
    const uint32_t data = SEG_PRESENT | SEG_S | SEG_WRITABLE | SEG_ACCESSED;
    return (s->access & ~kept) == (data | (cpu_v86(cpu) ? (uint32_t)SEG_DPL : 0));
}

static unsigned segment_kind(const Cpu *cpu, const SegReg *s, bool real)
{
    const uint32_t data = SEG_WRITABLE | SEG_S, wrong = SEG_UNUSABLE | SEG_EXPAND_DOWN | SEG_CODE;
    if (!real && s->limit == UINT32_MAX && (s->access & (wrong | data)) == data) {
        return s->base ? MODE_SEG_BASED : MODE_SEG_FLAT;
    }
    if (real && real_data(cpu, s)) {
        return s->limit == 0xffff       ? MODE_SEG_64K
               : s->limit == UINT32_MAX ? MODE_SEG_BASED
                                        : MODE_SEG_LIMITED;
    }
    if ((s->access & (SEG_EXPAND_DOWN | SEG_CODE | SEG_UNUSABLE)) == SEG_EXPAND_DOWN) {
        return MODE_SEG_DOWN;
    }
    return MODE_SEG_LIMITED;
}

/* MODE_NONE for code that only the interpreter runs. */
int mode_of(const Cpu *cpu)
{
    const SegReg *cs = &cpu->seg[CS];
    bool real = cpu_v86_or_real(cpu);
    if (cpu->cpl == 3 && cpu->eflags & FL_AC && cpu->cr0 & CR0_AM) {
        return MODE_NONE;
    }
    unsigned mode = cpu->cpl == 3 ? MODE_USER : 0u;
    mode |= real ? MODE_REAL : 0u;
    mode |= cs->access & SEG_BIG ? 0u : MODE_CODE16;
    mode |= cpu_stack32(cpu) ? 0u : MODE_STACK16;
    mode |= real || cs->base || cs->limit != UINT32_MAX ? MODE_CS_BASED : 0u;
    for (unsigned i = ES; i <= GS; i++) {
        mode |= segment_kind(cpu, &cpu->seg[i], real) << (MODE_SEG_SHIFT + MODE_SEG_BITS * i);
    }
    return (int)mode | resident_mode(cpu);
}

bool mode_keeps_segment(const Cpu *cpu, int mode, unsigned seg)
{
    return segment_kind(cpu, &cpu->seg[seg], cpu_v86_or_real(cpu)) == mode_segment(mode, seg);
}

/* Code of this unit lies on a second page: keep watch over that one too. */
static void guard_tail(Translator *t, const Unit *u)
{
    Window *w = &t->windows.window[t->now->window - t->windows.window];
    uint32_t linear = ((unit_linear(u) >> RAM_PAGE_SHIFT) + 1) << RAM_PAGE_SHIFT;
    uint64_t at;
    if (mem_code_page(t->cpu, linear, &at) && at >> RAM_PAGE_SHIFT == u->tail_page) {
        (void)window_guard(&t->windows, w, linear, u->tail_page);
    }
}

/* The unit at EIP, known or made. NULL: step. */
static Unit *unit_here(Translator *t, int mode)
{
    Cpu *cpu = t->cpu;
    uint64_t at;
    Unit *known = space_unit(t->now, cpu);
    uint32_t linear = cpu->seg[CS].base + cpu->eip;
    if (known && (!(mode & MODE_ARRAY) || t->now->window->guard[linear >> RAM_PAGE_SHIFT] ==
                                              (known->ram_at >> RAM_PAGE_SHIFT) + 1)) {
        return known;
    }
    if (cpu->eip > cpu->seg[CS].limit || !mem_code_page(cpu, linear, &at) || at == MEM_NO_RAM) {
        return NULL;
    }
    Unit *u = unit_find(t, (uint32_t)at, mode);
    if (!u) {
        u = unit_make(t, (uint32_t)at, mode);
    }
    if (u) {
        Window *w = &t->windows.window[t->now->window - t->windows.window];
        uint32_t page = (uint32_t)(at >> RAM_PAGE_SHIFT);
        if (w->guard[linear >> RAM_PAGE_SHIFT] == page + 1 ||
            window_guard(&t->windows, w, linear, page)) {
            if (u->tail) {
                guard_tail(t, u);
            }
            /* else it runs this once, as nothing would take it back */
            space_enter(t->now, u, t->in_pieces ? t->stub.dispatch : u->code);
        }
    }
    return u;
}

/* One instruction in the interpreter. */
static void step(Translator *t)
{
    resident_settle(t);
    t->paused = interpreter_step(t->cpu) == X_REPEAT;
}

/* Where there can be no unit, as on a page whose code keeps changing: a piece in the interpreter.
 */
static void interpret(Translator *t)
{
    Cpu *cpu = t->cpu;
    uint64_t most = PIECE_SLICE;
    if (t->counting && cpu->scratch[SCRATCH_STOP] - cpu->executed < most) {
        most = cpu->scratch[SCRATCH_STOP] - cpu->executed;
    }
    if (t->in_pieces && t->most < most) {
        most = t->most;
    }
    resident_settle(t);
    if (cpu->shadow) {
        step(t);
        return;
    }
    t->count.apart++;
    t->paused = interpreter_blocks(t->interpreter, most) == X_REPEAT;
}

/* In pieces: how far the unit went. */
static void note_piece(Translator *t, const Unit *u, LeaveReason why)
{
    Cpu *cpu = t->cpu;
    unsigned done = u->count;
    if (why == LEAVE_STEP) {
        uint32_t eip = u->eip;
        for (done = 0; done < u->count && eip != cpu->eip; done++) {
            eip += u->insn[done].length;
        }
    } else if (why == LEAVE_TURN) {
        const Insn *in = (const Insn *)cpu->scratch[SCRATCH_INSN]; // NOLINT: stored by the stub
        done = (unsigned)(in - u->insn) + 1;
    }
    t->piece.unit = u;
    cpu->executed += done;
}

/* Flat code is what the page array is made for. */
static bool mode_suits_array(int mode)
{
    return !(mode & (MODE_CODE16 | MODE_STACK16 | MODE_REAL | MODE_CS_BASED)) &&
           mode_segment(mode, SS) == MODE_SEG_FLAT;
}

/* What accounts are kept in: cycles, or where runs must repeat what stands for them. */
static uint64_t account_time(const Translator *t)
{
    return t->accel->counted ? t->cpu->executed : __rdtsc();
}

/* What code of a user's window took is put to its account. */
static void end_account(Translator *t)
{
    if (t->user_since) {
        window_ran(&t->windows, t->now->window, account_time(t) - t->user_since);
        t->user_since = 0;
    }
}

/* The window and the jump table for code of this mode. False: there is none. */
static bool enter_space(Translator *t, int mode)
{
    Cpu *cpu = t->cpu;
    Window *w = window_choose(&t->windows, mode_suits_array(mode));
    t->mode = mode;
    if (w && w->array) {
        mode = (mode & ~(MODE_X87 | MODE_SSE)) | MODE_ARRAY;
    }
    mode |= t->counting ? MODE_COUNTED : 0;
    mode |= t->counting && t->pausing ? MODE_PAUSES : 0;
    Space *space = w ? space_find(t, w, mode) : NULL;
    if (!space) {
        return false;
    }
    cpu->scratch[SCRATCH_REMAIN] = cpu->scratch[SCRATCH_STOP] - cpu->executed;
    if (!t->now || t->now->window != w) {
        end_account(t);
        t->user_since = w->user ? account_time(t) : 0;
    }
    t->now = space;
    if (!w->array) {
        set_gs(t, w->base);
    }
    cpu->scratch[SCRATCH_JUMP] = (uintptr_t)space->jump;
    cpu->scratch[SCRATCH_GUARD] = (uintptr_t)w->guard;
    limits_set(&t->limits, cpu, mode);
    return true;
}

/* Is the space that runs that of this mode, too? Of the supervisor's code, which has one window. */
static bool stays(const Translator *t, int mode)
{
    const Window *w = t->now->window;
    unsigned shared = t->cpu->cr0 & CR0_PG ? WINDOW_SUPERVISOR : WINDOW_PHYSICAL;
    return mode == t->mode && w == &t->windows.window[shared] && !w->stale &&
           !(mode & MODE_USER && t->cpu->cr0 & CR0_PG);
}

/* Must the run loop look before the next instruction? */
static bool must_look(const Cpu *cpu)
{
    return atomic_load_explicit(&cpu->attention, memory_order_relaxed) || int_waiting(cpu) ||
           cpu->shadow || debug_stepping(cpu) || cpu->activity != CPU_RUNNING;
}

/* Cpu.executed, from what translated code has counted. */
static void take_count(Translator *t)
{
    Cpu *cpu = t->cpu;
    if (t->counting) {
        cpu->executed = cpu->scratch[SCRATCH_STOP] - cpu->scratch[SCRATCH_REMAIN];
    }
}

static bool count_is_up(const Translator *t)
{
    return t->counting && t->cpu->executed >= t->cpu->scratch[SCRATCH_STOP];
}

const uint8_t *translator_turn(Translator *t, Outcome outcome)
{
    Cpu *cpu = t->cpu;
    const Insn *in = (const Insn *)cpu->scratch[SCRATCH_INSN]; // NOLINT: stored by the stub
    if (t->counting) {
        cpu->scratch[SCRATCH_REMAIN] = cpu->scratch[SCRATCH_LEFT] - 1;
        take_count(t);
    }
    if (outcome == X_NEXT) {
        cpu->eip += in->length;
    } else if (outcome == X_FAULT) {
        resident_settle(t);
        int_deliver_fault(cpu);
    }
    t->paused = outcome == X_REPEAT;
    if (t->in_pieces || (t->in_span && t->paused) || must_look(cpu) || count_is_up(t)) {
        return NULL;
    }
    int mode = mode_of(cpu);
    if (stays(t, mode)) {
        cpu->scratch[SCRATCH_REMAIN] = cpu->scratch[SCRATCH_STOP] - cpu->executed;
        limits_set(&t->limits, cpu, mode);
    } else if (mode == MODE_NONE || !enter_space(t, mode)) {
        return NULL;
    }
    Unit *u = t->now->window->stale ? NULL : unit_here(t, t->now->mode);
    if (!u) {
        return NULL;
    }
    cpu->scratch[SCRATCH_LEAVE] = 0;
    t->count.turned++;
    t->paused = false;
    return u->entry;
}

static void run_space(Translator *t, int mode)
{
    Cpu *cpu = t->cpu;
    cpu->scratch[SCRATCH_LINK] = 0;
    cpu->scratch[SCRATCH_LEAVE] = 0;
    if (!enter_space(t, mode)) {
        step(t);
        return;
    }
    for (;;) {
        Unit *u = t->now->window->stale ? NULL : unit_here(t, t->now->mode);
        if (!u) {
            interpret(t);
            return;
        }
        if (t->in_pieces && u->count > t->most) {
            step(t);
            return;
        }
        Link *link = (Link *)cpu->scratch[SCRATCH_LINK]; // NOLINT: stored by the stub
        if (link && !t->in_pieces) {
            unit_link(t, link, u);
            cpu->scratch[SCRATCH_LINK] = 0;
        }
        cpu->scratch[SCRATCH_LEAVE] = 0;
        t->count.enters++;
        t->paused = false;
        LeaveReason why = stubs_enter(t, u->entry);
        take_count(t);
        if (t->in_pieces) {
            note_piece(t, u, why);
        }
        switch (why) {
        case LEAVE_FEW:
        case LEAVE_STEP:
            if (count_is_up(t)) {
                return;
            }
            t->count.steps++;
            u = space_unit(t->now, cpu);
            if (u && u->tail) {
                guard_tail(t, u);
            }
            step(t);
            return;
        case LEAVE_POLL:
        case LEAVE_TURN:
            return;
        default:
            break;
        }
        if (t->in_pieces || atomic_load_explicit(&cpu->attention, memory_order_relaxed) ||
            count_is_up(t)) {
            return;
        }
    }
}

static void run_units(Translator *t, int mode)
{
    t->now = NULL;
    run_space(t, mode);
    end_account(t);
    resident_settle(t);
}

/* Sees to it that this thread is called back at `until_ns`. False: it is past. */
static bool set_alarm(Translator *t, const Clock *clock, int64_t until_ns)
{
    if (until_ns == CLOCK_NEVER) {
        return true;
    }
    int64_t now = clock_peek(clock);
    units_cool(t, now);
    if (until_ns <= now) {
        t->alarm_at = 0;
        return false;
    }
    int64_t at = host_time_ns() + (until_ns - now);
    if (!t->alarm_at || at < t->alarm_at) { /* one that rings before is set again then */
        t->alarm_at = at;                   /* first: a short alarm rings, and clears it, at once */
        signals_alarm(t, until_ns - now);
    }
    return true;
}

/* Sets the instruction to stop at, by counted time and by the budget. False: it is past. */
static bool set_stop(Translator *t, const Clock *clock, int64_t until_ns)
{
    Cpu *cpu = t->cpu;
    uint64_t most = COUNTED_SLICE;
    if (clock->source == CLOCK_COUNTED) {
        int64_t now = clock_peek(clock);
        units_cool(t, now);
        if (now >= until_ns) {
            return false;
        }
        uint64_t left = (uint64_t)until_ns - (uint64_t)now;
        left = (left >> clock->shift) + !!(left & ((UINT64_C(1) << clock->shift) - 1));
        most = left < most ? left : most;
    }
    if (cpu->executed >= t->budget_end) {
        return false;
    }
    uint64_t left = t->budget_end - cpu->executed;
    cpu->scratch[SCRATCH_STOP] = cpu->executed + (most < left ? most : left);
    return true;
}

/* A piece in the interpreter; one instruction where debug traps or a shadow are to be looked for.
 */
static void run_apart(Translator *t, uint64_t slice)
{
    bool one = t->cpu->shadow || debug_stepping(t->cpu);
    Outcome last = one ? interpreter_step(t->cpu) : interpreter_blocks(t->interpreter, slice);
    t->paused = last == X_REPEAT;
}

static void turn(Translator *t, uint64_t slice)
{
    Cpu *cpu = t->cpu;
    int mode = MODE_NONE;
    t->count.turns++;
    if (cpu->shadow || debug_stepping(cpu)) {
        run_apart(t, 1);
    } else if ((mode = mode_of(cpu)) == MODE_NONE) {
        t->count.blocks++;
        run_apart(t, slice);
    } else {
        run_units(t, mode);
    }
}

void translator_begin(Translator *t)
{
    t->count.runs++;
    signals_use(t);
    fpu_host_release();
    t->gs_base = NULL;
    __atomic_store_n(&t->cpu->scratch[SCRATCH_POLL], (uintptr_t)&t->valid_poll, __ATOMIC_RELEASE);
}

void translator_piece(Translator *t, uint64_t most, Piece *piece)
{
    Cpu *cpu = t->cpu;
    uint64_t before = cpu->executed;
    fpu_host_release();
    t->in_pieces = true;
    t->counting = false;
    t->most = most;
    t->paused = false;
    t->piece = (Piece){.one_step = debug_stepping(cpu)};
    turn(t, most);
    t->piece.paused = t->paused && !t->piece.one_step;
    t->piece.count = cpu->executed - before - t->piece.paused; /* the pause was counted */
    *piece = t->piece;
}

/* Must engine check come between? */
static bool span_ends(const Translator *t)
{
    const Cpu *cpu = t->cpu;
    return t->paused || count_is_up(t) ||
           atomic_load_explicit(&cpu->attention, memory_order_relaxed) || int_waiting(cpu) ||
           cpu->activity != CPU_RUNNING || debug_stepping(cpu);
}

void translator_span(Translator *t, uint64_t most, Piece *piece)
{
    Cpu *cpu = t->cpu;
    uint64_t before = cpu->executed;
    if (debug_stepping(cpu)) {
        translator_piece(t, most, piece);
        return;
    }
    fpu_host_release();
    t->in_pieces = t->paused = false;
    t->counting = t->in_span = true;
    cpu->scratch[SCRATCH_STOP] = before + (most < COUNTED_SLICE ? most : COUNTED_SLICE);
    do {
        turn(t, cpu->scratch[SCRATCH_STOP] - cpu->executed);
    } while (!span_ends(t));
    t->in_span = false;
    *piece = (Piece){.paused = t->paused, .count = cpu->executed - before - t->paused};
}

/* Until a time that is nearer than an alarm is worth, as between the pieces of a transfer. An alarm
 * might ring before the guest has come to anything. */
static RunExit run_shortly(Translator *t, const Clock *clock, int64_t until_ns)
{
    Cpu *cpu = t->cpu;
    do {
        if (int_waiting(cpu)) {
            int_poll(cpu);
        }
        if (atomic_load_explicit(&cpu->attention, memory_order_relaxed)) {
            break;
        }
        if (cpu->activity != CPU_RUNNING) {
            return RUN_HALTED;
        }
        t->count.near++;
        run_apart(t, NEAR_SLICE);
    } while (clock_peek(clock) < until_ns);
    return RUN_DUE;
}

static RunExit translator_run(Accel *a, int64_t until_ns)
{
    Translator *t = a->self;
    Cpu *cpu = t->cpu;
    const Clock *clock = &a->board->clock;

    translator_begin(t);
    t->counting = a->counted || a->budget;
    t->pausing = a->counted;
    t->budget_end = a->budget ? cpu->executed + a->budget : UINT64_MAX;
    cpu->scratch[SCRATCH_STOP] = cpu->executed;
    if (!t->counting && until_ns != CLOCK_NEVER && until_ns - clock_peek(clock) < NEAR_NS) {
        return run_shortly(t, clock, until_ns);
    }
    if (!a->counted && !set_alarm(t, clock, until_ns)) {
        return RUN_DUE;
    }
    for (;;) {
        if (count_is_up(t) && !set_stop(t, clock, until_ns)) {
            return RUN_DUE;
        }
        if (int_waiting(cpu)) {
            int_poll(cpu);
        }
        if (atomic_load_explicit(&cpu->attention, memory_order_relaxed)) {
            return RUN_DUE;
        }
        if (cpu->activity != CPU_RUNNING) {
            return RUN_HALTED;
        }
        uint64_t left = cpu->scratch[SCRATCH_STOP] - cpu->executed;
        turn(t, t->counting && left < INTERPRETER_SLICE ? left : INTERPRETER_SLICE);
    }
}

static void translator_rest(Accel *a, int64_t until_ns)
{
    Translator *t = a->self;
    if (t->alarm_at && t->alarm_at <= host_time_ns() + (until_ns - clock_peek(&a->board->clock))) {
        t->alarm_at = 0;
        signals_alarm(t, 0);
    }
}

static void translator_kick(Accel *a)
{
    atomic_store(&a->cpu->attention, true);
    __atomic_store_n(&a->cpu->scratch[SCRATCH_POLL], 0, __ATOMIC_RELEASE);
}

static void translator_same(Accel *a)
{
    (void)a; /* between runs the state is in Cpu */
}

static void translator_code_changed(Accel *a, uint32_t at, uint32_t length)
{
    Translator *t = a->self;
    interpreter_changed(t->interpreter, at, length);
    units_changed(t, at, length);
}

static void translator_flags_set(Accel *a, uint32_t first_page, uint32_t pages)
{
    Translator *t = a->self;
    mem_flags_set(a->cpu, first_page, pages);
    windows_protect(&t->windows, first_page, pages);
}

static void translator_map_changed(Accel *a)
{
    Translator *t = a->self;
    mem_flush(a->cpu, true);
    windows_drop(&t->windows);
    t->cpu->scratch[SCRATCH_LEAVE] = 1;
    translator_kick(a);
}

static void translator_describe(Accel *a, void (*line)(void *self, const char *text), void *self)
{
    const Translator *t = a->self;
    const Counts *n = &t->count;
    const struct {
        const char *what;
        uint64_t count;
    } all[] = {
        {"units made", n->units},
        {"units invalidated by writes to their code", n->invalidated},
        {"flushes of the code cache", n->flushes},
        {"runs", n->runs},
        {"turns of the run loop", n->turns},
        {"entries of translated code", n->enters},
        {"turns within translated code", n->turned},
        {"links made", n->links},
        {"pages mapped after a fault", n->fills},
        {"other faults", n->faults},
        {"single instructions given to the interpreter", n->steps},
        {"pieces of code given to the interpreter (alignment checks)", n->blocks},
        {"pieces of code given to the interpreter (no unit can be made)", n->apart},
        {"pieces of code given to the interpreter (a timer is near)", n->near},
        {"handler calls translated", n->called},
        {"accesses that the page array missed", n->misses},
    };
    char text[128];
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        snprintf(text, sizeof(text), "%12" PRIu64 " %s", all[i].count, all[i].what);
        line(self, text);
    }
    snprintf(text, sizeof(text), "%12zu bytes of code in %u units, of %zu", t->code.at,
             t->unit_count, t->code.size);
    line(self, text);
    unsigned pages = 0;
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        pages += t->windows.window[i].count;
    }
    snprintf(text, sizeof(text), "%12u pages mapped in windows, by %u host mappings at most", pages,
             t->windows.pieces);
    line(self, text);
}

const AccelOps accel_translator = {
    .name = "translator",
    .paced = true,
    .clocked = true,
    .open = translator_open,
    .close = translator_close,
    .run = translator_run,
    .rest = translator_rest,
    .kick = translator_kick,
    .pull = translator_same,
    .push = translator_same,
    .code_changed = translator_code_changed,
    .flags_set = translator_flags_set,
    .map_changed = translator_map_changed,
    .describe = translator_describe,
};
