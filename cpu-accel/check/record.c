/* What the first processor does beyond its memory, for real and recorded; the same for the shadow,
 * out of the recording. check.c runs both. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-accel/check/check.h"
#include "cpu-accel/x86/mem.h"

enum { RECORDS_MOST = 1 << 16 }; /* of one span */

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

Pins record_pins(const Cpu *cpu)
{
    return (Pins){cpu->intr,         cpu->a20,     cpu->ignne,   cpu->nmi_pending, cpu->smi_pending,
                  cpu->init_pending, cpu->nmi_pin, cpu->smi_pin, cpu->init_pin};
}

void record_set_pins(Cpu *cpu, const Pins *pins)
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
    if (r->on && r->busy) {
        add(c, RECORD_WRITTEN, 0, at, length);
        add_data(r, ram_at(&c->board->ram, at), length);
    } else if (!r->on && !c->first.on) {
        shadow_written(c, at, length);
    }
}

void record_flags(Check *c)
{
    c->recording.looked |= c->recording.on && c->recording.busy;
}

/* The whole map goes into the recording: it may change again before the shadow comes here. */
void record_map(Check *c)
{
    Recording *r = &c->recording;
    if (!r->on) {
        shadow_map(c);
        return;
    }
    r->maps = true;
    Record *record = add(c, RECORD_MAP, 0, 0, 0);
    BusStretch stretch;
    for (uint64_t from = 0; bus_stretch(c->board->memory, from, &stretch); from = stretch.end) {
        add_data(r, &stretch, sizeof(stretch));
        record->value++;
    }
}

static void note_pins(Check *c)
{
    Pins pins = record_pins(c->cpu);
    if (memcmp(&pins, &c->recording.pins, sizeof(pins)) != 0) {
        c->recording.pins = pins;
        add(c, RECORD_PINS, 0, 0, 0);
        add_data(&c->recording, &pins, sizeof(pins));
    }
}

/* --- for real --- */

/* Around whatever the first processor does outside. */
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
        if (c->recording.count > RECORDS_MOST) { /* the span ends here */
            atomic_store(&c->cpu->attention, true);
        }
    }
}

static uint64_t real_read(Check *c, RecordKind kind, uint64_t at, unsigned bytes)
{
    size_t record = outside(c, kind, bytes, at, 0);
    uint64_t value =
        bus_read(kind == RECORD_PORT_READ ? c->board->ports : c->board->memory, at, bytes);
    if (c->recording.on) {
        c->recording.record[record].value = value;
    }
    back(c);
    return value;
}

static void real_write(Check *c, RecordKind kind, uint64_t at, uint64_t value, unsigned bytes)
{
    outside(c, kind, bytes, at, value);
    bus_write(kind == RECORD_PORT_WRITE ? c->board->ports : c->board->memory, at, value, bytes);
    back(c);
}

static int64_t real_now(Check *c)
{
    int64_t now = clock_now(&c->board->clock);
    if (c->recording.on) {
        add(c, RECORD_TIME, 0, 0, (uint64_t)now);
    }
    return now;
}

static uint8_t real_acknowledge(Check *c)
{
    size_t record = outside(c, RECORD_ACKNOWLEDGE, 1, 0, 0);
    uint8_t vector = c->pins->acknowledge ? c->pins->acknowledge(c->pins->self) : 0xff;
    if (c->recording.on) {
        c->recording.record[record].value = vector;
    }
    back(c);
    return vector;
}

static void real_line(Check *c, unsigned pin, bool level)
{
    outside(c, (RecordKind)pin, 1, 0, level);
    line_set(pin == RECORD_FERR     ? &c->pins->ferr
             : pin == RECORD_SMIACT ? &c->pins->smiact
                                    : &c->pins->shutdown,
             level);
    back(c);
}

static void real_apic_base(Check *c, uint64_t value)
{
    outside(c, RECORD_APIC_BASE, 8, 0, value);
    if (c->pins->apic_base_changed) {
        c->pins->apic_base_changed(c->pins->self, value);
    }
    back(c);
}

/* --- out of the recording --- */

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

static void replay_written(Replay *p, const Record *record)
{
    Check *c = p->check;
    const uint8_t *data = c->recording.data + record->data;
    Ram *ram = p->cpu->ram;
    uint32_t at = (uint32_t)record->at, length = (uint32_t)record->value;
    if (p->shadow) {
        shadow_touch(c, at, length, false);
        memcpy(ram_at(ram, at), data, length);
        interpreter_changed(c->shadow_interpreter, at, length);
    } else {
        memcpy(ram_at(ram, at), data, length);
        ram_written(ram, at, length);
    }
}

/* What came of what this processor has just done. */
static void effects(Replay *p)
{
    const Recording *r = &p->check->recording;
    if (!p->on) {
        return;
    }
    for (; p->next < r->count && r->record[p->next].kind >= RECORD_WRITTEN; p->next++) {
        const Record *record = &r->record[p->next];
        Pins pins;
        switch (record->kind) {
        case RECORD_WRITTEN:
            replay_written(p, record);
            break;
        case RECORD_MAP:
            load_map(p->check, record);
            break;
        default:
            memcpy(&pins, r->data + record->data, sizeof(pins));
            record_set_pins(p->cpu, &pins);
            break;
        }
    }
}

static void differ(Replay *p, RecordKind kind, unsigned bytes, uint64_t at, uint64_t value)
{
    Check *c = p->check;
    const Recording *r = &c->recording;
    char first[80] = "nothing";
    p->left = true;
    if (c->difference[0]) {
        return;
    }
    if (p->next < r->count) {
        const Record *was = &r->record[p->next];
        snprintf(first, sizeof(first), "%s 0x%" PRIx64 " (%u bytes, 0x%" PRIx64 ")",
                 names[was->kind], was->at, was->bytes, was->value);
    }
    snprintf(c->difference, sizeof(c->difference),
             "outside: %s by the translator, %s 0x%" PRIx64 " (%u bytes, 0x%" PRIx64 ") by the %s",
             first, names[kind], at, bytes, value,
             p->shadow ? "interpreter" : "translator in its second run");
}

/* The next record, which must be this; NULL, and a difference, if it is not. */
static const Record *expect(Replay *p, RecordKind kind, unsigned bytes, uint64_t at, uint64_t value,
                            bool compare)
{
    const Recording *r = &p->check->recording;
    if (!p->on) {
        return NULL;
    }
    const Record *record = p->next < r->count ? &r->record[p->next] : NULL;
    if (!record || record->kind != kind || record->bytes != bytes || record->at != at ||
        (compare && record->value != value)) {
        differ(p, kind, bytes, at, value);
        return NULL;
    }
    p->next++;
    return record;
}

static uint64_t replay_read(Replay *p, RecordKind kind, uint64_t at, unsigned bytes)
{
    const Record *record = expect(p, kind, bytes, at, 0, false);
    uint64_t value = record ? record->value : UINT64_MAX;
    effects(p);
    return value;
}

static void replay_write(Replay *p, RecordKind kind, uint64_t at, uint64_t value, unsigned bytes)
{
    (void)expect(p, kind, bytes, at, value, true);
    effects(p);
}

/* --- the taps --- */

static bool for_real(const Replay *p)
{
    return !p->shadow && !p->on;
}

static uint64_t tap_read(void *self, bool port, uint64_t at, unsigned bytes)
{
    Replay *p = self;
    RecordKind kind = port ? RECORD_PORT_READ : RECORD_MEMORY_READ;
    return for_real(p) ? real_read(p->check, kind, at, bytes) : replay_read(p, kind, at, bytes);
}

static void tap_write(void *self, bool port, uint64_t at, uint64_t value, unsigned bytes)
{
    Replay *p = self;
    RecordKind kind = port ? RECORD_PORT_WRITE : RECORD_MEMORY_WRITE;
    if (for_real(p)) {
        real_write(p->check, kind, at, value, bytes);
    } else {
        replay_write(p, kind, at, value, bytes);
    }
}

static int64_t tap_now(void *self)
{
    Replay *p = self;
    if (for_real(p)) {
        return real_now(p->check);
    }
    const Record *record = expect(p, RECORD_TIME, 0, 0, 0, false);
    return record ? (int64_t)record->value : 0;
}

static void tap_marks(void *self, uint64_t at)
{
    Replay *p = self;
    Check *c = p->check;
    BusPage page = bus_page(p->cpu->board->memory, at);
    if (!page.ram || !page.view.writable) {
        return;
    }
    uint32_t ram_offset = page.view.write_at + (uint32_t)(at & (RAM_PAGE - 1));
    c->mark = grow(c->mark, c->mark_count + 1, &c->mark_room, sizeof(*c->mark));
    c->mark[c->mark_count++] = ram_offset;
    if (p->shadow) {
        shadow_touch(c, ram_offset, 1, true);
    }
}

static uint8_t pin_acknowledge(void *self)
{
    Replay *p = self;
    return for_real(p) ? real_acknowledge(p->check)
                       : (uint8_t)replay_read(p, RECORD_ACKNOWLEDGE, 0, 1);
}

static void pin_line(void *self, unsigned pin, bool level)
{
    Replay *p = self;
    if (for_real(p)) {
        real_line(p->check, pin, level);
    } else {
        replay_write(p, (RecordKind)pin, 0, level, 1);
    }
}

static void pin_apic_base(void *self, uint64_t value)
{
    Replay *p = self;
    if (for_real(p)) {
        real_apic_base(p->check, value);
    } else {
        replay_write(p, RECORD_APIC_BASE, 0, value, 8);
    }
}

/* --- both --- */

static CpuPins pins_to(Replay *p)
{
    return (CpuPins){
        .acknowledge = pin_acknowledge,
        .self = p,
        .ferr = {pin_line, p, RECORD_FERR},
        .smiact = {pin_line, p, RECORD_SMIACT},
        .shutdown = {pin_line, p, RECORD_SHUTDOWN},
        .apic_base_changed = pin_apic_base,
    };
}

void record_open(Check *c)
{
    c->first = (Replay){.check = c, .cpu = c->cpu};
    c->second = (Replay){.check = c, .shadow = true};
    c->tap = (CpuTap){tap_read, tap_write, tap_now, tap_marks, &c->first, 0};
    c->shadow_tap = (CpuTap){tap_read, tap_write, tap_now, tap_marks, &c->second, 0};
    c->tapped = pins_to(&c->first);
    c->shadow_pins = pins_to(&c->second);
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
    free(c->mark);
}

void record_begin(Check *c)
{
    Recording *r = &c->recording;
    r->count = r->data_count = 0;
    r->maps = r->looked = false;
    c->mark_count = 0;
    r->pins = record_pins(c->cpu);
    record_set_pins(c->shadow, &r->pins);
    r->on = true;
}

void record_replay(Check *c)
{
    c->recording.on = false;
    c->second.on = true;
    c->second.left = false;
    c->second.next = 0;
}

void record_again(Check *c)
{
    record_replay(c);
    c->first.on = true;
    c->first.left = false;
    c->first.next = 0;
}

void record_done(Check *c)
{
    const Recording *r = &c->recording;
    size_t next = c->second.next;
    c->first.on = c->second.on = false;
    if (next < r->count && !c->difference[0]) {
        const Record *left = &r->record[next];
        snprintf(c->difference, sizeof(c->difference),
                 "outside: %s 0x%" PRIx64 " (%u bytes, 0x%" PRIx64
                 ") by the translator, nothing by the interpreter",
                 names[left->kind], left->at, left->bytes, left->value);
    }
}
