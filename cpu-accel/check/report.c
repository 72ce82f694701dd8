/* The report of a difference: both processors' state in two columns, memory, and what they ran. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cpu-accel/check/check.h"
#include "cpu-accel/check/fields.h"
#include "cpu-accel/x86/mem.h"
#include "machine/core/log.h"

LOG_TAG("check");

enum { MEMORY_LINES = 16, STREAM_LINES = 64, ROW = 16 };

/* A line of the report. */
__attribute__((format(printf, 2, 3))) static void say(Check *c, const char *format, ...)
{
    size_t room = REPORT_TEXT - c->text_count;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(c->text + c->text_count, room, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < room) { /* else it is full */
        c->text_count += (size_t)length + 1;
    }
}

static void report_fields(Check *c)
{
    say(c, "%-16s %-18s %-18s", "", "translator", "interpreter");
    for (unsigned i = 0; i < check_field_count; i++) {
        const Field *field = &check_fields[i];
        uint64_t a = check_field(c->cpu, field), b = check_field(c->shadow, field);
        int digits = 2 * field->size;
        if (a != b || field->shown) {
            say(c, "%-16s %0*" PRIx64 "%*s %0*" PRIx64 "%*s%s", field->name, digits, a, 18 - digits,
                "", digits, b, 18 - digits, "", a != b ? " <<<" : "");
        }
    }
}

static void report_before(Check *c)
{
    const Before *b = &c->before;
    say(c, "before: EAX %08x ECX %08x EDX %08x EBX %08x ESP %08x EBP %08x ESI %08x EDI %08x",
        b->reg[EAX], b->reg[ECX], b->reg[EDX], b->reg[EBX], b->reg[ESP], b->reg[EBP], b->reg[ESI],
        b->reg[EDI]);
    say(c, "before: CS %04x base %08x EIP %08x EFLAGS %08x", b->code.selector, b->code.base, b->eip,
        b->eflags);
}

static void hex(char *text, const uint8_t *bytes)
{
    for (unsigned i = 0; i < ROW; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
}

static unsigned report_memory(Check *c, uint64_t from, uint64_t length, unsigned lines)
{
    const uint8_t *a = c->board->ram.host, *b = c->shadow_board->ram.host;
    uint64_t end = from + length;
    for (uint64_t at = from & ~(uint64_t)(ROW - 1); at < end && lines; at += ROW) {
        char first[2 * ROW + 1], second[2 * ROW + 1];
        if (memcmp(a + at, b + at, ROW) != 0) {
            hex(first, a + at);
            hex(second, b + at);
            say(c, "memory %08" PRIx64 ": %s %s <<<", at, first, second);
            lines--;
        }
    }
    return lines;
}

/* One instruction of a stream, as that processor sees it. False: it cannot be had. */
static bool fetch(const Cpu *cpu, const Before *b, uint32_t eip, char *text, unsigned size,
                  unsigned *length)
{
    const CpuMode mode = {b->code.access & SEG_BIG, cpu_v86_or_real(cpu), cpu->model};
    uint8_t bytes[INSN_MAX_BYTES];
    unsigned count = 0;
    Insn in;
    for (; count < sizeof(bytes); count++) {
        uint64_t physical;
        bool writable, user;
        if (!mem_translate_quietly(cpu, b->code.base + eip + count, &physical, &writable, &user)) {
            break;
        }
        BusPage page = bus_page(cpu->board->memory, physical);
        if (!page.ram) {
            break;
        }
        bytes[count] = *ram_at(cpu->ram, page.view.read_at + (uint32_t)(physical & (RAM_PAGE - 1)));
    }
    if (x86_decode(&(CodeView){bytes, count}, &mode, &in) != DECODE_OK) {
        return false;
    }
    x86_disassemble(&in, eip, text, size);
    *length = in.length;
    return true;
}

/* A unit as it was translated beside the same memory as the interpreter decodes it. */
static void report_streams(Check *c, const Step *step)
{
    const Unit *unit = step->unit ? c->translator->piece.unit : NULL;
    uint32_t eip = step->eip;
    uint64_t count = step->count < STREAM_LINES ? step->count : STREAM_LINES;
    say(c, "%-8s  %-38s %-38s", "", unit ? "as translated" : "memory of the translator",
        "memory of the interpreter");
    for (unsigned i = 0; i <= count; i++) {
        char first[100] = "?", second[100] = "?";
        unsigned length = 0;
        bool right = fetch(c->shadow, &c->before, eip, second, sizeof(second), &length);
        if (unit && i < unit->count) {
            x86_disassemble(&unit->insn[i], eip, first, sizeof(first));
            length = unit->insn[i].length;
        } else if (!unit || i >= unit->count) {
            unsigned left;
            (void)fetch(c->cpu, &c->before, eip, first, sizeof(first), &left);
        }
        say(c, "%08x  %-38s %-38s%s", eip, first, second, strcmp(first, second) != 0 ? " <<<" : "");
        if (length == 0 || (!right && !unit)) {
            break;
        }
        eip += length;
    }
}

static void report_trail(Check *c)
{
    say(c, "the way here, latest last:");
    for (unsigned i = 1; i <= TRAIL; i++) {
        const Step *s = &c->trail[(c->trail_at + i) % TRAIL];
        if (s->count || s->eip) {
            say(c, "  %04x:%08x %4" PRIu64 " instructions %s", s->selector, s->eip, s->count,
                s->count == 0 ? "(an interrupt)"
                : s->unit     ? "translated"
                              : "interpreted");
        }
    }
}

void report_make(Check *c)
{
    const Step *step = &c->trail[c->trail_at];
    c->text_count = 0;
    snprintf(c->accel->failure, sizeof(c->accel->failure), "%s", c->difference);
    say(c, "translator and interpreter differ after %" PRIu64 " instructions: %s",
        c->count.instructions, c->difference);
    report_fields(c);
    report_before(c);
    unsigned lines = MEMORY_LINES;
    for (size_t i = 0; i < c->dirty_count && lines; i++) {
        uint64_t from = (uint64_t)c->dirty[i].page << RAM_PAGE_SHIFT;
        lines = report_memory(c, from, RAM_PAGE, lines);
    }
    if (step->count) {
        report_streams(c, step);
    }
    report_trail(c);
}

void report_only_linked(Check *c)
{
    say(c, "the same, run again in single units, ends without a difference");
}

void report_send(Check *c)
{
    for (size_t at = 0; at < c->text_count; at += strlen(c->text + at) + 1) {
        log_error("%s", c->text + at);
    }
    c->text_count = 0;
    c->stale = true;
}
