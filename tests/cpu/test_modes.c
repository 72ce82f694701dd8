/* The translator against the interpreter in every mode: random code in real, virtual-8086, 16-bit
 * and 32-bit protected mode, in segments with bases and limits, a counted number of instructions.
 *
 * Both engines count, so that they stop at the same instruction, and then all that a guest can see
 * must be the same. SEED and CASES in the environment repeat or extend a run; CASE runs one.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/translator/translator.h"
#include "cpu-accel/x86/insn.h"
#include "cpu-accel/x86/mem.h"
#include "tests/cpu/guest.h"

enum { RUN = 80, CODE_BYTES = 240, OTHER_CODE = 0x12000 };

static uint64_t state_random;

static uint32_t random32(void)
{
    state_random ^= state_random << 13;
    state_random ^= state_random >> 7;
    state_random ^= state_random << 17;
    return (uint32_t)(state_random >> 20);
}

static bool chance(unsigned one_in)
{
    return random32() % one_in == 0;
}

/* Offsets: mostly where data is, often next to limits. */
static uint32_t offset(void)
{
    static const uint32_t edges[] = {0,      1,      0xffff, 0xfffe,     0xfffd,     0xfff0,
                                     0x7fff, 0x8000, 0x1234, 0xffffffff, 0xfffffffe, 0x10000};
    uint32_t r = random32();
    return r % 4 == 0 ? edges[r / 4 % 12] : r % 4 < 3 ? r / 4 % 0x10000 : r / 4 % 0x400;
}

/* Bytes that are instructions more often than not. */
static unsigned instruction(uint8_t *to)
{
    static const uint8_t with_modrm[] = {
        0x00, 0x01, 0x02, 0x03, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x11, 0x12, 0x13, 0x18, 0x19,
        0x1a, 0x1b, 0x20, 0x21, 0x22, 0x23, 0x28, 0x29, 0x2a, 0x2b, 0x30, 0x31, 0x32, 0x33,
        0x38, 0x39, 0x3a, 0x3b, 0x69, 0x6b, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88,
        0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0xc0, 0xc1, 0xc4, 0xc5, 0xc6, 0xc7, 0xd0,
        0xd1, 0xd2, 0xd3, 0xf6, 0xf7, 0xfe, 0xff, 0xd8, 0xd9, 0xdb, 0xdc, 0xdd, 0xdf};
    static const uint8_t without[] = {
        0x04, 0x05, 0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x40,
        0x44, 0x45, 0x48, 0x4c, 0x4f, 0x50, 0x51, 0x53, 0x54, 0x55, 0x57, 0x58, 0x59, 0x5b,
        0x5c, 0x5d, 0x5f, 0x60, 0x61, 0x68, 0x6a, 0x70, 0x72, 0x74, 0x75, 0x78, 0x7c, 0x7e,
        0x90, 0x91, 0x98, 0x99, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5,
        0xa6, 0xa7, 0xa8, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xb0, 0xb4, 0xb8, 0xbb, 0xbe,
        0xbf, 0xc2, 0xc3, 0xc8, 0xc9, 0xca, 0xcb, 0xcd, 0xcf, 0xd4, 0xd7, 0xe0, 0xe1, 0xe2,
        0xe3, 0xe4, 0xe8, 0xe9, 0xeb, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xf5};
    static const uint8_t two_bytes[] = {0xa0, 0xa1, 0xa8, 0xa9, 0xa3, 0xa4, 0xac, 0xaf,
                                        0xb2, 0xb4, 0xb5, 0xb6, 0xb7, 0xbe, 0xbf, 0xc1,
                                        0x84, 0x85, 0x94, 0x44, 0xba, 0xbc, 0x6f, 0x7f};
    unsigned at = 0;
    if (chance(6)) {
        static const uint8_t prefixes[] = {0x66, 0x67, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0xf3, 0xf2};
        to[at++] = prefixes[random32() % sizeof(prefixes)];
    }
    if (chance(12)) {
        to[at++] = chance(2) ? 0x66 : 0x67;
    }
    if (chance(8)) {
        to[at++] = 0x0f;
        to[at++] = two_bytes[random32() % sizeof(two_bytes)];
    } else if (chance(2)) {
        to[at++] = with_modrm[random32() % sizeof(with_modrm)];
    } else {
        to[at++] = without[random32() % sizeof(without)];
    }
    for (unsigned i = 0; i < 4; i++) {
        to[at + i] = (uint8_t)(chance(3) ? random32() % 24 : random32());
    }
    return at + 1 + random32() % 4;
}

static void code(uint8_t *bytes)
{
    unsigned at = 0;
    while (at < CODE_BYTES - 12) {
        if (chance(30)) { /* a far transfer that arrives somewhere */
            uint16_t selector = (chance(2) ? GUEST_CODE : OTHER_CODE) >> 4;
            const uint8_t far[] = {chance(2) ? 0x9a : 0xea, (uint8_t)random32(), 0,
                                   (uint8_t)selector, (uint8_t)(selector >> 8)};
            memcpy(bytes + at, far, sizeof(far));
            at += sizeof(far);
        } else {
            at += instruction(bytes + at);
        }
    }
    memset(bytes + at, 0x90, CODE_BYTES - at);
}

static SegReg segment(bool is_code, unsigned dpl)
{
    uint32_t access = 0x93 | dpl << SEG_DPL_SHIFT | (is_code ? SEG_CODE : 0);
    SegReg s = {.selector = (uint16_t)(0x20 | dpl), .access = access, .limit = 0xffff};
    switch (random32() % 6) {
    case 0:
        s.limit = UINT32_MAX;
        break;
    case 1:
        s.limit = offset();
        break;
    case 2:
        s.access |= is_code ? 0 : SEG_EXPAND_DOWN;
        s.limit = is_code ? 0xffff : random32() % 0x8000;
        break;
    default:
        break;
    }
    if (!is_code) {
        s.base = chance(3) ? 0 : random32() % 0x200000;
        s.access &= ~(uint32_t)(chance(8) ? SEG_WRITABLE : 0);
        s.access |= chance(20) ? SEG_UNUSABLE : 0;
    }
    s.access |= chance(2) ? SEG_BIG : 0;
    return s;
}

static void protected_segments(Cpu *cpu)
{
    unsigned dpl = chance(2) ? 3 : 0;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (i == CS || i == SS || !chance(3)) {
            cpu->seg[i] = segment(i == CS, dpl);
        }
    }
    cpu->seg[SS].access = (cpu->seg[SS].access & ~(uint32_t)SEG_UNUSABLE) | SEG_WRITABLE;
    cpu->seg[CS].base = GUEST_CODE - random32() % 0x1000;
    cpu->cpl = (uint8_t)dpl;
}

static void identity_paging(Guest *g)
{
    for (uint32_t i = 0; i < 1024; i++) {
        uint32_t flags = chance(16) ? random32() & 7 : 7;
        bool needed = i < 0x20;
        guest_write32(g, 0x301000 + 4 * i, i << 12 | (needed ? 7 : flags));
    }
    guest_write32(g, 0x300000, 0x301007);
    g->cpu->cr3 = 0x300000;
    g->cpu->cr0 |= CR0_PG | CR0_WP;
}

static void real_segments(Cpu *cpu, bool v86)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        uint16_t selector = i == CS ? GUEST_CODE >> 4 : (uint16_t)random32();
        selector = i != CS && chance(2) ? (uint16_t)(random32() % 0x3000) : selector;
        cpu->seg[i] = (SegReg){selector, v86 ? 0xf3 : 0x93, (uint32_t)selector << 4, 0xffff};
        if (!v86 && i != CS && chance(8)) {
            cpu->seg[i].limit = UINT32_MAX; /* unreal mode */
        }
    }
}

static void prepare(Guest *g)
{
    Cpu *cpu = g->cpu;
    unsigned kind = random32() % 4;
    uint8_t bytes[CODE_BYTES];

    cpu->cr4 = cpu->cr3 = cpu->cr2 = 0;
    if (kind == 0) {
        guest_real(g);
    } else {
        guest_flat(g);
    }
    uint32_t flags = random32() & (FL_ARITH | FL_IOPL | (chance(4) ? FL_DF : 0));
    if (kind == 1) {
        flags |= FL_VM;
    }
    cpu_set_eflags(cpu, flags);
    if (kind < 2) {
        real_segments(cpu, kind == 1);
        cpu->cpl = kind == 1 ? 3 : 0;
        if (chance(3)) {
            cpu->cr4 |= CR4_VME;
        }
    } else {
        protected_segments(cpu);
    }
    if (kind != 0 && chance(2)) {
        identity_paging(g);
    }
    for (unsigned i = 0; i < 8; i++) {
        cpu->reg[i] = chance(3) ? random32() : offset();
    }
    cpu->reg[ESP] = chance(3) ? offset() : (chance(4) ? random32() << 16 : 0) | 0x8000;
    cpu->fpu = (Fpu){.control = 0x37f, .mxcsr = 0x1f80};
    cpu->seg[TR] = (SegReg){0x28, 0x8b, 0x6000, 0x2067};
    guest_write32(g, 0x6000 + 4, 0x7f00); /* a stack for faults: ESP0 and SS0 */
    guest_write32(g, 0x6000 + 8, 0x10);
    guest_write32(g, 0x6000 + 0x64, 0x88u << 16);
    code(bytes);
    guest_put(g, GUEST_CODE, bytes, sizeof(bytes));
    code(bytes);
    guest_put(g, OTHER_CODE, bytes, sizeof(bytes));
    code(bytes);
    guest_put(g, GUEST_CODE + 0x1000 - 100, bytes, sizeof(bytes));
    cpu->eip = GUEST_CODE - cpu->seg[CS].base + (chance(4) ? 0x1000 - 100 : 0);
    cpu->pending_dr6 = 0;
    cpu->shadow = 0;
    cpu->nmi_blocked = false;
    mem_flush(cpu, true);
    g->accel.ops->push(&g->accel);
}

#define SAME(what, a, b)                                                                           \
    if ((a) != (b)) {                                                                              \
        fail_msg("seed %llu case %u: %s is %llx and %llx", (unsigned long long)seed, number, what, \
                 (unsigned long long)(a), (unsigned long long)(b));                                \
    }

static void compare(const Guest *a, const Guest *b, uint64_t seed, unsigned number)
{
    static const char *const names[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
    const Cpu *x = a->cpu, *y = b->cpu;
    SAME("executed", x->executed, y->executed);
    SAME("eip", x->eip, y->eip);
    for (unsigned i = 0; i < 8; i++) {
        SAME(names[i], x->reg[i], y->reg[i]);
    }
    SAME("eflags", cpu_eflags(x), cpu_eflags(y));
    SAME("cpl", x->cpl, y->cpl);
    SAME("cr0", x->cr0, y->cr0);
    SAME("cr2", x->cr2, y->cr2);
    SAME("activity", x->activity, y->activity);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        SAME("selector", x->seg[i].selector, y->seg[i].selector);
        SAME("base", x->seg[i].base, y->seg[i].base);
        SAME("limit", x->seg[i].limit, y->seg[i].limit);
        SAME("access", x->seg[i].access, y->seg[i].access);
    }
    SAME("fcw", x->fpu.control, y->fpu.control);
    SAME("fsw", x->fpu.status, y->fpu.status);
    SAME("fip", x->fpu.ip, y->fpu.ip);
    SAME("fdp", x->fpu.data, y->fpu.data);
    for (unsigned i = 0; i < 8; i++) {
        SAME("st", x->fpu.st[i].mantissa, y->fpu.st[i].mantissa);
    }
    if (memcmp(a->ram, b->ram, GUEST_RAM) != 0) {
        for (uint32_t i = 0; i < GUEST_RAM; i++) {
            if (a->ram[i] != b->ram[i]) {
                fail_msg("seed %llu case %u: memory at %x is %02x and %02x",
                         (unsigned long long)seed, number, i, a->ram[i], b->ram[i]);
            }
        }
    }
}

static uint64_t environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void test_modes(void **state)
{
    (void)state;
    const AccelOps *const ops[2] = {&accel_interpreter, &accel_translator};
    uint64_t seed = environment("SEED", 1);
    unsigned length = (unsigned)environment("LENGTH", RUN);
    unsigned cases = (unsigned)environment("CASES", 3000), only = (unsigned)environment("CASE", 0);
    Guest *g[2];
    for (unsigned i = 0; i < 2; i++) {
        g[i] = guest_new(CPU_PENTIUM3, ops[i]);
        g[i]->accel.counted = true;
    }
    for (unsigned number = only ? only : 1; number <= (only ? only : cases); number++) {
        for (unsigned i = 0; i < 2; i++) {
            state_random = (seed * 0x9e3779b97f4a7c15u) ^ (number * 0xd1342543de82ef95u);
            for (unsigned j = 0; j < 8; j++) {
                (void)random32();
            }
            prepare(g[i]);
            guest_run(g[i], length);
        }
        compare(g[0], g[1], seed, number);
    }
    /* it was translated code that ran */
    const Counts *count = &((const Translator *)g[1]->accel.self)->count;
    assert_int_equal(count->blocks, 0);
    assert_true(only || count->units + count->turned > cases);
    guest_free(g[0]);
    guest_free(g[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_modes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
