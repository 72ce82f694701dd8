/* Handlers: IN, OUT, INS, OUTS.
 *
 * SDM vol. 1, chapter 18, and vol. 2. Right to the port first, then the memory operand's, then the
 * device: a read that cannot be stored must not have reached it. A device may have changed the
 * memory map or raised SMI, so the run loop looks after every write.
 */
#include "cpu-accel/x86/ex.h"
#include "cpu-accel/x86/idle.h"
#include "cpu-accel/x86/system.h"

enum { PIC_MASTER = 0x20, PIC_SLAVE = 0xa0 };

enum { PAUSE_AFTER = 256 }; /* iterations of a repeated instruction before timers get a look */

/* SMI has come of this access: the instruction may be asked for again. */
static void note_restart(Cpu *cpu, bool smi_before)
{
    if (cpu->smi_pending && !smi_before && !cpu->smm) {
        cpu->io_restart =
            (IoRestart){true, cpu->eip, cpu->reg[ECX], cpu->reg[ESI], cpu->reg[EDI]};
    }
}

static uint32_t port_read(Cpu *cpu, uint16_t port, unsigned bytes)
{
    bool smi_before = cpu->smi_pending;
    uint32_t value = (uint32_t)(cpu->tap ? cpu->tap->read(cpu->tap->self, true, port, bytes)
                                         : bus_read(cpu->board->ports, port, bytes));
    note_restart(cpu, smi_before);
    debug_watch_io(cpu, port, bytes);
    return value;
}

static void port_write(Cpu *cpu, uint16_t port, uint32_t value, unsigned bytes)
{
    bool smi_before = cpu->smi_pending;
    if (cpu->tap) {
        cpu->tap->write(cpu->tap->self, true, port, value, bytes);
    } else {
        bus_write(cpu->board->ports, port, value, bytes);
    }
    note_restart(cpu, smi_before);
    debug_watch_io(cpu, port, bytes);
}

static Outcome finish(Cpu *cpu, const Insn *in)
{
    cpu->eip += in->length;
    return X_STOP;
}

static Outcome input(Cpu *cpu, const Insn *in, uint16_t port, unsigned bytes)
{
    if (io_check(cpu, port, bytes) == X_FAULT) {
        return X_FAULT;
    }
    uint32_t value = port_read(cpu, port, bytes);
    switch (bytes) {
    case 1:
        REG8(EAX) = (uint8_t)value;
        break;
    case 2:
        REG16(EAX) = (uint16_t)value;
        break;
    default:
        REG32(EAX) = value;
        break;
    }
    return int_waiting(cpu) ? finish(cpu, in) : X_NEXT;
}

static Outcome output(Cpu *cpu, const Insn *in, uint16_t port, unsigned bytes)
{
    if (io_check(cpu, port, bytes) == X_FAULT) {
        return X_FAULT;
    }
    if (port != PIC_MASTER &&
        port != PIC_SLAVE) { /* ends of interrupts go on while a guest waits */
        idle_busy(cpu);
    }
    port_write(cpu, port, REG32(EAX), bytes);
    return finish(cpu, in);
}

HANDLER(ex_in_al_ib)
{
    return input(cpu, in, (uint8_t)in->imm, 1);
}

HANDLER(ex_in_eax_ib)
{
    return input(cpu, in, (uint8_t)in->imm, in->opsize);
}

HANDLER(ex_in_al_dx)
{
    return input(cpu, in, REG16(EDX), 1);
}

HANDLER(ex_in_eax_dx)
{
    return input(cpu, in, REG16(EDX), in->opsize);
}

HANDLER(ex_out_ib_al)
{
    return output(cpu, in, (uint8_t)in->imm, 1);
}

HANDLER(ex_out_ib_eax)
{
    return output(cpu, in, (uint8_t)in->imm, in->opsize);
}

HANDLER(ex_out_dx_al)
{
    return output(cpu, in, REG16(EDX), 1);
}

HANDLER(ex_out_dx_eax)
{
    return output(cpu, in, REG16(EDX), in->opsize);
}

/* Moves an index register by one element. */
static void advance(Cpu *cpu, const Insn *in, unsigned reg, unsigned bytes)
{
    uint32_t mask = in->address_mask;
    uint32_t by = cpu->eflags & FL_DF ? 0 - bytes : bytes;
    cpu->reg[reg] = (cpu->reg[reg] & ~mask) | ((cpu->reg[reg] + by) & mask);
}

/* One element of INS. */
static bool ins_one(Cpu *cpu, const Insn *in, unsigned bytes)
{
    uint16_t port = REG16(EDX);
    uint32_t offset = cpu->reg[EDI] & in->address_mask;
    if (io_check(cpu, port, bytes) == X_FAULT || !mem_check_write(cpu, ES, offset, bytes)) {
        return false;
    }
    uint32_t value = port_read(cpu, port, bytes);
    bool ok = bytes == 1   ? mem_write8(cpu, ES, offset, (uint8_t)value)
              : bytes == 2 ? mem_write16(cpu, ES, offset, (uint16_t)value)
                           : mem_write32(cpu, ES, offset, value);
    if (ok) {
        advance(cpu, in, EDI, bytes);
    }
    return ok;
}

/* One element of OUTS. */
static bool outs_one(Cpu *cpu, const Insn *in, unsigned bytes)
{
    uint16_t port = REG16(EDX);
    uint32_t offset = cpu->reg[ESI] & in->address_mask;
    SegIndex seg = (SegIndex)in->seg;
    uint8_t value8 = 0;
    uint16_t value16 = 0;
    uint32_t value = 0;
    if (io_check(cpu, port, bytes) == X_FAULT) {
        return false;
    }
    bool ok = bytes == 1   ? mem_read8(cpu, seg, offset, &value8)
              : bytes == 2 ? mem_read16(cpu, seg, offset, &value16)
                           : mem_read32(cpu, seg, offset, &value);
    if (!ok) {
        return false;
    }
    port_write(cpu, port, value | value16 | value8, bytes);
    advance(cpu, in, ESI, bytes);
    return true;
}

static Outcome string_io(Cpu *cpu, const Insn *in, unsigned bytes,
                         bool (*one)(Cpu *cpu, const Insn *in, unsigned bytes))
{
    if (!(in->prefix & (PREFIX_REP | PREFIX_REPNE))) {
        return one(cpu, in, bytes) ? finish(cpu, in) : X_FAULT;
    }
    uint32_t mask = in->address_mask;
    unsigned most = cpu->tap && cpu->tap->iterations ? cpu->tap->iterations : PAUSE_AFTER;
    for (unsigned i = 0; cpu->reg[ECX] & mask; i++) {
        /* between iterations: debug traps and interrupts, then again from here */
        if (i == most || (i > 0 && (int_waiting(cpu) || cpu->eflags & FL_TF))) {
            return X_REPEAT;
        }
        if (!one(cpu, in, bytes)) {
            return X_FAULT;
        }
        cpu->reg[ECX] = (cpu->reg[ECX] & ~mask) | ((cpu->reg[ECX] - 1) & mask);
    }
    return finish(cpu, in);
}

HANDLER(ex_insb)
{
    return string_io(cpu, in, 1, ins_one);
}

HANDLER(ex_insv)
{
    return string_io(cpu, in, in->opsize, ins_one);
}

HANDLER(ex_outsb)
{
    return string_io(cpu, in, 1, outs_one);
}

HANDLER(ex_outsv)
{
    return string_io(cpu, in, in->opsize, outs_one);
}
