/* For tests of MMX and SSE: one row of the list against the host's processor. */
#ifndef TESTS_CPU_VECTOR_JUDGE_H
#define TESTS_CPU_VECTOR_JUDGE_H

#include "tests/cpu/fpu_rig.h"

/* Fails the test, with the case printed, at the first difference. */
void vector_judge_row(Rig *rig, const OpRow *row, unsigned cases, uint64_t *seed);

#endif
