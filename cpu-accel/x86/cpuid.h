/* What each processor model is and can do. */
#ifndef CPU_ACCEL_X86_CPUID_H
#define CPU_ACCEL_X86_CPUID_H

#include "cpu-accel/x86/cpu.h"

/* Feature bits of CPUID leaf 1, EDX (SDM vol. 2, CPUID). */
enum {
    CPUID_FPU = 1 << 0,
    CPUID_VME = 1 << 1,
    CPUID_DE = 1 << 2,
    CPUID_PSE = 1 << 3,
    CPUID_TSC = 1 << 4,
    CPUID_MSR = 1 << 5,
    CPUID_PAE = 1 << 6,
    CPUID_MCE = 1 << 7,
    CPUID_CX8 = 1 << 8,
    CPUID_APIC = 1 << 9,
    CPUID_SEP = 1 << 11,
    CPUID_MTRR = 1 << 12,
    CPUID_PGE = 1 << 13,
    CPUID_MCA = 1 << 14,
    CPUID_CMOV = 1 << 15,
    CPUID_PAT = 1 << 16,
    CPUID_PSE36 = 1 << 17,
    CPUID_CLFSH = 1 << 19,
    CPUID_MMX = 1 << 23,
    CPUID_FXSR = 1 << 24,
    CPUID_SSE = 1 << 25,
    CPUID_SSE2 = 1 << 26,
};

/* Features of a model as above, also where the model has no CPUID instruction. */
uint32_t cpu_features(CpuModel model);
/* Family, model and stepping: CPUID leaf 1 EAX, and EDX after reset. */
uint32_t cpu_signature(CpuModel model);
bool cpu_has_cpuid(CpuModel model);
/* Bits of CR4, EFLAGS that exist. */
uint32_t cpu_cr4_mask(CpuModel model);
uint32_t cpu_eflags_mask(CpuModel model);
/* Default TSC rate in Hz, the clock of a typical part. */
uint32_t cpu_default_hz(CpuModel model);
/* "pentium3" as on the command line; NULL past the last. */
const char *cpu_model_name(CpuModel model);
/* False when there is no such model. */
bool cpu_model_find(const char *name, CpuModel *model);

#endif
