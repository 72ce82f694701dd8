/* A folder of its own for a test program's files. */
#ifndef TESTS_UNIT_FOLDER_H
#define TESTS_UNIT_FOLDER_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

/* Of a file in it; valid until the eighth call after this one. */
static inline const char *path_of(const char *name)
{
    static char path[8][384];
    static unsigned next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

static inline void write_file(const char *name, const void *data, size_t size)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/vitrine-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

/* With all that is in it. */
static inline int remove_full_folder(void **state)
{
    (void)state;
    DIR *dir = opendir(folder);
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        unlink(path_of(e->d_name));
    }
    if (dir) {
        closedir(dir);
    }
    return rmdir(folder);
}

/* With these files alone: fails when another one was left behind. */
static inline int remove_folder_of(const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unlink(path_of(names[i]));
    }
    return rmdir(folder);
}

#endif
