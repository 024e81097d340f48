/* Fuzzing a FAT volume: the input is the volume. Find a file, map it, read it; the map must then be
 * valid, whatever the bytes are. Crashes, hangs and broken invariants are the findings.
 */
#include <stdlib.h>

#include "../../drivers/fat_map.h"
#include "../../drivers/source_extents.h"
#include "../../drivers/source_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Enough for every volume that a fuzzer writes; more extents give Q2_ERR_LIMIT. */
#define MAX_EXTENTS 4096u
#define READ_SIZE   4096u

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
            abort(); /* a valid map lies inside the volume */
    }
}

static void map_and_read(const struct q2_fat_volume *volume, const struct q2_fat_file *found)
{
    struct q2_extents_file file = {
        .volume = volume->source, .extents = extents, .size = found->size, .path = "a"};
    struct q2_source_extents source;
    struct q2_fault fault;
    size_t nb_counted;
    enum q2_status status;

    if (q2_fat_map(volume, found, work, sizeof(work), NULL, 0, &fault, &nb_counted) != Q2_OK)
        return;
    status = q2_fat_map(volume, found, work, sizeof(work), extents, MAX_EXTENTS, &fault,
                        &file.nb_extents);
    if (status == Q2_ERR_LIMIT && nb_counted > MAX_EXTENTS)
        return;
    if (status != Q2_OK || file.nb_extents != nb_counted ||
        q2_source_extents_init(&source, &file) != Q2_OK)
        abort();
    read_all(&source.source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {"/img/a.qcow2", "/a", "/long name.qcow2"};
    struct q2_source_memory memory;
    struct q2_fat_volume volume;
    struct q2_fault fault;

    /* Never written: the source is read-only. */
    q2_source_memory_init(&memory, (void *)(uintptr_t)data, size, size, false, "volume");
    if (q2_fat_volume_open(&memory.source, &fault, &volume) != Q2_OK)
        return 0;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct q2_fat_file found;
        if (q2_fat_find(&volume, paths[i], work, sizeof(work), &fault, &found) == Q2_OK)
            map_and_read(&volume, &found);
    }
    return 0;
}
