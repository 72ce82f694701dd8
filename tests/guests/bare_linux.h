/* An i386 Linux program without a library, for programs that guests run: system calls, the
 * arguments, and the way in. debian.bare_program() builds one. It defines bare_main. */
#ifndef TESTS_GUESTS_BARE_LINUX_H
#define TESTS_GUESTS_BARE_LINUX_H

enum {
    SYS_EXIT = 1,
    SYS_WRITE = 4,
    SYS_OPEN = 5,
    SYS_IOCTL = 54,
    SYS_FSYNC = 118,
    SYS_PREAD64 = 180,
    SYS_PWRITE64 = 181,
    O_READ_DIRECT = 040000,
    O_RDWR_DIRECT = 040002,
    O_RDWR_EXCLUSIVE = 0202,
    O_READ_NONBLOCK = 04000,
};

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

/* The program. argument[0] is its name; returns the status to end with. */
static int bare_main(int count, char **argument);

__attribute__((force_align_arg_pointer, used)) static void bare_start(long *stack)
{
    call(SYS_EXIT, bare_main((int)stack[0], (char **)(stack + 1)), 0, 0, 0, 0);
}

#ifdef __i386__
__asm__(".globl _start\n_start:\n\tmov %esp, %eax\n\tpush %eax\n\tcall bare_start\n");
#endif

#endif
