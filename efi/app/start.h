/* From an entry to a running loader. */
#ifndef METALCOW_EFI_START_H
#define METALCOW_EFI_START_H

#include "commands.h"

/* Attach a disk, start its loader, and undo both when the loader returns.
 *
 * volume    of the entry
 * entry     names the disk in what is said
 * spec      what is attached; its title is replaced by the entry's
 * remember  whether `default @saved` means this entry from now on
 *
 * returns   what the loader returned. On an error session->message says why, and was printed.
 *           If there were several loaders to choose from, session->loaders has them
 */
EFI_STATUS mc_start_entry(struct mc_session *session, EFI_HANDLE volume,
                          const struct mc_entry *entry, const struct mc_disk_spec *spec,
                          bool remember);

/* The same for the disk in session->record, which is attached already. */
EFI_STATUS mc_start_disk(struct mc_session *session);

#endif
