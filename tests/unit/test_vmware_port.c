/* VMware backdoor: magic, version, time, absolute pointer, absent commands, state. */
#include "chipset/cards/vmware_port.h"

#include "tests/unit/input_rig.h"

#define MAGIC 0x564d5868u

typedef struct Fixture {
    Board *b;
    VmwarePort *v;
    VmwareRegisters r;
    unsigned nudges;
} Fixture;

static void load(void *cpu, VmwareRegisters *r)
{
    *r = ((Fixture *)cpu)->r;
}

static void store(void *cpu, const VmwareRegisters *r)
{
    ((Fixture *)cpu)->r = *r;
}

static VmwareTime time_of(void *self)
{
    (void)self;
    return (VmwareTime){981173106123456, -300};
}

static void nudge(void *mouse)
{
    ((Fixture *)mouse)->nudges++;
}

static void fixture(Fixture *f)
{
    *f = (Fixture){.b = chip_board()};
    f->v = vmware_port_new(f->b,
                           &(VmwarePortConfig){.load = load,
                                               .store = store,
                                               .cpu = f,
                                               .time = time_of,
                                               .ram_mib = 64,
                                               .nudge = nudge,
                                               .mouse = f},
                           "vmware");
    board_reset(f->b, RESET_POWER);
}

static uint32_t command(Fixture *f, uint32_t number, uint32_t argument)
{
    f->r = (VmwareRegisters){.eax = MAGIC, .ebx = argument, .ecx = number, .edx = 0x5658};
    f->r.eax = (uint32_t)bus_read(f->b->ports, 0x5658, 4);
    return f->r.eax;
}

static void post(Fixture *f, InputEvent e)
{
    input_post(f->b, vmware_port_events(f->v), e);
}

static void enable(Fixture *f)
{
    command(f, 41, 0x45414552);
    assert_int_equal(command(f, 40, 0), 1);
    assert_int_equal(command(f, 39, 1), 0x3442554a);
    command(f, 86, 1);
    command(f, 41, 0x53424152);
    assert_true(vmware_port_wants_absolute(f->v));
}

static void identification(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_int_equal(command(&f, 10, ~MAGIC), 6);
    assert_int_equal(f.r.ebx, MAGIC);
    assert_int_equal(command(&f, 20, 0), 64);
    f.r = (VmwareRegisters){.eax = 1, .ebx = 2, .ecx = 10};
    assert_int_equal(bus_read(f.b->ports, 0x5658, 4), 0xffffffff);
    assert_int_equal(f.r.ebx, 2);
    assert_int_equal(bus_read(f.b->ports, 0x5658, 1), 0xff);
    f.r = (VmwareRegisters){.eax = MAGIC, .ecx = 10};
    bus_write(f.b->ports, 0x5658, MAGIC, 4); /* OUT works as well */
    assert_int_equal(f.r.eax, 6);
    board_free(f.b);
}

static void time_is_what_the_board_says(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_int_equal(command(&f, 23, 0), 981173106);
    assert_int_equal(f.r.ebx, 123456);
    assert_int_equal(f.r.ecx, 1000000);
    assert_int_equal((int32_t)f.r.edx, -300);
    board_free(f.b);
}

static void clipboard_and_others_are_absent(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    for (uint32_t i = 6; i <= 9; i++) {
        assert_int_equal(command(&f, i, 0), 0xffffffff);
    }
    assert_int_equal(command(&f, 0xffff, 0), 0xffffffff);
    board_free(f.b);
}

static void absolute_packets(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    assert_int_equal(command(&f, 40, 0), 0xffff0000); /* nothing before it is enabled */
    post(&f, (InputEvent){.kind = INPUT_MOUSE_ABSOLUTE, .x = 1, .y = 1});
    assert_int_equal(f.nudges, 0);
    enable(&f);
    post(&f, (InputEvent){.kind = INPUT_MOUSE_ABSOLUTE, .x = 100, .y = 200});
    post(&f, (InputEvent){.kind = INPUT_MOUSE_ABSOLUTE, .x = 0xffff, .y = 0x8000});
    assert_int_equal(f.nudges, 2);
    assert_int_equal(command(&f, 40, 0), 4); /* the newer position replaces the older */
    assert_int_equal(command(&f, 39, 4), 0);
    assert_int_equal(f.r.ebx, 0xffff);
    assert_int_equal(f.r.ecx, 0x8000);
    assert_int_equal(f.r.edx, 0);
    post(&f, (InputEvent){.kind = INPUT_MOUSE_BUTTONS, .buttons = MOUSE_LEFT | MOUSE_MIDDLE});
    post(&f, (InputEvent){.kind = INPUT_MOUSE_BUTTONS, .buttons = MOUSE_RIGHT});
    post(&f, (InputEvent){.kind = INPUT_MOUSE_MOVE, .wheel = 1});
    assert_int_equal(command(&f, 40, 0), 12);
    assert_int_equal(command(&f, 39, 4), 0x28);
    assert_int_equal(command(&f, 39, 4), 0x10);
    assert_int_equal(command(&f, 39, 4), 0x10);
    assert_int_equal((int32_t)f.r.edx, -1);
    command(&f, 41, 0x4c455252);
    assert_false(vmware_port_wants_absolute(f.v));
    command(&f, 41, 0xf5);
    assert_int_equal(command(&f, 40, 0), 0xffff0000);
    board_free(f.b);
}

static void half_read_packet_is_not_replaced(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    enable(&f);
    post(&f, (InputEvent){.kind = INPUT_MOUSE_ABSOLUTE, .x = 1, .y = 2});
    command(&f, 39, 1);
    post(&f, (InputEvent){.kind = INPUT_MOUSE_ABSOLUTE, .x = 3, .y = 4});
    assert_int_equal(command(&f, 40, 0), 7);
    assert_int_equal(command(&f, 39, 3), 1);
    assert_int_equal(f.r.ebx, 2);
    board_free(f.b);
}

static void bad_sizes_and_floods_are_harmless(void **state)
{
    (void)state;
    Fixture f;
    fixture(&f);
    static const uint32_t sizes[] = {0, 5, 7, 0xffffffff};
    for (unsigned i = 0; i < 4; i++) {
        enable(&f);
        post(&f, (InputEvent){.kind = INPUT_MOUSE_ABSOLUTE});
        assert_int_equal(command(&f, 39, sizes[i]), 0xffffffff);
        assert_int_equal(command(&f, 40, 0), 0xffff0000);
    }
    enable(&f);
    for (unsigned i = 0; i < 1000; i++) {
        post(&f, (InputEvent){.kind = INPUT_MOUSE_BUTTONS, .buttons = (uint8_t)(i & 1)});
    }
    assert_int_equal(command(&f, 40, 0), 256);
    board_free(f.b);
}

static void state_round_trip(void **state)
{
    (void)state;
    Fixture f, g;
    fixture(&f);
    fixture(&g);
    enable(&f);
    post(&f, (InputEvent){.kind = INPUT_MOUSE_ABSOLUTE, .x = 7, .y = 8});
    chip_state_round_trip(f.b, g.b);
    assert_true(vmware_port_wants_absolute(g.v));
    command(&g, 39, 4);
    assert_int_equal(g.r.ebx, 7);
    board_free(f.b);
    board_free(g.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identification),
        cmocka_unit_test(time_is_what_the_board_says),
        cmocka_unit_test(clipboard_and_others_are_absent),
        cmocka_unit_test(absolute_packets),
        cmocka_unit_test(half_read_packet_is_not_replaced),
        cmocka_unit_test(bad_sizes_and_floods_are_harmless),
        cmocka_unit_test(state_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
