/* Load options as bytes.
 *
 * May call memcpy and memcmp. Invariant: a length that comes from a variable is compared with what
 * is left before it is used.
 */
#include "load_option.h"

/* Attributes (4 bytes) and FilePathListLength (2). */
#define HEAD_SIZE 6u

#define NODE_HEADER_SIZE 4u
#define TYPE_MEDIA       4u
#define SUBTYPE_HD       1u
#define SUBTYPE_FILE     4u
#define TYPE_END         0x7fu
#define SUBTYPE_END_ALL  0xffu

static size_t get16(const uint8_t *bytes)
{
    return (size_t)(bytes[0] | bytes[1] << 8);
}

/* The length of the node at bytes; 0: it does not fit into left bytes. */
static size_t node_size(const uint8_t *bytes, size_t left)
{
    size_t size = left < NODE_HEADER_SIZE ? 0 : get16(bytes + 2);

    return size < NODE_HEADER_SIZE || size > left ? 0 : size;
}

size_t mc_option_path_size(const uint8_t *path, size_t size)
{
    size_t at = 0, step;

    while ((step = node_size(path + at, size - at)) != 0) {
        bool is_end = path[at] == TYPE_END && path[at + 1] == SUBTYPE_END_ALL;
        at += step;
        if (is_end)
            return at;
    }
    return 0;
}

size_t mc_option_path_prefix(const uint8_t *path, size_t size)
{
    size_t prefix = 0, step;

    for (size_t at = 0; (step = node_size(path + at, size - at)) != 0; at += step) {
        if (path[at] == TYPE_MEDIA && path[at + 1] == SUBTYPE_HD)
            prefix = at;
        if (path[at] == TYPE_END)
            break;
    }
    return prefix;
}

bool mc_load_option_decode(const uint8_t *bytes, size_t size, struct mc_load_option *ret_option)
{
    struct mc_load_option option = {.description = bytes + HEAD_SIZE};
    size_t at = HEAD_SIZE;

    if (size < HEAD_SIZE)
        return false;
    option.attributes = (uint32_t)get16(bytes) | (uint32_t)get16(bytes + 2) << 16;
    option.path_size = get16(bytes + 4);
    for (;; at += 2) {
        if (size - at < 2)
            return false;
        if (get16(bytes + at) == 0)
            break;
    }
    at += 2;
    option.description_size = at - HEAD_SIZE;
    if (option.path_size > size - at)
        return false;
    option.path = bytes + at;
    if (mc_option_path_size(option.path, option.path_size) == 0)
        return false;
    option.data = option.path + option.path_size;
    option.data_size = size - at - option.path_size;
    *ret_option = option;
    return true;
}

static void put(uint8_t **to, const uint8_t *from, size_t size)
{
    if (size > 0)
        __builtin_memcpy(*to, from, size);
    *to += size;
}

size_t mc_load_option_encode(const struct mc_load_option *option, uint8_t *ret_bytes,
                             size_t capacity)
{
    const size_t sizes[] = {option->description_size, option->path_size, option->data_size};
    uint8_t *at = ret_bytes;
    size_t total = HEAD_SIZE;

    if (option->path_size > UINT16_MAX || capacity < HEAD_SIZE)
        return 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (sizes[i] > capacity - total)
            return 0;
        total += sizes[i];
    }
    for (unsigned int i = 0; i < 4; i++)
        *at++ = (uint8_t)(option->attributes >> 8 * i);
    *at++ = (uint8_t)option->path_size;
    *at++ = (uint8_t)(option->path_size >> 8);
    put(&at, option->description, option->description_size);
    put(&at, option->path, option->path_size);
    put(&at, option->data, option->data_size);
    return total;
}

static uint8_t fold(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte - 'A' + 'a') : byte;
}

/* FAT finds a file whatever the case of its name, and a shell passes on what was typed. */
static bool same_node(const uint8_t *a, const uint8_t *b, size_t size)
{
    if (a[0] != TYPE_MEDIA || a[1] != SUBTYPE_FILE)
        return __builtin_memcmp(a, b, size) == 0;
    for (size_t i = 0; i < size; i++) {
        if (fold(a[i]) != fold(b[i]))
            return false;
    }
    return true;
}

/* Are two paths the same but for the case of file names? */
static bool same_path(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    size_t step, at = 0;

    for (; at < a_size; at += step) {
        step = node_size(a + at, a_size - at);
        if (step == 0 || node_size(b + at, b_size < at ? 0 : b_size - at) != step ||
            !same_node(a + at, b + at, step))
            return false;
    }
    return a_size == b_size;
}

/* Does a path begin with a partition node, or have one further on? */
static bool has_partition(const uint8_t *path, size_t size)
{
    return mc_option_path_prefix(path, size) > 0 ||
           (size >= 2 && path[0] == TYPE_MEDIA && path[1] == SUBTYPE_HD);
}

enum mc_option_match mc_load_option_match(const struct mc_load_option *option, const uint8_t *path,
                                          size_t path_size)
{
    size_t first_size = mc_option_path_size(option->path, option->path_size);
    size_t cut = mc_option_path_prefix(option->path, first_size);
    size_t wanted_cut = mc_option_path_prefix(path, path_size);

    if (same_path(option->path, first_size, path, path_size))
        return (option->attributes & MC_LOAD_OPTION_ACTIVE) != 0 ? MC_OPTION_SAME : MC_OPTION_STALE;
    if (!has_partition(option->path, first_size) || !has_partition(path, path_size))
        return MC_OPTION_OTHER;
    return same_path(option->path + cut, first_size - cut, path + wanted_cut,
                     path_size - wanted_cut)
               ? MC_OPTION_STALE
               : MC_OPTION_OTHER;
}

bool mc_option_name_parse(const uint16_t *name, const char *prefix, uint16_t *ret_number)
{
    uint32_t number = 0;

    for (; *prefix != '\0'; prefix++, name++) {
        if (*name != (unsigned char)*prefix)
            return false;
    }
    for (unsigned int i = 0; i < 4; i++, name++) {
        uint32_t digit = *name >= '0' && *name <= '9'   ? *name - (uint32_t)'0'
                         : *name >= 'A' && *name <= 'F' ? *name - (uint32_t)'A' + 10
                                                        : 16;
        if (digit == 16)
            return false;
        number = number * 16 + digit;
    }
    if (*name != 0)
        return false;
    *ret_number = (uint16_t)number;
    return true;
}

void mc_option_name_put(const char *prefix, uint16_t number, uint16_t *ret_name)
{
    for (; *prefix != '\0'; prefix++)
        *ret_name++ = (unsigned char)*prefix;
    for (unsigned int shift = 16; shift > 0; shift -= 4)
        *ret_name++ = (unsigned char)"0123456789ABCDEF"[number >> (shift - 4) & 15];
    *ret_name = 0;
}

bool mc_option_number_find(const uint8_t *used, uint16_t *ret_number)
{
    for (uint32_t number = 0; number < MC_NB_OPTIONS; number++) {
        if ((used[number / 8] >> number % 8 & 1) == 0) {
            *ret_number = (uint16_t)number;
            return true;
        }
    }
    return false;
}

size_t mc_order_insert(uint16_t *order, size_t nb, uint16_t number, bool in_front)
{
    size_t at = in_front ? 0 : nb;

    for (size_t i = 0; i < nb; i++) {
        if (order[i] == number)
            return nb;
    }
    for (size_t i = nb; i > at; i--)
        order[i] = order[i - 1];
    order[at] = number;
    return nb + 1;
}

size_t mc_order_remove(uint16_t *order, size_t nb, uint16_t number)
{
    size_t kept = 0;

    for (size_t i = 0; i < nb; i++) {
        if (order[i] != number)
            order[kept++] = order[i];
    }
    return kept;
}
