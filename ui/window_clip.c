/* Text in the window: selecting with the mouse, copying, pasting as keystrokes, searching.
 *
 * Only while the mouse is not the guest's: a drag selects (with Shift where the guest follows the
 * pointer by itself), with Ctrl a rectangle. A selection goes when the text under it changes.
 */
#include <stdlib.h>
#include <string.h>

#include "ui/window_internal.h"

enum { MAX_FOUND = 512, TINT_ALPHA = 120 };

static void set_clipboards(char *text)
{
    if (text && *text) {
        SDL_SetPrimarySelectionText(text);
    }
    free(text);
}

void window_clip_clear(Window *w)
{
    w->redraw |= w->clip.selected || w->clip.selecting;
    w->clip.selected = w->clip.selecting = false;
}

/* The cell at a place of the window. */
static bool cell_at(const Window *w, int x, int y, unsigned *column, unsigned *row)
{
    const ClipScreen *s = &w->clip.screen;
    uint16_t px, py;
    if (!window_in_picture(w, x, y, &px, &py)) {
        return false;
    }
    unsigned cell_width = w->shown_width / s->columns, cell_height = w->shown_height / s->rows;
    if (cell_width == 0 || cell_height == 0) {
        return false;
    }
    *column = (unsigned)((uint64_t)px * w->shown_width >> 16) / cell_width;
    *row = (unsigned)((uint64_t)py * w->shown_height >> 16) / cell_height;
    *column = *column < s->columns ? *column : s->columns - 1;
    *row = *row < s->rows ? *row : s->rows - 1;
    return true;
}

static bool begin(Window *w, const SDL_MouseButtonEvent *e)
{
    WindowClip *c = &w->clip;
    bool shift = SDL_GetModState() & KMOD_SHIFT;
    window_clip_clear(w);
    if ((machine_wants_absolute(w->machine) && !shift) || !clip_look(w->machine, &c->screen) ||
        !cell_at(w, e->x, e->y, &c->range.column, &c->range.row)) {
        return false;
    }
    c->range.end_column = c->range.column;
    c->range.end_row = c->range.row;
    c->range.block = SDL_GetModState() & KMOD_CTRL;
    c->selecting = true;
    c->for_guest = !shift && !c->range.block;
    c->moved = false;
    return true;
}

bool window_clip_button(Window *w, const SDL_MouseButtonEvent *e)
{
    WindowClip *c = &w->clip;
    if (w->captured || e->button != SDL_BUTTON_LEFT) {
        return false;
    }
    if (e->state == SDL_PRESSED) {
        return begin(w, e);
    }
    if (!c->selecting) {
        return false;
    }
    c->selecting = false;
    w->redraw = true;
    if (c->moved) {
        c->selected = true;
        set_clipboards(clip_text(&c->screen, &c->range));
    } else if (c->for_guest) {
        window_capture(w, true); /* a click and no drag */
    }
    return true;
}

bool window_clip_motion(Window *w, const SDL_MouseMotionEvent *e)
{
    WindowClip *c = &w->clip;
    unsigned column, row;
    if (!c->selecting) {
        return false;
    }
    if (cell_at(w, e->x, e->y, &column, &row) &&
        (column != c->range.end_column || row != c->range.end_row)) {
        c->range.end_column = column;
        c->range.end_row = row;
        c->moved = true;
        w->redraw = true;
    }
    return true;
}

void window_clip_picture(Window *w)
{
    WindowClip *c = &w->clip;
    if (c->selecting || c->selected) {
        if (!clip_look(w->machine, &c->now) || !clip_same(&c->screen, &c->now, &c->range)) {
            window_clip_clear(w);
        }
    }
}

void window_copy(Window *w)
{
    WindowClip *c = &w->clip;
    if (!c->selected && !clip_look(w->machine, &c->screen)) {
        window_notice(w, "no text: the guest shows graphics");
        return;
    }
    ClipRange all = {0, 0, c->screen.rows - 1, c->screen.columns - 1, false};
    char *text = clip_text(&c->screen, c->selected ? &c->range : &all);
    if (!text || SDL_SetClipboardText(text) != 0) {
        window_notice(w, "the text cannot be copied: %s", SDL_GetError());
    } else {
        window_notice(w, c->selected ? "copied" : "copied the screen");
    }
    free(text);
}

void window_paste(Window *w)
{
    unsigned lost = 0;
    Err err = {{0}};
    char *text = SDL_GetClipboardText();
    if (!text || !*text) {
        window_notice(w, "the clipboard holds no text");
    } else if (!typist_type(w->typist, w->layout, text, TYPIST_MS, &lost, &err)) {
        window_notice(w, "%s", err.text);
    } else if (lost) {
        window_notice(w, "typing; %u characters are not in the guest's character set", lost);
    }
    SDL_free(text);
}

/* Looks for the text of the field; step: from the match that is shown to the next one. */
static void find(Window *w, bool step)
{
    WindowClip *c = &w->clip;
    MenuModel *model = &w->model;
    ClipRange found[MAX_FOUND];
    bool is_text = clip_look(w->machine, &c->screen);
    unsigned count = is_text ? clip_find(&c->screen, model->find, found, MAX_FOUND) : 0;
    unsigned shown = count < MAX_FOUND ? count : MAX_FOUND;
    c->match = step && shown ? (c->match + 1) % shown : 0;
    c->selected = shown > 0;
    w->redraw = true;
    if (shown) {
        c->range = found[c->match];
        model->find_low = c->range.row < c->screen.rows / 2;
        snprintf(model->found, sizeof(model->found), "%u of %u", c->match + 1, count);
    } else {
        snprintf(model->found, sizeof(model->found), "%s",
                 !is_text         ? "the guest shows graphics"
                 : model->find[0] ? "not on the screen"
                                  : "");
    }
}

void window_find(Window *w)
{
    if (w->menu_open && w->model.finding) {
        find(w, true);
        return;
    }
    window_menu_open(w, true);
    if (w->menu_open) {
        w->clip.match = 0;
        window_find_act(w, MENU_FIND_EDITED);
    }
}

void window_find_act(Window *w, MenuAction action)
{
    find(w, action == MENU_FIND_NEXT);
}

void window_clip_draw(Window *w)
{
    const WindowClip *c = &w->clip;
    unsigned first, last;
    if (!w->texture || (!c->selected && !(c->selecting && c->moved))) {
        return;
    }
    int64_t cell_width = w->shown_width / c->screen.columns;
    int64_t cell_height = w->shown_height / c->screen.rows;
    SDL_SetRenderDrawBlendMode(w->renderer, SDL_BLENDMODE_BLEND);
    SDL_SetRenderDrawColor(w->renderer, 64, 160, 255, TINT_ALPHA);
    for (unsigned row = 0; row < c->screen.rows; row++) {
        if (clip_row(&c->screen, &c->range, row, &first, &last)) {
            int left = (int)(first * cell_width * w->at.w / w->shown_width);
            int right = (int)((last + 1) * cell_width * w->at.w / w->shown_width);
            int top = (int)(row * cell_height * w->at.h / w->shown_height);
            int bottom = (int)((row + 1) * cell_height * w->at.h / w->shown_height);
            SDL_Rect at = {w->at.x + left, w->at.y + top, right - left, bottom - top};
            SDL_RenderFillRect(w->renderer, &at);
        }
    }
    SDL_SetRenderDrawBlendMode(w->renderer, SDL_BLENDMODE_NONE);
}
