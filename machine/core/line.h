/* A wire between two chips, held by the one that drives it.
 *
 * A Line is a plain value: copy it freely. The default (all zero) is an unconnected wire. Levels
 * are logical: true means asserted, whatever the polarity on the board. The sink sees every call,
 * changes or not.
 */
#ifndef MACHINE_CORE_LINE_H
#define MACHINE_CORE_LINE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Line {
    void (*drive)(void *sink, unsigned pin, bool level);
    void *sink;
    unsigned pin;
} Line;

static inline void line_set(const Line *line, bool level)
{
    if (line->drive) {
        line->drive(line->sink, line->pin, level);
    }
}

/* Edge inputs: a rising edge, then low again. */
static inline void line_pulse(const Line *line)
{
    line_set(line, true);
    line_set(line, false);
}

#endif
