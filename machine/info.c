/* Views of a machine for people: registers, page tables, memory map, timers. */
#include "machine/info.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cpu-accel/x86/mem.h"

typedef struct Out {
    void (*line)(void *self, const char *text);
    void *self;
} Out;

static void print(const Out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print(const Out *out, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    out->line(out->self, text);
}

static void view_registers(const Out *out, const Cpu *cpu)
{
    static const char *const segments[] = {"ES", "CS", "SS", "DS", "FS", "GS", "LDT", "TR"};
    const uint32_t *r = cpu->reg;
    print(out, "EAX=%08x EBX=%08x ECX=%08x EDX=%08x", r[EAX], r[EBX], r[ECX], r[EDX]);
    print(out, "ESI=%08x EDI=%08x EBP=%08x ESP=%08x", r[ESI], r[EDI], r[EBP], r[ESP]);
    print(out, "EIP=%08x EFL=%08x CPL=%u SMM=%d HLT=%d A20=%d", cpu->eip, cpu_eflags(cpu), cpu->cpl,
          cpu->smm, cpu->activity == CPU_HALTED, cpu->a20);
    for (unsigned i = 0; i < 8; i++) {
        const SegReg *s = &cpu->seg[i];
        print(out, "%-3s=%04x %08x %08x %05x", segments[i], s->selector, s->base, s->limit,
              s->access);
    }
    print(out, "GDT=     %08x %08x", cpu->gdtr.base, cpu->gdtr.limit);
    print(out, "IDT=     %08x %08x", cpu->idtr.base, cpu->idtr.limit);
    print(out, "CR0=%08x CR2=%08x CR3=%08x CR4=%08x", cpu->cr0, cpu->cr2, cpu->cr3, cpu->cr4);
    print(out, "DR0=%08x DR1=%08x DR2=%08x DR3=%08x DR6=%08x DR7=%08x", cpu->dr[0], cpu->dr[1],
          cpu->dr[2], cpu->dr[3], cpu->dr6, cpu->dr7);
    print(out, "FCW=%04x FSW=%04x FTW=%02x MXCSR=%08x", cpu->fpu.control, cpu->fpu.status,
          cpu->fpu.valid, cpu->fpu.mxcsr);
}

/* Stretches of linear memory that map alike. */
static void view_mem(const Out *out, const Cpu *cpu)
{
    if (!(cpu->cr0 & CR0_PG)) {
        print(out, "paging is off");
        return;
    }
    uint64_t start = 0, start_physical = 0;
    int before = -1; /* rights of the stretch: bit 0 writable, bit 1 user; -1 not mapped */
    for (uint64_t linear = 0; linear <= UINT64_C(1) << 32; linear += RAM_PAGE) {
        uint64_t physical = 0;
        bool writable = false, user = false;
        bool mapped = linear >> 32 == 0 &&
                      mem_translate_quietly(cpu, (uint32_t)linear, &physical, &writable, &user);
        int rights = mapped ? writable | user << 1 : -1;
        bool same = rights == before && (!mapped || physical == start_physical + (linear - start));
        if (same) {
            continue;
        }
        if (before >= 0) {
            print(out, "%08" PRIx64 "-%08" PRIx64 " -> %09" PRIx64 " %c%c", start, linear - 1,
                  start_physical, before & 2 ? 'u' : 's', before & 1 ? 'w' : 'r');
        }
        start = linear;
        start_physical = physical;
        before = rights;
    }
}

static void view_timers(const Out *out, Board *b)
{
    int64_t now = clock_peek(&b->clock);
    print(out, "now %" PRId64 " ns", now);
    for (const Timer *t = b->clock.first; t; t = t->next) {
        print(out, "%-24s in %" PRId64 " ns", t->what, t->due - now);
    }
}

bool info_view(const char *what, const Cpu *cpu, Board *b, const char *engine,
               void (*line)(void *self, const char *text), void *self)
{
    Out out = {line, self};
    if (strcmp(what, "registers") == 0) {
        view_registers(&out, cpu);
    } else if (strcmp(what, "mem") == 0) {
        view_mem(&out, cpu);
    } else if (strcmp(what, "mtree") == 0) {
        print(&out, "memory:");
        bus_describe(b->memory, line, self);
        print(&out, "ports:");
        bus_describe(b->ports, line, self);
    } else if (strcmp(what, "timers") == 0) {
        view_timers(&out, b);
    } else if (strcmp(what, "devices") == 0) {
        for (const Device *d = b->first; d; d = d->next) {
            print(&out, "%-16s %s", d->id, d->type->name);
        }
    } else if (strcmp(what, "engine") == 0) {
        print(&out, "%s, %" PRIu64 " instructions", engine, cpu->executed);
    } else {
        return false;
    }
    return true;
}
