/* The paravirtual clock of KVM guests ("kvmclock"), under every engine: guest time in nanoseconds,
 * in a page of the guest's memory.
 *
 * Documentation/virt/kvm/x86/msr.rst and cpuid.rst of the kernel. A property of the machine (-cpu
 * MODEL,+kvmclock), not of an engine, so that a guest that uses it can be moved.
 */
#ifndef CPU_ACCEL_X86_PVCLOCK_H
#define CPU_ACCEL_X86_PVCLOCK_H

#include "cpu-accel/x86/cpu.h"

enum {
    PVCLOCK_LEAF = 0x40000000, /* CPUID: signature; the next one has the features */
    PVCLOCK_LEAF_FEATURES = 0x40000001,
    PVCLOCK_HYPERVISOR = (int)(1u << 31), /* CPUID leaf 1, ECX: those leaves are there */
    MSR_PVCLOCK_WALL = 0x4b564d00,
    MSR_PVCLOCK_TIME = 0x4b564d01,
};

/* What the two leaves hold: EAX EBX ECX EDX. */
void pvclock_cpuid(uint32_t leaf, uint32_t out[4]);
/* NULL: not a register of this machine's clock. */
uint64_t *pvclock_msr(Cpu *cpu, uint32_t index);
/* The guest writes one of them: tells it the time. */
void pvclock_write(Cpu *cpu, uint32_t index, uint64_t value);
/* The TSC has jumped against guest time, or is counted by another engine: says so to the guest, if
 * it has asked for the time. */
void pvclock_update(Cpu *cpu);

#endif
