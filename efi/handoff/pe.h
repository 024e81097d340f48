/* A look at a PE image in memory: how large it is, and which sections it has.
 * (Microsoft, "PE Format")
 *
 * Pure: bytes in, answer out. The bytes are untrusted.
 */
#ifndef METALCOW_EFI_HANDOFF_PE_H
#define METALCOW_EFI_HANDOFF_PE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Does a PE image start here?
 *
 * bytes, length  memory that may be looked at
 * ret_size       bytes that the image takes in memory; set if the answer is yes
 */
bool mc_pe_size(const uint8_t *bytes, size_t length, uint32_t *ret_size);

/* Has the PE image that starts here a section of this name? name: 1 to 8 characters. */
bool mc_pe_has_section(const uint8_t *bytes, size_t length, const char *name);

#endif
