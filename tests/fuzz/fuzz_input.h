/* What a harness begins with: libFuzzer's entry points, an input taken byte by byte, a silent log.
 */
#ifndef TESTS_FUZZ_FUZZ_INPUT_H
#define TESTS_FUZZ_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "machine/core/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

typedef struct Input {
    const uint8_t *at, *end;
} Input;

/* Zero when there is no more. */
static inline uint8_t take(Input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

/* Little-endian; 0..4 bytes. */
static inline uint32_t take_value(Input *in, unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint32_t)take(in) << 8 * i;
    }
    return value;
}

static inline void fuzz_no_line(void *self, LogLevel level, const char *tag, const char *text)
{
    (void)self, (void)level, (void)tag, (void)text;
}

/* What is logged is no matter. */
static inline void fuzz_silence(void)
{
    log_to_sink(fuzz_no_line, NULL);
}

#endif
