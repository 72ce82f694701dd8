/* The picture's buffers: one being drawn, one newest, and those that readers still copy from.
 *
 * Each buffer knows, for every line, the serial of the picture in which that line last changed. So
 * the drawer copies into its buffer just the lines which changed since that buffer was last drawn,
 * and a reader just those that changed since its own picture. The mutex guards who holds which
 * buffer, never pixels, and nobody sleeps or copies while holding it. Wired by pc_build: the
 * display device draws, front ends read.
 */
#include "display/screen.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BUFFERS = 8 }; /* the one drawn, the newest, and six that slow readers may hold */

typedef struct Buffer {
    unsigned width, height, aspect_width, aspect_height;
    uint32_t *pixels;
    uint64_t *changed; /* per line: serial of the picture in which it last changed */
    uint64_t serial;   /* of the picture it holds */
    unsigned readers;  /* guarded by the mutex */
} Buffer;

struct Screen {
    pthread_mutex_t mutex;
    pthread_cond_t news; /* on CLOCK_MONOTONIC: there is a newer picture, or wakes has risen */
    unsigned wakes;
    Buffer buffer[BUFFERS];
    Buffer *newest; /* guarded by the mutex; written by the drawer only, which may read it freely */
    Buffer *back;   /* the drawer's */
    uint64_t serial;
    bool fresh;                    /* back has another size or shape than the newest */
    bool any;                      /* a line of back differs */
    bool drawn[SCREEN_MAX_HEIGHT]; /* lines of back that differ from the newest */
};

Screen *screen_new(void)
{
    Screen *s = calloc(1, sizeof(*s));
    if (s) {
        pthread_condattr_t attributes;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&s->news, &attributes);
        pthread_condattr_destroy(&attributes);
        pthread_mutex_init(&s->mutex, NULL);
        s->back = &s->buffer[0];
    }
    return s;
}

void screen_free(Screen *s)
{
    if (s) {
        for (unsigned i = 0; i < BUFFERS; i++) {
            free(s->buffer[i].pixels);
            free(s->buffer[i].changed);
        }
        pthread_cond_destroy(&s->news);
        pthread_mutex_destroy(&s->mutex);
        free(s);
    }
}

static bool same_shape(const Buffer *a, const Buffer *b)
{
    return a->width == b->width && a->height == b->height && a->aspect_width == b->aspect_width &&
           a->aspect_height == b->aspect_height;
}

/* Makes room for a picture like `shape`; its lines are black and as old as can be. False: no
 * memory; the buffer is then empty. */
static bool reshape(Buffer *b, const Buffer *shape)
{
    if (same_shape(b, shape)) {
        return true;
    }
    free(b->pixels);
    free(b->changed);
    b->pixels = calloc((size_t)shape->width * shape->height, sizeof(*b->pixels));
    b->changed = calloc(shape->height, sizeof(*b->changed));
    bool ok = b->pixels && b->changed;
    b->width = ok ? shape->width : 0;
    b->height = ok ? shape->height : 0;
    b->aspect_width = shape->aspect_width;
    b->aspect_height = shape->aspect_height;
    return ok;
}

bool screen_begin(Screen *s, unsigned width, unsigned height, unsigned aspect_width,
                  unsigned aspect_height)
{
    Buffer shape = {.width = width,
                    .height = height,
                    .aspect_width = aspect_width,
                    .aspect_height = aspect_height};
    if (same_shape(s->back, &shape)) {
        return false;
    }
    s->fresh = !s->newest || !same_shape(s->newest, &shape);
    s->any = s->fresh;
    memset(s->drawn, 0, sizeof(s->drawn));
    reshape(s->back, &shape);
    return true;
}

static uint32_t *line_of(const Buffer *b, unsigned y)
{
    return b->pixels + (size_t)y * b->width;
}

bool screen_put(Screen *s, unsigned y, const uint32_t *pixels)
{
    if (y >= s->back->height) {
        return false; /* no memory for a picture of this size */
    }
    const Buffer *seen = s->drawn[y] || s->fresh ? s->back : s->newest;
    size_t bytes = s->back->width * sizeof(*pixels);
    if (memcmp(line_of(seen, y), pixels, bytes) == 0) {
        return false;
    }
    memcpy(line_of(s->back, y), pixels, bytes);
    s->drawn[y] = true;
    s->any = true;
    return true;
}

/* Brings the lines of back that were not drawn up to the newest picture. */
static void complete(Screen *s, uint64_t serial)
{
    Buffer *back = s->back;
    for (unsigned y = 0; y < back->height; y++) {
        if (s->drawn[y] || s->fresh) {
            back->changed[y] = serial;
            s->drawn[y] = false;
        } else if (s->newest->changed[y] > back->changed[y]) {
            memcpy(line_of(back, y), line_of(s->newest, y), back->width * sizeof(uint32_t));
            back->changed[y] = s->newest->changed[y];
        }
    }
    back->serial = serial;
}

bool screen_waits(const Screen *s)
{
    return s->any;
}

bool screen_publish(Screen *s)
{
    if (!s->any || s->back->height == 0) {
        return false;
    }
    Buffer *next = NULL;
    pthread_mutex_lock(&s->mutex);
    for (unsigned i = 0; i < BUFFERS && !next; i++) {
        Buffer *b = &s->buffer[i];
        if (b != s->back && b != s->newest && b->readers == 0) {
            next = b; /* nobody can find it until it is published */
        }
    }
    pthread_mutex_unlock(&s->mutex);
    if (!next || !reshape(next, s->back)) {
        return false;
    }
    complete(s, ++s->serial);
    pthread_mutex_lock(&s->mutex);
    s->newest = s->back;
    pthread_mutex_unlock(&s->mutex);
    pthread_cond_broadcast(&s->news);
    s->back = next;
    s->fresh = s->any = false;
    return true;
}

/* Room for the picture; false when memory is short. */
static bool picture_fit(Picture *picture, const Buffer *b)
{
    uint32_t need = b->width * b->height;
    if (picture->room < need) {
        uint32_t *pixels = realloc(picture->pixels, (size_t)need * sizeof(*pixels));
        if (!pixels) {
            return false;
        }
        picture->pixels = pixels;
        picture->room = need;
    }
    return true;
}

static void picture_copy(Picture *picture, const Buffer *b)
{
    bool all = picture->serial == 0 || picture->width != b->width || picture->height != b->height ||
               picture->serial > b->serial;
    picture->width = b->width;
    picture->height = b->height;
    picture->aspect_width = b->aspect_width;
    picture->aspect_height = b->aspect_height;
    picture->changed_first = b->height;
    picture->changed_last = 0;
    for (unsigned y = 0; y < b->height; y++) {
        if (all || b->changed[y] > picture->serial) {
            memcpy(picture->pixels + (size_t)y * b->width, line_of(b, y),
                   b->width * sizeof(uint32_t));
            picture->changed_last = y;
            if (picture->changed_first > y) {
                picture->changed_first = y;
            }
        }
    }
    picture->serial = b->serial;
}

bool screen_read(Screen *s, Picture *picture)
{
    pthread_mutex_lock(&s->mutex);
    Buffer *b = s->newest;
    bool news = b && b->serial != picture->serial;
    if (news) {
        b->readers++;
    }
    pthread_mutex_unlock(&s->mutex);
    if (!news) {
        return false;
    }
    bool fits = picture_fit(picture, b);
    if (fits) {
        picture_copy(picture, b);
    }
    pthread_mutex_lock(&s->mutex);
    b->readers--;
    pthread_mutex_unlock(&s->mutex);
    return fits;
}

uint64_t screen_wait(Screen *s, uint64_t serial, unsigned milliseconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += milliseconds % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_mutex_lock(&s->mutex);
    unsigned wakes = s->wakes;
    while (wakes == s->wakes && (s->newest ? s->newest->serial : 0) == serial &&
           pthread_cond_timedwait(&s->news, &s->mutex, &until) == 0) {
    }
    uint64_t newest = s->newest ? s->newest->serial : 0;
    pthread_mutex_unlock(&s->mutex);
    return newest;
}

void screen_wake(Screen *s)
{
    pthread_mutex_lock(&s->mutex);
    s->wakes++;
    pthread_mutex_unlock(&s->mutex);
    pthread_cond_broadcast(&s->news);
}

void picture_free(Picture *picture)
{
    free(picture->pixels);
    memset(picture, 0, sizeof(*picture));
}
