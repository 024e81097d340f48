/* Sizes as people type them: "4096", "64k", "1.5M", "0x1000". */
#ifndef METALCOW_SIZE_H
#define METALCOW_SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* Parse a size: a decimal number, whole or with a fraction before a suffix, and one of the suffixes
 * b (1), k, K, M, G, T, P, E (powers of 1024); or a hexadecimal number without a suffix.
 *
 * false  not a size, or 2^64 and more; ret_size is untouched
 */
bool size_parse(const char *text, uint64_t *ret_size);

#endif
