/* Screenshots: a picture as a PNG (ISO/IEC 15948, by libpng) or PPM (P6) file, pixel by pixel.
 *
 * The file appears whole or not at all: it is written beside its place and renamed. Called by front
 * ends.
 */
#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "display/screen.h"

/* Red, green, blue bytes of all pixels; NULL when there is no memory for them. */
static uint8_t *bytes_of(const Picture *picture)
{
    size_t count = (size_t)picture->width * picture->height;
    uint8_t *bytes = malloc(count * 3);
    for (size_t i = 0; bytes && i < count; i++) {
        uint32_t pixel = picture->pixels[i];
        bytes[3 * i] = (uint8_t)(pixel >> 16);
        bytes[3 * i + 1] = (uint8_t)(pixel >> 8);
        bytes[3 * i + 2] = (uint8_t)pixel;
    }
    return bytes;
}

static bool write_png(FILE *file, const Picture *picture, const uint8_t *bytes, Err *err)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = picture->width,
                       .height = picture->height,
                       .format = PNG_FORMAT_RGB};
    if (!png_image_write_to_stdio(&image, file, 0, bytes, 0, NULL)) {
        return err_set(err, "screenshot: %s", image.message);
    }
    return true;
}

static bool write_ppm(FILE *file, const Picture *picture, const uint8_t *bytes, Err *err)
{
    size_t size = (size_t)picture->width * picture->height * 3;
    if (fprintf(file, "P6\n%u %u\n255\n", picture->width, picture->height) < 0 ||
        fwrite(bytes, 1, size, file) != size) {
        return err_set(err, "screenshot: %s", strerror(errno));
    }
    return true;
}

static bool write_file(const Picture *picture, const char *path,
                       bool (*write)(FILE *, const Picture *, const uint8_t *, Err *), Err *err)
{
    if (picture->serial == 0 || !picture->pixels) {
        return err_set(err, "screenshot %s: there is no picture yet", path);
    }
    bool ok = false;
    FILE *file = NULL;
    uint8_t *bytes = bytes_of(picture);
    size_t room = strlen(path) + sizeof(".part");
    char *part = malloc(room);
    if (!bytes || !part) {
        err_set(err, "screenshot %s: out of memory", path);
        goto done;
    }
    snprintf(part, room, "%s.part", path);
    file = fopen(part, "wb");
    if (!file) {
        err_set(err, "screenshot %s: %s", path, strerror(errno));
        goto done;
    }
    ok = write(file, picture, bytes, err);
    if (fclose(file) != 0 && ok) {
        ok = err_set(err, "screenshot %s: %s", path, strerror(errno));
    }
    if (ok && rename(part, path) != 0) {
        ok = err_set(err, "screenshot %s: %s", path, strerror(errno));
    }
    if (!ok) {
        unlink(part);
    }
done:
    free(part);
    free(bytes);
    return ok;
}

bool screenshot_png(const Picture *picture, const char *path, Err *err)
{
    return write_file(picture, path, write_png, err);
}

bool screenshot_ppm(const Picture *picture, const char *path, Err *err)
{
    return write_file(picture, path, write_ppm, err);
}
