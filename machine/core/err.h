/* Errors of the host and of the configuration, set once where they are known and printed once at
 * the top.
 *
 * A function that can fail so returns bool and takes an Err as its last argument. The text names
 * the file or option and says what to do about it. What a guest does wrong is no error in this
 * sense: see log.h, level guest.
 */
#ifndef MACHINE_CORE_ERR_H
#define MACHINE_CORE_ERR_H

#include <stdbool.h>

typedef struct Err {
    char text[512]; /* empty: no error; always terminated */
} Err;

/* Sets the text (err may be NULL) unless an earlier one stands. Always returns false: `return
 * err_set(err, ...)`. */
bool err_set(Err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
