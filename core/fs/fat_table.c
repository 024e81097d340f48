/* The file allocation table, read through a cache of its blocks.
 *
 * Below fat_path.c and fat_map.c; calls the volume's source. Invariants: an entry that comes out is
 * a cluster of the volume or the chain's end; a slot with a tag holds that block whole.
 *
 * A request costs the same for 4 KiB and for 64 KiB, and a chain mostly goes forward. So a miss
 * reads ahead; what it reads doubles while misses follow each other, and is small again after a
 * jump, so that a fragmented chain does not read a megabyte per fragment. With memory for the whole
 * FAT a chain may jump as it likes.
 */
#include "fat_table.h"

#include "fat_bytes.h"

#define FIRST_AHEAD (64u * 1024 / Q2_FAT_BLOCK_SIZE)

/* The copy is read beside the FAT, compared, and forgotten: at most so much of it at once. */
#define MAX_MIRROR (512u * 1024)

/* A tag is the block's number + 1, shifted, and this bit if the copy says something else. */
#define DIFFERS 1u

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

static uint64_t nb_blocks(const struct q2_fat_volume *volume)
{
    return (volume->fat_size + Q2_FAT_BLOCK_SIZE - 1) / Q2_FAT_BLOCK_SIZE;
}

void q2_fat_table_init(struct q2_fat_table *table, const struct q2_fat_volume *volume, void *buffer,
                       size_t size)
{
    size_t skip = -(uintptr_t)buffer % sizeof(uint32_t);
    uint8_t *bytes = (uint8_t *)buffer + skip;
    size_t mirror = volume->has_mirror ? size / 2 : 0;

    mirror = (mirror < MAX_MIRROR ? mirror : MAX_MIRROR) & ~(size_t)(Q2_FAT_BLOCK_SIZE - 1);
    size = (size - skip - mirror) / (Q2_FAT_BLOCK_SIZE + sizeof(uint32_t));
    if (size > nb_blocks(volume))
        size = (size_t)nb_blocks(volume);
    *table = (struct q2_fat_table){
        .volume = volume,
        .blocks = bytes + mirror,
        .tags = (uint32_t *)(void *)(bytes + mirror + size * Q2_FAT_BLOCK_SIZE),
        .mirror = bytes,
        .nb_slots = (uint32_t)size,
        .nb_mirror = (uint32_t)(mirror / Q2_FAT_BLOCK_SIZE),
        .nb_ahead = FIRST_AHEAD,
    };
    for (uint32_t slot = 0; slot < table->nb_slots; slot++)
        table->tags[slot] = 0;
}

uint64_t q2_fat_table_whole_size(const struct q2_fat_volume *volume)
{
    return MAX_MIRROR + nb_blocks(volume) * (Q2_FAT_BLOCK_SIZE + sizeof(uint32_t));
}

static uint32_t tag_of(uint32_t block)
{
    return (block + 1) << 1;
}

static bool holds(const struct q2_fat_table *table, uint32_t block)
{
    return (table->tags[block % table->nb_slots] | DIFFERS) == (tag_of(block) | DIFFERS);
}

/* How many blocks to read from a missing one on: to the end of the slots at most, and none twice.
 */
static uint32_t nb_to_read(const struct q2_fat_table *table, uint32_t block)
{
    uint32_t most = table->nb_slots - block % table->nb_slots, n = 1;
    uint64_t left = nb_blocks(table->volume) - block;

    most = most < table->nb_ahead ? most : table->nb_ahead;
    if (table->nb_mirror > 0 && most > table->nb_mirror)
        most = table->nb_mirror;
    most = most < left ? most : (uint32_t)left;
    while (n < most && !holds(table, block + n))
        n++;
    return n;
}

/* Read the copy of some blocks, unless it is there. */
static enum q2_status read_mirror(struct q2_fat_table *table, uint32_t block, uint32_t nb)
{
    const struct q2_fat_volume *volume = table->volume;
    struct q2_source *source = volume->source;
    uint64_t start = (uint64_t)block * Q2_FAT_BLOCK_SIZE, length = nb * Q2_FAT_BLOCK_SIZE;
    enum q2_status status;

    if (block - table->mirror_first < table->mirror_length &&
        nb <= table->mirror_length - (block - table->mirror_first))
        return Q2_OK;
    if (length > volume->fat_size - start)
        length = volume->fat_size - start;
    table->mirror_length = 0;
    status =
        source->ops->read_at(source, volume->mirror_offset + start, table->mirror, (size_t)length);
    if (status != Q2_OK)
        return status;
    table->mirror_first = block;
    table->mirror_length = nb;
    return Q2_OK;
}

/* A block of the copy that is there. */
static const uint8_t *mirror_at(const struct q2_fat_table *table, uint32_t block)
{
    return table->mirror + (size_t)(block - table->mirror_first) * Q2_FAT_BLOCK_SIZE;
}

/* Read blocks into their slots, which lie in a row. */
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
    status = source->ops->read_at(source, volume->fat_offset + start, to, (size_t)length);
    if (status == Q2_OK && volume->has_mirror)
        status = read_mirror(table, block, nb);
    for (uint32_t i = 0; i < nb && status == Q2_OK; i++) {
        size_t at = (size_t)i * Q2_FAT_BLOCK_SIZE;
        size_t n = length - at < Q2_FAT_BLOCK_SIZE ? (size_t)length - at : Q2_FAT_BLOCK_SIZE;
        bool differs =
            volume->has_mirror && __builtin_memcmp(to + at, mirror_at(table, block + i), n) != 0;
        table->tags[slot + i] = tag_of(block + i) | (differs ? DIFFERS : 0);
    }
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

/* The bytes of an entry, one by one: an entry of FAT12 may lie in two blocks. In ret_mirror what
 * the copy says, the same if there is none. */
static enum q2_status bytes_get(struct q2_fat_table *table, uint64_t offset, uint32_t nb,
                                uint8_t *ret_bytes, uint8_t *ret_mirror)
{
    for (uint32_t i = 0; i < nb; i++) {
        uint32_t block = (uint32_t)((offset + i) / Q2_FAT_BLOCK_SIZE);
        const uint8_t *byte;
        enum q2_status status = block_get(table, offset + i, &byte);
        if (status != Q2_OK)
            return status;
        ret_bytes[i] = *byte;
        ret_mirror[i] = *byte;
        if ((table->tags[block % table->nb_slots] & DIFFERS) == 0)
            continue;
        status = read_mirror(table, block, 1);
        if (status != Q2_OK)
            return status;
        ret_mirror[i] = mirror_at(table, block)[(offset + i) % Q2_FAT_BLOCK_SIZE];
    }
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

/* An entry, in ret_mirror as the copy has it. */
static enum q2_status entry_get(struct q2_fat_table *table, uint32_t cluster, uint64_t offset,
                                uint32_t *ret_value, uint32_t *ret_mirror)
{
    enum q2_fat_type type = table->volume->type;
    uint32_t slot = (uint32_t)(offset / Q2_FAT_BLOCK_SIZE) % table->nb_slots;
    uint8_t bytes[4] = {0}, mirror[4] = {0};
    const uint8_t *held;
    enum q2_status status = block_get(table, offset, &held);

    if (status != Q2_OK)
        return status;
    if (type != Q2_FAT_12 && (table->tags[slot] & DIFFERS) == 0) {
        *ret_value = entry_of(type, held, cluster);
        *ret_mirror = *ret_value;
        return Q2_OK;
    }
    status = bytes_get(table, offset, (entry_kinds[type].half_bytes + 1) / 2, bytes, mirror);
    *ret_value = entry_of(type, bytes, cluster);
    *ret_mirror = entry_of(type, mirror, cluster);
    return status;
}

enum q2_status q2_fat_table_next(struct q2_fat_table *table, uint32_t cluster,
                                 struct q2_fault *fault, uint32_t *ret_next)
{
    const struct q2_fat_volume *volume = table->volume;
    const struct entry_kind *kind = &entry_kinds[volume->type];
    uint64_t offset = (uint64_t)cluster * kind->half_bytes / 2;
    uint32_t value = 0, mirror = 0;
    enum q2_status status = entry_get(table, cluster, offset, &value, &mirror);

    if (status != Q2_OK)
        return q2_fat_fail(fault, status, volume->source, NULL, NULL, 0,
                           volume->fat_offset + offset);
    if (value != mirror)
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

/* The same for a cluster whose block is there and equal in both FATs; 0 if it is not. Up to the end
 * of the block. */
static uint32_t nb_ahead_in_row(const struct q2_fat_table *table, uint32_t cluster, uint32_t max)
{
    uint64_t offset = (uint64_t)cluster * 4;
    uint32_t block = (uint32_t)(offset / Q2_FAT_BLOCK_SIZE), slot = block % table->nb_slots;
    uint32_t within = (uint32_t)(offset % Q2_FAT_BLOCK_SIZE);
    uint32_t left = (Q2_FAT_BLOCK_SIZE - within) / 4;
    uint32_t last =
        table->volume->nb_clusters + 1; /* the last valid cluster is nobody's neighbour */

    if (table->volume->type != Q2_FAT_32 || table->tags[slot] != tag_of(block))
        return 0;
    left = left < max ? left : max;
    left = left < last - cluster ? left : last - cluster;
    return nb_in_row(table->blocks + (size_t)slot * Q2_FAT_BLOCK_SIZE + within, cluster, left);
}

enum q2_status q2_fat_table_run(struct q2_fat_table *table, uint32_t cluster, uint32_t max,
                                struct q2_fault *fault, uint32_t *ret_length, uint32_t *ret_next)
{
    uint32_t n = 0, next = 0;

    do {
        enum q2_status status = q2_fat_table_next(table, cluster + n, fault, &next);
        if (status != Q2_OK)
            return status;
        n++;
        if (next == cluster + n && n < max) {
            uint32_t more = nb_ahead_in_row(table, next, max - n);
            n += more;
            next += more;
        }
    } while (next == cluster + n && n < max);
    *ret_length = n;
    *ret_next = next;
    return Q2_OK;
}
