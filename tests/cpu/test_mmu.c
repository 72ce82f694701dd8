/* Paging: rights, accessed and dirty bits, error codes, page sizes, coherence, A20, page crossings,
 * flags of Ram, alignment. */
#include "tests/cpu/sys_rig.h"

enum { P = 1, RW = 2, US = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100, PAGE = SYS_DATA };

static void open_paged(Sys *s, CpuModel model, bool user)
{
    sys_open(s, model);
    sys_protected(s);
    sys_paging(s);
    if (user) {
        sys_user(s);
    }
}

static bool read_at(Sys *s, uint32_t linear)
{
    uint32_t value;
    return mem_read32(s->cpu, DS, linear, &value);
}

static void accessed_and_dirty_are_set_as_used(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_PENTIUM3, false);
    assert_int_equal(sys_pte(&s, PAGE), PAGE | 7);
    assert_true(read_at(&s, PAGE));
    assert_int_equal(sys_pte(&s, PAGE), PAGE | 7 | A);
    assert_int_equal(sys_dword(&s, SYS_DIRECTORY) & A, A);
    assert_true(mem_write32(s.cpu, DS, PAGE + 4, 1));
    assert_int_equal(sys_pte(&s, PAGE), PAGE | 7 | A | D);
    sys_close(&s);
}

static void a_fault_sets_no_bits(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_PENTIUM3, true);
    sys_set_pte(&s, PAGE, PAGE | P | US); /* read-only */
    assert_refused(&s, mem_write32(s.cpu, DS, PAGE, 1), VEC_PF, 7);
    assert_int_equal(s.cpu->fault.cr2, PAGE);
    assert_int_equal(sys_pte(&s, PAGE), PAGE | P | US);
    assert_true(read_at(&s, PAGE));
    sys_close(&s);
}

static void rights_follow_user_writable_and_wp(void **state)
{
    (void)state;
    /* PTE bits, user?, WP?, write? -> expected error code, or -1 */
    static const struct {
        unsigned pte;
        bool user, wp, write;
        int error;
    } cases[] = {
        {0, false, false, false, 0},         {0, true, false, true, 6},
        {P, true, false, false, 5},          {P | RW, true, false, true, 7},
        {P | US, true, false, false, -1},    {P | US, true, false, true, 7},
        {P | RW | US, true, true, true, -1}, {P, false, false, true, -1},
        {P, false, true, true, 3},           {P | US, false, true, true, 3},
        {P | US, false, false, true, -1},    {P, false, true, false, -1},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Sys s;
        open_paged(&s, CPU_486, false);
        cr_write(s.cpu, 0, s.cpu->cr0 | (cases[i].wp ? CR0_WP : 0));
        if (cases[i].user) {
            sys_user(&s);
        }
        sys_set_pte(&s, PAGE, PAGE | cases[i].pte);
        bool ok = cases[i].write ? mem_write8(s.cpu, DS, PAGE, 1) : read_at(&s, PAGE);
        if (cases[i].error < 0) {
            assert_true(ok);
        } else {
            assert_refused(&s, ok, VEC_PF, cases[i].error);
        }
        sys_close(&s);
    }
}

static void a_386_has_no_write_protect(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_386, false);
    cr_write(s.cpu, 0, s.cpu->cr0 | CR0_WP);
    assert_int_equal(s.cpu->cr0 & CR0_WP, 0);
    sys_set_pte(&s, PAGE, PAGE | P);
    assert_true(mem_write32(s.cpu, DS, PAGE, 1));
    sys_close(&s);
}

/* Windows 9x: a PTE that was not in the TLB is changed and used without INVLPG. */
static void an_entry_not_in_the_tlb_is_read_fresh(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_PENTIUM3, false);
    sys_set_pte(&s, PAGE, 0);
    assert_refused(&s, read_at(&s, PAGE), VEC_PF, 0);
    sys_set_pte(&s, PAGE, (PAGE + 0x1000) | P | RW);
    sys_set_dword(&s, PAGE + 0x1000, 0x12345678);
    uint32_t value = 0;
    assert_true(mem_read32(s.cpu, DS, PAGE, &value));
    assert_int_equal(value, 0x12345678);
    /* a neighbouring page must not have been looked at in passing */
    sys_set_pte(&s, PAGE + 0x1000, (PAGE + 0x2000) | P | RW);
    sys_set_dword(&s, PAGE + 0x2000, 0xabcdef01);
    assert_true(mem_read32(s.cpu, DS, PAGE + 0x1000, &value));
    assert_int_equal(value, 0xabcdef01);
    sys_close(&s);
}

static void invlpg_and_cr3_forget_but_globals_stay(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_PENTIUM3, false);
    cr_write(s.cpu, 4, CR4_PGE);
    sys_set_pte(&s, PAGE, PAGE | P | RW | G);
    sys_set_pte(&s, PAGE + 0x1000, (PAGE + 0x1000) | P | RW);
    assert_true(read_at(&s, PAGE) && read_at(&s, PAGE + 0x1000));
    sys_set_pte(&s, PAGE, 0);
    sys_set_pte(&s, PAGE + 0x1000, 0);
    assert_true(read_at(&s, PAGE) && read_at(&s, PAGE + 0x1000));
    cr_write(s.cpu, 3, SYS_DIRECTORY);
    assert_true(read_at(&s, PAGE));
    assert_false(read_at(&s, PAGE + 0x1000));
    mem_flush_page(s.cpu, PAGE + 123);
    assert_false(read_at(&s, PAGE));
    sys_set_pte(&s, PAGE, PAGE | P | RW | G);
    assert_true(read_at(&s, PAGE));
    sys_set_pte(&s, PAGE, 0);
    cr_write(s.cpu, 4, 0);
    assert_false(read_at(&s, PAGE));
    sys_close(&s);
}

static void large_pages_and_invlpg_of_their_pieces(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_PENTIUM3, false);
    cr_write(s.cpu, 4, CR4_PSE);
    sys_set_dword(&s, SYS_DIRECTORY + 4 * 5, 0 | P | RW | PS); /* 20 MiB -> 0 */
    uint32_t base = 5u << 22, value = 0;
    sys_set_dword(&s, PAGE + 0x10, 0x55aa55aa);
    assert_true(mem_read32(s.cpu, DS, base + PAGE + 0x10, &value));
    assert_int_equal(value, 0x55aa55aa);
    assert_int_equal(sys_dword(&s, SYS_DIRECTORY + 4 * 5), P | RW | PS | A);
    assert_true(mem_write32(s.cpu, DS, base + PAGE + 0x1000, 7));
    assert_int_equal(sys_dword(&s, SYS_DIRECTORY + 4 * 5), P | RW | PS | A | D);
    sys_set_dword(&s, SYS_DIRECTORY + 4 * 5, 0);
    mem_flush_page(s.cpu, base);
    assert_false(read_at(&s, base + PAGE + 0x10));
    assert_false(read_at(&s, base + PAGE + 0x1000));
    sys_set_dword(&s, SYS_DIRECTORY + 4 * 5, P | RW | PS | 1 << 21);
    assert_refused(&s, read_at(&s, base), VEC_PF, 9);
    sys_close(&s);
}

static void set_qword(Sys *s, uint32_t at, uint64_t value)
{
    memcpy(s->ram + at, &value, 8);
}

static void pae_walks_three_levels_with_reserved_bits(void **state)
{
    (void)state;
    enum { PDPT = 0x18000, PD = 0x19000, PT = 0x1a000 };
    Sys s;
    sys_open(&s, CPU_PENTIUM3);
    sys_protected(&s);
    set_qword(&s, PDPT, PD | P);
    set_qword(&s, PD, PT | P | RW | US);
    set_qword(&s, PD + 8, 0x200000 | P | RW | PS);
    for (uint32_t page = 0; page < 0x200000; page += 4096) {
        set_qword(&s, PT + (page >> 12) * 8, page | P | RW | US);
    }
    assert_int_equal(cr_write(s.cpu, 4, CR4_PAE), X_STOP);
    assert_int_equal(cr_write(s.cpu, 3, PDPT), X_STOP);
    assert_int_equal(cr_write(s.cpu, 0, s.cpu->cr0 | CR0_PG), X_STOP);
    assert_true(read_at(&s, PAGE));
    assert_int_equal(sys_dword(&s, PT + (PAGE >> 12) * 8), PAGE | P | RW | US | A);
    uint32_t value = 0;
    sys_set_dword(&s, 0x312340, 77);
    assert_true(mem_read32(s.cpu, DS, 0x312340, &value));
    assert_int_equal(value, 77);
    set_qword(&s, PT + (0x50000 >> 12) * 8, 0x50000 | P | RW | UINT64_C(1) << 40);
    assert_refused(&s, read_at(&s, 0x50000), VEC_PF, 9);
    set_qword(&s, PD + 16, 0x400000 | P | RW | PS | 1 << 13);
    assert_refused(&s, mem_write8(s.cpu, DS, 0x400000, 1), VEC_PF, 11);
    assert_refused(&s, read_at(&s, 0x40000000), VEC_PF, 0); /* PDPTE 1 is not present */
    set_qword(&s, PDPT + 8, PD | P | RW); /* reserved bit: checked when CR3 is loaded */
    assert_faults(&s, cr_write(s.cpu, 3, PDPT), VEC_GP, 0);
    sys_close(&s);
}

static void both_pages_are_checked_before_either_is_written(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_PENTIUM3, true);
    sys_set_dword(&s, PAGE + 0xffc, 0x11111111);
    sys_set_pte(&s, PAGE + 0x1000, 0);
    assert_refused(&s, mem_write32(s.cpu, DS, PAGE + 0xffe, 0x22222222), VEC_PF, 6);
    assert_int_equal(s.cpu->fault.cr2, PAGE + 0x1000);
    assert_int_equal(sys_dword(&s, PAGE + 0xffc), 0x11111111);
    sys_set_pte(&s, PAGE + 0x1000, (PAGE + 0x5000) | 7);
    assert_true(mem_write32(s.cpu, DS, PAGE + 0xffe, 0x44332211));
    assert_int_equal(sys_word(&s, PAGE + 0xffe), 0x2211);
    assert_int_equal(sys_word(&s, PAGE + 0x5000), 0x4433);
    uint32_t value = 0;
    MemRmw rmw;
    assert_true(mem_read32(s.cpu, DS, PAGE + 0xffe, &value));
    assert_int_equal(value, 0x44332211);
    assert_true(mem_rmw32(s.cpu, DS, PAGE + 0xffd, &rmw, &value));
    mem_store32(s.cpu, &rmw, 0xddccbbaa);
    assert_int_equal(s.ram[PAGE + 0xffd], 0xaa);
    assert_int_equal(s.ram[PAGE + 0x5000], 0xdd);
    sys_close(&s);
}

static void read_modify_write_faults_as_a_write(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_PENTIUM3, true);
    sys_set_pte(&s, PAGE, 0);
    MemRmw rmw;
    uint16_t value;
    assert_refused(&s, mem_rmw16(s.cpu, DS, PAGE, &rmw, &value), VEC_PF, 6);
    sys_close(&s);
}

typedef struct Seen {
    uint32_t at, length;
    unsigned calls;
} Seen;

static void code_changed(void *self, uint32_t at, uint32_t length)
{
    *(Seen *)self = (Seen){at, length, ((Seen *)self)->calls + 1};
}

static Sys *flag_target;

static void flags_set(void *self, uint32_t first, uint32_t pages)
{
    (void)self;
    mem_flags_set(flag_target->cpu, first, pages);
}

static void flagged_pages_are_written_with_notice(void **state)
{
    (void)state;
    Sys s;
    Seen seen = {0};
    open_paged(&s, CPU_PENTIUM3, false);
    flag_target = &s;
    s.b->ram.listener = (RamListener){code_changed, flags_set, &seen, NULL};
    assert_true(mem_write32(s.cpu, DS, PAGE, 1)); /* makes the page writable directly */
    uint32_t page = (uint32_t)(s.ram + PAGE - s.b->ram.host) >> RAM_PAGE_SHIFT;
    ram_flag_set(&s.b->ram, page, 1, RAM_CODE);
    assert_true(mem_write32(s.cpu, DS, PAGE + 8, 2));
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.at, (page << RAM_PAGE_SHIFT) + 8);
    assert_int_equal(seen.length, 4);
    MemRmw rmw;
    uint8_t value;
    assert_true(mem_rmw8(s.cpu, DS, PAGE + 9, &rmw, &value));
    mem_store8(s.cpu, &rmw, 3);
    assert_int_equal(seen.calls, 2);
    ram_flag_clear(&s.b->ram, page, 1, RAM_CODE);
    ram_flag_set(&s.b->ram, page, 1, RAM_CLEAN_DISPLAY);
    assert_true(mem_write32(s.cpu, DS, PAGE + 8, 2));
    assert_int_equal(s.b->ram.flags[page], 0);
    assert_non_null(mem_fast_write(s.cpu, DS, PAGE + 8, 4)); /* direct again */
    sys_close(&s);
}

static uint64_t device_read(void *self, uint32_t offset, unsigned bytes)
{
    (void)self;
    (void)bytes;
    return 0xa0 + offset;
}

static void device_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    uint64_t *last = self;
    *last = offset << 16 | bytes << 8 | (value & 0xff);
}

static void devices_rom_and_nobody(void **state)
{
    (void)state;
    static const IoOps ops = {device_read, device_write, 1, 1};
    Sys s;
    uint64_t last = 0;
    sys_open(&s, CPU_PENTIUM3);
    sys_protected(&s);
    bus_claim(s.b->memory, 0x1000000, 0x1000, &ops, &last, "device");
    Err err = {""};
    RamBlock *rom = ram_add(&s.b->ram, "rom", 4096, &err);
    bus_claim_ram(s.b->memory, 0x2000000, 4096, &(RamView){true, false, rom->at, rom->at}, "rom");
    *ram_at(&s.b->ram, rom->at) = 0x5a;
    mem_flush(s.cpu, true);
    uint32_t value = 0;
    uint8_t byte = 0;
    assert_true(mem_read32(s.cpu, DS, 0x1000010, &value));
    assert_int_equal(value, 0xb3b2b1b0);
    assert_true(mem_write8(s.cpu, DS, 0x1000020, 0x99));
    assert_int_equal(last, 0x20 << 16 | 1 << 8 | 0x99);
    assert_true(mem_write8(s.cpu, DS, 0x2000000, 1));
    assert_true(mem_read8(s.cpu, DS, 0x2000000, &byte));
    assert_int_equal(byte, 0x5a);
    assert_true(mem_read32(s.cpu, DS, 0x3000000, &value));
    assert_int_equal(value, 0xffffffff);
    sys_close(&s);
}

static void a20_gate_wraps_the_second_megabyte(void **state)
{
    (void)state;
    Sys s;
    sys_open(&s, CPU_PENTIUM3);
    seg_load_real(s.cpu, DS, 0xffff);
    s.ram[0x500] = 0x11;
    s.ram[0x100500] = 0x22;
    uint8_t value = 0;
    assert_true(mem_read8(s.cpu, DS, 0x510, &value));
    assert_int_equal(value, 0x22);
    cpu_a20m(s.cpu, 0, false);
    assert_true(mem_read8(s.cpu, DS, 0x510, &value));
    assert_int_equal(value, 0x11);
    cpu_a20m(s.cpu, 0, true);
    assert_true(mem_read8(s.cpu, DS, 0x510, &value));
    assert_int_equal(value, 0x22);
    sys_close(&s);
}

static void alignment_check_at_level_3_only(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_PENTIUM3, false);
    cr_write(s.cpu, 0, s.cpu->cr0 | CR0_AM);
    s.cpu->eflags |= FL_AC;
    assert_true(read_at(&s, PAGE + 1));
    sys_user(&s);
    s.cpu->eflags |= FL_AC;
    assert_true(read_at(&s, PAGE + 4));
    assert_refused(&s, read_at(&s, PAGE + 2), VEC_AC, 0);
    assert_refused(&s, mem_write16(s.cpu, DS, PAGE + 1, 0), VEC_AC, 0);
    assert_true(mem_write8(s.cpu, DS, PAGE + 1, 0));
    sys_set_pte(&s, PAGE + 0x1000, 0);
    assert_refused(&s, read_at(&s, PAGE + 0x1002), VEC_PF, 4); /* #PF goes first */
    s.cpu->eflags &= ~(uint32_t)FL_AC;
    assert_true(read_at(&s, PAGE + 2));
    sys_close(&s);
}

static void system_accesses_are_supervisor_accesses(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_PENTIUM3, true);
    sys_set_pte(&s, PAGE, PAGE | P | RW);
    uint32_t value;
    assert_refused(&s, read_at(&s, PAGE), VEC_PF, 5);
    assert_true(mem_system_read32(s.cpu, PAGE, &value));
    assert_refused(&s, read_at(&s, PAGE), VEC_PF, 5);
    sys_set_pte(&s, PAGE + 0x1000, 0);
    assert_refused(&s, mem_system_write16(s.cpu, PAGE + 0x1000, 1), VEC_PF, 2);
    sys_close(&s);
}

static void runs_end_at_page_and_limit(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_PENTIUM3, false);
    sys_desc(&s, SYS_FREE, PAGE + 0x10, 0x7f, D_DATA);
    assert_int_equal(seg_load(s.cpu, ES, SYS_FREE), X_NEXT);
    MemRun run;
    assert_false(mem_run(s.cpu, ES, 0x20, true, &run)); /* not in the TLB yet */
    assert_true(mem_write8(s.cpu, ES, 0x20, 1));
    assert_true(mem_run(s.cpu, ES, 0x20, true, &run));
    assert_ptr_equal(run.host, s.ram + PAGE + 0x30);
    assert_int_equal(run.above, 0x60);
    assert_int_equal(run.below, 0x20);
    assert_false(mem_run(s.cpu, ES, 0x80, true, &run));
    assert_true(read_at(&s, PAGE + 0xff0));
    assert_true(mem_run(s.cpu, DS, PAGE + 0xff0, false, &run));
    assert_int_equal(run.above, 0x10);
    assert_int_equal(run.below, 0xff0);
    sys_close(&s);
}

static void code_is_fetched_page_by_page(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_PENTIUM3, true);
    uint8_t bytes[15];
    unsigned count = 0;
    uint64_t at = 0;
    sys_set_pte(&s, PAGE + 0x1000, 0);
    assert_true(mem_fetch(s.cpu, PAGE + 0xffa, bytes, 15, &count));
    assert_int_equal(count, 6);
    assert_refused(&s, mem_fetch(s.cpu, PAGE + 0x1000, bytes, 9, &count), VEC_PF, 4);
    assert_true(mem_code_page(s.cpu, PAGE + 0x123, &at));
    assert_ptr_equal(s.b->ram.host + at, s.ram + PAGE + 0x123);
    assert_false(mem_code_page(s.cpu, PAGE + 0x1123, &at));
    s.cpu->seg[CS].limit = 0xfffff;
    assert_int_equal(mem_code_room(s.cpu, 0xffffe, 15), 2);
    assert_int_equal(mem_code_room(s.cpu, 0x100000, 15), 0);
    assert_int_equal(mem_code_room(s.cpu, 0, 15), 15);
    sys_close(&s);
}

/* Found by KolibriOS: the mark of an empty entry must not look like a misaligned address. */
static void misaligned_reads_of_page_0_miss_an_empty_tlb(void **state)
{
    (void)state;
    Sys s;
    sys_open(&s, CPU_PENTIUM3);
    sys_protected(&s);
    sys_set_dword(&s, 0x354, 0x44332211);
    sys_set_dword(&s, 0x358, 0x88776655);
    for (unsigned i = 0; i < 8; i++) {
        uint32_t value = 0;
        uint64_t wide = 0;
        mem_flush(s.cpu, true);
        assert_null(mem_fast_read(s.cpu, DS, 0x350 + i, 8));
        assert_null(mem_fast_write(s.cpu, DS, 0x350 + i, 4));
        assert_true(mem_read32(s.cpu, DS, 0x355, &value));
        assert_int_equal(value, 0x55443322);
        mem_flush(s.cpu, true);
        assert_true(mem_read64(s.cpu, DS, 0x351 + i, &wide));
        mem_flush(s.cpu, true);
        assert_true(mem_write16(s.cpu, DS, 0x401 + i, 1));
    }
    sys_close(&s);
}

static void data_breakpoints_are_noticed_after_the_access(void **state)
{
    (void)state;
    Sys s;
    open_paged(&s, CPU_PENTIUM3, false);
    assert_true(mem_write32(s.cpu, DS, PAGE, 0));
    assert_int_equal(dr_write(s.cpu, 0, PAGE + 4), X_NEXT);
    assert_int_equal(dr_write(s.cpu, 1, PAGE + 0x100), X_NEXT);
    /* 0: writes, 4 bytes, local; 1: reads and writes, 1 byte, global */
    assert_int_equal(dr_write(s.cpu, 7, 0x1 | 0x8 | 0xd << 16 | 0x3 << 20), X_NEXT);
    assert_true(read_at(&s, PAGE + 4));
    assert_true(mem_write8(s.cpu, DS, PAGE + 3, 1));
    assert_true(mem_write8(s.cpu, DS, PAGE + 8, 1));
    assert_int_equal(s.cpu->pending_dr6, 0);
    assert_true(mem_write16(s.cpu, DS, PAGE + 7, 1));
    assert_int_equal(s.cpu->pending_dr6, 1);
    assert_true(read_at(&s, PAGE + 0xfe));
    assert_int_equal(s.cpu->pending_dr6, 3);
    s.cpu->pending_dr6 = 0;
    assert_int_equal(dr_write(s.cpu, 7, 0), X_NEXT);
    assert_true(mem_write32(s.cpu, DS, PAGE + 4, 1));
    assert_int_equal(s.cpu->pending_dr6, 0);
    sys_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accessed_and_dirty_are_set_as_used),
        cmocka_unit_test(a_fault_sets_no_bits),
        cmocka_unit_test(rights_follow_user_writable_and_wp),
        cmocka_unit_test(a_386_has_no_write_protect),
        cmocka_unit_test(an_entry_not_in_the_tlb_is_read_fresh),
        cmocka_unit_test(invlpg_and_cr3_forget_but_globals_stay),
        cmocka_unit_test(large_pages_and_invlpg_of_their_pieces),
        cmocka_unit_test(pae_walks_three_levels_with_reserved_bits),
        cmocka_unit_test(both_pages_are_checked_before_either_is_written),
        cmocka_unit_test(read_modify_write_faults_as_a_write),
        cmocka_unit_test(flagged_pages_are_written_with_notice),
        cmocka_unit_test(devices_rom_and_nobody),
        cmocka_unit_test(a20_gate_wraps_the_second_megabyte),
        cmocka_unit_test(alignment_check_at_level_3_only),
        cmocka_unit_test(system_accesses_are_supervisor_accesses),
        cmocka_unit_test(runs_end_at_page_and_limit),
        cmocka_unit_test(code_is_fetched_page_by_page),
        cmocka_unit_test(misaligned_reads_of_page_0_miss_an_empty_tlb),
        cmocka_unit_test(data_breakpoints_are_noticed_after_the_access),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
