/* Paging: the page walk in all its formats, accessed and dirty bits, and the TLB's upkeep.
 *
 * SDM vol. 3, chapter 4. A walk happens only for an access that an instruction makes, and reads the
 * tables from memory every time, so an entry that was changed while it was not in the TLB is seen
 * without INVLPG (Windows 9x counts on that). Accessed and dirty bits are set once all checks have
 * passed. Not modelled: memory types (MTRR, PAT, PCD, PWT have no effect), the split between
 * instruction and data TLBs.
 */
#include "cpu-accel/x86/mmu.h"

#include "cpu-accel/x86/cpuid.h"
#include "cpu-accel/x86/mem.h"

/* Page table entries (SDM vol. 3, 4.3 and 4.4). */
enum {
    PTE_P = 1 << 0,
    PTE_RW = 1 << 1,
    PTE_US = 1 << 2,
    PTE_A = 1 << 5,
    PTE_D = 1 << 6,
    PTE_PS = 1 << 7,
    PTE_G = 1 << 8,
    PF_PRESENT = 1 << 0,
    PF_WRITE = 1 << 1,
    PF_USER = 1 << 2,
    PF_RESERVED = 1 << 3,
};

#define PAE_ADDRESS 0x0000000ffffff000ull  /* MAXPHYADDR is 36 */
#define PAE_RESERVED 0xfffffff000000000ull /* no execute-disable on these models */
#define PAE_LARGE_RESERVED 0x00000000001fe000ull
#define PDPTE_RESERVED 0xfffffff0000001e6ull
#define PSE36_RESERVED 0x003e0000u /* PDE of a 4 MiB page: bits 21..17 */

/* Where a walk ended. */
typedef struct Walk {
    uint64_t physical; /* of the 4 KiB page */
    uint64_t entry_at[2];
    uint64_t entry[2]; /* directory and table entry; a large page has only the first */
    unsigned levels;
    unsigned bytes;  /* of an entry */
    uint32_t rights; /* PTE_RW and PTE_US of all levels */
    bool large;
    uint32_t error; /* of a failed walk: PF_PRESENT, PF_RESERVED */
} Walk;

static uint64_t a20_mask(const Cpu *cpu)
{
    return cpu->a20 ? UINT64_MAX : ~(UINT64_C(1) << 20);
}

static uint64_t entry_read(const Cpu *cpu, uint64_t at, unsigned bytes)
{
    return bus_read(cpu->board->memory, at & a20_mask(cpu), bytes);
}

/* Two-level tables of 32-bit entries, with 4 MiB pages under CR4.PSE. */
static bool walk_32(const Cpu *cpu, uint32_t linear, Walk *w)
{
    w->bytes = 4;
    w->levels = 1;
    w->entry_at[0] = (cpu->cr3 & PAGE_MASK) + (linear >> 22) * 4;
    uint32_t pde = (uint32_t)entry_read(cpu, w->entry_at[0], 4);
    w->entry[0] = pde;
    w->rights = pde & (PTE_RW | PTE_US);
    if (!(pde & PTE_P)) {
        return false;
    }
    if (pde & PTE_PS && cpu->cr4 & CR4_PSE) {
        bool pse36 = cpu_features(cpu->model) & CPUID_PSE36;
        w->large = true;
        if (pse36 && pde & PSE36_RESERVED) {
            w->error = PF_PRESENT | PF_RESERVED;
            return false;
        }
        uint64_t high = pse36 ? (uint64_t)(pde >> 13 & 0xf) << 32 : 0;
        w->physical = high | (pde & 0xffc00000u) | (linear & 0x003ff000u);
        return true;
    }
    w->levels = 2;
    w->entry_at[1] = (pde & PAGE_MASK) + (linear >> 12 & 0x3ff) * 4;
    uint32_t pte = (uint32_t)entry_read(cpu, w->entry_at[1], 4);
    w->entry[1] = pte;
    w->rights &= pte;
    w->physical = pte & PAGE_MASK;
    return pte & PTE_P;
}

/* Page directory pointers (kept in the processor), then two levels of 64-bit entries. */
static bool walk_pae(const Cpu *cpu, uint32_t linear, Walk *w)
{
    uint64_t pdpte = cpu->pdpte[linear >> 30];
    if (!(pdpte & PTE_P)) {
        return false;
    }
    w->bytes = 8;
    w->levels = 1;
    w->entry_at[0] = (pdpte & PAE_ADDRESS) + (linear >> 21 & 0x1ff) * 8;
    uint64_t pde = w->entry[0] = entry_read(cpu, w->entry_at[0], 8);
    w->rights = pde & (PTE_RW | PTE_US);
    if (!(pde & PTE_P)) {
        return false;
    }
    w->large = pde & PTE_PS;
    if (pde & (w->large ? PAE_RESERVED | PAE_LARGE_RESERVED : PAE_RESERVED)) {
        w->error = PF_PRESENT | PF_RESERVED;
        return false;
    }
    if (w->large) {
        w->physical = (pde & PAE_ADDRESS & ~UINT64_C(0x1fffff)) | (linear & 0x001ff000u);
        return true;
    }
    w->levels = 2;
    w->entry_at[1] = (pde & PAE_ADDRESS) + (linear >> 12 & 0x1ff) * 8;
    uint64_t pte = w->entry[1] = entry_read(cpu, w->entry_at[1], 8);
    w->rights &= pte;
    w->physical = pte & PAE_ADDRESS;
    if (pte & PTE_P && pte & PAE_RESERVED) {
        w->error = PF_PRESENT | PF_RESERVED;
        return false;
    }
    return pte & PTE_P;
}

static bool walk(const Cpu *cpu, uint32_t linear, Walk *w)
{
    *w = (Walk){0};
    return cpu->cr4 & CR4_PAE ? walk_pae(cpu, linear, w) : walk_32(cpu, linear, w);
}

/* May a page with these rights be used so? (SDM vol. 3, 4.6) */
static bool permitted(const Cpu *cpu, uint32_t rights, bool write, bool user)
{
    if (user && !(rights & PTE_US)) {
        return false;
    }
    return !write || rights & PTE_RW || (!user && !(cpu->cr0 & CR0_WP));
}

/* Sets accessed bits on the way, and the dirty bit at the end of it for a write. */
static void mark(const Cpu *cpu, Walk *w, bool write)
{
    for (unsigned i = 0; i < w->levels; i++) {
        uint64_t wanted = w->entry[i] | PTE_A;
        if (write && i == w->levels - 1) {
            wanted |= PTE_D;
        }
        if (wanted != w->entry[i]) {
            w->entry[i] = wanted;
            if (cpu->tap) {
                cpu->tap->marks(cpu->tap->self, w->entry_at[i] & a20_mask(cpu));
            }
            bus_write(cpu->board->memory, w->entry_at[i] & a20_mask(cpu), wanted, w->bytes);
        }
    }
}

static const TlbPage *page_fault(Cpu *cpu, uint32_t linear, uint32_t error, bool write, bool user)
{
    cpu->fault = (Fault){
        .vector = VEC_PF,
        .has_error_code = true,
        .error_code = error | (write ? PF_WRITE : 0) | (user ? PF_USER : 0),
        .cr2 = linear,
    };
    return NULL;
}

/* Length in bytes and kind of breakpoint i (SDM vol. 3, 17.2.4). */
static unsigned watch_length(const Cpu *cpu, unsigned i)
{
    static const uint8_t length[4] = {1, 2, 8, 4};
    return length[cpu->dr7 >> (18 + 4 * i) & 3];
}

/* Is breakpoint i enabled for reads, for writes of data? */
static bool watches(const Cpu *cpu, unsigned i, bool write)
{
    unsigned kind = cpu->dr7 >> (16 + 4 * i) & 3;
    return cpu->dr7 >> (2 * i) & 3 && (kind == 3 || (kind == 1 && write));
}

static bool page_watched(const Cpu *cpu, uint32_t page, bool write)
{
    for (unsigned i = 0; i < 4; i++) {
        if (watches(cpu, i, write) && (cpu->dr[i] & PAGE_MASK) == page) {
            return true;
        }
    }
    return false;
}

void mmu_watch(Cpu *cpu, uint32_t linear, unsigned size, bool write)
{
    if (!(cpu->dr7 & 0xff)) {
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        unsigned length = watch_length(cpu, i);
        uint32_t start = cpu->dr[i] & ~(length - 1);
        if (watches(cpu, i, write) && (linear - start < length || start - linear < size)) {
            cpu->pending_dr6 |= 1u << i;
        }
    }
}

/* The hot part of an entry, from its page part. */
static void warm(Cpu *cpu, TlbEntry *hot, const TlbPage *page)
{
    *hot = (TlbEntry){TLB_NONE, TLB_NONE, 0};
    if (!(page->rights & TLB_RAM_READ)) {
        return;
    }
    hot->addend = (uintptr_t)cpu->ram->host + page->ram_read - page->tag;
    bool armed = cpu->dr7 & 0xff;
    if (!armed || !page_watched(cpu, page->tag, false)) {
        hot->read = page->tag;
    }
    if (page->rights & TLB_WRITE && page->rights & TLB_RAM_WRITE &&
        page->ram_write == page->ram_read && !cpu->ram->flags[page->ram_write >> RAM_PAGE_SHIFT] &&
        (!armed || !page_watched(cpu, page->tag, true))) {
        hot->write = page->tag;
    }
}

void mmu_allow_write(Cpu *cpu, const TlbPage *page, bool user)
{
    warm(cpu, &cpu->tlb->hot[user][tlb_index(page->tag)], page);
}

static const TlbPage *fill(Cpu *cpu, uint32_t linear, uint64_t physical, uint8_t rights, bool user)
{
    Tlb *tlb = cpu->tlb;
    unsigned index = tlb_index(linear);
    TlbPage *page = &tlb->page[user][index];
    if (page->tag == TLB_NONE) {
        tlb->filled[tlb->filled_count++] = (uint16_t)(user * TLB_ENTRIES + index);
    }
    physical &= a20_mask(cpu);
    BusPage at = bus_page(cpu->board->memory, physical);
    if (at.ram) {
        rights |= (at.view.readable ? TLB_RAM_READ : 0) | (at.view.writable ? TLB_RAM_WRITE : 0);
    }
    if (at.ram && at.view.readable) {
        ram_need(cpu->ram, at.view.read_at, RAM_PAGE);
    }
    if (at.ram && at.view.writable) {
        ram_need(cpu->ram, at.view.write_at, RAM_PAGE);
    }
    tlb->large |= (rights & TLB_LARGE) != 0;
    *page = (TlbPage){
        .tag = linear & PAGE_MASK,
        .rights = rights,
        .ram_read = at.view.read_at,
        .ram_write = at.view.write_at,
        .physical = physical,
    };
    warm(cpu, &tlb->hot[user][index], page);
    return page;
}

const TlbPage *mmu_page(Cpu *cpu, uint32_t linear, bool write, bool user)
{
    const TlbPage *page = &cpu->tlb->page[user][tlb_index(linear)];
    if (page->tag == (linear & PAGE_MASK) && (!write || page->rights & TLB_WRITE)) {
        return page;
    }
    if (!(cpu->cr0 & CR0_PG)) {
        return fill(cpu, linear, linear & PAGE_MASK, TLB_WRITE, user);
    }
    Walk w;
    if (!walk(cpu, linear, &w)) {
        return page_fault(cpu, linear, w.error, write, user);
    }
    if (!permitted(cpu, w.rights, write, user)) {
        return page_fault(cpu, linear, PF_PRESENT, write, user);
    }
    mark(cpu, &w, write);
    uint64_t last = w.entry[w.levels - 1];
    uint8_t rights = w.large ? TLB_LARGE : 0;
    if (last & PTE_D && permitted(cpu, w.rights, true, user)) {
        rights |= TLB_WRITE;
    }
    if (last & PTE_G && cpu->cr4 & CR4_PGE) {
        rights |= TLB_GLOBAL;
    }
    return fill(cpu, linear, w.physical, rights, user);
}

bool mmu_load_pdptes(Cpu *cpu, uint32_t cr3, uint64_t pdpte[4])
{
    for (unsigned i = 0; i < 4; i++) {
        pdpte[i] = entry_read(cpu, (cr3 & 0xffffffe0u) + 8 * i, 8);
        if (pdpte[i] & PTE_P && pdpte[i] & PDPTE_RESERVED) {
            return false;
        }
    }
    return true;
}

static void drop(Tlb *tlb, unsigned number)
{
    unsigned set = number / TLB_ENTRIES, index = number % TLB_ENTRIES;
    tlb->page[set][index].tag = TLB_NONE;
    tlb->hot[set][index].read = tlb->hot[set][index].write = TLB_NONE;
}

/* Keeps the entries for which keep() says so. */
void mem_flush(Cpu *cpu, bool globals_too)
{
    Tlb *tlb = cpu->tlb;
    unsigned kept = 0;
    bool large = false;
    for (unsigned i = 0; i < tlb->filled_count; i++) {
        unsigned number = tlb->filled[i];
        uint8_t rights = tlb->page[number / TLB_ENTRIES][number % TLB_ENTRIES].rights;
        if (!globals_too && rights & TLB_GLOBAL) {
            tlb->filled[kept++] = (uint16_t)number;
            large |= (rights & TLB_LARGE) != 0;
        } else {
            drop(tlb, number);
        }
    }
    tlb->filled_count = kept;
    tlb->large = large;
    if (cpu->flushed.all) {
        cpu->flushed.all(cpu->flushed.self, globals_too);
    }
}

static bool in_flushed_page(const TlbPage *page, uint32_t linear)
{
    /* Pieces of a large page go together; 4 MiB covers both sizes. */
    return page->tag == (linear & PAGE_MASK) ||
           (page->rights & TLB_LARGE && (page->tag ^ linear) < 0x400000);
}

void mem_flush_page(Cpu *cpu, uint32_t linear)
{
    Tlb *tlb = cpu->tlb;
    unsigned index = tlb_index(linear);
    if (cpu->flushed.page) {
        cpu->flushed.page(cpu->flushed.self, linear);
    }
    if (!tlb->large && tlb->page[0][index].tag != (linear & PAGE_MASK) &&
        tlb->page[1][index].tag != (linear & PAGE_MASK)) {
        return;
    }
    unsigned kept = 0;
    for (unsigned i = 0; i < tlb->filled_count; i++) {
        unsigned number = tlb->filled[i];
        if (in_flushed_page(&tlb->page[number / TLB_ENTRIES][number % TLB_ENTRIES], linear)) {
            drop(tlb, number);
        } else {
            tlb->filled[kept++] = (uint16_t)number;
        }
    }
    tlb->filled_count = kept;
}

void mem_flags_set(Cpu *cpu, uint32_t first_page, uint32_t pages)
{
    Tlb *tlb = cpu->tlb;
    for (unsigned i = 0; i < tlb->filled_count; i++) {
        unsigned set = tlb->filled[i] / TLB_ENTRIES, index = tlb->filled[i] % TLB_ENTRIES;
        if ((tlb->page[set][index].ram_write >> RAM_PAGE_SHIFT) - first_page < pages) {
            tlb->hot[set][index].write = TLB_NONE;
        }
    }
}

bool mmu_peek(const Cpu *cpu, uint32_t linear, MmuPeek *peek)
{
    if (!(cpu->cr0 & CR0_PG)) {
        *peek = (MmuPeek){linear & PAGE_MASK & a20_mask(cpu), true, true, true, true, false};
        return true;
    }
    Walk w;
    if (!walk(cpu, linear, &w)) {
        return false;
    }
    uint64_t last = w.entry[w.levels - 1];
    bool user = w.rights & PTE_US;
    *peek = (MmuPeek){
        .physical = w.physical & a20_mask(cpu),
        .writable = permitted(cpu, w.rights, true, user),
        .user = user,
        .accessed = last & PTE_A && w.entry[0] & PTE_A,
        .dirty = last & PTE_D,
        .global = last & PTE_G && cpu->cr4 & CR4_PGE,
    };
    return true;
}

bool mem_translate_quietly(const Cpu *cpu, uint32_t linear, uint64_t *physical, bool *writable,
                           bool *user)
{
    if (!(cpu->cr0 & CR0_PG)) {
        *physical = linear & a20_mask(cpu);
        *writable = *user = true;
        return true;
    }
    Walk w;
    if (!walk(cpu, linear, &w)) {
        return false;
    }
    *physical = (w.physical | (linear & 0xfff)) & a20_mask(cpu);
    *writable = w.rights & PTE_RW;
    *user = w.rights & PTE_US;
    return true;
}
