/* Reads or writes a block device past the page cache: what the guest runs in tests/bench/disk.py.
 *
 * disk_io r|w|R|W DEVICE BYTES COUNT MIB: COUNT times BYTES, one after the other or (capitals) at
 * random places of the first MIB mebibytes; ends with a sync.
 */
#include "tests/guests/bare_linux.h"

enum { MOST = 1 << 20 };

static char buffer[MOST] __attribute__((aligned(4096)));

static int run(char **argument)
{
    char mode = argument[1][0];
    unsigned bytes = number(argument[3]), count = number(argument[4]), mib = number(argument[5]);
    unsigned random = mode < 'a', seed = 12345, blocks = mib * (MOST / 1024) / (bytes / 1024);
    long disk = call(SYS_OPEN, (long)argument[2], O_RDWR_DIRECT, 0, 0, 0);
    if (disk < 0 || bytes > MOST || bytes < 1024) {
        return 2;
    }
    for (unsigned i = 0; i < MOST; i++) {
        seed = seed * 1103515245 + 12345;
        buffer[i] = (char)(seed >> 16);
    }
    for (unsigned i = 0; i < count; i++) {
        seed = seed * 1103515245 + 12345;
        unsigned block = random ? (seed >> 8) % blocks : i % blocks;
        unsigned low = block * bytes; /* below 4 GiB */
        long done = call((mode | 0x20) == 'w' ? SYS_PWRITE64 : SYS_PREAD64, disk, (long)buffer,
                         (long)bytes, (long)low, 0);
        if (done != (long)bytes) {
            return 3;
        }
    }
    return call(SYS_FSYNC, disk, 0, 0, 0, 0) < 0 ? 4 : 0;
}

static int bare_main(int count, char **argument)
{
    return count == 6 ? run(argument) : 1;
}
