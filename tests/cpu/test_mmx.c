/* MMX: every row against the host, the aliasing with the x87 registers, and the checks on entry. */
#include "tests/cpu/vector_judge.h"

#include <string.h>

enum { CASES_PER_ROW = 600 };

static Outcome run(Rig *rig, const char *id, uint8_t modrm)
{
    return rig_run(rig, rig_row(id), modrm, 0);
}

static void every_row_agrees_with_the_host(void **state)
{
    (void)state;
    Rig rig;
    uint64_t seed = 64;
    rig_open(&rig, CPU_PENTIUM4);
    for (unsigned i = 0; i < rig_row_count; i++) {
        if (rig_rows[i].traits & T_MMX) {
            vector_judge_row(&rig, &rig_rows[i], CASES_PER_ROW, &seed);
        }
    }
    rig_close(&rig);
}

static void registers_alias_the_x87_stack(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, CPU_PENTIUM_MMX);
    Fpu *f = &rig.cpu->fpu;
    f->status = 5 << FSW_TOP_SHIFT;
    rig.cpu->reg[EAX] = 0x12345678;
    assert_int_equal(run(&rig, "MOVD_Pq_Ed", 0xd8), X_NEXT); /* MM3 */
    assert_int_equal(f->status & FSW_TOP, 0);
    assert_int_equal(f->valid, 0xff);
    assert_int_equal(f->st[3].sign_exponent, 0xffff);
    assert_true(f->st[3].mantissa == 0x12345678);
    assert_int_equal(run(&rig, "EMMS", 0), X_NEXT);
    assert_int_equal(f->valid, 0);
    rig_close(&rig);
}

static void entry_checks_come_in_order(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, CPU_PENTIUM_MMX);
    static const char *const rows[] = {"PADDB_Pq_Qq", "MOVQ_Qq_Pq",      "EMMS",
                                       "PSLLW_Nq_Ib", "PUNPCKLBW_Pq_Qd", "MOVD_Ed_Pq"};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        Fpu *f = &rig.cpu->fpu;
        f->control = FCW_INIT & ~FSW_ZE;
        f->status = FSW_ZE | FSW_ES | FSW_B;
        rig.cpu->cr0 = CR0_PE | CR0_NE | CR0_EM | CR0_TS;
        assert_int_equal(run(&rig, rows[i], 0xc1), X_FAULT);
        assert_int_equal(rig.cpu->fault.vector, VEC_UD);
        rig.cpu->cr0 = CR0_PE | CR0_NE | CR0_TS;
        assert_int_equal(run(&rig, rows[i], 0xc1), X_FAULT);
        assert_int_equal(rig.cpu->fault.vector, VEC_NM);
        rig.cpu->cr0 = CR0_PE | CR0_NE;
        assert_int_equal(run(&rig, rows[i], 0xc1), X_FAULT);
        assert_int_equal(rig.cpu->fault.vector, VEC_MF);
        f->status = 0;
        assert_int_equal(run(&rig, rows[i], 0xc1), X_NEXT);
    }
    rig_close(&rig);
}

static void a_fault_in_memory_leaves_the_stack_alone(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, CPU_PENTIUM3);
    static const char *const rows[] = {"PADDB_Pq_Qq", "MOVQ_Pq_Qq",      "MOVQ_Qq_Pq", "MOVD_Ed_Pq",
                                       "MOVD_Pq_Ed",  "PUNPCKLBW_Pq_Qd", "PSHUFW"};
    rig.cpu->seg[DS].limit = RIG_DATA + 2;
    rig.cpu->fpu.status = 3 << FSW_TOP_SHIFT;
    rig.cpu->fpu.valid = 0x18;
    Fpu before = rig.cpu->fpu;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(run(&rig, rows[i], 0x08), X_FAULT);
        assert_int_equal(rig.cpu->fault.vector, VEC_GP);
        assert_memory_equal(&rig.cpu->fpu, &before, sizeof before);
    }
    rig_close(&rig);
}

static void masked_store_checks_before_it_writes(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, CPU_PENTIUM3);
    Fpu *f = &rig.cpu->fpu;
    f->st[0].mantissa = 0x1122334455667788; /* data */
    f->st[1].mantissa = 0x8000000000000080; /* first and last byte */
    rig.cpu->reg[EDI] = RIG_DATA;
    memset(rig.ram + RIG_DATA, 0xcc, 8);
    assert_int_equal(run(&rig, "MASKMOVQ", 0xc1), X_NEXT);
    assert_memory_equal(rig.ram + RIG_DATA, "\x88\xcc\xcc\xcc\xcc\xcc\xcc\x11", 8);
    memset(rig.ram + RIG_DATA, 0xcc, 8);
    rig.cpu->seg[DS].limit = RIG_DATA + 6;
    assert_int_equal(run(&rig, "MASKMOVQ", 0xc1), X_FAULT);
    assert_memory_equal(rig.ram + RIG_DATA, "\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc", 8);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_agrees_with_the_host),
        cmocka_unit_test(registers_alias_the_x87_stack),
        cmocka_unit_test(entry_checks_come_in_order),
        cmocka_unit_test(a_fault_in_memory_leaves_the_stack_alone),
        cmocka_unit_test(masked_store_checks_before_it_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
