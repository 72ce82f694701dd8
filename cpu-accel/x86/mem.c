/* Memory accesses that mem.h's inline halves leave over: segment and alignment checks, page
 * crossings, devices, ROM, watched pages, code fetch.
 *
 * SDM vol. 3, 5.3 (limits), 5.5 (types), 6.15 (#AC), 4.10.4.3 (accesses across pages). A write to a
 * page with Ram flags is made here and reported with ram_written.
 */
#include "cpu-accel/x86/mem.h"

enum { PAGE_BYTES = 4096 };

/* The pages of one access, translated. */
typedef struct Span {
    const TlbPage *page[2];
    TlbPage copy; /* of the first: translating the second may replace it */
    uint32_t at;  /* offset in the first page */
    unsigned first, size;
} Span;

static bool segment_fault(Cpu *cpu, SegIndex seg)
{
    cpu_fault_code(cpu, seg == SS ? VEC_SS : VEC_GP, 0);
    return false;
}

static bool segment_check(Cpu *cpu, SegIndex seg, uint32_t offset, unsigned size, bool write)
{
    const SegReg *s = &cpu->seg[seg];
    uint64_t last = (uint64_t)offset + size - 1;
    if (s->access & SEG_UNUSABLE) {
        return segment_fault(cpu, seg);
    }
    if (s->access & SEG_CODE) {
        if (write || !(s->access & SEG_WRITABLE) || last > s->limit) {
            return segment_fault(cpu, seg);
        }
        return true;
    }
    if (write && !(s->access & SEG_WRITABLE)) {
        return segment_fault(cpu, seg);
    }
    if (s->access & SEG_EXPAND_DOWN) {
        uint32_t top = s->access & SEG_BIG ? 0xffffffffu : 0xffffu;
        if (offset <= s->limit || last > top) {
            return segment_fault(cpu, seg);
        }
        return true;
    }
    return last <= s->limit ? true : segment_fault(cpu, seg);
}

static bool alignment_checked(const Cpu *cpu)
{
    return cpu->cpl == 3 && cpu->cr0 & CR0_AM && cpu->eflags & FL_AC;
}

/* #AC for an operand whose natural alignment is a power of two. */
static bool alignment_check(Cpu *cpu, uint32_t linear, unsigned alignment)
{
    if (linear & (alignment - 1) && alignment_checked(cpu)) {
        cpu_fault_code(cpu, VEC_AC, 0);
        return false;
    }
    return true;
}

/* What a block operand must be aligned to (SDM vol. 3, table 6-7): x87 numbers, environments and
 * state images; and unaligned SSE operands, of which silicon wants 16. Other rules of SSE operands
 * are kept by their handlers. */
static unsigned block_alignment(unsigned size)
{
    switch (size) {
    case 2:
    case 4:
    case 8:
        return size;
    case 10:
        return 8;
    case 14:
    case 94:
        return 2;
    case 16:
        return 16;
    case 28:
    case 108:
        return 4;
    default:
        return 1;
    }
}

static bool span_open(Cpu *cpu, Span *span, uint32_t linear, unsigned size, bool write, bool user)
{
    span->at = linear & (PAGE_BYTES - 1);
    span->size = size;
    span->first = PAGE_BYTES - span->at < size ? PAGE_BYTES - span->at : size;
    span->page[0] = mmu_page(cpu, linear, write, user);
    if (!span->page[0]) {
        return false;
    }
    if (span->first == size) {
        return true;
    }
    span->copy = *span->page[0];
    span->page[0] = &span->copy;
    span->page[1] = mmu_page(cpu, linear + span->first, write, user);
    return span->page[1] != NULL;
}

static void device_read(Cpu *cpu, uint64_t physical, uint8_t *data, unsigned size)
{
    while (size) {
        unsigned part = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
        uint64_t value = cpu->tap ? cpu->tap->read(cpu->tap->self, false, physical, part)
                                  : bus_read(cpu->board->memory, physical, part);
        memcpy(data, &value, part);
        physical += part;
        data += part;
        size -= part;
    }
}

static void device_write(Cpu *cpu, uint64_t physical, const uint8_t *data, unsigned size)
{
    while (size) {
        unsigned part = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
        uint64_t value = 0;
        memcpy(&value, data, part);
        if (cpu->tap) {
            cpu->tap->write(cpu->tap->self, false, physical, value, part);
        } else {
            bus_write(cpu->board->memory, physical, value, part);
        }
        physical += part;
        data += part;
        size -= part;
    }
}

static void memory_write(Cpu *cpu, uint32_t at, const uint8_t *data, unsigned size)
{
    memcpy(ram_at(cpu->ram, at), data, size);
    if (cpu->ram->flags[at >> RAM_PAGE_SHIFT]) {
        ram_written(cpu->ram, at, size);
    }
}

static void page_read(Cpu *cpu, const TlbPage *page, uint32_t at, uint8_t *data, unsigned size)
{
    if (page->rights & TLB_RAM_READ) {
        memcpy(data, ram_at(cpu->ram, page->ram_read + at), size);
    } else {
        device_read(cpu, page->physical + at, data, size);
    }
}

static void page_write(Cpu *cpu, const TlbPage *page, uint32_t at, const uint8_t *data,
                       unsigned size, bool user)
{
    if (!(page->rights & TLB_RAM_WRITE)) {
        device_write(cpu, page->physical + at, data, size);
        return;
    }
    TlbPage copy = *page; /* the listener may drop entries */
    memory_write(cpu, copy.ram_write + at, data, size);
    const TlbPage *now = &cpu->tlb->page[user][tlb_index(copy.tag)];
    if (now->tag == copy.tag && !cpu->ram->flags[copy.ram_write >> RAM_PAGE_SHIFT]) {
        mmu_allow_write(cpu, now, user);
    }
}

static void span_read(Cpu *cpu, const Span *span, uint8_t *data)
{
    page_read(cpu, span->page[0], span->at, data, span->first);
    if (span->first < span->size) {
        page_read(cpu, span->page[1], 0, data + span->first, span->size - span->first);
    }
}

static void span_write(Cpu *cpu, const Span *span, const uint8_t *data, bool user)
{
    if (span->first < span->size) {
        TlbPage second = *span->page[1];
        page_write(cpu, span->page[0], span->at, data, span->first, user);
        page_write(cpu, &second, 0, data + span->first, span->size - span->first, user);
    } else {
        page_write(cpu, span->page[0], span->at, data, span->size, user);
    }
}

static bool access_read(Cpu *cpu, uint32_t linear, void *data, unsigned size, unsigned alignment,
                        bool user)
{
    Span span;
    if (!span_open(cpu, &span, linear, size, false, user) ||
        !alignment_check(cpu, linear, alignment)) {
        return false;
    }
    span_read(cpu, &span, data);
    mmu_watch(cpu, linear, size, false);
    return true;
}

static bool access_write(Cpu *cpu, uint32_t linear, const void *data, unsigned size,
                         unsigned alignment, bool user)
{
    Span span;
    if (!span_open(cpu, &span, linear, size, true, user) ||
        !alignment_check(cpu, linear, alignment)) {
        return false;
    }
    span_write(cpu, &span, data, user);
    mmu_watch(cpu, linear, size, true);
    return true;
}

/* What is merely misaligned, but plain memory within one page: the host address, or NULL. */
static uint8_t *misaligned(Cpu *cpu, SegIndex seg, uint32_t offset, unsigned size, bool write)
{
    MemRun run;
    return mem_run(cpu, seg, offset, write, &run) && run.above >= size ? run.host : NULL;
}

bool mem_read_slow(Cpu *cpu, SegIndex seg, uint32_t offset, void *value, unsigned size)
{
    const uint8_t *host = misaligned(cpu, seg, offset, size, false);
    if (host) {
        memcpy(value, host, size);
        return true;
    }
    return segment_check(cpu, seg, offset, size, false) &&
           access_read(cpu, cpu->seg[seg].base + offset, value, size, size, cpu->cpl == 3);
}

bool mem_write_slow(Cpu *cpu, SegIndex seg, uint32_t offset, const void *value, unsigned size)
{
    uint8_t *host = misaligned(cpu, seg, offset, size, true);
    if (host) {
        memcpy(host, value, size);
        return true;
    }
    return segment_check(cpu, seg, offset, size, true) &&
           access_write(cpu, cpu->seg[seg].base + offset, value, size, size, cpu->cpl == 3);
}

static uint64_t ram_of(const TlbPage *page, uint32_t at)
{
    return page->rights & TLB_RAM_WRITE ? (uint64_t)page->ram_write + at : MEM_NO_RAM;
}

bool mem_rmw_slow(Cpu *cpu, SegIndex seg, uint32_t offset, MemRmw *rmw, void *value, unsigned size)
{
    uint32_t linear = cpu->seg[seg].base + offset;
    Span span;
    rmw->host = misaligned(cpu, seg, offset, size, true);
    if (rmw->host) {
        memcpy(value, rmw->host, size);
        return true;
    }
    if (!segment_check(cpu, seg, offset, size, true) ||
        !span_open(cpu, &span, linear, size, true, cpu->cpl == 3) ||
        !alignment_check(cpu, linear, size)) {
        return false;
    }
    span_read(cpu, &span, value);
    mmu_watch(cpu, linear, size, true);
    *rmw = (MemRmw){
        .physical = {span.page[0]->physical + span.at, 0},
        .ram = {ram_of(span.page[0], span.at), MEM_NO_RAM},
        .first = span.first,
    };
    if (span.first < size) {
        rmw->physical[1] = span.page[1]->physical;
        rmw->ram[1] = ram_of(span.page[1], 0);
    }
    return true;
}

void mem_store_slow(Cpu *cpu, const MemRmw *rmw, const void *value, unsigned size)
{
    const uint8_t *data = value;
    for (unsigned i = 0, at = 0; at < size; i++) {
        unsigned part = i == 0 ? rmw->first : size - at;
        if (rmw->ram[i] != MEM_NO_RAM) {
            memory_write(cpu, (uint32_t)rmw->ram[i], data + at, part);
        } else {
            device_write(cpu, rmw->physical[i], data + at, part);
        }
        at += part;
    }
}

bool mem_check_segment(Cpu *cpu, SegIndex seg, uint32_t offset, unsigned size)
{
    return segment_check(cpu, seg, offset, size, false);
}

bool mem_read_bytes(Cpu *cpu, SegIndex seg, uint32_t offset, void *data, unsigned size)
{
    return segment_check(cpu, seg, offset, size, false) &&
           access_read(cpu, cpu->seg[seg].base + offset, data, size, block_alignment(size),
                       cpu->cpl == 3);
}

bool mem_write_bytes(Cpu *cpu, SegIndex seg, uint32_t offset, const void *data, unsigned size)
{
    return segment_check(cpu, seg, offset, size, true) &&
           access_write(cpu, cpu->seg[seg].base + offset, data, size, block_alignment(size),
                        cpu->cpl == 3);
}

bool mem_check_write(Cpu *cpu, SegIndex seg, uint32_t offset, unsigned size)
{
    uint32_t linear = cpu->seg[seg].base + offset;
    Span span;
    return segment_check(cpu, seg, offset, size, true) &&
           span_open(cpu, &span, linear, size, true, cpu->cpl == 3) &&
           alignment_check(cpu, linear, block_alignment(size));
}

bool mem_run(Cpu *cpu, SegIndex seg, uint32_t offset, bool write, MemRun *run)
{
    const SegReg *s = &cpu->seg[seg];
    uint32_t linear = s->base + offset;
    const TlbEntry *entry = mem_entry(cpu, linear);
    if ((linear & PAGE_MASK) != (write ? entry->write : entry->read) ||
        !(write ? mem_plain_write(s, offset, 1) : mem_plain_read(s, offset, 1)) ||
        alignment_checked(cpu)) {
        return false;
    }
    uint32_t in_page = linear & (PAGE_BYTES - 1);
    uint32_t to_limit = s->limit - offset; /* bytes above this one */
    run->host = mem_host(entry, linear);
    run->above = PAGE_BYTES - in_page;
    if (run->above - 1 > to_limit) {
        run->above = to_limit + 1;
    }
    run->below = in_page < offset ? in_page : offset;
    return true;
}

/* The supervisor's access to plain memory within one page. */
static bool plain_for_system(uint32_t tag, uint32_t linear, unsigned size)
{
    return tag == (linear & PAGE_MASK) && (linear & (PAGE_BYTES - 1)) + size <= PAGE_BYTES;
}

bool mem_linear_read(Cpu *cpu, uint32_t linear, void *value, unsigned size, bool user)
{
    const TlbEntry *entry = &cpu->tlb->hot[0][tlb_index(linear)];
    if (!user && plain_for_system(entry->read, linear, size)) {
        memcpy(value, mem_host(entry, linear), size);
        return true;
    }
    return access_read(cpu, linear, value, size, user ? size : 1, user);
}

bool mem_linear_write(Cpu *cpu, uint32_t linear, const void *value, unsigned size, bool user)
{
    const TlbEntry *entry = &cpu->tlb->hot[0][tlb_index(linear)];
    if (!user && plain_for_system(entry->write, linear, size)) {
        memcpy(mem_host(entry, linear), value, size);
        return true;
    }
    return access_write(cpu, linear, value, size, user ? size : 1, user);
}

bool mem_system_read8(Cpu *cpu, uint32_t linear, uint8_t *value)
{
    return mem_linear_read(cpu, linear, value, 1, false);
}

bool mem_system_read16(Cpu *cpu, uint32_t linear, uint16_t *value)
{
    return mem_linear_read(cpu, linear, value, 2, false);
}

bool mem_system_read32(Cpu *cpu, uint32_t linear, uint32_t *value)
{
    return mem_linear_read(cpu, linear, value, 4, false);
}

bool mem_system_write8(Cpu *cpu, uint32_t linear, uint8_t value)
{
    return mem_linear_write(cpu, linear, &value, 1, false);
}

bool mem_system_write16(Cpu *cpu, uint32_t linear, uint16_t value)
{
    return mem_linear_write(cpu, linear, &value, 2, false);
}

bool mem_system_write32(Cpu *cpu, uint32_t linear, uint32_t value)
{
    return mem_linear_write(cpu, linear, &value, 4, false);
}

bool mem_system_check(Cpu *cpu, uint32_t linear, unsigned size, bool write)
{
    Span span;
    return span_open(cpu, &span, linear, size, write, false);
}

bool mem_code_page(Cpu *cpu, uint32_t linear, uint64_t *at)
{
    const TlbPage *page = mmu_page(cpu, linear, false, cpu->cpl == 3);
    if (!page) {
        return false;
    }
    *at = page->rights & TLB_RAM_READ ? (uint64_t)page->ram_read + (linear & (PAGE_BYTES - 1))
                                      : MEM_NO_RAM;
    return true;
}

bool mem_fetch(Cpu *cpu, uint32_t linear, uint8_t *bytes, unsigned room, unsigned *count)
{
    const TlbPage *page = mmu_page(cpu, linear, false, cpu->cpl == 3);
    if (!page) {
        return false;
    }
    uint32_t at = linear & (PAGE_BYTES - 1);
    *count = PAGE_BYTES - at < room ? PAGE_BYTES - at : room;
    page_read(cpu, page, at, bytes, *count);
    return true;
}
