/* FAT volumes made in memory, entry by entry, so that a test can break exactly one thing.
 *
 * A volume has two FATs, a cluster size of one sector unless told, and nothing in it. All numbers
 * go through fb_put(), so a test patches the same bytes that the driver reads.
 */
#ifndef METALCOW_TESTS_FAT_BUILDER_H
#define METALCOW_TESTS_FAT_BUILDER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fs/fat_volume.h"
#include "drivers/memory/source.h"

struct fat_builder {
    struct q2_source_memory memory;
    uint8_t *bytes;
    uint64_t size;
    uint32_t bits, sector, cluster, nb_clusters, nb_fats;
    uint64_t fat_offset, fat_size, root_offset, data_offset;
};

static inline void fb_put(struct fat_builder *fb, uint64_t offset, unsigned width, uint64_t value)
{
    for (unsigned i = 0; i < width; i++)
        fb->bytes[offset + i] = (uint8_t)(value >> (8 * i));
}

#define FB_ROOT_ENTRIES 256u
#define FB_ROOT_CLUSTER 2u /* of FAT32 */
#define FB_MAX_MEMORY   (160u << 20)

/* The boot sector's fields from the builder's numbers. */
static inline void fb_put_boot(struct fat_builder *fb, uint32_t reserved, uint32_t fat_sectors,
                               uint32_t total)
{
    fb_put(fb, 0, 3, 0x903ceb);
    fb_put(fb, 11, 2, fb->sector);
    fb_put(fb, 13, 1, fb->cluster / fb->sector);
    fb_put(fb, 14, 2, reserved);
    fb_put(fb, 16, 1, fb->nb_fats);
    fb_put(fb, 17, 2, fb->bits == 32 ? 0 : FB_ROOT_ENTRIES);
    fb_put(fb, 19, 2, total < 65536 && fb->bits != 32 ? total : 0);
    fb_put(fb, 21, 1, 0xf8);
    fb_put(fb, 22, 2, fb->bits == 32 ? 0 : fat_sectors);
    fb_put(fb, 32, 4, total < 65536 && fb->bits != 32 ? 0 : total);
    fb_put(fb, 510, 2, 0xaa55);
    if (fb->bits == 32) {
        fb_put(fb, 36, 4, fat_sectors);
        fb_put(fb, 44, 4, FB_ROOT_CLUSTER);
        fb_put(fb, 67, 4, 0x12345678);
    } else {
        fb_put(fb, 39, 4, 0x12345678);
    }
}

/* Make an empty volume. bits is 12, 16 or 32; whether nb_clusters fits it is the test's business.
 */
static inline void fb_make(struct fat_builder *fb, uint32_t bits, uint32_t sector,
                           uint32_t sectors_per_cluster, uint32_t nb_clusters, uint32_t nb_fats)
{
    uint32_t reserved = 4;
    uint32_t fat_sectors = (uint32_t)((((uint64_t)nb_clusters + 2) * bits / 8 + sector) / sector);
    uint32_t root_sectors = bits == 32 ? 0 : (FB_ROOT_ENTRIES * 32 + sector - 1) / sector;
    uint32_t total =
        reserved + nb_fats * fat_sectors + root_sectors + nb_clusters * sectors_per_cluster;

    *fb = (struct fat_builder){
        .size = (uint64_t)total * sector,
        .bits = bits,
        .sector = sector,
        .cluster = sector * sectors_per_cluster,
        .nb_clusters = nb_clusters,
        .nb_fats = nb_fats,
        .fat_offset = (uint64_t)reserved * sector,
        .fat_size = (uint64_t)fat_sectors * sector,
        .root_offset = (uint64_t)(reserved + nb_fats * fat_sectors) * sector,
        .data_offset = (uint64_t)(reserved + nb_fats * fat_sectors + root_sectors) * sector,
    };
    /* Volumes of large clusters are larger than memory; tests touch the first ones only. */
    fb->bytes = calloc(1, fb->size < FB_MAX_MEMORY ? fb->size : FB_MAX_MEMORY);
    if (!fb->bytes) {
        printf("not ok - fat_builder: out of memory\n");
        exit(1);
    }
    fb_put_boot(fb, reserved, fat_sectors, total);
    q2_source_memory_init(&fb->memory, fb->bytes, fb->size, fb->size, true, "vol");
}

static inline void fb_free(struct fat_builder *fb)
{
    free(fb->bytes);
    fb->bytes = NULL;
}

/* The reads and writes of the volume's source since fb_fail_call(), and the one that fails. */
static uint64_t fb_nb_calls, fb_failing_call;
static const struct q2_source_ops *fb_memory_ops;

static inline enum q2_status fb_read_at(struct q2_source *source, uint64_t offset, void *buffer,
                                        size_t length)
{
    return ++fb_nb_calls == fb_failing_call
               ? Q2_ERR_IO
               : fb_memory_ops->read_at(source, offset, buffer, length);
}

static inline enum q2_status fb_write_at(struct q2_source *source, uint64_t offset,
                                         const void *buffer, size_t length)
{
    return ++fb_nb_calls == fb_failing_call
               ? Q2_ERR_IO
               : fb_memory_ops->write_at(source, offset, buffer, length);
}

/* Let the n-th call (from 1) from now on fail; 0: only count. */
static inline void fb_fail_call(struct fat_builder *fb, uint64_t n)
{
    static struct q2_source_ops ops;

    if (fb->memory.source.ops != &ops) {
        fb_memory_ops = fb->memory.source.ops;
        ops = *fb_memory_ops;
        ops.read_at = fb_read_at;
        ops.write_at = fb_write_at;
        fb->memory.source.ops = &ops;
    }
    fb_nb_calls = 0;
    fb_failing_call = n;
}

/* Marks of the type's width. */
static inline uint32_t fb_mark(const struct fat_builder *fb, uint32_t low_nibble)
{
    return (uint32_t)((0x0ffffff0u | low_nibble) & (fb->bits == 32   ? 0x0fffffffu
                                                    : fb->bits == 16 ? 0xffffu
                                                                     : 0xfffu));
}
#define FB_BAD(fb) fb_mark(fb, 7)
#define FB_EOC(fb) fb_mark(fb, 0xf)

/* Set an entry in one copy of the FAT. */
static inline void fb_set_in(struct fat_builder *fb, uint32_t copy, uint32_t cluster,
                             uint32_t value)
{
    uint64_t fat = fb->fat_offset + copy * fb->fat_size;
    uint64_t at = fat + (uint64_t)cluster * fb->bits / 8;

    if (fb->bits == 12) {
        uint32_t old = (uint32_t)(fb->bytes[at] | fb->bytes[at + 1] << 8);
        value = (cluster & 1) != 0 ? (old & 0x000f) | value << 4 : (old & 0xf000) | value;
    }
    fb_put(fb, at, fb->bits == 32 ? 4 : 2, value);
}

static inline void fb_set(struct fat_builder *fb, uint32_t cluster, uint32_t value)
{
    for (uint32_t copy = 0; copy < fb->nb_fats; copy++)
        fb_set_in(fb, copy, cluster, value);
}

/* Link clusters into a chain with an end. */
static inline void fb_chain(struct fat_builder *fb, const uint32_t *clusters, size_t nb)
{
    for (size_t i = 0; i < nb; i++)
        fb_set(fb, clusters[i], i + 1 < nb ? clusters[i + 1] : FB_EOC(fb));
}

static inline uint64_t fb_cluster_offset(const struct fat_builder *fb, uint32_t cluster)
{
    return fb->data_offset + (uint64_t)(cluster - 2) * fb->cluster;
}

/* Where the index-th entry of the root directory is (FAT32: in its first cluster). */
static inline uint64_t fb_root_entry(const struct fat_builder *fb, uint32_t index)
{
    return (fb->bits == 32 ? fb_cluster_offset(fb, FB_ROOT_CLUSTER) : fb->root_offset) +
           index * 32u;
}

/* Write a short entry; name has 11 characters. */
static inline void fb_entry(struct fat_builder *fb, uint64_t offset, const char *name,
                            uint8_t attributes, uint32_t cluster, uint32_t size)
{
    memcpy(fb->bytes + offset, name, 11);
    fb_put(fb, offset + 11, 1, attributes);
    fb_put(fb, offset + 20, 2, cluster >> 16);
    fb_put(fb, offset + 26, 2, cluster & 0xffff);
    fb_put(fb, offset + 28, 4, size);
}

static inline uint8_t fb_checksum(const char *name)
{
    uint8_t sum = 0;

    for (int i = 0; i < 11; i++)
        sum = (uint8_t)(((sum & 1) << 7) + (sum >> 1) + (uint8_t)name[i]);
    return sum;
}

/* Write the long entries for a name in front of a short entry; returns the offset after them. */
static inline uint64_t fb_long(struct fat_builder *fb, uint64_t offset, const uint16_t *units,
                               size_t length, const char *short_name)
{
    static const uint8_t places[13] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
    size_t nb_parts = (length + 12) / 13;

    for (size_t part = nb_parts; part >= 1; part--, offset += 32) {
        memset(fb->bytes + offset, 0, 32);
        fb_put(fb, offset, 1, part | (part == nb_parts ? 0x40u : 0));
        fb_put(fb, offset + 11, 1, 0x0f);
        fb_put(fb, offset + 13, 1, fb_checksum(short_name));
        for (size_t i = 0; i < 13; i++) {
            size_t at = (part - 1) * 13 + i;
            uint16_t unit = at < length ? units[at] : at == length ? 0 : 0xffff;
            fb_put(fb, offset + places[i], 2, unit);
        }
    }
    return offset;
}

/* The same for an ASCII name. */
static inline uint64_t fb_long_ascii(struct fat_builder *fb, uint64_t offset, const char *name,
                                     const char *short_name)
{
    uint16_t units[255];
    size_t length = strlen(name);

    for (size_t i = 0; i < length; i++)
        units[i] = (uint8_t)name[i];
    return fb_long(fb, offset, units, length, short_name);
}

#endif
