/* Finding a file of a FAT volume by its path.
 *
 * May call fat_table.c, fat_volume.c for faults, and the volume's source. Invariants: every
 * directory is read at most 65536 entries far; nothing is believed of a long name before its order
 * and checksum are right. (FAT specification, "FAT Directory Structure", "Long File Names")
 *
 * A long name is stored before its short entry, last part first, 13 units in each entry. It is
 * compared part by part while it is read, so no name is ever put together.
 */
#include "fat_path.h"

#include "core/base/utf8.h"
#include "fat_bytes.h"
#include "q2_fail.h"
#include "fat_table.h"

#define ENTRY_SIZE          32u
#define MAX_DIRECTORY_SIZE  (65536u * ENTRY_SIZE)
#define MAX_COMPONENT_UNITS 255u
#define LONG_UNITS          13u /* of a name in one entry */
#define LONG_LAST           0x40u
#define LONG_MAX_ORDER      20u
#define LONG_ATTRIBUTES     0x0fu
#define LONG_ATTRIBUTE_MASK 0x3fu
#define FREE_ENTRY          0xe5u
#define KANJI_E5            0x05u /* in the first byte: the name starts with 0xe5 */
#define SHORT_BASE          8u
#define SHORT_LENGTH        11u

struct short_entry {
    uint8_t name[SHORT_LENGTH];
    uint8_t attributes;
    uint8_t unused[8];
    le16 first_cluster_high;
    uint8_t write_time[4];
    le16 first_cluster_low;
    le32 size;
};
_Static_assert(sizeof(struct short_entry) == ENTRY_SIZE, "FAT specification, DIR");
_Static_assert(offsetof(struct short_entry, first_cluster_high) == 20, "DIR_FstClusHI");
_Static_assert(offsetof(struct short_entry, first_cluster_low) == 26, "DIR_FstClusLO");

struct long_entry {
    uint8_t order;
    le16 name1[5];
    uint8_t attributes;
    uint8_t type;
    uint8_t checksum;
    le16 name2[6];
    le16 first_cluster_low;
    le16 name3[2];
};
_Static_assert(sizeof(struct long_entry) == ENTRY_SIZE, "FAT specification, LDIR");
_Static_assert(offsetof(struct long_entry, name3) == 28, "LDIR_Name3");

/* A component of the path, as the directory stores names, in upper case. */
struct component {
    uint16_t units[MAX_COMPONENT_UNITS];
    size_t length;
};

/* Letters whose capital is a fixed distance below them. */
static const struct {
    uint16_t first, last, distance;
} case_rows[] = {
    {'a', 'z', 0x20},       {0x00e0, 0x00f6, 0x20}, {0x00f8, 0x00fe, 0x20}, {0x03b1, 0x03c1, 0x20},
    {0x03c3, 0x03c9, 0x20}, {0x0430, 0x044f, 0x20}, {0x0450, 0x045f, 0x50},
};

static uint16_t fold(uint32_t unit)
{
    for (size_t i = 0; i < sizeof(case_rows) / sizeof(case_rows[0]); i++) {
        if (unit >= case_rows[i].first && unit <= case_rows[i].last)
            return (uint16_t)(unit - case_rows[i].distance);
    }
    return (uint16_t)unit;
}

/* Take one character off *text. False if it is no UTF-8. */
static bool utf8_next(const char **text, uint32_t *ret_character)
{
    size_t length = q2_utf8_decode_text(*text, ret_character);

    *text += length;
    return length > 0;
}

static bool is_dots(const struct component *component)
{
    return component->length >= 1 && component->length <= 2 && component->units[0] == '.' &&
           component->units[component->length - 1] == '.';
}

/* Drop blanks before a name, blanks and dots after it, as the firmware's driver does before it
 * looks a name up. "." and ".." stay. False if nothing is left. */
static bool component_trim(struct component *component)
{
    size_t skip = 0;

    if (is_dots(component))
        return true;
    while (component->length > 0 && (component->units[component->length - 1] == '.' ||
                                     component->units[component->length - 1] == ' '))
        component->length--;
    while (skip < component->length && component->units[skip] == ' ')
        skip++;
    component->length -= skip;
    __builtin_memmove(component->units, component->units + skip,
                      component->length * sizeof(component->units[0]));
    return component->length > 0;
}

/* Take one component off *path, which starts with it. False if it is no name. */
static bool component_next(const char **path, struct component *ret_component)
{
    size_t length = 0;

    while (**path != '/' && **path != '\0') {
        uint32_t c;
        if (!utf8_next(path, &c) || length + (c > 0xffff ? 2 : 1) > MAX_COMPONENT_UNITS)
            return false;
        if (c > 0xffff) {
            ret_component->units[length++] = (uint16_t)(0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        ret_component->units[length++] = fold(c);
    }
    ret_component->length = length;
    return component_trim(ret_component);
}

/* A long name on its way through the entries. */
struct long_name {
    bool valid, matches;
    uint8_t order; /* of the entry that was last; 1: the name is complete */
    uint8_t checksum;
};

static uint32_t long_unit(const struct long_entry *entry, size_t index)
{
    if (index < 5)
        return le16_get(entry->name1[index]);
    if (index < 11)
        return le16_get(entry->name2[index - 5]);
    return le16_get(entry->name3[index - 11]);
}

/* Is this part of the name the same part of the component? Behind the name stands one NUL if there
 * is room, then anything, in more parts too. */
static bool long_part_matches(const struct long_entry *entry, size_t order,
                              const struct component *component)
{
    size_t at = (order - 1) * LONG_UNITS;

    if (at > component->length)
        return true;
    for (size_t i = 0; i < LONG_UNITS; i++, at++) {
        uint32_t unit = long_unit(entry, i);
        if (at == component->length)
            return unit == 0;
        if (fold(unit) != component->units[at])
            return false;
    }
    return true;
}

static void long_feed(struct long_name *name, const struct long_entry *entry,
                      const struct component *component)
{
    bool is_last = (entry->order & LONG_LAST) != 0;
    uint8_t order = entry->order & (uint8_t)~LONG_LAST;

    if (is_last) {
        size_t nb_parts = (component->length + LONG_UNITS - 1) / LONG_UNITS;
        name->valid = order <= LONG_MAX_ORDER;
        name->matches = order >= nb_parts; /* at least one part */
        name->checksum = entry->checksum;
    } else if (order + 1 != name->order || order == 0) {
        name->valid = false;
    }
    if (le16_get(entry->first_cluster_low) != 0 || entry->checksum != name->checksum)
        name->valid = false;
    name->order = order;
    if (name->valid && name->matches)
        name->matches = long_part_matches(entry, order, component);
}

static uint8_t short_checksum(const uint8_t *name)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < SHORT_LENGTH; i++)
        sum = (uint8_t)((sum << 7 | sum >> 1) + name[i]);
    return sum;
}

/* The next character of a component against a byte of a short name. */
static bool short_byte_matches(const struct component *component, size_t at, uint8_t byte)
{
    return at < component->length && component->units[at] == fold(byte);
}

static size_t trimmed(const uint8_t *name, size_t length)
{
    while (length > 0 && name[length - 1] == ' ')
        length--;
    return length;
}

static bool short_matches(const uint8_t *name, const struct component *component)
{
    size_t base = trimmed(name, SHORT_BASE);
    size_t extension = trimmed(name + SHORT_BASE, SHORT_LENGTH - SHORT_BASE);
    size_t at = 0;

    if (name[0] == KANJI_E5)
        return false;
    for (size_t i = 0; i < base; i++) {
        if (!short_byte_matches(component, at++, name[i]))
            return false;
    }
    if (extension > 0 && !short_byte_matches(component, at++, '.'))
        return false;
    for (size_t i = 0; i < extension; i++) {
        if (!short_byte_matches(component, at++, name[SHORT_BASE + i]))
            return false;
    }
    return at == component->length;
}

/* A directory that is being read, piece by piece. */
struct directory {
    const struct q2_fat_volume *volume;
    struct q2_fat_table table;
    uint8_t *buffer;
    size_t buffer_size;
    bool is_region;   /* the root of FAT12/16: one range without clusters */
    uint32_t cluster; /* the current one */
    uint32_t done;    /* bytes of the region or of the cluster that are read */
    uint32_t total;   /* bytes read in all */
};

/* cluster  0: the root */
static void directory_start(struct directory *directory, uint32_t cluster)
{
    const struct q2_fat_volume *volume = directory->volume;

    directory->is_region = cluster == 0 && volume->type != Q2_FAT_32;
    directory->cluster = cluster != 0 ? cluster : volume->root_cluster;
    directory->done = 0;
    directory->total = 0;
}

/* Go on to the next cluster if this one is read. False in ret_more: the directory is at its end. */
static enum q2_status directory_advance(struct directory *directory, struct q2_fault *fault,
                                        bool *ret_more)
{
    const struct q2_fat_volume *volume = directory->volume;
    uint32_t next;
    enum q2_status status;

    *ret_more = directory->done < volume->root_size;
    if (directory->is_region)
        return Q2_OK;
    *ret_more = true;
    if (directory->done < volume->cluster_size)
        return Q2_OK;
    status = q2_fat_table_next(&directory->table, directory->cluster, fault, &next);
    if (status != Q2_OK)
        return status;
    *ret_more = next != Q2_FAT_END;
    directory->cluster = next;
    directory->done = 0;
    return Q2_OK;
}

/* Read the next piece: never across the end of the region or of a cluster.
 *
 * ret_length  bytes in the buffer, a multiple of the entry size; 0 at the end
 * ret_offset  of the piece in the volume
 */
static enum q2_status directory_read(struct directory *directory, struct q2_fault *fault,
                                     size_t *ret_length, uint64_t *ret_offset)
{
    const struct q2_fat_volume *volume = directory->volume;
    struct q2_source *source = volume->source;
    uint64_t offset = volume->root_offset;
    size_t length = volume->root_size;
    bool more;
    enum q2_status status = directory_advance(directory, fault, &more);

    if (status != Q2_OK)
        return status;
    *ret_length = 0;
    if (!more)
        return Q2_OK;
    if (!directory->is_region) {
        offset = q2_fat_cluster_offset(volume, directory->cluster);
        length = volume->cluster_size;
    }
    offset += directory->done;
    length -= directory->done;
    if (length > directory->buffer_size)
        length = directory->buffer_size;
    if (directory->total >= MAX_DIRECTORY_SIZE)
        return q2_fat_fail(fault, Q2_ERR_BAD_VOLUME, source,
                           "a directory has more than 65536 entries or does not end", NULL, 0,
                           offset);
    status = source->ops->read_at(source, offset, directory->buffer, length);
    if (status != Q2_OK)
        return q2_fat_fail(fault, status, source, NULL, NULL, 0, offset);
    directory->done += (uint32_t)length;
    directory->total += (uint32_t)length;
    *ret_length = length;
    *ret_offset = offset;
    return Q2_OK;
}

/* The upper half of the first cluster has another meaning on FAT12/16. */
static void fill_file(const struct q2_fat_volume *volume, const struct short_entry *entry,
                      uint64_t offset, struct q2_fat_file *ret_file)
{
    uint32_t cluster = le16_get(entry->first_cluster_low);

    if (volume->type == Q2_FAT_32)
        cluster |= (uint32_t)le16_get(entry->first_cluster_high) << 16;
    *ret_file = (struct q2_fat_file){
        .entry_offset = offset,
        .first_cluster = cluster,
        .size = le32_get(entry->size),
        .attributes = entry->attributes,
    };
    __builtin_memcpy(ret_file->short_name, entry->name, SHORT_LENGTH);
}

enum entry_result {
    ENTRY_OTHER,
    ENTRY_FOUND,
    ENTRY_END,
};

/* Look at one entry; name carries a long name from entry to entry. */
static enum entry_result entry_feed(struct long_name *name, const uint8_t *bytes,
                                    const struct component *component)
{
    struct short_entry entry;
    bool long_matches;

    __builtin_memcpy(&entry, bytes, sizeof(entry));
    if (entry.name[0] == 0)
        return ENTRY_END;
    if (entry.name[0] != FREE_ENTRY &&
        (entry.attributes & LONG_ATTRIBUTE_MASK) == LONG_ATTRIBUTES) {
        struct long_entry part;
        __builtin_memcpy(&part, bytes, sizeof(part));
        long_feed(name, &part, component);
        return ENTRY_OTHER;
    }
    long_matches = name->valid && name->matches && name->order == 1 &&
                   name->checksum == short_checksum(entry.name);
    *name = (struct long_name){0};
    if (entry.name[0] == FREE_ENTRY || (entry.attributes & Q2_FAT_LABEL) != 0)
        return ENTRY_OTHER;
    return long_matches || short_matches(entry.name, component) ? ENTRY_FOUND : ENTRY_OTHER;
}

/* Find a component in the directory that has been started.
 *
 * Q2_ERR_NOT_FOUND  without a fault: the caller knows the path
 */
static enum q2_status directory_find(struct directory *directory, const struct component *component,
                                     struct q2_fault *fault, struct q2_fat_file *ret_file)
{
    struct long_name name = {0};

    for (;;) { /* at most MAX_DIRECTORY_SIZE / ENTRY_SIZE pieces: directory_read() counts */
        uint64_t offset = 0;
        size_t length;
        enum q2_status status = directory_read(directory, fault, &length, &offset);
        if (status != Q2_OK)
            return status;
        if (length == 0)
            return Q2_ERR_NOT_FOUND;
        for (size_t at = 0; at < length; at += ENTRY_SIZE) {
            const uint8_t *bytes = directory->buffer + at;
            enum entry_result result = entry_feed(&name, bytes, component);
            if (result == ENTRY_END)
                return Q2_ERR_NOT_FOUND;
            if (result == ENTRY_FOUND) {
                struct short_entry entry;
                __builtin_memcpy(&entry, bytes, sizeof(entry));
                fill_file(directory->volume, &entry, offset + at, ret_file);
                return Q2_OK;
            }
        }
    }
}

/* Only ".." of a directory below the root names cluster 0, the root. */
static enum q2_status judge_directory(const struct q2_fat_volume *volume,
                                      const struct q2_fat_file *file,
                                      const struct component *component, struct q2_fault *fault)
{
    bool is_parent = component->length == 2 && is_dots(component);

    if (q2_fat_cluster_valid(volume, file->first_cluster) ||
        (is_parent && file->first_cluster == 0))
        return Q2_OK;
    return q2_fat_fail(fault, Q2_ERR_BAD_VOLUME, volume->source,
                       "a directory is in no cluster of the volume", "DIR_FstClus",
                       file->first_cluster, file->entry_offset);
}

static const char *skip_slashes(const char *path)
{
    while (*path == '/')
        path++;
    return path;
}

/* A path of short names under construction; text NULL: none is wanted. */
struct alias {
    char *text;
    size_t size, length;
};

static bool alias_put(struct alias *alias, uint8_t character)
{
    char text[4];
    size_t nb = q2_utf8_encode(character, text);

    if (alias->size - alias->length <= nb)
        return false;
    for (size_t i = 0; i < nb; i++)
        alias->text[alias->length++] = text[i];
    alias->text[alias->length] = '\0';
    return true;
}

/* Add a component. False if there is no room. */
static bool alias_add(struct alias *alias, const uint8_t *name)
{
    size_t base = trimmed(name, SHORT_BASE);
    size_t extension = trimmed(name + SHORT_BASE, SHORT_LENGTH - SHORT_BASE);

    if (!alias->text)
        return true;
    if (!alias_put(alias, '/'))
        return false;
    for (size_t i = 0; i < base; i++) {
        if (!alias_put(alias, name[i]))
            return false;
    }
    if (extension > 0 && !alias_put(alias, '.'))
        return false;
    for (size_t i = 0; i < extension; i++) {
        if (!alias_put(alias, name[SHORT_BASE + i]))
            return false;
    }
    return true;
}

/* Walk the components; ret_file is the last one, the root at the start. */
static enum q2_status walk(struct directory *directory, const char *path, struct alias *alias,
                           struct q2_fault *fault, struct q2_fat_file *ret_file)
{
    struct q2_fat_file file = {.attributes = Q2_FAT_DIRECTORY};
    const char *at = skip_slashes(path);

    while (*at != '\0') {
        struct component component;
        enum q2_status status;
        if (!component_next(&at, &component))
            return q2_fail(fault, Q2_ERR_BAD_NAME, NULL, path);
        at = skip_slashes(at);
        if ((file.attributes & Q2_FAT_DIRECTORY) == 0)
            return q2_fail(fault, Q2_ERR_NOT_FOUND, NULL, path);
        if (component.length == 1 && is_dots(&component))
            continue;
        directory_start(directory, file.first_cluster);
        status = directory_find(directory, &component, fault, &file);
        if (status == Q2_ERR_NOT_FOUND)
            return q2_fail(fault, status, NULL, path);
        if (status == Q2_OK && (file.attributes & Q2_FAT_DIRECTORY) != 0)
            status = judge_directory(directory->volume, &file, &component, fault);
        if (status != Q2_OK)
            return status;
        if (!alias_add(alias, file.short_name))
            return q2_fail(fault, Q2_ERR_LIMIT, "the path is too long", path);
    }
    *ret_file = file;
    return Q2_OK;
}

/* Walk with a buffer for the directories' pieces and one for the FAT's. */
static enum q2_status walk_path(const struct q2_fat_volume *volume, const char *path, void *buffer,
                                size_t size, struct alias *alias, struct q2_fault *fault,
                                struct q2_fat_file *ret_file)
{
    struct directory directory = {.volume = volume};
    size_t half = size / 2 & ~(size_t)4095;

    if (size < Q2_FAT_MIN_BUFFER)
        return q2_fail(fault, Q2_ERR_ARGUMENT, "the working buffer is too small", path);
    directory.buffer = buffer;
    directory.buffer_size = half;
    q2_fat_table_init(&directory.table, volume, volume->fat_offset, (uint8_t *)buffer + half, half);
    return walk(&directory, path, alias, fault, ret_file);
}

enum q2_status q2_fat_alias(const struct q2_fat_volume *volume, const char *path, void *buffer,
                            size_t size, struct q2_fault *fault, char *ret_alias, size_t alias_size)
{
    struct alias alias = {.text = ret_alias, .size = alias_size};
    struct q2_fat_file file;

    ret_alias[0] = '\0';
    return walk_path(volume, path, buffer, size, &alias, fault, &file);
}

enum q2_status q2_fat_find(const struct q2_fat_volume *volume, const char *path, void *buffer,
                           size_t size, struct q2_fault *fault, struct q2_fat_file *ret_file)
{
    struct alias none = {.text = NULL};
    struct q2_fat_file file;
    enum q2_status status = walk_path(volume, path, buffer, size, &none, fault, &file);

    if (status != Q2_OK)
        return status;
    if ((file.attributes & Q2_FAT_DIRECTORY) != 0)
        return q2_fail(fault, Q2_ERR_NOT_A_FILE, "the name is that of a directory", path);
    *ret_file = file;
    return Q2_OK;
}

uint64_t q2_fat_file_id(const struct q2_fat_file *file)
{
    /* Empty files have no cluster; their directory entries are at least 32 bytes apart. */
    return file->first_cluster != 0 ? file->first_cluster : UINT64_MAX - file->entry_offset;
}
