/* Text of the screen: ranges of cells, and search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ui/clip.h"

static ClipScreen screen_of(const char *const *rows, unsigned count)
{
    ClipScreen s = {.columns = 10, .rows = count};
    memset(s.cell, ' ', sizeof(s.cell));
    for (unsigned i = 0; i < count; i++) {
        memcpy(s.cell[i], rows[i], strlen(rows[i]));
    }
    return s;
}

static const char *const rows[] = {"C:\\>dir", "A.TXT  \x81ml", "", "B.txt"};

static void check_text(ClipRange range, const char *wanted)
{
    ClipScreen s = screen_of(rows, 4);
    char *text = clip_text(&s, &range);
    assert_string_equal(text, wanted);
    free(text);
}

static void ranges_as_text(void **state)
{
    (void)state;
    check_text((ClipRange){0, 4, 1, 4, false}, "dir\nA.TXT");
    check_text((ClipRange){1, 4, 0, 4, false}, "dir\nA.TXT");
    check_text((ClipRange){0, 0, 3, 9, false}, "C:\\>dir\nA.TXT  \u00fcml\n\nB.txt");
    check_text((ClipRange){3, 4, 0, 0, true}, "C:\\>d\nA.TXT\n\nB.txt");
    check_text((ClipRange){0, 2, 3, 1, true}, ":\\\n.T\n\n.t");
    check_text((ClipRange){2, 0, 2, 9, false}, "");
    /* beyond the screen */
    check_text((ClipRange){3, 0, 90, 200, false}, "B.txt");
    check_text((ClipRange){0, 100, 0, 200, false}, "");
}

static void search(void **state)
{
    (void)state;
    ClipScreen s = screen_of(rows, 4);
    ClipRange found[2];
    assert_int_equal(clip_find(&s, "txt", found, 2), 2);
    assert_int_equal(found[0].row, 1);
    assert_int_equal(found[0].column, 2);
    assert_int_equal(found[0].end_column, 4);
    assert_int_equal(found[1].row, 3);
    assert_int_equal(clip_find(&s, "\u00dcML", found, 1), 1); /* up to the last column */
    assert_int_equal(found[0].column, 7);
    assert_int_equal(found[0].end_column, 9);
    assert_int_equal(clip_find(&s, " ", found, 2), 3 + 2 + 10 + 5);
    assert_int_equal(clip_find(&s, "", found, 2), 0);
    assert_int_equal(clip_find(&s, "irA", found, 2), 0);
    assert_int_equal(clip_find(&s, "longer than a row", found, 2), 0);
    assert_int_equal(clip_find(&s, "\xff\xfe", found, 2), 0);
}

static void changes_count_within_the_range_only(void **state)
{
    (void)state;
    ClipScreen a = screen_of(rows, 4), b = a;
    ClipRange range = {1, 0, 1, 4, false};
    assert_true(clip_same(&a, &b, &range));
    b.cell[1][5] = 'x';
    b.cell[0][0] = 'x';
    assert_true(clip_same(&a, &b, &range));
    b.cell[1][4] = 'x';
    assert_false(clip_same(&a, &b, &range));
    b = a;
    b.rows = 3;
    assert_false(clip_same(&a, &b, &range));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_as_text),
        cmocka_unit_test(search),
        cmocka_unit_test(changes_count_within_the_range_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
