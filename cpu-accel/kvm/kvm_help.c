/* The interpreter as the KVM engine's helper: for what the kernel cannot do, between two
 * instructions, without leaving the engine.
 *
 * It runs system management mode whole, whether or not the kernel offers SMM; instructions that the
 * kernel fails to emulate; and the instruction at which a processor shut down: where that comes to
 * a shutdown again, the guest wanted it (a reset by triple fault), else this host's KVM is at
 * fault.
 */
#include <stdio.h>
#include <string.h>

#include "cpu-accel/kvm/kvm_internal.h"
#include "cpu-accel/x86/control.h"
#include "cpu-accel/x86/mem.h"
#include "machine/core/log.h"

LOG_TAG("kvm");

enum {
    RESCUE_NS = 200000, /* how long the interpreter runs for an instruction KVM cannot */
    MOST_RESCUES = 200, /* in one window of exits; then another engine does better */
    TRIAL = 4,          /* instructions in which a shutdown must come again */
    SHOWN_BYTES = 8,    /* of an instruction, in messages */
    RESET_EIP = 0xfff0,
};
#define RESET_CS_BASE 0xffff0000u

static void left_smm(void *self, unsigned pin, bool level)
{
    Kvm *k = self;
    (void)pin;
    line_set(&k->own_pins->smiact, level);
    if (!level && k->help_until == CLOCK_NEVER) {
        atomic_store(&k->accel->cpu->attention, true); /* makes the interpreter return */
    }
}

static uint8_t helper_acknowledge(void *self)
{
    Kvm *k = self;
    uint8_t vector = k->own_pins->acknowledge(k->own_pins->self);
    if (k->help_for_interrupt) {
        atomic_store(&k->accel->cpu->attention, true);
    }
    return vector;
}

static void helper_apic_base(void *self, uint64_t value)
{
    Kvm *k = self;
    if (k->own_pins->apic_base_changed) {
        k->own_pins->apic_base_changed(k->own_pins->self, value);
    }
}

bool kvm_help_begin(Kvm *k, int64_t until)
{
    Cpu *cpu = k->accel->cpu;
    Err err = {""};
    kvm_take_state(k);
    k->helper = (Accel){.ops = &accel_interpreter, .cpu = cpu, .board = k->accel->board};
    if (!k->helper.ops->open(&k->helper, &err)) {
        snprintf(k->accel->failure, sizeof(k->accel->failure), "%.200s", err.text);
        return false;
    }
    k->helper.ops->push(&k->helper);
    k->helping = true;
    k->help_for_interrupt = k->trial = false;
    k->help_until = until;
    k->own_pins = cpu->pins;
    k->helper_pins = *cpu->pins;
    k->helper_pins.acknowledge = helper_acknowledge;
    k->helper_pins.apic_base_changed = helper_apic_base;
    k->helper_pins.self = k;
    k->helper_pins.smiact = (Line){left_smm, k, 0};
    cpu->pins = &k->helper_pins;
    return true;
}

void kvm_help_end(Kvm *k)
{
    if (k->helping) {
        k->helper.ops->pull(&k->helper);
        k->helper.ops->close(&k->helper);
        k->helping = false;
        k->accel->cpu->pins = k->own_pins;
        k->flags_stale = true;
    }
}

/* True when the interpreter has done what it was called for. */
static bool help_done(const Kvm *k)
{
    const Cpu *cpu = k->accel->cpu;
    if (cpu->smm || cpu->activity == CPU_SHUTDOWN) {
        return false;
    }
    if (k->help_for_interrupt && !cpu->intr) {
        return true;
    }
    return k->help_until == CLOCK_NEVER || clock_peek(&k->accel->board->clock) >= k->help_until;
}

/* The instruction at which the kernel's processor shut down has been done: did ours not? */
static bool trial_failed(Kvm *k)
{
    const Cpu *cpu = k->accel->cpu;
    if (cpu->activity == CPU_SHUTDOWN) {
        k->trial = false;
        return false;
    }
    return cpu->executed != k->trial_start; /* else something wanted attention first */
}

KvmStep kvm_help_run(Kvm *k, int64_t until)
{
    int64_t limit = k->help_until < until ? k->help_until : until;
    if (!k->trial) {
        k->helper.budget = k->stepping ? k->step_end - k->accel->cpu->executed : 0;
    }
    RunExit exit = k->helper.ops->run(&k->helper, limit);
    if (exit == RUN_FAILED) {
        memcpy(k->accel->failure, k->helper.failure, sizeof(k->accel->failure));
        return KVM_STOP_FAILED;
    }
    if (k->trial && trial_failed(k)) {
        kvm_help_end(k);
        snprintf(k->accel->failure, sizeof(k->accel->failure), "%s", k->shut_down_at);
        return KVM_STOP_FAILED;
    }
    if (help_done(k)) {
        kvm_help_end(k);
    }
    return exit == RUN_HALTED ? KVM_STOP_HALTED : KVM_GO_ON;
}

/* The bytes at CS:EIP, as far as they can be read. */
static unsigned code_bytes(Cpu *cpu, uint8_t *code, unsigned room)
{
    unsigned n = 0;
    while (n < room && mem_linear_read(cpu, cpu->seg[CS].base + cpu->eip + n, code + n, 1, false)) {
        n++;
    }
    return n;
}

/* "what (0f c7 f2 at 0010:01ff2124)" */
static void name_place(Kvm *k, const char *what, char *text, size_t room)
{
    Cpu *cpu = k->accel->cpu;
    uint8_t code[SHOWN_BYTES];
    char bytes[3 * SHOWN_BYTES + 1] = "";
    unsigned n = code_bytes(cpu, code, SHOWN_BYTES);
    for (unsigned i = 0; i < n; i++) {
        snprintf(bytes + 3 * i, 4, "%02x ", code[i]);
    }
    snprintf(text, room, "%s (%sat %04x:%08x)", what, bytes, cpu->seg[CS].selector, cpu->eip);
}

KvmStep kvm_rescue(Kvm *k)
{
    int64_t now = clock_peek(&k->accel->board->clock);
    kvm_take_state(k);
    char why[200];
    name_place(k, "the kernel cannot emulate an instruction", why, sizeof(why));
    if (k->accel->replaceable || ++k->rescues > MOST_RESCUES) {
        snprintf(k->accel->failure, sizeof(k->accel->failure), "%s", why);
        return KVM_STOP_FAILED;
    }
    log_guest("%s: the interpreter helps", why);
    return kvm_help_begin(k, now + RESCUE_NS) ? KVM_GO_ON : KVM_STOP_FAILED;
}

KvmStep kvm_shut_down(Kvm *k)
{
    Cpu *cpu = k->accel->cpu;
    kvm_take_state(k);
    if (cpu_real_mode(cpu) && cpu->eip == RESET_EIP && cpu->seg[CS].base == RESET_CS_BASE) {
        int_shutdown(cpu); /* AMD: the kernel has reset it already, nothing is left to try */
        return KVM_GO_ON;
    }
    name_place(k, "the processor shut down", k->shut_down_at, sizeof(k->shut_down_at));
    if (!kvm_help_begin(k, CLOCK_NEVER)) {
        return KVM_STOP_FAILED;
    }
    k->trial = true;
    k->trial_start = cpu->executed;
    k->helper.budget = TRIAL;
    return KVM_GO_ON;
}
