/* The host's own processor as judge. */
#include "tests/cpu/native.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

#ifdef __x86_64__

#include <sys/mman.h>
#include <ucontext.h>

enum {
    USER_CS32 = 0x23,
    USER_CS64 = 0x33,
    USER_SS = 0x2b,
    STUB = 0x230000, /* a page for the way in and out, and its variables */
    STUB_SAVED = STUB + 0x800,
    STUB_TARGET = STUB + 0x808,
    STUB_EXIT = STUB + 0x400,
    TRAP_BREAKPOINT = 3,
    FLAGS = 0xcd5, /* arithmetic ones and DF */
};

static NativeState *running; /* signals carry no argument */

static bool map(uint32_t at, uint8_t fill)
{
    void *p = mmap((void *)(uintptr_t)at, NATIVE_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != (void *)(uintptr_t)at) {
        return false;
    }
    memset(p, fill, NATIVE_PAGE);
    return true;
}

/* Every case ends here: in an INT3 or another exception. Control goes back by the exit stub. */
static void ended(int signal, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    greg_t *r = u->uc_mcontext.gregs;
    static const int regs[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX,
                                REG_RSP, REG_RBP, REG_RSI, REG_RDI};
    uint64_t selectors = (uint64_t)r[REG_CSGSFS];

    (void)info;
    if (!running) { /* not ours */
        struct sigaction plain = {.sa_handler = SIG_DFL};
        sigaction(signal, &plain, NULL);
        return;
    }
    for (unsigned i = 0; i < 8; i++) {
        running->reg[i] = (uint32_t)r[regs[i]];
    }
    running->eip = (uint32_t)r[REG_RIP];
    running->eflags = (uint32_t)r[REG_EFL] & FLAGS;
    running->vector = (int)r[REG_TRAPNO];
    running->error = (uint32_t)r[REG_ERR];
    if (running->vector == TRAP_BREAKPOINT) {
        running->vector = -1;
        running->eip--;
    }
    running = NULL;
    r[REG_RIP] = STUB_EXIT;
    r[REG_EFL] &= ~(greg_t)FLAGS;
    r[REG_CSGSFS] = (greg_t)((selectors & ~UINT64_C(0xffff)) | USER_CS64);
}

static void put(uint8_t **p, const void *bytes, size_t size)
{
    memcpy(*p, bytes, size);
    *p += size;
}

/* Saves what a call must keep, loads the 32-bit stack with registers and flags, and jumps there;
 * the exit stub undoes it. */
static void make_stubs(void)
{
    /* push rbx, rbp, r12..r15; mov [STUB_SAVED], rsp; mov ds, es = USER_SS; then to 32-bit code */
    static const uint8_t enter[] = {
        0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x48, 0x89,
        0x24, 0x25, 0x00, 0x08, 0x23, 0x00, 0xb8, 0x2b, 0x00, 0x00, 0x00, 0x8e,
        0xd8, 0x8e, 0xc0, 0xff, 0x2c, 0x25, 0x08, 0x08, 0x23, 0x00,
    };
    /* mov rsp, [STUB_SAVED]; ds = es = 0; pop r15..r12, rbp, rbx; cld; ret */
    static const uint8_t leave[] = {
        0x48, 0x8b, 0x24, 0x25, 0x00, 0x08, 0x23, 0x00, 0x31, 0xc0, 0x8e, 0xd8, 0x8e,
        0xc0, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xfc, 0xc3,
    };
    /* mov esp, STUB + 0x900; popfd; popad; mov esp, [STUB + 0x940]; jmp NATIVE_START */
    static const uint8_t load[] = {0xbc, 0x00, 0x09, 0x23, 0x00, 0x9d, 0x61,
                                   0x8b, 0x25, 0x40, 0x09, 0x23, 0x00, 0xe9};
    uint8_t *p = (uint8_t *)(uintptr_t)STUB;
    put(&p, enter, sizeof(enter));
    uint32_t target = (uint32_t)(uintptr_t)p;
    uint16_t selector = USER_CS32;
    put(&p, load, sizeof(load));
    int32_t jump = NATIVE_START - (int32_t)(uintptr_t)p - 4;
    put(&p, &jump, sizeof(jump));
    p = (uint8_t *)(uintptr_t)STUB_EXIT;
    put(&p, leave, sizeof(leave));
    p = (uint8_t *)(uintptr_t)STUB_TARGET;
    put(&p, &target, sizeof(target));
    put(&p, &selector, sizeof(selector));
}

bool native_open(const char **why)
{
    static uint8_t signal_stack[65536];
    static const int signals[] = {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS};
    stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof(signal_stack)};
    struct sigaction action = {.sa_sigaction = ended, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    if (!map(NATIVE_CODE, 0xcc) || !map(NATIVE_DATA, 0) || !map(NATIVE_STACK, 0) ||
        !map(STUB, 0xcc)) {
        *why = "the low addresses are taken";
        return false;
    }
    make_stubs();
    sigaltstack(&stack, NULL);
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        sigaction(signals[i], &action, NULL);
    }
    return true;
}

void native_run(NativeState *s)
{
    uint32_t frame[9] = {s->eflags & FLAGS, s->reg[7], s->reg[6], s->reg[5], 0,
                         s->reg[3],         s->reg[2], s->reg[1], s->reg[0]};

    memcpy((void *)(uintptr_t)(STUB + 0x900), frame, sizeof(frame));
    memcpy((void *)(uintptr_t)(STUB + 0x940), &s->reg[4], 4);
    running = s;
    ((void (*)(void))(uintptr_t)STUB)();
}

#else

bool native_open(const char **why)
{
    *why = "the host is no x86-64";
    return false;
}

void native_run(NativeState *s)
{
    (void)s;
}

#endif

uint8_t *native_code(void)
{
    return (uint8_t *)(uintptr_t)NATIVE_CODE;
}

uint8_t *native_data(void)
{
    return (uint8_t *)(uintptr_t)NATIVE_DATA;
}

uint8_t *native_stack(void)
{
    return (uint8_t *)(uintptr_t)NATIVE_STACK;
}
