/* Cirrus hardware cursor: two bits a pixel in the last 16 KiB of video memory, 32 or 64 pixels
 * wide.
 *
 * CL-GD5446 Technical Reference Manual, "Hardware Cursor". Shown in packed-pixel modes.
 */
#include <limits.h>

#include "display/cirrus_internal.h"

typedef struct Shape {
    unsigned size;
    uint32_t at; /* of the pattern in video memory */
} Shape;

static Shape shape_of(const Vga *v)
{
    bool large = (v->g.sr[SR_CURSOR_MODE] & CURSOR_64) != 0;
    unsigned number = v->g.sr[SR_CURSOR_PATTERN] & (large ? 0x3c : 0x3f);
    return (Shape){.size = large ? 64 : 32, .at = v->size - CURSOR_AREA + number * 256};
}

static bool shown(const Vga *v)
{
    return v->g.sr[SR_CURSOR_MODE] & CURSOR_ON && cirrus_packed(v);
}

/* Bits of a row, first pixel highest: both set is the second colour, only `mask` the first, only
 * `invert` the inverted picture. */
static void row_bits(const Vga *v, Shape shape, unsigned row, uint64_t *invert, uint64_t *mask)
{
    unsigned bytes = shape.size / 8;
    const uint8_t *first = v->bytes + shape.at + row * (shape.size == 64 ? 16 : 4);
    const uint8_t *second = first + (shape.size == 64 ? 8 : 128);
    *invert = *mask = 0;
    for (unsigned i = 0; i < bytes; i++) {
        *invert |= (uint64_t)first[i] << (56 - 8 * i);
        *mask |= (uint64_t)second[i] << (56 - 8 * i);
    }
}

static uint32_t mix(uint32_t hash, uint64_t value)
{
    return (hash ^ (uint32_t)(value ^ value >> 32)) * 0x01000193;
}

static uint32_t row_mark(const Vga *v, Shape shape, unsigned row, uint32_t hash)
{
    uint64_t invert, mask;
    row_bits(v, shape, row, &invert, &mask);
    return mix(mix(mix(mix(hash, invert), invert >> 13), mask), mask >> 7);
}

uint32_t cirrus_cursor_mark(const Vga *v, unsigned y)
{
    const Cirrus *c = cirrus_of(v);
    if (!shown(v)) {
        return 0;
    }
    Shape shape = shape_of(v);
    uint32_t hash = mix(0x811c9dc5, c->g.cursor_x);
    if (y == UINT_MAX) {
        hash = mix(hash, c->g.cursor_y);
        for (unsigned row = 0; row < shape.size; row++) {
            hash = row_mark(v, shape, row, hash);
        }
        return hash | 1;
    }
    unsigned row = y - c->g.cursor_y;
    return row < shape.size ? row_mark(v, shape, row, hash) | 1 : 0;
}

static uint32_t color_of(const Cirrus *c, unsigned index)
{
    uint32_t rgb = 0;
    for (unsigned i = 0; i < 3; i++) {
        uint8_t level = c->g.cursor_color[index][i] & 0x3f;
        rgb = rgb << 8 | (uint32_t)(level << 2 | level >> 4);
    }
    return rgb;
}

void cirrus_cursor_draw(const Vga *v, unsigned y, uint32_t *pixels)
{
    const Cirrus *c = cirrus_of(v);
    Shape shape = shape_of(v);
    unsigned row = y - c->g.cursor_y;
    if (!shown(v) || row >= shape.size) {
        return;
    }
    uint64_t invert, mask;
    row_bits(v, shape, row, &invert, &mask);
    uint32_t colors[2] = {color_of(c, 0), color_of(c, CURSOR_COLOR_COUNT - 1)};
    for (unsigned i = 0; i < shape.size && c->g.cursor_x + i < v->scan.width; i++) {
        bool first = invert >> (63 - i) & 1, second = mask >> (63 - i) & 1;
        uint32_t *pixel = &pixels[c->g.cursor_x + i];
        if (second) {
            *pixel = colors[first];
        } else if (first) {
            *pixel ^= 0xffffff;
        }
    }
}
