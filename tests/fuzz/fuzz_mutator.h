/* What libFuzzer calls to change an image: fields of headers and tables get the values that code
 * forgets (fuzz_seeds.h). Included once by a harness of a format; the loop of fuzz_standalone.h
 * makes such changes itself. */
#ifndef TESTS_FUZZ_FUZZ_MUTATOR_H
#define TESTS_FUZZ_FUZZ_MUTATOR_H

#include "tests/fuzz/fuzz_seeds.h"

#ifndef FUZZ_STANDALONE
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    return seed % 3 ? fuzz_change(data, size, most, seed) : LLVMFuzzerMutate(data, size, most);
}
#endif

#endif
