/* The program: hands its arguments to the command that they name. */
#include <stdio.h>

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "vitrine: no commands yet\n");
        return 1;
    }
    puts("usage: vitrine COMMAND");
    return 0;
}
