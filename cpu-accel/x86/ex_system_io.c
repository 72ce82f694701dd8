/* Handlers: IN, OUT, INS, OUTS.
 *
 * SDM vol. 1, chapter 18, and vol. 2. Right to the port first, then the memory operand's, then the
 * device: a read that cannot be stored must not have reached it. A device may have changed the
 * memory map or raised SMI, so the run loop looks after every write.
 *
 * A repeated instruction makes its first iteration by itself. Behind it, what the device takes as a
 * run (bus.h) goes straight between it and a page of plain memory. Nothing comes of a run but the
 * data: no interrupt, no SMI, no new map; so it stands for that many iterations exactly, with the
 * pauses where they would have been, and whatever could be seen or fault is done the long way: the
 * last element of a block, the first on a page, breakpoints, direction down, engine check's tap.
 */
#include "cpu-accel/x86/ex.h"
#include "cpu-accel/x86/idle.h"
#include "cpu-accel/x86/system.h"

enum { PIC_MASTER = 0x20, PIC_SLAVE = 0xa0 };

enum {
    PAUSE_AFTER = 256, /* iterations of a repeated instruction before timers get a look */
    RUN_TRIES = 3,     /* in vain, one behind the other; then the device is not asked again */
};

/* SMI has come of this access: the instruction may be asked for again. */
static void note_restart(Cpu *cpu, bool smi_before)
{
    if (cpu->smi_pending && !smi_before && !cpu->smm) {
        cpu->io_restart = (IoRestart){true, cpu->eip, cpu->reg[ECX], cpu->reg[ESI], cpu->reg[EDI]};
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

/* The two instructions. */
typedef struct StringIo {
    bool (*one)(Cpu *cpu, const Insn *in, unsigned bytes);
    bool to_memory;
} StringIo;

static const StringIo ins = {ins_one, true}, outs = {outs_one, false};

/* How many elements, at most `most`, lie between offset and the end of the page, of the segment and
 * of the address size. */
static uint32_t run_length(const MemRun *run, uint32_t to_end, unsigned bytes, uint32_t most)
{
    uint32_t room = (run->above - 1 < to_end ? run->above : to_end + 1) / bytes;
    return room < most ? room : most;
}

/* Up to `most` iterations as a run: how many it was. 0: the next one goes by itself. */
static uint32_t string_run(Cpu *cpu, const Insn *in, unsigned bytes, const StringIo *io,
                           uint32_t most)
{
    uint16_t port = REG16(EDX);
    SegIndex seg = io->to_memory ? ES : (SegIndex)in->seg;
    unsigned reg = io->to_memory ? EDI : ESI;
    uint32_t mask = in->address_mask, offset = cpu->reg[reg] & mask;
    MemRun run;
    if (cpu->tap || cpu->eflags & FL_DF || cpu->dr7 & 0xff ||
        !mem_run(cpu, seg, offset, io->to_memory, &run) || !io_check_apart(cpu, port, run.host) ||
        io_check(cpu, port, bytes) == X_FAULT) {
        return 0;
    }
    Bus *ports = cpu->board->ports;
    uint32_t count = run_length(&run, mask - offset, bytes, most);
    uint32_t done = io->to_memory ? bus_read_run(ports, port, bytes, run.host, count)
                                  : bus_write_run(ports, port, bytes, run.host, count);
    cpu->reg[reg] = (cpu->reg[reg] & ~mask) | ((offset + done * bytes) & mask);
    return done;
}

static Outcome string_io(Cpu *cpu, const Insn *in, unsigned bytes, const StringIo *io)
{
    if (!(in->prefix & (PREFIX_REP | PREFIX_REPNE))) {
        return io->one(cpu, in, bytes) ? finish(cpu, in) : X_FAULT;
    }
    uint32_t mask = in->address_mask, left;
    uint32_t most = cpu->tap && cpu->tap->iterations ? cpu->tap->iterations : PAUSE_AFTER;
    unsigned tries = 0;
    for (uint32_t i = 0, done; (left = cpu->reg[ECX] & mask) != 0; i += done) {
        /* between iterations: debug traps and interrupts, then again from here */
        if (i == most || (i > 0 && (int_waiting(cpu) || cpu->eflags & FL_TF))) {
            return X_REPEAT;
        }
        uint32_t rest = most - i < left ? most - i : left;
        done = tries ? string_run(cpu, in, bytes, io, rest) : 0;
        tries = i == 0 || done ? RUN_TRIES : tries - (tries > 0);
        if (done == 0) {
            if (!io->one(cpu, in, bytes)) {
                return X_FAULT;
            }
            done = 1;
        }
        cpu->reg[ECX] = (cpu->reg[ECX] & ~mask) | (left - done);
    }
    return finish(cpu, in);
}

HANDLER(ex_insb)
{
    return string_io(cpu, in, 1, &ins);
}

HANDLER(ex_insv)
{
    return string_io(cpu, in, in->opsize, &ins);
}

HANDLER(ex_outsb)
{
    return string_io(cpu, in, 1, &outs);
}

HANDLER(ex_outsv)
{
    return string_io(cpu, in, in->opsize, &outs);
}
