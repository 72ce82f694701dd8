/* Handlers: MOVS, CMPS, STOS, LODS, SCAS, with and without REP.
 *
 * SDM volume 2. A repeated instruction pauses (X_REPEAT) after a fixed number of iterations, so
 * that interrupts and timers get in; the number does not depend on the host or on what is cached,
 * so counted runs repeat. Each iteration commits its registers, so a fault in the middle restarts
 * there. The first iteration on a page goes the ordinary way, with all checks; as many of the next
 * ones as stay on plain pages within the segment's limit run on the host's memory.
 */
#include <string.h>

#include "cpu-accel/x86/ex.h"

enum { PAUSE_AFTER = 4096 }; /* iterations */

/* One of the two sides. */
typedef struct Side {
    SegIndex seg;
    unsigned reg; /* ESI or EDI */
} Side;

static inline Side source(const Insn *in)
{
    return (Side){(SegIndex)in->seg, ESI};
}

static const Side destination = {ES, EDI};

static inline uint32_t side_offset(const Cpu *cpu, const Insn *in, Side side)
{
    return cpu->reg[side.reg] & in->address_mask;
}

static inline void side_move(Cpu *cpu, const Insn *in, Side side, uint32_t by)
{
    uint32_t *reg = &cpu->reg[side.reg];
    *reg = (*reg & ~in->address_mask) | ((*reg + by) & in->address_mask);
}

static inline bool side_read(Cpu *cpu, const Insn *in, Side side, unsigned size, uint32_t *value)
{
    uint32_t offset = side_offset(cpu, in, side);
    uint8_t v8;
    uint16_t v16;

    switch (size) {
    case 1:
        if (!mem_read8(cpu, side.seg, offset, &v8)) {
            return false;
        }
        *value = v8;
        return true;
    case 2:
        if (!mem_read16(cpu, side.seg, offset, &v16)) {
            return false;
        }
        *value = v16;
        return true;
    default:
        return mem_read32(cpu, side.seg, offset, value);
    }
}

static inline bool side_write(Cpu *cpu, const Insn *in, Side side, unsigned size, uint32_t value)
{
    uint32_t offset = side_offset(cpu, in, side);

    switch (size) {
    case 1:
        return mem_write8(cpu, side.seg, offset, (uint8_t)value);
    case 2:
        return mem_write16(cpu, side.seg, offset, (uint16_t)value);
    default:
        return mem_write32(cpu, side.seg, offset, value);
    }
}

static inline uint32_t step(const Cpu *cpu, unsigned size)
{
    return cpu->eflags & FL_DF ? 0u - size : size;
}

/* How many elements, going up from here, lie on one plain page within the segment and below the end
 * of the address size; the first one's host address goes to *host. */
static uint32_t side_span(Cpu *cpu, const Insn *in, Side side, unsigned size, bool write,
                          uint8_t **host)
{
    uint32_t offset = side_offset(cpu, in, side);
    MemRun run;

    if (!mem_run(cpu, side.seg, offset, write, &run)) {
        return 0;
    }
    *host = run.host;
    uint32_t to_end = in->address_mask - offset;
    return (run.above - 1 < to_end ? run.above : to_end + 1) / size;
}

/* ECX or CX, by the address size. */
static inline uint32_t counter(const Cpu *cpu, const Insn *in)
{
    return cpu->reg[ECX] & in->address_mask;
}

static inline void counter_take(Cpu *cpu, const Insn *in, uint32_t n)
{
    cpu->reg[ECX] = (cpu->reg[ECX] & ~in->address_mask) | ((cpu->reg[ECX] - n) & in->address_mask);
}

static inline bool repeated(const Insn *in)
{
    return in->prefix & (PREFIX_REP | PREFIX_REPNE);
}

/* How many iterations this call may do: one at a time when each is to be followed by a trap. */
static inline uint32_t budget(const Cpu *cpu)
{
    if (cpu->eflags & FL_TF || cpu->dr7 & 0xff) {
        return 1;
    }
    return cpu->tap && cpu->tap->iterations ? cpu->tap->iterations : PAUSE_AFTER;
}

static inline uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The bulk of a repeated instruction, up to `most` elements on plain pages: returns how many. */
typedef uint32_t Bulk(Cpu *cpu, const Insn *in, unsigned size, uint32_t most);
/* One iteration, counter apart. */
typedef bool Once(Cpu *cpu, const Insn *in, unsigned size);

/* MOVS, STOS, LODS: any repeat prefix repeats by count. */
static inline Outcome repeat_by_count(Cpu *cpu, const Insn *in, unsigned size, Once *once,
                                      Bulk *bulk)
{
    if (!repeated(in)) {
        return once(cpu, in, size) ? X_NEXT : X_FAULT;
    }
    uint32_t left = budget(cpu);
    while (counter(cpu, in)) {
        if (left == 0) {
            return X_REPEAT;
        }
        if (!once(cpu, in, size)) {
            return X_FAULT;
        }
        counter_take(cpu, in, 1);
        left--;
        uint32_t most = least(left, counter(cpu, in));
        if (most && !(cpu->eflags & FL_DF)) {
            uint32_t done = bulk(cpu, in, size, most);
            counter_take(cpu, in, done);
            left -= done;
        }
    }
    return X_NEXT;
}

/* CMPS, SCAS: REPE and REPNE look at ZF too. */
static inline Outcome repeat_while(Cpu *cpu, const Insn *in, unsigned size, Once *once)
{
    if (!repeated(in)) {
        return once(cpu, in, size) ? X_NEXT : X_FAULT;
    }
    bool wanted = in->prefix & PREFIX_REP;
    uint32_t left = budget(cpu);
    while (counter(cpu, in)) {
        if (left == 0) {
            return X_REPEAT;
        }
        if (!once(cpu, in, size)) {
            return X_FAULT;
        }
        counter_take(cpu, in, 1);
        left--;
        if (!!(cpu->arith & ARITH_ZF) != wanted) {
            break;
        }
    }
    return X_NEXT;
}

static inline bool movs_once(Cpu *cpu, const Insn *in, unsigned size)
{
    uint32_t value;

    if (!side_read(cpu, in, source(in), size, &value) ||
        !side_write(cpu, in, destination, size, value)) {
        return false;
    }
    side_move(cpu, in, source(in), step(cpu, size));
    side_move(cpu, in, destination, step(cpu, size));
    return true;
}

static inline uint32_t movs_bulk(Cpu *cpu, const Insn *in, unsigned size, uint32_t most)
{
    uint8_t *from, *to;
    uint32_t n = least(most, side_span(cpu, in, source(in), size, false, &from));

    n = n ? least(n, side_span(cpu, in, destination, size, true, &to)) : 0;
    if (n == 0) {
        return 0;
    }
    if (to > from && to < from + (size_t)n * size) {
        /* The copy feeds itself: element by element, as the processor does. */
        for (uint32_t i = 0; i < n * size; i += size) {
            uint32_t element;
            memcpy(&element, from + i, size);
            memcpy(to + i, &element, size);
        }
    } else {
        memmove(to, from, (size_t)n * size);
    }
    side_move(cpu, in, source(in), n * size);
    side_move(cpu, in, destination, n * size);
    return n;
}

static inline bool stos_once(Cpu *cpu, const Insn *in, unsigned size)
{
    if (!side_write(cpu, in, destination, size, cpu->reg[EAX])) {
        return false;
    }
    side_move(cpu, in, destination, step(cpu, size));
    return true;
}

static inline uint32_t stos_bulk(Cpu *cpu, const Insn *in, unsigned size, uint32_t most)
{
    uint8_t *to;
    uint32_t n = least(most, side_span(cpu, in, destination, size, true, &to));

    if (n == 0) {
        return 0;
    }
    if (size == 1) {
        memset(to, (int)(cpu->reg[EAX] & 0xff), n);
    } else {
        for (uint32_t i = 0; i < n * size; i += size) {
            memcpy(to + i, &cpu->reg[EAX], size);
        }
    }
    side_move(cpu, in, destination, n * size);
    return n;
}

static inline bool lods_once(Cpu *cpu, const Insn *in, unsigned size)
{
    uint32_t value;

    if (!side_read(cpu, in, source(in), size, &value)) {
        return false;
    }
    memcpy(&cpu->reg[EAX], &value, size);
    side_move(cpu, in, source(in), step(cpu, size));
    return true;
}

static inline uint32_t lods_bulk(Cpu *cpu, const Insn *in, unsigned size, uint32_t most)
{
    uint8_t *from;
    uint32_t n = least(most, side_span(cpu, in, source(in), size, false, &from));

    if (n == 0) {
        return 0;
    }
    memcpy(&cpu->reg[EAX], from + (size_t)(n - 1) * size, size);
    side_move(cpu, in, source(in), n * size);
    return n;
}

static inline void compare(Cpu *cpu, unsigned size, uint32_t a, uint32_t b)
{
    switch (size) {
    case 1:
        (void)alu_sub8((uint8_t)a, (uint8_t)b, &cpu->arith);
        break;
    case 2:
        (void)alu_sub16((uint16_t)a, (uint16_t)b, &cpu->arith);
        break;
    default:
        (void)alu_sub32(a, b, &cpu->arith);
        break;
    }
}

static inline bool cmps_once(Cpu *cpu, const Insn *in, unsigned size)
{
    uint32_t a, b;

    if (!side_read(cpu, in, source(in), size, &a) || !side_read(cpu, in, destination, size, &b)) {
        return false;
    }
    compare(cpu, size, a, b);
    side_move(cpu, in, source(in), step(cpu, size));
    side_move(cpu, in, destination, step(cpu, size));
    return true;
}

static inline bool scas_once(Cpu *cpu, const Insn *in, unsigned size)
{
    uint32_t value;

    if (!side_read(cpu, in, destination, size, &value)) {
        return false;
    }
    compare(cpu, size, cpu->reg[EAX], value);
    side_move(cpu, in, destination, step(cpu, size));
    return true;
}

#define BY_COUNT(NAME, SIZE, FORM)                                                                 \
    HANDLER(ex_##NAME##FORM)                                                                       \
    {                                                                                              \
        return repeat_by_count(cpu, in, SIZE, NAME##_once, NAME##_bulk);                           \
    }
BY_COUNT(movs, 1, b)
BY_COUNT(movs, 2, v_16)
BY_COUNT(movs, 4, v_32)
BY_COUNT(stos, 1, b)
BY_COUNT(stos, 2, v_16)
BY_COUNT(stos, 4, v_32)
BY_COUNT(lods, 1, b)
BY_COUNT(lods, 2, v_16)
BY_COUNT(lods, 4, v_32)

#define WHILE(NAME, SIZE, FORM)                                                                    \
    HANDLER(ex_##NAME##FORM)                                                                       \
    {                                                                                              \
        return repeat_while(cpu, in, SIZE, NAME##_once);                                           \
    }
WHILE(cmps, 1, b)
WHILE(cmps, 2, v_16)
WHILE(cmps, 4, v_32)
WHILE(scas, 1, b)
WHILE(scas, 2, v_16)
WHILE(scas, 4, v_32)
