/* Fuzzing of the translator against the interpreter: random code in random machine state under
 * engine check, which must find no difference.
 *
 * With clang's -fsanitize=fuzzer it is a libFuzzer target; with -DFUZZ_STANDALONE it makes random
 * inputs itself: fuzz_check [seconds [seed]], or runs the files named. An input is INPUT_STATE
 * bytes of choices and registers; the rest is code. Each third instruction of the code is a place
 * to start at, with all memory as the last start left it. Every vector leads to HLT.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/cpuid.h"
#include "cpu-accel/x86/fpu.h"
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/ops.h"
#include "tests/cpu/guest.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_loop.h"

enum {
    INPUT_STATE = 64,
    INPUT_MAX = 512,
    INSTRUCTIONS = 48, /* of one start */
    STARTS = 24,
    TSS = 0x8000,
    DIRECTORY = 0x100000,
    TABLE = 0x101000,
    DATA_SIZE = 0x8000,
    RENEW = 3000, /* inputs until the guest is made anew */
};

/* Input bytes 0 and 1. */
enum {
    CHOICE_KIND = 3, /* 0 flat 32-bit, 1 protected with odd segments, 2 real, 3 V86 */
    CHOICE_CODE16 = 1 << 2,
    CHOICE_STACK16 = 1 << 3,
    CHOICE_USER = 1 << 4,
    CHOICE_PAGING = 1 << 5,
    CHOICE_FPU = 1 << 6,   /* any state of the FPU; else as after FNINIT */
    CHOICE_TRAPS = 1 << 7, /* TF, breakpoints, CR0 and CR4 with anything in them */
    CHOICE_EDGE = 1 << 8,  /* code crosses a page */
    CHOICE_INTR = 1 << 9,  /* an interrupt waits */
    CHOICE_UNREAL = 1 << 10,
};

typedef struct Random {
    uint64_t state;
} Random;

/* The harness is one process with nothing but this state. */
static Guest *guest;
static uint8_t *pristine;
static unsigned runs;

static uint32_t next(Random *r)
{
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return (uint32_t)(r->state >> 16);
}

static bool one_in(Random *r, unsigned n)
{
    return next(r) % n == 0;
}

static void make_memory(Guest *g)
{
    Random r = {0x123456789abcdefu};
    guest_flat(g);
    guest_real(g);
    for (unsigned i = 0; i < 256; i++) {
        guest_put(g, GUEST_HANDLERS + 2 * i, "\xf4\xf4", 2);
    }
    for (uint32_t at = 0; at < DATA_SIZE; at += 4) {
        guest_write32(g, GUEST_DATA + at, next(&r));
    }
    guest_write32(g, TSS + 4, GUEST_STACK);
    guest_write32(g, TSS + 8, 0x10);
    guest_write32(g, TSS + 100, 0x88u << 16); /* the I/O map, with the interrupts' before it */
    memcpy(pristine, g->ram, GUEST_RAM);
}

static void restore_memory(Guest *g)
{
    for (uint32_t at = 0; at < GUEST_RAM; at += RAM_PAGE) {
        if (memcmp(g->ram + at, pristine + at, RAM_PAGE) != 0) {
            guest_put(g, at, pristine + at, RAM_PAGE);
        }
    }
}

/* Low memory as it is, pages above in any order and with any rights; the tables show themselves
 * nowhere. */
static void make_tables(Guest *g, Random *r)
{
    for (unsigned i = 0; i < 1024; i++) {
        uint32_t page = i < 64 || one_in(r, 2) ? i : next(r) % 64;
        uint32_t rights = i < 16 || (i < 64 && !one_in(r, 8)) ? 7 : next(r) & 0x167;
        if (page << 12 >= DIRECTORY) {
            page = next(r) % 256;
        }
        guest_write32(g, TABLE + 4 * i, page << 12 | rights);
    }
    guest_write32(g, DIRECTORY, TABLE | 7);
    guest_write32(g, DIRECTORY + 4092, TABLE | 7);
}

static void set_segment(SegReg *s, Random *r, unsigned dpl, bool code)
{
    uint32_t limits[] = {UINT32_MAX, UINT32_MAX, 0xffff,
                         0x3fffff,   0x27fff,    GUEST_DATA + next(r) % 64};
    *s = (SegReg){0x10 | dpl, 0xc093 | dpl << 5, 0, limits[next(r) % 6]};
    if (one_in(r, 3)) {
        s->base = one_in(r, 2) ? next(r) : (next(r) % DATA_SIZE) & ~15u;
    }
    if (one_in(r, 8)) {
        s->access = (0x91 | (next(r) & 0xe) | dpl << 5) | (next(r) & 0xc000);
    }
    if (one_in(r, 16)) {
        *s = (SegReg){0, SEG_UNUSABLE, 0, 0};
    }
    if (code) {
        s->access = 0x9b | dpl << 5 | 0x8000;
    }
}

static void set_segments(Cpu *cpu, unsigned choice, Random *r, uint32_t code)
{
    unsigned kind = choice & CHOICE_KIND, dpl = kind == 3 ? 3 : cpu->cpl;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        SegReg *s = &cpu->seg[i];
        if (kind == 0) {
            *s = (SegReg){0x10 | dpl, 0xc093 | dpl << 5, 0, UINT32_MAX};
        } else if (kind == 1) {
            set_segment(s, r, dpl, false);
        } else {
            uint16_t selector = (uint16_t)(one_in(r, 3) ? 0 : next(r) % 0x3000);
            *s = (SegReg){selector, 0x93 | dpl << 5, selector * 16u, 0xffff};
            if (kind == 2 && choice & CHOICE_UNREAL && one_in(r, 2)) {
                s->limit = UINT32_MAX;
            }
        }
    }
    SegReg *cs = &cpu->seg[CS], *ss = &cpu->seg[SS];
    if (kind >= 2) {
        cs->selector = (uint16_t)(code >> 4);
        cs->base = code & ~15u;
    } else {
        *cs = (SegReg){0x08 | dpl, 0x809b | dpl << 5, 0, UINT32_MAX};
        cs->access |= choice & CHOICE_CODE16 ? 0 : SEG_BIG;
        if (kind == 1 && one_in(r, 2)) {
            cs->base = code - next(r) % 0x100;
            cs->limit = one_in(r, 2) ? 0xffff : 0x100 + next(r) % 0x200;
        } else if (choice & CHOICE_CODE16) {
            cs->base = code & ~15u;
        }
        ss->access = (0x8093u | dpl << 5) | (choice & CHOICE_STACK16 ? 0 : SEG_BIG);
        if (ss->limit < GUEST_STACK) {
            ss->limit = 0xffff;
        }
        ss->selector = (uint16_t)(0x10 | dpl);
    }
    cpu->eip = code - cs->base;
    cpu->seg[LDTR] = (SegReg){0, 0x82, 0, 0};
    cpu->seg[TR] = (SegReg){0x28, 0x8b, TSS, 0x20ff};
}

static void set_fpu(Cpu *cpu, unsigned choice, Random *r)
{
    Fpu *f = &cpu->fpu;
    static const uint16_t exponents[] = {0,      1,      0x3fff, 0x4000, 0x403e,
                                         0x7ffe, 0x7fff, 0xbfff, 0xffff};
    fpu_init(f);
    f->mxcsr = 0x1f80;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t mantissa = (uint64_t)next(r) << 32 | next(r);
        uint16_t exponent = one_in(r, 3) ? (uint16_t)next(r) : exponents[next(r) % 9];
        if (!one_in(r, 8)) { /* mostly what arithmetic makes */
            mantissa = exponent & 0x7fff ? mantissa | UINT64_C(1) << 63
                                         : (one_in(r, 2) ? 0 : mantissa >> 1);
        }
        f->st[i] = (Float80){mantissa, exponent};
        f->xmm[i] = (Xmm){{(uint64_t)next(r) << 32 | next(r), (uint64_t)next(r) << 32 | next(r)}};
        if (one_in(r, 2)) {
            static const uint32_t singles[] = {0x3f800000, 0xbf800000, 0x7f800000,
                                               0x7fc00000, 1,          0};
            f->xmm[i].q[0] = singles[next(r) % 6] | (uint64_t)singles[next(r) % 6] << 32;
        }
    }
    f->valid = one_in(r, 2) ? (uint8_t)next(r) : 0x3f;
    f->status = (uint16_t)((next(r) & FSW_TOP) | (next(r) & FSW_CONDITION));
    if (choice & CHOICE_FPU) {
        f->control =
            (uint16_t)((next(r) & FCW_WRITABLE) | FCW_ONE | (one_in(r, 2) ? FCW_MASKS : 0));
        f->status |= next(r) & (FSW_FLAGS | FSW_SF);
        f->mxcsr = next(r) & fpu_mxcsr_mask(cpu->model) & (one_in(r, 2) ? 0xffff : ~MXCSR_FLAGS);
        f->mxcsr |= one_in(r, 2) ? MXCSR_MASKS : 0;
        f->opcode = next(r) & 0x7ff;
        f->ip = next(r);
        f->data = next(r);
    }
    if (f->status & ~f->control & FSW_FLAGS) {
        f->status |= FSW_ES | FSW_B;
    }
}

static uint32_t some_address(Random *r)
{
    switch (next(r) % 8) {
    case 0:
        return next(r);
    case 1:
        return 0u - next(r) % 64;
    case 2:
        return next(r) % 256;
    case 3:
        return 0x10000 - next(r) % 16;
    case 4:
        return GUEST_DATA + 0x1000 * (next(r) % 8) - next(r) % 16;
    default:
        return GUEST_DATA + next(r) % DATA_SIZE;
    }
}

static void set_state(Guest *g, unsigned choice, Random *r, uint32_t code)
{
    Cpu *cpu = g->cpu;
    bool protected = (choice & CHOICE_KIND) != 2;
    cpu->smm = cpu->nmi_blocked = false;
    cpu->pending_dr6 = cpu->cr2 = cpu->dr7 = 0;
    cpu->shadow = 0;
    cpu->activity = CPU_RUNNING;
    cpu->intr = false;
    cpu->gdtr = (TableReg){GUEST_GDT, 64 * 8 - 1};
    cpu->idtr = protected ? (TableReg){GUEST_IDT, 256 * 8 - 1} : (TableReg){0, 0x3ff};
    cpu->cr0 = CR0_ET | CR0_NE | (protected ? CR0_PE : 0u);
    cpu->cr3 = DIRECTORY | (~cpu->cr3 & 8); /* another one: no TLB keeps anything */
    cpu->cr4 = (CR4_OSFXSR | CR4_OSXMMEXCPT) & cpu_cr4_mask(cpu->model);
    if (choice & CHOICE_PAGING && protected) {
        cpu->cr0 |= CR0_PG | (one_in(r, 2) ? CR0_WP : 0u);
    }
    for (unsigned i = 0; i < 8; i++) {
        cpu->reg[i] = some_address(r);
    }
    cpu->reg[ECX] = one_in(r, 4) ? next(r) : next(r) % 64;
    cpu->reg[ESP] = one_in(r, 4) ? some_address(r) : GUEST_STACK - 4 * (next(r) % 64);
    uint32_t flags = next(r) & (FL_ARITH | FL_DF | FL_IOPL | FL_IF);
    if ((choice & CHOICE_KIND) == 3) {
        flags |= FL_VM;
    }
    if (choice & CHOICE_TRAPS) {
        flags |= next(r) & (FL_TF | FL_NT | FL_AC | FL_RF | FL_ID);
        cpu->cr0 ^= next(r) & next(r) & (CR0_TS | CR0_EM | CR0_MP | CR0_NE | CR0_AM);
        cpu->cr4 ^= next(r) & next(r) & cpu_cr4_mask(cpu->model) &
                    (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT);
        for (unsigned i = 0; i < 4; i++) {
            cpu->dr[i] = some_address(r);
        }
        cpu->dr7 = 0x400 | (one_in(r, 4) ? next(r) & 0xffff03ff : 0);
    }
    cpu->cpl = protected && (flags & FL_VM || choice & CHOICE_USER) ? 3 : 0;
    set_segments(cpu, choice, r, code);
    cpu_set_eflags(cpu, flags);
    set_fpu(cpu, choice, r);
    fpu_drive_ferr(cpu);
    cpu->ignne = false;
    mem_flush(cpu, true);
    if (choice & CHOICE_INTR) {
        g->vector = (uint8_t)next(r);
        cpu_intr(cpu, 0, true);
    }
}

static bool agree(Guest *g)
{
    int64_t until = clock_now(&g->board->clock) + INSTRUCTIONS;
    while (clock_now(&g->board->clock) < until) {
        atomic_store(&g->cpu->attention, false);
        RunExit exit = g->accel.ops->run(&g->accel, until);
        if (exit == RUN_FAILED) {
            return false;
        }
        if (exit == RUN_HALTED) {
            break;
        }
    }
    return true;
}

static void renew(void)
{
    static const CpuModel models[] = {CPU_PENTIUM4, CPU_PENTIUM3, CPU_PENTIUM_MMX, CPU_386};
    if (!pristine) {
        pristine = malloc(GUEST_RAM);
    }
    if (guest && runs % RENEW) {
        return;
    }
    if (guest) {
        guest_free(guest);
    }
    guest = guest_new(models[(runs / RENEW) % 4], &accel_check);
    make_memory(guest);
}

/* Offsets of the instructions in the code, as they stand there. */
static unsigned places(const uint8_t *code, size_t size, const CpuMode *mode, uint16_t *place)
{
    unsigned count = 0;
    for (size_t at = 0; at < size && count < STARTS * 3;) {
        Insn in;
        place[count++] = (uint16_t)at;
        DecodeResult result = x86_decode(
            &(CodeView){code + at, (unsigned)(size - at < 15 ? size - at : 15)}, mode, &in);
        at += result == DECODE_OK && in.length ? in.length : 1;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint16_t place[STARTS * 3];
    Random r;
    if (size <= INPUT_STATE || size > INPUT_MAX) {
        return 0;
    }
    renew();
    runs++;
    unsigned choice = data[0] | data[1] << 8;
    memcpy(&r.state, data + 2, 8);
    r.state |= 1;
    for (unsigned i = 0; i < INPUT_STATE - 10; i++) { /* all of it counts */
        r.state = r.state * 6364136223846793005u + data[10 + i];
    }
    r.state |= 1;
    const uint8_t *code = data + INPUT_STATE;
    uint32_t at =
        GUEST_CODE + (choice & CHOICE_EDGE ? RAM_PAGE - 16 - next(&r) % 64 : next(&r) % 64 & ~15u);
    bool real = (choice & CHOICE_KIND) >= 2;
    const CpuMode mode = {!real && !(choice & CHOICE_CODE16), real, guest->cpu->model};
    restore_memory(guest);
    make_tables(guest, &r);
    guest_put(guest, at, code, size - INPUT_STATE);
    unsigned count = places(code, size - INPUT_STATE, &mode, place);
    for (unsigned i = 0; i < count; i += 3) {
        set_state(guest, choice, &r, at + place[i]);
        if (!agree(guest)) {
            abort(); /* the harness's verdict; the report is on standard error */
        }
    }
    return 0;
}

#ifdef FUZZ_STANDALONE

/* Instructions that would only leave: halts, far transfers, privileged ones. One in ten is kept. */
static bool dull(const OpRow *row, Random *r)
{
    return row->traits & (T_END | T_PRIV | T_STOP) && !one_in(r, 6);
}

static size_t make_insn(Random *r, uint8_t *data, size_t n)
{
    const OpRow *row;
    do {
        row = &op_rows[next(r) % OP_COUNT];
    } while (dull(row, r));
    if (one_in(r, 6)) {
        static const uint8_t prefixes[] = {0x66, 0x67, 0x26, 0x2e, 0x36, 0x3e,
                                           0x64, 0x65, 0xf2, 0xf3, 0xf0};
        data[n++] = prefixes[next(r) % sizeof(prefixes)];
    }
    if (row->traits & T_STR && one_in(r, 2)) {
        data[n++] = one_in(r, 2) ? 0xf2 : 0xf3;
    }
    if (row->prefix >= MANDATORY_66) {
        data[n++] = row->prefix == MANDATORY_66 ? 0x66 : row->prefix == MANDATORY_F3 ? 0xf3 : 0xf2;
    }
    if (row->map == MAP_0F) {
        data[n++] = 0x0f;
    }
    data[n++] = (uint8_t)(row->opcode + next(r) % row->count);
    if (row->form != FORM_NONE) {
        uint8_t modrm = (uint8_t)next(r);
        if (row->digit >= 0 && row->digit < 8) {
            modrm = (uint8_t)((modrm & 0xc7) | row->digit << 3);
        }
        if (row->form == FORM_REG) {
            modrm |= 0xc0;
        }
        data[n++] = modrm;
    }
    uint32_t tail = one_in(r, 2) ? some_address(r) : next(r) % 128;
    memcpy(data + n, &tail, 4);
    return n + next(r) % 5;
}

static size_t make(uint64_t *random, uint8_t *data, size_t room)
{
    Random state = {*random}, *r = &state;
    (void)room; /* INPUT_MAX and an instruction */
    for (unsigned i = 0; i < INPUT_MAX; i++) {
        data[i] = (uint8_t)next(r);
    }
    size_t end = INPUT_STATE + 32 + next(r) % 160, at = INPUT_STATE;
    while (at < end) {
        at = make_insn(r, data, at);
    }
    if (!one_in(r, 4)) {
        data[0] &= (uint8_t)~CHOICE_TRAPS;
    }
    if (!one_in(r, 8)) {
        data[1] &= (uint8_t) ~(CHOICE_INTR >> 8);
    }
    *random = state.state;
    return at;
}

int main(int argc, char **argv)
{
    uint8_t data[INPUT_MAX + 32];
    int status = fuzz_loop(argc, argv, data, sizeof(data), make, LLVMFuzzerTestOneInput, 8);
    if (guest) {
        printf("%llu instructions\n", (unsigned long long)guest->cpu->executed);
    }
    return status;
}

#endif
