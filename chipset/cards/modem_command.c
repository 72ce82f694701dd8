/* Hayes modem: the commands behind AT.
 *
 * Sources: Hayes, Smartmodem 2400 user's guide; ITU-T V.250. Settings without a meaning on a line
 * of bytes (loudspeaker, modulation, compression) are taken and have no effect.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chipset/cards/modem_internal.h"

void modem_defaults(ModemProfile *p)
{
    static const uint8_t registers[13] = {0, 0, '+', '\r', '\n', '\b', 2, 50, 2, 6, 14, 95, 50};
    *p = (ModemProfile){.echo = true,
                        .verbose = true,
                        .codes = 4,
                        .carrier_mode = 1,
                        .dtr_mode = 2,
                        .flow_mode = 3};
    memcpy(p->s, registers, sizeof(registers));
    p->s[S_DTR] = 5;
}

/* The rings of a call go on. */
static void use(Modem *m, const ModemProfile *p)
{
    uint8_t rings = m->g.now.s[S_RINGS];
    m->g.now = *p;
    m->g.now.s[S_RINGS] = rings;
    modem_drive(m);
}

void modem_recall(Modem *m, unsigned which)
{
    use(m, &m->g.kept[which]);
}

/* A number at *text, 0 where there is none. */
static unsigned take_number(const char **text)
{
    unsigned value = 0;
    while (**text >= '0' && **text <= '9') {
        value = value < 1000 ? value * 10 + (unsigned)(**text - '0') : value;
        (*text)++;
    }
    return value;
}

/* A setting from 0 to most. What is out of range changes nothing. */
static bool take_choice(const char **text, unsigned most, uint8_t *value)
{
    unsigned n = take_number(text);
    if (n <= most) {
        *value = (uint8_t)n;
    }
    return n <= most;
}

static bool take_switch(const char **text, bool *value)
{
    uint8_t n = *value;
    bool good = take_choice(text, 1, &n);
    *value = n;
    return good;
}

static void show_register(Modem *m)
{
    char value[16];
    snprintf(value, sizeof(value), "%03u", m->g.now.s[m->g.pointer]);
    modem_inform(m, value);
}

/* ATSr=n, ATSr?, or ATSr, to which AT=n and AT? refer. */
static bool register_command(Modem *m, const char **text)
{
    unsigned index = take_number(text);
    if (index >= MODEM_REGISTERS) {
        return false;
    }
    m->g.pointer = (uint8_t)index;
    return true;
}

static void show_profile(Modem *m, const char *title, const ModemProfile *p)
{
    char line[120];
    modem_inform(m, title);
    snprintf(line, sizeof(line), "E%d Q%d V%d X%u &C%u &D%u &K%u &S%u", p->echo, p->quiet,
             p->verbose, p->codes, p->carrier_mode, p->dtr_mode, p->flow_mode, p->dsr_mode);
    modem_inform(m, line);
    size_t at = 0;
    for (unsigned i = 0; i <= S_GUARD; i++) {
        at += (size_t)snprintf(line + at, sizeof(line) - at, "S%u:%03u ", i, p->s[i]);
    }
    snprintf(line + at, sizeof(line) - at, "S%u:%03u", S_DTR, p->s[S_DTR]);
    modem_inform(m, line);
}

static void show_settings(Modem *m)
{
    char title[24];
    show_profile(m, "ACTIVE PROFILE:", &m->g.now);
    for (unsigned i = 0; i < MODEM_PROFILES; i++) {
        snprintf(title, sizeof(title), "STORED PROFILE %u:", i);
        show_profile(m, title, &m->g.kept[i]);
    }
    for (unsigned i = 0; i < MODEM_NUMBERS; i++) {
        char line[MODEM_NUMBER + 8];
        snprintf(line, sizeof(line), "&Z%u=%s", i, m->g.numbers[i]);
        modem_inform(m, line);
    }
}

/* &Zn=number: all that is left of the line. */
static bool keep_number(Modem *m, const char **text)
{
    unsigned n = take_number(text);
    const char *number = **text == '=' ? *text + 1 : *text;
    size_t size = strlen(number);
    *text = number + size;
    if (n >= MODEM_NUMBERS || size > MODEM_NUMBER) {
        return false;
    }
    memset(m->g.numbers[n], 0, sizeof(m->g.numbers[n]));
    memcpy(m->g.numbers[n], number, size);
    return true;
}

static bool keep_profile(Modem *m, const char **text)
{
    unsigned n = take_number(text);
    if (n >= MODEM_PROFILES) {
        return false;
    }
    m->g.kept[n] = m->g.now;
    m->g.kept[n].s[S_RINGS] = 0;
    return true;
}

static bool and_command(Modem *m, const char **text)
{
    char letter = **text;
    ModemProfile factory;
    *text += letter != 0;
    bool good = true;
    switch (letter) {
    case 'C':
        good = take_choice(text, 1, &m->g.now.carrier_mode);
        break;
    case 'D':
        good = take_choice(text, 3, &m->g.now.dtr_mode);
        break;
    case 'F':
        take_number(text);
        modem_defaults(&factory);
        use(m, &factory);
        break;
    case 'K':
        good = take_choice(text, 6, &m->g.now.flow_mode);
        break;
    case 'S':
        good = take_choice(text, 1, &m->g.now.dsr_mode);
        break;
    case 'V':
        take_number(text);
        show_settings(m);
        break;
    case 'W':
        return keep_profile(m, text);
    case 'Y':
        return take_choice(text, MODEM_PROFILES - 1, &m->g.power_up);
    case 'Z':
        return keep_number(m, text);
    default:
        take_number(text);
        return letter >= 'A' && letter <= 'Z';
    }
    modem_drive(m);
    return good;
}

static void identify(Modem *m, unsigned n)
{
    static const char *const answers[] = {"2400", "000", "OK", "Vitrine modem", "Hayes compatible"};
    modem_inform(m, answers[n < 5 ? n : 3]);
}

static void reset(Modem *m, unsigned which)
{
    if (which >= MODEM_PROFILES) {
        modem_result(m, RESULT_ERROR);
        return;
    }
    modem_hang_up(m);
    modem_recall(m, which);
    modem_result(m, RESULT_OK);
}

/* AT+... of V.250: to a semicolon, or to the end. Other additions: a letter and its numbers. */
static void skip_addition(const char **text, bool extended)
{
    if (extended) {
        *text += strcspn(*text, ";");
    } else {
        *text += **text != 0;
        *text += strspn(*text, "0123456789=?,");
    }
}

/* The last command of a line, which gives its own result later. True: it does. */
static bool call_command(Modem *m, char letter, const char **text, bool *known)
{
    *known = true;
    switch (letter) {
    case 'D':
        modem_dial(m, *text);
        return true;
    case 'A':
        modem_answer(m);
        return true;
    case 'O':
        take_number(text);
        if (m->g.call == CALL_ONLINE) {
            modem_go_online(m);
        } else {
            modem_result(m, RESULT_NO_CARRIER);
        }
        return true;
    case 'Z':
        reset(m, take_number(text));
        return true;
    default:
        *known = false;
        return false;
    }
}

static bool setting_command(Modem *m, char letter, const char **text)
{
    unsigned n;
    switch (letter) {
    case 'E':
        return take_switch(text, &m->g.now.echo);
    case 'Q':
        return take_switch(text, &m->g.now.quiet);
    case 'V':
        return take_switch(text, &m->g.now.verbose);
    case 'X':
        return take_choice(text, 4, &m->g.now.codes);
    case 'H':
        n = take_number(text);
        if (n == 0) {
            modem_hang_up(m);
        }
        return n <= 1;
    case 'I':
        identify(m, take_number(text));
        return true;
    case 'S':
        return register_command(m, text);
    case '?':
        show_register(m);
        return true;
    case '=':
        return take_choice(text, 255, &m->g.now.s[m->g.pointer]);
    case '&':
        return and_command(m, text);
    case '\\':
    case '%':
    case '*':
    case '-':
    case '+':
        skip_addition(text, letter == '+');
        return true;
    case ';':
        return true;
    case 'B':
    case 'C':
    case 'F':
    case 'L':
    case 'M':
    case 'N':
    case 'P':
    case 'T':
    case 'W':
    case 'Y':
        take_number(text);
        return true;
    default:
        return false;
    }
}

void modem_run(Modem *m, const char *line)
{
    while (*line) {
        char letter = *line++;
        bool known;
        if (call_command(m, letter, &line, &known)) {
            return;
        }
        if (!setting_command(m, letter, &line)) {
            modem_result(m, RESULT_ERROR);
            return;
        }
    }
    modem_result(m, RESULT_OK);
}
