/* Start images for the fuzzing of image formats, made by our own code; their checksums; changes of
 * their fields. */
#ifndef TESTS_FUZZ_FUZZ_SEEDS_H
#define TESTS_FUZZ_FUZZ_SEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes small images of the format into a folder, which must be there. */
bool fuzz_write_seeds(const char *format, const char *folder);
/* Makes the checksums right that an opener tests before anything else. */
void fuzz_mend(const char *format, uint8_t *data, size_t size);
/* One to four changes: edge values in fields of 1 to 8 bytes of either byte order, numbers that
 * stand elsewhere in the image, pieces moved, the end cut off. Returns the new size. */
size_t fuzz_change(uint8_t *data, size_t size, size_t most, uint32_t seed);

#endif
