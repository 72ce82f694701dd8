/* For tests of x87, MMX and SSE: a processor over flat memory, rows of the list, the host as judge.
 */
#include "tests/cpu/fpu_rig.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum {
#define OP(...) +1
    ROWS = 0
#include "cpu-accel/x86/x86_ops_fpu.def"
#undef OP
};

const OpRow *const rig_rows = &op_rows[OP_COUNT - ROWS]; /* x86_ops.def ends with them */
const unsigned rig_row_count = ROWS;

static void ferr_drive(void *sink, unsigned pin, bool level)
{
    Rig *rig = sink;
    (void)pin;
    rig->ferr_rises += level && !rig->ferr;
    rig->ferr = level;
}

void rig_open(Rig *rig, CpuModel model)
{
    Err err = {""};
    memset(rig, 0, sizeof *rig);
    rig->board = board_new(&err);
    assert_non_null(rig->board);
    RamBlock *block = ram_add(&rig->board->ram, "ram", RIG_RAM, &err);
    assert_non_null(block);
    RamView view = {true, true, block->at, block->at};
    assert_non_null(bus_claim_ram(rig->board->memory, 0, RIG_RAM, &view, "ram"));
    rig->ram = ram_at(&rig->board->ram, block->at);
    CpuPins pins = {.ferr = {ferr_drive, rig, 0}};
    rig->cpu = cpu_new(rig->board, model, &pins);
    Cpu *cpu = rig->cpu;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = (SegReg){.selector = (uint16_t)(8 * (i + 1)),
                               .access = SEG_S | SEG_PRESENT | SEG_WRITABLE | SEG_ACCESSED |
                                         SEG_BIG | SEG_GRANULARITY | (i == CS ? SEG_CODE : 0),
                               .limit = 0xffffffff};
    }
    cpu->cr0 = CR0_PE | CR0_ET | CR0_NE;
    cpu->cr4 = model >= CPU_PENTIUM3 ? CR4_OSFXSR | CR4_OSXMMEXCPT : 0;
    cpu->eip = RIG_EIP;
    cpu->fpu.control = FCW_INIT;
    cpu->fpu.valid = 0;
}

void rig_close(Rig *rig)
{
    board_free(rig->board);
}

const OpRow *rig_row(const char *id)
{
    for (unsigned i = 0; i < rig_row_count; i++) {
        if (!strcmp(rig_rows[i].id, id)) {
            return &rig_rows[i];
        }
    }
    fail_msg("no row %s", id);
    return NULL;
}

Outcome rig_run(Rig *rig, const OpRow *row, uint8_t modrm, uint8_t imm)
{
    Insn in = {.opsize = 4,
               .adsize = 4,
               .address_mask = 0xffffffff,
               .seg = DS,
               .base = NO_REG,
               .index = NO_REG};
    in.memory = row->form != FORM_NONE && modrm < 0xc0;
    in.opcode = row->opcode;
    in.modrm = modrm;
    in.reg = modrm >> 3 & 7;
    in.rm = modrm & 7;
    in.disp = RIG_DATA;
    in.imm = imm;
    in.handler = row->handler[2 + in.memory];
    return in.handler(rig->cpu, &in);
}

uint64_t rig_random(uint64_t *seed)
{
    /* splitmix64 */
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t random_fraction(uint64_t *seed, unsigned bits)
{
    uint64_t all = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    switch (rig_random(seed) % 8) {
    case 0:
        return 0;
    case 1:
        return all;
    case 2:
        return UINT64_C(1) << (bits - 1);
    case 3:
        return 1;
    case 4:
        return (UINT64_C(1) << rig_random(seed) % bits) - (rig_random(seed) & 1);
    case 5:
        return all & ~(rig_random(seed) >> (64 - bits) >> rig_random(seed) % bits);
    default:
        return rig_random(seed) >> (64 - bits);
    }
}

static unsigned random_exponent(uint64_t *seed, unsigned all)
{
    unsigned bias = all / 2;
    switch (rig_random(seed) % 8) {
    case 0:
        return 0;
    case 1:
        return all;
    case 2:
        return 1 + rig_random(seed) % 3;
    case 3:
        return all - 1 - rig_random(seed) % 3;
    case 4:
        return rig_random(seed) % (all + 1);
    default:
        return (bias - 70 + rig_random(seed) % 140) & all;
    }
}

uint64_t rig_random_double(uint64_t *seed)
{
    uint64_t sign = rig_random(seed) << 63;
    return sign | (uint64_t)random_exponent(seed, 0x7ff) << 52 | random_fraction(seed, 52);
}

uint32_t rig_random_single(uint64_t *seed)
{
    uint32_t sign = (uint32_t)rig_random(seed) << 31;
    return sign | random_exponent(seed, 0xff) << 23 | (uint32_t)random_fraction(seed, 23);
}

Float80 rig_random_real(uint64_t *seed)
{
    Float80 r = {.mantissa = random_fraction(seed, 63)};
    unsigned exponent = random_exponent(seed, 0x7fff);
    if (rig_random(seed) % 4 == 0) {
        /* what fits single or double, or is just beyond: FST rounds and overflows there */
        exponent = 0x3fff - 1100 + rig_random(seed) % 2200;
        if (rig_random(seed) % 2) {
            exponent = 0x3fff - 160 + rig_random(seed) % 320;
        }
    }
    r.sign_exponent = (uint16_t)((rig_random(seed) & 0x8000) | exponent);
    /* The integer bit as it should be, or now and then not: unnormals and pseudo-denormals. */
    bool integer = exponent != 0;
    if (rig_random(seed) % 16 == 0) {
        integer = !integer;
    }
    r.mantissa |= (uint64_t)integer << 63;
    return r;
}

/* Loads everything, runs the code at RSI with the operand at RDI, lets FWAIT bring up a pending x87
 * exception, and stores everything. */
__asm__(".pushsection .text\n"
        ".type judge_enter, @function\n"
        "judge_enter:\n" /* rdi: Judge, rsi: code */
        "push %rbx\n"
        "push %rbp\n"
        "mov %rdi, %rbx\n"
        "fxrstor (%rbx)\n"
        "mov %rbx, %rbp\n"
        "add $1024, %rbp\n" /* eax.. */
        "pushq 24(%rbp)\n"
        "popfq\n"
        "mov 0(%rbp), %rax\n"
        "mov 8(%rbp), %rcx\n"
        "mov 16(%rbp), %rdx\n"
        "lea 528(%rbx), %rdi\n"
        "call *%rsi\n"
        "fwait\n"
        "mov %rax, 0(%rbp)\n"
        "mov %rcx, 8(%rbp)\n"
        "mov %rdx, 16(%rbp)\n"
        "pushfq\n"
        "popq 24(%rbp)\n"
        "fxsave (%rbx)\n"
        "fninit\n"
        "movl $0x1f80, -8(%rsp)\n"
        "ldmxcsr -8(%rsp)\n"
        "pop %rbp\n"
        "pop %rbx\n"
        "ret\n"
        ".size judge_enter, . - judge_enter\n"
        ".popsection\n");
void judge_enter(Judge *judge, const void *code) __attribute__((visibility("hidden")));

static struct {
    uint8_t *code;
    volatile bool trapped;
    volatile uint16_t status, control;
    volatile uint32_t mxcsr;
    unsigned length;
} judging;

/* An x87 trap masks all and goes on at the FWAIT. An SSE trap, whose address is within the code,
 * skips the instruction. Both keep what the host had. */
static void on_sigfpe(int signal, siginfo_t *info, void *context)
{
    ucontext_t *at = context;
    struct _libc_fpstate *fp = at->uc_mcontext.fpregs;
    uintptr_t ip = (uintptr_t)at->uc_mcontext.gregs[REG_RIP];
    (void)signal;
    (void)info;
    judging.trapped = true;
    if (ip >= (uintptr_t)judging.code && ip < (uintptr_t)judging.code + judging.length) {
        judging.mxcsr = fp->mxcsr;
        at->uc_mcontext.gregs[REG_RIP] = (greg_t)((uintptr_t)judging.code + judging.length);
        return;
    }
    judging.status = fp->swd;
    judging.control = fp->cwd;
    fp->cwd |= 0x3f;
}

void judge_run(Judge *judge, const uint8_t *code, unsigned length)
{
    if (!judging.code) {
        judging.code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(judging.code, MAP_FAILED);
        struct sigaction action = {.sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO};
        assert_int_equal(sigaction(SIGFPE, &action, NULL), 0);
    }
    memcpy(judging.code, code, length);
    judging.code[length] = 0xc3;
    judging.length = length;
    judging.trapped = false;
    judging.control = 0;
    judging.mxcsr = 0;
    judge_enter(judge, judging.code);
    judge->trapped = judging.trapped;
    if (judging.trapped && judging.control) {
        judge->fx.status = judging.status;
        judge->fx.control = judging.control;
    }
}

_Static_assert(offsetof(Judge, eax) == 1024 && offsetof(Judge, memory) + JUDGE_OPERAND == 528,
               "as the assembly has it");

void judge_load(Judge *judge, const Cpu *cpu)
{
    const Fpu *f = &cpu->fpu;
    memset(judge, 0, sizeof *judge);
    judge->fx.control = f->control;
    judge->fx.status = f->status;
    judge->fx.valid = f->valid;
    judge->fx.mxcsr = f->mxcsr;
    for (unsigned i = 0; i < 8; i++) {
        judge->fx.st[i] = f->st[((f->status >> FSW_TOP_SHIFT) + i) & 7];
        judge->fx.xmm[i] = f->xmm[i];
    }
    judge->eax = cpu->reg[EAX];
    judge->ecx = cpu->reg[ECX];
    judge->edx = cpu->reg[EDX];
    judge->rflags = cpu_eflags(cpu) & FL_ARITH;
}
