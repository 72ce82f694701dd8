/* Memory slots of the KVM engine, made from the bus map, and the log of written pages.
 *
 * Stretches of memory become slots; devices, and memory that reads and writes in different places,
 * come as MMIO exits. With the A20 gate closed every odd mebibyte shows the one below it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/kvm/kvm_internal.h"

#define MIB (UINT64_C(1) << 20)
#define SPACE_END (UINT64_C(1) << 32)
#define PAGE_BITS ((uint64_t)RAM_PAGE - 1)

static bool set_slot(Kvm *k, unsigned n)
{
    const KvmSlot *s = &k->slot[n];
    struct kvm_userspace_memory_region region = {
        .slot = n,
        .flags = (s->log ? KVM_MEM_LOG_DIRTY_PAGES : 0) | (s->read_only ? KVM_MEM_READONLY : 0),
        .guest_phys_addr = s->base,
        .memory_size = s->size,
        .userspace_addr = (uintptr_t)ram_at(&k->accel->board->ram, s->at),
    };
    if (k->sys->ioctl(k->sys->self, k->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
        snprintf(k->accel->failure, sizeof(k->accel->failure),
                 "memory slot of 0x%llx bytes at 0x%llx: %s", (unsigned long long)s->size,
                 (unsigned long long)s->base, strerror(errno));
        return false;
    }
    return true;
}

static bool has_flags(const Kvm *k, const KvmSlot *s)
{
    const uint8_t *flags = k->accel->board->ram.flags + (s->at >> RAM_PAGE_SHIFT);
    for (uint64_t i = 0; i < s->size >> RAM_PAGE_SHIFT; i++) {
        if (flags[i]) {
            return true;
        }
    }
    return false;
}

/* Fetches the log of one slot and passes on what matters. */
static void sync_slot(Kvm *k, unsigned n)
{
    const KvmSlot *s = &k->slot[n];
    Ram *ram = &k->accel->board->ram;
    size_t pages = (size_t)(s->size >> RAM_PAGE_SHIFT), room = (pages + 63) / 64 * 8;
    if (room > k->bitmap_size) {
        uint8_t *more = realloc(k->bitmap, room);
        if (!more) {
            return; /* without a log the pages count as unwritten until the next time */
        }
        k->bitmap = more;
        k->bitmap_size = room;
    }
    memset(k->bitmap, 0, room);
    struct kvm_dirty_log log = {.slot = n, .dirty_bitmap = k->bitmap};
    if (k->sys->ioctl(k->sys->self, k->vm, KVM_GET_DIRTY_LOG, &log) < 0) {
        return;
    }
    for (size_t i = 0; i < pages; i++) {
        uint32_t at = s->at + (uint32_t)(i << RAM_PAGE_SHIFT);
        if (k->bitmap[i / 8] >> i % 8 & 1 && ram->flags[at >> RAM_PAGE_SHIFT]) {
            ram_written(ram, at, RAM_PAGE);
        }
    }
}

void kvm_memory_sync(Kvm *k)
{
    for (unsigned n = 0; n < KVM_SLOTS; n++) {
        if (k->slot[n].size && k->slot[n].log) {
            sync_slot(k, n);
        }
    }
}

/* Notes that [base, end) shall show memory at `at`: finds the slot that does, or a free one. */
static void want(Kvm *k, uint64_t base, uint64_t end, uint32_t at, bool read_only)
{
    KvmSlot wanted = {base, end - base, at, read_only, false, true};
    for (unsigned n = 0; n < KVM_SLOTS; n++) {
        KvmSlot *s = &k->slot[n];
        if (s->size == wanted.size && s->base == base && s->at == at && s->read_only == read_only) {
            s->keep = true;
            return;
        }
    }
    /* more stretches than slots: the rest stays MMIO, which is slow and right */
    for (unsigned n = 0; n < KVM_SLOTS; n++) {
        KvmSlot *s = &k->slot[n];
        if (s->size == 0) {
            *s = wanted;
            s->log = has_flags(k, s);
            return;
        }
    }
}

typedef struct Piece {
    uint64_t base, end; /* end == base: none yet */
    uint32_t at;
    bool read_only;
} Piece;

/* Joins pieces that go on in both spaces. */
static void add_piece(Kvm *k, Piece *last, Piece next)
{
    bool joins = last->end > last->base && last->end == next.base &&
                 last->read_only == next.read_only &&
                 last->at + (last->end - last->base) == next.at;
    if (joins) {
        last->end = next.end;
        return;
    }
    if (last->end > last->base) {
        want(k, last->base, last->end, last->at, last->read_only);
    }
    *last = next;
}

/* The memory that the bus shows in [from, to), seen `shift` bytes higher by the processor. */
static void add_range(Kvm *k, Piece *last, uint64_t from, uint64_t to, uint64_t shift)
{
    BusStretch stretch;
    for (uint64_t at = from; at < to && bus_stretch(k->accel->board->memory, at, &stretch);
         at = stretch.end) {
        uint64_t base = stretch.base > from ? stretch.base : from;
        uint64_t end = stretch.end < to ? stretch.end : to;
        if (base >= to) {
            break;
        }
        uint64_t skip = base - stretch.base;
        const RamView *v = &stretch.view;
        bool one_place = v->writable && v->read_at == v->write_at;
        uint64_t first = (base + PAGE_BITS) & ~PAGE_BITS;
        end &= ~PAGE_BITS;
        if (!stretch.ram || !v->readable || first >= end ||
            (v->read_at + skip + (first - base)) & PAGE_BITS ||
            (!one_place && !k->read_only_slots)) {
            continue;
        }
        add_piece(k, last,
                  (Piece){first + shift, end + shift,
                          (uint32_t)(v->read_at + skip + (first - base)), !one_place});
    }
}

static bool rebuild(Kvm *k)
{
    KvmSlot before[KVM_SLOTS];
    for (unsigned n = 0; n < KVM_SLOTS; n++) {
        k->slot[n].keep = false;
    }
    memcpy(before, k->slot, sizeof(before));
    Piece last = {0};
    if (k->a20) {
        add_range(k, &last, 0, SPACE_END, 0);
    } else {
        for (uint64_t at = 0; at < SPACE_END; at += 2 * MIB) {
            add_range(k, &last, at, at + MIB, 0);
            add_range(k, &last, at, at + MIB, MIB);
        }
    }
    add_piece(k, &last, (Piece){0});
    for (unsigned n = 0; n < KVM_SLOTS; n++) { /* first make room: slots must not overlap */
        if (before[n].size && !k->slot[n].keep) {
            if (before[n].log) {
                sync_slot(k, n);
            }
            k->slot[n].size = 0;
            if (!set_slot(k, n)) {
                return false;
            }
        }
    }
    for (unsigned n = 0; n < KVM_SLOTS; n++) {
        if (k->slot[n].size && !before[n].size && !set_slot(k, n)) {
            return false;
        }
    }
    return true;
}

bool kvm_memory_update(Kvm *k)
{
    bool a20 = k->accel->cpu->a20;
    if (k->map_stale || k->a20 != a20) {
        k->a20 = a20;
        k->map_stale = false;
        if (!rebuild(k)) {
            k->map_stale = true;
            return false;
        }
    }
    if (k->flags_stale) {
        k->flags_stale = false;
        for (unsigned n = 0; n < KVM_SLOTS; n++) {
            KvmSlot *s = &k->slot[n];
            if (s->size && !s->log && has_flags(k, s)) {
                s->log = true;
                if (!set_slot(k, n)) {
                    return false;
                }
            }
        }
    }
    return true;
}
