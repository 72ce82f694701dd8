/* The host's own processor against every engine, over every row of the opcode list: single
 * instructions, and sequences of them.
 *
 * JUDGE_SEED, JUDGE_CASES (0: none of that kind), JUDGE_SEQUENCES, JUDGE_ENGINE and JUDGE_ROW (part
 * of a row's name; single instructions only) in the environment choose; JUDGE_NUMBER runs a single
 * case, of a sequence with JUDGE_CASES=0; JUDGE_TELL is how many differences are printed.
 * `test_judge --coverage` prints tests/cpu/COVERAGE.md. VITRINE_LONG runs ten million cases an
 * engine.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/cpu/guest.h"
#include "tests/cpu/judge.h"

enum {
    QUICK_CASES = 120000,
    LONG_CASES = 11500000,
    QUICK_SEQUENCES = 60000,
    LONG_SEQUENCES = 4000000,
    TOLD = 12,
    MOST_ENGINES = 8,
};

typedef struct Run {
    JudgeNative *native;
    JudgeEngine *engine, *tracer;
    bool sequences;
    uint64_t seed;
    uint64_t cases, ended_well, void_cases, wrong, told;
    uint64_t by_row[OP_COUNT], wrong_by_row[OP_COUNT];
} Run;

static uint64_t environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

/* --- one case by itself, for shrinking --- */

static bool differs(Run *run, const JudgeCase *c, char *text, size_t room)
{
    JudgeShared *shared = judge_native_shared(run->native);
    JudgeState have;

    shared->c[0] = *c;
    shared->count = 1;
    text[0] = '\0';
    if (!judge_native_run(run->native) || judge_void(&shared->result[0]) ||
        judge_engine_strays(run->tracer, &shared->base, c)) {
        return false;
    }
    if (!judge_engine_run(run->engine, &shared->base, c, &have)) {
        snprintf(text, room, "  the engine did not come to an end\n");
        return true;
    }
    judge_compare(c, &shared->result[0], &have, run->engine, text, room);
    return text[0] != '\0';
}

/* Takes away what is not needed for the difference: memory operands, registers, flags, x87 and SSE
 * state. */
static void shrink(Run *run, JudgeCase *c)
{
    static JudgeCase trial;
    char text[4096];

#define TRY(change)                                                                                \
    do {                                                                                           \
        trial = *c;                                                                                \
        change;                                                                                    \
        if (differs(run, &trial, text, sizeof(text))) {                                            \
            *c = trial;                                                                            \
        }                                                                                          \
    } while (0)
    for (unsigned i = c->parts; i-- > 0 && c->parts > 1;) {
        TRY(judge_sequence_drop(&trial, i));
    }
    TRY(judge_fx_init(&trial.before.fx));
    TRY(memset(trial.before.fx.xmm, 0, sizeof(trial.before.fx.xmm)));
    TRY(memset(trial.before.fx.st, 0, sizeof(trial.before.fx.st)));
    TRY(trial.before.fx.mxcsr = 0x1f80);
    TRY(trial.before.fx.control = 0x37f; trial.before.fx.status &= 0x7f7f);
    TRY(trial.before.eflags = FL_ONE | FL_IF);
    for (unsigned i = c->patches; i-- > 0;) {
        TRY(trial.patch[i] = trial.patch[--trial.patches]);
    }
    for (unsigned i = 0; i < 8; i++) {
        TRY(trial.before.reg[i] = 0);
    }
#undef TRY
}

typedef struct Wrong {
    JudgeCase c;
    char text[1024];
} Wrong;

static void tell(Run *run, const Wrong *wrong)
{
    JudgeCase c = wrong->c;
    char text[4096];

    judge_base_make(&judge_native_shared(run->native)->base, c.seed, c.number / JUDGE_BATCH);
    bool again = differs(run, &c, text, sizeof(text));
    if (again) {
        shrink(run, &c);
        differs(run, &c, text, sizeof(text));
    }
    fprintf(stderr, "# %s differs%s; what: host, engine\n%s", judge_engine_name(run->engine),
            again ? "" : ", but not when run again", again ? text : wrong->text);
    judge_print_case(stderr, &c);
}

/* --- batches --- */

static void judge_one(Run *run, const JudgeShared *shared, unsigned i, Wrong *wrong,
                      unsigned *wrong_count)
{
    const JudgeCase *c = &shared->c[i];
    const JudgeResult *native = &shared->result[i];
    JudgeState have;
    char text[4096];

    if (judge_void(native)) {
        run->void_cases++;
        return;
    }
    run->cases++;
    run->by_row[c->op]++;
    run->ended_well += native->after.vector == VEC_BP;
    snprintf(text, sizeof(text), "  the engine did not come to an end\n");
    if (judge_engine_run(run->engine, &shared->base, c, &have)) {
        judge_compare(c, native, &have, run->engine, text, sizeof(text));
    }
    if (!text[0]) {
        return;
    }
    if (judge_engine_strays(run->tracer, &shared->base, c)) {
        run->void_cases++;
        return;
    }
    run->wrong++;
    bool tell_it = c->parts || run->wrong_by_row[c->op] < 2;
    run->wrong_by_row[c->op]++;
    if (tell_it && run->told++ < environment("JUDGE_TELL", TOLD)) {
        wrong[*wrong_count].c = *c;
        snprintf(wrong[(*wrong_count)++].text, sizeof(wrong->text), "%.1000s", text);
    }
}

static bool make_case(const Run *run, JudgeCase *c, uint64_t number, const char *row)
{
    if (run->sequences) {
        return judge_sequence_make(c, run->seed, number);
    }
    return (!row || strstr(op_rows[number % OP_COUNT].id, row)) &&
           judge_case_make(c, run->seed, number);
}

/* Up to a batch of cases from `number` on; returns the next number. */
static uint64_t batch(Run *run, uint64_t number, uint64_t end, const char *row)
{
    static Wrong wrong[JUDGE_BATCH];
    JudgeShared *shared = judge_native_shared(run->native);
    uint64_t block = number / JUDGE_BATCH;
    unsigned wrong_count = 0;

    judge_base_make(&shared->base, run->seed, block);
    shared->count = 0;
    for (; number < end && number / JUDGE_BATCH == block; number++) {
        shared->count += make_case(run, &shared->c[shared->count], number, row);
    }
    if (shared->count == 0) {
        return number;
    }
    if (!judge_native_run(run->native)) {
        fprintf(stderr, "# the native process did not survive:\n");
        judge_print_case(stderr, &shared->c[shared->at < JUDGE_BATCH ? shared->at : 0]);
        run->wrong++;
        return number;
    }
    for (unsigned i = 0; i < shared->count; i++) {
        judge_one(run, shared, i, wrong, &wrong_count);
    }
    for (unsigned i = 0; i < wrong_count; i++) {
        tell(run, &wrong[i]);
    }
    return number;
}

static JudgeNative *native; /* forked before anything else is made */
static const char *native_missing = "";

static void report(const Run *run, const char *name)
{
    print_message("# %s: %llu %s (%llu to the end, %llu void), seed 0x%llx, %llu wrong\n", name,
                  (unsigned long long)run->cases, run->sequences ? "sequences" : "cases",
                  (unsigned long long)run->ended_well, (unsigned long long)run->void_cases,
                  (unsigned long long)run->seed, (unsigned long long)run->wrong);
    for (unsigned op = 0; op < OP_COUNT && run->wrong && !run->sequences; op++) {
        if (run->wrong_by_row[op]) {
            print_message("#   %s: %llu of %llu\n", op_rows[op].id,
                          (unsigned long long)run->wrong_by_row[op],
                          (unsigned long long)run->by_row[op]);
        }
    }
}

static void run_engine(const AccelOps *ops, Run *run, bool sequences)
{
    const char *why = "", *row = getenv("JUDGE_ROW"), *only = getenv("JUDGE_ENGINE");
    bool many = getenv("VITRINE_LONG");
    uint64_t cases = sequences
                         ? environment("JUDGE_SEQUENCES", many ? LONG_SEQUENCES : QUICK_SEQUENCES)
                         : environment("JUDGE_CASES", many ? LONG_CASES : QUICK_CASES);
    uint64_t first = environment("JUDGE_NUMBER", 0);

    if (!native) {
        print_message("%s\n", native_missing);
        skip();
    }
    bool other = (only && strcmp(only, ops->name) != 0) || !cases;
    if (other ||
        (sequences && (row || (getenv("JUDGE_NUMBER") && environment("JUDGE_CASES", 1))))) {
        skip();
    }
    *run = (Run){.native = native, .seed = environment("JUDGE_SEED", 1), .sequences = sequences};
    run->engine = judge_engine_new(ops, &why);
    if (!run->engine) {
        print_message("%s: %s\n", ops->name, why);
        skip();
    }
    run->tracer = judge_engine_new(&accel_interpreter, &why);
    uint64_t end = getenv("JUDGE_NUMBER") ? first + 1 : cases;
    for (uint64_t number = first; number < end;) {
        number = batch(run, number, end, row);
    }
    report(run, ops->name);
    judge_engine_free(run->engine);
    judge_engine_free(run->tracer);
}

static void test_engine(void **state)
{
    static Run run;
    run_engine(*state, &run, false);
    assert_int_equal(run.wrong, 0);
    if (!getenv("JUDGE_NUMBER") && !getenv("JUDGE_ROW")) {
        assert_true(run.ended_well > run.cases / 3);
    }
}

static void test_sequences(void **state)
{
    static Run run;
    run_engine(*state, &run, true);
    assert_int_equal(run.wrong, 0);
    if (!getenv("JUDGE_NUMBER")) {
        assert_true(run.ended_well > run.cases / 3);
    }
}

/* Every row has cases, or a reason. */
static void test_rows(void **state)
{
    static JudgeCase c;
    (void)state;
    for (unsigned op = 0; op < OP_COUNT; op++) {
        bool made = false;
        for (unsigned i = 0; i < 20 && !made; i++) {
            made = judge_case_make(&c, 7, op + (uint64_t)OP_COUNT * i);
        }
        if (made == (judge_exempt(&op_rows[op]) != NULL)) {
            fail_msg("%s: %s", op_rows[op].id, made ? "exempt, but a case was made" : "no case");
        }
    }
}

static void count_in_sequences(uint64_t seed, uint64_t by_row[OP_COUNT])
{
    static JudgeCase c;
    for (uint64_t number = 0; number < QUICK_SEQUENCES; number++) {
        if (judge_sequence_make(&c, seed, number)) {
            for (unsigned i = 0; i < c.parts; i++) {
                by_row[c.part[i].op]++;
            }
        }
    }
}

static int coverage(void)
{
    static Run run;
    run = (Run){.seed = environment("JUDGE_SEED", 1)};
    static JudgeCase c;
    uint64_t cases = environment("JUDGE_CASES", LONG_CASES), total = 0;

    count_in_sequences(run.seed, run.by_row);
    printf(
        "# Coverage of the native judge\n\nMade by `test_judge --coverage`: cases of each row of "
        "the opcode list in a run of `make check` and in one of `make check-all`, for each "
        "engine, with seed %llu;\nand how often the row stands in the sequences of `make check` "
        "(in those of `make check-all` %u times as often; - where the row is judged by itself "
        "alone).\nA row without cases has the reason in its place.\n\n"
        "| row | operands | check | check-all | in sequences |\n|---|---|---|---|---|\n",
        (unsigned long long)run.seed, (unsigned)(LONG_SEQUENCES / QUICK_SEQUENCES));
    for (unsigned op = 0; op < OP_COUNT; op++) {
        const char *why = judge_exempt(&op_rows[op]);
        printf("| %s | %s | ", op_rows[op].id, op_rows[op].operands);
        if (why) {
            printf("- | %s | - |\n", why);
            continue;
        }
        uint64_t quick = 0, made = 0, tried = 0;
        for (uint64_t number = op; number < QUICK_CASES * 2; number += OP_COUNT, tried++) {
            made += judge_case_make(&c, run.seed, number);
            quick = number < QUICK_CASES ? made : quick;
        }
        uint64_t all = tried ? cases / OP_COUNT * made / tried : 0;
        total += all;
        printf("%llu | about %llu | ", (unsigned long long)quick, (unsigned long long)all);
        if (judge_sequence_row(&op_rows[op])) {
            printf("%llu |\n", (unsigned long long)run.by_row[op]);
        } else {
            printf("- |\n");
        }
    }
    printf("\nTogether about %llu cases and %u sequences an engine in `make check-all`.\n",
           (unsigned long long)total, LONG_SEQUENCES);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--coverage")) {
        return coverage();
    }
    native = judge_native_new(&native_missing);
    struct CMUnitTest tests[2 * MOST_ENGINES + 1] = {cmocka_unit_test(test_rows)};
    char names[2 * MOST_ENGINES][64];
    size_t count = 1;
    for (unsigned i = 0; accel_engines[i] && count < 2 * MOST_ENGINES; i++) {
        const AccelOps *ops = accel_engines[i];
        for (unsigned kind = 0; kind < 2 && ops != &accel_check; kind++) { /* it is two others */
            char *name = names[count - 1];
            snprintf(name, sizeof(names[0]), "test_%s_against_host%s", ops->name,
                     kind ? "_in_sequences" : "");
            tests[count++] = (struct CMUnitTest){name, kind ? test_sequences : test_engine, NULL,
                                                 NULL, (void *)ops};
        }
    }
    int failed = _cmocka_run_group_tests("judge", tests, count, NULL, NULL);
    if (native) {
        judge_native_free(native);
    }
    return failed;
}
