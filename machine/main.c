/* The program: hands its arguments to the command that they name. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "machine/accel_command.h"
#include "machine/image_command.h"
#include "ui/cli.h"

typedef struct Command {
    const char *name, *help;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
} Command;

static const Command commands[] = {
    {"run", "boots an image, a kernel or an empty machine", cli_run},
    {"image", "makes, examines and changes disk images", image_command},
    {"accel", "measures the engines of this host", accel_command},
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void usage(FILE *to)
{
    fputs("usage: vitrine COMMAND [options]\n\n", to);
    for (unsigned i = 0; i < COMMANDS; i++) {
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
    }
    fputs("\n'vitrine COMMAND --help' tells more; 'vitrine --version' tells the version.\n"
          "'vitrine IMAGE' and 'vitrine -OPTION...' are short for 'vitrine run'.\n",
          to);
}

static int is(const char *arg, const char *name)
{
    return strcmp(arg + (arg[0] == '-') + (arg[0] == '-' && arg[1] == '-'), name) == 0;
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow further is an error like any other */
    if (argc < 2) {
        usage(stderr);
        return 1;
    }
    for (unsigned i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    if (is(argv[1], "help") || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return 0;
    }
    if (is(argv[1], "version")) {
        return cli_version();
    }
    if (argv[1][0] == '-' || strpbrk(argv[1], "./")) {
        return cli_run(argc, argv);
    }
    fprintf(stderr, "vitrine: there is no command '%s'; see 'vitrine --help'\n", argv[1]);
    return 1;
}
