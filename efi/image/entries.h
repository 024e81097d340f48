/* The configuration of a volume: \metalcow\metalcow.conf and \metalcow\entries\*.conf.
 *
 * Called by the application's boot and by the driver. Reads the files; config.c judges their text.
 * A file that is wrong is said on the console and passed over.
 */
#ifndef METALCOW_EFI_ENTRIES_H
#define METALCOW_EFI_ENTRIES_H

#include "efi/config/config.h"
#include "efi/base/control.h"
#include "efi/place/volume.h"

#define MC_ENTRIES_FOLDER "/metalcow/entries"
#define MC_SETTINGS_FILE  "/metalcow/metalcow.conf"

/* More entries than a person has disks; each takes 14 KiB while the configuration is read. */
#define MC_MAX_ENTRIES 64u

struct mc_entries {
    struct mc_settings settings;
    size_t nb;
    struct mc_entry *sorted[MC_MAX_ENTRIES]; /* as a menu shows them */
    struct mc_entry entries[MC_MAX_ENTRIES];
};

/* Has a volume a folder of entries? Cheap: one open. */
bool mc_entries_exist(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem);

/* Read and sort the configuration.
 *
 * fault        filled on any error
 * ret_entries  pages, until mc_entries_free(); nb may be 0
 *
 * Q2_ERR_NOT_FOUND  no folder of entries
 * Q2_ERR_LIMIT      more than MC_MAX_ENTRIES, or no memory
 * Q2_ERR_IO ...     the volume failed
 */
enum q2_status mc_entries_read(const struct mc_volume *volume, struct q2_fault *fault,
                               struct mc_entries **ret_entries);

void mc_entries_free(struct mc_entries *entries);

/* The entry that starts by itself: the first that the setting `default` selects, else the first. No
 * entries: NULL. */
const struct mc_entry *mc_entries_default(const struct mc_entries *entries);

/* What to attach for an entry; points into it. */
struct mc_attach_options mc_entry_options(const struct mc_entry *entry);

#endif
