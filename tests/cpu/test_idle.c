/* Guests that wait by polling: who is given a nap, and who is not. */
#include "tests/cpu/guest.h"

#include "cpu-accel/x86/idle.h"

/* Real mode with every vector answered by IRET. */
static Guest *polling_guest_under(const AccelOps *ops)
{
    Guest *g = guest_new(CPU_PENTIUM3, ops);
    guest_real(g);
    guest_put(g, 0x500, "\xcf", 1);
    for (unsigned vector = 0; vector < 256; vector++) {
        guest_write32(g, vector * 4, 0x500);
    }
    return g;
}

static Guest *polling_guest(void)
{
    return polling_guest_under(&accel_interpreter);
}

/* Runs the code for so many instructions and returns the longest nap it was offered. */
static int64_t longest_nap(const char *code, size_t size, unsigned instructions)
{
    Guest *g = polling_guest();
    guest_code(g, code, size);
    int64_t longest = 0;
    for (unsigned i = 0; i < instructions; i += 10) {
        guest_run(g, 10);
        int64_t nap = idle_take(g->cpu);
        longest = nap > longest ? nap : longest;
    }
    guest_free(g);
    return longest;
}

#define NAP(code, instructions) longest_nap(code, sizeof(code) - 1, instructions)

static void a_tight_keyboard_loop_is_given_growing_naps(void **state)
{
    (void)state;
    /* l: mov ah, 1; int 16h; jmp l */
    int64_t early = NAP("\xb4\x01\xcd\x16\xeb\xfa", 200);
    int64_t late = NAP("\xb4\x01\xcd\x16\xeb\xfa", 3000);
    assert_int_equal(early, 1000000);
    assert_int_equal(late, 8000000);
}

static void what_says_it_is_idle_is_believed(void **state)
{
    (void)state;
    assert_int_equal(NAP("\xcd\x28\xeb\xfe", 10), 10000000); /* int 28h */
    assert_int_equal(NAP("\xb8\x80\x16\xcd\x2f\xeb\xfe", 10),
                     10000000);                                   /* mov ax, 1680h; int 2fh */
    assert_int_equal(NAP("\xb8\x00\x16\xcd\x2f\xeb\xfe", 10), 0); /* another call of INT 2Fh */
}

/* The sixth nap of a guest that naps when it is told to. */
static int64_t sixth_nap(const char *code, size_t size)
{
    Guest *g = polling_guest();
    guest_code(g, code, size);
    int64_t nap = 0;
    for (unsigned i = 0; i < 6; i++) {
        do {
            guest_run(g, 1);
            nap = idle_take(g->cpu);
        } while (nap == 0);
        idle_woke(g->cpu);
    }
    guest_free(g);
    return nap;
}

#define SIXTH_NAP(code) sixth_nap(code, sizeof(code) - 1)

static void who_does_nothing_else_is_left_to_sleep(void **state)
{
    (void)state;
    /* l: int 28h; jmp l */
    assert_int_equal(SIXTH_NAP("\xcd\x28\xeb\xfc"), 80000000);
    /* l: int 28h; int 10h; jmp l */
    assert_int_equal(SIXTH_NAP("\xcd\x28\xcd\x10\xeb\xfa"), 10000000);
    /* l: int 28h; mov bx, 6; o: mov cx, 0; w: loop w; dec bx; jnz o; jmp l */
    assert_int_equal(SIXTH_NAP("\xcd\x28\xbb\x06\x00\xb9\x00\x00\xe2\xfe\x4b\x75\xf8\xeb\xf1"),
                     10000000);
}

static void a_loop_that_also_works_is_left_alone(void **state)
{
    (void)state;
    /* l: mov ah, 1; int 16h; out 42h, al; jmp l */
    assert_int_equal(NAP("\xb4\x01\xcd\x16\xe6\x42\xeb\xf8", 5000), 0);
    /* l: mov ah, 1; int 16h; int 10h; jmp l */
    assert_int_equal(NAP("\xb4\x01\xcd\x16\xcd\x10\xeb\xf8", 5000), 0);
    /* l: mov ah, 1; int 16h; mov cx, 0; w: loop w; jmp l: 65536 instructions of work a poll */
    assert_int_equal(NAP("\xb4\x01\xcd\x16\xb9\x00\x00\xe2\xfe\xeb\xf5", 4000000), 0);
}

/* Engine check's two processors ask for the time alike, though one of them takes the naps. */
static void naps_make_no_difference(void **state)
{
    (void)state;
    Guest *g = polling_guest_under(&accel_check);
    guest_code(g, "\xcd\x28\xb4\x01\xcd\x16\xeb\xf8",
               8); /* l: int 28h; mov ah, 1; int 16h; jmp l */
    for (unsigned i = 0; i < 50; i++) {
        atomic_store(&g->cpu->attention, false);
        int64_t until = clock_now(&g->board->clock) + 100;
        assert_int_not_equal(g->accel.ops->run(&g->accel, until), RUN_FAILED);
        if (idle_take(g->cpu)) {
            idle_woke(g->cpu);
        }
    }
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tight_keyboard_loop_is_given_growing_naps),
        cmocka_unit_test(what_says_it_is_idle_is_believed),
        cmocka_unit_test(who_does_nothing_else_is_left_to_sleep),
        cmocka_unit_test(naps_make_no_difference),
        cmocka_unit_test(a_loop_that_also_works_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
