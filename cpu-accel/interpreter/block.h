/* The cache of decoded code: straight runs of instructions, found by where they lie in Ram.
 *
 * A block is what stands on one page, from its first instruction to the first that may go
 * elsewhere. Its key is its Ram offset and the decoding mode, not a linear address, so it serves
 * every mapping of the page. Writes to its bytes drop it at once; other bytes of its page may
 * change freely.
 */
#ifndef CPU_ACCEL_INTERPRETER_BLOCK_H
#define CPU_ACCEL_INTERPRETER_BLOCK_H

#include "cpu-accel/x86/insn.h"
#include "machine/core/ram.h"

enum { BLOCK_MAX_INSNS = 64 };

typedef struct Block Block;

struct Block {
    uint64_t key;   /* block_key, or BLOCK_DROPPED */
    uint32_t bytes; /* 1..4096, all on one page */
    uint32_t count; /* instructions, 1..BLOCK_MAX_INSNS */
    bool io;        /* ends with an access to a device, which may change what is mapped where */
    /* Where it led last time, on the same page: behind it, and by its branch. The key of the block
     * that is pointed to says whether it is the one; at first a block points to itself. */
    Block *link[2];
    Block *next_in_hash; /* same bucket */
    Block *next_in_page;
    Insn insn[];
};

typedef struct BlockCache BlockCache;

BlockCache *block_cache_new(Ram *ram);
void block_cache_free(BlockCache *c);

/* mode: BLOCK_CODE32, BLOCK_REAL */
enum { BLOCK_CODE32 = 1, BLOCK_REAL = 2 /* or virtual-8086 */ };
#define BLOCK_DROPPED UINT64_MAX

static inline uint64_t block_key(uint32_t at, unsigned mode)
{
    return at | (uint64_t)mode << 32;
}

/* The block with this key, or NULL. */
Block *block_find(BlockCache *c, uint64_t key);
/* Decodes and keeps the block with this key. NULL when its first instruction goes on beyond the
 * page. Must not be called while a block runs: when the cache is full it drops everything. */
Block *block_build(BlockCache *c, uint64_t key, CpuModel model);
/* Memory changed: drops the blocks made from it. In a dropped block every handler is replaced by
 * block_stale, so that one which is running ends after the instruction that made the change. */
void block_changed(BlockCache *c, uint32_t at, uint32_t length);
/* Says that the rest of the block is stale: X_REPEAT, with nothing done, so not to be counted. */
Outcome block_stale(Cpu *cpu, const Insn *in);
/* Drops everything. Not while a block runs. */
void block_drop_all(BlockCache *c);
/* Grows when everything is dropped. Until then a pointer to a block stays readable, and its key
 * says whether it is still good. */
const uint64_t *block_generation(const BlockCache *c);

#endif
