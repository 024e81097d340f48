/* A line of text that is typed: UTF-8 with a cursor.
 *
 * Pure functions on memory, no allocation. The cursor is never inside a character, and no key puts
 * a control character into the text.
 */
#ifndef METALCOW_EFI_FIELD_H
#define METALCOW_EFI_FIELD_H

#include <stdbool.h>
#include <stddef.h>

#include "efi/base/console.h"

/* Bytes of a line, with its NUL: several paths of the longest kind. */
#define MC_FIELD_SIZE 2048u

/* A key's scan code and unit.  (UEFI 2.10, appendix B "Console") */
#define MC_SCAN_UP        0x01u
#define MC_SCAN_DOWN      0x02u
#define MC_SCAN_RIGHT     0x03u
#define MC_SCAN_LEFT      0x04u
#define MC_SCAN_HOME      0x05u
#define MC_SCAN_END       0x06u
#define MC_SCAN_DELETE    0x08u
#define MC_SCAN_PAGE_UP   0x09u
#define MC_SCAN_PAGE_DOWN 0x0au
#define MC_SCAN_ESCAPE    0x17u
#define MC_UNIT_BACKSPACE 0x08u
#define MC_UNIT_ENTER     0x0du

struct mc_field {
    size_t length, cursor; /* bytes; cursor <= length */
    char text[MC_FIELD_SIZE];
};

/* Put a text into the field, with the cursor at its end; false, and the field is empty: it has no
 * room. */
bool mc_field_set(struct mc_field *field, const char *text);

/* Take a key: a character, Backspace, Delete, Left, Right, Home, End. Delete at the end of the line
 * is Backspace, because many terminals send it for that key.
 *
 * returns  false: the key does nothing here */
bool mc_field_key(struct mc_field *field, struct mc_key key);

/* Characters in the first `length` bytes of a text. */
size_t mc_field_characters(const char *text, size_t length);

#endif
