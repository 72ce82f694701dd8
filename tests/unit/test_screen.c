/* Screen: what readers see of what was drawn, also from another thread; screenshots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <png.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "display/screen.h"

static void put(Screen *s, unsigned y, unsigned width, uint32_t value)
{
    uint32_t line[SCREEN_MAX_WIDTH];
    for (unsigned x = 0; x < width; x++) {
        line[x] = value;
    }
    screen_put(s, y, line);
}

static void only_new_lines_are_copied(void **state)
{
    (void)state;
    Screen *s = screen_new();
    Picture a = {0}, b = {0};
    assert_false(screen_read(s, &a));
    assert_true(screen_begin(s, 4, 10, 4, 3));
    assert_false(screen_begin(s, 4, 10, 4, 3));
    put(s, 2, 4, 7);
    assert_true(screen_publish(s));
    assert_false(screen_publish(s));
    assert_true(screen_read(s, &a));
    assert_int_equal(a.changed_first, 0);
    assert_int_equal(a.changed_last, 9);
    assert_int_equal(a.pixels[2 * 4 + 3], 7);
    assert_false(screen_read(s, &a));
    for (unsigned y = 3; y < 8; y++) {
        put(s, y, 4, y);
        assert_true(screen_publish(s));
    }
    put(s, 5, 4, 5); /* as it was */
    assert_false(screen_publish(s));
    assert_true(screen_read(s, &a));
    assert_int_equal(a.changed_first, 3);
    assert_int_equal(a.changed_last, 7);
    assert_true(screen_read(s, &b));
    assert_memory_equal(a.pixels, b.pixels, 160);
    for (unsigned y = 0; y < 10; y++) {
        assert_int_equal(a.pixels[y * 4], y == 2 ? 7 : y > 2 && y < 8 ? y : 0);
    }
    picture_free(&a);
    picture_free(&b);
    screen_free(s);
}

static void a_new_size_is_a_new_picture(void **state)
{
    (void)state;
    Screen *s = screen_new();
    Picture a = {0};
    screen_begin(s, 8, 8, 4, 3);
    put(s, 1, 8, 1);
    screen_publish(s);
    screen_read(s, &a);
    assert_true(screen_begin(s, 16, 4, 4, 3));
    assert_true(screen_begin(s, 8, 8, 4, 3)); /* back before anything was shown */
    put(s, 3, 8, 3);
    assert_true(screen_publish(s));
    screen_read(s, &a);
    assert_int_equal(a.pixels[8], 1);
    assert_int_equal(a.pixels[24], 3);
    screen_begin(s, 16, 4, 4, 3);
    put(s, 0, 16, 9);
    screen_publish(s);
    screen_begin(s, 8, 8, 4, 3); /* the first picture's lines are gone */
    put(s, 5, 8, 5);
    screen_publish(s);
    assert_true(screen_read(s, &a));
    assert_int_equal(a.width, 8);
    assert_int_equal(a.pixels[8], 0);
    assert_int_equal(a.pixels[40], 5);
    picture_free(&a);
    screen_free(s);
}

enum { WIDTH = 64, HEIGHT = 48 };

typedef struct Reader {
    Screen *screen;
    atomic_bool stop;
    atomic_uint torn, seen;
} Reader;

/* Each picture has one value in all its lines. */
static void *read_pictures(void *self)
{
    Reader *r = self;
    Picture p = {0};
    while (!r->stop) {
        if (screen_read(r->screen, &p)) {
            r->seen++;
            for (unsigned i = 1; i < WIDTH * HEIGHT; i++) {
                r->torn += p.pixels[i] != p.pixels[0];
            }
        }
    }
    picture_free(&p);
    return NULL;
}

static void readers_on_threads_see_whole_pictures(void **state)
{
    (void)state;
    Reader r = {.screen = screen_new()};
    pthread_t thread[3];
    for (unsigned i = 0; i < 3; i++) {
        pthread_create(&thread[i], NULL, read_pictures, &r);
    }
    for (uint32_t value = 1; value < 3000; value++) {
        screen_begin(r.screen, WIDTH, HEIGHT, 4, 3);
        for (unsigned y = 0; y < HEIGHT; y++) {
            put(r.screen, y, WIDTH, value);
        }
        screen_publish(r.screen);
        if (value % 64 == 0) {
            usleep(500);
        }
    }
    r.stop = true;
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
    }
    assert_int_equal(r.torn, 0);
    screen_free(r.screen);
}

typedef struct Waiter {
    Screen *screen;
    uint64_t seen[3];
} Waiter;

static void *wait_for_pictures(void *self)
{
    Waiter *w = self;
    w->seen[0] = screen_wait(w->screen, 0, 60000);
    w->seen[1] = screen_wait(w->screen, w->seen[0], 60000);
    w->seen[2] = screen_wait(w->screen, w->seen[1], 60000);
    return NULL;
}

static void waiting_ends_with_a_picture_or_a_call(void **state)
{
    (void)state;
    Waiter w = {.screen = screen_new()};
    pthread_t thread;
    assert_int_equal(screen_wait(w.screen, 0, 1), 0); /* the time is over */
    pthread_create(&thread, NULL, wait_for_pictures, &w);
    screen_begin(w.screen, 8, 8, 4, 3);
    screen_publish(w.screen);
    for (uint64_t seen = 0; seen != 1; seen = screen_wait(w.screen, seen, 1000)) {
    }
    put(w.screen, 3, 8, 3);
    usleep(10000);
    screen_publish(w.screen);
    usleep(10000);
    for (unsigned i = 0; i < 20; i++) { /* whichever wait it is in */
        screen_wake(w.screen);
        usleep(1000);
    }
    pthread_join(thread, NULL);
    assert_true(w.seen[0] >= 1 && w.seen[2] <= 2);
    assert_int_equal(screen_wait(w.screen, 1, 60000), 2); /* at once */
    screen_free(w.screen);
}

static void sample(Picture *p)
{
    Screen *s = screen_new();
    screen_begin(s, 3, 2, 4, 3);
    screen_put(s, 0, (const uint32_t[]){0x112233, 0x445566, 0x778899});
    screen_put(s, 1, (const uint32_t[]){0xff0000, 0x00ff00, 0x0000ff});
    screen_publish(s);
    screen_read(s, p);
    screen_free(s);
}

static const uint8_t sample_bytes[18] = {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99,
                                         0xff, 0,    0,    0,    0xff, 0,    0,    0,    0xff};

static void screenshots_hold_the_exact_pixels(void **state)
{
    (void)state;
    Picture p = {0};
    Err err = {""};
    char folder[] = "/tmp/screenXXXXXX", path[64], bytes[64];
    assert_non_null(mkdtemp(folder));
    assert_false(screenshot_png(&p, "nowhere", &err)); /* no picture yet */
    assert_true(err.text[0]);
    sample(&p);
    snprintf(path, sizeof(path), "%s/a.ppm", folder);
    assert_true(screenshot_ppm(&p, path, &err));
    FILE *file = fopen(path, "rb");
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    assert_int_equal(size, 11 + 18);
    assert_memory_equal(bytes, "P6\n3 2\n255\n", 11);
    assert_memory_equal(bytes + 11, sample_bytes, 18);
    unlink(path);
    snprintf(path, sizeof(path), "%s/a.png", folder);
    assert_true(screenshot_png(&p, path, &err));
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&image, path));
    assert_int_equal(image.width, 3);
    image.format = PNG_FORMAT_RGB;
    assert_true(png_image_finish_read(&image, NULL, bytes, 0, NULL));
    assert_memory_equal(bytes, sample_bytes, 18);
    unlink(path);
    err.text[0] = 0;
    snprintf(path, sizeof(path), "%s/no/such/folder.png", folder);
    assert_false(screenshot_png(&p, path, &err));
    assert_non_null(strstr(err.text, path));
    assert_int_equal(rmdir(folder), 0); /* nothing half-written is left */
    picture_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_new_lines_are_copied),
        cmocka_unit_test(a_new_size_is_a_new_picture),
        cmocka_unit_test(readers_on_threads_see_whole_pictures),
        cmocka_unit_test(waiting_ends_with_a_picture_or_a_call),
        cmocka_unit_test(screenshots_hold_the_exact_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
