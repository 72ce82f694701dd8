/* `vitrine accel`: which engines this host can run, measured. */
#ifndef MACHINE_ACCEL_COMMAND_H
#define MACHINE_ACCEL_COMMAND_H

/* Prints the table and what -accel auto takes. Exit status. */
int accel_command(int argc, char **argv);

#endif
