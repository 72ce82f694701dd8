/* The image formats under test: how to make one, and how to have qemu-img judge it. */
#include "tests/disk/images.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

void image_path(char *path, size_t room)
{
    static unsigned next;
    const char *folder = getenv("TMPDIR");
    snprintf(path, room, "%s/vitrine-%ld-%u.img", folder && folder[0] ? folder : "/tmp",
             (long)getpid(), next++);
}

void image_command(const char *format, ...)
{
    char command[1024], output[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    strncat(command, " 2>&1", sizeof(command) - strlen(command) - 1);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t size = fread(output, 1, sizeof(output) - 1, pipe);
    output[size] = '\0';
    if (pclose(pipe) != 0) {
        fail_msg("%s: %s", command, output);
    }
}

bool image_have_qemu(void)
{
    return system("command -v qemu-img >/dev/null 2>&1") == 0;
}

void image_check_with_qemu(const char *path, const char *format, const uint8_t *model,
                           uint64_t size)
{
    char raw[128];
    if (!image_have_qemu()) {
        return;
    }
    image_path(raw, sizeof(raw));
    FILE *file = fopen(raw, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(model, 1, (size_t)size, file), size);
    fclose(file);
    const char *name = strcmp(format, "vhd") == 0 ? "vpc" : format;
    if (strcmp(format, "raw") != 0 && strcmp(format, "vhd") != 0) {
        image_command("qemu-img check -q -f %s %s", name, path);
    }
    image_command("qemu-img compare -q -f %s -F raw %s %s", name, path, raw);
    unlink(raw);
}

static void create_raw(const char *path, uint64_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (off_t)size), 0);
    fclose(file);
}

const ImageKind image_kinds[] = {
    {"raw", "raw", false, true, true, create_raw},
    {"overlay", "raw", true, true, false, create_raw},
    {0},
};
