/* The picture between the machine's thread, which draws it, and a window or recorder, which shows
 * it.
 *
 * The display device draws into the back picture and publishes it; a reader copies out the newest
 * one when its serial has moved. Neither waits for the other longer than a line's copy.
 */
#ifndef DISPLAY_SCREEN_H
#define DISPLAY_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/core/err.h"

#define SCREEN_MAX_WIDTH 2048u
#define SCREEN_MAX_HEIGHT 1536u

typedef struct Screen Screen;

/* A whole picture, as handed to a reader. */
typedef struct Picture {
    unsigned width, height; /* guest pixels; lines that the monitor shows twice are there twice */
    unsigned aspect_width,
        aspect_height; /* shape on the tube, 4:3 for all period modes; the pixels' own for VBE */
    uint64_t serial;   /* of this picture; 0: none yet */
    uint32_t *pixels;  /* 0x00RRGGBB, width * height, owned by the Picture */
    uint32_t room;     /* pixels allocated */
} Picture;

Screen *screen_new(void);
void screen_free(Screen *s);

/* Drawer. The back picture keeps what was drawn before as long as the size stays. */
uint32_t *screen_begin(Screen *s, unsigned width, unsigned height, unsigned aspect_width,
                       unsigned aspect_height);
/* Publishes; lines first..last (inclusive) were redrawn. Nothing redrawn: do not call it. */
void screen_publish(Screen *s, unsigned first, unsigned last);

/* Readers, any thread. Copies the newest picture into *picture (zeroed at first) if its serial
 * differs. True if it did. */
bool screen_read(Screen *s, Picture *picture);
void picture_free(Picture *picture);

/* PNG and PPM, by file name's ending or by choice; written to a temporary name and renamed. */
bool screenshot_png(const Picture *picture, const char *path, Err *err);
bool screenshot_ppm(const Picture *picture, const char *path, Err *err);

#endif
