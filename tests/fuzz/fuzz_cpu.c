/* Fuzzing of decoder and engines: bytes of input are a machine state and code.
 *
 * With clang's -fsanitize=fuzzer it is a libFuzzer target; with -DFUZZ_STANDALONE it makes random
 * inputs itself: fuzz_cpu [seconds [seed]], or runs the files named. An input is one byte of
 * choices (engine, mode, paging), 48 bytes of registers and segments, the rest is code. What must
 * hold is what tests/cpu/test_random_code.c says: no crash, no hang, and the sanitizers silent.
 * The translator takes part when FUZZ_TRANSLATOR is set: its runs end by a timer, so they are slow.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/mem.h"
#include "cpu-accel/x86/ops.h"
#include "tests/cpu/guest.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_loop.h"

enum {
    INPUT_STATE = 49,
    INPUT_MAX = 512,
    INSTRUCTIONS = 200,
    DIRECTORY = 0x100000,
    TABLE = 0x101000,
    CHOICE_TRANSLATOR = 1,
    CHOICE_REAL = 2,
    CHOICE_PAGING = 4,
    CHOICE_V86 = 8,
    CHOICE_USER = 16,
    CHOICE_LIMITS = 32,
    MODEL_SHIFT = 6,
    RENEW = 20000, /* inputs until guests are made anew */
};

static const AccelOps *const engines[] = {
    &accel_interpreter,
#ifdef __x86_64__
    &accel_translator,
#endif
};
enum { ENGINES = sizeof engines / sizeof engines[0] };

/* The harness is one process with nothing but this state. */
static Guest *guests[ENGINES];
static unsigned runs;

static void decode(const uint8_t *data, size_t size)
{
    char text[100];
    Insn in;

    for (unsigned mode = 0; mode < 4; mode++) {
        const CpuMode m = {mode & 1, mode & 2, CPU_PENTIUM4};
        DecodeResult result = x86_decode(&(CodeView){data, (unsigned)size}, &m, &in);
        if (result == DECODE_OK || result == DECODE_INVALID) {
            x86_disassemble(&in, 0, text, sizeof(text));
        }
    }
}

static uint32_t take32(const uint8_t **p)
{
    uint32_t value;
    memcpy(&value, *p, 4);
    *p += 4;
    return value;
}

static void set_paging(Guest *g, uint32_t entries)
{
    for (unsigned i = 0; i < 1024; i++) {
        entries = entries * 1664525 + 1013904223;
        guest_write32(g, TABLE + 4 * i,
                      (entries % GUEST_RAM & ~0xfffu) | (entries >> 20 & 0x167) | (i < 64 ? 7 : 0));
    }
    for (unsigned i = 0; i < 64; i++) {
        guest_write32(g, TABLE + 4 * i, i << 12 | 7);
    }
    guest_write32(g, DIRECTORY, TABLE | 7);
    guest_write32(g, DIRECTORY + 4092, TABLE | 7);
    g->cpu->cr3 = DIRECTORY;
    g->cpu->cr0 |= CR0_PG;
}

static void set_state(Guest *g, uint8_t choice, const uint8_t *p)
{
    Cpu *cpu = g->cpu;

    cpu->cr3 = cpu->cr4 = cpu->dr7 = 0;
    cpu->smm = false;
    cpu->pending_dr6 = 0;
    cpu->shadow = 0;
    if (choice & CHOICE_REAL) {
        guest_real(g);
    } else {
        guest_flat(g);
    }
    for (unsigned i = 0; i < 8; i++) {
        cpu->reg[i] = take32(&p);
    }
    uint32_t flags = take32(&p), segments = take32(&p), numbers = take32(&p);
    bool v86 = choice & CHOICE_V86 && !(choice & CHOICE_REAL);
    cpu_set_eflags(cpu, (flags & 0x47fd5) | (v86 ? FL_VM : 0));
    if (!(choice & CHOICE_REAL) && (v86 || choice & CHOICE_USER)) {
        cpu->cpl = 3;
    }
    if (choice & CHOICE_PAGING && !(choice & CHOICE_REAL)) {
        set_paging(g, numbers);
    }
    for (unsigned i = 0; choice & CHOICE_LIMITS && i < SEG_COUNT; i++) {
        if (segments >> i & 1) {
            cpu->seg[i].limit = numbers >> (i * 2) & 0xffff;
        }
        if (segments >> (i + 8) & 1 && i != CS) {
            cpu->seg[i].base = numbers * (i + 1);
        }
        if (segments >> (i + 16) & 1 && i != CS) {
            cpu->seg[i].access = 0x91 | (numbers >> i & 0xe) | (segments >> 8 & 0xd000);
        }
    }
    cpu->eip = GUEST_CODE - cpu->seg[CS].base;
    cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
    mem_flush(cpu, true);
}

static void run(Guest *g)
{
    Accel *a = &g->accel;
    int64_t until = clock_now(&g->board->clock) + INSTRUCTIONS;

    a->ops->push(a);
    for (unsigned i = 0; i < INSTRUCTIONS && clock_now(&g->board->clock) < until; i++) {
        atomic_store(&g->cpu->attention, false);
        if (a->ops->run(a, until) != RUN_DUE) {
            break;
        }
    }
    a->ops->pull(a);
    if (g->cpu->reg[NO_REG] != 0 || g->cpu->cpl > 3 || g->cpu->eflags & FL_ARITH) {
        abort(); /* the harness's verdict: state that cannot be */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= INPUT_STATE || size > INPUT_MAX) {
        return 0;
    }
    unsigned engine = data[0] & CHOICE_TRANSLATOR && ENGINES > 1 && getenv("FUZZ_TRANSLATOR");
    static const CpuModel models[] = {CPU_PENTIUM4, CPU_386, CPU_PENTIUM_MMX, CPU_PENTIUM3};

    decode(data + INPUT_STATE, size - INPUT_STATE);
    if (++runs % RENEW == 0) {
        for (unsigned i = 0; i < ENGINES; i++) {
            if (guests[i]) {
                guest_free(guests[i]);
                guests[i] = NULL;
            }
        }
    }
    if (!guests[engine]) {
        guests[engine] = guest_new(models[(runs / RENEW) % 4], engines[engine]);
    }
    Guest *g = guests[engine];
    set_state(g, data[0], data + 1);
    guest_put(g, GUEST_CODE, data + INPUT_STATE, size - INPUT_STATE);
    run(g);
    return 0;
}

#ifdef FUZZ_STANDALONE

/* Mostly instructions of the list, some bytes of chance. */
static size_t make(uint64_t *state, uint8_t *data, size_t room)
{
    (void)room; /* INPUT_MAX */
    size_t size = INPUT_STATE + 32 + (fuzz_random(state) >> 11) % 160;
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(fuzz_random(state) >> 11);
    }
    for (unsigned i = 1; i < 33; i += 4) {
        static const uint32_t edges[] = {0, 0xffff, 0xffffffff, GUEST_DATA, 0x10ffe, 0x3ffffe};
        uint32_t value = edges[(fuzz_random(state) >> 11) % 6];
        if ((fuzz_random(state) >> 11) % 2) {
            memcpy(data + i, &value, 4);
        }
    }
    for (size_t at = INPUT_STATE; at + 12 < size; at += 2 + (fuzz_random(state) >> 11) % 6) {
        const OpRow *row = &op_rows[(fuzz_random(state) >> 11) % OP_COUNT];
        size_t n = at;
        if (row->prefix >= MANDATORY_66) {
            data[n++] = row->prefix == MANDATORY_66   ? 0x66
                        : row->prefix == MANDATORY_F3 ? 0xf3
                                                      : 0xf2;
        }
        if (row->map == MAP_0F) {
            data[n++] = 0x0f;
        }
        data[n++] = (uint8_t)(row->opcode + (fuzz_random(state) >> 11) % row->count);
        if (row->digit >= 0 && row->digit < 8) {
            data[n] = (uint8_t)((data[n] & 0xc7) | row->digit << 3);
        }
    }
    return size;
}

int main(int argc, char **argv)
{
    uint8_t data[INPUT_MAX];
    return fuzz_loop(argc, argv, data, sizeof(data), make, LLVMFuzzerTestOneInput, 256);
}

#endif
