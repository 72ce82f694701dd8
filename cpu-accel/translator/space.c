/* Jump tables: where code of one mode, seen through one window, finds its units by EIP. */
#include <stdlib.h>

#include "cpu-accel/translator/translator.h"

static void clear(Translator *t, Space *s)
{
    for (unsigned i = 0; i < s->filled_count; i++) {
        s->jump[s->filled[i]] = t->stub.dispatch;
        s->unit[s->filled[i]] = NULL;
        s->listed[s->filled[i]] = false;
    }
    s->filled_count = 0;
}

Space *space_find(Translator *t, const Window *w, int mode)
{
    uint32_t window = (uint32_t)(w - t->windows.window);
    uint32_t hash = ((uint32_t)mode ^ window << 26) * 0x9e3779b1u;
    Space **recent = &t->recent[hash >> 16 & (MAX_SPACES - 1)];
    if (*recent && (*recent)->window == w && (*recent)->mode == mode) {
        (*recent)->last_use = ++t->tick;
        return *recent;
    }
    unsigned oldest = 0;
    for (unsigned i = 0; i < MAX_SPACES; i++) {
        Space *s = t->space[i];
        if (s && s->window == w && s->mode == mode) {
            s->last_use = ++t->tick;
            *recent = s;
            return s;
        }
        if (t->space[oldest] && (!s || s->last_use < t->space[oldest]->last_use)) {
            oldest = i;
        }
    }
    Space *s = t->space[oldest];
    if (!s) {
        s = t->space[oldest] = calloc(1, sizeof(*s));
        if (!s) {
            return NULL;
        }
        for (unsigned i = 0; i < JUMP_ENTRIES; i++) {
            s->jump[i] = t->stub.dispatch;
        }
    }
    clear(t, s);
    s->window = w;
    s->mode = mode;
    s->last_use = ++t->tick;
    *recent = s;
    return s;
}

/* Functions lie at even places of their pages, so the page takes part (emit_indirect does the
 * same). */
static unsigned slot(uint32_t linear)
{
    return (linear + (linear >> 12 | linear << 20)) & (JUMP_ENTRIES - 1);
}

Unit *space_unit(const Space *s, const Cpu *cpu)
{
    const SegReg *cs = &cpu->seg[CS];
    Unit *u = s->unit[slot(cs->base + cpu->eip)];
    return u && u->eip == cpu->eip && u->base == cs->base && u->limit == cs->limit ? u : NULL;
}

void space_enter(Space *s, Unit *u, const uint8_t *code)
{
    unsigned i = slot(unit_linear(u));
    if (!s->listed[i]) {
        s->listed[i] = true;
        s->filled[s->filled_count++] = (uint16_t)i;
    }
    s->jump[i] = code;
    s->unit[i] = u;
}

static void forget(const Translator *t, Space *s, const Unit *u)
{
    unsigned at = slot(unit_linear(u));
    if (s->unit[at] == u) {
        s->jump[at] = t->stub.dispatch;
        s->unit[at] = NULL;
    }
}

void spaces_forget(Translator *t, const Unit *u)
{
    for (unsigned i = 0; i < MAX_SPACES; i++) {
        if (t->space[i]) {
            forget(t, t->space[i], u);
        }
    }
}

void spaces_forget_page(Translator *t, const Window *w, uint32_t linear, uint32_t ram)
{
    for (unsigned i = 0; i < MAX_SPACES; i++) {
        Space *s = t->space[i];
        for (const Unit *u = s && s->window == w ? t->page[ram] : NULL; u; u = u->next_page) {
            if (unit_linear(u) >> RAM_PAGE_SHIFT == linear) {
                forget(t, s, u);
            }
        }
    }
}

void spaces_forget_window(Translator *t, const Window *w)
{
    for (unsigned i = 0; i < MAX_SPACES; i++) {
        if (t->space[i] && t->space[i]->window == w) {
            clear(t, t->space[i]);
        }
    }
}

void spaces_clear(Translator *t)
{
    for (unsigned i = 0; i < MAX_SPACES; i++) {
        if (t->space[i]) {
            clear(t, t->space[i]);
        }
    }
}
