/* Selection: which host code a guest instruction becomes. For select*.c and units.c.
 *
 * Every emitted instruction that can fault does so before it or its neighbours have changed
 * anything the guest can see. r8 to r11 are free to use.
 */
#ifndef CPU_ACCEL_TRANSLATOR_SELECT_H
#define CPU_ACCEL_TRANSLATOR_SELECT_H

#include "cpu-accel/translator/translator.h"

/* How an instruction ends a unit. */
typedef enum SelectEnd {
    END_NONE,   /* it does not */
    END_CALLED, /* its handler is called, and the run loop looks at what it did */
    END_IF,
    END_LOOP,
    END_JUMP,
    END_CALL,
    END_JUMP_INDIRECT,
    END_CALL_INDIRECT,
    END_RETURN,
    END_FAR_DIRECT, /* these in real and virtual-8086 mode: jumps and calls */
    END_FAR_INDIRECT,
    END_FAR_RETURN,
} SelectEnd;

enum {
    GS_PREFIX = 0x65,
    ADDRESS_32 = 0x67,
    OPERAND_16 = 0x66,
    LOCK = 0xf0,
    REX_B = 0x41,
    REX_X = 0x42,
    REX_R = 0x44,
};

/* What of an opcode the encoder needs. */
typedef struct Opcode {
    unsigned byte;
    bool map_0f, operand_16, lock;
    unsigned mandatory; /* 0, 0x66, 0xf2, 0xf3 */
} Opcode;

/* An access to a segment whose offset is in r8. */
typedef struct Access {
    unsigned seg;
    unsigned size; /* bytes */
    bool write;
    bool narrow; /* the offset is below 64 KiB */
} Access;

/* --- select.c --- */

SelectEnd select_end(const Insn *in, int mode);
/* Host code for one guest instruction that goes on to the next. False: it must be called. */
bool select_insn(Code *c, const Insn *in, int mode);
/* Does the host's own unit run it in this mode? */
bool select_on_fpu(const Insn *in, int mode);
/* Does it load a segment register, which it may do on the host? */
bool select_loads_segment(const Insn *in);
/* Has it left its mark in FIP and FOP, and in FDP, when it is done? */
bool select_notes(const Insn *in);
/* Does the row's operand list name something of operand size? */
bool select_has_operand_size(const char *operands);

/* --- select_memory.c --- */

/* r8d = offset of the memory operand within its segment, `extra` added to the displacement. */
void select_offset(Code *c, const Insn *in, int32_t extra);
/* Faults unless the access is within its segment. Keeps r8; uses r9. */
void select_check(Code *c, const Access *a, int mode);
/* The same for the byte at r8, a sum of 64 bits. */
void select_check_run(Code *c, const Access *a, int mode);
/* mov to, the segment's base */
void select_base(Code *c, unsigned to, unsigned seg);
/* The check, then prefixes, opcode and memory operand at seg:r8 with `reg` (0..15). Keeps r8; uses
 * r9. In code for the page array: sizes 1, 2 and 4, at most 4 accesses an instruction; r8 and r11
 * are used. */
void select_at(Code *c, const Opcode *op, unsigned reg, const Access *a, int mode);
/* The same with the memory operand of `in`; r8 and r9 are used unless the operand can stand as it
 * is. */
void select_memory(Code *c, const Opcode *op, unsigned reg, const Insn *in, int mode,
                   int32_t extra);
/* The same for a part of the operand: `size` bytes. */
void select_part(Code *c, const Opcode *op, unsigned reg, const Insn *in, int mode, int32_t extra,
                 unsigned size);
/* Can the operand stand as it is? */
bool select_direct(const Insn *in, int mode);
/* ModRM, SIB and displacement of the operand as it stands. */
void select_operand(Code *c, unsigned reg, const Insn *in, int32_t extra);
/* How many bytes the memory operand has. */
unsigned select_size(const Insn *in);
/* movzx to, word [r15 + ...]: the selector of a segment register. */
void select_selector(Code *c, unsigned to, unsigned seg);

/* --- select_stack.c --- */

/* Pushes, and pops into, any register but ESP and r8, r9. */
void select_push(Code *c, unsigned reg, unsigned size, int mode);
void select_push_imm(Code *c, uint32_t value, unsigned size, int mode);
/* reg (not r8, r9) = what lies `at` bytes above the top of the stack, zero-extended. */
void select_peek(Code *c, unsigned reg, int32_t at, unsigned size, int mode);
bool select_stack(Code *c, const Insn *in, int mode);
/* r8d = offset of what lies `at` bytes above the top of the stack. */
void select_top(Code *c, int32_t at, int mode);
Access select_top_access(unsigned size, bool write, int mode);
/* Moves the stack pointer. Uses r8. */
void select_stack_move(Code *c, int32_t by, int mode);

/* --- select_string.c --- */

bool select_string(Code *c, const Insn *in, int mode);
void select_direction(Code *c, const Insn *in);

/* --- select_flags.c --- */

/* PUSHF, POPF, CLI, STI. False: the handler must be called. */
bool select_flags(Code *c, const Insn *in, int mode);
/* Can it be host code in this mode? */
bool select_owns_flags(const Insn *in, int mode);
/* Such code may find, before it has changed anything, that it must be called after all. */
bool select_may_call(const Insn *in);

/* --- select_jump.c --- */

/* r8d = where an indirect jump, a call or a return goes to in CS, which has been set; the stack is
 * as it must be then. False: the handler must be called. */
bool select_target(Code *c, const Insn *in, int mode, SelectEnd end, uint32_t next);
/* JMP and CALL to a far pointer in the code, up to the jump itself. */
bool select_far_direct(Code *c, const Insn *in, int mode, uint32_t next);
/* The rel32 of the jump where the condition holds; the code behind goes on where it does not. */
uint8_t *select_condition(Code *c, const Insn *in, SelectEnd end);
/* Segment registers from and to registers, memory and stack. False: the handler must be called. */
bool select_load_segment(Code *c, const Insn *in, int mode);
bool select_store_segment(Code *c, const Insn *in, int mode);
/* Is loading this segment register no more than to set its base? */
bool select_plain_segment(int mode, unsigned seg);

#endif
