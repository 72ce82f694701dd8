/* An address space: the I/O ports or the physical memory of one machine.
 *
 * Devices claim ranges; the bus finds the range of an access, splits what its owner cannot take in
 * one piece, and traces every access (`--log ports=trace`, `--log memory=trace`). Nobody at an
 * address: reads give all ones. Where ranges overlap, the higher level is seen, and among equals
 * the one claimed last. Machine's thread only.
 */
#ifndef MACHINE_CORE_BUS_H
#define MACHINE_CORE_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/core/ram.h"

typedef struct Bus Bus;
typedef struct IoRange IoRange;

typedef struct IoOps {
    /* offset counts from the range's base; bytes is 1, 2, 4 or 8 and within min_bytes..max_bytes;
     * the access never leaves the range. A read's bits above `bytes` are ignored. */
    uint64_t (*read)(void *self, uint32_t offset, unsigned bytes);
    void (*write)(void *self, uint32_t offset, uint64_t value, unsigned bytes);
    unsigned min_bytes,
        max_bytes; /* powers of two; a smaller access becomes a read of min_bytes that is cut, or a
                    * write of min_bytes with zeros; a larger or unaligned one is split */
} IoOps;

/* Runs, for a port through which software moves blocks: several equal accesses to one offset, one
 * behind the other, as a repeated string instruction makes them. The device takes as many, from the
 * first on, as do nothing but move data: none of them moves a line, arms a timer, changes the map,
 * touches memory, or ends anything. So nobody needs to look between two of them, and an access of
 * which something comes is always made by itself, through IoOps.
 *
 * The accesses are as IoOps takes them; data is packed, low byte first. Returns how many were made,
 * 0..count; 0: make the next one by itself. */
typedef struct IoRuns {
    uint32_t (*read)(void *self, uint32_t offset, unsigned bytes, void *data, uint32_t count);
    uint32_t (*write)(void *self, uint32_t offset, unsigned bytes, const void *data,
                      uint32_t count);
} IoRuns;

/* How a stretch of memory reads and writes, each side in its own place: ROM, RAM, or PAM's
 * mixtures. */
typedef struct RamView {
    bool readable,
        writable; /* not writable: writes are ignored; not readable: reads give all ones */
    uint32_t read_at, write_at; /* offsets in Ram */
} RamView;

/* What a page of the memory bus is, for an engine's own look-ups. */
typedef struct BusPage {
    bool ram;     /* the whole page is one stretch of memory; else use bus_read and bus_write */
    RamView view; /* offsets of the page's first byte */
} BusPage;

/* limit: how many addresses there are (65536 ports, or 1 << 36 bytes); ram: NULL for ports. */
Bus *bus_new(const char *name, uint64_t limit, Ram *ram);
void bus_free(Bus *bus);

/* len > 0 and base + len <= limit. `what` names the range in logs and in `info mtree`. The range
 * starts enabled. */
IoRange *bus_claim(Bus *bus, uint64_t base, uint64_t len, const IoOps *ops, void *self,
                   const char *what);
IoRange *bus_claim_ram(Bus *bus, uint64_t base, uint64_t len, const RamView *view,
                       const char *what);
/* Starts disabled: for BARs and windows that a register opens. */
IoRange *bus_claim_off(Bus *bus, uint64_t len, const IoOps *ops, void *self, const char *what);
void bus_release(IoRange *r);
/* BARs, PAM, relocations. A range that would not fit below the limit is treated as disabled. */
void bus_move(IoRange *r, uint64_t base, bool enabled);
void bus_set_view(IoRange *r, const RamView *view);
void bus_set_level(IoRange *r, int level);
/* Says that the range's device takes runs. */
void bus_set_runs(IoRange *r, const IoRuns *runs);

/* bytes is 1, 2, 4 or 8; any alignment. */
uint64_t bus_read(Bus *bus, uint64_t addr, unsigned bytes);
void bus_write(Bus *bus, uint64_t addr, uint64_t value, unsigned bytes);
/* As many of `count` equal accesses to one address as its device takes as a run: how many they
 * were, with the effect of that many bus_read or bus_write. 0, without effect: there is no run now,
 * or each access is to be traced. */
uint32_t bus_read_run(Bus *bus, uint64_t addr, unsigned bytes, void *data, uint32_t count);
uint32_t bus_write_run(Bus *bus, uint64_t addr, unsigned bytes, const void *data, uint32_t count);
/* How often devices' handlers have been called; each access of a run counts. */
uint64_t bus_accesses(const Bus *bus);
/* A bus master's transfer. False when some of it met no memory (those bytes read as ones). */
bool bus_dma(Bus *bus, uint64_t addr, void *buf, size_t len, bool to_guest);

/* A visible stretch of addresses that one range answers. */
typedef struct BusStretch {
    uint64_t base, end; /* end is exclusive */
    bool ram;
    RamView view; /* of `base`, when it is memory */
} BusStretch;
/* The first stretch that ends above `from`; false: there is none. For engines that map memory. */
bool bus_stretch(Bus *bus, uint64_t from, BusStretch *out);
/* The page that holds addr. */
BusPage bus_page(Bus *bus, uint64_t addr);
/* Calls changed(self) after every change of the map. One listener. */
void bus_listen(Bus *bus, void (*changed)(void *self), void *self);
/* Calls line(self, text) for each visible stretch, low to high: "00000000000a0000-00000000000bffff
 * vga". */
void bus_describe(Bus *bus, void (*line)(void *self, const char *text), void *self);

#endif
