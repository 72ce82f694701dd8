/* Sound Blaster: identification, models, mixer, lines, MIDI, undocumented commands. */
#include "tests/unit/sb16_rig.h"

static void reset_says_aa_and_versions_are_right(void **state)
{
    (void)state;
    static const uint8_t major[4] = {1, 2, 3, 4}, minor[4] = {5, 1, 2, 5};
    for (unsigned model = 0; model < 4; model++) {
        Fixture f;
        fixture(&f, (SbModel)model);
        chip_out(f.b, 0x226, 1);
        clock_step(&f.b->clock, 3000);
        chip_out(f.b, 0x226, 0);
        clock_step(&f.b->clock, 100000);
        assert_int_equal(dsp_read(&f), 0xaa);
        assert_int_equal(dsp_read(&f), -1);
        DSP(&f, "\xe1");
        assert_int_equal(dsp_read(&f), major[model]);
        assert_int_equal(dsp_read(&f), minor[model]);
        DSP(&f, "\xe0\x55");
        assert_int_equal(dsp_read(&f), 0xaa);
        DSP(&f, "\xe4\x3c\xe8");
        assert_int_equal(dsp_read(&f), 0x3c);
        DSP(&f, "\xd8");
        assert_int_equal(dsp_read(&f), 0x00);
        DSP(&f, "\xd1\xd8");
        assert_int_equal(dsp_read(&f), 0xff);
        done(&f);
    }
}

static void the_dsp_is_busy_after_a_write(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    assert_int_equal(chip_in(f.b, 0x22c), 0x7f);
    chip_out(f.b, 0x22c, 0xd1);
    assert_int_equal(chip_in(f.b, 0x22c), 0xff);
    assert_int_equal(chip_in(f.b, 0x22c), 0x7f);
    done(&f);
}

static void copyright_and_dma_identification(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    DSP(&f, "\xe3");
    char text[64] = "";
    for (unsigned i = 0; i < sizeof(text) - 1; i++) {
        int c = dsp_read(&f);
        if (c < 0) {
            break;
        }
        text[i] = (char)c;
    }
    assert_string_equal(text, "COPYRIGHT (C) CREATIVE TECHNOLOGY LTD, 1992.");
    /* the DSP adds argument XOR 96h, A5h, 69h, 5Ah in turn to AAh */
    program(f.b, 1, 0x44, 0x5000, 3);
    DSP(&f, "\xe2\x00\xe2\xff\xe2\x12");
    assert_int_equal(f.ram[0x5000], 0x40);
    assert_int_equal(f.ram[0x5001], 0x9a);
    assert_int_equal(f.ram[0x5002], 0x15);
    done(&f);
}

static void mixers(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    mixer(&f, 0x00, 0);
    assert_int_equal(mixer_value(&f, 0x30), 0xc0);
    assert_int_equal(mixer_value(&f, 0x22), 0xcc);
    uint32_t usual = f.fm[0];
    mixer(&f, 0x22, 0xf0); /* master: left up, right down */
    assert_int_equal(mixer_value(&f, 0x30), 0xf8);
    assert_int_equal(mixer_value(&f, 0x31), 0x08);
    assert_true(f.fm[0] > usual && f.fm[1] < usual);
    usual = f.cd[0]; /* the CD has its volumes and switches too */
    mixer(&f, 0x36, 0x80);
    assert_true(f.cd[0] < usual / 2 && f.cd[0] > 0);
    mixer(&f, 0x36, 0xf8);
    mixer(&f, 0x3c, 0x1b);
    assert_int_equal(f.cd[0], 0);
    assert_int_not_equal(f.cd[1], 0);
    mixer(&f, 0x34, 0x00);
    assert_true(f.fm[0] < usual / 10);
    assert_int_equal(mixer_value(&f, 0x80), 0x02);
    assert_int_equal(mixer_value(&f, 0x81), 0x22);
    done(&f);
    fixture(&f, SB_PRO);
    mixer(&f, 0x00, 0);
    assert_int_equal(mixer_value(&f, 0x22), 0x99);
    mixer(&f, 0x22, 0x00);
    assert_int_equal(mixer_value(&f, 0x22), 0x11);
    done(&f);
    fixture(&f, SB_2);
    mixer(&f, 0x22, 0x33);
    assert_int_equal(mixer_value(&f, 0x22), 0xff);
    done(&f);
}

static void lines_can_be_chosen(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    DSP(&f, "\xf2");
    assert_true(f.irq[1].level);
    mixer(&f, 0x80, 0x08); /* IRQ 10, with the interrupt pending */
    assert_false(f.irq[1].level);
    assert_true(f.irq[3].level);
    assert_int_equal(mixer_value(&f, 0x82) & 7, 1);
    chip_in(f.b, 0x22e);
    DSP(&f, "\xf3");
    assert_int_equal(mixer_value(&f, 0x82) & 7, 2);
    chip_in(f.b, 0x22f);
    assert_false(f.irq[3].level);
    Line mpu = sb16_mpu_irq(f.sb);
    line_set(&mpu, true);
    assert_int_equal(mixer_value(&f, 0x82) & 7, 4);
    chip_in(f.b, 0x22e);
    chip_in(f.b, 0x22f);
    assert_true(f.irq[3].level);
    line_set(&mpu, false);
    assert_false(f.irq[3].level);
    mixer(&f, 0x81, 0x08 | 0x80); /* DMA 3 and 7 */
    sine8(f.ram + 0x10000, 800, 10);
    program(f.b, 3, SINGLE, 0x10000, 800);
    DSP(&f, "\x40\x83\x14\x1f\x03");
    clock_step(&f.b->clock, 105 * MS);
    assert_int_equal(f.ear.frames, 800);
    assert_true(f.irq[3].level);
    chip_in(f.b, 0x22e);
    program(f.b, 7, SINGLE, 0x20000, 800);
    DSP(&f, "\xb0\x10\x1f\x03");
    clock_step(&f.b->clock, 105 * MS);
    assert_int_equal(mixer_value(&f, 0x82) & 7, 2);
    done(&f);
}

static void midi_goes_to_the_cable(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    DSP(&f, "\x38\x90\x38\x3c\x38\x40");
    DSP(&f, "\x35\x80\x3c\x40");
    assert_int_equal(f.midi_size, 6);
    assert_memory_equal(f.midi, "\x90\x3c\x40\x80\x3c\x40", 6);
    chip_out(f.b, 0x226, 1);
    chip_out(f.b, 0x226, 0);
    DSP(&f, "\xe1");
    assert_int_equal(dsp_read(&f), 4);
    done(&f);
}

static void played(Fixture *f, const char *bytes, size_t size)
{
    size_t room = f->keyboard.room(f->keyboard.self);
    f->keyboard.receive(f->keyboard.self, (const uint8_t *)bytes, size < room ? size : room);
}

static void midi_comes_in_by_polling_and_by_interrupt(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    played(&f, "\x90", 1); /* nobody asked */
    assert_int_equal(dsp_read(&f), -1);
    DSP(&f, "\x30");
    played(&f, "\x90\x3c", 2);
    assert_int_equal(dsp_read(&f), 0x90);
    assert_int_equal(dsp_read(&f), 0x3c);
    assert_int_equal(f.irq[1].rises, 0);
    DSP(&f, "\x31");
    played(&f, "\x40\x41", 2);
    for (unsigned i = 0; i < 2; i++) { /* one interrupt for each */
        assert_true(f.irq[1].level);
        assert_int_equal(dsp_read(&f), 0x40 + i);
    }
    assert_false(f.irq[1].level);
    DSP(&f, "\x31"); /* once more ends it */
    played(&f, "\x42", 1);
    assert_false(f.irq[1].level);
    assert_int_equal(dsp_read(&f), -1);
    done(&f);
}

static void midi_in_uart_mode_is_stamped(void **state)
{
    (void)state;
    Fixture f, other;
    fixture(&f, SB_16);
    fixture(&other, SB_16);
    DSP(&f, "\x37");
    clock_step(&f.b->clock, 0x12345 * MS);
    played(&f, "\x90\x3c", 2);
    assert_true(f.irq[1].level);
    chip_state_round_trip(f.b, other.b);
    static const uint8_t told[8] = {0x45, 0x23, 0x01, 0x90, 0x45, 0x23, 0x01, 0x3c};
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(dsp_read(&f), told[i]);
        assert_int_equal(dsp_read(&other), told[i]);
        assert_int_equal(f.irq[1].rises, i < 3 ? 1 : 2);
    }
    assert_int_equal(f.keyboard.room(f.keyboard.self), 16);
    unsigned readies = f.readies;
    played(&f, "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11", 17);
    assert_int_equal(f.keyboard.room(f.keyboard.self), 0);
    for (unsigned i = 0; i < 4; i++) {
        dsp_read(&f);
    }
    assert_int_equal(f.readies, readies + 1);
    DSP(&f, "\x90\x40"); /* out, as ever in this mode */
    assert_memory_equal(f.midi, "\x90\x40", 2);
    chip_out(f.b, 0x226, 1);
    chip_out(f.b, 0x226, 0);
    played(&f, "\x90", 1);
    assert_int_equal(dsp_read(&f), -1);
    done(&other);
    done(&f);
    fixture(&f, SB_1); /* no UART and no stamps yet, but plain input */
    DSP(&f, "\x37\x31");
    played(&f, "\x90", 1);
    assert_int_equal(dsp_read(&f), 0x90);
    assert_int_equal(f.midi_size, 0);
    done(&f);
}

static void undocumented_commands_take_and_give_their_bytes(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f, SB_16);
    DSP(&f, "\xf9\x0e\xf9\x37\xf9\x20"); /* memory of the DSP's processor */
    assert_int_equal(dsp_read(&f), 0xff);
    assert_int_equal(dsp_read(&f), 0x38);
    assert_int_equal(dsp_read(&f), 0x00);
    DSP(&f, "\xfa\x20\xe1\xf9\x20");
    assert_int_equal(dsp_read(&f), 0xe1);
    DSP(&f, "\x08\xe1"); /* CSP: E1h is no command here */
    assert_int_equal(dsp_read(&f), 0xff);
    assert_int_equal(dsp_read(&f), -1);
    done(&f);
    fixture(&f, SB_PRO);
    DSP(&f, "\x04");
    assert_int_equal(dsp_read(&f), 0x7b);
    done(&f);
    fixture(&f, SB_2);
    DSP(&f, "\x04");
    assert_int_equal(dsp_read(&f), 0x88);
    done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_says_aa_and_versions_are_right),
        cmocka_unit_test(the_dsp_is_busy_after_a_write),
        cmocka_unit_test(copyright_and_dma_identification),
        cmocka_unit_test(mixers),
        cmocka_unit_test(lines_can_be_chosen),
        cmocka_unit_test(midi_goes_to_the_cable),
        cmocka_unit_test(midi_comes_in_by_polling_and_by_interrupt),
        cmocka_unit_test(midi_in_uart_mode_is_stamped),
        cmocka_unit_test(undocumented_commands_take_and_give_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
