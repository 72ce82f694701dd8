/* The fake kernel and board of the KVM tests. */
#include "tests/unit/kvm_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/pvclock.h"
#include "machine/engine.h"

void kvm_rig_note(Fixture *f, const char *what, uint64_t where, uint64_t value, unsigned bytes)
{
    assert_in_range(f->notes, 0, MOST_NOTES - 1);
    snprintf(f->note[f->notes++], sizeof(f->note[0]), "%s%u %llx %llx", what, bytes,
             (unsigned long long)where, (unsigned long long)value);
}

static uint64_t device_read(void *self, uint32_t offset, unsigned bytes)
{
    Fixture *f = self;
    kvm_rig_note(f, "r", offset, 0, bytes);
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
        kvm_rig_note(f, "w", offset, value, bytes);
    }
}

static const IoOps port_ops = {device_read, device_write, 1, 4};
static const IoOps memory_ops = {device_read, device_write, 1, 8};

/* The fake kernel. */

struct kvm_run *kvm_rig_run_of(Fixture *f)
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
    case KVM_CAP_X86_MSR_FILTER:
        return !f->old;
    case KVM_CAP_GET_TSC_KHZ:
        return f->tsc_khz != 0;
    case KVM_CAP_TSC_CONTROL:
        return f->tsc_control;
    default:
        return 0;
    }
}

static int fake_run(Fixture *f)
{
    struct kvm_run *run = kvm_rig_run_of(f);
    if (run->immediate_exit) {
        f->finished++;
        errno = EINTR;
        run->exit_reason = KVM_EXIT_DEBUG;
        return f->debug_at_finish ? 0 : -1;
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
        if (index == MSR_PVCLOCK_TIME) {
            f->pvclock = set ? msrs->entries[i].data : f->pvclock;
            msrs->entries[i].data = f->pvclock;
            continue;
        }
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
    case KVM_SET_CLOCK:
        f->clock = ((struct kvm_clock_data *)argument)->clock;
        return 0;
    case KVM_X86_SET_MSR_FILTER:
        f->filtered = ((struct kvm_msr_filter *)argument)->ranges[0].base;
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
    case KVM_GET_TSC_KHZ:
        return f->tsc_khz;
    case KVM_SET_TSC_KHZ:
        f->tsc_khz = (int)(uintptr_t)argument;
        return 0;
    case KVM_SET_GUEST_DEBUG:
        errno = EINVAL;
        f->debug_control = ((struct kvm_guest_debug *)argument)->control;
        return f->no_debug ? -1 : 0;
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

Fixture *kvm_rig_closed(void)
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
    CpuPins pins = {
        .acknowledge = acknowledge, .self = f, .shutdown = chip_probe(f->b, &f->shutdown)};
    f->cpu = cpu_new(f->b, CPU_PENTIUM3, &pins);
    board_reset(f->b, RESET_POWER);
    f->a = (Accel){.ops = &accel_kvm, .cpu = f->cpu, .board = f->b};
    return f;
}

void kvm_rig_attach(Fixture *f)
{
    Err err = {""};
    if (!kvm_open_on(&f->a, &f->sys, false, &err)) {
        fail_msg("%s", err.text);
    }
    engine_attach(&f->a);
    f->a.ops->push(&f->a);
    f->attached = true;
}

Fixture *kvm_rig(void)
{
    Fixture *f = kvm_rig_closed();
    kvm_rig_attach(f);
    return f;
}

void kvm_rig_free(Fixture *f)
{
    if (f->attached) {
        f->a.ops->close(&f->a);
        engine_detach(&f->a);
    }
    board_free(f->b);
    free(f);
}

RunExit kvm_rig_go(Fixture *f)
{
    atomic_store(&f->cpu->attention, false);
    return f->a.ops->run(&f->a, CLOCK_NEVER);
}

Step *kvm_rig_add(Fixture *f, uint32_t reason)
{
    Step *s = &f->step[f->steps++];
    s->exit.exit_reason = reason;
    return s;
}

Step *kvm_rig_add_io(Fixture *f, bool out, unsigned size, unsigned count)
{
    Step *s = kvm_rig_add(f, KVM_EXIT_IO);
    s->exit.io.direction = out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
    s->exit.io.size = (uint8_t)size;
    s->exit.io.count = count;
    s->exit.io.port = 0x304;
    s->exit.io.data_offset = 4096;
    return s;
}

Step *kvm_rig_add_mmio(Fixture *f, bool write, uint64_t addr, unsigned len)
{
    Step *s = kvm_rig_add(f, KVM_EXIT_MMIO);
    s->exit.mmio.phys_addr = addr;
    s->exit.mmio.len = len;
    s->exit.mmio.is_write = write;
    return s;
}

Step *kvm_rig_add_error(Fixture *f, int error)
{
    Step *s = kvm_rig_add(f, 0);
    s->error = error;
    return s;
}
