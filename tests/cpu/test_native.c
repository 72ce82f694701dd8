/* Random integer instructions against the host's own processor, made from the opcode list.
 *
 * Every row of user-mode integer code is instantiated with random registers, flags, addressing
 * forms and prefixes, run natively and by the interpreter, and compared: registers, flags, EIP,
 * exception, memory. SEED and CASES (per row) in the environment repeat or extend a run. Not
 * covered: x87, MMX, SSE (they have judges of their own), 16-bit addressing and code segments, page
 * faults; EXEMPT names the rest with the reason.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/x86/ops.h"
#include "tests/cpu/guest.h"
#include "tests/cpu/native.h"

enum { FLAGS = FL_ARITH | FL_DF };

typedef struct Judge {
    Guest *guest;
    uint64_t random;
} Judge;

/* One case: code, and the state before. */
typedef struct Case {
    uint8_t bytes[INSN_MAX_BYTES];
    Insn in;
    NativeState before;
    uint8_t data[NATIVE_PAGE], stack[NATIVE_PAGE];
} Case;

static uint32_t random32(Judge *j)
{
    j->random ^= j->random << 13;
    j->random ^= j->random >> 7;
    j->random ^= j->random << 17;
    return (uint32_t)(j->random >> 20);
}

static uint32_t operand(Judge *j)
{
    static const uint32_t edges[] = {0,          1,          2,      0x7f,    0x80,  0xff,
                                     0x7fff,     0x8000,     0xffff, 0x99,    0x9a,  9,
                                     0x7fffffff, 0x80000000, ~0u,    ~0u - 1, 0x10f, 31};
    uint32_t r = random32(j);
    return r % 5 < 2 ? edges[(r >> 3) % (sizeof edges / sizeof edges[0])] : random32(j);
}

/* Rows left out, with the reason. */
static const char *exempt(const OpRow *row)
{
    static const struct {
        const char *prefix, *why;
    } names[] = {
        {"INVALID", "no encoding"},          {"PUSH_ES", "selectors differ"},
        {"PUSH_CS", "selectors differ"},     {"PUSH_SS", "selectors differ"},
        {"PUSH_DS", "selectors differ"},     {"PUSH_FS", "selectors differ"},
        {"PUSH_GS", "selectors differ"},     {"MOV_Ev_Sw", "selectors differ"},
        {"PUSHF", "IF and IOPL differ"},     {"SGDT", "system tables"},
        {"SIDT", "system tables"},           {"SMSW", "system state"},
        {"CPUID", "another processor"},      {"JMP_Ev", "jumps anywhere"},
        {"CALL_Ev", "jumps anywhere"},       {"RET", "jumps anywhere"},
        {"CLFLUSH", "the host may lack it"},
    };
    if (row->traits & (T_X87 | T_MMX | T_SSE)) {
        return "judged elsewhere";
    }
    if (row->traits & (T_PRIV | T_IO | T_STOP | T_NO_REAL | T_UNTIL_486)) {
        return "system instruction";
    }
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!strncmp(row->id, names[i].prefix, strlen(names[i].prefix)) &&
            (row->id[strlen(names[i].prefix)] == '\0' || row->id[strlen(names[i].prefix)] == '_')) {
            return names[i].why;
        }
    }
    return NULL;
}

/* A ModRM byte with SIB and displacement behind it, of any form but an absolute address. */
static unsigned random_modrm(Judge *j, const OpRow *row, uint8_t *p)
{
    unsigned digit = row->digit >= 0 && row->digit < 8 ? (unsigned)row->digit : random32(j) & 7;
    unsigned mod = row->form == FORM_REG   ? 3
                   : row->form == FORM_MEM ? random32(j) % 3
                                           : random32(j) & 3;
    unsigned rm = random32(j) & 7, n = 1;

    if (mod == 0 && rm == 5) {
        mod = 1;
    }
    p[0] = (uint8_t)(mod << 6 | digit << 3 | rm);
    if (mod != 3 && rm == 4) {
        uint8_t sib = (uint8_t)random32(j);
        if (mod == 0 && (sib & 7) == 5) {
            sib ^= 1;
        }
        p[n++] = sib;
    }
    for (unsigned i = 0; i < (mod == 1 ? 1u : mod == 2 ? 4u : 0u); i++) {
        p[n++] = (uint8_t)random32(j);
    }
    return n;
}

static void random_bytes(Judge *j, const OpRow *row, Case *c)
{
    unsigned n = 0;

    memset(c->bytes, 0xcc, sizeof(c->bytes));
    for (unsigned i = random32(j) % 3; i > 0; i--) {
        static const uint8_t prefixes[] = {0x66, 0x66, 0x66, 0xf2, 0xf3, 0x3e, 0x26, 0xf0};
        c->bytes[n++] = prefixes[random32(j) & 7];
    }
    if (row->prefix >= MANDATORY_66) {
        c->bytes[n++] = row->prefix == MANDATORY_66   ? 0x66
                        : row->prefix == MANDATORY_F3 ? 0xf3
                                                      : 0xf2;
    }
    if (row->map == MAP_0F) {
        c->bytes[n++] = 0x0f;
    }
    c->bytes[n++] = (uint8_t)(row->opcode + random32(j) % row->count);
    if (row->form != FORM_NONE) {
        n += random_modrm(j, row, c->bytes + n);
    }
    for (unsigned i = 0; i < 6 && n < sizeof(c->bytes); i++) {
        c->bytes[n++] = (uint8_t)operand(j);
    }
}

/* Bytes behind ModRM, SIB and displacement. */
static void put_at_end(Case *c, uint32_t value, unsigned bytes)
{
    memcpy(c->bytes + c->in.length - bytes, &value, bytes);
}

/* Makes addresses, counts and targets land on the pages there are. False: try another case. */
static bool tame(Judge *j, const OpRow *row, Case *c)
{
    Insn *in = &c->in;
    uint32_t *reg = c->before.reg;
    uint32_t spot = NATIVE_DATA + 0x400 + random32(j) % 0x800;

    reg[ESP] = NATIVE_STACK + 0x600 + random32(j) % 0x200;
    if (in->op == OP_LEAVE || in->op == OP_ENTER) {
        reg[EBP] = NATIVE_STACK + 0x800 + random32(j) % 0x200;
    }
    if (in->op == OP_ENTER) {
        put_at_end(c, (random32(j) & 0xff) | (random32(j) & 0xff) << 16, 3);
    }
    if (in->op == OP_XLAT) {
        reg[EBX] = spot;
    }
    if (row->traits & T_STR) {
        reg[ESI] = spot;
        reg[EDI] = NATIVE_DATA + 0x400 + random32(j) % 0x800;
        reg[ECX] = random32(j) % 20;
        return true;
    }
    if (row->operands[0] == 'J') {
        unsigned bytes = row->operands[1] == 'b' ? 1 : in->opsize;
        if (in->opsize == 2) {
            return false; /* EIP would be cut to 16 bits */
        }
        put_at_end(c, random32(j) & 0x7f, bytes);
        return true;
    }
    if (row->operands[0] == 'O' || (row->operands[0] && strstr(row->operands, ",O"))) {
        put_at_end(c, spot, 4);
        return true;
    }
    if (!in->memory) {
        return true;
    }
    if (in->base == ESP) {
        spot = NATIVE_STACK + 0x400 + random32(j) % 0x800;
        if ((int32_t)in->disp < -0x80 || (int32_t)in->disp > 0x7f || in->index != NO_REG) {
            return in->op == OP_LEA;
        }
        return strncmp(row->id, "BT", 2) != 0;
    }
    if (in->base == in->index) {
        return in->op == OP_LEA;
    }
    if (!strcmp(row->operands, "Ev,Gv") && !strncmp(row->id, "BT", 2)) {
        if (in->reg == in->base || in->reg == in->index || in->reg == ESP) {
            return false;
        }
        reg[in->reg] = random32(j) % 0x1000 - 0x800;
    }
    uint32_t index = in->index == NO_REG ? 0 : reg[in->index] << in->scale;
    reg[in->base] = spot - in->disp - index;
    return true;
}

static bool random_case(Judge *j, const OpRow *row, Case *c)
{
    const CpuMode mode = {.code32 = true, .v86 = false, .model = CPU_PENTIUM4};

    random_bytes(j, row, c);
    if (x86_decode(&(CodeView){c->bytes, INSN_MAX_BYTES}, &mode, &c->in) == DECODE_INVALID) {
        return false;
    }
    if (&op_rows[c->in.op] != row || c->in.adsize == 2) {
        return false;
    }
    /* F3 makes other instructions of some 0F rows on later processors (TZCNT), and on AMD's decides
     * which LOOPcc it is. */
    if (c->in.prefix & (PREFIX_REP | PREFIX_REPNE) && row->prefix == MANDATORY_ANY &&
        (row->map == MAP_0F || !strncmp(row->id, "LOOP", 4))) {
        return false;
    }
    for (unsigned i = 0; i < 8; i++) {
        c->before.reg[i] = operand(j);
    }
    c->before.eflags = random32(j) & FLAGS;
    c->before.eip = NATIVE_START;
    for (unsigned i = 0; i < NATIVE_PAGE; i += 4) {
        uint32_t value = operand(j);
        memcpy(c->data + i, &value, 4);
        memcpy(c->stack + i, &value, 4);
    }
    if (!tame(j, row, c)) {
        return false;
    }
    return x86_decode(&(CodeView){c->bytes, INSN_MAX_BYTES}, &mode, &c->in) == DECODE_OK;
}

static void run_natively(const Case *c, NativeState *s)
{
    *s = c->before;
    memset(native_code() + 0x800, 0xcc, 32);
    memcpy(native_code() + 0x800, c->bytes, c->in.length);
    memcpy(native_data(), c->data, NATIVE_PAGE);
    memcpy(native_stack(), c->stack, NATIVE_PAGE);
    native_run(s);
}

static void run_guest(Judge *j, const Case *c, NativeState *s)
{
    Guest *g = j->guest;
    uint8_t code[32];

    memset(code, 0xcc, sizeof(code));
    memcpy(code, c->bytes, c->in.length);
    guest_put(g, NATIVE_START, code, sizeof(code));
    guest_put(g, NATIVE_DATA, c->data, NATIVE_PAGE);
    guest_put(g, NATIVE_STACK, c->stack, NATIVE_PAGE);
    memcpy(g->cpu->reg, c->before.reg, sizeof(c->before.reg));
    cpu_set_eflags(g->cpu, c->before.eflags);
    g->cpu->eip = NATIVE_START;
    guest_run(g, 1);
    memcpy(s->reg, g->cpu->reg, sizeof(s->reg));
    s->eip = g->cpu->eip;
    s->eflags = cpu_eflags(g->cpu) & FLAGS;
    s->vector = guest_vector(g);
    if (s->vector >= 0) {
        uint32_t frame = s->vector == VEC_GP || s->vector == VEC_SS ? 4 : 0;
        s->eip = guest_read32(g, s->reg[ESP] + frame);
        s->eflags = guest_read32(g, s->reg[ESP] + frame + 8) & FLAGS;
        s->reg[ESP] += frame + 12;
    }
}

/* Undefined flags that no host instruction of ours decides may differ between makes of hosts. */
static uint32_t compared_flags(const OpRow *row)
{
    static const char *const own[] = {"DAA", "DAS", "AAA", "AAS", "AAM", "AAD"};
    for (unsigned i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (!strcmp(row->id, own[i])) {
            return (uint32_t)(FLAGS & ~row->flags_undefined);
        }
    }
    return FLAGS;
}

static void report(const Case *c, const NativeState *want, const NativeState *have)
{
    char text[80];

    x86_disassemble(&c->in, NATIVE_START, text, sizeof(text));
    print_error("%s; bytes", text);
    for (unsigned i = 0; i < c->in.length; i++) {
        print_error(" %02x", c->bytes[i]);
    }
    print_error("\n          before   native   guest\n");
    for (unsigned i = 0; i < 8; i++) {
        print_error("r%u      %08x %08x %08x\n", i, c->before.reg[i], want->reg[i], have->reg[i]);
    }
    print_error("eip     %08x %08x %08x\nflags   %08x %08x %08x\nvector           %8d %8d\n",
                c->before.eip, want->eip, have->eip, c->before.eflags, want->eflags, have->eflags,
                want->vector, have->vector);
}

static bool same(const Judge *j, const OpRow *row, const NativeState *want, const NativeState *have)
{
    const Guest *g = j->guest;
    return !memcmp(want->reg, have->reg, sizeof(want->reg)) && want->eip == have->eip &&
           want->vector == have->vector && !((want->eflags ^ have->eflags) & compared_flags(row)) &&
           !memcmp(native_data(), g->ram + NATIVE_DATA, NATIVE_PAGE) &&
           /* below ESP a fault's frame of the guest may lie */
           (want->vector >= 0 || !memcmp(native_stack(), g->ram + NATIVE_STACK, NATIVE_PAGE));
}

static unsigned environment(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 0) : otherwise;
}

static void test_integer_rows(void **state)
{
    (void)state;
    const char *why;
    unsigned seed = environment("SEED", 1), wanted = environment("CASES", 150);
    unsigned rows = 0, cases = 0, wrong = 0;

    if (!native_open(&why)) {
        print_message("%s\n", why);
        skip();
    }
    Judge j = {guest_new(CPU_PENTIUM4, &accel_interpreter), 0x9e3779b97f4a7c15u ^ seed};
    static Case c;
    for (unsigned op = 0; op < OP_COUNT; op++) {
        const OpRow *row = &op_rows[op];
        if (exempt(row)) {
            continue;
        }
        unsigned done = 0;
        for (unsigned tries = 0; done < wanted && tries < wanted * 40; tries++) {
            NativeState want, have;
            if (!random_case(&j, row, &c)) {
                continue;
            }
            run_natively(&c, &want);
            guest_flat(j.guest);
            run_guest(&j, &c, &have);
            if (!same(&j, row, &want, &have) && wrong++ < 20) {
                report(&c, &want, &have);
            }
            done++;
        }
        if (done == 0) {
            fail_msg("no case of %s could be made", row->id);
        }
        rows++;
        cases += done;
    }
    print_message("# %u rows, %u cases, seed %u, %u wrong\n", rows, cases, seed, wrong);
    guest_free(j.guest);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_integer_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
