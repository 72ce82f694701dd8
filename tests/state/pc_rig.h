/* A whole PC without a thread of its own: driven by instruction count, so every run repeats. */
#ifndef TESTS_STATE_PC_RIG_H
#define TESTS_STATE_PC_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "machine/engine.h"
#include "machine/pc.h"

typedef struct PcRig {
    Board *b;
    Pc *pc;
    Accel accel;
    bool reset_wanted, powered_off;
} PcRig;

/* Counted time, 1 << 3 ns an instruction. config->icount_shift is set by this. */
void pc_rig_open(PcRig *rig, MachineConfig *config, const char *engine);
void pc_rig_close(PcRig *rig);
/* Runs until guest time has moved by ns. Idle time is skipped. */
void pc_rig_run(PcRig *rig, int64_t ns);
/* CRC-like sum of all memory in use. */
uint64_t pc_rig_memory_sum(const PcRig *rig);
/* Devices and memory of one into the other, built alike; fails the test unless saving again gives
 * equal bytes. */
void pc_rig_copy(PcRig *from, PcRig *to);
/* The saved bytes; malloc. */
uint8_t *pc_rig_save(PcRig *rig, size_t *size);

#endif
