/* Models, CPUID, MSRs, control registers, system management mode, SYSENTER, port I/O, reset, state;
 * and random tables under every transfer. */
#include "tests/cpu/sys_rig.h"

#include "cpu-accel/x86/cpuid.h"

static void models_identify_themselves(void **state)
{
    (void)state;
    static const struct {
        CpuModel model;
        uint32_t signature, max_leaf, has, has_not;
    } cases[] = {
        {CPU_486, 0x480, 1, CPUID_FPU, CPUID_TSC | CPUID_PSE},
        {CPU_PENTIUM, 0x52c, 1, CPUID_TSC | CPUID_PSE | CPUID_CX8, CPUID_MMX | CPUID_PAE},
        {CPU_PENTIUM_MMX, 0x543, 1, CPUID_MMX, CPUID_CMOV | CPUID_SEP},
        {CPU_PENTIUM2, 0x652, 2, CPUID_CMOV | CPUID_SEP | CPUID_PAE, CPUID_SSE | 1 << 18},
        {CPU_PENTIUM3, 0x673, 2, CPUID_SSE | CPUID_FXSR, CPUID_SSE2 | 1 << 18},
        {CPU_PENTIUM4, 0xf24, 2, CPUID_SSE2 | CPUID_CLFSH, 0},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Sys s;
        uint32_t out[4], high[4];
        sys_open(&s, cases[i].model);
        assert_int_equal(s.cpu->reg[EDX], cases[i].signature);
        cpuid(s.cpu, 0, out);
        assert_int_equal(out[0], cases[i].max_leaf); /* NT 4 takes no more than 2 */
        cpuid(s.cpu, 1, out);
        assert_int_equal(out[0], cases[i].signature);
        assert_int_equal(out[3] & cases[i].has, cases[i].has);
        assert_int_equal(out[3] & cases[i].has_not, 0);
        cpuid(s.cpu, cases[i].max_leaf, out);
        cpuid(s.cpu, 0x7777, high);
        assert_memory_equal(out, high, sizeof(out));
        cpuid(s.cpu, 0x80000000u, high);
        if (cases[i].model == CPU_PENTIUM4) {
            assert_int_equal(high[0], 0x80000004u);
            cpuid(s.cpu, 0x80000004u, high);
            assert_int_equal(high[3] >> 24, 0);
        } else {
            assert_memory_equal(out, high, sizeof(out)); /* no brand string */
        }
        CpuModel found;
        assert_true(cpu_model_find(cpu_model_name(cases[i].model), &found));
        assert_int_equal(found, cases[i].model);
        sys_close(&s);
    }
}

static void reset_and_init_values(void **state)
{
    (void)state;
    Sys s;
    sys_open(&s, CPU_PENTIUM3);
    sys_protected(&s);
    s.cpu->fpu.control = 0x37f;
    s.cpu->pat = 6;
    s.cpu->dr7 = 0x4ff;
    cr_write(s.cpu, 0, CR0_PE | CR0_CD);
    cpu_init_pin(s.cpu, 0, true);
    assert_true(int_poll(s.cpu));
    assert_int_equal(s.cpu->cr0, CR0_CD | CR0_ET); /* CD and NW stay */
    assert_int_equal(s.cpu->seg[CS].base, 0xffff0000u);
    assert_int_equal(s.cpu->seg[CS].selector, 0xf000);
    assert_int_equal(s.cpu->eip, 0xfff0);
    assert_int_equal(cpu_eflags(s.cpu), FL_ONE);
    assert_int_equal(s.cpu->dr7, 0x400);
    assert_int_equal(s.cpu->fpu.control, 0x37f); /* INIT leaves the FPU and MSRs */
    assert_int_equal(s.cpu->pat, 6);
    board_reset(s.b, RESET_HARD);
    assert_int_equal(s.cpu->cr0, 0x60000010);
    assert_int_equal(s.cpu->fpu.control, 0x40);
    assert_int_equal(s.cpu->pat, 0x0007040600070406ull);
    assert_int_equal(s.apic_base, 0xfee00900);
    sys_close(&s);
}

static void control_registers_check_values(void **state)
{
    (void)state;
    Sys s;
    sys_open(&s, CPU_PENTIUM);
    assert_faults(&s, cr_write(s.cpu, 0, CR0_PG), VEC_GP, 0);
    assert_faults(&s, cr_write(s.cpu, 0, CR0_NW), VEC_GP, 0);
    assert_faults(&s, cr_write(s.cpu, 4, CR4_PAE), VEC_GP, 0);
    assert_int_equal(cr_write(s.cpu, 4, CR4_PSE | CR4_VME), X_STOP);
    assert_int_equal(cr_write(s.cpu, 1, 0), X_FAULT);
    assert_int_equal(s.cpu->fault.vector, VEC_UD);
    Insn in = sys_insn(4);
    s.cpu->reg[EAX] = 0xffff;
    assert_int_equal(ex_lmsw(s.cpu, &in), X_STOP);
    assert_int_equal(s.cpu->cr0 & 0xffff, CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET);
    s.cpu->reg[EAX] = 0;
    assert_int_equal(ex_lmsw(s.cpu, &in), X_STOP);
    assert_int_equal(s.cpu->cr0 & CR0_PE, CR0_PE); /* LMSW does not leave protected mode */
    sys_close(&s);
    sys_open(&s, CPU_386);
    assert_int_equal(cr_write(s.cpu, 4, 0), X_FAULT);
    assert_int_equal(s.cpu->fault.vector, VEC_UD);
    sys_close(&s);
}

static void msrs_of_each_model(void **state)
{
    (void)state;
    Sys s;
    uint64_t value = 1;
    sys_open(&s, CPU_PENTIUM3);
    assert_int_equal(msr_read(s.cpu, 0xfe, &value), X_NEXT);
    assert_int_equal(value, 0x508);
    assert_int_equal(msr_write(s.cpu, 0x200, 0x80000006), X_NEXT);
    assert_int_equal(msr_write(s.cpu, 0x201, 0xf80000800ull), X_NEXT);
    assert_int_equal(msr_write(s.cpu, 0x26f, 0x0606060606060606ull), X_NEXT);
    assert_int_equal(msr_read(s.cpu, 0x201, &value), X_NEXT);
    assert_true(value == 0xf80000800ull);
    assert_int_equal(msr_read(s.cpu, 0x26f, &value), X_NEXT);
    assert_true(value == 0x0606060606060606ull);
    assert_faults(&s, msr_write(s.cpu, 0x26f, 2), VEC_GP, 0); /* no such memory type */
    assert_faults(&s, msr_write(s.cpu, 0x277, 0x0300), VEC_GP, 0);
    assert_faults(&s, msr_write(s.cpu, 0x201, UINT64_C(1) << 40), VEC_GP, 0);
    assert_faults(&s, msr_read(s.cpu, 0xc0000080, &value), VEC_GP, 0);
    assert_faults(&s, msr_write(s.cpu, 0x12345, 0), VEC_GP, 0);
    assert_int_equal(msr_write(s.cpu, 0x1b, 0xfec00800), X_STOP);
    assert_int_equal(s.apic_base, 0xfec00900);
    assert_int_equal(msr_write(s.cpu, 0x1b, 0xfee00000), X_STOP);
    uint32_t out[4];
    cpuid(s.cpu, 1, out);
    assert_int_equal(out[3] & CPUID_APIC, 0); /* switched off */
    assert_int_equal(msr_write(s.cpu, 0x10, 1000), X_NEXT);
    clock_step(&s.b->clock, CLOCK_NS_PER_S);
    assert_int_equal(tsc_read(s.cpu), 1000 + (uint64_t)s.cpu->tsc_hz);
    sys_close(&s);
    sys_open(&s, CPU_PENTIUM);
    assert_faults(&s, msr_read(s.cpu, 0x1b, &value), VEC_GP, 0);
    assert_faults(&s, msr_read(s.cpu, 0xfe, &value), VEC_GP, 0);
    assert_int_equal(msr_read(s.cpu, 0x10, &value), X_NEXT);
    assert_int_equal(msr_read(s.cpu, 0x11, &value), X_NEXT);
    sys_close(&s);
}

static void counters_are_guarded(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(4);
    sys_open(&s, CPU_PENTIUM3);
    sys_protected(&s);
    sys_user(&s);
    assert_int_equal(ex_rdtsc(s.cpu, &in), X_NEXT);
    assert_faults(&s, ex_rdpmc(s.cpu, &in), VEC_GP, 0);
    s.cpu->cr4 |= CR4_TSD | CR4_PCE;
    assert_faults(&s, ex_rdtsc(s.cpu, &in), VEC_GP, 0);
    s.cpu->reg[ECX] = 1;
    assert_int_equal(ex_rdpmc(s.cpu, &in), X_NEXT);
    s.cpu->reg[ECX] = 2;
    assert_faults(&s, ex_rdpmc(s.cpu, &in), VEC_GP, 0);
    assert_faults(&s, ex_rdmsr(s.cpu, &in), VEC_GP, 0);
    sys_close(&s);
}

/* TR3 to TR7: the 386 and 486 test their TLB and cache by them; here they take what comes and hold
 * nothing. */
static void test_registers_of_386_and_486(void **state)
{
    static const uint8_t read[] = {0x0f, 0x24, 0xf0}, write[] = {0x0f, 0x26, 0xf0};
    (void)state;
    Sys s;
    Insn in = sys_insn(4);
    sys_open(&s, CPU_486);
    s.cpu->reg[EAX] = 0x12345678;
    assert_int_equal(ex_mov_td_rd(s.cpu, &in), X_NEXT);
    assert_int_equal(ex_mov_rd_td(s.cpu, &in), X_NEXT);
    assert_int_equal(s.cpu->reg[EAX], 0);
    sys_protected(&s);
    sys_paging(&s);
    sys_user(&s);
    assert_faults(&s, ex_mov_td_rd(s.cpu, &in), VEC_GP, 0);
    assert_faults(&s, ex_mov_rd_td(s.cpu, &in), VEC_GP, 0);
    sys_close(&s);
    for (CpuModel model = CPU_386; model < CPU_MODEL_COUNT; model++) {
        const CpuMode mode = {true, false, model};
        DecodeResult wanted = model <= CPU_486 ? DECODE_OK : DECODE_INVALID;
        assert_int_equal(x86_decode(&(CodeView){read, 3}, &mode, &in), wanted);
        assert_int_equal(x86_decode(&(CodeView){write, 3}, &mode, &in), wanted);
    }
}

static void sysenter_and_sysexit(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(4);
    sys_open(&s, CPU_PENTIUM3);
    sys_protected(&s);
    sys_user(&s);
    assert_faults(&s, ex_sysenter(s.cpu, &in), VEC_GP, 0);
    s.cpu->sysenter_cs = 0x60;
    s.cpu->sysenter_esp = 0x7000;
    s.cpu->sysenter_eip = 0x23456;
    assert_faults(&s, ex_sysexit(s.cpu, &in), VEC_GP, 0);
    s.cpu->eflags |= FL_IF;
    assert_int_equal(ex_sysenter(s.cpu, &in), X_STOP);
    assert_int_equal(s.cpu->cpl, 0);
    assert_int_equal(s.cpu->eip, 0x23456);
    assert_int_equal(s.cpu->reg[ESP], 0x7000);
    assert_int_equal(s.cpu->seg[CS].selector, 0x60);
    assert_int_equal(s.cpu->seg[SS].selector, 0x68);
    assert_int_equal(s.cpu->seg[CS].limit, 0xffffffffu);
    assert_int_equal(s.cpu->eflags & FL_IF, 0);
    s.cpu->reg[ECX] = 0x9000;
    s.cpu->reg[EDX] = 0x34567;
    assert_int_equal(ex_sysexit(s.cpu, &in), X_STOP);
    assert_int_equal(s.cpu->cpl, 3);
    assert_int_equal(s.cpu->seg[CS].selector, 0x73);
    assert_int_equal(s.cpu->seg[SS].selector, 0x7b);
    assert_int_equal(s.cpu->eip, 0x34567);
    assert_int_equal(s.cpu->reg[ESP], 0x9000);
    sys_close(&s);
}

static void assert_same_segments(const Cpu *a, const Cpu *b)
{
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(a->seg[i].selector, b->seg[i].selector);
        assert_int_equal(a->seg[i].access, b->seg[i].access);
        assert_int_equal(a->seg[i].base, b->seg[i].base);
        assert_int_equal(a->seg[i].limit, b->seg[i].limit);
    }
}

static void smm_saves_relocates_and_resumes(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(4);
    sys_open(&s, CPU_PENTIUM3);
    sys_protected(&s);
    sys_paging(&s);
    sys_user(&s);
    s.cpu->activity = CPU_HALTED;
    s.cpu->reg[ESI] = 0x51515151;
    Cpu before = *s.cpu;
    assert_int_equal(smm_leave(s.cpu), X_FAULT); /* RSM outside: #UD */
    assert_int_equal(s.cpu->fault.vector, VEC_UD);
    cpu_smi(s.cpu, 0, true);
    assert_true(int_poll(s.cpu));
    assert_true(s.smiact && s.cpu->smm);
    assert_int_equal(s.cpu->eip, 0x8000);
    assert_int_equal(s.cpu->seg[CS].base, 0x30000);
    assert_int_equal(s.cpu->seg[CS].selector, 0x3000);
    assert_int_equal(s.cpu->cr0 & (CR0_PE | CR0_PG), 0);
    assert_int_equal(s.cpu->cpl, 0);
    assert_int_equal(sys_dword(&s, 0x3ffe8), 0x51515151);
    assert_int_equal(sys_dword(&s, 0x3fef8), 0x30000);
    assert_int_equal(sys_dword(&s, 0x3fefc) & 0x2ffff, 0x20000); /* as SeaBIOS checks it */
    assert_int_equal(sys_word(&s, 0x3ff02), 1);
    assert_int_equal(sys_word(&s, 0x3ffac), SYS_CODE3);
    cpu_nmi(s.cpu, 0, true);
    cpu_smi(s.cpu, 0, false);
    cpu_smi(s.cpu, 0, true);
    assert_false(int_poll(s.cpu)); /* NMI and SMI wait */
    sys_set_dword(&s, 0x3fef8, 0xa0000);
    /* the area is opaque: a handler may keep a copy and put it back */
    memmove(s.ram + 0x50000, s.ram + 0x3fe00, 0x200);
    memset(s.ram + 0x3fe00, 0, 0x200);
    memmove(s.ram + 0x3fe00, s.ram + 0x50000, 0x200);
    assert_int_equal(ex_rsm(s.cpu, &in), X_STOP);
    assert_false(s.smiact || s.cpu->smm);
    assert_int_equal(s.cpu->smbase, 0xa0000);
    assert_int_equal(s.cpu->activity, CPU_HALTED);
    assert_memory_equal(before.reg, s.cpu->reg, sizeof(before.reg));
    assert_same_segments(&before, s.cpu);
    assert_int_equal(s.cpu->cr0, before.cr0);
    assert_int_equal(s.cpu->cr3, before.cr3);
    assert_int_equal(s.cpu->cpl, 3);
    assert_int_equal(s.cpu->eip, before.eip);
    assert_int_equal(cpu_eflags(s.cpu), cpu_eflags(&before));
    assert_true(int_poll(s.cpu)); /* the second SMI */
    assert_int_equal(s.cpu->seg[CS].base, 0xa0000);
    sys_close(&s);
}

static void smm_with_a_spoilt_area_shuts_down(void **state)
{
    (void)state;
    Sys s;
    sys_open(&s, CPU_PENTIUM3);
    cpu_smi(s.cpu, 0, true);
    assert_true(int_poll(s.cpu));
    sys_set_dword(&s, 0x3fffc, CR0_PG);
    assert_int_equal(smm_leave(s.cpu), X_STOP);
    assert_int_equal(s.cpu->activity, CPU_SHUTDOWN);
    assert_int_equal(s.shutdowns, 1);
    sys_close(&s);
}

typedef struct Ports {
    uint32_t next;
    uint32_t last;
    unsigned reads, writes;
} Ports;

static uint64_t port_read(void *self, uint32_t offset, unsigned bytes)
{
    Ports *p = self;
    (void)bytes;
    (void)offset;
    p->reads++;
    return p->next++;
}

static void port_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Ports *p = self;
    (void)bytes;
    p->writes++;
    p->last = (uint32_t)value | offset << 24;
}

static void port_instructions(void **state)
{
    (void)state;
    static const IoOps ops = {port_read, port_write, 1, 2};
    Ports ports = {.next = 0x41};
    Sys s;
    Insn in = sys_insn(2);
    sys_open(&s, CPU_PENTIUM3);
    bus_claim(s.b->ports, 0x300, 8, &ops, &ports, "ports");
    sys_protected(&s);
    s.cpu->reg[EDX] = 0x300;
    s.cpu->reg[EAX] = 0xaaaaaaaa;
    assert_int_equal(ex_in_al_dx(s.cpu, &in), X_NEXT);
    assert_int_equal(s.cpu->reg[EAX], 0xaaaaaa41);
    assert_int_equal(ex_in_eax_dx(s.cpu, &in), X_NEXT);
    assert_int_equal(s.cpu->reg[EAX], 0xaaaa0042);
    assert_int_equal(ex_out_dx_al(s.cpu, &in), X_STOP);
    assert_int_equal(ports.last, 0x42);
    /* REP INSW, across a page that is missing: the device must not be read for it */
    sys_paging(&s);
    sys_set_pte(&s, SYS_DATA + 0x1000, 0);
    in.prefix = PREFIX_REP;
    s.cpu->reg[EDI] = SYS_DATA + 0xffc;
    s.cpu->reg[ECX] = 4;
    ports = (Ports){.next = 0x11};
    assert_faults(&s, ex_insv(s.cpu, &in), VEC_PF, 2);
    assert_int_equal(ports.reads, 2);
    assert_int_equal(s.cpu->reg[ECX], 2);
    assert_int_equal(s.cpu->reg[EDI], SYS_DATA + 0x1000);
    assert_int_equal(sys_dword(&s, SYS_DATA + 0xffc), 0x00120011);
    sys_set_pte(&s, SYS_DATA + 0x1000, (SYS_DATA + 0x1000) | 7);
    assert_int_equal(ex_insv(s.cpu, &in), X_STOP);
    assert_int_equal(s.cpu->reg[ECX], 0);
    /* downwards, and interruptible after each iteration */
    s.cpu->eflags |= FL_DF;
    s.cpu->reg[ESI] = SYS_DATA + 2;
    s.cpu->reg[ECX] = 3;
    cpu_intr(s.cpu, 0, true);
    s.cpu->eflags |= FL_IF;
    assert_int_equal(ex_outsb(s.cpu, &in), X_REPEAT);
    assert_int_equal(s.cpu->reg[ECX], 2);
    assert_int_equal(s.cpu->reg[ESI], SYS_DATA + 1);
    cpu_intr(s.cpu, 0, false);
    assert_int_equal(ex_outsb(s.cpu, &in), X_STOP);
    assert_int_equal(s.cpu->reg[ESI], SYS_DATA - 1);
    s.cpu->reg[ECX] = 0;
    unsigned writes = ports.writes;
    assert_int_equal(ex_outsb(s.cpu, &in), X_STOP);
    assert_int_equal(ports.writes, writes);
    sys_close(&s);
}

static void io_breakpoints_need_debug_extensions(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(2);
    sys_open(&s, CPU_PENTIUM3);
    s.cpu->reg[EDX] = 0x61;
    assert_int_equal(dr_write(s.cpu, 3, 0x60), X_NEXT);
    assert_int_equal(dr_write(s.cpu, 7, 1 << 6 | 2u << 28 | 1u << 30), X_NEXT); /* 60h, 61h */
    assert_int_equal(ex_in_al_dx(s.cpu, &in), X_NEXT);
    assert_int_equal(s.cpu->pending_dr6, 0);
    assert_int_equal(cr_write(s.cpu, 4, CR4_DE), X_STOP);
    assert_int_equal(ex_in_al_dx(s.cpu, &in), X_STOP);
    assert_int_equal(s.cpu->pending_dr6, 8);
    sys_close(&s);
}

static void table_registers(void **state)
{
    (void)state;
    Sys s;
    Insn in = sys_insn(4);
    sys_open(&s, CPU_PENTIUM3);
    sys_protected(&s);
    in.memory = true;
    in.disp = SYS_DATA;
    sys_set_word(&s, SYS_DATA, 0x1ff);
    sys_set_dword(&s, SYS_DATA + 2, 0x12345678);
    assert_int_equal(ex_lidt(s.cpu, &in), X_NEXT);
    assert_int_equal(s.cpu->idtr.base, 0x12345678);
    in.opsize = 2;
    assert_int_equal(ex_lidt(s.cpu, &in), X_NEXT);
    assert_int_equal(s.cpu->idtr.base, 0x345678); /* 24 bits */
    assert_int_equal(s.cpu->idtr.limit, 0x1ff);
    assert_int_equal(ex_sidt(s.cpu, &in), X_NEXT);
    assert_int_equal(sys_dword(&s, SYS_DATA + 2), 0x345678);
    sys_user(&s);
    assert_faults(&s, ex_lidt(s.cpu, &in), VEC_GP, 0);
    assert_int_equal(ex_sgdt(s.cpu, &in), X_NEXT);
    sys_close(&s);
}

static void state_round_trip(void **state)
{
    (void)state;
    Sys s, other;
    sys_open(&s, CPU_PENTIUM3);
    sys_open(&other, CPU_PENTIUM3);
    sys_protected(&s);
    sys_paging(&s);
    sys_user(&s);
    s.cpu->fpu.st[3] = (Float80){0x8000000000000000ull, 0x3fff};
    s.cpu->fpu.xmm[7].q[1] = 77;
    s.cpu->arith = ARITH_OF | ARITH_PF;
    s.cpu->pending_dr6 = DR6_BS;
    s.cpu->nmi_blocked = true;
    s.cpu->mtrr.mask[7] = 0xf00000800ull;
    clock_step(&s.b->clock, 12345678);
    sys_state_copy(&s, &other);
    assert_int_equal(cpu_eflags(other.cpu), cpu_eflags(s.cpu));
    assert_same_segments(other.cpu, s.cpu);
    assert_int_equal(tsc_read(other.cpu), tsc_read(s.cpu));
    sys_close(&other);
    sys_close(&s);
}

static void refuses(Sys *from, const char *why)
{
    Sys other;
    Err err = {""};
    size_t size = 0;
    StateIo *io = state_saver_new();
    board_state(from->b, io);
    const uint8_t *bytes = state_finish(io, &size);
    sys_open(&other, CPU_PENTIUM3);
    StateIo *loader = state_loader_new(bytes, size, &err);
    assert_non_null(loader);
    board_state(other.b, loader);
    if (state_ok(loader)) {
        fail_msg("loaded although %s", why);
    }
    state_free(loader);
    state_free(io);
    sys_close(&other);
}

static void impossible_states_are_refused(void **state)
{
    (void)state;
    Sys s;
    sys_open(&s, CPU_PENTIUM2);
    refuses(&s, "the model differs");
    sys_close(&s);
    sys_open(&s, CPU_PENTIUM3);
    s.cpu->cpl = 4;
    refuses(&s, "CPL is 4");
    s.cpu->cpl = 3;
    refuses(&s, "CPL is 3 in real mode");
    s.cpu->cpl = 0;
    s.cpu->cr0 |= CR0_PG;
    refuses(&s, "paging is on in real mode");
    s.cpu->cr0 &= ~CR0_PG;
    s.cpu->cr4 = 1u << 31;
    refuses(&s, "CR4 has a bit that does not exist");
    s.cpu->cr4 = 0;
    s.cpu->eflags |= FL_VM;
    refuses(&s, "VM is set in real mode");
    sys_close(&s);
}

static uint32_t random_next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*seed >> 32);
}

/* Random bytes as descriptors, gates, TSS, page tables: whatever happens, it ends in one of the
 * outcomes, with a state that could be saved. */
static void random_tables_never_harm(void **state)
{
    (void)state;
    uint64_t seed = 20260101;
    Sys s;
    sys_open(&s, CPU_PENTIUM3);
    for (unsigned round = 0; round < 4000; round++) {
        board_reset(s.b, RESET_POWER);
        sys_protected(&s);
        /* the descriptors of sys_protected stay, or nothing would ever begin */
        for (unsigned i = SYS_FREE; i < 0x400; i += 4) {
            sys_set_dword(&s, SYS_GDT + i, random_next(&seed) & random_next(&seed));
            sys_set_dword(&s, SYS_IDT + i, random_next(&seed) | 0x8000);
            sys_set_dword(&s, SYS_IDT + 0x400 + i, random_next(&seed) | 0x8000);
        }
        for (unsigned i = 0; i < 0x80; i += 4) {
            sys_set_dword(&s, SYS_TSS + i, random_next(&seed) & 0x3fffff);
        }
        if (round & 1) {
            sys_paging(&s);
        }
        if (round & 2) {
            sys_user(&s);
        }
        if (round & 1) {
            for (unsigned i = 0; i < 300; i++) {
                sys_set_pte(&s, random_next(&seed) & 0x3ff000, random_next(&seed) & 0x7fffff);
            }
            mem_flush(s.cpu, true);
        }
        s.cpu->seg[LDTR] = (SegReg){8, 0x82, SYS_GDT + SYS_FREE, 0x3ff};
        for (unsigned step = 0; step < 12; step++) {
            uint16_t selector = (uint16_t)(random_next(&seed) & 0x1ff);
            Outcome outcome = X_NEXT;
            s.cpu->reg[ESP] = random_next(&seed) & (round & 4 ? 0xffffffffu : 0x3ffffcu);
            switch (random_next(&seed) % 8) {
            case 0:
                outcome = far_call(s.cpu, selector, 0x100, 4, s.cpu->eip);
                break;
            case 1:
                outcome = far_jump(s.cpu, selector, 0x100, 2, s.cpu->eip);
                break;
            case 2:
                outcome = far_return(s.cpu, 4, 8);
                break;
            case 3:
                outcome = far_iret(s.cpu, round & 8 ? 2 : 4, s.cpu->eip);
                break;
            case 4:
                outcome = seg_load(s.cpu, (SegIndex)(selector % 6 == CS ? DS : selector % 6),
                                   (uint16_t)random_next(&seed));
                break;
            case 5:
                outcome = int_software(s.cpu, (uint8_t)random_next(&seed), s.cpu->eip);
                break;
            case 6:
                outcome = task_switch(s.cpu, selector, (TaskSource)(random_next(&seed) % 4), true,
                                      1, s.cpu->eip, 0);
                break;
            default:
                outcome = io_check(s.cpu, (uint16_t)random_next(&seed), 4);
                break;
            }
            if (outcome == X_FAULT) {
                int_deliver_fault(s.cpu);
            }
            assert_true(s.cpu->cpl <= 3);
            assert_true(!cpu_v86(s.cpu) || s.cpu->cpl == 3);
            s.cpu->activity = CPU_RUNNING;
        }
    }
    sys_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_identify_themselves),
        cmocka_unit_test(reset_and_init_values),
        cmocka_unit_test(control_registers_check_values),
        cmocka_unit_test(msrs_of_each_model),
        cmocka_unit_test(counters_are_guarded),
        cmocka_unit_test(test_registers_of_386_and_486),
        cmocka_unit_test(sysenter_and_sysexit),
        cmocka_unit_test(smm_saves_relocates_and_resumes),
        cmocka_unit_test(smm_with_a_spoilt_area_shuts_down),
        cmocka_unit_test(port_instructions),
        cmocka_unit_test(io_breakpoints_need_debug_extensions),
        cmocka_unit_test(table_registers),
        cmocka_unit_test(state_round_trip),
        cmocka_unit_test(impossible_states_are_refused),
        cmocka_unit_test(random_tables_never_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
