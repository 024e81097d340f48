/* The entry that was chosen last, for `default @saved`.
 *
 * The EFI variable MetalcowLastEntry holds its id, UTF-8 without a NUL. It is not authenticated:
 * whoever can write variables can choose another entry of the volume, and nothing else.
 */
#ifndef METALCOW_EFI_LAST_ENTRY_H
#define METALCOW_EFI_LAST_ENTRY_H

#include <stdbool.h>

#include "efi/config/config.h"

/* ret_id is "" if nothing was remembered, or nothing that could be an id. */
void mc_last_entry_get(char ret_id[MC_MAX_TEXT_LENGTH + 1]);

/* Remember an id. Writes only if it is another one, because the variables are in flash memory. */
void mc_last_entry_set(const char *id);

#endif
