/* Where the files that an image names are: backing files, parents, extents. */
#include "storage/image_path.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool image_path_beside(const char *image, const char *name, bool anywhere, char *path, size_t room,
                       Err *err)
{
    const char *slash = strrchr(image, '/');
    int folder = slash ? (int)(slash - image) + 1 : 0;
    if (strncmp(name, "file:", 5) == 0) {
        name += 5;
    }
    if (strncmp(name, "json:", 5) == 0 || (strchr(name, ':') && !strchr(name, '/'))) {
        return err_set(err, "'%s': '%s', which it builds on, is no file; convert it with qemu-img",
                       image, name);
    }
    snprintf(path, room, "%.*s%s", name[0] == '/' ? 0 : folder, image, name);
    if (anywhere) {
        return true;
    }
    char here[PATH_MAX], there[PATH_MAX], dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%.*s", folder ? folder : 1, folder ? image : ".");
    if (!realpath(dir, here) || !realpath(path, there)) {
        return err_set(err, "'%s': '%s', which it builds on, cannot be found: %s", image, path,
                       strerror(errno));
    }
    size_t length = strlen(here);
    bool below = strncmp(here, there, length) == 0 && (there[length] == '/' || length == 1);
    return below ||
           err_set(err,
                   "'%s': '%s', which it builds on, lies outside the image's folder; allow "
                   "that with backing=any if you trust the image",
                   image, path);
}
