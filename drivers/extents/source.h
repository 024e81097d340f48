/* A byte source over a file that is reached through its extent map, below the file system.
 *
 * Images are read and overwritten in this way in firmware. Requests go to the volume's source, and
 * no file system driver is called (DESIGN.md, 4.1). Implements include/q2_source.h. A request
 * inside one extent is one call to the volume.
 *
 * It grows only into room: bytes that the map has past source.size. Room is made through the file
 * system, outside of every request; then the file is mapped anew and q2_source_extents_remap()
 * takes the longer map.
 *
 * A file system driver may keep whole pages of the volume in a cache. If it writes back a page that
 * our file shares with another file, it writes our old bytes. So the source keeps account of the
 * shared pages that it wrote to, and its owner makes the cache forget them.
 */
#ifndef Q2_DRIVERS_SOURCE_EXTENTS_H
#define Q2_DRIVERS_SOURCE_EXTENTS_H

#include "q2_extents.h"

struct q2_source_extents {
    struct q2_source source;
    struct q2_source *volume;
    const struct q2_file_extent *extents;
    size_t nb_extents;
    size_t hint;          /* the extent that the last call ended in */
    uint64_t mapped_size; /* bytes that the map has, >= source.size */
    uint64_t page_start;  /* where page 0 of the volume begins */
    uint32_t page_bits;   /* log2 of a page's bytes; 0: no file system driver caches the volume */
    uint64_t stale;  /* bit n: a shared page p with p % 64 == n was written; the owner's to clear */
    bool *attention; /* set to true when a bit of stale is set; may be NULL */
};

/* What a source is made of. Everything pointed to stays the caller's and must outlive it. */
struct q2_extents_file {
    struct q2_source *volume;
    const struct q2_file_extent *extents;
    size_t nb_extents;
    uint64_t size;       /* of the file, bytes */
    uint64_t file_id;    /* q2_fat_file_id() */
    const char *path;    /* on the volume */
    bool writable;       /* only if the volume is */
    bool can_grow;       /* has grow(); only if writable */
    uint64_t page_start; /* of a cache on the volume: offset of its first page, */
    uint32_t page_bits;  /* and log2 of a page's bytes; 0: there is none */
};

/* Make a source.
 *
 * Q2_ERR_ARGUMENT   the map is not valid for this size and volume (include/q2_extents.h)
 * Q2_ERR_READ_ONLY  writable, and the volume is not
 */
enum q2_status q2_source_extents_init(struct q2_source_extents *extents,
                                      const struct q2_extents_file *file);

/* The identity that a source over this file has: for a source that reads the same file in another
 * way. file_id: as in struct q2_extents_file. */
void q2_source_extents_identity(const struct q2_source *volume, uint64_t file_id,
                                uint64_t ret_identity[2]);

/* Take a longer map of the same file; source.size stays until grow() is called.
 *
 * map, nb_extents  in place of the old map, which is the caller's again after Q2_OK
 * size             bytes that the map has, >= mapped_size
 *
 * Q2_ERR_ARGUMENT    the map is not valid for this size and volume
 * Q2_ERR_BAD_VOLUME  what was mapped before is stored elsewhere now: it is another file
 */
enum q2_status q2_source_extents_remap(struct q2_source_extents *extents,
                                       const struct q2_file_extent *map, size_t nb_extents,
                                       uint64_t size);

/* The extent that holds a byte of the file; offset < source.size. */
const struct q2_file_extent *q2_source_extents_at(struct q2_source_extents *extents,
                                                  uint64_t offset);

/* Where the first bytes of a range are stored on the volume; for whoever reads there by itself.
 *
 * offset, length   bytes, inside source->size
 * ret_length       1..length bytes that are stored in one piece
 *
 * false  the source is of another kind, or the range leaves it
 */
bool q2_source_extents_locate(struct q2_source *source, uint64_t offset, size_t length,
                              struct q2_source **ret_volume, uint64_t *ret_offset,
                              size_t *ret_length);

/* Cut the map: the file was made shorter. The array that the map is stored in stays.
 *
 * size  bytes that are left, source.size <= size <= mapped_size */
void q2_source_extents_cut(struct q2_source_extents *extents, struct q2_file_extent *map,
                           uint64_t size);

/* The pages that are wholly inside an extent, so that nobody shares them: [*ret_first, *ret_end),
 * numbers; empty if *ret_first >= *ret_end. */
void q2_source_extents_own_pages(const struct q2_source_extents *extents,
                                 const struct q2_file_extent *extent, uint64_t *ret_first,
                                 uint64_t *ret_end);

#endif
