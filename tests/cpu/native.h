/* The host's own processor as judge: runs 32-bit user code natively and says what came of it.
 *
 * x86-64 Linux only. Code, data and stack lie at fixed low addresses, which a Guest has too, so
 * that one case runs on both unchanged. */
#ifndef TESTS_CPU_NATIVE_H
#define TESTS_CPU_NATIVE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    NATIVE_CODE = 0x200000, /* one page of INT3 around the code, which starts in its middle */
    NATIVE_START = NATIVE_CODE + 0x800,
    NATIVE_DATA = 0x210000,  /* one page */
    NATIVE_STACK = 0x220000, /* one page; ESP should stay clear of its ends */
    NATIVE_PAGE = 0x1000,
};

typedef struct NativeState {
    uint32_t reg[8];
    uint32_t eip;
    uint32_t eflags;
    int vector;     /* after: the exception, or -1 when it ran into an INT3 of the page */
    uint32_t error; /* its error code */
} NativeState;

/* Maps the pages and takes the signals over. False with a reason where this cannot work. */
bool native_open(const char **why);
uint8_t *native_code(void);
uint8_t *native_data(void);
uint8_t *native_stack(void);
/* Runs from NATIVE_START until an exception or an INT3; registers and arithmetic flags (and DF) are
 * taken from `s` and brought back. */
void native_run(NativeState *s);

#endif
