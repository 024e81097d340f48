/* Load options: the variables Boot#### and Driver####, and their order.
 * (UEFI 2.10, 3.1.3 "Load Options")
 *
 * Pure functions on bytes; may call memcpy and memcmp. Variables were written by others and are
 * untrusted: nothing outside the bytes given is read, and a malformed option is never a match.
 */
#ifndef METALCOW_EFI_LOAD_OPTION_H
#define METALCOW_EFI_LOAD_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MC_LOAD_OPTION_ACTIVE 1u /* the firmware loads it by itself */

/* One more than the numbers of options, which have 16 bits. */
#define MC_NB_OPTIONS 0x10000u

/* An option's parts; they point into the bytes that it was decoded from. */
struct mc_load_option {
    uint32_t attributes;
    const uint8_t *description; /* UCS-2 with its NUL */
    size_t description_size;    /* bytes */
    const uint8_t *path;        /* one or more device paths */
    size_t path_size;           /* bytes, at most UINT16_MAX */
    const uint8_t *data;        /* what the program is given */
    size_t data_size;           /* bytes */
};

/* Take a variable apart. false, with nothing written: the description has no end, the paths do not
 * fit, or a node of theirs is malformed. */
bool mc_load_option_decode(const uint8_t *bytes, size_t size, struct mc_load_option *ret_option);

/* Put a variable together.
 *
 * ret_bytes  capacity bytes
 * returns    the bytes that were written; 0: no room, or path_size is over its limit
 */
size_t mc_load_option_encode(const struct mc_load_option *option, uint8_t *ret_bytes,
                             size_t capacity);

/* The bytes of the first device path of a list, with its end node; 0: it is malformed. */
size_t mc_option_path_size(const uint8_t *path, size_t size);

/* The bytes of a path before its last partition node (HD) of a hard disk; 0: it has none. What
 * follows names the same partition however the disk is connected.
 * (UEFI 2.10, 3.1.2 "Load Option Processing", short-form device paths) */
size_t mc_option_path_prefix(const uint8_t *path, size_t size);

enum mc_option_match {
    MC_OPTION_OTHER, /* it leads to something else */
    MC_OPTION_STALE, /* it leads to the same file by another path, or is not active */
    MC_OPTION_SAME,
};

/* Does an option lead to the file that a path names? Two paths with a partition node are compared
 * from there on, others as a whole. The case of ASCII letters in file names does not count. */
enum mc_option_match mc_load_option_match(const struct mc_load_option *option, const uint8_t *path,
                                          size_t path_size);

/* The number in a variable's name, "Driver00AF": prefix and four digits as the specification has
 * them, upper case. false: it is another variable. */
bool mc_option_name_parse(const uint16_t *name, const char *prefix, uint16_t *ret_number);

/* The name of an option. ret_name: room for the prefix and 5 units. */
void mc_option_name_put(const char *prefix, uint16_t number, uint16_t *ret_name);

/* The lowest number that is not in use.
 *
 * used     MC_NB_OPTIONS bits, bit n % 8 of byte n / 8: number n is in use
 * returns  false: all are
 */
bool mc_option_number_find(const uint8_t *used, uint16_t *ret_number);

/* Insert a number in front of an order, or at its end, unless the order has it already. The others
 * keep their places. order has room for one more. Returns the new count. */
size_t mc_order_insert(uint16_t *order, size_t nb, uint16_t number, bool in_front);

/* Take a number out of an order, wherever it is. Returns the new count. */
size_t mc_order_remove(uint16_t *order, size_t nb, uint16_t number);

#endif
