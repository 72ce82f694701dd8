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
    MAP_LIMIT = 40000, /* pieces in all windows: the host allows about 65000 mappings */
    LARGE_PAGES = 1024,
    BATCH = 64, /* pages mapped at once where they are known to belong together */
    /* in cycles of the host's counter, some 3000 a microsecond: */
    MAP_COST = 24000, /* a signal, a mapping and a host fault, and as much again by and by */
    DROP_COST = 6000,
    ACCOUNT_LOW = -6000000,
    ACCOUNT_HIGH = 9000000,
    EARNED = 1500000, /* a window is due */
};

static void *sparse(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Finds address space far from where the host puts its own mappings, at a multiple of 4 GiB and
 * with as much unused below the first window: string instructions count on both. A page mapped
 * behind it claims it. */
static bool find_hole(Windows *ws, Err *err)
{
    const uint64_t first = UINT64_C(0x200000000000);
    const uint64_t span = WINDOW_SPAN + WINDOW_COUNT * WINDOW_STEP;
    for (unsigned i = 0; i < 64; i++) {
        uint8_t *hole = (uint8_t *)(uintptr_t)(first + i * span); // NOLINT: an address is chosen
        void *claim =
            mmap(hole, span, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
        if (claim == hole) {
            munmap(hole, span - RAM_PAGE);
            ws->hole = hole + WINDOW_SPAN;
            return true;
        }
        if (claim != MAP_FAILED) {
            munmap(claim, span);
        }
    }
    return err_set(err, "translator: no address space for guest memory; use -accel interpreter");
}

/* The host's page of zeros, to be read where checks of 64 KiB segments look. */
static bool limit_below(uint8_t *base)
{
    return mmap(base - WINDOW_LIMIT_BELOW, WINDOW_LIMIT, PROT_READ,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static bool window_open(Windows *ws, unsigned i)
{
    Window *w = &ws->window[i];
    if (!w->place) {
        w->base = ws->hole + i * WINDOW_STEP;
        w->guard = sparse(LINEAR_PAGES * sizeof(*w->guard));
        w->place = sparse(LINEAR_PAGES * sizeof(*w->place));
        if (!w->guard || !w->place || !limit_below(w->base)) {
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
    ws->window[WINDOW_SUPERVISOR].changed = calloc(LINEAR_PAGES / 64, sizeof(uint64_t));
    if (!ws->by_ram || !ws->window[WINDOW_SUPERVISOR].changed ||
        !window_open(ws, WINDOW_SUPERVISOR) || !window_open(ws, WINDOW_PHYSICAL) ||
        !array_open(&ws->array)) {
        return err_set(err, "out of memory");
    }
    ws->window[WINDOW_ARRAY] =
        (Window){.used = true, .user = true, .array = true, .guard = ws->array.guard};
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

static void move_page(Window *w, unsigned from, unsigned to)
{
    if (from != to) {
        w->pages[to] = w->pages[from];
        w->place[w->pages[to].linear] = to + 1;
    }
}

/* The host's count of mappings may have grown by that many. */
static void note_pieces(Windows *ws, Window *w, int more)
{
    w->pieces += (unsigned)more;
    ws->pieces += (unsigned)more;
}

/* What cuts a page out of its host mapping. */
static void cut_out(Windows *ws, Window *w, WindowPage *page)
{
    if (!page->alone) {
        note_pieces(ws, w, 2);
        page->alone = true;
    }
}

/* Adds a page; there is room. */
static void add_page(Window *w, const WindowPage *page)
{
    unsigned at = w->count++;
    if (!page->global) { /* the first global page makes room */
        move_page(w, w->locals, at);
        at = w->locals++;
    }
    w->pages[at] = *page;
    w->place[page->linear] = at + 1;
    w->large |= page->large;
}

/* Forgets a page without unmapping it. */
static void forget(Windows *ws, Window *w, WindowPage *page)
{
    uint32_t linear = page->linear;
    node_remove(ws, (unsigned)(w - ws->window), linear, page->ram);
    w->place[linear] = 0;
    if (w->guard[linear]) {
        w->guard[linear] = 0;
        ws->code_gone(ws->self, w, linear, page->ram);
    }
    unsigned at = (unsigned)(page - w->pages);
    if (at < w->locals) {
        move_page(w, --w->locals, at);
        at = w->locals;
    }
    move_page(w, --w->count, at);
}

static void drop_all(Windows *ws, Window *w);

static void drop(Windows *ws, Window *w, WindowPage *page)
{
    if (munmap(w->base + ((uint64_t)page->linear << RAM_PAGE_SHIFT), RAM_PAGE) < 0) {
        drop_all(ws, w); /* it would have split a mapping, and there are too many */
        return;
    }
    cut_out(ws, w, page);
    note_pieces(ws, w, -1);
    forget(ws, w, page);
}

static void drop_all(Windows *ws, Window *w)
{
    if (w->count) {
        munmap(w->base, WINDOW_SPAN);
        ws->all_gone(ws->self, w);
        while (w->count) {
            WindowPage *last = &w->pages[w->count - 1];
            w->guard[last->linear] = 0; /* told already */
            forget(ws, w, last);
        }
    }
    ws->pieces -= w->pieces;
    w->pieces = 0;
    w->large = false;
    w->stale = w->stale_globals = false;
}

void windows_close(Windows *ws)
{
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        Window *w = &ws->window[i];
        if (w->place) {
            munmap(w->base, WINDOW_SPAN);
            munmap(w->base - WINDOW_LIMIT_BELOW, WINDOW_LIMIT);
            munmap(w->place, LINEAR_PAGES * sizeof(*w->place));
            munmap(w->guard, LINEAR_PAGES * sizeof(*w->guard));
        }
        free(w->pages);
    }
    if (ws->by_ram) {
        munmap(ws->by_ram, (RAM_LIMIT >> RAM_PAGE_SHIFT) * sizeof(*ws->by_ram));
    }
    if (ws->hole) {
        munmap(ws->hole + WINDOW_COUNT * WINDOW_STEP - RAM_PAGE, RAM_PAGE);
    }
    array_close(&ws->array);
    free(ws->window[WINDOW_SUPERVISOR].changed);
    free(ws->nodes);
    memset(ws, 0, sizeof(*ws));
}

static Account *account(Windows *ws, uint32_t cr3)
{
    Account *a = &ws->account[(cr3 >> 12 ^ cr3 >> 20 ^ cr3 >> 5) % ACCOUNTS];
    if (a->cr3 != cr3) {
        *a = (Account){.cr3 = cr3};
    }
    return a;
}

static void credit(Account *a, int64_t cycles)
{
    int64_t balance = a->balance + cycles;
    a->balance = balance < ACCOUNT_LOW    ? ACCOUNT_LOW
                 : balance > ACCOUNT_HIGH ? ACCOUNT_HIGH
                                          : balance;
}

/* How what the window shows compares with what the page tables say now. */
typedef enum Still { STILL_SO, STILL_READABLE, STILL_NOT } Still;

static Still still_so(const Windows *ws, const Window *w, const WindowPage *page)
{
    MmuPeek peek;
    if (!mmu_peek(ws->cpu, page->linear << RAM_PAGE_SHIFT, &peek) || !peek.accessed ||
        (w->user && !peek.user)) {
        return STILL_NOT;
    }
    BusPage at = bus_page(ws->cpu->board->memory, peek.physical);
    if (!at.ram || !at.view.readable || at.view.read_at >> RAM_PAGE_SHIFT != page->ram) {
        return STILL_NOT;
    }
    return page->dirty && (!peek.dirty || !peek.writable) ? STILL_READABLE : STILL_SO;
}

/* Takes from a page what the tables no longer give. */
static void adjust(Windows *ws, Window *w, WindowPage *page, Still still)
{
    bool shut = still == STILL_READABLE && page->write;
    page->dirty &= still != STILL_READABLE;
    if (shut) {
        cut_out(ws, w, page);
        page->write = false;
        shut =
            mprotect(w->base + ((uint64_t)page->linear << RAM_PAGE_SHIFT), RAM_PAGE, PROT_READ) < 0;
    }
    if (shut || still == STILL_NOT) {
        if (w->changed) {
            w->changed[page->linear / 64] |= UINT64_C(1) << page->linear % 64;
        }
        drop(ws, w, page);
        if (w->user) {
            credit(account(ws, w->cr3), -DROP_COST);
        }
    }
}

/* Does the directory belong to another process now? Then most of what is shown is wrong. */
static bool replaced(Windows *ws, Window *w)
{
    unsigned wrong = 0;
    for (unsigned i = 0; w->user && i < w->count; i++) {
        wrong += still_so(ws, w, &w->pages[i]) == STILL_NOT;
    }
    return wrong > 8 && wrong > w->count / 2;
}

static void revalidate(Windows *ws, Window *w)
{
    if (replaced(ws, w)) {
        drop_all(ws, w);
        *account(ws, w->cr3) = (Account){.cr3 = w->cr3};
        return;
    }
    unsigned end = w->user || w->stale_globals ? w->count : w->locals;
    for (unsigned i = end; i-- > 0;) { /* what takes a dropped one's place comes from behind it */
        Still still = i < w->count ? still_so(ws, w, &w->pages[i]) : STILL_SO;
        if (still != STILL_SO) {
            adjust(ws, w, &w->pages[i], still);
        }
    }
    w->stale = w->stale_globals = false;
}

/* Does what makes a TLB forget concern this window? */
static bool concerned(const Windows *ws, const Window *w)
{
    unsigned i = (unsigned)(w - ws->window);
    return w->used && i != WINDOW_PHYSICAL && (i == WINDOW_SUPERVISOR || w->cr3 == ws->cpu->cr3);
}

static Window *user_window(Windows *ws, uint32_t cr3)
{
    Window *oldest = NULL, *last = &ws->window[ws->recent];
    if (last->used && last->user && last->cr3 == cr3) {
        return last;
    }
    for (unsigned i = WINDOW_USERS; i < WINDOW_COUNT; i++) {
        Window *w = &ws->window[i];
        if (w->used && w->cr3 == cr3) {
            ws->recent = i;
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
    ws->recent = (unsigned)(oldest - ws->window);
    return oldest;
}

/* --- who gets a window --- */

void window_ran(Windows *ws, const Window *w, uint64_t cycles)
{
    if (w->user && cycles < ACCOUNT_HIGH) { /* else this thread has waited on the way */
        credit(account(ws, ws->cpu->cr3), (int64_t)cycles / 2);
    }
}

void window_array_fill(Windows *ws, uint32_t linear)
{
    uint32_t number = linear >> RAM_PAGE_SHIFT;
    uint32_t ram = array_fill(&ws->array, ws->cpu, linear);
    Account *a = account(ws, ws->cpu->cr3);
    uint32_t *tag = &a->tag[(number ^ number >> 6) % ACCOUNT_TAGS];
    uint32_t now = ram * 0x9e3779b1u + number + 1;
    if (ram && *tag != now) { /* what a window would have to map, too */
        *tag = now;
        credit(a, -MAP_COST);
    }
}

/* Has the current user space a window, or has it earned one? */
static bool earned(Windows *ws)
{
    Account *a = account(ws, ws->cpu->cr3);
    if (a->windowed ? a->balance <= ACCOUNT_LOW / 2 : a->balance >= EARNED) {
        a->windowed = !a->windowed;
        a->balance = 0;
    }
    return (a->windowed || ws->always) && !ws->never;
}

Window *window_choose(Windows *ws, bool array)
{
    Cpu *cpu = ws->cpu;
    bool user = cpu->cpl == 3 && cpu->cr0 & CR0_PG;
    if (user && array && !earned(ws)) {
        return &ws->window[WINDOW_ARRAY];
    }
    for (unsigned i = WINDOW_COUNT; ws->pieces > MAP_LIMIT && i-- > 0;) {
        drop_all(ws, &ws->window[i]); /* users' first: theirs are many and small */
    }
    unsigned shared = cpu->cr0 & CR0_PG ? WINDOW_SUPERVISOR : WINDOW_PHYSICAL;
    Window *w = user ? user_window(ws, cpu->cr3) : &ws->window[shared];
    if (w && w->stale) {
        revalidate(ws, w);
        if (user && array && !earned(ws)) { /* another process has its directory now */
            return &ws->window[WINDOW_ARRAY];
        }
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
    ram_need(ws->cpu->ram, ram << RAM_PAGE_SHIFT, (uint64_t)count << RAM_PAGE_SHIFT);
    void *place = w->base + ((uint64_t)linear << RAM_PAGE_SHIFT);
    if (mmap(place, (size_t)count << RAM_PAGE_SHIFT, PROT_READ | (like->write ? PROT_WRITE : 0),
             MAP_SHARED | MAP_FIXED, ws->cpu->ram->fd,
             (off_t)ram << RAM_PAGE_SHIFT) == MAP_FAILED) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        WindowPage page = *like;
        page.alone = count == 1;
        page.linear = linear + i;
        page.ram = ram + i;
        add_page(w, &page);
        node_add(ws, (unsigned)(w - ws->window), linear + i, ram + i);
    }
    note_pieces(ws, w, 1);
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

bool window_changes(const Window *w, uint32_t linear)
{
    uint32_t page = linear >> RAM_PAGE_SHIFT;
    return w->changed && w->changed[page / 64] >> page % 64 & 1;
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
        .write = dirty && !cpu->ram->flags[ram],
        .dirty = dirty,
        .global = at.rights & TLB_GLOBAL,
        .large = at.rights & TLB_LARGE,
    };
    WindowPage *old = find_page(w, number);
    if (old && old->ram == ram && old->global == like.global) {
        old->dirty = dirty;
        if (old->write == like.write) {
            return true; /* the host's own first touch, or a change on the way */
        }
        old->write = like.write;
        cut_out(ws, w, old);
        if (mprotect(w->base + ((uint64_t)number << RAM_PAGE_SHIFT), RAM_PAGE,
                     PROT_READ | (like.write ? PROT_WRITE : 0)) == 0) {
            return true;
        }
        drop_all(ws, w);
        return window_fill(ws, w, linear, write);
    }
    if (old) {
        drop(ws, w, old);
    }
    if (w->user) {
        credit(account(ws, w->cr3), -MAP_COST);
    }
    unsigned count = both ? run_length(ws, w, number, at.physical, ram, at.rights & TLB_LARGE) : 1;
    return show(ws, w, number, ram, count, &like);
}

bool window_forbids(const Windows *ws, const Window *w, uint32_t linear, bool write)
{
    MmuPeek peek;
    return !mmu_peek(ws->cpu, linear, &peek) || (w->user && !peek.user) ||
           (write && !peek.writable);
}

bool window_guard(Windows *ws, Window *w, uint32_t linear, uint32_t ram_page)
{
    uint32_t number = linear >> RAM_PAGE_SHIFT;
    if (w->array) {
        array_guard(&ws->array, linear, ram_page);
        return true;
    }
    WindowPage *page = find_page(w, number);
    if (!page || page->ram != ram_page) {
        page = window_fill(ws, w, linear, false) ? find_page(w, number) : NULL;
    }
    if (!page || page->ram != ram_page) {
        return false;
    }
    w->guard[number] = ram_page + 1;
    return true;
}

void windows_flush(Windows *ws, bool globals_too)
{
    array_flush(&ws->array);
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        Window *w = &ws->window[i];
        if (concerned(ws, w) || (w->used && globals_too && i != WINDOW_PHYSICAL)) {
            w->stale = true;
            w->stale_globals |= globals_too;
        }
    }
}

void windows_a20(Windows *ws)
{
    const uint32_t gate = 1u << (20 - RAM_PAGE_SHIFT);
    Window *physical = &ws->window[WINDOW_PHYSICAL];
    for (unsigned i = physical->count; i-- > 0;) {
        if (i < physical->count && physical->pages[i].linear & gate) {
            drop(ws, physical, &physical->pages[i]);
        }
    }
}

void windows_drop(Windows *ws)
{
    array_flush(&ws->array);
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        drop_all(ws, &ws->window[i]);
    }
}

void windows_flush_page(Windows *ws, uint32_t linear)
{
    array_flush_page(&ws->array, linear);
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        Window *w = &ws->window[i];
        if (!concerned(ws, w)) {
            continue;
        }
        uint32_t first = linear >> RAM_PAGE_SHIFT, count = 1;
        if (w->large) { /* pieces of a large page go together; 4 MiB covers both sizes */
            first &= ~(uint32_t)(LARGE_PAGES - 1);
            count = LARGE_PAGES;
        }
        for (uint32_t number = first; number < first + count; number++) {
            WindowPage *page = find_page(w, number);
            bool meant = page && (page->large || number == linear >> RAM_PAGE_SHIFT);
            Still still = meant ? still_so(ws, w, page) : STILL_SO;
            if (still != STILL_SO) {
                adjust(ws, w, page, still);
            }
        }
    }
}

/* A run of pages in one window that lose write access together. */
typedef struct Shut {
    Window *w;
    uint32_t linear, count;
    bool cuts; /* some of them are pieces of a larger mapping */
} Shut;

static bool shut(Windows *ws, const Shut *run)
{
    if (run->count == 0) {
        return true;
    }
    note_pieces(ws, run->w, run->cuts ? 2 : 0);
    return mprotect(run->w->base + ((uint64_t)run->linear << RAM_PAGE_SHIFT),
                    (size_t)run->count << RAM_PAGE_SHIFT, PROT_READ) == 0;
}

void windows_protect(Windows *ws, uint32_t first_page, uint32_t pages)
{
    Shut run = {0};
    bool done = true;
    array_protect(&ws->array, first_page, pages);
    for (uint32_t ram = first_page; ram - first_page < pages; ram++) {
        for (uint32_t at = ws->by_ram[ram]; at; at = ws->nodes[at - 1].next) {
            const WindowNode *node = &ws->nodes[at - 1];
            Window *w = &ws->window[node->window];
            WindowPage *page = find_page(w, node->linear);
            if (!page->write) {
                continue;
            }
            page->write = false;
            if (run.count == 0 || w != run.w || node->linear != run.linear + run.count) {
                done &= shut(ws, &run);
                run = (Shut){w, node->linear, 0, false};
            }
            run.cuts |= !page->alone;
            run.count++;
        }
    }
    if (!shut(ws, &run) || !done) { /* too many mappings */
        windows_drop(ws);
    }
}
