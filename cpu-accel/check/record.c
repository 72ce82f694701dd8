/* What the first processor does beyond its memory, for real and recorded; the same for the shadow,
 * out of the recording. check.c runs both. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/check/check.h"
#include "cpu-accel/x86/mem.h"

static const char *const names[] = {
    [RECORD_PORT_READ] = "port read",
    [RECORD_PORT_WRITE] = "port write",
    [RECORD_MEMORY_READ] = "device read",
    [RECORD_MEMORY_WRITE] = "device write",
    [RECORD_TIME] = "look at the time",
    [RECORD_ACKNOWLEDGE] = "interrupt acknowledge",
    [RECORD_FERR] = "FERR#",
    [RECORD_SMIACT] = "SMIACT#",
    [RECORD_SHUTDOWN] = "shutdown cycle",
    [RECORD_APIC_BASE] = "APIC base",
    [RECORD_WRITTEN] = "write by a device",
    [RECORD_MAP] = "memory map",
    [RECORD_PINS] = "pins",
};

static void *grow(void *old, size_t count, size_t *room, size_t size)
{
    if (count <= *room) {
        return old;
    }
    size_t wanted = 2 * *room + count + 64;
    void *fresh = realloc(old, wanted * size);
    if (!fresh) {
        abort(); /* a few megabytes: the host is at its end */
    }
    *room = wanted;
    return fresh;
}

void written_add(WrittenList *l, uint32_t at, uint32_t length, bool mark)
{
    Written *last = l->count ? &l->item[l->count - 1] : NULL;
    if (last && !mark && !last->mark && last->length < UINT32_MAX / 2) {
        if (at == last->at + last->length) {
            last->length += length;
            return;
        }
        if (at + length == last->at) {
            last->at = at;
            last->length += length;
            return;
        }
    }
    l->item = grow(l->item, l->count + 1, &l->room, sizeof(*l->item));
    l->item[l->count++] = (Written){at, length, mark};
}

static Pins pins_of(const Cpu *cpu)
{
    return (Pins){cpu->intr,         cpu->a20,     cpu->ignne,   cpu->nmi_pending, cpu->smi_pending,
                  cpu->init_pending, cpu->nmi_pin, cpu->smi_pin, cpu->init_pin};
}

static void set_pins(Cpu *cpu, const Pins *pins)
{
    if (cpu->a20 != pins->a20) {
        cpu->a20 = pins->a20;
        mem_flush(cpu, true);
    }
    cpu->intr = pins->intr;
    cpu->ignne = pins->ignne;
    cpu->nmi_pending = pins->nmi_pending;
    cpu->smi_pending = pins->smi_pending;
    cpu->init_pending = pins->init_pending;
    cpu->nmi_pin = pins->nmi_pin;
    cpu->smi_pin = pins->smi_pin;
    cpu->init_pin = pins->init_pin;
}

static Record *add(Check *c, RecordKind kind, unsigned bytes, uint64_t at, uint64_t value)
{
    Recording *r = &c->recording;
    r->record = grow(r->record, r->count + 1, &r->room, sizeof(*r->record));
    Record *record = &r->record[r->count++];
    *record = (Record){(uint8_t)kind, (uint8_t)bytes, at, value, r->data_count};
    return record;
}

static void add_data(Recording *r, const void *data, size_t size)
{
    r->data = grow(r->data, r->data_count + size, &r->data_room, 1);
    memcpy(r->data + r->data_count, data, size);
    r->data_count += size;
}

void record_written(Check *c, uint32_t at, uint32_t length)
{
    Recording *r = &c->recording;
    if (!r->on) {
        shadow_written(c, at, length);
    } else if (r->busy) {
        add(c, RECORD_WRITTEN, 0, at, length);
        add_data(r, ram_at(&c->board->ram, at), length);
    } else if (r->marking) {
        written_add(&c->marked, at, length, true);
    }
}

/* The whole map goes into the recording: it may change again before the shadow comes here. */
void record_map(Check *c)
{
    Recording *r = &c->recording;
    if (!r->on) {
        shadow_map(c);
        return;
    }
    Record *record = add(c, RECORD_MAP, 0, 0, 0);
    BusStretch stretch;
    for (uint64_t from = 0; bus_stretch(c->board->memory, from, &stretch); from = stretch.end) {
        add_data(r, &stretch, sizeof(stretch));
        record->value++;
    }
}

static void note_pins(Check *c)
{
    Pins pins = pins_of(c->cpu);
    if (memcmp(&pins, &c->recording.pins, sizeof(pins)) != 0) {
        c->recording.pins = pins;
        add(c, RECORD_PINS, 0, 0, 0);
        add_data(&c->recording, &pins, sizeof(pins));
    }
}

/* --- the first processor --- */

/* Around whatever it does outside. */
static size_t outside(Check *c, RecordKind kind, unsigned bytes, uint64_t at, uint64_t value)
{
    if (!c->recording.on) {
        return 0;
    }
    add(c, kind, bytes, at, value);
    c->recording.busy = true;
    return c->recording.count - 1;
}

static void back(Check *c)
{
    if (c->recording.on) {
        c->recording.busy = false;
        note_pins(c);
        c->count.devices++;
    }
}

static uint64_t tap_read(void *self, bool port, uint64_t at, unsigned bytes)
{
    Check *c = self;
    size_t record = outside(c, port ? RECORD_PORT_READ : RECORD_MEMORY_READ, bytes, at, 0);
    uint64_t value = bus_read(port ? c->board->ports : c->board->memory, at, bytes);
    if (c->recording.on) {
        c->recording.record[record].value = value;
    }
    back(c);
    return value;
}

static void tap_write(void *self, bool port, uint64_t at, uint64_t value, unsigned bytes)
{
    Check *c = self;
    outside(c, port ? RECORD_PORT_WRITE : RECORD_MEMORY_WRITE, bytes, at, value);
    bus_write(port ? c->board->ports : c->board->memory, at, value, bytes);
    back(c);
}

static int64_t tap_now(void *self)
{
    Check *c = self;
    int64_t now = clock_now(&c->board->clock);
    if (c->recording.on) {
        add(c, RECORD_TIME, 0, 0, (uint64_t)now);
    }
    return now;
}

static void tap_marking(void *self, bool begins)
{
    Check *c = self;
    c->recording.marking = begins;
}

static uint8_t pin_acknowledge(void *self)
{
    Check *c = self;
    size_t record = outside(c, RECORD_ACKNOWLEDGE, 1, 0, 0);
    uint8_t vector = c->pins->acknowledge ? c->pins->acknowledge(c->pins->self) : 0xff;
    if (c->recording.on) {
        c->recording.record[record].value = vector;
    }
    back(c);
    return vector;
}

static void pin_line(void *self, unsigned pin, bool level)
{
    Check *c = self;
    outside(c, (RecordKind)pin, 1, 0, level);
    line_set(pin == RECORD_FERR     ? &c->pins->ferr
             : pin == RECORD_SMIACT ? &c->pins->smiact
                                    : &c->pins->shutdown,
             level);
    back(c);
}

static void pin_apic_base(void *self, uint64_t value)
{
    Check *c = self;
    outside(c, RECORD_APIC_BASE, 8, 0, value);
    if (c->pins->apic_base_changed) {
        c->pins->apic_base_changed(c->pins->self, value);
    }
    back(c);
}

/* --- the shadow --- */

static void load_map(Check *c, const Record *record)
{
    Bus *bus = bus_new("shadow", BOARD_MEMORY, &c->shadow_board->ram);
    if (!bus) {
        abort(); /* the host is at its end */
    }
    for (uint64_t i = 0; i < record->value; i++) {
        BusStretch stretch;
        memcpy(&stretch, c->recording.data + record->data + i * sizeof(stretch), sizeof(stretch));
        if (stretch.ram) {
            bus_claim_ram(bus, stretch.base, stretch.end - stretch.base, &stretch.view, "memory");
        }
    }
    bus_free(c->shadow_board->memory);
    c->shadow_board->memory = bus;
    mem_flush(c->shadow, true);
}

void shadow_map(Check *c)
{
    Recording *r = &c->recording;
    size_t count = r->count, data = r->data_count;
    r->on = true;
    record_map(c);
    r->on = false;
    load_map(c, &r->record[count]);
    r->count = count;
    r->data_count = data;
}

/* What came of what the shadow has just done. */
static void effects(Check *c)
{
    Recording *r = &c->recording;
    for (; r->next < r->count && r->record[r->next].kind >= RECORD_WRITTEN; r->next++) {
        const Record *record = &r->record[r->next];
        Pins pins;
        switch (record->kind) {
        case RECORD_WRITTEN:
            memcpy(ram_at(&c->shadow_board->ram, (uint32_t)record->at), r->data + record->data,
                   record->value);
            interpreter_changed(c->shadow_interpreter, (uint32_t)record->at,
                                (uint32_t)record->value);
            break;
        case RECORD_MAP:
            load_map(c, record);
            break;
        default:
            memcpy(&pins, r->data + record->data, sizeof(pins));
            set_pins(c->shadow, &pins);
            break;
        }
    }
}

static void differ(Check *c, RecordKind kind, unsigned bytes, uint64_t at, uint64_t value)
{
    const Recording *r = &c->recording;
    char first[80] = "nothing";
    if (c->difference[0]) {
        return;
    }
    if (r->next < r->count) {
        const Record *was = &r->record[r->next];
        snprintf(first, sizeof(first), "%s 0x%" PRIx64 " (%u bytes, 0x%" PRIx64 ")",
                 names[was->kind], was->at, was->bytes, was->value);
    }
    snprintf(c->difference, sizeof(c->difference),
             "outside: %s by the translator, %s 0x%" PRIx64 " (%u bytes, 0x%" PRIx64
             ") by the interpreter",
             first, names[kind], at, bytes, value);
}

/* The next record, which must be this; NULL, and a difference, if it is not. */
static const Record *expect(Check *c, RecordKind kind, unsigned bytes, uint64_t at, uint64_t value,
                            bool compare)
{
    Recording *r = &c->recording;
    if (!r->replay) {
        return NULL;
    }
    const Record *record = r->next < r->count ? &r->record[r->next] : NULL;
    if (!record || record->kind != kind || record->bytes != bytes || record->at != at ||
        (compare && record->value != value)) {
        differ(c, kind, bytes, at, value);
        return NULL;
    }
    r->next++;
    return record;
}

static uint64_t shadow_read(void *self, bool port, uint64_t at, unsigned bytes)
{
    Check *c = self;
    const Record *record =
        expect(c, port ? RECORD_PORT_READ : RECORD_MEMORY_READ, bytes, at, 0, false);
    uint64_t value = record ? record->value : UINT64_MAX;
    effects(c);
    return value;
}

static void shadow_write(void *self, bool port, uint64_t at, uint64_t value, unsigned bytes)
{
    Check *c = self;
    (void)expect(c, port ? RECORD_PORT_WRITE : RECORD_MEMORY_WRITE, bytes, at, value, true);
    effects(c);
}

static int64_t shadow_now(void *self)
{
    const Record *record = expect(self, RECORD_TIME, 0, 0, 0, false);
    return record ? (int64_t)record->value : 0;
}

static void shadow_marking(void *self, bool begins)
{
    Check *c = self;
    c->recording.marking = begins;
}

static uint8_t shadow_acknowledge(void *self)
{
    Check *c = self;
    const Record *record = expect(c, RECORD_ACKNOWLEDGE, 1, 0, 0, false);
    uint8_t vector = record ? (uint8_t)record->value : 0xff;
    effects(c);
    return vector;
}

static void shadow_line(void *self, unsigned pin, bool level)
{
    Check *c = self;
    (void)expect(c, (RecordKind)pin, 1, 0, level, true);
    effects(c);
}

static void shadow_apic_base(void *self, uint64_t value)
{
    Check *c = self;
    (void)expect(c, RECORD_APIC_BASE, 8, 0, value, true);
    effects(c);
}

/* --- both --- */

void record_open(Check *c)
{
    c->tap = (CpuTap){tap_read, tap_write, tap_now, tap_marking, c, 0};
    c->shadow_tap = (CpuTap){shadow_read, shadow_write, shadow_now, shadow_marking, c, 0};
    c->tapped = (CpuPins){
        .acknowledge = pin_acknowledge,
        .self = c,
        .ferr = {pin_line, c, RECORD_FERR},
        .smiact = {pin_line, c, RECORD_SMIACT},
        .shutdown = {pin_line, c, RECORD_SHUTDOWN},
        .apic_base_changed = pin_apic_base,
    };
    c->shadow_pins = (CpuPins){
        .acknowledge = shadow_acknowledge,
        .self = c,
        .ferr = {shadow_line, c, RECORD_FERR},
        .smiact = {shadow_line, c, RECORD_SMIACT},
        .shutdown = {shadow_line, c, RECORD_SHUTDOWN},
        .apic_base_changed = shadow_apic_base,
    };
    c->pins = c->cpu->pins;
    c->cpu->pins = &c->tapped;
    c->cpu->tap = &c->tap;
}

void record_close(Check *c)
{
    if (c->pins) {
        c->cpu->pins = c->pins;
        c->cpu->tap = NULL;
    }
    free(c->recording.record);
    free(c->recording.data);
    free(c->written.item);
    free(c->marked.item);
}

void record_begin(Check *c)
{
    Recording *r = &c->recording;
    r->count = r->next = r->data_count = 0;
    c->written.count = c->marked.count = 0;
    r->pins = pins_of(c->cpu);
    set_pins(c->shadow, &r->pins);
    r->on = true;
}

void record_replay(Check *c)
{
    c->recording.on = false;
    c->recording.replay = true;
}

void record_done(Check *c)
{
    Recording *r = &c->recording;
    r->replay = false;
    if (r->next < r->count && !c->difference[0]) {
        const Record *left = &r->record[r->next];
        snprintf(c->difference, sizeof(c->difference),
                 "outside: %s 0x%" PRIx64 " (%u bytes, 0x%" PRIx64
                 ") by the translator, nothing by the interpreter",
                 names[left->kind], left->at, left->bytes, left->value);
    }
}
