/* For tests of MMX and SSE: one row of the list against the host's processor.
 */
#include "tests/cpu/vector_judge.h"

#include <string.h>

typedef struct Case {
    uint8_t code[8];
    unsigned length;
    uint8_t modrm, imm;
} Case;

static Case make_case(const OpRow *row, uint64_t *seed)
{
    Case c = {.imm = (uint8_t)rig_random(seed)};
    unsigned reg = rig_random(seed) & 7, rm = rig_random(seed) & 7;
    bool memory = row->form == FORM_MEM || (row->form == FORM_RM && rig_random(seed) & 1);
    if (row->digit >= 0) {
        reg = (unsigned)row->digit;
    } else if (strchr(row->operands, 'G')) {
        reg %= 3; /* EAX, ECX, EDX: what the judge loads */
    }
    if (strchr(row->operands, 'E')) {
        rm %= 3;
    }
    if (rig_random(seed) & 1) {
        c.imm &= 0x3f; /* shift counts */
    }
    c.modrm = (uint8_t)((memory ? 0 : 0xc0) | reg << 3 | rm);
    static const uint8_t prefixes[] = {
        [MANDATORY_66] = 0x66, [MANDATORY_F3] = 0xf3, [MANDATORY_F2] = 0xf2};
    if (row->prefix >= MANDATORY_66) {
        c.code[c.length++] = prefixes[row->prefix];
    }
    c.code[c.length++] = 0x0f;
    c.code[c.length++] = row->opcode;
    if (row->form != FORM_NONE) {
        c.code[c.length++] = memory ? (uint8_t)(reg << 3 | EDI) : c.modrm;
    }
    if (strstr(row->operands, "Ib")) {
        c.code[c.length++] = c.imm;
    }
    return c;
}

static void random_vector(Xmm *x, uint64_t *seed)
{
    unsigned kind = rig_random(seed) % 4;
    for (unsigned half = 0; half < 2; half++) {
        uint64_t q = rig_random(seed);
        if (kind == 0) {
            q = rig_random_double(seed);
        } else if (kind == 1) {
            q = rig_random_single(seed) | (uint64_t)rig_random_single(seed) << 32;
        } else if (kind == 2) {
            q >>= rig_random(seed) % 64; /* small counts, integers */
        }
        x->q[half] = q;
    }
}

static void random_state(Rig *rig, uint64_t *seed)
{
    Cpu *cpu = rig->cpu;
    Fpu *f = &cpu->fpu;
    f->mxcsr = MXCSR_MASKS;
    if (rig_random(seed) & 1) {
        f->mxcsr = (uint32_t)rig_random(seed) & MXCSR_MASKS;
    }
    f->mxcsr |= (uint32_t)rig_random(seed) & (MXCSR_FLAGS | MXCSR_ROUNDING);
    if (rig_random(seed) % 4 == 0) {
        f->mxcsr |= (uint32_t)rig_random(seed) & (MXCSR_FTZ | MXCSR_DAZ);
    }
    f->control = FCW_INIT;
    f->status = (uint16_t)(rig_random(seed) & (FSW_TOP | FSW_CONDITION | FSW_FLAGS | FSW_SF));
    f->valid = (uint8_t)rig_random(seed);
    for (unsigned i = 0; i < 8; i++) {
        Xmm x;
        random_vector(&f->xmm[i], seed);
        random_vector(&x, seed);
        f->st[i] = (Float80){x.q[0], (uint16_t)rig_random(seed)};
    }
    for (unsigned i = EAX; i <= EDX; i++) {
        cpu->reg[i] = (uint32_t)(rig_random(seed) >> rig_random(seed) % 64);
    }
    cpu->reg[EDI] = RIG_DATA;
    cpu->arith = (uint16_t)(rig_random(seed) & 0xd501);
}

static bool same_state(const Rig *rig, const Judge *judge)
{
    const Cpu *cpu = rig->cpu;
    const Fpu *f = &cpu->fpu;
    for (unsigned i = 0; i < 8; i++) {
        const Float80 *a = &f->st[((f->status >> FSW_TOP_SHIFT) + i) & 7], *b = &judge->fx.st[i];
        if (a->mantissa != b->mantissa || a->sign_exponent != b->sign_exponent) {
            return false;
        }
    }
    return f->mxcsr == judge->fx.mxcsr && f->status == judge->fx.status &&
           f->valid == judge->fx.valid && !memcmp(f->xmm, judge->fx.xmm, sizeof f->xmm) &&
           cpu->reg[EAX] == (uint32_t)judge->eax && cpu->reg[ECX] == (uint32_t)judge->ecx &&
           cpu->reg[EDX] == (uint32_t)judge->edx &&
           !((cpu_eflags(cpu) ^ (uint32_t)judge->rflags) & FL_ARITH) &&
           !memcmp(rig->ram + RIG_DATA, judge->memory + JUDGE_OPERAND, 16);
}

static void print_xmm(const char *what, const Xmm *x)
{
    print_message(" %s %016lx.%016lx", what, (unsigned long)x->q[1], (unsigned long)x->q[0]);
}

static void print_case(const OpRow *row, const Case *c, const Fpu *before, const Rig *rig,
                       const Judge *judge)
{
    const Cpu *cpu = rig->cpu;
    print_message("%s modrm %02x imm %02x mxcsr before %04x ours %04x host %04x trapped %d\n",
                  row->id, c->modrm, c->imm, before->mxcsr, cpu->fpu.mxcsr, judge->fx.mxcsr,
                  judge->trapped);
    print_message("  status before %04x ours %04x host %04x valid %02x %02x\n", before->status,
                  cpu->fpu.status, judge->fx.status, cpu->fpu.valid, judge->fx.valid);
    print_message("  eax %08x %08lx ecx %08x %08lx edx %08x %08lx flags %04x %04lx\n",
                  cpu->reg[EAX], (unsigned long)judge->eax, cpu->reg[ECX],
                  (unsigned long)judge->ecx, cpu->reg[EDX], (unsigned long)judge->edx,
                  cpu_eflags(cpu), (unsigned long)judge->rflags);
    for (unsigned i = 0; i < 8; i++) {
        print_message("  %u", i);
        print_xmm("was", &before->xmm[i]);
        print_xmm("ours", &cpu->fpu.xmm[i]);
        print_xmm("host", &judge->fx.xmm[i]);
        print_message(" mm was %016lx ours %016lx\n", (unsigned long)before->st[i].mantissa,
                      (unsigned long)cpu->fpu.st[i].mantissa);
    }
    print_message("  memory");
    print_xmm("ours", (const Xmm *)(rig->ram + RIG_DATA));
    print_xmm("host", (const Xmm *)(judge->memory + JUDGE_OPERAND));
    print_message("\n");
}

void vector_judge_row(Rig *rig, const OpRow *row, unsigned cases, uint64_t *seed)
{
    Judge judge;
    Xmm operand;
    for (unsigned n = 0; n < cases; n++) {
        Case c = make_case(row, seed);
        random_state(rig, seed);
        random_vector(&operand, seed);
        judge_load(&judge, rig->cpu);
        memcpy(judge.memory + JUDGE_OPERAND, &operand, sizeof operand);
        memcpy(rig->ram + RIG_DATA, &operand, sizeof operand);
        Fpu before = rig->cpu->fpu;
        Outcome outcome = rig_run(rig, row, c.modrm, c.imm);
        judge_run(&judge, c.code, c.length);
        bool faulted = outcome == X_FAULT && rig->cpu->fault.vector == VEC_XM;
        if (faulted != judge.trapped || (!faulted && outcome != X_NEXT) ||
            !same_state(rig, &judge)) {
            print_case(row, &c, &before, rig, &judge);
            fail_msg("%s differs from the host in case %u (outcome %d)", row->id, n, outcome);
        }
    }
}
