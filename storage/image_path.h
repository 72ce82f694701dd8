/* Where the files that an image names are: backing files, parents, extents.
 */
#ifndef STORAGE_IMAGE_PATH_H
#define STORAGE_IMAGE_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "machine/core/err.h"

/* The path of the file `name` that the image at `image` refers to: beside the image unless the name
 * begins with a slash. False with err set when it is no file's name, or not there, or, unless
 * `anywhere`, when it leads out of the image's folder: an image from a stranger must not lay hands
 * on other files. */
bool image_path_beside(const char *image, const char *name, bool anywhere, char *path, size_t room,
                       Err *err);

#endif
