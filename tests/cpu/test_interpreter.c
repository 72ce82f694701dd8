/* The interpreter: page crossings, self-modifying code, counts, limits, interrupts between
 * instructions. */
#include <string.h>

#include "tests/cpu/guest.h"

static Guest *flat(void)
{
    Guest *g = guest_new(CPU_PENTIUM3, &accel_interpreter);
    guest_flat(g);
    return g;
}

static Guest *real(void)
{
    Guest *g = guest_new(CPU_PENTIUM3, &accel_interpreter);
    guest_real(g);
    return g;
}

static void test_straight_line(void **state)
{
    (void)state;
    Guest *g = flat();
    /* mov eax, 5; mov ecx, 7; add eax, ecx; imul eax, ecx; push eax; pop ebx; jmp $ */
    CODE(g, "\xb8\x05\0\0\0\xb9\x07\0\0\0\x01\xc8\x0f\xaf\xc1\x50\x5b\xeb\xfe");
    guest_run(g, 8);
    assert_int_equal(g->cpu->reg[EAX], 84);
    assert_int_equal(g->cpu->reg[EBX], 84);
    assert_int_equal(g->cpu->reg[ESP], GUEST_STACK);
    assert_int_equal(g->cpu->eip, GUEST_CODE + 17);
    guest_free(g);
}

/* dec ecx; jnz back: any stopping point must be met exactly. */
/* ICEBP is a trap: #DB is delivered with the address behind it. */
static void test_icebp(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\xf1\xeb\xfe"); /* icebp; jmp $ */
    guest_run(g, 2);
    assert_int_equal(guest_vector(g), VEC_DB);
    assert_int_equal(guest_read32(g, g->cpu->reg[ESP]), GUEST_CODE + 1);
    guest_free(g);
}

static void test_exact_count(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\xb9\x00\x10\0\0\x40\x43\x49\x75\xfb\xeb\xfe");
    for (unsigned i = 0; i < 200; i++) {
        uint64_t before = g->cpu->executed;
        guest_run(g, i);
        assert_int_equal(g->cpu->executed - before, i);
    }
    guest_run(g, 0x4000);
    assert_int_equal(g->cpu->reg[EAX], 0x1000);
    assert_int_equal(g->cpu->reg[ECX], 0);
    guest_free(g);
}

static void test_page_crossing(void **state)
{
    (void)state;
    Guest *g = flat();
    for (unsigned first = 1; first < 5; first++) {
        /* mov eax, 0x11223344; inc eax; jmp $: `first` bytes on the first page */
        uint32_t at = GUEST_DATA + 0x1000 - first;
        guest_put(g, at, "\xb8\x44\x33\x22\x11\x40\xeb\xfe", 8);
        for (unsigned twice = 0; twice < 2; twice++) {
            g->cpu->eip = at;
            guest_run(g, 3);
            assert_int_equal(g->cpu->reg[EAX], 0x11223345);
            assert_int_equal(g->cpu->eip, at + 6);
        }
        /* the far half changes */
        guest_put(g, at + 4, "\x55", 1);
        g->cpu->eip = at;
        guest_run(g, 3);
        assert_int_equal(g->cpu->reg[EAX], 0x55223345);
    }
    guest_free(g);
}

/* Identity-maps 4 MiB with page tables at 0x100000, but leaves `hole` out. */
static void paging(Guest *g, uint32_t hole)
{
    guest_write32(g, 0x100000, 0x101007);
    for (uint32_t i = 0; i < 1024; i++) {
        guest_write32(g, 0x101000 + 4 * i, i << 12 == hole ? 0 : i << 12 | 7);
    }
    g->cpu->cr3 = 0x100000;
    g->cpu->cr0 |= CR0_PG;
}

static void test_fetch_fault_on_second_page(void **state)
{
    (void)state;
    Guest *g = flat();
    uint32_t at = GUEST_DATA + 0xffe;
    paging(g, GUEST_DATA + 0x1000);
    guest_put(g, at, "\xb8\x44\x33\x22\x11", 5);
    g->cpu->eip = at;
    guest_run(g, 2);
    assert_int_equal(guest_vector(g), VEC_PF);
    assert_int_equal(g->cpu->cr2, GUEST_DATA + 0x1000);
    assert_int_equal(guest_read32(g, GUEST_STACK - 12), at);
    assert_int_equal(g->cpu->reg[EAX], 0);
    guest_free(g);
}

/* An instruction that ends with its page must not touch the next one. */
static void test_no_fetch_beyond_page(void **state)
{
    (void)state;
    Guest *g = flat();
    uint32_t at = GUEST_DATA + 0xffd;
    paging(g, GUEST_DATA + 0x1000);
    guest_put(g, at, "\x40\xeb\xfd", 3); /* inc eax; jmp back */
    g->cpu->eip = at;
    guest_run(g, 20);
    assert_int_equal(g->cpu->reg[EAX], 10);
    guest_free(g);
}

static void test_self_modifying_next(void **state)
{
    (void)state;
    Guest *g = flat();
    /* mov byte [next + 1], bl; next: mov al, 0x11; inc ecx; jmp $ */
    CODE(g, "\x88\x1d\x07\x00\x01\x00\xb0\x11\x41\xeb\xfe");
    for (unsigned i = 0; i < 5; i++) {
        g->cpu->eip = GUEST_CODE;
        g->cpu->reg[EBX] = 0x40 + i;
        uint64_t before = g->cpu->executed;
        guest_run(g, 4);
        assert_int_equal(g->cpu->reg[EAX], 0x40 + i);
        assert_int_equal(g->cpu->reg[ECX], i + 1);
        assert_int_equal(g->cpu->executed - before, 4);
    }
    guest_free(g);
}

/* A repeated store over the code that follows it in the same block. */
static void test_self_modifying_by_string(void **state)
{
    (void)state;
    Guest *g = flat();
    /* rep stosb; then eight bytes that become inc eax; jmp $ behind */
    CODE(g, "\xf3\xaa\xf4\xf4\xf4\xf4\xf4\xf4\xf4\xf4\xeb\xfe");
    g->cpu->reg[EAX] = 0x40;
    g->cpu->reg[ECX] = 8;
    g->cpu->reg[EDI] = GUEST_CODE + 2;
    guest_run(g, 10);
    assert_int_equal(g->cpu->reg[EAX], 0x48);
    guest_free(g);
}

/* Data beside code: changed bytes of the page that no block covers leave the code alone and right.
 */
static void test_data_beside_code(void **state)
{
    (void)state;
    Guest *g = flat();
    /* again: inc dword [0x10040]; dec ecx; jnz again; jmp $ */
    CODE(g, "\xff\x05\x40\x00\x01\x00\x49\x75\xf7\xeb\xfe");
    g->cpu->reg[ECX] = 1000;
    guest_run(g, 3001);
    assert_int_equal(guest_read32(g, GUEST_CODE + 0x40), 1000);
    guest_free(g);
}

/* Code changed through another mapping of its page. */
static void test_self_modifying_by_alias(void **state)
{
    (void)state;
    Guest *g = flat();
    paging(g, 0);
    guest_write32(g, 0x101000 + 4 * 0x30, GUEST_CODE | 7); /* 0x30000 is the code's page too */
    CODE(g, "\x88\x1d\x07\x00\x03\x00\xb0\x11\x41\xeb\xfe");
    for (unsigned i = 0; i < 3; i++) {
        g->cpu->eip = i & 1 ? 0x30000 : GUEST_CODE;
        g->cpu->reg[EBX] = 0x50 + i;
        guest_run(g, 4);
        assert_int_equal(g->cpu->reg[EAX], 0x50 + i);
    }
    guest_free(g);
}

static void test_remapped_code(void **state)
{
    (void)state;
    Guest *g = flat();
    paging(g, 0);
    guest_put(g, 0x30000, "\xb0\x01\xeb\xfe", 4);
    guest_put(g, 0x31000, "\xb0\x02\xeb\xfe", 4);
    g->cpu->eip = 0x30000;
    guest_run(g, 2);
    assert_int_equal(g->cpu->reg[EAX], 1);
    guest_write32(g, 0x101000 + 4 * 0x30, 0x31007);
    /* invlpg [0x30000]; jmp 0x30000 */
    CODE(g, "\x0f\x01\x3d\x00\x00\x03\x00\xe9\xf4\xff\x01\x00");
    g->cpu->eip = GUEST_CODE;
    guest_run(g, 4);
    assert_int_equal(g->cpu->reg[EAX], 2);
    guest_free(g);
}

static void test_rep_pauses(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\xf3\xa4\xeb\xfe"); /* rep movsb */
    g->cpu->reg[ESI] = GUEST_DATA;
    g->cpu->reg[EDI] = GUEST_DATA + 0x8000;
    g->cpu->reg[ECX] = 0x5000;
    for (unsigned i = 0; i < 0x5000; i++) {
        g->ram[GUEST_DATA + i] = (uint8_t)(i * 7);
    }
    guest_run(g, 1);
    assert_in_range(g->cpu->reg[ECX], 1, 0x4fff);
    assert_int_equal(g->cpu->eip, GUEST_CODE);
    assert_int_equal(g->cpu->reg[ESI], GUEST_DATA + 0x5000 - g->cpu->reg[ECX]);
    guest_run(g, 30);
    assert_int_equal(g->cpu->reg[ECX], 0);
    assert_int_equal(g->cpu->eip, GUEST_CODE + 2);
    assert_memory_equal(g->ram + GUEST_DATA, g->ram + GUEST_DATA + 0x8000, 0x5000);
    guest_free(g);
}

static void test_rep_takes_interrupts(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\xf3\xaa\xeb\xfe"); /* rep stosb */
    g->cpu->reg[EDI] = GUEST_DATA;
    g->cpu->reg[ECX] = 0x8000;
    g->cpu->eflags |= FL_IF;
    guest_run(g, 1);
    g->vector = 0x55;
    cpu_intr(g->cpu, 0, true);
    guest_run(g, 1);
    assert_int_equal(guest_vector(g), 0x55);
    assert_int_equal(guest_read32(g, GUEST_STACK - 12), GUEST_CODE);
    assert_in_range(g->cpu->reg[ECX], 1, 0x7fff);
    guest_free(g);
}

static void test_rep_faults_in_the_middle(void **state)
{
    (void)state;
    static const uint8_t codes[][2] = {{0xf3, 0xa4}, {0xf3, 0xaa}, {0xf3, 0xa6}, {0xf3, 0xac}};
    for (unsigned i = 0; i < 4; i++) {
        Guest *g = flat();
        bool by_source = codes[i][1] == 0xac;
        paging(g, GUEST_DATA + 0x9000);
        guest_code(g, codes[i], 2);
        g->cpu->reg[ESI] = by_source ? GUEST_DATA + 0x8f00 : GUEST_DATA;
        g->cpu->reg[EDI] = GUEST_DATA + 0x8f00;
        g->cpu->reg[ECX] = 0x1000;
        guest_run(g, 2);
        assert_int_equal(guest_vector(g), VEC_PF);
        assert_int_equal(g->cpu->cr2, GUEST_DATA + 0x9000);
        assert_int_equal(guest_read32(g, GUEST_STACK - 12), GUEST_CODE);
        assert_int_equal(g->cpu->reg[ECX], 0xf00);
        assert_int_equal(g->cpu->reg[by_source ? ESI : EDI], GUEST_DATA + 0x9000);
        guest_free(g);
    }
}

static void test_rep_overlap_and_direction(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\xf3\xa4\xfd\xf3\xa5\xfc\xeb\xfe"); /* rep movsb; std; rep movsd; cld */
    g->ram[GUEST_DATA] = 0x5a;
    g->cpu->reg[ESI] = GUEST_DATA;
    g->cpu->reg[EDI] = GUEST_DATA + 1;
    g->cpu->reg[ECX] = 600;
    guest_run(g, 2);
    for (unsigned i = 0; i <= 600; i++) {
        assert_int_equal(g->ram[GUEST_DATA + i], 0x5a);
    }
    guest_write32(g, GUEST_DATA + 0x1000, 0x01234567);
    guest_write32(g, GUEST_DATA + 0xffc, 0x89abcdef);
    g->cpu->reg[ESI] = GUEST_DATA + 0x1000;
    g->cpu->reg[EDI] = GUEST_DATA + 0x3000;
    g->cpu->reg[ECX] = 2;
    guest_run(g, 3);
    assert_int_equal(guest_read32(g, GUEST_DATA + 0x3000), 0x01234567);
    assert_int_equal(guest_read32(g, GUEST_DATA + 0x2ffc), 0x89abcdef);
    assert_int_equal(g->cpu->reg[ESI], GUEST_DATA + 0xff8);
    guest_free(g);
}

/* 16-bit addresses wrap; the upper halves of ESI, EDI and ECX stay. */
static void test_rep_16_bit(void **state)
{
    (void)state;
    Guest *g = real();
    CODE(g, "\xf3\xaa\xeb\xfe");
    g->cpu->reg[EAX] = 0x77;
    g->cpu->reg[EDI] = 0xabcdfffe;
    g->cpu->reg[ECX] = 0x12340004;
    guest_run(g, 1);
    assert_int_equal(g->cpu->reg[EDI], 0xabcd0002);
    assert_int_equal(g->cpu->reg[ECX], 0x12340000);
    assert_int_equal(g->ram[0xffff], 0x77);
    assert_int_equal(g->ram[1], 0x77);
    assert_int_not_equal(g->ram[0x10000], 0x77);
    guest_free(g);
}

static void test_instruction_length_limit(void **state)
{
    (void)state;
    Guest *g = flat();
    uint8_t code[18];
    memset(code, 0x66, sizeof(code));
    code[14] = 0x90;
    code[15] = 0xeb;
    code[16] = 0xfe;
    guest_code(g, code, sizeof(code));
    guest_run(g, 2);
    assert_int_equal(g->cpu->eip, GUEST_CODE + 15);
    code[14] = 0x66;
    code[15] = 0x90;
    guest_code(g, code, sizeof(code));
    g->cpu->eip = GUEST_CODE;
    guest_run(g, 2);
    assert_int_equal(guest_vector(g), VEC_GP);
    assert_int_equal(guest_read32(g, GUEST_STACK - 16), 0);
    guest_free(g);
}

static void test_lock_is_undefined(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\xf0\x01\xc8"); /* lock add eax, ecx */
    guest_run(g, 2);
    assert_int_equal(guest_vector(g), VEC_UD);
    assert_int_equal(guest_read32(g, GUEST_STACK - 12), GUEST_CODE);
    guest_free(g);
}

static void test_real_mode_limits(void **state)
{
    (void)state;
    static const struct {
        char code[8];
        unsigned vector;
    } cases[] = {
        {"\xa1\xff\xff", VEC_GP},                 /* mov ax, [ffff] */
        {"\x8b\x87\xff\xff", VEC_GP},             /* mov ax, [bx + ffff] */
        {"\x66\xa1\xfd\xff", VEC_GP},             /* mov eax, [fffd] */
        {"\x36\xa1\xff\xff", VEC_SS},             /* mov ax, ss:[ffff] */
        {"\x66\xe9\x00\x00\x01\x00", VEC_GP},     /* jmp beyond */
        {"\x66\x67\xa1\x00\x00\x01\x00", VEC_GP}, /* mov eax, [10000], 32-bit address */
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Guest *g = real();
        guest_code(g, cases[i].code, 8);
        guest_run(g, 2);
        assert_int_equal(guest_vector(g), cases[i].vector);
        /* the fault's frame: flags, CS, IP */
        assert_int_equal(guest_read32(g, GUEST_STACK - 6), (uint32_t)(GUEST_CODE >> 4) << 16);
        guest_free(g);
    }
}

/* The instruction that ends at FFFF runs; the next one, at 10000, is #GP. One that goes beyond is
 * #GP itself. */
static void test_code_end(void **state)
{
    (void)state;
    Guest *g = real();
    guest_put(g, GUEST_CODE + 0xfffe, "\x40\x43", 2);
    g->cpu->eip = 0xfffe;
    guest_run(g, 3);
    assert_int_equal(guest_vector(g), VEC_GP);
    assert_int_equal(g->cpu->reg[EAX], 1);
    assert_int_equal(g->cpu->reg[EBX], 1);
    guest_real(g);
    guest_put(g, GUEST_CODE + 0xffff, "\xb0\x01", 2);
    g->cpu->eip = 0xffff;
    guest_run(g, 2);
    assert_int_equal(guest_vector(g), VEC_GP);
    assert_int_equal(guest_read32(g, GUEST_STACK - 6) & 0xffff, 0xffff);
    guest_free(g);
}

static void test_single_step(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\x40\x40\x40\xeb\xfe");
    g->cpu->eflags |= FL_TF;
    guest_run(g, 2);
    assert_int_equal(guest_vector(g), VEC_DB);
    assert_int_equal(guest_read32(g, GUEST_STACK - 12), GUEST_CODE + 1);
    assert_int_equal(g->cpu->reg[EAX], 1);
    assert_int_equal(g->cpu->dr6 >> 14 & 1, 1);
    guest_free(g);
}

/* TF traps after each iteration. */
static void test_single_step_string(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\xf3\xaa\xeb\xfe");
    g->cpu->reg[ECX] = 5;
    g->cpu->reg[EDI] = GUEST_DATA;
    g->cpu->eflags |= FL_TF;
    guest_run(g, 2);
    assert_int_equal(guest_vector(g), VEC_DB);
    assert_int_equal(g->cpu->reg[ECX], 4);
    assert_int_equal(guest_read32(g, GUEST_STACK - 12), GUEST_CODE);
    guest_free(g);
}

static void test_code_breakpoint(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\x40\x40\x40\xeb\xfe");
    g->cpu->dr[1] = GUEST_CODE + 2;
    g->cpu->dr7 |= 1 << 2;
    guest_run(g, 4);
    assert_int_equal(guest_vector(g), VEC_DB);
    assert_int_equal(guest_read32(g, GUEST_STACK - 12), GUEST_CODE + 2);
    assert_int_equal(g->cpu->reg[EAX], 2);
    guest_free(g);
}

static void test_sti_shadow(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\x40\xfb\x40\x40\xeb\xfe"); /* inc eax; sti; inc eax; inc eax */
    g->vector = 0x30;
    cpu_intr(g->cpu, 0, true);
    guest_run(g, 4);
    assert_int_equal(guest_vector(g), 0x30);
    assert_int_equal(g->cpu->reg[EAX], 2);
    assert_int_equal(guest_read32(g, GUEST_STACK - 12), GUEST_CODE + 3);
    guest_free(g);
}

/* A device in the middle of a block: reads give the time, writes raise the interrupt line. */
static uint64_t device_read(void *self, uint32_t offset, unsigned bytes)
{
    Guest *g = self;
    (void)offset;
    (void)bytes;
    return (uint64_t)clock_now(&g->board->clock);
}

static void device_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Guest *g = self;
    (void)offset;
    (void)bytes;
    g->vector = (uint8_t)value;
    cpu_intr(g->cpu, 0, true);
}

static const IoOps device_ops = {device_read, device_write, 1, 4};

static void test_device_in_block(void **state)
{
    (void)state;
    Guest *g = flat();
    bus_claim(g->board->memory, 0xf0000000, 0x1000, &device_ops, g, "device");
    /* nop; nop; mov eax, [f0000000]; nop; mov ebx, [f0000000]; mov byte [f0000000], 44; inc ecx */
    CODE(g, "\x90\x90\xa1\0\0\0\xf0\x90\x8b\x1d\0\0\0\xf0\xc6\x05\0\0\0\xf0\x44\x41\xeb\xfe");
    g->cpu->eflags |= FL_IF;
    uint32_t start = (uint32_t)clock_now(&g->board->clock);
    guest_run(g, 20);
    assert_int_equal(g->cpu->reg[EAX] - start, 2);
    assert_int_equal(g->cpu->reg[EBX] - start, 4);
    assert_int_equal(guest_vector(g), 0x44);
    assert_int_equal(g->cpu->reg[ECX], 0);
    guest_free(g);
}

static void test_halt(void **state)
{
    (void)state;
    Guest *g = flat();
    CODE(g, "\xfb\xf4\x40\xeb\xfe"); /* sti; hlt; inc eax */
    assert_int_equal(g->accel.ops->run(&g->accel, 1000), RUN_HALTED);
    assert_int_equal(g->accel.ops->run(&g->accel, 1000), RUN_HALTED);
    assert_int_equal(g->cpu->reg[EAX], 0);
    g->vector = 0x31;
    cpu_intr(g->cpu, 0, true);
    guest_run(g, 2);
    assert_int_equal(guest_vector(g), 0x31);
    assert_int_equal(guest_read32(g, GUEST_STACK - 12), GUEST_CODE + 2);
    guest_free(g);
}

/* Code where there is no RAM: read byte by byte, never kept. */
static uint64_t rom_read(void *self, uint32_t offset, unsigned bytes)
{
    static const uint8_t code[] = {0x40, 0x43, 0xeb, 0xfc};
    (void)self;
    (void)bytes;
    return offset < sizeof(code) ? code[offset] : 0x90;
}

static void rom_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    (void)self;
    (void)offset;
    (void)value;
    (void)bytes;
}

static const IoOps rom_ops = {rom_read, rom_write, 1, 1};

static void test_code_outside_ram(void **state)
{
    (void)state;
    Guest *g = flat();
    bus_claim(g->board->memory, 0xf0000000, 0x1000, &rom_ops, g, "rom");
    g->cpu->eip = 0xf0000000;
    guest_run(g, 30);
    assert_int_equal(g->cpu->reg[EAX], 10);
    assert_int_equal(g->cpu->reg[EBX], 10);
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_straight_line),
        cmocka_unit_test(test_icebp),
        cmocka_unit_test(test_exact_count),
        cmocka_unit_test(test_page_crossing),
        cmocka_unit_test(test_fetch_fault_on_second_page),
        cmocka_unit_test(test_no_fetch_beyond_page),
        cmocka_unit_test(test_self_modifying_next),
        cmocka_unit_test(test_self_modifying_by_string),
        cmocka_unit_test(test_data_beside_code),
        cmocka_unit_test(test_self_modifying_by_alias),
        cmocka_unit_test(test_remapped_code),
        cmocka_unit_test(test_rep_pauses),
        cmocka_unit_test(test_rep_takes_interrupts),
        cmocka_unit_test(test_rep_faults_in_the_middle),
        cmocka_unit_test(test_rep_overlap_and_direction),
        cmocka_unit_test(test_rep_16_bit),
        cmocka_unit_test(test_instruction_length_limit),
        cmocka_unit_test(test_lock_is_undefined),
        cmocka_unit_test(test_real_mode_limits),
        cmocka_unit_test(test_code_end),
        cmocka_unit_test(test_single_step),
        cmocka_unit_test(test_single_step_string),
        cmocka_unit_test(test_code_breakpoint),
        cmocka_unit_test(test_sti_shadow),
        cmocka_unit_test(test_device_in_block),
        cmocka_unit_test(test_halt),
        cmocka_unit_test(test_code_outside_ram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
