/* 16550A serial port.
 *
 * Data sheet: National Semiconductor PC16550D. A character takes its time on the wire both ways, by
 * the divisor and the frame that are set. OUT2 gates the interrupt, as on the PC's adapter. Wired
 * by pc_build: IRQ4 and IRQ3, and what is plugged in. Not modelled: DMA mode pins, parity errors (a
 * CharPort has none), the transmit interrupt's delay behind a lone character in the FIFO, OUT2's
 * pin in loopback (the register's bit gates the interrupt there too, as programs that test a port
 * by it rely on), and a wire that overruns: the host holds its characters while the receiver is
 * full.
 */
#include "chipset/uart.h"

#include <stdlib.h>
#include <string.h>

#include "machine/core/log.h"

LOG_TAG("uart");

enum { EAGER = 64 }; /* times faster than the line */

enum {
    CRYSTAL_HZ = 1843200,
    FIFO_ROOM = 16,
    WIRE_ROOM = 256, /* characters taken from the host that are on the wire */
    REG_DATA = 0,
    REG_IER,
    REG_IIR, /* write: FCR */
    REG_LCR,
    REG_MCR,
    REG_LSR,
    REG_MSR,
    REG_SCRATCH,
    IER_RECEIVE = 0x01,
    IER_TRANSMIT = 0x02,
    IER_LINE = 0x04,
    IER_MODEM = 0x08,
    IIR_NONE = 0x01,
    IIR_MODEM = 0x00,
    IIR_TRANSMIT = 0x02,
    IIR_RECEIVE = 0x04,
    IIR_LINE = 0x06,
    IIR_TIMEOUT = 0x0c,
    IIR_FIFO = 0xc0,
    FCR_ENABLE = 0x01,
    FCR_CLEAR_RECEIVER = 0x02,
    FCR_CLEAR_TRANSMITTER = 0x04,
    LCR_STOP = 0x04,
    LCR_PARITY = 0x08,
    LCR_EVEN = 0x10,
    LCR_STICK = 0x20,
    LCR_BREAK = 0x40,
    LCR_DLAB = 0x80,
    MCR_DTR = 0x01,
    MCR_RTS = 0x02,
    MCR_OUT1 = 0x04,
    MCR_OUT2 = 0x08,
    MCR_LOOP = 0x10,
    LSR_READY = 0x01,
    LSR_OVERRUN = 0x02,
    LSR_FRAMING = 0x08,
    LSR_BREAK = 0x10,
    LSR_ERRORS = 0x1e,
    LSR_THRE = 0x20,
    LSR_TEMT = 0x40,
    LSR_FIFO_ERROR = 0x80,
    MSR_DELTAS = 0x0f,
    MSR_TERI = 0x04,
    MSR_CTS = 0x10,
    MSR_DSR = 0x20,
    MSR_RI = 0x40,
    MSR_DCD = 0x80,
};

struct Uart {
    Device dev;
    UartConfig config;
    uint8_t remote;  /* MSR_CTS.. as the far end drives them */
    bool host_waits; /* room was 0, or it was not quiet: the back end wants to hear of it */
    struct {
        uint8_t ier, lcr, mcr, msr, scratch;
        uint16_t divisor;
        bool fifo;
        uint8_t trigger;         /* characters: 1, 4, 8, 14 */
        uint8_t errors;          /* LSR bits 1..4 */
        bool transmit_interrupt; /* the holding register became empty */
        bool timeout_interrupt;
        uint8_t receive[FIFO_ROOM], receive_errors[FIFO_ROOM];
        uint8_t received;
        uint8_t transmit[FIFO_ROOM];
        uint8_t waiting; /* characters in the transmit FIFO or holding register */
        bool shifting;   /* the transmit shift register is busy with `shift` */
        uint8_t shift;
        uint8_t wire[WIRE_ROOM];
        uint16_t on_wire;
    } g;
    Timer transmitter, receiver, timeout;
};

static int64_t now_of(const Uart *u)
{
    return clock_now(&u->dev.board->clock);
}

/* --- line settings --- */

static unsigned divisor_of(const Uart *u)
{
    return u->g.divisor ? u->g.divisor : 1; /* 0 stops a real one; nobody means that */
}

static unsigned data_bits(const Uart *u)
{
    return 5u + (u->g.lcr & 3);
}

/* Guest ns of one character with its start, parity and stop bits. */
static int64_t character_ns(const Uart *u)
{
    unsigned halves = 2 * (1 + data_bits(u) + (u->g.lcr & LCR_PARITY ? 1 : 0)) + 2;
    if (u->g.lcr & LCR_STOP) {
        halves += data_bits(u) == 5 ? 1 : 2;
    }
    return (int64_t)halves * divisor_of(u) * 16 * CLOCK_NS_PER_S / (2 * CRYSTAL_HZ);
}

static void tell_parameters(Uart *u)
{
    const CharPort *port = &u->config.port;
    if (port->ops && port->ops->parameters) {
        char parity = 'N';
        if (u->g.lcr & LCR_PARITY) {
            bool even = u->g.lcr & LCR_EVEN;
            parity = u->g.lcr & LCR_STICK ? (even ? 'S' : 'M') : (even ? 'E' : 'O');
        }
        port->ops->parameters(port->backend, CRYSTAL_HZ / 16 / divisor_of(u), data_bits(u), parity,
                              u->g.lcr & LCR_STOP ? 2 : 1);
    }
}

static void tell_lines(Uart *u)
{
    const CharPort *port = &u->config.port;
    bool loop = u->g.mcr & MCR_LOOP; /* the pins are inactive then */
    if (port->ops && port->ops->set_lines) {
        port->ops->set_lines(port->backend, u->g.mcr & MCR_DTR && !loop,
                             u->g.mcr & MCR_RTS && !loop, u->g.lcr & LCR_BREAK && !loop);
    }
}

/* --- interrupts --- */

static uint8_t identify(const Uart *u)
{
    if (u->g.ier & IER_LINE && u->g.errors) {
        return IIR_LINE;
    }
    if (u->g.ier & IER_RECEIVE) {
        if (u->g.received >= (u->g.fifo ? u->g.trigger : 1)) {
            return IIR_RECEIVE;
        }
        if (u->g.timeout_interrupt) {
            return IIR_TIMEOUT;
        }
    }
    if (u->g.ier & IER_TRANSMIT && u->g.transmit_interrupt) {
        return IIR_TRANSMIT;
    }
    if (u->g.ier & IER_MODEM && u->g.msr & MSR_DELTAS) {
        return IIR_MODEM;
    }
    return IIR_NONE;
}

static void drive_irq(Uart *u)
{
    line_set(&u->config.irq, identify(u) != IIR_NONE && u->g.mcr & MCR_OUT2);
}

/* The modem inputs as they are now, with a delta for each that changed. */
static void update_modem(Uart *u)
{
    uint8_t lines = 0;
    if (u->g.mcr & MCR_LOOP) {
        lines |= u->g.mcr & MCR_RTS ? MSR_CTS : 0;
        lines |= u->g.mcr & MCR_DTR ? MSR_DSR : 0;
        lines |= u->g.mcr & MCR_OUT1 ? MSR_RI : 0;
        lines |= u->g.mcr & MCR_OUT2 ? MSR_DCD : 0;
    } else {
        lines = u->remote;
    }
    uint8_t changed = (u->g.msr ^ lines) & (uint8_t)~MSR_DELTAS;
    if (lines & MSR_RI) {
        changed &= (uint8_t)~MSR_RI; /* only the trailing edge of RI counts */
    }
    u->g.msr = (uint8_t)(lines | (u->g.msr & MSR_DELTAS) | changed >> 4);
    drive_irq(u);
}

/* --- receiver --- */

static unsigned receive_room(const Uart *u)
{
    return u->g.fifo ? FIFO_ROOM : 1;
}

static void arm_timeout(Uart *u)
{
    if (u->g.fifo && u->g.received) {
        timer_arm(&u->timeout, now_of(u) + 4 * character_ns(u));
    } else {
        timer_disarm(&u->timeout);
    }
}

static void timeout_fire(void *self, int64_t due)
{
    Uart *u = self;
    (void)due;
    u->g.timeout_interrupt = u->g.received > 0;
    drive_irq(u);
}

static void receive_character(Uart *u, uint8_t byte, uint8_t errors)
{
    if (u->g.received == receive_room(u)) {
        u->g.errors |= LSR_OVERRUN;
        if (!u->g.fifo) { /* the buffer register is overwritten, a FIFO is not */
            u->g.receive[0] = byte;
            u->g.errors |= errors;
        }
    } else {
        if (u->g.received == 0) {
            u->g.errors |= errors; /* shown when the character is at the top */
        }
        u->g.receive[u->g.received] = byte;
        u->g.receive_errors[u->g.received++] = errors;
    }
    arm_timeout(u);
    drive_irq(u);
}

/* Lets the next character of the wire in, if there is one and room for it. */
static void pump_wire(Uart *u)
{
    if (u->g.on_wire && !u->receiver.armed && u->g.received < receive_room(u) &&
        !(u->g.mcr & MCR_LOOP)) {
        timer_arm(&u->receiver, now_of(u) + character_ns(u));
    }
}

static void receiver_fire(void *self, int64_t due)
{
    Uart *u = self;
    (void)due;
    if (!u->g.on_wire || u->g.received >= receive_room(u) || u->g.mcr & MCR_LOOP) {
        return;
    }
    uint8_t mask = (uint8_t)(0xff >> (8 - data_bits(u)));
    uint8_t byte = u->g.wire[0] & mask;
    memmove(u->g.wire, u->g.wire + 1, --u->g.on_wire);
    receive_character(u, byte, 0);
    pump_wire(u);
    const CharPort *port = &u->config.port;
    if (u->host_waits && port->ops->ready) {
        u->host_waits = false;
        port->ops->ready(port->backend);
    }
}

static uint8_t read_data(Uart *u)
{
    uint8_t value = u->g.receive[0];
    if (u->g.received) {
        u->g.received--;
        memmove(u->g.receive, u->g.receive + 1, u->g.received);
        memmove(u->g.receive_errors, u->g.receive_errors + 1, u->g.received);
        if (u->g.received) {
            u->g.errors |= u->g.receive_errors[0];
        } else {
            u->g.receive[0] = value; /* an empty receiver shows its last character */
        }
    }
    u->g.timeout_interrupt = false;
    arm_timeout(u);
    drive_irq(u);
    pump_wire(u);
    return value;
}

static void clear_receiver(Uart *u)
{
    u->g.received = 0;
    u->g.timeout_interrupt = false;
    timer_disarm(&u->timeout);
}

/* --- transmitter --- */

static void start_shifting(Uart *u)
{
    if (u->g.shifting || u->g.waiting == 0) {
        return;
    }
    u->g.shift = u->g.transmit[0];
    memmove(u->g.transmit, u->g.transmit + 1, --u->g.waiting);
    u->g.shifting = true;
    u->g.transmit_interrupt |= u->g.waiting == 0;
    bool eager = u->config.eager && !(u->g.mcr & MCR_LOOP);
    timer_arm(&u->transmitter, now_of(u) + character_ns(u) / (eager ? EAGER : 1));
}

static void transmitter_fire(void *self, int64_t due)
{
    Uart *u = self;
    const CharPort *port = &u->config.port;
    (void)due;
    uint8_t mask = (uint8_t)(0xff >> (8 - data_bits(u)));
    uint8_t byte = u->g.shift & mask;
    u->g.shifting = false;
    if (u->g.mcr & MCR_LOOP) {
        receive_character(u, byte, 0);
    } else if (port->ops && !(u->g.lcr & LCR_BREAK)) {
        clock_be_exact(&u->dev.board->clock);
        port->ops->write(port->backend, &byte, 1);
    }
    start_shifting(u);
    drive_irq(u);
}

static void write_data(Uart *u, uint8_t value)
{
    unsigned room = u->g.fifo ? FIFO_ROOM : 1;
    if (u->g.waiting < room) {
        u->g.transmit[u->g.waiting++] = value;
    } else {
        u->g.transmit[room - 1] = value; /* written without looking at LSR: one is lost */
        log_guest("%s: transmitter overrun", u->dev.id);
    }
    u->g.transmit_interrupt = false;
    start_shifting(u);
    drive_irq(u);
}

static void clear_transmitter(Uart *u)
{
    u->g.waiting = 0;
    u->g.transmit_interrupt = true;
}

/* --- registers --- */

static void write_fcr(Uart *u, uint8_t value)
{
    static const uint8_t triggers[4] = {1, 4, 8, 14};
    if (u->config.model == UART_16450) {
        return;
    }
    bool fifo = value & FCR_ENABLE;
    bool changed = fifo != u->g.fifo;
    u->g.fifo = fifo;
    if (fifo) {
        u->g.trigger = triggers[value >> 6];
    }
    if (changed || (fifo && value & FCR_CLEAR_RECEIVER)) {
        clear_receiver(u);
    }
    if (changed || (fifo && value & FCR_CLEAR_TRANSMITTER)) {
        clear_transmitter(u);
    }
    drive_irq(u);
    pump_wire(u);
}

static void write_lcr(Uart *u, uint8_t value)
{
    uint8_t changed = u->g.lcr ^ value;
    u->g.lcr = value;
    if (changed & (uint8_t) ~(LCR_BREAK | LCR_DLAB)) {
        tell_parameters(u);
    }
    if (changed & LCR_BREAK) {
        if (u->g.mcr & MCR_LOOP && value & LCR_BREAK) {
            receive_character(u, 0, LSR_BREAK | LSR_FRAMING);
        }
        tell_lines(u);
    }
}

static void write_ier(Uart *u, uint8_t value)
{
    uint8_t rising = (uint8_t)(value & ~u->g.ier);
    u->g.ier = value & 0x0f;
    if (rising & IER_TRANSMIT && u->g.waiting == 0) {
        u->g.transmit_interrupt = true; /* enabling it with an empty register asks at once */
    }
    drive_irq(u);
}

static void write_mcr(Uart *u, uint8_t value)
{
    u->g.mcr = value & 0x1f;
    tell_lines(u);
    update_modem(u);
    pump_wire(u);
}

static void write_divisor(Uart *u, unsigned shift, uint8_t value)
{
    u->g.divisor = (uint16_t)((u->g.divisor & (0xff00 >> shift)) | value << shift);
    tell_parameters(u);
}

static uint8_t read_iir(Uart *u)
{
    uint8_t id = identify(u);
    if (id == IIR_TRANSMIT) {
        u->g.transmit_interrupt = false;
        drive_irq(u);
    }
    return (uint8_t)(id | (u->g.fifo ? IIR_FIFO : 0));
}

static uint8_t read_lsr(Uart *u)
{
    uint8_t value = u->g.errors;
    value |= u->g.received ? LSR_READY : 0;
    value |= u->g.waiting == 0 ? LSR_THRE : 0;
    value |= u->g.waiting == 0 && !u->g.shifting ? LSR_TEMT : 0;
    for (unsigned i = 0; u->g.fifo && i < u->g.received; i++) {
        value |= u->g.receive_errors[i] ? LSR_FIFO_ERROR : 0;
    }
    u->g.errors = 0;
    if (u->g.received) {
        u->g.receive_errors[0] = 0; /* the top one's were shown */
    }
    drive_irq(u);
    return value;
}

static uint64_t uart_read(void *self, uint32_t offset, unsigned bytes)
{
    Uart *u = self;
    bool dlab = u->g.lcr & LCR_DLAB;
    (void)bytes;
    switch (offset) {
    case REG_DATA:
        return dlab ? u->g.divisor & 0xff : read_data(u);
    case REG_IER:
        return dlab ? u->g.divisor >> 8 : u->g.ier;
    case REG_IIR:
        return read_iir(u);
    case REG_LCR:
        return u->g.lcr;
    case REG_MCR:
        return u->g.mcr;
    case REG_LSR:
        return read_lsr(u);
    case REG_MSR: {
        uint8_t value = u->g.msr;
        u->g.msr &= (uint8_t)~MSR_DELTAS;
        drive_irq(u);
        return value;
    }
    default:
        return u->g.scratch;
    }
}

static void uart_write(void *self, uint32_t offset, uint64_t value, unsigned bytes)
{
    Uart *u = self;
    uint8_t byte = (uint8_t)value;
    bool dlab = u->g.lcr & LCR_DLAB;
    (void)bytes;
    switch (offset) {
    case REG_DATA:
        if (dlab) {
            write_divisor(u, 0, byte);
        } else {
            write_data(u, byte);
        }
        break;
    case REG_IER:
        if (dlab) {
            write_divisor(u, 8, byte);
        } else {
            write_ier(u, byte);
        }
        break;
    case REG_IIR:
        write_fcr(u, byte);
        break;
    case REG_LCR:
        write_lcr(u, byte);
        break;
    case REG_MCR:
        write_mcr(u, byte);
        break;
    case REG_SCRATCH:
        u->g.scratch = byte;
        break;
    default: /* LSR and MSR: factory test, and read only */
        break;
    }
}

/* --- the host's end --- */

static void sink_receive(void *self, const uint8_t *data, size_t size)
{
    Uart *u = self;
    size_t room = WIRE_ROOM - u->g.on_wire;
    size = size < room ? size : room;
    memcpy(u->g.wire + u->g.on_wire, data, size);
    u->g.on_wire = (uint16_t)(u->g.on_wire + size);
    pump_wire(u);
}

static size_t sink_room(void *self)
{
    Uart *u = self;
    size_t room = WIRE_ROOM - u->g.on_wire;
    u->host_waits |= room == 0;
    return room;
}

static bool sink_quiet(void *self)
{
    Uart *u = self;
    u->host_waits |= u->g.on_wire > 0;
    return u->g.on_wire == 0;
}

static void sink_connected(void *self, bool up)
{
    Uart *u = self;
    u->remote = up ? MSR_CTS | MSR_DSR | MSR_DCD : 0;
    update_modem(u);
}

static void sink_lines(void *self, unsigned lines)
{
    Uart *u = self;
    u->remote = (lines & CHAR_CTS ? MSR_CTS : 0) | (lines & CHAR_DSR ? MSR_DSR : 0) |
                (lines & CHAR_RI ? MSR_RI : 0) | (lines & CHAR_DCD ? MSR_DCD : 0);
    update_modem(u);
}

static void sink_break(void *self)
{
    Uart *u = self;
    if (!(u->g.mcr & MCR_LOOP)) {
        receive_character(u, 0, LSR_BREAK | LSR_FRAMING);
    }
}

/* --- device --- */

static void uart_reset(Device *d, ResetKind kind)
{
    Uart *u = (Uart *)d;
    timer_disarm(&u->transmitter);
    timer_disarm(&u->timeout);
    if (kind == RESET_POWER) {
        timer_disarm(&u->receiver);
        memset(&u->g, 0, sizeof(u->g));
        u->g.divisor = 12; /* undefined; 9600 baud */
    }
    /* data sheet, table 3: divisor, scratch and receiver buffer are not touched */
    u->g.ier = u->g.lcr = u->g.mcr = u->g.errors = 0;
    u->g.fifo = u->g.shifting = false;
    u->g.trigger = 1;
    u->g.received = u->g.waiting = 0;
    u->g.transmit_interrupt = u->g.timeout_interrupt = false;
    update_modem(u);
    u->g.msr &= (uint8_t)~MSR_DELTAS;
    tell_parameters(u);
    tell_lines(u);
    drive_irq(u);
    pump_wire(u);
}

static void uart_state(Device *d, StateIo *io)
{
    Uart *u = (Uart *)d;
    state_u8(io, "ier", &u->g.ier);
    state_u8(io, "lcr", &u->g.lcr);
    state_u8(io, "mcr", &u->g.mcr);
    state_u8(io, "msr", &u->g.msr);
    state_u8(io, "scratch", &u->g.scratch);
    state_u16(io, "divisor", &u->g.divisor);
    state_bool(io, "fifo", &u->g.fifo);
    state_u8(io, "trigger", &u->g.trigger);
    state_u8(io, "errors", &u->g.errors);
    state_bool(io, "transmit_interrupt", &u->g.transmit_interrupt);
    state_bool(io, "timeout_interrupt", &u->g.timeout_interrupt);
    state_bytes(io, "receive", u->g.receive, sizeof(u->g.receive));
    state_bytes(io, "receive_errors", u->g.receive_errors, sizeof(u->g.receive_errors));
    state_u8(io, "received", &u->g.received);
    state_bytes(io, "transmit", u->g.transmit, sizeof(u->g.transmit));
    state_u8(io, "waiting", &u->g.waiting);
    state_bool(io, "shifting", &u->g.shifting);
    state_u8(io, "shift", &u->g.shift);
    state_bytes(io, "wire", u->g.wire, sizeof(u->g.wire));
    state_u16(io, "on_wire", &u->g.on_wire);
    state_timer(io, "transmitter", &u->transmitter);
    state_timer(io, "receiver", &u->receiver);
    state_timer(io, "timeout", &u->timeout);
    state_check(io,
                u->g.received <= receive_room(u) && u->g.waiting <= receive_room(u) &&
                    u->g.on_wire <= WIRE_ROOM,
                "a FIFO is too full");
    state_check(io, !u->g.fifo || u->config.model == UART_16550A, "a 16450 has no FIFO");
    state_check(io, u->g.trigger >= 1 && u->g.trigger <= 14, "trigger level is impossible");
}

static void uart_restored(Device *d)
{
    Uart *u = (Uart *)d;
    tell_parameters(u);
    tell_lines(u);
    update_modem(u);
    drive_irq(u);
}

static const DeviceType uart_type = {
    .name = "uart",
    .version = 1,
    .reset = uart_reset,
    .state = uart_state,
    .restored = uart_restored,
};

static const IoOps uart_ops = {uart_read, uart_write, 1, 1};

Uart *uart_new(Board *b, const UartConfig *config, const char *id)
{
    Uart *u = calloc(1, sizeof(*u));
    u->config = *config;
    u->g.trigger = 1;
    timer_init(&u->transmitter, &b->clock, "uart.transmitter", transmitter_fire, u);
    timer_init(&u->receiver, &b->clock, "uart.receiver", receiver_fire, u);
    timer_init(&u->timeout, &b->clock, "uart.timeout", timeout_fire, u);
    bus_claim(b->ports, config->base, 8, &uart_ops, u, "uart");
    device_add(b, &u->dev, &uart_type, id);
    if (config->port.ops && config->port.ops->attach) {
        config->port.ops->attach(config->port.backend, &(CharSink){.receive = sink_receive,
                                                                   .room = sink_room,
                                                                   .connected = sink_connected,
                                                                   .lines = sink_lines,
                                                                   .brk = sink_break,
                                                                   .quiet = sink_quiet,
                                                                   .self = u});
    }
    return u;
}
