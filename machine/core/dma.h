/* One channel of the ISA DMA controller as a device on the bus sees it: DREQ, DACK with data, TC.
 *
 * The device decides when bytes move (it knows its own speed); the controller decides whether and
 * where to. Like a Line, a DmaLine is a value given out by the board; all zero means no DMA channel
 * is connected.
 */
#ifndef MACHINE_CORE_DMA_H
#define MACHINE_CORE_DMA_H

#include <stdbool.h>
#include <stddef.h>

typedef struct DmaOps {
    /* Moves up to `length` bytes between `data` and guest memory through the channel. `to_memory`
     * is the direction the device works in; a channel programmed for the other one, for verify,
     * masked or disabled behaves as the 8237A does. Returns the bytes moved, 0 while the channel is
     * not ready. *terminal_count (may be NULL) says that the count ran out with the last of them.
     * On 16-bit channels `length` is a whole number of words. */
    size_t (*transfer)(void *controller, unsigned channel, void *data, size_t length,
                       bool to_memory, bool *terminal_count);
    /* The DREQ pin, visible in the controller's status register. */
    void (*request)(void *controller, unsigned channel, bool level);
    /* Calls ready(self) each time the channel becomes able to transfer while DREQ is up. Up to
     * four cards listen to a channel that they can be set to; each looks whether it waits. */
    void (*listen)(void *controller, unsigned channel, void (*ready)(void *self), void *self);
} DmaOps;

typedef struct DmaLine {
    const DmaOps *ops;
    void *controller;
    unsigned channel; /* 0..7 */
} DmaLine;

static inline size_t dma_transfer(const DmaLine *line, void *data, size_t length, bool to_memory,
                                  bool *terminal_count)
{
    if (terminal_count) {
        *terminal_count = false;
    }
    return line->ops ? line->ops->transfer(line->controller, line->channel, data, length, to_memory,
                                           terminal_count)
                     : 0;
}

static inline void dma_request(const DmaLine *line, bool level)
{
    if (line->ops) {
        line->ops->request(line->controller, line->channel, level);
    }
}

static inline void dma_listen(const DmaLine *line, void (*ready)(void *self), void *self)
{
    if (line->ops) {
        line->ops->listen(line->controller, line->channel, ready, self);
    }
}

#endif
