/* KVM engine against a fake kernel: every exit, partial accesses, EINTR, EAGAIN, state, slots. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/kvm/kvm_internal.h"
#include "cpu-accel/x86/control.h"
#include "tests/unit/chip.h"

enum {
    SYSTEM_FD = 100,
    VM_FD,
    VCPU_FD,
    RAM_SIZE = 0x400000,
    PAGES = 3, /* of kvm_run: itself, data, the ring of collected writes */
    MOST_STEPS = 64,
    MOST_NOTES = 256,
};

typedef struct Fixture Fixture;

/* What the fake kernel answers to one KVM_RUN. */
typedef struct Step {
    int error;           /* 0, or an errno */
    struct kvm_run exit; /* exit_reason and its part of the union are copied */
    uint8_t data[64];    /* for ports: what stands at data_offset */
    void (*before)(Fixture *f);
} Step;

struct Fixture {
    Board *b;
    Cpu *cpu;
    Accel a;
    KvmSys sys;
    RamBlock *ram, *rom;
    IoRange *rom_range;
    bool attached;
    /* the fake kernel */
    uint8_t run[PAGES * 4096] __attribute__((aligned(4096)));
    int open_error, vm_error, api;
    bool old; /* offers nothing but the least */
    Step step[MOST_STEPS];
    unsigned steps, at, entered, finished;
    struct kvm_userspace_memory_region slot[KVM_SLOTS];
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_sregs2 sregs2;
    uint32_t xsave[1024]; /* struct kvm_xsave, which has no fixed end */
    struct kvm_fpu fpu;
    struct kvm_debugregs debug;
    struct kvm_vcpu_events events;
    uint64_t msr[0x400];
    bool zone;
    unsigned nmis, interrupts, last_vector, cpuid_entries, logs_read;
    uint64_t dirty;
    /* the board */
    unsigned acknowledged;
    uint8_t vector;
    char note[MOST_NOTES][48];
    unsigned notes;
    uint8_t in_value;
    int64_t step_clock;
};

static void note(Fixture *f, const char *what, uint64_t where, uint64_t value, unsigned bytes)
{
    assert_in_range(f->notes, 0, MOST_NOTES - 1);
    snprintf(f->note[f->notes++], sizeof(f->note[0]), "%s%u %llx %llx", what, bytes,
             (unsigned long long)where, (unsigned long long)value);
}

static uint64_t device_read(void *self, uint32_t offset, unsigned bytes)
{
    Fixture *f = self;
    note(f, "r", offset, 0, bytes);
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)f->in_value++ << (8 * i);
    }
    return value;
}

static void device_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Fixture *f = self;
    if (f->step_clock) {
        clock_step(&f->b->clock, f->step_clock);
    } else {
        note(f, "w", offset, value, bytes);
    }
}

static const IoOps port_ops = {device_read, device_write, 1, 4};
static const IoOps memory_ops = {device_read, device_write, 1, 8};

/* The fake kernel. */

static struct kvm_run *run_of(Fixture *f)
{
    return (struct kvm_run *)f->run;
}

static int fake_open(void *self)
{
    Fixture *f = self;
    errno = f->open_error;
    return f->open_error ? -1 : SYSTEM_FD;
}

static void fake_close(void *self, int fd)
{
    (void)self;
    assert_in_range(fd, SYSTEM_FD, VCPU_FD);
}

static void *fake_map(void *self, int fd, size_t size)
{
    Fixture *f = self;
    assert_int_equal(fd, VCPU_FD);
    assert_int_equal(size, sizeof(f->run));
    return f->run;
}

static void fake_unmap(void *self, void *at, size_t size)
{
    (void)self;
    (void)at;
    (void)size;
}

static int fake_extension(const Fixture *f, uintptr_t which)
{
    switch (which) {
    case KVM_CAP_USER_MEMORY:
    case KVM_CAP_IMMEDIATE_EXIT:
        return 1;
    case KVM_CAP_COALESCED_MMIO:
        return f->old ? 0 : 2;
    case KVM_CAP_SREGS2:
    case KVM_CAP_XSAVE:
    case KVM_CAP_DEBUGREGS:
    case KVM_CAP_READONLY_MEM:
    case KVM_CAP_X86_USER_SPACE_MSR:
        return !f->old;
    default:
        return 0;
    }
}

static int fake_run(Fixture *f)
{
    struct kvm_run *run = run_of(f);
    if (run->immediate_exit) {
        f->finished++;
        errno = EINTR;
        return -1;
    }
    f->entered++;
    if (f->at == f->steps) {
        errno = EINTR;
        return -1;
    }
    Step *s = &f->step[f->at++];
    if (s->before) {
        s->before(f);
    }
    if (s->error) {
        errno = s->error;
        return -1;
    }
    run->exit_reason = s->exit.exit_reason;
    memcpy(&run->hw, &s->exit.hw, sizeof(run->padding));
    run->ready_for_interrupt_injection = s->exit.ready_for_interrupt_injection;
    run->if_flag = s->exit.if_flag;
    memcpy(f->run + 4096, s->data, sizeof(s->data));
    return 0;
}

static int fake_msrs(Fixture *f, struct kvm_msrs *msrs, bool set)
{
    for (unsigned i = 0; i < msrs->nmsrs; i++) {
        uint32_t index = msrs->entries[i].index;
        if (index >= 0x400 || index == 0x8b) { /* one that this kernel refuses */
            return (int)i;
        }
        if (set) {
            f->msr[index] = msrs->entries[i].data;
        } else {
            msrs->entries[i].data = f->msr[index];
        }
    }
    return (int)msrs->nmsrs;
}

static int fake_slot(Fixture *f, const struct kvm_userspace_memory_region *region)
{
    assert_in_range(region->slot, 0, KVM_SLOTS - 1);
    for (unsigned i = 0; region->memory_size && i < KVM_SLOTS; i++) {
        const struct kvm_userspace_memory_region *s = &f->slot[i];
        bool apart = region->guest_phys_addr + region->memory_size <= s->guest_phys_addr ||
                     s->guest_phys_addr + s->memory_size <= region->guest_phys_addr;
        assert_true(i == region->slot || s->memory_size == 0 || apart);
    }
    f->slot[region->slot] = *region;
    return 0;
}

static int fake_vm(Fixture *f, unsigned long request, void *argument)
{
    switch (request) {
    case KVM_CHECK_EXTENSION:
        return fake_extension(f, (uintptr_t)argument);
    case KVM_SET_USER_MEMORY_REGION:
        return fake_slot(f, argument);
    case KVM_GET_DIRTY_LOG:
        f->logs_read++;
        memcpy(((struct kvm_dirty_log *)argument)->dirty_bitmap, &f->dirty, sizeof(f->dirty));
        f->dirty = 0;
        return 0;
    case KVM_REGISTER_COALESCED_MMIO:
        f->zone = true;
        return 0;
    case KVM_CREATE_VCPU:
        return VCPU_FD;
    default:
        return 0;
    }
}

#define COPY(to, from) (memcpy(&(to), from, sizeof(to)), 0)

static int fake_vcpu(Fixture *f, unsigned long request, void *argument)
{
    switch (request) {
    case KVM_RUN:
        return fake_run(f);
    case KVM_NMI:
        f->nmis++;
        return 0;
    case KVM_INTERRUPT:
        f->interrupts++;
        f->last_vector = ((struct kvm_interrupt *)argument)->irq;
        return 0;
    case KVM_SET_CPUID2:
        f->cpuid_entries = ((struct kvm_cpuid2 *)argument)->nent;
        return 0;
    case KVM_SET_REGS:
        return COPY(f->regs, argument);
    case KVM_GET_REGS:
        return memcpy(argument, &f->regs, sizeof(f->regs)), 0;
    case KVM_SET_SREGS:
        return COPY(f->sregs, argument);
    case KVM_GET_SREGS:
        return memcpy(argument, &f->sregs, sizeof(f->sregs)), 0;
    case KVM_SET_SREGS2:
        return COPY(f->sregs2, argument);
    case KVM_GET_SREGS2:
        return memcpy(argument, &f->sregs2, sizeof(f->sregs2)), 0;
    case KVM_SET_XSAVE:
        return COPY(f->xsave, argument);
    case KVM_GET_XSAVE:
        return memcpy(argument, &f->xsave, sizeof(f->xsave)), 0;
    case KVM_SET_FPU:
        return COPY(f->fpu, argument);
    case KVM_GET_FPU:
        return memcpy(argument, &f->fpu, sizeof(f->fpu)), 0;
    case KVM_SET_DEBUGREGS:
        return COPY(f->debug, argument);
    case KVM_GET_DEBUGREGS:
        return memcpy(argument, &f->debug, sizeof(f->debug)), 0;
    case KVM_SET_VCPU_EVENTS:
        return COPY(f->events, argument);
    case KVM_GET_VCPU_EVENTS:
        return memcpy(argument, &f->events, sizeof(f->events)), 0;
    case KVM_SET_MSRS:
        return fake_msrs(f, argument, true);
    case KVM_GET_MSRS:
        return fake_msrs(f, argument, false);
    default:
        errno = EINVAL;
        return -1;
    }
}

static int fake_ioctl(void *self, int fd, unsigned long request, void *argument)
{
    Fixture *f = self;
    if (fd == VCPU_FD) {
        return fake_vcpu(f, request, argument);
    }
    if (fd == VM_FD) {
        return fake_vm(f, request, argument);
    }
    switch (request) {
    case KVM_GET_API_VERSION:
        return f->api;
    case KVM_CREATE_VM:
        errno = f->vm_error;
        return f->vm_error ? -1 : VM_FD;
    case KVM_GET_VCPU_MMAP_SIZE:
        return sizeof(f->run);
    case KVM_CHECK_EXTENSION:
        return fake_extension(f, (uintptr_t)argument);
    default:
        errno = EINVAL;
        return -1;
    }
}

/* The board. */

static uint8_t acknowledge(void *self)
{
    Fixture *f = self;
    f->acknowledged++;
    cpu_intr(f->cpu, 0, false);
    return f->vector;
}

static void on_map(void *self)
{
    Accel *a = self;
    a->ops->map_changed(a);
}

static void on_code(void *self, uint32_t at, uint32_t length)
{
    Accel *a = self;
    a->ops->code_changed(a, at, length);
}

static void on_flags(void *self, uint32_t first, uint32_t pages)
{
    Accel *a = self;
    a->ops->flags_set(a, first, pages);
}

static Fixture *fixture_closed(void)
{
    Fixture *f = aligned_alloc(4096, (sizeof(*f) + 4095) & ~(size_t)4095);
    Err err = {""};
    memset(f, 0, sizeof(*f));
    f->api = 12;
    f->vector = 0x20;
    f->sys = (KvmSys){fake_open, fake_close, fake_ioctl, fake_map, fake_unmap, f};
    f->b = chip_board();
    f->ram = ram_add(&f->b->ram, "ram", RAM_SIZE, &err);
    f->rom = ram_add(&f->b->ram, "rom", 0x10000, &err);
    bus_claim_ram(f->b->memory, 0, RAM_SIZE, &(RamView){true, true, f->ram->at, f->ram->at}, "ram");
    f->rom_range = bus_claim_ram(f->b->memory, 0xf0000, 0x10000,
                                 &(RamView){true, false, f->rom->at, f->rom->at}, "rom");
    bus_claim(f->b->memory, 0xa0000, 0x20000, &memory_ops, f, "device");
    bus_claim(f->b->ports, 0x300, 16, &port_ops, f, "device");
    CpuPins pins = {.acknowledge = acknowledge, .self = f};
    f->cpu = cpu_new(f->b, CPU_PENTIUM3, &pins);
    board_reset(f->b, RESET_POWER);
    f->a = (Accel){.ops = &accel_kvm, .cpu = f->cpu, .board = f->b};
    return f;
}

static void attach(Fixture *f)
{
    Err err = {""};
    if (!kvm_open_on(&f->a, &f->sys, false, &err)) {
        fail_msg("%s", err.text);
    }
    f->b->ram.listener = (RamListener){on_code, on_flags, &f->a, NULL};
    bus_listen(f->b->memory, on_map, &f->a);
    f->a.ops->push(&f->a);
    f->attached = true;
}

static Fixture *fixture(void)
{
    Fixture *f = fixture_closed();
    attach(f);
    return f;
}

static void done(Fixture *f)
{
    if (f->attached) {
        f->a.ops->close(&f->a);
        f->b->ram.listener = (RamListener){0};
        bus_listen(f->b->memory, NULL, NULL);
    }
    board_free(f->b);
    free(f);
}

static RunExit go(Fixture *f)
{
    atomic_store(&f->cpu->attention, false);
    return f->a.ops->run(&f->a, CLOCK_NEVER);
}

static Step *add(Fixture *f, uint32_t reason)
{
    Step *s = &f->step[f->steps++];
    s->exit.exit_reason = reason;
    return s;
}

static Step *add_io(Fixture *f, bool out, unsigned size, unsigned count)
{
    Step *s = add(f, KVM_EXIT_IO);
    s->exit.io.direction = out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
    s->exit.io.size = (uint8_t)size;
    s->exit.io.count = count;
    s->exit.io.port = 0x304;
    s->exit.io.data_offset = 4096;
    return s;
}

static Step *add_mmio(Fixture *f, bool write, uint64_t addr, unsigned len)
{
    Step *s = add(f, KVM_EXIT_MMIO);
    s->exit.mmio.phys_addr = addr;
    s->exit.mmio.len = len;
    s->exit.mmio.is_write = write;
    return s;
}

static Step *add_error(Fixture *f, int error)
{
    Step *s = add(f, 0);
    s->error = error;
    return s;
}

/* Tests. */

static void opening_says_what_is_missing(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        static const char *const parts[3] = {"/dev/kvm", "API 11", "no virtual machine"};
        Fixture *f = fixture_closed();
        Err err = {""};
        f->open_error = i == 0 ? EACCES : 0;
        f->api = i == 1 ? 11 : 12;
        f->vm_error = i == 2 ? EBUSY : 0;
        assert_false(kvm_open_on(&f->a, &f->sys, false, &err));
        assert_non_null(strstr(err.text, parts[i]));
        assert_non_null(strstr(err.text, "-accel translator"));
        done(f);
    }
}

static void ports_in_and_out_also_in_strings(void **state)
{
    (void)state;
    Fixture *f = fixture();
    Step *s = add_io(f, true, 2, 3);
    memcpy(s->data, "\x11\x22\x33\x44\x55\x66", 6);
    add_io(f, false, 4, 2);
    f->in_value = 1;
    assert_int_equal(go(f), RUN_DUE);
    assert_string_equal(f->note[0], "w2 4 2211");
    assert_string_equal(f->note[1], "w2 4 4433");
    assert_string_equal(f->note[2], "w2 4 6655");
    assert_string_equal(f->note[3], "r4 4 0");
    assert_memory_equal(f->run + 4096, "\1\2\3\4\5\6\7\10", 8);
    done(f);
}

static void impossible_port_accesses_end_the_engine(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        Fixture *f = fixture();
        Step *s = add_io(f, true, i == 0 ? 3 : 4, i == 1 ? 0x40000000 : (i == 2 ? 4096 : 1));
        s->exit.io.data_offset = i == 3 ? UINT64_MAX - 2 : 4096;
        assert_int_equal(go(f), RUN_FAILED);
        assert_non_null(strstr(f->a.failure, "port access"));
        assert_int_equal(f->notes, 0);
        done(f);
    }
}

static void memory_accesses_of_any_length(void **state)
{
    (void)state;
    Fixture *f = fixture();
    Step *s = add_mmio(f, true, 0xa0000, 7);
    memcpy(s->exit.mmio.data, "\1\2\3\4\5\6\7", 7);
    add_mmio(f, false, 0xa0008, 8);
    f->in_value = 0x10;
    assert_int_equal(go(f), RUN_DUE);
    assert_string_equal(f->note[0], "w4 0 4030201");
    assert_string_equal(f->note[1], "w2 4 605");
    assert_string_equal(f->note[2], "w1 6 7");
    assert_string_equal(f->note[3], "r8 8 0");
    assert_memory_equal(run_of(f)->mmio.data, "\x10\x11\x12\x13\x14\x15\x16\x17", 8);
    done(f);
    f = fixture();
    add_mmio(f, true, 0xa0000, 9);
    assert_int_equal(go(f), RUN_FAILED);
    done(f);
}

static void collect(Fixture *f)
{
    struct kvm_coalesced_mmio_ring *ring = (struct kvm_coalesced_mmio_ring *)(f->run + 2 * 4096);
    unsigned room = (4096 - sizeof(*ring)) / sizeof(ring->coalesced_mmio[0]);
    ring->first = room - 1; /* wraps */
    ring->last = 1;
    ring->coalesced_mmio[room - 1] = (struct kvm_coalesced_mmio){0xa0010, 2, {0}, {0xaa, 0xbb}};
    ring->coalesced_mmio[0] = (struct kvm_coalesced_mmio){0xa0020, 1, {0}, {0xcc}};
}

static void collect_nonsense(Fixture *f)
{
    struct kvm_coalesced_mmio_ring *ring = (struct kvm_coalesced_mmio_ring *)(f->run + 2 * 4096);
    ring->first = 100000;
    ring->last = 3;
}

static void collected_writes_come_before_the_exit(void **state)
{
    (void)state;
    Fixture *f = fixture();
    assert_true(f->zone);
    add_mmio(f, false, 0xa0000, 1)->before = collect;
    add_io(f, true, 1, 1)->before = collect_nonsense;
    assert_int_equal(go(f), RUN_DUE);
    assert_string_equal(f->note[0], "w2 10 bbaa");
    assert_string_equal(f->note[1], "w1 20 cc");
    assert_string_equal(f->note[2], "r1 0 0");
    assert_string_equal(f->note[3], "w1 4 0");
    assert_int_equal(f->notes, 4);
    done(f);
}

static void halt_sleeps_until_an_interrupt_is_allowed(void **state)
{
    (void)state;
    Fixture *f = fixture();
    add(f, KVM_EXIT_HLT);
    assert_int_equal(go(f), RUN_HALTED);
    assert_int_equal(go(f), RUN_HALTED);
    cpu_intr(f->cpu, 0, true); /* but IF is off */
    assert_int_equal(go(f), RUN_HALTED);
    cpu_nmi(f->cpu, 0, true);
    Step *s = add(f, KVM_EXIT_HLT);
    s->exit.if_flag = s->exit.ready_for_interrupt_injection = 1;
    assert_int_equal(go(f), RUN_DUE); /* the interrupt that waits goes in, and the script ends */
    assert_int_equal(f->nmis, 1);
    assert_int_equal(f->interrupts, 1);
    assert_int_equal(f->last_vector, 0x20);
    assert_int_equal(f->acknowledged, 1);
    done(f);
}

static void interrupt_that_ends_halt_comes_at_once_also_behind_sti(void **state)
{
    (void)state;
    Fixture *f = fixture();
    Step *s = add(f, KVM_EXIT_HLT);
    s->exit.if_flag = 1; /* sti; hlt; cli: a kernel that keeps the shadow is never ready */
    assert_int_equal(go(f), RUN_HALTED);
    f->events.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
    cpu_intr(f->cpu, 0, true);
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(f->interrupts, 1);
    assert_int_equal(f->events.interrupt.shadow, 0);
    done(f);
}

static void interrupt_the_kernel_overlooks_is_carried_in(void **state)
{
    (void)state;
    Fixture *f = fixture();
    uint8_t *ram = ram_at(&f->b->ram, f->ram->at);
    f->a.ops->pull(&f->a);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        seg_load_real(f->cpu, (SegIndex)i, 0);
    }
    f->cpu->eip = 0x7000;
    f->cpu->reg[ESP] = 0x1000;
    memcpy(ram + 0x7000, "\xfb\x90\xfa\xeb\xfb", 5); /* sti; nop; cli; jmp sti */
    memcpy(ram + 4 * 0x20, "\x00\x60\x00\x00", 4);
    f->a.ops->push(&f->a);
    cpu_intr(f->cpu, 0, true);
    f->step_clock = 600000; /* each exit finds interrupts off */
    for (unsigned i = 0; i < 6; i++) {
        add_io(f, true, 1, 1);
    }
    (void)go(f);
    (void)go(f);
    assert_int_equal(f->interrupts, 0);
    assert_int_equal(f->acknowledged, 1);
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->eip, 0x6000); /* in its handler */
    done(f);
}

static void interrupt_window_is_asked_for(void **state)
{
    (void)state;
    Fixture *f = fixture();
    cpu_intr(f->cpu, 0, true);
    Step *s = add(f, KVM_EXIT_IRQ_WINDOW_OPEN);
    s->exit.if_flag = s->exit.ready_for_interrupt_injection = 1;
    add_io(f, true, 1, 1);
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(f->interrupts, 1);
    assert_int_equal(run_of(f)->request_interrupt_window, 0);
    cpu_intr(f->cpu, 0, true);
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(f->interrupts, 1);
    assert_int_equal(run_of(f)->request_interrupt_window, 1);
    done(f);
}

static void first_entry_takes_an_interrupt_that_cpu_allows(void **state)
{
    (void)state;
    Fixture *f = fixture();
    f->cpu->eflags |= FL_IF;
    f->a.ops->push(&f->a);
    cpu_intr(f->cpu, 0, true);
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(f->interrupts, 1);
    f->a.ops->pull(&f->a);
    f->cpu->eflags |= FL_IF;
    f->cpu->shadow = SHADOW_STI;
    f->a.ops->push(&f->a);
    cpu_intr(f->cpu, 0, true);
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(f->interrupts, 1); /* not behind STI */
    done(f);
}

static void eintr_returns_and_eagain_tries_again(void **state)
{
    (void)state;
    Fixture *f = fixture();
    add_error(f, EAGAIN);
    add_error(f, EAGAIN);
    add_error(f, EINTR);
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(f->entered, 3);
    add_error(f, EFAULT);
    assert_int_equal(go(f), RUN_FAILED);
    assert_non_null(strstr(f->a.failure, "Bad address"));
    done(f);
}

static void harmless_exits_go_on(void **state)
{
    (void)state;
    static const uint32_t reasons[] = {KVM_EXIT_INTR,      KVM_EXIT_NMI,
                                       KVM_EXIT_DEBUG,     KVM_EXIT_SET_TPR,
                                       KVM_EXIT_HYPERCALL, KVM_EXIT_IRQ_WINDOW_OPEN};
    Fixture *f = fixture();
    for (unsigned i = 0; i < 6; i++) {
        add(f, reasons[i]);
    }
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(f->entered, 7);
    done(f);
}

static void fatal_exits_say_why(void **state)
{
    (void)state;
    static const struct {
        uint32_t reason;
        const char *text;
    } cases[] = {{KVM_EXIT_SHUTDOWN, "shut down"},
                 {KVM_EXIT_FAIL_ENTRY, "refused to enter"},
                 {KVM_EXIT_UNKNOWN, "unknown reason"},
                 {KVM_EXIT_EXCEPTION, "exception"},
                 {KVM_EXIT_INTERNAL_ERROR, "internal error"},
                 {9999, "does not know"}};
    for (unsigned i = 0; i < 6; i++) {
        Fixture *f = fixture();
        Step *s = add(f, cases[i].reason);
        s->exit.internal.suberror = 3;
        assert_int_equal(go(f), RUN_FAILED);
        assert_non_null(strstr(f->a.failure, cases[i].text));
        done(f);
    }
}

static void attention_and_kicks_are_not_lost(void **state)
{
    (void)state;
    Fixture *f = fixture();
    add_io(f, true, 1, 1);
    f->a.ops->kick(&f->a);
    assert_int_equal(f->a.ops->run(&f->a, CLOCK_NEVER), RUN_DUE);
    assert_int_equal(f->entered, 0);
    assert_int_equal(go(f), RUN_DUE);
    f->a.ops->kick(&f->a);
    assert_int_equal(run_of(f)->immediate_exit, 1);
    assert_true(atomic_load(&f->cpu->attention));
    assert_int_equal(f->a.ops->run(&f->a, clock_now(&f->b->clock)), RUN_DUE);
    done(f);
}

static void msrs_of_ours_are_answered(void **state)
{
    (void)state;
    Fixture *f = fixture();
    Step *s = add(f, KVM_EXIT_X86_RDMSR);
    s->exit.msr.index = 0x8b;
    f->cpu->microcode = 0x123456789a;
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(run_of(f)->msr.error, 0);
    s = add(f, KVM_EXIT_X86_WRMSR);
    s->exit.msr.index = 0x12345678;
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(run_of(f)->msr.error, 1);
    done(f);
}

static void scramble(Cpu *cpu)
{
    unsigned seed = 12345;
    for (unsigned i = 0; i < 8; i++) {
        cpu->reg[i] = seed = seed * 1103515245 + 12345;
        cpu->fpu.st[i] = (Float80){seed * 0x100000001ull, (uint16_t)(seed >> 7)};
        cpu->fpu.xmm[i] = (Xmm){{seed * 0x300000001ull, ~(uint64_t)seed}};
        cpu->mtrr.base[i] = 0x1000u * i;
        cpu->mtrr.mask[i] = 0x800 | 0x2000u * i;
        cpu->seg[i].base = seed;
        cpu->seg[i].selector = (uint16_t)(seed >> 3) & 0xfffc;
        cpu->seg[i].limit = 0xfffff;
        cpu->seg[i].access = SEG_PRESENT | SEG_S | SEG_ACCESSED | SEG_WRITABLE | SEG_BIG;
    }
    cpu->seg[CS].limit = 0xffffffff;
    cpu->seg[CS].access |= SEG_GRANULARITY | SEG_CODE;
    cpu->seg[LDTR].access = SEG_UNUSABLE;
    cpu->seg[TR].access = SEG_PRESENT | 0xb;
    cpu->gdtr = (TableReg){0x12345, 0x77};
    cpu->idtr = (TableReg){0x54321, 0x7ff};
    cpu->eip = 0x1234;
    cpu_set_eflags(cpu, FL_ONE | FL_CF | FL_ZF | FL_OF | FL_IF | FL_IOPL);
    cpu->cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_WP | CR0_TS;
    cpu->cr2 = 0xdeadbeef;
    cpu->cr3 = 0x2000;
    cpu->cr4 = CR4_PAE | CR4_PSE;
    for (unsigned i = 0; i < 4; i++) {
        cpu->pdpte[i] = i ? 0 : 0x3001;
        cpu->dr[i] = 0x1000 * i;
    }
    cpu->dr7 = 0x455;
    cpu->fpu.status = 3 << 11;
    cpu->fpu.control = 0x27f;
    cpu->fpu.valid = 0xa5;
    cpu->fpu.opcode = 0x123;
    cpu->fpu.ip = 0x777;
    cpu->fpu.data = 0x888;
    cpu->fpu.ip_selector = cpu->fpu.data_selector = 0; /* not kept by 64-bit kernels */
    cpu->shadow = SHADOW_STI;
    cpu->nmi_blocked = true;
    cpu->sysenter_cs = 8;
    cpu->sysenter_esp = 0x1000;
    cpu->sysenter_eip = 0x2000;
    cpu->mtrr.def_type = 0xc06;
    cpu->mtrr.fixed[10] = 0x0606060606060606;
}

static void all_state_goes_there_and_back(void **state)
{
    (void)state;
    for (unsigned old = 0; old < 2; old++) {
        Fixture *f = fixture_closed();
        f->old = old;
        attach(f);
        scramble(f->cpu);
        if (old) { /* this kernel reads them from memory again, and has no debug registers */
            uint64_t pdpte = 0x3001;
            memcpy(ram_at(&f->b->ram, f->ram->at) + 0x2000, &pdpte, 8);
        }
        uint64_t tsc = tsc_read(f->cpu);
        Cpu before = *f->cpu;
        f->a.ops->push(&f->a);
        assert_int_equal(go(f), RUN_DUE);
        assert_true(f->entered == 1 && f->regs.rip == 0x1234);
        memset(f->cpu->reg, 0, sizeof(f->cpu->reg));
        memset(f->cpu->seg, 0, sizeof(f->cpu->seg));
        memset(&f->cpu->fpu, 0, sizeof(f->cpu->fpu));
        memset(&f->cpu->mtrr, 0, sizeof(f->cpu->mtrr));
        memset(f->cpu->pdpte, 0, sizeof(f->cpu->pdpte));
        if (!old) {
            memset(f->cpu->dr, 0, sizeof(f->cpu->dr));
            f->cpu->dr7 = 0;
        }
        f->cpu->cr0 = f->cpu->cr3 = f->cpu->cr4 = f->cpu->cr2 = f->cpu->eip = 0;
        f->cpu->shadow = 0;
        f->cpu->nmi_blocked = false;
        f->cpu->sysenter_eip = 0;
        f->a.ops->pull(&f->a);
        assert_memory_equal(f->cpu->reg, before.reg, sizeof(before.reg));
        assert_memory_equal(f->cpu->seg, before.seg, sizeof(before.seg));
        assert_memory_equal(&f->cpu->fpu, &before.fpu, sizeof(before.fpu));
        assert_memory_equal(&f->cpu->mtrr, &before.mtrr, sizeof(before.mtrr));
        assert_memory_equal(f->cpu->dr, before.dr, sizeof(before.dr));
        assert_int_equal(f->cpu->pdpte[0], 0x3001);
        assert_int_equal(f->cpu->dr7, before.dr7);
        assert_int_equal(f->cpu->cr0, before.cr0);
        assert_int_equal(f->cpu->cr2, before.cr2);
        assert_int_equal(f->cpu->cr3, before.cr3);
        assert_int_equal(f->cpu->cr4, before.cr4);
        assert_int_equal(f->cpu->eip, before.eip);
        assert_int_equal(cpu_eflags(f->cpu), cpu_eflags(&before));
        assert_int_equal(f->cpu->shadow, SHADOW_STI);
        assert_true(f->cpu->nmi_blocked);
        assert_int_equal(f->cpu->sysenter_eip, 0x2000);
        assert_int_equal(f->cpu->gdtr.base, 0x12345);
        assert_int_equal(tsc_read(f->cpu), tsc);
        done(f);
    }
}

static void time_stamp_goes_on_where_the_kernel_left_it(void **state)
{
    (void)state;
    Fixture *f = fixture();
    assert_int_equal(go(f), RUN_DUE);
    f->msr[0x10] = 987654321;
    f->a.ops->pull(&f->a);
    assert_int_equal(tsc_read(f->cpu), 987654321);
    clock_step(&f->b->clock, 1000000);
    assert_int_equal(tsc_read(f->cpu), 987654321 + f->cpu->tsc_hz / 1000);
    done(f);
}

static void privilege_follows_the_mode(void **state)
{
    (void)state;
    Fixture *f = fixture();
    assert_int_equal(go(f), RUN_DUE);
    f->sregs2.cr0 |= CR0_PE;
    f->sregs2.ss.dpl = 3;
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->cpl, 3);
    f->a.ops->push(&f->a);
    assert_int_equal(go(f), RUN_DUE);
    f->sregs2.cr0 &= ~1ull;
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->cpl, 0);
    f->a.ops->push(&f->a);
    assert_int_equal(go(f), RUN_DUE);
    f->sregs2.cr0 |= CR0_PE;
    f->sregs2.ss.dpl = 0;
    f->regs.rflags |= FL_VM;
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->cpl, 3);
    done(f);
}

static void want_attention(Fixture *f)
{
    atomic_store(&f->cpu->attention, true);
}

static void pull_right_behind_an_exit_runs_with_immediate_exit(void **state)
{
    (void)state;
    Fixture *f = fixture();
    add_io(f, false, 1, 1)->before = want_attention;
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(f->entered, 1);
    assert_int_equal(f->finished, 0);
    f->a.ops->pull(&f->a);
    assert_int_equal(f->finished, 1);
    f->a.ops->pull(&f->a); /* nothing left to do */
    assert_int_equal(f->finished, 1);
    done(f);
}

static void interrupt_under_way_is_delivered_at_pull(void **state)
{
    (void)state;
    Fixture *f = fixture();
    uint8_t *ram = ram_at(&f->b->ram, f->ram->at);
    memcpy(ram + 4 * 0x21, "\x34\x12\x00\x50", 4);
    f->a.ops->pull(&f->a);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        seg_load_real(f->cpu, (SegIndex)i, 0);
    }
    f->cpu->eip = 0x700;
    f->cpu->reg[ESP] = 0x1000;
    f->cpu->eflags |= FL_IF;
    f->a.ops->push(&f->a);
    assert_int_equal(go(f), RUN_DUE);
    f->events.interrupt.injected = 1;
    f->events.interrupt.nr = 0x21;
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->eip, 0x1234);
    assert_int_equal(f->cpu->seg[CS].selector, 0x5000);
    assert_int_equal(ram[0xffa] | ram[0xffb] << 8, 0x700);
    done(f);
}

static void nmi_under_way_stays_pending(void **state)
{
    (void)state;
    Fixture *f = fixture();
    assert_int_equal(go(f), RUN_DUE);
    f->events.nmi.injected = 1;
    f->events.nmi.masked = 1;
    f->a.ops->pull(&f->a);
    assert_true(f->cpu->nmi_pending);
    assert_false(f->cpu->nmi_blocked);
    done(f);
}

/* The slot at this address, or NULL. */
static const struct kvm_userspace_memory_region *slot_at(const Fixture *f, uint64_t addr)
{
    for (unsigned i = 0; i < KVM_SLOTS; i++) {
        const struct kvm_userspace_memory_region *s = &f->slot[i];
        if (addr >= s->guest_phys_addr && addr - s->guest_phys_addr < s->memory_size) {
            return s;
        }
    }
    return NULL;
}

static uint32_t shown_at(const Fixture *f, uint64_t addr)
{
    const struct kvm_userspace_memory_region *s = slot_at(f, addr);
    assert_non_null(s);
    return (uint32_t)(s->userspace_addr + (addr - s->guest_phys_addr) - (uintptr_t)f->b->ram.host);
}

static void slots_follow_the_map(void **state)
{
    (void)state;
    Fixture *f = fixture();
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(shown_at(f, 0x5000), f->ram->at + 0x5000);
    assert_null(slot_at(f, 0xa0000));
    assert_null(slot_at(f, 0xbffff));
    assert_int_equal(shown_at(f, 0xc0000), f->ram->at + 0xc0000);
    assert_int_equal(slot_at(f, 0xf0000)->flags, KVM_MEM_READONLY);
    assert_int_equal(shown_at(f, 0xf1000), f->rom->at + 0x1000);
    assert_int_equal(slot_at(f, RAM_SIZE - 1)->flags, 0);
    assert_null(slot_at(f, RAM_SIZE));
    /* reads from ROM, writes to RAM, as PAM does: writes must come to us */
    bus_set_view(f->rom_range, &(RamView){true, true, f->rom->at, f->ram->at + 0xf0000});
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(slot_at(f, 0xf0000)->flags, KVM_MEM_READONLY);
    assert_int_equal(shown_at(f, 0xf0000), f->rom->at);
    bus_set_view(f->rom_range, &(RamView){true, true, f->ram->at + 0xf0000, f->ram->at + 0xf0000});
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(shown_at(f, 0xf0000), f->ram->at + 0xf0000);
    assert_int_equal(slot_at(f, 0xf0000)->flags, 0);
    done(f);
}

static void closed_a20_shows_even_mebibytes_twice(void **state)
{
    (void)state;
    Fixture *f = fixture();
    cpu_a20m(f->cpu, 0, false);
    Step *s = add_mmio(f, true, 0x1a0004, 1);
    s->exit.mmio.data[0] = 0x42;
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(shown_at(f, 0x100000), f->ram->at);
    assert_int_equal(shown_at(f, 0x200000), f->ram->at + 0x200000);
    assert_int_equal(shown_at(f, 0x345000), f->ram->at + 0x245000);
    assert_int_equal(shown_at(f, 0x1f0000), f->rom->at);
    assert_string_equal(f->note[0], "w1 4 42");
    cpu_a20m(f->cpu, 0, true);
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(shown_at(f, 0x100000), f->ram->at + 0x100000);
    done(f);
}

static void written_pages_lose_their_flags(void **state)
{
    (void)state;
    Fixture *f = fixture();
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(f->logs_read, 0);
    ram_flag_set(&f->b->ram, f->ram->at >> 12, 8, RAM_CLEAN_DISPLAY);
    f->dirty = 0x24;
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(slot_at(f, 0)->flags, KVM_MEM_LOG_DIRTY_PAGES);
    assert_int_equal(f->logs_read, 1);
    for (unsigned page = 0; page < 8; page++) {
        bool written = page == 2 || page == 5;
        assert_int_equal(f->b->ram.flags[(f->ram->at >> 12) + page],
                         written ? 0 : RAM_CLEAN_DISPLAY);
    }
    done(f);
}

static void management_mode_is_run_by_the_interpreter(void **state)
{
    (void)state;
    Fixture *f = fixture();
    uint8_t *ram = ram_at(&f->b->ram, f->ram->at);
    f->a.ops->pull(&f->a);
    f->cpu->smbase = 0x30000;
    f->cpu->reg[EDX] = 0x304;
    f->cpu->reg[EAX] = 0x77;
    memcpy(ram + 0x38000, "\xee\x0f\xaa", 3); /* out dx, al; rsm */
    f->a.ops->push(&f->a);
    assert_int_equal(go(f), RUN_DUE);
    unsigned entered = f->entered;
    f->regs.rip = 0x4567;
    cpu_smi(f->cpu, 0, true);
    for (unsigned i = 0; i < 10 && f->entered == entered; i++) {
        (void)go(f);
    }
    assert_string_equal(f->note[0], "w1 4 77");
    assert_true(f->entered > entered);
    assert_int_equal(f->regs.rip, 0x4567);
    assert_false(f->cpu->smm);
    done(f);
}

static void failed_emulation_is_carried_by_the_interpreter(void **state)
{
    (void)state;
    for (unsigned replaceable = 0; replaceable < 2; replaceable++) {
        Fixture *f = fixture();
        uint8_t *ram = ram_at(&f->b->ram, f->ram->at);
        f->a.replaceable = replaceable;
        f->a.ops->pull(&f->a);
        seg_load_real(f->cpu, CS, 0);
        f->cpu->eip = 0x7000;
        memcpy(ram + 0x7000, "\x40\xf4", 2); /* inc ax; hlt */
        f->a.ops->push(&f->a);
        add(f, KVM_EXIT_INTERNAL_ERROR)->exit.internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
        RunExit exit = go(f);
        if (replaceable) {
            assert_int_equal(exit, RUN_FAILED);
            assert_non_null(strstr(f->a.failure, "emulate"));
        } else {
            assert_int_equal(exit, RUN_HALTED);
            f->a.ops->pull(&f->a);
            assert_int_equal(f->cpu->reg[EAX], 1);
            assert_int_equal(f->cpu->eip, 0x7002);
            clock_step(&f->b->clock, 10000000); /* its time is over: the kernel again */
            cpu_nmi(f->cpu, 0, true);
            memcpy(ram + 8, "\x00\x60\x00\x00", 4);
            (void)go(f);
            assert_true(f->entered > 1);
        }
        done(f);
    }
}

static void storm_of_exits_gives_up_only_where_another_can_go_on(void **state)
{
    (void)state;
    for (unsigned replaceable = 0; replaceable < 2; replaceable++) {
        Fixture *f = fixture();
        f->a.replaceable = replaceable;
        f->step_clock = 8000; /* 125000 accesses a second */
        RunExit exit = RUN_DUE;
        for (unsigned i = 0; i < 100000 && exit == RUN_DUE; i++) {
            f->steps = f->at = 0;
            add_io(f, true, 1, 1);
            exit = go(f);
        }
        assert_int_equal(exit, replaceable ? RUN_FAILED : RUN_DUE);
        assert_int_equal(strstr(f->a.failure, "storm") != NULL, replaceable);
        done(f);
    }
}

static void counted_time_is_refused(void **state)
{
    (void)state;
    Fixture *f = fixture();
    clock_use_count(&f->b->clock, &f->cpu->executed, 0);
    assert_int_equal(go(f), RUN_FAILED);
    assert_non_null(strstr(f->a.failure, "-icount"));
    done(f);
}

static void reset_between_runs_starts_afresh(void **state)
{
    (void)state;
    Fixture *f = fixture();
    add(f, KVM_EXIT_HLT);
    assert_int_equal(go(f), RUN_HALTED);
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->activity, CPU_HALTED);
    board_reset(f->b, RESET_HARD);
    f->a.ops->push(&f->a);
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(f->regs.rip, 0xfff0);
    assert_int_equal(f->sregs2.cs.base, 0xffff0000);
    done(f);
}

static void init_pin_resets_the_processor_alone(void **state)
{
    (void)state;
    Fixture *f = fixture();
    assert_int_equal(go(f), RUN_DUE);
    f->regs.rip = 0x1111;
    cpu_init_pin(f->cpu, 0, true);
    assert_int_equal(go(f), RUN_DUE);
    assert_int_equal(f->regs.rip, 0xfff0);
    done(f);
}

static void probe_tells_what_fails(void **state)
{
    (void)state;
    Fixture *f = fixture_closed();
    KvmProbe probe;
    f->open_error = ENOENT;
    kvm_probe(&f->sys, &probe);
    assert_false(probe.usable);
    assert_non_null(strstr(probe.reason, "/dev/kvm"));
    f->open_error = 0;
    add(f, KVM_EXIT_HLT); /* real mode: ends, without a result */
    add(f, KVM_EXIT_SHUTDOWN);
    add(f, KVM_EXIT_INTERNAL_ERROR);
    add(f, KVM_EXIT_FAIL_ENTRY);
    kvm_probe(&f->sys, &probe);
    assert_true(probe.usable);
    assert_non_null(strstr(probe.mode[KVM_REAL].wrong, "wrong sum"));
    assert_non_null(strstr(probe.mode[KVM_PROTECTED].wrong, "shut down"));
    assert_non_null(strstr(probe.mode[KVM_PAGED].wrong, "emulate"));
    assert_non_null(strstr(probe.mode[KVM_V86].wrong, "refused"));
    Err err = {""};
    f->at = 0;
    assert_false(kvm_open_on(&f->a, &f->sys, true, &err));
    assert_non_null(strstr(err.text, "real mode"));
    assert_non_null(strstr(err.text, "-accel translator"));
    done(f);
}

static void probe_ends_though_a_guest_does_not(void **state)
{
    (void)state;
    Fixture *f = fixture_closed();
    KvmProbe probe;
    kvm_probe(&f->sys, &probe); /* every KVM_RUN is interrupted */
    for (unsigned i = 0; i < KVM_MODES; i++) {
        assert_false(probe.mode[i].right);
        assert_non_null(strstr(probe.mode[i].wrong, "in time"));
    }
    done(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_says_what_is_missing),
        cmocka_unit_test(ports_in_and_out_also_in_strings),
        cmocka_unit_test(impossible_port_accesses_end_the_engine),
        cmocka_unit_test(memory_accesses_of_any_length),
        cmocka_unit_test(collected_writes_come_before_the_exit),
        cmocka_unit_test(halt_sleeps_until_an_interrupt_is_allowed),
        cmocka_unit_test(interrupt_that_ends_halt_comes_at_once_also_behind_sti),
        cmocka_unit_test(interrupt_the_kernel_overlooks_is_carried_in),
        cmocka_unit_test(interrupt_window_is_asked_for),
        cmocka_unit_test(first_entry_takes_an_interrupt_that_cpu_allows),
        cmocka_unit_test(eintr_returns_and_eagain_tries_again),
        cmocka_unit_test(harmless_exits_go_on),
        cmocka_unit_test(fatal_exits_say_why),
        cmocka_unit_test(attention_and_kicks_are_not_lost),
        cmocka_unit_test(msrs_of_ours_are_answered),
        cmocka_unit_test(all_state_goes_there_and_back),
        cmocka_unit_test(time_stamp_goes_on_where_the_kernel_left_it),
        cmocka_unit_test(privilege_follows_the_mode),
        cmocka_unit_test(pull_right_behind_an_exit_runs_with_immediate_exit),
        cmocka_unit_test(interrupt_under_way_is_delivered_at_pull),
        cmocka_unit_test(nmi_under_way_stays_pending),
        cmocka_unit_test(slots_follow_the_map),
        cmocka_unit_test(closed_a20_shows_even_mebibytes_twice),
        cmocka_unit_test(written_pages_lose_their_flags),
        cmocka_unit_test(management_mode_is_run_by_the_interpreter),
        cmocka_unit_test(failed_emulation_is_carried_by_the_interpreter),
        cmocka_unit_test(storm_of_exits_gives_up_only_where_another_can_go_on),
        cmocka_unit_test(counted_time_is_refused),
        cmocka_unit_test(reset_between_runs_starts_afresh),
        cmocka_unit_test(init_pin_resets_the_processor_alone),
        cmocka_unit_test(probe_tells_what_fails),
        cmocka_unit_test(probe_ends_though_a_guest_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
