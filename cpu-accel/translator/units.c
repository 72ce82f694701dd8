/* Units of translated code: making, finding, linking, and forgetting them when guest memory
 * changes. */
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/translator/select.h"
#include "cpu-accel/x86/fpu.h"
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/ops.h"

enum {
    NO_GUARD = 0x7fffffff, /* what no guard entry is */
    SLOW_LIMIT = 6,        /* exits before an instruction is called instead */
    HEAT_LIMIT = 200,      /* invalidations of a page's code before it is left to the interpreter */
    COOL_EVERY = 500000000, /* guest ns */
    WHOLE_PAGES = 1024,     /* no device writes as much at once: memory was exchanged */
};

bool units_open(Translator *t, Err *err)
{
    t->hash = calloc(1 << HASH_BITS, sizeof(*t->hash));
    t->page = calloc(RAM_LIMIT >> RAM_PAGE_SHIFT, sizeof(*t->page));
    t->tail = calloc(RAM_LIMIT >> RAM_PAGE_SHIFT, sizeof(*t->tail));
    t->heat = calloc(RAM_LIMIT >> RAM_PAGE_SHIFT, 1);
    t->covered = calloc(RAM_LIMIT >> RAM_PAGE_SHIFT, sizeof(*t->covered));
    return (t->hash && t->page && t->tail && t->heat && t->covered) ||
           err_set(err, "out of memory");
}

static void unit_free(Unit *u)
{
    free(u->insn);
    free(u->host);
    free(u);
}

void units_close(Translator *t)
{
    for (unsigned i = 0; i < t->unit_count; i++) {
        unit_free(t->by_code[i]);
    }
    free(t->by_code);
    free(t->hash);
    free(t->page);
    free(t->tail);
    free(t->heat);
    free(t->covered);
}

static unsigned hash_of(uint32_t ram_at, uint32_t eip, int mode)
{
    uint32_t h = (ram_at ^ eip >> 12 ^ (uint32_t)mode << 7) * 0x9e3779b1u;
    return h >> (32 - HASH_BITS);
}

Unit *unit_find(Translator *t, uint32_t ram_at, int mode)
{
    const Cpu *cpu = t->cpu;
    const SegReg *cs = &cpu->seg[CS];
    Unit *u = t->hash[hash_of(ram_at, cpu->eip, mode)];
    while (u && (u->ram_at != ram_at || u->eip != cpu->eip || u->mode != mode ||
                 u->base != cs->base || u->limit != cs->limit)) {
        u = u->next_hash;
    }
    return u;
}

Unit *unit_at(const Translator *t, const uint8_t *host, unsigned *insn)
{
    unsigned low = 0, high = t->unit_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (t->by_code[middle]->code <= host) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Unit *u = low ? t->by_code[low - 1] : NULL;
    if (!u || host >= u->end) {
        return NULL;
    }
    uint32_t offset = (uint32_t)(host - u->code);
    unsigned i = u->count;
    while (i > 0 && u->host[i - 1].at > offset) {
        i--;
    }
    if (i == 0) {
        return NULL;
    }
    *insn = i - 1;
    return u;
}

/* --- making --- */

static void emit_poll(Code *c)
{
    static const uint8_t mov_r9_at_r9[] = {0x4d, 0x8b, 0x09};
    emit_load(c, R9, R15, scratch_at(SCRATCH_POLL), 8);
    emit_bytes(c, mov_r9_at_r9, sizeof(mov_r9_at_r9));
}

/* Goes on behind it if ecx = [r14 + page * 4] - what it is linked to is 0, else to the asking code.
 */
static void emit_guard(Code *c, Link *link, uint8_t **miss)
{
    uint32_t page = (link->base + link->target) >> RAM_PAGE_SHIFT;
    emit_mov(c, R9, ECX, 8);
    emit_load(c, ECX, R14, (int32_t)(page * 4), 4);
    emit8(c, 0x8d); /* lea ecx, [rcx - guard] */
    emit8(c, 0x89);
    link->guard = c->write + c->at;
    emit32(c, (uint32_t)-NO_GUARD);
    emit8(c, 0xe3); /* jrcxz over the next two */
    emit8(c, 8);
    emit_mov(c, ECX, R9, 8);
    *miss = emit_jump(c, code_here(c));
    emit_mov(c, ECX, R9, 8);
}

/* The code that asks the run loop for the target. */
static void emit_ask(Translator *t, Link *link)
{
    Code *c = &t->code;
    link->ask = code_here(c);
    emit_mov_imm(c, R8, link->target);
    emit_mov_imm64(c, R11, (uint64_t)(uintptr_t)link);
    emit_jump(c, t->stub.link);
}

static void aim(const Code *c, uint8_t *rel32, const uint8_t *to)
{
    const uint8_t *behind = c->run + (rel32 - c->write) + 4;
    patch32(rel32, (int32_t)(to - behind));
}

/* A direct jump out of the unit, to another code segment maybe. */
static void emit_far_link(Translator *t, Unit *u, Link *link, uint32_t base, uint32_t target)
{
    Code *c = &t->code;
    uint8_t *miss = NULL;
    uint32_t length = (uint32_t)u->size + u->tail;
    *link = (Link){.from = u, .target = target, .base = base};
    if (base != u->base || target < u->eip || target - u->eip < length) {
        emit_mov_imm(c, R8, target); /* backwards: a loop may close here */
        emit_poll(c);
    }
    if (((base + target) ^ unit_linear(u)) >> RAM_PAGE_SHIFT) {
        emit_guard(c, link, &miss);
    }
    link->jump = emit_jump(c, code_here(c));
    emit_ask(t, link);
    aim(c, link->jump, link->ask);
    if (miss) {
        aim(c, miss, link->ask);
    }
}

static void emit_link(Translator *t, Unit *u, Link *link, uint32_t target)
{
    emit_far_link(t, u, link, u->base, target);
}

/* r8d is the target: through the jump table, whose entries check it. */
static void emit_indirect(Code *c, int mode)
{
    static const uint8_t jmp_at_r13_r9_8[] = {0x43, 0xff, 0x64, 0xcd, 0x00};
    unsigned linear = R8;
    emit_poll(c);
    if (mode & MODE_CS_BASED) {
        select_base(c, R10, CS);
        emit_lea_index(c, R10, R10, R8, 0, 0, 4);
        linear = R10;
    }
    emit_rorx(c, R9, linear, 12);
    emit_lea_index(c, R9, R9, linear, 0, 0, 4);
    emit_zero_extend(c, R9, R9);
    emit_bytes(c, jmp_at_r13_r9_8, sizeof(jmp_at_r13_r9_8));
}

/* rcx = 0 if ecx is; goes on behind it then, else through `miss`. Returns where to put the number
 * of bytes in between. */
static uint8_t *emit_skip_if_ecx_zero(Code *c)
{
    emit8(c, 0xe3);
    uint8_t *distance = c->write + c->at;
    emit8(c, 0);
    return distance;
}

static void end_skip(const Code *c, uint8_t *distance)
{
    *distance = (uint8_t)(c->write + c->at - distance - 1);
}

/* The FPU state is in the host from here on. */
static void emit_want_fpu(Translator *t)
{
    Code *c = &t->code;
    emit_mov(c, R9, ECX, 8);
    emit_load(c, ECX, R15, scratch_at(SCRATCH_FPU), 4);
    uint8_t *loaded = emit_skip_if_ecx_zero(c);
    emit_lea_code(c, R10, code_here(c) + 7 + 5); /* behind this lea and the jump */
    emit_jump(c, t->stub.load_fpu);
    end_skip(c, loaded);
    emit_mov(c, ECX, R9, 8);
}

/* How many instructions of the unit there are from this one on. */
static unsigned insns_left(const Unit *u, uint32_t eip)
{
    unsigned i = 0;
    for (uint32_t at = u->eip; at != eip; at += u->insn[i++].length) {
    }
    return u->count - i;
}

/* Counts the unit's instructions, which must not be more than are to run. */
static void emit_count(Translator *t, const Unit *u)
{
    static const uint8_t shrx_rcx_r9_r12[] = {0xc4, 0xc2, 0x9b, 0xf7, 0xc9};
    Code *c = &t->code;
    emit_load(c, R9, R15, scratch_at(SCRATCH_REMAIN), 8);
    emit_lea(c, R9, R9, -(int32_t)u->count, 8);
    emit_mov(c, R10, ECX, 8);
    emit_bytes(c, shrx_rcx_r9_r12, sizeof(shrx_rcx_r9_r12)); /* 0 unless it is negative */
    uint8_t *enough = emit_skip_if_ecx_zero(c);
    emit_mov(c, ECX, R10, 8);
    emit_mov_imm(c, R8, u->eip);
    emit_jump(c, t->stub.few);
    end_skip(c, enough);
    emit_mov(c, ECX, R10, 8);
    emit_store(c, R9, R15, scratch_at(SCRATCH_REMAIN), 8);
}

/* Takes back what has been counted from this instruction on: it is not run here. */
static void emit_count_back(Translator *t, const Unit *u, uint32_t eip)
{
    Code *c = &t->code;
    if (u->mode & MODE_COUNTED) {
        emit_load(c, R9, R15, scratch_at(SCRATCH_REMAIN), 8);
        emit_lea(c, R9, R9, (int32_t)insns_left(u, eip), 8);
        emit_store(c, R9, R15, scratch_at(SCRATCH_REMAIN), 8);
    }
}

/* Cpu.executed is right for the handler of the instruction at eip. */
static void emit_executed(Translator *t, const Unit *u, uint32_t eip)
{
    Code *c = &t->code;
    if (u->mode & MODE_COUNTED) {
        emit_load(c, R9, R15, scratch_at(SCRATCH_REMAIN), 8);
        emit_lea(c, R9, R9, (int32_t)insns_left(u, eip), 8);
        emit_store(c, R9, R15, scratch_at(SCRATCH_LEFT), 8);
        emit_not(c, R9);
        emit_load(c, R10, R15, scratch_at(SCRATCH_STOP), 8);
        emit_lea_index(c, R9, R9, R10, 0, 1, 8);
        emit_store(c, R9, R15, offsetof(Cpu, executed), 8);
    }
}

/* FLDCW is the host's own while it masks all exceptions. */
static void emit_control_check(Translator *t, const Unit *u, const Insn *in, uint32_t eip)
{
    static const uint8_t pext_ecx_r10d_ecx[] = {0xc4, 0xe2, 0x2a, 0xf5, 0xc9};
    static const uint8_t lea_ecx[] = {0x8d, 0x49, (uint8_t)-FCW_MASKS};
    Code *c = &t->code;
    static const Opcode load_word = {.byte = 0xb7, .map_0f = true};
    select_part(c, &load_word, R10, in, u->mode, 0, 2);
    emit_mov(c, R9, ECX, 8);
    emit_mov_imm(c, ECX, FCW_MASKS);
    emit_bytes(c, pext_ecx_r10d_ecx, sizeof(pext_ecx_r10d_ecx));
    emit_bytes(c, lea_ecx, sizeof(lea_ecx));
    uint8_t *masked = emit_skip_if_ecx_zero(c);
    emit_mov(c, ECX, R9, 8);
    emit_count_back(t, u, eip);
    emit_mov_imm(c, R8, eip);
    emit_jump(c, t->stub.step);
    end_skip(c, masked);
    emit_mov(c, ECX, R9, 8);
}

/* What of the FPU is known while a unit is made. */
typedef struct FpuNotes {
    bool loaded;               /* the state is in the host */
    const Insn *last, *memory; /* x87 instructions not noted yet: the last, and with an operand */
    uint32_t eip;              /* of the last */
} FpuNotes;

static void emit_note_selector(Code *c, unsigned seg, unsigned scratch, int mode)
{
    if (mode & MODE_REAL) {
        select_selector(c, R8, seg);
        emit_store(c, R8, R15, scratch_at(scratch), 4);
    }
}

static void emit_note(Translator *t, const Unit *u, FpuNotes *notes)
{
    Code *c = &t->code;
    if (notes->last) {
        emit_mov_imm64(c, R8, resident_note(notes->last, notes->eip, u->mode));
        emit_store(c, R8, R15, scratch_at(SCRATCH_NOTE), 8);
        emit_note_selector(c, CS, SCRATCH_FCS, u->mode);
    }
    if (notes->memory) {
        emit_store_imm(c, R15, scratch_at(SCRATCH_DATA) + 4,
                       resident_note_data(notes->memory, u->mode));
        emit_note_selector(c, notes->memory->seg, SCRATCH_FDS, u->mode);
    }
    notes->last = notes->memory = NULL;
}

/* An instruction in the middle of a unit, on the host. */
static bool emit_native(Translator *t, const Unit *u, const Insn *in, uint32_t eip, FpuNotes *notes)
{
    Code *c = &t->code;
    bool fpu = select_on_fpu(in, u->mode);
    if (fpu && !notes->loaded) {
        emit_want_fpu(t);
    }
    if (in->op == OP_FLDCW && fpu) {
        emit_control_check(t, u, in, eip);
    }
    if (!select_insn(c, in, u->mode)) {
        return false;
    }
    notes->loaded |= fpu;
    if (fpu && select_notes(in)) {
        notes->last = in;
        notes->eip = eip;
        if (in->memory) {
            notes->memory = in;
            select_offset(c, in, 0);
            emit_store(c, R8, R15, scratch_at(SCRATCH_DATA), 4);
        }
    }
    return true;
}

static void emit_handler_call(Translator *t, const Unit *u, const Insn *in, uint32_t eip,
                              const uint8_t *behind)
{
    Code *c = &t->code;
    emit_executed(t, u, eip);
    emit_store_imm(c, R15, offsetof(Cpu, eip), eip);
    emit_mov_imm64(c, R8, (uint64_t)(uintptr_t)in);
    emit_lea_code(c, R9, behind ? behind : code_here(c) + 7 + 5); /* this lea and the jump */
    emit_jump(c, t->stub.call);
}

/* An instruction of a unit whose accesses the page array may not know, or that may have to be
 * called for another reason, and its jumps then. */
typedef struct Missing {
    uint8_t *jump[4];
    unsigned jumps, insn;
    const uint8_t *behind; /* NULL: it ends the unit */
} Missing;

/* The instruction's handler, called where the page array did not know its page. */
static Outcome missed(Cpu *cpu, const Insn *in)
{
    Translator *t = cpu->flushed.self;
    uint32_t linear = (uint32_t)cpu->scratch[SCRATCH_MISS];
    InsnHandler handler = op_rows[in->op].handler[(in->opsize == 4) * 2 + in->memory];
    Outcome outcome = handler(cpu, in);
    t->count.misses++;
    if (outcome == X_NEXT || outcome == X_BRANCH) {
        window_array_fill(&t->windows, linear);
    }
    return outcome;
}

static void note_missing(Code *c, Missing *m, unsigned insn, bool last)
{
    memcpy(m->jump, c->miss, sizeof(m->jump));
    m->jumps = c->misses;
    m->insn = insn;
    m->behind = last ? NULL : code_here(c);
}

/* Out of the way of the unit's code. */
static void emit_missing(Translator *t, const Unit *u, const Missing *m)
{
    Code *c = &t->code;
    uint32_t eip = u->eip;
    for (unsigned i = 0; i < m->insn; i++) {
        eip += u->insn[i].length;
    }
    Insn *in = &u->insn[m->insn];
    bool by_page = !select_may_call(in);
    in->handler = by_page ? missed : resident_handler(in, u->mode, m->insn == u->count - 1U);
    for (unsigned i = 0; i < m->jumps; i++) {
        aim(c, m->jump[i], code_here(c));
    }
    if (by_page) {
        emit_mov(c, ECX, R11, 8);
        emit_store(c, R8, R15, scratch_at(SCRATCH_MISS), 8);
    }
    emit_handler_call(t, u, in, eip, m->behind);
    if (!m->behind) {
        emit_mov_imm(c, R8, eip + in->length);
        emit_jump(c, t->stub.dispatch);
    }
}

/* What ends a unit: emits the exits. False: it must be called. */
static bool emit_end(Translator *t, Unit *u, const Insn *in, uint32_t eip, SelectEnd end)
{
    Code *c = &t->code;
    uint32_t next = eip + in->length, target = next + in->imm;
    uint32_t base = (uint32_t)in->imm2 << 4, offset = in->imm & 0xffff;
    target &= in->opsize == 2 ? 0xffff : UINT32_MAX;
    switch (end) {
    case END_IF:
    case END_LOOP: {
        if (target > u->limit) {
            return false;
        }
        uint8_t *taken = select_condition(c, in, end);
        emit_link(t, u, &u->link[0], next);
        aim(c, taken, code_here(c));
        emit_link(t, u, &u->link[1], target);
        return true;
    }
    case END_JUMP:
    case END_CALL:
        if (target > u->limit) {
            return false;
        }
        if (end == END_CALL) {
            select_push_imm(c, next, in->opsize, u->mode);
        }
        emit_link(t, u, &u->link[0], target);
        return true;
    case END_FAR_DIRECT:
        if (offset > u->limit || !select_far_direct(c, in, u->mode, next)) {
            return false;
        }
        emit_far_link(t, u, &u->link[0], base, offset);
        return true;
    case END_NONE:
    case END_CALLED:
        return false;
    default:
        if (!select_target(c, in, u->mode, end, next)) {
            return false;
        }
        emit_indirect(c, u->mode);
        return true;
    }
}

static CpuMode decode_mode(const Translator *t, int mode)
{
    return (CpuMode){
        .code32 = !(mode & MODE_CODE16), .v86 = mode & MODE_REAL, .model = t->cpu->model};
}

/* Decodes up to the end of the unit. Returns the number of instructions; 0: none lies wholly on the
 * page and within the limit of CS. */
static unsigned decode(const Translator *t, uint32_t ram_at, int mode, Insn *insns, SelectEnd *end)
{
    const CpuMode how = decode_mode(t, mode);
    uint32_t room = mem_code_room(t->cpu, t->cpu->eip, RAM_PAGE - (ram_at & (RAM_PAGE - 1)));
    uint32_t at = 0;
    unsigned count = 0;
    *end = END_NONE;
    while (count < UNIT_MAX_INSNS && at < room && *end == END_NONE) {
        CodeView view = {t->cpu->ram->host + ram_at + at,
                         room - at < INSN_MAX_BYTES ? room - at : INSN_MAX_BYTES};
        DecodeResult result = x86_decode(&view, &how, &insns[count]);
        if (result == DECODE_SHORT || result == DECODE_TOO_LONG) {
            break;
        }
        at += insns[count].length;
        *end = select_end(&insns[count++], mode);
    }
    return count;
}

/* Goes on when r8 is the unit's EIP, and CS has its base and limit. */
static void emit_entry_check(Translator *t, Unit *u)
{
    Code *c = &t->code;
    u->code = code_here(c);
    emit_mov(c, R9, ECX, 8);
    emit8(c, 0x41); /* lea ecx, [r8 - eip] */
    emit8(c, 0x8d);
    emit8(c, 0x88);
    emit32(c, 0u - u->eip);
    if (u->mode & MODE_CS_BASED) { /* the sum of differences is 0 when all of them are */
        select_base(c, R10, CS);
        emit_lea(c, R10, R10, (int32_t)(0u - u->base), 4);
        emit_lea_index(c, ECX, ECX, R10, 0, 0, 8);
    }
    if (u->mode & MODE_CS_BASED && mode_segment(u->mode, CS) != MODE_SEG_64K) {
        emit_load(c, R10, R15, (int32_t)(offsetof(Cpu, seg[CS]) + offsetof(SegReg, limit)), 4);
        emit_lea(c, R10, R10, (int32_t)(0u - u->limit), 4);
        emit_lea_index(c, ECX, ECX, R10, 0, 0, 8);
    }
    emit8(c, 0xe3);
    emit8(c, 8);
    emit_mov(c, ECX, R9, 8);
    emit_jump(c, t->stub.dispatch);
    if (u->mode & MODE_ARRAY) { /* the jump table is that of all address spaces there */
        emit_load(c, ECX, R14, (int32_t)(unit_linear(u) >> RAM_PAGE_SHIFT << 2), 4);
        emit8(c, 0x8d); /* lea ecx, [rcx - guard] */
        emit8(c, 0x89);
        emit32(c, 0u - ((u->ram_at >> RAM_PAGE_SHIFT) + 1));
        emit8(c, 0xe3);
        emit8(c, 8);
        emit_mov(c, ECX, R9, 8);
        emit_jump(c, t->stub.dispatch);
    }
    emit_mov(c, ECX, R9, 8);
    u->entry = code_here(c);
}

/* The second page of the instruction must still be the one it was decoded from. */
static void emit_tail_check(Translator *t, const Unit *u)
{
    Code *c = &t->code;
    uint32_t page = (unit_linear(u) + RAM_PAGE) >> RAM_PAGE_SHIFT; /* around the end of 4 GiB */
    emit_mov(c, R9, ECX, 8);
    emit_load(c, ECX, R14, (int32_t)(page * 4), 4);
    emit8(c, 0x8d); /* lea ecx, [rcx - guard] */
    emit8(c, 0x89);
    emit32(c, 0u - (u->tail_page + 1));
    uint8_t *same = emit_skip_if_ecx_zero(c);
    emit_mov(c, ECX, R9, 8);
    emit_mov_imm(c, R8, u->eip);
    emit_jump(c, t->stub.step);
    end_skip(c, same);
    emit_mov(c, ECX, R9, 8);
}

/* Nothing comes between it and the next instruction; within a unit nothing does anyway. */
static bool casts_shadow(const Insn *in)
{
    return in->op == OP_STI || (in->op == OP_MOV_Sw_Ew && in->reg == SS) || in->op == OP_POP_SS;
}

static void emit_unit(Translator *t, Unit *u, SelectEnd end)
{
    Code *c = &t->code;
    uint32_t eip = u->eip;
    FpuNotes notes = {0};
    Missing missing[UNIT_MAX_INSNS];
    unsigned missings = 0;
    emit_entry_check(t, u);
    if (u->tail) {
        emit_tail_check(t, u);
    }
    if (u->mode & MODE_COUNTED) {
        emit_count(t, u);
    }
    for (unsigned i = 0; i < u->count; i++) {
        Insn *in = &u->insn[i];
        bool last = end != END_NONE && i == u->count - 1U;
        bool may_show = in->op == OP_FLDCW || select_loads_segment(in) || select_may_call(in);
        if (last || may_show) { /* what was noted */
            emit_note(t, u, &notes);
        }
        size_t start = c->at;
        u->host[i].at = (uint32_t)(code_here(c) - u->code);
        bool slow =
            unit_is_slow(t, u->ram_at + (eip - u->eip)) || (i == u->count - 1U && casts_shadow(in));
        c->misses = 0;
        bool done =
            !slow && (last ? emit_end(t, u, in, eip, end) : emit_native(t, u, in, eip, &notes));
        if (!done) {
            c->at = start;
            emit_note(t, u, &notes);
            notes = (FpuNotes){0};
            u->host[i].called = true;
            in->handler = resident_handler(in, u->mode, i == u->count - 1U);
            emit_handler_call(t, u, in, eip, NULL);
            t->count.called++;
            if (last && resident_goes_on(in)) {
                emit_link(t, u, &u->link[0], eip + in->length);
            } else if (last) { /* not taken, or mode changed: the run loop looks */
                emit_mov_imm(c, R8, eip + in->length);
                emit_jump(c, t->stub.dispatch);
            }
        } else if (c->misses) {
            note_missing(c, &missing[missings++], i, last);
            notes.loaded &= !select_may_call(in);
        }
        eip += in->length;
    }
    if (end == END_NONE) {
        emit_note(t, u, &notes);
        emit_link(t, u, &u->link[0], eip);
    }
    for (unsigned i = 0; i < missings; i++) {
        emit_missing(t, u, &missing[i]);
    }
    u->end = code_here(c);
    while (c->at & 15) {
        emit8(c, 0xcc);
    }
}

/* Bits of word `w` of a page's Covered for its bytes [first, end). */
static uint64_t covered_bits(unsigned w, uint32_t first, uint32_t end)
{
    unsigned low = first / COVERED_BYTES, high = (end - 1) / COVERED_BYTES;
    uint64_t bits = UINT64_MAX;
    if (w == low / 64) {
        bits &= UINT64_MAX << low % 64;
    }
    if (w == high / 64) {
        bits &= UINT64_MAX >> (63 - high % 64);
    }
    return bits;
}

static void cover(Covered *c, uint32_t first, uint32_t end)
{
    for (unsigned w = first / COVERED_BYTES / 64; w <= (end - 1) / COVERED_BYTES / 64; w++) {
        c->bits[w] |= covered_bits(w, first, end);
    }
}

static bool is_covered(const Covered *c, uint32_t first, uint32_t end)
{
    uint64_t any = 0;
    for (unsigned w = first / COVERED_BYTES / 64; w <= (end - 1) / COVERED_BYTES / 64; w++) {
        any |= c->bits[w] & covered_bits(w, first, end);
    }
    return any != 0;
}

static void watch_page(Translator *t, uint32_t page)
{
    if (!(t->cpu->ram->flags[page] & RAM_TRANSLATED)) {
        ram_flag_set(t->cpu->ram, page, 1, RAM_TRANSLATED);
    }
}

static bool remember(Translator *t, Unit *u)
{
    if (t->unit_count == t->unit_room) {
        unsigned room = t->unit_room ? 2 * t->unit_room : 4096;
        Unit **grown = realloc(t->by_code, room * sizeof(*grown));
        if (!grown) {
            return false;
        }
        t->by_code = grown;
        t->unit_room = room;
    }
    unsigned hash = hash_of(u->ram_at, u->eip, u->mode);
    uint32_t page = u->ram_at >> RAM_PAGE_SHIFT;
    t->by_code[t->unit_count++] = u;
    u->next_hash = t->hash[hash];
    t->hash[hash] = u;
    u->next_page = t->page[page];
    t->page[page] = u;
    t->insn_count += u->count;
    watch_page(t, page);
    uint32_t first = u->ram_at & (RAM_PAGE - 1);
    cover(&t->covered[page], first, first + u->size);
    if (u->tail) {
        cover(&t->covered[u->tail_page], 0, u->tail);
        u->next_tail = t->tail[u->tail_page];
        t->tail[u->tail_page] = u;
        watch_page(t, u->tail_page);
    }
    t->count.units++;
    if (t->perf_map) {
        fprintf(t->perf_map, "%lx %lx guest_%08x_mode_%x\n", (unsigned long)(uintptr_t)u->code,
                (unsigned long)(u->end - u->code), unit_linear(u), (unsigned)u->mode);
    }
    return true;
}

/* The instruction that begins on this page and ends on the next. False: it cannot be translated. */
static bool decode_crossing(const Translator *t, uint32_t ram_at, int mode, Insn *in,
                            uint32_t *tail_page)
{
    const CpuMode how = decode_mode(t, mode);
    unsigned first = RAM_PAGE - (ram_at & (RAM_PAGE - 1));
    uint32_t eip = t->cpu->eip, linear = t->cpu->seg[CS].base + eip;
    uint8_t bytes[2 * INSN_MAX_BYTES];
    uint64_t at;
    if (first >= INSN_MAX_BYTES || mem_code_room(t->cpu, eip, INSN_MAX_BYTES) <= first ||
        !mem_code_page(t->cpu, linear + first, &at) || at == MEM_NO_RAM) {
        return false;
    }
    memcpy(bytes, t->cpu->ram->host + ram_at, first);
    memcpy(bytes + first, t->cpu->ram->host + at, INSN_MAX_BYTES - first);
    CodeView view = {bytes, mem_code_room(t->cpu, eip, INSN_MAX_BYTES)};
    DecodeResult result = x86_decode(&view, &how, in);
    *tail_page = (uint32_t)(at >> RAM_PAGE_SHIFT);
    return result == DECODE_OK && in->length > first && *tail_page != ram_at >> RAM_PAGE_SHIFT;
}

Unit *unit_make(Translator *t, uint32_t ram_at, int mode)
{
    Insn insns[UNIT_MAX_INSNS];
    SelectEnd end;
    uint32_t tail_page = 0;
    if (t->heat[ram_at >> RAM_PAGE_SHIFT] >= HEAT_LIMIT) {
        return NULL;
    }
    unsigned count = decode(t, ram_at, mode, insns, &end);
    bool crossing = count == 0;
    if (crossing) {
        if (!decode_crossing(t, ram_at, mode, &insns[0], &tail_page) ||
            t->heat[tail_page] >= HEAT_LIMIT) {
            return NULL;
        }
        count = 1;
        end = select_end(&insns[0], mode);
    }
    if (t->code.size - t->code.at < UNIT_MAX_CODE || t->unit_count >= MAX_UNITS ||
        t->insn_count >= MAX_INSNS) {
        units_flush(t);
    }
    Unit *u = calloc(1, sizeof(*u));
    if (u) {
        u->insn = malloc(count * sizeof(*u->insn));
        u->host = calloc(count, sizeof(*u->host));
    }
    if (!u || !u->insn || !u->host) {
        return NULL; /* the interpreter needs nothing */
    }
    memcpy(u->insn, insns, count * sizeof(*insns));
    u->ram_at = ram_at;
    u->eip = t->cpu->eip;
    u->base = t->cpu->seg[CS].base;
    u->limit = t->cpu->seg[CS].limit;
    u->mode = mode;
    u->count = (uint16_t)count;
    for (unsigned i = 0; i < count; i++) {
        u->size = (uint16_t)(u->size + insns[i].length);
    }
    if (crossing) {
        u->tail_page = tail_page;
        u->tail = (uint16_t)(u->size - (RAM_PAGE - (ram_at & (RAM_PAGE - 1))));
        u->size = (uint16_t)(u->size - u->tail);
    }
    emit_unit(t, u, end);
    if (!remember(t, u)) {
        unit_free(u);
        return NULL;
    }
    return u;
}

/* --- linking and forgetting --- */

static void unlink_from(Translator *t, Link *link)
{
    if (link->to) {
        Link **at = &link->to->incoming;
        while (*at != link) {
            at = &(*at)->next;
        }
        *at = link->next;
        link->to = NULL;
    }
    if (link->guard) {
        patch32(link->guard, -NO_GUARD);
    }
    aim(&t->code, link->jump, link->ask);
}

void unit_link(Translator *t, Link *link, Unit *to)
{
    if (link->from->dead || to->dead || link->to == to) { /* its guard was the matter */
        return;
    }
    unlink_from(t, link);
    link->to = to;
    link->next = to->incoming;
    to->incoming = link;
    if (link->guard) {
        patch32(link->guard, -(int32_t)((to->ram_at >> RAM_PAGE_SHIFT) + 1));
    }
    aim(&t->code, link->jump, to->entry);
    t->count.links++;
}

static void unwatch_page(Translator *t, uint32_t page)
{
    if (!t->page[page] && !t->tail[page]) {
        ram_flag_clear(t->cpu->ram, page, 1, RAM_TRANSLATED);
        t->covered[page] = (Covered){0};
    }
}

void unit_kill(Translator *t, Unit *u)
{
    Unit **at = &t->hash[hash_of(u->ram_at, u->eip, u->mode)];
    while (*at != u) {
        at = &(*at)->next_hash;
    }
    *at = u->next_hash;
    uint32_t page = u->ram_at >> RAM_PAGE_SHIFT;
    at = &t->page[page];
    while (*at != u) {
        at = &(*at)->next_page;
    }
    *at = u->next_page;
    unwatch_page(t, page);
    if (u->tail) {
        at = &t->tail[u->tail_page];
        while (*at != u) {
            at = &(*at)->next_tail;
        }
        *at = u->next_tail;
        unwatch_page(t, u->tail_page);
    }
    u->dead = true;
    while (u->incoming) {
        unlink_from(t, u->incoming);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (u->link[i].to) {
            unlink_from(t, &u->link[i]);
        }
    }
    spaces_forget(t, u);
    t->cpu->scratch[SCRATCH_LEAVE] = 1;
    t->count.invalidated++;
}

void units_flush(Translator *t)
{
    for (unsigned i = 0; i < t->unit_count; i++) {
        Unit *u = t->by_code[i];
        if (!u->dead) {
            ram_flag_clear(t->cpu->ram, u->ram_at >> RAM_PAGE_SHIFT, 1, RAM_TRANSLATED);
            t->page[u->ram_at >> RAM_PAGE_SHIFT] = NULL;
            t->covered[u->ram_at >> RAM_PAGE_SHIFT] = (Covered){0};
            if (u->tail) {
                ram_flag_clear(t->cpu->ram, u->tail_page, 1, RAM_TRANSLATED);
                t->tail[u->tail_page] = NULL;
                t->covered[u->tail_page] = (Covered){0};
            }
        }
        unit_free(u);
    }
    t->unit_count = t->insn_count = 0;
    memset(t->hash, 0, sizeof(*t->hash) << HASH_BITS);
    spaces_clear(t);
    t->code.at = t->code.start;
    t->cpu->scratch[SCRATCH_LEAVE] = 1;
    t->cpu->scratch[SCRATCH_LINK] = 0;
    t->count.flushes++;
}

void units_changed(Translator *t, uint32_t at, uint32_t length)
{
    uint32_t first = at >> RAM_PAGE_SHIFT,
             last = (uint32_t)(((uint64_t)at + length - 1) >> RAM_PAGE_SHIFT);
    if (last - first >= WHOLE_PAGES) { /* a snapshot was loaded: no unit is running */
        units_flush(t);
        return;
    }
    for (uint32_t page = first; page <= last; page++) {
        bool any = false;
        uint32_t from = page == first ? at & (RAM_PAGE - 1) : 0;
        uint32_t to = page == last ? ((at + length - 1) & (RAM_PAGE - 1)) + 1 : RAM_PAGE;
        if (!is_covered(&t->covered[page], from, to)) {
            continue;
        }
        for (Unit *u = t->tail[page], *next; u; u = next) {
            next = u->next_tail;
            if ((uint64_t)page << RAM_PAGE_SHIFT < (uint64_t)at + length &&
                ((uint64_t)page << RAM_PAGE_SHIFT) + u->tail > at) {
                unit_kill(t, u);
                any = true;
            }
        }
        for (Unit *u = t->page[page], *next; u; u = next) {
            next = u->next_page;
            bool hit = u->ram_at < (uint64_t)at + length && (uint64_t)u->ram_at + u->size > at;
            if (hit) {
                unit_kill(t, u);
                any = true;
            }
        }
        if (any && t->heat[page] < HEAT_LIMIT && ++t->heat[page] == HEAT_LIMIT) {
            while (t->page[page]) {
                unit_kill(t, t->page[page]);
            }
        }
        t->warm |= any;
    }
}

static unsigned slow_slot(uint32_t ram_at)
{
    return ram_at * 0x9e3779b1u >> (32 - SLOW_BITS);
}

bool unit_is_slow(const Translator *t, uint32_t ram_at)
{
    return t->slow[slow_slot(ram_at)] >= SLOW_LIMIT;
}

void unit_note_slow(Translator *t, Unit *u, unsigned insn)
{
    uint32_t at = u->ram_at;
    for (unsigned i = 0; i < insn; i++) {
        at += u->insn[i].length;
    }
    uint8_t *slow = &t->slow[slow_slot(at)];
    t->warm = true;
    *slow += *slow < SLOW_LIMIT;
    if (*slow == SLOW_LIMIT) { /* each unit that has it: in another mode, or from another entry */
        unit_kill(t, u);
    }
}

void units_cool(Translator *t, int64_t now)
{
    if (!t->warm || now - t->cool_at < COOL_EVERY) {
        return;
    }
    memset(t->heat, 0, RAM_LIMIT >> RAM_PAGE_SHIFT);
    memset(t->slow, 0, sizeof(t->slow));
    t->cool_at = now;
    t->warm = false;
}
