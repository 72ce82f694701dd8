/* Reading whole files of the host. */
#include "machine/host/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

uint8_t *file_read(const char *path, size_t limit, size_t *size, const char *option, Err *err)
{
    const char *what = option ? option : "file";
    uint8_t *data = NULL;
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (!file || fstat(fileno(file), &info) < 0) {
        err_set(err, "%s %s: %s; name a file that can be read", what, path, strerror(errno));
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        err_set(err, "%s %s: this is no regular file", what, path);
        goto done;
    }
    if ((uint64_t)info.st_size > limit) {
        err_set(err, "%s %s: it has %lld bytes, more than the %zu that are possible here", what,
                path, (long long)info.st_size, limit);
        goto done;
    }
    data = malloc((size_t)info.st_size + 1);
    if (!data) {
        err_set(err, "out of memory");
        goto done;
    }
    *size = fread(data, 1, (size_t)info.st_size, file);
    if (*size != (size_t)info.st_size) {
        err_set(err, "%s %s: it could not be read to its end", what, path);
        free(data);
        data = NULL;
    }
done:
    if (file) {
        fclose(file);
    }
    return data;
}
