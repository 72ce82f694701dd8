/* The main of a harness of boards that is not built with libFuzzer: its inputs are noise, or the
 * files named. Included once, behind the harness, which has INPUT_MAX. */
#ifndef TESTS_FUZZ_FUZZ_NOISE_H
#define TESTS_FUZZ_FUZZ_NOISE_H

#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_loop.h"

#ifdef FUZZ_STANDALONE
/* Random bytes, up to 2,000. */
static size_t fuzz_noise(uint64_t *random, uint8_t *data, size_t room)
{
    size_t size = 4 + fuzz_random(random) % (room < 2004 ? room - 4 : 2000);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(fuzz_random(random) >> 24);
    }
    return size;
}

int main(int argc, char **argv)
{
    static uint8_t data[INPUT_MAX];
    LLVMFuzzerInitialize(&argc, &argv);
    return fuzz_loop(argc, argv, data, sizeof(data), fuzz_noise, LLVMFuzzerTestOneInput, 1);
}
#endif

#endif
