/* Kernels given by -kernel: what the Linux boot protocol's header is filled with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine/core/bytes.h"
#include "machine/kernel.h"

enum { SETUP_SECTORS = 4, SETUP_SIZE = (SETUP_SECTORS + 1) * 512, IMAGE_SIZE = 0x4000 };

/* A file with the header of a bzImage of this protocol, loaded. */
static Kernel load(unsigned version, const char *append)
{
    static uint8_t file[SETUP_SIZE + IMAGE_SIZE];
    char name[] = "/tmp/vitrine-kernel-XXXXXX";
    Err err = {""};
    Kernel k;
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    memset(file, 0x90, sizeof(file));
    memset(file + 0x1f1, 0, 0x80);
    file[0x1f1] = SETUP_SECTORS;
    file[0x1fe] = 0x55;
    file[0x1ff] = 0xaa;
    memcpy(file + 0x202, "HdrS", 4);
    file[0x206] = (uint8_t)version;
    file[0x207] = (uint8_t)(version >> 8);
    file[0x211] = 1; /* loaded high */
    assert_int_equal(write(fd, file, sizeof(file)), sizeof(file));
    close(fd);
    bool ok = kernel_load(&k, name, NULL, append, 64, &err);
    unlink(name);
    if (!ok) {
        fail_msg("%s", err.text);
    }
    return k;
}

static void parts_go_where_the_header_says(void **state)
{
    (void)state;
    Kernel k = load(0x20f, "console=ttyS0 vga=791");
    assert_int_equal(k.setup.size, SETUP_SIZE);
    assert_int_equal(k.image.size, IMAGE_SIZE);
    assert_int_equal(k.image.address, 0x100000);
    assert_int_equal(bytes_le32(k.setup.data + 0x228), k.cmdline.address);
    assert_string_equal((char *)k.cmdline.data, "console=ttyS0 vga=791");
    assert_int_equal(bytes_le16(k.setup.data + 0x1fa), 791);
    kernel_free(&k);
}

static void a_seed_is_handed_over(void **state)
{
    (void)state;
    Kernel k = load(0x20f, "quiet");
    uint32_t at = bytes_le32(k.setup.data + 0x250) - k.cmdline.address;
    assert_true(at > strlen("quiet") && at % 16 == 0);
    assert_int_equal(bytes_le32(k.setup.data + 0x254), 0);
    assert_int_equal(at + 16 + KERNEL_SEED, k.cmdline.size);
    assert_int_equal(k.seed_at, at + 16);
    const uint8_t *data = k.cmdline.data + at;
    assert_int_equal(bytes_le32(data) | bytes_le32(data + 4), 0); /* the last of the list */
    assert_int_equal(bytes_le32(data + 8), 9);
    assert_int_equal(bytes_le32(data + 12), KERNEL_SEED);
    kernel_free(&k);
}

static void older_protocols_have_no_setup_data(void **state)
{
    (void)state;
    Kernel k = load(0x208, "quiet");
    assert_int_equal(k.seed_at, 0);
    assert_int_equal(k.cmdline.size, strlen("quiet") + 1);
    assert_int_equal(bytes_le32(k.setup.data + 0x250), 0);
    kernel_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_go_where_the_header_says),
        cmocka_unit_test(a_seed_is_handed_over),
        cmocka_unit_test(older_protocols_have_no_setup_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
