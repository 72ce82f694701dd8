/* Segment loads, far transfers, interrupts, task switches, control registers: what protected mode
 * is made of. */
#ifndef CPU_ACCEL_X86_CONTROL_H
#define CPU_ACCEL_X86_CONTROL_H

#include "cpu-accel/x86/cpu.h"

/* MOV/POP/Lxx to ES, SS, DS, FS, GS, with all checks of the current mode (SDM vol. 3, 5.4..5.7).
 * X_NEXT or X_FAULT. */
Outcome seg_load(Cpu *cpu, SegIndex seg, uint16_t selector);
/* Real and virtual-8086 mode: base = selector << 4, other parts kept (real) or set (V86). */
void seg_load_real(Cpu *cpu, SegIndex seg, uint16_t selector);
/* After any change of CS or SS outside these functions. */
void seg_set_code(Cpu *cpu, const SegReg *code, uint8_t cpl);

Outcome far_jump(Cpu *cpu, uint16_t selector, uint32_t offset, unsigned opsize,
                 uint32_t return_eip);
Outcome far_call(Cpu *cpu, uint16_t selector, uint32_t offset, unsigned opsize,
                 uint32_t return_eip);
Outcome far_return(Cpu *cpu, unsigned opsize, uint16_t release_bytes);
Outcome far_iret(Cpu *cpu, unsigned opsize, uint32_t return_eip);

/* How an interrupt came about; decides privilege checks, error code's EXT bit and the pushed EIP.
 */
typedef enum IntSource {
    INT_HARDWARE,
    INT_FAULT,
    INT_SOFT /* INT n */,
    INT_SOFT_BP_OF /* INT3, INTO */,
    INT_SOFT_ICEBP
} IntSource;
/* Delivers a vector through IVT or IDT. return_eip is what gets pushed. X_STOP, or X_FAULT when
 * delivery itself faulted. */
Outcome int_deliver(Cpu *cpu, uint8_t vector, IntSource source, bool has_error_code,
                    uint32_t error_code, uint32_t return_eip);
/* Delivers cpu->fault with the rules for double and triple faults; eip is the faulting
 * instruction's. Never fails: a triple fault sets CPU_SHUTDOWN and raises the shutdown line. */
void int_deliver_fault(Cpu *cpu);
/* INT n instruction, with VME and IOPL rules. */
Outcome int_software(Cpu *cpu, uint8_t vector, uint32_t return_eip);
/* Takes what is pending between two instructions, by priority: reset, SMI, debug traps, NMI, INTR.
 * True when state changed. It honours cpu->shadow, which the run loop clears right before it runs
 * the next instruction. */
bool int_poll(Cpu *cpu);
/* Would int_poll do something now? For HLT loops, and cheap enough for every block. */
bool int_waiting(const Cpu *cpu);
/* Stops for good, until NMI, SMI, INIT or reset (SDM vol. 3, 6.15 #DF). */
void int_shutdown(Cpu *cpu);

/* True: instructions must be run one at a time, each between debug_begin and debug_end, with
 * int_poll after it: single step, RF, or some breakpoint is enabled. */
static inline bool debug_stepping(const Cpu *cpu)
{
    return cpu->eflags & (FL_TF | FL_RF) || cpu->dr7 & 0xff;
}
/* Before the instruction at CS:EIP: X_NEXT, or X_FAULT with #DB for an instruction breakpoint.
 * Takes RF off (whoever delivers a fault pushes it set) and remembers TF. Call it before `shadow`
 * is cleared. */
Outcome debug_begin(Cpu *cpu);
/* After it, with its outcome: notes the single-step trap; sets RF when a string instruction paused.
 */
void debug_end(Cpu *cpu, Outcome outcome);
/* I/O breakpoints (CR4.DE) on an access just made. */
void debug_watch_io(Cpu *cpu, uint16_t port, unsigned bytes);
/* DR0..DR7, with #UD and general detect: X_NEXT or X_FAULT. */
Outcome dr_read(Cpu *cpu, unsigned n, uint32_t *value);
Outcome dr_write(Cpu *cpu, unsigned n, uint32_t value);

typedef enum TaskSource { TASK_JUMP, TASK_CALL, TASK_INT, TASK_IRET } TaskSource;
/* ext: error codes' EXT bit, for interrupts. Faults that the new task's segments cause come after
 * the switch: eip is the new task's then. X_STOP or X_FAULT. */
Outcome task_switch(Cpu *cpu, uint16_t selector, TaskSource source, bool has_error_code,
                    uint32_t error_code, uint32_t return_eip, uint32_t ext);

/* I/O permission by CPL, IOPL and the TSS bitmap: X_NEXT or X_FAULT. */
Outcome io_check(Cpu *cpu, uint16_t port, unsigned bytes);
/* Would io_check look at plain memory alone, none of it in the page that holds `host`? */
bool io_check_apart(const Cpu *cpu, uint16_t port, const uint8_t *host);

/* An opcode that the model has not: true when it was done all the same (eip is behind it). */
bool foreign_instruction(Cpu *cpu);

/* System management mode, from SMI to RSM. smm_leave: X_STOP; a bad save area shuts
 * down. */
void smm_enter(Cpu *cpu);
Outcome smm_leave(Cpu *cpu);

/* Control registers with all side effects: X_STOP (eip is the caller's), or X_FAULT: #GP(0) for the
 * value, #UD for a register that is not there. */
Outcome cr_write(Cpu *cpu, unsigned n, uint32_t value);
Outcome msr_read(Cpu *cpu, uint32_t index, uint64_t *value);
Outcome msr_write(Cpu *cpu, uint32_t index, uint64_t value);
void cpuid(const Cpu *cpu, uint32_t leaf, uint32_t out[4]); /* EAX EBX ECX EDX */
uint64_t tsc_read(const Cpu *cpu);

#endif
