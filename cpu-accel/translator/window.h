/* Windows: the guest's linear address space mirrored in 4 GiB of the host's, by the host's own page
 * tables.
 *
 * A window shows guest pages as a TLB of unlimited size would hold them: a page is mapped at its
 * first use, with the rights it had then, and stays until the guest does what makes a TLB forget
 * it. There is one window for each view: the supervisor's, and one for each page directory's user
 * pages, so changing between them is one register. Address spaces that have not earned one share
 * the page array.
 */
#ifndef CPU_ACCEL_TRANSLATOR_WINDOW_H
#define CPU_ACCEL_TRANSLATOR_WINDOW_H

#include "cpu-accel/translator/array.h"
#include "cpu-accel/x86/cpu.h"

#include <stddef.h>

enum {
    WINDOW_SUPERVISOR, /* while paging is on */
    WINDOW_PHYSICAL,   /* while it is off */
    WINDOW_USERS,      /* the first of them */
    WINDOW_COUNT = 48,
    WINDOW_ARRAY = WINDOW_COUNT,
    ACCOUNTS = 256,
    ACCOUNT_TAGS = 64
};
#define WINDOW_SPAN (UINT64_C(1) << 32)
#define WINDOW_STEP (UINT64_C(2) << 32) /* what lies between two windows is never mapped */

/* So far below each window 64 KiB of zeros can be read, for checks of limits (limits.c). */
enum { WINDOW_LIMIT_BELOW = 1 << 20, WINDOW_LIMIT = 1 << 16 };

/* A page that a window shows. */
typedef struct WindowPage {
    uint32_t linear; /* page number */
    uint32_t ram;    /* Ram page number */
    bool write;      /* mapped writable */
    bool dirty;      /* may be mapped writable without asking the page tables again */
    bool global;
    bool large; /* a piece of a large page: they are forgotten together */
    bool alone; /* a host mapping of its own; else one of several that were mapped at once */
} WindowPage;

typedef struct Window {
    uint8_t *base; /* guest linear address 0 */
    bool used, user;
    bool array; /* no window at all: code in it goes by the page array */
    bool stale; /* the guest has loaded CR3 since its pages were last compared */
    bool stale_globals;
    uint32_t cr3;    /* user windows: whose pages */
    uint32_t *guard; /* by linear page: Ram page + 1 from which code may be run there, else 0 */
    uint32_t *place; /* by linear page: index + 1 in pages, else 0 */
    WindowPage *pages;
    uint64_t *changed; /* the supervisor's, a bit a linear page: it has shown different pages */
    unsigned count, room;
    unsigned locals; /* pages[0 .. locals) are not global */
    unsigned pieces; /* host mappings at most */
    bool large;      /* some page is */
    uint64_t last_use;
} Window;

/* What an address space would gain by a window, in cycles of the host's counter: time in its code
 * counts for it, pages that would have to be mapped anew count against it. */
typedef struct Account {
    uint32_t cr3;
    bool windowed;
    int64_t balance;
    uint32_t tag[ACCOUNT_TAGS]; /* by linear page: what it was translated to when entered last */
} Account;

/* Which windows show a Ram page. */
typedef struct WindowNode {
    uint32_t linear; /* page number */
    uint32_t next;   /* index + 1 in nodes */
    uint8_t window;
} WindowNode;

typedef struct Windows {
    Cpu *cpu;
    uint8_t *hole;                   /* the address space that the windows lie in */
    Window window[WINDOW_COUNT + 1]; /* by WINDOW_*; the last is the page array's */
    Array array;
    Account account[ACCOUNTS]; /* by a hash of CR3 */
    bool always, never;        /* give windows to user code: for tests */
    uint64_t tick;
    unsigned pieces;  /* host mappings at most, of all windows */
    unsigned recent;  /* the user window chosen last */
    uint32_t *by_ram; /* by Ram page: index + 1 in nodes */
    WindowNode *nodes;
    unsigned node_count, node_room;
    uint32_t free_node; /* index + 1 */
    /* told when code of this Ram page may no longer be run at this linear page of a window */
    void (*code_gone)(void *self, Window *w, uint32_t linear, uint32_t ram);
    /* the same at no page of it */
    void (*all_gone)(void *self, Window *w);
    void *self;
} Windows;

bool windows_open(Windows *ws, Cpu *cpu, Err *err);
void windows_close(Windows *ws);
/* The window for the processor's state, revalidated if the guest has loaded CR3 since. array: code
 * of this mode can do without. */
Window *window_choose(Windows *ws, bool array);
/* Host address in some window? Then which, and the linear address. */
Window *window_of(Windows *ws, const void *host, uint32_t *linear);
/* Maps the page for an access that missed. False: this access cannot be made directly. */
bool window_fill(Windows *ws, Window *w, uint32_t linear, bool write);
/* An access that could not be made directly: because the guest's page tables do not permit it now?
 */
bool window_forbids(const Windows *ws, const Window *w, uint32_t linear, bool write);
/* Notes that code from `ram_page` runs at this linear page (and keeps watch over its translation).
 * False: it cannot be kept watch over. */
bool window_guard(Windows *ws, Window *w, uint32_t linear, uint32_t ram_page);
/* Is this a page of the supervisor's window that goes with the address space? Code that accesses
 * many such does better without the window. */
bool window_changes(const Window *w, uint32_t linear);
/* Enters the page of an access that the processor has just made into the page array. */
void window_array_fill(Windows *ws, uint32_t linear);
/* Code of this window has run so long, in cycles of the host's counter. */
void window_ran(Windows *ws, const Window *w, uint64_t cycles);
/* As a TLB forgets: after a CR3 load, or after what spares no global page. */
void windows_flush(Windows *ws, bool globals_too);
/* All of them show nothing: the physical memory map has changed. */
void windows_drop(Windows *ws);
/* The A20 gate was moved: besides a flush. */
void windows_a20(Windows *ws);
void windows_flush_page(Windows *ws, uint32_t linear);
/* Pages of Ram got flags: no direct writes to them. */
void windows_protect(Windows *ws, uint32_t first_page, uint32_t pages);

#endif
