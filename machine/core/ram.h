/* All memory of one machine that a processor can reach directly: system RAM, video RAM and ROMs.
 *
 * It is one memory file (memfd), cut into named blocks when the board is built, so that an engine
 * can map any page of it anywhere and a page has one number for life: its offset here, whatever
 * guest addresses it appears at.
 *
 * Each page has flags. While any is set, writers must not write behind ram's back: they write, then
 * call ram_written, which tells the engine of changed code and forgets the clean marks. Writing
 * needs no call where the flags are 0.
 */
#ifndef MACHINE_CORE_RAM_H
#define MACHINE_CORE_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/core/err.h"

#define RAM_PAGE 4096u
#define RAM_PAGE_SHIFT 12
#define RAM_LIMIT 0x100000000ull /* bytes in all blocks */

enum {
    RAM_CODE = 0x01,           /* an engine keeps code made from this page */
    RAM_CLEAN_DISPLAY = 0x02,  /* not written since the display last looked */
    RAM_CLEAN_SNAPSHOT = 0x04, /* not written since the snapshot began */
    RAM_TRANSLATED = 0x08,     /* as RAM_CODE, for an engine that keeps two kinds of code */
};

typedef struct RamBlock {
    const char *name;
    uint32_t at;   /* offset in Ram, page-aligned */
    uint32_t size; /* bytes, whole pages */
    struct RamBlock *next;
} RamBlock;

/* What an engine is told. Calls come on the machine's thread. */
typedef struct RamListener {
    void (*code_changed)(void *self, uint32_t at,
                         uint32_t length); /* after a write to RAM_CODE pages */
    void (*flags_set)(void *self, uint32_t first_page,
                      uint32_t pages); /* drop direct write access to them */
    void *self;
    /* after every write that is reported at all; NULL: nobody cares */
    void (*written)(void *self, uint32_t at, uint32_t length);
} RamListener;

/* Whoever still has some of the memory to bring: a snapshot that is being loaded. */
typedef struct RamSource {
    /* Returns when these pages are there. Machine's thread. */
    void (*bring)(void *self, uint32_t first_page, uint32_t pages);
    void *self;
} RamSource;

typedef struct Ram {
    int fd;           /* the memory file, RAM_LIMIT long and sparse */
    uint8_t *host;    /* the whole file, mapped shared */
    uint8_t *flags;   /* one byte a page; read-only outside ram.c */
    uint64_t used;    /* bytes given out to blocks */
    RamBlock *blocks; /* in order of offset */
    RamListener listener;
    RamSource source; /* bring NULL: all is there */
} Ram;

bool ram_open(Ram *ram, Err *err);
void ram_close(Ram *ram);
/* Gives out the next block, zeroed. size is rounded up to whole pages. NULL when there is no room.
 */
RamBlock *ram_add(Ram *ram, const char *name, uint64_t size, Err *err);

static inline uint8_t *ram_at(const Ram *ram, uint32_t at)
{
    return ram->host + at;
}

void ram_bring(Ram *ram, uint32_t at, uint64_t length);

/* Before memory is looked at or written, or a pointer to it kept: brings what is not there yet.
 * Machine's thread. */
static inline void ram_need(Ram *ram, uint32_t at, uint64_t length)
{
    if (__builtin_expect(ram->source.bring != NULL, 0)) {
        ram_bring(ram, at, length);
    }
}

/* After a write of `length` bytes to pages that had flags. */
void ram_written(Ram *ram, uint32_t at, uint32_t length);
/* Must a device that has written to this page call ram_written? */
static inline bool ram_watched(const Ram *ram, uint32_t page)
{
    return ram->flags[page] || ram->listener.written;
}
/* Sets a flag on pages (and tells the listener), or takes it off. */
void ram_flag_set(Ram *ram, uint32_t first_page, uint32_t pages, uint8_t flag);
void ram_flag_clear(Ram *ram, uint32_t first_page, uint32_t pages, uint8_t flag);

#endif
