/* The interpreter: runs decoded blocks, one handler call an instruction.
 *
 * The engine that is right by construction: it keeps no state of its own but the block cache, so
 * pull and push have nothing to do. Between two blocks it looks at attention, at the instruction
 * count at which it must stop, and at interrupts when something says so. It steps single
 * instructions, fetched and decoded afresh, for debug traps, behind STI and MOV SS, next to the
 * limit of CS, across pages, outside Ram, and up to the exact stopping point. engine.c opens it.
 */
#include <stdlib.h>

#include "cpu-accel/interpreter/block.h"
#include "cpu-accel/interpreter/interpreter.h"
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/fpu.h"
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/ops.h"
#include "machine/core/clock.h"

enum {
    HOST_CLOCK_SLICE = 2000, /* instructions between two looks at a host clock */
    MAX_SLICE = 1 << 30,
    JUMP_BITS = 12,
};

struct Interpreter {
    Cpu *cpu;
    BlockCache *cache;
    uint64_t generation;         /* of the cache, when the jumps were last emptied */
    uint64_t stop_at;            /* cpu->executed at which to look at the clock */
    uint64_t budget_end;         /* cpu->executed at which run returns */
    bool host_clock;             /* which time does not follow from the count */
    Block *jump[1 << JUMP_BITS]; /* blocks by key, in front of the cache's own look-up */
    Block nowhere;               /* has no key; the last member: blocks end in an open array */
};

static void jumps_clear(Interpreter *e)
{
    for (unsigned i = 0; i < 1 << JUMP_BITS; i++) {
        e->jump[i] = &e->nowhere;
    }
    e->generation = *block_generation(e->cache);
}

Interpreter *interpreter_new(Cpu *cpu)
{
    Interpreter *e = calloc(1, sizeof(*e));

    if (!e || !(e->cache = block_cache_new(cpu->ram))) {
        free(e);
        return NULL;
    }
    e->cpu = cpu;
    e->nowhere.key = BLOCK_DROPPED;
    jumps_clear(e);
    return e;
}

void interpreter_free(Interpreter *e)
{
    if (e) {
        block_cache_free(e->cache);
        free(e);
    }
}

static bool interpreter_open(Accel *a, Err *err)
{
    a->self = interpreter_new(a->cpu);
    return a->self || err_set(err, "the interpreter: out of memory");
}

static void interpreter_close(Accel *a)
{
    interpreter_free(a->self);
    a->self = NULL;
}

static unsigned mode_bits(const Cpu *cpu)
{
    return (cpu_code32(cpu) ? BLOCK_CODE32 : 0u) | (cpu_v86_or_real(cpu) ? BLOCK_REAL : 0u);
}

/* Fetches and decodes the instruction at CS:EIP, over a page boundary if it must be. */
static Outcome fetch(Cpu *cpu, Insn *in)
{
    const CpuMode mode = {cpu_code32(cpu), cpu_v86_or_real(cpu), cpu->model};
    uint32_t linear = cpu->seg[CS].base + cpu->eip;
    unsigned room = mem_code_room(cpu, cpu->eip, INSN_MAX_BYTES);
    uint8_t bytes[INSN_MAX_BYTES];
    unsigned count = 0;

    while (count < room) {
        unsigned more;
        if (!mem_fetch(cpu, linear + count, bytes + count, room - count, &more)) {
            return X_FAULT;
        }
        count += more;
        DecodeResult result = x86_decode(&(CodeView){bytes, count}, &mode, in);
        if (result == DECODE_OK || result == DECODE_INVALID) {
            return X_NEXT;
        }
        if (result == DECODE_TOO_LONG) {
            break;
        }
    }
    return cpu_fault_code(cpu, VEC_GP, 0);
}

Outcome interpreter_step(Cpu *cpu)
{
    bool debug = debug_stepping(cpu);
    Insn in;

    if (debug && debug_begin(cpu) == X_FAULT) {
        cpu->executed++;
        int_deliver_fault(cpu);
        return X_FAULT;
    }
    cpu->shadow = 0;
    Outcome outcome = fetch(cpu, &in);
    if (outcome == X_NEXT) {
        outcome = in.handler(cpu, &in);
    }
    cpu->executed++;
    if (outcome == X_NEXT) {
        cpu->eip += in.length;
    }
    if (debug) {
        debug_end(cpu, outcome);
    }
    if (outcome == X_FAULT) {
        int_deliver_fault(cpu);
    }
    return outcome;
}

static inline Block **jump_of(Interpreter *e, uint64_t key)
{
    return &e->jump[(key ^ key >> JUMP_BITS) & ((1 << JUMP_BITS) - 1)];
}

static Block *find_slowly(Interpreter *e, uint64_t key)
{
    Block *b = block_find(e->cache, key);

    if (!b) {
        b = block_build(e->cache, key, e->cpu->model);
        if (e->generation != *block_generation(e->cache)) {
            jumps_clear(e);
        }
    }
    if (b) {
        *jump_of(e, key) = b;
    }
    return b;
}

/* The block at CS:EIP. NULL: there can be none; step shows why. */
static inline Block *find(Interpreter *e)
{
    Cpu *cpu = e->cpu;
    uint32_t linear = cpu->seg[CS].base + cpu->eip;
    const TlbEntry *entry = mem_entry(cpu, linear);
    uint64_t at;

    if (__builtin_expect(cpu->eip > cpu->seg[CS].limit, 0)) {
        return NULL; /* nothing is fetched there */
    }
    if (__builtin_expect(entry->read == (linear & PAGE_MASK), 1)) {
        at = (uint64_t)(mem_host(entry, linear) - cpu->ram->host);
    } else if (!mem_code_page(cpu, linear, &at) || at == MEM_NO_RAM) {
        return NULL;
    }
    uint64_t key = block_key((uint32_t)at, mode_bits(cpu));
    Block *b = *jump_of(e, key);
    if (__builtin_expect(b->key == key, 1)) {
        return b;
    }
    return find_slowly(e, key);
}

/* Does all of the block lie within the limit of CS, and before the stopping point? */
static inline bool block_fits(const Interpreter *e, const Block *b)
{
    const Cpu *cpu = e->cpu;
    return (uint64_t)cpu->eip + b->bytes - 1 <= cpu->seg[CS].limit &&
           cpu->executed + b->count <= e->stop_at;
}

static inline bool attention(Cpu *cpu)
{
    return __builtin_expect(atomic_load_explicit(&cpu->attention, memory_order_relaxed), 0);
}

/* Runs a block's instructions. X_NEXT or X_BRANCH: go on with the block at EIP. EIP and the count
 * are kept here and only stored, so that no instruction waits for the one before. */
static inline Outcome run_block(Cpu *cpu, const Block *b)
{
    const Insn *in = b->insn, *end = in + b->count;
    uint32_t eip = cpu->eip;
    uint64_t executed = cpu->executed;

    do {
        InsnHandler handler = in->handler; /* which may be replaced while it runs */
        Outcome outcome = handler(cpu, in);
        if (__builtin_expect(outcome != X_NEXT, 0)) {
            if (handler == block_stale) {
                return X_BRANCH; /* go on at EIP, with what stands there now */
            }
            cpu->executed++;
            return outcome;
        }
        cpu->eip = eip += in->length;
        cpu->executed = ++executed;
        in++;
    } while (in != end && !attention(cpu));
    return X_NEXT;
}

/* The block at CS:EIP after `b`, which began at EIP `from`. On the same page nothing can have come
 * between: what changes mappings, segments or modes ends in X_STOP, or in I/O (the A20 gate). */
static inline Block *follow(Interpreter *e, Block *b, Outcome outcome, uint32_t from)
{
    uint64_t key = b->key;
    uint32_t at = (uint32_t)key + (e->cpu->eip - from);

    if (outcome > X_BRANCH || ((uint32_t)key ^ at) >= RAM_PAGE || key == BLOCK_DROPPED || b->io) {
        return find(e);
    }
    key = (key & ~(uint64_t)UINT32_MAX) | at;
    Block *next = b->link[outcome];
    if (__builtin_expect(next->key == key, 1)) {
        return next;
    }
    next = *jump_of(e, key);
    if (next->key != key) {
        return find_slowly(e, key);
    }
    b->link[outcome] = next;
    return next;
}

/* Runs blocks until something wants a look: attention, the stopping point, X_STOP, a fault. */
static Outcome run_blocks(Interpreter *e)
{
    Cpu *cpu = e->cpu;
    Block *b = find(e);

    for (;;) {
        if (!b || !block_fits(e, b)) {
            return interpreter_step(cpu);
        }
        uint32_t from = cpu->eip;
        Outcome outcome = run_block(cpu, b);
        if (outcome == X_STOP || outcome == X_FAULT) {
            if (outcome == X_FAULT) {
                int_deliver_fault(cpu);
            }
            return outcome;
        }
        if (outcome == X_REPEAT && e->host_clock) {
            e->stop_at = cpu->executed; /* thousands of iterations were one instruction */
            return outcome;
        }
        if (attention(cpu) || cpu->executed >= e->stop_at) {
            return outcome;
        }
        b = follow(e, b, outcome, from);
    }
}

Outcome interpreter_blocks(Interpreter *e, uint64_t most)
{
    e->stop_at = e->cpu->executed + most;
    e->host_clock = true;
    return run_blocks(e);
}

void interpreter_changed(Interpreter *e, uint32_t at, uint32_t length)
{
    block_changed(e->cache, at, length);
}

/* Sets the next stopping point. False: the time has come. */
static bool slice(Interpreter *e, const Clock *clock, int64_t until_ns)
{
    int64_t now = clock_peek(clock);
    uint64_t most = HOST_CLOCK_SLICE;

    e->host_clock = clock->source != CLOCK_COUNTED;
    if (now >= until_ns || e->cpu->executed >= e->budget_end) {
        return false;
    }
    if (clock->source == CLOCK_COUNTED) {
        uint64_t left = (uint64_t)until_ns - (uint64_t)now;
        most = (left >> clock->shift) + !!(left & ((UINT64_C(1) << clock->shift) - 1));
    }
    uint64_t left = e->budget_end - e->cpu->executed;
    most = most < MAX_SLICE ? most : MAX_SLICE;
    e->stop_at = e->cpu->executed + (most < left ? most : left);
    return true;
}

static RunExit interpreter_run(Accel *a, int64_t until_ns)
{
    Interpreter *e = a->self;
    Cpu *cpu = e->cpu;

    e->stop_at = cpu->executed;
    e->budget_end = a->budget ? cpu->executed + a->budget : UINT64_MAX;
    fpu_host_release();
    for (;;) {
        if (cpu->executed >= e->stop_at && !slice(e, &a->board->clock, until_ns)) {
            return RUN_DUE;
        }
        if (int_waiting(cpu)) {
            int_poll(cpu);
        }
        if (attention(cpu)) {
            return RUN_DUE;
        }
        if (cpu->activity != CPU_RUNNING) {
            return RUN_HALTED;
        }
        if (cpu->shadow || debug_stepping(cpu)) {
            interpreter_step(cpu);
        } else {
            run_blocks(e);
        }
    }
}

static void interpreter_kick(Accel *a)
{
    atomic_store_explicit(&a->cpu->attention, true, memory_order_release);
}

static void interpreter_same(Accel *a)
{
    (void)a; /* Cpu is where the interpreter's state is */
}

static void interpreter_code_changed(Accel *a, uint32_t at, uint32_t length)
{
    interpreter_changed(a->self, at, length);
}

static void interpreter_flags_set(Accel *a, uint32_t first_page, uint32_t pages)
{
    mem_flags_set(a->cpu, first_page, pages);
}

/* Blocks are known by Ram offset and stay good; what maps to them has changed, maybe under the one
 * that is running. */
static void interpreter_map_changed(Accel *a)
{
    mem_flush(a->cpu, true);
    interpreter_kick(a);
}

const AccelOps accel_interpreter = {
    .name = "interpreter",
    .paced = true,
    .clocked = true,
    .open = interpreter_open,
    .close = interpreter_close,
    .run = interpreter_run,
    .kick = interpreter_kick,
    .pull = interpreter_same,
    .push = interpreter_same,
    .code_changed = interpreter_code_changed,
    .flags_set = interpreter_flags_set,
    .map_changed = interpreter_map_changed,
};
