/* FXSAVE, FXRSTOR, LDMXCSR, STMXCSR.
 *
 * SDM vol. 1, 10.2.3 and 10.5; vol. 2 for the image. XMM registers and MXCSR take part when
 * CR4.OSFXSR is set. The reserved parts of the image are left alone.
 */
#include "cpu-accel/x86/ex_sse.h"

/* The image. */
enum {
    IMAGE_STATUS = 2,
    IMAGE_TAGS = 4,
    IMAGE_OPCODE = 6,
    IMAGE_IP = 8,
    IMAGE_IP_SELECTOR = 12,
    IMAGE_DATA = 16,
    IMAGE_DATA_SELECTOR = 20,
    IMAGE_MXCSR = 24,
    IMAGE_MXCSR_MASK = 28,
    IMAGE_ST = 32,
    IMAGE_XMM = 160,
    IMAGE_END = 288, /* of what is used */
    IMAGE_BYTES = 512,
};

uint32_t fpu_mxcsr_mask(CpuModel model)
{
    return model >= CPU_PENTIUM4 ? 0xffff : 0xffff & ~(uint32_t)MXCSR_DAZ;
}

static void put(uint8_t *image, unsigned at, const void *value, unsigned size)
{
    memcpy(image + at, value, size);
}

static void take(const uint8_t *image, unsigned at, void *value, unsigned size)
{
    memcpy(value, image + at, size);
}

/* Neither waits for a pending x87 exception. */
static bool image_place(Cpu *cpu, const Insn *in, uint32_t *address)
{
    if (cpu->cr0 & (CR0_EM | CR0_TS)) {
        cpu_fault(cpu, VEC_NM);
        return false;
    }
    *address = ex_address(cpu, in);
    /* Silicon looks at where the image begins, then at alignment, then at the rest of it. */
    if (!mem_check_segment(cpu, (SegIndex)in->seg, *address, 4)) {
        return false;
    }
    bool checked = cpu->cpl == 3 && cpu->cr0 & CR0_AM && cpu->eflags & FL_AC;
    if (checked && (cpu->seg[in->seg].base + *address) & 3) {
        cpu_fault_code(cpu, VEC_AC, 0); /* silicon's choice; the manual leaves it open */
        return false;
    }
    return sse_aligned(cpu, in, *address);
}

static unsigned image_size(const Cpu *cpu)
{
    return cpu->cr4 & CR4_OSFXSR ? IMAGE_END : IMAGE_XMM;
}

Outcome ex_fxsave(Cpu *cpu, const Insn *in)
{
    const Fpu *f = &cpu->fpu;
    uint32_t address, mask = fpu_mxcsr_mask(cpu->model);
    uint8_t image[IMAGE_END] = {0};
    unsigned size = image_size(cpu);
    if (!image_place(cpu, in, &address) ||
        !mem_check_write(cpu, (SegIndex)in->seg, address, IMAGE_BYTES)) {
        return X_FAULT;
    }
    put(image, 0, &f->control, 2);
    put(image, IMAGE_STATUS, &f->status, 2);
    put(image, IMAGE_TAGS, &f->valid, 1);
    put(image, IMAGE_OPCODE, &f->opcode, 2);
    put(image, IMAGE_IP, &f->ip, 4);
    put(image, IMAGE_IP_SELECTOR, &f->ip_selector, 2);
    put(image, IMAGE_DATA, &f->data, 4);
    put(image, IMAGE_DATA_SELECTOR, &f->data_selector, 2);
    for (unsigned i = 0; i < 8; i++) {
        const Float80 *st = &f->st[(x87_top(f) + i) & 7];
        put(image, IMAGE_ST + 16 * i, &st->mantissa, 8);
        put(image, IMAGE_ST + 16 * i + 8, &st->sign_exponent, 2);
    }
    if (size == IMAGE_END) {
        put(image, IMAGE_MXCSR, &f->mxcsr, 4);
        put(image, IMAGE_MXCSR_MASK, &mask, 4);
        put(image, IMAGE_XMM, f->xmm, sizeof f->xmm);
    }
    return mem_write_bytes(cpu, (SegIndex)in->seg, address, image, size) ? X_NEXT : X_FAULT;
}

Outcome ex_fxrstor(Cpu *cpu, const Insn *in)
{
    Fpu *f = &cpu->fpu;
    uint32_t address, mxcsr = f->mxcsr;
    uint16_t status;
    uint8_t image[IMAGE_BYTES];
    unsigned size = image_size(cpu);
    if (!image_place(cpu, in, &address) ||
        !mem_read_bytes(cpu, (SegIndex)in->seg, address, image, sizeof image)) {
        return X_FAULT;
    }
    if (size == IMAGE_END) {
        take(image, IMAGE_MXCSR, &mxcsr, 4);
        if (mxcsr & ~fpu_mxcsr_mask(cpu->model)) {
            return cpu_fault_code(cpu, VEC_GP, 0);
        }
        f->mxcsr = mxcsr;
        take(image, IMAGE_XMM, f->xmm, sizeof f->xmm);
    }
    take(image, 0, &f->control, 2);
    f->control = (f->control & FCW_WRITABLE) | FCW_ONE;
    take(image, IMAGE_STATUS, &status, 2);
    take(image, IMAGE_TAGS, &f->valid, 1);
    take(image, IMAGE_OPCODE, &f->opcode, 2);
    f->opcode &= 0x7ff;
    take(image, IMAGE_IP, &f->ip, 4);
    take(image, IMAGE_IP_SELECTOR, &f->ip_selector, 2);
    take(image, IMAGE_DATA, &f->data, 4);
    take(image, IMAGE_DATA_SELECTOR, &f->data_selector, 2);
    x87_set_status(cpu, status);
    for (unsigned i = 0; i < 8; i++) {
        Float80 *st = x87_st(f, i);
        take(image, IMAGE_ST + 16 * i, &st->mantissa, 8);
        take(image, IMAGE_ST + 16 * i + 8, &st->sign_exponent, 2);
    }
    return X_NEXT;
}

Outcome ex_ldmxcsr(Cpu *cpu, const Insn *in)
{
    uint32_t value;
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    if (!mem_read32(cpu, (SegIndex)in->seg, ex_address(cpu, in), &value)) {
        return X_FAULT;
    }
    if (value & ~fpu_mxcsr_mask(cpu->model)) {
        return cpu_fault_code(cpu, VEC_GP, 0);
    }
    cpu->fpu.mxcsr = value;
    return X_NEXT;
}

Outcome ex_stmxcsr(Cpu *cpu, const Insn *in)
{
    if (!sse_ready(cpu)) {
        return sse_refuse(cpu);
    }
    return mem_write32(cpu, (SegIndex)in->seg, ex_address(cpu, in), cpu->fpu.mxcsr) ? X_NEXT
                                                                                    : X_FAULT;
}
