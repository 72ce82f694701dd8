/* Architectural state between Cpu and a KVM vCPU, both ways, and the vCPU's CPUID.
 *
 * Cpu has no place for an event that KVM has begun to deliver. Such an interrupt or NMI is
 * delivered (or made pending) in Cpu; a fault or software interrupt is forgotten, because its
 * instruction will run again and raise it again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/kvm/kvm_internal.h"
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/cpuid.h"
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/pvclock.h"
#include "machine/core/log.h"

LOG_TAG("kvm");

enum {
    MSR_TSC = 0x10,
    FXSAVE_ST = 32,
    FXSAVE_XMM = 160,
    XSAVE_BV = 512,
    XSAVE_X87_SSE = 3,
    TOP_SHIFT = 11,
    FCW_RESET = 0x40,
    FCW_MASKS = 0x3f,
    TYPE_BITS = 0xf,
    MAX_LEAVES = 16,
    DR6_TRAPS = 0xf | DR6_BS | DR6_BT,
};

static int vcpu(Kvm *k, unsigned long request, void *argument)
{
    return k->sys->ioctl(k->sys->self, k->vcpu, request, argument);
}

static bool fail(Kvm *k, const char *what)
{
    snprintf(k->accel->failure, sizeof(k->accel->failure), "%s: %s", what, strerror(errno));
    return false;
}

/* Segments. */

static struct kvm_segment segment_of(const SegReg *s, bool dpl_known, uint8_t dpl)
{
    uint32_t a = s->access;
    struct kvm_segment out = {
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .type = a & TYPE_BITS,
        .s = a >> 4 & 1,
        .dpl = dpl_known ? dpl : (a & SEG_DPL) >> SEG_DPL_SHIFT,
        .present = a >> 7 & 1,
        .avl = a >> 12 & 1,
        .db = a >> 14 & 1,
        .g = a >> 15 & 1,
        .unusable = a >> 16 & 1,
    };
    /* VM entry wants the granularity bit to fit the limit (SDM vol. 3, 26.3.1.2) */
    if (s->limit > 0xfffff) {
        out.g = 1;
    } else if ((s->limit & 0xfff) != 0xfff) {
        out.g = 0;
    }
    return out;
}

static SegReg segment_from(const struct kvm_segment *s)
{
    return (SegReg){
        .selector = s->selector,
        .base = (uint32_t)s->base,
        .limit = s->limit,
        .access = (s->type & TYPE_BITS) | (uint32_t)(s->s & 1) << 4 |
                  (uint32_t)(s->dpl & 3) << SEG_DPL_SHIFT | (uint32_t)(s->present & 1) << 7 |
                  (uint32_t)(s->avl & 1) << 12 | (uint32_t)(s->db & 1) << 14 |
                  (uint32_t)(s->g & 1) << 15 | (uint32_t)(s->unusable & 1) << 16,
    };
}

/* The order of SegIndex: ES CS SS DS FS GS LDTR TR. */
static void list_segments(struct kvm_sregs2 *sregs, struct kvm_segment *list[8])
{
    struct kvm_segment *all[8] = {&sregs->es, &sregs->cs, &sregs->ss,  &sregs->ds,
                                  &sregs->fs, &sregs->gs, &sregs->ldt, &sregs->tr};
    memcpy(list, all, sizeof(all));
}

/* kvm_sregs and kvm_sregs2 are alike up to the APIC base. */
#define SREGS_COMMON offsetof(struct kvm_sregs2, flags)
_Static_assert(offsetof(struct kvm_sregs, interrupt_bitmap) == SREGS_COMMON, "kvm_sregs layout");

static bool store_sregs(Kvm *k, const Cpu *cpu)
{
    struct kvm_sregs2 sregs = {
        .gdt = {.base = cpu->gdtr.base, .limit = cpu->gdtr.limit},
        .idt = {.base = cpu->idtr.base, .limit = cpu->idtr.limit},
        .cr0 = cpu->cr0,
        .cr2 = cpu->cr2,
        .cr3 = cpu->cr3,
        .cr4 = cpu->cr4,
        .apic_base = cpu->apic_base,
    };
    struct kvm_segment *list[8];
    list_segments(&sregs, list);
    for (unsigned i = 0; i < 8; i++) {
        *list[i] = segment_of(&cpu->seg[i], i == SS, cpu->cpl);
    }
    if (k->sregs2) {
        if (cpu->cr0 & CR0_PG && cpu->cr4 & CR4_PAE) {
            sregs.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
            for (unsigned i = 0; i < 4; i++) {
                sregs.pdptrs[i] = cpu->pdpte[i];
            }
        }
        return vcpu(k, KVM_SET_SREGS2, &sregs) >= 0 || fail(k, "setting segment registers");
    }
    struct kvm_sregs old = {0};
    memcpy(&old, &sregs, SREGS_COMMON);
    return vcpu(k, KVM_SET_SREGS, &old) >= 0 || fail(k, "setting segment registers");
}

static struct kvm_sregs2 current_sregs(Kvm *k)
{
    struct kvm_sregs2 sregs = {0};
    if (k->sregs2) {
        vcpu(k, KVM_GET_SREGS2, &sregs);
    } else {
        struct kvm_sregs old = {0};
        vcpu(k, KVM_GET_SREGS, &old);
        memcpy(&sregs, &old, SREGS_COMMON);
    }
    return sregs;
}

/* Some hosts take the registers and silently drop what they cannot run, paging above all. */
static bool mode_was_taken(Kvm *k, const Cpu *cpu)
{
    struct kvm_sregs2 sregs = current_sregs(k);
    const uint32_t mode = CR0_PE | CR0_PG;
    if ((sregs.cr0 & mode) == (cpu->cr0 & mode) && (uint32_t)sregs.cr4 == cpu->cr4) {
        return true;
    }
    snprintf(k->accel->failure, sizeof(k->accel->failure),
             "the kernel makes CR0 0x%llx of 0x%x: this host's KVM cannot run the guest's mode",
             (unsigned long long)sregs.cr0, cpu->cr0);
    return false;
}

static void load_sregs(Kvm *k, Cpu *cpu)
{
    struct kvm_sregs2 sregs = current_sregs(k);
    struct kvm_segment *list[8];
    list_segments(&sregs, list);
    for (unsigned i = 0; i < 8; i++) {
        cpu->seg[i] = segment_from(list[i]);
    }
    cpu->gdtr = (TableReg){(uint32_t)sregs.gdt.base, sregs.gdt.limit};
    cpu->idtr = (TableReg){(uint32_t)sregs.idt.base, sregs.idt.limit};
    cpu->cr0 = (uint32_t)sregs.cr0;
    cpu->cr2 = (uint32_t)sregs.cr2;
    cpu->cr3 = (uint32_t)sregs.cr3;
    cpu->cr4 = (uint32_t)sregs.cr4 & cpu_cr4_mask(cpu->model);
    cpu->apic_base = sregs.apic_base;
    if (sregs.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) {
        for (unsigned i = 0; i < 4; i++) {
            cpu->pdpte[i] = sregs.pdptrs[i];
        }
    } else if (cpu->cr0 & CR0_PG && cpu->cr4 & CR4_PAE) {
        mmu_load_pdptes(cpu, cpu->cr3, cpu->pdpte);
    }
}

/* General registers. */

static bool store_regs(Kvm *k, const Cpu *cpu)
{
    struct kvm_regs regs = {
        .rax = cpu->reg[EAX],
        .rcx = cpu->reg[ECX],
        .rdx = cpu->reg[EDX],
        .rbx = cpu->reg[EBX],
        .rsp = cpu->reg[ESP],
        .rbp = cpu->reg[EBP],
        .rsi = cpu->reg[ESI],
        .rdi = cpu->reg[EDI],
        .rip = cpu->eip,
        .rflags = cpu_eflags(cpu),
    };
    return vcpu(k, KVM_SET_REGS, &regs) >= 0 || fail(k, "setting registers");
}

static void load_regs(Kvm *k, Cpu *cpu)
{
    struct kvm_regs regs = {0};
    vcpu(k, KVM_GET_REGS, &regs);
    const uint64_t in_order[8] = {regs.rax, regs.rcx, regs.rdx, regs.rbx,
                                  regs.rsp, regs.rbp, regs.rsi, regs.rdi};
    for (unsigned i = 0; i < 8; i++) {
        cpu->reg[i] = (uint32_t)in_order[i];
    }
    cpu->eip = (uint32_t)regs.rip;
    cpu_set_eflags(cpu, (uint32_t)regs.rflags);
}

/* x87, MMX and SSE, in the layout of FXSAVE (SDM vol. 1, 10.5.1), which KVM_GET_XSAVE begins with.
 */

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t take(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static unsigned physical(const Fpu *f, unsigned i)
{
    return ((f->status >> TOP_SHIFT) + i) & 7;
}

static void fpu_to_image(const Fpu *f, uint8_t *image)
{
    put(image, f->control, 2);
    put(image + 2, f->status, 2);
    image[4] = f->valid;
    put(image + 6, f->opcode, 2);
    put(image + 8, f->ip, 8);
    put(image + 16, f->data, 8);
    put(image + 24, f->mxcsr, 4);
    for (unsigned i = 0; i < 8; i++) {
        const Float80 *st = &f->st[physical(f, i)];
        put(image + FXSAVE_ST + 16 * i, st->mantissa, 8);
        put(image + FXSAVE_ST + 16 * i + 8, st->sign_exponent, 2);
        put(image + FXSAVE_XMM + 16 * i, f->xmm[i].q[0], 8);
        put(image + FXSAVE_XMM + 16 * i + 8, f->xmm[i].q[1], 8);
    }
}

static void fpu_from_image(Fpu *f, const uint8_t *image)
{
    f->control = (uint16_t)take(image, 2);
    f->status = (uint16_t)take(image + 2, 2);
    f->valid = image[4];
    f->opcode = take(image + 6, 2) & 0x7ff;
    f->ip = (uint32_t)take(image + 8, 4);
    f->data = (uint32_t)take(image + 16, 4);
    f->mxcsr = take(image + 24, 4) & 0xffff;
    for (unsigned i = 0; i < 8; i++) {
        Float80 *st = &f->st[physical(f, i)];
        st->mantissa = take(image + FXSAVE_ST + 16 * i, 8);
        st->sign_exponent = (uint16_t)take(image + FXSAVE_ST + 16 * i + 8, 2);
        f->xmm[i].q[0] = take(image + FXSAVE_XMM + 16 * i, 8);
        f->xmm[i].q[1] = take(image + FXSAVE_XMM + 16 * i + 8, 8);
    }
}

/* kvm_fpu holds the same fields in another order. */
static void image_to_kvm_fpu(const uint8_t *image, struct kvm_fpu *fpu)
{
    fpu->fcw = (uint16_t)take(image, 2);
    fpu->fsw = (uint16_t)take(image + 2, 2);
    fpu->ftwx = image[4];
    fpu->last_opcode = (uint16_t)take(image + 6, 2);
    fpu->last_ip = take(image + 8, 8);
    fpu->last_dp = take(image + 16, 8);
    fpu->mxcsr = (uint32_t)take(image + 24, 4);
    memcpy(fpu->fpr, image + FXSAVE_ST, sizeof(fpu->fpr));
    memcpy(fpu->xmm, image + FXSAVE_XMM, 8 * sizeof(fpu->xmm[0]));
}

static void kvm_fpu_to_image(const struct kvm_fpu *fpu, uint8_t *image)
{
    put(image, fpu->fcw, 2);
    put(image + 2, fpu->fsw, 2);
    image[4] = fpu->ftwx;
    put(image + 6, fpu->last_opcode, 2);
    put(image + 8, fpu->last_ip, 8);
    put(image + 16, fpu->last_dp, 8);
    put(image + 24, fpu->mxcsr, 4);
    memcpy(image + FXSAVE_ST, fpu->fpr, sizeof(fpu->fpr));
    memcpy(image + FXSAVE_XMM, fpu->xmm, 8 * sizeof(fpu->xmm[0]));
}

static bool store_fpu(Kvm *k, const Cpu *cpu)
{
    struct kvm_xsave area;
    uint8_t *image = (uint8_t *)area.region;
    memset(&area, 0, sizeof(area));
    fpu_to_image(&cpu->fpu, image);
    if (k->xsave) {
        put(image + XSAVE_BV, XSAVE_X87_SSE, 8);
        return vcpu(k, KVM_SET_XSAVE, &area) >= 0 || fail(k, "setting x87 and SSE state");
    }
    struct kvm_fpu fpu = {0};
    image_to_kvm_fpu(image, &fpu);
    return vcpu(k, KVM_SET_FPU, &fpu) >= 0 || fail(k, "setting x87 and SSE state");
}

static void get_fpu(Kvm *k, struct kvm_xsave *area)
{
    memset(area, 0, sizeof(*area));
    if (k->xsave) {
        vcpu(k, KVM_GET_XSAVE, area);
    } else {
        struct kvm_fpu fpu = {0};
        vcpu(k, KVM_GET_FPU, &fpu);
        kvm_fpu_to_image(&fpu, (uint8_t *)area->region);
    }
}

static void load_fpu(Kvm *k, Cpu *cpu)
{
    struct kvm_xsave area;
    get_fpu(k, &area);
    fpu_from_image(&cpu->fpu, (const uint8_t *)area.region);
}

/* Until the first FNINIT the control word is that of reset, with all unmasked and nobody behind it.
 */
bool kvm_wants_ferr(Kvm *k)
{
    struct kvm_sregs2 sregs = current_sregs(k);
    struct kvm_xsave area;
    if (sregs.cr0 & CR0_NE) {
        return false;
    }
    get_fpu(k, &area);
    uint16_t control = (uint16_t)take((const uint8_t *)area.region, 2);
    return control != FCW_RESET && (control & FCW_MASKS) != FCW_MASKS;
}

/* Debug registers. */

static bool store_debug(Kvm *k, const Cpu *cpu)
{
    struct kvm_debugregs regs = {
        .db = {cpu->dr[0], cpu->dr[1], cpu->dr[2], cpu->dr[3]},
        .dr6 = cpu->dr6,
        .dr7 = cpu->dr7,
    };
    return !k->debugregs || vcpu(k, KVM_SET_DEBUGREGS, &regs) >= 0 ||
           fail(k, "setting debug registers");
}

static void load_debug(Kvm *k, Cpu *cpu)
{
    struct kvm_debugregs regs = {0};
    if (k->debugregs && vcpu(k, KVM_GET_DEBUGREGS, &regs) >= 0) {
        for (unsigned i = 0; i < 4; i++) {
            cpu->dr[i] = (uint32_t)regs.db[i];
        }
        cpu->dr6 = (uint32_t)regs.dr6;
        cpu->dr7 = (uint32_t)regs.dr7;
    }
}

/* Model-specific registers. */

typedef struct MsrPlace {
    uint32_t index;
    uint64_t *value;
} MsrPlace;

enum { MSR_PLACES = 8 + 1 + 11 + 16 + 1 };

static unsigned list_msrs(Cpu *cpu, MsrPlace *list)
{
    static const uint32_t fixed[11] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                       0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
    unsigned n = 0;
    list[n++] = (MsrPlace){0x174, &cpu->sysenter_cs};
    list[n++] = (MsrPlace){0x175, &cpu->sysenter_esp};
    list[n++] = (MsrPlace){0x176, &cpu->sysenter_eip};
    list[n++] = (MsrPlace){0x277, &cpu->pat};
    list[n++] = (MsrPlace){0x1a0, &cpu->misc_enable};
    list[n++] = (MsrPlace){0x1d9, &cpu->debugctl};
    list[n++] = (MsrPlace){0x08b, &cpu->microcode};
    list[n++] = (MsrPlace){0x17a, &cpu->mcg_status};
    list[n++] = (MsrPlace){0x2ff, &cpu->mtrr.def_type};
    for (unsigned i = 0; i < 11; i++) {
        list[n++] = (MsrPlace){fixed[i], &cpu->mtrr.fixed[i]};
    }
    for (unsigned i = 0; i < 8; i++) {
        list[n++] = (MsrPlace){0x200 + 2 * i, &cpu->mtrr.base[i]};
        list[n++] = (MsrPlace){0x201 + 2 * i, &cpu->mtrr.mask[i]};
    }
    if (cpu->pvclock) { /* last: the kernel writes the guest's page when it is set */
        list[n++] = (MsrPlace){MSR_PVCLOCK_TIME, &cpu->pvclock_time};
    }
    return n;
}

typedef union MsrBlock {
    struct kvm_msrs head;
    uint8_t bytes[sizeof(struct kvm_msrs) + (MSR_PLACES + 1) * sizeof(struct kvm_msr_entry)];
} MsrBlock;

static struct kvm_msr_entry *entries(MsrBlock *block)
{
    return (struct kvm_msr_entry *)(block->bytes + sizeof(struct kvm_msrs));
}

/* The kernel stops at the first register that this vCPU has not: go on behind it. Marks what was
 * transferred. */
static void transfer_msrs(Kvm *k, unsigned long request, MsrBlock *all, unsigned count, bool *done)
{
    for (unsigned from = 0; from < count;) {
        MsrBlock part;
        memset(&part, 0, sizeof(part));
        part.head.nmsrs = count - from;
        memcpy(entries(&part), entries(all) + from, (count - from) * sizeof(*entries(all)));
        int moved = vcpu(k, request, &part);
        unsigned good = moved < 0 ? 0 : (unsigned)moved;
        good = good < count - from ? good : count - from;
        memcpy(entries(all) + from, entries(&part), good * sizeof(*entries(all)));
        for (unsigned i = 0; i < good; i++) {
            done[from + i] = true;
        }
        from += good + 1;
    }
}

int64_t kvm_lag(const Kvm *k)
{
    const Clock *c = &k->accel->board->clock;
    if (c->source != CLOCK_HOST) {
        return 0;
    }
    return (c->running ? c->source_base : c->host_ns()) - c->base;
}

/* The kernel's TSC has run on while the machine stood still; at one rate or another. */
static uint64_t without_stops(Kvm *k, uint64_t tsc)
{
    int64_t lag = kvm_lag(k), stopped = lag - k->lag;
    k->lag = lag;
    return stopped > 0 ? tsc - clock_ticks(stopped, k->tsc_hz) : tsc;
}

static void set_tsc_rate(Kvm *k, const Cpu *cpu)
{
    if (k->tsc_hz != cpu->tsc_hz && k->tsc_control &&
        k->sys->ioctl(k->sys->self, k->vcpu, KVM_SET_TSC_KHZ,
                      (void *)(uintptr_t)(cpu->tsc_hz / 1000)) >= 0) { // NOLINT: a number
        k->tsc_hz = cpu->tsc_hz;
    }
}

static void store_msrs(Kvm *k, Cpu *cpu)
{
    set_tsc_rate(k, cpu);
    k->lag = kvm_lag(k);
    MsrPlace place[MSR_PLACES];
    MsrBlock block;
    bool done[MSR_PLACES + 1] = {false};
    memset(&block, 0, sizeof(block));
    unsigned n = list_msrs(cpu, place);
    for (unsigned i = 0; i < n; i++) {
        entries(&block)[i] =
            (struct kvm_msr_entry){.index = place[i].index, .data = *place[i].value};
    }
    entries(&block)[n++] = (struct kvm_msr_entry){.index = MSR_TSC, .data = tsc_read(cpu)};
    if (cpu->pvclock) {
        struct kvm_clock_data time = {.clock = (uint64_t)clock_now(&cpu->board->clock)};
        k->sys->ioctl(k->sys->self, k->vm, KVM_SET_CLOCK, &time);
    }
    transfer_msrs(k, KVM_SET_MSRS, &block, n, done);
}

static void load_msrs(Kvm *k, Cpu *cpu)
{
    MsrPlace place[MSR_PLACES];
    MsrBlock block;
    bool done[MSR_PLACES + 1] = {false};
    memset(&block, 0, sizeof(block));
    unsigned n = list_msrs(cpu, place);
    for (unsigned i = 0; i < n; i++) {
        entries(&block)[i].index = place[i].index;
    }
    entries(&block)[n].index = MSR_TSC;
    transfer_msrs(k, KVM_GET_MSRS, &block, n + 1, done);
    for (unsigned i = 0; i < n; i++) {
        if (done[i]) {
            *place[i].value = entries(&block)[i].data;
        }
    }
    if (done[n]) {
        /* the count goes on from here, at the rate of Cpu */
        uint64_t tsc = without_stops(k, entries(&block)[n].data);
        cpu->tsc_offset += (int64_t)(tsc - tsc_read(cpu));
    }
}

/* Events. */

static bool store_events(Kvm *k, const Cpu *cpu)
{
    struct kvm_vcpu_events events = {
        .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
        .nmi = {.masked = cpu->nmi_blocked},
        .interrupt = {.shadow = (cpu->shadow & SHADOW_STI ? KVM_X86_SHADOW_INT_STI : 0) |
                                (cpu->shadow & SHADOW_MOV_SS ? KVM_X86_SHADOW_INT_MOV_SS : 0)},
    };
    return vcpu(k, KVM_SET_VCPU_EVENTS, &events) >= 0 || fail(k, "setting pending events");
}

static void load_events(Kvm *k, Cpu *cpu)
{
    struct kvm_vcpu_events events = {0};
    cpu->shadow = 0;
    if (vcpu(k, KVM_GET_VCPU_EVENTS, &events) < 0) {
        return;
    }
    cpu->shadow =
        (uint8_t)((events.interrupt.shadow & KVM_X86_SHADOW_INT_STI ? SHADOW_STI : 0) |
                  (events.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? SHADOW_MOV_SS : 0));
    cpu->nmi_blocked = events.nmi.masked && !events.nmi.injected;
    cpu->nmi_pending |= events.nmi.pending || events.nmi.injected;
    if (events.exception.injected && events.exception.nr == VEC_DB) {
        cpu->pending_dr6 = cpu->dr6 & DR6_TRAPS;
    }
    if (events.interrupt.injected && !events.interrupt.soft) {
        /* acknowledged already: it has to be delivered now */
        cpu->shadow = 0;
        if (int_deliver(cpu, events.interrupt.nr, INT_HARDWARE, false, 0, cpu->eip) == X_FAULT) {
            int_deliver_fault(cpu);
        }
        cpu->activity = cpu->activity == CPU_HALTED ? CPU_RUNNING : cpu->activity;
        k->halted = false;
    }
}

void kvm_load_cpu(Kvm *k)
{
    Cpu *cpu = k->accel->cpu;
    load_sregs(k, cpu);
    load_regs(k, cpu);
    load_fpu(k, cpu);
    load_debug(k, cpu);
    load_msrs(k, cpu);
    if (cpu->eflags & FL_VM) {
        cpu->cpl = 3;
    } else {
        cpu->cpl = cpu_real_mode(cpu) ? 0 : (uint8_t)((cpu->seg[SS].access & SEG_DPL) >> 5);
    }
    cpu->activity = k->halted ? CPU_HALTED : CPU_RUNNING;
    cpu->rdrand_shown |= (k->foreign.ecx & CPUID_ECX_RDRAND) != 0;
    mem_flush(cpu, true);
    load_events(k, cpu);
}

bool kvm_store_cpu(Kvm *k)
{
    Cpu *cpu = k->accel->cpu;
    if (cpu->pending_dr6 && !(cpu->shadow & SHADOW_MOV_SS)) {
        int_poll(cpu); /* KVM takes no debug trap that is only pending: deliver it */
    }
    if (!store_sregs(k, cpu) || !mode_was_taken(k, cpu) || !store_regs(k, cpu) ||
        !store_fpu(k, cpu) || !store_debug(k, cpu)) {
        return false;
    }
    store_msrs(k, cpu);
    k->halted = cpu->activity == CPU_HALTED;
    k->interrupts_on = cpu->eflags & FL_IF;
    k->ready = k->interrupts_on && !cpu->shadow;
    return store_events(k, cpu);
}

/* CPUID. */

typedef union CpuidBlock {
    struct kvm_cpuid2 head;
    uint8_t bytes[sizeof(struct kvm_cpuid2) + 128 * sizeof(struct kvm_cpuid_entry2)];
} CpuidBlock;

static struct kvm_cpuid_entry2 *leaves(CpuidBlock *block)
{
    return (struct kvm_cpuid_entry2 *)(block->bytes + sizeof(struct kvm_cpuid2));
}

/* Feature bits that the kernel can give a guest; all where it does not say. */
static uint32_t host_features(Kvm *k)
{
    CpuidBlock block;
    memset(&block, 0, sizeof(block));
    block.head.nent = 128;
    if (k->sys->ioctl(k->sys->self, k->system, KVM_GET_SUPPORTED_CPUID, &block) < 0) {
        return UINT32_MAX;
    }
    for (unsigned i = 0; i < block.head.nent && i < 128; i++) {
        if (leaves(&block)[i].function == 1) {
            return leaves(&block)[i].edx;
        }
    }
    return UINT32_MAX;
}

static void add_leaf(Kvm *k, CpuidBlock *block, uint32_t leaf, uint32_t features)
{
    uint32_t out[4] = {0};
    cpuid(k->accel->cpu, leaf, out);
    if (leaf == 1) {
        uint32_t missing = out[3] & ~features & ~(uint32_t)CPUID_APIC;
        if (missing) {
            log_warn("this host has no processor features 0x%08x of -cpu %s", missing,
                     cpu_model_name(k->accel->cpu->model));
        }
        out[3] &= ~missing;
    }
    leaves(block)[block->head.nent++] = (struct kvm_cpuid_entry2){
        .function = leaf, .eax = out[0], .ebx = out[1], .ecx = out[2], .edx = out[3]};
}

bool kvm_set_cpuid(Kvm *k, Err *err)
{
    Cpu *cpu = k->accel->cpu;
    CpuidBlock block;
    memset(&block, 0, sizeof(block));
    if (cpu_has_cpuid(cpu->model)) {
        uint32_t out[4], features = host_features(k);
        cpuid(cpu, 0, out);
        for (uint32_t leaf = 0; leaf <= out[0] && leaf < MAX_LEAVES; leaf++) {
            add_leaf(k, &block, leaf, features);
        }
        for (uint32_t leaf = PVCLOCK_LEAF; cpu->pvclock && leaf <= PVCLOCK_LEAF_FEATURES; leaf++) {
            add_leaf(k, &block, leaf, features);
        }
        if (cpu->model == CPU_PENTIUM4) {
            for (uint32_t leaf = 0x80000000u; leaf <= 0x80000004u; leaf++) {
                add_leaf(k, &block, leaf, features);
            }
        }
    }
    return vcpu(k, KVM_SET_CPUID2, &block) >= 0 ||
           err_set(err, "kvm: the kernel refuses processor model %s: %s; use -accel translator",
                   cpu_model_name(cpu->model), strerror(errno));
}
