/* The stubs between C and translated code: enter, the ways out, and calls of the interpreter's
 * handlers. */
#include <stddef.h>

#include "cpu-accel/translator/translator.h"

static int32_t reg(unsigned i)
{
    return (int32_t)(offsetof(Cpu, reg) + 4 * i);
}

/* The guest's FPU state, if it is loaded, into the image. Changes r11 and the flags. */
static void emit_save_fpu(Translator *t)
{
    static const uint8_t fxsave_r11[] = {0x41, 0x0f, 0xae, 0x03};
    static const uint8_t ldmxcsr_r11[] = {0x41, 0x0f, 0xae, 0x93};
    Code *c = &t->code;
    emit8(c, 0x41); /* cmp dword [r15 + where it is], FPU_LOADED */
    emit8(c, 0x83);
    emit8(c, 0xbf);
    emit32(c, (uint32_t)scratch_at(SCRATCH_FPU));
    emit8(c, FPU_LOADED);
    emit8(c, 0x75); /* jne */
    uint8_t *skip = c->write + c->at;
    emit8(c, 0);
    size_t from = c->at;
    emit_mov_imm64(c, R11, (uint64_t)(uintptr_t)&t->image);
    emit_bytes(c, fxsave_r11, sizeof(fxsave_r11));
    emit_bytes(c, ldmxcsr_r11, sizeof(ldmxcsr_r11));
    emit32(c, offsetof(FpuImage, host_mxcsr));
    emit_store_imm(c, R15, scratch_at(SCRATCH_FPU), FPU_IN_IMAGE);
    *skip = (uint8_t)(c->at - from);
}

/* Registers, flags and FPU into Cpu and image. Changes eax, r11 and the flags. */
static void emit_spill(Translator *t)
{
    static const uint8_t lahf_seto_al[] = {0x9f, 0x0f, 0x90, 0xc0};
    Code *c = &t->code;
    for (unsigned i = 0; i < 8; i++) {
        emit_store(c, i, R15, reg(i), 4);
    }
    emit_bytes(c, lahf_seto_al, sizeof(lahf_seto_al));
    emit_store(c, EAX, R15, offsetof(Cpu, arith), 2);
    emit8(c, 0xfc); /* cld */
    emit_save_fpu(t);
}

/* What string instructions go by. */
static void emit_direction(Code *c, bool down)
{
    emit_store_imm(c, R15, scratch_at(SCRATCH_STEP), down ? UINT32_MAX : 1);
    emit_store_imm(c, R15, scratch_at(SCRATCH_DOWN), down ? (uint32_t)LIMIT_NEVER : 0);
    emit_store_imm(c, R15, scratch_at(SCRATCH_DOWN) + 4, down ? LIMIT_NEVER >> 32 : 0);
}

static void emit_fill(Code *c)
{
    static const uint8_t add_al_7f_sahf[] = {0x04, 0x7f, 0x9e};
    enum { STD = 0xfd, JZ = 0x74 };
    emit_direction(c, false);
    emit8(c, 0x41); /* test dword [r15 + eflags], DF */
    emit8(c, 0xf7);
    emit8(c, 0x87);
    emit32(c, offsetof(Cpu, eflags));
    emit32(c, FL_DF);
    emit8(c, JZ);
    uint8_t *skip = c->write + c->at;
    emit8(c, 0);
    size_t from = c->at;
    emit_direction(c, true);
    emit8(c, STD);
    *skip = (uint8_t)(c->at - from);
    emit_load(c, EAX, R15, offsetof(Cpu, arith), 2);
    emit_bytes(c, add_al_7f_sahf, sizeof(add_al_7f_sahf));
    for (unsigned i = 0; i < 8; i++) {
        emit_load(c, i, R15, reg(i), 4);
    }
}

static const uint8_t saved[] = {EBX, EBP, R12, R13, R14, R15};

static void emit_push(Code *c, unsigned r)
{
    if (r >= R8) {
        emit8(c, 0x41);
    }
    emit8(c, 0x50 | (r & 7));
}

static void emit_pop(Code *c, unsigned r)
{
    if (r >= R8) {
        emit8(c, 0x41);
    }
    emit8(c, 0x58 | (r & 7));
}

/* Back to C: restores the host's registers and returns r10d. */
static void emit_return(Code *c)
{
    static const uint8_t add_rsp_8[] = {0x48, 0x83, 0xc4, 0x08};
    emit_load(c, ESP, R15, scratch_at(SCRATCH_STACK), 8);
    emit_mov(c, EAX, R10, 4);
    emit_bytes(c, add_rsp_8, sizeof(add_rsp_8));
    for (unsigned i = sizeof(saved); i-- > 0;) {
        emit_pop(c, saved[i]);
    }
    emit8(c, 0xc3);
}

/* enter(rdi Cpu, rsi code, rdx jump table, rcx guards) */
static void emit_enter(Translator *t)
{
    static const uint8_t sub_rsp_8[] = {0x48, 0x83, 0xec, 0x08};
    Code *c = &t->code;
    t->stub.enter = code_here(c);
    for (unsigned i = 0; i < sizeof(saved); i++) {
        emit_push(c, saved[i]);
    }
    emit_bytes(c, sub_rsp_8, sizeof(sub_rsp_8));
    emit_mov(c, R15, EDI, 8);
    emit_mov(c, R13, EDX, 8);
    emit_mov(c, R14, ECX, 8);
    emit_mov_imm(c, R12, COUNT_BITS);
    emit_store(c, ESP, R15, scratch_at(SCRATCH_STACK), 8);
    emit_mov(c, R9, ESI, 8);
    emit_load(c, R8, R15, offsetof(Cpu, eip), 4); /* entries check it */
    emit_fill(c);
    emit_jump_reg(c, R9);
}

static const uint8_t *emit_leave(Translator *t, LeaveReason reason)
{
    Code *c = &t->code;
    const uint8_t *here = code_here(c);
    if (reason == LEAVE_LINK) {
        emit_store(c, R11, R15, scratch_at(SCRATCH_LINK), 8);
    }
    emit_store(c, R8, R15, offsetof(Cpu, eip), 4);
    emit_spill(t);
    emit_mov_imm(c, R10, reason);
    emit_return(c);
    return here;
}

/* A handler has been called, and something is the matter: eax = its outcome. Goes on where
 * translator_turn says, in another mode and window maybe. */
static void emit_turn(Translator *t)
{
    static const uint8_t call_rax[] = {0xff, 0xd0}, test_rax_rax[] = {0x48, 0x85, 0xc0};
    enum { JNZ = 0x75 };
    Code *c = &t->code;
    t->stub.turn = code_here(c);
    emit_mov_imm64(c, EDI, (uint64_t)(uintptr_t)t);
    emit_mov(c, ESI, EAX, 4);
    emit_mov_imm64(c, EAX, (uint64_t)(uintptr_t)translator_turn);
    emit_bytes(c, call_rax, sizeof(call_rax));
    emit_bytes(c, test_rax_rax, sizeof(test_rax_rax));
    emit8(c, JNZ);
    uint8_t *on = c->write + c->at;
    emit8(c, 0);
    size_t from = c->at;
    emit_mov_imm(c, R10, LEAVE_TURN);
    emit_return(c);
    *on = (uint8_t)(c->at - from);
    emit_mov(c, R9, EAX, 8);
    emit_load(c, R13, R15, scratch_at(SCRATCH_JUMP), 8);
    emit_load(c, R14, R15, scratch_at(SCRATCH_GUARD), 8);
    emit_fill(c);
    emit_jump_reg(c, R9);
}

/* In: r8 = Insn, r9 = where to go on. Calls the handler; goes on when it answers X_NEXT and nothing
 * else is the matter.
 */
static void emit_call(Translator *t)
{
    static const uint8_t call_r8_handler[] = {0x41, 0xff, 0x90};
    static const uint8_t jrcxz_5_jmp[] = {0xe3, 0x05};
    Code *c = &t->code;
    t->stub.call = code_here(c);
    emit_store(c, R8, R15, scratch_at(SCRATCH_INSN), 8);
    emit_store(c, R9, R15, scratch_at(SCRATCH_RETURN), 8);
    emit_spill(t);
    emit_load(c, ESP, R15, scratch_at(SCRATCH_STACK), 8);
    emit_mov(c, EDI, R15, 8);
    emit_mov(c, ESI, R8, 8);
    emit_bytes(c, call_r8_handler, sizeof(call_r8_handler));
    emit32(c, offsetof(Insn, handler));
    /* rcx = outcome | leave | attention: all must be 0 to go on */
    emit_store(c, EAX, R15, scratch_at(SCRATCH_OUTCOME), 4);
    emit_mov(c, ECX, EAX, 4);
    emit8(c, 0x41); /* or ecx, [r15 + leave] */
    emit8(c, 0x0b);
    emit8(c, 0x8f);
    emit32(c, (uint32_t)scratch_at(SCRATCH_LEAVE));
    emit8(c, 0x41); /* or cl, [r15 + attention] */
    emit8(c, 0x0a);
    emit8(c, 0x8f);
    emit32(c, offsetof(Cpu, attention));
    uint8_t *skip = c->write + c->at;
    emit_bytes(c, jrcxz_5_jmp, sizeof(jrcxz_5_jmp));
    emit_jump(c, t->stub.turn);
    skip[1] = (uint8_t)(c->write + c->at - skip) - 2;
    emit_fill(c);
    emit_load(c, R9, R15, scratch_at(SCRATCH_RETURN), 8);
    emit_jump_reg(c, R9);
}

/* In: r10 = where to go on, r9 = rcx, ecx = where the FPU state is, which is not in the host. Loads
 * it, and goes on with r9 = rcx. */
static void emit_load_fpu(Translator *t)
{
    static const uint8_t lea_ecx_jrcxz_over_jump[] = {0x8d, 0x49, (uint8_t)-FPU_IN_IMAGE, 0xe3, 5};
    static const uint8_t fxrstor_r11[] = {0x41, 0x0f, 0xae, 0x0b};
    static const uint8_t call_rax[] = {0xff, 0xd0};
    Code *c = &t->code;
    t->stub.load_fpu = code_here(c);
    emit_bytes(c, lea_ecx_jrcxz_over_jump, sizeof(lea_ecx_jrcxz_over_jump));
    uint8_t *not_ready = emit_jump(c, code_here(c));
    const uint8_t *ready = code_here(c);
    emit_mov_imm64(c, R11, (uint64_t)(uintptr_t)&t->image);
    emit_bytes(c, fxrstor_r11, sizeof(fxrstor_r11));
    emit_store_imm(c, R15, scratch_at(SCRATCH_FPU), FPU_LOADED);
    emit_jump_reg(c, R10);
    patch32(not_ready, (int32_t)(c->write + c->at - not_ready) - 4);
    emit_mov(c, ECX, R9, 8);
    emit_store(c, R10, R15, scratch_at(SCRATCH_RETURN), 8);
    emit_spill(t);
    emit_load(c, ESP, R15, scratch_at(SCRATCH_STACK), 8);
    emit_mov_imm64(c, EDI, (uint64_t)(uintptr_t)t);
    emit_mov_imm64(c, EAX, (uint64_t)(uintptr_t)resident_prepare);
    emit_bytes(c, call_rax, sizeof(call_rax));
    emit_fill(c);
    emit_load(c, R10, R15, scratch_at(SCRATCH_RETURN), 8);
    emit_mov(c, R9, ECX, 8);
    emit_jump(c, ready);
}

void stubs_emit(Translator *t)
{
    t->image = (FpuImage){.host_mxcsr = 0x1f80};
    emit_enter(t);
    t->stub.dispatch = emit_leave(t, LEAVE_DISPATCH);
    t->stub.link = emit_leave(t, LEAVE_LINK);
    t->stub.step = emit_leave(t, LEAVE_STEP);
    t->stub.poll = emit_leave(t, LEAVE_POLL);
    t->stub.few = emit_leave(t, LEAVE_FEW);
    emit_turn(t);
    emit_call(t);
    emit_load_fpu(t);
}

LeaveReason stubs_enter(Translator *t, const uint8_t *code)
{
    typedef int (*Enter)(Cpu * cpu, const uint8_t *code, const uint8_t **jump,
                         const uint32_t *guard);
    Enter enter = (Enter)(uintptr_t)t->stub.enter; // NOLINT: emitted code
    return (LeaveReason)enter(t->cpu, code, t->now->jump, t->now->window->guard);
}
