/* The native judge's random values: integers and reals of every format, edges among them, and the
 * segments that cases use. */
#include <string.h>

#include "tests/cpu/judge_maker.h"

/* clang-format off */
const JudgeSegment judge_segments[SEGMENT_COUNT] = {
    [SEGMENT_CODE32]       = {0,                     0xfffff, .pages = true, .big = true, .code = true},
    [SEGMENT_CODE32_SMALL] = {JUDGE_CODE,            0x1fff, .big = true, .code = true},
    [SEGMENT_CODE16]       = {JUDGE_CODE,            0x1ffe, .code = true},
    [SEGMENT_CODE16_HIGH]  = {JUDGE_CODE - 0xe000,   0xffff, .code = true},
    [SEGMENT_FLAT]         = {0,                     0xfffff, .pages = true, .big = true},
    [SEGMENT_SMALL]        = {JUDGE_DATA,            0x17fd, .big = true},
    [SEGMENT_DATA16]       = {JUDGE_DATA - 0x4003,   0xffff, .pages = false},
    [SEGMENT_DOWN32]       = {JUDGE_DATA - 0x10000,  0x107fe, .big = true, .down = true},
    [SEGMENT_DOWN16]       = {JUDGE_DATA,            0x7ff, .down = true},
    [SEGMENT_READ_ONLY]    = {0,                     0xfffff, .pages = true, .big = true, .fixed = true},
    [SEGMENT_EXECUTE_ONLY] = {0,                     0xfffff, .pages = true, .big = true, .code = true, .fixed = true},
    [SEGMENT_ABSENT]       = {0,                     0xfffff, .pages = true, .big = true, .absent = true},
    [SEGMENT_STACK32]      = {JUDGE_STACK,           0xdff, .big = true},
    [SEGMENT_STACK16]      = {JUDGE_STACK,           0xdff, .pages = false},
    [SEGMENT_STACK16_HIGH] = {JUDGE_STACK - 0xf000,  0xffff, .pages = false},
    [SEGMENT_STACK_DOWN]   = {JUDGE_STACK - 0x10000, 0x101ff, .big = true, .down = true},
};
/* clang-format on */

static unsigned access_of(const JudgeSegment *s)
{
    unsigned access = SEG_S | SEG_DPL | SEG_ACCESSED | (s->absent ? 0 : SEG_PRESENT);
    return access | (s->code ? SEG_CODE : 0) | (s->down ? SEG_EXPAND_DOWN : 0) |
           (s->fixed ? 0 : SEG_WRITABLE) | (s->big ? SEG_BIG : 0) |
           (s->pages ? SEG_GRANULARITY : 0);
}

SegReg judge_segment_reg(unsigned number)
{
    const JudgeSegment *s = &judge_segments[number];
    uint32_t limit = s->pages ? s->limit << 12 | 0xfff : s->limit;
    return (SegReg){judge_selector(number), access_of(s), s->base, limit};
}

uint64_t judge_segment_descriptor(unsigned number)
{
    const JudgeSegment *s = &judge_segments[number];
    uint64_t access = access_of(s);
    return (s->limit & 0xffff) | (uint64_t)(s->base & 0xffffff) << 16 | access << 40 |
           (uint64_t)(s->limit >> 16 & 0xf) << 48 | (uint64_t)(s->base >> 24) << 56;
}

/* --- randomness --- */

uint64_t maker_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint32_t maker_random32(Maker *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (uint32_t)(m->random >> 24);
}

uint64_t maker_random64(Maker *m)
{
    uint64_t high = maker_random32(m);
    return high << 32 | maker_random32(m);
}

bool maker_chance(Maker *m, unsigned percent)
{
    return maker_random32(m) % 100 < percent;
}

uint32_t maker_integer(Maker *m)
{
    static const uint32_t edges[] = {
        0, 1,          2,   0x7f,  0x80, 0xff, 0x7fff,     0x8000,     0xffff, 0x99, 0x9a,
        9, 0xfffffffe, ~0u, 0x10f, 31,   32,   0x7fffffff, 0x80000000, 16,     8};
    uint32_t r = maker_random32(m);
    return r % 5 < 2 ? edges[(r >> 3) % (sizeof edges / sizeof edges[0])]
                     : maker_random32(m) >> r % 3 * 8;
}

static uint32_t real32(Maker *m)
{
    static const uint32_t edges[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
                                     0xff800000, 0x7fc00000, 0x7f800001, 0xffc12345, 1,
                                     0x807fffff, 0x00800000, 0x7f7fffff, 0x4f000000, 0xcf000000,
                                     0x3f000000, 0x40490fdb, 0x5f000000, 0x34000000};
    uint32_t r = maker_random32(m);
    if (r % 4 == 0) {
        return edges[(r >> 3) % (sizeof edges / sizeof edges[0])];
    }
    return r % 4 == 1 ? maker_random32(m)
                      : (maker_random32(m) & 0x807fffff) | (0x3f8 + r % 16) << 20;
}

static uint64_t real64(Maker *m)
{
    static const uint64_t edges[] = {
        0,
        0x8000000000000000,
        0x3ff0000000000000,
        0xbff0000000000000,
        0x7ff0000000000000,
        0xfff0000000000000,
        0x7ff8000000000000,
        0x7ff0000000000001,
        0xfff8123456789abc,
        1,
        0x800fffffffffffff,
        0x0010000000000000,
        0x7fefffffffffffff,
        0x41e0000000000000,
        0xc1e0000000200000,
        0x43e0000000000000,
        0x3fe0000000000000,
        0x47efffffe0000000,
        0x380fffffffffffff,
    };
    uint32_t r = maker_random32(m);
    if (r % 4 == 0) {
        return edges[(r >> 3) % (sizeof edges / sizeof edges[0])];
    }
    return r % 4 == 1 ? maker_random64(m)
                      : (maker_random64(m) & 0x800fffffffffffff) | (uint64_t)(0x3f8 + r % 16) << 52;
}

Float80 maker_real80(Maker *m)
{
    static const Float80 edges[] = {
        {0, 0},
        {0, 0x8000},
        {0x8000000000000000, 0x3fff},
        {0x8000000000000000, 0xbfff},
        {0x8000000000000000, 0x7fff},
        {0x8000000000000000, 0xffff},
        {0xc000000000000000, 0x7fff},
        {0xc000000000000000, 0xffff}, /* the indefinite */
        {0x8000000000000001, 0x7fff},
        {1, 0},
        {0x7fffffffffffffff, 0x8000},
        {0x8000000000000000, 0}, /* pseudo-denormal */
        {0x8000000000000000, 1},
        {0x4000000000000000, 0x3fff}, /* unnormal */
        {0, 0x7fff},                  /* pseudo-infinity */
        {0xffffffffffffffff, 0x7ffe},
        {0x8000000000000000, 0x401e},
        {0x8000000000000000, 0xc03e},
        {0xc90fdaa22168c235, 0x4000},
        {0xffffffffffffffff, 0x3ffe},
    };
    uint32_t r = maker_random32(m);
    if (r % 4 == 0) {
        return edges[(r >> 3) % (sizeof edges / sizeof edges[0])];
    }
    if (r % 8 == 1) {
        return (Float80){maker_random64(m), (uint16_t)maker_random32(m)};
    }
    return (Float80){maker_random64(m) | 0x8000000000000000u,
                     (uint16_t)((r >> 3 & 0x8000) | (0x3fe0 + (r >> 8) % 64))};
}

/* 16 bytes of one kind of operand. */
void maker_operand(Maker *m, void *to)
{
    uint64_t q[2] = {0, 0};
    uint32_t d[4];
    Float80 t;

    switch (maker_random32(m) % 4) {
    case 0:
        for (unsigned i = 0; i < 4; i++) {
            d[i] = maker_integer(m);
        }
        memcpy(q, d, sizeof(q));
        break;
    case 1:
        for (unsigned i = 0; i < 4; i++) {
            d[i] = real32(m);
        }
        memcpy(q, d, sizeof(q));
        break;
    case 2:
        q[0] = real64(m);
        q[1] = real64(m);
        break;
    default:
        t = maker_real80(m);
        memcpy(q, &t, 10);
    }
    memcpy(to, q, sizeof(q));
}
