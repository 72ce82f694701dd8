/* The commands of the program that the front end answers itself. */
#ifndef UI_CLI_H
#define UI_CLI_H

/* `vitrine run`: argv[0] is "run". Returns the exit status: the machine's, or 1 for a usage or host
 * error, which has been printed in one line. */
int cli_run(int argc, char **argv);
/* `vitrine --version`. */
int cli_version(void);

#endif
