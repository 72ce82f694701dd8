/* The one log. A file that logs puts LOG_TAG("pit") after its includes and calls log_guest("ch%u
 * mode %u", ...).
 *
 * A line is guest time, tag, text. Levels rise in detail; `--log pit=trace,fdc=guest,warn` sets one
 * per tag and, without a tag, the level of all others. The default is warn. Lines of level guest
 * and unimp are limited to LOG_SITE_LIMIT per call site, because a guest can cause them without
 * end.
 *
 * The levels are process-wide, since they describe the process's standard error; nothing that a
 * machine does depends on them. They are set before machines run, or later by a single atomic store
 * per tag.
 */
#ifndef MACHINE_CORE_LOG_H
#define MACHINE_CORE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "machine/core/err.h"

#define LOG_SITE_LIMIT 100

typedef enum LogLevel {
    LOG_ERROR, /* the machine cannot do what the user asked */
    LOG_WARN,  /* it goes on, but the user should know */
    LOG_INFO,  /* what was chosen: engine, geometry, firmware */
    LOG_GUEST, /* the guest did what no correct guest does */
    LOG_UNIMP, /* the guest asked for what we do not model */
    LOG_TRACE, /* what a device did, in its own terms */
} LogLevel;

typedef struct LogTag {
    const char *name;
    atomic_int level; /* LogLevel; valid while generation is the log's own */
    atomic_uint generation;
} LogTag;

typedef struct LogSite {
    atomic_uint count; /* lines this call site has asked for */
} LogSite;

struct Clock;

/* Parses and sets levels: "trace", "pit=trace,warn". On an error (syntax, or a tag that no part of
 * the program has) nothing is changed. */
bool log_configure(const char *spec, Err *err);
/* Prints the tags of all parts of the program. */
void log_list_tags(FILE *to);
/* Sends lines to a file (appending) instead of standard error. */
bool log_to_file(const char *path, Err *err);
/* Receives every line instead of the file; for tests and for a log view. NULL restores the file. */
void log_to_sink(void (*sink)(void *self, LogLevel level, const char *tag, const char *text),
                 void *self);
/* The clock whose guest time this thread's lines bear; NULL for a thread without a machine. */
void log_use_clock(const struct Clock *clock);

bool log_wanted(LogTag *tag, LogLevel level);
void log_line(LogTag *tag, LogLevel level, LogSite *site, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A tag's name as a variable. All of them stand in one section, so that the log knows them. */
#define LOG_NAME(variable, text)                                                                   \
    static const char *const variable __attribute__((section("log_tags"), used)) = (text)
#define LOG_TAG(text)                                                                              \
    static LogTag log_tag_ = {.name = (text)};                                                     \
    LOG_NAME(log_tag_name_, text)

#define LOG_AT(level, ...)                                                                         \
    do {                                                                                           \
        if (log_wanted(&log_tag_, (level))) {                                                      \
            static LogSite log_site_;                                                              \
            log_line(&log_tag_, (level), &log_site_, __VA_ARGS__);                                 \
        }                                                                                          \
    } while (0)

#define log_error(...) LOG_AT(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) LOG_AT(LOG_WARN, __VA_ARGS__)
#define log_info(...) LOG_AT(LOG_INFO, __VA_ARGS__)
#define log_guest(...) LOG_AT(LOG_GUEST, __VA_ARGS__)
#define log_unimp(...) LOG_AT(LOG_UNIMP, __VA_ARGS__)
#define log_trace(...) LOG_AT(LOG_TRACE, __VA_ARGS__)

#endif
