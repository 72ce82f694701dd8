/* Does this host's KVM run what a PC needs? Tiny guests in four modes, each timed and checked.
 *
 * Some hosts offer /dev/kvm and yet shut down in paged code, or emulate real mode at a few million
 * instructions a second. Every guest runs the same loop of additions and rotations, in real mode,
 * protected mode, protected mode with paging (with a page that is not where it seems to be and a
 * page fault), and virtual-8086 mode (with a fault into the monitor), in a VM of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu-accel/kvm/kvm_internal.h"
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/cpuid.h"
#include "machine/host/host_time.h"

/* Where things are in the guest's memory. */
enum {
    CODE = 0x1000,
    HANDLER = 0x2000,
    GDT = 0x3000,
    IDT = 0x3800,
    TSS = 0x4000,
    PAGE_DIRECTORY = 0x5000,
    PAGE_TABLE = 0x6000,
    RESULT = 0x8000, /* the sum, then the fault handler's marks */
    HIDDEN = 0x9000, /* physical page behind linear page B000h */
    SEEMING = 0xb000,
    ABSENT = 0xc000, /* linear page that is not there */
    STACK = 0xa000,
    MEMORY = 0x20000,
    SELECTOR_CODE = 0x08,
    SELECTOR_DATA = 0x10,
    SELECTOR_TSS = 0x18,
    MARK = 0x5a,
    INSTRUCTIONS_A_TURN = 4,
    FEW_TURNS = 150,     /* for the results */
    MANY_TURNS = 100000, /* for the speed, where it is not low already */
    QUICK_NS = 500000,
    LIMIT_NS = 6000000,     /* for one run, of the thread's time: other programs do not count */
    PATIENCE_NS = 40000000, /* for one run, come what may */
};

const char *const kvm_mode_names[KVM_MODES] = {"real mode", "protected mode", "32-bit paging",
                                               "virtual-8086 mode"};

/* add eax, ecx; rol eax, 1; dec ecx; jnz. Real and virtual-8086 mode need operand size prefixes. */
static const uint8_t loop32[] = {0x01, 0xc8, 0xd1, 0xc0, 0x49, 0x75, 0xf9};
static const uint8_t loop16[] = {0x66, 0x01, 0xc8, 0x66, 0xd1, 0xc0, 0x66, 0x49, 0x75, 0xf6};
/* mov [RESULT], eax; hlt */
static const uint8_t end16[] = {0x66, 0xa3, RESULT & 0xff, RESULT >> 8, 0xf4};
static const uint8_t end32[] = {0xa3, RESULT & 0xff, RESULT >> 8, 0, 0, 0xf4};
/* mov [SEEMING], eax; then read a page that is absent: the handler ends it */
static const uint8_t end_paged[] = {0xa3, SEEMING & 0xff, SEEMING >> 8, 0, 0,
                                    0xa1, ABSENT & 0xff,  ABSENT >> 8,  0, 0};
/* mov [RESULT + 4], byte MARK; mov ebx, cr2; mov [RESULT + 8], ebx; hlt */
static const uint8_t handler[] = {
    0xc6, 0x05, (RESULT + 4) & 0xff, RESULT >> 8, 0, 0, MARK, 0x0f, 0x20, 0xd3,
    0x89, 0x1d, (RESULT + 8) & 0xff, RESULT >> 8, 0, 0, 0xf4};

typedef struct Guest {
    const KvmSys *sys;
    int vm, vcpu;
    struct kvm_run *run;
    size_t run_size;
    uint8_t *memory;
    KvmAlarm *alarm;
} Guest;

static uint32_t expected_sum(uint32_t turns)
{
    uint32_t sum = 0;
    for (uint32_t i = turns; i > 0; i--) {
        sum += i;
        sum = sum << 1 | sum >> 31;
    }
    return sum;
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, 4);
}

static void put_gate(uint8_t *memory, unsigned vector)
{
    put32(memory + IDT + 8 * vector, SELECTOR_CODE << 16 | (HANDLER & 0xffff));
    put32(memory + IDT + 8 * vector + 4, 0x8e00);
}

static void fill_memory(uint8_t *memory, KvmMode mode)
{
    bool wide = mode == KVM_PROTECTED || mode == KVM_PAGED;
    const uint8_t *loop = wide ? loop32 : loop16, *end = end16;
    size_t loop_size = wide ? sizeof(loop32) : sizeof(loop16), end_size = sizeof(end16);
    if (mode == KVM_PAGED) {
        end = end_paged;
        end_size = sizeof(end_paged);
    } else if (wide) {
        end = end32;
        end_size = sizeof(end32);
    }
    memset(memory, 0, MEMORY);
    memcpy(memory + CODE, loop, loop_size);
    memcpy(memory + CODE + loop_size, end, end_size);
    memcpy(memory + HANDLER, handler, sizeof(handler));
    put32(memory + GDT + SELECTOR_CODE, 0x0000ffff);
    put32(memory + GDT + SELECTOR_CODE + 4, 0x00cf9b00);
    put32(memory + GDT + SELECTOR_DATA, 0x0000ffff);
    put32(memory + GDT + SELECTOR_DATA + 4, 0x00cf9300);
    put32(memory + GDT + SELECTOR_TSS, TSS << 16 | 0x67);
    put32(memory + GDT + SELECTOR_TSS + 4, 0x00008b00);
    put_gate(memory, VEC_GP);
    put_gate(memory, VEC_PF);
    put32(memory + TSS + 4, STACK);
    put32(memory + TSS + 8, SELECTOR_DATA);
    put32(memory + PAGE_DIRECTORY, PAGE_TABLE | 7);
    for (uint32_t page = 0; page < MEMORY; page += RAM_PAGE) {
        uint32_t to = page == SEEMING ? HIDDEN : page;
        put32(memory + PAGE_TABLE + page / RAM_PAGE * 4, to | (page == ABSENT ? 0 : 7));
    }
}

static struct kvm_segment flat(uint16_t selector, uint8_t type)
{
    return (struct kvm_segment){.selector = selector,
                                .limit = 0xffffffff,
                                .type = type,
                                .present = 1,
                                .s = 1,
                                .db = 1,
                                .g = 1};
}

static struct kvm_segment real(uint8_t type, uint8_t dpl)
{
    return (struct kvm_segment){.limit = 0xffff, .type = type, .present = 1, .s = 1, .dpl = dpl};
}

static bool set_registers(const Guest *g, KvmMode mode, uint32_t turns)
{
    struct kvm_sregs s;
    if (g->sys->ioctl(g->sys->self, g->vcpu, KVM_GET_SREGS, &s) < 0) {
        return false;
    }
    bool v86 = mode == KVM_V86, simple = mode == KVM_REAL || v86;
    s.cs = simple ? real(v86 ? 3 : 0xb, v86 ? 3 : 0) : flat(SELECTOR_CODE, 0xb);
    s.ds = simple ? real(3, v86 ? 3 : 0) : flat(SELECTOR_DATA, 3);
    s.es = s.fs = s.gs = s.ss = s.ds;
    s.tr = (struct kvm_segment){
        .selector = SELECTOR_TSS, .base = TSS, .limit = 0x67, .type = 0xb, .present = 1};
    s.ldt = (struct kvm_segment){.unusable = 1};
    s.gdt = (struct kvm_dtable){.base = GDT, .limit = 0x1f};
    s.idt = (struct kvm_dtable){.base = mode == KVM_REAL ? 0 : IDT, .limit = 0x3ff};
    s.cr0 = CR0_ET | (mode == KVM_REAL ? 0 : CR0_PE) | (mode == KVM_PAGED || v86 ? CR0_PG : 0);
    s.cr3 = mode == KVM_PAGED || v86 ? PAGE_DIRECTORY : 0;
    s.cr4 = 0;
    s.efer = 0;
    struct kvm_regs r = {.rip = CODE,
                         .rsp = simple ? 0x7ff0 : STACK,
                         .rcx = turns,
                         .rflags = FL_ONE | (v86 ? FL_VM : 0)};
    return g->sys->ioctl(g->sys->self, g->vcpu, KVM_SET_SREGS, &s) >= 0 &&
           g->sys->ioctl(g->sys->self, g->vcpu, KVM_SET_REGS, &r) >= 0;
}

static const char too_long[] = "it did not come to an end in time";

static const char *exit_text(unsigned reason)
{
    switch (reason) {
    case KVM_EXIT_SHUTDOWN:
        return "the processor shut down";
    case KVM_EXIT_INTERNAL_ERROR:
        return "the kernel could not emulate an instruction";
    case KVM_EXIT_FAIL_ENTRY:
        return "the processor refused to enter the guest";
    case KVM_EXIT_MMIO:
        return "it reached memory that it should not";
    default:
        return "it stopped without a reason";
    }
}

static int64_t thread_ns(void)
{
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * CLOCK_NS_PER_S + now.tv_nsec;
}

/* Runs until HLT. NULL, or what went wrong. */
static const char *run_to_halt(const Guest *g)
{
    int64_t deadline = thread_ns() + LIMIT_NS, end = host_time_ns() + PATIENCE_NS;
    for (;;) {
        int64_t left = deadline - thread_ns();
        if (left <= 0 || host_time_ns() >= end) {
            return too_long;
        }
        g->run->immediate_exit = 0;
        if (g->alarm->made) {
            kvm_alarm_set(g->alarm, left);
        }
        int r = kvm_ioctl_value(g->sys, g->vcpu, KVM_RUN, 0);
        if (r < 0 && errno != EINTR && errno != EAGAIN) {
            return "KVM_RUN failed";
        }
        if (r >= 0) {
            return g->run->exit_reason == KVM_EXIT_HLT ? NULL : exit_text(g->run->exit_reason);
        }
    }
}

static const char *check_results(const uint8_t *memory, KvmMode mode, uint32_t turns)
{
    uint32_t sum, fault_at;
    memcpy(&sum, memory + (mode == KVM_PAGED ? HIDDEN : RESULT), 4);
    memcpy(&fault_at, memory + RESULT + 8, 4);
    if (sum != expected_sum(turns)) {
        return "it computed a wrong sum";
    }
    if ((mode == KVM_PAGED || mode == KVM_V86) && memory[RESULT + 4] != MARK) {
        return "a fault did not reach its handler";
    }
    if (mode == KVM_PAGED && fault_at != ABSENT) {
        return "a page fault had a wrong address";
    }
    return NULL;
}

/* One run of so many turns; measures the speed also when it does not end. */
static const char *run_turns(const Guest *g, KvmMode mode, uint32_t turns, KvmModeResult *out)
{
    fill_memory(g->memory, mode);
    if (!set_registers(g, mode, turns)) {
        return "its registers could not be set";
    }
    int64_t start = thread_ns();
    const char *wrong = run_to_halt(g);
    int64_t took = thread_ns() - start;
    uint32_t done = turns;
    struct kvm_regs regs;
    if (wrong == too_long && g->sys->ioctl(g->sys->self, g->vcpu, KVM_GET_REGS, &regs) >= 0) {
        done = turns - (regs.rcx < turns ? (uint32_t)regs.rcx : turns);
    }
    out->kips = (uint32_t)((uint64_t)done * INSTRUCTIONS_A_TURN * 1000000 /
                           (uint64_t)(took > 0 ? took : 1));
    wrong = wrong ? wrong : check_results(g->memory, mode, turns);
    if (wrong && wrong != too_long) {
        out->kips = 0;
    }
    return wrong;
}

static void run_mode(const Guest *g, KvmMode mode, KvmModeResult *out)
{
    int64_t start = thread_ns();
    out->wrong = run_turns(g, mode, FEW_TURNS, out);
    out->right = !out->wrong;
    out->timed_out = out->wrong == too_long;
    if (out->right && thread_ns() - start < QUICK_NS) {
        const char *wrong = run_turns(g, mode, MANY_TURNS, out);
        out->right = !wrong || wrong == too_long;
        out->wrong = out->right ? NULL : wrong;
    }
}

/* A VM for one mode: what a failure leaves behind must not reach the next. */
static bool with_guest(const KvmSys *sys, int system, KvmMode mode, uint8_t *memory,
                       KvmModeResult *out)
{
    KvmAlarm alarm = {.made = false};
    Guest g = {.sys = sys, .vcpu = -1, .memory = memory, .alarm = &alarm};
    bool made = false;
    int size = kvm_ioctl_value(sys, system, KVM_GET_VCPU_MMAP_SIZE, 0);
    g.vm = kvm_ioctl_value(sys, system, KVM_CREATE_VM, 0);
    if (g.vm < 0 || size < (int)sizeof(struct kvm_run)) {
        goto done;
    }
    kvm_ioctl_value(sys, g.vm, KVM_SET_TSS_ADDR, 0xfeffd000u);
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY,
                                                 .userspace_addr = (uintptr_t)memory};
    if (sys->ioctl(sys->self, g.vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
        goto done;
    }
    g.vcpu = kvm_ioctl_value(sys, g.vm, KVM_CREATE_VCPU, 0);
    g.run_size = (size_t)size;
    g.run = g.vcpu < 0 ? NULL : sys->map(sys->self, g.vcpu, g.run_size);
    if (g.run) {
        made = kvm_alarm_open(&alarm, g.run, NULL);
        if (made) {
            run_mode(&g, mode, out);
        }
        kvm_alarm_close(&alarm);
        sys->unmap(sys->self, g.run, g.run_size);
    }
done:
    if (g.vcpu >= 0) {
        sys->close(sys->self, g.vcpu);
    }
    if (g.vm >= 0) {
        sys->close(sys->self, g.vm);
    }
    return made;
}

KvmFeatures kvm_foreign_features(Kvm *k)
{
    /* mov eax, 1; cpuid; hlt */
    static const uint8_t code[] = {0x66, 0xb8, 1, 0, 0, 0, 0x0f, 0xa2, 0xf4};
    KvmAlarm alarm = {.made = false};
    Guest g = {.sys = k->sys, .vm = k->vm, .vcpu = k->vcpu, .run = k->run, .alarm = &alarm};
    uint32_t ours[4] = {0};
    KvmFeatures foreign = {0, 0};
    struct kvm_regs regs = {0};
    uint8_t *memory =
        mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return foreign;
    }
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY,
                                                 .userspace_addr = (uintptr_t)memory};
    memcpy(memory + CODE, code, sizeof(code));
    bool ready = k->sys->ioctl(k->sys->self, k->vm, KVM_SET_USER_MEMORY_REGION, &region) >= 0 &&
                 kvm_alarm_open(&alarm, k->run, NULL) && set_registers(&g, KVM_REAL, 0);
    if (ready && !run_to_halt(&g) &&
        k->sys->ioctl(k->sys->self, k->vcpu, KVM_GET_REGS, &regs) >= 0) {
        cpuid(k->accel->cpu, 1, ours);
        foreign.ecx = (uint32_t)regs.rcx & ~ours[2];
        foreign.edx = (uint32_t)regs.rdx & ~ours[3] & ~(uint32_t)CPUID_APIC;
    }
    kvm_alarm_close(&alarm);
    region.memory_size = 0;
    k->sys->ioctl(k->sys->self, k->vm, KVM_SET_USER_MEMORY_REGION, &region);
    munmap(memory, MEMORY);
    return foreign;
}

static void probe(const KvmSys *sys, bool all, uint32_t least_kips, KvmProbe *out)
{
    static const KvmMode order[KVM_MODES] = {KVM_PAGED, KVM_V86, KVM_PROTECTED, KVM_REAL};
    memset(out, 0, sizeof(*out));
    int system = sys->open(sys->self);
    if (system < 0) {
        snprintf(out->reason, sizeof(out->reason), "/dev/kvm: %s", strerror(errno));
        return;
    }
    uint8_t *memory =
        mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    out->usable = memory != MAP_FAILED;
    bool go_on = true;
    for (unsigned i = 0; out->usable && go_on && i < KVM_MODES; i++) {
        KvmModeResult *r = &out->mode[order[i]];
        r->tried = true;
        if (!with_guest(sys, system, order[i], memory, r)) {
            out->usable = false;
            snprintf(out->reason, sizeof(out->reason), "no virtual machine can be made: %s",
                     strerror(errno));
        }
        go_on = all || (r->right && r->kips >= least_kips);
    }
    if (memory != MAP_FAILED) {
        munmap(memory, MEMORY);
    }
    sys->close(sys->self, system);
}

void kvm_probe(const KvmSys *sys, KvmProbe *out)
{
    probe(sys, true, 0, out);
}

void kvm_probe_quickly(const KvmSys *sys, uint32_t least_kips, KvmProbe *out)
{
    probe(sys, false, least_kips, out);
}
