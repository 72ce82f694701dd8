/* Plug-in cards: -device, -nic, -netdev and -object turned into chips on the board.
 *
 * One table names the cards; a card's function takes its settings out of the option and makes the
 * chips. Settings that nobody took are refused, so that a misspelt one does not pass unseen.
 */
#include "machine/pc_cards.h"

#include <string.h>

#include "chipset/debug_exit.h"
#include "ui/value.h"

typedef struct CardKind {
    const char *name;
    bool (*plug)(PcCards *cards, KeyValues *kv, Err *err);
    const char *settings; /* for messages */
} CardKind;

static bool plug_debug_exit(PcCards *cards, KeyValues *kv, Err *err)
{
    uint32_t base = 0x501, size = 2;
    if (!value_number(kv, "iobase", 0, 0xffff, &base, err) ||
        !value_number(kv, "iosize", 1, 4, &size, err)) {
        return false;
    }
    DebugExitConfig config = {.base = (uint16_t)base,
                              .size = (uint8_t)size,
                              .exit = cards->host->debug_exit,
                              .self = cards->host->self};
    return debug_exit_new(cards->b, &config, "debug-exit", err) != NULL;
}

static const CardKind card_kinds[] = {
    {"isa-debug-exit", plug_debug_exit, "iobase, iosize"},
};

static const CardKind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(card_kinds) / sizeof(card_kinds[0]); i++) {
        if (strcmp(card_kinds[i].name, name) == 0) {
            return &card_kinds[i];
        }
    }
    return NULL;
}

static bool unknown_card(const char *name, Err *err)
{
    char names[256] = "";
    for (size_t i = 0; i < sizeof(card_kinds) / sizeof(card_kinds[0]); i++) {
        if (i) {
            strncat(names, ", ", sizeof(names) - strlen(names) - 1);
        }
        strncat(names, card_kinds[i].name, sizeof(names) - strlen(names) - 1);
    }
    return err_set(err, "-device %s: there is no such card; there are %s", name, names);
}

static bool plug_device(PcCards *cards, const char *text, Err *err)
{
    KeyValues kv;
    bool ok = value_split(&kv, "device", text, "driver", err);
    const char *name = ok ? value_find(&kv, "driver") : NULL;
    const CardKind *kind = name ? find_kind(name) : NULL;
    if (ok && !kind) {
        ok = unknown_card(name ? name : text, err);
    }
    if (ok) {
        static const char *const names_only[] = {"id", NULL};
        value_ignore(&kv, names_only);
        ok = kind->plug(cards, &kv, err) && value_all_used(&kv, kind->settings, err);
    }
    value_free(&kv);
    return ok;
}

bool pc_cards_plug(PcCards *cards, Err *err)
{
    for (unsigned i = 0; i < MACHINE_MAX_DEVICES; i++) {
        const char *text = cards->config->device[i];
        if (text && !plug_device(cards, text, err)) {
            return false;
        }
    }
    return true;
}
