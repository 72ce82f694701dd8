/* Counted time under two engines: interpreter and translator must make the same run, byte for byte,
 * of all device state and all memory. The BIOS alone; FreeDOS from GUESTS; a Linux kernel where
 * Debian's installer is on the host.
 */
#include "tests/state/pc_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/machine.h"

#define INSTALLER "/usr/lib/debian-installer/images/12/i386/text/debian-installer/i386/linux"

static void config_init(MachineConfig *c)
{
    machine_config_init(c);
    c->ram_mib = 48;
    c->snapshot = true;
    free(c->rtc_base);
    c->rtc_base = strdup("1998-06-25T12:00:00");
}

static void same(PcRig *a, PcRig *b, unsigned point)
{
    size_t size_a, size_b;
    uint8_t *bytes_a = pc_rig_save(a, &size_a), *bytes_b = pc_rig_save(b, &size_b);
    const Cpu *x = pc_cpu(a->pc), *y = pc_cpu(b->pc);
    if (size_a != size_b || memcmp(bytes_a, bytes_b, size_a) != 0) {
        fail_msg("point %u: state differs; cs:eip %04x:%08x and %04x:%08x, %llu and %llu run",
                 point, x->seg[CS].selector, x->eip, y->seg[CS].selector, y->eip,
                 (unsigned long long)x->executed, (unsigned long long)y->executed);
    }
    assert_int_equal(pc_rig_memory_sum(a), pc_rig_memory_sum(b));
    free(bytes_a);
    free(bytes_b);
}

static void run_both(MachineConfig *config, unsigned points, int64_t ns)
{
    PcRig a, b;
    pc_rig_open(&a, config, "interpreter");
    pc_rig_open(&b, config, "translator");
    for (unsigned i = 0; i < points; i++) {
        pc_rig_run(&a, ns + 7 * i);
        pc_rig_run(&b, ns + 7 * i);
        same(&a, &b, i);
    }
    pc_rig_close(&b);
    pc_rig_close(&a);
    machine_config_free(config);
}

static void bios(void **state)
{
    (void)state;
    MachineConfig config;
    config_init(&config);
    run_both(&config, 10, 25000000);
}

static void freedos(void **state)
{
    (void)state;
    MachineConfig config;
    char path[4096];
    const char *guests = getenv("GUESTS");
    snprintf(path, sizeof(path), "%s/freedos722.img", guests ? guests : "guests");
    if (access(path, R_OK) != 0) {
        skip();
    }
    config_init(&config);
    config.drive[0].present = true;
    config.drive[0].snapshot = true;
    config.drive[0].bus = DRIVE_FLOPPY;
    config.drive[0].file = strdup(path);
    run_both(&config, 8, 250000000);
}

static void linux_kernel(void **state)
{
    (void)state;
    MachineConfig config;
    if (access(INSTALLER, R_OK) != 0) {
        skip();
    }
    config_init(&config);
    config.kernel = strdup(INSTALLER);
    config.append = strdup("console=ttyS0 panic=-1");
    run_both(&config, 5, 300000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bios),
        cmocka_unit_test(freedos),
        cmocka_unit_test(linux_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
