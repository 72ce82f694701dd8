/* The main of a harness that is not built with libFuzzer: changes the start inputs of a folder
 * itself, or runs the files named. Included once, behind the harness. */
#ifndef TESTS_FUZZ_FUZZ_STANDALONE_H
#define TESTS_FUZZ_FUZZ_STANDALONE_H

#include <dirent.h>

#include "tests/fuzz/fuzz_loop.h"
#include "tests/fuzz/fuzz_seeds.h"

/* argv: [seconds [seed]] or files. FUZZ_CORPUS names the folder, FUZZ_LAST the file that keeps the
 * input at hand. */
static int standalone_main(int argc, char **argv, uint8_t *data, size_t room,
                           FuzzRun *run)
{
    const char *corpus = getenv("FUZZ_CORPUS");
    long seconds;
    uint64_t first;
    int status = fuzz_files(argc, argv, data, room, run, &seconds, &first);
    if (status != FUZZ_NO_FILES) {
        return status;
    }
    uint32_t seed = (uint32_t)first;
    time_t stop = time(NULL) + seconds;
    unsigned long count = 0;
    while (corpus && time(NULL) < stop) {
        DIR *dir = opendir(corpus);
        const struct dirent *entry;
        while (dir && (entry = readdir(dir)) != NULL) {
            char path[512];
            snprintf(path, sizeof(path), "%s/%s", corpus, entry->d_name);
            size_t size = 0;
            if (entry->d_name[0] == '.' || !fuzz_load(path, data, room, &size)) {
                continue;
            }
            for (unsigned i = 0; i < 20 && size; i++) {
                seed = seed * 1664525 + 1013904223;
                size = fuzz_change(data, size, room, seed);
                fuzz_keep(data, size);
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
