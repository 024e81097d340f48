/* Fuzzing a FAT volume. Find a file, map it, read it; the map must then be valid, whatever the
 * bytes are. Crashes, hangs and broken invariants are the findings.
 *
 * The smallest FAT32 volume has 33 MiB, nearly all zeros, which is no input for a fuzzer. So the
 * input is the sectors that are not: records of a sector's number (32 bits, little-endian) and its
 * 512 bytes. The volume is 64 MiB long; other sectors read as zeros. tests/fuzz/seed_fat.py makes
 * seeds of images.
 */
#include <stdlib.h>
#include <string.h>

#include "core/fs/fat_judge.h"
#include "drivers/extents/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Enough for every volume that a fuzzer writes; more extents give Q2_ERR_LIMIT. */
#define MAX_EXTENTS 4096u
#define READ_SIZE   4096u
#define SECTOR_SIZE 512u
#define RECORD_SIZE (4u + SECTOR_SIZE)
#define VOLUME_SIZE (64u << 20)
#define MAX_RECORDS 64u

struct sparse_volume {
    struct q2_source source;
    const uint8_t *records;
    size_t nb_records;
};

/* The sector's bytes, or NULL for zeros. */
static const uint8_t *find_sector(const struct sparse_volume *volume, uint64_t sector)
{
    for (size_t i = 0; i < volume->nb_records; i++) {
        const uint8_t *record = volume->records + i * RECORD_SIZE;
        if (((uint32_t)record[0] | (uint32_t)record[1] << 8 | (uint32_t)record[2] << 16 |
             (uint32_t)record[3] << 24) == sector)
            return record + 4;
    }
    return NULL;
}

static enum q2_status sparse_read(struct q2_source *source, uint64_t offset, void *buffer,
                                  size_t length)
{
    uint8_t *to = buffer;

    if (offset > source->size || length > source->size - offset || length == 0)
        abort(); /* the contract: a range inside the volume */
    while (length > 0) {
        size_t skip = offset % SECTOR_SIZE;
        size_t part = length < SECTOR_SIZE - skip ? length : SECTOR_SIZE - skip;
        const uint8_t *from = find_sector((struct sparse_volume *)source, offset / SECTOR_SIZE);
        if (from)
            memcpy(to, from + skip, part);
        else
            memset(to, 0, part);
        to += part;
        offset += part;
        length -= part;
    }
    return Q2_OK;
}

static uint8_t work[Q2_FAT_MIN_BUFFER];
static struct q2_file_extent extents[MAX_EXTENTS];

/* Read a mapped file whole, in pieces: as much as a chain without loops can name. */
static void read_all(struct q2_source *source)
{
    static uint8_t bytes[READ_SIZE];

    for (uint64_t at = 0; at < source->size; at += READ_SIZE) {
        uint64_t left = source->size - at;
        size_t length = left < READ_SIZE ? (size_t)left : READ_SIZE;
        if (source->ops->read_at(source, at, bytes, length) != Q2_OK)
            abort(); /* a valid map is inside the volume */
    }
}

static void map_and_read(const struct q2_fat_volume *volume, const struct q2_fat_file *found)
{
    struct q2_extents_file file = {
        .volume = volume->source, .extents = extents, .size = found->size, .path = "a"};
    struct q2_source_extents source;
    struct q2_fault fault;
    struct q2_fat_chain counted, chain;
    uint32_t odd;
    enum q2_status status;

    if (q2_fat_map(volume, found, work, sizeof(work), NULL, 0, &fault, &counted) != Q2_OK)
        return;
    status = q2_fat_map(volume, found, work, sizeof(work), extents, MAX_EXTENTS, &fault, &chain);
    if (status == Q2_ERR_LIMIT && counted.nb_extents > MAX_EXTENTS)
        return;
    file.nb_extents = chain.nb_extents;
    file.size = chain.size;
    if (status != Q2_OK || chain.nb_extents != counted.nb_extents || chain.size != counted.size ||
        chain.size > found->size || q2_source_extents_init(&source, &file) != Q2_OK)
        abort();
    read_all(&source.source);
    if (q2_fat_judge(volume, found, extents, &chain, work, sizeof(work), &fault, &odd) != Q2_OK ||
        ((odd & Q2_FAT_ODD_SHORT) != 0) != (chain.size < found->size))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {"/img/a.qcow2", "/a", "/long name.qcow2"};
    static const struct q2_source_ops ops = {.read_at = sparse_read};
    struct sparse_volume sparse = {
        .source = {.ops = &ops, .path = "volume", .size = VOLUME_SIZE, .io_align = 1},
        .records = data,
        .nb_records = size / RECORD_SIZE < MAX_RECORDS ? size / RECORD_SIZE : MAX_RECORDS,
    };
    struct q2_fat_volume volume;
    struct q2_fault fault;

    if (q2_fat_volume_open(&sparse.source, &fault, &volume) != Q2_OK)
        return 0;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct q2_fat_file found;
        char alias[64];
        if (q2_fat_find(&volume, paths[i], work, sizeof(work), &fault, &found) != Q2_OK)
            continue;
        map_and_read(&volume, &found);
        if (q2_fat_alias(&volume, paths[i], work, sizeof(work), &fault, alias, sizeof(alias)) !=
                Q2_OK ||
            strlen(alias) >= sizeof(alias))
            abort();
    }
    return 0;
}
