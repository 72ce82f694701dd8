/* Exits of the KVM engine: ports, MMIO, MSRs, halt, and what the kernel could not do.
 *
 * KVM API, chapter 5 (kvm_run). Every count and offset in kvm_run is the kernel's, not the guest's,
 * and still bounded: a broken kernel must not make us write elsewhere.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cpu-accel/kvm/kvm_internal.h"
#include "cpu-accel/x86/control.h"
#include "machine/core/log.h"

LOG_TAG("kvm");

enum {
    WINDOW_NS = 50000000, /* of guest time, in which exits are counted */
    STORM_WINDOWS = 6,    /* so many busy ones in a row are a storm */
    FEWEST_EXITS = 500,   /* in a busy window */
    MOST_EXIT_NS = 10000, /* what an exit costs at most, where none followed another at once */
    COLLECTED_NS = 1500,  /* what a write that the kernel collects costs at most */
};

static KvmStep failed(Kvm *k, const char *what, uint64_t detail)
{
    snprintf(k->accel->failure, sizeof(k->accel->failure), "%s (0x%" PRIx64 ")", what, detail);
    return KVM_STOP_FAILED;
}

static uint64_t load(const uint8_t *p, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)p[i] << (8 * i);
    }
    return value;
}

static void store(uint8_t *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        p[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t through_a20(const Kvm *k, uint64_t addr)
{
    return k->accel->cpu->a20 ? addr : addr & ~(UINT64_C(1) << 20);
}

/* The largest access that `left` bytes make up: the kernel splits at page edges, to any length. */
static unsigned access_size(unsigned left)
{
    return left >= 8 ? 8 : (left >= 4 ? 4 : (left >= 2 ? 2 : 1));
}

static void memory_access(Kvm *k, uint64_t addr, uint8_t *data, unsigned len, bool write)
{
    Bus *bus = k->accel->board->memory;
    for (unsigned at = 0; at < len;) {
        unsigned bytes = access_size(len - at);
        uint64_t where = through_a20(k, addr + at);
        if (write) {
            bus_write(bus, where, load(data + at, bytes), bytes);
        } else {
            store(data + at, bus_read(bus, where, bytes), bytes);
        }
        at += bytes;
    }
}

void kvm_flush_writes(Kvm *k)
{
    struct kvm_coalesced_mmio_ring *ring = k->ring;
    k->flushed = 0;
    if (!ring) {
        return;
    }
    const unsigned room = (4096 - sizeof(*ring)) / sizeof(ring->coalesced_mmio[0]);
    while (ring->first != ring->last && ring->first < room) {
        struct kvm_coalesced_mmio *m = &ring->coalesced_mmio[ring->first];
        unsigned len = m->len <= sizeof(m->data) ? m->len : sizeof(m->data);
        memory_access(k, m->phys_addr, m->data, len, true);
        __sync_synchronize(); /* the kernel may use the entry again once it sees `first` move */
        ring->first = (ring->first + 1) % room;
        k->flushed++;
    }
    k->collected += k->flushed;
}

/* Several accesses of a string instruction at once, where the device takes them so; else one. How
 * many it was. */
static uint32_t port_reads(Kvm *k, uint8_t *data, unsigned size, uint32_t count)
{
    Bus *bus = k->accel->board->ports;
    uint16_t port = k->run->io.port;
    uint32_t done = count > 1 ? bus_read_run(bus, port, size, data, count) : 0;
    if (done == 0) {
        store(data, bus_read(bus, port, size), size);
        done = 1;
    }
    return done;
}

static uint32_t port_writes(Kvm *k, const uint8_t *data, unsigned size, uint32_t count)
{
    Bus *bus = k->accel->board->ports;
    uint16_t port = k->run->io.port;
    uint32_t done = count > 1 ? bus_write_run(bus, port, size, data, count) : 0;
    if (done == 0) {
        bus_write(bus, port, load(data, size), size);
        done = 1;
    }
    return done;
}

static KvmStep ports(Kvm *k)
{
    struct kvm_run *run = k->run;
    unsigned size = run->io.size;
    uint64_t total = (uint64_t)size * run->io.count;
    if ((size != 1 && size != 2 && size != 4) || run->io.data_offset > k->run_size ||
        total > k->run_size - run->io.data_offset) {
        return failed(k, "an impossible port access", run->io.data_offset);
    }
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    for (uint32_t left = run->io.count, done; left > 0; left -= done, data += done * size) {
        done = run->io.direction == KVM_EXIT_IO_OUT ? port_writes(k, data, size, left)
                                                    : port_reads(k, data, size, left);
    }
    k->unfinished = true;
    return KVM_GO_ON;
}

static KvmStep mmio(Kvm *k)
{
    struct kvm_run *run = k->run;
    if (run->mmio.len > sizeof(run->mmio.data)) {
        return failed(k, "an impossible memory access", run->mmio.len);
    }
    memory_access(k, run->mmio.phys_addr, run->mmio.data, run->mmio.len, run->mmio.is_write);
    k->unfinished = true;
    return KVM_GO_ON;
}

/* Registers that the kernel does not know; Cpu answers, as under any engine. */
static KvmStep msr(Kvm *k, bool write)
{
    struct kvm_run *run = k->run;
    Cpu *cpu = k->accel->cpu;
    uint64_t value = run->msr.data;
    Outcome out =
        write ? msr_write(cpu, run->msr.index, value) : msr_read(cpu, run->msr.index, &value);
    run->msr.error = out == X_FAULT;
    if (!write) {
        run->msr.data = value;
    }
    k->unfinished = true;
    return KVM_GO_ON;
}

static KvmStep internal_error(Kvm *k)
{
    uint32_t why = k->run->internal.suberror;
    if (why != KVM_INTERNAL_ERROR_EMULATION) {
        return failed(k, "internal error of the kernel", why);
    }
    return kvm_rescue(k);
}

/* A guest that mostly exits runs faster where devices are called directly. What an exit costs here
 * is the shortest time seen between two: a window is busy when all its exits, at that price, take
 * half of it. Writes that the kernel collects leave the guest all the same, if at a lower price. */
static bool is_busy(const Kvm *k, int64_t elapsed)
{
    int64_t price = k->shortest_gap < MOST_EXIT_NS ? k->shortest_gap : MOST_EXIT_NS;
    int64_t collected = price < COLLECTED_NS ? price : COLLECTED_NS;
    return (uint64_t)k->exits + k->collected >= FEWEST_EXITS &&
           k->exits * price + k->collected * collected >= elapsed / 2;
}

static KvmStep count_exit(Kvm *k, KvmStep step)
{
    int64_t now = clock_peek(&k->accel->board->clock), elapsed = now - k->window_start;
    int64_t gap = now - k->last_exit;
    k->last_exit = now;
    k->exits++;
    if (gap > 0 && gap < k->shortest_gap && !k->flushed) {
        k->shortest_gap = gap;
    }
    if (elapsed < WINDOW_NS) {
        return step;
    }
    uint64_t accesses = (uint64_t)k->exits + k->collected;
    bool busy = is_busy(k, elapsed);
    k->busy_windows = busy ? k->busy_windows + 1 : 0;
    unsigned rate = (unsigned)(accesses * CLOCK_NS_PER_S / (uint64_t)elapsed);
    k->window_start = now;
    k->shortest_gap = WINDOW_NS;
    k->exits = k->collected = 0;
    k->rescues = 0;
    if (k->busy_windows >= STORM_WINDOWS && k->accel->replaceable && step == KVM_GO_ON) {
        k->busy_windows = 0;
        k->accel->may_return = true;
        snprintf(k->accel->failure, sizeof(k->accel->failure),
                 "an exit storm: %u device accesses a second", rate);
        return KVM_STOP_FAILED;
    }
    return step;
}

KvmStep kvm_handle_exit(Kvm *k)
{
    struct kvm_run *run = k->run;
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        return count_exit(k, ports(k));
    case KVM_EXIT_MMIO:
        return count_exit(k, mmio(k));
    case KVM_EXIT_X86_RDMSR:
        return msr(k, false);
    case KVM_EXIT_X86_WRMSR:
        return msr(k, true);
    case KVM_EXIT_HLT:
        k->halted = true;
        k->accel->cpu->executed += k->stepping;
        return KVM_GO_ON;
    case KVM_EXIT_DEBUG:
        k->accel->cpu->executed += k->stepping;
        return KVM_GO_ON;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_INTR:
    case KVM_EXIT_NMI:
    case KVM_EXIT_SET_TPR:
        return KVM_GO_ON;
    case KVM_EXIT_HYPERCALL:
        run->hypercall.ret = (uint64_t)-1000; /* KVM_ENOSYS: none is offered */
        k->unfinished = true;
        return KVM_GO_ON;
    case KVM_EXIT_INTERNAL_ERROR:
        return internal_error(k);
    case KVM_EXIT_SHUTDOWN:
        return kvm_shut_down(k);
    case KVM_EXIT_FAIL_ENTRY:
        return failed(k, "the processor refused to enter the guest",
                      run->fail_entry.hardware_entry_failure_reason);
    case KVM_EXIT_UNKNOWN:
        return failed(k, "the processor left the guest for an unknown reason",
                      run->hw.hardware_exit_reason);
    case KVM_EXIT_EXCEPTION:
        return failed(k, "an exception of the host in the guest", run->ex.exception);
    default:
        log_unimp("exit reason %u", run->exit_reason);
        return failed(k, "an exit reason this engine does not know", run->exit_reason);
    }
}
