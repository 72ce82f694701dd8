/* The state walk: a stream of named fields, read and written by the same code. */
#include "machine/core/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/core/bytes.h"

/* Stream: "VITRSTA1", sections, CRC-32 of all before it.
 * Section: u8 tag length, tag, u32 version, u32 length of its fields.
 * Field: u8 name length, name, u32 size, bytes. */
static const char magic[8] = {'V', 'I', 'T', 'R', 'S', 'T', 'A', '1'};

enum { LATE_MAX_S = 10 }; /* guest time: no timer of a state is due longer ago */

struct StateIo {
    bool loading;
    uint8_t *grown;       /* saver: owned */
    const uint8_t *bytes; /* loader: borrowed */
    size_t size, room, at;
    size_t section_start; /* saver: where the section's length stands; */
    size_t section_end;   /* loader: its end */
    bool in_section;
    unsigned version;
    char tag[64];
    char next_tag[256];
    char field[64];
    char error[512];
};

static void fail(StateIo *io, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail(StateIo *io, const char *format, ...)
{
    if (io->error[0]) {
        return;
    }
    char why[160];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    snprintf(io->error, sizeof(io->error), "%s%s%s: %s", io->tag, io->field[0] ? "." : "",
             io->field, why);
}

static uint32_t crc32_of(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xedb88320 & (0u - (crc & 1)));
        }
    }
    return ~crc;
}

static void put(StateIo *io, const void *data, size_t size)
{
    if (io->error[0] || size == 0) {
        return;
    }
    if (io->room - io->size < size) {
        size_t room = io->room * 2 + size;
        uint8_t *grown = realloc(io->grown, room);
        if (!grown) {
            fail(io, "out of memory");
            return;
        }
        io->grown = grown;
        io->room = room;
    }
    memcpy(io->grown + io->size, data, size);
    io->size += size;
}

static void put_u32(StateIo *io, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                        (uint8_t)(value >> 24)};
    put(io, bytes, 4);
}

static const uint8_t *take(StateIo *io, size_t size)
{
    size_t end = io->in_section ? io->section_end : io->size;
    if (io->error[0]) {
        return NULL;
    }
    if (end - io->at < size) {
        fail(io, "the data ends too early");
        return NULL;
    }
    const uint8_t *p = io->bytes + io->at;
    io->at += size;
    return p;
}

StateIo *state_saver_new(void)
{
    StateIo *io = calloc(1, sizeof(*io));
    if (io) {
        put(io, magic, sizeof(magic));
    }
    return io;
}

StateIo *state_loader_new(const void *data, size_t size, Err *err)
{
    const uint8_t *bytes = data;
    if (size < sizeof(magic) + 4 || memcmp(bytes, magic, sizeof(magic)) != 0) {
        err_set(err, "machine state: this is no state file of this program");
        return NULL;
    }
    if (bytes_le32(bytes + size - 4) != crc32_of(bytes, size - 4)) {
        err_set(err, "machine state: the checksum is wrong; the file is damaged or cut off");
        return NULL;
    }
    StateIo *io = calloc(1, sizeof(*io));
    if (!io) {
        err_set(err, "machine state: out of memory");
        return NULL;
    }
    io->loading = true;
    io->bytes = bytes;
    io->size = size - 4;
    io->at = sizeof(magic);
    return io;
}

void state_free(StateIo *io)
{
    if (io) {
        free(io->grown);
        free(io);
    }
}

const uint8_t *state_finish(StateIo *io, size_t *size)
{
    if (io->error[0]) {
        return NULL;
    }
    put_u32(io, crc32_of(io->grown, io->size));
    *size = io->size;
    return io->grown;
}

bool state_loading(const StateIo *io)
{
    return io->loading;
}

bool state_ok(const StateIo *io)
{
    return io->error[0] == '\0';
}

const char *state_error(const StateIo *io)
{
    return io->error;
}

const char *state_next_tag(StateIo *io)
{
    if (io->error[0] || io->at >= io->size) {
        return NULL;
    }
    size_t length = io->bytes[io->at];
    if (io->size - io->at - 1 < length) {
        fail(io, "the data ends too early");
        return NULL;
    }
    memcpy(io->next_tag, io->bytes + io->at + 1, length);
    io->next_tag[length] = '\0';
    return io->next_tag;
}

static bool take_name(StateIo *io, const char *name)
{
    const uint8_t *length = take(io, 1);
    const uint8_t *text = length ? take(io, *length) : NULL;
    if (!text) {
        return false;
    }
    if (*length != strlen(name) || memcmp(text, name, *length) != 0) {
        fail(io, "found '%.*s' in its place", (int)*length, (const char *)text);
        return false;
    }
    return true;
}

static void put_name(StateIo *io, const char *name)
{
    uint8_t length = (uint8_t)strlen(name);
    put(io, &length, 1);
    put(io, name, length);
}

bool state_begin(StateIo *io, const char *tag, unsigned version)
{
    snprintf(io->tag, sizeof(io->tag), "%s", tag);
    io->field[0] = '\0';
    io->version = version;
    if (!io->loading) {
        put_name(io, tag);
        put_u32(io, version);
        io->section_start = io->size;
        put_u32(io, 0);
        io->in_section = true;
        return state_ok(io);
    }
    const uint8_t *head = take_name(io, tag) ? take(io, 8) : NULL;
    if (!head) {
        return false;
    }
    io->version = bytes_le32(head);
    uint32_t length = bytes_le32(head + 4);
    if (io->version == 0 || io->version > version) {
        fail(io, "version %u is newer than this program knows (%u); use a newer vitrine",
             io->version, version);
    } else if (io->size - io->at < length) {
        fail(io, "the data ends too early");
    } else {
        io->section_end = io->at + length;
        io->in_section = true;
    }
    return state_ok(io);
}

void state_end(StateIo *io)
{
    io->field[0] = '\0';
    if (io->error[0]) {
        return;
    }
    if (io->loading) {
        if (io->at != io->section_end) {
            size_t length = io->bytes[io->at];
            if (length > io->section_end - io->at - 1) {
                length = io->section_end - io->at - 1;
            }
            fail(io, "unknown field '%.*s'", (int)length, (const char *)io->bytes + io->at + 1);
        }
    } else {
        uint32_t length = (uint32_t)(io->size - io->section_start - 4);
        for (unsigned i = 0; i < 4; i++) {
            io->grown[io->section_start + i] = (uint8_t)(length >> (8 * i));
        }
    }
    io->in_section = false;
}

/* Walks one field's name and size; loader: returns its bytes; saver: returns NULL after writing
 * name and size. */
static const uint8_t *field_head(StateIo *io, const char *field, size_t size)
{
    snprintf(io->field, sizeof(io->field), "%s", field);
    if (!io->loading) {
        put_name(io, field);
        put_u32(io, (uint32_t)size);
        return NULL;
    }
    const uint8_t *head = take_name(io, field) ? take(io, 4) : NULL;
    if (!head) {
        return NULL;
    }
    if (bytes_le32(head) != size) {
        fail(io, "has %u bytes, not %zu", bytes_le32(head), size);
        return NULL;
    }
    return take(io, size);
}

static uint64_t walk_integer(StateIo *io, const char *field, unsigned size, uint64_t value)
{
    const uint8_t *p = field_head(io, field, size);
    if (io->loading) {
        if (p) {
            value = 0;
            for (unsigned i = 0; i < size; i++) {
                value |= (uint64_t)p[i] << (8 * i);
            }
        }
    } else {
        uint8_t bytes[8];
        for (unsigned i = 0; i < size; i++) {
            bytes[i] = (uint8_t)(value >> (8 * i));
        }
        put(io, bytes, size);
    }
    return value;
}

void state_u8(StateIo *io, const char *field, uint8_t *value)
{
    *value = (uint8_t)walk_integer(io, field, 1, *value);
}

void state_u16(StateIo *io, const char *field, uint16_t *value)
{
    *value = (uint16_t)walk_integer(io, field, 2, *value);
}

void state_u32(StateIo *io, const char *field, uint32_t *value)
{
    *value = (uint32_t)walk_integer(io, field, 4, *value);
}

void state_u64(StateIo *io, const char *field, uint64_t *value)
{
    *value = walk_integer(io, field, 8, *value);
}

void state_i64(StateIo *io, const char *field, int64_t *value)
{
    *value = (int64_t)walk_integer(io, field, 8, (uint64_t)*value);
}

void state_bool(StateIo *io, const char *field, bool *value)
{
    uint64_t loaded = walk_integer(io, field, 1, *value);
    if (state_check(io, loaded <= 1, "is neither 0 nor 1")) {
        *value = loaded != 0;
    }
}

void state_enum(StateIo *io, const char *field, unsigned *value, unsigned limit)
{
    uint64_t loaded = walk_integer(io, field, 4, *value);
    if (state_check(io, loaded < limit, "is out of range")) {
        *value = (unsigned)loaded;
    }
}

void state_bytes(StateIo *io, const char *field, void *data, size_t size)
{
    const uint8_t *p = field_head(io, field, size);
    if (!io->loading) {
        put(io, data, size);
    } else if (p && size) {
        memcpy(data, p, size);
    }
}

void state_blob(StateIo *io, const char *field, void *data, size_t *size, size_t room)
{
    uint32_t length = (uint32_t)*size;
    char name[sizeof(io->field)];
    snprintf(name, sizeof(name), "%s.size", field);
    state_u32(io, name, &length);
    if (!state_check(io, length <= room, "is larger than its place")) {
        return;
    }
    state_bytes(io, field, data, length);
    if (state_ok(io)) {
        *size = length;
    }
}

void state_timer(StateIo *io, const char *field, Timer *timer)
{
    uint8_t bytes[9] = {timer->armed};
    for (unsigned i = 0; i < 8 && timer->armed; i++) {
        bytes[1 + i] = (uint8_t)((uint64_t)timer->due >> (8 * i));
    }
    state_bytes(io, field, bytes, sizeof(bytes));
    if (!io->loading || !state_check(io, bytes[0] <= 1, "is no timer")) {
        return;
    }
    uint64_t due = 0;
    for (unsigned i = 0; i < 8; i++) {
        due |= (uint64_t)bytes[1 + i] << (8 * i);
    }
    /* One that fires again and again to catch up with the clock would hold up the machine. */
    if (bytes[0] &&
        state_check(io, (int64_t)due >= clock_peek(timer->clock) - LATE_MAX_S * CLOCK_NS_PER_S,
                    "is a timer long overdue")) {
        timer_arm(timer, (int64_t)due);
    } else {
        timer_disarm(timer);
    }
}

bool state_since(const StateIo *io, unsigned version)
{
    return !io->loading || io->version >= version;
}

bool state_check(StateIo *io, bool ok, const char *why)
{
    if (io->loading && !ok) {
        fail(io, "%s", why);
    }
    return ok && state_ok(io);
}
