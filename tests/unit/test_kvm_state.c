/* KVM engine against a fake kernel: state there and back, memory slots, dirty pages. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/kvm/kvm_internal.h"
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/pvclock.h"
#include "tests/unit/kvm_rig.h"

static void scramble(Cpu *cpu)
{
    unsigned seed = 12345;
    for (unsigned i = 0; i < 8; i++) {
        cpu->reg[i] = seed = seed * 1103515245 + 12345;
        cpu->fpu.st[i] = (Float80){seed * 0x100000001ull, (uint16_t)(seed >> 7)};
        cpu->fpu.xmm[i] = (Xmm){{seed * 0x300000001ull, ~(uint64_t)seed}};
        cpu->mtrr.base[i] = 0x1000u * i;
        cpu->mtrr.mask[i] = 0x800 | 0x2000u * i;
        cpu->seg[i].base = seed;
        cpu->seg[i].selector = (uint16_t)(seed >> 3) & 0xfffc;
        cpu->seg[i].limit = 0xfffff;
        cpu->seg[i].access = SEG_PRESENT | SEG_S | SEG_ACCESSED | SEG_WRITABLE | SEG_BIG;
    }
    cpu->seg[CS].limit = 0xffffffff;
    cpu->seg[CS].access |= SEG_GRANULARITY | SEG_CODE;
    cpu->seg[LDTR].access = SEG_UNUSABLE;
    cpu->seg[TR].access = SEG_PRESENT | 0xb;
    cpu->gdtr = (TableReg){0x12345, 0x77};
    cpu->idtr = (TableReg){0x54321, 0x7ff};
    cpu->eip = 0x1234;
    cpu_set_eflags(cpu, FL_ONE | FL_CF | FL_ZF | FL_OF | FL_IF | FL_IOPL);
    cpu->cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_WP | CR0_TS;
    cpu->cr2 = 0xdeadbeef;
    cpu->cr3 = 0x2000;
    cpu->cr4 = CR4_PAE | CR4_PSE;
    for (unsigned i = 0; i < 4; i++) {
        cpu->pdpte[i] = i ? 0 : 0x3001;
        cpu->dr[i] = 0x1000 * i;
    }
    cpu->dr7 = 0x455;
    cpu->fpu.status = 3 << 11;
    cpu->fpu.control = 0x27f;
    cpu->fpu.valid = 0xa5;
    cpu->fpu.opcode = 0x123;
    cpu->fpu.ip = 0x777;
    cpu->fpu.data = 0x888;
    cpu->fpu.ip_selector = cpu->fpu.data_selector = 0; /* not kept by 64-bit kernels */
    cpu->shadow = SHADOW_STI;
    cpu->nmi_blocked = true;
    cpu->sysenter_cs = 8;
    cpu->sysenter_esp = 0x1000;
    cpu->sysenter_eip = 0x2000;
    cpu->mtrr.def_type = 0xc06;
    cpu->mtrr.fixed[10] = 0x0606060606060606;
}

static void all_state_goes_there_and_back(void **state)
{
    (void)state;
    for (unsigned old = 0; old < 2; old++) {
        Fixture *f = kvm_rig_closed();
        f->old = old;
        kvm_rig_attach(f);
        scramble(f->cpu);
        if (old) { /* this kernel reads them from memory again, and has no debug registers */
            uint64_t pdpte = 0x3001;
            memcpy(ram_at(&f->b->ram, f->ram->at) + 0x2000, &pdpte, 8);
        }
        uint64_t tsc = tsc_read(f->cpu);
        Cpu before = *f->cpu;
        f->a.ops->push(&f->a);
        assert_int_equal(kvm_rig_go(f), RUN_DUE);
        assert_true(f->entered == 1 && f->regs.rip == 0x1234);
        memset(f->cpu->reg, 0, sizeof(f->cpu->reg));
        memset(f->cpu->seg, 0, sizeof(f->cpu->seg));
        memset(&f->cpu->fpu, 0, sizeof(f->cpu->fpu));
        memset(&f->cpu->mtrr, 0, sizeof(f->cpu->mtrr));
        memset(f->cpu->pdpte, 0, sizeof(f->cpu->pdpte));
        if (!old) {
            memset(f->cpu->dr, 0, sizeof(f->cpu->dr));
            f->cpu->dr7 = 0;
        }
        f->cpu->cr0 = f->cpu->cr3 = f->cpu->cr4 = f->cpu->cr2 = f->cpu->eip = 0;
        f->cpu->shadow = 0;
        f->cpu->nmi_blocked = false;
        f->cpu->sysenter_eip = 0;
        f->a.ops->pull(&f->a);
        assert_memory_equal(f->cpu->reg, before.reg, sizeof(before.reg));
        assert_memory_equal(f->cpu->seg, before.seg, sizeof(before.seg));
        assert_memory_equal(&f->cpu->fpu, &before.fpu, sizeof(before.fpu));
        assert_memory_equal(&f->cpu->mtrr, &before.mtrr, sizeof(before.mtrr));
        assert_memory_equal(f->cpu->dr, before.dr, sizeof(before.dr));
        assert_int_equal(f->cpu->pdpte[0], 0x3001);
        assert_int_equal(f->cpu->dr7, before.dr7);
        assert_int_equal(f->cpu->cr0, before.cr0);
        assert_int_equal(f->cpu->cr2, before.cr2);
        assert_int_equal(f->cpu->cr3, before.cr3);
        assert_int_equal(f->cpu->cr4, before.cr4);
        assert_int_equal(f->cpu->eip, before.eip);
        assert_int_equal(cpu_eflags(f->cpu), cpu_eflags(&before));
        assert_int_equal(f->cpu->shadow, SHADOW_STI);
        assert_true(f->cpu->nmi_blocked);
        assert_int_equal(f->cpu->sysenter_eip, 0x2000);
        assert_int_equal(f->cpu->gdtr.base, 0x12345);
        assert_int_equal(tsc_read(f->cpu), tsc);
        kvm_rig_free(f);
    }
}

static void time_stamp_goes_on_where_the_kernel_left_it(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    f->msr[0x10] = 987654321;
    f->a.ops->pull(&f->a);
    assert_int_equal(tsc_read(f->cpu), 987654321);
    clock_step(&f->b->clock, 1000000);
    assert_int_equal(tsc_read(f->cpu), 987654321 + f->cpu->tsc_hz / 1000);
    kvm_rig_free(f);
}

static int64_t host_time;

static int64_t host_ns(void)
{
    return host_time;
}

static void time_stamp_stands_still_with_the_machine(void **state)
{
    (void)state;
    for (unsigned pulled = 0; pulled < 2; pulled++) {
        Fixture *f = kvm_rig();
        Clock *clock = &f->b->clock;
        uint64_t second = f->cpu->tsc_hz;
        clock_use_host(clock, host_ns);
        clock_run(clock, true);
        assert_int_equal(kvm_rig_go(f), RUN_DUE);
        host_time += CLOCK_NS_PER_S;
        f->msr[0x10] = 7 * second; /* as fast as the kernel likes: it is not read, not written */
        assert_int_equal(kvm_rig_go(f), RUN_DUE);
        assert_int_equal(f->msr[0x10], 7 * second);
        clock_run(clock, false);
        host_time += 1000 * CLOCK_NS_PER_S;
        f->msr[0x10] += 1000 * second;
        if (pulled) { /* somebody looks, a while before it goes on */
            f->a.ops->pull(&f->a);
            assert_in_range(tsc_read(f->cpu), 7 * second - 1, 7 * second + 1);
            host_time += 50 * CLOCK_NS_PER_S;
            f->msr[0x10] += 50 * second;
        }
        clock_run(clock, true);
        assert_int_equal(kvm_rig_go(f), RUN_DUE);
        assert_in_range(f->msr[0x10], 7 * second - 1, 7 * second + 1);
        kvm_rig_free(f);
    }
}

static void time_stamp_keeps_the_rate_that_the_guest_measured(void **state)
{
    (void)state;
    Fixture *f = kvm_rig_closed(); /* a host that cannot scale it: from the first instruction */
    f->tsc_khz = 2600000;
    kvm_rig_attach(f);
    assert_int_equal(f->cpu->tsc_hz, 2600000000u);
    kvm_rig_free(f);
    f = kvm_rig_closed(); /* or not at all, when the guest runs already */
    clock_step(&f->b->clock, 1000);
    f->tsc_khz = 2600000;
    uint32_t model = f->cpu->tsc_hz;
    kvm_rig_attach(f);
    assert_int_equal(f->cpu->tsc_hz, model);
    kvm_rig_free(f);
    f = kvm_rig_closed(); /* one that can */
    f->tsc_khz = 2600000;
    f->tsc_control = true;
    kvm_rig_attach(f);
    assert_int_equal(f->cpu->tsc_hz, model);
    assert_int_equal(f->tsc_khz, model / 1000);
    f->cpu->tsc_hz = 1234567000; /* a state was loaded from a machine that began on another host */
    f->a.ops->push(&f->a);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->tsc_khz, 1234567);
    kvm_rig_free(f);
}

static void paravirtual_clock_goes_on_as_the_kernels(void **state)
{
    (void)state;
    Fixture *f = kvm_rig_closed();
    f->cpu->pvclock = true;
    f->cpu->pvclock_start_us = 946684799000000;
    clock_step(&f->b->clock, 123456789);
    assert_int_equal(msr_write(f->cpu, MSR_PVCLOCK_TIME, 0x5001), X_NEXT);
    kvm_rig_attach(f);
    assert_int_equal(f->cpuid_entries, 3 + 2);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->pvclock, 0x5001);
    assert_int_equal(f->clock, 123456789);
    f->pvclock = 0x6001; /* the guest has moved it */
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->pvclock_time, 0x6001);
    /* the time of day is ours */
    assert_int_equal(f->filtered, MSR_PVCLOCK_WALL);
    Step *s = kvm_rig_add(f, KVM_EXIT_X86_WRMSR);
    s->exit.msr.index = MSR_PVCLOCK_WALL;
    s->exit.msr.data = 0x7000;
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(kvm_rig_run_of(f)->msr.error, 0);
    uint32_t seconds;
    memcpy(&seconds, ram_at(&f->b->ram, f->ram->at) + 0x7004, 4);
    assert_int_equal(seconds, 946684799);
    kvm_rig_free(f);
    f = kvm_rig(); /* a machine without it */
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->cpuid_entries, 3);
    assert_true(f->filtered == 0 && f->clock == 0);
    kvm_rig_free(f);
}

static void privilege_follows_the_mode(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    f->sregs2.cr0 |= CR0_PE;
    f->sregs2.ss.dpl = 3;
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->cpl, 3);
    f->a.ops->push(&f->a);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    f->sregs2.cr0 &= ~1ull;
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->cpl, 0);
    f->a.ops->push(&f->a);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    f->sregs2.cr0 |= CR0_PE;
    f->sregs2.ss.dpl = 0;
    f->regs.rflags |= FL_VM;
    f->a.ops->pull(&f->a);
    assert_int_equal(f->cpu->cpl, 3);
    kvm_rig_free(f);
}

/* The slot at this address, or NULL. */
static const struct kvm_userspace_memory_region *slot_at(const Fixture *f, uint64_t addr)
{
    for (unsigned i = 0; i < KVM_SLOTS; i++) {
        const struct kvm_userspace_memory_region *s = &f->slot[i];
        if (addr >= s->guest_phys_addr && addr - s->guest_phys_addr < s->memory_size) {
            return s;
        }
    }
    return NULL;
}

static uint32_t shown_at(const Fixture *f, uint64_t addr)
{
    const struct kvm_userspace_memory_region *s = slot_at(f, addr);
    assert_non_null(s);
    return (uint32_t)(s->userspace_addr + (addr - s->guest_phys_addr) - (uintptr_t)f->b->ram.host);
}

static void slots_follow_the_map(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(shown_at(f, 0x5000), f->ram->at + 0x5000);
    assert_null(slot_at(f, 0xa0000));
    assert_null(slot_at(f, 0xbffff));
    assert_int_equal(shown_at(f, 0xc0000), f->ram->at + 0xc0000);
    assert_int_equal(slot_at(f, 0xf0000)->flags, KVM_MEM_READONLY);
    assert_int_equal(shown_at(f, 0xf1000), f->rom->at + 0x1000);
    assert_int_equal(slot_at(f, RAM_SIZE - 1)->flags, 0);
    assert_null(slot_at(f, RAM_SIZE));
    /* reads from ROM, writes to RAM, as PAM does: writes must come to us */
    bus_set_view(f->rom_range, &(RamView){true, true, f->rom->at, f->ram->at + 0xf0000});
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(slot_at(f, 0xf0000)->flags, KVM_MEM_READONLY);
    assert_int_equal(shown_at(f, 0xf0000), f->rom->at);
    bus_set_view(f->rom_range, &(RamView){true, true, f->ram->at + 0xf0000, f->ram->at + 0xf0000});
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(shown_at(f, 0xf0000), f->ram->at + 0xf0000);
    assert_int_equal(slot_at(f, 0xf0000)->flags, 0);
    kvm_rig_free(f);
}

static void closed_a20_shows_even_mebibytes_twice(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    cpu_a20m(f->cpu, 0, false);
    Step *s = kvm_rig_add_mmio(f, true, 0x1a0004, 1);
    s->exit.mmio.data[0] = 0x42;
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(shown_at(f, 0x100000), f->ram->at);
    assert_int_equal(shown_at(f, 0x200000), f->ram->at + 0x200000);
    assert_int_equal(shown_at(f, 0x345000), f->ram->at + 0x245000);
    assert_int_equal(shown_at(f, 0x1f0000), f->rom->at);
    assert_string_equal(f->note[0], "w1 4 42");
    cpu_a20m(f->cpu, 0, true);
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(shown_at(f, 0x100000), f->ram->at + 0x100000);
    kvm_rig_free(f);
}

static void written_pages_lose_their_flags(void **state)
{
    (void)state;
    Fixture *f = kvm_rig();
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(f->logs_read, 0);
    ram_flag_set(&f->b->ram, f->ram->at >> 12, 8, RAM_CLEAN_DISPLAY);
    f->dirty = 0x24;
    assert_int_equal(kvm_rig_go(f), RUN_DUE);
    assert_int_equal(slot_at(f, 0)->flags, KVM_MEM_LOG_DIRTY_PAGES);
    assert_int_equal(f->logs_read, 1);
    for (unsigned page = 0; page < 8; page++) {
        bool written = page == 2 || page == 5;
        assert_int_equal(f->b->ram.flags[(f->ram->at >> 12) + page],
                         written ? 0 : RAM_CLEAN_DISPLAY);
    }
    kvm_rig_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_state_goes_there_and_back),
        cmocka_unit_test(time_stamp_goes_on_where_the_kernel_left_it),
        cmocka_unit_test(time_stamp_stands_still_with_the_machine),
        cmocka_unit_test(time_stamp_keeps_the_rate_that_the_guest_measured),
        cmocka_unit_test(paravirtual_clock_goes_on_as_the_kernels),
        cmocka_unit_test(privilege_follows_the_mode),
        cmocka_unit_test(slots_follow_the_map),
        cmocka_unit_test(closed_a20_shows_even_mebibytes_twice),
        cmocka_unit_test(written_pages_lose_their_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
