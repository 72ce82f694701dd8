/* KVM engine on this host's kernel: real-mode guests, state, hand-over to the interpreter and back.
 *
 * Skips where /dev/kvm cannot run real mode.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/kvm/kvm_internal.h"
#include "cpu-accel/x86/control.h"
#include "machine/engine.h"
#include "machine/host/host_time.h"
#include "tests/unit/chip.h"

enum { RAM_SIZE = 0x200000, CODE = 0x7000 };

typedef struct Fixture {
    Board *b;
    Cpu *cpu;
    Accel a;
    RamBlock *ram;
    uint8_t vector;
    unsigned written;
} Fixture;

/* Thousand instructions a second in real mode; 0: not at all. */
static uint32_t host_speed(void)
{
    KvmProbe probe;
    kvm_probe(&kvm_sys_host, &probe);
    if (!probe.usable || !probe.mode[KVM_REAL].right) {
        print_message("skipped: %s\n", probe.usable ? "KVM fails in real mode here" : probe.reason);
        return 0;
    }
    return probe.mode[KVM_REAL].kips + 1;
}

static void port_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Fixture *f = self;
    (void)offset;
    (void)value;
    f->written += bytes;
}

static uint64_t port_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)self;
    (void)bytes;
    return 0x30 + offset;
}

static const IoOps port_ops = {port_read, port_write, 1, 4};

static uint8_t acknowledge(void *self)
{
    Fixture *f = self;
    cpu_intr(f->cpu, 0, false);
    return f->vector;
}

static void use(Fixture *f, const AccelOps *ops)
{
    Err err = {""};
    f->a = (Accel){.ops = ops, .cpu = f->cpu, .board = f->b};
    bool open =
        ops == &accel_kvm ? kvm_open_on(&f->a, &kvm_sys_host, false, &err) : ops->open(&f->a, &err);
    if (!open) {
        fail_msg("%s", err.text);
    }
    engine_attach(&f->a);
    f->a.ops->push(&f->a);
}

static void leave(Fixture *f)
{
    f->a.ops->pull(&f->a);
    engine_detach(&f->a);
    f->a.ops->close(&f->a);
}

static Fixture *fixture(const void *code, size_t size)
{
    Fixture *f = calloc(1, sizeof(*f));
    Err err = {""};
    f->b = chip_board();
    f->ram = ram_add(&f->b->ram, "ram", RAM_SIZE, &err);
    bus_claim_ram(f->b->memory, 0, RAM_SIZE, &(RamView){true, true, f->ram->at, f->ram->at}, "ram");
    bus_claim(f->b->ports, 0x300, 16, &port_ops, f, "device");
    CpuPins pins = {.acknowledge = acknowledge, .self = f};
    f->cpu = cpu_new(f->b, CPU_PENTIUM3, &pins);
    board_reset(f->b, RESET_POWER);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        seg_load_real(f->cpu, (SegIndex)i, 0);
    }
    f->cpu->eip = CODE;
    f->cpu->reg[ESP] = CODE;
    memcpy(ram_at(&f->b->ram, f->ram->at) + CODE, code, size);
    clock_use_host(&f->b->clock, host_time_ns);
    clock_run(&f->b->clock, true);
    return f;
}

static void done(Fixture *f)
{
    board_free(f->b);
    free(f);
}

/* Runs for so long, or until HLT. */
static RunExit run_for(Fixture *f, int64_t ns)
{
    int64_t until = clock_now(&f->b->clock) + ns;
    RunExit exit = RUN_DUE;
    while (exit == RUN_DUE && clock_now(&f->b->clock) < until) {
        atomic_store(&f->cpu->attention, false);
        exit = f->a.ops->run(&f->a, until);
    }
    if (exit == RUN_FAILED) {
        fail_msg("%s", f->a.failure);
    }
    return exit;
}

/* add eax, ecx; rol eax, 3; mov [500h], eax; dec ecx; jnz; hlt */
static const uint8_t sum_code[] = {0x66, 0x01, 0xc8, 0x66, 0xc1, 0xc0, 0x03, 0x66,
                                   0xa3, 0x00, 0x05, 0x66, 0x49, 0x75, 0xf1, 0xf4};

static uint32_t sum(uint32_t turns)
{
    uint32_t value = 0;
    for (uint32_t i = turns; i > 0; i--) {
        value += i;
        value = value << 3 | value >> 29;
    }
    return value;
}

static void a_loop_comes_to_its_result(void **state)
{
    (void)state;
    if (!host_speed()) {
        skip();
    }
    Fixture *f = fixture(sum_code, sizeof(sum_code));
    f->cpu->reg[ECX] = 10000;
    use(f, &accel_kvm);
    assert_int_equal(run_for(f, 20 * CLOCK_NS_PER_S), RUN_HALTED);
    leave(f);
    assert_int_equal(f->cpu->reg[EAX], sum(10000));
    assert_int_equal(f->cpu->eip, CODE + sizeof(sum_code));
    done(f);
}

static void two_hundred_changes_of_engine_lose_nothing(void **state)
{
    (void)state;
    uint32_t speed = host_speed();
    if (!speed) {
        skip();
    }
    Fixture *f = fixture(sum_code, sizeof(sum_code));
    uint32_t turns = f->cpu->reg[ECX] = 100000 + 3 * speed; /* enough for all the changes */
    RunExit exit = RUN_DUE;
    unsigned changes = 0, seed = 7;
    for (; changes < 200 && exit == RUN_DUE; changes++) {
        seed = seed * 1103515245 + 12345;
        bool kvm = changes % 2 == 0;
        use(f, kvm ? &accel_kvm : &accel_interpreter);
        exit = run_for(f, kvm ? 50000 + seed / 65536 % 100000 : 100);
        leave(f);
    }
    use(f, &accel_kvm);
    while (exit == RUN_DUE) {
        exit = run_for(f, 20 * CLOCK_NS_PER_S);
    }
    leave(f);
    print_message("%u changes\n", changes);
    assert_int_equal(f->cpu->reg[EAX], sum(turns));
    done(f);
}

static void ports_and_interrupts_reach_the_guest(void **state)
{
    (void)state;
    if (!host_speed()) {
        skip();
    }
    /* mov dx, 300h; in eax, dx (66h); mov cx, 10; mov si, 7000h; rep outsb; sti; hlt; cli; hlt */
    static const uint8_t code[] = {0xba, 0x00, 0x03, 0xec, 0xb9, 0x0a, 0x00, 0xbe,
                                   0x00, 0x70, 0xf3, 0x6e, 0xfb, 0xf4, 0xfa, 0xf4};
    Fixture *f = fixture(code, sizeof(code));
    uint8_t *ram = ram_at(&f->b->ram, f->ram->at);
    memcpy(ram + 4 * 0x40, "\x00\x60\x00\x00", 4);
    memcpy(ram + 0x6000, "\x43\xcf", 2); /* inc bx; iret */
    f->vector = 0x40;
    use(f, &accel_kvm);
    assert_int_equal(run_for(f, 10 * CLOCK_NS_PER_S), RUN_HALTED);
    assert_int_equal(f->written, 10);
    cpu_intr(f->cpu, 0, true);
    assert_int_equal(run_for(f, 10 * CLOCK_NS_PER_S), RUN_HALTED);
    leave(f);
    assert_int_equal(f->cpu->reg[EAX] & 0xff, 0x30);
    assert_int_equal(f->cpu->reg[EBX], 1);
    assert_int_equal(f->cpu->eip, CODE + sizeof(code));
    done(f);
}

static void registers_survive_the_kernel(void **state)
{
    (void)state;
    if (!host_speed()) {
        skip();
    }
    Fixture *f = fixture("\xf4", 1);
    Fpu *fpu = &f->cpu->fpu;
    for (unsigned i = 0; i < 8; i++) {
        f->cpu->reg[i] = 0x11111111u * (i + 1);
        fpu->st[i] = (Float80){0x8000000000000000u | i, (uint16_t)(0x3fff + i)};
        fpu->xmm[i] = (Xmm){{i, ~(uint64_t)i}};
    }
    fpu->control = 0x37f;
    fpu->status = 5 << 11;
    fpu->valid = 0xff;
    fpu->mxcsr = 0x1f80;
    f->cpu->dr[0] = 0x1234;
    f->cpu->dr7 = 0x400;
    f->cpu->cr2 = 0xcafe;
    f->cpu->sysenter_eip = 0x5555;
    f->cpu->nmi_blocked = true;
    Cpu before = *f->cpu;
    use(f, &accel_kvm);
    assert_int_equal(run_for(f, 10 * CLOCK_NS_PER_S), RUN_HALTED);
    leave(f);
    assert_memory_equal(f->cpu->reg, before.reg, sizeof(before.reg));
    assert_memory_equal(fpu->st, before.fpu.st, sizeof(before.fpu.st));
    assert_memory_equal(fpu->xmm, before.fpu.xmm, sizeof(before.fpu.xmm));
    assert_int_equal(fpu->status, before.fpu.status);
    assert_int_equal(fpu->control, before.fpu.control);
    assert_int_equal(fpu->valid, before.fpu.valid);
    assert_int_equal(f->cpu->dr[0], 0x1234);
    assert_int_equal(f->cpu->cr2, 0xcafe);
    assert_int_equal(f->cpu->sysenter_eip, 0x5555);
    assert_true(f->cpu->nmi_blocked);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        assert_int_equal(f->cpu->seg[i].base, before.seg[i].base);
        assert_int_equal(f->cpu->seg[i].limit, before.seg[i].limit);
    }
    done(f);
}

static void guest_without_end_is_stopped_in_time(void **state)
{
    (void)state;
    if (!host_speed()) {
        skip();
    }
    Fixture *f = fixture("\xeb\xfe", 2); /* jmp self */
    use(f, &accel_kvm);
    assert_int_equal(run_for(f, 20000000), RUN_DUE);
    leave(f);
    assert_int_equal(f->cpu->eip, CODE);
    done(f);
}

static void single_steps_are_exact(void **state)
{
    (void)state;
    if (!host_speed()) {
        skip();
    }
    /* mov dx, 300h; in al, dx; four times inc bx; hlt */
    static const uint8_t code[] = {0xba, 0x00, 0x03, 0xec, 0x43, 0x43, 0x43, 0x43, 0xf4};
    Fixture *f = fixture(code, sizeof(code));
    use(f, &accel_kvm);
    for (unsigned i = 1; i <= 5; i++) {
        f->a.budget = 1;
        atomic_store(&f->cpu->attention, false);
        RunExit exit = f->a.ops->run(&f->a, clock_now(&f->b->clock) + 10 * CLOCK_NS_PER_S);
        assert_int_equal(exit, RUN_DUE);
        f->a.ops->pull(&f->a);
        assert_int_equal(f->cpu->eip, CODE + (i == 1 ? 3 : 2 + i));
        assert_int_equal(f->cpu->reg[EBX], i > 2 ? i - 2 : 0);
        assert_false(cpu_eflags(f->cpu) & FL_TF);
        f->a.ops->push(&f->a);
    }
    f->a.budget = 0;
    assert_int_equal(run_for(f, 10 * CLOCK_NS_PER_S), RUN_HALTED);
    leave(f);
    assert_int_equal(f->cpu->reg[EBX], 4);
    done(f);
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, 4);
}

/* Where KVM cannot run paged code, another engine takes over at the instruction that needs it. */
static void paging_comes_to_its_end_under_one_engine_or_two(void **state)
{
    (void)state;
    if (!host_speed()) {
        skip();
    }
    /* mov eax, 5000h; mov cr3, eax; mov eax, cr0; or eax, 80000000h; mov cr0, eax; inc eax;
     * mov [B000h], eax; hlt */
    static const uint8_t code[] = {0xb8, 0x00, 0x50, 0x00, 0x00, 0x0f, 0x22, 0xd8, 0x0f,
                                   0x20, 0xc0, 0x0d, 0x00, 0x00, 0x00, 0x80, 0x0f, 0x22,
                                   0xc0, 0x40, 0xa3, 0x00, 0xb0, 0x00, 0x00, 0xf4};
    Fixture *f = fixture(code, sizeof(code));
    uint8_t *ram = ram_at(&f->b->ram, f->ram->at);
    put32(ram + 0x5000, 0x6007);
    for (uint32_t page = 0; page < 0x20; page++) {
        put32(ram + 0x6000 + 4 * page, (page == 0xb ? 0x9000 : page << 12) | 7);
    }
    f->cpu->cr0 |= CR0_PE;
    f->cpu->idtr.limit = 0;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        f->cpu->seg[i] = (SegReg){8,
                                  SEG_PRESENT | SEG_S | SEG_WRITABLE | SEG_ACCESSED | SEG_BIG |
                                      SEG_GRANULARITY | (i == CS ? SEG_CODE : 0),
                                  0, 0xffffffff};
    }
    use(f, &accel_kvm);
    f->a.replaceable = true;
    RunExit exit = RUN_DUE;
    while (exit == RUN_DUE) {
        atomic_store(&f->cpu->attention, false);
        exit = f->a.ops->run(&f->a, clock_now(&f->b->clock) + CLOCK_NS_PER_S);
    }
    if (exit == RUN_FAILED) {
        print_message("KVM: %s; the interpreter goes on\n", f->a.failure);
        leave(f);
        use(f, &accel_interpreter);
        assert_int_equal(run_for(f, 10 * CLOCK_NS_PER_S), RUN_HALTED);
    }
    leave(f);
    assert_int_equal(ram[0x9000] | (ram[0x9003] & 0x80) << 8, 0x8012); /* CR0, plus one */
    assert_int_equal(f->cpu->eip, CODE + sizeof(code));
    done(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_comes_to_its_result),
        cmocka_unit_test(two_hundred_changes_of_engine_lose_nothing),
        cmocka_unit_test(ports_and_interrupts_reach_the_guest),
        cmocka_unit_test(registers_survive_the_kernel),
        cmocka_unit_test(guest_without_end_is_stopped_in_time),
        cmocka_unit_test(single_steps_are_exact),
        cmocka_unit_test(paging_comes_to_its_end_under_one_engine_or_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
