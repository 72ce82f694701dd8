/* The state walk: one function per device both saves and loads it, field by named field.
 *
 * A stream is a header, then one section per device (tag, version, length), then a CRC-32. All
 * integers are little-endian. Each field bears its name, so that a stream can be read by a person
 * and a mismatch names its place. Errors are sticky: after the first one every call is a no-op and
 * loads leave values untouched. docs/STATE.md describes the format.
 */
#ifndef MACHINE_CORE_STATE_H
#define MACHINE_CORE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/core/clock.h"
#include "machine/core/err.h"

typedef struct StateIo StateIo;

/* A saver grows its own buffer; a loader reads the caller's bytes, which must outlive it. */
StateIo *state_saver_new(void);
/* Checks header and checksum; NULL with err set when they are wrong. */
StateIo *state_loader_new(const void *data, size_t size, Err *err);
void state_free(StateIo *io);
/* Saver: completes the stream and lends its bytes, valid until state_free. */
const uint8_t *state_finish(StateIo *io, size_t *size);

bool state_loading(const StateIo *io);
bool state_ok(const StateIo *io);
/* The first error, with device and field; empty while all is well. */
const char *state_error(const StateIo *io);

/* Sections. Saver: opens one with this tag and version. Loader: the next one must bear the tag and
 * a version from 1 to this one. state_end checks that all of it was read. */
bool state_begin(StateIo *io, const char *tag, unsigned version);
void state_end(StateIo *io);
/* Loader: the tag of the next section, or NULL at the end; valid until the next call. */
const char *state_next_tag(StateIo *io);

void state_u8(StateIo *io, const char *field, uint8_t *value);
void state_u16(StateIo *io, const char *field, uint16_t *value);
void state_u32(StateIo *io, const char *field, uint32_t *value);
void state_u64(StateIo *io, const char *field, uint64_t *value);
void state_i64(StateIo *io, const char *field, int64_t *value);
void state_bool(StateIo *io, const char *field, bool *value);
/* An enum or small unsigned in any C type: the value must be below `limit`. */
void state_enum(StateIo *io, const char *field, unsigned *value, unsigned limit);
/* A fixed number of bytes. */
void state_bytes(StateIo *io, const char *field, void *data, size_t size);
/* A length that varies: *size bytes of data, at most `room`. */
void state_blob(StateIo *io, const char *field, void *data, size_t *size, size_t room);
/* Armed and due time. On load the timer is armed as it was. */
void state_timer(StateIo *io, const char *field, Timer *timer);

/* True while saving, and while loading a section of at least this version: fields added in version
 * 3 stand behind `if (state_since(io, 3))`, with a default set in the else branch. */
bool state_since(const StateIo *io, unsigned version);
/* Loading: fails with `why` unless ok. Use it on every index, length and enum before it is used.
 * Returns ok. */
bool state_check(StateIo *io, bool ok, const char *why);

#endif
