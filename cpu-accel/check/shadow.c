/* The shadow: a processor with memory of its own, run by the interpreter. It has no devices; what
 * they did is in the recording. check.c runs it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu-accel/check/check.h"
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/fpu.h"
#include "cpu-accel/x86/mem.h"

/* All pages of the shadow's memory bear RAM_TRANSLATED until they are written: so the first write
 * to each is reported here, and then those to its code alone. */
static void written(void *self, uint32_t at, uint32_t length)
{
    Check *c = self;
    interpreter_changed(c->shadow_interpreter, at, length);
    shadow_touch(c, at, length, false);
}

static void flags_set(void *self, uint32_t first_page, uint32_t pages)
{
    Check *c = self;
    if (!c->protecting) {
        mem_flags_set(c->shadow, first_page, pages);
    }
}

void shadow_touch(Check *c, uint32_t at, uint32_t length, bool mark)
{
    Ram *ram = &c->shadow_board->ram;
    uint32_t last = (uint32_t)(((uint64_t)at + length - 1) >> RAM_PAGE_SHIFT);
    for (uint32_t page = at >> RAM_PAGE_SHIFT; page <= last && page < c->pages; page++) {
        if (ram->flags[page] & RAM_TRANSLATED) {
            ram_flag_clear(ram, page, 1, RAM_TRANSLATED);
            c->dirty[c->dirty_count++] = (Dirty){page, mark};
        }
    }
}

void shadow_agreed(Check *c)
{
    Ram *ram = &c->shadow_board->ram;
    c->protecting = true;
    for (size_t i = 0; i < c->dirty_count; i++) {
        uint32_t page = c->dirty[i].page;
        size_t at = (size_t)page << RAM_PAGE_SHIFT;
        memcpy(c->base + at, ram->host + at, RAM_PAGE);
        ram_flag_set(ram, page, 1, RAM_TRANSLATED);
    }
    c->protecting = false;
    if (c->dirty_count) {
        mem_flags_set(c->shadow, 0, c->pages);
    }
    c->dirty_count = 0;
}

bool shadow_open(Check *c, Err *err)
{
    c->shadow_board = board_new(err);
    if (!c->shadow_board) {
        return false;
    }
    if (!ram_add(&c->shadow_board->ram, "shadow", c->board->ram.used, err)) {
        return false;
    }
    c->pages = (uint32_t)(c->board->ram.used >> RAM_PAGE_SHIFT);
    c->dirty = malloc(c->pages * sizeof(*c->dirty));
    c->base = mmap(NULL, c->board->ram.used, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!c->dirty || c->base == MAP_FAILED) {
        c->base = NULL;
        return err_set(err, "out of memory");
    }
    c->shadow = cpu_new(c->shadow_board, c->cpu->model, &c->shadow_pins);
    if (!c->shadow) {
        return err_set(err, "out of memory");
    }
    c->shadow->tap = &c->shadow_tap;
    c->shadow_interpreter = interpreter_new(c->shadow);
    if (!c->shadow_interpreter) {
        return err_set(err, "out of memory");
    }
    c->shadow_board->ram.listener = (RamListener){written, flags_set, c, NULL};
    ram_flag_set(&c->shadow_board->ram, 0, c->pages, RAM_TRANSLATED);
    c->second.cpu = c->shadow;
    return true;
}

void shadow_close(Check *c)
{
    interpreter_free(c->shadow_interpreter);
    free(c->dirty);
    if (c->base) {
        munmap(c->base, (size_t)c->pages << RAM_PAGE_SHIFT);
    }
    if (c->shadow_board) {
        board_free(c->shadow_board);
    }
}

static bool same_space(const Cpu *a, const Cpu *b)
{
    return a->cr0 == b->cr0 && a->cr3 == b->cr3 && a->cr4 == b->cr4 && a->a20 == b->a20 &&
           a->dr7 == b->dr7 && memcmp(a->dr, b->dr, sizeof(a->dr)) == 0 &&
           memcmp(a->pdpte, b->pdpte, sizeof(a->pdpte)) == 0;
}

void shadow_follow(Check *c)
{
    Cpu *s = c->shadow;
    bool flush = !same_space(c->cpu, s);
    memcpy(s, c->cpu, offsetof(Cpu, model));
    s->intr = c->cpu->intr;
    s->a20 = c->cpu->a20;
    s->tsc_hz = c->cpu->tsc_hz;
    s->pvclock = c->cpu->pvclock;
    if (flush) {
        mem_flush(s, true);
    }
}

void shadow_copy(Check *c)
{
    Ram *from = &c->board->ram, *to = &c->shadow_board->ram;
    (void)madvise(c->base, from->used, MADV_DONTNEED);
    (void)fallocate(to->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)from->used);
    for (off_t at = 0; (at = lseek(from->fd, at, SEEK_DATA)) >= 0 && (uint64_t)at < from->used;) {
        off_t end = lseek(from->fd, at, SEEK_HOLE);
        if (end < 0 || (uint64_t)end > from->used) {
            end = (off_t)from->used;
        }
        memcpy(to->host + at, from->host + at, (size_t)(end - at));
        memcpy(c->base + at, from->host + at, (size_t)(end - at));
        at = end;
    }
    for (uint64_t at = 0; at < from->used; at += RAM_PAGE) {
        interpreter_changed(c->shadow_interpreter, (uint32_t)at, RAM_PAGE);
    }
    shadow_map(c);
    shadow_follow(c);
    mem_flush(c->shadow, true);
    shadow_agreed(c);
    c->stale = false;
}

void shadow_written(Check *c, uint32_t at, uint32_t length)
{
    if (!c->stale) {
        memcpy(ram_at(&c->shadow_board->ram, at), ram_at(&c->board->ram, at), length);
        memcpy(c->base + at, ram_at(&c->board->ram, at), length);
        interpreter_changed(c->shadow_interpreter, at, length);
    }
}

/* The first stands between two iterations of a repeated instruction: so does the shadow then. In
 * one go, as the instruction may have overwritten itself and would be fetched anew behind a pause:
 * the pauses must be the first one's. */
static void repeat(Check *c)
{
    Cpu *s = c->shadow;
    uint32_t left = s->reg[ECX] - c->cpu->reg[ECX];
    if (left && !c->difference[0]) {
        c->shadow_tap.iterations = left;
        interpreter_step(s);
    }
}

void shadow_run(Check *c, const Piece *piece)
{
    Cpu *s = c->shadow;
    uint64_t count = piece->count;
    fpu_host_release();
    if (piece->one_step) {
        interpreter_step(s);
        return;
    }
    c->shadow_tap.iterations = UINT32_MAX;
    for (uint64_t done = 0; done < count && s->activity == CPU_RUNNING && !c->difference[0];) {
        atomic_store_explicit(&s->attention, false, memory_order_relaxed);
        uint64_t before = s->executed;
        Outcome outcome = s->shadow || debug_stepping(s)
                              ? interpreter_step(s)
                              : interpreter_blocks(c->shadow_interpreter, count - done);
        done += s->executed - before - (outcome == X_REPEAT); /* a pause is no instruction */
    }
    if (piece->paused) {
        repeat(c);
    }
    c->shadow_tap.iterations = 0;
}
