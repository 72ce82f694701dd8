/* Instructions that the processor model has not, and that the guest may use all the same because
 * another engine has shown it their feature bits.
 *
 * The KVM of some hosts passes features of the host through, whatever CPUID it is given, and a
 * guest that begins there may be carried over between asking for them and using them. Only RDRAND
 * can be answered without being modelled: no number is there now, CF = 0, which software must
 * expect at any time (SDM vol. 2, RDRAND). Everything else stays #UD, as the model has it.
 */
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/mem.h"

enum {
    OPERAND_SIZE = 0x66,
    RDRAND_MODRM = 0xf0, /* register form of 0F C7 /6 */
    RDRAND_LONGEST = 4,
};

bool foreign_instruction(Cpu *cpu)
{
    uint8_t code[RDRAND_LONGEST] = {0};
    uint32_t at = cpu->seg[CS].base + cpu->eip;
    for (unsigned i = 0; cpu->rdrand_shown && i < RDRAND_LONGEST; i++) {
        if (!mem_linear_read(cpu, at + i, code + i, 1, cpu->cpl == 3)) {
            break; /* what follows may lie on a page that is not there */
        }
    }
    const uint8_t *op = code + (code[0] == OPERAND_SIZE);
    if (op[0] != 0x0f || op[1] != 0xc7 || (op[2] & 0xf8) != RDRAND_MODRM) {
        return false;
    }
    bool wide = cpu_code32(cpu) != (op != code);
    cpu->reg[op[2] & 7] &= wide ? 0 : 0xffff0000u;
    cpu_set_eflags(cpu, cpu_eflags(cpu) & ~(uint32_t)FL_ARITH);
    cpu->eip += (uint32_t)(op + 3 - code);
    return true;
}
