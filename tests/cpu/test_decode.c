/* The decoder and the disassembler: prefixes, addressing, immediates, LOCK, models, lengths. */
#include <string.h>

#include "cpu-accel/x86/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const CpuMode mode32 = {.code32 = true, .v86 = false, .model = CPU_PENTIUM4};
static const CpuMode mode16 = {.code32 = false, .v86 = true, .model = CPU_PENTIUM4};

static DecodeResult decode(const CpuMode *mode, const char *bytes, unsigned count, Insn *in)
{
    return x86_decode(&(CodeView){(const uint8_t *)bytes, count}, mode, in);
}

typedef struct Case {
    bool code32;
    unsigned length;
    const char *bytes;
    const char *text; /* at EIP 0x1000; NULL: invalid */
} Case;

#define B(bytes) sizeof(bytes) - 1, bytes

static const Case cases[] = {
    {true, B("\x01\xd8"), "add eax, ebx"},
    {true, B("\x00\x05\x44\x33\x22\x11"), "add [0x11223344], al"},
    {true, B("\x03\x43\x04"), "add eax, [ebx+0x4]"},
    {true, B("\x66\x03\x43\xfc"), "add ax, [ebx-0x4]"},
    {true, B("\x83\xc0\xff"), "add eax, -0x1"},
    {true, B("\x80\x3c\x24\x05"), "cmp byte [esp], 0x5"},
    {true, B("\x82\xc3\x05"), "add bl, 0x5"},
    {true, B("\x81\x44\x8d\x10\x78\x56\x34\x12"), "add dword [ebp+ecx*4+0x10], 0x12345678"},
    {true, B("\x8b\x04\x25\x78\x56\x34\x12"), "mov eax, [0x12345678]"},
    {true, B("\x8b\x04\x8d\x78\x56\x34\x12"), "mov eax, [ecx*4+0x12345678]"},
    {true, B("\x8b\x04\x64"), "mov eax, [esp]"},
    {true, B("\x65\x8b\x0d\x00\x00\x00\x00"), "mov ecx, gs:[0x0]"},
    {true, B("\x67\x8b\x42\x10"), "mov eax, [bp+si+0x10]"},
    {true, B("\x67\x8b\x06\x34\x12"), "mov eax, [0x1234]"},
    {true, B("\xa1\x78\x56\x34\x12"), "mov eax, [0x12345678]"},
    {true, B("\x67\xa0\x34\x12"), "mov al, [0x1234]"},
    {true, B("\xe8\xfb\xff\xff\xff"), "call 0x1000"},
    {true, B("\x66\xe9\xfc\xff"), "jmp 0x1000"},
    {true, B("\x75\xfe"), "jnz 0x1000"},
    {true, B("\x0f\x85\xfa\xff\xff\xff"), "jnz 0x1000"},
    {true, B("\x9a\x44\x33\x22\x11\x08\x00"), "call 0x8:0x11223344"},
    {true, B("\xff\x15\x00\x00\x10\x00"), "call dword [0x100000]"},
    {true, B("\xff\x1b"), "call fword [ebx]"},
    {true, B("\xff\xdb"), NULL}, /* far call by register */
    {true, B("\xc8\x10\x00\x02"), "enter 0x10, 0x2"},
    {true, B("\xc2\x08\x00"), "ret 0x8"},
    {true, B("\xcd\x80"), "int 0x80"},
    {true, B("\xf3\xa4"), "rep movsb"},
    {true, B("\xf2\xae"), "repne scasb"},
    {true, B("\xf3\x66\xa7"), "repe cmpsw"},
    {true, B("\x64\xac"), "lodsb al, fs:[esi]"},
    {true, B("\x0f\x20\xc0"), "mov eax, cr0"},
    {true, B("\x0f\x22\x18"), "mov cr3, eax"}, /* mod does not matter */
    {true, B("\x8e\xd8"), "mov ds, ax"},
    {true, B("\x0f\xa0"), "push fs"},
    {true, B("\x16"), "push ss"},
    {true, B("\x0f\xb6\x03"), "movzx eax, byte [ebx]"},
    {true, B("\x0f\xbf\xc3"), "movsx eax, bx"},
    {true, B("\x69\xc0\x10\x00\x00\x00"), "imul eax, eax, 0x10"},
    {true, B("\xd1\xe0"), "shl eax, 1"},
    {true, B("\xd3\x28"), "shr dword [eax], cl"},
    {true, B("\x0f\xa4\xd8\x05"), "shld eax, ebx, 0x5"},
    {true, B("\x0f\xba\xe0\x1f"), "bt eax, 0x1f"},
    {true, B("\x0f\xba\xc0\x1f"), NULL}, /* group 8 has no /0 */
    {true, B("\x0f\xc9"), "bswap ecx"},
    {true, B("\x0f\xc7\x0b"), "cmpxchg8b qword [ebx]"},
    {true, B("\x0f\xc7\xcb"), NULL},
    {true, B("\x98"), "cwde"},
    {true, B("\x66\x98"), "cbw"},
    {true, B("\x67\xe3\x00"), "jcxz 0x1003"},
    {true, B("\x90"), "nop"},
    {true, B("\xf3\x90"), "pause"},
    {true, B("\x91"), "xchg ecx, eax"},
    {true, B("\xf0\x01\x03"), "lock add [ebx], eax"},
    {true, B("\xf0\x01\xc3"), NULL},
    {true, B("\xf0\x03\x03"), NULL},
    {true, B("\xf0\x8b\x03"), NULL},
    {true, B("\xf0\x39\x03"), NULL},
    {true, B("\xf0\x0f\xa3\x03"), NULL},
    {true, B("\xf0\x0f\xab\x03"), "lock bts [ebx], eax"},
    {true, B("\xf0\x86\x03"), "lock xchg [ebx], al"},
    {true, B("\xf0\x90"), NULL},
    {true, B("\x8d\x04\x8b"), "lea eax, [ebx+ecx*4]"},
    {true, B("\x8d\xc0"), NULL},
    {true, B("\x62\xc0"), NULL},
    {true, B("\xc4\xc0"), NULL},
    {true, B("\x0f\x0b"), "ud2"},
    {true, B("\x0f\xff"), NULL},
    {true, B("\xd6"), "salc"},
    {true, B("\xf1"), "icebp"},
    {true, B("\x63\xc8"), "arpl ax, cx"},
    {true, B("\xc7\xc0\x01\x00\x00\x00"), "mov eax, 0x1"},
    {true, B("\xc7\xc8\x00\x00\x00\x00"), NULL},
    {true, B("\x8f\xc0"), "pop eax"},
    {true, B("\x8f\xc8"), NULL},
    {true, B("\xfe\xd0"), NULL},
    {true, B("\xff\xf8"), NULL},
    {true, B("\x0f\x1f\x44\x00\x00"), "nop dword [eax+eax]"},
    {false, B("\x8b\x00"), "mov ax, [bx+si]"},
    {false, B("\x8b\x46\x02"), "mov ax, [bp+0x2]"},
    {false, B("\x8b\x06\x34\x12"), "mov ax, [0x1234]"},
    {false, B("\x66\x8b\x06\x34\x12"), "mov eax, [0x1234]"},
    {false, B("\x67\x8b\x04\x24"), "mov ax, [esp]"},
    {false, B("\x26\x8a\x07"), "mov al, es:[bx]"},
    {false, B("\x2e\x36\x8a\x07"), "mov al, ss:[bx]"}, /* the last one counts */
    {false, B("\xea\x5b\xe0\x00\xf0"), "jmp 0xf000:0xe05b"},
    {false, B("\xeb\xfe"), "jmp 0x1000"},
    {false, B("\x68\x34\x12"), "push 0x1234"},
    {false, B("\x63\xc8"), NULL},     /* ARPL is undefined in real mode */
    {false, B("\x0f\x00\xd8"), NULL}, /* LTR too */
    {false, B("\x0f\x01\xe0"), "smsw ax"},
};

static void test_cases(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const Case *c = &cases[i];
        const CpuMode *mode = c->code32 ? &mode32 : &mode16;
        char text[80];
        Insn in;
        DecodeResult result = decode(mode, c->bytes, c->length, &in);
        x86_disassemble(&in, 0x1000, text, sizeof(text));
        if (!c->text) {
            if (result != DECODE_INVALID || in.op != OP_INVALID) {
                fail_msg("case %u is \"%s\", not invalid", i, text);
            }
            continue;
        }
        if (result != DECODE_OK || in.length != c->length || strcmp(text, c->text)) {
            fail_msg("case %u: \"%s\", %u bytes, result %u; not \"%s\", %u bytes", i, text,
                     in.length, result, c->text, c->length);
        }
        /* one byte less is too short, more change nothing */
        assert_int_equal(decode(mode, c->bytes, c->length - 1, &in), DECODE_SHORT);
        char longer[INSN_MAX_BYTES + 1] = {0};
        memcpy(longer, c->bytes, c->length);
        assert_int_equal(decode(mode, longer, INSN_MAX_BYTES, &in), DECODE_OK);
        assert_int_equal(in.length, c->length);
    }
}

static void test_default_segments(void **state)
{
    (void)state;
    static const struct {
        bool code32;
        unsigned length;
        const char *bytes;
        unsigned seg;
    } forms[] = {
        {true, B("\x8b\x45\x00"), SS},
        {true, B("\x8b\x04\x24"), SS},
        {true, B("\x8b\x04\x2b"), DS},
        {true, B("\x8b\x44\x2d\x00"), SS},
        {true, B("\x8b\x04\x6d\0\0\0\0"), DS},
        {true, B("\x8b\x03"), DS},
        {true, B("\x3e\x8b\x45\x00"), DS},
        {false, B("\x8b\x02"), SS},
        {false, B("\x8b\x03"), SS},
        {false, B("\x8b\x46\x00"), SS},
        {false, B("\x8b\x06\0\0"), DS},
        {false, B("\x8b\x07"), DS},
        {false, B("\xa4"), DS},
        {false, B("\x65\xa4"), GS},
    };
    for (unsigned i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        Insn in;
        const char *bytes = forms[i].bytes;
        assert_int_equal(decode(forms[i].code32 ? &mode32 : &mode16, bytes, forms[i].length, &in),
                         DECODE_OK);
        assert_int_equal(in.seg, forms[i].seg);
    }
}

static void test_models(void **state)
{
    (void)state;
    static const struct {
        unsigned length;
        const char *bytes;
        CpuModel first, last;
    } gates[] = {
        {B("\x0f\xc8"), CPU_486, CPU_PENTIUM4},          /* bswap */
        {B("\x0f\xb1\x03"), CPU_486, CPU_PENTIUM4},      /* cmpxchg */
        {B("\x0f\xc1\x03"), CPU_486, CPU_PENTIUM4},      /* xadd */
        {B("\x0f\x08"), CPU_486, CPU_PENTIUM4},          /* invd */
        {B("\x0f\x24\xc0"), CPU_386, CPU_486},           /* mov eax, tr0 */
        {B("\x0f\x31"), CPU_PENTIUM, CPU_PENTIUM4},      /* rdtsc */
        {B("\x0f\xc7\x0b"), CPU_PENTIUM, CPU_PENTIUM4},  /* cmpxchg8b */
        {B("\x0f\x33"), CPU_PENTIUM_MMX, CPU_PENTIUM4},  /* rdpmc */
        {B("\x0f\x44\xc0"), CPU_PENTIUM2, CPU_PENTIUM4}, /* cmovz */
        {B("\x0f\x34"), CPU_PENTIUM2, CPU_PENTIUM4},     /* sysenter */
        {B("\x0f\x1f\xc0"), CPU_PENTIUM2, CPU_PENTIUM4}, /* nop */
        {B("\x0f\xae\xf8"), CPU_PENTIUM3, CPU_PENTIUM4}, /* sfence */
        {B("\x0f\xae\xf0"), CPU_PENTIUM4, CPU_PENTIUM4}, /* mfence */
        {B("\x0f\xc3\x03"), CPU_PENTIUM4, CPU_PENTIUM4}, /* movnti */
        {B("\x0f\xa3\xc0"), CPU_386, CPU_PENTIUM4},      /* bt */
    };
    for (unsigned i = 0; i < sizeof gates / sizeof gates[0]; i++) {
        for (unsigned model = 0; model < CPU_MODEL_COUNT; model++) {
            CpuMode mode = {.code32 = true, .model = (CpuModel)model};
            bool there = model >= gates[i].first && model <= gates[i].last;
            Insn in;
            DecodeResult result = decode(&mode, gates[i].bytes, gates[i].length, &in);
            assert_int_equal(result, there ? DECODE_OK : DECODE_INVALID);
        }
    }
}

static void test_length_limit(void **state)
{
    (void)state;
    uint8_t bytes[INSN_MAX_BYTES] = {0};
    CodeView view = {bytes, sizeof(bytes)};
    Insn in;
    memset(bytes, 0x66, 14);
    bytes[14] = 0x90;
    assert_int_equal(x86_decode(&view, &mode32, &in), DECODE_OK);
    assert_int_equal(in.length, 15);
    bytes[14] = 0xb0; /* its immediate would be the 16th byte */
    assert_int_equal(x86_decode(&view, &mode32, &in), DECODE_TOO_LONG);
    bytes[14] = 0x0f;
    assert_int_equal(x86_decode(&view, &mode32, &in), DECODE_TOO_LONG);
    bytes[14] = 0x66;
    assert_int_equal(x86_decode(&view, &mode32, &in), DECODE_TOO_LONG);
    view.count = 14;
    assert_int_equal(x86_decode(&view, &mode32, &in), DECODE_SHORT);
    view.count = 0;
    assert_int_equal(x86_decode(&view, &mode32, &in), DECODE_SHORT);
}

/* Whatever the bytes, the answer does not depend on those behind the instruction, and every result
 * can be run and printed. */
static void test_random_bytes(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252u;
    for (unsigned i = 0; i < 300000; i++) {
        uint8_t bytes[INSN_MAX_BYTES];
        CpuMode mode = {.code32 = i & 1, .v86 = i >> 1 & 1, .model = (CpuModel)(i / 4 % 7)};
        CodeView view = {bytes, sizeof(bytes)};
        char text[100];
        Insn in, again;
        for (unsigned k = 0; k < sizeof(bytes); k++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes[k] = (uint8_t)(seed >> 30);
        }
        DecodeResult result = x86_decode(&view, &mode, &in);
        assert_int_not_equal(result, DECODE_SHORT);
        assert_true(in.length >= 1 && in.length <= INSN_MAX_BYTES);
        assert_true(in.op < OP_COUNT && in.handler);
        assert_true(in.base <= NO_REG && in.index <= NO_REG && in.scale < 4);
        assert_true(x86_disassemble(&in, i, text, sizeof(text)) < (int)sizeof(text));
        if (result == DECODE_OK) {
            memset(bytes + in.length, 0xcc, sizeof(bytes) - in.length);
            assert_int_equal(x86_decode(&view, &mode, &again), DECODE_OK);
            assert_memory_equal(&in, &again, sizeof(in));
            view.count = in.length - 1u;
            assert_int_equal(x86_decode(&view, &mode, &again), DECODE_SHORT);
        }
    }
}

/* Every row can be reached: some bytes decode to it. */
static void test_every_row(void **state)
{
    (void)state;
    static bool seen[OP_COUNT];
    for (unsigned model = 0; model < CPU_MODEL_COUNT; model++) {
        CpuMode mode = {.code32 = true, .model = (CpuModel)model};
        for (unsigned prefix = 0; prefix < 4; prefix++) {
            for (unsigned opcode = 0; opcode < 512; opcode++) {
                for (unsigned modrm = 0; modrm < 256; modrm++) {
                    static const uint8_t prefixes[] = {0x3e, 0x66, 0xf3, 0xf2};
                    uint8_t bytes[INSN_MAX_BYTES] = {prefixes[prefix]};
                    unsigned n = 1;
                    Insn in;
                    if (opcode >= 256) {
                        bytes[n++] = 0x0f;
                    }
                    bytes[n++] = (uint8_t)opcode;
                    bytes[n] = (uint8_t)modrm;
                    x86_decode(&(CodeView){bytes, sizeof(bytes)}, &mode, &in);
                    seen[in.op] = true;
                }
            }
        }
    }
    for (unsigned i = 0; i < OP_COUNT; i++) {
        if (!seen[i]) {
            fail_msg("nothing decodes to %s", op_rows[i].id);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),        cmocka_unit_test(test_default_segments),
        cmocka_unit_test(test_models),       cmocka_unit_test(test_length_limit),
        cmocka_unit_test(test_random_bytes), cmocka_unit_test(test_every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
