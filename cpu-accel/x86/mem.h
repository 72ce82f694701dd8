/* Memory as instructions see it: segment checks, paging, and the TLB in front of both.
 *
 * Every function that returns bool returns false with cpu->fault filled; nothing was changed then.
 * Accesses that cross a page check both pages before they touch either.
 */
#ifndef CPU_ACCEL_X86_MEM_H
#define CPU_ACCEL_X86_MEM_H

#include "cpu-accel/x86/cpu.h"

/* By segment and offset; the offset is already cut to the address size. */
bool mem_read8(Cpu *cpu, SegIndex seg, uint32_t offset, uint8_t *value);
bool mem_read16(Cpu *cpu, SegIndex seg, uint32_t offset, uint16_t *value);
bool mem_read32(Cpu *cpu, SegIndex seg, uint32_t offset, uint32_t *value);
bool mem_read64(Cpu *cpu, SegIndex seg, uint32_t offset, uint64_t *value);
bool mem_read_bytes(Cpu *cpu, SegIndex seg, uint32_t offset, void *data,
                    unsigned size); /* up to 512 */
bool mem_write8(Cpu *cpu, SegIndex seg, uint32_t offset, uint8_t value);
bool mem_write16(Cpu *cpu, SegIndex seg, uint32_t offset, uint16_t value);
bool mem_write32(Cpu *cpu, SegIndex seg, uint32_t offset, uint32_t value);
bool mem_write64(Cpu *cpu, SegIndex seg, uint32_t offset, uint64_t value);
bool mem_write_bytes(Cpu *cpu, SegIndex seg, uint32_t offset, const void *data, unsigned size);

/* Read-modify-write: open checks write permission and reads; store cannot fault. */
typedef struct MemRmw {
    uint8_t *host;        /* NULL: not plain memory; store goes by the bus */
    uint64_t physical[2]; /* of the first byte, and of the first byte on the second page */
    unsigned first;       /* bytes on the first page */
} MemRmw;
bool mem_rmw8(Cpu *cpu, SegIndex seg, uint32_t offset, MemRmw *rmw, uint8_t *value);
bool mem_rmw16(Cpu *cpu, SegIndex seg, uint32_t offset, MemRmw *rmw, uint16_t *value);
bool mem_rmw32(Cpu *cpu, SegIndex seg, uint32_t offset, MemRmw *rmw, uint32_t *value);
void mem_store8(Cpu *cpu, const MemRmw *rmw, uint8_t value);
void mem_store16(Cpu *cpu, const MemRmw *rmw, uint16_t value);
void mem_store32(Cpu *cpu, const MemRmw *rmw, uint32_t value);

/* By linear address, with supervisor rights whatever the CPL: descriptor tables, TSS, gates'
 * stacks. */
bool mem_system_read16(Cpu *cpu, uint32_t linear, uint16_t *value);
bool mem_system_read32(Cpu *cpu, uint32_t linear, uint32_t *value);
bool mem_system_write8(Cpu *cpu, uint32_t linear, uint8_t value);
bool mem_system_write16(Cpu *cpu, uint32_t linear, uint16_t value);
bool mem_system_write32(Cpu *cpu, uint32_t linear, uint32_t value);

/* Code fetch: the Ram offset of the byte at a linear address, for keeping decoded code by page;
 * MEM_NO_RAM where it is no plain memory (then fetch byte by byte). */
#define MEM_NO_RAM UINT64_MAX
bool mem_code_page(Cpu *cpu, uint32_t linear, uint64_t *ram_at);
/* Up to `room` bytes at linear, as far as they can be fetched; false when not even the first can.
 */
bool mem_fetch(Cpu *cpu, uint32_t linear, uint8_t *bytes, unsigned room, unsigned *count);

/* TLB upkeep. */
void mem_flush(Cpu *cpu, bool globals_too); /* CR3 load; CR0, CR4, A20, map changes */
void mem_flush_page(Cpu *cpu, uint32_t linear);
void mem_flags_set(Cpu *cpu, uint32_t first_page,
                   uint32_t pages); /* Ram flags: drop direct writes */

/* For debuggers and `info mem`: translates without side effects. False: not mapped. */
bool mem_translate_quietly(const Cpu *cpu, uint32_t linear, uint64_t *physical, bool *writable,
                           bool *user);

#endif
