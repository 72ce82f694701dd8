/* Reads or writes a block device past the page cache: what the guest runs in tests/bench/disk.py.
 *
 * disk_io r|w|R|W DEVICE BYTES COUNT MIB: COUNT times BYTES, one after the other or (capitals) at
 * random places of the first MIB mebibytes; ends with a sync. i386 Linux system calls and no
 * library: gcc -m32 -nostdlib -static -ffreestanding.
 */
enum {
    SYS_EXIT = 1,
    SYS_OPEN = 5,
    SYS_FSYNC = 118,
    SYS_PREAD64 = 180,
    SYS_PWRITE64 = 181,
    O_RDWR_DIRECT = 040002,
    MOST = 1 << 20,
};

static char buffer[MOST] __attribute__((aligned(4096)));

static long call(long number, long a, long b, long c, long d, long e)
{
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                     : "memory");
    return result;
}

static unsigned number(const char *text)
{
    unsigned value = 0;
    while (*text) {
        value = value * 10 + (unsigned)(*text++ - '0');
    }
    return value;
}

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

__attribute__((force_align_arg_pointer, used)) void disk_io_start(long *stack)
{
    int status = stack[0] == 6 ? run((char **)(stack + 1)) : 1;
    call(SYS_EXIT, status, 0, 0, 0, 0);
}

#ifdef __i386__
__asm__(".globl _start\n_start:\n\tmov %esp, %eax\n\tpush %eax\n\tcall disk_io_start\n");
#endif
