/* The list of engines: what -accel can name, and what the tests of the processor run. */
#include <stddef.h>

#include "cpu-accel/accel.h"

const AccelOps *const accel_engines[] = {
    &accel_interpreter,
#ifdef __x86_64__
    &accel_translator,
    &accel_kvm,
    &accel_check,
#endif
    NULL,
};
