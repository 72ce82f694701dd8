/* The main of a harness that is not built with libFuzzer: changes the start inputs of a folder
 * itself, or runs the files named. Included once, behind the harness. */
#ifndef TESTS_FUZZ_FUZZ_STANDALONE_H
#define TESTS_FUZZ_FUZZ_STANDALONE_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/fuzz/fuzz_seeds.h"

static size_t standalone_load(const char *path, uint8_t *data, size_t room)
{
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(data, 1, room, file) : 0;
    if (file) {
        fclose(file);
    } else {
        perror(path);
    }
    return size;
}

static void standalone_keep(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = path ? fopen(path, "wb") : NULL;
    if (file) { /* what a crash leaves behind */
        fwrite(data, 1, size, file);
        fclose(file);
    }
}

/* argv: [seconds [seed]] or files. FUZZ_CORPUS names the folder, FUZZ_LAST the file that keeps the
 * input at hand. */
static int standalone_main(int argc, char **argv, uint8_t *data, size_t room,
                           int (*run)(const uint8_t *data, size_t size))
{
    char *end = NULL;
    long seconds = argc > 1 ? strtol(argv[1], &end, 10) : 60;
    if (end && *end) {
        for (int i = 1; i < argc; i++) {
            run(data, standalone_load(argv[i], data, room));
        }
        return 0;
    }
    const char *corpus = getenv("FUZZ_CORPUS"), *keep = getenv("FUZZ_LAST");
    uint32_t seed = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : (uint32_t)time(NULL);
    time_t stop = time(NULL) + seconds;
    unsigned long count = 0;
    printf("seed 0x%x\n", seed);
    fflush(stdout);
    while (corpus && time(NULL) < stop) {
        DIR *dir = opendir(corpus);
        const struct dirent *entry;
        while (dir && (entry = readdir(dir)) != NULL) {
            char path[512];
            snprintf(path, sizeof(path), "%s/%s", corpus, entry->d_name);
            size_t size = entry->d_name[0] == '.' ? 0 : standalone_load(path, data, room);
            for (unsigned i = 0; i < 20 && size; i++) {
                seed = seed * 1664525 + 1013904223;
                size = fuzz_change(data, size, room, seed);
                standalone_keep(keep, data, size);
                run(data, size);
                count++;
            }
        }
        if (!dir || count == 0) {
            fprintf(stderr, "no start inputs in '%s'\n", corpus);
            return 1;
        }
        closedir(dir);
    }
    printf("%lu inputs\n", count);
    return 0;
}

#endif
