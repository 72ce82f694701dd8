/* Engine check: agrees where translator and interpreter agree, reports what differs, and makes each
 * device access once. */
#include <stdio.h>
#include <string.h>

#include "cpu-accel/x86/control.h"
#include "machine/core/log.h"
#include "tests/cpu/guest.h"

enum { RUN = 100000, PORT = 0x300, DEVICE = 0x800000 };

typedef struct Heard {
    char text[65536];
    size_t count;
} Heard;

static void hear(void *self, LogLevel level, const char *tag, const char *text)
{
    Heard *h = self;
    (void)level;
    (void)tag;
    int room = (int)(sizeof(h->text) - h->count);
    int more = snprintf(h->text + h->count, (size_t)room, "%s\n", text);
    h->count += (size_t)(more < room ? more : room - 1);
}

static Guest *checked_in(const void *code, size_t size, void (*mode)(Guest *g))
{
    Guest *g = guest_new(CPU_PENTIUM4, &accel_check);
    mode(g);
    g->cpu->cr4 |= CR4_OSFXSR;
    g->cpu->cr0 |= CR0_NE;
    for (unsigned i = 0; i < 256; i++) {
        guest_put(g, GUEST_HANDLERS + 2 * i, "\xf4\xf4", 2);
    }
    guest_code(g, code, size);
    return g;
}

static Guest *checked(const void *code, size_t size)
{
    return checked_in(code, size, guest_flat);
}

/* Runs to HLT, a difference, or the end of patience. */
static RunExit run(Guest *g)
{
    int64_t until = clock_now(&g->board->clock) + RUN;
    RunExit exit = RUN_DUE;
    while (exit == RUN_DUE && clock_now(&g->board->clock) < until) {
        atomic_store(&g->cpu->attention, false);
        exit = g->accel.ops->run(&g->accel, until);
    }
    return exit;
}

static Guest *agreed(const void *code, size_t size)
{
    Guest *g = checked(code, size);
    RunExit exit = run(g);
    if (exit != RUN_HALTED) {
        fail_msg("ended with %d at %08x: %s", exit, g->cpu->eip, g->accel.failure);
    }
    return g;
}

#define AGREED(bytes) agreed(bytes, sizeof(bytes) - 1)

static void test_same_programs_agree(void **state)
{
    (void)state;
    /* mov ecx, 1000; l: add eax, ecx; push eax; pop ebx; mov [ecx * 4 + data], ebx; loop l; hlt */
    guest_free(
        AGREED("\xb9\xe8\x03\x00\x00\x01\xc8\x50\x5b\x89\x1c\x8d\x00\x00\x02\x00\xe2\xf4\xf4"));
    /* cld; mov edi, data; mov ecx, 10000; mov eax, 12345678h; rep stosd; hlt: longer than a pause
     */
    guest_free(
        AGREED("\xfc\xbf\x00\x00\x02\x00\xb9\x10\x27\x00\x00\xb8\x78\x56\x34\x12\xf3\xab\xf4"));
    /* fldpi; fld1; faddp; fstp qword [data]; xor edx, edx; div edx: #DE ends in HLT */
    guest_free(AGREED("\xd9\xeb\xd9\xe8\xde\xc1\xdd\x1d\x00\x00\x02\x00\x31\xd2\xf7\xf2"));
    /* mov byte [l + 1], 7; l: mov al, 1; hlt: overwrites what comes next */
    guest_free(AGREED("\xc6\x05\x08\x00\x01\x00\x07\xb0\x01\xf4"));
    /* rdtsc twice */
    guest_free(AGREED("\x0f\x31\x89\xc3\x0f\x31\x29\xd8\xf4"));
}

typedef struct Counter {
    Guest *g;
    unsigned reads, writes;
} Counter;

static uint64_t counter_read(void *self, uint32_t offset, unsigned bytes)
{
    Counter *c = self;
    (void)offset;
    (void)bytes;
    return ++c->reads;
}

/* Copies the value to memory as a bus master would, and lets an interrupt wait. */
static void counter_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Counter *c = self;
    (void)offset;
    uint8_t data[8];
    memcpy(data, &value, 8);
    bus_dma(c->g->board->memory, GUEST_DATA + 0x40 * (c->writes++ % 32), data, bytes, true);
}

static const IoOps counter_ops = {counter_read, counter_write, 1, 4};

static void test_devices_are_reached_once(void **state)
{
    (void)state;
    /* mov dx, 300h; mov ecx, 20; l: in eax, dx; out dx, eax; mov ebx, [data]; mov esi, [device];
     * mov [device], esi; loop l; hlt */
    static const char code[] =
        "\x66\xba\x00\x03\xb9\x14\x00\x00\x00\xed\xef\x8b\x1d\x00\x00\x02\x00"
        "\x8b\x35\x00\x00\x80\x00\x89\x35\x00\x00\x80\x00\xe2\xea\xf4";
    Guest *g = checked(code, sizeof(code) - 1);
    Counter ports = {g, 0, 0}, memory = {g, 0, 0};
    bus_claim(g->board->ports, PORT, 4, &counter_ops, &ports, "counter");
    bus_claim(g->board->memory, DEVICE, 0x1000, &counter_ops, &memory, "counter");
    assert_int_equal(run(g), RUN_HALTED);
    assert_int_equal(ports.reads, 20);
    assert_int_equal(ports.writes, 20);
    assert_int_equal(memory.reads, 20);
    assert_int_equal(memory.writes, 20);
    assert_int_equal(guest_read32(g, GUEST_DATA), 1);
    guest_free(g);
}

static void test_interrupts_come_to_both(void **state)
{
    (void)state;
    /* sti; l: inc eax; jmp l */
    Guest *g = checked("\xfb\x40\xeb\xfd", 4);
    assert_int_equal(g->accel.ops->run(&g->accel, 1000), RUN_DUE);
    g->vector = 0x40;
    cpu_intr(g->cpu, 0, true);
    assert_int_equal(run(g), RUN_HALTED);
    assert_int_equal(g->cpu->eip, GUEST_HANDLERS + 0x81);
    guest_free(g);
}

/* Something wrote to memory behind everybody's back: only one of the two sees it. */
static void test_a_difference_is_found_and_shown(void **state)
{
    Heard heard = {"", 0};
    (void)state;
    /* l: mov ebx, [data]; add eax, ebx; jmp l */
    Guest *g = checked("\x8b\x1d\x00\x00\x02\x00\x01\xd8\xeb\xf6", 10);
    assert_int_equal(g->accel.ops->run(&g->accel, 1000), RUN_DUE);
    g->ram[GUEST_DATA] = 0x34;
    g->ram[GUEST_DATA + 1] = 0x12;
    log_to_sink(hear, &heard);
    assert_int_equal(run(g), RUN_FAILED);
    log_to_sink(NULL, NULL);
    assert_non_null(strstr(g->accel.failure, "EAX"));
    assert_non_null(strstr(heard.text, "EBX              00001234"));
    assert_non_null(strstr(heard.text, "mov ebx, [0x20000]"));
    /* who goes on after a look goes on from what the translator has */
    assert_int_equal(run(g), RUN_DUE);
    assert_int_equal(g->cpu->reg[EBX], 0x1234);
    guest_free(g);
}

/* The span is run again for the report, the devices are not; then the machine goes on. */
static void test_a_second_run_reaches_no_device(void **state)
{
    Heard heard = {"", 0};
    (void)state;
    /* mov dx, 300h; mov ecx, 20000; l: in eax, dx; out dx, eax; add esi, eax; mov ebx, [data +
     * 800h]; push ebx; pop edi; loop l; hlt */
    static const char code[] = "\x66\xba\x00\x03\xb9\x20\x4e\x00\x00\xed\xef\x01\xc6"
                               "\x8b\x1d\x00\x10\x02\x00\x53\x5f\xe2\xf2\xf4";
    Guest *g = checked(code, sizeof(code) - 1);
    Counter ports = {.g = g};
    bus_claim(g->board->ports, PORT, 4, &counter_ops, &ports, "counter");
    assert_int_equal(g->accel.ops->run(&g->accel, 1000), RUN_DUE);
    g->ram[GUEST_DATA + 0x1000] ^= 1;
    log_to_sink(hear, &heard);
    assert_int_equal(run(g), RUN_FAILED);
    log_to_sink(NULL, NULL);
    assert_non_null(strstr(g->accel.failure, "EBX"));
    assert_non_null(strstr(heard.text, "mov ebx, [0x21000]"));
    RunExit exit = RUN_DUE;
    for (unsigned i = 0; i < 10 && exit == RUN_DUE; i++) {
        exit = run(g);
    }
    assert_int_equal(exit, RUN_HALTED);
    assert_int_equal(ports.reads, 20000);
    assert_int_equal(ports.writes, 20000);
    assert_int_equal(g->cpu->reg[ESI], 20000 * 20001 / 2);
    guest_free(g);
}

static void test_stray_writes_are_found(void **state)
{
    Heard heard = {"", 0};
    (void)state;
    Guest *g = checked("\x40\xeb\xfd", 3); /* l: inc eax; jmp l */
    assert_int_equal(g->accel.ops->run(&g->accel, 1000), RUN_DUE);
    g->ram[0x12345] ^= 1;
    log_to_sink(hear, &heard);
    RunExit exit = RUN_DUE;
    for (unsigned i = 0; i < 1000 && exit == RUN_DUE; i++) {
        exit = run(g);
    }
    log_to_sink(NULL, NULL);
    assert_int_equal(exit, RUN_FAILED);
    assert_non_null(strstr(g->accel.failure, "0x12345"));
    guest_free(g);
}

/* What tests/fuzz/fuzz_check.c has found in real mode; each ends in HLT. */
static void test_finds_in_real_mode(void **state)
{
    static const struct {
        const char *what, *code;
        size_t size;
    } find[] = {
        /* operand size is no part of 0F AE /5 */
        /* mov sp, 4; mov bx, 20h; call [bx], with SS = CS: the return address replaces itself; hlt
         */
        {"a call that overwrites itself",
         "\xb8\x00\x10\x8e\xd0\xbb\x20\x00\x8e\xd8\xbc\x0f\x00\xff\x17\x90\xf4\x90\x90\x90"
         "\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x10\x00\x90\x90\xf4",
         37},
        {"lfence", "\x0f\xae\xe8\x90\xf4", 5},
        /* fninit; fld1; jmp 0ffeh:0029h: FCS is that of FLD1; hlt */
        {"x87 pointers before a far jump", "\xdb\xe3\xd9\xe8\xea\x29\x00\xfe\x0f\xf4\xf4", 11},
        /* fninit; fld dword [100h]; mov ax, 2000h; mov ds, ax; hlt: FDS is the old one */
        {"x87 pointers before a load of DS", "\xdb\xe3\xd9\x06\x00\x01\xb8\x00\x20\x8e\xd8\xf4",
         12},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(find) / sizeof(find[0]); i++) {
        Guest *g = checked_in(find[i].code, find[i].size, guest_real);
        RunExit exit = run(g);
        if (exit != RUN_HALTED) {
            fail_msg("%s: ended with %d: %s", find[i].what, exit, g->accel.failure);
        }
        guest_free(g);
    }
}

/* A repeated string instruction with 16-bit addresses in a segment of 4 GiB wraps at 64 KiB. */
static void test_strings_wrap_in_large_segments(void **state)
{
    (void)state;
    /* cld; mov ecx, 12h; mov esi, 100h; mov edi, fffah; rep movsw with 16-bit addresses; hlt */
    guest_free(AGREED("\xfc\xb9\x12\x00\x00\x00\xbe\x00\x01\x00\x00\xbf\xfa\xff\x00\x00"
                      "\x67\x66\xf3\xa5\xf4"));
}

/* A repeated instruction that writes to nobody for as long as the guest likes: in pieces. */
static void test_endless_repetition_is_interrupted(void **state)
{
    (void)state;
    /* cld; mov edi, 800000h; mov ecx, 20000000h; rep stosb; hlt */
    Guest *g = checked("\xfc\xbf\x00\x00\x80\x00\xb9\x00\x00\x00\x20\xf3\xaa\xf4", 14);
    int64_t until = clock_now(&g->board->clock) + 20;
    assert_int_equal(g->accel.ops->run(&g->accel, until), RUN_DUE);
    assert_in_range(g->cpu->reg[ECX], 0x1ff00000, 0x20000000 - 5000);
    guest_free(g);
}

/* A FLDCW that has faulted so often that its handler is called may still unmask exceptions. */
static void test_unmasking_by_a_called_fldcw(void **state)
{
    (void)state;
    /* fninit; mov word [data], 340h; mov esi, device; mov ecx, 9; l: cmp ecx, 1; jne m; mov esi,
     * data; m: fnclex; fldcw [esi]; fldpi; fsqrt; fstp st0; loop l; hlt */
    guest_free(AGREED("\xdb\xe3\x66\xc7\x05\x00\x00\x02\x00\x40\x03\xbe\x00\x00\x80\x00\xb9\x09"
                      "\x00\x00\x00\x83\xf9\x01\x75\x05\xbe\x00\x00\x02\x00\xdb\xe2\xd9\x2e\xd9"
                      "\xeb\xd9\xfa\xdd\xd8\xe2\xea\xf4"));
}

/* Nor is it a difference where a repetition that overwrites itself is fetched anew. */
static void test_a_repetition_overwrites_itself(void **state)
{
    (void)state;
    /* std; mov edi, 12ffeh; mov ecx, 1f88h; mov eax, f4f49090h (nop nop hlt hlt); rep stosd; hlt.
     * The translator reaches the code's page after 800h iterations and then makes 1000h at once,
     * the interpreter makes 1000h at once from the start */
    guest_free(
        AGREED("\xfd\xbf\xfe\x2f\x01\x00\xb9\x88\x1f\x00\x00\xb8\x90\x90\xf4\xf4\xf3\xab\xf4"));
}

static void agrees_in_short_runs(Guest *g)
{
    RunExit exit = RUN_DUE;
    for (unsigned i = 0; i < RUN && exit == RUN_DUE; i++) {
        atomic_store(&g->cpu->attention, false);
        exit = g->accel.ops->run(&g->accel, clock_now(&g->board->clock) + 23);
    }
    assert_int_equal(exit, RUN_HALTED);
    guest_free(g);
}

/* Code whose page keeps changing is left to the interpreter: a shadow ends there, too. */
static void test_a_shadow_ends_in_the_interpreter(void **state)
{
    (void)state;
    Guest *g = checked("\xbb\x2c\x01\x00\x00"         /*     mov ebx, 300 */
                       "\x16\x17"                     /* l:  push ss; pop ss */
                       "\xe9\xf4\x0f\x00\x00"         /*     jmp changing */
                       "\xc6\x05\x00\x10\x01\x00\x90" /* k:  mov byte [changing], 90h */
                       "\x4b\x75\xef\xf4",            /*     dec ebx; jnz l; hlt */
                       23);
    /* changing: nop * 8; jmp k */
    guest_put(g, GUEST_CODE + 0x1000, "\x90\x90\x90\x90\x90\x90\x90\x90\xe9\xff\xef\xff\xff", 13);
    agrees_in_short_runs(g);
}

/* A shadow that falls on the next unit ends there, even if that comes back to where it fell. */
static void test_a_shadow_ends_in_a_loop(void **state)
{
    (void)state;
    Guest *g = checked("\xe9\xf4\x0f\x00\x00", 5); /* jmp to the page's last */
    /* The page's last: mov ecx, 300; push ss; pop ss. Then l: loop l; hlt. */
    guest_put(g, GUEST_CODE + 0xff9, "\xb9\x2c\x01\x00\x00\x16\x17\xe2\xfe\xf4", 10);
    agrees_in_short_runs(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_programs_agree),
        cmocka_unit_test(test_devices_are_reached_once),
        cmocka_unit_test(test_interrupts_come_to_both),
        cmocka_unit_test(test_a_difference_is_found_and_shown),
        cmocka_unit_test(test_a_second_run_reaches_no_device),
        cmocka_unit_test(test_stray_writes_are_found),
        cmocka_unit_test(test_finds_in_real_mode),
        cmocka_unit_test(test_strings_wrap_in_large_segments),
        cmocka_unit_test(test_endless_repetition_is_interrupted),
        cmocka_unit_test(test_unmasking_by_a_called_fldcw),
        cmocka_unit_test(test_a_repetition_overwrites_itself),
        cmocka_unit_test(test_a_shadow_ends_in_the_interpreter),
        cmocka_unit_test(test_a_shadow_ends_in_a_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
