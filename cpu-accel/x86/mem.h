/* Memory as instructions see it: segment checks, paging, and the TLB in front of both.
 *
 * Every function that returns bool returns false with cpu->fault filled; nothing was changed then.
 * Accesses that cross a page check both pages before they touch either. The inline parts take what
 * is aligned, within an ordinary segment and in the TLB; mem.c does all the rest.
 */
#ifndef CPU_ACCEL_X86_MEM_H
#define CPU_ACCEL_X86_MEM_H

#include <string.h>

#include "cpu-accel/x86/cpu.h"
#include "cpu-accel/x86/mmu.h"

/* Read-modify-write: open checks write permission and reads; store cannot fault. */
typedef struct MemRmw {
    uint8_t *host;        /* NULL: not plain memory, or more than one page; store goes by mem.c */
    uint64_t physical[2]; /* of the first byte, and of the first byte on the second page */
    uint64_t ram[2];      /* the same as Ram offsets, or MEM_NO_RAM */
    unsigned first;       /* bytes on the first page */
} MemRmw;

/* The slow halves: everything that the inline functions do not take. */
bool mem_read_slow(Cpu *cpu, SegIndex seg, uint32_t offset, void *value, unsigned size);
bool mem_write_slow(Cpu *cpu, SegIndex seg, uint32_t offset, const void *value, unsigned size);
bool mem_rmw_slow(Cpu *cpu, SegIndex seg, uint32_t offset, MemRmw *rmw, void *value, unsigned size);
void mem_store_slow(Cpu *cpu, const MemRmw *rmw, const void *value, unsigned size);

static inline const TlbEntry *mem_entry(const Cpu *cpu, uint32_t linear)
{
    return &cpu->tlb->hot[(cpu->cpl + 1) >> 2][tlb_index(linear)];
}

static inline uint8_t *mem_host(const TlbEntry *entry, uint32_t linear)
{
    return (uint8_t *)(entry->addend + linear); // NOLINT: host pages are found by address
}

/* Expand-up data with `size` bytes at offset inside; expand-down, code and null segments are left
 * to the slow half. */
static inline bool mem_plain_read(const SegReg *s, uint32_t offset, unsigned size)
{
    return !(s->access & (SEG_UNUSABLE | SEG_EXPAND_DOWN | SEG_CODE)) &&
           (uint64_t)offset + (size - 1) <= s->limit;
}

static inline bool mem_plain_write(const SegReg *s, uint32_t offset, unsigned size)
{
    return (s->access & (SEG_UNUSABLE | SEG_EXPAND_DOWN | SEG_CODE | SEG_WRITABLE)) ==
               SEG_WRITABLE &&
           (uint64_t)offset + (size - 1) <= s->limit;
}

/* The whole fast path of a read: the host address, or NULL. */
static inline uint8_t *mem_fast_read(const Cpu *cpu, SegIndex seg, uint32_t offset, unsigned size)
{
    const SegReg *s = &cpu->seg[seg];
    uint32_t linear = s->base + offset;
    const TlbEntry *entry = mem_entry(cpu, linear);
    /* a misaligned address has a low bit that no tag has */
    bool hit = (linear & (PAGE_MASK | (size - 1))) == entry->read;
    return __builtin_expect(hit && mem_plain_read(s, offset, size), 1) ? mem_host(entry, linear)
                                                                       : NULL;
}

static inline uint8_t *mem_fast_write(const Cpu *cpu, SegIndex seg, uint32_t offset, unsigned size)
{
    const SegReg *s = &cpu->seg[seg];
    uint32_t linear = s->base + offset;
    const TlbEntry *entry = mem_entry(cpu, linear);
    bool hit = (linear & (PAGE_MASK | (size - 1))) == entry->write;
    return __builtin_expect(hit && mem_plain_write(s, offset, size), 1) ? mem_host(entry, linear)
                                                                        : NULL;
}

/* By segment and offset; the offset is already cut to the address size.
 *     bool mem_readN(Cpu *cpu, SegIndex seg, uint32_t offset, uintN *value);
 *     bool mem_writeN(Cpu *cpu, SegIndex seg, uint32_t offset, uintN value);
 *     bool mem_rmwN(Cpu *cpu, SegIndex seg, uint32_t offset, MemRmw *rmw, uintN *value);
 *     void mem_storeN(Cpu *cpu, const MemRmw *rmw, uintN value);       for N of 8, 16, 32, 64 */
#define MEM_ACCESS(bits)                                                                           \
    static inline bool mem_read##bits(Cpu *cpu, SegIndex seg, uint32_t offset,                     \
                                      uint##bits##_t *value)                                       \
    {                                                                                              \
        const uint8_t *host = mem_fast_read(cpu, seg, offset, bits / 8);                           \
        if (host) {                                                                                \
            memcpy(value, host, bits / 8);                                                         \
            return true;                                                                           \
        }                                                                                          \
        return mem_read_slow(cpu, seg, offset, value, bits / 8);                                   \
    }                                                                                              \
    static inline bool mem_write##bits(Cpu *cpu, SegIndex seg, uint32_t offset,                    \
                                       uint##bits##_t value)                                       \
    {                                                                                              \
        uint8_t *host = mem_fast_write(cpu, seg, offset, bits / 8);                                \
        if (host) {                                                                                \
            memcpy(host, &value, bits / 8);                                                        \
            return true;                                                                           \
        }                                                                                          \
        return mem_write_slow(cpu, seg, offset, &value, bits / 8);                                 \
    }                                                                                              \
    static inline bool mem_rmw##bits(Cpu *cpu, SegIndex seg, uint32_t offset, MemRmw *rmw,         \
                                     uint##bits##_t *value)                                        \
    {                                                                                              \
        uint8_t *host = mem_fast_write(cpu, seg, offset, bits / 8);                                \
        if (host) {                                                                                \
            memcpy(value, host, bits / 8);                                                         \
            rmw->host = host;                                                                      \
            return true;                                                                           \
        }                                                                                          \
        return mem_rmw_slow(cpu, seg, offset, rmw, value, bits / 8);                               \
    }                                                                                              \
    static inline void mem_store##bits(Cpu *cpu, const MemRmw *rmw, uint##bits##_t value)          \
    {                                                                                              \
        if (rmw->host) {                                                                           \
            memcpy(rmw->host, &value, bits / 8);                                                   \
        } else {                                                                                   \
            mem_store_slow(cpu, rmw, &value, bits / 8);                                            \
        }                                                                                          \
    }
MEM_ACCESS(8)
MEM_ACCESS(16)
MEM_ACCESS(32)
MEM_ACCESS(64)
#undef MEM_ACCESS

/* Blocks of 1 to 512 bytes, all or nothing: x87 operands and state, SSE operands, MOVS of frames.
 */
bool mem_read_bytes(Cpu *cpu, SegIndex seg, uint32_t offset, void *data, unsigned size);
bool mem_write_bytes(Cpu *cpu, SegIndex seg, uint32_t offset, const void *data, unsigned size);
/* Would writing all these bytes be permitted? Checks and marks pages as a write does. */
bool mem_check_write(Cpu *cpu, SegIndex seg, uint32_t offset, unsigned size);

/* Would the segment permit reading them? */
bool mem_check_segment(Cpu *cpu, SegIndex seg, uint32_t offset, unsigned size);

/* A stretch of plain memory around seg:offset, for string instructions: `above` bytes from offset
 * upwards, `below` bytes under it, all inside the segment and one page. False, without a fault and
 * without effect, when the byte cannot be reached directly now: go by mem_readN, which may make it
 * reachable. */
typedef struct MemRun {
    uint8_t *host;
    uint32_t above, below;
} MemRun;
bool mem_run(Cpu *cpu, SegIndex seg, uint32_t offset, bool write, MemRun *run);

/* By linear address, with user or supervisor rights: stacks of other levels. size is 1, 2, 4, 8. */
bool mem_linear_read(Cpu *cpu, uint32_t linear, void *value, unsigned size, bool user);
bool mem_linear_write(Cpu *cpu, uint32_t linear, const void *value, unsigned size, bool user);
/* By linear address, with supervisor rights whatever the CPL: descriptor tables, TSS. */
bool mem_system_read8(Cpu *cpu, uint32_t linear, uint8_t *value);
bool mem_system_read16(Cpu *cpu, uint32_t linear, uint16_t *value);
bool mem_system_read32(Cpu *cpu, uint32_t linear, uint32_t *value);
bool mem_system_write8(Cpu *cpu, uint32_t linear, uint8_t value);
bool mem_system_write16(Cpu *cpu, uint32_t linear, uint16_t value);
bool mem_system_write32(Cpu *cpu, uint32_t linear, uint32_t value);
/* Walks the pages of [linear, linear + size) for reading or writing; size up to 4096. */
bool mem_system_check(Cpu *cpu, uint32_t linear, unsigned size, bool write);

/* Code fetch: the Ram offset of the byte at a linear address, for keeping decoded code by page;
 * MEM_NO_RAM where it is no plain memory (then fetch byte by byte). */
#define MEM_NO_RAM UINT64_MAX
bool mem_code_page(Cpu *cpu, uint32_t linear, uint64_t *ram_at);
/* Up to `room` bytes at linear, but none of the next page, which must not be touched before an
 * instruction is known to go on there: then call again for linear + *count. False when the first
 * byte cannot be fetched. */
bool mem_fetch(Cpu *cpu, uint32_t linear, uint8_t *bytes, unsigned room, unsigned *count);
/* How many bytes of code from eip on lie within CS's limit, at most `most`. 0: fetching is #GP(0).
 */
static inline unsigned mem_code_room(const Cpu *cpu, uint32_t eip, unsigned most)
{
    uint32_t limit = cpu->seg[CS].limit;
    return eip > limit ? 0 : limit - eip < most ? limit - eip + 1 : most;
}

/* TLB upkeep. */
void mem_flush(Cpu *cpu, bool globals_too); /* CR3 load; CR0, CR4, A20, map changes */
void mem_flush_page(Cpu *cpu, uint32_t linear);
void mem_flags_set(Cpu *cpu, uint32_t first_page,
                   uint32_t pages); /* Ram flags: drop direct writes */

/* For debuggers and `info mem`: translates without side effects. False: not mapped. */
bool mem_translate_quietly(const Cpu *cpu, uint32_t linear, uint64_t *physical, bool *writable,
                           bool *user);

#endif
