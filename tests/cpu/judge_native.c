/* The host's side of the native judge: a process that runs cases in LDT segments.
 *
 * Every case ends in an exception. Its handler writes the result down, changes the interrupted
 * context into the next case, and returns into it: the system's own way back from a signal loads
 * flags, CS, SS, general registers and the x87 and SSE state. FS is the C library's; between the
 * entry of the handler and its end it is put back.
 *
 * Under ASan the process hides the shadow of low addresses, which would be memory to the cases; so
 * nothing here that touches the cases' pages may be checked.
 */
#include "tests/cpu/judge.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __x86_64__
#include <cpuid.h>

enum { FDP_EXCPTN_ONLY = 1 << 6 }; /* CPUID 7, EBX */
#endif

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)

#include <asm/ldt.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum {
    ARCH_SET_FS_CODE = 0x1002,
    ARCH_GET_FS_CODE = 0x1003,
    HWCAP2_FSGSBASE_BIT = 1 << 1,
    XSTATE_AT = 512, /* of the XSAVE image: which parts are in it */
    XSTATE_X87_SSE = 3,
    PATIENCE_MS = 20000,
};

#define UNCHECKED __attribute__((no_sanitize("address")))

struct JudgeNative {
    JudgeShared *shared;
    pid_t child;
    int to, from; /* pipes: a byte starts a batch, a byte says it is done */
};

/* The child's; a signal handler has no other way to them. */
static JudgeShared *work;
static bool in_batch;
static greg_t idle_gregs[NGREG];
static uint8_t idle_fx[512];
static uint64_t fs_base;
static bool has_fsgsbase;

/* --- descriptor tables and memory --- */

static bool set_ldt(void)
{
    for (unsigned i = 0; i < SEGMENT_COUNT; i++) {
        const JudgeSegment *s = &judge_segments[i];
        struct user_desc d = {
            .entry_number = i,
            .base_addr = s->base,
            .limit = s->limit,
            .seg_32bit = s->big,
            .contents = s->code   ? 2
                        : s->down ? 1
                                  : 0,
            .read_exec_only = s->fixed,
            .limit_in_pages = s->pages,
            .seg_not_present = s->absent,
        };
        if (syscall(SYS_modify_ldt, 0x11, &d, sizeof(d)) != 0) {
            return false;
        }
    }
    return true;
}

/* memcpy and memcmp that no sanitizer looks at. */
UNCHECKED static void copy(void *to, const void *from, size_t size)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

UNCHECKED static bool same(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < size; i++) {
        if (x[i] != y[i]) {
            return false;
        }
    }
    return true;
}

/* False: the sanitizer's memory lies where cases expect none, and cannot be hidden. */
static bool hide_shadow(void)
{
#ifdef __SANITIZE_ADDRESS__
    const uintptr_t from = 0x7fff8000, to = 0x8fff7000;       /* the shadow of the first 2 GiB */
    return mprotect((void *)from, to - from, PROT_NONE) == 0; // NOLINT: where ASan has it
#else
    return true;
#endif
}

static uint8_t *page_host(unsigned i)
{
    return (uint8_t *)(uintptr_t)judge_page_at(i); // NOLINT: at its guest's address
}

static bool is_code(unsigned i)
{
    return i < JUDGE_CODE_PAGES;
}

static bool read_only(unsigned i)
{
    return judge_page_at(i) == JUDGE_DATA + 2 * JUDGE_PAGE;
}

static bool map_pages(void)
{
    for (unsigned i = 0; i < JUDGE_PAGES; i++) {
        int access = PROT_READ | PROT_WRITE | (is_code(i) ? PROT_EXEC : 0);
        void *p = mmap(page_host(i), JUDGE_PAGE, access,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);
        if (p != page_host(i)) {
            return false;
        }
    }
    return true;
}

static void set_protection(bool on)
{
    for (unsigned i = 0; i < JUDGE_PAGES; i++) {
        if (read_only(i)) {
            mprotect(page_host(i), JUDGE_PAGE, on ? PROT_READ : PROT_READ | PROT_WRITE);
        }
    }
}

/* --- the cycle --- */

/* AC, TF, NT and ID off but for those in `keep`. */
UNCHECKED static inline void set_flags(uint64_t keep)
{
    uint64_t flags = __builtin_ia32_readeflags_u64();
    __builtin_ia32_writeeflags_u64((flags & ~(uint64_t)(FL_AC | FL_TF | FL_NT | FL_ID)) | keep);
}

UNCHECKED static inline uint16_t read_seg(unsigned seg)
{
    uint16_t value = 0;
    switch (seg) {
    case ES:
        __asm__ volatile("mov %%es, %0" : "=r"(value));
        break;
    case DS:
        __asm__ volatile("mov %%ds, %0" : "=r"(value));
        break;
    case FS:
        __asm__ volatile("mov %%fs, %0" : "=r"(value));
        break;
    case GS:
        __asm__ volatile("mov %%gs, %0" : "=r"(value));
        break;
    default:
        break;
    }
    return value;
}

UNCHECKED static inline void take_fs_back(void)
{
    if (has_fsgsbase) {
        __asm__ volatile("wrfsbase %0" : : "r"(fs_base));
    } else {
        long result;
        __asm__ volatile("syscall"
                         : "=a"(result)
                         : "a"(SYS_arch_prctl), "D"(ARCH_SET_FS_CODE), "S"(fs_base)
                         : "rcx", "r11", "memory");
    }
}

static const int reg_index[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX,
                                 REG_RSP, REG_RBP, REG_RSI, REG_RDI};

static void record(const ucontext_t *u, const uint16_t seg[SEG_COUNT])
{
    JudgeResult *result = &work->result[work->at];
    JudgeState *s = &result->after;
    const greg_t *r = u->uc_mcontext.gregs;

    for (unsigned i = 0; i < 8; i++) {
        s->reg[i] = (uint32_t)r[reg_index[i]];
    }
    s->eip = (uint32_t)r[REG_RIP];
    s->eflags = (uint32_t)r[REG_EFL];
    memcpy(s->seg, seg, sizeof(s->seg));
    s->seg[CS] = (uint16_t)r[REG_CSGSFS];
    s->seg[SS] = (uint16_t)(r[REG_CSGSFS] >> 48);
    memcpy(&s->fx, u->uc_mcontext.fpregs, sizeof(s->fx));
    s->vector = (int)r[REG_TRAPNO];
    s->error = (uint32_t)r[REG_ERR];
    s->cr2 = (uint32_t)r[REG_CR2];
    for (unsigned i = 0; i < JUDGE_PAGES; i++) {
        copy(result->memory.page[i], page_host(i), JUDGE_PAGE);
    }
}

static void set_memory(const JudgeCase *c)
{
    static JudgeMemory m;
    judge_memory_make(&m, &work->base, c);
    for (unsigned i = 0; i < JUDGE_PAGES; i++) {
        if (read_only(i)) {
            if (!same(page_host(i), m.page[i], JUDGE_PAGE)) {
                set_protection(false);
                copy(page_host(i), m.page[i], JUDGE_PAGE);
                set_protection(true);
            }
        } else {
            copy(page_host(i), m.page[i], JUDGE_PAGE);
        }
    }
}

static void begin(ucontext_t *u, const JudgeCase *c)
{
    const JudgeState *s = &c->before;
    greg_t *r = u->uc_mcontext.gregs;
    uint8_t *fx = (uint8_t *)u->uc_mcontext.fpregs;
    uint64_t parts;

    set_memory(c);
    for (unsigned i = 0; i < 8; i++) {
        r[reg_index[i]] = s->reg[i];
    }
    r[REG_RIP] = s->eip;
    r[REG_EFL] = s->eflags;
    r[REG_CSGSFS] = (greg_t)(s->seg[CS] | (uint64_t)s->seg[SS] << 48);
    memcpy(fx, &s->fx, 28); /* all but MXCSR's mask */
    memcpy(fx + 32, (const uint8_t *)&s->fx + 32, 256);
    memcpy(&parts, fx + XSTATE_AT, sizeof(parts));
    parts |= XSTATE_X87_SSE;
    memcpy(fx + XSTATE_AT, &parts, sizeof(parts));
}

/* NOLINTNEXTLINE: one way in and out */
__attribute__((no_stack_protector)) UNCHECKED static void trapped(int number, siginfo_t *info,
                                                                  void *context)
{
    ucontext_t *u = context;
    uint16_t seg[SEG_COUNT];

    set_flags(0);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        seg[i] = read_seg(i);
    }
    take_fs_back();
    (void)info;
    if (!work || (!in_batch && number != SIGTRAP)) {
        signal(number, SIG_DFL);
        return;
    }
    if (!in_batch) {
        memcpy(idle_gregs, u->uc_mcontext.gregs, sizeof(idle_gregs));
        memcpy(idle_fx, u->uc_mcontext.fpregs, sizeof(idle_fx));
        in_batch = true;
        work->at = 0;
    } else {
        record(u, seg);
        work->at++;
    }
    uint16_t next[SEG_COUNT] = {0};
    if (work->at < work->count) {
        const JudgeCase *c = &work->c[work->at];
        begin(u, c);
        memcpy(next, c->before.seg, sizeof(next));
        set_flags(c->before.eflags & (FL_NT | FL_ID)); /* the way back leaves these as they are */
        __asm__ volatile("mov %0, %%es\n\tmov %1, %%ds\n\tmov %2, %%gs\n\tmov %3, %%fs"
                         :
                         : "r"(next[ES]), "r"(next[DS]), "r"(next[GS]), "r"(next[FS])
                         : "memory");
        return;
    }
    memcpy(u->uc_mcontext.gregs, idle_gregs, sizeof(idle_gregs));
    memcpy(u->uc_mcontext.fpregs, idle_fx, sizeof(idle_fx));
    in_batch = false;
    __asm__ volatile("mov %0, %%es\n\tmov %0, %%ds\n\tmov %0, %%gs\n\tmov %0, %%fs"
                     :
                     : "r"(next[ES])
                     : "memory");
    take_fs_back();
}

static bool take_signals(void)
{
    static uint8_t stack_bytes[1 << 16];
    static const int numbers[] = {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS};
    stack_t stack = {.ss_sp = stack_bytes, .ss_size = sizeof(stack_bytes)};
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigfillset(&action.sa_mask);
    if (sigaltstack(&stack, NULL) != 0) {
        return false;
    }
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (sigaction(numbers[i], &action, NULL) != 0) {
            return false;
        }
    }
    return true;
}

static void serve(JudgeShared *shared, int from, int to)
{
    char byte, order;

    has_fsgsbase = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT;
    syscall(SYS_arch_prctl, ARCH_GET_FS_CODE, &fs_base);
    bool good = set_ldt() && map_pages() && take_signals() && hide_shadow();
    set_protection(true);
    work = shared;
    byte = good ? 'y' : 'n';
    while (write(to, &byte, 1) == 1 && good && read(from, &order, 1) == 1) {
        if (shared->count) {
            __asm__ volatile("int3" : : : "memory", "cc");
        }
    }
    _exit(good ? 0 : 1);
}

/* A byte from the child. 0: none came in time, or it is dead. */
static char answer(JudgeNative *n)
{
    struct pollfd p = {n->from, POLLIN, 0};
    char byte = 0;
    int got;

    do {
        got = poll(&p, 1, PATIENCE_MS);
    } while (got < 0 && errno == EINTR);
    return got == 1 && read(n->from, &byte, 1) == 1 ? byte : 0;
}

static bool start(JudgeNative *n)
{
    int down[2], up[2];

    if (pipe(down) != 0) {
        return false;
    }
    if (pipe(up) != 0) {
        close(down[0]);
        close(down[1]);
        return false;
    }
    fflush(NULL);
    n->child = fork();
    if (n->child == 0) {
        close(down[1]);
        close(up[0]);
        serve(n->shared, down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    n->to = down[1];
    n->from = up[0];
    return n->child > 0 && answer(n) == 'y';
}

static void stop(JudgeNative *n)
{
    close(n->to);
    close(n->from);
    if (n->child > 0) {
        kill(n->child, SIGKILL);
        waitpid(n->child, NULL, 0);
    }
}

JudgeNative *judge_native_new(const char **why)
{
    JudgeNative *n = calloc(1, sizeof(*n));

    signal(SIGPIPE, SIG_IGN);
    n->shared =
        mmap(NULL, sizeof(*n->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (n->shared == MAP_FAILED || !start(n)) {
        *why = "this host gives no LDT segments, or the low addresses are taken";
        if (n->shared != MAP_FAILED) {
            stop(n);
            munmap(n->shared, sizeof(*n->shared));
        }
        free(n);
        return NULL;
    }
    return n;
}

bool judge_native_run(JudgeNative *n)
{
    char byte = 'r';

    if (write(n->to, &byte, 1) == 1 && answer(n) == 'y') {
        return true;
    }
    unsigned at = n->shared->at;
    stop(n);
    start(n);
    n->shared->at = at;
    return false;
}

void judge_native_free(JudgeNative *n)
{
    stop(n);
    munmap(n->shared, sizeof(*n->shared));
    free(n);
}

#else

JudgeNative *judge_native_new(const char **why)
{
    /* TSan answers signals late, and the cases are answers to signals */
    *why = "needs an x86-64 host, and a build without TSan, which holds signals back";
    return NULL;
}

bool judge_native_run(JudgeNative *n)
{
    (void)n;
    return false;
}

void judge_native_free(JudgeNative *n)
{
    (void)n;
}

#endif

bool judge_native_data_on_exception(void)
{
#ifdef __x86_64__
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & FDP_EXCPTN_ONLY;
#else
    return false;
#endif
}

JudgeShared *judge_native_shared(JudgeNative *n)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
    return n->shared;
#else
    (void)n;
    return NULL;
#endif
}
