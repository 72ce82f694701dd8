/* For tests of paging, segmentation, interrupts and tasks: a processor over 4 MiB of memory, and
 * builders for descriptor tables, gates and page tables. */
#ifndef TESTS_CPU_SYS_RIG_H
#define TESTS_CPU_SYS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/ex.h"
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/system.h"

/* Where things lie in guest memory. */
enum {
    SYS_RAM = 4 << 20,
    SYS_GDT = 0x1000,
    SYS_GDT_LIMIT = 0x3ff,
    SYS_IDT = 0x2000,
    SYS_TSS = 0x3000, /* 32-bit; others from SYS_TSS2 on */
    SYS_TSS2 = 0x4000,
    SYS_LDT = 0x5000,
    SYS_STACK0 = 0x8000, /* tops of stacks of levels 0 and 3 */
    SYS_STACK3 = 0x9000,
    SYS_DIRECTORY = 0x10000,
    SYS_TABLES = 0x11000, /* page tables of the lowest 4 MiB, and more */
    SYS_CODE = 0x20000,
    SYS_DATA = 0x30000,
};

/* Descriptors that sys_open makes; free ones from SYS_FREE on. */
enum {
    SYS_CODE0 = 0x08,
    SYS_DATA0 = 0x10,
    SYS_CODE3 = 0x1b,
    SYS_DATA3 = 0x23,
    SYS_TR = 0x28,
    SYS_CODE0_16 = 0x30,
    SYS_DATA0_16 = 0x38,
    SYS_FREE = 0x40,
};

/* Access bytes and flags for sys_desc: bits as in SegReg.access. */
enum {
    D_CODE = 0x9b,
    D_DATA = 0x93,
    D_DPL3 = 0x60,
    D_BIG = 0x4000,
    D_PAGES = 0x8000,
};

typedef struct Sys {
    Board *b;
    Cpu *cpu;
    uint8_t *ram;
    uint8_t vector; /* what an INTA cycle answers */
    unsigned acknowledges, shutdowns;
    bool smiact;
    uint64_t apic_base;
} Sys;

/* Real mode, CS:IP 2000:0000 and SS:SP 0000:8000, the IVT at 0. */
void sys_open(Sys *s, CpuModel model);
void sys_close(Sys *s);
/* Saves one board and loads it into another; fails the test unless that one saves the same bytes.
 */
void sys_state_copy(Sys *from, Sys *to);
void sys_protected(Sys *s); /* flat 32-bit level 0, EIP SYS_CODE, stack SYS_STACK0, TSS loaded */
void sys_user(Sys *s);      /* then: flat level 3, stack SYS_STACK3 */
void sys_v86(Sys *s, unsigned iopl);
/* Identity map of all RAM with present, writable, user pages; then paging on. */
void sys_paging(Sys *s);
/* The PTE of a linear address below 4 MiB, of sys_paging's table. */
uint32_t sys_pte(Sys *s, uint32_t linear);
void sys_set_pte(Sys *s, uint32_t linear, uint32_t pte); /* without any flush */

/* limit in units of the granularity bit. */
void sys_desc(Sys *s, uint16_t selector, uint32_t base, uint32_t limit, uint32_t access);
void sys_call_gate(Sys *s, uint16_t selector, unsigned type, uint16_t target, uint32_t offset,
                   unsigned dpl, unsigned count);
void sys_idt_gate(Sys *s, uint8_t vector, unsigned type, uint16_t target, uint32_t offset,
                  unsigned dpl);
/* A whole 32-bit TSS image at `at`, without segments; level 0 stack set. */
void sys_tss(Sys *s, uint16_t selector, uint32_t at, unsigned type, uint32_t limit);

uint16_t sys_word(Sys *s, uint32_t at);
uint32_t sys_dword(Sys *s, uint32_t at);
void sys_set_word(Sys *s, uint32_t at, uint16_t value);
void sys_set_dword(Sys *s, uint32_t at, uint32_t value);
/* The n-th dword above ESP. */
uint32_t sys_stack(Sys *s, unsigned n);

/* A handler by itself. The instruction is taken to be `length` 2 bytes long at EIP. */
Insn sys_insn(unsigned opsize);

#define assert_faults(s, outcome, vec, code)                                                       \
    do {                                                                                           \
        assert_int_equal((outcome), X_FAULT);                                                      \
        assert_int_equal((s)->cpu->fault.vector, (vec));                                           \
        assert_true((s)->cpu->fault.has_error_code);                                               \
        assert_int_equal((s)->cpu->fault.error_code, (code));                                      \
    } while (0)

/* For functions that answer false. */
#define assert_refused(s, ok, vec, code) assert_faults(s, (ok) ? X_NEXT : X_FAULT, vec, code)

#endif
