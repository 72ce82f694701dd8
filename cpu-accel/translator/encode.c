/* Emitting host (x86-64) code. Source: SDM vol. 2, chapter 2 and the instructions' pages. */
#include "cpu-accel/translator/encode.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool code_open(Code *c, size_t size, Err *err)
{
    *c = (Code){.size = size, .fd = -1};
    c->fd = memfd_create("vitrine-code", MFD_CLOEXEC);
    if (c->fd < 0 || ftruncate(c->fd, (off_t)size) < 0) {
        return err_set(err, "translator: no memory file for code: %s", strerror(errno));
    }
    void *write = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
    void *run = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, c->fd, 0);
    c->write = write == MAP_FAILED ? NULL : write;
    c->run = run == MAP_FAILED ? NULL : run;
    if (!c->write || !c->run) {
        return err_set(err,
                       "translator: memory for code cannot be mapped: %s; use -accel interpreter",
                       strerror(errno));
    }
    return true;
}

void code_close(Code *c)
{
    if (c->write) {
        munmap(c->write, c->size);
    }
    if (c->run) {
        munmap(c->run, c->size);
    }
    if (c->fd >= 0) {
        close(c->fd);
    }
}

void emit32(Code *c, uint32_t value)
{
    memcpy(c->write + c->at, &value, 4);
    c->at += 4;
}

void emit64(Code *c, uint64_t value)
{
    memcpy(c->write + c->at, &value, 8);
    c->at += 8;
}

void emit_bytes(Code *c, const void *bytes, size_t size)
{
    memcpy(c->write + c->at, bytes, size);
    c->at += size;
}

void patch32(uint8_t *writable, int32_t value)
{
    __atomic_store_n((int32_t *)writable, value, __ATOMIC_RELAXED); // NOLINT: unaligned on purpose
}

static uint8_t *emit_relative(Code *c, const uint8_t *to)
{
    uint8_t *place = c->write + c->at;
    emit32(c, (uint32_t)(to - (code_here(c) + 4)));
    return place;
}

uint8_t *emit_jump(Code *c, const uint8_t *to)
{
    emit8(c, 0xe9);
    return emit_relative(c, to);
}

uint8_t *emit_jump_if(Code *c, unsigned condition, const uint8_t *to)
{
    emit8(c, 0x0f);
    emit8(c, 0x80 | condition);
    return emit_relative(c, to);
}

static void rex(Code *c, unsigned wide, unsigned reg, unsigned index, unsigned base)
{
    unsigned byte = 0x40 | wide << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3;
    if (byte != 0x40) {
        emit8(c, byte);
    }
}

/* ModRM, SIB and a 32-bit displacement for [base + disp]. */
static void memory(Code *c, unsigned reg, unsigned base, int32_t disp)
{
    emit8(c, 0x80 | (reg & 7) << 3 | (base & 7));
    if ((base & 7) == 4) {
        emit8(c, 0x24);
    }
    emit32(c, (uint32_t)disp);
}

void emit_mov_imm(Code *c, unsigned reg, uint32_t value)
{
    rex(c, 0, 0, 0, reg);
    emit8(c, 0xb8 | (reg & 7));
    emit32(c, value);
}

void emit_mov_imm64(Code *c, unsigned reg, uint64_t value)
{
    rex(c, 1, 0, 0, reg);
    emit8(c, 0xb8 | (reg & 7));
    emit64(c, value);
}

void emit_load(Code *c, unsigned reg, unsigned base, int32_t disp, unsigned bytes)
{
    if (bytes == 2) {
        emit8(c, 0x66);
    }
    rex(c, bytes == 8, reg, 0, base);
    emit8(c, 0x8b);
    memory(c, reg, base, disp);
}

void emit_store(Code *c, unsigned reg, unsigned base, int32_t disp, unsigned bytes)
{
    if (bytes == 2) {
        emit8(c, 0x66);
    }
    rex(c, bytes == 8, reg, 0, base);
    emit8(c, 0x89);
    memory(c, reg, base, disp);
}

void emit_store_imm(Code *c, unsigned base, int32_t disp, uint32_t value)
{
    rex(c, 0, 0, 0, base);
    emit8(c, 0xc7);
    memory(c, 0, base, disp);
    emit32(c, value);
}

void emit_mov(Code *c, unsigned to, unsigned from, unsigned bytes)
{
    if (bytes == 2) {
        emit8(c, 0x66);
    }
    rex(c, bytes == 8, from, 0, to);
    emit8(c, 0x89);
    emit8(c, 0xc0 | (from & 7) << 3 | (to & 7));
}

void emit_lea(Code *c, unsigned to, unsigned base, int32_t disp, unsigned bytes)
{
    rex(c, bytes == 8, to, 0, base);
    emit8(c, 0x8d);
    memory(c, to, base, disp);
}

void emit_lea_index(Code *c, unsigned to, unsigned base, unsigned index, unsigned scale,
                    int32_t disp, unsigned bytes)
{
    rex(c, bytes == 8, to, index, base);
    emit8(c, 0x8d);
    emit8(c, 0x84 | (to & 7) << 3);
    emit8(c, scale << 6 | (index & 7) << 3 | (base & 7));
    emit32(c, (uint32_t)disp);
}

void emit_lea_code(Code *c, unsigned reg, const uint8_t *place)
{
    rex(c, 1, reg, 0, 0);
    emit8(c, 0x8d);
    emit8(c, 0x05 | (reg & 7) << 3);
    emit_relative(c, place);
}

void emit_jump_reg(Code *c, unsigned reg)
{
    rex(c, 0, 0, 0, reg);
    emit8(c, 0xff);
    emit8(c, 0xe0 | (reg & 7));
}

void emit_rorx(Code *c, unsigned to, unsigned from, unsigned count)
{
    emit8(c, 0xc4);
    emit8(c, (to < R8 ? 0x80u : 0) | 0x40 | (from < R8 ? 0x20u : 0) | 3);
    emit8(c, 0x7b);
    emit8(c, 0xf0);
    emit8(c, 0xc0 | (to & 7) << 3 | (from & 7));
    emit8(c, count);
}

void emit_load_zero(Code *c, unsigned reg, unsigned base, int32_t disp, unsigned bytes)
{
    rex(c, 0, reg, 0, base);
    emit8(c, 0x0f);
    emit8(c, bytes == 1 ? 0xb6 : 0xb7);
    memory(c, reg, base, disp);
}

void emit_zero_extend(Code *c, unsigned to, unsigned from)
{
    rex(c, 0, to, 0, from);
    emit8(c, 0x0f);
    emit8(c, 0xb7);
    emit8(c, 0xc0 | (to & 7) << 3 | (from & 7));
}

void emit_not(Code *c, unsigned reg)
{
    rex(c, 1, 0, 0, reg);
    emit8(c, 0xf7);
    emit8(c, 0xd0 | (reg & 7));
}
