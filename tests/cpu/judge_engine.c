/* An engine's side of the native judge: a board with the case's memory, user segments in an LDT,
 * and an interrupt table whose every gate leads to HLT at level 0. */
#include "tests/cpu/judge.h"

#include <stdlib.h>
#include <string.h>

#include "cpu-accel/accel_probe.h"
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/fpu.h"
#include "cpu-accel/x86/mem.h"
#include "tests/cpu/guest.h"

/* Physical memory; tables are seen from SYSTEM on in linear memory. */
enum {
    GDT_AT = 0x1000,
    IDT_AT = 0x1800,
    TSS_AT = 0x2000,
    LDT_AT = 0x2200,
    HANDLERS_AT = 0x3000,
    STACK0_AT = 0x5000, /* top */
    SYSTEM_PAGES = JUDGE_SYSTEM_SIZE / JUDGE_PAGE,
    DIRECTORY_AT = 0x8000,
    USER_TABLE_AT = 0x9000,
    SYSTEM_TABLE_AT = 0xa000,
    DATA_AT = 0x10000, /* the data and stack pages */
    CODE_AT = 0x20000, /* CODE_SETS pairs of code pages, used in turn, as an engine may give up
                          translating a page that is often written */
    CODE_SETS = 256,
    CODE_TURN = 16,       /* cases in one set */
    CODE_LIFE = 150,      /* cases a set sees before the engine is opened anew */
    CASE_LIMIT = 2000000, /* ns of guest time, or instructions */
    STRAY_LIMIT = 4000,
};
#define SYSTEM JUDGE_SYSTEM

/* As Linux has it, as far as user code can tell. */
enum {
    KERNEL_CODE = 0x10,
    KERNEL_DATA = 0x18,
    KERNEL_TSS = 0x40,
    KERNEL_LDT = 0x50,
    GDT_LIMIT = 0x7f,
};

struct JudgeEngine {
    const AccelOps *ops;
    bool counts; /* guest time is instructions; else the host's */
    Guest *guest;
    unsigned set, used, turn;
    SegReg seg[SEGMENT_COUNT];
};

static const uint32_t user_page = 7, system_page = 3, user_read_only = 5;

static uint32_t page_physical(unsigned set, unsigned i)
{
    return i < JUDGE_CODE_PAGES ? CODE_AT + (set * JUDGE_CODE_PAGES + i) * JUDGE_PAGE
                                : DATA_AT + i * JUDGE_PAGE;
}

static void put64(Guest *g, uint32_t at, uint64_t value)
{
    guest_put(g, at, &value, sizeof(value));
}

static void map_code(JudgeEngine *e)
{
    for (unsigned i = 0; i < JUDGE_CODE_PAGES; i++) {
        uint32_t linear = judge_page_at(i);
        guest_write32(e->guest, USER_TABLE_AT + (linear >> 12 & 0x3ff) * 4,
                      page_physical(e->set, i) | user_page);
        mem_flush_page(e->guest->cpu, linear);
    }
}

static void make_tables(JudgeEngine *e)
{
    static const uint64_t gdt[] = {
        [1] = 0x00cf9b000000ffff, [2] = 0x00cf9b000000ffff, [3] = 0x00cf93000000ffff,
        [4] = 0x00cffb000000ffff, [5] = 0x00cff3000000ffff,
    };
    Guest *g = e->guest;

    guest_put(g, GDT_AT, gdt, sizeof(gdt));
    put64(g, GDT_AT + KERNEL_TSS,
          0x00008b0000000067 | (uint64_t)((SYSTEM + TSS_AT) & 0xffffff) << 16 |
              (uint64_t)(SYSTEM >> 24) << 56);
    guest_write32(g, TSS_AT + 4, SYSTEM + STACK0_AT);
    guest_write32(g, TSS_AT + 8, KERNEL_DATA);
    guest_write32(g, TSS_AT + 0x64, 0x680000);
    for (unsigned i = 0; i < SEGMENT_COUNT; i++) {
        e->seg[i] = judge_segment_reg(i);
        put64(g, LDT_AT + 8 * i, judge_segment_descriptor(i));
    }
    for (unsigned i = 0; i < 256; i++) {
        uint32_t handler = SYSTEM + HANDLERS_AT + 2 * i;
        unsigned dpl = i == VEC_BP || i == VEC_OF ? 3 : 0;
        put64(g, IDT_AT + 8 * i,
              (handler & 0xffff) | KERNEL_CODE << 16 | (UINT64_C(0x8e00) | dpl << 13) << 32 |
                  (uint64_t)(handler >> 16) << 48);
        guest_put(g, HANDLERS_AT + 2 * i, "\xf4\xf4", 2);
    }
    guest_write32(g, DIRECTORY_AT + (JUDGE_CODE >> 22) * 4, USER_TABLE_AT | user_page);
    guest_write32(g, DIRECTORY_AT + (SYSTEM >> 22) * 4, SYSTEM_TABLE_AT | system_page);
    for (unsigned i = 0; i < SYSTEM_PAGES; i++) {
        guest_write32(g, SYSTEM_TABLE_AT + ((SYSTEM >> 12 & 0x3ff) + i) * 4,
                      i * JUDGE_PAGE | system_page);
    }
    for (unsigned i = JUDGE_CODE_PAGES; i < JUDGE_PAGES; i++) {
        uint32_t linear = judge_page_at(i);
        bool fixed = linear == JUDGE_DATA + 2 * JUDGE_PAGE;
        guest_write32(g, USER_TABLE_AT + (linear >> 12 & 0x3ff) * 4,
                      page_physical(0, i) | (fixed ? user_read_only : user_page));
    }
}

static void set_registers(JudgeEngine *e)
{
    Cpu *cpu = e->guest->cpu;

    guest_flat(e->guest);
    make_tables(e);
    cpu->gdtr = (TableReg){SYSTEM + GDT_AT, GDT_LIMIT};
    cpu->idtr = (TableReg){SYSTEM + IDT_AT, 0x7ff};
    cpu->seg[TR] = (SegReg){KERNEL_TSS, 0x8b, SYSTEM + TSS_AT, 0x67};
    cpu->seg[LDTR] = (SegReg){KERNEL_LDT, 0x82, SYSTEM + LDT_AT, SEGMENT_COUNT * 8 - 1};
    cpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_PSE | CR4_DE;
    cpu->cr3 = DIRECTORY_AT;
    cpu->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_AM | CR0_NE | CR0_ET | CR0_MP;
    mem_flush(cpu, true);
    e->guest->accel.ops->push(&e->guest->accel);
}

static void engine_open(JudgeEngine *e)
{
    e->guest =
        e->counts ? guest_new(CPU_PENTIUM4, e->ops) : guest_new_in_host_time(CPU_PENTIUM4, e->ops);
    e->set = e->used = e->turn = 0;
    set_registers(e);
    map_code(e);
}

JudgeEngine *judge_engine_new(const AccelOps *ops, const char **why)
{
    static AccelTable table;
    if (ops == &accel_kvm) {
        accel_probe(true, &table);
        if (strcmp(table.choice, ops->name) != 0) {
            *why = table.why;
            return NULL;
        }
    }
    JudgeEngine *e = calloc(1, sizeof(*e));
    e->ops = ops;
    e->counts = ops != &accel_kvm;
    engine_open(e);
    return e;
}

void judge_engine_free(JudgeEngine *e)
{
    guest_free(e->guest);
    free(e);
}

const char *judge_engine_name(const JudgeEngine *e)
{
    return e->ops->name;
}

const uint8_t *judge_engine_page(const JudgeEngine *e, unsigned page)
{
    return e->guest->ram + page_physical(e->set, page);
}

static void next_set(JudgeEngine *e)
{
    if (!e->counts || ++e->used < CODE_TURN) {
        return; /* the hardware keeps no code, but it may keep a mapping */
    }
    e->used = 0;
    e->set = (e->set + 1) % CODE_SETS;
    if (e->set == 0 && ++e->turn == CODE_LIFE / CODE_TURN) {
        guest_free(e->guest);
        engine_open(e);
        return;
    }
    map_code(e);
}

static void set_memory(JudgeEngine *e, const JudgeMemory *base, const JudgeCase *c)
{
    static JudgeMemory m;
    Guest *g = e->guest;

    judge_memory_make(&m, base, c);
    for (unsigned i = 0; i < JUDGE_PAGES; i++) {
        uint32_t at = page_physical(e->set, i);
        if (memcmp(g->ram + at, m.page[i], JUDGE_PAGE) != 0) {
            guest_put(g, at, m.page[i], JUDGE_PAGE);
        }
    }
}

static void load(JudgeEngine *e, const JudgeCase *c)
{
    Cpu *cpu = e->guest->cpu;
    const JudgeState *s = &c->before;
    unsigned top = s->fx.status >> FSW_TOP_SHIFT & 7;

    memcpy(cpu->reg, s->reg, sizeof(s->reg));
    cpu->eip = s->eip;
    cpu_set_eflags(cpu, s->eflags);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] =
            s->seg[i] < 4 ? (SegReg){s->seg[i], SEG_UNUSABLE, 0, 0} : e->seg[s->seg[i] >> 3];
    }
    seg_set_code(cpu, &cpu->seg[CS], 3);
    cpu->fpu = (Fpu){
        .control = s->fx.control,
        .status = s->fx.status,
        .valid = s->fx.valid,
        .opcode = s->fx.opcode,
        .ip = s->fx.ip,
        .data = s->fx.data,
        .mxcsr = s->fx.mxcsr,
    };
    for (unsigned i = 0; i < 8; i++) {
        cpu->fpu.st[(top + i) & 7] = s->fx.st[i];
        cpu->fpu.xmm[i] = s->fx.xmm[i];
    }
    cpu->cr2 = 0;
    cpu->dr6 = 0xffff0ff0;
    cpu->pending_dr6 = 0;
    cpu->shadow = 0;
    cpu->activity = CPU_RUNNING;
}

static uint32_t stack0(const Guest *g, unsigned n)
{
    return guest_read32(g, g->cpu->reg[ESP] - SYSTEM + 4 * n);
}

static void store(const JudgeEngine *e, JudgeState *s)
{
    const Cpu *cpu = e->guest->cpu;
    unsigned top = cpu->fpu.status >> FSW_TOP_SHIFT & 7;

    memcpy(s->reg, cpu->reg, sizeof(s->reg));
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        s->seg[i] = cpu->seg[i].selector;
    }
    judge_fx_init(&s->fx);
    s->fx.control = cpu->fpu.control;
    s->fx.status = cpu->fpu.status;
    s->fx.valid = cpu->fpu.valid;
    s->fx.opcode = cpu->fpu.opcode;
    s->fx.ip = cpu->fpu.ip;
    s->fx.data = cpu->fpu.data;
    s->fx.mxcsr = cpu->fpu.mxcsr;
    for (unsigned i = 0; i < 8; i++) {
        s->fx.st[i] = cpu->fpu.st[(top + i) & 7];
        s->fx.xmm[i] = cpu->fpu.xmm[i];
    }
    s->cr2 = cpu->cr2;
    s->vector = (int)((cpu->eip - (SYSTEM + HANDLERS_AT)) / 2);
    bool error =
        s->vector == VEC_DF || (s->vector >= VEC_TS && s->vector <= VEC_PF) || s->vector == VEC_AC;
    unsigned n = 0;
    s->error = error ? stack0(e->guest, n++) : 0;
    s->eip = stack0(e->guest, n++);
    s->seg[CS] = (uint16_t)stack0(e->guest, n++);
    s->eflags = stack0(e->guest, n++);
    s->reg[ESP] = stack0(e->guest, n++);
    s->seg[SS] = (uint16_t)stack0(e->guest, n);
}

/* The instruction at CS:EIP is not one of the case's own, and none that the host runs alike. */
static bool stray(Cpu *cpu, const JudgeCase *c)
{
    uint32_t linear = cpu->seg[CS].base + cpu->eip;
    const CpuMode mode = {cpu->seg[CS].access & SEG_BIG, false, CPU_PENTIUM4};
    uint8_t bytes[INSN_MAX_BYTES];
    unsigned count = 0, more = 0;
    Insn in;

    bool own = c->parts ? linear - c->code_at < c->length : linear == c->code_at;
    if (own || !mem_fetch(cpu, linear, bytes, sizeof(bytes), &count)) {
        return false;
    }
    DecodeResult result = x86_decode(&(CodeView){bytes, count}, &mode, &in);
    if (result == DECODE_SHORT && count < sizeof(bytes) &&
        mem_fetch(cpu, linear + count, bytes + count, (unsigned)sizeof(bytes) - count, &more)) {
        result = x86_decode(&(CodeView){bytes, count + more}, &mode, &in);
    }
    return result == DECODE_INVALID ||
           (result == DECODE_OK && (judge_exempt(&op_rows[in.op]) || judge_refused(&in)));
}

bool judge_engine_strays(JudgeEngine *e, const JudgeMemory *base, const JudgeCase *c)
{
    next_set(e);
    Guest *g = e->guest;
    Accel *a = &g->accel;

    set_memory(e, base, c);
    load(e, c);
    a->ops->push(a);
    for (unsigned n = 0; n < STRAY_LIMIT && g->cpu->cpl == 3; n++) {
        if (stray(g->cpu, c)) {
            return true;
        }
        atomic_store(&g->cpu->attention, false);
        a->ops->run(a, clock_now(&g->board->clock) + 1);
    }
    return false;
}

bool judge_engine_run(JudgeEngine *e, const JudgeMemory *base, const JudgeCase *c,
                      JudgeState *after)
{
    next_set(e);
    Guest *g = e->guest;
    Accel *a = &g->accel;

    set_memory(e, base, c);
    load(e, c);
    a->ops->push(a);
    int64_t until = clock_now(&g->board->clock) + CASE_LIMIT;
    RunExit exit = RUN_DUE;
    while (exit == RUN_DUE && clock_now(&g->board->clock) < until) {
        atomic_store(&g->cpu->attention, false);
        exit = a->ops->run(a, until);
    }
    a->ops->pull(a);
    if (exit != RUN_HALTED || g->cpu->activity != CPU_HALTED || g->cpu->cpl != 0) {
        return false;
    }
    store(e, after);
    return true;
}
