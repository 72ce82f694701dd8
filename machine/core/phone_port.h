/* A telephone line as a modem sees it: calls go out by number and come in by ringing; what is said
 * is bytes.
 *
 * Calls of PhoneOps come on the machine's thread and never block; those of PhoneSink come there
 * too. All zero: no line is plugged in, every call fails at once.
 */
#ifndef MACHINE_CORE_PHONE_PORT_H
#define MACHINE_CORE_PHONE_PORT_H

#include <stddef.h>
#include <stdint.h>

typedef enum PhoneEnd { PHONE_HUNG_UP, PHONE_BUSY, PHONE_NO_ANSWER, PHONE_ENDS } PhoneEnd;

typedef struct PhoneSink {
    void (*ringing)(void *self);             /* once, when a call comes in */
    void (*connected)(void *self);           /* after dial or answer */
    void (*ended)(void *self, PhoneEnd why); /* the call, the ringing or the try */
    void (*receive)(void *self, const uint8_t *data, size_t size); /* at most what room said */
    size_t (*room)(void *self);
    void (*drained)(void *self); /* the line has room again */
    void *self;
} PhoneSink;

typedef struct PhoneOps {
    void (*attach)(void *line, const PhoneSink *sink); /* once, when the modem is made */
    void (*dial)(void *line, const char *number);
    void (*answer)(void *line);
    void (*hang_up)(void *line); /* also ends a try, and turns a caller away; no `ended` follows */
    size_t (*room)(void *line);  /* bytes that the line takes now */
    void (*write)(void *line, const uint8_t *data, size_t size);
    void (*ready)(void *line); /* the modem has room again after its room() said 0 */
} PhoneOps;

typedef struct PhonePort {
    const PhoneOps *ops;
    void *line;
} PhonePort;

#endif
