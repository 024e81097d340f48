/* The file allocation table, read through a cache of its blocks.
 *
 * May call the volume's source, and fat_volume.c for faults. Invariants: an entry that
 * q2_fat_table_next() returns is a cluster of the volume or the chain's end; no byte outside the
 * FAT is taken for an entry; a slot with a tag holds that block whole.
 *
 * A request costs the same for 4 KiB and for 64 KiB, and a chain mostly goes forward. So a miss
 * reads ahead; what it reads doubles while misses follow each other, and is small again after a
 * jump, so that a fragmented chain does not read a megabyte per fragment. With memory for the whole
 * FAT a chain may jump as it likes.
 */
#include "fat_table.h"

#include "fat_bytes.h"

#define FIRST_AHEAD (64u * 1024 / Q2_FAT_BLOCK_SIZE)

/* Entries by type: where they are stored and what they mean. */
static const struct entry_kind {
    uint32_t half_bytes; /* of an entry */
    uint32_t mask;
    uint32_t bad; /* a bad cluster; greater ones end a chain */
} entry_kinds[] = {
    [Q2_FAT_12] = {3, 0x0fff, 0x0ff7},
    [Q2_FAT_16] = {4, 0xffff, 0xfff7},
    [Q2_FAT_32] = {8, 0x0fffffff, 0x0ffffff7},
};

static uint64_t nb_blocks(const struct q2_fat_volume *volume)
{
    return (volume->fat_size + Q2_FAT_BLOCK_SIZE - 1) / Q2_FAT_BLOCK_SIZE;
}

void q2_fat_table_init(struct q2_fat_table *table, const struct q2_fat_volume *volume,
                       uint64_t fat_offset, void *buffer, size_t size)
{
    size_t skip = -(uintptr_t)buffer % sizeof(uint32_t);
    uint8_t *bytes = (uint8_t *)buffer + skip;

    size = (size - skip) / (Q2_FAT_BLOCK_SIZE + sizeof(uint32_t));
    if (size > nb_blocks(volume))
        size = (size_t)nb_blocks(volume);
    *table = (struct q2_fat_table){
        .volume = volume,
        .fat_offset = fat_offset,
        .blocks = bytes,
        .tags = (uint32_t *)(void *)(bytes + size * Q2_FAT_BLOCK_SIZE),
        .nb_slots = (uint32_t)size,
        .nb_ahead = FIRST_AHEAD,
    };
    for (uint32_t slot = 0; slot < table->nb_slots; slot++)
        table->tags[slot] = 0;
}

uint64_t q2_fat_table_whole_size(const struct q2_fat_volume *volume)
{
    uint64_t size = sizeof(uint32_t) + nb_blocks(volume) * (Q2_FAT_BLOCK_SIZE + sizeof(uint32_t));

    return size > Q2_FAT_MIN_BUFFER ? size : Q2_FAT_MIN_BUFFER;
}

/* Is the block in its slot? A tag is the block's number + 1. */
static bool holds(const struct q2_fat_table *table, uint32_t block)
{
    return table->tags[block % table->nb_slots] == block + 1;
}

/* How many blocks to read from a missing one on: to the end of the slots at most, and none twice.
 */
static uint32_t nb_to_read(const struct q2_fat_table *table, uint32_t block)
{
    uint32_t most = table->nb_slots - block % table->nb_slots, n = 1;
    uint64_t left = nb_blocks(table->volume) - block;

    most = most < table->nb_ahead ? most : table->nb_ahead;
    most = most < left ? most : (uint32_t)left;
    while (n < most && !holds(table, block + n))
        n++;
    return n;
}

/* Read blocks into their slots, which are in a row. */
static enum q2_status read_blocks(struct q2_fat_table *table, uint32_t block, uint32_t nb)
{
    const struct q2_fat_volume *volume = table->volume;
    struct q2_source *source = volume->source;
    uint32_t slot = block % table->nb_slots;
    uint64_t start = (uint64_t)block * Q2_FAT_BLOCK_SIZE, length = nb * Q2_FAT_BLOCK_SIZE;
    uint8_t *to = table->blocks + (size_t)slot * Q2_FAT_BLOCK_SIZE;
    enum q2_status status;

    if (length > volume->fat_size - start)
        length = volume->fat_size - start;
    for (uint32_t i = 0; i < nb; i++)
        table->tags[slot + i] = 0;
    status = source->ops->read_at(source, table->fat_offset + start, to, (size_t)length);
    for (uint32_t i = 0; i < nb && status == Q2_OK; i++)
        table->tags[slot + i] = block + i + 1;
    return status;
}

/* Get the block of a byte of the FAT; ret_bytes points at the byte. */
static enum q2_status block_get(struct q2_fat_table *table, uint64_t offset,
                                const uint8_t **ret_bytes)
{
    uint32_t block = (uint32_t)(offset / Q2_FAT_BLOCK_SIZE);

    if (!holds(table, block)) {
        bool forward = table->next_block > 0 && block == table->next_block;
        enum q2_status status;
        uint32_t nb;
        table->nb_ahead = forward ? table->nb_ahead * 2 : FIRST_AHEAD;
        if (table->nb_ahead > table->nb_slots)
            table->nb_ahead = table->nb_slots;
        nb = nb_to_read(table, block);
        status = read_blocks(table, block, nb);
        if (status != Q2_OK)
            return status;
        table->next_block = block + nb;
    }
    *ret_bytes = table->blocks + (size_t)(block % table->nb_slots) * Q2_FAT_BLOCK_SIZE +
                 offset % Q2_FAT_BLOCK_SIZE;
    return Q2_OK;
}

static uint32_t entry_of(enum q2_fat_type type, const uint8_t *bytes, uint32_t cluster)
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

uint64_t q2_fat_entry_offset(enum q2_fat_type type, uint32_t cluster)
{
    return (uint64_t)cluster * entry_kinds[type].half_bytes / 2;
}

bool q2_fat_entry_exists(const struct q2_fat_volume *volume, uint32_t cluster)
{
    uint32_t nb_bytes = (entry_kinds[volume->type].half_bytes + 1) / 2;
    uint64_t offset = q2_fat_entry_offset(volume->type, cluster);

    return offset <= volume->fat_size && nb_bytes <= volume->fat_size - offset;
}

enum q2_status q2_fat_table_entry(struct q2_fat_table *table, uint32_t cluster,
                                  struct q2_fault *fault, uint32_t *ret_value)
{
    enum q2_fat_type type = table->volume->type;
    uint64_t offset = q2_fat_entry_offset(type, cluster);
    uint32_t nb_bytes = (entry_kinds[type].half_bytes + 1) / 2;
    uint8_t bytes[4] = {0};

    for (uint32_t i = 0; i < nb_bytes; i++) { /* an entry of FAT12 may be in two blocks */
        const uint8_t *at;
        enum q2_status status = block_get(table, offset + i, &at);
        if (status != Q2_OK)
            return q2_fat_fail(fault, status, table->volume->source, NULL, NULL, 0,
                               table->fat_offset + offset);
        bytes[i] = *at;
    }
    *ret_value = entry_of(type, bytes, cluster);
    return Q2_OK;
}

bool q2_fat_entry_ends(enum q2_fat_type type, uint32_t value)
{
    return value > entry_kinds[type].bad;
}

enum q2_status q2_fat_table_next(struct q2_fat_table *table, uint32_t cluster,
                                 struct q2_fault *fault, uint32_t *ret_next)
{
    const struct q2_fat_volume *volume = table->volume;
    uint64_t place = table->fat_offset + q2_fat_entry_offset(volume->type, cluster);
    uint32_t value = 0;
    enum q2_status status;

    if (!q2_fat_entry_exists(volume, cluster))
        return q2_fat_fail(fault, Q2_ERR_BAD_VOLUME, volume->source,
                           "the FAT is too small to have an entry for this cluster of the chain",
                           "cluster", cluster, place);
    status = q2_fat_table_entry(table, cluster, fault, &value);
    if (status != Q2_OK)
        return status;
    if (q2_fat_entry_ends(volume->type, value))
        value = Q2_FAT_END;
    else if (!q2_fat_cluster_valid(volume, value))
        return q2_fat_fail(fault, Q2_ERR_BAD_VOLUME, volume->source,
                           entry_doubt(value, entry_kinds[volume->type].bad), "FAT entry", value,
                           place);
    *ret_next = value;
    return Q2_OK;
}

/* How many entries of FAT32 from bytes on, at most max, name their neighbour: that of `cluster`
 * names cluster + 1, and so on. Two at a time: a contiguous file of 3 GiB has 786432. */
static uint32_t nb_in_row(const uint8_t *bytes, uint32_t cluster, uint32_t max)
{
    uint64_t want = (uint64_t)(cluster + 2) << 32 | (cluster + 1);
    uint32_t n = 0;

    while (n + 1 < max && le64_get(*(const le64 *)(const void *)(bytes + 4 * (size_t)n)) == want) {
        n += 2;
        want += (uint64_t)2 << 32 | 2;
    }
    return n;
}

/* The same for a cluster whose block is in its slot; 0 if it is not. Up to the end of the block. */
static uint32_t nb_ahead_in_row(const struct q2_fat_table *table, uint32_t cluster, uint32_t max)
{
    uint64_t offset = (uint64_t)cluster * 4;
    uint32_t block = (uint32_t)(offset / Q2_FAT_BLOCK_SIZE), slot = block % table->nb_slots;
    uint32_t within = (uint32_t)(offset % Q2_FAT_BLOCK_SIZE);
    uint32_t left = (Q2_FAT_BLOCK_SIZE - within) / 4;
    uint32_t last =
        table->volume->nb_clusters + 1; /* the last valid cluster is nobody's neighbour */

    if (table->volume->type != Q2_FAT_32 || !holds(table, block) ||
        !q2_fat_entry_exists(table->volume, cluster))
        return 0;
    if (left > (table->volume->fat_size - offset) / 4)
        left = (uint32_t)((table->volume->fat_size - offset) / 4);
    left = left < max ? left : max; /* may be 0 */
    left = left < last - cluster ? left : last - cluster;
    return nb_in_row(table->blocks + (size_t)slot * Q2_FAT_BLOCK_SIZE + within, cluster, left);
}

enum q2_status q2_fat_table_run(struct q2_fat_table *table, uint32_t cluster, uint32_t max,
                                struct q2_fault *fault, uint32_t *ret_length, uint32_t *ret_next)
{
    uint32_t n = 1, next = Q2_FAT_END;

    while (n < max) {
        enum q2_status status = q2_fat_table_next(table, cluster + n - 1, fault, &next);
        if (status == Q2_ERR_BAD_VOLUME)
            next = Q2_FAT_BROKEN;
        else if (status != Q2_OK)
            return status;
        if (next != cluster + n)
            break;
        n++;
        n += nb_ahead_in_row(table, cluster + n - 1, max - n);
    }
    *ret_length = n;
    *ret_next = n < max ? next : Q2_FAT_END;
    return Q2_OK;
}
