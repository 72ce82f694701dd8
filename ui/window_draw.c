/* The picture in the window: whole multiples of the guest's pixels, or the tube's shape, sharp or
 * smooth; and the look of scan lines. */
#include "ui/window_internal.h"

enum {
    MAX_ENLARGED = 4096,
    DESKTOP_PERCENT = 80,
    DEFAULT_WIDTH = 720,
    DEFAULT_HEIGHT = 400,
    SCANLINE_ALPHA = 110
};

static void upload(Window *w, unsigned first, unsigned last)
{
    const Picture *p = &w->picture;
    if (w->texture && first <= last && last < p->height) {
        SDL_Rect lines = {0, (int)first, (int)p->width, (int)(last - first + 1)};
        SDL_UpdateTexture(w->texture, &lines, p->pixels + (size_t)first * p->width,
                          (int)(p->width * sizeof(p->pixels[0])));
    }
}

void window_picture_renew(Window *w)
{
    const Picture *p = &w->picture;
    SDL_DestroyTexture(w->texture);
    SDL_DestroyTexture(w->enlarged);
    w->texture = w->enlarged = NULL;
    if (p->serial && p->width && p->height) {
        w->texture = SDL_CreateTexture(w->renderer, SDL_PIXELFORMAT_RGB888,
                                       SDL_TEXTUREACCESS_STREAMING, (int)p->width, (int)p->height);
        w->shown_width = p->width;
        w->shown_height = p->height;
        upload(w, 0, p->height - 1);
    }
}

bool window_picture_update(Window *w)
{
    const Picture *p = &w->picture;
    if (!screen_read(machine_screen(w->machine), &w->picture)) {
        return false;
    }
    if (!w->texture || w->shown_width != p->width || w->shown_height != p->height) {
        window_picture_renew(w);
        window_fit(w);
    } else {
        upload(w, p->changed_first, p->changed_last);
    }
    return true;
}

static void guest_size(const Window *w, int *width, int *height)
{
    *width = w->shown_width ? (int)w->shown_width : DEFAULT_WIDTH;
    *height = w->shown_height ? (int)w->shown_height : DEFAULT_HEIGHT;
}

/* The height that gives a width the tube's shape. */
static int shape_height(const Window *w, int width)
{
    unsigned aw = w->picture.aspect_width, ah = w->picture.aspect_height;
    return aw && ah ? (int)((uint64_t)(unsigned)width * ah / aw) : width * 3 / 4;
}

/* Makes the window `width` by `height`, less where the desktop is smaller, and all of it seen. */
static void resize(Window *w, int width, int height, const SDL_Rect *desktop)
{
    int x, y;
    if (width > desktop->w) {
        height = (int)((int64_t)height * desktop->w / width);
        width = desktop->w;
    }
    if (height > desktop->h) {
        width = (int)((int64_t)width * desktop->h / height);
        height = desktop->h;
    }
    SDL_SetWindowSize(w->sdl, width, height);
    SDL_GetWindowSize(w->sdl, &w->set_width, &w->set_height);
    SDL_GetWindowPosition(w->sdl, &x, &y);
    if (x < desktop->x || y < desktop->y || x + width > desktop->x + desktop->w ||
        y + height > desktop->y + desktop->h) {
        SDL_SetWindowPosition(w->sdl, desktop->x + (desktop->w - width) / 2,
                              desktop->y + (desktop->h - height) / 2);
    }
}

void window_fit(Window *w)
{
    int width, height, now_width, now_height;
    SDL_Rect desktop;
    SDL_GetWindowSize(w->sdl, &now_width, &now_height);
    bool ours = now_width == w->set_width && now_height == w->set_height;
    if (w->full_screen || !ours || (SDL_GetWindowFlags(w->sdl) & SDL_WINDOW_MAXIMIZED) ||
        SDL_GetDisplayUsableBounds(SDL_GetWindowDisplayIndex(w->sdl), &desktop) != 0) {
        return;
    }
    guest_size(w, &width, &height);
    if (w->scaling != SCALING_INTEGER) {
        height = shape_height(w, width);
    }
    int wide = desktop.w * DESKTOP_PERCENT / 100 / width;
    int high = desktop.h * DESKTOP_PERCENT / 100 / height;
    int scale = wide < high ? wide : high;
    scale = scale < 1 ? 1 : scale;
    resize(w, width * scale, height * scale, &desktop);
}

/* The largest rectangle of the tube's shape. */
static SDL_Rect fit_shape(const Window *w, int out_width, int out_height)
{
    int width = out_width;
    int height = shape_height(w, width);
    if (height > out_height) {
        height = out_height;
        int full = shape_height(w, 4096);
        width = full > 0 ? (int)((int64_t)height * 4096 / full) : out_width;
    }
    return (SDL_Rect){(out_width - width) / 2, (out_height - height) / 2, width, height};
}

static void place(Window *w, int out_width, int out_height)
{
    int width, height;
    guest_size(w, &width, &height);
    int scale = out_width / width < out_height / height ? out_width / width : out_height / height;
    if (w->scaling == SCALING_INTEGER && scale >= 1) {
        width *= scale;
        height *= scale;
        w->at = (SDL_Rect){(out_width - width) / 2, (out_height - height) / 2, width, height};
    } else {
        w->at = fit_shape(w, out_width, out_height);
    }
}

/* The picture in whole multiples at least as large as it is to be shown: shrinking that keeps the
 * edges of pixels sharp where plain smoothing would blur them. NULL: not possible. */
static SDL_Texture *enlarge(Window *w)
{
    int width = (int)w->shown_width, height = (int)w->shown_height;
    int across = (w->at.w + width - 1) / width, down = (w->at.h + height - 1) / height;
    while (across > 1 && width * across > MAX_ENLARGED) {
        across--;
    }
    while (down > 1 && height * down > MAX_ENLARGED) {
        down--;
    }
    if (across * down <= 1) {
        return NULL;
    }
    if (!w->enlarged || w->enlarged_width != width * across ||
        w->enlarged_height != height * down) {
        SDL_DestroyTexture(w->enlarged);
        w->enlarged_width = width * across;
        w->enlarged_height = height * down;
        w->enlarged =
            SDL_CreateTexture(w->renderer, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_TARGET,
                              w->enlarged_width, w->enlarged_height);
    }
    if (!w->enlarged || SDL_SetRenderTarget(w->renderer, w->enlarged) != 0) {
        return NULL;
    }
    SDL_SetTextureScaleMode(w->texture, SDL_ScaleModeNearest);
    SDL_RenderCopy(w->renderer, w->texture, NULL, NULL);
    SDL_SetRenderTarget(w->renderer, NULL);
    return w->enlarged;
}

static void draw_picture(Window *w)
{
    bool exact = w->at.w % (int)w->shown_width == 0 && w->at.h % (int)w->shown_height == 0;
    SDL_Texture *source = exact || w->scaling == SCALING_SMOOTH ? NULL : enlarge(w);
    if (!source) {
        source = w->texture;
    }
    SDL_SetTextureScaleMode(source, exact ? SDL_ScaleModeNearest : SDL_ScaleModeLinear);
    SDL_RenderCopy(w->renderer, source, NULL, &w->at);
}

/* Darkens the lower half of each line of the tube. Where a line is less than two pixels high, two
 * of the guest's lines make one. */
static void draw_scanlines(Window *w)
{
    int64_t lines = w->shown_height, height = w->at.h;
    int64_t step = height >= 2 * lines ? 1 : 2;
    SDL_SetRenderDrawBlendMode(w->renderer, SDL_BLENDMODE_BLEND);
    SDL_SetRenderDrawColor(w->renderer, 0, 0, 0, SCANLINE_ALPHA);
    for (int64_t line = 0; line < lines; line += step) {
        int top = (int)(line * height / lines), bottom = (int)((line + step) * height / lines);
        int middle = (top + bottom + 1) / 2;
        SDL_Rect dark = {w->at.x, w->at.y + middle, w->at.w, bottom - middle};
        if (dark.h > 0) {
            SDL_RenderFillRect(w->renderer, &dark);
        }
    }
    SDL_SetRenderDrawBlendMode(w->renderer, SDL_BLENDMODE_NONE);
}

void window_draw(Window *w)
{
    int out_width = 0, out_height = 0;
    SDL_GetRendererOutputSize(w->renderer, &out_width, &out_height);
    place(w, out_width, out_height);
    SDL_SetRenderDrawColor(w->renderer, 0, 0, 0, 255);
    SDL_RenderClear(w->renderer);
    if (w->texture && w->at.w > 0 && w->at.h > 0) {
        draw_picture(w);
        if (w->scanlines) {
            draw_scanlines(w);
        }
        window_clip_draw(w);
    }
    MenuAction action = MENU_NONE;
    if (w->menu_open && w->menu) {
        action = menu_draw(w->menu, &w->model, w->menu_opened);
        w->menu_opened = false;
    } else if (w->full_screen && w->notice_at && window_menu_ready(w)) {
        menu_toast(w->menu, w->notice); /* there is no title to say it */
    }
    SDL_RenderPresent(w->renderer);
    w->redraw = false;
    window_menu_act(w, action);
}

void window_draw_free(Window *w)
{
    SDL_DestroyTexture(w->texture);
    SDL_DestroyTexture(w->enlarged);
    picture_free(&w->picture);
}
