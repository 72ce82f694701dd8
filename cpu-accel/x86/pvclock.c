/* The paravirtual clock of KVM guests, in software.
 *
 * Documentation/virt/kvm/x86/msr.rst: two structures in guest memory, whose addresses the guest
 * writes to MSRs. Ours hold for long, because TSC and guest time advance together: they are written
 * anew only when the guest asks, writes its TSC, or changes engines. Engine kvm leaves the second
 * one to the kernel. Not offered: the old MSRs 11h and 12h (registers of the Pentium), steal time,
 * asynchronous page faults, and the promise of a stable TSC, which no host makes to all engines.
 * cpuid.c and msr.c ask; pc.c switches it on.
 */
#include "cpu-accel/x86/pvclock.h"

#include <string.h>

#include "cpu-accel/x86/control.h"
#include "machine/core/log.h"

LOG_TAG("cpu");

enum {
    FEATURE_CLOCKSOURCE2 = 1 << 3,
    TIME_ENABLE = 1,
    WALL_BYTES = 12, /* version, seconds, nanoseconds */
    TIME_BYTES = 32, /* version, 0, TSC, ns at that TSC, multiplier, shift, flags */
    AT_TSC = 8,
    AT_NS = 16,
    AT_MULTIPLIER = 24,
    AT_SHIFT = 28,
};
#define NS_PER_S UINT64_C(1000000000)

void pvclock_cpuid(uint32_t leaf, uint32_t out[4])
{
    memset(out, 0, 4 * sizeof(out[0]));
    if (leaf == PVCLOCK_LEAF) {
        out[0] = PVCLOCK_LEAF_FEATURES;
        memcpy(out + 1, "KVMKVMKVM\0\0", 12);
    } else {
        out[0] = FEATURE_CLOCKSOURCE2;
    }
}

uint64_t *pvclock_msr(Cpu *cpu, uint32_t index)
{
    if (!cpu->pvclock || (index != MSR_PVCLOCK_WALL && index != MSR_PVCLOCK_TIME)) {
        return NULL;
    }
    return index == MSR_PVCLOCK_WALL ? &cpu->pvclock_wall : &cpu->pvclock_time;
}

/* The structure must lie in RAM as a whole: nothing else is written. */
static bool in_ram(const Cpu *cpu, uint64_t at, unsigned bytes)
{
    BusStretch s;
    return bus_stretch(cpu->board->memory, at, &s) && s.ram && s.view.writable && s.base <= at &&
           s.end - at >= bytes;
}

static void put(uint8_t *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

/* Writes all behind the version, and an even version that is not the last one: the guest's only
 * processor stands still meanwhile. */
static void publish(Cpu *cpu, uint64_t at, uint8_t *data, unsigned bytes)
{
    uint8_t version[4] = {0};
    if (!in_ram(cpu, at, bytes)) {
        if (!cpu->tap) { /* a shadow's memory hears of it from the real one */
            log_guest("kvmclock at 0x%llx, where no memory is", (unsigned long long)at);
        }
        return;
    }
    bus_dma(cpu->board->memory, at, version, sizeof(version), false);
    uint32_t last = version[0] | version[1] << 8 | version[2] << 16 | (uint32_t)version[3] << 24;
    put(data, (last & ~1u) + 2, 4);
    bus_dma(cpu->board->memory, at, data, bytes, true);
}

static void tell_wall(Cpu *cpu)
{
    uint8_t data[WALL_BYTES];
    put(data + 4, (uint64_t)(cpu->pvclock_start_us / 1000000), 4);
    put(data + 8, (uint64_t)(cpu->pvclock_start_us % 1000000) * 1000, 4);
    publish(cpu, cpu->pvclock_wall, data, sizeof(data));
}

/* ns = ticks * 2^shift * multiplier / 2^32, with a multiplier of 31 bits and more. */
static uint32_t multiplier(uint32_t hz, int8_t *shift)
{
    uint64_t ns = NS_PER_S, ticks = hz;
    *shift = 0;
    while (ns >= ticks) {
        ticks *= 2;
        ++*shift;
    }
    while (2 * ns < ticks) {
        ns *= 2;
        --*shift;
    }
    return (uint32_t)((ns << 32) / ticks);
}

void pvclock_update(Cpu *cpu)
{
    uint8_t data[TIME_BYTES] = {0};
    int8_t shift;
    if (!cpu->pvclock || !(cpu->pvclock_time & TIME_ENABLE)) {
        return;
    }
    uint64_t tsc = tsc_read(cpu);
    put(data + AT_TSC, tsc, 8);
    put(data + AT_NS, (uint64_t)clock_ticks_to_ns(tsc - (uint64_t)cpu->tsc_offset, cpu->tsc_hz), 8);
    put(data + AT_MULTIPLIER, multiplier(cpu->tsc_hz, &shift), 4);
    data[AT_SHIFT] = (uint8_t)shift;
    publish(cpu, cpu->pvclock_time & ~(uint64_t)TIME_ENABLE, data, sizeof(data));
}

void pvclock_write(Cpu *cpu, uint32_t index, uint64_t value)
{
    *pvclock_msr(cpu, index) = value;
    if (index == MSR_PVCLOCK_WALL) {
        tell_wall(cpu);
    } else {
        pvclock_update(cpu);
    }
}
