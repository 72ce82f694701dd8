/* The translator's signal handlers: faults of translated code are the guest's, of whichever machine
 * runs on the thread; all others go to whom they would have gone to without us. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cpu/guest.h"

static sigjmp_buf back;
static volatile sig_atomic_t caught;

static void catch (int number)
{
    caught = number;
    siglongjmp(back, 1);
}

static uint8_t *nobody_may_read(void)
{
    void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    return page;
}

/* Touches memory through a window and divides by zero; the handler's frame says where. */
static void faults(Guest *g)
{
    static const char code[] =
        "\xc7\x05\x00\x00\x02\x00\x78\x56\x34\x12" /* mov [data], 12345678h */
        "\x31\xd2\xf7\xf2";                        /* xor edx, edx; div edx */
    guest_flat(g);
    guest_put(g, GUEST_HANDLERS, "\xf4", 1);
    guest_code(g, code, sizeof(code) - 1);
    g->accel.ops->push(&g->accel);
    RunExit exit = RUN_DUE;
    for (unsigned i = 0; i < 100 && exit == RUN_DUE; i++) {
        atomic_store(&g->cpu->attention, false);
        exit = g->accel.ops->run(&g->accel, clock_now(&g->board->clock) + 100000000);
    }
    assert_int_equal(exit, RUN_HALTED);
    assert_int_equal(g->cpu->eip, GUEST_HANDLERS + 1);
    assert_int_equal(guest_read32(g, GUEST_DATA), 0x12345678);
    assert_int_equal(guest_read32(g, GUEST_STACK - 12), GUEST_CODE + 12);
}

static void test_two_machines_share_them(void **state)
{
    (void)state;
    Guest *a = guest_new(CPU_PENTIUM3, &accel_translator);
    Guest *b = guest_new(CPU_PENTIUM3, &accel_translator);
    faults(a);
    faults(b);
    faults(a);
    guest_free(a);
    faults(b);
    guest_free(b);
}

static void test_other_faults_go_to_the_handler_before(void **state)
{
    (void)state;
    const uint8_t *page = nobody_may_read();
    struct sigaction ours = {.sa_handler = catch}, old;
    sigaction(SIGSEGV, &ours, &old);
    Guest *a = guest_new(CPU_PENTIUM3, &accel_translator);
    Guest *b = guest_new(CPU_PENTIUM3, &accel_translator); /* must not take itself for it */
    faults(a);
    faults(b);
    caught = 0;
    if (sigsetjmp(back, 1) == 0) {
        (void)*(const volatile uint8_t *)page;
    }
    assert_int_equal(caught, SIGSEGV);
    faults(a);
    guest_free(a);
    guest_free(b);
    sigaction(SIGSEGV, &old, NULL);
}

static void test_without_one_the_process_ends(void **state)
{
    (void)state;
    const uint8_t *page = nobody_may_read();
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        Guest *g = guest_new(CPU_PENTIUM3, &accel_translator);
        faults(g);
        (void)*(const volatile uint8_t *)page;
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_machines_share_them),
        cmocka_unit_test(test_other_faults_go_to_the_handler_before),
        cmocka_unit_test(test_without_one_the_process_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
