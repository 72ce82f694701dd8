/* Loads the state of one board into another built alike, and holds it to saving the same again. For
 * harnesses that let both go on and compare. */
#ifndef TESTS_FUZZ_FUZZ_COPY_H
#define TESTS_FUZZ_FUZZ_COPY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/device.h"
#include "machine/core/state.h"

static StateIo *fuzz_saved(Board *b, const uint8_t **bytes, size_t *size)
{
    StateIo *io = state_saver_new();
    board_state(b, io);
    if (!state_ok(io)) {
        fprintf(stderr, "%s\n", state_error(io));
        abort();
    }
    *bytes = state_finish(io, size);
    return io;
}

/* Memory is the caller's to copy, before. exact: nothing that a load ends on purpose is under way.
 */
static void fuzz_copy_board(Board *from, Board *to, bool exact)
{
    const uint8_t *bytes, *again;
    size_t size, again_size;
    Err err = {""};
    StateIo *first = fuzz_saved(from, &bytes, &size);
    StateIo *loader = state_loader_new(bytes, size, &err);
    board_state(to, loader);
    if (!state_ok(loader)) {
        fprintf(stderr, "refused: %s\n", state_error(loader));
        abort();
    }
    board_restored(to);
    StateIo *second = fuzz_saved(to, &again, &again_size);
    if (exact && (size != again_size || memcmp(bytes, again, size) != 0)) {
        fprintf(stderr, "the state is another after loading\n");
        abort();
    }
    state_free(second);
    state_free(loader);
    state_free(first);
}

#endif
