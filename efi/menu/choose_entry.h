/* The choice of the entry to boot when nobody chooses one. Pure function. */
#ifndef METALCOW_EFI_CHOOSE_ENTRY_H
#define METALCOW_EFI_CHOOSE_ENTRY_H

#include <stddef.h>

#include "efi/config/config.h"

/* Choose the entry that starts by itself.
 *
 * Without a setting `default` that is the first entry. MC_DEFAULT_SAVED is the entry with the id
 * `saved`, else the first one. Any other setting is a pattern: the first entry that it selects.
 *
 * sorted, nb   the entries in the order of the menu
 * setting      of metalcow.conf, "" if it has none
 * saved        the id of the entry that was chosen last, "" if none is remembered
 * text, size   a sentence for the person, "" if there is nothing to say; size >= 1
 * returns      NULL: there are no entries, or the setting selects none, which the text says
 */
const struct mc_entry *mc_choose_entry(struct mc_entry *const *sorted, size_t nb,
                                       const char *setting, const char *saved, char *text,
                                       size_t size);

#endif
