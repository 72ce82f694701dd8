/* The log: levels per tag, rate limits per call site, guest time on each line. */
#include "machine/core/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/clock.h"

enum { MAX_RULES = 32, MAX_TAG = 24 };

typedef struct LogRule {
    char tag[MAX_TAG];
    LogLevel level;
} LogRule;

/* Process-wide by design: see log.h. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LogRule rules[MAX_RULES];
static unsigned rule_count;
static LogLevel default_level = LOG_WARN;
static atomic_uint generation = 1;
static FILE *output;
static void (*sink_line)(void *self, LogLevel level, const char *tag, const char *text);
static void *sink_self;
static _Thread_local const Clock *thread_clock;

static const char *const level_names[] = {"error", "warn", "info", "guest", "unimp", "trace"};

/* From the linker; none in a program whose parts log nothing. */
extern const char *const __start_log_tags[] __attribute__((weak)); // NOLINT
extern const char *const __stop_log_tags[] __attribute__((weak));  // NOLINT

static bool tag_exists(const char *tag)
{
    for (const char *const *t = __start_log_tags; t < __stop_log_tags; t++) {
        if (strcmp(*t, tag) == 0) {
            return true;
        }
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void log_list_tags(FILE *to)
{
    size_t count = (size_t)(__stop_log_tags - __start_log_tags);
    const char **names = calloc(count + 1, sizeof(names[0]));
    for (size_t i = 0; names && i < count; i++) {
        names[i] = __start_log_tags[i];
    }
    if (names) {
        qsort(names, count, sizeof(names[0]), by_name);
    }
    for (size_t i = 0; names && i < count; i++) {
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0) { /* several files may share one */
            fprintf(to, "%s\n", names[i]);
        }
    }
    free(names);
}

static bool level_parse(const char *text, size_t length, LogLevel *level)
{
    for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strlen(level_names[i]) == length && memcmp(level_names[i], text, length) == 0) {
            *level = (LogLevel)i;
            return true;
        }
    }
    return false;
}

bool log_configure(const char *spec, Err *err)
{
    LogRule fresh[MAX_RULES];
    unsigned count = 0;
    LogLevel fallback = LOG_WARN;

    for (const char *p = spec; *p;) {
        size_t length = strcspn(p, ",");
        const char *equals = memchr(p, '=', length);
        const char *level_text = equals ? equals + 1 : p;
        LogLevel level;
        if (!level_parse(level_text, (size_t)(p + length - level_text), &level)) {
            return err_set(err,
                           "log: '%.*s' is no level; use error, warn, info, guest, unimp or trace, "
                           "or TAG=LEVEL",
                           (int)length, p);
        }
        if (!equals) {
            fallback = level;
        } else {
            size_t tag_length = (size_t)(equals - p);
            if (tag_length == 0 || tag_length >= MAX_TAG || count == MAX_RULES) {
                return err_set(err,
                               "log: '%.*s' has no usable tag, or there are more than %d rules",
                               (int)length, p, MAX_RULES);
            }
            memcpy(fresh[count].tag, p, tag_length);
            fresh[count].tag[tag_length] = '\0';
            if (!tag_exists(fresh[count].tag)) {
                return err_set(err, "log: nothing has the tag '%s'; -log help lists them",
                               fresh[count].tag);
            }
            fresh[count++].level = level;
        }
        p += length;
        p += *p == ',';
    }
    pthread_mutex_lock(&lock);
    memcpy(rules, fresh, count * sizeof(rules[0]));
    rule_count = count;
    default_level = fallback;
    atomic_fetch_add(&generation, 1);
    pthread_mutex_unlock(&lock);
    return true;
}

bool log_to_file(const char *path, Err *err)
{
    FILE *file = fopen(path, "a");
    if (!file) {
        return err_set(err, "log file '%s' cannot be opened for appending; name a writable place",
                       path);
    }
    setvbuf(file, NULL, _IOLBF, 0);
    pthread_mutex_lock(&lock);
    if (output) {
        fclose(output);
    }
    output = file;
    pthread_mutex_unlock(&lock);
    return true;
}

void log_to_sink(void (*sink)(void *self, LogLevel level, const char *tag, const char *text),
                 void *self)
{
    pthread_mutex_lock(&lock);
    sink_line = sink;
    sink_self = self;
    pthread_mutex_unlock(&lock);
}

void log_use_clock(const Clock *clock)
{
    thread_clock = clock;
}

static void tag_resolve(LogTag *tag, unsigned current)
{
    pthread_mutex_lock(&lock);
    LogLevel level = default_level;
    for (unsigned i = 0; i < rule_count; i++) {
        if (strcmp(rules[i].tag, tag->name) == 0) {
            level = rules[i].level;
        }
    }
    pthread_mutex_unlock(&lock);
    atomic_store(&tag->level, (int)level);
    atomic_store(&tag->generation, current);
}

bool log_wanted(LogTag *tag, LogLevel level)
{
    unsigned current = atomic_load_explicit(&generation, memory_order_relaxed);
    if (atomic_load_explicit(&tag->generation, memory_order_relaxed) != current) {
        tag_resolve(tag, current);
    }
    return (int)level <= atomic_load_explicit(&tag->level, memory_order_relaxed);
}

void log_line(LogTag *tag, LogLevel level, LogSite *site, const char *format, ...)
{
    const char *note = "";
    if (level == LOG_GUEST || level == LOG_UNIMP) {
        unsigned count = atomic_fetch_add(&site->count, 1);
        if (count >= LOG_SITE_LIMIT) {
            atomic_store(&site->count, LOG_SITE_LIMIT);
            return;
        }
        if (count == LOG_SITE_LIMIT - 1) {
            note = " (last one reported from here)";
        }
    }
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    pthread_mutex_lock(&lock);
    if (sink_line) {
        sink_line(sink_self, level, tag->name, text);
    } else {
        FILE *file = output ? output : stderr;
        if (thread_clock) {
            int64_t now = clock_peek(thread_clock);
            fprintf(file, "%" PRId64 ".%09" PRId64 " ", now / 1000000000, now % 1000000000);
        }
        fprintf(file, "%s: %s%s%s\n", tag->name, level <= LOG_WARN ? level_names[level] : "",
                level <= LOG_WARN ? ": " : "", text);
        if (note[0]) {
            fprintf(file, "%s:%s\n", tag->name, note);
        }
    }
    pthread_mutex_unlock(&lock);
}
