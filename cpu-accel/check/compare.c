/* Comparing the two processors, and their memories. check.c asks after every span. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cpu-accel/check/check.h"
#include "cpu-accel/check/fields.h"

enum {
    ENTRY_A = 1 << 5,
    ENTRY_D = 1 << 6,
    ARITH_ALL = ARITH_OF | ARITH_CF | ARITH_PF | ARITH_AF | ARITH_ZF | ARITH_SF,
    WORD = 8,
    STRETCH = 1 << 20, /* of memory, at a time */
};

static bool same_fields(Check *c)
{
    for (unsigned i = 0; i < check_field_count; i++) {
        const Field *field = &check_fields[i];
        uint64_t a = check_field(c->cpu, field), b = check_field(c->shadow, field);
        if (a != b) {
            int digits = 2 * field->size;
            snprintf(c->difference, sizeof(c->difference),
                     "%s is %0*" PRIx64 " in the translator, %0*" PRIx64 " in the interpreter",
                     field->name, digits, a, digits, b);
            return false;
        }
    }
    return true;
}

void compare_open(Check *c)
{
    for (unsigned i = 0; i < check_field_count; i++) {
        const Field *field = &check_fields[i];
        for (unsigned j = 0; j < field->size && field->offset + j < sizeof(c->means); j++) {
            c->means[field->offset + j] = true;
        }
    }
    for (unsigned j = 0; j < sizeof(c->cpu->arith); j++) {
        c->means[offsetof(Cpu, arith) + j] = true;
    }
}

/* Do they differ in a byte that means something? */
static bool differ(const Check *c)
{
    const uint8_t *a = (const uint8_t *)c->cpu, *b = (const uint8_t *)c->shadow;
    for (size_t at = 0; at < sizeof(c->means); at += WORD) {
        if (memcmp(a + at, b + at, WORD) == 0) {
            continue;
        }
        for (size_t i = at; i < at + WORD && i < sizeof(c->means); i++) {
            if (a[i] != b[i] && c->means[i]) {
                return true;
            }
        }
    }
    return false;
}

/* Between the members there are bytes that mean nothing: where these differ they are made the same,
 * so that the next comparison is short again. */
static bool same_cpu(Check *c)
{
    c->cpu->arith &= ARITH_ALL;
    c->shadow->arith &= ARITH_ALL;
    if (memcmp(c->cpu, c->shadow, offsetof(Cpu, model)) == 0) {
        return true;
    }
    if (differ(c) && !same_fields(c)) {
        return false;
    }
    memcpy(c->shadow, c->cpu, offsetof(Cpu, model));
    return true;
}

static bool memory_differs(Check *c, uint64_t at, size_t length)
{
    const uint8_t *a = c->board->ram.host + at, *b = c->shadow_board->ram.host + at;
    size_t i = 0;
    while (i < length && a[i] == b[i]) {
        i++;
    }
    if (i == length) {
        return false;
    }
    snprintf(c->difference, sizeof(c->difference),
             "the byte at 0x%" PRIx64
             " of memory is %02x in the translator, %02x in the interpreter",
             at + i, a[i], b[i]);
    return true;
}

/* A page table entry that a walk has marked: one may have had the translation already and not
 * walked, as processors differ in what their TLBs hold. */
static void settle_mark(Check *c, uint32_t at)
{
    uint8_t *a = ram_at(&c->board->ram, at), *b = ram_at(&c->shadow_board->ram, at);
    if (*a != *b && ((*a ^ *b) & ~(ENTRY_A | ENTRY_D)) == 0) {
        shadow_touch(c, at, 1, true);
        *b = *a;
        c->count.marks++;
    }
}

/* Whoever looks for changes would miss this one. */
static bool still_clean(Check *c, const Dirty *dirty)
{
    uint8_t flags = c->board->ram.flags[dirty->page];
    if (!(flags & (RAM_CLEAN_DISPLAY | RAM_CLEAN_SNAPSHOT)) || dirty->mark || c->recording.looked) {
        return false;
    }
    snprintf(c->difference, sizeof(c->difference),
             "the page at 0x%" PRIx64 " of memory was written, and is still marked clean",
             (uint64_t)dirty->page << RAM_PAGE_SHIFT);
    return true;
}

static bool same_written(Check *c)
{
    const Ram *ram = &c->board->ram;
    for (size_t i = 0; i < c->mark_count; i++) {
        settle_mark(c, (uint32_t)c->mark[i]);
    }
    for (size_t i = 0; i < c->dirty_count; i++) {
        uint64_t at = (uint64_t)c->dirty[i].page << RAM_PAGE_SHIFT;
        if ((memcmp(ram->host + at, c->shadow_board->ram.host + at, RAM_PAGE) != 0 &&
             memory_differs(c, at, RAM_PAGE)) ||
            still_clean(c, &c->dirty[i])) {
            return false;
        }
    }
    return true;
}

bool compare_span(Check *c)
{
    if (!same_cpu(c) || !same_written(c)) {
        return false;
    }
    shadow_agreed(c);
    c->mark_count = 0;
    return true;
}

bool compare_memory(Check *c)
{
    const Ram *a = &c->board->ram, *b = &c->shadow_board->ram;
    c->count.memory_compares++;
    for (uint64_t at = 0; at < a->used;) {
        off_t first = lseek(a->fd, (off_t)at, SEEK_DATA),
              second = lseek(b->fd, (off_t)at, SEEK_DATA);
        if (first < 0 && second < 0) {
            break; /* holes to the end */
        }
        at = (uint64_t)(first < 0 || (second >= 0 && second < first) ? second : first);
        size_t length = a->used - at < STRETCH ? a->used - at : STRETCH;
        if (at < a->used && memcmp(a->host + at, b->host + at, length) != 0 &&
            memory_differs(c, at, length)) {
            return false;
        }
        at += length;
    }
    return true;
}
