/* The architectural state as a list of fields, to be compared and printed. */
#ifndef CPU_ACCEL_CHECK_FIELDS_H
#define CPU_ACCEL_CHECK_FIELDS_H

#include "cpu-accel/x86/cpu.h"

typedef struct Field {
    const char *name;
    uint16_t offset;
    uint8_t size;
    bool shown; /* even when there is no difference */
} Field;

extern const Field check_fields[];
extern const unsigned check_field_count;

/* Its value; EFLAGS whole. */
uint64_t check_field(const Cpu *cpu, const Field *field);

#endif
