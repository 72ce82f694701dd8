/* The instruction decoder, driven by the opcode list.
 *
 * SDM volume 2, chapter 2 (prefixes, ModRM, SIB) is the source; what each opcode is and which
 * models have it comes from x86_ops.def. The look-up tables are derived from the list at the first
 * call and never change afterwards. Every engine, the disassembler and the tests use it.
 */
#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "cpu-accel/x86/ops.h"

enum {
    MAPS = 2,           /* one byte, 0F */
    CHOICES = 16 * 256, /* room for the rows of all opcodes, each list ended by 0 */
    MAX_OPERANDS = 3,
};

/* What follows opcode and ModRM. */
typedef enum ImmKind {
    IMM_NONE,
    IMM_ONE, /* no byte: the operand is the constant 1 */
    IMM_BYTE,
    IMM_SIGNED_BYTE,
    IMM_WORD,
    IMM_SIZED, /* 2 or 4 by operand size */
    IMM_SIGNED_SIZED,
    IMM_OFFSET, /* moffs: 2 or 4 by address size */
    IMM_FAR,
    IMM_WORD_BYTE,
} ImmKind;

/* What the operand letters of a row mean for decoding. */
typedef struct RowShape {
    uint8_t imm;       /* ImmKind */
    bool low_register; /* the register is in the opcode's low bits */
    bool rm_register;  /* ModRM.rm is a register whatever mod says */
    bool string;       /* memory by ESI or EDI */
    uint8_t segment;   /* fixed segment register operand, or NO_REG */
} RowShape;

typedef struct DecodeTables {
    uint16_t choices[CHOICES]; /* lists of rows; entry 0 is an empty list */
    uint16_t first[MAPS][256]; /* into choices */
    RowShape shape[OP_COUNT];
} DecodeTables;

/* Constant after tables_build: derived data, the same for every machine. */
static DecodeTables tables;
static pthread_once_t tables_built = PTHREAD_ONCE_INIT;

static void shape_add(RowShape *s, const char *operand, size_t length)
{
    static const struct {
        const char *text;
        uint8_t imm;
    } immediates[] = {
        {"1", IMM_ONE},     {"Ib", IMM_BYTE},        {"sIb", IMM_SIGNED_BYTE}, {"Iw", IMM_WORD},
        {"Iv", IMM_SIZED},  {"Jb", IMM_SIGNED_BYTE}, {"Jv", IMM_SIGNED_SIZED}, {"Ap", IMM_FAR},
        {"Ob", IMM_OFFSET}, {"Ov", IMM_OFFSET},
    };
    static const char segments[SEG_COUNT][3] = {"ES", "CS", "SS", "DS", "FS", "GS"};

    for (unsigned i = 0; i < sizeof immediates / sizeof immediates[0]; i++) {
        if (strlen(immediates[i].text) == length && !memcmp(operand, immediates[i].text, length)) {
            s->imm = s->imm == IMM_WORD ? IMM_WORD_BYTE : immediates[i].imm;
        }
    }
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (length == 2 && !memcmp(operand, segments[i], 2)) {
            s->segment = (uint8_t)i;
        }
    }
    s->low_register |= operand[0] == 'Z';
    s->rm_register |= operand[0] == 'R';
    s->string |= operand[0] == 'X' || operand[0] == 'Y';
}

static RowShape shape_of(const OpRow *row)
{
    RowShape s = {.imm = IMM_NONE, .segment = NO_REG};
    const char *p = row->operands;

    while (*p) {
        size_t length = strcspn(p, ",");
        shape_add(&s, p, length);
        p += length + (p[length] == ',');
    }
    return s;
}

static void tables_build(void)
{
    unsigned used = 1;

    for (unsigned i = 0; i < OP_COUNT; i++) {
        tables.shape[i] = shape_of(&op_rows[i]);
    }
    for (unsigned map = 0; map < MAPS; map++) {
        for (unsigned opcode = 0; opcode < 256; opcode++) {
            unsigned start = used;
            for (unsigned i = 0; i < OP_COUNT; i++) {
                const OpRow *row = &op_rows[i];
                if (row->map == MAP_1 + map && opcode >= row->opcode &&
                    opcode - row->opcode < row->count) {
                    assert(used < CHOICES - 1);
                    tables.choices[used++] = (uint16_t)i;
                }
            }
            if (used > start) {
                tables.first[map][opcode] = (uint16_t)start;
                used++;
            }
        }
    }
}

/* The bytes, and how far we are. A read beyond their end gives 0 and is remembered. */
typedef struct Cursor {
    const uint8_t *bytes;
    unsigned count, at;
} Cursor;

static inline uint8_t next8(Cursor *c)
{
    uint8_t value = c->at < c->count ? c->bytes[c->at] : 0;
    c->at++;
    return value;
}

static inline uint16_t next16(Cursor *c)
{
    uint16_t low = next8(c);
    return (uint16_t)(low | next8(c) << 8);
}

static inline uint32_t next32(Cursor *c)
{
    uint32_t low = next16(c);
    return low | (uint32_t)next16(c) << 16;
}

static void address16(Cursor *c, Insn *in, unsigned mod, unsigned rm)
{
    static const uint8_t bases[8] = {EBX, EBX, EBP, EBP, ESI, EDI, EBP, EBX};
    static const uint8_t indexes[8] = {ESI, EDI, ESI, EDI, NO_REG, NO_REG, NO_REG, NO_REG};

    if (mod == 0 && rm == 6) {
        in->disp = next16(c);
        return;
    }
    in->base = bases[rm];
    in->index = indexes[rm];
    if (mod == 1) {
        in->disp = (uint32_t)(int8_t)next8(c);
    } else if (mod == 2) {
        in->disp = (uint32_t)(int16_t)next16(c);
    }
}

static void address32(Cursor *c, Insn *in, unsigned mod, unsigned rm)
{
    unsigned base = rm;

    if (rm == 4) {
        uint8_t sib = next8(c);
        base = sib & 7;
        if ((sib >> 3 & 7) != 4) {
            in->index = sib >> 3 & 7;
            in->scale = sib >> 6;
        }
    }
    if (mod == 0 && base == 5) {
        in->disp = next32(c);
        return;
    }
    in->base = (uint8_t)base;
    if (mod == 1) {
        in->disp = (uint32_t)(int8_t)next8(c);
    } else if (mod == 2) {
        in->disp = next32(c);
    }
}

static void memory_operand(Cursor *c, Insn *in, unsigned mod, unsigned rm)
{
    in->memory = true;
    if (in->adsize == 4) {
        address32(c, in, mod, rm);
    } else {
        address16(c, in, mod, rm);
    }
    if (!(in->prefix & PREFIX_SEG)) {
        in->seg = in->base == EBP || in->base == ESP ? SS : DS;
    }
}

static void immediate(Cursor *c, Insn *in, ImmKind kind)
{
    switch (kind) {
    case IMM_NONE:
        break;
    case IMM_ONE:
        in->imm = 1;
        break;
    case IMM_BYTE:
        in->imm = next8(c);
        break;
    case IMM_SIGNED_BYTE:
        in->imm = (uint32_t)(int8_t)next8(c);
        break;
    case IMM_WORD:
        in->imm = next16(c);
        break;
    case IMM_SIZED:
        in->imm = in->opsize == 4 ? next32(c) : next16(c);
        break;
    case IMM_SIGNED_SIZED:
        in->imm = in->opsize == 4 ? next32(c) : (uint32_t)(int16_t)next16(c);
        break;
    case IMM_OFFSET:
        in->memory = true;
        in->disp = in->adsize == 4 ? next32(c) : next16(c);
        break;
    case IMM_FAR:
        in->imm = in->opsize == 4 ? next32(c) : next16(c);
        in->imm2 = next16(c);
        break;
    case IMM_WORD_BYTE:
        in->imm = next16(c);
        in->imm2 = next8(c);
        break;
    }
}

/* Takes prefixes; the cursor is left at the opcode. */
static void prefixes(Cursor *c, Insn *in, bool code32)
{
    for (; c->at < c->count; c->at++) {
        switch (c->bytes[c->at]) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            in->seg = c->bytes[c->at] >> 3 & 3;
            in->prefix |= PREFIX_SEG;
            break;
        case 0x64:
        case 0x65:
            in->seg = (uint8_t)(c->bytes[c->at] - 0x64 + FS);
            in->prefix |= PREFIX_SEG;
            break;
        case 0x66:
            in->prefix |= PREFIX_OPSIZE;
            break;
        case 0x67:
            in->prefix |= PREFIX_ADSIZE;
            break;
        case 0xf0:
            in->prefix |= PREFIX_LOCK;
            break;
        case 0xf2:
            in->prefix = (uint8_t)((in->prefix & ~PREFIX_REP) | PREFIX_REPNE);
            break;
        case 0xf3:
            in->prefix = (uint8_t)((in->prefix & ~PREFIX_REPNE) | PREFIX_REP);
            break;
        default:
            goto done;
        }
    }
done:
    in->opsize = code32 != !!(in->prefix & PREFIX_OPSIZE) ? 4 : 2;
    in->adsize = code32 != !!(in->prefix & PREFIX_ADSIZE) ? 4 : 2;
}

static OpPrefix mandatory(const Insn *in)
{
    if (in->prefix & PREFIX_REPNE) {
        return MANDATORY_F2;
    }
    if (in->prefix & PREFIX_REP) {
        return MANDATORY_F3;
    }
    return in->prefix & PREFIX_OPSIZE ? MANDATORY_66 : MANDATORY_NONE;
}

static bool row_fits(const OpRow *row, const CpuMode *mode, OpPrefix prefix, uint8_t modrm)
{
    if (mode->model < row->since || (row->traits & T_UNTIL_486 && mode->model > CPU_486)) {
        return false;
    }
    if (row->prefix != MANDATORY_ANY && row->prefix != prefix) {
        return false;
    }
    if (row->traits & T_NO_REAL && mode->v86) {
        return false;
    }
    if (row->form == FORM_NONE) {
        return true;
    }
    if ((row->form == FORM_MEM && modrm >= 0xc0) || (row->form == FORM_REG && modrm < 0xc0)) {
        return false;
    }
    if (row->digit >= 0xc0) {
        return row->digit == modrm;
    }
    return row->digit == SLASH_R || row->digit == (modrm >> 3 & 7);
}

/* The first row of the list that starts at `choice` and fits, or OP_INVALID. */
static unsigned row_find(unsigned choice, const CpuMode *mode, OpPrefix prefix, uint8_t modrm)
{
    unsigned op;

    while ((op = tables.choices[choice]) != OP_INVALID &&
           !row_fits(&op_rows[op], mode, prefix, modrm)) {
        choice++;
    }
    return op;
}

/* All that follows the opcode. */
static void operands(Cursor *c, Insn *in, const OpRow *row, const RowShape *shape)
{
    if (row->form == FORM_NONE) {
        if (shape->low_register) {
            in->reg = in->rm = in->opcode & 7;
        } else if (shape->segment != NO_REG) {
            in->reg = shape->segment;
        }
        in->memory = shape->string;
    } else {
        uint8_t modrm = next8(c);
        in->modrm = modrm;
        in->reg = modrm >> 3 & 7;
        in->rm = modrm & 7;
        if (modrm < 0xc0 && !shape->rm_register) {
            memory_operand(c, in, modrm >> 6, modrm & 7);
        }
    }
    immediate(c, in, shape->imm);
}

static DecodeResult invalid(Insn *in, unsigned length)
{
    in->op = OP_INVALID;
    in->memory = false;
    in->handler = op_rows[OP_INVALID].handler[0];
    in->length = (uint8_t)length;
    return DECODE_INVALID;
}

/* An undefined form of an opcode with ModRM: what follows is fetched, and may be too long. */
static DecodeResult invalid_operand(Cursor *c, Insn *in, ImmKind imm, DecodeResult missing)
{
    uint8_t modrm = next8(c);
    if (modrm < 0xc0) {
        memory_operand(c, in, modrm >> 6, modrm & 7);
    }
    immediate(c, in, imm);
    DecodeResult result = c->at > c->count ? missing : DECODE_INVALID;
    invalid(in, c->at > c->count ? c->count : c->at);
    return result;
}

DecodeResult x86_decode(const CodeView *code, const CpuMode *mode, Insn *in)
{
    Cursor c = {code->bytes, code->count < INSN_MAX_BYTES ? code->count : INSN_MAX_BYTES, 0};
    /* A byte that is missing beyond the limit makes the instruction too long, else short. */
    DecodeResult missing = code->count < INSN_MAX_BYTES ? DECODE_SHORT : DECODE_TOO_LONG;

    pthread_once(&tables_built, tables_build);
    *in = (Insn){.seg = DS, .base = NO_REG, .index = NO_REG};
    prefixes(&c, in, mode->code32);
    unsigned map = 0;
    in->opcode = next8(&c);
    if (in->opcode == 0x0f) {
        map = 1;
        in->opcode = next8(&c);
    }
    if (c.at > c.count) {
        invalid(in, c.count);
        return missing;
    }
    unsigned choice = tables.first[map][in->opcode];
    bool has_modrm = op_rows[tables.choices[choice]].form != FORM_NONE;
    if (has_modrm && c.at >= c.count) {
        invalid(in, c.count);
        return missing;
    }
    unsigned op = row_find(choice, mode, mandatory(in), has_modrm ? c.bytes[c.at] : 0);
    const OpRow *row = &op_rows[op];
    if (op == OP_INVALID) {
        return has_modrm
                   ? invalid_operand(&c, in, tables.shape[tables.choices[choice]].imm, missing)
                   : invalid(in, c.at);
    }
    operands(&c, in, row, &tables.shape[op]);
    if (c.at > c.count) {
        invalid(in, c.count);
        return missing;
    }
    if (in->prefix & PREFIX_LOCK && !(row->traits & T_LOCK && in->memory)) {
        return invalid(in, c.at);
    }
    in->op = (uint16_t)op;
    in->length = (uint8_t)c.at;
    in->address_mask = in->adsize == 4 ? UINT32_MAX : UINT16_MAX;
    in->handler = row->handler[(in->opsize == 4) * 2 + in->memory];
    return DECODE_OK;
}
