/* Faults of translated code, and the alarm that ends a run: the host's signals turned into the
 * guest's affairs.
 *
 * SIGSEGV in translated code is a page that its window does not show yet, an access the guest may
 * not make, a device, or the poll that attention has made fail. SIGFPE is a division error. All but
 * the first leave translated code at exactly that instruction, which the interpreter then runs.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "cpu-accel/translator/translator.h"

enum { SIGNAL_STACK_SIZE = 64 << 10, ERROR_WRITE = 2 };

/* A signal has no other way to its machine than its thread. */
static _Thread_local Translator *current;
static _Thread_local bool has_stack, own_stack;

static bool in_code(const Translator *t, const void *place)
{
    return (const uint8_t *)place >= t->code.run &&
           (const uint8_t *)place < t->code.run + t->code.size;
}

static void leave_to(ucontext_t *u, const uint8_t *stub, uint32_t eip)
{
    u->uc_mcontext.gregs[REG_R8] = eip;
    u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)stub;
}

/* A repeated string instruction runs for as long as the guest likes. */
static bool at_repeat(const uint8_t *host)
{
    if (host[0] == 0x66) {
        host++;
    }
    return (host[0] == 0xf2 || host[0] == 0xf3) && host[1] >= 0xa4 && host[1] <= 0xaf;
}

/* A repeated string instruction stops: what it has done so far becomes the guest's. */
static void settle_string(const Translator *t, ucontext_t *u, const Insn *in, int mode)
{
    greg_t *g = u->uc_mcontext.gregs;
    HostString h = {(uint64_t)g[REG_RCX], (uint64_t)g[REG_RSI], (uint64_t)g[REG_RDI],
                    (uint64_t)g[REG_R9],  (uint64_t)g[REG_R10], (uint64_t)g[REG_R11]};
    string_settle(t->cpu, in, mode, &h);
    g[REG_RCX] = (greg_t)h.cx;
    g[REG_RSI] = (greg_t)h.si;
    g[REG_RDI] = (greg_t)h.di;
}

/* Leaves at the instruction whose host code faulted. */
static bool step_instead(Translator *t, ucontext_t *u, const uint8_t *host)
{
    unsigned insn;
    Unit *unit = unit_at(t, host, &insn);
    if (!unit) {
        return false;
    }
    uint32_t eip = unit->eip;
    for (unsigned i = 0; i < insn; i++) {
        eip += unit->insn[i].length;
    }
    resident_note_up_to(t->cpu, unit, insn);
    t->cpu->scratch[SCRATCH_REMAIN] += unit->count - insn;
    if (at_repeat(host)) {
        settle_string(t, u, &unit->insn[insn], unit->mode);
    }
    leave_to(u, t->stub.step, eip);
    return true;
}

/* If that happens often, it will be called instead. */
static bool note_slow_at(Translator *t, const uint8_t *host)
{
    unsigned insn;
    Unit *unit = unit_at(t, host, &insn);
    if (unit && !unit->dead) {
        unit_note_slow(t, unit, insn);
    }
    return unit != NULL;
}

static bool stepped_for_good(Translator *t, ucontext_t *u, const uint8_t *host)
{
    t->count.faults++;
    return note_slow_at(t, host) && step_instead(t, u, host);
}

/* mov r9, [r9]: nothing else in the cache has it. */
static const uint8_t poll_load[] = {0x4d, 0x8b, 0x09};

static bool handle_fault(Translator *t, siginfo_t *info, ucontext_t *u)
{
    const uint8_t *host = (const uint8_t *)(uintptr_t)u->uc_mcontext.gregs[REG_RIP];
    uint32_t linear;
    if (!in_code(t, host)) {
        return false;
    }
    if (memcmp(host, poll_load, sizeof(poll_load)) == 0) {
        leave_to(u, t->stub.poll, (uint32_t)u->uc_mcontext.gregs[REG_R8]);
        return true;
    }
    Window *w = window_of(&t->windows, info->si_addr, &linear);
    bool write = u->uc_mcontext.gregs[REG_ERR] & ERROR_WRITE;
    if (w && window_fill(&t->windows, w, linear, write)) {
        t->count.fills++;
        if (window_changes(w, linear)) {
            note_slow_at(t, host);
        }
        return true;
    }
    if (w && window_forbids(&t->windows, w, linear, write)) {
        t->count
            .faults++; /* a page fault of the guest's, which will see to it: no reason to call */
        return step_instead(t, u, host);
    }
    return stepped_for_good(t, u, host);
}

/* What stood there before us, once for the process: handlers belong to all its machines. */
static struct sigaction before_segv, before_fpe;
static pthread_mutex_t handlers_lock = PTHREAD_MUTEX_INITIALIZER;

/* Not ours: what would have happened without us. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    const struct sigaction *before = number == SIGSEGV ? &before_segv : &before_fpe;
    if (before->sa_flags & SA_SIGINFO) {
        before->sa_sigaction(number, info, context);
    } else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
        before->sa_handler(number);
    } else {
        signal(number, SIG_DFL); /* and the instruction faults again */
    }
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    Translator *t = current;
    ucontext_t *u = context;
    bool handled = false;
    if (t && number == SIGSEGV) {
        handled = handle_fault(t, info, u);
    } else if (t && in_code(t, (const void *)(uintptr_t)u->uc_mcontext.gregs[REG_RIP])) {
        handled = stepped_for_good(t, u, (const uint8_t *)(uintptr_t)u->uc_mcontext.gregs[REG_RIP]);
    }
    if (!handled) {
        errno = saved_errno;
        pass_on(number, info, context);
    }
    errno = saved_errno;
}

static void on_alarm(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    Translator *t = current;
    ucontext_t *u = context;
    const uint8_t *host = (const uint8_t *)(uintptr_t)u->uc_mcontext.gregs[REG_RIP];
    if (!t) {
        return;
    }
    t->alarm_at = 0;
    atomic_store(&t->cpu->attention, true);
    __atomic_store_n(&t->cpu->scratch[SCRATCH_POLL], 0, __ATOMIC_RELEASE);
    if (in_code(t, host) && at_repeat(host)) {
        (void)step_instead(t, u, host); /* pauses between two iterations */
    }
}

static int alarm_signal(void)
{
    return SIGRTMIN + 5;
}

/* Takes the signal, and remembers whom it was taken from. */
static bool take(int number, struct sigaction *before)
{
    struct sigaction ours = {.sa_sigaction = on_fault,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    struct sigaction now;
    bool done = sigaction(number, NULL, &now) == 0;
    if (done && (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_fault)) {
        *before = now;
        done = sigaction(number, &ours, NULL) == 0;
    }
    return done;
}

bool signals_open(Translator *t, Err *err)
{
    struct sigaction alarm = {.sa_sigaction = on_alarm,
                              .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    t->signal_stack = malloc(SIGNAL_STACK_SIZE);
    pthread_mutex_lock(&handlers_lock);
    bool taken = take(SIGSEGV, &before_segv) && take(SIGFPE, &before_fpe);
    pthread_mutex_unlock(&handlers_lock);
    if (!t->signal_stack || !taken || sigaction(alarm_signal(), &alarm, NULL) < 0) {
        return err_set(err, "translator: signals cannot be handled: %s", strerror(errno));
    }
    return true;
}

void signals_close(Translator *t)
{
    if (current == t) {
        stack_t off = {.ss_flags = SS_DISABLE};
        if (own_stack) {
            sigaltstack(&off, NULL);
        }
        current = NULL;
        has_stack = false;
    }
    if (t->alarm_made) {
        timer_delete(t->alarm);
    }
    free(t->signal_stack);
}

void signals_use(Translator *t)
{
    current = t;
    if (!has_stack) {
        stack_t old, own = {.ss_sp = t->signal_stack, .ss_size = SIGNAL_STACK_SIZE};
        bool theirs = sigaltstack(NULL, &old) == 0 && !(old.ss_flags & SS_DISABLE);
        has_stack = theirs || sigaltstack(&own, NULL) == 0; /* a sanitizer gives each thread one */
        own_stack = !theirs;
    }
    if (!t->alarm_made) {
        struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = alarm_signal()};
        event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
        t->alarm_made = timer_create(CLOCK_MONOTONIC, &event, &t->alarm) == 0;
    }
}

void signals_alarm(Translator *t, int64_t ns)
{
    struct itimerspec when = {.it_value = {ns / 1000000000, ns % 1000000000}};
    timer_settime(t->alarm, 0, &when, NULL);
}
