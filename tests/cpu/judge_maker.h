/* What the files that make the native judge's cases share. */
#ifndef TESTS_CPU_JUDGE_MAKER_H
#define TESTS_CPU_JUDGE_MAKER_H

#include "tests/cpu/judge.h"

typedef struct Maker {
    JudgeCase *c;
    const OpRow *row;
    uint64_t random;
    unsigned modrm_at, disp_at, disp_size; /* in bytes; 0: none */
    unsigned data[SEG_COUNT];              /* segment numbers; SEGMENT_COUNT: null */
    bool calm;                             /* for sequences: operands that seldom fault */
} Maker;

/* judge_values.c */
uint64_t maker_mix(uint64_t x);
uint32_t maker_random32(Maker *m);
uint64_t maker_random64(Maker *m);
bool maker_chance(Maker *m, unsigned percent);
uint32_t maker_integer(Maker *m);
Float80 maker_real80(Maker *m);
/* 16 bytes of one kind of operand. */
void maker_operand(Maker *m, void *to);

/* judge_case.c */
void maker_segments(Maker *m);
uint32_t maker_base_of(const Maker *m, unsigned seg);
bool maker_code_big(const Maker *m);
uint32_t maker_stack_spot(Maker *m);
/* An address where an operand in that segment may lie. */
uint32_t maker_spot(Maker *m, unsigned seg);
void maker_fx(Maker *m, JudgeFx *fx);
/* An encoding of the row, in c->bytes. */
void maker_bytes(Maker *m);
DecodeResult maker_decode(Maker *m);
/* Lets the memory operand point at `spot`, where its form can; what it holds there. */
void maker_aim(Maker *m, uint32_t spot);
void maker_fill(Maker *m, uint32_t spot);
void maker_set_low(uint32_t *reg, uint32_t value, unsigned size);

#endif
