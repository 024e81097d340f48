/* Sizes as people type them: "4096", "64k", "1.5M", "0x1000". */
#ifndef METALCOW_SIZE_H
#define METALCOW_SIZE_H

#include <stdbool.h>
#include <stdint.h>

enum size_verdict {
    SIZE_GOOD,
    SIZE_BAD,       /* not a size */
    SIZE_TOO_LARGE, /* 2^64 bytes and more */
};

/* Parse a size, as qemu-img takes it: a decimal number, whole or with a fraction before a suffix,
 * and one of the suffixes b (1), k, M, G, T, P, E (powers of 1024), in lower or upper case; or a
 * hexadecimal number without a suffix, because there b and e are digits. Blanks and a plus sign may
 * be in front.
 *
 * ret_size  bytes; written only if the verdict is SIZE_GOOD
 */
enum size_verdict size_judge(const char *text, uint64_t *ret_size);

/* The same; false: not a size, or too large. */
bool size_parse(const char *text, uint64_t *ret_size);

#endif
