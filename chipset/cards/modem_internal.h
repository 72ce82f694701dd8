/* The modem's inside: the call, and the commands that steer it. */
#ifndef CHIPSET_CARDS_MODEM_INTERNAL_H
#define CHIPSET_CARDS_MODEM_INTERNAL_H

#include "chipset/cards/modem.h"

enum {
    MODEM_LINE = 128,   /* characters of a command */
    MODEM_QUEUE = 4096, /* bytes on their way to the serial port */
    MODEM_REGISTERS = 64,
    MODEM_PROFILES = 2, /* kept by &W */
    MODEM_NUMBERS = 4,  /* kept by &Z */
    MODEM_NUMBER = 63,  /* characters of one */
};

/* S registers with a meaning here. */
enum {
    S_AUTO_ANSWER = 0, /* rings, 0: never */
    S_RINGS = 1,
    S_ESCAPE = 2, /* character, above 127: none */
    S_RETURN = 3,
    S_LINE_FEED = 4,
    S_BACKSPACE = 5,
    S_WAIT = 7,   /* seconds until the carrier must be there */
    S_GUARD = 12, /* 50ths of a second; 0: no silence is needed */
    S_DTR = 25,   /* hundredths of a second that DTR must be low to count */
};

typedef enum ModemResult {
    RESULT_OK = 0,
    RESULT_CONNECT = 1,
    RESULT_RING = 2,
    RESULT_NO_CARRIER = 3,
    RESULT_ERROR = 4,
    RESULT_BUSY = 7,
    RESULT_NO_ANSWER = 8,
} ModemResult;

typedef enum ModemCall {
    CALL_NONE,
    CALL_RINGING,
    CALL_TRYING, /* dialled or answered, no carrier yet */
    CALL_ONLINE,
    CALL_STATES
} ModemCall;

/* What &W keeps and ATZ brings back. */
typedef struct ModemProfile {
    uint8_t s[MODEM_REGISTERS];
    bool echo, quiet, verbose;
    uint8_t codes;                                       /* X: 0 says CONNECT alone */
    uint8_t carrier_mode, dtr_mode, flow_mode, dsr_mode; /* &C &D &K &S */
} ModemProfile;

struct Modem {
    Device dev;
    ModemConfig config;
    CharSink port; /* the serial port */
    bool plugged;
    Timer ring, wait, guard, dtr;
    struct {
        unsigned call; /* ModemCall */
        bool data;     /* what the guest sends goes over the line; else it is commands */
        bool dtr, rts, ri, cts;
        ModemProfile now, kept[MODEM_PROFILES];
        uint8_t power_up; /* &Y: which of the kept is for the next start */
        uint8_t pointer;  /* the register of AT? and AT= */
        char dialled[MODEM_LINE + 1];
        char numbers[MODEM_NUMBERS][MODEM_NUMBER + 1];
        bool guest_stopped, stopped; /* XOFF came from the guest; went there */
        bool holds_data;             /* there is some in the queue, not results alone */
        uint32_t baud;
        uint8_t prefix; /* of "AT": 0 none, 1 'A' */
        bool in_line, too_long;
        char line[MODEM_LINE + 1], last[MODEM_LINE + 1];
        uint8_t length;
        uint8_t escapes;      /* escape characters in a row */
        int64_t last_data_ns; /* when the guest last sent */
        uint8_t queue[MODEM_QUEUE];
        uint16_t at, size;
    } g;
};

/* modem.c */
void modem_inform(Modem *m, const char *text);
void modem_result(Modem *m, ModemResult code);
/* number: what stands behind ATD. */
void modem_dial(Modem *m, const char *number);
void modem_answer(Modem *m);
void modem_go_online(Modem *m);
/* Ends the call without a word. */
void modem_hang_up(Modem *m);
void modem_drive(Modem *m);
/* modem_command.c */
/* Makes a kept profile the present one. */
void modem_recall(Modem *m, unsigned which);
void modem_defaults(ModemProfile *p);
void modem_run(Modem *m, const char *line);

#endif
