/* `vitrine accel`: which engines this host can run, measured. */
#include "machine/accel_command.h"

#include <stdio.h>
#include <string.h>

#include "cpu-accel/accel_probe.h"
#include "machine/engine.h"

static const char help[] = "usage: vitrine accel\n\n"
                           "Runs tiny guests in each mode of the processor under each engine of "
                           "this host, checks what they\n"
                           "compute and how fast, and says which engine -accel auto takes.\n";

int accel_command(int argc, char **argv)
{
    bool wants_help = argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    if (argc > 1) {
        fputs(help, wants_help ? stdout : stderr);
        return wants_help ? 0 : 1;
    }
    AccelTable table;
    accel_probe(engine_has_translator(), &table);
    for (unsigned i = 0; i < table.rows; i++) {
        const AccelRow *row = &table.row[i];
        printf("%-4s %-12s %-18s %s\n", row->good ? "ok" : "-", row->engine, row->what, row->text);
    }
    printf("\n-accel auto takes %s", table.choice);
    if (table.why[0]) {
        printf(": %s", table.why);
    }
    putchar('\n');
    return 0;
}
