/* A span that ended in a difference, once more: from where it began, unit by unit, both processors
 * out of the recording, to name the instruction. check.c asks.
 *
 * Memory that the interpreter wrote, or a device, goes back to what it was in both; what only
 * translated code wrote does not. A second run may also agree with itself and with the end of the
 * first: then the difference was one of linked code, or of the moment at which a page table's
 * accessed bit was set, which processors are free in. The latter is no difference, and is counted.
 */
#include <string.h>

#include "cpu-accel/check/check.h"
#include "cpu-accel/x86/fpu.h"
#include "cpu-accel/x86/mem.h"

enum {
    PIECE_MOST = 256, /* instructions given to the interpreter at once */
    IDLE_PIECES = 64, /* that may come to nothing in a row */
};

void again_start(Check *c)
{
    memcpy(c->start.state, c->cpu, sizeof(c->start.state));
    c->start.pins = record_pins(c->cpu);
}

static void back_to_start(Check *c, Cpu *cpu)
{
    memcpy(cpu, c->start.state, sizeof(c->start.state));
    record_set_pins(cpu, &c->start.pins);
    mem_flush(cpu, true);
}

static void page_back(Check *c, uint32_t page)
{
    uint32_t at = page << RAM_PAGE_SHIFT;
    const uint8_t *was = c->base + at;
    uint8_t *first = ram_at(&c->board->ram, at), *second = ram_at(&c->shadow_board->ram, at);
    if (memcmp(second, was, RAM_PAGE) != 0) {
        memcpy(second, was, RAM_PAGE);
        interpreter_changed(c->shadow_interpreter, at, RAM_PAGE);
    }
    if (memcmp(first, was, RAM_PAGE) != 0) {
        memcpy(first, was, RAM_PAGE);
        ram_written(&c->board->ram, at, RAM_PAGE);
    }
}

static void rewind_both(Check *c)
{
    for (size_t i = 0; i < c->mark_count; i++) {
        shadow_touch(c, (uint32_t)c->mark[i], 1, true);
    }
    record_again(c); /* first: writes are nobody's business from here on */
    for (size_t i = 0; i < c->dirty_count; i++) {
        page_back(c, c->dirty[i].page);
    }
    shadow_agreed(c);
    c->mark_count = 0;
    fpu_host_release();
    back_to_start(c, c->cpu);
    back_to_start(c, c->shadow);
}

/* The rest of the span for the first processor alone, so that the machine stands where its devices
 * are. */
static void finish(Check *c, uint64_t left)
{
    Piece piece;
    for (unsigned idle = 0; left && idle < IDLE_PIECES && !c->first.left;) {
        atomic_store_explicit(&c->cpu->attention, false, memory_order_relaxed);
        translator_piece(c->translator, left < PIECE_MOST ? left : PIECE_MOST, &piece);
        uint64_t done = piece.count + piece.one_step;
        idle = done ? 0 : idle + 1;
        left -= done < left ? done : left;
    }
}

/* The span's last instruction had paused: both to there. */
static void pause_both(Check *c, uint32_t count)
{
    CpuTap *taps[] = {&c->tap, &c->shadow_tap};
    Cpu *cpus[] = {c->cpu, c->shadow};
    for (unsigned i = 0; i < 2; i++) {
        taps[i]->iterations = cpus[i]->reg[ECX] - count;
        if (taps[i]->iterations) {
            interpreter_step(cpus[i]);
        }
        taps[i]->iterations = 0;
    }
}

/* Runs and compares it in pieces. Returns how many instructions are left at a difference, or 0. */
static uint64_t in_pieces(Check *c, uint64_t left)
{
    Piece piece;
    for (unsigned idle = 0; left && idle < IDLE_PIECES;) {
        check_remember(c);
        atomic_store_explicit(&c->cpu->attention, false, memory_order_relaxed);
        translator_piece(c->translator, left < PIECE_MOST ? left : PIECE_MOST, &piece);
        shadow_run(c, &piece);
        check_leave_trail(c, &piece);
        uint64_t done = piece.count + piece.one_step;
        left -= done < left ? done : left;
        if (c->difference[0] || !compare_span(c)) {
            return left;
        }
        idle = done ? 0 : idle + 1;
    }
    return 0;
}

bool again_run(Check *c, const Piece *span)
{
    uint64_t executed = c->cpu->executed, marks = c->count.marks;
    uint32_t count = c->cpu->reg[ECX];
    report_make(c);
    if (c->recording.maps || span->one_step) {
        report_send(c);
        return false;
    }
    c->count.again++;
    c->difference[0] = '\0';
    rewind_both(c);
    uint64_t left = in_pieces(c, span->count);
    if (!c->difference[0] && span->paused) {
        pause_both(c, count);
        (void)compare_span(c);
    }
    record_done(c);
    bool found = c->difference[0];
    if (found) {
        report_make(c);
    }
    c->first.on = true;
    finish(c, left);
    c->first.on = false;
    c->cpu->executed = executed; /* time does not run twice */
    if (!found && c->count.marks != marks) {
        c->count.vanished++;
        return true;
    }
    if (!found) {
        report_only_linked(c);
    }
    report_send(c);
    return false;
}
