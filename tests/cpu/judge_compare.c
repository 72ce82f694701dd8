/* What counts as a difference to the native judge. */
#include "tests/cpu/judge.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/x86/fpu.h"

enum {
    COMPARED_FLAGS = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_AC | FL_ID,
    PF_FETCH = 0x10,
    PF_PRESENT = 1,
    LINUX_CPU_SEGMENT = 0x78,
};

typedef struct Text {
    char *to;
    size_t room, used;
} Text;

static void say(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(Text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->to + t->used, t->room - t->used, format, args);
    va_end(args);
    if (n > 0) {
        t->used += (size_t)n < t->room - t->used ? (size_t)n : t->room - t->used - 1;
    }
}

/* Bytes from EIP to the limit of CS. */
static uint32_t code_room(const JudgeCase *c)
{
    return judge_segment_reg(c->before.seg[CS] >> 3).limit - c->before.eip + 1;
}

/* The host forbids execution of data; the model's processors cannot. */
static bool id_is(const JudgeCase *c, const char *prefix)
{
    return !strncmp(op_rows[c->op].id, prefix, strlen(prefix));
}

/* Where a large operand is read from its end, another missing page, or place in it, is told. */
static bool large_operand(const JudgeCase *c)
{
    const OpRow *row = &op_rows[c->op];
    return strstr(row->operands, "Mm") || strstr(row->operands, "Mt") ||
           strstr(row->operands, "Mp") || !strncmp(row->id, "RETF", 4) || !strcmp(row->id, "IRET");
}

/* Where this make of host is known to do otherwise than Intel's manual, which is followed (see
 * docs/CPU.md): a repeated INS or OUTS of nothing asks for the right to the port. We go on, and may
 * be refused what follows with the same vector. */
static bool refused_nothing(const JudgeCase *c, const JudgeState *want)
{
    uint32_t count = c->in.adsize == 2 ? c->before.reg[ECX] & 0xffff : c->before.reg[ECX];
    return (op_rows[c->op].traits & (T_IO | T_STR)) == (T_IO | T_STR) && count == 0 &&
           c->in.prefix & (PREFIX_REP | PREFIX_REPNE) && want->vector == VEC_GP &&
           want->eip == c->before.eip;
}

/* The same: which of two faults comes first. */
static bool other_order(const JudgeCase *c, int want, int have)
{
    if (want == VEC_AC && have == VEC_PF) {
        return true;
    }
    if (id_is(c, "UD1") && want == VEC_UD) {
        return true; /* AMD's refuse it before the rest is fetched */
    }
    if (large_operand(c) && (want == VEC_PF || want == VEC_AC || c->in.adsize == 2) &&
        (have == VEC_GP || have == VEC_SS)) {
        return true; /* theirs may wrap at 64 KiB, part by part */
    }
    if (code_room(c) == c->length && want == VEC_GP) {
        return true; /* AMD's sometimes refuse a taken branch whose last byte is at the limit */
    }
    return (id_is(c, "CALL") || id_is(c, "RETF") || id_is(c, "IRET")) &&
           (have == VEC_GP || have == VEC_AC) &&
           (want == VEC_PF || want == VEC_SS || want == VEC_AC);
}

bool judge_void(const JudgeResult *native)
{
    const JudgeState *s = &native->after;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if ((s->seg[i] & 0xfffc) == LINUX_CPU_SEGMENT) {
            return true; /* a descriptor of the host's system */
        }
    }
    if (s->vector == VEC_PF && s->cr2 - JUDGE_SYSTEM < JUDGE_SYSTEM_SIZE) {
        return true; /* present on one side alone */
    }
    return s->vector == VEC_PF && (s->error & (PF_FETCH | PF_PRESENT)) == (PF_FETCH | PF_PRESENT);
}

/* Handlers that compute flags without the host's instruction follow the manual there, and an
 * undefined flag may differ between makes of hosts. */
static uint32_t compared_flags(const JudgeCase *c, const JudgeState *want)
{
    static const char *const own[] = {"DAA", "DAS", "AAA", "AAS", "AAM", "AAD"};
    const OpRow *row = &op_rows[c->op];
    bool repeated = row->traits & T_STR && c->in.prefix & (PREFIX_REP | PREFIX_REPNE);
    for (unsigned i = 0; i < c->parts; i++) {
        repeated |= op_rows[c->part[i].op].traits & T_STR;
    }
    /* AMD's leave RF off there: always where it is refused at once, now and then where a jump or
     * the instruction before led there */
    uint32_t limit = judge_segment_reg(c->before.seg[CS] >> 3).limit;
    bool at_end = want->vector == VEC_GP && want->eip + INSN_MAX_BYTES > limit;
    if (c->length > code_room(c) || at_end || (repeated && want->vector == VEC_DB)) {
        return COMPARED_FLAGS & ~(uint32_t)FL_RF;
    }
    for (unsigned i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (!strcmp(row->id, own[i])) {
            return (uint32_t)(COMPARED_FLAGS & ~row->flags_undefined);
        }
    }
    return COMPARED_FLAGS;
}

static void compare_registers(Text *t, const JudgeCase *c, const JudgeState *want,
                              const JudgeState *have)
{
    static const char names[8][4] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
    static const char segments[SEG_COUNT][3] = {"es", "cs", "ss", "ds", "fs", "gs"};

    if (want->vector != have->vector) {
        say(t, "  vector   %8d %8d\n", want->vector, have->vector);
    } else if (((want->vector >= VEC_TS && want->vector <= VEC_PF) || want->vector == VEC_AC) &&
               !(want->vector == VEC_PF && large_operand(c)) &&
               (want->error & ~(want->vector == VEC_PF ? PF_FETCH : 0u)) != have->error) {
        say(t, "  error    %8x %8x\n", want->error, have->error);
    }
    if (want->vector == VEC_PF && have->vector == VEC_PF && want->cr2 != have->cr2 &&
        !(large_operand(c) && (c->in.adsize == 2 || want->cr2 - have->cr2 + 16 < 528))) {
        say(t, "  cr2      %08x %08x\n", want->cr2, have->cr2);
    }
    for (unsigned i = 0; i < 8; i++) {
        bool partial = want->vector != VEC_BP && !strcmp(op_rows[c->op].id, "POPA");
        if (want->reg[i] != have->reg[i] && !partial) {
            say(t, "  %s      %08x %08x\n", names[i], want->reg[i], have->reg[i]);
        }
    }
    if (want->eip != have->eip) {
        say(t, "  eip      %08x %08x\n", want->eip, have->eip);
    }
    uint32_t flags = (want->eflags ^ have->eflags) & compared_flags(c, want);
    if (flags) {
        say(t, "  eflags   %08x %08x (differ in %x)\n", want->eflags, have->eflags, flags);
    }
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        /* a null selector's RPL is lost on the host's way through its system */
        bool nulls = want->seg[i] < 4 && have->seg[i] < 4;
        if (want->seg[i] != have->seg[i] && !nulls) {
            say(t, "  %s       %04x     %04x\n", segments[i], want->seg[i], have->seg[i]);
        }
    }
}

/* AMD's FXSAVE and XSAVE, by which the host's system switches tasks and tells the state, keep the
 * x87 pointers only while an exception is pending, and show zeros else; newer ones of Intel set the
 * data pointer only by an exception, and say so. */
static void compare_pointers(Text *t, const JudgeCase *c, const JudgeFx *want, const JudgeFx *have)
{
    bool pending = want->status & FSW_ES;
    bool sure = pending && c->before.fx.status & FSW_ES && !c->parts;
    if (!sure && !want->opcode && !want->ip && !want->data) {
        return;
    }
    bool data = want->data != have->data && (sure || want->data) &&
                (pending || !judge_native_data_on_exception());
    if (want->opcode != have->opcode || want->ip != have->ip || data) {
        say(t, "  fop, fip, fdp %03x,%08x,%08x %03x,%08x,%08x\n", want->opcode, want->ip,
            want->data, have->opcode, have->ip, have->data);
    }
}

static void compare_fx(Text *t, const JudgeCase *c, const JudgeFx *want, const JudgeFx *have)
{
    if (want->control != have->control || want->status != have->status) {
        say(t, "  fcw, fsw %04x,%04x %04x,%04x\n", want->control, want->status, have->control,
            have->status);
    }
    if (want->valid != have->valid) {
        say(t, "  x87 tags %02x       %02x\n", want->valid, have->valid);
    }
    compare_pointers(t, c, want, have);
    if (want->mxcsr != have->mxcsr) {
        say(t, "  mxcsr    %08x %08x\n", want->mxcsr, have->mxcsr);
    }
    for (unsigned i = 0; i < 8; i++) {
        const Float80 *a = &want->st[i], *b = &have->st[i];
        if (a->mantissa != b->mantissa || a->sign_exponent != b->sign_exponent) {
            say(t, "  st%u      %04x:%016llx %04x:%016llx\n", i, a->sign_exponent,
                (unsigned long long)a->mantissa, b->sign_exponent, (unsigned long long)b->mantissa);
        }
        const Xmm *x = &want->xmm[i], *y = &have->xmm[i];
        if (memcmp(x, y, sizeof(*x)) != 0) {
            say(t, "  xmm%u     %016llx%016llx %016llx%016llx\n", i, (unsigned long long)x->q[1],
                (unsigned long long)x->q[0], (unsigned long long)y->q[1],
                (unsigned long long)y->q[0]);
        }
    }
}

/* Fields of an image that the instruction stores in which hosts differ by design: FXSAVE's mask of
 * MXCSR, its place for registers that the model has not, and pointers that the host has lost or
 * does not show (see compare_pointers). `want`: the host's byte. */
static bool hidden_field(const JudgeCase *c, uint32_t offset, uint8_t want)
{
    const char *id = op_rows[c->op].id;
    unsigned step = c->in.opsize;
    bool pending = c->before.fx.status & FSW_ES;

    if (!strcmp(id, "FXSAVE")) {
        return (!pending && offset >= 6 && offset < 24) || (offset >= 28 && offset < 32) ||
               (offset >= 288 && offset < 512);
    }
    if (strcmp(id, "FNSTENV") != 0 && strcmp(id, "FNSAVE") != 0) {
        return false;
    }
    bool data = offset >= 5 * step && offset < 7 * step;
    return !pending && ((want == 0 && offset >= 3 * step && offset < 7 * step) ||
                        (data && judge_native_data_on_exception()));
}

static uint32_t operand_at(const JudgeCase *c)
{
    const Insn *in = &c->in;
    const uint32_t *reg = c->before.reg;
    uint32_t offset = in->disp + (in->base == NO_REG ? 0 : reg[in->base]) +
                      (in->index == NO_REG ? 0 : reg[in->index] << in->scale);
    uint16_t selector = c->before.seg[in->seg];
    return (offset & in->address_mask) + (selector < 4 ? 0 : judge_segments[selector >> 3].base);
}

static void compare_memory(Text *t, const JudgeCase *c, const JudgeResult *native,
                           const JudgeEngine *e)
{
    uint32_t operand = operand_at(c);
    unsigned told = 0;

    for (unsigned i = 0; i < JUDGE_PAGES; i++) {
        const uint8_t *want = native->memory.page[i], *have = judge_engine_page(e, i);
        if (memcmp(want, have, JUDGE_PAGE) == 0) {
            continue;
        }
        for (unsigned at = 0; at < JUDGE_PAGE; at++) {
            uint32_t linear = judge_page_at(i) + at;
            if (want[at] != have[at] && !hidden_field(c, linear - operand, want[at]) &&
                told++ < 16) {
                say(t, "  [%08x] %02x %02x\n", linear, want[at], have[at]);
            }
        }
    }
}

void judge_compare(const JudgeCase *c, const JudgeResult *native, const JudgeState *have,
                   const JudgeEngine *e, char *text, size_t room)
{
    Text t = {text, room, 0};

    text[0] = '\0';
    if (refused_nothing(c, &native->after) ||
        (native->after.vector != have->vector &&
         other_order(c, native->after.vector, have->vector))) {
        return;
    }
    compare_registers(&t, c, &native->after, have);
    bool faulted = have->vector != VEC_BP && have->vector != VEC_DB;
    /* AMD's enter MMX, then fault; and load or store a large operand as far as it goes */
    if (!((id_is(c, "MASKMOVQ") || large_operand(c)) && faulted)) {
        compare_fx(&t, c, &native->after.fx, &have->fx);
    }
    /* AMD's push, then check the target */
    if (!((id_is(c, "CALL") || large_operand(c)) && faulted)) {
        compare_memory(&t, c, native, e);
    }
}

static void print_code(FILE *out, const JudgeCase *c)
{
    char text[100] = "(not decoded)";
    const CpuMode mode = {judge_segments[c->before.seg[CS] >> 3].big, false, CPU_PENTIUM4};
    uint32_t eip = c->before.eip;
    Insn in;

    if (!c->parts) {
        if (c->length <= INSN_MAX_BYTES) {
            x86_disassemble(&c->in, eip, text, sizeof(text));
        }
        fprintf(out, "%s: %s; seed 0x%llx, case %llu\n", op_rows[c->op].id, text,
                (unsigned long long)c->seed, (unsigned long long)c->number);
        return;
    }
    fprintf(out, "sequence; seed 0x%llx, case %llu\n", (unsigned long long)c->seed,
            (unsigned long long)c->number);
    for (unsigned i = 0; i < c->parts; eip += c->part[i++].length) {
        x86_decode(&(CodeView){c->part[i].bytes, c->part[i].length}, &mode, &in);
        x86_disassemble(&in, eip, text, sizeof(text));
        fprintf(out, "  %08x %s: %s\n", eip, op_rows[c->part[i].op].id, text);
    }
}

static bool uses_fpu(const JudgeCase *c)
{
    unsigned traits = op_rows[c->op].traits;
    for (unsigned i = 0; i < c->parts; i++) {
        traits |= op_rows[c->part[i].op].traits;
    }
    return traits & (T_X87 | T_MMX | T_SSE);
}

void judge_print_case(FILE *out, const JudgeCase *c)
{
    const JudgeState *s = &c->before;

    print_code(out, c);
    fprintf(out, "  bytes   ");
    for (unsigned i = 0; i < c->length; i++) {
        fprintf(out, " %02x", c->bytes[i]);
    }
    fprintf(out, "\n  at       %08x (linear %08x), eflags %08x\n  regs    ", s->eip, c->code_at,
            s->eflags);
    for (unsigned i = 0; i < 8; i++) {
        fprintf(out, " %08x", s->reg[i]);
    }
    fprintf(out, "\n  segments");
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        fprintf(out, " %04x", s->seg[i]);
    }
    fprintf(out, "\n");
    if (uses_fpu(c)) {
        fprintf(out, "  fcw %04x fsw %04x valid %02x mxcsr %08x\n", s->fx.control, s->fx.status,
                s->fx.valid, s->fx.mxcsr);
        for (unsigned i = 0; i < 8; i++) {
            fprintf(out, "  st%u %04x:%016llx  xmm%u %016llx%016llx\n", i,
                    s->fx.st[i].sign_exponent, (unsigned long long)s->fx.st[i].mantissa, i,
                    (unsigned long long)s->fx.xmm[i].q[1], (unsigned long long)s->fx.xmm[i].q[0]);
        }
    }
    for (unsigned i = 0; i < c->patches; i++) {
        fprintf(out, "  [%08x]", c->patch[i].at);
        for (unsigned k = 0; k < c->patch[i].size && k < 128; k++) {
            fprintf(out, " %02x", c->patch_bytes[c->patch[i].from + k]);
        }
        fprintf(out, "\n");
    }
}
