/* Windows: guest linear memory in the host's own page tables.
 *
 * What a mapping costs and why windows are not reserved with PROT_NONE: docs/TRANSLATOR.md. Pages
 * are compared with the guest's page tables at CR3 loads instead of being dropped: that is what a
 * TLB may hold, and most are unchanged.
 */
#include "cpu-accel/translator/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu-accel/x86/mmu.h"

enum {
    LINEAR_PAGES = 1 << 20,
    MAP_LIMIT = 40000, /* mapped pages in all windows: the host allows about 65000 mappings */
    BATCH = 64,        /* pages mapped at once where they are known to belong together */
};

static void *sparse(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Finds address space far from where the host puts its own mappings. A page mapped behind it claims
 * it. */
static bool find_hole(Windows *ws, Err *err)
{
    const uint64_t first = UINT64_C(0x200000000000), span = WINDOW_COUNT * WINDOW_STEP;
    for (unsigned i = 0; i < 64; i++) {
        uint8_t *hole =
            (uint8_t *)(uintptr_t)(first + i * (span + RAM_PAGE)); // NOLINT: an address is chosen
        void *claim =
            mmap(hole + span, RAM_PAGE, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
        if (claim == hole + span) {
            ws->hole = hole;
            return true;
        }
        if (claim != MAP_FAILED) {
            munmap(claim, RAM_PAGE);
        }
    }
    return err_set(err, "translator: no address space for guest memory; use -accel interpreter");
}

static bool window_open(Windows *ws, unsigned i)
{
    Window *w = &ws->window[i];
    if (!w->place) {
        w->base = ws->hole + i * WINDOW_STEP;
        w->guard = sparse(LINEAR_PAGES * sizeof(*w->guard));
        w->place = sparse(LINEAR_PAGES * sizeof(*w->place));
        if (!w->guard || !w->place) {
            return false;
        }
    }
    w->used = true;
    return true;
}

bool windows_open(Windows *ws, Cpu *cpu, Err *err)
{
    memset(ws, 0, sizeof(*ws));
    ws->cpu = cpu;
    if (!find_hole(ws, err)) {
        return false;
    }
    ws->by_ram = sparse((RAM_LIMIT >> RAM_PAGE_SHIFT) * sizeof(*ws->by_ram));
    if (!ws->by_ram || !window_open(ws, 0)) {
        return err_set(err, "out of memory");
    }
    return true;
}

static void node_add(Windows *ws, unsigned window, uint32_t linear, uint32_t ram)
{
    uint32_t node = ws->free_node;
    if (node) {
        ws->free_node = ws->nodes[node - 1].next;
    } else {
        if (ws->node_count == ws->node_room) {
            unsigned room = ws->node_room ? 2 * ws->node_room : 4096;
            WindowNode *nodes = realloc(ws->nodes, room * sizeof(*nodes));
            if (!nodes) {
                abort(); /* a few megabytes: the host is at its end */
            }
            ws->nodes = nodes;
            ws->node_room = room;
        }
        node = ++ws->node_count;
    }
    ws->nodes[node - 1] = (WindowNode){linear, ws->by_ram[ram], (uint8_t)window};
    ws->by_ram[ram] = node;
}

static void node_remove(Windows *ws, unsigned window, uint32_t linear, uint32_t ram)
{
    for (uint32_t *at = &ws->by_ram[ram]; *at; at = &ws->nodes[*at - 1].next) {
        WindowNode *node = &ws->nodes[*at - 1];
        if (node->window == window && node->linear == linear) {
            uint32_t freed = *at;
            *at = node->next;
            node->next = ws->free_node;
            ws->free_node = freed;
            return;
        }
    }
}

static WindowPage *find_page(const Window *w, uint32_t linear_page)
{
    uint32_t place = w->place[linear_page];
    return place ? &w->pages[place - 1] : NULL;
}

/* Forgets a page without unmapping it. */
static void forget(Windows *ws, Window *w, WindowPage *page)
{
    uint32_t linear = page->linear;
    node_remove(ws, (unsigned)(w - ws->window), linear, page->ram);
    w->place[linear] = 0;
    if (w->guard[linear]) {
        w->guard[linear] = 0;
        ws->code_gone(ws->self, w);
    }
    *page = w->pages[--w->count];
    if (page != &w->pages[w->count]) {
        w->place[page->linear] = (uint32_t)(page - w->pages) + 1;
    }
    ws->mapped--;
}

static void drop(Windows *ws, Window *w, WindowPage *page)
{
    munmap(w->base + ((uint64_t)page->linear << RAM_PAGE_SHIFT), RAM_PAGE);
    forget(ws, w, page);
}

static void drop_all(Windows *ws, Window *w)
{
    if (w->count) {
        munmap(w->base, WINDOW_SPAN);
        while (w->count) {
            forget(ws, w, &w->pages[w->count - 1]);
        }
    }
    w->stale = w->stale_globals = false;
}

void windows_close(Windows *ws)
{
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        Window *w = &ws->window[i];
        if (w->place) {
            munmap(w->base, WINDOW_SPAN);
            munmap(w->place, LINEAR_PAGES * sizeof(*w->place));
            munmap(w->guard, LINEAR_PAGES * sizeof(*w->guard));
        }
        free(w->pages);
    }
    if (ws->by_ram) {
        munmap(ws->by_ram, (RAM_LIMIT >> RAM_PAGE_SHIFT) * sizeof(*ws->by_ram));
    }
    if (ws->hole) {
        munmap(ws->hole + WINDOW_COUNT * WINDOW_STEP, RAM_PAGE);
    }
    free(ws->nodes);
    memset(ws, 0, sizeof(*ws));
}

/* Is what the window shows still what the page tables say? */
static bool still_so(const Windows *ws, const Window *w, const WindowPage *page)
{
    MmuPeek peek;
    if (!mmu_peek(ws->cpu, page->linear << RAM_PAGE_SHIFT, &peek) || !peek.accessed ||
        (w->user && !peek.user)) {
        return false;
    }
    if (page->dirty && (!peek.dirty || !peek.writable)) {
        return false;
    }
    BusPage at = bus_page(ws->cpu->board->memory, peek.physical);
    return at.ram && at.view.readable && at.view.read_at >> RAM_PAGE_SHIFT == page->ram;
}

static void revalidate(Windows *ws, Window *w)
{
    for (unsigned i = w->count; i-- > 0;) {
        WindowPage *page = &w->pages[i];
        bool spared = page->global && !w->user && !w->stale_globals;
        if (!spared && !still_so(ws, w, page)) {
            drop(ws, w, page);
        }
    }
    w->stale = w->stale_globals = false;
}

static Window *user_window(Windows *ws, uint32_t cr3)
{
    Window *oldest = NULL;
    for (unsigned i = 1; i < WINDOW_COUNT; i++) {
        Window *w = &ws->window[i];
        if (w->used && w->cr3 == cr3) {
            return w;
        }
        if (!oldest || !w->used || (oldest->used && w->last_use < oldest->last_use)) {
            oldest = oldest && !oldest->used ? oldest : w;
        }
    }
    drop_all(ws, oldest);
    if (!window_open(ws, (unsigned)(oldest - ws->window))) {
        return NULL;
    }
    oldest->user = true;
    oldest->cr3 = cr3;
    return oldest;
}

Window *window_choose(Windows *ws)
{
    Cpu *cpu = ws->cpu;
    bool user = cpu->cpl == 3 && cpu->cr0 & CR0_PG;
    if (ws->mapped > MAP_LIMIT) {
        for (unsigned i = 0; i < WINDOW_COUNT; i++) {
            drop_all(ws, &ws->window[i]);
        }
    }
    Window *w = user ? user_window(ws, cpu->cr3) : &ws->window[0];
    if (w && w->stale) {
        revalidate(ws, w);
    }
    if (w) {
        w->last_use = ++ws->tick;
    }
    return w;
}

Window *window_of(Windows *ws, const void *host, uint32_t *linear)
{
    uint64_t offset = (uint64_t)((const uint8_t *)host - ws->hole);
    if ((const uint8_t *)host < ws->hole || offset >= WINDOW_COUNT * WINDOW_STEP ||
        offset % WINDOW_STEP >= WINDOW_SPAN) {
        return NULL;
    }
    *linear = (uint32_t)offset;
    return &ws->window[offset / WINDOW_STEP];
}

/* Shows `count` pages from linear page and Ram page on. */
static bool show(Windows *ws, Window *w, uint32_t linear, uint32_t ram, unsigned count,
                 const WindowPage *like)
{
    if (w->count + count > w->room) {
        unsigned room = 2 * w->room + count + 256;
        WindowPage *pages = realloc(w->pages, room * sizeof(*pages));
        if (!pages) {
            return false;
        }
        w->pages = pages;
        w->room = room;
    }
    void *place = w->base + ((uint64_t)linear << RAM_PAGE_SHIFT);
    if (mmap(place, (size_t)count << RAM_PAGE_SHIFT, PROT_READ | (like->write ? PROT_WRITE : 0),
             MAP_SHARED | MAP_FIXED, ws->cpu->ram->fd,
             (off_t)ram << RAM_PAGE_SHIFT) == MAP_FAILED) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        w->pages[w->count] =
            (WindowPage){linear + i, ram + i, like->write, like->dirty, like->global};
        w->place[linear + i] = ++w->count;
        node_add(ws, (unsigned)(w - ws->window), linear + i, ram + i);
    }
    ws->mapped += count;
    return true;
}

/* How many pages from here on surely translate alike: within a large page, or with paging off.
 * Small pages are never taken on suspicion: a guest may have changed their entries and relies on
 * their not being in a TLB. */
static unsigned run_length(const Windows *ws, const Window *w, uint32_t linear, uint64_t physical,
                           uint32_t ram, bool large)
{
    const Ram *memory = ws->cpu->ram;
    unsigned most = 1;
    if (!(ws->cpu->cr0 & CR0_PG)) {
        most = BATCH;
    } else if (large) {
        unsigned pages = ws->cpu->cr4 & CR4_PAE ? 512 : 1024;
        most = pages - linear % pages < BATCH ? pages - linear % pages : BATCH;
    }
    unsigned count = 1;
    while (count < most && linear + count < LINEAR_PAGES && !w->place[linear + count] &&
           memory->flags[ram + count] == memory->flags[ram]) {
        BusPage next =
            bus_page(ws->cpu->board->memory, physical + ((uint64_t)count << RAM_PAGE_SHIFT));
        if (!next.ram || !next.view.readable || !next.view.writable ||
            next.view.read_at != next.view.write_at ||
            next.view.read_at >> RAM_PAGE_SHIFT != ram + count) {
            break;
        }
        count++;
    }
    return count;
}

bool window_fill(Windows *ws, Window *w, uint32_t linear, bool write)
{
    Cpu *cpu = ws->cpu;
    const TlbPage *page = mmu_page(cpu, linear, write, w->user);
    if (!page || !(page->rights & TLB_RAM_READ)) {
        return false;
    }
    TlbPage at = *page;
    uint32_t number = linear >> RAM_PAGE_SHIFT, ram = at.ram_read >> RAM_PAGE_SHIFT;
    bool both = at.rights & TLB_RAM_WRITE && at.ram_read == at.ram_write;
    bool dirty = at.rights & TLB_WRITE && both;
    if (write && (!dirty || cpu->ram->flags[ram] & (RAM_CODE | RAM_TRANSLATED))) {
        return false;
    }
    if (write) {
        ram_written(cpu->ram, at.ram_read, 1); /* only marks of cleanness can be there: they go */
    }
    WindowPage like = {
        .write = dirty && !cpu->ram->flags[ram], .dirty = dirty, .global = at.rights & TLB_GLOBAL};
    WindowPage *old = find_page(w, number);
    if (old && old->ram == ram) {
        old->global = like.global;
        old->dirty = dirty;
        if (old->write == like.write) {
            return true; /* the host's own first touch, or a change on the way */
        }
        old->write = like.write;
        return mprotect(w->base + ((uint64_t)number << RAM_PAGE_SHIFT), RAM_PAGE,
                        PROT_READ | (like.write ? PROT_WRITE : 0)) == 0;
    }
    if (old) {
        drop(ws, w, old);
    }
    unsigned count = both ? run_length(ws, w, number, at.physical, ram, at.rights & TLB_LARGE) : 1;
    return show(ws, w, number, ram, count, &like);
}

void window_guard(Windows *ws, Window *w, uint32_t linear, uint32_t ram_page)
{
    uint32_t number = linear >> RAM_PAGE_SHIFT;
    WindowPage *page = find_page(w, number);
    if ((page && page->ram == ram_page) || window_fill(ws, w, linear, false)) {
        w->guard[number] = ram_page + 1;
    }
}

void windows_flush(Windows *ws, bool globals_too)
{
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        Window *w = &ws->window[i];
        if (w->used && (globals_too || i == 0 || w->cr3 == ws->cpu->cr3)) {
            w->stale = true;
            w->stale_globals |= globals_too;
        }
    }
}

void windows_drop(Windows *ws)
{
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        drop_all(ws, &ws->window[i]);
    }
}

void windows_flush_page(Windows *ws, uint32_t linear)
{
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        Window *w = &ws->window[i];
        if (!w->used || (i != 0 && w->cr3 != ws->cpu->cr3)) {
            continue;
        }
        WindowPage *page = find_page(w, linear >> RAM_PAGE_SHIFT);
        if (page && !still_so(ws, w, page)) {
            drop(ws, w, page);
        }
    }
}

void windows_protect(Windows *ws, uint32_t first_page, uint32_t pages)
{
    for (uint32_t ram = first_page; ram - first_page < pages; ram++) {
        for (uint32_t at = ws->by_ram[ram]; at; at = ws->nodes[at - 1].next) {
            const WindowNode *node = &ws->nodes[at - 1];
            Window *w = &ws->window[node->window];
            WindowPage *page = find_page(w, node->linear);
            if (page->write) {
                page->write = false;
                mprotect(w->base + ((uint64_t)node->linear << RAM_PAGE_SHIFT), RAM_PAGE, PROT_READ);
            }
        }
    }
}
