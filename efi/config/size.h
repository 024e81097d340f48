/* A size as people type it: "64M".
 *
 * Used by config.c and by the commands; pure, so it is tested on the host with them.
 */
#ifndef METALCOW_EFI_SIZE_H
#define METALCOW_EFI_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than any machine has memory, or any FAT file bytes. */
#define MC_MAX_SIZE (1ull << 40)

/* Read a decimal number of bytes, or of KiB, MiB or GiB with a letter K, M or G behind it.
 *
 * text, length  the whole word
 * returns       false: it is none, or over MC_MAX_SIZE
 */
static inline bool mc_size_parse(const char *text, size_t length, uint64_t *ret_size)
{
    uint64_t size = 0;
    uint32_t bits = 0;
    char unit = length > 0 ? text[length - 1] : '\0';

    bits = unit == 'K' || unit == 'k' ? 10 : unit == 'M' || unit == 'm' ? 20 : 0;
    bits = unit == 'G' || unit == 'g' ? 30 : bits;
    length -= bits != 0 ? 1 : 0;
    if (length == 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        size = size * 10 + (uint64_t)(text[i] - '0');
        if (size > MC_MAX_SIZE >> bits)
            return false;
    }
    *ret_size = size << bits;
    return true;
}

#endif
