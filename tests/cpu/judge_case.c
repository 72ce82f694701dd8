/* Makes the native judge's cases from the opcode list. */
#include <string.h>

#include "tests/cpu/judge_maker.h"

/* --- which rows --- */

const char *judge_exempt(const OpRow *row)
{
    static const struct {
        const char *id, *why;
    } rows[] = {
        {"INVALID", "no encoding of its own"},
        {"SGDT", "UMIP: the host's system emulates it; tests/system/exempt.asm"},
        {"SIDT", "UMIP: the host's system emulates it; tests/system/exempt.asm"},
        {"SMSW", "UMIP: the host's system emulates it; tests/system/exempt.asm"},
        {"SLDT", "UMIP: the host's system emulates it; tests/system/exempt.asm"},
        {"STR", "UMIP: the host's system emulates it; tests/system/exempt.asm"},
        {"CPUID", "another processor than the host's; tests/cpu/test_system.c"},
        {"RDTSC", "the time differs; tests/system/exempt.asm"},
        {"RDPMC", "counters of the host; tests/system/exempt.asm"},
        {"SYSENTER", "would call the host's system; tests/system/exempt.asm"},
        {"ICEBP", "a virtual host's monitor injects it as a fault; the manual's trap is judged by "
                  "tests/system/debug.asm"},
        {"RSM", "only inside SMM; tests/system/smm.asm"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!strcmp(row->id, rows[i].id)) {
            return rows[i].why;
        }
    }
    if (row->traits & T_UNTIL_486) {
        return "gone with the Pentium: #UD on the host's generation; tests/cpu/test_system.c";
    }
    return NULL;
}

/* --- state --- */

void judge_fx_init(JudgeFx *fx)
{
    memset(fx, 0, sizeof(*fx));
    fx->control = 0x37f;
    fx->mxcsr = 0x1f80;
}

static uint16_t random_control(Maker *m)
{
    return maker_chance(m, 50)
               ? 0x37f
               : (uint16_t)((maker_random32(m) & 0x1f00) | 0x40 |
                            (maker_chance(m, 50) ? 0x3f : maker_random32(m) & 0x3f));
}

static uint16_t random_status(Maker *m, uint16_t control)
{
    uint16_t status = (uint16_t)(maker_random32(m) & 0x787f);
    if (!maker_chance(m, 5)) {
        status &= (uint16_t)(0xffc0 | (control & 0x3f));
    }
    if (status & ~control & 0x3f) {
        status |= 0x8080;
    }
    return status;
}

static uint32_t random_mxcsr(Maker *m)
{
    if (maker_chance(m, 50)) {
        return 0x1f80;
    }
    uint32_t masks = maker_chance(m, 60) ? 0x1f80 : maker_random32(m) & 0x1f80;
    return masks | (maker_random32(m) & 0xe07f);
}

void maker_fx(Maker *m, JudgeFx *fx)
{
    fx->control = random_control(m);
    fx->status = random_status(m, fx->control);
    fx->valid = maker_chance(m, 60) ? 0xff : (uint8_t)maker_random32(m);
    fx->opcode = (uint16_t)(maker_random32(m) & 0x7ff);
    fx->ip = maker_random32(m);
    fx->data = maker_random32(m);
    fx->mxcsr = random_mxcsr(m);
    for (unsigned i = 0; i < 8; i++) {
        fx->st[i] = maker_real80(m);
        maker_operand(m, &fx->xmm[i]);
    }
    if (m->row->traits & T_MMX) {
        for (unsigned i = 0; i < 8; i++) {
            uint64_t q[2];
            maker_operand(m, q);
            fx->st[i].mantissa = q[0];
        }
    }
}

static void patch(Maker *m, uint32_t linear, const void *bytes, unsigned size)
{
    JudgeCase *c = m->c;
    if (c->patches == JUDGE_PATCHES || c->patch_used + size > JUDGE_PATCH_ROOM) {
        return;
    }
    c->patch[c->patches++] = (JudgePatch){linear, (uint16_t)size, (uint16_t)c->patch_used};
    memcpy(c->patch_bytes + c->patch_used, bytes, size);
    c->patch_used += size;
}

void maker_segments(Maker *m)
{
    static const uint8_t codes[] = {SEGMENT_CODE32, SEGMENT_CODE32_SMALL, SEGMENT_CODE16,
                                    SEGMENT_CODE16, SEGMENT_CODE16_HIGH};
    static const uint8_t stacks[] = {SEGMENT_FLAT,         SEGMENT_STACK32,    SEGMENT_STACK16,
                                     SEGMENT_STACK16_HIGH, SEGMENT_STACK_DOWN, SEGMENT_STACK16};
    static const uint8_t datas[] = {SEGMENT_FLAT,   SEGMENT_FLAT,   SEGMENT_SMALL,
                                    SEGMENT_SMALL,  SEGMENT_DATA16, SEGMENT_DATA16,
                                    SEGMENT_DOWN32, SEGMENT_DOWN16, SEGMENT_READ_ONLY,
                                    SEGMENT_CODE32, SEGMENT_COUNT};
    bool flat = maker_chance(m, 50);

    for (unsigned i = 0; i < SEG_COUNT; i++) {
        m->data[i] = SEGMENT_FLAT;
        if (!flat) {
            m->data[i] = datas[maker_random32(m) % sizeof(datas)];
        } else if (i >= FS && maker_chance(m, 30)) {
            m->data[i] = SEGMENT_COUNT;
        }
    }
    m->data[CS] = SEGMENT_CODE32;
    m->data[SS] = SEGMENT_FLAT;
    if (!flat) {
        m->data[CS] = codes[maker_random32(m) % sizeof(codes)];
        m->data[SS] = stacks[maker_random32(m) % sizeof(stacks)];
    }
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        m->c->before.seg[i] = m->data[i] == SEGMENT_COUNT ? 0 : judge_selector(m->data[i]);
    }
}

uint32_t maker_base_of(const Maker *m, unsigned seg)
{
    return m->data[seg] == SEGMENT_COUNT ? 0 : judge_segments[m->data[seg]].base;
}

bool maker_code_big(const Maker *m)
{
    return judge_segments[m->data[CS]].big;
}

/* --- places --- */

/* A linear address where an operand may lie: mostly inside, often at an edge. */
static uint32_t data_spot(Maker *m)
{
    static const uint32_t edges[] = {JUDGE_DATA,          JUDGE_DATA + 0x1000, JUDGE_DATA + 0x2000,
                                     JUDGE_DATA + 0x17fe, JUDGE_DATA + 0x7ff,  JUDGE_DATA + 0x3000,
                                     JUDGE_DATA + 0xbffc};
    uint32_t r = maker_random32(m) % 100;
    if (r < 2) {
        return maker_random32(m);
    }
    if (r < 15) {
        return edges[maker_random32(m) % (sizeof edges / sizeof edges[0])] - maker_random32(m) % 18;
    }
    if (r < 19) {
        return JUDGE_DATA + 0x2000 + maker_random32(m) % 0xf00;
    }
    uint32_t spot = JUDGE_DATA + 0x100 + maker_random32(m) % 0x1c00;
    return maker_chance(m, 60) ? spot & ~15u : spot;
}

uint32_t maker_stack_spot(Maker *m)
{
    uint32_t r = maker_random32(m) % 100;
    if (r < 2) {
        return maker_random32(m);
    }
    if (r < 8) {
        return JUDGE_STACK +
               (maker_chance(m, 50)   ? 0
                : maker_chance(m, 50) ? 0xe00u
                                      : 0x1000u) -
               18 + maker_random32(m) % 36;
    }
    uint32_t spot = JUDGE_STACK + 0x300 + maker_random32(m) % 0x900;
    return maker_chance(m, 90) ? spot & ~3u : spot;
}

uint32_t maker_spot(Maker *m, unsigned seg)
{
    return seg == SS && m->data[SS] != SEGMENT_FLAT ? maker_stack_spot(m) : data_spot(m);
}

/* An offset in code segment `number`, on INT3 bytes clear of the instruction, mostly. */
static uint32_t code_target(Maker *m, unsigned number)
{
    if (maker_chance(m, 6)) {
        return maker_random32(m) >> (maker_random32(m) & 16);
    }
    uint32_t at = JUDGE_CODE + maker_random32(m) % 0x2000;
    if (at + 1 >= m->c->code_at && at < m->c->code_at + JUDGE_CODE_ROOM) {
        at = JUDGE_CODE + 0x10;
    }
    return at - judge_segments[number].base;
}

static uint16_t random_selector(Maker *m, bool code)
{
    static const uint16_t others[] = {0, 3, 0x23, 0x2b, 0x10, 0x18, 0x57, 0xff, 0xfffc, 0x7fff, 1};
    uint32_t r = maker_random32(m) % 100;
    if (r < 20) {
        return others[maker_random32(m) % (sizeof others / sizeof others[0])];
    }
    if (r < 30) {
        return (uint16_t)(judge_selector(maker_random32(m) % SEGMENT_COUNT) &
                          ~(maker_random32(m) & 3));
    }
    return judge_selector(code ? maker_random32(m) % 4 : maker_random32(m) % SEGMENT_COUNT);
}

/* --- bytes --- */

/* For sequences: numbers in EAX to EBX, memory at a plain address or by ESI, EDI and EBP, so that
 * what went before rarely spoils an address. */
static void calm_modrm(Maker *m, unsigned adsize, unsigned *mod, unsigned *digit, unsigned *rm)
{
    const OpRow *row = m->row;
    bool bytes = strchr(row->operands, 'b') != NULL;

    if (row->digit < 0 && !bytes && maker_chance(m, 90)) {
        *digit &= 3;
    }
    if (row->form != FORM_MEM && (row->form == FORM_REG || maker_chance(m, 55))) {
        *mod = 3;
        *rm = bytes || maker_chance(m, 10) ? *rm : *rm & 3;
    } else if (maker_chance(m, 45)) {
        *mod = 0;
        *rm = adsize == 4 ? 5 : 6;
    } else if (maker_chance(m, 90)) {
        *mod = 1;
        *rm = adsize == 4 ? 5 + *rm % 3 : 4 + *rm % 3;
    }
}

static void modrm_bytes(Maker *m, unsigned *n, unsigned adsize)
{
    const OpRow *row = m->row;
    uint8_t *p = m->c->bytes;
    unsigned digit =
        row->digit >= 0 && row->digit < 8 ? (unsigned)row->digit : maker_random32(m) & 7;
    unsigned mod = row->form == FORM_REG   ? 3
                   : row->form == FORM_MEM ? maker_random32(m) % 3
                                           : maker_random32(m) & 3;
    unsigned rm = maker_random32(m) & 7;

    m->modrm_at = *n;
    if (row->digit >= 0xc0) {
        p[(*n)++] = (uint8_t)row->digit;
        return;
    }
    if (m->calm) {
        calm_modrm(m, adsize, &mod, &digit, &rm);
    }
    p[(*n)++] = (uint8_t)(mod << 6 | digit << 3 | rm);
    if (mod == 3) {
        return;
    }
    m->disp_size = mod == 1 ? 1 : mod == 2 ? adsize : 0;
    if (adsize == 4 && rm == 4) {
        uint8_t sib = (uint8_t)maker_random32(m);
        p[(*n)++] = sib;
        if (mod == 0 && (sib & 7) == 5) {
            m->disp_size = 4;
        }
    } else if (mod == 0 && rm == (adsize == 4 ? 5u : 6u)) {
        m->disp_size = adsize;
    }
    m->disp_at = *n;
    for (unsigned i = 0; i < m->disp_size; i++) {
        p[(*n)++] = (uint8_t)maker_random32(m);
    }
}

void maker_bytes(Maker *m)
{
    static const uint8_t prefixes[] = {0x66, 0x66, 0x66, 0x67, 0x67, 0xf2, 0xf3, 0xf3,
                                       0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf0, 0xf0};
    JudgeCase *c = m->c;
    const OpRow *row = m->row;
    unsigned n = 0, count = maker_chance(m, m->calm ? 70 : 55) ? 0
                            : m->calm                          ? 1
                            : maker_chance(m, 97)              ? 1 + maker_random32(m) % 3
                                                               : maker_random32(m) % 14;
    bool address = false;

    memset(c->bytes, 0xcc, sizeof(c->bytes));
    for (unsigned i = 0; i < count; i++) {
        c->bytes[n] = prefixes[maker_random32(m) % sizeof(prefixes)];
        if (c->bytes[n] == 0xf0 && !(row->traits & T_LOCK) && !maker_chance(m, 10)) {
            c->bytes[n] = 0x3e;
        }
        address |= c->bytes[n++] == 0x67;
    }
    if (row->prefix >= MANDATORY_66) {
        c->bytes[n++] = row->prefix == MANDATORY_66   ? 0x66
                        : row->prefix == MANDATORY_F3 ? 0xf3
                                                      : 0xf2;
    }
    if (row->map == MAP_0F) {
        c->bytes[n++] = 0x0f;
    }
    c->bytes[n++] = (uint8_t)(row->opcode + maker_random32(m) % row->count);
    m->modrm_at = m->disp_at = m->disp_size = 0;
    if (row->form != FORM_NONE) {
        modrm_bytes(m, &n, maker_code_big(m) != address ? 4 : 2);
    }
    for (unsigned i = 0; i < 8 && n < JUDGE_CODE_ROOM; i++) {
        c->bytes[n++] = (uint8_t)maker_integer(m);
    }
}

DecodeResult maker_decode(Maker *m)
{
    const CpuMode mode = {.code32 = maker_code_big(m), .v86 = false, .model = CPU_PENTIUM4};
    return x86_decode(&(CodeView){m->c->bytes, INSN_MAX_BYTES}, &mode, &m->c->in);
}

bool judge_refused(const Insn *in)
{
    const OpRow *row = &op_rows[in->op];
    bool rep = in->prefix & (PREFIX_REP | PREFIX_REPNE);

    /* F3 makes TZCNT, LZCNT ... of some 0F rows; on AMD's F2 and F3 decide which LOOPcc it is */
    if (rep && row->prefix == MANDATORY_ANY &&
        (row->map == MAP_0F || !strncmp(row->id, "LOOP", 4))) {
        return true;
    }
    /* a system call; gates that user code may take have rows of their own */
    return !strcmp(row->id, "INT_Ib") && (in->imm == 0x80 || in->imm == 3 || in->imm == 4);
}

static void put_at_end(JudgeCase *c, uint32_t value, unsigned bytes)
{
    memcpy(c->bytes + c->in.length - bytes, &value, bytes);
}

/* --- operands that make sense --- */

void maker_set_low(uint32_t *reg, uint32_t value, unsigned size)
{
    *reg = size == 4 ? value : (*reg & 0xffff0000) | (value & 0xffff);
}

/* Lets the memory operand point at `spot`, where its form can. */
void maker_aim(Maker *m, uint32_t spot)
{
    JudgeCase *c = m->c;
    Insn *in = &c->in;
    uint32_t *reg = c->before.reg;
    uint32_t offset = spot - maker_base_of(m, in->seg);
    uint32_t index = in->index == NO_REG ? 0 : reg[in->index] << in->scale;

    if (in->base == NO_REG || (in->base == in->index && m->disp_size == in->adsize)) {
        uint32_t base = in->base == NO_REG ? 0 : reg[in->base];
        uint32_t disp = offset - index - base;
        if (m->disp_size == in->adsize) {
            memcpy(c->bytes + m->disp_at, &disp, m->disp_size);
        }
    } else if (in->base != in->index) {
        maker_set_low(&reg[in->base], offset - in->disp - index, in->adsize);
    }
}

static bool id_is(const OpRow *row, const char *prefix)
{
    return !strncmp(row->id, prefix, strlen(prefix));
}

/* What the memory operand at `spot` holds. */
void maker_fill(Maker *m, uint32_t spot)
{
    const OpRow *row = m->row;
    unsigned opsize = m->c->in.opsize;
    uint8_t bytes[512];

    for (unsigned i = 0; i < sizeof(bytes); i += 16) {
        maker_operand(m, bytes + i);
    }
    if (strchr(row->operands, 'p') && id_is(row, "L")) {
        uint16_t selector = random_selector(m, false);
        memcpy(bytes + opsize, &selector, 2);
        patch(m, spot, bytes, opsize + 2);
        return;
    }
    if (id_is(row, "JMP_M") || id_is(row, "CALL_M")) {
        uint16_t selector = random_selector(m, true);
        unsigned number = selector >> 3 & 3;
        uint32_t target = code_target(m, number);
        memcpy(bytes, &target, 4);
        memcpy(bytes + opsize, &selector, 2);
        patch(m, spot, bytes, opsize + 2);
        return;
    }
    if (id_is(row, "JMP_E") || id_is(row, "CALL_E")) {
        uint32_t target = code_target(m, m->data[CS]);
        patch(m, spot, &target, opsize);
        return;
    }
    if (id_is(row, "MOV_Sw") ||
        (row->operands[0] && strstr(row->operands, "Ew") && (row->traits & T_NO_REAL))) {
        uint16_t selector = random_selector(m, false);
        patch(m, spot, &selector, 2);
        return;
    }
    if (id_is(row, "LDMXCSR")) {
        uint32_t mxcsr = random_mxcsr(m) | (maker_chance(m, 5) ? 0x10000u : 0);
        patch(m, spot, &mxcsr, 4);
        return;
    }
    if (id_is(row, "FLDCW")) {
        uint16_t control = (uint16_t)maker_random32(m);
        patch(m, spot, &control, 2);
        return;
    }
    if (id_is(row, "FXRSTOR")) {
        JudgeFx fx;
        judge_fx_init(&fx);
        maker_fx(m, &fx);
        fx.mxcsr |= maker_chance(m, 5) ? 0x40000u : 0;
        patch(m, spot, &fx, sizeof(fx));
        return;
    }
    if (id_is(row, "FLDENV") || id_is(row, "FRSTOR")) {
        uint16_t control = random_control(m), status = random_status(m, control);
        unsigned step = opsize;
        memcpy(bytes, &control, 2);
        memcpy(bytes + step, &status, 2);
        for (unsigned i = 0; i < 8; i++) {
            Float80 t = maker_real80(m);
            memcpy(bytes + 7 * step + i * 10, &t, 10);
        }
        patch(m, spot, bytes, 7 * step + 80);
        return;
    }
    patch(m, spot, bytes, 16);
}

static void stack_operands(Maker *m)
{
    JudgeCase *c = m->c;
    const OpRow *row = m->row;
    const JudgeSegment *ss = &judge_segments[m->data[SS]];
    uint32_t esp = c->before.reg[ESP];
    uint32_t top = ss->base + (ss->big ? esp : esp & 0xffff);
    unsigned size = c->in.opsize;
    uint32_t word[3] = {maker_integer(m), maker_integer(m), maker_integer(m)};

    if (id_is(row, "POP_") && strlen(row->id) == 6) {
        word[0] = random_selector(m, false);
    } else if (id_is(row, "RETF") || id_is(row, "IRET")) {
        uint16_t selector = random_selector(m, true);
        word[0] = code_target(m, selector >> 3 & 3);
        word[1] = selector;
        word[2] = maker_random32(m) & 0x3c7fd7;
    } else if (id_is(row, "RET")) {
        word[0] = code_target(m, m->data[CS]);
    } else if (id_is(row, "POPF")) {
        word[0] = maker_random32(m) & (maker_chance(m, 10) ? ~0u : 0x24cd7u);
    }
    for (unsigned i = 0; i < 3; i++) {
        patch(m, top + i * size, &word[i], size);
    }
}

static bool relative_target(Maker *m)
{
    JudgeCase *c = m->c;
    Insn *in = &c->in;
    unsigned bytes = m->row->operands[1] == 'b' ? 1 : in->opsize;
    uint32_t eip = c->before.eip + in->length;

    if (bytes > 1 && maker_chance(m, 80)) {
        put_at_end(c, code_target(m, m->data[CS]) - eip, bytes);
    }
    maker_decode(m);
    uint32_t target = eip + in->imm;
    if (in->opsize == 2) {
        target &= 0xffff;
    }
    uint32_t linear = target + maker_base_of(m, CS);
    return linear + 1 < c->code_at || linear >= c->code_at + in->length;
}

static void string_operands(Maker *m)
{
    JudgeCase *c = m->c;
    uint32_t *reg = c->before.reg;
    unsigned size = c->in.adsize;

    maker_set_low(&reg[ESI], maker_spot(m, c->in.seg) - maker_base_of(m, c->in.seg), size);
    maker_set_low(&reg[EDI], maker_spot(m, ES) - maker_base_of(m, ES), size);
    if (maker_chance(m, 95)) {
        maker_set_low(&reg[ECX], maker_random32(m) % (maker_chance(m, 90) ? 40u : 3000u), size);
    }
}

/* Gives registers and memory values with which the instruction mostly succeeds. False: try another
 * encoding. */
static bool tame(Maker *m)
{
    JudgeCase *c = m->c;
    Insn *in = &c->in;
    const OpRow *row = m->row;
    uint32_t *reg = c->before.reg;
    const JudgeSegment *ss = &judge_segments[m->data[SS]];

    if (row->traits & T_STACK || maker_chance(m, 90)) {
        maker_set_low(&reg[ESP], maker_stack_spot(m) - ss->base, ss->big ? 4 : 2);
    }
    if (row->operands[0] == 'J') {
        if (!relative_target(m)) {
            return false;
        }
    }
    if (id_is(row, "LEAVE") || id_is(row, "ENTER")) {
        maker_set_low(&reg[EBP], maker_stack_spot(m) - ss->base, ss->big ? 4 : 2);
    }
    if (id_is(row, "ENTER") && maker_chance(m, 90)) {
        put_at_end(c,
                   (maker_random32(m) & 0xff) |
                       (maker_random32(m) & 0xff & (maker_chance(m, 80) ? 3u : 31u)) << 16,
                   3);
    }
    if (id_is(row, "XLAT")) {
        maker_set_low(&reg[EBX], maker_spot(m, in->seg) - maker_base_of(m, in->seg), in->adsize);
    }
    if (id_is(row, "MASKMOV")) {
        maker_set_low(&reg[EDI], maker_spot(m, in->seg) - maker_base_of(m, in->seg), in->adsize);
    }
    if ((id_is(row, "DIV_E") || id_is(row, "IDIV_E")) && maker_chance(m, 70)) {
        reg[EDX] = maker_chance(m, 30) ? ~0u : maker_random32(m) % 256;
    }
    if (row->traits & T_STR) {
        string_operands(m);
    }
    if (strstr(row->operands, "Ap")) {
        uint16_t selector = random_selector(m, true);
        put_at_end(c, selector, 2);
        uint32_t target = code_target(m, selector >> 3 & 3);
        memcpy(c->bytes + in->length - 2 - in->opsize, &target, in->opsize);
    }
    if (strchr(row->operands, 'O')) {
        uint32_t spot = maker_spot(m, in->seg);
        put_at_end(c, spot - maker_base_of(m, in->seg), in->adsize);
        maker_fill(m, spot);
    } else if (in->memory && row->form != FORM_NONE) {
        if (id_is(row, "BT") && strstr(row->operands, "Gv") && maker_chance(m, 80)) {
            reg[in->reg] = maker_random32(m) % 0x1000 - 0x800;
        }
        uint32_t spot = maker_spot(m, in->seg);
        maker_aim(m, spot);
        maker_fill(m, spot);
    } else if (row->form != FORM_NONE) {
        if (id_is(row, "JMP_E") || id_is(row, "CALL_E")) {
            maker_set_low(&reg[in->rm], code_target(m, m->data[CS]), in->opsize);
        } else if (strstr(row->operands, "Ew") &&
                   (row->traits & T_NO_REAL || id_is(row, "MOV_Sw"))) {
            maker_set_low(&reg[in->rm], random_selector(m, false), 2);
        }
    }
    if (row->traits & T_STACK) {
        stack_operands(m);
    }
    return true;
}

/* --- the whole --- */

static void place_code(Maker *m)
{
    JudgeCase *c = m->c;
    uint32_t r = maker_random32(m) % 100;
    uint32_t at = r < 85   ? 0x800 + maker_random32(m) % 0x100
                  : r < 93 ? 0xff0 + maker_random32(m) % 16
                           : 0x1ff0 + maker_random32(m) % 16;
    c->code_at = JUDGE_CODE + at;
    c->before.eip = c->code_at - maker_base_of(m, CS);
}

static bool attempt(Maker *m)
{
    JudgeCase *c = m->c;
    JudgeState *s = &c->before;

    c->patches = c->patch_used = 0;
    maker_segments(m);
    place_code(m);
    maker_bytes(m);
    DecodeResult result = maker_decode(m);
    if (&op_rows[c->in.op] != m->row && result == DECODE_OK) {
        return false;
    }
    if (result != DECODE_OK && !(result == DECODE_TOO_LONG && maker_chance(m, 30)) &&
        !(result == DECODE_INVALID && c->in.prefix & PREFIX_LOCK)) {
        return false;
    }
    if (c->in.prefix & PREFIX_LOCK && strstr(m->row->operands, "Cd")) { /* AMD's CR8 */
        return false;
    }
    for (unsigned i = 0; i < 8; i++) {
        s->reg[i] = maker_integer(m);
    }
    s->eflags = FL_ONE | FL_IF | (maker_random32(m) & (FL_ARITH | FL_DF));
    s->eflags |= (maker_chance(m, 4) ? FL_AC : 0) | (maker_chance(m, 4) ? FL_TF : 0) |
                 (maker_chance(m, 2) ? FL_ID : 0);
    s->eflags |= maker_chance(m, 2) && !id_is(m->row, "IRET") ? FL_NT : 0;
    judge_fx_init(&s->fx);
    if (m->row->traits & (T_X87 | T_MMX | T_SSE)) {
        maker_fx(m, &s->fx);
    }
    c->length = result == DECODE_OK ? c->in.length : INSN_MAX_BYTES + 3;
    if (result != DECODE_OK) {
        return true;
    }
    if (judge_refused(&c->in) || !tame(m)) {
        return false;
    }
    return maker_decode(m) == DECODE_OK && !judge_refused(&c->in);
}

bool judge_case_make(JudgeCase *c, uint64_t seed, uint64_t number)
{
    c->seed = seed;
    c->number = number;
    c->parts = 0;
    c->op = (uint16_t)(number % OP_COUNT);
    Maker m = {.c = c,
               .row = &op_rows[c->op],
               .random = maker_mix(maker_mix(seed) ^ maker_mix(number + 1)) | 1};

    if (judge_exempt(m.row)) {
        return false;
    }
    for (unsigned tries = 0; tries < 60; tries++) {
        if (attempt(&m)) {
            return true;
        }
    }
    return false;
}

void judge_base_make(JudgeMemory *base, uint64_t seed, uint64_t number)
{
    Maker m = {.random = maker_mix(maker_mix(seed) + maker_mix(~number)) | 1};

    memset(base->page, 0xcc, sizeof(base->page[0]) * JUDGE_CODE_PAGES);
    for (unsigned i = JUDGE_CODE_PAGES; i < JUDGE_PAGES; i++) {
        for (unsigned at = 0; at < JUDGE_PAGE; at += 16) {
            maker_operand(&m, base->page[i] + at);
        }
    }
}

uint32_t judge_page_at(unsigned i)
{
    static const uint32_t at[JUDGE_PAGES] = {JUDGE_CODE,
                                             JUDGE_CODE + JUDGE_PAGE,
                                             JUDGE_DATA,
                                             JUDGE_DATA + JUDGE_PAGE,
                                             JUDGE_DATA + 2 * JUDGE_PAGE,
                                             JUDGE_STACK};
    return at[i];
}

uint8_t *judge_at(JudgeMemory *m, uint32_t linear, unsigned *room)
{
    for (unsigned i = 0; i < JUDGE_PAGES; i++) {
        uint32_t offset = linear - judge_page_at(i);
        if (offset < JUDGE_PAGE) {
            *room = JUDGE_PAGE - offset;
            return m->page[i] + offset;
        }
    }
    return NULL;
}

static void put(JudgeMemory *m, uint32_t linear, const uint8_t *bytes, unsigned size)
{
    while (size) {
        unsigned room = 1;
        uint8_t *p = judge_at(m, linear, &room);
        unsigned n = size < room ? size : room;
        if (p) {
            memcpy(p, bytes, n);
        }
        linear += n;
        bytes += n;
        size -= n;
    }
}

void judge_memory_make(JudgeMemory *m, const JudgeMemory *base, const JudgeCase *c)
{
    memcpy(m, base, sizeof(*m));
    for (unsigned i = 0; i < c->patches; i++) {
        put(m, c->patch[i].at, c->patch_bytes + c->patch[i].from, c->patch[i].size);
    }
    put(m, c->code_at, c->bytes, c->length);
}
