/* A folder as a FAT disk: short names (8.3) and long ones for files of the host, whose names can be
 * anything (Microsoft, "FAT32 File System Specification" 1.03, "Long Directory Entries").
 *
 * What a name may not hold becomes '_'. A short name is unique in its folder, by "~1" and so on; a
 * long name that another has already but for its case is left out.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/fat_internal.h"

/* Names taken in one folder, by 64-bit hashes of theirs: a rare false hit costs a tail. */
typedef struct Taken {
    uint64_t *slot;
    size_t mask;
} Taken;

static uint64_t hash(const void *data, size_t size, uint64_t seed)
{
    const uint8_t *p = data;
    uint64_t h = seed ^ 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) {
        h = (h ^ p[i]) * 0x100000001b3u;
    }
    return (h ^ h >> 29) | 1;
}

/* True when it was free. */
static bool claim(Taken *t, uint64_t key)
{
    size_t at = (size_t)key & t->mask;
    while (t->slot[at]) {
        if (t->slot[at] == key) {
            return false;
        }
        at = (at + 1) & t->mask;
    }
    t->slot[at] = key;
    return true;
}

/* The next character of UTF-8; what is none is one '_' a byte. */
static uint32_t next_char(const uint8_t **p)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint8_t first = *(*p)++;
    unsigned more = first < 0x80             ? 0
                    : (first & 0xe0) == 0xc0 ? 1
                    : (first & 0xf0) == 0xe0 ? 2
                    : (first & 0xf8) == 0xf0 ? 3
                                             : 4;
    if (more == 0) {
        return first;
    }
    uint32_t c = more < 4 ? first & (0x3fu >> more) : 0;
    for (unsigned i = 0; i < more && more < 4; i++) {
        if (((*p)[i] & 0xc0) != 0x80) {
            return '_';
        }
        c = c << 6 | ((*p)[i] & 0x3fu);
    }
    if (more > 3 || c < least[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return '_';
    }
    *p += more;
    return c;
}

static bool long_allowed(uint32_t c)
{
    return c >= 0x20 && c != 0x7f && (c >= 0x80 || !strchr("\"*/:<>?\\|", (int)c));
}

/* The name in UTF-16, without dots and spaces at its end; the number of units. */
static unsigned long_name(const char *name, uint16_t *units)
{
    unsigned n = 0;
    for (const uint8_t *p = (const uint8_t *)name; *p;) {
        uint32_t c = next_char(&p);
        c = long_allowed(c) ? c : '_';
        if (n + (c > 0xffff ? 2 : 1) > FAT_LONG_UNITS) {
            break;
        }
        if (c > 0xffff) {
            units[n++] = (uint16_t)(0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        units[n++] = (uint16_t)c;
    }
    while (n && (units[n - 1] == '.' || units[n - 1] == ' ')) {
        n--;
    }
    return n;
}

/* A letter of a short name; 0: left out. */
static uint8_t short_letter(uint16_t c, bool *lossy)
{
    if (c == ' ' || c == '.') {
        *lossy = true;
        return 0;
    }
    if (c >= 0x80 || strchr("+,;=[]", (int)c)) {
        *lossy = true;
        return '_';
    }
    return (uint8_t)toupper((int)c);
}

/* Up to eight letters and three; whether something was lost by it. */
static bool short_name(const uint16_t *units, unsigned count, uint8_t alias[11])
{
    bool lossy = false;
    unsigned start = 0, dot = count, n = 0;
    memset(alias, ' ', 11);
    while (start < count && units[start] == '.') {
        start++;
        lossy = true;
    }
    for (unsigned i = start; i < count; i++) {
        dot = units[i] == '.' ? i : dot;
    }
    for (unsigned i = start; i < dot; i++) {
        uint8_t letter = short_letter(units[i], &lossy);
        if (letter && n < 8) {
            alias[n++] = letter;
        } else if (letter) {
            lossy = true;
        }
    }
    n = 8;
    for (unsigned i = dot + 1; i < count; i++) {
        uint8_t letter = short_letter(units[i], &lossy);
        if (letter && n < 11) {
            alias[n++] = letter;
        } else if (letter) {
            lossy = true;
        }
    }
    if (alias[0] == ' ') {
        alias[0] = '_';
        lossy = true;
    }
    return lossy;
}

/* Names that DOS takes for devices, with any ending. */
static bool is_device(const uint8_t alias[11])
{
    static const char *const names[] = {"CON     ", "PRN     ", "AUX     ", "NUL     ", "CLOCK$  "};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (memcmp(alias, names[i], 8) == 0) {
            return true;
        }
    }
    return (memcmp(alias, "COM", 3) == 0 || memcmp(alias, "LPT", 3) == 0) && isdigit(alias[3]) &&
           alias[4] == ' ';
}

/* "NAME~1", then with digits of a hash, so that a thousand alike do not take a million tries. */
static void add_tail(uint8_t alias[11], const uint8_t plain[11], unsigned try, uint64_t digits)
{
    char tail[16];
    unsigned length = 0, keep;
    int tail_length = try <= 4 ? snprintf(tail, sizeof(tail), "~%u", try)
                               : snprintf(tail, sizeof(tail), "%04X~%u",
                                          (unsigned)((digits + try) & 0xffff), 1 + try % 9);
    memcpy(alias, plain, 11);
    while (length < 8 && plain[length] != ' ') {
        length++;
    }
    keep = 8 - (unsigned)tail_length;
    keep = length < keep ? length : keep;
    memset(alias + keep, ' ', 8 - keep);
    memcpy(alias + keep, tail, (size_t)tail_length);
}

/* The alias, written out, is the name: then no long one is needed. */
static bool says_it_all(const uint8_t alias[11], const uint16_t *units, unsigned count)
{
    uint16_t full[12];
    unsigned n = 0;
    for (unsigned i = 0; i < 11; i++) {
        if (i == 8 && alias[8] != ' ') {
            full[n++] = '.';
        }
        if (alias[i] != ' ') {
            full[n++] = alias[i];
        }
    }
    return n == count && memcmp(full, units, n * sizeof(*full)) == 0;
}

static uint64_t folded_hash(const uint16_t *units, unsigned count)
{
    uint64_t h = 0;
    for (unsigned i = 0; i < count; i++) {
        uint16_t c = units[i] < 0x80 ? (uint16_t)toupper((int)units[i]) : units[i];
        h = hash(&c, sizeof(c), h);
    }
    return h;
}

static bool name_one(FatTree *t, FatNode *n, Taken *taken)
{
    uint16_t units[FAT_LONG_UNITS + 1];
    uint8_t plain[11];
    units[0] = '_'; /* before the name of a device, which no file can have */
    unsigned count = long_name(n->name, units + 1);
    bool lossy = short_name(units + 1, count, plain);
    bool device = is_device(plain);
    const uint16_t *name = device ? units : units + 1;
    count += device && count < FAT_LONG_UNITS;
    lossy = device ? short_name(name, count, plain) : lossy;
    bool fresh = claim(taken, folded_hash(name, count)); /* else one differs in case alone */
    memcpy(n->alias, plain, 11);
    uint64_t digits = hash(n->name, strlen(n->name), 1) >> 7;
    for (unsigned try = 1; lossy || !claim(taken, hash(n->alias, 11, 7)); try++) {
        lossy = false;
        add_tail(n->alias, plain, try, digits);
    }
    if (n->alias[0] == 0xe5) {
        n->alias[0] = 5; /* E5h marks what was deleted */
    }
    if (!t->long_names || !fresh || count == 0 || says_it_all(n->alias, name, count)) {
        return true;
    }
    n->long_name = malloc(count * sizeof(*units));
    if (n->long_name) {
        memcpy(n->long_name, name, count * sizeof(*units));
        n->long_units = (uint16_t)count;
    }
    return n->long_name != NULL;
}

bool fat_name_children(FatTree *t, uint32_t folder)
{
    FatNode *f = &t->node[folder];
    Taken taken = {.mask = 1};
    while (taken.mask < 4 * (size_t)f->children + 16) {
        taken.mask = taken.mask * 2 + 1;
    }
    taken.slot = calloc(taken.mask + 1, sizeof(*taken.slot));
    bool good = taken.slot != NULL;
    for (uint32_t i = 0; i < f->children && good; i++) {
        good = name_one(t, &t->node[f->child + i], &taken);
    }
    free(taken.slot);
    return good;
}
