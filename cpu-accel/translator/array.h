/* The page array: guest memory for address spaces that have not earned a window.
 *
 * A window costs microseconds a page, an array entry nanoseconds; in return each access looks its
 * page up (docs/TRANSLATOR.md, "Memory"). There is one array, for CPL 3; it is a TLB that CR3 loads
 * empty. An entry is what must be added to a linear address to make it a host address, 0 for none.
 * There is a table for each of access sizes 1, 2 and 4 and for reading and writing; the low bits of
 * the address take part in the index, and only aligned addresses have entries: so an access that
 * might cross a page never has one.
 */
#ifndef CPU_ACCEL_TRANSLATOR_ARRAY_H
#define CPU_ACCEL_TRANSLATOR_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu-accel/x86/cpu.h"

enum { ARRAY_SIZES = 3 }; /* 1, 2 and 4 bytes */

/* A page that has entries. */
typedef struct ArrayPage {
    uint32_t linear, ram; /* page numbers */
    bool write, large;
} ArrayPage;

typedef struct Array {
    uint8_t *block;  /* masks, guards and tables */
    uint32_t *guard; /* as Window.guard */
    ArrayPage *pages;
    uint32_t *guarded; /* linear pages that have guards */
    unsigned count, guarded_count;
    unsigned filled; /* since the tables' memory was given back to the host */
    bool large;      /* some page is a piece of a large one */
} Array;

bool array_open(Array *a);
void array_close(Array *a);
/* From `guard`, the distance of the mask that makes an index of an address, and of the table. */
int32_t array_mask_at(unsigned size);
int32_t array_table_at(unsigned size, bool write);
/* After an access of the processor at CPL 3 that succeeded: enters its page. Returns its Ram page +
 * 1 if it is new, else 0. */
uint32_t array_fill(Array *a, Cpu *cpu, uint32_t linear);
void array_guard(Array *a, uint32_t linear, uint32_t ram_page);
void array_flush(Array *a);
void array_flush_page(Array *a, uint32_t linear);
/* Pages of Ram got flags: no direct writes to them. */
void array_protect(Array *a, uint32_t first_page, uint32_t pages);

#endif
