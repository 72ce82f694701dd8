/* Image locks against QEMU's own tools: each program sees the other's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/block.h"
#include "tests/disk/images.h"

static bool succeeds(const char *command, const char *path)
{
    char line[512];
    snprintf(line, sizeof(line), "%s %s >/dev/null 2>&1", command, path);
    return system(line) == 0;
}

static bool qemu_writes(const char *path)
{
    return succeeds("qemu-io -f raw -c 'write 0 512'", path);
}

static bool qemu_reads(const char *path)
{
    return succeeds("qemu-img info -f raw", path);
}

static void qemu_sees_our_locks(void **state)
{
    (void)state;
    char path[128];
    Err err = {""};
    if (!image_have_qemu()) {
        skip();
    }
    image_path(path, sizeof(path));
    image_command("qemu-img create -q -f raw %s 1M", path);
    Block *b = block_open(path, NULL, &err);
    assert_non_null(b);
    assert_false(qemu_writes(path));
    block_close(b);
    assert_true(qemu_writes(path));
    b = block_open(path, &(BlockOptions){.read_only = true}, &err);
    assert_non_null(b);
    assert_false(qemu_writes(path));
    assert_true(qemu_reads(path));
    block_close(b);
    unlink(path);
}

static void we_see_qemus_locks(void **state)
{
    (void)state;
    char path[128], told[128], command[512];
    if (!image_have_qemu()) {
        skip();
    }
    image_path(path, sizeof(path));
    image_command("qemu-img create -q -f raw %s 1M", path);
    /* qemu-io holds the image until its input ends; when it has read from it, it has all its locks,
     * and cannot find ours */
    image_path(told, sizeof(told));
    snprintf(command, sizeof(command), "exec qemu-io -f raw %s >%s", path, told);
    FILE *holder = popen(command, "w");
    assert_non_null(holder);
    fputs("read 0 512\n", holder);
    fflush(holder);
    struct stat st = {0};
    for (unsigned i = 0; i < 2000 && st.st_size == 0; i++) {
        usleep(10000);
        if (stat(told, &st) != 0) {
            st.st_size = 0;
        }
    }
    Err refusal = {""};
    bool refused = !block_open(path, NULL, &refusal) && strstr(refusal.text, "in use") != NULL;
    pclose(holder);
    assert_true(refused);
    Err err = {""};
    Block *b = block_open(path, NULL, &err);
    assert_non_null(b);
    block_close(b);
    unlink(path);
    unlink(told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qemu_sees_our_locks),
        cmocka_unit_test(we_see_qemus_locks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
