/* Emitting host (x86-64) code: bytes and encodings only, no meaning.
 *
 * The code cache is one memory file mapped twice, writable and executable, so nothing is ever both.
 */
#ifndef CPU_ACCEL_TRANSLATOR_ENCODE_H
#define CPU_ACCEL_TRANSLATOR_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/core/err.h"

enum { R8 = 8, R9, R10, R11, R12, R13, R14, R15 };

typedef struct Code {
    uint8_t *write; /* writable view of the cache */
    uint8_t *run;   /* executable view */
    size_t size;
    size_t at;    /* next free byte */
    size_t start; /* first byte behind the stubs: what a flush keeps */
    int fd;
    uint8_t
        *miss[4]; /* writable: rel32 of jumps for accesses that this instruction could not make */
    unsigned misses;
} Code;

bool code_open(Code *c, size_t size, Err *err);
void code_close(Code *c);

static inline uint8_t *code_here(const Code *c)
{
    return c->run + c->at;
}

static inline uint8_t *code_writable(const Code *c, const uint8_t *run)
{
    return c->write + (run - c->run);
}

static inline void emit8(Code *c, unsigned byte)
{
    c->write[c->at++] = (uint8_t)byte;
}

void emit32(Code *c, uint32_t value);
void emit64(Code *c, uint64_t value);
void emit_bytes(Code *c, const void *bytes, size_t size);

/* jmp rel32 to a place in the executable view; returns the writable address of the rel32. */
uint8_t *emit_jump(Code *c, const uint8_t *to);
/* jcc rel32, condition 0..15. */
uint8_t *emit_jump_if(Code *c, unsigned condition, const uint8_t *to);
void patch32(uint8_t *writable, int32_t value);

/* mov r32, imm32 (any of 16 registers) */
void emit_mov_imm(Code *c, unsigned reg, uint32_t value);
void emit_mov_imm64(Code *c, unsigned reg, uint64_t value);
/* mov reg, [base + disp] and back; bytes 2, 4 or 8 */
void emit_load(Code *c, unsigned reg, unsigned base, int32_t disp, unsigned bytes);
void emit_store(Code *c, unsigned reg, unsigned base, int32_t disp, unsigned bytes);
/* mov dword [base + disp], imm32 */
void emit_store_imm(Code *c, unsigned base, int32_t disp, uint32_t value);
/* mov to, from; bytes 2 (the upper part stays), 4 or 8 */
void emit_mov(Code *c, unsigned to, unsigned from, unsigned bytes);
/* lea to, [base + disp]; bytes 4 or 8 is the width of the result */
void emit_lea(Code *c, unsigned to, unsigned base, int32_t disp, unsigned bytes);
/* lea to, [base + index << scale + disp] */
void emit_lea_index(Code *c, unsigned to, unsigned base, unsigned index, unsigned scale,
                    int32_t disp, unsigned bytes);
/* lea reg, [rip + (place - behind it)] */
void emit_lea_code(Code *c, unsigned reg, const uint8_t *place);
/* rorx to, from, count (32 bits) */
void emit_rorx(Code *c, unsigned to, unsigned from, unsigned count);
/* movzx reg, byte or word [base + disp] */
void emit_load_zero(Code *c, unsigned reg, unsigned base, int32_t disp, unsigned bytes);
/* movzx to, from (16 bits) */
void emit_zero_extend(Code *c, unsigned to, unsigned from);
/* not reg (64 bits) */
void emit_not(Code *c, unsigned reg);
/* jmp reg */
void emit_jump_reg(Code *c, unsigned reg);

#endif
