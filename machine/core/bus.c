/* Address spaces: claims, the flat map made from them, split and traced accesses. */
#include "machine/core/bus.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

struct IoRange {
    Bus *bus;
    IoRange *next; /* in order of claiming */
    const char *what;
    const IoOps *ops;   /* NULL: memory */
    const IoRuns *runs; /* NULL: none */
    void *self;
    RamView view;
    uint64_t base, len;
    int level;
    bool enabled;
};

typedef struct Segment {
    uint64_t base, end; /* end is exclusive */
    IoRange *range;
} Segment;

struct Bus {
    LogTag tag;
    uint64_t limit;
    Ram *ram;
    IoRange *ranges;
    Segment *segments; /* the visible map, low to high, without overlaps */
    size_t count, room;
    size_t last;       /* where the last access hit */
    uint64_t accesses; /* calls of devices' handlers */
    void (*changed)(void *self);
    void *changed_self;
};

Bus *bus_new(const char *name, uint64_t limit, Ram *ram)
{
    Bus *bus = calloc(1, sizeof(*bus));
    if (bus) {
        bus->tag.name = name;
        bus->limit = limit;
        bus->ram = ram;
    }
    return bus;
}

void bus_free(Bus *bus)
{
    if (bus) {
        while (bus->ranges) {
            IoRange *r = bus->ranges;
            bus->ranges = r->next;
            free(r);
        }
        free(bus->segments);
        free(bus);
    }
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool visible(const IoRange *r)
{
    return r->enabled && r->base < r->bus->limit && r->len <= r->bus->limit - r->base;
}

/* Cuts the address space at every edge of a range, and gives each piece to the range on top of it.
 */
static void rebuild(Bus *bus)
{
    size_t edges_count = 0, ranges = 0;
    for (IoRange *r = bus->ranges; r; r = r->next) {
        ranges++;
    }
    uint64_t *edges = malloc((2 * ranges + 1) * sizeof(*edges));
    assert(edges);
    for (IoRange *r = bus->ranges; r; r = r->next) {
        if (visible(r)) {
            edges[edges_count++] = r->base;
            edges[edges_count++] = r->base + r->len;
        }
    }
    qsort(edges, edges_count, sizeof(*edges), compare_u64);
    if (bus->room < edges_count) {
        bus->segments = realloc(bus->segments, edges_count * sizeof(*bus->segments));
        assert(bus->segments);
        bus->room = edges_count;
    }
    bus->count = 0;
    bus->last = 0;
    for (size_t i = 0; i + 1 < edges_count; i++) {
        if (edges[i] == edges[i + 1]) {
            continue;
        }
        IoRange *top = NULL;
        for (IoRange *r = bus->ranges; r; r = r->next) {
            if (visible(r) && r->base <= edges[i] && edges[i] < r->base + r->len &&
                (!top || r->level >= top->level)) {
                top = r;
            }
        }
        if (!top) {
            continue;
        }
        Segment *before = bus->count ? &bus->segments[bus->count - 1] : NULL;
        if (before && before->range == top && before->end == edges[i]) {
            before->end = edges[i + 1];
        } else {
            bus->segments[bus->count++] = (Segment){edges[i], edges[i + 1], top};
        }
    }
    free(edges);
    if (bus->changed) {
        bus->changed(bus->changed_self);
    }
}

static IoRange *claim(Bus *bus, IoRange fresh)
{
    assert(fresh.len > 0);
    IoRange *r = malloc(sizeof(*r));
    assert(r);
    *r = fresh;
    r->bus = bus;
    IoRange **last = &bus->ranges;
    while (*last) {
        last = &(*last)->next;
    }
    *last = r;
    if (r->enabled) {
        rebuild(bus);
    }
    return r;
}

IoRange *bus_claim(Bus *bus, uint64_t base, uint64_t len, const IoOps *ops, void *self,
                   const char *what)
{
    return claim(
        bus,
        (IoRange){
            .what = what, .ops = ops, .self = self, .base = base, .len = len, .enabled = true});
}

IoRange *bus_claim_ram(Bus *bus, uint64_t base, uint64_t len, const RamView *view, const char *what)
{
    return claim(bus,
                 (IoRange){.what = what, .view = *view, .base = base, .len = len, .enabled = true});
}

IoRange *bus_claim_off(Bus *bus, uint64_t len, const IoOps *ops, void *self, const char *what)
{
    return claim(bus, (IoRange){.what = what, .ops = ops, .self = self, .len = len});
}

void bus_release(IoRange *r)
{
    if (r) {
        Bus *bus = r->bus;
        IoRange **at = &bus->ranges;
        while (*at != r) {
            at = &(*at)->next;
        }
        *at = r->next;
        free(r);
        rebuild(bus);
    }
}

void bus_move(IoRange *r, uint64_t base, bool enabled)
{
    if (r->enabled == enabled && (r->base == base || !enabled)) {
        r->base = base;
        return;
    }
    r->base = base;
    r->enabled = enabled;
    rebuild(r->bus);
}

void bus_set_view(IoRange *r, const RamView *view)
{
    r->view = *view;
    rebuild(r->bus);
}

void bus_set_level(IoRange *r, int level)
{
    r->level = level;
    rebuild(r->bus);
}

void bus_set_runs(IoRange *r, const IoRuns *runs)
{
    r->runs = runs;
}

void bus_listen(Bus *bus, void (*changed)(void *self), void *self)
{
    bus->changed = changed;
    bus->changed_self = self;
}

static const Segment *find(Bus *bus, uint64_t addr)
{
    if (bus->last < bus->count) {
        const Segment *s = &bus->segments[bus->last];
        if (addr >= s->base && addr < s->end) {
            return s;
        }
    }
    size_t low = 0, high = bus->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const Segment *s = &bus->segments[middle];
        if (addr < s->base) {
            high = middle;
        } else if (addr >= s->end) {
            low = middle + 1;
        } else {
            bus->last = middle;
            return s;
        }
    }
    return NULL;
}

static uint64_t mask_of(unsigned bytes)
{
    return bytes >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * bytes)) - 1;
}

static uint64_t memory_load(const uint8_t *p, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)p[i] << (8 * i);
    }
    return value;
}

static void memory_store(Bus *bus, uint32_t at, const uint8_t *data, uint32_t len)
{
    ram_need(bus->ram, at, len);
    memcpy(ram_at(bus->ram, at), data, len);
    ram_written(bus->ram, at, len);
}

/* The largest piece, starting at offset, that the range takes in one access. */
static unsigned piece(const IoOps *ops, uint64_t offset, unsigned bytes)
{
    unsigned size = ops->max_bytes;
    while (size > ops->min_bytes && (size > bytes || (offset & (size - 1)) != 0)) {
        size >>= 1;
    }
    return size;
}

/* Reads what of [addr, addr + bytes) lies in the segment; *done says how much that was. */
static uint64_t segment_read(Bus *bus, const Segment *s, uint64_t addr, unsigned bytes,
                             unsigned *done)
{
    const IoRange *r = s->range;
    uint64_t offset = addr - r->base;
    unsigned within = s->end - addr < bytes ? (unsigned)(s->end - addr) : bytes;
    if (!r->ops) {
        *done = within;
        if (!r->view.readable) {
            return mask_of(within);
        }
        ram_need(bus->ram, (uint32_t)(r->view.read_at + offset), within);
        return memory_load(ram_at(bus->ram, (uint32_t)(r->view.read_at + offset)), within);
    }
    unsigned size = piece(r->ops, offset, within);
    unsigned skip = (unsigned)(offset & (size - 1));
    bus->accesses++;
    if (size <= within && skip == 0) {
        *done = size;
        return r->ops->read(r->self, (uint32_t)offset, size) & mask_of(size);
    }
    /* smaller than, or across, the smallest access: read the whole unit and cut */
    *done = size - skip < within ? size - skip : within;
    uint64_t value = r->ops->read(r->self, (uint32_t)(offset - skip), size);
    return value >> (8 * skip) & mask_of(*done);
}

static void segment_write(Bus *bus, const Segment *s, uint64_t addr, uint64_t value, unsigned bytes,
                          unsigned *done)
{
    const IoRange *r = s->range;
    uint64_t offset = addr - r->base;
    unsigned within = s->end - addr < bytes ? (unsigned)(s->end - addr) : bytes;
    if (!r->ops) {
        *done = within;
        if (r->view.writable) {
            uint8_t data[8];
            for (unsigned i = 0; i < within; i++) {
                data[i] = (uint8_t)(value >> (8 * i));
            }
            memory_store(bus, (uint32_t)(r->view.write_at + offset), data, within);
        }
        return;
    }
    unsigned size = piece(r->ops, offset, within);
    unsigned skip = (unsigned)(offset & (size - 1));
    *done = size - skip < within ? size - skip : within;
    bus->accesses++;
    r->ops->write(r->self, (uint32_t)(offset - skip), (value & mask_of(*done)) << (8 * skip), size);
}

uint64_t bus_accesses(const Bus *bus)
{
    return bus->accesses;
}

uint64_t bus_read(Bus *bus, uint64_t addr, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned at = 0; at < bytes;) {
        const Segment *s = find(bus, addr + at);
        unsigned done = 1;
        uint64_t part = 0xff;
        if (s) {
            part = segment_read(bus, s, addr + at, bytes - at, &done);
        }
        value |= part << (8 * at);
        at += done;
    }
    if (log_wanted(&bus->tag, LOG_TRACE)) {
        const Segment *s = find(bus, addr);
        log_line(&bus->tag, LOG_TRACE, NULL, "read%u 0x%" PRIx64 " -> 0x%" PRIx64 " %s", bytes * 8,
                 addr, value, s ? s->range->what : "(nobody)");
    }
    return value;
}

void bus_write(Bus *bus, uint64_t addr, uint64_t value, unsigned bytes)
{
    if (log_wanted(&bus->tag, LOG_TRACE)) {
        const Segment *s = find(bus, addr);
        log_line(&bus->tag, LOG_TRACE, NULL, "write%u 0x%" PRIx64 " <- 0x%" PRIx64 " %s", bytes * 8,
                 addr, value & mask_of(bytes), s ? s->range->what : "(nobody)");
    }
    for (unsigned at = 0; at < bytes;) {
        const Segment *s = find(bus, addr + at);
        unsigned done = 1;
        if (s) {
            segment_write(bus, s, addr + at, value >> (8 * at), bytes - at, &done);
        }
        at += done;
    }
}

/* The range to which an access at addr goes in one piece, if it takes runs and nobody listens. */
static const IoRange *find_runs(Bus *bus, uint64_t addr, unsigned bytes)
{
    const Segment *s = find(bus, addr);
    if (!s || !s->range->runs || s->end - addr < bytes || log_wanted(&bus->tag, LOG_TRACE)) {
        return NULL;
    }
    uint64_t offset = addr - s->range->base;
    bool whole = piece(s->range->ops, offset, bytes) == bytes && (offset & (bytes - 1)) == 0;
    return whole ? s->range : NULL;
}

uint32_t bus_read_run(Bus *bus, uint64_t addr, unsigned bytes, void *data, uint32_t count)
{
    const IoRange *r = find_runs(bus, addr, bytes);
    uint32_t done = r ? r->runs->read(r->self, (uint32_t)(addr - r->base), bytes, data, count) : 0;
    assert(done <= count);
    bus->accesses += done;
    return done;
}

uint32_t bus_write_run(Bus *bus, uint64_t addr, unsigned bytes, const void *data, uint32_t count)
{
    const IoRange *r = find_runs(bus, addr, bytes);
    uint32_t done = r ? r->runs->write(r->self, (uint32_t)(addr - r->base), bytes, data, count) : 0;
    assert(done <= count);
    bus->accesses += done;
    return done;
}

bool bus_dma(Bus *bus, uint64_t addr, void *buf, size_t len, bool to_guest)
{
    uint8_t *data = buf;
    bool all_memory = true;
    while (len > 0) {
        const Segment *s = find(bus, addr);
        size_t part = 1;
        if (s && !s->range->ops) {
            const RamView *view = &s->range->view;
            uint64_t offset = addr - s->range->base;
            part = s->end - addr < len ? (size_t)(s->end - addr) : len;
            if (to_guest && view->writable) {
                memory_store(bus, (uint32_t)(view->write_at + offset), data, (uint32_t)part);
            } else if (!to_guest && view->readable) {
                ram_need(bus->ram, (uint32_t)(view->read_at + offset), part);
                memcpy(data, ram_at(bus->ram, (uint32_t)(view->read_at + offset)), part);
            } else {
                all_memory = false;
                if (!to_guest) {
                    memset(data, 0xff, part);
                }
            }
        } else {
            all_memory = false;
            if (to_guest) {
                bus_write(bus, addr, *data, 1);
            } else {
                *data = (uint8_t)bus_read(bus, addr, 1);
            }
        }
        addr += part;
        data += part;
        len -= part;
    }
    return all_memory;
}

bool bus_stretch(Bus *bus, uint64_t from, BusStretch *out)
{
    size_t low = 0, high = bus->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (bus->segments[middle].end <= from) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == bus->count) {
        return false;
    }
    const Segment *s = &bus->segments[low];
    *out = (BusStretch){.base = s->base, .end = s->end, .ram = !s->range->ops};
    if (out->ram) {
        uint32_t offset = (uint32_t)(s->base - s->range->base);
        out->view = s->range->view;
        out->view.read_at += offset;
        out->view.write_at += offset;
    }
    return true;
}

BusPage bus_page(Bus *bus, uint64_t addr)
{
    uint64_t page = addr & ~(uint64_t)(RAM_PAGE - 1);
    const Segment *s = find(bus, page);
    BusPage out = {0};
    if (s && !s->range->ops && s->end - page >= RAM_PAGE) {
        uint32_t offset = (uint32_t)(page - s->range->base);
        out.ram = true;
        out.view = s->range->view;
        out.view.read_at += offset;
        out.view.write_at += offset;
    }
    return out;
}

void bus_describe(Bus *bus, void (*line)(void *self, const char *text), void *self)
{
    for (size_t i = 0; i < bus->count; i++) {
        char text[160];
        snprintf(text, sizeof(text), "%016" PRIx64 "-%016" PRIx64 " %s", bus->segments[i].base,
                 bus->segments[i].end - 1, bus->segments[i].range->what);
        line(self, text);
    }
}
