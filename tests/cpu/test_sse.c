/* SSE and SSE2: every row against the host, exceptions masked and unmasked, the checks on entry,
 * alignment, FXSAVE and MXCSR. */
#include "tests/cpu/vector_judge.h"

#include <string.h>

enum { CASES_PER_ROW = 600 };

static Outcome run(Rig *rig, const char *id, uint8_t modrm)
{
    return rig_run(rig, rig_row(id), modrm, 0);
}

static bool is_state(const OpRow *row)
{
    return row->opcode == 0xae;
}

static void every_row_agrees_with_the_host(void **state)
{
    (void)state;
    Rig rig;
    uint64_t seed = 128;
    rig_open(&rig, CPU_PENTIUM4);
    for (unsigned i = 0; i < rig_row_count; i++) {
        if ((rig_rows[i].traits & (T_SSE | T_MMX)) == T_SSE && !is_state(&rig_rows[i])) {
            vector_judge_row(&rig, &rig_rows[i], CASES_PER_ROW, &seed);
        }
    }
    rig_close(&rig);
}

static void entry_checks_come_in_order(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, CPU_PENTIUM4);
    for (unsigned i = 0; i < rig_row_count; i++) {
        const OpRow *row = &rig_rows[i];
        uint8_t modrm = row->form == FORM_MEM ? (uint8_t)((row->digit & 7) << 3) : 0xc1;
        if (!(row->traits & T_SSE) || !strncmp(row->id, "FX", 2)) {
            continue;
        }
        rig.cpu->cr0 = CR0_PE | CR0_NE | CR0_EM | CR0_TS;
        assert_int_equal(rig_run(&rig, row, modrm, 0), X_FAULT);
        assert_int_equal(rig.cpu->fault.vector, VEC_UD);
        rig.cpu->cr0 = CR0_PE | CR0_NE | CR0_TS;
        assert_int_equal(rig_run(&rig, row, modrm, 0), X_FAULT);
        assert_int_equal(rig.cpu->fault.vector, VEC_NM);
        rig.cpu->cr4 = 0;
        assert_int_equal(rig_run(&rig, row, modrm, 0), X_FAULT);
        assert_int_equal(rig.cpu->fault.vector, VEC_UD);
        rig.cpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
    }
    rig_close(&rig);
}

static void unaligned_operands_fault(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, CPU_PENTIUM4);
    /* The linear address counts. */
    rig.cpu->seg[DS].base = 8;
    Fpu before = rig.cpu->fpu;
    static const char *const aligned[] = {"ADDPS_Vps_Wps", "MOVAPS_Vps_Wps", "MOVAPS_Wps_Vps",
                                          "MOVNTDQ",       "PADDB_Vdq_Wdq",  "ANDPS",
                                          "CVTPD2PI",      "PSHUFD",         "FXSAVE",
                                          "FXRSTOR",       "CMPPD",          "UNPCKLPS"};
    for (unsigned i = 0; i < sizeof aligned / sizeof *aligned; i++) {
        assert_int_equal(run(&rig, aligned[i], 0x00), X_FAULT);
        assert_int_equal(rig.cpu->fault.vector, VEC_GP);
        assert_true(rig.cpu->fault.has_error_code);
        assert_int_equal(rig.cpu->fault.error_code, 0);
        assert_memory_equal(&rig.cpu->fpu, &before, sizeof before);
    }
    static const char *const any[] = {"MOVUPS_Vps_Wps", "MOVUPS_Wps_Vps",  "MOVDQU_Vdq_Wdq",
                                      "ADDSS_Vss_Wss",  "CVTPS2PD_Vpd_Wq", "MOVHPS_Vq_Mq"};
    for (unsigned i = 0; i < sizeof any / sizeof *any; i++) {
        assert_int_equal(run(&rig, any[i], 0x00), X_NEXT);
    }
    rig_close(&rig);
}

static void alignment_check_applies_where_unaligned_is_allowed(void **state)
{
    (void)state;
    static const char *const rows[] = {"MOVUPS_Vps_Wps", "MOVUPS_Wps_Vps", "MOVDQU_Vdq_Wdq"};
    Rig rig;
    rig_open(&rig, CPU_PENTIUM4);
    rig.cpu->cpl = 3;
    rig.cpu->cr0 |= CR0_AM;
    rig.cpu->seg[DS].base = 8;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig.cpu->eflags &= ~(uint32_t)FL_AC;
        assert_int_equal(run(&rig, rows[i], 0x00), X_NEXT);
        rig.cpu->eflags |= FL_AC;
        assert_int_equal(run(&rig, rows[i], 0x00), X_FAULT);
        assert_int_equal(rig.cpu->fault.vector, VEC_AC);
    }
    assert_int_equal(run(&rig, "FXSAVE", 0x00), X_FAULT);
    assert_int_equal(rig.cpu->fault.vector, VEC_GP);
    rig.cpu->seg[DS].base = 2;
    assert_int_equal(run(&rig, "FXSAVE", 0x00), X_FAULT);
    assert_int_equal(rig.cpu->fault.vector, VEC_AC);
    rig_close(&rig);
}

static void state_image_is_512_bytes(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, CPU_PENTIUM4);
    memset(rig.ram + RIG_DATA, 0xcc, 512);
    rig.cpu->seg[DS].limit = RIG_DATA + 510;
    assert_int_equal(run(&rig, "FXSAVE", 0x00), X_FAULT);
    assert_int_equal(rig.ram[RIG_DATA], 0xcc);
    assert_int_equal(run(&rig, "FXRSTOR", 0x08), X_FAULT);
    assert_int_equal(rig.cpu->fault.vector, VEC_GP);
    rig.cpu->seg[DS].limit++;
    assert_int_equal(run(&rig, "FXSAVE", 0x00), X_NEXT);
    rig_close(&rig);
}

static void without_osxmmexcpt_an_unmasked_exception_is_ud(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, CPU_PENTIUM3);
    Fpu *f = &rig.cpu->fpu;
    f->mxcsr = 0x1f80 & ~(FSW_ZE << MXCSR_MASKS_SHIFT);
    f->xmm[0] = (Xmm){{0x3f800000, 5}};
    f->xmm[1] = (Xmm){{0, 0}};
    assert_int_equal(run(&rig, "DIVSS_Vss_Wss", 0xc1), X_FAULT);
    assert_int_equal(rig.cpu->fault.vector, VEC_XM);
    assert_int_equal(f->mxcsr & MXCSR_FLAGS, FSW_ZE);
    assert_true(f->xmm[0].q[0] == 0x3f800000);
    f->mxcsr &= ~(uint32_t)MXCSR_FLAGS;
    rig.cpu->cr4 = CR4_OSFXSR;
    assert_int_equal(run(&rig, "DIVSS_Vss_Wss", 0xc1), X_FAULT);
    assert_int_equal(rig.cpu->fault.vector, VEC_UD);
    rig_close(&rig);
}

static void mxcsr_reserved_bits_fault(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, CPU_PENTIUM3);
    memcpy(rig.ram + RIG_DATA, "\xc0\x1f\0\0", 4); /* DAZ, which a Pentium III has not */
    assert_int_equal(run(&rig, "LDMXCSR", 0x10), X_FAULT);
    assert_int_equal(rig.cpu->fault.vector, VEC_GP);
    assert_int_equal(rig.cpu->fpu.mxcsr, 0x1f80);
    memcpy(rig.ram + RIG_DATA, "\xbf\xff\0\0", 4);
    assert_int_equal(run(&rig, "LDMXCSR", 0x10), X_NEXT);
    assert_int_equal(run(&rig, "STMXCSR", 0x18), X_NEXT);
    assert_memory_equal(rig.ram + RIG_DATA, "\xbf\xff\0\0", 4);
    rig_close(&rig);
    rig_open(&rig, CPU_PENTIUM4);
    memcpy(rig.ram + RIG_DATA, "\xff\xff\0\0", 4);
    assert_int_equal(run(&rig, "LDMXCSR", 0x10), X_NEXT);
    memcpy(rig.ram + RIG_DATA, "\x80\x1f\1\0", 4);
    assert_int_equal(run(&rig, "LDMXCSR", 0x10), X_FAULT);
    rig_close(&rig);
}

static void fill(Rig *rig, uint64_t *seed)
{
    Fpu *f = &rig->cpu->fpu;
    f->control = 0x27f;
    f->status = 3 << FSW_TOP_SHIFT | FSW_C0 | FSW_PE;
    f->valid = 0x38;
    f->opcode = 0x123;
    f->ip = 0x11223344;
    f->ip_selector = 0x5566;
    f->data = 0x778899aa;
    f->data_selector = 0xbbcc;
    f->mxcsr = 0x7fa1;
    for (unsigned i = 0; i < 8; i++) {
        f->st[i] = (Float80){rig_random(seed), (uint16_t)rig_random(seed)};
        f->xmm[i] = (Xmm){{rig_random(seed), rig_random(seed)}};
    }
}

static bool same(const Fpu *a, const Fpu *b)
{
    bool equal = a->control == b->control && a->status == b->status && a->valid == b->valid &&
                 a->opcode == b->opcode && a->ip == b->ip && a->data == b->data &&
                 a->ip_selector == b->ip_selector && a->data_selector == b->data_selector &&
                 a->mxcsr == b->mxcsr && !memcmp(a->xmm, b->xmm, sizeof a->xmm);
    for (unsigned i = 0; i < 8; i++) {
        equal = equal && a->st[i].mantissa == b->st[i].mantissa &&
                a->st[i].sign_exponent == b->st[i].sign_exponent;
    }
    return equal;
}

static void fxsave_and_fxrstor_are_inverse(void **state)
{
    (void)state;
    Rig rig;
    uint64_t seed = 3;
    rig_open(&rig, CPU_PENTIUM3);
    const uint8_t *image = rig.ram + RIG_DATA;
    fill(&rig, &seed);
    Fpu before = rig.cpu->fpu;
    memset(rig.ram + RIG_DATA, 0xcc, 512);
    assert_int_equal(run(&rig, "FXSAVE", 0x00), X_NEXT);
    assert_memory_equal(image, "\x7f\x02\x20\x19\x38\x00\x23\x01\x44\x33\x22\x11\x66\x55", 14);
    assert_memory_equal(image + 24, "\xa1\x7f\0\0\xbf\xff\0\0", 8);
    /* ST(0) is physical register 3. */
    assert_memory_equal(image + 32, &before.st[3].mantissa, 8);
    assert_memory_equal(image + 160, before.xmm, sizeof before.xmm);
    assert_int_equal(image[288], 0xcc);
    assert_int_equal(image[511], 0xcc);
    assert_true(same(&rig.cpu->fpu, &before));
    memset(&rig.cpu->fpu, 0, sizeof before);
    assert_int_equal(run(&rig, "FXRSTOR", 0x08), X_NEXT);
    assert_true(same(&rig.cpu->fpu, &before));
    /* A bad MXCSR loads nothing. */
    rig.ram[RIG_DATA + 24] = 0x40;
    fill(&rig, &seed);
    before = rig.cpu->fpu;
    assert_int_equal(run(&rig, "FXRSTOR", 0x08), X_FAULT);
    assert_int_equal(rig.cpu->fault.vector, VEC_GP);
    assert_true(same(&rig.cpu->fpu, &before));
    /* Without OSFXSR the XMM part is not looked at. */
    rig.cpu->cr4 = 0;
    memset(rig.ram + RIG_DATA, 0xcc, 512);
    assert_int_equal(run(&rig, "FXSAVE", 0x00), X_NEXT);
    assert_int_equal(image[160], 0xcc);
    rig_close(&rig);
}

static void fxrstor_makes_an_exception_pending(void **state)
{
    (void)state;
    Rig rig;
    rig_open(&rig, CPU_PENTIUM3);
    assert_int_equal(run(&rig, "FXSAVE", 0x00), X_NEXT);
    rig.ram[RIG_DATA] = 0x7b;     /* zero divide unmasked */
    rig.ram[RIG_DATA + 2] = 0x04; /* and set */
    assert_int_equal(run(&rig, "FXRSTOR", 0x08), X_NEXT);
    assert_int_equal(rig.cpu->fpu.status & (FSW_ES | FSW_B), FSW_ES | FSW_B);
    /* Neither waits. */
    assert_int_equal(run(&rig, "FXSAVE", 0x00), X_NEXT);
    rig.ram[RIG_DATA + 2] = 0;
    assert_int_equal(run(&rig, "FXRSTOR", 0x08), X_NEXT);
    assert_int_equal(rig.cpu->fpu.status & FSW_ES, 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_agrees_with_the_host),
        cmocka_unit_test(entry_checks_come_in_order),
        cmocka_unit_test(unaligned_operands_fault),
        cmocka_unit_test(alignment_check_applies_where_unaligned_is_allowed),
        cmocka_unit_test(state_image_is_512_bytes),
        cmocka_unit_test(without_osxmmexcpt_an_unmasked_exception_is_ud),
        cmocka_unit_test(mxcsr_reserved_bits_fault),
        cmocka_unit_test(fxsave_and_fxrstor_are_inverse),
        cmocka_unit_test(fxrstor_makes_an_exception_pending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
