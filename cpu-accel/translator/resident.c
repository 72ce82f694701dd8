/* The guest's x87, MMX and SSE registers in the host's own unit, where translated code uses them.
 *
 * Code that the host's unit may run has a mode of its own: no trap is set in CR0 and every
 * exception is masked, so nothing but an ordinary memory fault can come of an instruction. A unit
 * of code asks for the state before its first such instruction; a stub saves it whenever control
 * goes to C, and it is brought into Cpu only when somebody looks there. What the host does not keep
 * for us (FIP, FOP and FDP are the host's own addresses, if anything) the code notes beside its
 * instructions. All else (unmasked exceptions, CR0.TS, environments in memory) is left to the
 * interpreter's handlers.
 */
#include <string.h>

#include "cpu-accel/translator/select.h"
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/fpu.h"
#include "cpu-accel/x86/ops.h"

/* NOTE_SAVED: the selector is beside it, as segment registers change without us in real mode. The
 * high halves of SCRATCH_NOTE and SCRATCH_DATA, whose low halves are EIP and operand offset. */
enum { NOTE_OPCODE = 0x7ff, NOTE_SEG = 7, NOTE_VALID = 1 << 21, NOTE_SAVED = 1 << 22 };

int resident_mode(const Cpu *cpu)
{
    const Fpu *f = &cpu->fpu;
    if (cpu->cr0 & (CR0_EM | CR0_TS) || (f->control & FCW_MASKS) != FCW_MASKS ||
        f->status & FSW_ES) {
        return 0;
    }
    bool sse = cpu->cr4 & CR4_OSFXSR && (f->mxcsr & MXCSR_MASKS) == MXCSR_MASKS;
    return MODE_X87 | (sse ? MODE_SSE : 0);
}

static unsigned top_of(const Fpu *f)
{
    return f->status >> FSW_TOP_SHIFT & 7;
}

void resident_prepare(Translator *t)
{
    const Fpu *f = &t->cpu->fpu;
    FpuImage *image = &t->image;
    if (t->cpu->scratch[SCRATCH_FPU] != FPU_IN_CPU) {
        return;
    }
    image->control = f->control;
    image->status = f->status;
    image->valid = f->valid;
    image->mxcsr = f->mxcsr & fpu_mxcsr_mask(CPU_PENTIUM4);
    for (unsigned i = 0; i < 8; i++) {
        const Float80 *st = &f->st[(top_of(f) + i) & 7];
        image->st[i].mantissa = st->mantissa;
        image->st[i].sign_exponent = st->sign_exponent;
    }
    memcpy(image->xmm, f->xmm, sizeof(f->xmm));
    t->cpu->scratch[SCRATCH_NOTE] = t->cpu->scratch[SCRATCH_DATA] = 0;
}

static void take_note(Cpu *cpu)
{
    uint64_t note = cpu->scratch[SCRATCH_NOTE], data = cpu->scratch[SCRATCH_DATA];
    Fpu *f = &cpu->fpu;
    if (note >> 32 & NOTE_VALID) {
        f->ip = (uint32_t)note;
        f->ip_selector =
            note >> 32 & NOTE_SAVED ? (uint16_t)cpu->scratch[SCRATCH_FCS] : cpu->seg[CS].selector;
        f->opcode = note >> 32 & NOTE_OPCODE;
    }
    if (data >> 32 & NOTE_VALID) {
        f->data = (uint32_t)data;
        f->data_selector = data >> 32 & NOTE_SAVED ? (uint16_t)cpu->scratch[SCRATCH_FDS]
                                                   : cpu->seg[data >> 32 & NOTE_SEG].selector;
    }
}

void resident_settle(Translator *t)
{
    Fpu *f = &t->cpu->fpu;
    const FpuImage *image = &t->image;
    if (t->cpu->scratch[SCRATCH_FPU] != FPU_IN_IMAGE) {
        return;
    }
    f->control = image->control;
    f->status = image->status;
    f->valid = image->valid;
    f->mxcsr = image->mxcsr;
    for (unsigned i = 0; i < 8; i++) {
        Float80 *st = &f->st[(top_of(f) + i) & 7];
        st->mantissa = image->st[i].mantissa;
        st->sign_exponent = image->st[i].sign_exponent;
    }
    memcpy(f->xmm, image->xmm, sizeof(f->xmm));
    take_note(t->cpu);
    t->cpu->scratch[SCRATCH_FPU] = FPU_IN_CPU;
    __asm__ volatile("fninit"); /* the handlers want it empty and masked */
}

static uint32_t saved(int mode)
{
    return NOTE_VALID | (mode & MODE_REAL ? (uint32_t)NOTE_SAVED : 0);
}

uint64_t resident_note(const Insn *in, uint32_t eip, int mode)
{
    return (uint64_t)(saved(mode) | (in->opcode & 7u) << 8 | in->modrm) << 32 | eip;
}

uint32_t resident_note_data(const Insn *in, int mode)
{
    return saved(mode) | in->seg;
}

void resident_note_up_to(Cpu *cpu, const Unit *u, unsigned insn)
{
    const Insn *last = NULL, *memory = NULL;
    uint32_t eip = u->eip, last_eip = 0;
    for (unsigned i = 0; i < insn; eip += u->insn[i++].length) {
        const Insn *in = &u->insn[i];
        if (u->host[i].called || select_loads_segment(in) || select_may_call(in)) { /* noted then */
            last = memory = NULL;
        } else if (select_on_fpu(in, u->mode) && select_notes(in)) {
            last = in;
            last_eip = eip;
            memory = in->memory ? in : memory;
        }
    }
    if (last) {
        cpu->scratch[SCRATCH_NOTE] = resident_note(last, last_eip, u->mode);
        cpu->scratch[SCRATCH_FCS] = cpu->seg[CS].selector;
    }
    if (memory) {
        cpu->scratch[SCRATCH_DATA] = (uint32_t)cpu->scratch[SCRATCH_DATA] |
                                     (uint64_t)resident_note_data(memory, u->mode) << 32;
        cpu->scratch[SCRATCH_FDS] = cpu->seg[memory->seg].selector;
    }
}

/* --- handlers that are called --- */

static InsnHandler plain_handler(const Insn *in)
{
    return op_rows[in->op].handler[(in->opsize == 4) * 2 + in->memory];
}

/* The state goes to Cpu first. */
static Outcome settled(Cpu *cpu, const Insn *in)
{
    resident_settle(cpu->flushed.self);
    return plain_handler(in)(cpu, in);
}

/* ES, DS, FS or GS, if that is what it loads; else SEG_COUNT. */
static unsigned data_segment(const Insn *in)
{
    switch (in->op) {
    case OP_MOV_Sw_Ew:
        return in->reg == SS || in->reg > GS ? SEG_COUNT : in->reg;
    case OP_POP_ES:
        return ES;
    case OP_POP_DS:
        return DS;
    case OP_POP_FS:
        return FS;
    case OP_POP_GS:
        return GS;
    default:
        return SEG_COUNT;
    }
}

/* Of all that a mode is, it changes one segment. */
static Outcome watched_segment(Cpu *cpu, const Insn *in)
{
    Translator *t = cpu->flushed.self;
    resident_settle(t);
    Outcome outcome = plain_handler(in)(cpu, in);
    if (!mode_keeps_segment(cpu, t->mode, data_segment(in))) {
        cpu->scratch[SCRATCH_LEAVE] = 1;
    }
    limits_set(&t->limits, cpu, t->mode);
    return outcome;
}

/* And translated code is left when what follows is of another mode. */
static Outcome watched(Cpu *cpu, const Insn *in)
{
    Translator *t = cpu->flushed.self;
    resident_settle(t);
    Outcome outcome = plain_handler(in)(cpu, in);
    int mode = mode_of(cpu);
    if (mode != t->mode) {
        cpu->scratch[SCRATCH_LEAVE] = 1;
    }
    limits_set(&t->limits, cpu, mode);
    return outcome;
}

static bool is_out(const Insn *in)
{
    return in->op == OP_OUT_Ib_AL || in->op == OP_OUT_Ib_eAX || in->op == OP_OUT_DX_AL ||
           in->op == OP_OUT_DX_eAX;
}

/* STI, POPF, OUT and loads of SS stop the run loop for what may come of them; mostly nothing does.
 * Nothing comes between an instruction that casts a shadow and the next of the same unit either; at
 * the end of one the run loop takes the next instruction by itself. */
static Outcome go_on(Cpu *cpu, const Insn *in, bool ends_unit)
{
    Translator *t = cpu->flushed.self;
    Outcome outcome = plain_handler(in)(cpu, in);
    if (outcome != X_STOP || atomic_load_explicit(&cpu->attention, memory_order_relaxed) ||
        int_waiting(cpu) || debug_stepping(cpu) || (ends_unit && cpu->shadow) ||
        (in->op != OP_STI && !is_out(in) && mode_of(cpu) != t->mode)) {
        return outcome;
    }
    cpu->shadow = 0;
    limits_set(&t->limits, cpu, t->mode);
    cpu->eip -= in->length;
    return X_NEXT;
}

static Outcome quiet(Cpu *cpu, const Insn *in)
{
    return go_on(cpu, in, false);
}

static Outcome quiet_end(Cpu *cpu, const Insn *in)
{
    return go_on(cpu, in, true);
}

static bool loads_ss(const Insn *in)
{
    return (in->op == OP_MOV_Sw_Ew && in->reg == SS) || in->op == OP_POP_SS || in->op == OP_LSS;
}

bool resident_goes_on(const Insn *in)
{
    return in->op == OP_STI || in->op == OP_POPF;
}

InsnHandler resident_handler(const Insn *in, int mode, bool ends_unit)
{
    if (resident_goes_on(in) || loads_ss(in) || is_out(in)) {
        return ends_unit ? quiet_end : quiet;
    }
    if (in->op == OP_CLI) {
        return plain_handler(in);
    }
    uint32_t traits = op_rows[in->op].traits;
    bool on_fpu = traits & (T_X87 | T_MMX | T_SSE);
    bool loads_segment = (traits & (T_STOP | T_END | T_PRIV)) == T_STOP;
    bool unmasks = in->op == OP_FLDCW; /* whose code would have looked at what it loads */
    if (data_segment(in) < SEG_COUNT) {
        return watched_segment;
    }
    if (loads_segment || unmasks || (on_fpu && !select_on_fpu(in, mode))) {
        return watched;
    }
    return on_fpu || traits & T_STOP ? settled : plain_handler(in);
}
