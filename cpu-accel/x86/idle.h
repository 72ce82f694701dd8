/* Guests that wait without halting: DOS and Windows 3.x poll the keyboard, or say in so many words
 * that they are idle.
 *
 * What is noticed here changes nothing in the guest: it asks the machine's loop to let the host
 * sleep until the next timer or event, for a while at most. Counted time takes no naps: there
 * nothing may depend on the host.
 */
#ifndef CPU_ACCEL_X86_IDLE_H
#define CPU_ACCEL_X86_IDLE_H

#include "cpu-accel/x86/cpu.h"

/* A software interrupt is about to be delivered in real or virtual-8086 mode. */
void idle_software_int(Cpu *cpu, uint8_t vector);
/* The guest did something that others can notice: it is not idle. */
static inline void idle_busy(Cpu *cpu)
{
    cpu->idle.polls = 0;
    cpu->idle.streak = 0;
    cpu->idle.rests = 0;
}
/* The nap that was asked for, in ns, and takes the question back; 0: none. */
int64_t idle_take(Cpu *cpu);
/* The nap is over. */
void idle_woke(Cpu *cpu);

#endif
