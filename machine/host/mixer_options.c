/* -audiodev: from QEMU's words to the mixer's configuration. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/host/mixer.h"

static bool number(const char *key, const char *text, unsigned low, unsigned high, unsigned *value,
                   Err *err)
{
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    if (end == text || *end || v < low || v > high) {
        return err_set(err, "-audiodev: %s=%s: use a number from %u to %u", key, text, low, high);
    }
    *value = (unsigned)v;
    return true;
}

static bool take_pair(MixerConfig *c, const char *key, const char *value, Err *err)
{
    unsigned us;
    if (strcmp(key, "path") == 0) {
        if (strlen(value) >= sizeof(c->path)) {
            return err_set(err, "-audiodev: path= is too long");
        }
        strcpy(c->path, value);
        return true;
    }
    if (strcmp(key, "out.frequency") == 0) {
        return number(key, value, 8000, 192000, &c->hz, err);
    }
    if (strcmp(key, "latency") == 0) {
        return number(key, value, 10, 1000, &c->latency_ms, err);
    }
    if (strcmp(key, "out.buffer-length") == 0) {
        if (!number(key, value, 10000, 1000000, &us, err)) {
            return false;
        }
        c->latency_ms = us / 1000;
        return true;
    }
    /* names, and how QEMU talks to the host's sound system: nothing to choose here */
    if (strcmp(key, "id") == 0 || strncmp(key, "out.", 4) == 0 || strncmp(key, "in.", 3) == 0 ||
        strcmp(key, "timer-period") == 0) {
        return true;
    }
    return err_set(err, "-audiodev: %s= is unknown; there are id, path, latency, out.frequency",
                   key);
}

/* Cuts off the next part; a comma written twice is part of it. */
static char *next_part(char **rest)
{
    char *part = *rest, *to = part, *from = part;
    if (!part) {
        return NULL;
    }
    *rest = NULL;
    for (; *from; from++) {
        if (*from == ',' && from[1] == ',') {
            from++;
        } else if (*from == ',') {
            *rest = from + 1;
            break;
        }
        *to++ = *from;
    }
    *to = '\0';
    return part;
}

bool mixer_parse(const char *audiodev, MixerConfig *c, Err *err)
{
    *c = (MixerConfig){.output = MIXER_NONE};
    if (!audiodev) {
        return true;
    }
    char *copy = strdup(audiodev), *rest = copy;
    char *driver = next_part(&rest);
    bool ok = true;
    driver += strncmp(driver, "driver=", 7) == 0 ? 7 : 0;
    if (strcmp(driver, "wav") == 0) {
        c->output = MIXER_WAV;
        strcpy(c->path, "vitrine.wav");
    } else if (strcmp(driver, "sdl") == 0) {
        c->output = MIXER_PULL;
    } else if (strcmp(driver, "none") != 0) {
        ok = err_set(err, "-audiodev %s: unknown; use sdl, wav,path=FILE or none", driver);
    }
    for (char *part; ok && (part = next_part(&rest)) != NULL;) {
        char *value = strchr(part, '=');
        if (!value) {
            ok = err_set(err, "-audiodev: '%s' is no KEY=VALUE", part);
        } else {
            *value++ = '\0';
            ok = take_pair(c, part, value, err);
        }
    }
    free(copy);
    return ok;
}
