/* The extent map: where the bytes of a file are stored on its volume.
 *
 * Made by core/fs/fat_chain.c at attach, read by drivers/extents/source.c on every request, and
 * written down in the hand-off record. A struct q2_file_extent is a plain value without pointers:
 * three 64-bit numbers, no padding. The array belongs to whoever had it filled.
 *
 * A map of a file of size S is valid if
 *   - the first extent starts at file offset 0, each other one where the one before it ends,
 *   - no length is 0, and the lengths add up to S (an empty file has no extent at all),
 *   - every extent is inside the volume.
 */
#ifndef Q2_EXTENTS_H
#define Q2_EXTENTS_H

#include <stddef.h>
#include <stdint.h>

#include "q2_source.h"
#include "q2_status.h"

/* Extents of one file: FAT's largest file, 4 GiB - 1, in the smallest clusters, none beside its
 * neighbour. At 24 bytes that is 192 MiB; a file of that size in clusters of 4 KiB can have 1 Mi
 * extents, 24 MiB. A stick that is used hard shows some thousands. */
#define Q2_MAX_FILE_EXTENTS (1u << 23)

struct q2_file_extent {
    uint64_t file_offset;   /* bytes */
    uint64_t volume_offset; /* bytes, from the start of the volume (the partition) */
    uint64_t length;        /* bytes, >= 1 */
};

_Static_assert(sizeof(struct q2_file_extent) == 24, "written down as it is");

/* What q2_extents_verify() looks at, at most: the file's start and end, the heads of the first
 * Q2_VERIFY_FIRST extents, and of Q2_VERIFY_SAMPLED ones spread evenly over the rest. */
#define Q2_VERIFY_FIRST       64u
#define Q2_VERIFY_SAMPLED     64u
#define Q2_VERIFY_SAMPLE_SIZE 512u

/* Check a map against the file system: the same bytes by both ways?  (DESIGN.md, 4.3)
 *
 * Goes through the file forward only, so that a file system that walks its chain from the start
 * for every backward seek walks it once.
 *
 * by_map      the file through its extents
 * by_file     the same file through the file system
 * extents     the map below by_map; nb_extents of them
 * limit       samples that begin at this offset of the file or after it are left out
 * buffer      2 * Q2_VERIFY_SAMPLE_SIZE bytes, any alignment
 * fault       filled on any error
 *
 * Q2_OK              every sample is equal
 * Q2_ERR_BAD_VOLUME  sizes or bytes differ; fault.offset is the sample's offset in the file
 * Q2_ERR_IO ...      a source failed
 */
enum q2_status q2_extents_verify(struct q2_source *by_map, struct q2_source *by_file,
                                 const struct q2_file_extent *extents, size_t nb_extents,
                                 uint64_t limit, void *buffer, struct q2_fault *fault);

#endif
