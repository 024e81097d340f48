/* The configuration of a place: \metalcow\metalcow.conf and \metalcow\entries\*.conf.
 *
 * Reads the files; efi/config/ judges their text. What is wrong in them is said on the console. May
 * call the place, outside of requests only.
 */
#ifndef METALCOW_EFI_ENTRIES_H
#define METALCOW_EFI_ENTRIES_H

#include "efi/config/config.h"
#include "q2_place.h"

#define MC_ENTRIES_FOLDER "/metalcow/entries"

/* More entries than a person has disks; each takes 17 KiB while the configuration is read. Of more,
 * the first ones in the order of the menu are taken, and that is said. */
#define MC_MAX_ENTRIES 64u

struct mc_entries {
    struct mc_settings settings;
    char refused[300]; /* why a file is no entry that can be used, or why some are left out; "": all
                          can be used */
    bool has_more;     /* than are taken */
    size_t nb;
    struct mc_entry *sorted[MC_MAX_ENTRIES];     /* as a menu shows them */
    struct mc_entry entries[MC_MAX_ENTRIES + 1]; /* the last one: to judge another */
};

/* Has a place a folder of entries? Cheap: opens the folder at most. */
bool mc_entries_exist(struct q2_place *place);

/* Read and sort the configuration.
 *
 * fault        filled on any error
 * ret_entries  pages, until mc_entries_free(); nb may be 0
 *
 * Q2_ERR_NOT_FOUND  no folder of entries
 * Q2_ERR_LIMIT      no memory
 * Q2_ERR_IO ...     the volume failed
 */
enum q2_status mc_entries_read(struct q2_place *place, struct q2_fault *fault,
                               struct mc_entries **ret_entries);

void mc_entries_free(struct mc_entries *entries);

#endif
