/* The file allocation table, read through a window.
 *
 * Below fat_path.c and fat_map.c; calls the volume's source. Invariant: an entry that comes out is
 * a cluster of the volume or the chain's end.
 *
 * A request costs the same for 4 KiB and for 64 KiB, and a chain mostly goes forward. So a window
 * starts at the entry that is wanted; it doubles while the chain walks out of it at its end, and is
 * small again after a jump, so that a fragmented chain does not read a megabyte per fragment.
 */
#include "fat_table.h"

#include "fat_bytes.h"

#define WINDOW_ALIGN 4096u
#define FIRST_WINDOW (64u * 1024)

/* Entries by type: where they lie and what they mean. */
static const struct entry_kind {
    uint32_t half_bytes; /* of an entry */
    uint32_t mask;
    uint32_t bad; /* a bad cluster; greater ones end a chain */
} entry_kinds[] = {
    [Q2_FAT_12] = {3, 0x0fff, 0x0ff7},
    [Q2_FAT_16] = {4, 0xffff, 0xfff7},
    [Q2_FAT_32] = {8, 0x0fffffff, 0x0ffffff7},
};

void q2_fat_table_init(struct q2_fat_table *table, const struct q2_fat_volume *volume, void *buffer,
                       size_t size)
{
    size_t capacity = (volume->has_mirror ? size / 2 : size) & ~(size_t)(WINDOW_ALIGN - 1);

    *table = (struct q2_fat_table){
        .volume = volume,
        .window = buffer,
        .mirror = (uint8_t *)buffer + capacity,
        .capacity = capacity,
        .next_length = FIRST_WINDOW,
    };
}

/* Load the window that starts with the block in which offset lies. An entry of FAT12 may cross into
 * the next block; capacity >= 2 blocks, so it is in the window. */
static enum q2_status load(struct q2_fat_table *table, uint64_t offset)
{
    const struct q2_fat_volume *volume = table->volume;
    struct q2_source *source = volume->source;
    uint64_t start = offset & ~(uint64_t)(WINDOW_ALIGN - 1);
    bool forward = table->length > 0 && start - table->start <= table->length;
    uint64_t length = volume->fat_size - start;
    enum q2_status status;

    table->next_length = forward ? table->next_length * 2 : FIRST_WINDOW;
    if (table->next_length > table->capacity)
        table->next_length = table->capacity;
    if (length > table->next_length)
        length = table->next_length;
    table->length = 0;
    status =
        source->ops->read_at(source, volume->fat_offset + start, table->window, (size_t)length);
    if (status == Q2_OK && volume->has_mirror)
        status = source->ops->read_at(source, volume->mirror_offset + start, table->mirror,
                                      (size_t)length);
    if (status != Q2_OK)
        return status;
    table->start = start;
    table->length = (size_t)length;
    return Q2_OK;
}

static uint32_t entry_at(enum q2_fat_type type, const uint8_t *bytes, uint32_t cluster)
{
    uint32_t value = (uint32_t)(bytes[0] | bytes[1] << 8);

    if (type == Q2_FAT_12)
        value = (cluster & 1) != 0 ? value >> 4 : value & 0x0fff;
    else if (type == Q2_FAT_32)
        value |= (uint32_t)bytes[2] << 16 | (uint32_t)(bytes[3] & 0x0f) << 24;
    return value;
}

/* Say what is wrong with an entry that is neither a cluster nor an end. */
static const char *entry_doubt(uint32_t value, uint32_t bad)
{
    if (value == 0)
        return "a cluster of the chain is marked free";
    if (value == 1)
        return "a cluster of the chain is marked reserved";
    if (value == bad)
        return "a cluster of the chain is marked bad";
    return "the chain leaves the volume";
}

enum q2_status q2_fat_table_next(struct q2_fat_table *table, uint32_t cluster,
                                 struct q2_fault *fault, uint32_t *ret_next)
{
    const struct q2_fat_volume *volume = table->volume;
    const struct entry_kind *kind = &entry_kinds[volume->type];
    uint64_t offset = (uint64_t)cluster * kind->half_bytes / 2;
    uint64_t length = (kind->half_bytes + 1) / 2;
    uint32_t value;

    if (table->length == 0 || offset < table->start ||
        offset + length > table->start + table->length) {
        enum q2_status status = load(table, offset);
        if (status != Q2_OK)
            return q2_fat_fail(fault, status, volume->source, NULL, NULL, 0,
                               volume->fat_offset + offset);
    }
    value = entry_at(volume->type, table->window + (offset - table->start), cluster);
    if (volume->has_mirror &&
        value != entry_at(volume->type, table->mirror + (offset - table->start), cluster))
        return q2_fat_fail(fault, Q2_ERR_BAD_VOLUME, volume->source,
                           "the two FATs differ in the chain", "FAT entry", value,
                           volume->fat_offset + offset);
    if (value > kind->bad)
        value = Q2_FAT_END;
    else if (!q2_fat_cluster_valid(volume, value))
        return q2_fat_fail(fault, Q2_ERR_BAD_VOLUME, volume->source, entry_doubt(value, kind->bad),
                           "FAT entry", value, volume->fat_offset + offset);
    *ret_next = value;
    return Q2_OK;
}
