/* Processor models: names, features, CPUID leaves, time stamp counter.
 *
 * SDM vol. 2 (CPUID) and Intel application note AP-485. No model answers to a leaf above 2: NT 4
 * stops at start-up when one does. No serial number (Pentium III's leaf 3), which firmware of the
 * time could switch off.
 */
#include "cpu-accel/x86/cpuid.h"

#include <string.h>

#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/pvclock.h"

enum {
    FEATURES_PENTIUM = CPUID_FPU | CPUID_VME | CPUID_DE | CPUID_PSE | CPUID_TSC | CPUID_MSR |
                       CPUID_MCE | CPUID_CX8 | CPUID_APIC,
    FEATURES_P2 = FEATURES_PENTIUM | CPUID_PAE | CPUID_SEP | CPUID_MTRR | CPUID_PGE | CPUID_MCA |
                  CPUID_CMOV | CPUID_PAT | CPUID_PSE36 | CPUID_MMX | CPUID_FXSR,
};

typedef struct Model {
    const char *name;
    uint32_t signature, features, hz;
    uint32_t max_leaf; /* 0: no CPUID */
    uint32_t cache[4]; /* leaf 2: EAX EBX ECX EDX */
} Model;

static const Model models[CPU_MODEL_COUNT] = {
    [CPU_386] = {"386", 0x0308, CPUID_FPU, 33000000, 0, {0}},
    /* DX4: the last 486 without a write-back cache; has CPUID and virtual-8086 extensions */
    [CPU_486] = {"486", 0x0480, CPUID_FPU | CPUID_VME, 100000000, 1, {0}},
    [CPU_PENTIUM] = {"pentium", 0x052c, FEATURES_PENTIUM, 133000000, 1, {0}},
    [CPU_PENTIUM_MMX] = {"pentium-mmx", 0x0543, FEATURES_PENTIUM | CPUID_MMX, 233000000, 1, {0}},
    [CPU_PENTIUM2] =
        {"pentium2", 0x0652, FEATURES_P2, 450000000, 2, {0x03020101, 0, 0, 0x0c040843}},
    [CPU_PENTIUM3] =
        {"pentium3", 0x0673, FEATURES_P2 | CPUID_SSE, 600000000, 2, {0x03020101, 0, 0, 0x0c040843}},
    [CPU_PENTIUM4] = {"pentium4",
                      0x0f24,
                      FEATURES_P2 | CPUID_SSE | CPUID_SSE2 | CPUID_CLFSH,
                      2000000000,
                      2,
                      {0x665b5001, 0, 0, 0x007a7000}},
};

uint32_t cpu_features(CpuModel model)
{
    return models[model].features;
}

uint32_t cpu_signature(CpuModel model)
{
    return models[model].signature;
}

bool cpu_has_cpuid(CpuModel model)
{
    return models[model].max_leaf != 0;
}

uint32_t cpu_default_hz(CpuModel model)
{
    return models[model].hz;
}

const char *cpu_model_name(CpuModel model)
{
    return model < CPU_MODEL_COUNT ? models[model].name : NULL;
}

bool cpu_model_find(const char *name, CpuModel *model)
{
    for (unsigned i = 0; i < CPU_MODEL_COUNT; i++) {
        if (strcmp(name, models[i].name) == 0) {
            *model = (CpuModel)i;
            return true;
        }
    }
    return false;
}

uint32_t cpu_cr4_mask(CpuModel model)
{
    static const struct {
        uint32_t feature, bits;
    } known[] = {
        {CPUID_VME, CR4_VME | CR4_PVI}, {CPUID_TSC, CR4_TSD}, {CPUID_DE, CR4_DE},
        {CPUID_PSE, CR4_PSE},           {CPUID_PAE, CR4_PAE}, {CPUID_MCE, CR4_MCE},
        {CPUID_PGE, CR4_PGE},           {CPUID_MMX, CR4_PCE}, {CPUID_FXSR, CR4_OSFXSR},
        {CPUID_SSE, CR4_OSXMMEXCPT},
    };
    uint32_t mask = 0;
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        mask |= models[model].features & known[i].feature ? known[i].bits : 0;
    }
    return mask;
}

uint32_t cpu_eflags_mask(CpuModel model)
{
    uint32_t mask = FL_ARITH | FL_ONE | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM;
    if (model >= CPU_486) {
        mask |= FL_AC;
    }
    if (cpu_has_cpuid(model)) {
        mask |= FL_ID;
    }
    if (models[model].features & CPUID_VME) {
        mask |= FL_VIF | FL_VIP;
    }
    return mask;
}

static void leaf_1(const Cpu *cpu, uint32_t out[4])
{
    const Model *m = &models[cpu->model];
    out[0] = m->signature;
    /* brand index 8: Pentium 4; 8 quadwords to a CLFLUSH line; APIC id 0 */
    out[1] = cpu->model == CPU_PENTIUM4 ? 0x00000808 : 0;
    out[2] = cpu->pvclock ? (uint32_t)PVCLOCK_HYPERVISOR : 0;
    out[3] = m->features;
    if (m->features & CPUID_APIC && !(cpu->apic_base & APIC_BASE_ENABLE)) {
        out[3] &= ~(uint32_t)CPUID_APIC;
    }
}

/* Extended leaves, Pentium 4 only: the brand string. */
static void leaf_brand(uint32_t leaf, uint32_t out[4])
{
    static const char brand[48] = "              Intel(R) Pentium(R) 4 CPU 2.00GHz";
    memset(out, 0, 4 * sizeof(out[0]));
    if (leaf == 0x80000000u) {
        out[0] = 0x80000004u;
    } else if (leaf >= 0x80000002u) {
        memcpy(out, brand + 16 * (leaf - 0x80000002u), 16);
    }
}

void cpuid(const Cpu *cpu, uint32_t leaf, uint32_t out[4])
{
    const Model *m = &models[cpu->model];
    if (cpu->model == CPU_PENTIUM4 && leaf >= 0x80000000u && leaf <= 0x80000004u) {
        leaf_brand(leaf, out);
        return;
    }
    if (cpu->pvclock && (leaf == PVCLOCK_LEAF || leaf == PVCLOCK_LEAF_FEATURES)) {
        pvclock_cpuid(leaf, out);
        return;
    }
    if (leaf > m->max_leaf) {
        leaf = m->max_leaf; /* SDM: data of the highest basic leaf */
    }
    switch (leaf) {
    case 0:
        out[0] = m->max_leaf;
        out[1] = 0x756e6547; /* GenuineIntel */
        out[3] = 0x49656e69;
        out[2] = 0x6c65746e;
        return;
    case 1:
        leaf_1(cpu, out);
        return;
    default:
        memcpy(out, m->cache, sizeof(m->cache));
        return;
    }
}

uint64_t tsc_read(const Cpu *cpu)
{
    int64_t now = cpu->tap ? cpu->tap->now(cpu->tap->self) : clock_now(&cpu->board->clock);
    return clock_ticks(now, cpu->tsc_hz) + (uint64_t)cpu->tsc_offset;
}
