/* The native judge's sequences: 2 to 8 instructions of the list that run one into the other, with
 * branches among them. What a translator keeps from one instruction to the next (flags that nobody
 * needs, parts of registers, the x87 stack) shows only here. */
#include <string.h>

#include "tests/cpu/judge_maker.h"

bool judge_sequence_row(const OpRow *row)
{
    /* Rows whose host, in single cases, may do otherwise by design (see judge_compare.c), or which
     * mostly end what they stand in. */
    static const char *const out[] = {
        "DAA",     "DAS",   "AAA",    "AAS",    "AAM",    "AAD",     "POPA",   "MASKMOV",
        "UD",      "INT",   "BOUND",  "FXSAVE", "FNSAVE", "FRSTOR",  "FLDENV", "FXRSTOR",
        "FNSTENV", "ENTER", "MOV_Sw", "POP_ES", "POP_SS", "POP_DS",  "POP_FS", "POP_GS",
        "ARPL",    "LAR",   "LSL",    "VERR",   "VERW",   "LDMXCSR",
    };
    if (judge_exempt(row) || row->traits & (T_PRIV | T_IO | T_STOP) ||
        strstr(row->operands, "Mp") || strstr(row->operands, "Mt")) {
        return false;
    }
    for (unsigned i = 0; i < sizeof out / sizeof out[0]; i++) {
        if (!strncmp(row->id, out[i], strlen(out[i]))) {
            return false;
        }
    }
    bool branch = row->operands[0] == 'J' && !(row->traits & T_STACK);
    return !(row->traits & T_END) || branch;
}

/* Kinds of rows that a sequence is made of. */
typedef enum Kind { KIND_INTEGER, KIND_X87, KIND_VECTOR, KIND_ALL } Kind;

static const OpRow *choose_row(Maker *m, Kind kind)
{
    static const unsigned wanted[] = {0, T_X87, T_MMX | T_SSE, 0};
    const unsigned other = T_X87 | T_MMX | T_SSE;

    for (;;) {
        const OpRow *row = &op_rows[maker_random32(m) % OP_COUNT];
        unsigned traits = row->traits & other;
        bool fits = kind == KIND_ALL || (kind == KIND_INTEGER && !traits) ||
                    traits & wanted[kind] || (!traits && maker_chance(m, 30));
        bool rare = (!strncmp(row->id, "DIV", 3) || !strncmp(row->id, "IDIV", 4) ||
                     row->traits & T_STR || !strncmp(row->id, "LEAVE", 5)) &&
                    !maker_chance(m, 25);
        if (fits && !rare && judge_sequence_row(row)) {
            return row;
        }
    }
}

static void join(JudgeCase *c)
{
    unsigned at[JUDGE_PARTS + 1] = {0};

    memset(c->bytes, 0xcc, sizeof(c->bytes));
    for (unsigned i = 0; i < c->parts; i++) {
        at[i + 1] = at[i] + c->part[i].length;
    }
    for (unsigned i = 0; i < c->parts; i++) {
        JudgePart *p = &c->part[i];
        uint32_t distance = at[p->to] - at[i + 1];
        memcpy(p->bytes + p->length - p->relative, &distance, p->relative);
        memcpy(c->bytes + at[i], p->bytes, p->length);
    }
    c->length = (uint8_t)at[c->parts];
}

void judge_sequence_drop(JudgeCase *c, unsigned part)
{
    for (unsigned i = part; i + 1 < c->parts; i++) {
        c->part[i] = c->part[i + 1];
    }
    c->parts--;
    for (unsigned i = 0; i < c->parts; i++) {
        c->part[i].to -= c->part[i].to > part;
    }
    join(c);
}

/* One instruction, in c->bytes and c->in. */
static bool attempt(Maker *m)
{
    JudgeCase *c = m->c;
    Insn *in = &c->in;

    maker_bytes(m);
    if (maker_decode(m) != DECODE_OK || &op_rows[in->op] != m->row || judge_refused(in) ||
        in->length > sizeof(c->part[0].bytes)) {
        return false;
    }
    if (m->row->operands[0] == 'J') {
        /* a 16-bit branch in 32-bit code would leave it */
        return (in->opsize == 4) == maker_code_big(m);
    }
    bool memory = strchr(m->row->operands, 'O') || (in->memory && m->row->form != FORM_NONE);
    if (memory && in->base == NO_REG) {
        uint32_t spot = maker_spot(m, in->seg), offset = spot - maker_base_of(m, in->seg);
        if (strchr(m->row->operands, 'O')) {
            memcpy(c->bytes + in->length - in->adsize, &offset, in->adsize);
        } else {
            maker_aim(m, spot);
        }
        maker_fill(m, spot);
    }
    return maker_decode(m) == DECODE_OK && &op_rows[in->op] == m->row;
}

static bool add_part(Maker *m, Kind kind)
{
    JudgeCase *c = m->c;

    for (unsigned tries = 0; tries < 200; tries++) {
        unsigned patches = c->patches, used = c->patch_used;
        m->row = choose_row(m, kind);
        if (!attempt(m)) {
            c->patches = patches;
            c->patch_used = used;
            continue;
        }
        JudgePart *p = &c->part[c->parts++];
        *p = (JudgePart){.op = c->in.op, .length = c->in.length};
        memcpy(p->bytes, c->bytes, p->length);
        if (m->row->operands[0] == 'J') {
            p->relative = m->row->operands[1] == 'b' ? 1 : c->in.opsize;
        }
        return true;
    }
    return false;
}

static void set_registers(Maker *m)
{
    static const uint8_t pointers[] = {ESI, EDI, EBP};
    JudgeState *s = &m->c->before;
    unsigned size = maker_code_big(m) ? 4 : 2;

    for (unsigned i = 0; i < 8; i++) {
        s->reg[i] = maker_integer(m);
    }
    for (unsigned i = 0; i < sizeof(pointers); i++) {
        unsigned seg = pointers[i] == EBP ? SS : pointers[i] == EDI ? ES : DS;
        maker_set_low(&s->reg[pointers[i]], maker_spot(m, seg) - maker_base_of(m, seg), size);
    }
    const JudgeSegment *ss = &judge_segments[m->data[SS]];
    maker_set_low(&s->reg[ESP], maker_stack_spot(m) - ss->base, ss->big ? 4 : 2);
    if (maker_chance(m, 50)) {
        s->reg[ECX] = maker_random32(m) % 40;
    }
}

bool judge_sequence_make(JudgeCase *c, uint64_t seed, uint64_t number)
{
    static const Kind kinds[] = {KIND_INTEGER, KIND_INTEGER, KIND_INTEGER, KIND_INTEGER,
                                 KIND_X87,     KIND_VECTOR,  KIND_ALL};
    Maker m = {.c = c, .calm = true};

    m.random = maker_mix(maker_mix(~seed) ^ maker_mix(number + 1)) | 1;
    c->seed = seed;
    c->number = number;
    c->op = OP_INVALID;
    c->parts = c->patches = c->patch_used = 0;
    maker_segments(&m);
    uint32_t place =
        maker_chance(&m, 90) ? 0x800 + maker_random32(&m) % 0x100 : 0xfd0 + maker_random32(&m) % 48;
    c->code_at = JUDGE_CODE + place;
    c->before.eip = c->code_at - maker_base_of(&m, CS);
    set_registers(&m);
    Kind kind = kinds[maker_random32(&m) % (sizeof kinds / sizeof kinds[0])];
    unsigned wanted = 2 + maker_random32(&m) % (JUDGE_PARTS - 1);
    while (c->parts < wanted) {
        if (!add_part(&m, kind)) {
            return false;
        }
    }
    for (unsigned i = 0; i < c->parts; i++) {
        c->part[i].to = (uint8_t)(i + 1 + maker_random32(&m) % (c->parts - i));
    }
    join(c);
    memset(&c->in, 0, sizeof(c->in));
    JudgeState *s = &c->before;
    s->eflags = FL_ONE | FL_IF | (maker_random32(&m) & FL_ARITH);
    s->eflags |= (maker_chance(&m, 10) ? FL_DF : 0) | (maker_chance(&m, 1) ? FL_TF : 0);
    judge_fx_init(&s->fx);
    if (kind != KIND_INTEGER) {
        m.row = &op_rows[c->part[0].op];
        maker_fx(&m, &s->fx);
        if (maker_chance(&m, 75)) { /* exceptions masked, so that it mostly comes to its end */
            s->fx.control |= 0x3f;
            s->fx.status &= 0x7f7f;
            s->fx.mxcsr |= 0x1f80;
        }
    }
    return true;
}
