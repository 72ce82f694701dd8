/* Control registers with their side effects, and model-specific registers.
 *
 * SDM vol. 3, 2.5 (control registers), 11.11 (MTRRs); vol. 4 (MSRs). MTRRs, PAT, performance
 * counters and machine-check banks keep what is written or read as zero; they have no effect. An
 * MSR that the model does not have is #GP.
 */
#include <string.h>

#include "cpu-accel/x86/cpuid.h"
#include "cpu-accel/x86/fpu.h"
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/pvclock.h"
#include "cpu-accel/x86/system.h"
#include "machine/core/log.h"

LOG_TAG("cpu");

#define PHYSICAL_MASK 0xfffffffffull /* 36 bits */

enum {
    CR0_WRITABLE_386 = CR0_PE | CR0_MP | CR0_EM | CR0_TS,
};

enum {
    MSR_P5_MC_ADDR = 0x0,
    MSR_P5_MC_TYPE = 0x1,
    MSR_TSC = 0x10,
    MSR_P5_CESR = 0x11,
    MSR_P5_CTR0 = 0x12,
    MSR_P5_CTR1 = 0x13,
    MSR_PLATFORM_ID = 0x17,
    MSR_APIC_BASE = 0x1b,
    MSR_EBL_CR_POWERON = 0x2a,
    MSR_TEST_CTL = 0x33,
    MSR_BIOS_UPDT_TRIG = 0x79,
    MSR_BBL_CR_D0 = 0x88, /* ..8Ah */
    MSR_BIOS_SIGN_ID = 0x8b,
    MSR_PERFCTR0 = 0xc1,
    MSR_PERFCTR1 = 0xc2,
    MSR_MTRRCAP = 0xfe,
    MSR_BBL_CR_ADDR = 0x116, /* L2 cache control of the Pentium II and III: ..11Eh */
    MSR_BBL_CR_CTL3 = 0x11e,
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    MSR_MCG_CAP = 0x179,
    MSR_MCG_STATUS = 0x17a,
    MSR_EVNTSEL0 = 0x186,
    MSR_EVNTSEL1 = 0x187,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_DEBUGCTL = 0x1d9,
    MSR_LAST_BRANCH_FROM = 0x1db, /* ..1DEh: and to, and of interrupts */
    MSR_LAST_INT_TO = 0x1de,
    MSR_MTRR_BASE0 = 0x200,
    MSR_MTRR_MASK7 = 0x20f,
    MSR_MTRR_FIX64K = 0x250,
    MSR_MTRR_FIX16K_80000 = 0x258,
    MSR_MTRR_FIX16K_A0000 = 0x259,
    MSR_MTRR_FIX4K = 0x268, /* ..26Fh */
    MSR_MTRR_FIX4K_LAST = 0x26f,
    MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MSR_P4_COUNTERS = 0x300,
    MSR_P4_COUNTERS_LAST = 0x3f2,
    MSR_MC0_CTL = 0x400, /* five banks of four */
    MSR_MC_LAST = 0x413,
    MTRRCAP = 0x508, /* 8 variable ranges, fixed ranges, write combining */
};

static Outcome gp0(Cpu *cpu)
{
    return cpu_fault_code(cpu, VEC_GP, 0);
}

/* Do the paging structures' formats or rights change? */
static bool paging_changed(uint32_t difference)
{
    return difference & (CR0_PG | CR0_PE | CR0_WP);
}

static Outcome cr0_write(Cpu *cpu, uint32_t value)
{
    uint32_t old = cpu->cr0;
    if (cpu->model == CPU_386) {
        value &= CR0_WRITABLE_386 | CR0_PG;
    } else {
        value &= CR0_WRITABLE_386 | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;
    }
    value |= CR0_ET;
    if ((value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD))) {
        return gp0(cpu);
    }
    if (value & CR0_PG && !(old & CR0_PG) && cpu->cr4 & CR4_PAE) {
        uint64_t pdpte[4];
        if (!mmu_load_pdptes(cpu, cpu->cr3, pdpte)) {
            return gp0(cpu);
        }
        memcpy(cpu->pdpte, pdpte, sizeof(pdpte));
    }
    cpu->cr0 = value;
    if (paging_changed(old ^ value)) {
        mem_flush(cpu, true);
    }
    if ((old ^ value) & CR0_NE) {
        fpu_drive_ferr(cpu);
    }
    return X_STOP;
}

static Outcome cr3_write(Cpu *cpu, uint32_t value)
{
    if (cpu->cr0 & CR0_PG && cpu->cr4 & CR4_PAE) {
        uint64_t pdpte[4];
        if (!mmu_load_pdptes(cpu, value, pdpte)) {
            return gp0(cpu);
        }
        memcpy(cpu->pdpte, pdpte, sizeof(pdpte));
    }
    cpu->cr3 = value;
    mem_flush(cpu, false);
    return X_STOP;
}

static Outcome cr4_write(Cpu *cpu, uint32_t value)
{
    uint32_t difference = cpu->cr4 ^ value;
    if (value & ~cpu_cr4_mask(cpu->model)) {
        return gp0(cpu);
    }
    if (value & difference & CR4_PAE && cpu->cr0 & CR0_PG) {
        uint64_t pdpte[4];
        if (!mmu_load_pdptes(cpu, cpu->cr3, pdpte)) {
            return gp0(cpu);
        }
        memcpy(cpu->pdpte, pdpte, sizeof(pdpte));
    }
    cpu->cr4 = value;
    if (difference & (CR4_PSE | CR4_PAE | CR4_PGE)) {
        mem_flush(cpu, true);
    }
    return X_STOP;
}

Outcome cr_write(Cpu *cpu, unsigned n, uint32_t value)
{
    switch (n) {
    case 0:
        return cr0_write(cpu, value);
    case 2:
        cpu->cr2 = value;
        return X_STOP;
    case 3:
        return cr3_write(cpu, value);
    case 4:
        if (cpu_cr4_mask(cpu->model)) {
            return cr4_write(cpu, value);
        }
        break;
    default:
        break;
    }
    return cpu_fault(cpu, VEC_UD);
}

/* The place of a fixed-range MTRR, or NULL. */
static uint64_t *fixed_mtrr(Cpu *cpu, uint32_t index)
{
    if (index == MSR_MTRR_FIX64K) {
        return &cpu->mtrr.fixed[0];
    }
    if (index == MSR_MTRR_FIX16K_80000 || index == MSR_MTRR_FIX16K_A0000) {
        return &cpu->mtrr.fixed[1 + index - MSR_MTRR_FIX16K_80000];
    }
    if (index >= MSR_MTRR_FIX4K && index <= MSR_MTRR_FIX4K_LAST) {
        return &cpu->mtrr.fixed[3 + index - MSR_MTRR_FIX4K];
    }
    return NULL;
}

/* An MSR that keeps what it is given: where, and which bits exist. NULL when it is not one. */
static uint64_t *plain_msr(Cpu *cpu, uint32_t index, uint64_t *valid)
{
    uint32_t features = cpu_features(cpu->model);
    *valid = UINT64_MAX;
    if (features & CPUID_SEP) {
        switch (index) {
        case MSR_SYSENTER_CS:
            return &cpu->sysenter_cs;
        case MSR_SYSENTER_ESP:
            return &cpu->sysenter_esp;
        case MSR_SYSENTER_EIP:
            return &cpu->sysenter_eip;
        case MSR_BIOS_SIGN_ID:
            return &cpu->microcode;
        case MSR_DEBUGCTL:
            return &cpu->debugctl;
        case MSR_MCG_STATUS:
            *valid = 7;
            return &cpu->mcg_status;
        default:
            break;
        }
    }
    if (features & CPUID_PAT && index == MSR_PAT) {
        return &cpu->pat;
    }
    if (cpu->model == CPU_PENTIUM4 && index == MSR_MISC_ENABLE) {
        return &cpu->misc_enable;
    }
    if (!(features & CPUID_MTRR)) {
        return NULL;
    }
    if (index >= MSR_MTRR_BASE0 && index <= MSR_MTRR_MASK7) {
        unsigned n = (index - MSR_MTRR_BASE0) / 2;
        bool mask = index & 1;
        *valid = PHYSICAL_MASK & ~(mask ? 0x7ffull : 0xf00ull);
        return mask ? &cpu->mtrr.mask[n] : &cpu->mtrr.base[n];
    }
    if (index == MSR_MTRR_DEF_TYPE) {
        *valid = 0xcff;
        return &cpu->mtrr.def_type;
    }
    return fixed_mtrr(cpu, index);
}

/* Registers of the model that read as zero and ignore writes. */
static bool zero_msr(const Cpu *cpu, uint32_t index)
{
    uint32_t features = cpu_features(cpu->model);
    if (index == MSR_P5_MC_ADDR || index == MSR_P5_MC_TYPE) {
        return features & CPUID_MCE;
    }
    if (index >= MSR_P5_CESR && index <= MSR_P5_CTR1) {
        return cpu->model == CPU_PENTIUM || cpu->model == CPU_PENTIUM_MMX;
    }
    if (!(features & CPUID_SEP)) {
        return false;
    }
    if (cpu->model == CPU_PENTIUM4) {
        return index == MSR_EBL_CR_POWERON || index == MSR_BIOS_UPDT_TRIG ||
               index == MSR_PLATFORM_ID || (index >= MSR_MC0_CTL && index < MSR_MC0_CTL + 16) ||
               (index >= MSR_P4_COUNTERS && index <= MSR_P4_COUNTERS_LAST) ||
               (index >= MSR_LAST_BRANCH_FROM - 1 && index <= MSR_LAST_INT_TO);
    }
    return index == MSR_EBL_CR_POWERON || index == MSR_TEST_CTL || index == MSR_BIOS_UPDT_TRIG ||
           index == MSR_PLATFORM_ID || (index >= MSR_BBL_CR_D0 && index < MSR_BIOS_SIGN_ID) ||
           index == MSR_PERFCTR0 || index == MSR_PERFCTR1 ||
           (index >= MSR_BBL_CR_ADDR && index <= MSR_BBL_CR_CTL3) || index == MSR_EVNTSEL0 ||
           index == MSR_EVNTSEL1 || (index >= MSR_LAST_BRANCH_FROM && index <= MSR_LAST_INT_TO) ||
           (index >= MSR_MC0_CTL && index <= MSR_MC_LAST);
}

Outcome msr_read(Cpu *cpu, uint32_t index, uint64_t *value)
{
    uint32_t features = cpu_features(cpu->model);
    uint64_t valid;
    uint64_t *plain = plain_msr(cpu, index, &valid);
    *value = 0;
    if (plain || (plain = pvclock_msr(cpu, index))) {
        *value = *plain;
    } else if (index == MSR_TSC && features & CPUID_TSC) {
        *value = tsc_read(cpu);
    } else if (index == MSR_APIC_BASE && features & CPUID_SEP) {
        *value = cpu->apic_base;
    } else if (index == MSR_MTRRCAP && features & CPUID_MTRR) {
        *value = MTRRCAP;
    } else if (index == MSR_MCG_CAP && features & CPUID_MCA) {
        *value = cpu->model == CPU_PENTIUM4 ? 4 : 5;
    } else if (!zero_msr(cpu, index)) {
        log_guest("rdmsr 0x%x: no such register", index);
        return gp0(cpu);
    }
    return X_NEXT;
}

static Outcome apic_base_write(Cpu *cpu, uint64_t value)
{
    if (value & ~(PHYSICAL_MASK & ~0x6ffull)) {
        return gp0(cpu);
    }
    cpu->apic_base = (value & ~(uint64_t)APIC_BASE_BSP) | (cpu->apic_base & APIC_BASE_BSP);
    if (cpu->pins->apic_base_changed) {
        cpu->pins->apic_base_changed(cpu->pins->self, cpu->apic_base);
    }
    return X_STOP;
}

/* Memory types (SDM vol. 3, tables 11-8 and 11-10): 0, 1, 4, 5, 6, and 7 (UC-) in the PAT. */
static bool types_valid(uint64_t value, unsigned count, bool pat)
{
    for (unsigned i = 0; i < count; i++, value >>= 8) {
        uint8_t type = value & 0xff;
        if (type > (pat ? 7 : 6) || type == 2 || type == 3) {
            return false;
        }
    }
    return true;
}

/* Do the fields of an MTRR or the PAT hold types that exist? */
static bool types_checked(Cpu *cpu, uint32_t index, uint64_t value)
{
    if (index == MSR_PAT) {
        return types_valid(value, 8, true);
    }
    if (fixed_mtrr(cpu, index)) {
        return types_valid(value, 8, false);
    }
    if (index == MSR_MTRR_DEF_TYPE ||
        (index >= MSR_MTRR_BASE0 && index <= MSR_MTRR_MASK7 && !(index & 1))) {
        return types_valid(value & 0xff, 1, false);
    }
    return true;
}

Outcome msr_write(Cpu *cpu, uint32_t index, uint64_t value)
{
    uint32_t features = cpu_features(cpu->model);
    uint64_t valid;
    uint64_t *plain = plain_msr(cpu, index, &valid);
    if (plain) {
        if (value & ~valid || !types_checked(cpu, index, value)) {
            return gp0(cpu);
        }
        *plain = value;
        return X_NEXT;
    }
    if (index == MSR_TSC && features & CPUID_TSC) {
        if (features & CPUID_SEP) {
            value &= 0xffffffffu; /* P6: the write clears the upper half (SDM vol. 3, 17.17) */
        }
        cpu->tsc_offset += (int64_t)(value - tsc_read(cpu));
        pvclock_update(cpu);
        return X_NEXT;
    }
    if (index == MSR_APIC_BASE && features & CPUID_SEP) {
        return apic_base_write(cpu, value);
    }
    if (pvclock_msr(cpu, index)) {
        pvclock_write(cpu, index, value);
        return X_NEXT;
    }
    if (!zero_msr(cpu, index)) {
        log_guest("wrmsr 0x%x <- 0x%llx: no such register", index, (unsigned long long)value);
        return gp0(cpu);
    }
    return X_NEXT;
}
