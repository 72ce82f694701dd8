/* Page faults in the middle of every kind of instruction, run at level 3 by the interpreter: error
 * code, CR2, the pushed EIP and ESP, unchanged registers, and a clean second run. */
#include "tests/cpu/guest.h"

#include <string.h>

#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/mem.h"

/* The page at HOLE is not present at first; those around it are. */
enum {
    HOLE = 0x31000,
    EDGE = HOLE - 2, /* operands here lie across two pages */
    ABOVE = 0x32000, /* a stack whose first push lands in the hole */
    GOOD = 0x30100,
    DIRECTORY = 0x100000,
    TABLE = 0x101000,
    TSS_AT = 0xa000,
    STACK0 = 0xf000,
    CODE3 = 0x2b,
    DATA3 = 0x33,
    TSS_SELECTOR = 0x38,
    READ = 4,
    WRITE = 6,
};

typedef struct Case {
    const char *name;
    const char *code;
    unsigned size;
    unsigned error;
    uint32_t cr2;
    uint32_t esp, ebx, esi, edi, ebp;
    enum { NEXT, ELSEWHERE, PARTIAL } then; /* EIP after the second run; PARTIAL: registers move */
} Case;

#define BYTES(text) text, sizeof(text) - 1

static const Case cases[] = {
    {"mov [m], r", BYTES("\x89\x03"), WRITE, HOLE, .ebx = EDGE},
    {"mov r, [m]", BYTES("\x8b\x03"), READ, HOLE, .ebx = EDGE},
    {"add [m], r", BYTES("\x01\x03"), WRITE, HOLE, .ebx = EDGE},
    {"cmp [m], r", BYTES("\x39\x03"), READ, HOLE, .ebx = EDGE},
    {"xchg", BYTES("\x87\x03"), WRITE, HOLE, .ebx = EDGE},
    {"inc", BYTES("\xff\x03"), WRITE, HOLE, .ebx = EDGE},
    {"neg", BYTES("\xf7\x1b"), WRITE, HOLE, .ebx = EDGE},
    {"div", BYTES("\xf7\x33"), READ, HOLE, .ebx = EDGE, .then = ELSEWHERE},
    {"rol", BYTES("\xd1\x03"), WRITE, HOLE, .ebx = EDGE},
    {"shld", BYTES("\x0f\xa4\x03\x04"), WRITE, HOLE, .ebx = EDGE},
    {"bts", BYTES("\x0f\xab\x03"), WRITE, HOLE, .ebx = EDGE},
    {"setz", BYTES("\x0f\x94\x03"), WRITE, HOLE, .ebx = HOLE},
    {"cmpxchg", BYTES("\x0f\xb1\x0b"), WRITE, HOLE, .ebx = EDGE},
    {"xadd", BYTES("\x0f\xc1\x0b"), WRITE, HOLE, .ebx = EDGE},
    {"cmpxchg8b", BYTES("\x0f\xc7\x0b"), WRITE, HOLE, .ebx = EDGE},
    {"bound", BYTES("\x62\x03"), READ, HOLE, .ebx = HOLE - 4, .then = ELSEWHERE},
    {"xlat", BYTES("\xd7"), READ, HOLE + 0x11, .ebx = HOLE},
    {"arpl", BYTES("\x63\x03"), READ, HOLE, .ebx = HOLE - 1},
    {"push", BYTES("\x50"), WRITE, ABOVE - 4, .esp = ABOVE},
    {"push imm", BYTES("\x68\x11\x22\x33\x44"), WRITE, ABOVE - 4, .esp = ABOVE},
    {"push [m], read", BYTES("\xff\x33"), READ, HOLE, .ebx = EDGE},
    {"push [m], write", BYTES("\xff\x33"), WRITE, ABOVE - 4, .esp = ABOVE, .ebx = GOOD},
    {"push ds", BYTES("\x1e"), WRITE, ABOVE - 4, .esp = ABOVE},
    {"pushf", BYTES("\x9c"), WRITE, ABOVE - 4, .esp = ABOVE},
    {"pusha", BYTES("\x60"), WRITE, ABOVE - 4, .esp = ABOVE + 16},
    {"pop", BYTES("\x58"), READ, HOLE, .esp = HOLE},
    {"pop [m], read", BYTES("\x8f\x03"), READ, HOLE, .esp = HOLE, .ebx = GOOD},
    {"pop [m], write", BYTES("\x8f\x03"), WRITE, HOLE, .ebx = HOLE},
    {"pop ds", BYTES("\x1f"), READ, HOLE, .esp = HOLE},
    {"popf", BYTES("\x9d"), READ, HOLE, .esp = HOLE},
    {"popa", BYTES("\x61"), READ, HOLE, .esp = HOLE - 16},
    {"enter", BYTES("\xc8\x10\x00\x02"), WRITE, ABOVE - 4, .esp = ABOVE + 4, .ebp = GOOD},
    {"leave", BYTES("\xc9"), READ, HOLE, .ebp = HOLE},
    {"call", BYTES("\xe8\x00\x00\x00\x00"), WRITE, ABOVE - 4, .esp = ABOVE},
    {"call [m], read", BYTES("\xff\x13"), READ, HOLE, .ebx = EDGE, .then = ELSEWHERE},
    {"call [m], write", BYTES("\xff\x13"), WRITE, ABOVE - 4, .esp = ABOVE, .ebx = GOOD,
     .then = ELSEWHERE},
    {"jmp [m]", BYTES("\xff\x23"), READ, HOLE, .ebx = EDGE, .then = ELSEWHERE},
    {"ret", BYTES("\xc3"), READ, HOLE, .esp = HOLE, .then = ELSEWHERE},
    {"call far", BYTES("\x9a\x07\x00\x01\x00\x2b\x00"), WRITE, ABOVE - 4, .esp = ABOVE},
    {"call far [m]", BYTES("\xff\x1b"), READ, HOLE, .ebx = EDGE, .then = ELSEWHERE},
    {"retf", BYTES("\xcb"), READ, HOLE, .esp = HOLE - 4, .then = ELSEWHERE},
    {"iret", BYTES("\xcf"), READ, HOLE, .esp = HOLE - 8, .then = ELSEWHERE},
    {"lds", BYTES("\xc5\x03"), READ, HOLE, .ebx = HOLE - 4},
    {"mov ds, [m]", BYTES("\x8e\x1b"), READ, HOLE, .ebx = HOLE - 1},
    {"sgdt", BYTES("\x0f\x01\x03"), WRITE, HOLE, .ebx = EDGE},
    {"str", BYTES("\x0f\x00\x0b"), WRITE, HOLE, .ebx = HOLE - 1},
    {"lar", BYTES("\x0f\x02\x03"), READ, HOLE, .ebx = HOLE - 1},
    {"movsd, write", BYTES("\xa5"), WRITE, HOLE, .esi = GOOD, .edi = EDGE},
    {"movsd, read", BYTES("\xa5"), READ, HOLE, .esi = EDGE, .edi = GOOD},
    {"stosd", BYTES("\xab"), WRITE, HOLE, .edi = EDGE},
    {"lodsd", BYTES("\xad"), READ, HOLE, .esi = EDGE},
    {"scasd", BYTES("\xaf"), READ, HOLE, .edi = EDGE},
    {"cmpsd", BYTES("\xa7"), READ, HOLE, .esi = GOOD, .edi = EDGE},
    {"rep movsd", BYTES("\xf3\xa5"), WRITE, HOLE, .esi = GOOD, .edi = HOLE - 8, .then = PARTIAL},
    {"rep stosb", BYTES("\xf3\xaa"), WRITE, HOLE, .edi = HOLE - 2, .then = PARTIAL},
    {"fld", BYTES("\xdd\x03"), READ, HOLE, .ebx = EDGE},
    {"fst", BYTES("\xdd\x13"), WRITE, HOLE, .ebx = EDGE},
    {"fxsave", BYTES("\x0f\xae\x03"), WRITE, HOLE, .ebx = HOLE - 16},
    {"movups", BYTES("\x0f\x11\x03"), WRITE, HOLE, .ebx = EDGE},
};

static void set_pte(Guest *g, uint32_t page, uint32_t pte)
{
    guest_write32(g, TABLE + (page >> 12) * 4, pte);
}

/* Level 3, paging on, a TSS for the way in. */
static void prepare(Guest *g, const Case *c)
{
    static const uint64_t descriptors[] = {0x00cffb000000ffff, 0x00cff3000000ffff,
                                           0x00008b00a0000067};
    Cpu *cpu = g->cpu;
    guest_flat(g);
    guest_put(g, GUEST_GDT + 0x28, descriptors, sizeof(descriptors));
    memset(g->ram + TSS_AT, 0, 0x68);
    guest_write32(g, TSS_AT + 4, STACK0);
    guest_write32(g, TSS_AT + 8, 0x10);
    guest_write32(g, DIRECTORY, TABLE | 7);
    for (uint32_t page = 0; page < GUEST_RAM; page += 4096) {
        set_pte(g, page, page | 7);
    }
    set_pte(g, HOLE, HOLE);
    memset(g->ram + HOLE - 0x1000, 0, 0x3000);
    guest_code(g, c->code, c->size);
    cpu->seg[TR] = (SegReg){TSS_SELECTOR, 0x8b, TSS_AT, 0x67};
    cpu->seg[CS] = (SegReg){CODE3, 0xc0fb, 0, UINT32_MAX};
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (i != CS) {
            cpu->seg[i] = (SegReg){DATA3, 0xc0f3, 0, UINT32_MAX};
        }
    }
    cpu->cpl = 3;
    cpu->cr3 = DIRECTORY;
    cpu->cr0 |= CR0_PG;
    cpu->cr4 = CR4_OSFXSR;
    mem_flush(cpu, true);
    cpu->eip = GUEST_CODE;
    cpu->reg[EAX] = 0x11;
    cpu->reg[ECX] = 4;
    cpu->reg[EBX] = c->ebx;
    cpu->reg[ESI] = c->esi;
    cpu->reg[EDI] = c->edi;
    cpu->reg[EBP] = c->ebp;
    cpu->reg[ESP] = c->esp ? c->esp : GUEST_STACK;
}

static void check_frame(const Guest *g, const Case *c, const Cpu *before)
{
    const Cpu *cpu = g->cpu;
    if (guest_vector(g) != VEC_PF || cpu->cr2 != c->cr2 ||
        guest_read32(g, STACK0 - 24) != c->error) {
        fail_msg("%s: vector %d, cr2 %x, error %x", c->name, guest_vector(g), cpu->cr2,
                 guest_read32(g, STACK0 - 24));
    }
    if (guest_read32(g, STACK0 - 20) != GUEST_CODE || guest_read32(g, STACK0 - 16) != CODE3 ||
        guest_read32(g, STACK0 - 8) != before->reg[ESP]) {
        fail_msg("%s: pushed EIP %x, ESP %x", c->name, guest_read32(g, STACK0 - 20),
                 guest_read32(g, STACK0 - 8));
    }
    for (unsigned i = 0; i < 8 && c->then != PARTIAL; i++) {
        if (i != ESP && cpu->reg[i] != before->reg[i]) {
            fail_msg("%s: register %u is %x, was %x", c->name, i, cpu->reg[i], before->reg[i]);
        }
    }
    if (cpu->fpu.status != before->fpu.status || cpu->fpu.valid != before->fpu.valid) {
        fail_msg("%s: the FPU has changed", c->name);
    }
}

static void every_kind_of_instruction_restarts(void **state)
{
    (void)state;
    Guest *g = guest_new(CPU_PENTIUM3, &accel_interpreter);
    g->cpu->fpu.control = 0x37f;
    g->cpu->fpu.valid = 0x01;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const Case *c = &cases[i];
        prepare(g, c);
        Cpu before = *g->cpu;
        guest_run(g, 1);
        check_frame(g, c, &before);
        /* what the handler does: bring the page in, drop the error code, IRET */
        set_pte(g, HOLE, HOLE | 7);
        g->cpu->reg[ESP] += 4;
        assert_int_equal(far_iret(g->cpu, 4, 0), X_STOP);
        guest_run(g, 1);
        if (guest_vector(g) == VEC_PF) {
            fail_msg("%s: faults again", c->name);
        }
        if (c->then != ELSEWHERE && g->cpu->eip != GUEST_CODE + c->size) {
            fail_msg("%s: ends at %x", c->name, g->cpu->eip);
        }
    }
    guest_free(g);
}

static void repeats_stop_where_they_were(void **state)
{
    (void)state;
    static const Case moves = {"rep movsd", BYTES("\xf3\xa5"), WRITE,          HOLE,
                               .esi = GOOD, .edi = HOLE - 8,   .then = PARTIAL};
    Guest *g = guest_new(CPU_PENTIUM3, &accel_interpreter);
    prepare(g, &moves);
    for (unsigned i = 0; i < 4; i++) {
        guest_write32(g, GOOD + 4 * i, 0x1000 + i);
    }
    guest_run(g, 1);
    assert_int_equal(g->cpu->reg[ECX], 2);
    assert_int_equal(g->cpu->reg[ESI], GOOD + 8);
    assert_int_equal(g->cpu->reg[EDI], HOLE);
    set_pte(g, HOLE, HOLE | 7);
    g->cpu->reg[ESP] += 4;
    assert_int_equal(far_iret(g->cpu, 4, 0), X_STOP);
    guest_run(g, 1);
    assert_int_equal(g->cpu->reg[ECX], 0);
    assert_int_equal(guest_read32(g, HOLE - 4), 0x1001);
    assert_int_equal(guest_read32(g, HOLE + 4), 0x1003);
    guest_free(g);
}

/* An instruction that goes on in a page that is not there; one that ends right before it. */
static void fetch_across_pages(void **state)
{
    (void)state;
    static const Case nothing = {"nop", BYTES("\x90"), READ, HOLE, .ebx = GOOD};
    Guest *g = guest_new(CPU_PENTIUM3, &accel_interpreter);
    prepare(g, &nothing);
    guest_put(g, HOLE - 3, "\x90\xb8\x11\x22\x33\x44", 6); /* nop; mov eax, 44332211h */
    g->cpu->eip = HOLE - 3;
    guest_run(g, 1);
    assert_int_equal(g->cpu->eip, HOLE - 2);
    guest_run(g, 1);
    assert_int_equal(guest_vector(g), VEC_PF);
    assert_int_equal(g->cpu->cr2, HOLE);
    assert_int_equal(guest_read32(g, STACK0 - 20), HOLE - 2);
    set_pte(g, HOLE, HOLE | 7);
    g->cpu->reg[ESP] += 4;
    assert_int_equal(far_iret(g->cpu, 4, 0), X_STOP);
    guest_run(g, 1);
    assert_int_equal(g->cpu->reg[EAX], 0x44332211);
    assert_int_equal(g->cpu->eip, HOLE + 3);
    prepare(g, &nothing);
    guest_put(g, HOLE - 2, "\x89\xd8", 2); /* mov eax, ebx: ends with the page */
    g->cpu->eip = HOLE - 2;
    guest_run(g, 1);
    assert_int_equal(g->cpu->eip, HOLE);
    assert_int_equal(guest_read32(g, TABLE + (HOLE >> 12) * 4), HOLE); /* not looked at */
    guest_free(g);
}

static void single_step_goes_through_everything(void **state)
{
    (void)state;
    /* nop; push; pop; rep stosb of 3; jmp +0: a #DB after each, and after each iteration */
    static const Case code = {"step", BYTES("\x90\x50\x58\xf3\xaa\xeb\x00"), READ, 0, .edi = GOOD};
    static const uint32_t stops[] = {1, 2, 3, 3, 3, 3, 5, 7};
    Guest *g = guest_new(CPU_PENTIUM3, &accel_interpreter);
    prepare(g, &code);
    g->cpu->reg[ECX] = 4;
    g->cpu->eflags |= FL_TF;
    for (unsigned i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
        for (unsigned tries = 0; guest_vector(g) != VEC_DB && tries < 3; tries++) {
            guest_run(g, 1);
        }
        assert_int_equal(guest_vector(g), VEC_DB);
        assert_int_equal(g->cpu->dr6 & DR6_BS, DR6_BS);
        assert_int_equal(guest_read32(g, STACK0 - 20), GUEST_CODE + stops[i]);
        g->cpu->dr6 = 0;
        assert_int_equal(far_iret(g->cpu, 4, 0), X_STOP);
    }
    assert_int_equal(g->cpu->reg[ECX], 0);
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_instruction_restarts),
        cmocka_unit_test(repeats_stop_where_they_were),
        cmocka_unit_test(fetch_across_pages),
        cmocka_unit_test(single_step_goes_through_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
