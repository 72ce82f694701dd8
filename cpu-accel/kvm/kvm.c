/* The KVM engine: runs the guest on the processor itself.
 *
 * KVM API. PIC, PIT and APICs are ours, not the kernel's, so that there is one model of each under
 * every engine. What the kernel cannot do is carried by the interpreter, between two instructions,
 * without leaving this engine (kvm_help.c).
 * Not offered: guest time from executed instructions (the hardware does not stop at a count), FERR#
 * (VMX wants CR0.NE set, whatever the guest reads: SDM vol. 3, 23.8 and A.7; SVM leaves it clear
 * and tells nobody of the error). The paravirtual clock is shown where the machine has it under
 * every engine (pvclock.h). engine.c opens it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/kvm/kvm_internal.h"
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/cpuid.h"
#include "cpu-accel/x86/pvclock.h"
#include "machine/core/log.h"

LOG_TAG("kvm");

enum {
    API_VERSION = 12,
    WINDOW_NS = 2000000, /* how long an interrupt waits for KVM to see that it may come */
    PAGE = 4096,
    FERR_LOOK_NS = 1000000,
    MOST_TSC_KHZ = 4294967,
};
/* Three pages and one that some processors need, where neither memory nor devices are. */
#define TSS_ADDRESS 0xfeffd000u
#define IDENTITY_ADDRESS UINT64_C(0xfeffc000)
#define VGA_WINDOW 0xa0000u
#define VGA_WINDOW_SIZE 0x20000u

/* The Accel moves when a machine changes its engine: note where it is with every call. */
static Kvm *kvm_of(Accel *a)
{
    Kvm *k = a->self;
    k->accel = a;
    return k;
}

static int extension(const KvmSys *sys, int fd, unsigned long which)
{
    int value = kvm_ioctl_value(sys, fd, KVM_CHECK_EXTENSION, which);
    return value > 0 ? value : 0;
}

/* State. */

/* Lets the kernel complete the instruction whose exit was handled last, and none after it. */
static void finish_instruction(Kvm *k)
{
    while (k->unfinished) {
        k->unfinished = false;
        k->run->immediate_exit = 1;
        int r = kvm_ioctl_value(k->sys, k->vcpu, KVM_RUN, 0);
        kvm_flush_writes(k);
        if (r == 0 && kvm_handle_exit(k) == KVM_STOP_FAILED) {
            return;
        }
    }
}

void kvm_take_state(Kvm *k)
{
    if (!k->cpu_current) {
        finish_instruction(k);
        k->cpu_current = true;
        kvm_load_cpu(k);
    }
}

static void kvm_pull(Accel *a)
{
    Kvm *k = kvm_of(a);
    if (k->helping) {
        k->helper.ops->pull(&k->helper);
    } else {
        kvm_take_state(k);
    }
}

static void kvm_push(Accel *a)
{
    Kvm *k = kvm_of(a);
    ram_need(&a->board->ram, 0, a->board->ram.used); /* the host maps memory to the guest unasked */
    if (k->helping && !a->cpu->smm) {
        kvm_help_end(k); /* a reset, or another state, came in between */
    }
    if (k->helping) {
        k->helper.ops->push(&k->helper);
    }
    k->cpu_current = true;
    k->unfinished = false;
    k->halted = a->cpu->activity == CPU_HALTED;
}

/* The run loop. */

static bool wakes(const Kvm *k)
{
    const Cpu *cpu = k->accel->cpu;
    bool interrupts = k->cpu_current ? cpu->eflags & FL_IF : k->interrupts_on;
    return (cpu->intr && interrupts) || cpu->nmi_pending;
}

/* HLT ends the shadow of an STI before it, and the interrupt that ends HLT comes before any further
 * instruction. Some kernels leave the shadow standing, and run on to a CLI. */
static void end_shadow_of_halt(Kvm *k)
{
    struct kvm_vcpu_events events;
    if (k->sys->ioctl(k->sys->self, k->vcpu, KVM_GET_VCPU_EVENTS, &events) >= 0) {
        events.interrupt.shadow = 0;
        events.flags |= KVM_VCPUEVENT_VALID_SHADOW;
        k->ready = k->sys->ioctl(k->sys->self, k->vcpu, KVM_SET_VCPU_EVENTS, &events) >= 0;
    }
}

/* Hands over what waits at the pins. */
static void inject(Kvm *k)
{
    Cpu *cpu = k->accel->cpu;
    k->run->request_interrupt_window = 0;
    if (cpu->nmi_pending && kvm_ioctl_value(k->sys, k->vcpu, KVM_NMI, 0) >= 0) {
        cpu->nmi_pending = false;
        k->halted = false; /* an interrupt that waits, too, comes behind it */
    }
    if (!cpu->intr) {
        return;
    }
    if (k->halted && k->interrupts_on && !k->ready) {
        end_shadow_of_halt(k);
    }
    if (k->ready) {
        struct kvm_interrupt interrupt = {cpu->pins->acknowledge(cpu->pins->self)};
        k->sys->ioctl(k->sys->self, k->vcpu, KVM_INTERRUPT, &interrupt);
        k->ready = false;
        k->halted = false;
    }
    k->run->request_interrupt_window = cpu->intr;
}

/* A kernel that emulates what it cannot run may overlook that interrupts were on for two
 * instructions: then the interpreter carries the guest to where the interrupt goes in. */
static bool interrupt_is_stuck(Kvm *k)
{
    int64_t now = clock_peek(&k->accel->board->clock);
    if (!k->accel->cpu->intr || k->ready) {
        k->waiting_since = CLOCK_NEVER;
    } else if (k->waiting_since == CLOCK_NEVER) {
        k->waiting_since = now;
    }
    return k->waiting_since != CLOCK_NEVER && now - k->waiting_since > WINDOW_NS;
}

static KvmStep carry_interrupt(Kvm *k)
{
    int64_t now = clock_peek(&k->accel->board->clock);
    k->waiting_since = CLOCK_NEVER;
    if (!kvm_help_begin(k, now + 2 * WINDOW_NS)) {
        return KVM_STOP_FAILED;
    }
    k->help_for_interrupt = true;
    return KVM_GO_ON;
}

static void note_apic_base(Kvm *k)
{
    Cpu *cpu = k->accel->cpu;
    if (k->run->apic_base != cpu->apic_base) {
        cpu->apic_base = k->run->apic_base;
        if (cpu->pins->apic_base_changed) {
            cpu->pins->apic_base_changed(cpu->pins->self, cpu->apic_base);
        }
    }
}

/* Where the kernel emulates, an OUT that came to us does not stop behind itself: complete it here.
 */
static KvmStep end_step(Kvm *k)
{
    uint64_t before = k->accel->cpu->executed;
    if (k->unfinished) {
        finish_instruction(k);
        k->run->immediate_exit = 0;
        k->accel->cpu->executed += k->accel->cpu->executed == before;
    }
    return KVM_GO_ON;
}

/* KVM_RUN and what comes of it. */
static KvmStep enter(Kvm *k)
{
    if (k->cpu_current) {
        if (!kvm_store_cpu(k)) {
            return KVM_STOP_FAILED;
        }
        k->cpu_current = false;
    }
    inject(k);
    k->unfinished = false;
    int r = kvm_ioctl_value(k->sys, k->vcpu, KVM_RUN, 0);
    int error = errno;
    kvm_flush_writes(k);
    k->ready = k->run->ready_for_interrupt_injection;
    k->interrupts_on = k->run->if_flag;
    note_apic_base(k);
    if (r >= 0) {
        KvmStep next = kvm_handle_exit(k);
        return next == KVM_GO_ON && k->stepping ? end_step(k) : next;
    }
    switch (error) {
    case EINTR: /* alarm or kick */
        return KVM_STOP_DUE;
    case EAGAIN:
        return KVM_GO_ON;
    default:
        snprintf(k->accel->failure, sizeof(k->accel->failure), "KVM_RUN: %s", strerror(error));
        return KVM_STOP_FAILED;
    }
}

/* One turn of the loop. */
static KvmStep step(Kvm *k, int64_t until)
{
    Cpu *cpu = k->accel->cpu;
    if (atomic_load_explicit(&cpu->attention, memory_order_acquire) ||
        (k->stepping && cpu->executed >= k->step_end) ||
        clock_peek(&k->accel->board->clock) >= until) {
        return KVM_STOP_DUE;
    }
    if (k->helping) {
        return kvm_help_run(k, until);
    }
    if (cpu->init_pending) {
        kvm_take_state(k);
        int_poll(cpu);
        k->halted = false;
    }
    if (cpu->smi_pending || cpu->smm || (k->cpu_current && cpu->activity == CPU_SHUTDOWN)) {
        return kvm_help_begin(k, CLOCK_NEVER) ? KVM_GO_ON : KVM_STOP_FAILED;
    }
    if (k->halted && !wakes(k)) {
        return KVM_STOP_HALTED;
    }
    if (!k->halted && interrupt_is_stuck(k)) {
        return carry_interrupt(k);
    }
    if (!kvm_memory_update(k)) {
        return KVM_STOP_FAILED;
    }
    if (k->halted && k->cpu_current) {
        cpu->activity = CPU_RUNNING; /* what wakes it is injected below */
    }
    return enter(k);
}

/* Accel.budget: the hardware does not count instructions, but it stops behind each. */
static bool set_stepping(Kvm *k, uint64_t budget)
{
    struct kvm_guest_debug debug = {.control =
                                        budget ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP : 0};
    k->step_end = k->accel->cpu->executed + budget;
    if (k->stepping == (budget != 0)) {
        return true;
    }
    if (k->sys->ioctl(k->sys->self, k->vcpu, KVM_SET_GUEST_DEBUG, &debug) < 0) {
        snprintf(k->accel->failure, sizeof(k->accel->failure), "single steps: %s", strerror(errno));
        return false;
    }
    k->stepping = budget != 0;
    return true;
}

/* x87 errors come by IRQ 13 where CR0.NE is clear; a virtual processor has no FERR#. True: another
 * engine must go on. */
static bool misses_ferr(Kvm *k)
{
    int64_t now = clock_peek(&k->accel->board->clock);
    if (k->helping || k->cpu_current || now < k->ferr_look) {
        return false;
    }
    k->ferr_look = now + FERR_LOOK_NS;
    if (!kvm_wants_ferr(k)) {
        return false;
    }
    static const char why[] = "x87 errors are unmasked and come by IRQ 13, which KVM cannot signal";
    if (k->accel->replaceable) {
        snprintf(k->accel->failure, sizeof(k->accel->failure), "%s", why);
        k->accel->may_return = true;
        return true;
    }
    if (!k->ferr_told) {
        k->ferr_told = true;
        log_warn("%s: they will come as interrupt 16; -accel translator has both", why);
    }
    return false;
}

static RunExit kvm_run_guest(Accel *a, int64_t until)
{
    Kvm *k = kvm_of(a);
    const Clock *clock = &a->board->clock;
    if (clock->source == CLOCK_COUNTED) {
        snprintf(a->failure, sizeof(a->failure),
                 "guest time from executed instructions (-icount) is not possible under KVM");
        return RUN_FAILED;
    }
    k->thread = pthread_self();
    atomic_thread_fence(memory_order_seq_cst);
    k->thread_known = true;
    if (!set_stepping(k, a->budget)) {
        return RUN_FAILED;
    }
    if (!k->cpu_current && !k->helping && kvm_lag(k) != k->lag) {
        kvm_take_state(k); /* the machine stood still: so shall its TSC have */
    }
    k->run->immediate_exit = 0;
    atomic_thread_fence(memory_order_seq_cst); /* before step looks at attention */
    bool timed = clock->source == CLOCK_HOST && until != CLOCK_NEVER;
    if (timed) {
        Err err = {""};
        if (!k->alarm.made && !kvm_alarm_open(&k->alarm, k->run, &err)) {
            snprintf(a->failure, sizeof(a->failure), "%.200s", err.text);
            return RUN_FAILED;
        }
        int64_t left = until - clock_peek(clock);
        kvm_alarm_set(&k->alarm, left > 0 ? left : 1);
    }
    KvmStep result;
    do {
        result = step(k, until);
    } while (result == KVM_GO_ON);
    if (timed) {
        kvm_alarm_stop(&k->alarm);
    }
    kvm_memory_sync(k);
    if (result == KVM_STOP_FAILED || misses_ferr(k)) {
        return RUN_FAILED;
    }
    return result == KVM_STOP_HALTED ? RUN_HALTED : RUN_DUE;
}

static void kvm_kick(Accel *a)
{
    Kvm *k = kvm_of(a);
    atomic_store(&a->cpu->attention, true);
    if (k->thread_known) {
        k->run->immediate_exit = 1;
        if (!pthread_equal(k->thread, pthread_self())) {
            kvm_alarm_kick(k->thread);
        }
    }
}

static void kvm_code_changed(Accel *a, uint32_t at, uint32_t length)
{
    Kvm *k = kvm_of(a);
    if (k->helping) {
        k->helper.ops->code_changed(&k->helper, at, length);
    }
}

static void kvm_flags_set(Accel *a, uint32_t first_page, uint32_t pages)
{
    Kvm *k = kvm_of(a);
    k->flags_stale = true;
    if (k->helping) {
        k->helper.ops->flags_set(&k->helper, first_page, pages);
    }
}

static void kvm_map_changed(Accel *a)
{
    Kvm *k = kvm_of(a);
    k->map_stale = true;
    if (k->helping) {
        k->helper.ops->map_changed(&k->helper);
    }
}

/* Opening. */

static bool open_vm(Kvm *k, Err *err)
{
    const KvmSys *sys = k->sys;
    k->system = sys->open(sys->self);
    if (k->system < 0) {
        return err_set(err, "kvm: /dev/kvm: %s; use -accel translator, or -accel auto",
                       strerror(errno));
    }
    int version = kvm_ioctl_value(sys, k->system, KVM_GET_API_VERSION, 0);
    if (version != API_VERSION) {
        return err_set(err, "kvm: the kernel speaks KVM API %d, not %d; use -accel translator",
                       version, API_VERSION);
    }
    if (!extension(sys, k->system, KVM_CAP_USER_MEMORY) ||
        !extension(sys, k->system, KVM_CAP_IMMEDIATE_EXIT)) {
        return err_set(err, "kvm: this kernel is too old (before 4.13); use -accel translator");
    }
    k->vm = kvm_ioctl_value(sys, k->system, KVM_CREATE_VM, 0);
    if (k->vm < 0) {
        return err_set(err, "kvm: no virtual machine: %s; use -accel translator", strerror(errno));
    }
    uint64_t identity = IDENTITY_ADDRESS;
    if (extension(sys, k->vm, KVM_CAP_SET_IDENTITY_MAP_ADDR)) {
        sys->ioctl(sys->self, k->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    }
    if (extension(sys, k->vm, KVM_CAP_SET_TSS_ADDR)) {
        kvm_ioctl_value(sys, k->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS);
    }
    return true;
}

/* The kernel tells guests the host's time of day; ours is that of the machine's RTC. */
static void keep_wall_clock(Kvm *k)
{
    uint8_t denied[8] = {0};
    struct kvm_msr_filter filter = {.flags = KVM_MSR_FILTER_DEFAULT_ALLOW};
    filter.ranges[0] =
        (struct kvm_msr_filter_range){.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
                                      .nmsrs = 1,
                                      .base = MSR_PVCLOCK_WALL,
                                      .bitmap = denied};
    if (k->sys->ioctl(k->sys->self, k->vm, KVM_X86_SET_MSR_FILTER, &filter) < 0) {
        log_info("kvmclock: the time of day is the host's: %s", strerror(errno));
    }
}

/* What the kernel offers beyond the least. */
static void find_extras(Kvm *k, int *ring_page)
{
    const KvmSys *sys = k->sys;
    k->sregs2 = extension(sys, k->vm, KVM_CAP_SREGS2);
    k->xsave = extension(sys, k->vm, KVM_CAP_XSAVE);
    k->debugregs = extension(sys, k->vm, KVM_CAP_DEBUGREGS);
    k->read_only_slots = extension(sys, k->vm, KVM_CAP_READONLY_MEM);
    if (extension(sys, k->vm, KVM_CAP_X86_USER_SPACE_MSR)) {
        struct kvm_enable_cap cap = {
            .cap = KVM_CAP_X86_USER_SPACE_MSR,
            .args = {KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER}};
        k->user_msrs = sys->ioctl(sys->self, k->vm, KVM_ENABLE_CAP, &cap) >= 0;
    }
    if (k->user_msrs && k->accel->cpu->pvclock && extension(sys, k->vm, KVM_CAP_X86_MSR_FILTER)) {
        keep_wall_clock(k);
    }
    *ring_page = extension(sys, k->vm, KVM_CAP_COALESCED_MMIO);
    struct kvm_coalesced_mmio_zone zone = {.addr = VGA_WINDOW, .size = VGA_WINDOW_SIZE};
    if (*ring_page && sys->ioctl(sys->self, k->vm, KVM_REGISTER_COALESCED_MMIO, &zone) < 0) {
        *ring_page = 0;
    }
}

/* Where the host cannot scale its TSC, a machine that begins here has the host's for good, under
 * every engine: guests measure it once. */
static void find_tsc_rate(Kvm *k)
{
    const KvmSys *sys = k->sys;
    Cpu *cpu = k->accel->cpu;
    k->tsc_hz = cpu->tsc_hz;
    k->tsc_control = extension(sys, k->vm, KVM_CAP_TSC_CONTROL) &&
                     kvm_ioctl_value(sys, k->vcpu, KVM_SET_TSC_KHZ, cpu->tsc_hz / 1000) >= 0;
    int khz = k->tsc_control || !extension(sys, k->vm, KVM_CAP_GET_TSC_KHZ)
                  ? 0
                  : kvm_ioctl_value(sys, k->vcpu, KVM_GET_TSC_KHZ, 0);
    if (khz <= 0 || khz > MOST_TSC_KHZ) {
        return;
    }
    k->tsc_hz = (uint32_t)khz * 1000;
    if (clock_peek(&k->accel->board->clock) == 0) {
        cpu->tsc_hz = k->tsc_hz;
    } else if (cpu->tsc_hz != k->tsc_hz) {
        log_info("this host cannot scale its TSC: it runs at %u MHz from here on, not at %u",
                 k->tsc_hz / 1000000, cpu->tsc_hz / 1000000);
    }
}

static bool open_vcpu(Kvm *k, Err *err)
{
    const KvmSys *sys = k->sys;
    int ring_page = 0;
    find_extras(k, &ring_page);
    k->vcpu = kvm_ioctl_value(sys, k->vm, KVM_CREATE_VCPU, 0);
    int size = kvm_ioctl_value(sys, k->system, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (k->vcpu < 0 || size < (int)sizeof(struct kvm_run)) {
        return err_set(err, "kvm: no virtual processor: %s; use -accel translator",
                       strerror(errno));
    }
    k->run_size = (size_t)size;
    k->run = sys->map(sys->self, k->vcpu, k->run_size);
    if (!k->run) {
        return err_set(err, "kvm: no room in the address space (ulimit -v)");
    }
    if (ring_page && (size_t)(ring_page + 1) * PAGE <= k->run_size) {
        k->ring = (struct kvm_coalesced_mmio_ring *)((uint8_t *)k->run + (size_t)ring_page * PAGE);
    }
    find_tsc_rate(k);
    return kvm_set_cpuid(k, err);
}

static void kvm_close(Accel *a)
{
    Kvm *k = kvm_of(a);
    const KvmSys *sys = k->sys;
    kvm_help_end(k);
    kvm_alarm_close(&k->alarm);
    if (k->run) {
        sys->unmap(sys->self, k->run, k->run_size);
    }
    int fds[3] = {k->vcpu, k->vm, k->system};
    for (unsigned i = 0; i < 3; i++) {
        if (fds[i] >= 0) {
            sys->close(sys->self, fds[i]);
        }
    }
    free(k->bitmap);
    free(k);
    a->self = NULL;
}

/* -accel kvm is refused where it could not even start firmware; where only more is wrong, the user
 * is told. `as_it_is`: it is never refused for what it does wrong. */
static bool judge(const KvmProbe *probe, bool as_it_is, Err *err)
{
    if (!probe->usable) {
        return err_set(err, "kvm: %s; use -accel translator, or -accel auto", probe->reason);
    }
    for (unsigned m = 0; m < KVM_MODES; m++) {
        if (probe->mode[m].right) {
            continue;
        }
        bool least = m == KVM_REAL || m == KVM_PROTECTED;
        if (least && !probe->mode[m].timed_out && !as_it_is) {
            return err_set(err, "kvm: this host's KVM fails in %s: %s; use -accel translator",
                           kvm_mode_names[m], probe->mode[m].wrong);
        }
        log_warn("this host's KVM fails in %s (%s): %s", kvm_mode_names[m], probe->mode[m].wrong,
                 as_it_is ? "a guest that needs it will be carried over"
                          : "guests that need it will not run; -accel auto takes another engine");
    }
    return true;
}

bool kvm_open_on(Accel *a, const KvmSys *sys, bool probe, Err *err)
{
    if (probe) {
        KvmProbe result;
        kvm_probe(sys, &result);
        if (!judge(&result, a->as_it_is, err)) {
            return false;
        }
    }
    Kvm *k = calloc(1, sizeof(*k));
    if (!k) {
        return err_set(err, "out of memory");
    }
    *k = (Kvm){.sys = sys,
               .accel = a,
               .system = -1,
               .vm = -1,
               .vcpu = -1,
               .cpu_current = true,
               .map_stale = true,
               .waiting_since = CLOCK_NEVER,
               .shortest_gap = CLOCK_NEVER,
               .a20 = a->cpu->a20};
    a->self = k;
    if (!open_vm(k, err) || !open_vcpu(k, err)) {
        kvm_close(a);
        return false;
    }
    return true;
}

/* A guest that has chosen its code by features which its model has not may fail under another
 * engine: where one may have to take over, only the user's word lets it begin here. */
static bool features_are_kept(Accel *a, Err *err)
{
    Kvm *k = kvm_of(a);
    if (cpu_has_cpuid(a->cpu->model)) {
        k->foreign = kvm_foreign_features(k);
    }
    if (!(k->foreign.ecx | k->foreign.edx)) {
        return true;
    }
    Err text = {""};
    err_set(&text,
            "this host's KVM shows the guest processor features that -cpu %s has not (CPUID 1 ECX "
            "0x%x, EDX 0x%x)",
            cpu_model_name(a->cpu->model), k->foreign.ecx, k->foreign.edx);
    if (a->replaceable && !a->as_it_is) {
        kvm_close(a);
        return err_set(err, "kvm: %.160s, so it could not be carried over", text.text);
    }
    log_warn("%s: under another engine it will not have them", text.text);
    return true;
}

static bool kvm_open(Accel *a, Err *err)
{
    if (a->board->clock.source == CLOCK_COUNTED) {
        return err_set(err, "kvm: -icount needs an engine that counts instructions; "
                            "use -accel translator or interpreter");
    }
    bool probed = a->replaceable && !a->as_it_is; /* by accel_probe */
    return kvm_open_on(a, &kvm_sys_host, !probed, err) && features_are_kept(a, err);
}

const AccelOps accel_kvm = {
    .name = "kvm",
    .steps = true,
    .open = kvm_open,
    .close = kvm_close,
    .run = kvm_run_guest,
    .kick = kvm_kick,
    .pull = kvm_pull,
    .push = kvm_push,
    .code_changed = kvm_code_changed,
    .flags_set = kvm_flags_set,
    .map_changed = kvm_map_changed,
};
