/* Text of the firmware programs: words, sizes, paths, and the change between UTF-8 and UCS-2.
 *
 * The programs keep text as UTF-8, and UEFI's text is UCS-2. The functions are pure and allocate
 * nothing, so they are tested on the host.
 */
#ifndef METALCOW_EFI_TEXT_H
#define METALCOW_EFI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/text.h"
#include "q2_line.h"

/* A size as people read it: "88 MiB", "1.5 GiB", "512 B". */
void mc_put_size(struct q2_line *text, uint64_t bytes);

/* How far a piece of work is: "[##########..........]  50 %". total >= 1, done <= total. */
void mc_put_bar(struct q2_line *text, uint64_t done, uint64_t total);

/* Copy, cut to size - 1 bytes; false if it was cut. */
bool mc_text_copy(char *to, size_t size, const char *from);

/* A decimal number, the whole word; false: it is none, or over UINT32_MAX. */
bool mc_number_parse(const char *word, uint32_t *ret_number);

/* UCS-2 as UEFI has it: no surrogate pairs.
 *
 * ret_ucs2  capacity units, NUL-terminated on true
 * returns   false: malformed UTF-8, a character beyond the basic plane or a surrogate, or no room
 */
bool mc_utf8_to_ucs2(const char *utf8, uint16_t *ret_ucs2, size_t capacity);

/* ret_utf8  size bytes, NUL-terminated on true
 * returns   false: a surrogate, or no room */
bool mc_ucs2_to_utf8(const uint16_t *ucs2, char *ret_utf8, size_t size);

/* A path as the engine wants it: '/' in front and between components, no ".", no "", ".."
 * followed. Both '/' and '\' separate.
 *
 * ret_path  size bytes, >= 2, NUL-terminated on true; must not overlap path
 * returns   false: ".." leaves the root, or no room
 */
bool mc_path_clean(const char *path, char *ret_path, size_t size);

#endif
