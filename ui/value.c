/* The values of options: splitting at commas, switches, numbers and sizes. */
#include "ui/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Copies up to the next single comma, halving doubled ones. Sets *end to that comma or the NUL. */
static char *take_part(const char *text, const char **end)
{
    char *part = malloc(strlen(text) + 1);
    size_t n = 0;
    while (*text && !(text[0] == ',' && text[1] != ',')) {
        text += text[0] == ',';
        part[n++] = *text++;
    }
    part[n] = '\0';
    *end = text;
    return part;
}

/* The '=' that ends a key; NULL when the part does not begin with one. */
static char *key_end(char *part)
{
    size_t n = strspn(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n > 0 && part[n] == '=' ? part + n : NULL;
}

static void fill_pair(KeyValue *pair, char *part, const char *implied)
{
    char *equals = key_end(part);
    if (equals) {
        *equals = '\0';
        pair->key = strdup(part);
        pair->value = strdup(equals + 1);
    } else if (implied) {
        pair->key = strdup(implied);
        pair->value = strdup(part);
    } else {
        bool negated = strncmp(part, "no", 2) == 0 && part[2];
        pair->key = strdup(negated ? part + 2 : part);
        pair->value = strdup(negated ? "off" : "on");
        pair->bare = true;
    }
}

bool value_split(KeyValues *kv, const char *option, const char *text, const char *implied, Err *err)
{
    memset(kv, 0, sizeof(*kv));
    kv->option = option;
    while (*text) {
        if (kv->count == VALUE_MAX_KEYS) {
            return err_set(err, "-%s: more than %d settings; leave some out", option,
                           VALUE_MAX_KEYS);
        }
        char *part = take_part(text, &text);
        if (part[0]) {
            fill_pair(&kv->pair[kv->count], part, kv->count == 0 ? implied : NULL);
            kv->count++;
        }
        free(part);
        text += *text == ',';
    }
    return true;
}

void value_free(KeyValues *kv)
{
    for (unsigned i = 0; i < kv->count; i++) {
        free(kv->pair[i].key);
        free(kv->pair[i].value);
    }
    kv->count = 0;
}

const char *value_find(KeyValues *kv, const char *key)
{
    const char *found = NULL;
    for (unsigned i = 0; i < kv->count; i++) {
        if (strcmp(kv->pair[i].key, key) == 0) {
            kv->pair[i].used = true;
            found = kv->pair[i].value;
        }
    }
    return found;
}

bool value_string(KeyValues *kv, const char *key, char **to)
{
    const char *found = value_find(kv, key);
    if (found) {
        free(*to);
        *to = strdup(found);
    }
    return found != NULL;
}

bool value_parse_switch(const char *text, bool *to)
{
    static const char *const on[] = {"on", "yes", "true", "1", "y"};
    static const char *const off[] = {"off", "no", "false", "0", "n"};
    for (unsigned i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
        if (strcmp(text, on[i]) == 0 || strcmp(text, off[i]) == 0) {
            *to = strcmp(text, on[i]) == 0;
            return true;
        }
    }
    return false;
}

bool value_switch(KeyValues *kv, const char *key, bool *to, Err *err)
{
    const char *found = value_find(kv, key);
    if (found && !value_parse_switch(found, to)) {
        return err_set(err, "-%s: %s=%s is neither on nor off; write %s=on or %s=off", kv->option,
                       key, found, key, key);
    }
    return true;
}

bool value_parse_number(const char *text, uint64_t *number)
{
    char *end;
    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    errno = 0;
    *number = strtoull(text, &end, 0);
    return errno == 0 && *end == '\0';
}

bool value_number(KeyValues *kv, const char *key, uint64_t min, uint64_t max, uint32_t *to,
                  Err *err)
{
    const char *found = value_find(kv, key);
    uint64_t number;
    if (!found) {
        return true;
    }
    if (!value_parse_number(found, &number) || number < min || number > max) {
        return err_set(err, "-%s: %s=%s is no number from %llu to %llu", kv->option, key, found,
                       (unsigned long long)min, (unsigned long long)max);
    }
    *to = (uint32_t)number;
    return true;
}

void value_ignore(KeyValues *kv, const char *const *keys)
{
    for (; *keys; keys++) {
        value_find(kv, *keys);
    }
}

bool value_all_used(const KeyValues *kv, const char *known, Err *err)
{
    for (unsigned i = 0; i < kv->count; i++) {
        if (!kv->pair[i].used) {
            return err_set(err, "-%s: there is no setting '%s'; use %s", kv->option,
                           kv->pair[i].key, known);
        }
    }
    return true;
}

bool value_parse_size(const char *text, uint64_t unit, uint64_t *bytes)
{
    static const char suffixes[] = "KMGTPE";
    char *end;
    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    errno = 0;
    double number = strtod(text, &end);
    if (errno || end == text || strpbrk(text, "xX")) {
        return false;
    }
    double scale = (double)unit;
    if (*end) {
        const char *suffix = strchr(suffixes, toupper((unsigned char)*end));
        if (!suffix || end[1 + (end[1] == 'B' || end[1] == 'b')] != '\0') {
            return false;
        }
        scale = (double)(UINT64_C(1) << (10 * (suffix - suffixes + 1)));
    }
    if (number * scale >= 9.0e18) {
        return false;
    }
    *bytes = (uint64_t)(number * scale);
    return true;
}
