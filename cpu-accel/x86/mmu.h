/* The TLB: what mem.h's fast paths look at, and mmu.c fills.
 *
 * Two direct-mapped sets, for supervisor and for user accesses. An entry's hot part is what a fast
 * path compares and adds; its page part remembers a whole translation, so that devices, ROM and
 * pages with flags need no new walk. All of it may be dropped at any time.
 */
#ifndef CPU_ACCEL_X86_MMU_H
#define CPU_ACCEL_X86_MMU_H

#include "cpu-accel/x86/cpu.h"

enum {
    TLB_BITS = 10,
    TLB_ENTRIES = 1 << TLB_BITS, /* of each set */
    TLB_NONE = 0x800, /* a tag that no page has, nor a misaligned address in any page (see mem.h) */
};

#define PAGE_MASK 0xfffff000u

typedef struct TlbEntry {
    uint32_t read, write; /* linear page that may be read, written through addend; or TLB_NONE */
    uintptr_t addend;     /* host address = addend + linear address */
} TlbEntry;

/* TlbPage.rights */
enum {
    TLB_WRITE = 1 << 0, /* writing is permitted, and the dirty bit is set in the page table */
    TLB_GLOBAL = 1 << 1,
    TLB_LARGE = 1 << 2,     /* a piece of a 2 or 4 MiB page */
    TLB_RAM_READ = 1 << 3,  /* reads are plain memory at ram_read */
    TLB_RAM_WRITE = 1 << 4, /* writes are plain memory at ram_write */
};

typedef struct TlbPage {
    uint32_t tag; /* linear page, or TLB_NONE */
    uint8_t rights;
    uint32_t ram_read, ram_write; /* Ram offsets of the page's first byte */
    uint64_t physical;            /* of the page's first byte, A20 gate applied */
} TlbPage;

typedef struct Tlb {
    TlbEntry hot[2][TLB_ENTRIES]; /* [0] supervisor, [1] user */
    TlbPage page[2][TLB_ENTRIES];
    uint16_t filled[2 * TLB_ENTRIES]; /* numbers of the entries in use, set * TLB_ENTRIES + index */
    unsigned filled_count;
    bool large; /* some entry has TLB_LARGE */
} Tlb;

static inline unsigned tlb_index(uint32_t linear)
{
    return linear >> 12 & (TLB_ENTRIES - 1);
}

/* The translation of a page for an access, from the TLB or by a walk that sets accessed and dirty
 * bits. NULL: cpu->fault holds the #PF. Valid until the next walk. */
const TlbPage *mmu_page(Cpu *cpu, uint32_t linear, bool write, bool user);
/* Gives direct write access to a page again whose Ram flags may have gone. */
void mmu_allow_write(Cpu *cpu, const TlbPage *page, bool user);
/* What the page tables say of a page now, without any effect. False: nothing is there. */
typedef struct MmuPeek {
    uint64_t physical; /* of the page's first byte, A20 gate applied */
    bool writable;     /* by the least privileged that may read it, CR0.WP considered for others */
    bool user, accessed, dirty, global;
} MmuPeek;
bool mmu_peek(const Cpu *cpu, uint32_t linear, MmuPeek *peek);
/* PAE: reads the four page directory pointers at cr3. False: a reserved bit is set (#GP). */
bool mmu_load_pdptes(Cpu *cpu, uint32_t cr3, uint64_t pdpte[4]);
/* Data breakpoints on an access: notes hits in pending_dr6. */
void mmu_watch(Cpu *cpu, uint32_t linear, unsigned size, bool write);

#endif
