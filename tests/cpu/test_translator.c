/* The translator against the interpreter: the same small programs, run to HLT, must leave the same
 * registers, memory and FPU behind: at CPL 0, and under paging at CPL 3 with a window and with the
 * page array. */
#include <string.h>

#include "cpu-accel/translator/translator.h"
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/fpu.h"
#include "cpu-accel/x86/mem.h"
#include "tests/cpu/guest.h"

enum { RUN_NS = 100000000 };

typedef void Prepare(Guest *g);

static void run_to_halt(Guest *g)
{
    for (unsigned i = 0; i < 20; i++) {
        atomic_store(&g->cpu->attention, false);
        if (g->accel.ops->run(&g->accel, clock_now(&g->board->clock) + RUN_NS) == RUN_HALTED) {
            return;
        }
    }
    fail_msg("%s: no HLT, at %08x", g->accel.ops->name, g->cpu->eip);
}

static void same_fpu(const Fpu *a, const Fpu *b)
{
    assert_int_equal(a->control, b->control);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->valid, b->valid);
    assert_int_equal(a->opcode, b->opcode);
    assert_int_equal(a->ip, b->ip);
    assert_int_equal(a->ip_selector, b->ip_selector);
    assert_int_equal(a->data, b->data);
    assert_int_equal(a->data_selector, b->data_selector);
    assert_int_equal(a->mxcsr, b->mxcsr);
    for (unsigned i = 0; i < 8; i++) {
        if (a->valid >> i & 1) {
            assert_int_equal(a->st[i].mantissa, b->st[i].mantissa);
            assert_int_equal(a->st[i].sign_exponent, b->st[i].sign_exponent);
        }
        assert_memory_equal(&a->xmm[i], &b->xmm[i], sizeof(a->xmm[i]));
    }
}

static void same_state(const Guest *a, const Guest *b)
{
    for (unsigned i = 0; i < 8; i++) {
        if (a->cpu->reg[i] != b->cpu->reg[i]) {
            fail_msg("register %u: %08x and %08x", i, a->cpu->reg[i], b->cpu->reg[i]);
        }
    }
    assert_int_equal(a->cpu->eip, b->cpu->eip);
    assert_int_equal(cpu_eflags(a->cpu), cpu_eflags(b->cpu));
    assert_int_equal(a->cpu->cr2, b->cpu->cr2);
    assert_int_equal(a->cpu->cpl, b->cpu->cpl);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        assert_int_equal(a->cpu->seg[i].selector, b->cpu->seg[i].selector);
        assert_int_equal(a->cpu->seg[i].base, b->cpu->seg[i].base);
    }
    same_fpu(&a->cpu->fpu, &b->cpu->fpu);
    for (uint32_t i = 0; i < GUEST_RAM; i++) {
        if (a->ram[i] != b->ram[i]) {
            fail_msg("memory at %08x: %02x and %02x", i, a->ram[i], b->ram[i]);
        }
    }
}

/* All vectors end in HLT, so that a fault leaves its frame to be compared. */
static void halting_handlers(Guest *g)
{
    for (unsigned i = 0; i < 256; i++) {
        guest_put(g, GUEST_HANDLERS + 2 * i, "\xf4\xf4", 2);
    }
}

enum {
    TSS = 0xa000,
    DIRECTORY = 0x3f0000, /* of the user programs' page tables: 4 MiB and a large page of devices */
    TABLE = 0x3f1000,
    USER_GATE = 0x41, /* code at USER_GATE_CODE, for user programs to call */
    USER_GATE_CODE = 0xb000,
    PF_CODE = 0xb800,
};

/* How a program runs. */
typedef enum Form { AT_CPL0, BY_WINDOW, BY_ARRAY } Form;

/* CPL 3, everything mapped where it is; HLT ends it with #GP. */
static void become_user(Guest *g)
{
    static const uint64_t gdt[] = {0x00cffb000000ffff, 0x00cff3000000ffff};
    guest_put(g, GUEST_GDT + 0x28, gdt, sizeof(gdt));
    guest_write32(g, DIRECTORY, TABLE | 7);
    guest_write32(g, DIRECTORY + 8, 0x800087);
    for (uint32_t i = 0; i < 1024; i++) {
        guest_write32(g, TABLE + 4 * i, i << 12 | 7);
    }
    guest_write32(g, TSS + 4, GUEST_STACK - 0x400);
    guest_write32(g, TSS + 8, 0x10);
    Cpu *cpu = g->cpu;
    cpu->seg[TR] = (SegReg){0x38, 0x8b, TSS, 0x67};
    cpu->cr3 = DIRECTORY;
    cpu->cr4 |= CR4_PSE;
    cpu->cr0 |= CR0_PG | CR0_WP;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = (SegReg){0x33, 0xc0f3, 0, UINT32_MAX};
    }
    cpu->seg[CS] = (SegReg){0x2b, 0xc0fb, 0, UINT32_MAX};
    cpu->cpl = 3;
    cpu->reg[ESP] = GUEST_STACK;
    mem_flush(cpu, true);
}

static Guest *run_form(const AccelOps *ops, Form form, const void *code, size_t size,
                       Prepare *prepare)
{
    Guest *g = guest_new(CPU_PENTIUM4, ops);
    guest_flat(g);
    halting_handlers(g);
    g->cpu->cr4 |= CR4_OSFXSR;
    g->cpu->cr0 |= CR0_NE;
    for (uint32_t at = 0; at < 0x1000; at += 4) {
        guest_write32(g, GUEST_DATA + at, at * 0x9e3779b1u);
    }
    guest_code(g, code, size);
    if (form != AT_CPL0) {
        become_user(g);
    }
    if (ops == &accel_translator) {
        Translator *t = g->accel.self;
        t->windows.always = form == BY_WINDOW;
        t->windows.never = form == BY_ARRAY;
    }
    if (prepare) {
        prepare(g);
    }
    run_to_halt(g);
    return g;
}

static void compare(Form form, const void *code, size_t size, Prepare *prepare)
{
    Guest *a = run_form(&accel_interpreter, form, code, size, prepare);
    Guest *b = run_form(&accel_translator, form, code, size, prepare);
    same_state(a, b);
    guest_free(a);
    guest_free(b);
}

static void both(const void *code, size_t size, Prepare *prepare)
{
    for (Form form = AT_CPL0; form <= BY_ARRAY; form++) {
        compare(form, code, size, prepare);
    }
}

#define BOTH(bytes) both(bytes, sizeof(bytes) - 1, NULL)
#define BOTH_WITH(bytes, prepare) both(bytes, sizeof(bytes) - 1, prepare)

static void test_x87_leaves_the_same_state(void **state)
{
    (void)state;
    BOTH("\xdb\xe3\xd9\xe8\xd9\xeb\xd8\xc1\xf4"); /* fninit fld1 fldpi fadd st1 hlt */
    BOTH("\xdb\xe3\xb9\x10\x00\x00\x00"           /* mov ecx, 16 */
         "\xdf\x2c\xcd\x00\x00\x02\x00"           /* fild qword [ecx*8 + data] */
         "\xd9\xeb\xde\xf9"                       /* fldpi; fdivp */
         "\xdd\x1c\xcd\x00\x08\x02\x00"           /* fstp qword [ecx*8 + data + 800h] */
         "\xe2\xec\xf4");                         /* loop; hlt */
    /* fnstcw [mem]; or word [mem], 0c00h; fldcw [mem]; fld1; fldpi; fistp [mem + 4]; fnstenv */
    BOTH("\xdb\xe3\xd9\x3d\x00\x01\x02\x00\x66\x81\x0d\x00\x01\x02\x00\x00\x0c"
         "\xd9\x2d\x00\x01\x02\x00\xd9\xe8\xd9\xeb\xdb\x1d\x04\x01\x02\x00"
         "\xd9\x35\x00\x02\x02\x00\xf4");
    BOTH("\xdb\xe3\xd9\xee\xd9\xe8\xd8\xf1\xdf\xe0\x9b\xf4"); /* 1 / 0, fnstsw ax, fwait */
    BOTH("\xdb\xe3\xd9\xe8\xdd\xd8\xdd\xd8\xdf\xe0\xf4");     /* pop of an empty stack */
}

static void test_unmasked_exceptions_are_the_handlers(void **state)
{
    (void)state;
    /* fninit; mov word [data], 37bh; fldcw [data]; fldz; fld1; fdiv st0, st1; fwait */
    BOTH("\xdb\xe3\x66\xc7\x05\x00\x00\x02\x00\x7b\x03\xd9\x2d\x00\x00\x02\x00"
         "\xd9\xee\xd9\xe8\xd8\xf1\x90\x9b\xf4");
}

static void test_mmx_and_sse(void **state)
{
    (void)state;
    BOTH("\x0f\x6f\x05\x00\x00\x02\x00\x0f\xfc\x05\x08\x00\x02\x00" /* movq mm0; paddb mm0 */
         "\x0f\x7f\x05\x00\x01\x02\x00\x0f\x77\xf4");               /* movq [mem], mm0; emms */
    BOTH("\x0f\x28\x05\x00\x00\x02\x00\x0f\x58\x05\x10\x00\x02\x00" /* movaps xmm0; addps xmm0 */
         "\x0f\x11\x05\x04\x01\x02\x00\xf3\x0f\x2d\xc8"             /* movups; cvtss2si ecx */
         "\x0f\xae\x1d\x20\x01\x02\x00\xf4");                       /* stmxcsr */
    BOTH("\x0f\x28\x05\x04\x00\x02\x00\xf4");                       /* movaps, not aligned: #GP */
}

static void test_fpu_across_calls_of_handlers(void **state)
{
    (void)state;
    /* fninit; fldpi; cpuid; fld1; pushf; fmulp; movups xmm1, [data]; rdtsc-free pusha; addps */
    BOTH("\xdb\xe3\xd9\xeb\x31\xc0\x0f\xa2\xd9\xe8\x9c\xde\xc9\x0f\x10\x0d\x00\x00\x02\x00"
         "\x60\x0f\x58\xc9\xd9\xe5\x61\xf4");
}

static void test_code_that_changes_itself(void **state)
{
    (void)state;
    /* mov ecx, 3; l: mov byte [t+1], cl; inc edx; t: mov al, 0x77; add ebx, eax; loop l; hlt */
    BOTH("\xb9\x03\x00\x00\x00\x88\x0d\x0d\x00\x01\x00\x42\xb0\x77\x01\xc3\xe2\xf3\xf4");
    /* mov ecx, 300; mov edi, t+1; l: mov eax, ecx; stosb; dec edi; t: add bl, 0; rol ebx, 3; dec
     * ecx; jnz l; hlt */
    BOTH("\xb9\x2c\x01\x00\x00\xbf\x0f\x00\x01\x00\x89\xc8\xaa\x4f\x80\xc3\x00\xc1\xc3\x03"
         "\x49\x75\xf3\xf4");
    /* mov ecx, 1000; l: add [d], ecx; xor ebx, [d]; loop l; hlt; d: dd 0 */
    BOTH("\xb9\xe8\x03\x00\x00\x01\x0d\x14\x00\x01\x00\x33\x1d\x14\x00\x01\x00\xe2\xf2\xf4"
         "\x00\x00\x00\x00");
    /* mov edi, t; mov eax, 0x90909090; mov ecx, 2; inc edx; rep stosd; t: inc ebx; inc ebx; inc
     * ebx; inc ebx; inc ebx; inc ebx; inc ebx; inc ebx; inc ebx; hlt */
    BOTH("\xbf\x12\x00\x01\x00\xb8\x90\x90\x90\x90\xb9\x02\x00\x00\x00\x42\xf3\xab\x43\x43"
         "\x43\x43\x43\x43\x43\x43\x43\xf4");
}

/* The interpreter runs it, and not by one turn of the run loop each instruction. */
static void test_code_that_keeps_changing(void **state)
{
    /* mov ecx, 5000; l: inc byte [m + 1]; m: mov al, 0; add ebx, eax; add edx, ebx; nop; loop l;
     * hlt */
    static const char code[] = "\xb9\x88\x13\x00\x00\xfe\x05\x0c\x00\x01\x00\xb0\x00\x01\xc3"
                               "\x01\xda\x90\xe2\xf1\xf4";
    (void)state;
    BOTH("\xb9\x88\x13\x00\x00\xfe\x05\x0c\x00\x01\x00\xb0\x00\x01\xc3\x01\xda\x90\xe2\xf1\xf4");
    Guest *g = run_form(&accel_translator, AT_CPL0, code, sizeof(code) - 1, NULL);
    assert_in_range(((const Translator *)g->accel.self)->count.turns, 1, 5000);
    guest_free(g);
}

static void test_faults_are_precise(void **state)
{
    (void)state;
    /* mov eax, 5; xor edx, edx; mov ebx, 7; inc ebx; xor ecx, ecx; div ecx; hlt */
    BOTH("\xb8\x05\x00\x00\x00\x31\xd2\xbb\x07\x00\x00\x00\x43\x31\xc9\xf7\xf1\xf4");
    /* mov esp, 0x400002; mov eax, 1; push eax; pop ebx; mov esp, 2; push eax; hlt */
    BOTH("\xbc\x02\x00\x40\x00\xb8\x01\x00\x00\x00\x50\x5b\xbc\x02\x00\x00\x00\x50\xf4");
}

static void test_string_instructions(void **state)
{
    (void)state;
    /* std; mov esi, 0x20020; mov edi, 0x20120; mov ecx, 9; rep movsd; pushf; cld; lodsd; stosd;
     * pushf; std; scasb; cld; mov ecx, 20; mov edi, 0x20000; mov al, 0; repne scasb; hlt */
    BOTH("\xfd\xbe\x20\x00\x02\x00\xbf\x20\x01\x02\x00\xb9\x09\x00\x00\x00\xf3\xa5\x9c\xfc"
         "\xad\xab\x9c\xfd\xae\xfc\xb9\x14\x00\x00\x00\xbf\x00\x00\x02\x00\xb0\x00\xf2\xae"
         "\xf4");
    /* mov ecx, 5000; mov edi, 0x21ff1; mov eax, 0x11223344; rep stosd; mov esi, 0x21ff1; mov edi,
     * 0x21ff4; mov ecx, 4000; rep movsb; mov esi, 0x21ff1; mov edi, 0x22ff1; mov ecx, 4000; repe
     * cmpsw; mov ecx, 7; rep lodsb; hlt */
    BOTH("\xb9\x88\x13\x00\x00\xbf\xf1\x1f\x02\x00\xb8\x44\x33\x22\x11\xf3\xab\xbe\xf1\x1f"
         "\x02\x00\xbf\xf4\x1f\x02\x00\xb9\xa0\x0f\x00\x00\xf3\xa4\xbe\xf1\x1f\x02\x00\xbf"
         "\xf1\x2f\x02\x00\xb9\xa0\x0f\x00\x00\xf3\x66\xa7\xb9\x07\x00\x00\x00\xf3\xac\xf4");
}

static void test_segments_change_the_mode(void **state)
{
    (void)state;
    /* mov dword [0x1040], 0x0000ffff; mov dword [0x1044], 0x00cf9302; mov eax, [0x20000]; mov bx,
     * 0x40; mov ds, bx; mov ecx, [0x20000]; mov bx, 0x10; mov ds, bx; mov edx, [0x20000]; mov
     * [es:0x20004], ecx; hlt */
    BOTH("\xc7\x05\x40\x10\x00\x00\xff\xff\x00\x00\xc7\x05\x44\x10\x00\x00\x02\x93\xcf\x00"
         "\xa1\x00\x00\x02\x00\x66\xbb\x40\x00\x8e\xdb\x8b\x0d\x00\x00\x02\x00\x66\xbb\x10"
         "\x00\x8e\xdb\x8b\x15\x00\x00\x02\x00\x26\x89\x0d\x04\x00\x02\x00\xf4");
}

static void test_instructions_across_pages(void **state)
{
    (void)state;
    /* mov ecx, 20; mov byte [0x11000-2], 0x81; mov dword [0x11000-1], 0x223344c3; mov byte
     * [0x11003], 0x11; mov byte [0x11004], 0xc3; l: call 0x11000-2; inc byte [0x11002]; loop l; hlt
     */
    BOTH("\xb9\x14\x00\x00\x00\xc6\x05\xfe\x0f\x01\x00\x81\xc7\x05\xff\x0f\x01\x00\xc3\x44"
         "\x33\x22\xc6\x05\x03\x10\x01\x00\x11\xc6\x05\x04\x10\x01\x00\xc3\xe8\xd5\x0f\x00"
         "\x00\xfe\x05\x02\x10\x01\x00\xe2\xf3\xf4");
}

static void test_flags_and_branches(void **state)
{
    (void)state;
    /* mov eax, 0x7fffffff; add eax, 1; call f; pushf; sub eax, eax; call f; pushf; hlt; f: jmp [p];
     * g: ret; p: dd g */
    BOTH("\xb8\xff\xff\xff\x7f\x83\xc0\x01\xe8\x0a\x00\x00\x00\x9c\x29\xc0\xe8\x02\x00\x00"
         "\x00\x9c\xf4\xff\x25\x1e\x00\x01\x00\xc3\x1d\x00\x01\x00");
    /* mov ecx, 5; mov eax, 1; a: add eax, eax; loop a; xor ecx, ecx; jecxz b; inc ebx; b: mov ecx,
     * 9; c: cmp ecx, 4; loopne c; mov edx, ecx; hlt */
    BOTH("\xb9\x05\x00\x00\x00\xb8\x01\x00\x00\x00\x01\xc0\xe2\xfc\x31\xc9\xe3\x01\x43\xb9"
         "\x09\x00\x00\x00\x83\xf9\x04\xe0\xfb\x89\xca\xf4");
    /* mov dword [0x1800+8*0x40], 0x00080000+h-0x10000; mov dword [0x1800+8*0x40+4], 0x00018e00; mov
     * ecx, 50; l: int 0x40; loop l; hlt; h: add ebx, ecx; iret */
    BOTH("\xc7\x05\x00\x1a\x00\x00\x1e\x00\x08\x00\xc7\x05\x04\x1a\x00\x00\x00\x8e\x01\x00"
         "\xb9\x32\x00\x00\x00\xcd\x40\xe2\xfc\xf4\x01\xcb\xcf");
}

static void interrupt_waits(Guest *g)
{
    g->vector = 0x41;
    cpu_intr(g->cpu, 0, true);
}

static void test_flags_on_the_stack(void **state)
{
    (void)state;
    /* mov eax, 7fffffffh; add eax, 1; pushf; pop ebx; push ebx; xor ecx, ecx; popf; seto cl; pushf;
     * pop edx; push 0ad7h; popf; pushf; pop esi; nop; hlt */
    BOTH("\xb8\xff\xff\xff\x7f\x83\xc0\x01\x9c\x5b\x53\x31\xc9\x9d\x0f\x90\xc1\x9c\x5a\x68\xd7"
         "\x0a\x00\x00\x9d\x9c\x5e\x90\xf4");
    /* stc; sti; inc eax; pushf; pop ebx; cli; pushf; pop edx; push ebx; popf; pushfw; popfw; pushf;
     * hlt */
    BOTH("\xf9\xfb\x40\x9c\x5b\xfa\x9c\x5a\x53\x9d\x66\x9c\x66\x9d\x9c\xf4");
    /* push 0402h; popf; mov esi, data + 16; lodsb; pushf; push 2; popf; lodsb; hlt */
    BOTH("\x68\x02\x04\x00\x00\x9d\xbe\x10\x00\x02\x00\xac\x9c\x6a\x02\x9d\xac\xf4");
    /* fninit; fld1; push 0102h; popf; nop; nop; hlt: a trap behind the first NOP */
    BOTH("\xdb\xe3\xd9\xe8\x68\x02\x01\x00\x00\x9d\x90\x90\xf4");
    /* fninit; fld1; sti; inc eax; inc eax; hlt */
    BOTH_WITH("\xdb\xe3\xd9\xe8\xfb\x40\x40\xf4", interrupt_waits);
    /* mov esp, 3; pushf: its four bytes begin at 0ffffffffh */
    BOTH("\xbc\x03\x00\x00\x00\x9c\xf4");
}

static void test_devices(void **state)
{
    (void)state;
    /* mov ecx, 40; l: mov eax, [0x800000]; mov [0x800000+ecx*4], ecx; add ebx, eax; adc edx, 0;
     * loop l; rep movsb; mov esi, 0x7ffff0; hlt */
    BOTH("\xb9\x28\x00\x00\x00\xa1\x00\x00\x80\x00\x89\x0c\x8d\x00\x00\x80\x00\x01\xc3\x83"
         "\xd2\x00\xe2\xed\xf3\xa4\xbe\xf0\xff\x7f\x00\xf4");
}

static void test_stack_instructions(void **state)
{
    (void)state;
    /* mov esp, 0x8800; pusha; enter 16, 2; push dword [esp+4]; pop dword [esp+8]; push esp; pop
     * esi; push word 0x1234; pop ax; leave; popa; xlatb; bswap edx; hlt */
    BOTH("\xbc\x00\x88\x00\x00\x60\xc8\x10\x00\x02\xff\x74\x24\x04\x8f\x44\x24\x08\x54\x5e"
         "\x66\x68\x34\x12\x66\x58\xc9\x61\xd7\x0f\xca\xf4");
}

static void test_paging_changes_are_seen(void **state)
{
    (void)state;
    /* mov dword [0x30000], 0x31007; mov edi, 0x31000; mov eax, 7; mov ecx, 1024; p: stosd; add eax,
     * 0x1000; loop p; mov eax, 0x30000; mov cr3, eax; mov eax, cr0; or eax, 0x80010000; mov cr0,
     * eax; mov ebx, [0x50000]; mov [0x50004], ebx; mov dword [0x31000+0x50*4], 0x60005; invlpg
     * [0x50000]; mov ebx, [0x50008]; mov edx, 1; inc edx; mov [0x50004], ebx; hlt */
    BOTH("\xc7\x05\x00\x00\x03\x00\x07\x10\x03\x00\xbf\x00\x10\x03\x00\xb8\x07\x00\x00\x00"
         "\xb9\x00\x04\x00\x00\xab\x05\x00\x10\x00\x00\xe2\xf8\xb8\x00\x00\x03\x00\x0f\x22"
         "\xd8\x0f\x20\xc0\x0d\x00\x00\x01\x80\x0f\x22\xc0\x8b\x1d\x00\x00\x05\x00\x89\x1d"
         "\x04\x00\x05\x00\xc7\x05\x40\x11\x03\x00\x05\x00\x06\x00\x0f\x01\x3d\x00\x00\x05"
         "\x00\x8b\x1d\x08\x00\x05\x00\xba\x01\x00\x00\x00\x42\x89\x1d\x04\x00\x05\x00\xf4");
    /* mov dword [0x30000], 0x31007; mov edi, 0x31000; mov eax, 7; mov ecx, 1024; p: stosd; add eax,
     * 0x1000; loop p; mov eax, 0x30000; mov cr3, eax; mov eax, cr0; or eax, 0x80000000; mov cr0,
     * eax; mov ecx, 30; l: mov ebx, [0x50000]; mov [0x50010], ecx; add edx, [0x50010]; xor dword
     * [0x31000+0x50*4], 0x10000; mov eax, cr3; mov cr3, eax; loop l; mov eax, [0x31000+0x50*4]; mov
     * ebp, [0x31000+0x40*4]; mov dword [0x31000+0x50*4], 0; mov eax, cr3; mov cr3, eax; mov edi,
     * 0x4fffe; mov ecx, 9; rep stosb; hlt */
    BOTH("\xc7\x05\x00\x00\x03\x00\x07\x10\x03\x00\xbf\x00\x10\x03\x00\xb8\x07\x00\x00\x00"
         "\xb9\x00\x04\x00\x00\xab\x05\x00\x10\x00\x00\xe2\xf8\xb8\x00\x00\x03\x00\x0f\x22"
         "\xd8\x0f\x20\xc0\x0d\x00\x00\x00\x80\x0f\x22\xc0\xb9\x1e\x00\x00\x00\x8b\x1d\x00"
         "\x00\x05\x00\x89\x0d\x10\x00\x05\x00\x03\x15\x10\x00\x05\x00\x81\x35\x40\x11\x03"
         "\x00\x00\x00\x01\x00\x0f\x20\xd8\x0f\x22\xd8\xe2\xdc\xa1\x40\x11\x03\x00\x8b\x2d"
         "\x00\x11\x03\x00\xc7\x05\x40\x11\x03\x00\x00\x00\x00\x00\x0f\x20\xd8\x0f\x22\xd8"
         "\xbf\xfe\xff\x04\x00\xb9\x09\x00\x00\x00\xf3\xaa\xf4");
}

static void test_interrupts_behind_sti_and_popf(void **state)
{
    (void)state;
    /* mov eax, 1; sti; inc eax; inc eax; hlt */
    BOTH_WITH("\xb8\x01\x00\x00\x00\xfb\x40\x40\xf4", interrupt_waits);
    /* push 0x202; popf; inc eax; hlt */
    BOTH_WITH("\x68\x02\x02\x00\x00\x9d\x40\xf4", interrupt_waits);
}

/* --- user programs and what their kernel does meanwhile --- */

#define PUT(g, at, bytes) guest_put(g, at, bytes, sizeof(bytes) - 1)

/* The gate's code, and a handler of page faults that makes the page at CR2 writable and goes on. */
static void kernel(Guest *g)
{
    uint64_t gate = (USER_GATE_CODE & 0xffff) | 0x8u << 16 | UINT64_C(0xee00) << 32;
    guest_put(g, GUEST_IDT + 8 * USER_GATE, &gate, sizeof(gate));
    gate = (PF_CODE & 0xffff) | 0x8u << 16 | UINT64_C(0x8e00) << 32;
    guest_put(g, GUEST_IDT + 8 * 14, &gate, sizeof(gate));
    /* push eax; mov eax, cr2; mov [0xa800], eax; shr eax, 12; or dword [TABLE+eax*4], 7; inc dword
     * [0xa804]; pop eax; add esp, 4; iret */
    PUT(g, PF_CODE,
        "\x50\x0f\x20\xd0\xa3\x00\xa8\x00\x00\xc1\xe8\x0c\x83\x0c\x85\x00\x10\x3f\x00"
        "\x07\xff\x05\x04\xa8\x00\x00\x58\x83\xc4\x04\xcf");
}

static void remaps_by_cr3(Guest *g)
{
    kernel(g);
    /* xor dword [TABLE+0x50*4], 0x10000; mov eax, cr3; mov cr3, eax; iret */
    PUT(g, USER_GATE_CODE, "\x81\x35\x40\x11\x3f\x00\x00\x00\x01\x00\x0f\x20\xd8\x0f\x22\xd8\xcf");
}

static void remaps_by_invlpg(Guest *g)
{
    kernel(g);
    /* xor dword [TABLE+0x50*4], 0x10000; invlpg [0x50000]; iret */
    PUT(g, USER_GATE_CODE,
        "\x81\x35\x40\x11\x3f\x00\x00\x00\x01\x00\x0f\x01\x3d\x00\x00\x05\x00\xcf");
}

static void makes_read_only(Guest *g)
{
    kernel(g);
    /* and dword [TABLE+0x50*4], ~2; invlpg [0x50000]; iret */
    PUT(g, USER_GATE_CODE, "\x83\x25\x40\x11\x3f\x00\xfd\x0f\x01\x3d\x00\x00\x05\x00\xcf");
}

static void takes_from_user(Guest *g)
{
    kernel(g);
    /* and dword [TABLE+0x50*4], ~4; mov eax, cr3; mov cr3, eax; iret */
    PUT(g, USER_GATE_CODE, "\x83\x25\x40\x11\x3f\x00\xfb\x0f\x20\xd8\x0f\x22\xd8\xcf");
}

static void forgets_dirty(Guest *g)
{
    kernel(g);
    /* mov eax, [TABLE+0x50*4]; add [0xa808], eax; and dword [TABLE+0x50*4], ~0x60; invlpg
     * [0x50000]; iret */
    PUT(g, USER_GATE_CODE,
        "\xa1\x40\x11\x3f\x00\x01\x05\x08\xa8\x00\x00\x83\x25\x40\x11\x3f\x00\x9f"
        "\x0f\x01\x3d\x00\x00\x05\x00\xcf");
}

static void test_user_pages_change(void **state)
{
    (void)state;
    Prepare *const kernels[] = {remaps_by_cr3, remaps_by_invlpg, makes_read_only, takes_from_user,
                                forgets_dirty};
    for (unsigned i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
        for (Form form = BY_WINDOW; form <= BY_ARRAY; form++) {
            /* mov ecx, 20; mov esi, 0x50000; l: mov ebx, [esi]; add edx, [esi+16]; mov [esi+ecx*4],
             * ecx; push edx; add [esi+0x80], edx; int 0x41; pop edi; loop l; hlt */
            static const char code[] =
                "\xb9\x14\x00\x00\x00\xbe\x00\x00\x05\x00\x8b\x1e\x03\x56\x10\x89\x0c\x8e\x52"
                "\x01\x96\x80\x00\x00\x00\xcd\x41\x5f\xe2\xed\xf4";
            compare(form, code, sizeof(code) - 1, kernels[i]);
            /* the same but with the stores first, of bytes and words, and across the page's end:
             * mov ecx, 20; mov esi, 0x50000; l: inc byte [esi+3]; xchg cl, [esi+9]; xchg cl,
             * [esi+9]; mov [esi-2], ecx; add dx, [esi-1]; inc word [esi+0xffe]; add dword
             * [esi+0xffe], 7; int 0x41; loop l; hlt */
            static const char stores[] =
                "\xb9\x14\x00\x00\x00\xbe\x00\x00\x05\x00\xfe\x46\x03\x86\x4e\x09\x86\x4e\x09"
                "\x89\x4e\xfe\x66\x03\x56\xff\x66\xff\x86\xfe\x0f\x00\x00\x83\x86\xfe\x0f\x00"
                "\x00\x07\xcd\x41\xe2\xde\xf4";
            compare(form, stores, sizeof(stores) - 1, kernels[i]);
        }
    }
}

static void pages_come_on_demand(Guest *g)
{
    kernel(g);
    for (uint32_t page = 0x50; page < 0x80; page++) {
        guest_write32(g, TABLE + 4 * page, page << 12); /* the handler makes it present */
    }
}

/* Nor is an instruction left to its handler for good because it touches many new pages. */
static void test_demand_paging_keeps_code_native(void **state)
{
    (void)state;
    /* mov ecx, 48; mov edi, 0x50000; l: mov [edi+4], ecx; add edx, [edi+4]; add edi, 0x1000; loop
     * l; hlt */
    static const char code[] = "\xb9\x30\x00\x00\x00\xbf\x00\x00\x05\x00\x89\x4f\x04\x03\x57\x04"
                               "\x81\xc7\x00\x10\x00\x00\xe2\xf2\xf4";
    compare(BY_WINDOW, code, sizeof(code) - 1, pages_come_on_demand);
    compare(BY_ARRAY, code, sizeof(code) - 1, pages_come_on_demand);
    Guest *g = run_form(&accel_translator, BY_WINDOW, code, sizeof(code) - 1, pages_come_on_demand);
    assert_false(unit_is_slow(g->accel.self, GUEST_CODE + 10));
    assert_int_equal(guest_read32(g, 0xa804), 48);
    guest_free(g);
}

static void code_changes_its_page(Guest *g)
{
    kernel(g);
    for (uint32_t page = 0x50000; page <= 0x60000; page += 0x10000) {
        PUT(g, page, "\x81\xc2\x00\x00\x00\x00\xc3"); /* add edx, page; ret */
        guest_write32(g, page + 2, page);
    }
    /* xor dword [TABLE+0x50*4], 0x30000; invlpg [0x50000]; iret: 0x50000 or 0x60000 */
    PUT(g, USER_GATE_CODE,
        "\x81\x35\x40\x11\x3f\x00\x00\x00\x03\x00\x0f\x01\x3d\x00\x00\x05\x00\xcf");
}

static void test_user_code_is_remapped(void **state)
{
    (void)state;
    /* mov ecx, 20; l: call 0x50000; mov eax, 0x50000; call eax; int 0x41; loop l; hlt */
    BOTH_WITH("\xb9\x14\x00\x00\x00\xe8\xf6\xff\x03\x00\xb8\x00\x00\x05\x00\xff\xd0\xcd\x41\xe2\xf0"
              "\xf4",
              code_changes_its_page);
}

static void interrupts_are_on(Guest *g)
{
    interrupt_waits(g);
    cpu_set_eflags(g->cpu, FL_IF);
}

static void test_user_code_is_interrupted(void **state)
{
    (void)state;
    BOTH_WITH("\x90\x40\xeb\xfd", interrupts_are_on); /* nop; l: inc eax; jmp l */
}

/* Runs instructions by the budget, as a paced machine does, to HLT; returns how often. */
static unsigned run_paced(Guest *g, uint64_t budget)
{
    unsigned runs = 0;
    RunExit exit = RUN_DUE;
    while (exit == RUN_DUE && runs < 100000) {
        uint64_t before = g->cpu->executed;
        atomic_store(&g->cpu->attention, false);
        g->accel.budget = budget;
        exit = g->accel.ops->run(&g->accel, CLOCK_NEVER);
        assert_in_range(g->cpu->executed - before, exit == RUN_DUE ? budget : 0, budget);
        runs++;
    }
    assert_int_equal(exit, RUN_HALTED);
    return runs;
}

static void test_a_budget_is_kept_exactly(void **state)
{
    /* cld; mov ecx, 40; o: push ecx; mov edi, data; mov esi, data + 100h; mov ecx, 9; rep movsd;
     * call f; pop ecx; loop o; hlt; f: fldpi; fstp qword [data]; jecxz g; nop; g: ret */
    static const char code[] =
        "\xfc\xb9\x28\x00\x00\x00\x51\xbf\x00\x00\x02\x00\xbe\x00\x01\x02\x00\xb9\x09\x00\x00\x00"
        "\xf3\xa5\xe8\x04\x00\x00\x00\x59\xe2\xe6\xf4\xd9\xeb\xdd\x1d\x00\x00\x02\x00\xe3\x01\x90"
        "\xc3";
    static const uint64_t budgets[] = {1, 2, 7, 64, 65, 1000, 1 << 20};
    (void)state;
    for (unsigned i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++) {
        Guest *g[2];
        unsigned runs[2];
        for (unsigned j = 0; j < 2; j++) {
            g[j] = guest_new_in_host_time(CPU_PENTIUM4, j ? &accel_translator : &accel_interpreter);
            guest_flat(g[j]);
            guest_code(g[j], code, sizeof(code) - 1);
            fpu_init(&g[j]->cpu->fpu);
            runs[j] = run_paced(g[j], budgets[i]);
        }
        assert_int_equal(runs[0], runs[1]);
        assert_int_equal(g[0]->cpu->executed, g[1]->cpu->executed);
        same_state(g[0], g[1]);
        guest_free(g[0]);
        guest_free(g[1]);
    }
}

static void again(void *self, int64_t due)
{
    timer_arm(self, due + 500);
}

/* A device whose timer is always due leaves the guest some time. */
static void timers_nearer_than_any_alarm_do_not_stop_the_guest(void **state)
{
    (void)state;
    Guest *g = guest_new_in_host_time(CPU_PENTIUM3, &accel_translator);
    Timer timer;
    guest_flat(g);
    /* mov ecx, 100000; l: inc ebx; loop l; hlt */
    CODE(g, "\xb9\xa0\x86\x01\x00\x43\xe2\xfd\xf4");
    timer_init(&timer, &g->board->clock, "busy", again, &timer);
    timer_arm(&timer, clock_now(&g->board->clock) + 500);
    RunExit exit = RUN_DUE;
    while (exit != RUN_HALTED) {
        atomic_store(&g->cpu->attention, false);
        clock_fire_due(&g->board->clock);
        exit = g->accel.ops->run(&g->accel, clock_next_due(&g->board->clock));
    }
    assert_int_equal(g->cpu->reg[EBX], 100000);
    timer_disarm(&timer);
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_x87_leaves_the_same_state),
        cmocka_unit_test(test_unmasked_exceptions_are_the_handlers),
        cmocka_unit_test(test_mmx_and_sse),
        cmocka_unit_test(test_fpu_across_calls_of_handlers),
        cmocka_unit_test(test_code_that_changes_itself),
        cmocka_unit_test(test_code_that_keeps_changing),
        cmocka_unit_test(test_faults_are_precise),
        cmocka_unit_test(test_string_instructions),
        cmocka_unit_test(test_segments_change_the_mode),
        cmocka_unit_test(test_instructions_across_pages),
        cmocka_unit_test(test_flags_and_branches),
        cmocka_unit_test(test_flags_on_the_stack),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_stack_instructions),
        cmocka_unit_test(test_paging_changes_are_seen),
        cmocka_unit_test(test_interrupts_behind_sti_and_popf),
        cmocka_unit_test(test_user_pages_change),
        cmocka_unit_test(test_demand_paging_keeps_code_native),
        cmocka_unit_test(test_user_code_is_remapped),
        cmocka_unit_test(test_user_code_is_interrupted),
        cmocka_unit_test(test_a_budget_is_kept_exactly),
        cmocka_unit_test(timers_nearer_than_any_alarm_do_not_stop_the_guest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
