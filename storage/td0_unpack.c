/* TeleDisk's "advanced compression": LZSS over a window of 4096 bytes, whose literals, lengths and
 * distances are coded with an adaptive Huffman tree (H. Yoshizaki's LZHUF, 1989).
 *
 * A symbol below 256 is a byte; above, a run of 3 to 60 bytes from the window, whose distance
 * follows: six upper bits in a fixed prefix code, six lower ones plain. The tree grows with what
 * has been seen; when the root's count reaches 8000h, all are halved.
 */
#include <string.h>

#include "storage/floppy_internal.h"

enum {
    WINDOW = 4096,
    LONGEST = 60,
    SHORTEST = 3,
    SYMBOLS = 256 - (SHORTEST - 1) + LONGEST,
    NODES = 2 * SYMBOLS - 1,
    ROOT = NODES - 1,
    MOST = 0x8000,
};

/* Nodes stand in order of their counts; neighbours 2n and 2n + 1 have one parent. A child of NODES
 * or more is a symbol. */
typedef struct Tree {
    uint16_t count[NODES + 1]; /* the last one is higher than all */
    uint16_t child[NODES];     /* the first of two */
    uint16_t parent[NODES + SYMBOLS];
} Tree;

typedef struct Bits {
    const uint8_t *at, *end;
    unsigned word, left;
    bool over; /* more was asked for than there is */
} Bits;

static unsigned bit(Bits *b)
{
    if (b->left == 0) {
        b->over |= b->at == b->end;
        b->word = b->at < b->end ? *b->at++ : 0;
        b->left = 8;
    }
    b->left--;
    return b->word >> b->left & 1;
}

static unsigned bits(Bits *b, unsigned count)
{
    unsigned value = 0;
    while (count--) {
        value = value << 1 | bit(b);
    }
    return value;
}

static void adopt(Tree *t, unsigned node)
{
    unsigned child = t->child[node];
    t->parent[child] = (uint16_t)node;
    if (child < NODES) {
        t->parent[child + 1] = (uint16_t)node;
    }
}

/* Inner nodes over the leaves, which stand at the front in order. */
static void build(Tree *t)
{
    for (unsigned made = SYMBOLS, from = 0; made < NODES; made++, from += 2) {
        unsigned sum = t->count[from] + t->count[from + 1], place = made;
        while (place > 0 && t->count[place - 1] > sum) {
            t->count[place] = t->count[place - 1];
            t->child[place] = t->child[place - 1];
            place--;
        }
        t->count[place] = (uint16_t)sum;
        t->child[place] = (uint16_t)from;
    }
    for (unsigned i = 0; i < NODES; i++) {
        adopt(t, i);
    }
    t->count[NODES] = UINT16_MAX;
    t->parent[ROOT] = 0;
}

static void begin(Tree *t)
{
    for (unsigned i = 0; i < SYMBOLS; i++) {
        t->count[i] = 1;
        t->child[i] = (uint16_t)(NODES + i);
    }
    build(t);
}

static void halve(Tree *t)
{
    unsigned leaves = 0;
    for (unsigned i = 0; i < NODES; i++) {
        if (t->child[i] >= NODES) {
            t->count[leaves] = (uint16_t)((t->count[i] + 1) / 2);
            t->child[leaves++] = t->child[i];
        }
    }
    build(t);
}

/* The symbol has been seen once more: its leaf and all above count up, and change places with the
 * last of those that they have overtaken. */
static void seen(Tree *t, unsigned symbol)
{
    if (t->count[ROOT] == MOST) {
        halve(t);
    }
    unsigned node = t->parent[NODES + symbol];
    do {
        unsigned count = ++t->count[node], other = node + 1;
        if (count > t->count[other]) {
            while (count > t->count[other + 1]) {
                other++;
            }
            t->count[node] = t->count[other];
            t->count[other] = (uint16_t)count;
            uint16_t child = t->child[node];
            t->child[node] = t->child[other];
            t->child[other] = child;
            adopt(t, node);
            adopt(t, other);
            node = other;
        }
        node = t->parent[node];
    } while (node != 0);
}

static unsigned symbol(Tree *t, Bits *b)
{
    unsigned at = t->child[ROOT];
    while (at < NODES) {
        at = t->child[at + bit(b)];
    }
    seen(t, at - NODES);
    return at - NODES;
}

/* How many of the 64 upper parts have a code of so many bits, from the shortest; the codes of one
 * length follow each other. */
static unsigned distance(Bits *b)
{
    static const uint8_t with_length[9] = {0, 0, 0, 1, 3, 8, 12, 24, 16};
    unsigned code = 0, first = 0, upper = 0;
    for (unsigned length = 1; length <= 8; length++) {
        code = code << 1 | bit(b);
        first <<= 1;
        if (code - first < with_length[length]) {
            return (upper + code - first) << 6 | bits(b, 6);
        }
        first += with_length[length];
        upper += with_length[length];
    }
    return 0; /* not reached: the code is complete */
}

size_t td0_unpack(const uint8_t *packed, size_t size, uint8_t *out, size_t room)
{
    uint8_t window[WINDOW];
    Bits b = {.at = packed, .end = packed + size};
    Tree tree;
    unsigned at = WINDOW - LONGEST;
    size_t made = 0;
    memset(window, ' ', sizeof(window));
    begin(&tree);
    while (made < room) {
        unsigned s = symbol(&tree, &b), length = 1, from = 0;
        if (s >= 256) {
            length = s - 256 + SHORTEST;
            from = at - distance(&b) - 1;
        }
        if (b.over) {
            break;
        }
        for (unsigned i = 0; i < length && made < room; i++) {
            uint8_t byte = s < 256 ? (uint8_t)s : window[(from + i) % WINDOW];
            window[at] = byte;
            at = (at + 1) % WINDOW;
            out[made++] = byte;
        }
    }
    return made;
}
