/* What each harness's main has in common that is not built with libFuzzer: runs the files named, or
 * inputs that the harness makes, until the time is over. */
#ifndef TESTS_FUZZ_FUZZ_LOOP_H
#define TESTS_FUZZ_FUZZ_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef int FuzzRun(const uint8_t *data, size_t size);
/* Makes an input of at most room bytes; returns its size. */
typedef size_t FuzzMake(uint64_t *random, uint8_t *data, size_t room);

static inline bool fuzz_load(const char *path, uint8_t *data, size_t room, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return false;
    }
    *size = fread(data, 1, room, file);
    fclose(file);
    return true;
}

/* Keeps the input at hand in the file that FUZZ_LAST names: what a crash leaves behind. */
static inline void fuzz_keep(const uint8_t *data, size_t size)
{
    const char *path = getenv("FUZZ_LAST");
    FILE *file = path ? fopen(path, "wb") : NULL;
    if (file) {
        fwrite(data, 1, size, file);
        fclose(file);
    }
}

enum { FUZZ_NO_FILES = -1 };

/* argv: [seconds [seed]], which are read, or files, which are run. Returns the status to end with,
 * or FUZZ_NO_FILES. */
static inline int fuzz_files(int argc, char **argv, uint8_t *data, size_t room, FuzzRun *run,
                             long *seconds, uint64_t *seed)
{
    char *end = NULL;
    int status = 0;
    *seconds = argc > 1 ? strtol(argv[1], &end, 10) : 60;
    if (end && *end) {
        for (int i = 1; i < argc; i++) {
            size_t size;
            if (fuzz_load(argv[i], data, room, &size)) {
                run(data, size);
            } else {
                status = 1;
            }
        }
        return status;
    }
    *seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
    printf("seed 0x%llx\n", (unsigned long long)*seed);
    fflush(stdout);
    return FUZZ_NO_FILES;
}

static inline uint64_t fuzz_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* batch: inputs between two looks at the time. */
static inline int fuzz_loop(int argc, char **argv, uint8_t *data, size_t room, FuzzMake *make,
                            FuzzRun *run, unsigned batch)
{
    long seconds;
    uint64_t seed, count = 0;
    int status = fuzz_files(argc, argv, data, room, run, &seconds, &seed);
    if (status != FUZZ_NO_FILES) {
        return status;
    }
    uint64_t random = seed * 0x9e3779b97f4a7c15u | 1;
    for (time_t stop = time(NULL) + seconds; count % batch || time(NULL) < stop; count++) {
        size_t size = make(&random, data, room);
        fuzz_keep(data, size);
        run(data, size);
    }
    printf("%llu inputs\n", (unsigned long long)count);
    return 0;
}

#endif
