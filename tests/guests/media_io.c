/* Block devices past the page cache, and their drives: what the guest runs in test_media.py.
 *
 * media_io w|r|W|R DEVICE SEED BYTES COUNT: writes COUNT pieces of a pattern that the seed makes,
 *   or reads and compares them; capitals: in a scattered order. A power of two for COUNT then.
 * media_io format DEVICE TRACKS HEADS: formats a floppy
 * media_io eject|close|status|changed DEVICE: of a CD drive; the last two print a number
 *
 * Ends with 0; 5: the data differ; else what failed.
 */
#include "tests/guests/bare_linux.h"

enum {
    FD_FORMAT_BEGIN = 0x247,
    FD_FORMAT_TRACK = 0x400c0248,
    FD_FORMAT_END = 0x249,
    CD_EJECT = 0x5309,
    CD_CLOSE = 0x5319,
    CD_CHANGED = 0x5325,
    CD_STATUS = 0x5326,
    CD_CURRENT_SLOT = 0x7fffffff,
    MOST = 1 << 20,
};

static unsigned wanted[MOST / 4] __attribute__((aligned(4096)));
static unsigned found[MOST / 4] __attribute__((aligned(4096)));

static int is(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static void say(long value)
{
    char text[16], *at = text + sizeof(text);
    unsigned rest = value < 0 ? (unsigned)-value : (unsigned)value;
    *--at = '\n';
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0) {
        *--at = '-';
    }
    call(SYS_WRITE, 1, (long)at, text + sizeof(text) - at, 0, 0);
}

/* Depends on the place, so that a piece at a wrong one is found. */
static void fill(unsigned seed, unsigned piece, unsigned bytes)
{
    unsigned x = (seed + 1) * 2654435761u ^ (piece + 1) * 2246822519u;
    x = x ? x : 1;
    for (unsigned i = 0; i < bytes / 4; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        wanted[i] = x;
    }
}

static int one(long disk, int write, unsigned bytes, unsigned piece)
{
    unsigned long long at = (unsigned long long)piece * bytes;
    long done = call(write ? SYS_PWRITE64 : SYS_PREAD64, disk, (long)(write ? wanted : found),
                     (long)bytes, (long)(unsigned)at, (long)(unsigned)(at >> 32));
    if (done != (long)bytes) {
        say(done);
        return 3;
    }
    for (unsigned i = 0; !write && i < bytes / 4; i++) {
        if (found[i] != wanted[i]) {
            say((long)piece);
            return 5;
        }
    }
    return 0;
}

static int pattern(char **argument)
{
    char mode = argument[1][0];
    int write = (mode | 0x20) == 'w';
    unsigned seed = number(argument[3]), bytes = number(argument[4]), count = number(argument[5]);
    long disk = call(SYS_OPEN, (long)argument[2], write ? O_RDWR_DIRECT : O_READ_DIRECT, 0, 0, 0);
    if (disk < 0 || bytes > MOST) {
        say(disk);
        return 2;
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned piece = mode < 'a' ? (i * 40503 + 7) & (count - 1) : i;
        fill(seed, piece, bytes);
        int status = one(disk, write, bytes, piece);
        if (status) {
            return status;
        }
    }
    return write && call(SYS_FSYNC, disk, 0, 0, 0, 0) < 0 ? 4 : 0;
}

static int format(char **argument)
{
    unsigned tracks = number(argument[3]), heads = number(argument[4]);
    long disk = call(SYS_OPEN, (long)argument[2], O_RDWR_EXCLUSIVE, 0, 0, 0);
    if (disk < 0 || call(SYS_IOCTL, disk, FD_FORMAT_BEGIN, 0, 0, 0) < 0) {
        say(disk);
        return 2;
    }
    for (unsigned i = 0; i < tracks * heads; i++) {
        unsigned where[3] = {0, i % heads, i / heads};
        if (call(SYS_IOCTL, disk, FD_FORMAT_TRACK, (long)where, 0, 0) < 0) {
            say((long)i);
            return 3;
        }
    }
    return call(SYS_IOCTL, disk, FD_FORMAT_END, 0, 0, 0) < 0 ? 4 : 0;
}

static int drive(char **argument)
{
    int question = is(argument[1], "status") || is(argument[1], "changed");
    long request = is(argument[1], "eject")    ? CD_EJECT
                   : is(argument[1], "close")  ? CD_CLOSE
                   : is(argument[1], "status") ? CD_STATUS
                                               : CD_CHANGED;
    long disc = call(SYS_OPEN, (long)argument[2], O_READ_NONBLOCK, 0, 0, 0);
    long result = disc < 0 ? disc : call(SYS_IOCTL, disc, request, CD_CURRENT_SLOT, 0, 0);
    if (question || result < 0) {
        say(result);
    }
    return result < 0 ? 3 : 0;
}

static int bare_main(int count, char **argument)
{
    return count == 6                                ? pattern(argument)
           : count == 5 && is(argument[1], "format") ? format(argument)
           : count == 3                              ? drive(argument)
                                                     : 1;
}
