/* Hayes modem: the commands behind AT.
 *
 * Sources: Hayes, Smartmodem 2400 user's guide; ITU-T V.250. Settings without a meaning on a line
 * of bytes (loudspeaker, modulation, compression) are taken and have no effect.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chipset/cards/modem_internal.h"

void modem_defaults(Modem *m)
{
    static const uint8_t registers[13] = {0, 0, '+', '\r', '\n', '\b', 2, 50, 2, 6, 14, 95, 50};
    memset(m->g.s, 0, sizeof(m->g.s));
    memcpy(m->g.s, registers, sizeof(registers));
    m->g.echo = m->g.verbose = true;
    m->g.quiet = false;
    m->g.codes = 4;
    m->g.carrier_mode = 1;
    m->g.dtr_mode = 2;
    m->g.flow_mode = 3;
    m->g.dsr_mode = 0;
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

static bool take_switch(const char **text, bool *value)
{
    unsigned n = take_number(text);
    *value = n == 1;
    return n <= 1;
}

/* ATSr=n, ATSr? */
static bool register_command(Modem *m, const char **text)
{
    unsigned index = take_number(text);
    char value[16];
    if (index >= MODEM_REGISTERS) {
        return false;
    }
    if (**text == '?') {
        (*text)++;
        snprintf(value, sizeof(value), "%03u", m->g.s[index]);
        modem_say(m, value);
        return true;
    }
    if (**text != '=') {
        return false;
    }
    (*text)++;
    unsigned number = take_number(text);
    m->g.s[index] = (uint8_t)number;
    return number <= 255;
}

static void show_settings(Modem *m)
{
    char line[120];
    snprintf(line, sizeof(line), "E%d Q%d V%d X%u &C%u &D%u &K%u &S%u", m->g.echo, m->g.quiet,
             m->g.verbose, m->g.codes, m->g.carrier_mode, m->g.dtr_mode, m->g.flow_mode,
             m->g.dsr_mode);
    modem_say(m, line);
    size_t at = 0;
    for (unsigned i = 0; i <= S_GUARD; i++) {
        at += (size_t)snprintf(line + at, sizeof(line) - at, "S%u:%03u ", i, m->g.s[i]);
    }
    line[at - 1] = '\0';
    modem_say(m, line);
}

static bool and_command(Modem *m, const char **text)
{
    char letter = **text;
    *text += letter != 0;
    unsigned n = take_number(text);
    switch (letter) {
    case 'C':
        m->g.carrier_mode = n & 1;
        modem_drive(m);
        return n <= 1;
    case 'D':
        m->g.dtr_mode = n & 3;
        return n <= 3;
    case 'F':
        modem_defaults(m);
        modem_drive(m);
        return true;
    case 'K':
        m->g.flow_mode = (uint8_t)(n <= 6 ? n : 0);
        modem_drive(m);
        return n <= 6;
    case 'S':
        m->g.dsr_mode = n & 1;
        modem_drive(m);
        return n <= 1;
    case 'V':
        show_settings(m);
        return true;
    default:
        return letter >= 'A' && letter <= 'Z';
    }
}

static void identify(Modem *m, unsigned n)
{
    static const char *const answers[] = {"2400", "000", "OK", "Vitrine modem", "Hayes compatible"};
    modem_say(m, answers[n < 5 ? n : 3]);
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
        modem_hang_up(m);
        modem_defaults(m);
        modem_drive(m);
        modem_result(m, RESULT_OK);
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
        return take_switch(text, &m->g.echo);
    case 'Q':
        return take_switch(text, &m->g.quiet);
    case 'V':
        return take_switch(text, &m->g.verbose);
    case 'X':
        n = take_number(text);
        m->g.codes = (uint8_t)(n <= 4 ? n : 4);
        return n <= 4;
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
    case '&':
        return and_command(m, text);
    case '\\':
    case '%':
    case '*':
    case '-':
    case '+':
        *text += **text != 0;
        while (**text && strchr("0123456789=?,", **text)) {
            (*text)++;
        }
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
        return letter == ' ';
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
