/* A byte source over a file that is reached through its extent map, below the file system.
 *
 * The way that images are read and overwritten in firmware: requests go to the volume's source, no
 * file system driver is called (design, section 4: "EFI_FILE is never called from inside Block
 * I/O"). Implements include/q2_source.h. A request that lies in one extent is one call to the
 * volume. It does not grow: room is made through the file system, and then the file is mapped anew.
 */
#ifndef Q2_DRIVERS_SOURCE_EXTENTS_H
#define Q2_DRIVERS_SOURCE_EXTENTS_H

#include "q2_extents.h"

struct q2_source_extents {
    struct q2_source source;
    struct q2_source *volume;
    const struct q2_file_extent *extents;
    size_t nb_extents;
    size_t hint; /* the extent that the last call ended in */
};

/* What a source is made of. Everything pointed to stays the caller's and must outlive it. */
struct q2_extents_file {
    struct q2_source *volume;
    const struct q2_file_extent *extents;
    size_t nb_extents;
    uint64_t size;    /* of the file, bytes */
    uint64_t file_id; /* q2_fat_file_id() */
    const char *path; /* on the volume */
    bool writable;    /* only if the volume is */
};

/* Make a source.
 *
 * Q2_ERR_ARGUMENT   the map is not valid for this size and volume (include/q2_extents.h)
 * Q2_ERR_READ_ONLY  writable, and the volume is not
 */
enum q2_status q2_source_extents_init(struct q2_source_extents *extents,
                                      const struct q2_extents_file *file);

#endif
