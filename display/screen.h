/* The picture between the machine's thread, which draws it, and a window or recorder, which shows
 * it.
 *
 * The display device puts lines that may have changed and publishes them as one picture at each
 * vertical retrace; a reader copies out what is new to it when the serial has moved. The drawer
 * never waits for a reader: it draws into a buffer that nobody reads, and only lines it did not
 * draw itself are ever copied there.
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
    unsigned changed_first,
        changed_last; /* the lines that the last screen_read brought lie within these */
} Picture;

/* NULL when memory is short. */
Screen *screen_new(void);
void screen_free(Screen *s);

/* Drawer, one thread. The size (1..SCREEN_MAX_*) and shape of what follows. True when they are not
 * those of the lines put before: the picture is black then and each line must be put. */
bool screen_begin(Screen *s, unsigned width, unsigned height, unsigned aspect_width,
                  unsigned aspect_height);
/* Line y (below height) is these `width` pixels now. True when it was not so before. */
bool screen_put(Screen *s, unsigned y, const uint32_t *pixels);
/* Are there lines put that differ from what is shown? */
bool screen_waits(const Screen *s);
/* Shows all lines put, if any differs. False: nothing to show, or all buffers are being read, and
 * then the lines come with the next picture. */
bool screen_publish(Screen *s);

/* Readers, any thread. Copies the newest picture into *picture (zeroed at first) if its serial
 * differs, only those lines of it that are new. True if it did. */
bool screen_read(Screen *s, Picture *picture);
/* Any thread: sleeps while the newest picture's serial is `serial`, until screen_wake, or for that
 * long. Returns the newest picture's serial, 0 when there is none yet. */
uint64_t screen_wait(Screen *s, uint64_t serial, unsigned milliseconds);
/* Ends the waits that are under way. */
void screen_wake(Screen *s);
void picture_free(Picture *picture);

/* PNG and PPM with the exact guest pixels; written to a temporary name and renamed. */
bool screenshot_png(const Picture *picture, const char *path, Err *err);
bool screenshot_ppm(const Picture *picture, const char *path, Err *err);

#endif
