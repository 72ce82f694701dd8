/* What the MMX and SSE handlers share: entry checks, operands, the way to the host's unit.
 *
 * Packed integers of both widths are computed in the host's XMM registers, so MMX never touches the
 * host's x87 unit. Reals are computed under the guest's MXCSR with all exceptions masked: sse_begin
 * loads it, sse_end takes the flags and gives the host its own back. When the guest has unmasked
 * exceptions, what must have happened follows from the flags alone (SDM vol. 1, 11.5.2): an
 * unmasked invalid, denormal or zero divide in any element stops all before anything is computed,
 * the others stop the store.
 */
#ifndef CPU_ACCEL_X86_EX_SSE_H
#define CPU_ACCEL_X86_EX_SSE_H

#include <emmintrin.h>
#include <string.h>

#include "cpu-accel/x86/ex_x87.h"

static inline bool sse_ready(const Cpu *cpu)
{
    return !(cpu->cr0 & (CR0_EM | CR0_TS)) && cpu->cr4 & CR4_OSFXSR;
}

static inline bool mmx_ready(const Cpu *cpu)
{
    return !(cpu->cr0 & (CR0_EM | CR0_TS)) && !(cpu->fpu.status & FSW_ES);
}

/* What is to happen when not ready; X_NEXT (only of mmx_enter): go on. */
Outcome sse_refuse(Cpu *cpu);
Outcome mmx_enter(Cpu *cpu);
/* For the few that use both MMX and XMM registers. */
Outcome sse_mmx_enter(Cpu *cpu);

/* Every MMX instruction but EMMS leaves TOP 0 and no register empty. */
static inline void mmx_touch(Fpu *f)
{
    f->status &= (uint16_t)~FSW_TOP;
    f->valid = 0xff;
}

static inline uint64_t mmx_read(const Fpu *f, unsigned n)
{
    return f->st[n].mantissa;
}

static inline void mmx_write(Fpu *f, unsigned n, uint64_t value)
{
    f->st[n].mantissa = value;
    f->st[n].sign_exponent = 0xffff;
}

static inline __m128i xmm_load(const Xmm *x)
{
    return _mm_loadu_si128((const __m128i *)x);
}

static inline void xmm_store(Xmm *x, __m128i value)
{
    _mm_storeu_si128((__m128i *)x, value);
}

static inline __m128i xmm_of(uint64_t low)
{
    return _mm_cvtsi64_si128((long long)low);
}

static inline uint64_t xmm_low(__m128i value)
{
    return (uint64_t)_mm_cvtsi128_si64(value);
}

/* The memory operand's address is a multiple of 16, else #GP(0). */
static inline bool sse_aligned(Cpu *cpu, const Insn *in, uint32_t address)
{
    if ((cpu->seg[in->seg].base + address) & 15) {
        cpu_fault_code(cpu, VEC_GP, 0);
        return false;
    }
    return true;
}

/* Sources by ModRM.rm: register or memory. */
static inline bool mmx_source(Cpu *cpu, const Insn *in, uint64_t *value)
{
    if (in->memory) {
        return mem_read64(cpu, (SegIndex)in->seg, ex_address(cpu, in), value);
    }
    *value = mmx_read(&cpu->fpu, in->rm);
    return true;
}

static inline bool xmm_source(Cpu *cpu, const Insn *in, __m128i *value)
{
    Xmm memory;
    if (!in->memory) {
        *value = xmm_load(&cpu->fpu.xmm[in->rm]);
        return true;
    }
    uint32_t address = ex_address(cpu, in);
    if (!sse_aligned(cpu, in, address) ||
        !mem_read_bytes(cpu, (SegIndex)in->seg, address, &memory, sizeof memory)) {
        return false;
    }
    *value = xmm_load(&memory);
    return true;
}

/* The low 8 or 4 bytes; without any alignment. */
static inline bool xmm_source64(Cpu *cpu, const Insn *in, __m128i *value)
{
    uint64_t low = cpu->fpu.xmm[in->rm].q[0];
    if (in->memory && !mem_read64(cpu, (SegIndex)in->seg, ex_address(cpu, in), &low)) {
        return false;
    }
    *value = xmm_of(low);
    return true;
}

static inline bool xmm_source32(Cpu *cpu, const Insn *in, __m128i *value)
{
    uint32_t low = (uint32_t)cpu->fpu.xmm[in->rm].q[0];
    if (in->memory && !mem_read32(cpu, (SegIndex)in->seg, ex_address(cpu, in), &low)) {
        return false;
    }
    *value = _mm_cvtsi32_si128((int)low);
    return true;
}

static inline bool sse_source_register(Cpu *cpu, const Insn *in, uint32_t *value)
{
    if (in->memory) {
        return mem_read32(cpu, (SegIndex)in->seg, ex_address(cpu, in), value);
    }
    *value = cpu->reg[in->rm];
    return true;
}

static inline uint32_t sse_host_mxcsr(void)
{
    uint32_t mxcsr;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    return mxcsr;
}

static inline void sse_host_set_mxcsr(uint32_t mxcsr)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}

/* What this program itself computes with: the C environment's default. */
enum { HOST_MXCSR = 0x1f80 };

/* Before arithmetic. Reading MXCSR is dear and loading it cheap, so nothing is looked at first. */
static inline void sse_begin(const Fpu *f)
{
    uint32_t wanted = f->mxcsr | MXCSR_MASKS;
    if ((f->mxcsr & MXCSR_MASKS) != MXCSR_MASKS) {
        wanted &= ~(uint32_t)MXCSR_FLAGS;
        if (!(f->mxcsr & FSW_UE << MXCSR_MASKS_SHIFT)) {
            wanted &= ~(uint32_t)MXCSR_FTZ; /* without effect while underflow is unmasked */
        }
    }
    sse_host_set_mxcsr(wanted);
}

/* False: an unmasked exception, the fault is filled and nothing may be stored. */
bool sse_unmasked(Cpu *cpu, uint32_t raised, bool denormal_result);

/* After arithmetic. denormal_result: some element of the result is denormal (an exact one raises
 * underflow only when that is unmasked). */
static inline bool sse_end(Cpu *cpu, bool denormal_result)
{
    uint32_t now = sse_host_mxcsr();
    sse_host_set_mxcsr(HOST_MXCSR);
    if ((cpu->fpu.mxcsr & MXCSR_MASKS) == MXCSR_MASKS) {
        cpu->fpu.mxcsr |= now & MXCSR_FLAGS;
        return true;
    }
    return sse_unmasked(cpu, now & MXCSR_FLAGS, denormal_result);
}

#endif
