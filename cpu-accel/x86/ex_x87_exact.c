/* x87: any instruction exactly, by running it on the host with the guest's whole state loaded.
 *
 * The guest's control word is loaded with its own exception masks, so the silicon itself gives the
 * unmasked response: what is stored, what is popped, scaled results, stack faults, C1. The host
 * takes an unmasked exception only at the next waiting x87 instruction, and FNSAVE, which does not
 * wait, comes first: the flags become data and no signal is raised.
 *
 * Slow (some hundred cycles), so handlers come here only when something unusual is at hand. Control
 * instructions never come here (ex_x87_env.c).
 */
#include <string.h>

#include "cpu-accel/x86/ex_x87.h"

/* FNSAVE's image in 32-bit protected format: what it is in 64-bit code. */
typedef struct X87Image {
    uint32_t control, status, tags, ip, ip_selector_opcode, data, data_selector;
    uint8_t st[8][10];
} X87Image;

_Static_assert(sizeof(X87Image) == 108, "FNSAVE writes 108 bytes");

/* Code for every instruction: opcode, ModRM, RET, padded to 4 bytes. Register forms of D8..DF with
 * ModRM C0..FF, then memory forms with /0../7 and the operand at RDI. */
__asm__(".pushsection .text\n"
        ".balign 16\n"
        "x87_register_code:\n"
        ".set x87_op, 0xd8\n"
        ".rept 8\n"
        ".set x87_modrm, 0xc0\n"
        ".rept 64\n"
        ".byte x87_op, x87_modrm, 0xc3, 0x90\n"
        ".set x87_modrm, x87_modrm + 1\n"
        ".endr\n"
        ".set x87_op, x87_op + 1\n"
        ".endr\n"
        "x87_memory_code:\n"
        ".set x87_op, 0xd8\n"
        ".rept 8\n"
        ".set x87_modrm, 0x07\n"
        ".rept 8\n"
        ".byte x87_op, x87_modrm, 0xc3, 0x90\n"
        ".set x87_modrm, x87_modrm + 8\n"
        ".endr\n"
        ".set x87_op, x87_op + 1\n"
        ".endr\n"
        /* void x87_run(X87Image *image, const char *code, X87Operand *operand, uint16_t *arith) */
        ".balign 16\n"
        ".type x87_run, @function\n"
        "x87_run:\n"
        "mov %rdi, %r8\n"
        "mov %rcx, %r9\n"
        "mov %rdx, %rdi\n"
        "movzwl (%r9), %eax\n"
        "frstor (%r8)\n"
        "sahf\n"
        "call *%rsi\n"
        "lahf\n"
        "seto %al\n"
        "mov %ax, (%r9)\n"
        "fnsave (%r8)\n"
        "ret\n"
        ".size x87_run, . - x87_run\n"
        ".popsection\n");

extern const char x87_register_code[] __attribute__((visibility("hidden")));
extern const char x87_memory_code[] __attribute__((visibility("hidden")));
void x87_run(X87Image *image, const char *code, X87Operand *operand, uint16_t *arith)
    __attribute__((visibility("hidden")));

/* Bytes read from (positive) or written to (negative) memory, by opcode and /r. */
static const int8_t memory_size[8][8] = {
    {4, 4, 4, 4, 4, 4, 4, 4},      /* D8: m32 */
    {4, 0, -4, -4, 0, 0, 0, 0},    /* D9: FLD, FST, FSTP m32 */
    {4, 4, 4, 4, 4, 4, 4, 4},      /* DA: m32 integer */
    {4, 0, -4, -4, 0, 10, 0, -10}, /* DB: FILD, FIST, FISTP m32; FLD, FSTP m80 */
    {8, 8, 8, 8, 8, 8, 8, 8},      /* DC: m64 */
    {8, 0, -8, -8, 0, 0, 0, 0},    /* DD: FLD, FST, FSTP m64 */
    {2, 2, 2, 2, 2, 2, 2, 2},      /* DE: m16 integer */
    {2, 0, -2, -2, 10, 8, -10, -8} /* DF: FILD, FIST, FISTP m16; FBLD; FILD m64; FBSTP; FISTP m64 */
};

void fpu_host_release(void)
{
    static const uint16_t control = FCW_INIT;
    __asm__ volatile("fldcw %0" : : "m"(control));
}

void x87_host_step(const Fpu *f, uint16_t wanted)
{
    uint16_t status;
    __asm__ volatile("fnstsw %0" : "=&a"(status));
    if (status & FSW_FLAGS & ~f->status) {
        __asm__ volatile("fnclex");
    }
    __asm__ volatile("fldcw %0" : : "m"(wanted));
}

void x87_set_status(Cpu *cpu, uint16_t status)
{
    Fpu *f = &cpu->fpu;
    uint16_t before = f->status;
    bool error = status & FSW_FLAGS & ~f->control;
    f->status = (uint16_t)((status & ~(FSW_ES | FSW_B)) | (error ? FSW_ES | FSW_B : 0));
    if (before & ~status & FSW_FLAGS) {
        fpu_host_release();
    }
    if ((before ^ f->status) & FSW_ES) {
        fpu_drive_ferr(cpu);
    }
}

void x87_set_control(Cpu *cpu, uint16_t control)
{
    cpu->fpu.control = (control & FCW_WRITABLE) | FCW_ONE;
    x87_set_status(cpu, cpu->fpu.status);
}

Outcome x87_enter_pending(Cpu *cpu)
{
    if (!(cpu->fpu.status & FSW_ES) || (!(cpu->cr0 & CR0_NE) && cpu->ignne)) {
        return X_NEXT;
    }
    if (cpu->cr0 & CR0_NE) {
        return cpu_fault(cpu, VEC_MF);
    }
    /* The processor freezes here until an interrupt comes: the run loop tries this instruction
     * again after it has looked for one. */
    return X_STOP;
}

Outcome x87_enter(Cpu *cpu)
{
    if (cpu->cr0 & (CR0_EM | CR0_TS)) {
        return cpu_fault(cpu, VEC_NM);
    }
    return x87_enter_pending(cpu);
}

static void image_fill(X87Image *image, const Fpu *f)
{
    unsigned top = x87_top(f);
    memset(image, 0, sizeof *image);
    image->control = f->control;
    image->status = f->status & (FSW_TOP | FSW_CONDITION);
    for (unsigned i = 0; i < 8; i++) {
        const Float80 *from = &f->st[(top + i) & 7];
        memcpy(image->st[i], &from->mantissa, 8);
        memcpy(image->st[i] + 8, &from->sign_exponent, 2);
        image->tags |= (f->valid >> i & 1 ? 0u : 3u) << (2 * i);
    }
}

static void image_take(Cpu *cpu, const X87Image *image)
{
    Fpu *f = &cpu->fpu;
    uint16_t sticky = f->status & (FSW_FLAGS | FSW_SF);
    x87_set_status(cpu, (uint16_t)image->status | sticky);
    unsigned top = x87_top(f);
    f->valid = 0;
    for (unsigned i = 0; i < 8; i++) {
        Float80 *to = &f->st[(top + i) & 7];
        memcpy(&to->mantissa, image->st[i], 8);
        memcpy(&to->sign_exponent, image->st[i] + 8, 2);
        if ((image->tags >> (2 * i) & 3) != 3) {
            f->valid |= (uint8_t)(1u << i);
        }
    }
}

/* FCOMI, FUCOMI and their popping forms write EFLAGS. */
static bool writes_flags(const Insn *in)
{
    return !in->memory && (in->opcode & 3) == 3 && (in->reg == 5 || in->reg == 6);
}

Outcome x87_exact(Cpu *cpu, const Insn *in, uint32_t address, const X87Operand *operand)
{
    Fpu *f = &cpu->fpu;
    X87Image image;
    X87Operand memory = {{0}};
    unsigned row = in->opcode & 7;
    const char *code = x87_register_code + 4 * (64 * row + (in->modrm & 0x3f));
    int size = 0;
    uint16_t arith = cpu->arith;
    if (in->memory) {
        code = x87_memory_code + 4 * (8 * row + in->reg);
        size = memory_size[row][in->reg];
    }
    if (size > 0) {
        memory = *operand;
    }
    image_fill(&image, f);
    x87_run(&image, code, &memory, &arith);
    /* Precision alone lets the store happen; the other exceptions come before it. */
    bool stored = !(image.status & FSW_FLAGS & ~FSW_PE & ~f->control);
    if (size < 0 &&
        !(stored ? mem_write_bytes(cpu, (SegIndex)in->seg, address, memory.bytes, (unsigned)-size)
                 : mem_check_write(cpu, (SegIndex)in->seg, address, (unsigned)-size))) {
        return X_FAULT; /* faults of the address come first, whether it stores or not */
    }
    image_take(cpu, &image);
    if (writes_flags(in)) {
        cpu->arith = arith;
    }
    if (in->memory) {
        x87_note_memory(cpu, in, address);
    } else {
        x87_note(cpu, in);
    }
    return X_NEXT;
}

Outcome x87_slow(Cpu *cpu, const Insn *in)
{
    Outcome entered = x87_enter(cpu);
    if (entered != X_NEXT) {
        return entered;
    }
    uint32_t address = 0;
    X87Operand operand = {{0}};
    if (in->memory) {
        int size = memory_size[in->opcode & 7][in->reg];
        address = ex_address(cpu, in);
        if (size > 0 &&
            !mem_read_bytes(cpu, (SegIndex)in->seg, address, operand.bytes, (unsigned)size)) {
            return X_FAULT;
        }
    }
    return x87_exact(cpu, in, address, &operand);
}
