/* The disassembler: Intel syntax from the operand letters of the opcode list.
 *
 * For logs, monitors and test reports. A memory operand names its size where no register does; what
 * the list does not know comes out as "(bad)".
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cpu-accel/x86/ops.h"

typedef struct Text {
    char *at;
    unsigned room, used;
} Text;

__attribute__((format(printf, 2, 3))) static void say(Text *t, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    unsigned left = t->used < t->room ? t->room - t->used : 0;
    int n = vsnprintf(left ? t->at + t->used : NULL, left, format, arguments);
    va_end(arguments);
    t->used += n > 0 ? (unsigned)n : 0;
}

static const char *const names8[8] = {"al", "cl", "dl", "bl", "ah", "ch", "dh", "bh"};
static const char *const names16[8] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
static const char *const names32[8] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
static const char *const segments[8] = {"es", "cs", "ss", "ds", "fs", "gs", "?", "?"};

/* Bytes of an operand by its width letters; 0: none in particular. */
static unsigned width(const Insn *in, const char *letters)
{
    static const struct {
        const char *letters;
        unsigned bytes;
    } widths[] = {
        {"b", 1},   {"w", 2},   {"d", 4},  {"q", 8},  {"t", 10}, {"dq", 16},
        {"ps", 16}, {"pd", 16}, {"ss", 4}, {"sd", 8}, {"s", 6},
    };

    if (!strcmp(letters, "v")) {
        return in->opsize;
    }
    if (!strcmp(letters, "p")) {
        return in->opsize + 2u;
    }
    if (!strcmp(letters, "a")) {
        return in->opsize * 2u;
    }
    for (unsigned i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        if (!strcmp(letters, widths[i].letters)) {
            return widths[i].bytes;
        }
    }
    return 0;
}

static const char *size_name(unsigned bytes)
{
    switch (bytes) {
    case 1:
        return "byte ";
    case 2:
        return "word ";
    case 4:
        return "dword ";
    case 6:
        return "fword ";
    case 8:
        return "qword ";
    case 10:
        return "tbyte ";
    case 16:
        return "oword ";
    default:
        return "";
    }
}

static void say_register(Text *t, unsigned n, unsigned bytes)
{
    say(t, "%s", (bytes == 1 ? names8 : bytes == 2 ? names16 : names32)[n & 7]);
}

static void say_memory(Text *t, const Insn *in, const char *size)
{
    const char *const *names = in->adsize == 4 ? names32 : names16;
    bool something = false;

    say(t, "%s", size);
    if (in->prefix & PREFIX_SEG) {
        say(t, "%s:", segments[in->seg & 7]);
    }
    say(t, "[");
    if (in->base != NO_REG) {
        say(t, "%s", names[in->base]);
        something = true;
    }
    if (in->index != NO_REG) {
        say(t, "%s%s", something ? "+" : "", names[in->index]);
        if (in->scale) {
            say(t, "*%u", 1u << in->scale);
        }
        something = true;
    }
    if (!something) {
        say(t, "0x%x", in->disp & in->address_mask);
    } else if ((int32_t)in->disp < 0) {
        say(t, "-0x%x", 0u - in->disp);
    } else if (in->disp) {
        say(t, "+0x%x", in->disp);
    }
    say(t, "]");
}

static void say_string(Text *t, const Insn *in, bool source, const char *size)
{
    const char *const *names = in->adsize == 4 ? names32 : names16;
    const char *segment = !source ? "es:" : "";

    say(t, "%s%s", size, segment);
    if (source && in->prefix & PREFIX_SEG) {
        say(t, "%s:", segments[in->seg & 7]);
    }
    say(t, "[%s]", names[source ? ESI : EDI]);
}

static void say_target(Text *t, const Insn *in, uint32_t eip)
{
    uint32_t target = eip + in->length + in->imm;
    say(t, "0x%x", in->opsize == 4 ? target : target & 0xffff);
}

/* An immediate, cut to the width of what it is used with. */
static void say_immediate(Text *t, const Insn *in, const char *letters)
{
    if (letters[0] == 's') {
        int32_t value = (int32_t)in->imm;
        say(t, value < 0 ? "-0x%x" : "0x%x", value < 0 ? 0u - in->imm : in->imm);
    } else {
        say(t, "0x%x", in->imm);
    }
}

/* E, P, Q ...: the operand in ModRM. `size` is the memory size name to show. */
static void say_modrm(Text *t, const Insn *in, char where, unsigned bytes, const char *size)
{
    bool by_reg = where == 'G' || where == 'P' || where == 'V';
    unsigned n = by_reg ? in->reg : in->rm;

    if (!by_reg && in->memory) {
        say_memory(t, in, size);
    } else if (strchr("PNQ", where)) {
        say(t, "mm%u", n);
    } else if (strchr("VUW", where)) {
        say(t, "xmm%u", n);
    } else {
        say_register(t, n, bytes);
    }
}

static void say_operand(Text *t, const Insn *in, const char *o, uint32_t eip, bool sized)
{
    unsigned bytes = width(in, o + 1);
    const char *size = sized ? size_name(bytes) : "";

    if (!strcmp(o, "eAX")) {
        say_register(t, EAX, in->opsize);
    } else if (!strcmp(o, "STi")) {
        say(t, "st%u", in->rm);
    } else if (!strcmp(o, "ST")) {
        say(t, "st0");
    } else if (!strcmp(o, "1")) {
        say(t, "1");
    } else if (!strcmp(o, "AL") || !strcmp(o, "CL") || !strcmp(o, "DX") || !strcmp(o, "AX")) {
        say(t, "%c%c", o[0] | 0x20, o[1] | 0x20);
    } else if (strlen(o) == 2 && o[1] == 'S') {
        say(t, "%s", segments[in->reg & 7]);
    } else if (!strcmp(o, "Ib") && in->op == OP_ENTER) {
        say(t, "0x%x", in->imm2);
    } else if (o[0] == 'I' || o[0] == 's') {
        say_immediate(t, in, o);
    } else if (o[0] == 'J') {
        say_target(t, in, eip);
    } else if (o[0] == 'A') {
        say(t, "0x%x:0x%x", in->imm2, in->imm);
    } else if (o[0] == 'O' || o[0] == 'M') {
        say_memory(t, in, size);
    } else if (o[0] == 'X' || o[0] == 'Y') {
        say_string(t, in, o[0] == 'X', size);
    } else if (o[0] == 'Z') {
        say_register(t, in->reg, bytes);
    } else if (o[0] == 'R') {
        say_register(t, in->rm, 4);
    } else if (o[0] == 'S') {
        say(t, "%s", segments[in->reg & 7]);
    } else if (strchr("CDT", o[0])) {
        say(t, "%cr%u", o[0] | 0x20, in->reg);
    } else {
        say_modrm(t, in, o[0], bytes, size);
    }
}

/* Does some operand besides memory and constants show the size? */
static bool register_shows_size(const char *operands)
{
    return strpbrk(operands, "GZPV") || strstr(operands, "AL") || strstr(operands, "eAX") ||
           strstr(operands, "Sw");
}

static void say_prefixes(Text *t, const Insn *in, const OpRow *row)
{
    if (in->prefix & PREFIX_LOCK) {
        say(t, "lock ");
    }
    if (row->traits & T_STR && in->prefix & (PREFIX_REP | PREFIX_REPNE)) {
        bool compares = row->flags_written != 0;
        bool repne = in->prefix & PREFIX_REPNE;
        say(t, "%s ", repne ? "repne" : compares ? "repe" : "rep");
    }
}

static void say_mnemonic(Text *t, const Insn *in, const OpRow *row)
{
    const char *bar = strchr(row->mnemonic, '|');
    unsigned size = in->op == OP_JCXZ ? in->adsize : in->opsize;

    if (!bar) {
        say(t, "%s", row->mnemonic);
    } else if (size == 4) {
        say(t, "%s", bar + 1);
    } else {
        say(t, "%.*s", (int)(bar - row->mnemonic), row->mnemonic);
    }
}

int x86_disassemble(const Insn *in, uint32_t eip, char *text, unsigned room)
{
    const OpRow *row = &op_rows[in->op < OP_COUNT ? in->op : OP_INVALID];
    Text t = {text, room, 0};
    bool sized = !register_shows_size(row->operands) || strstr(row->operands, "Eb") ||
                 strstr(row->operands, "Ew");
    bool plain = strstr(row->operands, "Gb,") || strstr(row->operands, ",Gb") ||
                 !strcmp(row->operands, "Ew,Gw");

    if (room) {
        text[0] = '\0';
    }
    say_prefixes(&t, in, row);
    say_mnemonic(&t, in, row);
    /* a string instruction's name says it all */
    const char *p = row->traits & T_STR && !(in->prefix & PREFIX_SEG) ? "" : row->operands;
    for (unsigned i = 0; *p; i++) {
        char operand[16];
        size_t length = strcspn(p, ",");
        snprintf(operand, sizeof(operand), "%.*s", (int)length, p);
        say(&t, i ? ", " : " ");
        say_operand(&t, in, operand, eip, sized && !plain);
        p += length + (p[length] == ',');
    }
    return (int)t.used;
}
