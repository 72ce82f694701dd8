/* The page array: filled after misses, emptied as a TLB is. */
#include "cpu-accel/translator/array.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu-accel/x86/mmu.h"

enum {
    LINEAR_PAGES = 1 << 20,
    GUARD_SIZE = LINEAR_PAGES * 4,
    MASKS = 64, /* bytes below the guards */
    READ_SIZE =
        LINEAR_PAGES * (1 + 2 + 4) * 8, /* of the tables for reading, then those for writing */
    BLOCK_SIZE = (int)RAM_PAGE + GUARD_SIZE + 2 * READ_SIZE,
    MAX_PAGES = 2048, /* entered at a time; then it starts again */
    GIVE_BACK = 1 << 18,
};

static unsigned order_of(unsigned size)
{
    return size == 4 ? 2 : size - 1;
}

int32_t array_mask_at(unsigned size)
{
    return -MASKS + 4 * (int32_t)order_of(size);
}

int32_t array_table_at(unsigned size, bool write)
{
    int32_t before =
        (int32_t)((size - 1) * LINEAR_PAGES * 8); /* 0, 1 or 3 times a table of bytes */
    return GUARD_SIZE + (write ? READ_SIZE : 0) + before;
}

bool array_open(Array *a)
{
    void *block = mmap(NULL, BLOCK_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    a->block = block == MAP_FAILED ? NULL : block;
    a->pages = malloc(MAX_PAGES * sizeof(*a->pages));
    a->guarded = malloc(MAX_PAGES * sizeof(*a->guarded));
    if (!a->block || !a->pages || !a->guarded) {
        return false;
    }
    a->guard = (uint32_t *)(a->block + RAM_PAGE);
    uint32_t *mask = a->guard - MASKS / 4;
    for (unsigned order = 0; order < ARRAY_SIZES; order++) {
        mask[order] = PAGE_MASK | ((1u << order) - 1);
    }
    return true;
}

void array_close(Array *a)
{
    if (a->block) {
        munmap(a->block, BLOCK_SIZE);
    }
    free(a->pages);
    free(a->guarded);
    memset(a, 0, sizeof(*a));
}

static void enter(Array *a, uint32_t page, bool write, uintptr_t addend)
{
    for (unsigned order = 0; order < ARRAY_SIZES; order++) {
        uintptr_t *table = (uintptr_t *)((uint8_t *)a->guard + array_table_at(1u << order, write));
        table[(size_t)page << order] = addend;
    }
}

static void leave(Array *a, const ArrayPage *p)
{
    enter(a, p->linear, false, 0);
    if (p->write) {
        enter(a, p->linear, true, 0);
    }
}

static uintptr_t *entry(const Array *a, uint32_t page, bool write)
{
    return (uintptr_t *)((uint8_t *)a->guard + array_table_at(1, write)) + page;
}

static ArrayPage *find(Array *a, uint32_t page)
{
    if (!*entry(a, page, false)) {
        return NULL;
    }
    unsigned i = a->count - 1;
    while (a->pages[i].linear != page) {
        i--;
    }
    return &a->pages[i];
}

uint32_t array_fill(Array *a, Cpu *cpu, uint32_t linear)
{
    uint32_t number = linear >> RAM_PAGE_SHIFT;
    if (*entry(a, number, true)) {
        return 0;
    }
    const TlbPage *page = mmu_page(cpu, linear, false, true);
    if (!page || !(page->rights & TLB_RAM_READ)) {
        return 0;
    }
    uintptr_t addend = (uintptr_t)cpu->ram->host + page->ram_read - (linear & PAGE_MASK);
    bool write = page->rights & TLB_WRITE && page->rights & TLB_RAM_WRITE &&
                 page->ram_read == page->ram_write &&
                 !cpu->ram->flags[page->ram_read >> RAM_PAGE_SHIFT];
    bool known = *entry(a, number, false) == addend;
    if (known && !write) {
        return 0;
    }
    ArrayPage *p = known ? find(a, number) : NULL;
    if (!p) {
        if (a->count == MAX_PAGES) {
            array_flush(a);
        }
        p = &a->pages[a->count++];
        a->filled++;
    }
    *p = (ArrayPage){number, page->ram_read >> RAM_PAGE_SHIFT, write, page->rights & TLB_LARGE};
    a->large |= p->large;
    enter(a, number, false, addend);
    if (write) {
        enter(a, number, true, addend);
    }
    return known ? 0 : p->ram + 1;
}

void array_guard(Array *a, uint32_t linear, uint32_t ram_page)
{
    uint32_t number = linear >> RAM_PAGE_SHIFT;
    if (!a->guard[number]) {
        if (a->guarded_count == MAX_PAGES) {
            array_flush(a);
        }
        a->guarded[a->guarded_count++] = number;
    }
    a->guard[number] = ram_page + 1;
}

void array_flush(Array *a)
{
    for (unsigned i = 0; i < a->count; i++) {
        leave(a, &a->pages[i]);
    }
    for (unsigned i = 0; i < a->guarded_count; i++) {
        a->guard[a->guarded[i]] = 0;
    }
    a->count = a->guarded_count = 0;
    a->large = false;
    if (a->filled > GIVE_BACK) { /* a guest may have used any of 100 MiB of them by and by */
        madvise(a->block + RAM_PAGE, BLOCK_SIZE - RAM_PAGE, MADV_DONTNEED);
        a->filled = 0;
    }
}

void array_flush_page(Array *a, uint32_t linear)
{
    uint32_t number = linear >> RAM_PAGE_SHIFT;
    if (a->large) { /* pieces of a large page go together */
        array_flush(a);
        return;
    }
    ArrayPage *p = find(a, number);
    if (p) {
        leave(a, p);
        *p = a->pages[--a->count];
    }
    a->guard[number] = 0; /* it may stay in the list, even twice */
}

void array_protect(Array *a, uint32_t first_page, uint32_t pages)
{
    for (unsigned i = 0; i < a->count; i++) {
        ArrayPage *p = &a->pages[i];
        if (p->write && p->ram - first_page < pages) {
            enter(a, p->linear, true, 0);
            p->write = false;
        }
    }
}
