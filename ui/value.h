/* The values of options: "key=value,key=value" with doubled commas, sizes, switches, whole numbers.
 */
#ifndef UI_VALUE_H
#define UI_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/core/err.h"

enum { VALUE_MAX_KEYS = 32 };

typedef struct KeyValue {
    char *key;   /* "file"; the implied key for a first part without '=' */
    char *value; /* unescaped; "on" for a switch without '=', "off" for one written noKEY */
    bool bare;   /* there was no '=' */
    bool used;   /* a value_* call asked for it */
} KeyValue;

typedef struct KeyValues {
    const char *option; /* for messages */
    KeyValue pair[VALUE_MAX_KEYS];
    unsigned count;
} KeyValues;

/* implied: the key of a first part without '=', or NULL. */
bool value_split(KeyValues *kv, const char *option, const char *text, const char *implied,
                 Err *err);
void value_free(KeyValues *kv);
/* The last value of a key, or NULL. Borrowed. */
const char *value_find(KeyValues *kv, const char *key);
/* A copy of the value into *to (freeing what was there) when the key is present. */
bool value_string(KeyValues *kv, const char *key, char **to);
/* on/off/yes/no/true/false/1/0. True when absent: *to stays. */
bool value_switch(KeyValues *kv, const char *key, bool *to, Err *err);
/* Decimal, 0x or octal; min..max. True when absent. */
bool value_number(KeyValues *kv, const char *key, uint64_t min, uint64_t max, uint32_t *to,
                  Err *err);
/* Marks keys that mean nothing here as used. NULL-terminated list. */
void value_ignore(KeyValues *kv, const char *const *keys);
/* Fails when a key was not asked for; known lists those there are, for the message. */
bool value_all_used(const KeyValues *kv, const char *known, Err *err);

bool value_parse_switch(const char *text, bool *to);
/* A number with an optional suffix K, M, G, T, P or E (any case); none means `unit` bytes. */
bool value_parse_size(const char *text, uint64_t unit, uint64_t *bytes);
bool value_parse_number(const char *text, uint64_t *number);

#endif
