/* Drives through the control socket: query-block, blockdev-change-medium, eject. */
#include <string.h>

#include "ui/qmp_internal.h"

static json_t *inserted(const BlockInfo *b)
{
    json_t *image = json_pack("{s:o, s:s, s:I}", "filename", qmp_text(b->file), "format", b->format,
                              "virtual-size", (json_int_t)b->size);
    return json_pack("{s:o, s:s, s:b, s:b, s:o}", "file", qmp_text(b->file), "drv", b->format, "ro",
                     b->read_only, "encrypted", false, "image", image);
}

json_t *qmp_query_block(Qmp *q, json_t *arguments, QmpError *e)
{
    BlockInfo blocks[QMP_MAX_BLOCKS];
    unsigned count = machine_block_query(q->machine, blocks, QMP_MAX_BLOCKS);
    json_t *list = json_array();
    (void)arguments, (void)e;
    for (unsigned i = 0; i < count && i < QMP_MAX_BLOCKS; i++) {
        const BlockInfo *b = &blocks[i];
        json_t *item = json_pack("{s:o, s:o, s:b, s:b, s:s}", "device", qmp_text(b->id), "qdev",
                                 qmp_text(b->id), "removable", b->removable, "locked", b->locked,
                                 "type", "unknown");
        if (item && b->removable) {
            json_object_set_new(item, "tray_open", json_boolean(b->tray_open));
        }
        if (item && b->file[0]) {
            json_object_set_new(item, "inserted", inserted(b));
        }
        json_array_append_new(list, item);
    }
    return list;
}

/* The drive of this name. */
static bool find_block(Qmp *q, const char *id, BlockInfo *block, QmpError *e)
{
    BlockInfo blocks[QMP_MAX_BLOCKS];
    unsigned count = machine_block_query(q->machine, blocks, QMP_MAX_BLOCKS);
    for (unsigned i = 0; i < count && i < QMP_MAX_BLOCKS; i++) {
        if (strcmp(blocks[i].id, id) == 0) {
            *block = blocks[i];
            return true;
        }
    }
    qmp_fail(e, "DeviceNotFound", "Device '%.60s' not found", id);
    return false;
}

static const char *drive_named(const json_t *arguments, QmpError *e)
{
    const char *device = json_string_value(json_object_get(arguments, "device"));
    const char *id = json_string_value(json_object_get(arguments, "id"));
    if (!device == !id) {
        qmp_fail(e, "GenericError", "Need exactly one of 'device' and 'id'");
        return NULL;
    }
    return device ? device : id;
}

/* The same, where its medium can be changed. */
static bool find_removable(Qmp *q, const char *id, BlockInfo *block, QmpError *e)
{
    if (!find_block(q, id, block, e)) {
        return false;
    }
    if (!block->removable) {
        qmp_fail(e, "GenericError", "Device '%.60s' is not removable", id);
    }
    return block->removable;
}

bool qmp_change(Qmp *q, const char *id, const char *file, const char *format, bool read_only,
                QmpError *e)
{
    Err err = {{0}};
    BlockInfo block;
    if (!find_removable(q, id, &block, e)) {
        return false;
    }
    if (!machine_change_medium(q->machine, id, file, format, read_only, &err)) {
        qmp_fail(e, "GenericError", "%s", err.text);
        return false;
    }
    return true;
}

json_t *qmp_change_medium(Qmp *q, json_t *arguments, QmpError *e)
{
    const char *id = drive_named(arguments, e);
    const char *file = json_string_value(json_object_get(arguments, "filename"));
    const char *format = json_string_value(json_object_get(arguments, "format"));
    const char *mode = json_string_value(json_object_get(arguments, "read-only-mode"));
    BlockInfo block;
    if (!id || !find_block(q, id, &block, e)) {
        return NULL;
    }
    bool read_only = block.read_only && block.file[0];
    if (mode && strcmp(mode, "retain") != 0) {
        read_only = strcmp(mode, "read-only") == 0;
        if (!read_only && strcmp(mode, "read-write") != 0) {
            return qmp_fail(e, "GenericError",
                            "Parameter 'read-only-mode' does not accept value '%.40s'", mode);
        }
    }
    if (format && strcmp(format, "auto") == 0) {
        format = NULL;
    }
    return qmp_change(q, id, file, format, read_only, e) ? json_object() : NULL;
}

bool qmp_eject_id(Qmp *q, const char *id, bool force, QmpError *e)
{
    Err err = {{0}};
    BlockInfo block;
    if (!find_removable(q, id, &block, e)) {
        return false;
    }
    if (block.locked && !force) {
        qmp_fail(e, "GenericError", "Device '%.60s' is locked and force was not specified", id);
    } else if (!machine_eject(q->machine, id, force, &err)) {
        qmp_fail(e, "GenericError", "%s", err.text);
    }
    return e->kind == NULL;
}

json_t *qmp_eject(Qmp *q, json_t *arguments, QmpError *e)
{
    const char *id = drive_named(arguments, e);
    bool force = json_is_true(json_object_get(arguments, "force"));
    return id && qmp_eject_id(q, id, force, e) ? json_object() : NULL;
}
