/* The opcode list's row table.
 *
 * Source: x86_ops.def, whose head comment explains the columns.
 */
#include "cpu-accel/x86/ops.h"

#define ONE(f)                                                                                     \
    {                                                                                              \
        f, f, f, f                                                                                 \
    }
#define BY_SIZE(f)                                                                                 \
    {                                                                                              \
        f##_16, f##_16, f##_32, f##_32                                                             \
    }
#define BY_FORM(f)                                                                                 \
    {                                                                                              \
        f##_r, f##_m, f##_r, f##_m                                                                 \
    }
#define BY_BOTH(f)                                                                                 \
    {                                                                                              \
        f##_16r, f##_16m, f##_32r, f##_32m                                                         \
    }
#define OP(id, mnemonic, operands, map, opcode, count, prefix, form, digit, read, written, undef,  \
           traits, since, ex, tr)                                                                  \
    {#id,         mnemonic, operands, MAP_##map, opcode, count,  MANDATORY_##prefix,               \
     FORM_##form, digit,    read,     written,   undef,  traits, CPU_##since,                      \
     ex},

const OpRow op_rows[OP_COUNT] = {
#include "cpu-accel/x86/x86_ops.def"
};
