/* Handlers: PUSH, POP, PUSHA, POPA, ENTER, LEAVE, BOUND.
 *
 * SDM volume 2. ESP changes last, so that a fault in the middle restarts cleanly. The stack
 * segment's B bit, not the operand size, says whether SP or ESP counts.
 */
#include "cpu-accel/x86/ex.h"

#define PUSHES(BITS, T)                                                                            \
    HANDLER(ex_push_zv_##BITS)                                                                     \
    {                                                                                              \
        return ex_push##BITS(cpu, REG##BITS(in->reg)) ? X_NEXT : X_FAULT;                          \
    }                                                                                              \
    HANDLER(ex_push_iv_##BITS)                                                                     \
    {                                                                                              \
        return ex_push##BITS(cpu, (T)in->imm) ? X_NEXT : X_FAULT;                                  \
    }                                                                                              \
    HANDLER(ex_push_ev_##BITS##r)                                                                  \
    {                                                                                              \
        return ex_push##BITS(cpu, REG##BITS(in->rm)) ? X_NEXT : X_FAULT;                           \
    }                                                                                              \
    HANDLER(ex_push_ev_##BITS##m)                                                                  \
    {                                                                                              \
        T value;                                                                                   \
        return ex_load##BITS(cpu, in, &value) && ex_push##BITS(cpu, value) ? X_NEXT : X_FAULT;     \
    }                                                                                              \
    HANDLER(ex_pop_zv_##BITS)                                                                      \
    {                                                                                              \
        T value;                                                                                   \
        if (!ex_pop##BITS(cpu, &value)) {                                                          \
            return X_FAULT;                                                                        \
        }                                                                                          \
        REG##BITS(in->reg) = value;                                                                \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_pop_ev_##BITS##r)                                                                   \
    {                                                                                              \
        T value;                                                                                   \
        if (!ex_pop##BITS(cpu, &value)) {                                                          \
            return X_FAULT;                                                                        \
        }                                                                                          \
        REG##BITS(in->rm) = value;                                                                 \
        return X_NEXT;                                                                             \
    }                                                                                              \
    /* An address by ESP is computed after ESP has moved. */                                       \
    HANDLER(ex_pop_ev_##BITS##m)                                                                   \
    {                                                                                              \
        uint32_t esp = cpu->reg[ESP];                                                              \
        T value;                                                                                   \
        if (!ex_pop##BITS(cpu, &value)) {                                                          \
            return X_FAULT;                                                                        \
        }                                                                                          \
        if (!ex_save##BITS(cpu, in, value)) {                                                      \
            cpu->reg[ESP] = esp;                                                                   \
            return X_FAULT;                                                                        \
        }                                                                                          \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_pusha_##BITS)                                                                       \
    {                                                                                              \
        (void)in;                                                                                  \
        for (unsigned i = 0; i < 8; i++) {                                                         \
            uint32_t at = (cpu->reg[ESP] - (i + 1) * (BITS / 8)) & ex_stack_mask(cpu);             \
            if (!mem_write##BITS(cpu, SS, at, REG##BITS(i))) {                                     \
                return X_FAULT;                                                                    \
            }                                                                                      \
        }                                                                                          \
        ex_stack_set(cpu, cpu->reg[ESP] - BITS);                                                   \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_popa_##BITS)                                                                        \
    {                                                                                              \
        (void)in;                                                                                  \
        T value[8];                                                                                \
        for (unsigned i = 0; i < 8; i++) {                                                         \
            uint32_t at = (cpu->reg[ESP] + i * (BITS / 8)) & ex_stack_mask(cpu);                   \
            if (!mem_read##BITS(cpu, SS, at, &value[i])) {                                         \
                return X_FAULT;                                                                    \
            }                                                                                      \
        }                                                                                          \
        for (unsigned i = 0; i < 8; i++) {                                                         \
            if (i != 7 - ESP) {                                                                    \
                REG##BITS(7 - i) = value[i];                                                       \
            }                                                                                      \
        }                                                                                          \
        ex_stack_set(cpu, cpu->reg[ESP] + BITS);                                                   \
        return X_NEXT;                                                                             \
    }                                                                                              \
    HANDLER(ex_leave_##BITS)                                                                       \
    {                                                                                              \
        (void)in;                                                                                  \
        T value;                                                                                   \
        if (!mem_read##BITS(cpu, SS, cpu->reg[EBP] & ex_stack_mask(cpu), &value)) {                \
            return X_FAULT;                                                                        \
        }                                                                                          \
        ex_stack_set(cpu, cpu->reg[EBP] + BITS / 8);                                               \
        REG##BITS(EBP) = value;                                                                    \
        return X_NEXT;                                                                             \
    }
PUSHES(16, uint16_t)
PUSHES(32, uint32_t)

/* With a 32-bit operand size a whole doubleword is written, zero-extended. */
HANDLER(ex_push_seg)
{
    uint16_t selector = cpu->seg[in->reg].selector;
    bool done = in->opsize == 4 ? ex_push32(cpu, selector) : ex_push16(cpu, selector);
    return done ? X_NEXT : X_FAULT;
}

/* SDM volume 2, ENTER. Works on copies of ESP and EBP; the last step sees whether the new top of
 * the stack could be written. */
#define ENTER(BITS, T)                                                                             \
    HANDLER(ex_enter_##BITS)                                                                       \
    {                                                                                              \
        const uint32_t mask = ex_stack_mask(cpu);                                                  \
        const unsigned level = in->imm2 & 31;                                                      \
        uint32_t esp = cpu->reg[ESP] - BITS / 8, ebp = cpu->reg[EBP];                              \
        const uint32_t frame = (cpu->reg[ESP] & ~mask) | (esp & mask);                             \
        MemRmw probe;                                                                              \
        T value;                                                                                   \
        if (!mem_write##BITS(cpu, SS, esp & mask, REG##BITS(EBP))) {                               \
            return X_FAULT;                                                                        \
        }                                                                                          \
        for (unsigned i = 1; i < level; i++) {                                                     \
            ebp -= BITS / 8;                                                                       \
            esp -= BITS / 8;                                                                       \
            if (!mem_read##BITS(cpu, SS, ebp & mask, &value) ||                                    \
                !mem_write##BITS(cpu, SS, esp & mask, value)) {                                    \
                return X_FAULT;                                                                    \
            }                                                                                      \
        }                                                                                          \
        if (level > 0) {                                                                           \
            esp -= BITS / 8;                                                                       \
            if (!mem_write##BITS(cpu, SS, esp & mask, (T)frame)) {                                 \
                return X_FAULT;                                                                    \
            }                                                                                      \
        }                                                                                          \
        esp -= in->imm;                                                                            \
        if (!mem_rmw##BITS(cpu, SS, esp & mask, &probe, &value)) {                                 \
            return X_FAULT;                                                                        \
        }                                                                                          \
        REG##BITS(EBP) = (T)frame;                                                                 \
        ex_stack_set(cpu, esp);                                                                    \
        return X_NEXT;                                                                             \
    }
ENTER(16, uint16_t)
ENTER(32, uint32_t)

#define BOUND(BITS, T)                                                                             \
    HANDLER(ex_bound_##BITS)                                                                       \
    {                                                                                              \
        uint32_t at = ex_address(cpu, in);                                                         \
        uint##BITS##_t low, high;                                                                  \
        if (!mem_read##BITS(cpu, (SegIndex)in->seg, at, &low) ||                                   \
            !mem_read##BITS(cpu, (SegIndex)in->seg, (at + BITS / 8) & in->address_mask, &high)) {  \
            return X_FAULT;                                                                        \
        }                                                                                          \
        T index = (T)REG##BITS(in->reg);                                                           \
        if (index < (T)low || index > (T)high) {                                                   \
            return cpu_fault(cpu, VEC_BR);                                                         \
        }                                                                                          \
        return X_NEXT;                                                                             \
    }
BOUND(16, int16_t)
BOUND(32, int32_t)
