/* x87: every row against the host's own unit, and what the host cannot judge: environments, pending
 * exceptions, FERR# and IGNNE#, #NM. */
#include "tests/cpu/fpu_rig.h"

#include <string.h>

#include "cpu-accel/x86/ex_x87.h"

enum { CASES_PER_ROW = 1000 };

static bool is_control(const OpRow *row)
{
    static const char *const names[] = {"FLDENV", "FLDCW",     "FNSTENV",   "FNSTCW", "FRSTOR",
                                        "FNSAVE", "FNSTSW_Mw", "FNSTSW_AX", "FNENI",  "FNDISI",
                                        "FNCLEX", "FNINIT",    "FNSETPM",   "FWAIT"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (!strcmp(row->id, names[i])) {
            return true;
        }
    }
    return false;
}

static uint8_t modrm_of(const OpRow *row)
{
    return (uint8_t)(row->digit >= 0xc0 || row->digit < 0 ? row->digit : row->digit << 3);
}

static void random_state(Rig *rig, uint64_t *seed)
{
    Fpu *f = &rig->cpu->fpu;
    uint64_t r = rig_random(seed);
    f->control = FCW_ONE | FCW_MASKS;
    if (r & 1) {
        f->control = (uint16_t)(FCW_ONE | (rig_random(seed) & FCW_MASKS));
    }
    f->control |= (uint16_t)(rig_random(seed) & (FCW_PRECISION | FCW_ROUNDING | FCW_INFINITY));
    f->status = (uint16_t)(rig_random(seed) & (FSW_TOP | FSW_CONDITION | FSW_FLAGS | FSW_SF));
    f->status &= (uint16_t) ~(FSW_FLAGS & ~f->control);
    f->valid = (r >> 8) % 4 ? 0xff : (uint8_t)rig_random(seed);
    if ((r >> 16) % 2) {
        /* Room for a push, values at the top. */
        f->valid &= (uint8_t) ~(1u << (((f->status >> FSW_TOP_SHIFT) - 1) & 7));
    }
    for (unsigned i = 0; i < 8; i++) {
        f->st[i] = rig_random_real(seed);
    }
    rig->cpu->arith = (uint16_t)(rig_random(seed) & 0xd501);
    fpu_drive_ferr(rig->cpu);
    fpu_host_release();
}

/* The operand's bytes, with reals and integers that are often at an edge. */
static void random_operand(const OpRow *row, uint8_t operand[16], uint64_t *seed)
{
    uint64_t low = rig_random(seed), high = rig_random(seed);
    if (strstr(row->operands, "Md") && row->mnemonic[1] != 'i') {
        low = rig_random_single(seed);
    } else if (strstr(row->operands, "Mq") && row->mnemonic[1] != 'i') {
        low = rig_random_double(seed);
    } else if (!strcmp(row->id, "FLD_Mt")) {
        Float80 real = rig_random_real(seed);
        low = real.mantissa;
        high = real.sign_exponent;
    } else if (!strcmp(row->id, "FBLD")) {
        for (unsigned i = 0; i < 64; i += 4) {
            low = (low & ~(UINT64_C(15) << i)) | rig_random(seed) % 10 << i;
        }
        high = (high & 0x8000) | rig_random(seed) % 10 << 4 | rig_random(seed) % 10;
    } else if (low & 1) {
        low >>= rig_random(seed) % 64;
    }
    memcpy(operand, &low, 8);
    memcpy(operand + 8, &high, 8);
}

static bool same_registers(const Fpu *f, const Judge *judge)
{
    for (unsigned i = 0; i < 8; i++) {
        const Float80 *a = &f->st[((f->status >> FSW_TOP_SHIFT) + i) & 7], *b = &judge->fx.st[i];
        if (a->mantissa != b->mantissa || a->sign_exponent != b->sign_exponent) {
            return false;
        }
    }
    return true;
}

static void print_case(const OpRow *row, uint8_t modrm, const Fpu *before, const Fpu *after,
                       const Judge *judge, const uint8_t *operand, const uint8_t *stored)
{
    print_message("%s modrm %02x: control %04x status %04x valid %02x\n", row->id, modrm,
                  before->control, before->status, before->valid);
    print_message("  ours status %04x valid %02x, host status %04x valid %02x trapped %d\n",
                  after->status, after->valid, judge->fx.status, judge->fx.valid, judge->trapped);
    for (unsigned i = 0; i < 8; i++) {
        const Float80 *was = &before->st[((before->status >> FSW_TOP_SHIFT) + i) & 7];
        const Float80 *a = &after->st[((after->status >> FSW_TOP_SHIFT) + i) & 7];
        const Float80 *b = &judge->fx.st[i];
        print_message("  st%u was %04x.%016lx ours %04x.%016lx host %04x.%016lx\n", i,
                      was->sign_exponent, (unsigned long)was->mantissa, a->sign_exponent,
                      (unsigned long)a->mantissa, b->sign_exponent, (unsigned long)b->mantissa);
    }
    for (unsigned i = 0; i < 16; i++) {
        print_message("%s%02x/%02x/%02x", i ? " " : "  memory before/ours/host ", operand[i],
                      stored[i], judge->memory[JUDGE_OPERAND + i]);
    }
    print_message("\n");
}

static void judge_row(Rig *rig, const OpRow *row, uint64_t *seed)
{
    Cpu *cpu = rig->cpu;
    Judge judge;
    uint8_t operand[16];
    for (unsigned n = 0; n < CASES_PER_ROW; n++) {
        uint8_t modrm = modrm_of(row);
        if (row->form == FORM_REG && row->digit < 8) {
            modrm = (uint8_t)(0xc0 | modrm | (rig_random(seed) & 7));
        }
        uint8_t code[2] = {row->opcode, modrm < 0xc0 ? modrm | 7 : modrm};
        random_state(rig, seed);
        random_operand(row, operand, seed);
        judge_load(&judge, cpu);
        memcpy(judge.memory + JUDGE_OPERAND, operand, sizeof operand);
        memcpy(rig->ram + RIG_DATA, operand, sizeof operand);
        Fpu before = cpu->fpu;
        uint32_t flags_before = cpu_eflags(cpu);
        assert_int_equal(rig_run(rig, row, modrm, 0), X_NEXT);
        judge_run(&judge, code, sizeof code);
        uint32_t flags = row->flags_written ? (uint32_t)judge.rflags : flags_before;
        bool same = cpu->fpu.status == judge.fx.status && cpu->fpu.valid == judge.fx.valid &&
                    cpu->fpu.control == before.control && same_registers(&cpu->fpu, &judge) &&
                    !memcmp(rig->ram + RIG_DATA, judge.memory + JUDGE_OPERAND, sizeof operand) &&
                    !((cpu_eflags(cpu) ^ flags) & FL_ARITH);
        if (!same) {
            print_case(row, modrm, &before, &cpu->fpu, &judge, operand, rig->ram + RIG_DATA);
            fail_msg("%s differs from the host in case %u", row->id, n);
        }
    }
}

static void every_row_agrees_with_the_host(void **state)
{
    (void)state;
    Rig rig;
    uint64_t seed = 87;
    rig_open(&rig, CPU_PENTIUM4);
    rig.cpu->cr0 &= ~(uint32_t)CR0_NE; /* see FERR# without it being in the way */
    for (unsigned i = 0; i < rig_row_count; i++) {
        if (rig_rows[i].traits & T_X87 && rig_rows[i].map == MAP_1 && !is_control(&rig_rows[i])) {
            judge_row(&rig, &rig_rows[i], &seed);
            assert_int_equal(rig.ferr, !!(rig.cpu->fpu.status & FSW_ES));
        }
    }
    rig_close(&rig);
}

typedef struct Step {
    const OpRow *row;
    uint8_t modrm;
    uint8_t operand[16];
} Step;

static Step random_step(uint64_t *seed)
{
    Step step;
    bool usable;
    do {
        step.row = &rig_rows[rig_random(seed) % rig_row_count];
        usable = step.row->traits & T_X87 && step.row->map == MAP_1 &&
                 (!is_control(step.row) || !strcmp(step.row->id, "FNCLEX") ||
                  !strcmp(step.row->id, "FLDCW"));
    } while (!usable);
    step.modrm = modrm_of(step.row);
    if (step.row->form == FORM_REG && step.row->digit < 8) {
        step.modrm = (uint8_t)(0xc0 | step.modrm | (rig_random(seed) & 7));
    }
    random_operand(step.row, step.operand, seed);
    if (!strcmp(step.row->id, "FLDCW")) {
        step.operand[0] |= FCW_MASKS; /* nothing pending: the judge could not go on */
    }
    return step;
}

/* Nothing but the instructions themselves happens in between here: what the handlers leave in the
 * host's unit must not show. */
static void sequences_agree_with_the_host(void **state)
{
    (void)state;
    enum { STEPS = 12, SEQUENCES = 4000 };
    Rig rig;
    Judge judge;
    Step steps[STEPS];
    uint64_t seed = 1987;
    rig_open(&rig, CPU_PENTIUM4);
    for (unsigned n = 0; n < SEQUENCES; n++) {
        Fpu *f = &rig.cpu->fpu;
        random_state(&rig, &seed);
        x87_set_control(rig.cpu, f->control | FCW_MASKS);
        judge_load(&judge, rig.cpu);
        for (unsigned i = 0; i < STEPS; i++) {
            steps[i] = random_step(&seed);
            memcpy(rig.ram + RIG_DATA, steps[i].operand, 16);
            assert_int_equal(rig_run(&rig, steps[i].row, steps[i].modrm, 0), X_NEXT);
        }
        for (unsigned i = 0; i < STEPS; i++) {
            uint8_t modrm = steps[i].modrm;
            uint8_t code[2] = {steps[i].row->opcode, modrm < 0xc0 ? modrm | 7 : modrm};
            memcpy(judge.memory + JUDGE_OPERAND, steps[i].operand, 16);
            uint64_t flags = judge.rflags;
            judge_run(&judge, code, sizeof code);
            judge.rflags = steps[i].row->flags_written ? judge.rflags : flags;
        }
        if (f->status != judge.fx.status || f->control != judge.fx.control ||
            f->valid != judge.fx.valid || !same_registers(f, &judge) ||
            (cpu_eflags(rig.cpu) ^ (uint32_t)judge.rflags) & FL_ARITH) {
            for (unsigned i = 0; i < STEPS; i++) {
                print_message("%s %02x\n", steps[i].row->id, steps[i].modrm);
            }
            fail_msg("sequence %u: status %04x, host %04x", n, f->status, judge.fx.status);
        }
    }
    rig_close(&rig);
}

static const char *const fill_code[] = {"FLDZ", "FLD1", "FLDPI"};

static void open_loaded(Rig *rig)
{
    rig_open(rig, CPU_PENTIUM2);
    for (unsigned i = 0; i < 3; i++) {
        const OpRow *row = rig_row(fill_code[i]);
        assert_int_equal(rig_run(rig, row, (uint8_t)row->digit, 0), X_NEXT);
    }
}

static Outcome run(Rig *rig, const char *id)
{
    const OpRow *row = rig_row(id);
    return rig_run(rig, row, modrm_of(row), 0);
}

static void reset_leaves_what_the_manual_says(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, CPU_PENTIUM2);
    board_reset(rig.board, RESET_POWER);
    assert_int_equal(rig.cpu->fpu.control, 0x40);
    assert_int_equal(rig.cpu->fpu.status, 0);
    assert_int_equal(fpu_tag_word(&rig.cpu->fpu), 0x5555);
    assert_int_equal(run(&rig, "FNINIT"), X_NEXT);
    assert_int_equal(rig.cpu->fpu.control, 0x37f);
    assert_int_equal(fpu_tag_word(&rig.cpu->fpu), 0xffff);
    rig_close(&rig);
}

static void probes_of_the_unit_work(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, CPU_386);
    rig.cpu->reg[EAX] = 0x12345a5a;
    assert_int_equal(run(&rig, "FNINIT"), X_NEXT);
    assert_int_equal(run(&rig, "FNSTSW_AX"), X_NEXT);
    assert_int_equal(rig.cpu->reg[EAX], 0x12340000);
    memset(rig.ram + RIG_DATA, 0xa5, 4);
    assert_int_equal(run(&rig, "FNSTCW"), X_NEXT);
    assert_memory_equal(rig.ram + RIG_DATA, "\x7f\x03\xa5\xa5", 4);
    assert_int_equal(run(&rig, "FNSTSW_Mw"), X_NEXT);
    assert_memory_equal(rig.ram + RIG_DATA, "\0\0\xa5\xa5", 4);
    memset(rig.ram + RIG_DATA, 0xff, 2);
    rig.cpu->cr0 |= CR0_NE;
    assert_int_equal(run(&rig, "FLDCW"), X_NEXT);
    assert_int_equal(rig.cpu->fpu.control, 0x1f7f);
    rig_close(&rig);
}

static void emulation_and_task_switch_give_nm(void **state)
{
    (void)state;
    Rig rig;
    open_loaded(&rig);
    static const char *const rows[] = {"FLD1",   "FADD_Md", "FNSTSW_AX", "FNINIT", "FNCLEX",
                                       "FLDENV", "FNSTENV", "FLDCW",     "FNSETPM"};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (unsigned bit = 0; bit < 2; bit++) {
            rig.cpu->cr0 = CR0_PE | (bit ? CR0_TS : CR0_EM);
            assert_int_equal(run(&rig, rows[i]), X_FAULT);
            assert_int_equal(rig.cpu->fault.vector, VEC_NM);
        }
    }
    rig.cpu->cr0 = CR0_PE | CR0_EM | CR0_MP;
    assert_int_equal(run(&rig, "FWAIT"), X_NEXT);
    rig.cpu->cr0 = CR0_PE | CR0_TS;
    assert_int_equal(run(&rig, "FWAIT"), X_NEXT);
    rig.cpu->cr0 = CR0_PE | CR0_TS | CR0_MP;
    assert_int_equal(run(&rig, "FWAIT"), X_FAULT);
    assert_int_equal(rig.cpu->fault.vector, VEC_NM);
    rig_close(&rig);
}

/* 1/0 with zero divide unmasked. */
static void divide_by_zero(Rig *rig)
{
    rig->cpu->fpu.control = FCW_INIT & ~FSW_ZE;
    memset(rig->ram + RIG_DATA, 0, 8);
    assert_int_equal(run(rig, "FDIV_Md"), X_NEXT);
    assert_int_equal(rig->cpu->fpu.status & (FSW_ES | FSW_B | FSW_FLAGS), FSW_ES | FSW_B | FSW_ZE);
}

static void pending_exception_is_reported_by_mf(void **state)
{
    (void)state;
    Rig rig;
    open_loaded(&rig);
    divide_by_zero(&rig);
    assert_false(rig.ferr);
    Fpu before = rig.cpu->fpu;
    static const char *const waiting[] = {"FWAIT",  "FLD1",   "FADD_Md", "FLDCW",
                                          "FLDENV", "FRSTOR", "FNOP"};
    for (unsigned i = 0; i < sizeof waiting / sizeof *waiting; i++) {
        assert_int_equal(run(&rig, waiting[i]), X_FAULT);
        assert_int_equal(rig.cpu->fault.vector, VEC_MF);
        assert_false(rig.cpu->fault.has_error_code);
        assert_memory_equal(&rig.cpu->fpu, &before, sizeof before);
    }
    assert_int_equal(run(&rig, "FNSTSW_AX"), X_NEXT);
    assert_int_equal(rig.cpu->reg[EAX] & 0x80ff, 0x8084);
    assert_int_equal(run(&rig, "FNCLEX"), X_NEXT);
    assert_int_equal(run(&rig, "FWAIT"), X_NEXT);
    rig_close(&rig);
}

static void pending_exception_goes_out_by_ferr(void **state)
{
    (void)state;
    Rig rig;
    open_loaded(&rig);
    rig.cpu->cr0 &= ~(uint32_t)CR0_NE;
    divide_by_zero(&rig);
    assert_true(rig.ferr);
    assert_int_equal(rig.ferr_rises, 1);
    /* The next waiting instruction freezes, non-waiting ones run. */
    uint32_t eip = rig.cpu->eip;
    assert_int_equal(run(&rig, "FLD1"), X_STOP);
    assert_int_equal(run(&rig, "FWAIT"), X_STOP);
    assert_int_equal(rig.cpu->eip, eip);
    assert_int_equal(run(&rig, "FNSTSW_AX"), X_NEXT);
    /* The handler writes port F0h: IGNNE# lets even waiting instructions run. */
    cpu_ignne(rig.cpu, 0, true);
    assert_int_equal(run(&rig, "FLD1"), X_NEXT);
    assert_true(rig.ferr);
    assert_true(rig.cpu->ignne);
    assert_int_equal(run(&rig, "FNCLEX"), X_NEXT);
    assert_false(rig.ferr);
    assert_false(rig.cpu->ignne);
    assert_int_equal(run(&rig, "FWAIT"), X_NEXT);
    rig_close(&rig);
}

static void reset_forgets_the_hosts_flags(void **state)
{
    (void)state;
    Rig rig;
    open_loaded(&rig);
    memcpy(rig.ram + RIG_DATA, "\0\0\x40\x40", 4); /* 3.0 */
    assert_int_equal(run(&rig, "FDIV_Md"), X_NEXT);
    assert_int_equal(rig.cpu->fpu.status & FSW_FLAGS, FSW_PE);
    board_reset(rig.board, RESET_POWER);
    rig.cpu->cr0 = CR0_PE;
    rig.cpu->seg[DS].limit = 0xffffffff;
    assert_int_equal(run(&rig, "FNINIT"), X_NEXT);
    assert_int_equal(run(&rig, "FLD1"), X_NEXT);
    assert_int_equal(run(&rig, "FMUL_Md"), X_NEXT);
    assert_int_equal(rig.cpu->fpu.status & FSW_FLAGS, 0);
    rig_close(&rig);
}

static void ignne_needs_ferr(void **state)
{
    (void)state;
    Rig rig;
    open_loaded(&rig);
    rig.cpu->cr0 &= ~(uint32_t)CR0_NE;
    cpu_ignne(rig.cpu, 0, true);
    assert_false(rig.cpu->ignne);
    divide_by_zero(&rig);
    assert_int_equal(run(&rig, "FLD1"), X_STOP);
    rig_close(&rig);
}

static void ferr_falls_however_the_exception_goes(void **state)
{
    (void)state;
    static const char *const ways[] = {"FNINIT", "FNSAVE", "FNSTENV", "FNCLEX"};
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        Rig rig;
        open_loaded(&rig);
        rig.cpu->cr0 &= ~(uint32_t)CR0_NE;
        divide_by_zero(&rig);
        assert_true(rig.ferr);
        assert_int_equal(run(&rig, ways[i]), X_NEXT);
        assert_false(rig.ferr);
        rig_close(&rig);
    }
}

static void unmasking_a_set_flag_makes_it_pending(void **state)
{
    (void)state;
    Rig rig;
    open_loaded(&rig);
    rig.cpu->fpu.status |= FSW_ZE | FSW_PE;
    memcpy(rig.ram + RIG_DATA, "\x7b\x03", 2); /* ZM clear */
    assert_int_equal(run(&rig, "FLDCW"), X_NEXT);
    assert_int_equal(rig.cpu->fpu.status & (FSW_ES | FSW_B), FSW_ES | FSW_B);
    assert_int_equal(run(&rig, "FWAIT"), X_FAULT);
    rig_close(&rig);
}

static void pointers_follow_instructions(void **state)
{
    (void)state;
    Rig rig;
    open_loaded(&rig);
    Fpu *f = &rig.cpu->fpu;
    assert_int_equal(f->ip, RIG_EIP);
    assert_int_equal(f->ip_selector, rig.cpu->seg[CS].selector);
    assert_int_equal(f->opcode, 0x1eb); /* FLDPI */
    rig.cpu->eip = 0x4000;
    assert_int_equal(run(&rig, "FADD_Mq"), X_NEXT);
    assert_int_equal(f->ip, 0x4000);
    assert_int_equal(f->opcode, 0x400);
    assert_int_equal(f->data, RIG_DATA);
    assert_int_equal(f->data_selector, rig.cpu->seg[DS].selector);
    /* Control instructions leave them. */
    rig.cpu->eip = 0x5000;
    assert_int_equal(run(&rig, "FLDCW"), X_NEXT);
    assert_int_equal(run(&rig, "FNSTSW_AX"), X_NEXT);
    assert_int_equal(run(&rig, "FWAIT"), X_NEXT);
    assert_int_equal(f->ip, 0x4000);
    /* A fault in memory, too. */
    rig.cpu->seg[DS].limit = RIG_DATA;
    Fpu before = *f;
    static const char *const rows[] = {"FADD_Mq",  "FLD_Md", "FSTP_Mt", "FSTP_Mq",
                                       "FISTP_Mq", "FBSTP",  "FBLD",    "FNSAVE"};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(run(&rig, rows[i]), X_FAULT);
        assert_int_equal(rig.cpu->fault.vector, VEC_GP);
        assert_memory_equal(f, &before, sizeof before);
    }
    rig_close(&rig);
}

static uint32_t word(const Rig *rig, unsigned at)
{
    return rig->ram[RIG_DATA + at] | (uint32_t)rig->ram[RIG_DATA + at + 1] << 8;
}

static Outcome run_16(Rig *rig, const char *id)
{
    const OpRow *row = rig_row(id);
    Insn in = {.opsize = 2,
               .adsize = 4,
               .address_mask = 0xffffffff,
               .seg = DS,
               .base = NO_REG,
               .index = NO_REG};
    in.memory = true;
    in.opcode = row->opcode;
    in.reg = (uint8_t)row->digit;
    in.disp = RIG_DATA;
    return row->handler[1](rig->cpu, &in);
}

static void environment_has_four_formats(void **state)
{
    (void)state;
    for (unsigned format = 0; format < 4; format++) {
        Rig rig;
        open_loaded(&rig);
        Fpu *f = &rig.cpu->fpu;
        bool real = format & 1, small = format & 2;
        if (real) {
            rig.cpu->cr0 &= ~(uint32_t)CR0_PE;
        }
        f->ip = 0x9abc;
        f->ip_selector = 0x1234;
        f->data = 0xdef0;
        f->data_selector = 0xb800;
        f->opcode = 0x5a5;
        f->status = 0x3800 | FSW_C3 | FSW_PE;
        f->valid = 0xe0;
        f->st[7].mantissa = 0; /* ST(0), physical 7: a zero */
        f->st[7].sign_exponent = 0x8000;
        memset(rig.ram + RIG_DATA, 0xcc, 128);
        Outcome (*go)(Rig *, const char *) = small ? run_16 : run;
        assert_int_equal(go(&rig, "FNSTENV"), X_NEXT);
        unsigned step = small ? 2 : 4;
        assert_int_equal(word(&rig, 0), 0x37f);
        assert_int_equal(word(&rig, step), f->status);
        assert_int_equal(word(&rig, 2 * step) & 0xc3ff, 0x43ff);
        if (real) {
            assert_int_equal(word(&rig, 3 * step), 0xbdfc); /* 12340h + 9ABCh = 1BDFCh */
            assert_int_equal(word(&rig, 4 * step), 0x15a5);
            assert_int_equal(word(&rig, 5 * step), 0x5ef0); /* B8000h + DEF0h = C5EF0h */
            assert_int_equal(word(&rig, 6 * step), 0xc000);
        } else {
            assert_int_equal(word(&rig, 3 * step), 0x9abc);
            assert_int_equal(word(&rig, 4 * step), 0x1234);
            assert_int_equal(word(&rig, 5 * step), 0xdef0);
            assert_int_equal(word(&rig, 6 * step), 0xb800);
        }
        if (!small) {
            assert_int_equal(word(&rig, 2), 0xffff);
            assert_int_equal(word(&rig, 18), real ? 0 : 0x5a5);
        }
        assert_int_equal(rig.ram[RIG_DATA + 7 * step], 0xcc);
        /* Back: the same environment, as far as the format holds it. */
        Fpu before = *f;
        assert_int_equal(run(&rig, "FNINIT"), X_NEXT);
        assert_int_equal(go(&rig, "FLDENV"), X_NEXT);
        assert_int_equal(f->status, before.status);
        assert_int_equal(f->valid, before.valid);
        assert_int_equal(f->ip, real ? 0x1bdfc : 0x9abc);
        assert_int_equal(f->data, real ? 0xc5ef0 : 0xdef0);
        assert_int_equal(f->ip_selector, real ? 0 : 0x1234);
        assert_int_equal(f->opcode, small && !real ? 0 : 0x5a5);
        rig_close(&rig);
    }
}

static void save_and_restore_are_inverse(void **state)
{
    (void)state;
    Rig rig;
    uint64_t seed = 5;
    rig_open(&rig, CPU_PENTIUM);
    for (unsigned n = 0; n < 200; n++) {
        bool small = n & 1;
        Outcome (*go)(Rig *, const char *) = small ? run_16 : run;
        random_state(&rig, &seed);
        rig.cpu->fpu.ip = 0x1234;
        rig.cpu->fpu.data = 0x5678;
        rig.cpu->fpu.opcode = 0;
        Fpu before = rig.cpu->fpu;
        memset(rig.ram + RIG_DATA, 0xcc, 128);
        assert_int_equal(go(&rig, "FNSAVE"), X_NEXT);
        assert_int_equal(rig.ram[RIG_DATA + (small ? 94 : 108)], 0xcc);
        assert_int_equal(rig.cpu->fpu.control, FCW_INIT);
        assert_int_equal(rig.cpu->fpu.status, 0);
        assert_int_equal(rig.cpu->fpu.valid, 0);
        for (unsigned i = 0; i < 8; i++) {
            rig.cpu->fpu.st[i] = (Float80){1, 2};
        }
        assert_int_equal(go(&rig, "FRSTOR"), X_NEXT);
        assert_int_equal(rig.cpu->fpu.status, before.status);
        assert_int_equal(rig.cpu->fpu.control, before.control);
        assert_int_equal(rig.cpu->fpu.valid, before.valid);
        for (unsigned i = 0; i < 8; i++) {
            assert_true(rig.cpu->fpu.st[i].mantissa == before.st[i].mantissa);
            assert_int_equal(rig.cpu->fpu.st[i].sign_exponent, before.st[i].sign_exponent);
        }
    }
    rig_close(&rig);
}

static void tag_word_tells_kinds(void **state)
{
    (void)state;
    Fpu f = {.valid = 0x7f};
    f.st[0] = (Float80){UINT64_C(1) << 63, 0x3fff}; /* 1 */
    f.st[1] = (Float80){0, 0x8000};                 /* -0 */
    f.st[2] = (Float80){1, 0};                      /* denormal */
    f.st[3] = (Float80){UINT64_C(1) << 63, 0x7fff}; /* infinity */
    f.st[4] = (Float80){UINT64_C(1) << 62, 0x4000}; /* unnormal */
    f.st[5] = (Float80){UINT64_C(3) << 62, 0xffff}; /* NaN */
    f.st[6] = (Float80){UINT64_C(1) << 63, 0};      /* pseudo-denormal */
    assert_int_equal(fpu_tag_word(&f), 0xeaa4);
    fpu_set_tag_word(&f, 0xc003);
    assert_int_equal(f.valid, 0x7e);
}

/* 1/3 is inexact, 1*3 is exact. */
static void put_three(Rig *rig)
{
    memcpy(rig->ram + RIG_DATA, "\0\0\x40\x40", 4);
}

static void two_units_do_not_disturb_each_other(void **state)
{
    (void)state;
    Rig a, b;
    open_loaded(&a);
    open_loaded(&b);
    b.cpu->fpu.control = FCW_INIT | 2 << 10; /* up */
    put_three(&a);
    put_three(&b);
    assert_int_equal(run(&a, "FLD1"), X_NEXT);
    assert_int_equal(run(&b, "FLD1"), X_NEXT);
    fpu_host_release();
    assert_int_equal(run(&b, "FDIV_Md"), X_NEXT);
    fpu_host_release();
    assert_int_equal(run(&a, "FMUL_Md"), X_NEXT);
    assert_int_equal(a.cpu->fpu.status & FSW_FLAGS, 0);
    assert_int_equal(b.cpu->fpu.status & (FSW_FLAGS | FSW_C1), FSW_PE | FSW_C1);
    rig_close(&a);
    rig_close(&b);
}

/* Flags that the guest has cleared, or never got, must not come back from the host. */
static void cleared_flags_stay_clear(void **state)
{
    (void)state;
    static const char *const ways[] = {"FNCLEX", "FNINIT", "FNSAVE", "FLDENV", "FRSTOR", "FXRSTOR"};
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        Rig rig;
        open_loaded(&rig);
        memset(rig.ram + RIG_DATA, 0, 512);
        put_three(&rig);
        assert_int_equal(run(&rig, "FLD1"), X_NEXT);
        assert_int_equal(run(&rig, "FDIV_Md"), X_NEXT);
        assert_int_equal(rig.cpu->fpu.status & FSW_FLAGS, FSW_PE);
        memset(rig.ram + RIG_DATA, 0, 512);
        rig.ram[RIG_DATA] = 0x7f;
        assert_int_equal(run(&rig, ways[i]), X_NEXT);
        assert_int_equal(rig.cpu->fpu.status & FSW_FLAGS, 0);
        rig.cpu->fpu.status = 0;
        rig.cpu->fpu.valid = 0;
        put_three(&rig);
        assert_int_equal(run(&rig, "FLD1"), X_NEXT);
        assert_int_equal(run(&rig, "FMUL_Md"), X_NEXT);
        assert_int_equal(rig.cpu->fpu.status & FSW_FLAGS, 0);
        rig_close(&rig);
    }
    /* A store that rounds and then faults. */
    Rig rig;
    open_loaded(&rig); /* pi on top */
    rig.cpu->seg[DS].limit = RIG_DATA + 1;
    assert_int_equal(run(&rig, "FSTP_Md"), X_FAULT);
    assert_int_equal(rig.cpu->fpu.status & FSW_FLAGS, 0);
    rig.cpu->seg[DS].limit = 0xffffffff;
    put_three(&rig);
    assert_int_equal(run(&rig, "FLD1"), X_NEXT);
    assert_int_equal(run(&rig, "FMUL_Md"), X_NEXT);
    assert_int_equal(rig.cpu->fpu.status & FSW_FLAGS, 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_agrees_with_the_host),
        cmocka_unit_test(sequences_agree_with_the_host),
        cmocka_unit_test(reset_leaves_what_the_manual_says),
        cmocka_unit_test(probes_of_the_unit_work),
        cmocka_unit_test(emulation_and_task_switch_give_nm),
        cmocka_unit_test(pending_exception_is_reported_by_mf),
        cmocka_unit_test(pending_exception_goes_out_by_ferr),
        cmocka_unit_test(reset_forgets_the_hosts_flags),
        cmocka_unit_test(ignne_needs_ferr),
        cmocka_unit_test(ferr_falls_however_the_exception_goes),
        cmocka_unit_test(unmasking_a_set_flag_makes_it_pending),
        cmocka_unit_test(pointers_follow_instructions),
        cmocka_unit_test(environment_has_four_formats),
        cmocka_unit_test(save_and_restore_are_inverse),
        cmocka_unit_test(tag_word_tells_kinds),
        cmocka_unit_test(two_units_do_not_disturb_each_other),
        cmocka_unit_test(cleared_flags_stay_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
