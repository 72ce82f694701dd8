/* Whole machines: runs that repeat, saved and loaded at random points, two in one process. */
#include "tests/state/pc_rig.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "machine/machine.h"

enum { POINTS = 12 };

static void config_init(MachineConfig *c)
{
    machine_config_init(c);
    c->ram_mib = 16;
    free(c->rtc_base);
    c->rtc_base = strdup("1998-06-25T12:00:00");
}

static void a_counted_run_repeats_byte_for_byte(void **state)
{
    (void)state;
    MachineConfig config;
    config_init(&config);
    PcRig a, b;
    pc_rig_open(&a, &config, "interpreter");
    pc_rig_open(&b, &config, "interpreter");
    for (unsigned i = 0; i < 5; i++) {
        pc_rig_run(&a, 20000000);
        pc_rig_run(&b, 13000000); /* in other pieces */
        pc_rig_run(&b, 7000000);
        size_t size_a, size_b;
        uint8_t *bytes_a = pc_rig_save(&a, &size_a), *bytes_b = pc_rig_save(&b, &size_b);
        assert_int_equal(size_a, size_b);
        assert_memory_equal(bytes_a, bytes_b, size_a);
        assert_int_equal(pc_rig_memory_sum(&a), pc_rig_memory_sum(&b));
        free(bytes_a);
        free(bytes_b);
    }
    pc_rig_close(&b);
    pc_rig_close(&a);
    machine_config_free(&config);
}

static void a_loaded_machine_goes_on_as_the_saved_one(void **state)
{
    (void)state;
    MachineConfig config;
    config_init(&config);
    PcRig a, b;
    pc_rig_open(&a, &config, "interpreter");
    pc_rig_open(&b, &config, "interpreter");
    unsigned seed = 1;
    for (unsigned i = 0; i < POINTS; i++) {
        seed = seed * 1103515245 + 12345;
        pc_rig_run(&a, 1000000 + seed / 16 % 40000000);
        pc_rig_copy(&a, &b);
        int64_t further = 1000000 + seed / 64 % 30000000;
        pc_rig_run(&a, further);
        pc_rig_run(&b, further);
        size_t size_a, size_b;
        uint8_t *bytes_a = pc_rig_save(&a, &size_a), *bytes_b = pc_rig_save(&b, &size_b);
        assert_int_equal(size_a, size_b);
        for (size_t at = 0; at < size_a; at++) {
            if (bytes_a[at] != bytes_b[at]) {
                fail_msg("point %u: states differ at byte %zu, behind '%.24s'", i, at,
                         bytes_a + (at > 24 ? at - 24 : 0));
            }
        }
        assert_int_equal(pc_rig_memory_sum(&a), pc_rig_memory_sum(&b));
        free(bytes_a);
        free(bytes_b);
    }
    pc_rig_close(&b);
    pc_rig_close(&a);
    machine_config_free(&config);
}

static void two_machines_run_in_one_process(void **state)
{
    (void)state;
    Machine *machines[2];
    Err err = {""};
    for (unsigned i = 0; i < 2; i++) {
        MachineConfig config;
        config_init(&config);
        free(config.accel);
        config.accel = strdup("interpreter");
        machines[i] = machine_new(&config, &err);
        machine_config_free(&config);
        if (!machines[i] || !machine_start(machines[i], &err)) {
            fail_msg("%s", err.text);
        }
    }
    static const char wanted[] = "No bootable device";
    for (unsigned i = 0; i < 2; i++) {
        char text[8192] = "";
        for (unsigned tries = 0; tries < 6000 && !strstr(text, wanted); tries++) {
            machine_text(machines[i], text, sizeof(text));
            usleep(10000);
        }
        assert_non_null(strstr(text, wanted));
    }
    for (unsigned i = 0; i < 2; i++) {
        machine_quit(machines[i], 7 + (int)i);
        assert_int_equal(machine_wait(machines[i]), 7 + (int)i);
        machine_free(machines[i]);
    }
}

static void take_count(void *self, const char *text)
{
    (void)sscanf(text, "%*[^,], %" SCNu64 " instructions", (uint64_t *)self);
}

static void a_speed_is_kept_by_the_engines_that_can(void **state)
{
    (void)state;
    MachineConfig config;
    Err err = {""};
    config_init(&config);
    free(config.accel);
    config.accel = strdup("auto");
    config.speed = strdup("2");
    Machine *m = machine_new(&config, &err);
    if (!m || !machine_start(m, &err)) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(machine_accel(m), "translator");
    uint64_t count = 0;
    for (unsigned i = 0; i < 6; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
        assert_true(machine_set_accel(m, i % 2 ? "auto" : "interpreter", &err));
        assert_false(machine_set_accel(m, "check", &err));
        assert_true(machine_info(m, "engine", take_count, &count));
        uint64_t most = 2 * (uint64_t)machine_time(m) / 1000 + 2000; /* a piece of 1 ms ahead */
        assert_in_range(count, 1, most);
    }
    assert_true(machine_set_speed(m, "max", &err));
    assert_true(machine_set_accel(m, "check", &err));
    err = (Err){""};
    assert_false(machine_set_speed(m, "2", &err));
    machine_free(m);
    machine_config_free(&config);
}

typedef struct Caller {
    Machine *machine;
    atomic_bool ready, go;
    unsigned delay; /* turns of a loop, from `go` on */
} Caller;

static void *quit_soon(void *self)
{
    Caller *c = self;
    atomic_store(&c->ready, true);
    while (!atomic_load(&c->go)) {
    }
    for (volatile unsigned i = 0; i < c->delay; i++) {
    }
    machine_quit(c->machine, 3);
    return NULL;
}

/* Whoever calls while the machine's thread is being made is heard: a paused machine sleeps for ever
 * else. */
static void a_call_at_the_start_is_heard(void **state)
{
    (void)state;
    Err err = {""};
    MachineConfig config;
    config_init(&config);
    free(config.accel);
    config.accel = strdup("interpreter");
    config.start_paused = true;
    config.ram_mib = 4;
    alarm(120);
    for (unsigned i = 0; i < 300; i++) {
        pthread_t thread;
        Caller caller = {.machine = machine_new(&config, &err), .delay = i * 100};
        assert_non_null(caller.machine);
        assert_int_equal(pthread_create(&thread, NULL, quit_soon, &caller), 0);
        while (!atomic_load(&caller.ready)) {
        }
        atomic_store(&caller.go, true);
        assert_true(machine_start(caller.machine, &err));
        assert_int_equal(machine_wait(caller.machine), 3);
        pthread_join(thread, NULL);
        machine_free(caller.machine);
    }
    alarm(0);
    machine_config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_counted_run_repeats_byte_for_byte),
        cmocka_unit_test(a_loaded_machine_goes_on_as_the_saved_one),
        cmocka_unit_test(two_machines_run_in_one_process),
        cmocka_unit_test(a_speed_is_kept_by_the_engines_that_can),
        cmocka_unit_test(a_call_at_the_start_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
